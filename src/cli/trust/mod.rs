//! The server trust of a pool: what its servers present, what a phone makes of it, and the certificates themselves.

mod check;
mod fetch;
mod show;

use super::bench::{Bench, ChosenPool, PoolArgs};
use super::error::CliError;
use super::exit::Exit;
use super::screen::{Screen, Tone};
use super::text::{date, dotted};
use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;
use tethercert::credential::{Certificate, Fingerprint, Thumbprint};
use tethercert::service::ocauth::Collected;
use tethercert::service::server_trust::{Compared, Download, GotBy, Met, RootChains, ServerFound};
use time::OffsetDateTime;

/// Show, check and fetch the server trust of a pool
///
/// Looks at the Web Services, the registrar and every further server that is given, without any credential, and changes
/// nothing anywhere.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Show(Box<show::Args>),
    Check(Box<check::Args>),
    Fetch(Box<fetch::Args>),
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    match args.command {
        Command::Show(args) => show::run(*args, screen).await,
        Command::Check(args) => check::run(*args, screen).await,
        Command::Fetch(args) => fetch::run(*args, screen).await,
    }
}

/// A certificate as JSON has it.
#[derive(Serialize)]
struct CertificateLine {
    name: String,
    subject: String,
    issuer: String,
    sha1: Thumbprint,
    sha256: Fingerprint,
    #[serde(with = "time::serde::rfc3339")]
    not_before: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    not_after: OffsetDateTime,
    key: String,
    signature: String,
    self_signed: bool,
    ca: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    got_by: Option<GotBy>,
}

impl CertificateLine {
    fn of(certificate: &Certificate, got_by: Option<GotBy>) -> Self {
        Self {
            name: certificate.label(),
            subject: certificate.subject().to_owned(),
            issuer: certificate.issuer().to_owned(),
            sha1: certificate.sha1_thumbprint(),
            sha256: certificate.fingerprint(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            key: certificate.key_kind().to_string(),
            signature: certificate.signature_algorithm().to_string(),
            self_signed: certificate.is_self_signed(),
            ca: certificate.is_ca(),
            got_by,
        }
    }
}

#[derive(Serialize)]
struct OutcomeLine {
    outcome: &'static str,
    exit_code: u8,
}

/// The pool that is meant, and everything that its servers show.
async fn collect(bench: &Bench, args: &PoolArgs) -> Result<(ChosenPool, Collected), CliError> {
    let chosen = bench.pool(args)?.ok_or_else(|| {
        CliError::usage(
            "the pool is not known",
            "name it with --pool, or give its address: --certprov-url https://web.contoso.example/CertProv/CertProvisioningService.svc",
        )
    })?;
    let collected = chosen.pool.collect().await;
    Ok((chosen, collected))
}

/// How a certificate was got, in words.
fn got(by: GotBy) -> &'static str {
    match by {
        GotBy::Handshake => "sent by the server",
        GotBy::Fetched => "not sent; fetched from the address in the certificate (AIA)",
        GotBy::Given => "not sent; given with --trust-anchor",
        GotBy::Anchor => "a trust anchor of this computer",
    }
}

/// What this computer makes of a server, in words, with the next step where there is one.
fn standing(server: &ServerFound) -> (Tone, String, Option<&'static str>) {
    let tls = server.negotiated.as_ref().map(|it| it.version.clone()).unwrap_or_default();
    match &server.met {
        Met::Trusted(_) => (Tone::Good, dotted(&[server.address(), tls, "this computer trusts it".into()]), None),
        Met::Distrusted { reason, .. } => {
            let text = format!("this computer does not trust it: {reason}");
            (Tone::Bad, dotted(&[server.address(), tls, text]), Some(reason.next_step()))
        }
        Met::Unreachable(error) => {
            let causes = super::error::causes(&**error);
            let text = std::iter::once(error.to_string()).chain(causes).collect::<Vec<_>>().join(": ");
            (
                Tone::Unsure,
                dotted(&[server.address(), format!("its chain is unknown: {text}")]),
                Some(error.next_step()),
            )
        }
    }
}

/// The comparison of the download, as JSON has it.
#[derive(Serialize)]
struct DownloadLine {
    asked: bool,
    url: Option<String>,
    error: Option<String>,
    roots: Vec<CertificateLine>,
    intermediates: Vec<CertificateLine>,
    ignored: Vec<String>,
    https: Option<&'static str>,
    thumbprint: Option<&'static str>,
    contradiction: Option<String>,
}

fn word(compared: &Compared) -> &'static str {
    match compared {
        Compared::Agrees { sure: true, .. } => "agrees",
        Compared::Agrees { sure: false, .. } => "agrees_unauthenticated",
        Compared::Differs { .. } => "differs",
        Compared::Nothing => "nothing",
    }
}

