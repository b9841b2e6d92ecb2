//! The Windows driver file, made from the definitions: WinUSB for the phones that are spoken to.
//!
//! A phone that follows the protocol needs none: its Microsoft OS 2.0 descriptors have Windows load WinUSB by itself. The file is
//! for a phone without them (its maker ships it, signed), and for looking up what is matched by what.

use super::{Definitions, Protocol};
use crate::phone::tether::frames::INTERFACE_GUID;
use std::collections::BTreeMap;

/// What the file is called.
pub const INF_FILE: &str = "tethercert.inf";

/// The date of what [`windows_inf`] writes; Windows wants it and takes the newer of two.
const DATE: &str = "11/30/2026";

/// Every architecture that Windows runs WinUSB on: decorations of a models section.
const ARCHITECTURES: [&str; 3] = ["NTamd64", "NTarm64", "NTx86"];

const HEAD: &str = "\
; tethercert.inf: WinUSB for the phones that tethercert speaks to. Made from drivers/ of tethercert; a test compares.
;
; You do not need this file for a phone that follows the Tether Device Protocol: its Microsoft OS 2.0 descriptors (section
; 2.5 of docs/tether-protocol.md) have Windows 8.1 and later load WinUSB without any file. That is the route.
;
; It is for a phone that lacks those descriptors. 64-bit Windows installs no unsigned driver package, and this one is not
; signed: who distributes it makes the catalog that CatalogFile names (Inf2Cat), has it signed (Microsoft's hardware
; dashboard, or a certificate that the organisation's computers trust), and then installs it with
;
;     pnputil /add-driver tethercert.inf /install
;
; A class match (USB\\Class_...) fits one interface of a device, or a device that has only that interface.

";

/// The text of [`INF_FILE`], with the line ends of Windows.
pub fn windows_inf(definitions: &Definitions) -> String {
    let models = models(definitions);
    let mut inf = HEAD.to_owned();
    let mut add = |section: &str, lines: &[String]| {
        inf.push_str(&format!("[{section}]\n{}\n\n", lines.join("\n")));
    };
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let version = format!("DriverVer   = {DATE},{}.0", env!("CARGO_PKG_VERSION"));
    add(
        "Version",
        &lines(&[
            "Signature   = \"$Windows NT$\"",
            "Class       = USBDevice",
            "ClassGuid   = {88BAE032-5A81-49F0-BC3D-A4FF138216D6}",
            "Provider    = %Provider%",
            "CatalogFile = tethercert.cat ; made and signed by who distributes the package",
            &version,
            "PnpLockdown = 1",
        ]),
    );
    add("Manufacturer", &[format!("%Provider% = Phones, {}", ARCHITECTURES.join(", "))]);
    for architecture in ARCHITECTURES {
        let model = |(id, name): (&String, &Model)| format!("%{}% = WinUSB_Phone, {id}", name.token);
        add(&format!("Phones.{architecture}"), &models.iter().map(model).collect::<Vec<_>>());
    }
    add("WinUSB_Phone.NT", &lines(&["Include = winusb.inf", "Needs   = WINUSB.NT"]));
    add("WinUSB_Phone.NT.Services", &lines(&["Include = winusb.inf", "Needs   = WINUSB.NT.Services"]));
    add("WinUSB_Phone.NT.HW", &lines(&["AddReg = Phone_Interface"]));
    // REG_MULTI_SZ, the same as the property of the OS 2.0 descriptors.
    add("Phone_Interface", &[format!("HKR,,DeviceInterfaceGUIDs,0x00010000,\"{INTERFACE_GUID}\"")]);
    let mut strings = lines(&["Provider = \"tethercert\""]);
    strings.extend(models.values().map(|model| format!("{} = \"{}\"", model.token, model.text)));
    add("Strings", &strings);
    inf.trim_end().replace('\n', "\r\n") + "\r\n"
}

struct Model {
    token: String,
    text: String,
}

/// What is matched, each once: by the class of the interface where a rule names it, since no id of Windows has a vendor and a
/// class together; else by vendor and product. Where two rules come to the same, the first definition by name gives its.
fn models(definitions: &Definitions) -> BTreeMap<String, Model> {
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    for definition in definitions.iter().filter(|definition| definition.protocol == Protocol::Tether) {
        for (number, id) in definition.usb.iter().filter_map(id).enumerate() {
            let plain = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '%') || c == ' ' { c } else { '?' };
            let text: String = format!("{}, {}", definition.maker, definition.model).chars().map(plain).collect();
            let token = format!("Phone.{}.{}", definition.name, number + 1);
            models.entry(id).or_insert(Model { token, text });
        }
    }
    models
}

