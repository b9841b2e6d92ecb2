//! Finding a pool as a phone does, and telling an administrator what phones have to be told.

mod encode;
mod find;
mod for_job;
mod lines;

pub(crate) use for_job::{for_looking, for_user};

use super::error::CliError;
use super::exit::Exit;
use super::screen::Screen;
use super::settings::of_environment;
use clap::{Args as ClapArgs, Subcommand};
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::str::FromStr;
use std::time::Duration;
use tethercert::discovery::dhcp::AskDhcp;
use tethercert::discovery::dns::AskDns;
use tethercert::discovery::{Options, packet};

/// Where `--interface` is looked for when it is not given.
const INTERFACE: &str = "TETHERCERT_INTERFACE";
/// Where `--dhcp-server` is looked for when it is not given.
const DHCP_SERVER: &str = "TETHERCERT_DHCP_SERVER";
/// Where `--dns-server` is looked for when it is not given.
const DNS_SERVER: &str = "TETHERCERT_DNS_SERVER";
/// Where DNS servers listen.
const DNS_PORT: u16 = 53;

/// Find the pool as a phone does, by DHCP and DNS, and say what is wrong
///
/// Asks for options 43 and 120 as a phone of the Lync era does, and for its records in DNS; shows every answer, which of them a
/// phone takes, and whether what is named can be reached. Changes nothing, and sends no credential.
///
/// It holds for the VLAN that this computer asks in. Phones may be in another.
#[derive(ClapArgs, Debug)]
#[command(visible_alias = "discover", args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    find: find::Args,
}

#[derive(Subcommand, Debug)]
enum Command {
    Find(find::Args),
    Encode(encode::Args),
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    match args.command {
        None => find::run(args.find, screen).await,
        Some(Command::Find(args)) => find::run(args, screen).await,
        Some(Command::Encode(args)) => encode::run(&args, screen),
    }
}

/// Whom to ask, and where.
#[derive(ClapArgs, Debug, Clone, Default)]
struct WhomArgs {
    /// Interface to ask on [env: TETHERCERT_INTERFACE] [default: every one that is up and has an IPv4 address]
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Ask this DHCP server alone, straight; not every server answers so [env: TETHERCERT_DHCP_SERVER]
    #[arg(long, value_name = "ADDRESS[:PORT]", conflicts_with = "interface")]
    dhcp_server: Option<DhcpServer>,
    /// DNS server to ask [env: TETHERCERT_DNS_SERVER] [default: those of this computer]
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    dns_server: Option<DnsServer>,
    /// Seconds to listen for DHCP servers
    #[arg(long, value_name = "SECONDS", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=60))]
    wait: u64,
}

/// `192.0.2.1`, `192.0.2.1:67`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DhcpServer(SocketAddrV4);

/// `192.0.2.53`, `[2001:db8::53]:53`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DnsServer(SocketAddr);

impl FromStr for DhcpServer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let whole = text.parse().or_else(|_| text.parse().map(|ip| SocketAddrV4::new(ip, packet::SERVER_PORT)));
        whole.map(Self).map_err(|_| "write it like 192.0.2.1 or 192.0.2.1:67")
    }
}

impl FromStr for DnsServer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        let whole = text.parse().or_else(|_| bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT)));
        whole.map(Self).map_err(|_| "write it like 192.0.2.53 or 192.0.2.53:53")
    }
}

impl WhomArgs {
    /// The options of discovery, with what the environment says where nothing was typed.
    fn options(&self) -> Result<Options, CliError> {
        let interface = match &self.interface {
            Some(name) => Some(name.clone()),
            None => of_environment(INTERFACE)?.map(|it| it.value),
        };
        let server = match (self.dhcp_server, &self.interface) {
            (Some(server), _) => Some(server),
            // What was typed is stronger, whichever of the two it is.
            (None, Some(_)) => None,
            (None, None) => of_environment(DHCP_SERVER)?.map(|it| it.value),
        };
        let dns = self.dns_server.or(of_environment(DNS_SERVER)?.map(|it| it.value));
        Ok(Options {
            interface,
            dhcp: server.map_or(AskDhcp::Everybody, |server: DhcpServer| AskDhcp::Server(server.0)),
            dns: dns.map_or(AskDns::System, |server| AskDns::Server(server.0)),
            wait: Duration::from_secs(self.wait.max(1)),
            ..Options::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_written_with_or_without_a_port() {
        let dhcp = |text: &str| text.parse::<DhcpServer>().map(|it| it.0.to_string());
        assert_eq!(dhcp("192.0.2.1").unwrap(), "192.0.2.1:67");
        assert_eq!(dhcp("127.0.0.1:4067").unwrap(), "127.0.0.1:4067");
        assert!(dhcp("dhcp.contoso.example").is_err());
        let dns = |text: &str| text.parse::<DnsServer>().map(|it| it.0.to_string());
        assert_eq!(dns("192.0.2.53").unwrap(), "192.0.2.53:53");
        assert_eq!(dns("[2001:db8::53]").unwrap(), "[2001:db8::53]:53");
        assert_eq!(dns("2001:db8::53").unwrap(), "[2001:db8::53]:53");
        assert_eq!(dns("[::1]:5353").unwrap(), "[::1]:5353");
    }
}
