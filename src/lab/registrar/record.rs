//! What the registrar saw, for tests and for people.

use super::signature::Hash;
use crate::credential::SipAddress;
use crate::lab::web_services::FrontEnd;
use serde::Serialize;
use time::OffsetDateTime;

/// One request, and what became of it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The number of its connection, from 1.
    pub connection: u64,
    /// The server that had it.
    pub server: FrontEnd,
    /// `REGISTER`.
    pub method: String,
    /// Whose it says it is, where that is an address.
    pub from: Option<SipAddress>,
    /// The scheme of its credentials: `TLS-DSK`, `NTLM`, or none.
    pub scheme: Option<&'static str>,
    /// Whether it had a signature, right or wrong.
    pub signed: bool,
    /// The status it was answered with; `None` when it was not answered.
    pub status: Option<u16>,
    /// Whether the answer was signed.
    pub answer_signed: bool,
    /// Why it was refused: more than the answer says.
    pub refusal: Option<String>,
}

/// How somebody proved who they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Proof {
    /// By a certificate: the tunnelled handshake's version and cipher suite.
    TlsDsk {
        /// `TLS 1.2`.
        tls: &'static str,
        /// `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`.
        cipher_suite: String,
    },
    /// By a password.
    Ntlm,
}

/// An endpoint that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Whose.
    pub user: SipAddress,
    /// The endpoint's id.
    pub epid: String,
    /// Its address, as it gave it.
    pub contact: String,
    /// The address by which it is reached from anywhere.
    pub gruu: Option<String>,
    /// How the user proved who they are.
    pub proof: Proof,
    /// By what messages are signed.
    pub hash: Option<Hash>,
    /// What the client calls itself.
    pub user_agent: String,
    /// When it ends.
    pub until: OffsetDateTime,
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TlsDsk { tls, cipher_suite } => write!(f, "TLS-DSK, {tls} inside ({cipher_suite})"),
            Self::Ntlm => f.write_str("NTLM"),
        }
    }
}
