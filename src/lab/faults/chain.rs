//! What is wrong with the certificates of the server's handshake. A lab starts with `missing-intermediate`.

use super::Does::Chain;
use super::Entry;
use super::value::Takes::Nothing;
use crate::lab::pki::Dates;

pub(super) const FAULTS: &[Entry] = &[
    Entry {
        name: "whole-chain",
        takes: Nothing,
        says: "the handshake carries the intermediate: no fault, and not what a lab does by itself",
        does: Chain(|chain| chain.intermediate_omitted = false),
    },
    Entry {
        name: "missing-intermediate",
        takes: Nothing,
        says: "the handshake leaves the intermediate out, as a lab does by itself",
        does: Chain(|chain| chain.intermediate_omitted = true),
    },
    Entry {
        name: "no-issuer-address",
        takes: Nothing,
        says: "the intermediate is left out and the certificate does not say where it can be had",
        does: Chain(|chain| (chain.intermediate_omitted, chain.no_issuer_address) = (true, true)),
    },
    Entry {
        name: "unknown-root",
        takes: Nothing,
        says: "the chain ends in a root that nobody was given",
        does: Chain(|chain| chain.unknown_root = true),
    },
    Entry {
        name: "wrong-name",
        takes: Nothing,
        says: "the certificate is for other.contoso.example",
        does: Chain(|chain| chain.wrong_name = true),
    },
    Entry {
        name: "server-expired",
        takes: Nothing,
        says: "the server's certificate ended yesterday",
        does: Chain(|chain| chain.server_dates = Dates::Expired),
    },
    Entry {
        name: "server-not-yet",
        takes: Nothing,
        says: "the server's certificate begins tomorrow",
        does: Chain(|chain| chain.server_dates = Dates::NotYet),
    },
    Entry {
        name: "intermediate-expired",
        takes: Nothing,
        says: "the intermediate ended yesterday",
        does: Chain(|chain| chain.intermediate_dates = Dates::Expired),
    },
];
