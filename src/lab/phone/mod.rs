//! The virtual phone: a USB device that speaks the Tether Device Protocol, with flash, clock, screen, light and keys.
//!
//! It is the other end of the cable: [`crate::device`] on a USB/IP bus, with a flash in memory whose power can be cut and
//! a nature that can be made to lie. What it stores survives the cable and the power, what it knows of a session does not.

mod descriptors;
mod device;
mod flash;
mod lies;
#[cfg(test)]
mod tests;

pub use crate::device::{
    Clock, Consent, Factory, INTERFACE_GUID, KeyMaker, Memory, Pending, PhoneMaterial, StoredIdentity, StoredKey,
};
#[cfg(test)]
pub(crate) use crate::device::{Hash, signed_info, signing_request, timestamp};
pub use descriptors::{Extra, WINDOWS_VENDOR_CODE, tether_descriptors, windows_descriptor_set};
pub use lies::Lies;

use crate::credential::Fingerprint;
use crate::device::{NoPanel, Phone};
use crate::phone::tether::binding::ShortCode;
use crate::phone::tether::messages::LogEntry;
use flash::{Flash, FlashStorage};
use lies::Liar;
use std::sync::{Arc, Mutex, MutexGuard};
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// A virtual phone, seen from the room it stands in. Clones are the same phone.
#[derive(Clone)]
pub struct VirtualPhone {
    phone: Phone,
    flash: Arc<Mutex<Flash>>,
    lies: Arc<Mutex<Lies>>,
    extras: Arc<Mutex<Vec<Extra>>>,
}

impl VirtualPhone {
    /// A phone of this material, on its shelf.
    pub fn new(material: PhoneMaterial) -> Self {
        let mut noise_key = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(noise_key.as_mut_slice()).expect("the system gives random bytes");
        let memory = Memory { identity: material.identity.clone(), ..Memory::default() };
        let flash = Arc::new(Mutex::new(Flash::new(&memory)));
        let lies = Arc::new(Mutex::new(Lies::default()));
        let storage = FlashStorage { flash: flash.clone(), lies: lies.clone() };
        let nature = Liar(lies.clone());
        let phone = Phone::new(material, Box::new(storage), Box::new(nature), Arc::new(NoPanel), noise_key);
        Self { phone, flash, lies, extras: Arc::default() }
    }

    /// The device to plug into a USB/IP exporter.
    pub fn device(&self) -> device::TetherDevice {
        device::TetherDevice::new(self.clone())
    }

    /// What it is made of.
    pub fn material(&self) -> PhoneMaterial {
        self.phone.lock().material.clone()
    }

    /// What its flash holds.
    pub fn memory(&self) -> Memory {
        self.flash.held().read()
    }

    /// Has its flash hold what another's does: it shows that one's transaction for its own.
    pub fn remember(&self, memory: &Memory) {
        *self.flash.held() = Flash::new(memory);
    }

    /// Fingerprint of the certificate in use.
    pub fn installed(&self) -> Option<Fingerprint> {
        self.memory().identity.map(|identity| Fingerprint::of(&identity.leaf))
    }

    /// Its time, if it has one.
    pub fn time(&self) -> Option<OffsetDateTime> {
        self.phone.lock().time()
    }

    /// Sets its clock by hand.
    pub fn set_clock(&self, clock: Clock) {
        self.phone.lock().clock_offset = clock.offset_seconds();
    }

    /// The short code on its screen.
    pub fn code_on_screen(&self) -> Option<ShortCode> {
        self.phone.lock().code
    }

    /// How often its light was switched on.
    pub fn times_lit(&self) -> u32 {
        self.phone.lock().times_lit
    }

    /// Its sign-in log.
    pub fn log(&self) -> Vec<LogEntry> {
        self.phone.lock().log.clone()
    }

    /// How many steps its flash has written.
    pub fn flash_steps(&self) -> u64 {
        self.flash.held().steps()
    }

    /// Cuts its power instead of the flash's step `at`, once. It comes back as it would: from its flash, by [`VirtualPhone::power_on`].
    pub fn cut_power_at(&self, at: u64) {
        self.flash.held().cut_power_at(Some(at));
    }

    /// Whether it has power.
    pub fn has_power(&self) -> bool {
        self.phone.has_power()
    }

    /// Waits until nobody is plugged in and all that had come before the cable was pulled is done.
    pub async fn at_rest(&self) {
        self.phone.at_rest().await;
    }

    /// Waits until a cut of [`VirtualPhone::cut_power_at`] happens. A phone without power is no longer on its bus: pull it.
    pub async fn power_lost(&self) {
        let lost = self.phone.lock().power_lost.clone();
        lost.notified().await;
    }

    /// Power again after a cut.
    pub fn power_on(&self) {
        self.phone.lock().power = true;
    }

    #[cfg(test)]
    pub(in crate::lab) fn power_off(&self) {
        self.phone.lock().power = false;
    }

    /// Makes it lie from now on.
    pub fn lie(&self, lies: Lies) {
        *self.lies.held() = lies;
    }

    /// How it lies.
    pub fn lies(&self) -> Lies {
        *self.lies.held()
    }

    /// Changes what it is made of, as another firmware would: what its flash holds stays, and so does its USB device.
    pub fn rebuild(&self, change: impl FnOnce(&mut PhoneMaterial)) {
        change(&mut self.phone.lock().material);
    }

    /// Has it bring an interface that no honest phone of its model has, from the next [`VirtualPhone::device`] on.
    pub fn bring(&self, extra: Extra) {
        self.extras.held().push(extra);
    }

    /// What it brings that it should not.
    pub fn extras(&self) -> Vec<Extra> {
        self.extras.held().clone()
    }

    /// Has it make a new static key for its sessions, as a phone may at each start.
    pub fn make_a_new_session_key(&self) {
        aws_lc_rs::rand::fill(self.phone.lock().noise_key.as_mut_slice()).expect("the system gives random bytes");
    }

    /// Somebody gives up the transaction that is not finished, in the phone's own menu.
    pub fn forget_what_is_pending(&self) {
        let mut flash = self.flash.held();
        let memory = Memory { pending: None, ..flash.read() };
        flash.write(&memory).expect("the power is on");
    }

    /// What the person at the phone does from now on.
    pub fn set_consent(&self, consent: Consent) {
        self.phone.lock().material.consent = consent;
    }
}

/// What the phone's inside and the room share.
trait Shared<T> {
    fn held(&self) -> MutexGuard<'_, T>;
}

impl<T> Shared<T> for Mutex<T> {
    fn held(&self) -> MutexGuard<'_, T> {
        self.lock().expect("no holder of the phone's parts panics")
    }
}
