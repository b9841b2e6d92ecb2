//! This computer's own USB, through nusb: usbfs on Linux, WinUSB on Windows, IOKit on macOS.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use nusb::transfer::{
    self, Buffer, Bulk, BulkOrInterrupt, Completion, EndpointDirection, In, Interrupt, Out, TransferError,
};
use nusb::{DeviceInfo, ErrorKind};
use tokio::time::{timeout, timeout_at};

use super::attached::{Attached, Strings};
use super::descriptor::{Configuration, DeviceDescriptor, InterfaceKind};
use super::error::{Doing, Missing, UsbError, Where};
use super::slot::Slot;
use super::transfer::{ControlIn, ControlKind, ControlOut, Endpoint, EndpointKind, Recipient, end_of};

/// How long opening and claiming may take.
const OPENING: Duration = Duration::from_secs(10);

/// Where an operating system leaves no trace of a withdrawn transfer for this long, the link is of no use.
const WITHDRAWAL: Duration = Duration::from_secs(2);

/// What is plugged in now.
pub(super) async fn list(during: Doing) -> Result<Vec<Attached>, UsbError> {
    Ok(devices(during).await?.iter().map(attached).collect())
}

async fn devices(during: Doing) -> Result<Vec<DeviceInfo>, UsbError> {
    match nusb::list_devices().await {
        Ok(devices) => Ok(devices.collect()),
        Err(error) => Err(UsbError::NoUsb { during, source: error.into() }),
    }
}

fn attached(device: &DeviceInfo) -> Attached {
    let text = |text: Option<&str>| text.map(str::to_owned);
    Attached {
        slot: slot(device),
        address: device.device_address().into(),
        vendor_id: device.vendor_id(),
        product_id: device.product_id(),
        device_version: device.device_version(),
        strings: Strings {
            manufacturer: text(device.manufacturer_string()),
            product: text(device.product_string()),
            serial: text(device.serial_number()),
        },
        interfaces: device.interfaces().map(kind).collect(),
    }
}

fn slot(device: &DeviceInfo) -> Slot {
    Slot::system(device.bus_id(), device.port_chain())
}

fn kind(interface: &nusb::InterfaceInfo) -> InterfaceKind {
    InterfaceKind {
        number: interface.interface_number(),
        class: interface.class(),
        subclass: interface.subclass(),
        protocol: interface.protocol(),
    }
}

/// An open device with its claimed interface, and the endpoints used so far.
pub(super) struct Device {
    interface: nusb::Interface,
    bulk_in: BTreeMap<u8, nusb::Endpoint<Bulk, In>>,
    bulk_out: BTreeMap<u8, nusb::Endpoint<Bulk, Out>>,
    interrupt_in: BTreeMap<u8, nusb::Endpoint<Interrupt, In>>,
}

/// Opens the device that is on the port of `sought` and claims `interface`, taking it from a kernel driver on Linux.
pub(super) async fn open(
    sought: &Attached,
    interface: u8,
) -> Result<(Device, DeviceDescriptor, Configuration), UsbError> {
    let at = || Where::Port(sought.slot.clone());
    let during = Doing::Opening;
    let listed = devices(during).await?;
    let info = listed.iter().find(|info| slot(info) == sought.slot);
    let info = info.ok_or_else(|| UsbError::NotFound { sought: at().to_string() })?;
    // The bus gives another number to what is plugged in anew, be it the same phone or another.
    let found = (info.device_address().into(), info.vendor_id(), info.product_id());
    if found != (sought.address, sought.vendor_id, sought.product_id) {
        return Err(UsbError::Unplugged { at: at(), during });
    }
    let opening = async {
        let failed = |error| failure(error, at(), during);
        let device = info.open().await.map_err(failed)?;
        // macOS leaves devices of a vendor's class without a configuration.
        if device.active_configuration().is_err() {
            device.set_configuration(1).await.map_err(|error| failure(error, at(), Doing::Configuring))?;
        }
        let malformed = |source| UsbError::Descriptor { at: at(), source };
        let descriptor = DeviceDescriptor::parse(device.device_descriptor().as_bytes()).map_err(malformed)?;
        let active = device.active_configuration().map_err(|error| failure(error.into(), at(), during))?;
        let configuration = Configuration::parse(active.as_bytes()).map_err(malformed)?;
        if configuration.interface(interface).is_none() {
            return Err(UsbError::Missing { at: at(), missing: Missing::Interface(interface) });
        }
        let interface = device.detach_and_claim_interface(interface).await.map_err(failed)?;
        let endpoints = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (bulk_in, bulk_out, interrupt_in) = endpoints;
        Ok((Device { interface, bulk_in, bulk_out, interrupt_in }, descriptor, configuration))
    };
    match timeout(OPENING, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(UsbError::TimedOut { at: at(), during, after: OPENING }),
    }
}

