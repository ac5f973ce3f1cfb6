//! The floor: a TCP relay that knows no protocol, one read and one write for each piece of up to 64 KiB.
//!
//! A thread for each direction blocks in `read`, so that nothing but these two system calls is paid for; any event
//! loop would add its own. What a gateway costs is told beside this.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use anyhow::Context;

/// The size of one read, in bytes, where nothing else is asked for.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// Relays every connection that `listener` accepts to `to`, for ever.
///
/// # Errors
/// Where no connection can be accepted any more.
pub fn run(listener: &TcpListener, to: SocketAddr, buffer_bytes: usize) -> anyhow::Result<()> {
    loop {
        let (client, _) = listener.accept().context("cannot accept")?;
        // A connection that fails costs itself alone: the client sees it end.
        let Ok(broker) = TcpStream::connect(to) else { continue };
        if client.set_nodelay(true).and(broker.set_nodelay(true)).is_err() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_both_ways_and_so_does_the_end() {
        let behind = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = front.local_addr().unwrap();
        let to = behind.local_addr().unwrap();
        std::thread::spawn(move || run(&front, to, 1000));
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
}
