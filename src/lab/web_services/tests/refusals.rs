//! Everything that certificate provisioning refuses, each by one change to a good request.

use super::client::{Client, Reply, Ticket, lab, lab_with, publish_body, rst_body, signing_request};
use crate::credential::KeyKind;
use crate::lab::web_services::{Settings, WebServices};
use secrecy::ExposeSecret;
use time::Duration;

const ALICE: &str = "alice@contoso.example";

struct Desk {
    lab: WebServices,
    client: Client,
    ticket: Ticket,
    request: Vec<u8>,
}

impl Desk {
    async fn new() -> Self {
        Self::with(lab().await).await
    }

    async fn with(lab: WebServices) -> Self {
        let mut client = Client::connect(&lab).await;
        let ticket = client.ticket(&lab.users()[0].clone()).await;
        Self { lab, client, ticket, request: signing_request(KeyKind::Rsa2048).0 }
    }

    async fn send(&mut self, body: String) -> Reply {
        let reply = self.client.publish(body).await.unwrap();
        assert_eq!(self.lab.store().list(), []);
        reply
    }

    /// Sends `security` in an otherwise good request, which is refused as an invalid ticket; why, by the lab's record.
    async fn invalid(&mut self, security: &str) -> String {
        let reply = self.send(publish_body(security, ALICE, &self.request)).await;
        assert_eq!((reply.status, reply.text("ErrorId").as_str()), (500, "28032"));
        assert!(reply.header("x-ms-diagnostics").starts_with("28032;"));
        self.why()
    }

