//! The lab's DHCP server: answers the queries of phones, and of nobody else; hands out no addresses. Packets are read and
//! written by code of its own.

use super::dns::{Shared, SmallServer};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::PoisonError;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DhcpFault {
    /// Nobody answers.
    Silent,
    /// Option 120 is left out.
    NoRegistrar,
    /// Option 43 is left out.
    NoWeb,
    /// Both are: a server for everybody that knows nothing of phones.
    Neither,
    /// Sub-option 1 in small letters.
    WrongCase,
    /// Sub-option 1 of another product.
    OtherIdentifier,
    /// Sub-option 1 is left out.
    NoIdentifier,
    /// Sub-option 2 is `http`.
    Http,
    /// Sub-option 3 is an address.
    WebByAddress,
    /// Sub-option 4 is no number.
    BadPort,
    /// Sub-option 5 has no `/`.
    BadPath,
    /// Sub-option 5 is left out.
    Incomplete,
    /// The last sub-option is shorter than it says.
    CutShort,
    /// Option 120 is text.
    RegistrarText,
    /// Option 120 has an address.
    RegistrarByAddress,
    /// A second server answers first, with names of its own.
    Rogue,
    /// A second server answers later, with names of its own.
    LateRogue,
    /// Each option comes in two parts, one of them far from the other.
    InParts,
    /// The VLAN is text.
    BadVlan,
}

impl DhcpFault {
    /// The whole list, by name.
    pub const ALL: [(&'static str, Self); 19] = [
        ("silent", Self::Silent),
        ("no-registrar", Self::NoRegistrar),
        ("no-web", Self::NoWeb),
        ("neither", Self::Neither),
        ("wrong-case", Self::WrongCase),
        ("other-identifier", Self::OtherIdentifier),
        ("no-identifier", Self::NoIdentifier),
        ("http", Self::Http),
        ("web-by-address", Self::WebByAddress),
        ("bad-port", Self::BadPort),
        ("bad-path", Self::BadPath),
        ("incomplete", Self::Incomplete),
        ("cut-short", Self::CutShort),
        ("registrar-text", Self::RegistrarText),
        ("registrar-by-address", Self::RegistrarByAddress),
        ("rogue", Self::Rogue),
        ("late-rogue", Self::LateRogue),
        ("in-parts", Self::InParts),
        ("bad-vlan", Self::BadVlan),
    ];

    /// The fault of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(it, _)| *it == name).map(|(_, fault)| *fault)
    }
}

/// What the server tells phones.
#[derive(Debug, Clone)]
pub struct DhcpPlan {
    /// Option 120.
    pub registrar: String,
    /// Sub-option 3 of option 43.
    pub web_host: String,
    /// Sub-option 4.
    pub web_port: u16,
    /// Sub-option 5.
    pub web_path: String,
    /// The VLAN of phones.
    pub vlan: Option<u16>,
    /// What goes wrong.
    pub faults: Vec<DhcpFault>,
}

impl Default for DhcpPlan {
    fn default() -> Self {
        Self {
            registrar: "pool.contoso.example".to_owned(),
            web_host: "web.contoso.example".to_owned(),
            web_port: 443,
            web_path: "/CertProv/CertProvisioningService.svc".to_owned(),
            vlan: Some(100),
            faults: Vec::new(),
        }
    }
}

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct DhcpServer(SmallServer);

