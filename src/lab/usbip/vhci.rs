//! The kernel's virtual host controller, `vhci_hcd`: its ports, and how a device gets onto one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::device::Speed;

/// Where the first controller is; it speaks for all.
const CONTROLLER: &str = "/sys/devices/platform/vhci_hcd.0";
const BUS: &str = "/sys/bus/usb/devices";
const RELEASE: &str = "/proc/sys/kernel/osrelease";
const MODULES: &str = "/lib/modules";

/// How often it is looked whether a port is free again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// `VDEV_ST_NULL` of the kernel's `usbip_common.h`.
const FREE: &str = "004";

/// A device's end of the pair whose other end the kernel has.
#[cfg(unix)]
pub(super) type Stream = tokio::net::UnixStream;
#[cfg(not(unix))]
pub(super) type Stream = tokio::net::TcpStream;

/// Why a virtual device could not be attached to the kernel.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Another operating system.
    #[error("a virtual device can only be attached to a Linux kernel, and this is {}", std::env::consts::OS)]
    NotLinux,
    /// The module is not loaded.
    #[error("the kernel's module vhci_hcd is not loaded ({} is missing)", missing.display())]
    NoModule {
        /// What a loaded module would have made.
        missing: PathBuf,
        /// Whether this kernel has it.
        module: Module,
    },
    /// Only root may, or who was given the right.
    #[error("this user may not attach a device to the kernel: {} cannot be written", path.display())]
    NoRight {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Every port that fits the device's speed has a device.
    #[error("vhci_hcd has no free port for a device of {speed} speed: all {ports} are taken")]
    NoPort {
        /// The device's speed.
        speed: Speed,
        /// How many ports there are.
        ports: usize,
    },
    /// The kernel does not do it, for another reason.
    #[error("the kernel did not take the device ({})", path.display())]
    Kernel {
        /// The file by which it was asked.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no device on this port of the lab.
    #[error("no virtual device is plugged in on {bus_id}")]
    NoDevice {
        /// The port.
        bus_id: String,
    },
    /// A host has it over USB/IP.
    #[error("the virtual device on {bus_id} is in use over USB/IP")]
    InUse {
        /// The port.
        bus_id: String,
    },
    /// The kernel has taken it, and it does not appear on the bus.
    #[error("the kernel has not configured the virtual device on {bus_id} within {within:?}")]
    NotSeen {
        /// The port.
        bus_id: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// It was attached, and could not be once more.
    #[error("the virtual device on {bus_id} could not be attached again")]
    Again {
        /// The port.
        bus_id: String,
        /// Why.
        #[source]
        source: Arc<AttachError>,
    },
}

/// Whether the running kernel has `vhci_hcd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Module {
    /// It can be loaded.
    Loadable,
    /// The kernel has modules, and this is not among them. The kernel's release.
    NotThere(String),
    /// There is no folder with modules of this release.
    NoModules(PathBuf),
}

impl AttachError {
    /// What is done about it. No `_` arm: a new failure needs a new answer.
    pub fn next_step(&self) -> String {
        match self {
            Self::NotLinux => "use the virtual phones over USB/IP: --usbip, which works everywhere".into(),
            Self::NoModule { module: Module::Loadable, .. } => {
                "load it, as root: modprobe vhci_hcd. Or use the virtual phones over USB/IP, without --attach".into()
            }
            Self::NoModule { module: Module::NotThere(release), .. } => format!(
                "kernel {release} was built without it: boot one that has it (Debian's linux-image-amd64, not the cloud \
                 kernel), or use the virtual phones over USB/IP, without --attach"
            ),
            Self::NoModule { module: Module::NoModules(folder), .. } => format!(
                "this kernel's modules are not installed ({} is missing), as in a container: load vhci_hcd on the host, \
                 or use the virtual phones over USB/IP, without --attach",
                folder.display()
            ),
            Self::NoRight { path, source } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => format!(
                "{} is on a read-only file system, as in a container: run this on the host, or use USB/IP",
                path.display()
            ),
            Self::NoRight { path, .. } => {
                format!("run it as root, or let this user write {} (chown, until the next boot)", path.display())
            }
            Self::NoPort { .. } => "detach what is not needed: `usbip port` and `usbip detach`, or fewer phones".into(),
            Self::Kernel { .. } | Self::NotSeen { .. } => "see what the kernel says: dmesg".into(),
            Self::NoDevice { .. } => "plug it in first".into(),
            Self::InUse { .. } => "end the program that uses it over USB/IP".into(),
            Self::Again { source, .. } => source.next_step(),
        }
    }
}

/// Whether this computer's kernel takes virtual devices of this user.
///
/// # Errors
///
/// [`AttachError`] names what is missing.
pub fn may_attach() -> Result<(), AttachError> {
    let path = Vhci::find()?.controller.join("attach");
    match std::fs::OpenOptions::new().write(true).open(&path) {
        Ok(_) => Ok(()),
        Err(source) => Err(refused(path, source)),
    }
}

/// The controllers of a kernel that has the module loaded.
#[derive(Debug, Clone)]
pub(super) struct Vhci {
    controller: PathBuf,
    bus: PathBuf,
}

/// One line of a `status` file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PortLine {
    super_speed: bool,
    port: u32,
    free: bool,
    /// The device's name on the bus, once it has an address.
    name: Option<String>,
}

