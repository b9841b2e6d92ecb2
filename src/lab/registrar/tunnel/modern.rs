//! rustls as the server's side: TLS 1.2 with ECDHE and AEAD.

use super::hello::{Hello, TLS_1_2};
use super::{Agreed, Closed, LABEL};
use crate::lab::pki::ServerIdentity;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerConfig, ServerConnection};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use std::io;
use std::sync::Arc;

#[derive(Clone)]
pub(super) struct Kit(Arc<ServerConfig>);

pub(in crate::lab::registrar) struct Server(ServerConnection);

impl Kit {
    pub(super) fn new(identity: &ServerIdentity) -> io::Result<Self> {
        let chain = identity.presented.iter().cloned().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.to_vec()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let anybody = Arc::new(AnyHolder(Arc::clone(&provider)));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .and_then(|builder| builder.with_client_cert_verifier(anybody).with_single_cert(chain, key))
            .map_err(io::Error::other)?;
        // A resumed handshake would be shorter than the exchange over headers is. Tickets are off by default.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self(Arc::new(config)))
    }

    /// Whether the client offers TLS 1.2 with a suite of this engine.
    pub(super) fn speaks_with(&self, hello: &Hello) -> bool {
        let suites = &self.0.crypto_provider().cipher_suites;
        let own = suites.iter().filter(|suite| suite.tls13().is_none()).map(|suite| u16::from(suite.suite()));
        hello.newest >= TLS_1_2 && own.into_iter().any(|own| hello.suites.contains(&own))
    }

    pub(super) fn server(&self) -> Result<Server, Closed> {
        ServerConnection::new(Arc::clone(&self.0)).map(Server).map_err(refused)
    }
}

impl Server {
    pub(super) fn step(&mut self, mut records: &[u8]) -> Result<Vec<u8>, Closed> {
        while !records.is_empty() {
            self.0.read_tls(&mut records).map_err(|error| Closed::Refused(error.to_string()))?;
            self.0.process_new_packets().map_err(refused)?;
        }
        let mut answer = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut answer).map_err(|error| Closed::Refused(error.to_string()))?;
        }
        Ok(answer)
    }

    pub(super) fn finished(&self) -> Option<Agreed> {
        if self.0.is_handshaking() {
            return None;
        }
        let material = self.0.export_keying_material([0; 128], LABEL.as_bytes(), None).ok()?;
        let suite = format!("{:?}", self.0.negotiated_cipher_suite()?.suite());
        Some(Agreed::new(material, "TLS 1.2", suite, self.0.peer_certificates()?.first()?.to_vec()))
    }
}

fn refused(error: rustls::Error) -> Closed {
    Closed::Refused(error.to_string())
}

/// Takes whoever holds the key of the certificate that is shown: the store, not a chain, says whose it is.
#[derive(Debug)]
struct AnyHolder(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyHolder {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 cannot be tunnelled".to_owned()))
    }

    /// PKCS #1 v1.5 alone: servers of the era know no PSS (Microsoft's certificate requirements).
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::RSA_PKCS1_SHA256, SignatureScheme::RSA_PKCS1_SHA384, SignatureScheme::RSA_PKCS1_SHA512]
    }
}
