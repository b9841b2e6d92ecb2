//! All that a device says about itself, taken apart without trusting one byte of it: whatever comes, a tree comes out, and
//! what makes no sense stands in it as the bytes that it is.

mod bos;
mod class;

pub use bos::{Bos, Capability, CapabilityKind};
pub use class::names;

use super::transfer::EndpointKind;

/// One descriptor: its type and its bytes, with a name and words where they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// All of it, length and type included.
    pub bytes: Vec<u8>,
    /// What it is called: `HID`, `CDC union`.
    pub name: Option<&'static str>,
    /// What it says, as far as that is known: `report descriptor of 63 bytes`.
    pub says: Vec<String>,
    /// String descriptors that it names, with what they are: `(MAC address, 4)`.
    pub strings: Vec<(&'static str, u8)>,
}

/// The device descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// `bcdUSB`.
    pub usb_version: u16,
    /// Class, subclass and protocol.
    pub class: (u8, u8, u8),
    /// `bMaxPacketSize0`, as it stands there.
    pub max_packet_size_0: u8,
    /// `idVendor`.
    pub vendor_id: u16,
    /// `idProduct`.
    pub product_id: u16,
    /// `bcdDevice`.
    pub device_version: u16,
    /// Indexes of maker, product and serial number; 0 is none.
    pub strings: [u8; 3],
    /// How many configurations it announces.
    pub configurations: u8,
}

/// A configuration with all that follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// `bConfigurationValue`.
    pub value: u8,
    /// Index of its name, or 0.
    pub string: u8,
    /// `bmAttributes`.
    pub attributes: u8,
    /// `bMaxPower`, in 2 mA, or 8 mA at SuperSpeed.
    pub max_power: u8,
    /// How many interfaces it announces.
    pub announced: u8,
    /// `wTotalLength` as it says, and what there was of it.
    pub length: (u16, usize),
    /// What stands before the first interface: interface associations, OTG.
    pub before: Vec<Described>,
    /// Every alternate setting of every interface, in order.
    pub interfaces: Vec<Interface>,
    /// Bytes at the end that are no descriptor.
    pub rest: Vec<u8>,
}

/// One alternate setting of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// `bInterfaceNumber`.
    pub number: u8,
    /// `bAlternateSetting`.
    pub setting: u8,
    /// Class, subclass and protocol.
    pub class: (u8, u8, u8),
    /// Index of its name, or 0.
    pub string: u8,
    /// What belongs to its class, or is unknown.
    pub others: Vec<Described>,
    /// Its endpoints.
    pub endpoints: Vec<EndpointFound>,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointFound {
    /// `bEndpointAddress`.
    pub address: u8,
    /// `bmAttributes`.
    pub attributes: u8,
    /// `wMaxPacketSize` as it stands there.
    pub max_packet_size: u16,
    /// `bInterval`.
    pub interval: u8,
    /// What stands after it: SuperSpeed companions, class-specific endpoints.
    pub others: Vec<Described>,
}

impl EndpointFound {
    /// What it is for.
    pub fn kind(&self) -> EndpointKind {
        match self.attributes & 3 {
            0 => EndpointKind::Control,
            1 => EndpointKind::Isochronous,
            2 => EndpointKind::Bulk,
            _ => EndpointKind::Interrupt,
        }
    }

    /// Whether the host reads it.
    pub fn is_in(&self) -> bool {
        self.address & 0x80 != 0
    }

    /// The most bytes in one packet.
    pub fn packet(&self) -> u16 {
        self.max_packet_size & 0x07ff
    }
}

impl Device {
    /// Reads the 18 bytes.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 18] = bytes.first_chunk()?;
        if bytes[1] != super::descriptor::DEVICE {
            return None;
        }
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Some(Self {
            usb_version: word(2),
            class: (bytes[4], bytes[5], bytes[6]),
            max_packet_size_0: bytes[7],
            vendor_id: word(8),
            product_id: word(10),
            device_version: word(12),
            strings: [bytes[14], bytes[15], bytes[16]],
            configurations: bytes[17],
        })
    }
}

