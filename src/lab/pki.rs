//! Every certificate authority of the lab: the web server's, the Web Services' own signing key, and a phone maker's.
//!
//! They never meet. The *server chain* (`CN=Contoso Root CA (LAB)`, `CN=Contoso Issuing CA 2 (LAB)`, the server) is what a
//! phone has to trust; `CN=Communications Server` signs users' certificates and is trusted by nobody, since the pool
//! compares with its store; the maker's root vouches for phones.
//!
//! Two faults of old pools cannot be staged: aws-lc-rs signs nothing with SHA-1 and makes no RSA key below 2048 bits.

use super::keys::{Keys, Pkcs8};
use crate::credential::KeyKind;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use time::{Duration, OffsetDateTime};

/// The name of the lab's web server, for which its certificate is valid besides `localhost`, 127.0.0.1 and ::1.
pub const WEB_HOST: &str = "web.contoso.example";

/// The lab's authorities.
pub struct Pki {
    keys: Keys,
    root: Authority,
    issuing_key: KeyPair,
    issuing: Certificate,
    server_key: Pkcs8,
    users: UserIssuer,
}

struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
}

/// What is wrong with the server chain. Any combination; the default is the fault that the lab is known for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFaults {
    /// The handshake carries the server's certificate alone, and a client that knows only the root cannot build the
    /// chain unless it follows the address in the certificate (AIA). On by default.
    pub intermediate_omitted: bool,
    /// The dates of the server's certificate.
    pub server_dates: Dates,
    /// The dates of the issuing CA's certificate.
    pub intermediate_dates: Dates,
    /// The certificate names `other.contoso.example` only.
    pub wrong_name: bool,
    /// The chain ends in a root of other name and key than [`Pki::root_der`].
    pub unknown_root: bool,
    /// The certificate says nowhere where its issuer's can be had.
    pub no_issuer_address: bool,
}

/// How a certificate's dates lie around now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dates {
    /// Valid: from 30 days ago for two years.
    #[default]
    Good,
    /// Ended yesterday.
    Expired,
    /// Begins tomorrow.
    NotYet,
}

/// What the web server shows in a handshake.
pub struct ServerIdentity {
    /// The certificates that are sent, DER, the server's first.
    pub presented: Vec<Vec<u8>>,
    /// The issuing CA's certificate, DER, whether it is sent or not: what the AIA address serves.
    pub issuing: Vec<u8>,
    /// The root that the chain ends in, DER.
    pub root: Vec<u8>,
    /// The server's key.
    pub key: Pkcs8,
}

impl Default for ServerFaults {
    fn default() -> Self {
        Self { intermediate_omitted: true, ..Self::none() }
    }
}

impl ServerFaults {
    /// A chain without fault.
    pub const fn none() -> Self {
        Self {
            intermediate_omitted: false,
            server_dates: Dates::Good,
            intermediate_dates: Dates::Good,
            wrong_name: false,
            unknown_root: false,
            no_issuer_address: false,
        }
    }
}

impl Dates {
    fn around(self, now: OffsetDateTime) -> (OffsetDateTime, OffsetDateTime) {
        match self {
            Self::Good => (now - Duration::days(30), now + Duration::days(700)),
            Self::Expired => (now - Duration::days(400), now - Duration::days(1)),
            Self::NotYet => (now + Duration::days(1), now + Duration::days(700)),
        }
    }
}

impl Pki {
    /// New authorities, with four RSA keys from `keys`. Blocks while these are made.
    pub fn new(keys: &Keys) -> Self {
        let [root, issuing_key, server_key, users] = keys.different();
        let pair = |key: &Pkcs8| key_pair(key, KeyKind::Rsa2048);
        let root = Authority::root("Contoso Root CA (LAB)", pair(&root));
        let issuing_key = pair(&issuing_key);
        let issuing = root.issuing_ca("Contoso Issuing CA 2 (LAB)", &issuing_key, Dates::Good);
        Self { keys: keys.clone(), root, issuing_key, issuing, server_key, users: UserIssuer::new(pair(&users)) }
    }

    /// The root of the server chain, DER: the trust anchor of everybody in the lab.
    pub fn root_der(&self) -> &[u8] {
        self.root.certificate.der()
    }

    /// The root of the server chain, PEM.
    pub fn root_pem(&self) -> String {
        self.root.certificate.pem()
    }

    /// The issuing CA's faultless certificate, DER.
    pub fn issuing_der(&self) -> &[u8] {
        self.issuing.der()
    }

