//! A pool's servers through the eyes of one phone, or of a model whose roots are a list.

use super::super::bench::{Bench, PhoneArgs, PoolArgs};
use super::super::error::CliError;
use super::super::exit::Exit;
use super::super::info::sure;
use super::super::operator::vouched;
use super::super::screen::{Screen, Tone};
use super::super::text::{count, date, dotted, span};
use super::{CertificateLine, OutcomeLine, collect, download, named_root};
use clap::Args as ClapArgs;
use serde::Serialize;
use tethercert::credential::{Certificate, ServerChain, Thumbprint};
use tethercert::phone::Found;
use tethercert::phone::anchors::{AnchorList, Firmware, Likelihood};
use tethercert::phone::definition::Definition;
use tethercert::provision::{ServerChecked, Standing, TrustChecked, check_trust};
use tethercert::service::ocauth::Collected;
use tethercert::service::server_trust::{Met, ServerFound};
use time::OffsetDateTime;

/// By how much the phone's clock may be wrong, seconds.
const CLOCK_SECONDS: i64 = 60;

/// Judge every server through the eyes of a phone on the cable, or of a model whose roots are known from a list
///
/// Says for each server whether the phone trusts it, what it lacks, and what an administrator can paste at the server.
/// Exit code 0 only when all is good; 1 when something is bad or cannot be known; 7 when a server could not be reached.
#[derive(ClapArgs, Debug)]
pub(super) struct Args {
    /// Model to judge for without a phone, by its definition's name: polycom-cx600
    #[arg(long, help_heading = "Phone", value_name = "NAME", conflicts_with = "device")]
    model: Option<String>,
    /// Firmware of that model, like 4.0.7577.4512
    #[arg(long, help_heading = "Phone", value_name = "VERSION")]
    firmware: Option<Firmware>,
    #[command(flatten)]
    pool: PoolArgs,
    #[command(flatten)]
    phone: PhoneArgs,
}

/// One thing that was judged. The worse, the greater.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    /// A fact for which there is nothing to compare here.
    Note,
    Unreachable,
    Unknown,
    Bad,
}

#[derive(Serialize)]
struct Finding {
    check: &'static str,
    subject: String,
    verdict: Verdict,
    text: String,
    next_step: Option<String>,
    /// What the phone would have to be given.
    lacks: Vec<Lacking>,
}

/// A certificate that a phone lacks, and how a pool hands it to phones that ask the Web Services.
#[derive(Serialize)]
struct Lacking {
    certificate: CertificateLine,
    /// The argument `-CAStore` of `New-CsWebTrustedCACertificate` (confirmed: its documentation).
    store: &'static str,
    commands: [String; 2],
}

impl Lacking {
    fn new(certificate: &Certificate, store: &'static str) -> Self {
        let thumbprint: Thumbprint = certificate.sha1_thumbprint();
        Self {
            certificate: CertificateLine::of(certificate, None),
            store,
            commands: [
                format!("$ca = New-CsWebTrustedCACertificate -Thumbprint {thumbprint} -CAStore {store}"),
                "Set-CsWebServiceConfiguration -Identity Global -TrustedCACerts @{Add=$ca}".to_owned(),
            ],
        }
    }

    fn all(anchors: &[Certificate], intermediates: &[Certificate]) -> Vec<Self> {
        let anchors = anchors.iter().map(|it| Self::new(it, "TrustedRootCA"));
        anchors.chain(intermediates.iter().map(|it| Self::new(it, "IntermediateCA"))).collect()
    }
}

pub(super) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    if args.firmware.is_some() && args.model.is_none() {
        return Err(CliError::usage("--firmware belongs to --model", "name the model too: --model polycom-cx600"));
    }
    let bench = match &args.model {
        Some(_) => Bench::to_list(&args.phone.bus, screen).await?,
        None => Bench::for_a_phone(&args.phone, screen).await?,
    };
    let findings = match &args.model {
        Some(name) => by_list(&bench, model(&bench, name)?, args.firmware.as_ref(), &args.pool, screen).await?,
        None => {
            let found = bench.pick(args.phone.device.as_ref()).await?;
            let listed = match &found.models[..] {
                // Nobody can read back what it holds: the list is all there is.
                [only] if found.spoken().is_none() => bench.finder.definitions.anchors(only).map(|list| (only, list)),
                _ => None,
            };
            match listed {
                Some(listed) => by_list(&bench, listed, None, &args.pool, screen).await?,
                None => by_phone(&bench, &found, &args.pool, screen).await?,
            }
        }
    };
    tell(&findings, screen);
    let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Good);
    let (outcome, exit) = match worst {
        Verdict::Good | Verdict::Note => ("good", Exit::Done),
        Verdict::Unreachable => ("unknown", Exit::Temporary),
        Verdict::Unknown => ("unknown", Exit::Failed),
        Verdict::Bad => ("bad", Exit::Failed),
    };
    screen.json("outcome", &OutcomeLine { outcome, exit_code: exit.code() });
    Ok(exit)
}

