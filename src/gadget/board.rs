//! What a board says about itself: model, serial number, MAC, device port.

use std::fs;
use std::path::Path;

/// Where the kernel shows what the firmware says of the board.
const DEVICE_TREE: &str = "/proc/device-tree";
/// Where the kernel shows its network ports.
const NETWORK: &str = "/sys/class/net";

/// Network ports whose MAC a phone would carry, the best first; then any other.
const PORTS: [&str; 4] = ["eth0", "end0", "wlan0", "usb0"];

/// What a board says about itself, as far as it does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    /// As printed on it: `Raspberry Pi Zero W Rev 1.1`.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// MAC of its network port.
    pub mac: Option<[u8; 6]>,
}

impl Board {
    /// Asks this computer.
    pub fn read() -> Self {
        Self::under(Path::new(DEVICE_TREE), Path::new(NETWORK))
    }

    fn under(device_tree: &Path, network: &Path) -> Self {
        let text = |name: &str| {
            let bytes = fs::read(device_tree.join(name)).ok()?;
            let text = String::from_utf8_lossy(&bytes).trim_end_matches('\0').trim().to_owned();
            (!text.is_empty() && text.len() <= 64 && !text.contains(char::is_control)).then_some(text)
        };
        Self { model: text("model"), serial: text("serial-number"), mac: mac(network) }
    }
}

fn mac(network: &Path) -> Option<[u8; 6]> {
    let mut others: Vec<String> = fs::read_dir(network)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    others.sort();
    let names = PORTS.iter().map(|name| (*name).to_owned()).chain(others);
    names.filter_map(|name| parse_mac(&fs::read_to_string(network.join(name).join("address")).ok()?)).next()
}

/// `00:04:f2:aa:bb:01`, with colons or dashes; not all zero and of one device, not of a group.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = Vec::new();
    for part in text.trim().split([':', '-']) {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(part, 16).ok().filter(|_| digits)?);
    }
    let mac: [u8; 6] = bytes.try_into().ok()?;
    (mac != [0; 6] && mac[0] & 1 == 0).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(files: &[(&str, &str)]) -> Board {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Board::under(&place.path().join("tree"), &place.path().join("net"))
    }

    #[test]
    fn a_pi_says_its_model_its_serial_number_and_the_mac_of_its_network_port() {
        let pi = board(&[
            ("tree/model", "Raspberry Pi Zero W Rev 1.1\0"),
            ("tree/serial-number", "00000000a1b2c3d4\0"),
            ("net/lo/address", "00:00:00:00:00:00\n"),
            ("net/bnep0/address", "b8:27:eb:00:00:09\n"),
            ("net/wlan0/address", "b8:27:eb:00:00:01\n"),
        ]);
        assert_eq!(pi.model.as_deref(), Some("Raspberry Pi Zero W Rev 1.1"));
        assert_eq!(pi.serial.as_deref(), Some("00000000a1b2c3d4"));
        assert_eq!(pi.mac, Some([0xb8, 0x27, 0xeb, 0, 0, 1]));
    }

    #[test]
    fn a_computer_that_says_nothing_has_nothing() {
        assert_eq!(board(&[("net/lo/address", "00:00:00:00:00:00\n"), ("tree/model", "\0")]), Board::default());
    }

    #[test]
    fn a_mac_has_six_bytes_and_one_owner() {
        assert_eq!(parse_mac("00-04-F2-aa-bb-01"), Some([0, 4, 0xf2, 0xaa, 0xbb, 1]));
        for text in
            ["", "00:04:f2:aa:bb", "00:04:f2:aa:bb:01:02", "01:04:f2:aa:bb:01", "0:4:f2:aa:bb:1", "+1:04:f2:aa:bb:01"]
        {
            assert_eq!(parse_mac(text), None, "{text}");
        }
    }
}
