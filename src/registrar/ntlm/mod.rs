//! NTLM as SIP has it: connection-less, without a first message, and with a signature on every message ([MS-SIP] 3.1,
//! [MS-NLMP] 3.1.5.2 and 3.4). NTLMv2 only. No kept crate speaks this kind.
//!
//! The registrar's challenge is answered as Communicator answered it (observed, and rebuilt byte for byte by a test): with
//! what the server says of itself, without an integrity code, since there is no first message that one would protect. Where
//! the server says its time, that is answered, and the old LM response is left out ([MS-NLMP] 3.1.5.1.2).

mod keys;
#[cfg(test)]
mod tests;

use super::keys::Keys;
use super::negotiation::{Negotiation, NegotiationError, Step};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use keys::{Key, Rc4, SigningKeys, hmac_md5, owner_key, utf16};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// A Windows account and its password.
#[derive(Debug, Clone)]
pub struct Account {
    /// `CONTOSO\alice`, or `alice@contoso.example`.
    pub login: String,
    /// Goes nowhere; a server gets what proves that it is known.
    pub password: SecretString,
}

impl Account {
    /// Domain and user as NTLM has them: a name with `@` stands whole, without a domain.
    fn parts(&self) -> (&str, &str) {
        self.login.split_once('\\').unwrap_or(("", &self.login))
    }
}

/// Why a registrar's challenge cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNtlmChallenge {
    /// No challenge came where one has to.
    #[error("it is missing")]
    Missing,
    /// It is no CHALLENGE_MESSAGE, or is cut short.
    #[error("it is no CHALLENGE message of NTLM")]
    Malformed,
    /// The server does not offer what connection-less NTLM and NTLMv2 need.
    #[error("it does not offer connection-less NTLMv2 with 128 bits")]
    TooOld,
    /// Something goes on after the end.
    #[error("it goes on after the answer")]
    Again,
}

/// NTLM flags that are asked for ([MS-NLMP] 2.2.2.5): Unicode, target, sign, datagram, NTLM, always sign, extended session
/// security, identify, target info, version, 128 bits, key exchange. Communicator's, bit for bit (observed).
const FLAGS: u32 = 0x6298_8255;
/// Those of them without which there are no signatures, or weak ones: Unicode, sign, datagram, extended session security,
/// target info, 128 bits, key exchange.
const NEEDED: u32 = 0x6088_0051;
/// Where the payload of an AUTHENTICATE_MESSAGE with a version begins.
const PAYLOAD: u32 = 72;
/// The longest challenge that is read; a real one has some 200 bytes.
const MOST_CHALLENGE: usize = 8192;
/// The version field: Windows 6.1 and NTLM revision 15, of which the revision alone counts ([MS-NLMP] 2.2.2.10).
const VERSION: [u8; 8] = [6, 1, 0, 0, 0, 0, 0, 15];

/// The client's side.
pub struct Ntlm {
    account: Account,
    course: Course,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    New,
    Asked,
    Over,
}

impl Ntlm {
    /// For an account.
    pub fn new(account: &Account) -> Self {
        Self { account: account.clone(), course: Course::New }
    }
}

impl Negotiation for Ntlm {
    fn step(&mut self, data: Option<&[u8]>) -> Result<Step, NegotiationError> {
        match std::mem::replace(&mut self.course, Course::Over) {
            // There is no first message: that NTLM is meant is said by nothing.
            Course::New => {
                self.course = Course::Asked;
                Ok(Step::Send(Vec::new()))
            }
            Course::Asked => {
                let challenge = Challenge::read(data.ok_or(BadNtlmChallenge::Missing)?)?;
                let answer = challenge.answer(&self.account, &Fresh::random());
                Ok(Step::Agreed { data: Some(answer.message), keys: Box::new(answer.keys), inner: None })
            }
            Course::Over => Err(BadNtlmChallenge::Again.into()),
        }
    }
}

/// What a registrar challenges with ([MS-NLMP] 2.2.1.2).
#[derive(Debug)]
struct Challenge<'a> {
    nonce: [u8; 8],
    /// What the server says of itself: attributes, closed by an empty one.
    info: &'a [u8],
    /// Its time, where it says it, 100 ns since 1601.
    time: Option<u64>,
}

/// What is new each time.
struct Fresh {
    /// 100 ns since 1601.
    time: u64,
    nonce: [u8; 8],
    session: Key,
}

impl Fresh {
    fn random() -> Self {
        const UNIX_EPOCH: i128 = 116_444_736_000_000_000;
        let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 100 + UNIX_EPOCH;
        let (mut nonce, mut session) = ([0; 8], Zeroizing::new([0; 16]));
        let fill = |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).expect("the system gives random bytes");
        fill(&mut nonce);
        fill(session.as_mut_slice());
        Self { time: u64::try_from(now).unwrap_or_default(), nonce, session }
    }
}

