//! `test bootstrap` and `test client-auth`: the step at which each fault stops them; docs/pool-tests.md has the table that this
//! makes.

use super::discovery::Network;
use super::{TestLab, Tool, contains, path, plain, signal, stable};
use secrecy::ExposeSecret;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use tempfile::TempDir;
use tethercert::diagnose::TestDevice;
use tethercert::lab::dhcp::DhcpFault;
use tethercert::lab::faults::{Fault, Group};
use tethercert::lab::registrar::Request;
use tethercert::lab::{Lab, LabOptions, Ready};

const PAGE: &str = "docs/pool-tests.md";
const BEGINS: &str = "<!-- made by a test: UPDATE_DOCS=1 cargo test --test cli pool_tests -->\n";
/// So that two rows never wait for each other.
const WORKERS: usize = 4;

/// The test and the fault, the way to sign in where it is not the usual one, and where it stops.
const CASES: &[(&str, &str, &str)] = &[
    ("bootstrap", "", ""),
    ("client-auth", "", ""),
    ("client-auth", "whole-chain", ""),
    ("bootstrap", "unknown-root", "web-services"),
    ("bootstrap", "wrong-name", "web-services"),
    ("bootstrap", "server-expired", "web-services"),
    ("bootstrap", "html=metadata", "web-services"),
    ("bootstrap", "no-pin-port", "web-services"),
    ("client-auth", "no-windows-port", "web-services"),
    ("bootstrap", "pin-wrong", "web-ticket"),
    ("bootstrap", "pin-locked", "web-ticket"),
    ("client-auth", "password-wrong", "web-ticket"),
    ("client-auth", "sign-in-broken", "web-ticket"),
    ("client-auth", "not-sip-enabled", "web-ticket"),
    ("bootstrap", "html=ticket:503", "web-ticket"),
    ("bootstrap", "store-unavailable", "certificate"),
    ("bootstrap", "answer-lost", "certificate"),
    ("client-auth", "key-size", "certificate"),
    ("client-auth", "entity-mismatch", "certificate"),
    ("client-auth", "certificate-of-another-key", "certificate"),
    ("client-auth", "certificate-of-another-user", "certificate"),
    ("client-auth", "certificate-expired", "certificate"),
    ("bootstrap", "registrar-unavailable=503", "challenge"),
    ("bootstrap", "registrar-unavailable=504", "challenge"),
    ("bootstrap", "registrar-refuses", "challenge"),
    ("bootstrap", "registrar-hangs", "challenge"),
    ("bootstrap", "no-tls-dsk", "challenge"),
    ("bootstrap", "no-ntlm", ""),
    ("bootstrap", "kerberos-offered", ""),
    ("bootstrap", "asks-as-proxy", ""),
    ("bootstrap", "version-3", ""),
    ("bootstrap", "registrar-clock=86400", ""),
    ("client-auth", "inner-wrong-name", "handshake"),
    ("client-auth", "inner-unknown-root", "handshake"),
    ("client-auth", "inner-tls-modern", ""),
    ("client-auth", "not-replicated", "handshake"),
    ("client-auth", "replication-delay=3600", "handshake"),
    ("client-auth", "front-end-unaware", ""),
    ("client-auth", "user-disabled", "register"),
    ("client-auth", "user-not-found", "register"),
    ("client-auth", "hash=sha1", "register"),
    ("client-auth", "wrong-rspauth", "register"),
    ("client-auth", "unsigned-answers", "register"),
    ("client-auth", "no-expires", "register"),
    ("client-auth", "association-life=0", "register"),
    ("client-auth", "expires=30", ""),
    ("client-auth", "repeated-snum", "sign-off"),
    ("client-auth", "association-dropped=1", ""),
    ("client-auth", "homed-elsewhere", ""),
];

fn lab(fault: &str) -> (tokio::runtime::Runtime, Lab) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let faults = if fault.is_empty() { Vec::new() } else { vec![fault.parse().unwrap()] };
    let options = LabOptions { phones: 0, fresh_keys: false, faults, ..LabOptions::default() };
    let lab = runtime.block_on(Lab::start(&options)).unwrap();
    (runtime, lab)
}

/// A test as a script calls it.
fn script<'a>(test: &'a str, ready: &'a Ready, device: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let alice = &ready.users[0];
    let mut arguments = vec!["test", test, "--user", alice.user.as_str(), "--certprov-url", &ready.certprov_url];
    arguments.extend(["--registrar", &ready.registrar, "--trust-anchor", path(&ready.trust_anchor)]);
    arguments.extend(["--test-device", path(device), "--json"]);
    match test {
        "bootstrap" => arguments.extend(["--phone-number", &alice.phone_number, "--pin-file", path(&alice.pin_file)]),
        _ if more.contains(&"--kept") => {}
        _ => arguments.extend(["--login", &alice.login, "--password-file", path(&alice.password_file)]),
    }
    arguments.extend(more);
    arguments
}

