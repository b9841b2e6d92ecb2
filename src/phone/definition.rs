//! Phone models: one commented TOML file each, in `drivers/`. Adding a model whose protocol we speak changes no code.
//!
//! The shipped files are in the program; a file of the same name in the user's folder wins over the shipped one. A file is
//! strict: an unknown key or an impossible value is an error that names file, line, key and what is allowed.

mod file;
mod inf;
mod udev;

pub(super) use file::Place;
pub use inf::{INF_FILE, windows_inf};
pub use udev::{Access, Group, ParseGroupError, RULES_FILE, is_unchanged, udev_rules};

use super::anchors::{self, AnchorList};
use super::tether;
use crate::credential::Fingerprint;
use crate::usb::InterfaceKind;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is known of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The file's name without `.toml`: small letters, digits and `-`.
    pub name: String,
    /// Who made it.
    pub maker: String,
    /// The model, as printed on it.
    pub model: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// What it certainly is on the bus. Any of them.
    pub usb: Vec<UsbRule>,
    /// What else such a phone brings beside the interface that is spoken to. Anything more, and the device is refused.
    pub expects: Vec<Expected>,
    /// Parts of a manufacturer or product string, in small letters, which make a device a candidate and never more.
    pub text_contains: Vec<String>,
    /// The list of the roots that such a phone holds, where they cannot be read back: a name for [`Definitions::anchors`].
    pub anchors: Option<String>,
    /// The roots under which the maker certifies its phones' factory keys. None: a short code has to be compared.
    pub maker_roots: Vec<MakerRoot>,
    /// Whether those are the roots of a lab's maker: whoever has a factory key under them is a virtual phone.
    pub lab_maker: bool,
    /// What is known, each with its source.
    pub facts: Vec<Fact>,
    /// What the technician of a phone that we cannot provision reads. Present unless we speak its protocol.
    pub what_can_be_done: Option<String>,
}

/// How a phone is spoken to over USB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// The Tether Device Protocol.
    Tether,
    /// In a way that is not public.
    Undocumented,
    /// Not about certificates at all: it never signs in.
    None,
}

/// What a device on the bus has to show. At least an interface, or vendor and product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsbRule {
    /// Vendor and product id.
    pub device: Option<(u16, u16)>,
    /// Class, subclass and protocol of one of its interfaces.
    pub interface: Option<(u8, u8, u8)>,
}

/// An interface that a phone of a model has beside the one that is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Class, subclass and protocol.
    pub interface: (u8, u8, u8),
    /// What the phone has it for.
    pub why: String,
}

/// The root certificate of a maker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MakerRoot {
    /// Its SHA-256.
    pub fingerprint: Fingerprint,
    /// Its DER, where the file has the whole certificate; else the phone presents it.
    pub der: Option<Vec<u8>>,
}

/// Something known about a model.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// The fact.
    pub says: String,
    /// Where it is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
}

/// How sure a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Documented by the maker or seen in working code.
    Confirmed,
    /// Reported from the field.
    Observed,
    /// Concluded from other facts.
    Inferred,
    /// Remembered from public documentation that could not be read again: likely, to be verified.
    Memory,
    /// Looked for and not found.
    Unknown,
    /// Our own choice.
    Lab,
}

/// What a device shows on the bus without being opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<'a> {
    /// Vendor id.
    pub vendor: u16,
    /// Product id.
    pub product: u16,
    /// Class, subclass and protocol of each interface.
    pub interfaces: &'a [(u8, u8, u8)],
    /// The manufacturer string, where it could be read.
    pub manufacturer: Option<&'a str>,
    /// The product string, where it could be read.
    pub product_name: Option<&'a str>,
}

/// What a device is, as far as the definitions know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recognition<'a> {
    /// This model.
    Phone(&'a Definition),
    /// Perhaps one of these: a string it shows looks like it, or two files fit equally well. By name.
    Candidates(Vec<&'a Definition>),
    /// No phone that we know.
    Unknown,
}

/// Why a definition could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// A file or a folder could not be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is not TOML, or has a key or a value that is not allowed.
    #[error("{}:{line}: `{key}`: {problem}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key on that line, or the one that is missing.
        key: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// A definition names a list of roots that is nowhere.
    #[error("the definition {definition} names the list of roots `{list}`, and there is no anchors/{list}.toml")]
    NoSuchList {
        /// Which definition.
        definition: String,
        /// The list.
        list: String,
    },
}

impl DefinitionError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => {
                "make the folder and its .toml files readable for this user, or leave out --drivers"
            }
            Self::NoSuchList { .. } => {
                "correct the name, or put the list into the folder anchors beside the definition"
            }
            Self::Invalid { .. } => "correct that line or move the file away; the shipped definition then counts again",
        }
    }
}

/// All models that are known to this run.
#[derive(Debug, Clone)]
pub struct Definitions {
    by_name: BTreeMap<String, Definition>,
    anchor_lists: BTreeMap<String, AnchorList>,
}

impl Definitions {
    /// The shipped ones.
    pub fn shipped() -> Self {
        let mut definitions = Self { by_name: BTreeMap::new(), anchor_lists: BTreeMap::new() };
        for (file, text) in anchors::SHIPPED {
            definitions.add_anchors(Path::new(file), text).expect("a test loads every shipped list");
        }
        for (file, text) in file::SHIPPED {
            definitions.add(Path::new(file), text).expect("a test loads every shipped file");
        }
        definitions
    }

