//! What the Linux kernel sees on a bus: `/dev/usbmonN`, read packet by packet.

use super::{CaptureError, Packet, Slot};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Room for one packet: more than the kernel keeps of a transfer.
const ROOM: usize = 1 << 20;
/// Packets that wait to be sorted.
const WAITING: usize = 4096;

/// The packets of a bus, as they come.
pub struct Usbmon {
    bus: u16,
    port: String,
    packets: mpsc::Receiver<Result<Packet, CaptureError>>,
}

impl Usbmon {
    /// Opens the bus of a port of this computer.
    ///
    /// # Errors
    /// What is missing: the module, the right, or that the port is not of this computer.
    pub fn open(slot: &Slot) -> Result<Self, CaptureError> {
        let elsewhere = || CaptureError::Elsewhere { slot: slot.clone() };
        let port = slot.to_string();
        let bus = slot.system_bus().and_then(|bus| bus.parse::<u16>().ok()).ok_or_else(elsewhere)?;
        let path = PathBuf::from(format!("/dev/usbmon{bus}"));
        let file = File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => CaptureError::NoModule { path: path.clone() },
            io::ErrorKind::PermissionDenied => CaptureError::NotAllowed { path: path.clone(), source },
            _ => CaptureError::Failed { path: path.clone(), source },
        })?;
        let (sender, packets) = mpsc::channel(WAITING);
        // A read waits for the next packet, however long that takes: nobody waits for this thread.
        std::thread::spawn(move || pump(file, &path, &sender));
        Ok(Self { bus, port, packets })
    }

    /// The bus.
    pub fn bus(&self) -> u16 {
        self.bus
    }

    /// The next packet; nothing once there can be no more. May be dropped while waiting.
    pub async fn next(&mut self) -> Option<Result<Packet, CaptureError>> {
        self.packets.recv().await
    }

    /// The numbers of the devices that are at the port and behind it now, and those of all others on the bus.
    pub fn numbers(&self) -> (BTreeSet<u8>, BTreeSet<u8>) {
        numbers_in(Path::new("/sys/bus/usb/devices"), self.bus, &self.port)
    }
}

fn pump(mut file: File, path: &Path, to: &mpsc::Sender<Result<Packet, CaptureError>>) {
    let mut room = vec![0; ROOM];
    loop {
        let read = match file.read(&mut room) {
            Ok(length) => Packet::read(&room[..length]).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let read = read.map_err(|source| CaptureError::Failed { path: path.to_owned(), source });
        let last = read.is_err();
        if to.blocking_send(read).is_err() || last {
            return;
        }
    }
}

fn numbers_in(devices: &Path, bus: u16, port: &str) -> (BTreeSet<u8>, BTreeSet<u8>) {
    let (mut ours, mut others) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(devices).into_iter().flatten().flatten() {
        let word = |name: &str| fs::read_to_string(entry.path().join(name)).ok();
        let number = |name: &str| word(name).and_then(|text| text.trim().parse::<u16>().ok());
        let (Some(of), Some(device)) = (number("busnum"), number("devnum").and_then(|it| u8::try_from(it).ok())) else {
            continue;
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        let behind = name == port || name.strip_prefix(port).is_some_and(|rest| rest.starts_with('.'));
        match of == bus {
            true if behind => ours.insert(device),
            true => others.insert(device),
            false => false,
        };
    }
    (ours, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_the_port_and_behind_it_is_told_from_its_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bus, device) in [("usb1", 1, 1), ("1-4", 1, 5), ("1-4.2", 1, 6), ("1-42", 1, 7), ("2-4", 2, 5)] {
            let device_folder = folder.path().join(name);
            fs::create_dir(&device_folder).unwrap();
            fs::write(device_folder.join("busnum"), format!("{bus}\n")).unwrap();
            fs::write(device_folder.join("devnum"), format!("{device}\n")).unwrap();
        }
        fs::create_dir(folder.path().join("1-4:1.0")).unwrap();
        let (ours, others) = numbers_in(folder.path(), 1, "1-4");
        assert_eq!((ours, others), (BTreeSet::from([5, 6]), BTreeSet::from([1, 7])));
    }

    #[test]
    fn a_port_of_another_computer_is_refused() {
        let refused = Usbmon::open(&"192.0.2.1/1-1".parse().unwrap()).map(|_| ()).unwrap_err();
        assert!(matches!(refused, CaptureError::Elsewhere { .. }));
    }
}
