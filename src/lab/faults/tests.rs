//! The list: what is on it parses, and what is not is refused with a hint.

use super::*;
use crate::credential::KeyKind;
use crate::lab::LabOptions;
use crate::lab::phone::{Consent, Extra, Lies, PhoneMaterial};
use crate::phone::tether::messages::capability;
use proptest::prelude::*;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A value that every fault takes that takes one of this shape.
fn example(value: &str) -> String {
    let value = value.trim_start_matches('[').trim_end_matches(']').trim_start_matches('=');
    let first = |text: &str| text.split('|').next().unwrap_or_default().to_owned();
    match value {
        "N" | "SECONDS" => "3".to_owned(),
        "N|P%" => "50%".to_owned(),
        "REQUEST" | "REQUEST[:N" | "REQUEST[:STATUS" => "publish".to_owned(),
        "REQUEST:MS" | "REQUEST:BYTE[:N" => "publish:100".to_owned(),
        words => first(words),
    }
}

#[test]
fn every_fault_of_the_list_parses_and_says_itself_again() {
    let mut names = std::collections::BTreeSet::new();
    for listed in Fault::all() {
        assert!(names.insert(listed.name), "{} is there twice", listed.name);
        assert!(!listed.says.ends_with('.') && listed.says.len() > 15, "{}", listed.name);
        let optional = listed.value.is_empty() || listed.value.starts_with('[');
        assert_eq!(listed.name.parse::<Fault>().is_ok(), optional, "{}", listed.name);
        let written = match listed.value {
            "" => listed.name.to_owned(),
            value => format!("{}={}", listed.name, example(value)),
        };
        let fault: Fault = written.parse().unwrap_or_else(|error| panic!("{written}: {error}"));
        assert_eq!((fault.to_string(), fault.group()), (written.clone(), listed.group));
        assert_eq!(fault, written.parse().unwrap());
    }
}

#[test]
fn what_is_no_fault_is_refused_with_a_hint() {
    let error = |text: &str| text.parse::<Fault>().unwrap_err().to_string();
    assert_eq!(error("store-down"), "there is no fault \"store-down\"; perhaps store-unavailable or store-rule");
    assert_eq!(error("gremlins"), "there is no fault \"gremlins\"");
    assert_eq!(error("cut=publish"), "cut is written cut=REQUEST:BYTE[:N]");
    for wrong in [
        "store-unavailable=-1",
        "store-unavailable=101%",
        "slow=publish",
        "slow=nothing:5",
        "slow=publish:5:5",
        "html=publish:99",
        "html=publish:404:1",
        "cut=publish:1:2:3",
        "huge=publish:1",
        "clock=noon",
        "clock",
        "store-rule=chaos",
        "pin-locked=1",
        "unplug-at=-5",
    ] {
        assert!(matches!(wrong.parse::<Fault>(), Err(FaultError::Value { .. })), "{wrong}");
    }
}

/// What is seen of the phone, and of its neighbours, with one fault on.
fn judged(written: &str, lab: &Lab) -> bool {
    let (phone, material) = (lab.phone(), lab.phone().material());
    let lies = phone.lies();
    let none = Lies::default();
    let year = phone.time().map(time::OffsetDateTime::year);
    match written {
        // Seen by the tests of the exporter, once the transfer comes.
        "unplug-at=3" | "unplug-after=3" | "moved-at=3" | "swapped-at=3" | "stalls-at=3" | "hangs-at=3"
        | "power-lost-at=3" => lies == none,
        "power-lost-at-commit" => lies.loses_power_at_commit,
        "refuses=begin" => lies.refuses == Some("begin"),
        "declines" => material.consent == Consent::Press { agrees: false },
        "asks-for-code=3" => material.consent == Consent::Code { code: "3".to_owned(), tries: 3 },
        "request-of-another-key" => lies.requests_another_key,
        "request-badly-signed" => lies.signs_request_badly,
        "request-of-another-user" => lies.names_another_user,
        "proof-by-another-key" => lies.proves_with_another_key,
        "commits-nothing" => lies.commits_nothing,
        "drops-anchors" => lies.drops_anchors,
        "garbled-answers" => lies.garbles_answers,
        "full" => material.max_installed_anchors == 0,
        "twin-serials" => {
            let serials: Vec<String> = lab.phones().iter().map(|(_, phone)| phone.material().serial).collect();
            serials == ["LAB00001", "LAB00001"] && lab.phones()[0].1.material().mac != lab.phones()[1].1.material().mac
        }
        "double" => {
            let [first, second] = [0, 1].map(|at: usize| lab.phones()[at].1.material());
            let said = |phone: &PhoneMaterial| (phone.serial.clone(), phone.mac, phone.device);
            said(&first) == said(&second) && first.factory.map(|it| it.0) != second.factory.map(|it| it.0)
        }
        "no-serial" => material.serial.is_empty(),
        "brings=keyboard" => phone.extras() == [Extra { kind: (3, 1, 1), hidden: false }],
        "clock-of-2008" => year == Some(2008),
        "clock-unset" => year.is_none(),
        "clock-ahead" => year == Some(2037),
        "clock-cannot-be-set" => material.capabilities & capability::CLOCK == 0,
        "old-firmware" => material.anchors.len() == 2 && material.max_installed_anchors == 0,
        "old-roots" => material.anchors.len() == 2 && material.max_installed_anchors > 0,
        "no-rsa-keys" => material.key_kinds == [KeyKind::P256],
        "no-factory-key" => material.factory.is_none(),
        other => panic!("{other} has no row here"),
    }
}

