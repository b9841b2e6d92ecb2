//! What stands on a tape: values as CBOR knows them, written as text (CBOR's diagnostic notation, RFC 8949 section 8).
//!
//! `{0: "alice", 1: h'00ff', 2: null}`: a person reads it, a test compares it, and what a phone said becomes its bytes again.

use crate::credential::{Certificate, SigningRequest};
use minicbor::data::{Int, Type};
use minicbor::{Decoder, Encoder};
use std::fmt::Write as _;

/// How wide a line is where it can be.
const WIDTH: usize = 110;
/// Bytes on a line of their own.
const BYTES_A_LINE: usize = 48;
/// How deep values may lie in each other.
const DEEPEST: u8 = 32;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// From -2^64 to 2^64 - 1.
    Int(i128),
    /// Words.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// In order.
    Array(Vec<Value>),
    /// Keys with their values, in the order in which they were written.
    Map(Vec<(Value, Value)>),
}

/// Where a text stops being a value, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct NotAValue {
    /// From 1.
    pub line: usize,
    /// In words.
    pub what: String,
}

impl Value {
    /// Words.
    pub fn text(text: impl ToString) -> Self {
        Self::Text(text.to_string())
    }

    /// Words, or nothing.
    pub fn maybe(text: Option<impl ToString>) -> Self {
        text.map_or(Self::Null, Self::text)
    }

    /// Bytes.
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bytes(bytes.as_ref().to_vec())
    }

    /// A map with words for keys.
    pub fn map<const N: usize>(entries: [(&str, Self); N]) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (Self::text(key), value)).collect())
    }

    /// What stands under these words; nothing is [`Value::Null`] too.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        let found = entries.iter().find(|(name, _)| matches!(name, Self::Text(name) if name == key));
        found.map(|(_, value)| value).filter(|value| **value != Self::Null)
    }

    /// The words, where it is words.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The bytes, where it is bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The number, where it is one and fits.
    pub fn as_number<T: TryFrom<i128>>(&self) -> Option<T> {
        if let Self::Int(number) = self { T::try_from(*number).ok() } else { None }
    }

    /// Yes or no, where it is that.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(yes) = self { Some(*yes) } else { None }
    }

    /// The items, where it is a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// Reads one item of CBOR that is all of `bytes`; nothing where it is none, or would not become the same bytes again.
    pub fn of_cbor(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let value = decoded(&mut decoder, DEEPEST)?;
        (decoder.position() == bytes.len() && value.to_cbor() == bytes).then_some(value)
    }

    /// As CBOR, in the shortest form.
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        encode(self, &mut encoder);
        encoder.into_writer()
    }

    /// The value as text on one line.
    pub fn on_a_line(&self) -> String {
        let mut text = String::new();
        compact(self, &mut text);
        text
    }

    /// The value as text, over several lines where one is too short; all but the first are indented by `indent`.
    pub fn written(&self, indent: usize) -> String {
        let mut text = String::new();
        spread(self, indent, &mut text);
        text
    }

    /// Reads a value from its text.
    ///
    /// # Errors
    /// Where and why it is none.
    pub fn parse(text: &str) -> Result<Self, NotAValue> {
        let mut reader = Reader::new(text);
        let value = reader.value(DEEPEST)?;
        reader.skip()?;
        if reader.rest().is_empty() { Ok(value) } else { Err(reader.bad("something follows the value")) }
    }
}

fn decoded(decoder: &mut Decoder<'_>, depth: u8) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    Some(match decoder.datatype().ok()? {
        Type::Null => decoder.null().map(|()| Value::Null).ok()?,
        Type::Bool => Value::Bool(decoder.bool().ok()?),
        Type::String => Value::text(decoder.str().ok()?),
        Type::Bytes => Value::bytes(decoder.bytes().ok()?),
        Type::Array => {
            let count = decoder.array().ok()??;
            Value::Array((0..count).map(|_| decoded(decoder, depth)).collect::<Option<_>>()?)
        }
        Type::Map => {
            let count = decoder.map().ok()??;
            let entry = |_| Some((decoded(decoder, depth)?, decoded(decoder, depth)?));
            Value::Map((0..count).map(entry).collect::<Option<_>>()?)
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
            Value::Int(decoder.int().ok()?.into())
        }
        _ => return None,
    })
}

fn encode(value: &Value, to: &mut Encoder<Vec<u8>>) {
    const MEMORY: &str = "writing to memory does not fail";
    match value {
        Value::Null => to.null().map(|_| ()).expect(MEMORY),
        Value::Bool(yes) => to.bool(*yes).map(|_| ()).expect(MEMORY),
        Value::Int(number) => {
            let number = Int::try_from(*number).unwrap_or_else(|_| Int::from(0u8));
            to.int(number).map(|_| ()).expect(MEMORY);
        }
        Value::Text(text) => to.str(text).map(|_| ()).expect(MEMORY),
        Value::Bytes(bytes) => to.bytes(bytes).map(|_| ()).expect(MEMORY),
        Value::Array(items) => {
            to.array(items.len() as u64).expect(MEMORY);
            items.iter().for_each(|item| encode(item, to));
        }
        Value::Map(entries) => {
            to.map(entries.len() as u64).expect(MEMORY);
            for (key, value) in entries {
                encode(key, to);
                encode(value, to);
            }
        }
    }
}

