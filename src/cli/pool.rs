//! The pools that this computer is set up for.

use super::error::CliError;
use super::exit::Exit;
use super::screen::{Screen, Tone};
use super::settings::pools;
use super::setup;
use super::text::{count, dotted};
use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;
use std::path::PathBuf;
use tethercert::pool::{NamedPool, PoolFile, PoolName, Pools};
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
    /// Remove a configured pool, with the certificates kept for it
    Remove {
        /// The pool
        name: PoolName,
    },
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
struct RemovedLine<'a> {
    name: &'a PoolName,
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    let pools = pools()?;
    match args.command {
        Command::List => list(&pools, screen),
        Command::Show { name: Some(name) } => {
            show(&pools.load(&name)?, screen);
            Ok(Exit::Done)
        }
        Command::Show { name: None } => {
            for name in pools.names()? {
                show(&pools.load(&name)?, screen);
            }
            none(&pools, screen)
        }
        Command::Remove { name } => {
            pools.remove(&name)?;
            screen.toned(Tone::Good, "done", &format!("pool {name} is not configured any more"));
            screen.json("pool_removed", &RemovedLine { name: &name });
            Ok(Exit::Done)
        }
    }
}

fn list(pools: &Pools, screen: &Screen) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    for (name, pool) in pools.all()? {
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
        ("publish_tries", file.publish_tries.map(|it| it.to_string()), "as the program has it"),
        ("publish_wait_seconds", file.publish_wait_seconds.map(|it| it.to_string()), "as the program has it"),
    ];
    for (key, value, default) in rows {
        let text = value.unwrap_or_else(|| format!("{default} (default)"));
        screen.columns(Tone::Plain, &format!("{key:21}"), &text);
    }
    let anchors = format!("the system's, and {}", count(pool.anchors.len(), "certificate"));
    screen.columns(Tone::Plain, &format!("{:21}", "trust_anchors"), &anchors);
    for certificate in &pool.anchors {
        setup::show(certificate, if certificate.is_self_signed() { "root" } else { "CA" }, screen);
    }
}
