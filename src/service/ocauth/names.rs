//! Names on the wire: namespaces, actions, port names. What is not public is data: [`super::profile`].

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
/// Its port that takes a certificate from CertProv (confirmed).
pub(super) const PORT_CERTIFICATE: &str = "WebTicketServiceCert";

/// Types of tokens and their encoding, WSS X.509 token profile (confirmed for PKCS#10 requests, inferred for tickets).
pub(super) const X509: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3";
/// base64, as WSS 1.0 names it in its message security part.
pub(super) const BASE64: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary";
