//! Bringing an unfinished job to its end: what the ledger knows of it, what the phone says, and only then the service.

use super::event::Stage;
use super::meeting::belongs_to;
use super::outcome::Expected;
use super::story::{Ended, Record, Story};
use super::{Job, Operator, Outcome, ProvisionError, Stop, Verified};
use crate::credential::{Certificate, Remedy};
use crate::ledger::{self, JobNumber, JobPhone, Ledger, LedgerError, State, TransactionView, Unfinished};
use crate::phone::{Again, Difference, Driver, Identified, Identity, PhoneError, PhoneState};
use crate::service::Enrolment;
use std::time::Duration;

/// The end of a job that needed neither phone nor service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// How it ended.
    pub outcome: ledger::Outcome,
    /// In words.
    pub message: String,
    /// What the technician does next, if anything.
    pub next_step: Option<String>,
}

/// Whether a phone is the one of a job. Nothing: it does not even say so, by its device UUID or by serial number and
/// Ethernet address together.
pub fn known_again(identified: &Identified, of: &JobPhone) -> Option<Again> {
    let identity = &identified.identity;
    let by_label = identity.serial == of.serial && of.mac.as_deref() == Some(identity.mac.to_string().as_str());
    let says_so = identity.device == of.device || by_label;
    says_so.then(|| of.keys.map_or(Again::NotProved, |before| identified.keys.again(&before)))
}

/// What is said of a phone that bears the name of a job's phone, and is another.
pub fn bears_its_name(of: &JobPhone, job: JobNumber, difference: Difference) -> PhoneError {
    let named =
        format!("it goes by the name of the phone of job {job}, serial {} and device UUID {}", of.serial, of.device);
    PhoneError::AnotherPhone { what: format!("{named}, and {difference}") }
}

