//! The way to a server when it leads through an HTTP proxy: CONNECT (RFC 9110, section 9.3.6), with Basic credentials if
//! the proxy's address holds some.

use super::error::TlsError;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use std::fmt;
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;
use zeroize::Zeroizing;

/// Longest head of an answer to CONNECT, bytes.
const MAX_HEAD: usize = 8 << 10;

/// The way to a server.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Proxy {
    /// As the system says: `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case; on Windows and macOS also what is
    /// set there. Never to this computer itself, and never where the operator said which address to go to.
    #[default]
    System,
    /// Straight, whatever the system says.
    Straight,
    /// By CONNECT through this HTTP proxy, always. A user name and password in it are for the proxy.
    Through(Url),
}

/// Without the proxy's credentials.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("System"),
            Self::Straight => f.write_str("Straight"),
            Self::Through(url) => write!(f, "Through({})", place_of(url)),
        }
    }
}

/// A proxy that has to be gone through.
pub(super) struct Gate {
    pub(super) host: String,
    pub(super) port: u16,
    credentials: Option<HeaderValue>,
}

impl Proxy {
    /// The proxy on the way to `host`, if one is. `given` says that the operator named the address to go to.
    pub(super) fn gate(&self, host: &str, port: u16, given: bool) -> Result<Option<Gate>, TlsError> {
        match self {
            Self::Straight => Ok(None),
            Self::System if given => Ok(None),
            Self::System => Gate::by_system(&Matcher::from_system(), host, port),
            Self::Through(url) => match intercept(&Matcher::builder().all(url.as_str()).build(), host, port) {
                Some(found) => Gate::of(&found).map(Some),
                None => Err(TlsError::ProxyUnfit { proxy: place_of(url) }),
            },
        }
    }

    /// The same choice for a client of reqwest that goes to `address`. `given` says that the operator named where it leads.
    ///
    /// Plain http gets no roots for TLS: a computer that has none can fetch by it all the same.
    pub(crate) fn applied(
        &self,
        client: reqwest::ClientBuilder,
        address: &Url,
        given: bool,
    ) -> Result<reqwest::ClientBuilder, reqwest::Error> {
        let client = if address.scheme() == "http" { client.tls_certs_only([]) } else { client };
        let straight = given || address.host_str().is_some_and(is_this_computer);
        match self {
            Self::System if !straight => Ok(client),
            Self::System | Self::Straight => Ok(client.no_proxy()),
            Self::Through(url) => Ok(client.proxy(reqwest::Proxy::all(url.clone())?)),
        }
    }
}

impl Gate {
    fn by_system(matcher: &Matcher, host: &str, port: u16) -> Result<Option<Self>, TlsError> {
        if is_this_computer(host) {
            return Ok(None);
        }
        intercept(matcher, host, port).map(|found| Self::of(&found)).transpose()
    }

    fn of(intercept: &Intercept) -> Result<Self, TlsError> {
        let uri = intercept.uri();
        let unfit = || TlsError::ProxyUnfit { proxy: uri.to_string().trim_end_matches('/').to_owned() };
        if uri.scheme_str() != Some("http") {
            return Err(unfit());
        }
        let host = super::bare(uri.host().ok_or_else(unfit)?).to_owned();
        Ok(Self { host, port: uri.port_u16().unwrap_or(80), credentials: intercept.basic_auth().cloned() })
    }

    /// `proxy.contoso.example:8080`, for errors.
    pub(super) fn name(&self) -> String {
        authority(&self.host, self.port)
    }

    /// Has the proxy connect to `host`:`port`. The answer is read up to its end and not further: what comes after is the
    /// server's, and a TLS server never speaks first.
    pub(super) async fn pass(&self, tcp: &mut TcpStream, host: &str, port: u16) -> Result<(), TlsError> {
        let nonsense = |source| TlsError::ProxyNonsense { proxy: self.name(), source };
        let target = authority(host, port);
        let mut request = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes());
        if let Some(credentials) = &self.credentials {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(credentials.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        tcp.write_all(&request).await.map_err(nonsense)?;
        match status(&head(tcp).await.map_err(nonsense)?) {
            Some(200..=299) => Ok(()),
            Some(407) => Err(TlsError::ProxyWantsLogin { proxy: self.name(), given: self.credentials.is_some() }),
            Some(status) => Err(TlsError::ProxyRefuses { proxy: self.name(), host: host.to_owned(), port, status }),
            None => Err(nonsense(io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))),
        }
    }
}

