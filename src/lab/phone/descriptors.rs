//! The virtual phone's USB descriptors: a composite device with the tether interface and a firmware-update interface
//! beside it, and Microsoft OS 2.0 descriptors that give the tether interface WinUSB without a driver
//! (docs/tether-protocol.md, section 2; Microsoft OS 2.0 Descriptors Specification).

use crate::device::{INTERFACE_GUID, PhoneMaterial};
use crate::lab::usbip::{Descriptors, Speed};
use crate::phone::tether::frames::{INTERFACE_CLASS, INTERFACE_PROTOCOL, INTERFACE_SUBCLASS};

/// Bulk pipe from the host.
pub(super) const BULK_OUT: u8 = 0x01;
/// Bulk pipe to the host.
pub(super) const BULK_IN: u8 = 0x82;
/// Packet size of both at high speed, bytes.
pub(super) const PACKET_BYTES: u16 = 512;

/// The vendor request by which Windows reads the descriptor set.
pub const WINDOWS_VENDOR_CODE: u8 = 0x20;

/// Windows 8.1, the first that reads OS 2.0 descriptors.
const WINDOWS_8_1: [u8; 4] = [0x00, 0x00, 0x03, 0x06];

/// An interface by which a device attacks a computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extra {
    /// Class, subclass and protocol.
    pub kind: (u8, u8, u8),
    /// Only another setting of the firmware update interface: a list of interfaces does not show it.
    pub hidden: bool,
}

/// All descriptors of a phone, and of what it brings beside.
pub fn tether_descriptors(material: &PhoneMaterial, extras: &[Extra]) -> Descriptors {
    let [v0, v1] = material.usb_id.0.to_le_bytes();
    let [p0, p1] = material.usb_id.1.to_le_bytes();
    let [m0, m1] = PACKET_BYTES.to_le_bytes();
    let tether = material.interface;
    let update = u8::from(tether == 0);
    // A phone without a serial number has no string for it.
    let serial = if material.serial.is_empty() { 0 } else { 3 };
    #[rustfmt::skip]
    let device = [
        18, 1, 0x10, 0x02, // USB 2.1: has a BOS
        0, 0, 0, 64,       // class by interface
        v0, v1, p0, p1, 0x00, 0x02,
        1, 2, serial, 1,
    ];
    #[rustfmt::skip]
    let mut configuration = vec![
        9, 2, 50, 0, 2, 1, 0, 0xc0, 50, // two interfaces, self-powered, 100 mA
        9, 4, tether, 0, 2, INTERFACE_CLASS, INTERFACE_SUBCLASS, INTERFACE_PROTOCOL, 0,
        7, 5, BULK_OUT, 2, m0, m1, 0,
        7, 5, BULK_IN, 2, m0, m1, 0,
        9, 4, update, 0, 0, 0xfe, 0x01, 0x01, 0, // firmware update, run-time mode (DFU 1.1, section 4.1.2)
        9, 0x21, 0x00, 0xff, 0x00, 0x00, 0x04, 0x10, 0x01,
    ];
    let mut next = tether.max(update) + 1;
    for Extra { kind: (class, subclass, protocol), hidden } in extras.iter().copied() {
        let (number, setting) = if hidden { (update, 1) } else { (next, 0) };
        configuration.extend([9, 4, number, setting, 0, class, subclass, protocol, 0]);
        configuration[2] += 9;
        if !hidden {
            configuration[4] += 1;
            next += 1;
        }
    }
    let strings = [&material.maker, &material.model, &material.serial].map(|text| text.to_string()).to_vec();
    Descriptors { device, configuration, bos: Some(binary_object_store()), strings, speed: Speed::High }
}

/// BOS with the Microsoft OS 2.0 platform capability.
fn binary_object_store() -> Vec<u8> {
    let length = (windows_descriptor_set(Some(0)).len() as u16).to_le_bytes();
    let mut bos = vec![5, 0x0f, 33, 0, 1, 28, 0x10, 0x05, 0];
    // MS_OS_20_Platform_Capability_ID, D8DD60DF-4589-4CC7-9CD2-659D9E648A9F, in the byte order of a GUID.
    bos.extend([0xdf, 0x60, 0xdd, 0xd8, 0x89, 0x45, 0xc7, 0x4c, 0x9c, 0xd2, 0x65, 0x9d, 0x9e, 0x64, 0x8a, 0x9f]);
    bos.extend(WINDOWS_8_1);
    bos.extend([length[0], length[1], WINDOWS_VENDOR_CODE, 0]);
    bos
}

/// The Microsoft OS 2.0 descriptor set: one function subset for the tether interface of this number, or none where it
/// is the only interface.
pub fn windows_descriptor_set(interface: Option<u8>) -> Vec<u8> {
    let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let name = utf16("DeviceInterfaceGUIDs\0");
    let guids = utf16(&format!("{INTERFACE_GUID}\0\0"));
    let le = |length: usize| (length as u16).to_le_bytes();

    let mut property = Vec::new();
    property.extend(le(10 + name.len() + guids.len()));
    property.extend([0x04, 0x00, 0x07, 0x00]); // a registry property, REG_MULTI_SZ
    property.extend(le(name.len()));
    property.extend(&name);
    property.extend(le(guids.len()));
    property.extend(&guids);

    let own_bytes = 20 + property.len();
    let mut set = vec![10, 0, 0x00, 0x00];
    set.extend(WINDOWS_8_1);
    set.extend(le(10 + own_bytes + if interface.is_some() { 16 } else { 0 }));
    if let Some(interface) = interface {
        set.extend([8, 0, 0x01, 0x00, 0, 0]); // configuration subset: the first configuration
        set.extend(le(16 + own_bytes));
        set.extend([8, 0, 0x02, 0x00, interface, 0]); // function subset
        set.extend(le(8 + own_bytes));
    }
    set.extend([20, 0, 0x03, 0x00]); // compatible id
    set.extend(b"WINUSB\0\0\0\0\0\0\0\0\0\0");
    set.extend(property);
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_descriptor_set_says_its_own_lengths() {
        let set = windows_descriptor_set(Some(0));
        let word = |at: usize| usize::from(u16::from_le_bytes([set[at], set[at + 1]]));
        assert_eq!(word(8), set.len());
        assert_eq!(word(16), set.len() - 10);
        assert_eq!(word(24), set.len() - 18);
        assert_eq!(&set[30..36], b"WINUSB");
        assert_eq!(binary_object_store().len(), 33);
        assert_eq!(windows_descriptor_set(Some(3))[22], 3);
    }
}
