//! The ways to a ticket, and what keeps a user from being locked out.

use super::super::peer::{Spnego, Tear};
use super::*;
use aws_lc_rs::{rand, signature};
use std::sync::atomic::AtomicUsize;

const POST: &str = "POST /WebTicket/WebTicketService.svc pin=fe01";

/// The requests to the Windows port, by their scheme.
fn schemes(peer: &Peer) -> Vec<String> {
    let requests = peer.requests.lock().unwrap();
    let posts = requests.iter().filter_map(|request| request.strip_prefix(POST));
    posts.map(|rest| rest.trim().to_owned()).collect()
}

#[tokio::test]
async fn negotiate_speaks_spnego_and_ntlm_prefers_its_own_name() {
    for (with, offered, legs) in [
        (negotiate(PASSWORD), &["Negotiate", "NTLM"][..], ["", "Negotiate", "Negotiate"]),
        (ntlm(PASSWORD), &["Negotiate", "NTLM"], ["", "NTLM", "NTLM"]),
        (ntlm(PASSWORD), &["negotiate, ntlm"], ["", "NTLM", "NTLM"]),
        (ntlm(PASSWORD), &["Negotiate"], ["", "Negotiate", "Negotiate"]),
    ] {
        let peer = Peer::start(Service { schemes: offered, ..Service::default() }).await;
        enrol(&pool(&peer, |_| {}), &with).await.unwrap();
        assert_eq!(schemes(&peer), legs);
    }
}

