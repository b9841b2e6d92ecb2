//! Jobs that did not come to their end.

use super::bench::{Bench, PhoneArgs, PoolArgs, host_label, ledger_path};
use super::error::CliError;
use super::exit::Exit;
use super::job::{Asked, Auth, Decisions, Desk, RetryArgs, Secrets, SignInArgs, Way};
use super::report;
use super::screen::{Screen, Tone};
use super::stop::stop_on_signals;
use super::text::{count, dotted};
use clap::{Args as ClapArgs, ValueEnum};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tethercert::credential::SipAddress;
use tethercert::ledger::{JobNumber, JobPhone, Ledger, LedgerError, Phase, State, Terms, Unfinished};
use tethercert::phone::{Again, Driver, Found, Parting, Phone};
use tethercert::pool::{Origin, Setting};
use tethercert::provision::{ProvisionError, Stop, bears_its_name, known_again, settle_locked};

/// Bring unfinished jobs to their end
///
/// Without a job: shows what is unfinished, and goes on with it where it is one job only. A job goes on under its own number
/// and with the options that it was begun with, unless others are given. The phone and then the service are asked how far
/// it got; what is published is installed and never published again. A password or PIN is needed only where nothing is
/// published yet.
///
/// Every job ends with an outcome: done, not done, unknown, or what is missing.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Number of the job, as `ledger show` has it
    #[arg(value_name = "JOB", conflicts_with = "all")]
    job: Option<u64>,
    /// Go on with every unfinished job, one after another
    #[arg(long)]
    all: bool,
    /// Ledger that holds the jobs [env: TETHERCERT_LEDGER] [default: in this user's data folder]
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Station of the ledger whose jobs are meant, where this computer had another name [default: this computer's name]
    #[arg(long, value_name = "NAME")]
    station: Option<String>,
    #[command(flatten)]
    as_user: SignInArgs,
    #[command(flatten)]
    pool: PoolArgs,
    #[command(flatten)]
    retry: RetryArgs,
    #[command(flatten)]
    phone: PhoneArgs,
}

/// An unfinished job of `--json`.
#[derive(Serialize)]
struct UnfinishedLine<'a> {
    /// Where it is another station's.
    #[serde(skip_serializing_if = "Option::is_none")]
    station: Option<&'a str>,
    job: JobNumber,
    user: &'a SipAddress,
    phone: Option<String>,
    serial: Option<&'a str>,
    mac: Option<&'a str>,
    state: &'static str,
    needs: Vec<String>,
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    let stop = Stop::default();
    stop_on_signals(stop.clone(), screen.clone())?;
    if args.phone.bus.lab {
        return Err(CliError::refused(
            "--lab is a world of its own: of an earlier lab nothing is left to resume",
            "leave out --lab; the jobs of `tethercert lab` are in the ledger that was named with it",
        ));
    }
    let ledger = open(&args, screen).await?;
    let unfinished = ledger.unfinished().await?;
    // Whose name was given, that one's jobs are meant.
    let elsewhere = if args.station.is_none() { ledger.unfinished_elsewhere().await? } else { Vec::new() };
    let jobs = match args.job.map(JobNumber::new) {
        Some(number) => match unfinished.into_iter().find(|job| job.job.job == number) {
            Some(job) => vec![job],
            None => return Err(not_unfinished(number, &elsewhere, &ledger).await),
        },
        None => {
            unfinished.iter().for_each(|job| show(job, None, screen));
            elsewhere.iter().for_each(|(station, job)| show(job, Some(station), screen));
            unfinished
        }
    };
    match jobs.len() {
        0 if !elsewhere.is_empty() => return Err(only_elsewhere(&elsewhere)),
        0 => {
            screen.toned(Tone::Good, "done", "no job is unfinished");
            return Ok(Exit::Done);
        }
        several if several > 1 && !args.all => {
            let what = format!("{} are unfinished, and which is meant was not said", count(several, "job"));
            return Err(ProvisionError::NeedsPerson { what, option: "its number, or --all for all" }.into());
        }
        _ => {}
    }
    let secrets = secrets(&args, &jobs, &stop).await?;
    let bench = Bench::for_a_phone(&args.phone, screen).await?;
    let desk = Desk { bench: &bench, ledger: &ledger, screen, stop: &stop };
    let mut ends = Vec::new();
    for job in &jobs {
        ends.push((job, go_on(job, &args, &secrets, &desk).await?));
    }
    let exit = match ends.as_slice() {
        [(_, exit)] if !args.all => *exit,
        all if all.iter().all(|(_, exit)| *exit == Exit::Done) => Exit::Done,
        _ => Exit::SomeFailed,
    };
    if args.all {
        summary(&ends, screen);
    }
    ledger.close().await;
    Ok(exit)
}

