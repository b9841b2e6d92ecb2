//! Publishing: the one step that cannot be taken back, tried again only where nothing was published or the same is asked for.

use super::event::{Event, Stage};
use super::outcome::StoreTry;
use super::planning::date;
use super::story::{Ready, Story, full_text};
use super::{Operator, ProvisionError};
use crate::credential::Certificate;
use crate::ledger;
use crate::phone::{Driver, TransactionId};
use crate::service::ocauth::{Diagnosis, Meaning};
use crate::service::{Enrolment, Publication, Published, ServiceError, SignIn, Ticket};
use std::time::Duration;

/// A phone may end a session in which nothing comes, after ten minutes or more (docs/tether-protocol.md).
const SESSION_LASTS: Duration = Duration::from_secs(300);

/// What may still be done again for one publication.
struct Again {
    /// Which try this is, from 1; a new one begins after a wait for the data store.
    attempt: u32,
    /// New tickets that may be fetched in this try.
    tickets: u32,
    /// Equal repetitions after a lost answer.
    repetitions: u32,
}

impl<O: Operator> Story<'_, O> {
    /// Has the service publish the phone's request, and judges what came back.
    pub(super) async fn publish<D: Driver, E: Enrolment>(
        &mut self,
        ready: &Ready,
        credential: &SignIn,
        ticket: Ticket,
        phone: &mut D,
        service: &mut E,
    ) -> Result<(Certificate, Option<String>), ProvisionError> {
        let transaction = ready.planned.transaction.id;
        let started = self.began(Stage::Publish, "the service publishes");
        let known = ready.planned.transaction.known.as_ref();
        self.publishing.lost_answers = known.map_or(0, ledger::TransactionView::unanswered);
        let published = match self.try_to_publish(ready, credential, ticket, phone, service).await {
            Ok(published) => published,
            Err(error) => {
                // Not by this error alone: an answer that was lost before it is lost still.
                if self.publishing.lost_answers > 0 {
                    self.already = Some(match &error {
                        ProvisionError::Service(error) if is_unfit(error) => {
                            "a certificate was published that does not fit the phone's key".into()
                        }
                        _ => "whether a certificate was published is not known".into(),
                    });
                }
                return Err(error);
            }
        };
        let times = self.publishing.times();
        self.already = Some(format!("the certificate is published ({times}); the phone has not got it yet"));
        let leaf = Certificate::from_der(&published.certificate)
            .map_err(|source| ProvisionError::Certificate { from: "that the service published", source })?;
        self.record
            .write(ledger::Event::Published {
                transaction,
                certificate: published.certificate,
                fingerprint: leaf.fingerprint(),
                not_after: leaf.not_after(),
                server: published.server.clone(),
            })
            .await?;
        self.orphan_lost_answers(transaction).await?;
        let now = self.service_time(service.clock_offset_seconds());
        // A certificate of 180 days is some minutes old when it arrives.
        let days = ((leaf.not_after() - now).whole_hours() + 12) / 24;
        let by = published.server.as_deref().map(|server| format!(" by {server}")).unwrap_or_default();
        let mut text = format!("{}{by}, until {} ({days} days)", leaf.fingerprint().short(), date(leaf.not_after()));
        for words in self.publishing.words() {
            text = format!("{text}; {words}");
        }
        for unavailable in &self.publishing.store_unavailable {
            text = format!("{text}; data store unavailable: {unavailable}");
        }
        self.done(Stage::Publish, text, started);
        match self.refusal(&ready.request, &leaf, now) {
            None => Ok((leaf, published.server)),
            Some(reason) => Err(ProvisionError::NotAccepted { reason }),
        }
    }

    /// Sends the publication until it is published or may not be sent again. Each sending has its intent and its end in
    /// the ledger.
    async fn try_to_publish<D: Driver, E: Enrolment>(
        &mut self,
        ready: &Ready,
        credential: &SignIn,
        mut ticket: Ticket,
        phone: &mut D,
        service: &mut E,
    ) -> Result<Published, ProvisionError> {
        let rolled_on = self.rolls_on;
        let transaction = ready.planned.transaction.id;
        let publication = self.publication(ready);
        let mut again = Again { attempt: 1, tickets: 1, repetitions: 1 };
        loop {
            let intent = ledger::Event::PublishIntended { transaction, publication: publication.clone() };
            self.record.write(intent).await?;
            self.rolls_on = true;
            let error = match service.publish(&ticket, &publication).await {
                Ok(published) => return Ok(published),
                Err(error) => error,
            };
            self.publishing.lost_answers += u32::from(error.outcome_unknown());
            self.rolls_on = rolled_on || self.publishing.lost_answers > 0;
            self.write_failure(transaction, &error, again.attempt).await?;
            if let Some(diagnosis) = store_unavailable(&error) {
                let number = diagnosis.number.map(|number| format!("{number} ")).unwrap_or_default();
                let said = format!("{number}{}", diagnosis.reason);
                let (server, at) = (diagnosis.server.clone(), self.job.world.now());
                self.publishing.store_unavailable.push(StoreTry { server, at, said });
                if again.attempt >= self.publishing.of {
                    return Err(self.lasting());
                }
                again = Again { attempt: again.attempt + 1, tickets: 1, ..again };
                self.wait_for_the_store(again.attempt, phone).await?;

                // Perhaps only this front end misses the store. What a phone endorsed is good for minutes, and not twice asked.
                if !matches!(credential, SignIn::Certificate(_)) {
                    service.leave_server();
                    ticket = service.sign_in(&self.job.user, credential).await?;
                }
            } else if error.ticket_refused() && again.tickets > 0 {
                again.tickets -= 1;
                ticket = service.sign_in(&self.job.user, credential).await?;
            } else if error.outcome_unknown() && !is_unfit(&error) && again.repetitions > 0 {
                again.repetitions -= 1;
                let text = "the service's answer was lost; asking once more for the same".into();
                self.operator.event(Event::Notice { text });
            } else {
                return Err(error.into());
            }
            self.is_there_still(transaction, phone).await?;
        }
    }

    /// Right before a further sending: a certificate is published only for the phone of this session, which its answer proves
    /// to be there, and only as long as it waits for it. Before the first one it has just judged the server.
    async fn is_there_still<D: Driver>(
        &mut self,
        transaction: TransactionId,
        phone: &mut D,
    ) -> Result<(), ProvisionError> {
        let state = phone.look(Duration::ZERO).await?;
        match state.pending.is_some_and(|pending| pending.id == transaction) {
            true => Ok(()),
            false => Err(ProvisionError::Forgotten {
                user: self.job.user.clone(),
                holds: state.identity.map(|held| held.user),
            }),
        }
    }

    /// Waits before the next try, and keeps the phone's session alive. A stop ends the wait, since nothing is on its way.
    async fn wait_for_the_store<D: Driver>(&mut self, attempt: u32, phone: &mut D) -> Result<(), ProvisionError> {
        let wait = self.jitter.spread(self.job.publish_wait);
        let server = self.publishing.store_unavailable.last().and_then(|last| last.server.clone());
        let of = self.publishing.of;
        self.operator.event(Event::StoreWait { server, attempt, of, seconds: wait.as_secs_f64() });
        let mut left = wait;
        loop {
            let nap = left.min(SESSION_LASTS);
            left -= nap;
            tokio::select! {
                biased;
                () = self.stop.asked() => return Err(ProvisionError::Stopped),
                () = self.job.world.sleep(nap) => {}
            }
            if left.is_zero() {
                break;
            }
            self.until_stopped(phone.look(Duration::ZERO)).await??;
        }
        let waiting = format!("the service publishes, try {attempt} of {of}");
        self.operator.event(Event::StepBegan { step: Stage::Publish, waiting });
        Ok(())
    }

    fn lasting(&self) -> ProvisionError {
        ProvisionError::StoreUnavailable {
            tries: self.publishing.store_unavailable.clone(),
            user: self.job.user.clone(),
            job: self.record.job,
        }
    }

    async fn write_failure(
        &self,
        transaction: TransactionId,
        failure: &ServiceError,
        attempt: u32,
    ) -> Result<(), ProvisionError> {
        let error = full_text(failure);
        let event = match store_unavailable(failure) {
            Some(diagnosis) => {
                let (of, server) = (self.publishing.of, diagnosis.server.clone());
                ledger::Event::StoreUnavailable { transaction, attempt, of, server, error }
            }
            None if failure.outcome_unknown() => ledger::Event::PublishUnknown { transaction, error },
            None => ledger::Event::PublishRefused { transaction, error },
        };
        self.record.write(event).await
    }

    /// Each lost answer may have been a certificate of its own for the same key, and the last one counts.
    async fn orphan_lost_answers(&self, transaction: TransactionId) -> Result<(), ProvisionError> {
        let lost = match self.publishing.lost_answers {
            0 => return Ok(()),
            1 => "1 answer was lost".to_owned(),
            several => format!("{several} answers were lost"),
        };
        let reason = format!("{lost} before the service published; what they held, if anything, nobody will use");
        self.record.write(ledger::Event::Orphaned { transaction, fingerprint: None, reason }).await
    }

    /// The same as an earlier job was about to send, where there was one.
    fn publication(&self, ready: &Ready) -> Publication {
        let intended = ready.planned.transaction.known.as_ref().and_then(|known| known.publication.clone());
        intended.filter(|known| known.signing_request == ready.request.der()).unwrap_or_else(|| Publication {
            user: self.job.user.clone(),
            device: ready.planned.met.identity.device,
            signing_request: ready.request.der().to_vec(),
            request_id: uuid::Builder::from_random_bytes(self.job.world.random("publication")).into_uuid(),
        })
    }
}

/// The service's word that the home pool's store could not be reached: the one refusal after which the same is tried again.
fn store_unavailable(error: &ServiceError) -> Option<&Diagnosis> {
    match error {
        ServiceError::Refused { diagnosis, .. } if diagnosis.meaning() == Meaning::StoreUnavailable => Some(diagnosis),
        _ => None,
    }
}

/// The answer came, with a certificate for another key: to ask for the same again brings the same.
fn is_unfit(error: &ServiceError) -> bool {
    matches!(error, ServiceError::UnfitCertificate { .. })
}
