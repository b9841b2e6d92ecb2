//! Certificates, read once.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;

use super::extensions::{self, AlternativeNames, BasicConstraints, KeyUsage, Purposes};
use super::public_key::{PublicKey, check_signature};
use super::text::{common_name, distinguished_name, names, printable};
use super::{Fingerprint, PublicKeyKind, SignatureAlgorithm, SignatureCheck, Thumbprint};

/// An X.509 certificate that could be read, with its facts. Cheap to clone; equal when its DER is equal.
///
/// Being readable says nothing about trust: that is the business of the two judgements.
#[derive(Clone)]
pub struct Certificate(Arc<Facts>);

struct Facts {
    der: Box<[u8]>,
    fingerprint: Fingerprint,
    subject: Name,
    issuer: Name,
    serial: Box<[u8]>,
    version: u32,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    key: PublicKey,
    signature_algorithm: SignatureAlgorithm,
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    purposes: Option<Purposes>,
    alternative_names: AlternativeNames,
    authority_key_id: Option<Box<[u8]>>,
    subject_key_id: Option<Box<[u8]>>,
    issuer_urls: Vec<String>,
    self_signed: bool,
}

struct Name {
    der: Box<[u8]>,
    text: String,
    common_name: Option<String>,
}

/// Why bytes could not be read as a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not the DER of an X.509 certificate.
    #[error("these {length} bytes are no X.509 certificate")]
    NotACertificate {
        /// How many bytes were given.
        length: usize,
    },
    /// A certificate, and then something else.
    #[error("{count} bytes follow the certificate")]
    TrailingBytes {
        /// How many bytes are too many.
        count: usize,
    },
    /// An extension that decides about trust is damaged or there twice.
    #[error("the certificate's {name} extension is damaged or there twice")]
    Extension {
        /// The extension.
        name: &'static str,
    },
    /// A PEM file with a damaged block.
    #[error("the PEM text is damaged")]
    Pem,
    /// A file without any certificate in it.
    #[error("there is no certificate in this file")]
    Empty,
}

impl ReadError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::NotACertificate { .. } | Self::TrailingBytes { .. } => {
                "give a certificate as DER or PEM; PKCS#7 and PFX files must be exported as PEM first"
            }
            Self::Extension { .. } => "have its issuer make this certificate anew: phones may refuse it too",
            Self::Pem => "copy the file again, with its BEGIN and END lines",
            Self::Empty => "give a file with at least one BEGIN CERTIFICATE block, or a DER certificate",
        }
    }
}

