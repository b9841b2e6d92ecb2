//! What binds a session to two devices and to nothing else: prologue, commitments, short code, and the labelled
//! messages that keys sign (docs/tether-protocol.md, section 4).

use crate::credential::Fingerprint;
use aws_lc_rs::{digest, hmac};
use std::fmt;

/// The Noise protocol of the session.
pub const NOISE: &str = "Noise_XX_25519_ChaChaPoly_SHA256";

/// Which end of the cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The computer.
    Host,
    /// The phone.
    Phone,
}

/// The Noise prologue: the hello's clear bytes are bound by it, so nobody on the cable can lower the version.
pub fn prologue(hello_clear: &[u8]) -> Vec<u8> {
    [b"Tether Device Protocol\0", hello_clear].concat()
}

/// What a side sends before it has seen the other's nonce. The label keeps one side from sending back the other's.
pub fn commitment(side: Side, nonce: &[u8; 32]) -> [u8; 32] {
    let label: &[u8] = match side {
        Side::Host => b"Tether 1 commitment host\0",
        Side::Phone => b"Tether 1 commitment phone\0",
    };
    let digest = digest::digest(&digest::SHA256, &[label, nonce].concat());
    digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// Six digits that both sides show when no factory key vouches for the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortCode(u32);

impl ShortCode {
    /// The code of a session whose two nonces were revealed.
    pub fn new(handshake_hash: &[u8; 32], host_nonce: &[u8; 32], phone_nonce: &[u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, handshake_hash);
        let tag = hmac::sign(&key, &[b"Tether 1 short code\0".as_slice(), host_nonce, phone_nonce].concat());
        let head: [u8; 8] = tag.as_ref()[..8].try_into().expect("an HMAC-SHA256 has 32 bytes");
        Self((u64::from_be_bytes(head) % 1_000_000) as u32)
    }
}

impl fmt::Display for ShortCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// What the factory key signs.
pub fn device_proof_message(handshake_hash: &[u8; 32]) -> Vec<u8> {
    [b"Tether 1 device proof\0".as_slice(), handshake_hash].concat()
}

/// What the identity's key signs to prove that the phone holds it.
pub fn possession_message(handshake_hash: &[u8; 32], nonce: &[u8; 32], certificate: &Fingerprint) -> Vec<u8> {
    [b"Tether 1 possession\0".as_slice(), handshake_hash, nonce, certificate.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_commits_under_its_own_label_and_a_code_depends_on_both_nonces() {
        let (hash, nonce) = ([1; 32], [2; 32]);
        assert_ne!(commitment(Side::Host, &nonce), commitment(Side::Phone, &nonce));
        assert_ne!(ShortCode::new(&hash, &nonce, &[3; 32]), ShortCode::new(&hash, &[3; 32], &nonce));
        assert_eq!(ShortCode::new(&hash, &nonce, &[3; 32]).to_string().len(), 7);
    }
}
