//! A USB/IP client in user space: devices that another machine, or the lab, exports over TCP. No kernel module, no root.
//!
//! What the protocol does not have, this cannot give: the list says no serial numbers and there is no hot-plug, so
//! [`watch`](super::Usb::watch) lists again and again, and a serial is read by importing the device, which takes it from
//! everybody else meanwhile. A device is imported whole, so claiming one interface claims them all.

mod connection;
mod exchange;
mod wire;

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use self::connection::{Connection, Reading};
use self::exchange::Request;
use self::wire::Exported;
use super::attached::{Attached, Strings};
use super::descriptor::{self, Configuration, DeviceDescriptor};
use super::error::{Doing, Missing, UsbError, Where};
use super::slot::{BusId, Slot, UsbIpHost};
use super::transfer::{ControlIn, ControlKind, ControlOut, Counters, Endpoint, Recipient, pieces};

pub use self::wire::Violation;

/// How long a server has to list or to import.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one standard request may take while a device is opened.
const STANDARD_REQUEST: Duration = Duration::from_secs(5);

/// Longer lists are not read.
const MOST_LIST_BYTES: usize = 1 << 20;

/// A server may need a moment to see that the last connection to a device is closed.
const BUSY_PAUSES_MS: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];

const REFUSED_NOT_AVAILABLE: u32 = 1;
const REFUSED_BUSY: u32 = 2;
const REFUSED_NO_DEVICE: u32 = 4;

/// What a server exports, in its order.
pub(super) async fn list(host: &UsbIpHost) -> Result<Vec<Attached>, UsbError> {
    let at = || Where::Host(host.clone());
    let during = Doing::Listing;
    let until = Instant::now() + PATIENCE;
    let mut stream = connect(host, at(), during, until).await?;
    let mut bytes = BytesMut::new();
    let devices = ask(&mut stream, &wire::list_request(), &mut bytes, wire::device_list, at(), during, until).await?;
    let attached = |exported: Exported| Attached {
        slot: Slot::usbip(host.clone(), exported.bus_id.clone()),
        address: exported.id(),
        vendor_id: exported.vendor_id,
        product_id: exported.product_id,
        device_version: exported.device_version,
        strings: Strings::default(),
        interfaces: exported.interfaces,
    };
    Ok(devices.into_iter().map(attached).collect())
}

/// An imported device.
pub(super) struct Device {
    connection: Connection,
    pub(super) descriptor: DeviceDescriptor,
    pub(super) configuration: Configuration,
    /// What opening has cost.
    pub(super) counters: Counters,
}

/// Imports a device, reads what it says about itself and sets its configuration.
pub(super) async fn open(host: &UsbIpHost, attached: &Attached) -> Result<Device, UsbError> {
    let slot = &attached.slot;
    let at = || Where::Port(slot.clone());
    let during = Doing::Opening;
    let bus_id = slot.bus_id().ok_or_else(|| UsbError::NotFound { sought: slot.to_string() })?;
    let mut pauses = BUSY_PAUSES_MS.into_iter().map(Duration::from_millis);
    let (stream, exported, rest) = loop {
        match (import(host, bus_id, at(), during).await, pauses.next()) {
            (Err(UsbError::Busy { .. }), Some(pause)) => tokio::time::sleep(pause).await,
            (imported, _) => break imported?,
        }
    };
    if (exported.vendor_id, exported.product_id) != (attached.vendor_id, attached.product_id) {
        return Err(UsbError::Unplugged { at: at(), during });
    }
    let mut opened = Opening {
        connection: Connection::new(stream, at(), exported.id(), rest),
        counters: Counters::default(),
        at: at(),
    };
    let malformed = |source| UsbError::Descriptor { at: at(), source };
    let device = opened.descriptor(descriptor::DEVICE, 18).await?;
    let device = DeviceDescriptor::parse(&device).map_err(malformed)?;
    let head = opened.descriptor(descriptor::CONFIGURATION, 9).await?;
    let total = Configuration::total_length(&head).map_err(malformed)?;
    let whole = opened.descriptor(descriptor::CONFIGURATION, total).await?;
    let configuration = Configuration::parse(&whole).map_err(malformed)?;
    // Always, as a kernel does: what the import reply says of the active configuration may be old (seen with Linux' usbipd,
    // which reads it when it makes a list), and halts that the last host left behind end with it.
    opened.configure(configuration.value).await?;
    let Opening { connection, counters, .. } = opened;
    Ok(Device { connection, descriptor: device, configuration, counters })
}