/// What long bytes are, where that can be told.
fn label(bytes: &[u8]) -> Option<String> {
    if bytes.len() < 100 {
        return None;
    }
    let label = match Certificate::from_der(bytes) {
        Ok(certificate) => format!("certificate {}", certificate.label()),
        Err(_) => SigningRequest::from_der(bytes).ok().map(|_| "signing request".to_owned())?,
    };
    // A slash would end the comment.
    Some(label.chars().filter(|c| !c.is_control() && *c != '/').collect())
}

fn hex(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text can be written as JSON")
}

fn compact(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(yes) => text.push_str(if *yes { "true" } else { "false" }),
        Value::Int(number) => {
            let _ = write!(text, "{number}");
        }
        Value::Text(words) => text.push_str(&quoted(words)),
        Value::Bytes(bytes) => {
            text.push_str("h'");
            hex(bytes, text);
            text.push('\'');
            if let Some(label) = label(bytes) {
                let _ = write!(text, " / {label} /");
            }
        }
        Value::Array(items) => {
            text.push('[');
            for (number, item) in items.iter().enumerate() {
                text.push_str(if number == 0 { "" } else { ", " });
                compact(item, text);
            }
            text.push(']');
        }
        Value::Map(entries) => {
            text.push('{');
            for (number, (key, value)) in entries.iter().enumerate() {
                text.push_str(if number == 0 { "" } else { ", " });
                compact(key, text);
                text.push_str(": ");
                compact(value, text);
            }
            text.push('}');
        }
    }
}

fn spread(value: &Value, indent: usize, text: &mut String) {
    let line = value.on_a_line();
    if line.chars().count() + indent <= WIDTH {
        return text.push_str(&line);
    }
    let deeper = indent + 2;
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Text(_) => text.push_str(&line),
        Value::Bytes(bytes) => {
            text.push_str("h'");
            for piece in bytes.chunks(BYTES_A_LINE) {
                let _ = write!(text, "\n{:deeper$}", "");
                hex(piece, text);
            }
            text.push('\'');
            if let Some(label) = label(bytes) {
                let _ = write!(text, " / {label} /");
            }
        }
        Value::Array(items) => {
            text.push('[');
            for (number, item) in items.iter().enumerate() {
                let _ = write!(text, "{}\n{:deeper$}", if number == 0 { "" } else { "," }, "");
                spread(item, deeper, text);
            }
            let _ = write!(text, "\n{:indent$}]", "");
        }
        Value::Map(entries) => {
            text.push('{');
            for (number, (key, value)) in entries.iter().enumerate() {
                let _ = write!(text, "{}\n{:deeper$}", if number == 0 { "" } else { "," }, "");
                compact(key, text);
                text.push_str(": ");
                spread(value, deeper, text);
            }
            let _ = write!(text, "\n{:indent$}}}", "");
        }
    }
}

