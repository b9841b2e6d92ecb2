//! HTTP/1.1 over streams that one enrolment holds itself: one per host, never shared, cookies kept with them.

use super::error::{ServiceError, Step};
use super::xml::{BadMessage, MAX_MESSAGE};
use crate::tls::{Connector, ServerChain, Stream, Traffic};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, CONTENT_TYPE, COOKIE, DATE, HOST, HeaderMap, SET_COOKIE, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::timeout;
use url::Url;
use zeroize::Zeroizing;

/// From sending a request to the end of its answer. Publishing writes to the user's home pool, which may take long.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// A name like this avoids refusals of unknown clients (confirmed for Office 365; no such rule is known on premises).
const AGENT: &str =
    concat!("UCCAPI/15.0.4420.1017 OC/15.0.4420.1017 (Microsoft Lync) tethercert/", env!("CARGO_PKG_VERSION"));

/// What may be done when the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing: once more on a new connection, if the broken one was an idle one.
    Freely,
    /// Only if not one byte of it was written.
    IfUnsent,
    /// It belongs to this connection: an NTLM handshake is half done.
    Never,
}

/// A request.
pub(super) struct Ask {
    pub(super) step: Step,
    pub(super) url: Url,
    /// SOAPAction and message; none for a GET.
    pub(super) soap: Option<(&'static str, Zeroizing<Vec<u8>>)>,
    pub(super) authorization: Option<Zeroizing<String>>,
    pub(super) repeat: Repeat,
}

/// An answer, whole.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// The server's clock less ours, seconds.
    pub(super) clock_offset: Option<i64>,
}

impl Answer {
    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The server that answered, by its own word.
    pub(super) fn server(&self) -> Option<String> {
        self.header("x-ms-server-fqdn").map(super::diagnostics::one_line)
    }
}

/// A failure, and whether the server may have seen the request.
pub(super) struct Unanswered {
    pub(super) may_have_arrived: bool,
    pub(super) error: ServiceError,
}

/// The streams and cookies of one enrolment.
pub(super) struct Lines {
    connector: Arc<Connector>,
    lines: HashMap<(String, u16), SendRequest<Full<Bytes>>>,
    /// Of every server met, also after its stream is gone.
    chains: HashMap<(String, u16), ServerChain>,
    cookies: HashMap<String, Vec<(String, String)>>,
    traffic: Arc<Traffic>,
    requests: AtomicU64,
}

impl Lines {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        Self {
            connector,
            lines: HashMap::new(),
            chains: HashMap::new(),
            cookies: HashMap::new(),
            traffic: Arc::default(),
            requests: AtomicU64::new(0),
        }
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The chain of the server at `url`, if there ever was a stream to it.
    pub(super) fn chain(&self, url: &Url) -> Option<&ServerChain> {
        self.chains.get(&place(url))
    }

    /// Closes the streams and drops the cookies: what comes next is somebody else to the server.
    pub(super) fn start_afresh(&mut self) {
        self.lines.clear();
        self.cookies.clear();
    }

    /// Every stream is closed.
    #[cfg(test)]
    pub(super) fn all_closed(&self) -> bool {
        self.lines.values().all(SendRequest::is_closed)
    }

    /// Sends a request and reads its answer to the end.
    pub(super) async fn ask(&mut self, ask: Ask) -> Result<Answer, Unanswered> {
        let key = place(&ask.url);
        let body = Bytes::from_owner(ask.soap.as_ref().map(|(_, message)| message.clone()).unwrap_or_default());
        let mut idle = self.lines.get(&key).is_some_and(|line| !line.is_closed());
        loop {
            if !idle {
                self.lines.remove(&key);
                if ask.repeat == Repeat::Never {
                    return Err(unsent(lost(&ask, "the server closed it during the NTLM handshake".into())));
                }
                let line = self.open(&key, ask.step).await.map_err(unsent)?;
                self.lines.insert(key.clone(), line);
            }
            let request = self.request(&ask, body.clone()).map_err(unsent)?;
            let line = self.lines.get_mut(&key).expect("a stream was just opened or found");
            let answer = match timeout(TIME_LIMIT, exchange(line, request, &ask)).await {
                Ok(answer) => answer,
                Err(_) => Err(Unanswered {
                    may_have_arrived: true,
                    error: ServiceError::TimedOut {
                        host: key.0.clone(),
                        step: ask.step,
                        seconds: TIME_LIMIT.as_secs(),
                    },
                }),
            };
            match answer {
                Ok(answer) => {
                    self.requests.fetch_add(1, Ordering::Relaxed);
                    self.keep(&key, &answer);
                    return Ok(answer);
                }
                Err(unanswered) => {
                    self.lines.remove(&key);
                    let again = match ask.repeat {
                        Repeat::Freely => matches!(unanswered.error, ServiceError::Lost { .. }),
                        Repeat::IfUnsent => !unanswered.may_have_arrived,
                        Repeat::Never => false,
                    };
                    if !(idle && again) {
                        return Err(unanswered);
                    }
                    tracing::debug!(host = key.0, "the server closed the idle connection; connecting again");
                    idle = false;
                }
            }
        }
    }

