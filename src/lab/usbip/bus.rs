//! The wires between one host and one device: what waits to be sent, and what the host waits for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::device::EndpointSize;
use super::wire::{self, OK, OVERFLOW, STALLED, WITHDRAWN};

/// A device's end of the cable while a host has it. Cloned freely; works from any thread or task.
///
/// It lives from `attached` to `detached`. What is sent on a dead bus is lost, as on a cable that was pulled.
#[derive(Debug, Clone)]
pub struct Bus(Arc<Mutex<Wires>>);

#[derive(Debug)]
struct Wires {
    /// Where answers go; `None` when the bus is dead.
    answers: Option<UnboundedSender<Vec<u8>>>,
    ended: CancellationToken,
    on_bus: Arc<AtomicBool>,
    endpoints: BTreeMap<u8, Wire>,
    halted: BTreeSet<u8>,
    /// Transfers that are never answered.
    hung: BTreeSet<u32>,
}

#[derive(Debug)]
struct Wire {
    max_packet_size: usize,
    packets: VecDeque<Bytes>,
    wanted: VecDeque<Wanted>,
}

/// An IN transfer that the host waits for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) sequence: u32,
    pub(super) length: usize,
    /// The cable is cut in the place of the answer.
    pub(super) cut: bool,
    pub(super) got: Vec<u8>,
}

impl Bus {
    /// `ended` is cancelled when the cable is cut, and `on_bus` becomes false.
    pub(super) fn new(
        answers: UnboundedSender<Vec<u8>>,
        ended: CancellationToken,
        on_bus: Arc<AtomicBool>,
        endpoints: &[EndpointSize],
    ) -> Self {
        let wire = |endpoint: &EndpointSize| {
            let wire =
                Wire { max_packet_size: endpoint.max_packet_size, packets: VecDeque::new(), wanted: VecDeque::new() };
            (endpoint.address, wire)
        };
        let endpoints = endpoints.iter().map(wire).collect();
        let (halted, hung) = (BTreeSet::new(), BTreeSet::new());
        Self(Arc::new(Mutex::new(Wires { answers: Some(answers), ended, on_bus, endpoints, halted, hung })))
    }

    /// Queues `data` on an IN endpoint: whole packets, and a last short one where the length asks for it. An empty `data`
    /// is a zero-length packet; none is added by itself. Unknown endpoints are ignored.
    pub fn send(&self, endpoint: u8, data: Vec<u8>) {
        let mut wires = self.wires();
        if wires.answers.is_none() {
            return;
        }
        let Some(wire) = wires.endpoints.get_mut(&endpoint) else { return };
        let mut rest = Bytes::from(data);
        loop {
            let packet = rest.split_to(rest.len().min(wire.max_packet_size));
            wire.packets.push_back(packet);
            if rest.is_empty() {
                break;
            }
        }
        wires.pump(endpoint);
    }

    /// Forgets what waits to be sent on an IN endpoint.
    pub fn flush(&self, endpoint: u8) {
        if let Some(wire) = self.wires().endpoints.get_mut(&endpoint) {
            wire.packets.clear();
        }
    }

    /// Halts an endpoint: what the host waits for there is refused, and all further transfers, until it clears the halt.
    pub fn stall(&self, endpoint: u8) {
        let mut wires = self.wires();
        wires.halted.insert(endpoint);
        let wanted = wires.endpoints.get_mut(&endpoint).map(|wire| std::mem::take(&mut wire.wanted));
        for wanted in wanted.into_iter().flatten() {
            wires.complete(wanted, STALLED);
        }
    }

    /// Ends the halt of an endpoint, or of all.
    pub(super) fn clear_halt(&self, endpoint: Option<u8>) {
        let mut wires = self.wires();
        match endpoint {
            Some(endpoint) => drop(wires.halted.remove(&endpoint)),
            None => wires.halted.clear(),
        }
        let endpoints: Vec<u8> = wires.endpoints.keys().copied().collect();
        endpoints.into_iter().for_each(|endpoint| wires.pump(endpoint));
    }

    pub(super) fn is_halted(&self, endpoint: u8) -> bool {
        self.wires().halted.contains(&endpoint)
    }

    pub(super) fn has(&self, endpoint: u8) -> bool {
        self.wires().endpoints.contains_key(&endpoint)
    }

    /// The host wants data from an IN endpoint that exists and is not halted.
    pub(super) fn want(&self, endpoint: u8, wanted: Wanted) {
        let mut wires = self.wires();
        if let Some(wire) = wires.endpoints.get_mut(&endpoint) {
            wire.wanted.push_back(wanted);
        }
        wires.pump(endpoint);
    }

    /// Leaves a transfer without an answer until it is withdrawn.
    pub(super) fn hang(&self, sequence: u32) {
        self.wires().hung.insert(sequence);
    }

    /// Withdraws the transfer `target` and answers `sequence`, the withdrawal.
    pub(super) fn withdraw(&self, sequence: u32, target: u32) {
        let mut wires = self.wires();
        let mut found = wires.hung.remove(&target);
        let mut cut = false;
        for wire in wires.endpoints.values_mut() {
            if let Some(at) = wire.wanted.iter().position(|wanted| wanted.sequence == target) {
                cut = wire.wanted.remove(at).is_some_and(|wanted| wanted.cut);
                found = true;
            }
        }
        match cut {
            true => wires.cut(),
            false => wires.answer(wire::unlinked(sequence, if found { WITHDRAWN } else { OK })),
        }
    }

    pub(super) fn answer(&self, bytes: Vec<u8>) {
        self.wires().answer(bytes);
    }

    /// Pulls the cable: answers already given still arrive, no others.
    pub(super) fn cut(&self) {
        self.wires().cut();
    }

    /// Whether this host is the same as `other`.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn is_dead(&self) -> bool {
        self.wires().answers.is_none()
    }

    /// Ends the bus without pulling the cable: the host has closed the device.
    pub(super) fn end(&self) {
        self.wires().answers = None;
    }

    fn wires(&self) -> MutexGuard<'_, Wires> {
        self.0.lock().expect("no holder of the wires panics")
    }
}

impl Wires {
    fn answer(&self, bytes: Vec<u8>) {
        if let Some(answers) = &self.answers {
            // The session may have ended in this moment: then nobody reads.
            let _ = answers.send(bytes);
        }
    }

    fn cut(&mut self) {
        // A dead bus belongs to a host that is gone: the cable may serve another by now.
        if self.answers.take().is_some() {
            self.on_bus.store(false, Ordering::Release);
            self.ended.cancel();
        }
    }

    fn complete(&mut self, wanted: Wanted, status: i32) {
        match wanted.cut {
            true => self.cut(),
            false => self.answer(wire::submitted(wanted.sequence, status, wanted.got.len(), &wanted.got)),
        }
    }

    /// Moves packets into the transfers that wait for them. A transfer ends with a short packet or when it is full.
    fn pump(&mut self, endpoint: u8) {
        while !self.halted.contains(&endpoint) && self.answers.is_some() {
            let Some(wire) = self.endpoints.get_mut(&endpoint) else { return };
            let Some(wanted) = wire.wanted.front_mut() else { return };
            let Some(packet) = wire.packets.pop_front() else { return };
            let room = wanted.length - wanted.got.len();
            wanted.got.extend_from_slice(&packet[..packet.len().min(room)]);
            let status = if packet.len() > room { OVERFLOW } else { OK };
            let ended = packet.len() < wire.max_packet_size || wanted.got.len() == wanted.length;
            if ended && let Some(wanted) = wire.wanted.pop_front() {
                self.complete(wanted, status);
            }
        }
    }
}
