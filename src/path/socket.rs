//! Bytes in and out of a peer, with or without TLS.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::TlsAcceptor;
use futures_rustls::server::TlsStream;
use glommio::net::TcpStream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockRef, TcpKeepalive};

use crate::buffers::ReadBuffer;
use crate::limits;

/// A connection to a client or a broker. Reading and writing go on side by side, from two tasks of one shard.
///
/// glommio reads by readiness: a read that is pending holds no buffer, and dropping it loses no byte.
#[derive(Debug)]
pub struct Socket {
    stream: RefCell<Stream>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// A socket without TLS.
    ///
    /// # Errors
    ///
    /// The system's, where the socket has gone already.
    pub fn plain(stream: TcpStream) -> io::Result<Self> {
        tune(&stream)?;
        Ok(Self { stream: RefCell::new(Stream::Plain(stream)) })
    }

    /// The server's side of a TLS handshake.
    ///
    /// # Errors
    ///
    /// The system's or the handshake's.
    pub async fn accept_tls(stream: TcpStream, acceptor: &TlsAcceptor) -> io::Result<Self> {
        tune(&stream)?;
        let stream = acceptor.accept(stream).await?;
        Ok(Self { stream: RefCell::new(Stream::Tls(Box::new(stream))) })
    }

    /// Reads once into the buffer's room; 0 is the end of the stream.
    ///
    /// # Cancel safety
    ///
    /// A pending read holds nothing; the buffer's storage is given back while it waits.
    pub fn poll_fill(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuffer,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut *self.stream.borrow_mut()).poll_read(context, buffer.room(wanted));
        match read {
            Poll::Ready(Ok(bytes)) => {
                buffer.filled(bytes);
                Poll::Ready(Ok(bytes))
            }
            other => {
                buffer.release();
                other
            }
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: a part may have been written.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = std::future::poll_fn(|context| {
                Pin::new(&mut *self.stream.borrow_mut()).poll_write(context, bytes)
            })
            .await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(written..).unwrap_or_default();
        }
        std::future::poll_fn(|context| Pin::new(&mut *self.stream.borrow_mut()).poll_flush(context))
            .await
    }

    /// Ends both directions; whatever waits on the socket ends with it. Errors mean that it has ended already.
    pub fn close(&self) {
        let stream = self.stream.borrow();
        let socket = stream.socket();
        // glommio's shutdown is a plain system call behind an async face: one poll completes it.
        let shutdown = std::pin::pin!(socket.shutdown(Shutdown::Both));
        let waker = std::task::Waker::noop();
        if let Poll::Ready(Err(error)) = shutdown.poll(&mut Context::from_waker(waker)) {
            tracing::trace!(%error, "the socket was closed already");
        }
    }

    /// Whether the peer has closed its side or is gone, also while bytes of its wait to be read. It costs four system
    /// calls: it is for connections that stand still.
    #[must_use]
    pub fn has_hung_up(&self) -> bool {
        let Ok(copy) = SockRef::from(self.stream.borrow().socket()).try_clone() else {
            return false;
        };
        // glommio's stream lends nobody its descriptor; a copy of it belongs to the same socket.
        let copy = std::net::TcpStream::from(copy);
        let mut watched = [PollFd::new(&copy, PollFlags::RDHUP)];
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        poll(&mut watched, Some(&Timespec::default())).is_ok()
            && watched.iter().any(|one| one.revents().intersects(gone))
    }
}

/// What every connection has: no waiting for more to send, and an end where the peer has vanished without a word.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(limits::KEEPALIVE_IDLE)
        .with_interval(limits::KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(limits::UNACKNOWLEDGED_MS_MAX))
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_close(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_close(context),
        }
    }
}

/// A socket that two loops share.
pub type SharedSocket = Rc<Socket>;
