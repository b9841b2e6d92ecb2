//! What is said while a session opens (docs/tether-protocol.md, section 4).

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

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
    /// Bits: see [`super::capability`].
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
    /// Signs a web ticket request with its identity's key.
    pub const ENDORSE: u32 = 1 << 9;
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
