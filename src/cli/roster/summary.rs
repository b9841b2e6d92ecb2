//! The end of a roster: every row with its outcome, and the exit code.

use super::refusal::{self, GONE};
use crate::cli::exit::Exit;
use crate::cli::screen::{Screen, Tone};
use crate::cli::text::{count, dotted};
use serde::Serialize;
use tethercert::credential::SipAddress;
use tethercert::ledger::JobNumber;
use tethercert::station::board::Claim;
use tethercert::station::roster::{Roster, Row};
use tethercert::station::{Closing, Concluded, Ending, RowEnd};

#[derive(Serialize)]
struct SummaryLine<'a> {
    roster: &'a str,
    rows: Vec<RowLine<'a>>,
    done: usize,
    /// By a dry run.
    planned: usize,
    exit_code: u8,
}

#[derive(Serialize)]
struct RowLine<'a> {
    line: u64,
    label: Option<&'a str>,
    port: Option<String>,
    user: &'a SipAddress,
    outcome: &'static str,
    exit_code: u8,
    job: Option<JobNumber>,
    message: Option<String>,
    next_step: Option<String>,
    /// Whether something vouches for the phone, where its job was done in this run.
    vouched: Option<bool>,
}

/// What a dry run ends with.
const PLANNED: &str = "planned";

/// Says how each row stands, and gives what the program tells the shell.
pub(super) fn tell(roster: &Roster, closing: &Closing, watch: bool, screen: &Screen) -> Exit {
    let ends: Vec<(RowLine<'_>, Exit)> =
        roster.rows().iter().zip(&closing.rows).map(|(row, end)| row_line(row, end, roster, watch)).collect();
    let all: Vec<Exit> = ends.iter().map(|(_, exit)| *exit).collect();
    let exit = Exit::of_several(&all);
    table(&ends, screen);
    let planned = ends.iter().filter(|(line, _)| line.outcome == PLANNED).count();
    let done = all.iter().filter(|exit| **exit == Exit::Done).count() - planned;
    let left = all.len() - done - planned;
    let (tone, word) = if left == 0 { (Tone::Good, "done") } else { (Tone::Bad, "end") };
    let dry =
        if planned == 0 { String::new() } else { format!("{} planned, nothing was changed", count(planned, "row")) };
    let rest = if left == 0 { String::new() } else { format!("{} not done", count(left, "row")) };
    let again = match (left, planned) {
        (0, _) => "",
        (_, 0) => "repeat the command to go on: what is done stays done",
        _ => "repeat the command when they are plugged in",
    };
    screen.blank();
    let rows = format!("{done} of {} done", count(all.len(), "row"));
    screen.toned(tone, word, &dotted(&[rows, dry, rest, again.to_owned()]));
    let rows = ends.into_iter().map(|(line, _)| line).collect();
    screen.json("summary", &SummaryLine { roster: roster.name(), rows, done, planned, exit_code: exit.code() });
    exit
}

fn row_line<'a>(row: &'a Row, end: &RowEnd, roster: &Roster, watch: bool) -> (RowLine<'a>, Exit) {
    let plain = RowLine {
        line: row.line,
        label: row.label.as_deref(),
        port: None,
        user: &row.user,
        outcome: "done",
        exit_code: 0,
        job: None,
        message: None,
        next_step: None,
        vouched: None,
    };
    let (line, exit) = match end {
        RowEnd::Before { job, port } => {
            (RowLine { port: Some(port.clone()), outcome: "done_before", job: *job, ..plain }, Exit::Done)
        }
        RowEnd::Ended { slot, concluded, claim } => {
            let begun = begun_before(concluded, *claim);
            let (outcome, exit) = match concluded.ending {
                Ending::Done { .. } => ("done", Exit::Done),
                Ending::Planned => (PLANNED, Exit::Done),
                // Of the row: what an earlier job has begun stands, though this one did nothing.
                Ending::NotDone(_) if begun.is_some() => ("unknown", Exit::Unknown),
                Ending::NotDone(remedyable) => ("not_done", remedyable.into()),
                Ending::Unknown => ("unknown", Exit::Unknown),
            };
            let vouched = match concluded.ending {
                Ending::Done { vouched, .. } => Some(vouched),
                Ending::Planned | Ending::NotDone(_) | Ending::Unknown => None,
            };
            let line = RowLine {
                port: Some(slot.port()),
                outcome,
                job: concluded.job,
                message: Some(join(&[Some(&concluded.message), begun.as_deref()])),
                next_step: match begun {
                    Some(_) => Some(join(&[concluded.next_step.as_deref(), Some(GONE)])),
                    None => concluded.next_step.clone(),
                },
                vouched,
                ..plain
            };
            (line, exit)
        }
        RowEnd::Refused { slot, refusal } => {
            let (message, next) = refusal::text(refusal, roster);
            let line = RowLine {
                port: Some(slot.port()),
                outcome: "refused",
                message: Some(message),
                next_step: Some(next),
                ..plain
            };
            (line, Exit::NeedsPerson)
        }
        RowEnd::NotBegun { slot } => {
            let next_step = Some("repeat the command".to_owned());
            (RowLine { port: Some(slot.port()), outcome: "not_begun", next_step, ..plain }, Exit::Temporary)
        }
        RowEnd::NoPhone { claim } => {
            let (job, message, exit) = match claim {
                Some(Claim::Begun(job)) => (
                    *job,
                    format!("{} may have published for it; its phone was not plugged in", named(*job)),
                    Exit::Unknown,
                ),
                Some(Claim::Renewal(job)) => {
                    (Some(*job), format!("the phone that has it by job {job} was not plugged in"), Exit::NotFound)
                }
                None => (None, format!("no phone with {} was plugged in", row.keys), Exit::NotFound),
            };
            let next =
                if watch { "plug it in and repeat the command" } else { "plug it in and repeat, or use --watch" };
            let next = if claim.is_some() { format!("{next}; {GONE}") } else { next.to_owned() };
            (RowLine { outcome: "no_phone", job, message: Some(message), next_step: Some(next), ..plain }, exit)
        }
    };
    (RowLine { exit_code: exit.code(), ..line }, exit)
}

