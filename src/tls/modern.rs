//! The engine for every pool that can do better than TLS 1.0: rustls, with sessions that all connections of a connector
//! share.
//!
//! A session holds no credential and proves none: NTLM signs in a TCP connection, tickets travel in messages. It was
//! begun by a handshake that the judge approved, is resumed at the same host and port only, and is judged again then.

use super::Engine;
use super::error::TlsError;
use super::handshake::{Negotiated, Purpose, Shaken};
use super::judge::{self, Judge, Recorder, Refusal, Seen};
use super::traffic::Counted;
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, Error, HandshakeKind};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How long sessions with a server are resumed, as long as its metadata is believed.
pub(super) const SESSION_LIFE: Duration = Duration::from_secs(60 * 60);
/// Of how many servers sessions are kept; a pool has a handful.
const MAX_SERVERS: usize = 32;
/// Tickets of one server, as rustls counts them.
const TICKETS: usize = 8;

/// rustls for one connector.
#[derive(Debug)]
pub(super) struct Modern {
    judge: Arc<Judge>,
    config: ClientConfig,
    session_life: Duration,
    sessions: Mutex<HashMap<(String, u16), Sessions>>,
}

#[derive(Debug)]
struct Sessions {
    begun: Instant,
    store: Arc<ClientSessionMemoryCache>,
}

impl Modern {
    pub(super) fn new(judge: Arc<Judge>, session_life: Duration) -> Self {
        let config = config(judge.clone(), Refusal::Ends);
        Self { judge, config, session_life, sessions: Mutex::default() }
    }

    /// One handshake with the server `name` at `place`, over a connection that leads there.
    pub(super) async fn handshake(
        &self,
        place: (&str, u16),
        name: &ServerName<'static>,
        purpose: Purpose<'_>,
        tcp: Counted,
    ) -> Result<Shaken, TlsError> {
        let config = match purpose {
            Purpose::Talk { alpn } => {
                let mut config = self.config.clone();
                config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
                config.resumption = Resumption::store(self.sessions_with(place));
                config
            }
            Purpose::DangerLook => config(self.judge.clone(), Refusal::DangerGoesOn),
        };
        let connecting = TlsConnector::from(Arc::new(config)).connect(name.clone(), tcp);
        let (stream, seen) = judge::recorded(connecting).await;
        match stream {
            Ok(stream) => self.shaken(place, name, stream, seen),
            Err(error) => match (tls_error(&error), seen) {
                (Some(Error::InvalidCertificate(_)), Some(Seen { presented, verdict: Err(verdict) })) => {
                    Ok(Shaken { presented, verdict: Err(verdict), resumed: false, open: None })
                }
                (Some(error), _) => Err(handshake_error(place.0, error)),
                (None, _) => Err(TlsError::Broken { host: place.0.to_owned(), source: error }),
            },
        }
    }

    fn shaken(
        &self,
        place: (&str, u16),
        name: &ServerName<'_>,
        stream: TlsStream<Counted>,
        seen: Option<Seen>,
    ) -> Result<Shaken, TlsError> {
        let (_, session) = stream.get_ref();
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let Seen { presented, verdict } = seen.unwrap_or_else(|| {
            let presented = session.peer_certificates().unwrap_or_default().to_vec();
            let verdict = self.judge.judge(&presented, name);
            Seen { presented, verdict }
        });
        if verdict.is_err() {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(place));
        }
        let negotiated = negotiated(session);
        Ok(Shaken { presented, verdict, resumed, open: Some((Box::new(stream), negotiated)) })
    }

    fn sessions_with(&self, place: (&str, u16)) -> Arc<ClientSessionMemoryCache> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, sessions| sessions.begun.elapsed() < self.session_life);
        if sessions.len() >= MAX_SERVERS {
            sessions.clear();
        }
        let begin = || Sessions { begun: Instant::now(), store: Arc::new(ClientSessionMemoryCache::new(TICKETS)) };
        sessions.entry(key(place)).or_insert_with(begin).store.clone()
    }
}

/// What both sides agreed on.
pub(super) fn negotiated(session: &rustls::ClientConnection) -> Negotiated {
    let version = session.protocol_version().map_or_else(String::new, |version| match version {
        rustls::ProtocolVersion::TLSv1_2 => "TLS 1.2".to_owned(),
        rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
        other => format!("{other:?}"),
    });
    let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    Negotiated { version, cipher: suite.unwrap_or_default().replacen("TLS13_", "TLS_", 1) }
}

fn key((host, port): (&str, u16)) -> (String, u16) {
    (host.to_ascii_lowercase(), port)
}

fn config(judge: Arc<Judge>, refusal: Refusal) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(judge::provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Recorder { judge, refusal }))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
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
        | Error::PeerIncompatible(_) => {
            TlsError::NoCommonCipher { host, engine: Engine::Modern, source: Box::new(source) }
        }
        _ => TlsError::Handshake { host, source: Box::new(source) },
    }
}
