//! Finding a pool as a phone does: by DHCP options 43 and 120, else by DNS; and saying of each thing that is wrong what it is.
//!
//! A phone of the Lync era sends a DHCPINFORM as `MS-UC-Client` and takes the first answer that has a name in it; DNS counts only
//! where no DHCP server answered so. DNS never names the Web Services. Whoever answers DHCP first is believed by the phone, so
//! nothing that was found here is more than a proposal: [`Discovered::outside`] says which names a person has to agree to.
//!
//! What is found holds for the VLAN of the interface that asked. Phones may be in another.

mod answers;
pub mod dhcp;
pub mod dns;
pub mod encode;
pub mod interface;
mod line;
mod name;
pub mod ntp;
pub mod options;
pub mod packet;
mod reach;
#[cfg(test)]
mod tests;
mod trouble;

pub use line::Hearing;
pub use name::{BadName, HostName};
pub use trouble::Trouble;

use crate::diagnose::Finding;
use answers::Judged;
use dhcp::{AskDhcp, Heard};
use dns::{AskDns, Dns, Found, LookedUp, Target};
use interface::Interface;
use options::WebServices;
use serde::Serialize;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Where a registrar listens whose port nobody says.
pub const REGISTRAR_PORT: u16 = 5061;
/// Where pools offer their root chains.
const ROOT_CHAINS_PORT: u16 = 80;
/// What phones ask for the time where their domain names nobody.
const USUAL_TIME: &str = "time.windows.com";
/// By how much two clocks may differ.
const CLOCKS: f64 = 5.0;

/// What to look for, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The user's SIP domain.
    pub domain: Option<String>,
    /// Hosts that may be outside of it.
    pub allow_hosts: Vec<String>,
    /// The interface to ask on; none: every suitable one.
    pub interface: Option<String>,
    /// Whom to ask by DHCP.
    pub dhcp: AskDhcp,
    /// Whom to ask by DNS.
    pub dns: AskDns,
    /// How long to listen for DHCP.
    pub wait: Duration,
    /// The registrar's port, where only its name is found.
    pub registrar_port: u16,
    /// Whether what was found is reached: names, ports, time.
    pub reach: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            domain: None,
            allow_hosts: Vec::new(),
            interface: None,
            dhcp: AskDhcp::Everybody,
            dns: AskDns::System,
            wait: Duration::from_secs(4),
            registrar_port: REGISTRAR_PORT,
            reach: true,
        }
    }
}

/// Who said something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Source {
    /// A DHCP server, in an option.
    Dhcp {
        /// The server.
        server: Ipv4Addr,
        /// The option.
        option: u8,
    },
    /// A record of DNS.
    Dns {
        /// Its name.
        record: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dhcp { server, option } => write!(f, "option {option} of {server}"),
            Self::Dns { record } => write!(f, "DNS, {record}"),
        }
    }
}

/// Something, and who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// What.
    pub value: T,
    /// Who said it.
    pub source: Source,
}

/// Everything that was found.
#[derive(Debug)]
pub struct Discovered {
    /// What DHCP said.
    pub dhcp: Heard,
    /// Which of its answers a phone takes.
    pub taken: Option<usize>,
    /// What DNS said; empty where nobody was asked.
    pub dns: Vec<LookedUp>,
    /// The DNS servers that were asked.
    pub dns_servers: Vec<SocketAddr>,
    /// The Web Services.
    pub web_services: Option<Located<WebServices>>,
    /// The registrar.
    pub registrar: Option<Located<Target>>,
    /// Every check, in its order.
    pub findings: Vec<Finding>,
    domain: Option<String>,
    allow_hosts: Vec<String>,
}

impl Discovered {
    /// The names that a person has to agree to before a credential goes to them: those outside the user's SIP domain, unless the
    /// operator allowed them. All of them, where the domain is not known.
    pub fn outside(&self) -> Vec<&HostName> {
        let web = self.web_services.as_ref().map(|web| &web.value.host);
        let registrar = self.registrar.as_ref().map(|registrar| &registrar.value.host);
        let mut names: Vec<&HostName> =
            web.into_iter().chain(registrar).filter(|name| !self.may_receive(name)).collect();
        names.dedup();
        names
    }

