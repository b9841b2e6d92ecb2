//! A TLS stream to a server that this computer trusts.

use super::aia;
use super::chain::{self, ServerChain};
use super::error::{Distrust, TlsError};
use super::traffic::{Counted, Traffic};
use super::trust::Trust;
use super::verifier::{Recorder, Seen};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How many missing intermediates are fetched one above the other.
const MAX_FETCHED: usize = 4;

/// Goes to `address` whenever `host`:`port` is meant; the certificate is still checked for `host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolve {
    /// The name, case does not count.
    pub host: String,
    /// The port that is asked for.
    pub port: u16,
    /// Where to connect instead.
    pub address: SocketAddr,
}

/// Makes TLS connections by one trust. Intermediates that it had to fetch are remembered for the next connection.
#[derive(Debug)]
pub struct Connector {
    trust: Trust,
    resolve: Vec<Resolve>,
    deadline: Duration,
    fetched: Mutex<Vec<CertificateDer<'static>>>,
}

impl Connector {
    /// A connector that allows each of connecting and handshake 10 s.
    pub fn new(trust: Trust, resolve: Vec<Resolve>) -> Self {
        Self { trust, resolve, deadline: Duration::from_secs(10), fetched: Mutex::new(Vec::new()) }
    }

    /// With another limit for each of connecting and handshake.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Connects with ALPN `http/1.1`, or none when `alpn` is empty, and returns only if webpki trusts the server's
    /// certificate for `host`.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        alpn: &[&str],
        traffic: &Arc<Traffic>,
    ) -> Result<Stream, TlsError> {
        let mut tried = Vec::new();
        loop {
            let helping = self.helping();
            let (seen, error) = match self.attempt(host, port, alpn, traffic, helping.clone()).await? {
                Attempt::Trusted(stream, seen) => {
                    let chain = chain::complete(&seen.presented, &helping, &self.trust);
                    return Ok(Stream { inner: stream, chain });
                }
                Attempt::Distrusted(seen, error) => (seen, error),
            };
            let top = chain::walk(&seen.presented, &helping);
            if error == CertificateError::UnknownIssuer
                && let Some(top) = &top
                && !top.is_root
                && tried.len() < MAX_FETCHED
            {
                let known = |address: &String| tried.iter().any(|t: &String| t.starts_with(address.as_str()));
                if let Some(address) = top.addresses.iter().find(|address| !known(address)) {
                    match aia::fetch(address).await {
                        Ok(found) => {
                            tracing::debug!(host, address, "fetched the issuer that the server does not send");
                            tried.push(format!("{address} (fetched)"));
                            self.fetched.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
                        }
                        Err(problem) => tried.push(format!("{address} ({problem})")),
                    }
                    continue;
                }
            }
            let reason = distrust(&error, top, tried);
            let presented = seen.presented.iter().map(|c| c.to_vec()).collect();
            let verdict = Box::new(Error::InvalidCertificate(error));
            return Err(TlsError::Untrusted { host: host.to_owned(), reason, presented, verdict });
        }
    }

    fn helping(&self) -> Vec<CertificateDer<'static>> {
        let fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        self.trust.intermediates().iter().chain(fetched.iter()).cloned().collect()
    }

    async fn attempt(
        &self,
        host: &str,
        port: u16,
        alpn: &[&str],
        traffic: &Arc<Traffic>,
        helping: Vec<CertificateDer<'static>>,
    ) -> Result<Attempt, TlsError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::BadHost { host: host.to_owned() })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let recorder = Arc::new(Recorder::new(&self.trust, helping, provider.clone()).ok_or(TlsError::NoAnchors)?);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(recorder.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config.resumption = rustls::client::Resumption::disabled();

        let tcp = self.dial(host, port).await?;
        let counted = Counted::new(tcp, traffic.clone());
        let late = |_| self.timed_out(host, port, "TLS handshake");
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, counted);
        match timeout(self.deadline, connecting).await.map_err(late)? {
            Ok(stream) => {
                let seen = recorder.seen().expect("a handshake without resumption verifies a certificate");
                Ok(Attempt::Trusted(Box::new(stream), seen))
            }
            Err(error) => match (tls_error(&error), recorder.seen()) {
                (Some(Error::InvalidCertificate(reason)), Some(seen)) if seen.verdict.is_err() => {
                    Ok(Attempt::Distrusted(seen, reason))
                }
                (Some(error), _) => Err(handshake_error(host, error)),
                (None, _) => Err(TlsError::Broken { host: host.to_owned(), source: error }),
            },
        }
    }

    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, TlsError> {
        let given = self.resolve.iter().find(|r| r.port == port && r.host.eq_ignore_ascii_case(host));
        let late = |_| self.timed_out(host, port, "connecting");
        let addresses: Vec<SocketAddr> = match given {
            Some(resolve) => vec![resolve.address],
            None => {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                let looked_up = timeout(self.deadline, tokio::net::lookup_host((bare, port))).await.map_err(late)?;
                looked_up.map_err(|source| TlsError::NotResolved { host: host.to_owned(), source })?.collect()
            }
        };
        let connecting = TcpStream::connect(addresses.as_slice());
        let tcp = timeout(self.deadline, connecting).await.map_err(late)?.map_err(|source| {
            let host = host.to_owned();
            match source.kind() {
                io::ErrorKind::ConnectionRefused => TlsError::Refused { host, port, source },
                _ => TlsError::Unreachable { host, port, source },
            }
        })?;
        // Small requests wait for answers: nothing is gained by holding them back.
        let _ = tcp.set_nodelay(true);
        Ok(tcp)
    }

    fn timed_out(&self, host: &str, port: u16, step: &'static str) -> TlsError {
        TlsError::TimedOut { host: host.to_owned(), port, seconds: self.deadline.as_secs(), step }
    }
}

