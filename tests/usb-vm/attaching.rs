//! `tethercert lab --attach` and `list --explain`: the program's own words about the kernel's bus.

use super::desk::{Desk, Kind, Way};
use super::guest;
use super::tool::Tool;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tethercert::lab::{Lab, LabOptions};

#[test]
fn a_lab_of_another_terminal_has_its_phone_on_the_bus_until_it_ends() {
    guest::here();
    let tool = Tool::new();
    let mut lab = tool.command(&["lab", "--attach", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(lab.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let ready: Value = serde_json::from_str(&first).expect(&first);
    let place = ready["phones"][0]["attached"].as_str().unwrap_or_else(|| panic!("{first}"));
    assert_eq!(ready["phones"][0]["device"], format!("port:{place}"));
    let sysfs = Path::new("/sys/bus/usb/devices").join(place);
    assert_eq!(guest::attribute(&sysfs, "serial").as_deref(), Some("LAB00001"));
    let pid = lab.id().to_string();
    assert!(Command::new("/bin/busybox").args(["kill", "-INT", &pid]).status().unwrap().success());
    assert!(lab.wait().unwrap().success());
    assert!(guest::plugged().is_empty(), "it waits until the kernel has let go");
}

#[test]
fn phones_of_a_lab_are_where_it_says_and_are_found_without_an_option() {
    guest::here();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = LabOptions { phones: 3, ..LabOptions::default() };
    let mut lab = runtime.block_on(Lab::start(&options)).unwrap();
    runtime.block_on(lab.attach()).unwrap();
    let ready = lab.ready();
    let tool = Tool::new();
    let listed = tool.run(&["list", "--json", "--drivers", ready.drivers.to_str().unwrap()]);
    let devices: Vec<Value> = listed.lines().into_iter().filter(|line| line["type"] == "device").collect();
    assert_eq!(devices.len(), 3, "{}", listed.whole());
    for phone in &ready.phones {
        let place = phone.attached.as_ref().unwrap();
        assert_eq!(phone.device, format!("port:{place}"));
        let found = devices.iter().find(|device| device["serial"] == phone.serial.as_str());
        assert_eq!(found.map(|found| &found["port"]), Some(&place.as_str().into()), "{}", listed.whole());
    }
    runtime.block_on(lab.detach());
    assert!(guest::plugged().is_empty());
}

#[test]
fn a_lab_pool_gives_nothing_to_a_phone_of_the_bus_that_is_not_known_as_a_labs() {
    let desk = Desk::with(Way::Nusb, Kind::Virtual);
    // Without the lab's definition it is a phone like any other.
    let nothing = TempDir::new().unwrap();
    let refused = desk.provision_knowing(nothing.path().to_str().unwrap(), &[]);
    assert_eq!((refused.code, &refused.last()["outcome"]), (6, &"not_done".into()), "{}", refused.whole());
}

#[test]
fn a_lab_of_a_user_without_the_right_says_what_is_missing() {
    guest::here();
    let tool = Tool::new();
    let output = tool.command(&["lab", "--attach", "--json"]).uid(1000).gid(1000).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((output.status.code(), &error["type"]), (Some(1), &"error".into()), "{text}");
    let attach = "/sys/devices/platform/vhci_hcd.0/attach";
    assert_eq!(
        error["message"],
        format!("this user may not attach a device to the kernel: {attach} cannot be written")
    );
    let next = error["next_step"].as_str().unwrap();
    assert!(next.starts_with("run it as root") && next.contains(attach), "{next}");
    assert!(guest::plugged().is_empty());
}

#[test]
fn every_device_is_explained_and_both_libraries_see_the_same() {
    let desk = Desk::with(Way::Nusb, Kind::Virtual);
    let ran = desk.run(&["list", "--explain", "--json", "--drivers", desk.drivers()]);
    assert_eq!(ran.code, 0, "{}", ran.whole());
    let libraries: Vec<Value> = ran.lines().into_iter().filter(|line| line["type"] == "usb_library").collect();
    assert_eq!(libraries.len(), 2);
    assert!(libraries.iter().all(|line| line["built"] == true && line["devices"] == 1), "{}", ran.whole());
    let devices: Vec<Value> = ran.lines().into_iter().filter(|line| line["type"] == "explained").collect();
    assert_eq!(devices.len(), 1, "root hubs are no devices: {}", ran.whole());
    assert_eq!((&devices[0]["verdict"], &devices[0]["finding"]), (&"phone".into(), &Value::Null));
    assert_eq!(devices[0]["seen_by"], serde_json::json!(["system", "libusb"]));
}