/// The ledger for the jobs that are meant, at this computer or at a station that is named.
async fn open(args: &Args, screen: &Screen) -> Result<Ledger, CliError> {
    let path = ledger_path(args.ledger.as_ref())?;
    let Some(station) = &args.station else { return Ok(Ledger::open_existing(&path, &host_label()).await?) };
    let ledger = Ledger::open_existing(&path, station).await?;
    if ledger.own_station().await?.is_none() {
        let known: Vec<String> = ledger.stations().await?.into_iter().map(|(_, label)| label).collect();
        return Err(CliError::usage(
            format!("the ledger has no station {station}"),
            format!("name one that it has: {}", known.join(", ")),
        ));
    }
    screen.note(&format!("these are the jobs of station {station}: they go on here, and in its part of the ledger"));
    Ok(ledger)
}

/// One job as it stands once no other process works on it; since it was listed, that may have changed.
async fn go_on(listed: &Unfinished, args: &Args, secrets: &Secrets, desk: &Desk<'_>) -> Result<Exit, CliError> {
    let job = listed.job.job;
    let _lock = match desk.ledger.lock(job).await {
        Ok(lock) => lock,
        Err(error @ LedgerError::AtWork { .. }) => return Ok(report::not_resumed(listed, &error.into(), desk.screen)),
        Err(error) => return Err(error.into()),
    };
    match desk.ledger.unfinished().await?.into_iter().find(|now| now.job.job == job) {
        Some(now) => Ok(end(&now, args, secrets, desk).await),
        None => report::ended_meanwhile(listed, desk.ledger, desk.screen).await,
    }
}

/// Brings one job to its end, and says what it is or what is missing.
async fn end(unfinished: &Unfinished, args: &Args, secrets: &Secrets, desk: &Desk<'_>) -> Exit {
    let tried = async {
        if desk.stop.is_asked() {
            return Err(ProvisionError::Stopped.into());
        }
        if let Some(settled) = settle_locked(unfinished, desk.ledger).await? {
            return Ok(report::settled(unfinished, &settled, desk.ledger, desk.screen).await);
        }
        let missing =
            || CliError::usage("the ledger does not say which phone it was", "run tethercert provision again");
        let of = unfinished.job.phone.as_ref().ok_or_else(missing)?;
        let (found, phone) = tokio::select! {
            opened = find(args, of, unfinished.job.job, desk.bench) => opened?,
            () = desk.stop.asked() => return Err(ProvisionError::Stopped.into()),
        };
        let asked = asked(unfinished, args, secrets, desk).await?;
        Ok::<_, CliError>(asked.work(Way::Resumed(unfinished), &found, phone, desk).await)
    };
    match tried.await {
        Ok(exit) => exit,
        Err(error) => report::not_resumed(unfinished, &error, desk.screen),
    }
}

/// The phone of a job among those that are plugged in, on whatever port: each is asked who it is.
async fn find(args: &Args, of: &JobPhone, job: JobNumber, bench: &Bench) -> Result<(Found, Phone), CliError> {
    let mut candidates = match &args.phone.device {
        Some(selector) => vec![bench.pick(Some(selector)).await?],
        None => bench.finder.list().await?,
    };
    candidates.retain(|found| found.spoken().is_some());
    // The one that looks right is asked first.
    candidates.sort_by_key(|found| found.attached.strings.serial.as_deref() != Some(of.serial.as_str()));
    let (mut claims, mut another, mut silent) = (None, None, None);
    for found in candidates {
        let (mut phone, identified) = match bench.finder.meet(&found).await {
            Ok(met) => met,
            Err(error) => {
                silent = Some(error);
                continue;
            }
        };
        match known_again(&identified, of) {
            Some(Again::Same) => return Ok((found, phone)),
            // Another may have the proof.
            Some(Again::NotProved) if claims.is_none() => claims = Some((found, phone)),
            again => {
                if let Some(Again::Another(difference)) = again {
                    another = Some(bears_its_name(of, job, difference));
                }
                // It was only asked for its name.
                let _ = phone.driver().leave(Parting::Leave).await;
            }
        }
    }
    if let Some(found) = claims {
        return Ok(found);
    }
    match another.or(silent) {
        Some(error) => Err(error.into()),
        None => Err(CliError::PhoneMissing { serial: of.serial.clone(), model: format!("{} {}", of.maker, of.model) }),
    }
}

