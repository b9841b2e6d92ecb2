//! What is on a disk when the power is cut: the test of the boot `power-cut`.

use super::board::{Board, Maker, Options};
use super::guest::{self, disk};
use super::tool::{Ran, Tool};
use super::world::{World, expect};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tethercert::gadget::folder::Written;

/// Where the Web Services are before and after the cut: what is published is proved against the address of its job.
const WEB_SERVICES: u16 = 4443;

/// The board that is cut at this step. It has a disk of its own, so that no other's writing makes anything durable.
fn board(step: Written) -> Options {
    let number = 1 + Written::ALL.iter().position(|other| *other == step).unwrap();
    Options::new(&disk(number), number.try_into().unwrap())
}

/// Which identity it had before.
fn note(computer: &Path, step: Written) -> PathBuf {
    computer.join(format!("old identity of {}", step.name()))
}

/// The certificate that a phone holds by its own word.
fn held(tool: &Tool, drivers: &str) -> String {
    let info = tool.run(&["info", "--json", "--drivers", drivers]);
    let last = info.last();
    last["in_use"]["fingerprint"].as_str().unwrap_or_else(|| panic!("{}", info.whole())).to_owned()
}

/// The certificate that a job ended with.
fn certificate(ended: &Ran) -> String {
    ended.last()["certificate_sha256"].as_str().unwrap_or_else(|| panic!("{}", ended.whole())).to_owned()
}

/// One cut for all steps, each on a board of its own.
#[test]
fn a_cut_at_any_step_of_a_commit_leaves_the_whole_old_identity_or_the_whole_new_one_and_resume_ends_the_job() {
    guest::here();
    let computer = disk(0);
    let tool = Tool::new().with("HOME", computer.to_str().unwrap());
    let (world, maker) = (World::at(WEB_SERVICES), Maker::in_folder(&computer));
    match guest::boot() {
        1 => up_to_the_cut(&world, &maker, &tool, &computer),
        2 => after_the_cut(&world, &maker, &tool, &computer),
        more => panic!("the power is cut once, and this is boot {more}"),
    }
}

fn up_to_the_cut(world: &World, maker: &Maker, tool: &Tool, computer: &Path) {
    // What the computer has, and the factory gave, is older than the cut.
    for step in Written::ALL {
        let board = board(step);
        maker.vouch_for(&board);
        fs::write(board.storage.with_file_name("synced"), [7; 5000]).unwrap();
    }
    assert!(Command::new("sync").status().unwrap().success());

    let mut paused = Vec::new();
    for (step, port) in Written::ALL.into_iter().zip(guest::device_ports()) {
        let board = Board::start(&Options { pause_at: Some(step.name().to_owned()), ..board(step) }, &port);
        let device = format!("port:{}", board.slot());
        let provision = [&["--device", &device][..], &world.password()].concat();
        let first = expect(tool, &world.provision(maker.drivers(), &provision), "done");
        let mut note = File::create(note(computer, step)).unwrap();
        note.write_all(certificate(&first).as_bytes()).unwrap();
        note.sync_all().unwrap();

        let renew = [&["--renew"][..], &provision].concat();
        let mut job = tool.command(&world.provision(maker.drivers(), &renew)).stdout(Stdio::null()).spawn().unwrap();
        board.says(&format!("PAUSED at {}", step.name()));
        // It would wait for the phone, and give up.
        job.kill().unwrap();
        job.wait().unwrap();
        paused.push(board);
    }
    File::open(computer).unwrap().sync_all().unwrap();
    for step in Written::ALL {
        fs::write(board(step).storage.with_file_name("not synced"), [7; 5000]).unwrap();
    }
    guest::cut_power()
}

fn after_the_cut(world: &World, maker: &Maker, tool: &Tool, computer: &Path) {
    for (number, step) in (1..).zip(Written::ALL) {
        let options = board(step);
        // That it was a cut.
        assert_eq!(fs::read(options.storage.with_file_name("synced")).unwrap(), [7; 5000]);
        let lost = fs::read(options.storage.with_file_name("not synced")).unwrap_or_default();
        assert!(lost.is_empty(), "{} bytes were never written to the disk, and are there", lost.len());

        let before = fs::read_to_string(note(computer, step)).unwrap();
        let board = Board::start(&options, &guest::device_ports()[0]);
        let which = if held(tool, maker.drivers()) == before { "old" } else { "new" };
        let may_hold: &[_] = match step {
            Written::Nothing | Written::Half | Written::All | Written::Synced => &["old"],
            // The new name may have been on the disk or not: both are whole.
            Written::Renamed => &["old", "new"],
            Written::Done => &["new"],
        };
        assert!(may_hold.contains(&which), "cut at {}: it holds the {which} identity", step.name());

        // The renewal is the second of its two jobs.
        let job = (2 * number).to_string();
        let resume = [&["resume", &job, "--json"][..], &world.wires(maker.drivers()), &world.password()].concat();
        let resumed = expect(tool, &resume, "done");
        board.stop();
        assert_ne!(certificate(&resumed), before, "cut at {}", step.name());
        println!("cut at {}: the {which} identity, then resumed to the new one", step.name());
    }
}
