//! Messages of the Tether Device Protocol: CBOR with integer keys (docs/tether-protocol.md, sections 5 to 8).
//!
//! The same types serve the host and the lab's phone. Names of fields are the page's names; keys are on the fields.

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Decoder, Encode, Encoder};

/// The protocol version described by the page.
pub const VERSION: u8 = 1;

/// The payload of the second handshake message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HelloAnswer {
    /// The version chosen by the phone.
    #[n(0)]
    pub version: u8,
    /// The longest frame body the phone takes, bytes.
    #[n(1)]
    pub max_body_bytes: u32,
}

/// The payload of the third handshake message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Open {
    /// What the phone calls this host on its screen and in its log, at most 32 characters.
    #[n(0)]
    pub host_label: String,
    /// Commitment to the host's nonce of the short code.
    #[n(1)]
    pub commitment: ByteArray<32>,
}

/// The phone's first encrypted message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OpenAnswer {
    /// Who the phone is.
    #[n(0)]
    pub identity: IdentityMap,
    /// Commitment to the phone's nonce of the short code.
    #[n(1)]
    pub commitment: ByteArray<32>,
    /// Proof by the factory key, when the phone has one.
    #[n(2)]
    pub proof: Option<DeviceProof>,
}

/// What a phone says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct IdentityMap {
    /// Maker, as printed on the phone.
    #[n(0)]
    pub maker: String,
    /// Model.
    #[n(1)]
    pub model: String,
    /// Serial number, a claim.
    #[n(2)]
    pub serial: String,
    /// MAC address of its network port.
    #[n(3)]
    pub mac: ByteArray<6>,
    /// Firmware version.
    #[n(4)]
    pub firmware: String,
    /// The UUID that its REGISTER carries in `+sip.instance`, most significant byte first.
    #[n(5)]
    pub device: ByteArray<16>,
    /// Bits: see [`capability`].
    #[n(6)]
    pub capabilities: u32,
    /// Key kinds: 1 RSA 2048, 2 RSA 3072, 3 P-256.
    #[n(7)]
    pub key_kinds: Vec<u8>,
    /// The longest certificate it stores, bytes of DER.
    #[n(8)]
    pub max_certificate_bytes: u32,
    /// How many intermediates go with a leaf.
    #[n(9)]
    pub max_intermediates: u8,
    /// How many more trust anchors it can store.
    #[n(10)]
    pub free_anchors: u8,
    /// What it wants before it is changed: 0 nothing, 1 a key pressed, 2 the administrator code.
    #[n(11)]
    pub consent: u8,
    /// Whether it remembers this host's key, so that no consent is wanted again.
    #[n(12)]
    pub host_known: bool,
}

/// Bits of [`IdentityMap::capabilities`].
pub mod capability {
    /// Has a light to identify it by.
    pub const LIGHT: u32 = 1 << 0;
    /// Has a sound to identify it by.
    pub const SOUND: u32 = 1 << 1;
    /// Has a screen: can show the short code and a text.
    pub const SCREEN: u32 = 1 << 2;
    /// Has keys: a person can agree or decline.
    pub const KEYS: u32 = 1 << 3;
    /// Its clock can be set over the cable.
    pub const CLOCK: u32 = 1 << 4;
    /// Can sign in on command.
    pub const SIGN_IN: u32 = 1 << 5;
    /// Can restart on command.
    pub const RESTART: u32 = 1 << 6;
    /// Has a sign-in log to read.
    pub const LOG: u32 = 1 << 7;
    /// Signs a TLS 1.2 client handshake for the sign-in rehearsal.
    pub const HANDSHAKE: u32 = 1 << 8;
}

/// The factory key's signature over the labelled handshake hash.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DeviceProof {
    /// Factory certificate first, then its issuers, DER.
    #[n(0)]
    pub chain: Vec<ByteVec>,
    /// 1 RSA PKCS#1 v1.5 with SHA-256, 2 ECDSA P-256 with SHA-256 (ASN.1).
    #[n(1)]
    pub algorithm: u8,
    /// The signature.
    #[n(2)]
    pub signature: ByteVec,
}

/// Signature algorithm 1: RSA PKCS#1 v1.5 with SHA-256.
pub const RSA_SHA256: u8 = 1;
/// Signature algorithm 2: ECDSA on P-256 with SHA-256, ASN.1 form.
pub const ECDSA_SHA256: u8 = 2;

