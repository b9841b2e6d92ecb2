//! Why the service did not do what it was asked, grouped by who can put it right.

mod remedy;

use super::diagnostics::Diagnosis;
use super::xml::BadMessage;
use crate::credential::SipAddress;
use crate::service::SignInWay;
use crate::tls::TlsError;
use std::fmt;

/// What was being asked of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading a service's metadata.
    Metadata,
    /// Getting a web ticket.
    Ticket,
    /// Having a certificate made and published.
    Publish,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "metadata",
            Self::Ticket => "web ticket",
            Self::Publish => "publishing",
        })
    }
}

/// The class of a failure; the program's exit codes follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Failed; the same again will fail again (1).
    Failed,
    /// Nobody knows whether it happened (5).
    Unknown,
    /// Refused by this program's own rules (6).
    Policy,
    /// Repeat later (7).
    Temporary,
    /// A person has to decide or to correct something (8).
    NeedsPerson,
}

/// Why the service did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    // The network, and this computer's trust.
    /// There is no TLS connection.
    #[error("no connection to the Web Services")]
    Connection(#[source] TlsError),
    /// The connection broke in the middle.
    #[error("the connection to {host} broke ({step})")]
    Lost {
        /// The server.
        host: String,
        /// What was being asked.
        step: Step,
        /// What hyper said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("{host} did not answer within {seconds} s ({step})")]
    TimedOut {
        /// The server.
        host: String,
        /// What was being asked.
        step: Step,
        /// The limit.
        seconds: u64,
    },

    /// The server has nothing at this address.
    #[error("nothing is at {url}")]
    NothingThere {
        /// The address.
        url: String,
    },

    /// The server sends the request elsewhere, where neither credential nor ticket is taken.
    #[error("{host} redirects to {} instead of answering ({step}, HTTP {status})", location.as_deref().unwrap_or("nowhere"))]
    Redirected {
        /// The server.
        host: String,
        /// What was being asked.
        step: Step,
        /// The HTTP status.
        status: u16,
        /// The host it redirects to, or what it says instead of an address.
        location: Option<String>,
    },

    // This program's own rules. Nothing was sent.
    /// The PIN message is not public and goes only to a lab, or to a pool that the operator gave a profile for.
    #[error("signing in with a PIN is refused: its message is not public, so it goes only to a lab or by a --profile")]
    NoPinProfile,
    /// A credential or a ticket would go to a host that is neither in the user's domain nor allowed.
    #[error("credentials are not sent to {host}: it is not in {domain} and was not allowed")]
    HostNotAllowed {
        /// The host that the metadata names.
        host: String,
        /// The user's SIP domain.
        domain: String,
    },
    /// The metadata names an address without TLS.
    #[error("the metadata of {host} names the address `{address}`, which is not https")]
    InsecureAddress {
        /// The server whose metadata it is.
        host: String,
        /// The address.
        address: String,
    },
    /// One enrolment serves one user: connection and cookies are theirs.
    #[error("this enrolment belongs to {first}, and {second} needs one of their own")]
    OtherUser {
        /// Whose it is.
        first: SipAddress,
        /// Who else was to use it.
        second: SipAddress,
    },

    // The person who signs in.
    /// The login cannot be an account name.
    #[error("`{login}` is not an account name")]
    BadLogin {
        /// As given.
        login: String,
    },
    /// The service refused the credential.
    #[error("{host} refused {login}{}", said(diagnosis.as_deref()))]
    CredentialRefused {
        /// The server.
        host: String,
        /// The way that the credential went.
        way: SignInWay,
        /// The login or the number, never the secret.
        login: String,
        /// Its words, if it had any.
        diagnosis: Option<Box<Diagnosis>>,
    },
    /// The service did not accept the user's certificate.
    #[error("{host} did not accept the certificate of {user}{}", said(diagnosis.as_deref()))]
    CertificateRefused {
        /// The server.
        host: String,
        /// Whose certificate it is.
        user: SipAddress,
        /// Its words, if it had any.
        diagnosis: Option<Box<Diagnosis>>,
    },
    /// The same credential was refused before in this process; it was not sent again.
    #[error("this credential was refused before, so it was not sent again")]
    RefusedBefore,
    /// The credential is somebody else's.
    #[error("the credential belongs to {named}, not to {expected}")]
    NotThisUser {
        /// Who was to be signed in.
        expected: SipAddress,
        /// Whom the service named.
        named: String,
    },

    // The phone.
    /// The phone's signing request cannot be used.
    #[error("the phone's signing request cannot be used: {problem}")]
    BadSigningRequest {
        /// What is wrong with it.
        problem: String,
    },

    // The service.
    /// The service does not have this way to sign in.
    #[error("{host} does not offer {way} (port {port} is not in its metadata)")]
    NotOffered {
        /// The server.
        host: String,
        /// The way.
        way: SignInWay,
        /// The port that is missing.
        port: String,
    },
    /// The service's port takes other ways of HTTP authentication.
    #[error("{host} does not offer {way}: it offers {}", if offered.is_empty() { "nothing" } else { offered.as_str() })]
    SchemeNotOffered {
        /// The server.
        host: String,
        /// The way.
        way: SignInWay,
        /// The schemes that it names, with commas.
        offered: String,
    },
    /// The certificate provisioning service has no port that takes a web ticket.
    #[error("{host} has no certificate provisioning with a web ticket (port {port} is not in its metadata)")]
    NoProvisioning {
        /// The server.
        host: String,
        /// The port that is missing.
        port: &'static str,
    },
    /// A handshake of Windows authentication was torn apart, twice. The credential was not judged.
    #[error("the sign-in at {host} did not stay with one server and one connection: {how}")]
    HandshakeMoved {
        /// The server.
        host: String,
        /// How it was seen.
        how: Moved,
    },
    /// The service said no.
    #[error("the service refused ({step}): {diagnosis}")]
    Refused {
        /// What was asked.
        step: Step,
        /// Its words.
        diagnosis: Box<Diagnosis>,
    },
    /// The ticket has expired or is not accepted. One new ticket may be fetched for one more try.
    #[error("the web ticket is not accepted any more{}", said(diagnosis.as_deref()))]
    TicketRefused {
        /// The service's words; none when the ticket had expired before it was sent.
        diagnosis: Option<Box<Diagnosis>>,
    },
    /// The answer is not what the protocol says.
    #[error("{host} gave an answer that is not understood ({step})")]
    BadAnswer {
        /// The server.
        host: String,
        /// What was asked.
        step: Step,
        /// What is wrong with the answer.
        source: BadMessage,
    },

    /// Something of a recording, in the words that it had then.
    #[error("{message}")]
    Recorded {
        /// What was said.
        message: String,
        /// What the technician did next.
        next_step: String,
        /// Who could put it right.
        class: ErrorClass,
    },

    // After the request to publish was written.
    /// The request was sent, and whether a certificate was published is not known.
    #[error("whether {host} published a certificate is not known")]
    OutcomeUnknown {
        /// The server.
        host: String,
        /// What kept the answer from being known.
        source: Box<ServiceError>,
    },
    /// Something was published, and it is not what was asked for.
    #[error("{host} answered with a certificate that does not fit: {problem}")]
    UnfitCertificate {
        /// The server.
        host: String,
        /// Why it does not fit.
        problem: String,
    },
}

/// How it was seen that a handshake was torn apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// The connection ended between challenge and answer, or before the answer was judged.
    Closed,
    /// Another server judged the answer than the one that made the challenge, by their own word.
    AnotherServer {
        /// Who made the challenge.
        challenged: String,
        /// Who judged the answer.
        judged: String,
    },
    /// The answer to a challenge was met with a new challenge.
    ChallengedAgain,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection was closed in the middle of it"),
            Self::AnotherServer { challenged, judged } => write!(f, "{challenged} began it and {judged} ended it"),
            Self::ChallengedAgain => f.write_str("it was begun anew in the middle of it"),
        }
    }
}