/// Opens the device that is on the port of `sought` without claiming anything of it; with its speed, where it is known.
pub(super) async fn open_to_look(sought: &Attached) -> Result<(nusb::Device, Option<String>), UsbError> {
    let at = || Where::Port(sought.slot.clone());
    let during = Doing::Opening;
    let listed = devices(during).await?;
    let info = listed.iter().find(|info| slot(info) == sought.slot);
    let info = info.ok_or_else(|| UsbError::NotFound { sought: at().to_string() })?;
    match timeout(OPENING, info.open()).await {
        Ok(opened) => Ok((opened.map_err(|error| failure(error, at(), during))?, info.speed().map(speed))),
        Err(_) => Err(UsbError::TimedOut { at: at(), during, after: OPENING }),
    }
}

fn speed(speed: nusb::Speed) -> String {
    let megabits = match speed {
        nusb::Speed::Low => "1.5",
        nusb::Speed::Full => "12",
        nusb::Speed::High => "480",
        nusb::Speed::Super => "5000",
        nusb::Speed::SuperPlus => "10000",
        _ => return "a speed that is not known".to_owned(),
    };
    format!("{megabits} Mbit/s")
}

/// Asks a device of which nothing is claimed. Windows lets only standard descriptors be asked for that way.
pub(super) async fn ask(
    device: &nusb::Device,
    request: ControlIn,
    at: Where,
    deadline: Duration,
) -> Result<Vec<u8>, UsbError> {
    let during = Doing::Control { request: request.request };
    #[cfg(not(target_os = "windows"))]
    {
        let ControlIn { kind, recipient, request, value, index, length } = request;
        let (control_type, recipient) = (control_type(kind), recipient_of(recipient));
        let request = transfer::ControlIn { control_type, recipient, request, value, index, length };
        let answer = device.control_in(request, deadline).await;
        answer.map_err(|error| transfer_failure(error, at, during, deadline))
    }
    #[cfg(target_os = "windows")]
    {
        let [kind, number] = request.value.to_be_bytes();
        if request.kind != ControlKind::Standard || request.request != 6 {
            let source = io::Error::other("Windows asks a device only through an interface that is claimed");
            return Err(UsbError::System { at, during, source });
        }
        match device.get_descriptor(kind, number, request.index, deadline).await {
            Ok(answer) => Ok(answer),
            Err(nusb::GetDescriptorError::Transfer(error)) => Err(transfer_failure(error, at, during, deadline)),
            Err(error) => Err(UsbError::System { at, during, source: io::Error::other(error) }),
        }
    }
}

impl Device {
    pub(super) async fn control_in(
        &mut self,
        request: ControlIn,
        at: Where,
        during: Doing,
        deadline: Duration,
    ) -> Result<Vec<u8>, UsbError> {
        let ControlIn { kind, recipient, request, value, index, length } = request;
        let (control_type, recipient) = (control_type(kind), recipient_of(recipient));
        let request = transfer::ControlIn { control_type, recipient, request, value, index, length };
        let answer = self.interface.control_in(request, deadline).await;
        answer.map_err(|error| transfer_failure(error, at, during, deadline))
    }

