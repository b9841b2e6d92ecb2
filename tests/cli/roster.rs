//! Many phones by a roster: each its own user's certificate, whatever happens beside it.

use super::{Ran, TestLab, Tool, contains, path, signal, snapshot};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use tethercert::credential::Fingerprint;
use tethercert::lab::phone::{Lies, VirtualPhone};
use tethercert::lab::usbip::{Cut, Side};
use tethercert::lab::web_services::{Kind, User};

/// A roster file with these lines.
fn written(tool: &Tool, lines: &str) -> PathBuf {
    let file = tool.home.path().join("roster.csv");
    std::fs::write(&file, lines).unwrap();
    file
}

/// A roster that gives the lab's phones its users, by MAC address.
fn by_mac(lab: &TestLab) -> String {
    let rows = lab.lab.phones().iter().zip(lab.lab.web().users()).zip(1..);
    let rows = rows.map(|(((_, phone), user), n)| format!("{};{};Desk {n}\r\n", mac(phone), user.sip));
    // As Excel in a country of commas exports it.
    format!("\u{feff}mac;user;label\r\n{}", rows.collect::<String>())
}

fn mac(phone: &VirtualPhone) -> String {
    phone.material().mac.map(|byte| format!("{byte:02X}")).join("-")
}

/// `provision --roster` as a script calls it.
fn many<'a>(lab: &'a TestLab, roster: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let ready = &lab.ready;
    let mut arguments = vec!["provision", "--roster", path(roster), "--secrets", path(&ready.secrets)];
    arguments.extend(["--usbip", &ready.usbip, "--drivers", path(&ready.drivers)]);
    arguments.extend(["--certprov-url", &ready.certprov_url, "--trust-anchor", path(&ready.trust_anchor)]);
    arguments.extend(more);
    arguments
}

fn summary(ran: &Ran) -> Vec<Value> {
    let last = ran.last();
    assert_eq!((&last["type"], &last["exit_code"]), (&"summary".into(), &ran.code.into()), "{}", ran.whole());
    last["rows"].as_array().unwrap().clone()
}

/// Whether this phone holds this user's certificate, the one that the store has for both.
fn holds(lab: &TestLab, phone: &VirtualPhone, user: &User) -> bool {
    let published = lab.lab.web().store().get(&user.sip, phone.material().device);
    let held = phone.memory().identity;
    let of_user = held.is_some_and(|held| held.user == user.sip.as_str());
    of_user && phone.installed().is_some() && phone.installed() == published.map(|it| Fingerprint::of(&it.certificate))
}

fn phone(lab: &TestLab, number: usize) -> VirtualPhone {
    lab.lab.phones()[number - 1].1.clone()
}

/// A station that goes on, and what it says line by line.
struct Watching {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    said: Vec<Value>,
}

impl Watching {
    fn start(tool: &Tool, arguments: &[&str]) -> Self {
        let mut child = tool.command(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, said: Vec::new() }
    }

    /// Reads on to the first line that this is true of.
    fn until(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.next().unwrap_or_else(|| panic!("it ended: {:#?}", self.said)).unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            self.said.push(line.clone());
            if is(&line) {
                return line;
            }
        }
    }

    fn end(mut self) -> (i32, Value) {
        let summary = self.until(|line| line["type"] == "summary");
        (self.child.wait().unwrap().code().unwrap(), summary)
    }
}

fn is_outcome(line: &Value) -> bool {
    line["type"] == "outcome"
}

