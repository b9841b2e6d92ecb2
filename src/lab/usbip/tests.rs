//! The client against the server, on loopback.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Speed;
use super::echo::*;
use super::{Cut, Exporter, Side};
use crate::usb::{
    Attached, Change, ControlIn, ControlKind, ControlOut, Doing, Link, Missing, Recipient, Slot, Usb, UsbError,
};

#[path = "../../../tests/usb-vm/promises.rs"]
mod promises;

/// What every way to a device promises.
mod high_speed {
    use super::{Speed, promises};

    promises::promises!(promises::Bench::over_usbip(Speed::High));
}

mod super_speed {
    use super::{Speed, promises};

    promises::promises!(promises::Bench::over_usbip(Speed::Super));
}

/// A deadline that no test waits for.
const SOON: Duration = Duration::from_secs(5);
/// A deadline that is meant to pass.
const BRIEF: Duration = Duration::from_millis(10);

pub(super) async fn bench(serials: &[&str]) -> (Exporter, Usb) {
    let exporter = Exporter::start().await.unwrap();
    for (port, serial) in (1..).zip(serials) {
        exporter.plug(&format!("1-{port}"), Box::new(Echo::new(serial)));
    }
    let usb = Usb::usbip(exporter.address().into()).listing_again_every(Duration::from_millis(1));
    (exporter, usb)
}

async fn first(usb: &Usb) -> Attached {
    usb.list().await.unwrap().remove(0)
}

pub(super) async fn open(usb: &Usb) -> Link {
    usb.open(&first(usb).await, 0).await.unwrap()
}

fn tell(request: u8, value: u16, index: u16) -> ControlOut<'static> {
    let (kind, recipient) = (ControlKind::Vendor, Recipient::Device);
    ControlOut { kind, recipient, request, value, index, data: &[] }
}

fn recall(length: u16) -> ControlIn {
    let (kind, recipient) = (ControlKind::Vendor, Recipient::Device);
    ControlIn { kind, recipient, request: REMEMBER, value: 0, index: 0, length }
}

pub(super) async fn echo(link: &mut Link, data: &[u8]) -> Result<Vec<u8>, UsbError> {
    link.bulk_out(BULK_OUT, data, SOON).await?;
    link.bulk_in(BULK_IN, 32768, SOON).await
}

#[tokio::test]
async fn a_list_says_where_a_device_is_and_what_it_is_but_not_its_serial() {
    let (exporter, usb) = bench(&["4711", "4712"]).await;
    let devices = usb.list().await.unwrap();
    let slots: Vec<String> = devices.iter().map(|device| device.slot.to_string()).collect();
    assert_eq!(slots, [format!("{}/1-1", exporter.address()), format!("{}/1-2", exporter.address())]);
    let device = &devices[0];
    assert_eq!((device.vendor_id, device.product_id, device.device_version), (0x1209, 0x0001, 0x0150));
    assert_eq!((device.interfaces[0].class, device.interfaces[0].subclass), (0xff, 0x54));
    assert_eq!(device.strings.serial, None);

    let inspected = usb.inspect(&devices[1]).await.unwrap();
    assert_eq!(inspected.interfaces, devices[1].interfaces);
    let strings = inspected.strings;
    assert_eq!(strings.product.as_deref(), Some("Echo ☎"));
    assert_eq!(strings.serial.as_deref(), Some("4712"));
}

#[tokio::test]
async fn a_serial_is_read_only_when_it_is_asked_for() {
    let (exporter, usb) = bench(&["4711", "4712", "4712"]).await;
    let devices = usb.list().await.unwrap();
    let select = |selector: &str| {
        let (usb, devices, selector) = (usb.clone(), devices.clone(), selector.parse().unwrap());
        async move { usb.select(devices, Some(&selector), |_| None).await }
    };
    let port = format!("port:{}", devices[1].slot);
    assert_eq!(select(&port).await.unwrap().slot, devices[1].slot);
    assert_eq!(exporter.transfers("1-1"), 0);
    assert_eq!(select("serial:4711").await.unwrap().slot, devices[0].slot);
    assert!(
        matches!(select("serial:4712").await, Err(UsbError::Ambiguous { candidates, .. }) if candidates.len() == 2)
    );
    assert!(matches!(select("serial:4713").await, Err(UsbError::NotFound { .. })));
    let _link = usb.open(&devices[0], 0).await.unwrap();
    assert!(matches!(select("serial:4711").await, Err(UsbError::Busy { .. })));
}

