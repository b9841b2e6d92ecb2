//! The ledger: what was intended, claimed and observed for each phone, in order.
//!
//! An event is on the disk when [`Ledger::append`] returns, so that an intent stands there before the step that cannot
//! be taken back, and a power cut never loses a finished phone. Events are never changed; they are chained by hashes, one
//! chain per station ([`Ledger::verify`]). State is a view ([`Ledger::transaction`], [`Ledger::jobs`]). What to do
//! with a phone is `provision`'s business.
//!
//! A ledger is an SQLite file that several processes may have open: each of them writes over one connection, and number,
//! predecessor and hash of an event are made in one write transaction.

mod chain;
mod encoding;
mod error;
mod event;
mod job_lock;
#[cfg(test)]
mod samples;
mod store;
mod unfinished;
mod view;

pub use crate::phone::TransactionId;
pub use chain::{Head, Record, Verified};
pub use error::{Break, LedgerError};
pub use event::{Authenticity, Event, JobStarted, Outcome, RosterLine, Standing, Terms};
pub use job_lock::JobLock;
pub use store::{Filter, Ledger, default_path};
pub use unfinished::{State, Unfinished};
pub use view::{JobEnd, JobPhone, JobSummary, Phase, PublishedView, TransactionView};

use std::fmt;

/// The number of an event in its station's chain: 1, 2, 3 …
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Sequence(u64);

/// The number of a job at its station: 1, 2, 3 …
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct JobNumber(u64);

impl Sequence {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl JobNumber {
    /// The job of this number, as a person typed it.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for JobNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
