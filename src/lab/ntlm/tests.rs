//! A client of the era: it knows of no message integrity code.

use super::*;
use crate::lab::keys::random;
use proptest::prelude::*;
use time::OffsetDateTime;

/// Its answer to a challenge at this computer's time, with these flags, and the session key it chose.
pub(in crate::lab) fn answered(
    challenge: &[u8],
    (domain, user, password): (&str, &str, &str),
    flags: u32,
) -> (Vec<u8>, [u8; 16]) {
    let (nonce, info) = (nonce(challenge).unwrap(), field(challenge, 40).unwrap());
    let key = owner_key(user, domain, password);
    let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 100 + 116_444_736_000_000_000;
    let blob = [
        &[1, 1, 0, 0, 0, 0, 0, 0][..],
        &u64::try_from(now).unwrap().to_le_bytes(),
        &random::<8>(),
        &[0; 4],
        info,
        &[0; 4],
    ];
    let blob = blob.concat();
    let proof = hmac_md5(&*key, &[&nonce, &blob]);
    let session: [u8; 16] = random();
    let mut sealed = session;
    Rc4::new(&hmac_md5(&*key, &[&*proof])).apply(&mut sealed);
    let response = [&*proof, &blob[..]].concat();
    let payload = [utf16(domain), utf16(user), utf16("DESK"), response, sealed.to_vec()];
    let mut at = 72;
    let pointers = payload.each_ref().map(|part| {
        let length = (part.len() as u16).to_le_bytes();
        let pointer = [&length[..], &length, &(at as u32).to_le_bytes()].concat();
        at += part.len();
        pointer
    });
    let [domain, user, host, response, sealed] = pointers;
    let none = [&[0; 4][..], &72u32.to_le_bytes()].concat();
    let header = [
        b"NTLMSSP\0\x03\0\0\0".to_vec(),
        none,
        response,
        domain,
        user,
        host,
        sealed,
        flags.to_le_bytes().to_vec(),
        vec![6, 1, 0, 0, 0, 0, 0, 15],
    ];
    ([header.concat(), payload.concat()].concat(), session)
}

#[test]
fn rc4_and_the_owners_key_are_those_of_the_specifications() {
    // RFC 6229, 128 bits, offset 0.
    let mut stream = [0; 16];
    Rc4::new(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]).apply(&mut stream);
    assert_eq!(stream, 0x9ac7_cc9a_609d_1ef7_b293_2899_cde4_1b97_u128.to_be_bytes());
    // [MS-NLMP] section 4.2.4.1.1.
    assert_eq!(*owner_key("User", "Domain", "Password"), 0x0c86_8a40_3bfd_7a93_a300_1ef2_2ef0_2e3f_u128.to_be_bytes());
}

proptest! {
    #[test]
    fn any_message_is_read_without_a_panic(rest in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..220) {
        let token = [b"NTLMSSP\0\x03\0\0\0", &rest[..]].concat();
        let _ = (Names::read(&token), field(&token, at), number(&token, at), nonce(&token));
    }
}
