//! A raw client for the tests: every byte of a message is the test's own to change.

use crate::credential::KeyKind;
use crate::lab::keys::Keys;
use crate::lab::pki::{Pki, ServerFaults};
use crate::lab::web_services::{Options, Settings, User, WebServices};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use secrecy::ExposeSecret;
use sspi::ntlm::NtlmConfig;
use sspi::{
    AuthIdentityBuffers, BufferType, ClientRequestFlags, CredentialsBuffers, DataRepresentation, Negotiate,
    NegotiateConfig, Ntlm, SecurityBuffer, Sspi, SspiImpl,
};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

pub(super) const DEVICE: &str = "34d859db-6585-5f91-a3b4-de853c15347d";
static PKI: LazyLock<Arc<Pki>> = LazyLock::new(|| Arc::new(Pki::new(&Keys::recycled())));

pub(super) async fn lab() -> WebServices {
    lab_with(Settings::default()).await
}

/// A lab with Alice and Bob whose handshake carries the whole chain.
pub(super) async fn lab_with(settings: Settings) -> WebServices {
    let user = |sip: &str, number| User::new(sip.parse().unwrap(), number);
    let users = vec![user("alice@contoso.example", "+12065551219"), user("bob@contoso.example", "+12065551220")];
    lab_of(users, settings).await
}

pub(super) async fn lab_of(users: Vec<User>, settings: Settings) -> WebServices {
    let pki = Arc::clone(&PKI);
    WebServices::start(Options { settings, server_faults: ServerFaults::none(), ..Options::new(pki, users) })
        .await
        .unwrap()
}

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The text of the first element of this local name.
    pub(super) fn text(&self, name: &str) -> String {
        let document = roxmltree::Document::parse(&self.body).unwrap();
        let node = document.descendants().find(|node| node.tag_name().name() == name);
        node.unwrap_or_else(|| panic!("no {name} in {}", self.body)).text().unwrap_or_default().trim().to_owned()
    }

    pub(super) fn bytes(&self, name: &str) -> Vec<u8> {
        STANDARD.decode(self.text(name)).unwrap()
    }
}

/// One TLS connection to the lab, called `localhost`.
pub(super) struct Client {
    http: SendRequest<Full<Bytes>>,
    pub(super) cookie: Option<String>,
    pub(super) origin: String,
    /// The server's certificate, DER.
    pub(super) server: Vec<u8>,
    host: String,
}

impl Client {
    pub(super) async fn connect(lab: &WebServices) -> Self {
        Self::try_connect(lab).await.unwrap()
    }

    pub(super) async fn try_connect(lab: &WebServices) -> std::io::Result<Self> {
        Self::connect_to(lab, lab.address(), "localhost").await
    }

