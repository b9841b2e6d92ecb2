//! Whom this computer trusts.

use super::pkcs7;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Longest trust file that is read, bytes: a whole system bundle is about 300 KiB.
const MAX_FILE: u64 = 4 << 20;

/// The trust anchors that this computer goes by, and intermediates that it knows without trusting them.
#[derive(Clone)]
pub struct Trust {
    store: Arc<RootCertStore>,
    anchors: Vec<CertificateDer<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
}

/// Why trust anchors could not be had. All of it is this computer's setup.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file could not be read.
    #[error("cannot read the trust anchor file {}", path.display())]
    Unreadable {
        /// The file as given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is larger than any set of certificates.
    #[error("the trust anchor file {} is larger than {} MiB", path.display(), MAX_FILE >> 20)]
    TooLarge {
        /// The file as given.
        path: PathBuf,
    },
    /// A file holds no certificate at all.
    #[error("the trust anchor file {} holds no certificate", path.display())]
    NoCertificate {
        /// The file as given.
        path: PathBuf,
    },
    /// A file holds something that is not a certificate, or a self-signed certificate that cannot be an anchor.
    #[error("certificate {number} in the trust anchor file {} cannot be used: {problem}", path.display())]
    BadCertificate {
        /// The file as given.
        path: PathBuf,
        /// Which one in the file, from 1.
        number: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The operating system's store gave nothing.
    #[error("the operating system's certificate store gave no trust anchor{}", first_error.as_deref().map(|e| format!(": {e}")).unwrap_or_default())]
    EmptySystemStore {
        /// The first thing that went wrong while reading it, if anything did.
        first_error: Option<String>,
    },
}

impl TrustError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "check the path given with --trust-anchor and that this user may read it",
            Self::TooLarge { .. } | Self::NoCertificate { .. } | Self::BadCertificate { .. } => {
                "give a PEM, DER or PKCS#7 file with the CA certificates, as exported from the server or from the enterprise CA"
            }
            Self::EmptySystemStore { .. } => {
                "install the system's CA certificates (package ca-certificates), or name the CA with --trust-anchor"
            }
        }
    }
}

impl Trust {
    /// No anchors but those that are added.
    pub fn only_given() -> Self {
        Self { store: Arc::new(RootCertStore::empty()), anchors: Vec::new(), intermediates: Vec::new() }
    }

    /// The operating system's store, and the operator's files. Certificates of the system that are no valid anchors are
    /// left out, as it has many. An empty system store is an error only if no file gives an anchor.
    pub fn system_and(files: &[PathBuf]) -> Result<Self, TrustError> {
        let mut trust = Self::only_given();
        let loaded = rustls_native_certs::load_native_certs();
        for certificate in loaded.certs {
            if Arc::make_mut(&mut trust.store).add(certificate.clone()).is_ok() {
                trust.anchors.push(certificate);
            }
        }
        for file in files {
            trust.add_file(file)?;
        }
        if trust.anchors.is_empty() {
            let first_error = loaded.errors.first().map(ToString::to_string);
            return Err(TrustError::EmptySystemStore { first_error });
        }
        Ok(trust)
    }

