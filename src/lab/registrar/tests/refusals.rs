//! Whoever deviates is refused.

use super::client::lab;
use super::*;
use crate::lab::Lab;
use crate::lab::web_services::Standing;
use crate::registrar::challenge::{Offer, Scheme};
use crate::registrar::message::Message;

fn last_refusal(lab: &Lab) -> String {
    lab.registrar().requests().pop().unwrap().refusal.unwrap_or_default()
}

/// Whether it is a challenge to begin anew: no handshake goes on.
fn begins_anew(answer: &Message) -> bool {
    let offer = Offer::read(answer).unwrap();
    answer.status() == Some(401) && offer.challenges.iter().all(|it| it.opaque.is_none() && it.data.is_none())
}

/// What a certificate that signs nobody in is told, and why.
async fn refused(lab: &Lab, certificate: &[u8], key: &[u8]) -> String {
    let mut client = Client::connect(lab).await;
    let answer = client.shake(certificate, key).await.unwrap_err();
    assert!(begins_anew(&answer));
    assert!(answer.header("ms-diagnostics").unwrap().starts_with("1000;reason=\"Final handshake failed\""));
    assert!(lab.registrar().registrations().is_empty());
    last_refusal(lab)
}

#[tokio::test]
async fn a_certificate_that_nobody_published_is_refused() {
    let (lab, other) = (lab(&[]).await, lab(&[]).await);
    let (certificate, key) = other.enrolled(&alice()).await;
    assert_eq!(refused(&lab, &certificate, &key).await, "the certificate is not published");
}

#[tokio::test]
async fn a_revoked_certificate_is_refused() {
    let lab = lab(&[]).await;
    let (certificate, key) = lab.enrolled(&alice()).await;
    assert_eq!(lab.web().store().revoke(&alice()), 1);
    assert_eq!(lab.web().store().list_all()[0].1, Standing::Revoked);
    assert_eq!(refused(&lab, &certificate, &key).await, "the certificate is revoked");
}

#[tokio::test]
async fn another_users_certificate_is_refused_by_a_signed_403() {
    let lab = lab(&[]).await;
    let (certificate, key) = lab.enrolled(&"bob@contoso.example".parse().unwrap()).await;
    let mut client = Client::connect(&lab).await;
    let answer = client.sign_in(&certificate, &key).await;
    assert_eq!(answer.status(), Some(403));
    assert!(answer.header("ms-diagnostics-public").unwrap().starts_with("4004;"));
    assert!(lab.registrar().registrations().is_empty());
    assert_eq!(last_refusal(&lab), "From is another user");
}

#[tokio::test]
async fn the_key_of_another_certificate_does_not_sign_in() {
    let lab = lab(&[]).await;
    let (certificate, _) = lab.enrolled(&alice()).await;
    let (_, key) = lab.enrolled(&alice()).await;
    let mut client = Client::connect(&lab).await;
    let answer = client.shake(&certificate, &key).await.unwrap_err();
    assert!(begins_anew(&answer), "{answer:?}");
}

#[tokio::test]
async fn a_message_that_is_played_again_is_dropped_without_a_word() {
    let lab = lab(&[]).await;
    let (mut client, _) = signed_in(&lab).await;
    let request = client.request("REGISTER");
    let request = client.signed(request);
    assert_eq!(client.ask(&request).await.status(), Some(200));
    client.send(&request).await;
    // What comes next is the answer to the next request, and not to what was played again.
    let next = client.request("OPTIONS");
    assert_eq!(client.serve(next).await.status(), Some(200));
    let requests = lab.registrar().requests();
    let [.., replayed, _] = &requests[..] else { panic!() };
    assert_eq!((replayed.status, replayed.refusal.as_deref()), (None, Some("a number that came before")));
}