fn model<'a>(bench: &'a Bench, name: &str) -> Result<(&'a Definition, &'a AnchorList), CliError> {
    let definitions = &bench.finder.definitions;
    let listed = definitions.iter().filter(|it| definitions.anchors(it).is_some()).map(|it| it.name.as_str());
    let names = listed.collect::<Vec<_>>().join(", ");
    let Some(definition) = definitions.get(name) else {
        return Err(CliError::usage(format!("no model is called {name}"), format!("name one of {names}")));
    };
    definitions.anchors(definition).map(|list| (definition, list)).ok_or_else(|| {
        CliError::usage(
            format!("there is no list of the roots that a {name} holds"),
            format!("plug the phone in and leave out --model, or name one of {names}"),
        )
    })
}

/// What stands above all servers: the thumbprint and the download.
async fn servers(bench: &Bench, args: &PoolArgs, screen: &Screen) -> Result<(Collected, Vec<Finding>), CliError> {
    let (_, collected) = collect(bench, args).await?;
    let mut findings = Vec::new();
    for (check, agrees) in [("thumbprint", named_root(&collected, screen)), ("download", download(&collected, screen))]
    {
        if !agrees {
            findings.push(Finding {
                check,
                subject: collected.web.host.clone(),
                verdict: Verdict::Bad,
                text: "contradicts what is authenticated: somebody may stand in between".to_owned(),
                next_step: Some("compare the root's thumbprint with your administrator's".to_owned()),
                lacks: Vec::new(),
            });
        }
    }
    Ok((collected, findings))
}

async fn by_phone(bench: &Bench, found: &Found, args: &PoolArgs, screen: &Screen) -> Result<Vec<Finding>, CliError> {
    let mut phone = bench.finder.open(found).await?;
    let (collected, mut findings) = servers(bench, args, screen).await?;
    let all: Vec<ServerFound> = collected.servers().cloned().collect();
    let now = OffsetDateTime::now_utc();
    let checked = check_trust(phone.driver(), &all, &collected.download, now).await?;
    let TrustChecked { identity, authenticity, clock, anchors, expired, servers } = checked;
    let model = format!("{} {}", identity.maker, identity.model);
    screen
        .line("phone", &dotted(&[format!("port {}", found.slot()), model, format!("firmware {}", identity.firmware)]));
    screen.line("", &dotted(&[vouched(&authenticity), count(anchors, "trust anchor")]));
    let finding = |check, subject: &str, verdict, text: String, next: Option<&str>| Finding {
        check,
        subject: subject.to_owned(),
        verdict,
        text,
        next_step: next.map(str::to_owned),
        lacks: Vec::new(),
    };
    let next = Some("run tethercert provision, which sets it, or give the phone the time over its network (NTP)");
    let off = clock.map(|clock| (clock - now).whole_seconds());
    findings.push(match off {
        None => finding("clock", "phone", Verdict::Bad, "never set; judged here by the right time".into(), next),
        Some(off) if off.abs() > CLOCK_SECONDS => {
            let text = format!("{} wrong; judged here by the right time", span(off));
            finding("clock", "phone", Verdict::Bad, text, next)
        }
        Some(_) => finding("clock", "phone", Verdict::Good, "right".into(), None),
    });
    findings.extend(expired.into_iter().map(|root| {
        let text =
            format!("its root {root}: the phone trusts nothing by it (that it looks at a root's end is assumed)");
        finding("root", "phone", Verdict::Note, text, None)
    }));
    findings.extend(servers.iter().map(server));
    Ok(findings)
}

fn server(checked: &ServerChecked) -> Finding {
    let judgement = &checked.judgement;
    let (verdict, text) = match judgement.standing {
        Standing::Trusted => (Verdict::Good, judgement.text.trim_start_matches("good: ").to_owned()),
        Standing::NotTrusted => (Verdict::Bad, judgement.text.trim_start_matches("refused: ").to_owned()),
        Standing::Unknown => (Verdict::Unreachable, format!("its chain is unknown: {}", judgement.text)),
    };
    let (lacks, next_step) = match &checked.remedy {
        // What a server does not send, the phone has.
        _ if judgement.standing == Standing::Trusted => (Vec::new(), judgement.next_step.clone()),
        Some(Ok(remedy)) if !remedy.is_empty() => (
            Lacking::all(&remedy.anchors, &remedy.intermediates),
            Some("give the phone what it lacks over the cable: tethercert provision".to_owned()),
        ),
        Some(Err(error)) => (Vec::new(), Some(error.next_step().to_owned())),
        Some(Ok(_)) | None => (Vec::new(), judgement.next_step.clone()),
    };
    Finding { check: "server", subject: judgement.server.clone(), verdict, text, next_step, lacks }
}

