//! A web ticket by a published certificate, and everything that its port refuses.

use super::client::{Client, Reply, Ticket, lab, rst_body};
use crate::credential::KeyKind;
use crate::lab::keys::{Keys, Pkcs8};
use crate::lab::web_services::{Credential, Kind, Suite, WebServices};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::SigningKey as _;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::pkcs8::DecodePrivateKey as _;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

const CERT: &str = "/WebTicket/WebTicketService.svc/cert";

/// Alice, whose certificate is published, and its key.
struct Desk {
    lab: WebServices,
    client: Client,
    certificate: Vec<u8>,
    key: Pkcs8,
}

/// What is signed and sent.
#[derive(Clone)]
struct Message {
    created: OffsetDateTime,
    expires: OffsetDateTime,
    certificate: Vec<u8>,
    sha256: bool,
    claim: &'static str,
    id: String,
}

impl Desk {
    async fn new() -> Self {
        let lab = lab().await;
        let mut client = Client::connect(&lab).await;
        let pkcs8 = Keys::recycled().take(KeyKind::Rsa2048);
        let request = rcgen::CertificateParams::default().serialize_request(&pair(&pkcs8)).unwrap();
        let ticket = client.ticket(&lab.users()[0].clone()).await;
        let reply = client.publish(ticket.publish_body("alice@contoso.example", request.der())).await.unwrap();
        let certificate = reply.bytes("BinarySecurityToken");
        Self { lab, client, certificate, key: pkcs8 }
    }

    fn message(&self) -> Message {
        let created = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
        Message {
            created,
            expires: created + Duration::minutes(5),
            certificate: self.certificate.clone(),
            sha256: false,
            claim: "sip:alice@contoso.example",
            id: uuid::Uuid::new_v4().to_string(),
        }
    }

    /// The message as text.
    fn header(&self, message: &Message) -> String {
        let time = |time: OffsetDateTime| time.format(&Rfc3339).unwrap();
        let timestamp = format!(
            r#"<u:Timestamp xmlns:u="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd" u:Id="t1"><u:Created>{}</u:Created><u:Expires>{}</u:Expires></u:Timestamp>"#,
            time(message.created),
            time(message.expires)
        );
        let (hash, algorithm, digest_algorithm) = if message.sha256 {
            let algorithm = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
            (&digest::SHA256, algorithm, "http://www.w3.org/2001/04/xmlenc#sha256")
        } else {
            let algorithm = "http://www.w3.org/2000/09/xmldsig#rsa-sha1";
            (&digest::SHA1_FOR_LEGACY_USE_ONLY, algorithm, "http://www.w3.org/2000/09/xmldsig#sha1")
        };
        let value = STANDARD.encode(digest::digest(hash, timestamp.as_bytes()));
        let signed = format!(
            r##"<SignedInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></CanonicalizationMethod><SignatureMethod Algorithm="{algorithm}"></SignatureMethod><Reference URI="#t1"><Transforms><Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></Transform></Transforms><DigestMethod Algorithm="{digest_algorithm}"></DigestMethod><DigestValue>{value}</DigestValue></Reference></SignedInfo>"##
        );
        let raw = if message.sha256 {
            pair(&self.key).sign(signed.as_bytes()).unwrap()
        } else {
            // aws-lc-rs verifies SHA-1 and does not sign with it.
            let prefix = [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 5, 0, 4, 20];
            let padding = Pkcs1v15Sign { hash_len: Some(20), prefix: prefix.into() };
            let key = rsa::RsaPrivateKey::from_pkcs8_der(&self.key).unwrap();
            key.sign(padding, digest::digest(hash, signed.as_bytes()).as_ref()).unwrap()
        };
        format!(
            r##"<S:Header><a:MessageID xmlns:a="http://www.w3.org/2005/08/addressing">urn:uuid:{id}</a:MessageID><w:Security xmlns:w="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd">{timestamp}<w:BinarySecurityToken xmlns:u="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd" u:Id="x509" ValueType="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3" EncodingType="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary">{certificate}</w:BinarySecurityToken><Signature xmlns="http://www.w3.org/2000/09/xmldsig#">{signed}<SignatureValue>{raw}</SignatureValue><KeyInfo><w:SecurityTokenReference><w:Reference URI="#x509" ValueType="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3"/></w:SecurityTokenReference></KeyInfo></Signature></w:Security></S:Header>"##,
            id = message.id,
            certificate = STANDARD.encode(&message.certificate),
            raw = STANDARD.encode(raw),
        )
    }

