//! Which roots a phone holds that cannot be read back: a list by model, and what it makes of a server's chain.
//!
//! A list is a strict file in `drivers/anchors/`, and every entry says where it is from and how sure it is. What it gives is
//! a likelihood and never more: *probably trusted*, *not trusted* or *unknown*.

mod file;
mod judgement;

pub use judgement::{Likelihood, ListedVerdict};

use super::definition::Confidence;
use crate::credential::Thumbprint;
use std::fmt;
use std::str::FromStr;
use time::Date;

pub(super) use file::{SHIPPED, parse};

/// The roots of a family of phones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorList {
    /// The file's name without `.toml`.
    pub name: String,
    /// What it is a list of.
    pub says: String,
    /// Where that is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// The roots.
    pub anchors: Vec<ListedAnchor>,
    /// What else decides about trust.
    pub limits: Vec<Limit>,
}

/// A root that phones of a family are said to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedAnchor {
    /// Its common name, or its organisational unit where it has none.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// The length of its RSA key.
    pub bits: u32,
    /// Its last day, as the list has it.
    pub ends: Date,
    /// The last day of a later certificate of the same name and key; which of the two a phone holds is unknown.
    pub reissued_until: Option<Date>,
    /// SHA-1 of the certificate, of the later one where there are two.
    pub sha1: Thumbprint,
    /// Whether the thumbprint was computed from the certificate itself.
    pub checked: bool,
    /// Whether only later firmware is said to hold it.
    pub later: bool,
    /// Where the entry is from.
    pub source: String,
    /// How sure it is that phones hold it.
    pub confidence: Confidence,
}

/// Something that phones of a family can or cannot do about trust.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Limit {
    /// What it is about.
    pub about: About,
    /// The fact.
    pub says: String,
    /// Where it is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// It is about firmware older than this only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware_below: Option<Firmware>,
}

/// What a [`Limit`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// TLS versions and ciphers.
    Tls,
    /// Signature algorithms.
    Signatures,
    /// Firmware versions.
    Firmware,
    /// Intermediates that a server does not send.
    Intermediates,
    /// The dates of certificates.
    Dates,
}

/// A firmware version: numbers with dots between, compared number by number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Firmware(Vec<u32>);

/// Why a text is no firmware version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a firmware version is numbers with dots between, like 4.0.7577.4512")]
pub struct ParseFirmwareError;

impl FromStr for Firmware {
    type Err = ParseFirmwareError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.trim().split('.').map(|part| part.parse().map_err(|_| ParseFirmwareError));
        parts.collect::<Result<Vec<u32>, _>>().map(Self)
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&parts.join("."))
    }
}

crate::text_form::serde_as_text!(Firmware);

impl AnchorList {
    /// What is known to limit a phone with this firmware, or one whose firmware is not given.
    pub fn limits_of(&self, firmware: Option<&Firmware>) -> impl Iterator<Item = &Limit> {
        let applies = move |limit: &&Limit| match (&limit.firmware_below, firmware) {
            (Some(below), Some(firmware)) => firmware < below,
            (Some(_), None) | (None, _) => true,
        };
        self.limits.iter().filter(applies)
    }

    /// What keeps a phone of just this firmware from signing in at all, if anything is known.
    pub fn too_old(&self, firmware: &Firmware) -> Option<&Limit> {
        self.limits.iter().find(|limit| limit.firmware_below.as_ref().is_some_and(|below| firmware < below))
    }
}

#[cfg(test)]
mod tests;
