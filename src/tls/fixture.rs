//! A small certificate authority for tests: root, intermediate, servers.

use crate::credential::KeyKind;
use crate::lab::keys::Keys;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

pub(crate) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

/// Which certificates a test server sends.
#[derive(Clone, Copy)]
pub(crate) enum Sends {
    Everything,
    OnlyItsOwn,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(ca("Contoso Root"), key()).unwrap();
        let intermediate = CertifiedIssuer::signed_by(ca("Contoso Issuing CA 2"), key(), &root).unwrap();
        Self { root, intermediate }
    }

    pub(crate) fn root_der(&self) -> Vec<u8> {
        self.root.der().to_vec()
    }

    pub(crate) fn root_pem(&self) -> String {
        self.root.pem()
    }

    pub(crate) fn intermediate_der(&self) -> Vec<u8> {
        self.intermediate.der().to_vec()
    }

    pub(crate) fn intermediate_pem(&self) -> String {
        self.intermediate.pem()
    }

    /// A server for `names`; `issuer_at` is the AIA address in its certificate.
    pub(crate) fn server(&self, names: &[&str], sends: Sends, issuer_at: Option<&str>) -> Arc<ServerConfig> {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        self.server_with(CertificateParams::new(names).unwrap(), sends, issuer_at)
    }

    pub(crate) fn server_with(
        &self,
        params: CertificateParams,
        sends: Sends,
        issuer_at: Option<&str>,
    ) -> Arc<ServerConfig> {
        self.identity(params, sends, issuer_at).speaking(rustls::ALL_VERSIONS)
    }

    /// A server's certificates and key.
    pub(crate) fn identity(&self, params: CertificateParams, sends: Sends, issuer_at: Option<&str>) -> Identity {
        self.identity_with(KeyPair::generate().unwrap(), params, sends, issuer_at)
    }

    pub(crate) fn identity_with(
        &self,
        key: KeyPair,
        mut params: CertificateParams,
        sends: Sends,
        issuer_at: Option<&str>,
    ) -> Identity {
        if let Some(address) = issuer_at {
            params.custom_extensions.push(issuer_address(address));
        }
        let own = params.signed_by(&key, &self.intermediate).unwrap();
        let mut chain: Vec<CertificateDer<'static>> = vec![own.der().clone()];
        if matches!(sends, Sends::Everything) {
            chain.push(self.intermediate.der().clone());
        }
        Identity { chain, key: key.serialize_der() }
    }
}

/// What a server presents.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    pub(crate) key: Vec<u8>,
}

impl Identity {
    pub(crate) fn speaking(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), key)
            .unwrap();
        Arc::new(config)
    }
}

/// An RSA key; making a new one would take a while.
pub(crate) fn rsa_key(algorithm: &'static rcgen::SignatureAlgorithm) -> KeyPair {
    let pkcs8 = Keys::recycled().take(KeyKind::Rsa2048);
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.as_slice().into(), algorithm).unwrap()
}

/// The certificate with an RSA signature said to be SHA-1's instead of SHA-256's. It is no valid one, but a judge has to
/// refuse it before it finds out.
pub(crate) fn signed_with_sha1(certificate: &[u8]) -> Vec<u8> {
    let id = |last| [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last];
    let mut old = certificate.to_vec();
    for at in 0..old.len() - 8 {
        if old[at..at + 9] == id(11) {
            old[at..at + 9].copy_from_slice(&id(5));
        }
    }
    old
}

pub(super) fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// AuthorityInfoAccess with one caIssuers address.
fn issuer_address(address: &str) -> CustomExtension {
    let method = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];
    let description = tlv(0x30, &[method.as_slice(), &tlv(0x86, address.as_bytes())].concat());
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], tlv(0x30, &description))
}

/// A PKCS#7 with nothing but certificates.
pub(crate) fn certs_only(certificates: &[Vec<u8>]) -> Vec<u8> {
    let oid = |last| tlv(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, last]);
    let fields =
        [tlv(0x02, &[1]), tlv(0x31, &[]), tlv(0x30, &oid(1)), tlv(0xa0, &certificates.concat()), tlv(0x31, &[])];
    tlv(0x30, &[oid(2), tlv(0xa0, &tlv(0x30, &fields.concat()))].concat())
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let header = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [header.as_slice(), content].concat()
}
