//! A verifier that remembers: the chain as it was sent and the exact verdict, also when that is a refusal.

use super::trust::Trust;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};

/// What one handshake showed.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Own certificate first, as sent.
    pub(super) presented: Vec<CertificateDer<'static>>,
    /// webpki's word on it, name included.
    pub(super) verdict: Result<(), Error>,
}

/// webpki, with `helping` certificates added to what the server sent, and a memory.
#[derive(Debug)]
pub(super) struct Recorder {
    judge: Arc<WebPkiServerVerifier>,
    helping: Vec<CertificateDer<'static>>,
    seen: Mutex<Option<Seen>>,
}

impl Recorder {
    /// `None` without a single anchor: nothing could ever be trusted.
    pub(super) fn new(
        trust: &Trust,
        helping: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Option<Self> {
        let judge = WebPkiServerVerifier::builder_with_provider(trust.store().clone(), provider).build().ok()?;
        Some(Self { judge, helping, seen: Mutex::new(None) })
    }

    pub(super) fn seen(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judge = |chain: &[CertificateDer<'_>]| {
            self.judge.verify_server_cert(end_entity, chain, server_name, ocsp_response, now)
        };
        let mut verdict = judge(intermediates);
        if matches!(verdict, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)))
            && !self.helping.is_empty()
        {
            let completed: Vec<_> = intermediates.iter().chain(&self.helping).cloned().collect();
            verdict = judge(&completed);
        }
        let presented = std::iter::once(end_entity).chain(intermediates).map(|c| c.clone().into_owned()).collect();
        let seen = Seen { presented, verdict: verdict.as_ref().map(|_| ()).map_err(Clone::clone) };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}
