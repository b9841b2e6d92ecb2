//! This computer's own USB, through libusb: for where libusb works and the other library does not.
//!
//! libusb's calls block, so they are made on threads: control requests on the runtime's, transfers on one thread an
//! endpoint. A read whose future is dropped goes on there until its deadline, and what it brings is for the next read.
//! libusb cuts a long transfer into requests to the kernel that are under way together, so a stream needs nothing more.

mod threads;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rusb::{Context, DeviceHandle, UsbContext};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::attached::{Attached, Strings};
use super::descriptor::{self, Configuration, DeviceDescriptor, InterfaceKind};
use super::error::{Doing, Missing, UsbError, Where};
use super::slot::Slot;
use super::transfer::{ControlIn, ControlOut, Endpoint, end_of, leaves};
use threads::{Read, Reader, Write, writer};

/// How long one request may take while a device is listed or opened.
const STANDARD_REQUEST: Duration = Duration::from_secs(1);

/// The longest transfer that is given to libusb at once: each has its deadline for itself.
const LONGEST: usize = 256 << 10;

/// How much longer than its deadline the end of a transfer may take that is being withdrawn.
const WITHDRAWAL: Duration = Duration::from_secs(1);

/// The link that had the device last may need a moment to give it back.
const BUSY_PAUSES_MS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// How often a watch looks whether anybody still listens.
const LISTENING: Duration = Duration::from_millis(200);

/// libusb as this process has it: one of it, which keeps its own list of devices.
fn context() -> rusb::Result<Context> {
    static CONTEXT: OnceLock<Context> = OnceLock::new();
    match CONTEXT.get() {
        Some(context) => Ok(context.clone()),
        None => {
            let context = Context::new()?;
            Ok(CONTEXT.get_or_init(|| context).clone())
        }
    }
}

/// What is plugged in now. Root hubs are no devices.
pub(super) async fn list(during: Doing) -> Result<Vec<Attached>, UsbError> {
    blocking(move || {
        let devices = devices(during)?;
        remember_only(&devices);
        Ok(devices.into_iter().map(|(slot, device)| attached(slot, &device)).collect())
    })
    .await
}

fn devices(during: Doing) -> Result<Vec<(Slot, rusb::Device<Context>)>, UsbError> {
    let no_usb = |error: rusb::Error| UsbError::NoUsb { during, source: io::Error::other(error) };
    let devices = context().and_then(|context| context.devices()).map_err(no_usb)?;
    let placed = devices.iter().filter_map(|device| {
        let chain = device.port_numbers().ok().filter(|chain| !chain.is_empty())?;
        Some((Slot::system(&device.bus_number().to_string(), &chain), device))
    });
    Ok(placed.collect())
}

/// Whose strings are known: port, address, vendor and product.
type Known = (Slot, u8, u16, u16);

/// Strings are read once for each time that a device is plugged in: reading them takes opening it.
fn known() -> MutexGuard<'static, HashMap<Known, Strings>> {
    static KNOWN: OnceLock<Mutex<HashMap<Known, Strings>>> = OnceLock::new();
    locked(KNOWN.get_or_init(Mutex::default))
}

fn remember_only(devices: &[(Slot, rusb::Device<Context>)]) {
    known().retain(|(slot, address, ..), _| {
        devices.iter().any(|(other, device)| other == slot && device.address() == *address)
    });
}

fn attached(slot: Slot, device: &rusb::Device<Context>) -> Attached {
    let (vendor_id, product_id, device_version) = match device.device_descriptor() {
        Ok(descriptor) => {
            let rusb::Version(major, minor, sub) = descriptor.device_version();
            let bcd = |number: u8| u16::from(number / 10) << 4 | u16::from(number % 10);
            let version = bcd(major) << 8 | u16::from(minor) << 4 | u16::from(sub);
            (descriptor.vendor_id(), descriptor.product_id(), version)
        }
        Err(_) => (0, 0, 0),
    };
    let key = (slot.clone(), device.address(), vendor_id, product_id);
    let strings = known().get(&key).cloned();
    let strings = strings.unwrap_or_else(|| match read_strings(device) {
        Some(strings) => {
            known().insert(key, strings.clone());
            strings
        }
        // No right to open it yet, or never: it is tried again.
        None => Strings::default(),
    });
    let interfaces = match device.active_config_descriptor() {
        Ok(configuration) => {
            let first = |interface: rusb::Interface<'_>| interface.descriptors().next().map(|it| kind(&it));
            configuration.interfaces().filter_map(first).collect()
        }
        Err(_) => Vec::new(),
    };
    let address = device.address().into();
    Attached { slot, address, vendor_id, product_id, device_version, strings, interfaces }
}

