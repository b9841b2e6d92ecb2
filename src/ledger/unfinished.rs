//! Which jobs have not come to their end, and how each of them stands by the ledger alone.

use super::error::LedgerError;
use super::event::Outcome;
use super::store::{Filter, Ledger};
use super::view::{JobSummary, Phase, TransactionView};
use super::{JobNumber, TransactionId};
use uuid::Uuid;

/// What the exit code of a job says that was stopped, or met something that passes: it can go on.
const TEMPORARY: i32 = 7;

/// A job that has not come to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Unfinished {
    /// The job.
    pub job: JobSummary,
    /// The newest transaction that it worked on, or whose fate keeps it from its end.
    pub transaction: Option<TransactionView>,
    /// How it stands.
    pub state: State,
    /// Whether a process works on it at this moment, by its lock.
    pub at_work: bool,
}

/// How an unfinished job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing was begun in a phone when it was cut short, or as far as it runs.
    NothingBegun,
    /// The phone has to be asked, and perhaps the service.
    Open,
    /// The phone has proved what the job wanted; only its end was not written.
    Proved,
    /// The phone has dropped it; only its end was not written.
    Dropped,
    /// A later job has brought this phone to its end.
    Superseded(JobNumber),
}

impl Ledger {
    /// The jobs of this station that have not come to their end, oldest first. A job that another process is working on
    /// at this moment is among them.
    ///
    /// # Errors
    /// As of every reading.
    pub async fn unfinished(&self) -> Result<Vec<Unfinished>, LedgerError> {
        match self.own_station().await? {
            Some(station) => self.unfinished_of(station, &self.jobs().await?).await,
            None => Ok(Vec::new()),
        }
    }

    /// The jobs of this ledger's other stations that have not come to their end, with the stations' labels. A computer that
    /// got a new name is another station. One whose phone some station has brought to its end later is not among them.
    ///
    /// # Errors
    /// As of every reading.
    pub async fn unfinished_elsewhere(&self) -> Result<Vec<(String, Unfinished)>, LedgerError> {
        let (own, labels) = (self.own_station().await?, self.stations().await?);
        let label = |station: Uuid| {
            let (_, label) = labels.iter().find(|(it, _)| *it == station && Some(station) != own)?;
            Some(label.clone())
        };
        let all = self.unfinished_of_all_stations().await?;
        Ok(all.into_iter().filter_map(|unfinished| Some((label(unfinished.job.station)?, unfinished))).collect())
    }

    /// Those of every station in this ledger, oldest first by their stations' clocks. One whose phone another station has
    /// brought to its end later is not among them.
    ///
    /// # Errors
    /// As of every reading.
    pub async fn unfinished_of_all_stations(&self) -> Result<Vec<Unfinished>, LedgerError> {
        let jobs = self.jobs().await?;
        let mut all = Vec::new();
        for (station, _) in self.stations().await? {
            all.extend(self.unfinished_of(station, &jobs).await?);
        }
        all.retain(|unfinished| !jobs.iter().any(|job| finishes_elsewhere(job, &unfinished.job)));
        all.sort_by_key(|unfinished| unfinished.job.began);
        Ok(all)
    }

    async fn unfinished_of(&self, station: Uuid, all: &[JobSummary]) -> Result<Vec<Unfinished>, LedgerError> {
        let jobs: Vec<&JobSummary> = all.iter().filter(|job| job.station == station).collect();
        let mut unfinished = Vec::new();
        for job in &jobs {
            let end = job.end.as_ref().map(|end| end.outcome);
            if job.dry_run || end == Some(Outcome::Done) {
                continue;
            }
            let transaction = self.transaction_of(job).await?;
            let finished_later = jobs.iter().rev().find(|later| {
                later.job > job.job
                    && later.end.as_ref().is_some_and(|end| end.outcome == Outcome::Done)
                    && later.phone.as_ref().zip(job.phone.as_ref()).is_some_and(|(later, phone)| later.may_be(phone))
            });
            if let Some(state) = state(job, transaction.as_ref(), finished_later.map(|later| later.job)) {
                let at_work = self.is_at_work(station, job.job);
                unfinished.push(Unfinished { job: (*job).clone(), transaction, state, at_work });
            }
        }
        Ok(unfinished)
    }

    async fn transaction_of(&self, job: &JobSummary) -> Result<Option<TransactionView>, LedgerError> {
        let filter = Filter { station: Some(job.station), job: Some(job.job), ..Filter::default() };
        let own: Option<TransactionId> =
            self.events(filter).await?.iter().rev().find_map(|record| record.event.transaction());
        let unknown = job.end.as_ref().is_some_and(|end| end.outcome == Outcome::Unknown);
        match (own, &job.phone) {
            (Some(id), _) => self.transaction(id).await,
            // It ended unknown for what an earlier job had published.
            (None, Some(phone)) if unknown => self.newest_publication(phone.device, Some(&job.user)).await,
            (None, _) => Ok(None),
        }
    }
}

