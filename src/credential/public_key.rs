//! Public keys and the signatures they check.

use std::fmt;

use aws_lc_rs::signature::{self as aws, VerificationAlgorithm};
use x509_parser::asn1_rs::{FromDer, Oid};
use x509_parser::oid_registry as oid;
use x509_parser::public_key::PublicKey as ParsedKey;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use super::{Fingerprint, KeyKind};

/// What kind of public key a certificate or a request holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PublicKeyKind {
    /// RSA.
    Rsa {
        /// Length of the modulus in bits.
        bits: u32,
        /// Whether the exponent is 65537.
        common_exponent: bool,
    },
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// Something else, by object identifier.
    Other(String),
}

impl PublicKeyKind {
    /// The length of an RSA modulus in bits; none for other kinds.
    pub fn rsa_bits(&self) -> Option<u32> {
        match self {
            Self::Rsa { bits, .. } => Some(*bits),
            Self::P256 | Self::P384 | Self::P521 | Self::Ed25519 | Self::Other(_) => None,
        }
    }

    /// The kind of key a phone makes that this is, if it is one.
    pub fn key_kind(&self) -> Option<KeyKind> {
        match self {
            Self::Rsa { bits: 2048, common_exponent: true } => Some(KeyKind::Rsa2048),
            Self::Rsa { bits: 3072, common_exponent: true } => Some(KeyKind::Rsa3072),
            Self::P256 => Some(KeyKind::P256),
            Self::Rsa { .. } | Self::P384 | Self::P521 | Self::Ed25519 | Self::Other(_) => None,
        }
    }
}

impl fmt::Display for PublicKeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits, common_exponent: true } => write!(f, "RSA {bits}"),
            Self::Rsa { bits, common_exponent: false } => write!(f, "RSA {bits} with an unusual exponent"),
            Self::P256 => f.write_str("P-256"),
            Self::P384 => f.write_str("P-384"),
            Self::P521 => f.write_str("P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(oid) => write!(f, "a key of kind {oid}"),
        }
    }
}

/// A public key: its SubjectPublicKeyInfo and what that says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    pub(super) spki: Box<[u8]>,
    pub(super) id: Fingerprint,
    pub(super) kind: PublicKeyKind,
}

impl PublicKey {
    /// Reads a parsed SubjectPublicKeyInfo; a key that cannot be understood is of kind `Other`.
    pub(super) fn read(spki: &SubjectPublicKeyInfo<'_>) -> Self {
        Self { spki: spki.raw.into(), id: Fingerprint::of(spki.raw), kind: kind(spki) }
    }
}

fn kind(spki: &SubjectPublicKeyInfo<'_>) -> PublicKeyKind {
    let algorithm = &spki.algorithm.algorithm;
    let other = || PublicKeyKind::Other(algorithm.to_id_string());
    if *algorithm == oid::OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = spki.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
        return match curve {
            Some(curve) if curve == oid::OID_EC_P256 => PublicKeyKind::P256,
            Some(curve) if curve == oid::OID_NIST_EC_P384 => PublicKeyKind::P384,
            Some(curve) if curve == oid::OID_NIST_EC_P521 => PublicKeyKind::P521,
            Some(curve) => PublicKeyKind::Other(curve.to_id_string()),
            None => other(),
        };
    }
    if *algorithm == oid::OID_SIG_ED25519 {
        return PublicKeyKind::Ed25519;
    }
    match spki.parsed() {
        Ok(ParsedKey::RSA(rsa)) => PublicKeyKind::Rsa {
            bits: bits(rsa.modulus),
            common_exponent: rsa.try_exponent().is_ok_and(|exponent| exponent == 65537),
        },
        _ => other(),
    }
}

/// The length of a big-endian number in bits, without its leading zeros.
fn bits(number: &[u8]) -> u32 {
    let Some(first) = number.iter().position(|byte| *byte != 0) else { return 0 };
    let whole = u32::try_from(number.len() - first).unwrap_or(u32::MAX).saturating_mul(8);
    whole.saturating_sub(number[first].leading_zeros())
}

