//! What a phone does wrong when told to.

use super::*;
use crate::credential::Fingerprint;
use crate::lab::phone::Lies;
use crate::phone::tether::messages::{DerMap, KeyMade, decode};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

const ID: [u8; 16] = [1; 16];

/// Key and signing request of a phone that lies so.
async fn made(lies: Lies) -> (KeyMade, Vec<u8>) {
    let phone = VirtualPhone::new(material());
    phone.lie(lies);
    let mut hand = Hand::of(&phone).await;
    hand.reset(7).await;
    let mut session = hand.session().await;
    let operations = [
        Operation::Begin { id: ID.into(), user: "alice@contoso.example".into(), replaces: None },
        Operation::MakeKey { id: ID.into(), kind: 1 },
        Operation::SigningRequest { id: ID.into(), common_name: "alice@contoso.example".into(), hash: 0 },
    ];
    let outcomes = hand.request(&mut session, &encode_request(&operations)).await;
    let [_, Outcome::Done(key), Outcome::Done(request)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    let request: DerMap = decode(request).unwrap();
    (decode(key).unwrap(), request.der.to_vec())
}

/// Whether a request holds the key that was made, and is signed by the key it holds.
async fn judged(lies: Lies) -> (bool, bool) {
    let (key, der) = made(lies).await;
    let (_, request) = X509CertificationRequest::from_der(&der).unwrap();
    let held = Fingerprint::of(request.certification_request_info.subject_pki.raw);
    (*held.as_bytes() == *key.key, request.verify_signature().is_ok())
}

#[tokio::test]
async fn a_signing_request_can_hold_another_key_or_be_badly_signed() {
    assert_eq!(judged(Lies::default()).await, (true, true));
    assert_eq!(judged(Lies { requests_another_key: true, ..Lies::default() }).await, (false, true));
    assert_eq!(judged(Lies { signs_request_badly: true, ..Lies::default() }).await, (true, false));
}

#[tokio::test]
async fn a_phone_can_refuse_one_operation_and_do_the_others() {
    let phone = VirtualPhone::new(material());
    phone.lie(Lies { refuses: Some("make-key"), ..Lies::default() });
    let mut hand = Hand::of(&phone).await;
    hand.reset(7).await;
    let mut session = hand.session().await;
    let operations = [
        Operation::Begin { id: ID.into(), user: "alice@contoso.example".into(), replaces: None },
        Operation::MakeKey { id: ID.into(), kind: 1 },
    ];
    let outcomes = hand.request(&mut session, &encode_request(&operations)).await;
    assert!(matches!(outcomes[0], Outcome::Done(_)));
    assert_eq!(failure(&outcomes), code::NOT_ACCEPTED);
}
