//! The only place that prints. stdout is data, stderr is for people; progress goes only to a terminal.
//!
//! Nothing here fails: who reads the output may be gone, and a job is brought to its end all the same.

mod lines;

pub(crate) use lines::Lines;

use super::error::CliError;
use super::exit::Exit;
use super::text::{tame, wrap};
use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The version of every JSON line.
pub(crate) const SCHEMA: u8 = 1;
/// Lines are not made longer than this, however wide the terminal is.
const WIDEST: usize = 100;
/// Where nobody says how wide the terminal is.
const USUAL: usize = 80;
/// Room for `phone`, `pool`, `done` before the text.
const LABEL: usize = 8;

/// Where a command's words go. Clones write to the same place.
#[derive(Clone)]
pub(crate) struct Screen(Arc<Inner>);

struct Inner {
    json: bool,
    lab: AtomicBool,
    width: usize,
    spinner: Mutex<Option<ProgressBar>>,
    /// The lines of many ports.
    lines: Mutex<Option<MultiProgress>>,
    /// A question stands on the last line.
    asking: AtomicBool,
    /// A JSON line could not be written.
    lost: AtomicBool,
}

/// How a word is meant. Colour repeats it and never says it alone.
#[derive(Clone, Copy)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
    Unsure,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a, T> {
    schema: u8,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lab: Option<bool>,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Serialize)]
