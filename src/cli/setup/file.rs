//! Writing a file of the system: whole or not at all, and never over somebody's work unasked.

use crate::cli::error::CliError;
use crate::cli::screen::Screen;
use serde::Serialize;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

/// What is in the place where a file is to go.
pub(super) enum There {
    Nothing,
    /// The same.
    Same,
    /// Made by this program, for somebody else or by another version, and unchanged since.
    Ours,
    /// Somebody's.
    Changed(String),
}

/// A line of `--json` for what keeps a file from being written.
#[derive(Serialize)]
struct DifferenceLine<'a> {
    file: &'a Path,
    difference: &'a [String],
}

pub(super) fn look(path: &Path, wanted: &str, is_ours: impl Fn(&str) -> bool) -> Result<There, CliError> {
    // A link leads elsewhere, or to /dev/null, by which an administrator switches rules off.
    let is_file = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(There::Nothing),
        Err(source) => return Err(unreadable(path, source)),
        Ok(metadata) => metadata.is_file(),
    };
    if !is_file {
        return Ok(There::Changed(format!("{} is no plain file\n", path.display())));
    }
    let bytes = fs::read(path).map_err(|source| unreadable(path, source))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(match text {
        text if text == wanted => There::Same,
        text if is_ours(&text) => There::Ours,
        text => There::Changed(text),
    })
}

fn unreadable(path: &Path, source: io::Error) -> CliError {
    CliError::NeedsPerson {
        message: format!("{} cannot be read: {source}", path.display()),
        next: "look at it as root, or repeat with sudo".to_owned(),
    }
}

/// Puts the text there where nobody's work is lost, or by `force`. Whether anything was written.
pub(super) fn put(
    path: &Path,
    text: &str,
    is_ours: impl Fn(&str) -> bool,
    force: bool,
    screen: &Screen,
) -> Result<bool, CliError> {
    match look(path, text, is_ours)? {
        There::Same => return Ok(false),
        There::Nothing | There::Ours => {}
        There::Changed(_) if force => {}
        There::Changed(there) => {
            let difference = difference(&there, text);
            screen.json("difference", &DifferenceLine { file: path, difference: &difference });
            screen.row(&format!("--- {}", path.display()));
            screen.row("+++ what would be written");
            difference.iter().for_each(|line| screen.row(line));
            return Err(CliError::refused(
                format!("{} was written or changed by somebody else, and stays as it is", path.display()),
                "keep what is theirs elsewhere, then repeat with --force",
            ));
        }
    }
    write(path, text).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => CliError::NeedsPerson {
            message: format!("this user may not write {}", path.display()),
            next: "repeat with sudo".to_owned(),
        },
        _ => CliError::NotWritten { path: path.to_owned(), source },
    })?;
    Ok(true)
}

/// Written beside and renamed: who reads it meanwhile sees the old or the new.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    // Hidden, and without the ending by which it would be read.
    builder.prefix(".tethercert");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder.tempfile_in(folder)?;
    // The mode that a file is made with is less what the umask takes.
    #[cfg(unix)]
    file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    #[cfg(unix)]
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}

/// The lines that go (`-`), come (`+`) and stay around them, by the longest common subsequence.
fn difference(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().take(MOST_LINES).collect(), after.lines().collect());
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match old[i] == new[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(format!(" {}", old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            lines.push(format!("-{}", old[i]));
            i += 1;
        } else {
            lines.push(format!("+{}", new[j]));
            j += 1;
        }
    }
    lines
}

/// Of a file that has no business there, so many lines are shown.
const MOST_LINES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_difference_shows_what_goes_and_what_comes() {
        let lines = difference("one\ntwo\nthree\n", "one\n2\nthree\nfour\n");
        assert_eq!(lines, [" one", "-two", "+2", " three", "+four"]);
    }

    #[test]
    fn somebody_elses_file_stays_without_force_and_a_link_is_somebody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let (path, screen) = (folder.path().join("70-tethercert.rules"), Screen::new(true));
        let ours = |text: &str| text.starts_with("ours");
        assert!(put(&path, "ours 1", ours, false, &screen).unwrap());
        assert!(!put(&path, "ours 1", ours, false, &screen).unwrap(), "the same again writes nothing");
        assert!(put(&path, "ours 2", ours, false, &screen).unwrap());
        fs::write(&path, "theirs").unwrap();
        assert!(put(&path, "ours 3", ours, false, &screen).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert!(put(&path, "ours 3", ours, true, &screen).unwrap());
        #[cfg(unix)]
        {
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("/dev/null", &path).unwrap();
            assert!(put(&path, "ours 3", ours, false, &screen).is_err());
            assert!(put(&path, "ours 3", ours, true, &screen).unwrap());
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::symlink_metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o7777, 0o644);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    proptest! {
        #[test]
        fn a_difference_holds_both_texts(before in "([ab]\n){0,12}", after in "([abc]\n){0,12}") {
            let lines = difference(&before, &after);
            let side = |skipped: char| -> String {
                lines.iter().filter(|line| !line.starts_with(skipped)).map(|line| format!("{}\n", &line[1..])).collect()
            };
            prop_assert_eq!(side('+'), before);
            prop_assert_eq!(side('-'), after);
        }
    }
}
