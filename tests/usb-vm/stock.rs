//! The keys that the machine's labs and phones take instead of making them: an RSA key is some 0.1 s of work here and
//! seconds where it is emulated. Made on the host, once.

use std::path::PathBuf;
use tethercert::device::keys::{KNOWN_KEYS, Stock};

/// More than any test takes, so that no two of its phones have the same.
const COUNT: usize = 64;

#[test]
#[ignore = "fills the machine's stock of keys: tests/usb-vm/run does it"]
fn fill() {
    let folder = PathBuf::from(std::env::var_os(KNOWN_KEYS).expect("the folder to fill"));
    Stock::fill(&folder, COUNT).unwrap();
}
