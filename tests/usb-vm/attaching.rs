//! `tethercert lab --attach` and `list --explain`: the program's own words about the kernel's bus.

use super::guest;
use super::tool::Tool;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A lab in a process of its own, as a second terminal has it.
struct Other {
    lab: Child,
    ready: Value,
}

impl Other {
    fn with(tool: &Tool, arguments: &[&str]) -> Self {
        let mut command = tool.command(&[&["lab", "--attach", "--json"], arguments].concat());
        let mut lab = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(lab.stdout.take().unwrap()).read_line(&mut first).unwrap();
        Self { ready: serde_json::from_str(&first).expect(&first), lab }
    }

    fn drivers(&self) -> &str {
        self.ready["drivers"].as_str().unwrap()
    }

    fn end(mut self) {
        let pid = self.lab.id().to_string();
        assert!(Command::new("/bin/busybox").args(["kill", "-INT", &pid]).status().unwrap().success());
        assert!(self.lab.wait().unwrap().success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.lab.kill();
    }
}

#[test]
fn phones_of_a_lab_are_on_the_bus_until_it_ends_and_are_found_without_an_option() {
    guest::here();
    let tool = Tool::new();
    let other = Other::with(&tool, &["--phones", "3"]);
    let phones = other.ready["phones"].as_array().unwrap();
    assert_eq!(phones.len(), 3);
    for phone in phones {
        let place = phone["attached"].as_str().unwrap_or_else(|| panic!("{phone}"));
        assert_eq!(phone["device"], format!("port:{place}"));
        let sysfs = Path::new("/sys/bus/usb/devices").join(place);
        assert_eq!(guest::attribute(&sysfs, "serial").as_deref(), phone["serial"].as_str());
    }
    let listed = tool.run(&["list", "--json", "--drivers", other.drivers()]);
    let devices: Vec<Value> = listed.lines().into_iter().filter(|line| line["type"] == "device").collect();
    assert_eq!(devices.len(), 3, "{}", listed.whole());
    for (phone, device) in phones.iter().zip(&devices) {
        assert_eq!((&device["device"], &device["serial"]), (&phone["device"], &phone["serial"]));
    }
    let alone = tool.run(&["info", "--json", "--drivers", other.drivers()]);
    assert_eq!(alone.code, 8, "one of three has to be named: {}", alone.whole());
    let second = phones[1]["device"].as_str().unwrap();
    let info = tool.run(&["info", "--json", "--drivers", other.drivers(), "--device", second]);
    assert_eq!((info.code, &info.last()["identity"]["serial"]), (0, &phones[1]["serial"]), "{}", info.whole());
    other.end();
    guest::wait_for("the kernel to lose the phones", || guest::plugged().is_empty().then_some(()));
}

#[test]
fn a_lab_pool_gives_nothing_to_a_phone_of_the_bus_that_is_not_known_as_a_labs() {
    guest::here();
    let tool = Tool::new();
    let other = Other::with(&tool, &[]);
    let user = &other.ready["users"][0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (url, anchor) = (text(&other.ready["certprov_url"]), text(&other.ready["trust_anchor"]));
    let (name, login, password) = (text(&user["user"]), text(&user["login"]), text(&user["password_file"]));
    let job = [
        "provision", "--yes", "--json", "--user", &name, "--login", &login, "--password-file", &password,
        "--certprov-url", &url, "--trust-anchor", &anchor,
    ];
    // Without the lab's definition it is a phone like any other.
    let refused = tool.run(&job);
    assert_eq!((refused.code, &refused.last()["outcome"]), (6, &"not_done".into()), "{}", refused.whole());
    let done = tool.run(&[&job[..], &["--drivers", other.drivers()]].concat());
    assert_eq!((done.code, &done.last()["outcome"]), (0, &"done".into()), "{}", done.whole());
    other.end();
}

#[test]
fn a_lab_that_cannot_attach_its_phones_says_what_is_missing() {
    guest::here();
    let tool = Tool::new();
    let module = |load: &[&str]| Command::new("/sbin/modprobe").args(load).status().unwrap().success();
    assert!(module(&["-r", "vhci_hcd"]));
    let ran = tool.run(&["lab", "--attach", "--json"]);
    assert!(module(&["vhci_hcd"]));
    assert_eq!((ran.code, &ran.last()["type"]), (1, &"error".into()), "{}", ran.whole());
    assert!(ran.last()["message"].as_str().unwrap().contains("vhci_hcd is not loaded"), "{}", ran.whole());
    let next = ran.last()["next_step"].as_str().unwrap().to_owned();
    assert!(next.contains("modprobe vhci_hcd") || next.contains("modules are not installed"), "{next}");
}

#[test]
fn every_device_is_explained_and_both_libraries_see_the_same() {
    guest::here();
    let tool = Tool::new();
    let other = Other::with(&tool, &[]);
    let ran = tool.run(&["list", "--explain", "--json", "--drivers", other.drivers()]);
    assert_eq!(ran.code, 0, "{}", ran.whole());
    let libraries: Vec<Value> = ran.lines().into_iter().filter(|line| line["type"] == "usb_library").collect();
    assert_eq!(libraries.len(), 2);
    assert!(libraries.iter().all(|line| line["built"] == true && line["devices"] == 1), "{}", ran.whole());
    let devices: Vec<Value> = ran.lines().into_iter().filter(|line| line["type"] == "explained").collect();
    assert_eq!(devices.len(), 1, "root hubs are no devices: {}", ran.whole());
    assert_eq!((&devices[0]["verdict"], &devices[0]["finding"]), (&"phone".into(), &Value::Null));
    assert_eq!(devices[0]["seen_by"], serde_json::json!(["system", "libusb"]));
    other.end();
}
