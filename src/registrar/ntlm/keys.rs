//! NTLM's keys and what they sign: RC4, MD4 and MD5, as [MS-NLMP] has them. All three are broken, and nothing but NTLM may
//! use them.

use hmac::{Hmac, KeyInit, Mac};
use md4::{Digest, Md4};
use md5::Md5;
use zeroize::{Zeroize, Zeroizing};

pub(super) type Key = Zeroizing<[u8; 16]>;

/// The sequence number of every message: without a connection nobody counts (observed at the end of published signatures).
const SEQUENCE: [u8; 4] = 100u32.to_le_bytes();

/// The keys of one session, each way one that signs and one that seals what was signed ([MS-NLMP] 3.4.5).
pub(super) struct SigningKeys {
    client: (Key, Key),
    server: (Key, Key),
}

impl SigningKeys {
    /// From the exported session key, 128 bits.
    pub(super) fn of(session: &Key) -> Self {
        let key = |way: &str, purpose: &str| {
            let purpose = format!("session key to {way} {purpose} key magic constant\0");
            md5(&[&**session, purpose.as_bytes()])
        };
        let both = |way: &str| (key(way, "signing"), key(way, "sealing"));
        Self { client: both("client-to-server"), server: both("server-to-client") }
    }

    pub(super) fn as_client(&self, text: &str) -> [u8; 16] {
        signature(&self.client, text)
    }

    pub(super) fn as_server(&self, text: &str) -> [u8; 16] {
        signature(&self.server, text)
    }

    #[cfg(test)]
    pub(super) fn of_the_client(&self) -> (&[u8; 16], &[u8; 16]) {
        (&self.client.0, &self.client.1)
    }
}

/// Version, checksum and sequence number ([MS-NLMP] 2.2.2.9.2, 3.4.4.2). RC4 begins anew for each message, with a key of its
/// sequence number ([MS-NLMP] 3.4.1).
fn signature((signing, sealing): &(Key, Key), text: &str) -> [u8; 16] {
    let code = hmac_md5(&**signing, &[&SEQUENCE, text.as_bytes()]);
    let mut signature = [0; 16];
    signature[0] = 1;
    signature[4..12].copy_from_slice(&code[..8]);
    Rc4::new(&md5(&[&**sealing, &SEQUENCE])).apply(&mut signature[4..12]);
    signature[12..].copy_from_slice(&SEQUENCE);
    signature
}

/// NTOWFv2 ([MS-NLMP] 3.3.2).
pub(super) fn owner_key(user: &str, domain: &str, password: &str) -> Key {
    let password = Zeroizing::new(utf16(password));
    let hash: Key = Zeroizing::new(Md4::digest(&password).into());
    hmac_md5(&*hash, &[&utf16(&user.to_uppercase()), &utf16(domain)])
}

pub(super) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

pub(super) fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut code = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| code.update(part));
    Zeroizing::new(code.finalize().into_bytes().into())
}

fn md5(parts: &[&[u8]]) -> Key {
    let mut hash = Md5::new();
    parts.iter().for_each(|part| hash.update(part));
    Zeroizing::new(hash.finalize().into())
}

/// RC4. No maintained crate that this program has brings it.
pub(super) struct Rc4 {
    state: [u8; 256],
    i: u8,
    j: u8,
}

impl Rc4 {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        let mut state: [u8; 256] = std::array::from_fn(|at| at as u8);
        let mut j = 0u8;
        for i in 0..state.len() {
            j = j.wrapping_add(state[i]).wrapping_add(key[i % key.len()]);
            state.swap(i, usize::from(j));
        }
        Self { state, i: 0, j: 0 }
    }

    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.i = self.i.wrapping_add(1);
            self.j = self.j.wrapping_add(self.state[usize::from(self.i)]);
            self.state.swap(usize::from(self.i), usize::from(self.j));
            let sum = self.state[usize::from(self.i)].wrapping_add(self.state[usize::from(self.j)]);
            *byte ^= self.state[usize::from(sum)];
        }
    }
}

impl Drop for Rc4 {
    fn drop(&mut self) {
        self.state.zeroize();
    }
}
