//! Why a registration failed, and what to do about it.

use super::association::SignatureFault;
use super::challenge::{BadAuthentication, Scheme};
use super::message::BadMessage;
use super::ms_diagnostics::MsDiagnostics;
use super::negotiation::NegotiationError;
use crate::service::ErrorClass;
use crate::tls::TlsError;
use std::fmt;
use std::io;

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Reaching the registrar by TLS.
    Connect,
    /// Asking without credentials, to hear what it offers.
    Ask,
    /// Agreeing on keys, inside the headers.
    Handshake,
    /// Registering, signed.
    Register,
    /// Registering again before it ends.
    Renew,
    /// Waiting while registered.
    Stay,
    /// Ending the registration.
    SignOff,
}

impl Stage {
    /// In a word, as machine output has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Ask => "challenge",
            Self::Handshake => "handshake",
            Self::Register => "register",
            Self::Renew => "renew",
            Self::Stay => "stay",
            Self::SignOff => "sign-off",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A refusal in the registrar's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The SIP status.
    pub status: u16,
    /// What stands behind it: `Forbidden`.
    pub reason: String,
    /// What it says of the cause, if it does.
    pub diagnostics: Option<Box<MsDiagnostics>>,
    /// When it may be tried again, seconds, if it says so.
    pub retry_after: Option<u32>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP {}", self.status)?;
        if !self.reason.is_empty() {
            write!(f, " {}", self.reason)?;
        }
        match &self.diagnostics {
            Some(diagnostics) => write!(f, " ({diagnostics})"),
            None => Ok(()),
        }
    }
}

/// Why a registration failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistrarError {
    // The network, and this computer's trust.
    /// There is no TLS connection.
    #[error("no connection to the registrar")]
    Connection(#[source] TlsError),
    /// The connection broke.
    #[error("the connection to {server} broke ({stage})")]
    Lost {
        /// The registrar.
        server: String,
        /// What was being done.
        stage: Stage,
        /// What the system said.
        source: io::Error,
    },
    /// The registrar ended the connection.
    #[error("{server} ended the connection instead of answering ({stage})")]
    Closed {
        /// The registrar.
        server: String,
        /// What was being done.
        stage: Stage,
    },
    /// No answer in time.
    #[error("{server} did not answer within {seconds} s ({stage})")]
    TimedOut {
        /// The registrar.
        server: String,
        /// What was being done.
        stage: Stage,
        /// The limit.
        seconds: u64,
    },

    // What came is not what the protocol says.
    /// What answers there speaks no SIP.
    #[error("what {server} sent is no SIP message")]
    NoSip {
        /// The registrar.
        server: String,
        /// Why.
        source: BadMessage,
    },
    /// A challenge cannot be read.
    #[error("what {server} asks for cannot be read")]
    BadChallenge {
        /// The registrar.
        server: String,
        /// Why.
        source: BadAuthentication,
    },
    /// An answer lacks what it has to have, or has what nobody asked for.
    #[error("the answer of {server} makes no sense ({stage}): {what}")]
    Nonsense {
        /// The registrar.
        server: String,
        /// What was being done.
        stage: Stage,
        /// What is wrong with it.
        what: String,
    },
    /// An answer that has to be signed is not, or wrongly: it may be anybody's.
    #[error("the answer of {server} to the sign-in does not count ({stage}): {fault}")]
    Unsigned {
        /// The registrar.
        server: String,
        /// What was being done.
        stage: Stage,
        /// Why.
        fault: SignatureFault,
    },

    // How the sign-in went.
    /// The registrar offers nothing that could be answered.
    #[error("{server} offers {offered}, and not {wanted}")]
    NotOffered {
        /// The registrar.
        server: String,
        /// What it offers.
        offered: String,
        /// What there is a credential for.
        wanted: Scheme,
    },
    /// A version of the protocol that nobody knows.
    #[error("{server} wants version {version} of {scheme}, and 3 and 4 are known")]
    UnknownVersion {
        /// The registrar.
        server: String,
        /// The scheme.
        scheme: Scheme,
        /// The version.
        version: u32,
    },
    /// The handshake inside failed on this side.
    #[error("the sign-in failed")]
    Negotiation {
        /// Why.
        source: NegotiationError,
    },
    /// The registrar ended the handshake.
    #[error("{server} refuses the certificate within the handshake: {refusal}")]
    HandshakeRefused {
        /// The registrar.
        server: String,
        /// In its words.
        refusal: Refusal,
    },
    /// The handshake was right, and what followed was not accepted.
    #[error("{server} does not accept this sign-in by {scheme}: {refusal}")]
    NotAccepted {
        /// The registrar.
        server: String,
        /// By what.
        scheme: Scheme,
        /// In its words.
        refusal: Refusal,
    },
    /// The registrar refuses for another reason than who signs in.
    #[error("{server} refuses to register the user: {refusal}")]
    Refused {
        /// The registrar.
        server: String,
        /// In its words.
        refusal: Refusal,
    },

    // Where it leads.
    /// A redirect to nowhere.
    #[error("{server} sends elsewhere and does not say where by an address for TLS: {said}")]
    BadRedirect {
        /// The registrar.
        server: String,
        /// What it says.
        said: String,
    },
    /// One redirect after the other.
    #[error("the user is sent from server to server: {}", hops.join(", "))]
    TooManyRedirects {
        /// All of them, in order.
        hops: Vec<String>,
    },
    /// A redirect to where a secret may not go.
    #[error("{server} sends to {to}, where credentials are not sent: it is not in {domain} and was not allowed")]
    HostNotAllowed {
        /// The registrar.
        server: String,
        /// Where to.
        to: String,
        /// The user's SIP domain.
        domain: String,
    },
}

