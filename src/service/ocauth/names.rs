//! Names on the wire: namespaces, actions, port names. What is not public (LAB) is marked, so that a capture from a real
//! pool changes this file and no logic.

// Namespaces as real metadata uses them. Where servers differ, every spelling that is known.

/// WS-Policy: WCF's, and the W3C's final one.
pub(super) const POLICY: &[&str] = &["http://schemas.xmlsoap.org/ws/2004/09/policy", "http://www.w3.org/ns/ws-policy"];
/// WS-SecurityPolicy 1.2 and, for older bindings, 1.1 (inferred).
pub(super) const SECURITY_POLICY: &[&str] = &[
    "http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702",
    "http://schemas.xmlsoap.org/ws/2005/07/securitypolicy",
];
/// WS-Addressing 1.0, and the submission of 2004.
pub(super) const ADDRESSING: &[&str] =
    &["http://www.w3.org/2005/08/addressing", "http://schemas.xmlsoap.org/ws/2004/08/addressing"];
/// WSDL 1.1.
pub(super) const WSDL: &[&str] = &["http://schemas.xmlsoap.org/wsdl/"];
/// WSDL's SOAP binding, 1.1 and 1.2.
pub(super) const WSDL_SOAP: &[&str] =
    &["http://schemas.xmlsoap.org/wsdl/soap/", "http://schemas.xmlsoap.org/wsdl/soap12/"];

/// SOAP 1.1.
pub(super) const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// WS-Security utility.
pub(super) const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
/// WS-Security.
pub(super) const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
/// SAML 1.1.
pub(super) const SAML: &str = "urn:oasis:names:tc:SAML:1.0:assertion";
/// WS-Addressing 1.0.
pub(super) const WSA: &str = "http://www.w3.org/2005/08/addressing";
/// WS-Policy 2004/09.
pub(super) const WSP: &str = "http://schemas.xmlsoap.org/ws/2004/09/policy";
/// WS-Trust 1.3, as the web ticket service takes it.
pub(super) const WST: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512";
/// WS-Trust 1.3 as CertProv takes it: without the trailing slash the real server refuses (confirmed).
pub(super) const WST_CERTPROV: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/";
/// Authorization claims.
pub(super) const AUTH: &str = "http://schemas.xmlsoap.org/ws/2006/12/authorization";
/// [MS-WSTEP].
pub(super) const WSTEP: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment";
/// CertProv's own.
pub(super) const CERTPROV: &str = "http://schemas.microsoft.com/OCS/AuthWebServices/";

/// SOAPAction of the ticket request, [MS-OCAUTHWS] 3.2.4.1 (confirmed).
pub(super) const ACTION_ISSUE: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue";
/// SOAPAction of get-and-publish (confirmed).
pub(super) const ACTION_PUBLISH: &str = "http://schemas.microsoft.com/OCS/AuthWebServices/GetAndPublishCert";

/// CertProv's port that takes a ticket with a proof signature (confirmed).
pub(super) const PORT_CERTPROV: &str = "CertProvisioningServiceWebTicketProof_SHA1";
/// The web ticket service's Windows port that takes Negotiate or NTLM (confirmed).
pub(super) const PORT_WINDOWS: &str = "WebTicketServiceWinNegotiate";
/// Its twin for NTLM only (inferred from the cmdlet that configures it).
pub(super) const PORT_NTLM: &str = "WebTicketServiceWinNtlm";
/// The PIN port (name confirmed, message LAB).
pub(super) const PORT_PIN: &str = "WebTicketServicePin";

/// LAB: how the PIN travels. Type of the `wsse:Password` in a `wsse:UsernameToken`.
pub(super) const LAB_PIN_PASSWORD_TYPE: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText";
/// LAB: what ErrorInfo may call its number; the element's inside is not public.
pub(super) const LAB_ERROR_NUMBERS: &[&str] = &["ErrorId", "ErrorCode", "ErrorNumber", "Id", "Code", "ResponseCode"];
/// LAB: what ErrorInfo may call its text.
pub(super) const LAB_ERROR_REASONS: &[&str] = &["Reason", "ErrorReason", "Message", "MessageText", "Description"];
/// LAB: what ErrorInfo may call the server that says it.
pub(super) const LAB_ERROR_SERVERS: &[&str] = &["Source", "Server", "ServerFqdn"];