/// What follows a descriptor of a configuration belongs to it.
enum Within {
    Configuration,
    Interface,
    Endpoint,
}

impl Configuration {
    /// Reads a configuration with all that follows it; nothing where it does not begin as one.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; 9] = bytes.first_chunk()?;
        let [length, kind, low, high, announced, value, string, attributes, max_power] = *head;
        if kind != super::descriptor::CONFIGURATION || length < 9 {
            return None;
        }
        let total = u16::from_le_bytes([low, high]);
        let there = bytes.len().min(usize::from(total)).max(usize::from(length).min(bytes.len()));
        let mut found = Self {
            value,
            string,
            attributes,
            max_power,
            announced,
            length: (total, there),
            before: Vec::new(),
            interfaces: Vec::new(),
            rest: Vec::new(),
        };
        let (descriptors, rest) = split(bytes.get(usize::from(length)..there).unwrap_or_default());
        found.rest = rest.to_vec();
        let mut within = Within::Configuration;
        for descriptor in descriptors {
            within = found.take(descriptor, within);
        }
        Some(found)
    }

    fn take(&mut self, descriptor: &[u8], within: Within) -> Within {
        const INTERFACE: u8 = 4;
        const ENDPOINT: u8 = 5;
        let [_, kind, fields @ ..] = descriptor else { return within };
        match (*kind, fields, self.interfaces.last_mut()) {
            (INTERFACE, [number, setting, _, class, subclass, protocol, string, ..], _) => {
                self.interfaces.push(Interface {
                    number: *number,
                    setting: *setting,
                    class: (*class, *subclass, *protocol),
                    string: *string,
                    others: Vec::new(),
                    endpoints: Vec::new(),
                });
                Within::Interface
            }
            (ENDPOINT, [address, attributes, low, high, interval, ..], Some(interface)) => {
                interface.endpoints.push(EndpointFound {
                    address: *address,
                    attributes: *attributes,
                    max_packet_size: u16::from_le_bytes([*low, *high]),
                    interval: *interval,
                    others: Vec::new(),
                });
                Within::Endpoint
            }
            // An association stands before the interfaces that it groups, wherever that is.
            (class::ASSOCIATION, _, _) | (_, _, None) => {
                self.before.push(class::described(descriptor, None));
                Within::Configuration
            }
            (_, _, Some(interface)) => {
                let described = class::described(descriptor, Some((interface.class, &within)));
                match (&within, interface.endpoints.last_mut()) {
                    (Within::Endpoint, Some(endpoint)) => endpoint.others.push(described),
                    _ => interface.others.push(described),
                }
                within
            }
        }
    }

    /// Every string that it names.
    pub fn strings(&self) -> Vec<(&'static str, u8)> {
        let mut strings = vec![("configuration", self.string)];
        for interface in &self.interfaces {
            strings.push(("interface", interface.string));
            let endpoints = interface.endpoints.iter().flat_map(|endpoint| &endpoint.others);
            strings.extend(interface.others.iter().chain(endpoints).flat_map(|other| other.strings.iter().copied()));
        }
        strings.extend(self.before.iter().flat_map(|other| other.strings.iter().copied()));
        strings.retain(|(_, index)| *index != 0);
        strings
    }
}

/// Device descriptor and configurations as they stand one after the other, as Linux' sysfs has them.
pub fn split_file(bytes: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let (device, mut rest) = bytes.split_at(bytes.len().min(18));
    let mut configurations = Vec::new();
    while let [_, _, low, high, ..] = *rest {
        let total = usize::from(u16::from_le_bytes([low, high])).clamp(4, rest.len());
        let (one, after) = rest.split_at(total);
        configurations.push(one);
        rest = after;
    }
    (device, configurations)
}

