//! All that a device says about itself on USB, in a form that somebody can send.

use super::bench::{Bench, PhoneArgs};
use super::error::CliError;
use super::exit::Exit;
use super::list::name;
use super::screen::Screen;
use super::text::dotted;
use serde::Serialize;
use std::collections::BTreeSet;
use tethercert::phone::definition::Seen;
use tethercert::usb::tree::{Bos, CapabilityKind, Configuration, Described, EndpointFound, Interface, names};
use tethercert::usb::{Attached, Dossier, EndpointKind, MicrosoftOsString, Selector};

/// Bytes on a line.
const BYTES_A_LINE: usize = 16;
/// What stands for something that only this one device has.
const LEFT_OUT: &str = "(left out)";
/// Class of hubs.
const HUB: u8 = 9;

pub(crate) async fn run(args: &PhoneArgs, redact: bool, ms_os: bool, screen: &Screen) -> Result<Exit, CliError> {
    let bench = Bench::for_a_phone(args, screen).await?;
    let attached = match &args.device {
        // Only a phone that is spoken to tells its MAC address.
        Some(selector @ Selector::Mac(_)) => bench.pick(Some(selector)).await?.attached,
        selector => {
            let mut candidates = bench.finder.usb.list().await?;
            if selector.is_none() {
                candidates.retain(|device| !is_hub(device));
            }
            bench.finder.usb.select(candidates, selector.as_ref(), |_| None).await?
        }
    };
    let string = if ms_os { MicrosoftOsString::Ask } else { MicrosoftOsString::Leave };
    let dossier = bench.finder.usb.look(&attached, string).await?;
    let page = Page::of(&dossier, redact, &bench);
    screen.json("usb", &page);
    page.show(screen);
    Ok(Exit::Done)
}

fn is_hub(device: &Attached) -> bool {
    !device.interfaces.is_empty() && device.interfaces.iter().all(|interface| interface.class == HUB)
}

/// The whole page. Bytes are hexadecimal.
#[derive(Serialize)]
struct Page {
    port: String,
    vendor_id: String,
    product_id: String,
    speed: Option<String>,
    read_from: &'static str,
    device: DeviceLines,
    active_configuration: Option<u8>,
    configurations: Vec<ConfigurationLines>,
    bos: Option<BosLines>,
    languages: Vec<String>,
    strings: Vec<StringLine>,
    microsoft_os_2: Option<String>,
    microsoft_os_string: Option<String>,
    landing_page: Option<String>,
    definitions: Vec<String>,
    redacted: bool,
    missing: Vec<MissingLine>,
}

#[derive(Serialize)]
struct DeviceLines {
    usb: String,
    class: String,
    version: String,
    max_packet_size_0: u8,
    configurations: u8,
    bytes: String,
}

#[derive(Serialize)]
struct ConfigurationLines {
    value: u8,
    name: Option<String>,
    power: String,
    announced_interfaces: u8,
    announced_bytes: u16,
    before: Vec<DescribedLines>,
    interfaces: Vec<InterfaceLines>,
    rest: Option<String>,
    bytes: String,
}

#[derive(Serialize)]
struct InterfaceLines {
    number: u8,
    setting: u8,
    class: String,
    name: Option<String>,
    driver: Option<String>,
    others: Vec<DescribedLines>,
    endpoints: Vec<EndpointLines>,
}

#[derive(Serialize)]
struct EndpointLines {
    address: String,
    kind: String,
    packet: u16,
    packets_a_microframe: u16,
    interval: u8,
    others: Vec<DescribedLines>,
}

#[derive(Serialize)]
struct DescribedLines {
    name: Option<&'static str>,
    says: Vec<String>,
    bytes: String,
}

#[derive(Serialize)]
struct BosLines {
    announced: u8,
    capabilities: Vec<CapabilityLines>,
    rest: Option<String>,
}

#[derive(Serialize)]
struct CapabilityLines {
    says: String,
    bytes: String,
}

#[derive(Serialize)]
struct StringLine {
    index: u8,
    language: Option<String>,
    what: String,
    text: String,
}

#[derive(Serialize)]
struct MissingLine {
    what: String,
    why: String,
    next_step: Option<String>,
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}

