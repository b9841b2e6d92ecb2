//! The device side of USB/IP: virtual devices with true descriptors and transfers, exported on loopback.
//!
//! A virtual device is a [`Device`]: it is told what the host does and answers through its [`Bus`]. The [`Exporter`] is
//! the hub and the cable: devices are plugged in and out of it, and the cable can be cut at any single transfer.
//! As on a true bus, an IN transfer stays pending until there is data, ends with a short packet or when it is full, and
//! may be withdrawn; several may wait on one endpoint; a halted endpoint refuses until the halt is cleared; a
//! device in use is not given to a second host. Isochronous transfers are not offered.

mod attachment;
mod bus;
mod device;
pub mod echo;
mod port;
mod session;
mod standard;
#[cfg(test)]
mod tests;
mod vhci;
mod wire;
#[cfg(test)]
mod wire_tests;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::attachment::Attachment;
pub use self::bus::Bus;
pub use self::device::{Descriptors, Device, Setup, Speed, Stall};
use self::port::{Fault, Imported, Port};
pub use self::vhci::{AttachError, Module, may_attach};
use self::wire::Refusal;

/// A USB/IP server with virtual devices. Dropping it ends all connections, as if every cable were pulled.
#[derive(Debug)]
pub struct Exporter {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// Where the cable is cut: at the transfer with this number, the first being 1, as [`Exporter::transfers`] counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The number of the transfer since the device was plugged in.
    pub transfer: u64,
    /// Whether the device still sees it.
    pub side: Side,
}

/// The side of a transfer on which the cable is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The device never sees the transfer.
    Before,
    /// The device has acted on the transfer, and the host gets no answer.
    After,
}

#[derive(Debug, Default)]
struct Shared {
    ports: Mutex<BTreeMap<String, Arc<Port>>>,
    last_address: AtomicU32,
    /// Marked as changed each time a cable is put in.
    plugged: watch::Sender<()>,
    /// Cancelled when the exporter is dropped.
    ended: CancellationToken,
}

impl Exporter {
    /// Starts a server on a free port of loopback. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the system gives no port.
    pub async fn start() -> io::Result<Self> {
        Self::start_at(0).await
    }

