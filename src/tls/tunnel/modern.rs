//! The handshake by rustls: TLS 1.2, ECDHE with AEAD ciphers, with a key that is here or elsewhere.

use super::key::{ClientIdentity, ClientKey, Scheme, SignError, Signer};
use super::{Agreed, LABEL, SignatureHash, TunnelError, Turn, alert, untrusted};
use crate::tls::Engine;
use crate::tls::judge::{self, Judge, Recorder, Refusal, Seen};
use crate::tls::modern::negotiated;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{self, CertifiedKey, SigningKey};
use rustls::{ClientConfig, ClientConnection, Error, SignatureAlgorithm, SignatureScheme};
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// The order in which schemes are taken: PKCS#1 v1.5 before all, since old servers know no PSS, and say that they do not
/// only sometimes.
const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
];

/// rustls in the middle of a tunnelled handshake.
pub(super) struct Modern {
    connection: ClientConnection,
    judge: Arc<Judge>,
    course: Arc<Course>,
}

/// How far the own part has come.
#[derive(Debug, Default)]
struct Course(Mutex<Came>);

#[derive(Debug, Default)]
enum Came {
    #[default]
    Nowhere,
    /// The server wants a certificate, and no signature that the key makes.
    Asked,
    Signed,
    Failed(SignError),
}

impl Course {
    fn came(&self, came: Came) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = came;
    }

    /// The server wants a certificate, and the answer to it was an empty one.
    fn is_unsigned(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), Came::Asked)
    }

    fn take(&self) -> Came {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Modern {
    pub(super) fn new(
        judge: Arc<Judge>,
        name: ServerName<'static>,
        identity: &ClientIdentity,
    ) -> Result<Self, TunnelError> {
        let unusable = |error: Error| TunnelError::UnusableIdentity { source: error.into() };
        let course = Arc::<Course>::default();
        let key: Arc<dyn SigningKey> = match &identity.key {
            ClientKey::Here(pkcs8) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8.as_slice()));
                let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(unusable)?;
                let own = CertifiedKey::new(vec![identity.certificate.clone()], key.clone());
                own.keys_match().map_err(unusable)?;
                Arc::new(Here { key, course: course.clone() })
            }
            ClientKey::Elsewhere(signer) => Arc::new(Elsewhere { signer: signer.clone(), course: course.clone() }),
        };
        let own = Arc::new(CertifiedKey::new(vec![identity.certificate.clone()], key));
        let mut config = ClientConfig::builder_with_provider(judge::provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .expect("the provider has TLS 1.2")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Recorder { judge: judge.clone(), refusal: Refusal::Ends }))
            .with_client_cert_resolver(Arc::new(Presented { own, course: course.clone() }));
        // No tickets either: a shorter handshake is none that the protocol describes.
        config.resumption = Resumption::disabled();
        let connection = ClientConnection::new(Arc::new(config), name).map_err(unusable)?;
        Ok(Self { connection, judge, course })
    }

    fn failed(&self, error: Error, seen: Option<Seen>, target: &str) -> TunnelError {
        if let Came::Failed(error) = self.course.take() {
            return TunnelError::NotSigned(error);
        }
        match (error, seen) {
            (Error::InvalidCertificate(_), Some(Seen { presented, verdict: Err(verdict) })) => {
                untrusted(&self.judge, target, presented, verdict)
            }
            (error @ Error::AlertReceived(description), _) => {
                let agreed = self.connection.negotiated_cipher_suite().is_some();
                alert(Engine::Modern, target, description, agreed, error.into())
            }
            (error @ Error::PeerIncompatible(_), _) => {
                TunnelError::NoCommonCipher { target: target.to_owned(), engine: Engine::Modern, source: error.into() }
            }
            (error, _) => TunnelError::Broken { target: target.to_owned(), source: error.into() },
        }
    }

    fn agreed(&self, target: &str) -> Result<Agreed, TunnelError> {
        match self.course.take() {
            Came::Signed => {}
            Came::Nowhere => return Err(TunnelError::NotAsked { target: target.to_owned() }),
            Came::Asked => return Err(TunnelError::NoCommonSignature { target: target.to_owned() }),
            Came::Failed(error) => return Err(TunnelError::NotSigned(error)),
        }
        let broken = |source| TunnelError::Broken { target: target.to_owned(), source };
        let key_material = self.connection.export_keying_material([0; 128], LABEL.as_bytes(), None);
        let key_material = Zeroizing::new(key_material.map_err(|error| broken(error.into()))?);
        let negotiated = negotiated(&self.connection);
        let unknown = || broken(format!("no hash of signatures is known for {}", negotiated.cipher).into());
        let hash = SignatureHash::of_suite(&negotiated.cipher).ok_or_else(unknown)?;
        let peer = self.connection.peer_certificates().unwrap_or_default().to_vec();
        Ok(Agreed { key_material, hash, negotiated, peer })
    }
}

