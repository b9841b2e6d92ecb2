//! An open device with one claimed interface.

use std::time::Duration;

use super::capture::{Flight, Tap, Tapped};
use super::descriptor::{self, BadDescriptor, Configuration, DeviceDescriptor};
use super::error::{Doing, Missing, UsbError, Where};
#[cfg(feature = "libusb")]
use super::libusb;
use super::slot::Slot;
use super::transfer::{ControlIn, ControlKind, ControlOut, Counters, Endpoint, EndpointKind, PIECE, Recipient, pieces};
use super::{system, usbip};

/// How long reading one descriptor may take.
const DESCRIPTOR: Duration = Duration::from_secs(5);

/// An open device with one claimed interface. Dropping it gives the device back at once.
///
/// Every transfer has a deadline. A transfer that misses it is withdrawn and ends as [`UsbError::TimedOut`]; a USB/IP
/// server that does not even answer the withdrawal has the same time again, a quarter to one second, before the link ends as
/// [`UsbError::Silent`]. A transfer whose future is dropped is withdrawn too. What a withdrawn read has brought all the
/// same is for the next read on its endpoint; what a withdrawn write has carried nobody can say. After
/// [`UsbError::Stalled`] on an endpoint, [`clear_halt`](Self::clear_halt) makes it usable again.
#[derive(Debug)]
pub struct Link {
    slot: Slot,
    interface: u8,
    descriptor: DeviceDescriptor,
    configuration: Configuration,
    endpoints: Vec<Endpoint>,
    language: Option<u16>,
    counters: Counters,
    backend: Backend,
    tap: Option<Tapped>,
}

pub(super) enum Backend {
    System(system::Device),
    #[cfg(feature = "libusb")]
    Libusb(libusb::Device),
    UsbIp(Box<usbip::Device>),
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::System(_) => "System(..)",
            #[cfg(feature = "libusb")]
            Self::Libusb(_) => "Libusb(..)",
            Self::UsbIp(_) => "UsbIp(..)",
        })
    }
}

impl Link {
    pub(super) fn new(
        slot: Slot,
        interface: u8,
        descriptor: DeviceDescriptor,
        configuration: Configuration,
        counters: Counters,
        backend: Backend,
    ) -> Result<Self, UsbError> {
        let Some(claimed) = configuration.interface(interface) else {
            return Err(UsbError::Missing { at: Where::Port(slot), missing: Missing::Interface(interface) });
        };
        let endpoints = claimed.endpoints.clone();
        Ok(Self { slot, interface, descriptor, configuration, endpoints, language: None, counters, backend, tap: None })
    }

    /// From here on every transfer is noted.
    pub(super) fn tapped(mut self, tap: Option<&Tap>, device: u32) -> Self {
        let bus = self.slot.system_bus().and_then(|bus| bus.parse().ok()).unwrap_or_default();
        let device = u8::try_from(device & 0xff).unwrap_or_default();
        self.tap = tap.map(|tap| Tapped { tap: tap.clone(), bus, device });
        self
    }

    /// The port that the device is on.
    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    /// The number of the claimed interface.
    pub fn interface(&self) -> u8 {
        self.interface
    }

    /// The endpoints of the claimed interface.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The first endpoint of this kind and direction (`is_in`: the host reads), as most interfaces have just one.
    pub fn endpoint_of(&self, kind: EndpointKind, is_in: bool) -> Option<Endpoint> {
        self.endpoints.iter().copied().find(|endpoint| endpoint.kind == kind && endpoint.is_in() == is_in)
    }

    /// The device descriptor, read while opening.
    pub fn device_descriptor(&self) -> &DeviceDescriptor {
        &self.descriptor
    }

    /// The active configuration, read while opening.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// What the link has carried.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Asks the device for data on the control endpoint; it may give less than asked.
    pub async fn control_in(&mut self, request: ControlIn, deadline: Duration) -> Result<Vec<u8>, UsbError> {
        self.counters.control += 1;
        let during = Doing::Control { request: request.request };
        let at = Where::Port(self.slot.clone());
        let flight = self.tap.as_ref().map(|tap| tap.control(request.setup(), &[]));
        let answer = match &mut self.backend {
            Backend::System(device) => {
                let outcome = device.control_in(request, at, during, deadline).await;
                device.settled(outcome).await
            }
            #[cfg(feature = "libusb")]
            Backend::Libusb(device) => device.control_in(request, at, during, deadline).await,
            Backend::UsbIp(device) => device.control_in(request, during, deadline).await,
        };
        self.ended(flight, answer.as_deref());
        let data = answer?;
        self.counters.bytes_in += data.len() as u64;
        Ok(data)
    }

