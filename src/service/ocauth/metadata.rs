//! What the two services say about themselves: the metadata behind `/mex`, read by namespace and local name.
//!
//! Rules as a working client follows them (confirmed): the policy belongs to the port whose name it has with `_policy`
//! behind it; `EndorsingSupportingTokens` asks for a proof signature, `SignedSupportingTokens` alone for a bearer ticket.

use super::names::{ADDRESSING, POLICY, PORT_CERTPROV, SECURITY_POLICY, WSDL, WSDL_SOAP, WSU};
use super::xml::{BadMessage, children_in, parse, text, text_of};
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
    /// Where it is.
    pub(super) location: Url,
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
pub(super) fn certprov(bytes: &[u8]) -> Result<CertProv, MetadataError> {
    let document = parse(text_of(bytes)?)?;
    let (name, location_text) = ports(&document)
        .find(|(name, _)| name.eq_ignore_ascii_case(PORT_CERTPROV))
        .ok_or(MetadataError::NoPort(PORT_CERTPROV))?;
    let location = https(&location_text)?;
    let policy_id = format!("{name}_policy");
    let policy = definitions(&document)
        .flat_map(|d| children_in(d, POLICY, "Policy"))
        .find(|policy| policy.attribute((WSU, "Id")).is_some_and(|id| id.eq_ignore_ascii_case(&policy_id)))
        .ok_or(BadMessage::Missing("policy of the certificate provisioning port"))?;
    let tokens = [("EndorsingSupportingTokens", TicketUse::Proof), ("SignedSupportingTokens", TicketUse::Bearer)];
    let (issuer, usage) = tokens
        .into_iter()
        .find_map(|(tokens, usage)| Some((issuer(policy, tokens)?, usage)))
        .ok_or(BadMessage::Missing("address of the web ticket service"))?;
    Ok(CertProv { location, location_text, issuer: https(&issuer)?, usage })
}

/// Reads the ports of the web ticket service.
pub(super) fn web_ticket(bytes: &[u8]) -> Result<Vec<Port>, MetadataError> {
    let document = parse(text_of(bytes)?)?;
    let ports: Vec<_> = ports(&document).collect();
    if ports.is_empty() {
        return Err(BadMessage::Missing("service port").into());
    }
    ports.into_iter().map(|(name, location)| Ok(Port { name, location: https(&location)? })).collect()
}

/// `wsdl:definitions`, wherever it stands: as the root or inside a `wsx:Metadata`.
fn definitions<'a, 'd>(document: &'a Document<'d>) -> impl Iterator<Item = Node<'a, 'd>> {
    document.descendants().filter(|n| {
        n.is_element()
            && n.tag_name().name() == "definitions"
            && n.tag_name().namespace().is_some_and(|ns| WSDL.contains(&ns))
    })
}

/// Name and address of every port.
fn ports<'a>(document: &'a Document<'_>) -> impl Iterator<Item = (String, String)> + 'a {
    definitions(document)
        .flat_map(|d| children_in(d, WSDL, "service"))
        .flat_map(|service| children_in(service, WSDL, "port"))
        .filter_map(|port| {
            let address = children_in(port, WSDL_SOAP, "address").next()?;
            Some((port.attribute("name")?.trim().to_owned(), address.attribute("location")?.trim().to_owned()))
        })
}

/// `ExactlyOne/All/<tokens>/Policy/IssuedToken/Issuer/Address`. A policy may offer alternatives: the first that fits.
fn issuer(policy: Node<'_, '_>, tokens: &'static str) -> Option<String> {
    children_in(policy, POLICY, "ExactlyOne")
        .flat_map(|n| children_in(n, POLICY, "All"))
        .flat_map(|n| children_in(n, SECURITY_POLICY, tokens))
        .flat_map(|n| children_in(n, POLICY, "Policy"))
        .flat_map(|n| children_in(n, SECURITY_POLICY, "IssuedToken"))
        .flat_map(|n| children_in(n, SECURITY_POLICY, "Issuer"))
        .flat_map(|n| children_in(n, ADDRESSING, "Address"))
        .map(text)
        .find(|address| !address.is_empty())
}

fn https(address: &str) -> Result<Url, MetadataError> {
    match Url::parse(address) {
        Ok(url) if url.scheme() == "https" && url.has_host() && url.username().is_empty() => Ok(url),
        _ => Err(MetadataError::Insecure(address.escape_default().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::{certprov_metadata, web_ticket_metadata};
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "web.contoso.example";

    #[test]
    fn certprov_names_where_to_publish_and_where_tickets_come_from() {
        let read = certprov(certprov_metadata(HOST, HOST).as_bytes()).unwrap();
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
        assert_eq!(certprov(other.as_bytes()), certprov(plain.as_bytes()));
    }

    #[test]
    fn signed_supporting_tokens_alone_ask_for_a_bearer_ticket() {
        let bearer = certprov_metadata(HOST, HOST).replace("EndorsingSupporting", "SignedSupporting");
        assert_eq!(certprov(bearer.as_bytes()).unwrap().usage, TicketUse::Bearer);
    }

    #[test]
    fn a_policy_of_another_namespace_a_missing_port_and_plain_http_are_refused() {
        let plain = certprov_metadata(HOST, HOST);
        assert!(certprov(plain.replace("2004/09/policy", "other").as_bytes()).is_err());
        assert_eq!(
            certprov(plain.replace("name=\"CertProvisioningServiceWebTicketProof_SHA1\"", "name=\"X\"").as_bytes()),
            Err(MetadataError::NoPort(PORT_CERTPROV))
        );
        let insecure = plain.replace("https://web.contoso.example/WebTicket", "http://web.contoso.example/WebTicket");
        assert!(matches!(certprov(insecure.as_bytes()), Err(MetadataError::Insecure(_))));
    }

    #[test]
    fn the_web_ticket_service_lists_its_ports() {
        let ports = web_ticket(web_ticket_metadata(HOST).as_bytes()).unwrap();
        let names: Vec<_> = ports.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["WebTicketServiceWinNegotiate", "WebTicketServicePin"]);
    }

    proptest! {
        #[test]
        fn mutated_metadata_is_read_or_refused(at in 0usize..1800, byte in any::<u8>(), cut in 0usize..1800) {
            let mut bytes = certprov_metadata(HOST, HOST).into_bytes();
            if let Some(place) = bytes.get_mut(at) { *place = byte; }
            let _ = certprov(&bytes);
            let _ = web_ticket(&bytes);
            bytes.truncate(cut);
            let _ = certprov(&bytes);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = certprov(&bytes);
            let _ = web_ticket(&bytes);
        }
    }
}
