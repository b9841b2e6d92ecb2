//! What checks of this computer found, shown each with its next step.

use crate::cli::exit::Exit;
use crate::cli::screen::{Screen, Tone};
pub(super) use tethercert::diagnose::Finding;
use tethercert::diagnose::Verdict;

/// Shows findings. What is bad is for a person to correct; what is unknown stops nothing.
pub(super) fn show(findings: &[Finding], screen: &Screen) -> Exit {
    for finding in findings {
        screen.json("finding", finding);
        let (tone, word) = match finding.verdict {
            Verdict::Good => (Tone::Good, "good"),
            Verdict::Bad => (Tone::Bad, "BAD"),
            Verdict::Unknown => (Tone::Unsure, "unknown"),
        };
        screen.columns(tone, &format!("{word:8}{:7}", finding.check), &finding.says);
        for evidence in &finding.evidence {
            screen.columns(Tone::Plain, &format!("{:15}", ""), evidence);
        }
        if let Some(next) = &finding.next_step {
            screen.columns(Tone::Plain, &format!("{:15}", "  next"), next);
        }
    }
    match findings.iter().any(|finding| finding.verdict == Verdict::Bad) {
        true => Exit::NeedsPerson,
        false => Exit::Done,
    }
}
