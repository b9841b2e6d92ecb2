//! Who is asked and who is told: a person at the terminal, the options of a script, or the embedded lab.

use super::ask;
use super::screen::{Screen, Tone};
use super::secret;
use super::text::{date, dotted, span, took};
use secrecy::{ExposeSecret, SecretString};
use std::io;
use std::time::{Duration, Instant};
use tethercert::credential::SipAddress;
use tethercert::lab::web_services::User;
use tethercert::phone::{Authenticity, Identity, IdentityInUse, ShortCode};
use tethercert::provision::{
    Answer, Event, Grade, NoAnswer, Operator, PhoneSeen, Plan, PoolSeen, Rehearsed, ServerJudgement, Stage, Standing,
    StepDone, Stop,
};
use tethercert::service::SignIn;
use time::OffsetDateTime;

/// By how much a clock may be wrong and still be called right, seconds.
const RIGHT: i64 = 60;

/// How long after the end of the input a closed terminal's signal may come.
const HANGUP_FOLLOWS: Duration = Duration::from_millis(200);

/// What was said beforehand on the command line.
pub(crate) struct Answers {
    /// This is the phone.
    pub(crate) yes: bool,
    /// How the user signs in.
    pub(crate) sign_in: SignInAnswer,
    /// The phone's administrator code.
    pub(crate) administrator_code: Option<SecretString>,
}

/// The ways by which a Windows account signs in.
#[derive(Clone, Copy)]
pub(crate) enum Scheme {
    Ntlm,
    Negotiate,
    Basic,
}

impl Scheme {
    fn sign_in(self, login: String, password: SecretString) -> SignIn {
        match self {
            Self::Ntlm => SignIn::Ntlm { login, password },
            Self::Negotiate => SignIn::Negotiate { login, password },
            Self::Basic => SignIn::Basic { login, password },
        }
    }
}

impl SignInAnswer {
    pub(crate) fn windows(scheme: Scheme, login: String, password: Option<SecretString>) -> Self {
        Self::Windows { scheme, login, password }
    }
}

/// How the user signs in, as far as it was said beforehand.
pub(crate) enum SignInAnswer {
    Windows {
        scheme: Scheme,
        login: String,
        password: Option<SecretString>,
    },
    Pin {
        number: String,
        pin: Option<SecretString>,
    },
    /// The phone signs for itself: nobody is asked.
    Phone,
}

/// The operator of one job.
pub(crate) struct Console {
    screen: Screen,
    stop: Stop,
    answers: Answers,
    /// The embedded lab's user: the lab answers everything.
    lab: Option<User>,
    /// How long people took to answer.
    waited: Duration,
}

impl Console {
    pub(crate) fn new(screen: Screen, stop: Stop, answers: Answers, lab: Option<User>) -> Self {
        Self { screen, stop, answers, lab, waited: Duration::ZERO }
    }

    /// How long people took to answer.
    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }

    /// Asks on the terminal. Enter alone is `default`; a stop ends the question.
    async fn ask(&mut self, question: &str, default: Answer) -> Answer {
        if !self.screen.can_ask() {
            return Answer::Nobody;
        }
        let choice = if default == Answer::Yes { "[Y/n]" } else { "[y/N]" };
        let asked = Instant::now();
        let answer = loop {
            let Some(line) = ask::line(&self.screen, &self.stop, &format!("{question} {choice}")).await else {
                // A closed terminal ends the line before its signal arrives.
                let _ = tokio::time::timeout(HANGUP_FOLLOWS, self.stop.asked()).await;
                break Answer::Nobody;
            };
            match line.to_ascii_lowercase().as_str() {
                "" => break default,
                "y" | "yes" => break Answer::Yes,
                "n" | "no" => break Answer::No,
                _ => {}
            }
        };
        self.waited += asked.elapsed();
        answer
    }

    async fn ask_secret(&mut self, prompt: String, what: String, option: &str) -> Result<SecretString, NoAnswer> {
        let nobody = NoAnswer::Nobody { what: what.clone(), option: option.to_owned() };
        if !self.screen.can_ask() {
            return Err(nobody);
        }
        self.screen.stop_spinner();
        let asked = Instant::now();
        let prompt = format!("{}{prompt} ", self.screen.mark());
        let typed = self.until_stopped(move || secret::from_terminal(&prompt)).await;
        self.waited += asked.elapsed();
        match typed {
            Some(Ok(secret)) if !secret.expose_secret().is_empty() => Ok(secret),
            Some(Ok(_)) => Err(NoAnswer::Empty { what }),
            Some(Err(error)) => {
                if error.kind() == io::ErrorKind::Interrupted {
                    self.stop.ask();
                }
                let _ = tokio::time::timeout(HANGUP_FOLLOWS, self.stop.asked()).await;
                Err(nobody)
            }
            None => {
                restore_echo();
                Err(nobody)
            }
        }
    }

    /// Waits for a person on a thread of its own, or for the stop: the thread then stays behind.
    async fn until_stopped<T: Send + 'static>(&self, read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        tokio::select! {
            read = tokio::task::spawn_blocking(read) => read.ok(),
            () = self.stop.asked() => None,
        }
    }

    /// A question that the lab answers itself, shown as such.
    fn lab_answers(&self, question: &str, answer: &str) {
        self.screen.line("", &format!("{question} {answer} (the lab answers)"));
    }

    fn phone(&self, seen: &PhoneSeen) {
        let identity = &seen.identity;
        let model = format!("{} {}", identity.maker, identity.model);
        self.screen.line("phone", &dotted(&[format!("port {}", seen.slot), model, identity.mac.to_string()]));
        self.screen.line("", &vouched(&seen.authenticity));
        self.screen.line("", &dotted(&[clock(seen.clock), in_use(seen.in_use.as_ref())]));
    }

    fn pool(&self, pool: &PoolSeen) {
        let verdict = pool.verdict.replace('\n', "; ");
        let verdict = match pool.trusted {
            true => "the phone trusts it".to_owned(),
            false => format!("the phone does not trust it yet: {}", verdict.trim_start_matches("refused: ")),
        };
        let clock = match pool.clock_offset_seconds {
            None => "it does not say the time".to_owned(),
            Some(offset) if offset.abs() <= RIGHT => String::new(),
            Some(offset) => format!("its clock is {} {}", span(offset), if offset > 0 { "ahead" } else { "behind" }),
        };
        self.screen.line("pool", &dotted(&[pool.host.clone(), verdict, clock]));
    }

    fn step(&self, done: &StepDone) {
        self.screen.stop_spinner();
        let label = format!("{}/{} {:8}{:>6}  ", done.step.number(), Stage::ALL.len(), done.step, took(done.took));
        self.screen.columns(Tone::Plain, &label, &done.text);
    }
}

