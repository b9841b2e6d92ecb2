//! Which device is meant: by its port, by its serial, by its MAC address, or because there is only one.

use std::fmt;
use std::str::FromStr;

use super::attached::Attached;
use super::error::UsbError;
use super::slot::{ParseSlotError, Slot};

/// The way in which a person or a script names a device: `port:1-4.2`, `serial:4711`, `mac:00:04:f2:aa:bb:cc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The device on this port.
    Port(Slot),
    /// The device that claims this serial number.
    Serial(String),
    /// The phone that says it has this address. USB does not know it: the phone's protocol does.
    Mac(MacAddress),
}

/// An Ethernet address, written `00:04:f2:aa:bb:cc`. Read with colons, hyphens or neither, in either case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress([u8; 6]);

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSelectorError {
    /// It has none of the three beginnings.
    #[error("`{text}` is no selector: write port:1-4.2, serial:4711 or mac:00:04:f2:aa:bb:cc")]
    Kind {
        /// What was given, escaped.
        text: String,
    },
    /// `port:` without a port.
    #[error(transparent)]
    Port(#[from] ParseSlotError),
    /// `serial:` without a serial.
    #[error("`serial:` names no serial number")]
    Serial,
    /// `mac:` without a MAC address.
    #[error(transparent)]
    Mac(#[from] ParseMacAddressError),
}

/// Why a text is no MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a MAC address is 12 hexadecimal digits, like 00:04:f2:aa:bb:cc")]
pub struct ParseMacAddressError;

/// Chooses the one device that `selector` names, or the only one where it names none.
///
/// `mac` tells the address of a candidate where it is known; it is only asked for [`Selector::Mac`]. The serial of a
/// candidate from a USB/IP list must have been read before ([`Usb::inspect`](super::Usb::inspect)).
///
/// # Errors
///
/// [`UsbError::NotFound`] when none fits, [`UsbError::Ambiguous`] with the candidates when several do.
pub fn choose<'a>(
    candidates: &'a [Attached],
    selector: Option<&Selector>,
    mac: impl Fn(&Attached) -> Option<MacAddress>,
) -> Result<&'a Attached, UsbError> {
    let fits = |candidate: &&Attached| match selector {
        None => true,
        // Of one USB/IP server the port alone is enough, as screens have it.
        Some(Selector::Port(slot)) => {
            candidate.slot == *slot
                || candidate.slot.is_usbip() && !slot.is_usbip() && candidate.slot.port() == slot.port()
        }
        Some(Selector::Serial(serial)) => candidate.strings.serial.as_ref() == Some(serial),
        Some(Selector::Mac(address)) => mac(candidate) == Some(*address),
    };
    let fitting: Vec<&Attached> = candidates.iter().filter(fits).collect();
    let sought = || selector.map_or_else(|| "no --device given".to_owned(), ToString::to_string);
    match fitting[..] {
        [one] => Ok(one),
        [] => Err(UsbError::NotFound { sought: sought() }),
        _ => {
            Err(UsbError::Ambiguous { sought: sought(), candidates: fitting.iter().map(ToString::to_string).collect() })
        }
    }
}

impl MacAddress {
    /// The address with these six bytes, in the order of writing.
    pub const fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The six bytes in the order of writing.
    pub const fn as_bytes(&self) -> &[u8; 6] {
        &self.0
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(slot) => write!(f, "port:{slot}"),
            Self::Serial(serial) => write!(f, "serial:{serial}"),
            Self::Mac(address) => write!(f, "mac:{address}"),
        }
    }
}

impl FromStr for Selector {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("port", slot)) => Ok(Self::Port(slot.parse()?)),
            Some(("serial", "")) => Err(ParseSelectorError::Serial),
            Some(("serial", serial)) => Ok(Self::Serial(serial.to_owned())),
            Some(("mac", address)) => Ok(Self::Mac(address.parse()?)),
            _ => Err(ParseSelectorError::Kind { text: text.escape_default().to_string() }),
        }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MacAddress({self})")
    }
}

