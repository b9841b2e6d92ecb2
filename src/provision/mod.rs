//! The story of one phone: identify, enrol, install, prove. Nothing here prints, and nothing here knows a protocol.
//!
//! The steps consume each other, so that none can be left out or taken twice: `story.rs` has them. What can fail without
//! publishing is done first; after publish a job only rolls forward. Every intent is in the ledger before the step.

mod checkup;
mod enrolling;
mod error;
mod event;
mod job;
mod meeting;
mod outcome;
mod planning;
mod publishing;
mod rehearsal;
mod renewing;
mod resume;
mod story;
mod trust;
mod trust_check;

pub use checkup::{Checkup, Proof, ServerJudged, SignInAsked, check_up};
pub use error::ProvisionError;
pub use event::{Answer, Event, NoAnswer, Operator, PhoneSeen, PoolSeen, Stage, StepDone};
pub use job::{Jitter, Job, LabPhone, Stop};
pub use outcome::{Failure, Outcome, Plan, Publishing, Receipt, StoreTry, Verified};
pub use rehearsal::{Grade, RegistrarStep, Rehearsal, Rehearsed, Rehearser, rehearse};
pub use resume::{Settled, bears_its_name, known_again, resume, settle, settle_locked};
pub(crate) use story::full_text;
pub use story::provision;
pub use trust::{ServerJudgement, Standing};
pub use trust_check::{ServerChecked, TrustChecked, check_trust};
