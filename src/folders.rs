//! Where this user's files are, on each system.
//!
//! | | settings | data |
//! |---|---|---|
//! | Linux, macOS | `~/.config/tethercert` | `~/.local/share/tethercert` |
//! | Windows | `%APPDATA%\tethercert\config` | `%LOCALAPPDATA%\tethercert\data` |
//!
//! `XDG_CONFIG_HOME` and `XDG_DATA_HOME` count where the first row does.

use etcetera::HomeDirError;
use std::io;
use std::path::{Path, PathBuf};

const NAME: &str = "tethercert";

/// The folder of what people have set up.
pub(crate) fn settings() -> Result<PathBuf, HomeDirError> {
    let names = etcetera::AppStrategyArgs { app_name: NAME.into(), ..Default::default() };
    Ok(etcetera::AppStrategy::config_dir(&etcetera::choose_app_strategy(names)?))
}

/// The folder of what the program keeps about this computer: its ledger, its key for the cable.
#[cfg(not(windows))]
pub(crate) fn data() -> Result<PathBuf, HomeDirError> {
    let names = etcetera::AppStrategyArgs { app_name: NAME.into(), ..Default::default() };
    Ok(etcetera::AppStrategy::data_dir(&etcetera::choose_app_strategy(names)?))
}

/// The folder of what the program keeps about this computer: its ledger, its key for the cable.
///
/// Not below `%APPDATA%`, where programs usually keep their data: a roaming profile would carry it to other computers, which
/// would then go on in one chain of events and be one computer to the phones.
#[cfg(windows)]
pub(crate) fn data() -> Result<PathBuf, HomeDirError> {
    let base = etcetera::base_strategy::Windows::new()?;
    // What etcetera calls the cache is `%LOCALAPPDATA%`.
    Ok(etcetera::BaseStrategy::cache_dir(&base).join(NAME).join("data"))
}

/// Makes a folder, with those above it, that is for this user alone.
///
/// On Windows a new folder has the rights of the one above it; those of a user's own folders let in that user, the
/// administrators and the system.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_data_are_two_folders_that_bear_the_name() {
        let (settings, data) = (settings().unwrap(), data().unwrap());
        assert_ne!(settings, data);
        for folder in [settings, data] {
            assert!(folder.is_absolute() && folder.to_string_lossy().contains(NAME), "{}", folder.display());
        }
    }

    #[test]
    #[cfg(windows)]
    fn data_does_not_roam() {
        let local = std::env::var("LOCALAPPDATA").unwrap();
        assert_eq!(data().unwrap(), Path::new(&local).join("tethercert").join("data"));
    }

    #[test]
    #[cfg(unix)]
    fn a_private_folder_is_for_this_user_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("one/two");
        make_private(&folder).unwrap();
        make_private(&folder).unwrap();
        for made in [&folder, &place.path().join("one")] {
            assert_eq!(std::fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
}
