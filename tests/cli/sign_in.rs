//! The sign-in rehearsal, as a script and a person see it.

use super::{TestLab, Tool, path, snapshot};
use serde_json::Value;
use tethercert::lab::registrar::Proof;

/// `verify` of the lab's phone, with a sign-in at the registrar that the phone knows.
fn verify(lab: &TestLab, more: &[&str]) -> Vec<String> {
    let ready = &lab.ready;
    let plain = ["verify", "--sign-in", "--usbip", &ready.usbip, "--certprov-url", &ready.certprov_url];
    let files = ["--trust-anchor", path(&ready.trust_anchor), "--drivers", path(&ready.drivers)];
    plain.iter().chain(&files).chain(more).map(|word| (*word).to_owned()).collect()
}

fn finding(lines: &[Value]) -> Value {
    lines.iter().find(|line| line["check"] == "sign-in").expect("a finding").clone()
}

#[test]
fn a_sign_in_is_rehearsed_after_a_job_and_again_by_verify_and_is_in_the_ledger() {
    let (lab, tool) = (TestLab::start(1, |_| {}), Tool::new());
    let mut news = lab.lab.registrar().news();
    let password = path(&lab.ready.users[0].password_file);
    let more = ["--password-file", password, "--sign-in", "--registrar", &lab.ready.registrar, "--json"];
    let ran = tool.run(&lab.script(&more));
    assert_eq!(ran.code, 0, "{}", ran.whole());
    let rehearsal = &ran.last()["rehearsal"];
    assert_eq!((&rehearsal["grade"], &rehearsal["signed_off"]), (&"good".into(), &true.into()), "{}", ran.whole());
    assert_eq!(rehearsal["signatures"], 1);
    assert!(matches!(news.try_recv().unwrap().proof, Proof::TlsDsk { .. }));

    let people = verify(&lab, &[]);
    let ran = tool.run(&people.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ran.code, 0, "{}", ran.whole());
    snapshot("verify --sign-in", &ran.whole());
    assert!(lab.lab.registrar().registrations().is_empty(), "signed off");

    lab.lab.registrar().faults().not_replicated = u32::MAX;
    let script = verify(&lab, &["--json"]);
    let ran = tool.run(&script.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ran.code, 1, "{}", ran.whole());
    let bad = finding(&ran.lines());
    assert_eq!(bad["verdict"], "bad");
    assert!(bad["next_step"].as_str().unwrap().contains("wait half a minute for replication"), "{bad}");

    let ledger = tool.run(&["ledger", "show", "--job", "1", "--json"]);
    let written: Vec<Value> = ledger.lines().into_iter().filter(|line| line["kind"] == "sign_in_rehearsed").collect();
    assert_eq!((written.len(), &written[0]["body"]["grade"]), (1, &"good".into()), "{}", ledger.whole());
}

#[test]
fn what_a_rehearsal_cannot_do_is_unknown_and_no_failure_of_the_job() {
    let (lab, tool) = (TestLab::start(1, |_| {}), Tool::new());
    let password = path(&lab.ready.users[0].password_file);
    let ran = tool.run(&lab.script(&["--password-file", password, "--sign-in", "--json"]));
    assert_eq!(ran.code, 0, "{}", ran.whole());
    let rehearsal = &ran.last()["rehearsal"];
    assert_eq!(rehearsal["grade"], "unknown");
    assert!(rehearsal["next_step"].as_str().unwrap().contains("--registrar"), "{rehearsal}");

    let recorded = tool.run(&lab.script(&["--sign-in", "--record", "/nowhere/job.txt"]));
    assert_eq!(recorded.code, 2, "{}", recorded.whole());
    let old = tool.run(&lab.script(&["--phone-signs-in", "--restart"]));
    assert_eq!(old.code, 2, "{}", old.whole());
}
