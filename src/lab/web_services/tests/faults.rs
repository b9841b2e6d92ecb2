//! What the server does wrong when told to.

use super::client::{Client, DEVICE, Ticket, lab, signing_request};
use crate::credential::KeyKind;
use crate::lab::pki::{Dates, ServerFaults};
use crate::lab::web_services::{CertificateFault, Faults, Kind, WebServices};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

const ALICE: &str = "alice@contoso.example";

async fn ready(lab: &WebServices) -> (Client, Ticket, Vec<u8>) {
    let mut client = Client::connect(lab).await;
    let ticket = client.ticket(&lab.users()[0].clone()).await;
    (client, ticket, signing_request(KeyKind::Rsa2048).0)
}

#[tokio::test]
async fn a_store_that_is_down_for_one_request_stores_nothing() {
    let lab = lab().await;
    let (mut client, ticket, request) = ready(&lab).await;
    lab.faults().store_unavailable = 1;

    let reply = client.publish(ticket.publish_body(ALICE, &request)).await.unwrap();
    assert_eq!((reply.status, reply.text("ErrorId").as_str()), (200, "99006"));
    assert_eq!(reply.text("Reason"), "Data store unavailable.");
    assert_eq!(lab.store().list(), []);

    client.publish(ticket.publish_body(ALICE, &request)).await.unwrap();
    assert_eq!(lab.store().list().len(), 1);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_certificate_published_and_an_early_hang_up_does_not() {
    let lab = lab().await;
    let (mut client, ticket, request) = ready(&lab).await;
    lab.faults().hang_up = Some((Kind::Publish, 1));
    assert!(client.publish(ticket.publish_body(ALICE, &request)).await.is_err());
    assert_eq!(lab.store().list(), []);

    let mut client = Client::connect(&lab).await;
    lab.faults().answer_lost = 1;
    assert!(client.publish(ticket.publish_body(ALICE, &request)).await.is_err());
    assert_eq!(lab.store().list().len(), 1);
    assert_eq!(lab.requests().last().unwrap().status, None);
}

#[tokio::test]
async fn a_certificate_can_be_for_another_key_another_user_or_over() {
    let lab = lab().await;
    let (mut client, ticket, _) = ready(&lab).await;
    let (request, public_key) = signing_request(KeyKind::Rsa3072);
    let mut publish = async |fault| {
        lab.faults().certificate = fault;
        let reply = client.publish(ticket.publish_body(ALICE, &request)).await.unwrap();
        let der = reply.bytes("BinarySecurityToken");
        assert_eq!(lab.store().list()[0].certificate, der);
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        let over = certificate.validity().not_after.timestamp() < OffsetDateTime::now_utc().unix_timestamp();
        (certificate.public_key().raw == public_key, certificate.subject().to_string(), over)
    };
    let own = format!("CN={ALICE}");
    assert_eq!(publish(CertificateFault::None).await, (true, own.clone(), false));
    assert_eq!(publish(CertificateFault::AnotherKey).await, (false, own.clone(), false));
    assert_eq!(publish(CertificateFault::AnotherUser).await, (true, "CN=mallory@contoso.example".into(), false));
    assert_eq!(publish(CertificateFault::Expired).await, (true, own, true));
}

#[tokio::test]
async fn other_prefixes_say_the_same() {
    let lab = lab().await;
    *lab.faults() = Faults { other_prefixes: true, wrapped_metadata: true, pkcs7: true, ..Faults::default() };
    let mut client = Client::connect(&lab).await;
    let metadata = client.get("/CertProv/CertProvisioningService.svc/mex").await;
    assert!(metadata.text("Address").ends_with("/WebTicket/WebTicketService.svc"));
    assert!(metadata.body.contains("wsx:Metadata") && !metadata.body.contains("<wsdl:"));

    let mut ticket = client.ticket(&lab.users()[0].clone()).await;
    // The prefix was declared further out: a client has to bring it along.
    let declared = " xmlns:saml-2=\"urn:oasis:names:tc:SAML:1.0:assertion\" MajorVersion";
    ticket.assertion = ticket.assertion.replacen(" MajorVersion", declared, 1);
    let (request, _) = signing_request(KeyKind::Rsa2048);
    let reply = client.publish(ticket.publish_body(ALICE, &request)).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    let stored = lab.store().get(&ALICE.parse().unwrap(), DEVICE.parse().unwrap()).unwrap();
    let tokens = roxmltree::Document::parse(&reply.body).unwrap();
    let tokens = tokens.descendants().filter(|node| node.tag_name().name() == "BinarySecurityToken").count();
    assert_eq!(tokens, 2);
    assert_ne!(reply.bytes("BinarySecurityToken"), stored.certificate, "the first token is the PKCS#7");
}

#[tokio::test]
async fn the_services_clock_is_in_date_and_ticket() {
    let lab = lab().await;
    lab.faults().clock_offset = Duration::days(-3650);
    let (mut client, ticket, request) = ready(&lab).await;
    let year = (OffsetDateTime::now_utc() - Duration::days(3650)).year().to_string();
    assert!(ticket.created.starts_with(&year));
    let reply = client.publish(ticket.publish_body(ALICE, &request)).await.unwrap();
    assert!(reply.header("date").contains(&year) && reply.header("date").ends_with("GMT"));
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn answers_can_be_cut_bloated_and_undated() {
    let lab = lab().await;
    let mut client = Client::connect(&lab).await;
    let path = "/CertProv/CertProvisioningService.svc/mex";
    let whole = client.get(path).await;
    lab.faults().malformed = Some(Kind::CertProvMetadata);
    lab.faults().no_date.insert(Kind::CertProvMetadata);
    let cut = client.get(path).await;
    assert_eq!((cut.body.len(), cut.header("date")), (whole.body.len() / 2, ""));
    *lab.faults() = Faults { huge: Some(Kind::CertProvMetadata), ..Faults::default() };
    assert!(client.get(path).await.body.len() > 8_000_000);
}

#[tokio::test]
async fn a_server_chain_can_be_broken_while_the_server_runs() {
    let lab = lab().await;
    let refused = async |faults: ServerFaults| {
        lab.present(&faults).unwrap();
        Client::try_connect(&lab).await.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let none = ServerFaults::none();
    assert_eq!(refused(none.clone()).await, "");
    assert!(refused(ServerFaults::default()).await.contains("UnknownIssuer"));
    assert!(refused(ServerFaults { unknown_root: true, ..none.clone() }).await.contains("UnknownIssuer"));
    assert!(refused(ServerFaults { wrong_name: true, ..none.clone() }).await.contains("not valid for name"));
    assert!(refused(ServerFaults { server_dates: Dates::Expired, ..none.clone() }).await.contains("expired"));
    assert!(refused(ServerFaults { server_dates: Dates::NotYet, ..none.clone() }).await.contains("not valid yet"));
    assert!(refused(ServerFaults { intermediate_dates: Dates::Expired, ..none }).await.contains("expired"));
}

#[tokio::test]
async fn the_missing_intermediate_is_where_the_certificate_says() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let lab = lab().await;
    let url = url::Url::parse(&lab.issuer_url()).unwrap();
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", url.port().unwrap())).await.unwrap();
    let ask = format!("GET {} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n", url.path());
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let (_, issuing) = X509Certificate::from_der(&answer[body..]).unwrap();
    assert_eq!(issuing.subject().to_string(), "CN=Contoso Issuing CA 2 (LAB)");
    assert_eq!(lab.counters().requests[&Kind::IssuerDownload], 1);
}

#[tokio::test]
async fn a_good_ticket_can_be_called_invalid_once() {
    let lab = lab().await;
    let (mut client, ticket, request) = ready(&lab).await;
    lab.faults().ticket_invalid = 1;
    let reply = client.publish(ticket.publish_body(ALICE, &request)).await.unwrap();
    assert_eq!((reply.status, reply.text("ErrorId").as_str()), (500, "28032"));
    assert_eq!(client.publish(ticket.publish_body(ALICE, &request)).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_answer_can_be_held_back() {
    let lab = lab().await;
    let mut client = Client::connect(&lab).await;
    lab.faults().slow = Some((Kind::CertProvMetadata, std::time::Duration::from_secs(3600)));
    let answer = client.get("/CertProv/CertProvisioningService.svc/mex");
    tokio::time::timeout(std::time::Duration::from_millis(5), answer).await.err().unwrap();
}

#[tokio::test]
async fn a_lab_that_is_dropped_no_longer_answers() {
    let lab = lab().await;
    let mut client = Client::connect(&lab).await;
    let path = "/CertProv/CertProvisioningService.svc/mex";
    assert_eq!(client.get(path).await.status, 200);
    let address = lab.address();
    drop(lab);
    while client.send("GET", path, &[], String::new()).await.is_ok() {}
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
