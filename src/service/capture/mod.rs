//! What a pool says about itself to anybody: the metadata of its services and the certificates of its servers, saved so that
//! what is not public can be learned from it.
//!
//! Only anonymous GETs go out, also to servers that this computer does not trust: nobody's secret is in them, and nothing
//! is decided by the answers. Links are followed on the same host only, with limits on number, size, depth and time.

mod fetch;
mod findings;
mod folder;
#[cfg(test)]
mod tests;

pub use fetch::FetchError;
pub use findings::{Findings, OperationFound, PortFound, TypeFound};
pub use folder::WriteError;

use super::ocauth::Pool;
use crate::tls::{Connector, TlsError};
use std::collections::{HashSet, VecDeque};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;
use url::Url;

/// Most documents that are asked for.
const MOST_DOCUMENTS: usize = 64;
/// Most bytes of all documents together.
const MOST_BYTES: usize = 16 << 20;
/// How many links lead from one of the first documents to the last that is followed.
const DEEPEST: usize = 4;
/// For all of it.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// What of a service is asked for: its metadata, its WSDL in parts and whole.
const PARTS: [&str; 3] = ["/mex", "?wsdl", "?singleWsdl"];
/// Where the web ticket service is on every pool that is known (confirmed).
const WEB_TICKET_PATH: &str = "/WebTicket/WebTicketService.svc";
/// Where certificate provisioning is on every pool that is known (confirmed).
const CERTPROV_PATH: &str = "/CertProv/CertProvisioningService.svc";

/// What a pool says about itself.
#[derive(Debug)]
pub struct Capture {
    /// The certificate provisioning service that was asked.
    pub certprov_url: Url,
    /// When.
    pub began: OffsetDateTime,
    /// The servers that speak TLS.
    pub servers: Vec<Server>,
    /// Every document that was asked for, in order.
    pub documents: Vec<Captured>,
    /// Links that were not followed, and why.
    pub not_followed: Vec<(Url, &'static str)>,
    /// What the documents say.
    pub findings: Findings,
}

/// A server, by its handshake.
#[derive(Debug)]
pub struct Server {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The certificates exactly as sent, its own first, DER.
    pub presented: Vec<Vec<u8>>,
    /// Why this computer does not trust it; nothing if it does.
    pub distrust: Option<String>,
    /// Version and cipher, or why there was no handshake.
    pub tls: Result<String, TlsError>,
}

/// A document that was asked for.
#[derive(Debug)]
pub struct Captured {
    /// Where it is.
    pub url: Url,
    /// When it was asked for.
    pub at: OffsetDateTime,
    /// What came.
    pub answer: Result<Answer, FetchError>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers in order, cookies without their values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why nothing was captured.
#[derive(Debug, thiserror::Error)]
#[error("{host} answered none of {asked} requests")]
pub struct NothingCaptured {
    /// The host of certificate provisioning.
    pub host: String,
    /// How many requests were made.
    pub asked: usize,
    /// What came of the first.
    #[source]
    pub first: FetchError,
}

impl NothingCaptured {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match &self.first {
            FetchError::Connection(error) => error.next_step(),
            FetchError::Broken(_) | FetchError::TooLong => "check that the address is the Web Services of a pool",
            FetchError::TimedOut => "check the firewall between this computer and the pool, then repeat",
        }
    }

    /// Waiting and repeating may help.
    pub fn is_temporary(&self) -> bool {
        match &self.first {
            FetchError::Connection(error) => error.is_temporary(),
            FetchError::TimedOut => true,
            FetchError::Broken(_) | FetchError::TooLong => false,
        }
    }
}

impl Capture {
    /// How many documents came with status 200.
    pub fn got(&self) -> usize {
        self.documents.iter().filter(|document| matches!(&document.answer, Ok(answer) if answer.status == 200)).count()
    }

    /// The ways to sign in that were offered where a document wanted one, as `WWW-Authenticate` has them.
    pub fn schemes(&self) -> Vec<String> {
        let answers = self.documents.iter().filter_map(|document| document.answer.as_ref().ok());
        let mut schemes: Vec<String> = answers
            .flat_map(|answer| answer.headers.iter())
            .filter(|(name, _)| name == "www-authenticate")
            .filter_map(|(_, value)| Some(value.split_whitespace().next()?.to_owned()))
            .collect();
        schemes.sort();
        schemes.dedup();
        schemes
    }
}

/// Captures what `pool` says about itself. Its plain-http side is asked at `http_port`, 80 on real pools.
pub async fn capture(pool: &Pool, http_port: u16) -> Result<Capture, NothingCaptured> {
    let mut certprov = pool.certprov_url().clone();
    if certprov.path() == "/" {
        certprov.set_path(CERTPROV_PATH);
    }
    let mut collector = Collector::new(pool, &certprov, http_port);
    collector.server(&certprov).await;
    collector.service(&certprov).await;
    let issuer = collector.web_ticket_service(&certprov);
    collector.server(&issuer).await;
    collector.service(&issuer).await;
    let mut plain = certprov.clone();
    // Host and path stay, so neither can fail.
    let _ = plain.set_scheme("http");
    let _ = plain.set_port(Some(http_port));
    collector.service(&plain).await;
    collector.capture.end()
}

impl Capture {
    fn end(mut self) -> Result<Self, NothingCaptured> {
        if self.documents.iter().any(|document| document.answer.is_ok()) {
            return Ok(self);
        }
        let asked = self.documents.len();
        let host = self.certprov_url.host_str().unwrap_or_default().to_owned();
        let first = self.documents.drain(..).find_map(|document| document.answer.err());
        Err(NothingCaptured { host, asked, first: first.expect("documents were asked for, and none came") })
    }
}

struct Collector {
    connector: std::sync::Arc<Connector>,
    http_port: u16,
    capture: Capture,
    asked: HashSet<Url>,
    bytes: usize,
    deadline: Instant,
}

impl Collector {
    fn new(pool: &Pool, certprov: &Url, http_port: u16) -> Self {
        Self {
            connector: pool.connector(),
            http_port,
            capture: Capture {
                certprov_url: certprov.clone(),
                began: OffsetDateTime::now_utc(),
                servers: Vec::new(),
                documents: Vec::new(),
                not_followed: Vec::new(),
                findings: Findings::default(),
            },
            asked: HashSet::new(),
            bytes: 0,
            deadline: Instant::now() + TIME_LIMIT,
        }
    }

