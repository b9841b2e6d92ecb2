//! What can be asked of a phone (docs/tether-protocol.md, section 6).

use super::SettingsMap;
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

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
        start: u64,
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
        seconds: u64,
    },
    /// A page of the phone's own sign-in log.
    #[n(8)]
    #[cbor(map)]
    Log {
        /// Index of the first wanted; entries keep their index.
        #[n(0)]
        start: u64,
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
        scheme: u64,
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
    /// Signs the timestamp of a web ticket request with the identity's key.
    #[n(15)]
    #[cbor(map)]
    Endorse {
        /// Seconds since 1970-01-01 UTC.
        #[n(0)]
        created: i64,
        /// Seconds since 1970-01-01 UTC.
        #[n(1)]
        expires: i64,
        /// 0 SHA-256, 1 SHA-1.
        #[n(2)]
        hash: u64,
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
        kind: u64,
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
        hash: u64,
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
        role: u64,
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
            Self::Endorse { .. } => "endorse",
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
