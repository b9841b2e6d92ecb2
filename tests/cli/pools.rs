//! Pools by name: set up once, chosen by the user, every value with its origin.

use super::*;
use tethercert::credential::{Certificate, Fingerprint};

/// The root that the lab's pool goes by.
fn root(lab: &TestLab) -> Certificate {
    Certificate::from_der(&lab.lab.web_root_der()).unwrap()
}

/// `setup pool contoso` for the lab's pool as a script does it.
fn set_up(tool: &Tool, lab: &TestLab, more: &[&str]) -> Ran {
    let thumbprint = root(lab).fingerprint().to_string();
    let mut arguments = vec!["setup", "pool", "contoso", "--certprov-url", &lab.ready.certprov_url];
    arguments.extend(["--trust-anchor", path(&lab.ready.trust_anchor), "--root-thumbprint", &thumbprint]);
    arguments.extend(more);
    tool.run(&arguments)
}

/// A tool that finds the lab's phones by its environment.
fn tool_beside(lab: &TestLab) -> Tool {
    Tool::new().with("TETHERCERT_USBIP", &lab.ready.usbip).with("TETHERCERT_DRIVERS", path(&lab.ready.drivers))
}

fn file_of(tool: &Tool, name: &str) -> PathBuf {
    tool.home.path().join(".config/tethercert/pools").join(format!("{name}.toml"))
}

