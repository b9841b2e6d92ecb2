//! What the program says and promises, as the binary in a clean environment.

mod discovery;
mod faults;
mod lab;
mod pool_tests;
mod pools;
mod resume;
mod roster;
mod setup;
mod sign_in;
mod tool;
mod trust;
mod usb;

use faults::plain;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tethercert::lab::phone::PhoneMaterial;
use tethercert::lab::{Lab, LabOptions, Ready};
use tool::{Ran, Tool};

impl Tool {
    /// Every byte of every file that the runs have left.
    fn files(&self) -> Vec<u8> {
        fn collect(folder: &Path, bytes: &mut Vec<u8>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { collect(&path, bytes) } else { bytes.extend(std::fs::read(path).unwrap()) }
            }
        }
        let mut bytes = Vec::new();
        collect(self.home.path(), &mut bytes);
        bytes
    }
}

/// What differs from run to run, replaced by something as long where lines are aligned.
fn stable() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    for (pattern, instead) in [
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT."),
        (r"localhost:\d+", "localhost:PORT"),
        (r"sip\.contoso\.example:\d{5}", "sip.contoso.example:PORT."),
        (r"( +)(\d+ ms|\d+\.\d s)", "  [time]"),
        (r#"("(took_ms|after_ms|bytes_\w+|transfers)":)\d+"#, "${1}0"),
        (r"20\d\d-\d\d-\d\dT[0-9:.]+Z", "[rfc3339]"),
        (r"20\d\d-\d\d-\d\d", "yyyy-mm-dd"),
        (r"\d\d:\d\d:\d\d UTC", "hh:mm:ss UTC"),
        (r"\d\d:\d\d UTC", "hh:mm UTC"),
        (r"\d+ years", "NN years"),
        (r"[0-9A-F]{4}…[0-9A-F]{2}", "FFFF…FF"),
        (r"\b[0-9a-f]{64}\b", "[sha256]"),
        (r"\b[0-9A-F]{40}\b", "[sha1]"),
        (r"/[^ ]*/\.tmp\w+", "[tmp]"),
    ] {
        settings.add_filter(pattern, instead);
    }
    settings.set_omit_expression(true);
    settings
}

fn snapshot(name: &str, text: &str) {
    stable().bind(|| insta::assert_snapshot!(name, text));
}

/// A lab in this process: its phones come from a supply of keys, so it starts at once.
struct TestLab {
    lab: Lab,
    ready: Ready,
    runtime: tokio::runtime::Runtime,
}

impl TestLab {
    fn start(phones: u8, change: impl Fn(&mut PhoneMaterial)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let options = LabOptions { phones: 0, users: phones, fresh_keys: false, ..LabOptions::default() };
        let mut lab = runtime.block_on(Lab::start(&options)).unwrap();
        let inside = runtime.enter();
        for number in 1..=phones {
            let mut material = lab.material(number);
            change(&mut material);
            lab.plug(material);
        }
        drop(inside);
        Self { ready: lab.ready(), lab, runtime }
    }

    /// `provision` as a script calls it, for alice and the first phone.
    fn script<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        script(&self.ready, more)
    }
}

