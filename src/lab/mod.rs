//! The other end of every wire, on loopback and with nothing to install: Web Services over real HTTPS, their certificate
//! authorities, and the keys they need.
//!
//! The lab is a peer, never a mock: it implements none of the program's traits and shares no parsing or signing code
//! with it.

pub mod keys;
pub mod pki;
pub mod web_services;
