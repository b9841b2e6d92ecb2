//! The phone's side of the Tether Device Protocol (docs/tether-protocol.md): one engine for every phone that is made
//! here, the lab's virtual ones and the reference phone on a board.
//!
//! It shares with the host the protocol's frames and messages and nothing else. What differs from phone to phone stands
//! behind four small traits: the [`Cable`] to the host, the [`Storage`] that survives a power cut, the [`Panel`] with
//! light, screen and the person at it, and the [`Nature`], which is honest unless the lab makes a liar.

mod engine;
mod judgement;
pub mod keys;
pub mod memory;
mod nature;
mod operations;
mod panel;
mod socket;
mod transcript;

pub use memory::{Memory, Pending, Storage, StoredIdentity, StoredKey, WriteError};
pub use nature::{Honest, Nature, signing_request};
#[cfg(test)]
pub(crate) use operations::{Hash, signed_info, timestamp};
pub use panel::{Agreement, NoPanel, Panel};
pub use socket::{Cable, Socket};

use crate::credential::KeyKind;
use crate::phone::tether::binding::ShortCode;
use crate::phone::tether::messages::{LogEntry, capability};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use uuid::Uuid;
use zeroize::Zeroizing;

pub use crate::phone::tether::frames::INTERFACE_GUID;

/// How many lines of its log a phone keeps.
const LOG_LINES: usize = 1000;

/// Makes a private key of a kind, PKCS#8. It may take seconds; the phone calls it off its own task.
pub type KeyMaker = Arc<dyn Fn(KeyKind) -> Zeroizing<Vec<u8>> + Send + Sync>;

/// A factory chain, DER, leaf first, and the leaf's P-256 key as PKCS#8.
pub type Factory = (Vec<Vec<u8>>, Zeroizing<Vec<u8>>);

/// What a phone is made of.
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
    pub(crate) fn offset_seconds(self) -> Option<i64> {
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
    /// A key pressed; its [`Panel`] asks somebody.
    Ask,
    /// The administrator code.
    Code {
        /// The right one.
        code: String,
        /// Wrong ones in a row until it locks.
        tries: u8,
    },
}

/// A phone, seen from inside. Clones are the same phone.
#[derive(Clone)]
pub struct Phone {
    inside: Arc<Mutex<Inside>>,
    /// How many sessions are served, those whose cable is pulled already included.
    busy: watch::Sender<usize>,
}

pub(crate) struct Inside {
    pub(crate) material: PhoneMaterial,
    storage: Box<dyn Storage>,
    nature: Box<dyn Nature>,
    panel: Arc<dyn Panel>,
    pub(crate) noise_key: Zeroizing<[u8; 32]>,
    /// Phone time less this computer's, seconds; `None`: never set.
    pub(crate) clock_offset: Option<i64>,
    pub(crate) times_lit: u32,
    pub(crate) code: Option<ShortCode>,
    codes_shown: Vec<Instant>,
    pub(crate) log: Vec<LogEntry>,
    /// Somebody at the phone is asked to press a key.
    asking: bool,
    pub(crate) power: bool,
    pub(crate) power_lost: Arc<Notify>,
}

impl Phone {
    /// A phone of this material. `noise_key` is its static key, by which no host knows it.
    pub fn new(
        material: PhoneMaterial,
        storage: Box<dyn Storage>,
        nature: Box<dyn Nature>,
        panel: Arc<dyn Panel>,
        noise_key: Zeroizing<[u8; 32]>,
    ) -> Self {
        let clock_offset = material.clock.offset_seconds();
        let inside = Inside {
            material,
            storage,
            nature,
            panel,
            noise_key,
            clock_offset,
            times_lit: 0,
            code: None,
            codes_shown: Vec::new(),
            log: Vec::new(),
            asking: false,
            power: true,
            power_lost: Arc::default(),
        };
        Self { inside: Arc::new(Mutex::new(inside)), busy: watch::Sender::new(0) }
    }

    /// Waits until nobody is plugged in and all that had come before the cable was pulled is done.
    pub async fn at_rest(&self) {
        let mut busy = self.busy.subscribe();
        busy.wait_for(|busy| *busy == 0).await.expect("this phone holds the sender");
    }

    pub(crate) fn has_power(&self) -> bool {
        self.lock().power
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().expect("no holder of the phone panics")
    }
}

impl Inside {
    pub(crate) fn memory(&self) -> Memory {
        self.storage.read()
    }

    pub(crate) fn time(&self) -> Option<OffsetDateTime> {
        let offset = time::Duration::seconds(self.clock_offset?);
        OffsetDateTime::now_utc().checked_add(offset)
    }

    fn write_log(&mut self, text: impl Into<String>) {
        let entry = LogEntry {
            index: self.log.last().map_or(0, |last| last.index.wrapping_add(1)),
            time: self.time().map(OffsetDateTime::unix_timestamp),
            text: text.into(),
        };
        self.panel.log(&entry.text);
        self.log.push(entry);
        let surplus = self.log.len().saturating_sub(LOG_LINES);
        self.log.drain(..surplus);
    }
}
