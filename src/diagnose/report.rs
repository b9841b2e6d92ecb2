//! What a test found, step by step.

use crate::credential::{Fingerprint, SipAddress};
use crate::registrar::{Facts, Stage};
use crate::service::ErrorClass;
use crate::service::ocauth::commands;
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// The steps of a test, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Where Web Services and registrar are, by DHCP and DNS.
    Discovery,
    /// The Web Services are reached, trusted, and offer the way to sign in.
    WebServices,
    /// A web ticket, by the user's secret.
    WebTicket,
    /// A certificate, made and published.
    Certificate,
    /// The registrar is reached and trusted.
    Connect,
    /// The registrar says what it wants.
    Challenge,
    /// Keys are agreed on with that certificate.
    Handshake,
    /// The user is registered.
    Register,
    /// What was asked for while registered.
    Stay,
    /// The user is not registered any more.
    SignOff,
}

impl Step {
    /// As screens and machine output have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::WebServices => "web-services",
            Self::WebTicket => "web-ticket",
            Self::Certificate => "certificate",
            Self::Connect => "connect",
            Self::Challenge => "challenge",
            Self::Handshake => "handshake",
            Self::Register => "register",
            Self::Stay => "stay",
            Self::SignOff => "sign-off",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Stage> for Step {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Connect => Self::Connect,
            Stage::Ask => Self::Challenge,
            Stage::Handshake => Self::Handshake,
            Stage::Register => Self::Register,
            Stage::Renew | Stage::Stay => Self::Stay,
            Stage::SignOff => Self::SignOff,
        }
    }
}

/// One step, done.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// Which.
    pub step: Step,
    /// The server it was done with.
    pub server: Option<String>,
    /// How long it took, without the time that a person took to answer.
    pub latency: Duration,
    /// What came of it.
    pub result: StepResult,
}

/// What came of a step.
#[derive(Debug, Clone)]
pub enum StepResult {
    /// It went well.
    Good {
        /// What was seen.
        said: String,
    },
    /// It failed.
    Bad(Trouble),
    /// Whether it went well is not known.
    Unknown(Trouble),
}

/// Why a step did not go well.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// What went wrong.
    pub error: String,
    /// What is under it, from the top.
    pub causes: Vec<String>,
    /// The server's own words about it: number, reason, who said it.
    pub diagnosis: Option<String>,
    /// What to do next.
    pub next_step: String,
    /// How it is to be met.
    pub class: ErrorClass,
}

impl Trouble {
    /// Of an error.
    pub fn of(error: &dyn Error, diagnosis: Option<String>, next_step: impl Into<String>, class: ErrorClass) -> Self {
        let (error, causes) = (error.to_string(), causes(error));
        Self { error, causes, diagnosis, next_step: next_step.into(), class }
    }

    /// As the result of its step.
    pub fn result(self) -> StepResult {
        match self.class {
            ErrorClass::Unknown => StepResult::Unknown(self),
            ErrorClass::Failed | ErrorClass::Policy | ErrorClass::Temporary | ErrorClass::NeedsPerson => {
                StepResult::Bad(self)
            }
        }
    }
}

impl StepResult {
    /// Why it did not go well, if it did not.
    pub fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Good { .. } => None,
            Self::Bad(trouble) | Self::Unknown(trouble) => Some(trouble),
        }
    }
}

/// What is under an error, from the top, each without what it repeats of the one above.
pub fn causes(error: &dyn Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut last = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        // A library's link into its own manual helps nobody at a desk.
        let text = cause.to_string().split(": https://docs.rs/").next().unwrap_or_default().to_owned();
        if !last.ends_with(&text) {
            causes.push(text.clone());
        }
        last = text;
        below = cause.source();
    }
    causes
}

/// What a test leaves behind at the pool.
#[derive(Debug, Clone)]
pub struct Remains {
    /// The user.
    pub user: SipAddress,
    /// The station's test device.
    pub device: Uuid,
    /// The certificate; nothing where an answer was lost.
    pub certificate: Option<(Fingerprint, OffsetDateTime)>,
}

impl Remains {
    /// What to know about it.
    pub fn advice(&self) -> String {
        format!(
            "it does no harm, and the next test uses the same device; to revoke it drops all certificates of {}, whose phones \
             then sign in anew. To see them: {}",
            self.user,
            commands::published_certificates(&self.user)
        )
    }
}

/// How the registration went at one address of the pool.
#[derive(Debug, Clone)]
pub struct AddressReport {
    /// The address.
    pub address: SocketAddr,
    /// The server that registered the user in the end, by what it says of itself.
    pub targetname: Option<String>,
    /// Where it stopped, if it did.
    pub stopped_at: Option<Step>,
    /// How long it took.
    pub latency: Duration,
}

/// A whole test.
#[derive(Debug)]
pub struct Report {
    /// All steps, in order.
    pub steps: Vec<StepReport>,
    /// Address by address, where each was asked for.
    pub addresses: Vec<AddressReport>,
    /// What the registrar showed last, as far as it got.
    pub registrar: Option<Facts>,
    /// What is left behind.
    pub remains: Option<Remains>,
}

impl Report {
    /// The step that it stopped at: the first that did not go well.
    pub fn stopped_at(&self) -> Option<&StepReport> {
        self.steps.iter().find(|step| step.result.trouble().is_some())
    }

    /// How long it took, without the time that a person took, and without staying.
    pub fn latency(&self) -> Duration {
        self.steps.iter().filter(|step| step.step != Step::Stay).map(|step| step.latency).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_stops_at_the_first_step_that_did_not_go_well() {
        let step = |step, result| StepReport { step, server: None, latency: Duration::from_millis(5), result };
        let trouble = Trouble {
            error: "lost".into(),
            causes: Vec::new(),
            diagnosis: None,
            next_step: "repeat".into(),
            class: ErrorClass::Unknown,
        };
        let good = || StepResult::Good { said: String::new() };
        let steps = vec![
            step(Step::WebTicket, good()),
            step(Step::Certificate, trouble.clone().result()),
            step(Step::SignOff, trouble.result()),
        ];
        let report = Report { steps, addresses: Vec::new(), registrar: None, remains: None };
        let stopped = report.stopped_at().unwrap();
        assert_eq!((stopped.step, report.latency()), (Step::Certificate, Duration::from_millis(15)));
        assert!(matches!(stopped.result, StepResult::Unknown(_)));
    }
}
