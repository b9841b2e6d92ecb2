//! Looking at phone and service together: what has to be done, what can fail, and whether all of it is done already.

use super::event::{Event, PoolSeen, Stage};
use super::meeting::{Met, belongs_to};
use super::outcome::Expected;
use super::story::Story;
use super::trust::ServerSeen;
use super::{Operator, Plan, ProvisionError, Verified};
use crate::credential::{
    Certificate, Fingerprint, KeyKind, Refusal, Remedy, SigningRequest, SipAddress, UserView, judge_user_certificate,
};
use crate::ledger::{self, TransactionView};
use crate::phone::{Consent, ConsentWanted, Driver, Parting, PhoneError, PhoneState, Settings};
use crate::provision::meeting::Transaction;
use crate::service::server_trust::Compared;
use crate::service::{Enrolment, Survey};
use time::OffsetDateTime;
use time::macros::format_description;

/// By how much this computer and the service may differ for the phone's clock to be set.
const CLOCKS_AGREE_SECONDS: i64 = 120;
/// By how much the phone's clock may be wrong without being set.
const PHONE_CLOCK_SECONDS: i64 = 60;
/// A certificate that lives longer than this is left where it is.
const LONG_ENOUGH: time::Duration = time::Duration::days(30);

/// A phone and a service that were looked at together: what has to be done is known, and nothing is done yet.
pub(super) struct Planned {
    pub(super) met: Met,
    pub(super) survey: Survey,
    pub(super) server: ServerSeen,
    pub(super) remedy: Remedy,
    pub(super) set_clock: Option<time::Duration>,
    pub(super) transaction: Transaction,
    pub(super) key: KeyKind,
    /// Where the user's secret goes; `None` where none is needed.
    secret_goes_to: Option<String>,
    /// What keeps the phone from being finished.
    because: Vec<String>,
    /// The certificate in use, where the phone has all of it already.
    whole: Option<Certificate>,
}

impl Planned {
    /// The host that the user's secret is sent to.
    pub(super) fn secret_goes_to(&self) -> &str {
        self.secret_goes_to.as_deref().unwrap_or(&self.survey.host)
    }
}

