//! The data store behind the service: unavailable for a while or for long, and what it does with a second publication.

use crate::answers::Answers;
use crate::bench::{Bench, PORT, Resumed, alice, done, not_done, pool_settings, unknown};
use std::time::Duration;
use tethercert::lab::pki::ServerFaults;
use tethercert::lab::web_services::{Ailment, FrontEnd, FrontEnds, Illness, Kind, StoreRule};
use tethercert::phone::Remedyable;
use tethercert::provision::{Event, Job, Outcome, ProvisionError, Stage, StoreTry};
use tethercert::service::ocauth::Pool;

/// Four tries without a wait, as an operator may ask for.
fn four_tries(bench: &Bench) -> Job {
    Job { publish_tries: 4, publish_wait: Duration::ZERO, ..bench.job() }
}

fn is_wait(event: &Event) -> bool {
    matches!(event, Event::StoreWait { .. })
}

fn lasting(error: ProvisionError) -> Vec<StoreTry> {
    match error {
        ProvisionError::StoreUnavailable { tries, .. } => tries,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_store_that_comes_back_is_called_sporadic_with_the_servers_that_answered() {
    let bench = Bench::new().await;
    bench.lab.web().faults().store_unavailable = 2;
    let mut answers = bench.answers();
    let receipt = done(bench.run(&four_tries(&bench), &mut answers).await);
    let publishing = receipt.publishing.unwrap();
    assert_eq!(publishing.store_unavailable.len(), 2);
    assert!(publishing.store_unavailable.iter().all(|it| it.server.as_deref() == Some("fe02.contoso.example")));
    assert_eq!(publishing.words(), ["sporadic: published at try 3 of 4"]);
    assert_eq!(publishing.times(), "once");

    let waits: Vec<_> = answers
        .events
        .iter()
        .filter_map(|event| match event {
            Event::StoreWait { server, attempt, of, .. } => Some((server.as_deref(), *attempt, *of)),
            _ => None,
        })
        .collect();
    assert_eq!(waits, [(Some("fe02.contoso.example"), 2, 4), (Some("fe02.contoso.example"), 3, 4)]);
    let tries = bench.written("store_unavailable").await;
    assert_eq!(tries.iter().map(|it| it["attempt"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2)]);
    let sent = bench.written("publish_intended").await;
    assert!(sent.len() == 3 && sent.iter().all(|it| *it == sent[0]), "the same request, key and ids each time");
    assert_eq!(bench.lab.web().store().list_all().len(), 1);
    assert_eq!(bench.phone().installed(), bench.published());
}

#[tokio::test]
async fn a_store_that_stays_away_leaves_the_phone_as_it_was_and_the_job_can_go_on_later() {
    let bench = Bench::new().await;
    bench.lab.web().faults().store_unavailable = 4;
    let outcome = bench.run(&four_tries(&bench), &mut bench.answers()).await;
    bench.write_end(&outcome).await;
    let error = not_done(outcome);
    assert_eq!(error.remedyable(), Remedyable::Temporary);
    let next = error.next_step();
    assert!(next.contains("tethercert resume 1"), "{next}");
    assert!(
        next.contains("Get-CsUser -Identity \"sip:alice@contoso.example\" | Select-Object RegistrarPool"),
        "{next}"
    );
    let text = error.to_string();
    assert!(text.contains("lasting: 4 tries") && text.contains("fe02.contoso.example at "), "{text}");
    assert_eq!(lasting(error).len(), 4);
    assert_eq!((bench.phone().installed(), bench.published()), (None, None));
    let key = bench.phone().memory().pending.unwrap().request;

    let ends = bench.resume().await;
    assert!(matches!(ends.as_slice(), [Resumed::Ran(Outcome::Done(_))]), "{ends:?}");
    assert_eq!(bench.phone().installed(), bench.published());
    let sent = bench.written("signing_request_received").await;
    assert!(sent.iter().all(|it| it["key_id"] == sent[0]["key_id"]), "the key of the first try");
    assert!(key.is_some());
    assert_eq!(bench.ledger.unfinished().await.unwrap(), []);
}

#[tokio::test]
async fn a_front_end_that_does_not_reach_the_store_is_named_and_left_for_the_other() {
    let mut tries = Vec::new();
    for ill in [FrontEnd::Fe01, FrontEnd::Fe02] {
        let bench = Bench::new().await;
        bench.lab.web().settings().front_ends = FrontEnds::Two;
        bench.lab.web().faults().ill = Some(Illness { server: ill, what: Ailment::Store });
        let receipt = done(bench.run(&four_tries(&bench), &mut bench.answers()).await);
        let said = receipt.publishing.unwrap().store_unavailable;
        assert!(said.iter().all(|it| it.server == Some(ill.to_string())), "{said:?}");
        tries.push(said.len());
    }
    // One of the two enrolments met the well one first.
    tries.sort_unstable();
    assert_eq!(tries, [0, 1]);
}

#[tokio::test]
async fn a_stop_ends_the_wait_at_once_and_nothing_is_published() {
    let bench = Bench::new().await;
    bench.lab.web().faults().store_unavailable = 9;
    let job = Job { publish_tries: 4, publish_wait: Duration::from_secs(3600), ..bench.job() };
    let mut answers = Answers { stop_at: Some((is_wait, None)), ..bench.answers() };
    let outcome = bench.run(&job, &mut answers).await;
    bench.write_end(&outcome).await;
    assert!(matches!(not_done(outcome), ProvisionError::Stopped));
    assert_eq!((bench.phone().installed(), bench.published()), (None, None));

    bench.lab.web().faults().store_unavailable = 0;
    bench.resume().await;
    assert_eq!(bench.phone().installed(), bench.published());
    assert!(bench.published().is_some());
}

#[tokio::test]
async fn a_phone_that_goes_away_during_the_wait_gets_no_certificate_published() {
    let bench = Bench::new().await;
    bench.lab.web().faults().store_unavailable = 1;
    let hook = |event: &Event| {
        if is_wait(event) {
            bench.lab.exporter().pull(PORT);
        }
    };
    let mut answers = Answers { hook: Some(Box::new(hook)), ..bench.answers() };
    let outcome = bench.run(&four_tries(&bench), &mut answers).await;
    bench.write_end(&outcome).await;
    assert!(matches!(not_done(outcome), ProvisionError::Phone(_)));
    assert_eq!(bench.published(), None);

    bench.lab.exporter().replug(PORT);
    assert!(matches!(bench.resume().await.as_slice(), [Resumed::Ran(Outcome::Done(_))]));
}

#[tokio::test]
async fn a_ticket_that_ends_during_the_wait_is_fetched_anew_without_asking_again() {
    let bench = Bench::new().await;
    bench.lab.web().faults().store_unavailable = 1;
    let hook = |event: &Event| {
        if is_wait(event) {
            bench.lab.web().faults().ticket_expired = 1;
        }
    };
    let mut answers = Answers { hook: Some(Box::new(hook)), ..bench.answers() };
    done(bench.run(&four_tries(&bench), &mut answers).await);
    // The second is for the other server that a new try may reach, the third in place of the one that ended.
    assert_eq!((answers.asked.len(), bench.lab.web().counters().tickets), (1, 3));
}

#[tokio::test]
async fn a_lost_answer_before_an_unavailable_store_stays_unknown() {
    let bench = Bench::new().await;
    bench.lab.web().faults().hang_up = Some((Kind::Publish, 1));
    bench.lab.web().faults().store_unavailable = 9;
    let outcome = bench.run(&four_tries(&bench), &mut bench.answers()).await;
    bench.write_end(&outcome).await;
    assert_eq!(lasting(unknown(outcome)).len(), 4);

    bench.lab.web().faults().store_unavailable = 0;
    let ends = bench.resume().await;
    let [Resumed::Ran(Outcome::Done(receipt))] = ends.as_slice() else { panic!("{ends:?}") };
    assert_eq!(receipt.publishing.as_ref().unwrap().times(), "once or twice");
}

#[tokio::test]
async fn after_a_lost_answer_every_rule_of_the_store_ends_in_the_truth() {
    for (rule, made, in_force) in [
        (StoreRule::Replace, 2, 1),
        (StoreRule::KeepBoth, 2, 2),
        (StoreRule::DeDuplicate, 1, 1),
        (StoreRule::OnePerUser, 2, 1),
    ] {
        let bench = Bench::new().await;
        bench.lab.web().store().set_rule(rule);
        bench.lab.web().faults().answer_lost = 1;
        let receipt = done(bench.run(&bench.job(), &mut bench.answers()).await);
        assert_eq!(receipt.publishing.unwrap().times(), "once or twice", "{rule:?}");
        let store = bench.lab.web().store();
        assert_eq!((store.list_all().len(), store.list().len()), (made, in_force), "{rule:?}");
        assert_eq!(bench.phone().installed(), bench.published(), "{rule:?}: the newest counts");
        let orphaned = bench.written("orphaned").await;
        assert_eq!(orphaned.len(), 1, "{rule:?}");
        assert!(orphaned[0]["fingerprint"].is_null(), "what was in the lost answer nobody saw");
    }
}

#[tokio::test]
async fn a_store_that_refuses_a_second_certificate_leaves_the_lost_one_unknown_until_it_takes_one() {
    let bench = Bench::new().await;
    bench.lab.web().store().set_rule(StoreRule::Refuse);
    bench.lab.web().faults().answer_lost = 1;
    let outcome = bench.run(&bench.job(), &mut bench.answers()).await;
    bench.write_end(&outcome).await;
    unknown(outcome);
    assert_eq!(bench.phone().installed(), None, "its old identity is complete");
    assert!(matches!(bench.resume().await.as_slice(), [Resumed::Ran(Outcome::Unknown(_))]));

    // The administrator revokes what the store holds.
    bench.lab.web().store().revoke(&alice());
    assert!(matches!(bench.resume().await.as_slice(), [Resumed::Ran(Outcome::Done(_))]));
    assert_eq!(bench.phone().installed(), bench.published());
}

#[tokio::test]
async fn a_certificate_that_a_dropped_job_published_is_orphaned_by_its_fingerprint() {
    let bench = Bench::new().await;
    assert!(bench.killed_after(Stage::Publish).await);
    let first = bench.published().unwrap();
    // Nothing staged can be taken back, so another chain of the server needs another transaction.
    bench.lab.web().present(&ServerFaults::none()).unwrap();
    let pool = Pool::new(pool_settings(&bench.lab)).unwrap();
    done(bench.run_with(&bench.job(), &mut bench.answers(), &mut pool.enrolment()).await);
    let orphaned = bench.written("orphaned").await;
    assert_eq!(orphaned.len(), 1);
    assert_eq!(orphaned[0]["fingerprint"], serde_json::to_value(first).unwrap());
    assert_eq!(bench.phone().installed(), bench.published());
    assert_ne!(bench.published(), Some(first));
}
