//! Every fault of the lab by name: what `--fault NAME` switches on, in one closed list.
//!
//! A fault is one row of a table: its name, what value it takes, a sentence for people, and what it does to the running
//! lab. The mechanisms below stand beside what they break: [`super::web_services::Faults`] and `Settings`,
//! [`super::pki::ServerFaults`], [`super::registrar::Faults`], [`super::phone::Lies`] and the transfers of [`super::usbip::Exporter`].

mod chain;
mod network;
mod phone;
mod registrar;
#[cfg(test)]
mod tests;
mod value;
mod web;

use super::Lab;
use super::network::Network;
use super::pki::ServerFaults;
use super::registrar::Registrar;
use super::web_services::WebServices;
use std::fmt;
use std::io;
use std::str::FromStr;
use value::{Takes, Value};

/// A fault to switch on, with its value.
#[derive(Clone)]
pub struct Fault {
    entry: &'static Entry,
    value: Value,
    /// Of a phone's fault: which phone, from 1. Nothing: the first.
    phone: Option<u8>,
}

/// What a fault breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The Web Services' answers, clock, store and rules.
    Web,
    /// The certificates of the servers' handshakes.
    Chain,
    /// The registrar's answers, clock, rules and copy of the store.
    Registrar,
    /// What the network tells phones by DHCP, DNS and NTP.
    Network,
    /// A phone, or its cable: the first where nothing is said.
    Phone,
}

/// One row of the table.
struct Entry {
    name: &'static str,
    takes: Takes,
    /// A sentence; without full stop, as in help.
    says: &'static str,
    does: Does,
}

enum Does {
    Web(fn(&WebServices, &Value)),
    Chain(fn(&mut ServerFaults)),
    Registrar(fn(&Registrar, &Value)),
    Network(fn(&Network, &Value)),
    Phone(fn(&mut Lab, &Value)),
}

/// A fault as the lists for people have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// What it breaks.
    pub group: Group,
    /// `store-unavailable`.
    pub name: &'static str,
    /// What may follow a `=`, with brackets where it may be left out: `[=N]`; empty for a fault that takes no value.
    pub value: &'static str,
    /// What it does.
    pub says: &'static str,
}

/// Why a text names no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// The list has no such name.
    #[error("there is no fault {name:?}{}", nearest(.name))]
    Unknown {
        /// What was given.
        name: String,
    },
    /// A phone is named where none is broken, or by no number.
    #[error("{name} is written {name}{}", if *.of_a_phone { "@N for the phone of number N, from 1" } else { "" })]
    Phone {
        /// The fault.
        name: &'static str,
        /// Whether it is a phone's.
        of_a_phone: bool,
    },
    /// The value does not fit.
    #[error("{name} is written {name}{wanted}")]
    Value {
        /// The fault.
        name: &'static str,
        /// What may follow.
        wanted: &'static str,
    },
}

impl Fault {
    /// The whole list, by group.
    pub fn all() -> impl Iterator<Item = Listed> {
        table().map(|entry| Listed {
            group: entry.group(),
            name: entry.name,
            value: entry.takes.shape(),
            says: entry.says,
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// What it does.
    pub fn says(&self) -> &'static str {
        self.entry.says
    }

    /// What it breaks.
    pub fn group(&self) -> Group {
        self.entry.group()
    }

    pub(super) fn apply(&self, lab: &mut Lab) -> io::Result<()> {
        match self.entry.does {
            Does::Web(does) => does(lab.web(), &self.value),
            Does::Chain(does) => {
                let mut chain = lab.web().presented();
                does(&mut chain);
                lab.web().present(&chain)?;
                lab.registrar().present(&chain)?;
            }
            Does::Registrar(does) => does(lab.registrar(), &self.value),
            Does::Network(does) => does(lab.network(), &self.value),
            Does::Phone(does) => {
                let ill = usize::from(self.phone.unwrap_or(1)) - 1;
                // A phone that is not there cannot be broken.
                if ill < lab.phones.len() {
                    // What a fault does, it does to the first phone: the ill one stands there meanwhile.
                    lab.phones.swap(0, ill);
                    does(lab, &self.value);
                    lab.phones.swap(0, ill);
                }
            }
        }
        Ok(())
    }
}

impl Entry {
    fn group(&self) -> Group {
        match self.does {
            Does::Web(_) => Group::Web,
            Does::Chain(_) => Group::Chain,
            Does::Registrar(_) => Group::Registrar,
            Does::Network(_) => Group::Network,
            Does::Phone(_) => Group::Phone,
        }
    }
}

fn table() -> impl Iterator<Item = &'static Entry> {
    web::FAULTS.iter().chain(chain::FAULTS).chain(registrar::FAULTS).chain(network::FAULTS).chain(phone::FAULTS)
}

/// The faults that share a word with what was given.
fn nearest(name: &str) -> String {
    let near = |entry: &&Entry| entry.name.split('-').any(|word| name.split('-').any(|wanted| wanted == word));
    let names: Vec<&str> = table().filter(near).map(|entry| entry.name).collect();
    if names.is_empty() { String::new() } else { format!("; perhaps {}", names.join(" or ")) }
}

impl FromStr for Fault {
    type Err = FaultError;

    /// `name` or `name=value`; with `@2` behind it, the second phone's.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (text, phone) = text.split_once('@').map_or((text, None), |(text, phone)| (text, Some(phone)));
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let entry = table().find(|entry| entry.name == name);
        let entry = entry.ok_or_else(|| FaultError::Unknown { name: name.to_owned() })?;
        let value = entry.takes.read(value);
        let value = value.ok_or(FaultError::Value { name: entry.name, wanted: entry.takes.shape() })?;
        let of_a_phone = entry.group() == Group::Phone;
        let number = |phone: &str| phone.parse().ok().filter(|number| of_a_phone && (1..=99).contains(number));
        let unfit = FaultError::Phone { name: entry.name, of_a_phone };
        let phone = phone.map(|phone| number(phone).ok_or(unfit)).transpose()?;
        Ok(Self { entry, value, phone })
    }
}

impl PartialEq for Fault {
    fn eq(&self, other: &Self) -> bool {
        self.entry.name == other.entry.name && self.value == other.value && self.phone == other.phone
    }
}

impl Eq for Fault {}

impl fmt::Display for Fault {
    /// As [`Fault::from_str`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry.name)?;
        if let Some(value) = self.value.text() {
            write!(f, "={value}")?;
        }
        match self.phone {
            Some(phone) => write!(f, "@{phone}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({self})")
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Web => "web",
            Self::Chain => "chain",
            Self::Registrar => "registrar",
            Self::Network => "network",
            Self::Phone => "phone",
        })
    }
}
