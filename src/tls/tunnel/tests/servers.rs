//! The other end: a server of rustls or OpenSSL that speaks through memory.

use crate::tls::fixture::Identity;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, KeyLog, ServerConfig, ServerConnection,
    SignatureScheme, SupportedCipherSuite,
};
use std::io::Read;
use std::sync::{Arc, Mutex};

pub(super) use cipher_suite::{
    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 as GCM_128, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 as GCM_256,
    TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 as CHACHA,
};

/// What a test asks of a server.
pub(super) trait Server {
    fn answer(&mut self, records: &[u8]) -> Vec<u8>;
    fn exported(&self) -> [u8; 128];
    fn client_chain(&self) -> Vec<Vec<u8>>;
    /// The master secret, as the key log tells it.
    fn master_secret(&self) -> Vec<u8>;
}

pub(super) struct Modern {
    connection: ServerConnection,
    seen: Arc<Seen>,
}

/// What the verifier and the key log have seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    scheme: Mutex<Option<u16>>,
    master_secret: Mutex<Vec<u8>>,
}

impl KeyLog for Seen {
    fn log(&self, _label: &str, _client_random: &[u8], secret: &[u8]) {
        *self.master_secret.lock().unwrap() = secret.to_vec();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taking {
    Everybody,
    /// Wants RSA from everybody.
    Rsa,
    /// Nobody: what it is shown is revoked.
    Nobody,
}

#[derive(Debug)]
struct Verifier {
    taking: Taking,
    seen: Arc<Seen>,
}

impl Modern {
    pub(super) fn new(identity: &Identity) -> Self {
        Self::taking(identity, Some(Taking::Everybody), None)
    }

    pub(super) fn with_suite(identity: &Identity, suite: &SupportedCipherSuite) -> Self {
        Self::taking(identity, Some(Taking::Everybody), Some(*suite))
    }

    pub(super) fn not_asking(identity: &Identity) -> Self {
        Self::taking(identity, None, None)
    }

    pub(super) fn taking_only_rsa(identity: &Identity) -> Self {
        Self::taking(identity, Some(Taking::Rsa), None)
    }

    pub(super) fn refusing(identity: &Identity) -> Self {
        Self::taking(identity, Some(Taking::Nobody), None)
    }

    fn taking(identity: &Identity, taking: Option<Taking>, suite: Option<SupportedCipherSuite>) -> Self {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(suite) = suite {
            provider.cipher_suites = vec![suite];
        }
        let seen = Arc::<Seen>::default();
        let builder = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap();
        let builder = match taking {
            Some(taking) => builder.with_client_cert_verifier(Arc::new(Verifier { taking, seen: seen.clone() })),
            None => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::try_from(identity.key.clone()).unwrap();
        let mut config = builder.with_single_cert(identity.chain.clone(), key).unwrap();
        config.key_log = seen.clone();
        Self { connection: ServerConnection::new(Arc::new(config)).unwrap(), seen }
    }

    /// Says that nothing follows; gives the record.
    pub(super) fn close(&mut self) -> Vec<u8> {
        self.connection.send_close_notify();
        let mut record = Vec::new();
        self.connection.write_tls(&mut record).unwrap();
        record
    }

    pub(super) fn client_scheme(&self) -> Option<u16> {
        *self.seen.scheme.lock().unwrap()
    }
}

impl Server for Modern {
    fn answer(&mut self, mut records: &[u8]) -> Vec<u8> {
        while !records.is_empty() {
            self.connection.read_tls(&mut records.by_ref()).unwrap();
            if self.connection.process_new_packets().is_err() {
                break;
            }
        }
        let mut answer = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut answer).unwrap();
        }
        answer
    }

    fn exported(&self) -> [u8; 128] {
        self.connection.export_keying_material([0; 128], b"client EAP encryption", None).unwrap()
    }

    fn client_chain(&self) -> Vec<Vec<u8>> {
        self.connection.peer_certificates().unwrap_or_default().iter().map(|c| c.to_vec()).collect()
    }

    fn master_secret(&self) -> Vec<u8> {
        self.seen.master_secret.lock().unwrap().clone()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.taking {
            Taking::Everybody | Taking::Rsa => Ok(ClientCertVerified::assertion()),
            Taking::Nobody => Err(CertificateError::Revoked.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        *self.seen.scheme.lock().unwrap() = Some(dss.scheme.into());
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("TLS 1.2 only")
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self.taking {
            Taking::Rsa => vec![SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256],
            // As some servers have it, PSS before PKCS#1.
            Taking::Everybody | Taking::Nobody => vec![
                SignatureScheme::RSA_PSS_SHA512,
                SignatureScheme::RSA_PSS_SHA256,
                SignatureScheme::ECDSA_NISTP256_SHA256,
                SignatureScheme::RSA_PKCS1_SHA512,
                SignatureScheme::RSA_PKCS1_SHA256,
            ],
        }
    }
}

/// OpenSSL.
#[cfg(feature = "legacy-tls")]
pub(super) mod old {
    use super::*;
    use crate::tls::tunnel::legacy::Pipe;
    use openssl::pkey::PKey;
    use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVerifyMode, SslVersion};
    use openssl::x509::X509;

    pub(in super::super) struct Legacy {
        stream: SslStream<Pipe>,
        log: Arc<Mutex<Vec<String>>>,
    }

    impl Legacy {
        pub(in super::super) fn new(
            identity: &Identity,
            version: SslVersion,
            ciphers: &str,
            verify: SslVerifyMode,
        ) -> Self {
            let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
            context.set_min_proto_version(Some(version)).unwrap();
            context.set_max_proto_version(Some(version)).unwrap();
            context.set_cipher_list(&format!("{ciphers}:@SECLEVEL=0")).unwrap();
            context.set_verify_callback(verify, |_, _| true);
            let chain: Vec<X509> = identity.chain.iter().map(|der| X509::from_der(der).unwrap()).collect();
            context.set_certificate(&chain[0]).unwrap();
            for certificate in chain.into_iter().skip(1) {
                context.add_extra_chain_cert(certificate).unwrap();
            }
            context.set_private_key(&PKey::private_key_from_pkcs8(&identity.key).unwrap()).unwrap();
            let log = Arc::<Mutex<Vec<String>>>::default();
            let lines = log.clone();
            context.set_keylog_callback(move |_, line| lines.lock().unwrap().push(line.to_owned()));
            let stream = SslStream::new(Ssl::new(&context.build()).unwrap(), Pipe::default()).unwrap();
            Self { stream, log }
        }
    }

    impl Server for Legacy {
        fn answer(&mut self, records: &[u8]) -> Vec<u8> {
            self.stream.get_mut().incoming.extend(records);
            let _ = self.stream.accept();
            std::mem::take(&mut self.stream.get_mut().outgoing)
        }

        fn exported(&self) -> [u8; 128] {
            let mut material = [0; 128];
            self.stream.ssl().export_keying_material(&mut material, "client EAP encryption", None).unwrap();
            material
        }

        fn client_chain(&self) -> Vec<Vec<u8>> {
            let own = self.stream.ssl().peer_certificate().into_iter();
            let rest = self.stream.ssl().peer_cert_chain().into_iter().flatten();
            own.map(|c| c.to_der().unwrap()).chain(rest.map(|c| c.to_der().unwrap())).collect()
        }

        fn master_secret(&self) -> Vec<u8> {
            let log = self.log.lock().unwrap();
            let secret = log[0].split(' ').next_back().unwrap();
            let digits = |at: usize| u8::from_str_radix(&secret[at..at + 2], 16).unwrap();
            (0..secret.len()).step_by(2).map(digits).collect()
        }
    }
}

/// The kinds of handshake messages, which have to fill the bytes.
pub(super) fn kinds(mut messages: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while !messages.is_empty() {
        let length = u32::from_be_bytes([0, messages[1], messages[2], messages[3]]) as usize;
        kinds.push(messages[0]);
        messages = &messages[4 + length..];
    }
    kinds
}
