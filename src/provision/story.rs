//! The steps of a job. Each consumes the one before.

use super::event::{Answer, Event, PhoneSeen, PoolSeen, Stage, StepDone};
use super::trust::{ServerSeen, remedy_text};
use super::{Failure, Job, Operator, Outcome, Plan, ProvisionError, Receipt, Stop, Verified};
use crate::credential::{Certificate, Fingerprint, KeyKind, Remedy, SigningRequest, UserView, judge_user_certificate};
use crate::ledger::{self, JobNumber, JobStarted, Ledger, TransactionView};
use crate::phone::{
    Authenticity, Consent, ConsentWanted, Driver, Identity, PendingTransaction, PhoneError, PhoneState, Preparation,
    ServerTrust, Settings, TransactionId,
};
use crate::service::{Enrolment, Publication, SignIn, Survey, Ticket};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

/// How long the phone draws attention to itself.
const ATTENTION: Duration = Duration::from_secs(60);
/// By how much this computer and the service may differ for the phone's clock to be set.
const CLOCKS_AGREE_SECONDS: i64 = 120;
/// By how much the phone's clock may be wrong without being set.
const PHONE_CLOCK_SECONDS: i64 = 60;
/// A certificate that lives longer than this is left where it is.
const LONG_ENOUGH: time::Duration = time::Duration::days(30);

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
    let mut story =
        Story { job, record, operator, stop, steps: Vec::new(), already: None, committed_to_roll_on: false };
    let ended = story.tell(phone, service).await;
    let Story { steps, already, committed_to_roll_on, .. } = story;
    match ended {
        Ok(Ended::Planned(plan)) => Outcome::Planned(*plan),
        Ok(Ended::Done(done)) => {
            let took = steps.iter().map(|step| step.took).sum();
            Outcome::Done(Box::new(Receipt { job: number, steps, took, ..*done }))
        }
        Err(error) => {
            let failure = Failure { job: Some(number), error, already, steps };
            if committed_to_roll_on { Outcome::Unknown(failure) } else { Outcome::NotDone(failure) }
        }
    }
}

/// Writes into the ledger for one job.
#[derive(Clone, Copy)]
struct Record<'a> {
    ledger: &'a Ledger,
    job: JobNumber,
}

impl Record<'_> {
    async fn write(&self, event: ledger::Event) -> Result<(), ProvisionError> {
        self.ledger.append(Some(self.job), &event).await?;
        Ok(())
    }
}

enum Ended {
    Planned(Box<Plan>),
    Done(Box<Receipt>),
}

struct Story<'a, O> {
    job: &'a Job,
    record: Record<'a>,
    operator: &'a mut O,
    stop: &'a Stop,
    steps: Vec<StepDone>,
    /// What has happened although the job may fail.
    already: Option<String>,
    /// Whether something may have been published: a failure from here on is *unknown*, not *not done*.
    committed_to_roll_on: bool,
}

/// A phone that said who it is and what it holds.
struct Met {
    identity: Identity,
    authenticity: Authenticity,
    state: PhoneState,
}

/// A phone and a service that were looked at together: what has to be done is known, and nothing is done yet.
struct Planned {
    met: Met,
    survey: Survey,
    server: ServerSeen,
    remedy: Remedy,
    set_clock: Option<time::Duration>,
    transaction: Transaction,
    key: KeyKind,
}

/// The transaction of this job, new or found in the phone.
struct Transaction {
    id: TransactionId,
    /// What the ledger knows of it.
    known: Option<TransactionView>,
    /// A pending one that has to go first, and whether another host began it.
    gives_up: Option<(TransactionId, bool)>,
    /// One of the ledger's that the phone has forgotten: it can never be finished.
    lost: Option<TransactionId>,
}

/// A good identity that the phone holds already.
struct Installed {
    certificate: Fingerprint,
    intermediates: Vec<Certificate>,
    /// The transaction whose proof is missing.
    transaction: Option<TransactionId>,
}

/// A phone that has its key and the server's trust staged. Publishing is the next thing.
struct Ready {
    planned: Planned,
    request: SigningRequest,
    trust: ServerTrust,
}

