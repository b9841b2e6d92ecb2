//! Promises of a whole enrolment, over HTTPS on loopback.

mod answers;
mod lab;
mod lab_ways;
mod sign_in;

use super::peer::{HOST, PASSWORD, PIN, Peer, Publishing, Service};
use super::*;
use uuid::Uuid;
use x509_parser::prelude::{FromDer, X509Certificate};

const CERTPROV: &str = "https://web.contoso.example/CertProv/CertProvisioningService.svc";

fn pool(peer: &Peer, change: impl FnOnce(&mut Settings)) -> Pool {
    let mut settings = Settings::new(CERTPROV, peer.trust());
    settings.resolve = peer.resolve();
    settings.profile = Some(Profile::lab());
    settings.refused = RefusedCredentials::new();
    change(&mut settings);
    Pool::new(settings).unwrap()
}

fn alice() -> SipAddress {
    "alice@contoso.example".parse().unwrap()
}

fn ntlm(password: &str) -> SignIn {
    SignIn::Ntlm { login: "CONTOSO\\alice".to_owned(), password: password.into() }
}

fn negotiate(password: &str) -> SignIn {
    SignIn::Negotiate { login: "CONTOSO\\alice".to_owned(), password: password.into() }
}

fn basic(password: &str) -> SignIn {
    SignIn::Basic { login: "CONTOSO\\alice".to_owned(), password: password.into() }
}

fn pin(pin: &str) -> SignIn {
    SignIn::Pin { number: "+1 (206) 555-1219".to_owned(), pin: pin.into() }
}

fn publication() -> Publication {
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    Publication {
        user: alice(),
        device: Uuid::new_v4(),
        signing_request: request.der().to_vec(),
        request_id: Uuid::new_v4(),
    }
}

async fn enrol(pool: &Pool, with: &SignIn) -> Result<(Published, Cost), ServiceError> {
    let mut enrolment = pool.enrolment();
    let ticket = enrolment.sign_in(&alice(), with).await?;
    let published = enrolment.publish(&ticket, &publication()).await?;
    Ok((published, enrolment.cost()))
}

async fn publish_error(publishing: Publishing) -> ServiceError {
    let peer = Peer::start(Service { publishing, ..Service::default() }).await;
    enrol(&pool(&peer, |_| {}), &pin(PIN)).await.unwrap_err()
}

#[tokio::test]
async fn a_warm_enrolment_costs_two_requests_with_a_pin_and_four_with_ntlm_and_a_cold_one_two_more() {
    for (with, warm) in [(pin(PIN), 2), (ntlm(PASSWORD), 4), (negotiate(PASSWORD), 4)] {
        let peer = Peer::start(Service::default()).await;
        let pool = pool(&peer, |_| {});
        let (_, cost) = enrol(&pool, &with).await.unwrap();
        assert_eq!((cost.requests, cost.connections), (warm + 2, 1));
        let (_, cost) = enrol(&pool, &with).await.unwrap();
        assert_eq!((cost.requests, cost.connections), (warm, 1));
        assert!(cost.received > 1000 && cost.sent > 1000);
        assert_eq!(peer.count() as u64, 2 * warm + 2);
    }
}

#[tokio::test]
async fn the_published_certificate_is_for_the_phones_key_and_the_server_is_named() {
    let peer = Peer::start(Service::default()).await;
    let (published, _) = enrol(&pool(&peer, |_| {}), &ntlm(PASSWORD)).await.unwrap();
    assert!(X509Certificate::from_der(&published.certificate).is_ok());
    assert_eq!(published.server.as_deref(), Some("fe02.contoso.example"));
}

#[tokio::test]
async fn cookies_stay_with_their_enrolment() {
    let peer = Peer::start(Service::default()).await;
    let pool = pool(&peer, |_| {});
    enrol(&pool, &pin(PIN)).await.unwrap();
    enrol(&pool, &pin(PIN)).await.unwrap();
    let requests = peer.requests.lock().unwrap();
    assert!(requests[3].contains("pin=fe01"), "{requests:?}");
    assert!(!requests[4].contains("pin=fe01"), "{requests:?}");
}

#[tokio::test]
async fn a_survey_shows_chain_clock_and_ways_to_sign_in_without_a_credential() {
    let peer = Peer::start(Service::default()).await;
    let pool = pool(&peer, |_| {});
    let survey = pool.enrolment().survey().await.unwrap();
    assert_eq!((survey.host.as_str(), survey.presented.len()), (HOST, 2));
    assert_eq!(survey.completed, [peer.authority.root_der()]);
    let offset = survey.clock_offset_seconds.unwrap();
    assert!((3598..=3600).contains(&offset), "{offset}");
    assert_eq!(survey.sign_in_ports, ["WebTicketServiceWinNegotiate", "WebTicketServiceCert", "WebTicketServicePin"]);
    pool.enrolment().survey().await.unwrap();
    assert_eq!(peer.count(), 2);
}

