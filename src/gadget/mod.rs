//! The reference phone: [`crate::device`] on a Linux board with a USB device port.
//!
//! The cable is FunctionFS ([`port`]), the storage a folder of files ([`folder`], [`storage`]), identity and MAC come from
//! the board ([`board`]), and whoever makes such phones can vouch for them with a root of their own ([`factory`]). Light,
//! screen and the person at the phone belong to the program that runs it.

pub mod board;
pub mod factory;
pub mod folder;
pub mod port;
pub mod storage;
