//! Who answers for a row while its phone is at work: by what was said beforehand, and nobody else.

use super::office::Tag;
use crate::cli::job::Auth;
use crate::cli::operator;
use crate::cli::screen::{Lines, Screen, Tone};
use crate::cli::text::took;
use secrecy::SecretString;
use serde::Serialize;
use tethercert::credential::SipAddress;
use tethercert::phone::{Identity, IdentityInUse, ShortCode};
use tethercert::provision::{Answer, Event, Grade, NoAnswer, Operator, PhoneSeen, Stage};
use tethercert::service::SignIn;

/// The operator of a row's job.
pub(crate) struct Clerk {
    pub(super) screen: Screen,
    pub(super) lines: Lines,
    pub(super) tag: Tag,
    pub(super) auth: Auth,
    pub(super) account: Option<String>,
    /// The user's own.
    pub(super) secret: Option<SecretString>,
    pub(super) admin_code: Option<SecretString>,
}

#[derive(Serialize)]
struct EventLine<'a> {
    #[serde(flatten)]
    tag: &'a Tag,
    #[serde(flatten)]
    event: &'a Event,
}

impl Clerk {
    /// Where the port's work stands: on a terminal in its line.
    fn works(&self, text: &str) {
        self.lines.works(&self.tag.port, &format!("{}  {text}", self.tag.user));
    }

    /// Elsewhere in a line of its own.
    fn says(&self, text: &str) {
        if !self.lines.are_shown() {
            self.screen.columns(Tone::Plain, &self.tag.label(), text);
        }
    }
}

impl Operator for Clerk {
    fn event(&mut self, event: Event) {
        self.screen.json("event", &EventLine { tag: &self.tag, event: &event });
        let of = Stage::ALL.len();
        match &event {
            Event::Phone(seen) => {
                if !seen.authenticity.is_vouched() {
                    self.screen.columns(Tone::Unsure, &self.tag.label(), &operator::vouched(&seen.authenticity));
                }
            }
            Event::Pool(_) | Event::Server(_) | Event::Plan(_) => {}
            Event::Resuming { already } => self.says(&format!("resumes an earlier job: {already}")),
            Event::StepBegan { step, waiting } => self.works(&format!("{}/{of} {step}: {waiting}", step.number())),
            Event::StepDone(done) => {
                self.works(&format!("{}/{of} {}", done.step.number(), done.step));
                self.says(&format!("{}/{of} {:8}{:>7}  {}", done.step.number(), done.step, took(done.took), done.text));
            }
            Event::StoreWait { server, attempt, of, seconds } => {
                let at = server.as_deref().map(|server| format!(" at {server}")).unwrap_or_default();
                let text = format!("data store unavailable{at} · try {attempt} of {of} in {seconds:.0} s");
                self.works(&text);
                self.says(&text);
            }
            Event::Rehearsing { waiting } => self.works(&format!("register: {waiting}")),
            Event::Rehearsed(rehearsed) => {
                let tone = match rehearsed.grade {
                    Grade::Good => Tone::Plain,
                    Grade::Bad => Tone::Bad,
                    Grade::Unknown => Tone::Unsure,
                };
                let next = rehearsed.next_step.as_ref().map(|next| format!("; next: {next}")).unwrap_or_default();
                let text = format!("register {}: {}{next}", rehearsed.grade.word(), rehearsed.line());
                match rehearsed.grade {
                    Grade::Good => self.says(&text),
                    Grade::Bad | Grade::Unknown => self.screen.columns(tone, &self.tag.label(), &text),
                }
            }
            Event::Notice { text } => self.screen.columns(Tone::Plain, &self.tag.label(), text),
        }
    }

    /// The roster says which phone it is.
    async fn is_this_the_phone(&mut self, _: &PhoneSeen) -> Answer {
        Answer::Yes
    }

    async fn may_replace(&mut self, _: &IdentityInUse, _: &SipAddress) -> Answer {
        Answer::Nobody
    }

    async fn is_the_code_the_same(&mut self, _: ShortCode) -> Answer {
        Answer::Nobody
    }

    async fn credential(&mut self, _: &str, user: &SipAddress) -> Result<SignIn, NoAnswer> {
        let nobody = || NoAnswer::Nobody { what: format!("the secret of {user}"), option: "--secrets".to_owned() };
        let secret = self.secret.clone().ok_or_else(nobody)?;
        self.auth.sign_in(self.account.clone().unwrap_or_default(), secret).ok_or_else(nobody)
    }

    async fn administrator_code(&mut self, _: &Identity) -> Result<SecretString, NoAnswer> {
        self.admin_code.clone().ok_or_else(|| NoAnswer::Nobody {
            what: "the phone's administrator code".to_owned(),
            option: "--admin-code-file".to_owned(),
        })
    }
}
