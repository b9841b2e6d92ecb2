//! Windows sign-in beyond plain NTLM: SPNEGO, the binding to the TLS connection, Basic, and a pool that loses the handshake.

use super::client::{Client, Messages, NegotiateClient, NtlmClient, Reply, Ticket, binding, lab, lab_with};
use crate::lab::pki::ServerFaults;
use crate::lab::web_services::{ChannelBinding, Credential, Negotiate, Settings, User, WebServices, WindowsAuth};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

const STS: &str = "/WebTicket/WebTicketService.svc";

async fn spnego(lab: &WebServices, password: &str) -> Reply {
    let alice = lab.users()[0].clone();
    let mut client = Client::connect(lab).await;
    let body = client.rst_body(Some("sip:alice@contoso.example"));
    client.windows("Negotiate", &mut NegotiateClient::new(&alice.login, password), body, |_| ()).await
}

fn alice(lab: &WebServices) -> (User, String) {
    let alice = lab.users()[0].clone();
    let password = alice.password.expose_secret().to_owned();
    (alice, password)
}

fn why(lab: &WebServices) -> String {
    lab.requests().pop().unwrap().refusal.unwrap()
}

#[tokio::test]
async fn spnego_is_spoken_and_its_end_is_in_the_answer() {
    let lab = lab().await;
    let (_, password) = alice(&lab);
    let reply = spnego(&lab, &password).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let end = reply.header("www-authenticate").strip_prefix("Negotiate ").unwrap();
    // A NegTokenResp that says accept-completed, with the server's mechListMIC.
    assert_eq!(&STANDARD.decode(end).unwrap()[..9], [0xa1, 27, 0x30, 25, 0xa0, 3, 0x0a, 1, 0]);
    assert_eq!(Ticket::from(&reply).id.split('-').next(), Some("SamlSecurityToken"));

    let reply = spnego(&lab, "a guess").await;
    assert_eq!((reply.status, why(&lab).as_str()), (401, "wrong password"));
}

#[tokio::test]
async fn a_wrong_mech_list_mic_is_refused() {
    let lab = lab().await;
    let (alice, password) = alice(&lab);
    let mut client = Client::connect(&lab).await;
    let mut negotiate = NegotiateClient::new(&alice.login, &password);
    // The code stands at the end of the token.
    let alter = |token: &mut Vec<u8>| *token.last_mut().unwrap() ^= 1;
    let reply = client.windows("Negotiate", &mut negotiate, client.rst_body(None), alter).await;
    assert_eq!((reply.status, why(&lab).as_str()), (401, "the mechListMIC is wrong"));
}

#[tokio::test]
async fn bare_ntlm_and_spnego_under_negotiate_can_each_be_switched_off() {
    let bare = async |lab: &WebServices| {
        let (alice, password) = alice(lab);
        let mut client = Client::connect(lab).await;
        let mut ntlm = NtlmClient::new(&alice.login, &password, None);
        client.windows("Negotiate", &mut ntlm, client.rst_body(None), |_| ()).await.status
    };
    for (negotiate, bare_taken, wrapped_taken) in
        [(Negotiate::Both, 200, 200), (Negotiate::OnlySpnego, 401, 200), (Negotiate::OnlyNtlm, 200, 401)]
    {
        let lab = lab_with(Settings { negotiate, ..Settings::default() }).await;
        let (_, password) = alice(&lab);
        assert_eq!((bare(&lab).await, spnego(&lab, &password).await.status), (bare_taken, wrapped_taken));
    }
}

#[tokio::test]
async fn a_wrong_channel_binding_is_refused_and_an_absent_one_where_it_is_required() {
    let lab = lab().await;
    let (alice, password) = alice(&lab);
    let attempt = async |bound: Option<&[u8]>| {
        let mut client = Client::connect(&lab).await;
        let bound =
            bound.map_or_else(|| Some(binding(&client.server)), |other| (!other.is_empty()).then(|| binding(other)));
        let mut ntlm = NtlmClient::new(&alice.login, &password, bound);
        let reply = client.windows("NTLM", &mut ntlm, client.rst_body(None), |_| ()).await;
        (reply.status, lab.requests().pop().unwrap().refusal.unwrap_or_default())
    };
    let another = (401, "the channel binding is another connection's".to_owned());
    lab.settings().channel_binding = ChannelBinding::Required;
    assert_eq!(attempt(None).await, (200, String::new()));
    assert_eq!(attempt(Some(&[])).await, (401, "no channel binding".to_owned()));
    assert_eq!(attempt(Some(b"another certificate")).await, another);
    lab.settings().channel_binding = ChannelBinding::Checked;
    assert_eq!(attempt(Some(&[])).await.0, 200);
    assert_eq!(attempt(Some(b"another certificate")).await, another);
    lab.settings().channel_binding = ChannelBinding::Ignored;
    assert_eq!(attempt(Some(b"another certificate")).await.0, 200);
    lab.settings().channel_binding = ChannelBinding::Required;
    lab.present(&ServerFaults::none()).unwrap();
    assert_eq!(attempt(None).await.0, 200, "the binding is of the certificate that is shown now");
}

