//! Reading all that a device says about itself, by whatever way there is: what Linux keeps of it needs no rights, the rest is
//! asked of the device, and what could not be read is named with its reason. Nothing is claimed or changed on this computer;
//! over USB/IP the device is imported for it and given back.

use super::descriptor;
use super::tree::{Bos, Configuration, Device};
use super::{Attached, ControlIn, ControlKind, Link, Missing, Recipient, Usb, UsbError, Where};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most languages and strings that are read: a device that announces more is not believed.
const MOST_LANGUAGES: usize = 8;
const MOST_STRINGS: usize = 64;
/// The most configurations; a device has one, seldom two.
const MOST_CONFIGURATIONS: u8 = 8;
/// Index of the string by which Microsoft OS 1.0 descriptors are announced.
const MICROSOFT_OS_STRING: u8 = 0xee;

/// All that was read of a device, as bytes.
#[derive(Debug, Clone)]
pub struct Dossier {
    /// The device on its bus.
    pub attached: Attached,
    /// How fast it runs, where that is known: `480 Mbit/s`.
    pub speed: Option<String>,
    /// Where the descriptors are from.
    pub from: &'static str,
    /// The device descriptor.
    pub device: Vec<u8>,
    /// Every configuration with all that follows it.
    pub configurations: Vec<Vec<u8>>,
    /// The value of the active one, where that is known.
    pub active: Option<u8>,
    /// The kernel drivers that hold its interfaces.
    pub drivers: BTreeMap<u8, String>,
    /// The BOS descriptor.
    pub bos: Option<Vec<u8>>,
    /// The languages that it has strings in.
    pub languages: Vec<u16>,
    /// Its strings by index and language.
    pub strings: BTreeMap<(u8, u16), String>,
    /// The Microsoft OS 2.0 descriptors.
    pub microsoft_os: Option<Vec<u8>>,
    /// String 0xEE, where it was asked for.
    pub microsoft_os_string: Option<Vec<u8>>,
    /// The page of WebUSB.
    pub landing_page: Option<String>,
    /// What is not here, and why.
    pub missing: Vec<NotRead>,
}

/// A part that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRead {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// What brings it, where something does.
    pub next_step: Option<String>,
}

/// Whether the device is asked for string 0xEE, which some firmware does not survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MicrosoftOsString {
    /// It is not.
    Leave,
    /// It is.
    Ask,
}

/// Who is asked.
enum Asked {
    Opened(nusb::Device),
    Imported(Box<Link>),
}

impl Usb {
    /// Reads all that a listed device says about itself.
    ///
    /// # Errors
    /// Where nothing at all could be read of it. What is missing otherwise stands in the dossier.
    pub async fn look(&self, attached: &Attached, string: MicrosoftOsString) -> Result<Dossier, UsbError> {
        let mut dossier = Dossier {
            attached: attached.clone(),
            speed: None,
            from: "the device",
            device: Vec::new(),
            configurations: Vec::new(),
            active: None,
            drivers: BTreeMap::new(),
            bos: None,
            languages: Vec::new(),
            strings: BTreeMap::new(),
            microsoft_os: None,
            microsoft_os_string: None,
            landing_page: None,
            missing: Vec::new(),
        };
        let asked = match attached.slot.is_usbip() {
            true => {
                dossier.from = "the device, imported over USB/IP";
                let link = self.open_any(attached).await?;
                dossier.active = Some(link.configuration().value);
                Ok(Asked::Imported(Box::new(link)))
            }
            false => {
                #[cfg(target_os = "linux")]
                kept::read(&mut dossier);
                open(attached, &mut dossier).await
            }
        };
        match asked {
            Ok(mut asked) => dossier.ask(&mut asked, string).await?,
            Err(error) if dossier.device.is_empty() => return Err(error),
            Err(error) => dossier.cannot_ask(&error),
        }
        Ok(dossier)
    }

    /// Imports a device by whichever interface it has first.
    async fn open_any(&self, attached: &Attached) -> Result<Link, UsbError> {
        match self.open(attached, 0).await {
            // Interfaces need not count from 0.
            Err(UsbError::Missing { missing: Missing::Interface(0), .. }) => {
                let inspected = self.inspect(attached).await?;
                let first = inspected.interfaces.first().map_or(0, |interface| interface.number);
                self.open(&inspected, first).await
            }
            opened => opened,
        }
    }
}

/// Opens the device without claiming anything of it.
async fn open(attached: &Attached, dossier: &mut Dossier) -> Result<Asked, UsbError> {
    let (device, speed) = super::system::open_to_look(attached).await?;
    dossier.speed = dossier.speed.take().or(speed);
    if dossier.device.is_empty() {
        dossier.from = "the operating system, and the device";
        dossier.device = device.device_descriptor().as_bytes().to_vec();
        dossier.configurations = device.configurations().map(|it| it.as_bytes().to_vec()).collect();
        dossier.active = device.active_configuration().ok().map(|it| it.configuration_value());
    }
    Ok(Asked::Opened(device))
}

