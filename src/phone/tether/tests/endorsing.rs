//! The phone signs in for itself, and is no signing oracle.

use super::*;
use crate::lab::phone::{Clock, StoredIdentity, StoredKey};
use crate::phone::tether::messages::capability;
use crate::phone::{Endorsed, Endorsing};
use crate::service::{EndorsementAlgorithm, EndorsementTerms};
use crate::usb::UsbError;
use EndorsementAlgorithm::{RsaSha1, RsaSha256};

const USER: &str = "alice@contoso.example";

/// An identity with a key of this kind.
fn identity(kind: KeyKind) -> StoredIdentity {
    let pkcs8 = Keys::recycled().take(kind);
    let (number, algorithm) = match kind {
        KeyKind::P256 => (3, &rcgen::PKCS_ECDSA_P256_SHA256),
        KeyKind::Rsa2048 | KeyKind::Rsa3072 => (1, &rcgen::PKCS_RSA_SHA256),
    };
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.as_slice().into(), algorithm).unwrap();
    let leaf = named(USER).self_signed(&key).unwrap().der().to_vec().into();
    let key = StoredKey { kind: number, pkcs8: pkcs8.to_vec().into() };
    StoredIdentity { user: USER.into(), key, leaf, intermediates: Vec::new() }
}

fn renewable() -> PhoneMaterial {
    PhoneMaterial { identity: Some(identity(KeyKind::Rsa2048)), clock: Clock::Offset(0), ..material() }
}

/// Of this computer's time, some seconds from now.
fn terms(from: i64, to: i64, algorithm: EndorsementAlgorithm) -> EndorsementTerms {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let [created, expires] = [from, to].map(|seconds| now + time::Duration::seconds(seconds));
    EndorsementTerms { created, expires, algorithm }
}

fn endorsing(bench: &Bench, terms: EndorsementTerms) -> Endorsing {
    let certificate = bench.phone.installed().unwrap_or(Fingerprint::of(b"none"));
    Endorsing { certificate, terms, consent: CONSENT, set_clock: None }
}

/// In a session of its own.
async fn endorsed(material: PhoneMaterial, terms: EndorsementTerms) -> Result<Endorsed, PhoneError> {
    let bench = Bench::new(material).await;
    bench.session().await.0.endorse(&endorsing(&bench, terms)).await
}

fn operation(hash: u64) -> Operation {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    Operation::Endorse { created: now, expires: now + 300, hash }
}

fn consent() -> (Step, Operation) {
    (Step::Consent, Operation::Consent { code: None })
}

#[tokio::test]
async fn a_phone_signs_the_times_it_is_given_with_either_hash_and_writes_it_into_its_log() {
    for algorithm in [RsaSha1, RsaSha256] {
        let bench = Bench::new(renewable()).await;
        let (mut tether, identified) = bench.session().await;
        assert!(identified.identity.abilities.endorses);
        let state = tether.look(Duration::ZERO).await.unwrap();
        assert_eq!(state.identity.unwrap().key, Some(KeyKind::Rsa2048));

        let (terms, before) = (terms(0, 300, algorithm), tether.traffic().exchanges);
        let endorsed = tether.endorse(&endorsing(&bench, terms)).await.unwrap();
        assert_eq!(tether.traffic().exchanges, before + 1);
        assert_eq!(endorsed.endorsement.terms, terms);
        let certificate = Certificate::from_der(&endorsed.endorsement.certificate).unwrap();
        assert_eq!(Some(certificate.fingerprint()), bench.phone.installed());
        assert_eq!(endorsed.clock, None);
        assert!(bench.phone.log().iter().any(|line| line.text == format!("ticket request signed for {USER}")));
    }
}

#[tokio::test]
async fn one_signature_is_given_for_each_consent_and_consents_are_not_saved_up() {
    let bench = Bench::new(renewable()).await;
    let (mut tether, _) = bench.session().await;
    let refused = tether.one(Step::Endorse, operation(1)).await.unwrap_err();
    assert_eq!(number(&refused), code::CONSENT_NEEDED, "the session wants none, and this does");

    tether.request(&[consent(), consent(), (Step::Endorse, operation(1))]).await.unwrap();
    assert_eq!(number(&tether.one(Step::Endorse, operation(1)).await.unwrap_err()), code::CONSENT_NEEDED);

    let handshake = Operation::SignHandshake { transcript: vec![1].into(), scheme: 0x0401 };
    tether.request(&[consent(), (Step::Endorse, operation(0))]).await.unwrap();
    assert_eq!(number(&tether.one(Step::Prove, handshake.clone()).await.unwrap_err()), code::CONSENT_NEEDED);
    tether.request(&[consent(), (Step::Prove, handshake)]).await.unwrap_err();
    assert_eq!(number(&tether.one(Step::Endorse, operation(0)).await.unwrap_err()), code::CONSENT_NEEDED);

    // A refused try has used it up as well.
    assert_eq!(number(&tether.request(&[consent(), (Step::Endorse, operation(2))]).await.unwrap_err()), code::HASH);
    assert_eq!(number(&tether.one(Step::Endorse, operation(0)).await.unwrap_err()), code::CONSENT_NEEDED);
}

