//! The virtual machine that the tests run in, as they see it. `guest/init` made it.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the emulated machine may take for what is done in milliseconds, on a host with other things to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where a test leaves what the host shall keep, or what a boot leaves for the next: a folder of the host.
pub const JOB: &str = "/job";

/// Fails where this is not the machine that `tests/usb-vm/run` boots.
pub fn here() {
    assert!(
        std::env::var_os("USB_VM").is_some(),
        "these tests want a kernel with USB to themselves and change its devices: start them with tests/usb-vm/run"
    );
}

/// A file system on a disk of its own, in the boot `power-cut` only: what is synced on it outlives [`cut_power`], and nothing
/// else, as the kernel is told to write nothing back by itself.
pub fn disk(number: usize) -> PathBuf {
    let disk = Path::new("/disk").join(number.to_string());
    assert!(disk.exists(), "there is no disk {number}: these are in the boot `power-cut` only");
    disk
}

/// The machine's ports for a board's phone, by name; each is on a bus of its own.
pub fn device_ports() -> Vec<String> {
    let ports = fs::read_dir("/sys/class/udc").unwrap().map(|port| port.unwrap().file_name().into_string().unwrap());
    let mut ports: Vec<_> = ports.collect();
    ports.sort();
    ports
}

/// How often the machine was started: 1, and one more after each [`cut_power`].
pub fn boot() -> u32 {
    std::env::var("USB_VM_BOOTS").unwrap().parse().unwrap()
}

/// Ends the machine at once, as if its power were cut. It boots again, and runs the same tests from the first one.
pub fn cut_power() -> ! {
    const DEBUG_EXIT: u64 = 0xf4;
    let mut ports = OpenOptions::new().write(true).open("/dev/port").unwrap();
    ports.seek(SeekFrom::Start(DEBUG_EXIT)).unwrap();
    ports.write_all(&[32]).unwrap();
    unreachable!("the machine has no power")
}

/// Waits until `found` finds something, and fails with `what` after [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The kernel's folders of the devices that are plugged in, hubs left out: `/sys/bus/usb/devices/1-1`.
pub fn plugged() -> Vec<PathBuf> {
    let devices = fs::read_dir("/sys/bus/usb/devices").unwrap().map(|entry| entry.unwrap().path());
    let mut plugged: Vec<PathBuf> =
        devices.filter(|device| attribute(device, "bDeviceClass").is_some_and(|class| class != "09")).collect();
    plugged.sort();
    plugged
}

/// What the kernel says of a device under this name, such as `serial`.
pub fn attribute(device: &Path, name: &str) -> Option<String> {
    Some(fs::read_to_string(device.join(name)).ok()?.trim().to_owned())
}
