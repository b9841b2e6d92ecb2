//! Signing in by certificate, and what a signed-in client is told.

use super::client::{INSTANCE, lab};
use super::*;
use crate::credential::SipAddress;
use crate::lab::Lab;
use crate::lab::registrar::Proof;
use crate::registrar::challenge::Scheme;

pub(super) fn alice() -> SipAddress {
    ALICE.parse().unwrap()
}

/// A client that is signed in by certificate, and the answer to its REGISTER.
pub(super) async fn signed_in(lab: &Lab) -> (Client, crate::registrar::message::Message) {
    let (certificate, key) = lab.enrolled(&alice()).await;
    let mut client = Client::connect(lab).await;
    let answer = client.sign_in(&certificate, &key).await;
    (client, answer)
}

#[tokio::test]
async fn a_register_without_credentials_is_told_the_time_and_how_to_sign_in() {
    let lab = lab(&[]).await;
    let mut client = Client::connect(&lab).await;
    let (answer, offer) = client.offer().await;
    assert_eq!(answer.status(), Some(401));
    assert!(answer.header("Date").unwrap().ends_with(" GMT"));
    assert_eq!(offer.names(), "NTLM, TLS-DSK");
    let dsk = offer.of(Scheme::TlsDsk).unwrap();
    assert_eq!((dsk.version, dsk.targetname.as_str()), (4, "fe02.contoso.example"));
    assert_eq!(dsk.sts_uri, Some(lab.ready().certprov_url));
    assert!((&dsk.opaque, &dsk.data) == (&None, &None));
    assert!(offer.of(Scheme::Ntlm).unwrap().sts_uri.is_none());
}

#[tokio::test]
async fn a_published_certificate_signs_its_user_in() {
    let lab = lab(&[]).await;
    let (_, answer) = signed_in(&lab).await;
    assert_eq!(answer.status(), Some(200));
    assert_eq!(answer.header("Expires"), Some("600"));
    assert_eq!(answer.header("ms-keep-alive"), Some("UAS; tcp=no; hop-hop=yes; end-end=no; timeout=300"));
    let contact = answer.header("Contact").unwrap();
    assert!(contact.contains("gruu=\"sip:alice@contoso.example;opaque=user:epid:21nYNIVlkV-jtN6FPBU0fQAA;gruu\""));
    assert!(contact.contains(&format!("+sip.instance=\"<urn:uuid:{INSTANCE}>\"")));
    let [registration] = &lab.registrar().registrations()[..] else { panic!() };
    assert_eq!((registration.user.as_str(), registration.epid.as_str()), (ALICE, "c8ca638a15"));
    let Proof::TlsDsk { tls, cipher_suite } = &registration.proof else { panic!() };
    assert_eq!(*tls, "TLS 1.2");
    assert!(cipher_suite.ends_with("_SHA384"), "{cipher_suite}");
}

#[tokio::test]
async fn a_registration_is_renewed_by_the_same_association_and_ends_when_it_is_told_to() {
    let lab = lab(&[]).await;
    let (mut client, _) = signed_in(&lab).await;
    let request = client.request("REGISTER").with("Expires", "7200");
    let renewed = client.serve(request).await;
    assert_eq!((renewed.status(), renewed.header("Expires")), (Some(200), Some("900")));
    assert_eq!(lab.registrar().registrations().len(), 1);
    let request = client.request("REGISTER").with("Expires", "0");
    let ended = client.serve(request).await;
    assert_eq!((ended.status(), ended.header("Expires")), (Some(200), Some("0")));
    assert!(lab.registrar().registrations().is_empty());
}

#[tokio::test]
async fn keep_alives_are_not_answered_and_disturb_nothing() {
    let lab = lab(&[]).await;
    let (mut client, _) = signed_in(&lab).await;
    client.raw(b"\r\n\r\n\r\n\r\n").await;
    let request = client.request("REGISTER");
    assert_eq!(client.serve(request).await.status(), Some(200));
}

