//! A stream that can be cut within an answer: so many bytes go out, and then the connection is gone.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// No cut is ordered.
const WHOLE: u64 = u64::MAX;

/// Orders the cut.
#[derive(Debug, Clone)]
pub(super) struct Shears(Arc<AtomicU64>);

/// The stream. Its end comes without TLS's farewell, as when a cable is pulled.
pub(super) struct Sheared<S> {
    stream: S,
    left: Shears,
}

impl Shears {
    /// Lets so many more bytes out. The answers before have gone out by then: HTTP/1.1 has one at a time.
    pub(super) fn cut_after(&self, bytes: u64) {
        self.0.store(bytes.min(WHOLE - 1), Ordering::SeqCst);
    }
}

impl<S> Sheared<S> {
    pub(super) fn new(stream: S) -> (Self, Shears) {
        let left = Shears(Arc::new(AtomicU64::new(WHOLE)));
        (Self { stream, left: left.clone() }, left)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sheared<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sheared<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.left.0.load(Ordering::SeqCst);
        if left == 0 {
            // What was let out is on its way before the end.
            return Pin::new(&mut self.stream).poll_flush(cx).map(|_| Err(io::ErrorKind::BrokenPipe.into()));
        }
        let buf = &buf[..buf.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = &written
            && left != WHOLE
        {
            self.left.0.store(left - *written as u64, Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
