//! Discovery for a job that was told no pool.
//!
//! Whoever answers DHCP first is believed by phones. A person is not a phone: what is outside the user's SIP domain gets no
//! credential before somebody at the keyboard has agreed to it, and where nobody is there it gets none.

use super::{WhomArgs, lines};
use crate::cli::ask::Person;
use crate::cli::bench::PoolOptions;
use crate::cli::error::CliError;
use crate::cli::screen::Screen;
use crate::cli::settings::Who;
use serde::Serialize;
use tethercert::credential::SipAddress;
use tethercert::discovery::dns::AskDns;
use tethercert::discovery::{Discovered, Options, Trouble, find};
use tethercert::pool::{HostAndPort, Origin, Setting};
use tethercert::provision::Stop;

/// Keeps commands from looking for a pool.
const DISCOVERY: &str = "TETHERCERT_DISCOVERY";

/// A pool that was found.
pub(crate) struct FoundPool {
    pub(crate) certprov_url: Setting<String>,
    pub(crate) registrar: Option<Setting<HostAndPort>>,
}

impl FoundPool {
    /// What the command line says, with this pool where it says none.
    pub(crate) fn told(self, who: Who) -> Who {
        Who { certprov_url: Some(self.certprov_url), registrar: self.registrar, ..who }
    }
}

#[derive(Serialize)]
struct PoolFoundLine<'a> {
    certprov_url: &'a str,
    certprov_url_from: String,
    registrar: Option<String>,
    registrar_from: Option<String>,
}

/// For a user, whose credential will go there. `yes` is for scripts: nobody is asked then, and what would be asked is refused.
pub(crate) async fn for_user(
    user: &SipAddress,
    at: &PoolOptions,
    yes: bool,
    screen: &Screen,
    stop: &Stop,
) -> Result<Option<FoundPool>, CliError> {
    let Some(options) = options()? else { return Ok(None) };
    let options = Options { domain: Some(user.domain().to_owned()), allow_hosts: at.allow_host.clone(), ..options };
    let discovered = look(&options, screen, stop).await?;
    let Some(found) = found(&discovered) else {
        // Why is worth more than that.
        lines::findings(&discovered.findings, screen);
        return Ok(None);
    };
    show(&found, screen);
    // Whether another server says something else is chance for the phone, and worth knowing for who decides here.
    let differ = discovered.findings.iter().filter(|finding| finding.says == Trouble::ServersDisagree.text());
    lines::findings(&differ.cloned().collect::<Vec<_>>(), screen);
    let outside: Vec<&str> = discovered.outside().into_iter().map(|name| name.as_str()).collect();
    if outside.is_empty() {
        return Ok(Some(found));
    }
    let outside = outside.join(" and ");
    let domain = user.domain();
    let question =
        format!("outside {domain}: {outside}. Any computer can answer DHCP. Send {user}'s credential there?");
    let agreed = match Person::at(screen, stop).filter(|_| !yes) {
        Some(person) => person.agrees(&question).await?,
        None => false,
    };
    if agreed {
        return Ok(Some(found));
    }
    Err(CliError::refused(
        format!("{}: {outside} ({})", Trouble::OutsideDomain.text(), found.certprov_url.origin),
        Trouble::OutsideDomain.next_step(),
    ))
}

/// For a command that only looks, and sends no credential.
pub(crate) async fn for_looking(screen: &Screen) -> Result<Option<FoundPool>, CliError> {
    let Some(options) = options()? else { return Ok(None) };
    // Without a user there is no domain, and DNS names no Web Services in any case.
    let discovered = look(&Options { dns: AskDns::Nobody, ..options }, screen, &Stop::default()).await?;
    let found = found(&discovered);
    if let Some(found) = &found {
        show(found, screen);
    }
    Ok(found)
}

fn options() -> Result<Option<Options>, CliError> {
    match std::env::var(DISCOVERY).unwrap_or_default().as_str() {
        "" | "on" => {}
        "off" => return Ok(None),
        _ => {
            return Err(CliError::usage(
                format!("{DISCOVERY} is wrong: write on or off"),
                format!("correct or unset {DISCOVERY}"),
            ));
        }
    }
    let whom = WhomArgs { wait: 4, ..WhomArgs::default() };
    Ok(Some(Options { reach: false, ..whom.options()? }))
}

async fn look(options: &Options, screen: &Screen, stop: &Stop) -> Result<Discovered, CliError> {
    screen.start_spinner("no pool is configured: asking DHCP and DNS for one".to_owned());
    let discovered = tokio::select! {
        discovered = find(options) => Ok(discovered),
        () = stop.asked() => Err(tethercert::provision::ProvisionError::Stopped.into()),
    };
    screen.stop_spinner();
    discovered
}

fn found(discovered: &Discovered) -> Option<FoundPool> {
    let web = discovered.web_services.as_ref()?;
    let registrar = discovered.registrar.as_ref().and_then(|registrar| {
        let server = format!("{}:{}", registrar.value.host, registrar.value.port).parse().ok()?;
        Some(Setting::new(server, Origin::Found(registrar.source.to_string())))
    });
    let certprov_url = Setting::new(web.value.url(), Origin::Found(web.source.to_string()));
    Some(FoundPool { certprov_url, registrar })
}

fn show(found: &FoundPool, screen: &Screen) {
    let line = PoolFoundLine {
        certprov_url: &found.certprov_url.value,
        certprov_url_from: found.certprov_url.origin.to_string(),
        registrar: found.registrar.as_ref().map(|it| it.value.to_string()),
        registrar_from: found.registrar.as_ref().map(|it| it.origin.to_string()),
    };
    screen.json("pool_found", &line);
    screen.line("found", &format!("{} ({})", line.certprov_url, line.certprov_url_from));
    if let (Some(registrar), Some(from)) = (&line.registrar, &line.registrar_from) {
        screen.line("", &format!("registrar {registrar} ({from})"));
    }
}