/// One thing asked of the phone. A request has 1 to 16; they run in order until one fails.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Operation {
    /// Clock, identity, pending and last transaction.
    #[n(1)]
    #[cbor(map)]
    State {},
    /// A page of the trust anchors.
    #[n(2)]
    #[cbor(map)]
    Anchors {
        /// Index of the first wanted.
        #[n(0)]
        start: u16,
    },
    /// One stored certificate.
    #[n(3)]
    #[cbor(map)]
    ReadCertificate {
        /// SHA-256 of its DER.
        #[n(0)]
        fingerprint: ByteArray<32>,
    },
    /// Sets the clock.
    #[n(4)]
    #[cbor(map)]
    SetClock {
        /// Seconds since 1970-01-01 UTC.
        #[n(0)]
        time: i64,
    },
    /// Reveals the host's nonce; the phone shows the short code and reveals its own.
    #[n(5)]
    #[cbor(map)]
    ShowCode {
        /// The nonce committed to when the session was opened.
        #[n(0)]
        nonce: ByteArray<32>,
    },
    /// Asks for consent: by a key pressed at the phone, or by the administrator code.
    #[n(6)]
    #[cbor(map)]
    Consent {
        /// The administrator code; absent: somebody is to press a key.
        #[n(0)]
        code: Option<String>,
    },
    /// Light, sound, screen: which phone is it?
    #[n(7)]
    #[cbor(map)]
    Attention {
        /// How long, 0 to 120 seconds; 0 ends it.
        #[n(0)]
        seconds: u8,
    },
    /// A page of the phone's own sign-in log.
    #[n(8)]
    #[cbor(map)]
    Log {
        /// Index of the first wanted; entries keep their index.
        #[n(0)]
        start: u32,
    },
    /// Proves possession of the identity's key.
    #[n(9)]
    #[cbor(map)]
    Prove {
        /// Made by the host for this proof.
        #[n(0)]
        nonce: ByteArray<32>,
    },
    /// Signs a TLS 1.2 client handshake after having read it.
    #[n(10)]
    #[cbor(map)]
    SignHandshake {
        /// All handshake messages from ClientHello to ClientKeyExchange, concatenated.
        #[n(0)]
        transcript: ByteVec,
        /// TLS SignatureScheme: 0x0401 rsa_pkcs1_sha256, 0x0403 ecdsa_secp256r1_sha256.
        #[n(1)]
        scheme: u16,
    },
    /// Signs in at the registrar now.
    #[n(11)]
    #[cbor(map)]
    SignIn {},
    /// Restarts the phone after it has answered.
    #[n(12)]
    #[cbor(map)]
    Restart {},
    /// Ends the session.
    #[n(13)]
    #[cbor(map)]
    Leave {},
    /// Removes the identity with its key.
    #[n(14)]
    #[cbor(map)]
    RemoveIdentity {
        /// Of the identity that the host means.
        #[n(0)]
        fingerprint: ByteArray<32>,
    },
    /// Begins or finds again the transaction `id`.
    #[n(32)]
    #[cbor(map)]
    Begin {
        /// Chosen by the host, random.
        #[n(0)]
        id: ByteArray<16>,
        /// `user@domain`.
        #[n(1)]
        user: String,
        /// Fingerprint of the identity that the host has seen and means to replace; absent: it saw none.
        #[n(2)]
        replaces: Option<ByteArray<32>>,
    },
    /// Makes the transaction's key; when it has one, keeps it.
    #[n(33)]
    #[cbor(map)]
    MakeKey {
        /// The transaction.
        #[n(0)]
        id: ByteArray<16>,
        /// 1 RSA 2048, 2 RSA 3072, 3 P-256.
        #[n(1)]
        kind: u8,
    },
    /// Signs the PKCS#10; when there is one already, gives that one.
    #[n(34)]
    #[cbor(map)]
    SigningRequest {
        /// The transaction.
        #[n(0)]
        id: ByteArray<16>,
        /// The one CN of the subject.
        #[n(1)]
        common_name: String,
        /// 0 SHA-256, 1 SHA-1.
        #[n(2)]
        hash: u8,
    },
    /// Stores one certificate for the transaction; the same one again is no error.
    #[n(35)]
    #[cbor(map)]
    Stage {
        /// The transaction.
        #[n(0)]
        id: ByteArray<16>,
        /// 0 leaf, 1 intermediate, 2 server trust anchor.
        #[n(1)]
        role: u8,
        /// SHA-256 of `certificate`.
        #[n(2)]
        fingerprint: ByteArray<32>,
        /// DER.
        #[n(3)]
        certificate: ByteVec,
    },
    /// Stores the sign-in settings for the transaction.
    #[n(36)]
    #[cbor(map)]
    Settings {
        /// The transaction.
        #[n(0)]
        id: ByteArray<16>,
        /// What the phone will go by after the commit.
        #[n(1)]
        settings: SettingsMap,
    },
    /// Has the phone judge what is staged.
    #[n(37)]
    #[cbor(map)]
    Check {
        /// The transaction.
        #[n(0)]
        id: ByteArray<16>,
        /// The server's certificates as it sends them, its own first, DER; empty: the server chain is not judged.
        #[n(1)]
        server_chain: Vec<ByteVec>,
        /// The name that the server's certificate has to be valid for.
        #[n(2)]
        server_name: String,
    },
    /// Makes all that is staged the phone's own, at once.
    #[n(38)]
    #[cbor(map)]
    Commit {
        /// The transaction.
        #[n(0)]
        id: ByteArray<16>,
    },
    /// Forgets the transaction with its key.
    #[n(39)]
    #[cbor(map)]
    Abort {
        /// The transaction.
        #[n(0)]
        id: ByteArray<16>,
    },
}

