//! Signing requests (PKCS#10): written by whoever holds the key, read and checked by everybody else.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, DnType};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certification_request::X509CertificationRequest;

use super::public_key::{PublicKey, check_signature};
use super::text::{common_name, distinguished_name, printable};
use super::{Fingerprint, KeyKind, PublicKeyKind, SignatureAlgorithm, SignatureCheck};

/// A PKCS#10 request whose own signature was verified: whoever made it holds its key. Equal when its DER is equal.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningRequest {
    der: Box<[u8]>,
    subject: String,
    common_name: Option<String>,
    names: usize,
    key: PublicKey,
    signature_algorithm: SignatureAlgorithm,
    version: u32,
    attributes: usize,
}

/// What a request must be for us to pass it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected<'a> {
    /// The kind of key that was asked for.
    pub kind: KeyKind,
    /// The one name of its subject, compared without regard to case: `alice@contoso.example`.
    pub common_name: &'a str,
}

/// Why bytes are no signing request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not the DER of a PKCS#10 request.
    #[error("these {length} bytes are no PKCS#10 signing request")]
    Malformed {
        /// How many bytes were given.
        length: usize,
    },
    /// A request, and then something else.
    #[error("{count} bytes follow the signing request")]
    TrailingBytes {
        /// How many bytes are too many.
        count: usize,
    },
    /// The key in the request did not sign it.
    #[error("the signing request is not signed by the key it holds ({key})")]
    BadSignature {
        /// The key.
        key: PublicKeyKind,
    },
    /// A kind of signature that cannot be checked.
    #[error("the signing request's signature ({algorithm}) cannot be checked")]
    UnsupportedSignature {
        /// How it was signed.
        algorithm: SignatureAlgorithm,
    },
}

/// How a request differs from what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unexpected {
    /// Another kind of key.
    #[error("the request holds {found}, not the {wanted} key that was asked for")]
    Key {
        /// The kind that was asked for.
        wanted: KeyKind,
        /// The kind that came.
        found: PublicKeyKind,
    },
    /// Another subject.
    #[error("the request is for `{found}`, not for `CN={wanted}`")]
    Subject {
        /// The common name that was asked for.
        wanted: String,
        /// The whole subject that came, safe to print.
        found: String,
    },
    /// Attributes or extensions, though none were asked for.
    #[error("the request asks for {count} attributes of its own")]
    Attributes {
        /// How many.
        count: usize,
    },
    /// A version other than 0.
    #[error("the request has version {found}, not 0")]
    Version {
        /// The version's number in the request.
        found: u32,
    },
}

/// Why a request could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the key could not sign a request for `{common_name}`")]
pub struct WriteRequestError {
    common_name: String,
    #[source]
    source: rcgen::Error,
}

impl RequestError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Malformed { .. } | Self::TrailingBytes { .. } => {
                "plug the phone in again and repeat; if it sends the same again, update its firmware"
            }
            Self::BadSignature { .. } => "have the phone make a new key and request; do not use this one",
            Self::UnsupportedSignature { .. } => "ask for a key of another kind, or update the phone's firmware",
        }
    }
}

impl Unexpected {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Key { .. } => "have the phone make a new key of the kind that was asked for",
            Self::Subject { .. } => "have the phone make a new request for this user; do not publish this one",
            Self::Attributes { .. } | Self::Version { .. } => {
                "have the phone make a new request, or update its firmware"
            }
        }
    }
}

impl SigningRequest {
    /// Reads one request from exactly its DER and verifies its signature with the key it holds.
    pub fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        let (rest, parsed) =
            X509CertificationRequest::from_der(der).map_err(|_| RequestError::Malformed { length: der.len() })?;
        if !rest.is_empty() {
            return Err(RequestError::TrailingBytes { count: rest.len() });
        }
        let info = &parsed.certification_request_info;
        let key = PublicKey::read(&info.subject_pki);
        let signature_algorithm = SignatureAlgorithm::read(&parsed.signature_algorithm);
        match check_signature(&signature_algorithm, &key.spki, info.raw, &parsed.signature_value.data) {
            SignatureCheck::Good => {}
            SignatureCheck::Bad => return Err(RequestError::BadSignature { key: key.kind }),
            SignatureCheck::Unsupported => {
                return Err(RequestError::UnsupportedSignature { algorithm: signature_algorithm });
            }
        }
        Ok(Self {
            der: der.into(),
            subject: distinguished_name(&info.subject),
            common_name: common_name(&info.subject),
            names: info.subject.iter_attributes().count(),
            key,
            signature_algorithm,
            version: info.version.0,
            attributes: info.attributes().len(),
        })
    }

    /// Checks that this is the request we asked for: key, subject of one common name, version 0 and nothing else in it.
    pub fn check(&self, expected: &Expected<'_>) -> Result<(), Unexpected> {
        let one_name = self.names == 1;
        let named = self.common_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(expected.common_name));
        if self.key.kind.key_kind() != Some(expected.kind) {
            Err(Unexpected::Key { wanted: expected.kind, found: self.key.kind.clone() })
        } else if !(one_name && named) {
            Err(Unexpected::Subject { wanted: printable(expected.common_name), found: self.subject.clone() })
        } else if self.attributes != 0 {
            Err(Unexpected::Attributes { count: self.attributes })
        } else if self.version != 0 {
            Err(Unexpected::Version { found: self.version })
        } else {
            Ok(())
        }
    }

    /// The whole request.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The SHA-256 of the whole request.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }

    /// The subject for a person, safe to print.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The subject's first common name as the request has it, not made safe to print.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The public key's SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.key.spki
    }

    /// The SHA-256 of the SubjectPublicKeyInfo: the same as that of the certificate to come.
    pub fn key_id(&self) -> Fingerprint {
        self.key.id
    }

    /// What kind of key it holds.
    pub fn key_kind(&self) -> &PublicKeyKind {
        &self.key.kind
    }

    /// How it was signed. SHA-1 is what the oldest pools may need and is no error: say it aloud.
    pub fn signature_algorithm(&self) -> &SignatureAlgorithm {
        &self.signature_algorithm
    }
}

