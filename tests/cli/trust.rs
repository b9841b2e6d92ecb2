//! What `trust show`, `check` and `fetch` promise.

use super::*;
use tethercert::credential::{Certificate, Fingerprint};
use tethercert::lab::pki::ServerFaults;

fn at_the_pool(lab: &TestLab) -> Vec<&str> {
    vec!["--certprov-url", &lab.ready.certprov_url, "--trust-anchor", path(&lab.ready.trust_anchor)]
}

fn on_the_bus(lab: &TestLab) -> Vec<&str> {
    vec!["--usbip", &lab.ready.usbip, "--drivers", path(&lab.ready.drivers)]
}

fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

/// The lab's root as the program shows it.
fn root(lab: &TestLab) -> Certificate {
    Certificate::from_der(&lab.lab.web_root_der()).unwrap()
}

#[test]
fn the_help_of_trust_is_as_it_was_read_over() {
    let tool = Tool::new();
    for page in
        [&["trust", "--help"][..], &["trust", "show", "-h"], &["trust", "check", "--help"], &["trust", "fetch", "-h"]]
    {
        let ran = tool.run(page);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        snapshot(&format!("help {}", page.join(" ")), &ran.stdout);
    }
}

#[test]
fn show_tells_every_certificate_and_what_the_server_omits_and_the_download_agrees() {
    let lab = TestLab::start(0, |_| {});
    let http = lab.lab.web().root_chains_url("localhost");
    let mut arguments = [&["trust", "show", "--json", "--root-chains-url", &http][..], &at_the_pool(&lab)].concat();
    let thumbprint = root(&lab).sha1_thumbprint().to_string();
    arguments.extend(["--root-thumbprint", &thumbprint]);
    let ran = Tool::new().run(&arguments);
    let lines = ran.lines();
    let [server] = of_kind(&lines, "server")[..] else { panic!("{}", ran.whole()) };
    assert_eq!((&server["host"], &server["standing"]), (&"localhost".into(), &"trusted".into()));
    let got: Vec<&str> =
        server["certificates"].as_array().unwrap().iter().map(|it| it["got_by"].as_str().unwrap()).collect();
    assert_eq!(got, ["handshake", "fetched", "anchor"]);
    assert_eq!(server["certificates"][2]["sha1"], thumbprint);
    assert_eq!(server["omits"][0], "Contoso Issuing CA 2 (LAB)");
    let [download] = of_kind(&lines, "download")[..] else { panic!("{}", ran.whole()) };
    assert_eq!((&download["https"], &download["thumbprint"]), (&"agrees".into(), &"agrees".into()), "{download}");
    assert_eq!((ran.last()["outcome"].as_str(), ran.code), (Some("shown"), 0));

    // Another root's thumbprint, and nothing else changed.
    let wrong = "00".repeat(20);
    let last = arguments.len() - 1;
    arguments[last] = &wrong;
    let ran = Tool::new().run(&arguments);
    assert_eq!((ran.last()["outcome"].as_str(), ran.code), (Some("contradiction"), 1));
}

#[test]
fn show_names_a_server_that_this_computer_does_not_trust_and_one_out_of_reach() {
    let lab = TestLab::start(0, |_| {});
    lab.lab.web().present(&ServerFaults { unknown_root: true, ..ServerFaults::none() }).unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let ran =
        Tool::new().run(&[&["trust", "show", "--json", "--also-server", &closed][..], &at_the_pool(&lab)].concat());
    let lines = ran.lines();
    let standings: Vec<&Value> = of_kind(&lines, "server").iter().map(|server| &server["standing"]).collect();
    assert_eq!(standings, ["distrusted", "unreachable"]);
    assert!(of_kind(&lines, "download")[0]["asked"] == false && ran.code == 0, "{}", ran.whole());
}

#[test]
fn check_says_what_a_phone_lacks_with_commands_to_paste_and_is_good_after_provision() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    let check = [&["trust", "check", "--json"][..], &at_the_pool(&lab), &on_the_bus(&lab)].concat();
    let ran = tool.run(&check);
    let lines = ran.lines();
    let server = of_kind(&lines, "finding").into_iter().find(|it| it["check"] == "server").unwrap();
    let stores: Vec<&str> =
        server["lacks"].as_array().unwrap().iter().map(|it| it["store"].as_str().unwrap()).collect();
    assert_eq!(stores, ["TrustedRootCA", "IntermediateCA"]);
    let wanted = format!(
        "$ca = New-CsWebTrustedCACertificate -Thumbprint {} -CAStore TrustedRootCA",
        root(&lab).sha1_thumbprint()
    );
    assert_eq!(server["lacks"][0]["commands"][0], wanted);
    assert_eq!((ran.last()["outcome"].as_str(), ran.code), (Some("bad"), 1));

    let password = path(&lab.ready.users[0].password_file).to_owned();
    assert_eq!(tool.run(&lab.script(&["--password-file", &password])).code, 0);
    let ran = tool.run(&check);
    assert_eq!((ran.last()["outcome"].as_str(), ran.code), (Some("good"), 0), "{}", ran.whole());
}

