//! What a check of this computer found: good, bad or unknown, with evidence and what to do.

use crate::cli::exit::Exit;
use crate::cli::screen::{Screen, Tone};
use serde::Serialize;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Good,
    Bad,
    Unknown,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    /// What, in a word: the label of its line.
    check: &'static str,
    state: State,
    /// What was seen.
    says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Finding {
    pub(super) fn good(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, state: State::Good, says: says.into(), next: None }
    }

    pub(super) fn bad(check: &'static str, says: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check, state: State::Bad, says: says.into(), next: Some(next.into()) }
    }

    pub(super) fn unknown(check: &'static str, says: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check, state: State::Unknown, says: says.into(), next: Some(next.into()) }
    }
}

/// Shows findings, each with its next step. What is bad is for a person to correct; what is unknown stops nothing.
pub(super) fn show(findings: &[Finding], screen: &Screen) -> Exit {
    for finding in findings {
        screen.json("finding", finding);
        let (tone, word) = match finding.state {
            State::Good => (Tone::Good, "good"),
            State::Bad => (Tone::Bad, "BAD"),
            State::Unknown => (Tone::Unsure, "unknown"),
        };
        screen.columns(tone, &format!("{word:8}{:7}", finding.check), &finding.says);
        if let Some(next) = &finding.next {
            screen.columns(Tone::Plain, &format!("{:15}", "  next"), next);
        }
    }
    match findings.iter().any(|finding| finding.state == State::Bad) {
        true => Exit::NeedsPerson,
        false => Exit::Done,
    }
}
