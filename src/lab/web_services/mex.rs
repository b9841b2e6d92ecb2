//! Metadata: a document for each service, complete in itself, as `/mex` and `?singleWsdl` give it. LAB, after what the
//! published client reads and after what WCF writes around it.

use super::faults::{Settings, Suite, WindowsAuth};
use super::soap::{OCS, escape};
use super::wsdl;
use super::{CERT, PIN, PUBLISH, STS, STS_NTLM};

const NAMESPACES: &str = concat!(
    "xmlns:wsdl=\"http://schemas.xmlsoap.org/wsdl/\" xmlns:soap=\"http://schemas.xmlsoap.org/wsdl/soap/\" ",
    "xmlns:wsp=\"http://schemas.xmlsoap.org/ws/2004/09/policy\" ",
    "xmlns:wsu=\"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd\" ",
    "xmlns:wsa10=\"http://www.w3.org/2005/08/addressing\" ",
    "xmlns:wsaw=\"http://www.w3.org/2006/05/addressing/wsdl\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" ",
    "xmlns:sp=\"http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702\""
);
const TEMPURI: &str = "http://tempuri.org/";

/// A port of a service.
pub(super) struct Port {
    pub(super) name: &'static str,
    path: &'static str,
    /// What stands in its policy.
    policy: String,
}

/// The two services that have metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Described {
    CertProv,
    WebTicket,
}

impl Described {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CertProv => "CertProvisioningService",
            Self::WebTicket => "WebTicketService",
        }
    }

    pub(super) fn namespace(self) -> &'static str {
        match self {
            Self::CertProv => OCS,
            Self::WebTicket => TEMPURI,
        }
    }

    /// The ports that are switched on.
    pub(super) fn ports(self, origin: &str, settings: &Settings) -> Vec<Port> {
        match self {
            Self::CertProv => vec![Port {
                name: "CertProvisioningServiceWebTicketProof_SHA1",
                path: PUBLISH,
                policy: issued_token(origin),
            }],
            Self::WebTicket => web_ticket_ports(settings),
        }
    }
}

/// One whole document; addresses begin with `origin` (`https://localhost:4443`).
pub(super) fn document(service: Described, origin: &str, settings: &Settings) -> String {
    let origin = escape(origin).into_owned();
    let ports = service.ports(&origin, settings);
    let inside = format!("{}{}", wsdl::types(service), wsdl::operations(service));
    definitions(
        service,
        &policies(&ports),
        &inside,
        &format!("{}{}", bindings(&ports), described(service, &origin, &ports)),
    )
}

/// The document of `?wsdl`: policies, bindings and addresses; the rest is imported from `import`.
pub(super) fn with_import(service: Described, origin: &str, settings: &Settings, import: &str) -> String {
    let origin = escape(origin).into_owned();
    let ports = service.ports(&origin, settings);
    let import = format!(" <wsdl:import namespace=\"{}\" location=\"{}\"/>\n", service.namespace(), escape(import));
    let rest = format!("{}{}", bindings(&ports), described(service, &origin, &ports));
    definitions(service, &policies(&ports), &import, &rest)
}

/// A document with these parts.
pub(super) fn definitions(service: Described, policies: &str, before: &str, after: &str) -> String {
    let (name, namespace) = (service.name(), service.namespace());
    format!(
        "<wsdl:definitions name=\"{name}\" targetNamespace=\"{namespace}\" {NAMESPACES} xmlns:tns=\"{namespace}\">\n\
         {policies}{before}{after}</wsdl:definitions>"
    )
}

/// `metadata` as a MetadataSection (WS-MetadataExchange 2004/09), with blanks around its addresses.
pub(super) fn wrapped(metadata: &str) -> String {
    let metadata = metadata.replace("<wsa10:Address>", "<wsa10:Address>\n    ");
    let metadata = metadata.replace("</wsa10:Address>", "\n   </wsa10:Address>");
    format!(
        "<wsx:Metadata xmlns:wsx=\"http://schemas.xmlsoap.org/ws/2004/09/mex\"><wsx:MetadataSection \
         Dialect=\"http://schemas.xmlsoap.org/wsdl/\">{metadata}</wsx:MetadataSection></wsx:Metadata>"
    )
}