#[test]
fn every_fault_stops_the_tests_at_its_step() {
    let folder = TempDir::new().unwrap();
    let device = folder.path().join("test-device");
    TestDevice::load_or_create(&device).unwrap();
    let rows: Mutex<Vec<Option<String>>> = Mutex::new(vec![None; CASES.len()]);
    let next = Mutex::new(0..CASES.len());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(at) = next.lock().unwrap().next() else { break };
                    let (test, fault, stop) = CASES[at];
                    let row = row(test, fault, stop, &device);
                    rows.lock().unwrap()[at] = Some(row);
                }
            });
        }
    });
    let rows: Vec<String> = rows.into_inner().unwrap().into_iter().flatten().collect();
    assert_eq!(rows.len(), CASES.len(), "a row has failed");
    let table = format!(
        "| test | fault | stopped at | exit | error | diagnosis | what to do next |\n|---|---|---|---|---|---|---|\n{}\n",
        rows.join("\n")
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&file).unwrap();
    let (text, shown) = page.split_once(BEGINS).expect("the page says where the table begins");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, format!("{text}{BEGINS}{table}")).unwrap();
        return;
    }
    for (shown, made) in shown.lines().zip(table.lines()) {
        assert_eq!(shown, made, "UPDATE_DOCS=1 writes the table anew");
    }
    assert_eq!(shown.lines().count(), table.lines().count());
}

