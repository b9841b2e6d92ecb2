//! What the two services say about themselves: the metadata behind `/mex`, read by namespace and local name.
//!
//! Rules as a working client follows them (confirmed): the policy belongs to the port whose name it has with `_policy`
//! behind it; `EndorsingSupportingTokens` asks for a proof signature, `SignedSupportingTokens` alone for a bearer ticket.

use super::endorsement::EndorsementAlgorithm;
use super::names::{ADDRESSING, POLICY, PORT_CERTPROV, SECURITY_POLICY, WSDL, WSDL_SOAP, WSU};
use super::xml::{BadMessage, children_in, parse, text};
use roxmltree::{Document, Node};
use url::Url;

/// CertProv: where to publish and where tickets come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CertProv {
    /// Where GetAndPublishCert goes, and what the ticket is for.
    pub(super) location: Url,
    /// The same, letter by letter: servers compare it.
    pub(super) location_text: String,
    /// The web ticket service.
    pub(super) issuer: Url,
    /// How the ticket is used.
    pub(super) usage: TicketUse,
}

/// How a service wants its tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TicketUse {
    /// With a signature by the ticket's key.
    Proof,
    /// As it is.
    Bearer,
}

/// A port of a service: its name and address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    /// As the service spells it.
    pub(super) name: String,
    /// Where it is, as the service spells it.
    address: String,
    /// What a certificate signs with here, if the port's policy says it.
    pub(super) algorithm: Option<EndorsementAlgorithm>,
}

impl Port {
    /// Where it is. Metadata may also name ports without TLS, which are of no use here.
    pub(super) fn location(&self) -> Result<Url, MetadataError> {
        https(&self.address)
    }
}

