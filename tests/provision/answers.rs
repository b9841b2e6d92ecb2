//! Somebody who has thought about all questions beforehand.

use secrecy::{ExposeSecret, SecretString};
use tethercert::credential::SipAddress;
use tethercert::phone::{Identity, IdentityInUse, ShortCode};
use tethercert::provision::{Answer, Event, NoAnswer, Operator, PhoneSeen, Stage, Stop};
use tethercert::service::SignIn;

/// Tells whether an event is the one that is meant.
pub type Kind = fn(&Event) -> bool;

/// The answers, and what was asked.
pub struct Answers<'a> {
    pub login: String,
    pub password: SecretString,
    pub pin: Option<(String, SecretString)>,
    pub is_phone: Answer,
    pub replaces: Answer,
    pub code: Answer,
    pub administrator_code: Option<String>,
    pub codes_seen: Vec<ShortCode>,
    /// Every host that a secret was asked for.
    pub asked: Vec<String>,
    pub events: Vec<Event>,
    /// Asks for a stop when an event of this kind comes.
    pub stop_at: Option<(Kind, Option<Stop>)>,
    /// Tells that a step has ended.
    pub reached: Option<(Stage, Stop)>,
    /// What else happens in the world when an event comes.
    pub hook: Option<Hook<'a>>,
}

/// See [`Answers::hook`].
pub type Hook<'a> = Box<dyn FnMut(&Event) + Send + 'a>;

impl Answers<'_> {
    /// Yes to the phone, nobody there for the rest.
    pub fn yes(login: String, password: SecretString) -> Self {
        Self {
            login,
            password,
            pin: None,
            is_phone: Answer::Yes,
            replaces: Answer::Nobody,
            code: Answer::Nobody,
            administrator_code: None,
            codes_seen: Vec::new(),
            asked: Vec::new(),
            events: Vec::new(),
            stop_at: None,
            reached: None,
            hook: None,
        }
    }
}

impl Operator for Answers<'_> {
    fn event(&mut self, event: Event) {
        if let Some((fits, Some(stop))) = &self.stop_at
            && fits(&event)
        {
            stop.ask();
        }
        if let (Some((stage, reached)), Event::StepDone(done)) = (&self.reached, &event)
            && done.step == *stage
        {
            reached.ask();
        }
        if let Some(hook) = &mut self.hook {
            hook(&event);
        }
        self.events.push(event);
    }

    async fn is_this_the_phone(&mut self, _: &PhoneSeen) -> Answer {
        self.is_phone
    }

    async fn may_replace(&mut self, _: &IdentityInUse, _: &SipAddress) -> Answer {
        self.replaces
    }

    async fn is_the_code_the_same(&mut self, code: ShortCode) -> Answer {
        self.codes_seen.push(code);
        self.code
    }

    async fn credential(&mut self, host: &str, _: &SipAddress) -> Result<SignIn, NoAnswer> {
        self.asked.push(host.to_owned());
        Ok(match &self.pin {
            Some((number, pin)) => SignIn::Pin { number: number.clone(), pin: pin.expose_secret().into() },
            None => SignIn::Ntlm { login: self.login.clone(), password: self.password.expose_secret().into() },
        })
    }

    async fn administrator_code(&mut self, _: &Identity) -> Result<SecretString, NoAnswer> {
        let nobody = || NoAnswer::Nobody { what: "the code".into(), option: "--admin-code-file".into() };
        self.administrator_code.clone().map(Into::into).ok_or_else(nobody)
    }
}