#[tokio::test]
async fn every_fault_of_the_phone_is_the_first_phones() {
    for listed in Fault::all().filter(|fault| fault.group == Group::Phone) {
        let written = match listed.value {
            "" => listed.name.to_owned(),
            value => format!("{}={}", listed.name, example(value)),
        };
        let faults = vec![written.parse().unwrap()];
        let options = LabOptions { fresh_keys: false, faults, ..LabOptions::default() };
        let lab = Lab::start(&options).await.unwrap();
        assert!(judged(&written, &lab), "{written}");
        assert_eq!(lab.ready().faults, [written]);
    }
}

#[tokio::test]
async fn old_roots_are_one_that_has_ended_and_one_of_somebody_else() {
    let faults = vec!["old-roots".parse().unwrap()];
    let lab = Lab::start(&LabOptions { fresh_keys: false, faults, ..LabOptions::default() }).await.unwrap();
    let anchors = lab.phone().material().anchors;
    let parsed: Vec<X509Certificate<'_>> =
        anchors.iter().map(|der| X509Certificate::from_der(der).unwrap().1).collect();
    let now = x509_parser::time::ASN1Time::now();
    assert_eq!(parsed.iter().map(|root| root.validity().is_valid_at(now)).collect::<Vec<_>>(), [false, true]);
    assert!(parsed.iter().all(|root| root.verify_signature(None).is_ok() && root.is_ca()));
    assert!(!anchors.contains(&lab.web_root_der()));
}

#[tokio::test]
async fn a_cable_that_a_fault_has_pulled_is_put_in_again_and_so_is_the_power() {
    let mut lab = Lab::start(&LabOptions { fresh_keys: false, ..LabOptions::default() }).await.unwrap();
    lab.help_up(std::time::Duration::ZERO);
    let (cable, phone) = (lab.exporter().cable("1-1"), lab.phone().clone());
    assert!(cable.is_in());
    cable.pull();
    assert!(!cable.is_in());
    phone.power_off();
    while !(cable.is_in() && phone.has_power()) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_fault_of_a_phone_needs_a_phone() {
    let faults = vec!["full".parse().unwrap()];
    let options = LabOptions { phones: 0, fresh_keys: false, faults, ..LabOptions::default() };
    assert!(Lab::start(&options).await.is_ok());
}

/// The table between two marks of the lab's page, as `Fault::all` has it.
fn table() -> String {
    let row = |fault: Listed| {
        let value = fault.value.replace('|', "\\|");
        format!("| {} | `{}{value}` | {} |\n", fault.group, fault.name, fault.says.replace('|', "\\|"))
    };
    format!("| of the | name | what goes wrong |\n|---|---|---|\n{}", Fault::all().map(row).collect::<String>())
}

#[test]
fn the_labs_page_has_every_fault() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/lab.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- faults: made from the code by a test -->\n", "<!-- end of faults -->");
    let (before, rest) = page.split_once(begin).unwrap();
    let (shown, after) = rest.split_once(end).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{begin}{}{end}{after}", table())).unwrap();
        return;
    }
    assert_eq!(shown, table(), "UPDATE_DOCS=1 writes the table anew");
}

proptest! {
    #[test]
    fn any_text_is_a_fault_or_none(text in "[a-z0-9=:%-]{0,40}") {
        if let Ok(fault) = text.parse::<Fault>() {
            prop_assert_eq!(fault.to_string(), text);
        }
    }
}
