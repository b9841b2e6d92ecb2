//! What a server says about its refusal ([MS-OCER] 2.2.1): a number, a reason, and who said it.

use super::message::Headers;
use std::fmt;

/// Longest reason kept, characters.
const MAX_TEXT: usize = 300;

/// The header `ms-diagnostics`, or `ms-diagnostics-public`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MsDiagnostics {
    /// The error number.
    pub code: u32,
    /// The reason as given, one line; may be empty.
    pub reason: String,
    /// The server that said it, by its own word.
    pub source: Option<String>,
    /// Further values as given, name and value.
    pub more: Vec<(String, String)>,
}

impl MsDiagnostics {
    /// Of a message's headers; the one for the own organisation says more than the public one.
    pub fn of(headers: &Headers) -> Option<Self> {
        ["ms-diagnostics", "ms-diagnostics-public"].into_iter().find_map(|name| headers.all(name).find_map(Self::read))
    }

    /// `1000;reason="Final handshake failed";source="fe01.contoso.example";HRESULT="0xC3E93EC3"`
    pub fn read(value: &str) -> Option<Self> {
        let mut quoted = false;
        let mut items = value.split(|c| {
            quoted ^= c == '"';
            c == ';' && !quoted
        });
        let code = items.next()?.trim().parse().ok()?;
        let mut read = Self { code, reason: String::new(), source: None, more: Vec::new() };
        for (name, value) in items.filter_map(|item| item.split_once('=')) {
            let value: String =
                value.trim().trim_matches('"').chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect();
            match name.trim().to_ascii_lowercase().as_str() {
                "reason" => read.reason = value,
                "source" => read.source = Some(value).filter(|source| !source.is_empty()),
                _ => read.more.push((name.trim().chars().filter(|c| !c.is_control()).take(40).collect(), value)),
            }
        }
        Some(read)
    }
}

impl fmt::Display for MsDiagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if !self.reason.is_empty() {
            write!(f, " {}", self.reason)?;
        }
        match &self.source {
            Some(source) => write!(f, ", says {source}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn number_reason_and_source_are_read_in_any_order() {
        let read = MsDiagnostics::read(
            "1000; Source=\"fe01.contoso.example\";reason=\"Final; handshake failed\";HRESULT=\"0xC3E93EC3\"",
        );
        let read = read.unwrap();
        assert_eq!(read.to_string(), "1000 Final; handshake failed, says fe01.contoso.example");
        assert_eq!(read.more, [("HRESULT".to_owned(), "0xC3E93EC3".to_owned())]);
        assert_eq!(MsDiagnostics::read("4004").unwrap().to_string(), "4004");
        assert_eq!(MsDiagnostics::read("reason=\"x\""), None);
    }

    #[test]
    fn what_only_the_organisation_hears_is_preferred() {
        let mut headers = Headers::default();
        headers.push("Ms-Diagnostics-Public", "1;reason=\"public\"");
        assert_eq!(MsDiagnostics::of(&headers).unwrap().reason, "public");
        headers.push("ms-diagnostics", "2;reason=\"own\"");
        assert_eq!(MsDiagnostics::of(&headers).unwrap().reason, "own");
    }

    proptest! {
        #[test]
        fn any_value_is_read_or_refused(value in "\\PC{0,80}", like in "[0-9]{1,12}(;[a-z]*=?\"?[a-z;\"]{0,9}){0,5}") {
            let _ = MsDiagnostics::read(&value);
            let _ = MsDiagnostics::read(&like);
        }
    }
}