impl<O: Operator> Story<'_, O> {
    pub(super) async fn plan<D: Driver, E: Enrolment>(
        &mut self,
        mut met: Met,
        phone: &mut D,
        service: &mut E,
    ) -> Result<Planned, ProvisionError> {
        self.refuse_what_the_phone_cannot(&met)?;
        let survey = self.until_stopped(service.survey()).await??;
        if let Compared::Differs { how } = &survey.named_root {
            return Err(ProvisionError::Policy {
                what: format!("{how}; somebody may stand in between"),
                next: "compare the thumbprint with your administrator's; if it is right, look who answers for the pool"
                    .into(),
            });
        }
        let set_clock = self.clock(&met, survey.clock_offset_seconds)?;
        let now = self.service_time(survey.clock_offset_seconds);
        let server =
            self.until_stopped(ServerSeen::new(&survey.servers(), &survey.download, &met.state, now, phone)).await??;
        let held = met.state.identity.as_ref().map(|identity| identity.intermediates.as_slice());
        let held = held.unwrap_or_default();
        let verdict = server.verdict_with(held);
        self.operator.event(Event::Pool(PoolSeen {
            host: survey.host.clone(),
            clock_offset_seconds: survey.clock_offset_seconds,
            verdict: verdict.to_string(),
            trusted: verdict.is_good(),
        }));
        let server_name = survey.host.clone();
        self.record.write(ledger::Event::ServerJudged { server: server_name, verdict: verdict.to_string() }).await?;
        self.tell_of_the_other_servers(&server, held, &survey).await?;
        let remedy = server.remedy(&met.identity)?;
        let wanted = service.key_kinds();
        let key = wanted.iter().copied().find(|kind| met.identity.key_kinds.contains(kind));
        let key = key.ok_or_else(|| ProvisionError::NoCommonKey {
            phone: kinds(&met.identity.key_kinds),
            service: kinds(wanted),
        })?;

        let mut because = self.missing(&met, &server, set_clock.is_some(), now);
        let mut whole = None;
        if let (Some(in_use), []) = (&met.state.identity, because.as_slice()) {
            let leaf = self.until_stopped(phone.read_certificate(in_use.fingerprint)).await??;
            match judge_in_use(&leaf, &self.job.user, now) {
                None => whole = Some(leaf),
                Some(refusal) => because.push(format!("its certificate is not one to leave there: {refusal}")),
            }
        }
        let nothing = Transaction::new(met.transaction.id, None);
        let transaction = std::mem::replace(&mut met.transaction, nothing);
        let transaction = self.vetted(transaction, &remedy, now);
        let mut secret_goes_to = None;
        if whole.is_none() {
            // All that can refuse a secret, before anybody is asked for one.
            if transaction.published.is_none() {
                if self.signs_for_itself() {
                    self.refuse_who_cannot_sign(&met, now)?;
                }
                let host = service.sign_in_host(&self.job.user, self.job.sign_in);
                secret_goes_to = Some(self.until_stopped(host).await??);
            }
            let consent = self.consent_wanted(&met, &transaction);
            if consent == ConsentWanted::AdministratorCode && !met.authenticity.is_vouched() {
                return Err(PhoneError::CodeWithheld.into());
            }
        }
        Ok(Planned { met, survey, server, remedy, set_clock, transaction, key, secret_goes_to, because, whole })
    }

    /// What the phone makes of the others, and what else was found about trust: it stops nothing by itself.
    async fn tell_of_the_other_servers(
        &mut self,
        server: &ServerSeen,
        held: &[Fingerprint],
        survey: &Survey,
    ) -> Result<(), ProvisionError> {
        for judgement in server.judgements_with(held).into_iter().skip(1) {
            let (server, verdict) = (judgement.server.clone(), judgement.text.clone());
            self.operator.event(Event::Server(judgement));
            self.record.write(ledger::Event::ServerJudged { server, verdict }).await?;
        }
        let expired = server.expired().iter().map(|root| format!("{root}: the phone trusts nothing by it"));
        let download = survey.download.got().and_then(|chains| chains.contradiction()).map(|how| {
            format!("the root-chain download contradicts: {how}; somebody may stand in between, nothing of it is used")
        });
        for text in expired.chain(download) {
            self.operator.event(Event::Notice { text });
        }
        Ok(())
    }

    fn refuse_what_the_phone_cannot(&self, met: &Met) -> Result<(), ProvisionError> {
        let (able, what, option) = match self.job.parting {
            Parting::Leave => return Ok(()),
            Parting::SignIn => (met.identity.abilities.sign_in, "sign in on command", "--phone-signs-in"),
            Parting::Restart => (met.identity.abilities.restart, "restart on command", "--restart"),
        };
        match able {
            true => Ok(()),
            false => Err(ProvisionError::Policy {
                what: format!("this phone cannot {what}"),
                next: format!("repeat without {option}"),
            }),
        }
    }

    /// A transaction that was found goes on only where what it holds is what this job wants.
    fn vetted(&self, mut transaction: Transaction, remedy: &Remedy, now: OffsetDateTime) -> Transaction {
        let Some(known) = &transaction.known else { return transaction };
        let wanted = |fingerprint| {
            remedy.anchors.iter().chain(&remedy.intermediates).any(|given| given.fingerprint() == fingerprint)
        };
        if !known.staged.iter().all(|fingerprint| wanted(*fingerprint)) {
            // Nothing staged can be taken back, and a commit would take it all.
            return transaction.begun_anew(self.new_transaction(), "it holds server trust that is no longer wanted");
        }
        let Some(published) = &known.published else { return transaction };
        let request = known.signing_request.as_deref().and_then(|der| SigningRequest::from_der(der).ok());
        let leaf = Certificate::from_der(&published.certificate).ok();
        let fits = request.zip(leaf).filter(|(request, leaf)| self.refusal(request, leaf, now).is_none());
        match fits {
            Some((_, leaf)) => {
                transaction.published = Some((leaf, published.server.clone()));
                transaction
            }
            None => transaction.begun_anew(self.new_transaction(), "what was published for it is not accepted"),
        }
    }

    /// Why the certificate must not go onto the phone, if anything.
    pub(super) fn refusal(&self, request: &SigningRequest, leaf: &Certificate, now: OffsetDateTime) -> Option<Refusal> {
        let Some(view) = UserView::of(request, &self.job.user, now) else { return Some(no_phone_key(leaf)) };
        let verdict = judge_user_certificate(leaf, &view);
        verdict.refusals().next().cloned()
    }

    /// Whether the phone's clock has to be set, and how far ahead of this computer's.
    pub(super) fn clock(&self, met: &Met, offset: Option<i64>) -> Result<Option<time::Duration>, ProvisionError> {
        let wrong = match met.state.clock {
            Some(clock) => is_wrong(clock, self.job.world.since(met.looked_at), self.service_time(offset)),
            None => true,
        };
        if !wrong {
            return Ok(None);
        }
        let phone = met.state.clock.map_or_else(|| "no time".into(), date);
        let Some(seconds) = offset else { return Err(ProvisionError::NoServiceTime { phone }) };
        if seconds.abs() > CLOCKS_AGREE_SECONDS {
            return Err(ProvisionError::ClocksDiffer { seconds, phone });
        }
        if !met.identity.abilities.clock {
            return Err(ProvisionError::ClockFixed { shows: phone });
        }
        Ok(Some(time::Duration::seconds(seconds)))
    }

    pub(super) fn plan_of(&self, planned: &Planned) -> Plan {
        let labels = |certificates: &[Certificate]| certificates.iter().map(Certificate::label).collect();
        let state = &planned.met.state;
        let changes = planned.whole.is_none();
        let nothing = Remedy { anchors: Vec::new(), intermediates: Vec::new(), path: Vec::new() };
        let remedy = if changes { &planned.remedy } else { &nothing };
        let mut stays = Vec::new();
        match state.anchors.len() {
            0 => {}
            1 => stays.push("1 trust anchor".into()),
            several => stays.push(format!("{several} trust anchors")),
        }
        if planned.set_clock.is_none() {
            stays.push("the clock".into());
        }
        if !changes {
            stays.push("the identity".into());
        }
        Plan {
            job: Some(self.record.job),
            user: self.job.user.clone(),
            pool: planned.survey.host.clone(),
            because: planned.because.clone(),
            replaces: state.identity.clone().filter(|_| changes),
            sets_clock: planned.set_clock.is_some(),
            anchors: labels(&remedy.anchors),
            intermediates: labels(&remedy.intermediates),
            stays,
            nothing_to_do: !changes,
        }
    }

    /// What keeps the phone from being finished, by its own word; its certificate is not read yet.
    fn missing(&self, met: &Met, server: &ServerSeen, sets_clock: bool, now: OffsetDateTime) -> Vec<String> {
        let Some(in_use) = &met.state.identity else { return vec!["it has no user".into()] };
        // What was published last for this user on this phone counts at the service, so it has to be the one in use.
        let installed = |known: &TransactionView| {
            known.published.as_ref().is_some_and(|published| published.fingerprint == in_use.fingerprint)
        };
        let newest = met.newest.as_ref();
        let in_force = newest.is_none_or(|known| installed(known) || !known.may_be_published());
        let just_installed = newest.is_some_and(|known| installed(known) && known.phase.is_pending());
        let in_date = in_use.not_before <= now && (now + LONG_ENOUGH < in_use.not_after || just_installed);
        let ours = belongs_to(&in_use.user, &self.job.user);
        let distrusted = server.distrusted_with(&in_use.intermediates);
        let settled = met.state.settings.as_ref() == Some(&self.settings());
        let found = [
            (ours, format!("it is set up for {}", in_use.user)),
            (!self.job.renew, "--renew asks for it".into()),
            (!self.signs_for_itself(), "--auth certificate renews it".into()),
            (in_force, "another certificate was published since, or may have been".into()),
            (
                in_date,
                format!("its certificate is good from {} to {}", date(in_use.not_before), date(in_use.not_after)),
            ),
            (
                distrusted.is_none(),
                match distrusted.filter(|_| server.are_several()) {
                    Some(which) => format!("it does not trust {which}"),
                    None => "it does not trust the server".into(),
                },
            ),
            (settled || !ours, "its sign-in settings are others".into()),
            (met.state.pending.is_none(), "a job is pending in it".into()),
            (!sets_clock, "its clock is wrong".into()),
        ];
        found.into_iter().filter(|(fine, _)| !fine).map(|(_, reason)| reason).collect()
    }

    /// A phone that has it all proves it, and nothing is changed. `None`: it has not, and the job goes on.
    pub(super) async fn already_done<D: Driver>(
        &mut self,
        planned: &Planned,
        phone: &mut D,
    ) -> Result<Option<Verified>, ProvisionError> {
        let PhoneState { identity: Some(in_use), anchors, .. } = &planned.met.state else { return Ok(None) };
        let Some(leaf) = &planned.whole else { return Ok(None) };
        self.operator.event(Event::Plan(Box::new(self.plan_of(planned))));
        let started = self.began(Stage::Proof, "the phone's proof");
        let (possession, read_back) = phone.prove(leaf).await?;
        let settings = self.settings();
        let expected = Expected {
            user: &self.job.user,
            certificate: leaf,
            intermediates: in_use.intermediates.iter().copied().collect(),
            anchors: anchors.iter().map(|anchor| anchor.fingerprint).collect(),
            settings: &settings,
        };
        let nothing = Remedy { anchors: Vec::new(), intermediates: Vec::new(), path: Vec::new() };
        let verified = expected.verify(&possession, &read_back, &nothing)?;
        let pending = planned.met.newest.as_ref().filter(|known| known.phase.is_pending());
        let pending = pending.map(|known| known.id);
        self.proved(planned.met.identity.device, pending, &verified, started).await?;
        Ok(Some(verified))
    }

    /// The consent that the phone wants. A code is asked for before the user's secret is.
    pub(super) async fn ask_consent(&mut self, planned: &Planned) -> Result<Consent, ProvisionError> {
        Ok(match self.consent_wanted(&planned.met, &planned.transaction) {
            ConsentWanted::Nothing => Consent::NotWanted,
            ConsentWanted::KeyPress => Consent::KeyPress,
            ConsentWanted::AdministratorCode => {
                let code = self.operator.administrator_code(&planned.met.identity).await;
                self.stop_here()?;
                Consent::Code(code?)
            }
        })
    }

    /// What another host began is undone, and a ticket request signed, only with consent in this session, whoever the phone
    /// remembers.
    fn consent_wanted(&self, met: &Met, transaction: &Transaction) -> ConsentWanted {
        let undoes_anothers = transaction.gives_up.as_ref().is_some_and(|given_up| given_up.foreign);
        let signs = self.signs_for_itself() && transaction.published.is_none();
        match met.identity.host_known && !undoes_anothers && !signs {
            true => ConsentWanted::Nothing,
            false => met.identity.consent,
        }
    }

    /// The service's time, or this computer's where it says none.
    pub(super) fn service_time(&self, offset_seconds: Option<i64>) -> OffsetDateTime {
        let now = self.job.world.now();
        now.checked_add(time::Duration::seconds(offset_seconds.unwrap_or(0))).unwrap_or(now)
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            sip_uri: self.job.user.uri(),
            registrar: self.job.registrar.clone(),
            web_services: self.job.web_services.clone(),
        }
    }
}

