//! The cable is cut at every single USB transfer of a whole job, on either side of it.

use crate::bench::{Bench, OldIdentity, PORT, told};
use futures_util::{StreamExt, stream};
use tethercert::lab::usbip::{Cut, Side};
use tethercert::provision::{Job, Outcome};

/// How many jobs run at once: they wait for each other's disk and keys.
const AT_ONCE: usize = 4;

fn job(bench: &Bench) -> Job {
    Job { replace: true, ..bench.job() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cable_cut_at_any_transfer_leaves_a_whole_identity_and_a_true_word_and_the_next_run_ends_done() {
    let old = OldIdentity::of("bob@contoso.example");
    let bench = Bench::holding(old.clone()).await;
    let outcome = bench.run(&job(&bench), &mut bench.answers()).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{}", told(&outcome));
    let transfers = bench.lab.exporter().transfers(PORT);
    assert!(transfers > 15, "a job of {transfers} transfers is no whole job");

    let cuts = (1..=transfers).flat_map(|transfer| [Side::Before, Side::After].map(|side| Cut { transfer, side }));
    let words: Vec<Word> = stream::iter(cuts).map(|cut| cut_at(cut, old.clone())).buffered(AT_ONCE).collect().await;

    // Each word is spoken somewhere: a job that always said the same would prove nothing.
    for word in [Word::Done, Word::NotDone, Word::Unknown] {
        assert!(words.contains(&word), "{word:?} never came in {words:?}");
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Done,
    NotDone,
    Unknown,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_lost_at_any_step_of_the_phones_flash_leaves_a_whole_identity_and_a_true_word() {
    let old = OldIdentity::of("bob@contoso.example");
    let bench = Bench::holding(old.clone()).await;
    assert!(matches!(bench.run(&job(&bench), &mut bench.answers()).await, Outcome::Done(_)));
    let steps = bench.phone().flash_steps();
    assert!(steps > 20, "a job of {steps} steps of the flash is no whole job");

    let words = stream::iter(1..=steps).map(|step| power_lost_at(step, old.clone())).buffered(AT_ONCE);
    let words: Vec<Word> = words.collect().await;
    assert!(!words.contains(&Word::Done), "a phone without power proves nothing: {words:?}");
    assert!(words.contains(&Word::NotDone) && words.contains(&Word::Unknown), "{words:?}");
}

async fn cut_at(cut: Cut, old: OldIdentity) -> Word {
    let bench = Bench::holding(old.clone()).await;
    bench.lab.exporter().cut(PORT, cut);
    let outcome = bench.run(&job(&bench), &mut bench.answers()).await;
    judged(&bench, &outcome, &old, &format!("{cut:?}")).await
}

async fn power_lost_at(step: u64, old: OldIdentity) -> Word {
    let bench = Bench::holding(old.clone()).await;
    bench.phone().cut_power_at(step);
    let (work, mut answers) = (job(&bench), bench.answers());
    let run = bench.run(&work, &mut answers);
    let pull = async {
        bench.phone().power_lost().await;
        bench.lab.exporter().pull(PORT);
    };
    let (outcome, ()) = tokio::join!(run, pull);
    bench.phone().power_on();
    judged(&bench, &outcome, &old, &format!("flash step {step}")).await
}

/// Whether what was said is what happened, and whether the next run ends done.
async fn judged(bench: &Bench, outcome: &Outcome, old: &OldIdentity, cut: &str) -> Word {
    // The host has gone by now; what the phone had been sent, it still does.
    bench.phone().at_rest().await;
    let (held, published) = (bench.phone().installed(), bench.published());
    let memory = bench.phone().memory();
    let is_old = held == Some(old.fingerprint()) && memory.installed_anchors.is_empty() && memory.settings.is_none();
    let identity = memory.identity.as_ref().unwrap();
    let is_new = published.is_some()
        && held == published
        && memory.installed_anchors.len() == 1
        && identity.intermediates.len() == 1
        && memory.settings.is_some();
    assert!(is_old != is_new, "{cut}: neither a complete old nor a complete new identity: {memory:?}");

    let word = match outcome {
        Outcome::Done(receipt) => {
            assert!(is_new, "{cut}: done, and the phone has the old identity");
            assert_eq!(Some(receipt.verified.certificate().fingerprint()), held, "{cut}");
            Word::Done
        }
        Outcome::NotDone(_) => {
            assert!(is_old, "{cut}: not done, and the phone has the new identity");
            assert_eq!(published, None, "{cut}: not done, and something is published");
            Word::NotDone
        }
        Outcome::Unknown(_) => {
            assert!(published.is_some(), "{cut}: unknown, and nothing is published: {}", told(outcome));
            Word::Unknown
        }
        Outcome::Planned(_) => panic!("{cut}: nobody asked for a plan"),
    };

    bench.lab.exporter().replug(PORT);
    let again = bench.run(&job(bench), &mut bench.answers()).await;
    assert!(matches!(again, Outcome::Done(_)), "{cut}: the second run: {}", told(&again));
    assert_eq!(bench.phone().installed(), bench.published(), "{cut}");
    if published.is_some() {
        assert_eq!(bench.published(), published, "{cut}: what was published once is what gets installed");
    }
    assert!(bench.ledger.verify().await.is_ok());
    word
}
