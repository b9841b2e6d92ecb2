//! Discovery against a real DHCP and DNS server, Debian's dnsmasq, in network namespaces: `tests/discovery/run`.
//!
//! The tests themselves run in a namespace with nothing in it. Each lays a cable (a pair of veth interfaces) from there into a
//! namespace of a dnsmasq, asks as phones do, and takes the cable away.

mod findings;
mod jobs;
mod wire;