fn web_ticket_ports(settings: &Settings) -> Vec<Port> {
    let windows = match settings.windows {
        WindowsAuth::Negotiate | WindowsAuth::OnlyNtlmOffered => Some(("WebTicketServiceWinNegotiate", STS)),
        WindowsAuth::NtlmPort => Some(("WebTicketServiceWinNtlm", STS_NTLM)),
        WindowsAuth::Off => None,
    };
    let windows = windows.map(|(name, path)| Port { name, path, policy: transport("Basic256", "") });
    let suite = match settings.suite {
        Suite::Basic256 => "Basic256",
        Suite::Basic256Sha256 => "Basic256Sha256",
    };
    let certificate = settings.certificate.then(|| Port {
        name: "WebTicketServiceCert",
        path: CERT,
        policy: transport(
            suite,
            "<sp:EndorsingSupportingTokens><wsp:Policy><sp:X509Token \
             sp:IncludeToken=\"http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702/IncludeToken/AlwaysToRecipient\">\
             <wsp:Policy><sp:WssX509V3Token10/></wsp:Policy></sp:X509Token></wsp:Policy></sp:EndorsingSupportingTokens>",
        ),
    });
    let pin = settings.pin.then(|| Port {
        name: "WebTicketServicePin",
        path: PIN,
        policy: transport(
            "Basic256",
            "<sp:SignedSupportingTokens><wsp:Policy><sp:UsernameToken><wsp:Policy><sp:WssUsernameToken10/></wsp:Policy>\
             </sp:UsernameToken></wsp:Policy></sp:SignedSupportingTokens>",
        ),
    });
    [windows, certificate, pin].into_iter().flatten().collect()
}

/// The policy by which a client finds the web ticket service.
fn issued_token(origin: &str) -> String {
    transport(
        "Basic256",
        &format!(
            "<sp:EndorsingSupportingTokens><wsp:Policy><sp:IssuedToken><sp:Issuer>\n\
             <wsa10:Address>{origin}{STS}</wsa10:Address>\n\
             </sp:Issuer></sp:IssuedToken></wsp:Policy></sp:EndorsingSupportingTokens>"
        ),
    )
}

fn transport(suite: &str, tokens: &str) -> String {
    format!(
        "<sp:TransportBinding><wsp:Policy><sp:TransportToken><wsp:Policy><sp:HttpsToken/></wsp:Policy>\
         </sp:TransportToken><sp:AlgorithmSuite><wsp:Policy><sp:{suite}/></wsp:Policy></sp:AlgorithmSuite>\
         <sp:IncludeTimestamp/></wsp:Policy></sp:TransportBinding>{tokens}"
    )
}

fn policies(ports: &[Port]) -> String {
    let policy = |port: &Port| {
        format!(
            " <wsp:Policy wsu:Id=\"{}_policy\"><wsp:ExactlyOne><wsp:All>{}</wsp:All></wsp:ExactlyOne></wsp:Policy>\n",
            port.name, port.policy
        )
    };
    ports.iter().map(policy).collect()
}

fn bindings(ports: &[Port]) -> String {
    let binding = |port: &Port| {
        let name = port.name;
        format!(
            " <wsdl:binding name=\"{name}\" type=\"tns:{}\"><wsp:PolicyReference URI=\"#{name}_policy\"/>\
             <soap:binding transport=\"http://schemas.xmlsoap.org/soap/http\"/></wsdl:binding>\n",
            if port.path == PUBLISH { "CertProvisioningService" } else { "IWebTicketService" }
        )
    };
    ports.iter().map(binding).collect()
}

fn described(service: Described, origin: &str, ports: &[Port]) -> String {
    let port = |port: &Port| {
        let name = port.name;
        format!(
            "  <wsdl:port name=\"{name}\" binding=\"tns:{name}\"><soap:address location=\"{origin}{}\"/></wsdl:port>\n",
            port.path
        )
    };
    let ports: String = ports.iter().map(port).collect();
    format!(" <wsdl:service name=\"{}\">\n{ports} </wsdl:service>\n", service.name())
}