    /// The shipped ones; then those of the user's own folder, which need not be there; then those of `folders`, which
    /// have to. A later file wins over an earlier one of the same name.
    pub fn load(user_folder: Option<&Path>, folders: &[PathBuf]) -> Result<Self, DefinitionError> {
        let mut definitions = Self::shipped();
        for folder in
            user_folder.filter(|folder| folder.exists()).into_iter().chain(folders.iter().map(PathBuf::as_path))
        {
            definitions.add_folder(folder)?;
        }
        let lists = &definitions.anchor_lists;
        let lost = definitions
            .iter()
            .find_map(|it| Some((it, it.anchors.as_ref().filter(|list| !lists.contains_key(*list))?)));
        if let Some((definition, list)) = lost {
            return Err(DefinitionError::NoSuchList { definition: definition.name.clone(), list: list.clone() });
        }
        Ok(definitions)
    }

    /// Where a user's own definitions are: `~/.config/tethercert/drivers` and its like. Nothing without a home folder.
    pub fn user_folder() -> Option<PathBuf> {
        let names = etcetera::AppStrategyArgs { app_name: "tethercert".into(), ..Default::default() };
        let places = etcetera::choose_app_strategy(names).ok()?;
        Some(etcetera::AppStrategy::in_config_dir(&places, "drivers"))
    }

    /// Adds the definition in `text`, named like the file `path`, in place of one of the same name.
    pub fn add(&mut self, path: &Path, text: &str) -> Result<(), DefinitionError> {
        let definition = file::parse(path, text)?;
        self.by_name.insert(definition.name.clone(), definition);
        Ok(())
    }

    /// Adds the list of roots in `text`, named like the file `path`, in place of one of the same name.
    fn add_anchors(&mut self, path: &Path, text: &str) -> Result<(), DefinitionError> {
        let list = anchors::parse(path, text)?;
        self.anchor_lists.insert(list.name.clone(), list);
        Ok(())
    }

    fn add_folder(&mut self, folder: &Path) -> Result<(), DefinitionError> {
        for (path, text) in toml_files(folder)? {
            self.add(&path, &text)?;
        }
        let anchors = folder.join("anchors");
        if anchors.is_dir() {
            for (path, text) in toml_files(&anchors)? {
                self.add_anchors(&path, &text)?;
            }
        }
        Ok(())
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.by_name.values()
    }

    /// The roots that phones of a model hold, where there is a list of them.
    pub fn anchors(&self, definition: &Definition) -> Option<&AnchorList> {
        self.anchor_lists.get(definition.anchors.as_ref()?)
    }

    /// The definition of this name.
    pub fn get(&self, name: &str) -> Option<&Definition> {
        self.by_name.get(name)
    }

    /// Says what a device is. The rule that asks for more wins, so that a maker's file wins over the one for any maker.
    pub fn recognise(&self, seen: &Seen<'_>) -> Recognition<'_> {
        let fits = self.iter().filter_map(|definition| Some((definition.fit(seen)?, definition)));
        let fits: Vec<(u8, &Definition)> = fits.collect();
        let best = fits.iter().map(|(fit, _)| *fit).max();
        let best: Vec<&Definition> = fits.iter().filter(|(fit, _)| Some(*fit) == best).map(|(_, it)| *it).collect();
        if let [one] = best[..] {
            return Recognition::Phone(one);
        }
        let candidates = if best.is_empty() { self.iter().filter(|it| it.looks_like(seen)).collect() } else { best };
        if candidates.is_empty() { Recognition::Unknown } else { Recognition::Candidates(candidates) }
    }
}

/// The `.toml` files of a folder with their texts.
fn toml_files(folder: &Path) -> Result<Vec<(PathBuf, String)>, DefinitionError> {
    let unreadable = |path: &Path, source| DefinitionError::Unreadable { path: path.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(|source| unreadable(folder, source))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| unreadable(folder, source))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).map_err(|source| unreadable(&path, source))?;
            files.push((path, text));
        }
    }
    Ok(files)
}

impl Definition {
    /// How much of what it shows the best fitting rule asks for, or nothing where no rule fits.
    fn fit(&self, seen: &Seen<'_>) -> Option<u8> {
        let fitting = self.usb.iter().filter(|rule| rule.fits(seen));
        fitting.map(|rule| u8::from(rule.device.is_some()) * 2 + u8::from(rule.interface.is_some())).max()
    }

    /// Which of these interfaces a phone of this model has no business to bring: what the file does not expect, and every
    /// further interface of the kind that is spoken to, since a phone has one.
    pub fn unexpected(&self, kinds: impl IntoIterator<Item = InterfaceKind>) -> Vec<InterfaceKind> {
        let mut spoken_to = None;
        let mut unexpected = Vec::new();
        for kind in kinds {
            let own = kind.triple() == tether::INTERFACE && *spoken_to.get_or_insert(kind.number) == kind.number;
            let expected = self.expects.iter().any(|expected| expected.interface == kind.triple());
            if !own && !expected && !unexpected.contains(&kind) {
                unexpected.push(kind);
            }
        }
        unexpected
    }

    fn looks_like(&self, seen: &Seen<'_>) -> bool {
        let texts = [seen.manufacturer, seen.product_name].map(|text| text.unwrap_or_default().to_lowercase());
        self.text_contains.iter().any(|part| texts.iter().any(|text| text.contains(part)))
    }
}

impl UsbRule {
    fn fits(&self, seen: &Seen<'_>) -> bool {
        self.device.is_none_or(|device| device == (seen.vendor, seen.product))
            && self.interface.is_none_or(|interface| seen.interfaces.contains(&interface))
    }
}

#[cfg(test)]
mod tests;