    pub(super) async fn control_out(
        &mut self,
        request: ControlOut<'_>,
        at: Where,
        during: Doing,
        deadline: Duration,
    ) -> Result<(), UsbError> {
        let ControlOut { kind, recipient, request, value, index, data } = request;
        if u16::try_from(data.len()).is_err() {
            return Err(UsbError::Missing { at, missing: Missing::ControlRoom(data.len()) });
        }
        let (control_type, recipient) = (control_type(kind), recipient_of(recipient));
        let request = transfer::ControlOut { control_type, recipient, request, value, index, data };
        let answer = self.interface.control_out(request, deadline).await;
        answer.map_err(|error| transfer_failure(error, at, during, deadline))
    }

    pub(super) async fn bulk_out(
        &mut self,
        endpoint: Endpoint,
        data: &[u8],
        at: Where,
        during: Doing,
        deadline: Duration,
    ) -> Result<(), UsbError> {
        let length = data.len();
        let buffer = Buffer::from(data.to_vec());
        let endpoint = opened(&self.interface, &mut self.bulk_out, endpoint, &at, during)?;
        let sent = complete(endpoint, buffer, &at, during, deadline).await?;
        match sent.actual_len == length {
            true => Ok(()),
            false => Err(UsbError::Damaged { at, during, source: None }),
        }
    }

    /// `asked` is a multiple of the packet size.
    pub(super) async fn read(
        &mut self,
        endpoint: Endpoint,
        asked: usize,
        at: Where,
        during: Doing,
        deadline: Duration,
    ) -> Result<Vec<u8>, UsbError> {
        let buffer = Buffer::new(asked);
        let completion = match endpoint.kind {
            EndpointKind::Interrupt => {
                let endpoint = opened(&self.interface, &mut self.interrupt_in, endpoint, &at, during)?;
                complete(endpoint, buffer, &at, during, deadline).await?
            }
            EndpointKind::Bulk | EndpointKind::Control | EndpointKind::Isochronous => {
                let endpoint = opened(&self.interface, &mut self.bulk_in, endpoint, &at, during)?;
                complete(endpoint, buffer, &at, during, deadline).await?
            }
        };
        Ok(completion.buffer.into_vec())
    }

    pub(super) async fn clear_halt(
        &mut self,
        endpoint: Endpoint,
        at: Where,
        during: Doing,
        deadline: Duration,
    ) -> Result<(), UsbError> {
        let clearing = async {
            match (endpoint.kind, endpoint.is_in()) {
                (EndpointKind::Interrupt, true) => {
                    opened(&self.interface, &mut self.interrupt_in, endpoint, &at, during)?.clear_halt().await
                }
                (_, true) => opened(&self.interface, &mut self.bulk_in, endpoint, &at, during)?.clear_halt().await,
                (_, false) => opened(&self.interface, &mut self.bulk_out, endpoint, &at, during)?.clear_halt().await,
            }
            .map_err(|error| failure(error, at.clone(), during))
        };
        match timeout(deadline, clearing).await {
            Ok(cleared) => cleared,
            Err(_) => Err(UsbError::TimedOut { at, during, after: deadline }),
        }
    }
}

/// The endpoint, taken from the interface when it is first used.
fn opened<'a, Kind: BulkOrInterrupt, Direction: EndpointDirection>(
    interface: &nusb::Interface,
    used: &'a mut BTreeMap<u8, nusb::Endpoint<Kind, Direction>>,
    endpoint: Endpoint,
    at: &Where,
    during: Doing,
) -> Result<&'a mut nusb::Endpoint<Kind, Direction>, UsbError> {
    match used.entry(endpoint.address) {
        std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
        std::collections::btree_map::Entry::Vacant(entry) => {
            let opened = interface.endpoint(endpoint.address);
            Ok(entry.insert(opened.map_err(|error| failure(error, at.clone(), during))?))
        }
    }
}

