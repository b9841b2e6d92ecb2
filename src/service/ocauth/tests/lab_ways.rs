//! The ways to sign in, against the lab: it really judges tokens, bindings and passwords.

use super::lab::{enrol, keyed_publication, lab_with, ntlm, pin, pool};
use super::sign_in::endorsement;
use super::*;
use crate::lab::pki::ServerFaults;
use crate::lab::web_services::{Body, ChannelBinding, Kind, Negotiate, Settings as LabSettings, Suite, WebServices};

fn as_negotiate(with: SignIn) -> SignIn {
    match with {
        SignIn::Ntlm { login, password } => SignIn::Negotiate { login, password },
        other => other,
    }
}

fn as_basic(with: SignIn) -> SignIn {
    match with {
        SignIn::Ntlm { login, password } => SignIn::Basic { login, password },
        other => other,
    }
}

async fn set_up(settings: LabSettings) -> WebServices {
    lab_with(settings, ServerFaults::none()).await
}

#[tokio::test]
async fn spnego_and_ntlm_are_bound_to_the_channel_where_the_pool_demands_it() {
    for negotiate in [Negotiate::Both, Negotiate::OnlySpnego] {
        let settings = LabSettings { negotiate, channel_binding: ChannelBinding::Required, ..LabSettings::default() };
        let lab = set_up(settings).await;
        enrol(&lab, &pool(&lab), &as_negotiate(ntlm(&lab))).await.unwrap();
        enrol(&lab, &pool(&lab), &ntlm(&lab)).await.unwrap();
    }
}

#[tokio::test]
async fn a_pool_that_takes_only_bare_ntlm_under_negotiate_gets_it() {
    let lab = set_up(LabSettings { negotiate: Negotiate::OnlyNtlm, ..LabSettings::default() }).await;
    enrol(&lab, &pool(&lab), &as_negotiate(ntlm(&lab))).await.unwrap();
    assert_eq!(lab.counters().requests[&Kind::NtlmTicket], 4);
}

#[tokio::test]
async fn a_wrong_password_by_negotiate_is_judged_once() {
    let lab = set_up(LabSettings::default()).await;
    lab.faults().password_refused = 1;
    let pool = pool(&lab);
    let error = enrol(&lab, &pool, &as_negotiate(ntlm(&lab))).await.unwrap_err();
    assert!(matches!(error, ServiceError::CredentialRefused { .. }), "{error}");
    for again in [ntlm(&lab), as_basic(ntlm(&lab))] {
        assert!(matches!(enrol(&lab, &pool, &again).await, Err(ServiceError::RefusedBefore)));
    }
    assert_eq!(lab.counters().requests[&Kind::NtlmTicket], 3);
}

#[tokio::test]
async fn a_handshake_that_the_pool_loses_is_begun_anew_once() {
    for with in [ntlm, |lab: &WebServices| as_negotiate(ntlm(lab))] {
        let lab = set_up(LabSettings::default()).await;
        lab.faults().ntlm_moved = 1;
        enrol(&lab, &pool(&lab), &with(&lab)).await.unwrap();
        lab.faults().ntlm_moved = 2;
        let error = enrol(&lab, &pool(&lab), &with(&lab)).await.unwrap_err();
        assert!(matches!(error, ServiceError::HandshakeMoved { .. }), "{error}");
    }
}

#[tokio::test]
async fn basic_is_taken_where_the_pool_has_it() {
    let lab = set_up(LabSettings { basic: true, ..LabSettings::default() }).await;
    let (_, cost) = enrol(&lab, &pool(&lab), &as_basic(ntlm(&lab))).await.unwrap();
    assert_eq!(cost.requests, 5);
    let lab = set_up(LabSettings::default()).await;
    let error = enrol(&lab, &pool(&lab), &as_basic(ntlm(&lab))).await.unwrap_err();
    assert!(matches!(error, ServiceError::SchemeNotOffered { .. }), "{error}");
}

#[tokio::test]
async fn what_stands_in_the_place_of_an_answer_is_named() {
    let lab = set_up(LabSettings::default()).await;
    for (body, named) in [
        (Body::Html(200), "Html"),
        (Body::Dtd, "Dtd"),
        (Body::EntityBomb, "Dtd"),
        (Body::Utf16, "Charset"),
        (Body::Latin1, "NotText"),
    ] {
        for (kind, unknown) in [(Kind::PinTicket, false), (Kind::Publish, true)] {
            lab.faults().instead = Some((kind, body));
            let error = enrol(&lab, &pool(&lab), &pin(&lab)).await.unwrap_err();
            lab.faults().instead = None;
            let source = std::error::Error::source(&error).map(|source| format!("{source:?}")).unwrap_or_default();
            assert!(source.contains(named), "{error:?}");
            assert_eq!(error.outcome_unknown(), unknown, "{error:?}");
        }
    }
}

#[tokio::test]
async fn the_ports_policy_says_what_a_certificate_signs_with() {
    for (suite, algorithm) in
        [(Suite::Basic256, EndorsementAlgorithm::RsaSha1), (Suite::Basic256Sha256, EndorsementAlgorithm::RsaSha256)]
    {
        let lab = set_up(LabSettings { suite, ..LabSettings::default() }).await;
        let terms = pool(&lab).enrolment().endorsement_terms(&alice()).await.unwrap();
        assert_eq!(terms.algorithm, algorithm);
    }
}

#[tokio::test]
async fn a_published_certificate_gets_the_next_ticket() {
    let lab = set_up(LabSettings { suite: Suite::Basic256Sha256, ..LabSettings::default() }).await;
    let pool = pool(&lab);
    let (publication, key) = keyed_publication(&lab);
    let mut first = pool.enrolment();
    let ticket = first.sign_in(&publication.user, &ntlm(&lab)).await.unwrap();
    let published = first.publish(&ticket, &publication).await.unwrap();

    let mut renewal = pool.enrolment();
    let terms = renewal.endorsement_terms(&publication.user).await.unwrap();
    let ticket = renewal.sign_in(&publication.user, &endorsement(published.certificate, &key, terms)).await.unwrap();
    let again = Publication { request_id: Uuid::new_v4(), ..publication };
    renewal.publish(&ticket, &again).await.unwrap();
    assert_eq!((renewal.cost().requests, renewal.cost().connections), (2, 1));
}

#[tokio::test]
async fn a_certificate_that_was_never_published_is_refused_as_such() {
    let lab = set_up(LabSettings { suite: Suite::Basic256Sha256, ..LabSettings::default() }).await;
    let pool = pool(&lab);
    let (certificate, key) = super::sign_in::phone();
    let mut enrolment = pool.enrolment();
    let terms = enrolment.endorsement_terms(&alice()).await.unwrap();
    let error = enrolment.sign_in(&alice(), &endorsement(certificate, &key, terms)).await.unwrap_err();
    assert!(matches!(error, ServiceError::CertificateRefused { .. }), "{error}");
}
