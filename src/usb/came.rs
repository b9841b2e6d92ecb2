//! What has come on an IN endpoint and nobody has taken yet.
//!
//! A read that misses its deadline, or whose future is dropped, may have brought data all the same: that is for the next
//! read, in the order of the bus. A transfer of the bus ends with a short packet; one that is merely full goes on.

use std::collections::VecDeque;

/// What has come on one endpoint.
#[derive(Debug, Default)]
pub(super) struct Came {
    /// Transfers that a short packet has ended.
    whole: VecDeque<Vec<u8>>,
    /// The beginning of the next.
    begun: Vec<u8>,
}

impl Came {
    /// Adds what one request has brought; `is_short` where a short packet ended it.
    pub(super) fn add(&mut self, data: Vec<u8>, is_short: bool) {
        if self.begun.is_empty() {
            self.begun = data;
        } else {
            self.begun.extend(data);
        }
        if is_short {
            self.whole.push_back(std::mem::take(&mut self.begun));
        }
    }

    /// Takes one transfer of at most `asked` bytes, where one has ended or fills that.
    pub(super) fn take(&mut self, asked: usize) -> Option<Vec<u8>> {
        match self.whole.front_mut() {
            Some(front) if front.len() > asked => Some(split(front, asked)),
            Some(_) => self.whole.pop_front(),
            None if self.begun.len() >= asked => Some(split(&mut self.begun, asked)),
            None => None,
        }
    }

    /// How much of the next transfer has come: whole packets.
    pub(super) fn begun(&self) -> usize {
        self.begun.len()
    }

    /// Forgets the transfer that is under way: the device has broken it off.
    pub(super) fn break_off(&mut self) {
        self.begun.clear();
    }
}

fn split(data: &mut Vec<u8>, at: usize) -> Vec<u8> {
    let rest = data.split_off(at);
    std::mem::replace(data, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_transfer_ends_with_a_short_packet_or_when_it_is_full() {
        let mut came = Came::default();
        assert_eq!(came.take(1024), None);
        came.add(vec![1; 512], false);
        assert_eq!((came.take(1024), came.begun()), (None, 512));
        came.add(vec![2; 10], true);
        assert_eq!(came.take(1024).unwrap().len(), 522);
        came.add(vec![3; 1024], false);
        assert_eq!(came.take(512).unwrap().len(), 512);
        assert_eq!(came.take(512).unwrap().len(), 512);
        came.add(Vec::new(), true);
        assert_eq!(came.take(512), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_doubled_whatever_was_asked_for(
            parts in proptest::collection::vec((0..2000_usize, any::<bool>()), 0..20),
            asked in proptest::collection::vec(1..3000_usize, 1..60),
        ) {
            let mut came = Came::default();
            let (mut sent, mut taken): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
            let mut asked = asked.into_iter().cycle();
            for (length, is_short) in parts {
                let from = sent.len();
                let data: Vec<u8> = (from..from + length).map(|at| at as u8).collect();
                sent.extend(&data);
                came.add(data, is_short);
                if let Some(data) = came.take(asked.next().unwrap()) {
                    taken.extend(data);
                }
            }
            while let Some(data) = came.take(asked.next().unwrap()) {
                taken.extend(data);
            }
            prop_assert_eq!(&taken[..], &sent[..taken.len()]);
            prop_assert_eq!(taken.len() + came.begun(), sent.len());
        }
    }
}
