//! Who may open a phone on a computer with udev: the program itself, run as one user and as another.

use super::guest;
use super::own_usb::OwnUsb;
use super::tool::Ran;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// `guest/etc/passwd` and `guest/etc/group`.
const TECHNICIAN: u32 = 1000;
const VISITOR: u32 = 1001;
const PLUGDEV: u32 = 46;
const RULES: &str = "/etc/udev/rules.d/70-tethercert.rules";

/// The program as this user with this one group.
fn run_as(bench: &OwnUsb, user: u32, group: u32, arguments: &[&str]) -> Ran {
    let mut command = bench.tool.command(arguments);
    let home = PathBuf::from(format!("/tmp/home-{user}"));
    fs::create_dir_all(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(user), Some(group)).unwrap();
    // Becoming somebody else also lets go of root's further groups.
    let output = command.env("HOME", &home).uid(user).gid(group).output().unwrap();
    Ran {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

fn finding(ran: &Ran, check: &str) -> serde_json::Value {
    let found = ran.lines().into_iter().find(|line| line["check"] == check);
    found.unwrap_or_else(|| panic!("nothing about {check}: {}", ran.whole()))
}

/// Takes the rules away again, and what they did to the devices.
struct Removed;

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(RULES);
        for arguments in
            [&["control", "--reload"][..], &["trigger", "--subsystem-match=usb", "--action=add"], &["settle"]]
        {
            let _ = Command::new("udevadm").args(arguments).status();
        }
    }
}

#[test]
fn a_user_whom_the_rules_let_in_opens_a_phone_and_another_is_told_what_to_do() {
    guest::here();
    let _removed = Removed;
    let bench = OwnUsb::with_phones(1, &[]);
    let place = bench.place(0);
    let info = ["info", "--json", "--device", &place];
    let check = ["setup", "udev", "--check", "--json"];

    // Without rules: the named error, with the step that helps.
    for user in [TECHNICIAN, VISITOR] {
        let ran = run_as(&bench, user, user, &info);
        let error = ran.last();
        assert_eq!((ran.code, &error["type"]), (1, &"error".into()), "{}", ran.whole());
        assert!(error["message"].as_str().unwrap().contains("the cable failed"), "{error}");
        assert!(error["causes"].to_string().contains("this user may not open the device on port"), "{error}");
        assert!(error["next_step"].as_str().unwrap().contains("sudo tethercert setup udev --install"), "{error}");
    }
    let ran = run_as(&bench, TECHNICIAN, TECHNICIAN, &check);
    assert_eq!((ran.code, &finding(&ran, "rules")["verdict"]), (8, &"bad".into()), "{}", ran.whole());
    let ran = run_as(&bench, TECHNICIAN, TECHNICIAN, &["setup", "udev", "--install", "--json"]);
    assert_eq!(ran.code, 8, "only root installs: {}", ran.whole());
    assert!(ran.last()["next_step"].as_str().unwrap().contains("sudo"), "{}", ran.whole());

    // A group: its member opens the phone, nobody else does, and each is told so.
    let install = ["setup", "udev", "--group", "plugdev", "--install", "--json"];
    let ran = bench.tool.run(&install);
    assert_eq!(ran.code, 0, "{}", ran.whole());
    assert_eq!(ran.lines()[0]["written"], true);
    assert!(finding(&ran, "phone")["says"].as_str().unwrap().contains("the rules have reached it"), "{}", ran.whole());
    assert_eq!(fs::metadata(RULES).unwrap().permissions().mode() & 0o7777, 0o644);
    let node = fs::metadata(bench.node(0)).unwrap();
    assert_eq!((node.uid(), node.gid(), node.mode() & 0o777), (0, PLUGDEV, 0o660));
    let ran = run_as(&bench, TECHNICIAN, PLUGDEV, &info);
    assert_eq!((ran.code, &ran.last()["identity"]["serial"]), (0, &"LAB00001".into()), "{}", ran.whole());
    let ran = run_as(&bench, TECHNICIAN, PLUGDEV, &check);
    assert_eq!(ran.code, 0, "{}", ran.whole());
    assert!(finding(&ran, "phone")["says"].as_str().unwrap().contains("root:plugdev 0660; technician may open it"));

    let ran = run_as(&bench, VISITOR, VISITOR, &info);
    assert!(ran.code == 1 && ran.stdout.contains("setup udev --check"), "{}", ran.whole());
    let ran = run_as(&bench, VISITOR, VISITOR, &check);
    assert_eq!(ran.code, 8, "{}", ran.whole());
    assert_eq!(finding(&ran, "rules")["verdict"], "good");
    let next = finding(&ran, "group")["next_step"].clone();
    assert_eq!(next, "sudo usermod -aG plugdev visitor, then log in anew");
    // The technician of /etc/group, in a login from before he was put into it.
    let ran = run_as(&bench, TECHNICIAN, TECHNICIAN, &check);
    assert_eq!(
        (ran.code, &finding(&ran, "group")["next_step"]),
        (8, &"log out and in again".into()),
        "{}",
        ran.whole()
    );

    // The same again changes nothing, and somebody's own file stays.
    assert_eq!(bench.tool.run(&install).lines()[0]["written"], false);
    fs::write(RULES, "SUBSYSTEM==\"usb\", MODE=\"0666\"\n").unwrap();
    assert_eq!(bench.tool.run(&install).code, 6);
    assert_eq!(fs::read_to_string(RULES).unwrap(), "SUBSYSTEM==\"usb\", MODE=\"0666\"\n");
    assert_eq!(bench.tool.run(&[&install[..], &["--force"]].concat()).code, 0);
    let missing = ["setup", "udev", "--group", "station", "--install", "--json"];
    let ran = bench.tool.run(&missing);
    assert!(ran.code == 8 && ran.stdout.contains("groupadd --system station"), "{}", ran.whole());
}

