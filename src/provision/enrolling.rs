//! Ticket, key, trust, publication, installation and proof: what changes the phone and the service.

use super::event::{Event, Stage};
use super::outcome::Expected;
use super::planning::{Planned, date, service_time};
use super::story::{Ready, Story, full_text};
use super::trust::remedy_text;
use super::{Operator, ProvisionError, Verified};
use crate::credential::{Certificate, Fingerprint};
use crate::ledger;
use crate::phone::{Consent, Driver, PhoneError, Preparation, ServerTrust, TransactionId};
use crate::service::{Enrolment, Publication, ServiceError, SignIn, Ticket};
use std::time::Instant;
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

impl<O: Operator> Story<'_, O> {
    pub(super) async fn sign_in<E: Enrolment>(
        &mut self,
        planned: &Planned,
        service: &mut E,
    ) -> Result<(SignIn, Ticket), ProvisionError> {
        let host = planned.secret_goes_to().to_owned();
        let credential = self.operator.credential(&host, &self.job.user).await;
        self.stop_here()?;
        let credential = credential?;
        let started = self.began(Stage::SignIn, "the web ticket");
        let ticket = self.until_stopped(service.sign_in(&self.job.user, &credential)).await??;
        let (user, expires) = (ticket.user().clone(), ticket.expires());
        self.record.write(ledger::Event::TicketIssued { user, expires, server: Some(host) }).await?;
        self.done(Stage::SignIn, format!("ticket for {} until {}", ticket.user(), minute(expires)), started);
        Ok((credential, ticket))
    }

    pub(super) async fn prepare<D: Driver>(
        &mut self,
        mut planned: Planned,
        consent: Consent,
        clock_offset: Option<i64>,
        phone: &mut D,
    ) -> Result<Ready, ProvisionError> {
        // The service has said the time again meanwhile; what was learned about it may be an hour old.
        planned.survey.clock_offset_seconds = clock_offset.or(planned.survey.clock_offset_seconds);
        planned.set_clock = self.clock(&planned.met, planned.survey.clock_offset_seconds)?;
        let (id, device) = (planned.transaction.id, planned.met.identity.device);
        if let Some(known) = &planned.transaction.known {
            let already = match (&known.published, &known.signing_request) {
                (Some(_), _) => "the certificate is published",
                (None, Some(_)) => "the phone has its key and its request",
                (None, None) => "the phone knows of the job",
            };
            self.operator.event(Event::Resuming { already: already.into() });
        }
        if let Some(transaction) = planned.transaction.lost {
            let reason = "the phone no longer knows of it".into();
            self.record.write(ledger::Event::Aborted { transaction, reason }).await?;
        }
        let user = self.job.user.clone();
        self.record.write(ledger::Event::TransactionBegun { transaction: id, device, user }).await?;

        let preparation = Preparation {
            transaction: id,
            gives_up: planned.transaction.gives_up.as_ref().map(|given_up| given_up.id),
            user: self.job.user.clone(),
            replaces: planned.met.state.identity.as_ref().map(|identity| identity.fingerprint),
            key: planned.key,
            consent,
        };
        if self.already.is_none() {
            self.already = Some("the phone keeps its old identity; it has begun a key".into());
        }
        let waiting = match preparation.consent {
            Consent::KeyPress => "press the key that the phone shows; then it makes its key",
            Consent::NotWanted | Consent::Code(_) => "the phone makes its key",
        };
        let started = self.began(Stage::Request, waiting);
        let prepared = match self.until_stopped(phone.prepare(&preparation)).await? {
            Ok(prepared) => prepared,
            Err(error @ (PhoneError::Request(_) | PhoneError::WrongRequest(_))) if !self.rolls_on => {
                // The phone gives the same request for ever: it has to forget it, or no later try can do better.
                self.give_up(id, "the signing request is not acceptable", phone).await?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(given_up) = &planned.transaction.gives_up {
            let (transaction, reason) = (given_up.id, given_up.reason.to_owned());
            self.record.write(ledger::Event::Aborted { transaction, reason }).await?;
        }
        self.record
            .write(ledger::Event::SigningRequestReceived {
                transaction: id,
                signing_request: prepared.request.der().to_vec(),
                key_kind: planned.key,
                key_id: prepared.request.key_id(),
            })
            .await?;
        // A phone that has its keys ready makes one in no time: only a transaction found again has one from before.
        let made = match planned.transaction.known.is_some() && prepared.key_took.is_zero() {
            true => format!("{} key of the phone, made before", planned.key),
            false => format!("{} made in the phone", planned.key),
        };
        self.done(Stage::Request, made, started);
        let trust = self.stage_trust(&planned, phone).await?;
        if !self.rolls_on {
            self.already = Some("the phone keeps its old identity, and a key for the next try".into());
        }
        Ok(Ready { planned, request: prepared.request, trust })
    }

    async fn stage_trust<D: Driver>(
        &mut self,
        planned: &Planned,
        phone: &mut D,
    ) -> Result<ServerTrust, ProvisionError> {
        let transaction = planned.transaction.id;
        let trust = ServerTrust {
            anchors: planned.remedy.anchors.clone(),
            intermediates: planned.remedy.intermediates.clone(),
            presented: planned.server.presented().to_vec(),
            server_name: planned.survey.host.clone(),
            settings: self.settings(),
        };
        // Written first: what is staged cannot be taken back, and a later job has to know it.
        self.record
            .write(ledger::Event::TrustStaged {
                transaction,
                anchors: fingerprints(&trust.anchors),
                intermediates: fingerprints(&trust.intermediates),
            })
            .await?;
        let started = self.began(Stage::Trust, "the phone judges the server");
        let set = self.until_stopped(phone.stage_trust(transaction, &trust, planned.set_clock)).await??;
        let clock = match (set, planned.met.state.clock) {
            (Some(after), before) => {
                let shown = before.map_or_else(|| "was not set".into(), |before| format!("was {}", date(before)));
                let before = before.unwrap_or(OffsetDateTime::UNIX_EPOCH);
                self.record.write(ledger::Event::ClockSet { before, after }).await?;
                format!("{shown}; set")
            }
            (None, _) => "right; left as it is".into(),
        };
        self.done(Stage::Clock, clock, started);
        self.done(Stage::Trust, remedy_text(&planned.remedy), started);
        if planned.server.are_several() {
            // The phone judges the Web Services itself; the others are judged here, by what it holds and was given.
            for judgement in planned.server.judgements_given(&planned.remedy) {
                self.operator.event(Event::Server(judgement));
            }
        }
        Ok(trust)
    }

    pub(super) async fn publish<E: Enrolment>(
        &mut self,
        ready: &Ready,
        credential: &SignIn,
        mut ticket: Ticket,
        service: &mut E,
    ) -> Result<(Certificate, Option<String>), ProvisionError> {
        let transaction = ready.planned.transaction.id;
        let publication = self.publication(ready);
        let started = self.began(Stage::Publish, "the service publishes");
        self.record.write(ledger::Event::PublishIntended { transaction, publication: publication.clone() }).await?;
        let rolled_on = std::mem::replace(&mut self.rolls_on, true);
        let known = ready.planned.transaction.known.as_ref();
        let unknown_before = known.is_some_and(|known| known.may_be_published());

        // One new ticket where the service wants one, one equal repetition where the answer was lost; no more.
        let (mut tickets, mut repetitions) = (1, 1);
        let published = loop {
            match service.publish(&ticket, &publication).await {
                Ok(published) => break published,
                Err(error) if error.ticket_refused() && tickets > 0 => {
                    tickets -= 1;
                    match service.sign_in(&self.job.user, credential).await {
                        Ok(new) => ticket = new,
                        Err(error) => {
                            let unknown = unknown_before || repetitions == 0;
                            return Err(self.not_published(transaction, error, unknown, rolled_on).await?);
                        }
                    }
                }
                Err(error) if error.outcome_unknown() && !is_unfit(&error) && repetitions > 0 => {
                    repetitions -= 1;
                    let text = "the service's answer was lost; asking once more for the same".into();
                    self.operator.event(Event::Notice { text });
                }
                Err(error) => {
                    let unknown = unknown_before || error.outcome_unknown() || repetitions == 0;
                    return Err(self.not_published(transaction, error, unknown, rolled_on).await?);
                }
            }
        };
        self.already = Some("the certificate is published; the phone has not got it yet".into());
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
        let now = service_time(service.clock_offset_seconds());
        // A certificate of 180 days is some minutes old when it arrives.
        let days = ((leaf.not_after() - now).whole_hours() + 12) / 24;
        let by = published.server.as_deref().map(|server| format!(" by {server}")).unwrap_or_default();
        let text = format!("{}{by}, until {} ({days} days)", leaf.fingerprint().short(), date(leaf.not_after()));
        self.done(Stage::Publish, text, started);
        match self.refusal(&ready.request, &leaf, now) {
            None => Ok((leaf, published.server)),
            Some(reason) => Err(ProvisionError::NotAccepted { reason }),
        }
    }

    /// The same as an earlier job was about to send, where there was one.
    fn publication(&self, ready: &Ready) -> Publication {
        let intended = ready.planned.transaction.known.as_ref().and_then(|known| known.publication.clone());
        intended.filter(|known| known.signing_request == ready.request.der()).unwrap_or_else(|| Publication {
            user: self.job.user.clone(),
            device: ready.planned.met.identity.device,
            signing_request: ready.request.der().to_vec(),
            request_id: Uuid::new_v4(),
        })
    }

    /// The truth about a publication that failed: whether it is unknown, and whether something was before it. The outer
    /// error is the ledger's.
    async fn not_published(
        &mut self,
        transaction: TransactionId,
        error: ServiceError,
        unknown: bool,
        rolled_on: bool,
    ) -> Result<ProvisionError, ProvisionError> {
        let text = full_text(&error);
        if unknown {
            self.already = Some(match is_unfit(&error) {
                true => "a certificate was published that does not fit the phone's key".into(),
                false => "whether a certificate was published is not known".into(),
            });
            self.record.write(ledger::Event::PublishUnknown { transaction, error: text }).await?;
        } else {
            self.record.write(ledger::Event::PublishRefused { transaction, error: text }).await?;
            self.rolls_on = rolled_on;
        }
        Ok(error.into())
    }

    pub(super) async fn install<D: Driver>(
        &mut self,
        ready: &Ready,
        leaf: &Certificate,
        phone: &mut D,
    ) -> Result<(), ProvisionError> {
        let (transaction, fingerprint) = (ready.planned.transaction.id, leaf.fingerprint());
        let started = self.began(Stage::Install, "the phone checks and commits");
        self.record.write(ledger::Event::CommitIntended { transaction, fingerprint }).await?;
        phone.install(transaction, leaf, &ready.trust).await?;
        self.already = Some("the phone has committed, and has not proved it yet".into());
        self.record.write(ledger::Event::Committed { transaction, fingerprint }).await?;
        self.done(Stage::Install, "checked by the phone and committed".into(), started);
        Ok(())
    }

    pub(super) async fn prove<D: Driver>(
        &mut self,
        ready: &Ready,
        leaf: &Certificate,
        phone: &mut D,
    ) -> Result<Verified, ProvisionError> {
        let started = self.began(Stage::Proof, "the phone's proof");
        let (possession, read_back) = phone.prove(leaf).await?;
        let before = ready.planned.met.state.anchors.iter().map(|anchor| anchor.fingerprint);
        let expected = Expected {
            user: &self.job.user,
            certificate: leaf,
            intermediates: fingerprints(&ready.trust.intermediates).into_iter().collect(),
            anchors: before.chain(fingerprints(&ready.trust.anchors)).collect(),
            settings: &ready.trust.settings,
        };
        let verified = expected.verify(&possession, &read_back, &ready.planned.remedy)?;
        ready.planned.server.suffices(&read_back, &ready.planned.remedy)?;
        self.proved(&ready.planned, Some(ready.planned.transaction.id), &verified, started).await?;
        Ok(verified)
    }

    pub(super) async fn proved(
        &mut self,
        planned: &Planned,
        transaction: Option<TransactionId>,
        verified: &Verified,
        started: Instant,
    ) -> Result<(), ProvisionError> {
        self.record
            .write(ledger::Event::Proved {
                device: planned.met.identity.device,
                transaction,
                fingerprint: verified.certificate().fingerprint(),
                user: verified.user().clone(),
            })
            .await?;
        self.done(Stage::Proof, "signed our challenge; what it holds reads back equal".into(), started);
        Ok(())
    }
}

/// The answer came, with a certificate for another key: to ask for the same again brings the same.
fn is_unfit(error: &ServiceError) -> bool {
    matches!(error, ServiceError::UnfitCertificate { .. })
}

fn fingerprints(certificates: &[Certificate]) -> Vec<Fingerprint> {
    certificates.iter().map(Certificate::fingerprint).collect()
}

fn minute(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    time.format(format_description!("[hour]:[minute] UTC")).unwrap_or_default()
}
