//! Meeting the phone: who it is, what vouches for it, what it holds, and what an earlier job has left.

use super::event::{Answer, Event, PhoneSeen};
use super::job::LabPhone;
use super::story::Story;
use super::{Operator, ProvisionError};
use crate::credential::{Certificate, SipAddress};
use crate::ledger::{self, Filter, JobNumber, Phase, TransactionView};
use crate::phone::{
    Again, Authenticity, Difference, Driver, Identified, Identity, PhoneState, ProvedKeys, TransactionId,
};
use crate::world::Moment;
use std::time::Duration;

/// How long the phone draws attention to itself.
const ATTENTION: Duration = Duration::from_secs(60);

/// A phone that said who it is and what it holds.
pub(super) struct Met {
    pub(super) identity: Identity,
    pub(super) authenticity: Authenticity,
    pub(super) state: PhoneState,
    /// When its clock showed what the state says.
    pub(super) looked_at: Moment,
    pub(super) transaction: Transaction,
    /// The newest transaction by which something may have been published for this user on this phone.
    pub(super) newest: Option<TransactionView>,
}

/// The transaction of this job, new or found in the phone.
pub(super) struct Transaction {
    pub(super) id: TransactionId,
    /// What the ledger knows of it.
    pub(super) known: Option<TransactionView>,
    /// What was published for it and fits: the certificate, and the server by its own word.
    pub(super) published: Option<(Certificate, Option<String>)>,
    /// A pending one that has to go first.
    pub(super) gives_up: Option<GivenUp>,
    /// One of the ledger's that the phone has forgotten: it can never be finished.
    pub(super) lost: Option<TransactionId>,
}

/// A transaction that the phone has to forget.
pub(super) struct GivenUp {
    pub(super) id: TransactionId,
    /// Whether another host began it.
    pub(super) foreign: bool,
    /// Whether what the ledger has under its id is another phone's: that one stays as it is.
    pub(super) anothers: bool,
    pub(super) reason: &'static str,
}

impl Transaction {
    pub(super) fn new(id: TransactionId, gives_up: Option<GivenUp>) -> Self {
        Self { id, known: None, published: None, gives_up, lost: None }
    }

    /// In place of this one, which this host began and cannot go on with.
    pub(super) fn begun_anew(&self, id: TransactionId, reason: &'static str) -> Self {
        Self::new(id, Some(GivenUp { id: self.id, foreign: false, anothers: false, reason }))
    }
}

