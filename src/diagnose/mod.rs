//! Tests of a pool from any computer: what the synthetic transactions of an administrator do, each as one run that says at
//! which step it stopped, and why.
//!
//! A [`Transaction`] does as a phone does, with a device that this computer keeps for it ([`TestDevice`]): it fetches a web
//! ticket, has a certificate published, registers with it, and signs off. A step is good, bad or unknown, with what it saw and
//! the next step; the words are those of the errors that a job would have met, since they come from the same functions.

mod report;
mod test_device;
mod transaction;

pub use report::{AddressReport, Remains, Report, Step, StepReport, StepResult, Trouble};
pub use test_device::{TestDevice, TestDeviceError};
pub use transaction::{AtRegistrar, Source, Tester, Transaction};