struct Answer {
    message: Vec<u8>,
    keys: NtlmKeys,
}

impl<'a> Challenge<'a> {
    fn read(message: &'a [u8]) -> Result<Self, BadNtlmChallenge> {
        let malformed = BadNtlmChallenge::Malformed;
        if message.len() > MOST_CHALLENGE || !message.starts_with(b"NTLMSSP\0\x02\0\0\0") {
            return Err(malformed);
        }
        let flags = u32::from_le_bytes(array(message, 20).ok_or(malformed)?);
        if flags & NEEDED != NEEDED {
            return Err(BadNtlmChallenge::TooOld);
        }
        let nonce = array(message, 24).ok_or(malformed)?;
        let length = usize::from(u16::from_le_bytes(array(message, 40).ok_or(malformed)?));
        let start = u32::from_le_bytes(array(message, 44).ok_or(malformed)?) as usize;
        let info = start.checked_add(length).and_then(|end| message.get(start..end)).ok_or(malformed)?;
        let time = time_in(info).ok_or(malformed)?;
        Ok(Self { nonce, info, time })
    }

    /// The AUTHENTICATE_MESSAGE ([MS-NLMP] 2.2.1.3, 3.3.2), and what signs from it on.
    fn answer(&self, account: &Account, fresh: &Fresh) -> Answer {
        let (domain, user) = account.parts();
        let owner = owner_key(user, domain, account.password.expose_secret());
        let time = self.time.unwrap_or(fresh.time).to_le_bytes();
        let header = [1, 1, 0, 0, 0, 0, 0, 0];
        let claims = [&header[..], &time, &fresh.nonce, &[0; 4], self.info, &[0; 4]].concat();
        let proof = hmac_md5(&*owner, &[&self.nonce, &claims]);
        let old = match self.time {
            Some(_) => vec![0; 24],
            None => [&hmac_md5(&*owner, &[&self.nonce, &fresh.nonce])[..], &fresh.nonce].concat(),
        };
        let mut sealed = *fresh.session;
        Rc4::new(&hmac_md5(&*owner, &[&*proof])).apply(&mut sealed);

        let mut message = b"NTLMSSP\0\x03\0\0\0".to_vec();
        let mut payload = Vec::new();
        let mut placed = |part: &[u8]| {
            let length = u16::try_from(part.len()).unwrap_or(u16::MAX).to_le_bytes();
            let at = PAYLOAD.saturating_add(u32::try_from(payload.len()).unwrap_or(u32::MAX)).to_le_bytes();
            payload.extend_from_slice(part);
            [&length[..], &length, &at].concat()
        };
        // The order in which clients lay them down is not the one in which the fields stand.
        let (domain, user, workstation) = (placed(&utf16(domain)), placed(&utf16(user)), placed(&[]));
        let (old, response) = (placed(&old), placed(&[&proof[..], &claims].concat()));
        let sealed = placed(&sealed);
        for field in [old, response, domain, user, workstation, sealed] {
            message.extend(field);
        }
        message.extend(FLAGS.to_le_bytes());
        message.extend(VERSION);
        message.extend(payload);
        Answer { message, keys: NtlmKeys(SigningKeys::of(&fresh.session)) }
    }
}

/// MsvAvTimestamp (7) among attributes, where they end with MsvAvEOL (0); nothing where they do not.
fn time_in(mut info: &[u8]) -> Option<Option<u64>> {
    let mut time = None;
    loop {
        let (id, length) = (u16::from_le_bytes(array(info, 0)?), u16::from_le_bytes(array(info, 2)?));
        let value = info.get(4..4 + usize::from(length))?;
        match id {
            0 => return Some(time),
            7 => time = Some(u64::from_le_bytes(array(value, 0)?)),
            _ => {}
        }
        info = &info[4 + usize::from(length)..];
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// What messages are signed with from the answer on.
struct NtlmKeys(SigningKeys);

impl std::fmt::Debug for NtlmKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NtlmKeys({}, ..)", self.method())
    }
}

impl Keys for NtlmKeys {
    fn sign(&self, text: &str) -> Vec<u8> {
        self.0.as_client(text).to_vec()
    }

    fn verify(&mut self, text: &str, signature: &[u8]) -> bool {
        verify_slices_are_equal(&self.0.as_server(text), signature).is_ok()
    }

    fn method(&self) -> &'static str {
        "NTLM (HMAC-MD5)"
    }
}
