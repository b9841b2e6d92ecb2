//! The two bulk endpoints, each a task that owns it. FunctionFS takes transfers through the kernel's asynchronous I/O;
//! giving it one, or asking about the endpoint, blocks while no host has configured the phone. So that happens in these
//! tasks alone, and nobody waits for them longer than [`PATIENCE`].

use crate::device::{Cable, Socket};
use crate::phone::tether::frames::Frame;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::timeout;
use usb_gadget::function::custom::{EndpointControl, EndpointReceiver, EndpointSender};

/// How long a task may take to do what it is told. One that takes longer is held by the kernel, because the host has
/// gone in this moment; it goes on when one is there again, and sees then what it was told meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// One transfer: a whole number of packets at every speed, and small enough for a kernel short of memory.
const TRANSFER_BYTES: usize = 16_384;

/// What else may hold data of before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hardware {
    /// Nothing: the kernel has emptied the endpoint when it was disabled or enabled.
    Empty,
    /// The endpoint's FIFO.
    Holds,
}

enum Receive {
    /// Take back what is armed and drop what has come; say when it is done.
    Stop(Hardware, oneshot::Sender<()>),
    /// Receive.
    Go,
}

/// Host to phone.
pub(super) struct OutPipe {
    commands: mpsc::UnboundedSender<Receive>,
    task: JoinHandle<()>,
}

impl OutPipe {
    pub(super) fn start(endpoint: EndpointReceiver, socket: Arc<Mutex<Socket>>) -> Self {
        let (commands, queue) = mpsc::unbounded_channel();
        Self { commands, task: tokio::spawn(receive(endpoint, socket, queue)) }
    }

    /// Receives no more until [`OutPipe::go`]; true when nothing of before can arrive.
    pub(super) async fn stop(&mut self, hardware: Hardware) -> bool {
        let (done, is_done) = oneshot::channel();
        self.commands.send(Receive::Stop(hardware, done)).is_ok()
            && matches!(timeout(PATIENCE, is_done).await, Ok(Ok(())))
    }

    pub(super) fn go(&self) {
        let _ = self.commands.send(Receive::Go);
    }

    /// Gives the endpoint back.
    pub(super) async fn end(self) {
        drop(self.commands);
        let _ = timeout(PATIENCE, self.task).await;
    }
}

async fn receive(
    mut endpoint: EndpointReceiver,
    socket: Arc<Mutex<Socket>>,
    mut commands: mpsc::UnboundedReceiver<Receive>,
) {
    let mut receiving = false;
    loop {
        if receiving && endpoint.is_empty() {
            let armed = block_in_place(|| endpoint.try_recv(BytesMut::with_capacity(TRANSFER_BYTES)));
            if let Err(error) = armed {
                tracing::debug!(%error, "bulk out not armed");
                receiving = false;
            }
        }
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(Receive::Go) => receiving = true,
                Some(Receive::Stop(hardware, done)) => {
                    receiving = false;
                    block_in_place(|| {
                        let _ = endpoint.cancel();
                        if hardware == Hardware::Holds {
                            let _ = endpoint.control().and_then(|control| control.discard_fifo());
                        }
                    });
                    let _ = done.send(());
                }
                None => {
                    let _ = block_in_place(|| endpoint.cancel());
                    return;
                }
            },
            arrived = endpoint.fetch_async(), if receiving => match arrived {
                // A transfer that a short packet has ended is not full.
                Ok(Some(bytes)) => {
                    tracing::trace!(bytes = bytes.len(), "bulk out");
                    let mut socket = socket.lock().expect("no holder of the socket panics");
                    socket.arrived(&bytes, bytes.len() < TRANSFER_BYTES);
                }
                Ok(None) => {}
                // The host has gone, or configures the phone anew: it goes on with the next `Go`.
                Err(error) => {
                    tracing::debug!(%error, "bulk out ended");
                    receiving = false;
                }
            },
        }
    }
}

enum Send {
    Frame(Frame),
    /// Take back what is armed; say when it is done.
    Flush(Hardware, oneshot::Sender<()>),
}

/// Phone to host.
pub(super) struct InPipe {
    commands: mpsc::UnboundedSender<Send>,
    task: JoinHandle<()>,
}

/// Where the engine puts its frames.
pub(super) struct UsbCable(mpsc::WeakUnboundedSender<Send>);

