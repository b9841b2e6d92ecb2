//! Frames of the Tether Device Protocol: bytes to types and back, pure (docs/tether-protocol.md, sections 2 to 4).

/// Interface class of the protocol: vendor specific.
pub const INTERFACE_CLASS: u8 = 0xff;
/// Interface subclass of the protocol: `T`.
pub const INTERFACE_SUBCLASS: u8 = 0x54;
/// Interface protocol: the framing described here.
pub const INTERFACE_PROTOCOL: u8 = 0x01;
/// Names the interface to programs on Windows, on every phone.
pub const INTERFACE_GUID: &str = "{6E9B1F0C-3B7D-4C55-9E0A-54D1C0DE0001}";

/// Vendor request on the interface: read [`Status`].
pub const REQUEST_STATUS: u8 = 0x01;
/// Vendor request on the interface: end the session and start the epoch given in `wValue`.
pub const REQUEST_RESET: u8 = 0x02;

/// Bytes of a frame before its body.
pub const HEADER_BYTES: usize = 8;
/// The longest body there is: a Noise message is at most this long (Noise specification, section 3).
pub const MAX_BODY_BYTES: usize = 65_535;
/// The shortest limit that a phone may set for a body.
pub const MIN_BODY_LIMIT_BYTES: u32 = 4_096;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Host: versions and the first handshake message, in clear.
    Hello = 0x01,
    /// Host: the third handshake message.
    Open = 0x02,
    /// Host: a request, encrypted.
    Request = 0x03,
    /// Phone: the second handshake message.
    HelloAnswer = 0x81,
    /// Phone: its identity and proof, encrypted.
    OpenAnswer = 0x82,
    /// Phone: an answer, encrypted.
    Answer = 0x83,
    /// Phone: the answer takes longer. No body.
    Working = 0x8e,
    /// Phone: there is no session in which to answer. In clear.
    Error = 0x8f,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        use FrameKind::*;
        [Hello, Open, Request, HelloAnswer, OpenAnswer, Answer, Working, Error].into_iter().find(|k| *k as u8 == byte)
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the body is.
    pub kind: FrameKind,
    /// The epoch that the host's last reset began; frames of another one are dropped.
    pub epoch: u16,
    /// At most [`MAX_BODY_BYTES`].
    pub body: Vec<u8>,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than a header has.
    #[error("a frame of {0} bytes has no complete header")]
    NoHeader(usize),
    /// The kind is not one of this protocol.
    #[error("frame kind {0:#04x} is unknown")]
    UnknownKind(u8),
    /// The second byte is kept zero.
    #[error("the reserved byte of a frame is {0:#04x}, not zero")]
    Reserved(u8),
    /// The length in the header is not that of the body.
    #[error("a frame says {said} bytes and has {found}")]
    Length {
        /// By the header.
        said: u32,
        /// In the transfer.
        found: usize,
    },
}

impl Frame {
    /// The bytes on the bulk pipe.
    ///
    /// # Panics
    ///
    /// When the body is longer than [`MAX_BODY_BYTES`]: the callers' messages are bounded by Noise.
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.body.len() <= MAX_BODY_BYTES, "a body is bounded by the Noise message size");
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.body.len());
        bytes.extend([self.kind as u8, 0]);
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend((self.body.len() as u32).to_le_bytes());
        bytes.extend(&self.body);
        bytes
    }

    /// Reads one complete frame: all bytes up to the short packet that ends it.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(FrameError::NoHeader(bytes.len()))?;
        let [kind, reserved, e0, e1, l0, l1, l2, l3] = *header;
        let kind = FrameKind::from_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
        if reserved != 0 {
            return Err(FrameError::Reserved(reserved));
        }
        let said = u32::from_le_bytes([l0, l1, l2, l3]);
        if said as usize != body.len() {
            return Err(FrameError::Length { said, found: body.len() });
        }
        Ok(Self { kind, epoch: u16::from_le_bytes([e0, e1]), body: body.to_vec() })
    }

    /// Whether a frame of `bytes` bytes must be followed by a zero-length packet on a pipe of `packet` bytes.
    pub fn needs_zero_packet(bytes: usize, packet: usize) -> bool {
        bytes.is_multiple_of(packet)
    }
}

/// What the phone is doing, as the control pipe tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LinkState {
    /// No session.
    Idle = 0,
    /// Between hello and open.
    Handshake = 1,
    /// A session, waiting for a request.
    Session = 2,
    /// A session, busy with a request.
    Working = 3,
}

/// The answer to [`REQUEST_STATUS`]: 12 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The oldest protocol version that the phone speaks.
    pub lowest_version: u8,
    /// The newest.
    pub highest_version: u8,
    /// What it is doing.
    pub state: LinkState,
    /// The epoch of the last reset, 0 before the first.
    pub epoch: u16,
    /// Whether a transaction is pending.
    pub pending: bool,
    /// Whether somebody at the phone is asked to press a key.
    pub asks: bool,
    /// Number of the last link error since the reset, 0 for none.
    pub last_error: u8,
    /// The longest frame body it takes, bytes.
    pub max_body_bytes: u32,
}

/// Bytes of a [`Status`].
pub const STATUS_BYTES: usize = 12;

impl Status {
    /// The bytes on the control pipe.
    pub fn encode(&self) -> [u8; STATUS_BYTES] {
        let [e0, e1] = self.epoch.to_le_bytes();
        let [m0, m1, m2, m3] = self.max_body_bytes.to_le_bytes();
        let flags = u8::from(self.pending) | u8::from(self.asks) << 1;
        [1, self.lowest_version, self.highest_version, self.state as u8, e0, e1, flags, self.last_error, m0, m1, m2, m3]
    }

    /// Reads the control pipe's answer; `None` when it is not a status of layout 1. Further bytes are left for later layouts.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [1, lowest_version, highest_version, state, e0, e1, flags, last_error, m0, m1, m2, m3] =
            *bytes.first_chunk::<STATUS_BYTES>()?
        else {
            return None;
        };
        let state = match state {
            0 => LinkState::Idle,
            1 => LinkState::Handshake,
            2 => LinkState::Session,
            3 => LinkState::Working,
            _ => return None,
        };
        Some(Self {
            lowest_version,
            highest_version,
            state,
            epoch: u16::from_le_bytes([e0, e1]),
            pending: flags & 1 != 0,
            asks: flags & 2 != 0,
            last_error,
            max_body_bytes: u32::from_le_bytes([m0, m1, m2, m3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn foreign_bytes_are_a_frame_that_encodes_back_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(frame) = Frame::decode(&bytes) {
                prop_assert_eq!(frame.encode(), bytes);
            }
        }

        #[test]
        fn a_frame_reads_back(epoch in any::<u16>(), body in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let frame = Frame { kind: FrameKind::Request, epoch, body };
            prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
        }

        #[test]
        fn a_status_reads_back_and_foreign_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Some(status) = Status::decode(&bytes) {
                prop_assert_eq!(Status::decode(&status.encode()), Some(status));
            }
        }
    }

    #[test]
    fn a_length_that_is_not_the_bodys_is_refused() {
        let mut bytes = Frame { kind: FrameKind::Answer, epoch: 7, body: vec![1, 2, 3] }.encode();
        bytes.pop();
        assert_eq!(Frame::decode(&bytes), Err(FrameError::Length { said: 3, found: 2 }));
    }
}
