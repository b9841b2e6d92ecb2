//! What a job finds of earlier ones, in the phone, in the ledger and at the service, and what it makes of it.

use crate::answers::Answers;
use crate::bench::{Bench, OldIdentity, PORT, done, finder, not_done, pool_settings, told, unknown};
use tethercert::lab::phone::{Clock, Consent, Lies, StoredIdentity};
use tethercert::lab::pki::ServerFaults;
use tethercert::lab::usbip::{Cut, Side};
use tethercert::lab::web_services::{CertificateFault, Kind};
use tethercert::ledger::{self, Filter, Ledger, State};
use tethercert::phone::tether::HostKey;
use tethercert::phone::{Authenticity, Parting, PhoneError, Remedyable};
use tethercert::provision::{Answer, Event, Job, Outcome, Proof, ProvisionError, Stage, Stop, check_up, provision};
use tethercert::service::ocauth::Pool;
use tethercert::world::World;

fn trust_is_staged(event: &Event) -> bool {
    matches!(event, Event::StepDone(done) if done.step == Stage::Trust)
}

/// Bob's job on the same phone.
fn bob(bench: &Bench) -> (Job, Answers<'static>) {
    let bob = bench.lab.web().users()[1].clone();
    let answers = Answers { login: bob.login, password: bob.password, ..bench.answers() };
    (Job { user: bob.sip, replace: true, ..bench.job() }, answers)
}

#[tokio::test]
async fn a_stop_comes_too_late_once_something_is_published_also_in_the_job_that_goes_on_with_it() {
    let bench = Bench::new().await;
    assert!(bench.killed_after(Stage::Publish).await);
    let first = bench.published();
    let mut answers = Answers { stop_at: Some((trust_is_staged, None)), ..bench.answers() };
    done(bench.run(&bench.job(), &mut answers).await);
    assert_eq!(bench.published(), first, "the first publication is the one installed");
}

#[tokio::test]
async fn what_only_looks_like_the_users_certificate_is_replaced() {
    let mut under_another_name = OldIdentity::of("bob@contoso.example").stored();
    under_another_name.user = "alice@contoso.example".into();
    for identity in [OldIdentity::of("alice@contoso.example").stored(), under_another_name] {
        let bench = all_but_the_certificate(identity).await;
        let receipt = bench.done().await;
        assert!(!receipt.unchanged);
        assert_eq!(bench.phone().installed(), bench.published());
    }
}

/// A phone that has the time, the root and the settings, and this identity.
async fn all_but_the_certificate(identity: StoredIdentity) -> Bench {
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.identity = Some(identity);
    material.anchors = vec![bench.lab.web_root_der()];
    material.clock = Clock::Offset(0);
    bench.lab.plug(material);
    bench.lab.web().present(&ServerFaults::none()).unwrap();
    bench
}

#[tokio::test]
async fn new_settings_reach_a_phone_that_has_all_else() {
    let bench = Bench::new().await;
    bench.done().await;
    let registrar = Some("sip2.contoso.example:5061".to_owned());
    let job = Job { registrar: registrar.clone(), ..bench.job() };
    done(bench.run(&job, &mut bench.answers()).await);
    assert_eq!(bench.phone().memory().settings.unwrap().registrar, registrar);
    assert!(done(bench.run(&job, &mut bench.answers()).await).unchanged);
}

#[tokio::test]
async fn a_dry_run_on_a_finished_phone_finds_nothing_to_do() {
    let bench = Bench::new().await;
    bench.done().await;
    let outcome = bench.run(&Job { dry_run: true, ..bench.job() }, &mut bench.answers()).await;
    let Outcome::Planned(plan) = outcome else { panic!("{}", told(&outcome)) };
    assert!(plan.nothing_to_do);
    assert_eq!((plan.replaces, plan.anchors.len(), plan.intermediates.len()), (None, 0, 0));
}

#[tokio::test]
async fn what_is_committed_and_not_proved_stays_unknown_until_it_is_proved() {
    let bench = Bench::new().await;
    assert!(bench.killed_after(Stage::Install).await);
    bench.lab.web().faults().hang_up = Some((Kind::CertProvMetadata, 9));
    let cold = Pool::new(pool_settings(&bench.lab)).unwrap();
    unknown(bench.run_with(&bench.job(), &mut bench.answers(), &mut cold.enrolment()).await);
    let mut answers = Answers { is_phone: Answer::No, ..bench.answers() };
    unknown(bench.run(&bench.job(), &mut answers).await);

    bench.lab.web().faults().hang_up = None;
    assert!(bench.done().await.unchanged);
}

