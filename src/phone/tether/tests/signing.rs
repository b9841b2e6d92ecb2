//! The phone signs a sign-in at the registrar: what the driver asks, and what it believes.

use super::*;
use crate::phone::HandshakeSigning;
use crate::phone::tether::messages::capability;
use crate::usb::UsbError;

/// A phone with an identity and settings, in a session.
async fn installed(material: PhoneMaterial) -> (Bench, Certificate, Tether) {
    let bench = Bench::new(material).await;
    let (_, leaf, _) = bench.job(None).await;
    let (tether, _) = bench.session().await;
    (bench, leaf, tether)
}

async fn sign(
    tether: &mut Tether,
    leaf: &Certificate,
    server: &Certificate,
    consent: &Consent,
) -> Result<Vec<u8>, PhoneError> {
    let messages = handshake(server, leaf);
    tether.sign_handshake(&HandshakeSigning { certificate: leaf, messages: &messages, consent }).await
}

#[tokio::test]
async fn a_phone_signs_in_one_exchange_and_as_often_as_it_is_asked() {
    let (bench, leaf, mut tether) = installed(material()).await;
    let (server, before) = (&bench.trust.presented[0], tether.traffic().exchanges);
    for _ in 0..2 {
        let signature = sign(&mut tether, &leaf, server, &CONSENT).await.unwrap();
        assert!(proof::verifies(leaf.spki_der(), messages::ECDSA_SHA256, &handshake(server, &leaf), &signature));
    }
    assert_eq!(tether.traffic().exchanges, before + 2);
}

#[tokio::test]
async fn a_server_that_the_phone_does_not_trust_is_refused_in_its_words_and_the_session_goes_on() {
    let (_bench, leaf, mut tether) = installed(material()).await;
    let stranger = server_trust().presented.remove(0);
    let refused = sign(&mut tether, &leaf, &stranger, &CONSENT).await.unwrap_err();
    assert_eq!(number(&refused), code::HANDSHAKE_REFUSED);
    assert!(matches!(refused, PhoneError::Refused { during: Step::SignHandshake, .. }), "{refused:?}");
    assert!(refused.next_step().contains("its own trust and clock"), "{}", refused.next_step());
    assert!(!refused.ends_session());
    tether.look(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_person_who_declines_is_told_of_as_one() {
    let wary = PhoneMaterial { consent: lab::Consent::Press { agrees: true }, ..material() };
    let bench = Bench::new(wary).await;
    let (mut tether, _) = bench.session().await;
    let id = TransactionId::random();
    let prepared = tether.prepare(&preparation(id, None, Consent::KeyPress)).await.unwrap();
    tether.stage_trust(id, &bench.trust, Some(time::Duration::ZERO)).await.unwrap();
    let leaf = leaf_for(&prepared.request);
    tether.install(id, &leaf, &bench.trust).await.unwrap();

    bench.phone.set_consent(lab::Consent::Press { agrees: false });
    let declined = sign(&mut tether, &leaf, &bench.trust.presented[0], &Consent::KeyPress).await.unwrap_err();
    assert_eq!(number(&declined), code::DECLINED);
    assert!(matches!(declined, PhoneError::Refused { during: Step::Consent, .. }), "{declined:?}");
    bench.phone.set_consent(lab::Consent::Press { agrees: true });
    sign(&mut tether, &leaf, &bench.trust.presented[0], &Consent::KeyPress).await.unwrap();
}

#[tokio::test]
async fn a_signature_by_another_key_is_not_handed_on() {
    let (bench, leaf, mut tether) = installed(material()).await;
    bench.phone.lie(Lies { signs_in_with_another_key: true, ..Lies::default() });
    let error = sign(&mut tether, &leaf, &bench.trust.presented[0], &CONSENT).await.unwrap_err();
    assert!(matches!(error, PhoneError::NotSignedIn(_)), "{error:?}");
    assert!(!error.ends_session());
}

#[tokio::test]
async fn a_phone_that_cannot_and_a_cable_that_fails_are_told_apart() {
    let mut unable = material();
    unable.capabilities &= !capability::HANDSHAKE;
    let (bench, leaf, mut tether) = installed(unable).await;
    let refused = sign(&mut tether, &leaf, &bench.trust.presented[0], &CONSENT).await.unwrap_err();
    assert_eq!(number(&refused), code::UNSUPPORTED);
    assert!(refused.next_step().contains("sign in by itself"));

    bench.exporter.pull(BUS_ID);
    let error = sign(&mut tether, &leaf, &bench.trust.presented[0], &CONSENT).await.unwrap_err();
    assert!(
        matches!(error, PhoneError::Usb { during: Step::SignHandshake, source: UsbError::Unplugged { .. } }),
        "{error:?}"
    );
}
