//! The other end of the wire for this module's tests: HTTPS on loopback with NTLM by sspi's server side. It believes
//! every ticket; the lab is the one that checks them.

use crate::tls::fixture::{Authority, Sends};
use crate::tls::{Resolve, Trust};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sspi::{
    AuthIdentity, AuthIdentityBuffers, BufferType, CredentialUse, DataRepresentation, Ntlm, SecurityBuffer,
    SecurityStatus, ServerRequestFlags, Sspi, SspiImpl, Username,
};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

pub(super) const HOST: &str = "web.contoso.example";
pub(super) const PASSWORD: &str = "correct horse";
pub(super) const PIN: &str = "0712";

/// What happens to a request to publish.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Publishing {
    Issue,
    IssueForAnotherKey,
    ErrorInfo(u32),
    Fault(u32),
    HangUp,
    Garbage,
    BadGateway,
    Endless,
}

/// The service's behaviour.
pub(super) struct Service {
    pub(super) ticket_host: &'static str,
    pub(super) schemes: &'static [&'static str],
    pub(super) publishing: Publishing,
    pub(super) expires: &'static str,
    pub(super) named: &'static str,
    pub(super) pin_offered: bool,
    /// Closes the connection instead of answering the request with this number, from 1.
    pub(super) hang_up_at: Option<usize>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            ticket_host: HOST,
            schemes: &["Negotiate", "NTLM"],
            publishing: Publishing::Issue,
            expires: "2090-11-22T18:00:00.000Z",
            named: "alice@contoso.example",
            pin_offered: true,
            hang_up_at: None,
        }
    }
}

/// A running server.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) authority: Authority,
    /// Method, path, cookie and authorization scheme of every request, in order.
    pub(super) requests: Arc<Mutex<Vec<String>>>,
    /// Cuts the connections that are open now.
    pub(super) cut: Arc<Notify>,
}

impl Peer {
    pub(super) async fn start(service: Service) -> Self {
        let authority = Authority::new();
        let config = authority.server(&[HOST, "sts.fabrikam.example"], Sends::Everything, None);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let service = Arc::new(service);
        let log = requests.clone();
        let cut = Arc::new(Notify::new());
        let cutting = cut.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, service, log) = (TlsAcceptor::from(config.clone()), service.clone(), log.clone());
                let cut = cutting.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let connection = Arc::new(Mutex::new(Connection::default()));
                    let answer = service_fn(move |request: Request<Incoming>| {
                        let (service, log, connection) = (service.clone(), log.clone(), connection.clone());
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await.unwrap().to_bytes();
                            let number = {
                                let text = |name| head.headers.get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
                                let scheme = text("authorization").split(' ').next().unwrap_or_default().to_owned();
                                let line = format!("{} {} {} {scheme}", head.method, head.uri.path(), text("cookie"));
                                let mut log = log.lock().unwrap();
                                log.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
                                log.len()
                            };
                            if service.hang_up_at == Some(number) {
                                return Err("hang up");
                            }
                            service.answer(&mut connection.lock().unwrap(), &head, &body)
                        }
                    });
                    let server = hyper::server::conn::http1::Builder::new();
                    tokio::select! {
                        _ = server.serve_connection(TokioIo::new(stream), answer) => {}
                        () = cut.notified() => {}
                    }
                });
            }
        });
        Self { address, authority, requests, cut }
    }

    pub(super) fn trust(&self) -> Trust {
        let mut trust = Trust::only_given();
        trust.add_der("lab", &self.authority.root_der()).unwrap();
        trust
    }

    pub(super) fn resolve(&self) -> Vec<Resolve> {
        let at = |host: &str| Resolve { host: host.to_owned(), port: 443, address: self.address };
        vec![at(HOST), at("sts.fabrikam.example")]
    }

    pub(super) fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

/// NTLM's state belongs to the connection.
#[derive(Default)]
struct Connection {
    ntlm: Option<(Ntlm, Option<AuthIdentityBuffers>)>,
    signed_in: bool,
}

impl Connection {
    /// The answer to a token: a challenge, or nothing when signed in, or a refusal.
    fn accept(&mut self, token: &[u8]) -> Result<Option<Vec<u8>>, ()> {
        if self.ntlm.is_none() {
            let username = Username::parse("CONTOSO\\alice").unwrap();
            let identity = AuthIdentity { username, password: PASSWORD.to_owned().into() };
            let mut ntlm = Ntlm::new();
            let acquired = ntlm
                .acquire_credentials_handle()
                .with_credential_use(CredentialUse::Inbound)
                .with_auth_data(&identity)
                .execute(&mut ntlm)
                .unwrap();
            self.ntlm = Some((ntlm, acquired.credentials_handle));
        }
        let (ntlm, credential) = self.ntlm.as_mut().unwrap();
        let mut input = vec![SecurityBuffer::new(token.to_vec(), BufferType::Token)];
        let mut output = vec![SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let builder = ntlm
            .accept_security_context()
            .with_credentials_handle(credential)
            .with_context_requirements(ServerRequestFlags::ALLOCATE_MEMORY)
            .with_target_data_representation(DataRepresentation::Native)
            .with_input(&mut input)
            .with_output(&mut output);
        let result = ntlm.accept_security_context_impl(builder).map_err(drop)?.resolve_to_result().map_err(drop)?;
        if result.status == SecurityStatus::ContinueNeeded {
            return Ok(Some(output.remove(0).buffer));
        }
        ntlm.complete_auth_token(&mut output).map_err(drop)?;
        self.signed_in = true;
        Ok(None)
    }
}

type Reply = Result<Response<Full<Bytes>>, &'static str>;

impl Service {
    fn answer(&self, connection: &mut Connection, head: &hyper::http::request::Parts, body: &[u8]) -> Reply {
        let body = std::str::from_utf8(body).unwrap();
        let path = head.uri.path();
        if path.ends_with("CertProvisioningService.svc/mex") {
            return reply(200, &[("Set-Cookie", "pin=fe01; path=/")], certprov_metadata(HOST, self.ticket_host));
        }
        if path.ends_with("WebTicketService.svc/mex") {
            let all = web_ticket_metadata(self.ticket_host);
            return reply(200, &[], if self.pin_offered { all } else { all.replace("WebTicketServicePin", "Other") });
        }
        if path.ends_with("/pin") {
            if !body.contains(&format!(">{PIN}<")) || !body.contains("<wsse:Username>12065551219<") {
                return reply(500, &[], fault(99001));
            }
            return reply(200, &[], ticket_answer(self.named, self.expires));
        }
        if path.ends_with("WebTicketService.svc") {
            return self.windows(connection, head);
        }
        self.publish(body)
    }

