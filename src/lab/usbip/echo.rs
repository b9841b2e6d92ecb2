//! A device for the tests of this folder and of the client: it says back what it hears, and errs on command.

use std::sync::{Arc, Mutex};

use super::{Bus, Descriptors, Device, Setup, Speed, Stall};

pub(crate) const BULK_OUT: u8 = 0x01;
pub(crate) const BULK_IN: u8 = 0x81;
pub(crate) const INTERRUPT_IN: u8 = 0x82;
/// Never has anything to say.
pub(crate) const MUTE_IN: u8 = 0x83;
/// What is written here comes back on `BULK_IN` as it is, without an end of its own.
pub(crate) const RAW_OUT: u8 = 0x04;

/// Vendor request: the data written last, or for OUT the data to remember.
pub(crate) const REMEMBER: u8 = 1;
/// Vendor request: an interrupt report of `value` bytes.
pub(crate) const REPORT: u8 = 2;
/// Vendor request: halts the endpoint `index`.
pub(crate) const HALT: u8 = 3;
/// Vendor request: sends `value` bytes on `BULK_IN`, and no zero-length packet.
pub(crate) const SEND: u8 = 4;

/// Says back every transfer on `BULK_OUT`, with a zero-length packet behind whole packets.
pub(crate) struct Echo {
    descriptors: Descriptors,
    bus: Option<Bus>,
    remembered: Vec<u8>,
    log: Log,
}

/// What happened to the device, for the test that plugged it in.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    pub(crate) fn entries(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }

    fn add(&self, entry: &'static str) {
        self.0.lock().unwrap().push(entry);
    }
}

impl Echo {
    pub(crate) fn new(serial: &str) -> Self {
        let mut configuration = vec![9, 2, 0, 0, 1, 1, 0, 0xc0, 50];
        configuration.extend([9, 4, 0, 0, 5, 0xff, 0x54, 0x01, 0]);
        for (address, attributes, size) in
            [(BULK_OUT, 2, 512_u16), (BULK_IN, 2, 512), (INTERRUPT_IN, 3, 64), (MUTE_IN, 2, 512), (RAW_OUT, 2, 512)]
        {
            let [low, high] = size.to_le_bytes();
            configuration.extend([7, 5, address, attributes, low, high, 4]);
        }
        configuration[2] = configuration.len() as u8;
        let device = [18, 1, 1, 2, 0, 0, 0, 64, 0x09, 0x12, 0x01, 0x00, 0x50, 0x01, 1, 2, 3, 1];
        let strings = ["Acme", "Echo ☎", serial].map(str::to_owned).to_vec();
        let bos = Some(vec![5, 15, 12, 0, 1, 7, 16, 2, 2, 0, 0, 0]);
        let descriptors = Descriptors { device, configuration, bos, strings, speed: Speed::High };
        Self { descriptors, bus: None, remembered: Vec::new(), log: Log::default() }
    }

    pub(crate) fn log(&self) -> Log {
        self.log.clone()
    }

    fn bus(&self) -> &Bus {
        self.bus.as_ref().expect("a device is only called while attached")
    }
}

/// A pattern that shows lost, doubled and swapped bytes.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

impl Device for Echo {
    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn attached(&mut self, bus: Bus) {
        self.log.add("attached");
        self.bus = Some(bus);
    }

    fn control(&mut self, setup: &Setup, data: &[u8]) -> Result<Vec<u8>, Stall> {
        match (setup.request, setup.is_in()) {
            (REMEMBER, true) => return Ok(self.remembered.clone()),
            (REMEMBER, false) => {
                self.log.add("remembered");
                self.remembered = data.to_vec();
            }
            (REPORT, false) => self.bus().send(INTERRUPT_IN, pattern(setup.value.into())),
            (SEND, false) => self.bus().send(BULK_IN, pattern(setup.value.into())),
            (HALT, false) => self.bus().stall(setup.index as u8),
            _ => return Err(Stall),
        }
        Ok(Vec::new())
    }

    fn transfer_out(&mut self, endpoint: u8, data: &[u8]) -> Result<(), Stall> {
        self.log.add("out");
        if data == b"refuse this" {
            return Err(Stall);
        }
        self.bus().send(BULK_IN, data.to_vec());
        if endpoint == BULK_OUT && !data.is_empty() && data.len().is_multiple_of(512) {
            self.bus().send(BULK_IN, Vec::new());
        }
        Ok(())
    }

    fn halt_cleared(&mut self, _endpoint: u8) {
        self.log.add("halt cleared");
    }

    fn detached(&mut self) {
        self.log.add("detached");
        self.bus = None;
    }
}