enum Attempt {
    Trusted(Box<TlsStream<Counted>>, Seen),
    Distrusted(Seen, CertificateError),
}

fn tls_error(error: &io::Error) -> Option<Error> {
    error.get_ref()?.downcast_ref::<Error>().cloned()
}

fn handshake_error(host: &str, source: Error) -> TlsError {
    let host = host.to_owned();
    match &source {
        Error::AlertReceived(
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity,
        )
        | Error::PeerIncompatible(_) => TlsError::NoCommonCipher { host, source },
        _ => TlsError::Handshake { host, source },
    }
}

fn distrust(error: &CertificateError, top: Option<chain::Top>, tried: Vec<String>) -> Distrust {
    use CertificateError as E;
    match error {
        E::Expired | E::ExpiredContext { .. } => Distrust::Expired,
        E::NotValidYet | E::NotValidYetContext { .. } => Distrust::NotYetValid,
        E::NotValidForName => Distrust::WrongName { names: Vec::new() },
        E::NotValidForNameContext { presented, .. } => Distrust::WrongName { names: presented.clone() },
        // A bad signature: an anchor has the issuer's name and another key, as after a CA was set up anew.
        E::UnknownIssuer | E::BadSignature => match top {
            Some(top) if top.is_root || top.length > 1 => Distrust::UnknownRoot { root: top.issuer },
            Some(top) => Distrust::MissingIntermediate { issuer: top.issuer, tried },
            None => Distrust::Unfit,
        },
        // rustls keeps this enum open; whatever it adds, the verdict says it.
        _ => Distrust::Unfit,
    }
}

/// A TLS stream to a trusted server.
#[derive(Debug)]
pub struct Stream {
    inner: Box<TlsStream<Counted>>,
    chain: ServerChain,
}

impl Stream {
    /// The server's certificates.
    pub fn server_chain(&self) -> &ServerChain {
        &self.chain
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Authority, Sends, certs_only};
    use super::*;
    use rustls::ServerConfig;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    const HOST: &str = "web.contoso.example";

