//! The phone's memory in two files that are replaced in turn, so that whatever becomes of one, the other is a complete
//! state: the one before.
//!
//! Beside them lie the phone's static key (`noise-key`) and how far its clock is from the system's (`clock`).

use super::folder::{Folder, FolderError, ReplaceError, Written};
use crate::device::memory::{read_record, record};
use crate::device::{Memory, Storage, WriteError};
use std::sync::Arc;
use zeroize::Zeroizing;

const SLOTS: [&str; 2] = ["state-a", "state-b"];
const NOISE_KEY: &str = "noise-key";
const CLOCK: &str = "clock";

/// Is told how far a write has come; the second value: whether it is the write that changes the identity in use.
pub type OnStep = Box<dyn Fn(Written, bool) + Send>;

/// The files of one phone.
pub struct Files {
    folder: Arc<Folder>,
    /// Which slot holds what is in use, and its place in the row of writes.
    newest: Option<(usize, u64)>,
    memory: Memory,
    on_step: OnStep,
}

/// What was found in the folder.
pub struct Found {
    /// The phone's memory.
    pub files: Files,
    /// Its static key, new where there was none.
    pub noise_key: Zeroizing<[u8; 32]>,
    /// Phone time less the system's, seconds, where it was ever set.
    pub clock_offset: Option<i64>,
    /// What was not as it should be, one sentence each.
    pub notes: Vec<String>,
}

impl Files {
    /// Reads what the folder holds. A damaged file is never the end: the other complete state serves, or none, and a note
    /// says so.
    ///
    /// # Errors
    ///
    /// [`FolderError`].
    pub fn open(folder: Arc<Folder>, on_step: OnStep) -> Result<Found, FolderError> {
        let mut notes = Vec::new();
        let (mut whole, mut damaged) = (Vec::new(), Vec::new());
        for (slot, name) in SLOTS.iter().enumerate() {
            let Some(bytes) = folder.read(name)? else { continue };
            match read_record(&bytes) {
                Some((sequence, memory)) => whole.push((sequence, slot, memory)),
                None => damaged.push(*name),
            }
        }
        whole.sort_by_key(|(sequence, ..)| *sequence);
        let newest = whole.pop();
        for name in damaged {
            notes.push(match &newest {
                Some((sequence, slot, _)) => format!(
                    "{name} is damaged: going on with {}, the complete state of write {sequence}; what came after it is lost",
                    SLOTS[*slot]
                ),
                None => {
                    let kept = format!("{name}.damaged");
                    std::fs::rename(folder.path().join(name), folder.path().join(&kept)).map_err(|source| {
                        FolderError::Io { path: folder.path().join(name), doing: "moved away", source }
                    })?;
                    format!("{name} is damaged and there is no other state: starting without identity; it is kept as {kept}")
                }
            });
        }
        let noise_key = noise_key(&folder, &mut notes)?;
        let clock_offset = clock(&folder, &mut notes)?;
        let (newest, memory) = match newest {
            Some((sequence, slot, memory)) => (Some((slot, sequence)), memory),
            None => (None, Memory::default()),
        };
        let files = Self { folder, newest, memory, on_step };
        Ok(Found { files, noise_key, clock_offset, notes })
    }
}

fn noise_key(folder: &Folder, notes: &mut Vec<String>) -> Result<Zeroizing<[u8; 32]>, FolderError> {
    let found = folder.read(NOISE_KEY)?;
    if let Some(key) = found.as_ref().and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok()) {
        return Ok(key.into());
    }
    if found.is_some() {
        notes.push(format!("{NOISE_KEY} is damaged: made anew"));
    }
    let mut key = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(key.as_mut_slice()).expect("the system gives random bytes");
    folder.replace(NOISE_KEY, key.as_slice(), |_| {}).map_err(|error| match error {
        ReplaceError::Kept(error) | ReplaceError::Either(error) => error,
    })?;
    Ok(key)
}

fn clock(folder: &Folder, notes: &mut Vec<String>) -> Result<Option<i64>, FolderError> {
    let Some(bytes) = folder.read(CLOCK)? else { return Ok(None) };
    let offset = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
    if offset.is_none() {
        notes.push(format!("{CLOCK} is damaged: the system's clock holds"));
    }
    Ok(offset)
}

fn write_error(error: ReplaceError) -> WriteError {
    let told = |error: FolderError| match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    match error {
        ReplaceError::Kept(error) => WriteError::Failed(told(error)),
        ReplaceError::Either(error) => WriteError::Unknown(told(error)),
    }
}

impl Storage for Files {
    fn read(&self) -> Memory {
        self.memory.clone()
    }