    async fn open(&mut self, key: &(String, u16), step: Step) -> Result<SendRequest<Full<Bytes>>, ServiceError> {
        let (host, port) = key;
        let connecting = self.connector.connect(host, *port, &["http/1.1"], &self.traffic);
        let stream: Stream = connecting.await.map_err(ServiceError::Connection)?;
        self.chains.insert(key.clone(), stream.server_chain().clone());
        let (sender, connection) = http1::Builder::new()
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ServiceError::Lost { host: host.clone(), step, source: error.into() })?;
        // Ends with the sender, or when the server closes; its error reaches the request that is under way.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn request(&self, ask: &Ask, body: Bytes) -> Result<Request<Full<Bytes>>, ServiceError> {
        let host = ask.url.host_str().unwrap_or_default();
        let authority = ask.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let target = match ask.url.query() {
            Some(query) => format!("{}?{query}", ask.url.path()),
            None => ask.url.path().to_owned(),
        };
        let mut request = Request::builder().uri(target).header(HOST, authority).header(USER_AGENT, AGENT);
        if let Some((action, _)) = &ask.soap {
            request = request
                .method(Method::POST)
                .header(CONTENT_TYPE, "text/xml; charset=utf-8")
                .header("SOAPAction", format!("\"{action}\""));
        }
        if let Some(authorization) = &ask.authorization {
            let mut value =
                hyper::header::HeaderValue::from_str(authorization).map_err(|error| lost(ask, Box::new(error)))?;
            value.set_sensitive(true);
            request = request.header(hyper::header::AUTHORIZATION, value);
        }
        if let Some(cookies) = self.cookies.get(&place(&ask.url).0).filter(|cookies| !cookies.is_empty()) {
            let cookies: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, cookies.join("; "));
        }
        request.body(Full::new(body)).map_err(|error| lost(ask, error.into()))
    }

    /// Cookies; and no further use of a stream that the server is closing.
    fn keep(&mut self, key: &(String, u16), answer: &Answer) {
        let cookies = self.cookies.entry(key.0.clone()).or_default();
        for value in answer.headers.get_all(SET_COOKIE).iter().filter_map(|v| v.to_str().ok()) {
            keep_cookie(cookies, value);
        }
        if answer.header(CONNECTION.as_str()).is_some_and(|value| value.to_ascii_lowercase().contains("close")) {
            self.lines.remove(key);
        }
    }
}

/// Cookies steer to one server of a pool; they go back to the host that set them and to no other.
fn keep_cookie(cookies: &mut Vec<(String, String)>, header: &str) {
    let mut parts = header.split(';');
    let Some((name, value)) = parts.next().and_then(|pair| pair.trim().split_once('=')) else { return };
    cookies.retain(|(known, _)| known != name);
    let gone = parts.any(|part| part.trim().eq_ignore_ascii_case("max-age=0"));
    if !gone && !value.is_empty() {
        cookies.push((name.to_owned(), value.to_owned()));
    }
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    ask: &Ask,
) -> Result<Answer, Unanswered> {
    sender.ready().await.map_err(|error| unsent(lost(ask, error.into())))?;
    let answer = sender.try_send_request(request).await.map_err(|mut error| {
        let may_have_arrived = error.take_message().is_none();
        Unanswered { may_have_arrived, error: lost(ask, error.into_error().into()) }
    })?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, MAX_MESSAGE).collect().await.map_err(|source| {
        let host = place(&ask.url).0;
        let error = if source.is::<http_body_util::LengthLimitError>() {
            ServiceError::BadAnswer { host, step: ask.step, source: BadMessage::TooLong }
        } else {
            ServiceError::Lost { host, step: ask.step, source }
        };
        Unanswered { may_have_arrived: true, error }
    })?;
    let now = OffsetDateTime::now_utc();
    let date =
        head.headers.get(DATE).and_then(|v| v.to_str().ok()).and_then(|v| OffsetDateTime::parse(v, &Rfc2822).ok());
    let answer = Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.to_bytes().to_vec(),
        clock_offset: date.map(|date| (date - now).whole_seconds()),
    };
    tracing::debug!(
        host = place(&ask.url).0,
        step = %ask.step,
        status = answer.status,
        server = answer.server().as_deref(),
        correlation = answer.header("x-ms-correlation-id"),
        "answer"
    );
    Ok(answer)
}

fn place(url: &Url) -> (String, u16) {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    (host.to_ascii_lowercase(), url.port_or_known_default().unwrap_or(443))
}

fn lost(ask: &Ask, source: Box<dyn std::error::Error + Send + Sync>) -> ServiceError {
    ServiceError::Lost { host: place(&ask.url).0, step: ask.step, source }
}

fn unsent(error: ServiceError) -> Unanswered {
    Unanswered { may_have_arrived: false, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_replaced_and_removed_by_its_name() {
        let mut cookies = Vec::new();
        keep_cookie(&mut cookies, "MS-WSMAN=fe01; path=/; secure");
        keep_cookie(&mut cookies, "MS-WSMAN=fe02; HttpOnly");
        keep_cookie(&mut cookies, "other=1");
        assert_eq!(cookies, [("MS-WSMAN".to_owned(), "fe02".to_owned()), ("other".to_owned(), "1".to_owned())]);
        keep_cookie(&mut cookies, "other=1; Max-Age=0");
        assert_eq!(cookies.len(), 1);
    }

    #[test]
    fn the_date_of_an_answer_is_read() {
        let date = OffsetDateTime::parse("Sun, 22 Nov 2026 21:09:28 GMT", &Rfc2822).unwrap();
        assert_eq!(date, time::macros::datetime!(2026-11-22 21:09:28 UTC));
    }
}
