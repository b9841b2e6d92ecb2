//! Descriptors: what a device says about itself, read without trusting one byte of it.

use super::transfer::{Endpoint, EndpointKind};

pub(super) const DEVICE: u8 = 1;
pub(super) const CONFIGURATION: u8 = 2;
pub(super) const STRING: u8 = 3;
const INTERFACE: u8 = 4;
const ENDPOINT: u8 = 5;
pub(super) const BOS: u8 = 15;

/// The device descriptor: 18 bytes that every device has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceDescriptor {
    /// `idVendor`.
    pub vendor_id: u16,
    /// `idProduct`.
    pub product_id: u16,
    /// `bcdDevice`: the device's own version in binary-coded decimal.
    pub device_version: u16,
    /// `bcdUSB`: a device has a BOS descriptor from 0x0201 on.
    pub usb_version: u16,
    /// Index of the maker's name, or 0.
    pub manufacturer: u8,
    /// Index of the product's name, or 0.
    pub product: u8,
    /// Index of the serial number, or 0.
    pub serial: u8,
}

/// The active configuration with its interfaces, each in its first setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// `bConfigurationValue`.
    pub value: u8,
    /// The interfaces in the order of their descriptors.
    pub interfaces: Vec<Interface>,
    /// What interfaces become in their other settings, in the order of the descriptors.
    pub alternatives: Vec<InterfaceKind>,
}

/// An interface of the active configuration, in alternate setting 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// What the interface is.
    pub kind: InterfaceKind,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// What an interface is: its number and its class triple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceKind {
    /// `bInterfaceNumber`.
    pub number: u8,
    /// `bInterfaceClass`.
    pub class: u8,
    /// `bInterfaceSubClass`.
    pub subclass: u8,
    /// `bInterfaceProtocol`.
    pub protocol: u8,
}

/// What is wrong with a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDescriptor {
    /// Shorter than what it says or must hold.
    #[error("a descriptor ends too early")]
    Short,
    /// Another type than the one asked for.
    #[error("a descriptor has another type than asked")]
    Type,
    /// A packet size of 0 where data is to flow.
    #[error("an endpoint has a packet size of 0")]
    PacketSize,
    /// An endpoint before any interface.
    #[error("an endpoint belongs to no interface")]
    Stray,
    /// Text that is not UTF-16.
    #[error("a string is not UTF-16")]
    Text,
}

impl DeviceDescriptor {
    /// Reads the descriptor's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadDescriptor> {
        let bytes: &[u8; 18] = bytes.first_chunk().ok_or(BadDescriptor::Short)?;
        if bytes[1] != DEVICE {
            return Err(BadDescriptor::Type);
        }
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Ok(Self {
            usb_version: word(2),
            vendor_id: word(8),
            product_id: word(10),
            device_version: word(12),
            manufacturer: bytes[14],
            product: bytes[15],
            serial: bytes[16],
        })
    }
}

impl Configuration {
    /// Reads a configuration descriptor and everything that follows it.
    ///
    /// What is unknown is passed over; what lies beyond the announced total length is not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadDescriptor> {
        let total = usize::from(Self::total_length(bytes)?);
        let mut rest = bytes.get(..total).ok_or(BadDescriptor::Short)?;
        let value = *bytes.get(5).ok_or(BadDescriptor::Short)?;
        let (mut interfaces, mut alternatives): (Vec<Interface>, Vec<InterfaceKind>) = (Vec::new(), Vec::new());
        let mut first_setting = false;
        while let [length, kind, ..] = *rest {
            let length = usize::from(length);
            let descriptor = rest.get(..length).filter(|d| d.len() >= 2).ok_or(BadDescriptor::Short)?;
            rest = &rest[length..];
            match kind {
                INTERFACE => {
                    let fields: &[u8; 9] = descriptor.first_chunk().ok_or(BadDescriptor::Short)?;
                    let [_, _, number, setting, _, class, subclass, protocol, _] = *fields;
                    first_setting = setting == 0;
                    let kind = InterfaceKind { number, class, subclass, protocol };
                    if first_setting {
                        interfaces.push(Interface { kind, endpoints: Vec::new() });
                    } else if interfaces.is_empty() {
                        return Err(BadDescriptor::Stray);
                    } else {
                        alternatives.push(kind);
                    }
                }
                ENDPOINT if first_setting || interfaces.is_empty() => {
                    let endpoint = endpoint(descriptor)?;
                    interfaces.last_mut().ok_or(BadDescriptor::Stray)?.endpoints.push(endpoint);
                }
                _ => {}
            }
        }
        match rest {
            [] => Ok(Self { value, interfaces, alternatives }),
            _ => Err(BadDescriptor::Short),
        }
    }

    /// `wTotalLength`, from the first nine bytes.
    pub(super) fn total_length(bytes: &[u8]) -> Result<u16, BadDescriptor> {
        let head: &[u8; 9] = bytes.first_chunk().ok_or(BadDescriptor::Short)?;
        if head[1] != CONFIGURATION {
            return Err(BadDescriptor::Type);
        }
        Ok(u16::from_le_bytes([head[2], head[3]]))
    }

    /// What every interface is, in every setting: a device can become any of it without being plugged in anew.
    pub fn kinds(&self) -> impl Iterator<Item = InterfaceKind> + '_ {
        self.interfaces.iter().map(|interface| interface.kind).chain(self.alternatives.iter().copied())
    }

    /// The interface with this number.
    pub fn interface(&self, number: u8) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.kind.number == number)
    }
}

