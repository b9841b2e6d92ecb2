//! What a maker vouches for a phone with: a P-256 root of its own, and for each phone a factory certificate whose key is
//! made on the board and never leaves it.
//!
//! The maker's root stays on another computer: the board writes a request, the maker signs it, the board stores the
//! certificate.

use super::folder::{Folder, FolderError, ReplaceError};
use crate::credential::{Certificate, KeyKind, pem};
use crate::device::{Factory, keys};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use time::OffsetDateTime;
use time::macros::datetime;
use x509_parser::oid_registry::OID_X509_SERIALNUMBER;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

const FACTORY_KEY: &str = "factory-key";
const FACTORY_CHAIN: &str = "factory-chain";
const MAKER_KEY: &str = "maker-key.pem";
const MAKER_ROOT: &str = "maker-root.pem";

/// `serialNumber` of X.520.
const SERIAL_NUMBER: [u64; 4] = [2, 5, 4, 5];
/// No better end is known (RFC 5280, section 4.1.2.5).
const NO_END: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);

/// Why there is no such key or certificate.
#[derive(Debug, thiserror::Error)]
pub enum FactoryError {
    /// The files cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It would replace one that phones in the field are known by.
    #[error("{} has a maker's root already", .0.display())]
    MakerExists(std::path::PathBuf),
    /// There is nothing to sign with.
    #[error("{} has no maker's root", .0.display())]
    NoMaker(std::path::PathBuf),
    /// The board has no factory key that a certificate could be for.
    #[error("this phone has no factory key yet")]
    NoKey,
    /// The bytes are not what they should be.
    #[error("{what}: {why}")]
    Unreadable {
        /// Which file.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// It vouches for another phone.
    #[error("the factory certificate is for {found}, this phone is {expected}")]
    Another {
        /// What the certificate is for.
        found: String,
        /// What this phone is or has.
        expected: String,
    },
}

impl FactoryError {
    /// What the person does next.
    pub fn next_step(&self) -> String {
        match self {
            Self::Folder(error) => error.next_step(),
            Self::MakerExists(_) => "use it, or choose another --out".into(),
            Self::NoMaker(_) => "make one with `tethercert-phone make-maker`".into(),
            Self::NoKey => "make one with `tethercert-phone factory-request`".into(),
            Self::Unreadable { .. } => "make it again".into(),
            Self::Another { .. } => "sign this phone's own request, or give it the --serial that was signed".into(),
        }
    }
}

impl From<ReplaceError> for FactoryError {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::Kept(error) | ReplaceError::Either(error) => error.into(),
        }
    }
}

fn unreadable(what: &'static str) -> impl FnOnce(rcgen::Error) -> FactoryError {
    move |error| FactoryError::Unreadable { what, why: error.to_string() }
}

/// Makes a maker's root and key in an empty folder; gives the root, PEM.
///
/// # Errors
///
/// [`FactoryError`].
pub fn make_maker(folder: &Folder, name: &str) -> Result<String, FactoryError> {
    if folder.read(MAKER_KEY)?.is_some() || folder.read(MAKER_ROOT)?.is_some() {
        return Err(FactoryError::MakerExists(folder.path().to_owned()));
    }
    let pkcs8 = keys::make(KeyKind::P256);
    let key = key_pair(&pkcs8, "the maker's key")?;
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = params.self_signed(&key).map_err(unreadable("the maker's root"))?;
    let root = pem(root.der());
    folder.replace(MAKER_KEY, Zeroizing::new(key.serialize_pem()).as_bytes(), |_| {})?;
    folder.replace(MAKER_ROOT, root.as_bytes(), |_| {})?;
    Ok(root)
}