impl<O: Operator> Story<'_, O> {
    pub(super) async fn meet<D: Driver>(&mut self, phone: &mut D) -> Result<Met, ProvisionError> {
        let Identified { identity, mut authenticity, keys } = self.identify(phone).await?;
        // Before anything else that can fail: from here on a failure has to be called by its right name.
        let newest = self.record.ledger.newest_publication(identity.device, Some(&self.job.user)).await?;
        self.refuse_anothers_name(newest.as_ref(), &identity, &keys).await?;
        self.heed(newest.as_ref());
        self.tell_of_another_by_its_name(&identity, &keys).await?;
        self.write_identified(&identity, &authenticity, keys).await?;

        let attention = if identity.abilities.attention { ATTENTION } else { Duration::ZERO };
        let state = self.until_stopped(phone.look(attention)).await??;
        let looked_at = self.job.world.moment();
        let transaction = self.transaction(&identity, &keys, &state, newest.as_ref()).await?;

        let seen = self.seen(&identity, &authenticity, &state);
        if !authenticity.is_vouched() && identity.abilities.screen && self.job.compare_code {
            self.compare_code(phone, &mut authenticity).await?;
            if authenticity.is_vouched() {
                self.write_identified(&identity, &authenticity, keys).await?;
            }
        }
        self.refuse_mixed_worlds(&authenticity)?;
        if let (Authenticity::Nothing { reason }, true) = (&authenticity, self.job.require_authentic) {
            return Err(ProvisionError::Policy {
                what: format!("nothing vouches for this phone: {reason}"),
                next: "repeat at a terminal without --yes and compare the short code, or provision without \
                       --require-authentic"
                    .into(),
            });
        }
        let answer = self.operator.is_this_the_phone(&seen).await;
        self.stop_here()?;
        match answer {
            Answer::Yes => Ok(Met { identity, authenticity, state, looked_at, transaction, newest }),
            Answer::No => Err(ProvisionError::Declined { what: "this phone" }),
            Answer::Nobody => Err(ProvisionError::NeedsPerson {
                what: "somebody has to say that this is the phone".into(),
                option: "--yes",
            }),
        }
    }

    /// Who the phone is. One that proves the very key whose short code was compared in this job is vouched for by it still.
    pub(super) async fn identify<D: Driver>(&mut self, phone: &mut D) -> Result<Identified, ProvisionError> {
        let mut identified = self.until_stopped(phone.identify()).await??;
        if !identified.authenticity.is_vouched() && self.code_was_compared(&identified).await? {
            phone.code_was_compared();
            identified.authenticity = Authenticity::Code;
        }
        Ok(identified)
    }

    async fn code_was_compared(&self, identified: &Identified) -> Result<bool, ProvisionError> {
        let Some(station) = self.record.ledger.own_station().await? else { return Ok(false) };
        let filter = Filter { station: Some(station), job: Some(self.record.job), ..Filter::default() };
        let records = self.record.ledger.events(filter).await?;
        Ok(records.iter().any(|record| match &record.event {
            ledger::Event::PhoneIdentified {
                device,
                authenticity: ledger::Authenticity::ComparedCode,
                keys: Some(compared),
                ..
            } => *device == identified.identity.device && compared.session == identified.keys.session,
            _ => false,
        }))
    }

    async fn write_identified(
        &self,
        identity: &Identity,
        authenticity: &Authenticity,
        keys: ProvedKeys,
    ) -> Result<(), ProvisionError> {
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
                keys: Some(keys),
            })
            .await
    }

    /// What may be published for this user on a phone, and is not proved on it, makes every failure from here on an
    /// *unknown*, before the phone was even looked at.
    pub(super) fn heed(&mut self, newest: Option<&TransactionView>) {
        if !self.rolls_on {
            let unproved = unproved(newest);
            self.rolls_on = unproved.is_some();
            self.already =
                unproved.map(|_| "an earlier job has published, or may have; the phone has not proved it".into());
        }
    }

    /// The pool would give the one phone's certificate to the other.
    async fn refuse_anothers_name(
        &self,
        newest: Option<&TransactionView>,
        identity: &Identity,
        keys: &ProvedKeys,
    ) -> Result<(), ProvisionError> {
        let Some(known) = unproved(newest) else { return Ok(()) };
        let Some((job, difference)) = self.of_another_phone(known, keys).await? else { return Ok(()) };
        Err(ProvisionError::Policy {
            what: format!(
                "this phone goes by the device UUID {} of another phone, whose job {job} is unfinished, and the pool tells \
                 phones apart by it alone; {difference}",
                identity.device
            ),
            next: format!("first bring that phone's job to its end: tethercert resume {job}"),
        })
    }

    /// A lab's anchors and certificates go only to a lab's phone.
    fn refuse_mixed_worlds(&self, authenticity: &Authenticity) -> Result<(), ProvisionError> {
        match (self.job.lab_phone, authenticity) {
            (LabPhone::NotAsked, _) | (LabPhone::ByItsMaker, Authenticity::Maker { .. }) => Ok(()),
            (LabPhone::ByItsMaker | LabPhone::Impossible, _) => Err(ProvisionError::Policy {
                what: "the pool is a lab on this computer, and nothing shows that the phone is a lab's too: a lab's trust \
                       anchors go only to lab phones"
                    .into(),
                next: "give the definition of that lab's phones with --drivers, as `tethercert lab` prints it, or the \
                       address of a real pool"
                    .into(),
            }),
        }
    }

    /// Shows the phone as a card.
    pub(super) fn seen(&mut self, identity: &Identity, authenticity: &Authenticity, state: &PhoneState) -> PhoneSeen {
        let seen = PhoneSeen {
            slot: self.job.slot.clone(),
            identity: identity.clone(),
            authenticity: authenticity.clone(),
            clock: state.clock,
            in_use: state.identity.clone(),
            anchors: state.anchors.len(),
        };
        self.operator.event(Event::Phone(Box::new(seen.clone())));
        seen
    }

    async fn compare_code<D: Driver>(
        &mut self,
        phone: &mut D,
        authenticity: &mut Authenticity,
    ) -> Result<(), ProvisionError> {
        let code = phone.show_code().await?;
        let answer = self.operator.is_the_code_the_same(code).await;
        self.stop_here()?;
        match answer {
            Answer::Yes => {
                phone.code_was_compared();
                *authenticity = Authenticity::Code;
                Ok(())
            }
            Answer::No => Err(ProvisionError::Policy {
                what: "the two codes differ: something stands between this computer and the phone".into(),
                next: "do not use this cable or hub; plug the phone directly into this computer".into(),
            }),
            Answer::Nobody => Ok(()),
        }
    }

    /// The id of a transaction that nobody has begun.
    pub(super) fn new_transaction(&self) -> TransactionId {
        TransactionId::from_bytes(self.job.world.random("transaction"))
    }

    /// What is pending in the phone goes on where it is this job's, and is given up where it may be.
    async fn transaction(
        &mut self,
        identity: &Identity,
        keys: &ProvedKeys,
        state: &PhoneState,
        newest: Option<&TransactionView>,
    ) -> Result<Transaction, ProvisionError> {
        let in_use = state.identity.as_ref().map(|identity| identity.fingerprint);
        let installed = |known: &TransactionView| {
            known.published.as_ref().is_some_and(|published| Some(published.fingerprint) == in_use)
        };
        if let Some(known) = unproved(newest) {
            self.already = Some(match installed(known) {
                true => "an earlier job's certificate is on the phone, and was not proved yet".into(),
                false => "an earlier job has published, or may have; the phone has not got it".into(),
            });
        }

        let Some(pending) = &state.pending else {
            let unfinished = self.record.ledger.pending_for(identity.device).await?;
            let lost = match unfinished.filter(|known| !installed(known)) {
                // What another phone does not know of is not lost.
                Some(known) if self.of_another_phone(&known, keys).await?.is_none() => Some(known.id),
                Some(_) | None => None,
            };
            return Ok(Transaction { lost, ..Transaction::new(self.new_transaction(), None) });
        };
        // Its id can be read by everybody: another phone may show it.
        let recorded = self.record.ledger.transaction(pending.id).await?;
        let anothers = match &recorded {
            Some(it) => {
                it.device.is_some_and(|device| device != identity.device)
                    || self.of_another_phone(it, keys).await?.is_some()
            }
            None => false,
        };
        let known = recorded.filter(|_| !anothers);
        let may_be_published = known.as_ref().is_some_and(TransactionView::may_be_published);
        let ours = pending.ours && belongs_to(&pending.user, &self.job.user);
        let given_up = |reason| GivenUp { id: pending.id, foreign: !pending.ours, anothers, reason };
        match known {
            Some(known) if ours && pending.replaces == in_use => {
                Ok(Transaction { id: pending.id, known: Some(known), published: None, gives_up: None, lost: None })
            }
            // Nobody knows what was staged for it, or it was to replace what is gone.
            _ if ours => {
                Ok(Transaction::new(self.new_transaction(), Some(given_up("its beginning is not known here"))))
            }
            _ if self.job.abort_pending || pending.ours && !may_be_published => {
                Ok(Transaction::new(self.new_transaction(), Some(given_up("given up for another job"))))
            }
            _ => {
                let host = if pending.ours { "this computer".to_owned() } else { pending.host_label.clone() };
                Err(ProvisionError::OtherPending { user: pending.user.clone(), host })
            }
        }
    }

    /// The job in which another phone than this one worked on a transaction, and what shows that it is another.
    async fn of_another_phone(
        &self,
        known: &TransactionView,
        keys: &ProvedKeys,
    ) -> Result<Option<(JobNumber, Difference)>, ProvisionError> {
        let Some((station, job)) = known.jobs.last() else { return Ok(None) };
        let jobs = self.record.ledger.jobs().await?;
        let before = jobs.iter().find(|it| (it.station, it.job) == (*station, *job));
        let before = before.and_then(|job| job.phone.as_ref()?.keys);
        Ok(match before.map(|before| keys.again(&before)) {
            Some(Again::Another(difference)) => Some((*job, difference)),
            Some(Again::Same | Again::NotProved) | None => None,
        })
    }

    /// A device UUID is a claim, and the pool goes by it: who bears another phone's is told of.
    async fn tell_of_another_by_its_name(
        &mut self,
        identity: &Identity,
        keys: &ProvedKeys,
    ) -> Result<(), ProvisionError> {
        let Some((job, before)) = self.record.ledger.last_vouched(identity.device).await? else { return Ok(()) };
        let in_job = job.map(|job| format!(" in job {job}")).unwrap_or_default();
        let text = match keys.again(&before) {
            Again::Same | Again::NotProved => return Ok(()),
            Again::Another(Difference::FactoryKey) => format!(
                "another phone by its factory key, met{in_job}, goes by the same device UUID {}: the pool tells phones apart \
                 by it alone, so that what is published for one takes the place of the other's",
                identity.device
            ),
            Again::Another(Difference::NothingVouches) => {
                format!(
                    "its maker vouched for the phone with this device UUID{in_job}, and nothing vouches for this one"
                )
            }
        };
        self.operator.event(Event::Notice { text });
        Ok(())
    }

    /// Another user's identity goes only after a yes.
    pub(super) async fn agree_to_replace(&mut self, met: &Met) -> Result<(), ProvisionError> {
        let Some(in_use) = &met.state.identity else { return Ok(()) };
        if !belongs_to(&in_use.user, &self.job.user) && !self.job.replace {
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
}

/// What may be at the service, and is not proved on the phone.
fn unproved(newest: Option<&TransactionView>) -> Option<&TransactionView> {
    newest.filter(|known| known.may_be_published() && known.phase != Phase::Proved)
}

/// Whether what the phone calls its user is this user.
pub(super) fn belongs_to(named: &str, user: &SipAddress) -> bool {
    named.eq_ignore_ascii_case(user.as_str())
}