    /// The certificates of the server at `url`, once.
    async fn server(&mut self, url: &Url) {
        let (host, port) = (url.host_str().unwrap_or_default().to_owned(), url.port_or_known_default().unwrap_or(443));
        if self.capture.servers.iter().any(|server| server.host == host && server.port == port) {
            return;
        }
        let server = match self.connector.probe(&host, port).await {
            Ok(probed) => Server {
                host,
                port,
                distrust: probed.distrust.map(|distrust| distrust.to_string()),
                tls: Ok(probed.negotiated.to_string()),
                presented: probed.presented,
            },
            Err(error) => Server { host, port, presented: Vec::new(), distrust: None, tls: Err(error) },
        };
        self.capture.servers.push(server);
    }

    /// A service's metadata, and what it leads to.
    async fn service(&mut self, service: &Url) {
        let bare = format!("{}{}", &service[..url::Position::BeforePath], service.path().trim_end_matches('/'));
        let first = PARTS.iter().filter_map(|part| Url::parse(&format!("{bare}{part}")).ok());
        let mut queue: VecDeque<(Url, usize)> = first.map(|url| (url, 0)).collect();
        while let Some((url, depth)) = queue.pop_front() {
            if let Some(reason) = self.full() {
                self.not_followed(url, reason);
                continue;
            }
            if !self.asked.insert(url.clone()) {
                continue;
            }
            for link in self.document(&url).await {
                match self.may_follow(&url, &link, depth) {
                    _ if self.asked.contains(&link) => {}
                    Ok(()) => queue.push_back((link, depth + 1)),
                    Err(reason) => self.not_followed(link, reason),
                }
            }
        }
    }

    /// One document; the answer is where it leads.
    async fn document(&mut self, url: &Url) -> Vec<Url> {
        let at = OffsetDateTime::now_utc();
        let fetched = tokio::time::timeout_at(self.deadline, fetch::get(&self.connector, url)).await;
        let mut links = Vec::new();
        let answer = fetched.unwrap_or(Err(FetchError::TimedOut)).map(|fetched| {
            self.bytes += fetched.body.len();
            if fetched.status == 200 {
                self.capture.findings.read(&fetched.body);
                links = findings::links(url, &fetched.body);
            }
            Answer { status: fetched.status, headers: fetched.headers, body: fetched.body }
        });
        self.capture.documents.push(Captured { url: url.clone(), at, answer });
        links.iter_mut().for_each(|link| link.set_fragment(None));
        links
    }

    fn not_followed(&mut self, mut link: Url, reason: &'static str) {
        // It cannot fail where there is a host, and without one there is no login.
        let _ = (link.set_username(""), link.set_password(None));
        if self.capture.not_followed.len() < MOST_DOCUMENTS {
            self.capture.not_followed.push((link, reason));
        }
    }

    fn full(&self) -> Option<&'static str> {
        match () {
            () if self.asked.len() >= MOST_DOCUMENTS => Some("enough documents"),
            () if self.bytes >= MOST_BYTES => Some("enough bytes"),
            () if Instant::now() >= self.deadline => Some("out of time"),
            () => None,
        }
    }

    /// Metadata may name the machine behind the pool, or anybody.
    fn may_follow(&self, from: &Url, link: &Url, depth: usize) -> Result<(), &'static str> {
        let same_port = link.port_or_known_default() == from.port_or_known_default();
        match link.scheme() {
            _ if !link.username().is_empty() || link.password().is_some() => Err("a login in its address"),
            _ if link.host_str() != from.host_str() => Err("another host"),
            "https" if same_port && from.scheme() == "https" => Ok(()),
            "http" if link.port_or_known_default() == Some(self.http_port) => Ok(()),
            _ => Err("another port"),
        }
        .and_then(|()| if depth < DEEPEST { Ok(()) } else { Err("too deep") })
    }

    /// Where tickets come from: by the policy of certificate provisioning, else the usual place on the same host.
    fn web_ticket_service(&self, certprov: &Url) -> Url {
        let named = self.capture.findings.issuers.iter().filter_map(|issuer| Url::parse(issuer).ok());
        let usable = |url: &Url| url.scheme() == "https" && url.has_host() && url.username().is_empty();
        named.into_iter().find(usable).unwrap_or_else(|| {
            let mut usual = certprov.clone();
            usual.set_path(WEB_TICKET_PATH);
            usual
        })
    }
}
