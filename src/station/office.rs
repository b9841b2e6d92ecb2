//! Who runs a station: gives it jobs, answers for their users, hears what happens and writes down how they end.

use super::board::{Claim, Refusal};
use crate::ledger::JobNumber;
use crate::phone::{Found, Identity, PhoneError, Remedyable, Traffic};
use crate::provision::{Job, Operator, Outcome};
use crate::service::Enrolment;
use crate::usb::{Slot, UsbError};
use std::time::Duration;

/// What a station asks of whoever runs it. Rows are named by their place in the roster.
pub trait Office: Send + Sync + 'static {
    /// How a row's user is enrolled.
    type Service: Enrolment + Send + Sync + 'static;
    /// Who answers for a row's user. Nobody is at a keyboard: what is not known is refused.
    type Operator: Operator + Sync + 'static;

    /// The job for a row on the phone that was found for it.
    fn job(&self, row: usize, found: &Found) -> Job;

    /// The service of a row's user, over a connection of its own.
    fn service(&self, row: usize) -> Self::Service;

    /// Who answers for a row's user.
    fn operator(&self, row: usize, slot: &Slot) -> Self::Operator;

    /// A job has ended: this writes the end in the ledger, then says it.
    fn conclude(
        &self,
        row: usize,
        slot: &Slot,
        worked: Worked<Self::Service>,
    ) -> impl Future<Output = Concluded> + Send;

    /// Something happened at a port.
    fn event(&self, event: StationEvent);
}

/// A job that has ended.
#[derive(Debug)]
pub struct Worked<S> {
    /// How.
    pub outcome: Outcome,
    /// From its turn to its end.
    pub took: Duration,
    /// What the cable has carried.
    pub traffic: Traffic,
    /// What did the enrolment.
    pub service: S,
}

/// How a job ended, in the words that the ledger has.
#[derive(Debug, Clone)]
pub struct Concluded {
    /// The job, once it had a number.
    pub job: Option<JobNumber>,
    /// How.
    pub ending: Ending,
    /// In words.
    pub message: String,
    /// What the technician does next, if anything.
    pub next_step: Option<String>,
}

/// How a job ended, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The phone holds the identity and has proved it.
    Done {
        /// It had all of it before.
        unchanged: bool,
        /// Something vouches for the phone.
        vouched: bool,
    },
    /// A dry run: it is known what would be done.
    Planned,
    /// The phone is as it was.
    NotDone(Remedyable),
    /// Something may be published that the phone has not proved.
    Unknown,
}

/// Something that happened at a port.
#[derive(Debug)]
pub enum StationEvent {
    /// A phone was plugged in.
    Came {
        /// Where.
        slot: Slot,
        /// What it is.
        model: String,
    },
    /// Something was plugged in that may be a phone, and nobody knows how to talk to it.
    Unspoken {
        /// Where.
        slot: Slot,
        /// What it may be.
        model: String,
    },
    /// A phone said who it is.
    Met {
        /// Where.
        slot: Slot,
        /// Who.
        identity: Box<Identity>,
    },
    /// A phone could not be asked who it is.
    NotMet {
        /// Where.
        slot: Slot,
        /// Why.
        error: PhoneError,
    },
    /// A phone was given its row. Its job begins as soon as it has its turn.
    Given {
        /// Where.
        slot: Slot,
        /// The row.
        row: usize,
    },
    /// The phone has what its row wants, by the ledger: it is left alone.
    Has {
        /// Where.
        slot: Slot,
        /// The row.
        row: usize,
    },
    /// A phone gets nothing.
    Refused {
        /// Where.
        slot: Slot,
        /// Why.
        refusal: Refusal,
    },
    /// A phone's turn did not come before the station was stopped.
    NotBegun {
        /// Where.
        slot: Slot,
        /// The row.
        row: usize,
    },
    /// A phone was unplugged.
    Left {
        /// Where it was.
        slot: Slot,
    },
    /// The bus cannot be looked at; it is tried again.
    Trouble(UsbError),
}

/// How a row stands when the station ends.
#[derive(Debug, Clone)]
pub enum RowEnd {
    /// An earlier run had done it.
    Before {
        /// By this job.
        job: Option<JobNumber>,
        /// Where the phone was plugged in.
        port: String,
    },
    /// Its last job ended.
    Ended {
        /// Where its phone is, or was.
        slot: Slot,
        /// How.
        concluded: Concluded,
        /// Why the row is that phone's alone all the same.
        claim: Option<Claim>,
    },
    /// A phone came that looked like it and was refused.
    Refused {
        /// Where.
        slot: Slot,
        /// Why.
        refusal: Refusal,
    },
    /// Its phone's turn had not come.
    NotBegun {
        /// Where.
        slot: Slot,
    },
    /// No phone came for it.
    NoPhone {
        /// Why it can only be one phone.
        claim: Option<Claim>,
    },
}