async fn head(tcp: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            let problem = format!("the answer's head is longer than {} KiB", MAX_HEAD >> 10);
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        // Byte by byte: short, once for each connection, and never a byte too far.
        head.push(tcp.read_u8().await?);
    }
    Ok(head)
}

/// The status of an answer's head.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(2..5)?;
    let sound = rest.get(1) == Some(&b' ') && matches!(rest.get(5), Some(b' ' | b'\r'));
    let number = std::str::from_utf8(digits).ok().filter(|_| sound && digits.iter().all(u8::is_ascii_digit))?;
    number.parse().ok().filter(|status| *status >= 100)
}

fn intercept(matcher: &Matcher, host: &str, port: u16) -> Option<Intercept> {
    matcher.intercept(&format!("https://{}/", authority(host, port)).parse::<Uri>().ok()?)
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn place_of(url: &Url) -> String {
    format!("{}://{}", url.scheme(), &url[url::Position::BeforeHost..url::Position::AfterPort])
}

fn is_this_computer(host: &str) -> bool {
    let host = super::bare(host);
    host.parse::<IpAddr>().map_or_else(
        |_| host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost"),
        |address| address.to_canonical().is_loopback(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::fixture::{Authority, Sends};
    use crate::tls::{Connector, Resolve, Stream, Traffic, Trust};
    use proptest::prelude::*;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    const HOST: &str = "web.contoso.example";

    /// A proxy for one connection: it answers, and then speaks TLS as the server that was asked for. Returns what it was
    /// asked.
    async fn proxy(authority: &Authority, answer: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = authority.server(&[HOST, "192.0.2.7"], Sends::Everything, None);
        let asked = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let asked = String::from_utf8(head(&mut tcp).await.unwrap()).unwrap();
            let _ = tcp.write_all(answer).await;
            if let Ok(mut stream) = TlsAcceptor::from(config).accept(tcp).await {
                let _ = stream.read(&mut [0; 16]).await;
            }
            asked
        });
        (address, asked)
    }

    async fn connect(
        authority: &Authority,
        url: String,
        host: &str,
        resolve: Vec<Resolve>,
    ) -> Result<Stream, TlsError> {
        let mut trust = Trust::only_given();
        trust.add_der("lab", &authority.root_der()).unwrap();
        let connector = Connector::new(trust, resolve).with_proxy(Proxy::Through(Url::parse(&url).unwrap()));
        assert!(!format!("{connector:?}").contains("s3cret"), "{connector:?}");
        connector.connect(host, 443, &[], &Arc::<Traffic>::default()).await
    }

    #[tokio::test]
    async fn a_server_behind_a_proxy_is_still_judged_by_its_own_name() {
        let authority = Authority::new();
        let (at, asked) = proxy(&authority, b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await;
        connect(&authority, format!("http://{at}"), HOST, Vec::new()).await.unwrap();
        let expected = format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n");
        assert_eq!(asked.await.unwrap(), expected);

        let (at, _asked) = proxy(&authority, b"HTTP/1.1 200 OK\r\n\r\n").await;
        let error = connect(&authority, format!("http://{at}"), "sip.contoso.example", Vec::new()).await.unwrap_err();
        assert!(matches!(error, TlsError::Untrusted { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_proxy_gets_its_own_credentials_and_no_error_shows_them() {
        let authority = Authority::new();
        let (at, asked) = proxy(&authority, b"HTTP/1.0 200 OK\r\n\r\n").await;
        connect(&authority, format!("http://al%40ice:s3cret@{at}"), HOST, Vec::new()).await.unwrap();
        // al@ice:s3cret
        assert!(asked.await.unwrap().contains("Proxy-Authorization: Basic YWxAaWNlOnMzY3JldA==\r\n"));

        for (answer, wants_login) in [
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".as_slice(), true),
            (b"HTTP/1.1 403 Forbidden\r\n\r\n".as_slice(), false),
        ] {
            let (at, _asked) = proxy(&authority, answer).await;
            let error = connect(&authority, format!("http://alice:s3cret@{at}"), HOST, Vec::new()).await.unwrap_err();
            assert_eq!(matches!(error, TlsError::ProxyWantsLogin { given: true, .. }), wants_login, "{error}");
            assert_eq!(matches!(error, TlsError::ProxyRefuses { status: 403, .. }), !wants_login, "{error}");
            let shown = format!("{error} {error:?} {}", error.next_step());
            assert!(!shown.contains("s3cret") && !shown.contains("YWxp"), "{shown}");
        }
    }

    #[tokio::test]
    async fn no_proxy_another_kind_of_proxy_and_nonsense_are_told_apart() {
        let authority = Authority::new();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = connect(&authority, format!("http://{closed}"), HOST, Vec::new()).await.unwrap_err();
        assert!(matches!(error, TlsError::ProxyUnreachable { .. }) && error.is_temporary(), "{error}");

        for other in ["socks5://alice:s3cret@127.0.0.1:1080", "https://127.0.0.1:1080", "ftp://127.0.0.1"] {
            let error = connect(&authority, other.to_owned(), HOST, Vec::new()).await.unwrap_err();
            assert!(matches!(error, TlsError::ProxyUnfit { .. }), "{error}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
        for answer in [b"SSH-2.0-OpenSSH_9.2\r\n\r\n".as_slice(), &[b'x'; MAX_HEAD + 1]] {
            let (at, _asked) = proxy(&authority, answer).await;
            let error = connect(&authority, format!("http://{at}"), HOST, Vec::new()).await.unwrap_err();
            assert!(matches!(error, TlsError::ProxyNonsense { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn an_address_that_was_given_is_what_an_explicit_proxy_is_asked_for() {
        let authority = Authority::new();
        let (at, asked) = proxy(&authority, b"HTTP/1.1 200 OK\r\n\r\n").await;
        let resolve = Resolve { host: HOST.to_owned(), port: 443, address: "[2001:db8::7]:4443".parse().unwrap() };
        connect(&authority, format!("http://{at}"), HOST, vec![resolve]).await.unwrap();
        assert!(asked.await.unwrap().starts_with("CONNECT [2001:db8::7]:4443 HTTP/1.1\r\n"));
    }

    #[test]
    fn the_systems_proxy_is_for_servers_elsewhere_and_not_for_exceptions() {
        let matcher = Matcher::builder().https("http://proxy.contoso.example:8080").no("fabrikam.example").build();
        let goes = |host| Gate::by_system(&matcher, host, 443).unwrap().map(|gate| gate.name());
        assert_eq!(goes(HOST).as_deref(), Some("proxy.contoso.example:8080"));
        assert!(goes("2001:db8::7").is_some());
        for straight in ["web.fabrikam.example", "localhost", "pool.localhost", "127.0.0.1", "127.9.9.9", "::1"] {
            assert_eq!(goes(straight), None, "{straight}");
        }
        assert!(Proxy::System.gate(HOST, 443, true).unwrap().is_none(), "the operator gave the address");
        assert!(Proxy::Straight.gate(HOST, 443, false).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn any_answer_is_a_status_or_none(head in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(status(&head).is_none_or(|status| (100..1000).contains(&status)));
        }

        #[test]
        fn a_proper_status_is_read(code in 100_u16..1000) {
            prop_assert_eq!(status(format!("HTTP/1.1 {code} Fine\r\n\r\n").as_bytes()), Some(code));
            prop_assert_eq!(status(format!("HTTP/1.1 {code}\r\n\r\n").as_bytes()), Some(code));
        }
    }
}
