//! The same promises for every way to a phone and every kind of phone: a test's name is a cell of the table.

use super::desk::{Desk, Kind, Way};
use serde_json::Value;

/// From a phone without an identity to one that has proved its own, and the proof asked for again.
fn provisions_and_proves(way: Way, kind: Kind) {
    let desk = Desk::with(way, kind);
    let list = desk.list();
    let devices: Vec<Value> = list.lines().into_iter().filter(|line| line["type"] == "device").collect();
    assert_eq!(devices.len(), 1, "{}", list.whole());
    let done = desk.provision(&[]);
    assert_eq!((done.code, &done.last()["outcome"]), (0, &"done".into()), "{}", done.whole());
    assert_eq!(done.last()["unchanged"], false, "{}", done.whole());
    let verified = desk.verify();
    assert_eq!((verified.code, &verified.last()["outcome"]), (0, &"good".into()), "{}", verified.whole());
}

/// The cable goes out and in again, and the phone is the one it was.
fn is_the_same_after_a_replug(way: Way, kind: Kind) {
    let mut desk = Desk::with(way, kind);
    let first = desk.provision(&[]);
    assert_eq!(first.code, 0, "{}", first.whole());
    desk.unplug();
    let nobody = desk.info();
    assert_eq!(nobody.code, 3, "{}", nobody.whole());
    desk.plug();
    let again = desk.provision(&[]);
    assert_eq!((again.code, &again.last()["unchanged"]), (0, &true.into()), "{}", again.whole());
    assert_eq!(again.last()["certificate_sha256"], first.last()["certificate_sha256"], "{}", again.whole());
}

macro_rules! matrix {
    ($($way:ident $module:ident: $($kind:ident $cell:ident),+;)+) => {$(
        mod $module {
            $(mod $cell {
                use super::super::*;

                #[test]
                fn a_phone_is_provisioned_and_proves_it() {
                    provisions_and_proves(Way::$way, Kind::$kind);
                }

                #[test]
                fn a_phone_is_the_same_after_a_replug() {
                    is_the_same_after_a_replug(Way::$way, Kind::$kind);
                }
            })+
        }
    )+};
}

matrix! {
    Nusb nusb: Virtual virtual_phone, Gadget gadget_phone;
    Libusb libusb: Virtual virtual_phone, Gadget gadget_phone;
    UsbIp usbip: Virtual virtual_phone, Gadget gadget_phone;
}
