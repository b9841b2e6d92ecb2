//! Why a job did not end well, and what the technician does next.

use super::event::NoAnswer;
use super::outcome::StoreTry;
use crate::credential::{ReadError, Refusal, SipAddress, Unremedied};
use crate::ledger::{JobNumber, LedgerError};
use crate::phone::{PhoneError, Remedyable, SIGN_IN_WITH_A_PASSWORD};
use crate::service::ServiceError;
use crate::service::ocauth::ErrorClass;

/// Why a job did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The phone or the cable.
    #[error(transparent)]
    Phone(#[from] PhoneError),
    /// The service.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The ledger. Without it nothing is begun.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A secret could not be had.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// Nothing that we could give to the phone makes it trust the server.
    #[error("the phone will not trust {host}: {source}")]
    Untrusted {
        /// The server.
        host: String,
        /// Why.
        source: Unremedied,
    },
    /// A certificate of the server, or from the ledger, cannot be read.
    #[error("a certificate {from} cannot be read")]
    Certificate {
        /// Where it is from.
        from: &'static str,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// The user's home pool could not store the certificate, in any try. Each of these published nothing.
    #[error("the data store is unavailable, lasting: {}", told(tries))]
    StoreUnavailable {
        /// Every try, in order.
        tries: Vec<StoreTry>,
        /// The user whose home pool it is.
        user: SipAddress,
        /// The job that can go on later.
        job: JobNumber,
    },
    /// The phone has dropped the transaction of a job that was to be resumed.
    #[error("the phone no longer knows of this job{}", holds.as_deref().map(|user| format!("; it holds the identity of {user}")).unwrap_or_default())]
    Forgotten {
        /// The user the phone was to get.
        user: SipAddress,
        /// Whose identity it holds.
        holds: Option<String>,
    },
    /// The phone says that it is the one of a job that was to be resumed, and has not proved it.
    #[error("nothing proves that this is the phone of job {job}: it says so, and its key for the session is a new one")]
    NotProvedAgain {
        /// The job.
        job: JobNumber,
        /// The user the phone was to get.
        user: SipAddress,
    },
    /// The service published a certificate that the phone must not get.
    #[error("the certificate that the service published is not accepted: {reason}")]
    NotAccepted {
        /// The first reason.
        reason: Refusal,
    },
    /// This computer and the service disagree about the time.
    #[error(
        "this computer's clock and the service's differ by {seconds} s, so the phone's clock ({phone}) cannot be set"
    )]
    ClocksDiffer {
        /// By how much.
        seconds: i64,
        /// What the phone shows.
        phone: String,
    },
    /// The service does not say the time.
    #[error("the service does not say the time, so the phone's clock ({phone}) cannot be set")]
    NoServiceTime {
        /// What the phone shows.
        phone: String,
    },
    /// The phone's clock is wrong and cannot be set over the cable.
    #[error("the phone's clock shows {shows}, and it cannot be set over the cable")]
    ClockFixed {
        /// What it shows.
        shows: String,
    },
    /// The phone has not the room.
    #[error("the phone has not the room: {what}")]
    NoRoom {
        /// For what.
        what: String,
    },
    /// No kind of key that the phone makes is taken by the service.
    #[error("the phone makes {phone}, and the service takes {service}")]
    NoCommonKey {
        /// What the phone makes.
        phone: String,
        /// What the service takes.
        service: String,
    },
    /// The phone cannot sign in for its user.
    #[error("this phone cannot be renewed without a password: {why}")]
    NotRenewable {
        /// Why.
        why: String,
    },
    /// A person said no.
    #[error("{what} was declined")]
    Declined {
        /// What.
        what: &'static str,
    },
    /// A decision is needed and there is nobody to ask.
    #[error("{what}")]
    NeedsPerson {
        /// What has to be decided.
        what: String,
        /// How to say it beforehand.
        option: &'static str,
    },
    /// The operator's own rules forbid it.
    #[error("refused: {what}")]
    Policy {
        /// What.
        what: String,
        /// What would change it.
        next: String,
    },
    /// Another computer's job is pending in the phone.
    #[error("a job for {user}, begun by {host}, is pending in the phone")]
    OtherPending {
        /// Whom it is for.
        user: String,
        /// The computer that began it.
        host: String,
    },
    /// What was read back is not what was sent.
    #[error("what was read back from the phone differs: {what}")]
    ReadBackDiffers {
        /// How.
        what: String,
    },
    /// The operator stopped the job at a safe point.
    #[error("stopped")]
    Stopped,
}

