//! What every way to a USB device promises, tried with the lab's echo device: over USB/IP in user space by the library's own
//! tests, on a kernel's bus by both libraries in the virtual machine.

use std::time::{Duration, Instant};
use tethercert::lab::usbip::echo::{
    BULK_IN, BULK_OUT, Echo, HALT, INTERFACE, INTERRUPT_IN, MUTE_IN, RAW_OUT, REMEMBER, REPORT, SEND, SEND_KIB,
    SINK_OUT, pattern,
};
use tethercert::lab::usbip::{Attachment, Cut, Device, Exporter, Side, Speed};
use tethercert::usb::{
    Attached, Change, ControlIn, ControlKind, ControlOut, Doing, Link, Missing, Recipient, Usb, UsbError, Watch,
};

/// A deadline that no test waits for.
pub const SOON: Duration = Duration::from_secs(20);
/// A deadline that is meant to pass.
const BRIEF: Duration = Duration::from_millis(60);
/// How long a kernel may take for what it does on its own, on a busy host.
const PATIENCE: Duration = Duration::from_secs(60);
pub const PORT: &str = "1-1";
pub const SERIAL: &str = "4711";

/// An echo device at the end of a way.
pub struct Bench {
    pub exporter: Exporter,
    pub usb: Usb,
    /// Where the way leads over the kernel.
    pub attachment: Option<Attachment>,
    packet: usize,
}

impl Bench {
    /// With this device plugged in, for whatever way leads to it.
    pub async fn with(exporter: Exporter, usb: Usb, speed: Speed, echo: Echo) -> Self {
        exporter.plug(PORT, Box::new(echo));
        let packet = match speed {
            Speed::Low | Speed::Full => 64,
            Speed::High => 512,
            Speed::Super => 1024,
        };
        Self { exporter, usb: usb.listing_again_every(Duration::from_millis(100)), attachment: None, packet }
    }

