//! Recorded jobs run again without phone and network, and notice what is sent otherwise.

use crate::bench::{Bench, PORT, alice, done, told};
use std::path::Path;
use tethercert::lab::usbip::{Cut, Side};
use tethercert::lab::web_services::Kind;
use tethercert::ledger::Ledger;
use tethercert::provision::{Job, Outcome, Stage, Stop, provision};
use tethercert::recording::{HEADING, Recorded, Recorder, ReplayError, Replayed, Witnessed, replay};
use tethercert::service::SignInWay;

/// The job as a technician runs it with `--record`.
async fn recorded(bench: &Bench, job: &Job, ledger: &Ledger) -> (Outcome, String) {
    let mut phone = bench.open().await.unwrap();
    let driver = phone.driver();
    let recorder = Recorder::begin(job, driver.host(), driver.meant());
    driver.record_on(recorder.tape());
    let job = Job { world: recorder.world(), ..job.clone() };
    let (mut answers, mut enrolment) = (bench.answers(), bench.pool.enrolment());
    let mut service = Recorded::new(&mut enrolment, recorder.tape());
    let mut operator = Witnessed::new(&mut answers, recorder.tape());
    let outcome = provision(&job, driver, &mut service, ledger, &mut operator, &Stop::default()).await;
    let device = operator.device();
    recorder.end(&outcome, device, ledger).await.unwrap();
    (outcome, recorder.tape().text(HEADING))
}

async fn same(text: &str) -> Replayed {
    replay(text).await.unwrap_or_else(|error| panic!("{error}\n{text}"))
}

