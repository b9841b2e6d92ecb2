//! What a phone's key signs so that the web ticket service believes its certificate: one WS-Security timestamp
//! ([MS-OCAUTHWS] 3.2, "OCS-signed certificate"; the concrete header is not public, inferred from WCF).

use super::signed_text::{SignatureMethod, signed_info, timestamp};
use time::OffsetDateTime;
use time::macros::format_description;

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

impl EndorsementTerms {
    /// How long an endorsement is good for.
    pub const LIFE: time::Duration = time::Duration::minutes(5);

    /// Terms that begin at `now`, by the service's clock.
    pub fn beginning(now: OffsetDateTime, algorithm: EndorsementAlgorithm) -> Self {
        let created = now.to_offset(time::UtcOffset::UTC).replace_nanosecond(0).expect("0 is a nanosecond");
        Self { created, expires: created.saturating_add(Self::LIFE), algorithm }
    }

    /// The timestamp that the signature is about: [`timestamp`] of both times.
    pub fn timestamp(&self) -> String {
        timestamp(&second(self.created), &second(self.expires))
    }

    /// The bytes that the certificate's key signs: [`signed_info`] of the timestamp.
    pub fn signed_info(&self) -> String {
        let method = match self.algorithm {
            EndorsementAlgorithm::RsaSha1 => SignatureMethod::RsaSha1,
            EndorsementAlgorithm::RsaSha256 => SignatureMethod::RsaSha256,
        };
        signed_info(&self.timestamp(), method)
    }
}

/// `2026-11-22T10:00:00Z`.
fn second(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    time.to_offset(time::UtcOffset::UTC).format(&format).expect("a time of day can be written")
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

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn terms_are_whole_seconds_and_five_minutes_of_them() {
        let terms = EndorsementTerms::beginning(datetime!(2026-11-22 11:00:00.9 +1), EndorsementAlgorithm::RsaSha1);
        assert_eq!(terms.timestamp(), timestamp("2026-11-22T10:00:00Z", "2026-11-22T10:05:00Z"));
    }

    #[test]
    fn the_texts_are_those_of_the_example() {
        let terms = |algorithm| EndorsementTerms::beginning(datetime!(2026-11-22 10:00 UTC), algorithm);
        let sha1 = terms(EndorsementAlgorithm::RsaSha1).signed_info();
        assert!(sha1.contains("#rsa-sha1\"></SignatureMethod>") && sha1.contains("xmldsig#sha1\"></DigestMethod>"));
        let sha256 = terms(EndorsementAlgorithm::RsaSha256).signed_info();
        assert!(sha256.contains("xmldsig-more#rsa-sha256\">") && sha256.contains("xmlenc#sha256\"></DigestMethod>"));
    }
}
