//! Names and words for descriptors that belong to a class. What is not known here keeps its bytes and has no name.

use super::{Described, Within};
use std::fmt::Write as _;

/// Interface association.
pub(super) const ASSOCIATION: u8 = 11;
const OTG: u8 = 9;
const CLASS: u8 = 0x20;
const FUNCTION: u8 = 0x21;
const CS_INTERFACE: u8 = 0x24;
const CS_ENDPOINT: u8 = 0x25;
const COMPANION: u8 = 0x30;

const AUDIO: u8 = 1;
const COMMUNICATIONS: u8 = 2;
const HID: u8 = 3;
const CDC_DATA: u8 = 10;
const SMART_CARD: u8 = 11;
const VIDEO: u8 = 14;
const APPLICATION: u8 = 0xfe;

/// What a descriptor is and says, by the class of the interface that it stands in.
pub(super) fn described(bytes: &[u8], within: Option<((u8, u8, u8), &Within)>) -> Described {
    let mut found = Described { bytes: bytes.to_vec(), name: None, says: Vec::new(), strings: Vec::new() };
    let [_, kind, fields @ ..] = bytes else { return found };
    let class = within.map(|(class, _)| class);
    match (*kind, class, fields) {
        (ASSOCIATION, _, fields) => association(&mut found, fields),
        (OTG, ..) => found.name = Some("OTG"),
        (COMPANION, _, [burst, ..]) => {
            found.name = Some("SuperSpeed companion");
            found.says.push(format!("bursts of {} packets", u16::from(*burst) + 1));
        }
        (FUNCTION, Some((HID, ..)), fields) => hid(&mut found, fields),
        (FUNCTION, Some((APPLICATION, 1, _)), fields) => dfu(&mut found, fields),
        (FUNCTION, Some((SMART_CARD, ..)), _) => found.name = Some("smart card reader"),
        (CS_INTERFACE, Some((COMMUNICATIONS | CDC_DATA, ..)), [subtype, fields @ ..]) => {
            cdc(&mut found, *subtype, fields)
        }
        (CS_INTERFACE, Some((AUDIO, subclass, _)), [subtype, ..]) => found.name = audio(subclass, *subtype),
        (CS_INTERFACE, Some((VIDEO, subclass, _)), [subtype, ..]) => found.name = video(subclass, *subtype),
        (CS_ENDPOINT, Some((AUDIO, ..)), _) => found.name = Some("audio endpoint"),
        (CS_ENDPOINT, Some((VIDEO, ..)), _) => found.name = Some("video endpoint"),
        (CLASS..=0x3f, Some((0xff, ..)), _) => found.name = Some("vendor's"),
        _ => {}
    }
    found
}

fn association(found: &mut Described, fields: &[u8]) {
    found.name = Some("interface association");
    let [first, count, class, subclass, protocol, string, ..] = *fields else { return };
    let last = u16::from(first) + u16::from(count).saturating_sub(1);
    found.says.push(format!("interfaces {first} to {last} are one function"));
    found.says.push(names((class, subclass, protocol)));
    found.strings.push(("association", string));
}

fn hid(found: &mut Described, fields: &[u8]) {
    found.name = Some("HID");
    let [low, high, country, _, rest @ ..] = fields else { return };
    found.says.push(format!("version {}", version(u16::from_le_bytes([*low, *high]))));
    if *country != 0 {
        found.says.push(format!("country {country}"));
    }
    for each in rest.chunks_exact(3) {
        let length = u16::from_le_bytes([each[1], each[2]]);
        let what = match each[0] {
            0x22 => "report descriptor".to_owned(),
            0x23 => "physical descriptor".to_owned(),
            other => format!("descriptor {other:#04x}"),
        };
        found.says.push(format!("{what} of {length} bytes"));
    }
}

fn dfu(found: &mut Described, fields: &[u8]) {
    found.name = Some("firmware upgrade (DFU)");
    let [attributes, low, high, rest @ ..] = fields else { return };
    let can = [(1, "download"), (2, "upload"), (4, "stays through it"), (8, "detaches by itself")];
    let can: Vec<&str> = can.iter().filter(|(bit, _)| attributes & bit != 0).map(|(_, what)| *what).collect();
    found.says.push(if can.is_empty() { "takes and gives nothing".to_owned() } else { can.join(", ") });
    found.says.push(format!("detaches within {} ms", u16::from_le_bytes([*low, *high])));
    if let [low, high, ..] = rest {
        found.says.push(format!("{} bytes a transfer", u16::from_le_bytes([*low, *high])));
    }
}

fn cdc(found: &mut Described, subtype: u8, fields: &[u8]) {
    let name = match subtype {
        0x00 => "CDC header",
        0x01 => "CDC call management",
        0x02 => "CDC abstract control",
        0x06 => "CDC union",
        0x07 => "CDC country",
        0x0f => "CDC Ethernet",
        0x11 => "CDC wireless handset",
        0x12 => "CDC mobile direct line",
        0x13 => "CDC mobile direct line detail",
        0x1a => "CDC NCM",
        0x1b => "CDC MBIM",
        _ => "CDC",
    };
    found.name = Some(name);
    match (subtype, fields) {
        (0x00, [low, high, ..]) => {
            found.says.push(format!("version {}", version(u16::from_le_bytes([*low, *high]))));
        }
        (0x06, [control, data @ ..]) => {
            let data: Vec<String> = data.iter().map(ToString::to_string).collect();
            found.says.push(format!("interface {control} controls {}", data.join(", ")));
        }
        (0x0f, [mac, ..]) => found.strings.push(("MAC address", *mac)),
        _ => {}
    }
}

