//! From the text of a file to a [`Definition`], or to the line that is wrong.

use super::{Definition, DefinitionError, Expected, Fact, MakerRoot, Protocol, UsbRule};
use crate::credential::Fingerprint;
use crate::phone::tether;
use serde::Deserialize;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;

/// `drivers/`. A test compares the list with the folder.
pub(super) const SHIPPED: [(&str, &str); 10] = [
    ("aastra-6721ip.toml", include_str!("../../../drivers/aastra-6721ip.toml")),
    ("aastra-6725ip.toml", include_str!("../../../drivers/aastra-6725ip.toml")),
    ("hp-4110.toml", include_str!("../../../drivers/hp-4110.toml")),
    ("hp-4120.toml", include_str!("../../../drivers/hp-4120.toml")),
    ("polycom-cx300.toml", include_str!("../../../drivers/polycom-cx300.toml")),
    ("polycom-cx3000.toml", include_str!("../../../drivers/polycom-cx3000.toml")),
    ("polycom-cx500.toml", include_str!("../../../drivers/polycom-cx500.toml")),
    ("polycom-cx600.toml", include_str!("../../../drivers/polycom-cx600.toml")),
    ("polycom-cx700.toml", include_str!("../../../drivers/polycom-cx700.toml")),
    ("tether.toml", include_str!("../../../drivers/tether.toml")),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    maker: Spanned<String>,
    model: Spanned<String>,
    protocol: Spanned<Protocol>,
    anchors: Option<Spanned<String>>,
    what_can_be_done: Option<String>,
    #[serde(default)]
    expects: Vec<Spanned<Expects>>,
    #[serde(default)]
    usb: Vec<Spanned<Usb>>,
    #[serde(default)]
    candidate: Vec<Candidate>,
    #[serde(default)]
    authenticity: Authenticity,
    #[serde(default)]
    fact: Vec<Fact>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Usb {
    vendor: Option<Word>,
    product: Option<Word>,
    interface: Option<Interface>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Interface {
    class: Byte,
    subclass: Byte,
    protocol: Byte,
}

/// All of it has to be said: a class alone would let anything of the class in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expects {
    class: Byte,
    subclass: Byte,
    protocol: Byte,
    why: String,
}

/// A number of 16 bits, which says so itself when it is none.
#[derive(Deserialize)]
#[serde(try_from = "i64")]
struct Word(u16);

/// A number of 8 bits, which says so itself when it is none.
#[derive(Deserialize)]
#[serde(try_from = "i64")]
struct Byte(u8);

impl TryFrom<i64> for Word {
    type Error = &'static str;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        number.try_into().map(Self).map_err(|_| "takes a number from 0x0000 to 0xffff")
    }
}

impl TryFrom<i64> for Byte {
    type Error = &'static str;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        number.try_into().map(Self).map_err(|_| "takes a number from 0x00 to 0xff")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Candidate {
    text_contains: Vec<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Authenticity {
    #[serde(default)]
    roots: Vec<Spanned<String>>,
    #[serde(default)]
    lab: bool,
}

/// Reads the file called `path`, which holds `text`.
pub(super) fn parse(path: &Path, text: &str) -> Result<Definition, DefinitionError> {
    let at = Place { path, text };
    let file: File = toml::from_str(text).map_err(|error| at.syntax(&error))?;

    at.is_named_like_the_file(&file.name)?;
    for (key, value) in [("maker", &file.maker), ("model", &file.model)] {
        let length = value.get_ref().chars().count();
        if !(1..=64).contains(&length) || value.get_ref().chars().any(char::is_control) {
            return Err(at.invalid(value.span(), key, "is 1 to 64 printable characters".into()));
        }
    }
    let silent = file.what_can_be_done.as_deref().is_none_or(|text| text.trim().is_empty());
    if silent && *file.protocol.get_ref() != Protocol::Tether {
        let problem = "is missing: say what a technician can do with a phone that is not spoken to";
        return Err(at.invalid(file.protocol.span(), "what_can_be_done", problem.into()));
    }
    if file.usb.is_empty() && file.candidate.is_empty() {
        let problem = "is missing: give at least one [[usb]] or [[candidate]]";
        return Err(at.invalid(file.name.span(), "usb", problem.into()));
    }
    if let (Some(first), true) = (file.expects.first(), *file.protocol.get_ref() != Protocol::Tether) {
        let problem = "counts only for a phone that is spoken to: protocol = \"tether\"";
        return Err(at.invalid(first.span(), "expects", problem.into()));
    }
    let mut expects: Vec<Expected> = Vec::new();
    for entry in file.expects {
        let span = entry.span();
        let entry = at.expected(entry)?;
        if expects.iter().any(|before| before.interface == entry.interface) {
            return Err(at.invalid(span, "expects", "names the same interface twice".into()));
        }
        expects.push(entry);
    }
    Ok(Definition {
        expects,
        name: file.name.into_inner(),
        maker: file.maker.into_inner(),
        model: file.model.into_inner(),
        protocol: file.protocol.into_inner(),
        usb: file.usb.into_iter().map(|rule| at.rule(rule)).collect::<Result<_, _>>()?,
        text_contains: file
            .candidate
            .into_iter()
            .flat_map(|candidate| candidate.text_contains)
            .map(|part| at.part(part))
            .collect::<Result<_, _>>()?,
        anchors: file.anchors.map(|list| at.list(list)).transpose()?,
        lab_maker: file.authenticity.lab,
        maker_roots: file.authenticity.roots.into_iter().map(|root| at.root(root)).collect::<Result<_, _>>()?,
        facts: file.fact,
        what_can_be_done: file.what_can_be_done.map(|text| text.trim().to_owned()),
    })
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Where a value stands, for errors.
pub(in crate::phone) struct Place<'a> {
    pub(in crate::phone) path: &'a Path,
    pub(in crate::phone) text: &'a str,
}

impl Place<'_> {
    pub(in crate::phone) fn is_named_like_the_file(&self, name: &Spanned<String>) -> Result<(), DefinitionError> {
        let stem = self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if name.get_ref() == stem && is_plain(stem) {
            return Ok(());
        }
        let problem = format!("is the file's name without .toml, in a-z, 0-9 and -; this file is called `{stem}`");
        Err(self.invalid(name.span(), "name", problem))
    }

