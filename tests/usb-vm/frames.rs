//! Frames between the reference phone and a host that does everything by hand: what ends a frame at each packet size.

use super::board::{Board, Options, PORTS};
use super::guest::{self, PATIENCE};
use tempfile::TempDir;
use tethercert::phone::tether::HostKey;
use tethercert::phone::tether::frames::{
    Frame, FrameKind, HEADER_BYTES, LinkState, REQUEST_RESET, REQUEST_STATUS, STATUS_BYTES, Status,
};
use tethercert::phone::tether::messages::{Operation, Outcome, decode_answer, encode_request};
use tethercert::phone::tether::session::{Hello, Session};
use tethercert::usb::{ControlIn, ControlKind, ControlOut, EndpointKind, Link, Recipient, Usb};

/// What sealing adds to a message.
const TAG_BYTES: usize = 16;

struct Hand {
    link: Link,
    epoch: u16,
    packet: usize,
}

impl Hand {
    async fn of(board: &Board) -> Self {
        let usb = Usb::system();
        let slot = board.slot();
        let attached = usb.list().await.unwrap().into_iter().find(|one| one.slot.to_string() == slot).unwrap();
        let link = usb.open(&attached, 0).await.unwrap();
        let packet = link.endpoint_of(EndpointKind::Bulk, false).unwrap().max_packet_size.into();
        Self { link, epoch: 0, packet }
    }

    async fn try_reset(&mut self, epoch: u16) -> bool {
        let reset = ControlOut {
            kind: ControlKind::Vendor,
            recipient: Recipient::Interface,
            request: REQUEST_RESET,
            value: epoch,
            index: 0,
            data: &[],
        };
        self.link.control_out(reset, PATIENCE).await.is_ok()
    }

    async fn reset(&mut self, epoch: u16) {
        assert!(self.try_reset(epoch).await);
        self.epoch = epoch;
    }

    async fn status(&mut self) -> Status {
        let request = ControlIn {
            kind: ControlKind::Vendor,
            recipient: Recipient::Interface,
            request: REQUEST_STATUS,
            value: 0,
            index: 0,
            length: STATUS_BYTES as u16,
        };
        Status::decode(&self.link.control_in(request, PATIENCE).await.unwrap()).unwrap()
    }

    async fn bytes(&mut self, bytes: &[u8]) {
        let output = self.link.endpoint_of(EndpointKind::Bulk, false).unwrap().address;
        self.link.bulk_out(output, bytes, PATIENCE).await.unwrap();
    }

    /// Sends a frame in transfers of at most so many bytes; gives its length.
    async fn send(&mut self, kind: FrameKind, body: Vec<u8>, part: usize) -> usize {
        let bytes = Frame { kind, epoch: self.epoch, body }.encode();
        for part in bytes.chunks(part) {
            self.bytes(part).await;
        }
        if Frame::needs_zero_packet(bytes.len(), self.packet) {
            self.bytes(&[]).await;
        }
        bytes.len()
    }

    /// The next frame of this epoch: what a controller could not take back comes first, ended by an empty packet (2.3).
    async fn receive(&mut self) -> Frame {
        let input = self.link.endpoint_of(EndpointKind::Bulk, true).unwrap().address;
        loop {
            let bytes = self.link.bulk_in(input, 1 << 17, PATIENCE).await.unwrap();
            match Frame::decode(&bytes) {
                Ok(frame) if frame.epoch == self.epoch => return frame,
                Ok(frame) => assert_eq!(frame.epoch, self.epoch - 1),
                Err(error) => assert!(bytes.is_empty(), "{error}: {bytes:02x?}"),
            }
        }
    }

    async fn session(&mut self) -> Session {
        let (hello, body) = Hello::new(&HostKey::ephemeral()).unwrap();
        self.send(FrameKind::Hello, body, usize::MAX).await;
        let answer = self.receive().await;
        assert_eq!((answer.kind, answer.epoch), (FrameKind::HelloAnswer, self.epoch), "{:02x?}", answer.body);
        let (mut session, body) = hello.answered(&answer.body).unwrap().0.open("by hand", [7; 32]).unwrap();
        self.send(FrameKind::Open, body, usize::MAX).await;
        let answer = self.receive().await;
        assert_eq!((answer.kind, answer.epoch), (FrameKind::OpenAnswer, self.epoch));
        session.unseal(&answer.body).unwrap();
        session
    }

