//! TLS to a service: whom this computer trusts, a verifier that remembers what it saw, streams, and errors that say why.
//!
//! The verdict that grants trust is always webpki's, name check included. What goes beyond it only helps webpki to find
//! a path (an intermediate that the server forgot to send) or a person to understand its refusal.
//! This engine is rustls: TLS 1.2 and 1.3 with ECDHE and AEAD ciphers, nothing older.

mod aia;
mod chain;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod pkcs7;
mod stream;
mod traffic;
mod trust;
mod verifier;

pub use chain::ServerChain;
pub use error::{Distrust, TlsError};
pub use stream::{Connector, Resolve, Stream};
pub use traffic::Traffic;
pub use trust::{Trust, TrustError};