fn audio(subclass: u8, subtype: u8) -> Option<&'static str> {
    Some(match (subclass, subtype) {
        (1, 1) => "audio control header",
        (1, 2) => "audio input terminal",
        (1, 3) => "audio output terminal",
        (1, 4) => "audio mixer",
        (1, 5) => "audio selector",
        (1, 6) => "audio feature unit",
        (2, 1) => "audio stream",
        (2, 2) => "audio format",
        (3, 1) => "MIDI header",
        _ => return None,
    })
}

fn video(subclass: u8, subtype: u8) -> Option<&'static str> {
    Some(match (subclass, subtype) {
        (1, 1) => "video control header",
        (1, 2) => "video input terminal",
        (1, 3) => "video output terminal",
        (1, 5) => "video processing unit",
        (1, 6) => "video extension unit",
        (2, 1) => "video input header",
        (2, 4) => "video format, uncompressed",
        (2, 5) => "video frame, uncompressed",
        (2, 6) => "video format, MJPEG",
        (2, 7) => "video frame, MJPEG",
        (2, 13) => "video colour",
        _ => return None,
    })
}

/// `2.00`.
pub(super) fn version(bcd: u16) -> String {
    let mut text = format!("{:x}.{:02x}", bcd >> 8, bcd & 0xff);
    // Later digits of 2.1.0 are part of the number that people say.
    if let Some(short) = text.strip_suffix('0').filter(|short| !short.ends_with('.')) {
        text = short.to_owned();
    }
    text
}

/// What a class, a subclass and a protocol are called, as far as they have a name.
pub fn names((class, subclass, protocol): (u8, u8, u8)) -> String {
    let name = match (class, subclass, protocol) {
        (0x00, ..) => "by interface",
        (0x01, 1, _) => "audio control",
        (0x01, 2, _) => "audio streaming",
        (0x01, 3, _) => "MIDI",
        (0x01, ..) => "audio",
        (0x02, 2, _) => "serial line (CDC ACM)",
        (0x02, 6, _) => "Ethernet (CDC ECM)",
        (0x02, 8, _) => "wireless handset (CDC)",
        (0x02, 0x0d, _) => "Ethernet (CDC NCM)",
        (0x02, 0x0e, _) => "mobile broadband (MBIM)",
        (0x02, ..) => "communications",
        (0x03, 1, 1) => "keyboard (HID)",
        (0x03, 1, 2) => "mouse (HID)",
        (0x03, ..) => "HID",
        (0x05, ..) => "physical",
        (0x06, 1, 1) => "pictures (PTP, MTP)",
        (0x06, ..) => "image",
        (0x07, ..) => "printer",
        (0x08, ..) => "disk",
        (0x09, ..) => "hub",
        (0x0a, ..) => "CDC data",
        (0x0b, ..) => "smart card",
        (0x0d, ..) => "content security",
        (0x0e, 1, _) => "video control",
        (0x0e, 2, _) => "video streaming",
        (0x0e, ..) => "video",
        (0x0f, ..) => "personal healthcare",
        (0x10, ..) => "audio and video",
        (0xdc, ..) => "diagnostics",
        (0xe0, 1, 1) => "Bluetooth",
        (0xe0, 1, 3) => "Ethernet (RNDIS)",
        (0xe0, ..) => "wireless",
        (0xef, 2, 1) => "by interface association",
        (0xef, 4, 1) => "Ethernet (RNDIS)",
        (0xef, 1, 1) => "ActiveSync",
        (0xef, ..) => "miscellaneous",
        (0xfe, 1, _) => "firmware upgrade (DFU)",
        (0xfe, 2, _) => "infrared",
        (0xfe, 3, _) => "test and measurement",
        (0xfe, ..) => "application",
        (0xff, ..) => "the vendor's own",
        _ => "unknown",
    };
    let mut text = format!("{class:02x}/{subclass:02x}/{protocol:02x}");
    let _ = write!(text, " {name}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_of_cdc_ethernet_is_known_as_such() {
        let ethernet = [13, 0x24, 0x0f, 4, 0, 0, 0, 0, 0xea, 5, 0, 0, 0];
        let found = described(&ethernet, Some(((2, 6, 0), &Within::Interface)));
        assert_eq!((found.name, found.strings), (Some("CDC Ethernet"), vec![("MAC address", 4)]));
    }

    #[test]
    fn a_version_is_written_as_people_say_it() {
        assert_eq!([0x0110, 0x0200, 0x0201, 0x0320].map(version), ["1.1", "2.0", "2.01", "3.2"]);
    }
}
