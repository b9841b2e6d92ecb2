//! The numbers of the specification, a published sign-in byte for byte, and the lab's registrar.

use super::*;
use crate::lab::{Lab, LabOptions};
use crate::registrar::{Client, Credential, Endpoint, Failure, RegistrarError, Registration, Rules, Server};
use crate::tls::{Connector, Resolve, Trust};
use crate::world::World;
use proptest::prelude::*;
use std::sync::Arc;

/// Communicator 2007 R2 at Office Communications Server 2007 R2, as it was published.
const TYPE_2: &str = "4E544C4D53535000020000000000000038000000F38298E2DD1BAAF4E7E218D1000000000000000096009600380000000502CE0E0000000F02000A0043004F0053004D004F000100180043004F0053004D004F002D004F00430053002D00520032000400160063006F0073006D006F002E006C006F00630061006C000300300063006F0073006D006F002D006F00630073002D00720032002E0063006F0073006D006F002E006C006F00630061006C000500160063006F0073006D006F002E006C006F00630061006C0000000000";
const TYPE_3: &str = "4E544C4D53535000030000001800180072000000C600C6008A0000000A000A00480000000800080052000000180018005A0000001000100050010000558298620502CE0E0000000F43004F0053004D004F00550073006500720043004F0053004D004F002D004F00430053002D0052003200A1E92EFE4E078BF7C5C0049ACC6166C2D6AE875CB0FDAA418DC0C800AE76ECA606D2B9FBEBD04731010100000000000059519A1727B9CA01D6AE875CB0FDAA410000000002000A0043004F0053004D004F000100180043004F0053004D004F002D004F00430053002D00520032000400160063006F0073006D006F002E006C006F00630061006C000300300063006F0073006D006F002D006F00630073002D00720032002E0063006F0073006D006F002E006C006F00630061006C000500160063006F0073006D006F002E006C006F00630061006C00000000000000000031CB739E1CA80A498591E8AE797115E4";
const REQUEST: &str = "<NTLM><13317733><1><SIP Communications Service><cosmo-ocs-r2.cosmo.local><4037df9284354df39065195bd57a4b14><3><REGISTER><sip:user@cosmo.local><3e49177a52><sip:user@cosmo.local><><><><>";
const ANSWER: &str = "<NTLM><9616454F><1><SIP Communications Service><cosmo-ocs-r2.cosmo.local><4037df9284354df39065195bd57a4b14><3><REGISTER><sip:user@cosmo.local><3e49177a52><sip:user@cosmo.local><5E61CCD925D17E043D9A74835A88F664><><><7200><200>";

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn account(login: &str, password: &str) -> Account {
    Account { login: login.into(), password: password.to_owned().into() }
}

#[test]
fn the_numbers_of_the_specification_come_out() {
    // [MS-NLMP] 4.2.1 and 4.2.4.
    let owner = owner_key("User", "Domain", "Password");
    assert_eq!(owner.to_vec(), bytes("0c868a403bfd7a93a3001ef22ef02e3f"));
    let info = bytes("02000c0044006f006d00610069006e0001000c005300650072007600650072000000 0000");
    let challenge = Challenge { nonce: [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef], info: &info, time: None };
    let fresh = Fresh { time: 0, nonce: [0xaa; 8], session: Zeroizing::new([0x55; 16]) };
    let answer = challenge.answer(&account("Domain\\User", "Password"), &fresh);
    let message = answer.message;
    let field = |at: usize| {
        let length = usize::from(u16::from_le_bytes(array(&message, at).unwrap()));
        let start = u32::from_le_bytes(array(&message, at + 4).unwrap()) as usize;
        message[start..start + length].to_vec()
    };
    assert_eq!(field(12), bytes("86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa"));
    assert_eq!(field(20)[..16], bytes("68cd0ab851e51c96aabc927bebef6a1c"));
    assert_eq!(field(52), bytes("c5dad2544fc9799094ce1ce90bc9d03e"));
    let (signing, sealing) = answer.keys.0.of_the_client();
    assert_eq!(signing.to_vec(), bytes("4788dc861b4782f35d43fd98fe1a2d39"));
    assert_eq!(sealing.to_vec(), bytes("59f600973cc4960a25480a7c196e4c58"));
}

#[test]
fn a_published_answer_is_rebuilt_byte_for_byte_and_its_signatures_too() {
    let (challenge, published) = (bytes(TYPE_2), bytes(TYPE_3));
    let challenge = Challenge::read(&challenge).unwrap();
    assert_eq!(challenge.time, None);
    let account = account("COSMO\\User", "Pa$$word");
    // The session key is in the answer, sealed.
    let owner = owner_key("User", "COSMO", "Pa$$word");
    let mut session: [u8; 16] = array(&published, published.len() - 16).unwrap();
    let proof: [u8; 16] = array(&published, 0x8a).unwrap();
    Rc4::new(&hmac_md5(&*owner, &[&proof])).apply(&mut session);
    let fresh = Fresh {
        time: u64::from_le_bytes(bytes("59519A1727B9CA01").try_into().unwrap()),
        nonce: bytes("D6AE875CB0FDAA41").try_into().unwrap(),
        session: Zeroizing::new(session),
    };
    let mut answer = challenge.answer(&account, &fresh);

    // It named its computer, 24 bytes; this program names none, and its version is another.
    let computer = 0x5a..0x72;
    let mut without = [&published[..computer.start], &published[computer.end..]].concat();
    without[44..48].fill(0);
    for at in [16, 24, 56] {
        let place = u32::from_le_bytes(array(&without, at).unwrap()) - 24;
        without[at..at + 4].copy_from_slice(&place.to_le_bytes());
    }
    without[64..72].copy_from_slice(&VERSION);
    assert_eq!(answer.message, without);

    assert_eq!(answer.keys.sign(REQUEST), bytes("0100000029618e9651b65a7764000000"));
    assert!(answer.keys.verify(ANSWER, &bytes("01000000E615438A917661BE64000000")));
    assert!(!answer.keys.verify(REQUEST, &bytes("01000000E615438A917661BE64000000")));
    assert!(!answer.keys.verify(ANSWER, &[]));
    assert_eq!(format!("{:?}", answer.keys), "NtlmKeys(NTLM (HMAC-MD5), ..)");
}

