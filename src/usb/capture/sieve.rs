//! Of all the traffic on a bus, that of one port: of the device that is there, of what is plugged in behind it, and of
//! whatever comes to that port later under another number.

use super::Packet;
use std::collections::{BTreeSet, VecDeque};

/// The most packets that wait to be assigned.
const MOST_HELD: usize = 8192;

/// Sorts packets. It does no input and output: whoever uses it says which numbers are where.
#[derive(Debug)]
pub struct Sieve {
    bus: u16,
    ours: BTreeSet<u8>,
    others: BTreeSet<u8>,
    /// Packets of numbers that are not known yet, and of number 0, by which a device is spoken to before it has one.
    held: VecDeque<Packet>,
}

impl Sieve {
    /// For a port on this bus.
    pub fn new(bus: u16) -> Self {
        Self { bus, ours: BTreeSet::new(), others: BTreeSet::new(), held: VecDeque::new() }
    }

    /// Takes a packet and gives it back where it is one of the port's; one that cannot be assigned yet is held.
    pub fn offer(&mut self, packet: Packet) -> Option<Packet> {
        let device = packet.device();
        if packet.bus() != self.bus || self.others.contains(&device) {
            return None;
        }
        if self.ours.contains(&device) {
            return Some(packet);
        }
        if self.held.len() >= MOST_HELD {
            self.held.pop_front();
        }
        self.held.push_back(packet);
        None
    }

    /// Whether packets wait to be assigned.
    pub fn waits(&self) -> bool {
        !self.held.is_empty()
    }

    /// Says which numbers are at the port now, and which elsewhere on the bus; gives what was held and is the port's.
    pub fn settle(&mut self, ours: &BTreeSet<u8>, others: &BTreeSet<u8>) -> Vec<Packet> {
        // A number of a device that has left stays the port's until somebody else has it.
        self.ours.extend(ours);
        self.ours.retain(|number| !others.contains(number));
        self.others.clone_from(others);
        let (mut found, mut nameless) = (Vec::new(), Vec::new());
        while let Some(packet) = self.held.pop_front() {
            let device = packet.device();
            match device {
                0 => nameless.push(packet),
                // It was spoken to without a number just before.
                _ if self.ours.contains(&device) => {
                    found.append(&mut nameless);
                    found.push(packet);
                }
                _ if self.others.contains(&device) => nameless.clear(),
                _ => {
                    nameless.push(packet);
                    break;
                }
            }
        }
        nameless.into_iter().rev().for_each(|packet| self.held.push_front(packet));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::Header;
    use super::*;
    use std::time::Duration;

    fn packet(bus: u16, device: u8, id: u64) -> Packet {
        let time = Duration::from_secs(id);
        let (event, transfer, endpoint, status, length, setup) = (b'S', 2, 0, 0, 0, None);
        Packet::made(&Header { id, event, transfer, endpoint, device, bus, time, status, length, setup }, &[])
    }

    fn set(numbers: &[u8]) -> BTreeSet<u8> {
        numbers.iter().copied().collect()
    }

    fn times(packets: &[Packet]) -> Vec<u64> {
        packets.iter().map(|packet| packet.time().as_secs()).collect()
    }

    #[test]
    fn only_the_port_counts() {
        let mut sieve = Sieve::new(1);
        sieve.settle(&set(&[5]), &set(&[1, 2]));
        assert!(sieve.offer(packet(1, 5, 1)).is_some());
        assert!(sieve.offer(packet(2, 5, 2)).is_none(), "another bus");
        assert!(sieve.offer(packet(1, 2, 3)).is_none(), "another device");
        assert!(!sieve.waits());
    }

    #[test]
    fn what_comes_back_under_another_number_is_kept_from_its_first_packet_on() {
        let mut sieve = Sieve::new(1);
        sieve.settle(&set(&[5]), &set(&[1, 2]));
        for (device, id) in [(0, 1), (0, 2), (6, 3)] {
            assert!(sieve.offer(packet(1, device, id)).is_none());
        }
        assert!(sieve.settle(&set(&[]), &set(&[1, 2])).is_empty(), "nobody knows yet whose it is");
        assert!(sieve.offer(packet(1, 6, 4)).is_none());
        assert_eq!(times(&sieve.settle(&set(&[6]), &set(&[1, 2]))), [1, 2, 3, 4]);
        assert!(sieve.offer(packet(1, 6, 5)).is_some());
        assert!(sieve.offer(packet(1, 5, 6)).is_some(), "what ends late");
    }

    #[test]
    fn what_is_plugged_in_elsewhere_is_left_out_with_its_first_packets() {
        let mut sieve = Sieve::new(1);
        sieve.settle(&set(&[5]), &set(&[1]));
        for (device, id) in [(0, 1), (7, 2)] {
            sieve.offer(packet(1, device, id));
        }
        assert!(sieve.settle(&set(&[5]), &set(&[1, 7])).is_empty());
        assert!(!sieve.waits());
        // Numbers are given again after 127.
        sieve.settle(&set(&[6]), &set(&[1, 5, 7]));
        assert!(sieve.offer(packet(1, 5, 3)).is_none());
    }
}
