//! What the phone accepts and refuses, one operation at a time, and which refusal comes first.

use super::*;
use crate::phone::tether::messages::capability;

const ID: [u8; 16] = [1; 16];

/// A session with a phone.
struct Asked {
    hand: Hand,
    session: Session,
}

impl Asked {
    async fn new(material: PhoneMaterial) -> Self {
        let mut hand = Hand::on(material).await;
        hand.reset(7).await;
        let session = hand.session().await;
        Self { hand, session }
    }

    async fn ask(&mut self, operation: Operation) -> Result<(), u16> {
        match self.hand.request(&mut self.session, &encode_request(&[operation])).await.as_slice() {
            [Outcome::Done(_)] => Ok(()),
            outcomes => Err(failure(outcomes)),
        }
    }
}

fn begin(id: [u8; 16], user: &str) -> Operation {
    Operation::Begin { id: id.into(), user: user.into(), replaces: None }
}

fn make_key(kind: u64) -> Operation {
    Operation::MakeKey { id: ID.into(), kind }
}

fn signing_request(common_name: &str, hash: u64) -> Operation {
    Operation::SigningRequest { id: ID.into(), common_name: common_name.into(), hash }
}

#[tokio::test]
async fn a_transaction_is_for_one_user_of_one_domain() {
    let mut phone = Asked::new(material()).await;
    for user in ["", "alice", "@contoso.example", "alice@", "a@b@c", "al\nice@contoso.example", "a\u{9f}@b"] {
        assert_eq!(phone.ask(begin(ID, user)).await, Err(code::NOT_ACCEPTED), "{user:?}");
    }
    assert_eq!(phone.ask(begin(ID, "alice@contoso.example")).await, Ok(()));
    assert_eq!(phone.ask(begin([2; 16], "nobody")).await, Err(code::OTHER_PENDING));
}

#[tokio::test]
async fn a_request_needs_a_key_then_a_name_then_a_hash() {
    let mut phone = Asked::new(material()).await;
    assert_eq!(phone.ask(signing_request("", 9)).await, Err(code::UNKNOWN_TRANSACTION));
    phone.ask(begin(ID, "alice@contoso.example")).await.unwrap();
    assert_eq!(phone.ask(signing_request("", 9)).await, Err(code::OUT_OF_ORDER));
    assert_eq!(phone.ask(make_key(300)).await, Err(code::KEY_KIND));
    phone.ask(make_key(3)).await.unwrap();
    assert_eq!(phone.ask(make_key(300)).await, Err(code::OUT_OF_ORDER));
    for name in ["", "al\nice", &"x".repeat(65)] {
        assert_eq!(phone.ask(signing_request(name, 9)).await, Err(code::NOT_ACCEPTED), "{name:?}");
    }
    assert_eq!(phone.ask(signing_request("alice", 1000)).await, Err(code::HASH));
    phone.ask(signing_request(&"x".repeat(64), 0)).await.unwrap();
    assert_eq!(phone.ask(signing_request("", 9)).await, Ok(()), "the same bytes, whatever is asked");
}

#[tokio::test]
async fn a_number_out_of_range_fails_alone_and_one_of_another_type_fails_the_request() {
    let mut phone = Asked::new(material()).await;
    assert_eq!(phone.ask(Operation::Attention { seconds: 120 }).await, Ok(()));
    for seconds in [121, 300, u64::MAX >> 1] {
        assert_eq!(phone.ask(Operation::Attention { seconds }).await, Err(code::NOT_ACCEPTED));
    }
    assert_eq!(phone.ask(Operation::Anchors { start: 1 << 40 }).await, Ok(()));
    assert_eq!(phone.ask(Operation::Log { start: 1 << 40 }).await, Ok(()));
    assert_eq!(phone.ask(Operation::SetClock { time: i64::MAX }).await, Err(code::NOT_ACCEPTED));
    for attention in [[0x20, 0x00], [0x60, 0x00], [0xf5, 0x00]] {
        let request = [&[0xa1, 0, 0x81, 0x82, 7, 0xa1, 0], &attention[..1]].concat();
        assert_eq!(failure(&phone.hand.request(&mut phone.session, &request).await), code::MALFORMED);
    }
}

#[tokio::test]
async fn a_key_twice_makes_the_whole_request_malformed() {
    let mut phone = Asked::new(material()).await;
    let twice = [0xa1, 0, 0x82, 0x82, 7, 0xa1, 0, 5, 0x82, 7, 0xa2, 0, 5, 0, 6];
    assert_eq!(phone.hand.request(&mut phone.session, &twice).await.len(), 1);
    assert_eq!(failure(&phone.hand.request(&mut phone.session, &twice).await), code::MALFORMED);
}

#[tokio::test]
async fn what_a_phone_cannot_do_is_told_before_consent_and_consent_before_what_is_missing() {
    let mut wary = material();
    wary.consent = super::super::Consent::Press { agrees: true };
    let mut phone = Asked::new(wary.clone()).await;
    let sign = || Operation::SignHandshake { transcript: vec![1].into(), scheme: 1 << 20 };
    assert_eq!(phone.ask(Operation::SignIn {}).await, Err(code::UNSUPPORTED));
    assert_eq!(phone.ask(sign()).await, Err(code::CONSENT_NEEDED));

    wary.capabilities = capability::SIGN_IN;
    let mut phone = Asked::new(wary).await;
    assert_eq!(phone.ask(Operation::Restart {}).await, Err(code::UNSUPPORTED));
    assert_eq!(phone.ask(Operation::Log { start: 0 }).await, Err(code::UNSUPPORTED));
    assert_eq!(phone.ask(Operation::Attention { seconds: 300 }).await, Err(code::UNSUPPORTED));
    assert_eq!(phone.ask(sign()).await, Err(code::UNSUPPORTED));
    assert_eq!(phone.ask(Operation::SignIn {}).await, Err(code::CONSENT_NEEDED));
    phone.ask(Operation::Consent { code: None }).await.unwrap();
    assert_eq!(phone.ask(Operation::SignIn {}).await, Err(code::NO_SUCH));
}

#[tokio::test]
async fn consents_to_sign_a_handshake_are_not_saved_up() {
    let mut phone = Asked::new(material()).await;
    let sign = || Operation::SignHandshake { transcript: vec![1].into(), scheme: 0x0403 };
    for _ in 0..2 {
        phone.ask(Operation::Consent { code: None }).await.unwrap();
    }
    assert_eq!(phone.ask(sign()).await, Err(code::NO_SUCH));
    assert_eq!(phone.ask(sign()).await, Err(code::CONSENT_NEEDED));
}

#[tokio::test]
async fn a_code_that_cannot_be_one_is_not_counted() {
    let mut locked = material();
    locked.consent = super::super::Consent::Code { code: "2580".into(), tries: 1 };
    let mut phone = Asked::new(locked).await;
    for code in ["x".repeat(65), "25\n80".into()] {
        assert_eq!(phone.ask(Operation::Consent { code: Some(code) }).await, Err(code::NOT_ACCEPTED));
    }
    assert_eq!(phone.ask(Operation::Consent { code: Some("2580".into()) }).await, Ok(()));
}
