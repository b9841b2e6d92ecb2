//! The lab: the other end of every wire. Virtual phones behind a USB/IP server, Web Services behind HTTPS, each a peer
//! that speaks the real protocol and can be made to fail on purpose. It implements none of the program's traits.

pub mod keys;
pub mod phone;
pub mod pki;
pub mod usbip;
pub mod web_services;
