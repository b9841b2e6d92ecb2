//! Signing in by password.

use super::client::{Keys, Signed, lab};
use super::*;
use crate::lab::Lab;
use crate::lab::registrar::Proof;
use crate::lab::registrar::ntlm::tests::answered;
use crate::registrar::challenge::{Offer, Scheme};
use crate::registrar::message::Message;
use secrecy::ExposeSecret;

/// Signs in with this password, and says what the last message is answered.
async fn sign_in(lab: &Lab, client: &mut Client, password: &str) -> Message {
    let (_, offer) = client.offer().await;
    let target = offer.of(Scheme::Ntlm).unwrap().targetname.clone();
    let answer = client.leg(Scheme::Ntlm, &target, None, b"").await;
    let offer = Offer::read(&answer).unwrap();
    let challenge = offer.of(Scheme::Ntlm).unwrap();
    let login = &lab.web().users()[0].login;
    let (domain, user) = login.split_once('\\').unwrap();
    let (token, signer) = answered(challenge.data.as_deref().unwrap(), domain, user, password);
    let opaque = challenge.opaque.clone().unwrap();
    client.signed = Some(Signed { scheme: Scheme::Ntlm, opaque, target, keys: Keys::Ntlm(signer), cnum: 0 });
    let request = client.request("REGISTER");
    let mut request = client.signed(request);
    let signed = request.header("Authorization").unwrap().to_owned();
    request.headers.remove("Authorization");
    let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, token);
    let request = request.with("Authorization", &format!("{signed}, gssapi-data=\"{data}\", version=4"));
    client.ask(&request).await
}

fn password(lab: &Lab) -> String {
    lab.web().users()[0].password.expose_secret().to_owned()
}

#[tokio::test]
async fn a_password_signs_its_user_in_and_signs_from_then_on() {
    let lab = lab(&[]).await;
    let mut client = Client::connect(&lab).await;
    let answer = sign_in(&lab, &mut client, &password(&lab)).await;
    assert!(answer.status() == Some(200) && client.verifies(&answer), "{answer:?}");
    assert_eq!(lab.registrar().registrations()[0].proof, Proof::Ntlm);
    let request = client.request("SUBSCRIBE");
    assert_eq!(client.serve(request).await.status(), Some(200));
}

#[tokio::test]
async fn a_wrong_password_is_asked_again() {
    let lab = lab(&[]).await;
    let mut client = Client::connect(&lab).await;
    let answer = sign_in(&lab, &mut client, "wrong").await;
    assert_eq!(answer.status(), Some(401));
    assert!(answer.header("ms-diagnostics").unwrap().starts_with("1000;"));
    assert_eq!(lab.registrar().requests().pop().unwrap().refusal.as_deref(), Some("wrong password"));
}

#[tokio::test]
async fn a_password_of_another_user_than_from_says_is_refused_by_a_signed_403() {
    let lab = lab(&[]).await;
    let mut client = Client::connect(&lab).await;
    client.user = "bob@contoso.example".to_owned();
    let answer = sign_in(&lab, &mut client, &password(&lab)).await;
    assert!(answer.status() == Some(403) && client.verifies(&answer), "{answer:?}");
}

#[tokio::test]
async fn a_clock_that_is_far_off_is_named() {
    let lab = lab(&["registrar-clock=3600"]).await;
    let mut client = Client::connect(&lab).await;
    let (answer, offer) = client.offer().await;
    assert!(answer.header("Date").is_some() && offer.of(Scheme::Ntlm).is_some());
    let answer = sign_in(&lab, &mut client, &password(&lab)).await;
    assert!(answer.header("ms-diagnostics").unwrap().starts_with("1013;"), "{answer:?}");
}
