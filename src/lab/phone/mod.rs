//! The virtual phone: a USB device that speaks the Tether Device Protocol, with flash, clock, screen, light and keys.
//!
//! It is the other end of the cable and shares with the host only the protocol's frames and messages. What it stores
//! survives the cable and the power, what it knows of a session does not.

mod descriptors;
mod device;
mod engine;
mod flash;
mod judgement;
mod operations;
#[cfg(test)]
mod tests;
mod transcript;

pub use descriptors::{INTERFACE_GUID, WINDOWS_VENDOR_CODE, tether_descriptors, windows_descriptor_set};
pub use flash::{Memory, Pending, StoredIdentity, StoredKey};
#[cfg(test)]
pub(crate) use operations::{Hash, pkcs10, signed_info, timestamp};

use crate::credential::{Fingerprint, KeyKind};
use crate::phone::tether::binding::ShortCode;
use crate::phone::tether::messages::{LogEntry, capability};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Makes a private key of a kind, PKCS#8. It may take seconds; the phone calls it off its own task.
pub type KeyMaker = Arc<dyn Fn(KeyKind) -> Zeroizing<Vec<u8>> + Send + Sync>;

/// A factory chain, DER, leaf first, and the leaf's P-256 key as PKCS#8.
pub type Factory = (Vec<Vec<u8>>, Zeroizing<Vec<u8>>);

/// What a virtual phone is made of.
#[derive(Clone)]
pub struct PhoneMaterial {
    /// Maker, as printed on it.
    pub maker: String,
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// MAC address.
    pub mac: [u8; 6],
    /// Firmware version.
    pub firmware: String,
    /// Device UUID.
    pub device: Uuid,
    /// Vendor and product id on the bus.
    pub usb_id: (u16, u16),
    /// Number of the tether interface; the firmware update interface behind it takes another.
    pub interface: u8,
    /// What it brings beside these two: no honest phone of its model has any of it.
    pub extras: Vec<Extra>,
    /// Capabilities, as bits of [`capability`].
    pub capabilities: u32,
    /// Key kinds it can make.
    pub key_kinds: Vec<KeyKind>,
    /// The longest certificate it stores, bytes.
    pub max_certificate_bytes: u32,
    /// How many intermediates go with a leaf.
    pub max_intermediates: u8,
    /// How many anchors can be installed.
    pub max_installed_anchors: u8,
    /// The longest frame body it takes, bytes.
    pub max_body_bytes: u32,
    /// Without it the phone can only show a short code.
    pub factory: Option<Factory>,
    /// Trust anchors of the firmware, DER.
    pub anchors: Vec<Vec<u8>>,
    /// An identity from before.
    pub identity: Option<StoredIdentity>,
    /// Its clock.
    pub clock: Clock,
    /// How long making a key seems to take.
    pub key_delay: Duration,
    /// How often it says that it is still working.
    pub working_every: Duration,
    /// What it wants before it is changed, and what the person at it does.
    pub consent: Consent,
    /// Where its keys come from.
    pub keys: KeyMaker,
}

impl fmt::Debug for PhoneMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhoneMaterial({} {})", self.model, self.serial)
    }
}

impl PhoneMaterial {
    /// An Acme Desk 2 as it leaves the factory, without factory key and without time.
    pub fn new(number: u8, keys: KeyMaker) -> Self {
        let mac = [0x00, 0x04, 0xf2, 0xaa, 0xbb, number];
        Self {
            maker: "Acme".into(),
            model: "Desk 2".into(),
            serial: format!("LAB{number:05}"),
            mac,
            firmware: "2.4.1".into(),
            device: Uuid::new_v5(&Uuid::NAMESPACE_OID, &mac),
            usb_id: (0x1209, 0x0001),
            interface: 0,
            extras: Vec::new(),
            capabilities: capability::LIGHT
                | capability::SCREEN
                | capability::KEYS
                | capability::CLOCK
                | capability::RESTART
                | capability::LOG
                | capability::HANDSHAKE
                | capability::ENDORSE,
            key_kinds: vec![KeyKind::Rsa2048, KeyKind::Rsa3072, KeyKind::P256],
            max_certificate_bytes: 8192,
            max_intermediates: 4,
            max_installed_anchors: 8,
            max_body_bytes: 32_768,
            factory: None,
            anchors: Vec::new(),
            identity: None,
            clock: Clock::Shows(time::macros::datetime!(2008-01-01 00:00 UTC)),
            key_delay: Duration::ZERO,
            working_every: Duration::from_secs(1),
            consent: Consent::None,
            keys,
        }
    }
}

