//! What the lab's Web Services do wrong, and how their administrator has set them up.

use super::record::Kind;
use super::soap::Spelling;
use crate::credential::SipAddress;
use std::collections::BTreeSet;
use time::{Duration, OffsetDateTime};

/// Every fault as a switch; all may be changed while the server runs. The default is a server without fault.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The next n publications fail with "data store unavailable" (LAB 99006 in an `ErrorInfo`): the certificate was
    /// made, nothing is stored.
    pub store_unavailable: u32,
    /// The service's clock less the true time: in `Date`, tickets and certificates.
    pub clock_offset: Duration,
    /// The next n web ticket requests fail with 500 and 28001.
    pub sign_in_broken: u32,
    /// Users who may not use Lync: 403 and 28000.
    pub not_sip_enabled: BTreeSet<SipAddress>,
    /// The next n publications are told that the web ticket is invalid (28032).
    pub ticket_invalid: u32,
    /// The next n requests of this kind are read and the connection is closed without anything being done.
    pub hang_up: Option<(Kind, u32)>,
    /// The next n publications are made and stored, and the connection is closed instead of the answer.
    pub answer_lost: u32,
    /// Answers to requests of this kind are held back for so long.
    pub slow: Option<(Kind, std::time::Duration)>,
    /// What is wrong with issued certificates.
    pub certificate: CertificateFault,
    /// Answers use other namespace prefixes, and the ticket's are declared further out than the ticket.
    pub other_prefixes: bool,
    /// Metadata comes wrapped in `wsx:Metadata`.
    pub wrapped_metadata: bool,
    /// A PKCS#7 with the issuer's certificate stands before the user's certificate.
    pub pkcs7: bool,
    /// Answers to requests of this kind are 8 MiB longer.
    pub huge: Option<Kind>,
    /// Answers to requests of this kind end in the middle.
    pub malformed: Option<Kind>,
    /// Answers to requests of these kinds have no `Date`.
    pub no_date: BTreeSet<Kind>,
}

impl Faults {
    /// The service's clock.
    pub(super) fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.clock_offset
    }

    pub(super) fn spelling(&self) -> Spelling {
        if self.other_prefixes { Spelling::other() } else { Spelling::usual() }
    }
}

/// What is wrong with an issued certificate. It is published as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CertificateFault {
    /// Nothing.
    #[default]
    None,
    /// It is for a key that nobody asked about.
    AnotherKey,
    /// It names `mallory@contoso.example`.
    AnotherUser,
    /// It ended an hour ago.
    Expired,
}

/// What a pool's administrator sets (Set-CsWebServiceConfiguration).
#[derive(Debug, Clone)]
pub struct Settings {
    /// `UseWindowsAuth`.
    pub windows: WindowsAuth,
    /// `UsePinAuth`. Off: the port is missing from the metadata and its address answers 404.
    pub pin: bool,
    /// `DefaultValidityPeriodHours`, down to minutes in a lab: the life of a user's certificate.
    pub validity: Duration,
    /// The life of a web ticket.
    pub ticket_life: Duration,
    /// `MinCSRKeySize`, bits.
    pub min_key_bits: usize,
    /// `MaxCSRKeySize`, bits.
    pub max_key_bits: usize,
    /// A publication without the load balancer's cookie reaches a server that does not know the ticket.
    pub cookie_demanded: bool,
}

/// The Windows authentication of the web ticket service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WindowsAuth {
    /// Port `WebTicketServiceWinNegotiate`; a 401 offers `Negotiate` and `NTLM`.
    #[default]
    Negotiate,
    /// The same port, as the external web site shows it: a 401 offers `NTLM` only.
    OnlyNtlmOffered,
    /// Port `WebTicketServiceWinNtlm`; a 401 offers `NTLM` only. The port's address is not public: LAB.
    NtlmPort,
    /// No port.
    Off,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            windows: WindowsAuth::default(),
            pin: true,
            validity: Duration::hours(4320),
            ticket_life: Duration::hours(8),
            min_key_bits: 2048,
            max_key_bits: 16384,
            cookie_demanded: false,
        }
    }
}

/// Counts one use of a fault that happens n times.
pub(super) fn strikes(times: &mut u32) -> bool {
    let left = times.checked_sub(1);
    *times = left.unwrap_or(0);
    left.is_some()
}
