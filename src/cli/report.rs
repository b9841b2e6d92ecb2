//! The end of a job: what is said, what the ledger keeps, and the exit code, which are the same truth three times.

use super::error::{CliError, causes};
use super::exit::Exit;
use super::operator;
use super::screen::{Screen, Tone};
use super::text::{dotted, took};
use serde::Serialize;
use std::time::Duration;
use tethercert::credential::{Certificate, Fingerprint, SipAddress};
use tethercert::ledger::{self, JobEnd, JobNumber, Ledger, LedgerError, Phase, TransactionView, Unfinished};
use tethercert::phone::{Authenticity, Remedyable, Traffic};
use tethercert::provision::{
    Failure, Grade, Outcome, Plan, ProvisionError, Publishing, Receipt, Rehearsed, Settled, StepDone, StoreTry,
};
use tethercert::service::ocauth::Cost;
use time::OffsetDateTime;

/// What a job has taken.
pub(crate) struct Spent {
    /// Without the time that people took to answer.
    pub(crate) took: Duration,
    pub(crate) traffic: Traffic,
    pub(crate) cost: Cost,
}

/// The last line of `--json`.
#[derive(Serialize, Default)]
pub(crate) struct OutcomeLine<'a> {
    outcome: &'static str,
    exit_code: u8,
    job: Option<JobNumber>,
    user: Option<&'a SipAddress>,
    message: String,
    next_step: Option<String>,
    /// What has happened all the same.
    already: Option<&'a str>,
    certificate_sha256: Option<Fingerprint>,
    #[serde(with = "time::serde::rfc3339::option")]
    not_after: Option<OffsetDateTime>,
    published_by: Option<&'a str>,
    /// How the publication went, where one was tried to its end.
    publishing: Option<PublishingLine<'a>>,
    unchanged: bool,
    installed: Installed,
    /// How the rehearsal of the sign-in went, where one was asked for.
    rehearsal: Option<&'a Rehearsed>,
    steps: &'a [StepDone],
    took_ms: u128,
    traffic: Traffic,
    cost: CostLine,
    authenticity: Option<&'a Authenticity>,
}

#[derive(Serialize)]
struct PublishingLine<'a> {
    /// `smooth`, `sporadic` or `lasting`, by the tries that met an unavailable data store.
    data_store: &'static str,
    /// `once`, `once or twice`, `once or more often`; nothing where nothing is known to be published.
    published: Option<&'static str>,
    lost_answers: Option<u32>,
    unavailable: &'a [StoreTry],
}

#[derive(Serialize, Default)]
struct Installed {
    anchors: Vec<Named>,
    intermediates: Vec<Named>,
}

#[derive(Serialize)]
struct Named {
    name: String,
    sha256: Fingerprint,
}

#[derive(Serialize, Default)]
struct CostLine {
    https_requests: u64,
    connections: u64,
    bytes_sent: u64,
    bytes_received: u64,
}

/// How it ended, in words for every listener.
pub(crate) struct End {
    pub(crate) word: &'static str,
    pub(crate) tone: Tone,
    outcome: &'static str,
    exit: Exit,
    standing: ledger::Outcome,
    pub(crate) message: String,
    pub(crate) next_step: Option<String>,
}

/// Says how a job ended, on the screen or as the last JSON line, and writes it in the ledger first.
pub(crate) async fn outcome(
    outcome: &Outcome,
    user: &SipAddress,
    spent: &Spent,
    ledger: &Ledger,
    screen: &Screen,
) -> Exit {
    let (job, end) = written(outcome, ledger, screen).await;
    if let Outcome::NotDone(failure) | Outcome::Unknown(failure) = outcome {
        let next = next_step(failure, matches!(outcome, Outcome::Unknown(_)));
        screen.failure(&failure.error.to_string(), causes(&failure.error), next, end.exit);
    }
    if let Outcome::Planned(plan) = outcome {
        operator::show_plan(plan, screen);
    }
    screen.json("outcome", &line(outcome, user, job, &end, spent));
    let label = format!("{:12}{:>6}  ", end.word, took(spent.took));
    screen.columns(end.tone, &label, &last_words(outcome, job));
    end.exit
}

/// How a job ended, once it is written in the ledger.
pub(crate) async fn written(outcome: &Outcome, ledger: &Ledger, screen: &Screen) -> (Option<JobNumber>, End) {
    let (job, end) = end(outcome);
    if let Some(job) = job {
        let event = ledger::Event::JobEnded {
            outcome: end.standing,
            exit_code: end.exit.code().into(),
            message: end.message.clone(),
            next_step: end.next_step.clone(),
        };
        if let Err(error) = ledger.append(Some(job), &event).await {
            screen.note(&format!("the end of job {job} could not be written in the ledger: {error}"));
        }
    }
    (job, end)
}

