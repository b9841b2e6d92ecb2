//! Figures of one run, both libraries in it: `tests/usb-vm/run --bench`. Emulated time is no real time; ratios say something.

use super::guest;
use super::libraries::attached;
use super::promises::{self, SOON};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tethercert::lab::usbip::Speed;
use tethercert::lab::usbip::echo::{BULK_IN, Echo, SEND_KIB, SINK_OUT, pattern};
use tethercert::lab::{Lab, LabOptions};
use tethercert::phone::Finder;
use tethercert::phone::definition::Definitions;
use tethercert::phone::tether::HostKey;
use tethercert::usb::{Change, ControlKind, ControlOut, Link, Recipient, Usb, UsbLibrary};

/// Rounds of each library, in turn.
const ROUNDS: usize = 5;
const ECHOES: u32 = 200;
const MIB: usize = 8;

/// Round trip in milliseconds; then MiB a second to the device, from it, and to it without anything under way ahead.
type Figures = [f64; 4];

#[test]
#[ignore = "a benchmark: tests/usb-vm/run --bench"]
fn nusb_against_libusb() {
    guest::here();
    for speed in [Speed::High, Speed::Super] {
        let mut rounds: [Vec<Figures>; 2] = Default::default();
        promises::keep(|| async {
            let bench = attached(UsbLibrary::System, speed, Echo::at(speed, promises::SERIAL)).await;
            let device = bench.device().await;
            for _ in 0..ROUNDS {
                for (library, rounds) in UsbLibrary::ALL.into_iter().zip(&mut rounds) {
                    let mut link = Usb::by(library).unwrap().open(&device, 0).await.unwrap();
                    rounds.push(measure(&mut link).await);
                }
            }
            bench.end().await;
        });
        let [nusb, libusb] = rounds.map(medians);
        println!("{speed} speed, vhci_hcd, {ROUNDS} rounds of each in turn, medians");
        println!("{:28} {:>9} {:>9} {:>14}", "", "nusb", "libusb", "nusb : libusb");
        let names = ["round trip, ms", "stream out, MiB/s", "stream in, MiB/s", "one by one out, MiB/s"];
        for (at, name) in names.into_iter().enumerate() {
            println!("{name:28} {:9.2} {:9.2} {:14.2}", nusb[at], libusb[at], nusb[at] / libusb[at]);
        }
        println!();
    }
}

async fn measure(link: &mut Link) -> Figures {
    let mut trips = Vec::new();
    for _ in 0..ECHOES {
        let begun = Instant::now();
        promises::echo(link, b"ping").await.unwrap();
        trips.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let much = pattern(MIB << 20);
    let rate = |begun: Instant| MIB as f64 / begun.elapsed().as_secs_f64();

    let begun = Instant::now();
    link.stream_out(SINK_OUT, &much, SOON).await.unwrap();
    let out = rate(begun);

    let (kind, recipient) = (ControlKind::Vendor, Recipient::Device);
    let kib = (MIB << 10) as u16;
    let begun = Instant::now();
    link.control_out(ControlOut { kind, recipient, request: SEND_KIB, value: kib, index: 0, data: &[] }, SOON)
        .await
        .unwrap();
    assert_eq!(link.stream_in(BULK_IN, MIB << 20, SOON).await.unwrap().len(), MIB << 20);
    let r#in = rate(begun);

    let begun = Instant::now();
    for piece in much.chunks(16_384) {
        link.bulk_out(SINK_OUT, piece, SOON).await.unwrap();
    }
    [median(&mut trips), out, r#in, rate(begun)]
}

#[test]
#[ignore = "a benchmark: tests/usb-vm/run --bench"]
fn from_a_phones_arrival_to_who_it_is() {
    guest::here();
    println!("from a cable put in, ms, {ROUNDS} rounds, medians");
    println!("{:8} {:>9} {:>12} {:>14}", "", "kernel", "told after", "known after");
    for library in UsbLibrary::ALL {
        promises::keep(|| async {
            let options = LabOptions::default();
            let mut lab = Lab::start(&options).await.unwrap();
            lab.attach().await.unwrap();
            let finder = Finder {
                usb: Usb::by(library).unwrap(),
                definitions: Arc::new(Definitions::load(None, &[lab.drivers()]).unwrap()),
                host_key: Arc::new(HostKey::ephemeral()),
                host_label: "benchmark".into(),
            };
            let mut watch = finder.usb.watch().await.unwrap();
            let Change::Arrived(phone) = watch.next().await.unwrap() else { panic!("it is there") };
            let sysfs = Path::new("/sys/bus/usb/devices").join(phone.slot.to_string());
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                assert!(lab.exporter().pull("1-1"));
                assert!(matches!(watch.next().await.unwrap(), Change::Left(_)));
                guest::wait_for("the kernel to see the cable pulled", || (!sysfs.exists()).then_some(()));
                let configured = sysfs.join(format!("{}:1.0", phone.slot));
                let kernel = std::thread::spawn(move || {
                    let begun = Instant::now();
                    while !configured.exists() {
                        assert!(begun.elapsed() < guest::PATIENCE);
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    Instant::now()
                });
                let begun = Instant::now();
                assert!(lab.exporter().replug("1-1"));
                let Change::Returned(phone) = watch.next().await.unwrap() else { panic!("it was there") };
                let told = Instant::now();
                let found = finder.recognise(phone).expect("a phone of the lab");
                let (_, identified) = finder.meet(&found).await.unwrap();
                let known = Instant::now();
                assert_eq!(identified.identity.serial, "LAB00001");
                let kernel = kernel.join().unwrap();
                let ms = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
                rounds.push([ms(begun, kernel), ms(kernel, told), ms(kernel, known), 0.0]);
            }
            let [kernel, told, known, _] = medians(rounds);
            let name = if library == UsbLibrary::System { "nusb" } else { "libusb" };
            println!("{name:8} {kernel:9.0} {told:12.0} {known:14.0}");
            lab.detach().await;
        });
        guest::wait_for("the kernel to lose the phone", || guest::plugged().is_empty().then_some(()));
    }
}

fn medians(rounds: Vec<Figures>) -> Figures {
    std::array::from_fn(|at| median(&mut rounds.iter().map(|round| round[at]).collect::<Vec<_>>()))
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