/// Says what came of the download and how it compares. Whether nothing contradicts.
fn download(collected: &Collected, screen: &Screen) -> bool {
    let url = match &collected.download {
        Download::NotAsked => None,
        Download::Failed { url, .. } => Some(url.clone()),
        Download::Got(chains) => Some(chains.url.clone()),
    };
    let error = match &collected.download {
        Download::Failed { error, .. } => {
            let causes = super::error::causes(&**error);
            Some(std::iter::once(error.to_string()).chain(causes).collect::<Vec<_>>().join(": "))
        }
        Download::NotAsked | Download::Got(_) => None,
    };
    let chains = collected.download.got();
    let lines = |certificates: &[Certificate]| certificates.iter().map(|it| CertificateLine::of(it, None)).collect();
    screen.json(
        "download",
        &DownloadLine {
            asked: url.is_some(),
            url: url.clone(),
            error: error.clone(),
            roots: chains.map(|it| lines(&it.bag.roots)).unwrap_or_default(),
            intermediates: chains.map(|it| lines(&it.bag.intermediates)).unwrap_or_default(),
            ignored: chains.map(|it| it.bag.ignored.clone()).unwrap_or_default(),
            https: chains.map(|it| word(&it.https)),
            thumbprint: chains.map(|it| word(&it.thumbprint)),
            contradiction: chains.and_then(|it| it.contradiction()).map(str::to_owned),
        },
    );
    match (&collected.download, url, error) {
        (Download::Failed { error, .. }, Some(url), Some(text)) => {
            screen.toned(Tone::Unsure, "http", &format!("{url}: {text}"));
            screen.line("", &format!("next: {}", error.next_step()));
            true
        }
        (Download::Got(chains), ..) => compared(chains, screen),
        _ => {
            screen.line(
                "http",
                "the root-chain download was not asked for: its message is not public, and no profile names it",
            );
            true
        }
    }
}

fn compared(chains: &RootChains, screen: &Screen) -> bool {
    let named = |certificates: &[Certificate]| {
        let names: Vec<String> = certificates.iter().map(Certificate::label).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let held = format!("roots {}", named(&chains.bag.roots));
    let between = format!("intermediates {}", named(&chains.bag.intermediates));
    screen.line("http", &dotted(&[chains.url.clone(), held, between]));
    for ignored in &chains.bag.ignored {
        screen.line("", &format!("left out: {ignored}"));
    }
    for (with, compared) in [("the https chain", &chains.https), ("the thumbprint given", &chains.thumbprint)] {
        match compared {
            Compared::Agrees { root, sure: true } => {
                screen.toned(Tone::Good, "good", &format!("agrees with {with}: {}", root.label()));
            }
            Compared::Agrees { root, sure: false } => screen.toned(
                Tone::Unsure,
                "unknown",
                &format!("agrees with {with} ({}), which nothing vouches for here either", root.label()),
            ),
            Compared::Differs { how } => {
                screen.toned(Tone::Bad, "bad", &format!("contradicts {with}: {how}"));
                screen.line("", "somebody may stand in between; nothing of the download is used");
            }
            Compared::Nothing => {}
        }
    }
    chains.contradiction().is_none()
}

/// Says whether the thumbprint that was given is the root's. Whether nothing contradicts.
fn named_root(collected: &Collected, screen: &Screen) -> bool {
    match &collected.named_root {
        Compared::Agrees { root, .. } => {
            screen.toned(Tone::Good, "good", &format!("the root {} has the thumbprint given", root.label()));
            true
        }
        Compared::Differs { how } => {
            screen.toned(Tone::Bad, "bad", &format!("{how}; somebody may stand in between"));
            false
        }
        Compared::Nothing => true,
    }
}

/// One certificate in full, for people.
fn card(number: usize, certificate: &Certificate, how: &str, screen: &Screen) {
    screen.line(&format!("  {number}"), &dotted(&[certificate.label(), how.to_owned()]));
    let dates = format!("{} to {}", date(certificate.not_before()), date(certificate.not_after()));
    for (label, text) in [
        ("subject", certificate.subject().to_owned()),
        ("issuer", certificate.issuer().to_owned()),
        ("SHA-1", certificate.sha1_thumbprint().to_string()),
        ("SHA-256", Thumbprint::Sha256(certificate.fingerprint()).to_string()),
        ("dates", dates),
        ("key", dotted(&[certificate.key_kind().to_string(), certificate.signature_algorithm().to_string()])),
    ] {
        // A SHA-256 has to fit beside its label.
        screen.columns(Tone::Plain, &format!("  {label:8}"), &text);
    }
}