    fn windows(&self, connection: &mut Connection, head: &hyper::http::request::Parts) -> Reply {
        if connection.signed_in {
            return reply(200, &[], ticket_answer(self.named, self.expires));
        }
        let schemes: Vec<_> = self.schemes.iter().map(|scheme| ("WWW-Authenticate", *scheme)).collect();
        let Some(value) = head.headers.get("authorization") else { return reply(401, &schemes, String::new()) };
        let (scheme, token) = value.to_str().unwrap().split_once(' ').unwrap();
        match connection.accept(&STANDARD.decode(token).unwrap()) {
            Ok(Some(challenge)) => {
                let value = format!("{scheme} {}", STANDARD.encode(challenge));
                reply(401, &[("WWW-Authenticate", &value)], String::new())
            }
            Ok(None) => reply(200, &[], ticket_answer(self.named, self.expires)),
            Err(()) => {
                connection.ntlm = None;
                reply(401, &schemes, String::new())
            }
        }
    }

    fn publish(&self, body: &str) -> Reply {
        let request = body.split_once("Base64Binary\">").unwrap().1.split_once('<').unwrap().0;
        let request = STANDARD.decode(request.replace("\r\n", "")).unwrap();
        match self.publishing {
            Publishing::Issue => {
                let headers = [("X-MS-Server-Fqdn", "fe02.contoso.example")];
                reply(200, &headers, publish_answer(&certificate(Some(&request))))
            }
            Publishing::IssueForAnotherKey => reply(200, &[], publish_answer(&certificate(None))),
            Publishing::ErrorInfo(number) => reply(200, &[], error_info(number)),
            Publishing::Fault(number) => reply(500, &[], fault(number)),
            Publishing::HangUp => Err("hang up"),
            Publishing::Garbage => reply(200, &[], "<html>".to_owned()),
            Publishing::Endless => reply(200, &[], " ".repeat(2 << 20)),
            Publishing::BadGateway => reply(502, &[], "<html>".to_owned()),
        }
    }
}

fn reply(status: u16, headers: &[(&str, &str)], body: String) -> Reply {
    let mut response = Response::builder().status(status).header("Content-Type", "text/xml; charset=utf-8");
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    // An hour ahead of any computer that runs this.
    let date = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
    let date = date.format(&time::format_description::well_known::Rfc2822).unwrap().replace("+0000", "GMT");
    Ok(response.header("Date", date).body(Full::new(Bytes::from(body))).unwrap())
}

/// For the request's key, or for a key of its own.
fn certificate(request: Option<&[u8]>) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "alice@contoso.example");
    let own = rcgen::KeyPair::generate().unwrap();
    let Some(request) = request else { return params.self_signed(&own).unwrap().der().to_vec() };
    let (_, request) = X509CertificationRequest::from_der(request).unwrap();
    let key = rcgen::SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw).unwrap();
    let issuer = rcgen::Issuer::new(rcgen::CertificateParams::default(), own);
    params.signed_by(&key, &issuer).unwrap().der().to_vec()
}

pub(super) fn certprov_metadata(host: &str, ticket_host: &str) -> String {
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

pub(super) fn web_ticket_metadata(host: &str) -> String {
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
pub(super) fn ticket_answer(user: &str, expires: &str) -> String {
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

pub(super) fn publish_answer(certificate: &[u8]) -> String {
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

fn fault(number: u32) -> String {
    format!(
        r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode>
  <faultstring>said no</faultstring><detail>
  <OCSDiagnosticsFault xmlns="urn:component:Microsoft.Rtc.WebAuthentication.2010"><Ms-Diagnostics-Fault>
  <ErrorId>{number}</ErrorId><Reason>said no</Reason></Ms-Diagnostics-Fault></OCSDiagnosticsFault>
  </detail></s:Fault></s:Body></s:Envelope>"#
    )
}

fn error_info(number: u32) -> String {
    format!(
        r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>
  <GetAndPublishCertResponse xmlns="http://schemas.microsoft.com/OCS/AuthWebServices/" ResponseClass="Error">
  <ErrorInfo><ErrorId>{number}</ErrorId><Reason>said no</Reason></ErrorInfo></GetAndPublishCertResponse></s:Body></s:Envelope>"#
    )
}
