//! How a phone, and everything else here that stands for one, makes a private key.

use crate::credential::KeyKind;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RsaKeyPair};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The environment variable that names a [`Stock`]: for tests on machines where making an RSA key takes seconds.
pub const KNOWN_KEYS: &str = "TETHERCERT_DANGER_KNOWN_KEYS";

/// Private keys made beforehand, in a folder: whoever has the folder has the keys of every phone and lab that took from it.
///
/// `rsa2048-0.der` and so on are PKCS#8; `rsa2048.next` says how many of them were taken, by whatever process. They are
/// handed out in turn, so that neighbours differ.
#[derive(Clone, Debug)]
pub struct Stock(PathBuf);

impl Stock {
    /// The stock that [`KNOWN_KEYS`] names.
    pub fn of_environment() -> Option<Self> {
        std::env::var_os(KNOWN_KEYS).filter(|folder| !folder.is_empty()).map(|folder: OsString| Self(folder.into()))
    }

    /// Fills a folder that may be new: `count` RSA keys of 2048 bits and an eighth as many of 3072.
    pub fn fill(folder: &Path, count: usize) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for (kind, count) in [(KeyKind::Rsa2048, count), (KeyKind::Rsa3072, count.div_ceil(8))] {
            for number in 0..count {
                let path = folder.join(format!("{}-{number}.der", name(kind)));
                if !path.exists() {
                    fs::write(path, make(kind).as_slice())?;
                }
            }
        }
        Ok(())
    }

    /// The next key of this kind; a kind that the stock does not have is made.
    pub fn take(&self, kind: KeyKind) -> Zeroizing<Vec<u8>> {
        self.next(kind).unwrap_or_else(|_| make(kind))
    }

    fn next(&self, kind: KeyKind) -> io::Result<Zeroizing<Vec<u8>>> {
        let first = format!("{}-0.der", name(kind));
        if !self.0.join(&first).exists() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let place = self.0.join(format!("{}.next", name(kind)));
        let mut counter = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(place)?;
        let taken = count(&mut counter)?;
        match fs::read(self.0.join(format!("{}-{taken}.der", name(kind)))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                counter.set_len(0)?;
                counter.rewind()?;
                counter.write_all(b"1")?;
                fs::read(self.0.join(first))
            }
            read => read,
        }
        .map(Zeroizing::new)
    }
}

/// Counts one more, and says how many there were. The file stays locked until it is closed.
fn count(counter: &mut File) -> io::Result<usize> {
    counter.lock()?;
    let mut taken = String::new();
    counter.read_to_string(&mut taken)?;
    let taken = taken.trim().parse().unwrap_or(0);
    counter.rewind()?;
    write!(counter, "{}", taken + 1)?;
    Ok(taken)
}

const fn name(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Rsa2048 => "rsa2048",
        KeyKind::Rsa3072 => "rsa3072",
        KeyKind::P256 => "p256",
    }
}

/// A new key of this kind from the system's random numbers, PKCS#8, DER.
pub fn make(kind: KeyKind) -> Zeroizing<Vec<u8>> {
    let rsa = |size| {
        let key = RsaKeyPair::generate(size).expect("the system has random bytes");
        let der: Pkcs8V1Der<'_> = key.as_der().expect("a key just made can be written");
        Zeroizing::new(der.as_ref().to_vec())
    };
    match kind {
        KeyKind::Rsa2048 => rsa(KeySize::Rsa2048),
        KeyKind::Rsa3072 => rsa(KeySize::Rsa3072),
        KeyKind::P256 => {
            let random = aws_lc_rs::rand::SystemRandom::new();
            let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
            Zeroizing::new(der.expect("the system has random bytes").as_ref().to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stock_hands_its_keys_out_in_turn_to_all_who_ask_and_makes_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let keys = [b"one", b"two"];
        for (number, key) in keys.iter().enumerate() {
            fs::write(folder.path().join(format!("rsa2048-{number}.der")), key).unwrap();
        }
        let stock = Stock(folder.path().into());
        let other = stock.clone();
        let taken: Vec<_> = (0..5).map(|_| [&stock, &other].map(|stock| stock.take(KeyKind::Rsa2048))).collect();
        for [first, second] in taken {
            assert_eq!((first.as_slice(), second.as_slice()), (b"one".as_slice(), b"two".as_slice()));
        }
        assert!(stock.take(KeyKind::P256).len() > 100);
    }

    #[test]
    fn a_filled_stock_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        Stock::fill(folder.path(), 1).unwrap();
        let key = fs::read(folder.path().join("rsa2048-0.der")).unwrap();
        Stock::fill(folder.path(), 1).unwrap();
        assert_eq!(Stock(folder.path().into()).take(KeyKind::Rsa2048).as_slice(), key);
        assert!(aws_lc_rs::signature::RsaKeyPair::from_pkcs8(&key).is_ok());
    }
}