impl Page {
    fn of(dossier: &Dossier, redact: bool, bench: &Bench) -> Self {
        let attached = &dossier.attached;
        let configurations: Vec<(Configuration, &Vec<u8>)> =
            dossier.configurations.iter().filter_map(|bytes| Some((Configuration::read(bytes)?, bytes))).collect();
        let secret = Secret::of(dossier, &configurations, redact);
        let device = dossier.read_device();
        let text = |index: u8| secret.string(dossier, index);
        let bos = dossier.bos.as_deref().and_then(Bos::read);
        Self {
            port: attached.slot.to_string(),
            vendor_id: format!("{:04x}", attached.vendor_id),
            product_id: format!("{:04x}", attached.product_id),
            speed: dossier.speed.clone(),
            read_from: dossier.from,
            device: DeviceLines {
                usb: device.as_ref().map(|it| bcd(it.usb_version)).unwrap_or_default(),
                class: device.as_ref().map(|it| names(it.class)).unwrap_or_default(),
                version: device.as_ref().map(|it| bcd(it.device_version)).unwrap_or_default(),
                max_packet_size_0: device.as_ref().map(|it| it.max_packet_size_0).unwrap_or_default(),
                configurations: device.as_ref().map(|it| it.configurations).unwrap_or_default(),
                bytes: hex(&dossier.device),
            },
            active_configuration: dossier.active,
            configurations: configurations
                .iter()
                .map(|(configuration, bytes)| ConfigurationLines::of(configuration, bytes, dossier, &text))
                .collect(),
            bos: bos.as_ref().map(|bos| BosLines::of(bos, redact)),
            languages: dossier.languages.iter().map(|language| language_name(*language)).collect(),
            strings: strings(dossier, &configurations, &secret),
            microsoft_os_2: dossier.microsoft_os.as_deref().map(hex),
            microsoft_os_string: dossier.microsoft_os_string.as_deref().map(hex),
            landing_page: dossier.landing_page.clone(),
            definitions: definitions(dossier, &configurations, bench),
            redacted: redact,
            missing: dossier
                .missing
                .iter()
                .map(|it| MissingLine { what: it.what.clone(), why: it.why.clone(), next_step: it.next_step.clone() })
                .collect(),
        }
    }
}

/// What must not stand on the page.
struct Secret {
    indexes: BTreeSet<u8>,
    /// A serial number may stand in another string too.
    texts: BTreeSet<String>,
}

impl Secret {
    fn of(dossier: &Dossier, configurations: &[(Configuration, &Vec<u8>)], redact: bool) -> Self {
        let mut indexes = BTreeSet::new();
        if redact {
            indexes.extend(dossier.read_device().map(|device| device.strings[2]));
            let named = configurations.iter().flat_map(|(configuration, _)| configuration.strings());
            indexes.extend(named.filter(|(what, _)| *what == "MAC address").map(|(_, index)| index));
            indexes.remove(&0);
        }
        let hidden = dossier.strings.iter().filter(|((index, _), _)| indexes.contains(index));
        let texts = hidden.map(|(_, text)| text.clone()).filter(|text| text.chars().count() >= 4).collect();
        Self { indexes, texts }
    }

    fn shown(&self, index: u8, text: &str) -> String {
        if self.indexes.contains(&index) {
            return format!("{LEFT_OUT}, {} characters", text.chars().count());
        }
        self.texts.iter().fold(text.to_owned(), |text, hidden| text.replace(hidden, LEFT_OUT))
    }

    /// A string in the first language that there is of it.
    fn string(&self, dossier: &Dossier, index: u8) -> Option<String> {
        let mut found = dossier.strings.iter().filter(|((at, _), _)| *at == index);
        found.next().map(|(_, text)| self.shown(index, text))
    }
}