impl Operation {
    /// The operation's word in messages, as the page names it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::State {} => "state",
            Self::Anchors { .. } => "anchors",
            Self::ReadCertificate { .. } => "read-certificate",
            Self::SetClock { .. } => "set-clock",
            Self::ShowCode { .. } => "show-code",
            Self::Consent { .. } => "consent",
            Self::Attention { .. } => "attention",
            Self::Log { .. } => "log",
            Self::Prove { .. } => "prove",
            Self::SignHandshake { .. } => "sign-handshake",
            Self::SignIn {} => "sign-in",
            Self::Restart {} => "restart",
            Self::Leave {} => "leave",
            Self::RemoveIdentity { .. } => "remove-identity",
            Self::Begin { .. } => "begin",
            Self::MakeKey { .. } => "make-key",
            Self::SigningRequest { .. } => "signing-request",
            Self::Stage { .. } => "stage",
            Self::Settings { .. } => "settings",
            Self::Check { .. } => "check",
            Self::Commit { .. } => "commit",
            Self::Abort { .. } => "abort",
        }
    }
}

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

/// Answer to [`Operation::State`].
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
    /// The identity it will replace, as [`Operation::Begin`] said.
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

/// Answer to [`Operation::ReadCertificate`], and to [`Operation::SigningRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DerMap {
    /// The structure.
    #[n(0)]
    pub der: ByteVec,
}

/// Answer to [`Operation::ShowCode`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Revealed {
    /// The nonce that the phone had committed to.
    #[n(0)]
    pub nonce: ByteArray<32>,
}

/// Answer to [`Operation::Log`].
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

/// Answer to [`Operation::Prove`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PossessionMap {
    /// Of the certificate whose key signed.
    #[n(0)]
    pub fingerprint: ByteArray<32>,
    /// [`RSA_SHA256`] or [`ECDSA_SHA256`].
    #[n(1)]
    pub algorithm: u8,
    /// Over the labelled handshake hash, nonce and fingerprint.
    #[n(2)]
    pub signature: ByteVec,
}

/// Answer to [`Operation::SignHandshake`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SignatureMap {
    /// The signature for CertificateVerify.
    #[n(0)]
    pub signature: ByteVec,
}

/// Answer to [`Operation::MakeKey`].
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

/// Answer to [`Operation::Check`]. A verdict is 0 good, 1 bad, 2 not judged.
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

/// Answer to [`Operation::Commit`].
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
    /// Tries left, with [`code::WRONG_CODE`].
    #[n(1)]
    pub tries_left: Option<u8>,
    /// The pending transaction, with [`code::OTHER_PENDING`].
    #[n(2)]
    pub pending: Option<PendingMap>,
}

