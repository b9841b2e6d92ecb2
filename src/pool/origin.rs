//! A value and where it came from.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This option of the command line: `--registrar`.
    Option(&'static str),
    /// This variable of the environment: `TETHERCERT_REGISTRAR`.
    Environment(&'static str),
    /// This key of a pool's file.
    File {
        /// The file.
        path: PathBuf,
        /// The key: `registrar`.
        key: &'static str,
    },
    /// Found by discovery: who said it.
    Found(String),
    /// Typed at the terminal when it was asked for.
    Asked,
    /// The record of an earlier job.
    Ledger,
    /// A line of a roster.
    Roster,
    /// The lab inside the command.
    Lab,
    /// Nobody said otherwise.
    Default,
}

impl Origin {
    /// The kind of place, for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Option(_) => "option",
            Self::Environment(_) => "environment",
            Self::File { .. } => "file",
            Self::Found(_) => "discovery",
            Self::Asked => "asked",
            Self::Ledger => "ledger",
            Self::Roster => "roster",
            Self::Lab => "lab",
            Self::Default => "default",
        }
    }
}

/// In few words: a file without its folder.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(name) | Self::Environment(name) => f.write_str(name),
            Self::File { path, key } => write!(f, "{key} in {}", path.file_name().unwrap_or_default().display()),
            Self::Found(by) => f.write_str(by),
            Self::Asked => f.write_str("asked for"),
            Self::Ledger => f.write_str("the ledger"),
            Self::Roster => f.write_str("the roster"),
            Self::Lab => f.write_str("the lab"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value in use, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// The value with its origin.
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// What nobody said otherwise.
    pub fn default_of(value: T) -> Self {
        Self::new(value, Origin::Default)
    }

    /// What the option of this name says, if it was given.
    pub fn of_option(name: &'static str, given: Option<T>) -> Option<Self> {
        Some(Self::new(given?, Origin::Option(name)))
    }

    /// Another value from the same place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Setting<U> {
        Setting { value: change(self.value), origin: self.origin }
    }
}

impl<T> Setting<Vec<T>> {
    /// The list of an option that may be repeated, if it was given at all.
    pub fn of_options(name: &'static str, given: Vec<T>) -> Option<Self> {
        (!given.is_empty()).then(|| Self::new(given, Origin::Option(name)))
    }
}
