//! tethercert gives a desk phone its certificate over a USB cable.
//!
//! A phone that signs in with a certificate normally fetches it over the network. Where that fails, a technician plugs
//! the phone into a PC: tethercert finds it ([`usb`], [`phone`]), enrols its user with the Web Services ([`service`]),
//! installs the certificate together with the server trust that the phone lacks ([`credential`]), has the phone prove
//! that it holds the key, and writes down what was intended, claimed and observed ([`ledger`]). The story of one phone is
//! [`provision`], that of many phones and a roster [`station`]; [`lab`] is the other end of every wire, so that all of it can be seen without a phone or a pool.
//!
//! Arrows point one way: `cli` and `station` use `provision`; `provision` uses the [`phone::Driver`] and
//! [`service::Enrolment`] traits; `phone` uses `usb`; `service` uses `tls`. The lab implements none of these traits: it is a peer on a wire. Its
//! phones and the reference phone (`gadget`, a feature) are [`device`], the phone's side of the cable.

// Tests that run on a kernel too name the library from outside.
#[cfg(test)]
extern crate self as tethercert;

#[cfg(all(feature = "gadget", not(target_os = "linux")))]
compile_error!(
    "the reference phone (feature `gadget`) is for Linux boards: leave the feature away, or build with a Linux --target"
);

pub mod credential;
pub mod device;
pub mod diagnose;
pub mod discovery;
mod folders;
#[cfg(all(feature = "gadget", target_os = "linux"))]
pub mod gadget;
pub mod lab;
pub mod ledger;
pub mod phone;
pub mod pool;
pub mod provision;
pub mod recording;
pub mod registrar;
pub mod service;
pub mod station;
pub mod tape;
mod text_form;
pub mod tls;
pub mod usb;
pub mod world;
