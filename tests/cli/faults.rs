//! Every fault of the lab, and what the program says to it: docs/faults.md is the table that this test makes.

use super::{Tool, path, script};
use regex::Regex;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use tethercert::lab::faults::{Fault, Group};
use tethercert::lab::{Lab, LabOptions, Ready};

const PAGE: &str = "docs/faults.md";
/// Beside the page's rows, so that two of them never wait.
const WORKERS: usize = 4;

/// A fault with its value, and how the user signs in. Empty: good weather.
const CASES: &[(&str, &str)] = &[
    ("", "ntlm"),
    ("", "negotiate"),
    ("", "pin"),
    ("basic-offered", "basic"),
    ("", "basic"),
    ("whole-chain", "ntlm"),
    ("missing-intermediate", "ntlm"),
    ("only-ntlm", "ntlm"),
    ("only-ntlm", "negotiate"),
    ("only-spnego", "ntlm"),
    ("only-spnego", "negotiate"),
    ("channel-binding-required", "ntlm"),
    ("channel-binding-required", "negotiate"),
    ("cert-port-sha256", "ntlm"),
    ("other-prefixes", "ntlm"),
    ("wrapped-metadata", "ntlm"),
    ("pkcs7-first", "ntlm"),
    ("slow=publish:50", "ntlm"),
    ("store-rule=keep-both", "ntlm"),
    ("clock=60", "ntlm"),
    ("clock=-60", "ntlm"),
    ("clock-of-2008", "ntlm"),
    ("clock-unset", "ntlm"),
    ("clock-ahead", "ntlm"),
    ("old-roots", "ntlm"),
    ("no-factory-key", "ntlm"),
    ("store-unavailable=1", "ntlm"),
    ("store-unavailable=2", "ntlm"),
    ("store-unavailable", "ntlm"),
    ("store-unavailable=100%", "pin"),
    ("front-end-ill=store", "ntlm"),
    ("front-end-ill=down", "ntlm"),
    ("front-end-ill=tickets", "ntlm"),
    ("answer-lost=1", "ntlm"),
    ("answer-lost", "ntlm"),
    ("closed-unread=metadata", "ntlm"),
    ("closed-unread=ticket", "ntlm"),
    ("closed-unread=publish", "ntlm"),
    ("closed-undone=metadata:1", "ntlm"),
    ("closed-undone=ticket", "pin"),
    ("closed-undone=publish", "ntlm"),
    ("cut=metadata:300", "ntlm"),
    ("cut=ticket:300", "pin"),
    ("cut=publish:300", "ntlm"),
    ("cut=publish:300:1", "ntlm"),
    ("html=metadata", "ntlm"),
    ("html=ticket:503", "ntlm"),
    ("html=publish:503", "ntlm"),
    ("html=publish", "ntlm"),
    ("huge=metadata", "ntlm"),
    ("huge=ticket", "pin"),
    ("huge=publish", "ntlm"),
    ("truncated=metadata", "ntlm"),
    ("truncated=ticket", "pin"),
    ("truncated=publish", "ntlm"),
    ("dtd=metadata", "ntlm"),
    ("dtd=ticket", "pin"),
    ("dtd=publish", "ntlm"),
    ("entity-bomb=metadata", "ntlm"),
    ("entity-bomb=ticket", "pin"),
    ("entity-bomb=publish", "ntlm"),
    ("utf-16=metadata", "ntlm"),
    ("utf-16=ticket", "pin"),
    ("latin-1=metadata", "ntlm"),
    ("latin-1=publish", "ntlm"),
    ("error-in-header-positional", "ntlm"),
    ("error-in-header", "ntlm"),
    ("error-in-soap-fault", "ntlm"),
    ("error-in-soap12-fault", "ntlm"),
    ("error-in-reply", "ntlm"),
    ("error-in-header=28000", "ntlm"),
    ("error-in-reply=99006", "ntlm"),
    ("not-sip-enabled", "ntlm"),
    ("sign-in-broken", "ntlm"),
    ("password-wrong", "ntlm"),
    ("password-wrong", "negotiate"),
    ("pin-wrong", "pin"),
    ("pin-locked", "pin"),
    ("key-size", "ntlm"),
    ("entity-mismatch", "ntlm"),
    ("ticket-invalid=1", "ntlm"),
    ("ticket-invalid", "ntlm"),
    ("ticket-expired=1", "pin"),
    ("ticket-expired", "ntlm"),
    ("ticket-life=-60", "ntlm"),
    ("ntlm-closed=1", "ntlm"),
    ("ntlm-closed", "ntlm"),
    ("ntlm-moved=1", "ntlm"),
    ("ntlm-moved", "negotiate"),
    ("no-pin-port", "pin"),
    ("no-pin-port", "ntlm"),
    ("no-windows-port", "ntlm"),
    ("no-windows-port", "pin"),
    ("no-cert-port", "ntlm"),
    ("metadata-http", "ntlm"),
    ("clock=86400", "ntlm"),
    ("clock=-86400", "ntlm"),
    ("no-date", "ntlm"),
    ("certificate-of-another-key", "ntlm"),
    ("certificate-of-another-user", "ntlm"),
    ("certificate-expired", "ntlm"),
    ("certificate-life=30", "ntlm"),
    ("chains=disabled", "ntlm"),
    ("no-issuer-address", "ntlm"),
    ("unknown-root", "ntlm"),
    ("wrong-name", "ntlm"),
    ("server-expired", "ntlm"),
    ("server-not-yet", "ntlm"),
    ("intermediate-expired", "ntlm"),
    ("unplug-at=4", "ntlm"),
    ("unplug-at=14", "ntlm"),
    ("unplug-after=16", "ntlm"),
    ("moved-at=14", "ntlm"),
    ("swapped-at=14", "ntlm"),
    ("stalls-at=10", "ntlm"),
    ("power-lost-at-commit", "ntlm"),
    ("power-lost-at=5", "ntlm"),
    ("refuses=make-key", "ntlm"),
    ("refuses=stage", "ntlm"),
    ("refuses=commit", "ntlm"),
    ("refuses=prove", "ntlm"),
    ("declines", "ntlm"),
    ("asks-for-code=4711", "ntlm"),
    ("request-of-another-key", "ntlm"),
    ("request-badly-signed", "ntlm"),
    ("request-of-another-user", "ntlm"),
    ("proof-by-another-key", "ntlm"),
    ("commits-nothing", "ntlm"),
    ("drops-anchors", "ntlm"),
    ("garbled-answers", "ntlm"),
    ("full", "ntlm"),
    ("twin-serials", "ntlm"),
    ("double", "ntlm"),
    ("no-serial", "ntlm"),
    ("brings=keyboard", "ntlm"),
    ("brings=disk", "ntlm"),
    ("brings=network", "ntlm"),
    ("brings=hidden-keyboard", "ntlm"),
    ("brings=second-tether", "ntlm"),
    ("clock-cannot-be-set", "ntlm"),
    ("old-firmware", "ntlm"),
    ("no-rsa-keys", "ntlm"),
];