    /// The key that signs users' certificates.
    pub fn users(&self) -> &UserIssuer {
        &self.users
    }

    /// A root and an issuing CA of somebody else, with the names of the pool's, DER.
    pub(in crate::lab) fn strangers_chain(&self) -> Vec<Vec<u8>> {
        let root = Authority::root("Contoso Root CA (LAB)", rsa(&self.keys));
        let issuing = root.issuing_ca("Contoso Issuing CA 2 (LAB)", &self.issuing_key, Dates::Good);
        vec![root.certificate.der().to_vec(), issuing.der().to_vec()]
    }

    /// The web server's certificate and its chain with these faults. `issuer_address` is the http address of the issuing
    /// CA's certificate (AIA caIssuers).
    pub fn server(&self, faults: &ServerFaults, issuer_address: &str) -> ServerIdentity {
        self.server_called(&[WEB_HOST], faults, issuer_address)
    }

    /// The same for a server of other names; each is called `localhost` too, and by the loopback addresses.
    ///
    /// # Panics
    /// When a name cannot stand in a certificate.
    pub fn server_called(&self, names: &[&str], faults: &ServerFaults, issuer_address: &str) -> ServerIdentity {
        let stranger = faults.unknown_root.then(|| Authority::root("Unknown Root CA (LAB)", rsa(&self.keys)));
        let root = stranger.as_ref().unwrap_or(&self.root);
        // By another name, since who knows the pool's own issuing CA would complete the chain to the pool's root with it.
        let name = if stranger.is_some() { "Unknown Issuing CA (LAB)" } else { "Contoso Issuing CA 2 (LAB)" };
        let issuing = root.issuing_ca(name, &self.issuing_key, faults.intermediate_dates);
        let own = names.first().copied().unwrap_or("localhost");
        let mut params = named(if faults.wrong_name { "other.contoso.example" } else { own });
        (params.not_before, params.not_after) = faults.server_dates.around(OffsetDateTime::now_utc());
        params.subject_alt_names = if faults.wrong_name {
            vec![dns("other.contoso.example")]
        } else {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            let mut names: Vec<&str> = names.iter().copied().filter(|name| *name != "localhost").collect();
            names.push("localhost");
            names.into_iter().map(dns).chain(loopback.map(SanType::IpAddress)).collect()
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        if !faults.no_issuer_address {
            params.custom_extensions = vec![ca_issuers(issuer_address)];
        }
        let key = key_pair(&self.server_key, KeyKind::Rsa2048);
        let issuer_params = issuing_params(name);
        let server = params
            .signed_by(&key, &Issuer::from_params(&issuer_params, &self.issuing_key))
            .expect("the lab's server certificate can be written");
        let mut presented = vec![server.der().to_vec()];
        if !faults.intermediate_omitted {
            presented.push(issuing.der().to_vec());
        }
        let root = root.certificate.der().to_vec();
        ServerIdentity { presented, issuing: issuing.der().to_vec(), root, key: self.server_key.clone() }
    }
}

impl Authority {
    fn root(name: &str, key: KeyPair) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = decade();
        let certificate = params.self_signed(&key).expect("the lab's root certificate can be written");
        Self { params, key, certificate }
    }

