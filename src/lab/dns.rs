//! The lab's DNS and time servers. Packets are read and written by code of their own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use time::OffsetDateTime;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsData {
    /// An address.
    A(Ipv4Addr),
    /// Priority, weight, port, name.
    Srv(u16, u16, u16, String),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsFault {
    /// Nobody answers.
    Silent,
    /// Every question is refused.
    Refused,
    /// The server failed.
    Failed,
}

/// What the server knows: names in small letters, without a dot at their end.
#[derive(Debug, Clone, Default)]
pub struct DnsPlan {
    /// The records.
    pub records: Vec<(String, DnsData)>,
    /// What goes wrong.
    pub fault: Option<DnsFault>,
}

/// What a time server says wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFault {
    /// Nobody answers.
    Silent,
    /// It is not synchronised.
    NotKnown,
    /// It answers something else.
    Unreadable,
    /// Its clock is ahead by so many seconds.
    Ahead(u32),
}

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct SmallServer {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl DnsPlan {
    /// One more record.
    pub fn with(mut self, name: &str, data: DnsData) -> Self {
        self.records.push((name.to_ascii_lowercase(), data));
        self
    }
}

/// Something that may be changed while a server goes by it.
pub type Shared<T> = Arc<Mutex<T>>;

/// The same, made of its first value.
pub fn shared<T>(value: T) -> Shared<T> {
    Arc::new(Mutex::new(value))
}

impl SmallServer {
    /// A DNS server on `at`, over UDP.
    ///
    /// # Errors
    /// The port could not be had.
    pub async fn dns(at: SocketAddr, plan: Shared<DnsPlan>) -> io::Result<Self> {
        Self::start(at, move |query| dns_answer(query, &plan.lock().unwrap_or_else(PoisonError::into_inner))).await
    }

    /// A time server on `at`.
    ///
    /// # Errors
    /// The port could not be had.
    pub async fn time(at: SocketAddr, fault: Shared<Option<TimeFault>>) -> io::Result<Self> {
        Self::start(at, move |query| time_answer(query, *fault.lock().unwrap_or_else(PoisonError::into_inner))).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A server on `at` that sends these answers to who asks.
    pub(super) async fn start<Answers>(
        at: SocketAddr,
        answers: impl Fn(&[u8]) -> Answers + Send + 'static,
    ) -> io::Result<Self>
    where
        Answers: IntoIterator<Item = Vec<u8>, IntoIter: Send> + Send,
    {
        let socket = UdpSocket::bind(at).await?;
        let address = socket.local_addr()?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut packet = [0; 2048];
            loop {
                let Ok((length, from)) = socket.recv_from(&mut packet).await else { continue };
                for answer in answers(&packet[..length]) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Ok(Self { address, _task: task })
    }
}

/// RFC 1035: one question, answers of its type.
fn dns_answer(query: &[u8], plan: &DnsPlan) -> Option<Vec<u8>> {
    let (header, question) = query.split_at_checked(12)?;
    let (mut name, mut at) = (String::new(), 0);
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(std::str::from_utf8(question.get(at..at + length)?).ok()?);
        at += length;
    }
    let kind = u16::from_be_bytes([*question.get(at)?, *question.get(at + 1)?]);
    let question = question.get(..at + 4)?;
    let name = name.to_ascii_lowercase();
    let of_name: Vec<&DnsData> = plan.records.iter().filter(|(it, _)| *it == name).map(|(_, data)| data).collect();
    let code = match plan.fault {
        Some(DnsFault::Silent) => return None,
        Some(DnsFault::Failed) => 2,
        Some(DnsFault::Refused) => 5,
        None if of_name.is_empty() => 3,
        None => 0,
    };
    let data: Vec<(u16, Vec<u8>)> = of_name.iter().map(|data| written(data)).filter(|it| it.0 == kind).collect();
    let data = if code == 0 { data } else { Vec::new() };
    let mut answer = header[..2].to_vec();
    answer.extend([0x85, 0x80 | code, 0, 1]);
    answer.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
    answer.extend([0; 4]);
    answer.extend(question);
    for (kind, data) in data {
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 60]);
        answer.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}

fn written(data: &DnsData) -> (u16, Vec<u8>) {
    match data {
        DnsData::A(address) => (1, address.octets().to_vec()),
        DnsData::Srv(priority, weight, port, name) => {
            let mut bytes: Vec<u8> = [priority, weight, port].into_iter().flat_map(|it| it.to_be_bytes()).collect();
            for label in name.split('.') {
                bytes.push(label.len() as u8);
                bytes.extend(label.bytes());
            }
            bytes.push(0);
            (33, bytes)
        }
    }
}

/// RFC 4330.
fn time_answer(query: &[u8], fault: Option<TimeFault>) -> Option<Vec<u8>> {
    let asked = query.get(40..48)?;
    let ahead = match fault {
        Some(TimeFault::Silent) => return None,
        Some(TimeFault::Unreadable) => return Some(b"hello".to_vec()),
        Some(TimeFault::Ahead(seconds)) => i64::from(seconds),
        Some(TimeFault::NotKnown) | None => 0,
    };
    let now = OffsetDateTime::now_utc() + time::Duration::seconds(ahead);
    let seconds = u32::try_from(now.unix_timestamp() + 2_208_988_800).ok()?;
    let fraction = u32::try_from((u64::from(now.nanosecond()) << 32) / 1_000_000_000).ok()?;
    let stamp = [seconds.to_be_bytes(), fraction.to_be_bytes()].concat();
    let mut answer = vec![0; 48];
    answer[0] = if fault == Some(TimeFault::NotKnown) { 0xe4 } else { 0x24 };
    answer[1] = 2;
    answer[24..32].copy_from_slice(asked);
    answer[32..40].copy_from_slice(&stamp);
    answer[40..48].copy_from_slice(&stamp);
    Some(answer)
}
