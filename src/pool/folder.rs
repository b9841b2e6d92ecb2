//! The folder of pools: one file a pool, the certificates it goes by in a folder of its name beside it.
//!
//! A file appears whole or not at all. Certificates are called by their thumbprints and written before the file that names
//! them, so that a cut in between leaves the old pool as it was.

use super::{Anchor, Origin, PoolFile, PoolName, PoolsError, Setting};
use crate::credential::{Certificate, pem};
use crate::folders;
use crate::tls::{Trust, TrustError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Longest file that is read, bytes.
const MAX_FILE: u64 = 1 << 20;

/// The folder that configured pools are in.
#[derive(Debug, Clone)]
pub struct Pools {
    folder: PathBuf,
}

/// A configured pool, as it was read.
#[derive(Debug, Clone)]
pub struct NamedPool {
    /// Its name.
    pub name: PoolName,
    /// Its file.
    pub path: PathBuf,
    /// What the file says.
    pub file: PoolFile,
    /// The certificates that it names, checked by their thumbprints.
    pub anchors: Vec<Certificate>,
}

/// What came of reading a pool.
#[derive(Debug)]
pub struct Read {
    /// Its name.
    pub name: PoolName,
    /// The pool, or why it is of no use.
    pub pool: Result<NamedPool, PoolsError>,
}

impl NamedPool {
    /// What the file says under `key`, if it says anything.
    pub fn setting<T>(&self, key: &'static str, value: Option<T>) -> Option<Setting<T>> {
        Some(Setting::new(value?, Origin::File { path: self.path.clone(), key }))
    }

    /// The same for a list, which says something when it is not empty.
    pub fn list<T: Clone>(&self, key: &'static str, values: &[T]) -> Option<Setting<Vec<T>>> {
        self.setting(key, (!values.is_empty()).then(|| values.to_vec()))
    }

    /// Adds its certificates to `trust`.
    pub fn add_to(&self, trust: &mut Trust) -> Result<(), TrustError> {
        let origin = self.path.display().to_string();
        self.anchors.iter().try_for_each(|certificate| trust.add_der(&origin, certificate.der()))
    }

    /// Its profile, from where its file is.
    pub fn profile(&self) -> Option<PathBuf> {
        let profile = self.file.profile.as_ref()?;
        Some(self.path.with_file_name("").join(profile))
    }
}

impl Pools {
    /// The pools of this folder, which need not be there.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where a user's pools are: `~/.config/tethercert/pools` and its like.
    pub fn of_this_user() -> Result<Self, PoolsError> {
        Ok(Self::at(folders::settings().map_err(|_| PoolsError::NoHome)?.join("pools")))
    }

    /// The file of the pool of this name.
    pub fn path(&self, name: &PoolName) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }

    /// The names of those there are, in order. A file whose name is none is passed over.
    pub fn names(&self) -> Result<Vec<PoolName>, PoolsError> {
        let unreadable = |source| PoolsError::Unreadable { path: self.folder.clone(), source };
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                names.extend(path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok()));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Every pool, in order, or why it is of no use.
    pub fn all(&self) -> Result<Vec<Read>, PoolsError> {
        let read = |name| Read { pool: self.load(&name), name };
        Ok(self.names()?.into_iter().map(read).collect())
    }

    /// The pool of this name. Its certificates have to be the ones that were confirmed.
    pub fn load(&self, name: &PoolName) -> Result<NamedPool, PoolsError> {
        let path = self.path(name);
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PoolsError::NoSuchPool { name: name.clone(), known: self.names()? });
            }
            Err(source) => return Err(PoolsError::Unreadable { path, source }),
        };
        let text = String::from_utf8(bytes).map_err(|_| PoolsError::Invalid {
            path: path.clone(),
            line: 1,
            problem: "the file is not UTF-8 text".to_owned(),
        })?;
        let file = PoolFile::parse(&path, &text)?;
        let anchors = file.trust_anchors.iter().map(|anchor| self.anchor(name, anchor)).collect::<Result<_, _>>()?;
        Ok(NamedPool { name: name.clone(), path, file, anchors })
    }

    fn anchor(&self, name: &PoolName, anchor: &Anchor) -> Result<Certificate, PoolsError> {
        let path = self.folder.join(&anchor.file);
        let bytes = read(&path).map_err(|source| PoolsError::Unreadable { path: path.clone(), source })?;
        match Certificate::from_pem_or_der(&bytes).unwrap_or_default().as_slice() {
            [certificate] if anchor.is(certificate) => Ok(certificate.clone()),
            _ => Err(PoolsError::AnchorChanged { name: name.clone(), path }),
        }
    }

    /// Writes a pool that goes by `anchors`, in place of one of the same name only if `replace` says so.
    pub fn save(
        &self,
        name: &PoolName,
        mut file: PoolFile,
        anchors: &[Certificate],
        replace: Replace,
    ) -> Result<NamedPool, PoolsError> {
        let path = self.path(name);
        let not_writable = |path: &Path| {
            let path = path.to_owned();
            move |source| PoolsError::NotWritable { path, source }
        };
        if replace == Replace::Never && path.exists() {
            return Err(PoolsError::Exists { name: name.clone() });
        }
        std::fs::create_dir_all(&self.folder).map_err(not_writable(&self.folder))?;
        file.trust_anchors = anchors.iter().map(|certificate| Anchor::of(certificate, name.as_str())).collect();
        file.check().map_err(|(key, problem)| PoolsError::Invalid {
            path: path.clone(),
            line: 1,
            problem: format!("`{key}`: {problem}"),
        })?;
        let beside = self.folder.join(name.as_str());
        if !anchors.is_empty() {
            std::fs::create_dir_all(&beside).map_err(not_writable(&beside))?;
        }
        for (certificate, anchor) in anchors.iter().zip(&file.trust_anchors) {
            let path = self.folder.join(&anchor.file);
            write_whole(&path, pem(certificate.der()).as_bytes(), Replace::Yes).map_err(not_writable(&path))?;
        }
        write_whole(&path, file.text(name).as_bytes(), replace).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => PoolsError::Exists { name: name.clone() },
            _ => PoolsError::NotWritable { path: path.clone(), source },
        })?;
        self.forget_certificates(&beside, &file.trust_anchors);
        Ok(NamedPool { name: name.clone(), path, file, anchors: anchors.to_vec() })
    }

    /// Removes a pool's file, and then its certificates. A broken file can be removed too.
    pub fn remove(&self, name: &PoolName) -> Result<(), PoolsError> {
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PoolsError::NoSuchPool { name: name.clone(), known: self.names()? });
            }
            Err(source) => return Err(PoolsError::NotWritable { path, source }),
        }
        self.forget_certificates(&self.folder.join(name.as_str()), &[]);
        Ok(())
    }

    /// Removes the certificates that nothing names any more. What cannot be removed harms nobody.
    fn forget_certificates(&self, folder: &Path, kept: &[Anchor]) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let ours = path.extension().is_some_and(|extension| extension == "pem");
            if ours && !kept.iter().any(|anchor| self.folder.join(&anchor.file) == path) {
                let _ = std::fs::remove_file(path);
            }
        }
        let _ = std::fs::remove_dir(folder);
    }
}

