//! One line for each port, below everything else, on a terminal.

use super::{Screen, tame};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often what is at work shows that it is.
const TICK: Duration = Duration::from_millis(250);
/// Room for a port before its text.
const PORT: usize = 8;
/// Where nobody says how high the terminal is.
const USUAL_HEIGHT: usize = 24;

/// The lines of all ports and one for the whole. Clones are the same lines.
#[derive(Clone)]
pub(crate) struct Lines(Option<Arc<Shown>>);

struct Shown {
    screen: Screen,
    lines: MultiProgress,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    total: Option<ProgressBar>,
    ports: BTreeMap<Ordered, Line>,
}

struct Line {
    bar: ProgressBar,
    at_work: bool,
}

/// A port whose numbers count as numbers: 1-2 stands before 1-10.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Ordered(Vec<(u64, String)>, String);

impl Ordered {
    fn of(port: &str) -> Self {
        let parts = port.split(|c: char| !c.is_ascii_digit());
        Self(parts.map(|part| (part.parse().unwrap_or(0), part.to_owned())).collect(), port.to_owned())
    }
}

impl Lines {
    pub(super) fn nowhere() -> Self {
        Self(None)
    }

    pub(super) fn of(screen: Screen, lines: MultiProgress) -> Self {
        Self(Some(Arc::new(Shown { screen, lines, inside: Mutex::default() })))
    }

    /// Whether anything is shown; elsewhere each step is a line of its own.
    pub(crate) fn are_shown(&self) -> bool {
        self.0.is_some()
    }

    /// A port at work on this.
    pub(crate) fn works(&self, port: &str, text: &str) {
        self.set(port, text, true);
    }

    /// A port at which nothing more happens until it is plugged anew.
    pub(crate) fn rests(&self, port: &str, text: &str) {
        self.set(port, text, false);
    }

    fn set(&self, port: &str, text: &str, at_work: bool) {
        let Some(shown) = &self.0 else { return };
        let mut inside = shown.inside();
        let ordered = Ordered::of(port);
        let place = inside.ports.range(..&ordered).count() + usize::from(inside.total.is_some());
        let line = inside.ports.entry(ordered).or_insert_with(|| {
            let bar = shown.lines.insert(place, ProgressBar::new_spinner());
            bar.set_prefix(tame(port));
            Line { bar, at_work: !at_work }
        });
        if line.at_work != at_work {
            line.at_work = at_work;
            line.bar.reset();
            let template = match at_work {
                true => format!("{}{{prefix:{PORT}}} {{spinner}} {{wide_msg}} {{elapsed:>4}}", shown.screen.mark()),
                false => format!("{}{{prefix:{PORT}}}   {{wide_msg}}", shown.screen.mark()),
            };
            line.bar.set_style(style(&template));
            match at_work {
                true => line.bar.enable_steady_tick(TICK),
                false => line.bar.disable_steady_tick(),
            }
        }
        match at_work {
            true => line.bar.set_message(tame(text)),
            // What is said last is drawn at once: nothing comes after it that would.
            false => line.bar.abandon_with_message(tame(text)),
        }
        inside.make_room(&shown.lines);
    }

    /// Nothing is on this port any more.
    pub(crate) fn clear(&self, port: &str) {
        let Some(shown) = &self.0 else { return };
        if let Some(line) = shown.inside().ports.remove(&Ordered::of(port)) {
            line.bar.finish_and_clear();
            shown.lines.remove(&line.bar);
        }
    }

    /// How the whole stands, above the ports.
    pub(crate) fn total(&self, text: &str) {
        let Some(shown) = &self.0 else { return };
        let mut inside = shown.inside();
        let total = inside.total.get_or_insert_with(|| {
            let bar = shown.lines.insert(0, ProgressBar::new_spinner());
            bar.set_style(style(&format!("{}{{wide_msg}}", shown.screen.mark())));
            bar
        });
        total.abandon_with_message(tame(text));
    }

    /// Takes all of them away.
    pub(crate) fn end(&self) {
        let Some(shown) = &self.0 else { return };
        let mut inside = shown.inside();
        // First from the screen as they stand there, then each for itself.
        let _ = shown.lines.clear();
        shown.lines.set_draw_target(ProgressDrawTarget::hidden());
        let ports = std::mem::take(&mut inside.ports).into_values().map(|line| line.bar);
        for bar in ports.chain(inside.total.take()) {
            bar.finish_and_clear();
        }
        *shown.screen.0.lines.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Inside {
    /// A terminal shows so many lines: ports that rest go first, since what they ended with was said above.
    fn make_room(&mut self, lines: &MultiProgress) {
        let height = terminal_size::terminal_size().map_or(USUAL_HEIGHT, |(_, height)| usize::from(height.0));
        while self.ports.len() + 3 > height {
            let resting = self.ports.iter().find(|(_, line)| !line.at_work).map(|(port, _)| port.clone());
            let Some(line) = resting.and_then(|port| self.ports.remove(&port)) else { return };
            line.bar.finish_and_clear();
            lines.remove(&line.bar);
        }
    }
}

impl Shown {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stand_in_the_order_of_their_numbers() {
        let mut ports = ["1-10", "2-1", "1-2", "1-2.4", "1-1"].map(Ordered::of);
        ports.sort();
        assert_eq!(ports.map(|port| port.1), ["1-1", "1-2", "1-2.4", "1-10", "2-1"]);
    }
}
