//! HTTP/1.1 over streams that one enrolment holds itself: one per host, never shared, cookies kept with them.

mod answer;
mod cookies;

pub(super) use answer::Answer;

use super::error::{ServiceError, Step};
use crate::tls::{Connector, ServerChain, Stream, Traffic};
use bytes::Bytes;
use cookies::Cookies;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
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
    /// Of the newest stream to every server met.
    bindings: HashMap<(String, u16), Vec<u8>>,
    cookies: Cookies,
    traffic: Arc<Traffic>,
    requests: AtomicU64,
}

impl Lines {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        Self {
            connector,
            lines: HashMap::new(),
            chains: HashMap::new(),
            bindings: HashMap::new(),
            cookies: Cookies::default(),
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
        self.cookies = Cookies::default();
    }

    /// What ties a sign-in to the TLS stream that is open to the server at `url`: `tls-server-end-point` (RFC 5929).
    pub(super) fn channel_binding(&self, url: &Url) -> Option<Vec<u8>> {
        self.bindings.get(&place(url)).cloned()
    }

    /// Closes the stream to the server at `url`: a handshake begins on a connection of its own.
    pub(super) fn close(&mut self, url: &Url) {
        self.lines.remove(&place(url));
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
        match stream.channel_binding() {
            Some(binding) => self.bindings.insert(key.clone(), binding),
            None => self.bindings.remove(key),
        };
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
        if let Some(cookies) = self.cookies.header(&place(&ask.url).0) {
            request = request.header(COOKIE, cookies);
        }
        request.body(Full::new(body)).map_err(|error| lost(ask, error.into()))
    }

    /// Cookies; and no further use of a stream that the server is closing.
    fn keep(&mut self, key: &(String, u16), answer: &Answer) {
        for value in answer.headers(SET_COOKIE.as_str()) {
            self.cookies.keep(&key.0, &value);
        }
        if answer.closing {
            self.lines.remove(key);
        }
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
    let answer = Answer::read(answer).await.map_err(|bad| {
        let host = place(&ask.url).0;
        Unanswered { may_have_arrived: true, error: ServiceError::BadAnswer { host, step: ask.step, source: bad } }
    })?;
    tracing::debug!(
        host = place(&ask.url).0,
        step = %ask.step,
        status = answer.status,
        server = answer.server().as_deref(),
        correlation = answer.headers("x-ms-correlation-id").next().as_deref(),
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
