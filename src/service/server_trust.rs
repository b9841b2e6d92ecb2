//! What was collected about the servers that a phone has to trust: their chains, and the root chains that the service
//! offers over plain http, compared with what vouches for them.
//!
//! Being collected is not being trusted: webpki decides for this computer, the judgement on server chains for a phone.

use crate::credential::{Certificate, Fingerprint, ServerChain, Thumbprint};
use crate::tls::{self, Distrust, Negotiated, Probed, TlsError};
use std::sync::Arc;

/// A server that was asked for its certificates.
#[derive(Debug, Clone)]
pub struct ServerFound {
    /// The name that its certificate has to be valid for.
    pub host: String,
    /// The port: 443 of Web Services, 5061 of a registrar, others.
    pub port: u16,
    /// What came of it.
    pub met: Met,
    /// TLS version and cipher that a look at it came to.
    pub negotiated: Option<Negotiated>,
}

/// What came of asking a server for its certificates.
#[derive(Debug, Clone)]
pub enum Met {
    /// This computer trusts it.
    Trusted(tls::ServerChain),
    /// It showed certificates that this computer does not trust.
    Distrusted {
        /// As the server sent them, its own first, DER.
        presented: Vec<Vec<u8>>,
        /// Why not.
        reason: Distrust,
    },
    /// It showed nothing, so nothing can be said about its chain.
    Unreachable(Arc<TlsError>),
}

impl ServerFound {
    /// From what a look at it came to.
    pub fn new(host: &str, port: u16, probed: Result<Probed, TlsError>) -> Self {
        let negotiated = probed.as_ref().ok().map(|probed| probed.negotiated.clone());
        let met = match probed {
            Ok(Probed { presented, completed, distrust: None, .. }) => {
                Met::Trusted(tls::ServerChain { presented, completed })
            }
            Ok(Probed { presented, distrust: Some(reason), .. }) => Met::Distrusted { presented, reason },
            Err(error) => Met::Unreachable(Arc::new(error)),
        };
        Self { host: host.to_owned(), port, met, negotiated }
    }

    /// A server that there is a trusted connection to.
    pub fn trusted(host: &str, port: u16, chain: tls::ServerChain) -> Self {
        Self { host: host.to_owned(), port, met: Met::Trusted(chain), negotiated: None }
    }

    /// `sip.contoso.example:5061`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// As the server sent them, its own first, DER; nothing where it was not reached.
    pub fn presented(&self) -> &[Vec<u8>] {
        match &self.met {
            Met::Trusted(chain) => &chain.presented,
            Met::Distrusted { presented, .. } => presented,
            Met::Unreachable(_) => &[],
        }
    }

    /// What had to be added for this computer to trust it, the root last, DER; nothing where it does not.
    pub fn completed(&self) -> &[Vec<u8>] {
        match &self.met {
            Met::Trusted(chain) => &chain.completed,
            Met::Distrusted { .. } | Met::Unreachable(_) => &[],
        }
    }
}

/// How a certificate of a chain was got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GotBy {
    /// The server sent it in the handshake.
    Handshake,
    /// From the address in the certificate below it (AIA).
    Fetched,
    /// The operator gave it.
    Given,
    /// It is a trust anchor of this computer.
    Anchor,
}

impl ServerFound {
    /// Its certificates in order, each with how it was got. `given` are the operator's intermediates, DER. What cannot be
    /// read as a certificate is left out.
    pub fn certificates(&self, given: &[Vec<u8>]) -> Vec<(Certificate, GotBy)> {
        let sent = self.presented().iter().map(|der| (der, GotBy::Handshake));
        let last = self.completed().len().saturating_sub(1);
        let added = self.completed().iter().enumerate().map(|(number, der)| match number == last {
            true => (der, GotBy::Anchor),
            false if given.contains(der) => (der, GotBy::Given),
            false => (der, GotBy::Fetched),
        });
        sent.chain(added).filter_map(|(der, got)| Some((Certificate::from_der(der).ok()?, got))).collect()
    }
}

/// The service's root-chain download over plain http. It is authenticated by nothing and never becomes trust by itself.
#[derive(Debug, Clone, Default)]
pub enum Download {
    /// It was not asked for: its message is not public, and no profile names it for this pool.
    #[default]
    NotAsked,
    /// It was asked for and could not be had.
    Failed {
        /// Where it was asked for.
        url: String,
        /// Why.
        error: Arc<super::ocauth::DownloadError>,
    },
    /// It came.
    Got(Box<RootChains>),
}

/// What the download held, with what vouches for it.
#[derive(Debug, Clone)]
pub struct RootChains {
    /// Where it was got.
    pub url: String,
    /// What it held, sorted.
    pub bag: Bag,
    /// What the https server's chain says about it.
    pub https: Compared,
    /// What the operator's thumbprint says about it.
    pub thumbprint: Compared,
}

/// Certificates sorted by what they are ([MS-OCAUTHWS] 1.5 names PKCS#7; the rule is LAB): self-signed by their own key,
/// else of a CA, else of no use for trust.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bag {
    /// Roots.
    pub roots: Vec<Certificate>,
    /// Intermediates.
    pub intermediates: Vec<Certificate>,
    /// What was left out, with the reason, safe to print.
    pub ignored: Vec<String>,
}

