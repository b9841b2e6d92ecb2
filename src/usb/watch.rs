//! Devices coming and going.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures_util::StreamExt;
use nusb::hotplug::HotplugWatch;
use tokio::time::{Instant, Interval, MissedTickBehavior, sleep_until, timeout_at};

use super::attached::Attached;
use super::error::{Doing, UsbError};
use super::slot::Slot;
use super::{Backend, Usb};

/// Events come in bursts: this long after one the devices are listed, once.
const QUIET: Duration = Duration::from_millis(15);

/// How long the kernel may take with a device until it is told of as it is: its interfaces and strings come later.
const SETTLING: Duration = Duration::from_secs(1);

/// How soon a device that is not settled is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Something that happened at a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A device is there that was not before, or another one than before.
    Arrived(Attached),
    /// The device that was last on this port is back, under another number on the bus: it has the same model and the same
    /// serial number. That is still a claim: whoever goes on with it has to prove who it is.
    Returned(Attached),
    /// The device at this port is gone.
    Left(Slot),
}

/// Devices coming and going, beginning with those already there: the first changes are their arrivals.
///
/// The system's own events come only where udev (or its like) runs, and their absence is no error; so devices are also
/// listed again at an interval and compared. A device that was unplugged and plugged in again between two lists is seen
/// by its new number on the bus. One that the kernel is not done with is told of when it is, or after a second as it is
/// then; one that comes and goes within that time is not told of.
///
/// A USB/IP server may leave devices in use out of its list, those this program has open included (Linux' usbipd does,
/// by its source; not tried): such a [`Change::Left`] does not end a link. Its list says no serial numbers, so that there
/// nothing is known to return.
pub struct Watch {
    usb: Usb,
    events: Events,
    again: Interval,
    /// What was told of, by port.
    known: BTreeMap<Slot, Attached>,
    /// What was last on a port.
    left: BTreeMap<Slot, Attached>,
    /// What is there and was not told of, with the time it was first seen.
    settling: BTreeMap<Slot, (Attached, Instant)>,
    is_first: bool,
    changes: VecDeque<Change>,
}

enum Events {
    System(HotplugWatch),
    #[cfg(feature = "libusb")]
    Libusb(super::libusb::Events),
    None,
}

impl Events {
    /// Waits for the next event. May be dropped at any time without loss.
    async fn next(&mut self) {
        match self {
            Self::System(watch) => {
                if watch.next().await.is_none() {
                    std::future::pending().await
                }
            }
            #[cfg(feature = "libusb")]
            Self::Libusb(events) => events.next().await,
            Self::None => std::future::pending().await,
        }
    }
}

impl Watch {
    pub(super) fn new(usb: Usb, every: Duration) -> Self {
        // Watch first, then list: so nothing falls between.
        let events = match usb.backend {
            Backend::System => nusb::watch_devices().map_or(Events::None, Events::System),
            #[cfg(feature = "libusb")]
            Backend::Libusb => super::libusb::Events::watch().map_or(Events::None, Events::Libusb),
            Backend::UsbIp(_) => Events::None,
        };
        let mut again = tokio::time::interval(every);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            usb,
            events,
            again,
            known: BTreeMap::new(),
            left: BTreeMap::new(),
            settling: BTreeMap::new(),
            is_first: true,
            changes: VecDeque::new(),
        }
    }

    /// Waits for the next change. May be dropped while waiting without losing one.
    ///
    /// # Errors
    ///
    /// As [`Usb::list`]. The watch goes on: the next call lists again after the interval.
    pub async fn next(&mut self) -> Result<Change, UsbError> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Ok(change);
            }
            let look_again = Instant::now() + LOOK_AGAIN;
            tokio::select! {
                _ = self.again.tick() => {}
                () = self.events.next() => {
                    let quiet = Instant::now() + QUIET;
                    while timeout_at(quiet, self.events.next()).await.is_ok() {}
                }
                () = sleep_until(look_again), if !self.settling.is_empty() => {}
            }
            let now = self.usb.list_while(Doing::Watching).await?;
            self.compare(now, Instant::now());
        }
    }

    fn compare(&mut self, now: Vec<Attached>, at: Instant) {
        let now: BTreeMap<Slot, Attached> = now.into_iter().map(|device| (device.slot.clone(), device)).collect();
        let is_there = |slot: &Slot, device: &Attached| now.get(slot).is_some_and(|found| same(found, device));
        let gone: Vec<Slot> =
            self.known.iter().filter(|(slot, device)| !is_there(slot, device)).map(|(slot, _)| slot.clone()).collect();
        for slot in gone {
            if let Some(device) = self.known.remove(&slot) {
                self.left.insert(slot.clone(), device);
            }
            self.changes.push_back(Change::Left(slot));
        }
        self.settling.retain(|slot, (device, _)| is_there(slot, device));
        for (slot, device) in now {
            if let Some(known) = self.known.get_mut(&slot) {
                *known = device;
                continue;
            }
            let since = self.settling.get(&slot).map_or(at, |(_, since)| *since);
            if !self.is_first && !self.is_settled(&device) && at < since + SETTLING {
                self.settling.insert(slot, (device, since));
                continue;
            }
            self.settling.remove(&slot);
            let is_back = self.left.get(&slot).is_some_and(|before| is_known_again(before, &device));
            self.known.insert(slot, device.clone());
            self.changes.push_back(if is_back { Change::Returned(device) } else { Change::Arrived(device) });
        }
        self.is_first = false;
    }

    /// Whether everything that a list says of a device has come.
    fn is_settled(&self, device: &Attached) -> bool {
        match self.usb.backend {
            // Its list never says more.
            Backend::UsbIp(_) => true,
            _ => !device.interfaces.is_empty() && device.strings != super::Strings::default(),
        }
    }
}