fn script<'a>(ready: &'a Ready, more: &[&'a str]) -> Vec<&'a str> {
    let alice = &ready.users[0];
    let mut arguments = vec!["provision", "--usbip", &ready.usbip, "--user", alice.user.as_str()];
    arguments.extend(["--login", &alice.login, "--certprov-url", &ready.certprov_url, "--yes"]);
    arguments.extend(["--trust-anchor", path(&ready.trust_anchor), "--drivers", path(&ready.drivers)]);
    arguments.extend(more);
    arguments
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn signal(child: &Child, name: &str) {
    let killed = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", child.id())).status().unwrap();
    assert!(killed.success());
}

fn contains(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[test]
fn every_help_page_is_as_it_was_read_over() {
    let tool = Tool::new();
    let pages: [&[&str]; 26] = [
        &["--help"],
        &["list", "--help"],
        &["info", "--help"],
        &["identify", "--help"],
        &["provision", "--help"],
        &["provision", "-h"],
        &["resume", "--help"],
        &["verify", "--help"],
        &["test", "--help"],
        &["test", "bootstrap", "--help"],
        &["test", "client-auth", "--help"],
        &["setup", "--help"],
        &["setup", "pool", "--help"],
        &["setup", "udev", "--help"],
        &["setup", "driver", "--help"],
        &["pool", "--help"],
        &["pool", "show", "--help"],
        &["pool", "capture", "--help"],
        &["ledger", "--help"],
        &["ledger", "show", "--help"],
        &["ledger", "verify", "--help"],
        &["lab", "--help"],
        &["record", "--help"],
        &["replay", "--help"],
        &["discovery", "--help"],
        &["discovery", "encode", "--help"],
    ];
    for page in pages {
        let ran = tool.run(page);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        snapshot(&format!("help {}", page.join(" ")), &ran.stdout);
    }
}

#[test]
fn the_program_alone_says_what_is_there_and_what_is_next() {
    let lab = TestLab::start(1, |_| {});
    let tool =
        Tool::new().with("TETHERCERT_USBIP", &lab.ready.usbip).with("TETHERCERT_DRIVERS", path(&lab.ready.drivers));
    snapshot("bare", &tool.run(&[]).whole());

    let nobody = TestLab::start(0, |_| {});
    let tool = Tool::new().with("TETHERCERT_USBIP", &nobody.ready.usbip);
    snapshot("bare without phones", &tool.run(&[]).whole());
    let list = tool.run(&["list"]);
    assert_eq!(list.code, 0);
    assert!(list.stdout.contains("none is connected"), "{}", list.stdout);
    // Commands that need a phone say so by their exit code.
    let info = tool.run(&["info", "--json"]);
    assert_eq!((info.code, &info.last()["type"]), (3, &Value::from("error")));
}

#[test]
fn a_wrong_command_line_ends_with_an_outcome_too() {
    let tool = Tool::new();
    let no_pool = tool.run(&["provision", "--user", "alice@contoso.example"]);
    snapshot("no pool", &no_pool.whole());
    let lab = TestLab::start(0, |_| {});
    let no_file = tool.run(&lab.script(&["--password-file", "/nowhere/password", "--json"]));
    assert_eq!((no_file.code, &no_file.last()["outcome"]), (2, &Value::from("not_done")));
    assert_eq!(no_file.lines()[0]["type"], "error");
    let no_phone = tool.run(&lab.script(&["--json"]));
    assert_eq!((no_phone.code, &no_phone.last()["exit_code"]), (3, &Value::from(3)));
}

#[test]
fn a_model_that_nobody_can_talk_to_is_described_and_refused() {
    let lab = TestLab::start(1, |material| material.usb_id = (0x1209, 0x0600));
    let drivers = TempDir::new().unwrap();
    let definition = "name = \"acme-classic\"\nmaker = \"Acme\"\nmodel = \"Classic\"\nprotocol = \"undocumented\"\n\
        what_can_be_done = \"What this phone says over its USB port is not public. Plug it into Ethernet and sign in \
        with number and PIN on its keys.\"\n\
        [[usb]]\nvendor = 0x1209\nproduct = 0x0600\n\
        [[fact]]\nsays = \"signs in with number and PIN\"\nsource = \"the maker's manual\"\nconfidence = \"confirmed\"\n";
    std::fs::write(drivers.path().join("acme-classic.toml"), definition).unwrap();
    let tool = Tool::new().with("TETHERCERT_DRIVERS", path(drivers.path())).with("TETHERCERT_USBIP", &lab.ready.usbip);

    snapshot("list of an undocumented model", &tool.run(&["list"]).whole());
    snapshot("info of an undocumented model", &tool.run(&["info"]).whole());
    let info = tool.run(&["info", "--json"]);
    assert_eq!((info.code, &info.last()["what_can_be_done"].is_string()), (6, &true));
    assert_eq!(tool.run(&["verify", "--json"]).code, 6);
}

#[test]
fn two_phones_are_never_guessed_between() {
    let lab = TestLab::start(2, |_| {});
    let tool = Tool::new();
    let ran = tool.run(&lab.script(&["--password-file", "/dev/null"]));
    assert_eq!(ran.code, 2, "an empty secret is a mistake of the command line");
    let info = ["info", "--usbip", &lab.ready.usbip, "--drivers", path(&lab.ready.drivers)];
    snapshot("two phones", &tool.run(&info).whole());
    for (selector, serial) in [("serial:LAB00002", "LAB00002"), ("mac:00:04:f2:aa:bb:01", "LAB00001")] {
        let ran = tool.run(&[&info[..], &["--json", "--device", selector]].concat());
        assert_eq!(ran.last()["identity"]["serial"], serial, "{}", ran.whole());
    }
}

#[test]
fn without_a_person_and_without_yes_nothing_is_done() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    let arguments: Vec<&str> = lab.script(&[]).into_iter().filter(|argument| *argument != "--yes").collect();
    snapshot("nobody to ask", &tool.run(&arguments).whole());
    let no_password = tool.run(&lab.script(&["--json"]));
    assert_eq!((no_password.code, &no_password.last()["job"]), (8, &Value::from(2)));
    assert!(lab.lab.phone().installed().is_none());
}

#[test]
fn a_wrong_password_is_told_as_such_and_is_in_the_ledger() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    let wrong = tool.home.path().join("wrong");
    std::fs::write(&wrong, "wr0ng-Secret\n").unwrap();
    snapshot("wrong password", &tool.run(&lab.script(&["--password-file", path(&wrong)])).whole());
    std::fs::remove_file(&wrong).unwrap();
    assert!(!contains(&tool.files(), "wr0ng-Secret"));
    let job = tool.run(&["ledger", "show", "--json"]).last();
    assert_eq!((&job["exit_code"], &job["outcome"], &job["lab"]), (&8.into(), &"not_done".into(), &true.into()));
    assert!(job["next_step"].is_string());
}

#[test]
fn scripts_provision_twice_verify_and_read_the_ledger_and_no_secret_is_anywhere() {
    let tool = Tool::new();
    let mut lab = tool.command(&["lab", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(lab.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&ready["schema"], &ready["type"], &ready["lab"]), (&1.into(), &"ready".into(), &true.into()));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let alice = &ready["users"][0];
    let (password_file, pin_file) = (text(&alice["password_file"]), text(&alice["pin_file"]));
    let (usbip, drivers) = (text(&ready["usbip"]), text(&ready["drivers"]));
    let (url, anchor) = (text(&ready["certprov_url"]), text(&ready["trust_anchor"]));
    let (user, login, number) = (text(&alice["user"]), text(&alice["login"]), text(&alice["phone_number"]));
    let wires = ["--usbip", &usbip, "--drivers", &drivers, "--certprov-url", &url, "--trust-anchor", &anchor, "--json"];
    let provision = [&["provision", "--yes", "--user", &user, "--login", &login][..], &wires].concat();

    let ntlm = [&provision[..], &["--auth", "ntlm", "--password-file", &password_file]].concat();
    let mut traced = tool.command(&ntlm);
    traced.env("TETHERCERT_LOG", "trace").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = traced.spawn().unwrap();
    let command_line = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
    let (mut log, mut stdout) = (String::new(), String::new());
    std::thread::scope(|scope| {
        scope.spawn(|| child.stderr.take().unwrap().read_to_string(&mut log).unwrap());
        child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    });
    let first = Ran { stdout, stderr: String::new(), code: child.wait().unwrap().code().unwrap() };
    assert_eq!((first.code, &first.last()["outcome"]), (0, &"done".into()), "{}", first.whole());
    assert_eq!(first.last()["installed"]["anchors"].as_array().unwrap().len(), 1);

    let again = tool.run(&ntlm);
    assert_eq!((again.code, &again.last()["unchanged"]), (0, &true.into()), "{}", again.whole());
    assert_eq!(again.last()["certificate_sha256"], first.last()["certificate_sha256"]);

    let pin = [&provision[..], &["--renew", "--auth", "pin", "--phone-number", &number, "--pin-file", &pin_file]];
    let renewed = tool.run(&pin.concat());
    assert_eq!((renewed.code, &renewed.last()["unchanged"]), (0, &false.into()), "{}", renewed.whole());
    assert_ne!(renewed.last()["certificate_sha256"], first.last()["certificate_sha256"]);

    let verify = tool.run(&[&["verify"][..], &wires].concat());
    assert_eq!((verify.code, &verify.last()["outcome"]), (0, &"good".into()), "{}", verify.whole());
    let ledger = tool.run(&["ledger", "show", "--json"]);
    let ends: Vec<_> = ledger.lines().iter().map(|job| (job["outcome"].clone(), job["exit_code"].clone())).collect();
    assert_eq!(ends, vec![("done".into(), 0.into()); 3]);
    let job = tool.run(&["ledger", "show", "--job", "1", "--json"]);
    assert_eq!(job.last()["kind"], "job_ended");
    assert!(job.lines().iter().all(|record| record["lab"] == true), "{}", job.whole());
    let readable = tool.run(&["ledger", "show"]);
    let whole = tool.run(&["ledger", "verify"]);
    assert_eq!(whole.code, 0);

    let said = [&first, &again, &renewed, &verify, &ledger, &job, &readable, &whole].map(Ran::whole).concat();
    for file in [password_file, pin_file] {
        let secret = std::fs::read_to_string(file).unwrap();
        assert!(!said.contains(&secret) && !log.contains(&secret) && !line.contains(&secret));
        assert!(!contains(&command_line, &secret) && !contains(&tool.files(), &secret));
    }
    assert!(log.contains("TRACE"), "the log was on");
    let ntlm_messages = log.lines().find(|line| line.contains("TRACE") && line.contains("sspi"));
    assert_eq!(ntlm_messages, None);
    signal(&lab, "TERM");
    assert_eq!(lab.wait().unwrap().code(), Some(0));
    assert!(!PathBuf::from(anchor).exists(), "the lab takes its files with it");
}

#[test]
fn a_reader_that_goes_away_changes_nothing_of_the_outcome() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    let arguments = lab.script(&["--password-file", path(&lab.ready.users[0].password_file)]);
    for more in [&[][..], &["--json", "--renew"]] {
        let mut command = tool.command(&[&arguments[..], more].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let jobs = tool.run(&["ledger", "show", "--json"]).lines();
    assert!(jobs.len() == 2 && jobs.iter().all(|job| job["outcome"] == "done"), "{jobs:?}");
    assert!(lab.lab.phone().installed().is_some());
}

#[test]
fn a_signal_before_publish_stops_the_job_and_the_ledger_says_so() {
    let lab = TestLab::start(1, |material| material.key_delay = Duration::from_secs(600));
    let tool = Tool::new();
    for name in ["TERM", "INT", "HUP"] {
        let arguments = lab.script(&["--json", "--password-file", path(&lab.ready.users[0].password_file)]);
        let mut child = tool.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let makes_key = |line: &String| line.contains("step_began") && line.contains("request");
        assert!(lines.by_ref().any(|line| makes_key(&line)));
        signal(&child, name);
        let outcome: Value = serde_json::from_str(&lines.last().unwrap()).unwrap();
        assert_eq!((&outcome["outcome"], &outcome["exit_code"]), (&"not_done".into(), &7.into()), "{outcome}");
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }
    let jobs = tool.run(&["ledger", "show", "--json"]).lines();
    assert!(jobs.len() == 3 && jobs.iter().all(|job| job["exit_code"] == 7 && job["outcome"] == "not_done"));
    assert!(lab.lab.web().store().list().is_empty() && lab.lab.phone().installed().is_none());
}

#[test]
fn a_dry_run_is_in_the_ledger_and_changes_nothing() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    let ran = tool.run(&lab.script(&["--dry-run", "--json"]));
    assert_eq!((ran.code, &ran.last()["outcome"]), (0, &"planned".into()));
    let job = tool.run(&["ledger", "show", "--json"]).last();
    assert_eq!((&job["dry_run"], &job["exit_code"]), (&true.into(), &0.into()));
    assert_eq!(lab.lab.phone().flash_steps(), 0);
}

#[test]
fn a_lost_answer_is_called_unknown_and_the_same_command_finds_out() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    lab.lab.web().faults().answer_lost = 2;
    let arguments = lab.script(&["--password-file", path(&lab.ready.users[0].password_file)]);
    let unknown = tool.run(&arguments);
    snapshot("unknown", &unknown.whole());
    assert_eq!(unknown.code, 5);
    let again = tool.run(&arguments);
    assert_eq!(again.code, 0, "{}", again.whole());
    snapshot("unknown and again", &again.whole());
    let jobs = tool.run(&["ledger", "show", "--json"]).lines();
    let ends: Vec<_> = jobs.iter().map(|job| (job["outcome"].clone(), job["exit_code"].clone())).collect();
    assert_eq!(ends, [("unknown".into(), 5.into()), ("done".into(), 0.into())]);
    snapshot("ledger show", &tool.run(&["ledger", "show"]).whole());
    let events = tool.run(&["ledger", "show", "--job", "2"]).stdout;
    assert!(["publish intended", "published", "committed", "proved", "job ended"].iter().all(|it| events.contains(it)));
    assert_eq!(tool.run(&["ledger", "show", "--job", "3"]).code, 2);
}

#[test]
fn another_user_is_replaced_only_when_it_was_said() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    let alice = lab.script(&["--password-file", path(&lab.ready.users[0].password_file)]);
    // A secret may come through a file descriptor.
    let line = format!("exec \"$0\" \"$@\" --password-file /dev/fd/3 3< {}", alice[alice.len() - 1]);
    let program = env!("CARGO_BIN_EXE_tethercert");
    let mut shell = Command::new("sh");
    shell.args(["-c", &line, program]).args(&alice[..alice.len() - 2]).env("HOME", tool.home.path());
    assert!(shell.output().unwrap().status.success());

    let bob = &lab.ready.users[1];
    let mut arguments = alice;
    for (option, value) in [("--user", bob.user.as_str()), ("--login", &bob.login)] {
        let at = arguments.iter().position(|argument| *argument == option).unwrap();
        arguments[at + 1] = value;
    }
    *arguments.last_mut().unwrap() = path(&bob.password_file);
    snapshot("another user", &tool.run(&arguments).whole());
    let replaced = tool.run(&[&arguments[..], &["--replace", "--json"]].concat());
    assert_eq!((replaced.code, &replaced.last()["user"]), (0, &bob.user.as_str().into()), "{}", replaced.whole());
}

