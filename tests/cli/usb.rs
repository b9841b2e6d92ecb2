//! What a device is and says on USB, whatever it is, in a form to send; and jobs that are run again.

use super::{TestLab, path, snapshot};
use crate::tool::Tool;
use pcap_file::pcapng::{Block, PcapNgReader};
use std::fs::File;
use std::path::Path;
use tempfile::TempDir;
use tethercert::lab::usbip::{Bus, Descriptors, Device, Exporter, Setup, Speed, Stall};

/// A device such as nobody has defined: sound with two settings, keys, a network function with a MAC address, a vendor's
/// interface, and a class descriptor that says less than it should.
struct Odd(Descriptors);

impl Odd {
    fn new() -> Self {
        let mut configuration = vec![
            9, 2, 0, 0, 5, 1, 4, 0xa0, 50, // configuration 1, wakes the computer
            8, 11, 0, 2, 1, 1, 0, 5, // interfaces 0 and 1 are one function
            9, 4, 0, 0, 0, 1, 1, 0, 0, // audio control
            9, 0x24, 1, 0, 1, 9, 0, 1, 1, // its header
            9, 4, 1, 0, 0, 1, 2, 0, 0, // audio streaming, silent
            9, 4, 1, 1, 1, 1, 2, 0, 0, // audio streaming
            9, 5, 0x81, 5, 0x40, 0, 1, 0, 0, // isochronous in
            7, 0x25, 1, 0, 0, 0, 0, // class-specific
            9, 4, 2, 0, 1, 3, 0, 0, 0, // HID
            9, 0x21, 0x11, 1, 0, 1, 0x22, 63, 0, // with a report descriptor of 63 bytes
            7, 5, 0x82, 3, 8, 0, 10, // interrupt in
            9, 4, 3, 0, 0, 2, 6, 0, 0, // Ethernet
            13, 0x24, 0x0f, 6, 0, 0, 0, 0, 0xea, 5, 0, 0, 0, // with a MAC address
            3, 0x24, 6, // a union of nothing
            9, 4, 4, 0, 2, 0xff, 0x99, 0x01, 0, // a vendor's interface
            5, 0x41, 1, 2, 3, // with a vendor's descriptor
            7, 5, 0x03, 2, 0, 2, 0, // bulk out
            7, 5, 0x84, 2, 0, 2, 0, // bulk in
        ];
        configuration[2] = u8::try_from(configuration.len()).unwrap();
        let device = [18, 1, 1, 2, 0xef, 2, 1, 64, 0x5e, 0x04, 0x99, 0x99, 0x07, 0x01, 1, 2, 3, 1];
        let strings = ["Acme", "Odd CX600 look-alike", "SN-4711-XY", "all of it", "headset", "0004F2AABBCC"];
        let container = [20, 16, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let mut bos = vec![5, 15, 0, 0, 2, 7, 16, 2, 2, 0, 0, 0];
        bos.extend(container);
        bos[2] = u8::try_from(bos.len()).unwrap();
        let strings = strings.map(str::to_owned).to_vec();
        Self(Descriptors { device, configuration, bos: Some(bos), strings, speed: Speed::High })
    }
}

impl Device for Odd {
    fn descriptors(&self) -> &Descriptors {
        &self.0
    }

    fn attached(&mut self, _: Bus) {}

    fn control(&mut self, _: &Setup, _: &[u8]) -> Result<Vec<u8>, Stall> {
        Err(Stall)
    }

    fn transfer_out(&mut self, _: u8, _: &[u8]) -> Result<(), Stall> {
        Err(Stall)
    }

    fn halt_cleared(&mut self, _: u8) {}