/// Descriptors one after the other, and what is left that is none.
fn split(mut bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut found = Vec::new();
    while let [length, _, ..] = *bytes {
        let Some((one, rest)) = bytes.split_at_checked(usize::from(length)).filter(|(one, _)| one.len() >= 2) else {
            break;
        };
        found.push(one);
        bytes = rest;
    }
    (found, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A headset with a vendor's interface: two settings, HID, an association.
    fn composite() -> Vec<u8> {
        let mut bytes = vec![
            9, 2, 0, 0, 3, 1, 4, 0xa0, 50, // configuration 1
            8, 11, 0, 2, 1, 1, 0, 5, // association of interfaces 0 and 1: audio
            9, 4, 0, 0, 0, 1, 1, 0, 0, // audio control
            9, 0x24, 1, 0, 1, 9, 0, 1, 1, // header
            9, 4, 1, 0, 0, 1, 2, 0, 0, // audio streaming, silent
            9, 4, 1, 1, 1, 1, 2, 0, 0, // audio streaming
            9, 5, 0x81, 5, 0x40, 0, 1, 0, 0, // isochronous
            7, 0x25, 1, 0, 0, 0, 0, // class-specific endpoint
            9, 4, 2, 0, 2, 3, 0, 0, 6, // HID
            9, 0x21, 0x11, 1, 0, 1, 0x22, 63, 0, // report descriptor of 63 bytes
            7, 5, 0x82, 3, 8, 0, 10, // interrupt in
            6, 0x30, 0, 0, 0, 0, // SuperSpeed companion
            7, 5, 0x02, 3, 8, 0, 10, // interrupt out
        ];
        bytes[2] = bytes.len() as u8;
        bytes
    }

    #[test]
    fn everything_stands_where_it_belongs() {
        let found = Configuration::read(&composite()).unwrap();
        let settings: Vec<_> = found.interfaces.iter().map(|it| (it.number, it.setting, it.endpoints.len())).collect();
        assert_eq!(settings, [(0, 0, 0), (1, 0, 0), (1, 1, 1), (2, 0, 2)]);
        assert_eq!(found.before[0].name, Some("interface association"));
        assert_eq!(found.interfaces[0].others[0].name, Some("audio control header"));
        assert_eq!(found.interfaces[2].endpoints[0].others[0].name, Some("audio endpoint"));
        let hid = &found.interfaces[3].others[0];
        assert_eq!((hid.name, hid.says.join("; ").contains("63 bytes")), (Some("HID"), true));
        assert_eq!(found.interfaces[3].endpoints[0].others[0].name, Some("SuperSpeed companion"));
        assert_eq!(found.strings(), [("configuration", 4), ("interface", 6), ("association", 5)]);
        assert!(found.rest.is_empty());
    }

    #[test]
    fn what_is_cut_short_is_read_up_to_the_cut_and_the_rest_is_kept() {
        let whole = composite();
        let cut = &whole[..whole.len() - 3];
        let found = Configuration::read(cut).unwrap();
        assert_eq!(found.length, (whole.len() as u16, cut.len()));
        assert_eq!(found.rest, &whole[whole.len() - 7..whole.len() - 3]);
        assert_eq!(found.interfaces.len(), 4);
    }

    #[test]
    fn the_file_of_sysfs_is_a_device_and_its_configurations() {
        let (one, two) = (composite(), composite());
        let mut file = vec![18, 1, 0, 2, 0, 0, 0, 64, 9, 18, 1, 0, 0, 1, 1, 2, 3, 2];
        file.extend(one.iter().chain(&two));
        let (device, configurations) = split_file(&file);
        assert_eq!(Device::read(device).unwrap().vendor_id, 0x1209);
        assert_eq!(configurations, [one.as_slice(), two.as_slice()]);
    }

    proptest! {
        #[test]
        fn any_bytes_become_a_tree_in_which_nothing_is_lost(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Device::read(&bytes);
            let (_, configurations) = split_file(&bytes);
            prop_assert!(configurations.iter().map(|it| it.len()).sum::<usize>() + 18 >= bytes.len().saturating_sub(3));
            let _ = Configuration::read(&bytes);
        }

        #[test]
        fn a_configuration_with_damaged_bytes_is_still_a_tree(at in 9_usize..100, value: u8) {
            let mut bytes = composite();
            let length = bytes.len();
            bytes[at.min(length - 1)] = value;
            prop_assert!(Configuration::read(&bytes).is_some());
        }
    }
}
