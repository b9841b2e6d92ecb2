//! The reference phone on the kernel's USB, at both speeds, through the computer's own USB backend.

use super::board::{Board, Maker, Options, PORTS};
use super::guest;
use super::tool::Tool;
use super::world::{World, expect};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

const SPEEDS: [(&str, &str); 2] = [("high", "480"), ("super", "5000")];

/// Whether an earlier gadget of ours has left something.
fn leftovers() -> Vec<String> {
    let names =
        |folder: &str| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let gadgets = names("/sys/kernel/config/usb_gadget").filter(|name| name.starts_with("tethercert-"));
    gadgets.chain(names("/dev").filter(|name| name.starts_with("ffs-"))).collect()
}

#[test]
fn a_phone_of_hardware_is_provisioned_verified_and_renewed_at_either_speed_and_keeps_it_over_a_restart() {
    guest::here();
    let (place, world, tool) = (TempDir::new().unwrap(), World::start(), Tool::new());
    let maker = Maker::in_folder(place.path());
    for (number, (speed, megabits)) in (1..).zip(SPEEDS) {
        let options = Options::new(place.path(), number).with(&["--speed", speed]);
        maker.vouch_for(&options);
        let board = Board::start(&options, PORTS[0]);
        assert_eq!(guest::attribute(&board.folder(), "speed").as_deref(), Some(megabits));

        let first = expect(&tool, &world.provision(maker.drivers(), &world.password()), "done");
        board.says("a new identity was installed over USB");
        board.stop();
        assert_eq!(leftovers(), [] as [String; 0]);

        let board = Board::start(&options, PORTS[1]);
        board.says("holds ");
        let verify = [&["verify", "--json"][..], &world.wires(maker.drivers())].concat();
        expect(&tool, &verify, "good");
        let renewed = expect(&tool, &world.provision(maker.drivers(), &["--renew", "--auth", "certificate"]), "done");
        assert_ne!(renewed.last()["certificate_sha256"], first.last()["certificate_sha256"], "{}", renewed.whole());
        board.stop();
    }
}

#[test]
fn a_phone_of_hardware_that_loses_power_in_a_job_is_brought_to_its_end_by_resume() {
    guest::here();
    let (place, world, tool) = (TempDir::new().unwrap(), World::start(), Tool::new());
    let maker = Maker::in_folder(place.path());
    let options = Options::new(place.path(), 1);
    maker.vouch_for(&options);
    let board = Board::start(&options, PORTS[0]);
    let arguments = world.provision(maker.drivers(), &world.password());
    let mut job = tool.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(job.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line.contains("step_began") && line.contains("publish")));
    board.kill();
    let rest: Vec<String> = lines.collect();
    assert_ne!(job.wait().unwrap().code(), Some(0), "{rest:#?}");

    let board = Board::start(&options, PORTS[0]);
    let resume = [&["resume", "--json"][..], &world.wires(maker.drivers()), &world.password()].concat();
    let ended = tool.run(&resume);
    assert_eq!(ended.last()["outcome"], "done", "{rest:#?} then {}", ended.whole());
    board.stop();
}

#[test]
fn somebody_at_the_phone_agrees_or_declines() {
    guest::here();
    let (place, world) = (TempDir::new().unwrap(), World::start());
    let maker = Maker::in_folder(place.path());
    let options = Options::new(place.path(), 1).with(&["--consent", "key"]);
    maker.vouch_for(&options);
    let mut board = Board::start(&options, PORTS[0]);
    for (answer, outcome) in [("n", "not_done"), ("y", "done")] {
        let tool = Tool::new();
        let arguments = world.provision(maker.drivers(), &world.password());
        let ended = std::thread::scope(|scope| {
            let job = scope.spawn(|| tool.run(&arguments));
            board.says("wants to set up this phone");
            board.type_line(answer);
            job.join().unwrap()
        });
        assert_eq!(ended.last()["outcome"], outcome, "{}", ended.whole());
    }
    board.stop();
}

#[test]
fn a_port_that_serves_a_phone_is_not_taken_from_it_and_what_a_dead_one_left_is_removed() {
    guest::here();
    let place = TempDir::new().unwrap();
    let first = Board::start(&Options::new(place.path(), 1), PORTS[0]);
    let second = Board::begin(&Options::new(place.path(), 2), PORTS[0]);
    assert!(!second.ends_well(), "the port was taken");
    first.slot();
    first.kill();
    assert_ne!(leftovers(), [] as [String; 0], "a killed program removes nothing");
    Board::start(&Options::new(place.path(), 3), PORTS[0]).stop();
    assert_eq!(leftovers(), [] as [String; 0]);
}

#[test]
fn a_gadget_that_is_taken_off_its_port_ends_the_program_with_what_happened() {
    guest::here();
    let place = TempDir::new().unwrap();
    let board = Board::start(&Options::new(place.path(), 1), PORTS[0]);
    let gadget = Path::new("/sys/kernel/config/usb_gadget").join(format!("tethercert-{}", PORTS[0])).join("UDC");
    fs::write(gadget, "\n").unwrap();
    assert!(!board.ends_well());
    assert_eq!(leftovers(), [] as [String; 0]);
}
