//! Reading XML from outside, with limits; writing values into our own.

use super::diagnostics::one_line;
use roxmltree::{Document, Node, ParsingOptions};
use std::borrow::Cow;

/// Longest message read, bytes.
pub(super) const MAX_MESSAGE: usize = 1 << 20;
/// Most nodes in one message; a full WCF metadata document has some thousands.
const MAX_NODES: u32 = 100_000;
/// Elements inside each other; a full WCF metadata document has some dozens.
const MAX_DEPTH: usize = 200;

/// Why a message is not read, in words for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// Nothing in it.
    #[error("the message is empty")]
    Empty,
    /// Longer than 1 MiB.
    #[error("the message is longer than {} KiB", MAX_MESSAGE >> 10)]
    TooLong,
    /// It ended before its announced end.
    #[error("the message was cut off: {problem}")]
    Truncated {
        /// What was missing.
        problem: String,
    },
    /// Compressed, which was not asked for.
    #[error("the message is encoded as {encoding}, which was not asked for")]
    Encoded {
        /// The `Content-Encoding`.
        encoding: String,
    },
    /// Another charset than UTF-8, US-ASCII or UTF-16 with a byte order mark.
    #[error("the message is in the charset {charset}, and only UTF-8 is read")]
    Charset {
        /// As the header or the message says.
        charset: String,
    },
    /// Not what its charset says.
    #[error("the message is not {charset}")]
    NotText {
        /// `UTF-8` or `UTF-16`.
        charset: &'static str,
    },
    /// A page for a browser: a proxy's, a portal's, or the web server's own.
    #[error("the answer is a web page{}", titled(title))]
    Html {
        /// Its title, one line; empty if it has none.
        title: String,
    },
    /// With a document type definition, where entities could grow without end.
    #[error("the message has a document type definition, which is not read")]
    Dtd,
    /// More than 100 000 nodes.
    #[error("the message has more than {MAX_NODES} parts")]
    TooManyNodes,
    /// More than 200 elements inside each other.
    #[error("the message has more than {MAX_DEPTH} elements inside each other")]
    TooDeep,
    /// Not well-formed.
    #[error("the message is no XML: {0}")]
    NotXml(String),
    /// An element is not where it has to be.
    #[error("the message has no {0}")]
    Missing(&'static str),
    /// A value is not of its kind.
    #[error("the message's {what} cannot be used: {problem}")]
    BadValue {
        /// Which value.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

fn titled(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!(": {title}") }
}

/// A value that must not stand in a message: control characters are not XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value holds a control character")]
pub(super) struct ControlCharacter;

/// The text of a message by its byte order mark, the charset that its header names, and its own declaration.
pub(super) fn text_of<'a>(bytes: &'a [u8], charset: Option<&str>) -> Result<Cow<'a, str>, BadMessage> {
    let read = |bytes: &'a [u8]| std::str::from_utf8(bytes).map_err(|_| BadMessage::NotText { charset: "UTF-8" });
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => return read(rest).map(Cow::Borrowed),
        [0xff, 0xfe, rest @ ..] => return utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => return utf16(rest, u16::from_be_bytes),
        _ => {}
    }
    let foreign = |charset: &str| {
        let known = ["utf-8", "utf8", "us-ascii", "ascii"];
        let charset = charset.trim().trim_matches(['"', '\'']);
        let foreign = !known.iter().any(|known| charset.eq_ignore_ascii_case(known));
        foreign.then(|| BadMessage::Charset { charset: one_line(charset) })
    };
    if let Some(error) = charset.and_then(foreign) {
        return Err(error);
    }
    let declared = declared_charset(bytes);
    if let Some(error) = declared.and_then(foreign) {
        return Err(error);
    }
    read(bytes).map(Cow::Borrowed)
}

