//! The station: many phones, each for the user that a roster names, one worker a phone, nobody at the keyboard.
//!
//! Three parts, each testable without the next: [`roster`] is what people wrote, read and linted whole; [`board`] decides
//! which row is whose; [`Station`] watches the bus, meets phones and does their jobs by [`provision`](crate::provision).
//! An ill phone is an event and a line in the ledger; the others do not notice. Nothing here prints or asks: who runs the
//! station is its [`Office`].

pub mod board;
mod floor;
mod history;
mod meeting;
mod office;
pub mod roster;
mod settling;
mod work;

pub use floor::{Closing, Station, Until};
pub use history::look_up;
pub use office::{Concluded, Ending, Office, RowEnd, StationEvent, Worked};
pub use settling::settle_what_is_left;
