//! The floor: a TCP relay that knows no protocol, one read and one write for each piece of up to 64 KiB.
//!
//! A thread for each direction blocks in `read`, so that nothing but these two system calls is paid for; any event
//! loop would add its own. What a gateway costs is told beside this.
//!
//! With TLS to the client the state of the encryption belongs to both directions, so one thread serves both and asks
//! `poll` which of them can go on: one more system call for each piece, which costs less than a lock that is held
//! while 64 KiB are encrypted, or than copying them out of it. Each read asks for 64 KiB, of ciphertext as of plain
//! text, and each write has all that came of it: rustls by itself would read 4 KiB at a time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use anyhow::{Context, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustls::{ServerConfig, ServerConnection};

/// The size of one read, in bytes, where nothing else is asked for.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// Relays every connection that `listener` accepts to `to`, for ever; with TLS to the client where it is given.
///
/// # Errors
/// Where no connection can be accepted any more.
pub fn run(
    listener: &TcpListener,
    to: SocketAddr,
    buffer_bytes: usize,
    encryption: Option<Arc<ServerConfig>>,
) -> anyhow::Result<()> {
    loop {
        let (client, _) = listener.accept().context("cannot accept")?;
        // A connection that fails costs itself alone: the client sees it end.
        let Ok(broker) = TcpStream::connect(to) else { continue };
        if client.set_nodelay(true).and(broker.set_nodelay(true)).is_err() {
            continue;
        }
        if let Some(encryption) = &encryption {
            let tls = ServerConnection::new(Arc::clone(encryption))?;
            let relay = move || Encrypted::new(client, broker, tls, buffer_bytes)?.run();
            std::thread::Builder::new().spawn(relay).context("cannot start a thread")?;
            continue;
        }
        let (client, broker) = (Arc::new(client), Arc::new(broker));
        for (from, to) in [(&client, &broker), (&broker, &client)] {
            let (from, to) = (Arc::clone(from), Arc::clone(to));
            std::thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn(move || copy(&from, &to, buffer_bytes))
                .context("cannot start a thread")?;
        }
    }
}

/// Copies until `from` ends, then ends `to` in this direction.
fn copy(mut from: &TcpStream, mut to: &TcpStream, buffer_bytes: usize) {
    let mut buffer = vec![0; buffer_bytes];
    loop {
        let filled = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(filled) => filled,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let piece = buffer.get(..filled).unwrap_or_default();
        if to.write_all(piece).is_err() {
            break;
        }
    }
    // Both may be closed already; then there is nothing left to say.
    to.shutdown(Shutdown::Write).ok();
    from.shutdown(Shutdown::Read).ok();
}

/// One connection with TLS to the client. A side is read only when what came of its last piece is written, so that
/// neither side can fill this process.
struct Encrypted {
    client: TcpStream,
    broker: TcpStream,
    tls: ServerConnection,
    /// For what is read of either side: it is used up at once.
    buffer: Vec<u8>,
    /// For the broker, decrypted; from `written` on it still waits.
    plaintext: Vec<u8>,
    written: usize,
    broker_ended: bool,
}

impl Encrypted {
    fn new(
        client: TcpStream,
        broker: TcpStream,
        mut tls: ServerConnection,
        buffer_bytes: usize,
    ) -> anyhow::Result<Self> {
        client.set_nonblocking(true)?;
        broker.set_nonblocking(true)?;
        // One piece waits at most, since no other is read before.
        tls.set_buffer_limit(None);
        let (buffer, plaintext) = (vec![0; buffer_bytes], Vec::with_capacity(buffer_bytes));
        Ok(Self { client, broker, tls, buffer, plaintext, written: 0, broker_ended: false })
    }

    /// Relays until either side ends and what it said is passed on, or fails.
    fn run(mut self) -> anyhow::Result<()> {
        loop {
            self.write()?;
            let to_client = self.tls.wants_write();
            let to_broker = self.written < self.plaintext.len();
            if self.broker_ended && !to_client {
                return Ok(());
            }
            let flags = |write: bool, read: bool| {
                let write = if write { PollFlags::OUT } else { PollFlags::empty() };
                write | if read { PollFlags::IN } else { PollFlags::empty() }
            };
            let mut sockets = [
                PollFd::new(&self.client, flags(to_client, !to_broker)),
                PollFd::new(&self.broker, flags(to_broker, !to_client && !self.broker_ended)),
            ];
            poll(&mut sockets, None)?;
            let failed = PollFlags::ERR | PollFlags::HUP;
            let [client, broker] = sockets.map(|socket| socket.revents());
            if client.intersects(PollFlags::IN | failed) && !to_broker {
                self.read_client()?;
            }
            if broker.intersects(PollFlags::IN | failed) && !to_client {
                self.read_broker()?;
            }
        }
    }

