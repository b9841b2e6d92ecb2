//! Looking at a pool, and testing it.
//!
//! A check looks and never changes anything; it says *good*, *bad* or *unknown*, with what it looked at and the next step
//! ([`Finding`]). *Unknown* is an honest answer.
//!
//! A test does what the synthetic transactions of an administrator do: a [`Transaction`] acts as a phone, with a device that
//! this computer keeps for it ([`TestDevice`]). It fetches a web ticket, has a certificate published, registers with it, and
//! signs off; its [`Report`] says at which step it stopped, and why. The words are those of the errors that a job would
//! have met, since they come from the same functions.

mod finding;
mod report;
mod test_device;
mod transaction;
#[cfg(test)]
mod troubleshooting;

pub use finding::{Finding, Verdict};
pub use report::{AddressReport, Remains, Report, Step, StepReport, StepResult, Trouble, causes};
pub use test_device::{TestDevice, TestDeviceError};
pub use transaction::{AtRegistrar, Source, Tester, Transaction};
