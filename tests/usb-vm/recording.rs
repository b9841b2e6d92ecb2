//! Seeing what a phone is: its descriptors without rights, and its traffic as the kernel sees it.

use super::guest;
use super::tool::{Ran, Tool};
use super::world::{World, expect};
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;
use tethercert::usb::capture::Packet;

/// A user whom no rule and no group lets near a device.
const VISITOR: u32 = 1001;
const BULK: u8 = 3;

/// A lab with phones that the kernel has.
fn phones(number: u8) -> World {
    guest::here();
    let mut world = World::with_phones(number);
    world.runtime.block_on(world.lab.attach()).unwrap();
    world.ready = world.lab.ready();
    world
}

fn drivers(world: &World) -> &str {
    world.ready.drivers.to_str().unwrap()
}

/// A phone's port, like `1-1`.
fn place(world: &World, phone: usize) -> String {
    world.ready.phones[phone].attached.clone().unwrap()
}

fn number_on_bus(place: &str) -> u8 {
    guest::attribute(&Path::new("/sys/bus/usb/devices").join(place), "devnum").unwrap().parse().unwrap()
}

/// `tethercert record`, running.
struct Recording {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Recording {
    fn begin(tool: &Tool, place: &str, file: &Path) -> Self {
        let device = format!("port:{place}");
        let mut command = tool.command(&["record", "--device", &device, file.to_str().unwrap()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        // The second line is there once the bus is open.
        while !on_one_line(&line).contains("becomes a remark") {
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended: {line}");
        }
        Self { child, said }
    }

    /// Types a line, and waits until it was taken.
    fn type_in(&mut self, remark: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{remark}").unwrap();
        let mut line = String::new();
        while !on_one_line(&line).contains(remark) {
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "it ended: {line}");
        }
    }

    /// Ctrl-C.
    fn end(mut self) {
        assert!(Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

/// Without the breaks that the width of a terminal makes.
fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The packets of a capture with their remarks.
fn read(file: &Path) -> Vec<(Packet, Vec<String>)> {
    let mut reader = PcapNgReader::new(File::open(file).unwrap()).unwrap();
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(block) = block.unwrap() {
            let remarks = block.options.iter().filter_map(|option| match option {
                EnhancedPacketOption::Comment(text) => Some(text.to_string()),
                _ => None,
            });
            packets.push((Packet::read(&block.data).unwrap(), remarks.collect()));
        }
    }
    packets
}

#[test]
fn the_traffic_of_one_phone_of_two_is_kept_while_both_are_provisioned() {
    let world = phones(2);
    let (tool, folder) = (Tool::new(), TempDir::new().unwrap());
    let file = folder.path().join("phone.pcapng");
    let (ours, other) = (place(&world, 0), place(&world, 1));
    let mut recording = Recording::begin(&tool, &ours, &file);
    recording.type_in("now I provision it");
    for place in [&ours, &other] {
        let device = format!("port:{place}");
        let password = world.password();
        let more = [&["--device", &device], &password[..]].concat();
        expect(&tool, &world.provision(drivers(&world), &more), "done");
    }
    recording.end();

    let packets = read(&file);
    let number = number_on_bus(&ours);
    assert!(packets.iter().all(|(packet, _)| packet.device() == number), "another device is in it");
    let bulk = |endpoint| packets.iter().filter(|(it, _)| (it.transfer(), it.endpoint()) == (BULK, endpoint)).count();
    // Seven exchanges at least, each submitted and completed.
    assert!(bulk(0x01) >= 14 && bulk(0x82) >= 14, "{} out, {} in", bulk(0x01), bulk(0x82));
    assert_eq!(packets[0].1, ["now I provision it"]);
    assert!(packets.is_sorted_by_key(|(packet, _)| packet.time()));
    fs::copy(&file, Path::new(guest::JOB).join("recorded.pcapng")).unwrap();
}

#[test]
fn a_phone_that_comes_back_on_its_port_under_another_number_is_kept_with_its_enumeration() {
    let world = phones(1);
    let (tool, folder) = (Tool::new(), TempDir::new().unwrap());
    let file = folder.path().join("phone.pcapng");
    let ours = place(&world, 0);
    let before = number_on_bus(&ours);
    let recording = Recording::begin(&tool, &ours, &file);
    assert!(world.lab.exporter().pull("1-1"));
    guest::wait_for("the kernel to see the cable pulled", || guest::plugged().is_empty().then_some(()));
    assert!(world.lab.exporter().replug("1-1"));
    let again = guest::wait_for("the kernel to see the cable put in", || guest::plugged().pop());
    if again.file_name().unwrap().to_str() != Some(ours.as_str()) {
        // The kernel chose another port for it: then nothing of it may be there.
        recording.end();
        assert!(read(&file).iter().all(|(packet, _)| packet.device() == before));
        return;
    }
    let after = guest::wait_for("its strings", || {
        guest::attribute(&again, "serial")?;
        Some(number_on_bus(&ours))
    });
    guest::wait_for("its first packets", || fs::metadata(&file).unwrap().len().gt(&2000).then_some(()));
    recording.end();
    assert_ne!(before, after);
    let packets = read(&file);
    let descriptor = packets.iter().any(|(packet, _)| packet.device() == after && packet.data().starts_with(&[18, 1]));
    assert!(descriptor, "its device descriptor is read in the enumeration");
}

/// The same program as somebody without rights.
fn as_visitor(tool: &Tool, arguments: &[&str]) -> Ran {
    let mut command = tool.command(arguments);
    command.env("HOME", "/tmp").uid(VISITOR).gid(VISITOR);
    let output = command.output().unwrap();
    Ran {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

#[test]
fn who_may_not_read_usbmon_is_told_so_with_the_next_step() {
    let world = phones(1);
    let ran =
        as_visitor(&Tool::new(), &["record", "--device", &format!("port:{}", place(&world, 0)), "/tmp/no.pcapng"]);
    assert_eq!(ran.code, 1, "{}", ran.whole());
    assert!(ran.stderr.contains("this user may not read /dev/usbmon"), "{}", ran.whole());
    assert!(ran.stderr.contains("setfacl"), "{}", ran.whole());
    assert!(!Path::new("/tmp/no.pcapng").exists());
}

#[test]
fn what_the_kernel_keeps_of_a_device_is_shown_without_any_right_and_what_is_missing_is_named() {
    let world = phones(1);
    let (tool, device) = (Tool::new(), format!("port:{}", place(&world, 0)));
    let arguments = ["info", "--usb", "--json", "--device", &device];
    let seen = as_visitor(&tool, &[&arguments[..], &["--host-key", "/tmp/visitors-host-key"]].concat());
    assert_eq!(seen.code, 0, "{}", seen.whole());
    let seen = seen.last();
    assert_eq!(seen["configurations"][0]["interfaces"][0]["class"], "ff/54/01 the vendor's own");
    assert_eq!(seen["speed"], "480 Mbit/s");
    assert!(seen["strings"].as_array().unwrap().iter().any(|string| string["text"] == "Desk 2"), "{seen}");
    let missing = seen["missing"][0].to_string();
    assert!(missing.contains("may not open") && missing.contains("Microsoft OS"), "{missing}");

    let whole = tool.run(&arguments);
    let whole = whole.last();
    assert!(whole["microsoft_os_2"].is_string() && whole["languages"][0] == "0x0409 English, United States", "{whole}");
    assert_eq!(whole["configurations"], seen["configurations"]);
}