impl Vhci {
    /// Looks for the module.
    pub(super) fn find() -> Result<Self, AttachError> {
        if !cfg!(target_os = "linux") {
            return Err(AttachError::NotLinux);
        }
        let (controller, bus) = (PathBuf::from(CONTROLLER), PathBuf::from(BUS));
        if controller.is_dir() {
            return Ok(Self { controller, bus });
        }
        let release = std::fs::read_to_string(RELEASE).unwrap_or_default();
        let module = module(Path::new(MODULES), release.trim());
        Err(AttachError::NoModule { missing: controller, module })
    }

    /// Hands one end of a socket pair to the kernel, on a free port: on `wanted` where that is free.
    ///
    /// Needs a tokio runtime.
    pub(super) fn attach(&self, id: u32, speed: Speed, wanted: Option<u32>) -> Result<(u32, Stream), AttachError> {
        let lines = self.ports()?;
        let fitting: Vec<&PortLine> = lines.iter().filter(|line| line.super_speed == (speed == Speed::Super)).collect();
        let mut free: Vec<u32> = fitting.iter().filter(|line| line.free).map(|line| line.port).collect();
        free.sort_by_key(|port| (Some(*port) != wanted, *port));
        let path = self.controller.join("attach");
        for port in free {
            match hand_over(&path, port, id, speed) {
                Ok(stream) => return Ok((port, stream)),
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                Err(source) => return Err(refused(path, source)),
            }
        }
        Err(AttachError::NoPort { speed, ports: fitting.len() })
    }

    /// The name on the bus of the device on this port, once it is configured.
    pub(super) fn place(&self, port: u32) -> Option<String> {
        let lines = self.ports().ok()?;
        let name = lines.into_iter().find(|line| line.port == port && !line.free)?.name?;
        let configuration = std::fs::read_to_string(self.bus.join(&name).join("bConfigurationValue")).ok()?;
        (!configuration.trim().is_empty()).then_some(name)
    }

