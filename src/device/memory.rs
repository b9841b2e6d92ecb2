//! What a phone holds that survives a power cut, and how it is kept.

use crate::phone::tether::messages::{SettingsMap, decode, encode};
use aws_lc_rs::digest;
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

/// Keeps a phone's memory: complete as it was or complete as it is to be, whenever the power goes.
pub trait Storage: Send {
    /// What is held.
    fn read(&self) -> Memory;

    /// Holds `memory` instead; when this returns, a power cut no longer undoes it.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    fn write(&mut self, memory: &Memory) -> Result<(), WriteError>;

    /// Keeps how far the phone's clock is from the computer's that it runs on, seconds.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    fn keep_clock(&mut self, offset_seconds: i64) -> Result<(), WriteError>;
}

/// Why nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The power went: the phone says nothing more.
    #[error("the power went")]
    PowerLost,
    /// The storage cannot be written: what was held before is still held.
    #[error("{0}")]
    Failed(String),
    /// Whether it was written is known only after the next start: the phone says nothing more.
    #[error("{0}")]
    Unknown(String),
}

/// Everything that survives a power cut.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Memory {
    /// The identity in use.
    #[n(0)]
    pub identity: Option<StoredIdentity>,
    /// Trust anchors that were installed, DER.
    #[n(1)]
    pub installed_anchors: Vec<ByteVec>,
    /// Sign-in settings in use.
    #[n(2)]
    pub settings: Option<SettingsMap>,
    /// The transaction that is not finished.
    #[n(3)]
    pub pending: Option<Pending>,
    /// The transaction that was committed last.
    #[n(4)]
    pub committed: Option<ByteArray<16>>,
    /// Hosts that had consent, the newest last.
    #[n(5)]
    pub known_hosts: Vec<ByteArray<32>>,
    /// How often a wrong administrator code came in a row.
    #[n(6)]
    pub wrong_codes: u8,
}

/// An identity with its key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StoredIdentity {
    /// `user@domain`.
    #[n(0)]
    pub user: String,
    /// PKCS#8.
    #[n(1)]
    pub key: StoredKey,
    /// DER.
    #[n(2)]
    pub leaf: ByteVec,
    /// DER, in the order they were staged.
    #[n(3)]
    pub intermediates: Vec<ByteVec>,
}

/// A private key. Prints nothing.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct StoredKey {
    /// Kind as on the cable.
    #[n(0)]
    pub kind: u8,
    /// PKCS#8, DER.
    #[n(1)]
    pub pkcs8: ByteVec,
}

impl std::fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredKey(..)")
    }
}

/// A transaction that is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pending {
    /// Chosen by the host.
    #[n(0)]
    pub id: ByteArray<16>,
    /// Whom it is for.
    #[n(1)]
    pub user: String,
    /// The identity to be replaced, by fingerprint.
    #[n(2)]
    pub replaces: Option<ByteArray<32>>,
    /// Key of the host that began it.
    #[n(3)]
    pub host: ByteArray<32>,
    /// What that host calls itself.
    #[n(4)]
    pub host_label: String,
    /// Made by `make-key`.
    #[n(5)]
    pub key: Option<StoredKey>,
    /// PKCS#10 made by `signing-request`.
    #[n(6)]
    pub request: Option<ByteVec>,
    /// Staged leaf.
    #[n(7)]
    pub leaf: Option<ByteVec>,
    /// Staged intermediates.
    #[n(8)]
    pub intermediates: Vec<ByteVec>,
    /// Staged trust anchors.
    #[n(9)]
    pub anchors: Vec<ByteVec>,
    /// Staged settings.
    #[n(10)]
    pub settings: Option<SettingsMap>,
    /// Whether the last check was good and nothing was staged since.
    #[n(11)]
    pub checked: bool,
}

impl Pending {
    /// How far it is, as the protocol counts.
    pub fn step(&self) -> u8 {
        match (self.checked, &self.leaf, &self.request, &self.key) {
            (true, Some(_), ..) => 4,
            (_, Some(_), ..) => 3,
            (_, _, Some(_), _) => 2,
            (_, _, _, Some(_)) => 1,
            _ => 0,
        }
    }
}

/// Bytes of a record before its memory: sequence and SHA-256.
pub const RECORD_HEAD_BYTES: usize = 8 + 32;

/// A memory as a storage keeps it: the later of two has the higher sequence, and one that was torn says so.
pub fn record(sequence: u64, memory: &Memory) -> Vec<u8> {
    let memory = encode(memory);
    let mut bytes = sequence.to_be_bytes().to_vec();
    bytes.extend(digest::digest(&digest::SHA256, &[&bytes, memory.as_slice()].concat()).as_ref());
    bytes.extend(&memory);
    bytes
}

/// Reads what [`record`] wrote, whole and unchanged.
pub fn read_record(bytes: &[u8]) -> Option<(u64, Memory)> {
    let (head, memory) = bytes.split_at_checked(RECORD_HEAD_BYTES)?;
    let (sequence, sum) = head.split_at(8);
    let found = digest::digest(&digest::SHA256, &[sequence, memory].concat());
    if found.as_ref() != sum {
        return None;
    }
    Some((u64::from_be_bytes(sequence.try_into().ok()?), decode(memory).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_that_was_cut_or_changed_is_not_read(at in 0usize..200, to in any::<u8>(), foreign in proptest::collection::vec(any::<u8>(), 0..100)) {
            let memory = Memory { wrong_codes: 3, known_hosts: vec![[7; 32].into()], ..Memory::default() };
            let whole = record(5, &memory);
            prop_assert_eq!(read_record(&whole), Some((5, memory)));
            let at = at % whole.len();
            prop_assert_eq!(read_record(&whole[..at]), None);
            let mut changed = whole.clone();
            changed[at] = to;
            prop_assert_eq!(read_record(&changed).is_some(), changed == whole);
            prop_assert_eq!(read_record(&foreign), None);
        }
    }
}
