//! The sign-in is rehearsed through a real kernel's USB: the key is in the phone, the registrar is the lab's.

use super::desk::{Desk, Kind, Way};

fn signs_its_user_in_and_off_again(kind: Kind) {
    let mut desk = Desk::with(Way::Nusb, kind);
    let registrar = desk.world().ready.registrar.clone();
    let done = desk.provision(&["--sign-in", "--registrar", &registrar]);
    assert_eq!((done.code, &done.last()["outcome"]), (0, &"done".into()), "{}", done.whole());
    let rehearsal = &done.last()["rehearsal"];
    assert_eq!((&rehearsal["grade"], &rehearsal["signed_off"]), (&"good".into(), &true.into()), "{}", done.whole());
    assert_eq!(rehearsal["signatures"], 1, "{}", done.whole());

    desk.unplug();
    desk.plug();
    let verified = desk.verify_with(&["--sign-in"]);
    let found = verified.lines().into_iter().find(|line| line["check"] == "sign-in").expect("a finding");
    assert_eq!((verified.code, &found["verdict"]), (0, &"good".into()), "{}", verified.whole());
    assert!(desk.world().lab.registrar().registrations().is_empty(), "signed off");
}

#[test]
fn a_virtual_phone_on_the_kernels_bus_signs_its_user_in_and_off_again() {
    signs_its_user_in_and_off_again(Kind::Virtual);
}

#[test]
fn the_reference_phone_on_a_device_port_signs_its_user_in_and_off_again() {
    signs_its_user_in_and_off_again(Kind::Gadget);
}
