//! The bytes of one connection without blocking: what is to be sent, what has come, and the wait between.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::ClientConnection;

use crate::client::Stream;
use crate::frame::FRAME_BYTES_MAX;
use crate::relay::unless_blocked;

/// One connection, after its login.
pub(super) struct Pipe {
    stream: Stream,
    /// Requests that are not written yet, or with TLS not encrypted yet.
    pub(super) outgoing: BytesMut,
    incoming: Incoming,
    /// What TLS is read through; nothing otherwise.
    ciphertext: Vec<u8>,
}

/// What has come of a connection and is not taken yet.
struct Incoming {
    /// All of it is initialised, so that reading into it costs no zeroing.
    memory: BytesMut,
    filled: usize,
}

impl Pipe {
    pub(super) fn new(mut stream: Stream) -> anyhow::Result<Self> {
        stream.socket().set_nonblocking(true)?;
        let mut ciphertext = Vec::new();
        if let Stream::Encrypted(stream) = &mut stream {
            // What waits is bounded by `is_behind` instead.
            stream.conn.set_buffer_limit(None);
            ciphertext.resize(READ_BYTES, 0);
        }
        let incoming = Incoming { memory: BytesMut::zeroed(READ_BYTES), filled: 0 };
        Ok(Self { stream, outgoing: BytesMut::new(), incoming, ciphertext })
    }

    /// Whether so much waits to be written that nothing should be added.
    pub(super) fn is_behind(&self) -> bool {
        let encrypted = match &self.stream {
            Stream::Plain(_) => false,
            Stream::Encrypted(stream) => stream.conn.wants_write(),
        };
        encrypted || self.outgoing.len() > OUTGOING_BYTES_MAX
    }

    /// Writes as much as the socket takes.
    pub(super) fn write(&mut self) -> anyhow::Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => {
                while !self.outgoing.is_empty() {
                    match unless_blocked(socket.write(&self.outgoing))? {
                        Some(written) => self.outgoing.advance(written),
                        None => break,
                    }
                }
            }
            Stream::Encrypted(stream) => {
                stream.conn.writer().write_all(&self.outgoing)?;
                self.outgoing.clear();
                while stream.conn.wants_write() {
                    if unless_blocked(stream.conn.write_tls(&mut stream.sock))?.is_none() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits until there is something to read, or to write where something waits for that; says `false` where the
    /// time is up.
    pub(super) fn wait(&self, timeout: Duration) -> anyhow::Result<bool> {
        let mut flags = PollFlags::IN;
        if self.is_behind() || !self.outgoing.is_empty() {
            flags |= PollFlags::OUT;
        }
        let mut sockets = [PollFd::new(self.stream.socket(), flags)];
        match poll(&mut sockets, Some(&Timespec::try_from(timeout)?)) {
            Ok(count) => Ok(count > 0),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(error).context("cannot poll"),
        }
    }

    /// Reads what is there, once, and gives each whole frame, without its length, to `take`.
    pub(super) fn read(
        &mut self,
        take: impl FnMut(Bytes) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Self { stream, incoming, ciphertext, .. } = self;
        match stream {
            Stream::Plain(socket) => {
                let Some(count) = unless_blocked(socket.read(incoming.space()))? else {
                    return Ok(());
                };
                ensure!(count > 0, "connection closed");
                incoming.filled += count;
            }
            Stream::Encrypted(stream) => {
                let stream = stream.as_mut();
                decrypt(&mut stream.conn, &mut stream.sock, ciphertext, incoming)?;
            }
        }
        incoming.take_frames(take)
    }
}

/// Reads from the socket once, because rustls by itself would read 4 KiB at a time.
fn decrypt(
    connection: &mut ClientConnection,
    socket: &mut TcpStream,
    ciphertext: &mut [u8],
    incoming: &mut Incoming,
) -> anyhow::Result<()> {
    let Some(count) = unless_blocked(socket.read(ciphertext))? else { return Ok(()) };
    ensure!(count > 0, "connection closed");
    let mut rest = ciphertext.get(..count).unwrap_or_default();
    while !rest.is_empty() {
        connection.read_tls(&mut rest)?;
        connection.process_new_packets()?;
        // Out at once: rustls takes no more while much of what it holds is not read.
        loop {
            if incoming.space().is_empty() {
                incoming.memory.resize(incoming.filled + READ_BYTES, 0);
            }
            match unless_blocked(connection.reader().read(incoming.space()))? {
                Some(0) => bail!("connection closed"),
                Some(count) => incoming.filled += count,
                None => break,
            }
        }
    }
    Ok(())
}

impl Incoming {
    fn space(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.filled..).unwrap_or_default()
    }

    fn take_frames(
        &mut self,
        mut take: impl FnMut(Bytes) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let memory = std::mem::take(&mut self.memory).freeze();
        let mut start = 0;
        let wanted = loop {
            let rest = memory.get(start..self.filled).unwrap_or_default();
            let Some((length, body)) = rest.split_first_chunk::<4>() else { break READ_BYTES };
            let length = usize::try_from(i32::from_be_bytes(*length)).context("negative length")?;
            ensure!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes");
            if body.len() < length {
                break length + READ_BYTES;
            }
            take(memory.slice(start + 4..start + 4 + length))?;
            start += 4 + length;
        };
        // The frames are dropped by now, so this takes the memory back; it copies where somebody kept one.
        self.memory = BytesMut::from(memory);
        self.memory.copy_within(start..self.filled, 0);
        self.filled -= start;
        if self.memory.len() < wanted {
            self.memory.resize(wanted, 0);
        }
        Ok(())
    }
}

/// The least that a read asks for; a frame that is known to be larger is asked for at once.
const READ_BYTES: usize = 64 * 1024;

/// Requests that are made ahead of the socket: a few of the largest, so that one write carries several.
const OUTGOING_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_however_they_arrive() {
        let mut sent = Vec::new();
        for length in [0_u32, 1, 70_000, 3] {
            sent.extend(length.to_be_bytes());
            sent.extend(std::iter::repeat_n(7, length.try_into().unwrap()));
        }
        for step in [1, 3, 1000, 200_000] {
            let mut incoming = Incoming { memory: BytesMut::zeroed(16), filled: 0 };
            let mut lengths = Vec::new();
            for mut piece in sent.chunks(step) {
                while !piece.is_empty() {
                    let count = piece.read(incoming.space()).unwrap();
                    incoming.filled += count;
                    incoming
                        .take_frames(|frame| {
                            assert!(frame.iter().all(|byte| *byte == 7));
                            lengths.push(frame.len());
                            Ok(())
                        })
                        .unwrap();
                }
            }
            assert_eq!(lengths, [0, 1, 70_000, 3], "{step}");
            assert_eq!(incoming.filled, 0);
        }
        for length in [[255; 4], [127, 255, 255, 255]] {
            let mut incoming = Incoming { memory: BytesMut::from(&length[..]), filled: 4 };
            assert!(incoming.take_frames(|_| Ok(())).is_err());
        }
    }
}
