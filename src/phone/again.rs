//! Knowing a phone again: by keys that it has proved to hold, never by what it says of itself.
//!
//! Serial number, MAC address and device UUID are claims: two phones may bear the same, or none. What a session proves is its own
//! static key, which a phone may make anew at each start, and the factory key, where a maker vouches for it.

use super::Identity;
use crate::credential::Fingerprint;
use crate::usb::MacAddress;

/// The keys that a phone has proved to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProvedKeys {
    /// SHA-256 of the static key of its session.
    pub session: Fingerprint,
    /// SHA-256 of the public key of its factory certificate, where its maker vouches for it by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factory: Option<Fingerprint>,
}

/// Whether a phone is the one that was met before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It has proved it.
    Same,
    /// Nothing proves it, and nothing speaks against it: a phone without factory key that has started anew.
    NotProved,
    /// It is another, whatever it says.
    Another(Difference),
}

/// What shows that a phone is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Its maker has given each of them a key of its own.
    FactoryKey,
    /// The maker vouched for the one before, and nothing vouches for this one.
    NothingVouches,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::FactoryKey => "its factory key is another",
            Self::NothingVouches => "its maker vouched for it then, and nothing does now",
        })
    }
}

impl ProvedKeys {
    /// Whether who has proved these keys is who has proved those `before`.
    pub fn again(&self, before: &Self) -> Again {
        match (self.factory, before.factory) {
            (Some(now), Some(before)) if now == before => Again::Same,
            (Some(_), Some(_)) => Again::Another(Difference::FactoryKey),
            _ if self.session == before.session => Again::Same,
            (None, Some(_)) => Again::Another(Difference::NothingVouches),
            (_, None) => Again::NotProved,
        }
    }
}

/// Which phone is meant, as far as it was said: who answers otherwise is another, and nothing is done with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meant {
    /// By this serial number.
    pub serial: Option<String>,
    /// By this MAC address.
    pub mac: Option<MacAddress>,
    /// The one that has proved these keys.
    pub keys: Option<ProvedKeys>,
}

impl Meant {
    /// Why the phone that answers is another one, if it is.
    pub(super) fn differs(&self, identity: &Identity, keys: &ProvedKeys) -> Option<String> {
        let Self { serial, mac, keys: before } = self;
        if let Some(serial) = serial.as_ref().filter(|serial| **serial != identity.serial) {
            return Some(format!("it calls itself serial `{}`, and {serial} is meant", identity.serial));
        }
        if let Some(mac) = mac.filter(|mac| *mac != identity.mac) {
            return Some(format!("its MAC address is {}, and {mac} is meant", identity.mac));
        }
        match keys.again(&(*before)?) {
            Again::Same => None,
            Again::Another(difference) => Some(difference.to_string()),
            Again::NotProved => Some("its key for the session is another".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(session: &str, factory: Option<&str>) -> ProvedKeys {
        let key = |name: &str| Fingerprint::of(name.as_bytes());
        ProvedKeys { session: key(session), factory: factory.map(key) }
    }

    #[test]
    fn a_phone_is_known_again_by_its_factory_key_or_else_by_the_key_of_its_session() {
        let before = keys("a", Some("A"));
        assert_eq!(keys("new", Some("A")).again(&before), Again::Same);
        assert_eq!(keys("a", None).again(&before), Again::Same);
        assert_eq!(keys("a", Some("B")).again(&before), Again::Another(Difference::FactoryKey));
        assert_eq!(keys("b", None).again(&before), Again::Another(Difference::NothingVouches));

        let before = keys("a", None);
        assert_eq!(keys("a", None).again(&before), Again::Same);
        assert_eq!(keys("a", Some("A")).again(&before), Again::Same);
        assert_eq!(keys("b", None).again(&before), Again::NotProved);
        assert_eq!(keys("b", Some("A")).again(&before), Again::NotProved);
    }
}