    fn issuing_ca(&self, name: &str, key: &KeyPair, dates: Dates) -> Certificate {
        let mut params = issuing_params(name);
        (params.not_before, params.not_after) = dates.around(OffsetDateTime::now_utc());
        params.signed_by(key, &self.issuer()).expect("the lab's issuing certificate can be written")
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

/// The Web Services' own key, `CN=Communications Server`, which signs users' certificates. Its certificate is
/// self-signed and no CA's: nobody ever trusts it, the pool looks into its store.
pub struct UserIssuer {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
}

impl UserIssuer {
    fn new(key: KeyPair) -> Self {
        let mut params = named("Communications Server");
        (params.not_before, params.not_after) = decade();
        let certificate = params.self_signed(&key).expect("the lab's user issuer can be written");
        Self { params, key, certificate }
    }

    /// Its self-signed certificate, DER.
    pub fn certificate_der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// A certificate for `user` (`alice@contoso.example`) and the key in `public_key` (SubjectPublicKeyInfo, DER).
    ///
    /// LAB profile: subject `CN=user`, SAN URI `sip:user`, client authentication, a random serial of 16 bytes, SHA-256.
    ///
    /// # Errors
    /// The key is of a kind that rcgen does not know, or the name cannot stand in a certificate.
    pub fn issue(
        &self,
        user: &str,
        public_key: &[u8],
        not_before: OffsetDateTime,
        not_after: OffsetDateTime,
    ) -> Result<Vec<u8>, rcgen::Error> {
        let mut params = named(user);
        params.not_before = not_before;
        params.not_after = not_after;
        params.subject_alt_names = vec![SanType::URI(format!("sip:{user}").try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let public_key = SubjectPublicKeyInfo::from_der(public_key)?;
        let issuer = Issuer::from_params(&self.params, &self.key);
        Ok(params.signed_by(&public_key, &issuer)?.der().to_vec())
    }

    /// [`UserIssuer::issue`] for the RSA key of one of the lab's own clients.
    ///
    /// # Panics
    /// When the name cannot stand in a certificate.
    pub fn certify(&self, user: &str, key: &Pkcs8, not_before: OffsetDateTime, not_after: OffsetDateTime) -> Vec<u8> {
        let public_key = key_pair(key, KeyKind::Rsa2048).subject_public_key_info();
        self.issue(user, &public_key, not_before, not_after).expect("the lab's users have names that certificates take")
    }
}

/// Two roots that vouch for no server of the lab, DER: one ended three years ago, the other is somebody else's.
pub(in crate::lab) fn old_roots(keys: &Keys) -> Vec<Vec<u8>> {
    let mut ended = named("Contoso Old Root CA (LAB)");
    ended.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ended.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = OffsetDateTime::now_utc();
    (ended.not_before, ended.not_after) = (now - Duration::days(5000), now - Duration::days(1100));
    let ended = ended.self_signed(&rsa(keys)).expect("an ended root can be written");
    let other = Authority::root("Fabrikam Root CA (LAB)", rsa(keys));
    vec![ended.der().to_vec(), other.certificate.der().to_vec()]
}

/// A maker of phones, `CN=Acme Devices Root (LAB)`, which gives each phone a factory certificate.
pub struct Maker(Authority);

/// What a phone leaves the factory with.
pub struct FactoryIdentity {
    /// Its certificates, DER, its own first, the maker's root left out.
    pub chain: Vec<Vec<u8>>,
    /// Its P-256 key.
    pub key: Pkcs8,
}

impl Maker {
    /// A maker with a new P-256 root.
    pub fn new() -> Self {
        let key = key_pair(&Keys::recycled().take(KeyKind::P256), KeyKind::P256);
        Self(Authority::root("Acme Devices Root (LAB)", key))
    }

    /// The maker's root, DER: what a phone definition names.
    pub fn root_der(&self) -> &[u8] {
        self.0.certificate.der()
    }

    /// A factory certificate. LAB profile: subject `CN=model`, `serialNumber=serial`; SAN URI `urn:mac:` and the MAC in
    /// lower case with dashes (`urn:mac:00-04-f2-aa-bb-cc`); a P-256 key; no end that matters.
    pub fn factory(&self, model: &str, serial: &str, mac: [u8; 6]) -> FactoryIdentity {
        let pkcs8 = Keys::recycled().take(KeyKind::P256);
        let mut params = named(model);
        params.distinguished_name.push(DnType::from_oid(&[2, 5, 4, 5]), serial);
        let mac: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        let urn = format!("urn:mac:{}", mac.join("-"));
        params.subject_alt_names = vec![SanType::URI(urn.try_into().expect("a MAC is ASCII"))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = key_pair(&pkcs8, KeyKind::P256);
        let leaf = params.signed_by(&key, &self.0.issuer()).expect("a factory certificate can be written");
        FactoryIdentity { chain: vec![leaf.der().to_vec()], key: pkcs8 }
    }
}

impl Default for Maker {
    fn default() -> Self {
        Self::new()
    }
}

/// `certificates` as a degenerate PKCS#7 SignedData: certificates only, no signers. DER.
pub(crate) fn certificates_only_pkcs7(certificates: &[&[u8]]) -> Vec<u8> {
    const SIGNED_DATA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
    const DATA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    let content = [&[0x02, 1, 1, 0x31, 0][..], &der(0x30, DATA), &der(0xa0, &certificates.concat()), &[0x31, 0]];
    der(0x30, &[SIGNED_DATA, &der(0xa0, &der(0x30, &content.concat()))].concat())
}

fn issuing_params(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let mut serial: [u8; 16] = super::keys::random();
    // A serial number is positive and has no leading zero.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params
}

fn decade() -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - Duration::days(365), now + Duration::days(3650))
}

fn rsa(keys: &Keys) -> KeyPair {
    key_pair(&keys.take(KeyKind::Rsa2048), KeyKind::Rsa2048)
}

fn key_pair(pkcs8: &Pkcs8, kind: KeyKind) -> KeyPair {
    let algorithm = match kind {
        KeyKind::Rsa2048 | KeyKind::Rsa3072 => &rcgen::PKCS_RSA_SHA256,
        KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
    };
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(pkcs8.as_slice());
    KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm).expect("the lab's keys are of the kind they are called")
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("the lab's names are ASCII"))
}

/// Authority information access with one caIssuers address (RFC 5280 4.2.2.1).
fn ca_issuers(address: &str) -> CustomExtension {
    const CA_ISSUERS: &[u8] = &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 2];
    let description = der(0x30, &[CA_ISSUERS, &der(0x86, address.as_bytes())].concat());
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], der(0x30, &description))
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut out = vec![tag];
    if content.len() >= 128 {
        out.push(0x80 | length.len() as u8);
    }
    out.extend_from_slice(length);
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::extensions::GeneralName;
    use x509_parser::prelude::{FromDer, X509Certificate};

    fn parsed(der: &[u8]) -> X509Certificate<'_> {
        X509Certificate::from_der(der).unwrap().1
    }

    #[test]
    fn the_server_chain_hangs_together_and_says_where_its_missing_link_is() {
        let pki = Pki::new(&Keys::recycled());
        let address = format!("http://127.0.0.1:8080/{}", "long/".repeat(60));
        let identity = pki.server(&ServerFaults::default(), &address);
        assert_eq!(identity.presented.len(), 1);
        let server = parsed(&identity.presented[0]);
        let issuing = parsed(&identity.issuing);
        let root = parsed(pki.root_der());
        server.verify_signature(Some(issuing.public_key())).unwrap();
        issuing.verify_signature(Some(root.public_key())).unwrap();
        assert_eq!(issuing.subject().to_string(), "CN=Contoso Issuing CA 2 (LAB)");
        let text = format!("{:?}", server.extensions());
        assert!(text.contains("CAIssuers") || text.contains("AuthorityInfoAccess"), "{text}");
        assert!(text.contains(&address));
    }

    #[test]
    fn the_issuer_of_users_is_no_authority_and_shares_nothing_with_the_server_chain() {
        let pki = Pki::new(&Keys::recycled());
        let issuer = parsed(pki.users().certificate_der());
        assert_eq!(issuer.subject().to_string(), "CN=Communications Server");
        assert!(!issuer.is_ca());
        assert!(issuer.verify_signature(Some(parsed(pki.root_der()).public_key())).is_err());
    }

    #[test]
    fn a_phone_leaves_the_factory_with_its_model_serial_and_mac() {
        let maker = Maker::new();
        let identity = maker.factory("Acme Desk 2", "A2-0001", [0x00, 0x04, 0xf2, 0xaa, 0xbb, 0xcc]);
        let leaf = parsed(&identity.chain[0]);
        leaf.verify_signature(Some(parsed(maker.root_der()).public_key())).unwrap();
        assert_eq!(leaf.subject().iter_common_name().next().unwrap().as_str(), Ok("Acme Desk 2"));
        let serial = leaf.subject().iter_by_oid(&x509_parser::oid_registry::OID_X509_SERIALNUMBER).next();
        assert_eq!(serial.unwrap().as_str(), Ok("A2-0001"));
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names, [GeneralName::URI("urn:mac:00-04-f2-aa-bb-cc")]);
        key_pair(&identity.key, KeyKind::P256);
    }

    #[test]
    fn a_certificates_only_pkcs7_is_one_der_value_that_holds_its_certificates() {
        let pki = Pki::new(&Keys::recycled());
        let pkcs7 = certificates_only_pkcs7(&[pki.root_der(), pki.issuing_der()]);
        let (rest, outer) = x509_parser::der_parser::parse_der(&pkcs7).unwrap();
        assert!(rest.is_empty());
        assert_eq!(outer.as_sequence().unwrap()[0].as_oid_val().unwrap().to_id_string(), "1.2.840.113549.1.7.2");
        assert!(pkcs7.windows(pki.root_der().len()).any(|window| window == pki.root_der()));
    }
}
