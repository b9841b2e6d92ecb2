//! The steps of a job, in order. Each consumes what the one before has found.

use super::event::{Event, Stage, StepDone};
use super::planning::Planned;
use super::rehearsal::{Rehearsed, Rehearser, rehearse};
use super::{Failure, Jitter, Job, Operator, Outcome, Plan, ProvisionError, Publishing, Receipt, Stop, Verified};
use crate::ledger::{self, JobNumber, JobStarted, Ledger, TransactionView};
use crate::phone::{Authenticity, Consent, ConsentWanted, Driver, Identity, Parting, TransactionId};
use crate::service::Enrolment;
use std::time::{Duration, Instant};

/// Takes one phone from plugged in to verified, and writes down how it went.
pub async fn provision<D: Driver, E: Enrolment, O: Operator>(
    job: &Job,
    phone: &mut D,
    service: &mut E,
    ledger: &Ledger,
    operator: &mut O,
    stop: &Stop,
) -> Outcome {
    let started = JobStarted {
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        lab: job.lab,
        dry_run: job.dry_run,
        user: job.user.clone(),
        slot: job.slot.clone(),
        terms: job.terms.clone().map(Box::new),
    };
    let number = match ledger.begin_job(started).await {
        Ok(number) => number,
        Err(error) => {
            let error = error.into();
            return Outcome::NotDone(Failure { job: None, error, already: Some(UNMET.into()), steps: Vec::new() });
        }
    };
    let mut story = Story::new(job, Record { ledger, job: number }, operator, stop);
    let ended = story.tell(phone, service).await;
    story.end(ended)
}

/// What can be said before the phone has said who it is: an earlier job may have left it with anything.
const UNMET: &str = "this run has changed nothing on the phone";

/// Writes into the ledger for one job.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) job: JobNumber,
}

impl Record<'_> {
    pub(super) async fn write(&self, event: ledger::Event) -> Result<(), ProvisionError> {
        self.ledger.append(Some(self.job), &event).await?;
        Ok(())
    }

    /// A transaction came to nothing: what was, or may have been, published for it nobody will use.
    pub(super) async fn dropped(&self, transaction: TransactionId, reason: &str) -> Result<(), ProvisionError> {
        self.write(ledger::Event::Aborted { transaction, reason: reason.to_owned() }).await?;
        let Some(view) = self.ledger.transaction(transaction).await? else { return Ok(()) };
        let unknown = (view.unanswered() > 0).then_some(None);
        let known = view.published.as_ref().map(|published| Some(published.fingerprint));
        for fingerprint in known.into_iter().chain(unknown).filter(|orphan| !view.orphaned.contains(orphan)) {
            let reason = reason.to_owned();
            self.write(ledger::Event::Orphaned { transaction, fingerprint, reason }).await?;
        }
        Ok(())
    }
}

pub(super) enum Ended {
    Planned(Box<Plan>),
    Done(Box<Receipt>),
}

pub(super) struct Story<'a, O> {
    pub(super) job: &'a Job,
    pub(super) record: Record<'a>,
    pub(super) operator: &'a mut O,
    pub(super) stop: &'a Stop,
    steps: Vec<StepDone>,
    pub(super) jitter: Jitter,
    pub(super) publishing: Publishing,
    rehearsed: Option<Rehearsed>,
    /// What has happened although the job may fail.
    pub(super) already: Option<String>,
    /// Whether this job or an earlier one may have published what the phone can still take: there is no way back, and a
    /// failure is *unknown*, not *not done*.
    pub(super) rolls_on: bool,
}

impl<'a, O: Operator> Story<'a, O> {
    pub(super) fn new(job: &'a Job, record: Record<'a>, operator: &'a mut O, stop: &'a Stop) -> Self {
        Self {
            job,
            record,
            operator,
            stop,
            steps: Vec::new(),
            jitter: job.jitter.clone(),
            publishing: Publishing { of: job.publish_tries.max(1), ..Publishing::default() },
            rehearsed: None,
            already: Some(UNMET.into()),
            rolls_on: false,
        }
    }

