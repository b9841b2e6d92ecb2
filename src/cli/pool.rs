//! The pools that this computer is set up for.

use super::bench::{ChosenPool, PoolArgs};
use super::error::CliError;
use super::exit::Exit;
use super::screen::{Screen, Tone};
use super::settings::{PoolSettings, Who, pools};
use super::setup;
use super::text::{count, dotted};
use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;
use std::path::PathBuf;
use tethercert::pool::{NamedPool, PoolFile, PoolName, Pools, Read, Setting};
use tethercert::service::capture::{Capture, OperationFound, capture};
use tethercert::tls::Engine;

/// Look at the pools that this computer is set up for
///
/// `tethercert setup pool` configures one.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List the configured pools
    List,
    /// Show what a pool's file says, and what is left to the defaults
    Show {
        /// The pool [default: every one]
        name: Option<PoolName>,
    },
    Capture(Box<CaptureArgs>),
    /// Remove a configured pool, with the certificates kept for it
    Remove {
        /// The pool
        name: PoolName,
    },
}

/// Save what a pool says about itself to anybody, to learn what is not public
///
/// Gets the metadata of certificate provisioning and of the web ticket service (MEX, WSDL, XSD) over https and, for
/// certificate provisioning, over plain http, with the certificates of the servers. No credential is ever sent, and a server
/// that this computer does not trust is captured too.
#[derive(ClapArgs, Debug)]
struct CaptureArgs {
    /// Certificate provisioning service of the pool, or its host [default: the configured pool]
    #[arg(conflicts_with = "certprov_url")]
    url: Option<String>,
    /// Folder to write, new or empty
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Where the pool speaks plain http
    #[arg(long, value_name = "PORT", default_value_t = 80)]
    http_port: u16,
    #[command(flatten)]
    pool: PoolArgs,
}

#[derive(Serialize)]
struct PoolLine<'a> {
    name: &'a PoolName,
    file: &'a PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<&'a PoolFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_step: Option<String>,
}

#[derive(Serialize)]
struct CapturedLine<'a> {
    folder: &'a PathBuf,
    asked: usize,
    got: usize,
    trusted: bool,
    certprov_address: Option<&'a str>,
    pin_port: Option<&'a str>,
    pin_policy: Option<&'a str>,
    root_chain_operation: Option<&'a str>,
    error_types: Vec<&'a str>,
    sign_in_schemes: Vec<String>,
}

#[derive(Serialize)]
struct RemovedLine<'a> {
    name: &'a PoolName,
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    match args.command {
        Command::Capture(args) => capture_to(*args, screen).await,
        Command::List => list(&pools()?, screen),
        Command::Show { name: Some(name) } => {
            show(&pools()?.load(&name)?, screen);
            Ok(Exit::Done)
        }
        Command::Show { name: None } => {
            let pools = pools()?;
            for name in pools.names()? {
                show(&pools.load(&name)?, screen);
            }
            none(&pools, screen)
        }
        Command::Remove { name } => {
            pools()?.remove(&name)?;
            screen.toned(Tone::Good, "done", &format!("pool {name} is not configured any more"));
            screen.json("pool_removed", &RemovedLine { name: &name });
            Ok(Exit::Done)
        }
    }
}

async fn capture_to(args: CaptureArgs, screen: &Screen) -> Result<Exit, CliError> {
    Capture::may_write(&args.to)?;
    let address = args.url.map(|url| if url.contains("://") { url } else { format!("https://{url}") });
    let who = Who { certprov_url: Setting::of_option("URL", address), ..Who::default() };
    let settings = PoolSettings::of(&args.pool, who)?;
    let chosen = ChosenPool::of(settings, None, false, args.pool.explain, screen)?;
    let chosen = chosen.ok_or_else(|| {
        CliError::usage("no pool is configured", "name its host: tethercert pool capture web.contoso.example --to DIR")
    })?;
    screen.start_spinner(format!("asking {} what it says to anybody", chosen.pool.host()));
    let captured = capture(&chosen.pool, args.http_port).await;
    screen.stop_spinner();
    let captured = captured?;
    captured.write(&args.to)?;
    say_captured(&captured, &args.to, screen);
    Ok(Exit::Done)
}

