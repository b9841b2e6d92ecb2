//! A user who is registered: kept alive, renewed, and signed off.

use super::Failure;
use super::association::Association;
use super::client::{Client, SignedIn};
use super::course::{Course, Facts, Passed, Watch};
use super::endpoint::Lasting;
use super::error::{RegistrarError, Stage};
use super::session::{Proof, Session};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// So much before its end a registration is renewed.
const EARLY: Duration = Duration::from_secs(30);
/// How long a connection may be silent where the registrar does not say so.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// A registration. Dropped without [`Registration::sign_off`], it ends at the server when its time is over.
pub struct Registration {
    client: Arc<Client>,
    session: Session,
    facts: Facts,
    passed: Vec<Passed>,
    /// By this computer's uptime.
    registered: Instant,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registration({} at {})", self.client.endpoint.user, self.session.server)
    }
}

/// A registration that has ended well.
#[derive(Debug)]
pub struct SignedOff {
    /// All that it showed.
    pub facts: Facts,
    /// All of its steps.
    pub passed: Vec<Passed>,
}

impl Registration {
    pub(super) fn new(client: Arc<Client>, session: Session, course: Course<'_>) -> Self {
        Self { client, session, facts: course.facts, passed: course.passed, registered: Instant::now() }
    }

    /// What is known.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// All steps so far.
    pub fn passed(&self) -> &[Passed] {
        &self.passed
    }

    /// When it is to be renewed.
    fn renewal(&self) -> Instant {
        let lasts = self.facts.expires.unwrap_or_default();
        self.registered + lasts.saturating_sub(EARLY).max(lasts / 2)
    }

    /// Stays registered for a while: keeps the connection alive, renews in time, and tells callers that nobody is there.
    pub async fn stay(&mut self, time: Duration, watch: Watch<'_>) -> Result<(), Box<Failure>> {
        let end = Instant::now() + time;
        loop {
            let silence = self.facts.keep_alive.unwrap_or(KEEP_ALIVE);
            // A little sooner: at the end of that time the registrar gives the connection up.
            let keep_alive = self.session.connection.last_sent() + silence * 9 / 10;
            let next = end.min(keep_alive).min(self.renewal());
            let began = Instant::now();
            if let Err(error) = self.session.wait(next, Stage::Stay).await {
                return Err(self.failed(Stage::Stay, began, error));
            }
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            if now >= self.renewal() {
                self.renew(watch).await?;
            } else if let Err(error) = self.session.connection.keep_alive(self.client.limit()).await {
                return Err(self.failed(Stage::Stay, now, error));
            }
        }
    }

    /// With another time of silence than the registrar says.
    #[cfg(test)]
    pub(super) fn keep_alive_after(&mut self, silence: Duration) {
        self.facts.keep_alive = Some(silence);
    }

    /// Registers again, with the same keys; with new ones where they are over, or where the server has forgotten them.
    pub async fn renew(&mut self, watch: Watch<'_>) -> Result<(), Box<Failure>> {
        let mut course = Course::new(&self.session.server, std::mem::take(&mut self.facts), watch);
        course.begin(Stage::Renew, &self.session.server);
        let renewed = match renewed(&self.client, &mut self.session, &mut course).await {
            Ok(SignedIn::Here) => Ok(()),
            Ok(SignedIn::Elsewhere(next)) => {
                Err(self.session.nonsense(Stage::Renew, format!("the user's home is now {next}")))
            }
            Err(error) => Err(error),
        };
        match renewed {
            Ok(()) => {
                self.facts = course.facts;
                self.passed.extend(course.passed);
                self.registered = Instant::now();
                Ok(())
            }
            Err(error) => {
                let mut failure = course.failed(error);
                failure.passed.splice(0..0, std::mem::take(&mut self.passed));
                Err(failure)
            }
        }
    }

    /// Ends it. Whatever comes of that, the connection is closed.
    pub async fn sign_off(mut self, watch: Watch<'_>) -> Result<SignedOff, Box<Failure>> {
        let mut course = Course::new(&self.session.server, std::mem::take(&mut self.facts), watch);
        course.passed = std::mem::take(&mut self.passed);
        match signed_off(&self.client, &mut self.session, &mut course).await {
            Ok(()) => Ok(SignedOff { facts: course.facts, passed: course.passed }),
            Err(error) => Err(course.failed(error)),
        }
    }

    fn failed(&mut self, stage: Stage, began: Instant, error: RegistrarError) -> Box<Failure> {
        Box::new(Failure {
            stage,
            server: self.session.server.clone(),
            after: began.elapsed(),
            error,
            passed: std::mem::take(&mut self.passed),
            facts: self.facts.clone(),
        })
    }
}

async fn renewed(client: &Client, session: &mut Session, course: &mut Course<'_>) -> Result<SignedIn, RegistrarError> {
    if !is_over(client, session) {
        let answer = session.register(&client.endpoint, Lasting::Usual, Proof::Signed, Stage::Renew).await?;
        if !matches!(answer.status(), Some(401 | 407)) {
            return client.concluded(session, &answer, course, Stage::Renew);
        }
        session.refusal(&answer, Stage::Renew)?;
        tracing::debug!("the server has forgotten the keys");
    }
    client.sign_in(session, course).await
}

/// A server that has forgotten the keys is signed in to once more, since it may still have the registration.
async fn signed_off(client: &Client, session: &mut Session, course: &mut Course<'_>) -> Result<(), RegistrarError> {
    let stage = Stage::SignOff;
    let mut again = !is_over(client, session);
    if !again {
        client.sign_in(session, course).await?;
    }
    loop {
        course.begin(stage, &session.server);
        let answer = session.register(&client.endpoint, Lasting::Over, Proof::Signed, stage).await?;
        course.facts.hear(&answer, client.now());
        match answer.status().unwrap_or_default() {
            200..=299 => {
                session.verified(&answer, stage)?;
                course.pass("no longer registered".to_owned());
                return Ok(());
            }
            401 | 407 if again => {
                again = false;
                session.refusal(&answer, stage)?;
                client.sign_in(session, course).await?;
            }
            _ => return Err(client.refused(session, &answer, stage)),
        }
    }
}

fn is_over(client: &Client, session: &Session) -> bool {
    session.association.as_ref().is_none_or(|association: &Association| association.is_over(client.now()))
}
