//! What happens, as it happens. The screen and `--json` are listeners; the ledger keeps its own list of facts.

use super::outcome::Plan;
use super::rehearsal::Rehearsed;
use super::trust::ServerJudgement;
use crate::credential::SipAddress;
use crate::phone::{Authenticity, Identity, IdentityInUse};
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;

/// Something that a person at the station may want to see.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The phone said who it is and what it holds.
    Phone(Box<PhoneSeen>),
    /// The service was looked at, without any credential.
    Pool(PoolSeen),
    /// What the phone makes of one of several servers: first with what it holds, then with what it is given.
    Server(ServerJudgement),
    /// What is about to be done.
    Plan(Box<Plan>),
    /// An earlier, unfinished job of this phone goes on.
    Resuming {
        /// What is there already.
        already: String,
    },
    /// A step began.
    StepBegan {
        /// Which.
        step: Stage,
        /// What is waited for.
        waiting: String,
    },
    /// A step ended well.
    StepDone(StepDone),
    /// The data store is unavailable; the publication is tried again after a wait.
    StoreWait {
        /// The server that said so.
        server: Option<String>,
        /// The try that comes, from 2.
        #[serde(rename = "try")]
        attempt: u32,
        /// How many there are at most.
        of: u32,
        /// How long is waited for it.
        seconds: f64,
    },
    /// The sign-in is rehearsed; this is waited for.
    Rehearsing {
        /// In words.
        waiting: String,
    },
    /// The sign-in was rehearsed. Whatever came of it, the job is done.
    Rehearsed(Box<Rehearsed>),
    /// Something worth knowing that stops nothing.
    Notice {
        /// In words.
        text: String,
    },
}

/// The phone, as a card.
#[derive(Debug, Clone, Serialize)]
pub struct PhoneSeen {
    /// `1-4.2`.
    pub slot: String,
    /// Who it says it is.
    pub identity: Identity,
    /// What vouches for it.
    pub authenticity: Authenticity,
    /// What its clock shows.
    #[serde(with = "time::serde::rfc3339::option")]
    pub clock: Option<OffsetDateTime>,
    /// Whose identity it holds.
    pub in_use: Option<IdentityInUse>,
    /// How many trust anchors it holds.
    pub anchors: usize,
}

/// The service, as a card.
#[derive(Debug, Clone, Serialize)]
pub struct PoolSeen {
    /// `web.contoso.example`.
    pub host: String,
    /// Its clock less this computer's, seconds, where it said the time.
    pub clock_offset_seconds: Option<i64>,
    /// What the phone makes of its chain, with what it holds now.
    pub verdict: String,
    /// Whether the phone trusts it without help.
    pub trusted: bool,
}

/// The steps of a job, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The web ticket.
    SignIn,
    /// Key and signing request, in the phone.
    Request,
    /// The phone's clock.
    Clock,
    /// What the phone lacks of the server's trust.
    Trust,
    /// The certificate, made and published by the service.
    Publish,
    /// Stage, check, commit.
    Install,
    /// Challenge and read-back.
    Proof,
}

impl Stage {
    /// All, in order.
    pub const ALL: [Self; 7] =
        [Self::SignIn, Self::Request, Self::Clock, Self::Trust, Self::Publish, Self::Install, Self::Proof];

    /// From 1.
    pub fn number(self) -> usize {
        Self::ALL.iter().position(|stage| *stage == self).map_or(0, |at| at + 1)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SignIn => "sign-in",
            Self::Clock => "clock",
            Self::Request => "request",
            Self::Trust => "trust",
            Self::Publish => "publish",
            Self::Install => "install",
            Self::Proof => "proof",
        })
    }
}

/// A step that ended well.
#[derive(Debug, Clone, Serialize)]
pub struct StepDone {
    /// Which.
    pub step: Stage,
    /// What was done, for people.
    pub text: String,
    /// How long it took, milliseconds.
    #[serde(rename = "took_ms", serialize_with = "milliseconds")]
    pub took: Duration,
}

pub(super) fn milliseconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Who is asked, and who is told.
///
/// A job asks only what it cannot decide, before anything that cannot be taken back. Whoever answers may be a person at
/// a terminal, the options of a script, or a test.
pub trait Operator: Send {
    /// Something happened.
    fn event(&mut self, event: Event);

    /// The phone draws attention to itself: is it the one that is meant?
    fn is_this_the_phone(&mut self, phone: &PhoneSeen) -> impl Future<Output = Answer> + Send;

    /// The phone holds another user's identity: may it be replaced?
    fn may_replace(&mut self, in_use: &IdentityInUse, user: &SipAddress) -> impl Future<Output = Answer> + Send;

    /// Nothing vouches for the phone, and it shows this code: is it the same on both screens?
    fn is_the_code_the_same(&mut self, code: crate::phone::ShortCode) -> impl Future<Output = Answer> + Send;

    /// How the user signs in. The secret goes to `host` and nowhere else.
    fn credential(
        &mut self,
        host: &str,
        user: &SipAddress,
    ) -> impl Future<Output = Result<crate::service::SignIn, NoAnswer>> + Send;

    /// The administrator code of the phone.
    fn administrator_code(
        &mut self,
        phone: &Identity,
    ) -> impl Future<Output = Result<secrecy::SecretString, NoAnswer>> + Send;
}

/// A person's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Yes,
    /// No.
    No,
    /// There is nobody to ask, and nothing was said beforehand.
    Nobody,
}

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// There is nobody to ask.
    #[error("{what} is needed and there is nobody to ask")]
    Nobody {
        /// What is needed.
        what: String,
        /// The option by which it can be given.
        option: String,
    },
    /// The file that holds it cannot be read.
    #[error("{what} cannot be read from {}", path.display())]
    Unreadable {
        /// What is needed.
        what: String,
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing was typed.
    #[error("{what} is empty")]
    Empty {
        /// What is needed.
        what: String,
    },
}

impl NoAnswer {
    /// What the technician does next.
    pub fn next_step(&self) -> String {
        match self {
            Self::Nobody { option, .. } => format!("give {option}, or run the command at a terminal"),
            Self::Unreadable { .. } => "check the path, and that this user may read the file".into(),
            Self::Empty { .. } => "type it, or give a file whose first line holds it".into(),
        }
    }
}
