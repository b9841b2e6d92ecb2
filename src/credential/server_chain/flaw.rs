//! What can be wrong with a server's chain, and what to do about it.

use std::fmt;

use time::OffsetDateTime;
use time::macros::datetime;

use crate::credential::text::{moment, printable};
use crate::credential::{Certificate, Fingerprint};

/// A certificate that a flaw is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Culprit {
    /// Where in the chain it stands.
    pub place: Place,
    /// Its name, safe to print.
    pub name: String,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
}

/// Where in a chain a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The server's own.
    Server,
    /// Between the server's and the root.
    Intermediate,
    /// The root: a trust anchor, or what would be one.
    Root,
}

impl Culprit {
    pub(super) fn new(place: Place, certificate: &Certificate) -> Self {
        Self { place, name: certificate.label(), fingerprint: certificate.fingerprint() }
    }
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Place::Server => "server certificate",
            Place::Intermediate => "intermediate",
            Place::Root => "root",
        };
        write!(f, "{place} {}", self.name)
    }
}

/// Why a phone would not trust the server with this chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The server presented nothing.
    #[error("the server presented no certificate")]
    Empty,
    /// A certificate that breaks the rules of its format.
    #[error("the {which} is malformed: {why}")]
    Malformed {
        /// The certificate.
        which: Culprit,
        /// The rule it breaks.
        why: &'static str,
    },
    /// A certificate whose time has not come by the phone's clock.
    #[error("the {which} is not valid before {}, and the phone's clock says {}{}", moment(*.not_before), moment(*.clock), doubt(*.clock))]
    NotYetValid {
        /// The certificate.
        which: Culprit,
        /// Its first second.
        not_before: OffsetDateTime,
        /// The phone's clock.
        clock: OffsetDateTime,
    },
    /// A certificate whose time is over by the phone's clock.
    #[error("the {which} ended {}, and the phone's clock says {}{}", moment(*.not_after), moment(*.clock), doubt(*.clock))]
    Expired {
        /// The certificate.
        which: Culprit,
        /// Its last second.
        not_after: OffsetDateTime,
        /// The phone's clock.
        clock: OffsetDateTime,
    },
    /// The server's certificate does not hold a name that the phone calls the server by.
    #[error("the server certificate is not for {}: it names {}", list(.wanted), list(.found))]
    NameMismatch {
        /// The names that it lacks.
        wanted: Vec<String>,
        /// The names that it has, safe to print.
        found: Vec<String>,
    },
    /// A certificate that servers may not use.
    #[error("the {which} is limited to {found}, which does not include server authentication")]
    NotForServers {
        /// The certificate.
        which: Culprit,
        /// What it is limited to.
        found: String,
    },
    /// A certificate that its issuer's key did not sign.
    #[error("the signature on the {which} was not made by {issuer}")]
    BadSignature {
        /// The certificate.
        which: Culprit,
        /// The issuer, safe to print.
        issuer: String,
    },
    /// A signature that stands on SHA-1 (or MD5). A root's own signature is never judged.
    #[error("the {which} is signed with SHA-1 or older{}", if *.phone_refuses { ", which the phone refuses" } else { "" })]
    Sha1 {
        /// The certificate.
        which: Culprit,
        /// Whether the phone is known to refuse it. We do not vouch for such a chain either way.
        phone_refuses: bool,
    },
    /// An RSA key that is too short.
    #[error("the {which} has an RSA key of {bits} bits; at least {least} are needed")]
    KeyTooShort {
        /// The certificate.
        which: Culprit,
        /// The length of its key.
        bits: u32,
        /// The least length.
        least: u32,
    },
    /// Another rule of certificate chains that this one breaks.
    #[error("the chain breaks a rule: {rule}")]
    Forbidden {
        /// The rule, with the certificate it is about where that is known.
        rule: String,
    },
    /// A certificate between the server's and the root that the phone has not got.
    #[error("the intermediate {issuer} is missing: the server does not send it and the phone does not have it")]
    MissingIntermediate {
        /// Its name, safe to print.
        issuer: String,
        /// Where it can be fetched, as the certificate below it says.
        urls: Vec<String>,
        /// The certificate itself where this computer knows it. Without it this is a conclusion: the server sent nothing
        /// but its own certificate, and that its issuer is no root is likely, not certain.
        certificate: Option<Certificate>,
    },
    /// The chain is whole but ends at a root that the phone does not hold.
    #[error("the root {name} is not among the phone's trust anchors")]
    UnknownRoot {
        /// The root's name, safe to print; where the root was not seen, the issuer of the topmost certificate.
        name: String,
        /// The root itself where it was presented or this computer knows it.
        root: Option<Certificate>,
    },
}

