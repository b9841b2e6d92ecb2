//! USB/IP with peers that are not ours: the kernel's client at the lab's server, and our client at the kernel's server.

use super::desk::{Desk, Kind, Way};
use super::guest;
use super::promises::{self, Bench};
use super::usbipd::{KernelAttached, usbip};
use tethercert::lab::usbip::echo::Echo;
use tethercert::lab::usbip::{Exporter, Speed};
use tethercert::usb::Usb;

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
fn a_phone_that_the_kernel_exports_is_listed_and_described_and_given_back_to_be_described_again() {
    let desk = Desk::with(Way::UsbIp, Kind::Gadget);
    let listed = desk.list();
    assert_eq!((listed.code, &listed.lines()[0]["vendor_id"]), (0, &"1209".into()), "{}", listed.whole());
    // Twice, as the first gives it back.
    for _ in 0..2 {
        let info = desk.info();
        assert_eq!((info.code, &info.last()["identity"]["serial"]), (0, &"BOARD001".into()), "{}", info.whole());
    }
}

/// The promises of every way, for a device of the lab's server that the kernel's own client has attached. It attaches nothing
/// anew by itself: those that put a cable in again are left out.
mod kernels_client {
    use super::*;

    promises::promises! { attached_by_the_kernels_client(Speed::High);
        a_device_says_where_and_what_it_is
        a_transfer_comes_back_whole_whatever_its_length
        a_stream_arrives_whole_and_in_order_with_several_transfers_under_way
        raw_data_comes_in_the_pieces_that_are_asked_for
        interrupt_reports_come_one_by_one
        a_control_request_carries_data_both_ways_and_no_more_than_asked
        a_halted_endpoint_refuses_until_the_halt_is_cleared
        a_stall_in_the_middle_of_a_stream_ends_it_and_not_the_link
        a_device_that_says_nothing_times_out_and_the_link_still_works
    }
}

async fn attached_by_the_kernels_client(speed: Speed) -> Bench {
    guest::here();
    // The device of the test before went with its server.
    guest::wait_for("the kernel to let go of the last device", || guest::plugged().is_empty().then_some(()));
    let exporter = Exporter::start().await.unwrap();
    let bench = Bench::with(exporter, Usb::system(), speed, Echo::at(speed, promises::SERIAL)).await;
    let port = bench.exporter.address().port().to_string();
    let attach = move || usbip(&["--tcp-port", &port, "attach", "-r", "127.0.0.1", "-b", promises::PORT]);
    tokio::task::spawn_blocking(attach).await.unwrap();
    bench
}
