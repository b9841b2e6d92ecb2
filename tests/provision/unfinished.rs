//! Jobs that were cut short, and how `resume` brings each to its end.

use crate::bench::{Bench, OldIdentity, PORT, Resumed, finder, told};
use tethercert::lab::web_services::Kind;
use tethercert::ledger::{self, Ledger, State};
use tethercert::phone::Again;
use tethercert::phone::tether::HostKey;
use tethercert::provision::{Answer, Job, Outcome, ProvisionError, Stage, known_again};

fn ran(mut ends: Vec<Resumed>) -> Outcome {
    assert_eq!(ends.len(), 1, "{ends:?}");
    match ends.remove(0) {
        Resumed::Ran(outcome) => outcome,
        Resumed::Settled(settled) => panic!("{settled:?}"),
    }
}

#[tokio::test]
async fn a_job_killed_after_any_step_is_resumed_under_its_own_number_to_a_true_end() {
    let steps = [Stage::Request, Stage::Trust, Stage::Publish, Stage::Install];
    for (stage, secrets) in steps.into_iter().zip([1, 1, 0, 0]) {
        let bench = Bench::new().await;
        assert!(bench.killed_after(stage).await);
        let published = bench.published();
        let unfinished = bench.ledger.unfinished().await.unwrap();
        let [job] = unfinished.as_slice() else { panic!("{unfinished:?}") };
        assert_eq!(job.state, State::Open);
        let mut answers = bench.answers();
        let end = bench.resume_one(job, &mut answers).await;
        let Resumed::Ran(Outcome::Done(receipt)) = end else { panic!("{stage}: {end:?}") };
        assert_eq!(receipt.job, job.job.job, "the same job goes on");
        assert_eq!(answers.asked.len(), secrets, "{stage}: a secret is wanted only to publish");
        assert_eq!(bench.phone().installed(), bench.published());
        if published.is_some() {
            assert_eq!(bench.published(), published, "{stage}: what was published is what gets installed");
        }
        assert_eq!(bench.ledger.jobs().await.unwrap().len(), 1);
        assert_eq!(bench.ledger.unfinished().await.unwrap(), []);
    }
}

#[tokio::test]
async fn what_is_committed_is_proved_without_the_service() {
    let bench = Bench::new().await;
    assert!(bench.killed_after(Stage::Install).await);
    bench.lab.web().faults().hang_up = Some((Kind::CertProvMetadata, 9));
    let before = bench.lab.web().requests().len();
    let outcome = ran(bench.resume().await);
    assert!(matches!(outcome, Outcome::Done(_)), "{}", told(&outcome));
    assert_eq!(bench.lab.web().requests().len(), before);
}

#[tokio::test]
async fn a_job_that_began_nothing_is_ended_without_phone_or_service() {
    let bench = Bench::new().await;
    assert!(bench.killed_after(Stage::SignIn).await);
    let ends = bench.resume().await;
    let [Resumed::Settled(settled)] = ends.as_slice() else { panic!("{ends:?}") };
    assert_eq!(settled.outcome, ledger::Outcome::NotDone);
    assert!(settled.next_step.as_deref().unwrap().contains("tethercert provision --user alice@contoso.example"));
    assert_eq!(bench.ledger.unfinished().await.unwrap(), []);
}

#[tokio::test]
async fn a_job_whose_end_alone_was_not_written_gets_it_from_the_ledger() {
    let bench = Bench::new().await;
    assert!(bench.killed_after(Stage::Proof).await);
    let ends = bench.resume().await;
    let [Resumed::Settled(settled)] = ends.as_slice() else { panic!("{ends:?}") };
    assert_eq!(settled.outcome, ledger::Outcome::Done);
    assert_eq!(bench.ledger.unfinished().await.unwrap(), []);
}

