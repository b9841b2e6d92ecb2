//! What was done, from the record.

use super::bench::{host_label, ledger_path};
use super::error::CliError;
use super::exit::Exit;
use super::screen::{Screen, Tone};
use super::text::{dotted, moment};
use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::PathBuf;
use tethercert::credential::Fingerprint;
use tethercert::ledger::{Event, Filter, JobNumber, JobSummary, Ledger, Outcome, Record};
use uuid::Uuid;

/// Read the record of every job
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show the jobs, or every event of one
    Show {
        /// Every event of the job with this number
        #[arg(long, value_name = "N")]
        job: Option<u64>,
        #[command(flatten)]
        file: File,
    },
    /// Check that nothing in the ledger was changed or taken out
    Verify {
        #[command(flatten)]
        file: File,
    },
}

#[derive(ClapArgs, Debug)]
struct File {
    /// Ledger to read [env: TETHERCERT_LEDGER] [default: in this user's data folder]
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

/// What is in an event and says nothing to a person: whole structures in base64.
const FOR_PROGRAMS: [&str; 3] = ["certificate", "signing_request", "publication"];

/// One job of `--json`.
#[derive(Serialize)]
struct JobLine<'a> {
    lab: bool,
    station: Uuid,
    job: JobNumber,
    #[serde(with = "time::serde::rfc3339")]
    began: time::OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    ended: Option<time::OffsetDateTime>,
    user: &'a str,
    port: &'a str,
    dry_run: bool,
    phone: Option<String>,
    mac: Option<&'a str>,
    /// `done`, `not_done`, `unknown`; nothing for a job that runs or was cut short.
    outcome: Option<Outcome>,
    exit_code: Option<i32>,
    message: Option<&'a str>,
    next_step: Option<&'a str>,
    proved_sha256: Option<Fingerprint>,
}

/// One event of a job of `--json`.
#[derive(Serialize)]
struct RecordLine<'a> {
    lab: bool,
    #[serde(flatten)]
    record: &'a Record,
}

#[derive(Serialize)]
struct VerifiedLine {
    ledger: String,
    events: u64,
    stations: usize,
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    match args.command {
        Command::Show { job, file } => {
            let ledger = open(&file).await?;
            match job {
                Some(number) => events(&ledger, JobNumber::new(number), screen).await,
                None => jobs(&ledger, screen).await,
            }
        }
        Command::Verify { file } => verify(&open(&file).await?, screen).await,
    }
}

async fn open(file: &File) -> Result<Ledger, CliError> {
    Ok(Ledger::open_existing(&ledger_path(file.ledger.as_ref())?, &host_label()).await?)
}

async fn jobs(ledger: &Ledger, screen: &Screen) -> Result<Exit, CliError> {
    let jobs = ledger.jobs().await?;
    for job in &jobs {
        let phone = job.phone.as_ref();
        let end = job.end.as_ref();
        let line = JobLine {
            lab: job.lab,
            station: job.station,
            job: job.job,
            began: job.began,
            ended: end.map(|end| end.time),
            user: job.user.as_str(),
            port: &job.slot,
            dry_run: job.dry_run,
            phone: phone.map(|phone| format!("{} {}", phone.maker, phone.model)),
            mac: phone.and_then(|phone| phone.mac.as_deref()),
            outcome: end.map(|end| end.outcome),
            exit_code: end.map(|end| end.exit_code),
            message: end.map(|end| end.message.as_str()),
            next_step: end.and_then(|end| end.next_step.as_deref()),
            proved_sha256: job.proved,
        };
        screen.json_of_its_own("job", &line);
        job_lines(job, screen);
    }
    if jobs.is_empty() {
        screen.line("ledger", "no job yet");
    }
    Ok(Exit::Done)
}

