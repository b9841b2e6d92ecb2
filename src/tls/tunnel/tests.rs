//! The engines against servers that the tests make: rustls and OpenSSL, in memory, each engine against both.

mod formula;
#[cfg(feature = "legacy-tls")]
mod old;
mod servers;

use super::*;
use crate::credential::KeyKind;
use crate::lab::keys::Keys;
use crate::tls::fixture::{Authority, Identity, Sends, rsa_key};
use crate::tls::{Connector, Distrust, Trust};
use proptest::prelude::*;
use rcgen::CertificateParams;
use rustls::pki_types::PrivatePkcs8KeyDer;
use servers::{Modern, Server};
use std::sync::Mutex;

const TARGET: &str = "fe01.contoso.example";

/// A server with an RSA certificate, and whom its clients trust.
fn registrar() -> (Identity, Trust) {
    registrar_for(TARGET, Sends::Everything)
}

fn registrar_for(name: &str, sends: Sends) -> (Identity, Trust) {
    let authority = Authority::new();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let identity = authority.identity_with(rsa_key(&rcgen::PKCS_RSA_SHA256), params, sends, None);
    let mut trust = Trust::only_given();
    trust.add_der("test", &authority.root_der()).unwrap();
    (identity, trust)
}

/// A user's certificate as a pool publishes it: signed by nobody that anybody knows.
fn user() -> ClientIdentity {
    let pkcs8 = Keys::recycled().take(KeyKind::Rsa2048);
    ClientIdentity { certificate: certificate_of(&pkcs8), key: ClientKey::Here(pkcs8) }
}

fn certificate_of(pkcs8: &[u8]) -> CertificateDer<'static> {
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.into(), &rcgen::PKCS_RSA_SHA256);
    let key = key.or_else(|_| rcgen::KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8))).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "alice@contoso.example");
    params.self_signed(&key).unwrap().der().clone()
}

fn tunnel(trust: Trust, identity: &ClientIdentity) -> Box<dyn Handshake> {
    Connector::new(trust, Vec::new()).tunnel(TARGET, identity).unwrap()
}

/// Both sides until the client has its end, and how many flights it sent.
fn shake(client: &mut dyn Handshake, server: &mut dyn Server) -> Result<usize, TunnelError> {
    let mut answer = Vec::new();
    for flight in 0.. {
        let sent = client.step(&answer)?;
        if client.finished().is_some() {
            assert!(sent.is_empty());
            return Ok(flight);
        }
        answer = server.answer(&sent);
    }
    unreachable!()
}

/// A phone that signs, and what it was shown.
struct Phone {
    pkcs8: Vec<u8>,
    scheme: Scheme,
    shown: Mutex<Vec<u8>>,
}

impl Phone {
    fn with(kind: KeyKind, scheme: Scheme) -> (Arc<Self>, ClientIdentity) {
        let pkcs8 = Keys::recycled().take(kind).to_vec();
        let certificate = certificate_of(&pkcs8);
        let phone = Arc::new(Self { pkcs8, scheme, shown: Mutex::default() });
        (phone.clone(), ClientIdentity { certificate, key: ClientKey::Elsewhere(phone) })
    }
}

impl Signer for Phone {
    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn sign(&self, messages: &[u8]) -> Result<Vec<u8>, SignError> {
        *self.shown.lock().unwrap() = messages.to_vec();
        let key = PrivatePkcs8KeyDer::from(self.pkcs8.as_slice()).into();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)?;
        let signer = key.choose_scheme(&[self.scheme.number().into()]).unwrap();
        Ok(signer.sign(messages)?)
    }
}

/// A key whose holder says no.
#[derive(Debug, thiserror::Error)]
#[error("the person declined")]
struct Declined;

struct Declining;

impl Signer for Declining {
    fn scheme(&self) -> Scheme {
        Scheme::RsaPkcs1Sha256
    }

    fn sign(&self, _messages: &[u8]) -> Result<Vec<u8>, SignError> {
        Err(Box::new(Declined))
    }
}

