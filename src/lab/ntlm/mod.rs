//! NTLM as the lab's servers check it, over HTTP and in SIP: what a message says, and whether its response proves a password.
//!
//! Over HTTP sspi does most of this. It judges by the message integrity code, which clients of the era do not send, and not by
//! the proof in the response; and it does not speak SIP's kind.

mod keys;
#[cfg(test)]
pub(in crate::lab) mod tests;

pub(in crate::lab) use keys::{Key, Rc4, hmac_md5, md5, owner_key, utf16};

/// What an AUTHENTICATE message says about itself ([MS-NLMP] 2.2.1.3).
pub(in crate::lab) struct Names {
    pub(in crate::lab) domain: String,
    pub(in crate::lab) user: String,
    /// Whether the NTLMv2 response announces a message integrity code.
    pub(in crate::lab) protected: bool,
    /// Whether the NTLMv2 response names a channel (MsvAvChannelBindings; all zeros name none).
    pub(in crate::lab) bound: bool,
}

impl Names {
    pub(in crate::lab) fn read(token: &[u8]) -> Option<Self> {
        let text = |bytes: &[u8]| {
            let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()
        };
        // The NTLMv2 response: a proof of 16 bytes, 28 bytes of header, then attributes.
        let mut attributes = field(token, 20)?.get(44..)?;
        let (mut protected, mut bound) = (false, false);
        while let [id0, id1, len0, len1, rest @ ..] = attributes {
            let length = usize::from(u16::from_le_bytes([*len0, *len1]));
            let value = rest.get(..length)?;
            match u16::from_le_bytes([*id0, *id1]) {
                0 => break,
                6 => protected = value.first().is_some_and(|flags| flags & 2 != 0),
                10 => bound = value.iter().any(|byte| *byte != 0),
                _ => {}
            }
            attributes = rest.get(length..)?;
        }
        Some(Self { domain: text(field(token, 28)?)?, user: text(field(token, 36)?)?, protected, bound })
    }
}

/// Whether the NTLMv2 response of an AUTHENTICATE message answers this challenge with this password ([MS-NLMP] section
/// 3.3.2): the session base key then.
pub(in crate::lab) fn proven(token: &[u8], nonce: &[u8; 8], names: &Names, password: &str) -> Option<Key> {
    let key = owner_key(&names.user, &names.domain, password);
    let (proof, rest) = field(token, 20)?.split_at_checked(16)?;
    let expected = hmac_md5(&*key, &[nonce, rest]);
    aws_lc_rs::constant_time::verify_slices_are_equal(proof, &*expected).ok()?;
    Some(hmac_md5(&*key, &[proof]))
}

/// The server's nonce of a CHALLENGE message.
pub(in crate::lab) fn nonce(challenge: &[u8]) -> Option<[u8; 8]> {
    challenge.get(24..32)?.try_into().ok()
}

/// A number of 4 bytes.
pub(in crate::lab) fn number(token: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(token.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// What a field of a message points to: length, space, offset.
pub(in crate::lab) fn field(token: &[u8], at: usize) -> Option<&[u8]> {
    let length = usize::from(u16::from_le_bytes(token.get(at..at + 2)?.try_into().ok()?));
    let start = usize::try_from(number(token, at + 4)?).ok()?;
    token.get(start..start.checked_add(length)?)
}