#[tokio::test]
async fn a_later_job_is_unknown_once_it_knows_the_phone_and_before_that_says_only_what_it_did() {
    let bench = Bench::new().await;
    assert!(bench.killed_after(Stage::Install).await);
    bench.phone().at_rest().await;
    let (mut unmet, mut unseen) = (0, 0);
    for transfer in 1.. {
        bench.lab.exporter().replug(PORT);
        bench.lab.exporter().cut(PORT, Cut { transfer, side: Side::After });
        let outcome = bench.run(&bench.job(), &mut bench.answers()).await;
        let (Outcome::NotDone(failure) | Outcome::Unknown(failure)) = &outcome else { break };
        let (Some(job), already) = (failure.job, failure.already.as_deref()) else { continue };
        bench.write_end(&outcome).await;
        if told(&outcome).contains("during opening the session") {
            assert!(matches!(outcome, Outcome::NotDone(_)));
            assert_eq!(already, Some("this run has changed nothing on the phone"), "transfer {transfer}");
            unmet += 1;
            continue;
        }
        assert!(matches!(outcome, Outcome::Unknown(_)), "transfer {transfer}: {}", told(&outcome));
        assert!(already.is_some(), "transfer {transfer}");
        unseen += usize::from(told(&outcome).contains("during reading the phone's state"));
        let open = bench.ledger.unfinished().await.unwrap();
        assert!(open.iter().any(|it| it.job.job == job && it.state == State::Open), "`resume {job}` is what is said");
    }
    assert!(unmet > 0 && unseen > 0, "{unmet}, {unseen}");
}

#[tokio::test]
async fn a_job_that_was_unknown_for_an_earlier_ones_certificate_is_so_when_it_is_resumed_too() {
    let bench = Bench::new().await;
    bench.lab.web().faults().answer_lost = 2;
    bench.write_end(&unknown_outcome(bench.run(&bench.job(), &mut bench.answers()).await)).await;
    // The second job has a transaction of its own, and comes to no publication.
    bench.phone().forget_what_is_pending();
    let cable = bench.lab.exporter().cable(PORT);
    let hook = move |event: &Event| {
        if matches!(event, Event::StepDone(done) if done.step == Stage::Request) {
            cable.pull();
        }
    };
    let mut answers = Answers { hook: Some(Box::new(hook)), ..bench.answers() };
    bench.write_end(&unknown_outcome(bench.run(&bench.job(), &mut answers).await)).await;
    let second = bench.ledger.unfinished().await.unwrap().pop().unwrap();
    assert_eq!(second.job.job.get(), 2);
    assert!(!second.transaction.as_ref().unwrap().may_be_published());

    let mut seen = 0;
    for transfer in 1.. {
        bench.lab.exporter().replug(PORT);
        bench.lab.exporter().cut(PORT, Cut { transfer, side: Side::Before });
        let Ok(_) = bench.open().await else { continue };
        bench.lab.exporter().replug(PORT);
        bench.lab.exporter().cut(PORT, Cut { transfer, side: Side::Before });
        let outcome = unknown_outcome(bench.go_on(&bench.job(), &second, &mut bench.answers()).await);
        seen += usize::from(told(&outcome).contains("during opening the session"));
        if told(&outcome).contains("during reading the phone's state") {
            break;
        }
    }
    assert!(seen > 0);
}

fn unknown_outcome(outcome: Outcome) -> Outcome {
    assert!(matches!(outcome, Outcome::Unknown(_)), "{}", told(&outcome));
    outcome
}