#[test]
fn thirty_two_phones_at_once_get_their_own_users_certificates_and_an_ill_one_fails_alone() {
    let lab = TestLab::start(32, |_| {});
    let tool = Tool::new();
    let roster = written(&tool, &by_mac(&lab));
    let ill = phone(&lab, 17);
    ill.lie(Lies { garbles_answers: true, ..Lies::default() });

    let ran = tool.run(&many(&lab, &roster, &["--at-once", "32", "--json"]));
    assert_eq!(ran.code, 4, "{}", ran.whole());
    let rows = summary(&ran);
    assert_eq!(rows.len(), 32);
    for (((_, phone), user), row) in lab.lab.phones().iter().zip(lab.lab.web().users()).zip(&rows) {
        let is_ill = phone.material().serial == ill.material().serial;
        assert_eq!(holds(&lab, phone, user), !is_ill, "{row}");
        assert_eq!(row["outcome"] == "done", !is_ill, "{row}");
        assert_eq!((&row["user"], row["message"].is_string()), (&user.sip.as_str().into(), true));
    }
    assert_eq!(lab.lab.web().store().list().len(), 31, "a certificate for each, and none twice");
    let looked = lab.lab.web().counters().requests.get(&Kind::CertProvMetadata).copied();
    assert_eq!(looked, Some(1), "what one enrolment learns of the pool serves all");
    assert!(ran.lines().iter().filter(|line| line["type"] == "event").all(|line| line["port"].is_string()));

    // Once more, with the ill phone mended: the others are only asked who they are.
    ill.lie(Lies::default());
    let transfers = |bus_id: &str| lab.lab.exporter().transfers(bus_id);
    let written_before: Vec<u64> = lab.lab.phones().iter().map(|(_, phone)| phone.flash_steps()).collect();
    let ran = tool.run(&many(&lab, &roster, &["--json"]));
    assert_eq!(ran.code, 0, "{}", ran.whole());
    assert!(holds(&lab, &ill, &lab.lab.web().users()[16]));
    let before = summary(&ran).iter().filter(|row| row["outcome"] == "done_before").count();
    assert_eq!((before, lab.lab.web().store().list().len()), (31, 32));
    for ((bus_id, phone), before) in lab.lab.phones().iter().zip(written_before) {
        let is_ill = phone.material().serial == ill.material().serial;
        assert!(phone.flash_steps() == before || is_ill, "{bus_id} was written after {} transfers", transfers(bus_id));
    }
    for user in lab.lab.web().users() {
        for secret in [user.password.expose_secret(), user.pin.expose_secret()] {
            assert!(!contains(&tool.files(), secret) || secret.len() < 8, "in the ledger");
            assert!(!ran.whole().contains(secret) || secret.len() < 8, "on the screen");
        }
    }
    let jobs = tool.run(&["ledger", "show", "--job", "1"]).stdout;
    assert!(jobs.contains("file roster.csv") && jobs.contains("label Desk"), "{jobs}");
}

#[test]
fn what_is_wrong_with_a_roster_is_said_whole_before_anything_is_touched() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    let lines = "mac,serial,port,user,Kennwort\n\
        00:04:f2:aa:bb:01,,,alice@contoso.example,hunter2\n\
        00:04:f2:aa:bb:01,,,bob@contoso.example,\n\
        ,,,carol,\n\
        ,4711,1_4,alice@contoso.example,\n";
    let roster = written(&tool, lines);
    let ran = tool.run(&many(&lab, &roster, &[]));
    snapshot("roster with errors", &ran.whole());
    assert!(ran.code == 2 && !ran.whole().contains("hunter2"));
    let json = tool.run(&many(&lab, &roster, &["--lint", "--json"]));
    assert_eq!((json.code, &json.last()["type"]), (2, &"outcome".into()));
    let findings: Vec<Value> = json.lines().into_iter().filter(|line| line["type"] == "finding").collect();
    assert_eq!(
        (&findings[0]["line"], &findings[0]["column"], &findings[0]["name"]),
        (&1.into(), &5.into(), &"Kennwort".into())
    );
    assert_eq!(lab.lab.exporter().transfers("1-1"), 0);
    assert!(lab.lab.web().requests().is_empty());

    let good = written(&tool, "port,user\n1-1,alice@contoso.example\n1-2,alice@contoso.example\n");
    let ran = tool.run(&many(&lab, &good, &["--lint"]));
    snapshot("roster with a warning", &ran.whole());
    assert_eq!((ran.code, lab.lab.exporter().transfers("1-1")), (0, 0));
    for wrong in [&["--user", "alice@contoso.example"][..], &["--device", "port:1-1"], &["--at-once", "0"]] {
        assert_eq!(tool.run(&many(&lab, &good, wrong)).code, 2, "{wrong:?}");
    }
}

