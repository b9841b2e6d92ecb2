//! The first difference between what was recorded and what happens now, with both sides in words.

use super::{Entry, Value};
use std::fmt;

/// The most characters of a side that are shown.
const SHOWN: usize = 300;

/// What differs, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The line of the recording.
    pub line: Option<usize>,
    /// What it is about: `phone asked`.
    pub about: String,
    /// Where in it, as a path, where both sides are of one kind: `2 › "begin" › 1`.
    pub path: Option<String>,
    /// What the recording says.
    pub recorded: String,
    /// What happens now.
    pub now: String,
}

impl Difference {
    /// Both ask the same one, and ask differently.
    pub(super) fn between(entry: &Entry, now: &Value) -> Self {
        let mut path = Vec::new();
        let (recorded, found) = narrowed(&entry.value, now, &mut path);
        Self {
            line: Some(entry.line).filter(|line| *line > 0),
            about: entry.kind.to_string(),
            path: (!path.is_empty()).then(|| path.join(" › ")),
            recorded: side(recorded),
            now: side(found),
        }
    }

    /// Something else comes next on the recording.
    pub(super) fn another(entry: &Entry, wanted: &str) -> Self {
        Self {
            line: Some(entry.line).filter(|line| *line > 0),
            about: "what comes next".into(),
            path: None,
            recorded: cut(&format!("{}: {}", entry.kind, entry.value.on_a_line())),
            now: cut(wanted),
        }
    }

    /// The recording is over.
    pub(super) fn over(wanted: &str) -> Self {
        let (about, recorded) = ("what comes next".into(), "nothing: the recording ends here".into());
        Self { line: None, about, path: None, recorded, now: cut(wanted) }
    }

    /// Something was recorded that does not happen now.
    pub(super) fn left(entry: &Entry) -> Self {
        Self { now: "nothing: the job has ended".into(), ..Self::another(entry, "") }
    }

    /// The entry does not say what such an entry has to say.
    pub(super) fn nonsense(entry: &Entry) -> Self {
        Self { now: "it says nothing that can be understood here".into(), ..Self::another(entry, "") }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        write!(f, "{}", self.about)?;
        if let Some(path) = &self.path {
            write!(f, ", at {path}")?;
        }
        write!(f, ": recorded {}; now {}", self.recorded, self.now)
    }
}

/// The smallest parts in which the two differ; nothing on a side: it has no such part.
fn narrowed<'a>(recorded: &'a Value, now: &'a Value, path: &mut Vec<String>) -> (Option<&'a Value>, Option<&'a Value>) {
    match (recorded, now) {
        (Value::Array(old), Value::Array(new)) => {
            // A list that begins with its name is called by it: ["begin", {…}].
            for at in 0..old.len().max(new.len()) {
                let (old_item, new_item) = (old.get(at), new.get(at));
                if old_item == new_item {
                    continue;
                }
                let named = match (old.first(), at) {
                    (Some(Value::Text(name)), 1..) if old.len() == 2 && new.first() == old.first() => {
                        format!("\"{name}\"")
                    }
                    _ => (at + 1).to_string(),
                };
                path.push(named);
                return deeper(old_item, new_item, path);
            }
            (Some(recorded), Some(now))
        }
        (Value::Map(old), Value::Map(new)) => {
            let of =
                |map: &'a [(Value, Value)], key: &Value| map.iter().find(|(k, _)| k == key).map(|(_, value)| value);
            for (key, _) in old.iter().chain(new) {
                let (old_value, new_value) = (of(old, key), of(new, key));
                if old_value != new_value {
                    path.push(key.on_a_line());
                    return deeper(old_value, new_value, path);
                }
            }
            (Some(recorded), Some(now))
        }
        _ => (Some(recorded), Some(now)),
    }
}

fn deeper<'a>(
    recorded: Option<&'a Value>,
    now: Option<&'a Value>,
    path: &mut Vec<String>,
) -> (Option<&'a Value>, Option<&'a Value>) {
    match (recorded, now) {
        (Some(recorded), Some(now)) => narrowed(recorded, now, path),
        other => other,
    }
}

fn side(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| cut(&value.on_a_line()))
}

fn cut(text: &str) -> String {
    match text.chars().count() {
        0..=SHOWN => text.to_owned(),
        all => format!("{} … ({all} characters)", text.chars().take(SHOWN).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Kind;

    fn difference(recorded: &str, now: &str) -> String {
        let entry = Entry { kind: Kind::PhoneAsked, value: Value::parse(recorded).unwrap(), line: 12 };
        Difference::between(&entry, &Value::parse(now).unwrap()).to_string()
    }

    #[test]
    fn a_difference_is_told_by_its_smallest_part() {
        assert_eq!(
            difference(
                r#"[["state", {}], ["begin", {0: h'01', 1: "alice"}]]"#,
                r#"[["state", {}], ["begin", {0: h'01', 1: "bob"}]]"#
            ),
            r#"line 12, phone asked, at 2 › "begin" › 1: recorded "alice"; now "bob""#
        );
        assert_eq!(
            difference(r#"[["state", {}]]"#, r#"[["state", {}], ["leave", {}]]"#),
            r#"line 12, phone asked, at 2: recorded nothing; now ["leave", {}]"#
        );
        assert_eq!(difference("{1: 2}", "{1: 2, 3: 4}"), "line 12, phone asked, at 3: recorded nothing; now 4");
        assert_eq!(difference("1", "h'01'"), "line 12, phone asked: recorded 1; now h'01'");
    }
}