    async fn send(&mut self, message: &Message) -> Reply {
        let header = self.header(message);
        self.send_header(message.claim, &header).await
    }

    async fn send_header(&mut self, claim: &str, header: &str) -> Reply {
        let body = rst_body(&self.client.publish_address(), Some(claim), header);
        self.client.rst(CERT, None, body).await
    }

    /// Refused as no valid security token; why, by the lab's record.
    async fn refused(&mut self, message: &Message) -> String {
        let reply = self.send(message).await;
        self.why(&reply)
    }

    fn why(&self, reply: &Reply) -> String {
        assert_eq!((reply.status, reply.text("ErrorId").as_str()), (500, "28020"), "{}", reply.body);
        self.lab.requests().pop().unwrap().refusal.unwrap()
    }
}

fn pair(pkcs8: &[u8]) -> rcgen::KeyPair {
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(pkcs8);
    rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256).unwrap()
}

#[tokio::test]
async fn a_published_certificate_gives_a_ticket_by_which_another_is_published() {
    let mut desk = Desk::new().await;
    let message = desk.message();
    let reply = desk.send(&message).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.text("NameIdentifier"), "sip:alice@contoso.example");
    assert_eq!(desk.lab.requests().pop().unwrap().credential, Some(Credential::Certificate));

    let request = rcgen::CertificateParams::default().serialize_request(&pair(&desk.key)).unwrap();
    let body = Ticket::from(&reply).publish_body("alice@contoso.example", request.der());
    assert_eq!(desk.client.publish(body).await.unwrap().status, 200);
    // The store has replaced the certificate: the old one signs nobody in any more.
    let reply = desk.send(&desk.message()).await;
    assert_eq!((reply.status, reply.text("ErrorId").as_str()), (500, "99011"));
}

#[tokio::test]
async fn the_port_takes_the_algorithms_that_its_policy_names_and_no_others() {
    let mut desk = Desk::new().await;
    let sha1 = desk.message();
    let sha256 = Message { sha256: true, ..desk.message() };
    assert_eq!(desk.refused(&sha256).await, "the signature is not plain rsa-sha1");
    desk.lab.settings().suite = Suite::Basic256Sha256;
    assert_eq!(desk.refused(&sha1).await, "the signature is not plain rsa-sha256");
    assert_eq!(desk.send(&sha256).await.status, 200);
}

#[tokio::test]
async fn a_signature_by_another_key_or_over_another_time_is_refused() {
    let mut desk = Desk::new().await;
    let message = desk.message();
    let (header, alice) = (desk.header(&message), "sip:alice@contoso.example");
    let (before, after) = header.split_once("<SignatureValue>").unwrap();
    let wrong = format!("{before}<SignatureValue>AAAA{}", &after[4..]);
    let reply = desk.send_header(alice, &wrong).await;
    assert_eq!(desk.why(&reply), "the signature is not by the certificate's key");

    let (before, after) = header.split_once("<u:Expires>20").unwrap();
    let altered = format!("{before}<u:Expires>21{after}");
    let reply = desk.send_header(alice, &altered).await;
    assert_eq!(desk.why(&reply), "the Timestamp is not the one that was signed");

    // Of the lab's two authorities one has another key than Alice: tests take turns with a handful of keys.
    let own = rcgen::PublicKeyData::der_bytes(&pair(&desk.key)).to_vec();
    let pki = std::sync::Arc::clone(&desk.lab.service.pki);
    let mut authorities = [pki.issuing_der(), pki.root_der()].into_iter();
    let other = authorities.find(|der| !der.windows(own.len()).any(|part| part == own)).unwrap().to_vec();
    let swapped = Message { certificate: other, ..desk.message() };
    assert_eq!(desk.refused(&swapped).await, "the signature is not by the certificate's key");
}