    /// Connects to an address of the lab by one of its names.
    pub(super) async fn connect_to(lab: &WebServices, address: SocketAddr, name: &str) -> std::io::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        let root = lab.service.pki.root_der();
        roots.add(CertificateDer::from(root)).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = tokio::net::TcpStream::connect(address).await?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let tls = connector.connect(ServerName::try_from(name.to_owned()).unwrap(), tcp).await?;
        let server = tls.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        let (http, driver) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(driver);
        let name = if address.is_ipv6() { format!("[{name}]") } else { name.to_owned() };
        let host = format!("{name}:{}", address.port());
        Ok(Self { http, cookie: None, origin: format!("https://{host}"), server, host })
    }

    /// A connection in the clear.
    pub(super) async fn plain(lab: &WebServices) -> Self {
        let tcp = tokio::net::TcpStream::connect(lab.http_address()).await.unwrap();
        let (http, driver) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(driver);
        let host = lab.http_address().to_string();
        Self { http, cookie: None, origin: format!("http://{host}"), server: Vec::new(), host }
    }

    pub(super) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> hyper::Result<Reply> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        self.http.ready().await?;
        let reply = self.http.send_request(request.body(Full::from(body)).unwrap()).await?;
        let (head, body) = reply.into_parts();
        if let Some(cookie) = head.headers.get("set-cookie") {
            self.cookie = cookie.to_str().unwrap().split(';').next().map(str::to_owned);
        }
        let body = String::from_utf8_lossy(&body.collect().await?.to_bytes()).into_owned();
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// The root-chain download.
    pub(super) async fn root_chains(&mut self) -> hyper::Result<Reply> {
        let body = r#"<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><GetRootCertChains xmlns="http://schemas.microsoft.com/OCS/AuthWebServices/"/></soap:Body></soap:Envelope>"#;
        let action = ("soapaction", "\"http://schemas.microsoft.com/OCS/AuthWebServices/GetRootCertChains\"");
        self.send("POST", "/CertProv/CertProvisioningService.svc", &[action], body.to_owned()).await
    }

    pub(super) async fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, &[], String::new()).await.unwrap()
    }

    /// One leg towards a web ticket.
    pub(super) async fn rst(&mut self, path: &str, authorization: Option<&str>, body: String) -> Reply {
        self.try_rst(path, authorization, body).await.unwrap()
    }

    async fn try_rst(&mut self, path: &str, authorization: Option<&str>, body: String) -> hyper::Result<Reply> {
        let action = "\"http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue\"";
        let headers = [("soapaction", action), ("authorization", authorization.unwrap_or_default())];
        let headers = if authorization.is_some() { &headers[..] } else { &headers[..1] };
        self.send("POST", path, headers, body).await
    }

    /// The whole NTLM handshake with this password; the last answer.
    pub(super) async fn ntlm(&mut self, scheme: &str, login: &str, password: &str, body: String) -> Reply {
        self.ntlm_altered(scheme, login, password, body, |_| ()).await
    }

    /// The handshake with a change made to the last message.
    pub(super) async fn ntlm_altered(
        &mut self,
        scheme: &str,
        login: &str,
        password: &str,
        body: String,
        alter: impl FnOnce(&mut Vec<u8>),
    ) -> Reply {
        let mut ntlm = NtlmClient::new(login, password, None);
        self.windows(scheme, &mut ntlm, body, alter).await
    }

    /// Both legs of a Windows sign-in, the last message altered; the last answer.
    pub(super) async fn windows(
        &mut self,
        scheme: &str,
        client: &mut impl Messages,
        body: String,
        alter: impl FnOnce(&mut Vec<u8>),
    ) -> Reply {
        self.try_windows(scheme, client, body, alter).await.unwrap()
    }

    pub(super) async fn try_windows(
        &mut self,
        scheme: &str,
        client: &mut impl Messages,
        body: String,
        alter: impl FnOnce(&mut Vec<u8>),
    ) -> hyper::Result<Reply> {
        let path = "/WebTicket/WebTicketService.svc";
        let first = format!("{scheme} {}", STANDARD.encode(client.step(None)));
        let reply = self.try_rst(path, Some(&first), String::new()).await?;
        let challenge = reply.header("www-authenticate").strip_prefix(&format!("{scheme} ")).unwrap_or_default();
        if reply.status != 401 || challenge.is_empty() {
            return Ok(reply);
        }
        let mut authenticate = client.step(Some(&STANDARD.decode(challenge).unwrap()));
        alter(&mut authenticate);
        self.try_rst(path, Some(&format!("{scheme} {}", STANDARD.encode(authenticate))), body).await
    }

    /// A web ticket for a user of the lab.
    pub(super) async fn ticket(&mut self, user: &User) -> Ticket {
        let body = self.rst_body(Some(&user.sip.uri()));
        let reply = self.ntlm("NTLM", &user.login, user.password.expose_secret(), body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        Ticket::from(&reply)
    }

    pub(super) fn publish_address(&self) -> String {
        format!("{}/CertProv/CertProvisioningService.svc/WebTicket_Proof_SHA1", self.origin)
    }

    pub(super) fn rst_body(&self, claim: Option<&str>) -> String {
        rst_body(&self.publish_address(), claim, "")
    }

    pub(super) async fn publish(&mut self, body: String) -> hyper::Result<Reply> {
        let action = "\"http://schemas.microsoft.com/OCS/AuthWebServices/GetAndPublishCert\"";
        let path = "/CertProv/CertProvisioningService.svc/WebTicket_Proof_SHA1";
        self.send("POST", path, &[("soapaction", action)], body).await
    }
}

pub(super) fn rst_body(applies_to: &str, claim: Option<&str>, header: &str) -> String {
    let claims = claim.map_or(String::new(), |claim| {
        format!(
            r#"<t:Claims Dialect="urn:component:Microsoft.Rtc.WebAuthentication.2010:authclaims"><c:ClaimType xmlns:c="http://schemas.xmlsoap.org/ws/2006/12/authorization" Uri="http://schemas.xmlsoap.org/ws/2005/05/identity/claims/uri" Optional="false"><c:Value>{claim}</c:Value></c:ClaimType></t:Claims>"#
        )
    });
    let entropy = STANDARD.encode((0..32).collect::<Vec<u8>>());
    format!(
        r#"<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/">{header}<S:Body><t:RequestSecurityToken xmlns:t="http://docs.oasis-open.org/ws-sx/ws-trust/200512" Context="c1"><t:TokenType>http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV1.1</t:TokenType><t:RequestType>http://schemas.xmlsoap.org/ws/2005/02/trust/Issue</t:RequestType><p:AppliesTo xmlns:p="http://schemas.xmlsoap.org/ws/2004/09/policy"><a:EndpointReference xmlns:a="http://www.w3.org/2005/08/addressing"><a:Address>{applies_to}</a:Address></a:EndpointReference></p:AppliesTo>{claims}<t:Entropy><t:BinarySecret>{entropy}</t:BinarySecret></t:Entropy><t:KeyType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/SymmetricKey</t:KeyType></t:RequestSecurityToken></S:Body></S:Envelope>"#
    )
}

