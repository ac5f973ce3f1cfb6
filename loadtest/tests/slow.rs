//! A slow client, a slow broker and slow attackers each stop only their own connection (rows F13, F15 of the faults).

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use sluicegate_loadtest::client::Connection;
use sluicegate_loadtest::requests::{FETCH_VERSION, FetchBounds, PRODUCE_VERSION, fetch, produce};
use socket2::{SockFilter, SockRef};

use crate::support::PATIENCE;
use crate::support::front::Front;
use crate::support::gateway::Gateway;
use crate::support::healthy::Healthy;
use crate::support::null::{self, TOPIC};
use crate::support::rough::{Rough, Roughness, connect, seed};
use crate::support::tokens::ALICE;

const MIB: u64 = 1024 * 1024;

/// One fetch of so many bytes, which the null broker fills.
fn ask_for(connection: &mut Connection, bytes_max: i32) {
    let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max };
    connection.send(FETCH_VERSION, &fetch(bounds, &[(TOPIC, 0, 0)])).unwrap();
}

#[test]
fn slow_consumers_stop_nobody_else_and_cost_bounded_memory() {
    let setup = null::setup(null::start((16, 16_000), None));
    let Some(front) = Front::start(setup) else { return };
    let gateway = front.gateway();
    let mut healthy = Healthy::new(front.connect_as(&ALICE));
    let before = gateway.resident_bytes();
    let ended = AtomicBool::new(false);
    let mut consumers: Vec<Connection> = (0..8).map(|_| front.connect_as(&ALICE)).collect();
    for consumer in &mut consumers {
        // Small enough that nearly all of it waits in the gateway or before it.
        sockopt::set_socket_recv_buffer_size(consumer.stream(), 4 * 1024).unwrap();
        // Several ahead: what is not read must not pile up.
        for _ in 0..8 {
            ask_for(consumer, 4 << 20);
        }
    }
    std::thread::scope(|scope| {
        let ended = &ended;
        for consumer in &consumers {
            scope.spawn(move || {
                let mut some = [0; 100];
                while !ended.load(Ordering::Relaxed) {
                    { consumer.stream() }.read_exact(&mut some).unwrap();
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
        }
        // Until all of them stand still.
        std::thread::sleep(Duration::from_secs(1));
        healthy.assert_undisturbed("8 slow consumers");
        // Newcomers are served too, on both shards.
        for _ in 0..4 {
            ask_for(&mut front.connect_as(&ALICE), 1 << 20);
        }
        let grown = gateway.resident_bytes().saturating_sub(before);
        // One response of 4 MiB each, doubled by the growth of its buffer; 256 responses were asked for.
        assert!(grown < 8 * 16 * MIB, "it has grown by {} MiB", grown / MIB);
        ended.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_broker_that_does_not_read_stops_nobody_else_and_is_left_with_its_client() {
    let relay = crate::support::free_addresses::<1>("127.0.0.1")[0];
    let broker = null::start((4, 1000), Some(relay));
    let rough = Rough::start(relay, broker, seed(), Roughness::default());
    let Some(front) = Front::start(null::setup(relay)) else { return };
    let gateway = front.gateway();
    drop(front.connect_as(&ALICE));
    let mut stuck = front.connect_as(&ALICE);
    ask_for(&mut stuck, 1);
    stuck.read_frame().unwrap();
    rough.deafen();
    let mut healthy = Healthy::new(front.connect_as(&ALICE));
    let open_before = gateway.sockets().len();
    // More than the kernel's buffers take on the way; the client's own write need not come to its end.
    let mut writer = stuck.stream().try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let mut request = bytes::BytesMut::new();
        let body = produce(-1, &[(TOPIC, 0, null::large_batch(24 << 20))]);
        let name = kafka_protocol::protocol::StrBytes::from_static_str("stuck");
        sluicegate_loadtest::client::encode(&mut request, 9, &name, PRODUCE_VERSION, &body)
            .unwrap();
        writer.write_all(&request).ok();
    });
    std::thread::sleep(Duration::from_secs(1));
    healthy.assert_undisturbed("a broker that does not read");
    // The client gives up: nobody reads from it now, and yet both sockets of the connection go, within a second.
    stuck.stream().shutdown(std::net::Shutdown::Both).unwrap();
    sending.join().unwrap();
    sockopt::set_socket_linger(stuck.stream(), Some(Duration::ZERO)).unwrap();
    drop(stuck);
    let started = Instant::now();
    gateway.await_sockets(open_before - 2, Duration::from_secs(3));
    eprintln!("gone after {:?}", started.elapsed());
}

#[test]
fn both_sockets_of_an_idle_connection_are_asked_for_a_sign_of_life() {
    let broker = null::start((1, 100), None);
    let Some(front) = Front::start(null::setup(broker)) else { return };
    let _idle = front.connect_as(&ALICE);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let timers = idle_timers(front.gateway(), broker);
        // The client's, its broker's, and the gateway's own eyes on the cluster.
        let kept: Vec<_> = timers.iter().filter(|timer| timer.kind == KEEPALIVE).collect();
        if kept.len() >= 3 && kept.len() == timers.len() {
            let late = |timer: &&Timer| timer.due > Duration::from_secs(15);
            assert!(!kept.iter().any(late), "{timers:?}");
            return;
        }
        // A retransmission timer may be in the way for a moment.
        assert!(Instant::now() < deadline, "{timers:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A timer of a socket, as /proc/net/tcp shows it.
#[derive(Debug)]
struct Timer {
    kind: u8,
    due: Duration,
}

/// The number of the keepalive timer there.
const KEEPALIVE: u8 = 2;

/// The timers of all established Kafka connections of a gateway: those at its ports, and those to the broker.
fn idle_timers(gateway: &Gateway, broker: SocketAddr) -> Vec<Timer> {
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    let mut served: Vec<u16> = gateway.broker_addresses.iter().map(SocketAddr::port).collect();
    served.push(gateway.address.port());
    let own = gateway.sockets();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let established = fields[3] == "01" && own.contains(&fields[9].parse().ok()?);
        let is_kafka = served.contains(&port(fields[1])?) || port(fields[2])? == broker.port();
        let (kind, due) = fields[5].split_once(':')?;
        let ticks = u64::from_str_radix(due, 16).ok()?;
        let due = Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second());
        (established && is_kafka).then_some(Timer { kind: kind.parse().ok()?, due })
    });
    rows.collect()
}

/// 200 sockets that send a byte a second of a login, 30 of a frame's length and 30 of its body; and a client that takes
/// nothing of what waits for it. (Row F15 asks for 5,000 sockets.)
#[test]
fn slow_attackers_are_shown_the_door_and_nobody_notices() {
    let setup = null::setup(null::start((16, 16_000), None));
    let Some(front) = Front::start(setup) else { return };
    let gateway = front.gateway();
    let mut healthy = Healthy::new(front.connect_as(&ALICE));
    let open_before = gateway.sockets().len();

    let mut deaf = front.connect_as(&ALICE);
    sockopt::set_socket_recv_buffer_size(deaf.stream(), 4 * 1024).unwrap();
    ask_for(&mut deaf, 4 << 20);
    let handshake: Vec<u8> = [&[0, 0, 4, 0][..], &[0; 60]].concat();
    let mut sockets: Vec<Trickle> = (0..200)
        .map(|_| Trickle::new(TcpStream::connect(front.address()).unwrap(), &handshake))
        .collect();
    for number in 0..60 {
        let connection = front.connect_as(&ALICE);
        // Half of them do not even send a whole length: a byte of it, and the others beyond the deadline.
        let bytes: &[u8] = if number % 2 == 0 { &[0] } else { &handshake };
        sockets.push(Trickle::new(connection.stream().try_clone().unwrap(), bytes));
    }
    let started = Instant::now();
    std::thread::scope(|scope| {
        let trickling = scope.spawn(|| {
            while sockets.iter().any(|socket| socket.ended.is_none())
                && started.elapsed() < PATIENCE
            {
                sockets.iter_mut().for_each(|socket| socket.step(started));
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        std::thread::sleep(Duration::from_secs(2));
        healthy.assert_undisturbed("260 slow sockets");
        trickling.join().unwrap();
    });
    let (before_login, after_login) = sockets.split_at(200);
    // 10 s and 30 s are the limits; the rest is for a busy machine, and a second for the trickle's own step.
    for (sockets, limit) in [(before_login, 10), (after_login, 30)] {
        let ends = sockets.iter().map(|socket| socket.ended.expect("it was never closed"));
        let (first, last) = (ends.clone().min().unwrap(), ends.max().unwrap());
        eprintln!("limit of {limit} s: ended between {first:?} and {last:?}");
        assert!(first > Duration::from_secs(limit / 2), "{first:?}");
        assert!(last < Duration::from_secs(limit + 10), "{last:?}");
    }
    // The kernel has ended the one that took nothing: nothing of any of them is left.
    gateway.await_sockets(open_before, PATIENCE);
    assert!(started.elapsed() < Duration::from_secs(50), "{:?}", started.elapsed());
    healthy.assert_undisturbed("nobody any more");
}

/// A socket that sends a byte at each step, and notes when it was closed.
struct Trickle {
    stream: TcpStream,
    left: VecDeque<u8>,
    ended: Option<Duration>,
}

impl Trickle {
    fn new(stream: TcpStream, bytes: &[u8]) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self { stream, left: bytes.iter().copied().collect(), ended: None }
    }

    fn step(&mut self, started: Instant) {
        if self.ended.is_some() {
            return;
        }
        let is_open = match self.stream.read(&mut [0; 100]) {
            Err(error) => error.kind() == ErrorKind::WouldBlock,
            Ok(bytes) => bytes > 0,
        };
        let sent = self.left.pop_front().is_none_or(|byte| self.stream.write_all(&[byte]).is_ok());
        if !is_open || !sent {
            self.ended = Some(started.elapsed());
        }
    }
}

/// How many sockets the gateway has once it opens and closes none any more.
fn settled_sockets(gateway: &Gateway) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let (mut open, mut since) = (gateway.sockets(), Instant::now());
    while since.elapsed() < Duration::from_secs(1) {
        assert!(Instant::now() < deadline, "its sockets do not settle");
        std::thread::sleep(Duration::from_millis(50));
        let now = gateway.sockets();
        if now != open {
            (open, since) = (now, Instant::now());
        }
    }
    open.len()
}

/// A client that vanishes without a word: no packet reaches it any more, so that nothing is answered and nothing is
/// refused either. One waits for records, one is owed much (row F13).
#[test]
fn a_client_that_vanishes_is_let_go_with_all_that_it_held() {
    let setup = null::setup(null::start((16, 16_000), None));
    let Some(front) = Front::start(setup) else { return };
    let gateway = front.gateway();
    drop(front.connect_as(&ALICE));
    let open_before = settled_sockets(gateway);
    let idle = front.connect_as(&ALICE);
    let mut busy = front.connect_as(&ALICE);
    for _ in 0..8 {
        ask_for(&mut busy, 4 << 20);
    }
    // Their own connections to the broker follow their logins.
    let deadline = Instant::now() + PATIENCE;
    while gateway.sockets().len() < open_before + 4 {
        assert!(Instant::now() < deadline, "they are not connected");
        std::thread::sleep(Duration::from_millis(20));
    }
    for vanished in [&idle, &busy] {
        // `ret 0`: a packet filter that takes nothing.
        let nothing = [SockFilter::new(6, 0, 0, 0)];
        SockRef::from(vanished.stream()).attach_filter(&nothing).unwrap();
    }
    let started = Instant::now();
    gateway.await_sockets(open_before, PATIENCE);
    eprintln!("let go after {:?}", started.elapsed());
    // Kept alive for 15 s, unacknowledged for 30 s; the rest is for a busy machine.
    assert!(started.elapsed() < Duration::from_secs(50), "{:?}", started.elapsed());
}

/// Ends of connections of every kind, in the middle of everything: 500 of them, or `SLUICEGATE_TEST_CYCLES` (row F13 asks
/// for 10,000).
#[test]
fn every_kind_of_end_gives_back_all_that_it_held() {
    let setup = null::setup(null::start((16, 16_000), None));
    let Some(front) = Front::start(setup) else { return };
    let gateway = front.gateway();
    let cycles = std::env::var("SLUICEGATE_TEST_CYCLES").map_or(500, |text| text.parse().unwrap());
    drop(front.connect_as(&ALICE));
    let open_before = settled_sockets(gateway);
    let mut memory_before = 0;
    for cycle in 0..cycles {
        end_somehow(&front, cycle);
        if cycle == cycles / 2 {
            memory_before = gateway.resident_bytes();
        }
    }
    let started = Instant::now();
    gateway.await_sockets(open_before, Duration::from_secs(3));
    eprintln!("all back after {:?}", started.elapsed());
    let grown = gateway.resident_bytes().saturating_sub(memory_before);
    assert!(grown < 16 * MIB, "the second half has grown it by {} KiB", grown / 1024);
}

fn end_somehow(front: &Front, cycle: u32) {
    let reset = |stream: &TcpStream| {
        sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
    };
    let broker: SocketAddr = front.broker_address();
    match cycle % 8 {
        0 => reset(&TcpStream::connect(broker).unwrap()),
        1 => {
            let mut half = TcpStream::connect(broker).unwrap();
            half.write_all(&[0, 0, 0, 50, 0, 18, 0, 3]).unwrap();
            half.shutdown(std::net::Shutdown::Write).unwrap();
            // Closed, or reset where the gateway ended it before it had read all of that.
            let end = half.read(&mut [0]);
            let is_reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
            assert!(end.as_ref().map_or_else(is_reset, |read| *read == 0), "{end:?}");
        }
        2 => {
            let mut connection = front.connect_as(&ALICE);
            connection.send_bytes(&[0, 0, 10, 0, 0, 1, 0, 12, 1, 2, 3]).unwrap();
            reset(connection.stream());
        }
        // In the middle of a response.
        3 | 4 => {
            let small = connect(broker, 4 * 1024).unwrap();
            drop(small);
            let mut connection = front.connect_as(&ALICE);
            sockopt::set_socket_recv_buffer_size(connection.stream(), 4 * 1024).unwrap();
            ask_for(&mut connection, 1 << 20);
            { connection.stream() }.read_exact(&mut [0; 1000]).unwrap();
            if cycle % 8 == 3 {
                reset(connection.stream());
            }
        }
        // Half closed with a request under way; the answer may come or not, but the end does.
        5 => {
            let mut connection = front.connect_as(&ALICE);
            ask_for(&mut connection, 1000);
            connection.stream().shutdown(std::net::Shutdown::Write).unwrap();
            { connection.stream() }.read_to_end(&mut Vec::new()).ok();
        }
        6 => {
            let mut connection = front.connect_as(&ALICE);
            for _ in 0..100 {
                ask_for(&mut connection, 100_000);
            }
            reset(connection.stream());
        }
        _ => drop(front.connect_as(&ALICE)),
    }
}