/// Runs one case on a lab of its own.
fn row(test: &str, fault: &str, stop: &str, device: &Path) -> String {
    let (_runtime, lab) = lab(fault);
    let ready = lab.ready();
    let more: &[&str] = if fault == "registrar-hangs" { &["--timeout", "2"] } else { &[] };
    let ran = Tool::new().run(&script(test, &ready, device, more));
    let last = ran.last();
    let text = |key: &str| last[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(text("stopped_at"), stop, "{test} {fault}: {}", ran.whole());
    assert_eq!(last["exit_code"], ran.code, "{fault}: {}", ran.whole());
    assert!(lab.registrar().registrations().is_empty() || !stop.is_empty(), "{fault}: nobody stays registered");
    let cells = [
        test.to_owned(),
        if fault.is_empty() { "none".to_owned() } else { format!("`{fault}`") },
        if stop.is_empty() { "success".to_owned() } else { stop.to_owned() },
        ran.code.to_string(),
        plain(&text("error")),
        plain(&text("diagnosis")),
        plain(&text("next_step")),
    ];
    format!("| {} |", cells.join(" | "))
}

#[test]
fn every_fault_of_the_registrar_is_on_the_page_of_tests() {
    let shown: BTreeSet<&str> =
        CASES.iter().map(|(_, fault, _)| fault.split_once('=').map_or(*fault, |(name, _)| name)).collect();
    let of_registrar = Fault::all().filter(|fault| fault.group == Group::Registrar);
    let missing: Vec<&str> = of_registrar.map(|fault| fault.name).filter(|name| !shown.contains(name)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn a_test_leaves_one_device_and_no_secret_and_a_later_one_needs_no_password() {
    let (_runtime, lab) = lab("");
    let (ready, tool) = (lab.ready(), Tool::new());
    let device = tool.home.path().join("device");
    let first = tool.run(&script("client-auth", &ready, &device, &[]));
    assert_eq!(first.code, 0, "{}", first.whole());
    let again = tool.run(&script("bootstrap", &ready, &device, &[]));
    let remains = |ran: &super::Ran| ran.last()["remains"]["device"].clone();
    assert!(remains(&first).is_string() && remains(&first) == remains(&again), "{}", again.whole());
    let requests = lab.web().requests().len();
    let kept = tool.run(&script("client-auth", &ready, &device, &["--kept"]));
    assert_eq!((kept.code, lab.web().requests().len()), (0, requests), "{}", kept.whole());
    let steps: Vec<Value> =
        kept.lines().iter().filter(|line| line["type"] == "step").map(|it| it["step"].clone()).collect();
    assert_eq!(steps, ["certificate", "connect", "challenge", "handshake", "register", "sign-off"]);
    let alice = &lab.web().users()[0];
    let left = [tool.files(), first.whole().into_bytes(), again.whole().into_bytes()].concat();
    for secret in [&alice.password, &alice.pin] {
        assert!(!contains(&left, secret.expose_secret()));
    }
    lab.web().store().revoke(&alice.sip);
    let revoked = tool.run(&script("client-auth", &ready, &device, &["--kept"]));
    assert_eq!((revoked.code, &revoked.last()["stopped_at"]), (1, &Value::from("handshake")), "{}", revoked.whole());
}

#[test]
fn an_account_signs_in_at_the_registrar_without_a_certificate_and_is_sent_once_where_it_is_refused() {
    let run = |fault: &str, password: Option<&str>| {
        let (_runtime, lab) = lab(fault);
        let (ready, tool) = (lab.ready(), Tool::new());
        let device = tool.home.path().join("device");
        let file = tool.home.path().join("password");
        let mut arguments = script("client-auth", &ready, &device, &["--by-password"]);
        if let Some(password) = password {
            std::fs::write(&file, password).unwrap();
            *arguments.iter_mut().find(|it| **it == path(&ready.users[0].password_file)).unwrap() = path(&file);
        }
        let ran = tool.run(&arguments);
        assert!(lab.web().requests().is_empty() && ran.last()["remains"].is_null(), "{}", ran.whole());
        for secret in [lab.web().users()[0].password.expose_secret(), password.unwrap_or("-")] {
            assert!(secret == "-" || !ran.whole().contains(secret));
        }
        let is_proof = |request: &&Request| request.scheme == Some("NTLM") && request.signed;
        let proofs = lab.registrar().requests().iter().filter(is_proof).count();
        (ran, proofs)
    };
    // Also where certificates are switched off at the registrar.
    for fault in ["", "no-tls-dsk"] {
        let (ran, _) = run(fault, None);
        let steps: Vec<Value> =
            ran.lines().iter().filter(|line| line["type"] == "step").map(|it| it["step"].clone()).collect();
        assert_eq!(steps, ["connect", "challenge", "handshake", "register", "sign-off"], "{}", ran.whole());
        assert_eq!((ran.code, &ran.last()["registrar"]["scheme"]), (0, &Value::from("NTLM")), "{}", ran.whole());
    }
    let (none, _) = run("no-ntlm", None);
    assert_eq!((none.code, &none.last()["stopped_at"]), (1, &Value::from("challenge")), "{}", none.whole());
    let (wrong, proofs) = run("", Some("not-the-password"));
    assert_eq!((wrong.code, &wrong.last()["stopped_at"]), (1, &Value::from("register")), "{}", wrong.whole());
    assert!(wrong.last()["next_step"].as_str().unwrap().contains("accounts lock"), "{}", wrong.whole());
    assert_eq!(proofs, 1, "{}", wrong.whole());
}

#[test]
fn each_server_of_a_pool_is_told_apart_by_its_address() {
    let (_runtime, lab) = lab("front-end-unaware");
    let (ready, tool) = (lab.ready(), Tool::new());
    let device = tool.home.path().join("device");
    let port = |address: std::net::SocketAddr| format!("sip.contoso.example:5061:127.0.0.1:{}", address.port());
    // The second address is that of the front end which never hears of a publication.
    let (one, other) = (port(lab.registrar().address()), port(lab.registrar().home()));
    let mut arguments =
        script("client-auth", &ready, &device, &["--each-address", "--resolve", &one, "--resolve", &other]);
    let at = arguments.iter().position(|it| *it == "--registrar").unwrap() + 1;
    arguments[at] = "sip.contoso.example:5061";
    let ran = tool.run(&arguments);
    let addresses = ran.last()["addresses"].clone();
    assert_eq!(ran.code, 4, "{}", ran.whole());
    assert_eq!(addresses[0]["result"], "success", "{}", ran.whole());
    assert_eq!((&addresses[1]["result"], &addresses[1]["stopped_at"]), (&"failure".into(), &"handshake".into()));
}

#[test]
fn a_test_that_is_told_nothing_finds_the_pool_as_a_phone_would() {
    let (_runtime, lab) = lab("");
    let (ready, port) = (lab.ready(), lab.web().address().port());
    let network = Network::named("sip.contoso.example", &[], port);
    let tool = network.tool();
    let alice = &ready.users[0];
    let web = format!("web.contoso.example:{port}:127.0.0.1:{port}");
    let registrar = format!("sip.contoso.example:5061:127.0.0.1:{}", lab.registrar().address().port());
    let mut words = vec!["test", "bootstrap", "--user", alice.user.as_str(), "--phone-number", &alice.phone_number];
    words.extend(["--pin-file", path(&alice.pin_file), "--trust-anchor", path(&ready.trust_anchor), "--json"]);
    words.extend(["--resolve", &web, "--resolve", &registrar]);
    let ran = tool.run(&words);
    let step = ran.lines().into_iter().find(|line| line["step"] == "discovery").unwrap();
    assert_eq!((ran.code, &step["result"]), (0, &Value::from("success")), "{}", ran.whole());
    assert!(step["text"].as_str().unwrap().contains("registrar sip.contoso.example:5061 (option 120 of"), "{step}");

    let stranger = Network::with(&[DhcpFault::Rogue], port);
    let refused = stranger.tool().run(&words);
    let last = refused.last();
    assert_eq!((refused.code, &last["stopped_at"]), (6, &Value::from("discovery")), "{}", refused.whole());
    assert!(last["remains"].is_null());
}

#[test]
fn a_pool_that_nobody_names_and_nothing_finds_stops_the_test_at_discovery() {
    let ran = Tool::new().run(&["test", "client-auth", "--user", "alice@contoso.example", "--json"]);
    assert_eq!((ran.code, &ran.last()["stopped_at"]), (1, &Value::from("discovery")), "{}", ran.whole());
}

#[test]
fn what_a_person_sees_of_the_tests_is_as_it_was_read_over() {
    let tool = Tool::new();
    let mut settings = stable();
    for (pattern, instead) in [
        (r"web\.contoso\.example:\d+", "web.contoso.example:PORT"),
        (r"sip\.contoso\.example:\d+", "sip.contoso.example:PORT"),
        (r"\d\d:\d\d:\d\d\.\d{7}", "hh:mm:ss.fffffff"),
        (r#""latency_ms":\d+"#, r#""latency_ms":0"#),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[uuid]"),
        (r"epid:[A-Za-z0-9_-]{24}", "epid:[id]"),
        (r#""clock_offset_seconds":-?\d"#, r#""clock_offset_seconds":0"#),
    ] {
        settings.add_filter(pattern, instead);
    }
    settings.bind(|| {
        let bootstrap = tool.run(&["test", "bootstrap", "--lab"]);
        insta::assert_snapshot!("test bootstrap --lab", bootstrap.whole());
        let refused = tool.run(&["test", "client-auth", "--lab", "--fault", "user-disabled"]);
        insta::assert_snapshot!("test client-auth of a disabled user", refused.whole());
        let json = tool.run(&["test", "client-auth", "--lab", "--json"]);
        insta::assert_snapshot!("test client-auth --lab --json", json.whole());
    });
}

#[test]
fn a_test_that_lacks_something_says_which_option_it_needs() {
    let lab = TestLab::start(0, |_| {});
    let tool = Tool::new();
    let url = ["--certprov-url", lab.ready.certprov_url.as_str(), "--trust-anchor", path(&lab.ready.trust_anchor)];
    let said = |more: &[&str]| tool.run(&[more, &url].concat());
    let no_user = said(&["test", "bootstrap"]);
    assert!(no_user.code == 2 && no_user.stderr.contains("--user"), "{}", no_user.whole());
    let no_registrar = said(&["test", "bootstrap", "--user", "alice@contoso.example", "--phone-number", "1"]);
    assert!(no_registrar.code == 2 && no_registrar.stderr.contains("--registrar"), "{}", no_registrar.whole());
    let user = ["test", "client-auth", "--user", "alice@contoso.example", "--registrar", lab.ready.registrar.as_str()];
    let nothing_kept = said(&[&user[..], &["--kept"]].concat());
    assert!(nothing_kept.code == 2 && nothing_kept.stderr.contains("no earlier test"), "{}", nothing_kept.whole());
    let nobody = said(&user);
    assert!(nobody.code == 8 && nobody.stdout.contains("--password-file"), "{}", nobody.whole());
}

#[test]
fn a_test_that_is_stopped_says_what_stays_published_and_which_step_was_not_done() {
    // In the publication, which is waited for; and at a registrar that says nothing.
    for (fault, stopped_at) in [("slow=publish:2000", "connect"), ("registrar-hangs", "challenge")] {
        let (_runtime, lab) = lab(fault);
        let (ready, tool) = (lab.ready(), Tool::new());
        let device = tool.home.path().join("test-device");
        let words = script("client-auth", &ready, &device, &[]);
        let child = tool.command(&words).stdout(Stdio::piped()).spawn().unwrap();
        while lab.web().store().list().is_empty() {
            std::thread::yield_now();
        }
        signal(&child, "INT");
        let output = child.wait_with_output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!((output.status.code(), &last["exit_code"]), (Some(7), &7.into()), "{last}");
        // It may not have come to the registrar that hangs yet.
        let before = [stopped_at, "connect"];
        assert!(before.contains(&last["stopped_at"].as_str().unwrap()), "{last}");
        assert!(last["remains"]["certificate_sha256"].is_string(), "{last}");
    }
}
