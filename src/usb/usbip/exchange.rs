//! Which transfers are under way on an imported device, and which answer belongs to which: bytes in, bytes out, no I/O.
//!
//! Answers come in any order and are matched by their sequence number alone. A server that answers what is not under
//! way, or with more than was asked for, is not believed in anything else either.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::wire::{self, AnswerKind, HEADER, Submit, Violation};

/// The transfers under way on one connection.
#[derive(Debug)]
pub(super) struct Exchange {
    device: u32,
    last_sequence: u32,
    /// What has come and is not read yet.
    pub(super) incoming: BytesMut,
    /// What is to be sent.
    pub(super) outgoing: BytesMut,
    under_way: BTreeMap<u32, UnderWay>,
    /// Withdrawals under way, by their own sequence number, with that of the transfer they withdraw.
    withdrawals: BTreeMap<u32, u32>,
}

#[derive(Debug, Clone, Copy)]
struct UnderWay {
    endpoint: u8,
    asked: u32,
}

/// What is to be transferred.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// `bEndpointAddress`; for a control request 0x80 or 0x00.
    pub(super) endpoint: u8,
    pub(super) setup: [u8; 8],
    /// What the device is given, on an OUT endpoint.
    pub(super) data: &'a [u8],
    /// How much the device may give, on an IN endpoint.
    pub(super) asked: u32,
    pub(super) interval: u8,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The transfer is complete; `actual` bytes went over, and those of an IN transfer are `data`.
    Completed { sequence: u32, endpoint: u8, status: i32, asked: u32, actual: u32, data: Bytes },
    /// The transfer `target` is withdrawn, or was complete before.
    Withdrawn { target: u32 },
}

impl Request<'_> {
    pub(super) fn is_in(&self) -> bool {
        self.endpoint & 0x80 != 0
    }
}

impl Exchange {
    /// For the device with this number; `incoming` is what the server has sent since the import.
    pub(super) fn new(device: u32, incoming: BytesMut) -> Self {
        Self {
            device,
            last_sequence: 0,
            incoming,
            outgoing: BytesMut::new(),
            under_way: BTreeMap::new(),
            withdrawals: BTreeMap::new(),
        }
    }

    /// Begins a transfer and gives its sequence number.
    pub(super) fn submit(&mut self, request: &Request<'_>) -> u32 {
        let sequence = self.next_sequence();
        let is_in = request.is_in();
        let given = u32::try_from(request.data.len()).expect("a transfer is shorter than 4 GiB");
        let asked = if is_in { request.asked } else { given };
        let submit = Submit {
            sequence,
            device: self.device,
            endpoint: request.endpoint & 0x0f,
            is_in,
            length: asked,
            interval: request.interval,
            setup: request.setup,
        };
        self.outgoing.extend_from_slice(&submit.header());
        self.outgoing.extend_from_slice(request.data);
        self.under_way.insert(sequence, UnderWay { endpoint: request.endpoint, asked });
        sequence
    }

    /// Begins to withdraw a transfer.
    pub(super) fn withdraw(&mut self, target: u32) {
        let sequence = self.next_sequence();
        self.outgoing.extend_from_slice(&wire::unlink(sequence, self.device, target));
        self.withdrawals.insert(sequence, target);
    }

    /// Whether withdrawals are still unanswered: until then, an older transfer might take the data of a newer one.
    pub(super) fn is_withdrawing(&self) -> bool {
        !self.withdrawals.is_empty()
    }

