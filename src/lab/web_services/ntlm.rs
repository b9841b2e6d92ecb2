//! NTLM at the HTTP level, bare or inside SPNEGO: one state per connection, as IIS keeps it.
//!
//! sspi makes the challenge and checks the message integrity code, whose key follows from the password and the server's
//! challenge. It would let a message *without* that code pass unchecked, so that one is judged here by its response, as
//! Windows does: clients of the era send no code. And it compares a channel binding only where one came, so its absence is
//! seen here.
//!
//! An authenticated connection stays authenticated: a further request without `Authorization` is served as the same
//! user, and a new handshake on it starts over. That is what IIS does by default, and why a client must never let two
//! users share one connection.

use super::faults::{ChannelBinding, Negotiate};
use super::spnego::{self, State, Token};
use super::users::User;
use crate::lab::ntlm::{self, Names};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use sspi::{
    AuthIdentityBuffers, BufferType, DataRepresentation, ErrorKind, Ntlm, SecurityBuffer, SecurityBufferRef,
    ServerRequestFlags, Sspi, SspiImpl,
};

/// How far the handshake on one connection is.
#[derive(Default)]
pub(super) enum Handshake {
    /// Nothing was said yet, or the last attempt failed.
    #[default]
    Idle,
    /// SPNEGO has settled on NTLM, and no NTLM message came yet.
    Settled(Wrapping),
    /// The challenge is out.
    Challenged(Box<Challenged>, Option<Wrapping>),
    /// The connection speaks for this user (index in the directory).
    Done(usize),
}

/// A challenge that is out.
pub(super) struct Challenged {
    ntlm: Ntlm,
    nonce: [u8; 8],
}

/// What SPNEGO has to remember.
#[derive(Debug, Clone)]
pub(super) struct Wrapping {
    /// The client's mechanism list, DER.
    mechanisms: Vec<u8>,
    /// NTLM was not its first choice: then a `mechListMIC` is a must.
    second_choice: bool,
}

/// What to answer to an `Authorization` header.
pub(super) enum Step {
    /// 401 with this `WWW-Authenticate`.
    Challenge(String),
    /// The connection is now this user's; the answer carries this `WWW-Authenticate`.
    Welcome(usize, Option<String>),
    /// 401: who it claimed to be, if it is a user of the directory at all, and why not.
    Refused(Option<usize>, &'static str),
}

/// What the service asks of a handshake.
pub(super) struct Rules<'a> {
    pub(super) users: &'a [User],
    pub(super) negotiate: Negotiate,
    pub(super) channel_binding: ChannelBinding,
    /// Bindings of this connection's server certificate, as a `SEC_CHANNEL_BINDINGS`.
    pub(super) binding: &'a [u8],
}