#[tokio::test]
async fn basic_is_offered_and_taken_only_where_it_is_allowed() {
    let lab = lab().await;
    let (alice, password) = alice(&lab);
    let header = |password: &str| format!("Basic {}", STANDARD.encode(format!("{}:{password}", alice.login)));
    let mut client = Client::connect(&lab).await;
    let body = client.rst_body(Some("sip:alice@contoso.example"));
    let reply = client.rst(STS, Some(&header(&password)), body.clone()).await;
    assert_eq!((reply.status, why(&lab).as_str()), (401, "neither NTLM nor Negotiate"));

    lab.settings().basic = true;
    lab.settings().windows = WindowsAuth::OnlyNtlmOffered;
    let reply = client.rst(STS, None, body.clone()).await;
    let offered: Vec<_> = reply.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(offered, ["NTLM", "Basic realm=\"contoso.example\""]);
    assert_eq!(client.rst(STS, Some(&header("a guess")), body.clone()).await.status, 401);
    assert_eq!(client.rst(STS, Some(&header(&password)), body.clone()).await.status, 200);
    assert_eq!(lab.requests().pop().unwrap().credential, Some(Credential::Basic));
    // Nothing of it stays with the connection.
    assert_eq!(client.rst(STS, None, body).await.status, 401);
}

#[tokio::test]
async fn a_handshake_can_lose_its_connection_or_its_front_end_and_start_over() {
    let lab = lab().await;
    let (alice, password) = alice(&lab);
    lab.faults().ntlm_moved = 1;
    let mut client = Client::connect(&lab).await;
    let body = client.rst_body(None);
    let reply = client.ntlm("NTLM", &alice.login, &password, body.clone()).await;
    assert_eq!(reply.status, 401);
    let offered: Vec<_> = reply.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(offered, ["Negotiate", "NTLM"], "as the first answer, without a challenge");
    assert_eq!(client.ntlm("NTLM", &alice.login, &password, body.clone()).await.status, 200);

    lab.faults().ntlm_hang_up = 1;
    let mut client = Client::connect(&lab).await;
    let mut ntlm = NtlmClient::new(&alice.login, &password, None);
    let header = format!("NTLM {}", STANDARD.encode(super::client::Messages::step(&mut ntlm, None)));
    let action = ("soapaction", "\"http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue\"");
    assert!(client.send("POST", STS, &[action, ("authorization", &header)], String::new()).await.is_err());
    let mut client = Client::connect(&lab).await;
    assert_eq!(client.ntlm("NTLM", &alice.login, &password, body).await.status, 200);
}

#[tokio::test]
async fn a_right_password_can_be_refused_on_purpose() {
    let lab = lab().await;
    let (alice, password) = alice(&lab);
    lab.faults().password_refused = 1;
    let mut client = Client::connect(&lab).await;
    let body = client.rst_body(None);
    assert_eq!(client.ntlm("NTLM", &alice.login, &password, body.clone()).await.status, 401);
    assert_eq!(client.ntlm("NTLM", &alice.login, &password, body).await.status, 200);
}

#[tokio::test]
async fn a_client_of_the_era_without_an_integrity_code_is_judged_by_its_response() {
    let lab = lab().await;
    let (alice, right) = alice(&lab);
    let (domain, name) = alice.login.split_once('\\').unwrap();
    for (password, status) in [(right.as_str(), 200), ("wrong", 401)] {
        let mut client = Client::connect(&lab).await;
        let body = client.rst_body(None);
        let hello = NtlmClient::new(&alice.login, password, None).step(None);
        let hello = format!("NTLM {}", STANDARD.encode(hello));
        let challenged = client.rst(STS, Some(&hello), body.clone()).await;
        let challenge = challenged.header("www-authenticate").strip_prefix("NTLM ").unwrap_or_default();
        let challenge = STANDARD.decode(challenge).unwrap();
        assert!(!challenge.is_empty(), "{password} {:?} {:?}", challenged.headers, lab.requests());
        let (token, _) = crate::lab::ntlm::tests::answered(&challenge, (domain, name, password), 0x6208_8201);
        let token = format!("NTLM {}", STANDARD.encode(token));
        assert_eq!(client.rst(STS, Some(&token), body).await.status, status);
    }
    assert_eq!(why(&lab), "wrong password");
}
