//! The exporter is the derivation that TLS-DSK describes: the formula by hand, with vectors, against handshakes that happened.

use super::servers::{self, Modern, Server};
use super::{Handshake, registrar, tunnel, user};
use aws_lc_rs::hmac;

/// P_hash of RFC 5246, section 5.
fn p_hash(sign: &dyn Fn(&[u8]) -> Vec<u8>, seed: &[u8], length: usize) -> Vec<u8> {
    let (mut a, mut output) = (seed.to_vec(), Vec::new());
    while output.len() < length {
        a = sign(&a);
        output.extend(sign(&[&a, seed].concat()));
    }
    output.truncate(length);
    output
}

fn seed(client_random: &[u8], server_random: &[u8]) -> Vec<u8> {
    [b"client EAP encryption", client_random, server_random].concat()
}

/// TLS 1.2's PRF.
pub(super) fn prf12(
    algorithm: hmac::Algorithm,
    master_secret: &[u8],
    client_random: &[u8],
    server_random: &[u8],
) -> Vec<u8> {
    let key = hmac::Key::new(algorithm, master_secret);
    p_hash(&|data| hmac::sign(&key, data).as_ref().to_vec(), &seed(client_random, server_random), 128)
}

/// TLS 1.0's: P_MD5 with one half of the secret, P_SHA-1 with the other (RFC 2246, section 5).
#[cfg(feature = "legacy-tls")]
pub(super) fn prf10(master_secret: &[u8], client_random: &[u8], server_random: &[u8]) -> Vec<u8> {
    use openssl::{hash::MessageDigest, pkey::PKey, sign::Signer};
    let seed = seed(client_random, server_random);
    let half = |digest: MessageDigest, secret: &[u8]| {
        let key = PKey::hmac(secret).unwrap();
        p_hash(&|data| Signer::new(digest, &key).unwrap().sign_oneshot_to_vec(data).unwrap(), &seed, 128)
    };
    let (first, second) = master_secret.split_at(master_secret.len() / 2);
    let (md5, sha1) = (half(MessageDigest::md5(), first), half(MessageDigest::sha1(), second));
    md5.iter().zip(sha1).map(|(a, b)| a ^ b).collect()
}

/// The randoms of a ClientHello and a ServerHello, each the first message of its record.
pub(super) fn random(records: &[u8]) -> &[u8] {
    &records[11..43]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn inputs() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    ((0..0x30).collect(), (0x40..0x60).collect(), (0x60..0x80).collect())
}

#[test]
fn the_formula_gives_its_vectors_with_tls_1_2() {
    let (secret, client, server) = inputs();
    for (algorithm, expected) in [
        (
            hmac::HMAC_SHA256,
            "cef3a432d565f7d7f5ca987e3e4d7744e8ffd6c317e537ac9a1c2934b943882a\
             2e9a020d09bf0b3d9d0aa2b1d28e516aab5d0d8750b9c9cf12d1b058532e38fe\
             8f070e439c501711910ae56deecfa90cf71d676ebc760fecb2b2e2a2f2909ded\
             da6e2de8b55c6be15f93d29d655239672781c4e5dff36107d1122316d3e3428d",
        ),
        (
            hmac::HMAC_SHA384,
            "cb404807965addc01f454a922b16358a438826fdf44515653ad70c08af84ad80\
             e19585d17e5b0bb16af0ea380d818e31bd912c21c092b5f5f3357f4a5851f03c\
             803398ae8d27698650eb0c6bbaf2aa2179807850db2da5e70d0ef4cb6e3e90a3\
             bfa90677dff725cccd73cbff62b148169b7f635f558135f14e86e2ad67eddb69",
        ),
    ] {
        assert_eq!(hex(&prf12(algorithm, &secret, &client, &server)), expected);
    }
}

#[cfg(feature = "legacy-tls")]
#[test]
fn the_formula_gives_its_vectors_with_tls_1_0() {
    let (secret, client, server) = inputs();
    let expected = "6e3daed4a230fc4463075be7b8bade37c5e819df103909072423571b264c7235\
                    876c4a4f01a574537a1fe43d28b3e090ee39b69b5832077d0e153a38b49cfffb\
                    8d56bdf4498cf0ed4542cbbad85b6fef6387449ed68e539712afa7bee6f1966e\
                    edf3871fed72cc8789dffeaf960cba247bc7cf48a0c923ff36ba9852364b1ecf";
    assert_eq!(hex(&prf10(&secret, &client, &server)), expected);
}

#[test]
fn the_exporter_of_a_handshake_is_the_formula() {
    for (suite, algorithm) in [(&servers::GCM_128, hmac::HMAC_SHA256), (&servers::GCM_256, hmac::HMAC_SHA384)] {
        let (identity, trust) = registrar();
        let (mut server, mut client) = (Modern::with_suite(&identity, suite), tunnel(trust, &user()));
        let by_formula = by_formula(client.as_mut(), &mut server, |m, c, s| prf12(algorithm, m, c, s));
        assert_eq!(client.finished().unwrap().key_material.as_slice(), by_formula);
    }
}

/// Shakes hands, and computes from what went over the wire and the server's key log.
pub(super) fn by_formula(
    client: &mut dyn Handshake,
    server: &mut dyn Server,
    prf: impl FnOnce(&[u8], &[u8], &[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let hello = client.step(&[]).unwrap();
    let flight = server.answer(&hello);
    let answer = server.answer(&client.step(&flight).unwrap());
    client.step(&answer).unwrap();
    prf(&server.master_secret(), random(&hello), random(&flight))
}
