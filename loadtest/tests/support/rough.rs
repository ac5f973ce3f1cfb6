//! A rough network: a TCP relay that cuts what it carries into random pieces, pauses, resets and half-closes at random.
//!
//! Each run prints its seed; `SLUICEGATE_TEST_SEED` repeats it. The sockets that face the gateway have tiny buffers, so
//! that its reads are short and its writes are partial.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketType};

/// How rough it is.
#[derive(Clone, Debug)]
pub struct Roughness {
    /// Sizes of the pieces, in bytes; every fourth is at most 8.
    pub pieces: RangeInclusive<u64>,
    /// One piece of so many is followed by a pause.
    pub pause_one_in: u64,
    /// The longest pause.
    pub pause_max: Duration,
    /// SO_SNDBUF and SO_RCVBUF of the relay's sockets, in bytes.
    pub socket_bytes: usize,
    /// After how many bytes of a connection, both directions together, it is cut; `None` for never.
    pub cut_after: Option<RangeInclusive<u64>>,
}

impl Default for Roughness {
    fn default() -> Self {
        Self {
            pieces: 1..=4096,
            pause_one_in: 40,
            pause_max: Duration::from_millis(2),
            socket_bytes: 8 * 1024,
            cut_after: None,
        }
    }
}

/// The relay. Dropping it ends what it carries, and takes no more.
#[derive(Debug)]
pub struct Rough {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    ended: AtomicBool,
    /// Connections below this number are deaf.
    deaf_below: AtomicU64,
    accepted: AtomicU64,
    carried: AtomicU64,
    cuts: AtomicU64,
}

/// The seed of this run, printed where a failed test shows it.
pub fn seed() -> u64 {
    let seed = match std::env::var("SLUICEGATE_TEST_SEED") {
        Ok(text) => text.parse().expect("SLUICEGATE_TEST_SEED is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
    };
    eprintln!("to repeat: SLUICEGATE_TEST_SEED={seed}");
    seed
}

/// Numbers from a seed (SplitMix64): the same in every run, on every machine.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn within(&mut self, range: &RangeInclusive<u64>) -> u64 {
        range.start() + self.number() % (range.end() - range.start() + 1)
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.number().is_multiple_of(count)
    }
}

impl Rough {
    /// Relays what comes to `at` (port 0 for any) to `to`.
    pub fn start(at: SocketAddr, to: SocketAddr, seed: u64, roughness: Roughness) -> Self {
        let listener = listener(at, roughness.socket_bytes);
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let accepting = std::thread::spawn(move || {
            let mut random = Random(seed);
            while let Ok((client, _)) = listener.accept() {
                if shared.ended.load(Ordering::Relaxed) {
                    return;
                }
                let Some(server) = connect(to, roughness.socket_bytes) else { continue };
                let random = Random(random.number());
                let number = shared.accepted.fetch_add(1, Ordering::Relaxed);
                let (state, roughness) = (Arc::clone(&shared), roughness.clone());
                std::thread::spawn(move || {
                    Carrier::new([client, server], random, roughness, state, number).carry();
                });
            }
        });
        Self { address, state, accepting: Some(accepting) }
    }

    /// From now on nothing of the connections that are open is read or carried; later ones are as before.
    pub fn deafen(&self) {
        let accepted = self.state.accepted.load(Ordering::Relaxed);
        self.state.deaf_below.store(accepted, Ordering::Relaxed);
    }

    /// Bytes carried so far, both directions.
    pub fn carried(&self) -> u64 {
        self.state.carried.load(Ordering::Relaxed)
    }

    /// Connections that were cut so far.
    pub fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Rough {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        // So that the accepting thread sees it.
        TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok();
        // Its address may be wanted again.
        self.accepting.take().map(JoinHandle::join);
    }
}

/// One direction of a connection: what was read and not yet written.
#[derive(Debug, Default)]
struct Way {
    held: Vec<u8>,
    at: usize,
    has_ended: bool,
    is_shut: bool,
    paused_until: Option<Instant>,
}

struct Carrier {
    /// The two sides; way `n` goes from side `n` to the other.
    sides: [TcpStream; 2],
    ways: [Way; 2],
    random: Random,
    roughness: Roughness,
    state: Arc<State>,
    left: Option<u64>,
    number: u64,
}

/// What became of a step.
enum Progress {
    Some,
    None,
    Over,
}

impl Carrier {
    fn new(
        sides: [TcpStream; 2],
        mut random: Random,
        roughness: Roughness,
        state: Arc<State>,
        number: u64,
    ) -> Self {
        for side in &sides {
            side.set_nonblocking(true).unwrap();
            side.set_nodelay(true).unwrap();
        }
        let left = roughness.cut_after.as_ref().map(|range| random.within(range));
        Self {
            sides,
            number,
            ways: [Way::default(), Way::default()],
            random,
            roughness,
            state,
            left,
        }
    }