fn said(diagnosis: Option<&Diagnosis>) -> String {
    diagnosis.map(|d| format!(": {d}")).unwrap_or_default()
}

impl ServiceError {
    /// The request to publish may have had its effect although it failed.
    pub fn outcome_unknown(&self) -> bool {
        self.class() == ErrorClass::Unknown
    }

    /// The ticket was not accepted and nothing was published: one new ticket may be fetched for one more try.
    pub fn ticket_refused(&self) -> bool {
        matches!(self, Self::TicketRefused { .. })
    }

    /// The service refused the credential, now or before in this process. It is not sent again.
    pub fn credential_refused(&self) -> bool {
        matches!(self, Self::CredentialRefused { .. } | Self::CertificateRefused { .. } | Self::RefusedBefore)
    }

    /// The service's own words, if it said why.
    pub fn diagnosis(&self) -> Option<&Diagnosis> {
        match self {
            Self::Refused { diagnosis, .. } => Some(diagnosis),
            Self::CredentialRefused { diagnosis, .. }
            | Self::CertificateRefused { diagnosis, .. }
            | Self::TicketRefused { diagnosis } => diagnosis.as_deref(),
            Self::OutcomeUnknown { source, .. } => source.diagnosis(),
            Self::Connection(_)
            | Self::Lost { .. }
            | Self::TimedOut { .. }
            | Self::Redirected { .. }
            | Self::NoPinProfile
            | Self::HostNotAllowed { .. }
            | Self::InsecureAddress { .. }
            | Self::OtherUser { .. }
            | Self::BadLogin { .. }
            | Self::RefusedBefore
            | Self::NotThisUser { .. }
            | Self::BadSigningRequest { .. }
            | Self::NotOffered { .. }
            | Self::SchemeNotOffered { .. }
            | Self::NoProvisioning { .. }
            | Self::HandshakeMoved { .. }
            | Self::BadAnswer { .. }
            | Self::NothingThere { .. }
            | Self::Recorded { .. }
            | Self::UnfitCertificate { .. } => None,
        }
    }
}