#[tokio::test]
async fn whoever_is_signed_in_gets_a_signed_answer_to_whatever_they_ask() {
    let lab = lab(&[]).await;
    let (mut client, _) = signed_in(&lab).await;
    for (method, status) in [
        ("SUBSCRIBE", 200),
        ("SERVICE", 200),
        ("OPTIONS", 200),
        ("MESSAGE", 480),
        ("INVITE", 480),
        ("BYE", 481),
        ("JUGGLE", 405),
    ] {
        let request = client.request(method);
        let answer = client.serve(request).await;
        assert_eq!(answer.status(), Some(status), "{method}");
        assert_eq!(answer.header("Expires").is_some(), method == "SUBSCRIBE");
    }
}

#[tokio::test]
async fn two_endpoints_of_one_connection_have_an_association_each() {
    let lab = lab(&[]).await;
    let (certificate, key) = lab.enrolled(&alice()).await;
    let mut client = Client::connect(&lab).await;
    client.sign_in(&certificate, &key).await;
    let first = client.signed.take();
    client.epid = "0011223344".to_owned();
    client.sign_in(&certificate, &key).await;
    assert_eq!(lab.registrar().registrations().len(), 2);
    // The second endpoint does not go on with the association of the first.
    client.signed = first;
    let request = client.request("REGISTER");
    let request = client.signed(request);
    assert_eq!(client.ask(&request).await.status(), Some(401));
    client.epid = "c8ca638a15".to_owned();
    let request = client.request("REGISTER");
    assert_eq!(client.serve(request).await.status(), Some(200));
}

#[tokio::test]
async fn a_header_of_sixty_kilobytes_and_headers_in_another_order_and_form_are_read() {
    let lab = lab(&[]).await;
    let (mut client, _) = signed_in(&lab).await;
    let request = client.request("REGISTER").with("X-Padding", &"x".repeat(60_000));
    assert_eq!(client.serve(request).await.status(), Some(200));
    let request = client.request("REGISTER");
    let request = client.signed(request);
    let text = String::from_utf8(request.to_bytes()).unwrap();
    let text = text
        .replace("From: ", "f: ")
        .replace("Call-ID: ", "i: ")
        .replace("Authorization: TLS-DSK", "AUTHORIZATION: TLS-DSK");
    client.raw(text.as_bytes()).await;
    let answer = client.receive().await;
    assert!(answer.status() == Some(200) && client.verifies(&answer));
}

#[tokio::test]
async fn signatures_in_the_proxys_header_are_answered_in_the_proxys_header() {
    let lab = lab(&["asks-as-proxy"]).await;
    let (certificate, key) = lab.enrolled(&alice()).await;
    let mut client = Client::connect(&lab).await;
    client.place = crate::registrar::challenge::Place::Proxy;
    let request = client.request("REGISTER");
    assert_eq!(client.ask(&request).await.status(), Some(407));
    assert_eq!(client.sign_in(&certificate, &key).await.status(), Some(200));
}

#[tokio::test]
async fn in_version_3_the_message_that_ends_the_handshake_is_not_signed_and_every_other_is() {
    let lab = lab(&["version-3"]).await;
    let (certificate, key) = lab.enrolled(&alice()).await;
    let mut client = Client::connect(&lab).await;
    let last = client.shake(&certificate, &key).await.unwrap();
    assert!(last.header("WWW-Authenticate").unwrap().ends_with("version=3"));
    let unsigned = |client: &mut Client| {
        let signed = client.signed.as_ref().unwrap();
        let value = client.credentials(Scheme::TlsDsk, &signed.target.clone(), Some(&signed.opaque.clone()));
        client.request("REGISTER").with("Authorization", &value.with_bare("version", 3).to_string())
    };
    let request = unsigned(&mut client);
    let answer = client.ask(&request).await;
    assert!(answer.status() == Some(200) && client.verifies(&answer));
    let request = client.request("REGISTER");
    assert_eq!(client.serve(request).await.status(), Some(200));
    let request = unsigned(&mut client);
    assert_eq!(client.ask(&request).await.status(), Some(401));
}

#[tokio::test]
async fn registrations_are_told_to_whoever_listens() {
    let lab = lab(&[]).await;
    let mut news = lab.registrar().news();
    signed_in(&lab).await;
    assert_eq!(news.recv().await.unwrap().user, alice());
}