impl Certificate {
    /// Reads one certificate from exactly its DER.
    pub fn from_der(der: &[u8]) -> Result<Self, ReadError> {
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|_| ReadError::NotACertificate { length: der.len() })?;
        if !rest.is_empty() {
            return Err(ReadError::TrailingBytes { count: rest.len() });
        }
        let tbs = &parsed.tbs_certificate;
        let name = |name: &x509_parser::x509::X509Name<'_>| Name {
            der: name.as_raw().into(),
            text: distinguished_name(name),
            common_name: common_name(name),
        };
        let mut facts = Facts {
            der: der.into(),
            fingerprint: Fingerprint::of(der),
            subject: name(&tbs.subject),
            issuer: name(&tbs.issuer),
            serial: tbs.raw_serial().into(),
            version: tbs.version.0.saturating_add(1),
            not_before: tbs.validity.not_before.to_datetime(),
            not_after: tbs.validity.not_after.to_datetime(),
            key: PublicKey::read(&tbs.subject_pki),
            signature_algorithm: SignatureAlgorithm::read(&parsed.signature_algorithm),
            basic_constraints: extensions::basic_constraints(tbs)?,
            key_usage: extensions::key_usage(tbs)?,
            purposes: extensions::purposes(tbs)?,
            alternative_names: extensions::alternative_names(tbs)?,
            authority_key_id: extensions::authority_key_id(tbs),
            subject_key_id: extensions::subject_key_id(tbs),
            issuer_urls: extensions::issuer_urls(tbs),
            self_signed: false,
        };
        let check = || check_issued(&facts.signature_algorithm, &parsed, &facts.key.spki);
        facts.self_signed = facts.subject.der == facts.issuer.der && check() == SignatureCheck::Good;
        Ok(Self(Arc::new(facts)))
    }

    /// Reads what a file holds: one certificate as DER, or any number as PEM (other PEM blocks are passed over).
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Vec<Self>, ReadError> {
        const BEGIN: &[u8] = b"-----BEGIN";
        if !bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
            return match bytes.iter().all(u8::is_ascii_whitespace) {
                true => Err(ReadError::Empty),
                false => Ok(vec![Self::from_der(bytes)?]),
            };
        }
        let certificates = CertificateDer::pem_slice_iter(bytes)
            .map(|der| der.map_err(|_| ReadError::Pem).and_then(|der| Self::from_der(&der)))
            .collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() { Err(ReadError::Empty) } else { Ok(certificates) }
    }

    /// The certificate as a PEM block, lines of 64 characters.
    pub fn to_pem(&self) -> String {
        let base64 = base64::engine::general_purpose::STANDARD.encode(self.der());
        let lines = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII"));
        let lines: Vec<&str> = lines.collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// The whole certificate.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The SHA-256 of the whole certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// The SHA-1 of the whole certificate, by which Windows and its cmdlets name it.
    pub fn sha1_thumbprint(&self) -> Thumbprint {
        Thumbprint::sha1_of(self.der())
    }

    /// The subject for a person, common name first, safe to print.
    pub fn subject(&self) -> &str {
        &self.0.subject.text
    }

    /// The subject's DER.
    pub fn subject_der(&self) -> &[u8] {
        &self.0.subject.der
    }

    /// The SHA-256 of the subject's DER.
    pub fn subject_id(&self) -> Fingerprint {
        Fingerprint::of(self.subject_der())
    }

    /// The issuer for a person, common name first, safe to print.
    pub fn issuer(&self) -> &str {
        &self.0.issuer.text
    }

    /// The subject's common names and organisational units, by which lists of roots call a root; not safe to print.
    pub fn subject_names(&self) -> Vec<String> {
        names(self.subject_der())
    }

    /// The issuer's common names and organisational units; not safe to print.
    pub fn issuer_names(&self) -> Vec<String> {
        names(self.issuer_der())
    }

    /// The issuer's DER.
    pub fn issuer_der(&self) -> &[u8] {
        &self.0.issuer.der
    }

    /// The subject's first common name as the certificate has it, not made safe to print.
    pub fn common_name(&self) -> Option<&str> {
        self.0.subject.common_name.as_deref()
    }

    /// The shortest name for a person, safe to print: common name, else whole subject, else fingerprint.
    pub fn label(&self) -> String {
        match (self.common_name(), self.subject()) {
            (Some(name), _) if !name.trim().is_empty() => printable(name),
            (_, "") => format!("a certificate without a name ({})", self.fingerprint().short()),
            (_, subject) => subject.to_owned(),
        }
    }

    /// The issuer's shortest name for a person, safe to print.
    pub fn issuer_label(&self) -> String {
        match &self.0.issuer.common_name {
            Some(name) if !name.trim().is_empty() => printable(name),
            _ => self.issuer().to_owned(),
        }
    }

    /// The serial number, big-endian.
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// 3 for every certificate of today; 1 for the oldest roots.
    pub fn version(&self) -> u32 {
        self.0.version
    }

    /// The first second it is valid.
    pub fn not_before(&self) -> OffsetDateTime {
        self.0.not_before
    }

    /// The last second it is valid.
    pub fn not_after(&self) -> OffsetDateTime {
        self.0.not_after
    }

    /// Whether `clock` lies within its dates.
    pub fn is_in_date(&self, clock: OffsetDateTime) -> bool {
        (self.0.not_before.unix_timestamp()..=self.0.not_after.unix_timestamp()).contains(&clock.unix_timestamp())
    }

    /// The public key's SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.key.spki
    }

    /// The SHA-256 of the SubjectPublicKeyInfo: the same for every certificate and request of one key.
    pub fn key_id(&self) -> Fingerprint {
        self.0.key.id
    }

    /// What kind of key it holds.
    pub fn key_kind(&self) -> &PublicKeyKind {
        &self.0.key.kind
    }

    /// How its issuer signed it.
    pub fn signature_algorithm(&self) -> &SignatureAlgorithm {
        &self.0.signature_algorithm
    }

    /// Whether it says that it is a CA. Roots of version 1 cannot say so.
    pub fn is_ca(&self) -> bool {
        self.0.basic_constraints.is_some_and(|constraints| constraints.ca)
    }

    /// The basic constraints, if there are any.
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.0.basic_constraints
    }

    /// Whether subject and issuer are the same name.
    pub fn is_self_issued(&self) -> bool {
        self.subject_der() == self.issuer_der()
    }

    /// Whether it is self-issued and its own key signed it (verified, SHA-1 included; MD5 cannot be).
    pub fn is_self_signed(&self) -> bool {
        self.0.self_signed
    }

    /// The key usage, if it is limited.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.0.key_usage
    }

    /// The purposes it is limited to, if it is.
    pub fn purposes(&self) -> Option<&Purposes> {
        self.0.purposes.as_ref()
    }

    /// The subject alternative names.
    pub fn alternative_names(&self) -> &AlternativeNames {
        &self.0.alternative_names
    }

    /// The issuer's key id as the issuer chose it (AKI).
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.0.authority_key_id.as_deref()
    }

    /// The own key id as the issuer chose it (SKI).
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.0.subject_key_id.as_deref()
    }

    /// Where the issuer's certificate can be fetched (AIA caIssuers, http and https only).
    pub fn issuer_urls(&self) -> &[String] {
        &self.0.issuer_urls
    }

    /// Checks by name and signature alone whether the key of `issuer` signed this certificate.
    ///
    /// Explains chains and grants no trust: SHA-1 and short keys pass, dates and purposes are not looked at.
    pub fn check_issued_by(&self, issuer: &Self) -> SignatureCheck {
        if self.issuer_der() != issuer.subject_der() {
            return SignatureCheck::Bad;
        }
        match X509Certificate::from_der(self.der()) {
            Ok((_, parsed)) => check_issued(self.signature_algorithm(), &parsed, issuer.spki_der()),
            Err(_) => SignatureCheck::Unsupported,
        }
    }
}

