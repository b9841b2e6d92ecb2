//! WSDL and XSD in the parts in which WCF serves them: `?wsdl`, `?wsdl=wsdl0`, `?singleWsdl`, `?xsd=xsd0`. LAB.

use super::faults::Settings;
use super::mex::{self, Described};
use super::soap::{OCS, WST_SLASH};

/// The document at a service's address with this query; `None`: 404.
pub(super) fn part(
    service: Described,
    query: &str,
    origin: &str,
    address: &str,
    settings: &Settings,
) -> Option<String> {
    let query = query.to_ascii_lowercase();
    let part = |name: &str| format!("{address}?{name}");
    Some(match query.as_str() {
        "wsdl" => mex::with_import(service, origin, settings, &part("wsdl=wsdl0")),
        "wsdl=wsdl0" => {
            let types = format!(
                " <wsdl:types><xsd:schema targetNamespace=\"{0}Imports\"><xsd:import schemaLocation=\"{1}\" \
                 namespace=\"{0}\"/></xsd:schema></wsdl:types>\n",
                service.namespace(),
                part("xsd=xsd0")
            );
            mex::definitions(service, "", &types, &operations(service))
        }
        "singlewsdl" => mex::document(service, origin, settings),
        "xsd=xsd0" => schema(service),
        _ => return None,
    })
}

/// The types, in place.
pub(super) fn types(service: Described) -> String {
    format!(" <wsdl:types>{}</wsdl:types>\n", schema(service))
}

/// The messages and the port type.
pub(super) fn operations(service: Described) -> String {
    match service {
        Described::CertProv => format!(
            "{}{}",
            messages("GetAndPublishCert", "GetRootCertChains"),
            port_type(
                "CertProvisioningService",
                &[
                    ("GetAndPublishCert", &format!("{OCS}GetAndPublishCert")),
                    ("GetRootCertChains", &format!("{OCS}GetRootCertChains")),
                ]
            )
        ),
        Described::WebTicket => {
            let issue = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue";
            let message = |name: &str| {
                format!(
                    " <wsdl:message name=\"{name}\"><wsdl:part name=\"body\" type=\"xsd:anyType\"/></wsdl:message>\n"
                )
            };
            let messages = message("IssueTokenMsg") + &message("IssueTokenResponseMsg");
            messages + &port_type("IWebTicketService", &[("IssueToken", issue)])
        }
    }
}

fn messages(first: &str, second: &str) -> String {
    let message = |name: &str, element: &str| {
        format!(
            " <wsdl:message name=\"{name}Msg\"><wsdl:part name=\"body\" element=\"tns:{element}\"/></wsdl:message>\n"
        )
    };
    let pair = |name: &str| {
        let response = format!("{name}Response");
        message(name, name) + &message(&response, &response)
    };
    pair(first) + &pair(second)
}

fn port_type(name: &str, operations: &[(&str, &str)]) -> String {
    let operation = |(name, action): &(&str, &str)| {
        format!(
            "  <wsdl:operation name=\"{name}\"><wsdl:input wsaw:Action=\"{action}\" message=\"tns:{name}Msg\"/>\
             <wsdl:output message=\"tns:{name}ResponseMsg\"/></wsdl:operation>\n"
        )
    };
    let operations: String = operations.iter().map(operation).collect();
    format!(" <wsdl:portType name=\"{name}\">\n{operations} </wsdl:portType>\n")
}

/// The schema of a service's messages. The inside of `ErrorInfo` is LAB.
fn schema(service: Described) -> String {
    let namespace = service.namespace();
    let head = format!(
        "<xsd:schema xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:tns=\"{namespace}\" \
         targetNamespace=\"{namespace}\" elementFormDefault=\"qualified\">"
    );
    let body = match service {
        Described::WebTicket => String::new(),
        Described::CertProv => format!(
            "<xsd:element name=\"GetAndPublishCert\"><xsd:complexType><xsd:sequence>\
             <xsd:any namespace=\"{WST_SLASH}\" processContents=\"lax\"/></xsd:sequence>\
             <xsd:attribute name=\"DeviceId\" type=\"xsd:string\"/><xsd:attribute name=\"Entity\" type=\"xsd:string\"/>\
             </xsd:complexType></xsd:element>\
             <xsd:complexType name=\"ErrorInfo\"><xsd:sequence><xsd:element name=\"ErrorId\" type=\"xsd:positiveInteger\"/>\
             <xsd:element name=\"Reason\" type=\"xsd:string\"/></xsd:sequence></xsd:complexType>\
             <xsd:element name=\"GetAndPublishCertResponse\"><xsd:complexType><xsd:choice>\
             <xsd:element name=\"ErrorInfo\" type=\"tns:ErrorInfo\"/>\
             <xsd:any namespace=\"{WST_SLASH}\" processContents=\"lax\"/></xsd:choice>\
             <xsd:attribute name=\"DeviceId\" type=\"xsd:string\"/><xsd:attribute name=\"Entity\" type=\"xsd:string\"/>\
             <xsd:attribute name=\"ResponseClass\" type=\"xsd:string\"/></xsd:complexType></xsd:element>\
             <xsd:element name=\"GetRootCertChains\"><xsd:complexType/></xsd:element>\
             <xsd:element name=\"GetRootCertChainsResponse\"><xsd:complexType><xsd:sequence>\
             <xsd:any namespace=\"##other\" processContents=\"lax\" maxOccurs=\"unbounded\"/></xsd:sequence>\
             <xsd:attribute name=\"ResponseClass\" type=\"xsd:string\"/></xsd:complexType></xsd:element>"
        ),
    };
    format!("{head}{body}</xsd:schema>")
}