#[test]
fn check_for_a_model_says_that_its_list_is_from_memory() {
    let lab = TestLab::start(0, |_| {});
    let tool = Tool::new();
    let check = |more: &[&str]| tool.run(&[&["trust", "check"][..], &at_the_pool(&lab), more].concat());
    let ran = check(&["--model", "polycom-cx600", "--firmware", "1.0.522.101"]);
    assert!(ran.stdout.contains("from memory") && ran.stdout.contains("fetches no"), "{}", ran.whole());
    assert!(ran.stdout.contains("-CAStore IntermediateCA") && ran.code == 1);
    assert!(ran.stdout.contains("LAB bad     does not register with Lync Server 2013"), "{}", ran.whole());
    assert_eq!(check(&["--model", "tether"]).code, 2);
    assert!(check(&["--model", "cx600"]).stderr.contains("polycom-cx600"));
}

#[test]
fn fetch_writes_readable_files_once_and_over_nothing() {
    let lab = TestLab::start(0, |_| {});
    let tool = Tool::new();
    let folder = tool.home.path().join("certificates");
    let fetch = [&["trust", "fetch", "--json", "--to", path(&folder)][..], &at_the_pool(&lab)].concat();
    let ran = tool.run(&fetch);
    assert_eq!(ran.code, 0, "{}", ran.whole());
    let short: String = root(&lab).fingerprint().to_string().chars().take(12).collect();
    let anchor = folder.join(format!("anchors/contoso-root-ca-lab-{short}.pem"));
    let read = Certificate::from_pem_or_der(&std::fs::read(&anchor).unwrap()).unwrap();
    assert_eq!(read, [root(&lab)]);
    assert_eq!(std::fs::read_dir(folder.join("intermediates")).unwrap().count(), 1);
    let index = std::fs::read_to_string(folder.join("index.txt")).unwrap();
    assert!(index.contains(&root(&lab).sha1_thumbprint().to_string()) && !index.contains("UNAUTHENTICATED"), "{index}");

    let again = tool.run(&fetch);
    assert_eq!(again.code, 6, "{}", again.whole());
    assert_eq!(std::fs::read_to_string(folder.join("index.txt")).unwrap(), index);
    std::fs::remove_file(folder.join("index.txt")).unwrap();
    std::fs::write(&anchor, "mine").unwrap();
    assert_eq!(tool.run(&fetch).code, 1);
    assert_eq!(std::fs::read_to_string(&anchor).unwrap(), "mine");
}

#[test]
fn fetch_marks_what_nothing_vouches_for() {
    let (lab, other) = (TestLab::start(0, |_| {}), Fingerprint::of(b"nobody"));
    let tool = Tool::new();
    let folder = tool.home.path().join("certificates");
    lab.lab.web().present(&ServerFaults { unknown_root: true, ..ServerFaults::none() }).unwrap();
    let ran = tool.run(&[&["trust", "fetch", "--to", path(&folder)][..], &at_the_pool(&lab)].concat());
    assert_eq!(ran.code, 0, "{}", ran.whole());
    let files: Vec<String> = std::fs::read_dir(folder.join("intermediates"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(files.len() == 1 && files[0].ends_with(".unauthenticated.pem"), "{files:?}");
    assert!(std::fs::read_to_string(folder.join("index.txt")).unwrap().contains("UNAUTHENTICATED"));
    let http = lab.lab.web().root_chains_url("localhost");
    let named = other.to_string();
    let contradicted = tool.home.path().join("contradicted");
    lab.lab.web().present(&ServerFaults::default()).unwrap();
    let arguments =
        ["trust", "fetch", "--to", path(&contradicted), "--root-chains-url", &http, "--root-thumbprint", &named];
    let ran = tool.run(&[&arguments[..], &at_the_pool(&lab)].concat());
    assert_eq!(ran.code, 1, "{}", ran.whole());
    assert!(!std::fs::read_to_string(contradicted.join("index.txt")).unwrap().contains("download"));
}