async fn import(
    host: &UsbIpHost,
    bus_id: &BusId,
    at: Where,
    during: Doing,
) -> Result<(TcpStream, Exported, BytesMut), UsbError> {
    let until = Instant::now() + PATIENCE;
    let mut stream = connect(host, at.clone(), during, until).await?;
    let request = wire::import_request(bus_id);
    let mut bytes = BytesMut::new();
    match ask(&mut stream, &request, &mut bytes, wire::import_reply, at.clone(), during, until).await? {
        Ok(exported) if exported.bus_id != *bus_id => Err(UsbError::Protocol { at, during, source: Violation::Device }),
        Ok(exported) => {
            let rest = bytes.split_off(wire::IMPORTED);
            Ok((stream, exported, rest))
        }
        Err(REFUSED_BUSY) => Err(UsbError::Busy { at, during }),
        Err(REFUSED_NO_DEVICE) => Err(UsbError::NotFound { sought: at.to_string() }),
        // Servers before 2020 said only this, for a device in use as for one that is not there.
        Err(status @ REFUSED_NOT_AVAILABLE..) => Err(UsbError::Refused { at, during, status }),
        Err(0) => Err(UsbError::Protocol { at, during, source: Violation::Device }),
    }
}

async fn connect(host: &UsbIpHost, at: Where, during: Doing, until: Instant) -> Result<TcpStream, UsbError> {
    let connected = match timeout_at(until, TcpStream::connect((host.host(), host.port()))).await {
        Ok(connected) => connected,
        Err(elapsed) => Err(io::Error::from(elapsed)),
    };
    // Requests are small and each waits for its answer: nothing is gained by collecting them.
    connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream)).map_err(|source| UsbError::Unreachable {
        at,
        during,
        source,
    })
}

/// Sends `request` and reads until `parse` has the whole answer.
async fn ask<T>(
    stream: &mut TcpStream,
    request: &[u8],
    bytes: &mut BytesMut,
    parse: impl Fn(&[u8]) -> Result<Option<T>, Violation>,
    at: Where,
    during: Doing,
    until: Instant,
) -> Result<T, UsbError> {
    let unreachable = |source| UsbError::Unreachable { at: at.clone(), during, source };
    let broken = |source| UsbError::Protocol { at: at.clone(), during, source };
    let answer = async {
        stream.write_all(request).await.map_err(unreachable)?;
        loop {
            if let Some(answer) = parse(bytes).map_err(broken)? {
                return Ok(answer);
            }
            if bytes.len() > MOST_LIST_BYTES {
                return Err(broken(Violation::Device));
            }
            if stream.read_buf(bytes).await.map_err(unreachable)? == 0 {
                return Err(broken(Violation::Truncated));
            }
        }
    };
    match timeout_at(until, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(UsbError::Silent { at: at.clone(), during, after: PATIENCE }),
    }
}

/// A device between import and use.
struct Opening {
    connection: Connection,
    counters: Counters,
    at: Where,
}

impl Opening {
    async fn descriptor(&mut self, kind: u8, length: u16) -> Result<Bytes, UsbError> {
        let request = ControlIn {
            kind: ControlKind::Standard,
            recipient: Recipient::Device,
            request: 6,
            value: u16::from(kind) << 8,
            index: 0,
            length,
        };
        self.counters.control += 1;
        let request = Request { endpoint: 0x80, setup: request.setup(), data: &[], asked: length.into(), interval: 0 };
        let bytes = self.connection.transfer(request, Doing::ReadingDescriptors, STANDARD_REQUEST).await?;
        self.counters.bytes_in += bytes.len() as u64;
        Ok(bytes)
    }

    async fn configure(&mut self, configuration: u8) -> Result<(), UsbError> {
        let request = ControlOut {
            kind: ControlKind::Standard,
            recipient: Recipient::Device,
            request: 9,
            value: configuration.into(),
            index: 0,
            data: &[],
        };
        self.counters.control += 1;
        control_out(&mut self.connection, &self.at, request, Doing::Configuring, STANDARD_REQUEST).await
    }
}

