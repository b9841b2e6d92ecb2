//! Trust anchors of a pool: a file, and what it has to hold.

use crate::credential::{Certificate, Fingerprint, Thumbprint};
use std::path::PathBuf;

/// One certificate that a pool's file names: a root to trust, or an intermediate to know.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Where it is, from the pool's file.
    pub file: PathBuf,
    /// What it has to be.
    pub sha256: Fingerprint,
    /// The same as Windows shows it.
    pub sha1: Thumbprint,
}

impl Anchor {
    /// The entry for `certificate`, in a file that has the first half of its SHA-256 as its name, in `folder`.
    pub(super) fn of(certificate: &Certificate, folder: &str) -> Self {
        let sha256 = certificate.fingerprint();
        let name: String = sha256.to_string().chars().take(32).collect();
        let sha1 = Thumbprint::sha1_of(certificate.der());
        // With a slash on every system: a pool's file and its folder may be carried from one to another.
        Self { file: PathBuf::from(format!("{folder}/{name}.pem")), sha256, sha1 }
    }

    /// Whether it is this certificate.
    pub fn is(&self, certificate: &Certificate) -> bool {
        self.sha256 == certificate.fingerprint() && self.sha1.is_of(certificate)
    }
}