fn write_pool(tool: &Tool, name: &str, text: &str) {
    let path = file_of(tool, name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// What `--explain` says: key, value and where it is from.
fn explained(ran: &Ran) -> Vec<(String, Value, String)> {
    let lines = ran.lines();
    let settings = lines.iter().find(|line| line["type"] == "settings").expect("the settings");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = settings["settings"].as_array().unwrap().iter();
    rows.map(|row| (text(&row["key"]), row["value"].clone(), text(&row["from"]))).collect()
}

fn one(rows: &[(String, Value, String)], key: &str) -> (Value, String) {
    let (_, value, from) = rows.iter().find(|row| row.0 == key).unwrap();
    (value.clone(), from.clone())
}

#[test]
fn a_pool_is_set_up_once_and_then_the_user_alone_is_enough() {
    let lab = TestLab::start(1, |_| {});
    let tool = tool_beside(&lab);
    let more =
        ["--sip-domain", "Contoso.example", "--login-domain", "CONTOSO", "--registrar", "sip.contoso.example:5061"];
    snapshot("setup pool", &set_up(&tool, &lab, &more).whole());
    snapshot("pool show", &tool.run(&["pool", "show"]).whole());
    snapshot("bare with a pool", &tool.run(&[]).whole());

    let password = path(&lab.ready.users[0].password_file);
    let ran =
        tool.run(&["provision", "--user", "alice@contoso.example", "--yes", "--password-file", password, "--explain"]);
    assert_eq!(ran.code, 0, "{}", ran.whole());
    snapshot(
        "provision explained",
        &ran.stdout.split("\nLAB\n").next().unwrap().replace(path(tool.home.path()), "[home]"),
    );
    let settings = tool.run(&["info", "--json"]).last()["settings"].clone();
    assert_eq!(settings["registrar"], "sip.contoso.example:5061", "{settings}");

    assert_eq!(tool.run(&["pool", "remove", "contoso", "--json"]).last()["type"], "pool_removed");
    assert!(tool.run(&["pool", "list"]).stdout.contains("none is configured"));
    assert_eq!(tool.run(&["pool", "show", "contoso"]).code, 3);
}

#[test]
fn a_root_is_trusted_only_when_its_thumbprint_was_said() {
    let lab = TestLab::start(0, |_| {});
    let tool = Tool::new();
    let base = ["setup", "pool", "contoso", "--json", "--certprov-url", &lab.ready.certprov_url];
    let with_file = [&base[..], &["--trust-anchor", path(&lab.ready.trust_anchor)]].concat();
    let other = Fingerprint::of(b"another").to_string();
    for (arguments, code) in [
        (base.to_vec(), 8),
        (with_file.clone(), 8),
        ([&with_file[..], &["--yes"]].concat(), 8),
        ([&with_file[..], &["--root-thumbprint", &other]].concat(), 6),
        ([&with_file[..], &["--root-thumbprint", "12"]].concat(), 2),
        ([&with_file[..], &["--offline"]].concat(), 8),
    ] {
        let ran = tool.run(&arguments);
        assert_eq!(ran.code, code, "{arguments:?} {}", ran.whole());
        assert!(!file_of(&tool, "contoso").exists(), "{arguments:?}");
    }
    assert_eq!(set_up(&tool, &lab, &["--json"]).last()["looked_at"], true);
    // Another pool of the name stays, unless it may go.
    let again = set_up(&tool, &lab, &["--json"]);
    assert_eq!((again.code, &again.last()["type"]), (2, &"error".into()), "{}", again.whole());
    assert_eq!(set_up(&tool, &lab, &["--replace", "--offline", "--json"]).last()["looked_at"], false);
}

#[test]
fn a_trust_anchor_that_was_exchanged_is_refused() {
    let lab = TestLab::start(1, |_| {});
    let tool = tool_beside(&lab);
    set_up(&tool, &lab, &[]);
    let folder = file_of(&tool, "contoso").with_extension("");
    let anchor = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    std::fs::write(anchor, "").unwrap();
    let ran = tool.run(&["verify", "--json"]);
    assert_eq!(ran.code, 6, "{}", ran.whole());
    assert_eq!(tool.run(&["pool", "list"]).code, 1);
}

#[test]
fn an_option_is_stronger_than_the_environment_and_that_than_the_file() {
    let lab = TestLab::start(1, |_| {});
    let mut tool = tool_beside(&lab);
    set_up(
        &tool,
        &lab,
        &["--registrar", "file.contoso.example:5061", "--allow-host", "a.example", "--allow-host", "b.example"],
    );
    let explain =
        |tool: &Tool, more: &[&str]| explained(&tool.run(&[&["verify", "--explain", "--json"], more].concat()));

    let rows = explain(&tool, &[]);
    assert_eq!(one(&rows, "pool"), ("contoso".into(), "the only one there is".into()));
    let from_file = |key| (Value::from("file.contoso.example:5061"), format!("{key} in contoso.toml"));
    assert_eq!(one(&rows, "registrar"), from_file("registrar"));
    assert_eq!(one(&rows, "tls"), ("modern".into(), "default".into()));

    tool = tool.with("TETHERCERT_REGISTRAR", "env.contoso.example:5061");
    let rows = explain(&tool, &["--pool", "contoso"]);
    assert_eq!(one(&rows, "pool"), ("contoso".into(), "--pool".into()));
    assert_eq!(one(&rows, "registrar"), ("env.contoso.example:5061".into(), "TETHERCERT_REGISTRAR".into()));
    let given = ["--registrar", "sip.contoso.example:5061", "--allow-host", "c.example"];
    let rows = explain(&tool, &given);
    assert_eq!(one(&rows, "registrar"), ("sip.contoso.example:5061".into(), "--registrar".into()));
    let instead = "--allow-host, in place of 2 values in the pool's file";
    assert_eq!(one(&rows, "allow_hosts"), (serde_json::json!(["c.example"]), instead.into()));

    // With a name, an address takes the place of one value; without one it is a pool of its own.
    let elsewhere = ["--certprov-url", "https://localhost:1/other"];
    let rows = explain(&tool, &[&elsewhere[..], &["--pool", "contoso"]].concat());
    assert_eq!(one(&rows, "certprov_url"), ("https://localhost:1/other".into(), "--certprov-url".into()));
    assert_eq!(one(&rows, "allow_hosts").1, "allow_hosts in contoso.toml");
    let rows = explain(&tool, &elsewhere);
    assert_eq!((one(&rows, "pool").0, one(&rows, "allow_hosts").0), (Value::Null, Value::Null));
    tool = tool.with("TETHERCERT_REGISTRAR", "nonsense");
    assert_eq!(tool.run(&["verify", "--json"]).code, 2);
}

#[test]
fn the_users_domain_chooses_the_pool_and_what_is_not_clear_is_refused() {
    let lab = TestLab::start(0, |_| {});
    let tool = tool_beside(&lab);
    for (name, domain) in [("east", "contoso.example"), ("west", "contoso.example"), ("fabrikam", "fabrikam.example")] {
        write_pool(
            &tool,
            name,
            &format!("certprov_url = \"https://{name}.example/x\"\nsip_domains = [\"{domain}\"]\n"),
        );
    }
    let provision =
        |user: &str| tool.run(&["provision", "--json", "--explain", "--usbip", "192.0.2.7", "--user", user]);
    let twice = tool.run(&["provision", "--user", "alice@contoso.example", "--yes"]);
    snapshot("two pools for a user", &twice.whole());
    assert_eq!(provision("alice@elsewhere.example").code, 8);
    let rows = explained(&tool.run(&["provision", "--json", "--explain", "--user", "bob@fabrikam.example"]));
    assert_eq!(one(&rows, "pool"), ("fabrikam".into(), "serves fabrikam.example".into()));
    assert_eq!(one(&rows, "login"), ("bob@fabrikam.example".into(), "default".into()));
}

#[test]
fn a_secret_in_a_pools_file_is_refused_and_shown_nowhere() {
    let lab = TestLab::start(1, |_| {});
    let tool = tool_beside(&lab);
    for line in ["password = \"s3cret\"", "proxy = \"http://alice:s3cret@proxy:8080\"", "registrar = \"s3cret\""] {
        write_pool(&tool, "contoso", &format!("certprov_url = \"https://web.contoso.example/x\"\n{line}\n"));
        for arguments in [&["verify", "--json", "--explain"][..], &["pool", "show"], &["pool", "list"], &[]] {
            let ran = tool.run(arguments);
            assert!(!ran.whole().contains("s3cret"), "{}", ran.whole());
        }
        assert_eq!(tool.run(&["verify"]).code, 2);
    }
    snapshot("a secret in a pool's file", &{
        write_pool(&tool, "contoso", "certprov_url = \"https://web.contoso.example/x\"\npassword = \"s3cret\"\n");
        tool.run(&["verify"]).whole().replace(path(tool.home.path()), "[home]")
    });
    let proxy = tool.run(&["verify", "--proxy", "http://alice:s3cret@proxy:8080"]);
    assert_eq!(proxy.code, 2);
    let tool = tool.with("TETHERCERT_PROXY", "http://alice:s3cret@proxy.contoso.example:8080");
    let ran = tool.run(&["verify", "--json", "--explain", "--certprov-url", "https://localhost:1/x"]);
    let expected = ("http://…@proxy.contoso.example:8080".into(), "TETHERCERT_PROXY".into());
    assert_eq!(one(&explained(&ran), "proxy"), expected);
    assert!(!ran.whole().contains("s3cret"));
}

#[test]
fn old_tls_is_said_aloud_by_every_command_that_uses_it() {
    let lab = TestLab::start(1, |_| {});
    let tool = tool_beside(&lab);
    set_up(&tool, &lab, &["--offline", "--tls", "legacy"]);
    for arguments in [
        &["verify"][..],
        &["provision", "--yes", "--user", "alice@contoso.example", "--password-file", "/dev/null"],
        &[
            "setup",
            "pool",
            "contoso",
            "--replace",
            "--offline",
            "--tls",
            "legacy",
            "--certprov-url",
            "https://localhost:1/x",
        ],
    ] {
        let people = tool.run(arguments);
        assert!(people.stdout.contains("OLD TLS pool contoso is reached by old TLS (legacy"), "{}", people.whole());
        let scripts = tool.run(&[arguments, &["--json"]].concat());
        let warnings: Vec<Value> = scripts.lines().into_iter().filter(|line| line["type"] == "warning").collect();
        assert_eq!((warnings.len(), &warnings[0]["warning"]), (1, &"legacy_tls".into()), "{}", scripts.whole());
    }
    let folder = tool.home.path().join("capture");
    let capture = tool.run(&["pool", "capture", "--pool", "contoso", "--http-port", "1", "--to", path(&folder)]);
    assert!(capture.stdout.contains("OLD TLS"), "{}", capture.whole());
    assert!(!tool.run(&["verify", "--tls", "modern"]).stdout.contains("OLD TLS"));
}

#[test]
fn what_is_missing_is_named_where_nobody_can_be_asked() {
    let lab = TestLab::start(1, |_| {});
    let tool = tool_beside(&lab);
    let ran = tool.run(&["provision", "--certprov-url", &lab.ready.certprov_url]);
    assert!(ran.code == 2 && ran.stderr.contains("--user"), "{}", ran.whole());
    let ran = tool.run(&["setup", "pool", "contoso"]);
    assert!(ran.code == 2 && ran.stderr.contains("--certprov-url"), "{}", ran.whole());
    let ran = tool.run(&["provision", "--user", "alice@contoso.example"]);
    assert!(ran.code == 2 && ran.stderr.contains("setup pool"), "{}", ran.whole());
}

#[test]
fn a_capture_holds_what_the_pool_says_to_anybody_and_no_secret() {
    let lab = TestLab::start(0, |_| {});
    let tool = Tool::new();
    let folder = tool.home.path().join("capture");
    let issuer = lab.lab.web().issuer_url();
    let http_port = issuer.split(['/', ':']).nth(4).unwrap();
    let capture = ["pool", "capture", &lab.ready.certprov_url, "--to", path(&folder), "--http-port", http_port];
    let ran = tool.run(&[&capture[..], &["--json"]].concat());
    let line = ran.last();
    assert_eq!((ran.code, &line["type"], &line["trusted"]), (0, &"captured".into(), &false.into()), "{}", ran.whole());
    let index: Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    let of = |site: &str| {
        let documents = index["documents"].as_array().unwrap().iter();
        documents.filter(|it| it["url"].as_str().unwrap().starts_with(site)).collect::<Vec<_>>()
    };
    assert!(of("https://").iter().filter(|it| it["status"] == 200).count() >= 10, "{index}");
    assert!(of("http://").len() >= 3 && of("http://").iter().all(|it| it["status"].is_number()), "{index}");
    assert_eq!(line["root_chain_operation"], "GetRootCertChains");
    assert_eq!(line["pin_policy"], "WebTicketServicePin_policy");
    assert_eq!(line["error_types"][0], "ErrorInfo");
    assert!(line["certprov_address"].as_str().unwrap().ends_with("/WebTicket_Proof_SHA1"), "{line}");
    assert_eq!(tool.run(&capture).code, 2, "the folder is not empty any more");
    let kinds = lab.lab.web().requests();
    assert!(kinds.iter().all(|request| request.credential.is_none() && request.user.is_none()));
    for user in &lab.ready.users {
        let secret = std::fs::read_to_string(&user.password_file).unwrap();
        assert!(!contains(&tool.files(), &secret));
    }
}

/// The program at a terminal of its own (`script`), answered when it asks.
#[cfg(target_os = "linux")]
pub struct Terminal {
    child: Child,
    screen: std::process::ChildStdout,
    shown: String,
}

#[cfg(target_os = "linux")]
impl Terminal {
    pub fn start(tool: &Tool, arguments: &str) -> Self {
        let program = format!("{} {arguments}", env!("CARGO_BIN_EXE_tethercert"));
        // A question that never comes fails the test and does not hang it.
        let mut command = Command::new("timeout");
        command.args(["60", "script", "--quiet", "--return", "--command", &program, "/dev/null"]);
        command.env_clear().env("TETHERCERT_DISCOVERY", "off");
        command.env("HOME", tool.home.path()).env("PATH", "/usr/bin:/bin").env("TERM", "dumb");
        command.envs(tool.environment.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let screen = child.stdout.take().unwrap();
        Self { child, screen, shown: String::new() }
    }

    /// Waits for a question, then types.
    pub fn answer(&mut self, question: &str, typed: &str) {
        use std::io::Write as _;
        let mut byte = [0];
        while !self.shown.contains(question) {
            assert_eq!(self.screen.read(&mut byte).unwrap(), 1, "no question `{question}` in {}", self.shown);
            self.shown.push(byte[0].into());
        }
        self.shown = self.shown.split_off(self.shown.find(question).unwrap() + question.len());
        writeln!(self.child.stdin.as_mut().unwrap(), "{typed}").unwrap();
    }

    /// What is shown to the end, and the exit code.
    pub fn end(mut self) -> (String, i32) {
        let mut rest = Vec::new();
        self.screen.read_to_end(&mut rest).unwrap();
        let code = self.child.wait().unwrap().code().unwrap();
        (format!("{}{}", self.shown, String::from_utf8_lossy(&rest)), code)
    }
}

#[test]
#[cfg(target_os = "linux")]
fn at_a_terminal_what_is_missing_is_asked_for() {
    let lab = TestLab::start(2, |_| {});
    let tool = tool_beside(&lab);
    let anchor = format!("setup pool contoso --trust-anchor {}", path(&lab.ready.trust_anchor));
    let mut terminal = Terminal::start(&tool, &anchor);
    terminal.answer("certificate provisioning service", &lab.ready.certprov_url);
    terminal.answer("SIP domains of its users", "contoso.example, contoso.test");
    terminal.answer("registrar", "nonsense");
    terminal.answer("registrar that phones go by", "");
    terminal.answer("Windows domain", "CONTOSO");
    terminal.answer("[y/N]", "y");
    let (shown, code) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    let file = std::fs::read_to_string(file_of(&tool, "contoso")).unwrap();
    assert!(file.contains("[\"contoso.example\", \"contoso.test\"]") && file.contains("CONTOSO"), "{file}");

    let password = std::fs::read_to_string(&lab.ready.users[0].password_file).unwrap();
    let mut terminal = Terminal::start(&tool, "provision --renew");
    terminal.answer("user the phone is for", "alice@contoso.example");
    terminal.answer("which phone? [1-2]", "2");
    terminal.answer("this one? [Y/n]", "");
    terminal.answer("Password for CONTOSO\\alice, sent only to localhost:", password.trim());
    let (shown, code) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    let phones = lab.lab.phones();
    assert!(phones[0].1.installed().is_none() && phones[1].1.installed().is_some());
}

#[test]
#[cfg(target_os = "linux")]
fn a_root_that_a_person_does_not_confirm_is_not_trusted() {
    let lab = TestLab::start(0, |_| {});
    let tool = Tool::new();
    let (url, anchor) = (&lab.ready.certprov_url, path(&lab.ready.trust_anchor));
    let arguments =
        format!("setup pool contoso --certprov-url {url} --trust-anchor {anchor} --sip-domain contoso.example");
    let mut terminal = Terminal::start(&tool, &arguments);
    terminal.answer("registrar", "");
    terminal.answer("Windows domain", "");
    terminal.answer("[y/N]", "");
    let (shown, code) = terminal.end();
    assert_eq!(code, 6, "{shown}");
    assert!(!file_of(&tool, "contoso").exists());
}
