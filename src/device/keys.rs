//! How a phone, and everything else here that stands for one, makes a private key.

use crate::credential::KeyKind;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RsaKeyPair};
use zeroize::Zeroizing;

/// A new key of this kind from the system's random numbers, PKCS#8, DER.
pub fn make(kind: KeyKind) -> Zeroizing<Vec<u8>> {
    let rsa = |size| {
        let key = RsaKeyPair::generate(size).expect("the system has random bytes");
        let der: Pkcs8V1Der<'_> = key.as_der().expect("a key just made can be written");
        Zeroizing::new(der.as_ref().to_vec())
    };
    match kind {
        KeyKind::Rsa2048 => rsa(KeySize::Rsa2048),
        KeyKind::Rsa3072 => rsa(KeySize::Rsa3072),
        KeyKind::P256 => {
            let random = aws_lc_rs::rand::SystemRandom::new();
            let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
            Zeroizing::new(der.expect("the system has random bytes").as_ref().to_vec())
        }
    }
}
