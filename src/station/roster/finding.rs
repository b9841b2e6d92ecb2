//! What is wrong with a roster, and where.

use super::Column;
use std::fmt;

/// Something wrong, or worth a second look.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What.
    pub message: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is begun.
    Error,
    /// It may be meant so.
    Warning,
}

/// A place in the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Place {
    /// The line, from 1.
    pub line: u64,
    /// The column's number, from 1. Nothing: it is about the whole line.
    pub column: Option<usize>,
    /// What the column is called.
    pub name: Option<String>,
}

impl Finding {
    /// Something that has to be put right.
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place, message: message.into() }
    }

    /// Something that may be meant so.
    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, place, message: message.into() }
    }
}

impl Place {
    /// A whole line.
    pub fn line(line: u64) -> Self {
        Self { line, column: None, name: None }
    }

    /// A cell, by what its column is called.
    pub fn named(line: u64, column: Column) -> Self {
        Self { line, column: None, name: Some(column.as_str().to_owned()) }
    }

    /// A cell.
    pub(super) fn cell(line: u64, index: usize, name: &str) -> Self {
        Self { line, column: Some(index + 1), name: Some(name.to_owned()).filter(|name| !name.is_empty()) }
    }
}

impl fmt::Display for Place {
    /// `line 3, column 2 (user)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        match (&self.column, &self.name) {
            (Some(number), Some(name)) => write!(f, ", column {number} ({name})"),
            (Some(number), None) => write!(f, ", column {number}"),
            (None, Some(name)) => write!(f, ", column {name}"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}
