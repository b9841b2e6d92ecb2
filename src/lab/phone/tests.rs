//! The phone against a host that does everything by hand: what the protocol's page says of frames, epochs and resets.

mod lies;
mod operations;

use super::{PhoneMaterial, VirtualPhone};
use crate::lab::keys::Keys;
use crate::lab::usbip::Exporter;
use crate::phone::tether::HostKey;
use crate::phone::tether::frames::{
    Frame, FrameKind, HEADER_BYTES, LinkState, REQUEST_RESET, REQUEST_STATUS, STATUS_BYTES, Status,
};
use crate::phone::tether::messages::{Operation, Outcome, code, decode_answer, encode_request};
use crate::phone::tether::session::{Hello, Session};
use crate::usb::{ControlIn, ControlKind, ControlOut, EndpointKind, Link, Recipient, Usb};
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

struct Hand {
    link: Link,
    epoch: u16,
    _exporter: Exporter,
}

fn material() -> PhoneMaterial {
    PhoneMaterial::new(1, Arc::new(|kind| Keys::recycled().take(kind)))
}

impl Hand {
    async fn on(material: PhoneMaterial) -> Self {
        Self::of(&VirtualPhone::new(material)).await
    }

    async fn of(phone: &VirtualPhone) -> Self {
        let exporter = Exporter::start().await.unwrap();
        exporter.plug("1-1", Box::new(phone.device()));
        let usb = Usb::usbip(exporter.address().into());
        let attached = usb.list().await.unwrap().remove(0);
        Self { link: usb.open(&attached, 0).await.unwrap(), epoch: 0, _exporter: exporter }
    }

    async fn try_reset(&mut self, epoch: u16) -> Result<(), crate::usb::UsbError> {
        let reset = ControlOut {
            kind: ControlKind::Vendor,
            recipient: Recipient::Interface,
            request: REQUEST_RESET,
            value: epoch,
            index: 0,
            data: &[],
        };
        self.epoch = epoch;
        self.link.control_out(reset, SOON).await
    }

    async fn reset(&mut self, epoch: u16) {
        self.try_reset(epoch).await.unwrap();
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
        Status::decode(&self.link.control_in(request, SOON).await.unwrap()).unwrap()
    }

    async fn bytes(&mut self, bytes: &[u8]) {
        let output = self.link.endpoint_of(EndpointKind::Bulk, false).unwrap().address;
        self.link.bulk_out(output, bytes, SOON).await.unwrap();
    }

    async fn send(&mut self, kind: FrameKind, body: &[u8]) {
        let bytes = Frame { kind, epoch: self.epoch, body: body.to_vec() }.encode();
        self.bytes(&bytes).await;
        if Frame::needs_zero_packet(bytes.len(), 512) {
            self.bytes(&[]).await;
        }
    }