    /// The outcome as a type: *unknown* is everything that may have been published and is not proved.
    pub(super) fn end(self, ended: Result<Ended, ProvisionError>) -> Outcome {
        let Self { steps, already, rolls_on, record, .. } = self;
        match ended {
            Ok(Ended::Planned(plan)) => Outcome::Planned(*plan),
            Ok(Ended::Done(done)) => {
                let took = steps.iter().map(|step| step.took).sum();
                Outcome::Done(Box::new(Receipt { steps, took, ..*done }))
            }
            Err(error) => {
                let failure = Failure { job: Some(record.job), error, already, steps };
                if rolls_on { Outcome::Unknown(failure) } else { Outcome::NotDone(failure) }
            }
        }
    }

    pub(super) async fn tell<D: Driver, E: Enrolment>(
        &mut self,
        phone: &mut D,
        service: &mut E,
    ) -> Result<Ended, ProvisionError> {
        let met = self.meet(phone).await?;
        self.stop_here()?;
        let mut planned = self.plan(met, phone, service).await?;
        if self.job.dry_run {
            return Ok(Ended::Planned(Box::new(self.plan_of(&planned))));
        }
        if let Some(verified) = self.already_done(&planned, phone).await? {
            self.rehearse(&planned.met.identity, &verified, phone).await;
            return Ok(Ended::Done(Box::new(
                self.take_leave(planned.met.authenticity, verified, None, true, phone).await,
            )));
        }
        self.operator.event(Event::Plan(Box::new(self.plan_of(&planned))));
        self.agree_to_replace(&planned.met).await?;
        let mut consent = self.ask_consent(&planned).await?;
        self.stop_here()?;

        // What an earlier job published needs no ticket.
        let signed_in = match planned.transaction.published {
            Some(_) => None,
            None => Some(self.sign_in(&mut planned, &mut consent, phone, service).await?),
        };
        let ready = self.prepare(planned, consent, service.clock_offset_seconds(), phone).await?;
        if self.stop.is_asked() && !self.rolls_on {
            self.give_up(ready.planned.transaction.id, "stopped", phone).await?;
            return Err(ProvisionError::Stopped);
        }
        let published = match (&ready.planned.transaction.published, signed_in) {
            (Some(published), _) => {
                let known = ready.planned.transaction.known.as_ref();
                self.publishing.lost_answers = known.map_or(0, TransactionView::unanswered);
                Ok(published.clone())
            }
            (None, Some((credential, ticket))) => self.publish(&ready, &credential, ticket, phone, service).await,
            (None, None) => unreachable!("without a publication there was a sign-in"),
        };
        let installed = match published {
            Ok((leaf, server)) => self.install(&ready, &leaf, phone).await.map(|()| (leaf, server)),
            Err(error) => Err(error),
        };
        let (leaf, published_by) = match installed {
            Ok(installed) => installed,
            Err(error) => {
                if error.never_fits() {
                    // The phone can do nothing with what was published: the next run has to publish anew.
                    let reason = "what was published does not fit the phone";
                    if let Err(error) = self.give_up(ready.planned.transaction.id, reason, phone).await {
                        let text = format!("the phone keeps the job: {}", full_text(&error));
                        self.operator.event(Event::Notice { text });
                    }
                }
                return Err(error);
            }
        };
        let verified = self.prove(&ready, &leaf, phone).await?;
        self.rehearse(&ready.planned.met.identity, &verified, phone).await;
        let authenticity = ready.planned.met.authenticity;
        Ok(Ended::Done(Box::new(self.take_leave(authenticity, verified, published_by, false, phone).await)))
    }

    /// Has the phone forget a transaction, and writes it down once it has.
    pub(super) async fn give_up<D: Driver>(
        &mut self,
        transaction: TransactionId,
        reason: &str,
        phone: &mut D,
    ) -> Result<(), ProvisionError> {
        phone.abort(transaction).await?;
        self.already = Some(match self.rolls_on {
            true => {
                "the phone keeps its old identity and has forgotten this job; a certificate may be published".into()
            }
            false => "the phone keeps its old identity".into(),
        });
        self.record.dropped(transaction, reason).await
    }

