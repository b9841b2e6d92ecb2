//! Every chain as its server presents it.

use super::super::bench::{Bench, BusArgs, PoolArgs};
use super::super::error::CliError;
use super::super::exit::Exit;
use super::super::screen::{Screen, Tone};
use super::{CertificateLine, OutcomeLine, card, collect, download, got, named_root, standing};
use clap::Args as ClapArgs;
use serde::Serialize;
use tethercert::credential::Certificate;
use tethercert::service::ocauth::Collected;
use tethercert::service::server_trust::{GotBy, Met, ServerFound};

/// Show the chain of every server, certificate by certificate, and what the root-chain download says
///
/// Exit code 1 when the download or the thumbprint contradicts, 7 when the Web Services cannot be reached.
#[derive(ClapArgs, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pool: PoolArgs,
    #[command(flatten)]
    bus: BusArgs,
}

#[derive(Serialize)]
struct ServerLine {
    host: String,
    port: u16,
    /// What this computer makes of it.
    standing: &'static str,
    reason: Option<String>,
    next_step: Option<&'static str>,
    tls: Option<String>,
    certificates: Vec<CertificateLine>,
    /// Names of the intermediates that a phone needs and the server does not send, as far as they are known.
    omits: Vec<String>,
}

pub(super) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    let bench = Bench::to_list(&args.bus, screen).await?;
    let (_, collected) = collect(&bench, &args.pool).await?;
    for server in collected.servers() {
        show(server, &collected, screen);
    }
    let agrees = [named_root(&collected, screen), download(&collected, screen)] == [true, true];
    let (outcome, exit) = match (&collected.web.met, agrees) {
        (_, false) => ("contradiction", Exit::Failed),
        (Met::Unreachable(error), true) if error.is_temporary() => ("unreachable", Exit::Temporary),
        (Met::Unreachable(_), true) => ("unreachable", Exit::Failed),
        (Met::Trusted(_) | Met::Distrusted { .. }, true) => ("shown", Exit::Done),
    };
    screen.json("outcome", &OutcomeLine { outcome, exit_code: exit.code() });
    Ok(exit)
}

fn show(server: &ServerFound, collected: &Collected, screen: &Screen) {
    let certificates = server.certificates(&collected.given);
    let omits = omits(&certificates);
    let (tone, text, next) = standing(server);
    let (word, reason) = match &server.met {
        Met::Trusted(_) => ("trusted", None),
        Met::Distrusted { reason, .. } => ("distrusted", Some(reason.to_string())),
        Met::Unreachable(error) => ("unreachable", Some(error.to_string())),
    };
    screen.json(
        "server",
        &ServerLine {
            host: server.host.clone(),
            port: server.port,
            standing: word,
            reason,
            next_step: next,
            tls: server.negotiated.as_ref().map(ToString::to_string),
            certificates: certificates.iter().map(|(it, got)| CertificateLine::of(it, Some(*got))).collect(),
            omits: omits.clone(),
        },
    );
    screen.toned(tone, "server", &text);
    if let Some(next) = next {
        screen.line("", &format!("next: {next}"));
    }
    for (number, (certificate, by)) in certificates.iter().enumerate() {
        card(number, certificate, got(*by), screen);
    }
    for name in &omits {
        let text = format!("{name}: a phone that fetches no intermediates cannot build this chain");
        screen.toned(Tone::Bad, "omits", &text);
        screen.line("", "next: have the server send it; a phone on the cable is given it by tethercert provision");
    }
}

/// What a phone needs besides a root and what the server sends.
fn omits(certificates: &[(Certificate, GotBy)]) -> Vec<String> {
    let missing = |by: GotBy| matches!(by, GotBy::Fetched | GotBy::Given);
    certificates.iter().filter(|(_, by)| missing(*by)).map(|(certificate, _)| certificate.label()).collect()
}
