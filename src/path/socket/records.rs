//! TLS without a socket: ciphertext in, plaintext out, and back.
//!
//! ```text
//!  socket ─▶ incoming ── rustls, in place ──▶ frame reader
//!  socket ◀─ outgoing ◀─ rustls, four records at once ── bytes to send
//! ```
//!
//! rustls has the keys and the protocol, and no buffer of its own: both buffers are the shard's, and hold memory only
//! while they hold bytes.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError};
use thiserror::Error;

use crate::buffers::{Pool, ReadBuffer};
use crate::limits;
use crate::path::frame::{Bounds, FrameSize};

/// What a client that knows no TLS may begin with: a request of Kafka's before login.
const KAFKA: Bounds =
    Bounds { min: limits::FRAME_BYTES_MIN, max: limits::FRAME_BEFORE_LOGIN_BYTES_MAX };

/// What a TLS record begins with: its content type, from change_cipher_spec to application_data.
const CONTENT_TYPES: RangeInclusive<u8> = 20..=23;

/// Why TLS with a client ended.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The first bytes are no TLS.
    #[error("the client speaks {0}, not TLS")]
    NotTls(&'static str),
    /// The client broke the protocol, has nothing in common with us, or says that we did.
    #[error("TLS failed: {0}")]
    Protocol(#[from] rustls::Error),
    /// A handshake message that does not end.
    #[error("a TLS message of more than {} bytes", limits::TLS_HELD_BYTES_MAX)]
    TooLong,
    /// The connection ended where TLS had not.
    #[error("the connection ended without a close_notify")]
    Truncated,
    /// Nothing goes either way any more: after an error, after our close_notify, or because the keys are used up.
    #[error("TLS has ended")]
    Ended,
    /// rustls wants more room than a record can need, or is in a state that it documents no way out of.
    #[error("rustls is in a state that cannot be: {0}")]
    State(&'static str),
}

/// The server's side of one TLS connection.
pub(super) struct Records {
    connection: UnbufferedServerConnection,
    /// Invariant: between calls no whole record is in it but after an error.
    incoming: ReadBuffer,
    outgoing: ReadBuffer,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not a message of the client's was understood yet.
    Unknown,
    /// The handshake, and what follows it.
    Open,
    /// The client sends nothing more; it may be sent to.
    PeerClosed,
    /// An error, or our own close_notify.
    Ended,
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        let kind = match &error {
            TlsError::Truncated => io::ErrorKind::UnexpectedEof,
            TlsError::Ended => io::ErrorKind::NotConnected,
            TlsError::NotTls(_) | TlsError::Protocol(_) | TlsError::TooLong => {
                io::ErrorKind::InvalidData
            }
            TlsError::State(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl Records {
    /// Before the first byte of a handshake.
    ///
    /// # Errors
    ///
    /// [`TlsError::Protocol`] where the configuration does not allow a connection.
    pub(super) fn new(config: Arc<ServerConfig>, pool: &Rc<Pool>) -> Result<Self, TlsError> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            incoming: ReadBuffer::new(Rc::clone(pool)),
            outgoing: ReadBuffer::new(Rc::clone(pool)),
            phase: Phase::Unknown,
        })
    }

    /// Whether the handshake is not done yet.
    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the client said that it sends nothing more.
    pub(super) fn peer_closed(&self) -> bool {
        self.phase == Phase::PeerClosed
    }

    /// Room for ciphertext of the client's.
    ///
    /// # Errors
    ///
    /// [`TlsError::TooLong`] where what is here already should have made a whole message.
    pub(super) fn room(&mut self) -> Result<&mut [u8], TlsError> {
        if self.incoming.bytes().len() > limits::TLS_HELD_BYTES_MAX {
            return Err(TlsError::TooLong);
        }
        Ok(self.incoming.room_for(limits::TLS_RECORD_BYTES_MAX, 0))
    }

    /// Notes that a read filled `bytes` of the room.
    pub(super) fn received(&mut self, bytes: usize) {
        self.incoming.filled(bytes);
    }

    /// No ciphertext is here, nor will be soon: what is held of a record keeps no more memory than itself.
    pub(super) fn rest(&mut self) {
        self.incoming.shrink();
    }

    /// Takes in all whole records; their plaintext goes behind `plain`, in which a frame of `wanted` bytes has begun.
    /// Returns how much it was. What TLS itself answers is left to send, alerts included.
    ///
    /// # Errors
    ///
    /// [`TlsError`] by cause; it stays an error from then on.
    pub(super) fn decrypt(
        &mut self,
        plain: &mut ReadBuffer,
        wanted: usize,
    ) -> Result<usize, TlsError> {
        match self.phase {
            Phase::Unknown | Phase::Open => {}
            Phase::PeerClosed => return Ok(0),
            Phase::Ended => return Err(TlsError::Ended),
        }
        // A record is larger than its plaintext, so this much room is enough for all of them.
        let most = self.incoming.bytes().len();
        let mut decrypted = 0_usize;
        while let Some(bytes) = self.step(plain, most.saturating_sub(decrypted), wanted)? {
            decrypted = decrypted.saturating_add(bytes);
        }
        Ok(decrypted)
    }

    /// One step of rustls, and the plaintext that it gave; `None` where it needs more of the client, or has nothing to do.
    fn step(
        &mut self,
        plain: &mut ReadBuffer,
        room: usize,
        wanted: usize,
    ) -> Result<Option<usize>, TlsError> {
        let status = self.connection.process_tls_records(self.incoming.bytes_mut());
        let mut discard = status.discard;
        let mut decrypted = Some(0_usize);
        let mut failed = None;
        let mut peer_closed = false;
        match status.state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    plain.append(record.payload, room, wanted);
                    discard = discard.saturating_add(record.discard);
                    decrypted = decrypted.map(|sum| sum.saturating_add(record.payload.len()));
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut self.outgoing, |room| data.encode(room))?;
            }
            // It is as good as sent: `outgoing` keeps the order.
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => peer_closed = true,
            Ok(
                ConnectionState::BlockedHandshake
                | ConnectionState::WriteTraffic(_)
                | ConnectionState::Closed,
            ) => decrypted = None,
            Ok(_) => failed = Some(TlsError::State("early data")),
            Err(error) => failed = Some(TlsError::Protocol(error)),
        }
        if let Some(error) = failed {
            return Err(self.fail(error));
        }
        self.incoming.consume(discard);
        if discard > 0 && self.phase == Phase::Unknown {
            self.phase = Phase::Open;
        }
        if peer_closed {
            // "Any data received after a closure alert has been received MUST be ignored" (RFC 8446 §6.1).
            self.incoming.consume(usize::MAX);
            self.phase = Phase::PeerClosed;
            return Ok(None);
        }
        Ok(decrypted)
    }

    /// Ends it, with the alert that rustls has for it left to send.
    fn fail(&mut self, error: TlsError) -> TlsError {
        let first = self.phase == Phase::Unknown;
        self.phase = Phase::Ended;
        let speaks = other_protocol(self.incoming.bytes());
        while self.connection.wants_write() {
            let status = self.connection.process_tls_records(self.incoming.bytes_mut());
            let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state else { break };
            if encode(&mut self.outgoing, |room| data.encode(room)).is_err() {
                break;
            }
        }
        self.incoming.consume(usize::MAX);
        match speaks {
            Some(name) if first => TlsError::NotTls(name),
            _ => error,
        }
    }

    /// Encrypts the front of `bytes`, as much as leaves in one send, and returns how much that was. What comes of the
    /// client's meanwhile goes to `unread`.
    ///
    /// # Errors
    ///
    /// [`TlsError::Ended`] where nothing can be sent any more, or that of the client's records.
    pub(super) fn encrypt(
        &mut self,
        bytes: &[u8],
        unread: &mut ReadBuffer,
    ) -> Result<usize, TlsError> {
        // rustls encrypts only where nothing else is left to do.
        self.decrypt(unread, 0)?;
        let bytes = bytes.get(..limits::TLS_WRITE_BYTES).unwrap_or(bytes);
        let most = bytes.len().saturating_add(limits::TLS_WRITE_OVERHEAD_BYTES);
        self.when_writable(most, |traffic, room| traffic.encrypt(bytes, room))?;
        Ok(bytes.len())
    }

    /// Tells the client that nothing more is sent to it, and sends nothing more.
    ///
    /// # Errors
    ///
    /// [`TlsError::Ended`] where it was told already, or cannot be.
    pub(super) fn end(&mut self, unread: &mut ReadBuffer) -> Result<(), TlsError> {
        self.decrypt(unread, 0)?;
        let told = self.when_writable(limits::TLS_RECORD_BYTES_MAX, |traffic, room| {
            traffic.queue_close_notify(room)
        });
        self.phase = Phase::Ended;
        told
    }

    fn when_writable(
        &mut self,
        least: usize,
        write: impl FnOnce(&mut Traffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError> {
        // The same bytes as before: rustls counts from their front where half a handshake message is among them.
        let status = self.connection.process_tls_records(self.incoming.bytes_mut());
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else {
            return Err(TlsError::Ended);
        };
        let written = write(&mut traffic, self.outgoing.room_for(least, 0));
        self.outgoing.filled(*written.as_ref().unwrap_or(&0));
        // Nothing written leaves no memory behind.
        self.outgoing.release();
        match written {
            Ok(_) => Ok(()),
            Err(EncryptError::EncryptExhausted) => Err(TlsError::Ended),
            Err(EncryptError::InsufficientSize(_)) => Err(TlsError::State("records grew")),
        }
    }

    /// Memory that the buffers hold.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.incoming.held_bytes() + self.outgoing.held_bytes()
    }

    /// Ciphertext that is to be sent.
    pub(super) fn unsent(&self) -> &[u8] {
        self.outgoing.bytes()
    }

    /// Notes that `bytes` of it were sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.outgoing.consume(bytes);
    }
}

type Traffic<'a> = rustls::unbuffered::WriteTraffic<'a, rustls::server::ServerConnectionData>;

fn encode(
    outgoing: &mut ReadBuffer,
    encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), TlsError> {
    let written = encode(outgoing.room_for(limits::TLS_RECORD_BYTES_MAX, 0))
        .map_err(|_| TlsError::State("a record beyond its greatest size"))?;
    outgoing.filled(written);
    Ok(())
}

/// What a client speaks whose first bytes are these; `None` where they are TLS, or too few to tell.
fn other_protocol(bytes: &[u8]) -> Option<&'static str> {
    let methods: [&[u8]; 8] =
        [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"CONNECT ", b"DELETE ", b"PRI * HTTP"];
    match bytes.first() {
        None => None,
        Some(first) if CONTENT_TYPES.contains(first) => None,
        _ if methods.iter().any(|method| bytes.starts_with(method)) => Some("HTTP"),
        _ => match FrameSize::declared(bytes, KAFKA) {
            Ok(Some(_)) => Some("Kafka"),
            _ => Some("another protocol"),
        },
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Records").field("phase", &self.phase).finish_non_exhaustive()
    }
}
