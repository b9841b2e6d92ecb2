//! The other end of every wire.

pub mod usbip;
