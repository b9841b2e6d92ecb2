//! Web tickets by NTLM and by PIN.

use super::client::{Client, lab, lab_of, lab_with, pin_header, rst_body};
use crate::lab::web_services::{Credential, Kind, Settings, User, WindowsAuth};
use secrecy::ExposeSecret;

const STS: &str = "/WebTicket/WebTicketService.svc";
const PIN: &str = "/WebTicket/WebTicketService.svc/pin";

#[tokio::test]
async fn without_a_credential_the_ways_to_sign_in_are_named() {
    let lab = lab().await;
    let mut client = Client::connect(&lab).await;
    let reply = client.rst(STS, None, client.rst_body(None)).await;
    assert_eq!(reply.status, 401);
    let offered: Vec<_> = reply.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(offered, ["Negotiate", "NTLM"]);

    let lab = lab_with(Settings { windows: WindowsAuth::OnlyNtlmOffered, ..Settings::default() }).await;
    let mut client = Client::connect(&lab).await;
    let reply = client.rst(STS, None, client.rst_body(None)).await;
    let offered: Vec<_> = reply.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(offered, ["NTLM"]);
}

#[tokio::test]
async fn the_password_is_really_checked() {
    let lab = lab().await;
    let alice = lab.users()[0].clone();
    let mut client = Client::connect(&lab).await;
    let body = client.rst_body(Some("sip:alice@contoso.example"));

    let reply = client.ntlm("NTLM", &alice.login, "a guess", body.clone()).await;
    assert_eq!(reply.status, 401);
    let bobs = lab.users()[1].password.expose_secret();
    assert_eq!(client.ntlm("Negotiate", &alice.login, bobs, body.clone()).await.status, 401);
    assert_eq!(client.ntlm("NTLM", "CONTOSO\\nobody", bobs, body.clone()).await.status, 401);
    let right = alice.password.expose_secret();
    assert_eq!(client.ntlm("Negotiate", "alice@contoso.example", right, body).await.status, 200);

    let requests = lab.requests();
    let refused: Vec<_> =
        requests.iter().filter(|request| request.refusal.as_deref() == Some("wrong password")).collect();
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|request| request.user.as_ref() == Some(&alice.sip)));
    assert!(refused.iter().all(|request| request.credential == Some(Credential::Ntlm)));
    let debug = format!("{requests:?}{:?}", lab.users());
    assert!(!debug.contains(right));
}

#[tokio::test]
async fn an_ntlm_message_whose_integrity_code_was_taken_away_or_broken_is_refused() {
    let lab = lab().await;
    let alice = lab.users()[0].clone();
    let mut client = Client::connect(&lab).await;
    let mut refused = async |alter: fn(&mut Vec<u8>)| {
        let (password, body) = (alice.password.expose_secret(), client.rst_body(None));
        let reply = client.ntlm_altered("NTLM", &alice.login, password, body, alter).await;
        assert_eq!(reply.status, 401);
        lab.requests().pop().unwrap().refusal.unwrap()
    };
    let unprotected = |message: &mut Vec<u8>| {
        let flags = [6, 0, 4, 0, 2, 0, 0, 0];
        let at = message.windows(8).position(|window| window == flags).unwrap();
        message[at + 4] = 0;
    };
    // The response covers what announces the code.
    assert_eq!(refused(unprotected).await, "wrong password");
    // The code stands behind header and version ([MS-NLMP] 2.2.1.3).
    assert_eq!(refused(|message| message[72] ^= 1).await, "wrong password");
}

