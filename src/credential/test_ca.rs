//! Certification authorities for tests: P-256, fixed dates, so that nothing ages.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;
use time::macros::datetime;

use super::Certificate;

/// The clock of the tests: within the dates of every certificate that does not say otherwise.
pub(super) const NOW: OffsetDateTime = datetime!(2030-01-01 12:00 UTC);
/// The name of the server.
pub(super) const WEB: &str = "web.contoso.example";

/// A certification authority: its key, how it writes its certificate, and the certificate.
pub(super) struct Ca {
    pub(super) key: KeyPair,
    pub(super) params: CertificateParams,
    pub(super) certificate: Certificate,
}

/// Parameters for `CN=name`, valid from 2029 to 2031, with an authority key id.
pub(super) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = datetime!(2029-01-01 00:00 UTC);
    params.not_after = datetime!(2031-01-01 00:00 UTC);
    params.use_authority_key_identifier_extension = true;
    params
}

pub(super) fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Parameters of a server's certificate for [`WEB`].
pub(super) fn server_params() -> CertificateParams {
    let mut params = params(WEB);
    params.subject_alt_names = vec![SanType::DnsName(WEB.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// An AIA extension with one caIssuers address.
pub(super) fn issuer_url(url: &str) -> rcgen::CustomExtension {
    let tlv = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let method = [0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 2];
    let description = tlv(0x30, &[&method, &*tlv(0x86, url.as_bytes())].concat());
    rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], tlv(0x30, &description))
}

pub(super) fn read(certificate: &rcgen::Certificate) -> Certificate {
    Certificate::from_der(certificate.der()).unwrap()
}

impl Ca {
    pub(super) fn root(name: &str) -> Self {
        Self::root_with(ca_params(name))
    }

    pub(super) fn root_with(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = read(&params.self_signed(&key).unwrap());
        Self { key, params, certificate }
    }

    pub(super) fn issue(&self, params: &CertificateParams, key: &KeyPair) -> Certificate {
        read(&params.signed_by(key, &Issuer::from_params(&self.params, &self.key)).unwrap())
    }

    pub(super) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(ca_params(name))
    }

    pub(super) fn intermediate_with(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = self.issue(&params, &key);
        Self { key, params, certificate }
    }

    pub(super) fn server(&self) -> Certificate {
        self.server_with(&server_params())
    }

    pub(super) fn server_with(&self, params: &CertificateParams) -> Certificate {
        self.issue(params, &KeyPair::generate().unwrap())
    }

    /// Another certificate for the name and key of `other`, signed by this CA.
    pub(super) fn cross_sign(&self, other: &Self) -> Certificate {
        self.issue(&other.params, &other.key)
    }
}