#[tokio::test]
async fn a_transfer_comes_back_whole_whatever_its_length() {
    let (_exporter, usb) = bench(&["4711"]).await;
    let mut link = open(&usb).await;
    for length in [0, 1, 511, 512, 513, 1024, 16384] {
        assert_eq!(echo(&mut link, &pattern(length)).await.unwrap(), pattern(length), "{length}");
    }
    let counters = link.counters();
    assert_eq!((counters.control, counters.bulk), (4, 14));
    assert_eq!(counters.bytes_out, 1 + 511 + 512 + 513 + 1024 + 16384);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_links_carry_their_own_data_in_parallel() {
    let (_exporter, usb) = bench(&["a", "b"]).await;
    let devices = usb.list().await.unwrap();
    let carry = |device: Attached, length: usize| {
        let usb = usb.clone();
        tokio::spawn(async move {
            let mut link = usb.open(&device, 0).await.unwrap();
            for more in 0..50 {
                assert_eq!(echo(&mut link, &pattern(length + more)).await.unwrap(), pattern(length + more));
            }
        })
    };
    let (one, other) = (carry(devices[0].clone(), 500), carry(devices[1].clone(), 4090));
    one.await.unwrap();
    other.await.unwrap();
}

#[tokio::test]
async fn whole_packets_without_an_end_fill_a_transfer_of_their_size_and_leave_a_larger_one_waiting() {
    let (_exporter, usb) = bench(&["4711"]).await;
    let mut link = open(&usb).await;
    link.control_out(tell(SEND, 1024, 0), SOON).await.unwrap();
    assert_eq!(link.bulk_in(BULK_IN, 1024, SOON).await.unwrap(), pattern(1024));

    link.control_out(tell(SEND, 1024, 0), SOON).await.unwrap();
    // Long enough for the data to arrive, also on a busy machine: only the end is missing.
    let error = link.bulk_in(BULK_IN, 2048, Duration::from_millis(250)).await.unwrap_err();
    assert!(matches!(error, UsbError::TimedOut { .. }), "{error}");

    // Raw data arrives in the pieces that the host asks for.
    link.bulk_out(RAW_OUT, &pattern(700), SOON).await.unwrap();
    assert_eq!(link.bulk_in(BULK_IN, 512, SOON).await.unwrap(), pattern(512));
    assert_eq!(link.bulk_in(BULK_IN, 512, SOON).await.unwrap(), pattern(700)[512..]);
}

#[tokio::test]
async fn a_packet_larger_than_the_room_for_it_is_damage_not_data() {
    let (_exporter, usb) = bench(&["4711"]).await;
    let mut link = open(&usb).await;
    link.bulk_out(BULK_OUT, &pattern(100), SOON).await.unwrap();
    let error = link.bulk_in(BULK_IN, 64, SOON).await.unwrap_err();
    assert!(matches!(error, UsbError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn strings_and_bos_are_read_from_the_device() {
    let (_exporter, usb) = bench(&["4711"]).await;
    let mut link = open(&usb).await;
    assert_eq!(link.string(2).await.unwrap().as_deref(), Some("Echo ☎"));
    assert_eq!(link.string(0).await.unwrap(), None);
    assert!(matches!(link.string(9).await, Err(UsbError::Stalled { .. })));
    assert_eq!(link.bos().await.unwrap().map(|bos| bos.len()), Some(12));
}

#[tokio::test]
async fn what_the_configuration_does_not_have_is_said_before_anything_is_sent() {
    let (exporter, usb) = bench(&["4711"]).await;
    let device = first(&usb).await;
    let error = usb.open(&device, 3).await.unwrap_err();
    assert!(matches!(error, UsbError::Missing { missing: Missing::Interface(3), .. }), "{error}");
    let mut link = usb.open(&device, 0).await.unwrap();
    let before = exporter.transfers("1-1");
    for endpoint in [0x0f, BULK_IN] {
        let error = link.bulk_out(endpoint, b"x", SOON).await.unwrap_err();
        assert!(matches!(error, UsbError::Missing { missing: Missing::Endpoint(_), .. }), "{error}");
    }
    assert!(matches!(link.bulk_in(INTERRUPT_IN, 64, SOON).await, Err(UsbError::Missing { .. })));
    assert_eq!(exporter.transfers("1-1"), before);
}

#[tokio::test]
async fn a_device_in_use_is_busy_and_free_again_as_soon_as_its_link_is_dropped() {
    let (_exporter, usb) = bench(&["4711"]).await;
    let device = first(&usb).await;
    let link = usb.open(&device, 0).await.unwrap();
    let error = usb.open(&device, 0).await.unwrap_err();
    assert!(matches!(error, UsbError::Busy { .. }), "{error}");
    drop(link);
    for _ in 0..50 {
        let mut link = usb.open(&device, 0).await.unwrap();
        assert_eq!(echo(&mut link, b"hello").await.unwrap(), b"hello");
    }
}

#[tokio::test]
async fn a_device_that_left_before_it_was_opened_is_not_found_and_another_in_its_place_is_not_taken_for_it() {
    let (exporter, usb) = bench(&["4711"]).await;
    let mut device = first(&usb).await;
    device.product_id = 2;
    assert!(matches!(usb.open(&device, 0).await, Err(UsbError::Unplugged { .. })));
    exporter.unplug("1-1").unwrap();
    assert!(matches!(usb.open(&device, 0).await, Err(UsbError::NotFound { .. })));
    assert_eq!(usb.list().await.unwrap(), []);
}

#[tokio::test]
async fn an_unplugged_device_is_handed_back_with_its_memory() {
    let (exporter, usb) = bench(&["4711"]).await;
    let mut link = open(&usb).await;
    link.control_out(ControlOut { data: b"kept", ..tell(REMEMBER, 0, 0) }, SOON).await.unwrap();
    let device = exporter.unplug("1-1").unwrap();
    assert!(exporter.unplug("1-1").is_none());
    exporter.plug("1-7", device);
    assert_eq!(open(&usb).await.control_in(recall(10), SOON).await.unwrap(), b"kept");
}

/// Opening takes 4 transfers; then remember, out, in, clear halt and recall.
async fn job(usb: &Usb, device: &Attached) -> Result<Vec<u8>, UsbError> {
    let mut link = usb.open(device, 0).await?;
    link.control_out(ControlOut { data: b"new", ..tell(REMEMBER, 0, 0) }, SOON).await?;
    assert_eq!(echo(&mut link, b"hello").await?, b"hello");
    link.clear_halt(BULK_OUT, SOON).await?;
    link.control_in(recall(10), SOON).await
}

async fn cut_at_every_transfer_of_a_job() {
    let (exporter, usb) = bench(&["4711"]).await;
    let device = first(&usb).await;
    job(&usb, &device).await.unwrap();
    let all = exporter.transfers("1-1");
    assert_eq!(all, 9);
    for (transfer, side) in (1..=all).flat_map(|transfer| [(transfer, Side::Before), (transfer, Side::After)]) {
        let echo = Echo::new("4711");
        let log = echo.log();
        exporter.plug("1-1", Box::new(echo));
        exporter.cut("1-1", Cut { transfer, side });

        let error = job(&usb, &device).await.unwrap_err();

        assert!(matches!(error, UsbError::Unplugged { .. }), "{transfer} {side:?}: {error}");
        assert_eq!(exporter.transfers("1-1"), transfer);
        assert_eq!(usb.list().await.unwrap(), []);
        let acted = transfer > 5 || transfer == 5 && side == Side::After;
        assert_eq!(log.entries().contains(&"remembered"), acted, "{transfer} {side:?}");
        assert_eq!((log.entries().first(), log.entries().last()), (Some(&"attached"), Some(&"detached")));
        assert!(exporter.replug("1-1"));
        assert_eq!(job(&usb, &device).await.unwrap(), b"new");
    }
}

#[tokio::test]
async fn a_cable_cut_at_any_transfer_is_an_unplug_and_the_job_can_be_done_again() {
    cut_at_every_transfer_of_a_job().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cable_cut_at_any_transfer_is_an_unplug_on_several_threads_too() {
    cut_at_every_transfer_of_a_job().await;
}

#[tokio::test]
async fn a_stall_staged_at_one_transfer_meets_that_one_only() {
    let (exporter, usb) = bench(&["4711"]).await;
    let mut link = open(&usb).await;
    exporter.stall_at("1-1", exporter.transfers("1-1") + 2);
    link.bulk_out(BULK_OUT, b"hello", SOON).await.unwrap();
    assert!(matches!(link.bulk_in(BULK_IN, 512, SOON).await, Err(UsbError::Stalled { .. })));
    link.clear_halt(BULK_IN, SOON).await.unwrap();
    assert_eq!(link.bulk_in(BULK_IN, 512, SOON).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_watch_tells_of_those_already_there_of_comers_of_leavers_and_of_a_quick_replug() {
    let (exporter, usb) = bench(&["a", "b"]).await;
    let slot = |port: u8| -> Slot { format!("{}/1-{port}", exporter.address()).parse().unwrap() };
    let mut watch = usb.watch().await.unwrap();
    let mut arrived = BTreeSet::new();
    for _ in 0..2 {
        let Change::Arrived(device) = watch.next().await.unwrap() else { panic!("nothing has left") };
        arrived.insert(device.slot);
    }
    assert_eq!(arrived, BTreeSet::from([slot(1), slot(2)]));

    exporter.unplug("1-2").unwrap();
    assert_eq!(watch.next().await.unwrap(), Change::Left(slot(2)));
    exporter.replug("1-1");
    assert_eq!(watch.next().await.unwrap(), Change::Left(slot(1)));
    assert!(matches!(watch.next().await.unwrap(), Change::Arrived(device) if device.slot == slot(1)));

    drop(exporter);
    let error = loop {
        match watch.next().await {
            Ok(change) => assert!(matches!(change, Change::Left(_)), "{change:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, UsbError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_gone_is_unreachable_and_its_links_are_unplugged() {
    let (exporter, usb) = bench(&["4711"]).await;
    let device = first(&usb).await;
    let mut link = usb.open(&device, 0).await.unwrap();
    drop(exporter);
    assert!(matches!(echo(&mut link, b"hello").await, Err(UsbError::Unplugged { .. })));
    let error = usb.open(&device, 0).await.unwrap_err();
    assert!(matches!(error, UsbError::Unreachable { .. }), "{error}");
}
