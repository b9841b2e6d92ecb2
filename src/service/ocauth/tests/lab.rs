//! The same promises against the lab, which really checks tickets, signatures and passwords.

use super::*;
use crate::lab::keys::Keys;
use crate::lab::pki::{Dates, Pki, ServerFaults};
use crate::lab::web_services::{
    CertificateFault, Kind, Options, Settings as LabSettings, User, WebServices, WindowsAuth,
};
use crate::tls::{Distrust, Resolve, TlsError, Trust};
use aws_lc_rs::signature::RsaKeyPair;
use secrecy::ExposeSecret;
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

const HOST: &str = "web.contoso.example";
static PKI: LazyLock<Arc<Pki>> = LazyLock::new(|| Arc::new(Pki::new(&Keys::recycled())));

pub(super) async fn lab_with(settings: LabSettings, server_faults: ServerFaults) -> WebServices {
    let users = vec![User::new("alice@contoso.example".parse().unwrap(), "+12065551219")];
    WebServices::start(Options { settings, server_faults, ..Options::new(Arc::clone(&PKI), users) }).await.unwrap()
}

/// The lab as it comes: it omits its intermediate.
async fn lab() -> WebServices {
    lab_with(LabSettings::default(), ServerFaults::default()).await
}

pub(super) fn pool(lab: &WebServices) -> Pool {
    Pool::new(settings(lab)).unwrap()
}

fn settings(lab: &WebServices) -> Settings {
    let mut trust = Trust::only_given();
    trust.add_der("lab", PKI.root_der()).unwrap();
    let mut settings = Settings::new(lab.certprov_url(HOST), trust);
    let port = lab.address().port();
    settings.resolve = vec![Resolve { host: HOST.to_owned(), port, address: lab.address() }];
    settings.profile = Some(Profile::lab());
    settings.refused = RefusedCredentials::new();
    settings
}

pub(super) fn ntlm(lab: &WebServices) -> SignIn {
    let alice = &lab.users()[0];
    SignIn::Ntlm { login: alice.login.clone(), password: alice.password.clone() }
}

pub(super) fn pin(lab: &WebServices) -> SignIn {
    let alice = &lab.users()[0];
    SignIn::Pin { number: "+1 (206) 555-1219".to_owned(), pin: alice.pin.clone() }
}

fn publication(lab: &WebServices) -> Publication {
    keyed_publication(lab).0
}

/// With the key that the request is for.
pub(super) fn keyed_publication(lab: &WebServices) -> (Publication, RsaKeyPair) {
    let pkcs8 = Keys::recycled().take(KeyKind::Rsa2048);
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(pkcs8.as_slice());
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256).unwrap();
    let publication = Publication {
        user: lab.users()[0].sip.clone(),
        device: Uuid::new_v4(),
        signing_request: rcgen::CertificateParams::default().serialize_request(&key).unwrap().der().to_vec(),
        request_id: Uuid::new_v4(),
    };
    (publication, RsaKeyPair::from_pkcs8(&pkcs8).unwrap())
}

pub(super) async fn enrol(lab: &WebServices, pool: &Pool, with: &SignIn) -> Result<(Published, Cost), ServiceError> {
    let mut enrolment = pool.enrolment();
    let publication = publication(lab);
    let ticket = enrolment.sign_in(&publication.user, with).await?;
    let published = enrolment.publish(&ticket, &publication).await?;
    let stored = lab.store().get(&publication.user, publication.device).expect("the lab stored it");
    assert_eq!(stored.certificate, published.certificate);
    Ok((published, enrolment.cost()))
}

#[tokio::test]
async fn the_lab_believes_our_tickets_cold_and_warm_with_ntlm_and_pin() {
    for (pick, warm) in [(pin as fn(&WebServices) -> SignIn, 2), (ntlm, 4)] {
        let lab = lab().await;
        let pool = pool(&lab);
        let (published, cost) = enrol(&lab, &pool, &pick(&lab)).await.unwrap();
        assert_eq!(published.server.as_deref(), Some("fe02.contoso.example"));
        assert_eq!(cost.requests, warm + 2);
        let (_, cost) = enrol(&lab, &pool, &pick(&lab)).await.unwrap();
        assert_eq!((cost.requests, cost.connections), (warm, 1));
        assert_eq!(lab.counters().requests[&Kind::IssuerDownload], 1, "the omitted intermediate is fetched once");
    }
}

#[tokio::test]
async fn other_spellings_of_the_same_meaning_are_read() {
    let lab = lab().await;
    {
        let mut faults = lab.faults();
        (faults.other_prefixes, faults.wrapped_metadata, faults.pkcs7) = (true, true, true);
    }
    enrol(&lab, &pool(&lab), &ntlm(&lab)).await.unwrap();
    enrol(&lab, &pool(&lab), &pin(&lab)).await.unwrap();
}