/// The PIN header of the LAB profile.
pub(super) fn pin_header(number: &str, pin: &str) -> String {
    format!(
        r#"<S:Header><w:Security xmlns:w="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"><w:UsernameToken><w:Username>{number}</w:Username><w:Password>{pin}</w:Password></w:UsernameToken></w:Security></S:Header>"#
    )
}

/// What a client says in a Windows sign-in.
pub(super) trait Messages {
    /// The first message, or the one that answers this challenge.
    fn step(&mut self, challenge: Option<&[u8]>) -> Vec<u8>;
}

/// Bare NTLM.
pub(super) struct NtlmClient {
    ntlm: Ntlm,
    identity: AuthIdentityBuffers,
    /// A `SEC_CHANNEL_BINDINGS`.
    binding: Option<Vec<u8>>,
}

impl NtlmClient {
    pub(super) fn new(login: &str, password: &str, binding: Option<Vec<u8>>) -> Self {
        let (domain, name) = login.split_once('\\').unwrap_or(("", login));
        Self { ntlm: Ntlm::new(), identity: AuthIdentityBuffers::from_utf8(name, domain, password), binding }
    }
}

impl Messages for NtlmClient {
    fn step(&mut self, challenge: Option<&[u8]>) -> Vec<u8> {
        let mut identity = Some(self.identity.clone());
        let mut input = vec![SecurityBuffer::new(challenge.unwrap_or_default().to_vec(), BufferType::Token)];
        input.extend(self.binding.clone().map(|binding| SecurityBuffer::new(binding, BufferType::ChannelBindings)));
        let mut output = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let mut builder = self
            .ntlm
            .initialize_security_context()
            .with_credentials_handle(&mut identity)
            .with_context_requirements(ClientRequestFlags::ALLOCATE_MEMORY)
            .with_target_data_representation(DataRepresentation::Native)
            .with_target_name("HTTP/localhost")
            .with_input(&mut input)
            .with_output(&mut output);
        let mut ntlm = self.ntlm.clone();
        ntlm.initialize_security_context_impl(&mut builder).unwrap().resolve_to_result().unwrap();
        self.ntlm = ntlm;
        let [output] = output;
        output.buffer
    }
}

/// NTLM inside sspi's SPNEGO.
pub(super) struct NegotiateClient {
    negotiate: Negotiate,
    identity: CredentialsBuffers,
}

impl NegotiateClient {
    pub(super) fn new(login: &str, password: &str) -> Self {
        let (domain, name) = login.split_once('\\').unwrap_or(("", login));
        let config = NegotiateConfig::from_protocol_config(Box::new(NtlmConfig::default()), "desk".to_owned());
        let negotiate = Negotiate::new_client(config).unwrap();
        let identity = AuthIdentityBuffers::from_utf8(name, domain, password);
        Self { negotiate, identity: CredentialsBuffers::AuthIdentity(identity) }
    }
}

impl Messages for NegotiateClient {
    fn step(&mut self, challenge: Option<&[u8]>) -> Vec<u8> {
        let mut identity = Some(self.identity.clone());
        let mut input = [SecurityBuffer::new(challenge.unwrap_or_default().to_vec(), BufferType::Token)];
        let mut output = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let mut builder = self
            .negotiate
            .initialize_security_context()
            .with_credentials_handle(&mut identity)
            .with_context_requirements(ClientRequestFlags::ALLOCATE_MEMORY)
            .with_target_data_representation(DataRepresentation::Native)
            .with_target_name("HTTP/localhost")
            .with_input(&mut input)
            .with_output(&mut output);
        let mut negotiate = self.negotiate.clone();
        negotiate.initialize_security_context_impl(&mut builder).unwrap().resolve_to_result().unwrap();
        self.negotiate = negotiate;
        let [output] = output;
        output.buffer
    }
}

/// The `SEC_CHANNEL_BINDINGS` of this server certificate, spelled out.
pub(super) fn binding(certificate: &[u8]) -> Vec<u8> {
    let hash = digest::digest(&digest::SHA256, certificate);
    let data = [b"tls-server-end-point:".as_slice(), hash.as_ref()].concat();
    let head: [u32; 8] = [0, 0, 0, 0, 0, 0, 53, 32];
    [head.iter().flat_map(|word| word.to_le_bytes()).collect(), data].concat()
}

/// A web ticket as the client has it.
#[derive(Clone)]
pub(super) struct Ticket {
    pub(super) assertion: String,
    pub(super) id: String,
    pub(super) key: Vec<u8>,
    pub(super) created: String,
    pub(super) expires: String,
}

