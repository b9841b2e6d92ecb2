//! The data store of the user's home pool: which certificate of which device is published.

use crate::credential::{Fingerprint, SipAddress};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;
use uuid::Uuid;

/// The published certificates. A clone is the same store.
///
/// LAB rule, the real one is not public: one certificate for each user and device; a new one replaces it and leaves the
/// user's other devices alone.
#[derive(Debug, Clone, Default)]
pub struct Store(Arc<Mutex<Entries>>);

type Entries = BTreeMap<(SipAddress, Uuid), Published>;

/// One published certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Whose it is.
    pub user: SipAddress,
    /// The device that asked for it.
    pub device: Uuid,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// When it was published, by the service's clock.
    pub published: OffsetDateTime,
    /// When it ends.
    pub expires: OffsetDateTime,
}

impl Store {
    /// Puts a certificate in, in place of the same device's old one.
    pub(super) fn publish(&self, published: Published) {
        self.entries().insert((published.user.clone(), published.device), published);
    }

    /// Every certificate, by user and device.
    pub fn list(&self) -> Vec<Published> {
        self.entries().values().cloned().collect()
    }

    /// The certificate of one device.
    pub fn get(&self, user: &SipAddress, device: Uuid) -> Option<Published> {
        self.entries().get(&(user.clone(), device)).cloned()
    }

    /// The entry that holds exactly this certificate: what a registrar asks when a phone signs in.
    pub fn find(&self, certificate: Fingerprint) -> Option<Published> {
        self.entries().values().find(|entry| Fingerprint::of(&entry.certificate) == certificate).cloned()
    }

    /// Removes all of a user's certificates and says how many: as `Revoke-CsClientCertificate` does, other devices
    /// included.
    pub fn revoke(&self, user: &SipAddress) -> usize {
        let mut entries = self.entries();
        let before = entries.len();
        entries.retain(|(owner, _), _| owner != user);
        before - entries.len()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