fn endpoint(descriptor: &[u8]) -> Result<Endpoint, BadDescriptor> {
    let fields: &[u8; 7] = descriptor.first_chunk().ok_or(BadDescriptor::Short)?;
    let [_, _, address, attributes, low, high, interval] = *fields;
    let kind = match attributes & 3 {
        0 => EndpointKind::Control,
        1 => EndpointKind::Isochronous,
        2 => EndpointKind::Bulk,
        _ => EndpointKind::Interrupt,
    };
    // The upper five bits count extra packets per microframe and are no part of the size.
    let max_packet_size = u16::from_le_bytes([low, high]) & 0x07ff;
    if max_packet_size == 0 && matches!(kind, EndpointKind::Bulk | EndpointKind::Interrupt) {
        return Err(BadDescriptor::PacketSize);
    }
    Ok(Endpoint { address, kind, max_packet_size, interval })
}

/// Reads the text of a string descriptor.
pub(super) fn text(descriptor: &[u8]) -> Result<String, BadDescriptor> {
    let [length, kind, ..] = *descriptor else { return Err(BadDescriptor::Short) };
    if kind != STRING {
        return Err(BadDescriptor::Type);
    }
    let units = descriptor.get(2..usize::from(length)).ok_or(BadDescriptor::Short)?;
    let units = units.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text: String = char::decode_utf16(units).collect::<Result<_, _>>().map_err(|_| BadDescriptor::Text)?;
    Ok(text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned())
}

/// Reads the first language of string descriptor 0.
pub(super) fn first_language(descriptor: &[u8]) -> Result<u16, BadDescriptor> {
    match *descriptor {
        [length, STRING, low, high, ..] if length >= 4 => Ok(u16::from_le_bytes([low, high])),
        [_, STRING, ..] | [] | [_] => Err(BadDescriptor::Short),
        _ => Err(BadDescriptor::Type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE_INTERFACE: [u8; 32] = [
        9, 2, 32, 0, 1, 7, 0, 0xc0, 50, // configuration 7
        9, 4, 3, 0, 2, 0xff, 0x54, 0x44, 0, // interface 3
        7, 5, 0x81, 2, 0x00, 0x02, 0, // bulk in, 512
        7, 5, 0x01, 2, 0x00, 0x02, 0, // bulk out, 512
    ];

    #[test]
    fn an_interface_is_found_by_its_number_with_its_endpoints() {
        let configuration = Configuration::parse(&ONE_INTERFACE).unwrap();
        assert_eq!(configuration.value, 7);
        let interface = configuration.interface(3).unwrap();
        assert_eq!((interface.kind.class, interface.kind.subclass, interface.kind.protocol), (0xff, 0x54, 0x44));
        let addresses: Vec<u8> = interface.endpoints.iter().map(|endpoint| endpoint.address).collect();
        assert_eq!(addresses, [0x81, 0x01]);
    }

    #[test]
    fn endpoints_of_another_setting_do_not_count() {
        let mut bytes = ONE_INTERFACE.to_vec();
        bytes.extend([9, 4, 3, 1, 1, 0xff, 0x54, 0x44, 0, 7, 5, 0x82, 2, 0, 2, 0]);
        bytes[2] = bytes.len() as u8;
        assert_eq!(Configuration::parse(&bytes).unwrap().interface(3).unwrap().endpoints.len(), 2);
    }

    #[test]
    fn what_an_interface_becomes_in_another_setting_is_told() {
        let mut bytes = ONE_INTERFACE.to_vec();
        bytes.extend([9, 4, 3, 1, 0, 3, 1, 1, 0]);
        bytes[2] = bytes.len() as u8;
        let configuration = Configuration::parse(&bytes).unwrap();
        assert_eq!(configuration.interfaces.len(), 1);
        let kinds: Vec<(u8, u8, u8)> = configuration.kinds().map(|kind| kind.triple()).collect();
        assert_eq!(kinds, [(0xff, 0x54, 0x44), (3, 1, 1)]);
    }

    #[test]
    fn a_truncated_configuration_is_refused_at_every_length() {
        for length in 0..ONE_INTERFACE.len() {
            assert!(Configuration::parse(&ONE_INTERFACE[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_zero_length_descriptor_does_not_hang_the_reader() {
        let mut bytes = ONE_INTERFACE;
        bytes[9] = 0;
        assert_eq!(Configuration::parse(&bytes), Err(BadDescriptor::Short));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = DeviceDescriptor::parse(&bytes);
            let _ = Configuration::parse(&bytes);
            let _ = text(&bytes);
            let _ = first_language(&bytes);
        }

        #[test]
        fn a_configuration_with_damaged_bytes_is_read_or_refused(at in 0..32_usize, value: u8) {
            let mut bytes = ONE_INTERFACE;
            bytes[at] = value;
            if let Ok(configuration) = Configuration::parse(&bytes) {
                prop_assert!(configuration.interfaces.len() <= 3);
            }
        }
    }
}
