//! Why talking to a phone failed, and what the technician does next.

use super::tether::messages::code;
use crate::usb::{InterfaceKind, Slot, UsbError};
use std::fmt;

/// What was being done with the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Opening the session.
    Identify,
    /// Reading its state.
    Look,
    /// Showing the short code.
    ShowCode,
    /// Asking for consent.
    Consent,
    /// Setting the clock.
    Clock,
    /// Beginning the transaction.
    Begin,
    /// Making the key.
    MakeKey,
    /// Signing the request.
    SigningRequest,
    /// Staging certificates or settings.
    Stage,
    /// Judging what is staged.
    Check,
    /// Making it the phone's own.
    Commit,
    /// Signing a web ticket request.
    Endorse,
    /// Signing a sign-in at the registrar.
    SignHandshake,
    /// Proving possession of the key.
    Prove,
    /// Forgetting a transaction.
    Abort,
    /// Ending the session.
    Leave,
    /// Reading the log.
    Log,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identify => "opening the session",
            Self::Look => "reading the phone's state",
            Self::ShowCode => "showing the short code",
            Self::Consent => "asking for consent",
            Self::Clock => "setting the clock",
            Self::Begin => "beginning the transaction",
            Self::MakeKey => "making the key",
            Self::SigningRequest => "signing the request",
            Self::Stage => "staging",
            Self::Check => "the phone's own check",
            Self::Commit => "the commit",
            Self::Endorse => "signing the ticket request",
            Self::SignHandshake => "signing the sign-in",
            Self::Prove => "the proof of possession",
            Self::Abort => "aborting the transaction",
            Self::Leave => "ending the session",
            Self::Log => "reading the phone's log",
        })
    }
}

/// Who can put a refusal right (docs/tether-protocol.md, section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalClass {
    /// The same again may work.
    Retry,
    /// Something has to be changed first, here or on the phone.
    Fix,
    /// A person has to decide or to do something.
    Ask,
    /// One of the two programs is wrong.
    Bug,
}

/// The class of a protocol error number; one that this version does not know is a bug until it is known.
pub fn refusal_class(number: u16) -> RefusalClass {
    match number {
        code::HANDSHAKE_FAILED
        | code::NO_SESSION
        | code::NOT_DECRYPTED
        | code::BUSY
        | code::WRONG_HASH
        | code::STORAGE
        | code::CODE_LATER
        | code::KEY_FAILED => RefusalClass::Retry,
        code::NO_VERSION
        | code::UNSUPPORTED
        | code::UNKNOWN_TRANSACTION
        | code::IDENTITY_CHANGED
        | code::KEY_KIND
        | code::HASH
        | code::NO_SPACE
        | code::NOT_CHECKED
        | code::NO_SUCH
        | code::HANDSHAKE_REFUSED
        | code::ENDORSEMENT_REFUSED
        | code::CLOCK_FIXED => RefusalClass::Fix,
        code::CONSENT_NEEDED | code::DECLINED | code::WRONG_CODE | code::CODE_LOCKED | code::OTHER_PENDING => {
            RefusalClass::Ask
        }
        _ => RefusalClass::Bug,
    }
}

/// What is done where a phone cannot sign in for itself.
pub const SIGN_IN_WITH_A_PASSWORD: &str = "sign in with a password: repeat with --auth ntlm";

/// How a failure is to be met; exit codes follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedyable {
    /// The same again will fail again.
    Failed,
    /// There is no such phone.
    NotFound,
    /// Rules forbid it, or nobody knows how.
    Policy,
    /// The same later may work.
    Temporary,
    /// A person has to do or decide something.
    Person,
}

