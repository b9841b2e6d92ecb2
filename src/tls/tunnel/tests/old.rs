//! OpenSSL on one side or on both.

use super::formula::{by_formula, prf10, prf12};
use super::servers::old::Legacy;
use super::*;
use aws_lc_rs::hmac;
use openssl::ssl::{SslVerifyMode, SslVersion};

type Prf = fn(&[u8], &[u8], &[u8]) -> Vec<u8>;

const ASKS: SslVerifyMode = SslVerifyMode::PEER.union(SslVerifyMode::FAIL_IF_NO_PEER_CERT);

fn old_tunnel(trust: Trust, identity: &ClientIdentity) -> Box<dyn Handshake> {
    Connector::new(trust, Vec::new()).with_engine(Engine::Legacy).tunnel(TARGET, identity).unwrap()
}

fn asking(identity: &Identity, version: SslVersion, ciphers: &str) -> Legacy {
    Legacy::new(identity, version, ciphers, ASKS)
}

#[test]
fn old_servers_and_this_program_have_the_same_key_material_and_the_suite_has_the_hash() {
    let (tls10, tls11, tls12) = (SslVersion::TLS1, SslVersion::TLS1_1, SslVersion::TLS1_2);
    for (version, ciphers, named, cipher, hash) in [
        (tls10, "AES128-SHA", "TLS 1.0", "TLS_RSA_WITH_AES_128_CBC_SHA", SignatureHash::Sha1),
        (tls10, "ECDHE-RSA-AES256-SHA", "TLS 1.0", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", SignatureHash::Sha1),
        (tls11, "AES256-SHA", "TLS 1.1", "TLS_RSA_WITH_AES_256_CBC_SHA", SignatureHash::Sha1),
        (tls12, "AES256-SHA", "TLS 1.2", "TLS_RSA_WITH_AES_256_CBC_SHA", SignatureHash::Sha1),
        (tls12, "AES128-SHA256", "TLS 1.2", "TLS_RSA_WITH_AES_128_CBC_SHA256", SignatureHash::Sha256),
        (tls12, "ECDHE-RSA-AES256-SHA384", "TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", SignatureHash::Sha384),
        (
            tls12,
            "ECDHE-RSA-AES256-GCM-SHA384",
            "TLS 1.2",
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            SignatureHash::Sha384,
        ),
    ] {
        let (identity, trust) = registrar();
        let user = user();
        let (mut server, mut client) = (asking(&identity, version, ciphers), old_tunnel(trust, &user));
        assert_eq!(shake(client.as_mut(), &mut server).unwrap(), 2);
        let agreed = client.finished().unwrap();
        assert_eq!(*agreed.key_material, server.exported());
        assert_eq!((agreed.negotiated.version.as_str(), agreed.negotiated.cipher.as_str()), (named, cipher));
        assert_eq!((agreed.hash, &agreed.peer), (hash, &identity.chain));
        assert_eq!(server.client_chain()[0], user.certificate.to_vec());
        assert!(server.client_chain().iter().all(|der| *der == user.certificate.to_vec()), "alone");
    }
}

#[test]
fn each_engine_reaches_the_other_ones_server() {
    let (identity, trust) = registrar();
    let mut modern = Modern::new(&identity);
    let mut client = old_tunnel(trust.clone(), &user());
    shake(client.as_mut(), &mut modern).unwrap();
    assert_eq!(*client.finished().unwrap().key_material, modern.exported());

    let mut legacy = asking(&identity, SslVersion::TLS1_2, "ECDHE-RSA-AES128-GCM-SHA256");
    let mut client = tunnel(trust.clone(), &user());
    shake(client.as_mut(), &mut legacy).unwrap();
    assert_eq!(*client.finished().unwrap().key_material, legacy.exported());

    let (phone, user) = Phone::with(KeyKind::Rsa2048, Scheme::RsaPkcs1Sha256);
    let mut legacy = asking(&identity, SslVersion::TLS1_2, "ECDHE-RSA-AES256-GCM-SHA384");
    shake(tunnel(trust, &user).as_mut(), &mut legacy).unwrap();
    assert_eq!(servers::kinds(&phone.shown.lock().unwrap()), [1, 2, 11, 12, 13, 14, 11, 16]);
}

#[test]
fn the_exporter_of_an_old_handshake_is_the_formula() {
    let of = |version, ciphers: &str, prf: Prf| {
        let (identity, trust) = registrar();
        let (mut server, mut client) = (asking(&identity, version, ciphers), old_tunnel(trust, &user()));
        let by_formula = by_formula(client.as_mut(), &mut server, prf);
        assert_eq!(client.finished().unwrap().key_material.as_slice(), by_formula);
    };
    of(SslVersion::TLS1, "AES128-SHA", prf10);
    of(SslVersion::TLS1_1, "AES256-SHA", prf10);
    of(SslVersion::TLS1_2, "AES256-SHA", |m, c, s| prf12(hmac::HMAC_SHA256, m, c, s));
    of(SslVersion::TLS1_2, "ECDHE-RSA-AES256-SHA384", |m, c, s| prf12(hmac::HMAC_SHA384, m, c, s));
}

#[test]
fn the_modern_engine_names_the_switch_for_an_old_server() {
    let (identity, trust) = registrar();
    for version in [SslVersion::TLS1, SslVersion::TLS1_2] {
        let error = shake(tunnel(trust.clone(), &user()).as_mut(), &mut asking(&identity, version, "AES128-SHA"));
        let error = error.unwrap_err();
        assert!(matches!(error, TunnelError::NoCommonCipher { engine: Engine::Modern, .. }), "{error:?}");
        assert!(error.next_step().contains("--tls legacy"));
    }
}

#[test]
fn the_old_engine_judges_before_anything_of_the_user_leaves() {
    let (whole, trust) = registrar();
    let (other, trusts_other) = registrar_for("sip.contoso.example", Sends::Everything);
    let (_, stranger) = registrar();
    for (identity, trust, expected) in [
        (&whole, stranger, Distrust::UnknownIssuer { issuer: "CN=Contoso Root".to_owned(), tried: Vec::new() }),
        (&other, trusts_other, Distrust::WrongName { names: vec!["sip.contoso.example".to_owned()] }),
    ] {
        let mut server = asking(identity, SslVersion::TLS1, "AES128-SHA");
        let error = shake(old_tunnel(trust, &user()).as_mut(), &mut server).unwrap_err();
        let TunnelError::Untrusted { reason, .. } = error else { panic!("{error:?}") };
        assert_eq!(reason, expected);
        assert!(server.client_chain().is_empty());
    }
    shake(old_tunnel(trust, &user()).as_mut(), &mut asking(&whole, SslVersion::TLS1, "AES128-SHA")).unwrap();
}

#[test]
fn a_key_inside_a_phone_is_out_of_the_old_engines_reach() {
    let (_, trust) = registrar();
    let (_, user) = Phone::with(KeyKind::Rsa2048, Scheme::RsaPkcs1Sha256);
    let old = Connector::new(trust, Vec::new()).with_engine(Engine::Legacy);
    let error = old.tunnel(TARGET, &user).err().unwrap();
    assert!(matches!(error, TunnelError::KeyOutOfReach), "{error:?}");
    assert_eq!(error.to_string(), "the engine for old TLS cannot use a key that is inside the phone");
}

#[test]
fn with_the_old_engine_too_nobody_asking_and_refusals_are_told_apart() {
    let (identity, trust) = registrar();
    let mut silent = Legacy::new(&identity, SslVersion::TLS1, "AES128-SHA", SslVerifyMode::NONE);
    let error = shake(old_tunnel(trust.clone(), &user()).as_mut(), &mut silent).unwrap_err();
    assert!(matches!(error, TunnelError::NotAsked { .. }), "{error:?}");

    let error = shake(old_tunnel(trust.clone(), &user()).as_mut(), &mut Modern::refusing(&identity)).unwrap_err();
    assert_eq!(error.to_string(), "fe01.contoso.example ended the handshake inside the sign-in: certificate revoked");

    for number in [40, 70, 71] {
        let mut client = old_tunnel(trust.clone(), &user());
        client.step(&[]).unwrap();
        let error = client.step(&[21, 3, 1, 0, 2, 2, number]).unwrap_err();
        assert!(matches!(error, TunnelError::NoCommonCipher { engine: Engine::Legacy, .. }), "{error:?}");
    }
    let mut client = old_tunnel(trust, &user());
    client.step(&[]).unwrap();
    assert!(matches!(client.step(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Err(TunnelError::Broken { .. })));
}

#[test]
fn the_old_engine_awaits_a_flight_in_pieces_and_takes_nothing_after_the_end() {
    let (identity, trust) = registrar();
    let (mut server, mut client) = (asking(&identity, SslVersion::TLS1, "AES128-SHA"), old_tunnel(trust, &user()));
    let mut flight = server.answer(&client.step(&[]).unwrap());
    let (last, before) = flight.split_last().unwrap();
    for piece in before.chunks(97) {
        assert!(client.step(piece).unwrap().is_empty());
    }
    let answer = client.step(&[*last]).unwrap();
    flight = server.answer(&answer);
    flight.extend([22, 3, 1, 0, 1, 0]);
    let error = client.step(&flight).unwrap_err();
    assert!(matches!(error, TunnelError::Broken { .. }), "{error:?}");
    assert!(client.finished().is_none());
}