fn id(rule: &super::UsbRule) -> Option<String> {
    match (rule.interface, rule.device) {
        (Some((class, subclass, protocol)), _) => {
            Some(format!("USB\\Class_{class:02X}&SubClass_{subclass:02X}&Prot_{protocol:02X}"))
        }
        (None, Some((vendor, product))) => Some(format!("USB\\VID_{vendor:04X}&PID_{product:04X}")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Sections in the order of the file, each with its entries; comments are gone.
    fn sections(inf: &str) -> Vec<(String, Vec<String>)> {
        let mut sections: Vec<(String, Vec<String>)> = Vec::new();
        for line in inf.lines() {
            let line = line.split(';').next().unwrap_or_default().trim();
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(name) => sections.push((name.to_owned(), Vec::new())),
                None if line.is_empty() => {}
                None => sections.last_mut().expect("no entry before a section").1.push(line.to_owned()),
            }
        }
        sections
    }

    fn section<'a>(sections: &'a [(String, Vec<String>)], name: &str) -> Option<&'a [String]> {
        sections.iter().find(|(found, _)| found == name).map(|(_, entries)| entries.as_slice())
    }

    fn value<'a>(entries: &'a [String], key: &str) -> Option<&'a str> {
        let entries = entries.iter().filter_map(|entry| entry.split_once('='));
        entries.filter(|(found, _)| found.trim() == key).map(|(_, value)| value.trim()).next()
    }

    /// A maker that has vendor and product alone, in words that an INF could not bear, and one that has an interface too.
    fn two_makers() -> Definitions {
        let mut definitions = Definitions::shipped();
        for (name, interface) in [("acme", ""), ("zeta", "interface = { class = 0xff, subclass = 0x54, protocol = 1 }")]
        {
            let text = format!(
                "name = '{name}'\nmaker = \"A \\\"quoted\\\" %maker%\"\nmodel = 'Kite 2'\nprotocol = 'tether'\n\
                 [[usb]]\nvendor = 0x1209\nproduct = 0xa1\n{interface}\n"
            );
            definitions.add(Path::new(&format!("{name}.toml")), &text).unwrap();
        }
        definitions
    }

    #[test]
    fn the_shipped_driver_file_is_the_one_that_the_definitions_make() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers/windows").join(INF_FILE);
        let wanted = windows_inf(&Definitions::shipped());
        let shipped = std::fs::read_to_string(file).unwrap();
        assert_eq!(shipped, wanted, "`tethercert setup driver --to drivers/windows` writes it anew");
    }

    #[test]
    fn every_section_that_is_named_is_there_and_every_model_has_its_driver_and_its_text() {
        for definitions in [Definitions::shipped(), two_makers()] {
            let inf = windows_inf(&definitions);
            let sections = sections(&inf);
            let names: BTreeSet<&String> = sections.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), sections.len(), "no section twice");
            let version = section(&sections, "Version").unwrap();
            assert_eq!(value(version, "Signature"), Some("\"$Windows NT$\""));
            assert_eq!(value(version, "CatalogFile"), Some("tethercert.cat"));
            let strings = section(&sections, "Strings").unwrap();

            let [manufacturer] = section(&sections, "Manufacturer").unwrap() else { panic!("one manufacturer") };
            let mut models = manufacturer.split_once('=').unwrap().1.split(',').map(str::trim);
            let base = models.next().unwrap();
            let architectures: Vec<&str> = models.collect();
            assert_eq!(architectures, ARCHITECTURES);
            for architecture in architectures {
                let entries = section(&sections, &format!("{base}.{architecture}")).unwrap();
                assert!(!entries.is_empty());
                for entry in entries {
                    let (text, install) = entry.split_once('=').unwrap();
                    let (install, id) = install.split_once(',').unwrap();
                    assert!(value(strings, text.trim().trim_matches('%')).is_some(), "{entry}");
                    assert!(id.trim().starts_with("USB\\"), "{entry}");
                    for suffix in ["", ".Services", ".HW"] {
                        assert!(section(&sections, &format!("{}.NT{suffix}", install.trim())).is_some(), "{entry}");
                    }
                }
            }
            for (name, entries) in &sections {
                if let Some(named) = value(entries, "AddReg") {
                    assert!(section(&sections, named).is_some(), "{name} names {named}");
                }
                for token in entries.iter().flat_map(|entry| entry.split('%').skip(1).step_by(2)) {
                    assert!(value(strings, token).is_some(), "{name} uses %{token}%");
                }
            }
        }
    }

    #[test]
    fn a_phone_is_matched_by_the_class_of_its_interface_or_by_its_ids_and_each_once() {
        let inf = windows_inf(&two_makers());
        let sections = sections(&inf);
        let entries = section(&sections, "Phones.NTamd64").unwrap();
        let ids: Vec<&str> = entries.iter().filter_map(|entry| entry.rsplit(", ").next()).collect();
        assert_eq!(ids, ["USB\\Class_FF&SubClass_54&Prot_01", "USB\\VID_1209&PID_00A1"]);
        assert!(inf.is_ascii() && inf.matches('\n').count() == inf.matches("\r\n").count());
        assert!(inf.contains("Phone.acme.1 = \"A ?quoted? ?maker?, Kite 2\""), "{inf}");
    }

    #[test]
    fn windows_calls_the_interface_the_same_by_the_file_as_by_the_phones_own_descriptors() {
        let set = crate::lab::phone::windows_descriptor_set(Some(0));
        let guid: Vec<u8> = INTERFACE_GUID.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(set.windows(guid.len()).any(|window| window == guid));
        let property = format!("DeviceInterfaceGUIDs,0x00010000,\"{INTERFACE_GUID}\"");
        assert!(windows_inf(&Definitions::shipped()).contains(&property));
    }
}
