//! Setting this computer up for phones, and devices that are refused.

use super::tool::Tool;
use super::{path, snapshot};
use serde_json::Value;
use std::path::Path;

fn shipped(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn the_udev_rules_go_to_stdout_and_what_to_do_with_them_does_not() {
    let tool = Tool::new();
    let ran = tool.run(&["setup", "udev"]);
    assert_eq!((ran.code, ran.stdout), (0, shipped("udev/70-tethercert.rules")));
    assert!(ran.stderr.contains("sudo tethercert setup udev --install"), "{}", ran.stderr);

    let line = tool.run(&["setup", "udev", "--json", "--group", "station"]).last();
    assert_eq!((&line["type"], &line["file"]), (&"udev_rules".into(), &"/etc/udev/rules.d/70-tethercert.rules".into()));
    assert!(line["text"].as_str().unwrap().contains("GROUP=\"station\", MODE=\"0660\""), "{line}");
    let commands =
        ["sudo tethercert setup udev --group station --install", "tethercert setup udev --group station --check"];
    assert_eq!(line["commands"], serde_json::json!(commands));
    assert_eq!(tool.run(&["setup", "udev", "--group", "a\", MODE=\"0666"]).code, 2);
}

#[test]
fn rules_are_written_once_and_never_over_somebodys_work_unasked() {
    let tool = Tool::new();
    let folder = tool.home.path().join("rules.d");
    let write = |more: &[&str]| tool.run(&[&["setup", "udev", "--json", "--to", path(&folder)][..], more].concat());
    let file = folder.join("70-tethercert.rules");
    let written = |more: &[&str]| {
        let ran = write(more);
        (ran.code, ran.last()["written"].clone())
    };
    assert_eq!(written(&[]), (0, true.into()));
    assert_eq!(written(&[]), (0, false.into()), "the same again");
    assert_eq!(written(&["--group", "station"]), (0, true.into()), "nobody has changed what was there");

    let changed = std::fs::read_to_string(&file).unwrap().replace("0660", "0666");
    std::fs::write(&file, &changed).unwrap();
    let ran = write(&["--group", "station"]);
    assert_eq!(ran.code, 6, "{}", ran.whole());
    let [difference, error] = ran.lines().try_into().unwrap();
    let lines: Vec<&str> = difference["difference"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(lines.iter().any(|line| line.starts_with('-') && line.contains("0666")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with('+') && line.contains("0660")), "{lines:?}");
    assert!(error["next_step"].as_str().unwrap().contains("--force"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), changed);
    assert_eq!(written(&["--group", "station", "--force"]), (0, true.into()));
}

#[test]
fn a_check_says_what_it_saw_and_ends_well_only_where_nothing_is_bad() {
    let ran = Tool::new().run(&["setup", "udev", "--check", "--json"]);
    let findings = ran.lines();
    assert_eq!(findings[0]["check"], "rules");
    let bad = findings.iter().filter(|finding| finding["verdict"] == "bad").count();
    assert_eq!(ran.code, if bad > 0 { 8 } else { 0 }, "{}", ran.whole());
    assert!(findings.iter().all(|it| it["verdict"] == "good" || it["next_step"].is_string()), "{}", ran.whole());
}

#[test]
fn the_driver_file_is_shown_and_written_and_other_systems_say_that_they_need_none() {
    let tool = Tool::new();
    let ran = tool.run(&["setup", "driver"]);
    let inf = shipped("drivers/windows/tethercert.inf");
    assert_eq!((ran.code, ran.stdout), (0, inf.replace("\r\n", "\n")));
    assert!(ran.stderr.contains("needs no driver") && ran.stderr.contains("signed"), "{}", ran.stderr);

    let folder = tool.home.path().join("windows");
    assert_eq!(tool.run(&["setup", "driver", "--to", path(&folder)]).code, 0);
    assert_eq!(std::fs::read_to_string(folder.join("tethercert.inf")).unwrap(), inf);
    std::fs::write(folder.join("tethercert.inf"), "; mine").unwrap();
    assert_eq!(tool.run(&["setup", "driver", "--to", path(&folder)]).code, 6);

    let ran = tool.run(&["setup", "driver", "--check", "--json"]);
    assert_eq!((ran.code, &ran.last()["type"]), (2, &"error".into()), "{}", ran.whole());
}

#[test]
fn a_device_that_brings_a_keyboard_is_shown_and_refused() {
    let tool = Tool::new();
    let fault = ["--lab", "--fault", "brings=keyboard"];
    snapshot("list of a refused device", &tool.run(&[&["list"][..], &fault].concat()).whole());
    let info = tool.run(&[&["info"][..], &fault].concat());
    snapshot("info of a refused device", &info.whole());
    assert_eq!(info.code, 6);
    let line = tool.run(&[&["list", "--json"][..], &fault].concat()).lines().remove(0);
    let unexpected = serde_json::json!([{ "interface": 2, "class": "03/01/01", "what": "keyboard" }]);
    assert_eq!((&line["unexpected"], &line["can"]), (&unexpected, &serde_json::json!(["info"])), "{line}");
    for command in ["provision", "verify", "identify"] {
        let ran = tool.run(&[&[command, "--json"][..], &fault].concat());
        assert_eq!(ran.code, 6, "{}", ran.whole());
        assert!(ran.stdout.contains("keyboard (interface 2, class 03/01/01)"), "{}", ran.whole());
    }
    let hidden = tool.run(&["provision", "--json", "--lab", "--fault", "brings=hidden-keyboard"]);
    assert_eq!(hidden.code, 6, "{}", hidden.whole());
}