async fn by_list(
    bench: &Bench,
    (definition, list): (&Definition, &AnchorList),
    firmware: Option<&Firmware>,
    args: &PoolArgs,
    screen: &Screen,
) -> Result<Vec<Finding>, CliError> {
    let (collected, mut findings) = servers(bench, args, screen).await?;
    let model = format!("{} {}", definition.maker, definition.model);
    let firmware_text = firmware.map_or_else(|| "any firmware".to_owned(), |it| format!("firmware {it}"));
    screen.line("model", &dotted(&[model.clone(), firmware_text]));
    let roots = count(list.anchors.len(), "root");
    let whence = format!("({}: {})", sure(list.confidence), list.source);
    screen.line("", &format!("judged by a list of {roots}: {} {whence}", list.says));
    let now = OffsetDateTime::now_utc();
    findings.extend(collected.servers().map(|found| listed(found, &collected, list, now)));
    findings.extend(list.limits_of(firmware).map(|limit| {
        // Of the facts only one that a given firmware falls under says something about this phone.
        let decides = limit.firmware_below.is_some() && firmware.is_some();
        let (verdict, next) = match decides {
            true => (Verdict::Bad, Some("update the phone's firmware".to_owned())),
            false => (Verdict::Note, None),
        };
        let says = match (&limit.firmware_below, decides) {
            (Some(below), false) => format!("firmware older than {below}: {}", limit.says),
            _ => limit.says.clone(),
        };
        Finding {
            check: "limit",
            subject: model.clone(),
            verdict,
            text: format!("{says} ({}: {})", sure(limit.confidence), limit.source),
            next_step: next,
            lacks: Vec::new(),
        }
    }));
    Ok(findings)
}

fn listed(found: &ServerFound, collected: &Collected, list: &AnchorList, now: OffsetDateTime) -> Finding {
    let subject = found.address();
    if let Met::Unreachable(error) = &found.met {
        return Finding {
            check: "server",
            subject,
            verdict: Verdict::Unreachable,
            text: format!("its chain is unknown: {error}"),
            next_step: Some(error.next_step().to_owned()),
            lacks: Vec::new(),
        };
    }
    let read = |ders: &[Vec<u8>]| -> Vec<Certificate> {
        ders.iter().filter_map(|der| Certificate::from_der(der).ok()).collect()
    };
    let (presented, mut known) = (read(found.presented()), read(found.completed()));
    known.extend(collected.download.got().map(|chains| chains.hints().to_vec()).unwrap_or_default());
    let chain = ServerChain { names: vec![found.host.clone()], presented, known };
    let verdict = list.judge(&chain, now);
    let (verdict, text) = match verdict.likelihood {
        Likelihood::ProbablyTrusted => (Verdict::Good, format!("probably trusted: {}", verdict.text)),
        Likelihood::Unknown => (Verdict::Unknown, verdict.text),
        Likelihood::NotTrusted => (Verdict::Bad, format!("not trusted: {}", verdict.text)),
    };
    let lacks = match verdict {
        Verdict::Good => Vec::new(),
        _ => lacking(found),
    };
    let next_step = match (verdict, lacks.is_empty()) {
        (Verdict::Good, _) => None,
        (_, false) => {
            Some("have every server send its intermediates, and the pool offer the CAs below to phones".to_owned())
        }
        (_, true) => Some("look at the chain with tethercert trust show".to_owned()),
    };
    Finding { check: "server", subject, verdict, text, next_step, lacks }
}

/// The root at the top of a chain that this computer trusts, and the intermediates that the server does not send.
fn lacking(found: &ServerFound) -> Vec<Lacking> {
    let completed: Vec<Certificate> =
        found.completed().iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
    let Some((root, between)) = completed.split_last() else { return Vec::new() };
    Lacking::all(std::slice::from_ref(root), between)
}

fn tell(findings: &[Finding], screen: &Screen) {
    for finding in findings {
        screen.json("finding", finding);
        let (tone, word) = match finding.verdict {
            Verdict::Good => (Tone::Good, "good"),
            Verdict::Note => (Tone::Plain, "note"),
            Verdict::Unreachable | Verdict::Unknown => (Tone::Unsure, "unknown"),
            Verdict::Bad => (Tone::Bad, "bad"),
        };
        let about = match finding.check {
            "server" => format!("{}: ", finding.subject),
            "limit" | "root" => String::new(),
            check => format!("{check}: "),
        };
        screen.toned(tone, word, &format!("{about}{}", finding.text));
        for lacking in &finding.lacks {
            let what = if lacking.store == "TrustedRootCA" { "root" } else { "intermediate" };
            let until = date(lacking.certificate.not_after);
            let name = format!("lacks the {what} {}", lacking.certificate.name);
            screen.line("", &dotted(&[name, format!("SHA-1 {}", lacking.certificate.sha1), format!("until {until}")]));
        }
        if let Some(next) = &finding.next_step {
            screen.line("", &format!("next: {next}"));
        }
    }
    let mut commands: Vec<&str> = Vec::new();
    for [make, add] in findings.iter().flat_map(|finding| &finding.lacks).map(|lacking| &lacking.commands) {
        if !commands.contains(&make.as_str()) {
            commands.extend([make.as_str(), add.as_str()]);
        }
    }
    if commands.is_empty() {
        return;
    }
    screen.line(
        "pool",
        "for phones that ask the Web Services for their root chains (PIN, Ethernet), an administrator pastes; it is without \
         effect where InferCertChainFromSSL is True:",
    );
    screen.blank();
    screen.command(&commands.join("\n"));
}
