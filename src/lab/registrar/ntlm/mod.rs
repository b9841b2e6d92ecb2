//! NTLM as SIP has it: connection-less, without a first message, and with a signature on every message.
//!
//! No kept crate speaks this kind: its challenge is not preceded by a NEGOTIATE, its sequence number is always 100, and the
//! RC4 state is made anew for each message ([MS-SIP] section 3.1; [MS-NLMP] sections 3.2.5.2 and 3.4). Only NTLMv2 is
//! taken. What is in a type 3 message is read by the code that reads it for the Web Services.

mod signer;
#[cfg(test)]
pub(super) mod tests;

use crate::lab::keys::random;
use crate::lab::ntlm::{Names, Rc4, field, hmac_md5, number, proven, utf16};
use crate::lab::web_services::User;
use secrecy::ExposeSecret;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

pub(super) use signer::Signer;

/// How far a client's clock may be off ([MS-SIP] section 3.1.5.1).
const MOST_SKEW: Duration = Duration::minutes(15);

/// NTLM flags ([MS-NLMP] section 2.2.2.5).
mod flag {
    pub(super) const UNICODE: u32 = 0x0000_0001;
    pub(super) const OEM: u32 = 0x0000_0002;
    pub(super) const SIGN: u32 = 0x0000_0010;
    pub(super) const SEAL: u32 = 0x0000_0020;
    pub(super) const DATAGRAM: u32 = 0x0000_0040;
    pub(super) const LM_KEY: u32 = 0x0000_0080;
    pub(super) const NTLM: u32 = 0x0000_0200;
    pub(super) const ALWAYS_SIGN: u32 = 0x0000_8000;
    pub(super) const EXTENDED_SESSION_SECURITY: u32 = 0x0008_0000;
    pub(super) const IDENTIFY: u32 = 0x0010_0000;
    pub(super) const TARGET_INFO: u32 = 0x0080_0000;
    pub(super) const VERSION: u32 = 0x0200_0000;
    pub(super) const BITS_128: u32 = 0x2000_0000;
    pub(super) const KEY_EXCHANGE: u32 = 0x4000_0000;
    pub(super) const BITS_56: u32 = 0x8000_0000;
}

/// What a server of Communicator's era offered, bit for bit (published trace).
const OFFERED: u32 = flag::UNICODE
    | flag::OEM
    | flag::SIGN
    | flag::SEAL
    | flag::DATAGRAM
    | flag::LM_KEY
    | flag::NTLM
    | flag::ALWAYS_SIGN
    | flag::EXTENDED_SESSION_SECURITY
    | flag::IDENTIFY
    | flag::TARGET_INFO
    | flag::VERSION
    | flag::BITS_128
    | flag::KEY_EXCHANGE
    | flag::BITS_56;

/// What a client has to agree to for its signatures to be checked here.
const NEEDED: u32 =
    flag::UNICODE | flag::SIGN | flag::DATAGRAM | flag::EXTENDED_SESSION_SECURITY | flag::KEY_EXCHANGE | flag::BITS_128;

/// A challenge that is out.
pub(super) struct Challenge {
    /// The whole message, as it was sent.
    message: Vec<u8>,
    nonce: [u8; 8],
}

/// Why a type 3 message was not taken; the user, where the directory knows who it claims to be.
pub(super) type Failure = (Option<usize>, &'static str);

impl Challenge {
    /// A type 2 message of the server with this name at this time ([MS-NLMP] section 2.2.1.2).
    pub(super) fn new(server: &str, now: OffsetDateTime) -> Self {
        let (host, domain) = server.split_once('.').unwrap_or((server, ""));
        let net_bios = |name: &str| name.split('.').next().unwrap_or_default().to_uppercase();
        let mut info = Vec::new();
        let mut pair = |id: u16, value: &[u8]| {
            info.extend(id.to_le_bytes());
            info.extend((value.len() as u16).to_le_bytes());
            info.extend(value);
        };
        pair(2, &utf16(&net_bios(domain)));
        pair(1, &utf16(&net_bios(host)));
        pair(4, &utf16(domain));
        pair(3, &utf16(server));
        pair(5, &utf16(domain));
        pair(7, &file_time(now).to_le_bytes());
        pair(0, &[]);
        Self::of(random(), &info)
    }

    fn of(nonce: [u8; 8], info: &[u8]) -> Self {
        const HEADER: u32 = 56;
        let length = (info.len() as u16).to_le_bytes();
        let message = [
            b"NTLMSSP\0".as_slice(),
            &2u32.to_le_bytes(),
            // No target name.
            &[0; 4],
            &HEADER.to_le_bytes(),
            &OFFERED.to_le_bytes(),
            &nonce,
            &[0; 8],
            &length,
            &length,
            &HEADER.to_le_bytes(),
            // Windows Server 2008 R2, NTLM revision 15.
            &[6, 1, 0xb1, 0x1d, 0, 0, 0, 15],
            info,
        ];
        Self { message: message.concat(), nonce }
    }

    /// The message.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// Checks the client's type 3 message: the user who proved to know the password, and what signs from now on.
    pub(super) fn checked(
        &self,
        token: &[u8],
        users: &[User],
        now: OffsetDateTime,
    ) -> Result<(usize, Signer), Failure> {
        let names = Names::read(token).ok_or((None, "the NTLM message is malformed or has no NTLMv2 response"))?;
        let user = users.iter().position(|user| user.is_account(&names.domain, &names.user));
        let index = user.ok_or((None, "no such user"))?;
        let refused = |why| (user, why);
        let field = |at| field(token, at).ok_or(refused("the NTLM message is malformed"));
        let flags = number(token, 60).ok_or(refused("the NTLM message is malformed"))?;
        if flags & NEEDED != NEEDED {
            return Err(refused("the client does not agree to what connection-less NTLM needs"));
        }
        let password = users[index].password.expose_secret();
        let base = proven(token, &self.nonce, &names, password).ok_or(refused("wrong password"))?;
        let rest = field(20)?.get(16..).unwrap_or_default();
        let time = rest.get(8..16).and_then(|time| Some(u64::from_le_bytes(time.try_into().ok()?)));
        let skew = time.map(|time| file_time(now).abs_diff(time)).unwrap_or(u64::MAX);
        if skew > MOST_SKEW.whole_seconds().unsigned_abs() * 10_000_000 {
            return Err(refused("the clocks are too far apart"));
        }
        let mut session = Zeroizing::new([0; 16]);
        let sealed: [u8; 16] = field(52)?.try_into().map_err(|_| refused("there is no session key"))?;
        session.copy_from_slice(&sealed);
        Rc4::new(&base).apply(&mut *session);
        if names.protected && !self.is_whole(token, &session) {
            return Err(refused("the integrity code is wrong"));
        }
        Ok((index, Signer::new(&session)))
    }

    /// Whether the message integrity code is right. There is no type 1 message that it could cover.
    fn is_whole(&self, token: &[u8], session: &[u8; 16]) -> bool {
        const CODE: std::ops::Range<usize> = 72..88;
        let Some(code) = token.get(CODE) else { return false };
        let expected = hmac_md5(session, &[&self.message, &token[..CODE.start], &[0; 16], &token[CODE.end..]]);
        aws_lc_rs::constant_time::verify_slices_are_equal(code, &*expected).is_ok()
    }
}

/// 100 ns since 1601.
fn file_time(time: OffsetDateTime) -> u64 {
    const UNIX_EPOCH: i128 = 116_444_736_000_000_000;
    u64::try_from(time.unix_timestamp_nanos() / 100 + UNIX_EPOCH).unwrap_or(0)
}