    /// Adds the certificates of a PEM, DER or PKCS#7 (`.p7b`) file: self-signed ones become anchors, others known intermediates.
    pub fn add_file(&mut self, path: &Path) -> Result<(), TrustError> {
        let unreadable = |source| TrustError::Unreadable { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
            return Err(TrustError::TooLarge { path: path.to_owned() });
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        let bad =
            |number, problem: String| TrustError::BadCertificate { path: path.to_owned(), number: number + 1, problem };
        let certificates = certificates(&bytes).map_err(|(number, problem)| bad(number, problem))?;
        if certificates.is_empty() {
            return Err(TrustError::NoCertificate { path: path.to_owned() });
        }
        for (number, certificate) in certificates.into_iter().enumerate() {
            self.add(certificate).map_err(|problem| bad(number, problem))?;
        }
        Ok(())
    }

    /// Adds one certificate, DER: an anchor if it is self-signed, else a known intermediate. An error names `origin`.
    pub fn add_der(&mut self, origin: &str, der: &[u8]) -> Result<(), TrustError> {
        self.add(CertificateDer::from(der.to_vec())).map_err(|problem| TrustError::BadCertificate {
            path: PathBuf::from(origin),
            number: 1,
            problem,
        })
    }

    fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), String> {
        let self_signed = {
            let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|error| error.to_string())?;
            parsed.subject() == parsed.issuer() && parsed.verify_signature(None).is_ok()
        };
        if !self_signed {
            self.intermediates.push(certificate);
            return Ok(());
        }
        Arc::make_mut(&mut self.store).add(certificate.clone()).map_err(|error| error.to_string())?;
        self.anchors.push(certificate);
        Ok(())
    }

    /// For webpki.
    pub(super) fn store(&self) -> &Arc<RootCertStore> {
        &self.store
    }

    /// Certificates that may complete a chain; nothing trusts them by themselves.
    pub fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.intermediates
    }

    /// The anchors whole, DER.
    pub fn anchors(&self) -> &[CertificateDer<'static>] {
        &self.anchors
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Trust({} anchors, {} intermediates)", self.anchors.len(), self.intermediates.len())
    }
}

/// The certificates in PEM, DER or PKCS#7 bytes; an error names the place of the bad one, from 0.
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, (usize, String)> {
    if bytes.first() == Some(&0x30) {
        return Ok(pkcs7::certificates(bytes).unwrap_or_else(|| vec![CertificateDer::from(bytes.to_vec())]));
    }
    let mut found = Vec::new();
    for item in CertificateDer::pem_slice_iter(bytes) {
        match item {
            Ok(certificate) => found.push(certificate),
            Err(pem::Error::NoItemsFound) => break,
            Err(error) => return Err((found.len(), error.to_string())),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Authority, certs_only};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_may_hold_roots_and_intermediates_and_only_roots_become_anchors() {
        let authority = Authority::new();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("contoso.pem");
        std::fs::write(&path, format!("{}\n{}", authority.intermediate_pem(), authority.root_pem())).unwrap();
        let mut trust = Trust::only_given();
        trust.add_file(&path).unwrap();
        assert_eq!((trust.anchors().len(), trust.intermediates().len()), (1, 1));

        let path = directory.path().join("contoso.cer");
        std::fs::write(&path, authority.root_der()).unwrap();
        trust.add_file(&path).unwrap();
        assert_eq!(trust.anchors().len(), 2);

        let path = directory.path().join("contoso.p7b");
        std::fs::write(&path, certs_only(&[authority.root_der(), authority.intermediate_der()])).unwrap();
        trust.add_file(&path).unwrap();
        assert_eq!((trust.anchors().len(), trust.intermediates().len()), (3, 2));
    }

    #[test]
    fn an_error_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing.pem");
        assert!(Trust::only_given().add_file(&missing).unwrap_err().to_string().contains("missing.pem"));
        let empty = directory.path().join("notes.txt");
        std::fs::write(&empty, "no certificate here").unwrap();
        assert!(matches!(Trust::only_given().add_file(&empty), Err(TrustError::NoCertificate { .. })));
        std::fs::write(&empty, [0x30, 0x03, 1, 2, 3]).unwrap();
        assert!(matches!(Trust::only_given().add_file(&empty), Err(TrustError::BadCertificate { number: 1, .. })));
    }

    #[test]
    fn a_given_root_is_enough_where_the_system_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.pem");
        std::fs::write(&path, Authority::new().root_pem()).unwrap();
        assert!(!Trust::system_and(&[path]).unwrap().anchors().is_empty());
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut trust = Trust::only_given();
            for certificate in certificates(&bytes).unwrap_or_default() {
                let _ = trust.add(certificate);
            }
            prop_assert!(trust.anchors().is_empty());
        }
    }
}
