//! Trust anchors of a pool: a file, and what it has to hold.

use crate::credential::{Certificate, Fingerprint};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The SHA-1 of a certificate, as Windows shows it. For comparing by eye beside the SHA-256, never alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sha1([u8; 20]);

impl Sha1 {
    /// The thumbprint of `der`.
    pub fn of(der: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, der);
        Self(digest.as_ref().try_into().expect("SHA-1 gives 20 bytes"))
    }
}

impl fmt::Display for Sha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha1({self})")
    }
}

impl FromStr for Sha1 {
    type Err = super::BadWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = super::BadWord("40 hexadecimal digits");
        let digits: Vec<u8> = hex_digits(text).ok_or(error)?;
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        if digits.len() != 40 { Err(error) } else { Ok(Self(bytes.try_into().map_err(|_| error)?)) }
    }
}

crate::text_form::serde_as_text!(Sha1);

/// Colons and spaces are how Windows and OpenSSL write thumbprints.
fn hex_digits(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().filter(|c| !matches!(c, ':' | ' ' | '\u{200e}'));
    digits.map(|c| c.to_digit(16).map(|digit| digit as u8)).collect()
}

/// Both thumbprints of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Thumbprints {
    /// Of the whole certificate.
    pub sha256: Fingerprint,
    /// Of the whole certificate.
    pub sha1: Sha1,
}

impl Thumbprints {
    /// Those of `der`.
    pub fn of(der: &[u8]) -> Self {
        Self { sha256: Fingerprint::of(der), sha1: Sha1::of(der) }
    }

    /// Whether a person who wrote `text` means this certificate: by either thumbprint, colons and spaces do not count.
    pub fn are_meant_by(&self, text: &str) -> bool {
        let plain: String = text.chars().filter(|c| !matches!(c, ':' | ' ' | '\u{200e}')).collect();
        plain.eq_ignore_ascii_case(&self.sha256.to_string()) || plain.eq_ignore_ascii_case(&self.sha1.to_string())
    }
}

/// One certificate that a pool's file names: a root to trust, or an intermediate to know.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Where it is, from the pool's file.
    pub file: PathBuf,
    /// What it has to be.
    pub sha256: Fingerprint,
    /// What it has to be.
    pub sha1: Sha1,
}

impl Anchor {
    /// The entry for `certificate`, in a file that has the first half of its SHA-256 as its name, in `folder`.
    pub(super) fn of(certificate: &Certificate, folder: &str) -> Self {
        let Thumbprints { sha256, sha1 } = Thumbprints::of(certificate.der());
        let name: String = sha256.to_string().chars().take(32).collect();
        Self { file: PathBuf::from(folder).join(format!("{name}.pem")), sha256, sha1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_known_in_every_usual_spelling() {
        let prints = Thumbprints::of(b"abc");
        let sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d";
        assert_eq!(prints.sha1.to_string(), sha1);
        assert_eq!("A9:99:3E:36 4706816aba3e25717850c26c9cd0d89d".parse(), Ok(prints.sha1));
        assert!(prints.are_meant_by(sha1) && prints.are_meant_by(&prints.sha256.to_string().to_uppercase()));
        assert!(!prints.are_meant_by("a9993e36") && !prints.are_meant_by(""));
        assert!("a9".parse::<Sha1>().is_err() && "x".repeat(40).parse::<Sha1>().is_err());
    }
}
