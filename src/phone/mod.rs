//! What a phone is: what `provision` asks of it, whatever protocol it speaks.
//!
//! A phone's model is a file in `drivers/`, its protocol a folder here. Choosing a protocol is a `match` on a closed
//! enum; there is no registry.

mod again;
pub mod anchors;
pub mod definition;
mod error;
mod finder;
pub mod tether;
mod transaction_id;

pub use again::{Again, Difference, Meant, ProvedKeys};
pub use error::{PhoneError, RefusalClass, Remedyable, SIGN_IN_WITH_A_PASSWORD, Step, refusal_class, what_to_do_about};
pub use finder::{Finder, Found};
pub use transaction_id::{ParseTransactionIdError, TransactionId};

use crate::credential::{Certificate, Fingerprint, KeyKind, SigningRequest, SipAddress};
use crate::service::{Endorsement, EndorsementTerms};
use crate::usb::MacAddress;
use secrecy::SecretString;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

pub use tether::binding::ShortCode;

/// What provisioning asks of a phone.
///
/// A method is one complete exchange with the phone (few enough that a whole job takes eight). After an error that ends
/// the session ([`PhoneError::ends_session`]) the driver is of no more use; what the phone has stored by then stays and
/// is found again by the transaction's id.
pub trait Driver: Send {
    /// Opens the session, or a new one: who the phone is and what vouches for it. It has to be the phone that is meant, and the
    /// same each time: else [`PhoneError::AnotherPhone`].
    fn identify(&mut self) -> impl Future<Output = Result<Identified, PhoneError>> + Send;

    /// Reads the phone's state; draws attention for so long, so that a person sees which phone it is.
    fn look(&mut self, attention: Duration) -> impl Future<Output = Result<PhoneState, PhoneError>> + Send;

    /// Reads one certificate that the phone stores.
    fn read_certificate(
        &mut self,
        fingerprint: Fingerprint,
    ) -> impl Future<Output = Result<Certificate, PhoneError>> + Send;

    /// Shows the short code on the phone and gives it for the screen here.
    fn show_code(&mut self) -> impl Future<Output = Result<ShortCode, PhoneError>> + Send;

    /// A person has compared the short code on both sides: the phone is vouched for.
    fn code_was_compared(&mut self);

    /// Draws attention for so long; zero ends it.
    fn attention(&mut self, time: Duration) -> impl Future<Output = Result<(), PhoneError>> + Send;

    /// Gets consent, begins or finds the transaction, has the key made and the request signed.
    fn prepare(&mut self, preparation: &Preparation) -> impl Future<Output = Result<Prepared, PhoneError>> + Send;

    /// Sets the clock where asked, stages what the phone lacks of the server's trust with its settings, and has the phone
    /// judge the server chain. Gives the time that the clock was set to.
    ///
    /// `set_clock` is what the right time is ahead of this computer's at the moment of sending.
    fn stage_trust(
        &mut self,
        transaction: TransactionId,
        trust: &ServerTrust,
        set_clock: Option<time::Duration>,
    ) -> impl Future<Output = Result<Option<OffsetDateTime>, PhoneError>> + Send;

    /// Stages the leaf, has the phone check all, and commits: all or nothing.
    fn install(
        &mut self,
        transaction: TransactionId,
        leaf: &Certificate,
        trust: &ServerTrust,
    ) -> impl Future<Output = Result<(), PhoneError>> + Send;

    /// Has the phone sign a web ticket request with the key of its identity: only a phone that [endorses](Abilities::endorses)
    /// can, and it wants consent each time, which then holds for the session. What it signed is verified here.
    fn endorse(&mut self, endorsing: &Endorsing) -> impl Future<Output = Result<Endorsed, PhoneError>> + Send;

    /// Has the phone sign a TLS client handshake, which it reads and judges itself, with the key of its identity: only a phone
    /// that [signs handshakes](Abilities::handshake) can, and it wants consent each time. What it signed is verified here.
    fn sign_handshake(
        &mut self,
        signing: &HandshakeSigning<'_>,
    ) -> impl Future<Output = Result<Vec<u8>, PhoneError>> + Send;

    /// Has the phone prove that it holds the key of `leaf`, and reads back what it stores.
    fn prove(
        &mut self,
        leaf: &Certificate,
    ) -> impl Future<Output = Result<(Possession, PhoneState), PhoneError>> + Send;

    /// Makes the phone forget a transaction that is not finished.
    fn abort(&mut self, transaction: TransactionId) -> impl Future<Output = Result<(), PhoneError>> + Send;