/// Says that a job did not even begin.
pub(crate) fn not_begun(error: &CliError, user: Option<&SipAddress>, screen: &Screen) {
    screen.error(error);
    let line = OutcomeLine {
        outcome: "not_done",
        exit_code: error.exit().code(),
        user,
        message: error.to_string(),
        next_step: Some(error.next_step()),
        ..OutcomeLine::default()
    };
    screen.json("outcome", &line);
    screen.columns(Tone::Bad, "not done  ", "nothing was begun, nothing was changed");
}

/// Says that a job could not be resumed: its phone is not there, an option is missing, or another process works on it. It
/// stands as it stood.
pub(crate) fn not_resumed(unfinished: &Unfinished, error: &CliError, screen: &Screen) -> Exit {
    screen.error(error);
    let at_work = matches!(error, CliError::Ledger(LedgerError::AtWork { .. }));
    let unknown = at_work || unfinished.transaction.as_ref().is_some_and(TransactionView::may_be_published);
    let line = OutcomeLine {
        outcome: if unknown { "unknown" } else { "not_done" },
        exit_code: error.exit().code(),
        job: Some(unfinished.job.job),
        user: Some(&unfinished.job.user),
        message: error.to_string(),
        next_step: Some(error.next_step()),
        ..OutcomeLine::default()
    };
    screen.json("outcome", &line);
    let (tone, word, stands) = match (at_work, unknown) {
        (true, _) => (Tone::Unsure, "at work  ", "another process works on it; nothing was done here"),
        (false, true) => (Tone::Unsure, "unknown  ", "it stands as it stood"),
        (false, false) => (Tone::Bad, "not done  ", "it stands as it stood"),
    };
    screen.columns(tone, word, &dotted(&[format!("job {}", unfinished.job.job), stands.to_owned()]));
    error.exit()
}

/// Says how a job ended by the ledger alone, and writes it there.
pub(crate) async fn settled(unfinished: &Unfinished, settled: &Settled, ledger: &Ledger, screen: &Screen) -> Exit {
    let job = unfinished.job.job;
    let exit = if settled.outcome == ledger::Outcome::Done { Exit::Done } else { Exit::Failed };
    let event = ledger::Event::JobEnded {
        outcome: settled.outcome,
        exit_code: exit.code().into(),
        message: settled.message.clone(),
        next_step: settled.next_step.clone(),
    };
    if let Err(error) = ledger.append(Some(job), &event).await {
        screen.note(&format!("the end of job {job} could not be written in the ledger: {error}"));
    }
    tell_settled(unfinished, settled, exit, screen);
    exit
}

/// Says how a job ended that was unfinished when it was listed. Where it was its own process that has ended it, its end is in
/// the ledger and nothing is added; another job's gets written down.
pub(crate) async fn ended_meanwhile(listed: &Unfinished, ledger: &Ledger, screen: &Screen) -> Result<Exit, CliError> {
    let (station, number) = (listed.job.station, listed.job.job);
    let now = ledger.jobs().await?.into_iter().find(|job| (job.station, job.job) == (station, number));
    let end = now.and_then(|job| job.end).filter(|end| Some(end) != listed.job.end.as_ref());
    if let Some(JobEnd { outcome, exit_code, message, next_step, .. }) = end {
        let exit = Exit::from_code(exit_code).unwrap_or(Exit::Failed);
        tell_settled(listed, &Settled { outcome, message, next_step }, exit, screen);
        return Ok(exit);
    }
    let phase = match &listed.transaction {
        Some(transaction) => ledger.transaction(transaction.id).await?.map(|now| now.phase),
        None => None,
    };
    let proved = phase == Some(Phase::Proved);
    let settled = Settled {
        outcome: if proved { ledger::Outcome::Done } else { ledger::Outcome::NotDone },
        message: match proved {
            true => "the phone has proved the identity meanwhile".to_owned(),
            false => "another job of this phone has ended it".to_owned(),
        },
        next_step: None,
    };
    Ok(self::settled(listed, &settled, ledger, screen).await)
}

fn tell_settled(unfinished: &Unfinished, settled: &Settled, exit: Exit, screen: &Screen) {
    let (tone, word, outcome) = match settled.outcome {
        ledger::Outcome::Done => (Tone::Good, "done  ", "done"),
        ledger::Outcome::NotDone => (Tone::Bad, "not done  ", "not_done"),
        ledger::Outcome::Unknown => (Tone::Unsure, "unknown  ", "unknown"),
    };
    let line = OutcomeLine {
        outcome,
        exit_code: exit.code(),
        job: Some(unfinished.job.job),
        user: Some(&unfinished.job.user),
        message: settled.message.clone(),
        next_step: settled.next_step.clone(),
        ..OutcomeLine::default()
    };
    screen.json("outcome", &line);
    let mut parts = vec![format!("job {}", unfinished.job.job), settled.message.clone()];
    parts.extend(settled.next_step.clone());
    screen.columns(tone, word, &dotted(&parts));
}

