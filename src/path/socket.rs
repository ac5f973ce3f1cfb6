//! Bytes in and out of a peer, with or without TLS.

mod conduit;
mod records;
#[cfg(test)]
mod tests;
mod tls;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};

pub use self::conduit::{Conduit, Conduits};
pub use self::records::TlsError;
use self::tls::TlsStream;
use crate::buffers::{Pool, ReadBuffer};
use crate::limits;

/// A connection to a client or a broker. Reading and writing go on side by side, from two tasks of one shard.
///
/// glommio reads by readiness: a read that is pending holds no buffer, and dropping it loses no byte. TLS holds the part of
/// a record that has come, and no more.
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

    /// The server's side of TLS; [`Socket::poll_handshake`] comes first.
    ///
    /// # Errors
    ///
    /// The system's, where the socket has gone already; [`TlsError`] where the configuration allows no connection.
    pub fn tls(stream: TcpStream, config: Arc<ServerConfig>, pool: Rc<Pool>) -> io::Result<Self> {
        tune(&stream)?;
        let stream = TlsStream::new(stream, config, pool)?;
        Ok(Self { stream: RefCell::new(Stream::Tls(Box::new(stream))) })
    }

    /// Drives the handshake, where there is one. It has no time limit of its own: [`Socket::close`] ends it.
    ///
    /// # Errors
    ///
    /// The system's or [`TlsError`].
    pub fn poll_handshake(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.stream.borrow_mut() {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::Tls(tls) => tls.poll_handshake(context),
        }
    }

    /// Reads once into the buffer's room, `most` bytes at most where there is no TLS; 0 is the end of the stream, after which
    /// writing goes on.
    ///
    /// # Errors
    ///
    /// The system's or [`TlsError`], also where TLS ends without a close_notify.
    ///
    /// # Cancel safety
    ///
    /// A pending read holds nothing; the buffer's storage is given back while it waits.
    pub fn poll_fill(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuffer,
        wanted: usize,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let read = match &mut *self.stream.borrow_mut() {
            Stream::Plain(stream) => {
                let room = buffer.room(wanted);
                let room_bytes = room.len().min(most);
                let room = room.get_mut(..room_bytes).unwrap_or_default();
                let read = Pin::new(stream).poll_read(context, room);
                if let Poll::Ready(Ok(bytes)) = read {
                    buffer.filled(bytes);
                }
                read
            }
            Stream::Tls(tls) => tls.poll_fill(context, buffer, wanted),
        };
        buffer.release();
        read
    }

    /// Reads once, `most` bytes at most, without TLS.
    ///
    /// # Errors
    ///
    /// The system's; with TLS nobody knows how many bytes a record has.
    ///
    /// # Cancel safety
    ///
    /// As [`Socket::poll_fill`].
    pub fn poll_fill_few(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuffer,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let Stream::Plain(stream) = &mut *self.stream.borrow_mut() else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        let room = buffer.room_for(most, 0);
        let room = room.get_mut(..most).unwrap_or_default();
        let read = Pin::new(stream).poll_read(context, room);
        if let Poll::Ready(Ok(bytes)) = read {
            buffer.filled(bytes);
        }
        buffer.release();
        read
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// The system's or [`TlsError`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: a part may have been written.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken =
                poll_fn(|context| self.stream.borrow_mut().poll_take(context, bytes)).await?;
            if taken == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(taken..).unwrap_or_default();
            poll_fn(|context| self.stream.borrow_mut().poll_flush(context)).await?;
        }
        Ok(())
    }

    /// Ends both directions; whatever waits on the socket ends with it. Errors mean that it has ended already.
    pub fn close(&self) {
        let mut stream = self.stream.borrow_mut();
        let socket = match &mut *stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => {
                tls.end();
                tls.transport()
            }
        };
        // glommio's shutdown is a plain system call behind an async face: one poll completes it.
        let shutdown = std::pin::pin!(socket.shutdown(Shutdown::Both));
        if let Poll::Ready(Err(error)) = shutdown.poll(&mut Context::from_waker(Waker::noop())) {
            tracing::trace!(%error, "the socket was closed already");
        }
    }

    /// Whether its bytes are plain: those of TLS go through this process.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(&*self.stream.borrow(), Stream::Plain(_))
    }

    /// A descriptor of the same socket; `None` where it has TLS, or no file is left.
    fn share(&self) -> Option<OwnedFd> {
        let Stream::Plain(stream) = &*self.stream.borrow() else { return None };
        // glommio's stream lends nobody its descriptor; a copy of it belongs to the same socket.
        let copy = SockRef::from(stream).try_clone().ok()?;
        Some(std::net::TcpStream::from(copy).into())
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

/// What every connection has: no waiting for more to send, and an end where the peer has vanished without a word. Nobody
/// waits within a system call: glommio says so at each of its own, splicing asks the socket.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_nonblocking(true)?;
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
            Self::Tls(tls) => tls.transport(),
        }
    }
}

impl Stream {
    /// Takes the front of `bytes` and returns how much that was.
    fn poll_take(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(tls) => Poll::Ready(tls.take(bytes).map_err(io::Error::from)),
        }
    }

    /// Sends all that was taken.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_flush(context),
        }
    }
}

/// A socket that two loops share.
pub type SharedSocket = Rc<Socket>;
