//! What a phone's key signs so that the web ticket service believes its certificate: one WS-Security timestamp
//! ([MS-OCAUTHWS] 3.2, "OCS-signed certificate"; the concrete header is not public, inferred from WCF).

use time::OffsetDateTime;

/// What the certificate's key signs so that the web ticket service believes it: one WS-Security timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndorsementTerms {
    /// Whole seconds, by the service's clock.
    pub created: OffsetDateTime,
    /// Whole seconds, by the service's clock; five minutes later.
    pub expires: OffsetDateTime,
    /// How it is signed.
    pub algorithm: EndorsementAlgorithm,
}

/// How the timestamp is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndorsementAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-1, digest SHA-1: what WCF's Basic256 and Basic128 suites ask for.
    RsaSha1,
    /// RSASSA-PKCS1-v1_5 with SHA-256, digest SHA-256: what the suites named `…Sha256` ask for.
    RsaSha256,
}

/// A certificate with the signature by its key over the `SignedInfo` of these terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsement {
    /// The user's certificate, DER.
    pub certificate: Vec<u8>,
    /// What was signed.
    pub terms: EndorsementTerms,
    /// The raw signature.
    pub signature: Vec<u8>,
}
