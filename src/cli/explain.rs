//! Why each device is a phone, may be one, or is none; and what the two libraries see of this computer's USB.

use super::bench::{Bench, BusArgs, Way, way};
use super::error::CliError;
use super::exit::Exit;
use super::list::{models, name};
use super::screen::{Screen, Tone};
use super::text::count;
use serde::Serialize;
use tethercert::phone::Finder;
use tethercert::phone::definition::{Definition, Definitions};
use tethercert::usb::{Attached, InterfaceKind, Seen, SeenBy, Slot, UsbLibrary, compare};

/// Hubs are part of the way, wherever they are.
const HUB: u8 = 0x09;
/// Classes of interfaces that people have at their desks, to call a device by what it is.
const CLASSES: [(u8, &str); 13] = [
    (0x01, "audio"),
    (0x02, "communications"),
    (0x03, "keyboard, mouse or other HID"),
    (0x05, "physical"),
    (0x06, "camera"),
    (0x07, "printer"),
    (0x08, "disk"),
    (0x0a, "data"),
    (0x0b, "smart card"),
    (0x0e, "video"),
    (0xe0, "wireless"),
    (0xfe, "firmware update or other"),
    (0xff, "of its maker's own kind"),
];

/// What one library saw, for `--json`.
#[derive(Serialize)]
struct LibraryLine {
    library: String,
    built: bool,
    /// Absent where it could not look.
    devices: Option<usize>,
    error: Option<String>,
    next_step: Option<String>,
}

/// One device, for `--json`.
#[derive(Serialize)]
struct ExplainedLine<'a> {
    port: &'a Slot,
    vendor_id: String,
    product_id: String,
    product: Option<&'a str>,
    interfaces: Vec<String>,
    /// `phone`, `candidate` or `none`.
    verdict: &'static str,
    models: Vec<String>,
    why: String,
    seen_by: Vec<String>,
    finding: Option<String>,
    next_step: Option<String>,
}

/// What a device is, and why.
struct Verdict {
    word: &'static str,
    models: Option<String>,
    names: Vec<String>,
    why: String,
}

pub(crate) async fn run(bus: &BusArgs, screen: &Screen) -> Result<Exit, CliError> {
    let bench = Bench::to_list(bus, screen).await?;
    let is_usbip = bench.lab.is_some() || matches!(way(bus)?, Way::UsbIp(_));
    let seen = if is_usbip {
        by_usbip(&bench.finder).await?
    } else {
        let (seen, errors) = compare().await;
        // Where nobody could look, the error of the way that is meant is the answer.
        if errors.len() == UsbLibrary::ALL.len() {
            bench.finder.usb.list().await?;
        }
        for library in UsbLibrary::ALL {
            say_library(library, &seen, &errors, screen);
        }
        seen
    };
    for seen in &seen {
        say_device(seen, &bench.finder, screen);
    }
    let phones = seen.iter().filter(|seen| verdict(&seen.attached, &bench.finder).word == "phone").count();
    screen.line("all", &format!("{}, {}", count(seen.len(), "device"), count(phones, "phone")));
    Ok(Exit::Done)
}

async fn by_usbip(finder: &Finder) -> Result<Vec<Seen>, CliError> {
    let mut seen = Vec::new();
    for attached in finder.usb.list().await? {
        // One that is in use is explained by what the list says.
        let attached = finder.usb.inspect(&attached).await.unwrap_or(attached);
        seen.push(Seen { attached, by: SeenBy::All });
    }
    Ok(seen)
}

fn say_library(
    library: UsbLibrary,
    seen: &[Seen],
    errors: &[(UsbLibrary, tethercert::usb::UsbError)],
    screen: &Screen,
) {
    let error = errors.iter().find(|(failed, _)| *failed == library).map(|(_, error)| error);
    let sees = |seen: &&Seen| match seen.by {
        SeenBy::All => true,
        SeenBy::Only(only) => only == library,
    };
    let devices = error.is_none().then(|| seen.iter().filter(sees).count());
    screen.json(
        "usb_library",
        &LibraryLine {
            library: library.to_string(),
            built: library.is_built(),
            devices,
            error: error.map(ToString::to_string),
            next_step: error.map(|error| error.next_step().to_owned()),
        },
    );
    let text = match (error, devices) {
        (Some(_), _) if !library.is_built() => {
            "not in this build, so that nothing is compared with it: cargo install --features libusb".to_owned()
        }
        (Some(error), _) => format!("{error}: {}", error.next_step()),
        (None, devices) => format!("sees {}", count(devices.unwrap_or_default(), "device")),
    };
    screen.line(&library.to_string(), &text);
}