fn kind(interface: &rusb::InterfaceDescriptor<'_>) -> InterfaceKind {
    InterfaceKind {
        number: interface.interface_number(),
        class: interface.class_code(),
        subclass: interface.sub_class_code(),
        protocol: interface.protocol_code(),
    }
}

/// What the device says about itself in words; `None` where it cannot be opened.
fn read_strings(device: &rusb::Device<Context>) -> Option<Strings> {
    let handle = device.open().ok()?;
    let descriptor = device.device_descriptor().ok()?;
    let language = read_descriptor(&handle, descriptor::STRING, 0, 0, 255);
    let language = language.ok().and_then(|bytes| descriptor::first_language(&bytes).ok());
    let string = |index: Option<u8>| {
        let bytes = read_descriptor(&handle, descriptor::STRING, index?, language?, 255).ok()?;
        descriptor::text(&bytes).ok()
    };
    Some(Strings {
        manufacturer: string(descriptor.manufacturer_string_index()),
        product: string(descriptor.product_string_index()),
        serial: string(descriptor.serial_number_string_index()),
    })
}

fn read_descriptor(
    handle: &DeviceHandle<Context>,
    kind: u8,
    number: u8,
    index: u16,
    length: u16,
) -> rusb::Result<Vec<u8>> {
    let mut bytes = vec![0; length.into()];
    let value = u16::from_be_bytes([kind, number]);
    let read = handle.read_control(0x80, 6, value, index, &mut bytes, STANDARD_REQUEST)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// An open device with its claimed interface, and a thread for each endpoint used so far.
pub(super) struct Device {
    handle: Arc<DeviceHandle<Context>>,
    place: (Slot, u8),
    /// Set when the link is dropped. Whoever begins a transfer after that has the kernel claim the interface again.
    closing: Arc<AtomicBool>,
    interface: u8,
    reading: BTreeMap<u8, Reader>,
    writing: BTreeMap<u8, Sender<Write>>,
}

/// Opens the device that is on the port of `sought` and claims `interface`, taking it from a kernel driver on Linux.
pub(super) async fn open(
    sought: &Attached,
    interface: u8,
) -> Result<(Device, DeviceDescriptor, Configuration), UsbError> {
    let mut pauses = BUSY_PAUSES_MS.into_iter().map(Duration::from_millis);
    loop {
        let sought = sought.clone();
        match (blocking(move || open_now(&sought, interface)).await, pauses.next()) {
            (Err(UsbError::Busy { .. }), Some(pause)) => tokio::time::sleep(pause).await,
            (opened, _) => return opened,
        }
    }
}

fn open_now(sought: &Attached, interface: u8) -> Result<(Device, DeviceDescriptor, Configuration), UsbError> {
    let at = || Where::Port(sought.slot.clone());
    let during = Doing::Opening;
    let failed = |error| failure(error, at(), during, Duration::ZERO);
    let malformed = |source| UsbError::Descriptor { at: at(), source };
    let device = devices(during)?.into_iter().find(|(slot, _)| *slot == sought.slot);
    let (_, device) = device.ok_or_else(|| UsbError::NotFound { sought: at().to_string() })?;
    let listed = device.device_descriptor().map_err(failed)?;
    let found = (u32::from(device.address()), listed.vendor_id(), listed.product_id());
    if found != (sought.address, sought.vendor_id, sought.product_id) {
        return Err(UsbError::Unplugged { at: at(), during });
    }
    let handle = device.open().map_err(failed)?;
    // macOS leaves devices of a vendor's class without a configuration.
    let active = match handle.active_configuration().map_err(failed)? {
        0 => {
            handle
                .set_active_configuration(1)
                .map_err(|error| failure(error, at(), Doing::Configuring, Duration::ZERO))?;
            1
        }
        active => active,
    };
    let during_reading = |error| failure(error, at(), Doing::ReadingDescriptors, STANDARD_REQUEST);
    let bytes = read_descriptor(&handle, descriptor::DEVICE, 0, 0, 18).map_err(during_reading)?;
    let descriptor = DeviceDescriptor::parse(&bytes).map_err(malformed)?;
    let mut found = None;
    for number in 0..listed.num_configurations().max(1) {
        let head = read_descriptor(&handle, descriptor::CONFIGURATION, number, 0, 9).map_err(during_reading)?;
        let total = Configuration::total_length(&head).map_err(malformed)?;
        let whole = read_descriptor(&handle, descriptor::CONFIGURATION, number, 0, total).map_err(during_reading)?;
        let configuration = Configuration::parse(&whole).map_err(malformed)?;
        if configuration.value == active {
            found = Some(configuration);
            break;
        }
    }
    let missing = || UsbError::Missing { at: at(), missing: Missing::Interface(interface) };
    let configuration = found.ok_or_else(missing)?;
    if configuration.interface(interface).is_none() {
        return Err(missing());
    }
    match handle.set_auto_detach_kernel_driver(true) {
        // Where kernels have no drivers to detach.
        Ok(()) | Err(rusb::Error::NotSupported) => {}
        Err(error) => return Err(failed(error)),
    }
    handle.claim_interface(interface).map_err(failed)?;
    let (reading, writing) = (BTreeMap::new(), BTreeMap::new());
    let place = (sought.slot.clone(), device.address());
    let (handle, closing) = (Arc::new(handle), Arc::default());
    Ok((Device { handle, place, closing, interface, reading, writing }, descriptor, configuration))
}

impl Drop for Device {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // On Linux this ends the transfers that a thread may still wait for; the kernel's driver gets the interface back.
        // Elsewhere libusb does it when the last of them has ended.
        if cfg!(target_os = "linux") {
            let _ = self.handle.release_interface(self.interface);
            let (handle, interface) = (Arc::clone(&self.handle), self.interface);
            if Arc::strong_count(&handle) > 2 {
                std::thread::spawn(move || release_again(&handle, interface));
            }
        }
    }
}

