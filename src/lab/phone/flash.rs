//! The virtual phone's flash: two slots written in turn, so that a power cut at any step leaves one of them whole.

use super::{Lies, Shared};
use crate::device::memory::{read_record, record};
use crate::device::{Memory, Storage, WriteError};
use std::sync::{Arc, Mutex};

/// Two slots and a power supply.
#[derive(Debug, Default)]
pub(super) struct Flash {
    slots: [Vec<u8>; 2],
    steps: u64,
    power_ends_at: Option<u64>,
}

impl Flash {
    /// A flash that holds `memory`.
    pub(super) fn new(memory: &Memory) -> Self {
        let mut flash = Self::default();
        flash.write(memory).expect("the power is on");
        flash.steps = 0;
        flash
    }

    /// Reads the newest whole slot, as the phone does when it starts.
    pub(super) fn read(&self) -> Memory {
        self.newest().map(|(_, _, memory)| memory).unwrap_or_default()
    }

    /// Writes `memory` to the slot that is not in use: erase, first half, second half. Each is a step at which the power may go.
    pub(super) fn write(&mut self, memory: &Memory) -> Result<(), WriteError> {
        let (slot, sequence) = self.newest().map_or((0, 1), |(slot, sequence, _)| (1 - slot, sequence + 1));
        let bytes = record(sequence, memory);
        for end in [0, bytes.len() / 2, bytes.len()] {
            self.step()?;
            self.slots[slot] = bytes[..end].to_vec();
        }
        Ok(())
    }

    /// Steps written since the phone was made.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Cuts the power instead of step `at` (counted from 1 since the phone was made), once.
    pub(super) fn cut_power_at(&mut self, at: Option<u64>) {
        self.power_ends_at = at;
    }

    fn step(&mut self) -> Result<(), WriteError> {
        self.steps += 1;
        if self.power_ends_at == Some(self.steps) {
            self.power_ends_at = None;
            return Err(WriteError::PowerLost);
        }
        Ok(())
    }

    fn newest(&self) -> Option<(usize, u64, Memory)> {
        let whole = |slot: usize| {
            let (sequence, memory) = read_record(&self.slots[slot])?;
            Some((slot, sequence, memory))
        };
        [whole(0), whole(1)].into_iter().flatten().max_by_key(|(_, sequence, _)| *sequence)
    }
}

/// The flash as the phone uses it, with what a liar keeps to itself.
pub(super) struct FlashStorage {
    pub(super) flash: Arc<Mutex<Flash>>,
    pub(super) lies: Arc<Mutex<Lies>>,
}

impl Storage for FlashStorage {
    fn read(&self) -> Memory {
        self.flash.held().read()
    }

    fn write(&mut self, memory: &Memory) -> Result<(), WriteError> {
        let (mut flash, mut lies) = (self.flash.held(), self.lies.held());
        let commits = memory.committed.is_some() && memory.committed != flash.read().committed;
        if commits && lies.commits_nothing {
            return Ok(());
        }
        if commits && std::mem::take(&mut lies.loses_power_at_commit) {
            let next = flash.steps() + 2;
            flash.cut_power_at(Some(next));
        }
        let mut memory = memory.clone();
        if lies.drops_anchors
            && let Some(pending) = &mut memory.pending
        {
            pending.anchors.clear();
        }
        flash.write(&memory)
    }

    /// Its clock has a battery of its own.
    fn keep_clock(&mut self, _offset_seconds: i64) -> Result<(), WriteError> {
        Ok(())
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

            assert_eq!(flash.write(&new), Err(WriteError::PowerLost));
            assert_eq!(flash.read(), old);

            flash.write(&new).unwrap();
            assert_eq!(flash.read(), new);
        }
    }
}
