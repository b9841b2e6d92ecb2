//! What a phone answers (docs/tether-protocol.md, section 6).

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

/// Sign-in settings.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SettingsMap {
    /// `sip:user@domain`.
    #[n(0)]
    pub sip_uri: String,
    /// `host:port` of the registrar; absent: the phone finds it as it always did.
    #[n(1)]
    pub registrar: Option<String>,
    /// URL of the certificate provisioning service.
    #[n(2)]
    pub web_services: String,
}

/// Answer to [`super::Operation::State`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct State {
    /// Seconds since 1970-01-01 UTC; absent: the clock was never set.
    #[n(0)]
    pub clock: Option<i64>,
    /// The identity in use.
    #[n(1)]
    pub identity: Option<CurrentIdentity>,
    /// The transaction that is not finished.
    #[n(2)]
    pub pending: Option<PendingMap>,
    /// The transaction that was committed last.
    #[n(3)]
    pub committed: Option<ByteArray<16>>,
    /// The settings in use.
    #[n(4)]
    pub settings: Option<SettingsMap>,
    /// How many trust anchors it holds.
    #[n(5)]
    pub anchors: u16,
}

/// The identity in use.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CurrentIdentity {
    /// `user@domain`.
    #[n(0)]
    pub user: String,
    /// SHA-256 of the certificate.
    #[n(1)]
    pub fingerprint: ByteArray<32>,
    /// Seconds since 1970.
    #[n(2)]
    pub not_before: i64,
    /// Seconds since 1970.
    #[n(3)]
    pub not_after: i64,
    /// SHA-256 of each intermediate installed with it.
    #[n(4)]
    pub intermediates: Vec<ByteArray<32>>,
    /// Kind of its key as in [`super::IdentityMap::key_kinds`]; a phone with [`super::capability::ENDORSE`] tells it.
    #[n(5)]
    pub key: Option<u8>,
}

/// A transaction that is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PendingMap {
    /// Its id.
    #[n(0)]
    pub id: ByteArray<16>,
    /// Whom it is for.
    #[n(1)]
    pub user: String,
    /// 0 begun, 1 has a key, 2 has its signing request, 3 the leaf is staged, 4 checked.
    #[n(2)]
    pub step: u8,
    /// Whether the host that asks began it.
    #[n(3)]
    pub yours: bool,
    /// What the host that began it calls itself.
    #[n(4)]
    pub host_label: String,
    /// The identity it will replace, as [`super::Operation::Begin`] said.
    #[n(5)]
    pub replaces: Option<ByteArray<32>>,
}

/// A page of trust anchors.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AnchorPage {
    /// From the asked index on; as many as fit.
    #[n(0)]
    pub anchors: Vec<AnchorMap>,
    /// How many there are in all.
    #[n(1)]
    pub total: u16,
}

/// A trust anchor, in short.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AnchorMap {
    /// SHA-256 of the certificate.
    #[n(0)]
    pub fingerprint: ByteArray<32>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    #[n(1)]
    pub key: ByteArray<32>,
    /// SHA-256 of its subject, DER.
    #[n(2)]
    pub subject: ByteArray<32>,
    /// Seconds since 1970.
    #[n(3)]
    pub not_after: i64,
    /// 0 came with the firmware, 1 was installed.
    #[n(4)]
    pub origin: u8,
    /// Its name for people, at most 64 characters.
    #[n(5)]
    pub name: String,
}

/// Answer to [`super::Operation::ReadCertificate`], and to [`super::Operation::SigningRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DerMap {
    /// The structure.
    #[n(0)]
    pub der: ByteVec,
}

/// Answer to [`super::Operation::ShowCode`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Revealed {
    /// The nonce that the phone had committed to.
    #[n(0)]
    pub nonce: ByteArray<32>,
}

/// Answer to [`super::Operation::Log`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LogPage {
    /// From the asked index on; as many as fit.
    #[n(0)]
    pub entries: Vec<LogEntry>,
    /// Index after the newest entry.
    #[n(1)]
    pub end: u32,
}

/// A line of the sign-in log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LogEntry {
    /// Counts up for ever.
    #[n(0)]
    pub index: u32,
    /// Seconds since 1970 by the phone's clock; absent when it had none.
    #[n(1)]
    pub time: Option<i64>,
    /// What happened, in the phone's words. Holds no secret.
    #[n(2)]
    pub text: String,
}

/// Answer to [`super::Operation::Prove`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PossessionMap {
    /// Of the certificate whose key signed.
    #[n(0)]
    pub fingerprint: ByteArray<32>,
    /// [`super::RSA_SHA256`] or [`super::ECDSA_SHA256`].
    #[n(1)]
    pub algorithm: u8,
    /// Over the labelled handshake hash, nonce and fingerprint.
    #[n(2)]
    pub signature: ByteVec,
}

/// Answer to [`super::Operation::SignHandshake`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SignatureMap {
    /// The signature for CertificateVerify.
    #[n(0)]
    pub signature: ByteVec,
}

/// Answer to [`super::Operation::Endorse`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EndorsedMap {
    /// Of the certificate whose key signed.
    #[n(0)]
    pub fingerprint: ByteArray<32>,
    /// RSASSA-PKCS1-v1_5 over the `SignedInfo`.
    #[n(1)]
    pub signature: ByteVec,
}

/// Answer to [`super::Operation::MakeKey`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyMade {
    /// SHA-256 of the SubjectPublicKeyInfo.
    #[n(0)]
    pub key: ByteArray<32>,
    /// How long it took, milliseconds; 0 when it was there already.
    #[n(1)]
    pub took_ms: u32,
}

/// Answer to [`super::Operation::Check`]. A verdict is 0 good, 1 bad, 2 not judged.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Checked {
    /// The leaf holds the transaction's key.
    #[n(0)]
    pub key: u8,
    /// The leaf names the transaction's user.
    #[n(1)]
    pub user: u8,
    /// The phone's clock lies within the leaf's dates.
    #[n(2)]
    pub dates: u8,
    /// The server's certificates build to the phone's anchors and the staged ones, for the name.
    #[n(3)]
    pub server: u8,
    /// Why something is bad, for people.
    #[n(4)]
    pub text: String,
}

/// A verdict of [`Checked`]: good.
pub const GOOD: u8 = 0;
/// A verdict of [`Checked`]: bad.
pub const BAD: u8 = 1;
/// A verdict of [`Checked`]: not judged.
pub const NOT_JUDGED: u8 = 2;

/// Answer to [`super::Operation::Commit`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Committed {
    /// Of the certificate now in use.
    #[n(0)]
    pub fingerprint: ByteArray<32>,
}

/// The answer of an operation that has nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Nothing {}

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Problem {
    /// What went wrong, for people, in the phone's words.
    #[n(0)]
    pub text: String,
    /// Tries left, with [`super::code::WRONG_CODE`].
    #[n(1)]
    pub tries_left: Option<u8>,
    /// The pending transaction, with [`super::code::OTHER_PENDING`].
    #[n(2)]
    pub pending: Option<PendingMap>,
}