impl fmt::Debug for SigningRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningRequest({}, {})", self.subject, self.key.kind)
    }
}

/// Writes the DER of a request for `CN=subject_common_name` (UTF8String, one RDN, no attributes, version 0), signed by `key`.
pub fn signing_request(subject_common_name: &str, key: &impl rcgen::SigningKey) -> Result<Vec<u8>, WriteRequestError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject_common_name);
    let request = params.serialize_request(key);
    let failed = |source| WriteRequestError { common_name: printable(subject_common_name), source };
    Ok(request.map_err(failed)?.der().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALICE: &str = "alice@contoso.example";
    const WANTED: Expected<'_> = Expected { kind: KeyKind::P256, common_name: ALICE };
    const SHA1_REQUEST: &[u8] = include_bytes!("../../tests/fixtures/certificates/request-sha1.der");

    fn request(params: &CertificateParams) -> SigningRequest {
        let key = rcgen::KeyPair::generate().unwrap();
        SigningRequest::from_der(params.serialize_request(&key).unwrap().der()).unwrap()
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    #[test]
    fn a_request_we_write_is_the_request_we_ask_for() {
        let key = rcgen::KeyPair::generate().unwrap();
        let der = signing_request(ALICE, &key).unwrap();

        let request = SigningRequest::from_der(&der).unwrap();

        assert_eq!(request.check(&WANTED), Ok(()));
        assert_eq!(request.check(&Expected { common_name: "Alice@Contoso.Example", ..WANTED }), Ok(()));
        assert_eq!(request.subject(), "CN=alice@contoso.example");
        assert_eq!(request.key_kind(), &PublicKeyKind::P256);
        assert_eq!(request.key_id(), Fingerprint::of(&rcgen::PublicKeyData::subject_public_key_info(&key)));
        assert_eq!(request, SigningRequest::from_der(&der).unwrap());
        // The subject in full: one RDN, one attribute, a UTF8String.
        let cn = [&[0x30, 0x20, 0x31, 0x1e, 0x30, 0x1c, 0x06, 3, 0x55, 4, 3, 0x0c, 21], ALICE.as_bytes()].concat();
        assert!(der.windows(cn.len()).any(|window| window == cn));
    }

    #[test]
    fn a_phone_that_asks_for_something_else_is_found_out() {
        let wrong_kind = request(&params(ALICE)).check(&Expected { kind: KeyKind::Rsa2048, ..WANTED });
        assert_eq!(wrong_kind, Err(Unexpected::Key { wanted: KeyKind::Rsa2048, found: PublicKeyKind::P256 }));

        let found = "CN=bob@contoso.example".to_owned();
        let wrong_user = request(&params("bob@contoso.example")).check(&WANTED);
        assert_eq!(wrong_user, Err(Unexpected::Subject { wanted: ALICE.into(), found }));

        let mut two_names = params(ALICE);
        two_names.distinguished_name.push(DnType::OrganizationName, "Contoso");
        assert!(matches!(request(&two_names).check(&WANTED), Err(Unexpected::Subject { .. })));

        let mut ca = params(ALICE);
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        assert_eq!(request(&ca).check(&WANTED), Err(Unexpected::Attributes { count: 1 }));
    }

    #[test]
    fn a_request_that_its_own_key_did_not_sign_is_refused() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut der = signing_request(ALICE, &key).unwrap();
        let at = der.windows(5).position(|window| window == b"alice").unwrap();
        der[at] = b'e';
        assert_eq!(SigningRequest::from_der(&der), Err(RequestError::BadSignature { key: PublicKeyKind::P256 }));
    }

    #[test]
    fn bytes_after_a_request_are_refused() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut der = signing_request(ALICE, &key).unwrap();
        der.push(0);
        assert_eq!(SigningRequest::from_der(&der), Err(RequestError::TrailingBytes { count: 1 }));
        assert_eq!(SigningRequest::from_der(b"no"), Err(RequestError::Malformed { length: 2 }));
    }

    #[test]
    fn a_sha1_request_is_read_and_noted() {
        let request = SigningRequest::from_der(SHA1_REQUEST).unwrap();
        assert!(request.signature_algorithm().is_sha1_or_older());
        assert_eq!(request.check(&Expected { kind: KeyKind::Rsa2048, common_name: ALICE }), Ok(()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = SigningRequest::from_der(&bytes);
        }

        #[test]
        fn a_request_damaged_anywhere_is_never_taken(at in 0..SHA1_REQUEST.len(), bit in 0_u8..8) {
            let mut bytes = SHA1_REQUEST.to_vec();
            bytes[at] ^= 1 << bit;
            if let Ok(request) = SigningRequest::from_der(&bytes) {
                // What the signature does not cover may still vary in spelling, never in meaning.
                let original = SigningRequest::from_der(SHA1_REQUEST).unwrap();
                prop_assert_eq!(request.key_id(), original.key_id());
                prop_assert_eq!(request.subject(), original.subject());
            }
        }
    }
}
