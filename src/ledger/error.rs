//! Why the ledger could not be read or written, and what a person does about it.

use super::JobNumber;
use std::path::PathBuf;
use uuid::Uuid;

/// Why the ledger did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// There is no such file, and none was to be made.
    #[error("there is no ledger at {}", path.display())]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// The system gave no home folder, so there is no default place.
    #[error("this user has no home folder to keep a ledger in")]
    NoHome {
        /// What the system said.
        #[source]
        source: etcetera::HomeDirError,
    },
    /// The file or its folder may not be written.
    #[error("the ledger {} cannot be written", path.display())]
    NotWritable {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is something else.
    #[error("{} is not a ledger of tethercert", path.display())]
    NotALedger {
        /// Where.
        path: PathBuf,
    },
    /// A newer tethercert changed the tables.
    #[error("the ledger {} was written by a newer tethercert (its tables are of version {version})", path.display())]
    NewerSchema {
        /// Where.
        path: PathBuf,
        /// The version that this program does not know.
        version: i64,
    },
    /// No room for another event.
    #[error("the disk of the ledger {} is full", path.display())]
    DiskFull {
        /// Where.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// Another process kept the file for longer than we wait.
    #[error("the ledger {} is kept busy by another program", path.display())]
    Busy {
        /// Where.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// A process works on the job, and whoever else wants to waits for it.
    #[error("job {job} is at work now in another process")]
    AtWork {
        /// The job.
        job: JobNumber,
    },
    /// An event is not the one that was written, or one is missing.
    #[error("the ledger {} was changed by somebody: event {sequence} of station {station} {what}", path.display())]
    Broken {
        /// Where.
        path: PathBuf,
        /// Whose chain.
        station: Uuid,
        /// The first event that does not fit.
        sequence: u64,
        /// What does not fit.
        what: Break,
    },
    /// A row that no version of tethercert writes.
    #[error("the ledger {} holds an event that cannot be read: event {sequence} of station {station}", path.display())]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// Whose chain, as it stands there.
        station: String,
        /// Which event.
        sequence: i64,
    },
    /// An event holds a value that has no written form, such as a year before 0.
    #[error("an event cannot be written down")]
    Unwritable {
        /// Which value.
        #[source]
        source: serde_json::Error,
    },
    /// Anything else that the database says, among it a damaged disk.
    #[error("the database of the ledger {} failed", path.display())]
    Database {
        /// Where.
        path: PathBuf,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
}

/// How an event fails to continue its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// Numbers are missing before it.
    #[error("does not follow the event before it: events are missing")]
    Gap,
    /// It names another predecessor.
    #[error("does not continue the event before it")]
    Previous,
    /// Its hash is not that of its content.
    #[error("is not what was written: its hash does not fit")]
    Hash,
}

impl LedgerError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "check the path given with --ledger, or run a job first: it makes the ledger",
            Self::NoHome { .. } => "name a file with --ledger",
            Self::NotWritable { .. } => {
                "make the file and its folder writable for this user, or name another with --ledger"
            }
            Self::NotALedger { .. } => "name another file with --ledger; this one was left as it is",
            Self::NewerSchema { .. } => "use the newer tethercert, or name another file with --ledger",
            Self::DiskFull { .. } => {
                "make room on that disk and run the same command again; nothing was begun without its record"
            }
            Self::Busy { .. } => "wait for the other program or close it, then run the same command again",
            Self::AtWork { .. } => "wait until it has ended there, or end it there, then repeat",
            Self::Broken { .. } => {
                "keep this file for whoever investigates, restore the last good copy or begin a new one with --ledger"
            }
            Self::Unreadable { .. } => {
                "use the newest tethercert; if that cannot read it either, keep the file for whoever investigates"
            }
            Self::Unwritable { .. } => {
                "check the phone's clock and names with `tethercert info`, and report this as a bug"
            }
            Self::Database { .. } => "check the disk; then copy the file away and begin a new one with --ledger",
        }
    }
}