/// Signs a phone's request; gives its factory chain, PEM: the certificate, then the maker's root.
///
/// # Errors
///
/// [`FactoryError`].
pub fn sign(maker: &Folder, request: &str) -> Result<String, FactoryError> {
    let (Some(key), Some(root)) = (maker.read(MAKER_KEY)?, maker.read(MAKER_ROOT)?) else {
        return Err(FactoryError::NoMaker(maker.path().to_owned()));
    };
    let what = "the maker's root or key";
    let not_text = |_| FactoryError::Unreadable { what, why: "it is not text".into() };
    let (key, root) = (std::str::from_utf8(&key).map_err(not_text)?, std::str::from_utf8(&root).map_err(not_text)?);
    let key = KeyPair::from_pem(key).map_err(unreadable(what))?;
    let roots = chain(root.as_bytes(), what)?;
    let root_der = roots.first().cloned().unwrap_or_default();
    let issuer = Issuer::from_ca_cert_der(&root_der.as_slice().into(), key).map_err(unreadable(what))?;

    let mut request = CertificateSigningRequestParams::from_pem(request).map_err(unreadable("the phone's request"))?;
    let asked = &request.params;
    if asked.distinguished_name.get(&DnType::from_oid(&SERIAL_NUMBER)).is_none() {
        let why = "it names no serial number".into();
        return Err(FactoryError::Unreadable { what: "the phone's request", why });
    }
    // Name and MAC are the phone's, all else is the maker's.
    let mut params = CertificateParams::default();
    params.distinguished_name = asked.distinguished_name.clone();
    params.subject_alt_names = asked.subject_alt_names.clone();
    params.serial_number = Some(serial());
    params.not_after = NO_END;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    request.params = params;
    let leaf = request.signed_by(&issuer).map_err(unreadable("the phone's request"))?;
    Ok(format!("{}{}", pem(leaf.der()), pem(&root_der)))
}

/// The phone's request for a factory certificate, PEM. Its key is made the first time.
///
/// # Errors
///
/// [`FactoryError`].
pub fn request(folder: &Folder, model: &str, serial: &str, mac: [u8; 6]) -> Result<String, FactoryError> {
    let pkcs8 = match folder.read(FACTORY_KEY)? {
        Some(key) => key,
        None => {
            let key = keys::make(KeyKind::P256);
            folder.replace(FACTORY_KEY, &key, |_| {})?;
            key
        }
    };
    let mut params = named(model);
    params.distinguished_name.push(DnType::from_oid(&SERIAL_NUMBER), serial);
    let mac: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    let urn = format!("urn:mac:{}", mac.join("-")).try_into().map_err(unreadable("the MAC"))?;
    params.subject_alt_names = vec![SanType::URI(urn)];
    let request = params.serialize_request(&key_pair(&pkcs8, "the factory key")?);
    request.and_then(|request| request.pem()).map_err(unreadable("the phone's request"))
}

/// Stores the factory chain that a maker has signed, when it is this phone's.
///
/// # Errors
///
/// [`FactoryError`].
pub fn install(folder: &Folder, chain_pem: &[u8], serial: &str) -> Result<(), FactoryError> {
    let key = folder.read(FACTORY_KEY)?.ok_or(FactoryError::NoKey)?;
    let chain = chain(chain_pem, "the factory chain")?;
    judge(&chain, &key, serial)?;
    let text: String = chain.iter().map(|der| pem(der)).collect();
    folder.replace(FACTORY_CHAIN, text.as_bytes(), |_| {})?;
    Ok(())
}

/// The factory key with its chain, if a maker vouches for this phone.
///
/// # Errors
///
/// [`FactoryError`] where there is one that does not fit this phone.
pub fn load(folder: &Folder, serial: &str) -> Result<Option<Factory>, FactoryError> {
    let (Some(key), Some(chain_pem)) = (folder.read(FACTORY_KEY)?, folder.read(FACTORY_CHAIN)?) else {
        return Ok(None);
    };
    let chain = chain(&chain_pem, "the factory chain")?;
    judge(&chain, &key, serial)?;
    Ok(Some((chain, key)))
}