struct ErrorBody {
    message: String,
    causes: Vec<String>,
    next_step: String,
    exit_code: u8,
}

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        let columns = if io::stdout().is_terminal() { columns() } else { None };
        let width = columns.unwrap_or(USUAL).clamp(40, WIDEST);
        let (lab, asking, lost) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
        let (spinner, lines) = (Mutex::new(None), Mutex::new(None));
        Self(Arc::new(Inner { json, lab, width, spinner, lines, asking, lost }))
    }

    /// From here on every line says that it is about a lab.
    pub(crate) fn mark_lab(&self) {
        self.0.lab.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_json(&self) -> bool {
        self.0.json
    }

    pub(crate) fn is_lab(&self) -> bool {
        self.0.lab.load(Ordering::Relaxed)
    }

    /// Whether a JSON line could not be written, so that an error stands in its place.
    pub(crate) fn has_lost_a_line(&self) -> bool {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Whether a person can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        !self.is_json() && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// A line for people: a label, then text that is wrapped beside it. An empty label continues the group.
    pub(crate) fn line(&self, label: &str, text: &str) {
        self.toned(Tone::Plain, label, text);
    }

    /// The same with a label that says how it is meant.
    pub(crate) fn toned(&self, tone: Tone, label: &str, text: &str) {
        self.columns(tone, &format!("{label:LABEL$}"), text);
    }

    /// The same with a label column of its own width.
    pub(crate) fn columns(&self, tone: Tone, label: &str, text: &str) {
        if self.is_json() {
            return;
        }
        let indent = label.chars().count();
        let room = self.room().saturating_sub(indent).max(20);
        let mut lines = wrap(&tame(text), room).into_iter();
        let first = lines.next().unwrap_or_default();
        self.out(&format!("{}{}", paint(tone.style(), &tame(label)), first));
        for line in lines {
            self.out(&format!("{:indent$}{line}", ""));
        }
    }

    /// A line of a table or a command to copy: never wrapped.
    pub(crate) fn row(&self, text: &str) {
        if !self.is_json() {
            self.out(&tame(text));
        }
    }

    /// Something to copy, without what would spoil it: no marks, no colour, no wrapping.
    pub(crate) fn command(&self, text: &str) {
        if !self.is_json() {
            self.aside(|| {
                let mut stdout = io::stdout().lock();
                let _ = writeln!(stdout, "{text}\n").and_then(|()| stdout.flush());
            });
        }
    }

    /// The heading of a table.
    pub(crate) fn heading(&self, text: &str) {
        if !self.is_json() {
            self.out(&paint(Style::new().bold(), text));
        }
    }

    pub(crate) fn blank(&self) {
        self.row("");
    }

    /// Room for a line's text.
    pub(crate) fn room(&self) -> usize {
        self.0.width - if self.is_lab() { 4 } else { 0 }
    }

    /// One object of `--json`; nothing otherwise.
    pub(crate) fn json<T: Serialize>(&self, kind: &str, body: &T) {
        self.json_line(&Line { schema: SCHEMA, kind, lab: Some(self.is_lab()), body });
    }

    /// The same for a body that says itself whether it is about a lab.
    pub(crate) fn json_of_its_own<T: Serialize>(&self, kind: &str, body: &T) {
        self.json_line(&Line { schema: SCHEMA, kind, lab: None, body });
    }

    fn json_line<T: Serialize>(&self, line: &Line<'_, T>) {
        if !self.is_json() {
            return;
        }
        let text = serde_json::to_string(line).unwrap_or_else(|error| {
            self.0.lost.store(true, Ordering::Relaxed);
            unwritable(line, self.is_lab(), &error)
        });
        let mut stdout = io::stdout().lock();
        let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    }

    /// What went wrong, why, and what to do.
    pub(crate) fn error(&self, error: &CliError) {
        self.failure(&error.to_string(), error.causes(), error.next_step(), error.exit());
    }

    /// The same in parts.
    pub(crate) fn failure(&self, message: &str, causes: Vec<String>, next_step: String, exit: Exit) {
        self.stop_spinner();
        if self.is_json() {
            let body = ErrorBody { message: message.to_owned(), causes, next_step, exit_code: exit.code() };
            return self.json("error", &body);
        }
        self.told(Tone::Bad, "error: ", message);
        for cause in causes {
            self.told(Tone::Plain, "cause: ", &cause);
        }
        self.told(Tone::Plain, "next:  ", &next_step);
    }

    /// Something for the person only, on stderr.
    pub(crate) fn note(&self, text: &str) {
        self.told(Tone::Plain, "note:  ", text);
    }

    fn told(&self, tone: Tone, label: &str, text: &str) {
        self.answered(false);
        let indent = label.chars().count();
        let lines = wrap(&tame(text), self.room().saturating_sub(indent).max(20));
        self.aside(|| {
            let mut stderr = anstream::stderr().lock();
            for (number, line) in lines.iter().enumerate() {
                let head = if number == 0 { paint(tone.style(), label) } else { " ".repeat(indent) };
                let _ = writeln!(stderr, "{}{head}{line}", self.mark());
            }
            let _ = stderr.flush();
        });
    }

    /// A question at the end of the group, without a line's end.
    pub(crate) fn question(&self, text: &str) {
        self.stop_spinner();
        let lines = wrap(&tame(text), self.room().saturating_sub(LABEL + 4).max(20));
        let head = format!("{}{}", self.mark(), " ".repeat(LABEL));
        let mut stderr = anstream::stderr().lock();
        let _ = write!(stderr, "{head}{} ", lines.join(&format!("\n{head}"))).and_then(|()| stderr.flush());
        self.0.asking.store(true, Ordering::Relaxed);
    }

    /// The question has its answer, and with it its line's end; or it is left without.
    pub(crate) fn answered(&self, answered: bool) {
        if self.0.asking.swap(false, Ordering::Relaxed) && !answered {
            let _ = writeln!(anstream::stderr().lock());
        }
    }

    /// The head of a question that something else prints.
    pub(crate) fn mark(&self) -> &'static str {
        if self.is_lab() { "LAB " } else { "" }
    }

    /// Lines that stay below all others, one for each port. Nothing is shown where stderr is no terminal.
    pub(crate) fn lines(&self) -> Lines {
        if self.is_json() || !io::stderr().is_terminal() {
            return Lines::nowhere();
        }
        let lines = MultiProgress::new();
        *self.0.lines.lock().unwrap_or_else(PoisonError::into_inner) = Some(lines.clone());
        Lines::of(self.clone(), lines)
    }

    /// Shows on a terminal that something is waited for.
    pub(crate) fn start_spinner(&self, text: String) {
        if self.is_json() || !io::stderr().is_terminal() {
            return;
        }
        let bar = ProgressBar::new_spinner().with_message(tame(&text));
        let template = format!("{}{{spinner}} {{msg}} {{elapsed}}", self.mark());
        bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(100));
        if let Some(old) = self.spinner().replace(bar) {
            old.finish_and_clear();
        }
    }

    /// Counts down on a terminal to what comes next; elsewhere it is a line.
    pub(crate) fn count_down(&self, text: &str, seconds: f64) {
        if self.is_json() {
            return;
        }
        if !io::stderr().is_terminal() {
            return self.line("wait", &format!("{text} in {seconds:.0} s"));
        }
        let bar = ProgressBar::new_spinner().with_message(tame(text));
        let style = ProgressStyle::with_template(&format!("{}{{spinner}} {{msg}} in {{left}} s", self.mark()));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()).with_key(
            "left",
            move |state: &ProgressState, to: &mut dyn std::fmt::Write| {
                let left = (seconds - state.elapsed().as_secs_f64()).max(0.0).ceil();
                let _ = write!(to, "{left:.0}");
            },
        ));
        bar.enable_steady_tick(Duration::from_millis(100));
        if let Some(old) = self.spinner().replace(bar) {
            old.finish_and_clear();
        }
    }

    pub(crate) fn stop_spinner(&self) {
        if let Some(bar) = self.spinner().take() {
            bar.finish_and_clear();
        }
    }

    fn spinner(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.0.spinner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes while the spinner steps aside.
    fn aside(&self, write: impl FnOnce()) {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (&*self.spinner(), lines) {
            (_, Some(lines)) => lines.suspend(write),
            (Some(bar), None) => bar.suspend(write),
            (None, None) => write(),
        }
    }

    fn out(&self, text: &str) {
        self.aside(|| {
            let mut stdout = anstream::stdout().lock();
            let line = format!("{}{text}", self.mark());
            let _ = writeln!(stdout, "{}", line.trim_end()).and_then(|()| stdout.flush());
        });
    }
}