/// The job as it was asked for, and what is said differently now.
async fn asked(unfinished: &Unfinished, args: &Args, secrets: &Secrets, desk: &Desk<'_>) -> Result<Asked, CliError> {
    let (mut sign_in, mut pool) = (args.as_user.clone(), args.pool.clone());
    let terms = unfinished.job.terms.as_ref();
    if let Some(terms) = terms {
        add_sign_in(&mut sign_in, terms);
        add_pool(&mut pool, terms)?;
    }
    let require_authentic = terms.is_some_and(|terms| terms.require_authentic);
    let decisions = Decisions {
        // The ledger says which phone it is, and the job had a yes to replace what the phone names still.
        yes: true,
        replace: true,
        // A phone that has made itself a new key for its sessions is vouched for only by a code compared anew.
        no_code: !require_authentic,
        require_authentic,
        parting: match terms.and_then(|terms| terms.parting.as_deref()) {
            Some("sign-in") => Some(Parting::SignIn),
            Some("restart") => Some(Parting::Restart),
            Some(_) | None => None,
        },
        ..Decisions::default()
    };
    let user = Setting::new(unfinished.job.user.clone(), Origin::Ledger);
    let said = (&sign_in, &args.retry, &pool);
    Asked::about(desk, &user, None, said, Some(secrets.clone()), decisions).await
}

fn add_sign_in(sign_in: &mut SignInArgs, terms: &Terms) {
    let begun = Auth::from_str(&terms.sign_in, true).ok();
    if sign_in.auth.is_none() {
        sign_in.auth = begun;
    }
    if sign_in.auth == begun {
        let account = if begun == Some(Auth::Pin) { &mut sign_in.phone_number } else { &mut sign_in.login };
        *account = account.take().or_else(|| terms.account.clone());
    }
}

/// Another pool that is given stands for itself.
fn add_pool(pool: &mut PoolArgs, terms: &Terms) -> Result<(), CliError> {
    if pool.pool.is_some() || pool.at.certprov_url.is_some() {
        return Ok(());
    }
    let at = &mut pool.at;
    pool.pool = option("pool", terms.pool.as_deref())?;
    at.certprov_url = Some(terms.web_services.clone());
    if at.registrar.is_none() {
        at.registrar = option("registrar", terms.registrar.as_deref())?;
    }
    if at.tls.is_none() {
        at.tls = option("tls", terms.tls.as_deref())?;
    }
    if at.proxy.is_none() {
        at.proxy = option("proxy", terms.proxy.as_deref())?;
    }
    if at.profile.is_none() {
        at.profile = terms.profile.as_ref().map(PathBuf::from);
    }
    if at.trust_anchor.is_empty() {
        at.trust_anchor = terms.trust_anchors.iter().map(PathBuf::from).collect();
    }
    if at.resolve.is_empty() {
        let kept = terms.resolve.iter().map(|text| option("resolve", Some(text)));
        at.resolve = kept.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    }
    if at.allow_host.is_empty() {
        at.allow_host.clone_from(&terms.allowed_hosts);
    }
    Ok(())
}

/// An option as the ledger has kept it.
fn option<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: Option<&str>) -> Result<Option<T>, CliError> {
    let wrong = |error: T::Err| {
        CliError::usage(format!("the ledger's --{name} cannot be read: {error}"), format!("give --{name}"))
    };
    text.map(|text| text.parse().map_err(wrong)).transpose()
}

/// A secret belongs to one user.
async fn secrets(args: &Args, jobs: &[Unfinished], stop: &Stop) -> Result<Secrets, CliError> {
    let given = &args.as_user;
    let personal = given.password_file.is_some() || given.pin_file.is_some();
    let personal = personal || given.login.is_some() || given.phone_number.is_some();
    let users: BTreeSet<&SipAddress> = jobs.iter().map(|job| &job.job.user).collect();
    if personal && users.len() > 1 {
        return Err(CliError::usage(
            format!("these options are one user's, and the jobs are of {}", count(users.len(), "user")),
            "resume each user's jobs by their numbers, or at a terminal, which asks for each",
        ));
    }
    let whose = users.first().map(ToString::to_string).unwrap_or_default();
    Secrets::read(given, &whose, stop).await
}

/// A job that is not unfinished, in words.
async fn not_unfinished(number: JobNumber, elsewhere: &[(String, Unfinished)], ledger: &Ledger) -> CliError {
    let own = ledger.own_station().await.ok().flatten();
    let jobs = ledger.jobs().await.unwrap_or_default();
    let job = jobs.iter().find(|job| job.job == number && Some(job.station) == own);
    match job.and_then(|job| job.end.as_ref().map(|end| (job, end))) {
        Some((job, end)) => CliError::usage(
            format!("job {number} has come to its end: {}", end.message),
            format!("to begin anew: tethercert provision --user {}", job.user),
        ),
        None => match elsewhere.iter().find(|(_, unfinished)| unfinished.job.job == number) {
            Some((station, _)) => CliError::usage(
                format!("there is no job {number} of this computer; station {station} has an unfinished one"),
                format!("to go on with that one here: tethercert resume {number} --station '{station}'"),
            ),
            None => CliError::usage(format!("there is no job {number}"), "see the numbers: tethercert ledger show"),
        },
    }
}