/// Why the certificate in use is not one to leave there, judged by the key that it names: that the phone holds it is for
/// its proof to show.
pub(super) fn judge_in_use(leaf: &Certificate, user: &SipAddress, now: OffsetDateTime) -> Option<Refusal> {
    let Some(kind) = leaf.key_kind().key_kind() else { return Some(no_phone_key(leaf)) };
    let view = UserView {
        key_id: leaf.key_id(),
        kind,
        user,
        clock: now,
        allowance: time::Duration::minutes(5),
        least_remaining: time::Duration::hours(1),
    };
    judge_user_certificate(leaf, &view).refusals().next().cloned()
}

fn no_phone_key(leaf: &Certificate) -> Refusal {
    Refusal::OtherKind { wanted: KeyKind::Rsa2048, found: leaf.key_kind().to_string() }
}

/// Whether a clock is wrong that showed this so long ago: a person may have taken minutes to answer since.
fn is_wrong(shown: OffsetDateTime, ago: std::time::Duration, now: OffsetDateTime) -> bool {
    let shows = i64::try_from(ago.as_secs()).ok().and_then(|ago| shown.checked_add(time::Duration::seconds(ago)));
    (shows.unwrap_or(shown) - now).whole_seconds().abs() > PHONE_CLOCK_SECONDS
}

pub(super) fn kinds(kinds: &[KeyKind]) -> String {
    let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    if kinds.is_empty() { "no keys".into() } else { kinds.join(", ") }
}

pub(super) fn date(time: OffsetDateTime) -> String {
    time.format(format_description!("[year]-[month]-[day]")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use time::macros::datetime;

    #[test]
    fn a_right_clock_stays_right_while_a_password_is_typed() {
        let (shown, now) = (datetime!(2026-11-22 10:00 UTC), datetime!(2026-11-22 10:03 UTC));
        assert!(!is_wrong(shown, Duration::from_secs(180), now));
        assert!(is_wrong(shown, Duration::ZERO, now));
        assert!(is_wrong(shown, Duration::from_secs(300), now));
    }
}