#[test]
fn a_missing_or_open_secret_and_a_user_without_a_pool_are_found_before_a_phone_is_asked() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    let roster = written(&tool, "port,user\n1-1,alice@contoso.example\n1-2,nobody@contoso.example\n");
    let ran = tool.run(&many(&lab, &roster, &["--json"]));
    assert_eq!(ran.code, 2, "{}", ran.whole());
    assert!(ran.stdout.contains("nobody@contoso.example.password is missing"), "{}", ran.whole());
    let without: Vec<&str> = many(&lab, &roster, &["--json"]);
    let without: Vec<&str> =
        without.iter().copied().filter(|it| *it != "--secrets" && *it != path(&lab.ready.secrets)).collect();
    let ran = tool.run(&without);
    assert_eq!(ran.code, 8, "{}", ran.whole());
    assert!(ran.stdout.contains("the secrets of 2 users are needed"), "{}", ran.whole());
    let ran = tool.run(&["provision", "--lab", "--roster", path(&roster), "--json"]);
    assert_eq!(ran.code, 2, "{}", ran.whole());
    assert!(ran.stdout.contains("the lab does not know nobody@contoso.example"), "{}", ran.whole());

    let pool = ["setup", "pool", "contoso", "--offline", "--sip-domain", "contoso.example"];
    let address = ["--certprov-url", "https://web.contoso.example/x"];
    assert_eq!(tool.run(&[&pool[..], &address].concat()).code, 0);
    let roster = written(&tool, "port,user\n1-1,alice@contoso.example\n1-2,eve@fabrikam.example\n");
    let ran = tool.run(&["provision", "--roster", path(&roster), "--lint"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stdout.contains("line 3, column user") && ran.stdout.contains("fabrikam.example"), "{}", ran.whole());
    assert_eq!(lab.lab.exporter().transfers("1-1"), 0);
}

#[test]
fn twins_and_contradictions_are_refused_and_nobody_else_is_held_up() {
    let lab = TestLab::start(4, |material| {
        if material.serial == "LAB00002" {
            material.serial = "LAB00001".into();
            material.factory = None;
        }
    });
    let tool = Tool::new();
    let lines = "serial,port,user,label\n\
        LAB00001,,alice@contoso.example,twins\n\
        LAB00003,,bob@contoso.example,plain\n\
        LAB00004,1-3,carol@contoso.example,elsewhere\n";
    let roster = written(&tool, lines);
    let ran = tool.run(&many(&lab, &roster, &[]));
    assert_eq!(ran.code, 4, "{}", ran.whole());
    snapshot("roster with twins", &table(&ran));
    for said in
        ["1-1     line 2 (twins) for alice@contoso.example fits 2 phones", "1-4     its serial number fits line 4"]
    {
        assert!(ran.stdout.contains(said), "{}", ran.whole());
    }
    let users = lab.lab.web().users();
    assert!(holds(&lab, &phone(&lab, 3), &users[1]));
    for number in [1, 2, 4] {
        assert!(phone(&lab, number).installed().is_none(), "phone {number}");
    }

    // Told apart by the port; the one without a factory key is done and marked, or refused where that was said.
    let lines = "serial,port,user\nLAB00001,1-1,alice@contoso.example\nLAB00001,1-2,dave@contoso.example\n";
    let roster = written(&tool, lines);
    let ran = tool.run(&many(&lab, &roster, &["--json", "--require-authentic"]));
    let rows = summary(&ran);
    assert_eq!((ran.code, &rows[1]["exit_code"]), (4, &6.into()), "{}", ran.whole());
    let ran = tool.run(&many(&lab, &roster, &["--json"]));
    let rows = summary(&ran);
    assert_eq!((ran.code, &rows[0]["outcome"], &rows[1]["vouched"]), (0, &"done_before".into(), &false.into()));
    assert!(holds(&lab, &phone(&lab, 1), &users[0]) && holds(&lab, &phone(&lab, 2), &users[3]));
}

/// The table at the end: what was said before hangs on who was first.
fn table(ran: &Ran) -> String {
    let whole = ran.whole();
    let begins = whole.find("LINE  LABEL").unwrap_or_else(|| panic!("{whole}"));
    whole[begins..].to_owned()
}