/// Why talking to a phone failed.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// The cable or the bus.
    #[error("the cable failed during {during}")]
    Usb {
        /// What was being done.
        during: Step,
        /// What USB says.
        #[source]
        source: UsbError,
    },
    /// The interface has not the two bulk pipes of the protocol.
    #[error("the phone's interface has not the two bulk pipes that the Tether Device Protocol needs")]
    NoPipes,
    /// The phone answers, and not by the protocol.
    #[error("the phone broke the protocol during {during}: {what}")]
    Protocol {
        /// What was being done.
        during: Step,
        /// What is wrong with the answer.
        what: String,
    },
    /// The session's cryptography failed: a fault on the cable, or somebody between.
    #[error("the session with the phone failed during {during}")]
    Session {
        /// What was being done.
        during: Step,
        /// How.
        #[source]
        source: super::tether::session::SessionError,
    },
    /// A request does not fit into what the phone takes at once.
    #[error("{bytes} bytes have to be sent at once during {during}, and the phone takes {limit}")]
    TooLong {
        /// What was being done.
        during: Step,
        /// What it takes.
        bytes: usize,
        /// What the phone allows.
        limit: usize,
    },
    /// The phone said no.
    #[error("the phone refused {during}: {text} (error {number})")]
    Refused {
        /// What was being done.
        during: Step,
        /// The protocol's error number.
        number: u16,
        /// In the phone's words.
        text: String,
        /// Tries left with the administrator code.
        tries_left: Option<u8>,
    },
    /// The phone works and works.
    #[error("the phone was still working on {during} after {seconds} s")]
    TooSlow {
        /// What was being done.
        during: Step,
        /// How long it was given.
        seconds: u64,
    },
    /// The phone's own judgement of what is staged is bad.
    #[error("the phone's check of what was staged is bad: {0}")]
    CheckBad(String),
    /// The proof does not verify, or is for another certificate.
    #[error("the phone did not prove that it holds the key: {0}")]
    NotProven(String),
    /// The signature of the ticket request does not verify, or is by another key.
    #[error("the phone did not sign the ticket request: {0}")]
    NotEndorsed(String),
    /// The signature of the sign-in does not verify.
    #[error("the phone did not sign the sign-in: {0}")]
    NotSignedIn(String),
    /// The phone broke the commitment to its part of the short code.
    #[error("the phone revealed another number than it had committed to")]
    BrokenCommitment,
    /// The administrator code is wanted and nothing vouches for the phone.
    #[error("the administrator code is not sent: nothing vouches for this phone")]
    CodeWithheld,
    /// The phone's request is not what it was asked for.
    #[error("the phone's signing request is not acceptable")]
    Request(#[source] crate::credential::RequestError),
    /// The phone's request is for another name or key than it was asked for.
    #[error("the phone's signing request is not the one it was asked for")]
    WrongRequest(#[source] crate::credential::Unexpected),
    /// A certificate that the phone gave cannot be read.
    #[error("a certificate that the phone gave cannot be read")]
    Certificate(#[source] crate::credential::ReadError),
    /// Another phone answers than the one that is meant.
    #[error("another phone answers than the one that is meant: {what}")]
    AnotherPhone {
        /// What shows it.
        what: String,
    },
    /// The device brings interfaces that its model does not have.
    #[error(
        "the device on port {port} is refused: it brings {}, which the definition {definition} does not expect",
        listed(unexpected)
    )]
    UnexpectedInterfaces {
        /// Where it is plugged in.
        port: Slot,
        /// The definition of what it would be.
        definition: String,
        /// What it has no business with.
        unexpected: Vec<InterfaceKind>,
    },
    /// The model's protocol is not one we speak.
    #[error("{model} is recognised, and nobody outside its maker knows how it talks over USB")]
    Undocumented {
        /// The model.
        model: String,
        /// What can be done all the same.
        what_can_be_done: String,
    },
}

impl PhoneError {
    /// Whether the driver is of no more use.
    pub fn ends_session(&self) -> bool {
        match self {
            Self::Usb { .. }
            | Self::NoPipes
            | Self::Protocol { .. }
            | Self::Session { .. }
            | Self::TooSlow { .. }
            | Self::BrokenCommitment
            | Self::AnotherPhone { .. }
            | Self::UnexpectedInterfaces { .. }
            | Self::Undocumented { .. } => true,
            Self::Refused { number, .. } => *number < code::MALFORMED,
            Self::TooLong { .. }
            | Self::CheckBad(_)
            | Self::NotProven(_)
            | Self::NotEndorsed(_)
            | Self::NotSignedIn(_)
            | Self::CodeWithheld
            | Self::Request(_)
            | Self::WrongRequest(_)
            | Self::Certificate(_) => false,
        }
    }

    /// How it is to be met.
    pub fn remedyable(&self) -> Remedyable {
        match self {
            Self::Usb { source: UsbError::NotFound { .. }, .. } => Remedyable::NotFound,
            Self::Usb { source: UsbError::Ambiguous { .. }, .. } | Self::BrokenCommitment | Self::CodeWithheld => {
                Remedyable::Person
            }
            Self::Usb {
                source:
                    UsbError::Busy { .. }
                    | UsbError::TimedOut { .. }
                    | UsbError::Unplugged { .. }
                    | UsbError::Silent { .. }
                    | UsbError::Unreachable { .. },
                ..
            }
            | Self::Session { .. }
            | Self::TooSlow { .. } => Remedyable::Temporary,
            Self::Refused { number, .. } => match refusal_class(*number) {
                RefusalClass::Retry => Remedyable::Temporary,
                RefusalClass::Ask => Remedyable::Person,
                RefusalClass::Fix | RefusalClass::Bug => Remedyable::Failed,
            },
            Self::AnotherPhone { .. } | Self::UnexpectedInterfaces { .. } | Self::Undocumented { .. } => {
                Remedyable::Policy
            }
            Self::Usb { .. }
            | Self::NoPipes
            | Self::Protocol { .. }
            | Self::TooLong { .. }
            | Self::CheckBad(_)
            | Self::NotProven(_)
            | Self::NotEndorsed(_)
            | Self::NotSignedIn(_)
            | Self::Request(_)
            | Self::WrongRequest(_)
            | Self::Certificate(_) => Remedyable::Failed,
        }
    }