    /// The device, when the way has it.
    pub async fn device(&self) -> Attached {
        let until = Instant::now() + PATIENCE;
        loop {
            // What a kernel has not yet configured has no interface.
            let devices = self.usb.list().await.unwrap();
            if let Some(device) = devices.into_iter().find(|device| is_echo(device) && !device.interfaces.is_empty()) {
                return device;
            }
            assert!(Instant::now() < until, "waited {PATIENCE:?} for the device");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn link(&self) -> Link {
        let device = self.device().await;
        self.usb.open_kind(&device, INTERFACE).await.unwrap()
    }

    /// Waits until the way has lost the device.
    pub async fn gone(&self) {
        let until = Instant::now() + PATIENCE;
        while self.usb.list().await.unwrap().iter().any(is_echo) {
            assert!(Instant::now() < until, "waited {PATIENCE:?} for the device to go");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Takes the device off the kernel's bus, and waits until that is done.
    pub async fn end(mut self) {
        if let Some(attachment) = self.attachment.take() {
            attachment.detach().await;
            self.gone().await;
        }
    }

    fn next_transfer(&self) -> u64 {
        self.exporter.transfers(PORT) + 1
    }
}

fn is_echo(device: &Attached) -> bool {
    (device.vendor_id, device.product_id) == (0x1209, 0x0001)
}

fn tell(request: u8, value: u16, index: u16) -> ControlOut<'static> {
    let (kind, recipient) = (ControlKind::Vendor, Recipient::Device);
    ControlOut { kind, recipient, request, value, index, data: &[] }
}

fn recall(length: u16) -> ControlIn {
    let (kind, recipient) = (ControlKind::Vendor, Recipient::Device);
    ControlIn { kind, recipient, request: REMEMBER, value: 0, index: 0, length }
}

pub async fn echo(link: &mut Link, data: &[u8]) -> Result<Vec<u8>, UsbError> {
    link.bulk_out(BULK_OUT, data, SOON).await?;
    link.bulk_in(BULK_IN, 65_536, SOON).await
}

pub async fn a_device_says_where_and_what_it_is(bench: &Bench) {
    let device = bench.usb.inspect(&bench.device().await).await.unwrap();
    assert_eq!((device.vendor_id, device.product_id, device.device_version), (0x1209, 0x0001, 0x0150));
    let strings = &device.strings;
    assert_eq!((strings.product.as_deref(), strings.serial.as_deref()), (Some("Echo ☎"), Some(SERIAL)));
    let kind = device.interfaces[0];
    assert_eq!((kind.class, kind.subclass, kind.protocol), INTERFACE);
    let mut link = bench.link().await;
    assert_eq!(link.string(2).await.unwrap().as_deref(), Some("Echo ☎"));
    assert!(matches!(link.string(9).await, Err(UsbError::Stalled { .. })));
}

pub async fn a_transfer_comes_back_whole_whatever_its_length(bench: &Bench) {
    let mut link = bench.link().await;
    let packet = bench.packet;
    for length in [0, 1, packet - 1, packet, packet + 1, 2 * packet, 16_384, 50_000] {
        assert_eq!(echo(&mut link, &pattern(length)).await.unwrap(), pattern(length), "{length}");
    }
}

pub async fn a_stream_arrives_whole_and_in_order_with_several_transfers_under_way(bench: &Bench) {
    let mut link = bench.link().await;
    let much = pattern(1 << 20);
    let before = link.counters().bulk;
    link.stream_out(SINK_OUT, &much, SOON).await.unwrap();
    assert!(link.counters().bulk - before >= 64);
    link.control_out(tell(SEND_KIB, 1024, 0), SOON).await.unwrap();
    assert!(link.stream_in(BULK_IN, 1 << 20, SOON).await.unwrap() == much, "what came is not what was sent");
    // One that ends early leaves what comes behind it to the next. How many transfers it is to this device, which ends
    // each, is the library's choice.
    for length in [5, 16_384, 20_000, 32_768] {
        let sent = pattern(length);
        link.stream_out(BULK_OUT, &sent, SOON).await.unwrap();
        let mut got = Vec::new();
        while got.len() < length {
            got.extend(link.stream_in(BULK_IN, 100_000, SOON).await.unwrap());
        }
        assert!(got == sent, "{length}");
        assert_eq!(echo(&mut link, b"behind it").await.unwrap(), b"behind it");
    }
}

pub async fn raw_data_comes_in_the_pieces_that_are_asked_for(bench: &Bench) {
    let mut link = bench.link().await;
    let packet = bench.packet;
    link.control_out(tell(SEND, 2 * packet as u16, 0), SOON).await.unwrap();
    assert_eq!(link.bulk_in(BULK_IN, 2 * packet, SOON).await.unwrap(), pattern(2 * packet));
    link.bulk_out(RAW_OUT, &pattern(packet + 10), SOON).await.unwrap();
    assert_eq!(link.bulk_in(BULK_IN, packet, SOON).await.unwrap(), pattern(packet));
    assert_eq!(link.bulk_in(BULK_IN, packet, SOON).await.unwrap(), pattern(packet + 10)[packet..]);
}

pub async fn interrupt_reports_come_one_by_one(bench: &Bench) {
    let mut link = bench.link().await;
    for length in [8, 0, 63] {
        link.control_out(tell(REPORT, length, 0), SOON).await.unwrap();
    }
    for length in [8, 0, 63] {
        assert_eq!(link.interrupt_in(INTERRUPT_IN, 64, SOON).await.unwrap(), pattern(length));
    }
    let error = link.interrupt_in(INTERRUPT_IN, 64, BRIEF).await.unwrap_err();
    assert!(matches!(error, UsbError::TimedOut { .. }), "{error}");
    link.control_out(tell(REPORT, 5, 0), SOON).await.unwrap();
    assert_eq!(link.interrupt_in(INTERRUPT_IN, 64, SOON).await.unwrap(), pattern(5));
}

pub async fn a_control_request_carries_data_both_ways_and_no_more_than_asked(bench: &Bench) {
    let mut link = bench.link().await;
    let data = pattern(300);
    link.control_out(ControlOut { data: &data, ..tell(REMEMBER, 0, 0) }, SOON).await.unwrap();
    assert_eq!(link.control_in(recall(4096), SOON).await.unwrap(), data);
    assert_eq!(link.control_in(recall(7), SOON).await.unwrap(), data[..7]);
    let error = link.control_out(tell(0x77, 0, 0), SOON).await.unwrap_err();
    assert!(matches!(error, UsbError::Stalled { during: Doing::Control { request: 0x77 }, .. }), "{error}");
    assert_eq!(link.control_in(recall(7), SOON).await.unwrap(), data[..7]);
    let long = vec![0; 65_536];
    let error = link.control_out(ControlOut { data: &long, ..tell(REMEMBER, 0, 0) }, SOON).await.unwrap_err();
    assert!(matches!(error, UsbError::Missing { missing: Missing::ControlRoom(65_536), .. }), "{error}");
}

pub async fn a_halted_endpoint_refuses_until_the_halt_is_cleared(bench: &Bench) {
    let mut link = bench.link().await;
    let error = link.bulk_out(BULK_OUT, b"refuse this", SOON).await.unwrap_err();
    assert!(matches!(error, UsbError::Stalled { during: Doing::Transfer { endpoint: BULK_OUT }, .. }), "{error}");
    assert!(!error.ends_link());
    assert!(matches!(link.bulk_out(BULK_OUT, b"hello", SOON).await, Err(UsbError::Stalled { .. })));
    link.clear_halt(BULK_OUT, SOON).await.unwrap();
    assert_eq!(echo(&mut link, b"hello").await.unwrap(), b"hello");

    link.control_out(tell(HALT, 0, BULK_IN.into()), SOON).await.unwrap();
    assert!(matches!(link.bulk_in(BULK_IN, bench.packet, SOON).await, Err(UsbError::Stalled { .. })));
    assert!(matches!(link.stream_in(BULK_IN, 100_000, SOON).await, Err(UsbError::Stalled { .. })));
    link.clear_halt(BULK_IN, SOON).await.unwrap();
    assert_eq!(echo(&mut link, b"hello").await.unwrap(), b"hello");
}

pub async fn a_stall_in_the_middle_of_a_stream_ends_it_and_not_the_link(bench: &Bench) {
    let mut link = bench.link().await;
    bench.exporter.stall_at(PORT, bench.next_transfer() + 1);
    let error = link.stream_out(SINK_OUT, &pattern(1 << 20), SOON).await.unwrap_err();
    assert!(matches!(error, UsbError::Stalled { .. }), "{error}");
    link.clear_halt(SINK_OUT, SOON).await.unwrap();
    link.stream_out(SINK_OUT, &pattern(100_000), SOON).await.unwrap();
    assert_eq!(echo(&mut link, b"hello").await.unwrap(), b"hello");
}

pub async fn a_device_that_says_nothing_times_out_and_the_link_still_works(bench: &Bench) {
    let mut link = bench.link().await;
    let begun = Instant::now();
    let error = link.bulk_in(MUTE_IN, bench.packet, BRIEF).await.unwrap_err();
    assert!(matches!(error, UsbError::TimedOut { after: BRIEF, .. }) && !error.ends_link(), "{error}");
    assert!(begun.elapsed() >= BRIEF);
    let error = link.stream_in(MUTE_IN, 100_000, BRIEF).await.unwrap_err();
    assert!(matches!(error, UsbError::TimedOut { .. }), "{error}");
    bench.exporter.hang_at(PORT, bench.next_transfer());
    let error = link.control_in(recall(10), BRIEF).await.unwrap_err();
    assert!(matches!(error, UsbError::TimedOut { .. }), "{error}");
    bench.exporter.hang_at(PORT, bench.next_transfer());
    let error = link.bulk_out(BULK_OUT, b"lost", BRIEF).await.unwrap_err();
    assert!(matches!(error, UsbError::TimedOut { .. }), "{error}");
    // A read that was in time to wait, and not in time to get it, leaves nothing out.
    for _ in 0..5 {
        let error = link.bulk_in(BULK_IN, bench.packet, BRIEF).await.unwrap_err();
        assert!(matches!(error, UsbError::TimedOut { .. }), "{error}");
        assert_eq!(echo(&mut link, b"hello").await.unwrap(), b"hello");
    }
}

pub async fn a_read_that_nobody_waits_for_any_more_leaves_the_data_to_the_next(bench: &Bench) {
    let mut link = bench.link().await;
    for round in 0..10_u8 {
        tokio::select! {
            biased;
            _ = link.bulk_in(BULK_IN, bench.packet, SOON) => panic!("there is nothing to read"),
            // Sometimes the read has not begun, sometimes it has waited.
            () = tokio::time::sleep(Duration::from_millis(u64::from(round) * 3)) => {}
        }
        assert_eq!(echo(&mut link, &[round; 100]).await.unwrap(), [round; 100]);
        tokio::select! {
            biased;
            _ = link.stream_in(BULK_IN, 100_000, SOON) => panic!("there is nothing to read"),
            () = tokio::time::sleep(Duration::from_millis(u64::from(round))) => {}
        }
        assert_eq!(echo(&mut link, &[round; 99]).await.unwrap(), [round; 99]);
    }
}

pub async fn a_device_in_use_is_busy_and_free_again_as_soon_as_its_link_is_dropped(bench: &Bench) {
    let device = bench.device().await;
    let link = bench.usb.open_kind(&device, INTERFACE).await.unwrap();
    let error = bench.usb.open_kind(&device, INTERFACE).await.unwrap_err();
    assert!(matches!(error, UsbError::Busy { .. }), "{error}");
    drop(link);
    for _ in 0..10 {
        let mut link = bench.usb.open_kind(&device, INTERFACE).await.unwrap();
        assert_eq!(echo(&mut link, b"hello").await.unwrap(), b"hello");
        // Also with a read that is still under way.
        tokio::select! {
            biased;
            _ = link.bulk_in(MUTE_IN, bench.packet, SOON) => panic!("it says nothing"),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
}

pub async fn what_a_device_does_not_have_is_said_before_anything_is_sent(bench: &Bench) {
    let mut device = bench.device().await;
    let error = bench.usb.open(&device, 7).await.unwrap_err();
    assert!(matches!(error, UsbError::Missing { missing: Missing::Interface(7), .. }), "{error}");
    let mut link = bench.link().await;
    for endpoint in [0x0f, BULK_IN] {
        let error = link.bulk_out(endpoint, b"x", SOON).await.unwrap_err();
        assert!(matches!(error, UsbError::Missing { missing: Missing::Endpoint(_), .. }), "{error}");
    }
    drop(link);
    device.product_id = 2;
    let error = bench.usb.open(&device, 0).await.unwrap_err();
    assert!(matches!(error, UsbError::Unplugged { .. }), "{error}");
}

pub async fn a_cable_pulled_in_mid_transfer_is_an_unplug(bench: &Bench) {
    let mut link = bench.link().await;
    let device = bench.device().await;
    let (read, pulled) = tokio::join!(link.bulk_in(BULK_IN, bench.packet, SOON), async {
        tokio::time::sleep(BRIEF).await;
        bench.exporter.pull(PORT)
    });
    assert!(pulled);
    let error = read.unwrap_err();
    assert!(matches!(error, UsbError::Unplugged { .. }) && error.ends_link(), "{error}");
    let error = echo(&mut link, b"hello").await.unwrap_err();
    assert!(matches!(error, UsbError::Unplugged { .. }), "{error}");
    let error = link.control_in(recall(1), SOON).await.unwrap_err();
    assert!(matches!(error, UsbError::Unplugged { .. }), "{error}");
    drop(link);
    bench.gone().await;
    let error = bench.usb.open(&device, 0).await.unwrap_err();
    assert!(matches!(error, UsbError::NotFound { .. }), "{error}");

    // In the middle of a stream to it, of one from it, and of a control request.
    for transfer in 0..4 {
        assert!(bench.exporter.replug(PORT));
        let mut link = bench.link().await;
        let side = if transfer % 2 == 0 { Side::Before } else { Side::After };
        let further = if transfer < 2 { 2 } else { 1 };
        bench.exporter.cut(PORT, Cut { transfer: bench.next_transfer() + further, side });
        let error = match transfer {
            0 | 1 => link.stream_out(SINK_OUT, &pattern(1 << 20), SOON).await.unwrap_err(),
            2 => {
                link.control_out(tell(SEND_KIB, 30, 0), SOON).await.unwrap();
                link.stream_in(BULK_IN, 1 << 20, SOON).await.unwrap_err()
            }
            _ => {
                link.control_out(tell(REPORT, 1, 0), SOON).await.unwrap();
                link.control_in(recall(10), SOON).await.unwrap_err()
            }
        };
        assert!(matches!(error, UsbError::Unplugged { .. }), "{transfer}: {error}");
        drop(link);
        bench.gone().await;
    }
    assert!(bench.exporter.replug(PORT));
    let mut link = bench.link().await;
    assert_eq!(echo(&mut link, b"hello").await.unwrap(), b"hello");
}

pub async fn a_watch_tells_of_comers_leavers_and_those_who_return(bench: &Bench) {
    let there = bench.device().await;
    let mut watch = bench.usb.watch().await.unwrap();
    assert_eq!(next(&mut watch).await, Change::Arrived(there.clone()));
    assert!(bench.exporter.pull(PORT));
    assert_eq!(next(&mut watch).await, Change::Left(there.slot.clone()));
    assert!(bench.exporter.replug(PORT));
    let back = came(next(&mut watch).await, there.strings.serial.is_some());
    assert_eq!((&back.slot, back.strings.serial), (&there.slot, there.strings.serial.clone()));
    assert_ne!(back.address, there.address);
    // Out and in again, faster than anybody may look.
    assert!(bench.exporter.replug(PORT));
    assert_eq!(next(&mut watch).await, Change::Left(there.slot.clone()));
    came(next(&mut watch).await, there.strings.serial.is_some());
    // Another one in its place is not taken for it.
    assert!(bench.exporter.pull(PORT));
    assert_eq!(next(&mut watch).await, Change::Left(there.slot.clone()));
    let other: Box<dyn Device> = Box::new(Echo::new("4712"));
    bench.exporter.plug(PORT, other);
    assert!(matches!(next(&mut watch).await, Change::Arrived(device) if device.slot == there.slot));
}

/// What came, which is known again where its serial number is.
fn came(change: Change, is_known: bool) -> Attached {
    match (change, is_known) {
        (Change::Returned(device), true) | (Change::Arrived(device), false) => device,
        (other, _) => panic!("{other:?}"),
    }
}

async fn next(watch: &mut Watch) -> Change {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("something changes").unwrap()
}

/// Runs a promise on a runtime of its own, with threads for the other end of the wire.
pub fn keep<Promise: Future<Output = ()>>(promise: impl FnOnce() -> Promise) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(promise());
}

/// One test a promise: `$bench` makes the way anew for each.
macro_rules! promises {
    ($bench:expr) => {
        promises::promises! { $bench;
            a_device_says_where_and_what_it_is
            a_transfer_comes_back_whole_whatever_its_length
            a_stream_arrives_whole_and_in_order_with_several_transfers_under_way
            raw_data_comes_in_the_pieces_that_are_asked_for
            interrupt_reports_come_one_by_one
            a_control_request_carries_data_both_ways_and_no_more_than_asked
            a_halted_endpoint_refuses_until_the_halt_is_cleared
            a_stall_in_the_middle_of_a_stream_ends_it_and_not_the_link
            a_device_that_says_nothing_times_out_and_the_link_still_works
            a_read_that_nobody_waits_for_any_more_leaves_the_data_to_the_next
            a_device_in_use_is_busy_and_free_again_as_soon_as_its_link_is_dropped
            what_a_device_does_not_have_is_said_before_anything_is_sent
            a_cable_pulled_in_mid_transfer_is_an_unplug
            a_watch_tells_of_comers_leavers_and_those_who_return
        }
    };
    ($bench:expr; $($promise:ident)+) => {$(
        #[test]
        fn $promise() {
            promises::keep(|| async {
                let bench: promises::Bench = $bench.await;
                promises::$promise(&bench).await;
                bench.end().await;
            });
        }
    )+};
}
pub(crate) use promises;