    /// An error inside a normal answer; its number.
    async fn error_info(&mut self, body: String) -> String {
        let reply = self.send(body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert!(reply.body.contains("ResponseClass=\"Error\"") && reply.body.contains("<ErrorInfo>"));
        reply.text("ErrorId")
    }

    fn why(&self) -> String {
        self.lab.requests().pop().unwrap().refusal.unwrap()
    }
}

#[tokio::test]
async fn no_ticket() {
    let mut desk = Desk::new().await;
    let reply = desk.send(publish_body("", ALICE, &desk.request)).await;
    assert_eq!((reply.status, reply.text("ErrorId").as_str()), (500, "28020"));
}

#[tokio::test]
async fn a_proof_by_another_key() {
    let mut desk = Desk::new().await;
    let mut forged = desk.ticket.clone();
    forged.key[0] ^= 1;
    assert_eq!(desk.invalid(&forged.security()).await, "the signature is not by the ticket's key");
}

#[tokio::test]
async fn a_timestamp_altered_after_signing() {
    let mut desk = Desk::new().await;
    let mut later = desk.ticket.clone();
    later.expires = later.expires.replace("20", "21");
    let security = format!("{}{}{}", later.timestamp(), desk.ticket.assertion, desk.ticket.signature());
    assert_eq!(desk.invalid(&security).await, "the Timestamp is not the one that was signed");
}

#[tokio::test]
async fn a_signature_wrapped_around_another_timestamp() {
    let mut desk = Desk::new().await;
    let mut fake = desk.ticket.clone();
    fake.expires = fake.expires.replace("20", "21");
    let fake = fake.timestamp().replace("\"timestamp\"", "\"fake\"");
    let (signed, ticket) = (desk.ticket.timestamp(), desk.ticket.clone());
    let security = format!("{fake}{}{}<Hidden>{signed}</Hidden>", ticket.assertion, ticket.signature());
    assert!(desk.invalid(&security).await.starts_with("a second Timestamp"));
}

#[tokio::test]
async fn an_assertion_that_was_changed_or_never_issued() {
    let mut desk = Desk::new().await;
    let mut ticket = desk.ticket.clone();
    ticket.assertion = ticket.assertion.replace("alice@", "bob@");
    assert_eq!(desk.invalid(&ticket.security()).await, "the Assertion is not the one that was issued");

    let mut ticket = desk.ticket.clone();
    ticket.assertion = ticket.assertion.replace(&ticket.id, "SamlSecurityToken-0");
    ticket.id = "SamlSecurityToken-0".to_owned();
    assert_eq!(desk.invalid(&ticket.security()).await, "no such ticket was issued here");
}

#[tokio::test]
async fn a_ticket_for_another_address() {
    let mut desk = Desk::new().await;
    let alice = desk.lab.users()[0].clone();
    let body = rst_body("https://localhost/CertProv/CertProvisioningService.svc", None, "");
    let reply = desk.client.ntlm("NTLM", &alice.login, alice.password.expose_secret(), body).await;
    let foreign = Ticket::from(&reply);
    assert_eq!(desk.invalid(&foreign.security()).await, "the ticket is for another address");
}

#[tokio::test]
async fn a_ticket_that_has_ended_or_not_begun() {
    let mut desk = Desk::new().await;
    desk.lab.faults().clock_offset = Duration::hours(9);
    let reply = desk.send(desk.ticket.publish_body(ALICE, &desk.request)).await;
    assert_eq!((reply.status, reply.text("ErrorId").as_str()), (500, "99007"));

    desk.lab.faults().clock_offset = Duration::hours(-1);
    let security = desk.ticket.security();
    assert_eq!(desk.invalid(&security).await, "the Timestamp begins in the future");
}

#[tokio::test]
async fn a_certificate_for_somebody_else() {
    let mut desk = Desk::new().await;
    let body = desk.ticket.publish_body("bob@contoso.example", &desk.request);
    assert_eq!(desk.error_info(body).await, "99005");

    let bob = desk.lab.users()[1].clone();
    let bobs = Client::connect(&desk.lab).await.ticket(&bob).await;
    let body = bobs.publish_body(ALICE, &desk.request);
    assert_eq!(desk.error_info(body).await, "99005");
}

#[tokio::test]
async fn a_key_that_is_too_short_or_not_rsa() {
    let settings = Settings { min_key_bits: 3072, ..Settings::default() };
    let mut desk = Desk::with(lab_with(settings).await).await;
    let body = desk.ticket.publish_body(ALICE, &desk.request);
    assert_eq!(desk.error_info(body).await, "99004");
    let body = desk.ticket.publish_body(ALICE, &signing_request(KeyKind::P256).0);
    assert_eq!(desk.error_info(body).await, "99003");
}

#[tokio::test]
async fn a_request_that_its_own_key_did_not_sign() {
    let mut desk = Desk::new().await;
    let mut request = desk.request.clone();
    *request.last_mut().unwrap() ^= 1;
    let body = desk.ticket.publish_body(ALICE, &request);
    assert_eq!(desk.error_info(body).await, "99003");
    assert!(desk.why().contains("not signed by its own key"));
}

#[tokio::test]
async fn trust_without_its_slash_a_dtd_and_a_message_without_id() {
    let mut desk = Desk::new().await;
    let good = desk.ticket.publish_body(ALICE, &desk.request);
    let no_slash = good.replace("ws-trust/200512/\"", "ws-trust/200512\"");
    let (before, rest) = good.split_once("<wsa:MessageID>").unwrap();
    let no_id = format!("{before}{}", rest.split_once("</wsa:MessageID>").unwrap().1);
    for body in [no_slash, no_id, format!("<!DOCTYPE x>{good}")] {
        let reply = desk.send(body).await;
        assert_eq!((reply.status, reply.text("faultcode").as_str()), (500, "a:Client"));
    }
}

#[tokio::test]
async fn a_ticket_that_was_shown_to_another_server_of_the_pool() {
    let mut desk = Desk::with(lab_with(Settings { cookie_demanded: true, ..Settings::default() }).await).await;
    let cookie = desk.client.cookie.take();
    let reply = desk.send(desk.ticket.publish_body(ALICE, &desk.request)).await;
    assert_eq!(reply.text("ErrorId"), "28020");
    desk.client.cookie = cookie;
    let body = desk.ticket.publish_body(ALICE, &desk.request);
    assert_eq!(desk.client.publish(body).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_message_that_came_before() {
    let mut desk = Desk::new().await;
    let body = desk.ticket.publish_body(ALICE, &desk.request);
    assert_eq!(desk.client.publish(body.clone()).await.unwrap().status, 200);
    let replayed = desk.client.publish(body).await.unwrap();
    assert_eq!((replayed.status, replayed.text("ErrorId").as_str()), (500, "28032"));
    assert_eq!(desk.why(), "a message that came before");
    assert_eq!(desk.lab.counters().certificates, 1);
    // The same request in a message of its own is a repetition, and the store's business.
    let again = desk.ticket.publish_body(ALICE, &desk.request);
    assert_eq!(desk.client.publish(again).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_request_without_or_with_two_of_what_there_is_one_of() {
    let mut desk = Desk::new().await;
    let ticket = desk.ticket.clone();
    let (timestamp, assertion, signature) = (ticket.timestamp(), ticket.assertion.clone(), ticket.signature());
    for (security, why) in [
        (format!("{assertion}{signature}"), "not one Timestamp in the Security header"),
        (format!("{timestamp}{assertion}"), "not one Signature in the Security header"),
        (format!("{timestamp}{signature}"), "not one Assertion in the Security header"),
        (format!("{timestamp}{timestamp}{assertion}{signature}"), "not one Timestamp in the Security header"),
        (format!("{timestamp}{assertion}{signature}{signature}"), "not one Signature in the Security header"),
        (format!("{timestamp}{assertion}{assertion}{signature}"), "not one Assertion in the Security header"),
        (
            format!("{timestamp}{assertion}{signature}<x Id=\"timestamp\"/>"),
            "the referenced id does not occur exactly once",
        ),
        (
            format!("{}{assertion}{signature}", timestamp.replace(" wsu:Id=\"timestamp\"", "")),
            "the referenced id does not occur exactly once",
        ),
        (
            format!("{timestamp}{assertion}{}", signature.replace("#timestamp", "")),
            "the Reference is not to an id in this message",
        ),
        (
            format!("{timestamp}{assertion}{}", signature.replace("#hmac-sha1", "#rsa-sha1")),
            "the signature is not plain hmac-sha1",
        ),
    ] {
        assert_eq!(desk.invalid(&security).await, why);
    }
}

#[tokio::test]
async fn a_signing_request_that_is_none_or_has_more_behind_it() {
    let mut desk = Desk::new().await;
    let (whole, mut more) = (desk.request.clone(), desk.request.clone());
    more.push(0);
    for request in [&whole[..whole.len() - 20], &more, b"no request"] {
        let body = desk.ticket.publish_body(ALICE, request);
        assert_eq!(desk.error_info(body).await, "99003");
    }
}
