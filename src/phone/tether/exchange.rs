//! One message and its answer over the bulk pipes, with deadlines (docs/tether-protocol.md, section 3).

use super::frames::{Frame, FrameError, FrameKind, HEADER_BYTES, MAX_BODY_BYTES, REQUEST_RESET};
use super::messages::{self, Outcome};
use crate::phone::{PhoneError, Step};
use crate::usb::{ControlKind, ControlOut, EndpointKind, Link, Recipient, UsbError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a transfer to the phone may take, and how long the phone may be silent.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the phone may go on saying that it works.
const WORK: Duration = Duration::from_secs(180);
/// How long a request on the control pipe may take.
const CONTROL: Duration = Duration::from_secs(2);
/// Room for one transfer from the phone: a whole number of packets at every speed.
const TRANSFER_BYTES: usize = 16_384;
/// How many frames from before a reset are dropped before the phone counts as broken.
const STALE_FRAMES: usize = 64;

/// The phone's two pipes, in step.
pub(super) struct Exchange {
    link: Link,
    output: u8,
    input: u8,
    packet: usize,
    epoch: u16,
    exchanges: u64,
    max_body_bytes: usize,
}

impl Exchange {
    /// Takes the pipes of an open interface and begins a new epoch: whatever session there was is over.
    pub(super) async fn start(mut link: Link) -> Result<Self, PhoneError> {
        let pipes = (link.endpoint_of(EndpointKind::Bulk, false), link.endpoint_of(EndpointKind::Bulk, true));
        let (Some(output), Some(input)) = pipes else { return Err(PhoneError::NoPipes) };
        let mut random = [0; 2];
        aws_lc_rs::rand::fill(&mut random).expect("the system gives random bytes");
        let epoch = u16::from_le_bytes(random).max(1);
        reset(&mut link, epoch).await.map_err(usb(Step::Identify))?;
        Ok(Self {
            link,
            output: output.address,
            input: input.address,
            packet: usize::from(output.max_packet_size).max(1),
            epoch,
            exchanges: 0,
            max_body_bytes: MAX_BODY_BYTES,
        })
    }

    /// Ends the session without a message: a new epoch.
    pub(super) async fn end(&mut self) -> Result<(), PhoneError> {
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        reset(&mut self.link, self.epoch).await.map_err(usb(Step::Leave))
    }

    /// The phone's longest frame body, bytes; longer ones are not sent.
    pub(super) fn limit(&mut self, max_body_bytes: u32) {
        self.max_body_bytes = MAX_BODY_BYTES.min(max_body_bytes as usize);
    }

    /// The longest frame body that may be sent, bytes.
    pub(super) fn max_body_bytes(&self) -> usize {
        self.max_body_bytes
    }

    /// Messages with their answers so far.
    pub(super) fn exchanges(&self) -> u64 {
        self.exchanges
    }

    /// The link under it.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Sends one frame and waits for the one that answers it.
    pub(super) async fn exchange(
        &mut self,
        kind: FrameKind,
        body: Vec<u8>,
        answer: FrameKind,
        during: Step,
    ) -> Result<Vec<u8>, PhoneError> {
        self.exchanges += 1;
        let bytes = Frame { kind, epoch: self.epoch, body }.encode();
        self.link.stream_out(self.output, &bytes, SILENCE).await.map_err(usb(during))?;
        if Frame::needs_zero_packet(bytes.len(), self.packet) {
            self.link.bulk_out(self.output, &[], SILENCE).await.map_err(usb(during))?;
        }

        let too_slow = || PhoneError::TooSlow { during, seconds: WORK.as_secs() };
        let end = Instant::now() + WORK;
        let mut stale = 0;
        loop {
            let bytes = timeout_at(end, self.receive(during)).await.map_err(|_| too_slow())??;
            match Frame::decode(&bytes) {
                Ok(frame) if frame.epoch != self.epoch && stale < STALE_FRAMES => stale += 1,
                Ok(frame) if frame.kind == FrameKind::Working => {}
                Ok(frame) if frame.kind == answer => return Ok(frame.body),
                Ok(frame) if frame.kind == FrameKind::Error => return Err(refused(&frame.body, during)),
                Ok(frame) => {
                    let what = format!("a frame of kind {:#04x} is no answer here", frame.kind as u8);
                    return Err(PhoneError::Protocol { during, what });
                }
                // What is left of a transfer from before the reset.
                Err(_) if kind == FrameKind::Hello && stale < STALE_FRAMES => stale += 1,
                Err(FrameError::NoHeader(0)) if stale < STALE_FRAMES => stale += 1,
                Err(error) => return Err(PhoneError::Protocol { during, what: error.to_string() }),
            }
        }
    }

    /// One frame: transfers up to one that is not full.
    async fn receive(&mut self, during: Step) -> Result<Vec<u8>, PhoneError> {
        let mut bytes = Vec::new();
        let mut room = TRANSFER_BYTES;
        loop {
            let part = self.link.stream_in(self.input, room, SILENCE).await.map_err(usb(during))?;
            bytes.extend_from_slice(&part);
            if part.len() < room {
                return Ok(bytes);
            }
            // It is a long one, and says how long: all of the rest may be under way at once.
            let rest = Frame::announced(&bytes).min(HEADER_BYTES + MAX_BODY_BYTES).saturating_sub(bytes.len());
            room = (rest / TRANSFER_BYTES + 1) * TRANSFER_BYTES;
            if bytes.len() > HEADER_BYTES + MAX_BODY_BYTES {
                return Err(PhoneError::Protocol { during, what: "a frame does not end".into() });
            }
        }
    }
}

async fn reset(link: &mut Link, epoch: u16) -> Result<(), UsbError> {
    let request = ControlOut {
        kind: ControlKind::Vendor,
        recipient: Recipient::Interface,
        request: REQUEST_RESET,
        value: epoch,
        index: link.interface().into(),
        data: &[],
    };
    link.control_out(request, CONTROL).await
}

fn usb(during: Step) -> impl FnOnce(UsbError) -> PhoneError {
    move |source| PhoneError::Usb { during, source }
}

/// What an error frame says. It is not encrypted: a hint, never a fact.
fn refused(body: &[u8], during: Step) -> PhoneError {
    match messages::decode_answer(body).as_deref() {
        Ok([Outcome::Failed(number, problem)]) if *number < super::messages::code::MALFORMED => {
            PhoneError::Refused { during, number: *number, text: shown(&problem.text), tries_left: None }
        }
        _ => PhoneError::Protocol { during, what: "an error frame that does not say which error".into() },
    }
}

/// A phone's words as they may stand on a terminal and in a log: one line, at most 200 characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_error_frame_is_a_refusal_or_a_broken_protocol(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let error = refused(&body, Step::Look);
            let expected = matches!(error, PhoneError::Refused { .. } | PhoneError::Protocol { .. });
            prop_assert!(expected);
        }

        #[test]
        fn a_phones_words_are_one_short_line(text in any::<String>()) {
            let shown = shown(&text);
            prop_assert!(shown.chars().count() <= 200 && !shown.contains(char::is_control));
        }
    }
}