/// Before the first day this program was written, or a lifetime later: such a clock was never set.
const PLAUSIBLE: std::ops::Range<OffsetDateTime> = datetime!(2026-01-01 00:00 UTC)..datetime!(2100-01-01 00:00 UTC);

fn doubt(clock: OffsetDateTime) -> &'static str {
    if PLAUSIBLE.contains(&clock) { "" } else { " (it was never set)" }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "no host".to_owned() } else { printable(&names.join(", ")) }
}

impl Flaw {
    /// Whether the phone's clock rather than the certificate is to blame: it stands at a time that cannot be.
    pub fn is_the_clocks_fault(&self) -> bool {
        match self {
            Self::NotYetValid { clock, .. } | Self::Expired { clock, .. } => !PLAUSIBLE.contains(clock),
            Self::Empty
            | Self::Malformed { .. }
            | Self::NameMismatch { .. }
            | Self::NotForServers { .. }
            | Self::BadSignature { .. }
            | Self::Sha1 { .. }
            | Self::KeyTooShort { .. }
            | Self::Forbidden { .. }
            | Self::MissingIntermediate { .. }
            | Self::UnknownRoot { .. } => false,
        }
    }

    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::NotYetValid { .. } | Self::Expired { .. } if self.is_the_clocks_fault() => {
                "set the phone's clock, then judge again"
            }
            Self::NotYetValid { .. } => "compare the phone's clock with the true time; if it is right, wait or renew",
            Self::Expired { which, .. } => match which.place {
                Place::Server => "have the server's certificate renewed",
                Place::Intermediate => "have the server send the renewed intermediate",
                Place::Root => {
                    "give the root's successor with --trust-anchor, or have the server's certificate issued anew"
                }
            },
            Self::Empty => "check that this is the right server and port",
            Self::Malformed { .. } => "have this certificate issued anew",
            Self::NameMismatch { .. } => {
                "check the server's address; if it is right, have its certificate issued with this name"
            }
            Self::NotForServers { .. } => "have the server's certificate issued for server authentication",
            Self::BadSignature { .. } => {
                "check that nothing intercepts the connection, and that the server sends the right intermediates"
            }
            Self::Sha1 { .. } => {
                "have this certificate issued anew with SHA-256; a phone cannot be given what mends this"
            }
            Self::KeyTooShort { .. } => "have this certificate issued anew with a key of 2048 bits or more",
            Self::Forbidden { .. } => "show this line to whoever runs the certification authority",
            Self::MissingIntermediate { .. } => {
                "fetch the intermediate for the phone, and have the server send it to everybody"
            }
            Self::UnknownRoot { .. } => "give the root with --trust-anchor FILE after comparing its fingerprint",
        }
    }

    /// Whether certificates given to the phone can mend it.
    pub fn is_a_gap(&self) -> bool {
        matches!(self, Self::MissingIntermediate { .. } | Self::UnknownRoot { .. })
    }

    /// What is named first when several are true: what no cable can mend comes before what is merely missing.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Empty | Self::Malformed { .. } => 0,
            Self::NotYetValid { .. } => 1,
            Self::Expired { .. } => 2,
            Self::NameMismatch { .. } => 3,
            Self::NotForServers { .. } => 4,
            Self::BadSignature { .. } => 5,
            Self::Sha1 { .. } => 6,
            Self::KeyTooShort { .. } => 7,
            Self::Forbidden { .. } => 8,
            Self::MissingIntermediate { .. } => 9,
            Self::UnknownRoot { .. } => 10,
        }
    }
}