#[tokio::test]
async fn an_authenticated_connection_stays_its_users() {
    let lab = lab().await;
    let (alice, bob) = (lab.users()[0].clone(), lab.users()[1].clone());
    let mut client = Client::connect(&lab).await;
    client.ticket(&alice).await;

    let again = client.rst(STS, None, client.rst_body(Some("sip:alice@contoso.example"))).await;
    assert_eq!(again.status, 200);
    let claim = client.rst(STS, None, client.rst_body(Some("sip:bob@contoso.example"))).await;
    assert_eq!(claim.status, 500);
    assert!(claim.body.contains("does not match the SIP URI associated with the presented credentials"));
    let mut other = Client::connect(&lab).await;
    assert_eq!(other.rst(STS, None, other.rst_body(None)).await.status, 401);
    other.ticket(&bob).await;

    let of = |connection| {
        let requests = lab.requests();
        let users = requests.into_iter().filter(|request| request.connection == connection).filter_map(|r| r.user);
        users.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!((of(1), of(2)), (vec![alice.sip], vec![bob.sip]));
}

#[tokio::test]
async fn number_and_pin_give_a_ticket_that_names_the_user() {
    let lab = lab().await;
    let pin = lab.users()[0].pin.expose_secret().to_owned();
    let mut client = Client::connect(&lab).await;
    let body = rst_body(&client.publish_address(), None, &pin_header("tel:+1 (206) 555-1219", &pin));
    let reply = client.rst(PIN, None, body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.text("NameIdentifier"), "sip:alice@contoso.example");
}

#[tokio::test]
async fn two_users_with_one_number_are_told_apart_by_their_pins() {
    let user = |sip: &str, pin: &str| User { pin: pin.into(), ..User::new(sip.parse().unwrap(), "+12065551219") };
    let users = vec![user("alice@contoso.example", "071256"), user("bob@contoso.example", "071257")];
    let lab = lab_of(users, Settings::default()).await;
    let mut client = Client::connect(&lab).await;
    let body = rst_body(&client.publish_address(), None, &pin_header("12065551219", "071257"));
    assert_eq!(client.rst(PIN, None, body).await.text("NameIdentifier"), "sip:bob@contoso.example");
}

#[tokio::test]
async fn ten_wrong_pins_lock_the_right_one_out() {
    let lab = lab().await;
    let mut client = Client::connect(&lab).await;
    let body = |pin: &str| rst_body("https://localhost/", None, &pin_header("12065551219", pin));
    for _ in 0..10 {
        let reply = client.rst(PIN, None, body("no pin")).await;
        assert_eq!((reply.status, reply.text("ErrorId").as_str()), (500, "99001"));
    }
    let right = lab.users()[0].pin.expose_secret().to_owned();
    let reply = client.rst(PIN, None, body(&right)).await;
    assert_eq!(reply.text("ErrorId"), "99002");
    assert!(reply.header("x-ms-diagnostics").starts_with("99002;source=\"fe02.contoso.example\";reason="));
}

#[tokio::test]
async fn what_is_switched_off_is_neither_named_nor_served() {
    let lab =
        lab_with(Settings { pin: false, certificate: false, windows: WindowsAuth::Off, ..Settings::default() }).await;
    let mut client = Client::connect(&lab).await;
    let metadata = client.get(&format!("{STS}/mex")).await;
    assert!(!metadata.body.contains("<wsdl:port "));
    assert_eq!(client.rst(STS, None, client.rst_body(None)).await.status, 404);
    assert_eq!(client.rst(PIN, None, client.rst_body(None)).await.status, 404);
    assert_eq!(lab.counters().requests[&Kind::PinTicket], 1);
}

#[tokio::test]
async fn a_broken_sign_in_and_a_user_without_sip_have_their_published_numbers() {
    let lab = lab().await;
    let alice = lab.users()[0].clone();
    lab.faults().sign_in_broken = 1;
    lab.faults().not_sip_enabled.insert(lab.users()[1].sip.clone());
    let mut client = Client::connect(&lab).await;
    let reply = client.ntlm("NTLM", &alice.login, alice.password.expose_secret(), client.rst_body(None)).await;
    assert_eq!(reply.status, 500);
    assert!(reply.header("x-ms-diagnostics").starts_with("28001;"));
    let bob = lab.users()[1].clone();
    let reply = client.ntlm("NTLM", &bob.login, bob.password.expose_secret(), client.rst_body(None)).await;
    assert_eq!(reply.status, 403);
    assert!(reply.header("x-ms-diagnostics").starts_with("28000;"));
}
