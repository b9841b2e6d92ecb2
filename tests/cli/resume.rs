//! Jobs that were cut short or could not go on, and the command that ends them.

use super::{Ran, TestLab, Tool, contains, path, signal, snapshot};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;
use tethercert::lab::phone::Lies;
use tethercert::lab::web_services::Kind;
use tethercert::ledger::Ledger;

/// `resume` with nothing but where the phones are: the rest is in the ledger.
fn resume<'a>(lab: &'a TestLab, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["resume", "--usbip", &lab.ready.usbip, "--drivers", path(&lab.ready.drivers)];
    arguments.extend(more);
    arguments
}

fn alices_password(lab: &TestLab) -> [&str; 2] {
    ["--password-file", path(&lab.ready.users[0].password_file)]
}

/// The outcome lines of `--json`.
fn outcomes(ran: &Ran) -> Vec<Value> {
    ran.lines().into_iter().filter(|line| line["type"] == "outcome").collect()
}

/// Leaves a job behind whose certificate is perhaps published.
fn leave_unknown(tool: &Tool, lab: &TestLab) {
    lab.lab.web().faults().answer_lost = 2;
    let script = lab.script(&["--device", "serial:LAB00001"]);
    assert_eq!(tool.run(&[&script[..], &alices_password(lab)].concat()).code, 5);
}

#[test]
fn the_one_unfinished_job_is_resumed_without_its_options_and_ended_done() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    leave_unknown(&tool, &lab);
    let [option, file] = alices_password(&lab);
    let ran = tool.run(&resume(&lab, &[option, file]));
    assert_eq!(ran.code, 0, "{}", ran.whole());
    snapshot("resume", &ran.whole());
    assert!(ran.stdout.contains("published once or more often"), "{}", ran.whole());

    let jobs = tool.run(&["ledger", "show", "--json"]).lines();
    assert_eq!(jobs.len(), 1, "it went on under its own number");
    assert_eq!((&jobs[0]["outcome"], &jobs[0]["exit_code"]), (&"done".into(), &0.into()));
    let events = tool.run(&["ledger", "show", "--job", "1"]).stdout;
    assert!(events.contains("job resumed") && events.contains("orphaned"), "{events}");
    assert!(events.contains("fingerprint unknown"), "{events}");
    snapshot("resume with nothing left", &tool.run(&resume(&lab, &[])).whole());
    assert!(!contains(&tool.files(), "s3cret"));
}

#[test]
fn a_store_that_stays_away_is_temporary_and_the_job_goes_on_later() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    lab.lab.web().faults().store_unavailable = 2;
    let [option, file] = alices_password(&lab);
    let tries = ["--publish-tries", "2", "--publish-wait", "0"];
    let ran = tool.run(&[&lab.script(&[option, file])[..], &tries].concat());
    assert_eq!(ran.code, 7, "{}", ran.whole());
    snapshot("data store unavailable", &ran.whole());
    let whole = ran.whole().split_whitespace().filter(|word| *word != "LAB").collect::<Vec<_>>().join(" ");
    assert!(whole.contains("data store unavailable at fe02.contoso.example · try 2 of 2 in 0 s"), "{whole}");
    assert!(whole.contains("Get-CsUser -Identity \"sip:alice@contoso.example\" | Select-Object RegistrarPool"));

    lab.lab.web().faults().store_unavailable = 3;
    let again = tool.run(&[&resume(&lab, &["1", "--json", option, file])[..], &tries].concat());
    let [outcome] = outcomes(&again).try_into().unwrap();
    assert_eq!((again.code, &outcome["publishing"]["data_store"]), (7, &"lasting".into()), "{outcome}");
    let unavailable = outcome["publishing"]["unavailable"].as_array().unwrap();
    assert!(unavailable.len() == 2 && unavailable.iter().all(|it| it["server"] == "fe02.contoso.example"));
    assert!(again.lines().iter().any(|line| line["event"] == "store_wait" && line["try"] == 2), "{}", again.whole());

    let done = tool.run(&[&resume(&lab, &["1", "--json", option, file])[..], &tries].concat());
    let [outcome] = outcomes(&done).try_into().unwrap();
    assert_eq!((done.code, &outcome["publishing"]["data_store"]), (0, &"sporadic".into()), "{outcome}");
    assert_eq!((&outcome["outcome"], &outcome["publishing"]["published"]), (&"done".into(), &"once".into()));
    assert_eq!(lab.lab.phone().installed().map(|it| it.to_string()).as_deref(), outcome["certificate_sha256"].as_str());
}

#[test]
fn a_stop_during_the_wait_ends_at_once_with_a_true_outcome() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    lab.lab.web().faults().store_unavailable = 9;
    let arguments = lab.script(&["--json", "--publish-wait", "3600"]);
    let arguments = [&arguments[..], &alices_password(&lab)].concat();
    let mut child = tool.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut last = Value::Null;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        last = serde_json::from_str(&line.unwrap()).unwrap();
        if last["event"] == "store_wait" {
            signal(&child, "INT");
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert_eq!((&last["outcome"], &last["exit_code"]), (&"not_done".into(), &7.into()), "{last}");
    assert!(lab.lab.web().store().list().is_empty());
}