impl<O: Operator> Story<'_, O> {
    async fn tell<D: Driver, E: Enrolment>(&mut self, phone: &mut D, service: &mut E) -> Result<Ended, ProvisionError> {
        let met = self.meet(phone).await?;
        self.stop_here()?;
        let planned = self.plan(met, phone, service).await?;
        if self.job.dry_run {
            let nothing_to_do = self.already_installed(&planned).await?.is_some();
            return Ok(Ended::Planned(Box::new(self.plan_of(&planned, nothing_to_do))));
        }
        if let Some(unchanged) = self.already_done(&planned, phone).await? {
            return Ok(Ended::Done(Box::new(unchanged)));
        }
        self.operator.event(Event::Plan(self.plan_of(&planned, false)));
        self.agree_to_replace(&planned.met).await?;
        self.stop_here()?;

        let publication = planned.transaction.known.as_ref().and_then(|known| known.published.clone());
        let credential = match publication {
            Some(_) => None,
            None => Some(self.sign_in(&planned, service).await?),
        };
        let ready = self.prepare(planned, phone).await?;
        if self.stop.is_asked() {
            phone.abort(ready.planned.transaction.id).await?;
            let transaction = ready.planned.transaction.id;
            self.record.write(ledger::Event::Aborted { transaction, reason: "stopped".into() }).await?;
            return Err(ProvisionError::Stopped);
        }
        let (leaf, published_by) = match (publication, credential) {
            (Some(published), _) => {
                self.committed_to_roll_on = true;
                self.already = Some("the certificate was published by an earlier job".into());
                (read_leaf(&published.certificate, "in the ledger")?, published.server)
            }
            (None, Some((credential, ticket))) => self.publish(&ready, &credential, ticket, service).await?,
            (None, None) => unreachable!("without a publication there was a sign-in"),
        };
        self.judge_leaf(&ready, &leaf)?;
        self.install(&ready, &leaf, phone).await?;
        let verified = self.prove(&ready, &leaf, phone).await?;
        Ok(Ended::Done(Box::new(self.take_leave(ready.planned.met, verified, published_by, false, phone).await)))
    }

    async fn meet<D: Driver>(&mut self, phone: &mut D) -> Result<Met, ProvisionError> {
        let identified = phone.identify().await?;
        let (identity, mut authenticity) = (identified.identity, identified.authenticity);
        let state = phone.look(if identity.abilities.attention { ATTENTION } else { Duration::ZERO }).await?;
        let seen = PhoneSeen {
            slot: self.job.slot.clone(),
            identity: identity.clone(),
            authenticity: authenticity.clone(),
            clock: state.clock,
            in_use: state.identity.clone(),
            anchors: state.anchors.len(),
        };
        self.operator.event(Event::Phone(Box::new(seen.clone())));

        if !authenticity.is_vouched() && identity.abilities.screen && self.job.compare_code {
            let code = phone.show_code().await?;
            let answer = self.operator.is_the_code_the_same(code).await;
            self.stop_here()?;
            match answer {
                Answer::Yes => {
                    phone.code_was_compared();
                    authenticity = Authenticity::Code;
                }
                Answer::No => {
                    return Err(ProvisionError::Policy {
                        what: "the two codes differ: something stands between this computer and the phone".into(),
                        next: "do not use this cable or hub; plug the phone directly into this computer".into(),
                    });
                }
                Answer::Nobody => {}
            }
        }
        self.record
            .write(ledger::Event::PhoneIdentified {
                maker: identity.maker.clone(),
                model: identity.model.clone(),
                serial: identity.serial.clone(),
                mac: Some(identity.mac.to_string()),
                firmware: identity.firmware.clone(),
                device: identity.device,
                authenticity: match authenticity {
                    Authenticity::Maker { .. } => ledger::Authenticity::MakersCertificate,
                    Authenticity::Code => ledger::Authenticity::ComparedCode,
                    Authenticity::Nothing { .. } => ledger::Authenticity::Unauthenticated,
                },
            })
            .await?;
        if let (Authenticity::Nothing { reason }, true) = (&authenticity, self.job.require_authentic) {
            return Err(ProvisionError::Policy {
                what: format!("nothing vouches for this phone: {reason}"),
                next: "compare the short code at a terminal, or repeat without --require-authentic".into(),
            });
        }
        let answer = self.operator.is_this_the_phone(&seen).await;
        self.stop_here()?;
        match answer {
            Answer::Yes => Ok(Met { identity, authenticity, state }),
            Answer::No => Err(ProvisionError::Declined { what: "this phone" }),
            Answer::Nobody => Err(ProvisionError::NeedsPerson {
                what: "somebody has to say that this is the phone".into(),
                option: "--yes",
            }),
        }
    }

    async fn plan<D: Driver, E: Enrolment>(
        &mut self,
        met: Met,
        phone: &mut D,
        service: &mut E,
    ) -> Result<Planned, ProvisionError> {
        let transaction = self.transaction(&met).await?;
        let survey = service.survey().await?;
        let service_time = self.service_time(&survey);
        let set_clock = self.clock(&met, &survey)?;
        let server = ServerSeen::new(&survey, &met.state, service_time, phone).await?;
        let verdict = server.verdict();
        self.operator.event(Event::Pool(PoolSeen {
            host: survey.host.clone(),
            clock_offset_seconds: survey.clock_offset_seconds,
            verdict: verdict.to_string(),
            trusted: verdict.is_good(),
        }));
        let server_name = survey.host.clone();
        self.record.write(ledger::Event::ServerJudged { server: server_name, verdict: verdict.to_string() }).await?;
        let remedy = server.remedy(&met.identity)?;
        let wanted = service.key_kinds();
        let key = wanted.iter().copied().find(|kind| met.identity.key_kinds.contains(kind));
        let key = key.ok_or_else(|| ProvisionError::NoCommonKey {
            phone: kinds(&met.identity.key_kinds),
            service: kinds(wanted),
        })?;
        Ok(Planned { met, survey, server, remedy, set_clock, transaction, key })
    }

    /// What is pending in the phone goes on where it is this job's, and is given up where it may be.
    ///
    /// Where an earlier job may have published for this phone and the phone can still take it, no failure of this job is a
    /// plain *not done*.
    async fn transaction(&mut self, met: &Met) -> Result<Transaction, ProvisionError> {
        let unfinished = self.record.ledger.pending_for(met.identity.device).await?;
        let in_use = met.state.identity.as_ref().map(|identity| identity.fingerprint);
        let transaction = match &met.state.pending {
            Some(PendingTransaction { id, user, ours: true, replaces, .. })
                if user.eq_ignore_ascii_case(self.job.user.as_str()) && *replaces == in_use =>
            {
                let known = self.record.ledger.transaction(*id).await?;
                Transaction { id: *id, known, gives_up: None, lost: None }
            }
            Some(pending) if !pending.ours && !self.job.abort_pending => {
                let (user, host) = (pending.user.clone(), pending.host_label.clone());
                return Err(ProvisionError::OtherPending { user, host });
            }
            pending => {
                let gives_up = pending.as_ref().map(|pending| (pending.id, !pending.ours));
                let installed = |known: &TransactionView| {
                    known.published.as_ref().is_some_and(|published| Some(published.fingerprint) == in_use)
                };
                let other = |known: &&TransactionView| gives_up.is_none_or(|(id, _)| id != known.id);
                let lost = unfinished.as_ref().filter(|known| other(known) && !installed(known));
                let lost = lost.map(|known| known.id);
                Transaction { id: TransactionId::random(), known: None, gives_up, lost }
            }
        };
        if transaction.known.as_ref().is_some_and(|known| known.phase.is_pending()) {
            self.committed_to_roll_on = true;
            self.already = Some("an earlier job has published, or may have; the phone has not got it yet".into());
        }
        Ok(transaction)
    }

    fn service_time(&self, survey: &Survey) -> OffsetDateTime {
        let now = OffsetDateTime::now_utc();
        now.checked_add(time::Duration::seconds(survey.clock_offset_seconds)).unwrap_or(now)
    }

    /// Whether the phone's clock has to be set, and to what: this computer's time plus the answer.
    fn clock(&self, met: &Met, survey: &Survey) -> Result<Option<time::Duration>, ProvisionError> {
        let wrong = match met.state.clock {
            Some(clock) => (clock - self.service_time(survey)).whole_seconds().abs() > PHONE_CLOCK_SECONDS,
            None => true,
        };
        if !wrong {
            return Ok(None);
        }
        let shows = met.state.clock.map_or_else(|| "no time".into(), date);
        if survey.clock_offset_seconds.abs() > CLOCKS_AGREE_SECONDS {
            return Err(ProvisionError::ClocksDiffer { seconds: survey.clock_offset_seconds, phone: shows });
        }
        if !met.identity.abilities.clock {
            return Err(ProvisionError::ClockFixed { shows });
        }
        Ok(Some(time::Duration::seconds(survey.clock_offset_seconds)))
    }

    fn plan_of(&self, planned: &Planned, nothing_to_do: bool) -> Plan {
        let labels = |certificates: &[Certificate]| certificates.iter().map(Certificate::label).collect();
        let state = &planned.met.state;
        let mut stays = Vec::new();
        match state.anchors.len() {
            0 => {}
            1 => stays.push("1 trust anchor".into()),
            several => stays.push(format!("{several} trust anchors")),
        }
        if planned.set_clock.is_none() {
            stays.push("the clock".into());
        }
        Plan {
            job: Some(self.record.job),
            user: self.job.user.clone(),
            pool: planned.survey.host.clone(),
            replaces: state.identity.clone(),
            sets_clock: planned.set_clock.is_some(),
            anchors: labels(&planned.remedy.anchors),
            intermediates: labels(&planned.remedy.intermediates),
            stays,
            nothing_to_do,
        }
    }

    /// What the phone holds already, where that is all: the intermediates it has, and the transaction that brought it
    /// when its proof is missing.
    async fn already_installed(&self, planned: &Planned) -> Result<Option<Installed>, ProvisionError> {
        let Planned { met, survey, server, set_clock, .. } = planned;
        let Some(in_use) = &met.state.identity else { return Ok(None) };
        let now = self.service_time(survey);
        let unfinished = self.record.ledger.pending_for(met.identity.device).await?;
        let unproved = unfinished.filter(|transaction| {
            transaction.published.as_ref().is_some_and(|published| published.fingerprint == in_use.fingerprint)
        });
        let in_date = in_use.not_before <= now && (now + LONG_ENOUGH < in_use.not_after || unproved.is_some());
        let (verdict, intermediates) = server.verdict_with(&in_use.intermediates);
        let whole = in_use.user.eq_ignore_ascii_case(self.job.user.as_str())
            && in_date
            && verdict.is_good()
            && set_clock.is_none()
            && met.state.pending.is_none()
            && (!self.job.renew || unproved.is_some());
        let transaction = unproved.map(|transaction| transaction.id);
        Ok(whole.then_some(Installed { certificate: in_use.fingerprint, intermediates, transaction }))
    }

    /// A phone that has it all proves it, and nothing is changed.
    async fn already_done<D: Driver>(
        &mut self,
        planned: &Planned,
        phone: &mut D,
    ) -> Result<Option<Receipt>, ProvisionError> {
        let Some(installed) = self.already_installed(planned).await? else { return Ok(None) };
        let met = &planned.met;
        self.operator.event(Event::Plan(self.plan_of(planned, true)));
        let started = self.began(Stage::Proof, "the phone's proof");
        let leaf = phone.read_certificate(installed.certificate).await?;
        let (possession, read_back) = phone.prove(&leaf).await?;
        let trust = ServerTrust { intermediates: installed.intermediates, ..self.trust(planned, Vec::new()) };
        let verified = Verified::new(&self.job.user, &leaf, &trust, &possession, &read_back)?;
        self.proved(planned, installed.transaction, &verified, started).await?;
        let met =
            Met { identity: met.identity.clone(), authenticity: met.authenticity.clone(), state: met.state.clone() };
        Ok(Some(self.take_leave(met, verified, None, true, phone).await))
    }

    async fn agree_to_replace(&mut self, met: &Met) -> Result<(), ProvisionError> {
        let Some(in_use) = &met.state.identity else { return Ok(()) };
        if !in_use.user.eq_ignore_ascii_case(self.job.user.as_str()) && !self.job.replace {
            let answer = self.operator.may_replace(in_use, &self.job.user).await;
            self.stop_here()?;
            match answer {
                Answer::Yes => {}
                Answer::No => return Err(ProvisionError::Declined { what: "replacing the phone's identity" }),
                Answer::Nobody => {
                    return Err(ProvisionError::NeedsPerson {
                        what: format!("the phone holds the identity of {}", in_use.user),
                        option: "--replace",
                    });
                }
            }
        }
        self.record
            .write(ledger::Event::IdentityReplaceIntended {
                device: met.identity.device,
                old_user: Some(in_use.user.clone()),
                old_fingerprint: Some(in_use.fingerprint),
                new_user: self.job.user.clone(),
            })
            .await
    }

    async fn sign_in<E: Enrolment>(
        &mut self,
        planned: &Planned,
        service: &mut E,
    ) -> Result<(SignIn, Ticket), ProvisionError> {
        let host = planned.survey.host.clone();
        let credential = self.operator.credential(&host, &self.job.user).await;
        self.stop_here()?;
        let credential = credential?;
        let started = self.began(Stage::SignIn, "the web ticket");
        let ticket = self.until_stopped(service.sign_in(&self.job.user, &credential)).await??;
        let (user, expires) = (ticket.user().clone(), ticket.expires());
        self.record.write(ledger::Event::TicketIssued { user, expires, server: Some(host) }).await?;
        self.done(Stage::SignIn, format!("ticket for {} until {}", ticket.user(), time_of_day(expires)), started);
        Ok((credential, ticket))
    }

    async fn prepare<D: Driver>(&mut self, planned: Planned, phone: &mut D) -> Result<Ready, ProvisionError> {
        let Planned { met, transaction, .. } = &planned;
        if let Some(known) = &transaction.known {
            let already = match (&known.published, &known.signing_request) {
                (Some(_), _) => "the certificate is published",
                (None, Some(_)) => "the phone has its key and its request",
                (None, None) => "the phone knows of the job",
            };
            self.operator.event(Event::Resuming { already: already.into() });
        }
        // What another host began is undone only with consent in this session, whoever the phone remembers.
        let undoes_anothers = transaction.gives_up.is_some_and(|(_, foreign)| foreign);
        let remembered = met.identity.host_known && !undoes_anothers;
        let consent = match met.identity.consent {
            _ if remembered => Consent::NotWanted,
            ConsentWanted::Nothing => Consent::NotWanted,
            ConsentWanted::KeyPress => {
                self.operator.event(Event::Notice { text: "press the key that the phone shows".into() });
                Consent::KeyPress
            }
            ConsentWanted::AdministratorCode => Consent::Code(self.operator.administrator_code(&met.identity).await?),
        };
        let preparation = Preparation {
            transaction: transaction.id,
            gives_up: transaction.gives_up.map(|(id, _)| id),
            user: self.job.user.clone(),
            replaces: met.state.identity.as_ref().map(|identity| identity.fingerprint),
            set_clock: planned.set_clock,
            key: planned.key,
            consent,
        };
        let (id, device) = (transaction.id, met.identity.device);
        for (given_up, reason) in
            [(preparation.gives_up, "given up for another job"), (transaction.lost, "the phone no longer knows of it")]
        {
            if let Some(transaction) = given_up {
                self.record.write(ledger::Event::Aborted { transaction, reason: reason.into() }).await?;
            }
        }
        let user = self.job.user.clone();
        self.record.write(ledger::Event::TransactionBegun { transaction: id, device, user }).await?;

        if self.already.is_none() {
            let clock = if planned.set_clock.is_some() { " and perhaps the right time" } else { "" };
            self.already = Some(format!("the phone keeps its old identity; it has begun a key{clock}"));
        }
        let started = self.began(Stage::Request, "the phone makes its key");
        let prepared = match self.until_stopped(phone.prepare(&preparation)).await? {
            Ok(prepared) => prepared,
            Err(error @ (PhoneError::Request(_) | PhoneError::WrongRequest(_))) => {
                // The phone gives the same request for ever: it has to forget it, or no later try can do better.
                phone.abort(id).await?;
                let reason = "the signing request is not acceptable".into();
                self.record.write(ledger::Event::Aborted { transaction: id, reason }).await?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        let clock = match (prepared.clock_set, met.state.clock) {
            (Some(after), before) => {
                let shown = before.map_or_else(|| "was not set".into(), |before| format!("was {}", date(before)));
                let before = before.unwrap_or(OffsetDateTime::UNIX_EPOCH);
                self.record.write(ledger::Event::ClockSet { before, after }).await?;
                format!("{shown}; set")
            }
            (None, _) => "right; left as it is".into(),
        };
        self.record
            .write(ledger::Event::SigningRequestReceived {
                transaction: id,
                signing_request: prepared.request.der().to_vec(),
                key_kind: planned.key,
                key_id: prepared.request.key_id(),
            })
            .await?;
        self.done(Stage::Clock, clock, Instant::now());
        // A phone that has its keys ready makes one in no time: only a transaction found again has one from before.
        let found_again = met.state.pending.as_ref().is_some_and(|pending| pending.id == id);
        let made = match found_again && prepared.key_took.is_zero() {
            true => format!("{} key of the phone, made before", planned.key),
            false => format!("{} made in the phone", planned.key),
        };
        self.done(Stage::Request, made, started);

        let started = self.began(Stage::Trust, "the phone judges the server");
        let trust = self.trust(&planned, planned.remedy.anchors.clone());
        self.until_stopped(phone.stage_trust(id, &trust)).await??;
        let fingerprints = |certificates: &[Certificate]| certificates.iter().map(Certificate::fingerprint).collect();
        self.record
            .write(ledger::Event::TrustStaged {
                transaction: id,
                anchors: fingerprints(&trust.anchors),
                intermediates: fingerprints(&trust.intermediates),
            })
            .await?;
        self.done(Stage::Trust, remedy_text(&planned.remedy), started);
        if !self.committed_to_roll_on {
            self.already = Some("the phone keeps its old identity, and a key for the next try".into());
        }
        Ok(Ready { planned, request: prepared.request, trust })
    }

    fn trust(&self, planned: &Planned, anchors: Vec<Certificate>) -> ServerTrust {
        ServerTrust {
            anchors,
            intermediates: planned.remedy.intermediates.clone(),
            presented: planned.server.presented().to_vec(),
            server_name: planned.survey.host.clone(),
            settings: Settings {
                sip_uri: self.job.user.uri(),
                registrar: self.job.registrar.clone(),
                web_services: self.job.web_services.clone(),
            },
        }
    }

    async fn publish<E: Enrolment>(
        &mut self,
        ready: &Ready,
        credential: &SignIn,
        mut ticket: Ticket,
        service: &mut E,
    ) -> Result<(Certificate, Option<String>), ProvisionError> {
        let transaction = ready.planned.transaction.id;
        let intended = ready.planned.transaction.known.as_ref().and_then(|known| known.publication.clone());
        let publication = intended.filter(|known| known.signing_request == ready.request.der());
        let publication = publication.unwrap_or_else(|| Publication {
            user: self.job.user.clone(),
            device: ready.planned.met.identity.device,
            signing_request: ready.request.der().to_vec(),
            request_id: Uuid::new_v4(),
            message_id: Uuid::new_v4(),
        });
        let started = self.began(Stage::Publish, "the service publishes");
        self.record.write(ledger::Event::PublishIntended { transaction, publication: publication.clone() }).await?;
        let unknown_before = std::mem::replace(&mut self.committed_to_roll_on, true);

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
                            return Err(self.not_published(transaction, error, unknown).await?);
                        }
                    }
                }
                Err(error) if error.outcome_unknown() && repetitions > 0 => {
                    repetitions -= 1;
                    let text = "the service's answer was lost; asking once more for the same".into();
                    self.operator.event(Event::Notice { text });
                }
                Err(error) => {
                    let unknown = unknown_before || error.outcome_unknown() || repetitions == 0;
                    return Err(self.not_published(transaction, error, unknown).await?);
                }
            }
        };
        self.already = Some("the certificate is published; the phone has not got it yet".into());
        let leaf = read_leaf(&published.certificate, "that the service published")?;
        self.record
            .write(ledger::Event::Published {
                transaction,
                certificate: published.certificate,
                fingerprint: leaf.fingerprint(),
                not_after: leaf.not_after(),
                server: published.server.clone(),
            })
            .await?;
        // A certificate of 180 days is some minutes old when it arrives.
        let days = ((leaf.not_after() - self.service_time(&ready.planned.survey)).whole_hours() + 12) / 24;
        let by = published.server.as_deref().map(|server| format!(" by {server}")).unwrap_or_default();
        let text = format!("{}{by}, until {} ({days} days)", leaf.fingerprint().short(), date(leaf.not_after()));
        self.done(Stage::Publish, text, started);
        Ok((leaf, published.server))
    }

    /// The truth about a publication that failed. The outer error is the ledger's.
    async fn not_published(
        &mut self,
        transaction: TransactionId,
        error: crate::service::ServiceError,
        unknown: bool,
    ) -> Result<ProvisionError, ProvisionError> {
        let text = full_text(&error);
        if unknown {
            self.already = Some("whether a certificate was published is not known".into());
            self.record.write(ledger::Event::PublishUnknown { transaction, error: text }).await?;
        } else {
            self.record.write(ledger::Event::PublishRefused { transaction, error: text }).await?;
            self.committed_to_roll_on = false;
        }
        Ok(error.into())
    }

    fn judge_leaf(&self, ready: &Ready, leaf: &Certificate) -> Result<(), ProvisionError> {
        let clock = self.service_time(&ready.planned.survey);
        let Some(view) = UserView::of(&ready.request, &self.job.user, clock) else {
            return Err(ProvisionError::NoCommonKey {
                phone: "another key".into(),
                service: kinds(&[ready.planned.key]),
            });
        };
        let verdict = judge_user_certificate(leaf, &view);
        match verdict.refusals().next() {
            Some(reason) if !verdict.accepted() => Err(ProvisionError::NotAccepted { reason: reason.clone() }),
            _ => Ok(()),
        }
    }

    async fn install<D: Driver>(
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

    async fn prove<D: Driver>(
        &mut self,
        ready: &Ready,
        leaf: &Certificate,
        phone: &mut D,
    ) -> Result<Verified, ProvisionError> {
        let started = self.began(Stage::Proof, "the phone's proof");
        let (possession, read_back) = phone.prove(leaf).await?;
        let verified = Verified::new(&self.job.user, leaf, &ready.trust, &possession, &read_back)?;
        self.proved(&ready.planned, Some(ready.planned.transaction.id), &verified, started).await?;
        Ok(verified)
    }

    async fn proved(
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

    async fn take_leave<D: Driver>(
        &mut self,
        met: Met,
        verified: Verified,
        published_by: Option<String>,
        unchanged: bool,
        phone: &mut D,
    ) -> Receipt {
        let sign_in_asked = match phone.leave(self.job.parting).await {
            Ok(()) => self.job.parting == crate::phone::Parting::SignIn,
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

    fn began(&mut self, step: Stage, waiting: &str) -> Instant {
        self.operator.event(Event::StepBegan { step, waiting: waiting.to_owned() });
        Instant::now()
    }

    fn done(&mut self, step: Stage, text: String, started: Instant) {
        let done = StepDone { step, text, took: started.elapsed() };
        self.steps.push(done.clone());
        self.operator.event(Event::StepDone(done));
    }

    fn stop_here(&self) -> Result<(), ProvisionError> {
        if self.stop.is_asked() { Err(ProvisionError::Stopped) } else { Ok(()) }
    }

    /// For what can be broken off: nothing has been published, and the phone keeps what it has for the next try.
    async fn until_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, ProvisionError> {
        tokio::select! {
            result = work => Ok(result),
            () = self.stop.asked() => Err(ProvisionError::Stopped),
        }
    }
}

fn read_leaf(der: &[u8], from: &'static str) -> Result<Certificate, ProvisionError> {
    Certificate::from_der(der).map_err(|source| ProvisionError::Certificate { from, source })
}

fn kinds(kinds: &[KeyKind]) -> String {
    let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    if kinds.is_empty() { "no keys".into() } else { kinds.join(", ") }
}

/// An error with all that is under it, in a line.
fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        text = format!("{text}: {error}");
        below = error.source();
    }
    text
}

fn date(time: OffsetDateTime) -> String {
    time.format(format_description!("[year]-[month]-[day]")).unwrap_or_default()
}

fn time_of_day(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    time.format(format_description!("[hour]:[minute] UTC")).unwrap_or_default()
}