    /// Ends the session.
    fn leave(&mut self, parting: Parting) -> impl Future<Output = Result<(), PhoneError>> + Send;

    /// The phone's own sign-in log from an index on, and the index after its newest line.
    fn log(&mut self, start: u32) -> impl Future<Output = Result<(Vec<LogLine>, u32), PhoneError>> + Send;

    /// What the cable has carried.
    fn traffic(&self) -> Traffic;
}

/// A phone that was opened, by the protocol it speaks.
pub enum Phone {
    /// The open Tether Device Protocol.
    Tether(Box<tether::Tether>),
}

/// What the phone says about itself; a claim until [`Authenticity`] says more.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Identity {
    /// Maker.
    pub maker: String,
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// MAC address of the network port.
    #[serde(serialize_with = "as_text")]
    pub mac: MacAddress,
    /// Firmware version.
    pub firmware: String,
    /// The UUID that its REGISTER carries.
    pub device: Uuid,
    /// What it can do.
    pub abilities: Abilities,
    /// Kinds of key it makes.
    pub key_kinds: Vec<KeyKind>,
    /// What it takes.
    pub limits: Limits,
    /// What it wants before a host that it does not know changes it, or before any host undoes what another began.
    pub consent: ConsentWanted,
    /// Whether it knows this host.
    pub host_known: bool,
}

fn as_text<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// What a phone can do beyond holding an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Abilities {
    /// Light, sound or screen to tell it from its neighbours.
    pub attention: bool,
    /// Can show a short code.
    pub screen: bool,
    /// Its clock can be set over the cable.
    pub clock: bool,
    /// Can sign in on command.
    pub sign_in: bool,
    /// Can restart on command.
    pub restart: bool,
    /// Has a log to read.
    pub log: bool,
    /// Signs a TLS client handshake for the sign-in rehearsal.
    pub handshake: bool,
    /// Signs a web ticket request with its identity's key, so that it is renewed without a password.
    pub endorses: bool,
}

/// What a phone takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Limits {
    /// The longest certificate, bytes of DER.
    pub certificate_bytes: u32,
    /// Intermediates that go with a leaf.
    pub intermediates: u8,
    /// Further trust anchors.
    pub free_anchors: u8,
}

/// What a phone wants before it is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentWanted {
    /// Nothing.
    Nothing,
    /// A key pressed at the phone.
    KeyPress,
    /// The administrator code.
    AdministratorCode,
}

/// What vouches for the phone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Authenticity {
    /// Its factory key signed this session and chains to the maker's root that its definition names.
    Maker {
        /// Name of the maker's root.
        root: String,
    },
    /// A person compared the short code on both sides.
    Code,
    /// Nothing: the job is marked *unauthenticated device*.
    Nothing {
        /// Why not.
        reason: String,
    },
}

impl Authenticity {
    /// Whether anything vouches for the phone.
    pub fn is_vouched(&self) -> bool {
        !matches!(self, Self::Nothing { .. })
    }
}

/// The phone's answer when it is asked who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// Who.
    pub identity: Identity,
    /// What vouches for it so far.
    pub authenticity: Authenticity,
    /// By what it is known again.
    pub keys: ProvedKeys,
}

/// What the phone stores and shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneState {
    /// Its time; `None`: never set.
    pub clock: Option<OffsetDateTime>,
    /// The identity in use.
    pub identity: Option<IdentityInUse>,
    /// The transaction that is not finished.
    pub pending: Option<PendingTransaction>,
    /// The transaction that was committed last.
    pub committed: Option<TransactionId>,
    /// Settings in use.
    pub settings: Option<Settings>,
    /// Its trust anchors.
    pub anchors: Vec<AnchorHeld>,
}

/// The identity in use.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct IdentityInUse {
    /// The user, as the phone says it.
    pub user: String,
    /// Of the certificate.
    pub fingerprint: Fingerprint,
    /// From when.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// Until when.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// Of the intermediates installed with it.
    pub intermediates: Vec<Fingerprint>,
    /// The kind of its key, where the phone tells it and it is one that we know.
    pub key: Option<KeyKind>,
}

/// A transaction that the phone has not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingTransaction {
    /// Its id.
    pub id: TransactionId,
    /// Whom it is for.
    pub user: String,
    /// Whether this host began it.
    pub ours: bool,
    /// What the host that began it calls itself.
    pub host_label: String,
    /// The identity it will replace.
    pub replaces: Option<Fingerprint>,
}

