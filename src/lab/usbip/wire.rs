//! USB/IP 1.1.1 as bytes, seen from the server: requests read, replies written. All numbers are big-endian.
//!
//! Written apart from the client's reading of the same page (the Linux kernel's `usbip_protocol.rst`), so that one
//! misreading does not agree with itself.

use super::device::{Descriptors, Setup};

const VERSION: u16 = 0x0111;
const LIST: u16 = 0x0005;
const IMPORT: u16 = 0x0003;
const REQUEST: u16 = 0x8000;

/// Bytes of the header before every command and every answer.
pub(super) const HEADER: usize = 48;

/// More is not asked for in one transfer.
const MOST_BYTES: u32 = 16 << 20;

pub(super) const OK: i32 = 0;
pub(super) const STALLED: i32 = -32;
pub(super) const OVERFLOW: i32 = -75;
pub(super) const WITHDRAWN: i32 = -104;

/// What a connection may begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operation {
    List,
    Import { bus_id: String },
}

/// What an import is answered with where it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Busy = 2,
    NoDevice = 4,
}

/// What a host wants of an imported device.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) sequence: u32,
    pub(super) device: u32,
    pub(super) kind: CommandKind,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum CommandKind {
    Submit(Submit),
    Unlink { target: u32 },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Submit {
    /// With the direction bit.
    pub(super) endpoint: u8,
    pub(super) length: usize,
    pub(super) setup: Setup,
}

/// The host does not speak the protocol: the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonsense;

/// Reads what a connection begins with, or says with `None` that more bytes must come.
pub(super) fn operation(bytes: &[u8]) -> Result<Option<Operation>, Nonsense> {
    let Some(&[v0, v1, c0, c1, ..]) = bytes.first_chunk::<8>() else { return Ok(None) };
    let (version, code) = (u16::from_be_bytes([v0, v1]), u16::from_be_bytes([c0, c1]));
    if version != VERSION {
        return Err(Nonsense);
    }
    if code == REQUEST | LIST {
        return Ok(Some(Operation::List));
    }
    if code != REQUEST | IMPORT {
        return Err(Nonsense);
    }
    let Some(name) = bytes.get(8..40) else { return Ok(None) };
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let bus_id = std::str::from_utf8(name).map_err(|_| Nonsense)?.to_owned();
    Ok(Some(Operation::Import { bus_id }))
}

/// Reads the header of a command. The data of an OUT transfer follows it.
pub(super) fn command(header: &[u8; HEADER]) -> Result<Command, Nonsense> {
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let kind = match word(0) {
        1 => {
            let (direction, endpoint, length, packets) = (word(12), word(16), word(24), word(32));
            // Isochronous transfers carry packet descriptors; nothing here has such an endpoint.
            if direction > 1 || endpoint > 15 || length > MOST_BYTES || !matches!(packets, 0 | 0xffff_ffff) {
                return Err(Nonsense);
            }
            let setup = header.last_chunk().expect("a header is longer than a setup packet");
            let endpoint = u8::try_from(endpoint | direction << 7).map_err(|_| Nonsense)?;
            CommandKind::Submit(Submit { endpoint, length: length as usize, setup: Setup::parse(*setup) })
        }
        2 => CommandKind::Unlink { target: word(20) },
        _ => return Err(Nonsense),
    };
    Ok(Command { sequence: word(4), device: word(8), kind })
}

/// A device in a list or an import reply.
pub(super) struct Listed<'a> {
    pub(super) bus_id: &'a str,
    pub(super) address: u32,
    /// The active configuration, 0 for none.
    pub(super) configuration: u8,
    pub(super) descriptors: &'a Descriptors,
}

/// The bus of every device here.
const BUS: u32 = 1;

impl Listed<'_> {
    /// The number that commands for the device must bear.
    pub(super) fn id(&self) -> u32 {
        BUS << 16 | self.address
    }

    fn record(&self) -> Vec<u8> {
        let Self { bus_id, address, configuration, descriptors } = self;
        let mut record = padded(&format!("/lab/usb1/{bus_id}"), 256);
        record.extend(padded(bus_id, 32));
        [BUS, *address, descriptors.speed.code()].iter().for_each(|word| record.extend(word.to_be_bytes()));
        // Vendor, product and version: little-endian in the descriptor, big-endian here.
        let device = &descriptors.device;
        [8, 10, 12].iter().for_each(|at| record.extend([device[at + 1], device[*at]]));
        record.extend(&device[4..7]);
        let interfaces = u8::try_from(descriptors.interfaces().len()).unwrap_or(u8::MAX);
        record.extend([*configuration, device[17], interfaces]);
        record
    }
}

fn padded(text: &str, length: usize) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(length, 0);
    bytes
}

fn reply(code: u16, status: u32) -> Vec<u8> {
    let mut bytes = VERSION.to_be_bytes().to_vec();
    bytes.extend(code.to_be_bytes());
    bytes.extend(status.to_be_bytes());
    bytes
}

/// The beginning of a list of `count` devices.
pub(super) fn list_reply(count: u32) -> Vec<u8> {
    let mut bytes = reply(LIST, 0);
    bytes.extend(count.to_be_bytes());
    bytes
}

/// One device of a list.
pub(super) fn list_entry(listed: &Listed<'_>) -> Vec<u8> {
    let mut bytes = listed.record();
    for triple in listed.descriptors.interfaces().iter().take(255) {
        bytes.extend(triple);
        bytes.push(0);
    }
    bytes
}

pub(super) fn import_reply(listed: &Listed<'_>) -> Vec<u8> {
    let mut bytes = reply(IMPORT, 0);
    bytes.extend(listed.record());
    bytes
}

pub(super) fn refusal(refusal: Refusal) -> Vec<u8> {
    reply(IMPORT, refusal as u32)
}

/// The answer to a submit; `data` is what an IN transfer brought, `length` what was transferred.
pub(super) fn submitted(sequence: u32, status: i32, length: usize, data: &[u8]) -> Vec<u8> {
    // Device, direction and endpoint are 0 in answers.
    let mut bytes = answer(3, sequence, status);
    let length = u32::try_from(length).expect("a transfer is shorter than the most that may be asked for");
    bytes[24..28].copy_from_slice(&length.to_be_bytes());
    bytes.extend(data);
    bytes
}

pub(super) fn unlinked(sequence: u32, status: i32) -> Vec<u8> {
    answer(4, sequence, status)
}

fn answer(command: u32, sequence: u32, status: i32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER);
    [command, sequence, 0, 0, 0].iter().for_each(|word| bytes.extend(word.to_be_bytes()));
    bytes.extend(status.to_be_bytes());
    bytes.resize(HEADER, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_from_a_host_make_the_server_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), low: bool) {
            let mut bytes = bytes;
            let _ = operation(&bytes);
            if low && bytes.len() > 3 {
                bytes[..4].copy_from_slice(&[1, 0x11, 0x80, 3]);
                let _ = operation(&bytes);
                bytes[..4].copy_from_slice(&[0, 0, 0, 1]);
            }
            if let Some(header) = bytes.first_chunk() {
                let _ = command(header);
            }
        }
    }
}
