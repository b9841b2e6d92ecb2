//! The only place that prints. Of what hosts say, control characters are left out: they would steer the terminal.

use crate::error::PhoneError;
use std::error::Error as _;
use std::io::Write;

/// One line for whoever stands at the phone. A terminal that is gone is no reason to stop.
pub(crate) fn line(text: &str) {
    let tame: String = text.chars().filter(|c| !c.is_control()).collect();
    let _ = writeln!(anstream::stdout(), "{tame}");
}

/// Something for another program, as it is.
pub(crate) fn data(text: &str) {
    let _ = write!(anstream::stdout(), "{text}");
}

/// What went wrong, why, and what next.
pub(crate) fn failure(error: &PhoneError) {
    let mut stderr = anstream::stderr();
    let _ = writeln!(stderr, "error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = writeln!(stderr, "cause: {cause}");
        source = cause.source();
    }
    let _ = writeln!(stderr, "next:  {}", error.next_step());
}
