//! NTLM at the HTTP level: one state per connection, as IIS keeps it.
//!
//! sspi makes the challenge and checks the message integrity code, whose key follows from the password and the server's
//! challenge. It would let a message *without* that code pass unchecked, so such a message is refused here first.
//!
//! `Negotiate` carries bare NTLM messages here, which Windows takes as well; a SPNEGO token is refused like a wrong one.
//!
//! An authenticated connection stays authenticated: a further request without `Authorization` is served as the same
//! user, and a new handshake on it starts over. That is what IIS does by default, and why a client must never let two
//! users share one connection.

use super::users::User;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use sspi::{
    AuthIdentityBuffers, BufferType, DataRepresentation, Ntlm, SecurityBuffer, ServerRequestFlags, Sspi, SspiImpl,
};

/// How far the handshake on one connection is.
#[derive(Default)]
pub(super) enum Handshake {
    /// Nothing was said yet, or the last attempt failed.
    #[default]
    Idle,
    /// The challenge is out.
    Challenged(Box<Ntlm>),
    /// The connection speaks for this user (index in the directory).
    Done(usize),
}

/// What to answer to an `Authorization` header.
pub(super) enum Step {
    /// 401 with this `WWW-Authenticate`.
    Challenge(String),
    /// The connection is now this user's.
    Welcome(usize),
    /// 401: who it claimed to be, if it is a user of the directory at all, and why not.
    Refused(Option<usize>, &'static str),
}

impl Handshake {
    /// Takes the next header: `NTLM …` or `Negotiate …`, both with a bare NTLM message as Windows accepts it.
    pub(super) fn step(&mut self, authorization: &str, users: &[User]) -> Step {
        let Some((scheme, token)) = authorization.split_once(' ') else {
            return Step::Refused(None, "no token");
        };
        if !scheme.eq_ignore_ascii_case("NTLM") && !scheme.eq_ignore_ascii_case("Negotiate") {
            return Step::Refused(None, "neither NTLM nor Negotiate");
        }
        let Ok(token) = STANDARD.decode(token.trim()) else {
            return Step::Refused(None, "the token is not base64");
        };
        match (message_type(&token), std::mem::take(self)) {
            (Some(1), _) => match challenge(&token) {
                Some((ntlm, answer)) => {
                    *self = Self::Challenged(ntlm);
                    Step::Challenge(format!("{scheme} {}", STANDARD.encode(answer)))
                }
                None => Step::Refused(None, "not an NTLM negotiate message"),
            },
            (Some(3), Self::Challenged(mut ntlm)) => match authenticate(&mut ntlm, &token, users) {
                Ok(user) => {
                    *self = Self::Done(user);
                    Step::Welcome(user)
                }
                Err((user, why)) => Step::Refused(user, why),
            },
            (Some(3), _) => Step::Refused(None, "no challenge was sent on this connection"),
            _ => Step::Refused(None, "not an NTLM message"),
        }
    }
}

fn message_type(token: &[u8]) -> Option<u32> {
    (token.get(..8)? == b"NTLMSSP\0").then_some(())?;
    Some(u32::from_le_bytes(token.get(8..12)?.try_into().ok()?))
}

fn challenge(token: &[u8]) -> Option<(Box<Ntlm>, Vec<u8>)> {
    let mut ntlm = Box::new(Ntlm::new());
    let answer = accept(&mut ntlm, token, None).ok()?;
    Some((ntlm, answer))
}

fn authenticate(ntlm: &mut Ntlm, token: &[u8], users: &[User]) -> Result<usize, (Option<usize>, &'static str)> {
    let names = Names::read(token).ok_or((None, "the NTLM message is malformed"))?;
    let user = users.iter().position(|user| user.is_account(&names.domain, &names.user));
    let index = user.ok_or((None, "no such user"))?;
    if !names.protected {
        return Err((user, "the NTLM message has no integrity code"));
    }
    let password = users[index].password.expose_secret();
    let identity = AuthIdentityBuffers::from_utf8(&names.user, &names.domain, password);
    accept(ntlm, token, Some(identity)).map_err(|_| (user, "the NTLM message was not accepted"))?;
    ntlm.complete_auth_token(&mut []).map_err(|_| (user, "wrong password"))?;
    Ok(index)
}

fn accept(ntlm: &mut Ntlm, token: &[u8], identity: Option<AuthIdentityBuffers>) -> sspi::Result<Vec<u8>> {
    let mut identity = identity;
    let mut input = [SecurityBuffer::new(token.to_vec(), BufferType::Token)];
    let mut output = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
    let builder = ntlm
        .accept_security_context()
        .with_credentials_handle(&mut identity)
        .with_context_requirements(ServerRequestFlags::empty())
        .with_target_data_representation(DataRepresentation::Native)
        .with_input(&mut input)
        .with_output(&mut output);
    ntlm.accept_security_context_impl(builder)?.resolve_to_result()?;
    let [output] = output;
    Ok(output.buffer)
}

/// What an AUTHENTICATE message says about itself ([MS-NLMP] 2.2.1.3).
struct Names {
    domain: String,
    user: String,
    /// Whether the NTLMv2 response announces a message integrity code.
    protected: bool,
}

impl Names {
    fn read(token: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u16::from_le_bytes(token.get(at..at.checked_add(2)?)?.try_into().ok()?));
        let field = |at: usize| {
            let start = usize::try_from(u32::from_le_bytes(token.get(at + 4..at + 8)?.try_into().ok()?)).ok()?;
            token.get(start..start.checked_add(usize::from(number(at)?))?)
        };
        let text = |bytes: &[u8]| {
            let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()
        };
        // The NTLMv2 response: a proof of 16 bytes, 28 bytes of header, then attributes.
        let mut attributes = field(20)?.get(44..)?;
        let mut protected = false;
        while let [id0, id1, len0, len1, rest @ ..] = attributes {
            let length = usize::from(u16::from_le_bytes([*len0, *len1]));
            let value = rest.get(..length)?;
            match u16::from_le_bytes([*id0, *id1]) {
                0 => break,
                6 => protected = value.first().is_some_and(|flags| flags & 2 != 0),
                _ => {}
            }
            attributes = rest.get(length..)?;
        }
        Some(Self { domain: text(field(28)?)?, user: text(field(36)?)?, protected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_token_is_answered_without_a_panic(kind in 0u8..5, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let token = [b"NTLMSSP\0", &[kind, 0, 0, 0][..], &rest].concat();
            let header = format!("NTLM {}", STANDARD.encode(token));
            let mut handshake = Handshake::default();
            handshake.step(&header, &[]);
            handshake.step(&header, &[]);
            prop_assert!(!matches!(handshake, Handshake::Done(_)));
        }
    }
}
