//! USB: listing and watching devices, opening one, and transfers with deadlines.
//!
//! Devices are reached in one of three ways, a closed choice: the computer's own USB by nusb (`system`) or, in builds that
//! have it, by `libusb`; or a USB/IP server ([`usbip`]): another machine, or the lab. Nothing outside this folder names the
//! crates behind it, and nothing in it knows what a phone is.
//!
//! A device is known by its [`Slot`], the port it is on. What it says about itself is only a claim.

#[cfg(target_os = "linux")]
pub mod access;
mod attached;
mod backend;
mod came;
pub mod capture;
mod class;
mod compare;
mod descriptor;
mod error;
#[cfg(feature = "libusb")]
mod libusb;
mod link;
mod look;
mod selector;
mod slot;
mod system;
mod transfer;
pub mod tree;
pub mod usbip;
mod watch;

use std::time::Duration;

pub use self::attached::{Attached, Strings};
pub use self::backend::{ParseUsbLibraryError, UsbLibrary};
pub use self::class::what;
pub use self::compare::{Seen, SeenBy, compare};
pub use self::descriptor::{BadDescriptor, Configuration, DeviceDescriptor, Interface, InterfaceKind};
pub use self::error::{Doing, Missing, UsbError, Where};
pub use self::link::Link;
pub use self::look::{Dossier, MicrosoftOsString, NotRead};
pub use self::selector::{MacAddress, ParseMacAddressError, ParseSelectorError, Selector, choose};
pub use self::slot::{BusId, ParseSlotError, Slot, USBIP_PORT, UsbIpHost};
pub use self::transfer::{ControlIn, ControlKind, ControlOut, Counters, Endpoint, EndpointKind, Recipient};
pub use self::watch::{Change, Watch};

/// How often a watch lists again.
const LIST_AGAIN: Duration = Duration::from_secs(1);

/// A way to reach USB devices.
#[derive(Debug, Clone)]
pub struct Usb {
    backend: Backend,
    list_again: Duration,
    tap: Option<capture::Tap>,
}

#[derive(Debug, Clone)]
enum Backend {
    System,
    #[cfg(feature = "libusb")]
    Libusb,
    UsbIp(UsbIpHost),
}

impl Usb {
    /// The USB of this computer.
    pub fn system() -> Self {
        Self { backend: Backend::System, list_again: LIST_AGAIN, tap: None }
    }

    /// The USB of this computer, by the library that is meant.
    ///
    /// # Errors
    ///
    /// [`UsbError::NotBuilt`] where this build does not have it.
    pub fn by(library: UsbLibrary) -> Result<Self, UsbError> {
        match library {
            UsbLibrary::System => Ok(Self::system()),
            #[cfg(feature = "libusb")]
            UsbLibrary::Libusb => Ok(Self { backend: Backend::Libusb, list_again: LIST_AGAIN, tap: None }),
            #[cfg(not(feature = "libusb"))]
            UsbLibrary::Libusb => Err(UsbError::NotBuilt { library }),
        }
    }

    /// The devices that `host` exports over USB/IP.
    pub fn usbip(host: UsbIpHost) -> Self {
        Self { backend: Backend::UsbIp(host), list_again: LIST_AGAIN, tap: None }
    }

    /// The same, with a watch that lists again this often instead of every second.
    pub fn listing_again_every(self, list_again: Duration) -> Self {
        Self { list_again, ..self }
    }

    /// The same, with every transfer of the links that it opens noted.
    pub fn tapped_by(self, tap: capture::Tap) -> Self {
        Self { tap: Some(tap), ..self }
    }

    /// What is plugged in now, whatever it is.
    ///
    /// # Errors
    ///
    /// [`UsbError::NoUsb`] for this computer; [`UsbError::Unreachable`], [`UsbError::Silent`] or
    /// [`UsbError::Protocol`] for a USB/IP server.
    pub async fn list(&self) -> Result<Vec<Attached>, UsbError> {
        self.list_while(Doing::Listing).await
    }

    async fn list_while(&self, during: Doing) -> Result<Vec<Attached>, UsbError> {
        match &self.backend {
            Backend::System => system::list(during).await,
            #[cfg(feature = "libusb")]
            Backend::Libusb => libusb::list(during).await,
            Backend::UsbIp(host) => usbip::list(host).await,
        }
    }

    /// Watches devices come and go, beginning with those already there.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list), which is tried once.
    pub async fn watch(&self) -> Result<Watch, UsbError> {
        let watch = Watch::new(self.clone(), self.list_again);
        self.list().await?;
        Ok(watch)
    }

