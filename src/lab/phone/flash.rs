//! The virtual phone's flash: two slots written in turn, so that a power cut at any step leaves one of them whole.

use super::PhoneMaterial;
use crate::phone::tether::messages::{SettingsMap, decode, encode};
use aws_lc_rs::digest;
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

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

/// The power went out at a step of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PowerLost;

/// Two slots and a power supply.
#[derive(Debug, Default)]
pub(crate) struct Flash {
    slots: [Vec<u8>; 2],
    steps: u64,
    power_ends_at: Option<u64>,
}

/// Bytes before the record: sequence and SHA-256.
const HEAD: usize = 8 + 32;

impl Flash {
    /// A flash that holds `material`.
    pub(crate) fn new(material: &PhoneMaterial) -> Self {
        let mut flash = Self::default();
        let memory = Memory { identity: material.identity.clone(), ..Memory::default() };
        flash.write(&memory).expect("the power is on");
        flash.steps = 0;
        flash
    }

    /// Reads the newest whole slot, as the phone does when it starts.
    pub(crate) fn read(&self) -> Memory {
        self.newest().map(|(_, _, memory)| memory).unwrap_or_default()
    }

    /// Writes `memory` to the slot that is not in use: erase, first half, second half. Each is a step at which the power may go.
    pub(crate) fn write(&mut self, memory: &Memory) -> Result<(), PowerLost> {
        let (slot, sequence) = self.newest().map_or((0, 1), |(slot, sequence, _)| (1 - slot, sequence + 1));
        let record = encode(memory);
        let mut bytes = sequence.to_be_bytes().to_vec();
        bytes.extend(digest::digest(&digest::SHA256, &[&bytes, record.as_slice()].concat()).as_ref());
        bytes.extend(&record);

        for end in [0, bytes.len() / 2, bytes.len()] {
            self.step()?;
            self.slots[slot] = bytes[..end].to_vec();
        }
        Ok(())
    }

    /// Steps written since the phone was made.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Cuts the power instead of step `at` (counted from 1 since the phone was made), once.
    pub(crate) fn cut_power_at(&mut self, at: Option<u64>) {
        self.power_ends_at = at;
    }

    fn step(&mut self) -> Result<(), PowerLost> {
        self.steps += 1;
        if self.power_ends_at == Some(self.steps) {
            self.power_ends_at = None;
            return Err(PowerLost);
        }
        Ok(())
    }

    fn newest(&self) -> Option<(usize, u64, Memory)> {
        let whole = |slot: usize| -> Option<(usize, u64, Memory)> {
            let (head, record) = self.slots[slot].split_at_checked(HEAD)?;
            let (sequence, sum) = head.split_at(8);
            let found = digest::digest(&digest::SHA256, &[sequence, record].concat());
            if found.as_ref() != sum {
                return None;
            }
            Some((slot, u64::from_be_bytes(sequence.try_into().ok()?), decode(record).ok()?))
        };
        [whole(0), whole(1)].into_iter().flatten().max_by_key(|(_, sequence, _)| *sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_lost_at_any_step_of_a_write_leaves_the_old_memory_or_the_new_one() {
        let old = Memory { wrong_codes: 1, ..Memory::default() };
        let new = Memory { wrong_codes: 2, ..Memory::default() };
        for step in 1..=3 {
            let mut flash = Flash::default();
            flash.write(&old).unwrap();
            flash.cut_power_at(Some(3 + step));

            assert_eq!(flash.write(&new), Err(PowerLost));
            assert_eq!(flash.read(), old);

            flash.write(&new).unwrap();
            assert_eq!(flash.read(), new);
        }
    }
}