impl Ticket {
    pub(super) fn from(reply: &Reply) -> Self {
        let document = roxmltree::Document::parse(&reply.body).unwrap();
        let assertion = document.descendants().find(|node| node.tag_name().name() == "Assertion").unwrap();
        let client: Vec<u8> = (0..32).collect();
        Self {
            assertion: reply.body[assertion.range()].to_owned(),
            id: assertion.attribute("AssertionID").unwrap().to_owned(),
            key: proof_key(&client, &reply.bytes("BinarySecret")),
            created: reply.text("Created"),
            expires: reply.text("Expires"),
        }
    }

    pub(super) fn timestamp(&self) -> String {
        format!(
            r#"<wsu:Timestamp xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd" wsu:Id="timestamp"><wsu:Created>{}</wsu:Created><wsu:Expires>{}</wsu:Expires></wsu:Timestamp>"#,
            self.created, self.expires
        )
    }

    pub(super) fn signature(&self) -> String {
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, self.timestamp().as_bytes());
        let signed = format!(
            r##"<SignedInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></CanonicalizationMethod><SignatureMethod Algorithm="http://www.w3.org/2000/09/xmldsig#hmac-sha1"></SignatureMethod><Reference URI="#timestamp"><Transforms><Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></Transform></Transforms><DigestMethod Algorithm="http://www.w3.org/2000/09/xmldsig#sha1"></DigestMethod><DigestValue>{}</DigestValue></Reference></SignedInfo>"##,
            STANDARD.encode(hash)
        );
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.key);
        let value = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
        format!(
            r#"<Signature xmlns="http://www.w3.org/2000/09/xmldsig#">{signed}<SignatureValue>{value}</SignatureValue><KeyInfo><wsse:SecurityTokenReference><wsse:KeyIdentifier ValueType="http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.0#SAMLAssertionID">{}</wsse:KeyIdentifier></wsse:SecurityTokenReference></KeyInfo></Signature>"#,
            self.id
        )
    }

    pub(super) fn security(&self) -> String {
        format!("{}{}{}", self.timestamp(), self.assertion, self.signature())
    }

    /// A complete request.
    pub(super) fn publish_body(&self, entity: &str, signing_request: &[u8]) -> String {
        publish_body(&self.security(), entity, signing_request)
    }
}

/// Each has a MessageID of its own.
pub(super) fn publish_body(security: &str, entity: &str, signing_request: &[u8]) -> String {
    let message = uuid::Uuid::new_v4();
    let csr = STANDARD.encode(signing_request);
    format!(
        r#"<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:wsse="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"><soap:Header><wsa:ReplyTo><wsa:Address>http://www.w3.org/2005/08/addressing/anonymous</wsa:Address></wsa:ReplyTo><wsa:MessageID>uuid:{message}</wsa:MessageID><wsse:Security>{security}</wsse:Security></soap:Header><soap:Body><GetAndPublishCert xmlns="http://schemas.microsoft.com/OCS/AuthWebServices/" xmlns:wst="http://docs.oasis-open.org/ws-sx/ws-trust/200512/" DeviceId="{{{DEVICE}}}" Entity="{entity}"><wst:RequestSecurityToken><wst:TokenType>http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3</wst:TokenType><wst:RequestType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/Issue</wst:RequestType><wsse:BinarySecurityToken ValueType="http://schemas.microsoft.com/OCS/AuthWebServices.xsd#PKCS10" EncodingType="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd#Base64Binary">
{csr}</wsse:BinarySecurityToken><wstep:RequestID xmlns:wstep="http://schemas.microsoft.com/windows/pki/2009/01/enrollment">r&amp;1</wstep:RequestID></wst:RequestSecurityToken></GetAndPublishCert></soap:Body></soap:Envelope>"#
    )
}

/// P_SHA1 for 32 bytes, spelled out.
fn proof_key(secret: &[u8], seed: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let mac = |data: &[&[u8]]| hmac::sign(&key, &data.concat()).as_ref().to_vec();
    let a1 = mac(&[seed]);
    let a2 = mac(&[&a1]);
    let mut out = [mac(&[&a1, seed]), mac(&[&a2, seed])].concat();
    out.truncate(32);
    out
}

/// A PKCS#10 and the SubjectPublicKeyInfo in it.
pub(super) fn signing_request(kind: KeyKind) -> (Vec<u8>, Vec<u8>) {
    use rcgen::PublicKeyData as _;
    let pkcs8 = Keys::recycled().take(kind);
    let algorithm = if kind == KeyKind::P256 { &rcgen::PKCS_ECDSA_P256_SHA256 } else { &rcgen::PKCS_RSA_SHA256 };
    let der = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm).unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    (request.der().to_vec(), key.subject_public_key_info())
}