/// A trust anchor that the phone holds, in short.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AnchorHeld {
    /// Of the certificate.
    pub fingerprint: Fingerprint,
    /// Of its public key.
    pub key: Fingerprint,
    /// Of its subject.
    pub subject: Fingerprint,
    /// Until when.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// Whether it was installed, not part of the firmware.
    pub installed: bool,
    /// For people.
    pub name: String,
}

/// What the phone will go by after the commit.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Settings {
    /// `sip:user@domain`.
    pub sip_uri: String,
    /// `host:port`, where it is given.
    pub registrar: Option<String>,
    /// URL of the certificate provisioning service.
    pub web_services: String,
}

/// What begins a transaction.
#[derive(Debug)]
pub struct Preparation {
    /// The transaction, new or found again.
    pub transaction: TransactionId,
    /// A pending transaction to be forgotten first.
    pub gives_up: Option<TransactionId>,
    /// The user.
    pub user: SipAddress,
    /// The identity that was seen on the phone and may be replaced.
    pub replaces: Option<Fingerprint>,
    /// The kind of key to make.
    pub key: KeyKind,
    /// How consent is given where the phone wants it.
    pub consent: Consent,
}

/// How this host gets the phone's consent.
#[derive(Debug)]
pub enum Consent {
    /// The phone wants none.
    NotWanted,
    /// Somebody presses a key at the phone.
    KeyPress,
    /// The administrator code; sent only to a phone that something vouches for.
    Code(SecretString),
}

/// What a phone is to sign so that its user is signed in without a password.
#[derive(Debug)]
pub struct Endorsing {
    /// The certificate in use, as it was seen.
    pub certificate: Fingerprint,
    /// What is signed.
    pub terms: EndorsementTerms,
    /// How consent is given.
    pub consent: Consent,
    /// Where the phone's clock is to be set first: what the right time is ahead of this computer's.
    pub set_clock: Option<time::Duration>,
}

/// A TLS client handshake that a phone is to sign so that its user is signed in with the key inside it.
#[derive(Debug)]
pub struct HandshakeSigning<'a> {
    /// The certificate in use, which the handshake presents.
    pub certificate: &'a Certificate,
    /// The handshake messages from ClientHello to ClientKeyExchange.
    pub messages: &'a [u8],
    /// How consent is given.
    pub consent: &'a Consent,
}

/// What a phone has signed; the signature was verified.
#[derive(Debug)]
pub struct Endorsed {
    /// The certificate whose key signed, with the terms and the signature.
    pub endorsement: Endorsement,
    /// What the phone's clock was set to, where it was.
    pub clock: Option<OffsetDateTime>,
}

/// What the phone has made.
#[derive(Debug)]
pub struct Prepared {
    /// Its request, read, its own signature verified.
    pub request: SigningRequest,
    /// How long the key took; zero when it was there already.
    pub key_took: Duration,
}

/// What travels so that the phone trusts the server, and what it is shown to judge by.
#[derive(Debug, Clone)]
pub struct ServerTrust {
    /// Roots that the phone lacks.
    pub anchors: Vec<Certificate>,
    /// Intermediates that the server does not send.
    pub intermediates: Vec<Certificate>,
    /// The server's certificates as it sends them, its own first.
    pub presented: Vec<Certificate>,
    /// The name it has to be valid for.
    pub server_name: String,
    /// Sign-in settings.
    pub settings: Settings,
}

/// The phone's proof that it holds the key of a certificate. Made only by a driver that has verified the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Possession {
    certificate: Fingerprint,
}

impl Possession {
    /// Of the certificate whose key signed the challenge.
    pub fn certificate(&self) -> Fingerprint {
        self.certificate
    }
}

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// Nothing else.
    Leave,
    /// The phone signs in now.
    SignIn,
    /// The phone restarts.
    Restart,
}

/// A line of the phone's own sign-in log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LogLine {
    /// Counts up for ever.
    pub index: u32,
    /// By the phone's clock.
    #[serde(with = "time::serde::rfc3339::option")]
    pub time: Option<OffsetDateTime>,
    /// In the phone's words.
    pub text: String,
}

/// What the cable has carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Traffic {
    /// Messages with their answers, session included.
    pub exchanges: u64,
    /// USB transfers of all kinds.
    pub transfers: u64,
    /// Bytes to the phone.
    pub bytes_out: u64,
    /// Bytes from the phone.
    pub bytes_in: u64,
}