/// A thread that was about to begin its transfer when the interface was released has the kernel claim it again, unknown
/// to libusb, until the transfer's deadline. Claimed by libusb too it can be released once more.
fn release_again(handle: &Arc<DeviceHandle<Context>>, interface: u8) {
    // The claim that detaches a driver is refused where the kernel has claimed for us; the plain one is ours already.
    let _ = handle.set_auto_detach_kernel_driver(false);
    for pause in BUSY_PAUSES_MS.into_iter().map(Duration::from_millis) {
        std::thread::sleep(pause);
        // Nobody else has the handle any more: all transfers have ended.
        if Arc::strong_count(handle) == 1 {
            return;
        }
        if handle.claim_interface(interface).is_ok() {
            let _ = handle.release_interface(interface);
            let _ = handle.attach_kernel_driver(interface);
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
        let (handle, setup) = (Arc::clone(&self.handle), request.setup());
        let answer = blocking(move || {
            let mut bytes = vec![0; request.length.into()];
            let [request_type, request, ..] = setup;
            let (value, index) = words(setup);
            let read = handle.read_control(request_type, request, value, index, &mut bytes, patience(deadline))?;
            bytes.truncate(read);
            Ok::<_, rusb::Error>(bytes)
        });
        match answer.await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(failed(&self.place, error, at, during, deadline).await),
        }
    }

    pub(super) async fn control_out(
        &mut self,
        request: ControlOut<'_>,
        at: Where,
        during: Doing,
        deadline: Duration,
    ) -> Result<(), UsbError> {
        let Some(setup) = request.setup() else {
            return Err(UsbError::Missing { at, missing: Missing::ControlRoom(request.data.len()) });
        };
        let (handle, data) = (Arc::clone(&self.handle), request.data.to_vec());
        let length = data.len();
        let written = blocking(move || {
            let [request_type, request, ..] = setup;
            let (value, index) = words(setup);
            handle.write_control(request_type, request, value, index, &data, patience(deadline))
        });
        match written.await {
            Ok(written) if written == length => Ok(()),
            Ok(_) => Err(UsbError::Damaged { at, during, source: None }),
            Err(error) => Err(failed(&self.place, error, at, during, deadline).await),
        }
    }

    /// Sends `data`, each part with the deadline for itself.
    pub(super) async fn write(
        &mut self,
        endpoint: Endpoint,
        data: &[u8],
        at: Where,
        during: Doing,
        deadline: Duration,
    ) -> Result<(), UsbError> {
        let (handle, closing) = (&self.handle, &self.closing);
        let start = || writer(Arc::clone(handle), endpoint.address, Arc::clone(closing));
        let jobs = self.writing.entry(endpoint.address).or_insert_with(start);
        for part in super::transfer::pieces(data, LONGEST) {
            let (done, outcome) = oneshot::channel();
            let until = end_of(deadline);
            let job = Write { data: part.to_vec(), until, done };
            jobs.send(job).map_err(|_| thread_gone(&at, during))?;
            let written = match timeout_at(until + WITHDRAWAL, outcome).await {
                Ok(Ok(Ok(written))) => written,
                Ok(Ok(Err(error))) => return Err(failed(&self.place, error, at, during, deadline).await),
                Ok(Err(_)) => return Err(thread_gone(&at, during)),
                // A write that was given up before is still in the way.
                Err(_) => return Err(UsbError::TimedOut { at, during, after: deadline }),
            };
            match written {
                written if written == part.len() => {}
                _ if Instant::now() >= until => return Err(UsbError::TimedOut { at, during, after: deadline }),
                _ => return Err(UsbError::Damaged { at, during, source: None }),
            }
        }
        Ok(())
    }

    /// Receives what ends with a short packet or fills `asked`, a multiple of the packet size. All that comes in between
    /// starts the deadline anew.
    pub(super) async fn read(
        &mut self,
        endpoint: Endpoint,
        asked: usize,
        at: Where,
        during: Doing,
        deadline: Duration,
    ) -> Result<Vec<u8>, UsbError> {
        let (handle, closing) = (&self.handle, &self.closing);
        let start = || Reader::start(Arc::clone(handle), endpoint, Arc::clone(closing));
        let reader = self.reading.entry(endpoint.address).or_insert_with(start);
        let mut until = end_of(deadline);
        let mut begun = None;
        loop {
            let arrival = reader.shared.changed.notified();
            tokio::pin!(arrival);
            arrival.as_mut().enable();
            let error = {
                let mut state = locked(&reader.shared.state);
                if let Some(data) = state.came.take(asked) {
                    return Ok(data);
                }
                if begun.is_some_and(|begun| begun < state.came.begun()) {
                    until = end_of(deadline);
                }
                begun = Some(state.came.begun());
                let error = state.failed.take();
                if error.is_none() && Instant::now() >= until {
                    return Err(UsbError::TimedOut { at, during, after: deadline });
                }
                if error.is_none() && !state.is_reading {
                    state.is_reading = true;
                    let length = LONGEST.min(asked - state.came.begun());
                    reader.jobs.send(Read { length, until }).map_err(|_| thread_gone(&at, during))?;
                }
                error
            };
            if let Some(error) = error {
                return Err(failed(&self.place, error, at, during, deadline).await);
            }
            // At the deadline the thread ends the read itself, and what has come by then counts.
            let _ = timeout_at(until + WITHDRAWAL, arrival).await;
        }
    }

    pub(super) async fn clear_halt(
        &mut self,
        endpoint: Endpoint,
        at: Where,
        during: Doing,
        deadline: Duration,
    ) -> Result<(), UsbError> {
        let (handle, address) = (Arc::clone(&self.handle), endpoint.address);
        let clearing = blocking(move || handle.clear_halt(address));
        match timeout_at(end_of(deadline), clearing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(failed(&self.place, error, at, during, deadline).await),
            Err(_) => return Err(UsbError::TimedOut { at, during, after: deadline }),
        }
        if let Some(reader) = self.reading.get(&endpoint.address) {
            locked(&reader.shared.state).failed = None;
        }
        Ok(())
    }
}

