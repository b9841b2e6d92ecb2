//! Which phone it is: known by what it proves, before anything is changed or published, wherever it is plugged in.

use crate::answers::Answers;
use crate::bench::{Bench, PORT, Resumed, done, finder, not_done, told};
use std::path::Path;
use tethercert::lab::phone::{Extra, PhoneMaterial, VirtualPhone};
use tethercert::lab::usbip::{Cut, Side};
use tethercert::ledger::State;
use tethercert::phone::tether::HostKey;
use tethercert::phone::{Driver, PhoneError, Remedyable};
use tethercert::provision::{Event, Job, Outcome, ProvisionError, Stage};
use tethercert::usb::{MacAddress, Selector, UsbError};

fn serial(text: &str) -> Selector {
    Selector::Serial(text.into())
}

/// The one job that is left, on the phone at [`PORT`].
async fn resumed(bench: &Bench) -> Outcome {
    match bench.resume().await.remove(0) {
        Resumed::Ran(outcome) => outcome,
        Resumed::Settled(settled) => panic!("{settled:?}"),
    }
}

fn another_phone(error: &ProvisionError) -> &str {
    match error {
        ProvisionError::Phone(PhoneError::AnotherPhone { what }) => what,
        other => panic!("{other}"),
    }
}

/// Whether nothing was ever written into a phone.
fn untouched(phone: &VirtualPhone) -> bool {
    phone.flash_steps() == 0
}

#[tokio::test]
async fn twins_by_serial_number_are_told_apart_by_port_and_mac_address_and_never_guessed_between() {
    let mut bench = Bench::new().await;
    let mut twin = bench.lab.material(7);
    twin.serial = bench.phone().material().serial;
    twin.factory = None;
    let mac = MacAddress::from_bytes(twin.mac);
    bench.lab.plug(twin);
    let error = bench.finder.pick(Some(&serial("LAB00001"))).await.unwrap_err();
    assert!(matches!(error, PhoneError::Usb { source: UsbError::Ambiguous { .. }, .. }), "{error}");
    let found = bench.finder.pick(Some(&Selector::Mac(mac))).await.unwrap();
    assert!(found.slot().to_string().ends_with("/1-2"));
    let (_, identified) = bench.finder.meet(&found).await.unwrap();
    assert_eq!(identified.identity.mac, mac);
}

#[tokio::test]
async fn a_phone_without_a_serial_number_gets_its_certificate_and_is_found_by_everything_else() {
    let mut bench = Bench::with_phones(0).await;
    for number in [1, 2] {
        let material = PhoneMaterial { serial: String::new(), ..bench.lab.material(number) };
        bench.lab.plug(material);
    }
    assert!(bench.finder.pick(Some(&serial("LAB00001"))).await.is_err());
    let mac = MacAddress::from_bytes(bench.phone().material().mac);
    let found = bench.finder.pick(Some(&Selector::Mac(mac))).await.unwrap();
    let (mut phone, stop) = (bench.finder.open(&found).await.unwrap(), tethercert::provision::Stop::default());
    let (mut answers, mut service) = (bench.answers(), bench.pool.enrolment());
    let outcome = tethercert::provision::provision(
        &bench.job(),
        phone.driver(),
        &mut service,
        &bench.ledger,
        &mut answers,
        &stop,
    )
    .await;
    done(outcome);
    assert_eq!(bench.phone().installed(), bench.published());
    assert!(untouched(&bench.lab.phones()[1].1), "its neighbour has no serial number either");
}

#[tokio::test]
async fn a_phone_that_takes_the_place_of_the_chosen_one_before_the_session_is_another() {
    for selector in [serial("LAB00001"), "mac:00:04:f2:aa:bb:01".parse().unwrap()] {
        let mut bench = Bench::new().await;
        let found = bench.finder.pick(Some(&selector)).await.unwrap();
        let other = bench.lab.material(2);
        let other = bench.lab.replace(PORT, other);
        let error = bench.finder.meet(&found).await.err().unwrap();
        assert!(matches!(error, PhoneError::AnotherPhone { .. }), "{error}");
        assert_eq!(error.remedyable(), Remedyable::Policy);
        assert!(untouched(&other));
    }
    // Also where it says all that the chosen one says.
    let mut bench = Bench::new().await;
    let found = bench.finder.pick(Some(&"mac:00:04:f2:aa:bb:01".parse().unwrap())).await.unwrap();
    let double = bench.lab.double();
    bench.lab.replace(PORT, double);
    let error = bench.finder.meet(&found).await.err().unwrap();
    assert!(error.to_string().contains("its factory key is another"), "{error}");
}

