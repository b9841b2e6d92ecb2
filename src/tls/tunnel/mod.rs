//! A TLS handshake whose records travel elsewhere: inside SIP headers, as TLS-DSK has it ([MS-SIPAE] 3.1).
//!
//! Nothing is ever sent over the TLS that it makes: what is wanted of it is that both sides have proved who they are, and key
//! material that only they have. So the server's certificate is judged as that of the connection around it, before the own
//! key signs, and a handshake in which the own key did not sign is an error.

mod error;
mod key;

pub use error::TunnelError;
pub use key::{ClientIdentity, ClientKey, Scheme, SignError, Signer};

use super::Negotiated;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

/// A TLS client handshake, to TLS 1.2 at most, whose records travel elsewhere.
///
/// After an error it is of no more use, and after [`Handshake::finished`] it has nothing more to say.
pub trait Handshake: Send {
    /// Feeds what the peer sent, whole records or parts of them, nothing to begin with; gives what to send. That is empty
    /// where the peer's flight is not whole yet, and at the end. Blocks while the key signs: not for async threads.
    ///
    /// # Errors
    /// Nothing that the engine would still say to the peer, an alert, is sent: the error is for here.
    fn step(&mut self, records: &[u8]) -> Result<Vec<u8>, TunnelError>;

    /// What was agreed, once the peer's Finished is verified.
    fn finished(&self) -> Option<Agreed>;
}

/// What both sides have after the handshake, and nobody else.
#[derive(Clone)]
pub struct Agreed {
    /// 128 bytes by the exporter of RFC 5705 with the label `client EAP encryption` and no context, which up to TLS 1.2 is
    /// the key derivation that [MS-SIPAE] 3.2.5.1 describes.
    pub key_material: Zeroizing<[u8; 128]>,
    /// What messages are signed with from now on.
    pub hash: SignatureHash,
    /// Version and cipher.
    pub negotiated: Negotiated,
    /// The server's certificates as sent, its own first.
    pub peer: Vec<CertificateDer<'static>>,
}

impl std::fmt::Debug for Agreed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key_material: _, hash, negotiated, peer } = self;
        write!(f, "Agreed({negotiated}, {hash:?}, {} certificates)", peer.len())
    }
}

/// The hash of the signatures that follow, by the cipher suite of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureHash {
    /// Suites that end in `_SHA`, whatever the version of TLS.
    Sha1,
    /// Suites that end in `_SHA256`.
    Sha256,
    /// Suites that end in `_SHA384`.
    Sha384,
}

impl SignatureHash {
    /// By a suite's name as IANA has it. SHA-1 and SHA-384 were seen with real servers; that the last word decides for all
    /// is inferred, and the length of the server's first signature shows it.
    pub fn of_suite(name: &str) -> Option<Self> {
        match name.rsplit_once('_')?.1 {
            "SHA" => Some(Self::Sha1),
            "SHA256" => Some(Self::Sha256),
            "SHA384" => Some(Self::Sha384),
            _ => None,
        }
    }
}

/// The exporter's label ([MS-SIPAE] 3.2.5.1, RFC 5216 2.3).
const LABEL: &str = "client EAP encryption";

/// The longest that all records of a registrar may be together: a chain of certificates makes 4 to 6 kB of them.
const MAX_RECORDS: usize = 256 << 10;
