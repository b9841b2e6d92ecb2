//! A sign-in of Communicator 2007 R2 at Office Communications Server 2007 R2, as it was published byte for byte.

use super::*;
use proptest::prelude::*;

const TYPE_2: &str = "4E544C4D53535000020000000000000038000000F38298E2DD1BAAF4E7E218D1000000000000000096009600380000000502CE0E0000000F02000A0043004F0053004D004F000100180043004F0053004D004F002D004F00430053002D00520032000400160063006F0073006D006F002E006C006F00630061006C000300300063006F0073006D006F002D006F00630073002D00720032002E0063006F0073006D006F002E006C006F00630061006C000500160063006F0073006D006F002E006C006F00630061006C0000000000";
const TYPE_3: &str = "4E544C4D53535000030000001800180072000000C600C6008A0000000A000A00480000000800080052000000180018005A0000001000100050010000558298620502CE0E0000000F43004F0053004D004F00550073006500720043004F0053004D004F002D004F00430053002D0052003200A1E92EFE4E078BF7C5C0049ACC6166C2D6AE875CB0FDAA418DC0C800AE76ECA606D2B9FBEBD04731010100000000000059519A1727B9CA01D6AE875CB0FDAA410000000002000A0043004F0053004D004F000100180043004F0053004D004F002D004F00430053002D00520032000400160063006F0073006D006F002E006C006F00630061006C000300300063006F0073006D006F002D006F00630073002D00720032002E0063006F0073006D006F002E006C006F00630061006C000500160063006F0073006D006F002E006C006F00630061006C00000000000000000031CB739E1CA80A498591E8AE797115E4";
const REQUEST: &str = "<NTLM><13317733><1><SIP Communications Service><cosmo-ocs-r2.cosmo.local><4037df9284354df39065195bd57a4b14><3><REGISTER><sip:user@cosmo.local><3e49177a52><sip:user@cosmo.local><><><><>";
const ANSWER: &str = "<NTLM><9616454F><1><SIP Communications Service><cosmo-ocs-r2.cosmo.local><4037df9284354df39065195bd57a4b14><3><REGISTER><sip:user@cosmo.local><3e49177a52><sip:user@cosmo.local><5E61CCD925D17E043D9A74835A88F664><><><7200><200>";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn challenge() -> Challenge {
    let message = bytes(TYPE_2);
    let nonce = message[24..32].try_into().unwrap();
    Challenge { message, nonce }
}

fn user() -> User {
    let mut user = User::new("user@cosmo.local".parse().unwrap(), "1");
    (user.login, user.password) = ("COSMO\\User".to_owned(), "Pa$$word".to_owned().into());
    user
}

/// When it was.
const THEN: OffsetDateTime = time::macros::datetime!(2010-03-01 10:08:08 UTC);

#[test]
fn a_published_sign_in_is_verified_and_its_answer_signed_as_the_server_did() {
    let (index, signer) = challenge().checked(&bytes(TYPE_3), &[user()], THEN).ok().unwrap();
    assert_eq!(index, 0);
    assert!(signer.verifies(REQUEST, "0100000029618e9651b65a7764000000"));
    assert!(!signer.verifies(ANSWER, "0100000029618e9651b65a7764000000"));
    assert_eq!(signer.sign(ANSWER), "01000000E615438A917661BE64000000");
    assert_eq!(signer.sign_as_client(REQUEST), "0100000029618e9651b65a7764000000");
}

#[test]
fn a_wrong_password_a_wrong_clock_and_an_unknown_user_are_refused_as_such() {
    let why = |users: &[User], now| challenge().checked(&bytes(TYPE_3), users, now).err().unwrap();
    let mut wrong = user();
    wrong.password = "password".to_owned().into();
    assert_eq!(why(&[wrong], THEN), (Some(0), "wrong password"));
    assert_eq!(why(&[user()], THEN + Duration::minutes(16)), (Some(0), "the clocks are too far apart"));
    assert!(challenge().checked(&bytes(TYPE_3), &[user()], THEN - Duration::minutes(14)).is_ok());
    assert_eq!(why(&[], THEN), (None, "no such user"));
}

#[test]
fn a_challenge_offers_what_a_server_of_the_era_offered() {
    let challenge = Challenge::new("fe02.contoso.example", THEN);
    let message = challenge.message();
    assert_eq!(number(message, 20), number(&bytes(TYPE_2), 20));
    assert_eq!(message[24..32], challenge.nonce);
    let info = field(message, 40).unwrap();
    assert!(info.starts_with(&[&[2, 0, 14, 0][..], &utf16("CONTOSO"), &[1, 0, 8, 0], &utf16("FE02")].concat()));
    assert!(info.ends_with(&[0; 4]));
    assert_ne!(Challenge::new("fe02.contoso.example", THEN).nonce, challenge.nonce);
}

proptest! {
    #[test]
    fn any_answer_to_a_challenge_is_judged_without_a_panic(
        rest in proptest::collection::vec(any::<u8>(), 0..300), kept in 0usize..352, at in 0usize..352, bit in 0u8..8,
    ) {
        let mut token = bytes(TYPE_3);
        token[at] ^= 1 << bit;
        let _ = challenge().checked(&token, &[user()], THEN);
        token.truncate(kept);
        token.extend(rest);
        let _ = challenge().checked(&token, &[user()], THEN);
    }
}

/// A client's answer to a challenge at this computer's time, and what signs for it.
pub(in crate::lab::registrar) fn answered(
    challenge: &[u8],
    domain: &str,
    user: &str,
    password: &str,
) -> (Vec<u8>, Signer) {
    let (token, session) = crate::lab::ntlm::tests::answered(challenge, (domain, user, password), NEEDED);
    (token, Signer::new(&session))
}