fn utf16(bytes: &[u8], word: fn([u8; 2]) -> u16) -> Result<Cow<'static, str>, BadMessage> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let text = char::decode_utf16(pairs.iter().map(|pair| word(*pair))).collect::<Result<String, _>>();
    match text {
        Ok(text) if odd.is_empty() => Ok(Cow::Owned(text)),
        Ok(_) | Err(_) => Err(BadMessage::NotText { charset: "UTF-16" }),
    }
}

/// `encoding` of the XML declaration.
fn declared_charset(bytes: &[u8]) -> Option<&str> {
    let head = bytes.get(..200).unwrap_or(bytes).trim_ascii_start().strip_prefix(b"<?xml")?;
    let end = head.windows(2).position(|pair| pair == b"?>")?;
    let value = std::str::from_utf8(head.get(..end)?).ok()?.split_once("encoding")?.1.trim_start().strip_prefix('=')?;
    let quote = value.trim_start().chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value.trim_start().get(1..)?.split(quote).next()
}

/// Parses without DTD.
pub(super) fn parse(text: &str) -> Result<Document<'_>, BadMessage> {
    // White space before a declaration is a slip that changes nothing.
    let text = text.trim();
    if text.is_empty() {
        return Err(BadMessage::Empty);
    }
    if let Some(title) = title_of_page(text) {
        return Err(BadMessage::Html { title });
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::DtdDetected => BadMessage::Dtd,
        roxmltree::Error::NodesLimitReached => BadMessage::TooManyNodes,
        error => BadMessage::NotXml(one_line(&error.to_string())),
    })?;
    if is_too_deep(&document) {
        return Err(BadMessage::TooDeep);
    }
    Ok(document)
}

/// Parents come before their children, so one pass is enough.
fn is_too_deep(document: &Document<'_>) -> bool {
    let mut depths = Vec::new();
    document.descendants().any(|node| {
        let above = node.parent().and_then(|parent| depths.get(parent.id().get_usize())).copied().unwrap_or(0usize);
        depths.push(above + 1);
        above > MAX_DEPTH
    })
}

/// The title of a web page, if the text is one.
fn title_of_page(text: &str) -> Option<String> {
    let begin = text.get(..text.floor_char_boundary(4096)).unwrap_or_default().to_ascii_lowercase();
    let first = begin.trim_start_matches('\u{feff}').trim_start();
    // A page may have an XML declaration before it.
    let first =
        first.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")).map_or(first, |(_, rest)| rest.trim_start());
    if !["<!doctype html", "<html", "<head", "<body"].iter().any(|tag| first.starts_with(tag)) {
        return None;
    }
    let title = begin.find("<title").and_then(|at| {
        let after = text.get(at..)?.split_once('>')?.1;
        Some(after.split('<').next().unwrap_or_default())
    });
    Some(one_line(title.unwrap_or_default()))
}

/// The child elements with this local name, in any namespace.
pub(super) fn children<'a, 'd>(node: Node<'a, 'd>, local: &str) -> impl Iterator<Item = Node<'a, 'd>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == local)
}

/// The first child element with this local name, in any namespace.
pub(super) fn child<'a, 'd>(node: Node<'a, 'd>, local: &str) -> Option<Node<'a, 'd>> {
    children(node, local).next()
}

/// The child elements with this local name in one of `namespaces`.
pub(super) fn children_in<'a, 'd>(
    node: Node<'a, 'd>,
    namespaces: &'static [&'static str],
    local: &'static str,
) -> impl Iterator<Item = Node<'a, 'd>> {
    children(node, local).filter(move |child| child.tag_name().namespace().is_some_and(|ns| namespaces.contains(&ns)))
}

/// The first element below `node` with this local name, in any namespace.
pub(super) fn descendant<'a, 'd>(node: Node<'a, 'd>, local: &str) -> Option<Node<'a, 'd>> {
    node.descendants().find(|n| n.is_element() && n.tag_name().name() == local)
}

/// All text directly inside an element, without the white space around it.
pub(super) fn text(node: Node<'_, '_>) -> String {
    let text: String = node.children().filter(Node::is_text).filter_map(|n| n.text()).collect();
    text.trim().to_owned()
}

