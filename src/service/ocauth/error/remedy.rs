//! What is to be done about a failure, and by whom.

use super::super::commands;
use super::super::diagnostics::Meaning;
use super::super::xml::BadMessage;
use super::{ErrorClass, ServiceError};
use crate::service::SignInWay;

impl ServiceError {
    /// What the technician does next, with a command for the administrator where there is one.
    pub fn next_step(&self) -> String {
        let text = match self {
            Self::Connection(error) => error.next_step(),
            Self::Lost { .. } | Self::TimedOut { .. } => "repeat; if it stays, check the network and the server's load",
            Self::NothingThere { .. } => "check the spelling of --certprov-url: host and path",
            Self::Redirected { .. } => {
                "if that is the pool's own address, give it with --certprov-url; a sign-in page there means that a proxy stands between"
            }
            Self::NoPinProfile => {
                "sign in with NTLM (--auth ntlm), or name a file with the pool's own PIN message: --profile FILE"
            }
            Self::HostNotAllowed { .. } => {
                "check that the address is the right pool; if it is, repeat with --allow-host"
            }
            Self::InsecureAddress { .. } => "have the administrator correct the address in the pool's configuration",
            Self::OtherUser { .. } => "start a new enrolment for this user",
            Self::BadLogin { .. } => "write the login like 'CONTOSO\\alice' or alice@contoso.example",
            Self::CredentialRefused { way, diagnosis, .. } => match diagnosis {
                Some(said) if !matches!(said.meaning(), Meaning::Unknown | Meaning::TicketInvalid) => {
                    return said.next_step();
                }
                Some(_) | None if *way == SignInWay::Pin => {
                    "check number and PIN with the user; further wrong tries may lock the PIN"
                }
                Some(_) | None => {
                    "check login (--login) and password with the user; further wrong tries may lock the account"
                }
            },
            Self::CertificateRefused { user, .. } => {
                let shown = commands::published_certificates(user);
                return format!(
                    "sign in with NTLM or a PIN instead; the administrator sees which certificates are published: {shown}"
                );
            }
            Self::RefusedBefore => "correct the credential; too many wrong tries lock the account or the PIN",
            Self::NotThisUser { .. } => "check that --user is the SIP address of the account that signs in",
            Self::BadSigningRequest { .. } => "have the phone make a new key and signing request",
            Self::NotOffered { way, .. } => {
                let choose = "choose a way to sign in that the pool offers, or have the administrator enable this one";
                return match way {
                    SignInWay::Pin => format!("{choose}: {}", commands::use_for_tickets("UsePinAuth")),
                    SignInWay::Certificate => format!("{choose}: {}", commands::use_for_tickets("UseCertificateAuth")),
                    SignInWay::Ntlm | SignInWay::Negotiate | SignInWay::Basic => choose.to_owned(),
                };
            }
            Self::SchemeNotOffered { .. } => "choose a way to sign in that the pool offers: --auth",
            Self::NoProvisioning { .. } => "check that the address is the certificate provisioning service of a pool",
            Self::HandshakeMoved { .. } => {
                "have the proxy or load balancer before the pool keep a client with one server and its connections open \
                 (session affinity, keep-alive), or go round it with --resolve; the password is not at fault"
            }
            Self::Refused { diagnosis, .. } => return diagnosis.next_step(),
            Self::TicketRefused { .. } => "repeat: a new ticket is fetched; if it stays, compare the servers' clocks",
            Self::BadAnswer { source, .. } => match source {
                BadMessage::Truncated { .. } => "repeat; if it stays, look for a proxy that cuts connections",
                BadMessage::Html { .. } => {
                    "open the address in a browser: a proxy or the web server's own page answers instead of the service"
                }
                BadMessage::Empty
                | BadMessage::TooLong
                | BadMessage::Encoded { .. }
                | BadMessage::Charset { .. }
                | BadMessage::NotText { .. }
                | BadMessage::Dtd
                | BadMessage::TooManyNodes
                | BadMessage::TooDeep
                | BadMessage::NotXml(_)
                | BadMessage::Missing(_)
                | BadMessage::BadValue { .. } => {
                    "check that the address is the certificate provisioning service of a pool"
                }
            },
            Self::OutcomeUnknown { .. } => "check the network; the job goes on with the same request and the same ids",
            Self::UnfitCertificate { .. } => "repeat the same command: a new key is made and published",
            Self::Recorded { next_step, .. } => next_step.as_str(),
        };
        text.to_owned()
    }

    /// Who can put it right.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Connection(error) if error.is_temporary() => ErrorClass::Temporary,
            Self::Connection(_) => ErrorClass::NeedsPerson,
            Self::Lost { .. } | Self::TimedOut { .. } | Self::TicketRefused { .. } | Self::HandshakeMoved { .. } => {
                ErrorClass::Temporary
            }
            Self::NoPinProfile
            | Self::HostNotAllowed { .. }
            | Self::InsecureAddress { .. }
            | Self::OtherUser { .. } => ErrorClass::Policy,
            Self::BadLogin { .. }
            | Self::CredentialRefused { .. }
            | Self::CertificateRefused { .. }
            | Self::RefusedBefore
            | Self::NotThisUser { .. } => ErrorClass::NeedsPerson,
            Self::BadAnswer { source: BadMessage::Truncated { .. }, .. } => ErrorClass::Temporary,
            Self::BadSigningRequest { .. }
            | Self::NotOffered { .. }
            | Self::SchemeNotOffered { .. }
            | Self::NoProvisioning { .. }
            | Self::NothingThere { .. }
            | Self::Redirected { .. }
            | Self::BadAnswer { .. } => ErrorClass::Failed,
            Self::Refused { diagnosis, .. } => match diagnosis.meaning() {
                Meaning::StoreUnavailable | Meaning::InternalWindowsAuth => ErrorClass::Temporary,
                Meaning::NotSipEnabled
                | Meaning::OtherSipAddress
                | Meaning::PinWrong
                | Meaning::PinLocked
                | Meaning::EntityMismatch => ErrorClass::NeedsPerson,
                Meaning::TicketInvalid => ErrorClass::Temporary,
                Meaning::OauthInvalid | Meaning::RequestMalformed | Meaning::KeySize => ErrorClass::Failed,
                Meaning::Unknown if matches!(diagnosis.status, 502..=504) => ErrorClass::Temporary,
                Meaning::Unknown => ErrorClass::Failed,
            },
            Self::OutcomeUnknown { .. } | Self::UnfitCertificate { .. } => ErrorClass::Unknown,
            Self::Recorded { class, .. } => *class,
        }
    }
}