fn say_device(seen: &Seen, finder: &Finder, screen: &Screen) {
    let attached = &seen.attached;
    let verdict = verdict(attached, finder);
    let finding = finding(seen);
    screen.json(
        "explained",
        &ExplainedLine {
            port: &attached.slot,
            vendor_id: format!("{:04x}", attached.vendor_id),
            product_id: format!("{:04x}", attached.product_id),
            product: attached.strings.product.as_deref(),
            interfaces: attached.interfaces.iter().map(triple).collect(),
            verdict: verdict.word,
            models: verdict.names.clone(),
            why: verdict.why.clone(),
            seen_by: match seen.by {
                SeenBy::All => UsbLibrary::ALL.iter().filter(|it| it.is_built()).map(ToString::to_string).collect(),
                SeenBy::Only(library) => vec![library.to_string()],
            },
            finding: finding.as_ref().map(|(finding, _)| finding.clone()),
            next_step: finding.as_ref().map(|(_, next)| next.clone()),
        },
    );
    let tone = match verdict.word {
        "phone" => Tone::Good,
        "candidate" => Tone::Unsure,
        _ => Tone::Plain,
    };
    screen.toned(tone, verdict.word, &attached.to_string());
    let is = verdict.models.map(|models| format!("{models}: ")).unwrap_or_default();
    screen.line("", &format!("{is}{}", verdict.why));
    if let Some((finding, next)) = finding {
        screen.toned(Tone::Unsure, "differ", &finding);
        screen.line("next", &next);
    }
}

/// What it means that one library sees the device and the other does not.
fn finding(seen: &Seen) -> Option<(String, String)> {
    let SeenBy::Only(library) = seen.by else { return None };
    let port = &seen.attached.slot;
    Some(match library {
        UsbLibrary::Libusb => (
            format!("libusb sees the device on port {port}, and the system's own way does not"),
            "use it with --usb-backend libusb, and please report it with this output".to_owned(),
        ),
        UsbLibrary::System => (
            format!("the system's own way sees the device on port {port}, and libusb does not"),
            "leave out --usb-backend; if it stays so, libusb lacks the right or the driver for it".to_owned(),
        ),
    })
}

fn verdict(attached: &Attached, finder: &Finder) -> Verdict {
    match finder.recognise(attached.clone()) {
        Some(found) => Verdict {
            word: if found.certain { "phone" } else { "candidate" },
            models: Some(models(&found)),
            names: found.models.iter().map(name).collect(),
            why: match found.certain {
                true => found.models.iter().find_map(|model| rule(model, attached)).unwrap_or_default(),
                false => found.models.iter().map(|model| likeness(model, attached)).collect::<Vec<_>>().join("; "),
            },
        },
        None => Verdict {
            word: "none",
            models: None,
            names: Vec::new(),
            why: near(&finder.definitions, attached).unwrap_or_else(|| nature(attached)),
        },
    }
}

/// The rule by which it is this model.
fn rule(model: &Definition, attached: &Attached) -> Option<String> {
    let rules = model.usb.iter().filter(|rule| rule.fits(attached.vendor_id, attached.product_id, &triples(attached)));
    let best = rules.max_by_key(|rule| (rule.device.is_some(), rule.interface.is_some()))?;
    let mut parts = Vec::new();
    if let Some((vendor, product)) = best.device {
        parts.push(format!("USB id {vendor:04x}:{product:04x}"));
    }
    if let Some((class, subclass, protocol)) = best.interface {
        parts.push(format!("interface {class:02x}/{subclass:02x}/{protocol:02x}"));
    }
    Some(format!("{} ask for {}", file(model), parts.join(" and ")))
}

/// Why it may be this model.
fn likeness(model: &Definition, attached: &Attached) -> String {
    let texts = [&attached.strings.manufacturer, &attached.strings.product];
    let shows =
        |part: &&String| texts.iter().any(|text| text.as_ref().is_some_and(|it| it.to_lowercase().contains(*part)));
    match (rule(model, attached), model.text_contains.iter().find(shows)) {
        (Some(rule), _) => format!("{rule}, as another definition does"),
        (None, Some(part)) => {
            format!("its name has `{part}`, as {} say of such phones; their USB ids are not known", file(model))
        }
        (None, None) => format!("it looks as {} say", file(model)),
    }
}