    fn may_receive(&self, name: &HostName) -> bool {
        let allowed = self.allow_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name.as_str()));
        allowed || self.domain.as_ref().is_some_and(|domain| name.is_in(domain))
    }

    /// Whether DHCP was asked at least somewhere.
    pub fn dhcp_was_asked(&self) -> bool {
        self.dhcp.asked.iter().any(|asked| asked.how.is_ok())
    }
}

/// Asks DHCP and DNS at the same time, puts together what a phone makes of it, and tries to reach what was named.
pub async fn find(options: &Options) -> Discovered {
    let mut findings = Vec::new();
    let interfaces = match options.dhcp {
        AskDhcp::Everybody => interfaces(options, &mut findings),
        AskDhcp::Server(_) | AskDhcp::Nobody => Vec::new(),
    };
    let dns = match Dns::new(options.dns) {
        Ok(dns) => dns,
        Err(why) => {
            findings.push(Trouble::NoDns.found("dns").with(why));
            None
        }
    };
    let (heard, records) =
        tokio::join!(dhcp::ask(options.dhcp, interfaces, options.wait), records(options, dns.as_ref()));

    let Judged { taken, findings: judged } = answers::judge(&heard, options);
    findings.extend(judged);
    let answer = taken.map(|index| &heard.answers[index]);
    let by = |option| move |answer: &dhcp::Answer| Source::Dhcp { server: answer.server, option };
    let web_services = answer.and_then(|answer| Some(Located { value: answer.web()?.clone(), source: by(43)(answer) }));
    let registrar = match answer {
        // Where one answered, DNS does not count, even if the answer names only the one of the two.
        Some(answer) => answer.registrar().map(|host| {
            let value = Target { host: host.clone(), port: options.registrar_port };
            Located { value, source: by(120)(answer) }
        }),
        None => answers::registrar_of(&records, options.registrar_port),
    };
    let mut discovered = Discovered {
        dhcp: heard,
        taken,
        dns_servers: dns.as_ref().map(|dns| dns.servers.clone()).unwrap_or_default(),
        dns: records,
        web_services,
        registrar,
        findings,
        domain: options.domain.clone(),
        allow_hosts: options.allow_hosts.clone(),
    };
    let of_dns = answers::judge_dns(&discovered, options);
    discovered.findings.extend(of_dns);
    if options.domain.is_some() {
        let outside: Vec<String> = discovered.outside().into_iter().map(ToString::to_string).collect();
        if !outside.is_empty() {
            let text = format!(
                "{}, and the user's domain is {}",
                outside.join(", "),
                options.domain.as_deref().unwrap_or_default()
            );
            discovered.findings.push(Trouble::OutsideDomain.found("domain").with(text));
        }
    }
    if let (Some(dns), true) = (&dns, options.reach) {
        let reached = reached(dns, &discovered, options).await;
        discovered.findings.extend(reached);
    }
    discovered
}

