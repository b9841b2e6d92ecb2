//! A virtual device on this computer's own bus: the kernel's `vhci_hcd` gets it over a socket pair, without a network.
//!
//! The kernel is one more host of the device. All that can be done to a cable of the [`Exporter`](super::Exporter) works:
//! a cut ends the socket, which the kernel takes for an unplug, and a cable that is put in again is attached again,
//! to the same port of the kernel where it is still free.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::port::Imported;
use super::session::Session;
use super::vhci::{AttachError, Vhci};
use super::{Refusal, Shared};

/// How often the kernel is asked whether the device is ready, or its port free again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long a port of the kernel may take to be free after an unplug, before the device goes to another.
const LETTING_GO: Duration = Duration::from_secs(5);

/// A device that is attached to the kernel. Dropping it is an unplug, and nothing attaches the device again.
#[derive(Debug)]
pub struct Attachment {
    bus_id: String,
    vhci: Vhci,
    state: watch::Receiver<State>,
    serving: JoinHandle<()>,
}

#[derive(Debug, Clone)]
enum State {
    /// The kernel has it on this port of `vhci_hcd`.
    Attached { port: u32 },
    /// The cable is out, or another host has the device.
    Out,
    /// It could not be attached again.
    Failed(Arc<AttachError>),
}

impl Attachment {
    /// Attaches the device on `bus_id`, and again each time its cable is put in again.
    pub(super) fn begin(shared: &Arc<Shared>, bus_id: &str) -> Result<Self, AttachError> {
        let vhci = Vhci::find()?;
        let imported = shared.import(bus_id).map_err(|refusal| match refusal {
            Refusal::NoDevice => AttachError::NoDevice { bus_id: bus_id.to_owned() },
            Refusal::Busy => AttachError::InUse { bus_id: bus_id.to_owned() },
        })?;
        let session = Session::new(imported);
        let (port, stream) = vhci.attach(session.id(), session.speed(), None)?;
        let (sender, state) = watch::channel(State::Attached { port });
        let keeper = Keeper { shared: Arc::clone(shared), bus_id: bus_id.to_owned(), vhci: vhci.clone(), sender };
        let serving = tokio::spawn(keeper.run(session, port, stream));
        Ok(Self { bus_id: bus_id.to_owned(), vhci, state, serving })
    }

    /// The port of the [`Exporter`](super::Exporter) that the device is on.
    pub fn bus_id(&self) -> &str {
        &self.bus_id
    }

    /// Waits until the kernel has configured the device, and gives its place on the kernel's bus, such as `1-1`.
    ///
    /// # Errors
    ///
    /// [`AttachError::NotSeen`] when that takes longer than `within`, or what kept the device from being attached again.
    pub async fn appeared(&self, within: Duration) -> Result<String, AttachError> {
        let until = Instant::now() + within;
        loop {
            let state = self.state.borrow().clone();
            match state {
                State::Attached { port } => {
                    if let Some(place) = self.vhci.place(port) {
                        return Ok(place);
                    }
                }
                State::Out => {}
                State::Failed(error) => return Err(AttachError::Again { bus_id: self.bus_id.clone(), source: error }),
            }
            if Instant::now() >= until {
                return Err(AttachError::NotSeen { bus_id: self.bus_id.clone(), within });
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether the kernel has it now.
    pub fn is_attached(&self) -> bool {
        matches!(*self.state.borrow(), State::Attached { .. })
    }

    /// Unplugs it and waits, not for ever, until the kernel has let go of it.
    pub async fn detach(self) {
        let port = match *self.state.borrow() {
            State::Attached { port } => Some(port),
            State::Out | State::Failed(_) => None,
        };
        let vhci = self.vhci.clone();
        let place = port.and_then(|port| vhci.place(port));
        drop(self);
        let until = Instant::now() + LETTING_GO;
        if let Some(port) = port {
            vhci.freed(port, until).await;
        }
        // The port is free a moment before the kernel's hub has noticed that the device is gone.
        if let Some(place) = place {
            vhci.left(&place, until).await;
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // With the task its end of the socket goes.
        self.serving.abort();
    }
}

/// Keeps a device attached for as long as its cable is in.
struct Keeper {
    shared: Arc<Shared>,
    bus_id: String,
    vhci: Vhci,
    sender: watch::Sender<State>,
}

impl Keeper {
    async fn run(self, session: Session, port: u32, stream: super::vhci::Stream) {
        let ended = self.shared.ended.clone();
        tokio::select! {
            () = ended.cancelled() => {}
            () = self.keep(session, port, stream) => {}
        }
    }

    async fn keep(&self, mut session: Session, mut port: u32, mut stream: super::vhci::Stream) {
        loop {
            let address = session.address();
            let (reader, writer) = stream.into_split();
            // However it ends, the kernel has lost the device.
            let _ = session.serve(reader, writer, bytes::BytesMut::new()).await;
            self.sender.send_replace(State::Out);
            let imported = self.plugged_in_after(address).await;
            session = Session::new(imported);
            self.vhci.freed(port, Instant::now() + LETTING_GO).await;
            match self.vhci.attach(session.id(), session.speed(), Some(port)) {
                Ok(attached) => (port, stream) = attached,
                Err(error) => {
                    tracing::warn!(bus_id = self.bus_id, %error, "a lab device cannot be attached again");
                    self.sender.send_replace(State::Failed(Arc::new(error)));
                    return;
                }
            }
            self.sender.send_replace(State::Attached { port });
        }
    }

    /// Waits until a cable was put in since the device had this address, and no other host has it.
    ///
    /// A device that the kernel was told to detach, its cable being in, stays detached.
    async fn plugged_in_after(&self, last: u32) -> Imported {
        let mut plugged = self.shared.plugged.subscribe();
        loop {
            let address = self.shared.port(&self.bus_id).and_then(|port| port.listed()).map(|(address, _)| address);
            if address.is_some_and(|address| address != last)
                && let Ok(imported) = self.shared.import(&self.bus_id)
            {
                return imported;
            }
            // A host that gives the device back says nothing: that is looked for now and then.
            let _ = timeout_at(Instant::now() + 10 * LOOK_AGAIN, plugged.changed()).await;
        }
    }
}