/// An interface by which a device attacks a computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extra {
    /// Class, subclass and protocol.
    pub kind: (u8, u8, u8),
    /// Only another setting of the firmware update interface: a list of interfaces does not show it.
    pub hidden: bool,
}

/// The phone's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Never set.
    Unset,
    /// Shows this time when the phone is made, and goes on from there.
    Shows(OffsetDateTime),
    /// Shows this computer's time plus so many seconds.
    Offset(i64),
}

impl Clock {
    /// Phone time less this computer's, seconds.
    fn offset_seconds(self) -> Option<i64> {
        match self {
            Self::Unset => None,
            Self::Shows(time) => Some((time - OffsetDateTime::now_utc()).whole_seconds()),
            Self::Offset(seconds) => Some(seconds),
        }
    }
}

/// What the phone wants before it is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// Nothing.
    None,
    /// A key pressed; the person at the phone does so, or declines.
    Press {
        /// What the person does.
        agrees: bool,
    },
    /// The administrator code.
    Code {
        /// The right one.
        code: String,
        /// Wrong ones in a row until it locks.
        tries: u8,
    },
}

/// A virtual phone, seen from the room it stands in. Clones are the same phone.
#[derive(Clone)]
pub struct VirtualPhone {
    inside: Arc<Mutex<Inside>>,
    /// How many sessions are served, those whose cable is pulled already included.
    busy: watch::Sender<usize>,
}

pub(super) struct Inside {
    pub(super) material: PhoneMaterial,
    pub(super) flash: flash::Flash,
    pub(super) noise_key: Zeroizing<[u8; 32]>,
    /// Phone time less this computer's, seconds; `None`: never set.
    pub(super) clock_offset: Option<i64>,
    pub(super) light_until: Option<OffsetDateTime>,
    pub(super) times_lit: u32,
    pub(super) code: Option<ShortCode>,
    pub(super) codes_shown: Vec<Instant>,
    pub(super) log: Vec<LogEntry>,
    pub(super) lies: Lies,
    pub(super) power: bool,
    pub(super) power_lost: Arc<Notify>,
    pub(super) operations: u64,
}

/// What a broken or hostile phone does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lies {
    /// It says that it committed, and keeps the old identity.
    pub commits_nothing: bool,
    /// It signs proofs with another key.
    pub proves_with_another_key: bool,
    /// It reveals another nonce than it committed to.
    pub breaks_its_commitment: bool,
    /// It installs no anchors and says that it did.
    pub drops_anchors: bool,
    /// It endorses with another key.
    pub endorses_with_another_key: bool,
    /// It signs its device proof over another session.
    pub replays_device_proof: bool,
    /// Its signing request names somebody else.
    pub names_another_user: bool,
    /// It cannot take back a packet that it has armed: one of before the reset comes first, and a zero-length packet.
    pub keeps_an_armed_packet: bool,
    /// Its answers do not decrypt.
    pub garbles_answers: bool,
    /// Its signing request holds another key than it says it made.
    pub requests_another_key: bool,
    /// Its signing request's own signature does not fit.
    pub signs_request_badly: bool,
    /// Its power goes in the middle of writing what it commits, once.
    pub loses_power_at_commit: bool,
    /// It does not do this operation, by its name in the protocol.
    pub refuses: Option<&'static str>,
}

impl VirtualPhone {
    /// A phone of this material, on its shelf.
    pub fn new(material: PhoneMaterial) -> Self {
        let mut noise_key = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(noise_key.as_mut_slice()).expect("the system gives random bytes");
        let clock_offset = material.clock.offset_seconds();
        let flash = flash::Flash::new(&material);
        let inside = Inside {
            material,
            flash,
            noise_key,
            clock_offset,
            light_until: None,
            times_lit: 0,
            code: None,
            codes_shown: Vec::new(),
            log: Vec::new(),
            lies: Lies::default(),
            power: true,
            power_lost: Arc::default(),
            operations: 0,
        };
        Self { inside: Arc::new(Mutex::new(inside)), busy: watch::Sender::new(0) }
    }

