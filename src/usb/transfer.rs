//! The words for what travels over a link: control requests, endpoints and the count of both.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How long the pieces of a stream are: a whole number of packets at every speed, and no more than kernels like to find
/// in one place.
pub(super) const PIECE: usize = 16_384;

/// How many pieces of a stream are under way at a time: enough that the bus never waits for the program.
pub(super) const UNDER_WAY: usize = 4;

/// `data` in pieces; where there is none, one that is empty.
pub(super) fn pieces(data: &[u8], piece: usize) -> VecDeque<&[u8]> {
    if data.is_empty() { VecDeque::from([data]) } else { data.chunks(piece.max(1)).collect() }
}

/// The end of a deadline that begins now. A day is for ever here: the clock cannot count without end.
pub(super) fn end_of(deadline: Duration) -> Instant {
    Instant::now() + deadline.min(Duration::from_secs(24 * 60 * 60))
}

/// How long a device may take to leave the list after its transfers have failed.
const LEAVING: Duration = Duration::from_millis(300);

/// How often that is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Whether a device is off the list, or is in a moment: what a cable does that is pulled, a library may call a fault of the
/// bus.
pub(super) async fn leaves<Look: Future<Output = bool>>(is_there: impl Fn() -> Look) -> bool {
    let until = Instant::now() + LEAVING;
    loop {
        if !is_there().await {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Who defined a control request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlKind {
    /// The USB specification.
    Standard,
    /// The specification of the device's class.
    Class,
    /// The maker of the device.
    Vendor,
}

/// The part of the device that a control request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient {
    /// The device as a whole.
    Device,
    /// The interface whose number is in `index`.
    Interface,
    /// The endpoint whose address is in `index`.
    Endpoint,
}

/// A control request that asks the device for data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlIn {
    /// Who defined the request.
    pub kind: ControlKind,
    /// The part of the device it is for.
    pub recipient: Recipient,
    /// `bRequest`.
    pub request: u8,
    /// `wValue`.
    pub value: u16,
    /// `wIndex`; with [`Recipient::Interface`], WinUSB wants the claimed interface's number in its low byte.
    pub index: u16,
    /// `wLength`: the most bytes that the device may answer.
    pub length: u16,
}

/// A control request that gives the device data, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlOut<'a> {
    /// Who defined the request.
    pub kind: ControlKind,
    /// The part of the device it is for.
    pub recipient: Recipient,
    /// `bRequest`.
    pub request: u8,
    /// `wValue`.
    pub value: u16,
    /// `wIndex`; with [`Recipient::Interface`], WinUSB wants the claimed interface's number in its low byte.
    pub index: u16,
    /// At most 65535 bytes.
    pub data: &'a [u8],
}

impl ControlIn {
    pub(super) fn setup(&self) -> [u8; 8] {
        setup(0x80, self.kind, self.recipient, self.request, [self.value, self.index, self.length])
    }
}

impl ControlOut<'_> {
    /// `None` when there is more data than a control request can announce.
    pub(super) fn setup(&self) -> Option<[u8; 8]> {
        let length = u16::try_from(self.data.len()).ok()?;
        Some(setup(0x00, self.kind, self.recipient, self.request, [self.value, self.index, length]))
    }
}

fn setup(direction: u8, kind: ControlKind, recipient: Recipient, request: u8, words: [u16; 3]) -> [u8; 8] {
    let kind = match kind {
        ControlKind::Standard => 0,
        ControlKind::Class => 1 << 5,
        ControlKind::Vendor => 2 << 5,
    };
    let recipient = match recipient {
        Recipient::Device => 0,
        Recipient::Interface => 1,
        Recipient::Endpoint => 2,
    };
    let [value, index, length] = words.map(u16::to_le_bytes);
    [direction | kind | recipient, request, value[0], value[1], index[0], index[1], length[0], length[1]]
}

/// What an endpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointKind {
    /// Requests and their answers.
    Control,
    /// Sound and pictures: not offered here.
    Isochronous,
    /// Data without loss, whenever the bus has time.
    Bulk,
    /// Small reports, asked for at an interval.
    Interrupt,
}

/// An endpoint of an interface, as its descriptor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// `bEndpointAddress`: bit 7 is set for an endpoint that the host reads.
    pub address: u8,
    /// What it is for.
    pub kind: EndpointKind,
    /// The most bytes in one packet; a shorter packet ends a transfer.
    pub max_packet_size: u16,
    /// `bInterval`, in the unit of the device's speed.
    pub interval: u8,
}

impl Endpoint {
    /// Whether the host reads from this endpoint.
    pub fn is_in(&self) -> bool {
        self.address & 0x80 != 0
    }
}

/// What a link has carried since it was opened, reading the descriptors while opening included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Control transfers begun.
    pub control: u64,
    /// Bulk transfers begun.
    pub bulk: u64,
    /// Interrupt transfers begun.
    pub interrupt: u64,
    /// Bytes of data that the device took.
    pub bytes_out: u64,
    /// Bytes of data that the device gave.
    pub bytes_in: u64,
}

impl Counters {
    /// Transfers of all kinds begun.
    pub fn transfers(&self) -> u64 {
        self.control + self.bulk + self.interrupt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_packet_is_eight_bytes_in_the_order_of_the_specification() {
        let read = ControlIn {
            kind: ControlKind::Vendor,
            recipient: Recipient::Interface,
            request: 0x51,
            value: 0x0102,
            index: 0x0304,
            length: 0x0506,
        };
        assert_eq!(read.setup(), [0xc1, 0x51, 0x02, 0x01, 0x04, 0x03, 0x06, 0x05]);
    }
}