    fn detached(&mut self) {}
}

#[test]
fn a_labs_phone_shows_every_descriptor_that_it_has() {
    let lab = TestLab::start(1, |_| {});
    let tool = Tool::new();
    let info = ["info", "--usb", "--usbip", &lab.ready.usbip, "--drivers", path(&lab.ready.drivers)];
    snapshot("info --usb", &tool.run(&info).whole());
    let asked = tool.run(&[&info[..], &["--ms-os-string", "--json"]].concat());
    assert_eq!(asked.code, 0, "{}", asked.whole());
    assert!(asked.last()["missing"][0]["why"].as_str().unwrap().contains("refused"), "{}", asked.whole());
}

#[test]
fn a_device_that_nobody_knows_is_taken_apart_and_what_only_it_has_can_be_left_out() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let exporter = runtime.block_on(Exporter::start()).unwrap();
    exporter.plug("1-1", Box::new(Odd::new()));
    let (tool, host) = (Tool::new(), exporter.address().to_string());
    let info = ["info", "--usb", "--usbip", &host];
    let ran = tool.run(&[&info[..], &["--redact"]].concat());
    snapshot("info --usb of an odd device", &ran.whole());
    for only_its in ["SN-4711-XY", "0004F2AABBCC", "04030201"] {
        assert!(!ran.stdout.contains(only_its), "{only_its}");
    }
    let whole = tool.run(&[&info[..], &["--json"]].concat());
    assert!(whole.stdout.contains("SN-4711-XY") && whole.stdout.contains("0004F2AABBCC"), "{}", whole.whole());
    // It says CX600, and no more is known of one.
    assert!(whole.last()["definitions"][0].as_str().unwrap().contains("perhaps Polycom CX600"), "{}", whole.whole());
}

#[test]
fn the_traffic_of_another_computers_port_is_not_to_be_had_here() {
    let lab = TestLab::start(1, |_| {});
    let (tool, folder) = (Tool::new(), TempDir::new().unwrap());
    let file = folder.path().join("a.pcapng");
    let device = format!("port:{}/1-1", lab.ready.usbip);
    let ran = tool.run(&["record", "--usbip", &lab.ready.usbip, "--device", &device, path(&file)]);
    assert_eq!(ran.code, 2, "{}", ran.whole());
    assert!(ran.stderr.contains("TETHERCERT_USB_TRACE"), "{}", ran.whole());
    assert!(!file.exists());
}

#[test]
fn this_programs_own_transfers_are_kept_over_any_way_to_a_phone() {
    let lab = TestLab::start(1, |_| {});
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("own.pcapng");
    let tool = Tool::new().with("TETHERCERT_USB_TRACE", path(&file));
    let ran = tool.run(&["info", "--usbip", &lab.ready.usbip, "--drivers", path(&lab.ready.drivers)]);
    assert_eq!(ran.code, 0, "{}", ran.whole());
    let mut reader = PcapNgReader::new(File::open(&file).unwrap()).unwrap();
    let (mut submitted, mut completed) = (0, 0);
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap() {
            let packet = tethercert::usb::capture::Packet::read(&packet.data).unwrap();
            submitted += usize::from(packet.event() == b'S');
            completed += usize::from(packet.event() == b'C');
        }
    }
    assert!(submitted >= 8 && submitted == completed, "{submitted} and {completed}");
}

#[test]
fn a_job_is_recorded_for_its_owner_alone_and_replayed_and_a_difference_is_told() {
    let (tool, folder) = (Tool::new(), TempDir::new().unwrap());
    let file = folder.path().join("job.txt");
    let ran = tool.run(&["provision", "--lab", "--dry-run", "--record", path(&file)]);
    assert_eq!(ran.code, 0, "{}", ran.whole());
    assert!(ran.stderr.contains("the job is recorded in"), "{}", ran.whole());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let again = tool.run(&["provision", "--lab", "--dry-run", "--record", path(&file)]);
    assert_eq!(again.code, 1, "a file that exists is left alone: {}", again.whole());

    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traffic/lab-first-enrolment.txt");
    let text = std::fs::read_to_string(&shipped).unwrap();
    std::fs::write(folder.path().join("changed.txt"), text.replace("[\"make-key\", {", "[\"make-key\", {9: 1, "))
        .unwrap();
    std::fs::copy(&shipped, folder.path().join("shipped.txt")).unwrap();
    let replayed =
        tool.command(&["replay", "job.txt", "shipped.txt", "changed.txt"]).current_dir(&folder).output().unwrap();
    assert_eq!(replayed.status.code(), Some(1));
    snapshot("replay", &String::from_utf8(replayed.stdout).unwrap());

    let none = tool.run(&["replay", path(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")))]);
    assert_eq!(none.code, 2, "{}", none.whole());
}