/// Reads values from a text, one after the other.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn line(&self) -> usize {
        1 + self.text.get(..self.at).unwrap_or_default().matches('\n').count()
    }

    pub(super) fn bad(&self, what: impl Into<String>) -> NotAValue {
        NotAValue { line: self.line(), what: what.into() }
    }

    /// Passes over white space, `/ … /` and `# …`.
    pub(super) fn skip(&mut self) -> Result<(), NotAValue> {
        loop {
            let rest = self.rest();
            match rest.chars().next() {
                Some(space) if space.is_whitespace() => self.at += space.len_utf8(),
                Some('#') => self.at += rest.find('\n').unwrap_or(rest.len()),
                Some('/') => {
                    let end = rest[1..].find('/').ok_or_else(|| self.bad("a comment does not end"))?;
                    self.at += end + 2;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Everything up to `end`, which is passed over.
    pub(super) fn until(&mut self, end: char) -> Option<&'a str> {
        let rest = self.rest();
        let found = rest.find(end)?;
        self.at += found + end.len_utf8();
        Some(&rest[..found])
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    pub(super) fn one(&mut self) -> Result<Value, NotAValue> {
        self.value(DEEPEST)
    }

    fn value(&mut self, depth: u8) -> Result<Value, NotAValue> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.bad("values lie too deep in each other"))?;
        self.skip()?;
        for (word, value) in [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))] {
            if self.takes(word) {
                return Ok(value);
            }
        }
        if self.takes("h'") {
            let digits = self.until('\'').ok_or_else(|| self.bad("bytes do not end"))?;
            return unhex(digits).map(Value::Bytes).ok_or_else(|| self.bad("bytes are not hexadecimal"));
        }
        match self.rest().chars().next() {
            Some('"') => self.words(),
            Some('[') => {
                self.at += 1;
                let mut items = Vec::new();
                while !self.ends(']', items.is_empty())? {
                    items.push(self.value(depth)?);
                }
                Ok(Value::Array(items))
            }
            Some('{') => {
                self.at += 1;
                let mut entries = Vec::new();
                while !self.ends('}', entries.is_empty())? {
                    let key = self.value(depth)?;
                    self.skip()?;
                    if !self.takes(":") {
                        return Err(self.bad("a key has no colon after it"));
                    }
                    entries.push((key, self.value(depth)?));
                }
                Ok(Value::Map(entries))
            }
            Some(first) if first == '-' || first.is_ascii_digit() => self.number(),
            _ => Err(self.bad("a value is expected")),
        }
    }

    /// Whether a list ends here; otherwise the next item begins.
    fn ends(&mut self, end: char, empty: bool) -> Result<bool, NotAValue> {
        self.skip()?;
        let mut comma = empty;
        if !empty && self.takes(",") {
            comma = true;
            self.skip()?;
        }
        if self.rest().starts_with(end) {
            self.at += end.len_utf8();
            return Ok(true);
        }
        if comma { Ok(false) } else { Err(self.bad(format!("`,` or `{end}` is expected"))) }
    }

    fn words(&mut self) -> Result<Value, NotAValue> {
        let rest = self.rest();
        let mut escaped = true;
        let end = rest.char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        // The first quotation mark is passed over as if it was escaped.
        let (end, _) = end.ok_or_else(|| self.bad("words do not end"))?;
        let words = serde_json::from_str(&rest[..=end]).map_err(|error| self.bad(error.to_string()))?;
        self.at += end + 1;
        Ok(Value::Text(words))
    }

    fn number(&mut self) -> Result<Value, NotAValue> {
        let rest = self.rest();
        let end = rest.char_indices().skip(1).find(|(_, c)| !c.is_ascii_digit()).map_or(rest.len(), |(at, _)| at);
        let number = rest[..end].parse::<i128>().ok().filter(|number| Int::try_from(*number).is_ok());
        let number = number.ok_or_else(|| self.bad("a number is expected, and none so long"))?;
        self.at += end;
        Ok(Value::Int(number))
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value> {
        let number = prop_oneof![any::<i64>().prop_map(i128::from), any::<u64>().prop_map(i128::from)];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            number.prop_map(Value::Int),
            any::<String>().prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..150).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                proptest::collection::vec((inner.clone(), inner), 0..5).prop_map(Value::Map),
            ]
        })
    }

    #[test]
    fn a_value_reads_as_a_person_expects() {
        let value = Value::Array(vec![
            Value::text("begin"),
            Value::Map(vec![(Value::Int(0), Value::bytes([0, 255])), (Value::Int(1), Value::text("a \"b\""))]),
        ]);
        assert_eq!(value.on_a_line(), r#"["begin", {0: h'00ff', 1: "a \"b\""}]"#);
        let spoken = "# a remark\n[\"begin\", / another / {0: h'00\n ff', 1: \"a \\\"b\\\"\",}]\n";
        assert_eq!(Value::parse(spoken), Ok(value));
    }

    #[test]
    fn what_is_no_value_is_refused_with_its_line() {
        for bad in ["", "[1 2]", "{1}", "h'0'", "h'", "\"", "1 2", "-", "[", "{1: 2", "99999999999999999999999", "/ x"]
        {
            assert!(Value::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Value::parse("[1,\n\n nothing]").unwrap_err().line, 3);
        assert!(Value::parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn cbor_that_would_not_become_the_same_bytes_again_is_no_value() {
        assert_eq!(Value::of_cbor(&[0x18, 0x01]), None, "one, written long");
        assert_eq!(Value::of_cbor(&[0x9f, 0xff]), None, "a list of indefinite length");
        assert_eq!(Value::of_cbor(&[0xf9, 0x3c, 0x00]), None, "a fraction");
        assert_eq!(Value::of_cbor(&[0x01, 0x01]), None, "two items");
    }

    proptest! {
        #[test]
        fn a_value_is_the_same_after_text_and_after_cbor(value in values()) {
            prop_assert_eq!(Value::parse(&value.written(0)), Ok(value.clone()));
            prop_assert_eq!(Value::parse(&value.on_a_line()), Ok(value.clone()));
            prop_assert_eq!(Value::of_cbor(&value.to_cbor()), Some(value));
        }

        #[test]
        fn any_text_and_any_bytes_are_read_or_refused(text in "[\\[\\]{}:,\"'h0-9a-f/# \\n\\\\]{0,60}|\\PC{0,60}", bytes: Vec<u8>) {
            let _ = Value::parse(&text);
            let _ = Value::of_cbor(&bytes);
        }
    }
}
