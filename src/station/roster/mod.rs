//! The roster: which phone is for which user. A CSV file of people, read whole and linted whole before anything is touched.
//!
//! A [`Draft`] is what was read, with everything that is wrong with it; a [`Roster`] is a draft in which nothing is. No
//! secret has a place in it: a column that is called like one is refused.

mod columns;
mod finding;
mod lint;
mod text;

pub use columns::Column;
pub use finding::{Finding, Place, Severity};
pub use text::{LONGEST, NoText};

use crate::credential::SipAddress;
use crate::usb::{MacAddress, Slot};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A roster in which nothing was found that keeps it from being worked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    name: String,
    rows: Vec<Row>,
}

/// What was read of a roster, and what is wrong with it.
#[derive(Debug)]
pub struct Draft {
    name: String,
    rows: Vec<Row>,
    findings: Vec<Finding>,
}

/// One line: one phone for one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The line of the file, from 1.
    pub line: u64,
    /// Which phone is meant.
    pub keys: Keys,
    /// The user it is for.
    pub user: SipAddress,
    /// The user's Windows account, where it is not what the pool makes of the user.
    pub login: Option<String>,
    /// The number that goes with the user's PIN.
    pub phone_number: Option<String>,
    /// What people call the phone or its place.
    pub label: Option<String>,
}

/// By what a phone is known, at least one. All that are given have to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Its Ethernet address.
    pub mac: Option<MacAddress>,
    /// Its serial number.
    pub serial: Option<String>,
    /// The port that it is plugged into.
    pub port: Option<Slot>,
}

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// The Ethernet address.
    Mac,
    /// The serial number.
    Serial,
    /// The port.
    Port,
}

/// A phone as a roster sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneKeys {
    /// The Ethernet address that it says it has.
    pub mac: MacAddress,
    /// The serial number that it says it has.
    pub serial: String,
    /// The port that it is on.
    pub slot: Slot,
    /// The UUID under which it registers: what tells it from all others.
    pub device: Uuid,
}

/// Which keys of a row a phone has, and which it has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// Those that agree.
    pub agree: Vec<Key>,
    /// Those that do not.
    pub differ: Vec<Key>,
}

/// Why a roster cannot even be linted.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    /// The file is not there, or not for this user.
    #[error("the roster {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no text.
    #[error("the roster {} cannot be read: {source}", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
        /// Why.
        source: NoText,
    },
}

impl RosterError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "check the path, and that this user may read the file",
            Self::NoText { source, .. } => source.next_step(),
        }
    }
}

impl Draft {
    /// Reads and lints a file.
    ///
    /// # Errors
    /// Only where there is no text to lint: what is wrong in it is a finding.
    pub fn read(path: &Path) -> Result<Self, RosterError> {
        let unreadable = |source| RosterError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::of(name, &bytes).map_err(|source| RosterError::NoText { path: path.to_owned(), source })
    }

    /// Lints the bytes of a file that is called `name`.
    ///
    /// # Errors
    /// Where they are no text.
    pub fn of(name: impl Into<String>, bytes: &[u8]) -> Result<Self, NoText> {
        let sheet = text::sheet(bytes)?;
        let (rows, findings) = lint::lint(&sheet);
        Ok(Self { name: name.into(), rows, findings })
    }

    /// The rows that could be read.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Adds what somebody else has found: a user without a pool, one without a secret.
    pub fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// All that was found, by line.
    pub fn findings(&mut self) -> &[Finding] {
        self.findings.sort_by(|one, other| one.place.cmp(&other.place));
        &self.findings
    }

    /// Whether something keeps it from being worked through.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The roster, where nothing is wrong with it but what was only warned of.
    pub fn approved(self) -> Option<Roster> {
        (!self.has_errors()).then_some(Roster { name: self.name, rows: self.rows })
    }
}

impl Roster {
    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rows, in the order of the file.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

impl Row {
    /// `row 7 (Reception)`.
    pub fn name(&self) -> String {
        match &self.label {
            Some(label) => format!("line {} ({label})", self.line),
            None => format!("line {}", self.line),
        }
    }
}

impl Keys {
    /// How a phone fits.
    pub fn fit(&self, phone: &PhoneKeys) -> Fit {
        let mac = self.mac.map(|mac| (Key::Mac, mac == phone.mac));
        let serial = self.serial.as_ref().map(|serial| (Key::Serial, *serial == phone.serial));
        let port = self.port.as_ref().map(|port| (Key::Port, is_on(port, &phone.slot)));
        let (agree, differ): (Vec<_>, Vec<_>) = mac.into_iter().chain(serial).chain(port).partition(|(_, fits)| *fits);
        let keys = |these: Vec<(Key, bool)>| these.into_iter().map(|(key, _)| key).collect();
        Fit { agree: keys(agree), differ: keys(differ) }
    }
}

impl Fit {
    /// Whether all given keys agree.
    pub fn is_whole(&self) -> bool {
        self.differ.is_empty()
    }
}

/// Whether a port of a roster is this one. The port of a USB/IP server may be written without the server: `1-4`.
fn is_on(port: &Slot, slot: &Slot) -> bool {
    port == slot || port.to_string() == slot.port()
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mac => "MAC address",
            Self::Serial => "serial number",
            Self::Port => "port",
        })
    }
}

impl fmt::Display for Keys {
    /// As the phone is looked for: `00:04:f2:aa:bb:01 on port 1-4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mac = self.mac.map(|mac| mac.to_string());
        let serial = self.serial.as_ref().map(|serial| format!("serial {serial}"));
        let port = self.port.as_ref().map(|port| format!("port {port}"));
        let parts: Vec<String> = mac.into_iter().chain(serial).chain(port).collect();
        f.write_str(&parts.join(", "))
    }
}
