//! The extensions of a certificate that matter here.

use std::net::IpAddr;

use x509_parser::asn1_rs::Oid;
use x509_parser::certificate::TbsCertificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry as oid;

use super::ReadError;

/// The basic constraints extension: whether the certificate may issue others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether it is the certificate of a CA.
    pub ca: bool,
    /// How many further CA certificates may follow below it; none means any number.
    pub path_len: Option<u32>,
}

/// The key usage extension, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsage {
    /// May sign, as in a TLS handshake.
    pub digital_signature: bool,
    /// May decrypt a key, as in the RSA key exchange of old TLS.
    pub key_encipherment: bool,
    /// May sign certificates.
    pub key_cert_sign: bool,
}

/// The extended key usage extension: the purposes a certificate is limited to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purposes {
    /// Any purpose.
    pub any: bool,
    /// A TLS server.
    pub server_auth: bool,
    /// A TLS client.
    pub client_auth: bool,
    /// Everything else, by object identifier or name.
    pub others: Vec<String>,
}

/// The subject alternative names of the kinds that matter here, as the certificate spells them (not made safe to print).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlternativeNames {
    /// Host names, `web.contoso.example` or `*.contoso.example`.
    pub dns: Vec<String>,
    /// Addresses.
    pub ip: Vec<IpAddr>,
    /// Identifiers, `sip:alice@contoso.example`.
    pub uri: Vec<String>,
    /// Mail addresses.
    pub email: Vec<String>,
}

pub(super) fn basic_constraints(tbs: &TbsCertificate<'_>) -> Result<Option<BasicConstraints>, ReadError> {
    let extension = tbs.basic_constraints().map_err(|_| ReadError::Extension { name: "basic constraints" })?;
    Ok(extension
        .map(|extension| BasicConstraints { ca: extension.value.ca, path_len: extension.value.path_len_constraint }))
}

pub(super) fn key_usage(tbs: &TbsCertificate<'_>) -> Result<Option<KeyUsage>, ReadError> {
    let extension = tbs.key_usage().map_err(|_| ReadError::Extension { name: "key usage" })?;
    Ok(extension.map(|extension| KeyUsage {
        digital_signature: extension.value.digital_signature(),
        key_encipherment: extension.value.key_encipherment(),
        key_cert_sign: extension.value.key_cert_sign(),
    }))
}

pub(super) fn purposes(tbs: &TbsCertificate<'_>) -> Result<Option<Purposes>, ReadError> {
    let extension = tbs.extended_key_usage().map_err(|_| ReadError::Extension { name: "extended key usage" })?;
    Ok(extension.map(|extension| {
        let usage = extension.value;
        let named = [
            (usage.code_signing, "code signing"),
            (usage.email_protection, "e-mail protection"),
            (usage.time_stamping, "time stamping"),
            (usage.ocsp_signing, "OCSP signing"),
        ];
        let named = named.into_iter().filter(|(there, _)| *there).map(|(_, name)| name.to_owned());
        let others = named.chain(usage.other.iter().map(|oid| oid.to_id_string())).collect();
        Purposes { any: usage.any, server_auth: usage.server_auth, client_auth: usage.client_auth, others }
    }))
}

pub(super) fn alternative_names(tbs: &TbsCertificate<'_>) -> Result<AlternativeNames, ReadError> {
    let extension =
        tbs.subject_alternative_name().map_err(|_| ReadError::Extension { name: "subject alternative name" })?;
    let mut names = AlternativeNames::default();
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
            GeneralName::URI(uri) => names.uri.push((*uri).to_owned()),
            GeneralName::RFC822Name(address) => names.email.push((*address).to_owned()),
            GeneralName::IPAddress(bytes) => names.ip.extend(ip_address(bytes)),
            _ => {}
        }
    }
    Ok(names)
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

// The three below only help to find an issuer: one that is damaged is as good as none.

fn unique<'a>(tbs: &'a TbsCertificate<'_>, kind: &Oid<'_>) -> Option<&'a ParsedExtension<'a>> {
    Some(tbs.get_extension_unique(kind).ok()??.parsed_extension())
}

pub(super) fn authority_key_id(tbs: &TbsCertificate<'_>) -> Option<Box<[u8]>> {
    match unique(tbs, &oid::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER)? {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.into()),
        _ => None,
    }
}

pub(super) fn subject_key_id(tbs: &TbsCertificate<'_>) -> Option<Box<[u8]>> {
    match unique(tbs, &oid::OID_X509_EXT_SUBJECT_KEY_IDENTIFIER)? {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.into()),
        _ => None,
    }
}

pub(super) fn issuer_urls(tbs: &TbsCertificate<'_>) -> Vec<String> {
    let extension = unique(tbs, &oid::OID_PKIX_AUTHORITY_INFO_ACCESS);
    let Some(ParsedExtension::AuthorityInfoAccess(access)) = extension else { return Vec::new() };
    let issuers = access.iter().filter(|entry| entry.access_method == oid::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS);
    issuers
        .filter_map(|entry| match &entry.access_location {
            GeneralName::URI(text) => url::Url::parse(text).ok(),
            _ => None,
        })
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .map(String::from)
        .collect()
}
