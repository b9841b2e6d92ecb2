//! The threads of an open device: one for each endpoint, as libusb's transfers block whoever asks for them.

use super::{locked, patience};
use crate::usb::came::Came;
use crate::usb::transfer::{Endpoint, EndpointKind};
use rusb::{Context, DeviceHandle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// A transfer to the device.
pub(super) struct Write {
    pub(super) data: Vec<u8>,
    pub(super) until: Instant,
    pub(super) done: oneshot::Sender<rusb::Result<usize>>,
}

/// The thread of an OUT endpoint. It ends with the link.
pub(super) fn writer(handle: Arc<DeviceHandle<Context>>, endpoint: u8, closing: Arc<AtomicBool>) -> Sender<Write> {
    let (jobs, queue) = channel::<Write>();
    std::thread::spawn(move || {
        for Write { data, until, done } in queue {
            // Nobody waits for it any more, and it has not begun.
            if done.is_closed() || closing.load(Ordering::SeqCst) {
                continue;
            }
            let _ = done.send(handle.write_bulk(endpoint, &data, patience(until - Instant::now())));
        }
    });
    jobs
}

/// The thread of an IN endpoint, and what it has read.
pub(super) struct Reader {
    pub(super) jobs: Sender<Read>,
    pub(super) shared: Arc<Reading>,
}

/// A transfer from the device.
pub(super) struct Read {
    pub(super) length: usize,
    pub(super) until: Instant,
}

#[derive(Default)]
pub(super) struct Reading {
    pub(super) state: Mutex<ReadingState>,
    pub(super) changed: Notify,
}

#[derive(Default)]
pub(super) struct ReadingState {
    pub(super) came: Came,
    pub(super) failed: Option<rusb::Error>,
    pub(super) is_reading: bool,
}

impl Reader {
    pub(super) fn start(handle: Arc<DeviceHandle<Context>>, endpoint: Endpoint, closing: Arc<AtomicBool>) -> Self {
        let (jobs, queue) = channel();
        let shared = Arc::<Reading>::default();
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || read_all(&handle, endpoint, &queue, &of_thread, &closing));
        Self { jobs, shared }
    }
}

/// Reads what is asked for until the link is gone.
fn read_all(
    handle: &DeviceHandle<Context>,
    endpoint: Endpoint,
    queue: &Receiver<Read>,
    shared: &Reading,
    closing: &AtomicBool,
) {
    let packet = usize::from(endpoint.max_packet_size).max(1);
    for Read { length, until } in queue {
        let mut bytes = vec![0; length];
        if closing.load(Ordering::SeqCst) {
            return;
        }
        let begun = Instant::now();
        let wait = patience(until - begun);
        let read = match endpoint.kind {
            EndpointKind::Interrupt => handle.read_interrupt(endpoint.address, &mut bytes, wait),
            EndpointKind::Bulk | EndpointKind::Control | EndpointKind::Isochronous => {
                handle.read_bulk(endpoint.address, &mut bytes, wait)
            }
        };
        let mut state = locked(&shared.state);
        state.is_reading = false;
        match read {
            Ok(read) => {
                bytes.truncate(read);
                // rusb says the same of a transfer that a zero-length packet has ended, and of one that was withdrawn
                // after some whole packets: the clock tells them apart.
                let was_withdrawn = begun.elapsed() >= wait && read > 0;
                let is_short = read < length && (!read.is_multiple_of(packet) || !was_withdrawn);
                state.came.add(bytes, is_short);
            }
            Err(rusb::Error::Timeout | rusb::Error::Interrupted) => {}
            Err(error) => {
                state.came.break_off();
                state.failed = Some(error);
            }
        }
        drop(state);
        shared.changed.notify_waiters();
    }
}
