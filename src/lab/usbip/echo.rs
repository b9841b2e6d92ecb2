//! A device that says back what it hears and errs on command: what a way to USB is tried with, in user space and on a
//! kernel.
//!
//! It has the interface class of a phone and speaks no protocol. It can be made for every speed that has bulk transfers, and
//! with a keyboard beside, which a kernel takes for one.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Bus, Descriptors, Device, Setup, Speed, Stall};

/// What is written here comes back on [`BULK_IN`], with a zero-length packet behind whole packets.
pub const BULK_OUT: u8 = 0x01;
/// Says back.
pub const BULK_IN: u8 = 0x81;
/// Gives reports when told to.
pub const INTERRUPT_IN: u8 = 0x82;
/// Never has anything to say.
pub const MUTE_IN: u8 = 0x83;
/// What is written here comes back on [`BULK_IN`] as it is, without an end of its own.
pub const RAW_OUT: u8 = 0x04;
/// What is written here is counted and gone.
pub const SINK_OUT: u8 = 0x05;
/// The keyboard's reports, on an interface of its own.
pub const KEYS_IN: u8 = 0x86;

/// The number of the keyboard's interface.
pub const KEYBOARD: u8 = 1;

/// Vendor request: the data written last, or for OUT the data to remember.
pub const REMEMBER: u8 = 1;
/// Vendor request: an interrupt report of `value` bytes.
pub const REPORT: u8 = 2;
/// Vendor request: halts the endpoint `index`.
pub const HALT: u8 = 3;
/// Vendor request: sends `value` bytes on [`BULK_IN`], and no zero-length packet.
pub const SEND: u8 = 4;
/// Vendor request: sends `value` KiB on [`BULK_IN`], and no zero-length packet.
pub const SEND_KIB: u8 = 5;

/// Class, subclass and protocol of the interface that says back.
pub const INTERFACE: (u8, u8, u8) = (0xff, 0x54, 0x01);

/// A keyboard of eight bytes a report, as the HID specification has it in appendix B.
#[rustfmt::skip]
const KEYBOARD_REPORT: [u8; 45] = [
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01,             // generic desktop, keyboard, application
    0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, // modifier keys
    0x25, 0x01, 0x75, 0x01, 0x95, 0x08, 0x81, 0x02,
    0x95, 0x01, 0x75, 0x08, 0x81, 0x01,             // a byte that is kept
    0x95, 0x06, 0x75, 0x08, 0x15, 0x00, 0x25, 0x65, // six keys
    0x05, 0x07, 0x19, 0x00, 0x29, 0x65, 0x81, 0x00,
    0xc0,
];

/// Says back every transfer.
pub struct Echo {
    descriptors: Descriptors,
    packet: usize,
    bus: Option<Bus>,
    remembered: Vec<u8>,
    log: Log,
}

/// What happened to the device, for the test that plugged it in.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    /// In the order of their happening.
    pub fn entries(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, entry: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }
}

impl Echo {
    /// At high speed, with this serial number.
    pub fn new(serial: &str) -> Self {
        Self::at(Speed::High, serial)
    }

