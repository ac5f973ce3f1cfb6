//! Bytes from one socket to another that nobody copies: through a pipe of the kernel's, and a second one that shows them.
//!
//! ```text
//!  broker's socket ──splice──▶ held ──splice──▶ client's socket
//!                               │ tee
//!                               ▼
//!                             shown ──read──▶ what is looked at; the rest is dropped
//! ```
//!
//! A pipe holds references to the pages that the network filled, so what is looked at is what goes out. (A broker on the
//! same machine could change pages that it lent to the kernel; it could as well have sent other bytes, because records
//! that go this way are neither masked nor recorded.)

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice, tee};

use super::Socket;
use crate::buffers::{Pool, ReadBuffer};
use crate::limits;

/// Pipes of one shard: those that are lent, and those that wait for the next.
#[derive(Debug, Default)]
pub struct Conduits {
    free: RefCell<Vec<Pipes>>,
    lent: Cell<usize>,
}

/// A way from one socket to another. Dropped, it gives its pipes back if they are empty, and closes them if not: nobody
/// gets what was left by another.
#[derive(Debug)]
pub struct Conduit {
    conduits: Rc<Conduits>,
    /// Taken when it is dropped.
    pipes: Option<Pipes>,
    broker: OwnedFd,
    client: OwnedFd,
    /// Bytes in the first pipe.
    held_bytes: usize,
    /// Up to where those that are shown were read, from the front of those that are held; nothing is shown without it.
    looked_at: Option<usize>,
}

#[derive(Debug)]
struct Pipes {
    held: Pipe,
    shown: Pipe,
    nowhere: File,
}

#[derive(Debug)]
struct Pipe {
    from: OwnedFd,
    to: OwnedFd,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (from, to) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        fcntl_setpipe_size(&to, limits::PIPE_BYTES)?;
        Ok(Self { from, to })
    }
}

impl Pipes {
    fn new() -> io::Result<Self> {
        let nowhere = File::options().write(true).open("/dev/null")?;
        Ok(Self { held: Pipe::new()?, shown: Pipe::new()?, nowhere })
    }
}

impl Conduits {
    /// A conduit from the broker to the client; `None` where the client has TLS, too many are lent, or the system gives
    /// no pipe of that size.
    #[must_use]
    pub fn lend(self: &Rc<Self>, broker: &Socket, client: &Socket) -> Option<Conduit> {
        if self.lent.get() >= limits::CONDUITS_MAX {
            return None;
        }
        let client = client.share()?;
        let broker = broker.share()?;
        let free = self.free.borrow_mut().pop();
        let pipes = match free.map_or_else(Pipes::new, Ok) {
            Ok(pipes) => pipes,
            Err(error) => {
                tracing::debug!(%error, "no pipe; records are copied instead");
                return None;
            }
        };
        self.lent.set(self.lent.get().saturating_add(1));
        let conduits = Rc::clone(self);
        Some(Conduit {
            conduits,
            pipes: Some(pipes),
            broker,
            client,
            held_bytes: 0,
            looked_at: None,
        })
    }
}

