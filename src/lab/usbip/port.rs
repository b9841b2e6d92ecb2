//! A port with a device on it: who has it, how much it has transferred, and what is to go wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::bus::Bus;
use super::device::{Descriptors, Device};
use super::wire::Refusal;

/// Something that goes wrong with one transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    CutBefore,
    CutAfter,
    Stall,
    Hang,
}

/// A port with its device.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) bus_id: String,
    /// Whether the cable is in. Apart from the rest, since a bus pulls it while others are locked.
    on_bus: Arc<AtomicBool>,
    plug: Mutex<Plug>,
    seat: Mutex<Seat>,
}

#[derive(Debug)]
struct Plug {
    address: u32,
    descriptors: Arc<Descriptors>,
    transfers: u64,
    faults: BTreeMap<u64, Fault>,
    host: Option<Bus>,
}

/// The device. Locked for each call to it, and after the plug where both are needed: a device never calls its port.
struct Seat {
    device: Option<Box<dyn Device>>,
    attached: bool,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("attached", &self.attached).finish_non_exhaustive()
    }
}

/// A device that a host has.
pub(super) struct Imported {
    pub(super) port: Arc<Port>,
    pub(super) bus: Bus,
    pub(super) answers: UnboundedReceiver<Vec<u8>>,
    /// Cancelled when the cable is cut.
    pub(super) ended: CancellationToken,
    pub(super) address: u32,
    pub(super) descriptors: Arc<Descriptors>,
}

impl Port {
    pub(super) fn new(bus_id: &str, address: u32, device: Box<dyn Device>) -> Self {
        let descriptors = Arc::new(device.descriptors().clone());
        let plug = Plug { address, descriptors, transfers: 0, faults: BTreeMap::new(), host: None };
        Self {
            bus_id: bus_id.to_owned(),
            on_bus: Arc::new(AtomicBool::new(true)),
            plug: Mutex::new(plug),
            seat: Mutex::new(Seat { device: Some(device), attached: false }),
        }
    }

    /// Address and descriptors, where the cable is in.
    pub(super) fn listed(&self) -> Option<(u32, Arc<Descriptors>)> {
        let plug = self.plug();
        self.is_on_bus().then(|| (plug.address, Arc::clone(&plug.descriptors)))
    }

    /// Gives the device to a host.
    pub(super) fn import(self: &Arc<Self>) -> Result<Imported, Refusal> {
        let mut plug = self.plug();
        if !self.is_on_bus() {
            return Err(Refusal::NoDevice);
        }
        if plug.host.as_ref().is_some_and(|host| !host.is_dead()) {
            return Err(Refusal::Busy);
        }
        let (sender, answers) = unbounded_channel();
        let ended = CancellationToken::new();
        let bus = Bus::new(sender, ended.clone(), Arc::clone(&self.on_bus), &plug.descriptors.endpoints());
        plug.host = Some(bus.clone());
        let mut seat = self.seat();
        // Where the cable was cut and put in again before the old session noticed.
        seat.detach();
        seat.attach(bus.clone());
        let (address, descriptors) = (plug.address, Arc::clone(&plug.descriptors));
        Ok(Imported { port: Arc::clone(self), bus, answers, ended, address, descriptors })
    }

    /// Takes the device back from this host, where it still has it. What was cut stays unplugged.
    pub(super) fn release(&self, bus: &Bus) {
        bus.end();
        let mut plug = self.plug();
        if plug.host.as_ref().is_some_and(|host| host.is(bus)) {
            plug.host = None;
            self.seat().detach();
        }
    }

    /// Calls the device, or `None` where it was taken away.
    pub(super) fn with_device<T>(&self, call: impl FnOnce(&mut dyn Device) -> T) -> Option<T> {
        self.seat().device.as_mut().map(|device| call(device.as_mut()))
    }

    /// Counts one transfer and says what is to go wrong with it.
    pub(super) fn count(&self) -> Option<Fault> {
        let mut plug = self.plug();
        plug.transfers += 1;
        let this = plug.transfers;
        plug.faults.remove(&this)
    }

    pub(super) fn transfers(&self) -> u64 {
        self.plug().transfers
    }

    pub(super) fn stage(&self, transfer: u64, fault: Fault) {
        self.plug().faults.insert(transfer, fault);
    }

    /// Pulls the cable and takes the device off it.
    pub(super) fn unplug(&self) -> Option<Box<dyn Device>> {
        self.pull();
        self.seat().device.take()
    }

    /// Pulls the cable and leaves the device where it is.
    pub(super) fn pull(&self) {
        let mut plug = self.plug();
        self.on_bus.store(false, Ordering::Release);
        if let Some(bus) = plug.host.take() {
            bus.cut();
        }
        self.seat().detach();
    }

    /// Puts the cable in again: the count starts anew, and faults still staged are forgotten.
    pub(super) fn replug(&self, address: u32) {
        let descriptors = self.with_device(|device| device.descriptors().clone());
        let mut plug = self.plug();
        plug.address = address;
        plug.transfers = 0;
        plug.faults.clear();
        if let Some(descriptors) = descriptors {
            plug.descriptors = Arc::new(descriptors);
        }
        self.on_bus.store(true, Ordering::Release);
    }

    pub(super) fn is_on_bus(&self) -> bool {
        self.on_bus.load(Ordering::Acquire)
    }

    fn plug(&self) -> MutexGuard<'_, Plug> {
        self.plug.lock().expect("no holder of the plug panics")
    }

    fn seat(&self) -> MutexGuard<'_, Seat> {
        // A device that panicked in a call is still there to be unplugged.
        self.seat.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Seat {
    fn attach(&mut self, bus: Bus) {
        if let Some(device) = &mut self.device {
            device.attached(bus);
            self.attached = true;
        }
    }

    fn detach(&mut self) {
        if std::mem::take(&mut self.attached)
            && let Some(device) = &mut self.device
        {
            device.detached();
        }
    }
}