#[test]
fn phones_follow_each_other_at_one_port_without_a_keyboard_and_no_row_is_given_twice() {
    let mut lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    let users: Vec<User> = lab.lab.web().users().to_vec();
    let roster = written(&tool, &format!("serial,user\nLAB00001,{}\nLAB00002,{}\n", users[0].sip, users[1].sip));
    let first = phone(&lab, 1);
    // Its power goes while it writes the new identity, and a phone without power is not on its bus.
    first.lie(Lies { loses_power_at_commit: true, ..Lies::default() });
    let arguments = many(&lab, &roster, &["--watch", "--json"]).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut station = Watching::start(&tool, &arguments);
    lab.runtime.block_on(first.power_lost());
    lab.lab.exporter().pull("1-1");
    let cut = station.until(is_outcome);
    assert_eq!((&cut["outcome"], &cut["exit_code"]), (&"unknown".into(), &5.into()), "{cut}");
    first.power_on();
    lab.lab.exporter().replug("1-1");
    let done = station.until(is_outcome);
    assert_eq!((&done["outcome"], &done["port"], &done["line"]), (&"done".into(), &"1-1".into(), &2.into()), "{done}");
    assert!(holds(&lab, &first, &users[0]));

    // Plugged in anew, it has what it is to have; another that says it is the first gets nothing.
    lab.lab.exporter().replug("1-1");
    station.until(|line| line["type"] == "has" && line["line"] == 2);
    let mut twin = lab.lab.material(9);
    twin.serial = "LAB00001".into();
    let twin = lab.lab.replace("1-1", twin);
    let refused = station.until(|line| line["type"] == "refused");
    assert!(refused["message"].as_str().unwrap().contains("belongs to another phone"), "{refused}");
    let second = lab.lab.material(2);
    let second = lab.lab.replace("1-1", second);
    station.until(|line| line["type"] == "given" && line["line"] == 3);
    let (code, summary) = station.end();
    assert_eq!((code, &summary["done"]), (0, &2.into()), "{summary}");
    assert!(holds(&lab, &second, &users[1]) && twin.installed().is_none());
    assert_eq!(lab.lab.web().store().list().len(), 2);
    let left = tool.run(&["resume", "--json"]);
    assert_eq!((left.code, left.stdout.as_str()), (0, ""), "the job that was cut has its end: {}", left.whole());
}

#[test]
fn a_row_stays_its_phones_when_that_phones_next_job_comes_to_nothing() {
    for is_done in [false, true] {
        let mut lab = TestLab::start(1, |_| {});
        let tool = Tool::new();
        let roster = written(&tool, "serial,user\nLAB00001,alice@contoso.example\n");
        let first = phone(&lab, 1);
        first.lie(Lies { refuses: (!is_done).then_some("prove"), ..Lies::default() });
        let ran = tool.run(&many(&lab, &roster, &["--json"]));
        assert_eq!(ran.code, if is_done { 0 } else { 5 }, "{}", ran.whole());
        first.lie(Lies::default());

        // In the session of its next job, before the job has looked at what was begun. The count is that since the plugging in,
        // and the station's own meeting has the first ten.
        lab.lab.exporter().replug("1-1");
        lab.lab.exporter().cut("1-1", Cut { transfer: 12, side: Side::Before });
        let arguments = many(&lab, &roster, &["--watch", "--renew", "--json"]);
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut station = Watching::start(&tool, &arguments);
        let outcome = station.until(is_outcome);
        assert_eq!((&outcome["outcome"], &outcome["job"]), (&"not_done".into(), &2.into()), "{outcome}");
        let mut twin = lab.lab.material(2);
        (twin.serial, twin.factory) = ("LAB00001".into(), None);
        let twin = lab.lab.replace("1-1", twin);
        let answer = station.until(|line| line["type"] == "refused" || line["type"] == "given");
        assert_eq!(answer["type"], "refused", "{answer}");
        assert!(answer["next_step"].as_str().unwrap().contains("by its MAC address"), "{answer}");
        signal(&station.child, "INT");
        let (code, summary) = station.end();
        let row = &summary["rows"][0];
        let expected = if is_done { (7, "not_done") } else { (5, "unknown") };
        assert_eq!((code, row["outcome"].as_str().unwrap()), expected, "{summary}");
        let says_so = row["message"].as_str().unwrap().contains("job 1 may have published for this phone");
        assert_eq!(says_so, !is_done, "{row}");
        assert!(twin.installed().is_none());

        // The way out, where the first is gone for good: nobody else can mean it.
        let named = written(&tool, &format!("mac,serial,user\n{},LAB00001,alice@contoso.example\n", mac(&twin)));
        let ran = tool.run(&many(&lab, &named, &["--json"]));
        assert_eq!(ran.code, 0, "{}", ran.whole());
        assert!(holds(&lab, &twin, &lab.lab.web().users()[0]));
    }
}

