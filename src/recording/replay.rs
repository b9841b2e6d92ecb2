//! A recorded job, run again: its phone, its service, its operator, its time and its random bytes are those of the tape.

use super::job::{host_from, job_from, known_event, outcome_value, outcome_words};
use super::person::Played;
use super::service::Recorded;
use crate::ledger::{JobStarted, Ledger, LedgerError};
use crate::phone::tether::Tether;
use crate::provision::{Outcome, Stop, provision};
use crate::tape::{BadTape, Difference, Kind, Tape};
use crate::world::World;
use std::collections::BTreeMap;

/// A job that went as it went then.
#[derive(Debug)]
pub struct Replayed {
    /// How it ended, in a line for people.
    pub outcome: String,
    /// Whom the phone was for.
    pub user: String,
    /// How often the phone was asked.
    pub phone: usize,
    /// How often the service was asked.
    pub service: usize,
    /// How often a person was asked.
    pub person: usize,
}

/// Why a recording could not be replayed, or how the job differs from it.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The text is no recording.
    #[error("it is no recording that this version can read")]
    Unreadable(#[from] BadTape),
    /// It begins without what a replay begins with.
    #[error("it is not the recording of a whole job: {0}")]
    Incomplete(Difference),
    /// The program does something else than it did.
    #[error("the job goes another way than it went: {difference}")]
    Differs {
        /// The first difference.
        difference: Difference,
        /// How the job ended now, for people.
        outcome: String,
    },
    /// No ledger could be made for it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl ReplayError {
    /// What is to be done next.
    pub fn next_step(&self) -> String {
        match self {
            Self::Unreadable(_) | Self::Incomplete(_) => {
                "give a file that `tethercert provision --record` has written, whole".into()
            }
            Self::Differs { .. } => {
                "if the change is meant, record the job anew with `tethercert provision --record`; if not, it is a fault".into()
            }
            Self::Ledger(error) => error.next_step().into(),
        }
    }
}

/// Runs the recorded job against its recording. Every request, question and publication has to be the one that was made
/// then, and the end the same.
///
/// # Errors
/// The first difference, with both sides in words; or why the text is no recording.
pub async fn replay(text: &str) -> Result<Replayed, ReplayError> {
    let tape = Tape::read(text)?;
    let ledger = Ledger::temporary("replay").await?;
    let mut known = Vec::new();
    let job = loop {
        let entry = tape.answer(&[Kind::Known, Kind::Job]).map_err(ReplayError::Incomplete)?;
        let nonsense = || ReplayError::Incomplete(tape.nonsense(&entry));
        match entry.kind {
            Kind::Job => break job_from(&entry.value, World::of(&tape)).ok_or_else(nonsense)?,
            _ => known.push(known_event(&entry.value).ok_or_else(nonsense)?),
        }
    };
    let mut earlier = BTreeMap::new();
    for (number, event) in &known {
        let job = match (number, number.and_then(|number| earlier.get(&number))) {
            (None, _) => None,
            (_, Some(job)) => Some(*job),
            (Some(number), None) => {
                let started = JobStarted {
                    tool: env!("CARGO_PKG_VERSION").to_owned(),
                    lab: job.lab,
                    dry_run: false,
                    user: job.user.clone(),
                    slot: job.slot.clone(),
                    terms: None,
                };
                let begun = ledger.begin_job(started).await?;
                earlier.insert(*number, begun);
                Some(begun)
            }
        };
        ledger.append(job, event).await?;
    }
    let entry = tape.answer(&[Kind::Host]).map_err(ReplayError::Incomplete)?;
    let (host, meant) = host_from(&entry.value).ok_or_else(|| ReplayError::Incomplete(tape.nonsense(&entry)))?;

    let mut phone = Tether::replayed(&tape, host);
    phone.means(meant);
    let mut service = Recorded::played(&tape);
    let mut operator = Played(tape.clone());
    let outcome = provision(&job, &mut phone, &mut service, &ledger, &mut operator, &Stop::default()).await;
    let ended = ended(&tape, &outcome);
    ledger.close().await;
    let outcome = outcome_words(&outcome);
    match ended {
        Err(difference) => Err(ReplayError::Differs { difference, outcome }),
        Ok(()) => Ok(Replayed {
            outcome,
            user: job.user.to_string(),
            phone: tape.count(Kind::PhoneAsked),
            service: tape.count(Kind::ServiceAsked),
            person: tape.count(Kind::PersonAsked),
        }),
    }
}

fn ended(tape: &Tape, outcome: &Outcome) -> Result<(), Difference> {
    if let Some(difference) = tape.difference() {
        return Err(difference);
    }
    tape.ask(Kind::Outcome, outcome_value(outcome))?;
    tape.end()
}
