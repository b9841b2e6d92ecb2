//! What a phone's key signs so that the web ticket service believes its certificate: one WS-Security timestamp
//! ([MS-OCAUTHWS] 3.2, "OCS-signed certificate"; the concrete header is not public, inferred from WCF).

use super::proof;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

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

impl EndorsementTerms {
    /// The timestamp, which is its own exclusive canonical form.
    pub fn timestamp(&self) -> String {
        let written = |time: OffsetDateTime| {
            let time = time.to_offset(UtcOffset::UTC);
            time.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z")).unwrap_or_default()
        };
        proof::timestamp(&written(self.created), &written(self.expires))
    }

    /// What the key signs, which is its own exclusive canonical form.
    pub fn signed_info(&self) -> String {
        let (signature_method, digest_method, algorithm) = match self.algorithm {
            EndorsementAlgorithm::RsaSha1 => (
                "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
                "http://www.w3.org/2000/09/xmldsig#sha1",
                &digest::SHA1_FOR_LEGACY_USE_ONLY,
            ),
            EndorsementAlgorithm::RsaSha256 => (
                "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
                "http://www.w3.org/2001/04/xmlenc#sha256",
                &digest::SHA256,
            ),
        };
        format!(
            "<SignedInfo xmlns=\"http://www.w3.org/2000/09/xmldsig#\">\
             <CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"></CanonicalizationMethod>\
             <SignatureMethod Algorithm=\"{signature_method}\"></SignatureMethod>\
             <Reference URI=\"#timestamp\"><Transforms>\
             <Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"></Transform></Transforms>\
             <DigestMethod Algorithm=\"{digest_method}\"></DigestMethod>\
             <DigestValue>{}</DigestValue></Reference></SignedInfo>",
            STANDARD.encode(digest::digest(algorithm, self.timestamp().as_bytes()))
        )
    }
}