#[test]
fn a_station_that_was_killed_goes_on_where_it_was() {
    let lab = TestLab::start(4, |_| {});
    let tool = Tool::new();
    let roster = written(&tool, &by_mac(&lab));
    let arguments = many(&lab, &roster, &["--at-once", "1", "--json"]);
    let mut station = Watching::start(&tool, &arguments);
    station.until(is_outcome);
    station.until(|line| line["event"] == "step_done" && line["step"] == "publish");
    station.child.kill().unwrap();
    station.child.wait().unwrap();

    let ran = tool.run(&many(&lab, &roster, &["--json"]));
    assert_eq!(ran.code, 0, "{}", ran.whole());
    for ((_, phone), user) in lab.lab.phones().iter().zip(lab.lab.web().users()) {
        assert!(holds(&lab, phone, user), "{}", user.sip);
    }
    assert_eq!(lab.lab.web().counters().certificates, 4, "none was published twice");
    assert!(summary(&ran).iter().any(|row| row["outcome"] == "done_before"));
    assert_eq!(tool.run(&["resume", "--json"]).code, 0);
    assert_eq!(tool.run(&["ledger", "verify"]).code, 0);
}

#[test]
fn a_refused_credential_is_sent_once_though_its_user_has_two_phones() {
    let lab = TestLab::start(3, |_| {});
    let tool = Tool::new();
    let rows = ["alice", "alice", "bob"].iter().zip(lab.lab.phones());
    let rows: String = rows.map(|(user, (_, phone))| format!("{},{user}@contoso.example\n", mac(phone))).collect();
    let roster = written(&tool, &format!("mac,user\n{rows}"));
    let alices = lab.ready.secrets.join("alice@contoso.example.password");
    std::fs::write(&alices, "wr0ng-Secret").unwrap();
    let ran = tool.run(&many(&lab, &roster, &["--json"]));
    let codes: Vec<Value> = summary(&ran).iter().map(|row| row["exit_code"].clone()).collect();
    assert_eq!((ran.code, codes), (4, vec![8.into(), 8.into(), 0.into()]), "{}", ran.whole());
    let proofs = lab.lab.web().requests().into_iter().filter(|request| {
        request.credential == Some(tethercert::lab::web_services::Credential::Ntlm)
            && request.user.as_ref().is_some_and(|user| user.as_str() == "alice@contoso.example")
    });
    assert_eq!(proofs.count(), 1);
}

#[test]
fn all_that_fail_alike_share_their_exit_code() {
    let lab = TestLab::start(2, |_| {});
    let tool = Tool::new();
    let roster = written(&tool, &by_mac(&lab));
    lab.lab.web().faults().store_unavailable = 99;
    let tries = ["--json", "--publish-tries", "1"];
    let ran = tool.run(&many(&lab, &roster, &tries));
    assert_eq!(ran.code, 7, "{}", ran.whole());
    let nobody = written(&tool, "serial,user\nLAB00007,alice@contoso.example\n");
    let ran = tool.run(&many(&lab, &nobody, &["--json"]));
    assert_eq!((ran.code, &summary(&ran)[0]["outcome"]), (3, &"no_phone".into()), "{}", ran.whole());
    let roster = written(&tool, &by_mac(&lab));
    let planned = tool.run(&many(&lab, &roster, &["--json", "--dry-run"]));
    assert_eq!((planned.code, &summary(&planned)[0]["outcome"]), (0, &"planned".into()), "{}", planned.whole());
}