impl ProvisionError {
    /// How it is to be met.
    pub fn remedyable(&self) -> Remedyable {
        match self {
            Self::Phone(error) => error.remedyable(),
            Self::Service(error) => match error.class() {
                ErrorClass::Failed | ErrorClass::Unknown => Remedyable::Failed,
                ErrorClass::Policy => Remedyable::Policy,
                ErrorClass::Temporary => Remedyable::Temporary,
                ErrorClass::NeedsPerson => Remedyable::Person,
            },
            Self::Policy { .. } => Remedyable::Policy,
            Self::NoAnswer(_)
            | Self::NotProvedAgain { .. }
            | Self::NotRenewable { .. }
            | Self::Declined { .. }
            | Self::NeedsPerson { .. }
            | Self::OtherPending { .. } => Remedyable::Person,
            Self::Stopped
            | Self::StoreUnavailable { .. }
            | Self::Ledger(LedgerError::Busy { .. } | LedgerError::AtWork { .. }) => Remedyable::Temporary,
            Self::Ledger(_)
            | Self::Untrusted { .. }
            | Self::Certificate { .. }
            | Self::NotAccepted { .. }
            | Self::Forgotten { .. }
            | Self::ClocksDiffer { .. }
            | Self::NoServiceTime { .. }
            | Self::ClockFixed { .. }
            | Self::NoRoom { .. }
            | Self::NoCommonKey { .. }
            | Self::ReadBackDiffers { .. } => Remedyable::Failed,
        }
    }

    /// Whether no repetition can bring what was published onto the phone, so that only a new job does. All of these come
    /// before a commit.
    pub fn never_fits(&self) -> bool {
        matches!(
            self,
            Self::NotAccepted { .. }
                | Self::Service(ServiceError::UnfitCertificate { .. })
                | Self::Phone(PhoneError::CheckBad(_))
        )
    }

    /// Whether it is about another phone than the one of the job, or one that has not proved to be it. A job that was to be
    /// resumed then stands as it stood, and waits for its own.
    pub fn is_about_another_phone(&self) -> bool {
        matches!(self, Self::NotProvedAgain { .. } | Self::Phone(PhoneError::AnotherPhone { .. }))
    }

    /// What the technician does next.
    pub fn next_step(&self) -> String {
        match self {
            Self::Phone(error) => error.next_step(),
            Self::Service(error) => error.next_step().to_owned(),
            Self::Ledger(error) => error.next_step().to_owned(),
            Self::NoAnswer(error) => error.next_step(),
            Self::Untrusted { source, .. } => source.next_step().to_owned(),
            Self::Certificate { source, .. } => source.next_step().to_owned(),
            Self::NotAccepted { reason } => reason.next_step().to_owned(),
            Self::StoreUnavailable { user, job, .. } => format!(
                "later: tethercert resume {job}; if it stays, the administrator checks the user's home pool and its \
                 database: Get-CsUser -Identity \"{}\" | Select-Object RegistrarPool",
                user.uri()
            ),
            Self::NotProvedAgain { user, .. } => format!(
                "look which phone it is (`tethercert identify`); if it is the one: tethercert provision --user {user}"
            ),
            Self::Forgotten { user, .. } => format!("to begin anew: tethercert provision --user {user}"),
            Self::ClocksDiffer { .. } => "set this computer's clock, or the server's, and repeat".into(),
            Self::NoServiceTime { .. } => {
                "a proxy may take the header Date out of the service's answers: reach the service without it".into()
            }
            Self::ClockFixed { .. } => {
                "give the phone the time over its network (DHCP option 42 or _ntp._udp in DNS) and repeat".into()
            }
            Self::NoRoom { .. } => "remove installed certificates at the phone and repeat".into(),
            Self::NoCommonKey { .. } => "update the phone's firmware".into(),
            Self::NotRenewable { .. } => SIGN_IN_WITH_A_PASSWORD.into(),
            Self::Declined { .. } => "nothing was changed; repeat when it is right".into(),
            Self::NeedsPerson { option, .. } => format!("repeat with {option}, or at a terminal"),
            Self::Policy { next, .. } => next.clone(),
            Self::OtherPending { .. } => {
                "finish the job at that computer, or repeat with --abort-pending to give it up".into()
            }
            Self::ReadBackDiffers { .. } => {
                "repeat the command; if it stays so, reset the phone to its factory state".into()
            }
            Self::Stopped => "repeat the command to go on".into(),
        }
    }
}

fn told(tries: &[StoreTry]) -> String {
    let answers: Vec<String> = tries.iter().map(ToString::to_string).collect();
    let said = tries.last().map(|last| last.said.as_str()).unwrap_or_default();
    let number = if tries.len() == 1 { "1 try".to_owned() } else { format!("{} tries", tries.len()) };
    format!("{number}, {} ({said})", answers.join(", "))
}
