//! Which phone it is, on a real kernel's USB: what is more than a phone is refused, and another phone is never taken for one.

use super::guest;
use super::own_usb::OwnUsb;
use tethercert::phone::Finder;
use tethercert::phone::definition::Definitions;
use tethercert::usb::UsbError;

#[test]
fn a_device_that_brings_a_keyboard_a_disk_or_a_network_is_shown_and_refused() {
    guest::here();
    let brings = [
        ("keyboard", "keyboard"),
        ("disk", "disk"),
        ("network", "network"),
        ("hidden-keyboard", "keyboard"),
        ("second-tether", "of its maker's own kind"),
    ];
    let faults: Vec<String> = (1..).zip(brings).map(|(phone, (extra, _))| format!("brings={extra}@{phone}")).collect();
    let bench = OwnUsb::with_phones(5, &faults.iter().map(String::as_str).collect::<Vec<_>>());
    let list = bench.tool.run(&["list", "--json"]);
    for (number, (extra, what)) in brings.into_iter().enumerate() {
        let place = bench.place(number);
        let shown = list.lines().iter().any(|line| line["device"] == place && line["unexpected"][0]["what"] == what);
        assert_eq!(shown, !extra.contains("hidden"), "{extra}: {}", list.whole());
        let ran = bench.provision(&place);
        assert_eq!(ran.code, 6, "{extra}: {}", ran.whole());
        assert!(ran.last()["message"].as_str().unwrap().contains(what), "{}", ran.whole());
        assert_eq!(bench.tool.run(&["info", "--json", "--device", &place]).code, 6, "{extra}");
        assert_eq!(bench.world.lab.phones()[number].1.flash_steps(), 0, "{extra}");
    }
}

#[test]
fn twins_by_serial_number_are_told_apart_by_their_ports_and_mac_addresses() {
    guest::here();
    let bench = OwnUsb::with_phones(2, &["twin-serials"]);
    let info = |device: &str| bench.tool.run(&["info", "--json", "--device", device]);
    let ran = info("serial:LAB00001");
    assert_eq!(ran.code, 8, "{}", ran.whole());
    let said: Vec<_> = [0, 1].map(|number| info(&bench.place(number)).last()["identity"].clone()).into();
    assert_eq!(said[0]["serial"], said[1]["serial"]);
    assert_ne!(said[0]["mac"], said[1]["mac"]);
    let mac = format!("mac:{}", said[1]["mac"].as_str().unwrap());
    let ran = info(&mac);
    assert_eq!((ran.code, format!("port:{}", ran.last()["port"].as_str().unwrap())), (0, bench.place(1)));
}

#[test]
fn a_phone_without_a_serial_number_is_known_by_its_port() {
    guest::here();
    let bench = OwnUsb::with_phones(1, &["no-serial"]);
    let place = bench.place(0);
    let list = bench.tool.run(&["list", "--json"]);
    assert!(list.lines().iter().any(|line| line["device"] == place && line["serial"].is_null()), "{}", list.whole());
    let info = bench.tool.run(&["info", "--json", "--device", &place]);
    assert_eq!((info.code, &info.last()["identity"]["serial"]), (0, &"".into()), "{}", info.whole());
    assert_eq!(bench.tool.run(&["info", "--json", "--device", "serial:LAB00001"]).code, 3);
}

#[test]
fn another_phone_on_the_jobs_port_is_left_alone_and_its_own_is_found_on_another_port() {
    guest::here();
    let mut bench = OwnUsb::with_phones(1, &[]);
    let (own, place) = (bench.world.lab.phone().clone(), bench.place(0));
    bench.world.lab.web().faults().answer_lost = 2;
    let ran = bench.provision(&place);
    assert_eq!(ran.code, 5, "{}", ran.whole());

    let double = bench.world.lab.double();
    bench.pull();
    let double = bench.in_the_room(|lab| lab.replace("1-1", double));
    bench.settled();
    let ran = bench.resume();
    assert_eq!(ran.code, 6, "{}", ran.whole());
    assert!(ran.last()["message"].as_str().unwrap().contains("its factory key is another"), "{}", ran.whole());
    let ran = bench.provision(&place);
    assert_eq!(ran.code, 6, "a new job neither: {}", ran.whole());
    assert_eq!(double.flash_steps(), 0);

    bench.in_the_room(|lab| lab.exporter().plug("1-9", Box::new(own.device())));
    let other = format!("port:{}", bench.attach("1-9"));
    assert_ne!(other, place);
    let ran = bench.resume();
    assert_eq!((ran.code, own.installed().is_some()), (0, true), "{}", ran.whole());
    assert_eq!(double.flash_steps(), 0);
}

#[test]
fn what_was_plugged_in_anew_since_the_list_is_not_opened() {
    guest::here();
    let mut bench = OwnUsb::with_phones(1, &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let finder = Finder::to_list(Definitions::shipped());
    let found = runtime.block_on(finder.pick(None)).unwrap();
    bench.replug();
    let again = runtime.block_on(finder.pick(None)).unwrap();
    assert_eq!(again.attached.slot, found.attached.slot);
    assert_ne!(again.attached.address, found.attached.address);
    let opened = runtime.block_on(finder.usb.open_kind(&found.attached, tethercert::phone::tether::INTERFACE));
    assert!(matches!(opened, Err(UsbError::Unplugged { .. })), "the same phone, and nobody knows that");
    runtime.block_on(finder.meet(&again)).map(drop).unwrap();
}