    /// The next frame of this epoch.
    async fn receive(&mut self) -> Frame {
        let input = self.link.endpoint_of(EndpointKind::Bulk, true).unwrap().address;
        loop {
            let bytes = self.link.bulk_in(input, 1 << 17, SOON).await.unwrap();
            match Frame::decode(&bytes) {
                Ok(frame) if frame.epoch == self.epoch => return frame,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn error(&mut self) -> u16 {
        let frame = self.receive().await;
        assert_eq!(frame.kind, FrameKind::Error);
        match decode_answer(&frame.body).unwrap().as_slice() {
            [Outcome::Failed(number, _)] => *number,
            other => panic!("{other:?}"),
        }
    }

    async fn session(&mut self) -> Session {
        let (hello, body) = Hello::new(&HostKey::ephemeral()).unwrap();
        self.send(FrameKind::Hello, &body).await;
        let answer = self.receive().await;
        assert_eq!(answer.kind, FrameKind::HelloAnswer);
        let (mut session, body) = hello.answered(&answer.body).unwrap().0.open("by hand", [7; 32]).unwrap();
        self.send(FrameKind::Open, &body).await;
        let answer = self.receive().await;
        assert_eq!(answer.kind, FrameKind::OpenAnswer);
        session.unseal(&answer.body).unwrap();
        session
    }

    async fn request(&mut self, session: &mut Session, plaintext: &[u8]) -> Vec<Outcome> {
        self.send(FrameKind::Request, &session.seal(plaintext).unwrap()).await;
        let mut answer = self.receive().await;
        while answer.kind == FrameKind::Working {
            answer = self.receive().await;
        }
        assert_eq!(answer.kind, FrameKind::Answer);
        decode_answer(&session.unseal(&answer.body).unwrap()).unwrap()
    }
}

fn failure(outcomes: &[Outcome]) -> u16 {
    match outcomes.last() {
        Some(Outcome::Failed(number, _)) => *number,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn frames_before_the_first_reset_and_of_another_epoch_are_dropped_in_silence() {
    let mut hand = Hand::on(material()).await;
    hand.send(FrameKind::Request, b"too early").await;
    assert_eq!(hand.status().await.epoch, 0);
    hand.reset(7).await;
    hand.epoch = 6;
    hand.send(FrameKind::Request, b"too late").await;
    hand.epoch = 7;
    hand.session().await;
    let status = hand.status().await;
    assert_eq!((status.epoch, status.state, status.last_error), (7, LinkState::Session, 0));
}

#[tokio::test]
async fn a_reset_to_epoch_zero_is_refused() {
    let mut hand = Hand::on(material()).await;
    hand.reset(7).await;
    assert!(hand.try_reset(0).await.is_err());
    assert_eq!(hand.status().await.epoch, 7);
}

#[tokio::test]
async fn broken_frames_are_told_and_the_phone_lives_on() {
    let mut hand = Hand::on(material()).await;
    hand.reset(7).await;
    let limit = material().max_body_bytes as usize;
    let too_long = Frame { kind: FrameKind::Request, epoch: 7, body: vec![0; limit + 1] }.encode();
    let unended = vec![0; HEADER_BYTES + limit + 600];
    let broken: [(&[u8], u16); 9] = [
        (&[3], code::BAD_FRAME),
        (&[0x77, 0, 7, 0, 0, 0, 0, 0], code::BAD_FRAME),
        (&[0x83, 0, 7, 0, 0, 0, 0, 0], code::BAD_FRAME),
        (&[3, 1, 7, 0, 0, 0, 0, 0], code::BAD_FRAME),
        (&[3, 0, 7, 0, 1, 0, 0, 0], code::BAD_FRAME),
        (&[3, 0, 7, 0, 0, 0, 0, 0], code::NO_SESSION),
        (&[2, 0, 7, 0, 0, 0, 0, 0], code::NO_SESSION),
        (&too_long, code::TOO_LONG),
        (&unended, code::TOO_LONG),
    ];
    for (bytes, number) in broken {
        hand.bytes(bytes).await;
        assert_eq!(hand.error().await, number, "{:02x?}", &bytes[..bytes.len().min(8)]);
        assert_eq!(u16::from(hand.status().await.last_error), number);
    }
    hand.bytes(&[]).await;
    hand.session().await;
}

#[tokio::test]
async fn only_a_short_packet_ends_a_frame_however_it_is_cut_into_transfers() {
    let mut hand = Hand::on(material()).await;
    hand.reset(9).await;
    let mut session = hand.session().await;
    let bytes = 1536 - HEADER_BYTES - 16 - encode_request(&[long(300)]).len() + 300;
    let body = session.seal(&encode_request(&[long(bytes)])).unwrap();
    let frame = Frame { kind: FrameKind::Request, epoch: 9, body }.encode();
    assert_eq!(frame.len(), 1536);
    for part in [&frame[..512], &frame[512..], &[]] {
        hand.bytes(part).await;
    }
    let answer = hand.receive().await;
    assert_eq!(answer.kind, FrameKind::Answer);
    session.unseal(&answer.body).unwrap();
}

fn long(bytes: usize) -> Operation {
    Operation::SignHandshake { transcript: vec![0; bytes].into(), scheme: 0x0401 }
}

#[tokio::test]
async fn half_a_frame_is_forgotten_by_a_reset() {
    let mut hand = Hand::on(material()).await;
    hand.reset(7).await;
    hand.bytes(&[0xff; 512]).await;
    hand.reset(8).await;
    hand.session().await;
}

#[tokio::test]
async fn a_host_that_resets_while_a_key_is_made_has_its_hello_answered() {
    let mut material = material();
    (material.key_delay, material.working_every) = (Duration::from_secs(3600), Duration::from_millis(1));
    let mut hand = Hand::on(material).await;
    hand.reset(7).await;
    let mut session = hand.session().await;
    let id = [1; 16].into();
    let begin = Operation::Begin { id, user: "alice@contoso.example".into(), replaces: None };
    let request = encode_request(&[begin, Operation::MakeKey { id, kind: 3 }]);
    hand.send(FrameKind::Request, &session.seal(&request).unwrap()).await;
    assert_eq!(hand.receive().await.kind, FrameKind::Working);
    assert_eq!(hand.status().await.state, LinkState::Working);

    hand.reset(8).await;
    let mut session = hand.session().await;
    assert!(hand.status().await.pending);
    let outcomes = hand.request(&mut session, &encode_request(&[Operation::State {}])).await;
    assert!(matches!(outcomes.as_slice(), [Outcome::Done(_)]));
}

#[tokio::test]
async fn an_operation_of_a_later_version_fails_alone_and_a_broken_request_changes_nothing() {
    let mut hand = Hand::on(material()).await;
    hand.reset(7).await;
    let mut session = hand.session().await;
    // { 0: [[7, { 0: 5 }], [200, {}], [7, { 0: 6 }]] }
    let later = [0xa1, 0, 0x83, 0x82, 7, 0xa1, 0, 5, 0x82, 0x18, 200, 0xa0, 0x82, 7, 0xa1, 0, 6];
    let outcomes = hand.request(&mut session, &later).await;
    assert!(matches!(outcomes.as_slice(), [Outcome::Done(_), Outcome::Failed(code::UNSUPPORTED, _)]));

    let malformed: [&[u8]; 5] =
        [&[], &[0xa1, 0, 0x80], &[0xa1, 0, 0x81, 0x82, 7, 0xa0], &[0xa1, 0, 0x81, 0x82, 1], &[0xa0]];
    for plaintext in malformed {
        assert_eq!(failure(&hand.request(&mut session, plaintext).await), code::MALFORMED, "{plaintext:02x?}");
    }
    assert_eq!(hand.request(&mut session, &encode_request(&[Operation::State {}])).await.len(), 1);
}

#[tokio::test]
async fn a_request_that_does_not_decrypt_ends_the_session() {
    let mut hand = Hand::on(material()).await;
    hand.reset(7).await;
    let mut session = hand.session().await;
    let mut body = session.seal(&encode_request(&[Operation::State {}])).unwrap();
    body[0] ^= 1;
    hand.send(FrameKind::Request, &body).await;
    assert_eq!(hand.error().await, code::NOT_DECRYPTED);
    hand.send(FrameKind::Request, &body).await;
    assert_eq!(hand.error().await, code::NO_SESSION);
}

#[tokio::test]
async fn a_configuration_or_an_interface_that_is_set_ends_the_session_and_the_epoch() {
    const SET_CONFIGURATION: (Recipient, u8, u16, u16) = (Recipient::Device, 9, 1, 0);
    const SET_INTERFACE: (Recipient, u8, u16, u16) = (Recipient::Interface, 11, 0, 0);
    for (recipient, request, value, index) in [SET_CONFIGURATION, SET_INTERFACE] {
        let mut hand = Hand::on(material()).await;
        hand.reset(7).await;
        hand.session().await;
        hand.bytes(&[0xff; 512]).await;
        let set = ControlOut { kind: ControlKind::Standard, recipient, request, value, index, data: &[] };
        hand.link.control_out(set, SOON).await.unwrap();
        let status = hand.status().await;
        assert_eq!((status.epoch, status.state), (0, LinkState::Idle));
        hand.send(FrameKind::Request, b"too early").await;
        hand.reset(8).await;
        hand.session().await;
    }
}

#[tokio::test]
async fn a_reset_with_data_is_refused() {
    let mut hand = Hand::on(material()).await;
    hand.reset(7).await;
    let reset = ControlOut {
        kind: ControlKind::Vendor,
        recipient: Recipient::Interface,
        request: REQUEST_RESET,
        value: 8,
        index: 0,
        data: &[1],
    };
    assert!(hand.link.control_out(reset, SOON).await.is_err());
    assert_eq!(hand.status().await.epoch, 7);
}

#[tokio::test]
async fn a_request_before_the_open_ends_the_handshake_as_well() {
    let mut hand = Hand::on(material()).await;
    hand.reset(7).await;
    let (hello, body) = Hello::new(&HostKey::ephemeral()).unwrap();
    hand.send(FrameKind::Hello, &body).await;
    let answer = hand.receive().await;
    let (_, open) = hello.answered(&answer.body).unwrap().0.open("by hand", [7; 32]).unwrap();
    hand.send(FrameKind::Request, b"too early").await;
    assert_eq!(hand.error().await, code::NO_SESSION);
    hand.send(FrameKind::Open, &open).await;
    assert_eq!(hand.error().await, code::NO_SESSION);
}
