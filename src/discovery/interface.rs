//! The interfaces of this computer that a query can go out of.

use getifaddrs::{Address, InterfaceFlags};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;

/// An interface with an IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// `eth0`.
    pub name: String,
    /// The first of its addresses.
    pub address: Ipv4Addr,
    /// Its own address.
    pub mac: [u8; 6],
    /// How its frames are marked.
    pub vlan: Vlan,
}

/// How frames leave an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Vlan {
    /// Without a mark: the switch's port decides.
    Untagged,
    /// Marked by this computer.
    Tagged(u16),
    /// This system does not say.
    Unknown,
}

impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untagged => f.write_str("untagged"),
            Self::Tagged(id) => write!(f, "VLAN {id}"),
            Self::Unknown => f.write_str("VLAN not known"),
        }
    }
}

impl Interface {
    /// `00:04:f2:aa:bb:cc`.
    pub fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }
}

/// The interfaces that a phone's query can go out of: up, with a cable or a network, an IPv4 address, and a way to reach all.
pub fn suitable() -> io::Result<Vec<Interface>> {
    struct Seen {
        flags: InterfaceFlags,
        address: Option<Ipv4Addr>,
        mac: Option<[u8; 6]>,
    }
    let mut seen = BTreeMap::<String, Seen>::new();
    for part in getifaddrs::getifaddrs()? {
        let it = seen.entry(part.name).or_insert(Seen { flags: part.flags, address: None, mac: None });
        match part.address {
            Address::V4(v4) => it.address = it.address.or(Some(v4.address)),
            Address::Mac(mac) => it.mac = Some(mac),
            Address::V6(_) => {}
        }
    }
    let no = InterfaceFlags::LOOPBACK | InterfaceFlags::POINTTOPOINT;
    let wanted = InterfaceFlags::UP | InterfaceFlags::BROADCAST;
    let suits = |flags: InterfaceFlags| {
        // Without a cable an interface is up all the same.
        flags.contains(wanted) && !flags.intersects(no) && (cfg!(windows) || flags.contains(InterfaceFlags::RUNNING))
    };
    let suitable = seen.into_iter().filter_map(|(name, seen)| {
        let (address, mac) = (seen.address?, seen.mac?);
        let vlan = vlan_of(&name);
        suits(seen.flags).then_some(Interface { name, address, mac, vlan })
    });
    Ok(suitable.collect())
}

#[cfg(target_os = "linux")]
fn vlan_of(name: &str) -> Vlan {
    match std::fs::read_to_string(format!("/proc/net/vlan/{name}")) {
        Ok(text) => vlan_in(&text).map_or(Vlan::Unknown, Vlan::Tagged),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vlan::Untagged,
        Err(_) => Vlan::Unknown,
    }
}

#[cfg(not(target_os = "linux"))]
fn vlan_of(_: &str) -> Vlan {
    Vlan::Unknown
}

/// `eth0.100  VID: 100  REORDER_HDR: 1  dev->priv_flags: 1021`.
#[cfg(any(target_os = "linux", test))]
fn vlan_in(text: &str) -> Option<u16> {
    let mut words = text.split_whitespace();
    words.find(|word| *word == "VID:")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_which_vlan_an_interface_marks_its_frames_with() {
        let text = "eth0.100  VID: 100\t REORDER_HDR: 1  dev->priv_flags: 1021\n         total frames received: 0\n";
        assert_eq!(vlan_in(text), Some(100));
        assert_eq!(vlan_in("something else"), None);
    }

    #[test]
    fn the_loopback_interface_is_no_way_to_a_dhcp_server() {
        assert!(suitable().unwrap().iter().all(|it| !it.address.is_loopback()));
    }
}
