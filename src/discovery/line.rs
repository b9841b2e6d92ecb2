//! A socket to ask DHCP servers with, and one to hear them.
//!
//! Servers answer to port 68 of the address that asks. That port needs a right on Unix, and mostly the system's own DHCP client
//! has it. Taking it away, or sharing it, would lose answers for one of the two; so where it is taken, Linux lets us read what
//! passes by, beside the client, and the client passes over our transactions.

use super::interface::Interface;
use super::packet::{CLIENT_PORT, SERVER_PORT};
use super::trouble::Trouble;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// How answers come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hearing {
    /// To port 68, which is ours.
    Port68,
    /// To port 68, which another program has: what passes by is read.
    Beside,
    /// To the port that asked: one server was asked straight, and not every server answers there.
    OwnPort,
}

/// What keeps a line from being opened.
pub(super) type NoLine = (Trouble, Option<io::Error>);

/// Who sent something, and what.
type Packet = (Ipv4Addr, Vec<u8>);

/// What a thread hears that listens to all that passes by.
type Passing = mpsc::Receiver<Packet>;

/// Where queries go out and answers come in.
pub(super) struct Line {
    socket: UdpSocket,
    to: SocketAddr,
    passing: Option<Passing>,
}

impl Line {
    /// To everybody on the network of an interface.
    pub(super) fn on(interface: &Interface) -> Result<(Self, Hearing), NoLine> {
        let to = SocketAddr::from((Ipv4Addr::BROADCAST, SERVER_PORT));
        match bound(interface, CLIENT_PORT) {
            Ok(socket) => Ok((Self::new(socket, to, None).map_err(not_sent)?, Hearing::Port68)),
            Err(error) => {
                let trouble = match error.kind() {
                    io::ErrorKind::PermissionDenied => Trouble::PortNotAllowed,
                    io::ErrorKind::AddrInUse => Trouble::PortTaken,
                    _ => return Err((Trouble::NotSent, Some(error))),
                };
                let Ok(passing) = passing() else { return Err((trouble, Some(error))) };
                let socket = bound(interface, 0).map_err(not_sent)?;
                Ok((Self::new(socket, to, Some(passing)).map_err(not_sent)?, Hearing::Beside))
            }
        }
    }

    /// To one server; answers come to a port of ours. Says which address of this computer leads there.
    pub(super) async fn to(server: SocketAddrV4) -> Result<(Self, Ipv4Addr), NoLine> {
        let open = async || -> io::Result<_> {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
            socket.connect(server).await?;
            let own = match socket.local_addr()? {
                SocketAddr::V4(own) => *own.ip(),
                SocketAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
            };
            Ok((socket, own))
        };
        let (socket, own) = open().await.map_err(not_sent)?;
        Ok((Self { socket, to: server.into(), passing: None }, own))
    }

    fn new(socket: Socket, to: SocketAddr, passing: Option<Passing>) -> io::Result<Self> {
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, to, passing })
    }

    pub(super) async fn send(&self, packet: &[u8]) -> Result<(), NoLine> {
        // A connected socket takes no other address, and the same one on some systems neither.
        let sent = match self.socket.peer_addr() {
            Ok(_) => self.socket.send(packet).await,
            Err(_) => self.socket.send_to(packet, self.to).await,
        };
        match sent {
            // Of a server that was asked straight: an earlier query found its port closed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            sent => sent.map(|_| ()).map_err(not_sent),
        }
    }

    /// The next packet that may be an answer, and who sent it.
    pub(super) async fn receive(&mut self) -> io::Result<Packet> {
        let Self { socket, passing, .. } = self;
        let Some(passing) = passing else { return receive_from(socket).await };
        // There are servers that answer to the port that asked, whatever it is.
        tokio::select! {
            heard = passing.recv() => heard.ok_or_else(|| io::ErrorKind::BrokenPipe.into()),
            received = receive_from(socket) => received,
        }
    }
}

async fn receive_from(socket: &UdpSocket) -> io::Result<Packet> {
    let mut buffer = vec![0; 65_536];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        if let SocketAddr::V4(from) = from {
            buffer.truncate(length);
            return Ok((*from.ip(), buffer));
        }
    }
}

fn not_sent(error: io::Error) -> NoLine {
    (Trouble::NotSent, Some(error))
}

/// A socket whose packets go out of this interface and of no other.
fn bound(interface: &Interface, port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_broadcast(true)?;
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    let address = {
        socket.bind_device(Some(interface.name.as_bytes()))?;
        // Some servers answer to everybody, which a socket with an address of its own would not hear.
        Ipv4Addr::UNSPECIFIED
    };
    #[cfg(not(target_os = "linux"))]
    let address = interface.address;
    socket.bind(&SocketAddr::from((address, port)).into())?;
    Ok(socket)
}

/// What passes by on all interfaces: transactions tell which of it is ours. The thread ends soon after nobody listens any more.
#[cfg(target_os = "linux")]
fn passing() -> io::Result<Passing> {
    use super::packet::udp_payload;
    use std::io::Read as _;
    const ETH_P_IP: u16 = 0x0800;
    const LOOK_UP: std::time::Duration = std::time::Duration::from_millis(100);
    let mut socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(ETH_P_IP.to_be()))))?;
    socket.set_read_timeout(Some(LOOK_UP))?;
    let (heard, passing) = mpsc::channel(64);
    std::thread::Builder::new().name("dhcp-passing-by".to_owned()).spawn(move || {
        let mut buffer = vec![0; 65_536];
        while !heard.is_closed() {
            let Ok(length) = socket.read(&mut buffer) else { continue };
            if let Some((from, payload)) = udp_payload(&buffer[..length], CLIENT_PORT) {
                // Whom a flood keeps from listening hears the next one.
                let _ = heard.try_send((from, payload.to_vec()));
            }
        }
    })?;
    Ok(passing)
}

#[cfg(not(target_os = "linux"))]
fn passing() -> io::Result<Passing> {
    Err(io::ErrorKind::Unsupported.into())
}
