//! What a job promises: done means proved, not done means untouched, and nothing is published before all else is sure.

use crate::bench::{Answers, Bench, HOST, OldIdentity, done, finder, not_done, pool_settings, told, unknown};
use tethercert::credential::KeyKind;
use tethercert::lab::phone::{Clock, Consent, Lies};
use tethercert::lab::pki::{Dates, ServerFaults};
use tethercert::lab::web_services::{CertificateFault, Kind};
use tethercert::ledger::{self, Filter};
use tethercert::phone::tether::HostKey;
use tethercert::phone::{Authenticity, PhoneError, Remedyable};
use tethercert::provision::{Answer, Event, Job, Outcome, ProvisionError, Stage};
use tethercert::service::ocauth::Pool;

#[tokio::test]
async fn a_phone_fresh_from_its_box_gets_identity_trust_and_time_and_proves_it() {
    let bench = Bench::new().await;
    let receipt = bench.done().await;

    let phone = bench.phone();
    assert_eq!(phone.installed(), bench.published());
    assert_eq!(phone.installed(), Some(receipt.verified.certificate().fingerprint()));
    assert_eq!(receipt.verified.anchors().len(), 1);
    assert_eq!(receipt.verified.intermediates().len(), 1);
    assert!(phone.time().unwrap() > time::macros::datetime!(2026-01-01 00:00 UTC));
    assert_eq!(phone.times_lit(), 1);
    assert_eq!(receipt.steps.iter().map(|step| step.step).collect::<Vec<_>>(), Stage::ALL);
    assert!(matches!(receipt.authenticity, Authenticity::Maker { .. }));
    let settings = phone.memory().settings.unwrap();
    assert_eq!(settings.sip_uri, "sip:alice@contoso.example");
}

#[tokio::test]
async fn a_whole_job_takes_eight_exchanges_and_a_warm_enrolment_four_requests_or_two_with_a_pin() {
    let bench = Bench::new().await;
    let receipt = bench.done().await;
    assert!(receipt.traffic.exchanges <= 8, "{:?}", receipt.traffic);

    let mut service = bench.pool.enrolment();
    done(bench.run_with(&Job { renew: true, ..bench.job() }, &mut bench.answers(), &mut service).await);
    assert_eq!(service.cost().requests, 4, "NTLM, warm");

    let user = &bench.lab.web().users()[0];
    let mut service = bench.pool.enrolment();
    let pin = Some((user.number.clone(), user.pin.clone()));
    let mut answers = Answers { pin, ..bench.answers() };
    done(bench.run_with(&Job { renew: true, ..bench.job() }, &mut answers, &mut service).await);
    assert_eq!(service.cost().requests, 2, "PIN, warm");
}

#[tokio::test]
async fn a_finished_phone_is_proved_and_left_as_it_is() {
    let bench = Bench::new().await;
    let first = bench.done().await;
    let (steps, published) = (bench.phone().flash_steps(), bench.lab.web().store().list().len());

    let mut answers = bench.answers();
    let again = done(bench.run(&bench.job(), &mut answers).await);
    assert!(again.unchanged);
    assert_eq!(again.verified.certificate(), first.verified.certificate());
    assert_eq!((bench.phone().flash_steps(), bench.lab.web().store().list().len()), (steps, published));
    assert!(answers.asked.is_empty(), "no secret is asked for when nothing is to be done");
    assert!(answers.events.iter().any(|event| matches!(event, Event::Pool(pool) if pool.trusted)));

    let renewed = done(bench.run(&Job { renew: true, ..bench.job() }, &mut bench.answers()).await);
    assert_ne!(renewed.verified.certificate(), first.verified.certificate());
    assert_eq!(bench.phone().installed(), bench.published());
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let bench = Bench::holding(OldIdentity::of("bob@contoso.example")).await;
    let before = (bench.phone().memory(), bench.phone().flash_steps());
    let mut answers = bench.answers();
    let outcome = bench.run(&Job { dry_run: true, ..bench.job() }, &mut answers).await;
    let Outcome::Planned(plan) = outcome else { panic!("{}", told(&outcome)) };

    assert_eq!(plan.replaces.unwrap().user, "bob@contoso.example");
    assert_eq!((plan.anchors.len(), plan.intermediates.len(), plan.sets_clock), (1, 1, true));
    assert_eq!((bench.phone().memory(), bench.phone().flash_steps()), before);
    assert!(answers.asked.is_empty());
    assert!(bench.lab.web().store().list().is_empty());
}

