//! Asking DHCP servers what a phone asks them, and keeping every answer.

use super::HostName;
use super::interface::Interface;
use super::line::{Hearing, Line, NoLine};
use super::options::{BadOption, WebServices, read_registrars, read_vlan};
use super::packet::{Asker, Query, Reply};
use super::trouble::Trouble;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A query that nobody answered is sent again after this time.
const AGAIN: Duration = Duration::from_secs(1);
/// After the first answer others are waited for as long as this: a second server is worth knowing.
const FURTHER: Duration = Duration::from_millis(800);
/// Most answers that are kept of one interface.
const MOST: usize = 64;
/// What a query straight to a server says for the address of an interface: one that nobody's card has.
const NO_CARD: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskDhcp {
    /// Everybody, as phones do.
    Everybody,
    /// This server alone.
    Server(SocketAddrV4),
    /// Nobody.
    Nobody,
}

/// How it went on one interface.
#[derive(Debug)]
pub struct Asked {
    /// The interface; none where one server was asked straight.
    pub interface: Option<Interface>,
    /// The server that was asked straight.
    pub server: Option<SocketAddrV4>,
    /// How answers could come, or why none could.
    pub how: Result<Hearing, CannotAsk>,
}

/// Why nobody could be asked.
#[derive(Debug)]
pub struct CannotAsk {
    /// What it is.
    pub trouble: Trouble,
    /// What the system said.
    pub detail: Option<String>,
}

/// What one server answered to the query for options 43 and 120.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The server: by option 54, else by its address.
    pub server: Ipv4Addr,
    /// Where it was heard.
    pub interface: Option<String>,
    /// How long it took since the query.
    pub after: Duration,
    /// Option 120.
    pub registrars: Option<Result<Vec<HostName>, BadOption>>,
    /// Option 43.
    pub web_services: Option<Result<WebServices, BadOption>>,
    /// Every option that it had.
    pub options: Vec<u8>,
}

/// What one server answered to the query for the VLAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanAnswer {
    /// The server.
    pub server: Ipv4Addr,
    /// Where it was heard.
    pub interface: Option<String>,
    /// What it says, if it has option 43 with that sub-option.
    pub vlan: Result<Option<u16>, BadOption>,
}

/// What was heard on one line.
#[derive(Default)]
struct Said {
    answers: Vec<Answer>,
    vlans: Vec<VlanAnswer>,
}

/// Everything that DHCP said, in the order in which it came.
#[derive(Debug, Default)]
pub struct Heard {
    /// Where it was asked.
    pub asked: Vec<Asked>,
    /// Answers for phones.
    pub answers: Vec<Answer>,
    /// Answers about the VLAN.
    pub vlans: Vec<VlanAnswer>,
}

impl Answer {
    fn read(reply: &Reply, from: Ipv4Addr, interface: Option<String>, after: Duration) -> Self {
        let option = |code: u8| reply.options.get(&code).map(Vec::as_slice);
        Self {
            server: reply.server.unwrap_or(from),
            interface,
            after,
            registrars: option(120).map(read_registrars),
            web_services: option(43).map(WebServices::read),
            options: reply.options.keys().copied().collect(),
        }
    }

    /// The registrar that a phone takes: the first name.
    pub fn registrar(&self) -> Option<&HostName> {
        self.registrars.as_ref()?.as_ref().ok()?.first()
    }

    /// The Web Services.
    pub fn web(&self) -> Option<&WebServices> {
        self.web_services.as_ref()?.as_ref().ok()
    }

    /// Whether a phone listens to it: the first answer that has a name in it wins.
    pub fn has_a_name(&self) -> bool {
        self.registrar().is_some() || self.web().is_some()
    }
}