#[tokio::test]
async fn a_session_that_is_opened_anew_is_with_the_same_phone() {
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.factory = None;
    bench.lab.plug(material);
    let mut phone = bench.open().await.unwrap();
    phone.driver().identify().await.unwrap();
    phone.driver().identify().await.unwrap();
    bench.phone().make_a_new_session_key();
    let error = phone.driver().identify().await.unwrap_err();
    assert!(matches!(error, PhoneError::AnotherPhone { .. }), "{error}");
}

#[tokio::test]
async fn a_phone_moved_to_another_port_in_mid_job_is_found_there_and_its_job_is_ended() {
    let bench = Bench::new().await;
    assert!(bench.killed_after(Stage::Publish).await);
    let device = bench.lab.exporter().unplug(PORT).unwrap();
    bench.lab.exporter().plug("1-7", device);
    let outcome = resumed(&bench).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{}", told(&outcome));
    assert_eq!(bench.phone().installed(), bench.published());
}

#[tokio::test]
async fn another_phone_on_the_port_of_a_job_is_left_alone_whatever_it_says_and_the_job_waits_for_its_own() {
    for stage in [Stage::Request, Stage::Trust, Stage::Publish, Stage::Install] {
        let mut bench = Bench::new().await;
        let own = bench.phone().clone();
        assert!(bench.killed_after(stage).await);
        own.at_rest().await;
        let (published, mut double) = (bench.published(), bench.lab.double());
        for vouched in [true, false] {
            if !vouched {
                double.factory = None;
            }
            let double = bench.lab.replace(PORT, double.clone());
            let outcome = resumed(&bench).await;
            let (Outcome::NotDone(failure) | Outcome::Unknown(failure)) = &outcome else { panic!("{stage}: done") };
            let what = another_phone(&failure.error);
            let evidence = if vouched { "its factory key is another" } else { "nothing does now" };
            assert!(what.contains("serial LAB00001") && what.contains(evidence), "{what}");
            assert_eq!(matches!(outcome, Outcome::Unknown(_)), published.is_some(), "{stage}");
            assert!(untouched(&double), "{stage}");
        }
        assert_eq!(bench.published(), published, "{stage}: nothing is published for another phone");
        assert_eq!(bench.written("orphaned").await.len() + bench.written("aborted").await.len(), 0);

        bench.lab.exporter().plug(PORT, Box::new(own.device()));
        let outcome = resumed(&bench).await;
        assert!(matches!(outcome, Outcome::Done(_)), "{stage}: {}", told(&outcome));
        assert_eq!(own.installed(), bench.published(), "{stage}");
    }
}

#[tokio::test]
async fn two_phones_swapped_in_mid_job_by_their_cables_are_told_apart_by_their_keys() {
    let mut bench = Bench::new().await;
    let own = bench.phone().clone();
    let before = bench.lab.exporter().transfers(PORT);
    bench.done().await;
    let whole = bench.lab.exporter().transfers(PORT) - before;

    for transfer in (4..whole).step_by(5) {
        let mut bench = Bench::new().await;
        let first = bench.phone().clone();
        bench.lab.exporter().cut(PORT, Cut { transfer, side: Side::Before });
        let outcome = bench.run(&bench.job(), &mut bench.answers()).await;
        if matches!(outcome, Outcome::Done(_)) {
            continue;
        }
        bench.write_end(&outcome).await;
        let double = bench.lab.double();
        let double = bench.lab.replace(PORT, double);
        for end in bench.resume().await {
            let Resumed::Ran(outcome) = end else { continue };
            assert!(!matches!(outcome, Outcome::Done(_)), "transfer {transfer}");
        }
        assert!(untouched(&double), "transfer {transfer}");
        bench.lab.exporter().plug(PORT, Box::new(first.device()));
        done(bench.run(&bench.job(), &mut bench.answers()).await);
        assert_eq!(first.installed(), bench.published(), "transfer {transfer}");
    }
    assert!(own.installed().is_some());
    bench.reset_phone();
}