/// The children of the SOAP body.
pub(super) fn body<'a, 'd>(document: &'a Document<'d>) -> Result<Node<'a, 'd>, BadMessage> {
    let envelope = document.root_element();
    if envelope.tag_name().name() != "Envelope" {
        return Err(BadMessage::Missing("SOAP envelope"));
    }
    child(envelope, "Body").ok_or(BadMessage::Missing("SOAP body"))
}

/// `value` for a text or a quoted attribute. The one place where values become XML.
pub(super) fn escape(value: &str) -> Result<Cow<'_, str>, ControlCharacter> {
    if value.chars().any(char::is_control) {
        return Err(ControlCharacter);
    }
    Ok(quick_xml::escape::escape(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_named() {
        let error = |text: &str| parse(text).unwrap_err();
        assert_eq!(error(" \r\n"), BadMessage::Empty);
        let bomb = "<!DOCTYPE a [<!ENTITY b 'cc'><!ENTITY c '&b;&b;'>]><a>&c;</a>";
        assert_eq!(error(bomb), BadMessage::Dtd);
        assert_eq!(error(&format!("{}{}", "<a>".repeat(5000), "</a>".repeat(5000))), BadMessage::TooDeep);
        assert_eq!(error(&format!("<a>{}</a>", "<b/>".repeat(100_000))), BadMessage::TooManyNodes);
        assert!(matches!(error("<a><b></a>"), BadMessage::NotXml(_)));
        assert!(parse(&format!("{}{}", "<a>".repeat(150), "</a>".repeat(150))).is_ok());
        assert!(parse("\n<?xml version='1.0'?><a/>\n").is_ok());
    }

    #[test]
    fn a_web_page_is_told_by_its_title() {
        for page in [
            "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\"><html><title>401 - Unauthorized</title>",
            "<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><TITLE lang='en'>401 -\nUnauthorized",
        ] {
            assert_eq!(parse(page).unwrap_err().to_string(), "the answer is a web page: 401 - Unauthorized");
        }
        assert_eq!(parse("<html>").unwrap_err().to_string(), "the answer is a web page");
    }

    #[test]
    fn utf_8_is_read_with_and_without_a_mark_and_utf_16_with_one() {
        let text = "<a>\u{e9}</a>";
        let marked = [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat();
        let mut big = vec![0xfe, 0xff];
        let mut little = vec![0xff, 0xfe];
        for unit in text.encode_utf16() {
            big.extend(unit.to_be_bytes());
            little.extend(unit.to_le_bytes());
        }
        for bytes in [text.as_bytes(), &marked, &big, &little] {
            assert_eq!(text_of(bytes, Some("\"UTF-8\"")).as_deref(), Ok(text));
        }
        assert_eq!(text_of(&little[..5], None), Err(BadMessage::NotText { charset: "UTF-16" }));
        assert_eq!(text_of(b"<a>\xe9</a>", None), Err(BadMessage::NotText { charset: "UTF-8" }));
    }

    #[test]
    fn another_charset_is_named_whoever_says_so() {
        let latin = BadMessage::Charset { charset: "iso-8859-1".to_owned() };
        assert_eq!(text_of(b"<a/>", Some("iso-8859-1")), Err(latin.clone()));
        assert_eq!(text_of(b"<?xml version='1.0' encoding = 'iso-8859-1' ?><a/>", Some("utf-8")), Err(latin));
        assert!(text_of(b"<?xml version='1.0' encoding=\"US-ASCII\"?><a/>", None).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_text_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = text_of(&bytes, None).map(|text| parse(&text).map(drop));
            let _ = text_of(&[b"<?xml ", bytes.as_slice()].concat(), None);
        }
    }

    #[test]
    fn a_value_cannot_break_out_of_its_place() {
        assert_eq!(escape("a<b&\"'>").unwrap(), "a&lt;b&amp;&quot;&apos;&gt;");
        assert_eq!(escape("a\nb"), Err(ControlCharacter));
        assert_eq!(escape("a\0"), Err(ControlCharacter));
    }
}
