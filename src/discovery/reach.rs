//! Whether a server that was named can be reached from here: its name, and its port.

use super::dns::{Dns, NotFound};
use super::trouble::Trouble;
use crate::diagnose::Finding;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a server has to take a connection.
const PATIENCE: Duration = Duration::from_secs(3);

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

/// The finding about a port, tried at one address after the other.
pub(super) async fn port(name: &str, addresses: &[IpAddr], port: u16, purpose: &str) -> Finding {
    let mut worst = None;
    for &address in addresses {
        let trouble = match timeout(PATIENCE, TcpStream::connect(SocketAddr::new(address, port))).await {
            Ok(Ok(_)) => return Finding::good("port", format!("{name}:{port} is open, for {purpose}")),
            Ok(Err(error)) => match error.kind() {
                io::ErrorKind::ConnectionRefused => Trouble::PortClosed,
                io::ErrorKind::TimedOut => Trouble::PortSilent,
                _ => Trouble::NoRoute,
            },
            Err(_) => Trouble::PortSilent,
        };
        // What an address of another family says matters less.
        worst.get_or_insert((trouble, address));
    }
    let (trouble, address) = worst.unwrap_or((Trouble::NoRoute, IpAddr::from([0; 4])));
    trouble.found("port").with(format!("{name}:{port} ({address}), for {purpose}"))
}
