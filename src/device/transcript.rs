//! Reads the TLS 1.2 client handshake that the phone is asked to sign, from ClientHello to ClientKeyExchange
//! (RFC 5246, section 7.4): the phone signs what it understands and nothing else.

use super::judgement::ServerTrust;
use crate::phone::tether::messages::SettingsMap;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
const CLIENT_KEY_EXCHANGE: u8 = 16;
const CERTIFICATE_STATUS: u8 = 22;

/// What the phone has read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Transcript {
    server_chain: Vec<Vec<u8>>,
}

/// The names that the settings allow a server to have.
pub(super) fn names_of(settings: &SettingsMap) -> Vec<String> {
    let web = settings.web_services.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    settings.registrar.as_deref().into_iter().chain(web).filter_map(host).map(str::to_owned).collect()
}

/// The host of `host:port`, `host` or `[address]:port`.
fn host(authority: &str) -> Option<&str> {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    Some(host).filter(|host| !host.is_empty())
}

/// Reads the messages; the client's certificate must be `own`.
pub(super) fn read(messages: &[u8], own: &[u8], scheme: u16) -> Result<Transcript, String> {
    let mut rest = messages;
    let mut next = |allowed: &[u8]| -> Result<(u8, &[u8]), String> {
        let (kind, body, after) = message(rest).ok_or("a handshake message is cut short")?;
        if !allowed.contains(&kind) {
            return Err(format!("handshake message {kind} is out of order"));
        }
        rest = after;
        Ok((kind, body))
    };

    let (_, hello) = next(&[CLIENT_HELLO])?;
    tls12(hello)?;
    let (_, hello) = next(&[SERVER_HELLO])?;
    tls12(hello)?;
    let (_, chain) = next(&[CERTIFICATE])?;
    let server_chain = certificates(chain)?;
    // Each at most once, in this order; what follows CertificateRequest is checked after the loop.
    let mut allowed: &[u8] = &[CERTIFICATE_STATUS, SERVER_KEY_EXCHANGE, CERTIFICATE_REQUEST, SERVER_HELLO_DONE];
    loop {
        let (kind, body) = next(allowed)?;
        let at = allowed.iter().position(|one| *one == kind).unwrap_or_default();
        allowed = &allowed[at + 1..];
        match kind {
            CERTIFICATE_REQUEST => {
                let schemes = schemes(body).ok_or("the server's request for a certificate cannot be read")?;
                if !schemes.contains(&scheme) {
                    return Err("the server does not take this kind of signature".into());
                }
                break;
            }
            SERVER_HELLO_DONE => return Err("the server did not ask for a certificate".into()),
            _ => {}
        }
    }
    let (_, done) = next(&[SERVER_HELLO_DONE])?;
    if !done.is_empty() {
        return Err("the server's ServerHelloDone is not empty".into());
    }
    let (_, client) = next(&[CERTIFICATE])?;
    if certificates(client)?.first().map(Vec::as_slice) != Some(own) {
        return Err("the handshake does not hold this phone's certificate".into());
    }
    next(&[CLIENT_KEY_EXCHANGE])?;
    if !rest.is_empty() {
        return Err("something follows the key exchange".into());
    }
    Ok(Transcript { server_chain })
}

impl Transcript {
    /// The name from `names` that the server's chain is good for.
    pub(super) fn judge(&self, trust: &ServerTrust<'_>, names: &[String]) -> Result<String, String> {
        let mut reason = "the settings name no server".to_owned();
        for name in names {
            match trust.judge(&self.server_chain, name) {
                Ok(()) => return Ok(name.clone()),
                Err(why) => reason = why,
            }
        }
        Err(reason)
    }
}

/// Kind, body and what follows.
fn message(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let (body, after) = vector(rest, 3)?;
    Some((kind, body, after))
}