fn job_lines(job: &JobSummary, screen: &Screen) {
    let phone = job.phone.as_ref();
    let who =
        phone.map_or_else(|| "phone not identified".to_owned(), |phone| format!("{} {}", phone.maker, phone.model));
    let mac = phone.and_then(|phone| phone.mac.clone()).unwrap_or_default();
    let lab = if job.lab { "LAB" } else { "" };
    let head = [moment(job.began), job.user.to_string(), who, mac, lab.to_owned()];
    screen.line(&format!("job {}", job.job), &dotted(&head));
    let (tone, word) = match job.end.as_ref().map(|end| (end.outcome, end.exit_code)) {
        Some((Outcome::Done, _)) => (Tone::Good, "done"),
        Some((Outcome::NotDone, 0)) if job.dry_run => (Tone::Plain, "planned"),
        Some((Outcome::NotDone, _)) => (Tone::Bad, "not done"),
        Some((Outcome::Unknown, _)) => (Tone::Unsure, "unknown"),
        None => (Tone::Unsure, "open"),
    };
    let text = match &job.end {
        Some(end) => dotted(&[end.message.clone(), format!("exit code {}", end.exit_code)]),
        None => format!("it runs still, or was cut short: then tethercert resume {}", job.job),
    };
    screen.columns(tone, &format!("        {word:8}  "), &text);
}

async fn events(ledger: &Ledger, job: JobNumber, screen: &Screen) -> Result<Exit, CliError> {
    let records = ledger.events(Filter { job: Some(job), ..Filter::default() }).await?;
    if records.is_empty() {
        return Err(CliError::usage(format!("the ledger has no job {job}"), "see `tethercert ledger show`"));
    }
    for record in &records {
        let lab = records.iter().any(|it| it.station == record.station && begins_in_lab(it));
        screen.json_of_its_own("record", &RecordLine { lab, record });
        screen.columns(Tone::Plain, &format!("{:>5}  ", record.sequence), &event_text(record));
    }
    Ok(Exit::Done)
}

fn begins_in_lab(record: &Record) -> bool {
    matches!(&record.event, Event::JobStarted(started) if started.lab)
}

/// The event as it stands in the ledger, without what only programs read.
fn event_text(record: &Record) -> String {
    let value = serde_json::to_value(record).unwrap_or_default();
    let text = |key: &str| value.get(key).and_then(|it| it.as_str()).unwrap_or_default().to_owned();
    let body = value.get("body").and_then(|body| body.as_object()).cloned().unwrap_or_default();
    let mut fields = fields(&body);
    // Nobody saw what was in the lost answer, and that is what is to be known of it.
    if matches!(&record.event, Event::Orphaned { fingerprint: None, .. }) {
        fields.insert(0, "fingerprint unknown".to_owned());
    }
    dotted(&[moment(record.time), text("standing"), text("kind").replace('_', " "), fields.join(", ")])
}

/// What an object says to a person, without what it leaves open.
fn fields(object: &Map<String, Value>) -> Vec<String> {
    let said = |value: &Value| !value.is_null() && value.as_array().is_none_or(|values| !values.is_empty());
    let shown = object.iter().filter(|(key, value)| said(value) && !FOR_PROGRAMS.contains(&key.as_str()));
    shown.map(|(key, value)| format!("{} {}", key.replace('_', " "), short(value))).collect()
}

/// A value for a person: names as they are, fingerprints and ids by their beginning.
fn short(value: &Value) -> String {
    match value {
        Value::String(text) if text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("{}…", &text[..8])
        }
        Value::String(text) => text.clone(),
        Value::Object(object) => fields(object).join(", "),
        Value::Array(values) => values.iter().map(short).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

async fn verify(ledger: &Ledger, screen: &Screen) -> Result<Exit, CliError> {
    let verified = ledger.verify().await?;
    let stations = verified.heads.len();
    let path = ledger.path().display().to_string();
    screen.json("verified", &VerifiedLine { ledger: path.clone(), events: verified.events, stations });
    let events = super::text::count(usize::try_from(verified.events).unwrap_or(usize::MAX), "event");
    let text = format!("{path}: {events} of {}, whole and unchanged", super::text::count(stations, "station"));
    screen.toned(Tone::Good, "good", &text);
    Ok(Exit::Done)
}
