//! Why a pool's configuration is of no use. All of it is this computer's setup.

use super::PoolName;
use std::io;
use std::path::PathBuf;

/// Why a pool's configuration is of no use, or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PoolsError {
    /// There is no home folder to look in.
    #[error("this user has no home folder, so there is no place for configured pools")]
    NoHome,
    /// No pool of this name is configured.
    #[error("no pool is called {name} on this computer{}", known_text(known))]
    NoSuchPool {
        /// As asked for.
        name: PoolName,
        /// Those there are.
        known: Vec<PoolName>,
    },
    /// A pool of this name is configured already.
    #[error("a pool is called {name} already")]
    Exists {
        /// Its name.
        name: PoolName,
    },
    /// A file or a folder could not be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or a folder could not be written or removed.
    #[error("cannot change {}", path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key that has the name of a secret.
    #[error("{}, line {line}: `{key}` looks like a secret, and none is ever kept in a pool's file", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The key, not its value.
        key: String,
    },
    /// The file is not what it should be.
    #[error("{}, line {line}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, without the value.
        problem: String,
    },
    /// A trust anchor is no longer the certificate that was confirmed.
    #[error("the trust anchor {} is not the certificate that the pool {name} was set up with", path.display())]
    AnchorChanged {
        /// The pool.
        name: PoolName,
        /// The file.
        path: PathBuf,
    },
    /// Several configured pools serve the user's domain, or it is not said which of several is meant.
    #[error("which pool is meant is not clear{}: {}", domain.as_ref().map(|it| format!(" for {it}")).unwrap_or_default(), names(candidates))]
    Ambiguous {
        /// The user's SIP domain, if there is a user.
        domain: Option<String>,
        /// Those that it may be.
        candidates: Vec<PoolName>,
    },
    /// None of the configured pools is for the user's domain.
    #[error("no configured pool serves {domain}: there is {}", names(known))]
    OtherDomain {
        /// The user's SIP domain.
        domain: String,
        /// Those there are.
        known: Vec<PoolName>,
    },
}

fn names(names: &[PoolName]) -> String {
    names.iter().map(PoolName::as_str).collect::<Vec<_>>().join(", ")
}

fn known_text(known: &[PoolName]) -> String {
    if known.is_empty() { "; none is set up".to_owned() } else { format!("; there is {}", names(known)) }
}

impl PoolsError {
    /// What the technician does next.
    pub fn next_step(&self) -> String {
        match self {
            Self::NoHome => "set HOME, or TETHERCERT_CONFIG to the folder that pools are kept in".to_owned(),
            Self::NoSuchPool { name, .. } => {
                format!("check the name with tethercert pool list, or set it up: tethercert setup pool {name}")
            }
            Self::Exists { name } => {
                format!("look at it with tethercert pool show {name}; write it anew with --replace")
            }
            Self::Unreadable { .. } => "check that the file is there and that this user may read it".to_owned(),
            Self::NotWritable { .. } => "check that this user may write there and that there is room".to_owned(),
            Self::Secret { .. } => {
                "remove the line; passwords and PINs are asked for, or come from --password-file and --pin-file"
                    .to_owned()
            }
            Self::Invalid { .. } => {
                "correct the line (docs/operations.md has every key), or write the file anew with tethercert setup pool"
                    .to_owned()
            }
            Self::AnchorChanged { name, .. } => {
                format!(
                    "compare its thumbprint with the administrator's, then: tethercert setup pool {name} --replace --trust-anchor FILE"
                )
            }
            Self::Ambiguous { .. } => {
                "name it with --pool NAME, or give each pool its users' domains (sip_domains)".to_owned()
            }
            Self::OtherDomain { .. } => {
                "name the pool with --pool NAME, or set one up for this domain: tethercert setup pool NAME".to_owned()
            }
        }
    }
}
