//! USB/IP 1.1.1 as bytes: what this side asks, and what it reads in the answers. All numbers are big-endian.
//!
//! Source: the Linux kernel's `Documentation/usb/usbip_protocol.rst`.

use super::super::descriptor::InterfaceKind;
use super::super::slot::BusId;

const VERSION: u16 = 0x0111;
const REQUEST_LIST: u16 = 0x8005;
const REPLY_LIST: u16 = 0x0005;
const REQUEST_IMPORT: u16 = 0x8003;
const REPLY_IMPORT: u16 = 0x0003;

const COMMAND_SUBMIT: u32 = 1;
const COMMAND_UNLINK: u32 = 2;
const RETURN_SUBMIT: u32 = 3;
const RETURN_UNLINK: u32 = 4;

/// Bytes of an import reply when it refuses.
pub(super) const OPERATION: usize = 8;
const DEVICE: usize = 312;
/// Bytes of an import reply that agrees.
pub(super) const IMPORTED: usize = OPERATION + DEVICE;
/// Bytes of the header before every transfer and every answer.
pub(super) const HEADER: usize = 48;

/// No server has more devices; a larger number is taken for nonsense.
const MOST_DEVICES: u32 = 4096;

/// How a USB/IP server broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It speaks another version.
    #[error("it speaks version {version:#06x} instead of 0x0111")]
    Version {
        /// The version it speaks.
        version: u16,
    },
    /// It answered something else than what was asked.
    #[error("it answered with code {code:#06x}")]
    Code {
        /// The code of its answer.
        code: u32,
    },
    /// It answered a transfer that is not under way.
    #[error("it answered transfer {sequence}, which is not under way")]
    Sequence {
        /// The sequence number it answered.
        sequence: u32,
    },
    /// It transferred more than was asked for.
    #[error("it transferred {actual} bytes where {asked} were asked for")]
    Length {
        /// How many bytes it says there are.
        actual: u32,
        /// How many were asked for.
        asked: u32,
    },
    /// Its list or its device makes no sense.
    #[error("its description of a device makes no sense")]
    Device,
    /// It ended the connection in the middle of an answer.
    #[error("it ended the connection in the middle of an answer")]
    Truncated,
}

/// A device that a server exports, as the list and the import reply describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exported {
    pub(super) bus_id: BusId,
    pub(super) bus: u32,
    pub(super) address: u32,
    pub(super) vendor_id: u16,
    pub(super) product_id: u16,
    pub(super) device_version: u16,
    pub(super) interfaces: Vec<InterfaceKind>,
}

impl Exported {
    /// The device's number on a connection: bus and device number, as the specification wants it.
    pub(super) fn id(&self) -> u32 {
        self.bus << 16 | self.address & 0xffff
    }
}

/// One answer of a server on an imported device; the data of an IN transfer follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) sequence: u32,
    pub(super) kind: AnswerKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerKind {
    /// The transfer is complete; `status` is 0 or a negative errno of Linux.
    Submitted { status: i32, actual: u32 },
    /// The withdrawal was handled.
    Unlinked,
}

/// A transfer to submit.
pub(super) struct Submit {
    pub(super) sequence: u32,
    pub(super) device: u32,
    /// Without the direction bit.
    pub(super) endpoint: u8,
    pub(super) is_in: bool,
    pub(super) length: u32,
    pub(super) interval: u8,
    pub(super) setup: [u8; 8],
}

pub(super) fn list_request() -> [u8; OPERATION] {
    let mut bytes = [0; OPERATION];
    bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
    bytes[2..4].copy_from_slice(&REQUEST_LIST.to_be_bytes());
    bytes
}

pub(super) fn import_request(bus_id: &BusId) -> [u8; OPERATION + 32] {
    let mut bytes = [0; OPERATION + 32];
    bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
    bytes[2..4].copy_from_slice(&REQUEST_IMPORT.to_be_bytes());
    bytes[OPERATION..][..bus_id.as_str().len()].copy_from_slice(bus_id.as_str().as_bytes());
    bytes
}

impl Submit {
    pub(super) fn header(&self) -> [u8; HEADER] {
        const DIRECTION_IN: u32 = 0x0200;
        let flags = if self.is_in { DIRECTION_IN } else { 0 };
        let words = [
            COMMAND_SUBMIT,
            self.sequence,
            self.device,
            u32::from(self.is_in),
            u32::from(self.endpoint),
            flags,
            self.length,
            0, // start frame: isochronous only
            0, // number of packets: the page says 0xffffffff for others, Linux sends 0 and every server knows Linux
            u32::from(self.interval),
        ];
        let mut bytes = header(&words);
        bytes[40..].copy_from_slice(&self.setup);
        bytes
    }
}

pub(super) fn unlink(sequence: u32, device: u32, target: u32) -> [u8; HEADER] {
    header(&[COMMAND_UNLINK, sequence, device, 0, 0, target])
}