    /// Accepts and says nothing until it is dropped.
    async fn serve(config: Arc<ServerConfig>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(config.clone());
                tokio::spawn(async move {
                    if let Ok(mut stream) = acceptor.accept(tcp).await {
                        let _ = stream.read(&mut [0; 16]).await;
                    }
                });
            }
        });
        address
    }

    /// An HTTP server with one file.
    async fn serve_file(body: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let _ = tcp.read(&mut [0; 1024]).await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = tcp.write_all(head.as_bytes()).await;
                let _ = tcp.write_all(&body).await;
            }
        });
        format!("http://{address}/issuer.cer")
    }

    fn trusting(authority: &Authority) -> Trust {
        let mut trust = Trust::only_given();
        trust.add_der("lab", &authority.root_der()).unwrap();
        trust
    }

    async fn connect(trust: Trust, address: SocketAddr, host: &str) -> Result<Stream, TlsError> {
        let resolve = vec![Resolve { host: host.to_owned(), port: 443, address }];
        Connector::new(trust, resolve).connect(host, 443, &[], &Arc::default()).await
    }

    fn distrust_of(result: Result<Stream, TlsError>) -> (Distrust, usize) {
        match result.unwrap_err() {
            TlsError::Untrusted { reason, presented, .. } => (reason, presented.len()),
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn a_trusted_server_shows_what_it_sent_and_which_root_completed_it() {
        let authority = Authority::new();
        let address = serve(authority.server(&[HOST], Sends::Everything, None)).await;
        let stream = connect(trusting(&authority), address, HOST).await.unwrap();
        assert_eq!(stream.server_chain().presented.len(), 2);
        assert_eq!(stream.server_chain().completed, [authority.root_der()]);
    }

    #[tokio::test]
    async fn an_omitted_intermediate_is_taken_from_the_known_ones() {
        let authority = Authority::new();
        let address = serve(authority.server(&[HOST], Sends::OnlyItsOwn, None)).await;
        let mut trust = trusting(&authority);
        trust.add_der("lab", &authority.intermediate_der()).unwrap();
        let stream = connect(trust, address, HOST).await.unwrap();
        assert_eq!(stream.server_chain().presented.len(), 1);
        assert_eq!(stream.server_chain().completed, [authority.intermediate_der(), authority.root_der()]);
    }

    #[tokio::test]
    async fn an_omitted_intermediate_is_fetched_once_from_the_address_in_the_certificate() {
        let authority = Authority::new();
        let issuer_at = serve_file(authority.intermediate_der()).await;
        let address = serve(authority.server(&[HOST], Sends::OnlyItsOwn, Some(&issuer_at))).await;
        let resolve = vec![Resolve { host: HOST.to_owned(), port: 443, address }];
        let connector = Connector::new(trusting(&authority), resolve);
        let traffic = Arc::default();
        let stream = connector.connect(HOST, 443, &[], &traffic).await.unwrap();
        assert_eq!(stream.server_chain().completed, [authority.intermediate_der(), authority.root_der()]);
        assert_eq!(traffic.connections(), 2);
        connector.connect(HOST, 443, &[], &traffic).await.unwrap();
        assert_eq!(traffic.connections(), 3);
        assert!(traffic.received() > 500 && traffic.sent() > 300);
    }

    #[tokio::test]
    async fn a_fetched_issuer_may_come_as_pkcs7() {
        let authority = Authority::new();
        let issuer_at = serve_file(certs_only(&[authority.intermediate_der()])).await;
        let address = serve(authority.server(&[HOST], Sends::OnlyItsOwn, Some(&issuer_at))).await;
        connect(trusting(&authority), address, HOST).await.unwrap();
    }

    #[tokio::test]
    async fn a_fetched_certificate_of_somebody_else_helps_nobody() {
        let authority = Authority::new();
        let issuer_at = serve_file(Authority::new().intermediate_der()).await;
        let address = serve(authority.server(&[HOST], Sends::OnlyItsOwn, Some(&issuer_at))).await;
        assert!(connect(trusting(&authority), address, HOST).await.is_err());
    }

    #[tokio::test]
    async fn a_distrusted_chain_is_kept_and_the_reason_is_exact() {
        let authority = Authority::new();
        let whole = serve(authority.server(&[HOST], Sends::Everything, None)).await;
        let alone = serve(authority.server(&[HOST], Sends::OnlyItsOwn, None)).await;
        let stranger = || trusting(&Authority::new());

        let (reason, presented) = distrust_of(connect(stranger(), whole, HOST).await);
        assert_eq!((reason, presented), (Distrust::UnknownRoot { root: "CN=Contoso Root".to_owned() }, 2));

        let (reason, presented) = distrust_of(connect(trusting(&authority), alone, HOST).await);
        assert_eq!(presented, 1);
        assert!(matches!(reason, Distrust::MissingIntermediate { issuer, .. } if issuer == "CN=Contoso Issuing CA 2"));

        let (reason, _) = distrust_of(connect(trusting(&authority), whole, "sip.contoso.example").await);
        assert!(matches!(reason, Distrust::WrongName { names } if names.join(" ").contains(HOST)));

        let mut old = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        old.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let expired = serve(authority.server_with(old, Sends::Everything, None)).await;
        assert_eq!(distrust_of(connect(trusting(&authority), expired, HOST).await).0, Distrust::Expired);

        let mut young = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        young.not_before = rcgen::date_time_ymd(2090, 1, 1);
        let future = serve(authority.server_with(young, Sends::Everything, None)).await;
        assert_eq!(distrust_of(connect(trusting(&authority), future, HOST).await).0, Distrust::NotYetValid);
    }

    #[tokio::test]
    async fn an_old_server_is_named_as_such() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let _ = tcp.read(&mut [0; 2048]).await;
            // A TLS 1.0 record: alert, fatal, handshake_failure.
            let _ = tcp.write_all(&[21, 3, 1, 0, 2, 2, 40]).await;
            let _ = tcp.read(&mut [0; 16]).await;
        });
        let error = connect(trusting(&Authority::new()), address, HOST).await.unwrap_err();
        assert!(matches!(error, TlsError::NoCommonCipher { .. }), "{error}");
        assert!(error.to_string().contains("ECDHE with AES-GCM"));
    }

    #[tokio::test]
    async fn nothing_listening_no_name_and_silence_are_three_different_errors() {
        let authority = Authority::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let resolve = vec![Resolve { host: HOST.to_owned(), port: 443, address }];
        let silent = Connector::new(trusting(&authority), resolve).with_deadline(Duration::from_millis(50));
        let error = silent.connect(HOST, 443, &[], &Arc::default()).await.unwrap_err();
        assert!(matches!(error, TlsError::TimedOut { step: "TLS handshake", .. }), "{error}");

        drop(listener);
        let error = connect(trusting(&authority), address, HOST).await.unwrap_err();
        assert!(matches!(error, TlsError::Refused { .. }), "{error}");

        let nowhere = Connector::new(trusting(&authority), Vec::new());
        let error = nowhere.connect("no such host", 443, &[], &Arc::default()).await.unwrap_err();
        assert!(matches!(error, TlsError::BadHost { .. }), "{error}");
        assert!(error.next_step().contains("address"));

        let error = connect(Trust::only_given(), address, HOST).await.unwrap_err();
        assert!(matches!(error, TlsError::NoAnchors), "{error}");
    }
}