fn end(outcome: &Outcome) -> (Option<JobNumber>, End) {
    let failed = |failure: &Failure, exit: Exit, unknown: bool| End {
        word: if unknown { "unknown" } else { "not done" },
        tone: if unknown { Tone::Unsure } else { Tone::Bad },
        outcome: if unknown { "unknown" } else { "not_done" },
        exit,
        standing: if unknown { ledger::Outcome::Unknown } else { ledger::Outcome::NotDone },
        message: whole(&failure.error),
        next_step: Some(next_step(failure, unknown)),
    };
    match outcome {
        Outcome::Done(receipt) => (
            Some(receipt.job),
            End {
                word: "done",
                tone: Tone::Good,
                outcome: "done",
                exit: Exit::Done,
                standing: ledger::Outcome::Done,
                message: match receipt.unchanged {
                    true => "the phone had it all; nothing was changed".to_owned(),
                    false => {
                        let mut parts = vec!["the phone holds the identity and has proved it".to_owned()];
                        parts.extend(receipt.publishing.iter().flat_map(Publishing::words));
                        parts.join("; ")
                    }
                },
                next_step: None,
            },
        ),
        Outcome::Planned(plan) => (
            plan.job,
            End {
                word: "planned",
                tone: Tone::Good,
                outcome: "planned",
                exit: Exit::Done,
                // A dry run: the phone and the service are as they were.
                standing: ledger::Outcome::NotDone,
                message: "dry run: nothing was changed".to_owned(),
                next_step: Some("repeat without --dry-run to do it".to_owned()),
            },
        ),
        Outcome::NotDone(failure) => (failure.job, failed(failure, failure.error.remedyable().into(), false)),
        Outcome::Unknown(failure) => (failure.job, failed(failure, Exit::Unknown, true)),
    }
}

/// What the technician does next: an unknown outcome is found out by going on with the job.
fn next_step(failure: &Failure, unknown: bool) -> String {
    let next = failure.error.next_step();
    match failure.job {
        Some(job) if unknown && goes_on(&failure.error) => format!("{next}; then: tethercert resume {job}"),
        _ => next,
    }
}

/// Whether the same job can go on as it is: without a person's doing, and not with a new key only.
fn goes_on(error: &ProvisionError) -> bool {
    let as_it_is = match error.remedyable() {
        Remedyable::Failed | Remedyable::NotFound | Remedyable::Temporary => true,
        Remedyable::Person | Remedyable::Policy => false,
    };
    as_it_is && !error.never_fits() && !matches!(error, ProvisionError::StoreUnavailable { .. })
}

fn whole(error: &ProvisionError) -> String {
    std::iter::once(error.to_string()).chain(causes(error)).collect::<Vec<_>>().join(": ")
}

/// The last line for people: which job, how it stands, and what to do with the cable.
fn last_words(outcome: &Outcome, job: Option<JobNumber>) -> String {
    let mut parts: Vec<String> = job.map(|job| format!("job {job}")).into_iter().collect();
    match outcome {
        Outcome::Done(receipt) => {
            if receipt.unchanged {
                parts.push("nothing was changed".to_owned());
            }
            parts.extend(receipt.publishing.iter().flat_map(Publishing::words));
            parts.push(match (receipt.rehearsed.as_ref().map(|rehearsed| rehearsed.grade), receipt.sign_in_asked) {
                (Some(Grade::Good), _) => "signed in, and off again".to_owned(),
                (Some(Grade::Bad), _) => "the sign-in fails".to_owned(),
                (Some(Grade::Unknown), _) => "sign-in unknown".to_owned(),
                (None, true) => "the phone signs in now".to_owned(),
                (None, false) => "sign-in not tried".to_owned(),
            });
            parts.push("unplug USB, keep Ethernet".to_owned());
        }
        Outcome::Planned(Plan { nothing_to_do, .. }) => {
            parts.push("nothing was changed".to_owned());
            parts.push(if *nothing_to_do { "nothing to do" } else { "repeat without --dry-run to do it" }.to_owned());
        }
        Outcome::NotDone(failure) => {
            parts.push(failure.already.clone().unwrap_or_else(|| "the phone is as it was".to_owned()));
            parts.push("leave USB plugged in".to_owned());
        }
        Outcome::Unknown(failure) => {
            parts.extend(failure.already.clone());
            parts.push("leave USB plugged in".to_owned());
            // The same again would meet the same: first somebody does what the error asks for.
            parts.push(match job {
                Some(job) if goes_on(&failure.error) => format!("then: tethercert resume {job}"),
                _ => failure.error.next_step(),
            });
        }
    }
    dotted(&parts)
}