/// What the rehearsal of a sign-in showed: a block of lines that reads like a step.
pub(crate) fn rehearsal(rehearsed: &Rehearsed, screen: &Screen) {
    let (tone, word) = match rehearsed.grade {
        Grade::Good => (Tone::Good, ""),
        Grade::Bad => (Tone::Bad, "bad: "),
        Grade::Unknown => (Tone::Unsure, "unknown: "),
    };
    let mut label = format!("{:12}{:>6}  ", "register", took(rehearsed.took));
    for (number, said) in rehearsed.said.iter().enumerate() {
        let word = if number == 0 { word } else { "" };
        screen.columns(tone, &label, &format!("{word}{said}"));
        label = " ".repeat(label.chars().count());
    }
    if let Some(next) = &rehearsed.next_step {
        screen.columns(tone, &label, &format!("next: {next}"));
    }
}

/// What vouches for a phone, in words.
pub(crate) fn vouched(authenticity: &Authenticity) -> String {
    match authenticity {
        Authenticity::Maker { root } => format!("maker's certificate good ({root})"),
        Authenticity::Code => "short code compared on both sides".to_owned(),
        Authenticity::Nothing { reason } => format!("unauthenticated device: {reason}"),
    }
}

/// What a phone's clock shows, in words.
pub(crate) fn clock(clock: Option<OffsetDateTime>) -> String {
    let Some(clock) = clock else { return "clock never set".to_owned() };
    let ahead = (clock - OffsetDateTime::now_utc()).whole_seconds();
    if ahead.abs() <= RIGHT {
        return "clock right".to_owned();
    }
    format!("clock {} ({} {})", date(clock), span(ahead), if ahead > 0 { "ahead" } else { "behind" })
}

/// Whose identity a phone holds, in words.
pub(crate) fn in_use(in_use: Option<&IdentityInUse>) -> String {
    match in_use {
        None => "no user on it".to_owned(),
        Some(held) => {
            format!("{} on it, {} until {}", held.user, held.fingerprint.short(), date(held.not_after))
        }
    }
}

/// What a phone makes of a server, in words.
pub(crate) fn server(judgement: &ServerJudgement) -> String {
    let (standing, why) = match judgement.standing {
        Standing::Trusted => ("the phone trusts it", judgement.text.trim_start_matches("good: ")),
        Standing::NotTrusted => ("the phone does not trust it yet", judgement.text.trim_start_matches("refused: ")),
        Standing::Unknown => ("its chain is unknown", judgement.text.as_str()),
    };
    dotted(&[judgement.server.clone(), format!("{standing}: {why}")])
}

/// What would be done.
pub(crate) fn show_plan(plan: &Plan, screen: &Screen) {
    screen.json("event", &Event::Plan(Box::new(plan.clone())));
    screen.line("plan", &plan_text(plan));
}

fn plan_text(plan: &Plan) -> String {
    if plan.nothing_to_do {
        return format!("nothing to do: the phone holds a good identity of {}", plan.user);
    }
    let mut parts = vec![format!("certificate for {}", plan.user)];
    if let Some(goes) = &plan.replaces {
        parts.push(format!("replaces that of {} ({})", goes.user, goes.fingerprint.short()));
    }
    // Why a phone of the same user is not left as it is; another user says enough.
    if plan.replaces.as_ref().is_some_and(|goes| goes.user == plan.user.as_str()) {
        parts.push(format!("because {}", plan.because.join(" and ")));
    }
    if plan.sets_clock {
        parts.push("sets the clock".to_owned());
    }
    parts.extend(plan.intermediates.iter().map(|name| format!("adds intermediate {name}")));
    parts.extend(plan.anchors.iter().map(|name| format!("adds root {name}")));
    if !plan.stays.is_empty() {
        parts.push(format!("stays: {}", plan.stays.join(", ")));
    }
    dotted(&parts)
}