#[test]
fn a_phone_that_nothing_vouches_for_is_called_so_and_may_be_refused() {
    let lab = TestLab::start(1, |material| material.factory = None);
    let tool = Tool::new();
    let ran =
        tool.run(&lab.script(&["--require-authentic", "--password-file", path(&lab.ready.users[0].password_file)]));
    snapshot("unauthenticated", &ran.whole());
    assert_eq!(ran.code, 6);
}

#[test]
fn a_clock_before_year_0_ends_no_json() {
    let before_year_0 = time::macros::datetime!(-0005-01-01 00:00 UTC);
    let lab = TestLab::start(1, |material| material.clock = tethercert::lab::phone::Clock::Shows(before_year_0));
    let tool = Tool::new();
    let info = ["info", "--usbip", &lab.ready.usbip, "--drivers", path(&lab.ready.drivers), "--json"];
    let ran = tool.run(&info);
    assert_eq!(
        (ran.code, &ran.last()["type"], &ran.last()["clock"]),
        (0, &"info".into(), &Value::Null),
        "{}",
        ran.whole()
    );
    let password = path(&lab.ready.users[0].password_file);
    let ran = tool.run(&lab.script(&["--json", "--password-file", password]));
    assert_eq!(&ran.last()["type"], "outcome", "{}", ran.whole());
}

