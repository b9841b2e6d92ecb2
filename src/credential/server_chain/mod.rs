//! The judgement on a *server's chain*, with the eyes of a phone: its trust anchors, its clock, what it refuses.
//!
//! rustls-webpki alone says "good". The own walk only explains why it did not, and every remedy is shown to suffice by
//! asking webpki again with the remedy applied.

mod flaw;
mod remedy;
mod verifier;
mod walk;

#[cfg(test)]
mod tests;

use std::fmt;

use rustls::pki_types::{CertificateDer, ServerName};
use time::OffsetDateTime;

pub use flaw::{Culprit, Flaw, Place};
pub use remedy::{Remedy, Unremedied};

use self::verifier::{Strictness, verify};
use self::walk::{End, Path};
use super::Certificate;
use super::text::printable;

/// The shortest RSA key that this program vouches for, whatever the phone takes.
const LEAST_RSA_BITS: u32 = 2048;
/// How many ways upwards are looked at, the shortest first; honest chains have one or two.
const MOST_WAYS: usize = 32;

/// What a server presented, and what this computer can add to it.
#[derive(Debug, Clone)]
pub struct ServerChain {
    /// The names that the phone calls the server by, DNS or IP; the certificate must be good for each. At least one.
    pub names: Vec<String>,
    /// What the server sent, its own certificate first, in any order after that.
    pub presented: Vec<Certificate>,
    /// Further certificates that this computer knows: fetched intermediates, roots. Being known is not being trusted.
    pub known: Vec<Certificate>,
}

/// The eyes of one phone.
#[derive(Debug, Clone, Copy)]
pub struct PhoneView<'a> {
    /// Its trust anchors. Their own signatures are never judged; their dates are (inferred: it is not public whether Windows
    /// CE looks at them, so the stricter is assumed).
    pub anchors: &'a [Certificate],
    /// Its clock, or the clock it will have.
    pub clock: OffsetDateTime,
    /// Whether it is known to refuse SHA-1 signatures. Only for the explanation: a chain with SHA-1 is never called good.
    pub refuses_sha1: bool,
    /// The shortest RSA key that it takes, in bits. Less than 2048 counts as 2048.
    pub min_rsa_bits: u32,
}

/// What a phone makes of a server's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The phone trusts the server.
    Good {
        /// The way, server's certificate first, trust anchor last.
        path: Vec<Certificate>,
    },
    /// The phone does not.
    Refused {
        /// The first thing to put right.
        reason: Flaw,
        /// What else is wrong.
        also: Vec<Flaw>,
    },
}

impl Verdict {
    /// Whether the phone trusts the server.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Good { .. })
    }
}

/// `good: web.contoso.example → Contoso Issuing CA 2 → Contoso Root`, or one line for each flaw.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good { path } => {
                let labels: Vec<String> = path.iter().map(Certificate::label).collect();
                write!(f, "good: {}", labels.join(" → "))
            }
            Self::Refused { reason, also } => {
                write!(f, "refused: {reason}")?;
                also.iter().try_for_each(|flaw| write!(f, "\nalso: {flaw}"))
            }
        }
    }
}

impl ServerChain {
    /// What the phone makes of what the server sends, with nothing added.
    pub fn judge(&self, view: &PhoneView<'_>) -> Verdict {
        self.judge_with(view, &[])
    }

