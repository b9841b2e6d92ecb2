//! The client against the server, on loopback.

use std::time::Duration;

use super::Exporter;
use super::echo::*;
use crate::usb::{Attached, Link, Usb};

const SOON: Duration = Duration::from_secs(5);

async fn bench(serials: &[&str]) -> (Exporter, Usb) {
    let exporter = Exporter::start().await.unwrap();
    for (port, serial) in (1..).zip(serials) {
        exporter.plug(&format!("1-{port}"), Box::new(Echo::new(serial)));
    }
    let usb = Usb::usbip(exporter.address().into());
    (exporter, usb)
}

async fn first(usb: &Usb) -> Attached {
    usb.list().await.unwrap().remove(0)
}

async fn open(usb: &Usb) -> Link {
    usb.open(&first(usb).await, 0).await.unwrap()
}

#[tokio::test]
async fn a_transfer_comes_back_whole_whatever_its_length() {
    let (_exporter, usb) = bench(&["4711"]).await;
    let mut link = open(&usb).await;
    for length in [0, 1, 511, 512, 513, 1024, 16384] {
        link.bulk_out(BULK_OUT, &pattern(length), SOON).await.unwrap();
        assert_eq!(link.bulk_in(BULK_IN, 32768, SOON).await.unwrap(), pattern(length), "{length}");
    }
}
