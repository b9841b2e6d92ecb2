//! The lab's own reading and writing of SOAP 1.1: by (namespace, local name), never by prefix.

use roxmltree::{Document, Node, ParsingOptions};
use std::borrow::Cow;

pub(super) const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub(super) const SAML: &str = "urn:oasis:names:tc:SAML:1.0:assertion";
pub(super) const WSA: &str = "http://www.w3.org/2005/08/addressing";
pub(super) const WSP: &str = "http://schemas.xmlsoap.org/ws/2004/09/policy";
pub(super) const AUTH: &str = "http://schemas.xmlsoap.org/ws/2006/12/authorization";
/// WS-Trust as the web ticket service has it.
pub(super) const WST: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512";
/// WS-Trust as certificate provisioning has it: the slash is part of the name.
pub(super) const WST_SLASH: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/";
pub(super) const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
pub(super) const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
pub(super) const WSTEP: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment";
pub(super) const DS: &str = "http://www.w3.org/2000/09/xmldsig#";
pub(super) const OCS: &str = "http://schemas.microsoft.com/OCS/AuthWebServices/";
pub(super) const RTC: &str = "urn:component:Microsoft.Rtc.WebAuthentication.2010";

/// A request's envelope. DTDs are refused.
pub(super) fn parse(text: &str) -> Option<Document<'_>> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: 10_000, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).ok()?;
    document.root_element().has_tag_name((SOAP, "Envelope")).then_some(document)
}

/// The one child of that name; `None` when there is none or more than one.
pub(super) fn only<'a, 'i>(node: Node<'a, 'i>, namespace: &str, name: &str) -> Option<Node<'a, 'i>> {
    let mut found = node.children().filter(|child| child.has_tag_name((namespace, name)));
    found.next().filter(|_| found.next().is_none())
}

/// Follows `path` by [`only`] children.
pub(super) fn at<'a, 'i>(node: Node<'a, 'i>, path: &[(&str, &str)]) -> Option<Node<'a, 'i>> {
    path.iter().try_fold(node, |node, (namespace, name)| only(node, namespace, name))
}

/// The text of an element that holds nothing else, without white space around it.
pub(super) fn text<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    let plain = node.children().all(|child| child.is_text() || child.is_comment());
    plain.then(|| node.text().unwrap_or_default().trim())
}

/// The bytes of a base64 text, white space anywhere.
pub(super) fn bytes(node: Node<'_, '_>) -> Option<Vec<u8>> {
    unbase64(text(node)?)
}

/// The bytes of base64, white space anywhere.
pub(super) fn unbase64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let compact: String = text.split_ascii_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(compact).ok()
}

/// Base64 for an answer.
pub(super) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// `text` as character data or attribute value.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    quick_xml::escape::escape(text)
}

/// How an answer is spelled: with which prefixes, declared where.
pub(super) struct Spelling {
    /// The assertion's prefix is declared on the envelope only.
    pub(super) hoisted: bool,
    /// Applied to a whole answer.
    pub(super) respell: fn(String) -> String,
}

impl Spelling {
    pub(super) fn usual() -> Self {
        Self { hoisted: false, respell: |xml| xml }
    }

    pub(super) fn other() -> Self {
        Self { hoisted: true, respell: renamed }
    }
}

/// `xml`, one of the lab's own answers, with every prefix replaced; a second time changes nothing. Its texts hold no
/// markup, so none is touched.
fn renamed(xml: String) -> String {
    const PREFIXES: [&str; 13] =
        ["s", "wsu", "trust", "saml", "wsp", "wsa", "wsa10", "wsdl", "soap", "sp", "wst", "wsse", "wstep"];
    PREFIXES.iter().fold(xml, |xml, prefix| {
        xml.replace(&format!("<{prefix}:"), &format!("<{prefix}-2:"))
            .replace(&format!("</{prefix}:"), &format!("</{prefix}-2:"))
            .replace(&format!("xmlns:{prefix}="), &format!("xmlns:{prefix}-2="))
            .replace(&format!(" {prefix}:Id="), &format!(" {prefix}-2:Id="))
            .replace(&format!(" {prefix}:IncludeToken="), &format!(" {prefix}-2:IncludeToken="))
    })
}

/// `body` in an envelope.
pub(super) fn envelope(body: &str) -> String {
    format!("<s:Envelope xmlns:s=\"{SOAP}\" xmlns:wsu=\"{WSU}\"><s:Body>{body}</s:Body></s:Envelope>")
}

/// A fault with the diagnostics of [MS-OCAUTHWS] 2.2.4.1, as seen on real servers.
pub(super) fn diagnostics_fault(code: &str, id: u32, reason: &str) -> String {
    let reason = escape(reason);
    envelope(&format!(
        "<s:Fault><faultcode xmlns:a=\"{WSSE}\">a:{code}</faultcode><faultstring xml:lang=\"en-US\">{reason}</faultstring>\
         <detail><OCSDiagnosticsFault xmlns=\"{RTC}\"><Ms-Diagnostics-Fault><ErrorId>{id}</ErrorId>\
         <Reason>{reason}</Reason></Ms-Diagnostics-Fault>\
         <NameValuePairs xmlns:a=\"http://schemas.microsoft.com/2003/10/Serialization/Arrays\"/>\
         </OCSDiagnosticsFault></detail></s:Fault>"
    ))
}

/// A fault without diagnostics; `code` is a local name in `namespace`.
pub(super) fn plain_fault(namespace: &str, code: &str, reason: &str) -> String {
    let reason = escape(reason);
    envelope(&format!(
        "<s:Fault><faultcode xmlns:a=\"{namespace}\">a:{code}</faultcode>\
         <faultstring xml:lang=\"en-US\">{reason}</faultstring></s:Fault>"
    ))
}
