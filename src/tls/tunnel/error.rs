//! Why a tunnelled handshake failed, and what to do about it.

use super::super::{Distrust, Engine};
use super::key::SignError;
use std::error::Error;

/// Why there is no tunnelled handshake with a registrar.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The registrar calls itself something that no certificate can be for.
    #[error("the registrar calls itself `{target}`, which is not a host name")]
    BadTarget {
        /// Its `targetname`.
        target: String,
    },
    /// There is not one trust anchor to go by.
    #[error("no trust anchor is known, so no registrar can be trusted")]
    NoAnchors,
    /// The pool is said to need the engine for old TLS, and this build has none.
    #[error("{target} is to be reached with old TLS, and this build of the program has no engine for it")]
    EngineMissing {
        /// The registrar.
        target: String,
    },
    /// Old TLS signs with a key in memory only.
    #[error("the engine for old TLS cannot use a key that is inside the phone")]
    KeyOutOfReach,
    /// Certificate and key are none that TLS can use.
    #[error("the certificate to sign in with, or its key, cannot be used")]
    UnusableIdentity {
        /// What the engine said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The certificate that the registrar shows inside is not trusted. Nothing was signed for it.
    #[error("the certificate that {target} shows inside the sign-in is not trusted: {reason}")]
    Untrusted {
        /// The registrar.
        target: String,
        /// Why, for a person.
        reason: Distrust,
        /// The chain exactly as sent, own certificate first, DER.
        presented: Box<[Vec<u8>]>,
        /// webpki's exact verdict.
        #[source]
        verdict: Box<rustls::Error>,
    },
    /// The two sides share no TLS version or cipher.
    #[error("{target} and this program share no TLS version or cipher for the sign-in")]
    NoCommonCipher {
        /// The registrar.
        target: String,
        /// The engine that tried. There is no other try with the other one.
        engine: Engine,
        /// What the engine said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The registrar wants no certificate.
    #[error("{target} does not ask for a certificate inside the sign-in")]
    NotAsked {
        /// The registrar.
        target: String,
    },
    /// The registrar takes no signature that the key can make.
    #[error("{target} takes no signature that the certificate's key can make")]
    NoCommonSignature {
        /// The registrar.
        target: String,
    },
    /// The key is elsewhere and did not sign.
    #[error("the key did not sign the sign-in")]
    NotSigned(#[source] SignError),
    /// The registrar ended the handshake.
    #[error("{target} ended the handshake inside the sign-in: {alert}")]
    Alert {
        /// The registrar.
        target: String,
        /// TLS's word for it.
        alert: String,
    },
    /// Nothing came where the handshake needs the registrar's next message.
    #[error("{target} sent nothing where the handshake inside the sign-in has to go on")]
    Silent {
        /// The registrar.
        target: String,
    },
    /// More came than any handshake is long.
    #[error("{target} sent more than {limit} bytes of handshake")]
    TooLong {
        /// The registrar.
        target: String,
        /// The limit.
        limit: usize,
    },
    /// What came is no handshake, or breaks its rules.
    #[error("the handshake inside the sign-in at {target} failed")]
    Broken {
        /// The registrar.
        target: String,
        /// What the engine said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Something came after the end, good or bad.
    #[error("{target} goes on with a handshake that has ended")]
    Over {
        /// The registrar.
        target: String,
    },
}

impl TunnelError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::BadTarget { .. } => {
                "check that the address is a registrar of the pool and that nothing stands in between"
            }
            Self::NoAnchors => "name the CA's certificate with --trust-anchor",
            Self::EngineMissing { .. } => {
                "use a build made with `--features legacy-tls`, or enable ECDHE with AES-GCM on the server and leave out `legacy`"
            }
            Self::KeyOutOfReach => {
                "have the phone sign in itself and read its log, or sign in from here with a certificate of this computer"
            }
            Self::UnusableIdentity { .. } => "give the certificate that was published with the key it was made for",
            Self::Untrusted { reason, .. } => reason.next_step(),
            Self::NoCommonCipher { engine: Engine::Modern, .. } => {
                "reach this pool with old TLS: `--tls legacy`, or `tls = \"legacy\"` in the pool's configuration; or enable ECDHE with AES-GCM on the server"
            }
            Self::NoCommonCipher { engine: Engine::Legacy, .. } => {
                "leave out `--tls legacy`, or `tls = \"legacy\"` in the pool's configuration: this server may want newer TLS"
            }
            Self::NotAsked { .. }
            | Self::Silent { .. }
            | Self::TooLong { .. }
            | Self::Broken { .. }
            | Self::Over { .. } => {
                "repeat; if it is the same again, have the administrator look at the registrar's log: it breaks the rules of TLS-DSK"
            }
            Self::NoCommonSignature { .. } => {
                "have the administrator allow RSA with SHA-256 in the TLS settings of the registrar"
            }
            Self::NotSigned(_) => "see what the key's holder says, and repeat",
            Self::Alert { .. } => {
                "check that this certificate is published for the user and not revoked, then look at the registrar's log"
            }
        }
    }
}
