//! Pools by name: what this computer is set up for, one file a pool, and where every value in use came from.
//!
//! A file holds addresses, names and the thumbprints of trust anchors, never a secret: unknown keys are refused, and
//! those that look like a secret are named as such. The order is option, environment, file, default; a list is taken whole
//! from the first of them that has one, so that every value has exactly one origin.

mod anchor;
mod choice;
mod error;
mod file;
mod folder;
mod origin;
mod words;

pub use anchor::Anchor;
pub use choice::{Choice, Why, choose};
pub use error::PoolsError;
pub use file::PoolFile;
pub use folder::{NamedPool, Pools, Replace};
pub use origin::{Origin, Setting};
pub use words::{BadWord, HostAndPort, PoolName, without_password};
