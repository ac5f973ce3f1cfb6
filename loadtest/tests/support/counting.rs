//! A relay in front of a broker that notes which requests reach it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How many requests came of each key and version.
type Counts = BTreeMap<(i16, i16), u64>;

/// The relay; it ends with the tests.
pub struct Counting {
    pub address: SocketAddr,
    counts: Arc<Mutex<Counts>>,
}

impl Counting {
    /// Takes an address; `broker_of` is told it and says where the broker is.
    pub fn start(broker_of: impl FnOnce(SocketAddr) -> SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let broker = broker_of(listener.local_addr().unwrap());
        Self::on(listener, broker)
    }

    /// As [`Counting::start`], on a listener that is there already.
    pub fn on(listener: TcpListener, broker: SocketAddr) -> Self {
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Mutex::new(Counts::new()));
        let shared = Arc::clone(&counts);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let counts = Arc::clone(&shared);
                let Ok(server) = TcpStream::connect(broker) else { continue };
                let (mut answers, mut back) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = io::copy(&mut answers, &mut back);
                    let _ = back.shutdown(Shutdown::Both);
                });
                std::thread::spawn(move || {
                    let _ = requests(&client, &server, &counts);
                    let _ = server.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, counts }
    }

    /// What has reached the broker.
    pub fn counts(&self) -> Counts {
        self.counts.lock().unwrap().clone()
    }
}

fn requests(mut from: &TcpStream, mut to: &TcpStream, counts: &Mutex<Counts>) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        from.read_exact(&mut frame)?;
        let number = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
        *counts.lock().unwrap().entry((number(0), number(2))).or_default() += 1;
        to.write_all(&length)?;
        to.write_all(&frame)?;
    }
}
