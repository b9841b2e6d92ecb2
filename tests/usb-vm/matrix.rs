//! The same promises for every way to a phone and every kind of phone: a test's name is a cell of the table.

use super::desk::{Desk, Kind, Way};
use serde_json::Value;

/// From a phone without an identity to one that has proved its own; the cable out, and in again, and it proves it anew.
fn provisions_proves_and_proves_again(way: Way, kind: Kind) {
    let mut desk = Desk::with(way, kind);
    let list = desk.list();
    let devices: Vec<Value> = list.lines().into_iter().filter(|line| line["type"] == "device").collect();
    assert_eq!(devices.len(), 1, "{}", list.whole());
    let done = desk.provision(&[]);
    assert_eq!((done.code, &done.last()["outcome"]), (0, &"done".into()), "{}", done.whole());
    assert_eq!(done.last()["unchanged"], false, "{}", done.whole());

    desk.unplug();
    let nobody = desk.verify();
    assert_eq!(nobody.code, 3, "{}", nobody.whole());
    desk.plug();
    let verified = desk.verify();
    assert_eq!((verified.code, &verified.last()["outcome"]), (0, &"good".into()), "{}", verified.whole());
}

macro_rules! matrix {
    ($($way:ident $module:ident: $($kind:ident $cell:ident),+;)+) => {$(
        mod $module {
            $(mod $cell {
                use super::super::*;

                #[test]
                fn a_phone_is_provisioned_and_proves_it_and_proves_it_again_after_a_replug() {
                    provisions_proves_and_proves_again(Way::$way, Kind::$kind);
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
