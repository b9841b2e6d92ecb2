//! What the program promises on a real kernel's USB. `tests/usb-vm/run` starts this in a virtual machine; one module a subject.
//!
//! Each test begins with [`guest::here`], has the kernel's USB to itself, and leaves it as it was.

mod guest;
mod machine;
mod power_cut;
