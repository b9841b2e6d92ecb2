//! This computer's own USB, through nusb: usbfs on Linux, WinUSB on Windows, IOKit on macOS.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use nusb::transfer::{
    self, Buffer, Bulk, BulkOrInterrupt, Completion, EndpointDirection, In, Interrupt, Out, TransferError,
};
use nusb::{DeviceInfo, ErrorKind};
use tokio::time::{timeout, timeout_at};

use super::attached::{Attached, Strings};
use super::came::Came;
use super::descriptor::{Configuration, DeviceDescriptor, InterfaceKind};
use super::error::{Doing, Missing, UsbError, Where};
use super::slot::Slot;
use super::transfer::{
    ControlIn, ControlKind, ControlOut, Endpoint, EndpointKind, Recipient, UNDER_WAY, end_of, leaves, pieces,
};

/// How long opening and claiming may take.
const OPENING: Duration = Duration::from_secs(10);

/// Where an operating system leaves no trace of a withdrawn transfer for this long, the link is of no use.
const WITHDRAWAL: Duration = Duration::from_secs(2);

/// What Windows says of a device that another program has open.
const ERROR_ACCESS_DENIED: u32 = 5;
const ERROR_SHARING_VIOLATION: u32 = 32;

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
    Slot::system(&bus(device.bus_id()), device.port_chain())
}