#[tokio::test]
async fn a_new_job_does_not_take_another_phones_unfinished_one_for_its_own() {
    let mut bench = Bench::new().await;
    let own = bench.phone().clone();
    assert!(bench.killed_after(Stage::Publish).await);
    own.at_rest().await;
    let mut without_its_maker = bench.lab.double();
    without_its_maker.factory = None;
    for (double, evidence) in
        [(without_its_maker, "nothing does now"), (bench.lab.double(), "its factory key is another")]
    {
        let double = bench.lab.replace(PORT, double);
        let error = not_done(bench.run(&bench.job(), &mut bench.answers()).await);
        assert!(error.to_string().contains("of another phone, whose job 1 is unfinished"), "{error}");
        assert!(error.to_string().contains(evidence), "{error}");
        assert!(error.next_step().contains("tethercert resume 1"), "{}", error.next_step());
        assert!(untouched(&double));
    }
    assert_eq!(bench.written("orphaned").await.len() + bench.written("aborted").await.len(), 0);
    let double = bench.lab.phone().clone();

    // Once that one is brought to its end, the technician is told whose name the other bears.
    bench.lab.exporter().plug(PORT, Box::new(own.device()));
    done(bench.run(&bench.job(), &mut bench.answers()).await);
    bench.lab.exporter().plug(PORT, Box::new(double.device()));
    let mut answers = bench.answers();
    done(bench.run(&bench.job(), &mut answers).await);
    let told = |event: &Event| matches!(event, Event::Notice { text } if text.contains("goes by the same device UUID"));
    assert!(answers.events.iter().any(told));
}

#[tokio::test]
async fn another_users_job_on_another_phone_of_the_same_name_ends_nothing_of_the_first() {
    for (vouched, shows_its_job) in [(true, false), (false, false), (true, true)] {
        let mut bench = Bench::new().await;
        let own = bench.phone().clone();
        assert!(bench.killed_after(Stage::Publish).await);
        own.at_rest().await;
        let mut double = bench.lab.double();
        if !vouched {
            double.factory = None;
        }
        let double = bench.lab.replace(PORT, double);
        if shows_its_job {
            double.remember(&own.memory());
        }
        let bob = bench.lab.web().users()[1].clone();
        let mut answers = Answers { login: bob.login, password: bob.password, ..bench.answers() };
        let outcome = bench.run(&Job { user: bob.sip, ..bench.job() }, &mut answers).await;
        bench.write_end(&outcome).await;
        done(outcome);
        assert_eq!(bench.written("orphaned").await.len() + bench.written("aborted").await.len(), 0);
        let unfinished = bench.ledger.unfinished().await.unwrap();
        assert_eq!(unfinished.iter().map(|job| job.state).collect::<Vec<_>>(), [State::Open], "vouched: {vouched}");

        bench.lab.exporter().plug(PORT, Box::new(own.device()));
        assert!(matches!(resumed(&bench).await, Outcome::Done(_)));
        assert_eq!(own.installed(), bench.published());
    }
}

#[tokio::test]
async fn a_phone_without_factory_key_that_started_anew_goes_on_by_the_key_it_made_for_the_job() {
    for stage in [Stage::Trust, Stage::Publish, Stage::Install] {
        let mut bench = Bench::with_phones(0).await;
        let mut material = bench.lab.material(1);
        material.factory = None;
        bench.lab.plug(material);
        assert!(bench.killed_after(stage).await);
        bench.phone().make_a_new_session_key();
        let outcome = resumed(&bench).await;
        assert!(matches!(outcome, Outcome::Done(_)), "{stage}: {}", told(&outcome));
        assert_eq!(bench.phone().installed(), bench.published(), "{stage}");
    }
}