    /// Asks, and gives the answer with the lengths of both frames.
    async fn ask(&mut self, session: &mut Session, ask: &[Operation], part: usize) -> (Vec<Outcome>, usize, usize) {
        let sent = self.send(FrameKind::Request, session.seal(&encode_request(ask)).unwrap(), part).await;
        let mut answer = self.receive().await;
        while answer.kind == FrameKind::Working {
            answer = self.receive().await;
        }
        assert_eq!(answer.kind, FrameKind::Answer);
        let outcomes = decode_answer(&session.unseal(&answer.body).unwrap()).unwrap();
        (outcomes, sent, HEADER_BYTES + answer.body.len())
    }
}

/// A request whose frame has so many bytes. It is refused, which is an answer as well.
fn of_length(bytes: usize) -> [Operation; 1] {
    let with =
        |transcript: usize| [Operation::SignHandshake { transcript: vec![0; transcript].into(), scheme: 0x0401 }];
    let around = HEADER_BYTES + TAG_BYTES + encode_request(&with(300)).len() - 300;
    with(bytes - around)
}

async fn every_way(board: &Board) {
    let mut hand = Hand::of(board).await;
    let packet = hand.packet;
    assert!(!hand.try_reset(0).await, "epoch 0 is stalled");
    hand.reset(7).await;
    let mut session = hand.session().await;

    // From the host: full packets with a zero-length one behind them, one byte less and one more, in one transfer and in many.
    for packets in [1, 31] {
        for bytes in [packets * packet - 1, packets * packet, packets * packet + 1] {
            for part in [usize::MAX, packet] {
                let (outcomes, sent, _) = hand.ask(&mut session, &of_length(bytes.max(400)), part).await;
                assert_eq!(sent, bytes.max(400));
                assert!(matches!(outcomes.as_slice(), [Outcome::Failed(..)]), "{bytes} bytes in parts of {part}");
            }
        }
    }

    // From the phone: answers of full packets only. The user's name sets how long one state is, letter for letter.
    let id = [1; 16].into();
    let begin =
        |name: usize| Operation::Begin { id, user: format!("{}@contoso.example", "a".repeat(name)), replaces: None };
    const SHORTEST: usize = 40;
    hand.ask(&mut session, &[begin(SHORTEST), Operation::State {}], usize::MAX).await;
    let (one, _, length) = hand.ask(&mut session, &[Operation::State {}], usize::MAX).await;
    let [Outcome::Done(state)] = one.as_slice() else { panic!("{one:?}") };
    hand.ask(&mut session, &[Operation::Abort { id }], usize::MAX).await;
    // A result is two bytes of frame and its map; an attention of no time has an empty one.
    let (shortest, around, attention) = (2 + state.len(), length - 2 - state.len(), 3);
    let all =
        (SHORTEST..230).flat_map(|name| (1..=12).flat_map(move |states| (0..4).map(move |more| (name, states, more))));
    let mut fits = all.filter(|(name, states, attentions)| {
        (around + states * (shortest + name - SHORTEST) + attentions * attention).is_multiple_of(packet)
    });
    for (name, states, attentions) in [fits.next(), fits.last()].map(|fits| fits.expect("a length that fits")) {
        hand.ask(&mut session, &[begin(name)], usize::MAX).await;
        let mut operations = vec![Operation::State {}; states];
        operations.extend(vec![Operation::Attention { seconds: 0 }; attentions]);
        let (outcomes, _, length) = hand.ask(&mut session, &operations, usize::MAX).await;
        assert_eq!((outcomes.len(), length % packet), (operations.len(), 0));
        hand.ask(&mut session, &[Operation::Abort { id }], usize::MAX).await;
    }

    // Half a frame, and an answer that nobody has read, are forgotten by a reset.
    hand.bytes(&vec![0xff; 3 * packet]).await;
    hand.reset(8).await;
    let mut session = hand.session().await;
    hand.send(FrameKind::Request, session.seal(&encode_request(&[Operation::State {}])).unwrap(), usize::MAX).await;
    while hand.status().await.state == LinkState::Working {
        tokio::task::yield_now().await;
    }
    hand.reset(9).await;
    hand.session().await;
    let status = hand.status().await;
    assert_eq!((status.epoch, status.state, status.last_error), (9, LinkState::Session, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_frame_ends_with_a_packet_that_is_not_full_at_high_and_at_super_speed() {
    guest::here();
    let place = TempDir::new().unwrap();
    for (number, speed, packet) in [(1, "high", 512), (2, "super", 1024)] {
        let board = Board::start(&Options::new(place.path(), number).with(&["--speed", speed]), PORTS[0]);
        let hand = Hand::of(&board).await;
        assert_eq!(hand.packet, packet);
        drop(hand);
        every_way(&board).await;
        board.stop();
    }
}