#[test]
fn the_person_at_the_seat_opens_a_phone_by_its_access_list_and_who_has_no_seat_is_led_to_a_group() {
    guest::here();
    let _removed = Removed;
    let mut bench = OwnUsb::with_phones(1, &[]);
    let place = bench.place(0);
    let check = ["setup", "udev", "--check", "--json"];
    assert_eq!(bench.tool.run(&["setup", "udev", "--install"]).code, 0);

    // Nobody sits here: there is no logind in this machine.
    let ran = run_as(&bench, TECHNICIAN, TECHNICIAN, &check);
    assert_eq!(ran.code, 8, "{}", ran.whole());
    let next = finding(&ran, "phone")["next_step"].clone();
    assert!(next.as_str().unwrap().contains("setup udev --group GROUP --install"), "{next}");

    // What logind does for who sits there.
    let list = acl_for(TECHNICIAN);
    let node = bench.node(0);
    rustix::fs::setxattr(&node, "system.posix_acl_access", &list, rustix::fs::XattrFlags::empty()).unwrap();
    let ran = run_as(&bench, TECHNICIAN, TECHNICIAN, &check);
    assert_eq!(ran.code, 0, "{}", ran.whole());
    assert!(finding(&ran, "phone")["says"].as_str().unwrap().contains("user:technician:rw"), "{}", ran.whole());
    assert_eq!(run_as(&bench, TECHNICIAN, TECHNICIAN, &["info", "--json", "--device", &place]).code, 0);
    assert_eq!(run_as(&bench, VISITOR, VISITOR, &check).code, 8);

    // A phone that is plugged in later has it from the rules alone.
    bench.replug();
    let ran = bench.tool.run(&check);
    assert!(finding(&ran, "phone")["says"].as_str().unwrap().contains("the rules have reached it"), "{}", ran.whole());
}

/// owner rw-, this user rw-, group r--, mask rw-, others r--.
fn acl_for(user: u32) -> Vec<u8> {
    let entry = |tag: u16, permissions: u16, number: u32| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &number.to_le_bytes()].concat()
    };
    let nobody = u32::MAX;
    let entries =
        [entry(1, 6, nobody), entry(2, 6, user), entry(4, 4, nobody), entry(16, 6, nobody), entry(32, 4, nobody)];
    [&2_u32.to_le_bytes()[..], &entries.concat()].concat()
}