/// Ends a job whose end the ledger knows already. Nothing: the phone has to be asked, by [`resume`]; or a process works on
/// the job, or has ended it meanwhile.
///
/// What such a job may have published and no phone has proved is written down as orphaned.
///
/// # Errors
/// Those of the ledger.
pub async fn settle(unfinished: &Unfinished, ledger: &Ledger) -> Result<Option<Settled>, ProvisionError> {
    let job = unfinished.job.job;
    let _lock = match ledger.lock(job).await {
        Ok(lock) => lock,
        Err(LedgerError::AtWork { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match ledger.unfinished().await?.into_iter().find(|now| now.job.job == job) {
        Some(now) => settle_locked(&now, ledger).await,
        None => Ok(None),
    }
}

/// As [`settle`], for whoever has the [`JobLock`](ledger::JobLock) on the job and has read it since.
///
/// # Errors
/// Those of the ledger.
pub async fn settle_locked(unfinished: &Unfinished, ledger: &Ledger) -> Result<Option<Settled>, ProvisionError> {
    let record = Record { ledger, job: unfinished.job.job };
    let not_done =
        |message: String, next: Option<String>| Settled { outcome: ledger::Outcome::NotDone, message, next_step: next };
    let anew = || Some(format!("to begin anew: tethercert provision --user {}", unfinished.job.user));
    let settled = match unfinished.state {
        State::Open => return Ok(None),
        State::NothingBegun => {
            not_done("it was cut short before anything was begun: nothing was changed".into(), anew())
        }
        State::Proved => Settled {
            outcome: ledger::Outcome::Done,
            message: "the phone has proved the identity already".into(),
            next_step: None,
        },
        State::Dropped => {
            let orphaned = unfinished.transaction.as_ref().is_some_and(TransactionView::may_be_published);
            not_done(format!("the phone has dropped it{}", and_orphaned(orphaned)), anew())
        }
        State::Superseded(later) => {
            let orphaned = unfinished.transaction.as_ref().is_some_and(TransactionView::may_be_published);
            if let Some(transaction) = &unfinished.transaction {
                record.dropped(transaction.id, &format!("job {later} has finished this phone since")).await?;
            }
            not_done(format!("job {later} has finished this phone since{}", and_orphaned(orphaned)), None)
        }
    };
    record.write(resumed(None)).await?;
    Ok(Some(settled))
}

fn and_orphaned(orphaned: bool) -> &'static str {
    if orphaned { "; what was published for it, if anything, nobody uses" } else { "; nothing was published" }
}

fn resumed(slot: Option<String>) -> ledger::Event {
    ledger::Event::JobResumed { tool: env!("CARGO_PKG_VERSION").to_owned(), slot }
}

/// Rolls an unfinished job forward, under its own number, on its phone. Every end but *unknown* is its last.
///
/// Whoever calls it has the [`JobLock`](ledger::JobLock) on the job and has read it since.
pub async fn resume<D: Driver, E: Enrolment, O: Operator>(
    job: &Job,
    unfinished: &Unfinished,
    phone: &mut D,
    service: &mut E,
    ledger: &Ledger,
    operator: &mut O,
    stop: &Stop,
) -> Outcome {
    let record = Record { ledger, job: unfinished.job.job };
    let mut story = Story::new(job, record, operator, stop);
    // Before anything that can fail: what may have been published is unknown until it is known.
    if unfinished.transaction.as_ref().is_some_and(TransactionView::may_be_published) {
        story.rolls_on = true;
        story.already = Some("the job has published, or may have; the phone has not proved it".into());
    }
    let ended = match record.write(resumed(Some(job.slot.clone()))).await {
        Ok(()) => story.go_on(unfinished, phone, service).await,
        Err(error) => Err(error),
    };
    story.end(ended)
}

/// What a phone makes of the transaction of a job.
enum Stands {
    /// Its certificate is the one in use.
    Committed(Certificate),
    /// It waits for what comes next.
    Pending,
    /// It is gone, or can no longer be committed.
    Forgotten {
        /// The phone has it still, and holds an identity that it was not to replace.
        in_the_way: bool,
    },
}

impl<O: Operator> Story<'_, O> {
    async fn go_on<D: Driver, E: Enrolment>(
        &mut self,
        unfinished: &Unfinished,
        phone: &mut D,
        service: &mut E,
    ) -> Result<Ended, ProvisionError> {
        if let Some(of) = &unfinished.job.phone {
            let newest = self.record.ledger.newest_publication(of.device, Some(&self.job.user)).await?;
            self.heed(newest.as_ref());
        }
        let identified = self.identify(phone).await?;
        let again = match &unfinished.job.phone {
            None => Again::NotProved,
            Some(of) => match known_again(&identified, of) {
                Some(Again::Another(difference)) => return Err(bears_its_name(of, self.record.job, difference).into()),
                Some(again) => again,
                None => {
                    let serial = &identified.identity.serial;
                    let what = format!("it is the phone {serial}, and not the one of job {}", self.record.job);
                    return Err(PhoneError::AnotherPhone { what }.into());
                }
            },
        };
        let Identified { identity, authenticity, .. } = identified;
        let state = self.until_stopped(phone.look(Duration::ZERO)).await??;
        let newest = self.record.ledger.newest_publication(identity.device, Some(&self.job.user)).await?;
        let Some(transaction) = &unfinished.transaction else {
            self.has_proved_itself(again)?;
            return self.tell(phone, service).await;
        };
        // A later publication for the same user counts at the service, and the whole story sorts that out.
        let counts = newest.is_none_or(|newest| newest.id == transaction.id || !newest.may_be_published());
        match stands(transaction, &state)? {
            // Nothing is published for another request than the one that the ledger knows.
            Stands::Pending if transaction.signing_request.is_some() => self.tell(phone, service).await,
            Stands::Pending => {
                self.has_proved_itself(again)?;
                self.tell(phone, service).await
            }
            Stands::Committed(leaf) if counts => {
                self.seen(&identity, &authenticity, &state);
                let verified = self.prove_committed(transaction, &leaf, &identity, phone).await?;
                self.publishing.lost_answers = transaction.unanswered();
                let by = transaction.published.as_ref().and_then(|published| published.server.clone());
                let receipt = self.take_leave(authenticity, verified, by, false, phone).await;
                Ok(Ended::Done(Box::new(receipt)))
            }
            Stands::Committed(_) => {
                self.has_proved_itself(again)?;
                self.tell(phone, service).await
            }
            Stands::Forgotten { in_the_way } => {
                // What another phone does not know of is not forgotten.
                self.has_proved_itself(again)?;
                self.seen(&identity, &authenticity, &state);
                if in_the_way {
                    phone.abort(transaction.id).await?;
                }
                self.record.dropped(transaction.id, "the phone no longer knows of it").await?;
                self.rolls_on = false;
                self.already = Some(match transaction.may_be_published() {
                    true => "what was published, if anything, nobody uses; the phone was left as it is".into(),
                    false => "nothing was published; the phone was left as it is".into(),
                });
                // The phone has said all that it was asked; a lost farewell changes nothing of it.
                let _ = phone.leave(crate::phone::Parting::Leave).await;
                let user = self.job.user.clone();
                let holds = state.identity.map(|held| held.user).filter(|held| !belongs_to(held, &user));
                Err(ProvisionError::Forgotten { user, holds })
            }
        }
    }

    /// Nobody is asked whether this is the phone when a job is resumed: so it has to have proved it.
    fn has_proved_itself(&self, again: Again) -> Result<(), ProvisionError> {
        match again {
            Again::Same => Ok(()),
            Again::NotProved | Again::Another(_) => {
                Err(ProvisionError::NotProvedAgain { job: self.record.job, user: self.job.user.clone() })
            }
        }
    }

    /// A commit is all or nothing: the phone proves the key, and holds all the trust that was staged for it.
    async fn prove_committed<D: Driver>(
        &mut self,
        transaction: &TransactionView,
        leaf: &Certificate,
        identity: &Identity,
        phone: &mut D,
    ) -> Result<Verified, ProvisionError> {
        self.already = Some("the phone has committed, and has not proved it yet".into());
        let started = self.began(Stage::Proof, "the phone's proof");
        let (possession, read_back) = phone.prove(leaf).await?;
        let held = read_back.identity.iter().flat_map(|held| held.intermediates.iter().copied());
        let (intermediates, anchors) =
            (held.collect(), read_back.anchors.iter().map(|anchor| anchor.fingerprint).collect());
        let settings = self.settings();
        let expected =
            Expected { user: &self.job.user, certificate: leaf, intermediates, anchors, settings: &settings };
        if !transaction.staged.iter().all(|given| expected.holds(*given)) {
            let what = "it lacks server trust that was committed with its identity".into();
            return Err(ProvisionError::ReadBackDiffers { what });
        }
        let nothing = Remedy { anchors: Vec::new(), intermediates: Vec::new(), path: Vec::new() };
        let verified = expected.verify(&possession, &read_back, &nothing)?;
        self.proved(identity.device, Some(transaction.id), &verified, started).await?;
        Ok(verified)
    }
}

fn stands(transaction: &TransactionView, state: &PhoneState) -> Result<Stands, ProvisionError> {
    let in_use = state.identity.as_ref().map(|identity| identity.fingerprint);
    if let Some(published) = &transaction.published
        && in_use == Some(published.fingerprint)
    {
        let leaf = Certificate::from_der(&published.certificate)
            .map_err(|source| ProvisionError::Certificate { from: "from the ledger", source })?;
        return Ok(Stands::Committed(leaf));
    }
    Ok(match &state.pending {
        Some(pending) if pending.id == transaction.id && pending.replaces == in_use => Stands::Pending,
        pending => Stands::Forgotten { in_the_way: pending.as_ref().is_some_and(|it| it.id == transaction.id) },
    })
}