/// Asks, on all interfaces at once, and listens for at most `wait`.
pub async fn ask(whom: AskDhcp, interfaces: Vec<Interface>, wait: Duration) -> Heard {
    let mut tasks = tokio::task::JoinSet::new();
    match whom {
        AskDhcp::Nobody => {}
        AskDhcp::Server(server) => {
            tasks.spawn(ask_server(server, wait));
        }
        AskDhcp::Everybody => {
            for interface in interfaces {
                tasks.spawn(ask_on(interface, wait));
            }
        }
    }
    let mut heard = Heard::default();
    while let Some(done) = tasks.join_next().await {
        let Ok(one) = done else { continue };
        heard.asked.extend(one.asked);
        heard.answers.extend(one.answers);
        heard.vlans.extend(one.vlans);
    }
    let name = |asked: &Asked| asked.interface.as_ref().map(|it| it.name.clone());
    heard.asked.sort_by_key(name);
    heard.answers.sort_by_key(|answer| answer.after);
    heard.vlans.sort_by_key(|answer| answer.server);
    heard
}

async fn ask_on(interface: Interface, wait: Duration) -> Heard {
    let asker = Asker { address: interface.address, mac: interface.mac };
    let name = Some(interface.name.clone());
    let conversation = match Line::on(&interface) {
        Ok((mut line, hearing)) => talk(&mut line, asker, name, wait).await.map(|conversation| (hearing, conversation)),
        Err(no_line) => Err(no_line),
    };
    heard(Some(interface), None, conversation)
}

async fn ask_server(server: SocketAddrV4, wait: Duration) -> Heard {
    let conversation = match Line::to(server).await {
        Ok((mut line, address)) => {
            let asker = Asker { address, mac: NO_CARD };
            talk(&mut line, asker, None, wait).await.map(|conversation| (Hearing::OwnPort, conversation))
        }
        Err(no_line) => Err(no_line),
    };
    heard(None, Some(server), conversation)
}

fn heard(
    interface: Option<Interface>,
    server: Option<SocketAddrV4>,
    conversation: Result<(Hearing, Said), NoLine>,
) -> Heard {
    let (how, Said { answers, vlans }) = match conversation {
        Ok((hearing, said)) => (Ok(hearing), said),
        Err((trouble, error)) => {
            (Err(CannotAsk { trouble, detail: error.map(|error| error.to_string()) }), Said::default())
        }
    };
    Heard { asked: vec![Asked { interface, server, how }], answers, vlans }
}

/// Sends both queries, again while nobody has answered the first, and takes what comes.
async fn talk(line: &mut Line, asker: Asker, interface: Option<String>, wait: Duration) -> Result<Said, NoLine> {
    let [for_servers, for_vlan] = transactions();
    let queries = [Query::Servers.bytes(for_servers, asker), Query::Vlan.bytes(for_vlan, asker)];
    let Said { mut answers, mut vlans } = Said::default();
    let start = Instant::now();
    let (mut end, mut next) = (start + wait, start);
    loop {
        if answers.is_empty() && Instant::now() >= next {
            for query in &queries {
                line.send(query).await?;
            }
            next = Instant::now() + AGAIN;
        }
        let wake = if answers.is_empty() { end.min(next) } else { end };
        let (from, packet) = tokio::select! {
            received = line.receive() => match received {
                Ok(received) => received,
                // Of a server that was asked straight: its port is closed. Another try may find it open.
                Err(_) if Instant::now() < end => {
                    sleep_until(wake).await;
                    continue;
                }
                Err(_) => break,
            },
            () = sleep_until(wake) => {
                if Instant::now() >= end { break } else { continue }
            }
        };
        let Some(reply) = Reply::read(&packet) else { continue };
        let server = reply.server.unwrap_or(from);
        if reply.transaction == for_servers {
            if answers.len() < MOST && answers.iter().all(|known| known.server != server) {
                if answers.is_empty() {
                    end = end.min(Instant::now() + FURTHER);
                }
                answers.push(Answer::read(&reply, from, interface.clone(), start.elapsed()));
            }
        } else if reply.transaction == for_vlan
            && vlans.len() < MOST
            && vlans.iter().all(|known| known.server != server)
        {
            let vlan = reply.options.get(&43).map_or(Ok(None), |option| read_vlan(option));
            vlans.push(VlanAnswer { server, interface: interface.clone(), vlan });
        }
    }
    Ok(Said { answers, vlans })
}

/// Two numbers that nobody can guess.
fn transactions() -> [u32; 2] {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    let [a, b, c, d, e, f, g, h] = bytes;
    [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])]
}
