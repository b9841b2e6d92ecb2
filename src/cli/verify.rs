//! Is the phone as it should be?

use super::bench::{Bench, PhoneArgs, PoolArgs};
use super::discovery;
use super::error::CliError;
use super::exit::Exit;
use super::job::secret_from;
use super::operator::vouched;
use super::screen::{Screen, Tone};
use super::settings::Who;
use super::stop::stop_on_signals;
use super::text::{date, dotted, span};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::path::PathBuf;
use tethercert::phone::Authenticity;
use tethercert::provision::{Checkup, Grade, Proof, Rehearsed, SignInAsked, Standing, Stop, check_up};
use tethercert::service::ocauth::OcAuth;
use tethercert::service::server_trust::Compared;
use tethercert::world::World;
use time::OffsetDateTime;

/// By how much the phone's clock may be wrong, seconds.
const CLOCK_SECONDS: i64 = 60;
/// A certificate that ends sooner is worth a word.
const SOON: time::Duration = time::Duration::days(30);

/// Have a phone prove what it holds, and judge the pool through its eyes
///
/// Changes nothing. Each finding is good, bad or unknown; exit code 1 when one is bad.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Also sign the user in at the registrar, by the key in the phone, and off again
    ///
    /// The registration is made from here, with the certificate on the phone; the phone reads the handshake, judges the
    /// server itself and signs, once somebody there agrees.
    #[arg(long)]
    sign_in: bool,
    /// File whose first line is the phone's administrator code, for phones that want it before they sign
    #[arg(long, help_heading = "Phone", value_name = "FILE", requires = "sign_in")]
    admin_code_file: Option<PathBuf>,
    #[command(flatten)]
    pool: PoolArgs,
    #[command(flatten)]
    phone: PhoneArgs,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    text: String,
    /// The same for people, where it is more than a line.
    #[serde(skip)]
    lines: Vec<String>,
    next_step: Option<String>,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    Bad,
    Unknown,
}

#[derive(Serialize)]
struct OutcomeLine {
    outcome: &'static str,
    exit_code: u8,
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    let stop = Stop::default();
    let administrator_code = match args.admin_code_file {
        Some(path) => Some(secret_from(path, "the phone's administrator code".to_owned(), &stop).await?),
        None => None,
    };
    let bench = Bench::for_a_phone(&args.phone, screen).await?;
    let chosen = match bench.pool(&args.pool)? {
        Some(chosen) => Some(chosen),
        None => match discovery::for_looking(screen).await? {
            Some(found) => bench.pool_for(&args.pool, found.told(Who::default()))?,
            None => None,
        },
    };
    let found = bench.pick(args.phone.device.as_ref()).await?;
    let mut phone = bench.finder.open(&found).await?;
    let mut service = chosen.as_ref().map(|chosen| chosen.pool.enrolment());
    let mut listens = false;
    let mut tell = |waiting: &str| {
        // Somebody may have to press a key, and may not want to; before that a signal simply ends the command.
        if !std::mem::replace(&mut listens, true)
            && let Err(error) = stop_on_signals(stop.clone(), screen.clone())
        {
            screen.note(&error.to_string());
        }
        screen.start_spinner(format!("register: {waiting}"));
    };
    let sign_in = match (args.sign_in, &chosen) {
        (true, Some(chosen)) => Some(SignInAsked {
            rehearsal: chosen.rehearsal(bench.lab.as_ref()),
            administrator_code,
            tell: &mut tell,
            stop: stop.clone(),
        }),
        (true, None) | (false, _) => None,
    };
    let checkup = check_up::<_, OcAuth>(phone.driver(), service.as_mut(), sign_in, &World::system()).await;
    screen.stop_spinner();
    let checkup = checkup.map_err(CliError::from)?;
    let identity = &checkup.identity;
    let model = format!("{} {}", identity.maker, identity.model);
    screen.line("phone", &dotted(&[format!("port {}", found.slot()), model, identity.mac.to_string()]));

    let mut findings = findings(&checkup, OffsetDateTime::now_utc());
    if args.sign_in {
        findings.push(sign_in_finding(checkup.rehearsed.as_ref()));
        screen.json("rehearsal", &checkup.rehearsed);
    }
    for finding in &findings {
        screen.json("finding", finding);
        let (tone, word) = match finding.verdict {
            Verdict::Good => (Tone::Good, "good"),
            Verdict::Bad => (Tone::Bad, "bad"),
            Verdict::Unknown => (Tone::Unsure, "unknown"),
        };
        let mut lines = finding.lines.iter();
        let first = lines.next().unwrap_or(&finding.text);
        screen.toned(tone, word, &format!("{}: {first}", finding.check));
        lines.for_each(|line| screen.line("", line));
        if let Some(next) = &finding.next_step {
            screen.line("", &format!("next: {next}"));
        }
    }
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    let exit = if bad == 0 { Exit::Done } else { Exit::Failed };
    screen.json("outcome", &OutcomeLine { outcome: if bad == 0 { "good" } else { "bad" }, exit_code: exit.code() });
    Ok(exit)
}