impl ConfigurationLines {
    fn of(
        configuration: &Configuration,
        bytes: &[u8],
        dossier: &Dossier,
        text: &impl Fn(u8) -> Option<String>,
    ) -> Self {
        let fast =
            dossier.speed.as_deref().is_some_and(|speed| speed.starts_with("5000") || speed.starts_with("10000"));
        let milliamperes = u16::from(configuration.max_power) * if fast { 8 } else { 2 };
        let own = if configuration.attributes & 0x40 != 0 { "self-powered" } else { "powered by the bus" };
        let wakes = if configuration.attributes & 0x20 != 0 { ", wakes the computer" } else { "" };
        let active = dossier.active == Some(configuration.value);
        Self {
            value: configuration.value,
            name: text(configuration.string),
            power: format!("{milliamperes} mA, {own}{wakes}"),
            announced_interfaces: configuration.announced,
            announced_bytes: configuration.length.0,
            before: configuration.before.iter().map(DescribedLines::of).collect(),
            interfaces: configuration
                .interfaces
                .iter()
                .map(|interface| InterfaceLines::of(interface, dossier, active, text))
                .collect(),
            rest: (!configuration.rest.is_empty()).then(|| hex(&configuration.rest)),
            bytes: hex(bytes),
        }
    }
}

impl InterfaceLines {
    fn of(interface: &Interface, dossier: &Dossier, active: bool, text: &impl Fn(u8) -> Option<String>) -> Self {
        Self {
            number: interface.number,
            setting: interface.setting,
            class: names(interface.class),
            name: text(interface.string),
            driver: dossier.drivers.get(&interface.number).filter(|_| active).cloned(),
            others: interface.others.iter().map(DescribedLines::of).collect(),
            endpoints: interface.endpoints.iter().map(EndpointLines::of).collect(),
        }
    }
}

impl EndpointLines {
    fn of(endpoint: &EndpointFound) -> Self {
        let kind = match endpoint.kind() {
            EndpointKind::Control => "control",
            EndpointKind::Isochronous => "isochronous",
            EndpointKind::Bulk => "bulk",
            EndpointKind::Interrupt => "interrupt",
        };
        Self {
            address: format!("{:02x}", endpoint.address),
            kind: format!("{kind} {}", if endpoint.is_in() { "in" } else { "out" }),
            packet: endpoint.packet(),
            packets_a_microframe: ((endpoint.max_packet_size >> 11) & 3) + 1,
            interval: endpoint.interval,
            others: endpoint.others.iter().map(DescribedLines::of).collect(),
        }
    }
}

impl DescribedLines {
    fn of(described: &Described) -> Self {
        Self { name: described.name, says: described.says.clone(), bytes: hex(&described.bytes) }
    }
}

impl BosLines {
    fn of(bos: &Bos, redact: bool) -> Self {
        let capabilities = bos.capabilities.iter().map(|capability| {
            let mut bytes = hex(&capability.bytes);
            let says = match &capability.kind {
                CapabilityKind::Usb2 { attributes } => {
                    format!(
                        "USB 2.0 extension, link power management {}",
                        if attributes & 2 != 0 { "yes" } else { "no" }
                    )
                }
                CapabilityKind::SuperSpeed => "SuperSpeed".to_owned(),
                CapabilityKind::SuperSpeedPlus => "SuperSpeedPlus".to_owned(),
                CapabilityKind::ContainerId { .. } if redact => {
                    bytes = LEFT_OUT.to_owned();
                    format!("container id {LEFT_OUT}")
                }
                CapabilityKind::ContainerId { id } => format!("container id {id}"),
                CapabilityKind::MicrosoftOs { vendor_code, length, alternates } => format!(
                    "Microsoft OS 2.0 descriptors, {length} bytes by request {vendor_code:#04x}{}",
                    if *alternates { ", with alternatives" } else { "" }
                ),
                CapabilityKind::WebUsb { vendor_code, landing_page } => {
                    format!("WebUSB, page {landing_page} by request {vendor_code:#04x}")
                }
                CapabilityKind::Platform { id } => format!("platform {id}"),
                CapabilityKind::Other { kind } => format!("capability {kind:#04x}"),
            };
            CapabilityLines { says, bytes }
        });
        let capabilities = capabilities.collect();
        Self { announced: bos.announced, capabilities, rest: (!bos.rest.is_empty()).then(|| hex(&bos.rest)) }
    }
}

