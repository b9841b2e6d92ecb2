//! The other end of the wire for this module's tests: HTTPS on loopback with Windows authentication by sspi's server side.
//! It believes every ticket; the lab is the one that checks them.

pub(super) mod messages;
mod service;
mod windows;
pub(super) mod wire;

pub(super) use service::{Publishing, Service, Spnego, Tear};

use crate::tls::fixture::{Authority, Sends};
use crate::tls::{Resolve, Trust};
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use windows::Connection;

pub(super) const HOST: &str = "web.contoso.example";
pub(super) const PASSWORD: &str = "correct horse";
pub(super) const PIN: &str = "0712";

/// A running server.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) authority: Authority,
    /// Method, path, cookie and authorization scheme of every request, in order.
    pub(super) requests: Arc<Mutex<Vec<String>>>,
    /// Cuts the connections that are open now.
    pub(super) cut: Arc<Notify>,
}

impl Peer {
    pub(super) async fn start(service: Service) -> Self {
        let authority = Authority::new();
        let config = authority.server(&[HOST, "sts.fabrikam.example"], Sends::Everything, None);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let service = Arc::new(service);
        let log = requests.clone();
        let cut = Arc::new(Notify::new());
        let cutting = cut.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, service, log) = (TlsAcceptor::from(config.clone()), service.clone(), log.clone());
                let cut = cutting.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let connection = Arc::new(Mutex::new(Connection::default()));
                    let answer = service_fn(move |request: Request<Incoming>| {
                        let (service, log, connection) = (service.clone(), log.clone(), connection.clone());
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await.unwrap().to_bytes();
                            let number = {
                                let text = |name| head.headers.get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
                                let scheme = text("authorization").split(' ').next().unwrap_or_default().to_owned();
                                let line = format!("{} {} {} {scheme}", head.method, head.uri.path(), text("cookie"));
                                let mut log = log.lock().unwrap();
                                log.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
                                log.len()
                            };
                            if service.hang_up_at == Some(number) {
                                return Err("hang up");
                            }
                            let mut answer = service.answer(&mut connection.lock().unwrap(), &head, &body)?;
                            let headers = answer.headers_mut();
                            for (name, value) in service.headers {
                                headers.append(*name, value.parse().unwrap());
                            }
                            if service.one_answer_each && connection.lock().unwrap().handshake.is_none() {
                                headers.insert("connection", "close".parse().unwrap());
                            }
                            Ok(answer)
                        }
                    });
                    let server = hyper::server::conn::http1::Builder::new();
                    tokio::select! {
                        _ = server.serve_connection(TokioIo::new(stream), answer) => {}
                        () = cut.notified() => {}
                    }
                });
            }
        });
        Self { address, authority, requests, cut }
    }

    pub(super) fn trust(&self) -> Trust {
        let mut trust = Trust::only_given();
        trust.add_der("lab", &self.authority.root_der()).unwrap();
        trust
    }

    pub(super) fn resolve(&self) -> Vec<Resolve> {
        let at = |host: &str| Resolve { host: host.to_owned(), port: 443, address: self.address };
        vec![at(HOST), at("sts.fabrikam.example")]
    }

    pub(super) fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}
