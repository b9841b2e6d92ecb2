//! What goes wrong in the network that tells phones where their pool is.

use super::Does::Network;
use super::Entry;
use super::value::Takes::Word;
use crate::lab::dhcp::DhcpFault;
use crate::lab::dns::{DnsFault, TimeFault};

pub(super) const FAULTS: &[Entry] = &[
    Entry {
        name: "dhcp",
        takes: Word(
            &[
                "silent",
                "no-registrar",
                "no-web",
                "neither",
                "wrong-case",
                "other-identifier",
                "no-identifier",
                "http",
                "web-by-address",
                "bad-port",
                "bad-path",
                "incomplete",
                "cut-short",
                "registrar-text",
                "registrar-by-address",
                "rogue",
                "late-rogue",
                "in-parts",
                "bad-vlan",
            ],
            "=silent|no-registrar|no-web|neither|wrong-case|other-identifier|no-identifier|http|web-by-address|bad-port|bad-path|\
             incomplete|cut-short|registrar-text|registrar-by-address|rogue|late-rogue|in-parts|bad-vlan",
        ),
        says: "what DHCP tells phones is left out or wrong, or a stranger answers too, first or late",
        does: Network(|network, value| {
            let fault = DhcpFault::named(value.word()).expect("the words are the faults' names");
            network.break_dhcp(fault);
        }),
    },
    Entry {
        name: "dns",
        takes: Word(&["silent", "refused", "failed"], "=silent|refused|failed"),
        says: "the DNS server says nothing, refuses, or fails",
        does: Network(|network, value| {
            network.break_dns(match value.word() {
                "refused" => DnsFault::Refused,
                "failed" => DnsFault::Failed,
                _ => DnsFault::Silent,
            });
        }),
    },
    Entry {
        name: "time",
        takes: Word(&["silent", "not-known", "unreadable", "ahead"], "=silent|not-known|unreadable|ahead"),
        says: "the time server says nothing, is not synchronised, talks nonsense, or is an hour ahead",
        does: Network(|network, value| {
            network.break_time(match value.word() {
                "not-known" => TimeFault::NotKnown,
                "unreadable" => TimeFault::Unreadable,
                "ahead" => TimeFault::Ahead(3600),
                _ => TimeFault::Silent,
            });
        }),
    },
];

#[test]
fn every_fault_of_the_dhcp_server_has_its_word() {
    let Word(words, shape) = FAULTS[0].takes else { panic!("dhcp takes a word") };
    assert!(words.iter().copied().eq(DhcpFault::ALL.iter().map(|(name, _)| *name)));
    assert_eq!(shape, format!("={}", words.join("|")));
}
