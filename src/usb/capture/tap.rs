//! The transfers of this program itself, noted at the link: the same over every way to a device. An aid for those who write
//! a driver.

use super::super::{Endpoint, EndpointKind, UsbError};
use super::packet::{Header, Packet};
use super::{CaptureError, CaptureFile};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Notes the transfers of every link that is opened with it. Clones write to the same file.
#[derive(Clone)]
pub struct Tap(Arc<Mutex<Inner>>);

struct Inner {
    file: CaptureFile,
    next: u64,
    failed: Option<CaptureError>,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tap(..)")
    }
}

/// A tap at one link.
#[derive(Debug)]
pub(in crate::usb) struct Tapped {
    pub(in crate::usb) tap: Tap,
    pub(in crate::usb) bus: u16,
    pub(in crate::usb) device: u8,
}

/// A transfer that is under way.
#[derive(Debug, Clone, Copy)]
pub(in crate::usb) struct Flight {
    id: u64,
    transfer: u8,
    endpoint: u8,
    length: u32,
}

impl Tap {
    /// Begins a new file.
    ///
    /// # Errors
    /// [`CaptureError::NotWritten`].
    pub fn create(path: &Path) -> Result<Self, CaptureError> {
        let about = "transfers of this program, noted where it makes them";
        let remark = "What crossed the cable, secrets included where a protocol sends them in the clear.";
        let file = CaptureFile::create(path, "tethercert", about, remark)?;
        Ok(Self(Arc::new(Mutex::new(Inner { file, next: 1, failed: None }))))
    }

    /// Why the file is not whole, if it is not.
    pub fn failed(&self) -> Option<CaptureError> {
        self.inner().failed.take()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A transfer matters more than its note: what fails is told in the end.
    fn write(&mut self, packet: &Packet) {
        if self.failed.is_none()
            && let Err(error) = self.file.write(packet).and_then(|()| self.file.flush())
        {
            self.failed = Some(error);
        }
    }
}

impl Tapped {
    /// A control transfer begins.
    pub(in crate::usb) fn control(&self, setup: [u8; 8], data: &[u8]) -> Flight {
        let length = u16::from_le_bytes([setup[6], setup[7]]).into();
        let flight = Flight { id: 0, transfer: 2, endpoint: setup[0] & 0x80, length };
        self.submitted(flight, Some(setup), data)
    }

    /// A transfer on an endpoint begins; one that reads asks for `length` bytes.
    pub(in crate::usb) fn transfer(&self, endpoint: Endpoint, data: &[u8], length: usize) -> Flight {
        let transfer = match endpoint.kind {
            EndpointKind::Isochronous => 0,
            EndpointKind::Interrupt => 1,
            EndpointKind::Control => 2,
            EndpointKind::Bulk => 3,
        };
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.submitted(Flight { id: 0, transfer, endpoint: endpoint.address, length }, None, data)
    }

    fn submitted(&self, flight: Flight, setup: Option<[u8; 8]>, data: &[u8]) -> Flight {
        let mut inner = self.tap.inner();
        let flight = Flight { id: inner.next, ..flight };
        inner.next += 1;
        let header = Header { setup, ..self.header(flight, b'S', -115, flight.length) };
        inner.write(&Packet::made(&header, data));
        flight
    }

    /// It ended, with what was read.
    pub(in crate::usb) fn ended(&self, flight: Flight, end: Result<&[u8], &UsbError>) {
        let (status, data) = match end {
            Ok(data) => (0, data),
            Err(error) => (number(error), &[][..]),
        };
        let reads = flight.endpoint & 0x80 != 0;
        let length = match end {
            Ok(data) if reads => u32::try_from(data.len()).unwrap_or(u32::MAX),
            Ok(_) => flight.length,
            Err(_) => 0,
        };
        let packet = Packet::made(&self.header(flight, b'C', status, length), data);
        self.tap.inner().write(&packet);
    }

    fn header(&self, flight: Flight, event: u8, status: i32, length: u32) -> Header {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let Flight { id, transfer, endpoint, .. } = flight;
        let (device, bus, setup) = (self.device, self.bus, None);
        Header { id, event, transfer, endpoint, device, bus, time, status, length, setup }
    }
}

/// What Linux would say.
fn number(error: &UsbError) -> i32 {
    match error {
        UsbError::Stalled { .. } => -32,
        UsbError::TimedOut { .. } | UsbError::Silent { .. } => -2,
        UsbError::Unplugged { .. } | UsbError::Unreachable { .. } => -108,
        _ => -71,
    }
}
