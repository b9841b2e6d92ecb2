//! What of a ClientHello decides which engine answers it.

/// The newest version and the cipher suites that a client offers (RFC 5246 section 7.4.1.2; RFC 8446 section 4.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    /// 0x0301 for TLS 1.0 to 0x0303 for TLS 1.2; what is newer cannot be tunnelled and does not count.
    pub(super) newest: u16,
    pub(super) suites: Vec<u16>,
}

/// TLS 1.2.
pub(super) const TLS_1_2: u16 = 0x0303;

/// What records there are begin with a handshake message, and that is a ClientHello.
pub(super) fn read(records: &[u8]) -> Option<Hello> {
    let mut handshake = Vec::new();
    let mut rest = records;
    while let [22, 3, _, high, low, body @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        handshake.extend_from_slice(body.get(..length)?);
        rest = &body[length..];
    }
    let mut message = Bytes(&handshake);
    (message.number(1)? == 1).then_some(())?;
    let length = message.number(3)?;
    let mut body = Bytes(message.take(length)?);
    let version = u16::try_from(body.number(2)?).ok()?;
    body.take(32)?;
    body.vector(1)?;
    let suites = body.vector(2)?.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    body.vector(1)?;
    let listed = match body.0.is_empty() {
        true => None,
        false => supported_versions(body.vector(2)?),
    };
    let newest = match listed {
        Some(versions) => versions.into_iter().filter(|version| *version <= TLS_1_2).max().unwrap_or(0),
        None => version.min(TLS_1_2),
    };
    Some(Hello { newest, suites })
}

fn supported_versions(extensions: &[u8]) -> Option<Vec<u16>> {
    let mut extensions = Bytes(extensions);
    while !extensions.0.is_empty() {
        let (kind, content) = (extensions.number(2)?, extensions.vector(2)?);
        if kind == 43 {
            let versions = Bytes(content).vector(1)?;
            return Some(versions.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect());
        }
    }
    None
}

/// Reads from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many bytes, at most four.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A vector behind its length of so many bytes.
    fn vector(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let length = self.number(bytes)?;
        self.take(length)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A hello with neither session nor extensions, as the clients of Communicator's era sent it.
    pub(in crate::lab::registrar) fn plain(version: u16, suites: &[u16]) -> Vec<u8> {
        let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        let body = [&version.to_be_bytes()[..], &[7; 32], &[0], &(suites.len() as u16).to_be_bytes(), &suites, &[1, 0]]
            .concat();
        let message = [&[1, 0, 0, body.len() as u8][..], &body].concat();
        [&[22, 3, 1, 0, message.len() as u8][..], &message].concat()
    }

    #[test]
    fn a_hello_of_the_era_is_read_with_its_version_and_suites() {
        let hello = read(&plain(0x0301, &[0x0004, 0x0005, 0x002f, 0x0035, 0x0003]));
        assert_eq!(hello, Some(Hello { newest: 0x0301, suites: vec![0x0004, 0x0005, 0x002f, 0x0035, 0x0003] }));
    }

    #[test]
    fn a_hello_of_todays_library_is_read_with_its_version_and_suites() {
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        for (versions, newest) in [(&[&rustls::version::TLS12][..], TLS_1_2), (&[&rustls::version::TLS13], 0)] {
            let config = rustls::ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(versions)
                .unwrap()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            let name = "fe02.contoso.example".try_into().unwrap();
            let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
            let mut hello = Vec::new();
            client.write_tls(&mut hello).unwrap();
            let hello = read(&hello).unwrap();
            assert_eq!(hello.newest, newest);
            assert!(hello.suites.contains(&0xc02f) || newest == 0);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_hello_or_none(rest in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..80) {
            read(&rest);
            let mut hello = plain(TLS_1_2, &[0xc02f]);
            hello.truncate(cut);
            hello.extend(rest);
            read(&hello);
        }
    }
}