/// A vector with a length of `width` bytes before it.
fn vector(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(width)?;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

fn tls12(hello: &[u8]) -> Result<(), String> {
    match hello {
        [3, 3, ..] => Ok(()),
        _ => Err("only TLS 1.2 is signed".into()),
    }
}

fn certificates(body: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let cut = "a certificate message is cut short";
    let (mut list, after) = vector(body, 3).ok_or(cut)?;
    if !after.is_empty() {
        return Err(cut.into());
    }
    let mut found = Vec::new();
    while !list.is_empty() {
        let (certificate, rest) = vector(list, 3).ok_or(cut)?;
        found.push(certificate.to_vec());
        list = rest;
    }
    Ok(found)
}

/// The signature schemes of a CertificateRequest (RFC 5246, section 7.4.4), where it is read to its end.
fn schemes(body: &[u8]) -> Option<Vec<u16>> {
    let (_types, rest) = vector(body, 1)?;
    let (schemes, rest) = vector(rest, 2)?;
    let (mut authorities, after) = vector(rest, 2)?;
    while !authorities.is_empty() {
        authorities = vector(authorities, 2)?.1;
    }
    let (pairs, odd) = schemes.as_chunks::<2>();
    (after.is_empty() && odd.is_empty()).then(|| pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefixed(width: usize, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32).to_be_bytes();
        [&length[4 - width..], body].concat()
    }

    fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
        [vec![kind], prefixed(3, body)].concat()
    }

    fn certificate(list: &[&[u8]]) -> Vec<u8> {
        let list: Vec<u8> = list.iter().flat_map(|der| prefixed(3, der)).collect();
        handshake(CERTIFICATE, &prefixed(3, &list))
    }

    fn flight(own: &[u8]) -> Vec<Vec<u8>> {
        let request = [prefixed(1, &[1]), prefixed(2, &[4, 1, 4, 3]), prefixed(2, &[])].concat();
        vec![
            handshake(CLIENT_HELLO, &[3, 3, 9, 9]),
            handshake(SERVER_HELLO, &[3, 3, 8, 8]),
            certificate(&[b"server", b"issuer"]),
            handshake(SERVER_KEY_EXCHANGE, &[1]),
            handshake(CERTIFICATE_REQUEST, &request),
            handshake(SERVER_HELLO_DONE, &[]),
            certificate(&[own]),
            handshake(CLIENT_KEY_EXCHANGE, &[7]),
        ]
    }

    #[test]
    fn a_whole_client_handshake_is_read() {
        let read = read(&flight(b"mine").concat(), b"mine", 0x0401).unwrap();
        assert_eq!(read.server_chain, [b"server".to_vec(), b"issuer".to_vec()]);
    }

    #[test]
    fn nothing_else_is_signed() {
        let whole = flight(b"mine");
        assert!(read(&whole.concat(), b"another", 0x0401).unwrap_err().contains("this phone's certificate"));
        assert!(read(&whole.concat(), b"mine", 0x0804).unwrap_err().contains("kind of signature"));
        for missing in [0, 1, 2, 4, 5, 6, 7] {
            let mut short = whole.clone();
            short.remove(missing);
            assert!(read(&short.concat(), b"mine", 0x0401).is_err(), "without message {missing}");
        }
        let mut longer = whole.clone();
        longer.push(handshake(20, &[0; 12]));
        assert!(read(&longer.concat(), b"mine", 0x0401).is_err());
        let mut older = whole;
        older[0][5] = 1;
        assert!(read(&older.concat(), b"mine", 0x0401).unwrap_err().contains("TLS 1.2"));
    }

    #[test]
    fn every_message_of_the_server_comes_at_most_once_and_is_read_to_its_end() {
        let whole = flight(b"mine");
        let refused = |messages: &[Vec<u8>]| read(&messages.concat(), b"mine", 0x0401).is_err();
        for doubled in [3, 4, 5] {
            let mut twice = whole.clone();
            twice.insert(doubled, whole[doubled].clone());
            assert!(refused(&twice), "message {doubled} twice");
        }
        let mut swapped = whole.clone();
        swapped.swap(3, 4);
        assert!(refused(&swapped));
        let mut late = whole.clone();
        late.insert(4, handshake(CERTIFICATE_STATUS, &[1]));
        assert!(refused(&late));
        late.swap(3, 4);
        assert!(!refused(&late));

        let request = |schemes: &[u8], authorities: &[u8], after: &[u8]| {
            [&prefixed(1, &[1])[..], &prefixed(2, schemes), &prefixed(2, authorities), after].concat()
        };
        let with = |at: usize, kind: u8, body: &[u8]| {
            let mut changed = whole.clone();
            changed[at] = handshake(kind, body);
            changed
        };
        let name = prefixed(2, b"a name");
        assert!(!refused(&with(4, CERTIFICATE_REQUEST, &request(&[4, 1], &name, &[]))));
        assert!(refused(&with(4, CERTIFICATE_REQUEST, &request(&[4, 1, 4], &name, &[]))), "half a scheme");
        assert!(refused(&with(4, CERTIFICATE_REQUEST, &request(&[4, 1], &name[1..], &[]))));
        assert!(refused(&with(4, CERTIFICATE_REQUEST, &request(&[4, 1], &name, &[0]))));
        assert!(refused(&with(5, SERVER_HELLO_DONE, &[0])));
    }

    #[test]
    fn the_names_of_the_settings_are_hosts_without_ports_and_brackets() {
        let names = |registrar: Option<&str>, web: &str| {
            let sip_uri = "sip:a@b".into();
            names_of(&SettingsMap { sip_uri, registrar: registrar.map(str::to_owned), web_services: web.into() })
        };
        assert_eq!(names(Some("sip.b:5061"), "https://web.b:444/x"), ["sip.b", "web.b"]);
        assert_eq!(names(Some("[2001:db8::1]:5061"), "https://[::1]/x"), ["2001:db8::1", "::1"]);
        assert_eq!(names(None, "https://web.b?x"), ["web.b"]);
        assert!(names(None, "web.b").is_empty());
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..120, to in any::<u8>()) {
            let _ = read(&bytes, b"mine", 0x0401);
            let mut whole = flight(b"mine").concat();
            let length = whole.len();
            whole[at % length] = to;
            let _ = read(&whole, b"mine", 0x0401);
        }
    }
}
