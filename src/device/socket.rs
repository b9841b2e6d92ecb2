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
        let line = Arc::new(Line::default());
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
