//! What the classes of interfaces are called (USB-IF, Defined Class Codes), for people.

use std::fmt;

use super::descriptor::InterfaceKind;

impl InterfaceKind {
    /// Class, subclass and protocol.
    pub const fn triple(&self) -> (u8, u8, u8) {
        (self.class, self.subclass, self.protocol)
    }

    /// What such an interface is, in a word or two: `keyboard`, `disk`.
    pub const fn what(&self) -> &'static str {
        what(self.triple())
    }
}

/// What an interface of this class, subclass and protocol is, in a word or two.
pub const fn what(triple: (u8, u8, u8)) -> &'static str {
    match triple {
        (0x01, ..) => "audio",
        (0x02, 0x02, _) => "modem",
        (0x02, 0x06 | 0x0c | 0x0d, _) | (0xe0, 0x01, 0x03) | (0xef, 0x04, _) => "network",
        (0x02, 0x0e, _) => "mobile broadband",
        (0x02, ..) => "communications",
        (0x03, 0x01, 0x01) => "keyboard",
        (0x03, 0x01, 0x02) => "mouse",
        (0x03, ..) => "input device (HID)",
        (0x05, ..) => "force feedback",
        (0x06, ..) => "camera (still images)",
        (0x07, ..) => "printer",
        (0x08, ..) => "disk",
        (0x09, ..) => "hub",
        (0x0a, ..) => "communications data",
        (0x0b, ..) => "smart card reader",
        (0x0d, ..) => "content security",
        (0x0e, ..) => "video",
        (0x0f, ..) => "health device",
        (0x10, ..) => "audio and video",
        (0x11, ..) => "billboard",
        (0x12, ..) => "USB-C bridge",
        (0xdc, ..) => "diagnostics",
        (0xe0, 0x01, 0x01) => "Bluetooth",
        (0xe0, ..) => "wireless",
        (0xef, ..) => "miscellaneous",
        (0xfe, 0x01, _) => "firmware update (DFU)",
        (0xfe, ..) => "application specific",
        (0xff, ..) => "of its maker's own kind",
        _ => "of an unknown kind",
    }
}

impl fmt::Display for InterfaceKind {
    /// `keyboard (interface 1, class 03/01/01)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, class, subclass, protocol } = self;
        write!(f, "{} (interface {number}, class {class:02x}/{subclass:02x}/{protocol:02x})", self.what())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_harm_a_computer_has_a_name_that_people_know() {
        let names = [(3, 1, 1), (3, 0, 0), (8, 6, 0x50), (2, 6, 0), (0xe0, 1, 3), (0xef, 4, 1), (0x0b, 0, 0)].map(what);
        assert_eq!(
            names,
            ["keyboard", "input device (HID)", "disk", "network", "network", "network", "smart card reader"]
        );
        let kind = InterfaceKind { number: 1, class: 3, subclass: 1, protocol: 1 };
        assert_eq!(kind.to_string(), "keyboard (interface 1, class 03/01/01)");
    }
}
