//! The phone's session: one task that takes frames in order and answers each.

use super::{Cable, Inside, Phone, operations};
use crate::phone::tether::binding::{self, Side};
use crate::phone::tether::frames::{Frame, FrameError, FrameKind, HEADER_BYTES, LinkState, Status};
use crate::phone::tether::messages::{self, Arrived, HelloAnswer, Open, OpenAnswer, Outcome, VERSION, code};
use crate::phone::tether::session::{
    KEY_BYTES, SessionError, contributes, hash_of, noise_builder, read_handshake, seal, unseal, write_handshake,
};
use snow::{HandshakeState, TransportState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// What comes down the cable.
pub(super) enum Input {
    /// One frame with the epoch in which it came.
    Frame { epoch: u16, bytes: Vec<u8> },
    /// A reset: the session is over.
    Reset,
}

/// What the control pipe can tell while the engine is busy.
#[derive(Default)]
pub(super) struct Line {
    epoch: AtomicU16,
    state: AtomicU8,
    last_error: AtomicU8,
}

impl Line {
    pub(super) fn epoch(&self) -> u16 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub(super) fn begin_epoch(&self, epoch: u16) {
        self.epoch.store(epoch, Ordering::SeqCst);
        self.last_error.store(0, Ordering::SeqCst);
        self.set(LinkState::Idle);
    }

    pub(super) fn status(&self, phone: &Phone) -> Status {
        let inside = phone.lock();
        let state = match self.state.load(Ordering::SeqCst) {
            1 => LinkState::Handshake,
            2 => LinkState::Session,
            3 => LinkState::Working,
            _ => LinkState::Idle,
        };
        Status {
            lowest_version: VERSION,
            highest_version: VERSION,
            state,
            epoch: self.epoch(),
            pending: inside.memory().pending.is_some(),
            asks: inside.asking,
            last_error: self.last_error.load(Ordering::SeqCst),
            max_body_bytes: inside.material.max_body_bytes,
        }
    }

    fn set(&self, state: LinkState) {
        self.state.store(state as u8, Ordering::SeqCst);
    }
}

/// What the phone knows of the host at the other end, for this session only.
pub(super) struct Peer {
    pub(super) handshake_hash: [u8; 32],
    pub(super) host_key: [u8; 32],
    pub(super) host_label: String,
    pub(super) host_commitment: [u8; 32],
    pub(super) nonce: [u8; 32],
    pub(super) code_shown: bool,
    pub(super) consented: bool,
    /// Consent was given in this very session, not remembered and not unneeded.
    pub(super) agreed_here: bool,
    /// One signature for a sign-in a consent: of a handshake or of a ticket request.
    pub(super) may_sign: bool,
}

enum Link {
    Idle,
    Handshake(Box<HandshakeState>),
    Session(Box<TransportState>, Box<Peer>),
}

/// A number and words for an error frame.
struct LinkError(u16, String);

impl From<SessionError> for LinkError {
    fn from(error: SessionError) -> Self {
        let number = match error {
            SessionError::Decrypt => code::NOT_DECRYPTED,
            _ => code::HANDSHAKE_FAILED,
        };
        Self(number, error.to_string())
    }
}

/// The phone's side of one attachment to a host.
pub(super) struct Engine {
    phone: Phone,
    cable: Box<dyn Cable>,
    line: Arc<Line>,
    queue: mpsc::UnboundedReceiver<Input>,
    link: Link,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.phone.busy.send_modify(|busy| *busy -= 1);
    }
}

impl Engine {
    pub(super) fn new(
        phone: Phone,
        cable: Box<dyn Cable>,
        line: Arc<Line>,
        queue: mpsc::UnboundedReceiver<Input>,
    ) -> Self {
        phone.busy.send_modify(|busy| *busy += 1);
        Self { phone, cable, line, queue, link: Link::Idle }
    }

    /// Runs until the cable is pulled or the power is gone.
    pub(super) async fn run(mut self) {
        while let Some(input) = self.queue.recv().await {
            match input {
                Input::Reset => self.forget(),
                Input::Frame { epoch, bytes } => self.frame(epoch, &bytes).await,
            }
            if !self.phone.has_power() {
                break;
            }
        }
    }

    fn forget(&mut self) {
        self.link = Link::Idle;
        self.line.set(LinkState::Idle);
        let mut inside = self.phone.lock();
        if inside.code.take().is_some() {
            inside.panel.show_code(None);
        }
        inside.panel.attention(Duration::ZERO);
    }

    async fn frame(&mut self, arrived_in: u16, bytes: &[u8]) {
        let limit = self.phone.lock().material.max_body_bytes as usize;
        if arrived_in == 0 {
            return; // No host has begun an epoch yet.
        }
        let answer = match Frame::decode(bytes) {
            _ if bytes.len() > HEADER_BYTES + limit => {
                Err(LinkError(code::TOO_LONG, format!("a body is at most {limit} bytes")))
            }
            Ok(frame) if frame.epoch != arrived_in => return,
            Ok(frame) => self.take(frame, arrived_in).await,
            Err(FrameError::NoHeader(0)) => return,
            Err(error) => Err(LinkError(code::BAD_FRAME, error.to_string())),
        };
        match answer {
            Ok(Some((kind, body))) => self.send(arrived_in, kind, body),
            Ok(None) => {}
            Err(LinkError(number, text)) => {
                self.forget();
                self.line.last_error.store(number as u8, Ordering::SeqCst);
                let body = messages::encode_answer(&[Outcome::failed(number, text)]);
                self.send(arrived_in, FrameKind::Error, body);
            }
        }
    }