#[test]
fn a_phone_that_is_not_plugged_in_is_named_and_its_job_waits() {
    let lab = TestLab::start(1, |_| {});
    let other = TestLab::start(0, |_| {});
    let tool = Tool::new();
    leave_unknown(&tool, &lab);
    let ran = tool.run(&resume(&other, &["1"]));
    assert_eq!(ran.code, 3, "{}", ran.whole());
    assert!(ran.stderr.contains("the phone LAB00001 (Acme Desk 2) is not plugged in"), "{}", ran.whole());
    let [outcome] = outcomes(&tool.run(&resume(&other, &["1", "--json"]))).try_into().unwrap();
    assert_eq!(
        (&outcome["outcome"], &outcome["exit_code"], &outcome["job"]),
        (&"unknown".into(), &3.into(), &1.into())
    );
    assert_eq!(tool.run(&[&resume(&lab, &["1"])[..], &alices_password(&lab)].concat()).code, 0);
}

#[test]
fn several_jobs_are_shown_and_resumed_together_only_when_it_was_said() {
    let lab = TestLab::start(2, |_| {});
    let tool = Tool::new();
    leave_unknown(&tool, &lab);
    lab.lab.web().faults().store_unavailable = 9;
    let second = lab.script(&["--device", "serial:LAB00002", "--publish-tries", "1"]);
    assert_eq!(tool.run(&[&second[..], &alices_password(&lab)].concat()).code, 7);

    let shown = tool.run(&resume(&lab, &[]));
    assert_eq!(shown.code, 8, "{}", shown.whole());
    snapshot("resume with several", &shown.whole());

    // One of the two fails, and the other is done all the same.
    let all = resume(&lab, &["--all", "--json", "--publish-tries", "1"]);
    lab.lab.web().faults().store_unavailable = 1;
    let ran = tool.run(&[&all[..], &alices_password(&lab)].concat());
    assert_eq!(ran.code, 4, "{}", ran.whole());
    assert_eq!(outcomes(&ran).len(), 2, "one line for each job");
    let ran = tool.run(&[&resume(&lab, &["--all"])[..], &alices_password(&lab)].concat());
    assert_eq!(ran.code, 0, "{}", ran.whole());
    snapshot("resume of all", &ran.whole());
    assert_eq!(lab.lab.web().store().list().len(), 2);
    assert_eq!(tool.run(&resume(&lab, &["--all"])).code, 0, "nothing is left");
}

#[test]
fn a_secret_is_wanted_only_where_nothing_is_published_and_without_it_nothing_is_done() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    leave_unknown(&tool, &lab);
    let ran = tool.run(&resume(&lab, &["--json"]));
    let [outcome] = outcomes(&ran).try_into().unwrap();
    assert_eq!((ran.code, &outcome["outcome"]), (5, &"unknown".into()), "{}", ran.whole());
    assert!(outcome["next_step"].as_str().unwrap().contains("--password-file"), "{outcome}");
}

#[test]
fn one_users_secret_is_not_tried_for_another() {
    let lab = TestLab::start(2, |_| {});
    let tool = Tool::new();
    leave_unknown(&tool, &lab);
    lab.lab.web().faults().answer_lost = 2;
    let bob = &lab.ready.users[1];
    let mut arguments = lab.script(&["--device", "serial:LAB00002", "--password-file", path(&bob.password_file)]);
    for argument in &mut arguments {
        *argument = match *argument {
            "alice@contoso.example" => bob.user.as_str(),
            "CONTOSO\\alice" => &bob.login,
            other => other,
        };
    }
    assert_eq!(tool.run(&arguments).code, 5);
    let before = lab.lab.web().requests().len();
    let ran = tool.run(&[&resume(&lab, &["--all"])[..], &alices_password(&lab)].concat());
    assert_eq!(ran.code, 2, "{}", ran.whole());
    assert_eq!(lab.lab.web().requests().len(), before, "nothing was sent");
}

#[test]
fn a_finished_job_and_one_that_never_was_are_said_to_be_so() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    assert_eq!(tool.run(&lab.script(&alices_password(&lab))).code, 0);
    let finished = tool.run(&resume(&lab, &["1"]));
    assert_eq!(finished.code, 2);
    assert!(finished.stderr.contains("job 1 has come to its end"), "{}", finished.whole());
    assert!(tool.run(&resume(&lab, &["7"])).stderr.contains("there is no job 7"));
    assert_eq!(tool.run(&resume(&lab, &["1", "--lab"])).code, 6);
    for wrong in [["--publish-tries", "0"], ["--publish-tries", "101"], ["--publish-wait", "3601"]] {
        assert_eq!(tool.run(&[&resume(&lab, &["1"])[..], &wrong].concat()).code, 2);
    }
}