/// Whether another station's `later` job has brought the phone of `job` to its end.
fn finishes_elsewhere(later: &JobSummary, job: &JobSummary) -> bool {
    later.station != job.station
        && later.began > job.began
        && later.end.as_ref().is_some_and(|end| end.outcome == Outcome::Done)
        && later.phone.as_ref().zip(job.phone.as_ref()).is_some_and(|(later, phone)| later.may_be(phone))
}

/// How a job that did not end well stands; nothing where nothing is left to do or to say.
fn state(job: &JobSummary, transaction: Option<&TransactionView>, later: Option<JobNumber>) -> Option<State> {
    let ended = job.end.as_ref();
    let phase = transaction.map(|transaction| transaction.phase);
    match (phase, ended) {
        (None, None) => Some(State::NothingBegun),
        (Some(Phase::Proved), None) => Some(State::Proved),
        (Some(Phase::Aborted), None) => Some(State::Dropped),
        (None | Some(Phase::Proved | Phase::Aborted), Some(_)) => None,
        // What is, or may be, published is to be brought to its end, whatever its job was told.
        (Some(phase), Some(end)) if end.outcome == Outcome::NotDone && !phase.is_pending() => {
            (end.exit_code == TEMPORARY && later.is_none()).then_some(State::Open)
        }
        (Some(_), _) => Some(later.map_or(State::Open, State::Superseded)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Event;
    use super::super::samples::{self, TRANSACTION};
    use super::*;

    /// A ledger with one job, told up to its n-th event.
    async fn told_to(events: usize) -> Ledger {
        let ledger = Ledger::temporary("bench-1").await.unwrap();
        let job = ledger.begin_job(samples::started()).await.unwrap();
        for event in &samples::events()[1..events] {
            ledger.append(Some(job), event).await.unwrap();
        }
        ledger
    }

    async fn states(ledger: &Ledger) -> Vec<State> {
        ledger.unfinished().await.unwrap().into_iter().map(|job| job.state).collect()
    }

    fn ended(outcome: Outcome, exit_code: i32) -> Event {
        Event::JobEnded { outcome, exit_code, message: "…".into(), next_step: None }
    }

    #[tokio::test]
    async fn a_job_cut_short_is_unfinished_wherever_it_was_cut() {
        for (events, state) in [
            (1, State::NothingBegun),
            (4, State::NothingBegun),
            (5, State::Open),
            (10, State::Open),
            (15, State::Open),
            (16, State::Proved),
            (17, State::Dropped),
        ] {
            assert_eq!(states(&told_to(events).await).await, [state], "{events}");
        }
        assert_eq!(states(&told_to(18).await).await, [], "it ended done");
    }

    #[tokio::test]
    async fn what_ended_unknown_or_may_go_on_later_is_unfinished_until_the_phone_has_proved_it() {
        for (events, outcome, exit_code, open) in
            [(10, Outcome::Unknown, 5, true), (6, Outcome::NotDone, 7, true), (6, Outcome::NotDone, 8, false)]
        {
            let ledger = told_to(events).await;
            let job = Some(JobNumber(1));
            ledger.append(job, &ended(outcome, exit_code)).await.unwrap();
            assert_eq!(states(&ledger).await.contains(&State::Open), open, "{outcome:?}");

            let later = ledger.begin_job(samples::started()).await.unwrap();
            for event in &samples::events()[14..16] {
                ledger.append(Some(later), event).await.unwrap();
            }
            assert_eq!(states(&ledger).await, [State::Proved], "the later job lacks its end, and the first needs none");
            ledger.append(Some(later), &ended(Outcome::Done, 0)).await.unwrap();
            assert_eq!(states(&ledger).await, []);
        }
    }

    #[tokio::test]
    async fn a_job_that_is_resumed_and_cut_short_again_is_unfinished_again() {
        let ledger = told_to(6).await;
        let job = Some(JobNumber(1));
        ledger.append(job, &ended(Outcome::NotDone, 8)).await.unwrap();
        assert_eq!(states(&ledger).await, []);
        ledger.append(job, &Event::JobResumed { tool: "0.1.0".into(), slot: None }).await.unwrap();
        assert_eq!(states(&ledger).await, [State::Open]);
    }

    #[tokio::test]
    async fn an_end_that_the_jobs_work_follows_is_none() {
        for work in [5, 10, 13] {
            let ledger = told_to(4).await;
            let job = Some(JobNumber(1));
            ledger.append(job, &Event::JobResumed { tool: "0.1.0".into(), slot: None }).await.unwrap();
            ledger.append(job, &ended(Outcome::NotDone, 1)).await.unwrap();
            assert_eq!(states(&ledger).await, []);
            for event in &samples::events()[4..work] {
                ledger.append(job, event).await.unwrap();
            }
            assert_eq!(states(&ledger).await, [State::Open], "{work}");
            assert_eq!(ledger.jobs().await.unwrap()[0].end, None);
            ledger.append(job, &ended(Outcome::Done, 0)).await.unwrap();
            assert_eq!(states(&ledger).await, []);
        }
    }

    #[tokio::test]
    async fn what_may_be_published_is_unfinished_whatever_its_job_was_told() {
        for (events, states_then) in [(6, vec![]), (10, vec![State::Open]), (11, vec![State::Open]), (17, vec![])] {
            let ledger = told_to(events).await;
            ledger.append(Some(JobNumber(1)), &ended(Outcome::NotDone, 1)).await.unwrap();
            assert_eq!(states(&ledger).await, states_then, "{events}");
        }
    }

    #[tokio::test]
    async fn a_job_is_at_work_from_its_beginning_to_its_end_and_as_long_as_its_process_lives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let open = async || Ledger::open(&path, "bench-1").await.unwrap();
        let (works, looks) = (open().await, open().await);
        let job = works.begin_job(samples::started()).await.unwrap();
        let at_work = async || looks.unfinished().await.unwrap()[0].at_work;
        assert!(at_work().await);
        assert!(matches!(looks.lock(job).await, Err(LedgerError::AtWork { .. })));
        assert!(matches!(works.lock(job).await, Err(LedgerError::AtWork { .. })), "also in the same process");

        works.append(Some(job), &ended(Outcome::Unknown, 5)).await.unwrap();
        works.append(Some(job), &Event::JobResumed { tool: "0.1.0".into(), slot: None }).await.unwrap();
        assert!(!at_work().await, "its end was written");
        let lock = looks.lock(job).await.unwrap();
        assert!(at_work().await);
        drop(lock);
        assert!(!at_work().await);

        let other = open().await;
        let cut_short = other.begin_job(samples::started()).await.unwrap();
        assert!(looks.lock(cut_short).await.is_err());
        drop(other);
        assert!(looks.lock(cut_short).await.is_ok(), "nobody works on it");
    }

    #[tokio::test]
    async fn a_job_that_is_done_leaves_nothing_beside_the_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let ledger = Ledger::open(&path, "bench-1").await.unwrap();
        let job = ledger.begin_job(samples::started()).await.unwrap();
        let locks = || std::fs::read_dir(folder.path().join("ledger.sqlite-jobs")).unwrap().count();
        assert_eq!(locks(), 1);
        ledger.append(Some(job), &ended(Outcome::Done, 0)).await.unwrap();
        assert_eq!(locks(), 0);
    }

    #[tokio::test]
    async fn another_stations_jobs_are_its_own_and_can_be_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let (one, two) = (Ledger::open(&path, "bench-1").await.unwrap(), Ledger::open(&path, "bench-2").await.unwrap());
        one.begin_job(samples::started()).await.unwrap();
        assert_eq!((states(&one).await.len(), states(&two).await.len()), (1, 0));
        assert_eq!(one.unfinished_elsewhere().await.unwrap(), []);
        let elsewhere = two.unfinished_elsewhere().await.unwrap();
        let [(label, unfinished)] = elsewhere.as_slice() else { panic!("{elsewhere:?}") };
        assert_eq!((label.as_str(), unfinished.state), ("bench-1", State::NothingBegun));
        let all = two.unfinished_of_all_stations().await.unwrap();
        assert_eq!(all.iter().map(|it| Some(it.job.station)).collect::<Vec<_>>(), [one.own_station().await.unwrap()]);
    }

    #[tokio::test]
    async fn publications_without_an_answer_are_counted_and_a_refusal_answers_only_its_own() {
        let ledger = told_to(10).await;
        let view = async || ledger.transaction(TRANSACTION).await.unwrap().unwrap();
        assert_eq!((view().await.unanswered(), view().await.phase), (1, Phase::PublishIntended));
        let write = async |event: Event| ledger.append(Some(JobNumber(1)), &event).await.unwrap();
        let intended = || Event::PublishIntended { transaction: TRANSACTION, publication: samples::publication(1) };
        let unavailable = || samples::events()[18].clone();

        write(unavailable()).await;
        assert_eq!((view().await.unanswered(), view().await.phase), (0, Phase::PublishRefused));
        write(intended()).await;
        write(Event::PublishUnknown { transaction: TRANSACTION, error: "lost".into() }).await;
        write(intended()).await;
        write(unavailable()).await;
        let after = view().await;
        assert_eq!((after.unanswered(), after.phase, after.may_be_published()), (1, Phase::PublishUnknown, true));
    }
}
