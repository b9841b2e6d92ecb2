//! The one type of what a check found.

use serde::Serialize;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Wrong, and somebody has to correct it.
    Bad,
    /// It could not be told.
    Unknown,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word: `option 43`, `registrar`.
    pub check: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What it is. Of what is not good a fixed text, the heading of its section in docs/troubleshooting.md.
    pub says: String,
    /// What was seen: names, addresses, bytes.
    pub evidence: Vec<String>,
    /// What to do, where something is to be done.
    pub next_step: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn good(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, says: says.into(), evidence: Vec::new(), next_step: None }
    }

    /// Something is wrong.
    pub fn bad(check: &'static str, says: impl Into<String>, next: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, ..Self::good(check, says) }.with_next(next)
    }

    /// It could not be told.
    pub fn unknown(check: &'static str, says: impl Into<String>, next: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, ..Self::good(check, says) }.with_next(next)
    }

    /// The same with a further line of what was seen.
    pub fn with(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    /// The same with another next step.
    pub fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next_step = Some(next.into());
        self
    }
}
