//! Finding phones among the devices on the bus, and opening one.

use super::definition::{Definition, Definitions, Protocol, Recognition, Seen};
use super::tether::{self, HostKey, Tether};
use super::{Driver, Identified, Meant, Phone, PhoneError};
use crate::credential::Certificate;
use crate::usb::{Attached, InterfaceKind, Selector, Slot, Usb, UsbError, choose};
use std::collections::HashMap;
use std::sync::Arc;

/// How this computer reaches phones.
#[derive(Clone)]
pub struct Finder {
    /// The bus.
    pub usb: Usb,
    /// The models that are known.
    pub definitions: Arc<Definitions>,
    /// This host's key for the cable.
    pub host_key: Arc<HostKey>,
    /// What phones call this computer.
    pub host_label: String,
}

/// A device that is, or may be, a phone.
#[derive(Debug, Clone)]
pub struct Found {
    /// The device on the bus.
    pub attached: Attached,
    /// The models it may be. One, unless it is only a candidate.
    pub models: Vec<Definition>,
    /// Whether it certainly is the one model.
    pub certain: bool,
    /// What it brings that such a phone has no business with, as far as the list says. Not empty: it is refused.
    pub unexpected: Vec<InterfaceKind>,
    /// By what it was chosen: who answers otherwise is another phone.
    pub meant: Meant,
}

impl Found {
    /// The port it is on.
    pub fn slot(&self) -> &Slot {
        &self.attached.slot
    }

    /// The model, when it is certain and we speak its protocol.
    pub fn spoken(&self) -> Option<&Definition> {
        self.models.first().filter(|model| self.certain && model.protocol == Protocol::Tether)
    }
}

impl Finder {
    /// To list what is on this computer's own USB: phones would not know it again.
    pub fn to_list(definitions: Definitions) -> Self {
        Self {
            usb: Usb::system(),
            definitions: Arc::new(definitions),
            host_key: Arc::new(HostKey::ephemeral()),
            host_label: String::new(),
        }
    }

    /// The phones that are plugged in, and what may be phones.
    ///
    /// # Errors
    /// As [`Usb::list`].
    pub async fn list(&self) -> Result<Vec<Found>, UsbError> {
        let mut found = Vec::new();
        for mut attached in self.usb.list().await? {
            // Linux's own USB/IP server lists no interfaces for the devices bound to it.
            if attached.interfaces.is_empty()
                && let Ok(inspected) = self.usb.inspect(&attached).await
            {
                attached = inspected;
            }
            found.extend(self.recognise(attached));
        }
        Ok(found)
    }

    /// What a device is; `None` when it is no phone that we know.
    pub fn recognise(&self, attached: Attached) -> Option<Found> {
        let interfaces: Vec<_> = attached.interfaces.iter().map(|i| (i.class, i.subclass, i.protocol)).collect();
        let seen = Seen {
            vendor: attached.vendor_id,
            product: attached.product_id,
            interfaces: &interfaces,
            manufacturer: attached.strings.manufacturer.as_deref(),
            product_name: attached.strings.product.as_deref(),
        };
        let (models, certain) = match self.definitions.recognise(&seen) {
            Recognition::Phone(model) => (vec![model.clone()], true),
            Recognition::Candidates(models) => (models.into_iter().cloned().collect(), false),
            Recognition::Unknown => return None,
        };
        let mut found = Found { attached, models, certain, unexpected: Vec::new(), meant: Meant::default() };
        if let Some(model) = found.spoken() {
            found.unexpected = model.unexpected(found.attached.interfaces.iter().copied());
        }
        Some(found)
    }

    /// The one phone that is meant.
    ///
    /// A serial number over USB/IP and a MAC address are only known to the phone itself, so every phone there is asked;
    /// one that is in use meanwhile counts as another.
    ///
    /// # Errors
    /// [`UsbError::NotFound`] and [`UsbError::Ambiguous`] inside [`PhoneError::Usb`], and what listing meets.
    pub async fn pick(&self, selector: Option<&Selector>) -> Result<Found, PhoneError> {
        let usb = |source| PhoneError::Usb { during: super::Step::Identify, source };
        let mut found = self.list().await.map_err(usb)?;
        let mut known = HashMap::new();
        match selector {
            // A handset on the next port is not in the way of the one phone that we speak with.
            None if found.iter().any(|phone| phone.spoken().is_some()) => {
                found.retain(|phone| phone.spoken().is_some());
            }
            Some(Selector::Serial(_)) => {
                for phone in found.iter_mut().filter(|phone| phone.attached.strings.serial.is_none()) {
                    if let Ok(inspected) = self.usb.inspect(&phone.attached).await {
                        phone.attached = inspected;
                    }
                }
            }
            Some(Selector::Mac(_)) => {
                for phone in found.iter().filter(|phone| phone.spoken().is_some()) {
                    if let Ok((_, identified)) = self.meet(phone).await {
                        known.insert(phone.slot().to_string(), (identified.identity.mac, identified.keys));
                    }
                }
            }
            Some(Selector::Port(_)) | None => {}
        }
        let candidates: Vec<Attached> = found.iter().map(|phone| phone.attached.clone()).collect();
        let mac = |attached: &Attached| known.get(&attached.slot.to_string()).map(|(mac, _)| *mac);
        let slot = choose(&candidates, selector, mac).map_err(usb)?.slot.clone();
        let chosen = found.into_iter().find(|phone| *phone.slot() == slot);
        let mut chosen = chosen.ok_or_else(|| usb(UsbError::NotFound { sought: slot.to_string() }))?;
        // Between this and the session another phone may be plugged in there.
        match selector {
            Some(Selector::Serial(serial)) => chosen.meant.serial = Some(serial.clone()),
            Some(Selector::Mac(mac)) => {
                chosen.meant.mac = Some(*mac);
                chosen.meant.keys = known.get(&slot.to_string()).map(|(_, keys)| *keys);
            }
            Some(Selector::Port(_)) | None => {}
        }
        Ok(chosen)
    }

