//! The socket of a connection, with what is known of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::entry::Entry;

/// A stream that tells its entry what happens on it, and that ends for its reader when the entry is closed.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    entry: Arc<Entry>,
}

/// A stream of which the kernel can be asked.
pub(crate) trait Unread {
    /// Whether bytes have arrived that were not read.
    fn has_unread(&self) -> bool;
}

impl Unread for TcpStream {
    fn has_unread(&self) -> bool {
        recv(self, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok_and(|(_, bytes)| bytes > 0)
    }
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, entry: Arc<Entry>) -> Self {
        Self { stream, entry }
    }

    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Takes note of what was written.
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(bytes)) if bytes > 0) {
            self.entry.progressed();
        }
        written
    }
}

impl<S: AsyncRead + Unread + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // What had arrived before the connection was closed is still read: a request that was sent is served.
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            // The runtime says what it last heard of the kernel, which may know of more: then it will wake this task for it.
            Poll::Pending if self.entry.is_closing() && self.stream.has_unread() => Poll::Pending,
            Poll::Pending if self.entry.is_closing() => Poll::Ready(Ok(())),
            Poll::Pending => {
                self.entry.read_up(cx);
                Poll::Pending
            }
            ready @ Poll::Ready(_) => {
                self.entry.read();
                ready
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::poll_fn;
    use std::io::Write;

    use rustix::event::{PollFd, PollFlags, poll};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    impl Unread for DuplexStream {
        fn has_unread(&self) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn what_only_the_kernel_knows_of_is_read_before_a_closed_connection_ends() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        let entry = Arc::new(Entry::new());
        let mut server = Watched::new(TcpStream::from_std(server).unwrap(), Arc::clone(&entry));
        let mut piece = [0; 8];
        let read = poll_fn(|cx| {
            let read = Pin::new(&mut server).poll_read(cx, &mut ReadBuf::new(&mut piece));
            Poll::Ready(read.is_pending())
        });
        assert!(read.await, "the runtime has heard of nothing");
        client.write_all(b"request").unwrap();
        poll(&mut [PollFd::new(&server.stream, PollFlags::IN)], None).unwrap();
        entry.close();
        // It is polled before the runtime turns to its events.
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "request");
    }

    #[tokio::test]
    async fn what_had_arrived_is_read_before_a_closed_connection_ends() {
        let (mut client, server) = duplex(64);
        let entry = Arc::new(Entry::new());
        let mut server = Watched::new(server, Arc::clone(&entry));
        client.write_all(b"request").await.unwrap();
        entry.close();
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "request");
        server.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).await.unwrap();
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_told() {
        let (_client, server) = duplex(64);
        let entry = Arc::new(Entry::new());
        let mut server = Watched::new(server, Arc::clone(&entry));
        let mut buffer = [0; 8];
        let (read, ()) = tokio::join!(server.read(&mut buffer), async { entry.close() });
        assert_eq!(read.unwrap(), 0);
    }
}
