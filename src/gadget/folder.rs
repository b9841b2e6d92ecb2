//! The folder that a phone keeps its files in: for its owner alone, for one program at a time, and every file in it is
//! replaced as a whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What a file is called while it is written.
const NEW: &str = ".new";
/// Nobody keeps a file in here that is longer.
const MAX_BYTES: u64 = 1 << 20;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Keys lie in it.
    #[error("others may open {}: its mode is {mode:04o}", path.display())]
    Open {
        /// The folder or a file in it.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they may be at most.
        wanted: u32,
    },
    /// Somebody else put it there.
    #[error("{} belongs to user {owner}, its folder to user {expected}", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The folder's.
        expected: u32,
    },
    /// A link, a device or a folder where a file should be.
    #[error("{} is not {wanted}", path.display())]
    Kind {
        /// Where it is.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
    },
    /// Another phone runs from it.
    #[error("another tethercert-phone keeps its files in {}", .0.display())]
    Used(PathBuf),
    /// The system refuses.
    #[error("{} cannot be {doing}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl FolderError {
    /// What the person who runs the phone does next.
    pub fn next_step(&self) -> String {
        match self {
            Self::Open { path, wanted, .. } => {
                format!("look who may have read it; then `chmod {wanted:o} {}`", path.display())
            }
            Self::Owner { path, expected, .. } => {
                format!("look who put it there; then `chown {expected} {}`, or delete it", path.display())
            }
            Self::Kind { path, .. } => format!("move {} away", path.display()),
            Self::Used(_) => "stop the other one, or give this one a --storage of its own".into(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run it as root, or as the folder's owner".into()
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => "make room on the disk".into(),
            Self::Io { path, .. } => format!("look at the disk that {} is on", path.display()),
        }
    }
}

fn failed(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> FolderError {
    move |source| FolderError::Io { path: path.to_owned(), doing, source }
}

/// How far the replacement of a file has come. Each is a point at which the power may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Nothing is done yet.
    Nothing,
    /// Half of the new file.
    Half,
    /// The new file, maybe not on the disk.
    All,
    /// The new file is on the disk, beside the one that it replaces.
    Synced,
    /// It has taken the other's name, maybe not on the disk.
    Renamed,
    /// It is there, and nothing undoes it.
    Done,
}

impl Written {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [Self::Nothing, Self::Half, Self::All, Self::Synced, Self::Renamed, Self::Done];

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Half => "half",
            Self::All => "all",
            Self::Synced => "synced",
            Self::Renamed => "renamed",
            Self::Done => "done",
        }
    }
}

/// Why a file was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The old file is there, unchanged.
    #[error(transparent)]
    Kept(FolderError),
    /// One of the two is there, whole, and the next start tells which.
    #[error(transparent)]
    Either(FolderError),
}

/// A folder of mode 0700 with files of mode 0600, held by this process until it is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    owner: u32,
    handle: File,
}

impl Folder {
    /// Opens the folder, or makes it. Also tells which unfinished files of before were removed.
    ///
    /// # Errors
    ///
    /// [`FolderError`].
    pub fn open(path: &Path) -> Result<(Self, Vec<String>), FolderError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(failed(path, "made"))?;
        let found = fs::symlink_metadata(path).map_err(failed(path, "looked at"))?;
        if !found.is_dir() {
            return Err(FolderError::Kind { path: path.to_owned(), wanted: "a folder" });
        }
        private(path, &found, 0o700)?;
        let handle = File::open(path).map_err(failed(path, "opened"))?;
        match handle.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::Used(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(path, "locked")(source)),
        }
        let folder = Self { path: path.to_owned(), owner: found.uid(), handle };
        let notes = folder.remove_unfinished()?;
        Ok((folder, notes))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a file holds, if it is there.
    ///
    /// # Errors
    ///
    /// [`FolderError`] where others may read it or have put it there.
    pub fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, FolderError> {
        let path = self.path.join(name);
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, "looked at")(error)),
        };
        if !found.is_file() || found.len() > MAX_BYTES {
            return Err(FolderError::Kind { path, wanted: "a file of this phone" });
        }
        private(&path, &found, 0o600)?;
        if found.uid() != self.owner {
            return Err(FolderError::Owner { path, owner: found.uid(), expected: self.owner });
        }
        let bytes = fs::read(&path).map_err(failed(&path, "read"))?;
        Ok(Some(Zeroizing::new(bytes)))
    }

    /// Replaces a file, or makes it: whenever the power goes, the whole old file or the whole new one is there.
    ///
    /// # Errors
    ///
    /// [`ReplaceError`].
    pub fn replace(&self, name: &str, bytes: &[u8], mut at: impl FnMut(Written)) -> Result<(), ReplaceError> {
        let (path, new) = (self.path.join(name), self.path.join(format!("{name}{NEW}")));
        at(Written::Nothing);
        let written = self.write_new(&new, bytes, &mut at).and_then(|()| {
            at(Written::Synced);
            fs::rename(&new, &path).map_err(failed(&path, "replaced"))
        });
        if let Err(error) = written {
            // Left alone it would only be removed by the next start.
            let _ = fs::remove_file(&new);
            return Err(ReplaceError::Kept(error));
        }
        at(Written::Renamed);
        self.handle.sync_all().map_err(|error| ReplaceError::Either(failed(&self.path, "synced")(error)))?;
        at(Written::Done);
        Ok(())
    }

    fn write_new(&self, new: &Path, bytes: &[u8], at: &mut impl FnMut(Written)) -> Result<(), FolderError> {
        let failed = |error| failed(new, "written")(error);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(new).map_err(failed)?;
        let (first, second) = bytes.split_at(bytes.len() / 2);
        file.write_all(first).map_err(failed)?;
        at(Written::Half);
        file.write_all(second).map_err(failed)?;
        at(Written::All);
        file.sync_all().map_err(failed)
    }

    fn remove_unfinished(&self) -> Result<Vec<String>, FolderError> {
        let mut notes = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed(&self.path, "read"))? {
            let path = entry.map_err(failed(&self.path, "read"))?.path();
            if path.extension().is_some_and(|extension| extension == &NEW[1..]) {
                fs::remove_file(&path).map_err(failed(&path, "removed"))?;
                notes.push(format!("{} was not finished when the power went: removed", path.display()));
            }
        }
        Ok(notes)
    }
}

