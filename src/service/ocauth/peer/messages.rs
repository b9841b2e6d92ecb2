//! What a pool writes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

pub(in super::super) fn certprov_metadata(host: &str, ticket_host: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<wsdl:definitions name="CertProvisioningService" targetNamespace="http://schemas.microsoft.com/OCS/AuthWebServices/"
    xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy"
    xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
    xmlns:wsa10="http://www.w3.org/2005/08/addressing"
    xmlns:sp="http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702">
  <wsp:Policy wsu:Id="Other_policy"><wsp:ExactlyOne/></wsp:Policy>
  <wsp:Policy wsu:Id="CertProvisioningServiceWebTicketProof_SHA1_policy"><wsp:ExactlyOne><wsp:All>
    <sp:TransportBinding/>
    <sp:EndorsingSupportingTokens><wsp:Policy><sp:IssuedToken><sp:Issuer>
      <wsa10:Address>https://{ticket_host}/WebTicket/WebTicketService.svc</wsa10:Address>
    </sp:Issuer></sp:IssuedToken></wsp:Policy></sp:EndorsingSupportingTokens>
  </wsp:All></wsp:ExactlyOne></wsp:Policy>
  <wsdl:service name="CertProvisioningService"><wsdl:port name="CertProvisioningServiceWebTicketProof_SHA1">
    <soap:address location="https://{host}/CertProv/CertProvisioningService.svc/WebTicket_Proof_SHA1"/>
  </wsdl:port></wsdl:service>
</wsdl:definitions>"#
    )
}

pub(in super::super) fn web_ticket_metadata(host: &str) -> String {
    format!(
        r#"<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/">
  <wsdl:service name="WebTicketService">
    <wsdl:port name="WebTicketServiceWinNegotiate">
      <soap:address location="https://{host}/WebTicket/WebTicketService.svc"/></wsdl:port>
    <wsdl:port name="WebTicketServiceCert">
      <soap:address location="https://{host}/WebTicket/WebTicketService.svc/cert"/></wsdl:port>
    <wsdl:port name="WebTicketServicePin">
      <soap:address location="https://{host}/WebTicket/WebTicketService.svc/pin"/></wsdl:port>
  </wsdl:service></wsdl:definitions>"#
    )
}

/// With an assertion spelled oddly, whose prefix is declared far outside.
pub(in super::super) fn ticket_answer(user: &str, expires: &str) -> String {
    format!(
        r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:saml="urn:oasis:names:tc:SAML:1.0:assertion"
    xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"><s:Body>
  <trust:RequestSecurityTokenResponseCollection xmlns:trust="http://docs.oasis-open.org/ws-sx/ws-trust/200512">
  <trust:RequestSecurityTokenResponse Context="34d859db-6585-5f91-a3b4-de853c15347d">
    <trust:Lifetime><wsu:Created>2026-11-22T10:00:00.000Z</wsu:Created><wsu:Expires>{expires}</wsu:Expires></trust:Lifetime>
    <trust:RequestedSecurityToken><saml:Assertion  MajorVersion='1' MinorVersion="1" AssertionID="SamlSecurityToken-1">
      <saml:Conditions /><saml:AuthenticationStatement><saml:Subject>
        <saml:NameIdentifier>sip:{user}</saml:NameIdentifier>
      </saml:Subject></saml:AuthenticationStatement></saml:Assertion></trust:RequestedSecurityToken>
    <trust:RequestedProofToken><trust:ComputedKey>http://docs.oasis-open.org/ws-sx/ws-trust/200512/CK/PSHA1</trust:ComputedKey>
    </trust:RequestedProofToken>
    <trust:Entropy><trust:BinarySecret>ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=</trust:BinarySecret></trust:Entropy>
  </trust:RequestSecurityTokenResponse></trust:RequestSecurityTokenResponseCollection></s:Body></s:Envelope>"#
    )
}

pub(in super::super) fn publish_answer(certificate: &[u8]) -> String {
    let certificate = STANDARD.encode(certificate);
    format!(
        r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>
  <GetAndPublishCertResponse xmlns="http://schemas.microsoft.com/OCS/AuthWebServices/" ResponseClass="Success">
    <wst:RequestSecurityTokenResponse xmlns:wst="http://docs.oasis-open.org/ws-sx/ws-trust/200512/">
      <wst:RequestedSecurityToken><BinarySecurityToken>
        {certificate}
      </BinarySecurityToken></wst:RequestedSecurityToken>
    </wst:RequestSecurityTokenResponse>
  </GetAndPublishCertResponse></s:Body></s:Envelope>"#
    )
}

pub(in super::super) fn fault(number: u32) -> String {
    format!(
        r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode>
  <faultstring>said no</faultstring><detail>
  <OCSDiagnosticsFault xmlns="urn:component:Microsoft.Rtc.WebAuthentication.2010"><Ms-Diagnostics-Fault>
  <ErrorId>{number}</ErrorId><Reason>said no</Reason></Ms-Diagnostics-Fault></OCSDiagnosticsFault>
  </detail></s:Fault></s:Body></s:Envelope>"#
    )
}

pub(in super::super) fn error_info(number: u32) -> String {
    format!(
        r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>
  <GetAndPublishCertResponse xmlns="http://schemas.microsoft.com/OCS/AuthWebServices/" ResponseClass="Error">
  <ErrorInfo><ErrorId>{number}</ErrorId><Reason>said no</Reason></ErrorInfo></GetAndPublishCertResponse></s:Body></s:Envelope>"#
    )
}

/// For the request's key, or for a key of its own.
pub(super) fn certificate(request: Option<&[u8]>) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "alice@contoso.example");
    let own = rcgen::KeyPair::generate().unwrap();
    let Some(request) = request else { return params.self_signed(&own).unwrap().der().to_vec() };
    let (_, request) = X509CertificationRequest::from_der(request).unwrap();
    let key = rcgen::SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw).unwrap();
    let issuer = rcgen::Issuer::new(rcgen::CertificateParams::default(), own);
    params.signed_by(&key, &issuer).unwrap().der().to_vec()
}