/// The host refuses what fails here; told earlier, it is told to whoever can put it right.
fn judge(chain: &[Vec<u8>], key: &[u8], serial: &str) -> Result<(), FactoryError> {
    let what = "the factory chain";
    let leaf = chain.first().map(Vec::as_slice).unwrap_or_default();
    let (_, leaf) =
        X509Certificate::from_der(leaf).map_err(|error| FactoryError::Unreadable { what, why: error.to_string() })?;
    let own = rcgen::PublicKeyData::subject_public_key_info(&key_pair(key, "the factory key")?);
    if leaf.public_key().raw != own {
        let another = || "another key".to_owned();
        return Err(FactoryError::Another { found: another(), expected: "the one with its own key".into() });
    }
    let found = leaf.subject().iter_by_oid(&OID_X509_SERIALNUMBER).next().and_then(|found| found.as_str().ok());
    match found {
        Some(found) if found == serial => Ok(()),
        other => Err(FactoryError::Another {
            found: format!("serial number {}", other.unwrap_or("none")),
            expected: format!("serial number {serial}"),
        }),
    }
}

fn chain(pem: &[u8], what: &'static str) -> Result<Vec<Vec<u8>>, FactoryError> {
    let read = Certificate::from_pem_or_der(pem);
    let read = read.map_err(|error| FactoryError::Unreadable { what, why: error.to_string() })?;
    Ok(read.iter().map(|certificate| certificate.der().to_vec()).collect())
}

fn key_pair(pkcs8: &[u8], what: &'static str) -> Result<KeyPair, FactoryError> {
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.into(), &PKCS_ECDSA_P256_SHA256).map_err(unreadable(what))
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(serial());
    params.not_after = NO_END;
    params
}

/// Positive and without a leading zero.
fn serial() -> SerialNumber {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const MAC: [u8; 6] = [0, 4, 0xf2, 0xaa, 0xbb, 1];

    fn folder(place: &Path, name: &str) -> Folder {
        Folder::open(&place.join(name)).unwrap().0
    }

    #[test]
    fn a_maker_vouches_for_a_phone_whose_key_never_left_it() {
        let place = tempfile::tempdir().unwrap();
        let (maker, phone) = (folder(place.path(), "maker"), folder(place.path(), "phone"));
        assert!(load(&phone, "A1").unwrap().is_none());
        let root = make_maker(&maker, "Contoso Boards").unwrap();
        let asked = request(&phone, "Board 1", "A1", MAC).unwrap();
        assert!(load(&phone, "A1").unwrap().is_none(), "a key alone vouches for nothing");
        install(&phone, sign(&maker, &asked).unwrap().as_bytes(), "A1").unwrap();

        let (chain, _) = load(&phone, "A1").unwrap().unwrap();
        let root = Certificate::from_pem_or_der(root.as_bytes()).unwrap().remove(0);
        assert_eq!(chain[1], root.der());
        let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
        let (_, root) = X509Certificate::from_der(root.der()).unwrap();
        leaf.verify_signature(Some(root.public_key())).unwrap();
        assert!(!leaf.is_ca());
    }

    #[test]
    fn a_certificate_for_another_serial_number_or_another_key_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let (maker, phone) = (folder(place.path(), "maker"), folder(place.path(), "phone"));
        make_maker(&maker, "Contoso Boards").unwrap();
        assert!(matches!(install(&phone, b"", "A1"), Err(FactoryError::NoKey)));
        let signed = sign(&maker, &request(&phone, "Board 1", "A1", MAC).unwrap()).unwrap();
        assert!(matches!(install(&phone, signed.as_bytes(), "A2"), Err(FactoryError::Another { .. })));
        let other = folder(place.path(), "other");
        request(&other, "Board 1", "A1", MAC).unwrap();
        assert!(matches!(install(&other, signed.as_bytes(), "A1"), Err(FactoryError::Another { .. })));
        assert!(matches!(install(&phone, b"no certificate", "A1"), Err(FactoryError::Unreadable { .. })));
    }

    #[test]
    fn a_makers_root_is_made_once() {
        let place = tempfile::tempdir().unwrap();
        let maker = folder(place.path(), "maker");
        assert!(matches!(sign(&maker, ""), Err(FactoryError::NoMaker(_))));
        make_maker(&maker, "Contoso Boards").unwrap();
        assert!(matches!(make_maker(&maker, "Contoso Boards"), Err(FactoryError::MakerExists(_))));
        assert!(matches!(sign(&maker, "no request"), Err(FactoryError::Unreadable { .. })));
    }
}
