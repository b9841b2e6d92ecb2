//! Who signs in: a certificate, and its key wherever that is.

use rustls::pki_types::CertificateDer;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A user's certificate with its key. It is presented alone: the server looks it up among those that it has published.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// As published.
    pub certificate: CertificateDer<'static>,
    /// Of that certificate.
    pub key: ClientKey,
}

/// Where the key of a certificate is.
#[derive(Clone)]
pub enum ClientKey {
    /// Here, in memory only: PKCS#8, DER.
    Here(Zeroizing<Vec<u8>>),
    /// Elsewhere; it signs when it is asked.
    Elsewhere(Arc<dyn Signer>),
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here(_) => "Here(..)",
            Self::Elsewhere(_) => "Elsewhere(..)",
        })
    }
}

/// How a handshake is signed (RFC 5246, section 7.4.1.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5 with SHA-256. PSS is no choice: old servers do not know it.
    RsaPkcs1Sha256,
    /// ECDSA with P-256 and SHA-256, in DER.
    EcdsaP256Sha256,
}

impl Scheme {
    /// As the wire has it.
    pub fn number(self) -> u16 {
        match self {
            Self::RsaPkcs1Sha256 => 0x0401,
            Self::EcdsaP256Sha256 => 0x0403,
        }
    }
}

/// Why a key that is elsewhere did not sign. What it is can be found out by a downcast.
pub type SignError = Box<dyn std::error::Error + Send + Sync>;

/// A key that is elsewhere.
pub trait Signer: Send + Sync {
    /// What the key signs with.
    fn scheme(&self) -> Scheme;

    /// Signs the handshake messages from ClientHello to ClientKeyExchange, which whoever has the key can read. May take as
    /// long as a person needs.
    fn sign(&self, messages: &[u8]) -> Result<Vec<u8>, SignError>;
}