fn private(path: &Path, found: &fs::Metadata, wanted: u32) -> Result<(), FolderError> {
    let mode = found.permissions().mode() & 0o7777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(FolderError::Open { path: path.to_owned(), mode, wanted }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("phone");
        (place, path)
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_new_folder_and_its_files_are_for_their_owner_alone() {
        let (_place, path) = folder();
        let (folder, notes) = Folder::open(&path).unwrap();
        folder.replace("key", b"secret", |_| {}).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(&path.join("key"))), (0o700, 0o600));
        assert_eq!(folder.read("key").unwrap().unwrap().as_slice(), b"secret");
        assert_eq!(folder.read("none").unwrap(), None);
        assert!(notes.is_empty());
    }

    #[test]
    fn a_folder_or_a_file_that_others_may_open_is_refused_with_the_command_that_closes_it() {
        let (_place, path) = folder();
        let (folder, _) = Folder::open(&path).unwrap();
        folder.replace("key", b"secret", |_| {}).unwrap();
        set_mode(&path.join("key"), 0o640);
        let error = folder.read("key").unwrap_err();
        assert_eq!(error.to_string(), format!("others may open {}: its mode is 0640", path.join("key").display()));
        assert!(error.next_step().ends_with(&format!("`chmod 600 {}`", path.join("key").display())));

        drop(folder);
        set_mode(&path, 0o755);
        let error = Folder::open(&path).unwrap_err();
        assert!(error.next_step().ends_with(&format!("`chmod 700 {}`", path.display())), "{error}");
    }

    #[test]
    fn a_link_in_the_place_of_a_file_or_of_the_folder_is_not_followed() {
        let (place, path) = folder();
        let (folder, _) = Folder::open(&path).unwrap();
        symlink("/etc/hostname", path.join("key")).unwrap();
        assert!(matches!(folder.read("key"), Err(FolderError::Kind { .. })));
        let link = place.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(Folder::open(&link), Err(FolderError::Kind { .. })));
    }

    #[test]
    fn one_folder_serves_one_phone_at_a_time() {
        let (_place, path) = folder();
        let first = Folder::open(&path).unwrap();
        assert!(matches!(Folder::open(&path), Err(FolderError::Used(_))));
        drop(first);
        assert!(Folder::open(&path).is_ok());
    }

    #[test]
    fn at_every_step_of_a_replacement_the_old_file_or_the_new_one_is_there_whole() {
        let (_place, path) = folder();
        let (folder, _) = Folder::open(&path).unwrap();
        folder.replace("file", b"old", |_| {}).unwrap();
        let mut steps = Vec::new();
        let seen = |step: Written| {
            let held = fs::read(path.join("file")).unwrap();
            let expected: &[u8] = if matches!(step, Written::Renamed | Written::Done) { b"newer" } else { b"old" };
            assert_eq!(held, expected, "{step:?}");
            steps.push(step);
        };
        folder.replace("file", b"newer", seen).unwrap();
        assert_eq!(steps, Written::ALL);
    }

    #[test]
    fn what_was_not_finished_is_removed_and_told() {
        let (_place, path) = folder();
        drop(Folder::open(&path).unwrap());
        fs::write(path.join("state-a.new"), b"half").unwrap();
        let (_folder, notes) = Folder::open(&path).unwrap();
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("state-a.new was not finished"), "{notes:?}");
        assert!(!path.join("state-a.new").exists());
    }

    #[test]
    fn a_file_that_cannot_be_replaced_stays_as_it_was() {
        let (_place, path) = folder();
        let (folder, _) = Folder::open(&path).unwrap();
        fs::create_dir(path.join("file")).unwrap();
        fs::write(path.join("file/inside"), b"old").unwrap();
        assert!(matches!(folder.replace("file", b"new", |_| {}), Err(ReplaceError::Kept(_))));
        assert!(!path.join("file.new").exists());
    }
}