/// Makes one transfer; one that misses its deadline is withdrawn, and taken when it completes all the same.
async fn complete<Kind: BulkOrInterrupt, Direction: EndpointDirection>(
    endpoint: &mut nusb::Endpoint<Kind, Direction>,
    buffer: Buffer,
    at: &Where,
    during: Doing,
    deadline: Duration,
) -> Result<Completion, UsbError> {
    let until = end_of(deadline);
    let stuck = || UsbError::TimedOut { at: at.clone(), during, after: deadline };
    // A transfer whose future was dropped is withdrawn, but still there.
    while endpoint.pending() > 0 {
        timeout_at(until, endpoint.next_complete()).await.map_err(|_| stuck())?;
    }
    endpoint.submit(buffer);
    let flight = Flight(endpoint);
    let completion = match timeout_at(until, flight.0.next_complete()).await {
        Ok(completion) => completion,
        Err(_) => {
            flight.0.cancel_all();
            timeout(WITHDRAWAL, flight.0.next_complete()).await.map_err(|_| stuck())?
        }
    };
    match completion.status {
        Ok(()) => Ok(completion),
        Err(error) => Err(transfer_failure(error, at.clone(), during, deadline)),
    }
}

/// Withdraws a transfer at once when nobody waits for it any more: it would take the data of the next.
struct Flight<'a, Kind: BulkOrInterrupt, Direction: EndpointDirection>(&'a mut nusb::Endpoint<Kind, Direction>);

impl<Kind: BulkOrInterrupt, Direction: EndpointDirection> Drop for Flight<'_, Kind, Direction> {
    fn drop(&mut self) {
        if self.0.pending() > 0 {
            self.0.cancel_all();
        }
    }
}

fn failure(error: nusb::Error, at: Where, during: Doing) -> UsbError {
    match error.kind() {
        ErrorKind::Busy => UsbError::Busy { at, during },
        ErrorKind::PermissionDenied => UsbError::NoPermission { at, during, source: error.into() },
        ErrorKind::Disconnected => UsbError::Unplugged { at, during },
        // Unsupported, Other, and kinds that a later nusb may add.
        _ => UsbError::System { at, during, source: error.into() },
    }
}

fn transfer_failure(error: TransferError, at: Where, during: Doing, after: Duration) -> UsbError {
    let source = || io::Error::other(error);
    match error {
        TransferError::Cancelled => UsbError::TimedOut { at, during, after },
        TransferError::Stall => UsbError::Stalled { at, during },
        TransferError::Disconnected => UsbError::Unplugged { at, during },
        TransferError::Fault => UsbError::Damaged { at, during, source: Some(source()) },
        TransferError::InvalidArgument | TransferError::Unknown(_) => UsbError::System { at, during, source: source() },
    }
}

fn control_type(kind: ControlKind) -> transfer::ControlType {
    match kind {
        ControlKind::Standard => transfer::ControlType::Standard,
        ControlKind::Class => transfer::ControlType::Class,
        ControlKind::Vendor => transfer::ControlType::Vendor,
    }
}

fn recipient_of(recipient: Recipient) -> transfer::Recipient {
    match recipient {
        Recipient::Device => transfer::Recipient::Device,
        Recipient::Interface => transfer::Recipient::Interface,
        Recipient::Endpoint => transfer::Recipient::Endpoint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nusb_calls_cancelled_and_disconnected_are_a_time_out_and_an_unplug() {
        let failure = |error| {
            let at = Where::Port("1-4.2".parse().unwrap());
            transfer_failure(error, at, Doing::Transfer { endpoint: 0x81 }, Duration::from_secs(1))
        };
        assert!(matches!(failure(TransferError::Cancelled), UsbError::TimedOut { .. }));
        assert!(matches!(failure(TransferError::Disconnected), UsbError::Unplugged { .. }));
        assert!(matches!(failure(TransferError::Stall), UsbError::Stalled { .. }));
        assert!(matches!(failure(TransferError::Fault), UsbError::Damaged { .. }));
        assert!(matches!(failure(TransferError::Unknown(5)), UsbError::System { .. }));
    }

    #[tokio::test]
    async fn a_computer_lists_its_devices_or_says_that_it_has_no_usb() {
        match list(Doing::Listing).await {
            Ok(devices) => devices.iter().for_each(|device| {
                assert_eq!(device.slot.to_string().parse(), Ok(device.slot.clone()));
            }),
            Err(error) => assert!(matches!(error, UsbError::NoUsb { .. }), "{error}"),
        }
    }
}
