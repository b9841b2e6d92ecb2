//! Many phones by a roster on the kernel's own USB.

use super::guest;
use super::tool::Tool;
use super::world::World;
use tethercert::lab::phone::Lies;

/// How often the command is repeated.
const RUNS: usize = 4;

#[test]
fn eight_phones_at_once_are_done_and_an_ill_one_fails_alone() {
    guest::here();
    let mut world = World::with_phones(8);
    let tool = Tool::new();
    world.runtime.block_on(world.lab.attach()).unwrap();
    let ready = world.lab.ready();
    let ill = world.lab.phones()[2].1.clone();
    ill.lie(Lies { garbles_answers: true, ..Lies::default() });

    let drivers = ready.drivers.to_str().unwrap();
    let (roster, secrets) = (ready.roster.to_str().unwrap(), ready.secrets.to_str().unwrap());
    let mut station = vec!["provision", "--json", "--roster", roster, "--secrets", secrets];
    station.extend(world.wires(drivers));
    // One emulated processor for eight phones and the program: where the host is busy too, a phone may miss a deadline. Then
    // the same command goes on with it, and with it alone.
    let summary = (0..RUNS)
        .map(|_| {
            let ran = tool.run(&station);
            assert!([4, 5, 7].contains(&ran.code), "{}", ran.whole());
            ran.last()
        })
        .find(|summary| summary["done"] == 7)
        .unwrap_or_else(|| panic!("not done in {RUNS} runs"));
    let rows = summary["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 8, "{summary}");
    for ((row, phone), (bus_id, virtual_phone)) in rows.iter().zip(&ready.phones).zip(world.lab.phones()) {
        let is_ill = bus_id == "1-3";
        assert_eq!((row["exit_code"] == 0, virtual_phone.installed().is_some()), (!is_ill, !is_ill), "{row}");
        // A port of the kernel's, and the one on which the kernel has this phone.
        assert_eq!(row["port"].as_str(), phone.attached.as_deref(), "{row}");
        let held = virtual_phone.memory().identity.map(|held| held.user);
        assert!(is_ill || held.as_deref() == row["user"].as_str(), "{row}");
    }

    ill.lie(Lies::default());
    let ran = tool.run(&station);
    assert_eq!(ran.code, 0, "{}", ran.whole());
    let before = ran.last()["rows"].as_array().unwrap().iter().filter(|row| row["outcome"] == "done_before").count();
    assert_eq!((before, world.lab.web().store().list().len()), (7, 8));
    world.runtime.block_on(world.lab.detach());
}