#[tokio::test]
async fn every_way_in_which_windows_authentication_is_offered_is_taken() {
    for windows in [WindowsAuth::Negotiate, WindowsAuth::OnlyNtlmOffered, WindowsAuth::NtlmPort] {
        let lab =
            lab_with(LabSettings { windows, cookie_demanded: true, ..LabSettings::default() }, ServerFaults::none())
                .await;
        enrol(&lab, &pool(&lab), &ntlm(&lab)).await.unwrap();
    }
    let lab = lab_with(LabSettings { windows: WindowsAuth::Off, ..LabSettings::default() }, ServerFaults::none()).await;
    let error = enrol(&lab, &pool(&lab), &ntlm(&lab)).await.unwrap_err();
    assert!(matches!(error, ServiceError::NotOffered { .. }), "{error}");
}

#[tokio::test]
async fn a_wrong_pin_and_a_wrong_password_are_sent_once() {
    let lab = lab().await;
    let pool = pool(&lab);
    let alice = lab.users()[0].clone();
    let wrong = format!("{}x", alice.password.expose_secret());
    let wrong = SignIn::Ntlm { login: alice.login.clone(), password: wrong.into() };
    for (with, kind, legs) in [
        (SignIn::Pin { number: alice.number.clone(), pin: "nonsense".into() }, Kind::PinTicket, 1),
        (wrong, Kind::NtlmTicket, 3),
    ] {
        for _ in 0..2 {
            assert!(enrol(&lab, &pool, &with).await.unwrap_err().credential_refused());
        }
        assert_eq!(lab.counters().requests[&kind], legs);
    }
}

#[tokio::test]
async fn an_unavailable_store_is_temporary_and_the_same_request_goes_through_later() {
    let lab = lab().await;
    lab.faults().store_unavailable = 1;
    let mut enrolment = pool(&lab).enrolment();
    let publication = publication(&lab);
    let ticket = enrolment.sign_in(&publication.user, &pin(&lab)).await.unwrap();
    let error = enrolment.publish(&ticket, &publication).await.unwrap_err();
    assert_eq!((error.class(), error.outcome_unknown()), (ErrorClass::Temporary, false));
    enrolment.publish(&ticket, &publication).await.unwrap();
}