#[tokio::test]
async fn a_phone_that_knows_this_host_is_asked_again_and_the_consent_holds_for_the_session() {
    let material = PhoneMaterial { consent: lab::Consent::Press { agrees: true }, ..renewable() };
    let bench = Bench::new(material).await;
    for _ in 0..2 {
        let (mut tether, _) = bench.session().await;
        let asked = Endorsing { consent: Consent::KeyPress, ..endorsing(&bench, terms(0, 300, RsaSha1)) };
        tether.endorse(&asked).await.unwrap();
        let replaces = bench.phone.installed();
        let id = TransactionId::random();
        tether.prepare(&preparation(id, replaces, CONSENT)).await.unwrap();
        tether.abort(id).await.unwrap();
    }
    bench.phone.set_consent(lab::Consent::Press { agrees: false });
    let (mut tether, identified) = bench.session().await;
    assert!(identified.identity.host_known);
    let asked = Endorsing { consent: Consent::KeyPress, ..endorsing(&bench, terms(0, 300, RsaSha1)) };
    assert_eq!(number(&tether.endorse(&asked).await.unwrap_err()), code::DECLINED);
}

#[tokio::test]
async fn the_administrator_code_is_not_sent_for_it_to_a_phone_that_nothing_vouches_for() {
    let consent = lab::Consent::Code { code: "2580".into(), tries: 3 };
    let bench = Bench::new(PhoneMaterial { consent, ..renewable() }).await;
    let (mut tether, _) = bench.session().await;
    let consent = Consent::Code("2580".to_owned().into());
    let asked = Endorsing { consent, ..endorsing(&bench, terms(0, 300, RsaSha1)) };
    assert!(matches!(tether.endorse(&asked).await, Err(PhoneError::CodeWithheld)));
    tether.code_was_compared();
    tether.endorse(&asked).await.unwrap();
}

#[tokio::test]
async fn a_window_is_at_most_ten_minutes_and_holds_the_phones_clock_by_two_minutes() {
    let cases = [
        ((0, 600), true),
        ((0, 601), false),
        ((0, 0), false),
        ((300, 0), false),
        ((110, 400), true),
        ((130, 400), false),
        ((-400, -110), true),
        ((-400, -130), false),
    ];
    for ((from, to), signs) in cases {
        let result = endorsed(renewable(), terms(from, to, RsaSha256)).await.map(|_| ());
        match (signs, result) {
            (true, result) => result.unwrap(),
            (false, result) => assert_eq!(number(&result.unwrap_err()), code::ENDORSEMENT_REFUSED, "{from} to {to}"),
        }
    }
    let year_zero = Operation::Endorse { created: -62_135_596_801, expires: 0, hash: 0 };
    let bench = Bench::new(renewable()).await;
    let (mut tether, _) = bench.session().await;
    let refused = tether.request(&[consent(), (Step::Endorse, year_zero)]).await.unwrap_err();
    assert_eq!(number(&refused), code::NOT_ACCEPTED);
}

#[tokio::test]
async fn a_phone_with_a_wrong_clock_or_none_signs_once_its_clock_is_set() {
    for clock in [Clock::Unset, Clock::Shows(time::macros::datetime!(2008-01-01 00:00 UTC))] {
        let bench = Bench::new(PhoneMaterial { clock, ..renewable() }).await;
        let (mut tether, _) = bench.session().await;
        let asked = endorsing(&bench, terms(0, 300, RsaSha1));
        let refused = tether.endorse(&asked).await.unwrap_err();
        assert_eq!(number(&refused), code::ENDORSEMENT_REFUSED, "{clock:?}");
        assert!(bench.phone.log().iter().any(|line| line.text.starts_with("refused to sign a ticket request")));
        let asked = Endorsing { set_clock: Some(time::Duration::ZERO), ..asked };
        assert!(tether.endorse(&asked).await.unwrap().clock.is_some(), "{clock:?}");
    }
}

#[tokio::test]
async fn a_phone_without_identity_without_an_rsa_key_or_without_the_ability_signs_nothing() {
    let none = endorsed(PhoneMaterial { identity: None, ..renewable() }, terms(0, 300, RsaSha1)).await;
    assert_eq!(number(&none.unwrap_err()), code::NO_SUCH);
    let bench = Bench::new(PhoneMaterial { identity: None, ..renewable() }).await;
    let refused = bench.session().await.0.request(&[consent(), (Step::Endorse, operation(9))]).await.unwrap_err();
    assert_eq!(number(&refused), code::NO_SUCH);

    let curve = PhoneMaterial { identity: Some(identity(KeyKind::P256)), ..renewable() };
    let refused = endorsed(curve, terms(0, 300, RsaSha1)).await.unwrap_err();
    assert_eq!(number(&refused), code::ENDORSEMENT_REFUSED);
    assert!(refused.next_step().contains("sign in with a password"), "{}", refused.next_step());

    let mut unable = renewable();
    unable.capabilities &= !capability::ENDORSE;
    assert_eq!(number(&endorsed(unable, terms(0, 300, RsaSha1)).await.unwrap_err()), code::UNSUPPORTED);
}

#[tokio::test]
async fn a_signature_by_another_key_is_not_handed_on() {
    for algorithm in [RsaSha1, RsaSha256] {
        let bench = Bench::new(renewable()).await;
        bench.phone.lie(Lies { endorses_with_another_key: true, ..Lies::default() });
        let asked = endorsing(&bench, terms(0, 300, algorithm));
        let error = bench.session().await.0.endorse(&asked).await.unwrap_err();
        assert!(matches!(error, PhoneError::NotEndorsed(_)), "{error:?}");
        assert!(!error.ends_session());
    }
}

#[tokio::test]
async fn a_cable_that_fails_meanwhile_is_told_of_the_signature() {
    let bench = Bench::new(renewable()).await;
    let (mut tether, _) = bench.session().await;
    bench.exporter.pull(BUS_ID);
    let error = tether.endorse(&endorsing(&bench, terms(0, 300, RsaSha1))).await.unwrap_err();
    assert!(
        matches!(error, PhoneError::Usb { during: Step::Endorse, source: UsbError::Unplugged { .. } }),
        "{error:?}"
    );
}
