//! What a broken or hostile phone does.

use super::Shared;
use crate::credential::KeyKind;
use crate::device::{KeyMaker, Nature, StoredKey, keys, signing_request};
use crate::phone::tether::messages::Operation;
use std::sync::{Arc, Mutex};

/// What a broken or hostile phone does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lies {
    /// It says that it committed, and keeps the old identity.
    pub commits_nothing: bool,
    /// It signs proofs with another key.
    pub proves_with_another_key: bool,
    /// It reveals another nonce than it committed to.
    pub breaks_its_commitment: bool,
    /// It installs no anchors and says that it did.
    pub drops_anchors: bool,
    /// It endorses with another key.
    pub endorses_with_another_key: bool,
    /// It signs sign-ins with another key.
    pub signs_in_with_another_key: bool,
    /// It signs its device proof over another session.
    pub replays_device_proof: bool,
    /// Its signing request names somebody else.
    pub names_another_user: bool,
    /// It cannot take back a packet that it has armed: one of before the reset comes first, and a zero-length packet.
    pub keeps_an_armed_packet: bool,
    /// Its answers do not decrypt.
    pub garbles_answers: bool,
    /// Its signing request holds another key than it says it made.
    pub requests_another_key: bool,
    /// Its signing request's own signature does not fit.
    pub signs_request_badly: bool,
    /// Its power goes in the middle of writing what it commits, once.
    pub loses_power_at_commit: bool,
    /// It does not do this operation, by its name in the protocol.
    pub refuses: Option<&'static str>,
}

/// A phone that lies as it was told to last.
pub(super) struct Liar(pub(super) Arc<Mutex<Lies>>);

impl Nature for Liar {
    fn refuses(&self, operation: &Operation) -> bool {
        self.0.held().refuses == Some(operation.name())
    }

    fn reveal(&self, committed: [u8; 32]) -> [u8; 32] {
        if self.0.held().breaks_its_commitment { [0; 32] } else { committed }
    }

    fn session_to_prove(&self, handshake_hash: [u8; 32]) -> [u8; 32] {
        if self.0.held().replays_device_proof { [0; 32] } else { handshake_hash }
    }

    fn key_to_prove_with(&self, key: StoredKey) -> StoredKey {
        match self.0.held().proves_with_another_key {
            true => StoredKey { kind: 3, pkcs8: keys::make(KeyKind::P256).to_vec().into() },
            false => key,
        }
    }

    fn key_to_endorse_with(&self, key: StoredKey, keys: &KeyMaker) -> StoredKey {
        match self.0.held().endorses_with_another_key {
            true => StoredKey { pkcs8: keys(KeyKind::Rsa2048).to_vec().into(), ..key },
            false => key,
        }
    }

    fn key_to_sign_in_with(&self, key: StoredKey, keys: &KeyMaker) -> StoredKey {
        match self.0.held().signs_in_with_another_key {
            true => StoredKey { pkcs8: keys(kind_of(&key)).to_vec().into(), ..key },
            false => key,
        }
    }

    fn signing_request(&self, key: &StoredKey, common_name: &str, keys: &KeyMaker) -> Option<Vec<u8>> {
        let lies = *self.0.held();
        let common_name = if lies.names_another_user { "mallory@contoso.example" } else { common_name };
        let another =
            lies.requests_another_key.then(|| StoredKey { kind: key.kind, pkcs8: keys(kind_of(key)).to_vec().into() });
        let mut der = signing_request(another.as_ref().unwrap_or(key), common_name)?;
        if lies.signs_request_badly
            && let Some(last) = der.last_mut()
        {
            *last ^= 1;
        }
        Some(der)
    }
}

fn kind_of(key: &StoredKey) -> KeyKind {
    match key.kind {
        2 => KeyKind::Rsa3072,
        3 => KeyKind::P256,
        _ => KeyKind::Rsa2048,
    }
}
