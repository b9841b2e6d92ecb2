//! A pcapng file of USB packets, with remarks.

use super::{CaptureError, Packet};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, Endianness, PcapError};
use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A capture that is being written. Its owner alone may read it.
pub struct CaptureFile {
    path: PathBuf,
    writer: PcapNgWriter<BufWriter<File>>,
    /// Remarks that go with the next packet.
    remarks: Vec<String>,
    packets: u64,
}

impl CaptureFile {
    /// Begins a new file. `interface` and `about` say where the traffic is from, `remark` what a reader should know.
    ///
    /// # Errors
    /// [`CaptureError::NotWritten`], also where there is a file already.
    pub fn create(path: &Path, interface: &str, about: &str, remark: &str) -> Result<Self, CaptureError> {
        let failed = |source| CaptureError::NotWritten { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(failed)?;
        let section = SectionHeaderBlock {
            endianness: Endianness::native(),
            options: vec![
                SectionHeaderOption::OS(Cow::Borrowed(std::env::consts::OS)),
                SectionHeaderOption::UserApplication(Cow::Borrowed(concat!("tethercert ", env!("CARGO_PKG_VERSION")))),
                SectionHeaderOption::Comment(Cow::Owned(remark.to_owned())),
            ],
            ..SectionHeaderBlock::default()
        };
        let not_written = |error| failed(input_output(error));
        let mut writer = PcapNgWriter::with_section_header(BufWriter::new(file), section).map_err(not_written)?;
        let description = InterfaceDescriptionBlock {
            linktype: DataLink::USB_LINUX,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Owned(interface.to_owned())),
                InterfaceDescriptionOption::IfDescription(Cow::Owned(about.to_owned())),
                // Nanoseconds: what the writer counts in.
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        };
        writer.write_pcapng_block(description).map_err(not_written)?;
        Ok(Self { path: path.to_owned(), writer, remarks: Vec::new(), packets: 0 })
    }

    /// A remark of the technician's: it goes with the next packet.
    pub fn remark(&mut self, text: &str) {
        self.remarks.push(text.to_owned());
    }

    /// How many packets there are.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Writes a packet.
    ///
    /// # Errors
    /// [`CaptureError::NotWritten`].
    pub fn write(&mut self, packet: &Packet) -> Result<(), CaptureError> {
        let remarks = std::mem::take(&mut self.remarks);
        let kept = u32::try_from(packet.bytes().len()).unwrap_or(u32::MAX);
        let header = kept - u32::try_from(packet.data().len()).unwrap_or(kept);
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: packet.time(),
            original_len: kept.max(header.saturating_add(if packet.data().is_empty() { 0 } else { packet.length() })),
            data: Cow::Borrowed(packet.bytes()),
            options: remarks.into_iter().map(|remark| EnhancedPacketOption::Comment(Cow::Owned(remark))).collect(),
        };
        let written = self.writer.write_pcapng_block(block);
        written.map_err(|error| self.failed(input_output(error)))?;
        self.packets += 1;
        Ok(())
    }

    /// What is written is in the file, whatever happens next.
    ///
    /// # Errors
    /// [`CaptureError::NotWritten`].
    pub fn flush(&mut self) -> Result<(), CaptureError> {
        let flushed = self.writer.get_mut().flush();
        flushed.map_err(|error| self.failed(error))
    }

    /// Ends the file, with the remarks that no packet came after.
    ///
    /// # Errors
    /// [`CaptureError::NotWritten`].
    pub fn end(mut self) -> Result<(), CaptureError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let remarks = std::mem::take(&mut self.remarks);
        let block = InterfaceStatisticsBlock {
            interface_id: 0,
            timestamp: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            options: remarks.into_iter().map(|remark| InterfaceStatisticsOption::Comment(Cow::Owned(remark))).collect(),
        };
        let written = self.writer.write_pcapng_block(block);
        written.map_err(|error| self.failed(input_output(error)))?;
        self.flush()
    }

    fn failed(&self, source: io::Error) -> CaptureError {
        CaptureError::NotWritten { path: self.path.clone(), source }
    }
}

fn input_output(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::Header;
    use super::*;
    use pcap_file::pcapng::{Block, PcapNgReader};

    #[test]
    fn a_file_reads_back_with_its_packets_times_and_remarks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcapng");
        let time = Duration::from_micros(1_700_000_000_123_456);
        let header = Header {
            id: 1,
            event: b'C',
            transfer: 3,
            endpoint: 0x81,
            device: 5,
            bus: 1,
            time,
            status: 0,
            length: 3,
            setup: None,
        };
        let packet = Packet::made(&header, &[1, 2, 3]);
        let mut file = CaptureFile::create(&path, "usbmon1", "port 1-4", "may hold secrets").unwrap();
        file.write(&packet).unwrap();
        file.remark("now I press *");
        file.write(&packet).unwrap();
        file.remark("nothing happened");
        file.end().unwrap();
        let again = CaptureFile::create(&path, "usbmon1", "port 1-4", "").map(|_| ());
        assert!(again.unwrap_err().next_step().contains("never overwritten"));

        let mut reader = PcapNgReader::new(File::open(&path).unwrap()).unwrap();
        assert!(
            reader
                .section()
                .options
                .iter()
                .any(|it| matches!(it, SectionHeaderOption::Comment(text) if text == "may hold secrets"))
        );
        let (mut packets, mut remarks) = (Vec::new(), Vec::new());
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::InterfaceDescription(description) => assert_eq!(description.linktype, DataLink::USB_LINUX),
                Block::EnhancedPacket(block) => {
                    assert_eq!(block.timestamp, time);
                    packets.push(block.data.to_vec());
                    remarks.extend(block.options.iter().filter_map(|it| match it {
                        EnhancedPacketOption::Comment(text) => Some(text.to_string()),
                        _ => None,
                    }));
                }
                Block::InterfaceStatistics(statistics) => {
                    assert_eq!(statistics.options.len(), 1);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(packets, [packet.bytes(), packet.bytes()]);
        assert_eq!(remarks, ["now I press *"]);
    }
}
