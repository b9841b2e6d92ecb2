//! What the lab's Web Services do wrong, and how their administrator has set them up.

use super::front_end::{FrontEnds, Illness};
use super::record::Kind;
use super::soap::Spelling;
use super::trouble::Route;
use crate::credential::SipAddress;
use crate::lab::keys::random;
use std::collections::BTreeSet;
use time::{Duration, OffsetDateTime};

/// Every fault as a switch; all may be changed while the server runs. The default is a server without fault.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The next n publications fail with "data store unavailable" (LAB 99006 in an `ErrorInfo`): the certificate was
    /// made, nothing is stored.
    pub store_unavailable: u32,
    /// Each further publication fails so with this likelihood, percent.
    pub store_unavailable_percent: u8,
    /// Every publication is refused with this number, by this route.
    pub refused: Option<(Route, u32)>,
    /// The service's clock less the true time: in `Date`, tickets and certificates.
    pub clock_offset: Duration,
    /// The next n web ticket requests fail with 500 and 28001.
    pub sign_in_broken: u32,
    /// Users who may not use Lync: 403 and 28000.
    pub not_sip_enabled: BTreeSet<SipAddress>,
    /// The next n right passwords are answered like wrong ones.
    pub password_refused: u32,
    /// The next n right PINs are answered like wrong ones (LAB 99001).
    pub pin_refused: u32,
    /// Every PIN is locked (LAB 99002).
    pub pin_locked: bool,
    /// The next n connections are closed as soon as the NTLM challenge is out.
    pub ntlm_hang_up: u32,
    /// The next n NTLM AUTHENTICATE messages reach another front end: they are answered like the first request.
    pub ntlm_moved: u32,
    /// The next n publications are told that the web ticket is invalid (28032).
    pub ticket_invalid: u32,
    /// The next n publications are told that the web ticket has expired (LAB 99007).
    pub ticket_expired: u32,
    /// The next n publications are told that the Entity is not the ticket's user (LAB 99005).
    pub entity_mismatch: u32,
    /// What is wrong with the addresses in the metadata.
    pub metadata: MetadataFault,
    /// What is wrong with one of two front ends.
    pub ill: Option<Illness>,
    /// What is wrong with the root-chain download.
    pub chains: ChainsFault,
    /// The next n requests of this kind are read and the connection is closed without anything being done.
    pub hang_up: Option<(Kind, u32)>,
    /// The next n requests of this kind are cut off before their body is read.
    pub unread: Option<(Kind, u32)>,
    /// The connection is cut within answers to requests of this kind.
    pub cut: Option<Cut>,
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
    /// Answers to requests of this kind are something else.
    pub instead: Option<(Kind, Body)>,
    /// Answers to requests of these kinds have no `Date`.
    pub no_date: BTreeSet<Kind>,
}

impl Faults {
    /// The service's clock.
    pub(super) fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.clock_offset
    }

    /// Counts a publication that the store takes or not.
    pub(super) fn store_is_down(&mut self) -> bool {
        strikes(&mut self.store_unavailable) || random::<1>()[0] % 100 < self.store_unavailable_percent
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

/// Where the connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// In answers to what.
    pub kind: Kind,
    /// So many bytes of the answer are sent, status line and headers counted.
    pub bytes: u64,
    /// In how many answers.
    pub times: u32,
}

/// What comes instead of an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// A page for people, with this status.
    Html(u16),
    /// The body behind a document type declaration.
    Dtd,
    /// A document that grows to gigabytes where entities are expanded.
    EntityBomb,
    /// The body in UTF-8, declared to be UTF-16 in its header and its first line.
    Utf16,
    /// A body with bytes that are ISO 8859-1 and no UTF-8, which nothing declares.
    Latin1,
}

/// What is wrong with the addresses in the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetadataFault {
    /// Nothing.
    #[default]
    None,
    /// They begin with `http`.
    Http,
    /// They are at `web.fabrikam.example`.
    ForeignHost,
}

/// What is wrong with the root-chain download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChainsFault {
    /// Nothing.
    #[default]
    None,
    /// The administrator has switched it off (`EnableCertChainDownload`): 404.
    Disabled,
    /// It offers a root that is not the https chain's.
    OtherRoot,
    /// The PKCS#7 is none.
    Garbage,
    /// It is 8 MiB longer.
    Huge,
}

/// What a pool's administrator sets (Set-CsWebServiceConfiguration).
#[derive(Debug, Clone)]
pub struct Settings {
    /// `UseWindowsAuth`.
    pub windows: WindowsAuth,
    /// Basic on the ports for Windows authentication: a 401 offers it too. Off by default, as on a real pool.
    pub basic: bool,
    /// What arrives under `Negotiate`.
    pub negotiate: Negotiate,
    /// Extended Protection for Authentication.
    pub channel_binding: ChannelBinding,
    /// `UseCertificateAuth`. Off: the port is missing from the metadata and its address answers 404.
    pub certificate: bool,
    /// How that port wants its signatures.
    pub suite: Suite,
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
    /// The servers behind the address.
    pub front_ends: FrontEnds,
}

/// The algorithm suite of the certificate port, as its policy names it (WS-SecurityPolicy 1.2 section 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Suite {
    /// RSA-SHA1: WCF's default.
    #[default]
    Basic256,
    /// RSA-SHA256.
    Basic256Sha256,
}

/// What the service takes under `Negotiate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Negotiate {
    /// SPNEGO tokens and bare NTLM messages, as Windows does.
    #[default]
    Both,
    /// SPNEGO tokens (RFC 4178) only.
    OnlySpnego,
    /// Bare NTLM messages only.
    OnlyNtlm,
}

/// Whether a Windows sign-in has to be bound to its TLS connection (Extended Protection, RFC 5929 `tls-server-end-point`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// Nobody looks.
    Ignored,
    /// A binding that is there has to be right.
    #[default]
    Checked,
    /// It has to be there and right.
    Required,
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
            basic: false,
            negotiate: Negotiate::default(),
            channel_binding: ChannelBinding::default(),
            certificate: true,
            suite: Suite::default(),
            pin: true,
            validity: Duration::hours(4320),
            ticket_life: Duration::hours(8),
            min_key_bits: 2048,
            max_key_bits: 16384,
            cookie_demanded: false,
            front_ends: FrontEnds::default(),
        }
    }
}

/// Counts one use of a fault that happens n times.
pub(in crate::lab) fn strikes(times: &mut u32) -> bool {
    let left = times.checked_sub(1);
    *times = left.unwrap_or(0);
    left.is_some()
}