#[test]
fn the_page_of_faults_is_what_the_program_says() {
    let rows: Mutex<Vec<Option<String>>> = Mutex::new(vec![None; CASES.len()]);
    let next = Mutex::new(0..CASES.len());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(at) = next.lock().unwrap().next() else { break };
                    let row = row(CASES[at].0, CASES[at].1);
                    rows.lock().unwrap()[at] = Some(row);
                }
            });
        }
    });
    let rows: Vec<String> = rows.into_inner().unwrap().into_iter().flatten().collect();
    let page = format!(
        "# What the program says to every fault\n\n\
         Made by a test, row by row: a lab with one fault (`tethercert lab --fault …`), a phone fresh from the factory, and\n\
         `provision` against both, with two tries at publishing. `UPDATE_DOCS=1 cargo test --test cli faults` writes it anew.\n\n\
         | fault | sign-in | outcome | exit | what it says | what to do next |\n|---|---|---|---|---|---|\n{}\n",
        rows.join("\n")
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let shown = std::fs::read_to_string(&file).unwrap();
    for (shown, made) in shown.lines().zip(page.lines()) {
        assert_eq!(shown, made, "UPDATE_DOCS=1 writes the page anew");
    }
    assert_eq!(shown.lines().count(), page.lines().count());
}

#[test]
fn every_fault_of_the_list_is_on_the_page() {
    let shown: BTreeSet<&str> =
        CASES.iter().map(|(fault, _)| fault.split_once('=').map_or(*fault, |(name, _)| name)).collect();
    // The one waits for as long as the program waits for a phone, the other asks this computer's DNS for a name.
    let left_out = ["hangs-at", "metadata-foreign-host"];
    // The registrar's have a page of their own.
    let listed = Fault::all().filter(|fault| ![Group::Registrar, Group::Network].contains(&fault.group));
    let missing: Vec<&str> =
        listed.map(|fault| fault.name).filter(|name| !shown.contains(name) && !left_out.contains(name)).collect();
    assert_eq!(missing, [""; 0]);
}

/// Runs one case on a lab of its own.
fn row(fault: &str, way: &str) -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let faults = if fault.is_empty() { Vec::new() } else { vec![fault.parse().unwrap()] };
    let options = LabOptions { fresh_keys: false, faults, ..LabOptions::default() };
    let lab = runtime.block_on(Lab::start(&options)).unwrap();
    let ready = lab.ready();
    let tool = Tool::new();
    let ran = tool.run(&arguments(&ready, way));
    let last = ran.last();
    let text = |key: &str| last[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(last["exit_code"], ran.code, "{fault}: {}", ran.whole());
    let cells = [
        if fault.is_empty() { "none".to_owned() } else { format!("`{fault}`") },
        way.to_owned(),
        text("outcome").replace('_', " "),
        ran.code.to_string(),
        plain(&text("message")),
        plain(&text("next_step")),
    ];
    format!("| {} |", cells.join(" | "))
}

fn arguments<'a>(ready: &'a Ready, way: &'a str) -> Vec<&'a str> {
    let alice = &ready.users[0];
    let secret = match way {
        "pin" => ["--phone-number", &alice.phone_number, "--pin-file", path(&alice.pin_file)].to_vec(),
        _ => ["--password-file", path(&alice.password_file)].to_vec(),
    };
    let retry = ["--auth", way, "--publish-tries", "2", "--publish-wait", "0", "--json"];
    script(ready, &[&secret[..], &retry].concat())
}

/// Without what differs from run to run, and fit for a cell.
pub(super) fn plain(text: &str) -> String {
    let mut text = text.replace('|', "\\|");
    for (pattern, instead) in [
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"localhost:\d+", "localhost:PORT"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
        (r"20\d\d-\d\d-\d\d", "DATE"),
        (r"\d\d:\d\d(:\d\d)?", "TIME"),
        (r"\b\d{10}\b", "SECONDS"),
        (r"[0-9A-F]{4}…[0-9A-F]{2}", "FINGERPRINT"),
        (r"\b[0-9A-F]{40}\b", "SHA-1"),
        (r"[+-]?\d{5} s", "86400 s"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, instead).into_owned();
    }
    text
}