/// A job that wants a phone that something vouches for, on one for which only the compared code does, cut after it published.
async fn cut_after_a_compared_code() -> (Bench, Job) {
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.factory = None;
    bench.lab.plug(material);
    let cable = bench.lab.exporter().cable(PORT);
    let hook = move |event: &Event| {
        if matches!(event, Event::StepDone(done) if done.step == Stage::Publish) {
            cable.pull();
        }
    };
    let mut answers = Answers { code: Answer::Yes, hook: Some(Box::new(hook)), ..bench.answers() };
    let job = Job { require_authentic: true, ..bench.job() };
    let outcome = bench.run(&Job { compare_code: true, ..job.clone() }, &mut answers).await;
    assert_eq!(answers.codes_seen.len(), 1);
    bench.write_end(&unknown_outcome(outcome)).await;
    bench.lab.exporter().replug(PORT);
    (bench, job)
}

#[tokio::test]
async fn a_phone_whose_code_was_compared_goes_on_by_the_key_that_the_code_vouched_for() {
    let (bench, job) = cut_after_a_compared_code().await;
    let [unfinished] = bench.ledger.unfinished().await.unwrap().try_into().unwrap();
    let receipt = done(bench.go_on(&job, &unfinished, &mut bench.answers()).await);
    assert_eq!(receipt.authenticity, Authenticity::Code);
    assert_eq!(bench.phone().installed(), bench.published());

    // It vouches for the job in which it was compared, and for no other.
    let error = not_done(bench.run(&Job { renew: true, ..job }, &mut bench.answers()).await);
    assert!(error.to_string().contains("nothing vouches"), "{error}");
}

#[tokio::test]
async fn a_phone_with_a_new_key_since_its_code_was_compared_is_refused_until_it_is_compared_again() {
    let (bench, job) = cut_after_a_compared_code().await;
    bench.phone().make_a_new_session_key();
    let [unfinished] = bench.ledger.unfinished().await.unwrap().try_into().unwrap();
    let error = unknown(bench.go_on(&job, &unfinished, &mut bench.answers()).await);
    assert!(error.to_string().contains("nothing vouches"), "{error}");
    assert!(error.next_step().contains("at a terminal"), "{}", error.next_step());

    let [unfinished] = bench.ledger.unfinished().await.unwrap().try_into().unwrap();
    let mut answers = Answers { code: Answer::Yes, ..bench.answers() };
    let receipt = done(bench.go_on(&Job { compare_code: true, ..job }, &unfinished, &mut answers).await);
    assert_eq!((receipt.authenticity, answers.codes_seen.len()), (Authenticity::Code, 1));
    assert_eq!(bench.phone().installed(), bench.published());
}

#[tokio::test]
async fn server_trust_staged_by_an_earlier_try_is_not_committed_unseen() {
    let bench = Bench::new().await;
    bench.lab.web().faults().store_unavailable = 1;
    not_done(bench.run(&bench.job(), &mut bench.answers()).await);
    assert_eq!(bench.phone().memory().pending.unwrap().intermediates.len(), 1);

    // The server has learned to send its intermediate meanwhile.
    bench.lab.web().present(&ServerFaults::none()).unwrap();
    let pool = Pool::new(pool_settings(&bench.lab)).unwrap();
    let receipt = done(bench.run_with(&bench.job(), &mut bench.answers(), &mut pool.enrolment()).await);
    assert!(receipt.verified.intermediates().is_empty());
    assert!(bench.phone().memory().identity.unwrap().intermediates.is_empty());
}

#[tokio::test]
async fn a_published_key_is_not_given_up_for_another_user_unasked() {
    let bench = Bench::new().await;
    assert!(bench.killed_after(Stage::Publish).await);
    let (job, mut answers) = bob(&bench);
    let error = not_done(bench.run(&job, &mut answers).await);
    assert!(matches!(error, ProvisionError::OtherPending { .. }), "{error}");
    assert_eq!(bench.phone().memory().pending.unwrap().user, "alice@contoso.example");

    let (job, mut answers) = bob(&bench);
    done(bench.run(&Job { abort_pending: true, ..job }, &mut answers).await);
}

