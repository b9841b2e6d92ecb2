//! Thumbprints as Windows and administrators write them.

use super::{Certificate, Fingerprint};
use std::fmt;
use std::str::FromStr;

/// A certificate's hash as somebody gives it to compare with: SHA-1, which Windows calls the thumbprint, or SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thumbprint {
    /// SHA-1: names a certificate in the cmdlets of Lync and in the certificate manager.
    Sha1([u8; 20]),
    /// SHA-256.
    Sha256(Fingerprint),
}

/// Why a text is no thumbprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a thumbprint is 40 hexadecimal digits (SHA-1) or 64 (SHA-256)")]
pub struct ParseThumbprintError;

impl Thumbprint {
    /// The SHA-1 of a certificate's DER.
    pub fn sha1_of(der: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, der);
        Self::Sha1(digest.as_ref().try_into().expect("SHA-1 gives 20 bytes"))
    }

    /// Whether it is this certificate's.
    pub fn is_of(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Sha1(_) => *self == Self::sha1_of(certificate.der()),
            Self::Sha256(fingerprint) => *fingerprint == certificate.fingerprint(),
        }
    }
}

/// Upper case without colons, as the cmdlets take it.
impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(fingerprint) => fingerprint.as_bytes(),
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl FromStr for Thumbprint {
    type Err = ParseThumbprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The Windows certificate dialogue puts spaces between the pairs and an invisible mark before the first.
        let between = |c: &char| !matches!(c, ':' | ' ' | '\u{200e}' | '\u{200f}');
        let digits: Vec<u8> = text
            .chars()
            .filter(between)
            .map(|c| c.to_digit(16).map(|digit| digit as u8))
            .collect::<Option<_>>()
            .ok_or(ParseThumbprintError)?;
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        match digits.len() {
            40 => Ok(Self::Sha1(bytes.try_into().expect("40 digits are 20 bytes"))),
            64 => Ok(Self::Sha256(Fingerprint::from_bytes(bytes.try_into().expect("64 digits are 32 bytes")))),
            _ => Err(ParseThumbprintError),
        }
    }
}

crate::text_form::serde_as_text!(Thumbprint);

#[cfg(test)]
mod tests {
    use super::super::test_ca::Ca;
    use super::*;

    #[test]
    fn a_thumbprint_is_taken_as_windows_shows_it_and_as_openssl_does() {
        let root = Ca::root("Contoso Root").certificate;
        let sha1 = Thumbprint::sha1_of(root.der());
        assert_eq!(sha1.to_string().len(), 40);
        let pairs: Vec<String> =
            sha1.to_string().as_bytes().chunks(2).map(|pair| String::from_utf8(pair.to_vec()).unwrap()).collect();
        for text in [pairs.join(":"), format!("\u{200e}{}", pairs.join(" ")).to_lowercase(), sha1.to_string()] {
            assert_eq!(text.parse(), Ok(sha1), "{text}");
        }
        assert!(sha1.is_of(&root) && root.fingerprint().to_string().parse::<Thumbprint>().unwrap().is_of(&root));
        assert!(!sha1.is_of(&Ca::root("Contoso Root").certificate));
        for wrong in ["", "12", "zz", &"a".repeat(41)] {
            assert_eq!(wrong.parse::<Thumbprint>(), Err(ParseThumbprintError));
        }
    }
}