fn the_phone_signs(user: &SipAddress) -> NoAnswer {
    NoAnswer::Nobody { what: format!("a password of {user}"), option: "--auth ntlm".to_owned() }
}

/// Puts the terminal right after a hidden prompt that was left: its reader waits on and cannot.
pub(crate) fn restore_echo() {
    if cfg!(unix) {
        let _ = std::process::Command::new("stty").args(["echo", "icanon", "isig"]).status();
    }
}

impl Operator for Console {
    fn event(&mut self, event: Event) {
        self.screen.json("event", &event);
        match &event {
            Event::Phone(seen) => self.phone(seen),
            Event::Pool(pool) => self.pool(pool),
            Event::Server(judgement) => self.screen.line("server", &server(judgement)),
            Event::Plan(plan) => self.screen.line("plan", &plan_text(plan)),
            Event::Resuming { already } => self.screen.line("resumes", &format!("an earlier job: {already}")),
            Event::StepBegan { step, waiting } => {
                self.screen.start_spinner(format!("{}/{} {step}: {waiting}", step.number(), Stage::ALL.len()));
            }
            Event::StepDone(done) => self.step(done),
            Event::StoreWait { server, attempt, of, seconds } => {
                let at = server.as_deref().map(|server| format!(" at {server}")).unwrap_or_default();
                self.screen.count_down(&format!("data store unavailable{at} · try {attempt} of {of}"), *seconds);
            }
            Event::Rehearsing { waiting } => self.screen.start_spinner(format!("register: {waiting}")),
            Event::Rehearsed(rehearsed) => {
                self.screen.stop_spinner();
                rehearsal(rehearsed, &self.screen);
            }
            Event::Notice { text } => self.screen.line("note", text),
        }
    }

    async fn is_this_the_phone(&mut self, phone: &PhoneSeen) -> Answer {
        let question = match phone.identity.abilities.attention {
            true => "its light blinks: this one?",
            false => "this one?",
        };
        if self.lab.is_some() {
            self.lab_answers(question, "yes");
            return Answer::Yes;
        }
        if self.answers.yes {
            return Answer::Yes;
        }
        self.ask(question, Answer::Yes).await
    }

    async fn may_replace(&mut self, in_use: &IdentityInUse, user: &SipAddress) -> Answer {
        self.ask(&format!("replace {} on this phone with {user}?", in_use.user), Answer::No).await
    }

    async fn is_the_code_the_same(&mut self, code: ShortCode) -> Answer {
        self.ask(&format!("the phone shows a code: is it {code}?"), Answer::No).await
    }

    async fn credential(&mut self, host: &str, user: &SipAddress) -> Result<SignIn, NoAnswer> {
        if let Some(lab) = self.lab.clone() {
            return Ok(match &self.answers.sign_in {
                SignInAnswer::Windows { scheme, .. } => {
                    self.lab_answers(&format!("Password for {}, sent only to {host}:", lab.login), "••••••••");
                    scheme.sign_in(lab.login, lab.password)
                }
                SignInAnswer::Pin { .. } => {
                    self.lab_answers(&format!("PIN of {}, sent only to {host}:", lab.number), "••••••");
                    SignIn::Pin { number: lab.number, pin: lab.pin }
                }
                SignInAnswer::Phone => return Err(the_phone_signs(user)),
            });
        }
        Ok(match &mut self.answers.sign_in {
            SignInAnswer::Windows { scheme, login, password } => {
                let (scheme, login, given) = (*scheme, login.clone(), password.take());
                let password = match given {
                    Some(password) => password,
                    None => {
                        let prompt = format!("Password for {login}, sent only to {host}:");
                        self.ask_secret(prompt, format!("the password of {login}"), "--password-file").await?
                    }
                };
                scheme.sign_in(login, password)
            }
            SignInAnswer::Pin { number, pin } => {
                let (number, given) = (number.clone(), pin.take());
                let pin = match given {
                    Some(pin) => pin,
                    None => {
                        let prompt = format!("PIN of {number}, sent only to {host}:");
                        self.ask_secret(prompt, format!("the PIN of {number}"), "--pin-file").await?
                    }
                };
                SignIn::Pin { number, pin }
            }
            SignInAnswer::Phone => return Err(the_phone_signs(user)),
        })
    }

    async fn administrator_code(&mut self, phone: &Identity) -> Result<SecretString, NoAnswer> {
        if let Some(code) = self.answers.administrator_code.take() {
            return Ok(code);
        }
        let prompt = format!("Administrator code of the {} {}, sent only to it:", phone.maker, phone.model);
        self.ask_secret(prompt, "the phone's administrator code".to_owned(), "--admin-code-file").await
    }
}
