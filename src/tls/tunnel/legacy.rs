//! The handshake by OpenSSL: TLS 1.0 to 1.2, with CBC ciphers and RSA key exchange too, with a key in memory only.

use super::key::{ClientIdentity, ClientKey};
use super::{Agreed, LABEL, SignatureHash, TunnelError, Turn, alert, untrusted};
use crate::tls::Engine;
use crate::tls::judge::Judge;
use crate::tls::legacy::{OTHER_VERSION, negotiated, presented};
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    Error, ErrorCode, Ssl, SslContext, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslStream, SslVerifyMode,
    SslVersion,
};
use openssl::x509::X509;
use rustls::AlertDescription;
use rustls::pki_types::{CertificateDer, ServerName};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;
use zeroize::Zeroizing;

/// AES only, GCM and CBC. Level 0 is what lets TLS 1.0 and SHA-1 pass.
const CIPHERS: &str = "AES:!aNULL:!eNULL:!PSK:!SRP:!AESCCM:@SECLEVEL=0";
/// How OpenSSL numbers an alert that it has received.
const ALERTS: i32 = 1000;
/// OpenSSL's numbers for: the server speaks another version or cipher, the two share no group.
const NOTHING_IN_COMMON: [i32; 2] = [248, 261];

/// OpenSSL in the middle of a tunnelled handshake.
pub(super) struct Legacy {
    stream: SslStream<Pipe>,
    judge: Arc<Judge>,
    name: ServerName<'static>,
    judged: bool,
    /// Which of the own messages have gone out.
    presented_own: bool,
    signed: bool,
}

impl Legacy {
    pub(super) fn new(
        judge: Arc<Judge>,
        name: ServerName<'static>,
        identity: &ClientIdentity,
    ) -> Result<Self, TunnelError> {
        let ClientKey::Here(pkcs8) = &identity.key else { return Err(TunnelError::KeyOutOfReach) };
        let unusable = |error: ErrorStack| TunnelError::UnusableIdentity { source: error.into() };
        let client = client(&name, &identity.certificate, pkcs8).map_err(unusable)?;
        let stream = SslStream::new(client, Pipe::default()).map_err(unusable)?;
        Ok(Self { stream, judge, name, judged: false, presented_own: false, signed: false })
    }

    fn failed(&self, error: Error, target: &str) -> TunnelError {
        let target = target.to_owned();
        let reasons: Vec<i32> =
            error.ssl_error().map(|stack| stack.errors().iter().map(|e| e.reason_code()).collect()).unwrap_or_default();
        let received = reasons.iter().find_map(|reason| u8::try_from(reason - ALERTS).ok());
        if let Some(received) = received {
            let agreed = self.stream.ssl().current_cipher().is_some();
            return alert(Engine::Legacy, &target, AlertDescription::from(received), agreed, Box::new(error));
        }
        if reasons.iter().any(|reason| OTHER_VERSION.contains(reason) || NOTHING_IN_COMMON.contains(reason)) {
            return TunnelError::NoCommonCipher { target, engine: Engine::Legacy, source: Box::new(error) };
        }
        TunnelError::Broken { target, source: Box::new(error) }
    }

    /// The server's certificates are judged when they have come; what would answer them has not left yet.
    fn judge(&mut self, target: &str) -> Result<(), TunnelError> {
        if self.judged {
            return Ok(());
        }
        let broken = |error: ErrorStack| TunnelError::Broken { target: target.to_owned(), source: error.into() };
        let presented = presented(self.stream.ssl()).map_err(broken)?;
        if presented.is_empty() {
            return Ok(());
        }
        if let Err(verdict) = self.judge.judge(&presented, &self.name) {
            return Err(untrusted(&self.judge, target, presented, verdict));
        }
        self.judged = true;
        Ok(())
    }

