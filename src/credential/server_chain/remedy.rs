//! What a phone must be given so that it trusts the server, and the proof that it then does.

use super::walk::{self, Path};
use super::{Flaw, PhoneView, ServerChain, Verdict};
use crate::credential::{Certificate, Fingerprint};

/// How many ways upwards are tried; honest chains have one or two.
const MOST_PLANS: usize = 16;

/// What to give to the phone. Shown to suffice: the chain was judged again with exactly this added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// The root to add to its trust anchors: none or one, always one that this computer trusts.
    pub anchors: Vec<Certificate>,
    /// The intermediates that the server does not send.
    pub intermediates: Vec<Certificate>,
    /// The way to trust that the phone then has, server's certificate first, trust anchor last.
    pub path: Vec<Certificate>,
}

impl Remedy {
    /// Whether the phone needs nothing.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty() && self.intermediates.is_empty()
    }
}

/// Why nothing that we could give to the phone makes it trust the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unremedied {
    /// Certificates cannot mend what is wrong.
    #[error("{reason}")]
    Flawed {
        /// The first thing to put right.
        reason: Box<Flaw>,
        /// What else is wrong.
        also: Vec<Flaw>,
    },
    /// The chain leads to a root that this computer knows and does not trust.
    #[error("the chain ends at the root {name}, which this computer does not trust either", name = root.label())]
    RootNotTrusted {
        /// The root.
        root: Certificate,
    },
    /// This computer trusts the certificate at the top, but it is no CA's: as a phone's anchor it could vouch for anything.
    #[error("{name} is trusted here, but is no certificate of a CA and so never given to a phone as one", name = certificate.label())]
    NotARoot {
        /// The certificate.
        certificate: Certificate,
    },
    /// An issuer is missing and this computer does not know it.
    #[error("the certificate of the issuer {issuer} is missing, and this computer does not know it")]
    IssuerUnknown {
        /// The issuer, safe to print.
        issuer: String,
        /// Where it can be fetched, as the certificate below it says.
        urls: Vec<String>,
    },
}

impl Unremedied {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Flawed { reason, .. } => reason.next_step(),
            Self::RootNotTrusted { .. } => {
                "compare the root's fingerprint with your administrator's, then give it with --trust-anchor FILE"
            }
            Self::NotARoot { .. } => "have the server's certificate issued by a certification authority",
            Self::IssuerUnknown { urls, .. } if urls.is_empty() => {
                "have the server send its intermediates, or give the root with --trust-anchor FILE"
            }
            Self::IssuerUnknown { .. } => {
                "fetch the issuer from the address in the certificate, or have the server send its intermediates"
            }
        }
    }
}

/// One way to trust, and what it would cost.
struct Plan {
    anchor: Option<Certificate>,
    intermediates: Vec<Certificate>,
}

impl ServerChain {
    /// The least that must be given to the phone so that what the server sends then suffices.
    ///
    /// `trusted` are the roots that this computer itself trusts: only these may become anchors, whatever else is known.
    /// A new anchor is the dearest gift: any number of intermediates is given rather than one root.
    pub fn remedy(&self, view: &PhoneView<'_>, trusted: &[Certificate]) -> Result<Remedy, Unremedied> {
        let (reason, also) = match self.judge(view) {
            Verdict::Good { path } => return Ok(Remedy { anchors: Vec::new(), intermediates: Vec::new(), path }),
            Verdict::Refused { reason, also } => (reason, also),
        };
        let mut first_failure = None;
        for plan in self.plans(view, trusted) {
            let anchors: Vec<Certificate> = view.anchors.iter().chain(&plan.anchor).cloned().collect();
            match self.judge_with(&PhoneView { anchors: &anchors, ..*view }, &plan.intermediates) {
                Verdict::Good { path } => {
                    let Plan { anchor, intermediates } = plan;
                    return Ok(Remedy { anchors: anchor.into_iter().collect(), intermediates, path });
                }
                Verdict::Refused { reason, also } => {
                    first_failure.get_or_insert(Unremedied::Flawed { reason: Box::new(reason), also });
                }
            }
        }
        Err(first_failure.unwrap_or_else(|| self.nothing_to_try(reason, also, trusted)))
    }

    /// The ways to trust with everything this computer could give, the cheapest first.
    fn plans(&self, view: &PhoneView<'_>, trusted: &[Certificate]) -> Vec<Plan> {
        let Some((server, above)) = self.presented.split_first() else { return Vec::new() };
        let candidates: Vec<Certificate> = above.iter().chain(&self.known).cloned().collect();
        let roots = trusted.iter().filter(|root| is_root(root) && !view.anchors.contains(root));
        let anchors: Vec<Certificate> = view.anchors.iter().chain(roots).cloned().collect();
        let plan = |path: Path| {
            let anchor = path.anchor().filter(|anchor| !view.anchors.contains(anchor)).cloned();
            let lacking = path.chain.into_iter().filter(|link| !self.presented.contains(link)).collect();
            Plan { anchor, intermediates: lacking }
        };
        let anchored = walk::paths(server, &candidates, &anchors).into_iter().filter(|path| path.anchor().is_some());
        let mut plans: Vec<Plan> = anchored.map(plan).collect();
        plans.sort_by_key(|plan| (plan.anchor.is_some(), plan.intermediates.len()));
        plans.truncate(MOST_PLANS);
        plans
    }

    fn nothing_to_try(&self, reason: Flaw, also: Vec<Flaw>, trusted: &[Certificate]) -> Unremedied {
        let Some((server, above)) = self.presented.split_first().filter(|_| reason.is_a_gap()) else {
            return Unremedied::Flawed { reason: Box::new(reason), also };
        };
        let candidates: Vec<Certificate> = above.iter().chain(&self.known).cloned().collect();
        let ways = walk::paths(server, &candidates, &[]);
        let tops = || ways.iter().map(Path::top);
        match tops().find(|top| top.is_self_issued()).or_else(|| tops().next()) {
            Some(root) if root.is_self_issued() && trusted.contains(root) => {
                Unremedied::NotARoot { certificate: root.clone() }
            }
            Some(root) if root.is_self_issued() => Unremedied::RootNotTrusted { root: root.clone() },
            Some(top) => Unremedied::IssuerUnknown { issuer: top.issuer_label(), urls: top.issuer_urls().to_vec() },
            None => Unremedied::Flawed { reason: Box::new(reason), also },
        }
    }
}

/// Whether a certificate may become a trust anchor: its own issuer, and a CA as far as its version can say so.
fn is_root(certificate: &Certificate) -> bool {
    certificate.is_self_issued() && (certificate.is_ca() || certificate.version() == 1)
}

impl Unremedied {
    /// The fingerprint to compare before a root is trusted, where there is one.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::RootNotTrusted { root } => Some(root.fingerprint()),
            Self::Flawed { .. } | Self::NotARoot { .. } | Self::IssuerUnknown { .. } => None,
        }
    }
}