fn header(words: &[u32]) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    for (field, word) in bytes.chunks_exact_mut(4).zip(words) {
        field.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

/// Reads the whole answer to a list request, or says with `None` that more bytes must come.
pub(super) fn device_list(bytes: &[u8]) -> Result<Option<Vec<Exported>>, Violation> {
    let Some(status) = operation(bytes, REPLY_LIST)? else { return Ok(None) };
    if status != 0 {
        return Err(Violation::Device);
    }
    let Some(count) = bytes.get(OPERATION..OPERATION + 4) else { return Ok(None) };
    let count = word(count, 0);
    if count > MOST_DEVICES {
        return Err(Violation::Device);
    }
    let mut rest = &bytes[OPERATION + 4..];
    let mut devices = Vec::new();
    for _ in 0..count {
        let Some((record, after)) = rest.split_first_chunk::<DEVICE>() else { return Ok(None) };
        let mut exported = device(record)?;
        let interfaces = usize::from(record[DEVICE - 1]);
        let Some((triples, after)) = after.split_at_checked(interfaces * 4) else { return Ok(None) };
        let kind = |(number, triple): (u8, &[u8])| InterfaceKind {
            number,
            class: triple[0],
            subclass: triple[1],
            protocol: triple[2],
        };
        exported.interfaces = (0..=u8::MAX).zip(triples.chunks_exact(4)).map(kind).collect();
        devices.push(exported);
        rest = after;
    }
    Ok(Some(devices))
}

/// Reads an import reply, or says with `None` that more bytes must come. The inner error is the status of a refusal.
pub(super) fn import_reply(bytes: &[u8]) -> Result<Option<Result<Exported, u32>>, Violation> {
    match operation(bytes, REPLY_IMPORT)? {
        None => Ok(None),
        Some(0) => bytes[OPERATION..].first_chunk().map(device).transpose().map(|exported| exported.map(Ok)),
        Some(status) => Ok(Some(Err(status))),
    }
}

fn operation(bytes: &[u8], expected: u16) -> Result<Option<u32>, Violation> {
    let Some(head) = bytes.get(..OPERATION) else { return Ok(None) };
    let version = u16::from_be_bytes([head[0], head[1]]);
    let code = u16::from_be_bytes([head[2], head[3]]);
    if version != VERSION {
        return Err(Violation::Version { version });
    }
    if code != expected {
        return Err(Violation::Code { code: code.into() });
    }
    Ok(Some(word(head, 4)))
}

fn device(record: &[u8; DEVICE]) -> Result<Exported, Violation> {
    let name = &record[256..288];
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let bus_id = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()).ok_or(Violation::Device)?;
    let half = |at: usize| u16::from_be_bytes([record[at], record[at + 1]]);
    Ok(Exported {
        bus_id,
        bus: word(record, 288),
        address: word(record, 292),
        vendor_id: half(300),
        product_id: half(302),
        device_version: half(304),
        interfaces: Vec::new(),
    })
}

/// Reads the header of an answer. Of its fields only command, sequence number, status and length mean anything.
pub(super) fn answer(header: &[u8; HEADER]) -> Result<Answer, Violation> {
    let sequence = word(header, 4);
    let status = word(header, 20).cast_signed();
    let kind = match word(header, 0) {
        RETURN_SUBMIT => AnswerKind::Submitted { status, actual: word(header, 24) },
        RETURN_UNLINK => AnswerKind::Unlinked,
        code => return Err(Violation::Code { code }),
    };
    Ok(Answer { sequence, kind })
}

/// The number at `at`; the caller has checked the length.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_submit_header_has_the_fields_of_the_specification_in_order() {
        let submit = Submit {
            sequence: 0x0d05,
            device: 0x0001_000f,
            endpoint: 1,
            is_in: true,
            length: 0x40,
            interval: 4,
            setup: [0; 8],
        };
        let mut expected = [0; HEADER];
        expected[3] = 1;
        expected[4..8].copy_from_slice(&[0, 0, 0x0d, 0x05]);
        expected[8..12].copy_from_slice(&[0, 1, 0, 0x0f]);
        expected[15] = 1;
        expected[19] = 1;
        expected[22] = 2;
        expected[27] = 0x40;
        expected[39] = 4;
        assert_eq!(submit.header(), expected);
    }

    #[test]
    fn a_server_of_another_version_is_told_from_one_that_answers_nonsense() {
        assert_eq!(device_list(&[1, 6, 0, 5, 0, 0, 0, 0]), Err(Violation::Version { version: 0x0106 }));
        assert_eq!(device_list(b"HTTP/1.1"), Err(Violation::Version { version: 0x4854 }));
        assert_eq!(import_reply(&[1, 17, 0, 5, 0, 0, 0, 0]), Err(Violation::Code { code: 5 }));
        assert_eq!(import_reply(&[1, 17, 0, 3, 0, 0, 0, 4]), Ok(Some(Err(4))));
    }

    #[test]
    fn a_list_that_announces_millions_of_devices_is_refused_before_they_are_read() {
        assert_eq!(device_list(&[1, 17, 0, 5, 0, 0, 0, 0, 0xff, 0, 0, 0]), Err(Violation::Device));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..1200), list: bool) {
            let _ = device_list(&bytes);
            let _ = import_reply(&bytes);
            if let Some(header) = bytes.first_chunk() {
                let _ = answer(header);
            }
            if bytes.len() >= 12 {
                bytes[..12].copy_from_slice(&[1, 17, 0, if list { 5 } else { 3 }, 0, 0, 0, 0, 0, 0, 0, 2]);
                let _ = device_list(&bytes);
                let _ = import_reply(&bytes);
            }
        }
    }
}