impl Bag {
    /// Sorts; what is there twice counts once.
    pub fn sorted(ders: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut bag = Self::default();
        let mut seen: Vec<Fingerprint> = Vec::new();
        for der in ders {
            let certificate = match Certificate::from_der(&der) {
                Ok(certificate) => certificate,
                Err(error) => {
                    bag.ignored.push(error.to_string());
                    continue;
                }
            };
            if seen.contains(&certificate.fingerprint()) {
                continue;
            }
            seen.push(certificate.fingerprint());
            if certificate.is_self_signed() {
                bag.roots.push(certificate);
            } else if certificate.is_ca() {
                bag.intermediates.push(certificate);
            } else {
                bag.ignored.push(format!("{} is the certificate of no CA", certificate.label()));
            }
        }
        bag
    }
}

/// What something that is authenticated says about the download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// The same root.
    Agrees {
        /// The root that both name.
        root: Box<Certificate>,
        /// Whether the other side is itself sure: a chain that this computer trusts, or a thumbprint. Two answers of one
        /// network that nothing vouches for may agree because one hand made both.
        sure: bool,
    },
    /// Another root: somebody may stand in between. Nothing of the download is used.
    Differs {
        /// How, for people.
        how: String,
    },
    /// There is nothing to compare with.
    Nothing,
}

impl Compared {
    /// The download against the chain of the https server.
    pub fn with_https(bag: &Bag, web: &ServerFound) -> Self {
        let read = |ders: &[Vec<u8>]| ders.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
        let presented: Vec<Certificate> = read(web.presented());
        let Some(server) = presented.first().map(Certificate::label) else { return Self::Nothing };
        let chain = ServerChain { names: vec![web.host.clone()], presented, known: read(web.completed()) };
        match chain.leads_to(&bag.roots, &bag.intermediates) {
            Some(root) => Self::Agrees { root: Box::new(root), sure: matches!(web.met, Met::Trusted(_)) },
            None => Self::Differs {
                how: format!("no root in it signed the chain of {server}; it holds {}", labels(&bag.roots)),
            },
        }
    }

    /// The download against what the operator was told by another way.
    pub fn with_thumbprint(bag: &Bag, given: Option<&Thumbprint>) -> Self {
        let Some(thumbprint) = given else { return Self::Nothing };
        match bag.roots.iter().find(|root| thumbprint.is_of(root)) {
            Some(root) => Self::Agrees { root: Box::new(root.clone()), sure: true },
            None => Self::Differs {
                how: format!("no root in it has the thumbprint {thumbprint}; it holds {}", labels(&bag.roots)),
            },
        }
    }

    /// The root at the top of a server's chain against what the operator was told by another way. Nothing where neither the
    /// server sends a root nor this computer knows the one that it trusts.
    pub fn chain_with_thumbprint(web: &ServerFound, given: Option<&Thumbprint>) -> Self {
        let Some(thumbprint) = given else { return Self::Nothing };
        let ders = web.presented().iter().chain(web.completed().last());
        let roots: Vec<Certificate> =
            ders.filter_map(|der| Certificate::from_der(der).ok()).filter(Certificate::is_self_signed).collect();
        match roots.iter().find(|root| thumbprint.is_of(root)) {
            Some(root) => Self::Agrees { root: Box::new(root.clone()), sure: true },
            None if roots.is_empty() => Self::Nothing,
            None => Self::Differs {
                how: format!(
                    "the chain of {} ends at {}, not at a root with the thumbprint {thumbprint}",
                    web.host,
                    labels(&roots)
                ),
            },
        }
    }

    /// Whether it contradicts.
    pub fn differs(&self) -> bool {
        matches!(self, Self::Differs { .. })
    }
}

impl RootChains {
    /// How it contradicts what is authenticated, if it does.
    pub fn contradiction(&self) -> Option<&str> {
        [&self.https, &self.thumbprint].into_iter().find_map(|compared| match compared {
            Compared::Differs { how } => Some(how.as_str()),
            Compared::Agrees { .. } | Compared::Nothing => None,
        })
    }

    /// Intermediates that may help to build a chain: hints that signatures confirm or not. None where the download
    /// contradicts.
    pub fn hints(&self) -> &[Certificate] {
        if self.contradiction().is_some() { &[] } else { &self.bag.intermediates }
    }

    /// Whether this root is the one that a chain which this computer trusts, or the operator's thumbprint, names.
    pub fn confirms(&self, certificate: &Certificate) -> bool {
        let sure = |compared: &Compared| match compared {
            Compared::Agrees { root, sure } => *sure && **root == *certificate,
            Compared::Differs { .. } | Compared::Nothing => false,
        };
        self.contradiction().is_none() && (sure(&self.https) || sure(&self.thumbprint))
    }
}

impl Download {
    /// What came, where it came.
    pub fn got(&self) -> Option<&RootChains> {
        match self {
            Self::Got(chains) => Some(chains),
            Self::NotAsked | Self::Failed { .. } => None,
        }
    }
}

fn labels(certificates: &[Certificate]) -> String {
    let labels: Vec<String> = certificates.iter().map(Certificate::label).collect();
    if labels.is_empty() { "none".to_owned() } else { labels.join(", ") }
}
