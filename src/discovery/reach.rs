//! Whether a server that was named can be reached from here: its name, and its port.

use super::dns::{Dns, NotFound};
use super::trouble::Trouble;
use crate::diagnose::Finding;
use futures_util::future::join_all;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a server has to take a connection.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many addresses of a name are tried. Who answers DNS says how many there are.
const ADDRESSES: usize = 8;

/// The addresses of a name, or the finding that there are none.
pub(super) async fn resolve(dns: &Dns, name: &str) -> Result<Vec<IpAddr>, Finding> {
    match dns.addresses(name).await {
        Ok(addresses) => Ok(addresses),
        Err(NotFound::None) => Err(Trouble::NotResolved.found("name").with(name)),
        Err(other) => {
            let trouble = other.trouble().unwrap_or(Trouble::NotResolved);
            Err(trouble.found("name").with(format!("{name}: {}", other.text())))
        }
    }
}

/// The finding about a port, tried at all addresses at once.
pub(super) async fn port(name: &str, addresses: &[IpAddr], port: u16, purpose: &str) -> Finding {
    let tried = addresses.iter().take(ADDRESSES).map(async |&address| {
        match timeout(PATIENCE, TcpStream::connect(SocketAddr::new(address, port))).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(match error.kind() {
                io::ErrorKind::ConnectionRefused => (Trouble::PortClosed, address),
                io::ErrorKind::TimedOut => (Trouble::PortSilent, address),
                _ => (Trouble::NoRoute, address),
            }),
            Err(_) => Err((Trouble::PortSilent, address)),
        }
    });
    let tried = join_all(tried).await;
    if tried.contains(&Ok(())) {
        return Finding::good("port", format!("{name}:{port} is open, for {purpose}"));
    }
    // What an address of another family says matters less.
    let first = tried.iter().find_map(|tried| tried.err());
    let (trouble, address) = first.unwrap_or((Trouble::NoRoute, IpAddr::from([0; 4])));
    let finding = trouble.found("port").with(format!("{name}:{port} ({address}), for {purpose}"));
    match addresses.len() {
        0 | 1 => finding,
        more => finding.with(format!("tried {} of its {more} addresses", tried.len())),
    }
}
