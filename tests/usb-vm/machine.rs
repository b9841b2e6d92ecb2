//! The machine itself: that the tests run on what they are meant to run on.

use super::guest;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn udev_runs_and_has_nothing_left_to_do() {
    guest::here();
    let settled = Command::new("udevadm").args(["settle", "--timeout=60"]).status().unwrap();
    assert!(settled.success());
    assert!(Path::new("/run/udev/control").exists(), "nobody listens");
}

#[test]
fn the_kernel_has_both_ways_to_plug_a_phone_in_that_is_no_hardware() {
    guest::here();
    assert!(Path::new("/sys/devices/platform/vhci_hcd.0/attach").exists());
    let ports = fs::read_dir("/sys/class/udc").unwrap().count();
    assert_eq!(ports, 2, "device ports of dummy_hcd");
}

#[test]
fn the_kernel_shows_the_traffic_of_every_bus() {
    guest::here();
    assert!(Path::new("/sys/kernel/debug/usb/usbmon/0u").exists());
}

#[test]
fn nothing_is_plugged_in_when_a_test_begins() {
    guest::here();
    assert!(guest::plugged().is_empty(), "{:?}", guest::plugged());
}

#[test]
fn the_program_that_is_tested_is_the_one_that_was_built() {
    guest::here();
    let version = Command::new(env!("CARGO_BIN_EXE_tethercert")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(version.stdout).unwrap(), concat!("tethercert ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml").exists());
}