fn findings(checkup: &Checkup, now: OffsetDateTime) -> Vec<Finding> {
    let finding = |check, verdict, text: String, next: Option<&str>| Finding {
        check,
        verdict,
        text,
        lines: Vec::new(),
        next_step: next.map(str::to_owned),
    };
    let mut findings = Vec::new();
    findings.push(match &checkup.authenticity {
        vouching @ (Authenticity::Maker { .. } | Authenticity::Code) => {
            finding("phone", Verdict::Good, vouched(vouching), None)
        }
        nothing @ Authenticity::Nothing { .. } => finding("phone", Verdict::Unknown, vouched(nothing), None),
    });
    findings.push(clock(checkup.state.clock, now));
    match &checkup.certificate {
        None => findings.push(finding(
            "identity",
            Verdict::Bad,
            "the phone holds none".to_owned(),
            Some("give it one: tethercert provision --user …"),
        )),
        Some((certificate, proof)) => {
            let user = checkup.state.identity.as_ref().map(|held| held.user.clone()).unwrap_or_default();
            findings.push(match proof {
                Proof::Given => {
                    let text =
                        format!("{user}; the phone signed our challenge ({})", certificate.fingerprint().short());
                    finding("identity", Verdict::Good, text, None)
                }
                Proof::Failed(error) => finding("identity", Verdict::Bad, error.to_string(), Some(&error.next_step())),
            });
            if let Some(refusal) = &checkup.refusal {
                let text = format!("not one to leave there: {refusal}");
                findings.push(finding("certificate", Verdict::Bad, text, Some(refusal.next_step())));
            }
            findings.push(dates(certificate.not_before(), certificate.not_after(), "this computer's clock", now));
            if let Some(clock) = checkup.state.clock {
                findings.push(dates(certificate.not_before(), certificate.not_after(), "the phone's clock", clock));
            }
        }
    }
    findings.push(match &checkup.server {
        None => finding(
            "server",
            Verdict::Unknown,
            "no pool was asked: none is configured, and discovery found none".to_owned(),
            Some("name the pool with --certprov-url to judge its chain through the phone's eyes"),
        ),
        Some(Err(error)) => {
            let text = match std::error::Error::source(error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            };
            finding("server", Verdict::Unknown, text, Some(&error.next_step()))
        }
        Some(Ok(judged)) => {
            let text = format!("{}: {}", judged.survey.host, judged.verdict.to_string().replace('\n', "; "));
            match judged.verdict.is_good() {
                true => finding("server", Verdict::Good, text, None),
                false => finding(
                    "server",
                    Verdict::Bad,
                    text,
                    Some("give the phone what it lacks: tethercert provision, with the same user"),
                ),
            }
        }
    });
    let Some(Ok(judged)) = &checkup.server else { return findings };
    for other in judged.servers.iter().skip(1) {
        let verdict = match other.standing {
            Standing::Trusted => Verdict::Good,
            Standing::NotTrusted => Verdict::Bad,
            Standing::Unknown => Verdict::Unknown,
        };
        let text = format!("{}: {}", other.server, other.text);
        findings.push(finding("server", verdict, text, other.next_step.as_deref()));
    }
    let named = match &judged.survey.named_root {
        Compared::Differs { how } => Some(how.as_str()),
        Compared::Agrees { .. } | Compared::Nothing => None,
    };
    let download = judged.survey.download.got().and_then(|chains| chains.contradiction());
    for how in named.into_iter().chain(download) {
        let text = format!("{how}; somebody may stand in between");
        let next = "compare the root's thumbprint with your administrator's";
        findings.push(finding("root", Verdict::Bad, text, Some(next)));
    }
    findings
}

fn sign_in_finding(rehearsed: Option<&Rehearsed>) -> Finding {
    let check = "sign-in";
    let Some(rehearsed) = rehearsed else {
        let next = "name the pool: --pool, or --certprov-url with --registrar".to_owned();
        let text = "no pool was asked".to_owned();
        return Finding { check, verdict: Verdict::Unknown, text, lines: Vec::new(), next_step: Some(next) };
    };
    let verdict = match rehearsed.grade {
        Grade::Good => Verdict::Good,
        Grade::Bad => Verdict::Bad,
        Grade::Unknown => Verdict::Unknown,
    };
    let (lines, next_step) = (rehearsed.said.clone(), rehearsed.next_step.clone());
    Finding { check, verdict, text: rehearsed.line(), lines, next_step }
}

fn clock(clock: Option<OffsetDateTime>, now: OffsetDateTime) -> Finding {
    let (verdict, text) = match clock {
        None => (Verdict::Bad, "never set".to_owned()),
        Some(clock) => {
            let ahead = (clock - now).whole_seconds();
            let direction = if ahead > 0 { "ahead of" } else { "behind" };
            match ahead.abs() {
                0..=CLOCK_SECONDS => (Verdict::Good, format!("within {} of this computer's", span(CLOCK_SECONDS))),
                _ => (Verdict::Bad, format!("{}, {} {direction} this computer's", date(clock), span(ahead))),
            }
        }
    };
    let next = "run tethercert provision, which sets it, or give the phone the time over its network (NTP)";
    let next_step = (verdict == Verdict::Bad).then(|| next.to_owned());
    Finding { check: "clock", verdict, text, lines: Vec::new(), next_step }
}

fn dates(from: OffsetDateTime, until: OffsetDateTime, whose: &str, now: OffsetDateTime) -> Finding {
    let both = format!("{} to {}", date(from), date(until));
    let (verdict, text, next) = match () {
        () if now < from => (Verdict::Bad, format!("{both}: not valid yet by {whose}"), Some("set that clock")),
        () if now > until => (Verdict::Bad, format!("{both}: over by {whose}"), Some("run tethercert provision")),
        () if now + SOON > until => {
            (Verdict::Good, format!("{both}: good by {whose}, and ends soon"), Some("run tethercert provision --renew"))
        }
        () => (Verdict::Good, format!("{both}: good by {whose}"), None),
    };
    Finding { check: "dates", verdict, text, lines: Vec::new(), next_step: next.map(str::to_owned) }
}
