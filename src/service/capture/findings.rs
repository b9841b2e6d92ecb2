//! What captured metadata says about the points that are not public, and where it leads on to.

use roxmltree::{Document, Node, ParsingOptions};
use serde::Serialize;
use url::Url;

/// Most nodes in one document.
const MAX_NODES: u32 = 200_000;
/// Most names that are kept of one kind; a service has some tens.
const MOST: usize = 200;

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortFound {
    /// `WebTicketServicePin`.
    pub name: String,
    /// Where it is, letter by letter.
    pub address: String,
}

/// An operation of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperationFound {
    /// As the WSDL names it.
    pub name: String,
    /// Its SOAPAction, where a binding or the addressing of its input says it.
    pub action: Option<String>,
}

/// A type of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeFound {
    /// As the schema names it.
    pub name: String,
    /// Its elements, and its attributes with an `@` before them.
    pub members: Vec<String>,
}

/// What metadata says, read by local names: prefixes and versions differ from server to server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Every port of every service.
    pub ports: Vec<PortFound>,
    /// The ids of every policy.
    pub policies: Vec<String>,
    /// Every operation.
    pub operations: Vec<OperationFound>,
    /// Types and elements whose name has `ErrorInfo` in it.
    pub error_types: Vec<TypeFound>,
    /// Where tickets come from, by the policies.
    pub issuers: Vec<String>,
}

impl Findings {
    /// Where to publish: the address of CertProv's port that takes a ticket with a proof, with its exact suffix.
    pub fn certprov_address(&self) -> Option<&str> {
        let known = |name: &str| name == "certprovisioningservicewebticketproof_sha1";
        let likely = |name: &str| name.starts_with("certprovisioningservicewebticketproof");
        best(&self.ports, |port| &port.name, [&known, &likely]).map(|port| port.address.as_str())
    }

    /// The port for number and PIN.
    pub fn pin_port(&self) -> Option<&PortFound> {
        best(&self.ports, |port| &port.name, [&|name| name == "webticketservicepin", &|name| name.contains("pin")])
    }

    /// The policy of the port for number and PIN: it says which token carries the PIN.
    pub fn pin_policy(&self) -> Option<&str> {
        let known = |name: &str| name == "webticketservicepin_policy";
        best(&self.policies, |id| id, [&known, &|name| name.contains("pin_")]).map(String::as_str)
    }

    /// The operation that gives root chains, if one is named like that.
    pub fn root_chain_operation(&self) -> Option<&OperationFound> {
        let fits = |name: &str| name.contains("root") || name.contains("chain");
        self.operations.iter().find(|operation| fits(&operation.name.to_ascii_lowercase()))
    }

    /// Takes in what a document says. One that is no XML says nothing.
    pub(super) fn read(&mut self, body: &[u8]) {
        let Some(text) = text_of(body) else { return };
        let Some(document) = parse(&text) else { return };
        for node in document.descendants().filter(Node::is_element) {
            match node.tag_name().name() {
                "port" => {
                    let address = child(node, "address").and_then(|address| address.attribute("location"));
                    if let (Some(name), Some(address)) = (node.attribute("name"), address) {
                        keep(&mut self.ports, PortFound { name: name.trim().into(), address: address.trim().into() });
                    }
                }
                "Policy" => {
                    let id = node.attributes().find(|attribute| attribute.name() == "Id");
                    keep_some(&mut self.policies, id.map(|id| id.value().to_owned()));
                }
                "operation" => self.operation(node),
                "Address" if has_parent(node, "Issuer") => {
                    let address = node.text().unwrap_or_default().trim();
                    keep_some(&mut self.issuers, Some(address.to_owned()).filter(|address| !address.is_empty()));
                }
                "complexType" | "simpleType" | "element" => {
                    let name = node.attribute("name").unwrap_or_default();
                    if name.contains("ErrorInfo") {
                        keep(&mut self.error_types, TypeFound { name: name.to_owned(), members: members(node) });
                    }
                }
                _ => {}
            }
        }
    }

    /// The same operation stands under `portType` and under each binding; either may say its action.
    fn operation(&mut self, node: Node<'_, '_>) {
        let Some(name) = node.attribute("name") else { return };
        let of_binding = child(node, "operation").and_then(|soap| soap.attribute("soapAction"));
        let of_input = child(node, "input").and_then(|input| input.attributes().find(|it| it.name() == "Action"));
        let action = of_binding.or(of_input.map(|it| it.value())).map(str::to_owned);
        match self.operations.iter_mut().find(|operation| operation.name == name) {
            Some(known) => known.action = known.action.take().or(action),
            None => keep(&mut self.operations, OperationFound { name: name.to_owned(), action }),
        }
    }
}

/// Where the document leads: `import` and `include`, by `location` and `schemaLocation`.
pub(super) fn links(base: &Url, body: &[u8]) -> Vec<Url> {
    let Some(text) = text_of(body) else { return Vec::new() };
    let Some(document) = parse(&text) else { return Vec::new() };
    let mut links = Vec::new();
    for node in document.descendants().filter(|node| matches!(node.tag_name().name(), "import" | "include")) {
        let location = node.attribute("location").or_else(|| node.attribute("schemaLocation"));
        keep_some(&mut links, location.and_then(|location| base.join(location.trim()).ok()));
    }
    links
}

fn parse(text: &str) -> Option<Document<'_>> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).ok()
}

/// UTF-8, or UTF-16 with its mark, as some servers have it.
fn text_of(body: &[u8]) -> Option<String> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units).collect::<Result<String, _>>().ok()
    };
    match body {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => Some(std::str::from_utf8(body).ok()?.trim_start_matches('\u{feff}').to_owned()),
    }
}

