//! A TLS stream to a server that this computer trusts.

use super::binding;
use super::chain::ServerChain;
use super::handshake::{Negotiated, Wire};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A TLS stream to a trusted server, whichever engine speaks.
#[derive(Debug)]
pub struct Stream {
    pub(super) wire: Box<dyn Wire>,
    pub(super) negotiated: Negotiated,
    pub(super) chain: ServerChain,
    pub(super) local: Option<SocketAddr>,
}

impl Stream {
    /// The server's certificates.
    pub fn server_chain(&self) -> &ServerChain {
        &self.chain
    }

    /// What ties a sign-in to this server: the application data of the channel binding `tls-server-end-point` (RFC 5929,
    /// section 4), prefix included. `None` where none is defined for the server's certificate.
    pub fn channel_binding(&self) -> Option<Vec<u8>> {
        binding::server_end_point(self.chain.presented.first()?)
    }

    /// This end of the TCP connection.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Version and cipher, for people.
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.wire).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.wire).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.wire).poll_shutdown(cx)
    }
}