impl Cable for UsbCable {
    fn send(&self, frame: Frame) {
        if let Some(commands) = self.0.upgrade() {
            let _ = commands.send(Send::Frame(frame));
        }
    }
}

impl InPipe {
    pub(super) fn start(endpoint: EndpointSender) -> Self {
        let (commands, queue) = mpsc::unbounded_channel();
        Self { commands, task: tokio::spawn(send(endpoint, queue)) }
    }

    pub(super) fn cable(&self) -> UsbCable {
        UsbCable(self.commands.downgrade())
    }

    /// Drops what waits to be sent; true when nothing of it can still go.
    pub(super) async fn flush(&mut self, hardware: Hardware) -> bool {
        let (done, is_done) = oneshot::channel();
        self.commands.send(Send::Flush(hardware, done)).is_ok()
            && matches!(timeout(PATIENCE, is_done).await, Ok(Ok(())))
    }

    /// Gives the endpoint back.
    pub(super) async fn end(self) {
        drop(self.commands);
        let _ = timeout(PATIENCE, self.task).await;
    }
}

async fn send(mut endpoint: EndpointSender, mut commands: mpsc::UnboundedReceiver<Send>) {
    let mut waiting: VecDeque<Bytes> = VecDeque::new();
    loop {
        // What failed before, because the host went, is no reason not to send the next.
        while endpoint.try_ready().is_err() {}
        while endpoint.is_ready()
            && let Some(part) = waiting.pop_front()
        {
            tracing::trace!(bytes = part.len(), "bulk in");
            if let Err(error) = block_in_place(|| endpoint.try_send(part)) {
                tracing::debug!(%error, "bulk in not sent");
            }
        }
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(Send::Frame(frame)) => match block_in_place(|| endpoint.max_packet_size()) {
                    Ok(packet) => waiting.extend(parts(&frame, packet.max(1))),
                    Err(error) => tracing::debug!(%error, "no host to send to"),
                },
                Some(Send::Flush(hardware, done)) => {
                    waiting.clear();
                    let emptied = block_in_place(|| {
                        let _ = endpoint.cancel();
                        hardware == Hardware::Empty || is_emptied(endpoint.control())
                    });
                    if !emptied {
                        // What may still go is ended by it (docs/tether-protocol.md, 2.3).
                        waiting.push_back(Bytes::new());
                    }
                    let _ = done.send(());
                }
                None => {
                    let _ = block_in_place(|| endpoint.cancel());
                    return;
                }
            },
            _ = endpoint.wait_ready(), if !waiting.is_empty() => {}
        }
    }
}

/// Empties an endpoint's FIFO. Many controllers have no way to do that, and flushing them says nothing: those do not know
/// either how full it is.
fn is_emptied(control: std::io::Result<EndpointControl<'_>>) -> bool {
    control.is_ok_and(|control| control.discard_fifo().is_ok() && control.unclaimed_fifo().is_ok())
}

/// The transfers that make up a frame; the last packet is never a full one.
fn parts(frame: &Frame, packet: usize) -> Vec<Bytes> {
    let bytes = Bytes::from(frame.encode());
    let mut parts: Vec<Bytes> = (0..bytes.len())
        .step_by(TRANSFER_BYTES)
        .map(|at| bytes.slice(at..bytes.len().min(at + TRANSFER_BYTES)))
        .collect();
    if Frame::needs_zero_packet(bytes.len(), packet) {
        parts.push(Bytes::new());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phone::tether::frames::{FrameKind, HEADER_BYTES, MAX_BODY_BYTES};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_parts_of_a_frame_are_the_frame_and_only_the_last_packet_is_short(
            body in prop_oneof![0usize..2100, 16_300usize..16_500, 65_000..=MAX_BODY_BYTES],
            packet in prop_oneof![Just(8usize), Just(16), Just(32), Just(64), Just(512), Just(1024)],
        ) {
            let frame = Frame { kind: FrameKind::Answer, epoch: 7, body: vec![9; body] };
            let parts = parts(&frame, packet);
            prop_assert_eq!(parts.concat(), frame.encode());
            let (last, full) = parts.split_last().unwrap();
            prop_assert!(full.iter().all(|part| !part.is_empty() && part.len().is_multiple_of(packet)));
            prop_assert!(!last.len().is_multiple_of(packet) || last.is_empty());
            prop_assert_eq!(last.is_empty(), (HEADER_BYTES + body).is_multiple_of(packet));
        }
    }
}