#[test]
fn a_server_that_says_its_time_is_answered_with_it_and_gets_no_old_response() {
    let info = [&[7, 0, 8, 0][..], &[1, 2, 3, 4, 5, 6, 7, 8], &[0; 4]].concat();
    assert_eq!(time_in(&info), Some(Some(0x0807_0605_0403_0201)));
    let challenge = Challenge { nonce: [0; 8], info: &info, time: time_in(&info).unwrap() };
    let message = challenge.answer(&account("alice@contoso.example", "x"), &Fresh::random()).message;
    // No domain; then the user, and 24 zeros.
    assert_eq!(message[28..30], [0, 0]);
    let user = utf16("alice@contoso.example");
    assert_eq!(message[72..72 + user.len()], user);
    assert_eq!(message[72 + user.len()..][..24], [0; 24]);
    assert_eq!(message[72 + user.len() + 24 + 24..][..8], [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_challenge_that_offers_too_little_or_is_none_is_told_apart() {
    let mut challenge = bytes(TYPE_2);
    // Without datagram.
    challenge[20] &= !0x40;
    assert_eq!(Challenge::read(&challenge).unwrap_err(), BadNtlmChallenge::TooOld);
    assert_eq!(Challenge::read(&bytes(TYPE_3)).unwrap_err(), BadNtlmChallenge::Malformed);
    assert_eq!(Challenge::read(&bytes(TYPE_2)[..100]).unwrap_err(), BadNtlmChallenge::Malformed);
    let mut ntlm = Ntlm::new(&account("COSMO\\User", "Pa$$word"));
    assert!(matches!(ntlm.step(None), Ok(Step::Send(nothing)) if nothing.is_empty()));
    let error = ntlm.step(None).unwrap_err();
    assert!(matches!(error, NegotiationError::Ntlm(BadNtlmChallenge::Missing)), "{error:?}");
    assert!(matches!(ntlm.step(None), Err(NegotiationError::Ntlm(BadNtlmChallenge::Again))));
    let shown = format!("{:?}", Credential::Password(account("COSMO\\User", "Pa$$word")));
    assert!(!shown.contains("Pa$$word"), "{shown}");
}

async fn register(lab: &Lab, account: Account) -> Result<Registration, Box<Failure>> {
    let mut trust = Trust::only_given();
    trust.add_file(&lab.ready().trust_anchor).unwrap();
    let (host, address) = ("sip.contoso.example".to_owned(), lab.registrar().address());
    let resolve = vec![Resolve { host: host.clone(), port: address.port(), address }];
    let endpoint = Endpoint::of_epid("alice@contoso.example".parse().unwrap(), "c8ca638a15");
    let by = Arc::new(Connector::new(trust, resolve));
    let client = Client::new(by, endpoint, vec![Credential::Password(account)], Rules::default(), World::system());
    let server = Server { host, port: address.port(), at: None };
    Arc::new(client).register(&server, &mut |_| {}).await
}

#[tokio::test]
async fn a_user_is_registered_by_password_renewed_and_signed_off_at_the_labs_registrar() {
    let lab =
        Lab::start(&LabOptions { phones: 0, users: 1, fresh_keys: false, ..LabOptions::default() }).await.unwrap();
    let user = &lab.web().users()[0];
    let mut registration = register(&lab, account(&user.login, user.password.expose_secret())).await.unwrap();
    assert_eq!(registration.facts().method, Some("NTLM (HMAC-MD5)"));
    assert_eq!(lab.registrar().registrations()[0].proof, crate::lab::registrar::Proof::Ntlm);
    registration.renew(&mut |_| {}).await.unwrap();
    registration.sign_off(&mut |_| {}).await.unwrap();
    assert!(lab.registrar().registrations().is_empty());
}

#[tokio::test]
async fn a_wrong_password_is_refused_once_and_a_wrong_signature_ends_it() {
    let lab =
        Lab::start(&LabOptions { phones: 0, users: 1, fresh_keys: false, ..LabOptions::default() }).await.unwrap();
    let user = &lab.web().users()[0];
    let refused = register(&lab, account(&user.login, "not this")).await.unwrap_err();
    assert!(matches!(refused.error, RegistrarError::NotAccepted { .. }), "{:?}", refused.error);
    assert!(refused.error.next_step().contains("not tried again"));
    lab.registrar().faults().signature = crate::lab::registrar::SignatureFault::Wrong;
    let unsigned = register(&lab, account(&user.login, user.password.expose_secret())).await.unwrap_err();
    assert!(matches!(unsigned.error, RegistrarError::Unsigned { .. }), "{:?}", unsigned.error);
}

proptest! {
    #[test]
    fn any_challenge_is_answered_or_refused(at in 0usize..206, to in any::<u8>(), kept in 0usize..206, rest in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut challenge = bytes(TYPE_2);
        challenge[at] = to;
        if let Ok(read) = Challenge::read(&challenge) {
            read.answer(&account("COSMO\\User", "x"), &Fresh::random());
        }
        challenge.truncate(kept);
        challenge.extend(rest);
        let _ = Challenge::read(&challenge);
    }
}