/// Linux and macOS number their buses. Windows has a path for each, `PCIROOT(0)#PCI(0201)#USBROOT(0)`, which a shell takes only
/// in quotes: here it is `pci0.0201.usb0`.
fn bus(id: &str) -> Cow<'_, str> {
    let part = |part: &str| {
        let (name, value) = part.strip_suffix(')')?.split_once('(')?;
        Some(match name {
            "PCI" => value.to_owned(),
            "PCIROOT" => format!("pci{value}"),
            "USBROOT" => format!("usb{value}"),
            _ => format!("{}{value}", name.to_ascii_lowercase()),
        })
    };
    let parts: Option<Vec<String>> = id.split('#').map(part).collect();
    parts.map_or(Cow::Borrowed(id), |parts| Cow::Owned(parts.join(".")))
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
    came: BTreeMap<u8, Came>,
    place: (Slot, u32),
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
        let device = Device {
            interface,
            bulk_in,
            bulk_out,
            interrupt_in,
            came: BTreeMap::new(),
            place: (sought.slot.clone(), sought.address),
        };
        Ok((device, descriptor, configuration))
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
    /// How a transfer ended, once more: what a cable does that is pulled, the system may call a fault of the bus, or
    /// refuse with many a number while it takes the device off.
    pub(super) async fn settled<T>(&mut self, outcome: Result<T, UsbError>) -> Result<T, UsbError> {
        match outcome {
            Err(UsbError::Damaged { at, during, source: Some(_) } | UsbError::System { at, during, .. })
                if leaves(|| is_listed(&self.place, during)).await =>
            {
                Err(UsbError::Unplugged { at, during })
            }
            outcome => outcome,
        }
    }

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

    /// Sends `data` in transfers of at most `piece` bytes.
    pub(super) async fn write(
        &mut self,
        endpoint: Endpoint,
        data: &[u8],
        piece: usize,
        at: Where,
        during: Doing,
        deadline: Duration,
    ) -> Result<(), UsbError> {
        let endpoint = opened(&self.interface, &mut self.bulk_out, endpoint, &at, during)?;
        send(endpoint, data, piece, &at, during, deadline).await
    }

    /// Receives what ends with a short packet or fills `asked`, in transfers of at most `piece` bytes. Both are multiples
    /// of the packet size.
    pub(super) async fn read(
        &mut self,
        endpoint: Endpoint,
        (asked, piece): (usize, usize),
        at: Where,
        during: Doing,
        deadline: Duration,
    ) -> Result<Vec<u8>, UsbError> {
        let came = self.came.entry(endpoint.address).or_default();
        match endpoint.kind {
            EndpointKind::Interrupt => {
                let endpoint = opened(&self.interface, &mut self.interrupt_in, endpoint, &at, during)?;
                receive(endpoint, came, (asked, piece), &at, during, deadline).await
            }
            EndpointKind::Bulk | EndpointKind::Control | EndpointKind::Isochronous => {
                let endpoint = opened(&self.interface, &mut self.bulk_in, endpoint, &at, during)?;
                receive(endpoint, came, (asked, piece), &at, during, deadline).await
            }
        }
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

/// Whether the device of this port and number is on the list.
async fn is_listed((port, address): &(Slot, u32), during: Doing) -> bool {
    let devices = devices(during).await.unwrap_or_default();
    devices.iter().any(|info| u32::from(info.device_address()) == *address && slot(info) == *port)
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

/// Sends `data` in pieces, several under way at a time; each that goes out starts the deadline anew.
async fn send(
    endpoint: &mut nusb::Endpoint<Bulk, Out>,
    data: &[u8],
    piece: usize,
    at: &Where,
    during: Doing,
    deadline: Duration,
) -> Result<(), UsbError> {
    settle(endpoint, deadline, at, during, |_| {}).await?;
    let mut until = end_of(deadline);
    let mut rest = pieces(data, piece);
    let flight = Flight(endpoint);
    let mut lengths = VecDeque::new();
    loop {
        while lengths.len() < UNDER_WAY
            && let Some(piece) = rest.pop_front()
        {
            flight.0.submit(Buffer::from(piece.to_vec()));
            lengths.push_back(piece.len());
        }
        let Some(length) = lengths.pop_front() else { return Ok(()) };
        let (completion, is_late) = match timeout_at(until, flight.0.next_complete()).await {
            Ok(completion) => (completion, false),
            Err(_) => {
                // It may go out while it is withdrawn; nothing may go out behind what does not.
                flight.0.cancel_all();
                (withdrawn(flight.0, at, during, deadline).await?, true)
            }
        };
        completion.status.map_err(|error| transfer_failure(error, at.clone(), during, deadline))?;
        if completion.actual_len != length {
            return Err(UsbError::Damaged { at: at.clone(), during, source: None });
        }
        if is_late && (!lengths.is_empty() || !rest.is_empty()) {
            return Err(UsbError::TimedOut { at: at.clone(), during, after: deadline });
        }
        until = end_of(deadline);
    }
}

/// Receives in pieces, several under way at a time; each that comes starts the deadline anew. What comes for a read that
/// was given up is the next one's.
async fn receive<Kind: BulkOrInterrupt>(
    endpoint: &mut nusb::Endpoint<Kind, In>,
    came: &mut Came,
    (asked, piece): (usize, usize),
    at: &Where,
    during: Doing,
    deadline: Duration,
) -> Result<Vec<u8>, UsbError> {
    settle(endpoint, deadline, at, during, |late| keep(came, late)).await?;
    let mut until = end_of(deadline);
    // What is under way, and how much that is.
    let (mut flights, mut submitted) = (VecDeque::new(), 0);
    let flight = Flight(endpoint);
    let ended = loop {
        if let Some(data) = came.take(asked) {
            break Ok(data);
        }
        while flights.len() < UNDER_WAY && came.begun() + submitted < asked {
            let length = piece.min(asked - came.begun() - submitted);
            flight.0.submit(Buffer::new(length));
            flights.push_back(length);
            submitted += length;
        }
        match timeout_at(until, flight.0.next_complete()).await {
            Ok(Completion { status: Ok(()), actual_len, buffer }) => {
                let length = flights.pop_front().unwrap_or(actual_len);
                submitted = submitted.saturating_sub(length);
                came.add(buffer.into_vec(), actual_len < length);
                until = end_of(deadline);
            }
            Ok(Completion { status: Err(error), .. }) => {
                came.break_off();
                break Err(transfer_failure(error, at.clone(), during, deadline));
            }
            Err(_) => break Err(UsbError::TimedOut { at: at.clone(), during, after: deadline }),
        }
    };
    if flight.0.pending() == 0 {
        return ended;
    }
    flight.0.cancel_all();
    while flight.0.pending() > 0 {
        let late = withdrawn(flight.0, at, during, deadline).await?;
        keep(came, late);
    }
    match ended {
        // It has come while it was withdrawn.
        Err(UsbError::TimedOut { .. }) => came.take(asked).map_or(ended, Ok),
        ended => ended,
    }
}

/// Waits for what an earlier call has withdrawn and not waited for.
async fn settle<Kind: BulkOrInterrupt, Direction: EndpointDirection>(
    endpoint: &mut nusb::Endpoint<Kind, Direction>,
    deadline: Duration,
    at: &Where,
    during: Doing,
    mut take: impl FnMut(Completion),
) -> Result<(), UsbError> {
    let until = end_of(deadline);
    while endpoint.pending() > 0 {
        let completion = timeout_at(until, endpoint.next_complete()).await;
        take(completion.map_err(|_| UsbError::TimedOut { at: at.clone(), during, after: deadline })?);
    }
    Ok(())
}

/// The next transfer that has been withdrawn.
async fn withdrawn<Kind: BulkOrInterrupt, Direction: EndpointDirection>(
    endpoint: &mut nusb::Endpoint<Kind, Direction>,
    at: &Where,
    during: Doing,
    deadline: Duration,
) -> Result<Completion, UsbError> {
    let completion = timeout(WITHDRAWAL, endpoint.next_complete()).await;
    completion.map_err(|_| UsbError::TimedOut { at: at.clone(), during, after: deadline })
}

/// Keeps what a transfer has brought for which nobody waits any more.
fn keep(came: &mut Came, late: Completion) {
    match late.status {
        Ok(()) => {
            let is_short = late.actual_len < late.buffer.requested_len();
            came.add(late.buffer.into_vec(), is_short);
        }
        Err(TransferError::Cancelled) => came.add(late.buffer.into_vec(), false),
        Err(_) => came.break_off(),
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
    match (error.kind(), error.os_error()) {
        (ErrorKind::Busy, _) => UsbError::Busy { at, during },
        // Windows gives a WinUSB device to one program at a time, and nusb leaves the refusal as it came.
        (ErrorKind::Other, Some(ERROR_ACCESS_DENIED | ERROR_SHARING_VIOLATION)) if cfg!(windows) => {
            UsbError::Busy { at, during }
        }
        (ErrorKind::PermissionDenied, _) => UsbError::NoPermission { at, during, source: error.into() },
        // Another driver than WinUSB has it, or none: what is missing is the driver, and the source says so.
        (ErrorKind::Unsupported, _) if cfg!(windows) && during == Doing::Opening => {
            UsbError::NoPermission { at, during, source: error.into() }
        }
        (ErrorKind::Disconnected, _) => UsbError::Unplugged { at, during },
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

    #[test]
    fn a_port_on_windows_is_typed_without_quotes_and_read_back() {
        let path = "PCIROOT(0)#PCI(0201)#PCI(0000)#USBROOT(0)";
        let slot = Slot::system(&bus(path), &[23, 2]);
        assert_eq!(slot.to_string(), "pci0.0201.0000.usb0-23.2");
        assert_eq!(slot.to_string().parse(), Ok(slot));
        let others = [("1", "1"), ("", ""), ("ACPI(_SB_)#USBROOT(1)", "acpi_SB_.usb1"), ("14", "14"), ("X(", "X(")];
        assert!(others.iter().all(|(id, name)| bus(id) == *name));
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
