//! What is wrong with the first phone, or with its cable.

use super::Does::Phone;
use super::Entry;
use super::value::Takes::{Counted, Nothing, Word};
use crate::credential::KeyKind;
use crate::lab::Lab;
use crate::lab::phone::{Clock, Consent, Extra, Lies};
use crate::lab::usbip::{Cut, Side};
use std::time::Duration;

/// How long a pulled cable lies there, and how long a phone takes to start.
const HELPED: Duration = Duration::from_secs(3);

pub(super) const FAULTS: &[Entry] = &[
    Entry {
        name: "unplug-at",
        takes: Counted,
        says: "the cable is pulled instead of transfer N, counted from the plugging in, and put in again 3 s later",
        does: Phone(|lab, value| {
            let cut = Cut { transfer: value.count(), side: Side::Before };
            lab.exporter().cut(&first(lab), cut);
            lab.help_up(HELPED);
        }),
    },
    Entry {
        name: "unplug-after",
        takes: Counted,
        says: "the cable is pulled when the phone has done transfer N and before it says so, and put in again 3 s later",
        does: Phone(|lab, value| {
            let cut = Cut { transfer: value.count(), side: Side::After };
            lab.exporter().cut(&first(lab), cut);
            lab.help_up(HELPED);
        }),
    },
    Entry {
        name: "moved-at",
        takes: Counted,
        says: "the cable is pulled instead of transfer N, and put into port 1-9 3 s later",
        does: Phone(|lab, value| {
            lab.exporter().cut(&first(lab), Cut { transfer: value.count(), side: Side::Before });
            lab.move_up("1-9", HELPED);
        }),
    },
    Entry {
        name: "swapped-at",
        takes: Counted,
        says: "the cable is pulled instead of transfer N, and 3 s later another phone is on it that says it is the first",
        does: Phone(|lab, value| {
            lab.exporter().cut(&first(lab), Cut { transfer: value.count(), side: Side::Before });
            let double = lab.double();
            lab.swap_up(double, HELPED);
        }),
    },
    Entry {
        name: "stalls-at",
        takes: Counted,
        says: "transfer N is refused by a stall",
        does: Phone(|lab, value| lab.exporter().stall_at(&first(lab), value.count())),
    },
    Entry {
        name: "hangs-at",
        takes: Counted,
        says: "transfer N is never answered",
        does: Phone(|lab, value| lab.exporter().hang_at(&first(lab), value.count())),
    },
    Entry {
        name: "power-lost-at-commit",
        takes: Nothing,
        says: "the power goes while the new identity is written, and the phone starts again 3 s later",
        does: Phone(|lab, _| {
            lie(lab, |lies| lies.loses_power_at_commit = true);
            lab.help_up(HELPED);
        }),
    },
    Entry {
        name: "power-lost-at",
        takes: Counted,
        says: "the power goes at the flash's step N, three steps a write, and the phone starts again 3 s later",
        does: Phone(|lab, value| {
            lab.phone().cut_power_at(value.count());
            lab.help_up(HELPED);
        }),
    },
    Entry {
        name: "refuses",
        takes: Word(REFUSED, "=begin|make-key|signing-request|stage|check|commit|prove|set-clock"),
        says: "the phone does not do this",
        does: Phone(|lab, value| {
            let refused = REFUSED.iter().copied().find(|name| *name == value.word());
            lie(lab, |lies| lies.refuses = refused);
        }),
    },
    Entry {
        name: "declines",
        takes: Nothing,
        says: "the phone wants a key pressed, and the person at it declines",
        does: Phone(|lab, _| lab.phone().set_consent(Consent::Press { agrees: false })),
    },
    Entry {
        name: "asks-for-code",
        takes: Counted,
        says: "the phone wants this administrator code, and locks after three wrong ones",
        does: Phone(|lab, value| {
            lab.phone().set_consent(Consent::Code { code: value.word().to_owned(), tries: 3 });
        }),
    },
    Entry {
        name: "request-of-another-key",
        takes: Nothing,
        says: "the signing request holds another key than the phone says it made",
        does: Phone(|lab, _| lie(lab, |lies| lies.requests_another_key = true)),
    },
    Entry {
        name: "request-badly-signed",
        takes: Nothing,
        says: "the signing request's own signature does not fit it",
        does: Phone(|lab, _| lie(lab, |lies| lies.signs_request_badly = true)),
    },
    Entry {
        name: "request-of-another-user",
        takes: Nothing,
        says: "the signing request names mallory@contoso.example",
        does: Phone(|lab, _| lie(lab, |lies| lies.names_another_user = true)),
    },
    Entry {
        name: "proof-by-another-key",
        takes: Nothing,
        says: "the phone signs its proof with another key",
        does: Phone(|lab, _| lie(lab, |lies| lies.proves_with_another_key = true)),
    },
    Entry {
        name: "commits-nothing",
        takes: Nothing,
        says: "the phone says that it committed, and keeps what it had",
        does: Phone(|lab, _| lie(lab, |lies| lies.commits_nothing = true)),
    },
    Entry {
        name: "drops-anchors",
        takes: Nothing,
        says: "the phone says that it installed an anchor, and did not",
        does: Phone(|lab, _| lie(lab, |lies| lies.drops_anchors = true)),
    },
    Entry {
        name: "garbled-answers",
        takes: Nothing,
        says: "the phone's answers do not decrypt",
        does: Phone(|lab, _| lie(lab, |lies| lies.garbles_answers = true)),
    },
    Entry {
        name: "full",
        takes: Nothing,
        says: "the phone has no room for another trust anchor",
        does: Phone(|lab, _| lab.phone().rebuild(|material| material.max_installed_anchors = 0)),
    },
    Entry {
        name: "twin-serials",
        takes: Nothing,
        says: "another phone has the first one's serial number",
        does: Phone(|lab, _| lab.plug_twin()),
    },
    Entry {
        name: "double",
        takes: Nothing,
        says: "another phone says that it is the first: serial number, MAC address and device UUID are the same",
        does: Phone(|lab, _| lab.plug_double()),
    },
    Entry {
        name: "no-serial",
        takes: Nothing,
        says: "the phone has no serial number, and so no factory key that is for it",
        does: Phone(|lab, _| lab.take_the_serial_away()),
    },
    Entry {
        name: "brings",
        takes: Word(BROUGHT, "=keyboard|disk|network|hidden-keyboard|second-tether"),
        says: "the phone brings this too, the hidden one as another setting of an interface",
        does: Phone(|lab, value| {
            let extra = match value.word() {
                "disk" => Extra { kind: (0x08, 0x06, 0x50), hidden: false },
                "network" => Extra { kind: (0x02, 0x06, 0x00), hidden: false },
                "hidden-keyboard" => Extra { kind: (0x03, 0x01, 0x01), hidden: true },
                "second-tether" => Extra { kind: crate::phone::tether::INTERFACE, hidden: false },
                _ => Extra { kind: (0x03, 0x01, 0x01), hidden: false },
            };
            lab.bring(extra);
        }),
    },
    Entry {
        name: "clock-of-2008",
        takes: Nothing,
        says: "the phone's clock shows 2008, as a lab's phones do by themselves",
        does: Phone(|lab, _| lab.phone().set_clock(Clock::Shows(time::macros::datetime!(2008-01-01 00:00 UTC)))),
    },
    Entry {
        name: "clock-unset",
        takes: Nothing,
        says: "the phone's clock was never set",
        does: Phone(|lab, _| lab.phone().set_clock(Clock::Unset)),
    },
    Entry {
        name: "clock-ahead",
        takes: Nothing,
        says: "the phone's clock shows 2037",
        does: Phone(|lab, _| lab.phone().set_clock(Clock::Shows(time::macros::datetime!(2037-06-01 00:00 UTC)))),
    },
    Entry {
        name: "clock-cannot-be-set",
        takes: Nothing,
        says: "the phone has no way to have its clock set",
        does: Phone(|lab, _| {
            let clock = crate::phone::tether::messages::capability::CLOCK;
            lab.phone().rebuild(|material| material.capabilities &= !clock);
        }),
    },
    Entry {
        name: "old-firmware",
        takes: Nothing,
        says: "the phone trusts one root that has ended and one of somebody else, and has no place for more",
        does: Phone(|lab, _| {
            let anchors = lab.old_roots();
            lab.phone().rebuild(|material| {
                material.firmware = "1.0.452".to_owned();
                material.anchors = anchors;
                material.max_installed_anchors = 0;
            });
        }),
    },
    Entry {
        name: "old-roots",
        takes: Nothing,
        says: "the phone trusts one root that has ended and one of somebody else, and has place for more",
        does: Phone(|lab, _| {
            let anchors = lab.old_roots();
            lab.phone().rebuild(|material| material.anchors = anchors);
        }),
    },
    Entry {
        name: "no-rsa-keys",
        takes: Nothing,
        says: "the phone makes P-256 keys only, and this service takes RSA only",
        does: Phone(|lab, _| lab.phone().rebuild(|material| material.key_kinds = vec![KeyKind::P256])),
    },
    Entry {
        name: "no-factory-key",
        takes: Nothing,
        says: "no maker vouches for the phone: it can only show a short code",
        does: Phone(|lab, _| lab.phone().rebuild(|material| material.factory = None)),
    },
];

/// What a phone can refuse to do, by the protocol's names.
const REFUSED: &[&str] = &["begin", "make-key", "signing-request", "stage", "check", "commit", "prove", "set-clock"];

/// What a phone may bring that it has no business with.
const BROUGHT: &[&str] = &["keyboard", "disk", "network", "hidden-keyboard", "second-tether"];

/// The port of the first phone.
fn first(lab: &Lab) -> String {
    lab.phones().first().map(|(bus_id, _)| bus_id.clone()).unwrap_or_default()
}

fn lie(lab: &Lab, change: impl FnOnce(&mut Lies)) {
    let phone = lab.phone();
    let mut lies = phone.lies();
    change(&mut lies);
    phone.lie(lies);
}