impl RegistrarError {
    /// The class of the failure; exit codes follow it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Connection(error) if error.is_temporary() => ErrorClass::Temporary,
            Self::Lost { .. } | Self::Closed { .. } | Self::TimedOut { .. } => ErrorClass::Temporary,
            Self::Refused { refusal, .. } if is_temporary(refusal.status) => ErrorClass::Temporary,
            Self::HostNotAllowed { .. } => ErrorClass::Policy,
            Self::Connection(_)
            | Self::NoSip { .. }
            | Self::BadChallenge { .. }
            | Self::Nonsense { .. }
            | Self::Unsigned { .. }
            | Self::NotOffered { .. }
            | Self::UnknownVersion { .. }
            | Self::Negotiation { .. }
            | Self::HandshakeRefused { .. }
            | Self::NotAccepted { .. }
            | Self::Refused { .. }
            | Self::BadRedirect { .. }
            | Self::TooManyRedirects { .. } => ErrorClass::Failed,
        }
    }

    /// The registrar's own words, where it refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::HandshakeRefused { refusal, .. }
            | Self::NotAccepted { refusal, .. }
            | Self::Refused { refusal, .. } => Some(refusal),
            Self::Connection(_)
            | Self::Lost { .. }
            | Self::Closed { .. }
            | Self::TimedOut { .. }
            | Self::NoSip { .. }
            | Self::BadChallenge { .. }
            | Self::Nonsense { .. }
            | Self::Unsigned { .. }
            | Self::NotOffered { .. }
            | Self::UnknownVersion { .. }
            | Self::Negotiation { .. }
            | Self::BadRedirect { .. }
            | Self::TooManyRedirects { .. }
            | Self::HostNotAllowed { .. } => None,
        }
    }

    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Connection(TlsError::Refused { .. }) => {
                "check the registrar's port (5061 as a rule), and that the Front End service runs on that server"
            }
            Self::Connection(TlsError::BadHost { .. }) => "correct the registrar's name",
            Self::Connection(error) => error.next_step(),
            Self::Lost { .. } | Self::Closed { .. } | Self::TimedOut { .. } => {
                "repeat; if it stays, have the administrator look whether the Front End service on that server is well"
            }
            Self::NoSip { .. } => {
                "check that the address is a registrar and its port the one for SIP over TLS (5061 as a rule)"
            }
            Self::BadChallenge { .. } | Self::Nonsense { .. } => {
                "check that the address is a registrar of the pool and that nothing stands in between, then look at the server's log"
            }
            Self::Unsigned { .. } => {
                "trust nothing that this server says: something between here and the registrar changes messages, or the server's keys are not ours; try another server of the pool by its address"
            }
            Self::NotOffered { wanted: Scheme::TlsDsk, .. } => {
                "have the administrator allow certificates: Set-CsProxyConfiguration -Identity Global -UseCertificateForClientToProxyAuth $True"
            }
            Self::NotOffered { wanted: Scheme::Ntlm, .. } => {
                "sign in with a certificate, or have the administrator allow NTLM: Set-CsProxyConfiguration -Identity Global -UseWindowsAuthenticationForClientToProxy $True"
            }
            Self::NotOffered { wanted: Scheme::Kerberos, .. } => {
                "sign in with a certificate: this program has no Kerberos"
            }
            Self::UnknownVersion { .. } => "report the server's version, with what `--json` says of this step",
            Self::Negotiation { source, .. } => source.next_step(),
            Self::NotAccepted { scheme: Scheme::TlsDsk, .. } => {
                "repeat in a minute: the certificate may not have reached this server yet, or the server has lost the sign-in; if it stays, it may be revoked, or the server wants signatures by another hash: give the administrator this server's name and the time"
            }
            Self::HandshakeRefused { .. } => {
                "the certificate may be revoked or of another user, or this server does not have it yet: wait half a minute for replication and repeat; then publish a new one"
            }
            Self::NotAccepted { scheme: Scheme::Ntlm | Scheme::Kerberos, .. } => {
                "check account and password with the user, and this computer's clock; the same is not tried again, since accounts lock"
            }
            Self::Refused { refusal, .. } => next_by_status(refusal.status),
            Self::BadRedirect { .. } => {
                "have the administrator look at the user's home pool: Get-CsUser | Select-Object RegistrarPool"
            }
            Self::TooManyRedirects { .. } => {
                "have the administrator look at the user's home pool and its move, if one is under way: Get-CsUser | Select-Object RegistrarPool"
            }
            Self::HostNotAllowed { .. } => "if that server is right, allow it with --allow-host",
        }
    }
}

