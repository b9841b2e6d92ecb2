//! A TCP connection to a server, by whichever of its addresses answers.

use super::connector::Resolve;
use super::error::TlsError;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// Where names lead, and how long that may take.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) resolve: Vec<Resolve>,
    pub(super) deadline: Duration,
}

impl Dialer {
    /// Connects to `host`, a name or an address without brackets.
    pub(super) async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, TlsError> {
        let given = self.resolve.iter().find(|r| r.port == port && bare_eq(&r.host, host));
        let addresses: Vec<SocketAddr> = match given {
            Some(resolve) => vec![resolve.address],
            None => {
                let late = |_| self.timed_out(host, port, "connecting");
                let looked_up = timeout(self.deadline, tokio::net::lookup_host((host, port))).await.map_err(late)?;
                looked_up.map_err(|source| TlsError::NotResolved { host: host.to_owned(), source })?.collect()
            }
        };
        let tcp = self.reach(host, port, &addresses).await?;
        // Small requests wait for answers: nothing is gained by holding them back.
        let _ = tcp.set_nodelay(true);
        Ok(tcp)
    }

    /// Tries the addresses in their order, each with its share of the time that is left: a dead IPv6 network does not
    /// use up what IPv4 needs.
    async fn reach(&self, host: &str, port: u16, addresses: &[SocketAddr]) -> Result<TcpStream, TlsError> {
        let end = Instant::now() + self.deadline;
        let mut failure: Option<TlsError> = None;
        for (address, left) in addresses.iter().zip((1..=addresses.len() as u32).rev()) {
            let now = Instant::now();
            let error = match timeout_at(now + (end - now) / left, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(source)) if source.kind() == io::ErrorKind::ConnectionRefused => {
                    TlsError::Refused { host: host.to_owned(), port, source }
                }
                Ok(Err(source)) => TlsError::Unreachable { host: host.to_owned(), port, source },
                Err(_) => self.timed_out(host, port, "connecting"),
            };
            if failure.as_ref().is_none_or(|failure| telling(failure) < telling(&error)) {
                failure = Some(error);
            }
        }
        Err(failure.unwrap_or_else(|| TlsError::NotResolved {
            host: host.to_owned(),
            source: io::Error::from(io::ErrorKind::NotFound),
        }))
    }

    pub(super) fn timed_out(&self, host: &str, port: u16, step: &'static str) -> TlsError {
        TlsError::TimedOut { host: host.to_owned(), port, seconds: self.deadline.as_secs(), step }
    }
}

/// Of several failures a person is told the one that got furthest.
fn telling(error: &TlsError) -> u8 {
    match error {
        TlsError::Refused { .. } => 2,
        TlsError::TimedOut { .. } => 1,
        _ => 0,
    }
}

fn bare_eq(given: &str, host: &str) -> bool {
    given.trim_start_matches('[').trim_end_matches(']').eq_ignore_ascii_case(host)
}