    /// The same on this port, any where it is 0.
    ///
    /// # Errors
    ///
    /// When the system does not give the port.
    pub async fn start_at(port: u16) -> io::Result<Self> {
        let taken = |error: io::Error| io::Error::new(error.kind(), format!("port {port} of 127.0.0.1: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(taken)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// The address for `--usbip`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Plugs a device in at `bus_id`, such as `1-1` (at most 31 bytes of ASCII). One that is there already is unplugged.
    pub fn plug(&self, bus_id: &str, device: Box<dyn Device>) {
        self.shared.plug(bus_id, device);
    }

    /// Hands the device on `bus_id` to this computer's own kernel, by its module `vhci_hcd`: from then on it is on the
    /// computer's bus like any other, and no host gets it over USB/IP.
    ///
    /// A cut or pulled cable is an unplug there too; [`replug`](Self::replug) and [`plug`](Self::plug) attach what is on
    /// the port again. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`AttachError`] names what is missing.
    pub fn attach(&self, bus_id: &str) -> Result<Attachment, AttachError> {
        Attachment::begin(&self.shared, bus_id)
    }

    /// Pulls the cable and gives the device back; `None` where there is none.
    pub fn unplug(&self, bus_id: &str) -> Option<Box<dyn Device>> {
        let port = self.shared.ports().remove(bus_id)?;
        port.unplug()
    }

    /// Pulls the cable and leaves the device beside its port, for [`replug`](Self::replug). `false` where there is none.
    pub fn pull(&self, bus_id: &str) -> bool {
        self.shared.port(bus_id).is_some_and(|port| {
            port.pull();
            true
        })
    }

    /// Puts the cable in again after a [`cut`](Self::cut) or [`pull`](Self::pull), with the same device and a new count
    /// of transfers; faults still staged are forgotten. `false` where there is no device.
    pub fn replug(&self, bus_id: &str) -> bool {
        self.shared.replug(bus_id)
    }

    /// How many transfers hosts have submitted since the device was plugged in: control, bulk and interrupt, in the
    /// order of their coming, those of enumeration included.
    pub fn transfers(&self, bus_id: &str) -> u64 {
        self.shared.port(bus_id).map_or(0, |port| port.transfers())
    }

    /// Has the cable cut at one transfer to come. The device is then gone from the bus, and
    /// [`replug`](Self::replug) brings it back.
    ///
    /// An IN transfer cut on its far side is cut when the device's data would complete it.
    pub fn cut(&self, bus_id: &str, cut: Cut) {
        let fault = match cut.side {
            Side::Before => Fault::CutBefore,
            Side::After => Fault::CutAfter,
        };
        self.stage(bus_id, cut.transfer, fault);
    }

    /// Has one transfer to come refused without the device seeing it; a data endpoint is halted by it.
    pub fn stall_at(&self, bus_id: &str, transfer: u64) {
        self.stage(bus_id, transfer, Fault::Stall);
    }

    /// Has one transfer to come stay without an answer until the host withdraws it. The device does not see it.
    pub fn hang_at(&self, bus_id: &str, transfer: u64) {
        self.stage(bus_id, transfer, Fault::Hang);
    }

    /// The cable at one port, to be held by somebody else.
    pub fn cable(&self, bus_id: &str) -> Cable {
        Cable { bus_id: bus_id.to_owned(), shared: Arc::clone(&self.shared) }
    }

    fn stage(&self, bus_id: &str, transfer: u64, fault: Fault) {
        if let Some(port) = self.shared.port(bus_id) {
            port.stage(transfer, fault);
        }
    }
}

/// The cable at one port of an [`Exporter`].
#[derive(Debug, Clone)]
pub struct Cable {
    bus_id: String,
    shared: Arc<Shared>,
}

impl Cable {
    /// Whether it is in.
    pub fn is_in(&self) -> bool {
        self.shared.port(&self.bus_id).is_some_and(|port| port.is_on_bus())
    }

    /// Pulls it, as [`Exporter::pull`].
    pub fn pull(&self) {
        if let Some(port) = self.shared.port(&self.bus_id) {
            port.pull();
        }
    }

    /// Pulls it and gives the device back.
    pub fn take(&self) -> Option<Box<dyn Device>> {
        let port = self.shared.ports().remove(&self.bus_id)?;
        port.unplug()
    }

    /// Puts it into a device, as [`Exporter::plug`].
    pub fn plug(&self, device: Box<dyn Device>) {
        self.shared.plug(&self.bus_id, device);
    }

    /// Puts it in again, as [`Exporter::replug`].
    pub fn replug(&self) {
        self.shared.replug(&self.bus_id);
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.shared.ended.cancel();
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // The sessions end with this task.
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // One that is gone again before it was accepted is no reason to stop.
                if let Ok((stream, _)) = accepted {
                    sessions.spawn(session::serve(Arc::clone(&shared), stream));
                }
            }
            Some(_) = sessions.join_next() => {}
        }
    }
}

impl Shared {
    fn import(&self, bus_id: &str) -> Result<Imported, Refusal> {
        self.port(bus_id).ok_or(Refusal::NoDevice)?.import()
    }

    fn plug(&self, bus_id: &str, device: Box<dyn Device>) {
        let port = Port::new(bus_id, self.next_address(), device);
        let before = self.ports().insert(bus_id.to_owned(), Arc::new(port));
        if let Some(before) = before {
            before.unplug();
        }
        self.plugged.send_replace(());
    }

    fn replug(&self, bus_id: &str) -> bool {
        let Some(port) = self.port(bus_id) else { return false };
        port.pull();
        port.replug(self.next_address());
        self.plugged.send_replace(());
        true
    }

    fn port(&self, bus_id: &str) -> Option<Arc<Port>> {
        self.ports().get(bus_id).cloned()
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Port>>> {
        self.ports.lock().expect("no holder of the ports panics")
    }

    fn next_address(&self) -> u32 {
        // Seven bits on a true bus, 16 in a list; 0 means "none yet".
        self.last_address.fetch_add(1, Ordering::Relaxed) % 0xffff + 1
    }
}
