//! Which hash a certificate's signature uses.

use x509_parser::prelude::{AlgorithmIdentifier, X509Certificate};
use x509_parser::signature_algorithm::RsaSsaPssParams;

/// The one hash of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// `None` for a signature that has no hash of its own (Ed25519) or is not known here.
    pub(super) fn of_signature(certificate: &X509Certificate<'_>) -> Option<Self> {
        let algorithm = &certificate.signature_algorithm;
        // With PKCS #1 v1.5 (RFC 8017), with ECDSA (RFC 5758); the first SHA-1 is Microsoft's old makecert's (OIW).
        match algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.4" => Some(Self::Md5),
            "1.3.14.3.2.29" | "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" => Some(Self::Sha1),
            "1.2.840.113549.1.1.14" | "1.2.840.10045.4.3.1" => Some(Self::Sha224),
            "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" => Some(Self::Sha256),
            "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(Self::Sha384),
            "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(Self::Sha512),
            "1.2.840.113549.1.1.10" => Self::of_pss(algorithm),
            _ => None,
        }
    }

    fn of_pss(algorithm: &AlgorithmIdentifier<'_>) -> Option<Self> {
        let params = RsaSsaPssParams::try_from(algorithm.parameters.as_ref()?).ok()?;
        match params.hash_algorithm_oid().to_id_string().as_str() {
            "1.3.14.3.2.26" => Some(Self::Sha1),
            "2.16.840.1.101.3.4.2.4" => Some(Self::Sha224),
            "2.16.840.1.101.3.4.2.1" => Some(Self::Sha256),
            "2.16.840.1.101.3.4.2.2" => Some(Self::Sha384),
            "2.16.840.1.101.3.4.2.3" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Nobody should believe it any more: two documents with the same hash can be made.
    pub(super) fn is_broken(self) -> bool {
        matches!(self, Self::Md5 | Self::Sha1)
    }
}