#[tokio::test]
async fn another_users_identity_is_replaced_only_after_a_yes_or_by_option() {
    let old = OldIdentity::of("bob@contoso.example");
    for (answer, option, replaced) in [
        (Answer::Nobody, false, false),
        (Answer::No, false, false),
        (Answer::Yes, false, true),
        (Answer::Nobody, true, true),
    ] {
        let bench = Bench::holding(old.clone()).await;
        let mut answers = Answers { replaces: answer, ..bench.answers() };
        let outcome = bench.run(&Job { replace: option, ..bench.job() }, &mut answers).await;
        if replaced {
            done(outcome);
            assert_eq!(bench.phone().installed(), bench.published());
        } else {
            assert_eq!(not_done(outcome).remedyable(), Remedyable::Person);
            assert_eq!(bench.phone().installed(), Some(old.fingerprint()));
            assert!(answers.asked.is_empty(), "no secret is asked for before that is settled");
        }
    }
}

#[tokio::test]
async fn the_wrong_phone_is_left_alone() {
    let bench = Bench::new().await;
    for (answer, met_by) in [(Answer::No, Remedyable::Person), (Answer::Nobody, Remedyable::Person)] {
        let mut answers = Answers { is_phone: answer, ..bench.answers() };
        assert_eq!(not_done(bench.run(&bench.job(), &mut answers).await).remedyable(), met_by);
    }
    assert_eq!(bench.phone().memory().pending, None);
    assert!(bench.phone().times_lit() > 0, "its light had shown which one it is");
}

#[tokio::test]
async fn a_wrong_password_touches_no_phone_and_is_sent_once() {
    let bench = Bench::new().await;
    let tried = || Answers { password: "wrong".into(), ..bench.answers() };
    let error = not_done(bench.run(&bench.job(), &mut tried()).await);
    assert_eq!(error.remedyable(), Remedyable::Person);
    assert_eq!(bench.phone().memory().pending, None);
    let sent = bench.lab.web().counters().requests;

    let error = not_done(bench.run(&bench.job(), &mut tried()).await);
    assert!(error.to_string().contains("not sent again"), "{error}");
    assert_eq!(bench.lab.web().counters().requests, sent, "nothing was sent to the service again");
    bench.done().await;
}

#[tokio::test]
async fn an_unavailable_data_store_is_temporary_and_the_next_try_uses_the_same_key() {
    let bench = Bench::new().await;
    bench.lab.web().faults().store_unavailable = 1;
    let outcome = bench.run(&bench.job(), &mut bench.answers()).await;
    let error = not_done(outcome);
    assert_eq!(error.remedyable(), Remedyable::Temporary, "{error}");
    let request = bench.phone().memory().pending.unwrap().request;
    assert_eq!(bench.phone().installed(), None);

    bench.done().await;
    let records = bench.ledger.events(Filter::default()).await.unwrap();
    let sent: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.event {
            ledger::Event::PublishIntended { publication, .. } => Some(publication.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0], sent[1], "the same request, key and ids");
    assert_eq!(Some(sent[0].signing_request.as_slice()), request.as_deref().map(Vec::as_slice));
}

#[tokio::test]
async fn a_lost_answer_to_publish_is_asked_for_once_more_and_then_unknown_until_the_next_run() {
    let bench = Bench::new().await;
    bench.lab.web().faults().answer_lost = 1;
    bench.done().await;

    let bench = Bench::new().await;
    bench.lab.web().faults().answer_lost = 2;
    unknown(bench.run(&bench.job(), &mut bench.answers()).await);
    assert_eq!(bench.phone().installed(), None, "the old identity is complete");
    assert!(bench.published().is_some(), "and something was published");

    bench.done().await;
    assert_eq!(bench.phone().installed(), bench.published());
}

