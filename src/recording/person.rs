//! The operator, recorded and replayed: what was asked and what was answered, never a secret.

use super::job::{way_name, way_named};
use crate::credential::SipAddress;
use crate::phone::{Identity, IdentityInUse, ShortCode};
use crate::provision::{Answer, Event, NoAnswer, Operator, PhoneSeen};
use crate::service::{SignIn, SignInWay};
use crate::tape::{Kind, Tape, Value};
use secrecy::SecretString;
use uuid::Uuid;

/// What a replayed job has in place of a secret; nothing that is replayed takes it.
const LEFT_OUT: &str = "(left out)";

/// An operator whose answers are noted.
pub struct Witnessed<'a, O> {
    operator: &'a mut O,
    tape: Tape,
    device: Option<Uuid>,
}

impl<'a, O: Operator> Witnessed<'a, O> {
    /// Notes what `operator` is asked and answers.
    pub fn new(operator: &'a mut O, tape: &Tape) -> Self {
        Self { operator, tape: tape.clone(), device: None }
    }

    /// The phone, once it was seen.
    pub fn device(&self) -> Option<Uuid> {
        self.device
    }

    fn asked(&self, question: &str) {
        self.tape.note(Kind::PersonAsked, Value::text(question));
    }

    fn answered(&self, answer: Answer) -> Answer {
        self.tape.note(Kind::PersonAnswered, Value::text(word(answer)));
        answer
    }
}

const IS_IT: &str = "is this the phone";
const MAY_REPLACE: &str = "may it be replaced";
const SAME_CODE: &str = "is the code the same";
const CREDENTIAL: &str = "credential";
const CODE: &str = "administrator code";

fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::Nobody => "nobody",
    }
}

fn refused(error: &NoAnswer) -> Value {
    match error {
        NoAnswer::Nobody { what, .. } => Value::map([("nobody", Value::text(what))]),
        NoAnswer::Unreadable { what, .. } => Value::map([("unreadable", Value::text(what))]),
        NoAnswer::Empty { what } => Value::map([("empty", Value::text(what))]),
    }
}

fn refusal(value: &Value) -> NoAnswer {
    match value.get("empty").and_then(Value::as_text) {
        Some(what) => NoAnswer::Empty { what: what.to_owned() },
        None => NoAnswer::Nobody { what: "an answer".to_owned(), option: "another recording".to_owned() },
    }
}

/// The way and the name that it is gone with, never the secret.
pub(super) fn sign_in_value(sign_in: &SignIn) -> Value {
    let (way, name) = match sign_in {
        SignIn::Ntlm { login, .. } => (SignInWay::Ntlm, login.as_str()),
        SignIn::Negotiate { login, .. } => (SignInWay::Negotiate, login.as_str()),
        SignIn::Basic { login, .. } => (SignInWay::Basic, login.as_str()),
        SignIn::Pin { number, .. } => (SignInWay::Pin, number.as_str()),
        SignIn::Certificate(_) => (SignInWay::Certificate, ""),
    };
    Value::map([("way", Value::text(way_name(way))), ("name", Value::text(name))])
}

fn sign_in_from(value: &Value) -> Option<SignIn> {
    let name = value.get("name")?.as_text()?.to_owned();
    let secret = || SecretString::from(LEFT_OUT);
    Some(match way_named(value.get("way")?.as_text()?)? {
        SignInWay::Ntlm => SignIn::Ntlm { login: name, password: secret() },
        SignInWay::Negotiate => SignIn::Negotiate { login: name, password: secret() },
        SignInWay::Basic => SignIn::Basic { login: name, password: secret() },
        SignInWay::Pin => SignIn::Pin { number: name, pin: secret() },
        SignInWay::Certificate => return None,
    })
}

impl<O: Operator> Operator for Witnessed<'_, O> {
    fn event(&mut self, event: Event) {
        if let Event::Phone(seen) = &event {
            self.device = Some(seen.identity.device);
        }
        self.operator.event(event);
    }

    async fn is_this_the_phone(&mut self, phone: &PhoneSeen) -> Answer {
        self.asked(IS_IT);
        let answer = self.operator.is_this_the_phone(phone).await;
        self.answered(answer)
    }

    async fn may_replace(&mut self, in_use: &IdentityInUse, user: &SipAddress) -> Answer {
        self.asked(MAY_REPLACE);
        let answer = self.operator.may_replace(in_use, user).await;
        self.answered(answer)
    }

    async fn is_the_code_the_same(&mut self, code: ShortCode) -> Answer {
        self.asked(SAME_CODE);
        let answer = self.operator.is_the_code_the_same(code).await;
        self.answered(answer)
    }

    async fn credential(&mut self, host: &str, user: &SipAddress) -> Result<SignIn, NoAnswer> {
        self.asked(CREDENTIAL);
        let answer = self.operator.credential(host, user).await;
        self.tape.note(
            Kind::PersonAnswered,
            match &answer {
                Ok(sign_in) => sign_in_value(sign_in),
                Err(error) => refused(error),
            },
        );
        answer
    }

    async fn administrator_code(&mut self, phone: &Identity) -> Result<SecretString, NoAnswer> {
        self.asked(CODE);
        let answer = self.operator.administrator_code(phone).await;
        self.tape.note(
            Kind::PersonAnswered,
            match &answer {
                Ok(_) => Value::text(LEFT_OUT),
                Err(error) => refused(error),
            },
        );
        answer
    }
}

/// The operator of a tape that plays.
pub(super) struct Played(pub(super) Tape);

impl Played {
    /// What was answered then; nothing where the recording differs.
    fn answer(&self, question: &str) -> Option<Value> {
        self.0.ask(Kind::PersonAsked, Value::text(question)).ok()?;
        self.0.answer(&[Kind::PersonAnswered]).ok().map(|entry| entry.value)
    }

    fn choice(&self, question: &str) -> Answer {
        match self.answer(question).as_ref().and_then(Value::as_text) {
            Some("yes") => Answer::Yes,
            Some("no") => Answer::No,
            _ => Answer::Nobody,
        }
    }
}

impl Operator for Played {
    fn event(&mut self, _: Event) {}

    async fn is_this_the_phone(&mut self, _: &PhoneSeen) -> Answer {
        self.choice(IS_IT)
    }

    async fn may_replace(&mut self, _: &IdentityInUse, _: &SipAddress) -> Answer {
        self.choice(MAY_REPLACE)
    }

    async fn is_the_code_the_same(&mut self, _: ShortCode) -> Answer {
        self.choice(SAME_CODE)
    }

    async fn credential(&mut self, _: &str, _: &SipAddress) -> Result<SignIn, NoAnswer> {
        let answer = self.answer(CREDENTIAL).unwrap_or(Value::Null);
        sign_in_from(&answer).ok_or_else(|| refusal(&answer))
    }

    async fn administrator_code(&mut self, _: &Identity) -> Result<SecretString, NoAnswer> {
        let answer = self.answer(CODE).unwrap_or(Value::Null);
        match answer.as_text() {
            Some(code) => Ok(SecretString::from(code)),
            None => Err(refusal(&answer)),
        }
    }
}
