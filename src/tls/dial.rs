//! A TCP connection to a server, by whichever of its addresses answers.

use super::bare;
use super::connector::Resolve;
use super::error::TlsError;
use super::proxy::Proxy;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// Where names lead, by which way, and how long that may take.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) resolve: Vec<Resolve>,
    pub(super) proxy: Proxy,
    pub(super) deadline: Duration,
}

impl Dialer {
    /// Connects to `host`, a name or an address without brackets; through a proxy, if the way leads through one.
    pub(super) async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, TlsError> {
        let given = self.resolve.iter().find(|r| r.port == port && bare(&r.host).eq_ignore_ascii_case(host));
        let Some(gate) = self.proxy.gate(host, port, given.is_some())? else {
            return match given {
                Some(resolve) => self.reach(host, port, &[resolve.address]).await,
                None => self.look_up_and_reach(host, port).await,
            };
        };
        let unreachable = |source| TlsError::ProxyUnreachable { proxy: gate.name(), source: Box::new(source) };
        let mut tcp = self.look_up_and_reach(&gate.host, gate.port).await.map_err(unreachable)?;
        // The proxy looks names up for itself; an address that was given is one that it has to take.
        let target = given.map_or_else(|| (host.to_owned(), port), |r| (r.address.ip().to_string(), r.address.port()));
        let passing = timeout(self.deadline, gate.pass(&mut tcp, &target.0, target.1));
        passing.await.map_err(|_| unreachable(self.timed_out(&gate.host, gate.port, "asking the proxy")))??;
        Ok(tcp)
    }

    async fn look_up_and_reach(&self, host: &str, port: u16) -> Result<TcpStream, TlsError> {
        let addresses = self.look_up(host, port).await?;
        self.reach(host, port, &addresses).await
    }

    /// All addresses of a name; of one that was led elsewhere, those that it is led to.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, TlsError> {
        let given = self.resolve.iter().filter(|r| r.port == port && bare(&r.host).eq_ignore_ascii_case(host));
        let given: Vec<SocketAddr> = given.map(|resolve| resolve.address).collect();
        if given.is_empty() { self.look_up(host, port).await } else { Ok(given) }
    }

    async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, TlsError> {
        let late = |_| self.timed_out(host, port, "connecting");
        let looked_up = timeout(self.deadline, tokio::net::lookup_host((host, port))).await.map_err(late)?;
        let addresses = looked_up.map_err(|source| TlsError::NotResolved { host: host.to_owned(), source })?;
        Ok(addresses.collect())
    }

    /// Tries the addresses in their order, each with its share of the time that is left: a dead IPv6 network does not
    /// use up what IPv4 needs.
    async fn reach(&self, host: &str, port: u16, addresses: &[SocketAddr]) -> Result<TcpStream, TlsError> {
        let end = Instant::now() + self.deadline;
        let mut failure: Option<TlsError> = None;
        for (address, left) in addresses.iter().zip((1..=addresses.len() as u32).rev()) {
            let now = Instant::now();
            let error = match timeout_at(now + (end - now) / left, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    // Small requests wait for answers: nothing is gained by holding them back.
                    let _ = tcp.set_nodelay(true);
                    return Ok(tcp);
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};

    fn dialer() -> Dialer {
        Dialer { resolve: Vec::new(), proxy: Proxy::Straight, deadline: Duration::from_secs(2) }
    }

    /// A listener whose queue is full: connecting to it takes for ever, as to a network that swallows everything.
    async fn black_hole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(tcp) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            waiting.push(tcp.unwrap());
        }
        (address, listener, waiting)
    }

    #[tokio::test]
    async fn a_dead_address_leaves_time_for_the_next() {
        let (dead, _listener, _waiting) = black_hole().await;
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = alive.local_addr().map(|address| (address, alive)).unwrap();
        let dialer = Dialer { deadline: Duration::from_millis(200), ..dialer() };
        let tcp = dialer.reach("web.contoso.example", 443, &[dead, alive.0]).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), alive.0);
        let error = dialer.reach("web.contoso.example", 443, &[dead]).await.unwrap_err();
        assert!(matches!(error, TlsError::TimedOut { step: "connecting", .. }), "{error}");
    }

    #[tokio::test]
    async fn a_refusing_address_is_told_only_if_no_other_answers() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = alive.local_addr().unwrap();
        assert!(dialer().reach("web.contoso.example", 443, &[closed, address]).await.is_ok());
        let (dead, _listener, _waiting) = black_hole().await;
        let dialer = Dialer { deadline: Duration::from_millis(50), ..dialer() };
        let error = dialer.reach("web.contoso.example", 443, &[dead, closed]).await.unwrap_err();
        assert!(matches!(error, TlsError::Refused { .. }), "{error}");
    }
}
