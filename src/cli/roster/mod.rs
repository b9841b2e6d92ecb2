//! `provision --roster`: many phones. Parses, lints, prints; the work is the station's.

mod clerk;
mod office;
mod orders;
mod refusal;
mod secrets;
mod summary;

use crate::cli::bench::{Bench, host_label, ledger_path};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::provision::{Args, decisions, refuse_real_in_lab};
use crate::cli::screen::{Screen, Tone};
use crate::cli::stop::stop_on_signals;
use crate::cli::text::{count, dotted};
use clap::Args as ClapArgs;
use office::Counter;
use orders::Orders;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tethercert::ledger::Ledger;
use tethercert::provision::Stop;
use tethercert::station::board::Past;
use tethercert::station::roster::{Draft, Finding, Row, Severity};
use tethercert::station::{Station, Until, look_up, settle_what_is_left};

/// Jobs that are done at the same time where nobody says otherwise: a phone mostly waits, and so does the pool.
const AT_ONCE: u16 = 16;

/// Many phones.
#[derive(ClapArgs, Debug)]
pub(crate) struct RosterArgs {
    /// Many phones: a CSV file with the columns mac, serial, port (one is enough), user, login, phone_number, label
    ///
    /// It is read and checked whole before anything is touched. A phone gets the row of which all keys fit; a row is never
    /// given to two phones, and what the ledger has as done is left alone. There is no secret in it: see --secrets.
    #[arg(long, help_heading = "Many phones", value_name = "FILE", conflicts_with_all = SINGLE)]
    pub(crate) roster: Option<PathBuf>,
    /// Go on until every row is done: unplug a phone that is through and plug the next one in
    #[arg(long, help_heading = "Many phones", requires = "roster", conflicts_with = "lint")]
    watch: bool,
    /// Only say what is wrong with the roster
    #[arg(long, help_heading = "Many phones", requires = "roster")]
    lint: bool,
    /// Folder with a file for each user, like alice@contoso.example.password or .pin [default: asked at the terminal]
    ///
    /// Folder and files have to be closed to everybody else (chmod 700 and 600).
    #[arg(long, help_heading = "Many phones", value_name = "DIR", requires = "roster")]
    secrets: Option<PathBuf>,
    /// Jobs that are done at the same time [default: 16]
    #[arg(long, help_heading = "Many phones", value_name = "N", requires = "roster",
        value_parser = clap::value_parser!(u16).range(1..=256))]
    at_once: Option<u16>,
}

/// What is about one phone has no place beside a roster.
const SINGLE: [&str; 6] = ["user", "login", "password_file", "phone_number", "pin_file", "device"];

#[derive(Serialize)]
struct LintedLine<'a> {
    roster: &'a str,
    rows: usize,
    errors: usize,
    warnings: usize,
}

#[derive(Serialize)]
struct BeginLine<'a> {
    roster: &'a str,
    rows: usize,
    done_before: usize,
    watch: bool,
    at_once: u16,
}