    /// At this speed, which has bulk transfers.
    pub fn at(speed: Speed, serial: &str) -> Self {
        let (packet, packet_zero, version) = match speed {
            Speed::Low | Speed::Full => (64_u16, 64, 0x0200_u16),
            Speed::High => (512, 64, 0x0201),
            // 2 to the 9th.
            Speed::Super => (1024, 9, 0x0300),
        };
        let mut configuration = vec![9, 2, 0, 0, 1, 1, 0, 0xc0, 50];
        configuration.extend([9, 4, 0, 0, 6, INTERFACE.0, INTERFACE.1, INTERFACE.2, 0]);
        for (address, attributes, size) in [
            (BULK_OUT, 2, packet),
            (BULK_IN, 2, packet),
            (INTERRUPT_IN, 3, 64),
            (MUTE_IN, 2, packet),
            (RAW_OUT, 2, packet),
            (SINK_OUT, 2, packet),
        ] {
            let [low, high] = size.to_le_bytes();
            configuration.extend([7, 5, address, attributes, low, high, 4]);
            if speed == Speed::Super {
                let [interval_low, interval_high] = if attributes == 3 { size.to_le_bytes() } else { [0, 0] };
                configuration.extend([6, 0x30, 0, 0, interval_low, interval_high]);
            }
        }
        let [v0, v1] = version.to_le_bytes();
        let device = [18, 1, v0, v1, 0, 0, 0, packet_zero, 0x09, 0x12, 0x01, 0x00, 0x50, 0x01, 1, 2, 3, 1];
        let strings = ["Acme", "Echo ☎", serial].map(str::to_owned).to_vec();
        // USB 2.0 extension; and what a super speed device says of itself.
        let bos = match speed {
            Speed::Low | Speed::Full => None,
            Speed::High => Some(vec![5, 15, 12, 0, 1, 7, 16, 2, 2, 0, 0, 0]),
            Speed::Super => Some(vec![5, 15, 22, 0, 2, 7, 16, 2, 2, 0, 0, 0, 10, 16, 3, 0, 0x0e, 0, 1, 10, 0xff, 0x07]),
        };
        let descriptors = Descriptors { device, configuration, bos, strings, speed };
        let mut echo =
            Self { descriptors, packet: packet.into(), bus: None, remembered: Vec::new(), log: Log::default() };
        echo.write_length();
        echo
    }

    /// With a keyboard beside.
    #[must_use]
    pub fn with_keyboard(mut self) -> Self {
        let [low, high] = (KEYBOARD_REPORT.len() as u16).to_le_bytes();
        let configuration = &mut self.descriptors.configuration;
        configuration[4] += 1;
        configuration.extend([9, 4, KEYBOARD, 0, 1, 0x03, 0x01, 0x01, 0]);
        configuration.extend([9, 0x21, 0x11, 0x01, 0, 1, 0x22, low, high]);
        configuration.extend([7, 5, KEYS_IN, 3, 8, 0, 8]);
        if self.descriptors.speed == Speed::Super {
            configuration.extend([6, 0x30, 0, 0, 8, 0]);
        }
        self.write_length();
        self
    }

    /// What happens to the device.
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    fn write_length(&mut self) {
        let [low, high] = (self.descriptors.configuration.len() as u16).to_le_bytes();
        self.descriptors.configuration[2..4].copy_from_slice(&[low, high]);
    }

    /// What the keyboard is asked, where a request is for it.
    fn keyboard(setup: &Setup) -> Option<Result<Vec<u8>, Stall>> {
        if setup.index != u16::from(KEYBOARD) || setup.request_type & 0x1f != 1 {
            return None;
        }
        match (setup.request_type, setup.request) {
            (0x81, 6) if setup.value >> 8 == 0x22 => Some(Ok(KEYBOARD_REPORT.to_vec())),
            // Get report; set report (its lights), idle and protocol.
            (0xa1, 1) => Some(Ok(vec![0; 8])),
            (0x21, 9..=11) => Some(Ok(Vec::new())),
            _ => Some(Err(Stall)),
        }
    }

    fn bus(&self) -> &Bus {
        self.bus.as_ref().expect("a device is only called while attached")
    }
}

/// A pattern that shows lost, doubled and swapped bytes.
pub fn pattern(length: usize) -> Vec<u8> {
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
        if let Some(answer) = Self::keyboard(setup) {
            return answer;
        }
        match (setup.request, setup.is_in()) {
            (REMEMBER, true) => return Ok(self.remembered.clone()),
            (REMEMBER, false) => {
                self.log.add("remembered");
                self.remembered = data.to_vec();
            }
            (REPORT, false) => self.bus().send(INTERRUPT_IN, pattern(setup.value.into())),
            (SEND, false) => self.bus().send(BULK_IN, pattern(setup.value.into())),
            (SEND_KIB, false) => self.bus().send(BULK_IN, pattern(usize::from(setup.value) << 10)),
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
        if endpoint == SINK_OUT {
            return Ok(());
        }
        self.bus().send(BULK_IN, data.to_vec());
        if endpoint == BULK_OUT && !data.is_empty() && data.len().is_multiple_of(self.packet) {
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