/// What is missing, where a device has part of what makes a phone.
fn near(definitions: &Definitions, attached: &Attached) -> Option<String> {
    let id = (attached.vendor_id, attached.product_id);
    definitions.iter().find_map(|model| {
        let rule = model.usb.iter().find(|rule| rule.device == Some(id))?;
        let (class, subclass, protocol) = rule.interface?;
        Some(format!(
            "it has the USB id of {}, and lacks its interface {class:02x}/{subclass:02x}/{protocol:02x}: see whether it is in \
             another mode; {}",
            name(model),
            nature(attached)
        ))
    })
}

/// What it is instead.
fn nature(attached: &Attached) -> String {
    if attached.interfaces.is_empty() {
        return "it shows no interface: it is not configured, or nobody may look".to_owned();
    }
    if attached.interfaces.iter().all(|interface| interface.class == HUB) {
        return "a hub".to_owned();
    }
    let mut kinds: Vec<String> = Vec::new();
    for interface in &attached.interfaces {
        let class = CLASSES.iter().find(|(class, _)| *class == interface.class);
        let kind = class.map_or_else(|| format!("class {:02x}", interface.class), |(_, kind)| (*kind).to_owned());
        let kind = format!("{kind} ({})", triple(interface));
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    format!("no definition fits its id or its interfaces: {}", kinds.join(", "))
}

fn file(model: &Definition) -> String {
    format!("the rules of {}.toml", model.name)
}

fn triples(attached: &Attached) -> Vec<(u8, u8, u8)> {
    attached.interfaces.iter().map(|interface| (interface.class, interface.subclass, interface.protocol)).collect()
}

fn triple(interface: &InterfaceKind) -> String {
    format!("{:02x}/{:02x}/{:02x}", interface.class, interface.subclass, interface.protocol)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tethercert::phone::tether::HostKey;
    use tethercert::usb::{Strings, Usb};

    fn explained(id: (u16, u16), product: &str, triples: &[(u8, u8, u8)]) -> (&'static str, String) {
        let interface = |(number, &(class, subclass, protocol)): (usize, &(u8, u8, u8))| InterfaceKind {
            number: number as u8,
            class,
            subclass,
            protocol,
        };
        let attached = Attached {
            slot: "1-1".parse().unwrap(),
            address: 1,
            vendor_id: id.0,
            product_id: id.1,
            device_version: 0,
            strings: Strings { product: Some(product.to_owned()), ..Strings::default() },
            interfaces: triples.iter().enumerate().map(interface).collect(),
        };
        let mut definitions = Definitions::shipped();
        let text = "name = \"acme\"\nmaker = \"Acme\"\nmodel = \"Desk\"\nprotocol = \"tether\"\n[[usb]]\n\
                    vendor = 0x1209\nproduct = 1\ninterface = { class = 0xff, subclass = 0x54, protocol = 1 }\n";
        definitions.add("acme.toml".as_ref(), text).unwrap();
        let finder = Finder {
            usb: Usb::system(),
            definitions: Arc::new(definitions),
            host_key: Arc::new(HostKey::ephemeral()),
            host_label: String::new(),
        };
        let verdict = verdict(&attached, &finder);
        (verdict.word, verdict.why)
    }

    #[test]
    fn every_device_is_told_why_it_is_a_phone_or_what_it_lacks() {
        let tether = (0xff, 0x54, 0x01);
        assert_eq!(
            explained((0x1209, 1), "Desk", &[tether]),
            ("phone", "the rules of acme.toml ask for USB id 1209:0001 and interface ff/54/01".to_owned())
        );
        assert_eq!(
            explained((0x1d50, 7), "Desk", &[tether]),
            ("phone", "the rules of tether.toml ask for interface ff/54/01".to_owned())
        );
        let (word, why) = explained((0x1209, 1), "Desk", &[(8, 6, 80)]);
        assert!(
            word == "none" && why.starts_with("it has the USB id of Acme Desk, and lacks its interface ff/54/01"),
            "{why}"
        );
        let (word, why) = explained((1, 2), "Polycom CX600", &[(3, 0, 0)]);
        assert!(word == "candidate" && why.contains("cx600"), "{why}");
        assert_eq!(explained((1, 2), "Hub", &[(9, 0, 1)]), ("none", "a hub".to_owned()));
        let (_, why) = explained((1, 2), "Keyboard", &[(3, 1, 1), (3, 1, 1)]);
        assert_eq!(why, "no definition fits its id or its interfaces: keyboard, mouse or other HID (03/01/01)");
        let (_, why) = explained((1, 2), "Nothing", &[]);
        assert!(why.starts_with("it shows no interface"), "{why}");
    }
}
