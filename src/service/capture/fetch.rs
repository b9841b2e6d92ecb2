//! One anonymous GET to a server that need not be trusted. No credential and no cookie ever goes out.

use crate::tls::{Connector, TlsError, Traffic};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, SET_COOKIE, USER_AGENT};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

/// Longest answer read, bytes; whole WSDLs of WCF have some 300 KiB.
const MAX_BODY: usize = 4 << 20;
/// For one document, connecting included.
const TIME_LIMIT: Duration = Duration::from_secs(30);
const AGENT: &str = concat!("tethercert/", env!("CARGO_PKG_VERSION"), " (anonymous metadata capture)");

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) status: u16,
    /// As sent, without the values of cookies.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no connection.
    #[error("no connection")]
    Connection(#[source] TlsError),
    /// The answer is no HTTP, or it broke off.
    #[error("the answer broke off, or is no HTTP")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Longer than any metadata.
    #[error("the answer is longer than {} MiB", MAX_BODY >> 20)]
    TooLong,
    /// No answer in time.
    #[error("no answer within {} s", TIME_LIMIT.as_secs())]
    TimedOut,
}

/// Gets what is at `url`, over TLS or plainly as it says.
pub(super) async fn get(connector: &Connector, url: &Url) -> Result<Fetched, FetchError> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let exchange = async {
        match url.scheme() {
            "http" => {
                let stream = connector.danger_connect_plainly(host, port).await.map_err(FetchError::Connection)?;
                over(stream, url).await
            }
            _ => {
                let traffic = Arc::new(Traffic::default());
                let stream = connector.danger_connect(host, port, &traffic).await.map_err(FetchError::Connection)?;
                over(stream, url).await
            }
        }
    };
    tokio::time::timeout(TIME_LIMIT, exchange).await.map_err(|_| FetchError::TimedOut)?
}

async fn over<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, url: &Url) -> Result<Fetched, FetchError> {
    let broken = |error: hyper::Error| FetchError::Broken(error.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = tokio::spawn(connection);
    let request = Request::get(&url[url::Position::BeforePath..url::Position::AfterQuery])
        .header(HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
        .header(USER_AGENT, AGENT)
        .body(Empty::<Bytes>::new())
        .map_err(|error| FetchError::Broken(error.into()))?;
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() { FetchError::TooLong } else { FetchError::Broken(error) }
    });
    connection.abort();
    Ok(Fetched { status: head.status.as_u16(), headers: shown(&head.headers), body: body?.to_bytes().to_vec() })
}

/// What a cookie holds may be worth something to somebody; that there is one, and its name, says enough.
fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let shown = |(name, value): (&hyper::header::HeaderName, _)| match *name == SET_COOKIE {
        true => {
            let whole = text(value);
            let cookie = whole.split_once('=').map_or("", |(cookie, _)| cookie);
            (name.to_string(), format!("{cookie}=(left out)"))
        }
        false => (name.to_string(), text(value)),
    };
    headers.iter().map(shown).collect()
}
