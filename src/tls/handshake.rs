//! One handshake, whichever engine made it.

use rustls::Error;
use rustls::pki_types::CertificateDer;
use std::fmt;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a connection is made for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// To talk to a server that is trusted.
    Talk {
        /// Protocols offered by ALPN.
        alpn: &'a [&'a str],
    },
    /// To look at a server, trusted or not, and send it nothing.
    DangerLook,
}

/// What came of a handshake that broke at nothing but trust.
pub(super) struct Shaken {
    /// The server's certificates as sent, its own first; of a resumed session, as they were sent when it began.
    pub(super) presented: Vec<CertificateDer<'static>>,
    /// The judge's word on them, name included.
    pub(super) verdict: Result<(), Error>,
    /// An earlier session was resumed.
    pub(super) resumed: bool,
    /// The stream, unless distrust ended the handshake. Only what is trusted may carry anything.
    pub(super) open: Option<(Box<dyn Wire>, Negotiated)>,
}

/// A TLS stream of some engine.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug> Wire for T {}

/// What both sides agreed on, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// `TLS 1.2`.
    pub version: String,
    /// `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`, as IANA has it.
    pub cipher: String,
}

impl fmt::Display for Negotiated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.version, self.cipher)
    }
}
