//! The udev rules, made from the definitions.

use super::{Definitions, Protocol};
use std::fmt::Write as _;

const HEAD: &str = "\
# Lets the person at this computer open phones that tethercert speaks to. Made from drivers/; a test compares.
#
#   sudo install -m 0644 udev/70-tethercert.rules /etc/udev/rules.d/
#   sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=usb --action=add
#
# `uaccess` is for whoever sits at the machine, and is acted upon by 73-seat-late.rules: keep the number below 73. A
# station that nobody is logged in to needs a group instead: put GROUP=\"…\", MODE=\"0660\" in place of TAG.
";

/// `udev/70-tethercert.rules`: one rule for everything that makes a device a phone whose protocol we speak.
pub fn udev_rules() -> String {
    let definitions = Definitions::shipped();
    let mut rules = HEAD.to_owned();
    for definition in definitions.iter().filter(|definition| definition.protocol == Protocol::Tether) {
        let _ = write!(rules, "\n# {}: {}, {}\n", definition.name, definition.maker, definition.model);
        for rule in &definition.usb {
            rules.push_str(r#"ACTION!="remove", SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device""#);
            if let Some((vendor, product)) = rule.device {
                let _ = write!(rules, r#", ATTR{{idVendor}}=="{vendor:04x}", ATTR{{idProduct}}=="{product:04x}""#);
            }
            if let Some((class, subclass, protocol)) = rule.interface {
                let _ = write!(rules, r#", ENV{{ID_USB_INTERFACES}}=="*:{class:02x}{subclass:02x}{protocol:02x}:*""#);
            }
            rules.push_str(", TAG+=\"uaccess\"\n");
        }
    }
    rules
}