#[test]
fn what_is_committed_is_proved_without_a_secret_and_without_the_pool() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    lab.lab.phone().lie(Lies { proves_with_another_key: true, ..Lies::default() });
    assert_eq!(tool.run(&lab.script(&alices_password(&lab))).code, 5);
    lab.lab.phone().lie(Lies::default());
    lab.lab.web().faults().hang_up = Some((Kind::CertProvMetadata, 99));
    let ran = tool.run(&resume(&lab, &[]));
    assert_eq!(ran.code, 0, "{}", ran.whole());
}

#[test]
fn a_job_whose_process_lives_is_left_to_it_and_one_whose_process_died_is_ended() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    lab.lab.web().faults().slow = Some((Kind::Ticket, Duration::from_secs(600)));
    let arguments = [&lab.script(&["--json"])[..], &alices_password(&lab)].concat();
    let mut works = tool.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(works.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("\"plan\"")), "the job was begun");
    let events = || tool.run(&["ledger", "show", "--job", "1", "--json"]).stdout;
    let before = events();
    for more in [&["--json"][..], &["--json", "--all"], &["--json", "1"]] {
        let ran = tool.run(&resume(&lab, more));
        let [outcome] = outcomes(&ran).try_into().unwrap();
        let code = if more.contains(&"--all") { 4 } else { 7 };
        assert_eq!((ran.code, &outcome["exit_code"]), (code, &7.into()), "{}", ran.whole());
        assert_eq!(outcome["outcome"], "unknown", "{outcome}");
    }
    snapshot("resume of a job at work", &tool.run(&resume(&lab, &[])).whole());
    assert_eq!(events(), before, "nothing was written about it");

    works.kill().unwrap();
    works.wait().unwrap();
    let ran = tool.run(&resume(&lab, &["--json"]));
    let [outcome] = outcomes(&ran).try_into().unwrap();
    assert_eq!((ran.code, &outcome["outcome"]), (1, &"not_done".into()), "{}", ran.whole());
    assert!(outcome["message"].as_str().unwrap().contains("cut short before anything was begun"), "{outcome}");
}

/// As if this computer had been called so when it began its jobs.
fn call_the_station(tool: &Tool, lab: &TestLab, name: &str) {
    let path = tool.home.path().join(".local/share/tethercert/ledger.sqlite");
    lab.runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let database = sqlx::SqlitePool::connect_with(options).await.unwrap();
        let triggers: Vec<String> =
            sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'stations'")
                .fetch_all(&database)
                .await
                .unwrap();
        for trigger in triggers {
            let sql = format!("DROP TRIGGER {trigger}");
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&database).await.unwrap();
        }
        sqlx::query("UPDATE stations SET label = $1").bind(name).execute(&database).await.unwrap();
        database.close().await;
        let ledger = Ledger::open_existing(&path, name).await.unwrap();
        assert_eq!(ledger.unfinished().await.unwrap().len(), 1);
        ledger.close().await;
    });
}

#[test]
fn the_jobs_of_a_computer_that_got_a_new_name_are_named_and_go_on_where_that_is_said() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    leave_unknown(&tool, &lab);
    call_the_station(&tool, &lab, "bench-old");
    for more in [&["--json"][..], &["--json", "--all"]] {
        let ran = tool.run(&resume(&lab, more));
        assert_eq!((ran.code, &ran.last()["exit_code"]), (8, &8.into()), "{}", ran.whole());
        assert_eq!((&ran.lines()[0]["station"], &ran.lines()[0]["job"]), (&"bench-old".into(), &1.into()));
        assert!(ran.last()["next_step"].as_str().unwrap().contains("tethercert resume --station 'bench-old'"));
    }
    let by_number = tool.run(&resume(&lab, &["1"]));
    assert_eq!(by_number.code, 2, "{}", by_number.whole());
    assert!(by_number.stderr.contains("tethercert resume 1 --station"), "{}", by_number.whole());
    let nobody = tool.run(&resume(&lab, &["--station", "bench-odl"]));
    assert_eq!(nobody.code, 2);
    assert!(nobody.stderr.contains("bench-old"), "{}", nobody.whole());

    let [option, file] = alices_password(&lab);
    let ran = tool.run(&resume(&lab, &["1", "--station", "bench-old", option, file]));
    assert_eq!(ran.code, 0, "{}", ran.whole());
    assert!(ran.stderr.contains("these are the jobs of station bench-old"), "{}", ran.whole());
    let jobs = tool.run(&["ledger", "show", "--json"]).lines();
    assert_eq!((jobs.len(), &jobs[0]["outcome"]), (1, &"done".into()), "it went on under its own number");
    let left = tool.run(&resume(&lab, &[]));
    assert_eq!(left.code, 0, "{}", left.whole());
    assert_eq!(tool.run(&["ledger", "verify"]).code, 0);
}
