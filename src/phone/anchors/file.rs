//! From the text of a file to an [`AnchorList`], or to the line that is wrong.

use super::{About, AnchorList, Firmware, Limit, ListedAnchor};
use crate::credential::Thumbprint;
use crate::phone::definition::{Confidence, DefinitionError, Place};
use serde::Deserialize;
use std::path::Path;
use time::Date;
use toml::Spanned;
use toml::value::Datetime;

/// `drivers/anchors/`. A test compares the list with the folder.
pub(in crate::phone) const SHIPPED: [(&str, &str); 1] =
    [("anchors/lync-phone-edition.toml", include_str!("../../../drivers/anchors/lync-phone-edition.toml"))];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    says: Spanned<String>,
    source: Spanned<String>,
    confidence: Confidence,
    #[serde(default)]
    anchor: Vec<Entry>,
    #[serde(default)]
    limit: Vec<LimitEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    owner: Spanned<String>,
    bits: Spanned<u32>,
    ends: Spanned<Datetime>,
    reissued_until: Option<Spanned<Datetime>>,
    sha1: Spanned<String>,
    checked: bool,
    #[serde(default)]
    later: bool,
    source: Spanned<String>,
    confidence: Confidence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitEntry {
    about: About,
    says: Spanned<String>,
    source: Spanned<String>,
    confidence: Confidence,
    firmware_below: Option<Spanned<String>>,
}

/// Reads the file called `path`, which holds `text`.
pub(in crate::phone) fn parse(path: &Path, text: &str) -> Result<AnchorList, DefinitionError> {
    let at = Place { path, text };
    let file: File = toml::from_str(text).map_err(|error| at.syntax(&error))?;
    at.is_named_like_the_file(&file.name)?;
    let anchors: Vec<ListedAnchor> =
        file.anchor.into_iter().map(|entry| anchor(&at, entry)).collect::<Result<_, _>>()?;
    let limit = |limit: LimitEntry| -> Result<Limit, DefinitionError> {
        let below = limit.firmware_below.map(|below| {
            let wrong =
                |error: super::ParseFirmwareError| at.invalid(below.span(), "firmware_below", error.to_string());
            below.get_ref().parse::<Firmware>().map_err(wrong)
        });
        Ok(Limit {
            about: limit.about,
            says: words(&at, "says", limit.says)?,
            source: words(&at, "source", limit.source)?,
            confidence: limit.confidence,
            firmware_below: below.transpose()?,
        })
    };
    if anchors.is_empty() {
        return Err(at.invalid(file.name.span(), "anchor", "is missing: give at least one [[anchor]]".into()));
    }
    Ok(AnchorList {
        name: file.name.into_inner(),
        says: words(&at, "says", file.says)?,
        source: words(&at, "source", file.source)?,
        confidence: file.confidence,
        anchors,
        limits: file.limit.into_iter().map(limit).collect::<Result<_, _>>()?,
    })
}

fn anchor(at: &Place<'_>, entry: Entry) -> Result<ListedAnchor, DefinitionError> {
    let sha1 = match entry.sha1.get_ref().parse() {
        Ok(thumbprint @ Thumbprint::Sha1(_)) => thumbprint,
        Ok(Thumbprint::Sha256(_)) | Err(_) => {
            return Err(at.invalid(entry.sha1.span(), "sha1", "takes 40 hexadecimal digits".into()));
        }
    };
    if !(512..=16_384).contains(entry.bits.get_ref()) {
        return Err(at.invalid(entry.bits.span(), "bits", "takes the length of an RSA key, 512 to 16384".into()));
    }
    let ends = date(at, "ends", &entry.ends)?;
    let reissued_until = entry.reissued_until.as_ref().map(|until| date(at, "reissued_until", until)).transpose()?;
    if reissued_until.is_some_and(|until| until <= ends) {
        let span = entry.reissued_until.as_ref().map_or(entry.ends.span(), Spanned::span);
        return Err(at.invalid(span, "reissued_until", "is later than `ends`".into()));
    }
    Ok(ListedAnchor {
        name: words(at, "name", entry.name)?,
        owner: words(at, "owner", entry.owner)?,
        bits: entry.bits.into_inner(),
        ends,
        reissued_until,
        sha1,
        checked: entry.checked,
        later: entry.later,
        source: words(at, "source", entry.source)?,
        confidence: entry.confidence,
    })
}

fn date(at: &Place<'_>, key: &str, date: &Spanned<Datetime>) -> Result<Date, DefinitionError> {
    let wrong = || at.invalid(date.span(), key, "takes a day, like 2028-12-31, without quotes".into());
    let Datetime { date: Some(day), time: None, offset: None } = date.get_ref() else { return Err(wrong()) };
    let month = time::Month::try_from(day.month).map_err(|_| wrong())?;
    Date::from_calendar_date(day.year.into(), month, day.day).map_err(|_| wrong())
}

fn words(at: &Place<'_>, key: &str, text: Spanned<String>) -> Result<String, DefinitionError> {
    let length = text.get_ref().chars().count();
    if !(1..=200).contains(&length) || text.get_ref().chars().any(char::is_control) {
        return Err(at.invalid(text.span(), key, "is 1 to 200 printable characters".into()));
    }
    Ok(text.into_inner())
}