fn interfaces(options: &Options, findings: &mut Vec<Finding>) -> Vec<Interface> {
    let (all, why) = match interface::suitable() {
        Ok(all) => (all, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let names: Vec<String> = all.iter().map(|it| it.name.clone()).collect();
    let wanted: Vec<Interface> =
        all.into_iter().filter(|it| options.interface.as_ref().is_none_or(|name| *name == it.name)).collect();
    if wanted.is_empty() {
        let mut finding = Trouble::NoInterface.found("interface");
        if let Some(name) = &options.interface {
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            finding = finding.with(format!("{name} is not one of those that are up and have an IPv4 address: {there}"));
        }
        findings.push(why.into_iter().fold(finding, Finding::with));
    }
    wanted
}

/// Every record that a phone looks up, all at once.
async fn records(options: &Options, dns: Option<&Dns>) -> Vec<LookedUp> {
    let (Some(dns), Some(domain)) = (dns, &options.domain) else { return Vec::new() };
    let all = dns::REGISTRARS.into_iter().chain([dns::TIME]).chain(dns::UPDATES);
    futures_util::future::join_all(all.map(|record| dns.record(record, domain))).await
}

/// Names, ports and time.
async fn reached(dns: &Dns, discovered: &Discovered, options: &Options) -> Vec<Finding> {
    let web = discovered.web_services.as_ref().map(|web| &web.value);
    let web = async {
        let Some(web) = web else { return Vec::new() };
        let name = web.host.as_str();
        match reach::resolve(dns, name).await {
            Err(finding) => vec![finding],
            Ok(addresses) => {
                let (https, http) = tokio::join!(
                    reach::port(name, &addresses, web.port, "the Web Services"),
                    reach::port(name, &addresses, ROOT_CHAINS_PORT, "the download of root certificates"),
                );
                let text = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                vec![Finding::good("name", format!("{name} is {text}")), https, http]
            }
        }
    };
    let registrar = discovered.registrar.as_ref().map(|registrar| &registrar.value);
    let registrar = async {
        let Some(registrar) = registrar else { return Vec::new() };
        let name = registrar.host.as_str();
        match reach::resolve(dns, name).await {
            Err(finding) => vec![finding],
            Ok(addresses) => {
                let text = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let port = reach::port(name, &addresses, registrar.port, "the registrar").await;
                vec![Finding::good("name", format!("{name} is {text}")), port]
            }
        }
    };
    let time = async { if options.domain.is_some() { time(dns, discovered).await } else { Vec::new() } };
    let (web, registrar, time) = tokio::join!(web, registrar, time);
    web.into_iter().chain(registrar).chain(time).collect()
}

/// The time, from whom a phone would ask it.
async fn time(dns: &Dns, discovered: &Discovered) -> Vec<Finding> {
    let record = discovered.dns.iter().find(|looked_up| looked_up.record == dns::TIME);
    let target = record.and_then(|record| match &record.answer {
        Ok(Found::Targets(targets)) => targets.first(),
        Ok(Found::Addresses(_)) | Err(_) => None,
    });
    let mut findings = Vec::new();
    let (name, port) = match target {
        Some(target) => (target.host.as_str(), target.port),
        None => {
            // That DNS is silent has been said.
            if record.is_some_and(|record| record.answer == Err(dns::NotFound::None)) {
                findings.push(
                    Trouble::NoTimeRecord.found("time").with(record.map(|it| it.name.clone()).unwrap_or_default()),
                );
            }
            (USUAL_TIME, ntp::NTP_PORT)
        }
    };
    let address = match reach::resolve(dns, name).await {
        Ok(addresses) => addresses.first().copied(),
        // Nobody promised the usual one.
        Err(_) if target.is_none() => return findings,
        Err(finding) => {
            findings.push(Finding { check: "time", ..finding });
            return findings;
        }
    };
    let Some(address) = address else { return findings };
    let server = format!("{name}:{port} ({address})");
    findings.push(match ntp::ask(SocketAddr::new(address, port)).await {
        Ok(time) if time.offset.abs() <= CLOCKS => {
            Finding::good("time", format!("{name} and this computer agree to {:.0} ms", time.offset.abs() * 1000.0))
        }
        Ok(time) => {
            let ahead = if time.offset > 0.0 { "ahead of" } else { "behind" };
            Trouble::TimeDiffers
                .found("time")
                .with(format!("{server} is {:.0} s {ahead} this computer", time.offset.abs()))
        }
        Err(why) => {
            let trouble = match why {
                ntp::NoTime::Silent(_) => Trouble::TimeSilent,
                ntp::NoTime::NotKnown(_) => Trouble::TimeNotKnown,
                ntp::NoTime::Unreadable(_) => Trouble::TimeUnreadable,
            };
            trouble.found("time").with(format!("{server}: {why}"))
        }
    });
    findings
}