#[test]
fn both_sides_have_the_same_key_material_and_the_hash_is_the_suites() {
    for (suite, cipher, hash) in [
        (&servers::GCM_128, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", SignatureHash::Sha256),
        (&servers::GCM_256, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", SignatureHash::Sha384),
        (&servers::CHACHA, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", SignatureHash::Sha256),
    ] {
        let (identity, trust) = registrar();
        let (user, mut server) = (user(), Modern::with_suite(&identity, suite));
        let mut client = tunnel(trust, &user);
        assert_eq!(shake(client.as_mut(), &mut server).unwrap(), 2);
        let agreed = client.finished().unwrap();
        assert_eq!(*agreed.key_material, server.exported());
        assert_eq!((agreed.negotiated.cipher.as_str(), agreed.hash), (cipher, hash));
        assert_eq!(agreed.negotiated.version, "TLS 1.2");
        assert_eq!(agreed.peer, identity.chain);
        assert_eq!(server.client_chain(), [user.certificate.to_vec()], "alone");
    }
}

#[test]
fn a_server_that_goes_on_after_its_close_is_an_error_and_not_waited_for() {
    let (identity, trust) = registrar();
    let (mut server, mut client) = (Modern::new(&identity), tunnel(trust, &user()));
    let first = client.step(&[]).unwrap();
    let second = client.step(&server.answer(&first)).unwrap();
    let mut last = server.answer(&second);
    last.extend(server.close());
    // More than rustls reads at once.
    last.extend([0x17; 1 << 14]);
    let error = client.step(&last).unwrap_err();
    assert!(matches!(error, TunnelError::Broken { .. }), "{error:?}");
}

#[test]
fn key_material_is_not_shown_to_whoever_prints_what_was_agreed() {
    let (identity, trust) = registrar();
    let (mut server, mut client) = (Modern::new(&identity), tunnel(trust, &user()));
    shake(client.as_mut(), &mut server).unwrap();
    let shown = format!("{:?}", client.finished().unwrap());
    assert_eq!(shown, "Agreed(TLS 1.2, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, Sha384, 2 certificates)");
    assert_eq!(format!("{:?}", user().key), "Here(..)");
}

#[test]
fn a_key_elsewhere_signs_the_whole_handshake_with_pkcs1_and_the_server_takes_it() {
    for (kind, scheme) in [
        (KeyKind::Rsa2048, Scheme::RsaPkcs1Sha256),
        (KeyKind::Rsa3072, Scheme::RsaPkcs1Sha256),
        (KeyKind::P256, Scheme::EcdsaP256Sha256),
    ] {
        let (identity, trust) = registrar();
        let (phone, user) = Phone::with(kind, scheme);
        let (mut server, mut client) = (Modern::new(&identity), tunnel(trust, &user));
        shake(client.as_mut(), &mut server).unwrap();
        assert_eq!(*client.finished().unwrap().key_material, server.exported());
        // ClientHello first, ClientKeyExchange last, each with its header.
        let kinds = servers::kinds(&phone.shown.lock().unwrap());
        assert_eq!(kinds, [1, 2, 11, 12, 13, 14, 11, 16]);
        assert_eq!(server.client_scheme(), Some(scheme.number()));
    }
}

#[test]
fn a_key_in_memory_signs_by_pkcs1_where_the_server_prefers_pss() {
    let (identity, trust) = registrar();
    let (mut server, mut client) = (Modern::new(&identity), tunnel(trust, &user()));
    shake(client.as_mut(), &mut server).unwrap();
    assert_eq!(server.client_scheme(), Some(0x0401));
}

#[test]
fn what_the_keys_holder_says_comes_out_as_itself() {
    let (identity, trust) = registrar();
    let certificate = user().certificate;
    let user = ClientIdentity { certificate, key: ClientKey::Elsewhere(Arc::new(Declining)) };
    let error = shake(tunnel(trust, &user).as_mut(), &mut Modern::new(&identity)).unwrap_err();
    let TunnelError::NotSigned(said) = error else { panic!("{error:?}") };
    assert!(said.downcast_ref::<Declined>().is_some());
}

#[test]
fn a_server_that_is_not_trusted_gets_no_signature() {
    let (whole, trust) = registrar();
    let (other, trusts_other) = registrar_for("sip.contoso.example", Sends::Everything);
    let (alone, trusts_alone) = registrar_for(TARGET, Sends::OnlyItsOwn);
    let (_, stranger) = registrar();
    type Expected = fn(&Distrust) -> bool;
    let cases: [(_, _, Expected); 3] = [
        (&whole, stranger, |d| matches!(d, Distrust::UnknownIssuer { issuer, .. } if issuer == "CN=Contoso Root")),
        (&other, trusts_other, |d| matches!(d, Distrust::WrongName { names } if names == &["sip.contoso.example"])),
        (&alone, trusts_alone, |d| matches!(d, Distrust::MissingIntermediate { .. })),
    ];
    for (identity, trust, expected) in cases {
        let (phone, user) = Phone::with(KeyKind::Rsa2048, Scheme::RsaPkcs1Sha256);
        let error = shake(tunnel(trust, &user).as_mut(), &mut Modern::new(identity)).unwrap_err();
        let TunnelError::Untrusted { ref reason, ref presented, .. } = error else { panic!("{error:?}") };
        assert!(expected(reason), "{reason:?}");
        assert_eq!(presented[0], identity.chain[0].to_vec());
        assert_eq!(error.next_step(), reason.next_step());
        assert!(phone.shown.lock().unwrap().is_empty(), "it was asked to sign");
    }
    // The same server, trusted.
    shake(tunnel(trust, &user()).as_mut(), &mut Modern::new(&whole)).unwrap();
}

#[test]
fn a_server_that_asks_for_no_certificate_or_takes_no_fitting_signature_is_an_error() {
    let (identity, trust) = registrar();
    let error = shake(tunnel(trust.clone(), &user()).as_mut(), &mut Modern::not_asking(&identity)).unwrap_err();
    assert!(matches!(error, TunnelError::NotAsked { .. }), "{error:?}");

    let (_, user) = Phone::with(KeyKind::P256, Scheme::EcdsaP256Sha256);
    let error = shake(tunnel(trust, &user).as_mut(), &mut Modern::taking_only_rsa(&identity)).unwrap_err();
    assert!(matches!(error, TunnelError::NoCommonSignature { .. }), "{error:?}");
}

#[test]
fn a_refused_certificate_is_the_servers_alert_in_words() {
    let (identity, trust) = registrar();
    let error = shake(tunnel(trust, &user()).as_mut(), &mut Modern::refusing(&identity)).unwrap_err();
    assert_eq!(error.to_string(), "fe01.contoso.example ended the handshake inside the sign-in: certificate revoked");
    assert!(error.next_step().contains("published"));
}

#[test]
fn an_alert_to_the_first_message_is_about_ciphers() {
    let (_, trust) = registrar();
    for number in [40, 70, 71] {
        let mut client = tunnel(trust.clone(), &user());
        client.step(&[]).unwrap();
        let error = client.step(&[21, 3, 1, 0, 2, 2, number]).unwrap_err();
        assert!(matches!(error, TunnelError::NoCommonCipher { engine: Engine::Modern, .. }), "{error:?}");
        assert!(error.next_step().contains("--tls legacy"));
        let error = client.step(&[22]).unwrap_err();
        assert!(matches!(error, TunnelError::Over { .. }), "{error:?}");
    }
}

#[test]
fn a_flight_that_comes_in_pieces_is_awaited_and_answered_once() {
    let (identity, trust) = registrar();
    let (mut server, mut client) = (Modern::new(&identity), tunnel(trust, &user()));
    let mut flight = server.answer(&client.step(&[]).unwrap());
    for _ in 0..2 {
        let (last, before) = flight.split_last().unwrap();
        for piece in before.chunks(97) {
            assert!(client.step(piece).unwrap().is_empty());
            assert!(client.finished().is_none());
        }
        let answer = client.step(&[*last]).unwrap();
        flight = if answer.is_empty() { Vec::new() } else { server.answer(&answer) };
    }
    assert_eq!(*client.finished().unwrap().key_material, server.exported());
}

#[test]
fn silence_excess_and_what_follows_the_end_are_three_errors() {
    let (identity, trust) = registrar();
    let (mut server, mut client) = (Modern::new(&identity), tunnel(trust.clone(), &user()));
    shake(client.as_mut(), &mut server).unwrap();
    assert!(matches!(client.step(&[22, 3, 3, 0, 0]), Err(TunnelError::Over { .. })));
    assert!(client.finished().is_some(), "what was agreed stays");

    let mut client = tunnel(trust.clone(), &user());
    client.step(&[]).unwrap();
    assert!(matches!(client.step(&[]), Err(TunnelError::Silent { .. })));

    let mut client = tunnel(trust, &user());
    client.step(&[]).unwrap();
    assert!(matches!(client.step(&vec![0; MAX_RECORDS + 1]), Err(TunnelError::TooLong { .. })));
}

#[test]
fn what_cannot_begin_says_why() {
    let (_, trust) = registrar();
    let begin = |trust: Trust, target: &str, identity: &ClientIdentity| {
        Connector::new(trust, Vec::new()).tunnel(target, identity).err().unwrap()
    };
    assert!(matches!(begin(trust.clone(), "sip/fe 01", &user()), TunnelError::BadTarget { .. }));
    assert!(matches!(begin(Trust::only_given(), TARGET, &user()), TunnelError::NoAnchors));
    let [one, other] = Keys::recycled().different();
    let twisted = ClientIdentity { certificate: certificate_of(&one), key: ClientKey::Here(other) };
    assert!(matches!(begin(trust.clone(), TARGET, &twisted), TunnelError::UnusableIdentity { .. }));
    let rubbish = ClientKey::Here(Zeroizing::new(vec![1, 2, 3]));
    let rubbish = ClientIdentity { certificate: user().certificate, key: rubbish };
    assert!(matches!(begin(trust, TARGET, &rubbish), TunnelError::UnusableIdentity { .. }));
}

#[cfg(not(feature = "legacy-tls"))]
#[test]
fn a_build_without_the_old_engine_says_so() {
    let (_, trust) = registrar();
    let old = Connector::new(trust, Vec::new()).with_engine(Engine::Legacy);
    assert!(matches!(old.tunnel(TARGET, &user()), Err(TunnelError::EngineMissing { .. })));
}

#[test]
fn the_suites_last_word_is_the_hash() {
    assert_eq!(SignatureHash::of_suite("TLS_RSA_WITH_AES_128_CBC_SHA"), Some(SignatureHash::Sha1));
    assert_eq!(SignatureHash::of_suite("TLS_RSA_WITH_AES_128_CBC_SHA256"), Some(SignatureHash::Sha256));
    assert_eq!(SignatureHash::of_suite("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"), Some(SignatureHash::Sha384));
    assert_eq!(SignatureHash::of_suite("TLS_RSA_WITH_AES_128_CCM"), None);
    assert_eq!(SignatureHash::of_suite(""), None);
}

#[test]
fn every_alert_has_words() {
    assert_eq!(in_words(AlertDescription::UnknownCA), "unknown ca");
    assert_eq!(in_words(AlertDescription::BadCertificate), "bad certificate");
    assert_eq!(in_words(AlertDescription::from(77)), "alert 77");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn rubbish_is_an_error_or_waits_for_more(bytes in proptest::collection::vec(any::<u8>(), 1..300), at in 0usize..4000, to in any::<u8>()) {
        let (identity, trust) = fixed();
        for engine in engines() {
            let connector = Connector::new(trust.clone(), Vec::new()).with_engine(engine);
            let mut client = connector.tunnel(TARGET, &user()).unwrap();
            let hello = client.step(&[]).unwrap();
            let _ = client.step(&bytes);
            prop_assert!(client.finished().is_none());

            // One byte of the server's flight is another.
            let mut client = connector.tunnel(TARGET, &user()).unwrap();
            client.step(&[]).unwrap();
            let mut flight = Modern::new(identity).answer(&hello);
            let length = flight.len();
            flight[at % length] = to;
            let _ = client.step(&flight);
            prop_assert!(client.finished().is_none());
        }
    }
}

fn engines() -> Vec<Engine> {
    if cfg!(feature = "legacy-tls") { vec![Engine::Modern, Engine::Legacy] } else { vec![Engine::Modern] }
}

fn fixed() -> (&'static Identity, Trust) {
    static FIXED: std::sync::OnceLock<(Identity, Trust)> = std::sync::OnceLock::new();
    let (identity, trust) = FIXED.get_or_init(registrar);
    (identity, trust.clone())
}