/// Error numbers (docs/tether-protocol.md, section 8).
pub mod code {
    #![allow(missing_docs, reason = "the names are the page's; each is explained there")]
    pub const NO_VERSION: u16 = 1;
    pub const BAD_FRAME: u16 = 2;
    pub const TOO_LONG: u16 = 3;
    pub const HANDSHAKE_FAILED: u16 = 4;
    pub const NO_SESSION: u16 = 5;
    pub const NOT_DECRYPTED: u16 = 6;
    pub const BUSY: u16 = 7;
    pub const MALFORMED: u16 = 16;
    pub const UNSUPPORTED: u16 = 17;
    pub const OUT_OF_ORDER: u16 = 18;
    pub const NOT_ACCEPTED: u16 = 19;
    pub const CONSENT_NEEDED: u16 = 32;
    pub const DECLINED: u16 = 33;
    pub const WRONG_CODE: u16 = 34;
    pub const CODE_LOCKED: u16 = 35;
    pub const BROKEN_COMMITMENT: u16 = 36;
    pub const CODE_LATER: u16 = 37;
    pub const OTHER_PENDING: u16 = 48;
    pub const UNKNOWN_TRANSACTION: u16 = 49;
    pub const IDENTITY_CHANGED: u16 = 50;
    pub const KEY_KIND: u16 = 51;
    pub const HASH: u16 = 52;
    pub const WRONG_HASH: u16 = 53;
    pub const UNREADABLE: u16 = 54;
    pub const NO_SPACE: u16 = 55;
    pub const NOT_CHECKED: u16 = 56;
    pub const STORAGE: u16 = 57;
    pub const NO_SUCH: u16 = 58;
    pub const KEY_FAILED: u16 = 59;
    pub const HANDSHAKE_REFUSED: u16 = 64;
    pub const CLOCK_FIXED: u16 = 65;
}

/// An operation as it arrived: one that this version knows, or another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// Known.
    Known(Operation),
    /// The number of an operation of another version.
    Unknown(u32),
}

/// How one operation ended, with the answer still in CBOR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the CBOR map that answers it.
    Done(Vec<u8>),
    /// Not done; this and all later operations of the request changed nothing.
    Failed(u16, Problem),
}

impl Outcome {
    /// Done, with this answer.
    pub fn done(answer: &impl Encode<()>) -> Self {
        Self::Done(encode(answer))
    }

    /// Not done, with this error number and words.
    pub fn failed(code: u16, text: impl Into<String>) -> Self {
        Self::Failed(code, Problem { text: text.into(), tries_left: None, pending: None })
    }
}

/// CBOR of `value`.
pub fn encode(value: &impl Encode<()>) -> Vec<u8> {
    minicbor::to_vec(value).expect("writing to memory does not fail")
}

/// One value and nothing after it.
pub fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, minicbor::decode::Error> {
    let mut decoder = Decoder::new(bytes);
    let value = decoder.decode()?;
    if decoder.position() != bytes.len() {
        return Err(minicbor::decode::Error::message("bytes after the message"));
    }
    Ok(value)
}

/// The most operations in a request.
pub const MAX_OPERATIONS: usize = 16;

/// A request: its operations, in order.
pub fn encode_request(operations: &[Operation]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    encoder.map(1).and_then(|e| e.u8(0)).and_then(|e| e.encode(operations)).expect("writing to memory does not fail");
    encoder.into_writer()
}

/// Reads a request. An operation of another version is kept as its number.
pub fn decode_request(bytes: &[u8]) -> Result<Vec<Arrived>, minicbor::decode::Error> {
    let operations = list_under_zero(bytes, |decoder| {
        let start = decoder.position();
        match decoder.decode::<Operation>() {
            Ok(operation) => Ok(Arrived::Known(operation)),
            Err(error) if error.is_unknown_variant() => {
                decoder.set_position(start);
                pair(decoder)?;
                let number = decoder.u32()?;
                decoder.skip()?;
                Ok(Arrived::Unknown(number))
            }
            Err(error) => Err(error),
        }
    })?;
    if operations.is_empty() || operations.len() > MAX_OPERATIONS {
        return Err(minicbor::decode::Error::message("a request has 1 to 16 operations"));
    }
    Ok(operations)
}

/// An answer: how each operation ended, up to the first that failed.
pub fn encode_answer(outcomes: &[Outcome]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    let head = encoder.map(1).and_then(|e| e.u8(0)).and_then(|e| e.array(outcomes.len() as u64));
    head.expect("writing to memory does not fail");
    for outcome in outcomes {
        let (number, map) = match outcome {
            Outcome::Done(map) => (0, map.clone()),
            Outcome::Failed(number, problem) => (*number, encode(problem)),
        };
        let mut encoder = Encoder::new(&mut bytes);
        encoder.array(2).and_then(|e| e.u16(number)).expect("writing to memory does not fail");
        bytes.extend(map);
    }
    bytes
}

