//! What the program promises on a real kernel's USB. `tests/usb-vm/run` starts this in a virtual machine; one module a subject.
//!
//! Each test begins with [`guest::here`], has the kernel's USB to itself, and leaves it as it was.

mod attaching;
mod benchmark;
mod board;
mod desk;
mod frames;
mod gadget;
mod guest;
mod identity;
mod libraries;
mod machine;
mod matrix;
mod own_usb;
mod permissions;
mod power_cut;
mod promises;
mod recording;
mod rehearsal;
mod roster;
mod stock;
#[path = "../cli/tool.rs"]
mod tool;
mod usbip_peers;
mod usbipd;
mod world;
