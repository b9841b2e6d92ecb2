//! The listeners and their connections: TLS, HTTP/1.1, one task for each connection.

use super::answer::{Answer, Call, Scheme};
use super::ntlm::Handshake;
use super::record::Kind;
use super::service::{Connection, Service, strikes_at};
use super::shears::Sheared;
use super::{Options, WebServices, issuer_url};
use crate::lab::listeners::listeners;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The longest request that is read; a real one has some 6 KiB.
const LONGEST_REQUEST: usize = 1 << 20;

/// The connection is closed instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the lab hung up")]
struct HungUp;

pub(super) async fn start(options: Options) -> io::Result<WebServices> {
    let (https, https_v6) = listeners(options.https_port).await?;
    let (http, http_v6) = listeners(options.http_port).await?;
    let (https_address, http_address) = (https.local_addr()?, http.local_addr()?);
    let ipv6 = https_v6.as_ref().map(TcpListener::local_addr).transpose()?;
    let service = Arc::new(Service::new(options, https_address.port(), &issuer_url(http_address))?);
    let numbers = Arc::new(AtomicU64::new(0));
    let secure = [Some(https), https_v6].into_iter().flatten();
    let secure = secure.map(|listener| tokio::spawn(serve_https(listener, Arc::clone(&service), Arc::clone(&numbers))));
    let plain = [Some(http), http_v6].into_iter().flatten();
    let plain = plain.map(|listener| tokio::spawn(serve_http(listener, Arc::clone(&service))));
    let tasks = secure.chain(plain).collect();
    Ok(WebServices { service, https: https_address, ipv6, http: http_address, tasks })
}

async fn serve_https(listener: TcpListener, service: Arc<Service>, numbers: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let (service, numbers) = (Arc::clone(&service), Arc::clone(&numbers));
        let number = numbers.fetch_add(1, Ordering::Relaxed) + 1;
        connections.spawn(async move {
            let Ok(tls) = service.tls().accept(stream).await else { return };
            service.count(|counters| counters.connections += 1);
            serve(service, tls, number, Scheme::Https).await;
        });
    }
}

async fn serve_http(listener: TcpListener, service: Arc<Service>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        // Plain connections have no number: the front ends and the record count those of https.
        connections.spawn(serve(Arc::clone(&service), stream, 0, Scheme::Http));
    }
}

/// Serves one connection to its end.
async fn serve(service: Arc<Service>, stream: impl AsyncRead + AsyncWrite + Send + Unpin, number: u64, scheme: Scheme) {
    let (stream, shears) = Sheared::new(stream);
    let (end_point, handshake) = (service.end_point(), Mutex::new(Handshake::default()));
    let connection = Arc::new(Connection { number, handshake, end_point, shears });
    let answer =
        hyper::service::service_fn(|request| answer(Arc::clone(&service), Arc::clone(&connection), scheme, request));
    let mut http = hyper::server::conn::http1::Builder::new();
    // A connection that ends in an error is the client's or a fault's doing.
    let _ = http.auto_date_header(false).serve_connection(TokioIo::new(stream), answer).await;
}

async fn answer(
    service: Arc<Service>,
    connection: Arc<Connection>,
    scheme: Scheme,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, HungUp> {
    let (head, body) = request.into_parts();
    if strikes_at(&mut service.faults().unread, Kind::of(&head.method, head.uri.path())) {
        return Err(HungUp);
    }
    let body = Limited::new(body, LONGEST_REQUEST).collect().await.map_err(|_| HungUp)?.to_bytes();
    let header = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    let call = Call {
        scheme,
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        host: header(header::HOST).unwrap_or_default(),
        action: header(header::HeaderName::from_static("soapaction")),
        authorization: header(header::AUTHORIZATION),
        cookie: header(header::COOKIE),
        body: String::from_utf8(body.into()).unwrap_or_default(),
    };
    let answer = service.answer(&connection, &call).ok_or(HungUp)?;
    if let Some(delay) = answer.delay {
        tokio::time::sleep(delay).await;
    }
    if let Some(bytes) = answer.cut {
        connection.shears.cut_after(bytes);
    }
    Ok(response(answer))
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

impl Kind {
    /// What a request is for; paths are of any case, as on IIS.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        let is = |known: &str| path.eq_ignore_ascii_case(known);
        if method == Method::GET && (is(super::CERTPROV) || is(super::STS)) {
            Self::Wsdl
        } else if is(&format!("{}/mex", super::CERTPROV)) {
            Self::CertProvMetadata
        } else if is(&format!("{}/mex", super::STS)) {
            Self::WebTicketMetadata
        } else if is(super::STS) || is(super::STS_NTLM) {
            Self::NtlmTicket
        } else if is(super::PIN) {
            Self::PinTicket
        } else if is(super::CERTPROV) {
            Self::RootChains
        } else if is(super::CERT) {
            Self::CertificateTicket
        } else if is(super::PUBLISH) {
            Self::Publish
        } else if is(super::ISSUER) {
            Self::IssuerDownload
        } else {
            Self::Other
        }
    }
}
