//! What NTLM computes with: MD4, MD5 and RC4, as [MS-NLMP] has them, and which nothing else should use.

use hmac::{Hmac, KeyInit, Mac};
use md4::{Digest, Md4};
use md5::Md5;
use zeroize::{Zeroize, Zeroizing};

/// A key of 16 bytes.
pub(in crate::lab) type Key = Zeroizing<[u8; 16]>;

/// NTOWFv2 ([MS-NLMP] section 3.3.2).
pub(in crate::lab) fn owner_key(user: &str, domain: &str, password: &str) -> Key {
    let hash = md4(&Zeroizing::new(utf16(password)));
    hmac_md5(&*hash, &[&utf16(&user.to_uppercase()), &utf16(domain)])
}

pub(in crate::lab) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn md4(text: &[u8]) -> Key {
    Zeroizing::new(Md4::digest(text).into())
}

/// MD5 of these parts, one after the other.
pub(in crate::lab) fn md5(parts: &[&[u8]]) -> Key {
    let mut digest = Md5::new();
    parts.iter().for_each(|part| digest.update(part));
    Zeroizing::new(digest.finalize().into())
}

pub(in crate::lab) fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut code = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| code.update(part));
    Zeroizing::new(code.finalize().into_bytes().into())
}

/// RC4. No maintained library of ours has it.
pub(in crate::lab) struct Rc4 {
    state: [u8; 256],
    i: u8,
    j: u8,
}

impl Rc4 {
    pub(in crate::lab) fn new(key: &[u8; 16]) -> Self {
        let mut state: [u8; 256] = std::array::from_fn(|at| at as u8);
        let mut j = 0u8;
        for i in 0..256 {
            j = j.wrapping_add(state[i]).wrapping_add(key[i % key.len()]);
            state.swap(i, usize::from(j));
        }
        Self { state, i: 0, j: 0 }
    }

    pub(in crate::lab) fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.i = self.i.wrapping_add(1);
            let a = self.state[usize::from(self.i)];
            self.j = self.j.wrapping_add(a);
            let b = self.state[usize::from(self.j)];
            self.state.swap(usize::from(self.i), usize::from(self.j));
            *byte ^= self.state[usize::from(a.wrapping_add(b))];
        }
    }
}

impl Drop for Rc4 {
    fn drop(&mut self) {
        self.state.zeroize();
    }
}