#[tokio::test]
async fn a_refused_ticket_is_replaced_once_by_a_new_one() {
    let lab = lab().await;
    lab.faults().ticket_invalid = 1;
    let mut enrolment = pool(&lab).enrolment();
    let publication = publication(&lab);
    let ticket = enrolment.sign_in(&publication.user, &ntlm(&lab)).await.unwrap();
    assert!(enrolment.publish(&ticket, &publication).await.unwrap_err().ticket_refused());
    let ticket = enrolment.sign_in(&publication.user, &ntlm(&lab)).await.unwrap();
    enrolment.publish(&ticket, &publication).await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_leaves_the_outcome_unknown_although_the_store_has_the_certificate() {
    let lab = lab().await;
    lab.faults().answer_lost = 1;
    let mut enrolment = pool(&lab).enrolment();
    let publication = publication(&lab);
    let ticket = enrolment.sign_in(&publication.user, &pin(&lab)).await.unwrap();
    let error = enrolment.publish(&ticket, &publication).await.unwrap_err();
    assert!(error.outcome_unknown(), "{error}");
    assert!(lab.store().get(&publication.user, publication.device).is_some());
    assert_eq!(lab.counters().requests[&Kind::Publish], 1);
    let published = enrolment.publish(&ticket, &publication).await.unwrap();
    let stored = lab.store().get(&publication.user, publication.device).unwrap();
    assert_eq!(published.certificate, stored.certificate);
}

#[tokio::test]
async fn faults_of_the_service_have_their_class() {
    let lab = lab().await;
    let pool = pool(&lab);
    enrol(&lab, &pool, &pin(&lab)).await.unwrap();

    lab.faults().sign_in_broken = 1;
    let error = enrol(&lab, &pool, &ntlm(&lab)).await.unwrap_err();
    assert_eq!((error.class(), error.diagnosis().unwrap().number), (ErrorClass::Temporary, Some(28001)));

    let alice = lab.users()[0].sip.clone();
    lab.faults().not_sip_enabled.insert(alice);
    let error = enrol(&lab, &pool, &ntlm(&lab)).await.unwrap_err();
    assert_eq!((error.class(), error.diagnosis().unwrap().number), (ErrorClass::NeedsPerson, Some(28000)));
    lab.faults().not_sip_enabled.clear();

    lab.faults().certificate = CertificateFault::AnotherKey;
    let error = enrol(&lab, &pool, &pin(&lab)).await.unwrap_err();
    assert!(matches!(error, ServiceError::UnfitCertificate { .. }), "{error}");
    lab.faults().certificate = CertificateFault::None;

    for kind in [Kind::PinTicket, Kind::Publish] {
        lab.faults().huge = Some(kind);
        let huge = enrol(&lab, &pool, &pin(&lab)).await.unwrap_err();
        lab.faults().huge = None;
        lab.faults().malformed = Some(kind);
        let malformed = enrol(&lab, &pool, &pin(&lab)).await.unwrap_err();
        lab.faults().malformed = None;
        assert_eq!(huge.outcome_unknown(), kind == Kind::Publish, "{huge}");
        assert_eq!(malformed.outcome_unknown(), kind == Kind::Publish, "{malformed}");
    }

    lab.faults().no_date.insert(Kind::Publish);
    enrol(&lab, &pool, &pin(&lab)).await.unwrap();
}

#[tokio::test]
async fn a_service_whose_clock_is_wrong_is_surveyed_and_its_tickets_are_judged_by_its_clock() {
    let lab = lab().await;
    lab.faults().clock_offset = time::Duration::hours(-10);
    let pool = pool(&lab);
    let offset = pool.enrolment().survey().await.unwrap().clock_offset_seconds.unwrap();
    assert!((-36002..=-35998).contains(&offset), "{offset}");
    enrol(&lab, &pool, &pin(&lab)).await.unwrap();
}

#[tokio::test]
async fn a_server_chain_that_is_not_trusted_says_exactly_why() {
    async fn reason(faults: ServerFaults) -> Distrust {
        let lab = lab_with(LabSettings::default(), faults).await;
        match pool(&lab).enrolment().survey().await.unwrap_err() {
            ServiceError::Connection(TlsError::Untrusted { reason, .. }) => reason,
            other => panic!("{other}"),
        }
    }
    let none = ServerFaults::none;
    assert!(matches!(reason(ServerFaults { unknown_root: true, ..none() }).await, Distrust::UnknownIssuer { .. }));
    assert!(matches!(reason(ServerFaults { wrong_name: true, ..none() }).await, Distrust::WrongName { .. }));
    assert_eq!(reason(ServerFaults { server_dates: Dates::Expired, ..none() }).await, Distrust::Expired);
    assert_eq!(reason(ServerFaults { server_dates: Dates::NotYet, ..none() }).await, Distrust::NotYetValid);
    assert_eq!(reason(ServerFaults { intermediate_dates: Dates::Expired, ..none() }).await, Distrust::Expired);
    let omitted = ServerFaults { intermediate_omitted: true, no_issuer_address: true, ..none() };
    let omitted = reason(omitted).await;
    assert!(
        matches!(&omitted, Distrust::MissingIntermediate { issuer, .. } if issuer.contains("Issuing CA 2")),
        "{omitted}"
    );
}

#[tokio::test]
async fn a_pool_is_reached_by_its_ipv6_address() {
    let lab = lab().await;
    let mut settings = settings(&lab);
    settings.certprov_url = lab.certprov_url("[::1]");
    settings.resolve[0].host = "[::1]".to_owned();
    enrol(&lab, &Pool::new(settings).unwrap(), &pin(&lab)).await.unwrap();
}

#[cfg(feature = "legacy-tls")]
#[tokio::test]
async fn a_pool_of_tls_1_0_enrols_with_the_old_engine_and_the_modern_one_names_it() {
    use crate::lab::web_services::LabTls;
    use crate::tls::Engine;

    let users = vec![User::new("alice@contoso.example".parse().unwrap(), "+12065551219")];
    let lab = Options { tls: LabTls::OnlyTls10, ..Options::new(Arc::clone(&PKI), users) };
    let lab = WebServices::start(lab).await.unwrap();

    let error = enrol(&lab, &pool(&lab), &ntlm(&lab)).await.unwrap_err();
    let ServiceError::Connection(error) = error else { panic!("{error}") };
    assert!(matches!(error, TlsError::NoCommonCipher { engine: Engine::Modern, .. }), "{error:?}");
    assert!(error.next_step().contains("--tls legacy"));
    assert_eq!(lab.requests().len(), 0);

    let mut settings = settings(&lab);
    settings.engine = Engine::Legacy;
    let pool = Pool::new(settings).unwrap();
    let (_, cold) = enrol(&lab, &pool, &ntlm(&lab)).await.unwrap();
    let (_, warm) = enrol(&lab, &pool, &pin(&lab)).await.unwrap();
    assert_eq!((cold.requests, warm.requests), (6, 2));
}