#[tokio::test]
async fn what_was_unknown_stays_unknown_until_it_is_known() {
    let bench = Bench::new().await;
    bench.lab.web().faults().answer_lost = 2;
    unknown(bench.run(&bench.job(), &mut bench.answers()).await);
    for kind in [Kind::NtlmTicket, Kind::Publish] {
        bench.lab.web().faults().hang_up = Some((kind, 9));
        unknown(bench.run(&bench.job(), &mut bench.answers()).await);
    }
    bench.lab.web().faults().hang_up = None;
    bench.lab.web().faults().store_unavailable = 1;
    unknown(bench.run(&bench.job(), &mut bench.answers()).await);
    bench.done().await;
    assert_eq!(bench.phone().installed(), bench.published());
}

#[tokio::test]
async fn a_job_that_the_phone_has_forgotten_is_given_up_in_the_ledger() {
    let mut bench = Bench::new().await;
    bench.lab.web().faults().answer_lost = 2;
    unknown(bench.run(&bench.job(), &mut bench.answers()).await);
    let device = bench.phone().material().device;
    assert!(bench.ledger.pending_for(device).await.unwrap().is_some());

    bench.reset_phone();
    bench.done().await;
    assert_eq!(bench.ledger.pending_for(device).await.unwrap(), None);
    assert_eq!(bench.phone().installed(), bench.published());
}

#[tokio::test]
async fn a_program_killed_after_publishing_goes_on_without_publishing_again() {
    let bench = Bench::new().await;
    for stage in [Stage::Publish, Stage::Install] {
        let killed = bench.killed_after(stage).await;
        assert!(killed, "the job reached {stage}");
    }
    assert_eq!(bench.lab.web().store().list().len(), 1);
    let published = bench.published();
    bench.done().await;
    assert_eq!(bench.phone().installed(), published, "the first publication is the one installed");
}

#[tokio::test]
async fn a_stop_before_publish_leaves_no_trace_and_one_after_it_comes_too_late() {
    let bench = Bench::new().await;
    let is_trust = |event: &Event| matches!(event, Event::StepDone(done) if done.step == Stage::Trust);
    let mut answers = Answers { stop_at: Some((is_trust, None)), ..bench.answers() };
    let error = not_done(bench.run(&bench.job(), &mut answers).await);
    assert!(matches!(error, ProvisionError::Stopped), "{error}");
    assert_eq!(bench.phone().memory().pending, None);
    assert!(bench.lab.web().store().list().is_empty());

    let is_publish = |event: &Event| matches!(event, Event::StepDone(done) if done.step == Stage::Publish);
    let mut answers = Answers { stop_at: Some((is_publish, None)), ..bench.answers() };
    done(bench.run(&bench.job(), &mut answers).await);
}

#[tokio::test]
async fn a_phone_that_lies_is_found_out() {
    let none = Lies::default();
    for (lies, published) in [
        (Lies { commits_nothing: true, ..none }, true),
        (Lies { proves_with_another_key: true, ..none }, true),
        (Lies { drops_anchors: true, ..none }, false),
        (Lies { names_another_user: true, ..none }, false),
        (Lies { garbles_answers: true, ..none }, false),
    ] {
        let bench = Bench::new().await;
        bench.phone().lie(lies);
        let outcome = bench.run(&bench.job(), &mut bench.answers()).await;
        match published {
            true => drop(unknown(outcome)),
            false => drop(not_done(outcome)),
        }
        assert_eq!(bench.published().is_some(), published, "{lies:?}");

        bench.phone().lie(none);
        bench.done().await;
    }
}

#[tokio::test]
async fn what_the_service_publishes_wrongly_never_reaches_the_phone() {
    for fault in [CertificateFault::AnotherKey, CertificateFault::AnotherUser, CertificateFault::Expired] {
        let bench = Bench::new().await;
        bench.lab.web().faults().certificate = fault;
        unknown(bench.run(&bench.job(), &mut bench.answers()).await);
        assert_eq!(bench.phone().installed(), None, "{fault:?}");
        assert_eq!(bench.phone().memory().pending, None, "{fault:?}: the phone can do nothing with it");
        bench.lab.web().faults().certificate = CertificateFault::None;
        bench.done().await;
    }
}