    /// Gives the device a request on the control endpoint, with at most 65535 bytes of data.
    pub async fn control_out(&mut self, request: ControlOut<'_>, deadline: Duration) -> Result<(), UsbError> {
        self.counters.control += 1;
        let during = Doing::Control { request: request.request };
        let at = Where::Port(self.slot.clone());
        let setup = request.setup();
        let flight = self.tap.as_ref().zip(setup).map(|(tap, setup)| tap.control(setup, request.data));
        let sent = match &mut self.backend {
            Backend::System(device) => {
                let outcome = device.control_out(request, at, during, deadline).await;
                device.settled(outcome).await
            }
            #[cfg(feature = "libusb")]
            Backend::Libusb(device) => device.control_out(request, at, during, deadline).await,
            Backend::UsbIp(device) => device.control_out(request, &at, during, deadline).await,
        };
        self.ended(flight, sent.as_ref().map(|()| &[][..]));
        sent?;
        self.counters.bytes_out += request.data.len() as u64;
        Ok(())
    }

    /// Sends `data` as one transfer. Empty `data` is a zero-length packet; none is added by itself.
    pub async fn bulk_out(&mut self, endpoint: u8, data: &[u8], deadline: Duration) -> Result<(), UsbError> {
        self.write(endpoint, data, data.len(), deadline).await
    }

    /// Sends `data` as [`bulk_out`](Self::bulk_out) does, in pieces of whole packets, several under way at a time, so that
    /// the bus is never idle: on it there is no difference. Each piece that has gone out starts the deadline anew.
    pub async fn stream_out(&mut self, endpoint: u8, data: &[u8], deadline: Duration) -> Result<(), UsbError> {
        self.write(endpoint, data, PIECE, deadline).await
    }

    /// Receives one transfer of at most `max` bytes: it ends with a short packet, a zero-length packet, or when full.
    ///
    /// `max` should be a multiple of the packet size; a packet that does not fit ends as [`UsbError::Damaged`].
    pub async fn bulk_in(&mut self, endpoint: u8, max: usize, deadline: Duration) -> Result<Vec<u8>, UsbError> {
        self.read(endpoint, EndpointKind::Bulk, max, usize::MAX, deadline).await
    }

    /// Receives as [`bulk_in`](Self::bulk_in) does, in pieces of whole packets, several under way at a time. Each piece
    /// that has come starts the deadline anew.
    ///
    /// For what is known to be long: where a short packet ends it early, the pieces behind it are withdrawn.
    pub async fn stream_in(&mut self, endpoint: u8, max: usize, deadline: Duration) -> Result<Vec<u8>, UsbError> {
        self.read(endpoint, EndpointKind::Bulk, max, PIECE, deadline).await
    }

    /// Receives one report of at most `max` bytes. Some devices send empty ones in between.
    pub async fn interrupt_in(&mut self, endpoint: u8, max: usize, deadline: Duration) -> Result<Vec<u8>, UsbError> {
        self.read(endpoint, EndpointKind::Interrupt, max, usize::MAX, deadline).await
    }

    async fn write(&mut self, endpoint: u8, data: &[u8], piece: usize, deadline: Duration) -> Result<(), UsbError> {
        let endpoint = self.endpoint(endpoint, EndpointKind::Bulk, false)?;
        self.counters.bulk += pieces(data, piece).len() as u64;
        let during = Doing::Transfer { endpoint: endpoint.address };
        let at = Where::Port(self.slot.clone());
        // A stream is noted as the one transfer that it is for the device.
        let flight = self.tap.as_ref().map(|tap| tap.transfer(endpoint, data, data.len()));
        let sent = match &mut self.backend {
            Backend::System(device) => {
                let outcome = device.write(endpoint, data, piece, at, during, deadline).await;
                device.settled(outcome).await
            }
            #[cfg(feature = "libusb")]
            Backend::Libusb(device) => device.write(endpoint, data, at, during, deadline).await,
            Backend::UsbIp(device) => device.write(endpoint, data, piece, during, deadline).await,
        };
        self.ended(flight, sent.as_ref().map(|()| &[][..]));
        sent?;
        self.counters.bytes_out += data.len() as u64;
        Ok(())
    }

    async fn read(
        &mut self,
        endpoint: u8,
        kind: EndpointKind,
        max: usize,
        piece: usize,
        deadline: Duration,
    ) -> Result<Vec<u8>, UsbError> {
        let endpoint = self.endpoint(endpoint, kind, true)?;
        let during = Doing::Transfer { endpoint: endpoint.address };
        let at = Where::Port(self.slot.clone());
        // Whole packets only: a host controller cannot stop in the middle of one.
        let packet = usize::from(endpoint.max_packet_size).max(1);
        let most = u32::MAX as usize / 0x800 * 0x800;
        let room = max.div_ceil(packet).max(1).saturating_mul(packet).min(most);
        let piece = (piece / packet).max(1).saturating_mul(packet).min(room);
        let transfers = room.div_ceil(piece) as u64;
        match kind {
            EndpointKind::Interrupt => self.counters.interrupt += transfers,
            EndpointKind::Bulk | EndpointKind::Control | EndpointKind::Isochronous => self.counters.bulk += transfers,
        }
        let flight = self.tap.as_ref().map(|tap| tap.transfer(endpoint, &[], room));
        let read = match &mut self.backend {
            Backend::System(device) => {
                let outcome = device.read(endpoint, (room, piece), at.clone(), during, deadline).await;
                device.settled(outcome).await
            }
            #[cfg(feature = "libusb")]
            Backend::Libusb(device) => device.read(endpoint, room, at.clone(), during, deadline).await,
            Backend::UsbIp(device) => device.read(endpoint, (room, piece), during, deadline).await,
        };
        self.ended(flight, read.as_deref());
        let data = read?;
        if data.len() > max {
            return Err(UsbError::Damaged { at, during, source: None });
        }
        self.counters.bytes_in += data.len() as u64;
        Ok(data)
    }

