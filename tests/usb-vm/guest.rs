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

/// Which boot of the machine this is, the first being 1: one more with each power cut.
pub fn boot_number() -> u32 {
    here();
    std::env::var("USB_VM_BOOTS").unwrap().parse().unwrap()
}

/// Ends the machine at once, as if its power were cut: what the kernel has not written to the disk is lost. In the boot
/// `power-cut` the host then boots it again with the same disk, and the same tests.
pub fn cut_power() -> ! {
    here();
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
