//! The data store of the user's home pool: which certificate of which device is published.

use crate::credential::{Fingerprint, SipAddress};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;
use uuid::Uuid;

/// The published certificates. A clone is the same store.
#[derive(Debug, Clone, Default)]
pub struct Store(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    rule: StoreRule,
    entries: Vec<Entry>,
}

/// What a second publication for the same user and device does. The rule of a real pool is not public: each is LAB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreRule {
    /// The new certificate takes the old one's place; the user's other devices keep theirs.
    #[default]
    Replace,
    /// Both stay in force.
    KeepBoth,
    /// The same signing request of the same device with the same request id gives the same certificate again; any other
    /// replaces.
    DeDuplicate,
    /// It is refused.
    Refuse,
    /// One certificate for each user: the new one ends those of all the user's devices.
    OnePerUser,
}

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

/// What became of a published certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A registrar takes it.
    InForce,
    /// A later publication ended it.
    Replaced,
    /// The administrator revoked it.
    Revoked,
}

#[derive(Debug)]
struct Entry {
    published: Published,
    asked: Asked,
    standing: Standing,
}

/// By what a repeated publication is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// SHA-256 of the PKCS#10.
    pub(super) request: Fingerprint,
    /// `wstep:RequestID`.
    pub(super) id: Option<String>,
}

/// The store has a certificate for this device, and its rule is [`StoreRule::Refuse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AlreadyPublished;

impl Store {
    /// Changes the rule for publications from now on.
    pub fn set_rule(&self, rule: StoreRule) {
        self.inside().rule = rule;
    }

    /// The rule.
    pub fn rule(&self) -> StoreRule {
        self.inside().rule
    }

    /// Publishes by the rule. The certificate that is the user's now: by [`StoreRule::DeDuplicate`] maybe an earlier one.
    pub(super) fn publish(&self, published: Published, asked: Asked) -> Result<Vec<u8>, AlreadyPublished> {
        let mut inside = self.inside();
        let rule = inside.rule;
        let mut before = inside.entries.iter_mut().filter(|entry| {
            let device = entry.published.device == published.device || rule == StoreRule::OnePerUser;
            entry.standing == Standing::InForce && entry.published.user == published.user && device
        });
        match rule {
            StoreRule::KeepBoth => {}
            StoreRule::Refuse if before.next().is_some() => return Err(AlreadyPublished),
            StoreRule::DeDuplicate => {
                for entry in before {
                    if entry.asked == asked {
                        return Ok(entry.published.certificate.clone());
                    }
                    entry.standing = Standing::Replaced;
                }
            }
            StoreRule::Replace | StoreRule::Refuse | StoreRule::OnePerUser => {
                before.for_each(|entry| entry.standing = Standing::Replaced);
            }
        }
        let certificate = published.certificate.clone();
        inside.entries.push(Entry { published, asked, standing: Standing::InForce });
        Ok(certificate)
    }

    /// Publishes beside the rule and the service: for who needs a published certificate and not its publication.
    pub(in crate::lab) fn insert(&self, published: Published) -> Vec<u8> {
        let certificate = published.certificate.clone();
        let asked = Asked { request: Fingerprint::of(&certificate), id: None };
        self.inside().entries.push(Entry { published, asked, standing: Standing::InForce });
        certificate
    }

    /// Every certificate in force, by user and device, the older first.
    pub fn list(&self) -> Vec<Published> {
        let inside = self.inside();
        let in_force = inside.entries.iter().filter(|entry| entry.standing == Standing::InForce);
        let mut list: Vec<Published> = in_force.map(|entry| entry.published.clone()).collect();
        list.sort_by(|a, b| (&a.user, a.device).cmp(&(&b.user, b.device)));
        list
    }

    /// Every certificate that was ever published, in that order, and what became of it.
    pub fn list_all(&self) -> Vec<(Published, Standing)> {
        self.inside().entries.iter().map(|entry| (entry.published.clone(), entry.standing)).collect()
    }

    /// The certificate in force of one device; the newest where the rule keeps several.
    pub fn get(&self, user: &SipAddress, device: Uuid) -> Option<Published> {
        self.newest(|entry| entry.user == *user && entry.device == device)
    }

    /// The entry in force that holds exactly this certificate: what a registrar asks when a phone signs in.
    pub fn find(&self, certificate: Fingerprint) -> Option<Published> {
        self.newest(|entry| Fingerprint::of(&entry.certificate) == certificate)
    }

    /// Ends all of a user's certificates and says how many: as `Revoke-CsClientCertificate` does, other devices included.
    pub fn revoke(&self, user: &SipAddress) -> usize {
        let mut inside = self.inside();
        let of_user = |entry: &&mut Entry| entry.standing == Standing::InForce && entry.published.user == *user;
        let ended = inside.entries.iter_mut().filter(of_user).map(|entry| entry.standing = Standing::Revoked);
        ended.count()
    }

    fn newest(&self, is: impl Fn(&Published) -> bool) -> Option<Published> {
        let inside = self.inside();
        let mut entries = inside.entries.iter().rev().filter(|entry| entry.standing == Standing::InForce);
        entries.find(|entry| is(&entry.published)).map(|entry| entry.published.clone())
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
