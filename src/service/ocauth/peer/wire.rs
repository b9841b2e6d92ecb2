//! A peer that answers with bytes as they are told, for what no well-bred server writes.

use super::HOST;
use crate::tls::fixture::{Authority, Sends};
use crate::tls::{Resolve, Trust};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What follows an answer.
#[derive(Clone, Copy, PartialEq)]
pub(in super::super) enum Then {
    Stay,
    Close,
    /// Without the TLS alert that tells an end from a cut.
    Cut,
}

pub(in super::super) struct Wire {
    address: SocketAddr,
    authority: Authority,
    /// Head of every request.
    pub(in super::super) heads: Arc<Mutex<Vec<String>>>,
}

impl Wire {
    /// `answer` is given the request's first line.
    pub(in super::super) async fn start(answer: impl Fn(&str) -> (Vec<u8>, Then) + Send + Sync + 'static) -> Self {
        let authority = Authority::new();
        let acceptor = TlsAcceptor::from(authority.server(&[HOST], Sends::Everything, None));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, heads) = (Arc::new(answer), Arc::<Mutex<Vec<String>>>::default());
        let log = heads.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, answer, log) = (acceptor.clone(), answer.clone(), log.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(tcp).await else { return };
                    while let Some(head) = read_request(&mut stream).await {
                        let line = head.lines().next().unwrap_or_default().to_owned();
                        log.lock().unwrap().push(head);
                        let (bytes, then) = answer(&line);
                        stream.write_all(&bytes).await.unwrap();
                        stream.flush().await.unwrap();
                        match then {
                            Then::Stay => {}
                            Then::Close => return drop(stream.shutdown().await),
                            Then::Cut => return,
                        }
                    }
                });
            }
        });
        Self { address, authority, heads }
    }

    pub(in super::super) fn trust(&self) -> Trust {
        let mut trust = Trust::only_given();
        trust.add_der("lab", &self.authority.root_der()).unwrap();
        trust
    }

    pub(in super::super) fn resolve(&self) -> Vec<Resolve> {
        vec![Resolve { host: HOST.to_owned(), port: 443, address: self.address }]
    }
}

/// The head of a request, its body read to its end.
async fn read_request(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    while bytes.len() < end + length.unwrap_or(0usize) {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(head)
}
