//! TLS over a socket, by polls: [`Records`] and the transport that carries them.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use rustls::ServerConfig;

use super::records::{Records, TlsError};
use crate::buffers::{Pool, ReadBuffer};
use crate::limits;

/// The server's side of TLS over `T`, which is another than a socket in tests only.
#[derive(Debug)]
pub(super) struct TlsStream<T> {
    transport: T,
    records: Records,
    /// Plaintext that came while nobody read: behind the handshake, or beside a write.
    unread: ReadBuffer,
}

impl<T: AsyncRead + AsyncWrite + Unpin> TlsStream<T> {
    /// Before the first byte of a handshake.
    ///
    /// # Errors
    ///
    /// [`TlsError::Protocol`] where the configuration does not allow a connection.
    pub(super) fn new(
        transport: T,
        config: Arc<ServerConfig>,
        pool: Rc<Pool>,
    ) -> Result<Self, TlsError> {
        let records = Records::new(config, &pool)?;
        Ok(Self { transport, records, unread: ReadBuffer::new(pool) })
    }

    /// What carries the records.
    pub(super) fn transport(&self) -> &T {
        &self.transport
    }

    /// Memory that the buffers hold.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.records.held_bytes() + self.unread.held_bytes()
    }

    /// Drives the handshake until both sides may send.
    ///
    /// # Errors
    ///
    /// The transport's or [`TlsError`]; the client has its alert then, if it takes it at once.
    pub(super) fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..limits::TLS_READS_MAX {
            if let Err(error) = self.records.decrypt(&mut self.unread, 0) {
                self.try_flush(context);
                return Poll::Ready(Err(error.into()));
            }
            ready!(self.poll_flush(context))?;
            if !self.records.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_receive(context))?;
        }
        yielded(context)
    }

    /// Reads until there is plaintext, which goes behind `buffer`; 0 is the end of what the client sends.
    ///
    /// # Errors
    ///
    /// The transport's or [`TlsError`].
    pub(super) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuffer,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        let unread = self.unread.bytes().len();
        if unread > 0 {
            buffer.append(self.unread.bytes(), 0, wanted);
            self.unread.consume(unread);
            return Poll::Ready(Ok(unread));
        }
        for _ in 0..limits::TLS_READS_MAX {
            // Where something is unsent, a write waits for the transport, and sends what is added behind it.
            let nobody_writes = self.records.unsent().is_empty();
            let decrypted = self.records.decrypt(buffer, wanted);
            if nobody_writes {
                self.try_flush(context);
            }
            let decrypted = decrypted?;
            if decrypted > 0 || self.records.peer_closed() {
                return Poll::Ready(Ok(decrypted));
            }
            ready!(self.poll_receive(context))?;
        }
        yielded(context)
    }

    /// Encrypts the front of `bytes` and returns how much that was; [`TlsStream::poll_flush`] sends it.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, TlsError> {
        self.records.encrypt(bytes, &mut self.unread)
    }

    /// Sends all that is to be sent.
    ///
    /// # Errors
    ///
    /// The transport's.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.records.unsent().is_empty() {
            let unsent = self.records.unsent();
            let sent = ready!(Pin::new(&mut self.transport).poll_write(context, unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.records.sent(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Says goodbye, if the transport takes it at once and nothing else is on its way.
    pub(super) fn end(&mut self) {
        if !self.records.unsent().is_empty() || self.records.is_handshaking() {
            return;
        }
        match self.records.end(&mut self.unread) {
            Ok(()) => self.try_flush(&mut Context::from_waker(Waker::noop())),
            Err(error) => tracing::trace!(%error, "TLS has ended already"),
        }
    }

    /// Sends what the transport takes now. It is for alerts, whose reader may have gone.
    fn try_flush(&mut self, context: &mut Context<'_>) {
        if let Poll::Ready(Err(error)) = self.poll_flush(context) {
            tracing::trace!(%error, "an alert was not sent");
        }
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let room = self.records.room()?;
        match Pin::new(&mut self.transport).poll_read(context, room) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(TlsError::Truncated.into())),
            Poll::Ready(Ok(bytes)) => {
                self.records.received(bytes);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.records.rest();
                Poll::Pending
            }
        }
    }
}

/// Others have their turn first.
fn yielded<T>(context: &Context<'_>) -> Poll<T> {
    context.waker().wake_by_ref();
    Poll::Pending
}
