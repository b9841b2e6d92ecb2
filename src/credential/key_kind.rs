//! The kinds of key a phone can make.

use std::fmt;

/// A kind of key: what the phone can make and a service will take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// RSA of 2048 bits, exponent 65537.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// RSA of 3072 bits, exponent 65537.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    /// ECDSA on NIST P-256. The Web Services of Lync and Skype for Business take only RSA.
    P256,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa2048 => "RSA 2048",
            Self::Rsa3072 => "RSA 3072",
            Self::P256 => "P-256",
        })
    }
}