    async fn take(&mut self, frame: Frame, epoch: u16) -> Result<Option<(FrameKind, Vec<u8>)>, LinkError> {
        let link = std::mem::replace(&mut self.link, Link::Idle);
        match (frame.kind, link) {
            (FrameKind::Hello, _) => {
                let (noise, body) = hello(&self.phone.lock(), &frame.body)?;
                self.link = Link::Handshake(Box::new(noise));
                self.line.set(LinkState::Handshake);
                Ok(Some((FrameKind::HelloAnswer, body)))
            }
            (FrameKind::Open, Link::Handshake(noise)) => {
                let (transport, peer, body) = open(&self.phone.lock(), *noise, &frame.body)?;
                self.link = Link::Session(Box::new(transport), Box::new(peer));
                self.line.set(LinkState::Session);
                Ok(Some((FrameKind::OpenAnswer, body)))
            }
            (FrameKind::Request, Link::Session(mut transport, mut peer)) => {
                let request = unseal(&mut transport, &frame.body)?;
                self.line.set(LinkState::Working);
                let (outcomes, ends) = self.serve(&request, &mut peer, epoch).await;
                let Some(outcomes) = outcomes else { return Ok(None) };
                let body = seal(&mut transport, &messages::encode_answer(&outcomes))?;
                if ends {
                    self.forget();
                } else {
                    self.link = Link::Session(transport, peer);
                    self.line.set(LinkState::Session);
                }
                Ok(Some((FrameKind::Answer, body)))
            }
            (FrameKind::Open | FrameKind::Request, _) => Err(LinkError(code::NO_SESSION, "there is no session".into())),
            (kind, _) => {
                Err(LinkError(code::BAD_FRAME, format!("a host does not send frames of kind {:#04x}", kind as u8)))
            }
        }
    }

    /// Runs the operations until one fails. No outcomes at all: the power went.
    async fn serve(&mut self, request: &[u8], peer: &mut Peer, epoch: u16) -> (Option<Vec<Outcome>>, bool) {
        let operations = match messages::decode_request(request) {
            Ok(operations) => operations,
            Err(error) => return (Some(vec![Outcome::failed(code::MALFORMED, error.to_string())]), false),
        };
        let working_every = self.phone.lock().material.working_every;
        let mut ticks = tokio::time::interval(working_every);
        ticks.tick().await;

        let (mut outcomes, mut ends) = (Vec::new(), false);
        for operation in operations {
            let outcome = match operation {
                Arrived::Unknown(number) => {
                    Outcome::failed(code::UNSUPPORTED, format!("operation {number} is not known to this firmware"))
                }
                Arrived::Known(operation) => {
                    ends |= operations::ends_session(&operation);
                    let work = operations::perform(&self.phone, peer, operation);
                    tokio::pin!(work);
                    loop {
                        tokio::select! {
                            outcome = &mut work => break outcome,
                            // A host that has begun another epoch waits for its hello's answer, not for this work's.
                            _ = ticks.tick() => match self.line.epoch() == epoch {
                                true => send(self.cable.as_ref(), &self.line, epoch, FrameKind::Working, Vec::new()),
                                false => return (None, true),
                            },
                        }
                    }
                }
            };
            if !self.phone.has_power() {
                return (None, true);
            }
            let failed = matches!(outcome, Outcome::Failed(..));
            outcomes.push(outcome);
            if failed {
                return (Some(outcomes), false);
            }
        }
        (Some(outcomes), ends)
    }

    fn send(&self, epoch: u16, kind: FrameKind, body: Vec<u8>) {
        send(self.cable.as_ref(), &self.line, epoch, kind, body);
    }
}

/// Sends a frame unless a reset has ended its epoch.
fn send(cable: &dyn Cable, line: &Line, epoch: u16, kind: FrameKind, body: Vec<u8>) {
    if line.epoch() != epoch {
        return;
    }
    cable.send(Frame { kind, epoch, body });
}