pub(crate) fn line<'a>(
    outcome: &'a Outcome,
    user: &'a SipAddress,
    job: Option<JobNumber>,
    end: &End,
    spent: &Spent,
) -> OutcomeLine<'a> {
    let line = OutcomeLine {
        outcome: end.outcome,
        exit_code: end.exit.code(),
        job,
        user: Some(user),
        message: end.message.clone(),
        next_step: end.next_step.clone(),
        took_ms: spent.took.as_millis(),
        traffic: spent.traffic,
        cost: CostLine {
            https_requests: spent.cost.requests,
            connections: spent.cost.connections,
            bytes_sent: spent.cost.sent,
            bytes_received: spent.cost.received,
        },
        ..OutcomeLine::default()
    };
    match outcome {
        Outcome::Done(receipt) => {
            let Receipt { verified, authenticity, unchanged, published_by, publishing, rehearsed, steps, .. } =
                receipt.as_ref();
            OutcomeLine {
                publishing: publishing.as_ref().map(|publishing| PublishingLine {
                    data_store: if publishing.store_unavailable.is_empty() { "smooth" } else { "sporadic" },
                    published: Some(publishing.times()),
                    lost_answers: Some(publishing.lost_answers),
                    unavailable: &publishing.store_unavailable,
                }),
                certificate_sha256: Some(verified.certificate().fingerprint()),
                not_after: Some(verified.certificate().not_after()),
                published_by: published_by.as_deref(),
                unchanged: *unchanged,
                installed: Installed {
                    anchors: named(verified.anchors()),
                    intermediates: named(verified.intermediates()),
                },
                rehearsal: rehearsed.as_ref(),
                steps,
                authenticity: Some(authenticity),
                ..line
            }
        }
        Outcome::NotDone(failure) | Outcome::Unknown(failure) => {
            let publishing = match &failure.error {
                ProvisionError::StoreUnavailable { tries, .. } => Some(PublishingLine {
                    data_store: "lasting",
                    published: None,
                    lost_answers: None,
                    unavailable: tries,
                }),
                _ => None,
            };
            OutcomeLine { already: failure.already.as_deref(), publishing, steps: &failure.steps, ..line }
        }
        Outcome::Planned(_) => line,
    }
}

fn named(certificates: &[Certificate]) -> Vec<Named> {
    certificates.iter().map(|c| Named { name: c.label(), sha256: c.fingerprint() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tethercert::ledger::{Event, Filter, JobStarted, State};
    use uuid::Uuid;

    /// A job that has begun nothing yet, as it was listed.
    async fn listed(ledger: &Ledger) -> Unfinished {
        let started = JobStarted {
            tool: "0.1.0".into(),
            lab: true,
            dry_run: false,
            user: "bob@contoso.example".parse().unwrap(),
            slot: "port 1-4.2".into(),
            terms: None,
        };
        ledger.begin_job(started).await.unwrap();
        let listed = ledger.unfinished().await.unwrap().remove(0);
        assert_eq!(listed.state, State::NothingBegun);
        listed
    }

    #[tokio::test]
    async fn a_job_that_has_ended_since_it_was_listed_is_told_with_its_own_end_and_nothing_is_written() {
        let (user, fingerprint) = ("bob@contoso.example".parse().unwrap(), Fingerprint::of(b"a certificate"));
        let proved = Event::Proved { device: Uuid::from_u128(1), transaction: None, fingerprint, user };
        let ended = |outcome, exit_code| Event::JobEnded { outcome, exit_code, message: "…".into(), next_step: None };
        for (work, end, exit) in [
            (Some(proved), ended(ledger::Outcome::Done, 0), Exit::Done),
            (None, ended(ledger::Outcome::NotDone, 8), Exit::NeedsPerson),
        ] {
            let ledger = Ledger::temporary("bench-1").await.unwrap();
            let job = listed(&ledger).await;
            for event in work.iter().chain([&end]) {
                ledger.append(Some(job.job.job), event).await.unwrap();
            }
            let before = ledger.events(Filter::default()).await.unwrap();
            assert_eq!(ended_meanwhile(&job, &ledger, &Screen::new(true)).await.unwrap(), exit);
            assert_eq!(ledger.events(Filter::default()).await.unwrap(), before);
        }
    }
}
