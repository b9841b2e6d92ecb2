//! Where the cable goes in: control requests and bytes from the host on one side, the engine on the other.

use super::Phone;
use super::engine::{Engine, Input, Line};
use crate::phone::tether::frames::{Frame, HEADER_BYTES, MAX_BODY_BYTES, Status};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The way from the phone to the host.
pub trait Cable: Send + Sync + 'static {
    /// Sends one frame with what ends it: a packet that is not full, if need be of no bytes. The call is quick.
    fn send(&self, frame: Frame);
}

/// A phone's end of one cable, for as long as the cable is in. Dropping it is pulling the cable.
pub struct Socket {
    phone: Phone,
    line: Arc<Line>,
    inputs: mpsc::UnboundedSender<Input>,
    /// Bytes of a frame that no short packet has ended yet.
    partial: Vec<u8>,
}

impl Socket {
    /// Plugs a cable in. There is no session and the epoch is 0.
    pub fn new(phone: Phone, cable: impl Cable) -> Self {
        let (inputs, queue) = mpsc::unbounded_channel();
        let line = Arc::new(Line::new(&phone));
        let engine = Engine::new(phone.clone(), Box::new(cable), line.clone(), queue);
        tokio::spawn(engine.run());
        Self { phone, line, inputs, partial: Vec::new() }
    }

    /// The answer to STATUS.
    pub fn status(&self) -> Status {
        self.line.status(&self.phone)
    }

    /// Ends what was, because of a RESET, or with epoch 0 because the host configured the device anew. No frame of
    /// before is sent from here on; what the cable itself still holds is the caller's to drop.
    pub fn begin_epoch(&mut self, epoch: u16) {
        self.line.begin_epoch(epoch);
        self.partial.clear();
        let _ = self.inputs.send(Input::Reset);
    }

    /// The epoch that holds.
    pub fn epoch(&self) -> u16 {
        self.line.epoch()
    }

