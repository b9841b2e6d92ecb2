//! Secrets from files and from a person. Never from an argument.

use secrecy::SecretString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use tethercert::provision::NoAnswer;
use zeroize::Zeroizing;

/// The longest first line that is taken for a secret, bytes.
const LONGEST: u64 = 4096;

/// The first line of a file, which may be `/dev/fd/N`.
pub(crate) fn from_file(path: &Path, what: &str) -> Result<SecretString, NoAnswer> {
    let unreadable = |source| NoAnswer::Unreadable { what: what.to_owned(), path: path.to_owned(), source };
    // As long as it can get from the beginning: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    File::open(path).map_err(unreadable)?.take(LONGEST).read_to_end(&mut bytes).map_err(unreadable)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // Some editors begin every file with a byte order mark.
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let text = std::str::from_utf8(line)
        .map_err(|_| unreadable(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text")))?;
    if text.is_empty() {
        return Err(NoAnswer::Empty { what: what.to_owned() });
    }
    Ok(SecretString::from(text))
}

/// What a person types at the terminal, unseen. Ctrl-C is an error of kind `Interrupted`, and raises its signal as ever.
pub(crate) fn from_terminal(prompt: &str) -> io::Result<SecretString> {
    let text = Zeroizing::new(rpassword::prompt_password(prompt)?);
    Ok(SecretString::from(text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn the_secret_is_the_first_line_without_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for (content, secret) in [
            ("s3 cret", "s3 cret"),
            ("s3cret\n", "s3cret"),
            ("s3cret\r\nsecond", "s3cret"),
            ("\u{feff}s3cret\r\n", "s3cret"),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(from_file(&path, "the password").unwrap().expose_secret(), secret);
        }
        std::fs::write(&path, "\nsecond").unwrap();
        assert!(matches!(from_file(&path, "the password"), Err(NoAnswer::Empty { .. })));
        let missing = from_file(&folder.path().join("missing"), "the password").unwrap_err();
        assert!(matches!(missing, NoAnswer::Unreadable { .. }));
    }
}
