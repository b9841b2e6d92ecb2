//! What the program fails with.

use std::io;
use std::path::PathBuf;
use tethercert::gadget::factory::FactoryError;
use tethercert::gadget::folder::FolderError;
use tethercert::gadget::port::PortError;

/// Why there is no phone, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PhoneError {
    #[error("{message}")]
    Usage { message: String, next: String },
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Factory(#[from] FactoryError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("{} cannot be read", path.display())]
    NotRead { path: PathBuf, source: io::Error },
    #[error("{} holds no administrator code", .0.display())]
    NoCode(PathBuf),
    #[error("the system does not give what the program needs")]
    System(#[source] io::Error),
}

impl PhoneError {
    pub(crate) fn next_step(&self) -> String {
        match self {
            Self::Usage { next, .. } => next.clone(),
            Self::Folder(error) => error.next_step(),
            Self::Factory(error) => error.next_step(),
            Self::Port(error) => error.next_step(),
            Self::NotRead { path, .. } => format!("look at {}", path.display()),
            Self::NoCode(_) => "write the code into its first line, 1 to 64 bytes".into(),
            Self::System(_) => "start it again".into(),
        }
    }

    /// 2 is usage, 1 all else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            _ => 1,
        }
    }
}
