//! All of it, for a technician.

use super::WhomArgs;
use super::lines;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::screen::{Screen, Tone};
use clap::Args as ClapArgs;
use tethercert::credential::SipAddress;
use tethercert::diagnose::Verdict;
use tethercert::discovery::{Discovered, REGISTRAR_PORT, find};

/// Find the pool as a phone does (what `discovery` alone does too)
#[derive(ClapArgs, Debug, Default)]
#[group(id = "find")]
pub(super) struct Args {
    /// User whose SIP domain DNS is asked for
    #[arg(long, value_name = "SIP-ADDRESS", conflicts_with = "domain")]
    user: Option<SipAddress>,
    /// SIP domain that DNS is asked for
    #[arg(long, value_name = "DOMAIN", value_parser = domain)]
    domain: Option<String>,
    /// Host that may be outside the SIP domain; may be repeated
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// Port of the registrar, where only its name is found
    #[arg(long, value_name = "PORT", default_value_t = REGISTRAR_PORT)]
    registrar_port: u16,
    /// Do not try whether names, ports and time servers answer
    #[arg(long)]
    no_connect: bool,
    #[command(flatten)]
    whom: WhomArgs,
}

/// A domain is what may stand behind the `@` of an address.
fn domain(text: &str) -> Result<String, &'static str> {
    let address: Result<SipAddress, _> = format!("anybody@{}", text.trim_end_matches('.')).parse();
    address.map(|address| address.domain().to_owned()).map_err(|_| "write it like contoso.example")
}

pub(super) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    let mut options = args.whom.options()?;
    options.domain = match (&args.user, args.domain) {
        (Some(user), _) => Some(user.domain().to_owned()),
        (None, domain) => domain,
    };
    options.allow_hosts = args.allow_host;
    options.registrar_port = args.registrar_port;
    options.reach = !args.no_connect;
    screen.start_spinner("asking DHCP and DNS servers".to_owned());
    let discovered = find(&options).await;
    screen.stop_spinner();
    lines::asked(&discovered, screen);
    lines::answers(&discovered, screen);
    lines::records(&discovered, screen);
    screen.blank();
    lines::findings(&discovered.findings, screen);
    let exit = exit(&discovered);
    lines::result(&discovered, args.user.as_ref(), exit, screen);
    if discovered.findings.is_empty() {
        screen.toned(Tone::Unsure, "unknown", "nobody was asked");
    }
    Ok(exit)
}

/// What is bad fails. Where nothing is, but the Web Services were not found either, somebody has to do the next step.
fn exit(discovered: &Discovered) -> Exit {
    match discovered.findings.iter().any(|finding| finding.verdict == Verdict::Bad) {
        true => Exit::Failed,
        false if discovered.web_services.is_none() => Exit::NeedsPerson,
        false => Exit::Done,
    }
}
