//! Where a lying phone departs from what it should do. An honest one departs nowhere.

use super::operations::pkcs10;
use super::{KeyMaker, StoredKey};
use crate::phone::tether::messages::Operation;

/// What a phone does at the points where the lab can make it lie. Each is honest unless it is written otherwise, so that
/// a phone for real use has no code for anything else.
pub trait Nature: Send {
    /// Whether it does not do this operation, for no reason.
    fn refuses(&self, _operation: &Operation) -> bool {
        false
    }

    /// The nonce that it reveals for the one that it committed to.
    fn reveal(&self, committed: [u8; 32]) -> [u8; 32] {
        committed
    }

    /// The session that it signs its device proof over.
    fn session_to_prove(&self, handshake_hash: [u8; 32]) -> [u8; 32] {
        handshake_hash
    }

    /// The key that it proves its identity with.
    fn key_to_prove_with(&self, key: StoredKey) -> StoredKey {
        key
    }

    /// The key that it signs ticket requests with.
    fn key_to_endorse_with(&self, key: StoredKey, _keys: &KeyMaker) -> StoredKey {
        key
    }

    /// The key that it signs handshakes with.
    fn key_to_sign_in_with(&self, key: StoredKey, _keys: &KeyMaker) -> StoredKey {
        key
    }

    /// The signing request for this key and name, DER; `None` where the key is damaged.
    fn signing_request(&self, key: &StoredKey, common_name: &str, _keys: &KeyMaker) -> Option<Vec<u8>> {
        signing_request(key, common_name)
    }
}

/// The truth everywhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Honest;

impl Nature for Honest {}

/// The true signing request for this key and name, DER; `None` where the key is damaged.
pub fn signing_request(key: &StoredKey, common_name: &str) -> Option<Vec<u8>> {
    pkcs10(key, common_name)
}
