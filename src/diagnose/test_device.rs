//! The device that a station tests with: one key and one UUID, always the same, so that tests leave one certificate of a user
//! behind and not one each.

use crate::credential::{Certificate, KeyKind, SipAddress, WriteRequestError, signing_request};
use crate::device::keys;
use crate::folders;
use crate::registrar::Endpoint;
use crate::text_form::hex;
use crate::tls::tunnel::{ClientIdentity, ClientKey};
use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What the file with the key is called in the device's folder.
const KEY: &str = "key.der";

/// A device without a body: its key never leaves this computer, and its UUID is made of the key.
pub struct TestDevice {
    folder: PathBuf,
    key: KeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
    epid: String,
}

impl std::fmt::Debug for TestDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TestDevice({}, ..)", self.epid)
    }
}

/// Why this computer has no test device.
#[derive(Debug, thiserror::Error)]
pub enum TestDeviceError {
    /// A file of it cannot be read or written.
    #[error("the test device's file {} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds no key.
    #[error("{} holds no key", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rcgen::Error,
    },
    /// The request could not be written.
    #[error(transparent)]
    Request(#[from] WriteRequestError),
}

impl TestDeviceError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::File { .. } => {
                "make the file readable and writable by this user alone, or move it away: a new device is made then"
            }
            Self::NoKey { .. } => {
                "move the file away: a new device is made then, and what was published for the old one stays"
            }
            Self::Request(_) => "correct the address of the user",
        }
    }
}

impl TestDevice {
    /// The device in a folder, made on first use, for this user alone.
    pub fn load_or_create(folder: &Path) -> Result<Self, TestDeviceError> {
        let path = folder.join(KEY);
        let error = |source| TestDeviceError::File { path: path.clone(), source };
        let pkcs8 = match fs::read(&path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                folders::make_private(folder).map_err(error)?;
                let made = keys::make(KeyKind::Rsa2048);
                store(&path, &made).map_err(error)?;
                made
            }
            Err(other) => return Err(error(other)),
        };
        let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))
            .map_err(|source| TestDeviceError::NoKey { path: path.clone(), source })?;
        let hash = digest(&SHA256, &key.subject_public_key_info());
        let epid = hex(&hash.as_ref()[..5]);
        Ok(Self { folder: folder.to_owned(), key, pkcs8, epid })
    }

    /// As it registers.
    pub fn endpoint(&self, user: &SipAddress) -> Endpoint {
        Endpoint::of_epid(user.clone(), &self.epid)
    }

    /// A request for a certificate of `user`, DER.
    pub fn request(&self, user: &SipAddress) -> Result<Vec<u8>, TestDeviceError> {
        Ok(signing_request(user.as_str(), &self.key)?)
    }

    /// What it signs in with.
    pub fn identity(&self, certificate: &Certificate) -> ClientIdentity {
        ClientIdentity {
            certificate: CertificateDer::from(certificate.der().to_vec()),
            key: ClientKey::Here(self.pkcs8.clone()),
        }
    }

    /// Keeps a published certificate for later tests.
    pub fn keep(&self, user: &SipAddress, certificate: &Certificate) -> Result<(), TestDeviceError> {
        let path = self.place(user);
        store(&path, certificate.der()).map_err(|source| TestDeviceError::File { path, source })
    }

    /// The certificate that an earlier test had published for `user`; nothing where there is none, or none of this key.
    pub fn kept(&self, user: &SipAddress) -> Option<Certificate> {
        let certificate = Certificate::from_der(&fs::read(self.place(user)).ok()?).ok()?;
        (certificate.spki_der() == self.key.subject_public_key_info()).then_some(certificate)
    }

    /// An address may have characters that a file's name may not.
    fn place(&self, user: &SipAddress) -> PathBuf {
        let hash = digest(&SHA256, user.as_str().as_bytes());
        self.folder.join(format!("certificate-{}.der", hex(&hash.as_ref()[..8])))
    }
}

/// Written beside and renamed, so that a power cut leaves no half file; readable by its owner alone.
fn store(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".test-device").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::SigningRequest;

    #[test]
    fn a_station_has_one_device_for_ever_and_shows_its_key_to_nobody() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("test-device");
        let alice: SipAddress = "alice@contoso.example".parse().unwrap();
        let first = TestDevice::load_or_create(&folder).unwrap();
        let again = TestDevice::load_or_create(&folder).unwrap();
        assert_eq!(first.endpoint(&alice), again.endpoint(&alice));
        let request = SigningRequest::from_der(&first.request(&alice).unwrap()).unwrap();
        assert_eq!(request.common_name(), Some("alice@contoso.example"));
        assert_eq!(request.spki_der(), again.key.subject_public_key_info());
        assert!(first.kept(&alice).is_none());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&folder), mode(&folder.join(KEY))), (0o700, 0o600));
        }
        assert!(format!("{first:?}").ends_with(", ..)"));
    }

    #[test]
    fn a_file_that_is_no_key_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(KEY), b"no key").unwrap();
        let error = TestDevice::load_or_create(folder.path()).unwrap_err();
        assert!(error.to_string().ends_with("key.der holds no key"), "{error}");
        assert_eq!(fs::read(folder.path().join(KEY)).unwrap(), b"no key");
    }
}
