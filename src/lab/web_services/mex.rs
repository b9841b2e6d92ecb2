//! Metadata: what a client has to read to find the ports, and no more (LAB, after the published client's needs).

use super::faults::{Settings, WindowsAuth};
use super::soap::{OCS, escape};
use super::{PIN, PUBLISH, STS, STS_NTLM};

const WSDL: &str =
    "xmlns:wsdl=\"http://schemas.xmlsoap.org/wsdl/\" xmlns:soap=\"http://schemas.xmlsoap.org/wsdl/soap/\"";

/// Metadata of certificate provisioning; addresses begin with `origin` (`https://localhost:4443`).
pub(super) fn certificate_provisioning(origin: &str) -> String {
    let origin = escape(origin);
    let port = "CertProvisioningServiceWebTicketProof_SHA1";
    format!(
        r#"<wsdl:definitions name="CertProvisioningService" targetNamespace="{OCS}" {WSDL}
 xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy"
 xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
 xmlns:wsa10="http://www.w3.org/2005/08/addressing"
 xmlns:sp="http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702" xmlns:tns="{OCS}">
 <wsp:Policy wsu:Id="{port}_policy"><wsp:ExactlyOne><wsp:All>
  <sp:TransportBinding/>
  <sp:EndorsingSupportingTokens><wsp:Policy><sp:IssuedToken><sp:Issuer>
   <wsa10:Address>
    {origin}{STS}
   </wsa10:Address>
  </sp:Issuer></sp:IssuedToken></wsp:Policy></sp:EndorsingSupportingTokens>
 </wsp:All></wsp:ExactlyOne></wsp:Policy>
 <wsdl:service name="CertProvisioningService">
  <wsdl:port name="{port}" binding="tns:{port}"><soap:address location="{origin}{PUBLISH}"/></wsdl:port>
 </wsdl:service>
</wsdl:definitions>"#
    )
}

/// Metadata of the web ticket service: a port for each authentication that is switched on and served.
pub(super) fn web_ticket(origin: &str, settings: &Settings) -> String {
    let windows = match settings.windows {
        WindowsAuth::Negotiate | WindowsAuth::OnlyNtlmOffered => Some(("WebTicketServiceWinNegotiate", STS)),
        WindowsAuth::NtlmPort => Some(("WebTicketServiceWinNtlm", STS_NTLM)),
        WindowsAuth::Off => None,
    };
    let pin = settings.pin.then_some(("WebTicketServicePin", PIN));
    let origin = escape(origin);
    let ports: String = [windows, pin]
        .into_iter()
        .flatten()
        .map(|(name, path)| {
            format!(
                "  <wsdl:port name=\"{name}\" binding=\"tns:{name}\"><soap:address location=\"{origin}{path}\"/></wsdl:port>\n"
            )
        })
        .collect();
    format!(
        "<wsdl:definitions name=\"WebTicketService\" targetNamespace=\"http://tempuri.org/\" {WSDL} \
         xmlns:tns=\"http://tempuri.org/\">\n <wsdl:service name=\"WebTicketService\">\n{ports} </wsdl:service>\n\
         </wsdl:definitions>"
    )
}

/// `metadata` as a MetadataSection (WS-MetadataExchange 2004/09).
pub(super) fn wrapped(metadata: &str) -> String {
    format!(
        "<wsx:Metadata xmlns:wsx=\"http://schemas.xmlsoap.org/ws/2004/09/mex\"><wsx:MetadataSection \
         Dialect=\"http://schemas.xmlsoap.org/wsdl/\">{metadata}</wsx:MetadataSection></wsx:Metadata>"
    )
}