async fn control_out(
    connection: &mut Connection,
    at: &Where,
    request: ControlOut<'_>,
    during: Doing,
    deadline: Duration,
) -> Result<(), UsbError> {
    let too_long = || UsbError::Missing { at: at.clone(), missing: Missing::ControlRoom(request.data.len()) };
    let setup = request.setup().ok_or_else(too_long)?;
    let request = Request { endpoint: 0x00, setup, data: request.data, asked: 0, interval: 0 };
    connection.transfer(request, during, deadline).await.map(drop)
}

impl Device {
    pub(super) async fn control_in(
        &mut self,
        request: ControlIn,
        during: Doing,
        deadline: Duration,
    ) -> Result<Vec<u8>, UsbError> {
        let request =
            Request { endpoint: 0x80, setup: request.setup(), data: &[], asked: request.length.into(), interval: 0 };
        self.connection.transfer(request, during, deadline).await.map(Vec::from)
    }

    pub(super) async fn control_out(
        &mut self,
        request: ControlOut<'_>,
        at: &Where,
        during: Doing,
        deadline: Duration,
    ) -> Result<(), UsbError> {
        control_out(&mut self.connection, at, request, during, deadline).await
    }

    /// Receives what ends with a short packet or fills `asked`, in transfers of at most `piece` bytes. Both are multiples
    /// of the packet size.
    pub(super) async fn read(
        &mut self,
        endpoint: Endpoint,
        (asked, piece): (usize, usize),
        during: Doing,
        deadline: Duration,
    ) -> Result<Vec<u8>, UsbError> {
        let Endpoint { address, interval, .. } = endpoint;
        self.connection.receive(Reading { endpoint: address, interval, asked, piece }, during, deadline).await
    }

    /// Sends `data` in transfers of at most `piece` bytes.
    pub(super) async fn write(
        &mut self,
        endpoint: Endpoint,
        data: &[u8],
        piece: usize,
        during: Doing,
        deadline: Duration,
    ) -> Result<(), UsbError> {
        let Endpoint { address, interval, .. } = endpoint;
        let request = |data| Request { endpoint: address, setup: [0; 8], data, asked: 0, interval };
        self.connection.send(pieces(data, piece).into_iter().map(request).collect(), during, deadline).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Asks for a list of a server that answers `reply` and closes, or stays where there is no reply.
    async fn asked(reply: Option<Vec<u8>>) -> Result<Vec<Attached>, UsbError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().into();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(request, [0x01, 0x11, 0x80, 0x05, 0, 0, 0, 0]);
            if let Some(reply) = reply {
                stream.write_all(&reply).await.unwrap();
            }
        };
        tokio::join!(server, list(&host)).1
    }

    #[tokio::test]
    async fn a_list_that_is_none_is_named_for_what_it_is() {
        let other = asked(Some(b"SSH-2.0-OpenSSH".to_vec())).await.unwrap_err();
        assert!(matches!(other, UsbError::Protocol { source: Violation::Version { .. }, .. }), "{other}");
        let endless = [&[1, 17, 0, 5, 0, 0, 0, 0, 0, 0, 15, 255], &[0; 2000][..]].concat();
        let nameless = asked(Some(endless)).await.unwrap_err();
        assert!(matches!(nameless, UsbError::Protocol { source: Violation::Device, .. }), "{nameless}");
        let short = asked(Some(vec![1, 17, 0, 5, 0, 0])).await.unwrap_err();
        assert!(matches!(short, UsbError::Protocol { source: Violation::Truncated, .. }), "{short}");
        let mute = asked(None).await.unwrap_err();
        assert!(matches!(mute, UsbError::Protocol { .. } | UsbError::Unreachable { .. }), "{mute}");
        assert_eq!(asked(Some(vec![1, 17, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0])).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_server_that_accepts_and_says_nothing_is_silent_not_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let until = Instant::now() + Duration::from_millis(5);
        let at = Where::Host(listener.local_addr().unwrap().into());
        let request = wire::list_request();
        let asked =
            ask(&mut stream, &request, &mut BytesMut::new(), wire::device_list, at, Doing::Listing, until).await;
        assert!(matches!(asked, Err(UsbError::Silent { .. })));
    }
}
