//! The server's side of the TLS handshake that travels in SIP headers ([MS-SIPAE] sections 3.1 and 4.4).
//!
//! Nothing but the handshake is tunnelled. When it is complete, 128 bytes of key material are drawn from it as EAP-TLS does
//! (label `client EAP encryption`, no context, RFC 5705 and RFC 5216 section 2.3); their third and fourth quarter are the
//! signing keys of client and server ([MS-SIPAE] section 3.2.5.1). Who the client is, is not decided here: any
//! certificate whose key has signed is passed on.

mod hello;
mod modern;
#[cfg(feature = "legacy-tls")]
mod old;
#[cfg(feature = "legacy-tls")]
mod records;
#[cfg(test)]
pub(super) mod tests;

use super::signature::Hash;
use crate::lab::pki::ServerIdentity;
use crate::lab::web_services::LabTls;
use std::io;
use zeroize::{Zeroize, Zeroizing};

/// What the key material is drawn by.
const LABEL: &str = "client EAP encryption";

/// Whoever presents one identity in tunnelled handshakes. A clone is the same.
#[derive(Clone)]
pub(super) struct Kit {
    modern: Option<modern::Kit>,
    #[cfg(feature = "legacy-tls")]
    old: old::Kit,
}

/// One handshake.
pub(super) enum Tunnel {
    Modern(Box<modern::Server>),
    #[cfg(feature = "legacy-tls")]
    Old(old::Server),
}

/// Which TLS the administrator allows inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Whatever this build has.
    All,
    /// TLS 1.2 with ECDHE and AEAD.
    Modern,
}

/// Why a handshake does not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Closed {
    /// There is no engine for what the client offers.
    #[error("the ClientHello offers nothing that this registrar speaks inside TLS-DSK")]
    NoEngine,
    /// What came is no ClientHello.
    #[error("the first message is no ClientHello")]
    NoHello,
    /// An engine refused it.
    #[error("{0}")]
    Refused(String),
}

/// What was agreed.
pub(super) struct Agreed {
    pub(super) client_key: Zeroizing<[u8; 32]>,
    pub(super) server_key: Zeroizing<[u8; 32]>,
    pub(super) hash: Hash,
    /// `TLS 1.2`.
    pub(super) version: &'static str,
    /// `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`.
    pub(super) suite: String,
    /// The client's certificate, DER: its key signed, and nothing else is known of it.
    pub(super) certificate: Vec<u8>,
}

impl Kit {
    /// For this identity. An old pool has no TLS above 1.0 inside either.
    pub(super) fn new(tls: LabTls, identity: &ServerIdentity) -> io::Result<Self> {
        let modern = match tls {
            LabTls::Modern => Some(modern::Kit::new(identity)?),
            LabTls::OnlyTls10 => None,
        };
        Ok(Self {
            modern,
            #[cfg(feature = "legacy-tls")]
            old: old::Kit::new(tls, identity)?,
        })
    }
}

impl Tunnel {
    /// Begins with the client's first records, and says what to answer.
    pub(super) fn open(kit: &Kit, allowed: Allowed, records: &[u8]) -> Result<(Self, Vec<u8>), Closed> {
        let hello = hello::read(records).ok_or(Closed::NoHello)?;
        let mut tunnel = match &kit.modern {
            Some(modern) if modern.speaks_with(&hello) => Self::Modern(Box::new(modern.server()?)),
            _ => match allowed {
                #[cfg(feature = "legacy-tls")]
                Allowed::All => Self::Old(kit.old.server()?),
                #[cfg(not(feature = "legacy-tls"))]
                Allowed::All => return Err(Closed::NoEngine),
                Allowed::Modern => return Err(Closed::NoEngine),
            },
        };
        let answer = tunnel.step(records)?;
        Ok((tunnel, answer))
    }

    /// Takes further records, and says what to answer.
    pub(super) fn step(&mut self, records: &[u8]) -> Result<Vec<u8>, Closed> {
        match self {
            Self::Modern(server) => server.step(records),
            #[cfg(feature = "legacy-tls")]
            Self::Old(server) => server.step(records),
        }
    }

    /// What was agreed, once the client's Finished is verified and the server's is written.
    pub(super) fn finished(&self) -> Option<Agreed> {
        match self {
            Self::Modern(server) => server.finished(),
            #[cfg(feature = "legacy-tls")]
            Self::Old(server) => server.finished(),
        }
    }
}

impl Agreed {
    /// Takes the signing keys from 128 bytes of key material, which are wiped.
    fn new(mut material: [u8; 128], version: &'static str, suite: String, certificate: Vec<u8>) -> Self {
        let mut agreed = Self {
            client_key: Zeroizing::default(),
            server_key: Zeroizing::default(),
            hash: Hash::of_suite(&suite),
            version,
            suite,
            certificate,
        };
        agreed.client_key.copy_from_slice(&material[64..96]);
        agreed.server_key.copy_from_slice(&material[96..]);
        material.zeroize();
        agreed
    }
}
