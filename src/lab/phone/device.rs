//! The phone's USB side: status and reset on the control pipe, frames on the bulk pipes.

use super::descriptors::{BULK_IN, BULK_OUT, PACKET_BYTES, WINDOWS_VENDOR_CODE, windows_descriptor_set};
use super::{Lies, Shared, VirtualPhone};
use crate::device::{Cable, Socket};
use crate::lab::usbip::{Bus, Descriptors, Device, Setup, Stall};
use crate::phone::tether::frames::{Frame, FrameKind, REQUEST_RESET, REQUEST_STATUS};
use std::sync::{Arc, Mutex};

/// The phone as a USB device.
pub struct TetherDevice {
    phone: VirtualPhone,
    /// Number of the tether interface.
    interface: u8,
    descriptors: Descriptors,
    attached: Option<Attached>,
}

struct Attached {
    bus: Bus,
    socket: Socket,
}

impl TetherDevice {
    pub(super) fn new(phone: VirtualPhone) -> Self {
        let (descriptors, interface) = {
            let material = &phone.phone.lock().material;
            (super::tether_descriptors(material, &phone.extras()), material.interface)
        };
        Self { phone, interface, descriptors, attached: None }
    }
}

impl Attached {
    /// Ends what was; with epoch 0 until the host's next reset.
    fn begin_epoch(&mut self, epoch: u16) {
        self.socket.begin_epoch(epoch);
        self.bus.flush(BULK_IN);
    }
}

impl Device for TetherDevice {
    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn attached(&mut self, bus: Bus) {
        let cable = UsbCable { bus: bus.clone(), lies: self.phone.lies.clone() };
        self.attached = Some(Attached { bus, socket: Socket::new(self.phone.phone.clone(), cable) });
    }

    fn control(&mut self, setup: &Setup, _data: &[u8]) -> Result<Vec<u8>, Stall> {
        let here = setup.index == u16::from(self.interface);
        let attached = self.attached.as_mut().ok_or(Stall)?;
        match (setup.request_type, setup.request) {
            (0xc1, REQUEST_STATUS) if here => Ok(attached.socket.status().encode().to_vec()),
            (0x41, REQUEST_RESET) if here && setup.value != 0 && setup.length == 0 => {
                attached.begin_epoch(setup.value);
                Ok(Vec::new())
            }
            (0xc0, WINDOWS_VENDOR_CODE) if setup.index == 7 => Ok(windows_descriptor_set(Some(self.interface))),
            _ => Err(Stall),
        }
    }

    fn transfer_out(&mut self, endpoint: u8, data: &[u8]) -> Result<(), Stall> {
        let attached = self.attached.as_mut().ok_or(Stall)?;
        if endpoint != BULK_OUT {
            return Err(Stall);
        }
        let ended = !data.len().is_multiple_of(usize::from(PACKET_BYTES)) || data.is_empty();
        attached.socket.arrived(data, ended);
        Ok(())
    }

    fn configured(&mut self, interface: Option<u8>) {
        if let Some(attached) = &mut self.attached
            && interface.is_none_or(|number| number == self.interface)
        {
            attached.begin_epoch(0);
        }
    }

    fn halt_cleared(&mut self, _endpoint: u8) {}

    fn detached(&mut self) {
        self.attached = None;
    }
}

/// The bulk pipe to the host, with what a broken phone does to what goes through it.
struct UsbCable {
    bus: Bus,
    lies: Arc<Mutex<Lies>>,
}

impl Cable for UsbCable {
    fn send(&self, mut frame: Frame) {
        let lies = *self.lies.held();
        if lies.keeps_an_armed_packet && frame.kind == FrameKind::HelloAnswer {
            self.bus.send(BULK_IN, vec![FrameKind::Answer as u8; PACKET_BYTES.into()]);
            self.bus.send(BULK_IN, Vec::new());
        }
        if lies.garbles_answers
            && frame.kind == FrameKind::Answer
            && let Some(first) = frame.body.first_mut()
        {
            *first ^= 1;
        }
        let bytes = frame.encode();
        let zero_packet = Frame::needs_zero_packet(bytes.len(), usize::from(PACKET_BYTES));
        self.bus.send(BULK_IN, bytes);
        if zero_packet {
            self.bus.send(BULK_IN, Vec::new());
        }
    }
}
