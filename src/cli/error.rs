//! What a command fails with: the library's errors, and what only the command line can get wrong.

use super::exit::Exit;
use std::io;
use tethercert::diagnose::TestDeviceError;
pub(crate) use tethercert::diagnose::causes;
use tethercert::lab::usbip::AttachError;
use tethercert::ledger::LedgerError;
use tethercert::phone::PhoneError;
use tethercert::phone::definition::DefinitionError;
use tethercert::phone::tether::HostKeyError;
use tethercert::pool::PoolsError;
use tethercert::provision::{NoAnswer, ProvisionError};
use tethercert::recording::ReplayError;
use tethercert::service::capture::{NothingCaptured, WriteError};
use tethercert::service::ocauth::{PoolError, ProfileError};
use tethercert::station::roster::RosterError;
use tethercert::tls::TrustError;
use tethercert::usb::UsbError;
use tethercert::usb::capture::CaptureError;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The options do not make sense together, or one is missing.
    #[error("{message}")]
    Usage { message: String, next: String },
    /// A rule of the program forbids it.
    #[error("{message}")]
    Refused { message: String, next: String },
    /// Somebody has to decide, and nobody can be asked.
    #[error("{message}")]
    NeedsPerson { message: String, next: String },
    #[error(transparent)]
    Job(#[from] ProvisionError),
    #[error(transparent)]
    Usb(#[from] UsbError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Pools(#[from] PoolsError),
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error(transparent)]
    Capture(#[from] NothingCaptured),
    #[error(transparent)]
    WriteCapture(#[from] WriteError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    TestDevice(#[from] TestDeviceError),
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// A file with a secret, or a secret that nobody gave.
    #[error(transparent)]
    Secret(#[from] NoAnswer),
    #[error("{} could not be written", path.display())]
    NotWritten { path: std::path::PathBuf, source: io::Error },
    #[error("{} could not be read", path.display())]
    NotRead { path: std::path::PathBuf, source: io::Error },
    #[error("{} cannot be replayed", path.display())]
    Replay { path: std::path::PathBuf, source: Box<ReplayError> },
    #[error(transparent)]
    UsbCapture(#[from] CaptureError),
    /// The phone of a job that was to be resumed.
    #[error("the phone {serial} ({model}) is not plugged in")]
    PhoneMissing { serial: String, model: String },
    #[error("the lab could not be started")]
    Lab(#[source] io::Error),
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error("signals of the system cannot be received")]
    Signals(#[source] io::Error),
}

impl From<PhoneError> for CliError {
    fn from(error: PhoneError) -> Self {
        Self::Job(error.into())
    }
}

impl CliError {
    pub(crate) fn usage(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), next: next.into() }
    }

    pub(crate) fn refused(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), next: next.into() }
    }

    /// What the technician does next.
    pub(crate) fn next_step(&self) -> String {
        match self {
            Self::Usage { next, .. } | Self::Refused { next, .. } | Self::NeedsPerson { next, .. } => next.clone(),
            Self::Job(error) => error.next_step(),
            Self::Usb(error) => error.next_step().to_owned(),
            Self::Ledger(error) => error.next_step().to_owned(),
            Self::HostKey(error) => error.next_step().to_owned(),
            Self::Definition(error) => error.next_step().to_owned(),
            Self::Pool(error) => error.next_step().to_owned(),
            Self::Pools(error) => error.next_step(),
            Self::Profile(error) => error.next_step().to_owned(),
            Self::Capture(error) => error.next_step().to_owned(),
            Self::WriteCapture(error) => error.next_step().to_owned(),
            Self::Trust(error) => error.next_step().to_owned(),
            Self::TestDevice(error) => error.next_step().to_owned(),
            Self::Roster(error) => error.next_step().to_owned(),
            Self::Secret(error) => error.next_step(),
            Self::NotWritten { .. } => "check that this user may write there, or name another folder".into(),
            Self::NotRead { .. } => "check the path, and that this user may read the file".into(),
            Self::Replay { source, .. } => source.next_step(),
            Self::UsbCapture(error) => error.next_step(),
            Self::PhoneMissing { .. } => "plug it in and repeat; its job waits".into(),
            Self::Lab(_) => "free some ports and some room in the temporary folder, then repeat".into(),
            Self::Attach(error) => error.next_step(),
            Self::Signals(_) => "repeat; without signals a job could not be stopped at a safe point".into(),
        }
    }

    /// The exit code that goes with it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } | Self::Definition(_) | Self::Pool(_) | Self::Profile(_) | Self::Trust(_) => Exit::Usage,
            Self::Roster(_) => Exit::Usage,
            Self::Secret(NoAnswer::Unreadable { .. } | NoAnswer::Empty { .. }) => Exit::Usage,
            Self::Capture(error) if error.is_temporary() => Exit::Temporary,
            Self::Capture(_) | Self::WriteCapture(WriteError::NotWritable { .. }) => Exit::Failed,
            Self::WriteCapture(WriteError::NotEmpty { .. }) => Exit::Usage,
            Self::Pools(error) => match error {
                PoolsError::NoSuchPool { .. } => Exit::NotFound,
                PoolsError::Ambiguous { .. } | PoolsError::OtherDomain { .. } => Exit::NeedsPerson,
                PoolsError::AnchorChanged { .. } => Exit::Refused,
                PoolsError::NotWritable { .. } => Exit::Failed,
                PoolsError::NoHome
                | PoolsError::Exists { .. }
                | PoolsError::Unreadable { .. }
                | PoolsError::Secret { .. }
                | PoolsError::Invalid { .. } => Exit::Usage,
            },
            Self::Secret(NoAnswer::Nobody { .. }) => Exit::NeedsPerson,
            Self::Refused { .. } => Exit::Refused,
            Self::PhoneMissing { .. } => Exit::NotFound,
            Self::NeedsPerson { .. } => Exit::NeedsPerson,
            Self::Job(error) => error.remedyable().into(),
            Self::Usb(error) => match error {
                UsbError::NotFound { .. } => Exit::NotFound,
                UsbError::NotBuilt { .. } => Exit::Usage,
                UsbError::Ambiguous { .. } => Exit::NeedsPerson,
                UsbError::Busy { .. }
                | UsbError::TimedOut { .. }
                | UsbError::Unplugged { .. }
                | UsbError::Unreachable { .. }
                | UsbError::Silent { .. } => Exit::Temporary,
                UsbError::NoPermission { .. }
                | UsbError::Stalled { .. }
                | UsbError::NoUsb { .. }
                | UsbError::Missing { .. }
                | UsbError::Damaged { .. }
                | UsbError::Descriptor { .. }
                | UsbError::Refused { .. }
                | UsbError::Protocol { .. }
                | UsbError::System { .. } => Exit::Failed,
            },
            Self::Ledger(LedgerError::Busy { .. } | LedgerError::AtWork { .. }) => Exit::Temporary,
            Self::NotRead { .. } | Self::Replay { .. } | Self::UsbCapture(CaptureError::Elsewhere { .. }) => {
                Exit::Usage
            }
            Self::UsbCapture(CaptureError::NotWritten { source, .. })
                if source.kind() == io::ErrorKind::AlreadyExists =>
            {
                Exit::Usage
            }
            Self::UsbCapture(_)
            | Self::Ledger(_)
            | Self::HostKey(_)
            | Self::NotWritten { .. }
            | Self::Lab(_)
            | Self::Attach(_)
            | Self::TestDevice(_)
            | Self::Signals(_) => Exit::Failed,
        }
    }

    /// What is under it, from the top, each without what it repeats of the one above.
    pub(crate) fn causes(&self) -> Vec<String> {
        causes(self)
    }
}