#[test]
fn a_ledger_is_a_file_whatever_its_name() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    let arguments = lab.script(&["--ledger", ":memory:", "--password-file", path(&lab.ready.users[0].password_file)]);
    let output = tool.command(&arguments).current_dir(tool.home.path()).output().unwrap();
    assert!(output.status.success());
    let ledger = tool.home.path().join(":memory:");
    assert_eq!(tool.run(&["ledger", "show", "--json", "--ledger", path(&ledger)]).last()["outcome"], "done");
}

#[test]
fn a_usbip_server_that_is_not_there_may_be_there_later() {
    // Bound and not listening: nobody else gets the port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = socket.local_addr().unwrap().to_string();
    let ran = Tool::new().run(&["list", "--json", "--usbip", &nobody]);
    assert_eq!((ran.code, &ran.last()["exit_code"]), (7, &7.into()), "{}", ran.whole());
}

#[test]
fn a_pool_in_another_spelling_is_the_same_pool() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    let password = path(&lab.ready.users[0].password_file);
    let spelled = format!(" {}?x#y", lab.ready.certprov_url.replace("https://localhost", "HTTPS://LOCALHOST"));
    let mut arguments = lab.script(&["--json", "--password-file", password]);
    assert_eq!(tool.run(&arguments).code, 0);
    let url = arguments.iter().position(|argument| *argument == "--certprov-url").unwrap() + 1;
    arguments[url] = &spelled;
    let again = tool.run(&arguments);
    assert_eq!((again.code, &again.last()["unchanged"]), (0, &true.into()), "{}", again.whole());
}