#[tokio::test]
async fn a_phone_that_forgot_the_job_ends_it_as_not_done_and_the_publication_as_orphaned() {
    for stage in [Stage::Trust, Stage::Publish] {
        let mut bench = Bench::new().await;
        assert!(bench.killed_after(stage).await);
        let published = bench.published();
        bench.reset_phone();
        let outcome = ran(bench.resume().await);
        let Outcome::NotDone(failure) = &outcome else { panic!("{}", told(&outcome)) };
        assert!(matches!(failure.error, ProvisionError::Forgotten { .. }), "{}", told(&outcome));
        let orphaned = bench.written("orphaned").await;
        let fingerprints: Vec<_> = orphaned.iter().map(|it| it["fingerprint"].clone()).collect();
        let expected: Vec<_> = published.iter().map(|it| serde_json::to_value(it).unwrap()).collect();
        assert_eq!(fingerprints, expected, "{stage}");
        assert_eq!(bench.ledger.unfinished().await.unwrap(), []);
        bench.done().await;
    }
}

#[tokio::test]
async fn a_phone_that_has_another_identity_meanwhile_keeps_it() {
    let mut bench = Bench::new().await;
    bench.lab.web().faults().answer_lost = 2;
    let outcome = bench.run(&bench.job(), &mut bench.answers()).await;
    bench.write_end(&outcome).await;
    let mut material = bench.phone().material();
    let carol = OldIdentity::of("carol@contoso.example");
    material.identity = Some(carol.stored());
    bench.lab.replace(PORT, material);

    let outcome = ran(bench.resume().await);
    let Outcome::NotDone(failure) = &outcome else { panic!("{}", told(&outcome)) };
    assert!(failure.error.to_string().contains("carol@contoso.example"), "{}", failure.error);
    assert_eq!(bench.phone().installed(), Some(carol.fingerprint()));
    assert_eq!(bench.written("orphaned").await[0]["fingerprint"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_job_that_a_later_one_has_finished_is_not_left_over() {
    let bench = Bench::new().await;
    for stage in [Stage::Trust, Stage::Publish] {
        assert!(bench.killed_after(stage).await);
    }
    let outcome = bench.run(&bench.job(), &mut bench.answers()).await;
    bench.write_end(&outcome).await;
    let ends = bench.resume().await;
    assert!(
        ends.iter().all(|end| matches!(end, Resumed::Settled(it) if it.outcome == ledger::Outcome::Done)),
        "{ends:?}"
    );
    assert_eq!((ends.len(), bench.ledger.unfinished().await.unwrap().len()), (2, 0));
}

#[tokio::test]
async fn what_stays_unknown_stays_unfinished() {
    let bench = Bench::new().await;
    bench.lab.web().faults().answer_lost = 2;
    let outcome = bench.run(&bench.job(), &mut bench.answers()).await;
    bench.write_end(&outcome).await;
    bench.lab.web().faults().hang_up = Some((Kind::Publish, 9));
    assert!(matches!(ran(bench.resume().await), Outcome::Unknown(_)));
    assert_eq!(bench.ledger.unfinished().await.unwrap().len(), 1);
    bench.lab.web().faults().hang_up = None;
    assert!(matches!(ran(bench.resume().await), Outcome::Done(_)));
    assert_eq!(bench.phone().installed(), bench.published());
}

#[tokio::test]
async fn another_phone_is_not_taken_for_the_one_of_the_job() {
    let bench = Bench::with_phones(2).await;
    let found = bench.finder.list().await.unwrap();
    let (mut one, identified) = bench.finder.meet(&found[0]).await.unwrap();
    let (_, other) = bench.finder.meet(&found[1]).await.unwrap();
    let (mut answers, job) = (bench.answers(), Job { slot: "1-1".into(), ..bench.job() });
    answers.is_phone = Answer::No;
    let stop = tethercert::provision::Stop::default();
    let mut service = bench.pool.enrolment();
    tethercert::provision::provision(&job, one.driver(), &mut service, &bench.ledger, &mut answers, &stop).await;
    let unfinished = bench.ledger.unfinished().await.unwrap();
    let of = unfinished[0].job.phone.as_ref().unwrap();
    assert_eq!(known_again(&identified, of), Some(Again::Same));
    assert_eq!(known_again(&other, of), None);
}

#[tokio::test]
async fn another_computers_ledger_has_no_jobs_to_resume_here() {
    let mut bench = Bench::new().await;
    assert!(bench.killed_after(Stage::Publish).await);
    bench.finder = finder(&bench.lab, HostKey::ephemeral());
    bench.ledger = Ledger::temporary("another").await.unwrap();
    assert_eq!(bench.ledger.unfinished().await.unwrap(), []);
}