    /// Takes bytes from the host; `ended` after a packet that was not full.
    pub fn arrived(&mut self, bytes: &[u8], ended: bool) {
        // One byte more than the longest frame is enough to know that it is too long; the rest is let go.
        let room = (HEADER_BYTES + MAX_BODY_BYTES + 1).saturating_sub(self.partial.len());
        self.partial.extend(&bytes[..bytes.len().min(room)]);
        if ended {
            let frame = std::mem::take(&mut self.partial);
            let _ = self.inputs.send(Input::Frame { epoch: self.line.epoch(), bytes: frame });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::memory::InMemory;
    use crate::device::{Agreement, Consent, Honest, NoPanel, Panel, PhoneMaterial};
    use crate::phone::tether::binding::ShortCode;
    use crate::phone::tether::frames::FrameKind;
    use crate::phone::tether::messages::{Operation, Outcome, code, decode_answer, encode_request};
    use crate::phone::tether::session::{Hello, HostKey, Session};
    use std::sync::Mutex;
    use std::time::Duration;
    use tokio::sync::{mpsc::UnboundedReceiver, oneshot};

    struct Pair(mpsc::UnboundedSender<Frame>);

    impl Cable for Pair {
        fn send(&self, frame: Frame) {
            let _ = self.0.send(frame);
        }
    }

    /// Somebody who answers when the test does.
    #[derive(Default)]
    struct Somebody(Mutex<Vec<oneshot::Sender<bool>>>);

    impl Panel for Somebody {
        fn attention(&self, _lasting: Duration) {}

        fn show_code(&self, _code: Option<&ShortCode>) {}

        fn log(&self, _line: &str) {}

        fn ask(&self, host: &str) -> Agreement {
            assert_eq!(host, "by hand");
            let (answer, answered) = oneshot::channel();
            self.0.lock().unwrap().push(answer);
            Box::pin(async { answered.await.unwrap_or(false) })
        }
    }

    struct Hand {
        socket: Socket,
        frames: UnboundedReceiver<Frame>,
    }

    impl Hand {
        fn new(consent: Consent, panel: Arc<dyn Panel>) -> Self {
            let mut material = PhoneMaterial::new(1, Arc::new(|_| zeroize::Zeroizing::default()));
            (material.consent, material.working_every) = (consent, Duration::from_millis(1));
            let (cable, frames) = mpsc::unbounded_channel();
            let phone = Phone::new(material, Box::new(InMemory::default()), Box::new(Honest), panel, [7; 32].into());
            Self { socket: Socket::new(phone, Pair(cable)), frames }
        }

        fn send(&mut self, kind: FrameKind, body: Vec<u8>) {
            let bytes = Frame { kind, epoch: self.socket.epoch(), body }.encode();
            let (first, second) = bytes.split_at(bytes.len() / 2);
            self.socket.arrived(first, false);
            self.socket.arrived(second, true);
        }

        /// The next frame of this epoch and kind.
        async fn receive(&mut self, kind: FrameKind) -> Frame {
            loop {
                let frame = self.frames.recv().await.unwrap();
                if (frame.kind, frame.epoch) == (kind, self.socket.epoch()) {
                    return frame;
                }
            }
        }

        async fn session(&mut self, epoch: u16) -> Session {
            self.socket.begin_epoch(epoch);
            let (hello, body) = Hello::new(&HostKey::ephemeral()).unwrap();
            self.send(FrameKind::Hello, body);
            let answer = self.receive(FrameKind::HelloAnswer).await;
            let (mut session, body) = hello.answered(&answer.body).unwrap().0.open("by hand", [7; 32]).unwrap();
            self.send(FrameKind::Open, body);
            let answer = self.receive(FrameKind::OpenAnswer).await;
            session.unseal(&answer.body).unwrap();
            session
        }

        fn ask_consent(&mut self, session: &mut Session) {
            let request = encode_request(&[Operation::Consent { code: None }]);
            self.send(FrameKind::Request, session.seal(&request).unwrap());
        }

        async fn outcome(&mut self, session: &mut Session) -> Outcome {
            let answer = self.receive(FrameKind::Answer).await;
            decode_answer(&session.unseal(&answer.body).unwrap()).unwrap().remove(0)
        }
    }

    #[tokio::test]
    async fn somebody_at_the_phone_is_asked_status_says_so_and_the_host_is_told_to_wait() {
        for agrees in [true, false] {
            let somebody = Arc::new(Somebody::default());
            let mut hand = Hand::new(Consent::Ask, somebody.clone());
            let mut session = hand.session(7).await;
            assert!(!hand.socket.status().asks);
            hand.ask_consent(&mut session);
            hand.receive(FrameKind::Working).await;
            assert!(hand.socket.status().asks);
            somebody.0.lock().unwrap().remove(0).send(agrees).unwrap();
            match (agrees, hand.outcome(&mut session).await) {
                (true, Outcome::Done(_)) | (false, Outcome::Failed(code::DECLINED, _)) => {}
                other => panic!("{other:?}"),
            }
            assert!(!hand.socket.status().asks);
        }
    }

    #[tokio::test]
    async fn a_reset_withdraws_the_question() {
        let somebody = Arc::new(Somebody::default());
        let mut hand = Hand::new(Consent::Ask, somebody.clone());
        let mut session = hand.session(7).await;
        hand.ask_consent(&mut session);
        hand.receive(FrameKind::Working).await;
        hand.session(8).await;
        assert!(!hand.socket.status().asks);
        let withdrawn = somebody.0.lock().unwrap().remove(0);
        assert!(withdrawn.is_closed());
    }

    #[tokio::test]
    async fn where_nobody_can_be_asked_nobody_agrees() {
        let mut hand = Hand::new(Consent::Ask, Arc::new(NoPanel));
        let mut session = hand.session(7).await;
        hand.ask_consent(&mut session);
        assert!(matches!(hand.outcome(&mut session).await, Outcome::Failed(code::DECLINED, _)));
    }
}