/// Devices coming and going, by libusb's own events.
pub(super) struct Events {
    events: tokio::sync::mpsc::UnboundedReceiver<()>,
}

impl Events {
    /// `None` where this system's libusb has no such events.
    pub(super) fn watch() -> Option<Self> {
        struct Tell(tokio::sync::mpsc::UnboundedSender<()>);
        impl rusb::Hotplug<Context> for Tell {
            fn device_arrived(&mut self, _: rusb::Device<Context>) {
                let _ = self.0.send(());
            }
            fn device_left(&mut self, _: rusb::Device<Context>) {
                let _ = self.0.send(());
            }
        }
        if !rusb::has_hotplug() {
            return None;
        }
        let context = context().ok()?;
        let (sender, events) = tokio::sync::mpsc::unbounded_channel();
        let tell = Box::new(Tell(sender.clone()));
        let registration = rusb::HotplugBuilder::new().register(&context, tell).ok()?;
        std::thread::spawn(move || {
            let _registration = registration;
            while !sender.is_closed() {
                // An error here is no reason to spin: the devices are listed again anyway.
                if context.handle_events(Some(LISTENING)).is_err() {
                    std::thread::sleep(LISTENING);
                }
            }
        });
        Some(Self { events })
    }

    /// Waits for the next event. May be dropped at any time without loss.
    pub(super) async fn next(&mut self) {
        if self.events.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(call).await.expect("a call of libusb does not panic, and the runtime is there")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A time that libusb counts down: less than a millisecond would mean for ever there, and so would too many.
fn patience(wait: Duration) -> Duration {
    wait.clamp(Duration::from_millis(1), Duration::from_secs(24 * 60 * 60))
}

fn words(setup: [u8; 8]) -> (u16, u16) {
    let [_, _, v0, v1, i0, i1, ..] = setup;
    (u16::from_le_bytes([v0, v1]), u16::from_le_bytes([i0, i1]))
}

fn thread_gone(at: &Where, during: Doing) -> UsbError {
    UsbError::System { at: at.clone(), during, source: io::Error::other("the thread of the endpoint has ended") }
}

/// The failure of a transfer: what a cable does that is pulled, libusb may call a fault of the bus.
async fn failed(
    (slot, address): &(Slot, u8),
    error: rusb::Error,
    at: Where,
    during: Doing,
    after: Duration,
) -> UsbError {
    if matches!(error, rusb::Error::Io | rusb::Error::Other | rusb::Error::NotFound) {
        let is_listed = || {
            let (slot, address) = (slot.clone(), *address);
            blocking(move || {
                let devices = devices(during).unwrap_or_default();
                devices.iter().any(|(other, device)| *other == slot && device.address() == address)
            })
        };
        if leaves(is_listed).await {
            return UsbError::Unplugged { at, during };
        }
    }
    failure(error, at, during, after)
}

fn failure(error: rusb::Error, at: Where, during: Doing, after: Duration) -> UsbError {
    use rusb::Error;
    let source = || io::Error::other(error);
    match error {
        Error::Busy => UsbError::Busy { at, during },
        Error::Access => {
            UsbError::NoPermission { at, during, source: io::Error::new(io::ErrorKind::PermissionDenied, error) }
        }
        Error::NoDevice => UsbError::Unplugged { at, during },
        Error::Pipe => UsbError::Stalled { at, during },
        Error::Timeout => UsbError::TimedOut { at, during, after },
        Error::Overflow | Error::Io => UsbError::Damaged { at, during, source: Some(source()) },
        Error::InvalidParam
        | Error::NotFound
        | Error::Interrupted
        | Error::NoMem
        | Error::NotSupported
        | Error::BadDescriptor
        | Error::Other => UsbError::System { at, during, source: source() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libusb_says_is_called_by_the_same_names_as_with_the_other_library() {
        let failure = |error| {
            let at = Where::Port("1-4.2".parse().unwrap());
            failure(error, at, Doing::Transfer { endpoint: 0x81 }, Duration::from_secs(1))
        };
        assert!(matches!(failure(rusb::Error::Timeout), UsbError::TimedOut { .. }));
        assert!(matches!(failure(rusb::Error::NoDevice), UsbError::Unplugged { .. }));
        assert!(matches!(failure(rusb::Error::Pipe), UsbError::Stalled { .. }));
        assert!(matches!(failure(rusb::Error::Busy), UsbError::Busy { .. }));
        assert!(matches!(failure(rusb::Error::Io), UsbError::Damaged { source: Some(_), .. }));
        assert!(matches!(failure(rusb::Error::NoMem), UsbError::System { .. }));
        let refused = failure(rusb::Error::Access);
        assert!(
            matches!(refused, UsbError::NoPermission { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
        );
    }

    #[test]
    fn libusb_is_never_told_to_wait_for_ever() {
        assert_eq!(patience(Duration::ZERO), Duration::from_millis(1));
        assert!(patience(Duration::MAX) < Duration::from_secs(100_000));
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
