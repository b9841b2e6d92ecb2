//! What both sides of an association sign with, and the numbers by which a message counts once.

use crate::tls::tunnel::{Agreed, SignatureHash};
use aws_lc_rs::hmac;
use std::fmt;
use zeroize::Zeroizing;

/// The keys of an association, whatever scheme made them.
pub trait Keys: Send + Sync + fmt::Debug {
    /// Signs a text as the client.
    fn sign(&self, text: &str) -> Vec<u8>;

    /// Whether the server signed this text.
    fn verify(&mut self, text: &str, signature: &[u8]) -> bool;

    /// What it is done with: `HMAC-SHA-384`.
    fn method(&self) -> &'static str;
}

/// The keys of TLS-DSK ([MS-SIPAE] 3.2.5.1): the third and the fourth quarter of the key material.
pub struct TlsDskKeys {
    client: Zeroizing<[u8; 32]>,
    server: Zeroizing<[u8; 32]>,
    hash: SignatureHash,
}

impl TlsDskKeys {
    /// Of a finished handshake.
    pub fn of(agreed: &Agreed) -> Self {
        let quarter = |from: usize| {
            let mut key = Zeroizing::new([0; 32]);
            key.copy_from_slice(&agreed.key_material[from..from + 32]);
            key
        };
        Self { client: quarter(64), server: quarter(96), hash: agreed.hash }
    }
}

impl Keys for TlsDskKeys {
    fn sign(&self, text: &str) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(algorithm(self.hash), &*self.client), text.as_bytes()).as_ref().to_vec()
    }

    /// The length of a signature tells its hash. That the cipher suite tells it too is inferred; where a server whose
    /// signature is right has another one, it knows better, and ours are made with its hash from then on.
    fn verify(&mut self, text: &str, signature: &[u8]) -> bool {
        let Some(hash) = of_length(signature.len()) else { return false };
        let key = hmac::Key::new(algorithm(hash), &*self.server);
        let right = hmac::verify(&key, text.as_bytes(), signature).is_ok();
        if right {
            self.hash = hash;
        }
        right
    }

    fn method(&self) -> &'static str {
        match self.hash {
            SignatureHash::Sha1 => "HMAC-SHA-1",
            SignatureHash::Sha256 => "HMAC-SHA-256",
            SignatureHash::Sha384 => "HMAC-SHA-384",
        }
    }
}

impl fmt::Debug for TlsDskKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsDskKeys({}, ..)", self.method())
    }
}

fn algorithm(hash: SignatureHash) -> hmac::Algorithm {
    match hash {
        SignatureHash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        SignatureHash::Sha256 => hmac::HMAC_SHA256,
        SignatureHash::Sha384 => hmac::HMAC_SHA384,
    }
}

fn of_length(bytes: usize) -> Option<SignatureHash> {
    match bytes {
        20 => Some(SignatureHash::Sha1),
        32 => Some(SignatureHash::Sha256),
        48 => Some(SignatureHash::Sha384),
        _ => None,
    }
}

/// Which of the other side's numbers have counted: a window of 256 below the highest ([MS-SIP] 3.1.5.1).
#[derive(Debug, Clone, Default)]
pub struct ReplayWindow {
    highest: u32,
    /// Bit `n` of them is the number `highest - n`.
    seen: [u64; 4],
}

impl ReplayWindow {
    /// How many numbers it looks back.
    pub const WIDTH: u32 = 256;

    /// Takes a number, once. `false`: it has counted before, or is too old to tell.
    pub fn take(&mut self, number: u32) -> bool {
        if number > self.highest {
            self.slide(number - self.highest);
            self.highest = number;
        }
        let back = self.highest - number;
        if back >= Self::WIDTH {
            return false;
        }
        let (word, bit) = ((back / 64) as usize, 1u64 << (back % 64));
        let fresh = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        fresh
    }

