//! An HTTP proxy for tunnels (CONNECT, RFC 9110 9.3.6): what stands between a bench and a pool in many a company.

use super::locked;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The longest head of a request that is read, lines.
const MOST_LINES: usize = 100;

/// What a proxy is like.
#[derive(Debug, Clone, Default)]
pub struct ProxyOptions {
    /// Name and password that it wants by Basic (407 without).
    pub login: Option<(String, SecretString)>,
    /// It forbids every tunnel (403).
    pub forbids: bool,
    /// Where names lead: `web.contoso.example:443`. Others are looked up.
    pub leads: BTreeMap<String, SocketAddr>,
}

/// A tunnel that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// `host:port`.
    pub target: String,
    /// The status it was answered with.
    pub status: u16,
}

/// A running proxy on loopback. It and its tunnels end when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    tunnels: Arc<Mutex<Vec<Tunnel>>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port could be had.
    pub async fn start(options: ProxyOptions) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let tunnels = Arc::new(Mutex::default());
        let accepting = tokio::spawn(accept(listener, Arc::new(options), Arc::clone(&tunnels)));
        Ok(Self { address, tunnels, accepting })
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The tunnels asked for, in order.
    pub fn tunnels(&self) -> Vec<Tunnel> {
        locked(&self.tunnels).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, options: Arc<ProxyOptions>, tunnels: Arc<Mutex<Vec<Tunnel>>>) {
    // The tunnels end with this task.
    let mut serving = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while serving.try_join_next().is_some() {}
        serving.spawn(serve(stream, Arc::clone(&options), Arc::clone(&tunnels)));
    }
}

async fn serve(stream: TcpStream, options: Arc<ProxyOptions>, tunnels: Arc<Mutex<Vec<Tunnel>>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let Some(head) = read(&mut stream).await? else { return Ok(()) };
        let (status, reason, header) = judge(&head, &options);
        let target = head.target.clone();
        let server = match status {
            200 => connect(&target, &options).await.ok(),
            _ => None,
        };
        let (status, reason) = if status == 200 && server.is_none() { (502, "Bad Gateway") } else { (status, reason) };
        locked(&tunnels).push(Tunnel { target, status });
        let length = if status == 200 { "" } else { "Content-Length: 0\r\n" };
        let answer = format!("HTTP/1.1 {status} {reason}\r\n{header}{length}\r\n");
        stream.write_all(answer.as_bytes()).await?;
        if let Some(mut server) = server {
            tokio::io::copy_bidirectional(&mut stream, &mut server).await?;
            return Ok(());
        }
    }
}

/// The head of a request.
struct Head {
    method: String,
    target: String,
    authorization: Option<String>,
}

/// `None`: the client has gone.
async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Head>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut authorization = None;
    for _ in 0..MOST_LINES {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line.trim().is_empty() {
            return Ok(Some(Head { method, target, authorization }));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("proxy-authorization")
        {
            authorization = Some(value.trim().to_owned());
        }
    }
    Ok(None)
}

/// Status, reason and a header line.
fn judge(head: &Head, options: &ProxyOptions) -> (u16, &'static str, &'static str) {
    let wanted = options
        .login
        .as_ref()
        .map(|(name, password)| format!("Basic {}", STANDARD.encode(format!("{name}:{}", password.expose_secret()))));
    match head.method.as_str() {
        "CONNECT" if wanted.is_some() && head.authorization != wanted => {
            (407, "Proxy Authentication Required", "Proxy-Authenticate: Basic realm=\"contoso.example\"\r\n")
        }
        "CONNECT" if options.forbids => (403, "Forbidden", ""),
        "CONNECT" => (200, "Connection established", ""),
        _ => (405, "Method Not Allowed", ""),
    }
}

async fn connect(target: &str, options: &ProxyOptions) -> io::Result<TcpStream> {
    match options.leads.get(target) {
        Some(address) => TcpStream::connect(address).await,
        None => TcpStream::connect(target).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// What the proxy says to this request, and what stands behind it.
    async fn asked(proxy: &Proxy, header: &str, target: &str) -> String {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_tunnel_leads_where_the_name_leads_and_is_counted() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let leads = [("web.contoso.example:443".to_owned(), server.local_addr().unwrap())].into();
        let proxy = Proxy::start(ProxyOptions { leads, ..ProxyOptions::default() }).await.unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            stream.write_all(b"here").await.unwrap();
        });
        let answer = asked(&proxy, "", "web.contoso.example:443").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nhere"), "{answer}");
        serving.await.unwrap();
        let tunnel = Tunnel { target: "web.contoso.example:443".to_owned(), status: 200 };
        assert_eq!(proxy.tunnels(), [tunnel]);
    }

    #[tokio::test]
    async fn a_proxy_can_want_a_password_forbid_and_fail() {
        let login = Some(("desk".to_owned(), "open sesame".into()));
        let proxy = Proxy::start(ProxyOptions { login, forbids: true, ..ProxyOptions::default() }).await.unwrap();
        let wrong = asked(&proxy, "", "x:1").await;
        assert!(wrong.starts_with("HTTP/1.1 407 ") && wrong.contains("Proxy-Authenticate: Basic realm="));
        let right = format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode("desk:open sesame"));
        assert!(asked(&proxy, &right, "x:1").await.starts_with("HTTP/1.1 403 "));
        assert!(
            !format!("{:?}", ProxyOptions { login: Some(("desk".into(), "sesame".into())), ..Default::default() })
                .contains("sesame")
        );

        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().to_string();
        let proxy = Proxy::start(ProxyOptions::default()).await.unwrap();
        assert!(asked(&proxy, "", &closed).await.starts_with("HTTP/1.1 502 "));
        assert_eq!(proxy.tunnels(), [Tunnel { target: closed, status: 502 }]);
    }
}
