//! The way to a trusted stream: reach the server, shake hands, and fetch what its chain lacks.

use super::aia;
use super::chain::{self, ServerChain};
use super::dial::Dialer;
use super::error::{Distrust, TlsError};
use super::handshake::{Negotiated, Purpose, Shaken};
use super::judge::Judge;
use super::modern::{Modern, SESSION_LIFE};
use super::proxy::Proxy;
use super::stream::Stream;
use super::traffic::{Counted, Traffic};
use super::trust::Trust;
use super::tunnel::{self, ClientIdentity, Handshake, TunnelError};
use super::{Engine, bare};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, Error};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How many missing intermediates are fetched one above the other.
const MAX_FETCHED: usize = 4;

/// Goes to `address` whenever `host`:`port` is meant; the certificate is still checked for `host`. The way there is straight,
/// whatever proxy the system has: who knows the address means it. A [`Proxy::Through`] is still gone through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolve {
    /// The name, case does not count.
    pub host: String,
    /// The port that is asked for.
    pub port: u16,
    /// Where to connect instead.
    pub address: SocketAddr,
}

/// Makes TLS connections by one trust. Sessions, and intermediates that it had to fetch, serve its later connections.
#[derive(Debug)]
pub struct Connector {
    judge: Option<Arc<Judge>>,
    dialer: Dialer,
    engine: Engine,
    modern: OnceLock<Modern>,
    session_life: Duration,
}

/// What a server shows to anybody who connects.
#[derive(Debug)]
pub struct Probed {
    /// Exactly as the server sent them, its own certificate first, DER.
    pub presented: Vec<Vec<u8>>,
    /// What had to be added for this computer to trust the server: intermediates in order, then the root, DER. Empty
    /// if it is not trusted.
    pub completed: Vec<Vec<u8>>,
    /// Why this computer does not trust the server, if it does not.
    pub distrust: Option<Distrust>,
    /// Version and cipher.
    pub negotiated: Negotiated,
}

impl Connector {
    /// A connector that allows each of connecting and handshake 10 s.
    pub fn new(trust: Trust, resolve: Vec<Resolve>) -> Self {
        Self {
            judge: Judge::new(trust).map(Arc::new),
            dialer: Dialer { resolve, proxy: Proxy::default(), deadline: Duration::from_secs(10) },
            engine: Engine::default(),
            modern: OnceLock::new(),
            session_life: SESSION_LIFE,
        }
    }

