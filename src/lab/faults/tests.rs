//! The list: what is on it parses, and what is not is refused with a hint.

use super::*;
use proptest::prelude::*;

/// A value that every fault takes that takes one of this shape.
pub(super) fn example(value: &str) -> String {
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

proptest! {
    #[test]
    fn any_text_is_a_fault_or_none(text in "[a-z0-9=:%-]{0,40}") {
        if let Ok(fault) = text.parse::<Fault>() {
            prop_assert_eq!(fault.to_string(), text);
        }
    }
}
