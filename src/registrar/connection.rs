//! A connection to a registrar: messages out, messages in, each with a deadline.

use super::error::{RegistrarError, Stage};
use super::message::{Framer, Message};
use crate::tls::{Connector, Negotiated, ServerChain, Stream, Traffic};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

/// A registrar: its name, which its certificate has to be for, and its port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// The name.
    pub host: String,
    /// The port: 5061, as a rule.
    pub port: u16,
    /// Which of the pool's addresses; `None`: whichever answers.
    pub at: Option<SocketAddr>,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)?;
        match self.at {
            Some(address) => write!(f, " at {address}"),
            None => Ok(()),
        }
    }
}

/// What was heard while waiting.
pub(super) enum Heard {
    Message(Message),
    /// Nothing, for the whole time.
    Nothing,
}

pub(super) struct Connection {
    stream: Stream,
    framer: Framer,
    server: String,
    local: SocketAddr,
    last_sent: Instant,
}

impl Connection {
    /// Trusted for the server's name, or an error.
    pub(super) async fn open(by: &Connector, server: &Server) -> Result<Self, RegistrarError> {
        let led = server.at.map(|at| by.led_to(&server.host, server.port, at));
        let by = led.as_ref().unwrap_or(by);
        let traffic = Arc::<Traffic>::default();
        let stream = by.connect(&server.host, server.port, &[], &traffic).await.map_err(RegistrarError::Connection)?;
        // Where the way leads through a proxy, the system's word on it may be missing.
        let local = stream.local_address().unwrap_or(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 5061));
        let server = server.to_string();
        Ok(Self { stream, framer: Framer::new(), server, local, last_sent: Instant::now() })
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn negotiated(&self) -> &Negotiated {
        self.stream.negotiated()
    }

    pub(super) fn chain(&self) -> &ServerChain {
        self.stream.server_chain()
    }

    /// When something was sent last: keep-alives go by it.
    pub(super) fn last_sent(&self) -> Instant {
        self.last_sent
    }

    pub(super) async fn send(
        &mut self,
        message: &Message,
        stage: Stage,
        limit: Duration,
    ) -> Result<(), RegistrarError> {
        tracing::trace!(server = self.server, start = %message.start, "SIP out");
        self.write(&message.to_bytes(), stage, limit).await
    }

    /// Two line ends: they keep the connection and say nothing (RFC 5626, section 3.5.1).
    pub(super) async fn keep_alive(&mut self, limit: Duration) -> Result<(), RegistrarError> {
        self.write(b"\r\n\r\n", Stage::Stay, limit).await
    }

    async fn write(&mut self, bytes: &[u8], stage: Stage, limit: Duration) -> Result<(), RegistrarError> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout(limit, sending).await {
            Ok(Ok(())) => {
                self.last_sent = Instant::now();
                Ok(())
            }
            Ok(Err(source)) => Err(RegistrarError::Lost { server: self.server.clone(), stage, source }),
            Err(_) => Err(self.timed_out(stage, limit)),
        }
    }

    /// The next message, until a moment. May be given up and called again: nothing that arrived is lost.
    pub(super) async fn hear(&mut self, until: Instant, stage: Stage) -> Result<Heard, RegistrarError> {
        loop {
            let message = self.framer.next_message();
            let no_sip = |source| RegistrarError::NoSip { server: self.server.clone(), source };
            if let Some(message) = message.map_err(no_sip)? {
                tracing::trace!(server = self.server, start = %message.start, "SIP in");
                return Ok(Heard::Message(message));
            }
            let mut buffer = [0; 8192];
            match timeout_at(until, self.stream.read(&mut buffer)).await {
                Err(_) => return Ok(Heard::Nothing),
                Ok(Ok(0)) => return Err(RegistrarError::Closed { server: self.server.clone(), stage }),
                Ok(Ok(read)) => self.framer.feed(&buffer[..read]),
                // Many a server hangs up without TLS's good-bye.
                Ok(Err(source)) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(RegistrarError::Closed { server: self.server.clone(), stage });
                }
                Ok(Err(source)) => return Err(RegistrarError::Lost { server: self.server.clone(), stage, source }),
            }
        }
    }

    pub(super) fn timed_out(&self, stage: Stage, limit: Duration) -> RegistrarError {
        RegistrarError::TimedOut { server: self.server.clone(), stage, seconds: limit.as_secs() }
    }
}