#[tokio::test]
async fn a_server_chain_that_no_cable_can_mend_stops_the_job_before_a_secret_is_asked_for() {
    let faults = [
        ServerFaults { server_dates: Dates::Expired, ..ServerFaults::none() },
        ServerFaults { server_dates: Dates::NotYet, ..ServerFaults::none() },
        ServerFaults { intermediate_dates: Dates::Expired, ..ServerFaults::none() },
        ServerFaults { wrong_name: true, ..ServerFaults::none() },
        ServerFaults { unknown_root: true, ..ServerFaults::none() },
        ServerFaults { no_issuer_address: true, ..ServerFaults::default() },
    ];
    for fault in faults {
        let bench = Bench::new().await;
        bench.lab.web().present(&fault).unwrap();
        let mut answers = bench.answers();
        let error = not_done(bench.run(&bench.job(), &mut answers).await);
        assert!(!error.next_step().is_empty());
        assert!(answers.asked.is_empty(), "{fault:?}: {error}");
        assert_eq!(bench.phone().memory().pending, None, "{fault:?}");
    }
}

#[tokio::test]
async fn a_phone_that_knows_the_root_gets_only_what_the_server_omits() {
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.anchors = vec![bench.lab.web_root_der()];
    bench.lab.plug(material);
    let receipt = bench.done().await;
    assert_eq!((receipt.verified.anchors().len(), receipt.verified.intermediates().len()), (0, 1));

    bench.lab.web().present(&ServerFaults::none()).unwrap();
    let pool = Pool::new(pool_settings(&bench.lab)).unwrap();
    let mut service = pool.enrolment();
    let job = Job { renew: true, ..bench.job() };
    let receipt = done(bench.run_with(&job, &mut bench.answers(), &mut service).await);
    assert_eq!((receipt.verified.anchors().len(), receipt.verified.intermediates().len()), (0, 0));
}

#[tokio::test]
async fn the_phones_clock_is_set_only_when_this_computer_and_the_service_agree() {
    let bench = Bench::new().await;
    bench.lab.web().faults().clock_offset = time::Duration::hours(1);
    let error = not_done(bench.run(&bench.job(), &mut bench.answers()).await);
    assert!(matches!(error, ProvisionError::ClocksDiffer { .. }), "{error}");
    assert!(bench.phone().time().unwrap().year() < 2010);

    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.capabilities &= !tethercert::phone::tether::messages::capability::CLOCK;
    bench.lab.plug(material.clone());
    let error = not_done(bench.run(&bench.job(), &mut bench.answers()).await);
    assert!(matches!(error, ProvisionError::ClockFixed { .. }), "{error}");

    let mut bench = Bench::with_phones(0).await;
    material.clock = Clock::Offset(-20);
    material.anchors = Vec::new();
    bench.lab.plug(material);
    let receipt = bench.done().await;
    assert!(receipt.steps[2].text.contains("left as it is"), "{:?}", receipt.steps[2]);
}

#[tokio::test]
async fn a_phone_without_time_gets_it() {
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.clock = Clock::Unset;
    bench.lab.plug(material);
    bench.done().await;
    assert!(bench.phone().time().is_some());
}

#[tokio::test]
async fn a_phone_for_which_nothing_vouches_shows_a_code_or_is_marked_or_refused() {
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.factory = None;
    bench.lab.plug(material);

    let required = Job { require_authentic: true, ..bench.job() };
    let error = not_done(bench.run(&required, &mut bench.answers()).await);
    assert_eq!(error.remedyable(), Remedyable::Policy);

    let compared = Job { compare_code: true, ..required.clone() };
    let mut answers = Answers { code: Answer::No, ..bench.answers() };
    let error = not_done(bench.run(&compared, &mut answers).await);
    assert_eq!(error.remedyable(), Remedyable::Policy);

    let mut answers = Answers { code: Answer::Yes, ..bench.answers() };
    let receipt = done(bench.run(&compared, &mut answers).await);
    assert_eq!(receipt.authenticity, Authenticity::Code);
    assert_eq!(answers.codes_seen.len(), 1);
    assert!(receipt.traffic.exchanges <= 8, "{:?}", receipt.traffic);

    let marked = Job { renew: true, ..bench.job() };
    let receipt = done(bench.run(&marked, &mut bench.answers()).await);
    assert!(matches!(receipt.authenticity, Authenticity::Nothing { .. }));
}

