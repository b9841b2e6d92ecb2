//! The two libraries that reach this computer's own USB.

use std::fmt;
use std::str::FromStr;

/// A library that reaches this computer's own USB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum UsbLibrary {
    /// nusb, which speaks to the operating system itself. In every build.
    #[default]
    System,
    /// libusb, in builds with the feature `libusb`.
    Libusb,
}

/// Why a text names no library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no way to this computer's USB: write system or libusb")]
pub struct ParseUsbLibraryError {
    /// What was given, escaped.
    pub text: String,
}

impl UsbLibrary {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::System, Self::Libusb];

    /// Whether this build has it.
    pub fn is_built(self) -> bool {
        match self {
            Self::System => true,
            Self::Libusb => cfg!(feature = "libusb"),
        }
    }
}

impl fmt::Display for UsbLibrary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::Libusb => "libusb",
        })
    }
}

impl FromStr for UsbLibrary {
    type Err = ParseUsbLibraryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let library = Self::ALL.into_iter().find(|library| library.to_string() == text);
        library.ok_or_else(|| ParseUsbLibraryError { text: text.escape_default().to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_read_as_it_is_written_and_another_word_is_refused_with_both() {
        for library in UsbLibrary::ALL {
            assert_eq!(library.to_string().parse(), Ok(library));
        }
        let error = "winusb\n".parse::<UsbLibrary>().unwrap_err();
        assert_eq!(error.to_string(), "`winusb\\n` is no way to this computer's USB: write system or libusb");
    }
}