    /// Opens a phone by the protocol of its model.
    ///
    /// # Errors
    /// [`PhoneError::Undocumented`] where nobody knows how the model talks, [`PhoneError::UnexpectedInterfaces`] for a device
    /// that brings more than such a phone has, and those of USB.
    pub async fn open(&self, found: &Found) -> Result<Phone, PhoneError> {
        let Some(model) = found.spoken() else { return Err(undocumented(found)) };
        let refused = |unexpected: Vec<InterfaceKind>| match unexpected.is_empty() {
            true => Ok(()),
            false => Err(PhoneError::UnexpectedInterfaces {
                port: found.slot().clone(),
                definition: model.name.clone(),
                unexpected,
            }),
        };
        refused(found.unexpected.clone())?;
        let usb = |source| PhoneError::Usb { during: super::Step::Identify, source };
        let link = self.usb.open_kind(&found.attached, tether::INTERFACE).await.map_err(usb)?;
        // Again, before anything is said to it: a list may leave interfaces out, and has none of their other settings.
        refused(model.unexpected(link.configuration().kinds()))?;
        let maker_roots = model.maker_roots.iter().filter_map(|root| root.der.as_deref());
        let host = tether::Host {
            key: self.host_key.clone(),
            label: self.host_label.clone(),
            maker_roots: maker_roots.filter_map(|der| Certificate::from_der(der).ok()).collect(),
            maker_root_fingerprints: model.maker_roots.iter().map(|root| root.fingerprint).collect(),
        };
        let mut tether = Tether::new(link, host).await?;
        tether.means(found.meant.clone());
        Ok(Phone::Tether(Box::new(tether)))
    }

    /// Opens a phone and asks who it is.
    ///
    /// # Errors
    /// As [`Finder::open`] and [`Driver::identify`].
    pub async fn meet(&self, found: &Found) -> Result<(Phone, Identified), PhoneError> {
        let mut phone = self.open(found).await?;
        let identified = phone.driver().identify().await?;
        Ok((phone, identified))
    }
}

impl Phone {
    /// The driver of its protocol.
    pub fn driver(&mut self) -> &mut Tether {
        match self {
            Self::Tether(tether) => tether,
        }
    }
}

fn undocumented(found: &Found) -> PhoneError {
    let model = match found.models.as_slice() {
        [model] if found.certain => format!("{} {}", model.maker, model.model),
        models => {
            let names: Vec<String> = models.iter().map(|model| format!("{} {}", model.maker, model.model)).collect();
            format!("perhaps a {}", names.join(" or a "))
        }
    };
    let advice = found.models.iter().find_map(|model| model.what_can_be_done.clone());
    PhoneError::Undocumented {
        model,
        what_can_be_done: advice.unwrap_or_else(|| "look up the model in the maker's documentation".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::phone::{PhoneMaterial, VirtualPhone};
    use crate::lab::usbip::Exporter;

    #[tokio::test]
    async fn a_phone_is_met_whatever_number_its_interface_has() {
        let exporter = Exporter::start().await.unwrap();
        let mut material = PhoneMaterial::new(1, Arc::new(|_| zeroize::Zeroizing::default()));
        material.interface = 7;
        exporter.plug("1-1", Box::new(VirtualPhone::new(material).device()));
        let finder = Finder {
            usb: Usb::usbip(exporter.address().into()),
            definitions: Arc::new(Definitions::shipped()),
            host_key: Arc::new(HostKey::ephemeral()),
            host_label: "bench".into(),
        };
        let found = finder.pick(None).await.unwrap();
        let (_, identified) = finder.meet(&found).await.unwrap();
        assert_eq!(identified.identity.serial, "LAB00001");
    }
}
