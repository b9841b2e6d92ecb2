//! Virtual phones on this machine's own USB, each on a port of its own, and hands that pull and plug their cables.

use super::guest;
use super::tool::{Ran, Tool};
use super::world::World;
use std::path::{Path, PathBuf};
use tethercert::lab::Lab;
use tethercert::lab::usbip::Attachment;

pub struct OwnUsb {
    pub tool: Tool,
    pub world: World,
    /// The phones' names on the kernel's bus.
    places: Vec<String>,
    attached: Vec<Attachment>,
}

impl OwnUsb {
    /// With so many phones and these faults, plugged in and seen by udev.
    pub fn with_phones(phones: u8, faults: &[&str]) -> Self {
        guest::here();
        let (world, tool) = (World::with_phones(phones), Tool::new());
        let mut bench = Self { tool, world, places: Vec::new(), attached: Vec::new() };
        bench.in_the_room(|lab| faults.iter().for_each(|fault| lab.apply(&fault.parse().unwrap()).unwrap()));
        let ports: Vec<String> = bench.world.lab.phones().iter().map(|(bus_id, _)| bus_id.clone()).collect();
        for port in ports {
            let place = bench.attach(&port);
            bench.places.push(place);
        }
        bench.settled();
        bench
    }

    /// Hands what is on a port of the lab to the kernel; gives its name there.
    pub fn attach(&mut self, port: &str) -> String {
        let attachment = self.in_the_room(|lab| lab.exporter().attach(port).unwrap());
        let place = self.world.runtime.block_on(attachment.appeared(guest::PATIENCE)).unwrap();
        self.attached.push(attachment);
        place
    }

    /// Does something in the lab's room.
    pub fn in_the_room<T>(&mut self, act: impl FnOnce(&mut Lab) -> T) -> T {
        let _inside = self.world.runtime.enter();
        act(&mut self.world.lab)
    }

    /// What the n-th phone is chosen by: `port:1-1`.
    pub fn place(&self, number: usize) -> String {
        format!("port:{}", self.places[number])
    }

    fn folder(&self, number: usize) -> PathBuf {
        Path::new("/sys/bus/usb/devices").join(&self.places[number])
    }

    /// The n-th phone's device node.
    pub fn node(&self, number: usize) -> PathBuf {
        let folder = self.folder(number);
        let number = |name: &str| guest::attribute(&folder, name).unwrap().parse::<u32>().unwrap();
        PathBuf::from(format!("/dev/bus/usb/{:03}/{:03}", number("busnum"), number("devnum")))
    }

    /// Waits until the kernel has configured every phone, and udev has nothing left to do.
    pub fn settled(&self) {
        for number in 0..self.places.len() {
            let folder = self.folder(number);
            let configured = || guest::attribute(&folder, "bConfigurationValue").filter(|value| !value.is_empty());
            guest::wait_for("the phone to be configured", configured);
        }
        let settled = std::process::Command::new("udevadm").args(["settle", "--timeout=60"]).status().unwrap();
        assert!(settled.success());
    }

    /// Pulls the first phone's cable, and waits until the kernel knows.
    pub fn pull(&mut self) {
        self.in_the_room(|lab| assert!(lab.exporter().pull("1-1")));
        self.gone();
    }

    /// Pulls the first phone's cable and puts it in again, and waits until the kernel has it under its new number.
    pub fn replug(&mut self) {
        let folder = self.folder(0);
        let number = || guest::attribute(&folder, "devnum");
        let before = number();
        self.in_the_room(|lab| assert!(lab.exporter().replug("1-1")));
        guest::wait_for("the phone to come back", || number().filter(|now| Some(now) != before.as_ref()));
        self.settled();
    }

    /// Waits until the kernel has let go of the first phone.
    pub fn gone(&self) {
        let folder = self.folder(0);
        guest::wait_for("the phone to be gone", || (!folder.exists()).then_some(()));
    }

    /// `provision` for alice, on the phone that is chosen by this.
    pub fn provision(&self, device: &str) -> Ran {
        let (drivers, password) = (self.drivers(), self.world.password());
        let more = [&password[..], &["--device", device]].concat();
        self.tool.run(&self.world.provision(drivers, &more))
    }

    /// `resume` of the one job, with nothing but what the ledger does not hold.
    pub fn resume(&self) -> Ran {
        let password = self.world.password();
        self.tool.run(&[&["resume", "1", "--json", "--drivers", self.drivers()][..], &password].concat())
    }

    fn drivers(&self) -> &str {
        self.world.ready.drivers.to_str().unwrap()
    }
}

impl Drop for OwnUsb {
    fn drop(&mut self) {
        let attached = std::mem::take(&mut self.attached);
        self.world.runtime.block_on(async {
            for attachment in attached {
                attachment.detach().await;
            }
        });
    }
}