impl Turn for Modern {
    fn turn(&mut self, mut records: &[u8], target: &str) -> Result<(Vec<u8>, Option<Agreed>), TunnelError> {
        let broken = |source: std::io::Error| TunnelError::Broken { target: target.to_owned(), source: source.into() };
        while !records.is_empty() {
            // After the server's close rustls takes no more, and says nothing of it.
            if self.connection.read_tls(&mut records.by_ref()).map_err(broken)? == 0 {
                return Err(TunnelError::Broken {
                    target: target.to_owned(),
                    source: "something follows the end of its connection".into(),
                });
            }
            let (done, seen) = judge::recorded_at_once(|| self.connection.process_new_packets());
            done.map_err(|error| self.failed(error, seen, target))?;
        }
        let mut answer = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut answer).map_err(broken)?;
        }
        // rustls answers with an empty certificate then, and nobody would know who signs in.
        if self.course.is_unsigned() {
            return Err(TunnelError::NoCommonSignature { target: target.to_owned() });
        }
        let agreed = if self.connection.is_handshaking() { None } else { Some(self.agreed(target)?) };
        Ok((answer, agreed))
    }
}

/// Presents the one certificate, whatever issuers the server names: it looks it up.
#[derive(Debug)]
struct Presented {
    own: Arc<CertifiedKey>,
    course: Arc<Course>,
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, _root_hint_subjects: &[&[u8]], _sigschemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.course.came(Came::Asked);
        Some(self.own.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A key in memory.
#[derive(Debug)]
struct Here {
    key: Arc<dyn SigningKey>,
    course: Arc<Course>,
}

impl SigningKey for Here {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn sign::Signer>> {
        let mut fitting = SCHEMES.iter().filter(|scheme| offered.contains(scheme));
        let signer = fitting.find_map(|scheme| self.key.choose_scheme(&[*scheme]))?;
        self.course.came(Came::Signed);
        Some(signer)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

/// A key that is asked, and whose refusal is kept as it is.
struct Elsewhere {
    signer: Arc<dyn Signer>,
    course: Arc<Course>,
}

impl std::fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Elsewhere({:?})", self.signer.scheme())
    }
}

impl SigningKey for Elsewhere {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn sign::Signer>> {
        let asked = Elsewhere { signer: self.signer.clone(), course: self.course.clone() };
        offered.contains(&scheme(self.signer.scheme())).then(|| Box::new(asked) as _)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.signer.scheme() {
            Scheme::RsaPkcs1Sha256 => SignatureAlgorithm::RSA,
            Scheme::EcdsaP256Sha256 => SignatureAlgorithm::ECDSA,
        }
    }
}

impl sign::Signer for Elsewhere {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match self.signer.sign(message) {
            Ok(signature) => {
                self.course.came(Came::Signed);
                Ok(signature)
            }
            Err(error) => {
                self.course.came(Came::Failed(error));
                Err(Error::General("the key did not sign".to_owned()))
            }
        }
    }

    fn scheme(&self) -> SignatureScheme {
        scheme(self.signer.scheme())
    }
}

fn scheme(scheme: Scheme) -> SignatureScheme {
    SignatureScheme::from(scheme.number())
}