/// Waiting and repeating may help.
fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 480 | 503 | 504)
}

fn next_by_status(status: u16) -> &'static str {
    match status {
        403 => {
            "the server's rules forbid it: have the administrator check that the user is enabled, that the certificate is this user's, and the client version policy (Get-CsClientVersionPolicy)"
        }
        404 => {
            "the user is not known there or not enabled for SIP: check the SIP address (Get-CsUser), and that it is the right pool"
        }
        503 | 504 => {
            "the server, or the user's home server behind it, is out of order or busy: repeat in a minute; if it stays, the administrator checks the pool's services"
        }
        408 | 480 => "repeat in a minute; if it stays, the administrator checks the pool's services",
        _ => "give number, reason and server to the administrator: the server's log has the rest",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> RegistrarError {
        let diagnostics = MsDiagnostics::read("4004;reason=\"no\";source=\"fe01\"");
        let refusal =
            Refusal { status, reason: "No".into(), diagnostics: diagnostics.map(Box::new), retry_after: None };
        RegistrarError::Refused { server: "fe01:5061".into(), refusal }
    }

    #[test]
    fn only_what_may_pass_is_temporary() {
        for (status, class) in [
            (403, ErrorClass::Failed),
            (404, ErrorClass::Failed),
            (500, ErrorClass::Failed),
            (503, ErrorClass::Temporary),
            (504, ErrorClass::Temporary),
        ] {
            assert_eq!(refused(status).class(), class, "{status}");
        }
    }

    #[test]
    fn a_refusal_has_the_registrars_number_reason_and_source() {
        assert_eq!(refused(403).to_string(), "fe01:5061 refuses to register the user: SIP 403 No (4004 no, says fe01)");
        assert!(refused(404).next_step().contains("not enabled for SIP"));
    }
}
