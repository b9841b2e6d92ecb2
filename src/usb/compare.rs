//! What each library sees of this computer's own USB: where they differ, one of them is the way to the device.

use std::collections::BTreeMap;

use super::attached::Attached;
use super::backend::UsbLibrary;
use super::error::UsbError;
use super::slot::Slot;
use super::{Strings, Usb};

/// A device, and who sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The device, with all that either library says of it.
    pub attached: Attached,
    /// Who sees it.
    pub by: SeenBy,
}

/// Who sees a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenBy {
    /// Each library that could look.
    All,
    /// Only this one, though the other could look.
    Only(UsbLibrary),
}

/// What every library of this build sees; the errors are of those that could not look.
pub async fn compare() -> (Vec<Seen>, Vec<(UsbLibrary, UsbError)>) {
    let (mut lists, mut errors) = (Vec::new(), Vec::new());
    for library in UsbLibrary::ALL {
        let listed = match Usb::by(library) {
            Ok(usb) => usb.list().await,
            Err(error) => Err(error),
        };
        match listed {
            Ok(list) => lists.push((library, list)),
            Err(error) => errors.push((library, error)),
        }
    }
    (merge(lists), errors)
}

fn merge(lists: Vec<(UsbLibrary, Vec<Attached>)>) -> Vec<Seen> {
    let looked = lists.len();
    let mut seen: BTreeMap<Slot, (Attached, Vec<UsbLibrary>)> = BTreeMap::new();
    for (library, list) in lists {
        for attached in list {
            match seen.get_mut(&attached.slot) {
                Some((known, by)) => {
                    complete(known, attached);
                    by.push(library);
                }
                None => drop(seen.insert(attached.slot.clone(), (attached, vec![library]))),
            }
        }
    }
    let of = |(attached, by): (Attached, Vec<UsbLibrary>)| {
        let by = match by[..] {
            [only] if looked > 1 => SeenBy::Only(only),
            _ => SeenBy::All,
        };
        Seen { attached, by }
    };
    seen.into_values().map(of).collect()
}

/// Adds what only the other could read.
fn complete(known: &mut Attached, other: Attached) {
    let Strings { manufacturer, product, serial } = &mut known.strings;
    *manufacturer = manufacturer.take().or(other.strings.manufacturer);
    *product = product.take().or(other.strings.product);
    *serial = serial.take().or(other.strings.serial);
    if known.interfaces.is_empty() {
        known.interfaces = other.interfaces;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(port: &str, product: Option<&str>) -> Attached {
        Attached {
            slot: port.parse().unwrap(),
            address: 4,
            vendor_id: 0x1209,
            product_id: 1,
            device_version: 0,
            strings: Strings { product: product.map(str::to_owned), ..Strings::default() },
            interfaces: Vec::new(),
        }
    }

    #[test]
    fn a_device_that_only_one_library_sees_is_told_apart() {
        let system = vec![device("1-1", Some("Desk")), device("1-2", None)];
        let libusb = vec![device("1-1", None), device("1-3", None)];
        let seen = merge(vec![(UsbLibrary::System, system.clone()), (UsbLibrary::Libusb, libusb)]);
        let by: Vec<SeenBy> = seen.iter().map(|seen| seen.by).collect();
        assert_eq!(by, [SeenBy::All, SeenBy::Only(UsbLibrary::System), SeenBy::Only(UsbLibrary::Libusb)]);
        assert_eq!(seen[0].attached.strings.product.as_deref(), Some("Desk"));
        // Who looks alone cannot be contradicted.
        let alone = merge(vec![(UsbLibrary::System, system)]);
        assert!(alone.iter().all(|seen| seen.by == SeenBy::All));
    }
}
