//! The own walk from a server's certificate upwards. It explains a verdict and never makes one.

use std::collections::HashMap;

use crate::credential::{Certificate, Fingerprint, SignatureCheck};

/// Longer chains than these are no chains of this world.
const MOST_CERTIFICATES: usize = 8;
/// How many steps a walk through certificates made to confuse may take.
const MOST_STEPS: usize = 400;

/// One way upwards.
#[derive(Debug, Clone)]
pub(super) struct Path {
    /// The server's certificate first, each signed by the next. Never empty.
    pub(super) chain: Vec<Certificate>,
    pub(super) end: End,
}

/// How a way upwards ends.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// The last is signed by this trust anchor.
    Anchor(Certificate),
    /// Nobody has the issuer of the last, or the last is its own issuer.
    Open,
    /// A certificate of the issuer's name, and as far as can be told with its key, did not sign the last.
    BadSignature,
}

impl Path {
    pub(super) fn top(&self) -> &Certificate {
        self.chain.last().expect("a path has a first certificate")
    }

    pub(super) fn anchor(&self) -> Option<&Certificate> {
        match &self.end {
            End::Anchor(anchor) => Some(anchor),
            End::Open | End::BadSignature => None,
        }
    }
}

/// All ways from `first` upwards through `candidates`, each as far as it goes.
pub(super) fn paths(first: &Certificate, candidates: &[Certificate], anchors: &[Certificate]) -> Vec<Path> {
    let mut walk = Walk { candidates, anchors, checked: HashMap::new(), steps: 0, found: Vec::new() };
    walk.on(&mut vec![first.clone()]);
    walk.found
}

struct Walk<'a> {
    candidates: &'a [Certificate],
    anchors: &'a [Certificate],
    checked: HashMap<(Fingerprint, Fingerprint), SignatureCheck>,
    steps: usize,
    found: Vec<Path>,
}

impl Walk<'_> {
    fn on(&mut self, chain: &mut Vec<Certificate>) {
        self.steps += 1;
        let head = chain.last().expect("a chain has a first certificate").clone();
        let (mut went_on, mut contradicted) = (false, false);
        let (anchors, candidates) = (self.anchors, self.candidates);
        for anchor in anchors.iter().filter(|anchor| anchor.subject_der() == head.issuer_der()) {
            match self.check(&head, anchor) {
                SignatureCheck::Bad => contradicted |= same_key_id(&head, anchor),
                SignatureCheck::Good | SignatureCheck::Unsupported => {
                    went_on = true;
                    self.found.push(Path { chain: chain.clone(), end: End::Anchor(anchor.clone()) });
                }
            }
        }
        for issuer in candidates.iter().filter(|candidate| candidate.subject_der() == head.issuer_der()) {
            let seen = |c: &Certificate| c.key_id() == issuer.key_id() && c.subject_der() == issuer.subject_der();
            if chain.iter().any(seen) || chain.len() >= MOST_CERTIFICATES || self.steps >= MOST_STEPS {
                continue;
            }
            match self.check(&head, issuer) {
                SignatureCheck::Bad => contradicted |= same_key_id(&head, issuer),
                SignatureCheck::Good | SignatureCheck::Unsupported => {
                    went_on = true;
                    chain.push(issuer.clone());
                    self.on(chain);
                    chain.pop();
                }
            }
        }
        if !went_on {
            let end = if contradicted { End::BadSignature } else { End::Open };
            self.found.push(Path { chain: chain.clone(), end });
        }
    }

    fn check(&mut self, certificate: &Certificate, issuer: &Certificate) -> SignatureCheck {
        let pair = (certificate.fingerprint(), issuer.key_id());
        *self.checked.entry(pair).or_insert_with(|| certificate.check_issued_by(issuer))
    }
}

/// Whether the two key ids agree, or one of them is not there to disagree. A CA that changed its key keeps its name: its
/// certificate is then not the issuer's, rather than the signature bad.
fn same_key_id(certificate: &Certificate, issuer: &Certificate) -> bool {
    match (certificate.authority_key_id(), issuer.subject_key_id()) {
        (Some(authority), Some(subject)) => authority == subject,
        _ => true,
    }
}
