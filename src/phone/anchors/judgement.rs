//! What a phone probably makes of a server's chain, by a list of its roots.
//!
//! The thumbprint and the names decide, the certificates themselves are not needed. Only what the server sends counts: these
//! phones fetch nothing.

use super::{AnchorList, ListedAnchor};
use crate::credential::{Certificate, Flaw, PhoneView, ServerChain, Verdict};
use crate::phone::definition::Confidence;
use time::OffsetDateTime;

/// What a phone probably makes of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVerdict {
    /// In a word.
    pub likelihood: Likelihood,
    /// Why, for people.
    pub text: String,
}

/// How likely it is that a phone trusts a server. The better, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Likelihood {
    /// It does not.
    NotTrusted,
    /// It depends on what is not public.
    Unknown,
    /// By the list it does.
    ProbablyTrusted,
}

impl AnchorList {
    /// What a phone with these roots probably makes of what the server sends. The phone's clock is taken to be right.
    pub fn judge(&self, chain: &ServerChain, clock: OffsetDateTime) -> ListedVerdict {
        // What is wrong with the chain whatever the roots are; that a root is missing is what the list is for.
        let view = PhoneView { anchors: &[], clock, refuses_sha1: false, min_rsa_bits: 0 };
        let flaws = match chain.judge(&view) {
            Verdict::Good { .. } => Vec::new(),
            Verdict::Refused { reason, also } => std::iter::once(reason).chain(also).collect(),
        };
        if let Some(flaw) = flaws.iter().find(|flaw| !flaw.is_a_gap() && !is_of_its_time(flaw)) {
            return not_trusted(flaw.to_string());
        }
        let tops = chain.tops_presented();
        let best = tops.iter().map(|top| self.judge_top(top, clock)).max_by_key(|verdict| verdict.likelihood);
        let verdict = best.unwrap_or_else(|| not_trusted("the server presented no certificate".to_owned()));
        let omitted = flaws.iter().find_map(|flaw| match flaw {
            Flaw::MissingIntermediate { issuer, .. } => Some(issuer),
            _ => None,
        });
        match omitted.filter(|_| verdict.likelihood == Likelihood::NotTrusted) {
            Some(issuer) => {
                not_trusted(format!("the server does not send {issuer}, and this phone fetches no intermediates"))
            }
            None => verdict,
        }
    }

    /// By the topmost certificate that the server sends: is it a root of the list, or did one issue it?
    fn judge_top(&self, top: &Certificate, clock: OffsetDateTime) -> ListedVerdict {
        let (names, label) = match top.is_self_issued() {
            true => (top.subject_names(), top.label()),
            false => (top.issuer_names(), top.issuer_label()),
        };
        let named = self.anchors.iter().find(|anchor| names.contains(&anchor.name));
        let held = self.anchors.iter().find(|anchor| anchor.sha1.is_of(top));
        match (held, named) {
            (Some(anchor), _) => self.judge_anchor(anchor, clock),
            (None, Some(anchor)) if !top.is_self_issued() => self.judge_anchor(anchor, clock),
            (None, Some(anchor)) => ListedVerdict {
                likelihood: Likelihood::Unknown,
                text: format!(
                    "a root {} is in the list with another thumbprint: the phone trusts it if the key is the same",
                    anchor.name
                ),
            },
            (None, None) => not_trusted(format!("{label} is not in the list of its roots{}", self.how_sure())),
        }
    }

    fn judge_anchor(&self, anchor: &ListedAnchor, clock: OffsetDateTime) -> ListedVerdict {
        let today = clock.to_offset(time::UtcOffset::UTC).date();
        let sure = self.how_sure();
        let name = &anchor.name;
        match anchor.reissued_until {
            _ if anchor.ends >= today && anchor.later => ListedVerdict {
                likelihood: Likelihood::Unknown,
                text: format!("{name} is said to be in later firmware; which build added it is not public"),
            },
            _ if anchor.ends >= today => ListedVerdict {
                likelihood: Likelihood::ProbablyTrusted,
                text: format!("{name} is in the list of its roots until {}{sure}", anchor.ends),
            },
            Some(until) if until >= today => ListedVerdict {
                likelihood: Likelihood::Unknown,
                text: format!(
                    "its root {name} expired {}; firmware that holds the later copy, until {until}, trusts it{sure}",
                    anchor.ends
                ),
            },
            // That a phone looks at a root's own end is assumed.
            Some(_) | None => not_trusted(format!("its root {name} expired {}{sure}", anchor.ends)),
        }
    }

    fn how_sure(&self) -> &'static str {
        match self.confidence {
            Confidence::Confirmed => "",
            Confidence::Observed => " (a list from the field)",
            Confidence::Inferred => " (an inferred list)",
            Confidence::Memory => " (a list from memory)",
            Confidence::Unknown => " (a list nobody vouches for)",
            Confidence::Lab => " (LAB)",
        }
    }
}

/// What phones of that age take although this program vouches for it on no phone.
fn is_of_its_time(flaw: &Flaw) -> bool {
    matches!(flaw, Flaw::Sha1 { .. } | Flaw::KeyTooShort { .. })
}

fn not_trusted(text: String) -> ListedVerdict {
    ListedVerdict { likelihood: Likelihood::NotTrusted, text }
}
