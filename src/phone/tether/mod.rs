//! The open Tether Device Protocol (docs/tether-protocol.md).

pub mod binding;
pub mod frames;
pub mod messages;
pub mod session;
