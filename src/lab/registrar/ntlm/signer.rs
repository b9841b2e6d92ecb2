//! Signatures of SIP messages by NTLM ([MS-NLMP] section 3.4).

use crate::lab::ntlm::{Key, Rc4, hmac_md5, md5};
use crate::lab::registrar::signature::{hex, is_hex_of};

/// The sequence number of every message ([MS-SIP] section 3.1; visible at the end of each published signature).
const SEQUENCE: [u8; 4] = 100u32.to_le_bytes();

/// Signs answers and verifies requests of one association.
pub(in crate::lab::registrar) struct Signer {
    client: (Key, Key),
    server: (Key, Key),
}

impl Signer {
    /// From the exported session key ([MS-NLMP] sections 3.4.5.2 and 3.4.5.3, 128 bits).
    pub(super) fn new(session: &[u8; 16]) -> Self {
        let key = |purpose: &str| md5(&[session, format!("session key to {purpose} key magic constant\0").as_bytes()]);
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
    Rc4::new(&md5(&[&**sealing, &SEQUENCE])).apply(&mut check);
    let mut out = [0; 16];
    out[..4].copy_from_slice(&1u32.to_le_bytes());
    out[4..12].copy_from_slice(&check);
    out[12..].copy_from_slice(&SEQUENCE);
    out
}
