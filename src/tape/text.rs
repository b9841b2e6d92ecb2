//! The text of a tape: a first line that names it, remarks after `#`, and entries like `phone asked: ["state", {}]`.

use super::value::Reader;
use super::{Entry, Kind, NotAValue, Value};
use std::fmt::Write as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The first line.
const TITLE: &str = "tethercert recording 1";

/// Why a text is no tape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTape {
    /// It begins otherwise.
    #[error("it does not begin with `{TITLE}`")]
    Title,
    /// An entry that this version does not know.
    #[error("line {line}: `{word}` is no entry of a recording")]
    Kind {
        /// From 1.
        line: usize,
        /// As it stands there.
        word: String,
    },
    /// A value that is none.
    #[error(transparent)]
    Value(#[from] NotAValue),
}

pub(super) fn written(heading: &str, entries: &[Entry]) -> String {
    let mut text = format!("{TITLE}\n");
    for line in heading.lines() {
        let _ = writeln!(text, "# {line}");
    }
    for entry in entries {
        // A question opens a paragraph.
        let opens = matches!(
            entry.kind,
            Kind::Job | Kind::Host | Kind::PhoneAsked | Kind::ServiceAsked | Kind::PersonAsked | Kind::Outcome
        );
        if opens {
            text.push('\n');
        }
        let head = format!("{}: ", entry.kind);
        let _ = write!(text, "{head}{}", entry.value.written(0));
        if let (Kind::Time, Some(seconds)) = (entry.kind, entry.value.as_number::<i64>()) {
            let time = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok());
            let _ = write!(text, " / {} /", time.unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

pub(super) fn read(text: &str) -> Result<Vec<Entry>, BadTape> {
    let (title, _) = text.split_once('\n').ok_or(BadTape::Title)?;
    if title.trim_end() != TITLE {
        return Err(BadTape::Title);
    }
    let mut reader = Reader::new(text);
    reader.until('\n');
    let mut entries = Vec::new();
    loop {
        reader.skip()?;
        if reader.rest().is_empty() {
            return Ok(entries);
        }
        let line = reader.line();
        let word = reader.until(':').unwrap_or_else(|| reader.rest());
        let kind = Kind::ALL.into_iter().find(|kind| kind.to_string() == word);
        let word = || word.chars().filter(|c| !c.is_control()).take(40).collect();
        let kind = kind.ok_or_else(|| BadTape::Kind { line, word: word() })?;
        let value: Value = reader.one()?;
        entries.push(Entry { kind, value, line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_of_entry_reads_back() {
        let entries: Vec<Entry> =
            Kind::ALL.map(|kind| Entry { kind, value: Value::Int(5), line: 0 }).into_iter().collect();
        let read = read(&written("two\nlines", &entries)).unwrap();
        assert_eq!(read.iter().map(|entry| entry.kind).collect::<Vec<_>>(), Kind::ALL);
    }

    #[test]
    fn a_text_that_is_no_recording_is_called_so() {
        assert_eq!(read("hello\n"), Err(BadTape::Title));
        let unknown = read("tethercert recording 1\n\nphone sang: 1\n");
        assert_eq!(unknown, Err(BadTape::Kind { line: 3, word: "phone sang".into() }));
        assert!(matches!(read("tethercert recording 1\ntime: later\n"), Err(BadTape::Value(_))));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(time: |job: |[0-9{}\\[\\]\",:#/\n ])*|\\PC{0,80}") {
            let _ = read(&text);
            let _ = read(&format!("{TITLE}\n{text}"));
        }
    }
}
