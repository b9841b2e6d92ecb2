//! The file that a job is recorded to.

use super::error::CliError;
use super::job::Desk;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tethercert::recording::HEADING;
use tethercert::tape::Tape;
use time::OffsetDateTime;

/// A file that is there and empty until the job has ended.
pub(crate) struct RecordFile {
    path: PathBuf,
    file: File,
}

impl RecordFile {
    /// Makes the file; one that exists is left alone. Its owner alone may read it.
    pub(crate) fn create(path: &Path) -> Result<Self, CliError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|source| CliError::NotWritten { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes what was recorded, once nothing in it can do harm any more. What has to be said goes to stderr: the job's
    /// outcome was the last word.
    pub(crate) async fn fill(mut self, tape: &Tape, lab: bool, desk: &Desk<'_>) {
        if let (Some(until), false) = (tape.holds_back_until(), lab) {
            // A minute for clocks that differ.
            let wait = until + time::Duration::MINUTE - OffsetDateTime::now_utc();
            let wait = Duration::try_from(wait).unwrap_or_default();
            if !wait.is_zero() {
                desk.screen.note(&format!(
                    "the recording holds a signature by which one can sign in for {} s yet: it is written then; \
                     Ctrl-C does without it",
                    wait.as_secs()
                ));
                let stopped = tokio::select! {
                    () = tokio::time::sleep(wait) => false,
                    () = desk.stop.asked() => true,
                };
                if stopped {
                    let _ = fs::remove_file(&self.path);
                    return desk.screen.note("nothing is recorded");
                }
            }
        }
        let written = self.file.write_all(tape.text(HEADING).as_bytes()).and_then(|()| self.file.sync_all());
        match written {
            Ok(()) => desk.screen.note(&format!(
                "the job is recorded in {}; it names user, serial number and MAC address",
                self.path.display()
            )),
            Err(source) => desk.screen.error(&CliError::NotWritten { path: self.path.clone(), source }),
        }
    }
}
