//! Ties what is said inside a TLS connection to the server at its end: `tls-server-end-point` (RFC 5929, section 4).

use super::signature::Hash;
use aws_lc_rs::digest;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The application data of a channel binding: the prefix, and the hash of the server's own certificate. `None` where
/// RFC 5929 defines none, as for a signature that has no hash.
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let algorithm = match Hash::of_signature(&parsed)? {
        Hash::Md5 | Hash::Sha1 | Hash::Sha256 => &digest::SHA256,
        Hash::Sha224 => &digest::SHA224,
        Hash::Sha384 => &digest::SHA384,
        Hash::Sha512 => &digest::SHA512,
    };
    Some([b"tls-server-end-point:", digest::digest(algorithm, certificate).as_ref()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::fixture::{rsa_key, signed_with_sha1};
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

    fn certificate(key: &KeyPair) -> Vec<u8> {
        CertificateParams::default().self_signed(key).unwrap().der().to_vec()
    }

    fn rsa(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        certificate(&rsa_key(algorithm))
    }

    fn other(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        certificate(&KeyPair::generate_for(algorithm).unwrap())
    }

    fn bound_by(certificate: &[u8]) -> Option<&'static str> {
        let data = server_end_point(certificate)?;
        let hash = data.strip_prefix(b"tls-server-end-point:").unwrap();
        [("SHA-256", &digest::SHA256), ("SHA-384", &digest::SHA384), ("SHA-512", &digest::SHA512)]
            .into_iter()
            .find_map(|(name, algorithm)| (digest::digest(algorithm, certificate).as_ref() == hash).then_some(name))
    }

    #[test]
    fn the_hash_is_that_of_the_certificates_signature() {
        assert_eq!(bound_by(&rsa(&rcgen::PKCS_RSA_SHA256)), Some("SHA-256"));
        assert_eq!(bound_by(&rsa(&rcgen::PKCS_RSA_SHA384)), Some("SHA-384"));
        assert_eq!(bound_by(&rsa(&rcgen::PKCS_RSA_SHA512)), Some("SHA-512"));
        assert_eq!(bound_by(&other(&rcgen::PKCS_ECDSA_P256_SHA256)), Some("SHA-256"));
        assert_eq!(bound_by(&other(&rcgen::PKCS_ECDSA_P384_SHA384)), Some("SHA-384"));
        assert_eq!(bound_by(&other(&rcgen::PKCS_ED25519)), None);
    }

    #[test]
    fn an_old_certificate_is_bound_by_sha_256() {
        assert_eq!(bound_by(&signed_with_sha1(&rsa(&rcgen::PKCS_RSA_SHA256))), Some("SHA-256"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_bound_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(server_end_point(&bytes), None);
        }
    }
}