    /// What the phone makes of it with `intermediates` at hand that it was given before.
    pub fn judge_with(&self, view: &PhoneView<'_>, intermediates: &[Certificate]) -> Verdict {
        let Some((server, above)) = self.presented.split_first() else {
            return Verdict::Refused { reason: Flaw::Empty, also: Vec::new() };
        };
        let candidates: Vec<Certificate> = above.iter().chain(intermediates).cloned().collect();
        let mut ways = walk::paths(server, &candidates, view.anchors);
        ways.sort_by_key(|way| (way.anchor().is_none(), way.chain.len()));
        let anchored = || ways.iter().filter(|way| way.anchor().is_some()).take(MOST_WAYS);
        let granted = anchored().find(|way| verify(way, view, Strictness::Grant).is_ok());
        match (granted, self.name_flaw(server)) {
            (Some(way), None) => Verdict::Good { path: way.whole() },
            (Some(_), Some(mismatch)) => Verdict::Refused { reason: mismatch, also: Vec::new() },
            (None, mismatch) => {
                // What only old algorithms and old roots stand in the way of, webpki itself confirms to be sound otherwise.
                let sound = anchored().find(|way| verify(way, view, Strictness::ExplainOnly).is_ok());
                let mut flaws = sound.map_or_else(|| self.least_flawed(&ways, view), |way| self.flaws(way, view));
                flaws.extend(mismatch);
                if flaws.is_empty() {
                    let refused = anchored().find_map(|way| verify(way, view, Strictness::Grant).err());
                    let error = refused.unwrap_or(webpki::Error::UnknownIssuer);
                    flaws.push(verifier::explain(&error, Culprit::new(Place::Server, server)));
                }
                flaws.sort_by_key(Flaw::rank);
                let reason = flaws.remove(0);
                Verdict::Refused { reason, also: flaws }
            }
        }
    }

    /// The first of `roots` that the chain leads up to by signatures, with `further` certificates at hand. Says nothing of
    /// dates or trust.
    pub fn leads_to(&self, roots: &[Certificate], further: &[Certificate]) -> Option<Certificate> {
        let (server, above) = self.presented.split_first()?;
        let candidates: Vec<Certificate> = above.iter().chain(&self.known).chain(further).cloned().collect();
        walk::paths(server, &candidates, roots).iter().find_map(|way| way.anchor().cloned())
    }

    /// The topmost certificates of what the server sends, one for each way upwards, each once.
    pub fn tops_presented(&self) -> Vec<Certificate> {
        let Some((server, above)) = self.presented.split_first() else { return Vec::new() };
        let mut tops: Vec<Certificate> = Vec::new();
        for way in walk::paths(server, above, &[]) {
            if !tops.contains(way.top()) {
                tops.push(way.top().clone());
            }
        }
        tops
    }

    /// Which of the names the certificate lacks, by webpki's rules; no name at all is good for no phone.
    fn name_flaw(&self, server: &Certificate) -> Option<Flaw> {
        let der = CertificateDer::from(server.der());
        let entity = webpki::EndEntityCert::try_from(&der).ok()?;
        let fits = |name: &str| {
            ServerName::try_from(name).is_ok_and(|name| entity.verify_is_valid_for_subject_name(&name).is_ok())
        };
        let wanted: Vec<String> = self.names.iter().filter(|name| !fits(name)).cloned().collect();
        (self.names.is_empty() || !wanted.is_empty()).then(|| Flaw::NameMismatch { wanted, found: names(server) })
    }

    /// The flaws of the best way that there is, of those that lead to an anchor if any does.
    fn least_flawed(&self, ways: &[Path], view: &PhoneView<'_>) -> Vec<Flaw> {
        let judged = ways.iter().take(MOST_WAYS).map(|way| (way.anchor().is_none(), self.flaws(way, view)));
        judged.min_by_key(|(open, flaws)| (*open, flaws.len())).map(|(_, flaws)| flaws).unwrap_or_default()
    }

