//! Devices coming and going.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::Either;
use nusb::hotplug::HotplugWatch;
use tokio::time::{Interval, MissedTickBehavior};

use super::attached::Attached;
use super::error::{Doing, UsbError};
use super::slot::Slot;
use super::{Backend, Usb, system, usbip};

/// Something that happened at a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A device is there that was not before, or another one than before.
    Arrived(Attached),
    /// The device at this port is gone.
    Left(Slot),
}

/// Devices coming and going, beginning with those already there: the first changes are their arrivals.
///
/// The system's own events come only where udev (or its like) runs, and their absence is no error; so devices are also
/// listed again at an interval and compared. A device that was unplugged and plugged in again between two lists is seen
/// by its new number on the bus.
///
/// A USB/IP server may leave devices in use out of its list, those this program has open included (Linux' usbipd does,
/// by its source; not tried): such a [`Change::Left`] does not end a link.
pub struct Watch {
    usb: Usb,
    events: Option<HotplugWatch>,
    again: Interval,
    known: BTreeMap<Slot, Attached>,
    changes: VecDeque<Change>,
}

impl Watch {
    pub(super) fn new(usb: Usb, every: Duration) -> Self {
        // Watch first, then list: so nothing falls between.
        let events = match usb.backend {
            Backend::System => nusb::watch_devices().ok(),
            Backend::UsbIp(_) => None,
        };
        let mut again = tokio::time::interval(every);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { usb, events, again, known: BTreeMap::new(), changes: VecDeque::new() }
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
            let event = match &mut self.events {
                Some(events) => Either::Left(events.next()),
                None => Either::Right(std::future::pending()),
            };
            tokio::select! {
                _ = self.again.tick() => {}
                _ = event => {}
            }
            let now = match &self.usb.backend {
                Backend::System => system::list(Doing::Watching).await?,
                Backend::UsbIp(host) => usbip::list(host).await?,
            };
            self.compare(now);
        }
    }

    fn compare(&mut self, now: Vec<Attached>) {
        let now: BTreeMap<Slot, Attached> = now.into_iter().map(|device| (device.slot.clone(), device)).collect();
        let gone = self.known.iter().filter(|(slot, device)| now.get(slot).is_none_or(|found| !same(found, device)));
        self.changes.extend(gone.map(|(slot, _)| Change::Left(slot.clone())));
        let come = now.iter().filter(|(slot, device)| self.known.get(slot).is_none_or(|known| !same(known, device)));
        self.changes.extend(come.map(|(_, device)| Change::Arrived(device.clone())));
        self.known = now;
    }
}

/// Strings and interfaces may become readable a moment after a device has arrived: that is no other device.
fn same(one: &Attached, other: &Attached) -> bool {
    (one.address, one.vendor_id, one.product_id) == (other.address, other.vendor_id, other.product_id)
}