    /// With another limit for each of connecting and handshake.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.dialer.deadline = deadline;
        self
    }

    /// With another TLS implementation. A server that it does not reach is an error, and never a reason for the other.
    pub fn with_engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// The TLS implementation.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// By another way than the system's: to servers, and to the addresses of missing intermediates.
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.dialer.proxy = proxy;
        self
    }

    #[cfg(test)]
    pub(super) fn with_session_life(mut self, session_life: Duration) -> Self {
        self.session_life = session_life;
        self
    }

    /// The same, for one server among those that share a name: it goes to `address` whenever `host`:`port` is meant. No
    /// session of another one is resumed there.
    pub fn led_to(&self, host: &str, port: u16, address: SocketAddr) -> Self {
        let mut resolve = vec![Resolve { host: host.to_owned(), port, address }];
        resolve.extend(self.dialer.resolve.iter().cloned());
        Self {
            judge: self.judge.clone(),
            dialer: Dialer { resolve, proxy: self.dialer.proxy.clone(), deadline: self.dialer.deadline },
            engine: self.engine,
            modern: OnceLock::new(),
            session_life: self.session_life,
        }
    }

    /// Where a name leads: to the address that was given for it, else to all that DNS has.
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, TlsError> {
        self.dialer.addresses(bare(host), port).await
    }

    /// Connects with ALPN `http/1.1`, or none when `alpn` is empty, and returns only if webpki trusts the server's
    /// certificate for `host`: a name, or an address with or without brackets.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        alpn: &[&str],
        traffic: &Arc<Traffic>,
    ) -> Result<Stream, TlsError> {
        let host = bare(host);
        let Met { shaken, distrust, local } = self.meet(host, port, Purpose::Talk { alpn }, traffic).await?;
        if let Some(reason) = distrust {
            return Err(TlsError::Untrusted {
                host: host.to_owned(),
                reason,
                presented: shaken.presented.iter().map(|c| c.to_vec()).collect(),
                verdict: Box::new(shaken.verdict.expect_err("distrust explains a verdict")),
            });
        }
        let (wire, negotiated) = shaken.open.expect("only distrust ends a handshake early");
        Ok(Stream { wire, negotiated, chain: self.judge()?.complete(&shaken.presented), local })
    }

    /// Shakes hands with a server that speaks TLS at once (443, 5061), whether or not it is trusted, and hangs up
    /// without sending it anything. An error means that there was no handshake; distrust is an answer.
    pub async fn probe(&self, host: &str, port: u16) -> Result<Probed, TlsError> {
        let host = bare(host);
        let Met { shaken, distrust, .. } = self.meet(host, port, Purpose::DangerLook, &Arc::default()).await?;
        let chain = match distrust {
            None => self.judge()?.complete(&shaken.presented),
            Some(_) => {
                ServerChain { presented: shaken.presented.iter().map(|c| c.to_vec()).collect(), completed: Vec::new() }
            }
        };
        let (_, negotiated) = shaken.open.expect("a look ends no handshake by distrust");
        Ok(Probed { presented: chain.presented, completed: chain.completed, distrust, negotiated })
    }

    /// Connects to a server whether or not it is trusted, without ALPN. Only for requests that hold nothing of anybody's, and
    /// for answers that nothing is decided by: a metadata capture for people to read.
    pub async fn danger_connect(&self, host: &str, port: u16, traffic: &Arc<Traffic>) -> Result<Stream, TlsError> {
        let Met { shaken, local, .. } = self.meet(bare(host), port, Purpose::DangerLook, traffic).await?;
        let presented = shaken.presented.iter().map(|c| c.to_vec()).collect();
        let (wire, negotiated) = shaken.open.expect("a look ends no handshake by distrust");
        Ok(Stream { wire, negotiated, chain: ServerChain { presented, completed: Vec::new() }, local })
    }

    /// Connects without TLS, by the same way. Only for what anybody may read and change on its way.
    pub async fn danger_connect_plainly(&self, host: &str, port: u16) -> Result<TcpStream, TlsError> {
        self.dialer.dial(bare(host), port).await
    }

    /// Begins a TLS handshake whose records travel elsewhere, with the registrar that calls itself `target`: by the same engine
    /// and trust as this connector's connections.
    ///
    /// # Errors
    /// What is wrong before anything is sent.
    pub fn tunnel(&self, target: &str, identity: &ClientIdentity) -> Result<Box<dyn Handshake>, TunnelError> {
        tunnel::begin(self.engine, self.judge.as_ref(), target, identity)
    }

    fn judge(&self) -> Result<&Arc<Judge>, TlsError> {
        self.judge.as_ref().ok_or(TlsError::NoAnchors)
    }

    /// Handshakes until the server is trusted, or nothing more can be fetched that would make it so.
    async fn meet(&self, host: &str, port: u16, purpose: Purpose<'_>, traffic: &Arc<Traffic>) -> Result<Met, TlsError> {
        let judge = self.judge()?;
        let mut tried = Vec::new();
        loop {
            let (shaken, local) = self.attempt(host, port, purpose, traffic).await?;
            let error = match &shaken.verdict {
                Ok(()) => {
                    traffic.count_handshake(shaken.resumed);
                    return Ok(Met { shaken, distrust: None, local });
                }
                // The server may have a better certificate by now; its sessions are forgotten.
                Err(_) if shaken.resumed => continue,
                Err(Error::InvalidCertificate(error)) => error.clone(),
                Err(_) => return Ok(Met { shaken, distrust: Some(Distrust::Unfit), local }),
            };
            let top = chain::walk(&shaken.presented, &judge.helping());
            if error == CertificateError::UnknownIssuer
                && let Some(top) = &top
                && !top.is_root
                && tried.len() < MAX_FETCHED
            {
                let known = |address: &String| tried.iter().any(|t: &String| t.starts_with(address.as_str()));
                if let Some(address) = top.addresses.iter().find(|address| !known(address)) {
                    match aia::fetch(address, &self.dialer.proxy).await {
                        Ok(found) => {
                            tracing::debug!(host, address, "fetched the issuer that the server does not send");
                            tried.push(format!("{address} (fetched)"));
                            judge.learn(found);
                        }
                        Err(problem) => tried.push(format!("{address} ({problem})")),
                    }
                    continue;
                }
            }
            let reason = distrust(&error, &shaken.presented, top, tried);
            return Ok(Met { shaken, distrust: Some(reason), local });
        }
    }

    async fn attempt(
        &self,
        host: &str,
        port: u16,
        purpose: Purpose<'_>,
        traffic: &Arc<Traffic>,
    ) -> Result<(Shaken, Option<SocketAddr>), TlsError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::BadHost { host: host.to_owned() })?;
        let judge = self.judge()?;
        let mut local = None;
        let mut dialed = async || {
            let tcp = self.dialer.dial(host, port).await?;
            local = tcp.local_addr().ok();
            Ok::<_, TlsError>(Counted::new(tcp, traffic.clone()))
        };
        let limit = self.dialer.deadline;
        let late = |_| self.dialer.timed_out(host, port, "TLS handshake");
        let shaken = match self.engine {
            Engine::Modern => {
                let modern = self.modern.get_or_init(|| Modern::new(judge.clone(), self.session_life));
                let handshake = modern.handshake((host, port), &name, purpose, dialed().await?);
                timeout(limit, handshake).await.map_err(late)?
            }
            #[cfg(feature = "legacy-tls")]
            Engine::Legacy => {
                let handshake = super::legacy::handshake(judge, &name, purpose, dialed().await?);
                timeout(limit, handshake).await.map_err(late)?
            }
            #[cfg(not(feature = "legacy-tls"))]
            Engine::Legacy => Err(TlsError::EngineMissing { host: host.to_owned() }),
        };
        Ok((shaken?, local))
    }
}