fn child<'a, 'd>(node: Node<'a, 'd>, local: &str) -> Option<Node<'a, 'd>> {
    node.children().find(|child| child.is_element() && child.tag_name().name() == local)
}

fn has_parent(node: Node<'_, '_>, local: &str) -> bool {
    node.parent().is_some_and(|parent| parent.tag_name().name() == local)
}

fn members(node: Node<'_, '_>) -> Vec<String> {
    let mut members = Vec::new();
    for inside in node.descendants().skip(1).filter(Node::is_element) {
        let name = inside.attribute("name").or_else(|| inside.attribute("ref")).map(str::to_owned);
        match inside.tag_name().name() {
            "element" => keep_some(&mut members, name),
            "attribute" => keep_some(&mut members, name.map(|name| format!("@{name}"))),
            _ => {}
        }
    }
    if let Some(of) = node.attribute("type") {
        members.push(format!("of type {of}"));
    }
    members
}

fn keep<T: PartialEq>(kept: &mut Vec<T>, one: T) {
    if kept.len() < MOST && !kept.contains(&one) {
        kept.push(one);
    }
}

fn keep_some<T: PartialEq>(kept: &mut Vec<T>, one: Option<T>) {
    if let Some(one) = one {
        keep(kept, one);
    }
}

/// The first with the known name, in any case, else the first with a likely one.
fn best<'a, T>(all: &'a [T], name: impl Fn(&T) -> &str, rules: [&dyn Fn(&str) -> bool; 2]) -> Option<&'a T> {
    rules.into_iter().find_map(|fits| all.iter().find(|it| fits(&name(it).to_ascii_lowercase())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WSDL: &str = r#"<w:definitions xmlns:w="http://schemas.xmlsoap.org/wsdl/" xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/"
 xmlns:p="http://schemas.xmlsoap.org/ws/2004/09/policy" xmlns:u="urn:u" xmlns:x="http://www.w3.org/2001/XMLSchema">
 <p:Policy u:Id="WebTicketServicePin_policy"/>
 <w:import location="?wsdl=wsdl0" namespace="urn:x"/>
 <w:types><x:schema><x:import schemaLocation="https://web.contoso.example/a.svc?xsd=xsd0"/>
  <x:complexType name="ErrorInfoType"><x:sequence><x:element name="ErrorId"/></x:sequence><x:attribute name="Source"/></x:complexType>
  <x:element name="ErrorInfo" type="tns:ErrorInfoType"/></x:schema></w:types>
 <w:portType name="I"><w:operation name="GetRootCertChains"/><w:operation name="Publish"><w:input u:Action="urn:P"/></w:operation></w:portType>
 <w:binding name="B"><w:operation name="GetRootCertChains"><s:operation soapAction="urn:GetRoot"/></w:operation></w:binding>
 <w:service name="S"><w:port name="CertProvisioningServiceWebTicketProof_SHA1_12"><s:address location="https://web/soap12"/></w:port>
  <w:port name="WebTicketServicePinAdmin"><s:address location="https://web/other"/></w:port>
  <w:port name="CertProvisioningServiceWebTicketProof_SHA1"><s:address location="https://web/x.svc/Proof"/></w:port>
  <w:port name="WebTicketServicePin"><s:address location="https://web/pin"/></w:port></w:service></w:definitions>"#;

    #[test]
    fn every_point_that_is_not_public_is_read_where_the_metadata_has_it() {
        let mut found = Findings::default();
        found.read(WSDL.as_bytes());
        assert_eq!(found.certprov_address(), Some("https://web/x.svc/Proof"));
        assert_eq!(found.pin_port().unwrap().address, "https://web/pin");
        assert_eq!(found.pin_policy(), Some("WebTicketServicePin_policy"));
        let operation = found.root_chain_operation().unwrap();
        assert_eq!((operation.name.as_str(), operation.action.as_deref()), ("GetRootCertChains", Some("urn:GetRoot")));
        assert_eq!(found.operations[1].action.as_deref(), Some("urn:P"));
        let types: Vec<_> = found.error_types.iter().map(|it| (it.name.as_str(), it.members.join(" "))).collect();
        let own = ("ErrorInfoType", "ErrorId @Source".to_owned());
        assert_eq!(types, [own, ("ErrorInfo", "of type tns:ErrorInfoType".to_owned())]);
        let before = found.clone();
        found.read(WSDL.as_bytes());
        assert_eq!(found, before, "the same document twice says nothing more");
    }

    #[test]
    fn links_are_resolved_against_their_document() {
        let base = Url::parse("https://web.contoso.example/CertProv/a.svc?wsdl").unwrap();
        let links: Vec<String> = links(&base, WSDL.as_bytes()).into_iter().map(String::from).collect();
        let expected =
            ["https://web.contoso.example/CertProv/a.svc?wsdl=wsdl0", "https://web.contoso.example/a.svc?xsd=xsd0"];
        assert_eq!(links, expected);
    }

    #[test]
    fn wide_text_is_read_and_a_dtd_is_not() {
        let mut wide = vec![0xff, 0xfe];
        wide.extend(WSDL.encode_utf16().flat_map(u16::to_le_bytes));
        let mut found = Findings::default();
        found.read(&wide);
        assert_eq!(found.ports.len(), 4);
        let mut nothing = Findings::default();
        nothing.read(format!("<!DOCTYPE x [<!ENTITY a \"b\">]>{WSDL}").as_bytes());
        assert_eq!(nothing, Findings::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_passed_over(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..1500) {
            let base = Url::parse("https://web/").unwrap();
            let whole = WSDL.as_bytes();
            for body in [&bytes[..], &whole[..cut.min(whole.len())]] {
                Findings::default().read(body);
                links(&base, body);
            }
        }
    }
}