#[tokio::test]
async fn a_timestamp_of_another_hour_or_a_message_of_before_is_refused() {
    let mut desk = Desk::new().await;
    let now = desk.message();
    let hour = Duration::hours(1);
    let late = Message { created: now.created - hour, expires: now.expires - hour, ..desk.message() };
    assert_eq!(desk.refused(&late).await, "the Timestamp has ended");
    let early = Message { created: now.created + hour, expires: now.expires + hour, ..desk.message() };
    assert_eq!(desk.refused(&early).await, "the Timestamp begins in the future");
    let backwards = Message { expires: now.created - hour, ..desk.message() };
    assert_eq!(desk.refused(&backwards).await, "the Timestamp ends before it begins");
    assert_eq!(desk.send(&now).await.status, 200);
    assert_eq!(desk.refused(&now).await, "a message that came before");
}

#[tokio::test]
async fn a_certificate_that_is_not_published_or_has_ended_or_is_another_users_gives_no_ticket() {
    let mut desk = Desk::new().await;
    let bobs = Message { claim: "sip:bob@contoso.example", ..desk.message() };
    let reply = desk.send(&bobs).await;
    assert_eq!(reply.status, 500);
    assert!(reply.body.contains("does not match the SIP URI associated with the presented credentials"));

    let message = desk.message();
    desk.lab.faults().clock_offset = Duration::days(200);
    let later = |time: OffsetDateTime| time + Duration::days(200);
    let later = Message { created: later(message.created), expires: later(message.expires), ..message };
    let reply = desk.send(&later).await;
    assert_eq!((reply.status, reply.text("ErrorId").as_str()), (500, "99012"));
    desk.lab.faults().clock_offset = Duration::ZERO;

    let alice = desk.lab.users()[0].sip.clone();
    desk.lab.store().revoke(&alice);
    let reply = desk.send(&desk.message()).await;
    assert_eq!((reply.status, reply.text("ErrorId").as_str()), (500, "99011"));
}

#[tokio::test]
async fn what_is_missing_or_there_twice_is_refused() {
    let mut desk = Desk::new().await;
    let header = desk.header(&desk.message());
    let token_at = header.find("<w:BinarySecurityToken").unwrap();
    let token_end = header.find("</w:BinarySecurityToken>").unwrap() + "</w:BinarySecurityToken>".len();
    let token = &header[token_at..token_end];
    let doubled = header.replace("</w:Security>", &format!("<x>{token}</x></w:Security>"));
    for (header, why) in [
        (String::new(), "no Security header"),
        (header.replace(token, ""), "not one BinarySecurityToken"),
        (header.replace(token, &format!("{token}{token}")), "not one BinarySecurityToken"),
        (doubled, "a second BinarySecurityToken elsewhere in the message"),
        (header.replace("URI=\"#x509\"", "URI=\"#t1\""), "the key reference is not to the BinarySecurityToken"),
        (header.replace("URI=\"#t1\"", "URI=\"#x509\""), "the Reference is not to the Timestamp"),
        (header.replace("a:MessageID>", "a:To>").replace("<a:MessageID", "<a:To"), "no MessageID"),
    ] {
        let reply = desk.send_header("sip:alice@contoso.example", &header).await;
        assert!(reply.body.contains("28020"), "{why}: {:?}", desk.lab.requests().pop());
        assert_eq!(desk.why(&reply), why);
    }
}

#[tokio::test]
async fn a_pool_without_the_port_neither_names_nor_serves_it() {
    let mut desk = Desk::new().await;
    let metadata = desk.client.get("/WebTicket/WebTicketService.svc/mex").await;
    assert!(metadata.body.contains(CERT) && metadata.body.contains("Basic256"));
    desk.lab.settings().certificate = false;
    let metadata = desk.client.get("/WebTicket/WebTicketService.svc/mex").await;
    assert!(!metadata.body.contains(CERT));
    let reply = desk.send(&desk.message()).await;
    assert_eq!(reply.status, 404);
    assert_eq!(desk.lab.requests().pop().unwrap().kind, Kind::CertificateTicket);
}
