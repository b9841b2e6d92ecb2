//! A job as it went, kept as a text, and replayed without phone and network.
//!
//! The phone is recorded above its session ([`Tether::record_on`](crate::phone::tether::Tether::record_on)), the service at the
//! [`Enrolment`](crate::service::Enrolment) trait, the operator at the [`Operator`](crate::provision::Operator) trait, time and
//! random bytes where they are passed in ([`World`](crate::world::World)). None of these places is passed by a password, a PIN, a
//! private key or a web ticket, and the one secret that crosses the phone's channel, the administrator's code, is left out.
//! User, serial number and MAC address stay: the phone's signatures are over them, and a replay verifies these.

mod job;
mod person;
mod replay;
mod service;

pub use job::Recorder;
pub use person::Witnessed;
pub use replay::{ReplayError, Replayed, replay};
pub use service::Recorded;

/// What stands above every recording.
pub const HEADING: &str = "\
A job between tethercert, one phone and one pool, as it went. `tethercert replay FILE` runs it again without either.
It has no password, PIN, administrator's code, private key or web ticket. It names the user, the phone's serial number
and its MAC address: the phone's signatures are over them.
Values are in CBOR's diagnostic notation (RFC 8949, section 8); what the numbers of the phone's messages mean is in
docs/tether-protocol.md, section 6. Times are seconds since 1970.";
