//! The steps of a job, in order. Each consumes what the one before has found.

use super::event::{Event, Stage, StepDone};
use super::meeting::Met;
use super::planning::Planned;
use super::{Failure, Job, Operator, Outcome, Plan, ProvisionError, Receipt, Stop, Verified};
use crate::ledger::{self, JobNumber, JobStarted, Ledger};
use crate::phone::{Driver, Parting, PhoneError, TransactionId};
use crate::service::{Enrolment, ServiceError};
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
    };
    let number = match ledger.begin_job(started).await {
        Ok(number) => number,
        Err(error) => {
            let error = error.into();
            return Outcome::NotDone(Failure { job: None, error, already: None, steps: Vec::new() });
        }
    };
    let record = Record { ledger, job: number };
    let mut story = Story { job, record, operator, stop, steps: Vec::new(), already: None, rolls_on: false };
    let ended = story.tell(phone, service).await;
    let Story { steps, already, rolls_on, .. } = story;
    match ended {
        Ok(Ended::Planned(plan)) => Outcome::Planned(*plan),
        Ok(Ended::Done(done)) => {
            let took = steps.iter().map(|step| step.took).sum();
            Outcome::Done(Box::new(Receipt { job: number, steps, took, ..*done }))
        }
        Err(error) => {
            let failure = Failure { job: Some(number), error, already, steps };
            if rolls_on { Outcome::Unknown(failure) } else { Outcome::NotDone(failure) }
        }
    }
}

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
}

enum Ended {
    Planned(Box<Plan>),
    Done(Box<Receipt>),
}

pub(super) struct Story<'a, O> {
    pub(super) job: &'a Job,
    pub(super) record: Record<'a>,
    pub(super) operator: &'a mut O,
    stop: &'a Stop,
    steps: Vec<StepDone>,
    /// What has happened although the job may fail.
    pub(super) already: Option<String>,
    /// Whether this job or an earlier one may have published what the phone can still take: there is no way back, and a
    /// failure is *unknown*, not *not done*.
    pub(super) rolls_on: bool,
}

impl<O: Operator> Story<'_, O> {
    async fn tell<D: Driver, E: Enrolment>(&mut self, phone: &mut D, service: &mut E) -> Result<Ended, ProvisionError> {
        let met = self.meet(phone).await?;
        self.stop_here()?;
        let mut planned = self.plan(met, phone, service).await?;
        if self.job.dry_run {
            return Ok(Ended::Planned(Box::new(self.plan_of(&planned))));
        }
        if let Some(verified) = self.already_done(&planned, phone).await? {
            return Ok(Ended::Done(Box::new(self.take_leave(planned.met, verified, None, true, phone).await)));
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
            (Some(published), _) => Ok(published.clone()),
            (None, Some((credential, ticket))) => self.publish(&ready, &credential, ticket, service).await,
            (None, None) => unreachable!("without a publication there was a sign-in"),
        };
        let installed = match published {
            Ok((leaf, server)) => self.install(&ready, &leaf, phone).await.map(|()| (leaf, server)),
            Err(error) => Err(error),
        };
        let (leaf, published_by) = match installed {
            Ok(installed) => installed,
            Err(error) => {
                if never_fits(&error) {
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
        Ok(Ended::Done(Box::new(self.take_leave(ready.planned.met, verified, published_by, false, phone).await)))
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
        self.record.write(ledger::Event::Aborted { transaction, reason: reason.to_owned() }).await
    }

    async fn take_leave<D: Driver>(
        &mut self,
        met: Met,
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
            authenticity: met.authenticity,
            unchanged,
            published_by,
            steps: Vec::new(),
            took: Duration::ZERO,
            traffic: phone.traffic(),
            sign_in_asked,
        }
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

/// Whether no repetition can bring what was published onto the phone. All of these come before a commit.
fn never_fits(error: &ProvisionError) -> bool {
    matches!(
        error,
        ProvisionError::NotAccepted { .. }
            | ProvisionError::Service(ServiceError::UnfitCertificate { .. })
            | ProvisionError::Phone(PhoneError::CheckBad(_))
    )
}

/// An error with all that is under it, in a line.
pub(super) fn full_text(error: &dyn std::error::Error) -> String {
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