/// Who failed, if the directory knows them, and why.
type Failure = (Option<usize>, &'static str);

impl Handshake {
    /// Takes the next header: `NTLM` or `Negotiate` and a token.
    pub(super) fn step(&mut self, authorization: &str, rules: &Rules<'_>) -> Step {
        let Some((scheme, token)) = authorization.split_once(' ') else {
            return Step::Refused(None, "no token");
        };
        let negotiate = scheme.eq_ignore_ascii_case("Negotiate");
        if !negotiate && !scheme.eq_ignore_ascii_case("NTLM") {
            return Step::Refused(None, "neither NTLM nor Negotiate");
        }
        let Ok(token) = STANDARD.decode(token.trim()) else {
            return Step::Refused(None, "the token is not base64");
        };
        let before = std::mem::take(self);
        let bare = message_type(&token).is_some();
        let took = match (bare, rules.negotiate) {
            (true, Negotiate::OnlySpnego) if negotiate => Err((None, "a bare NTLM message under Negotiate")),
            (true, _) => self.bare(before, &token, rules),
            (false, Negotiate::OnlyNtlm) => Err((None, "a SPNEGO token")),
            (false, _) if negotiate => self.wrapped(before, &token, rules),
            (false, _) => Err((None, "not an NTLM message")),
        };
        let header = |token: Vec<u8>| format!("{scheme} {}", STANDARD.encode(token));
        match took {
            Ok((None, token)) => Step::Challenge(header(token.unwrap_or_default())),
            Ok((Some(user), token)) => Step::Welcome(user, token.map(header)),
            Err((user, why)) => Step::Refused(user, why),
        }
    }

    /// An NTLM message as it is.
    fn bare(
        &mut self,
        before: Self,
        token: &[u8],
        rules: &Rules<'_>,
    ) -> Result<(Option<usize>, Option<Vec<u8>>), Failure> {
        match (message_type(token), before) {
            (Some(1), _) => {
                let (ntlm, answer) = challenge(token)?;
                *self = Self::Challenged(ntlm, None);
                Ok((None, Some(answer)))
            }
            (Some(3), Self::Challenged(mut challenged, None)) => {
                let user = authenticate(&mut challenged, token, rules)?;
                *self = Self::Done(user);
                Ok((Some(user), None))
            }
            (Some(3), _) => Err((None, "no challenge was sent on this connection")),
            _ => Err((None, "not an NTLM message")),
        }
    }

    /// A SPNEGO token.
    fn wrapped(
        &mut self,
        before: Self,
        token: &[u8],
        rules: &Rules<'_>,
    ) -> Result<(Option<usize>, Option<Vec<u8>>), Failure> {
        let token = Token::read(token).ok_or((None, "neither a SPNEGO token nor an NTLM message"))?;
        match (token, before) {
            (Token::Init { ntlm: None, .. }, _) => Err((None, "NTLM is not among the mechanisms")),
            (Token::Init { mechanisms, ntlm: Some(0), inner: Some(inner) }, _) => {
                let (ntlm, answer) = challenge(&inner)?;
                *self = Self::Challenged(ntlm, Some(Wrapping { mechanisms, second_choice: false }));
                Ok((None, Some(spnego::answer(State::Incomplete, true, Some(&answer), None))))
            }
            (Token::Init { mechanisms, ntlm: Some(place), .. }, _) => {
                *self = Self::Settled(Wrapping { mechanisms, second_choice: place > 0 });
                let state = if place > 0 { State::RequestMic } else { State::Incomplete };
                Ok((None, Some(spnego::answer(state, true, None, None))))
            }
            (Token::Resp { inner: Some(inner), .. }, Self::Settled(wrapping)) => {
                let (ntlm, answer) = challenge(&inner)?;
                *self = Self::Challenged(ntlm, Some(wrapping));
                Ok((None, Some(spnego::answer(State::Incomplete, false, Some(&answer), None))))
            }
            (Token::Resp { inner: Some(inner), mic }, Self::Challenged(mut challenged, Some(wrapping))) => {
                let user = authenticate(&mut challenged, &inner, rules)?;
                let mic = match mic {
                    None if wrapping.second_choice => return Err((Some(user), "no mechListMIC")),
                    None => None,
                    Some(mic) => Some(
                        exchange_mics(&mut challenged.ntlm, &wrapping.mechanisms, mic)
                            .ok_or((Some(user), "the mechListMIC is wrong"))?,
                    ),
                };
                *self = Self::Done(user);
                Ok((Some(user), Some(spnego::answer(State::Completed, false, None, mic.as_deref()))))
            }
            (Token::Resp { .. }, _) => Err((None, "no challenge was sent on this connection")),
        }
    }
}

/// Checks the client's `mechListMIC` and makes the server's.
fn exchange_mics(ntlm: &mut Ntlm, mechanisms: &[u8], mut theirs: Vec<u8>) -> Option<Vec<u8>> {
    let mut list = mechanisms.to_vec();
    let mut message = [SecurityBufferRef::data_buf(&mut list), SecurityBufferRef::token_buf(&mut theirs)];
    ntlm.verify_signature(&mut message, 0).ok()?;
    let mut ours = vec![0; 16];
    let mut message = [SecurityBufferRef::data_buf(&mut list), SecurityBufferRef::token_buf(&mut ours)];
    ntlm.make_signature(0, &mut message, 0).ok()?;
    Some(ours)
}

fn message_type(token: &[u8]) -> Option<u32> {
    (token.get(..8)? == b"NTLMSSP\0").then_some(())?;
    Some(u32::from_le_bytes(token.get(8..12)?.try_into().ok()?))
}

fn challenge(token: &[u8]) -> Result<(Box<Challenged>, Vec<u8>), Failure> {
    let malformed = (None, "not an NTLM negotiate message");
    if message_type(token) != Some(1) {
        return Err(malformed);
    }
    let mut ntlm = Ntlm::new();
    let answer = accept(&mut ntlm, token, None, &[]).map_err(|_| malformed)?;
    let nonce = ntlm::nonce(&answer).ok_or(malformed)?;
    Ok((Box::new(Challenged { ntlm, nonce }), answer))
}

fn authenticate(challenged: &mut Challenged, token: &[u8], rules: &Rules<'_>) -> Result<usize, Failure> {
    let Challenged { ntlm, nonce } = challenged;
    let names = Names::read(token).ok_or((None, "the NTLM message is malformed"))?;
    let user = rules.users.iter().position(|user| user.is_account(&names.domain, &names.user));
    let index = user.ok_or((None, "no such user"))?;
    let binding = match (rules.channel_binding, names.bound) {
        (ChannelBinding::Required, false) => return Err((user, "no channel binding")),
        (ChannelBinding::Required | ChannelBinding::Checked, true) => rules.binding,
        (ChannelBinding::Checked, false) | (ChannelBinding::Ignored, _) => &[],
    };
    let password = rules.users[index].password.expose_secret();
    if !names.protected {
        // What binds it to a channel is not read here.
        return match ntlm::proven(token, nonce, &names, password) {
            _ if names.bound => Err((user, "a channel binding without an integrity code")),
            Some(_) => Ok(index),
            None => Err((user, "wrong password")),
        };
    }
    let identity = AuthIdentityBuffers::from_utf8(&names.user, &names.domain, password);
    accept(ntlm, token, Some(identity), binding).map_err(|error| match error.error_type {
        ErrorKind::BadBindings => (user, "the channel binding is another connection's"),
        _ => (user, "the NTLM message was not accepted"),
    })?;
    ntlm.complete_auth_token(&mut []).map_err(|_| (user, "wrong password"))?;
    Ok(index)
}

fn accept(
    ntlm: &mut Ntlm,
    token: &[u8],
    identity: Option<AuthIdentityBuffers>,
    binding: &[u8],
) -> sspi::Result<Vec<u8>> {
    let mut identity = identity;
    let mut input = vec![SecurityBuffer::new(token.to_vec(), BufferType::Token)];
    if !binding.is_empty() {
        input.push(SecurityBuffer::new(binding.to_vec(), BufferType::ChannelBindings));
    }
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

/// The bindings of a server certificate whose signature uses SHA-256 (RFC 5929 `tls-server-end-point`), as a
/// `SEC_CHANNEL_BINDINGS`: four empty pairs of type, length and offset, and the application data.
pub(super) fn end_point(certificate: &[u8]) -> Vec<u8> {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let data = [b"tls-server-end-point:".as_slice(), hash.as_ref()].concat();
    let mut out = vec![0; 24];
    out.extend(u32::try_from(data.len()).expect("a name and a hash are short").to_le_bytes());
    out.extend(32u32.to_le_bytes());
    out.extend(data);
    out
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
            let (users, binding) = ([], end_point(&[]));
            let rules = Rules {
                users: &users,
                negotiate: Negotiate::Both,
                channel_binding: ChannelBinding::Required,
                binding: &binding,
            };
            handshake.step(&header, &rules);
            handshake.step(&header, &rules);
            prop_assert!(!matches!(handshake, Handshake::Done(_)));
        }
    }
}