    fn flaws(&self, path: &Path, view: &PhoneView<'_>) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        for (index, certificate) in path.chain.iter().enumerate() {
            let is_root = path.anchor().is_none() && index > 0 && certificate.is_self_issued();
            let place = match index {
                0 => Place::Server,
                _ if is_root => Place::Root,
                _ => Place::Intermediate,
            };
            let which = || Culprit::new(place, certificate);
            flaws.extend(verifier::format_flaw(which(), certificate));
            flaws.extend(date_flaw(which(), certificate, view.clock));
            flaws.extend(key_flaw(which(), certificate, view));
            flaws.extend(purpose_flaw(which(), certificate));
            flaws.extend(standing_flaw(which(), certificate));
            if certificate.signature_algorithm().is_sha1_or_older() && !certificate.is_self_signed() {
                flaws.push(Flaw::Sha1 { which: which(), phone_refuses: view.refuses_sha1 });
            }
        }
        match &path.end {
            End::Anchor(anchor) => {
                let which = || Culprit::new(Place::Root, anchor);
                flaws.extend(date_flaw(which(), anchor, view.clock));
                flaws.extend(key_flaw(which(), anchor, view));
            }
            End::Open => flaws.push(self.gap(path.top(), path.chain.len() == 1, view)),
            End::BadSignature => {
                let place = if path.chain.len() == 1 { Place::Server } else { Place::Intermediate };
                flaws.push(Flaw::BadSignature {
                    which: Culprit::new(place, path.top()),
                    issuer: path.top().issuer_label(),
                });
            }
        }
        flaws
    }

    /// What is missing above `top`: a further intermediate, or the root among the phone's anchors?
    fn gap(&self, top: &Certificate, is_server: bool, view: &PhoneView<'_>) -> Flaw {
        let unknown_root = |name, root| Flaw::UnknownRoot { name, root };
        if top.is_self_issued() {
            return unknown_root(top.label(), Some(top.clone()));
        }
        let missing = |certificate: Option<&Certificate>| Flaw::MissingIntermediate {
            issuer: top.issuer_label(),
            urls: top.issuer_urls().to_vec(),
            certificate: certificate.cloned(),
        };
        let ways = walk::paths(top, &self.known, view.anchors);
        let issuers = || ways.iter().filter_map(|way| way.chain.get(1));
        let to_an_anchor = ways.iter().filter(|way| way.anchor().is_some()).find_map(|way| way.chain.get(1));
        let root = issuers().find(|issuer| issuer.is_self_issued());
        // An anchor of this name with another key: the CA changed its key, and the phone holds the old root.
        let rekeyed = view.anchors.iter().any(|anchor| anchor.subject_der() == top.issuer_der());
        match (to_an_anchor, root, issuers().next()) {
            (Some(issuer), _, _) => missing(Some(issuer)),
            (None, Some(root), _) => unknown_root(root.label(), Some(root.clone())),
            (None, None, Some(issuer)) => missing(Some(issuer)),
            (None, None, None) if is_server && !rekeyed => missing(None),
            (None, None, None) => unknown_root(top.issuer_label(), None),
        }
    }
}

fn date_flaw(which: Culprit, certificate: &Certificate, clock: OffsetDateTime) -> Option<Flaw> {
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    if certificate.is_in_date(clock) {
        None
    } else if clock < not_before {
        Some(Flaw::NotYetValid { which, not_before, clock })
    } else {
        Some(Flaw::Expired { which, not_after, clock })
    }
}

fn key_flaw(which: Culprit, certificate: &Certificate, view: &PhoneView<'_>) -> Option<Flaw> {
    let least = view.min_rsa_bits.max(LEAST_RSA_BITS);
    let bits = certificate.key_kind().rsa_bits().filter(|bits| *bits < least)?;
    Some(Flaw::KeyTooShort { which, bits, least })
}

fn purpose_flaw(which: Culprit, certificate: &Certificate) -> Option<Flaw> {
    let purposes = certificate.purposes().filter(|purposes| !purposes.server_auth)?;
    let client = purposes.client_auth.then_some("client authentication");
    let any = purposes.any.then_some("any purpose");
    let found: Vec<&str> = client.into_iter().chain(any).chain(purposes.others.iter().map(String::as_str)).collect();
    Some(Flaw::NotForServers { which, found: found.join(", ") })
}

fn standing_flaw(which: Culprit, certificate: &Certificate) -> Option<Flaw> {
    let may_issue = certificate.is_ca() && certificate.key_usage().is_none_or(|usage| usage.key_cert_sign);
    match which.place {
        Place::Server => certificate
            .is_ca()
            .then(|| Flaw::Forbidden { rule: format!("the {which} is the certificate of a CA, not of a server") }),
        Place::Intermediate => {
            (!may_issue).then(|| Flaw::Forbidden { rule: format!("the {which} may not issue certificates") })
        }
        Place::Root => None,
    }
}

/// The names that a certificate is for. Common names do not count any more, but one that stands alone is worth telling.
fn names(certificate: &Certificate) -> Vec<String> {
    let alternative = certificate.alternative_names();
    let hosts = alternative.dns.iter().map(|name| printable(name));
    let mut names: Vec<String> = hosts.chain(alternative.ip.iter().map(ToString::to_string)).collect();
    if names.is_empty() {
        names.extend(certificate.common_name().map(|name| format!("{} (as common name only)", printable(name))));
    }
    names
}
