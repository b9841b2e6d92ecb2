//! Who works on a job at this moment: a lock of the system on a file beside the ledger. It goes with the process that holds
//! it, however that ends.

use super::JobNumber;
use super::error::LedgerError;
use crate::folders;
use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The right to work on a job, until it is dropped. Two in one process keep each other out as those of two processes do.
#[derive(Debug)]
#[must_use = "the job is anybody's as soon as this is dropped"]
pub struct JobLock {
    /// Nothing: no other process reaches the ledger.
    _file: Option<File>,
}

/// The locks on the jobs of one ledger.
#[derive(Debug, Clone)]
pub(super) struct JobLocks {
    ledger: PathBuf,
    /// Nothing: no other process reaches the ledger.
    folder: Option<PathBuf>,
    /// On the jobs that were begun over this handle and have no end.
    held: Arc<Mutex<HashMap<JobNumber, JobLock>>>,
}

impl JobLocks {
    /// Those of the ledger at `path`, which is there.
    pub(super) fn beside(path: &Path) -> io::Result<Self> {
        // One folder, by whatever way a process came to the file.
        let mut folder = path.canonicalize()?.into_os_string();
        folder.push("-jobs");
        Ok(Self { folder: Some(folder.into()), ..Self::none(path) })
    }

    /// For a ledger that no other process reaches.
    pub(super) fn none(path: &Path) -> Self {
        Self { ledger: path.to_owned(), folder: None, held: Arc::default() }
    }

    /// The lock on a job that nobody else works on.
    pub(super) fn take(&self, station: &str, job: JobNumber) -> Result<JobLock, LedgerError> {
        let Some(folder) = &self.folder else { return Ok(JobLock { _file: None }) };
        folders::make_private(folder).map_err(|source| self.failed(source))?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(name(folder, station, job));
        let file = file.map_err(|source| self.failed(source))?;
        match file.try_lock() {
            Ok(()) => Ok(JobLock { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(LedgerError::AtWork { job }),
            Err(TryLockError::Error(source)) => Err(self.failed(source)),
        }
    }

    /// Whether somebody has the lock on a job. What cannot be found out is found out by [`Self::take`].
    pub(super) fn is_taken(&self, station: &str, job: JobNumber) -> bool {
        let Some(folder) = &self.folder else { return false };
        let Ok(file) = OpenOptions::new().write(true).open(name(folder, station, job)) else { return false };
        matches!(file.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Keeps the lock on a job that begins, until [`Self::let_go`].
    pub(super) fn hold(&self, job: JobNumber, lock: JobLock) {
        self.held().insert(job, lock);
    }

    /// Nobody works any more on a job that this handle may have begun.
    pub(super) fn let_go(&self, job: JobNumber) {
        self.held().remove(&job);
    }

    /// Removes the file of a job that is done. Whoever had it open meanwhile may get a lock on a file that is gone, and finds
    /// the job done; no other job's file is ever removed.
    pub(super) fn remove(&self, station: &str, job: JobNumber) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_file(name(folder, station, job));
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<JobNumber, JobLock>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: io::Error) -> LedgerError {
        LedgerError::NotWritable { path: self.ledger.clone(), source: source.into() }
    }
}

fn name(folder: &Path, station: &str, job: JobNumber) -> PathBuf {
    folder.join(format!("{station}-{job}"))
}