fn strings(dossier: &Dossier, configurations: &[(Configuration, &Vec<u8>)], secret: &Secret) -> Vec<StringLine> {
    let own = dossier.read_device().map(|device| device.strings).unwrap_or_default();
    let named: Vec<(&'static str, u8)> = ["maker", "product", "serial number"]
        .into_iter()
        .zip(own)
        .chain(configurations.iter().flat_map(|(configuration, _)| configuration.strings()))
        .collect();
    let asked: BTreeSet<u8> =
        dossier.strings.keys().filter(|(_, language)| *language != 0).map(|(index, _)| *index).collect();
    let shown = dossier.strings.iter().filter(|((index, language), _)| *language != 0 || !asked.contains(index));
    shown
        .map(|((index, language), text)| {
            let what: BTreeSet<&str> = named.iter().filter(|(_, at)| at == index).map(|(what, _)| *what).collect();
            StringLine {
                index: *index,
                language: (*language != 0).then(|| language_name(*language)),
                what: what.into_iter().collect::<Vec<_>>().join(", "),
                text: secret.shown(*index, text),
            }
        })
        .collect()
}

fn language_name(language: u16) -> String {
    let name = match language {
        0x0404 => "Chinese, Taiwan",
        0x0407 => "German",
        0x0409 => "English, United States",
        0x040a => "Spanish",
        0x040c => "French",
        0x0411 => "Japanese",
        0x0412 => "Korean",
        0x0804 => "Chinese, China",
        0x0809 => "English, United Kingdom",
        _ => return format!("{language:#06x}"),
    };
    format!("{language:#06x} {name}")
}

fn bcd(version: u16) -> String {
    format!("{:x}.{:02x}", version >> 8, version & 0xff)
}

/// What the definitions make of it, and why nothing more.
fn definitions(dossier: &Dossier, configurations: &[(Configuration, &Vec<u8>)], bench: &Bench) -> Vec<String> {
    let attached = &dossier.attached;
    let active = |it: &&(Configuration, &Vec<u8>)| dossier.active.is_none_or(|active| it.0.value == active);
    let read = configurations.iter().find(active).map(|it| &it.0.interfaces).into_iter().flatten();
    let mut interfaces: Vec<(u8, u8, u8)> = read.filter(|it| it.setting == 0).map(|it| it.class).collect();
    if interfaces.is_empty() {
        interfaces = attached.interfaces.iter().map(|it| (it.class, it.subclass, it.protocol)).collect();
    }
    let own = dossier.read_device().map(|device| device.strings).unwrap_or_default();
    let text = |index: u8| dossier.strings.iter().find(|((at, _), _)| *at == index).map(|(_, text)| text.clone());
    let (maker, product) = (text(own[0]), text(own[1]));
    let seen = Seen {
        vendor: attached.vendor_id,
        product: attached.product_id,
        interfaces: &interfaces,
        manufacturer: maker.as_deref(),
        product_name: product.as_deref(),
    };
    use tethercert::phone::definition::Recognition;
    match bench.finder.definitions.recognise(&seen) {
        Recognition::Phone(model) => vec![format!("{} ({}), by its USB rule", name(model), model.name)],
        Recognition::Candidates(models) => {
            let mut lines: Vec<String> =
                models.iter().map(|model| format!("perhaps {} ({}), by its words", name(model), model.name)).collect();
            lines.push("no definition has its USB ids: this page is what is needed for one".to_owned());
            lines
        }
        Recognition::Unknown => {
            let id = format!("{:04x}:{:04x}", attached.vendor_id, attached.product_id);
            let classes: Vec<String> = interfaces.iter().map(|it| names(*it)).collect();
            vec![
                format!("no definition has {id}, one of its interfaces ({}), or its words", classes.join(", ")),
                "docs/adding-a-phone.md leads from here to a definition".to_owned(),
            ]
        }
    }
}

impl Page {
    fn show(&self, screen: &Screen) {
        let id = format!("{}:{}", self.vendor_id, self.product_id);
        let speed = self.speed.clone().unwrap_or_default();
        screen.row(&dotted(&[format!("device on port {}", self.port), id, speed]));
        screen.row(&format!("  read from {}", self.read_from));
        let device = &self.device;
        screen.row(&format!("  USB {}, class {}, device version {}", device.usb, device.class, device.version));
        let configurations = device.configurations;
        screen.row(&format!(
            "  packets of {} bytes on endpoint 0; configurations: {configurations}",
            device.max_packet_size_0
        ));
        bytes(screen, 2, &device.bytes);
        for string in &self.strings {
            let language = string.language.as_ref().map(|it| format!(", {it}")).unwrap_or_default();
            screen.row(&format!("  string {} ({}{language}): {}", string.index, string.what, string.text));
        }
        if !self.languages.is_empty() {
            screen.row(&format!("  languages: {}", self.languages.join("; ")));
        }
        for line in &self.definitions {
            screen.row(&format!("  definitions: {line}"));
        }
        for configuration in &self.configurations {
            configuration.show(self.active_configuration == Some(configuration.value), screen);
        }
        if let Some(bos) = &self.bos {
            screen.blank();
            screen.row(&format!("BOS, {} announced", bos.announced));
            for capability in &bos.capabilities {
                screen.row(&format!("  {}", capability.says));
                bytes(screen, 4, &capability.bytes);
            }
            if let Some(rest) = &bos.rest {
                screen.row("  at the end, no descriptor:");
                bytes(screen, 4, rest);
            }
        }
        let more = [("Microsoft OS 2.0 descriptors", &self.microsoft_os_2), ("string 0xEE", &self.microsoft_os_string)];
        for (what, text) in more {
            if let Some(text) = text {
                screen.blank();
                screen.row(what);
                bytes(screen, 2, text);
            }
        }
        if let Some(page) = &self.landing_page {
            screen.row(&format!("WebUSB page: {page}"));
        }
        if !self.missing.is_empty() {
            screen.blank();
            screen.row("missing");
            for missing in &self.missing {
                screen.row(&format!("  {}: {}", missing.what, missing.why));
                if let Some(next) = &missing.next_step {
                    screen.row(&format!("    next: {next}"));
                }
            }
        }
        if !self.redacted {
            screen.note("it may name serial number and MAC address: --redact leaves them out, for strangers");
        }
    }
}

impl ConfigurationLines {
    fn show(&self, active: bool, screen: &Screen) {
        screen.blank();
        let name = self.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
        let active = if active { ", active" } else { "" };
        screen.row(&format!("configuration {}{name}{active}, {}", self.value, self.power));
        screen.row(&format!("  announced: {} interfaces, {} bytes", self.announced_interfaces, self.announced_bytes));
        self.before.iter().for_each(|described| described.show(2, screen));
        for interface in &self.interfaces {
            let name = interface.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
            let driver = interface.driver.as_ref().map(|driver| format!(", held by {driver}")).unwrap_or_default();
            let setting =
                if interface.setting == 0 { String::new() } else { format!(" setting {}", interface.setting) };
            screen.row(&format!("  interface {}{setting}: {}{name}{driver}", interface.number, interface.class));
            interface.others.iter().for_each(|described| described.show(4, screen));
            for endpoint in &interface.endpoints {
                let burst = match endpoint.packets_a_microframe {
                    1 => String::new(),
                    several => format!(", {several} a microframe"),
                };
                screen.row(&format!(
                    "    endpoint {}: {}, packets of {}{burst}, interval {}",
                    endpoint.address, endpoint.kind, endpoint.packet, endpoint.interval
                ));
                endpoint.others.iter().for_each(|described| described.show(6, screen));
            }
        }
        if let Some(rest) = &self.rest {
            screen.row("  at the end, no descriptor:");
            bytes(screen, 4, rest);
        }
    }
}

impl DescribedLines {
    fn show(&self, indent: usize, screen: &Screen) {
        let name = self.name.unwrap_or("unknown descriptor");
        let says = if self.says.is_empty() { String::new() } else { format!(": {}", self.says.join("; ")) };
        screen.row(&format!("{:indent$}{name}{says}", ""));
        bytes(screen, indent + 2, &self.bytes);
    }
}

fn bytes(screen: &Screen, indent: usize, text: &str) {
    let digits: Vec<&str> = text.split(' ').collect();
    for line in digits.chunks(BYTES_A_LINE) {
        screen.row(&format!("{:indent$}{}", "", line.join(" ")));
    }
}
