//! USB traffic into a file that Wireshark reads: everything of a port, as the Linux kernel sees it (usbmon), or the
//! transfers of this program itself, by whatever way it reaches a device.
//!
//! What stands in such a file is what crossed the cable, secrets included where a protocol sends them in the clear.

mod file;
mod packet;
mod sieve;
mod tap;
#[cfg(target_os = "linux")]
mod usbmon;

pub use file::CaptureFile;
pub use packet::Packet;
pub use sieve::Sieve;
pub use tap::Tap;
pub(super) use tap::{Flight, Tapped};
#[cfg(target_os = "linux")]
pub use usbmon::Usbmon;

use super::Slot;
use std::io;
use std::path::PathBuf;

/// Why the traffic of a port cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Only Linux has usbmon.
    #[error("this operating system does not show this program the traffic of a port")]
    NotLinux,
    /// The port is another computer's.
    #[error("port {slot} is on another computer: its traffic is seen there")]
    Elsewhere {
        /// The port.
        slot: Slot,
    },
    /// The kernel's module is not there.
    #[error("the kernel module usbmon is not loaded, so {} does not exist", path.display())]
    NoModule {
        /// The device node that is missing.
        path: PathBuf,
    },
    /// This user may not look.
    #[error("this user may not read {}", path.display())]
    NotAllowed {
        /// The device node.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading failed in another way.
    #[error("{} cannot be read", path.display())]
    Failed {
        /// The device node.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("{} cannot be written", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl CaptureError {
    /// What is to be done next.
    pub fn next_step(&self) -> String {
        match self {
            Self::NotLinux => "on Windows use USBPcap with Wireshark: docs/adding-a-phone.md leads through it".into(),
            Self::Elsewhere { .. } => {
                "run the command on that computer; TETHERCERT_USB_TRACE=FILE keeps this program's own transfers".into()
            }
            Self::NoModule { .. } => "load it: sudo modprobe usbmon".into(),
            Self::NotAllowed { path, .. } => format!(
                "run the command with sudo, or let this user read it until the next boot: sudo setfacl -m u:$USER:r {}",
                path.display()
            ),
            Self::Failed { .. } => "unload and load the module: sudo modprobe -r usbmon, sudo modprobe usbmon".into(),
            Self::NotWritten { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                "name a file that does not exist yet: a capture is never overwritten".into()
            }
            Self::NotWritten { .. } => "check that this user may write there, and that there is room".into(),
        }
    }
}