#[tokio::test]
async fn a_refused_credential_is_not_sent_again_and_a_corrected_one_is() {
    for (wrong, right) in [(ntlm("wrong"), ntlm(PASSWORD)), (pin("0000"), pin(PIN))] {
        let peer = Peer::start(Service::default()).await;
        let pool = pool(&peer, |_| {});
        let first = enrol(&pool, &wrong).await.unwrap_err();
        assert!(matches!(first, ServiceError::CredentialRefused { .. }), "{first}");
        let sent = peer.count();
        let second = enrol(&pool, &wrong).await.unwrap_err();
        assert!(second.credential_refused() && second.class() == ErrorClass::NeedsPerson);
        assert_eq!(peer.count(), sent);
        enrol(&pool, &right).await.unwrap();
    }
}

#[tokio::test]
async fn a_pin_is_sent_to_no_pool_whose_message_is_not_known() {
    let peer = Peer::start(Service::default()).await;
    let error = enrol(&pool(&peer, |s| s.profile = None), &pin(PIN)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Policy);
    assert_eq!(peer.count(), 0);
}

#[tokio::test]
async fn a_service_without_the_pin_port_is_told_by_its_metadata() {
    let peer = Peer::start(Service { pin_offered: false, ..Service::default() }).await;
    let error = enrol(&pool(&peer, |_| {}), &pin(PIN)).await.unwrap_err();
    let said =
        "web.contoso.example does not offer PIN authentication (port WebTicketServicePin is not in its metadata)";
    assert_eq!(error.to_string(), said);
    assert_eq!(peer.count(), 2);
}

#[tokio::test]
async fn a_credential_leaves_the_users_domain_only_to_a_host_that_was_allowed() {
    let peer = Peer::start(Service { ticket_host: "sts.fabrikam.example", ..Service::default() }).await;
    for with in [pin(PIN), ntlm(PASSWORD)] {
        let error = enrol(&pool(&peer, |_| {}), &with).await.unwrap_err();
        assert!(
            matches!(&error, ServiceError::HostNotAllowed { host, .. } if host == "sts.fabrikam.example"),
            "{error}"
        );
    }
    assert!(peer.requests.lock().unwrap().iter().all(|request| request.starts_with("GET")));

    let allowing = pool(&peer, |settings| settings.allowed_hosts.push("sts.fabrikam.example".to_owned()));
    let (_, cost) = enrol(&allowing, &ntlm(PASSWORD)).await.unwrap();
    assert_eq!(cost.connections, 2, "one stream for each host");
}

#[tokio::test]
async fn an_enrolment_never_serves_two_users() {
    let peer = Peer::start(Service::default()).await;
    let mut enrolment = pool(&peer, |_| {}).enrolment();
    let ticket = enrolment.sign_in(&alice(), &ntlm(PASSWORD)).await.unwrap();
    let sent = peer.count();
    let bob: SipAddress = "bob@contoso.example".parse().unwrap();
    let error = enrolment.sign_in(&bob, &ntlm(PASSWORD)).await.unwrap_err();
    assert!(matches!(error, ServiceError::OtherUser { .. }));
    let for_bob = Publication { user: bob, ..publication() };
    assert_eq!(enrolment.publish(&ticket, &for_bob).await.unwrap_err().class(), ErrorClass::Policy);
    assert_eq!(peer.count(), sent);
}

#[tokio::test]
async fn a_ticket_for_somebody_else_is_not_used() {
    let peer = Peer::start(Service { named: "bob@contoso.example", ..Service::default() }).await;
    let error = enrol(&pool(&peer, |_| {}), &pin(PIN)).await.unwrap_err();
    assert_eq!(error.to_string(), "the credential belongs to sip:bob@contoso.example, not to alice@contoso.example");
}

#[tokio::test]
async fn an_ended_ticket_is_not_sent_and_a_refused_one_asks_for_a_new_one() {
    let peer = Peer::start(Service { expires: "2026-01-01T00:00:00Z", ..Service::default() }).await;
    let error = enrol(&pool(&peer, |_| {}), &pin(PIN)).await.unwrap_err();
    assert!(error.ticket_refused());
    assert_eq!(peer.count(), 3);
    for number in [28020, 28032, 99007] {
        assert!(publish_error(Publishing::Fault(number)).await.ticket_refused());
    }
}

#[tokio::test]
async fn a_new_ticket_for_the_same_user_is_had_on_the_same_connection() {
    let peer = Peer::start(Service::default()).await;
    let mut enrolment = pool(&peer, |_| {}).enrolment();
    enrolment.sign_in(&alice(), &ntlm(PASSWORD)).await.unwrap();
    let ticket = enrolment.sign_in(&alice(), &ntlm(PASSWORD)).await.unwrap();
    enrolment.publish(&ticket, &publication()).await.unwrap();
    assert_eq!((enrolment.cost().requests, enrolment.cost().connections), (7, 1));
}

