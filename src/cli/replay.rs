//! Recorded jobs, run again.

use super::error::CliError;
use super::exit::Exit;
use super::screen::{Screen, Tone};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::path::PathBuf;
use tethercert::recording::{ReplayError, Replayed, replay};

/// Run recorded jobs again, without phone and pool, and say what differs
///
/// The recorded phone and service answer what they answered then; every request has to be the one that was made then. A
/// recording is made by `provision --record FILE`. Exit code 1: one of them goes another way now.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Recording
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Line<'a> {
    file: String,
    same: bool,
    user: Option<&'a str>,
    outcome: Option<&'a str>,
    phone_asked: Option<usize>,
    service_asked: Option<usize>,
    difference: Option<DifferenceLine<'a>>,
}

#[derive(Serialize)]
struct DifferenceLine<'a> {
    line: Option<usize>,
    about: &'a str,
    at: Option<&'a str>,
    recorded: &'a str,
    now: &'a str,
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    for path in &args.files {
        let text = std::fs::read_to_string(path).map_err(|source| CliError::NotRead { path: path.clone(), source })?;
        let name = path.display().to_string();
        match replay(&text).await {
            Ok(replayed) => same(&name, &replayed, screen),
            Err(error @ ReplayError::Differs { .. }) => {
                differs(&name, &error, screen);
                exit = Exit::Failed;
            }
            Err(error) => return Err(CliError::Replay { path: path.clone(), source: Box::new(error) }),
        }
    }
    Ok(exit)
}

fn same(name: &str, replayed: &Replayed, screen: &Screen) {
    screen.json(
        "replayed",
        &Line {
            file: name.to_owned(),
            same: true,
            user: Some(&replayed.user),
            outcome: Some(&replayed.outcome),
            phone_asked: Some(replayed.phone),
            service_asked: Some(replayed.service),
            difference: None,
        },
    );
    screen.toned(Tone::Good, "same", name);
    let times = |number: usize| if number == 1 { "once".to_owned() } else { format!("{number} times") };
    let asked = format!(
        "asked as then: the phone {}, the service {}, a person {}",
        times(replayed.phone),
        times(replayed.service),
        times(replayed.person)
    );
    screen.line("", &asked);
    screen.line("", &replayed.outcome);
}

fn differs(name: &str, error: &ReplayError, screen: &Screen) {
    let ReplayError::Differs { difference, outcome } = error else { return };
    screen.json(
        "replayed",
        &Line {
            file: name.to_owned(),
            same: false,
            user: None,
            outcome: Some(outcome),
            phone_asked: None,
            service_asked: None,
            difference: Some(DifferenceLine {
                line: difference.line,
                about: &difference.about,
                at: difference.path.as_deref(),
                recorded: &difference.recorded,
                now: &difference.now,
            }),
        },
    );
    screen.toned(Tone::Bad, "differs", name);
    let line = difference.line.map(|line| format!("line {line}, ")).unwrap_or_default();
    let path = difference.path.as_ref().map(|path| format!(", at {path}")).unwrap_or_default();
    screen.line("", &format!("{line}{}{path}", difference.about));
    screen.line("then", &difference.recorded);
    screen.line("now", &difference.now);
    screen.line("next", &error.next_step());
}
