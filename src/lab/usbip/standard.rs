//! The requests of the USB specification that the bus answers for every device, out of its descriptors.

use super::bus::Bus;
use super::device::{Descriptors, Setup, Stall};

/// What the specification leaves to this layer, as long as one host has the device.
#[derive(Debug)]
pub(super) struct Standing {
    /// The active configuration, 0 for none.
    pub(super) configuration: u8,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Handled {
    /// It is answered.
    Here(Result<Vec<u8>, Stall>),
    /// It is answered, and the device should know that the endpoint's halt is over.
    HaltCleared(u8),
    /// It is answered, and the device should know that the configuration was set, or this interface.
    Configured(Option<u8>),
    /// Only the device can answer.
    Device,
}

const GET_STATUS: u8 = 0;
const CLEAR_FEATURE: u8 = 1;
const SET_FEATURE: u8 = 3;
const SET_ADDRESS: u8 = 5;
const GET_DESCRIPTOR: u8 = 6;
const GET_CONFIGURATION: u8 = 8;
const SET_CONFIGURATION: u8 = 9;
const GET_INTERFACE: u8 = 10;
const SET_INTERFACE: u8 = 11;

impl Standing {
    pub(super) fn handle(&mut self, setup: &Setup, descriptors: &Descriptors, bus: &Bus) -> Handled {
        const DEVICE: u8 = 0;
        const INTERFACE: u8 = 1;
        const ENDPOINT: u8 = 2;
        if setup.request_type & 0x60 != 0 {
            return Handled::Device;
        }
        let endpoint = setup.index.to_le_bytes()[0];
        let known = bus.has(endpoint);
        let done = Handled::Here(Ok(Vec::new()));
        match (setup.request_type & 0x1f, setup.request) {
            (DEVICE, GET_DESCRIPTOR) => Handled::Here(descriptor(setup, descriptors)),
            (DEVICE | INTERFACE, GET_STATUS) => Handled::Here(Ok(vec![0, 0])),
            (ENDPOINT, GET_STATUS) if known => Handled::Here(Ok(vec![u8::from(bus.is_halted(endpoint)), 0])),
            (ENDPOINT, CLEAR_FEATURE) if known && setup.value == 0 => {
                bus.clear_halt(Some(endpoint));
                Handled::HaltCleared(endpoint)
            }
            (ENDPOINT, SET_FEATURE) if known && setup.value == 0 => {
                bus.stall(endpoint);
                done
            }
            (DEVICE, SET_ADDRESS) => done,
            (DEVICE, GET_CONFIGURATION) => Handled::Here(Ok(vec![self.configuration])),
            (DEVICE, SET_CONFIGURATION) => {
                let wanted = setup.value.to_le_bytes()[0];
                if wanted != 0 && wanted != descriptors.configuration_value() {
                    return Handled::Here(Err(Stall));
                }
                self.configuration = wanted;
                bus.clear_halt(None);
                Handled::Configured(None)
            }
            (INTERFACE, GET_INTERFACE) => Handled::Here(Ok(vec![0])),
            (INTERFACE, SET_INTERFACE) if setup.value == 0 => {
                bus.clear_halt(None);
                Handled::Configured(Some(endpoint))
            }
            (INTERFACE, GET_DESCRIPTOR) => Handled::Device,
            _ => Handled::Here(Err(Stall)),
        }
    }
}

fn descriptor(setup: &Setup, descriptors: &Descriptors) -> Result<Vec<u8>, Stall> {
    let [number, kind] = setup.value.to_le_bytes();
    match (kind, number) {
        (1, _) => Ok(descriptors.device.to_vec()),
        (2, 0) => Ok(descriptors.configuration.clone()),
        (3, 0) => Ok(vec![4, 3, 0x09, 0x04]),
        (3, _) => {
            let text = descriptors.strings.get(usize::from(number) - 1).ok_or(Stall)?;
            // One byte says the length: 126 units of UTF-16 fit.
            let units: Vec<u8> = text.encode_utf16().take(126).flat_map(u16::to_le_bytes).collect();
            let length = u8::try_from(units.len() + 2).expect("126 units and a header fit");
            Ok([vec![length, 3], units].concat())
        }
        (15, 0) => descriptors.bos.clone().ok_or(Stall),
        _ => Err(Stall),
    }
}
