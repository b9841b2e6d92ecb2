//! The phone's USB side: status and reset on the control pipe, frames on the bulk pipes.

use super::VirtualPhone;
use super::descriptors::{BULK_IN, BULK_OUT, PACKET_BYTES, WINDOWS_VENDOR_CODE, windows_descriptor_set};
use super::engine::{Engine, Input, Line};
use crate::lab::usbip::{Bus, Descriptors, Device, Setup, Stall};
use crate::phone::tether::frames::{HEADER_BYTES, MAX_BODY_BYTES, REQUEST_RESET, REQUEST_STATUS};
use std::sync::Arc;
use tokio::sync::mpsc;

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
    line: Arc<Line>,
    inputs: mpsc::UnboundedSender<Input>,
    /// Bytes of a frame that no short packet has ended yet.
    partial: Vec<u8>,
}

impl TetherDevice {
    pub(super) fn new(phone: VirtualPhone) -> Self {
        let (descriptors, interface) = {
            let material = &phone.lock().material;
            (super::tether_descriptors(material), material.interface)
        };
        Self { phone, interface, descriptors, attached: None }
    }
}

impl Attached {
    /// Ends what was; with epoch 0 until the host's next reset.
    fn begin_epoch(&mut self, epoch: u16) {
        self.line.begin_epoch(epoch);
        self.partial.clear();
        self.bus.flush(BULK_IN);
        let _ = self.inputs.send(Input::Reset);
    }
}

impl Device for TetherDevice {
    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn attached(&mut self, bus: Bus) {
        let (inputs, queue) = mpsc::unbounded_channel();
        let line = Arc::new(Line::default());
        let engine = Engine::new(self.phone.clone(), bus.clone(), line.clone(), queue);
        tokio::spawn(engine.run());
        self.attached = Some(Attached { bus, line, inputs, partial: Vec::new() });
    }

    fn control(&mut self, setup: &Setup, _data: &[u8]) -> Result<Vec<u8>, Stall> {
        let here = setup.index == u16::from(self.interface);
        let attached = self.attached.as_mut().ok_or(Stall)?;
        match (setup.request_type, setup.request) {
            (0xc1, REQUEST_STATUS) if here => Ok(attached.line.status(&self.phone).encode().to_vec()),
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
        // One byte more than the longest frame is enough to know that it is too long; the rest is let go.
        let room = (HEADER_BYTES + MAX_BODY_BYTES + 1).saturating_sub(attached.partial.len());
        attached.partial.extend(&data[..data.len().min(room)]);
        if !data.len().is_multiple_of(usize::from(PACKET_BYTES)) || data.is_empty() {
            let frame = std::mem::take(&mut attached.partial);
            let _ = attached.inputs.send(Input::Frame { epoch: attached.line.epoch(), bytes: frame });
        }
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
