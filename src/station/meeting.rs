//! Meeting a phone that was just plugged in.

use crate::phone::{Finder, Found, Identified, Phone, PhoneError};
use crate::usb::UsbError;
use std::time::Duration;

/// How often a phone is tried that the system has not handed over yet, and how long is waited in between: udev gives a
/// new device its rights a moment after the kernel has shown it.
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(250);

/// Opens a phone and asks who it is.
pub(super) async fn meet(finder: &Finder, found: &Found) -> Result<(Phone, Identified), PhoneError> {
    let mut tries = 1;
    loop {
        match finder.meet(found).await {
            Err(error) if tries < TRIES && may_pass(&error) => tries += 1,
            met => return met,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn may_pass(error: &PhoneError) -> bool {
    matches!(error, PhoneError::Usb { source: UsbError::NoPermission { .. } | UsbError::Busy { .. }, .. })
}
