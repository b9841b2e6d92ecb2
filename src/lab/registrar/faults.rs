//! What the registrar does wrong, and how its administrator has set it up. All may be changed while it runs.

use super::signature::Hash;
use time::{Duration, OffsetDateTime};

/// Every fault as a switch; the default is a registrar without fault.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The next n certificates that are shown are not in this registrar's copy of the store yet.
    pub not_replicated: u32,
    /// Published certificates reach the registrar's copy of the store after so long.
    pub replication_delay: Duration,
    /// `fe01`, which has every even connection, never hears of a publication.
    pub front_end_unaware: bool,
    /// Every user is at home on the registrar's second port: a signed 301 leads there.
    pub homed_elsewhere: bool,
    /// What is wrong with the signatures of answers.
    pub signature: SignatureFault,
    /// The next n messages of clients that are signed in find no association: 401.
    pub association_dropped: u32,
    /// Associations end after so long.
    pub association_life: Option<Duration>,
    /// Challenges say version 3, in which the message that ends the handshake is not signed.
    pub version_3: bool,
    /// Signatures are made and checked with this hash, whatever the cipher suite says.
    pub hash: Option<Hash>,
    /// The `Expires` that is granted, whatever was asked for.
    pub expires: Option<u32>,
    /// The 200 to a REGISTER has no `Expires`.
    pub no_expires: bool,
    /// The registrar's clock less the true time: in `Date`, and where times are judged.
    pub clock_offset: Duration,
    /// What is wrong with the certificate of the tunnelled handshake.
    pub inner: InnerFault,
    /// Inside TLS-DSK there is nothing older than TLS 1.2 with ECDHE and AEAD, whatever this build has.
    pub inner_modern: bool,
    /// TLS-DSK is not offered (`UseCertificateForClientToProxyAuth` off).
    pub no_tls_dsk: bool,
    /// NTLM is not offered.
    pub no_ntlm: bool,
    /// Kerberos is offered, which this registrar does not have: no fault, but pools do so.
    pub kerberos_offered: bool,
    /// It asks as a proxy does: 407 and `Proxy-` headers. No fault, but often forgotten.
    pub as_proxy: bool,
    /// What is answered instead of service.
    pub refusal: Option<Refusal>,
    /// After so many answers on a connection everything is read and nothing is answered.
    pub hangs_after: Option<u32>,
}

/// What is wrong with the signatures of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignatureFault {
    /// Nothing.
    #[default]
    None,
    /// `rspauth` is another message's.
    Wrong,
    /// There is none.
    Missing,
    /// Every answer has the number 1.
    Repeated,
}

/// What is wrong with the certificate of the tunnelled handshake, while the connection's own is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InnerFault {
    /// Nothing.
    #[default]
    None,
    /// It names `other.contoso.example` only.
    WrongName,
    /// It ends in a root that nobody was given.
    UnknownRoot,
}

/// What is answered instead of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The user is disabled: a signed 403 with `ms-diagnostics`.
    UserDisabled,
    /// There is no such user: a signed 404 with `ms-diagnostics`.
    UserNotFound,
    /// 503 with `ms-diagnostics`, to the first request already.
    Unavailable,
    /// 504 with `ms-diagnostics`, to the first request already.
    TimedOut,
    /// 403 to everything, and not a word more.
    Everything,
}

impl Faults {
    /// The registrar's clock.
    pub(super) fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.clock_offset
    }
}
