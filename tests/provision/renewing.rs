//! A phone is renewed without a password: it signs for itself, and when it cannot, nothing was touched.

use crate::bench::{Bench, HOST, OldIdentity, PORT, alice, done, not_done, told};
use futures_util::{StreamExt, stream};
use tethercert::credential::{Fingerprint, KeyKind};
use tethercert::lab::keys::Keys;
use tethercert::lab::phone::{Clock, Consent, PhoneMaterial, StoredIdentity, StoredKey};
use tethercert::lab::usbip::{Cut, Side};
use tethercert::lab::web_services::Suite;
use tethercert::ledger::{Event as Written, Filter};
use tethercert::phone::tether::messages::capability;
use tethercert::phone::{PhoneError, Remedyable};
use tethercert::provision::{Job, Outcome, ProvisionError, Stage};
use tethercert::service::SignInWay;
use tethercert::service::ocauth::Pool;
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

async fn with(change: impl FnOnce(&mut PhoneMaterial)) -> Bench {
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.clock = Clock::Offset(0);
    change(&mut material);
    bench.lab.plug(material);
    bench
}

fn logged(bench: &Bench, text: &str) -> usize {
    bench.phone().log().iter().filter(|line| line.text == text).count()
}

#[tokio::test]
async fn a_phone_provisioned_with_a_password_is_renewed_without_one_by_either_algorithm() {
    for suite in [Suite::Basic256, Suite::Basic256Sha256] {
        let bench = Bench::new().await;
        let first = bench.done().await;
        bench.lab.web().settings().suite = suite;
        let pool = Pool::new(crate::bench::pool_settings(&bench.lab)).unwrap();

        let (mut answers, mut service) = (bench.answers(), pool.enrolment());
        let receipt = done(bench.run_with(&renewal(&bench), &mut answers, &mut service).await);
        assert!(answers.asked.is_empty(), "{suite:?}: nobody was asked for a secret");
        assert_ne!(receipt.verified.certificate(), first.verified.certificate());
        assert_eq!(bench.phone().installed(), bench.published());
        assert_eq!(receipt.traffic.exchanges, 8, "one more than with a password");
        assert_eq!(service.cost().requests, 4, "two for metadata, ticket, publish");
        let signed_in = receipt.steps.iter().find(|step| step.step == Stage::SignIn).unwrap();
        assert!(signed_in.text.starts_with("no password: the phone signs for itself"), "{}", signed_in.text);
        assert_eq!(logged(&bench, "ticket request signed for alice@contoso.example"), 1);
    }
}