fn check_issued(algorithm: &SignatureAlgorithm, parsed: &X509Certificate<'_>, spki: &[u8]) -> SignatureCheck {
    check_signature(algorithm, spki, parsed.tbs_certificate.as_ref(), &parsed.signature_value.data)
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der() == other.der()
    }
}

impl Eq for Certificate {}

impl std::hash::Hash for Certificate {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.fingerprint().hash(state);
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} {})", self.label(), self.fingerprint().short())
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_ca::{Ca, issuer_url, params, read, server_params};
    use super::*;
    use proptest::prelude::*;
    use rcgen::{DnType, KeyPair, SanType};
    use time::macros::datetime;

    const SERVER: &[u8] = include_bytes!("../../tests/fixtures/certificates/server-sha1.der");

    #[test]
    fn what_a_certificate_says_is_read_once_and_whole() {
        let root = Ca::root("Contoso Root");
        let mut params = server_params();
        params.distinguished_name.push(DnType::OrganizationName, "Contoso, Ltd");
        params.subject_alt_names.push(SanType::URI("sip:alice@contoso.example".try_into().unwrap()));
        params.subject_alt_names.push(SanType::Rfc822Name("alice@contoso.example".try_into().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[7, 8]));
        params.custom_extensions.push(issuer_url("http://pki.contoso.example/root.cer"));
        let key = KeyPair::generate().unwrap();
        let server = root.issue(&params, &key);

        assert_eq!(server.subject(), "CN=web.contoso.example, O=Contoso\\, Ltd");
        assert_eq!(server.issuer(), "CN=Contoso Root");
        assert_eq!(server.label(), "web.contoso.example");
        assert_eq!(server.serial(), [7, 8]);
        assert_eq!(server.version(), 3);
        assert_eq!(server.not_before(), datetime!(2029-01-01 00:00 UTC));
        assert_eq!(server.not_after(), datetime!(2031-01-01 00:00 UTC));
        assert_eq!(server.key_kind(), &PublicKeyKind::P256);
        assert_eq!(server.key_id(), Fingerprint::of(&rcgen::PublicKeyData::subject_public_key_info(&key)));
        assert_eq!(server.signature_algorithm(), &SignatureAlgorithm::Sha256WithEcdsa);
        assert_eq!(server.authority_key_id(), root.certificate.subject_key_id());
        assert_eq!(server.issuer_urls(), ["http://pki.contoso.example/root.cer"]);
        assert!(server.purposes().unwrap().server_auth && !server.is_ca() && !server.is_self_issued());
        let names = AlternativeNames {
            dns: vec!["web.contoso.example".into()],
            ip: vec![[127, 0, 0, 1].into()],
            uri: vec!["sip:alice@contoso.example".into()],
            email: vec!["alice@contoso.example".into()],
        };
        assert_eq!(server.alternative_names(), &names);
        assert_eq!(server.check_issued_by(&root.certificate), SignatureCheck::Good);
        assert!(root.certificate.is_ca() && root.certificate.is_self_signed());
        assert_eq!(server.issuer_der(), root.certificate.subject_der());
    }

    #[test]
    fn a_namesake_of_the_issuer_is_not_taken_for_it() {
        let (root, namesake) = (Ca::root("Contoso Root"), Ca::root("Contoso Root"));
        assert_eq!(root.server().check_issued_by(&namesake.certificate), SignatureCheck::Bad);
        let forged = root.issue(&namesake.params, &namesake.key);
        assert!(forged.is_self_issued() && !forged.is_self_signed());
    }

    #[test]
    fn addresses_that_are_not_of_the_web_are_no_place_to_fetch_an_issuer() {
        let mut params = params("x");
        params.custom_extensions.push(issuer_url("ldap://dc.contoso.example/CN=Root"));
        assert_eq!(Ca::root("Contoso Root").server_with(&params).issuer_urls(), [] as [&str; 0]);
    }

    #[test]
    fn a_name_cannot_write_to_the_terminal() {
        let key = KeyPair::generate().unwrap();
        let evil = read(&params("a\nb\u{1b}[31m\u{202e}").self_signed(&key).unwrap());
        assert_eq!(evil.label(), "a\\u{a}b\\u{1b}[31m\\u{202e}");
        assert_eq!(evil.subject(), "CN=a\\u{a}b\\u{1b}[31m\\u{202e}");
    }

    #[test]
    fn a_file_holds_der_or_any_number_of_pem_blocks() {
        let (a, b) = (Ca::root("A"), Ca::root("B"));
        let pem = |ca: &Ca| ca.params.self_signed(&ca.key).unwrap().pem();
        let file = format!("a comment\r\n{}\r\n{}", pem(&a), pem(&b));
        let labels = |file: &[u8]| -> Vec<String> {
            Certificate::from_pem_or_der(file).unwrap().iter().map(Certificate::label).collect()
        };
        assert_eq!(labels(file.as_bytes()), ["A", "B"]);
        assert_eq!(labels(a.certificate.der()), ["A"]);
        assert_eq!(Certificate::from_pem_or_der(b" \n"), Err(ReadError::Empty));
        let cut = &pem(&a)[..200];
        assert!(Certificate::from_pem_or_der(cut.as_bytes()).is_err());
        let key_only = a.key.serialize_pem();
        assert_eq!(Certificate::from_pem_or_der(key_only.as_bytes()), Err(ReadError::Empty));
    }

    #[test]
    fn bytes_after_a_certificate_are_refused() {
        let bytes = [SERVER, b"x"].concat();
        assert_eq!(Certificate::from_der(&bytes), Err(ReadError::TrailingBytes { count: 1 }));
        assert_eq!(Certificate::from_der(&[]), Err(ReadError::NotACertificate { length: 0 }));
    }

    fn look_at_everything(certificate: &Certificate) {
        let _ = (certificate.label(), certificate.issuer_label(), certificate.check_issued_by(certificate));
        assert!(!certificate.subject().chars().chain(certificate.issuer().chars()).any(char::is_control));
        assert!(!format!("{certificate:?}").chars().any(char::is_control));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Certificate::from_pem_or_der(&bytes);
        }

        #[test]
        fn a_certificate_damaged_anywhere_is_read_or_refused(
            damage in prop::collection::vec((0..SERVER.len(), any::<u8>()), 1..4),
            end in 0..=SERVER.len(),
        ) {
            let mut bytes = SERVER.to_vec();
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            if let Ok(certificate) = Certificate::from_der(&bytes) {
                look_at_everything(&certificate);
            }
            bytes.truncate(end);
            let _ = Certificate::from_der(&bytes);
        }
    }
}
