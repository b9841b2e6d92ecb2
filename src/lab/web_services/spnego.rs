//! SPNEGO (RFC 4178, [MS-SPNG]) around NTLM: enough DER to unwrap a client's tokens and to wrap the server's.
//!
//! Written for the lab: sspi's own server would not let the lab look at the NTLM message inside.

/// 1.3.6.1.5.5.2
const SPNEGO: &[u8] = &[0x2b, 6, 1, 5, 5, 2];
/// 1.3.6.1.4.1.311.2.2.10
const NTLMSSP: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 0x0a];

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// NegTokenInit.
    Init {
        /// The mechanism list as it came, DER: what `mechListMIC` covers.
        mechanisms: Vec<u8>,
        /// Where NTLM stands in it; `None` where it does not.
        ntlm: Option<usize>,
        /// The first mechanism's token.
        inner: Option<Vec<u8>>,
    },
    /// NegTokenResp.
    Resp {
        /// The chosen mechanism's token.
        inner: Option<Vec<u8>>,
        /// `mechListMIC`.
        mic: Option<Vec<u8>>,
    },
}

/// The server's opinion (`negState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Done.
    Completed = 0,
    /// One more token.
    Incomplete = 1,
    /// The mechanism is not the client's first: a `mechListMIC` is wanted.
    RequestMic = 3,
}

impl Token {
    /// `None`: no SPNEGO token.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (tag, content, rest) = element(bytes)?;
        rest.is_empty().then_some(())?;
        match tag {
            0x60 => {
                let (oid, inside) = tagged(content, 0x06)?;
                (oid == SPNEGO).then_some(())?;
                let fields = whole(whole(inside, 0xa0)?, 0x30)?;
                let mechanisms = field(fields, 0xa0)?;
                let mut list = whole(mechanisms, 0x30)?;
                let (mut ntlm, mut place) = (None, 0);
                while !list.is_empty() {
                    let (mechanism, rest) = tagged(list, 0x06)?;
                    ntlm = ntlm.or((mechanism == NTLMSSP).then_some(place));
                    (list, place) = (rest, place + 1);
                }
                Some(Self::Init { mechanisms: mechanisms.to_vec(), ntlm, inner: octets(fields, 0xa2)? })
            }
            0xa1 => {
                let fields = whole(content, 0x30)?;
                Some(Self::Resp { inner: octets(fields, 0xa2)?, mic: octets(fields, 0xa3)? })
            }
            _ => None,
        }
    }
}

/// A NegTokenResp of the server; its first names the mechanism.
pub(super) fn answer(state: State, first: bool, inner: Option<&[u8]>, mic: Option<&[u8]>) -> Vec<u8> {
    let mut fields = der(0xa0, &[0x0a, 1, state as u8]);
    if first {
        fields.extend(der(0xa1, &der(0x06, NTLMSSP)));
    }
    fields.extend(inner.map(|inner| der(0xa2, &der(0x04, inner))).unwrap_or_default());
    fields.extend(mic.map(|mic| der(0xa3, &der(0x04, mic))).unwrap_or_default());
    der(0xa1, &der(0x30, &fields))
}

/// The OCTET STRING in an optional field. `None`: malformed.
fn octets(fields: &[u8], tag: u8) -> Option<Option<Vec<u8>>> {
    match field(fields, tag) {
        None => Some(None),
        Some(field) => Some(Some(whole(field, 0x04)?.to_vec())),
    }
}

/// The content of the field with this tag.
fn field(mut fields: &[u8], wanted: u8) -> Option<&[u8]> {
    while let Some((tag, content, rest)) = element(fields) {
        if tag == wanted {
            return Some(content);
        }
        fields = rest;
    }
    None
}

/// The content of `bytes`, which is one element of this tag.
fn whole(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    tagged(bytes, tag).filter(|(_, rest)| rest.is_empty()).map(|(content, _)| content)
}

fn tagged(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(tag, ..)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

/// Tag, content and what follows. Lengths of at most two bytes: a header is not longer.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (length, rest) = match rest {
        [short @ ..=0x7f, rest @ ..] => (usize::from(*short), rest),
        [0x81, length, rest @ ..] => (usize::from(*length), rest),
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_of_another_mechanism_before_ntlm_is_read() {
        let kerberos = der(0x06, &[0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 1, 2, 2]);
        let list = der(0x30, &[kerberos, der(0x06, NTLMSSP)].concat());
        let fields = [der(0xa0, &list), der(0xa2, &der(0x04, &[7; 300]))].concat();
        let init = der(0x60, &[der(0x06, SPNEGO), der(0xa0, &der(0x30, &fields))].concat());
        let expected = Token::Init { mechanisms: list, ntlm: Some(1), inner: Some(vec![7; 300]) };
        assert_eq!(Token::read(&init), Some(expected));
    }

    proptest! {
        #[test]
        fn what_the_server_writes_is_read_again(inner in proptest::collection::vec(any::<u8>(), 0..600), mic: Option<[u8; 16]>) {
            let token = answer(State::Incomplete, true, Some(&inner), mic.as_ref().map(|mic| mic.as_slice()));
            let expected = Token::Resp { inner: Some(inner), mic: mic.map(|mic| mic.to_vec()) };
            prop_assert_eq!(Token::read(&token), Some(expected));
        }

        #[test]
        fn any_bytes_are_a_token_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..100), tag in 0u8..3) {
            let _ = Token::read(&bytes);
            let _ = Token::read(&der([0x60, 0xa1, 0x30][usize::from(tag)], &bytes));
        }
    }
}