/// Why metadata is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MetadataError {
    #[error(transparent)]
    Bad(#[from] BadMessage),
    /// A port that has to be there is not.
    #[error("no port {0}")]
    NoPort(&'static str),
    /// An address that is not https.
    #[error("the address `{0}` is not https")]
    Insecure(String),
}

/// Reads CertProv's metadata.
pub(super) fn certprov(source: &str) -> Result<CertProv, MetadataError> {
    let document = parse(source)?;
    let (port, location_text) = ports(&document)
        .find(|(port, _)| name(*port).eq_ignore_ascii_case(PORT_CERTPROV))
        .ok_or(MetadataError::NoPort(PORT_CERTPROV))?;
    let location = https(&location_text)?;
    let policy = policy(&document, port).ok_or(BadMessage::Missing("policy of the certificate provisioning port"))?;
    let tokens = [("EndorsingSupportingTokens", TicketUse::Proof), ("SignedSupportingTokens", TicketUse::Bearer)];
    let (issuer, usage) = tokens
        .into_iter()
        .find_map(|(tokens, usage)| Some((issuer(policy, tokens)?, usage)))
        .ok_or(BadMessage::Missing("address of the web ticket service"))?;
    Ok(CertProv { location, location_text, issuer: https(&issuer)?, usage })
}

/// Reads the ports of the web ticket service.
pub(super) fn web_ticket(source: &str) -> Result<Vec<Port>, MetadataError> {
    let document = parse(source)?;
    let ports: Vec<_> = ports(&document).collect();
    if ports.is_empty() {
        return Err(BadMessage::Missing("service port").into());
    }
    let read =
        |(port, address)| Port { name: name(port), address, algorithm: policy(&document, port).and_then(algorithm) };
    Ok(ports.into_iter().map(read).collect())
}

/// `wsdl:definitions`, wherever it stands: as the root or inside a `wsx:Metadata`.
fn definitions<'a, 'd>(document: &'a Document<'d>) -> impl Iterator<Item = Node<'a, 'd>> {
    document.descendants().filter(|node| is_in(*node, WSDL, "definitions"))
}

/// Every port of a service, with its address.
fn ports<'a, 'd>(document: &'a Document<'d>) -> impl Iterator<Item = (Node<'a, 'd>, String)> {
    definitions(document)
        .flat_map(|d| children_in(d, WSDL, "service"))
        .flat_map(|service| children_in(service, WSDL, "port"))
        .filter_map(|port| {
            let address = children_in(port, WSDL_SOAP, "address").next()?.attribute("location")?;
            (!name(port).is_empty()).then(|| (port, address.trim().to_owned()))
        })
}

fn name(node: Node<'_, '_>) -> String {
    node.attribute("name").unwrap_or_default().trim().to_owned()
}

/// The policy of a port: the one with the port's name and `_policy` (confirmed), else the one that its binding refers to.
fn policy<'a, 'd>(document: &'a Document<'d>, port: Node<'a, 'd>) -> Option<Node<'a, 'd>> {
    let find = |id: &str| {
        let mut policies = document.descendants().filter(|node| is_in(*node, POLICY, "Policy"));
        policies.find(|policy| policy.attribute((WSU, "Id")).is_some_and(|own| own.trim().eq_ignore_ascii_case(id)))
    };
    let named = find(&format!("{}_policy", name(port)));
    named.or_else(|| {
        let binding = port.attribute("binding")?.rsplit(':').next()?;
        let binding = definitions(document)
            .flat_map(|d| children_in(d, WSDL, "binding"))
            .find(|found| name(*found) == binding.trim())?;
        let reference = children_in(binding, POLICY, "PolicyReference").next()?.attribute("URI")?;
        find(reference.trim().strip_prefix('#')?)
    })
}

/// `<tokens>/…/IssuedToken/Issuer/Address`, through alternatives and nested policies: the first that fits.
fn issuer(policy: Node<'_, '_>, tokens: &'static str) -> Option<String> {
    policy
        .descendants()
        .filter(|node| is_in(*node, SECURITY_POLICY, tokens))
        .flat_map(|tokens| tokens.descendants().filter(|node| is_in(*node, SECURITY_POLICY, "IssuedToken")))
        .flat_map(|token| children_in(token, SECURITY_POLICY, "Issuer"))
        .flat_map(|issuer| children_in(issuer, ADDRESSING, "Address"))
        .map(text)
        .find(|address| !address.is_empty())
}

/// `AlgorithmSuite/Policy/<suite>`: the suites named `…Sha256…` sign and digest with SHA-256, the others with SHA-1
/// (WS-SecurityPolicy 1.2 section 6.1).
fn algorithm(policy: Node<'_, '_>) -> Option<EndorsementAlgorithm> {
    let suite = policy.descendants().find(|node| is_in(*node, SECURITY_POLICY, "AlgorithmSuite"))?;
    let inside = children_in(suite, POLICY, "Policy").next()?;
    let suite = inside.children().find(|child| child.is_element())?.tag_name().name();
    Some(match suite.contains("Sha256") {
        true => EndorsementAlgorithm::RsaSha256,
        false => EndorsementAlgorithm::RsaSha1,
    })
}

fn is_in(node: Node<'_, '_>, namespaces: &[&str], local: &str) -> bool {
    let tag = node.tag_name();
    node.is_element() && tag.name() == local && tag.namespace().is_some_and(|ns| namespaces.contains(&ns))
}

fn https(address: &str) -> Result<Url, MetadataError> {
    match Url::parse(address) {
        Ok(url) if url.scheme() == "https" && url.has_host() && url.username().is_empty() => Ok(url),
        _ => Err(MetadataError::Insecure(address.escape_default().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::messages::{certprov_metadata, web_ticket_metadata};
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "web.contoso.example";

    #[test]
    fn certprov_names_where_to_publish_and_where_tickets_come_from() {
        let read = certprov(&certprov_metadata(HOST, HOST)).unwrap();
        assert_eq!(read.issuer.as_str(), "https://web.contoso.example/WebTicket/WebTicketService.svc");
        assert!(read.location_text.ends_with("/WebTicket_Proof_SHA1"));
        assert_eq!(read.usage, TicketUse::Proof);
    }

    #[test]
    fn prefixes_wrapper_white_space_and_the_case_of_the_policy_id_do_not_count() {
        let plain = certprov_metadata(HOST, HOST);
        let body = plain.split_once("?>").unwrap().1;
        let other = format!(
            "<wsx:Metadata xmlns:wsx=\"http://schemas.xmlsoap.org/ws/2004/09/mex\"><wsx:MetadataSection>{body}\
             </wsx:MetadataSection></wsx:Metadata>"
        )
        .replace("wsdl:", "w:")
        .replace(":wsdl=", ":w=")
        .replace("wsp:", "p:")
        .replace(":wsp=", ":p=")
        .replace("_SHA1_policy", "_sha1_POLICY")
        .replace("Address>https", "Address>\n   https");
        assert_eq!(certprov(&other), certprov(&plain));
    }

    #[test]
    fn signed_supporting_tokens_alone_ask_for_a_bearer_ticket() {
        let bearer = certprov_metadata(HOST, HOST).replace("EndorsingSupporting", "SignedSupporting");
        assert_eq!(certprov(&bearer).unwrap().usage, TicketUse::Bearer);
    }

    #[test]
    fn a_policy_of_another_namespace_a_missing_port_and_plain_http_are_refused() {
        let plain = certprov_metadata(HOST, HOST);
        assert!(certprov(&plain.replace("2004/09/policy", "other")).is_err());
        assert_eq!(
            certprov(&plain.replace("name=\"CertProvisioningServiceWebTicketProof_SHA1\"", "name=\"X\"")),
            Err(MetadataError::NoPort(PORT_CERTPROV))
        );
        let insecure = plain.replace("https://web.contoso.example/WebTicket", "http://web.contoso.example/WebTicket");
        assert!(matches!(certprov(&insecure), Err(MetadataError::Insecure(_))));
    }

    #[test]
    fn the_web_ticket_service_lists_its_ports() {
        let ports = web_ticket(&web_ticket_metadata(HOST)).unwrap();
        let names: Vec<_> = ports.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["WebTicketServiceWinNegotiate", "WebTicketServiceCert", "WebTicketServicePin"]);
    }

    #[test]
    fn a_port_without_tls_is_no_obstacle_to_the_others() {
        let all = web_ticket_metadata(HOST);
        let mixed = all.replace("https://web.contoso.example/WebTicket/WebTicketService.svc/pin", "http://web/pin");
        let ports = web_ticket(&mixed).unwrap();
        let secure: Vec<_> =
            ports.iter().filter(|port| port.location().is_ok()).map(|port| port.name.as_str()).collect();
        assert!(secure.contains(&"WebTicketServiceWinNegotiate") && !secure.contains(&"WebTicketServicePin"));
    }

    #[test]
    fn a_policy_without_wrapping_and_one_that_the_binding_refers_to_are_found() {
        let plain = certprov_metadata(HOST, HOST);
        let bare = plain.replace("<wsp:ExactlyOne><wsp:All>", "").replace("</wsp:All></wsp:ExactlyOne>", "");
        assert_eq!(certprov(&bare), certprov(&plain));
        let referred = plain.replace("Id=\"CertProvisioningServiceWebTicketProof_SHA1_policy", "Id=\"P7").replace(
            "<wsdl:service",
            "<wsdl:binding name=\"B\"><wsp:PolicyReference URI=\"#P7\"/></wsdl:binding><wsdl:service",
        );
        assert!(certprov(&referred).is_err());
        let referred = referred.replace("<wsdl:port ", "<wsdl:port binding=\"tns:B\" ");
        assert_eq!(certprov(&referred), certprov(&plain));
    }

    #[test]
    fn the_algorithm_of_a_port_is_that_of_its_suite() {
        let with = |suite: &str| {
            let policy = format!(
                "<wsp:Policy xmlns:wsp=\"{}\" xmlns:sp=\"{}\" xmlns:wsu=\"{WSU}\" wsu:Id=\"WebTicketServiceCert_policy\">\
                 <sp:TransportBinding><wsp:Policy><sp:AlgorithmSuite><wsp:Policy><sp:{suite}/></wsp:Policy>\
                 </sp:AlgorithmSuite></wsp:Policy></sp:TransportBinding></wsp:Policy>",
                POLICY[0], SECURITY_POLICY[0]
            );
            let all = web_ticket_metadata(HOST).replace("<wsdl:service", &format!("{policy}<wsdl:service"));
            let ports = web_ticket(&all).unwrap();
            ports.iter().find(|port| port.name == "WebTicketServiceCert").unwrap().algorithm
        };
        assert_eq!(with("Basic256"), Some(EndorsementAlgorithm::RsaSha1));
        assert_eq!(with("Basic256Sha256"), Some(EndorsementAlgorithm::RsaSha256));
        let silent = web_ticket(&web_ticket_metadata(HOST)).unwrap();
        assert!(silent.iter().all(|port| port.algorithm.is_none()));
    }

    proptest! {
        #[test]
        fn mutated_metadata_is_read_or_refused(at in 0usize..1800, byte in any::<u8>(), cut in 0usize..1800) {
            let mut bytes = certprov_metadata(HOST, HOST).into_bytes();
            if let Some(place) = bytes.get_mut(at) { *place = byte; }
            let _ = certprov(&String::from_utf8_lossy(&bytes));
            let _ = web_ticket(&String::from_utf8_lossy(&bytes));
            bytes.truncate(cut);
            let _ = certprov(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,300}") {
            let _ = certprov(&text);
            let _ = web_ticket(&text);
        }
    }
}
