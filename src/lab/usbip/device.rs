//! What a virtual device is: its descriptors, and what it does when the host speaks to it.

use super::bus::Bus;

/// A virtual USB device.
///
/// The calls come one at a time, in the order of the bus, and must be quick: the bus waits. What takes long is done by
/// the device on its own tasks or threads, which answer through the [`Bus`]. A call must not use the exporter.
pub trait Device: Send {
    /// What the device says about itself.
    fn descriptors(&self) -> &Descriptors;

    /// A host has imported the device. An earlier `bus` is dead by now.
    fn attached(&mut self, bus: Bus);

    /// Answers a request on the control endpoint: those of class and vendor, and the few standard ones that only a
    /// device can answer, such as the report descriptor of a HID interface. `data` is what the host gives with it.
    ///
    /// # Errors
    ///
    /// [`Stall`] where the device does not know the request or refuses it.
    fn control(&mut self, setup: &Setup, data: &[u8]) -> Result<Vec<u8>, Stall>;

    /// Takes the data of one transfer on `endpoint`, which may be empty.
    ///
    /// # Errors
    ///
    /// [`Stall`] halts the endpoint until the host clears it.
    fn transfer_out(&mut self, endpoint: u8, data: &[u8]) -> Result<(), Stall>;

    /// The host has ended the halt of an endpoint. What waits on an IN endpoint is still to be sent, unless the device
    /// flushes it now.
    fn halt_cleared(&mut self, endpoint: u8);

    /// The host has set the configuration, or with a number this interface: what the device began there is over.
    fn configured(&mut self, _interface: Option<u8>) {}

    /// The host is gone: it closed the device, or the cable was pulled. Comes once after each `attached`.
    fn detached(&mut self);
}

/// The device refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall;

/// The eight bytes that begin a control request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// `bmRequestType`: bit 7 set where the host reads, bits 5 and 6 the kind, bits 0 to 4 the recipient.
    pub request_type: u8,
    /// `bRequest`.
    pub request: u8,
    /// `wValue`.
    pub value: u16,
    /// `wIndex`.
    pub index: u16,
    /// `wLength`.
    pub length: u16,
}

impl Setup {
    pub(super) fn parse(bytes: [u8; 8]) -> Self {
        let [request_type, request, v0, v1, i0, i1, l0, l1] = bytes;
        let [value, index, length] = [[v0, v1], [i0, i1], [l0, l1]].map(u16::from_le_bytes);
        Self { request_type, request, value, index, length }
    }

    /// Whether the host reads.
    pub fn is_in(&self) -> bool {
        self.request_type & 0x80 != 0
    }
}

/// What a device says about itself, as bytes on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptors {
    /// The device descriptor.
    pub device: [u8; 18],
    /// The one configuration with its interfaces and endpoints.
    pub configuration: Vec<u8>,
    /// The BOS descriptor with its capabilities.
    pub bos: Option<Vec<u8>>,
    /// Strings 1, 2, 3 and on, in English.
    pub strings: Vec<String>,
    /// How fast it talks. The packet sizes above have to fit it.
    pub speed: Speed,
}

/// How fast a device talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speed {
    /// 1.5 Mbit/s: interrupt packets of at most 8 bytes, no bulk.
    Low,
    /// 12 Mbit/s: bulk packets of 8 to 64 bytes.
    Full,
    /// 480 Mbit/s: bulk packets of 512 bytes.
    #[default]
    High,
    /// 5 Gbit/s: bulk packets of 1024 bytes; `bMaxPacketSize0` is 9, for 2 to the 9th.
    Super,
}

impl Speed {
    /// As USB/IP and Linux write it.
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Low => 1,
            Self::Full => 2,
            Self::High => 3,
            Self::Super => 5,
        }
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Full => "full",
            Self::High => "high",
            Self::Super => "super",
        })
    }
}

/// An endpoint that the configuration has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EndpointSize {
    pub(super) address: u8,
    pub(super) max_packet_size: usize,
}

impl Descriptors {
    /// The bulk and interrupt endpoints.
    pub(super) fn endpoints(&self) -> Vec<EndpointSize> {
        let endpoint = |descriptor: &[u8]| match *descriptor {
            [_, 5, address, attributes, low, high, ..] if attributes & 2 != 0 => {
                let max_packet_size = usize::from(u16::from_le_bytes([low, high]) & 0x07ff).max(1);
                Some(EndpointSize { address, max_packet_size })
            }
            _ => None,
        };
        self.parts().filter_map(endpoint).collect()
    }

    /// The class triples of the interfaces in their first setting.
    pub(super) fn interfaces(&self) -> Vec<[u8; 3]> {
        let triple = |descriptor: &[u8]| match *descriptor {
            [_, 4, _, 0, _, class, subclass, protocol, ..] => Some([class, subclass, protocol]),
            _ => None,
        };
        self.parts().filter_map(triple).collect()
    }

    /// `bConfigurationValue`.
    pub(super) fn configuration_value(&self) -> u8 {
        self.configuration.get(5).copied().unwrap_or(1)
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.configuration[..];
        std::iter::from_fn(move || {
            let length = usize::from(*rest.first()?);
            let (part, after) = rest.split_at_checked(length).filter(|_| length > 0)?;
            rest = after;
            Some(part)
        })
    }
}