#[test]
fn a_password_in_the_pools_address_is_not_shown() {
    let lab = TestLab::start(0, |_| {});
    for address in ["https://alice:s3cret@web.contoso.example/", "https//alice:s3cret@web.contoso.example/"] {
        let tool = Tool::new().with("TETHERCERT_USBIP", &lab.ready.usbip).with("TETHERCERT_CERTPROV_URL", address);
        for arguments in [&[][..], &["--json"], &["verify", "--json"]] {
            assert!(!tool.run(arguments).whole().contains("s3cret"));
        }
    }
}

#[test]
fn the_systems_proxy_leads_to_a_pool_and_its_password_is_not_shown() {
    let lab = TestLab::start(0, |_| {});
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = proxy.local_addr().unwrap();
    let asked = std::thread::spawn(move || {
        let (stream, _) = proxy.accept().unwrap();
        let head = BufReader::new(&stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
        let head: Vec<String> = head.collect();
        (&stream).write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").unwrap();
        head
    });
    let tool = Tool::new().with("HTTPS_PROXY", format!("http://alice:s3cret@{at}"));
    let url = "https://web.contoso.example/CertProv/CertProvisioningService.svc";
    let anchor = path(&lab.ready.trust_anchor);
    let ran = tool.run(&["setup", "pool", "contoso", "--certprov-url", url, "--trust-anchor", anchor, "--yes"]);
    assert!(ran.stderr.contains(&format!("the proxy {at} refuses the user name and password")), "{}", ran.whole());
    assert!(!ran.whole().contains("s3cret"), "{}", ran.whole());
    assert_eq!(asked.join().unwrap()[0], "CONNECT web.contoso.example:443 HTTP/1.1");
}

#[test]
fn a_script_with_a_wrong_command_line_gets_json_too() {
    let tool = Tool::new();
    let ran = tool.run(&["provision", "--json", "--user", "nobody", "--certprov-url", "https://web.contoso.example/x"]);
    let kinds: Vec<Value> = ran.lines().iter().map(|line| line["type"].clone()).collect();
    assert_eq!((ran.code, kinds), (2, vec!["error".into(), "outcome".into()]), "{}", ran.whole());
    assert_eq!((&ran.last()["outcome"], &ran.last()["exit_code"]), (&"not_done".into(), &2.into()));
    let ran = tool.run(&["--json", "lsit", "--lab"]);
    assert_eq!((ran.code, ran.lines().len(), &ran.last()["lab"]), (2, 1, &true.into()), "{}", ran.whole());
    let people = tool.run(&["lsit"]);
    assert_eq!((people.code, people.stdout.as_str()), (2, ""));
    assert!(people.stderr.contains("lsit"));
    assert!(tool.run(&["list", "--json", "--help"]).stdout.contains("Usage"));
}

#[test]
fn a_signal_ends_the_wait_for_a_secret_that_nobody_writes() {
    let lab = TestLab::start(0, |_| {});
    let tool = Tool::new();
    let pipe = tool.home.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for name in ["INT", "TERM", "HUP"] {
        let arguments = lab.script(&["--json", "--password-file", path(&pipe)]);
        let child = tool.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // Opens when the program does.
        let silent = std::fs::File::options().write(true).open(&pipe).unwrap();
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        drop(silent);
        let ran = Ran { stdout: String::from_utf8(output.stdout).unwrap(), stderr: String::new(), code: 7 };
        assert_eq!(output.status.code(), Some(7), "{}", ran.whole());
        assert_eq!((&ran.last()["outcome"], &ran.last()["exit_code"]), (&"not_done".into(), &7.into()));
    }
}

#[test]
fn an_unknown_outcome_that_needs_a_person_says_for_what() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    lab.lab.web().faults().answer_lost = 2;
    assert_eq!(tool.run(&lab.script(&["--password-file", path(&lab.ready.users[0].password_file)])).code, 5);
    let wrong = tool.home.path().join("wrong");
    std::fs::write(&wrong, "wr0ng").unwrap();
    let arguments = lab.script(&["--password-file", path(&wrong)]);
    let ran = tool.run(&arguments);
    assert_eq!(ran.code, 5, "{}", ran.whole());
    assert!(!ran.stdout.contains("repeat the same command"), "{}", ran.whole());
    let line = tool.run(&[&arguments[..], &["--json"]].concat()).last();
    assert!(line["already"].is_string() && line["next_step"].is_string(), "{line}");
}