#[tokio::test]
async fn a_stolen_device_proof_or_another_makers_vouches_for_nothing() {
    let bench = Bench::new().await;
    bench.phone().lie(Lies { replays_device_proof: true, ..Lies::default() });
    let required = Job { require_authentic: true, ..bench.job() };
    let error = not_done(bench.run(&required, &mut bench.answers()).await);
    assert!(error.to_string().contains("did not sign this session"), "{error}");

    let stranger = Bench::new().await;
    let mut bench = Bench::with_phones(0).await;
    bench.lab.plug(stranger.lab.material(1));
    let error = not_done(bench.run(&required, &mut bench.answers()).await);
    assert!(error.to_string().contains("does not chain"), "{error}");
}

#[tokio::test]
async fn the_administrator_code_goes_only_to_a_phone_that_something_vouches_for() {
    let code = Consent::Code { code: "2468".into(), tries: 3 };
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.consent = code.clone();
    let mut unvouched = bench.lab.material(2);
    unvouched.consent = code;
    unvouched.factory = None;
    bench.lab.plug(material);

    let mut answers = Answers { administrator_code: Some("1111".into()), ..bench.answers() };
    let error = not_done(bench.run(&bench.job(), &mut answers).await);
    assert!(error.next_step().contains("2 tries are left"), "{}", error.next_step());

    let mut answers = Answers { administrator_code: Some("2468".into()), ..bench.answers() };
    done(bench.run(&bench.job(), &mut answers).await);

    // The phone remembers this computer: nobody is asked again.
    let again = Job { renew: true, ..bench.job() };
    done(bench.run(&again, &mut bench.answers()).await);

    let mut other = Bench::with_phones(0).await;
    other.lab.plug(unvouched);
    let mut answers = Answers { administrator_code: Some("2468".into()), ..other.answers() };
    let error = not_done(other.run(&other.job(), &mut answers).await);
    assert!(matches!(error, ProvisionError::Phone(PhoneError::CodeWithheld)), "{error}");
    assert_eq!(other.phone().memory().wrong_codes, 0);
}

#[tokio::test]
async fn a_person_at_the_phone_may_decline() {
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.consent = Consent::Press { agrees: false };
    let phone = bench.lab.plug(material);
    assert_eq!(not_done(bench.run(&bench.job(), &mut bench.answers()).await).remedyable(), Remedyable::Person);
    phone.set_consent(Consent::Press { agrees: true });
    bench.done().await;
}

#[tokio::test]
async fn another_computers_job_is_given_up_only_by_option() {
    let mut bench = Bench::new().await;
    bench.lab.web().faults().store_unavailable = 1;
    not_done(bench.run(&bench.job(), &mut bench.answers()).await);
    bench.finder = finder(&bench.lab, HostKey::ephemeral());

    let error = not_done(bench.run(&bench.job(), &mut bench.answers()).await);
    assert!(matches!(error, ProvisionError::OtherPending { .. }), "{error}");
    done(bench.run(&Job { abort_pending: true, ..bench.job() }, &mut bench.answers()).await);
}

#[tokio::test]
async fn to_undo_what_another_computer_began_the_administrator_code_is_given_again() {
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.consent = Consent::Code { code: "2468".into(), tries: 3 };
    bench.lab.plug(material);
    let knowing = |bench: &Bench| Answers { administrator_code: Some("2468".into()), ..bench.answers() };
    done(bench.run(&bench.job(), &mut knowing(&bench)).await);

    let first = std::mem::replace(&mut bench.finder, finder(&bench.lab, HostKey::ephemeral()));
    bench.lab.web().faults().store_unavailable = 1;
    let renew = Job { renew: true, ..bench.job() };
    not_done(bench.run(&renew, &mut knowing(&bench)).await);

    bench.finder = first;
    let job = Job { abort_pending: true, ..renew };
    assert!(matches!(not_done(bench.run(&job, &mut bench.answers()).await), ProvisionError::NoAnswer(_)));
    done(bench.run(&job, &mut knowing(&bench)).await);
}

