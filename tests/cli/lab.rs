//! The lab as a command of its own and inside other commands: a world that never meets the real one.

use super::*;

#[test]
fn a_lab_shows_the_whole_program_and_says_so_on_every_line() {
    let tool = Tool::new();
    for arguments in [
        "list --lab",
        "info --lab",
        "verify --lab",
        "provision --lab",
        "provision --lab --dry-run",
        "provision --lab --sign-in",
        "provision --lab --sign-in --fault user-disabled",
        "provision --lab --sign-in --fault registrar-unavailable=503",
    ] {
        let words: Vec<&str> = arguments.split(' ').collect();
        let ran = tool.run(&words);
        assert!(ran.stdout.lines().all(|line| line.starts_with("LAB")), "{}", ran.stdout);
        snapshot(arguments, &ran.whole());
    }
    let ran = tool.run(&["provision", "--lab", "--json"]);
    assert!(ran.lines().iter().all(|line| line["lab"] == true && line["schema"] == 1));
    assert_eq!(ran.last()["type"], "outcome");
    snapshot("provision --lab --json", &ran.whole());
    let ran = tool.run(&["provision", "--lab", "--json", "--auth", "pin", "--user", "bob@contoso.example"]);
    assert_eq!((ran.code, &ran.last()["cost"]["https_requests"]), (0, &4.into()), "{}", ran.whole());
    let ran = tool.run(&["identify", "--lab", "--json", "--seconds", "0"]);
    assert_eq!((ran.code, &ran.last()["type"]), (0, &"identified".into()), "{}", ran.whole());
    assert!(tool.files().is_empty(), "the embedded lab leaves nothing behind");
}

