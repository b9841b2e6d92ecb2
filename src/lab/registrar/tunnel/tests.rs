//! Handshakes with both engines.

use super::*;
use crate::lab::keys::Keys;
use crate::lab::pki::{Pki, ServerFaults};

fn kit(tls: LabTls) -> Kit {
    let pki = Pki::new(&Keys::recycled());
    let identity = pki.server_called(&["fe02.contoso.example"], &ServerFaults::none(), "http://127.0.0.1/");
    Kit::new(tls, &identity).unwrap()
}

pub(in crate::lab::registrar) use super::hello::tests::plain as plain_hello;

/// RSA_RC4_128_MD5 and the others of a Communicator-era client.
const ERA: [u16; 5] = [0x0004, 0x0005, 0x002f, 0x0035, 0x0003];

#[test]
fn what_is_no_hello_opens_no_tunnel() {
    for wrong in [&b""[..], b"\x16\x03\x01\x00\x00", b"\x17\x03\x03\x00\x01a", &plain_hello(0x0303, &ERA)[..40]] {
        assert_eq!(Tunnel::open(&kit(LabTls::Modern), Allowed::All, wrong).err(), Some(Closed::NoHello));
    }
}

#[test]
fn a_client_of_the_era_finds_no_engine_where_old_tls_is_missing_or_forbidden() {
    let hello = plain_hello(0x0301, &ERA);
    assert_eq!(Tunnel::open(&kit(LabTls::Modern), Allowed::Modern, &hello).err(), Some(Closed::NoEngine));
    if cfg!(not(feature = "legacy-tls")) {
        assert_eq!(Tunnel::open(&kit(LabTls::Modern), Allowed::All, &hello).err(), Some(Closed::NoEngine));
    }
}

#[cfg(feature = "legacy-tls")]
#[test]
fn a_client_of_the_era_gets_the_first_flight_in_one_record_of_tls_1_0() {
    for tls in [LabTls::Modern, LabTls::OnlyTls10] {
        let (_, flight) = Tunnel::open(&kit(tls), Allowed::All, &plain_hello(0x0301, &ERA)).unwrap();
        let [22, 3, 1, high, low, body @ ..] = &flight[..] else { panic!("{flight:x?}") };
        assert_eq!(usize::from(u16::from_be_bytes([*high, *low])), body.len());
        // ServerHelloDone is its end.
        assert!(body.starts_with(&[2]) && body.ends_with(&[14, 0, 0, 0]));
    }
}

#[cfg(feature = "legacy-tls")]
#[test]
fn both_sides_have_the_same_keys_and_the_server_the_clients_certificate() {
    use openssl::ssl::SslVersion;
    use time::{Duration, OffsetDateTime};

    let pki = Pki::new(&Keys::recycled());
    let key = Keys::recycled().take(crate::credential::KeyKind::Rsa2048);
    let now = OffsetDateTime::now_utc();
    let certificate = pki.users().certify("alice@contoso.example", &key, now, now + Duration::days(1));
    for (tls, newest, version) in [
        (LabTls::Modern, SslVersion::TLS1, "TLS 1.0"),
        (LabTls::OnlyTls10, SslVersion::TLS1_2, "TLS 1.0"),
        (LabTls::Modern, SslVersion::TLS1_2, "TLS 1.2"),
    ] {
        let mut client = old::Client::new(newest, &certificate, &key);
        let (mut tunnel, first) = Tunnel::open(&kit(tls), Allowed::All, &client.step(&[])).unwrap();
        let second = client.step(&first);
        assert!(tunnel.finished().is_none());
        assert!(client.step(&tunnel.step(&second).unwrap()).is_empty());
        let (agreed, material) = (tunnel.finished().unwrap(), client.key_material());
        assert_eq!((&agreed.client_key[..], &agreed.server_key[..]), (&material[64..96], &material[96..]));
        assert_eq!((agreed.version, agreed.hash), (version, Hash::Sha1));
        assert_eq!(agreed.suite, "TLS_RSA_WITH_AES_256_CBC_SHA");
        assert!(agreed.certificate == certificate);
    }
}

#[cfg(feature = "legacy-tls")]
pub(in crate::lab::registrar) mod old {
    //! A client that has nothing newer than OpenSSL is told.

    use super::LABEL;
    use openssl::pkey::PKey;
    use openssl::ssl::{
        HandshakeError, MidHandshakeSslStream, Ssl, SslContext, SslMethod, SslStream, SslVerifyMode, SslVersion,
    };
    use openssl::x509::X509;
    use std::io::{self, Read, Write};

    /// What came, and what is to go.
    #[derive(Debug, Default)]
    struct Pipe(Vec<u8>, Vec<u8>);

    enum State {
        Shaking(Option<MidHandshakeSslStream<Pipe>>),
        Shaken(SslStream<Pipe>),
    }

    pub(in crate::lab::registrar) struct Client(State);

    impl Client {
        pub(in crate::lab::registrar) fn new(newest: SslVersion, certificate: &[u8], key: &[u8]) -> Self {
            let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
            context.set_min_proto_version(Some(SslVersion::TLS1)).unwrap();
            context.set_max_proto_version(Some(newest)).unwrap();
            context.set_cipher_list("AES256-SHA:@SECLEVEL=0").unwrap();
            context.set_verify(SslVerifyMode::NONE);
            context.set_certificate(&X509::from_der(certificate).unwrap()).unwrap();
            context.set_private_key(&PKey::private_key_from_pkcs8(key).unwrap()).unwrap();
            let ssl = Ssl::new(&context.build()).unwrap();
            let Err(HandshakeError::WouldBlock(on)) = ssl.connect(Pipe::default()) else { panic!() };
            Self(State::Shaking(Some(on)))
        }

        pub(in crate::lab::registrar) fn step(&mut self, records: &[u8]) -> Vec<u8> {
            let State::Shaking(on) = &mut self.0 else { panic!("the handshake is over") };
            let mut on = on.take().unwrap();
            if records.is_empty() {
                let hello = std::mem::take(&mut on.get_mut().1);
                self.0 = State::Shaking(Some(on));
                return hello;
            }
            on.get_mut().0.extend_from_slice(records);
            match on.handshake() {
                Err(HandshakeError::WouldBlock(mut on)) => {
                    let answer = std::mem::take(&mut on.get_mut().1);
                    self.0 = State::Shaking(Some(on));
                    answer
                }
                Ok(mut stream) => {
                    let answer = std::mem::take(&mut stream.get_mut().1);
                    self.0 = State::Shaken(stream);
                    answer
                }
                Err(error) => panic!("{error}"),
            }
        }

        pub(in crate::lab::registrar) fn is_done(&self) -> bool {
            matches!(self.0, State::Shaken(_))
        }

        pub(in crate::lab::registrar) fn key_material(&self) -> [u8; 128] {
            let State::Shaken(stream) = &self.0 else { panic!("the handshake goes on") };
            let mut material = [0; 128];
            stream.ssl().export_keying_material(&mut material, LABEL, None).unwrap();
            material
        }
    }

    impl Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match (&self.0[..]).read(buffer)? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                length => {
                    self.0.drain(..length);
                    Ok(length)
                }
            }
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
