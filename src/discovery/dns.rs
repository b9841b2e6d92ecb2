//! The records that phones look up, in their order.

use super::name::HostName;
use super::trouble::Trouble;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long one server has for one answer.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long a record may take, all servers and tries together.
const AT_MOST: Duration = Duration::from_secs(4);

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskDns {
    /// The servers of this computer.
    System,
    /// This server.
    Server(SocketAddr),
    /// Nobody.
    Nobody,
}

/// A record that phones look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// What stands before the domain: `_sipinternaltls._tcp`.
    pub front: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it is for, in a few words.
    pub purpose: &'static str,
}

/// The type of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    /// A name and a port.
    Srv,
    /// Addresses.
    A,
}

/// The registrar, in the documented order: the first that is there counts.
pub const REGISTRARS: [Record; 5] = [
    Record { front: "_sipinternaltls._tcp", kind: Kind::Srv, purpose: "registrar, inside" },
    Record { front: "_sip._tls", kind: Kind::Srv, purpose: "registrar, from outside" },
    Record { front: "sipinternal", kind: Kind::A, purpose: "registrar, inside" },
    Record { front: "sip", kind: Kind::A, purpose: "registrar" },
    Record { front: "sipexternal", kind: Kind::A, purpose: "registrar, from outside" },
];
/// The time.
pub const TIME: Record = Record { front: "_ntp._udp", kind: Kind::Srv, purpose: "time" };
/// Updates of the phones' software, by the newer and the older name. Neither has to be there.
pub const UPDATES: [Record; 2] = [
    Record { front: "ucupdates-r2", kind: Kind::A, purpose: "phone updates" },
    Record { front: "ucupdates", kind: Kind::A, purpose: "phone updates" },
];

/// A server that an SRV record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub host: HostName,
    /// Its port.
    pub port: u16,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Of SRV, the preferred one first.
    Targets(Vec<Target>),
    /// Of A and AAAA.
    Addresses(Vec<IpAddr>),
}

/// Why nothing was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFound {
    /// There is no such record.
    None,
    /// Nobody answered.
    Silent,
    /// The server answered that it will not, or cannot.
    Refused(String),
    /// The record's name is none: `-x`.
    Unusable(String),
    /// There is one, and no phone can use the server that it names: why.
    BadTarget(String),
}

impl NotFound {
    /// What keeps this from being known; nothing where it is known that there is no record.
    pub const fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::None => None,
            Self::Silent => Some(Trouble::DnsSilent),
            Self::Refused(_) | Self::Unusable(_) => Some(Trouble::DnsRefuses),
            Self::BadTarget(_) => Some(Trouble::TargetUnusable),
        }
    }

    /// In a few words.
    pub fn text(&self) -> String {
        match self {
            Self::None => "no such record".to_owned(),
            Self::Silent => "no answer".to_owned(),
            Self::Refused(what) | Self::Unusable(what) | Self::BadTarget(what) => what.clone(),
        }
    }
}

/// What was asked, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookedUp {
    /// `_sipinternaltls._tcp.contoso.example`.
    pub name: String,
    /// Which record.
    pub record: Record,
    /// What it says.
    pub answer: Result<Found, NotFound>,
}

/// One who can be asked.
pub struct Dns {
    resolver: TokioResolver,
    /// The servers.
    pub servers: Vec<SocketAddr>,
}

impl Dns {
    /// The servers that are meant. This computer's own list of hosts is not read: no phone has it.
    pub fn new(whom: AskDns) -> Result<Option<Self>, String> {
        let provider = TokioRuntimeProvider::default;
        let mut builder = match whom {
            AskDns::Nobody => return Ok(None),
            AskDns::System => TokioResolver::builder(provider()).map_err(|error| error.to_string())?,
            AskDns::Server(server) => {
                let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                for connection in &mut connections {
                    connection.port = server.port();
                }
                let server = NameServerConfig::new(server.ip(), true, connections.into());
                TokioResolver::builder_with_config(ResolverConfig::from_name_servers(vec![server]), provider())
            }
        };
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = PATIENCE;
        options.attempts = 1;
        let resolver = builder.build().map_err(|error| error.to_string())?;
        let servers = match whom {
            AskDns::Server(server) => vec![server],
            AskDns::System | AskDns::Nobody => system_servers(),
        };
        if servers.is_empty() { Err("none is configured".to_owned()) } else { Ok(Some(Self { resolver, servers })) }
    }

