//! USB/IP with peers that are not ours: the kernel's client at the lab's server, and our client at the kernel's server.

use super::desk::{Desk, Kind, Way};
use super::guest;
use super::usbipd::{KernelAttached, usbip};

#[test]
fn the_kernels_own_client_lists_and_attaches_a_phone_of_the_labs_server() {
    let desk = Desk::with(Way::UsbIp, Kind::Virtual);
    let port = desk.world().lab.usbip().port();
    let listed = usbip(&["--tcp-port", &port.to_string(), "list", "-r", "127.0.0.1"]);
    assert!(listed.contains("1-1:") && listed.contains("(1209:0001)"), "{listed}");

    let attached = KernelAttached::from(port, "1-1");
    let device = guest::plugged().pop().unwrap();
    assert_eq!(guest::attribute(&device, "serial").as_deref(), Some("LAB00001"));
    drop(attached);
    guest::wait_for("the kernel to let go of the device", || guest::plugged().is_empty().then_some(()));
}

#[test]
fn a_phone_that_the_kernels_own_client_attached_is_provisioned_over_the_kernels_bus() {
    let mut server = Desk::with(Way::UsbIp, Kind::Virtual);
    let _attached = KernelAttached::from(server.world().lab.usbip().port(), "1-1");
    for way in [Way::Nusb, Way::Libusb] {
        let done = server.seen_by(way, |desk| desk.provision(&["--renew"]));
        assert_eq!((done.code, &done.last()["outcome"]), (0, &"done".into()), "{way:?}: {}", done.whole());
    }
}

#[test]
fn a_device_that_the_kernel_exports_is_listed_and_described_and_belongs_to_one_host_at_a_time() {
    let desk = Desk::with(Way::UsbIp, Kind::Gadget);
    let listed = desk.list();
    assert_eq!((listed.code, &listed.lines()[0]["vendor_id"]), (0, &"1209".into()), "{}", listed.whole());
    for _ in 0..3 {
        let info = desk.info();
        assert_eq!((info.code, &info.last()["identity"]["serial"]), (0, &"BOARD001".into()), "{}", info.whole());
    }
}