fn hello(inside: &Inside, body: &[u8]) -> Result<(HandshakeState, Vec<u8>), LinkError> {
    let malformed = || LinkError(code::BAD_FRAME, "the hello is shorter than it says".into());
    let (&count, rest) = body.split_first().ok_or_else(malformed)?;
    let (versions, message) = rest.split_at_checked(count.into()).filter(|_| count > 0).ok_or_else(malformed)?;
    if !versions.contains(&VERSION) {
        return Err(LinkError(code::NO_VERSION, format!("this phone speaks version {VERSION} only")));
    }
    if message.len() != KEY_BYTES {
        return Err(LinkError(code::BAD_FRAME, "the first handshake message is a key and nothing more".into()));
    }
    if !contributes(message) {
        return Err(SessionError::Handshake.into());
    }
    let clear = &body[..1 + versions.len()];
    let mut noise = noise_builder()
        .local_private_key(inside.noise_key.as_slice())
        .and_then(|builder| builder.prologue(&binding::prologue(clear))?.build_responder())
        .map_err(|_| LinkError::from(SessionError::Handshake))?;
    read_handshake(&mut noise, message)?;
    let answer = HelloAnswer { version: VERSION, max_body_bytes: inside.material.max_body_bytes };
    let body = write_handshake(&mut noise, &messages::encode(&answer))?;
    Ok((noise, body))
}

fn open(inside: &Inside, mut noise: HandshakeState, body: &[u8]) -> Result<(TransportState, Peer, Vec<u8>), LinkError> {
    let payload = read_handshake(&mut noise, body)?;
    let handshake_hash = hash_of(&noise);
    let host_key = noise
        .get_remote_static()
        .and_then(|key| <[u8; 32]>::try_from(key).ok())
        .filter(|key| contributes(key))
        .ok_or_else(|| LinkError::from(SessionError::Handshake))?;
    let open: Open = messages::decode(&payload).map_err(|error| LinkError(code::BAD_FRAME, error.to_string()))?;
    let mut transport = noise.into_transport_mode().map_err(|_| LinkError::from(SessionError::Handshake))?;

    let mut nonce = [0; 32];
    aws_lc_rs::rand::fill(&mut nonce).expect("the system gives random bytes");
    let host_known = inside.memory().known_hosts.iter().any(|known| **known == host_key);
    let answer = OpenAnswer {
        identity: operations::identity(inside, host_known),
        commitment: binding::commitment(Side::Phone, &nonce).into(),
        proof: operations::device_proof(inside, &handshake_hash),
    };
    let body = seal(&mut transport, &messages::encode(&answer))?;
    let peer = Peer {
        handshake_hash,
        host_key,
        host_label: open.host_label.chars().filter(|c| !c.is_control()).take(32).collect(),
        host_commitment: *open.commitment,
        nonce,
        code_shown: false,
        consented: host_known || inside.material.consent == super::Consent::None,
        agreed_here: false,
        may_sign: false,
    };
    Ok((transport, peer, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Honest, Memory, NoPanel, PhoneMaterial, Storage, WriteError};
    use crate::phone::tether::session::{Hello, HostKey};
    use proptest::prelude::*;

    struct Nothing;

    impl Storage for Nothing {
        fn read(&self) -> Memory {
            Memory::default()
        }

        fn write(&mut self, _memory: &Memory) -> Result<(), WriteError> {
            Ok(())
        }

        fn keep_clock(&mut self, _offset_seconds: i64) -> Result<(), WriteError> {
            Ok(())
        }
    }

    fn phone() -> Phone {
        let material = PhoneMaterial::new(1, Arc::new(|_| zeroize::Zeroizing::default()));
        Phone::new(material, Box::new(Nothing), Box::new(Honest), Arc::new(NoPanel), [7; 32].into())
    }

    proptest! {
        #[test]
        fn a_foreign_hello_or_open_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let phone = phone();
            let inside = phone.lock();
            let _ = hello(&inside, &bytes);
            let (_, body) = Hello::new(&HostKey::ephemeral()).unwrap();
            let (noise, _) = hello(&inside, &body).map_err(|error| error.1).unwrap();
            prop_assert!(open(&inside, noise, &bytes).is_err());
        }
    }

    #[test]
    fn a_hello_is_read_in_the_pages_order() {
        let phone = phone();
        let refused = |head: &[u8], message: &[u8]| {
            hello(&phone.lock(), &[head, message].concat()).map(|_| ()).map_err(|error| error.0)
        };
        assert_eq!(refused(&[0], &[9; 32]), Err(code::BAD_FRAME));
        assert_eq!(refused(&[3, 1], &[]), Err(code::BAD_FRAME));
        assert_eq!(refused(&[1, 9], &[]), Err(code::NO_VERSION));
        assert_eq!(refused(&[1, 1], &[9; 31]), Err(code::BAD_FRAME));
        assert_eq!(refused(&[1, 1], &[9; 33]), Err(code::BAD_FRAME));
        assert_eq!(refused(&[1, 1], &[0; 32]), Err(code::HANDSHAKE_FAILED));
        assert_eq!(refused(&[1, 1], &[9; 32]), Ok(()));
    }

    #[test]
    fn a_host_that_also_speaks_a_later_version_is_answered_in_this_one() {
        let phone = phone();
        let refused = hello(&phone.lock(), &[1, 2]).map(|_| ()).map_err(|error| error.0);
        assert_eq!(refused, Err(code::NO_VERSION));
        // A first handshake message is a public key: any 32 bytes.
        let both = [vec![2, 1, 2], vec![9; 32]].concat();
        assert!(hello(&phone.lock(), &both).is_ok());
    }
}
