//! The udev rules, made from the definitions: who on a Linux computer may open the phones that are spoken to.

use super::{Definitions, Protocol};
use crate::credential::Fingerprint;
use std::fmt::{self, Write as _};
use std::str::FromStr;

/// What the file of the rules is called. Below 73, since `uaccess` is acted upon by `73-seat-late.rules`.
pub const RULES_FILE: &str = "70-tethercert.rules";

/// Who may open phones. Never everybody: a phone is changed by whoever can open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Whoever is logged in at this computer's own screen and keyboard.
    Seat,
    /// The members of a group, for a station that nobody is logged in to. They alone: one rule has one answer.
    Group(Group),
}

/// The name of a group of users: a small letter or `_`, then small letters, digits, `_` and `-`; at most 32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group(String);

/// Why a text is no name of a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a group is named in a-z, 0-9, _ and -, beginning with a letter, at most 32: like tethercert")]
pub struct ParseGroupError;

impl Group {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Group {
    type Err = ParseGroupError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let goes_on = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        match begins && text.len() <= 32 && text.chars().all(goes_on) {
            true => Ok(Self(text.to_owned())),
            false => Err(ParseGroupError),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Access {
    /// Whom rules let in that [`udev_rules`] has made.
    pub fn of(rules: &str) -> Option<Self> {
        let mut rules = rules.lines().filter(|line| !line.starts_with('#'));
        rules.find_map(|rule| match rule.split_once("GROUP=\"") {
            Some((_, group)) => group.split('"').next()?.parse().ok().map(Self::Group),
            None => rule.contains("TAG+=\"uaccess\"").then_some(Self::Seat),
        })
    }

    fn assignment(&self) -> String {
        match self {
            Self::Seat => "TAG+=\"uaccess\"".to_owned(),
            Self::Group(group) => format!("GROUP=\"{group}\", MODE=\"0660\""),
        }
    }

    fn head(&self) -> String {
        match self {
            Self::Seat => "\
# Lets the person at this computer open phones that tethercert speaks to. Made from drivers/; a test compares.
#
#   sudo tethercert setup udev --install      # installs it; --check then says whether it took
#
# `uaccess` is for whoever sits at the machine, and is acted upon by 73-seat-late.rules: keep the number below 73. A
# station that nobody is logged in to gives its phones to a group: tethercert setup udev --group NAME.
"
            .to_owned(),
            Self::Group(group) => format!(
                "\
# Lets the group {group} open phones that tethercert speaks to, and nobody else. Made from drivers/.
#
#   sudo tethercert setup udev --group {group} --install
#
# For a station that nobody is logged in to. The group has to be there: sudo groupadd --system {group}
"
            ),
        }
    }
}

/// The rules of [`RULES_FILE`]: one for everything that makes a device a phone whose protocol we speak.
pub fn udev_rules(definitions: &Definitions, access: &Access) -> String {
    let (head, mut rules) = (access.head(), String::new());
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
            let _ = writeln!(rules, ", {}", access.assignment());
        }
    }
    let sum = Fingerprint::of(format!("{head}{rules}").as_bytes());
    format!("{head}{SUM}{sum}\n{rules}")
}

const SUM: &str = "# SHA-256 of all other lines, to tell whether somebody has changed them: ";

/// Whether rules are as some version of [`udev_rules`] has made them, and nobody's work is lost with them.
pub fn is_unchanged(rules: &str) -> bool {
    let Some((head, rest)) = rules.split_once(SUM) else { return false };
    let Some((sum, rest)) = rest.split_once('\n') else { return false };
    sum.parse() == Ok(Fingerprint::of(format!("{head}{rest}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn shipped(access: &Access) -> String {
        udev_rules(&Definitions::shipped(), access)
    }

    fn tethercert() -> Access {
        Access::Group("tethercert".parse().unwrap())
    }

    #[test]
    fn the_shipped_rules_name_exactly_the_devices_that_we_speak_to() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("udev").join(RULES_FILE);
        let rules = std::fs::read_to_string(file).unwrap();
        assert_eq!(rules, shipped(&Access::Seat), "`tethercert setup udev --to udev` writes it anew");
        let rules: Vec<&str> = rules.lines().filter(|line| line.starts_with("ACTION")).collect();
        assert_eq!(rules.len(), 1);
        assert!(rules[0].contains(r#"ENV{ID_USB_INTERFACES}=="*:ff5401:*""#));
    }

    #[test]
    fn phones_are_opened_by_the_person_at_the_seat_or_by_one_group_and_never_by_everybody() {
        let (seat, group) = (shipped(&Access::Seat), shipped(&tethercert()));
        assert!(seat.contains("TAG+=\"uaccess\"") && !seat.contains("MODE"));
        assert!(group.contains("GROUP=\"tethercert\", MODE=\"0660\"") && !group.contains("uaccess"));
        assert_eq!((Access::of(&seat), Access::of(&group)), (Some(Access::Seat), Some(tethercert())));
        assert_eq!(Access::of("# TAG+=\"uaccess\"\n"), None);
    }

    #[test]
    fn rules_tell_whether_somebody_has_changed_them() {
        for rules in [shipped(&Access::Seat), shipped(&tethercert())] {
            assert!(is_unchanged(&rules));
            assert!(!is_unchanged(&rules.replace("ff5401", "ff5402")));
            assert!(!is_unchanged(&rules.replace("Lets", "Let")));
            assert!(!is_unchanged(&format!("{rules}SUBSYSTEM==\"usb\", MODE=\"0666\"\n")));
        }
    }

    #[test]
    fn a_makers_ids_stand_in_the_rule_beside_its_interface() {
        let mut definitions = Definitions::shipped();
        let text = "name = 'acme'\nmaker = 'Acme'\nmodel = 'Kite'\nprotocol = 'tether'\n[[usb]]\nvendor = 0x1209\n\
                    product = 1\ninterface = { class = 0xff, subclass = 0x54, protocol = 1 }\n";
        definitions.add(Path::new("acme.toml"), text).unwrap();
        let rules = udev_rules(&definitions, &Access::Seat);
        let both = r#"ATTR{idVendor}=="1209", ATTR{idProduct}=="0001", ENV{ID_USB_INTERFACES}=="*:ff5401:*""#;
        assert!(rules.contains(both), "{rules}");
    }

    proptest! {
        #[test]
        fn no_name_of_a_group_reaches_out_of_its_quotes(text in ".{0,40}") {
            if let Ok(group) = text.parse::<Group>() {
                prop_assert!(!group.as_str().contains(['"', '\n', ',', ' ', '\\']));
            }
        }

        #[test]
        fn any_text_is_unchanged_or_not(text in ".{0,200}") {
            let _ = (is_unchanged(&text), Access::of(&text), is_unchanged(&format!("{SUM}{text}")));
        }
    }
}