#[tokio::test]
async fn another_login_of_the_same_user_never_goes_over_the_first_ones_connection() {
    let peer = Peer::start(Service::default()).await;
    let mut enrolment = pool(&peer, |_| {}).enrolment();
    enrolment.sign_in(&alice(), &ntlm(PASSWORD)).await.unwrap();
    let upn = SignIn::Ntlm { login: "alice@contoso.example".to_owned(), password: "wrong".into() };
    assert!(enrolment.sign_in(&alice(), &upn).await.unwrap_err().credential_refused());
    assert_eq!(enrolment.cost().connections, 2);
}

#[tokio::test]
async fn a_wrong_pin_given_to_several_phones_at_once_is_sent_once() {
    let peer = Peer::start(Service::default()).await;
    let pool = pool(&peer, |_| {});
    pool.enrolment().survey().await.unwrap();
    let wrong = pin("0000");
    let (a, b, c) = tokio::join!(enrol(&pool, &wrong), enrol(&pool, &wrong), enrol(&pool, &wrong));
    assert!([a, b, c].into_iter().all(|result| result.unwrap_err().credential_refused()));
    assert_eq!(peer.count(), 3);
}

#[tokio::test]
async fn what_follows_a_sent_publication_is_unknown_unless_the_service_said_no() {
    use Publishing::{BadGateway, Endless, Garbage, HangUp, IssueForAnotherKey};
    for publishing in [HangUp, Garbage, BadGateway, Endless, IssueForAnotherKey] {
        let error = publish_error(publishing).await;
        assert!(error.outcome_unknown(), "{error}");
        assert!(error.next_step().contains("the same"));
    }
}

#[tokio::test]
async fn a_publication_is_never_sent_twice_by_itself() {
    let peer = Peer::start(Service { publishing: Publishing::HangUp, ..Service::default() }).await;
    enrol(&pool(&peer, |_| {}), &pin(PIN)).await.unwrap_err();
    assert_eq!(peer.requests.lock().unwrap().iter().filter(|r| r.contains("WebTicket_Proof")).count(), 1);
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closed_is_opened_again() {
    // The third request is the first for the ticket.
    let peer = Peer::start(Service { hang_up_at: Some(3), ..Service::default() }).await;
    let (_, cost) = enrol(&pool(&peer, |_| {}), &ntlm(PASSWORD)).await.unwrap();
    assert_eq!(cost.connections, 2);
}

#[tokio::test]
async fn a_connection_closed_between_ticket_and_publication_is_opened_again_and_publishes_once() {
    let peer = Peer::start(Service::default()).await;
    let mut enrolment = pool(&peer, |_| {}).enrolment();
    let ticket = enrolment.sign_in(&alice(), &ntlm(PASSWORD)).await.unwrap();
    peer.cut.notify_waiters();
    while !enrolment.lines.all_closed() {
        tokio::task::yield_now().await;
    }
    enrolment.publish(&ticket, &publication()).await.unwrap();
    assert_eq!(enrolment.cost().connections, 2);
    assert_eq!(peer.requests.lock().unwrap().iter().filter(|r| r.contains("WebTicket_Proof")).count(), 1);
}

#[tokio::test]
async fn a_bad_signing_request_is_found_before_anything_is_sent() {
    let peer = Peer::start(Service::default()).await;
    let mut enrolment = pool(&peer, |_| {}).enrolment();
    let ticket = enrolment.sign_in(&alice(), &pin(PIN)).await.unwrap();
    let sent = peer.count();
    let bad = Publication { signing_request: vec![0x30, 0x00], ..publication() };
    let error = enrolment.publish(&ticket, &bad).await.unwrap_err();
    assert!(matches!(error, ServiceError::BadSigningRequest { .. }));
    assert_eq!(peer.count(), sent);
}

#[tokio::test]
async fn metadata_is_read_once_for_enrolments_that_begin_at_the_same_time() {
    let peer = Peer::start(Service::default()).await;
    let pool = pool(&peer, |_| {});
    let survey = || async { pool.enrolment().survey().await.map(|survey| survey.presented.len()) };
    let (a, b, c, d) = tokio::join!(survey(), survey(), survey(), survey());
    assert!([a, b, c, d].into_iter().all(|survey| survey.unwrap() == 2));
    assert_eq!(peer.count(), 2);
}

#[tokio::test]
async fn where_metadata_cannot_be_read_every_enrolment_says_so() {
    let peer = Peer::start(Service { hang_up_at: Some(1), ..Service::default() }).await;
    let pool = pool(&peer, |_| {});
    let survey = || async { pool.enrolment().survey().await.map(drop) };
    let (a, b) = tokio::join!(survey(), survey());
    assert!(a.is_err() && b.is_ok(), "the one that waited reads for itself");
}
