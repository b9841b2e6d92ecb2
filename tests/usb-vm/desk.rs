//! A technician's desk in the machine: the program, a pool of the lab, and one phone on a cable.

use super::board::{Board, Maker, Options, PORTS};
use super::guest;
use super::tool::{Ran, Tool};
use super::usbipd::Usbipd;
use super::world::World;
use tempfile::TempDir;

/// How the program reaches the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The kernel's bus, by nusb.
    Nusb,
    /// The kernel's bus, by libusb.
    Libusb,
    /// A USB/IP server. A virtual phone has the lab's; a board's phone is exported by the kernel's usbip-host and Debian's
    /// usbipd, as the kernel exports none that came in by vhci_hcd.
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

/// A desk with everything on it. What is plugged in goes first.
pub struct Desk {
    way: Way,
    phone: Phone,
    world: World,
    tool: Tool,
}

enum Phone {
    /// On port `1-1` of the lab, attached to the kernel or not.
    Virtual,
    Gadget(Gadget),
}

struct Gadget {
    server: Option<Usbipd>,
    /// With its place on the kernel's bus: exported it has no configuration to be known by.
    board: Option<(Board, String)>,
    options: Options,
    maker: Maker,
    _place: TempDir,
}

const LAB_PORT: &str = "1-1";

impl Desk {
    /// With the phone plugged in, and there for the program to find.
    pub fn with(way: Way, kind: Kind) -> Self {
        guest::here();
        let mut world = World::with_phones(u8::from(kind == Kind::Virtual));
        let phone = match kind {
            Kind::Virtual => {
                if way != Way::UsbIp {
                    world.runtime.block_on(world.lab.attach()).unwrap();
                }
                Phone::Virtual
            }
            Kind::Gadget => {
                let place = TempDir::new().unwrap();
                let (maker, options) = (Maker::in_folder(place.path()), Options::new(place.path(), 1));
                maker.vouch_for(&options);
                let server = (way == Way::UsbIp).then(Usbipd::start);
                let mut gadget = Gadget { server, board: None, options, maker, _place: place };
                gadget.plug();
                Phone::Gadget(gadget)
            }
        };
        Self { way, phone, world, tool: Tool::new() }
    }

    /// The lab whose pool it is, and whose phone where it is a virtual one.
    pub fn world(&self) -> &World {
        &self.world
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
            Phone::Virtual => assert!(self.world.lab.exporter().pull(LAB_PORT)),
            Phone::Gadget(gadget) => gadget.unplug(),
        }
        guest::wait_for("the kernel to see the cable pulled", || guest::plugged().is_empty().then_some(()));
    }

    /// Puts the cable in again, and waits until the phone can be found.
    pub fn plug(&mut self) {
        match &mut self.phone {
            Phone::Virtual => {
                assert!(self.world.lab.exporter().replug(LAB_PORT));
                if self.way != Way::UsbIp {
                    guest::wait_for("the kernel to see the cable put in", || guest::plugged().pop());
                }
            }
            Phone::Gadget(gadget) => gadget.plug(),
        }
    }

    /// Runs the program with `--json`, the definitions of the phones, and the options of this way to them.
    pub fn run(&self, command: &[&str]) -> Ran {
        let mut command = command.to_vec();
        let server = match &self.phone {
            Phone::Virtual => self.world.ready.usbip.clone(),
            Phone::Gadget(gadget) => gadget.server.as_ref().map(Usbipd::address).unwrap_or_default(),
        };
        match self.way {
            Way::Nusb => {}
            Way::Libusb => command.extend(["--usb-backend", "libusb"]),
            Way::UsbIp => command.extend(["--usbip", &server]),
        }
        self.tool.run(&command)
    }

    /// What is plugged in.
    pub fn list(&self) -> Ran {
        self.run(&["list", "--json", "--drivers", self.drivers()])
    }

    /// What the phone says.
    pub fn info(&self) -> Ran {
        self.run(&["info", "--json", "--drivers", self.drivers()])
    }

    /// Provisions the phone for alice.
    pub fn provision(&self, more: &[&str]) -> Ran {
        self.provision_knowing(self.drivers(), more)
    }

    /// The same with the definitions of another folder.
    pub fn provision_knowing(&self, drivers: &str, more: &[&str]) -> Ran {
        let password = self.world.password();
        self.run(&self.world.provision(drivers, &[&password[..], more].concat()))
    }

    /// Has the phone prove what it holds, and judges the pool through its eyes.
    pub fn verify(&self) -> Ran {
        self.verify_with(&[])
    }

    /// The same with further options.
    pub fn verify_with(&self, more: &[&str]) -> Ran {
        self.run(&[&["verify", "--json"][..], &self.world.wires(self.drivers()), more].concat())
    }

    /// The folder with the definitions of the phones.
    pub fn drivers(&self) -> &str {
        match &self.phone {
            Phone::Virtual => self.world.ready.drivers.to_str().unwrap(),
            Phone::Gadget(gadget) => gadget.maker.drivers(),
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        match &mut self.phone {
            Phone::Virtual => self.world.runtime.block_on(self.world.lab.detach()),
            Phone::Gadget(gadget) => gadget.unplug(),
        }
    }
}

impl Gadget {
    fn plug(&mut self) {
        let board = Board::start(&self.options, PORTS[0]);
        let place = board.slot();
        if let Some(server) = &self.server {
            server.export(&place);
        }
        self.board = Some((board, place));
    }

    fn unplug(&mut self) {
        let Some((board, place)) = self.board.take() else { return };
        if let Some(server) = &self.server {
            server.withdraw(&place);
        }
        // A second panic would end the other tests too.
        if !std::thread::panicking() {
            board.stop();
        }
    }
}
