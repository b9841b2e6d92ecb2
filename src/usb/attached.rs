//! A device that is plugged in, as far as can be told without opening it.

use std::fmt;

use super::descriptor::InterfaceKind;
use super::slot::Slot;

/// A device that was plugged in when the list was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The port it is on.
    pub slot: Slot,
    /// The number that the bus gave it this time: another one each time it is plugged in.
    pub address: u32,
    /// `idVendor`.
    pub vendor_id: u16,
    /// `idProduct`.
    pub product_id: u16,
    /// `bcdDevice`.
    pub device_version: u16,
    /// What it claims: maker, product and serial. A USB/IP list says none of these:
    /// [`Usb::inspect`](super::Usb::inspect) reads them.
    pub strings: Strings,
    /// Its interfaces. A USB/IP list does not say their numbers: there they count from 0, as they do in nearly every
    /// device, and [`Usb::open_kind`](super::Usb::open_kind) asks the device itself. Linux' usbipd lists none at all for
    /// a device that has no active configuration, as is usual for one bound to it (observed with kernel 6.1):
    /// [`Usb::inspect`](super::Usb::inspect) reads them.
    pub interfaces: Vec<InterfaceKind>,
}

/// What a device says about itself in words. Nothing vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Strings {
    /// The maker's name.
    pub manufacturer: Option<String>,
    /// The product's name.
    pub product: Option<String>,
    /// The serial number: several devices may have the same, or none.
    pub serial: Option<String>,
}

impl fmt::Display for Attached {
    /// One line for a person: `port 1-4.2 Acme Desk 2 (1209:0001), serial 4711`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slot, vendor_id, product_id, strings, .. } = self;
        write!(f, "port {slot} ")?;
        // What a device claims must not steer a terminal.
        let shown = |text: &str| text.escape_debug().to_string();
        for text in [&strings.manufacturer, &strings.product].into_iter().flatten() {
            write!(f, "{} ", shown(text))?;
        }
        write!(f, "({vendor_id:04x}:{product_id:04x})")?;
        match &strings.serial {
            Some(serial) => write!(f, ", serial {}", shown(serial)),
            None => Ok(()),
        }
    }
}