#[tokio::test]
async fn what_a_phone_that_proves_nothing_does_not_know_of_is_not_forgotten() {
    let mut bench = Bench::with_phones(0).await;
    let mut material = bench.lab.material(1);
    material.factory = None;
    bench.lab.plug(material.clone());
    let own = bench.phone().clone();
    assert!(bench.killed_after(Stage::Publish).await);
    own.at_rest().await;
    let other = bench.lab.replace(PORT, material);
    let Outcome::Unknown(failure) = resumed(&bench).await else { panic!("it may be published") };
    assert!(matches!(failure.error, ProvisionError::NotProvedAgain { .. }), "{}", failure.error);
    assert_eq!(failure.error.remedyable(), Remedyable::Person);
    assert!(untouched(&other));
    assert_eq!(bench.written("orphaned").await.len(), 0);
    assert_eq!(bench.ledger.unfinished().await.unwrap()[0].state, State::Open);

    bench.lab.exporter().plug(PORT, Box::new(own.device()));
    assert!(matches!(resumed(&bench).await, Outcome::Done(_)));
    assert_eq!(own.installed(), bench.published());
}

#[tokio::test]
async fn nothing_is_published_for_a_phone_that_no_longer_waits_for_it() {
    let bench = Bench::new().await;
    bench.lab.web().faults().store_unavailable = 1;
    let phone = bench.phone().clone();
    let hook = move |event: &Event| {
        if matches!(event, Event::StoreWait { .. }) {
            phone.forget_what_is_pending();
        }
    };
    let mut answers = Answers { hook: Some(Box::new(hook)), ..bench.answers() };
    let job = Job { publish_tries: 4, ..bench.job() };
    let error = not_done(bench.run(&job, &mut answers).await);
    assert!(matches!(error, ProvisionError::Forgotten { .. }), "{error}");
    assert_eq!((bench.published(), bench.lab.web().store().list_all().len()), (None, 0));
}

/// A phone that brings something, plugged in beside nothing else.
async fn bringing(extra: Extra) -> Bench {
    let mut bench = Bench::new().await;
    bench.lab.bring(extra);
    bench
}

#[tokio::test]
async fn a_device_that_brings_a_keyboard_a_disk_or_a_network_is_refused_before_a_session() {
    let kinds = [(0x03, 0x01, 0x01), (0x08, 0x06, 0x50), (0x02, 0x06, 0x00), (0xe0, 0x01, 0x03), (0xff, 0x54, 0x01)];
    for (kind, hidden) in kinds.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        let bench = bringing(Extra { kind, hidden }).await;
        let found = bench.finder.pick(None).await.unwrap();
        assert_eq!(found.unexpected.is_empty(), hidden, "a list has no other settings: {kind:02x?}");
        let before = bench.lab.exporter().transfers(PORT);
        let error = bench.finder.open(&found).await.err().unwrap();
        let PhoneError::UnexpectedInterfaces { unexpected, .. } = &error else { panic!("{error}") };
        assert_eq!(unexpected[0].triple(), kind);
        assert_eq!(error.remedyable(), Remedyable::Policy);
        let (class, subclass, protocol) = kind;
        let entry = match kind {
            tethercert::phone::tether::INTERFACE => "no definition lets a second one in".to_owned(),
            _ => format!("{{ class = {class:#04x}, subclass = {subclass:#04x}, protocol = {protocol:#04x}, why"),
        };
        assert!(error.next_step().contains(&entry), "{}", error.next_step());
        // What is read of a hidden one is its descriptors.
        let transfers = bench.lab.exporter().transfers(PORT) - before;
        assert!(transfers <= if hidden { 4 } else { 0 }, "{transfers}");
        assert!(untouched(bench.phone()));
    }
}

#[tokio::test]
async fn a_makers_file_says_what_its_phones_bring_and_they_are_spoken_to() {
    let mut bench = bringing(Extra { kind: (0x03, 0x01, 0x01), hidden: false }).await;
    let folder = tempfile::tempdir().unwrap();
    let shipped = std::fs::read_to_string(bench.lab.drivers().join("acme-desk-2-lab.toml")).unwrap();
    let keyboard = "expects  = [{ class = 3, subclass = 1, protocol = 1, why = 'its keys dial' },";
    std::fs::write(folder.path().join("acme-desk-2-lab.toml"), shipped.replace("expects  = [", keyboard)).unwrap();
    bench.finder = finder(&bench.lab, HostKey::ephemeral());
    let folders: [&Path; 2] = [&bench.lab.drivers(), folder.path()];
    let folders = folders.map(Path::to_path_buf);
    let definitions = tethercert::phone::definition::Definitions::load(None, &folders).unwrap();
    bench.finder.definitions = std::sync::Arc::new(definitions);
    bench.done().await;
}
