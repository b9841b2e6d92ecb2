//! Enrolment on the user's behalf: what `provision` asks of a service that gives out user certificates.

pub mod capture;
pub mod ocauth;
pub mod server_trust;

use crate::credential::{KeyKind, SipAddress};
use crate::tls::ServerChain;
use secrecy::SecretString;
use server_trust::{Compared, Download, ServerFound};
use std::fmt;
use time::OffsetDateTime;
use uuid::Uuid;

/// One enrolment of one user at one service. Holds its own connection, which no other user's enrolment ever uses.
pub trait Enrolment: Send {
    /// The kinds of key whose signing requests this service takes, the preferred one first.
    fn key_kinds(&self) -> &[KeyKind];

    /// Looks at the service without any credential: its addresses, its server chain as a phone would meet it, its clock,
    /// the ways to sign in that it offers.
    fn survey(&mut self) -> impl Future<Output = Result<Survey, ServiceError>> + Send;

    /// The host that a secret will be sent to, once it is sure that it may be: the service offers the way, and the host is
    /// the one given by hand, in the user's SIP domain, or allowed. Sends nothing.
    fn sign_in_host(
        &mut self,
        user: &SipAddress,
        way: SignInWay,
    ) -> impl Future<Output = Result<String, ServiceError>> + Send;

    /// The service's clock less this computer's, seconds, by its newest answer that said the time.
    fn clock_offset_seconds(&self) -> Option<i64>;

    /// What a certificate's key has to sign so that [`SignIn::Certificate`] is believed, by the service's clock. Sends no
    /// credential. The terms hold for some minutes.
    fn endorsement_terms(
        &mut self,
        user: &SipAddress,
    ) -> impl Future<Output = Result<EndorsementTerms, ServiceError>> + Send;

    /// Gets a web ticket for `user`. A refused credential is not sent again by this process, to any server.
    fn sign_in(
        &mut self,
        user: &SipAddress,
        with: &SignIn,
    ) -> impl Future<Output = Result<Ticket, ServiceError>> + Send;

    /// Leaves the server that answered so far: the next request may reach another one of the pool. Tickets stay behind,
    /// since a pool's servers need not know each other's.
    fn leave_server(&mut self);

    /// Has a certificate made for the signing request and published in the user's store.
    ///
    /// May be repeated only with an equal [`Publication`].
    fn publish(
        &mut self,
        ticket: &Ticket,
        publication: &Publication,
    ) -> impl Future<Output = Result<Published, ServiceError>> + Send;
}

/// The ways to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInWay {
    /// Windows credentials, by NTLM.
    Ntlm,
    /// Windows credentials, by SPNEGO.
    Negotiate,
    /// Number and PIN.
    Pin,
    /// The certificate that the phone holds already.
    Certificate,
    /// Windows credentials, readable to the server.
    Basic,
}

impl fmt::Display for SignInWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ntlm => "NTLM authentication",
            Self::Negotiate => "Negotiate authentication",
            Self::Pin => "PIN authentication",
            Self::Certificate => "certificate authentication",
            Self::Basic => "Basic authentication",
        })
    }
}

/// How the user signs in. No secret ever crosses the cable.
#[derive(Debug)]
pub enum SignIn {
    /// Windows credentials, by NTLM; under the name Negotiate where the server offers only that.
    Ntlm {
        /// `CONTOSO\alice` or `alice@contoso.example`.
        login: String,
        /// The user's password.
        password: SecretString,
    },
    /// Windows credentials, by SPNEGO with NTLM inside.
    Negotiate {
        /// `CONTOSO\alice` or `alice@contoso.example`.
        login: String,
        /// The user's password.
        password: SecretString,
    },
    /// Phone number or extension with the PIN that an administrator has set. The message is not public: LAB profile.
    Pin {
        /// As typed: `+1 (206) 555-1219`, `5551219;ext=19`.
        number: String,
        /// The PIN.
        pin: SecretString,
    },
    /// The user's certificate from an earlier enrolment; its key never left the phone, which has signed for this sign-in.
    Certificate(Endorsement),
    /// Windows credentials, which the server gets to read: only when asked for by name.
    Basic {
        /// `CONTOSO\alice` or `alice@contoso.example`.
        login: String,
        /// The user's password.
        password: SecretString,
    },
}

/// What a service shows to anybody who asks.
#[derive(Debug, Clone)]
pub struct Survey {
    /// The name the server's certificate has to be valid for, and the one shown to people: `web.contoso.example`.
    pub host: String,
    /// The port of the same.
    pub port: u16,
    /// The certificates exactly as the server sent them, its own first, DER.
    pub presented: Vec<Vec<u8>>,
    /// What had to be added so that this computer trusts the server: intermediates fetched by the address in a
    /// certificate (AIA) or given by hand, then the root. DER. The root is the last one.
    pub completed: Vec<Vec<u8>>,
    /// The service's clock (`Date` of its answer) less this computer's, seconds; the header has whole seconds. `None`: no
    /// answer had one.
    pub clock_offset_seconds: Option<i64>,
    /// Ways to sign in that the service names, as its metadata spells them.
    pub sign_in_ports: Vec<String>,
    /// The other servers that the phone has to trust, as they were found or not.
    pub also: Vec<ServerFound>,
    /// The service's root-chain download, compared.
    pub download: Download,
    /// What the operator's thumbprint says about the root of the chain.
    pub named_root: Compared,
}

impl Survey {
    /// All servers that the phone has to trust, the Web Services first.
    pub fn servers(&self) -> Vec<ServerFound> {
        let chain = ServerChain { presented: self.presented.clone(), completed: self.completed.clone() };
        let web = ServerFound::trusted(&self.host, self.port, chain);
        std::iter::once(web).chain(self.also.iter().cloned()).collect()
    }
}

/// A web ticket: the right to publish for one user, for some hours.
#[derive(Debug)]
pub struct Ticket {
    pub(crate) user: SipAddress,
    pub(crate) expires: OffsetDateTime,
    pub(crate) ocauth: ocauth::WebTicket,
}

impl Ticket {
    /// The user that the service named in the ticket.
    pub fn user(&self) -> &SipAddress {
        &self.user
    }

    /// When it ends, by the service's clock.
    pub fn expires(&self) -> OffsetDateTime {
        self.expires
    }
}

/// What is published, with the ids that make a repeated attempt the same attempt.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Publication {
    /// The user the certificate is for.
    pub user: SipAddress,
    /// The phone's device UUID: the one its REGISTER will carry.
    pub device: Uuid,
    /// The phone's PKCS#10, DER.
    pub signing_request: Vec<u8>,
    /// Names this request at the service (WSTEP `RequestID`).
    pub request_id: Uuid,
}

/// What the service answered.
#[derive(Debug, Clone)]
pub struct Published {
    /// The user's certificate, DER.
    pub certificate: Vec<u8>,
    /// Further certificates that came with it (PKCS#7), DER. Never trust anchors.
    pub accompanying: Vec<Vec<u8>>,
    /// The server that did it, by its own word (`X-MS-Server-Fqdn`).
    pub server: Option<String>,
}

pub use ocauth::{Endorsement, EndorsementAlgorithm, EndorsementTerms, ErrorClass, ServiceError};