    pub(super) async fn take_leave<D: Driver>(
        &mut self,
        authenticity: Authenticity,
        verified: Verified,
        published_by: Option<String>,
        unchanged: bool,
        phone: &mut D,
    ) -> Receipt {
        let sign_in_asked = match phone.leave(self.job.parting).await {
            Ok(()) => self.job.parting == Parting::SignIn,
            Err(error) => {
                let text = format!("the phone is done, and did not take its leave: {}", full_text(&error));
                self.operator.event(Event::Notice { text });
                false
            }
        };
        Receipt {
            job: self.record.job,
            verified,
            authenticity,
            unchanged,
            published_by,
            publishing: (!unchanged).then(|| self.publishing.clone()),
            steps: Vec::new(),
            took: Duration::ZERO,
            traffic: phone.traffic(),
            rehearsed: self.rehearsed.take(),
            sign_in_asked,
        }
    }

    /// Signs the user in with what the phone has proved, and off again. The job is done, whatever comes of it.
    async fn rehearse<D: Driver>(&mut self, identity: &Identity, verified: &Verified, phone: &mut D) {
        let Some(rehearsal) = &self.job.rehearsal else { return };
        let (user, certificate) = (verified.user(), verified.certificate());
        let rehearsed = match self.consent_to_sign(identity).await {
            Ok(consent) => {
                let registrar = self.job.registrar.as_deref();
                let who = Rehearser { user, identity, certificate, registrar, consent: &consent };
                let operator = &mut *self.operator;
                let mut tell = |waiting: &str| operator.event(Event::Rehearsing { waiting: waiting.to_owned() });
                rehearse(rehearsal, &who, phone, &mut tell, self.stop).await
            }
            Err(error) => Rehearsed::not_tried(full_text(&error), error.next_step()),
        };
        let written = self.record.write(ledger::Event::SignInRehearsed {
            device: identity.device,
            user: user.clone(),
            fingerprint: certificate.fingerprint(),
            registrar: rehearsed.registrar.clone(),
            grade: rehearsed.grade.word().to_owned(),
            said: rehearsed.line(),
        });
        if let Err(error) = written.await {
            let text = format!("the rehearsal of the sign-in is not in the ledger: {}", full_text(&error));
            self.operator.event(Event::Notice { text });
        }
        self.operator.event(Event::Rehearsed(Box::new(rehearsed.clone())));
        self.rehearsed = Some(rehearsed);
    }

    /// A phone that knows this host wants it for a signature all the same.
    async fn consent_to_sign(&mut self, identity: &Identity) -> Result<Consent, ProvisionError> {
        Ok(match identity.consent {
            ConsentWanted::Nothing => Consent::NotWanted,
            ConsentWanted::KeyPress => Consent::KeyPress,
            ConsentWanted::AdministratorCode => Consent::Code(self.operator.administrator_code(identity).await?),
        })
    }

    pub(super) fn began(&mut self, step: Stage, waiting: &str) -> Instant {
        self.operator.event(Event::StepBegan { step, waiting: waiting.to_owned() });
        Instant::now()
    }

    pub(super) fn done(&mut self, step: Stage, text: String, started: Instant) {
        let done = StepDone { step, text, took: started.elapsed() };
        self.steps.push(done.clone());
        self.operator.event(Event::StepDone(done));
    }

    pub(super) fn stop_here(&self) -> Result<(), ProvisionError> {
        if self.stop.is_asked() { Err(ProvisionError::Stopped) } else { Ok(()) }
    }

    /// For what can be broken off: nothing is published by it, and the phone keeps what it has for the next try.
    pub(super) async fn until_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, ProvisionError> {
        tokio::select! {
            result = work => Ok(result),
            () = self.stop.asked() => Err(ProvisionError::Stopped),
        }
    }
}

/// An error with all that is under it, in a line.
pub(crate) fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        text = format!("{text}: {error}");
        below = error.source();
    }
    text
}

/// What the planned steps share once the phone has its key and the server's trust: publishing is the next thing.
pub(super) struct Ready {
    pub(super) planned: Planned,
    pub(super) request: crate::credential::SigningRequest,
    pub(super) trust: crate::phone::ServerTrust,
}