    /// A record of a domain.
    pub async fn record(&self, record: Record, domain: &str) -> LookedUp {
        let name = format!("{}.{domain}", record.front);
        let answer = match record.kind {
            Kind::Srv => self.targets(&name).await.map(Found::Targets),
            Kind::A => self.addresses(&name).await.map(Found::Addresses),
        };
        LookedUp { name, record, answer }
    }

    /// Every address of a name, IPv4 first: phones of the time have no other.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, NotFound> {
        let (four, six) = tokio::join!(self.ask(name, RecordType::A), self.ask(name, RecordType::AAAA));
        let mut found = Vec::new();
        for data in four.iter().chain(&six).flatten() {
            match data {
                RData::A(address) => found.push(IpAddr::V4(address.0)),
                RData::AAAA(address) => found.push(IpAddr::V6(address.0)),
                _ => {}
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
        Err(four.err().unwrap_or(NotFound::None))
    }

    async fn targets(&self, name: &str) -> Result<Vec<Target>, NotFound> {
        let mut found: Vec<_> = self.ask(name, RecordType::SRV).await?;
        found.sort_by_key(|data| match data {
            RData::SRV(srv) => (srv.priority, u16::MAX - srv.weight),
            _ => (u16::MAX, u16::MAX),
        });
        let (mut targets, mut unusable) = (Vec::new(), None);
        for data in found {
            let RData::SRV(srv) = data else { continue };
            // The root is how a domain says that it has no such service (RFC 2782).
            if srv.target.is_root() {
                continue;
            }
            match srv.target.to_string().parse::<HostName>() {
                Ok(host) => targets.push(Target { host, port: srv.port }),
                Err(bad) => _ = unusable.get_or_insert_with(|| format!("it names `{}`: {bad}", srv.target)),
            }
        }
        match (targets.is_empty(), unusable) {
            (false, _) => Ok(targets),
            (true, Some(why)) => Err(NotFound::BadTarget(why)),
            (true, None) => Err(NotFound::None),
        }
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, NotFound> {
        // With a dot at its end a name is whole, and nothing is put behind it.
        let lookup = self.resolver.lookup(format!("{}.", name.trim_end_matches('.')), kind);
        let Ok(looked_up) = tokio::time::timeout(AT_MOST, lookup).await else { return Err(NotFound::Silent) };
        match looked_up {
            Ok(lookup) => Ok(lookup.answers().iter().map(|record| record.data.clone()).collect()),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain => Err(NotFound::None),
                other => Err(NotFound::Refused(other.to_string())),
            },
            Err(NetError::Dns(DnsError::ResponseCode(ResponseCode::NXDomain))) => Err(NotFound::None),
            Err(NetError::Dns(error)) => Err(NotFound::Refused(error.to_string())),
            Err(NetError::Timeout | NetError::Io(_) | NetError::NoConnections | NetError::Busy) => {
                Err(NotFound::Silent)
            }
            Err(error) => Err(NotFound::Unusable(error.to_string())),
        }
    }
}

fn system_servers() -> Vec<SocketAddr> {
    let Ok((config, _)) = hickory_resolver::system_conf::read_system_conf() else { return Vec::new() };
    let port = |server: &NameServerConfig| server.connections.first().map_or(53, |connection| connection.port);
    config.name_servers().iter().map(|server| SocketAddr::new(server.ip, port(server))).collect()
}