    /// What the technician does next.
    pub fn next_step(&self) -> String {
        const REPEAT: &str = "repeat the command: what the phone has done already is kept";
        match self {
            Self::Usb { source, .. } => source.next_step().to_owned(),
            Self::TooLong { .. } => "have the server send fewer certificates, or update the phone's firmware".into(),
            Self::NoPipes => "update the phone's firmware; its maker's implementation of the protocol is incomplete".into(),
            Self::Protocol { .. } | Self::TooSlow { .. } => {
                "unplug the phone, plug it in again and repeat; if it stays so, report the firmware version to its maker".into()
            }
            Self::Session { .. } => {
                "plug the phone directly into this computer, without a hub between, and repeat".into()
            }
            Self::Refused { during, number, tries_left, .. } => match (*number, tries_left) {
                (code::WRONG_CODE, Some(left)) => format!("check the administrator code; {left} tries are left"),
                (code::CODE_LOCKED, _) => "reset the administrator code at the phone".into(),
                (code::CONSENT_NEEDED | code::DECLINED, _) => "repeat, and press the key that the phone shows".into(),
                (code::OTHER_PENDING, _) => {
                    "finish the job at the computer that began it, or repeat with --abort-pending".into()
                }
                (code::HASH | code::ENDORSEMENT_REFUSED | code::UNSUPPORTED, _) if *during == Step::Endorse => {
                    SIGN_IN_WITH_A_PASSWORD.into()
                }
                (code::HANDSHAKE_REFUSED, _) => {
                    "read the phone's reason: it signs only for the registrar or the Web Services of its own settings, by its own trust and clock".into()
                }
                (code::UNSUPPORTED | code::NO_SUCH, _) if *during == Step::SignHandshake => {
                    "have the phone sign in by itself and read its log".into()
                }
                (code::IDENTITY_CHANGED, _) => "repeat the command: the phone was changed meanwhile".into(),
                (number, _) => match refusal_class(number) {
                    RefusalClass::Retry => REPEAT.into(),
                    RefusalClass::Fix => "update the phone's firmware, or free its storage, and repeat".into(),
                    RefusalClass::Ask => "look at the phone's screen and do what it asks".into(),
                    RefusalClass::Bug => "report this with the firmware version and the output of --json".into(),
                },
            },
            Self::CheckBad(_) => "look at the reason; the phone keeps its old identity".into(),
            Self::NotProven(_) => "do not hand the phone out; repeat with --renew, and if it stays so reset the phone".into(),
            Self::NotSignedIn(_) => "do not hand the phone out; repeat, and if it stays so reset the phone".into(),
            Self::NotEndorsed(_) => format!("do not trust this phone's renewal: {SIGN_IN_WITH_A_PASSWORD}"),
            Self::BrokenCommitment => {
                "do not trust this phone or this cable: plug it directly into this computer and compare the code again".into()
            }
            Self::CodeWithheld => "compare the short code on both screens first: repeat without --yes".into(),
            Self::Request(_) | Self::WrongRequest(_) => "reset the phone to its factory state and repeat; if it stays so, report it to its maker".into(),
            Self::Certificate(_) => "remove the certificate at the phone and repeat".into(),
            Self::AnotherPhone { .. } => {
                "see which phone is on which port (`tethercert list`, `tethercert identify`), and repeat with the one that is meant".into()
            }
            Self::UnexpectedInterfaces { unexpected, .. } => what_to_do_about(unexpected),
            Self::Undocumented { what_can_be_done, .. } => what_can_be_done.clone(),
        }
    }
}

fn listed(unexpected: &[InterfaceKind]) -> String {
    unexpected.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// Also where such a device is only shown.
pub fn what_to_do_about(unexpected: &[InterfaceKind]) -> String {
    if unexpected.iter().any(|kind| kind.triple() == super::tether::INTERFACE) {
        return "unplug it: a phone has one tether interface, and no definition lets a second one in".into();
    }
    let entries = unexpected.iter().map(|kind| {
        let (class, subclass, protocol) = kind.triple();
        format!("{{ class = {class:#04x}, subclass = {subclass:#04x}, protocol = {protocol:#04x}, why = \"…\" }}")
    });
    format!(
        "unplug it, unless its maker says that this phone has that: then put it into a definition of your own \
         (docs/operations.md): expects = [{}]",
        entries.collect::<Vec<_>>().join(", ")
    )
}