#[tokio::test]
async fn a_job_is_given_up_in_the_ledger_only_once_the_phone_has_given_it_up() {
    let whole = Bench::new().await;
    whole.done().await;
    for transfer in 1..=whole.lab.exporter().transfers(PORT) {
        let bench = Bench::new().await;
        bench.lab.web().faults().answer_lost = 2;
        unknown(bench.run(&bench.job(), &mut bench.answers()).await);

        let (job, mut answers) = bob(&bench);
        bench.lab.exporter().replug(PORT);
        bench.lab.exporter().cut(PORT, Cut { transfer, side: Side::Before });
        bench.run(&Job { abort_pending: true, ..job }, &mut answers).await;
        bench.phone().at_rest().await;
        bench.lab.exporter().replug(PORT);

        let pending = bench.phone().memory().pending.is_some_and(|pending| pending.user == "alice@contoso.example");
        if pending {
            bench.lab.web().faults().store_unavailable = 1;
            unknown(bench.run(&bench.job(), &mut bench.answers()).await);
        }
    }
}

#[tokio::test]
async fn an_old_certificate_is_not_enough_when_a_newer_one_was_published() {
    let mut bench = Bench::new().await;
    bench.done().await;
    bench.lab.web().faults().answer_lost = 2;
    let renew = Job { renew: true, ..bench.job() };
    unknown(bench.run(&renew, &mut bench.answers()).await);

    // Another computer has the phone forget it, and is stopped.
    let here = std::mem::replace(&mut bench.finder, finder(&bench.lab, HostKey::ephemeral()));
    let ledger = std::mem::replace(&mut bench.ledger, Ledger::temporary("another").await.unwrap());
    let mut answers = Answers { stop_at: Some((trust_is_staged, None)), ..bench.answers() };
    not_done(bench.run(&Job { abort_pending: true, ..renew }, &mut answers).await);

    (bench.finder, bench.ledger) = (here, ledger);
    bench.done().await;
    assert_eq!(bench.phone().installed(), bench.published());
    assert_eq!(bench.ledger.pending_for(bench.phone().material().device).await.unwrap(), None);
}

#[tokio::test]
async fn a_phone_that_takes_little_at_once_is_served_in_pieces_or_refused_before_publish() {
    for limit in [4096, 4608, 5120, 6144] {
        let mut bench = Bench::with_phones(0).await;
        let mut material = bench.lab.material(1);
        material.max_body_bytes = limit;
        bench.lab.plug(material);
        bench.lab.web().present(&ServerFaults::none()).unwrap();
        bench.done().await;
    }
}

#[tokio::test]
async fn a_phone_with_as_many_anchors_as_a_browser_takes_eight_exchanges_too() {
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.anchors =
        (0..120).map(|number| OldIdentity::of(&format!("root {number}")).stored().leaf.to_vec()).collect();
    bench.lab.plug(material);
    let receipt = bench.done().await;
    assert!(receipt.traffic.exchanges <= 8, "{:?}", receipt.traffic);
}

#[tokio::test]
async fn a_stop_is_heard_while_a_service_keeps_silent() {
    let bench = Bench::new().await;
    bench.lab.web().faults().slow = Some((Kind::CertProvMetadata, std::time::Duration::from_secs(600)));
    let (job, mut answers, stop) = (bench.job(), bench.answers(), Stop::default());
    let mut phone = bench.open().await.unwrap();
    let mut service = bench.pool.enrolment();
    let run = provision(&job, phone.driver(), &mut service, &bench.ledger, &mut answers, &stop);
    let ask = async {
        while bench.lab.web().counters().connections == 0 {
            tokio::task::yield_now().await;
        }
        stop.ask();
    };
    let (outcome, ()) = tokio::join!(run, ask);
    assert!(matches!(not_done(outcome), ProvisionError::Stopped));
}

#[tokio::test]
async fn an_administrator_code_that_would_be_withheld_is_not_asked_for_nor_is_the_users_secret() {
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.consent = Consent::Code { code: "2468".into(), tries: 3 };
    material.factory = None;
    bench.lab.plug(material);
    let mut answers = bench.answers();
    let error = not_done(bench.run(&bench.job(), &mut answers).await);
    assert!(matches!(error, ProvisionError::Phone(PhoneError::CodeWithheld)), "{error}");
    assert_eq!(error.remedyable(), Remedyable::Person);
    assert!(answers.asked.is_empty());
}