#[tokio::test]
async fn the_ledger_tells_that_the_phone_signed_and_not_what() {
    let bench = Bench::new().await;
    let first = bench.done().await;
    done(bench.run(&renewal(&bench), &mut bench.answers()).await);
    let records = bench.ledger.events(Filter::default()).await.unwrap();
    let at = records.iter().position(|record| matches!(record.event, Written::Endorsed { .. })).unwrap();
    let Written::Endorsed { user, fingerprint, .. } = &records[at].event else { unreachable!() };
    assert_eq!((user, *fingerprint), (&alice(), first.verified.certificate().fingerprint()));
    assert!(matches!(records[at + 1].event, Written::TicketIssued { .. }));
    let body = serde_json::to_value(&records[at]).unwrap()["body"].clone();
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["device", "expires", "fingerprint", "user"]);
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
        let bench = with(change).await;
        let error = refused_untouched(&bench).await;
        assert!(matches!(error, ProvisionError::NotRenewable { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(error.next_step().contains("password"), "{}", error.next_step());
        assert_eq!(error.remedyable(), Remedyable::Person);
    }
}

#[tokio::test]
async fn a_pool_that_takes_no_certificates_is_told_apart_before_anything_is_asked_or_touched() {
    let bench = with(|phone| phone.identity = Some(identity(-1, 180))).await;
    bench.lab.web().settings().certificate = false;
    let error = refused_untouched(&bench).await;
    assert!(error.to_string().contains(HOST) && error.to_string().contains("certificate"), "{error}");
    assert!(error.next_step().contains("choose a way to sign in"), "{}", error.next_step());
}

async fn refused_untouched(bench: &Bench) -> ProvisionError {
    let before = bench.phone().memory();
    let mut answers = bench.answers();
    let error = not_done(bench.run(&renewal(bench), &mut answers).await);
    assert!(answers.asked.is_empty());
    assert_eq!(bench.phone().memory(), before);
    assert!(bench.lab.web().requests().iter().all(|request| request.user.is_none()), "nobody signed in");
    error
}

#[tokio::test]
async fn a_certificate_that_the_service_no_longer_knows_is_refused_and_a_password_is_the_next_step() {
    let bench = Bench::new().await;
    let first = bench.done().await;
    assert_eq!(bench.lab.web().store().revoke(&alice()), 1);
    let mut answers = bench.answers();
    let error = not_done(bench.run(&renewal(&bench), &mut answers).await);
    assert_eq!(error.remedyable(), Remedyable::Person, "{error}");
    assert!(error.next_step().contains("sign in with NTLM"), "{error}: {}", error.next_step());
    assert!(answers.asked.is_empty());
    assert_eq!(bench.phone().memory().pending, None);
    assert_eq!(bench.phone().installed(), Some(first.verified.certificate().fingerprint()));

    done(bench.run(&Job { renew: true, ..bench.job() }, &mut bench.answers()).await);
    assert_eq!(bench.phone().installed(), bench.published());
}

#[tokio::test]
async fn a_certificate_that_was_never_published_is_refused_too() {
    let bench = with(|phone| phone.identity = Some(identity(-1, 180))).await;
    let error = not_done(bench.run(&renewal(&bench), &mut bench.answers()).await);
    assert!(error.next_step().contains("sign in with NTLM"), "{error}: {}", error.next_step());
    assert_eq!(bench.published(), None);
}

#[tokio::test]
async fn a_phone_with_a_wrong_clock_or_none_gets_the_time_before_it_signs() {
    for clock in [Clock::Unset, Clock::Shows(time::macros::datetime!(2008-01-01 00:00 UTC))] {
        let bench = Bench::new().await;
        bench.done().await;
        bench.phone().set_clock(clock);
        done(bench.run(&renewal(&bench), &mut bench.answers()).await);
        assert!(bench.phone().time().unwrap().year() > 2025);
        let records = bench.ledger.events(Filter::default()).await.unwrap();
        let set = records.iter().filter(|record| matches!(record.event, Written::ClockSet { .. })).count();
        assert_eq!(set, 2, "once for the first job, once for the renewal");
    }
}

#[tokio::test]
async fn somebody_at_the_phone_agrees_to_each_signature_although_it_knows_this_computer() {
    let bench = with(|phone| phone.consent = Consent::Press { agrees: true }).await;
    let first = bench.done().await;
    done(bench.run(&renewal(&bench), &mut bench.answers()).await);
    let renewed = bench.phone().installed();
    assert_ne!(renewed, Some(first.verified.certificate().fingerprint()));

    bench.phone().set_consent(Consent::Press { agrees: false });
    let error = not_done(bench.run(&renewal(&bench), &mut bench.answers()).await);
    assert_eq!(error.remedyable(), Remedyable::Person, "{error}");
    assert_eq!((bench.phone().installed(), bench.phone().memory().pending), (renewed, None));
    done(bench.run(&Job { renew: true, ..bench.job() }, &mut bench.answers()).await);
}

#[tokio::test]
async fn the_administrator_code_is_asked_for_each_signature_and_withheld_from_a_phone_that_nothing_vouches_for() {
    let code = || Consent::Code { code: "2468".into(), tries: 3 };
    let bench = with(|phone| phone.consent = code()).await;
    let knowing = || crate::bench::Answers { administrator_code: Some("2468".into()), ..bench.answers() };
    done(bench.run(&bench.job(), &mut knowing()).await);
    let error = not_done(bench.run(&renewal(&bench), &mut bench.answers()).await);
    assert!(matches!(error, ProvisionError::NoAnswer(_)), "{error}");
    done(bench.run(&renewal(&bench), &mut knowing()).await);

    let unvouched = with(|phone| {
        phone.factory = None;
        phone.consent = code();
        phone.identity = Some(identity(-1, 180));
    })
    .await;
    let error = not_done(unvouched.run(&renewal(&unvouched), &mut knowing()).await);
    assert!(matches!(error, ProvisionError::Phone(PhoneError::CodeWithheld)), "{error}");
}

/// How many stations cut cables at once.
const AT_ONCE: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cable_cut_at_any_transfer_of_a_renewal_leaves_a_whole_identity_and_a_true_word() {
    let words: Vec<Vec<&str>> = stream::iter(0..AT_ONCE).map(cut_every).buffered(4).collect().await;
    let words = words.concat();
    for word in ["done", "not done", "unknown"] {
        assert!(words.contains(&word), "{word} never came in {words:?}");
    }
}

/// One phone, renewed again and again, with the cable cut at another transfer each time.
async fn cut_every(first: u64) -> Vec<&'static str> {
    let bench = Bench::new().await;
    bench.done().await;
    bench.lab.exporter().replug(PORT);
    done(bench.run(&renewal(&bench), &mut bench.answers()).await);
    let transfers = bench.lab.exporter().transfers(PORT);
    assert!(transfers > 15, "a renewal of {transfers} transfers is no whole job");

    let mut words = Vec::new();
    for transfer in (1 + first..=transfers).step_by(AT_ONCE as usize) {
        for side in [Side::Before, Side::After] {
            words.push(cut_at(&bench, Cut { transfer, side }).await);
        }
    }
    words
}

async fn cut_at(bench: &Bench, cut: Cut) -> &'static str {
    let before = bench.phone().memory();
    let old = bench.phone().installed();
    bench.lab.exporter().replug(PORT);
    bench.lab.exporter().cut(PORT, cut);
    let outcome = bench.run(&renewal(bench), &mut bench.answers()).await;
    bench.phone().at_rest().await;

    let (held, published) = (bench.phone().installed(), bench.published());
    let after = bench.phone().memory();
    assert_eq!((&after.installed_anchors, &after.settings), (&before.installed_anchors, &before.settings), "{cut:?}");
    assert!(held == old || held == published, "{cut:?}: neither the old nor the new identity");
    let word = match &outcome {
        Outcome::Done(receipt) => {
            assert!(held != old && held == Some(fingerprint(receipt)), "{cut:?}: done, and the phone is as it was");
            "done"
        }
        Outcome::NotDone(_) => {
            assert_eq!((held, published), (old, old), "{cut:?}: not done, and something happened");
            "not done"
        }
        Outcome::Unknown(_) => {
            assert_ne!(published, old, "{cut:?}: unknown, and nothing is published: {}", told(&outcome));
            "unknown"
        }
        Outcome::Planned(_) => panic!("{cut:?}: nobody asked for a plan"),
    };

    bench.lab.exporter().replug(PORT);
    done(bench.run(&bench.job(), &mut bench.answers()).await);
    assert_eq!(bench.phone().installed(), bench.published(), "{cut:?}");
    if published != old {
        assert_eq!(bench.published(), published, "{cut:?}: what was published once is what gets installed");
    }
    word
}

fn fingerprint(receipt: &tethercert::provision::Receipt) -> Fingerprint {
    receipt.verified.certificate().fingerprint()
}
