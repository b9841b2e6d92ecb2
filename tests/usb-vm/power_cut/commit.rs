//! A phone of hardware whose power goes while it commits: after each cut it holds its whole old identity or its whole new
//! one, and `resume` brings the job to its end.

use super::super::board::{Board, Maker, Options, PORTS};
use super::super::guest::{self, Progress};
use super::super::tool::{Ran, Tool};
use super::super::world::{World, expect};
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use tethercert::gadget::folder::Written;

/// What may be held after a cut at this step of writing the new state.
fn may_hold(step: Written, old: bool) -> bool {
    match step {
        Written::Nothing | Written::Half | Written::All | Written::Synced => old,
        // The new name may have been on the disk or not: both are whole.
        Written::Renamed => true,
        Written::Done => !old,
    }
}

/// The certificate that a job ended with.
fn certificate(ended: &Ran) -> String {
    ended.last()["certificate_sha256"].as_str().unwrap_or_else(|| panic!("{}", ended.whole())).to_owned()
}

/// The certificate that the phone holds by its own word.
fn held(tool: &Tool, drivers: &str) -> String {
    let info = tool.run(&["info", "--json", "--drivers", drivers]);
    match &info.last()["in_use"]["fingerprint"] {
        Value::String(fingerprint) => fingerprint.clone(),
        _ => panic!("{}", info.whole()),
    }
}

/// One cut a step; the boot after it looks at the last cut, ends its job, and cuts at the next step.
#[test]
fn a_cut_at_any_step_of_a_commit_leaves_the_whole_old_identity_or_the_whole_new_one_and_resume_ends_the_job() {
    let progress = Progress::of("commit");
    let place = Path::new(guest::DISK).join("commit");
    let home = place.join("home");
    fs::create_dir_all(&home).unwrap();
    let (world, tool) = (World::start(), Tool::new().with("HOME", home.to_str().unwrap()));
    let maker = Maker::in_folder(&place);
    let options = Options::new(&place, 1);
    let cuts = progress.step() as usize;

    // The proof that ends a job is the phone's word for what it holds.
    let proved = if cuts == 0 {
        maker.vouch_for(&options);
        // What the computer has, and the factory gave, is older than any cut.
        assert!(Command::new("sync").status().unwrap().success());
        let board = Board::start(&options, PORTS[0]);
        let first = expect(&tool, &world.provision(maker.drivers(), &world.password()), "done");
        board.stop();
        first
    } else {
        let step = Written::ALL[cuts - 1];
        let before = fs::read_to_string(place.join("old")).unwrap();
        let board = Board::start(&options, PORTS[0]);
        let old = held(&tool, maker.drivers()) == before;
        assert!(
            may_hold(step, old),
            "cut at {}: it holds the {} identity",
            step.name(),
            if old { "old" } else { "new" }
        );
        // The lab is at another port in each boot. What is committed is proved without it, against the address of its job.
        let committed_for = fs::read_to_string(place.join("web-services")).unwrap();
        let mut wires = world.wires(maker.drivers());
        if !old {
            wires[1] = &committed_for;
        }
        let resume = [&["resume", "--json"][..], &wires, &world.password()].concat();
        let resumed = expect(&tool, &resume, "done");
        board.stop();
        assert_ne!(certificate(&resumed), before, "cut at {}", step.name());
        println!(
            "cut at {}: the {} identity, then resumed to the new one",
            step.name(),
            if old { "old" } else { "new" }
        );
        resumed
    };
    let Some(step) = Written::ALL.get(cuts) else { return };

    let board = Board::start(&Options { pause_at: Some(step.name().to_owned()), ..options }, PORTS[0]);
    fs::write(place.join("old"), certificate(&proved)).unwrap();
    fs::write(place.join("web-services"), &world.ready.certprov_url).unwrap();
    for path in [place.join("old"), place.join("web-services"), place.clone()] {
        File::open(path).unwrap().sync_all().unwrap();
    }
    let renew = world.provision(maker.drivers(), &["--renew"]);
    let arguments = [&renew[..], &world.password()].concat();
    let _job = tool.command(&arguments).spawn().unwrap();
    board.says(&format!("PAUSED at {}", step.name()));
    progress.cut_power();
}
