//! The promises of every way to a USB device, on the kernel's bus, by each library; and what only a kernel has: drivers.

use super::guest;
use super::promises::{self, Bench};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tethercert::lab::usbip::echo::{Echo, KEYBOARD, KEYS_IN};
use tethercert::lab::usbip::{Exporter, Speed};
use tethercert::usb::{Usb, UsbError, UsbLibrary};

async fn bench(library: UsbLibrary, speed: Speed) -> Bench {
    attached(library, speed, Echo::at(speed, promises::SERIAL)).await
}

/// With a device on the kernel's bus.
pub async fn attached(library: UsbLibrary, speed: Speed, echo: Echo) -> Bench {
    guest::here();
    let (exporter, usb) = (Exporter::start().await.unwrap(), Usb::by(library).unwrap());
    let mut bench = Bench::with(exporter, usb, speed, echo).await;
    bench.attachment = Some(bench.exporter.attach(promises::PORT).unwrap());
    bench
}

mod nusb {
    use super::*;
    promises::promises!(bench(UsbLibrary::System, Speed::High));

    #[test]
    fn a_keyboard_is_taken_from_its_driver_and_given_back() {
        keyboard(UsbLibrary::System);
    }
}

mod libusb {
    use super::*;
    promises::promises!(bench(UsbLibrary::Libusb, Speed::High));

    #[test]
    fn a_keyboard_is_taken_from_its_driver_and_given_back() {
        keyboard(UsbLibrary::Libusb);
    }
}

/// What depends on the size of packets, with the larger ones.
mod super_speed {
    use super::*;

    mod nusb {
        use super::*;
        promises::promises! { bench(UsbLibrary::System, Speed::Super);
            a_transfer_comes_back_whole_whatever_its_length
            a_stream_arrives_whole_and_in_order_with_several_transfers_under_way
            raw_data_comes_in_the_pieces_that_are_asked_for
        }
    }

    mod libusb {
        use super::*;
        promises::promises! { bench(UsbLibrary::Libusb, Speed::Super);
            a_transfer_comes_back_whole_whatever_its_length
            a_stream_arrives_whole_and_in_order_with_several_transfers_under_way
            raw_data_comes_in_the_pieces_that_are_asked_for
        }
    }
}

/// And at full speed, with the smaller.
mod full_speed {
    use super::*;
    promises::promises! { bench(UsbLibrary::System, Speed::Full);
        a_transfer_comes_back_whole_whatever_its_length
    }
}

fn keyboard(library: UsbLibrary) {
    guest::here();
    let loaded = Command::new("/sbin/modprobe").args(["-a", "usbhid", "hid-generic"]).status().unwrap();
    assert!(loaded.success());
    promises::keep(|| async {
        let echo = Echo::new(promises::SERIAL).with_keyboard();
        let bench = attached(library, Speed::High, echo).await;
        let device = bench.device().await;
        let driver = || driver(&format!("{}:1.{KEYBOARD}", device.slot));
        guest::wait_for("the kernel to take the keyboard for one", || driver().filter(|it| it == "usbhid"));
        let mut link = bench.usb.open(&device, KEYBOARD).await.unwrap();
        assert_ne!(driver().as_deref(), Some("usbhid"));
        let error = link.interrupt_in(KEYS_IN, 8, Duration::from_millis(100)).await.unwrap_err();
        assert!(matches!(error, UsbError::TimedOut { .. }), "{error}");
        drop(link);
        guest::wait_for("the keyboard to be given back", || driver().filter(|it| it == "usbhid"));
        // The interface beside it was nobody's, and takes nothing away.
        let mut link = bench.link().await;
        assert_eq!(driver().as_deref(), Some("usbhid"));
        assert_eq!(promises::echo(&mut link, b"hello").await.unwrap(), b"hello");
        drop(link);
        bench.end().await;
    });
}

/// The driver of an interface, such as `1-1:1.0`.
fn driver(interface: &str) -> Option<String> {
    let link = fs::read_link(Path::new("/sys/bus/usb/devices").join(interface).join("driver")).ok()?;
    Some(link.file_name()?.to_str()?.to_owned())
}