    fn list(&self, list: Spanned<String>) -> Result<String, DefinitionError> {
        if !is_plain(list.get_ref()) {
            let problem = "takes the name of a file in anchors/, without .toml, in a-z, 0-9 and -";
            return Err(self.invalid(list.span(), "anchors", problem.into()));
        }
        Ok(list.into_inner())
    }

    fn rule(&self, rule: Spanned<Usb>) -> Result<UsbRule, DefinitionError> {
        let span = rule.span();
        let Usb { vendor, product, interface } = rule.into_inner();
        let device = match (vendor, product) {
            (Some(vendor), Some(product)) => Some((vendor.0, product.0)),
            (None, None) => None,
            _ => return Err(self.invalid(span, "usb", "takes vendor and product together, or neither".into())),
        };
        if device.is_none() && interface.is_none() {
            return Err(self.invalid(span, "usb", "needs an interface, or vendor and product, or all of them".into()));
        }
        Ok(UsbRule { device, interface: interface.map(|it| (it.class.0, it.subclass.0, it.protocol.0)) })
    }

    fn expected(&self, entry: Spanned<Expects>) -> Result<Expected, DefinitionError> {
        let span = entry.span();
        let Expects { class, subclass, protocol, why } = entry.into_inner();
        let (interface, why) = ((class.0, subclass.0, protocol.0), why.trim().to_owned());
        if !(1..=200).contains(&why.chars().count()) || why.chars().any(char::is_control) {
            return Err(self.invalid(span, "why", "says in 1 to 200 characters what the phone has it for".into()));
        }
        if interface == tether::INTERFACE {
            let problem = "names what a phone has beside the interface that is spoken to, not that one";
            return Err(self.invalid(span, "expects", problem.into()));
        }
        Ok(Expected { interface, why })
    }

    fn part(&self, part: Spanned<String>) -> Result<String, DefinitionError> {
        // Shorter ones are in everything.
        if part.get_ref().trim().chars().count() < 4 {
            return Err(self.invalid(part.span(), "text_contains", "takes texts of at least 4 characters".into()));
        }
        Ok(part.get_ref().to_lowercase())
    }

    fn root(&self, root: Spanned<String>) -> Result<MakerRoot, DefinitionError> {
        let text = root.get_ref().trim();
        if let Ok(fingerprint) = text.parse() {
            return Ok(MakerRoot { fingerprint, der: None });
        }
        let der = x509_parser::pem::parse_x509_pem(text.as_bytes())
            .ok()
            .filter(|(rest, pem)| rest.trim_ascii().is_empty() && pem.label == "CERTIFICATE")
            .map(|(_, pem)| pem.contents)
            .filter(|der| {
                x509_parser::parse_x509_certificate(der).is_ok_and(|(rest, it)| rest.is_empty() && it.is_ca())
            });
        let Some(der) = der else {
            let problem = "takes a root certificate as PEM, or its SHA-256 as 64 hexadecimal digits";
            return Err(self.invalid(root.span(), "roots", problem.into()));
        };
        Ok(MakerRoot { fingerprint: Fingerprint::of(&der), der: Some(der) })
    }

    /// The parser names the key itself where it is unknown or missing; else it is the one on the line.
    pub(in crate::phone) fn syntax(&self, error: &toml::de::Error) -> DefinitionError {
        let span = error.span().unwrap_or(0..0);
        let line = self.text.lines().nth(self.line(span.start) - 1).unwrap_or_default();
        let key = line.split('=').next().unwrap_or_default().trim();
        self.invalid(span, key, error.message().trim().replace('\n', ", "))
    }

    pub(in crate::phone) fn invalid(&self, span: Range<usize>, key: &str, problem: String) -> DefinitionError {
        DefinitionError::Invalid {
            path: self.path.to_owned(),
            line: self.line(span.start),
            key: key.to_owned(),
            problem,
        }
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }
}