async fn differs(text: &str) -> String {
    match replay(text).await {
        Err(error @ ReplayError::Differs { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_recording_that_is_shipped_goes_as_it_went() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traffic");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = std::fs::read_to_string(&path).unwrap();
            replay(&text).await.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            replayed += 1;
        }
    }
    assert!(replayed >= 3, "{replayed} recordings");
}

#[tokio::test]
async fn a_job_that_was_recorded_goes_the_same_way_without_phone_and_pool() {
    let bench = Bench::new().await;
    bench.reset_clock();
    let (outcome, text) = recorded(&bench, &bench.job(), &bench.ledger).await;
    let receipt = done(outcome);
    drop(bench);
    let replayed = same(&text).await;
    assert_eq!(
        replayed.phone as u64 + 1,
        receipt.traffic.exchanges + 1,
        "the reset at the end is no exchange, the opening is two"
    );
    assert!(replayed.outcome.contains(alice().as_str()), "{}", replayed.outcome);
}

#[tokio::test]
async fn no_password_and_no_key_is_in_a_recording() {
    let bench = Bench::new().await;
    let (_, text) = recorded(&bench, &bench.job(), &bench.ledger).await;
    let user = &bench.lab.web().users()[0];
    let password = secrecy::ExposeSecret::expose_secret(&user.password);
    assert!(!text.contains(password) && !text.contains("Assertion"));
    let key = bench.phone().memory().identity.unwrap().key.pkcs8;
    // Beyond the public half, which stands near the front of a PKCS#8 key.
    let key: String = key.iter().rev().take(64).rev().map(|byte| format!("{byte:02x}")).collect();
    assert!(!text.replace(char::is_whitespace, "").contains(&key));
}

#[tokio::test]
async fn a_second_job_is_replayed_with_what_the_ledger_knew_of_the_first() {
    let bench = Bench::new().await;
    bench.done().await;
    let (outcome, text) = recorded(&bench, &bench.job(), &bench.ledger).await;
    assert!(done(outcome).unchanged);
    assert!(text.contains("ledger knew:"), "{text}");
    assert!(same(&text).await.outcome.contains("nothing to do"));
}

#[tokio::test]
async fn a_job_cut_before_the_phone_was_seen_is_replayed_with_what_the_ledger_knew_of_it() {
    let bench = Bench::new().await;
    assert!(bench.killed_after(Stage::Install).await);
    bench.phone().at_rest().await;
    for transfer in 1.. {
        bench.lab.exporter().replug(PORT);
        bench.lab.exporter().cut(PORT, Cut { transfer, side: Side::Before });
        if bench.open().await.is_err() {
            continue;
        }
        bench.lab.exporter().replug(PORT);
        bench.lab.exporter().cut(PORT, Cut { transfer, side: Side::Before });
        let (outcome, text) = recorded(&bench, &bench.job(), &bench.ledger).await;
        if told(&outcome).contains("reading the phone's state") {
            assert!(matches!(outcome, Outcome::Unknown(_)));
            assert!(text.contains("ledger knew:"), "{text}");
            assert!(same(&text).await.outcome.contains("unknown"), "{text}");
            break;
        }
        assert!(matches!(outcome, Outcome::NotDone(_)), "transfer {transfer}: the phone was seen");
    }
}

#[tokio::test]
async fn a_renewal_by_the_phones_own_signature_is_replayed_and_its_signature_verified() {
    let bench = Bench::new().await;
    bench.done().await;
    let job = Job { sign_in: SignInWay::Certificate, ..bench.job() };
    let (outcome, text) = recorded(&bench, &job, &bench.ledger).await;
    done(outcome);
    same(&text).await;
    // Another signature is no signature.
    let at = text.find("\"endorse\"").unwrap();
    let signature = at + text[at..].find("phone answered").unwrap();
    let at =
        signature + text[signature..].rfind("[0, {0: h'").map_or(0, |_| text[signature..].find("1: h'").unwrap()) + 5;
    let mut broken = text.clone();
    let digit = if text[at..].trim_start().starts_with('0') { "1" } else { "0" };
    let at = at + (text[at..].len() - text[at..].trim_start().len());
    broken.replace_range(at..=at, digit);
    differs(&broken).await;
}

#[tokio::test]
async fn a_publication_that_the_store_refused_is_tried_again_in_the_replay_without_waiting() {
    let bench = Bench::new().await;
    bench.lab.web().faults().store_unavailable = 1;
    let job = Job { publish_tries: 2, publish_wait: std::time::Duration::from_millis(10), ..bench.job() };
    let (outcome, text) = recorded(&bench, &job, &bench.ledger).await;
    done(outcome);
    assert!(text.contains("store unavailable"), "{text}");
    let text = text.replace("\"publish_wait_seconds\": 0", "\"publish_wait_seconds\": 3000");
    assert!(differs(&text).await.contains("phone asked"), "a longer wait looks at the phone more often");
}

#[tokio::test]
async fn a_job_that_failed_is_replayed_to_the_same_failure() {
    let bench = Bench::new().await;
    bench.lab.web().faults().hang_up = Some((Kind::Publish, 9));
    let (outcome, text) = recorded(&bench, &bench.job(), &bench.ledger).await;
    assert!(matches!(outcome, Outcome::Unknown(_)));
    assert!(same(&text).await.outcome.starts_with("unknown"));
}

#[tokio::test]
async fn what_is_sent_otherwise_is_told_with_both_sides() {
    let bench = Bench::new().await;
    let (_, text) = recorded(&bench, &bench.job(), &bench.ledger).await;

    let told = differs(&text.replacen("[\"anchors\", {0: 0}]", "[\"anchors\", {0: 1}]", 1)).await;
    assert!(told.contains("phone asked") && told.contains("recorded 1; now 0"), "{told}");

    // Another user is asked for in everything that is sent.
    let told = differs(&text.replacen("\"user\": \"alice@", "\"user\": \"bob@", 1)).await;
    assert!(told.contains("bob@contoso.example") && told.contains("alice@contoso.example"), "{told}");

    // A step that the program does not take any more.
    let end = text.find("\nperson asked: \"is this the phone\"").unwrap();
    let told = differs(&format!("{}\nphone asked: [[\"state\", {{}}]]\n{}", &text[..end], &text[end..])).await;
    assert!(told.contains("what comes next"), "{told}");
}

#[tokio::test]
async fn what_is_no_whole_recording_is_called_so() {
    assert!(matches!(replay("hello\n").await, Err(ReplayError::Unreadable(_))));
    assert!(matches!(replay("tethercert recording 1\n").await, Err(ReplayError::Incomplete(_))));
    assert!(matches!(replay("tethercert recording 1\njob: 5\n").await, Err(ReplayError::Incomplete(_))));
}