    /// Ends the halt of an endpoint after [`UsbError::Stalled`]: both sides start over with the first data packet.
    pub async fn clear_halt(&mut self, endpoint: u8, deadline: Duration) -> Result<(), UsbError> {
        let at = Where::Port(self.slot.clone());
        let found = self.endpoints.iter().copied().find(|found| found.address == endpoint);
        let endpoint =
            found.ok_or_else(|| UsbError::Missing { at: at.clone(), missing: Missing::Endpoint(endpoint) })?;
        self.counters.control += 1;
        let during = Doing::ClearingHalt { endpoint: endpoint.address };
        match &mut self.backend {
            Backend::System(device) => {
                let outcome = device.clear_halt(endpoint, at, during, deadline).await;
                device.settled(outcome).await
            }
            #[cfg(feature = "libusb")]
            Backend::Libusb(device) => device.clear_halt(endpoint, at, during, deadline).await,
            Backend::UsbIp(device) => {
                let request = ControlOut {
                    kind: ControlKind::Standard,
                    recipient: Recipient::Endpoint,
                    request: 1,
                    value: 0,
                    index: endpoint.address.into(),
                    data: &[],
                };
                device.control_out(request, &at, during, deadline).await
            }
        }
    }

    /// Reads the BOS descriptor with all its capabilities; `None` where the device has none.
    pub async fn bos(&mut self) -> Result<Option<Vec<u8>>, UsbError> {
        if self.descriptor.usb_version < 0x0201 {
            return Ok(None);
        }
        let head = match self.descriptor_bytes(descriptor::BOS, 0, 0, 5).await {
            Err(UsbError::Stalled { .. }) => return Ok(None),
            head => head?,
        };
        let [_, descriptor::BOS, low, high, ..] = head[..] else {
            return Err(self.malformed(BadDescriptor::Short));
        };
        let total = u16::from_le_bytes([low, high]);
        let whole = self.descriptor_bytes(descriptor::BOS, 0, 0, total).await?;
        if whole.len() != usize::from(total) {
            return Err(self.malformed(BadDescriptor::Short));
        }
        Ok(Some(whole))
    }

    /// Reads string descriptor `index` in the device's first language; `None` for index 0, which means "no string".
    pub async fn string(&mut self, index: u8) -> Result<Option<String>, UsbError> {
        if index == 0 {
            return Ok(None);
        }
        let language = match self.language {
            Some(language) => language,
            None => {
                let languages = self.descriptor_bytes(descriptor::STRING, 0, 0, 255).await?;
                let language = descriptor::first_language(&languages).map_err(|source| self.malformed(source))?;
                *self.language.insert(language)
            }
        };
        let bytes = self.descriptor_bytes(descriptor::STRING, index, language, 255).await?;
        let text = descriptor::text(&bytes).map_err(|source| self.malformed(source))?;
        Ok(Some(text))
    }

    async fn descriptor_bytes(&mut self, kind: u8, number: u8, index: u16, length: u16) -> Result<Vec<u8>, UsbError> {
        let value = u16::from_be_bytes([kind, number]);
        let (kind, recipient) = (ControlKind::Standard, Recipient::Device);
        self.control_in(ControlIn { kind, recipient, request: 6, value, index, length }, DESCRIPTOR).await
    }

    fn ended(&self, flight: Option<Flight>, end: Result<&[u8], &UsbError>) {
        if let (Some(tap), Some(flight)) = (&self.tap, flight) {
            tap.ended(flight, end);
        }
    }

    fn malformed(&self, source: BadDescriptor) -> UsbError {
        UsbError::Descriptor { at: Where::Port(self.slot.clone()), source }
    }

    fn endpoint(&self, address: u8, kind: EndpointKind, is_in: bool) -> Result<Endpoint, UsbError> {
        let fits = |found: &&Endpoint| found.address == address && found.kind == kind && found.is_in() == is_in;
        self.endpoints.iter().find(fits).copied().ok_or_else(|| UsbError::Missing {
            at: Where::Port(self.slot.clone()),
            missing: Missing::Endpoint(address),
        })
    }
}
