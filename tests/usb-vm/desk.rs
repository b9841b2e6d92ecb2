//! A technician's desk in the machine: the program, a pool of the lab, and one phone on a cable.

use super::board::Board;
use super::guest;
use super::tool::{Ran, Tool};
use super::usbipd::Usbipd;
use std::path::Path;
use tethercert::lab::{Lab, LabOptions, Ready};
use tokio::runtime::Runtime;

/// How the program reaches the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The kernel's bus, by nusb.
    Nusb,
    /// The kernel's bus, by libusb.
    Libusb,
    /// A USB/IP server. A virtual phone has the lab's; a board's phone is exported by the kernel's usbip-host and Debian's usbipd,
    /// as the kernel exports none that came in by vhci_hcd.
    UsbIp,
}

/// Where the phone comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A virtual phone of the lab, which the kernel takes for one on a bus of `vhci_hcd`.
    Virtual,
    /// `tethercert-phone` on a device port of `dummy_hcd`, which is a gadget to the kernel.
    Gadget,
}

/// A desk with everything on it.
pub struct Desk {
    tool: Tool,
    way: Way,
    phone: Phone,
    ready: Ready,
    lab: Lab,
    runtime: Runtime,
}

enum Phone {
    /// On port `1-1` of the lab, attached to the kernel or not.
    Virtual,
    Gadget(Board, Option<Usbipd>),
}

const LAB_PORT: &str = "1-1";

impl Desk {
    /// With the phone plugged in, and there for the program to find.
    pub fn with(way: Way, kind: Kind) -> Self {
        guest::here();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let phones = u8::from(kind == Kind::Virtual);
        let options = LabOptions { phones, fresh_keys: false, ..LabOptions::default() };
        let mut lab = runtime.block_on(Lab::start(&options)).unwrap();
        let tool = Tool::new();
        let phone = match (kind, way) {
            (Kind::Virtual, Way::UsbIp) => Phone::Virtual,
            (Kind::Virtual, Way::Nusb | Way::Libusb) => {
                runtime.block_on(lab.attach()).unwrap();
                Phone::Virtual
            }
            (Kind::Gadget, way) => {
                let board = Board::with_factory_key_of_a_lab(tool.home.path(), &lab.drivers());
                let exported = (way == Way::UsbIp).then(|| Usbipd::exporting(&board.place()));
                Phone::Gadget(board, exported)
            }
        };
        Self { tool, way, phone, ready: lab.ready(), lab, runtime }
    }

    /// The lab whose pool it is, and whose phone where it is a virtual one.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Looks at the same phones by another way for a moment.
    pub fn seen_by<T>(&mut self, way: Way, look: impl FnOnce(&Self) -> T) -> T {
        let usual = std::mem::replace(&mut self.way, way);
        let seen = look(self);
        self.way = usual;
        seen
    }

    /// Pulls the cable, and waits until the kernel knows.
    pub fn unplug(&mut self) {
        match &mut self.phone {
            Phone::Virtual => assert!(self.lab.exporter().pull(LAB_PORT)),
            Phone::Gadget(board, exported) => {
                drop(exported.take());
                board.stop();
            }
        }
        guest::wait_for("the kernel to see the cable pulled", || guest::plugged().is_empty().then_some(()));
    }

    /// Puts the cable in again, and waits until the phone can be found.
    pub fn plug(&mut self) {
        match &mut self.phone {
            Phone::Virtual => {
                assert!(self.lab.exporter().replug(LAB_PORT));
                if self.way != Way::UsbIp {
                    guest::wait_for("the kernel to see the cable put in", || guest::plugged().pop());
                }
            }
            Phone::Gadget(board, exported) => {
                board.start();
                *exported = (self.way == Way::UsbIp).then(|| Usbipd::exporting(&board.place()));
            }
        }
    }

    /// The program's options for this way to its phones.
    pub fn to_phones(&self) -> Vec<String> {
        let drivers = ["--drivers".to_owned(), text(&self.ready.drivers)];
        let way = match (self.way, &self.phone) {
            (Way::Nusb, _) => vec![],
            (Way::Libusb, _) => vec!["--usb-backend".to_owned(), "libusb".to_owned()],
            (Way::UsbIp, Phone::Virtual) => vec!["--usbip".to_owned(), self.ready.usbip.clone()],
            (Way::UsbIp, Phone::Gadget(_, exported)) => {
                vec!["--usbip".to_owned(), exported.as_ref().expect("the phone is exported").address()]
            }
        };
        [&drivers[..], &way].concat()
    }

    /// Runs the program with `--json` and the options for this way to its phones.
    pub fn run(&self, command: &[&str]) -> Ran {
        let options = self.to_phones();
        let options = options.iter().map(String::as_str).chain(["--json"]);
        self.tool.run(&command.iter().copied().chain(options).collect::<Vec<_>>())
    }

    /// Provisions the phone that is there for alice.
    pub fn provision(&self, more: &[&str]) -> Ran {
        let alice = &self.ready.users[0];
        let (password, anchor) = (text(&alice.password_file), text(&self.ready.trust_anchor));
        let command = ["provision", "--yes", "--user", alice.user.as_str(), "--login", &alice.login];
        let pool =
            ["--certprov-url", &self.ready.certprov_url, "--trust-anchor", &anchor, "--password-file", &password];
        self.run(&[&command[..], &pool, more].concat())
    }

    /// Has the phone prove what it holds, and judges the pool through its eyes.
    pub fn verify(&self) -> Ran {
        let anchor = text(&self.ready.trust_anchor);
        self.run(&["verify", "--certprov-url", &self.ready.certprov_url, "--trust-anchor", &anchor])
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.runtime.block_on(self.lab.detach());
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