impl Asked {
    async fn control_in(&mut self, request: ControlIn, at: &Where) -> Result<Vec<u8>, UsbError> {
        match self {
            Self::Opened(device) => super::system::ask(device, request, at.clone(), PATIENCE).await,
            Self::Imported(link) => link.control_in(request, PATIENCE).await,
        }
    }

    async fn descriptor(
        &mut self,
        kind: u8,
        number: u8,
        index: u16,
        length: u16,
        at: &Where,
    ) -> Result<Vec<u8>, UsbError> {
        let value = u16::from_be_bytes([kind, number]);
        let (kind, recipient) = (ControlKind::Standard, Recipient::Device);
        self.control_in(ControlIn { kind, recipient, request: 6, value, index, length }, at).await
    }
}

impl Dossier {
    fn at(&self) -> Where {
        Where::Port(self.attached.slot.clone())
    }

    fn lacks(&mut self, what: impl Into<String>, why: impl ToString, next_step: Option<&str>) {
        self.missing.push(NotRead { what: what.into(), why: why.to_string(), next_step: next_step.map(str::to_owned) });
    }

    /// The system does not let us open it: everything that only the device itself says is missing.
    fn cannot_ask(&mut self, error: &UsbError) {
        let mut what =
            vec!["strings that the kernel does not keep", "languages", "Microsoft OS descriptors", "WebUSB page"];
        let has_bos = self.read_device().is_some_and(|device| device.usb_version >= 0x0201);
        if self.bos.is_none() && has_bos {
            what.push("BOS");
        }
        self.lacks(what.join(", "), error, Some(error.next_step()));
    }

    async fn ask(&mut self, device: &mut Asked, string: MicrosoftOsString) -> Result<(), UsbError> {
        let at = self.at();
        if self.device.is_empty() {
            self.device = device.descriptor(descriptor::DEVICE, 0, 0, 18, &at).await?;
        }
        if self.configurations.is_empty() {
            let announced = self.read_device().map_or(1, |device| device.configurations).min(MOST_CONFIGURATIONS);
            for number in 0..announced {
                match configuration(device, number, &at).await {
                    Ok(bytes) => self.configurations.push(bytes),
                    Err(error) if error.ends_link() => return Err(error),
                    Err(error) => self.lacks(format!("configuration number {number}"), error, None),
                }
            }
        }
        self.ask_for_bos(device, &at).await?;
        self.ask_for_strings(device, &at).await?;
        match string {
            MicrosoftOsString::Leave => {
                let why =
                    "it was not asked for: some firmware hangs when it is asked for a string that it does not have";
                self.lacks("string 0xEE (Microsoft OS 1.0)", why, Some("--ms-os-string asks for it"));
            }
            MicrosoftOsString::Ask => {
                match device.descriptor(descriptor::STRING, MICROSOFT_OS_STRING, 0, 255, &at).await {
                    Ok(bytes) => self.microsoft_os_string = Some(bytes),
                    Err(error) => self.lacks("string 0xEE (Microsoft OS 1.0)", error, None),
                }
            }
        }
        Ok(())
    }

    async fn ask_for_bos(&mut self, device: &mut Asked, at: &Where) -> Result<(), UsbError> {
        let announces = self.read_device().is_some_and(|device| device.usb_version >= 0x0201);
        if self.bos.is_none() && announces {
            match bos(device, at).await {
                Ok(bytes) => self.bos = Some(bytes),
                Err(error) if error.ends_link() => return Err(error),
                Err(error) => self.lacks("BOS", error, None),
            }
        }
        let Some(bos) = self.bos.as_deref().and_then(Bos::read) else { return Ok(()) };
        let vendor = |request, value, index, length| {
            let (kind, recipient) = (ControlKind::Vendor, Recipient::Device);
            ControlIn { kind, recipient, request, value, index, length }
        };
        if let Some((code, length)) = bos.microsoft_os() {
            match device.control_in(vendor(code, 0, 7, length), at).await {
                Ok(bytes) => self.microsoft_os = Some(bytes),
                Err(error) if error.ends_link() => return Err(error),
                Err(error) => self.lacks("Microsoft OS 2.0 descriptors", error, None),
            }
        }
        if let Some((code, page)) = bos.landing_page() {
            match device.control_in(vendor(code, page.into(), 2, 255), at).await {
                Ok(bytes) => self.landing_page = Some(url(&bytes)),
                Err(error) if error.ends_link() => return Err(error),
                Err(error) => self.lacks("WebUSB page", error, None),
            }
        }
        Ok(())
    }

