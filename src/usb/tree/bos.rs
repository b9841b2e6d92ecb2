//! The BOS descriptor: what a device can do beyond its configurations.

use super::split;

/// The BOS descriptor with its capabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bos {
    /// How many capabilities it announces.
    pub announced: u8,
    /// Those that are there.
    pub capabilities: Vec<Capability>,
    /// Bytes at the end that are no descriptor.
    pub rest: Vec<u8>,
}

/// One capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// All of it.
    pub bytes: Vec<u8>,
    /// What it is.
    pub kind: CapabilityKind,
}

/// What a capability is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CapabilityKind {
    /// USB 2.0 extension: link power management.
    Usb2 {
        /// `bmAttributes`.
        attributes: u32,
    },
    /// SuperSpeed.
    SuperSpeed,
    /// SuperSpeedPlus.
    SuperSpeedPlus,
    /// An id of this one device.
    ContainerId {
        /// As Windows writes it.
        id: String,
    },
    /// Microsoft OS 2.0 descriptors: how Windows comes to a driver.
    MicrosoftOs {
        /// The request that reads them.
        vendor_code: u8,
        /// How long they are.
        length: u16,
        /// Whether the device has alternative descriptors.
        alternates: bool,
    },
    /// A page in the web that a browser proposes.
    WebUsb {
        /// The request that reads its address.
        vendor_code: u8,
        /// The page's number, or 0 for none.
        landing_page: u8,
    },
    /// Of a platform that is not known here.
    Platform {
        /// Its UUID.
        id: String,
    },
    /// Not known here.
    Other {
        /// `bDevCapabilityType`.
        kind: u8,
    },
}

impl Bos {
    /// Reads it; nothing where it does not begin as one.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [length, super::super::descriptor::BOS, low, high, announced, ..] = *bytes else { return None };
        let there = bytes.len().min(usize::from(u16::from_le_bytes([low, high])));
        let (descriptors, rest) = split(bytes.get(usize::from(length.max(5))..there).unwrap_or_default());
        let capabilities = descriptors.into_iter().map(Capability::read).collect();
        Some(Self { announced, capabilities, rest: rest.to_vec() })
    }

    /// The request and the length of the Microsoft OS 2.0 descriptors, where it has them.
    pub fn microsoft_os(&self) -> Option<(u8, u16)> {
        self.capabilities.iter().find_map(|capability| match capability.kind {
            CapabilityKind::MicrosoftOs { vendor_code, length, .. } => Some((vendor_code, length)),
            _ => None,
        })
    }

    /// The request and the page of WebUSB, where it has one.
    pub fn landing_page(&self) -> Option<(u8, u8)> {
        self.capabilities.iter().find_map(|capability| match capability.kind {
            CapabilityKind::WebUsb { vendor_code, landing_page } if landing_page != 0 => {
                Some((vendor_code, landing_page))
            }
            _ => None,
        })
    }
}

impl Capability {
    fn read(bytes: &[u8]) -> Self {
        const DEVICE_CAPABILITY: u8 = 16;
        let kind = match *bytes {
            [_, DEVICE_CAPABILITY, 2, a, b, c, d, ..] => {
                CapabilityKind::Usb2 { attributes: u32::from_le_bytes([a, b, c, d]) }
            }
            [_, DEVICE_CAPABILITY, 3, ..] => CapabilityKind::SuperSpeed,
            [_, DEVICE_CAPABILITY, 10, ..] => CapabilityKind::SuperSpeedPlus,
            [_, DEVICE_CAPABILITY, 4, _, ref id @ ..] if id.len() >= 16 => CapabilityKind::ContainerId { id: uuid(id) },
            [_, DEVICE_CAPABILITY, 5, _, ref platform @ ..] if platform.len() >= 16 => self::platform(platform),
            [_, DEVICE_CAPABILITY, kind, ..] => CapabilityKind::Other { kind },
            _ => CapabilityKind::Other { kind: 0 },
        };
        Self { bytes: bytes.to_vec(), kind }
    }
}

const MICROSOFT_OS: &str = "d8dd60df-4589-4cc7-9cd2-659d9e648a9f";
const WEB_USB: &str = "3408b638-09a9-47a0-8bfd-a0768815b665";

fn platform(bytes: &[u8]) -> CapabilityKind {
    let id = uuid(bytes);
    match (id.as_str(), bytes.get(16..).unwrap_or_default()) {
        (MICROSOFT_OS, [_, _, _, _, low, high, vendor_code, alternates, ..]) => CapabilityKind::MicrosoftOs {
            vendor_code: *vendor_code,
            length: u16::from_le_bytes([*low, *high]),
            alternates: *alternates != 0,
        },
        (WEB_USB, [_, _, vendor_code, landing_page, ..]) => {
            CapabilityKind::WebUsb { vendor_code: *vendor_code, landing_page: *landing_page }
        }
        _ => CapabilityKind::Platform { id },
    }
}

/// In USB's order of bytes.
fn uuid(bytes: &[u8]) -> String {
    let bytes: Option<&[u8; 16]> = bytes.first_chunk();
    bytes.map(|bytes| uuid::Uuid::from_bytes_le(*bytes).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bos() -> Vec<u8> {
        let mut bytes = vec![5, 15, 0, 0, 3, 7, 16, 2, 2, 0, 0, 0, 28, 16, 5, 0];
        bytes.extend(uuid::Uuid::parse_str(MICROSOFT_OS).unwrap().to_bytes_le());
        bytes.extend([0, 0, 3, 6, 0xb2, 0, 0x20, 0, 24, 16, 5, 0]);
        bytes.extend(uuid::Uuid::parse_str(WEB_USB).unwrap().to_bytes_le());
        bytes.extend([0, 1, 0x21, 1]);
        bytes[2] = bytes.len() as u8;
        bytes
    }

    #[test]
    fn the_ways_to_a_driver_and_to_a_page_are_found() {
        let found = Bos::read(&bos()).unwrap();
        assert_eq!(found.microsoft_os(), Some((0x20, 0xb2)));
        assert_eq!(found.landing_page(), Some((0x21, 1)));
        assert_eq!(found.capabilities[0].kind, CapabilityKind::Usb2 { attributes: 2 });
        assert_eq!((found.announced, found.rest.is_empty()), (3, true));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120), at in 5_usize..60, value: u8) {
            let _ = Bos::read(&bytes);
            let mut bytes = bos();
            bytes[at] = value;
            prop_assert!(Bos::read(&bytes).is_some());
        }
    }
}