/// Works a roster through.
pub(crate) async fn run(path: &Path, args: &Args, screen: &Screen) -> Result<Exit, CliError> {
    let stop = Stop::default();
    stop_on_signals(stop.clone(), screen.clone())?;
    if args.phone.bus.lab {
        screen.mark_lab();
        refuse_real_in_lab(args)?;
    }
    let mut draft = Draft::read(path)?;
    let rows = draft.rows().len();
    let many = &args.many;
    let bench = match many.lint {
        true => Bench::to_lint(&args.phone.bus, rows, screen).await?,
        false => Bench::for_phones(&args.phone, rows, screen).await?,
    };
    let decisions = decisions(args);
    let (mut orders, findings) = Orders::of(draft.rows(), path, args, &decisions, &bench)?;
    findings.into_iter().for_each(|finding| draft.add(finding));
    if many.lint || draft.has_errors() {
        let all: Vec<&Row> = draft.rows().iter().collect();
        let missing = orders.read_secrets(&all, many.secrets.as_deref(), &bench)?;
        missing.into_iter().for_each(|finding| draft.add(finding));
        return linted(path, rows, draft.findings(), screen);
    }

    let ledger = match &bench.lab {
        Some(_) => Ledger::temporary(&host_label()).await?,
        None => Ledger::open(&ledger_path(args.ledger.as_ref())?, &host_label()).await?,
    };
    let past = look_up(draft.rows(), &ledger, orders.are_lab()).await?;
    let done = |past: &Past| matches!(past, Past::Done { .. }) && !decisions.renew;
    let open: Vec<&Row> = draft.rows().iter().zip(&past).filter(|(_, past)| !done(past)).map(|(row, _)| row).collect();
    let missing = match args.is_dry_run() {
        true => Vec::new(),
        false => orders.read_secrets(&open, many.secrets.as_deref(), &bench)?,
    };
    let needed: Vec<Row> = open.into_iter().cloned().collect();
    missing.into_iter().for_each(|finding| draft.add(finding));
    if draft.has_errors() {
        return linted(path, rows, draft.findings(), screen);
    }
    say(draft.findings(), screen);
    let Some(roster) = draft.approved() else { return Ok(Exit::Usage) };
    if !args.is_dry_run() {
        orders.ask_for_secrets(&needed, screen, &stop).await?;
    }
    let admin_code = orders::administrator_code(&args.as_user, &stop).await?;

    let roster = Arc::new(roster);
    let at_once = many.at_once.unwrap_or(AT_ONCE);
    let done_before = past.iter().filter(|past| done(past)).count();
    let line = BeginLine { roster: roster.name(), rows, done_before, watch: many.watch, at_once };
    screen.json("roster", &line);
    let before = if done_before > 0 { format!("{done_before} done before") } else { String::new() };
    screen.line("roster", &dotted(&[roster.name().to_owned(), count(rows, "row"), before]));
    let counter = Counter::new(rows, done_before, many.watch);
    let office = Arc::new(orders.office(Arc::clone(&roster), admin_code, counter, ledger.clone(), screen.clone()));
    let station = Station {
        finder: bench.finder.clone(),
        roster: Arc::clone(&roster),
        past,
        renew: decisions.renew,
        at_once: at_once.into(),
        ledger: ledger.clone(),
        office: Arc::clone(&office),
        stop: stop.clone(),
    };
    office.waits();
    let closing = station.run(if many.watch { Until::AllRowsAreDone } else { Until::PluggedInAreThrough }).await;
    office.end();
    let closing = closing?;
    if let Err(error) = settle_what_is_left(&closing.finished, &ledger).await {
        screen.note(&format!("earlier jobs of these phones keep their open end in the ledger: {error}"));
    }
    let exit = summary::tell(&roster, &closing, many.watch, screen);
    ledger.close().await;
    Ok(exit)
}

/// Says what was found.
fn say(findings: &[Finding], screen: &Screen) {
    for finding in findings {
        screen.json("finding", finding);
        let tone = if finding.severity == Severity::Error { Tone::Bad } else { Tone::Unsure };
        screen.columns(
            tone,
            &format!("{:9}", finding.severity.to_string()),
            &format!("{}: {}", finding.place, finding.message),
        );
    }
}

/// Says what was found, and how it stands with the roster: nothing else is done.
fn linted(path: &Path, rows: usize, findings: &[Finding], screen: &Screen) -> Result<Exit, CliError> {
    say(findings, screen);
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = findings.len() - errors;
    let name = path.display().to_string();
    if errors > 0 {
        return Err(CliError::usage(
            format!("the roster {name} has {}: nothing was begun", count(errors, "error")),
            "correct the file, and repeat the command",
        ));
    }
    screen.json("linted", &LintedLine { roster: &name, rows, errors, warnings });
    screen.toned(Tone::Good, "good", &dotted(&[name, count(rows, "row"), count(warnings, "warning")]));
    Ok(Exit::Done)
}
