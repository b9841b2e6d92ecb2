//! The registrar of Lync and Skype for Business, as a client meets it: SIP over TLS ([MS-SIP], [MS-SIPAE]).
//!
//! The codec ([`message`], [`name_address`], [`challenge`]) knows bytes and no purpose; the lab's registrar uses it too, and
//! nothing else of this.

pub mod challenge;
pub mod message;
pub mod name_address;
