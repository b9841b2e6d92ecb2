//! Where a device is plugged in: the one thing about it that it cannot claim for itself.

use std::fmt;
use std::str::FromStr;

/// The port that USB/IP servers listen on unless told otherwise.
pub const USBIP_PORT: u16 = 3240;

/// A machine that exports its USB devices over USB/IP: `host:port`, or `host` for the usual port 3240.
///
/// The host is a name or an address without blanks, `/` or control characters; an IPv6 address stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsbIpHost {
    host: String,
    port: u16,
}

/// The name that a USB/IP server gives to one of its ports, such as `1-4.2`.
///
/// One to 31 bytes of printable ASCII without blanks or `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusId(String);

/// The port that a device is plugged into.
///
/// On this computer it is the bus and the chain of ports from its root hub, written `1-4.2`. On a USB/IP server it is
/// written `host:port/busid`. It stays the same when the device is unplugged and plugged in again, or replaced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(Place);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Place {
    System { bus: String, chain: Vec<u8> },
    UsbIp { host: UsbIpHost, bus_id: BusId },
}

/// Why a text is no USB/IP host, bus id or slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSlotError {
    /// Neither `host:port` nor `host`.
    #[error("`{text}` is not a USB/IP host: write it like 192.0.2.7:3240")]
    Host {
        /// What was given, escaped.
        text: String,
    },
    /// No name that a USB/IP server could use.
    #[error("`{text}` is not a USB/IP bus id: write it like 1-4.2")]
    BusId {
        /// What was given, escaped.
        text: String,
    },
    /// No port of this computer.
    #[error("`{text}` is not a USB port: write it like 1-4.2, or 192.0.2.7:3240/1-4.2 for a USB/IP host")]
    Port {
        /// What was given, escaped.
        text: String,
    },
}

impl UsbIpHost {
    /// The name or address to connect to, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl BusId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Slot {
    /// The port of this computer on `bus` (leading zeros do not count) behind the ports of `chain`, nearest the root first.
    pub(super) fn system(bus: &str, chain: &[u8]) -> Self {
        let significant = bus.trim_start_matches('0');
        let bus = if significant.is_empty() { "0" } else { significant };
        Self(Place::System { bus: bus.to_owned(), chain: chain.to_vec() })
    }

    /// The port that `host` calls `bus_id`.
    pub fn usbip(host: UsbIpHost, bus_id: BusId) -> Self {
        Self(Place::UsbIp { host, bus_id })
    }

    /// The port alone, without the USB/IP server that it is on: `1-4.2`.
    pub fn port(&self) -> String {
        match &self.0 {
            Place::System { .. } => self.to_string(),
            Place::UsbIp { bus_id, .. } => bus_id.to_string(),
        }
    }

    /// Whether the port is one of a USB/IP server.
    pub fn is_usbip(&self) -> bool {
        matches!(self.0, Place::UsbIp { .. })
    }

    /// The bus of this computer, by its number as it is written.
    pub(super) fn system_bus(&self) -> Option<&str> {
        match &self.0 {
            Place::System { bus, .. } => Some(bus),
            Place::UsbIp { .. } => None,
        }
    }

    pub(super) fn bus_id(&self) -> Option<&BusId> {
        match &self.0 {
            Place::System { .. } => None,
            Place::UsbIp { bus_id, .. } => Some(bus_id),
        }
    }
}

impl fmt::Display for UsbIpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl From<std::net::SocketAddr> for UsbIpHost {
    fn from(address: std::net::SocketAddr) -> Self {
        let host = match address {
            std::net::SocketAddr::V4(v4) => v4.ip().to_string(),
            std::net::SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        };
        Self { host, port: address.port() }
    }
}

impl FromStr for UsbIpHost {
    type Err = ParseSlotError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseSlotError::Host { text: text.escape_default().to_string() };
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let digits = port.bytes().all(|b| b.is_ascii_digit());
                (host, port.parse().ok().filter(|_| digits).ok_or_else(error)?)
            }
            _ => (text, USBIP_PORT),
        };
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let good = match inner {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            }
        };
        if !good || port == 0 {
            return Err(error());
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for BusId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BusId {
    type Err = ParseSlotError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        if text.is_empty() || text.len() > 31 || !plain {
            return Err(ParseSlotError::BusId { text: text.escape_default().to_string() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::System { bus, chain } => {
                write!(f, "{bus}-")?;
                if chain.is_empty() {
                    return f.write_str("0");
                }
                chain.iter().enumerate().try_for_each(|(depth, port)| match depth {
                    0 => write!(f, "{port}"),
                    _ => write!(f, ".{port}"),
                })
            }
            Place::UsbIp { host, bus_id } => write!(f, "{host}/{bus_id}"),
        }
    }
}

impl FromStr for Slot {
    type Err = ParseSlotError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((host, bus_id)) = text.split_once('/') {
            return Ok(Self::usbip(host.parse()?, bus_id.parse()?));
        }
        let error = || ParseSlotError::Port { text: text.escape_default().to_string() };
        let (bus, chain) = text.rsplit_once('-').ok_or_else(error)?;
        let plain = !bus.is_empty() && bus.bytes().all(|b| b.is_ascii_graphic());
        let ports = chain.split('.').map(|port| match port.bytes().all(|b| b.is_ascii_digit()) {
            true => port.parse::<u8>().ok(),
            false => None,
        });
        let chain: Vec<u8> = ports.collect::<Option<_>>().filter(|_| plain).ok_or_else(error)?;
        Ok(Self::system(bus, if chain == [0] { &[] } else { &chain }))
    }
}

crate::text_form::serde_as_text!(Slot);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_slot_is_written_as_a_technician_reads_it_from_the_machine() {
        assert_eq!(Slot::system("001", &[4, 2]).to_string(), "1-4.2");
        assert_eq!("1-4.2".parse(), Ok(Slot::system("001", &[4, 2])));
        assert_eq!("192.0.2.7/1-1".parse::<Slot>().unwrap().to_string(), "192.0.2.7:3240/1-1");
        assert_eq!("[::1]:99/1-1".parse::<Slot>().unwrap().to_string(), "[::1]:99/1-1");
    }

    #[test]
    fn a_host_has_a_name_and_a_port_that_exists() {
        for bad in ["", ":1", "a:b", "a:0", "a:65536", "a b:1", "::1", "[::1", "a/b", "a:+1"] {
            assert!(bad.parse::<UsbIpHost>().is_err(), "{bad}");
        }
        assert_eq!("[::1]".parse::<UsbIpHost>().unwrap().host(), "::1");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_and_reads_back(text in "([a-z0-9.:\\[\\]]{1,12}/)?[0-9]{0,3}-?[0-9.]{0,6}|\\PC{0,40}") {
            if let Ok(slot) = text.parse::<Slot>() {
                prop_assert_eq!(slot.to_string().parse(), Ok(slot));
            }
        }
    }
}