    fn write(&mut self, memory: &Memory) -> Result<(), WriteError> {
        let (slot, sequence) = self.newest.map_or((0, 1), |(slot, sequence)| (1 - slot, sequence + 1));
        let commits = memory.identity != self.memory.identity;
        let bytes = Zeroizing::new(record(sequence, memory));
        let at = |step| (self.on_step)(step, commits);
        self.folder.replace(SLOTS[slot], &bytes, at).map_err(write_error)?;
        self.newest = Some((slot, sequence));
        self.memory = memory.clone();
        Ok(())
    }

    fn keep_clock(&mut self, offset_seconds: i64) -> Result<(), WriteError> {
        self.folder.replace(CLOCK, format!("{offset_seconds}\n").as_bytes(), |_| {}).map_err(write_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{StoredIdentity, StoredKey};
    use std::cell::Cell;
    use std::fs;
    use std::path::Path;

    fn open(path: &Path) -> Found {
        let (folder, mut notes) = Folder::open(path).unwrap();
        let mut found = Files::open(Arc::new(folder), Box::new(|_, _| {})).unwrap();
        notes.append(&mut found.notes);
        Found { notes, ..found }
    }

    fn memory(wrong_codes: u8) -> Memory {
        Memory { wrong_codes, ..Memory::default() }
    }

    #[test]
    fn what_was_written_last_is_read_after_a_start() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("phone");
        let mut found = open(&path);
        assert_eq!((found.files.read(), found.clock_offset), (Memory::default(), None));
        let key = found.noise_key.clone();
        for codes in 1..=5 {
            found.files.write(&memory(codes)).unwrap();
        }
        found.files.keep_clock(-86_400).unwrap();
        drop(found);

        let found = open(&path);
        assert_eq!((found.files.read(), found.clock_offset), (memory(5), Some(-86_400)));
        assert_eq!(found.noise_key, key);
        assert!(found.notes.is_empty(), "{:?}", found.notes);
    }

    #[test]
    fn a_damaged_state_gives_way_to_the_one_before_and_is_told() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("phone");
        let mut found = open(&path);
        for codes in 1..=2 {
            found.files.write(&memory(codes)).unwrap();
        }
        drop(found);
        let whole = fs::read(path.join("state-b")).unwrap();
        for torn in [&whole[..whole.len() - 1], &whole[..8], &[], &vec![0; whole.len()]] {
            fs::write(path.join("state-b"), torn).unwrap();
            let mut found = open(&path);
            assert_eq!(found.files.read(), memory(1));
            assert_eq!(found.notes.len(), 1);
            assert!(found.notes[0].starts_with("state-b is damaged: going on with state-a"), "{:?}", found.notes);
            // The damaged file is the next to be replaced.
            found.files.write(&memory(9)).unwrap();
            drop(found);
            let found = open(&path);
            assert_eq!((found.files.read(), found.notes.len()), (memory(9), 0));
            drop(found);
            fs::write(path.join("state-b"), &whole).unwrap();
            fs::write(path.join("state-a"), record(1, &memory(1))).unwrap();
        }
    }

    #[test]
    fn a_phone_with_nothing_but_damaged_files_starts_without_identity_and_keeps_them_aside() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("phone");
        let mut found = open(&path);
        found.files.write(&memory(1)).unwrap();
        drop(found);
        for name in ["state-a", "noise-key", "clock"] {
            fs::write(path.join(name), b"?").unwrap();
            fs::set_permissions(path.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        let mut found = open(&path);
        assert_eq!((found.files.read(), found.clock_offset), (Memory::default(), None));
        assert_eq!(found.notes.len(), 3, "{:?}", found.notes);
        assert!(path.join("state-a.damaged").exists());
        found.files.write(&memory(2)).unwrap();
        drop(found);
        assert_eq!(open(&path).files.read(), memory(2));
    }

    #[test]
    fn only_the_write_that_changes_the_identity_is_told_as_the_commit() {
        let place = tempfile::tempdir().unwrap();
        let (folder, _) = Folder::open(&place.path().join("phone")).unwrap();
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let on_step = {
            let told = told.clone();
            Box::new(move |step, commits| told.lock().unwrap().push((step, commits)))
        };
        let mut files = Files::open(Arc::new(folder), on_step).unwrap().files;
        let key = StoredKey { kind: 3, pkcs8: vec![1].into() };
        let identity =
            StoredIdentity { user: "alice@contoso.example".into(), key, leaf: vec![2].into(), intermediates: vec![] };
        files.write(&memory(1)).unwrap();
        files.write(&Memory { identity: Some(identity), ..memory(1) }).unwrap();
        let told = told.lock().unwrap();
        let commits = Cell::new(0);
        told.iter().for_each(|(_, is)| commits.set(commits.get() + usize::from(*is)));
        assert_eq!((told.len(), commits.get()), (2 * Written::ALL.len(), Written::ALL.len()));
        assert!(told[..Written::ALL.len()].iter().all(|(_, is)| !is));
    }
}