/// Reads an answer.
pub fn decode_answer(bytes: &[u8]) -> Result<Vec<Outcome>, minicbor::decode::Error> {
    list_under_zero(bytes, |decoder| {
        pair(decoder)?;
        let number = decoder.u16()?;
        if number == 0 {
            let start = decoder.position();
            decoder.skip()?;
            let map = bytes.get(start..decoder.position()).unwrap_or_default();
            Ok(Outcome::Done(map.to_vec()))
        } else {
            Ok(Outcome::Failed(number, decoder.decode()?))
        }
    })
}

/// `{ 0: [ item, … ], … }`: the items; other keys are left for later versions.
fn list_under_zero<'b, T>(
    bytes: &'b [u8],
    mut item: impl FnMut(&mut Decoder<'b>) -> Result<T, minicbor::decode::Error>,
) -> Result<Vec<T>, minicbor::decode::Error> {
    let mut decoder = Decoder::new(bytes);
    let keys = decoder.map()?.ok_or_else(indefinite)?;
    let mut items = None;
    for _ in 0..keys {
        if decoder.u32()? != 0 {
            decoder.skip()?;
            continue;
        }
        let count = decoder.array()?.ok_or_else(indefinite)?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(item(&mut decoder)?);
        }
        items = Some(list);
    }
    if decoder.position() != bytes.len() {
        return Err(minicbor::decode::Error::message("bytes after the message"));
    }
    items.ok_or_else(|| minicbor::decode::Error::missing_value(0))
}

fn pair(decoder: &mut Decoder<'_>) -> Result<(), minicbor::decode::Error> {
    match decoder.array()? {
        Some(2) => Ok(()),
        _ => Err(minicbor::decode::Error::message("an array of two is expected")),
    }
}

fn indefinite() -> minicbor::decode::Error {
    minicbor::decode::Error::message("lengths are definite in this protocol")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_operation_is_its_number_and_a_map() {
        assert_eq!(encode(&Operation::State {}), [0x82, 0x01, 0xa0]);
        assert_eq!(encode(&Operation::Attention { seconds: 5 }), [0x82, 0x07, 0xa1, 0x00, 0x05]);
    }

    #[test]
    fn an_operation_of_a_later_version_is_kept_as_its_number_and_the_others_are_read() {
        let request = [0xa1, 0x00, 0x82, 0x82, 0x18, 0xc8, 0xa1, 0x05, 0x61, 0x78, 0x82, 0x01, 0xa0];
        let arrived = decode_request(&request).unwrap();
        assert_eq!(arrived, [Arrived::Unknown(200), Arrived::Known(Operation::State {})]);
    }

    #[test]
    fn keys_of_a_later_version_are_left_alone() {
        let bytes = [0xa3, 0x00, 0x01, 0x01, 0x19, 0x10, 0x00, 0x18, 0x63, 0x80];
        assert_eq!(decode(&bytes).ok(), Some(HelloAnswer { version: 1, max_body_bytes: 4096 }));
    }

    #[test]
    fn an_answer_reads_back_in_order() {
        let outcomes = [
            Outcome::done(&KeyMade { key: [7; 32].into(), took_ms: 3100 }),
            Outcome::failed(code::NO_SPACE, "no room"),
        ];
        assert_eq!(decode_answer(&encode_answer(&outcomes)).unwrap(), outcomes);
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_request(&bytes);
            let _ = decode_answer(&bytes);
            let _ = decode::<OpenAnswer>(&bytes);
            let _ = decode::<State>(&bytes);
            let _ = decode::<AnchorPage>(&bytes);
        }

        #[test]
        fn a_request_with_one_byte_changed_is_read_or_refused(at in 0usize..200, to in any::<u8>()) {
            let id = ByteArray::from([9; 16]);
            let mut bytes = encode_request(&[
                Operation::Begin { id, user: "alice@contoso.example".into(), replaces: Some([3; 32].into()) },
                Operation::MakeKey { id, kind: 1 },
                Operation::SigningRequest { id, common_name: "alice@contoso.example".into(), hash: 0 },
            ]);
            let length = bytes.len();
            bytes[at % length] = to;
            let _ = decode_request(&bytes);
        }
    }
}
