//! Why something on the cable went wrong, and what the technician does next.

use std::fmt;
use std::io;
use std::time::Duration;

use super::descriptor::BadDescriptor;
use super::slot::{Slot, UsbIpHost};
use super::usbip::Violation;

/// Where it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// This computer's USB as a whole.
    Computer,
    /// A USB/IP server as a whole.
    Host(UsbIpHost),
    /// One port.
    Port(Slot),
}

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Listing the devices.
    Listing,
    /// Waiting for devices to come and go.
    Watching,
    /// Opening a device and claiming its interface.
    Opening,
    /// Reading what the device says about itself.
    ReadingDescriptors,
    /// Making the device's configuration the active one.
    Configuring,
    /// A control request, by its `bRequest`.
    Control {
        /// `bRequest`.
        request: u8,
    },
    /// A transfer of data on an endpoint.
    Transfer {
        /// `bEndpointAddress`.
        endpoint: u8,
    },
    /// Ending the halt of an endpoint.
    ClearingHalt {
        /// `bEndpointAddress`.
        endpoint: u8,
    },
}

/// Why talking to a USB device failed. Each variant says where, and during what.
#[derive(Debug, thiserror::Error)]
pub enum UsbError {
    /// Another program, driver or computer has the device.
    #[error("the device on {at} is in use by another program or computer ({during})")]
    Busy {
        /// Where.
        at: Where,
        /// During what.
        during: Doing,
    },
    /// The operating system does not let this user open the device.
    #[error("this user may not open the device on {at} ({during})")]
    NoPermission {
        /// Where.
        at: Where,
        /// During what.
        during: Doing,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The device is gone: unplugged, switched off, or its USB/IP server closed the connection.
    #[error("the device on {at} was unplugged while {during}")]
    Unplugged {
        /// Where.
        at: Where,
        /// During what.
        during: Doing,
    },
    /// The device refused the request, or its endpoint is halted.
    #[error("the device on {at} refused {during}")]
    Stalled {
        /// Where.
        at: Where,
        /// During what.
        during: Doing,
    },
    /// The device did not answer in time. The transfer is withdrawn; the link still works.
    #[error("the device on {at} did not answer within {after:?} while {during}")]
    TimedOut {
        /// Where.
        at: Where,
        /// During what.
        during: Doing,
        /// The deadline that passed.
        after: Duration,
    },
    /// This computer has no USB, or its system offers none.
    #[error("this computer offers no USB ({during})")]
    NoUsb {
        /// During what.
        during: Doing,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nothing is plugged in there, or nothing matches.
    #[error("no device was found for {sought}")]
    NotFound {
        /// The slot or selector sought, as text.
        sought: String,
    },
    /// Several devices match, and guessing between them is refused.
    #[error("{} devices fit ({sought}): {}", candidates.len(), candidates.join("; "))]
    Ambiguous {
        /// The selector sought, as text.
        sought: String,
        /// Each candidate with its slot and what it says about itself.
        candidates: Vec<String>,
    },
    /// The device has no such interface, or the claimed interface no such endpoint, of the kind needed.
    #[error("the device on {at} has no {missing}")]
    Missing {
        /// Where.
        at: Where,
        /// What it lacks.
        missing: Missing,
    },
    /// The device answered more than was asked for, or the bus reported a fault.
    #[error("the USB transfer on {at} was damaged while {during}")]
    Damaged {
        /// Where.
        at: Where,
        /// During what.
        during: Doing,
        /// What the system said, where it said something.
        #[source]
        source: Option<io::Error>,
    },
    /// What the device says about itself makes no sense.
    #[error("the device on {at} has a malformed descriptor")]
    Descriptor {
        /// Where.
        at: Where,
        /// What is wrong with it.
        #[source]
        source: BadDescriptor,
    },
    /// The USB/IP server does not export the device.
    #[error("the USB/IP server refused {during} {at} with status {status}")]
    Refused {
        /// Where.
        at: Where,
        /// During what.
        during: Doing,
        /// Status of the import reply: 1 not available, 3 device error, 5 unexpected answer.
        status: u32,
    },
    /// The USB/IP server cannot be reached.
    #[error("the USB/IP server of {at} cannot be reached ({during})")]
    Unreachable {
        /// Where.
        at: Where,
        /// During what.
        during: Doing,
        /// What the network said.
        #[source]
        source: io::Error,
    },
    /// The USB/IP server no longer says anything. The link has ended.
    #[error("the USB/IP server of {at} fell silent for {after:?} while {during}")]
    Silent {
        /// Where.
        at: Where,
        /// During what.
        during: Doing,
        /// How long it was waited for.
        after: Duration,
    },
    /// The USB/IP server broke the protocol. The link has ended.
    #[error("the USB/IP server of {at} broke the protocol while {during}")]
    Protocol {
        /// Where.
        at: Where,
        /// During what.
        during: Doing,
        /// What it did.
        #[source]
        source: Violation,
    },
    /// The system's USB failed in another way.
    #[error("the USB system failed on {at} while {during}")]
    System {
        /// Where.
        at: Where,
        /// During what.
        during: Doing,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What a device lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// An interface with this number.
    Interface(u8),
    /// An interface of this class, subclass and protocol.
    InterfaceKind((u8, u8, u8)),
    /// An endpoint with this address, of the kind and direction of the transfer.
    Endpoint(u8),
    /// Room for this many bytes in one control request.
    ControlRoom(usize),
}

impl UsbError {
    /// What the technician does next. No `_` arm: a new failure needs a new answer.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "close the other program that uses the device, or detach it from the other computer",
            Self::NoPermission { .. } if cfg!(windows) => {
                "see what is missing: `tethercert setup driver --check`; then plug the device in again"
            }
            Self::NoPermission { .. } => {
                "let this user open phones: `sudo tethercert setup udev --install`; \
                 `tethercert setup udev --check` says what is still missing"
            }
            Self::Unplugged { .. } => "plug the device in again and repeat the command",
            Self::Stalled { .. } => {
                "repeat the command; when the device refuses again, its firmware does not know the request"
            }
            Self::TimedOut { .. } => {
                "see whether the device is switched on and asks something on its screen, then repeat"
            }
            Self::NoUsb { .. } => "use a computer with USB, or name a USB/IP server with --usbip HOST:PORT",
            Self::NotFound { .. } => {
                "plug the phone in with a cable that carries data; `tethercert list` shows the ports, `info` serial and MAC"
            }
            Self::Ambiguous { .. } => "say which one: --device port: and the port as shown",
            Self::Missing { .. } => "see whether the device's definition fits this model and firmware",
            Self::Damaged { .. } => "use another cable and another port, without a hub in between",
            Self::Descriptor { .. } => "use another cable and port; when it stays, the device's firmware is faulty",
            Self::Refused { .. } => "on the USB/IP server, bind the device again and see that it works there",
            Self::Unreachable { .. } => "see that the USB/IP server runs, and that host, port and firewall are right",
            Self::Silent { .. } => "see that the USB/IP server and the network to it still work, then repeat",
            Self::Protocol { .. } => "see that the server at this address speaks USB/IP 1.1.1",
            Self::System { .. } => "unplug the device, wait a moment, plug it in again and repeat",
        }
    }

    /// Whether the link is of no more use after this error.
    pub fn ends_link(&self) -> bool {
        match self {
            Self::Unplugged { .. } | Self::Silent { .. } | Self::Protocol { .. } | Self::Unreachable { .. } => true,
            Self::Busy { .. }
            | Self::NoPermission { .. }
            | Self::Stalled { .. }
            | Self::TimedOut { .. }
            | Self::NoUsb { .. }
            | Self::NotFound { .. }
            | Self::Ambiguous { .. }
            | Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::Descriptor { .. }
            | Self::Refused { .. }
            | Self::System { .. } => false,
        }
    }
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Computer => f.write_str("this computer"),
            Self::Host(host) => write!(f, "host {host}"),
            Self::Port(slot) => write!(f, "port {slot}"),
        }
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listing => f.write_str("listing devices"),
            Self::Watching => f.write_str("watching for devices"),
            Self::Opening => f.write_str("opening"),
            Self::ReadingDescriptors => f.write_str("reading its descriptors"),
            Self::Configuring => f.write_str("setting its configuration"),
            Self::Control { request } => write!(f, "control request {request:#04x}"),
            Self::Transfer { endpoint } => write!(f, "a transfer on endpoint {endpoint:#04x}"),
            Self::ClearingHalt { endpoint } => write!(f, "clearing the halt of endpoint {endpoint:#04x}"),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(number) => write!(f, "interface {number}"),
            Self::InterfaceKind((class, subclass, protocol)) => {
                write!(f, "interface of class {class:02x}/{subclass:02x}/{protocol:02x}")
            }
            Self::Endpoint(address) => write!(f, "fitting endpoint {address:#04x}"),
            Self::ControlRoom(length) => write!(f, "room for {length} bytes in one control request"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_six_common_failures_have_six_messages_and_six_next_steps() {
        let at = || Where::Port("1-4.2".parse().unwrap());
        let during = Doing::Transfer { endpoint: 0x81 };
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        let six = [
            UsbError::Busy { at: at(), during },
            UsbError::NoPermission { at: at(), during, source: refused() },
            UsbError::Unplugged { at: at(), during },
            UsbError::Stalled { at: at(), during },
            UsbError::TimedOut { at: at(), during, after: Duration::from_secs(1) },
            UsbError::NoUsb { during, source: refused() },
        ];
        let distinct = |texts: Vec<String>| texts.into_iter().collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(distinct(six.iter().map(ToString::to_string).collect()), 6);
        assert_eq!(distinct(six.iter().map(|error| error.next_step().to_owned()).collect()), 6);
        assert!(six[..5].iter().all(|error| error.to_string().contains("1-4.2")));
    }
}