    /// Takes one whole answer from what has come; `None` when more must come first.
    pub(super) fn take(&mut self) -> Result<Option<Event>, Violation> {
        let Some(header) = self.incoming.first_chunk::<HEADER>() else { return Ok(None) };
        let answer = wire::answer(header)?;
        let sequence = answer.sequence;
        match answer.kind {
            AnswerKind::Submitted { status, actual } => {
                let under_way = self.under_way.get(&sequence).copied();
                let UnderWay { endpoint, asked } = under_way.ok_or(Violation::Sequence { sequence })?;
                // Judged before the data has come: nothing is kept for a server that announces more.
                if actual > asked {
                    return Err(Violation::Length { actual, asked });
                }
                let length = if endpoint & 0x80 != 0 { actual as usize } else { 0 };
                if self.incoming.len() < HEADER + length {
                    return Ok(None);
                }
                self.under_way.remove(&sequence);
                let mut frame = self.incoming.split_to(HEADER + length);
                let data = frame.split_off(HEADER).freeze();
                Ok(Some(Event::Completed { sequence, endpoint, status, asked, actual, data }))
            }
            AnswerKind::Unlinked => {
                let target = self.withdrawals.remove(&sequence).ok_or(Violation::Sequence { sequence })?;
                // Status 0 says that the transfer was complete already: its answer has come before this one.
                self.under_way.remove(&target);
                let _ = self.incoming.split_to(HEADER);
                Ok(Some(Event::Withdrawn { target }))
            }
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.last_sequence = self.last_sequence.wrapping_add(1).max(1);
        self.last_sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(asked: u32) -> Request<'static> {
        Request { endpoint: 0x81, setup: [0; 8], data: &[], asked, interval: 0 }
    }

    fn returned(sequence: u32, actual: u32, data: &[u8]) -> Vec<u8> {
        // Device, direction, endpoint and the rest mean nothing in an answer.
        let mut bytes = vec![0xee; HEADER];
        bytes[..4].copy_from_slice(&3_u32.to_be_bytes());
        bytes[4..8].copy_from_slice(&sequence.to_be_bytes());
        bytes[20..24].fill(0);
        bytes[24..28].copy_from_slice(&actual.to_be_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn answers_are_matched_by_their_number_whatever_their_order() {
        let mut exchange = Exchange::new(1, BytesMut::new());
        let (first, second) = (exchange.submit(&read(4)), exchange.submit(&read(4)));
        exchange.incoming.extend(returned(second, 2, b"22"));
        exchange.incoming.extend(returned(first, 1, b"1"));
        let taken = |event| match event {
            Event::Completed { sequence, data, .. } => (sequence, data.to_vec()),
            Event::Withdrawn { .. } => panic!("nothing was withdrawn"),
        };
        assert_eq!(taken(exchange.take().unwrap().unwrap()), (second, b"22".to_vec()));
        assert_eq!(taken(exchange.take().unwrap().unwrap()), (first, b"1".to_vec()));
        assert_eq!(exchange.take(), Ok(None));
    }

    #[test]
    fn an_answer_to_nothing_or_given_twice_is_a_violation() {
        let mut exchange = Exchange::new(1, BytesMut::new());
        let sequence = exchange.submit(&read(4));
        exchange.incoming.extend(returned(sequence, 0, b""));
        exchange.incoming.extend(returned(sequence, 0, b""));
        assert!(exchange.take().unwrap().is_some());
        assert_eq!(exchange.take(), Err(Violation::Sequence { sequence }));
    }

    #[test]
    fn more_than_was_asked_for_is_refused_before_it_has_come() {
        let mut exchange = Exchange::new(1, BytesMut::new());
        let sequence = exchange.submit(&read(512));
        exchange.incoming.extend(returned(sequence, 513, b""));
        assert_eq!(exchange.take(), Err(Violation::Length { actual: 513, asked: 512 }));

        let mut exchange = Exchange::new(1, BytesMut::new());
        let sequence = exchange.submit(&Request { endpoint: 1, data: b"abc", ..read(0) });
        exchange.incoming.extend(returned(sequence, u32::MAX, b""));
        assert_eq!(exchange.take(), Err(Violation::Length { actual: u32::MAX, asked: 3 }));
    }

    #[test]
    fn sequence_numbers_begin_again_without_zero() {
        let mut exchange = Exchange::new(1, BytesMut::new());
        exchange.last_sequence = u32::MAX;
        assert_eq!(exchange.submit(&read(1)), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_from_a_server_make_a_panic_or_give_more_than_was_asked(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            command in 0..5_u8,
            sequence in 0..4_u8,
            actual in 0..80_u8,
        ) {
            let mut exchange = Exchange::new(1, BytesMut::new());
            exchange.submit(&read(64));
            exchange.withdraw(1);
            let mut bytes = bytes;
            if bytes.len() > 28 {
                bytes[..8].copy_from_slice(&[0, 0, 0, command, 0, 0, 0, sequence]);
                bytes[24..28].copy_from_slice(&[0, 0, 0, actual]);
            }
            exchange.incoming.extend(bytes);
            while let Ok(Some(event)) = exchange.take() {
                if let Event::Completed { data, .. } = event {
                    prop_assert!(data.len() <= 64);
                }
            }
        }
    }
}