#[tokio::test]
async fn numbers_within_the_window_may_come_in_any_order_and_older_ones_never() {
    let lab = lab(&[]).await;
    let (mut client, _) = signed_in(&lab).await;
    for (number, answered) in [(300, true), (45, true), (44, false), (299, true), (45, false), (301, true)] {
        let request = client.request("OPTIONS");
        let request = client.signed_as(request, number);
        client.send(&request).await;
        if answered {
            let answer = client.receive().await;
            assert_eq!(answer.header("CSeq"), request.header("CSeq"), "{number}");
            assert_eq!(answer.status(), Some(200), "{number}");
        }
    }
}

#[tokio::test]
async fn a_wrong_signature_ends_the_association() {
    let lab = lab(&[]).await;
    let (mut client, _) = signed_in(&lab).await;
    let request = client.request("REGISTER");
    let forged = client.signed(request).with("Expires", "0");
    assert!(begins_anew(&client.ask(&forged).await));
    assert_eq!(last_refusal(&lab), "the signature is wrong");
    assert_eq!(lab.registrar().registrations().len(), 1);
    let request = client.request("REGISTER");
    let request = client.signed(request);
    assert!(begins_anew(&client.ask(&request).await));
    assert_eq!(last_refusal(&lab), "no such association");
}

#[tokio::test]
async fn an_unsigned_message_after_the_association_is_never_served() {
    let lab = lab(&[]).await;
    let (mut client, _) = signed_in(&lab).await;
    let (opaque, target) = client.signed.as_ref().map(|it| (it.opaque.clone(), it.target.clone())).unwrap();
    for method in ["REGISTER", "SUBSCRIBE"] {
        let request = client.request(method).with("Expires", "0");
        assert!(begins_anew(&client.ask(&request).await));
    }
    let value = client.credentials(Scheme::TlsDsk, &target, Some(&opaque));
    let request = client.request("REGISTER").with("Expires", "0").with("Authorization", &value.to_string());
    assert!(begins_anew(&client.ask(&request).await));
    assert_eq!(lab.registrar().registrations().len(), 1);
}

#[tokio::test]
async fn an_association_is_worth_nothing_on_another_connection() {
    let lab = lab(&[]).await;
    let (mut client, _) = signed_in(&lab).await;
    let mut other = Client::connect(&lab).await;
    other.signed = client.signed.take();
    let request = other.request("REGISTER");
    let request = other.signed(request);
    assert!(begins_anew(&other.ask(&request).await));
}

#[tokio::test]
async fn what_cannot_be_answered_is_not_challenged_and_no_sip_ends_the_connection() {
    let lab = lab(&[]).await;
    let mut client = Client::connect(&lab).await;
    for method in ["ACK", "CANCEL"] {
        let request = client.request(method);
        client.send(&request).await;
    }
    let request = client.request("OPTIONS");
    assert_eq!(client.ask(&request).await.status(), Some(401));
}

#[tokio::test]
async fn a_handshake_that_begins_with_nonsense_begins_anew() {
    let lab = lab(&[]).await;
    let mut client = Client::connect(&lab).await;
    let target = "fe02.contoso.example";
    for (scheme, data, why) in [
        (Scheme::TlsDsk, &b"GET / HTTP/1.1"[..], "the first message is no ClientHello"),
        (Scheme::TlsDsk, b"", "the first message is no ClientHello"),
        (Scheme::Ntlm, b"NTLMSSP\0\x01\0\0\0", "connection-less NTLM begins with nothing"),
        (Scheme::Kerberos, b"x", "the scheme was not offered"),
    ] {
        let answer = client.leg(scheme, target, None, data).await;
        assert!(begins_anew(&answer));
        assert_eq!(last_refusal(&lab), why);
    }
    assert!(begins_anew(&client.leg(Scheme::TlsDsk, "fe09.contoso.example", None, b"").await));
    assert_eq!(last_refusal(&lab), "the target is another server");
    client.epid.clear();
    assert_eq!(client.leg(Scheme::TlsDsk, target, None, b"").await.status(), Some(400));
}