    /// Waits until a port is free, or gives up.
    pub(super) async fn freed(&self, port: u32, until: Instant) {
        let is_free = || self.ports().is_ok_and(|lines| lines.iter().any(|line| line.port == port && line.free));
        while !is_free() && Instant::now() < until {
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until the bus has no device at this place any more, or gives up.
    pub(super) async fn left(&self, place: &str, until: Instant) {
        while self.bus.join(place).exists() && Instant::now() < until {
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The ports of all controllers: `status`, `status.1` and so on.
    fn ports(&self) -> Result<Vec<PortLine>, AttachError> {
        let mut lines = Vec::new();
        for number in 0.. {
            let name = if number == 0 { "status".to_owned() } else { format!("status.{number}") };
            let path = self.controller.join(name);
            match std::fs::read_to_string(&path) {
                Ok(text) => lines.extend(text.lines().filter_map(port_line)),
                Err(_) if number > 0 => break,
                Err(source) => return Err(refused(path, source)),
            }
        }
        Ok(lines)
    }
}

fn refused(path: PathBuf, source: io::Error) -> AttachError {
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => AttachError::NoRight { path, source },
        _ => AttachError::Kernel { path, source },
    }
}

/// `hub port sta spd dev sockfd local_busid`, as `hs  0000 006 003 00010001 000003 1-1`.
fn port_line(line: &str) -> Option<PortLine> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [hub, port, state, _, _, _, name] = words[..] else { return None };
    let super_speed = match hub {
        "hs" => false,
        "ss" => true,
        _ => return None,
    };
    let name = Some(name).filter(|name| *name != "0-0").map(str::to_owned);
    Some(PortLine { super_speed, port: port.parse().ok()?, free: state == FREE, name })
}

#[cfg(unix)]
fn hand_over(path: &Path, port: u32, id: u32, speed: Speed) -> io::Result<Stream> {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let (ours, kernels) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let ours = Stream::from_std(ours)?;
    // In one write: the kernel parses each by itself. It takes a hold of the socket of its own.
    let order = format!("{port} {} {id} {}", kernels.as_raw_fd(), speed.code());
    std::fs::OpenOptions::new().write(true).open(path)?.write_all(order.as_bytes())?;
    Ok(ours)
}

#[cfg(not(unix))]
fn hand_over(_path: &Path, _port: u32, _id: u32, _speed: Speed) -> io::Result<Stream> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the kernel of this release has the module, by what is installed for it.
fn module(modules: &Path, release: &str) -> Module {
    let folder = modules.join(release);
    if release.is_empty() || !folder.is_dir() {
        return Module::NoModules(folder);
    }
    let listed = std::fs::read_to_string(folder.join("modules.dep")).is_ok_and(|list| list.contains("/vhci-hcd.ko"));
    let drivers = folder.join("kernel/drivers/usb/usbip");
    // As distributions compress them.
    let lies_there = ["", ".xz", ".zst", ".gz"].iter().any(|end| drivers.join(format!("vhci-hcd.ko{end}")).is_file());
    match listed || lies_there {
        true => Module::Loadable,
        false => Module::NotThere(release.to_owned()),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tempfile::TempDir;

    const HEAD: &str = "hub port sta spd dev      sockfd local_busid\n";

    /// A folder that looks like the module's, with two controllers.
    fn fake() -> (TempDir, Vhci) {
        let folder = TempDir::new().unwrap();
        let first = "hs  0000 006 003 00010001 000003 1-1\nhs  0001 004 000 00000000 000000 0-0\n\
                     ss  0015 004 000 00000000 000000 0-0\n";
        let second = "hs  0030 004 000 00000000 000000 0-0\n";
        std::fs::write(folder.path().join("status"), [HEAD, first].concat()).unwrap();
        std::fs::write(folder.path().join("status.1"), [HEAD, second].concat()).unwrap();
        std::fs::write(folder.path().join("attach"), "").unwrap();
        let vhci = Vhci { controller: folder.path().to_owned(), bus: folder.path().join("bus") };
        (folder, vhci)
    }

    fn ordered(folder: &TempDir) -> Vec<String> {
        let order = std::fs::read_to_string(folder.path().join("attach")).unwrap();
        order.split(' ').map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn a_device_goes_to_a_free_port_of_its_speed_on_any_controller() {
        let (folder, vhci) = fake();
        assert_eq!(vhci.attach(0x0001_0002, Speed::High, None).unwrap().0, 1);
        let order = ordered(&folder);
        assert_eq!((&order[0][..], &order[2][..], &order[3][..]), ("1", "65538", "3"));
        std::fs::write(folder.path().join("attach"), "").unwrap();
        assert_eq!(vhci.attach(7, Speed::Super, None).unwrap().0, 15);
        assert_eq!(ordered(&folder)[3], "5");
        assert_eq!(vhci.attach(7, Speed::Full, Some(30)).unwrap().0, 30);
        // The one that it had is taken.
        assert_eq!(vhci.attach(7, Speed::Low, Some(0)).unwrap().0, 1);
    }

    #[tokio::test]
    async fn what_keeps_a_device_from_the_kernel_is_named() {
        let (folder, vhci) = fake();
        let taken = "ss  0015 006 005 00010001 000003 2-1\n";
        std::fs::write(folder.path().join("status"), [HEAD, taken].concat()).unwrap();
        let error = vhci.attach(7, Speed::Super, None).unwrap_err();
        assert_eq!(error.to_string(), "vhci_hcd has no free port for a device of super speed: all 1 are taken");
        std::fs::remove_file(folder.path().join("attach")).unwrap();
        assert!(matches!(vhci.attach(7, Speed::High, None), Err(AttachError::Kernel { .. })));
        let refused = refused("/sys/x/attach".into(), io::ErrorKind::PermissionDenied.into());
        assert!(refused.next_step().starts_with("run it as root, or let this user write /sys/x/attach"));
    }

    #[test]
    fn a_module_that_is_not_loaded_is_looked_for_before_modprobe_is_advised() {
        let modules = TempDir::new().unwrap();
        assert!(matches!(module(modules.path(), "6.1.0"), Module::NoModules(_)));
        assert!(matches!(module(modules.path(), ""), Module::NoModules(_)));
        let usbip = modules.path().join("6.1.0/kernel/drivers/usb/usbip");
        std::fs::create_dir_all(&usbip).unwrap();
        assert_eq!(module(modules.path(), "6.1.0"), Module::NotThere("6.1.0".into()));
        std::fs::write(usbip.join("vhci-hcd.ko.xz"), "").unwrap();
        assert_eq!(module(modules.path(), "6.1.0"), Module::Loadable);
        std::fs::remove_dir_all(modules.path().join("6.1.0/kernel")).unwrap();
        std::fs::write(modules.path().join("6.1.0/modules.dep"), "kernel/x/vhci-hcd.ko: kernel/x/usbip-core.ko")
            .unwrap();
        assert_eq!(module(modules.path(), "6.1.0"), Module::Loadable);
    }

    #[test]
    fn a_device_has_a_place_once_it_is_configured() {
        let (_folder, vhci) = fake();
        assert_eq!(vhci.place(0), None);
        std::fs::create_dir_all(vhci.bus.join("1-1")).unwrap();
        std::fs::write(vhci.bus.join("1-1/bConfigurationValue"), "\n").unwrap();
        assert_eq!(vhci.place(0), None);
        std::fs::write(vhci.bus.join("1-1/bConfigurationValue"), "1\n").unwrap();
        assert_eq!(vhci.place(0).as_deref(), Some("1-1"));
        assert_eq!(vhci.place(1), None);
    }

    proptest! {
        #[test]
        fn no_line_of_a_status_file_makes_it_panic(line in "[hs]{2} [0-9a-f ]{0,40}|.{0,60}") {
            let _ = port_line(&line);
        }
    }
}
