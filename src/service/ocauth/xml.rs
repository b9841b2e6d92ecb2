//! Reading XML from outside, with limits; writing values into our own.

use roxmltree::{Document, Node, ParsingOptions};
use std::borrow::Cow;

/// Longest message read, bytes.
pub(super) const MAX_MESSAGE: usize = 1 << 20;
/// Most nodes in one message; a full WCF metadata document has some thousands.
const MAX_NODES: u32 = 100_000;

/// Why a message is not read, in words for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// Longer than 1 MiB.
    #[error("the message is longer than {} KiB", MAX_MESSAGE >> 10)]
    TooLong,
    /// Not UTF-8.
    #[error("the message is not UTF-8")]
    NotUtf8,
    /// Not well-formed, with a DTD, or with too many nodes.
    #[error("the message is no XML that is accepted: {0}")]
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

/// A value that must not stand in a message: control characters are not XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value holds a control character")]
pub(super) struct ControlCharacter;

/// The text of a message; a byte order mark is dropped.
pub(super) fn text_of(bytes: &[u8]) -> Result<&str, BadMessage> {
    if bytes.len() > MAX_MESSAGE {
        return Err(BadMessage::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| BadMessage::NotUtf8)?;
    Ok(text.trim_start_matches('\u{feff}'))
}

/// Parses without DTD.
pub(super) fn parse(text: &str) -> Result<Document<'_>, BadMessage> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|error| BadMessage::NotXml(error.to_string()))
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
    fn a_dtd_is_refused() {
        assert!(matches!(parse("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"), Err(BadMessage::NotXml(_))));
    }

    #[test]
    fn a_value_cannot_break_out_of_its_place() {
        assert_eq!(escape("a<b&\"'>").unwrap(), "a&lt;b&amp;&quot;&apos;&gt;");
        assert_eq!(escape("a\nb"), Err(ControlCharacter));
        assert_eq!(escape("a\0"), Err(ControlCharacter));
    }
}
