//! The users' secrets: a folder with a file for each, or asked for once. One user's is never used for another.

use crate::cli::error::CliError;
use crate::cli::screen::Screen;
use crate::cli::secret;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::path::Path;
use tethercert::credential::SipAddress;
use tethercert::provision::{ProvisionError, Stop};

/// The secrets by user.
#[derive(Default)]
pub(super) struct Vault(HashMap<SipAddress, SecretString>);

impl Vault {
    pub(super) fn has(&self, user: &SipAddress) -> bool {
        self.0.contains_key(user)
    }

    pub(super) fn put(&mut self, user: SipAddress, secret: SecretString) {
        self.0.insert(user, secret);
    }

    /// This user's secret and no other's.
    pub(super) fn of(&self, user: &SipAddress) -> Option<SecretString> {
        self.0.get(user).cloned()
    }
}

/// Refuses a folder that others may look into.
pub(super) fn check_folder(folder: &Path) -> Result<(), CliError> {
    let shown = folder.display();
    let metadata = std::fs::metadata(folder).map_err(|error| {
        CliError::usage(format!("the folder of secrets {shown} cannot be looked into: {error}"), "check the path")
    })?;
    if !metadata.is_dir() {
        return Err(CliError::usage(
            format!("{shown} is no folder"),
            "give --secrets a folder with a file for each user, like alice@contoso.example.password",
        ));
    }
    match open_to_others(&metadata) {
        false => Ok(()),
        true => Err(CliError::refused(
            format!("others may look into the folder of secrets {shown}"),
            format!("close it to everybody but its owner: chmod 700 {shown}"),
        )),
    }
}

/// The secret of a user from its file: `alice@contoso.example.password`. Why not, for a finding.
pub(super) fn of_user(folder: &Path, user: &SipAddress, kind: &str) -> Result<SecretString, String> {
    let name = format!("{user}.{kind}");
    if name.contains('/') || name.starts_with('.') {
        return Err(format!("no file can be called {name}, so that its secret cannot be kept in a folder"));
    }
    let path = folder.join(&name);
    let metadata = match std::fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("there is no secret for {user}: the file {name} is missing"));
        }
        Err(error) => return Err(format!("the secret {name} cannot be read: {error}")),
    };
    if !metadata.is_file() {
        return Err(format!("the secret {name} is no file"));
    }
    if open_to_others(&metadata) {
        return Err(format!("others may read the secret {name}: chmod 600 it"));
    }
    secret::from_file(&path, &format!("the {kind} of {user}")).map_err(|error| error.to_string())
}

/// Whether somebody else may read it. Where files have no such bits, the folder's own rights have to do.
#[cfg(unix)]
fn open_to_others(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
}

#[cfg(not(unix))]
fn open_to_others(_: &std::fs::Metadata) -> bool {
    false
}

/// Asks for a user's secret until there is one.
pub(super) async fn ask(user: &SipAddress, kind: &str, screen: &Screen, stop: &Stop) -> Result<SecretString, CliError> {
    let what = if kind == "pin" { "PIN" } else { "Password" };
    loop {
        let prompt = format!("{}{what} of {user}: ", screen.mark());
        let typed = tokio::select! {
            typed = tokio::task::spawn_blocking(move || secret::from_terminal(&prompt)) => typed.ok(),
            () = stop.asked() => None,
        };
        match typed {
            Some(Ok(secret)) if !secret.expose_secret().is_empty() => return Ok(secret),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => {
                crate::cli::operator::restore_echo();
                return Err(ProvisionError::Stopped.into());
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_is_taken_only_from_what_is_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let alice: SipAddress = "alice@contoso.example".parse().unwrap();
        let path = folder.path().join("alice@contoso.example.password");
        mode(folder.path(), 0o755);
        assert!(check_folder(folder.path()).unwrap_err().next_step().contains("chmod 700"));
        mode(folder.path(), 0o700);
        check_folder(folder.path()).unwrap();

        let read = || of_user(folder.path(), &alice, "password");
        assert!(read().unwrap_err().contains("alice@contoso.example.password is missing"));
        std::fs::write(&path, "s3cret\n").unwrap();
        mode(&path, 0o640);
        assert!(read().unwrap_err().contains("chmod 600"));
        mode(&path, 0o600);
        assert_eq!(read().unwrap().expose_secret(), "s3cret");
        std::fs::write(&path, "\n").unwrap();
        assert!(read().is_err());
        let climber: SipAddress = "../../etc/x@contoso.example".parse().unwrap();
        assert!(of_user(folder.path(), &climber, "password").unwrap_err().contains("no file can be called"));
    }
}