/// What stands in place of a line that JSON has no form for: a year before 0, a path that is no UTF-8.
fn unwritable<T>(line: &Line<'_, T>, lab: bool, error: &serde_json::Error) -> String {
    let body = ErrorBody {
        message: format!("the line `{}` holds a value that cannot be written as JSON", line.kind),
        causes: vec![error.to_string()],
        next_step: "repeat without --json, which shows the value".to_owned(),
        exit_code: Exit::Failed.code(),
    };
    let line = Line { schema: SCHEMA, kind: "error", lab: Some(lab), body: &body };
    serde_json::to_string(&line).expect("numbers and text only")
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new().bold(),
            Self::Good => AnsiColor::Green.on_default().bold(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Unsure => AnsiColor::Yellow.on_default().bold(),
        }
    }
}

fn paint(style: Style, text: &str) -> String {
    if text.trim().is_empty() { text.to_owned() } else { format!("{style}{text}{style:#}") }
}

/// How wide the terminal on stdout is.
fn columns() -> Option<usize> {
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size()?;
    (columns > 0).then_some(usize::from(columns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_line_that_json_has_no_form_for_becomes_an_error_line() {
        let body = BTreeMap::from([((1, 2), 3)]);
        let error = serde_json::to_string(&body).unwrap_err();
        let line = Line { schema: SCHEMA, kind: "info", lab: Some(true), body: &body };
        let text: serde_json::Value = serde_json::from_str(&unwritable(&line, true, &error)).unwrap();
        assert_eq!((&text["type"], &text["lab"], &text["exit_code"]), (&"error".into(), &true.into(), &1.into()));
    }
}