impl DhcpServer {
    /// Listens on `at`; port 0 is any. The plan may be changed while it runs.
    ///
    /// # Errors
    /// The port could not be had.
    pub async fn start(at: SocketAddr, plan: Shared<DhcpPlan>) -> io::Result<Self> {
        let answers = move |query: &[u8]| answers(query, &plan.lock().unwrap_or_else(PoisonError::into_inner));
        SmallServer::start(at, answers).await.map(Self)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

/// This server, and the one that nobody wants.
const SERVER: [u8; 4] = [127, 0, 0, 67];
const ROGUE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];

fn answers(query: &[u8], plan: &DhcpPlan) -> Vec<Vec<u8>> {
    let has = |fault| plan.faults.contains(&fault);
    let Some(class) = option(query, 60).filter(|_| query[0] == 1 && option(query, 53) == Some(&[8])) else {
        return Vec::new();
    };
    if has(DhcpFault::Silent) {
        return Vec::new();
    }
    match class {
        b"MS-UC-Client" => {
            let mut all = vec![answer(query, SERVER, &for_phones(plan))];
            let rogue = DhcpPlan {
                registrar: "pool.fabrikam.example".to_owned(),
                web_host: "web.fabrikam.example".to_owned(),
                faults: Vec::new(),
                ..plan.clone()
            };
            let rogue = || answer(query, ROGUE.octets(), &for_phones(&rogue));
            if has(DhcpFault::Rogue) {
                all.insert(0, rogue());
            }
            if has(DhcpFault::LateRogue) {
                all.push(rogue());
            }
            all
        }
        b"CPE-OCPHONE" => {
            let Some(vlan) = plan.vlan else { return Vec::new() };
            let value = match has(DhcpFault::BadVlan) {
                true => [&[10, 3], &b"100"[..]].concat(),
                false => [&[10, 2], &vlan.to_be_bytes()[..]].concat(),
            };
            vec![answer(query, SERVER, &[(43, value)])]
        }
        _ => Vec::new(),
    }
}

fn for_phones(plan: &DhcpPlan) -> Vec<(u8, Vec<u8>)> {
    let has = |fault| plan.faults.contains(&fault);
    let mut options = Vec::new();
    if !has(DhcpFault::NoWeb) && !has(DhcpFault::Neither) {
        options.push((43, web(plan)));
    }
    if !has(DhcpFault::NoRegistrar) && !has(DhcpFault::Neither) {
        let labels = || {
            let mut value = vec![0];
            for label in plan.registrar.split('.') {
                value.push(label.len() as u8);
                value.extend(label.bytes());
            }
            value.push(0);
            value
        };
        options.push((
            120,
            match (has(DhcpFault::RegistrarText), has(DhcpFault::RegistrarByAddress)) {
                (true, _) => plan.registrar.clone().into_bytes(),
                (false, true) => vec![1, 192, 0, 2, 5],
                (false, false) => labels(),
            },
        ));
    }
    if has(DhcpFault::InParts) {
        let second: Vec<_> =
            options.iter_mut().map(|(code, value)| (*code, value.split_off(value.len() / 2))).collect();
        options.extend(second);
    }
    options
}

fn web(plan: &DhcpPlan) -> Vec<u8> {
    let has = |fault| plan.faults.contains(&fault);
    let identifier = match () {
        () if has(DhcpFault::WrongCase) => "ms-uc-client",
        () if has(DhcpFault::OtherIdentifier) => "ubnt",
        () => "MS-UC-Client",
    };
    let scheme = if has(DhcpFault::Http) { "http" } else { "https" };
    let host = if has(DhcpFault::WebByAddress) { "192.0.2.10" } else { &plan.web_host };
    let port = if has(DhcpFault::BadPort) { "https".to_owned() } else { plan.web_port.to_string() };
    let path = if has(DhcpFault::BadPath) { plan.web_path.trim_start_matches('/') } else { &plan.web_path };
    let mut value = Vec::new();
    for (code, text) in [(1u8, identifier), (2, scheme), (3, host), (4, &port), (5, path)] {
        if code == 1 && has(DhcpFault::NoIdentifier) || code == 5 && has(DhcpFault::Incomplete) {
            continue;
        }
        value.extend([code, text.len() as u8]);
        value.extend(text.bytes());
    }
    if has(DhcpFault::CutShort) {
        value.truncate(value.len() - 3);
    }
    value
}

fn answer(query: &[u8], server: [u8; 4], options: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut packet = query[..236].to_vec();
    packet[0] = 2;
    packet.extend(COOKIE);
    packet.extend([53, 1, 5, 54, 4]);
    packet.extend(server);
    for (code, value) in options {
        packet.extend([*code, value.len() as u8]);
        packet.extend(value);
    }
    packet.push(255);
    packet
}

/// The first option of this code.
fn option(query: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = query.get(240..).filter(|_| query[236..240] == COOKIE)?;
    loop {
        rest = match *rest {
            [255, ..] | [] => return None,
            [0, ref after @ ..] => after,
            [code, length, ref after @ ..] => {
                let (value, after) = after.split_at_checked(usize::from(length))?;
                if code == wanted {
                    return Some(value);
                }
                after
            }
            [_] => return None,
        };
    }
}