    fn carry(mut self) {
        while !self.state.ended.load(Ordering::Relaxed) {
            if self.left == Some(0) {
                self.state.cuts.fetch_add(1, Ordering::Relaxed);
                return self.cut();
            }
            let mut progress = false;
            for way in 0..2 {
                match self.step(way) {
                    Progress::Some => progress = true,
                    Progress::None => {}
                    Progress::Over => return,
                }
            }
            if self.ways.iter().all(|way| way.is_shut) {
                return;
            }
            if !progress {
                self.wait();
            }
        }
    }

    /// Reads if nothing is held, or writes one piece of what is.
    fn step(&mut self, number: usize) -> Progress {
        let is_deaf = self.is_deaf();
        let (from, to) = (&self.sides[number], &self.sides[1 - number]);
        let way = &mut self.ways[number];
        if way.is_shut || is_deaf {
            return Progress::None;
        }
        if way.at == way.held.len() {
            if way.has_ended {
                to.shutdown(Shutdown::Write).ok();
                way.is_shut = true;
                return Progress::Some;
            }
            way.held.resize(16 * 1024, 0);
            way.at = 0;
            return match { from }.read(&mut way.held) {
                Ok(bytes) => {
                    way.held.truncate(bytes);
                    way.has_ended = bytes == 0;
                    Progress::Some
                }
                Err(error) => {
                    way.held.clear();
                    if error.kind() == ErrorKind::WouldBlock {
                        Progress::None
                    } else {
                        Progress::Over
                    }
                }
            };
        }
        if way.paused_until.is_some_and(|until| Instant::now() < until) {
            return Progress::None;
        }
        way.paused_until = None;
        let most = if self.random.one_in(4) { 8 } else { *self.roughness.pieces.end() };
        let piece = self.random.within(&(1..=most.max(1)));
        let piece = piece.min(self.left.unwrap_or(u64::MAX)) as usize;
        let end = way.held.len().min(way.at + piece);
        match { to }.write(&way.held[way.at..end]) {
            Ok(bytes) => {
                way.at += bytes;
                self.left = self.left.map(|left| left - bytes as u64);
                self.state.carried.fetch_add(bytes as u64, Ordering::Relaxed);
                if self.random.one_in(self.roughness.pause_one_in) {
                    let most = self.roughness.pause_max.as_micros() as u64;
                    let pause = Duration::from_micros(self.random.within(&(0..=most)));
                    way.paused_until = Some(Instant::now() + pause);
                }
                Progress::Some
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Progress::None,
            Err(_) => Progress::Over,
        }
    }

    fn is_deaf(&self) -> bool {
        self.number < self.state.deaf_below.load(Ordering::Relaxed)
    }

    /// Until one of the sockets can go on, or a pause ends.
    fn wait(&self) {
        let mut flags = [PollFlags::empty(); 2];
        // So that the end of the relay is seen.
        let mut most = Duration::from_millis(200);
        for (number, way) in self.ways.iter().enumerate() {
            if way.is_shut || self.is_deaf() {
                continue;
            }
            match way.paused_until {
                Some(until) => most = most.min(until.saturating_duration_since(Instant::now())),
                None if way.at < way.held.len() => flags[1 - number] |= PollFlags::OUT,
                None => flags[number] |= PollFlags::IN,
            }
        }
        let mut watched: Vec<PollFd<'_>> = (0..2)
            .filter(|number| !flags[*number].is_empty())
            .map(|number| PollFd::new(&self.sides[number], flags[number]))
            .collect();
        let most = Timespec { tv_sec: 0, tv_nsec: most.as_nanos().min(999_999_999) as _ };
        poll(&mut watched, Some(&most)).ok();
    }

    /// Ends it as networks do: a reset of both sides, of one, or an end in the middle of whatever was under way.
    fn cut(mut self) {
        let kind = self.random.number() % 4;
        for (number, side) in self.sides.iter().enumerate() {
            if kind == 0 || kind == 1 + number as u64 {
                sockopt::set_socket_linger(side, Some(Duration::ZERO)).unwrap();
            } else {
                side.shutdown(Shutdown::Write).ok();
            }
        }
        if kind == 3 {
            // Half closed: what still comes is read and goes nowhere, until the peers end it.
            let deadline = Instant::now() + Duration::from_millis(100);
            let mut nowhere = Vec::new();
            while Instant::now() < deadline {
                for mut side in &self.sides {
                    // To where nothing more is there.
                    side.read_to_end(&mut nowhere).ok();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// A listener whose connections have small buffers.
fn listener(at: SocketAddr, socket_bytes: usize) -> TcpListener {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    shrink(&socket, socket_bytes);
    rustix::net::bind(&socket, &at).unwrap();
    rustix::net::listen(&socket, 128).unwrap();
    TcpListener::from(socket)
}

/// A connection with small buffers: they must be set before it is made, so that little is ever on its way.
pub fn connect(to: SocketAddr, socket_bytes: usize) -> Option<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    shrink(&socket, socket_bytes);
    rustix::net::connect(&socket, &to).ok()?;
    Some(TcpStream::from(socket))
}

fn shrink(socket: &impl std::os::fd::AsFd, bytes: usize) {
    sockopt::set_socket_send_buffer_size(socket, bytes).unwrap();
    sockopt::set_socket_recv_buffer_size(socket, bytes).unwrap();
}