    /// The device to plug into a USB/IP exporter.
    pub fn device(&self) -> device::TetherDevice {
        device::TetherDevice::new(self.clone())
    }

    /// What it is made of.
    pub fn material(&self) -> PhoneMaterial {
        self.lock().material.clone()
    }

    /// What its flash holds.
    pub fn memory(&self) -> Memory {
        self.lock().flash.read()
    }

    /// Fingerprint of the certificate in use.
    pub fn installed(&self) -> Option<Fingerprint> {
        self.memory().identity.map(|identity| Fingerprint::of(&identity.leaf))
    }

    /// Its time, if it has one.
    pub fn time(&self) -> Option<OffsetDateTime> {
        self.lock().time()
    }

    /// Sets its clock by hand.
    pub fn set_clock(&self, clock: Clock) {
        self.lock().clock_offset = clock.offset_seconds();
    }

    /// The short code on its screen.
    pub fn code_on_screen(&self) -> Option<ShortCode> {
        self.lock().code
    }

    /// How often its light was switched on.
    pub fn times_lit(&self) -> u32 {
        self.lock().times_lit
    }

    /// Its sign-in log.
    pub fn log(&self) -> Vec<LogEntry> {
        self.lock().log.clone()
    }

    /// How many steps its flash has written.
    pub fn flash_steps(&self) -> u64 {
        self.lock().flash.steps()
    }

    /// Cuts its power instead of the flash's step `at`, once. It comes back as it would: from its flash, by [`VirtualPhone::power_on`].
    pub fn cut_power_at(&self, at: u64) {
        self.lock().flash.cut_power_at(Some(at));
    }

    /// Whether it has power.
    pub fn has_power(&self) -> bool {
        self.lock().power
    }

    /// Waits until nobody is plugged in and all that had come before the cable was pulled is done.
    pub async fn at_rest(&self) {
        let mut busy = self.busy.subscribe();
        busy.wait_for(|busy| *busy == 0).await.expect("this phone holds the sender");
    }

    /// Waits until a cut of [`VirtualPhone::cut_power_at`] happens. A phone without power is no longer on its bus: pull it.
    pub async fn power_lost(&self) {
        let lost = self.lock().power_lost.clone();
        lost.notified().await;
    }

    /// Power again after a cut.
    pub fn power_on(&self) {
        self.lock().power = true;
    }

    /// Makes it lie from now on.
    pub fn lie(&self, lies: Lies) {
        self.lock().lies = lies;
    }

    /// How it lies.
    pub fn lies(&self) -> Lies {
        self.lock().lies
    }

    /// Changes what it is made of, as another firmware would: what its flash holds stays, and so does its USB device.
    pub fn rebuild(&self, change: impl FnOnce(&mut PhoneMaterial)) {
        change(&mut self.lock().material);
    }

    /// Has it make a new static key for its sessions, as a phone may at each start.
    pub fn make_a_new_session_key(&self) {
        aws_lc_rs::rand::fill(self.lock().noise_key.as_mut_slice()).expect("the system gives random bytes");
    }

    /// Somebody gives up the transaction that is not finished, in the phone's own menu.
    pub fn forget_what_is_pending(&self) {
        let mut inside = self.lock();
        let memory = Memory { pending: None, ..inside.flash.read() };
        inside.flash.write(&memory).expect("the power is on");
    }

    /// What the person at the phone does from now on.
    pub fn set_consent(&self, consent: Consent) {
        self.lock().material.consent = consent;
    }

    pub(in crate::lab) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().expect("no holder of the phone panics")
    }
}

impl Inside {
    pub(super) fn time(&self) -> Option<OffsetDateTime> {
        let offset = time::Duration::seconds(self.clock_offset?);
        OffsetDateTime::now_utc().checked_add(offset)
    }

    pub(super) fn write_log(&mut self, text: impl Into<String>) {
        let entry = LogEntry {
            index: self.log.len() as u32,
            time: self.time().map(OffsetDateTime::unix_timestamp),
            text: text.into(),
        };
        self.log.push(entry);
    }
}