    fn slide(&mut self, by: u32) {
        let old = std::mem::take(&mut self.seen);
        if by >= Self::WIDTH {
            return;
        }
        let (words, bits) = ((by / 64) as usize, by % 64);
        for (from, word) in old.iter().enumerate() {
            if let Some(to) = self.seen.get_mut(from + words) {
                *to |= word << bits;
            }
            if bits > 0
                && let Some(to) = self.seen.get_mut(from + words + 1)
            {
                *to |= word >> (64 - bits);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::signature::tests::{REQUEST, RESPONSE};
    use super::*;
    use crate::text_form::hex;
    use crate::tls::Negotiated;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The pseudo-random function of TLS 1.2 (RFC 5246, section 5): the program takes an engine's exporter.
    fn expand(algorithm: hmac::Algorithm, secret: &[u8], seed: &[u8], length: usize) -> Vec<u8> {
        let key = hmac::Key::new(algorithm, secret);
        let (mut a, mut out) = (seed.to_vec(), Vec::new());
        while out.len() < length {
            a = hmac::sign(&key, &a).as_ref().to_vec();
            out.extend_from_slice(hmac::sign(&key, &[a.as_slice(), seed].concat()).as_ref());
        }
        out.truncate(length);
        out
    }

    fn hmac_md5(secret: &[u8], text: &[u8]) -> Vec<u8> {
        use ::hmac::{Hmac, KeyInit, Mac};
        let mut mac = Hmac::<md5::Md5>::new_from_slice(secret).unwrap();
        mac.update(text);
        mac.finalize().into_bytes().to_vec()
    }

    /// That of TLS 1.0 and 1.1 (RFC 2246, section 5): MD5 and SHA-1, each with half of the secret.
    fn expand_old(secret: &[u8], seed: &[u8], length: usize) -> Vec<u8> {
        let (first, second) = secret.split_at(secret.len() / 2);
        let (mut a, mut out) = (seed.to_vec(), Vec::new());
        while out.len() < length {
            a = hmac_md5(first, &a);
            out.extend_from_slice(&hmac_md5(first, &[a.as_slice(), seed].concat()));
        }
        let sha1 = expand(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, second, seed, length);
        out.iter().zip(sha1).map(|(a, b)| a ^ b).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// Keys of the vectors: master secret and randoms are counted up.
    fn material(prf: impl Fn(&[u8], &[u8], usize) -> Vec<u8>) -> [u8; 128] {
        let count = |from: u8, to: u8| (from..to).collect::<Vec<u8>>();
        let seed = [b"client EAP encryption".to_vec(), count(0x40, 0x60), count(0x60, 0x80)].concat();
        prf(&count(0, 48), &seed, 128).try_into().unwrap()
    }

    pub(in super::super) fn agreed(material: [u8; 128], hash: SignatureHash) -> Agreed {
        let negotiated = Negotiated { version: "TLS 1.2".into(), cipher: "TLS_X".into() };
        Agreed { key_material: Zeroizing::new(material), hash, negotiated, peer: Vec::new() }
    }

    #[test]
    fn keys_and_signatures_are_those_of_the_vectors_and_verify_both_ways() {
        use SignatureHash::{Sha1, Sha256, Sha384};
        let old = material(expand_old);
        let with_256 = material(|secret, seed, n| expand(hmac::HMAC_SHA256, secret, seed, n));
        let with_384 = material(|secret, seed, n| expand(hmac::HMAC_SHA384, secret, seed, n));
        let begins = |material: &[u8; 128], with: &str| assert!(hex(material).starts_with(with));
        begins(&old, "6e3daed4a230fc4463075be7b8bade37c5e819df103909072423571b264c7235");
        begins(&with_256, "cef3a432d565f7d7f5ca987e3e4d7744e8ffd6c317e537ac9a1c2934b943882a");
        begins(&with_384, "cb404807965addc01f454a922b16358a438826fdf44515653ad70c08af84ad80");
        assert_eq!(hex(&old[64..96]), "8d56bdf4498cf0ed4542cbbad85b6fef6387449ed68e539712afa7bee6f1966e");
        assert_eq!(hex(&with_384[96..]), "bfa90677dff725cccd73cbff62b148169b7f635f558135f14e86e2ad67eddb69");
        for (material, hash, request, response) in [
            (old, Sha1, "06c188da82bf3484e4935a5aeb575e1b0ce6f002", "b073be9fc4ce8d4dd9a18e57ddf26e84fd9bd02c"),
            (with_256, Sha1, "c7f94840c6e7b480903afa86f458c3d79342ca53", "48239abf0c62afed83bb31ac8e3e87303438e08b"),
            (
                with_256,
                Sha256,
                "3194693c2e41c16cd58fd94f8a2ce89829aae027077f8345cdc0af033f538581",
                "e5997ad8de2052ec3f77b149b26f665aa0dec8489c236c990bfbb2bb2bb79005",
            ),
            (
                with_384,
                Sha384,
                "2e3b5f0b4d76c4cadfb9f4e1c784f7e40a633270d2942fd4d518357d15f96861b26ed9f79d53a1d1eb0c0d416542496e",
                "ec6022e4c39aed4e439231c6a2772d6e377ed3b5875c973d604e81bd08736abc5842d7d9ee869370571eaf0f4cd89939",
            ),
        ] {
            let mut keys = TlsDskKeys::of(&agreed(material, hash));
            assert_eq!(hex(&keys.sign(REQUEST)), request);
            assert!(keys.verify(RESPONSE, &unhex(response)));
            assert!(!keys.verify(REQUEST, &unhex(response)) && !keys.verify(RESPONSE, &unhex(request)));
            // The server's side of the same: its key signs, the client's verifies.
            let mut turned = material;
            turned[64..96].copy_from_slice(&material[96..]);
            turned[96..].copy_from_slice(&material[64..96]);
            let mut server = TlsDskKeys::of(&agreed(turned, hash));
            assert_eq!(hex(&server.sign(RESPONSE)), response);
            assert!(server.verify(REQUEST, &unhex(request)));
        }
        // No engine has a suite that ends in _MD5; the vectors of one are kept with those of the others.
        assert_eq!(hex(&hmac_md5(&old[64..96], REQUEST.as_bytes())), "25b394aa5102d8fb0e8b50cafe475e02");
        assert_eq!(hex(&hmac_md5(&old[96..], RESPONSE.as_bytes())), "4a21f2c6e0ba57265af6c8a5fe701a1f");
    }

    #[test]
    fn the_length_of_the_servers_signature_tells_its_hash_and_ours_follow() {
        let with_256 = material(|secret, seed, n| expand(hmac::HMAC_SHA256, secret, seed, n));
        let mut keys = TlsDskKeys::of(&agreed(with_256, SignatureHash::Sha1));
        assert_eq!(keys.method(), "HMAC-SHA-1");
        let forged = [0; 32];
        assert!(!keys.verify(RESPONSE, &forged) && keys.method() == "HMAC-SHA-1", "a wrong signature tells nothing");
        let right = unhex("e5997ad8de2052ec3f77b149b26f665aa0dec8489c236c990bfbb2bb2bb79005");
        assert!(keys.verify(RESPONSE, &right));
        assert_eq!((keys.method(), keys.sign(REQUEST).len()), ("HMAC-SHA-256", 32));
        assert!(!keys.verify(RESPONSE, &right[..31]) && !keys.verify(RESPONSE, &[]));
    }

    #[test]
    fn keys_do_not_show_themselves() {
        let keys = TlsDskKeys::of(&agreed([7; 128], SignatureHash::Sha384));
        assert_eq!(format!("{keys:?}"), "TlsDskKeys(HMAC-SHA-384, ..)");
    }

    #[test]
    fn a_number_counts_once_and_late_ones_only_within_256() {
        let mut window = ReplayWindow::default();
        assert!(window.take(1) && !window.take(1) && window.take(2));
        assert!(window.take(300) && window.take(45) && !window.take(45));
        assert!(!window.take(44), "256 below the highest is too old to tell");
        assert!(!window.take(300) && window.take(299));
        assert!(window.take(u32::MAX) && !window.take(300) && window.take(u32::MAX - 255));
    }

    proptest! {
        #[test]
        fn the_window_takes_what_is_new_and_not_too_old(numbers in proptest::collection::vec(1u32..900, 0..200)) {
            let (mut window, mut taken, mut highest) = (ReplayWindow::default(), BTreeSet::new(), 0);
            for number in numbers {
                highest = highest.max(number);
                let fresh = highest - number < 256 && !taken.contains(&number);
                prop_assert_eq!(window.take(number), fresh, "{}", number);
                taken.insert(number);
            }
        }
    }
}
