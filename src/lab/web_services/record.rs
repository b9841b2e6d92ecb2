//! What the server saw, for tests and for people: one entry for each request, and counts.

use super::front_end::FrontEnd;
use crate::credential::SipAddress;
use std::collections::BTreeMap;

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Metadata of certificate provisioning.
    CertProvMetadata,
    /// Metadata of the web ticket service.
    WebTicketMetadata,
    /// A web ticket by Windows authentication, each leg of the handshake.
    NtlmTicket,
    /// A web ticket by PIN.
    PinTicket,
    /// A web ticket by a certificate of before.
    CertificateTicket,
    /// GetAndPublishCert.
    Publish,
    /// The issuing CA's certificate over plain http (AIA).
    IssuerDownload,
    /// WSDL and XSD of either service.
    Wsdl,
    /// The root chains over plain http.
    RootChains,
    /// Anything else.
    Other,
    /// In a fault: metadata of either service.
    Metadata,
    /// In a fault: a web ticket by any credential.
    Ticket,
}

impl Kind {
    /// Every kind of request, without the groups of faults.
    pub const ALL: [Self; 9] = [
        Self::CertProvMetadata,
        Self::WebTicketMetadata,
        Self::NtlmTicket,
        Self::PinTicket,
        Self::CertificateTicket,
        Self::Publish,
        Self::Wsdl,
        Self::RootChains,
        Self::IssuerDownload,
    ];

    /// Whether a fault of this kind hits a request of kind `other`.
    pub(super) fn covers(self, other: Self) -> bool {
        match self {
            Self::Metadata => matches!(other, Self::CertProvMetadata | Self::WebTicketMetadata),
            Self::Ticket => matches!(other, Self::NtlmTicket | Self::PinTicket | Self::CertificateTicket),
            _ => self == other,
        }
    }
}

/// A secret that a request gave proof of or carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// An NTLM AUTHENTICATE message.
    Ntlm,
    /// A password in a Basic header.
    Basic,
    /// A PIN.
    Pin,
    /// A signature with a published certificate's key.
    Certificate,
    /// A web ticket.
    Ticket,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The number of its connection, from 1.
    pub connection: u64,
    /// The server that answered.
    pub server: FrontEnd,
    /// What it was for.
    pub kind: Kind,
    /// The user it was for, if the directory knows one.
    pub user: Option<SipAddress>,
    /// The credential it came with.
    pub credential: Option<Credential>,
    /// The load balancer's cookie it came with.
    pub cookie: Option<String>,
    /// The status it was answered with; `None` when the connection was closed instead.
    pub status: Option<u16>,
    /// Why it was refused: more than the answer says.
    pub refusal: Option<String>,
}

/// Sums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// TLS connections accepted.
    pub connections: u64,
    /// Requests by kind.
    pub requests: BTreeMap<Kind, u64>,
    /// Web tickets issued.
    pub tickets: u64,
    /// Certificates published.
    pub certificates: u64,
}
