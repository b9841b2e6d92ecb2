//! How a job ends: *done*, *not done* or *unknown*, as types.

use super::error::ProvisionError;
use super::event::StepDone;
use super::rehearsal::Rehearsed;
use crate::credential::{Certificate, Fingerprint, Remedy, SipAddress};
use crate::ledger::JobNumber;
use crate::phone::{Authenticity, IdentityInUse, PhoneState, Possession, Settings, Traffic};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;

/// How a job ended.
#[derive(Debug)]
pub enum Outcome {
    /// The phone holds the identity and the trust, and has proved it.
    Done(Box<Receipt>),
    /// The phone is as it was, and nothing that was published can still come to it. Or the phone never said who it is: then
    /// this run has changed nothing on it, and what an earlier job left there is that job's to tell.
    NotDone(Failure),
    /// Something was published or committed that could not be confirmed. `resume`, or the same command again, finds out and
    /// goes on.
    Unknown(Failure),
    /// Nothing was to be done: this is what would be.
    Planned(Plan),
}

/// A job that did not end well.
#[derive(Debug)]
pub struct Failure {
    /// The job, once it had a number.
    pub job: Option<JobNumber>,
    /// Why.
    pub error: ProvisionError,
    /// What has happened all the same, for people.
    pub already: Option<String>,
    /// The steps that had ended well.
    pub steps: Vec<StepDone>,
}

/// A try to publish that met an unavailable data store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreTry {
    /// The server that answered, by its own word.
    pub server: Option<String>,
    /// When it answered, by this computer's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What it said.
    pub said: String,
}

impl fmt::Display for StoreTry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = self.at.to_offset(time::UtcOffset::UTC).time().as_hms();
        let server = self.server.as_deref().unwrap_or("an unnamed server");
        write!(f, "{server} at {hour:02}:{minute:02}:{second:02} UTC")
    }
}

/// How a publication went.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Publishing {
    /// The tries that met an unavailable data store, in order.
    pub store_unavailable: Vec<StoreTry>,
    /// How many tries there were to be at most.
    pub of: u32,
    /// How many answers were lost on the way, in this job and in earlier ones: each may have held a certificate.
    pub lost_answers: u32,
}

impl Publishing {
    /// How often a certificate was published, once one is known to be.
    pub fn times(&self) -> &'static str {
        match self.lost_answers {
            0 => "once",
            1 => "once or twice",
            _ => "once or more often",
        }
    }

    /// What a person should know of it, in few words. Smooth: nothing.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if !self.store_unavailable.is_empty() {
            words.push(format!("sporadic: published at try {} of {}", self.store_unavailable.len() + 1, self.of));
        }
        if self.lost_answers > 0 {
            words.push(format!("published {}", self.times()));
        }
        words
    }
}

/// What is about to be done to a phone.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The job.
    pub job: Option<JobNumber>,
    /// The user it gets.
    pub user: SipAddress,
    /// The pool.
    pub pool: String,
    /// Why a certificate is needed: what keeps the phone from being finished. Empty: it is.
    pub because: Vec<String>,
    /// The identity that goes.
    pub replaces: Option<IdentityInUse>,
    /// Whether the clock is set.
    pub sets_clock: bool,
    /// Trust anchors that it gets, by name.
    pub anchors: Vec<String>,
    /// Intermediates that it gets, by name.
    pub intermediates: Vec<String>,
    /// What stays as it is.
    pub stays: Vec<String>,
    /// Whether the phone has all of it already.
    pub nothing_to_do: bool,
}

/// A job that ended well.
#[derive(Debug)]
pub struct Receipt {
    /// The job.
    pub job: JobNumber,
    /// What the phone holds, proved.
    pub verified: Verified,
    /// What vouches for the phone.
    pub authenticity: Authenticity,
    /// Whether the phone had it all before, so that nothing was changed.
    pub unchanged: bool,
    /// The server that published, by its own word.
    pub published_by: Option<String>,
    /// How the publication went, where something was published.
    pub publishing: Option<Publishing>,
    /// Each step with its time.
    pub steps: Vec<StepDone>,
    /// From the first transfer to the proof, without the time that a person took to answer.
    pub took: Duration,
    /// What the cable has carried.
    pub traffic: Traffic,
    /// How the rehearsal of the sign-in went, where one was asked for.
    pub rehearsed: Option<Rehearsed>,
    /// Whether the phone was told to sign in now.
    pub sign_in_asked: bool,
}

/// An identity with its server trust that a phone has proved to hold: made only from its proof and from what was read back.
#[derive(Debug, Clone)]
pub struct Verified {
    user: SipAddress,
    certificate: Certificate,
    anchors: Vec<Certificate>,
    intermediates: Vec<Certificate>,
}

/// What has to be read back: exactly this and nothing else.
pub(super) struct Expected<'a> {
    pub(super) user: &'a SipAddress,
    pub(super) certificate: &'a Certificate,
    pub(super) intermediates: BTreeSet<Fingerprint>,
    pub(super) anchors: BTreeSet<Fingerprint>,
    pub(super) settings: &'a Settings,
}

impl Expected<'_> {
    /// Whether a certificate of the server chain is among what has to be read back.
    pub(super) fn holds(&self, trust: Fingerprint) -> bool {
        self.anchors.contains(&trust) || self.intermediates.contains(&trust)
    }

    /// Compares what the phone proved and what was read back with what has to be there. `gave` is what this job added.
    pub(super) fn verify(
        self,
        possession: &Possession,
        read_back: &PhoneState,
        gave: &Remedy,
    ) -> Result<Verified, ProvisionError> {
        let differs = |what: &str| ProvisionError::ReadBackDiffers { what: what.to_owned() };
        let identity = read_back.identity.as_ref().ok_or_else(|| differs("it holds no identity"))?;
        let fingerprint = self.certificate.fingerprint();
        if possession.certificate() != fingerprint || identity.fingerprint != fingerprint {
            return Err(differs("it holds another certificate"));
        }
        if !identity.user.eq_ignore_ascii_case(self.user.as_str()) {
            return Err(differs("it holds the certificate under another user's name"));
        }
        if read_back.anchors.iter().map(|anchor| anchor.fingerprint).collect::<BTreeSet<_>>() != self.anchors {
            return Err(differs("its trust anchors are not the ones it had and was given"));
        }
        if identity.intermediates.iter().copied().collect::<BTreeSet<_>>() != self.intermediates {
            return Err(differs("its intermediates are not the ones it was given"));
        }
        if read_back.settings.as_ref() != Some(self.settings) {
            return Err(differs("its sign-in settings are not the ones it was given"));
        }
        Ok(Verified {
            user: self.user.clone(),
            certificate: self.certificate.clone(),
            anchors: gave.anchors.clone(),
            intermediates: gave.intermediates.clone(),
        })
    }
}

impl Verified {
    /// Whose identity it is.
    pub fn user(&self) -> &SipAddress {
        &self.user
    }

    /// The user's certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Trust anchors that were installed with it.
    pub fn anchors(&self) -> &[Certificate] {
        &self.anchors
    }

    /// Intermediates that were installed with it.
    pub fn intermediates(&self) -> &[Certificate] {
        &self.intermediates
    }
}