/// What an earlier job has begun for the phone, where the row's last job came to nothing.
fn begun_before(concluded: &Concluded, claim: Option<Claim>) -> Option<String> {
    match (concluded.ending, claim) {
        (Ending::NotDone(_), Some(Claim::Begun(job))) => {
            Some(format!("{} may have published for this phone, and only it can have the row", named(job)))
        }
        _ => None,
    }
}

fn named(job: Option<JobNumber>) -> String {
    job.map_or_else(|| "an earlier job".to_owned(), |job| format!("job {job}"))
}

fn join(parts: &[Option<&str>]) -> String {
    parts.iter().flatten().copied().collect::<Vec<_>>().join("; ")
}

fn table(ends: &[(RowLine<'_>, Exit)], screen: &Screen) {
    let heads = ["LINE", "LABEL", "PORT", "USER", "OUTCOME", "JOB"].map(str::to_owned);
    let cells: Vec<[String; 6]> = ends.iter().map(|(line, _)| cells(line)).collect();
    let widths: Vec<usize> = (0..heads.len())
        .map(|at| cells.iter().chain([&heads]).map(|row| row[at].chars().count()).max().unwrap_or_default())
        .collect();
    let text = |row: &[String; 6]| {
        let [line, label, port, user, outcome, job] = row;
        let [a, b, c, d, e, f] = widths[..] else { return String::new() };
        format!("{line:>a$}  {label:b$}  {port:c$}  {user:d$}  {outcome:e$}  {job:>f$}")
    };
    screen.blank();
    screen.heading(&text(&heads));
    for ((line, exit), row) in ends.iter().zip(&cells) {
        screen.row(&text(row));
        if *exit == Exit::Done {
            continue;
        }
        let indent = format!("{:1$}  ", "", widths[0]);
        let message = line.message.clone().unwrap_or_default();
        let next = line.next_step.as_ref().map(|next| format!("next: {next}")).unwrap_or_default();
        screen.columns(Tone::Plain, &indent, &dotted(&[message, next]));
    }
}

fn cells(line: &RowLine<'_>) -> [String; 6] {
    let mut outcome = line.outcome.replace('_', " ");
    if line.vouched == Some(false) {
        outcome.push_str(", unauthenticated");
    }
    [
        line.line.to_string(),
        line.label.unwrap_or_default().to_owned(),
        line.port.clone().unwrap_or_default(),
        line.user.to_string(),
        outcome,
        line.job.map(|job| job.to_string()).unwrap_or_default(),
    ]
}
