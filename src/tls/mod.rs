//! TLS to a service: whom this computer trusts, a verifier that remembers what it saw, streams, and errors that say why.
//!
//! The verdict that grants trust is always webpki's, name check included. What goes beyond it only helps webpki to find
//! a path (an intermediate that the server forgot to send) or a person to understand its refusal.
//! Which engine speaks, rustls or for old pools OpenSSL, changes nothing about that.

mod aia;
mod binding;
mod chain;
mod connector;
mod dial;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod handshake;
mod judge;
#[cfg(feature = "legacy-tls")]
mod legacy;
mod modern;
pub(crate) mod pkcs7;
mod proxy;
mod signature;
mod stream;
#[cfg(test)]
mod tests;
mod traffic;
mod trust;
pub mod tunnel;

pub use chain::ServerChain;
pub use connector::{Connector, Probed, Resolve};
pub use error::{Distrust, TlsError};
pub use handshake::Negotiated;
pub use proxy::Proxy;
pub use stream::Stream;
pub use traffic::Traffic;
pub use trust::{Trust, TrustError};

/// The TLS implementation that a pool is reached with, chosen per pool and never changed in silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// rustls: TLS 1.2 and 1.3, ECDHE with AEAD ciphers.
    #[default]
    Modern,
    /// OpenSSL: TLS 1.0 to 1.2 with CBC ciphers and RSA key exchange. Only in builds with the feature `legacy-tls`.
    Legacy,
}

/// An IPv6 address without its brackets.
pub(crate) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