/// Whether a pool of the same name may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// The new one takes its place.
    Yes,
    /// It stays, and that is an error.
    Never,
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is larger than 1 MiB"));
    }
    std::fs::read(path)
}

/// Writes beside `path` and then gives it its name.
fn write_whole(path: &Path, bytes: &[u8], replace: Replace) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.as_file().sync_all()?;
    match replace {
        Replace::Yes => file.persist(path),
        Replace::Never => file.persist_noclobber(path),
    }
    .map(drop)
    .map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::fixture::Authority;

    const URL: &str = "https://web.contoso.example/CertProv/CertProvisioningService.svc";

    fn contoso() -> PoolName {
        "contoso".parse().unwrap()
    }

    fn certificate(der: Vec<u8>) -> Certificate {
        Certificate::from_der(&der).unwrap()
    }

    #[test]
    fn a_pool_is_written_listed_read_and_removed_with_its_certificates() {
        let home = tempfile::tempdir().unwrap();
        let pools = Pools::at(home.path().join("pools"));
        assert_eq!(pools.names().unwrap(), []);
        let root = certificate(Authority::new().root_der());
        let saved = pools.save(&contoso(), PoolFile::new(URL), std::slice::from_ref(&root), Replace::Never).unwrap();
        let read = pools.load(&contoso()).unwrap();
        assert_eq!((&read.file, read.anchors[0].der()), (&saved.file, root.der()));
        assert_eq!(pools.names().unwrap(), [contoso()]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(
                (mode(&read.path), mode(&home.path().join("pools").join(&read.file.trust_anchors[0].file))),
                (0o644, 0o644)
            );
        }
        pools.remove(&contoso()).unwrap();
        assert!(!home.path().join("pools/contoso").exists());
        assert!(matches!(pools.load(&contoso()), Err(PoolsError::NoSuchPool { .. })));
        assert!(matches!(pools.remove(&contoso()), Err(PoolsError::NoSuchPool { .. })));
    }

    #[test]
    fn a_certificate_that_is_not_the_confirmed_one_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let pools = Pools::at(home.path());
        let (confirmed, other) = (Authority::new(), Authority::new());
        let saved =
            pools.save(&contoso(), PoolFile::new(URL), &[certificate(confirmed.root_der())], Replace::Never).unwrap();
        let path = home.path().join(&saved.file.trust_anchors[0].file);
        let both = format!("{}{}", confirmed.root_pem(), other.root_pem());
        for changed in [other.root_pem(), both, String::new()] {
            std::fs::write(&path, changed).unwrap();
            assert!(matches!(pools.load(&contoso()), Err(PoolsError::AnchorChanged { .. })));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(pools.load(&contoso()), Err(PoolsError::Unreadable { .. })));
    }

    #[test]
    fn another_pool_of_the_name_is_kept_unless_it_may_go() {
        let home = tempfile::tempdir().unwrap();
        let pools = Pools::at(home.path());
        let first = certificate(Authority::new().root_der());
        pools.save(&contoso(), PoolFile::new(URL), &[first], Replace::Never).unwrap();
        let before = std::fs::read(pools.path(&contoso())).unwrap();
        let other = PoolFile::new("https://other.contoso.example/x");
        let refused = pools.save(&contoso(), other.clone(), &[], Replace::Never);
        assert!(matches!(refused, Err(PoolsError::Exists { .. })));
        assert_eq!(std::fs::read(pools.path(&contoso())).unwrap(), before);
        pools.save(&contoso(), other.clone(), &[], Replace::Yes).unwrap();
        assert_eq!(pools.load(&contoso()).unwrap().file, other);
        assert!(!home.path().join("contoso").exists(), "certificates that nothing names are gone");
    }

    #[test]
    fn one_broken_file_does_not_hide_the_others() {
        let home = tempfile::tempdir().unwrap();
        let pools = Pools::at(home.path());
        pools.save(&contoso(), PoolFile::new(URL), &[], Replace::Never).unwrap();
        std::fs::write(home.path().join("broken.toml"), "password = \"s3cret\"").unwrap();
        std::fs::write(home.path().join("No Name.toml"), "").unwrap();
        let all = pools.all().unwrap();
        let good: Vec<(&str, bool)> = all.iter().map(|it| (it.name.as_str(), it.pool.is_ok())).collect();
        assert_eq!(good, [("broken", false), ("contoso", true)]);
    }
}