    fn agreed(&self, target: &str) -> Result<Agreed, TunnelError> {
        let broken = |source| TunnelError::Broken { target: target.to_owned(), source };
        if !self.judged {
            return Err(broken("it shows no certificate".into()));
        }
        if !self.presented_own {
            return Err(TunnelError::NotAsked { target: target.to_owned() });
        }
        if !self.stream.get_ref().incoming.is_empty() {
            return Err(broken("something follows its Finished".into()));
        }
        let session = self.stream.ssl();
        let negotiated = negotiated(session);
        let unknown = || broken(format!("no hash of signatures is known for {}", negotiated.cipher).into());
        let hash = SignatureHash::of_suite(&negotiated.cipher).ok_or_else(unknown)?;
        let mut key_material = Zeroizing::new([0; 128]);
        let exported = session.export_keying_material(key_material.as_mut_slice(), LABEL, None);
        exported.map_err(|error| broken(error.into()))?;
        let peer = presented(session).map_err(|error| broken(error.into()))?;
        Ok(Agreed { key_material, hash, negotiated, peer })
    }
}

impl Turn for Legacy {
    fn turn(&mut self, records: &[u8], target: &str) -> Result<(Vec<u8>, Option<Agreed>), TunnelError> {
        self.stream.get_mut().incoming.extend(records);
        let done = match self.stream.connect() {
            Ok(()) => true,
            Err(error) if error.code() == ErrorCode::WANT_READ => false,
            Err(error) => return Err(self.failed(error, target)),
        };
        self.judge(target)?;
        let answer = std::mem::take(&mut self.stream.get_mut().outgoing);
        for message in messages_in_the_clear(&answer) {
            self.presented_own |= message == CERTIFICATE;
            self.signed |= message == CERTIFICATE_VERIFY;
        }
        if self.presented_own && !self.signed {
            return Err(TunnelError::NoCommonSignature { target: target.to_owned() });
        }
        let agreed = if done { Some(self.agreed(target)?) } else { None };
        Ok((answer, agreed))
    }
}

fn client(name: &ServerName<'_>, own: &CertificateDer<'_>, pkcs8: &[u8]) -> Result<Ssl, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    // The judge decides, before anything is answered.
    context.set_verify(SslVerifyMode::NONE);
    context.set_min_proto_version(Some(SslVersion::TLS1))?;
    context.set_max_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_cipher_list(CIPHERS)?;
    context.set_options(SslOptions::NO_TICKET);
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_mode(SslMode::NO_AUTO_CHAIN);
    let (own, key) = (X509::from_der(own)?, PKey::private_key_from_pkcs8(pkcs8)?);
    context.set_certificate(&own)?;
    context.set_private_key(&key)?;
    context.check_private_key()?;
    let mut client = Ssl::new(&context.build())?;
    if let ServerName::DnsName(name) = name {
        client.set_hostname(name.as_ref())?;
    }
    Ok(client)
}

const CERTIFICATE: u8 = 11;
const CERTIFICATE_VERIFY: u8 = 15;
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;

/// The kinds of the handshake messages in the own records, as far as these are not encrypted (RFC 5246, sections 6.2 and 7.4).
fn messages_in_the_clear(mut records: &[u8]) -> Vec<u8> {
    let mut messages = Vec::new();
    while let Some((header, rest)) = records.split_first_chunk::<5>() {
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let Some((body, rest)) = rest.split_at_checked(length) else { break };
        records = rest;
        match header[0] {
            HANDSHAKE => messages.extend_from_slice(body),
            CHANGE_CIPHER_SPEC => break,
            _ => {}
        }
    }
    let (mut kinds, mut rest) = (Vec::new(), messages.as_slice());
    while let Some(([kind, length @ ..], after)) = rest.split_first_chunk::<4>() {
        kinds.push(*kind);
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        rest = after.get(length..).unwrap_or_default();
    }
    kinds
}

/// Both ways of records that travel elsewhere.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) incoming: VecDeque<u8>,
    pub(super) outgoing: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.incoming.read(buffer) }
    }
}

impl Write for Pipe {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.outgoing.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
