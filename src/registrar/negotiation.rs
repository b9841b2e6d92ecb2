//! How keys are agreed on within the headers of a few REGISTERs, whatever the scheme: one trait, and TLS-DSK as one of it.

use super::challenge::{Challenge, Scheme};
use super::keys::{Keys, TlsDskKeys};
use super::ntlm::{Account, BadNtlmChallenge, Ntlm};
use crate::tls::tunnel::{ClientIdentity, Handshake, TunnelError};
use crate::tls::{Connector, Negotiated};

/// The client's side of one scheme, until both sides have keys.
pub trait Negotiation: Send {
    /// Answers the server's data, nothing to begin with. May block while a key signs: not for async threads.
    fn step(&mut self, data: Option<&[u8]>) -> Result<Step, NegotiationError>;
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// This is sent, and the server answers with data of its own.
    Send(Vec<u8>),
    /// Both sides have keys: the message that comes next completes it.
    Agreed {
        /// What the completing message has to carry, if anything.
        data: Option<Vec<u8>>,
        /// What messages are signed with.
        keys: Box<dyn Keys>,
        /// The TLS that was spoken inside, if any was.
        inner: Option<Negotiated>,
    },
}

/// Why no keys were agreed on, as far as it is not the server's own word.
#[derive(Debug, thiserror::Error)]
pub enum NegotiationError {
    /// The TLS handshake inside the headers.
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
    /// NTLM.
    #[error("the registrar's challenge by NTLM cannot be answered: {0}")]
    Ntlm(#[from] BadNtlmChallenge),
}

impl NegotiationError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Tunnel(error) => error.next_step(),
            Self::Ntlm(_) => {
                "sign in with a certificate, or have the administrator allow NTLMv2 with 128 bits on the registrar"
            }
        }
    }
}

/// What a user signs in with.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A published certificate and its key, by TLS-DSK.
    Certificate(ClientIdentity),
    /// A Windows account and its password, by NTLM.
    Password(Account),
}

impl Credential {
    /// The scheme that it is for.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Certificate(_) => Scheme::TlsDsk,
            Self::Password(_) => Scheme::Ntlm,
        }
    }

    /// Whether something of it can be misused by a server that gets it, so that not any may.
    pub fn is_secret(&self) -> bool {
        match self {
            Self::Certificate(_) => false,
            // Who gets the proof of a password can guess at it, at leisure.
            Self::Password(_) => true,
        }
    }

    /// Begins the answer to a challenge of its scheme.
    pub fn answer(&self, challenge: &Challenge, by: &Connector) -> Result<Box<dyn Negotiation>, NegotiationError> {
        match self {
            Self::Certificate(identity) => {
                let target = challenge.targetname.clone();
                Ok(Box::new(TlsDsk { handshake: by.tunnel(&target, identity)?, target }))
            }
            Self::Password(account) => Ok(Box::new(Ntlm::new(account))),
        }
    }
}

/// TLS-DSK ([MS-SIPAE] 3.1): a TLS handshake, and then a message without data that is signed already.
pub struct TlsDsk {
    handshake: Box<dyn Handshake>,
    target: String,
}

impl Negotiation for TlsDsk {
    fn step(&mut self, data: Option<&[u8]>) -> Result<Step, NegotiationError> {
        let answer = self.handshake.step(data.unwrap_or_default())?;
        Ok(match self.handshake.finished() {
            Some(agreed) => Step::Agreed {
                data: Some(answer).filter(|answer| !answer.is_empty()),
                keys: Box::new(TlsDskKeys::of(&agreed)),
                inner: Some(agreed.negotiated),
            },
            // Half a flight: nothing can be answered to it, and a message without data would end the handshake.
            None if answer.is_empty() => return Err(TunnelError::Silent { target: self.target.clone() }.into()),
            None => Step::Send(answer),
        })
    }
}
