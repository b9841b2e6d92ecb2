//! A packet of usbmon: 48 bytes of header in the computer's own byte order, then the data (link type 189, USB_LINUX).

use std::time::Duration;

/// Length of the header.
pub(super) const HEADER: usize = 48;

/// One event of one transfer: submitted, completed, or refused by the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet(Vec<u8>);

/// What a header says, for one that is made here.
pub(super) struct Header {
    /// The transfer.
    pub(super) id: u64,
    /// `S` submitted, `C` completed, `E` refused.
    pub(super) event: u8,
    /// 0 isochronous, 1 interrupt, 2 control, 3 bulk.
    pub(super) transfer: u8,
    /// With bit 7 for an endpoint that the host reads.
    pub(super) endpoint: u8,
    pub(super) device: u8,
    pub(super) bus: u16,
    pub(super) time: Duration,
    /// Negative: an error number of Linux.
    pub(super) status: i32,
    /// How long the transfer is, or was to be.
    pub(super) length: u32,
    pub(super) setup: Option<[u8; 8]>,
}

impl Packet {
    /// What was read of usbmon; nothing where it is shorter than a header.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= HEADER).then(|| Self(bytes.to_vec()))
    }

    pub(super) fn made(header: &Header, data: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(HEADER + data.len());
        bytes.extend(header.id.to_ne_bytes());
        bytes.extend([header.event, header.transfer, header.endpoint, header.device]);
        bytes.extend(header.bus.to_ne_bytes());
        // 0: there is a setup; 0: there is data. Otherwise a character says why not.
        let none = if header.endpoint & 0x80 == 0 { b'>' } else { b'<' };
        bytes.extend([if header.setup.is_some() { 0 } else { b'-' }, if data.is_empty() { none } else { 0 }]);
        bytes.extend((header.time.as_secs() as i64).to_ne_bytes());
        bytes.extend((header.time.subsec_micros() as i32).to_ne_bytes());
        bytes.extend(header.status.to_ne_bytes());
        bytes.extend(header.length.to_ne_bytes());
        bytes.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_ne_bytes());
        bytes.extend(header.setup.unwrap_or_default());
        bytes.extend(data);
        Self(bytes)
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bus it was on.
    pub fn bus(&self) -> u16 {
        u16::from_ne_bytes(self.part(12))
    }

    /// The device's number on the bus.
    pub fn device(&self) -> u8 {
        self.part::<1>(11)[0]
    }

    /// `bEndpointAddress`.
    pub fn endpoint(&self) -> u8 {
        self.part::<1>(10)[0]
    }

    /// 0 isochronous, 1 interrupt, 2 control, 3 bulk.
    pub fn transfer(&self) -> u8 {
        self.part::<1>(9)[0]
    }

    /// `S` submitted, `C` completed, `E` refused.
    pub fn event(&self) -> u8 {
        self.part::<1>(8)[0]
    }

    /// When, since 1970.
    pub fn time(&self) -> Duration {
        let seconds = u64::try_from(i64::from_ne_bytes(self.part(16))).unwrap_or_default();
        let micros = u32::try_from(i32::from_ne_bytes(self.part(24))).unwrap_or_default();
        Duration::from_secs(seconds) + Duration::from_micros(micros.into())
    }

    /// How long the transfer is, or was to be, without the header.
    pub fn length(&self) -> u32 {
        u32::from_ne_bytes(self.part(32))
    }

    /// The data that was kept.
    pub fn data(&self) -> &[u8] {
        self.0.get(HEADER..).unwrap_or_default()
    }

    fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_packet_that_is_made_reads_as_it_was_meant() {
        let time = Duration::from_micros(1_700_000_000_000_007);
        let header = Header {
            id: 9,
            event: b'C',
            transfer: 3,
            endpoint: 0x81,
            device: 5,
            bus: 2,
            time,
            status: -32,
            length: 512,
            setup: None,
        };
        let packet = Packet::made(&header, b"data");
        assert_eq!(Packet::read(packet.bytes()).as_ref(), Some(&packet));
        assert_eq!((packet.bus(), packet.device(), packet.endpoint(), packet.transfer()), (2, 5, 0x81, 3));
        assert_eq!((packet.event(), packet.time(), packet.length(), packet.data()), (b'C', time, 512, &b"data"[..]));
        assert_eq!(packet.bytes().len(), HEADER + 4);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_packet_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Some(packet) = Packet::read(&bytes) {
                let _ = (packet.bus(), packet.device(), packet.time(), packet.length(), packet.data());
            }
        }
    }
}