/// What came of meeting a server.
struct Met {
    shaken: Shaken,
    /// Why it is not trusted, if it is not.
    distrust: Option<Distrust>,
    /// This end of the connection.
    local: Option<SocketAddr>,
}

/// `web.contoso.example` of webpki's `DnsName("web.contoso.example")`.
fn without_kind(name: &str) -> String {
    name.split('"').nth(1).unwrap_or(name).to_owned()
}

pub(super) fn distrust(
    error: &CertificateError,
    presented: &[CertificateDer<'_>],
    top: Option<chain::Top>,
    tried: Vec<String>,
) -> Distrust {
    use CertificateError as E;
    let old = || chain::signed_with_a_broken_hash(presented).map(|subject| Distrust::OldSignature { subject });
    match error {
        E::UnsupportedSignatureAlgorithmContext { .. } => old().unwrap_or(Distrust::Unfit),
        E::Expired | E::ExpiredContext { .. } => Distrust::Expired,
        E::NotValidYet | E::NotValidYetContext { .. } => Distrust::NotYetValid,
        E::NotValidForName => Distrust::WrongName { names: Vec::new() },
        E::NotValidForNameContext { presented, .. } => {
            Distrust::WrongName { names: presented.iter().map(|name| without_kind(name)).collect() }
        }
        // A bad signature: an anchor has the issuer's name and another key, as after a CA was set up anew.
        E::UnknownIssuer | E::BadSignature => match top {
            Some(top) if top.is_root => Distrust::UnknownRoot { root: top.issuer },
            Some(top) if top.length > 1 => Distrust::UnknownIssuer { issuer: top.issuer, tried },
            Some(top) => Distrust::MissingIntermediate { issuer: top.issuer, tried },
            None => Distrust::Unfit,
        },
        // rustls keeps this enum open; whatever it adds, the verdict says it.
        _ => Distrust::Unfit,
    }
}