    async fn ask_for_strings(&mut self, device: &mut Asked, at: &Where) -> Result<(), UsbError> {
        let named = self.strings_named();
        if named.is_empty() {
            return Ok(());
        }
        match device.descriptor(descriptor::STRING, 0, 0, 255, at).await {
            Ok(bytes) => {
                let words = bytes.get(2..).unwrap_or_default().chunks_exact(2);
                self.languages =
                    words.map(|pair| u16::from_le_bytes([pair[0], pair[1]])).take(MOST_LANGUAGES).collect();
            }
            Err(error) if error.ends_link() => return Err(error),
            Err(error) => self.lacks("languages", error, None),
        }
        for language in self.languages.clone() {
            for index in named.iter().copied().take(MOST_STRINGS) {
                match device.descriptor(descriptor::STRING, index, language, 255, at).await {
                    Ok(bytes) => match descriptor::text(&bytes) {
                        Ok(text) => {
                            self.strings.insert((index, language), text);
                        }
                        Err(error) => self.lacks(format!("string {index} in {language:#06x}"), error, None),
                    },
                    Err(error) if error.ends_link() => return Err(error),
                    Err(error) => self.lacks(format!("string {index} in {language:#06x}"), error, None),
                }
            }
        }
        Ok(())
    }

    /// The device descriptor, where it can be read.
    pub fn read_device(&self) -> Option<Device> {
        Device::read(&self.device)
    }

    /// Every string that any descriptor names.
    pub fn strings_named(&self) -> BTreeSet<u8> {
        let own = self.read_device().map(|device| device.strings).unwrap_or_default();
        let configurations = self.configurations.iter().filter_map(|bytes| Configuration::read(bytes));
        let named = configurations.flat_map(|it| it.strings()).map(|(_, index)| index);
        own.into_iter().chain(named).filter(|index| *index != 0).collect()
    }
}

async fn configuration(device: &mut Asked, number: u8, at: &Where) -> Result<Vec<u8>, UsbError> {
    let head = device.descriptor(descriptor::CONFIGURATION, number, 0, 9, at).await?;
    let total = head.get(2..4).map_or(9, |word| u16::from_le_bytes([word[0], word[1]])).max(9);
    device.descriptor(descriptor::CONFIGURATION, number, 0, total, at).await
}

async fn bos(device: &mut Asked, at: &Where) -> Result<Vec<u8>, UsbError> {
    let head = device.descriptor(descriptor::BOS, 0, 0, 5, at).await?;
    let total = head.get(2..4).map_or(5, |word| u16::from_le_bytes([word[0], word[1]])).max(5);
    device.descriptor(descriptor::BOS, 0, 0, total, at).await
}

/// A WebUSB URL descriptor: length, type, scheme, and the rest in UTF-8.
fn url(bytes: &[u8]) -> String {
    let [_, _, scheme, rest @ ..] = bytes else { return String::new() };
    let scheme = match scheme {
        0 => "http://",
        1 => "https://",
        _ => "",
    };
    format!("{scheme}{}", String::from_utf8_lossy(rest))
}

/// What Linux keeps of a device and shows to everybody.
#[cfg(target_os = "linux")]
mod kept {
    use super::Dossier;
    use crate::usb::tree::split_file;
    use std::fs;
    use std::path::Path;

    const DEVICES: &str = "/sys/bus/usb/devices";

    pub(super) fn read(dossier: &mut Dossier) {
        // A port is called here as sysfs calls it; a root hub is usb1.
        let name = dossier.attached.slot.to_string();
        let name = name.strip_suffix("-0").map_or(name.clone(), |bus| format!("usb{bus}"));
        read_folder(dossier, &Path::new(DEVICES).join(name));
    }

    pub(super) fn read_folder(dossier: &mut Dossier, folder: &Path) {
        let Ok(file) = fs::read(folder.join("descriptors")) else { return };
        let word = |name: &str| fs::read_to_string(folder.join(name)).ok().map(|text| text.trim().to_owned());
        let (device, configurations) = split_file(&file);
        dossier.from = "what the kernel keeps, and the device";
        dossier.device = device.to_vec();
        dossier.configurations = configurations.into_iter().map(<[u8]>::to_vec).collect();
        dossier.active = word("bConfigurationValue").and_then(|text| text.parse().ok());
        dossier.speed = word("speed").map(|speed| format!("{speed} Mbit/s"));
        // Kernel 6.9 and later.
        dossier.bos = fs::read(folder.join("bos_descriptors")).ok();
        let own = dossier.read_device().map(|device| device.strings).unwrap_or_default();
        for (index, name) in own.into_iter().zip(["manufacturer", "product", "serial"]) {
            if let (1.., Some(text)) = (index, word(name)) {
                // The kernel does not say in which language it read it.
                dossier.strings.insert((index, 0), text);
            }
        }
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let number = fs::read_to_string(entry.path().join("bInterfaceNumber")).ok();
            let number = number.and_then(|text| u8::from_str_radix(text.trim(), 16).ok());
            let driver = fs::read_link(entry.path().join("driver")).ok();
            let driver = driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
            if let (Some(number), Some(driver)) = (number, driver) {
                dossier.drivers.insert(number, driver);
            }
        }
    }
}
