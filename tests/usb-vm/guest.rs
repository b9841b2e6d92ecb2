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

/// A disk with a file system of its own, in the boot `power-cut` only: what is on it outlives [`Progress::cut_power`].
pub const DISK: &str = "/disk";

/// How far a test has come that cuts the machine's power: after each cut the machine boots again and runs the same tests,
/// from the first one, so that each has to know what it has done.
pub struct Progress {
    file: PathBuf,
    step: u32,
}

impl Progress {
    /// Of the test with this name.
    pub fn of(test: &str) -> Self {
        here();
        assert_eq!(
            std::env::var("USB_VM_BOOT").as_deref(),
            Ok("power-cut"),
            "power is cut in the boot `power-cut` only"
        );
        let file = Path::new(JOB).join(format!("{test}.step"));
        let step = fs::read_to_string(&file).map_or(0, |step| step.parse().unwrap());
        Self { file, step }
    }

    /// How often this test has cut the power.
    pub fn step(&self) -> u32 {
        self.step
    }

    /// Notes the step, and ends the machine at once: what the kernel has not written to the disk is lost.
    pub fn cut_power(self) -> ! {
        self.note();
        cut_power()
    }

    /// Counts a step as done, for when something else is about to call [`cut_power`].
    pub fn note(&self) {
        fs::write(&self.file, (self.step + 1).to_string()).unwrap();
        // The host has it when the call returns: a share has no cache for writing.
        assert_eq!(fs::read_to_string(&self.file).unwrap(), (self.step + 1).to_string());
    }
}

/// Ends the machine at once, as if its power were cut; [`Progress`] says what comes then.
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
