//! USB/IP as the kernel and Debian have it: `usbip-host` with `usbipd` exports, `usbip attach` imports.

use super::guest;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command};

/// Debian's USB/IP server, exporting one device of this kernel.
pub struct Usbipd {
    port: u16,
    bus_id: String,
    server: Child,
}

impl Usbipd {
    /// Takes the device at this place of the kernel's bus from its drivers, and exports it.
    pub fn exporting(bus_id: &str) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let server = Command::new("/usr/sbin/usbipd").args(["-4", &format!("-t{port}")]).spawn().unwrap();
        let this = Self { port, bus_id: bus_id.to_owned(), server };
        usbip(&["bind", "-b", bus_id]);
        guest::wait_for("usbipd", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        this
    }

    /// For `--usbip`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Usbipd {
    fn drop(&mut self) {
        let _ = Command::new("/usr/sbin/usbip").args(["unbind", "-b", &self.bus_id]).output();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A device that the kernel's own client has attached to `vhci_hcd`.
pub struct KernelAttached;

impl KernelAttached {
    /// The device with this bus id of the server at this port.
    pub fn from(port: u16, bus_id: &str) -> Self {
        usbip(&["--tcp-port", &port.to_string(), "attach", "-r", "127.0.0.1", "-b", bus_id]);
        guest::wait_for("the kernel to see the device", || guest::plugged().pop());
        Self
    }
}

impl Drop for KernelAttached {
    fn drop(&mut self) {
        let _ = Command::new("/usr/sbin/usbip").args(["detach", "-p", "0"]).output();
    }
}

/// Runs Debian's `usbip`, which has to succeed.
pub fn usbip(arguments: &[&str]) -> String {
    let output = Command::new("/usr/sbin/usbip").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "usbip {arguments:?}: {said}");
    said
}
