//! A phone is renewed without a password: it signs for itself, and when it cannot, nothing was touched.

use crate::bench::{Bench, OldIdentity, not_done};
use tethercert::credential::KeyKind;
use tethercert::lab::keys::Keys;
use tethercert::lab::phone::{Clock, PhoneMaterial, StoredIdentity, StoredKey};
use tethercert::phone::Remedyable;
use tethercert::phone::tether::messages::capability;
use tethercert::provision::{Job, ProvisionError};
use tethercert::service::SignInWay;
use time::OffsetDateTime;

fn renewal(bench: &Bench) -> Job {
    Job { sign_in: SignInWay::Certificate, ..bench.job() }
}

/// Alice's, with an RSA key, good from and to so many days from now.
fn identity(from: i64, to: i64) -> StoredIdentity {
    let pkcs8 = Keys::recycled().take(KeyKind::Rsa2048);
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.as_slice().into(), &rcgen::PKCS_RSA_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "alice@contoso.example");
    params.not_before = OffsetDateTime::now_utc() + time::Duration::days(from);
    params.not_after = OffsetDateTime::now_utc() + time::Duration::days(to);
    let leaf = params.self_signed(&key).unwrap().der().to_vec().into();
    let key = StoredKey { kind: 1, pkcs8: pkcs8.to_vec().into() };
    StoredIdentity { user: "alice@contoso.example".into(), key, leaf, intermediates: Vec::new() }
}

async fn holding(change: impl FnOnce(&mut PhoneMaterial)) -> Bench {
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.clock = Clock::Offset(0);
    change(&mut material);
    bench.lab.plug(material);
    bench
}

#[tokio::test]
async fn a_phone_that_cannot_sign_for_itself_is_told_so_before_anything_is_asked_or_touched() {
    type Change = fn(&mut PhoneMaterial);
    let cases: [(Change, &str); 6] = [
        (|phone| phone.capabilities &= !capability::ENDORSE, "does not sign ticket requests"),
        (|_| {}, "holds no identity"),
        (|phone| phone.identity = Some(OldIdentity::of("bob@contoso.example").stored()), "identity of bob"),
        (|phone| phone.identity = Some(OldIdentity::of("alice@contoso.example").stored()), "its key is P-256"),
        (|phone| phone.identity = Some(identity(-180, -1)), "is good from"),
        (|phone| phone.identity = Some(identity(1, 180)), "is good from"),
    ];
    for (change, reason) in cases {
        let bench = holding(change).await;
        let before = bench.phone().memory();
        let mut answers = bench.answers();
        let error = not_done(bench.run(&renewal(&bench), &mut answers).await);
        assert!(matches!(error, ProvisionError::NotRenewable { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(error.next_step().contains("password"), "{}", error.next_step());
        assert_eq!(error.remedyable(), Remedyable::Person);
        assert!(answers.asked.is_empty());
        assert_eq!(bench.phone().memory(), before);
        let counted = bench.lab.web().requests();
        assert!(counted.iter().all(|request| request.user.is_none()), "{counted:?}");
    }
}