#[tokio::test]
async fn a_check_up_finds_another_users_certificate_and_does_without_a_pool_that_is_down() {
    let mut stored = OldIdentity::of("mallory@contoso.example").stored();
    stored.user = "alice@contoso.example".into();
    let bench = all_but_the_certificate(stored).await;
    bench.lab.web().faults().hang_up = Some((Kind::CertProvMetadata, 9));
    let mut phone = bench.open().await.unwrap();
    let checkup = check_up(phone.driver(), Some(&mut bench.pool.enrolment()), None, &World::system()).await.unwrap();
    assert!(checkup.refusal.is_some());
    assert!(matches!(checkup.certificate, Some((_, Proof::Given))));
    assert!(matches!(checkup.server, Some(Err(_))));
}

#[tokio::test]
async fn a_refused_publication_is_written_down_as_refused_whatever_was_before_it() {
    let bench = Bench::new().await;
    bench.lab.web().faults().certificate = CertificateFault::AnotherKey;
    let error = unknown(bench.run(&bench.job(), &mut bench.answers()).await);
    assert!(error.next_step().contains("a new key"), "{}", error.next_step());
    let made = bench.lab.web().counters().certificates;
    assert_eq!(made, 1, "an answer that came is not asked for again");

    bench.lab.web().faults().certificate = CertificateFault::None;
    bench.lab.web().faults().store_unavailable = 1;
    unknown(bench.run(&bench.job(), &mut bench.answers()).await);
    let records = bench.ledger.events(Filter::default()).await.unwrap();
    assert!(records.iter().any(|record| matches!(record.event, ledger::Event::StoreUnavailable { .. })));
    bench.done().await;
}

#[tokio::test]
async fn a_committed_certificate_that_is_not_proved_can_be_renewed() {
    let bench = Bench::new().await;
    bench.phone().lie(Lies { proves_with_another_key: true, ..Lies::default() });
    unknown(bench.run(&bench.job(), &mut bench.answers()).await);
    let error = unknown(bench.run(&bench.job(), &mut bench.answers()).await);
    assert!(error.next_step().contains("--renew"), "{}", error.next_step());

    bench.phone().lie(Lies::default());
    let first = bench.phone().installed();
    done(bench.run(&Job { renew: true, ..bench.job() }, &mut bench.answers()).await);
    assert_ne!(bench.phone().installed(), first);
}

#[tokio::test]
async fn what_the_phone_cannot_do_is_refused_before_anything_is_done() {
    let bench = Bench::new().await;
    let job = Job { parting: Parting::SignIn, ..bench.job() };
    let error = not_done(bench.run(&job, &mut bench.answers()).await);
    assert_eq!(error.remedyable(), Remedyable::Policy);
    assert_eq!(bench.phone().memory().pending, None);
}

#[tokio::test]
async fn a_clock_of_nonsense_is_a_clock_that_was_never_set() {
    let bench = Bench::new().await;
    bench.phone().set_clock(Clock::Offset(-63_500_000_000));
    bench.done().await;
    assert!(bench.phone().time().unwrap().year() > 2020);
}

#[tokio::test]
async fn a_service_that_does_not_say_the_time_sets_no_clock_and_one_answer_that_says_it_is_enough() {
    let bench = Bench::new().await;
    bench.lab.web().faults().no_date = [Kind::CertProvMetadata, Kind::WebTicketMetadata].into();
    let mut answers = bench.answers();
    let error = not_done(bench.run(&bench.job(), &mut answers).await);
    assert!(matches!(error, ProvisionError::NoServiceTime { .. }), "{error}");
    assert!(answers.asked.is_empty(), "no secret is asked for");
    assert!(bench.phone().time().unwrap().year() < 2010);

    bench.lab.web().faults().no_date.remove(&Kind::WebTicketMetadata);
    let cold = Pool::new(pool_settings(&bench.lab)).unwrap();
    done(bench.run_with(&bench.job(), &mut bench.answers(), &mut cold.enrolment()).await);
}

#[tokio::test]
async fn the_time_is_looked_at_again_after_the_ticket() {
    let bench = Bench::new().await;
    bench.done().await;
    bench.reset_clock();
    // The metadata is remembered, and what was learned of the time with it.
    bench.lab.web().faults().clock_offset = time::Duration::hours(1);
    let error = not_done(bench.run(&Job { renew: true, ..bench.job() }, &mut bench.answers()).await);
    assert!(matches!(error, ProvisionError::ClocksDiffer { .. }), "{error}");
    assert!(bench.phone().time().unwrap().year() < 2010);
}
