//! Ticket, key, trust, installation and proof: what changes the phone.

use super::event::{Event, Stage};
use super::outcome::Expected;
use super::planning::{Planned, date};
use super::story::{Ready, Story};
use super::trust::remedy_text;
use super::{Operator, ProvisionError, Verified};
use crate::credential::{Certificate, Fingerprint};
use crate::ledger;
use crate::phone::{Consent, Driver, PhoneError, Preparation, ServerTrust, TransactionId};
use crate::service::{Enrolment, SignIn, Ticket};
use std::time::Instant;
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

impl<O: Operator> Story<'_, O> {
    pub(super) async fn sign_in<D: Driver, E: Enrolment>(
        &mut self,
        planned: &mut Planned,
        consent: &mut Consent,
        phone: &mut D,
        service: &mut E,
    ) -> Result<(SignIn, Ticket), ProvisionError> {
        let host = planned.secret_goes_to().to_owned();
        let credential = match self.signs_for_itself() {
            true => self.endorsed(planned, consent, phone, service).await,
            false => self.operator.credential(&host, &self.job.user).await.map_err(Into::into),
        };
        self.stop_here()?;
        let credential = credential?;
        let started = self.began(Stage::SignIn, "the web ticket");
        let ticket = self.until_stopped(service.sign_in(&self.job.user, &credential)).await??;
        let (user, expires) = (ticket.user().clone(), ticket.expires());
        self.record.write(ledger::Event::TicketIssued { user, expires, server: Some(host) }).await?;
        let without = if self.signs_for_itself() { "no password: the phone signs for itself; " } else { "" };
        self.done(Stage::SignIn, format!("{without}ticket for {} until {}", ticket.user(), minute(expires)), started);
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
            self.record.dropped(transaction, "the phone no longer knows of it").await?;
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
        let before = planned.transaction.known.as_ref().and_then(|known| known.signing_request.as_deref());
        if before.is_some_and(|before| before != prepared.request.der()) {
            // A phone gives the same request for ever. What was, or will be, published for it belongs to its key.
            let what = "its signing request for this job is another than before".into();
            return Err(PhoneError::AnotherPhone { what }.into());
        }
        if let Some(given_up) = planned.transaction.gives_up.as_ref().filter(|given_up| !given_up.anothers) {
            self.record.dropped(given_up.id, given_up.reason).await?;
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
        self.proved(ready.planned.met.identity.device, Some(ready.planned.transaction.id), &verified, started).await?;
        Ok(verified)
    }

    pub(super) async fn proved(
        &mut self,
        device: Uuid,
        transaction: Option<TransactionId>,
        verified: &Verified,
        started: Instant,
    ) -> Result<(), ProvisionError> {
        self.record
            .write(ledger::Event::Proved {
                device,
                transaction,
                fingerprint: verified.certificate().fingerprint(),
                user: verified.user().clone(),
            })
            .await?;
        self.done(Stage::Proof, "signed our challenge; what it holds reads back equal".into(), started);
        Ok(())
    }
}

fn fingerprints(certificates: &[Certificate]) -> Vec<Fingerprint> {
    certificates.iter().map(Certificate::fingerprint).collect()
}

fn minute(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    time.format(format_description!("[hour]:[minute] UTC")).unwrap_or_default()
}