/// How a certificate or a request was signed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// MD5 with RSA, of the oldest roots. Never checked.
    Md5WithRsa,
    /// SHA-1 with RSA.
    Sha1WithRsa,
    /// SHA-256 with RSA.
    Sha256WithRsa,
    /// SHA-384 with RSA.
    Sha384WithRsa,
    /// SHA-512 with RSA.
    Sha512WithRsa,
    /// RSA-PSS with SHA-1, its default.
    Sha1WithRsaPss,
    /// RSA-PSS with SHA-256.
    Sha256WithRsaPss,
    /// RSA-PSS with SHA-384.
    Sha384WithRsaPss,
    /// RSA-PSS with SHA-512.
    Sha512WithRsaPss,
    /// ECDSA with SHA-1.
    Sha1WithEcdsa,
    /// ECDSA with SHA-256.
    Sha256WithEcdsa,
    /// ECDSA with SHA-384.
    Sha384WithEcdsa,
    /// ECDSA with SHA-512.
    Sha512WithEcdsa,
    /// Ed25519.
    Ed25519,
    /// Something else, by object identifier.
    Other(String),
}

impl SignatureAlgorithm {
    pub(super) fn read(algorithm: &AlgorithmIdentifier<'_>) -> Self {
        if algorithm.algorithm == oid::OID_PKCS1_RSASSAPSS {
            return Self::read_pss(algorithm);
        }
        [
            (oid::OID_PKCS1_MD5WITHRSAENC, Self::Md5WithRsa),
            (oid::OID_PKCS1_SHA1WITHRSA, Self::Sha1WithRsa),
            (oid::OID_SHA1_WITH_RSA, Self::Sha1WithRsa),
            (oid::OID_PKCS1_SHA256WITHRSA, Self::Sha256WithRsa),
            (oid::OID_PKCS1_SHA384WITHRSA, Self::Sha384WithRsa),
            (oid::OID_PKCS1_SHA512WITHRSA, Self::Sha512WithRsa),
            (x509_parser::asn1_rs::oid!(1.2.840.10045.4.1), Self::Sha1WithEcdsa),
            (oid::OID_SIG_ECDSA_WITH_SHA256, Self::Sha256WithEcdsa),
            (oid::OID_SIG_ECDSA_WITH_SHA384, Self::Sha384WithEcdsa),
            (oid::OID_SIG_ECDSA_WITH_SHA512, Self::Sha512WithEcdsa),
            (oid::OID_SIG_ED25519, Self::Ed25519),
        ]
        .into_iter()
        .find_map(|(known, name): (Oid<'_>, _)| (known == algorithm.algorithm).then_some(name))
        .unwrap_or_else(|| Self::Other(algorithm.algorithm.to_id_string()))
    }

    fn read_pss(algorithm: &AlgorithmIdentifier<'_>) -> Self {
        let parameters = algorithm.parameters.as_ref().and_then(|any| RsaSsaPssParams::try_from(any).ok());
        let Some(parameters) = parameters else { return Self::Other(algorithm.algorithm.to_id_string()) };
        let hash = parameters.hash_algorithm_oid();
        if *hash == oid::OID_HASH_SHA1 {
            Self::Sha1WithRsaPss
        } else if *hash == oid::OID_NIST_HASH_SHA256 {
            Self::Sha256WithRsaPss
        } else if *hash == oid::OID_NIST_HASH_SHA384 {
            Self::Sha384WithRsaPss
        } else if *hash == oid::OID_NIST_HASH_SHA512 {
            Self::Sha512WithRsaPss
        } else {
            Self::Other(hash.to_id_string())
        }
    }

    /// Whether the signature stands on SHA-1 (or on MD5, which is older still).
    pub fn is_sha1_or_older(&self) -> bool {
        matches!(self, Self::Md5WithRsa | Self::Sha1WithRsa | Self::Sha1WithRsaPss | Self::Sha1WithEcdsa)
    }

    /// The algorithm that checks a signature of this kind with a key of `kind`.
    ///
    /// Short keys and SHA-1 are checked too: this tells who signed what, and grants nothing.
    fn verifier(&self, kind: &PublicKeyKind) -> Option<&'static dyn VerificationAlgorithm> {
        use PublicKeyKind::{Ed25519, P256, P384, P521, Rsa};
        const ANY: std::ops::RangeInclusive<u32> = 1024..=8192;
        const LONG: std::ops::RangeInclusive<u32> = 2048..=8192;
        Some(match (self, kind) {
            (Self::Sha1WithRsa, Rsa { bits, .. }) if ANY.contains(bits) => {
                &aws::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY
            }
            (Self::Sha256WithRsa, Rsa { bits, .. }) if ANY.contains(bits) => {
                &aws::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY
            }
            (Self::Sha512WithRsa, Rsa { bits, .. }) if ANY.contains(bits) => {
                &aws::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY
            }
            (Self::Sha384WithRsa, Rsa { bits, .. }) if LONG.contains(bits) => &aws::RSA_PKCS1_2048_8192_SHA384,
            (Self::Sha256WithRsaPss, Rsa { bits, .. }) if LONG.contains(bits) => &aws::RSA_PSS_2048_8192_SHA256,
            (Self::Sha384WithRsaPss, Rsa { bits, .. }) if LONG.contains(bits) => &aws::RSA_PSS_2048_8192_SHA384,
            (Self::Sha512WithRsaPss, Rsa { bits, .. }) if LONG.contains(bits) => &aws::RSA_PSS_2048_8192_SHA512,
            (Self::Sha256WithEcdsa, P256) => &aws::ECDSA_P256_SHA256_ASN1,
            (Self::Sha384WithEcdsa, P256) => &aws::ECDSA_P256_SHA384_ASN1,
            (Self::Sha512WithEcdsa, P256) => &aws::ECDSA_P256_SHA512_ASN1,
            (Self::Sha256WithEcdsa, P384) => &aws::ECDSA_P384_SHA256_ASN1,
            (Self::Sha384WithEcdsa, P384) => &aws::ECDSA_P384_SHA384_ASN1,
            (Self::Sha512WithEcdsa, P384) => &aws::ECDSA_P384_SHA512_ASN1,
            (Self::Sha256WithEcdsa, P521) => &aws::ECDSA_P521_SHA256_ASN1,
            (Self::Sha384WithEcdsa, P521) => &aws::ECDSA_P521_SHA384_ASN1,
            (Self::Sha512WithEcdsa, P521) => &aws::ECDSA_P521_SHA512_ASN1,
            (Self::Ed25519, Ed25519) => &aws::ED25519,
            _ => return None,
        })
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Md5WithRsa => "MD5 with RSA",
            Self::Sha1WithRsa => "SHA-1 with RSA",
            Self::Sha256WithRsa => "SHA-256 with RSA",
            Self::Sha384WithRsa => "SHA-384 with RSA",
            Self::Sha512WithRsa => "SHA-512 with RSA",
            Self::Sha1WithRsaPss => "SHA-1 with RSA-PSS",
            Self::Sha256WithRsaPss => "SHA-256 with RSA-PSS",
            Self::Sha384WithRsaPss => "SHA-384 with RSA-PSS",
            Self::Sha512WithRsaPss => "SHA-512 with RSA-PSS",
            Self::Sha1WithEcdsa => "SHA-1 with ECDSA",
            Self::Sha256WithEcdsa => "SHA-256 with ECDSA",
            Self::Sha384WithEcdsa => "SHA-384 with ECDSA",
            Self::Sha512WithEcdsa => "SHA-512 with ECDSA",
            Self::Ed25519 => "Ed25519",
            Self::Other(oid) => return write!(f, "algorithm {oid}"),
        })
    }
}

/// What checking a signature showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureCheck {
    /// The key made this signature.
    Good,
    /// The key did not make this signature.
    Bad,
    /// This kind of signature cannot be checked here (MD5, an unknown algorithm, a key of another kind).
    Unsupported,
}

/// Checks `signature` over `message` with the key in `spki`.
pub(super) fn check_signature(
    algorithm: &SignatureAlgorithm,
    spki: &[u8],
    message: &[u8],
    signature: &[u8],
) -> SignatureCheck {
    let Ok((_, spki)) = SubjectPublicKeyInfo::from_der(spki) else { return SignatureCheck::Unsupported };
    let Some(verifier) = algorithm.verifier(&kind(&spki)) else { return SignatureCheck::Unsupported };
    let key = aws::UnparsedPublicKey::new(verifier, &spki.subject_public_key.data);
    match key.verify(message, signature) {
        Ok(()) => SignatureCheck::Good,
        Err(_) => SignatureCheck::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_modulus_is_counted_in_bits_not_bytes() {
        assert_eq!(bits(&[0, 0x80, 0]), 16);
        assert_eq!(bits(&[0x7f, 0xff]), 15);
        assert_eq!(bits(&[0, 0]), 0);
    }
}
