//! The registrar of Lync and Skype for Business, as a client meets it: SIP over TLS ([MS-SIP]), with a sign-in that goes on
//! inside its headers and signs every message from then on ([MS-SIPAE]).
//!
//! [`Client::register`] asks what the registrar wants, agrees on keys by a [`Negotiation`], registers, and follows the user to
//! the home server; what comes of it is a [`Registration`], which renews itself and signs off. Nothing that the registrar
//! says counts from the keys on unless it is signed. What each step showed is a [`Passed`]; this prints nothing.
//!
//! The codec ([`message`], [`name_address`], [`challenge`]) knows bytes and no purpose; the lab's registrar uses it too, and
//! nothing else of this.

mod association;
pub mod challenge;
mod client;
mod connection;
mod course;
mod endpoint;
mod error;
mod keys;
pub mod message;
mod ms_diagnostics;
pub mod name_address;
mod negotiation;
mod ntlm;
mod registration;
mod session;
mod signature;
#[cfg(test)]
mod tests;

pub use association::SignatureFault;
pub use client::{Client, PORT, Rules};
pub use connection::Server;
pub use course::{Facts, Failure, Passed, SKEW_WORTH_SAYING, Watch};
pub use endpoint::Endpoint;
pub use error::{Refusal, RegistrarError, Stage};
pub use keys::Keys;
pub use ms_diagnostics::MsDiagnostics;
pub use negotiation::{Credential, Negotiation, NegotiationError, Step};
pub use ntlm::{Account, BadNtlmChallenge};
pub use registration::{Registration, SignedOff};