#[tokio::test]
async fn a_server_that_knows_no_spnego_gets_bare_ntlm_under_the_same_name_once() {
    for spnego in [Spnego::Refused, Spnego::AnsweredBare] {
        let peer = Peer::start(Service { spnego, schemes: &["Negotiate"], ..Service::default() }).await;
        enrol(&pool(&peer, |_| {}), &negotiate(PASSWORD)).await.unwrap();
        assert_eq!(schemes(&peer), ["", "Negotiate", "Negotiate", "Negotiate"]);
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_once_by_every_way() {
    for wrong in [ntlm("wrong"), negotiate("wrong"), basic("wrong")] {
        let schemes = &["Negotiate", "NTLM", "Basic realm=\"contoso.example\""];
        let peer = Peer::start(Service { schemes, ..Service::default() }).await;
        let pool = pool(&peer, |_| {});
        let error = enrol(&pool, &wrong).await.unwrap_err();
        assert!(matches!(error, ServiceError::CredentialRefused { .. }), "{error}");
        let sent = peer.count();
        for way in [ntlm("wrong"), negotiate("wrong"), basic("wrong")] {
            assert!(matches!(enrol(&pool, &way).await, Err(ServiceError::RefusedBefore)));
        }
        assert_eq!(peer.count(), sent);
    }
}

#[tokio::test]
async fn a_handshake_that_is_torn_apart_is_begun_anew_once_and_is_no_wrong_password() {
    for (tear, how) in [
        (Tear::Close, Moved::Closed),
        (Tear::HangUp, Moved::Closed),
        (Tear::ChallengeAgain, Moved::ChallengedAgain),
        (
            Tear::AnotherServer,
            Moved::AnotherServer {
                challenged: "fe01.contoso.example".to_owned(),
                judged: "fe02.contoso.example".to_owned(),
            },
        ),
    ] {
        for with in [ntlm(PASSWORD), negotiate(PASSWORD)] {
            let once = Service { tears: (tear, AtomicUsize::new(1)), ..Service::default() };
            let peer = Peer::start(once).await;
            enrol(&pool(&peer, |_| {}), &with).await.unwrap();

            let always = Service { tears: (tear, AtomicUsize::new(9)), ..Service::default() };
            let peer = Peer::start(always).await;
            let pool = pool(&peer, |_| {});
            let error = enrol(&pool, &with).await.unwrap_err();
            assert!(matches!(&error, ServiceError::HandshakeMoved { how: seen, .. } if *seen == how), "{error:?}");
            assert_eq!((error.class(), error.credential_refused()), (ErrorClass::Temporary, false));
            assert!(error.next_step().contains("load balancer"));
            assert!(schemes(&peer).len() <= 5, "{:?}", schemes(&peer));
            // The credential was not judged, so it may be sent again.
            assert!(!matches!(enrol(&pool, &with).await, Err(ServiceError::RefusedBefore)));
        }
    }
}

#[tokio::test]
async fn basic_goes_only_where_it_is_asked_for_and_offered() {
    let schemes_with_basic = &["NTLM", "Basic realm=\"contoso.example\""];
    let peer = Peer::start(Service { schemes: schemes_with_basic, ..Service::default() }).await;
    enrol(&pool(&peer, |_| {}), &basic(PASSWORD)).await.unwrap();
    assert_eq!(schemes(&peer), ["", "Basic"]);
    let (_, cost) = enrol(&pool(&peer, |_| {}), &ntlm(PASSWORD)).await.unwrap();
    assert_eq!((cost.requests, schemes(&peer).contains(&"NTLM".to_owned())), (6, true));

    let peer = Peer::start(Service { schemes: &["Basic realm=\"x\""], ..Service::default() }).await;
    let error = enrol(&pool(&peer, |_| {}), &ntlm(PASSWORD)).await.unwrap_err();
    assert_eq!(error.to_string(), "web.contoso.example does not offer NTLM authentication: it offers Basic");
    assert_eq!(schemes(&peer), [""]);

    let peer = Peer::start(Service::default()).await;
    let error = enrol(&pool(&peer, |_| {}), &basic(PASSWORD)).await.unwrap_err();
    assert!(matches!(error, ServiceError::SchemeNotOffered { .. }), "{error}");
    assert_eq!(schemes(&peer), [""]);
}

/// A certificate of the phone's with the key that only the phone has.
pub(super) fn phone() -> (Vec<u8>, signature::RsaKeyPair) {
    let pkcs8 = crate::lab::keys::Keys::recycled().take(KeyKind::Rsa2048);
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(pkcs8.as_slice());
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap().der().to_vec();
    (certificate, signature::RsaKeyPair::from_pkcs8(&pkcs8).unwrap())
}

pub(super) fn endorsement(certificate: Vec<u8>, key: &signature::RsaKeyPair, terms: EndorsementTerms) -> SignIn {
    let mut signed = vec![0; key.public_modulus_len()];
    let padding = match terms.algorithm {
        EndorsementAlgorithm::RsaSha1 => panic!("no library here signs with SHA-1"),
        EndorsementAlgorithm::RsaSha256 => &signature::RSA_PKCS1_SHA256,
    };
    key.sign(padding, &rand::SystemRandom::new(), terms.signed_info().as_bytes(), &mut signed).unwrap();
    SignIn::Certificate(Endorsement { certificate, terms, signature: signed })
}

#[tokio::test]
async fn a_certificate_gets_a_ticket_by_what_its_key_signed_in_two_requests() {
    let (certificate, key) = phone();
    let service = Service { certificate: Some(certificate.clone()), ..Service::default() };
    let peer = Peer::start(service).await;
    let pool = pool(&peer, |_| {});
    pool.enrolment().survey().await.unwrap();

    let mut enrolment = pool.enrolment();
    let terms = enrolment.endorsement_terms(&alice()).await.unwrap();
    // The peer's clock is an hour ahead.
    let ahead = (terms.created - OffsetDateTime::now_utc()).whole_seconds();
    assert!((3590..=3600).contains(&ahead), "{ahead}");
    assert_eq!(terms.expires - terms.created, time::Duration::minutes(5));
    let terms = EndorsementTerms { algorithm: EndorsementAlgorithm::RsaSha256, ..terms };
    let ticket = enrolment.sign_in(&alice(), &endorsement(certificate, &key, terms)).await.unwrap();
    enrolment.publish(&ticket, &publication()).await.unwrap();
    assert_eq!((enrolment.cost().requests, enrolment.cost().connections), (2, 1));
}

#[tokio::test]
async fn a_refused_certificate_is_an_error_of_its_own_and_is_not_sent_again() {
    let (certificate, key) = phone();
    let peer = Peer::start(Service::default()).await;
    let pool = pool(&peer, |_| {});
    let mut enrolment = pool.enrolment();
    let terms = enrolment.endorsement_terms(&alice()).await.unwrap();
    assert_eq!(terms.algorithm, EndorsementAlgorithm::RsaSha1, "where the metadata says nothing");
    let terms = EndorsementTerms { algorithm: EndorsementAlgorithm::RsaSha256, ..terms };
    let with = endorsement(certificate, &key, terms);
    let error = enrolment.sign_in(&alice(), &with).await.unwrap_err();
    assert!(matches!(error, ServiceError::CertificateRefused { .. }), "{error}");
    assert!(error.next_step().ends_with("Get-CsClientCertificate -Identity \"sip:alice@contoso.example\""));
    assert_eq!(error.class(), ErrorClass::NeedsPerson);
    let sent = peer.count();
    assert!(matches!(enrolment.sign_in(&alice(), &with).await, Err(ServiceError::RefusedBefore)));
    assert_eq!(peer.count(), sent);
}

#[tokio::test]
async fn every_way_keeps_to_the_hosts_that_may_have_a_credential() {
    let peer = Peer::start(Service { ticket_host: "sts.fabrikam.example", ..Service::default() }).await;
    let pool = pool(&peer, |_| {});
    for way in [SignInWay::Ntlm, SignInWay::Negotiate, SignInWay::Pin, SignInWay::Certificate, SignInWay::Basic] {
        let error = pool.enrolment().sign_in_host(&alice(), way).await.unwrap_err();
        assert!(matches!(error, ServiceError::HostNotAllowed { .. }), "{error}");
    }
    let error = pool.enrolment().endorsement_terms(&alice()).await.unwrap_err();
    assert!(matches!(error, ServiceError::HostNotAllowed { .. }), "{error}");
    assert_eq!(peer.count(), 2);
}

#[tokio::test]
async fn a_missing_port_is_no_address_to_guess() {
    let peer = Peer::start(Service { pin_offered: false, ..Service::default() }).await;
    let error = pool(&peer, |_| {}).enrolment().sign_in_host(&alice(), SignInWay::Pin).await.unwrap_err();
    assert!(error.next_step().ends_with("Set-CsWebServiceConfiguration -Identity Global -UsePinAuth $true"));
}