/// Nothing is left of this computer, as it is called now.
fn only_elsewhere(elsewhere: &[(String, Unfinished)]) -> CliError {
    let stations: BTreeSet<&str> = elsewhere.iter().map(|(station, _)| station.as_str()).collect();
    let each: Vec<String> = stations.iter().map(|station| format!("tethercert resume --station '{station}'")).collect();
    let stations = stations.into_iter().collect::<Vec<_>>().join(", ");
    CliError::NeedsPerson {
        message: format!(
            "no job of this computer ({}) is unfinished; the ledger has {} under another name: {stations}",
            host_label(),
            count(elsewhere.len(), "unfinished job")
        ),
        next: format!("if this computer was called so, or they are to end here: {}", each.join("; ")),
    }
}

fn show(unfinished: &Unfinished, station: Option<&str>, screen: &Screen) {
    let job = &unfinished.job;
    let phone = job.phone.as_ref();
    let needs = needs(unfinished);
    screen.json(
        "unfinished",
        &UnfinishedLine {
            station,
            job: job.job,
            user: &job.user,
            phone: phone.map(|phone| format!("{} {}", phone.maker, phone.model)),
            serial: phone.map(|phone| phone.serial.as_str()),
            mac: phone.and_then(|phone| phone.mac.as_deref()),
            state: state(unfinished),
            needs: needs.clone(),
        },
    );
    let needs =
        if needs.is_empty() { "needs nothing more".to_owned() } else { format!("needs {}", needs.join(" and ")) };
    let mut parts = vec![job.user.to_string(), card(unfinished), state(unfinished).to_owned(), needs];
    parts.extend(station.map(|station| format!("of station {station}")));
    screen.columns(Tone::Plain, &label(job.job), &dotted(&parts));
}

/// The phone of a job: `Acme Desk 2 LAB00001`.
fn card(unfinished: &Unfinished) -> String {
    let phone = unfinished.job.phone.as_ref();
    phone.map_or_else(|| "no phone".to_owned(), |phone| format!("{} {} {}", phone.maker, phone.model, phone.serial))
}

/// As wide as the number of a job usually is.
fn label(job: JobNumber) -> String {
    format!("job {job:<4}")
}

fn state(unfinished: &Unfinished) -> &'static str {
    if unfinished.at_work {
        return "at work now in another process";
    }
    match (unfinished.state, unfinished.transaction.as_ref().map(|transaction| transaction.phase)) {
        (State::NothingBegun, _) => "cut short before anything was begun",
        (State::Proved, _) => "proved, its end was not written",
        (State::Dropped, _) => "dropped by the phone, its end was not written",
        (State::Superseded(_), _) => "a later job has finished this phone",
        (State::Open, Some(Phase::PublishIntended | Phase::PublishUnknown)) => "perhaps published",
        (State::Open, Some(Phase::Published)) => "published, not on the phone",
        (State::Open, Some(Phase::CommitIntended | Phase::Committed)) => "published, perhaps on the phone",
        (State::Open, Some(Phase::PublishRefused)) => "not published, the phone has its key",
        (State::Open, _) => "begun in the phone, not published",
    }
}

/// What it takes to go on.
fn needs(unfinished: &Unfinished) -> Vec<String> {
    if unfinished.at_work {
        return vec!["to end there".to_owned()];
    }
    if unfinished.state != State::Open {
        return Vec::new();
    }
    let mut needs: Vec<String> = vec!["the phone".to_owned()];
    if unfinished.transaction.as_ref().is_none_or(|transaction| transaction.published.is_none()) {
        let terms = unfinished.job.terms.as_ref();
        let account = terms.and_then(|terms| terms.account.as_deref()).unwrap_or(unfinished.job.user.as_str());
        match terms.and_then(|terms| Auth::from_str(&terms.sign_in, true).ok()) {
            Some(Auth::Pin) => needs.push(format!("the PIN of {account}")),
            Some(Auth::Certificate) => {}
            Some(Auth::Ntlm | Auth::Negotiate | Auth::Basic) | None => needs.push(format!("the password of {account}")),
        }
    }
    if unfinished.job.terms.is_none() {
        needs.push("the options of the pool".to_owned());
    }
    needs
}

fn summary(ends: &[(&Unfinished, Exit)], screen: &Screen) {
    screen.blank();
    for (unfinished, exit) in ends {
        let (tone, word) = match exit {
            Exit::Done => (Tone::Good, "done"),
            Exit::Unknown => (Tone::Unsure, "unknown"),
            Exit::NotFound => (Tone::Unsure, "the phone is not plugged in"),
            Exit::Temporary => (Tone::Unsure, "not yet"),
            _ => (Tone::Bad, "not done"),
        };
        let text = dotted(&[word.to_owned(), unfinished.job.user.to_string(), card(unfinished)]);
        screen.columns(tone, &label(unfinished.job.job), &text);
    }
}