impl FromStr for MacAddress {
    type Err = ParseMacAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let separators = text.chars().filter(|c| matches!(c, ':' | '-')).count();
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| !matches!(c, ':' | '-'))
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or(ParseMacAddressError)?;
        let paired = text.split([':', '-']).all(|pair| pair.len() == 2);
        if digits.len() != 12 || !(separators == 0 || separators == 5 && paired) {
            return Err(ParseMacAddressError);
        }
        let mut bytes = [0; 6];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Ok(Self(bytes))
    }
}

crate::text_form::serde_as_text!(MacAddress);

#[cfg(test)]
mod tests {
    use super::super::attached::Strings;
    use super::*;
    use proptest::prelude::*;

    fn phone(slot: &str, serial: &str) -> Attached {
        Attached {
            slot: slot.parse().unwrap(),
            address: 1,
            vendor_id: 0x1209,
            product_id: 1,
            device_version: 0x0100,
            strings: Strings { serial: Some(serial.to_owned()), ..Strings::default() },
            interfaces: Vec::new(),
        }
    }

    #[test]
    fn two_devices_with_one_serial_are_listed_and_neither_is_chosen() {
        let candidates = [phone("1-1", "4711"), phone("1-2", "4711"), phone("1-3", "1")];
        let selector = "serial:4711".parse().unwrap();
        let error = choose(&candidates, Some(&selector), |_| None).unwrap_err();
        let UsbError::Ambiguous { candidates, .. } = &error else { panic!("{error}") };
        assert_eq!(candidates.len(), 2);
        assert!(error.to_string().contains("port 1-1") && error.to_string().contains("port 1-2"), "{error}");
    }

    #[test]
    fn a_port_names_one_device_and_no_selector_names_the_only_one() {
        let candidates = [phone("1-1", "4711"), phone("1-2", "4711")];
        let selector = "port:1-2".parse().unwrap();
        assert_eq!(choose(&candidates, Some(&selector), |_| None).unwrap(), &candidates[1]);
        assert_eq!(choose(&candidates[..1], None, |_| None).unwrap(), &candidates[0]);
        assert!(matches!(choose(&candidates, None, |_| None), Err(UsbError::Ambiguous { .. })));
        assert!(matches!(choose(&[], None, |_| None), Err(UsbError::NotFound { .. })));
    }

    #[test]
    fn of_a_usbip_server_the_port_alone_is_enough_and_of_this_computer_a_servers_is_not() {
        let candidates = [phone("127.0.0.1:3240/1-1", "a"), phone("127.0.0.1:3240/1-2", "b")];
        for text in ["port:1-2", "port:127.0.0.1:3240/1-2"] {
            assert_eq!(choose(&candidates, Some(&text.parse().unwrap()), |_| None).unwrap(), &candidates[1]);
        }
        let selector = "port:127.0.0.1:3240/1-2".parse().unwrap();
        assert!(choose(&[phone("1-2", "b")], Some(&selector), |_| None).is_err());
    }

    #[test]
    fn a_mac_address_is_answered_by_the_caller() {
        let candidates = [phone("1-1", "a"), phone("1-2", "b")];
        let address: MacAddress = "0004F2AABBCC".parse().unwrap();
        let selector = "mac:00-04-f2-aa-bb-cc".parse().unwrap();
        let mac = |device: &Attached| (device.strings.serial.as_deref() == Some("b")).then_some(address);
        assert_eq!(choose(&candidates, Some(&selector), mac).unwrap(), &candidates[1]);
    }

    #[test]
    fn what_is_no_selector_is_refused_with_an_example() {
        for bad in ["", "1-4.2", "port:", "port:x", "serial:", "mac:", "mac:00:04:f2:aa:bb", "mac:0:004:f2:aa:bb:cc"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
        assert!("1-4.2".parse::<Selector>().unwrap_err().to_string().contains("port:1-4.2"));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_and_reads_back(text in "(port:|serial:|mac:)?\\PC{0,30}", mac: [u8; 6]) {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert_eq!(selector.to_string().parse(), Ok(selector));
            }
            let mac = MacAddress::from_bytes(mac);
            prop_assert_eq!(mac.to_string().parse(), Ok(mac));
        }
    }
}