    /// Opens a listed device and claims the interface with this number.
    ///
    /// On Linux the interface is taken from a kernel driver, which gets it back when the link is dropped. Over USB/IP
    /// the whole device is imported, read and configured.
    ///
    /// # Errors
    ///
    /// [`UsbError::Busy`], [`UsbError::NoPermission`], [`UsbError::NotFound`] where the port is empty by now,
    /// [`UsbError::Unplugged`] where another model is on it, [`UsbError::Missing`] for the interface, and those of the
    /// transfers that opening takes.
    pub async fn open(&self, attached: &Attached, interface: u8) -> Result<Link, UsbError> {
        let slot = attached.slot.clone();
        let link = match &self.backend {
            Backend::System => {
                let (device, descriptor, configuration) = system::open(attached, interface).await?;
                let backend = link::Backend::System(device);
                Link::new(slot, interface, descriptor, configuration, Counters::default(), backend)
            }
            #[cfg(feature = "libusb")]
            Backend::Libusb => {
                let (device, descriptor, configuration) = libusb::open(attached, interface).await?;
                let backend = link::Backend::Libusb(device);
                Link::new(slot, interface, descriptor, configuration, Counters::default(), backend)
            }
            Backend::UsbIp(host) => {
                let device = usbip::open(host, attached).await?;
                let (descriptor, configuration) = (device.descriptor.clone(), device.configuration.clone());
                let counters = device.counters;
                let backend = link::Backend::UsbIp(Box::new(device));
                Link::new(slot, interface, descriptor, configuration, counters, backend)
            }
        };
        link.map(|link| link.tapped(self.tap.as_ref(), attached.address))
    }

    /// Opens a listed device and claims its first interface of this class, subclass and protocol.
    ///
    /// The number is taken from the device's own configuration: a USB/IP list does not say it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_kind(&self, attached: &Attached, kind: (u8, u8, u8)) -> Result<Link, UsbError> {
        let slot = attached.slot.clone();
        let missing = || UsbError::Missing { at: Where::Port(slot.clone()), missing: Missing::InterfaceKind(kind) };
        let number = |mut interfaces: std::slice::Iter<'_, InterfaceKind>| {
            let found = interfaces.find(|interface| (interface.class, interface.subclass, interface.protocol) == kind);
            found.map(|interface| interface.number).ok_or_else(missing)
        };
        match &self.backend {
            Backend::System => self.open(attached, number(attached.interfaces.iter())?).await,
            #[cfg(feature = "libusb")]
            Backend::Libusb => self.open(attached, number(attached.interfaces.iter())?).await,
            Backend::UsbIp(host) => {
                let device = usbip::open(host, attached).await?;
                let (descriptor, configuration) = (device.descriptor.clone(), device.configuration.clone());
                let kinds: Vec<InterfaceKind> =
                    configuration.interfaces.iter().map(|interface| interface.kind).collect();
                let (interface, counters) = (number(kinds.iter())?, device.counters);
                let backend = link::Backend::UsbIp(Box::new(device));
                let link = Link::new(slot.clone(), interface, descriptor, configuration, counters, backend)?;
                Ok(link.tapped(self.tap.as_ref(), attached.address))
            }
        }
    }

    /// Chooses the one candidate that `selector` names, as [`choose`] does, and reads serials where they are needed for it.
    ///
    /// Over USB/IP that imports each candidate for a moment, and only for [`Selector::Serial`].
    ///
    /// # Errors
    ///
    /// As [`choose`]. Where none fits but the serial of one could not be read, as it is in use, that error.
    pub async fn select(
        &self,
        mut candidates: Vec<Attached>,
        selector: Option<&Selector>,
        mac: impl Fn(&Attached) -> Option<MacAddress>,
    ) -> Result<Attached, UsbError> {
        let mut unread = None;
        if let (Backend::UsbIp(_), Some(Selector::Serial(_))) = (&self.backend, selector) {
            for candidate in &mut candidates {
                match self.inspect(candidate).await {
                    Ok(inspected) => *candidate = inspected,
                    Err(error) => unread = Some(error),
                }
            }
        }
        match (choose(&candidates, selector, mac), unread) {
            (Err(UsbError::NotFound { .. }), Some(error)) => Err(error),
            (chosen, _) => chosen.cloned(),
        }
    }

    /// The same device with its strings and interfaces, whatever the list said of them.
    ///
    /// On this computer the list has them already. Over USB/IP the device is imported for it, so it must not be in use,
    /// and is given back at once.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). A string that cannot be read counts as none.
    pub async fn inspect(&self, attached: &Attached) -> Result<Attached, UsbError> {
        match &self.backend {
            Backend::System => Ok(attached.clone()),
            #[cfg(feature = "libusb")]
            Backend::Libusb => Ok(attached.clone()),
            Backend::UsbIp(host) => {
                let device = usbip::open(host, attached).await?;
                let (descriptor, configuration) = (device.descriptor.clone(), device.configuration.clone());
                let interfaces: Vec<InterfaceKind> =
                    configuration.interfaces.iter().map(|interface| interface.kind).collect();
                let at = Where::Port(attached.slot.clone());
                let missing = Missing::Interface(0);
                let any = interfaces.first().map(|kind| kind.number).ok_or(UsbError::Missing { at, missing })?;
                let counters = device.counters;
                let backend = link::Backend::UsbIp(Box::new(device));
                let slot = attached.slot.clone();
                let mut link = Link::new(slot, any, descriptor.clone(), configuration, counters, backend)?;
                let strings = Strings {
                    manufacturer: readable(link.string(descriptor.manufacturer).await)?,
                    product: readable(link.string(descriptor.product).await)?,
                    serial: readable(link.string(descriptor.serial).await)?,
                };
                Ok(Attached { strings, interfaces, ..attached.clone() })
            }
        }
    }
}

/// A device that announces a string and then refuses it, or writes nonsense, still works.
fn readable(string: Result<Option<String>, UsbError>) -> Result<Option<String>, UsbError> {
    match string {
        Err(UsbError::Stalled { .. } | UsbError::Descriptor { .. }) => Ok(None),
        string => string,
    }
}