    /// Writes to both sides as much as they take.
    fn write(&mut self) -> anyhow::Result<()> {
        while self.tls.wants_write()
            && unless_blocked(self.tls.write_tls(&mut self.client))?.is_some()
        {}
        while let Some(rest) = self.plaintext.get(self.written..).filter(|rest| !rest.is_empty()) {
            match unless_blocked(self.broker.write(rest))? {
                Some(count) => self.written += count,
                None => break,
            }
        }
        Ok(())
    }

    fn read_client(&mut self) -> anyhow::Result<()> {
        let Some(count) = unless_blocked(self.client.read(&mut self.buffer))? else {
            return Ok(());
        };
        self.plaintext.clear();
        self.written = 0;
        let mut rest = self.buffer.get(..count).unwrap_or_default();
        let mut ended = count == 0;
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest)?;
            let state = self.tls.process_new_packets()?;
            ended |= state.peer_has_closed();
            let there = u64::try_from(state.plaintext_bytes_to_read())?;
            self.tls.reader().take(there).read_to_end(&mut self.plaintext)?;
        }
        if ended {
            // Whatever the broker has not said by now, nobody waits for: a TLS client closes both directions.
            self.write()?;
            self.broker.shutdown(Shutdown::Both).ok();
            ensure!(count > 0, "the client closed");
        }
        Ok(())
    }

    fn read_broker(&mut self) -> anyhow::Result<()> {
        match unless_blocked(self.broker.read(&mut self.buffer))? {
            None => {}
            Some(0) => {
                self.broker_ended = true;
                self.tls.send_close_notify();
            }
            Some(count) => {
                let piece = self.buffer.get(..count).unwrap_or_default();
                self.tls.writer().write_all(piece)?;
            }
        }
        Ok(())
    }
}

/// What a socket that does not block gave; `None` where it has nothing now.
pub(crate) fn unless_blocked(result: std::io::Result<usize>) -> std::io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls;

    #[test]
    fn bytes_go_both_ways_and_so_does_the_end() {
        let behind = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = front.local_addr().unwrap();
        let to = behind.local_addr().unwrap();
        std::thread::spawn(move || run(&front, to, 1000, None));
        std::thread::spawn(move || {
            let (mut stream, _) = behind.accept().unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            received.reverse();
            stream.write_all(&received).unwrap();
        });
        let sent: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        received.reverse();
        assert!(received == sent);
    }

    #[test]
    fn an_encrypted_relay_carries_all_bytes_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name| folder.path().join(name);
        tls::write_certificates(folder.path()).unwrap();
        let config = tls::server(&file(tls::CERTIFICATE_FILE), &file(tls::KEY_FILE)).unwrap();
        let behind = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = front.local_addr().unwrap();
        let to = behind.local_addr().unwrap();
        std::thread::spawn(move || run(&front, to, BUFFER_BYTES, Some(config)));
        let length = 3_000_000;
        std::thread::spawn(move || {
            let (mut stream, _) = behind.accept().unwrap();
            let mut received = vec![0; length];
            stream.read_exact(&mut received).unwrap();
            received.fill(9);
            stream.write_all(&received).unwrap();
        });
        let encryption = tls::Encryption::new("127.0.0.1", &file(tls::AUTHORITY_FILE)).unwrap();
        let mut client = rustls::StreamOwned::new(
            encryption.begin().unwrap(),
            TcpStream::connect(address).unwrap(),
        );
        client.write_all(&vec![7; length]).unwrap();
        client.flush().unwrap();
        let mut received = Vec::new();
        // To the end, which the relay says in TLS: an answer that was cut would be an error.
        client.read_to_end(&mut received).unwrap();
        assert!(received.len() == length && received.iter().all(|byte| *byte == 9));
    }
}
