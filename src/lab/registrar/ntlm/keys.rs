//! NTLM's keys and what they sign: RC4, MD4 and MD5, as [MS-NLMP] has them.

use super::md5_of;
use crate::lab::registrar::signature::{hex, is_hex_of};
use hmac::{Hmac, KeyInit, Mac};
use md4::{Digest, Md4};
use md5::Md5;
use zeroize::{Zeroize, Zeroizing};

/// The sequence number of every message ([MS-SIP] section 3.1; visible at the end of each published signature).
const SEQUENCE: [u8; 4] = 100u32.to_le_bytes();

type Key = Zeroizing<[u8; 16]>;

/// Signs answers and verifies requests of one association.
pub(in crate::lab::registrar) struct Signer {
    client: (Key, Key),
    server: (Key, Key),
}

impl Signer {
    /// From the exported session key ([MS-NLMP] sections 3.4.5.2 and 3.4.5.3, 128 bits).
    pub(super) fn new(session: &[u8; 16]) -> Self {
        let key =
            |purpose: &str| md5_of(&[session, format!("session key to {purpose} key magic constant\0").as_bytes()]);
        let pair = |way: &str| (key(&format!("{way} signing")), key(&format!("{way} sealing")));
        Self { client: pair("client-to-server"), server: pair("server-to-client") }
    }

    /// The server's signature.
    pub(in crate::lab::registrar) fn sign(&self, text: &str) -> String {
        hex(&signature(&self.server, text))
    }

    /// Whether the client signed this text so.
    pub(in crate::lab::registrar) fn verifies(&self, text: &str, given: &str) -> bool {
        is_hex_of(given, &signature(&self.client, text))
    }

    /// The client's signature, for tests that play the client.
    #[cfg(test)]
    pub(in crate::lab::registrar) fn sign_as_client(&self, text: &str) -> String {
        hex(&signature(&self.client, text)).to_lowercase()
    }
}

/// Version, check sum and sequence number ([MS-NLMP] sections 2.2.2.9.2 and 3.4.4.2). Without a connection, the RC4 state
/// is made for each message from its sequence number.
fn signature((signing, sealing): &(Key, Key), text: &str) -> [u8; 16] {
    let code = hmac_md5(&**signing, &[&SEQUENCE, text.as_bytes()]);
    let mut check: [u8; 8] = std::array::from_fn(|at| code[at]);
    Rc4::new(&*md5_of(&[&**sealing, &SEQUENCE])).apply(&mut check);
    let mut out = [0; 16];
    out[..4].copy_from_slice(&1u32.to_le_bytes());
    out[4..12].copy_from_slice(&check);
    out[12..].copy_from_slice(&SEQUENCE);
    out
}

pub(super) fn md4(text: &[u8]) -> Key {
    Zeroizing::new(Md4::digest(text).into())
}

pub(super) fn md5(text: &[u8]) -> Key {
    Zeroizing::new(Md5::digest(text).into())
}

pub(super) fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut code = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| code.update(part));
    Zeroizing::new(code.finalize().into_bytes().into())
}

/// RC4, which NTLM is built on and which nothing else should use. No maintained library of ours has it.
pub(super) struct Rc4 {
    state: [u8; 256],
    i: u8,
    j: u8,
}

impl Rc4 {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        let mut state: [u8; 256] = std::array::from_fn(|at| at as u8);
        let mut j = 0u8;
        for i in 0..256 {
            j = j.wrapping_add(state[i]).wrapping_add(key[i % key.len()]);
            state.swap(i, usize::from(j));
        }
        Self { state, i: 0, j: 0 }
    }

    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
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