impl Conduit {
    /// Bytes that came and did not go out.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Puts bytes behind those that are held; `false` where there is no room for them now.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Limits
    ///
    /// At most [`rustix::pipe::PIPE_BUF`] bytes: the pipe takes all of them or none.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if bytes.is_empty() {
            return Ok(true);
        }
        match write(&self.pipes()?.held.to, bytes) {
            Ok(put) if put == bytes.len() => {
                self.held_bytes = self.held_bytes.saturating_add(put);
                Ok(true)
            }
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes in what the broker sent, `most` bytes of it and what the pipe has room for; 0 is the end of what it sends,
    /// `None` that nothing is here, or no room for it.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn fill(&mut self, most: usize) -> io::Result<Option<usize>> {
        let pipes = self.pipes()?;
        match splice(&self.broker, None, &pipes.held.to, None, most, FLAGS) {
            Ok(taken) => {
                self.held_bytes = self.held_bytes.saturating_add(taken);
                Ok(Some(taken))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what stands `at` bytes behind the front. Until something is delivered it goes forward only.
    ///
    /// # Errors
    ///
    /// The system's, and where that was passed already or is not here.
    pub fn look(&mut self, at: usize, into: &mut [u8]) -> io::Result<()> {
        let pipes = self.pipes.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let looked_at = match self.looked_at {
            Some(looked_at) => looked_at,
            None => {
                // Both have as much room, and the second one is empty.
                let shown = tee(&pipes.held.from, &pipes.shown.to, self.held_bytes, FLAGS)?;
                if shown != self.held_bytes {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                0
            }
        };
        let skipped = at.checked_sub(looked_at).ok_or(io::ErrorKind::InvalidInput)?;
        pipes.drop_shown(skipped)?;
        let read = read(&pipes.shown.from, &mut *into)?;
        self.looked_at = Some(at.saturating_add(read));
        if read < into.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Shows nothing more.
    fn hide(&mut self) -> io::Result<()> {
        if let Some(looked_at) = self.looked_at.take() {
            self.pipes()?.drop_shown(self.held_bytes.saturating_sub(looked_at))?;
        }
        Ok(())
    }

    /// Sends the first `bytes` of those that are held to the client.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: a part may have been sent.
    pub async fn deliver(
        &mut self,
        mut bytes: usize,
        client: &Socket,
        pool: &Rc<Pool>,
    ) -> io::Result<()> {
        self.hide()?;
        while bytes > 0 {
            let sent =
                match splice(&self.pipes()?.held.from, None, &self.client, None, bytes, FLAGS) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(sent) => {
                        self.held_bytes = self.held_bytes.saturating_sub(sent);
                        sent
                    }
                    // Nobody tells when a socket can be written to but who writes: so a few bytes wait for it, and the others
                    // follow them.
                    Err(Errno::AGAIN | Errno::INTR) => {
                        let mut few = ReadBuffer::new(Rc::clone(pool));
                        let taken = self.take(&mut few, bytes.min(limits::CONDUIT_WAIT_BYTES))?;
                        client.write_all(few.bytes()).await?;
                        taken
                    }
                    Err(error) => return Err(error.into()),
                };
            bytes = bytes.saturating_sub(sent);
        }
        Ok(())
    }

    /// Moves up to `most` of the bytes that are held behind those of `buffer`, and says how many.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn take(&mut self, buffer: &mut ReadBuffer, most: usize) -> io::Result<usize> {
        self.hide()?;
        let most = most.min(self.held_bytes);
        let room = buffer.room_for(most, 0);
        let room = room.get_mut(..most).unwrap_or_default();
        let taken = read(&self.pipes()?.held.from, room)?;
        buffer.filled(taken);
        self.held_bytes = self.held_bytes.saturating_sub(taken);
        if taken == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(taken)
    }

    fn pipes(&self) -> io::Result<&Pipes> {
        self.pipes.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Pipes {
    fn drop_shown(&self, mut bytes: usize) -> io::Result<()> {
        while bytes > 0 {
            let dropped = splice(&self.shown.from, None, &self.nowhere, None, bytes, FLAGS)?;
            if dropped == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes = bytes.saturating_sub(dropped);
        }
        Ok(())
    }
}

impl Drop for Conduit {
    fn drop(&mut self) {
        self.conduits.lent.set(self.conduits.lent.get().saturating_sub(1));
        let is_empty = self.held_bytes == 0 && self.hide().is_ok();
        let mut free = self.conduits.free.borrow_mut();
        if let Some(pipes) = self.pipes.take()
            && is_empty
            && free.len() < limits::CONDUITS_KEPT_MAX
        {
            free.push(pipes);
        }
    }
}

/// Pages move instead of being copied, and nobody waits.
const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use socket2::SockRef;

    use super::*;

    fn byte(at: usize) -> u8 {
        u8::try_from(at % 251).unwrap()
    }

    /// A socket of the gateway's, and its peer.
    async fn connected() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = glommio::net::TcpStream::connect(address).await.unwrap();
        (Socket::plain(stream).unwrap(), listener.accept().unwrap().0)
    }

    fn on_a_shard<T>(test: impl Future<Output = T>) -> T {
        glommio::LocalExecutorBuilder::default().make().unwrap().run(test)
    }

    #[test]
    fn bytes_come_out_as_they_went_in_and_are_seen_before() {
        const BYTES: usize = 5_000_000;
        on_a_shard(async {
            let (broker, mut sends) = connected().await;
            let (client, mut receives) = connected().await;
            // So small that who delivers has to wait.
            SockRef::from(client.stream.borrow().socket()).set_send_buffer_size(20_000).unwrap();
            SockRef::from(&receives).set_recv_buffer_size(20_000).unwrap();
            let sender = std::thread::spawn(move || {
                let bytes: Vec<u8> = (0..BYTES).map(byte).collect();
                for (number, piece) in bytes.chunks(77_777).enumerate() {
                    let (head, tail) = piece.split_at(piece.len().min(1 + number * number));
                    sends.write_all(head).unwrap();
                    sends.write_all(tail).unwrap();
                }
                sends
            });
            let receiver = std::thread::spawn(move || {
                let mut received = vec![0; BYTES];
                receives.read_exact(&mut received).unwrap();
                assert!(received.iter().enumerate().all(|(at, found)| *found == byte(at)));
            });
            let pool = Rc::new(Pool::default());
            let conduits = Rc::new(Conduits::default());
            let mut conduit = conduits.lend(&broker, &client).unwrap();
            let mut few = ReadBuffer::new(Rc::clone(&pool));
            let (mut front, mut turn) = (0, 0);
            while front < BYTES {
                turn += 1;
                if conduit.put(few.bytes()).unwrap() {
                    few.consume(1);
                    let most = BYTES - front - conduit.held_bytes();
                    if most > 0 && conduit.fill(most).unwrap().is_none() {
                        let one = poll_fn(|context| broker.poll_fill_few(context, &mut few, 1));
                        assert_eq!(one.await.unwrap(), 1);
                    }
                }
                let held = conduit.held_bytes();
                for at in [0, 61, held / 3, held / 2, held.saturating_sub(9)] {
                    let mut seen = [0; 9];
                    if at + 9 <= held && conduit.looked_at.unwrap_or(0) <= at {
                        conduit.look(at, &mut seen).unwrap();
                        let right = (front + at..).map(byte);
                        assert!(seen.iter().copied().eq(right.take(9)), "{front} {at}");
                    }
                }
                let bytes = held - if turn % 3 == 0 { held.min(60) } else { 0 };
                conduit.deliver(bytes, &client, &pool).await.unwrap();
                front += bytes;
            }
            sender.join().unwrap();
            receiver.join().unwrap();
            drop(conduit);
            assert_eq!((conduits.free.borrow().len(), conduits.lent.get()), (1, 0));
        });
    }

    #[test]
    fn what_is_left_in_a_pipe_reaches_nobody() {
        on_a_shard(async {
            let (broker, mut sends) = connected().await;
            let (client, _receives) = connected().await;
            let conduits = Rc::new(Conduits::default());
            let kept = || conduits.free.borrow().len();
            let mut conduit = conduits.lend(&broker, &client).unwrap();
            assert!(conduit.put(b"secret").unwrap());
            drop(conduit);
            assert_eq!(kept(), 0);
            sends.write_all(b"another").unwrap();
            let mut conduit = conduits.lend(&broker, &client).unwrap();
            while conduit.held_bytes() < 7 {
                conduit.fill(7 - conduit.held_bytes()).unwrap();
            }
            let (mut seen, mut buffer) = ([0; 3], ReadBuffer::new(Rc::default()));
            conduit.look(2, &mut seen).unwrap();
            assert_eq!(&seen, b"oth");
            while conduit.held_bytes() > 0 {
                conduit.take(&mut buffer, 5).unwrap();
            }
            assert_eq!(buffer.bytes(), b"another");
            drop(conduit);
            assert_eq!(kept(), 1);
            let again = conduits.lend(&broker, &client).unwrap();
            assert_eq!((kept(), again.held_bytes()), (0, 0));
            let mut left = [0; 1];
            let pipes = again.pipes.as_ref().unwrap();
            for pipe in [&pipes.held, &pipes.shown] {
                assert_eq!(read(&pipe.from, &mut left), Err(Errno::AGAIN));
            }
        });
    }

    #[test]
    fn so_many_are_lent_and_no_more() {
        on_a_shard(async {
            let (broker, _sends) = connected().await;
            let (client, _receives) = connected().await;
            let conduits = Rc::new(Conduits::default());
            let lend = || conduits.lend(&broker, &client);
            let lent: Vec<_> = (0..limits::CONDUITS_MAX).map(|_| lend().unwrap()).collect();
            assert!(lend().is_none());
            drop(lent);
            assert_eq!(conduits.free.borrow().len(), limits::CONDUITS_KEPT_MAX);
            assert!(lend().is_some());
        });
    }
}