#[test]
fn a_fault_of_the_lab_is_switched_on_by_name() {
    let tool = Tool::new();
    let ran = tool.run(&["provision", "--lab", "--json", "--fault", "error-in-reply=99003"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stdout.contains("99003"), "{}", ran.whole());
    let ran = tool.run(&["list", "--lab", "--json", "--fault", "twin-serials"]);
    assert_eq!(ran.lines().iter().filter(|line| line["type"] == "device").count(), 2, "{}", ran.whole());

    let all = tool.run(&["lab", "--fault", "help", "--json"]);
    assert_eq!(all.code, 0);
    assert!(all.lines().iter().all(|line| line["type"] == "fault" && line["says"].is_string()));
    let people = tool.run(&["lab", "--fault", "help"]);
    assert!(all.lines().iter().all(|line| people.stdout.contains(line["name"].as_str().unwrap())));

    for wrong in
        [&["list", "--lab", "--fault", "gremlins"][..], &["list", "--fault", "full"], &["lab", "--fault", "cut"]]
    {
        assert_eq!(tool.run(wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn the_embedded_lab_refuses_what_is_real() {
    let tool = Tool::new();
    for real in [
        ["--certprov-url", "https://web.contoso.example/x"],
        ["--trust-anchor", "/etc/ssl/root.pem"],
        ["--usbip", "192.0.2.7"],
        ["--device", "port:1-4.2"],
        ["--ledger", "/tmp/ledger"],
        ["--password-file", "/dev/null"],
    ] {
        let ran = tool.run(&["provision", "--lab", "--json", real[0], real[1]]);
        assert_eq!((ran.code, &ran.last()["exit_code"]), (6, &Value::from(6)), "{real:?}");
        assert!(ran.lines().iter().all(|line| line["lab"] == true));
    }
    let ran = tool.run(&["provision", "--lab", "--certprov-url", "https://web.contoso.example/x"]);
    snapshot("lab with a real pool", &ran.whole());
}

#[test]
fn a_lab_pool_never_meets_a_real_phone() {
    let tool = Tool::new();
    let user = ["provision", "--user", "alice@contoso.example", "--certprov-url", "https://localhost:1/x", "--yes"];
    snapshot("lab pool with a real phone", &tool.run(&user).whole());
    let led_here =
        ["provision", "--json", "--user", "alice@contoso.example", "--resolve", "web.contoso.example:443:[::1]"];
    let led_here = tool.run(&[&led_here[..], &["--certprov-url", "https://web.contoso.example/x"]].concat());
    assert_eq!((led_here.code, &led_here.last()["lab"]), (6, &true.into()), "{}", led_here.whole());
    let elsewhere = tool.run(&[&user[..], &["--usbip", "192.0.2.7", "--json"]].concat());
    assert_eq!((elsewhere.code, &elsewhere.last()["outcome"]), (6, &Value::from("not_done")));
}

#[test]
fn the_embedded_lab_knows_only_its_own_phones() {
    let drivers = TempDir::new().unwrap();
    std::fs::write(drivers.path().join("broken.toml"), "no definition").unwrap();
    let tool = Tool::new().with("TETHERCERT_DRIVERS", path(drivers.path()));
    assert_eq!(tool.run(&["list"]).code, 2);
    assert_eq!(tool.run(&["list", "--lab"]).code, 0);
    assert_eq!(tool.run(&["list", "--lab", "--drivers", path(drivers.path())]).code, 2);
}

#[test]
#[cfg(target_os = "linux")]
fn the_lab_in_a_folder_whose_name_is_no_utf8_fails_and_does_not_wait() {
    use std::os::unix::ffi::OsStrExt as _;
    let tool = Tool::new();
    let folder = tool.home.path().join(std::ffi::OsStr::from_bytes(b"t\xff"));
    std::fs::create_dir(&folder).unwrap();
    let output = tool.command(&["lab", "--json", "--phones", "0"]).env("TMPDIR", &folder).output().unwrap();
    let ran = Ran { stdout: String::from_utf8(output.stdout).unwrap(), stderr: String::new(), code: 1 };
    assert_eq!((output.status.code(), &ran.last()["type"]), (Some(1), &"error".into()), "{}", ran.whole());
}

#[test]
fn every_device_of_a_list_is_explained() {
    let tool = Tool::new();
    let ran = tool.run(&["list", "--lab", "--explain", "--json"]);
    let lines = ran.lines();
    assert_eq!((ran.code, lines.len()), (0, 1), "{}", ran.whole());
    assert_eq!((&lines[0]["type"], &lines[0]["verdict"]), (&"explained".into(), &"phone".into()));
    let why = "the rules of acme-desk-2-lab.toml ask for USB id 1209:0001 and interface ff/54/01";
    assert_eq!(lines[0]["why"], why);
    let people = tool.run(&["list", "--lab", "--explain"]);
    assert!(people.stdout.contains("Acme Desk 2 (LAB)") && people.stdout.contains("1 phone"), "{}", people.stdout);
    assert_eq!(tool.run(&["list", "--lab", "--explain", "--watch"]).code, 2);
}

#[test]
fn a_way_to_the_usb_that_is_not_there_is_refused_by_its_name() {
    let tool = Tool::new();
    assert_eq!(tool.run(&["list", "--usb-backend", "winusb"]).code, 2);
    assert_eq!(tool.run(&["list", "--usb-backend", "system", "--usbip", "192.0.2.7"]).code, 2);
    assert_eq!(tool.run(&["list", "--lab", "--usb-backend", "system"]).code, 6);
    let of_environment = Tool::new().with("TETHERCERT_USB_BACKEND", "winusb").run(&["list", "--json"]);
    assert_eq!(of_environment.code, 2, "{}", of_environment.whole());
    #[cfg(not(feature = "libusb"))]
    {
        let ran = tool.run(&["list", "--usb-backend", "libusb", "--json"]);
        assert_eq!((ran.code, &ran.last()["type"]), (2, &"error".into()), "{}", ran.whole());
        assert_eq!(ran.last()["message"], "this build of tethercert has no libusb");
        assert!(ran.last()["next_step"].as_str().unwrap().contains("--features libusb"), "{}", ran.whole());
    }
}

/// The first line of a lab that was started so, before it is ended.
fn ready(tool: &Tool, arguments: &[&str]) -> Value {
    let command = [&["lab", "--json", "--phones", "0"], arguments].concat();
    let mut lab = tool.command(&command).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(lab.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    signal(&lab, "TERM");
    lab.wait().unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_lab_for_other_clients_has_the_user_and_the_name_that_it_is_given() {
    let tool = Tool::new();
    let secret = tool.home.path().join("secret");
    std::fs::write(&secret, "s3cret-Word\n").unwrap();
    let user = ["--user", "carol@fabrikam.example", "--login", "FABRIKAM\\caz", "--password-file", path(&secret)];
    let ready = ready(&tool, &[&user[..], &["--server-name", "Sip.Fabrikam.Example"]].concat());
    let carol = &ready["users"][0];
    assert_eq!((&carol["user"], &carol["login"]), (&"carol@fabrikam.example".into(), &"FABRIKAM\\caz".into()));
    assert!(!ready.to_string().contains("s3cret-Word"));
    let text = |key: &str| ready[key].as_str().unwrap().to_owned();
    assert!(text("certprov_url").starts_with("https://sip.fabrikam.example:"), "{ready}");
    assert!(text("registrar").starts_with("sip.fabrikam.example:"), "{ready}");
    assert_eq!(text("registrar_name"), "sip.fabrikam.example");
    for wrong in
        [&["--server-name", "a b"][..], &["--user", "carol"], &["--password-file", "/nowhere"], &["--tls", "3"]]
    {
        let ran = tool.run(&[&["lab", "--json"], wrong].concat());
        assert_eq!(ran.code, 2, "{wrong:?} {}", ran.whole());
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let tool = Tool::new();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for option in ["--https-port", "--http-port", "--registrar-port", "--usbip-port"] {
        let ran = tool.run(&["lab", "--json", "--phones", "0", option, &port]);
        assert_ne!(ran.code, 0);
        assert!(ran.whole().contains(&format!("port {port} of 127.0.0.1")), "{option}: {}", ran.whole());
    }
}