/// Strings and interfaces may become readable a moment after a device has arrived: that is no other device.
fn same(one: &Attached, other: &Attached) -> bool {
    (one.address, one.vendor_id, one.product_id) == (other.address, other.vendor_id, other.product_id)
}

/// Whether a device on a port is what was last there: many devices have no serial number, and then nobody can say.
fn is_known_again(before: &Attached, now: &Attached) -> bool {
    let model = |device: &Attached| (device.vendor_id, device.product_id);
    before.strings.serial.is_some() && before.strings.serial == now.strings.serial && model(before) == model(now)
}

#[cfg(test)]
mod tests {
    use super::super::{InterfaceKind, Strings};
    use super::*;

    fn device(port: &str, address: u32, serial: Option<&str>, interfaces: usize) -> Attached {
        let kind = InterfaceKind { number: 0, class: 0xff, subclass: 0x54, protocol: 1 };
        let strings = Strings { product: Some("Desk".into()), serial: serial.map(str::to_owned), manufacturer: None };
        Attached {
            slot: port.parse().unwrap(),
            address,
            vendor_id: 0x1209,
            product_id: 1,
            device_version: 0,
            strings,
            interfaces: vec![kind; interfaces],
        }
    }

    /// What is told of when these lists follow each other, so many milliseconds after the beginning.
    fn told(lists: Vec<(u64, Vec<Attached>)>) -> Vec<Change> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let mut watch = Watch::new(Usb::system(), Duration::from_secs(1));
        let start = Instant::now();
        for (millis, list) in lists {
            watch.compare(list, start + Duration::from_millis(millis));
        }
        watch.changes.into()
    }

    #[test]
    fn a_phone_that_returns_under_another_number_is_known_by_its_port_and_its_serial() {
        let (first, again) = (device("1-1", 4, Some("A"), 1), device("1-1", 5, Some("A"), 1));
        let slot = first.slot.clone();
        let changes = told(vec![(0, vec![first.clone()]), (10, vec![]), (900, vec![again.clone()])]);
        let expected = [Change::Arrived(first.clone()), Change::Left(slot.clone()), Change::Returned(again.clone())];
        assert_eq!(changes, expected);
        // Between two lists, too.
        assert_eq!(told(vec![(0, vec![first.clone()]), (10, vec![again])]), expected);
        for other in [device("1-1", 5, Some("B"), 1), device("1-1", 5, None, 1)] {
            let changes = told(vec![(0, vec![first.clone()]), (10, vec![]), (20, vec![other.clone()])]);
            assert_eq!(changes[2], Change::Arrived(other));
        }
        let elsewhere = device("1-2", 5, Some("A"), 1);
        let moved = told(vec![(0, vec![first]), (10, vec![elsewhere.clone()])]);
        assert_eq!(moved, [expected[0].clone(), Change::Left(slot), Change::Arrived(elsewhere)]);
    }

    #[test]
    fn a_device_that_the_kernel_is_not_done_with_is_told_of_when_it_is() {
        let (half, whole) = (device("1-1", 4, Some("A"), 0), device("1-1", 4, Some("A"), 1));
        assert_eq!(told(vec![(0, vec![]), (5, vec![half.clone()])]), []);
        let changes = told(vec![(0, vec![]), (5, vec![half.clone()]), (30, vec![whole.clone()])]);
        assert_eq!(changes, [Change::Arrived(whole)]);
        // One that never shows more is told of all the same, and one that was there from the beginning at once.
        let late = told(vec![(0, vec![]), (5, vec![half.clone()]), (1005, vec![half.clone()])]);
        assert_eq!(late, [Change::Arrived(half.clone())]);
        assert_eq!(told(vec![(0, vec![half.clone()])]), [Change::Arrived(half.clone())]);
        assert_eq!(told(vec![(0, vec![]), (5, vec![half]), (10, vec![])]), []);
    }
}