/// Which of the points that are not public this closes.
fn say_captured(captured: &Capture, folder: &PathBuf, screen: &Screen) {
    let findings = &captured.findings;
    for server in &captured.servers {
        let place = format!("{}:{}", server.host, server.port);
        let text = match (&server.tls, &server.distrust) {
            (Ok(tls), None) => dotted(&[place.as_str(), tls, "trusted by this computer"]),
            (Ok(tls), Some(why)) => dotted(&[place.as_str(), tls, &format!("not trusted by this computer: {why}")]),
            (Err(error), _) => dotted(&[place.as_str(), &error.to_string()]),
        };
        screen.line("server", &text);
    }
    screen.line("got", &format!("{} of {} documents", captured.got(), captured.documents.len()));
    let ports: Vec<&str> = findings.ports.iter().map(|port| port.name.as_str()).collect();
    let action = |operation: &OperationFound| match &operation.action {
        Some(action) => format!("{} (SOAPAction {action})", operation.name),
        None => operation.name.clone(),
    };
    let types: Vec<String> =
        findings.error_types.iter().map(|it| format!("{} ({})", it.name, it.members.join(", "))).collect();
    let points = [
        ("ports", ports.join(", ")),
        ("publishing goes to", findings.certprov_address().unwrap_or_default().to_owned()),
        ("PIN port", findings.pin_port().map(|port| port.address.clone()).unwrap_or_default()),
        ("PIN policy", findings.pin_policy().unwrap_or_default().to_owned()),
        ("root chains", findings.root_chain_operation().map(action).unwrap_or_default()),
        ("ErrorInfo", types.join(", ")),
    ];
    for (point, found) in points {
        let (tone, text) = match found.is_empty() {
            true => (Tone::Unsure, "not in what was captured".to_owned()),
            false => (Tone::Plain, found),
        };
        screen.columns(tone, &format!("{point:20}"), &text);
    }
    screen.toned(Tone::Good, "done", &format!("in {}; it holds no credential", folder.display()));
    screen.line("next", "read README.txt there, look through the files, and send them as it says");
    let line = CapturedLine {
        folder,
        asked: captured.documents.len(),
        got: captured.got(),
        trusted: captured.servers.iter().all(|server| server.tls.is_ok() && server.distrust.is_none()),
        certprov_address: findings.certprov_address(),
        pin_port: findings.pin_port().map(|port| port.address.as_str()),
        pin_policy: findings.pin_policy(),
        root_chain_operation: findings.root_chain_operation().map(|operation| operation.name.as_str()),
        error_types: findings.error_types.iter().map(|it| it.name.as_str()).collect(),
        sign_in_schemes: captured.schemes(),
    };
    screen.json("captured", &line);
}

fn list(pools: &Pools, screen: &Screen) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    for Read { name, pool } in pools.all()? {
        let file = &pools.path(&name);
        let mut said = PoolLine { name: &name, file, settings: None, error: None, next_step: None };
        match &pool {
            Ok(pool) => {
                line(pool, screen);
                said.settings = Some(&pool.file);
                screen.json("pool", &said);
            }
            Err(error) => {
                exit = Exit::Failed;
                screen.toned(Tone::Bad, "pool", &dotted(&[name.as_str(), &error.to_string()]));
                screen.line("", &format!("next: {}", error.next_step()));
                (said.error, said.next_step) = (Some(error.to_string()), Some(error.next_step()));
                screen.json("pool", &said);
            }
        }
    }
    none(pools, screen)?;
    Ok(exit)
}

/// None is no error here.
fn none(pools: &Pools, screen: &Screen) -> Result<Exit, CliError> {
    if pools.names()?.is_empty() {
        screen.line("pool", "none is configured: tethercert setup pool NAME");
    }
    Ok(Exit::Done)
}

/// One line for a pool.
pub(crate) fn line(pool: &NamedPool, screen: &Screen) {
    let file = &pool.file;
    let host = url::Url::parse(&file.certprov_url).ok().and_then(|url| Some(url.host_str()?.to_owned()));
    let serves =
        if file.sip_domains.is_empty() { String::new() } else { format!("for {}", file.sip_domains.join(", ")) };
    let tls = if file.tls == Some(Engine::Legacy) { "old TLS (legacy)" } else { "" };
    screen.line("pool", &dotted(&[pool.name.as_str(), host.as_deref().unwrap_or_default(), &serves, tls]));
}

fn show(pool: &NamedPool, screen: &Screen) {
    let said =
        PoolLine { name: &pool.name, file: &pool.path, settings: Some(&pool.file), error: None, next_step: None };
    screen.json("pool", &said);
    line(pool, screen);
    screen.line("file", &pool.path.display().to_string());
    let file = &pool.file;
    let list = |values: Vec<String>| (!values.is_empty()).then(|| values.join(", "));
    let texts = |servers: &[tethercert::pool::HostAndPort]| list(servers.iter().map(ToString::to_string).collect());
    let rows = [
        ("certprov_url", Some(file.certprov_url.clone()), ""),
        ("registrar", file.registrar.as_ref().map(ToString::to_string), "as the phone finds it"),
        ("sip_domains", list(file.sip_domains.clone()), "any"),
        ("tls", file.tls.map(|tls| tls.to_string()), "modern"),
        ("proxy", file.proxy.as_ref().map(ToString::to_string), "system"),
        ("allow_hosts", list(file.allow_hosts.clone()), "the user's SIP domain and the pool's host"),
        ("resolve", list(file.resolve.iter().map(ToString::to_string).collect()), "as DNS says"),
        ("also_servers", texts(&file.also_servers), "none"),
        ("auth", file.auth.clone(), "ntlm"),
        ("login_domain", file.login_domain.clone(), "the login is the user's SIP address"),
        ("profile", file.profile.as_ref().map(|path| path.display().to_string()), "none"),
        ("publish_tries", file.publish_tries.map(|it| it.to_string()), "4"),
        ("publish_wait_seconds", file.publish_wait_seconds.map(|it| it.to_string()), "30"),
    ];
    for (key, value, default) in rows {
        let text = value.unwrap_or_else(|| format!("{default} (default)"));
        screen.columns(Tone::Plain, &format!("{key:21}"), &text);
    }
    let anchors = format!("the system's, and {}", count(pool.anchors.len(), "certificate"));
    screen.columns(Tone::Plain, &format!("{:21}", "trust_anchors"), &anchors);
    for certificate in &pool.anchors {
        setup::pool::show(certificate, if certificate.is_self_signed() { "root" } else { "CA" }, screen);
    }
}