#[tokio::test]
async fn a_connection_signed_in_by_ntlm_never_serves_two_users() {
    let bench = Bench::with_phones(1).await;
    bench.done().await;
    let bob = bench.lab.web().users()[1].clone();
    let job = Job { user: bob.sip.clone(), replace: true, ..bench.job() };
    let mut answers = Answers { login: bob.login, password: bob.password, ..bench.answers() };
    done(bench.run(&job, &mut answers).await);

    let mut owners = std::collections::BTreeMap::new();
    for request in bench.lab.web().requests() {
        if let Some(user) = request.user {
            let owner = owners.entry(request.connection).or_insert_with(|| user.clone());
            assert_eq!(*owner, user, "connection {}", request.connection);
        }
    }
    assert!(owners.len() >= 2);
}

#[tokio::test]
async fn an_invalid_ticket_is_fetched_anew_once() {
    let bench = Bench::new().await;
    bench.lab.web().faults().ticket_invalid = 1;
    bench.done().await;

    let bench = Bench::new().await;
    bench.lab.web().faults().ticket_invalid = 2;
    not_done(bench.run(&bench.job(), &mut bench.answers()).await);
    assert_eq!(bench.phone().installed(), None);
}

#[tokio::test]
async fn a_secret_is_asked_for_with_the_name_of_the_host_it_goes_to_and_stands_nowhere_in_the_ledger() {
    let bench = Bench::new().await;
    let mut answers = bench.answers();
    done(bench.run(&bench.job(), &mut answers).await);
    assert_eq!(answers.asked, [HOST]);

    use secrecy::ExposeSecret;
    let file = std::fs::read(bench.ledger.path()).unwrap();
    for user in bench.lab.web().users() {
        for secret in [&user.password, &user.pin] {
            let secret = secret.expose_secret().as_bytes();
            assert!(!file.windows(secret.len()).any(|window| window == secret));
        }
    }
}

#[tokio::test]
async fn the_ledger_tells_the_whole_story_in_order_and_its_chain_holds() {
    let bench = Bench::new().await;
    bench.done().await;
    let records = bench.ledger.events(Filter::default()).await.unwrap();
    let kinds: Vec<String> = records
        .iter()
        .map(|record| serde_json::to_value(record).unwrap()["kind"].as_str().unwrap().to_owned())
        .collect();
    let story = [
        "job_started",
        "phone_identified",
        "server_judged",
        "ticket_issued",
        "transaction_begun",
        "signing_request_received",
        "trust_staged",
        "clock_set",
        "publish_intended",
        "published",
        "commit_intended",
        "committed",
        "proved",
    ];
    assert_eq!(kinds, story);
    assert_eq!(bench.ledger.verify().await.unwrap().events, story.len() as u64);
    assert_eq!(records[0].job.map(|job| job.get()), Some(1));
}

#[tokio::test]
async fn a_phone_that_makes_no_key_the_service_takes_is_refused_early() {
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.key_kinds = vec![KeyKind::P256];
    bench.lab.plug(material);
    let mut answers = bench.answers();
    let error = not_done(bench.run(&bench.job(), &mut answers).await);
    assert!(matches!(error, ProvisionError::NoCommonKey { .. }), "{error}");
    assert!(answers.asked.is_empty());
}

#[tokio::test]
async fn a_service_that_hangs_up_or_talks_nonsense_is_an_error_and_no_harm() {
    for kind in [Kind::CertProvMetadata, Kind::WebTicketMetadata] {
        let bench = Bench::new().await;
        bench.lab.web().faults().malformed = Some(kind);
        not_done(bench.run(&bench.job(), &mut bench.answers()).await);
        bench.lab.web().faults().malformed = None;
        bench.done().await;
    }
}
