//! An address in a header (RFC 3261, section 20.10): display name, URI, and the header's parameters behind it.

use std::fmt;

/// What stands in `From`, `To`, `Contact` and `P-Asserted-Identity`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddress {
    /// `Ken Myer`, without quotes; empty where there is none.
    pub name: String,
    /// What stands between the angle brackets, or before the first `;` where there are none: exactly as written, since
    /// signatures are made over it.
    pub uri: String,
    parameters: Vec<(String, Option<String>)>,
}

impl NameAddress {
    /// An address alone.
    pub fn new(uri: &str) -> Self {
        Self { name: String::new(), uri: uri.to_owned(), parameters: Vec::new() }
    }

    /// With a parameter behind it.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    /// A parameter of the header (not of the URI) without its quotes; empty for one without a value.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        let value = value.as_deref().unwrap_or_default();
        Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
    }

    /// The addresses of a header value, which commas part. What makes no sense is left out.
    pub fn read_all(value: &str) -> Vec<Self> {
        split(value, ',').into_iter().filter_map(Self::read).collect()
    }

    /// One address; `None` if there is none in it.
    pub fn read(value: &str) -> Option<Self> {
        let mut items = split(value, ';').into_iter();
        let first = items.next()?.trim();
        let (name, uri) = match outside_quotes(first, '<') {
            Some(open) => {
                let (uri, _) = first[open + 1..].split_once('>')?;
                (first[..open].trim().trim_matches('"').to_owned(), uri)
            }
            None => (String::new(), first),
        };
        if uri.is_empty() {
            return None;
        }
        let parameters = items
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| match item.split_once('=') {
                Some((name, value)) => (name.trim().to_owned(), Some(value.trim().to_owned())),
                None => (item.to_owned(), None),
            })
            .collect();
        Some(Self { name, uri: uri.to_owned(), parameters })
    }
}

impl fmt::Display for NameAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            write!(f, "\"{}\"", self.name)?;
        }
        write!(f, "<{}>", self.uri)?;
        self.parameters.iter().try_for_each(|(name, value)| match value {
            Some(value) => write!(f, ";{name}={value}"),
            None => write!(f, ";{name}"),
        })
    }
}

/// Splits where neither quotes nor angle brackets are open.
fn split(value: &str, at: char) -> Vec<&str> {
    let (mut quoted, mut bracketed) = (false, false);
    value
        .split(move |c| {
            match c {
                '"' if !bracketed => quoted = !quoted,
                '<' if !quoted => bracketed = true,
                '>' if !quoted => bracketed = false,
                _ => {}
            }
            c == at && !quoted && !bracketed
        })
        .collect()
}

fn outside_quotes(text: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == wanted && !quoted).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_uri_is_what_stands_in_the_brackets_and_the_parameters_are_behind_them() {
        let from =
            NameAddress::read("\"Ken; <Myer>\"<sip:kenmyer@contoso.example;opaque=x;gruu>;tag=1c2d;epid=c8ca").unwrap();
        assert_eq!(
            (from.name.as_str(), from.uri.as_str()),
            ("Ken; <Myer>", "sip:kenmyer@contoso.example;opaque=x;gruu")
        );
        assert_eq!((from.get("TAG"), from.get("epid"), from.get("gruu")), (Some("1c2d"), Some("c8ca"), None));
    }

    #[test]
    fn without_brackets_the_uri_ends_at_the_first_semicolon() {
        let from = NameAddress::read("sip:kenmyer@contoso.example;tag=1").unwrap();
        assert_eq!((from.uri.as_str(), from.get("tag")), ("sip:kenmyer@contoso.example", Some("1")));
    }

    #[test]
    fn a_contact_shows_its_own_parameters_and_not_those_of_its_uri() {
        let line = "<sip:192.0.2.50:50111;transport=tls>;expires=600;+sip.instance=\"<urn:uuid:1>\";gruu=\"sip:a;gruu\", <tel:+1>";
        let all = NameAddress::read_all(line);
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].get("expires"), all[0].get("transport")), (Some("600"), None));
        assert_eq!((all[0].get("+sip.instance"), all[0].get("gruu")), (Some("<urn:uuid:1>"), Some("sip:a;gruu")));
        assert_eq!(all[1].uri, "tel:+1");
    }

    proptest! {
        #[test]
        fn any_value_is_read_or_refused(value in "\\PC{0,60}", like in "[a<>\";,= ]{0,40}") {
            let _ = NameAddress::read_all(&value);
            let _ = NameAddress::read_all(&like);
        }

        #[test]
        fn what_is_written_reads_back(uri in "sip:[a-z0-9;=@.]{1,20}", tag in "[a-z0-9]{1,9}") {
            let address = NameAddress::new(&uri).with("tag", &tag);
            prop_assert_eq!(NameAddress::read(&address.to_string()), Some(address));
        }
    }
}
