//! More than anybody should send: connections by the thousand, frames as large as they may be (rows F16, F17 of the
//! faults).

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::protocol::StrBytes;
use rustix::net::{AddressFamily, SocketType};
use sluicegate_loadtest::client::{Connection, encode};
use sluicegate_loadtest::requests::{METADATA_VERSION, PRODUCE_VERSION, metadata, produce};

use crate::support::PATIENCE;
use crate::support::front::Front;
use crate::support::gateway::Setup;
use crate::support::healthy::Healthy;
use crate::support::null::{self, TOPIC};
use crate::support::tokens::ALICE;

const MIB: u64 = 1024 * 1024;

/// A connection that comes from another loopback address.
fn connect_from(source: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(source.parse().unwrap(), 0))?;
    rustix::net::connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

/// Whether the peer closes within a moment, without a word.
fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    match stream.read(&mut [0]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn connections_of_one_address_beyond_the_limit_are_closed_at_the_door() {
    let setup = Setup {
        listener: vec!["max.connections.per.ip: 20"],
        ..null::setup(null::start((1, 100), None))
    };
    let Some(front) = Front::start(setup) else { return };
    let address = front.broker_address();
    let mut held: Vec<TcpStream> =
        (0..20).map(|_| connect_from("127.0.0.7", address).unwrap()).collect();
    // All ports of the listener count together.
    for port in [address, front.address()] {
        for _ in 0..3 {
            assert!(is_closed(&connect_from("127.0.0.7", port).unwrap()));
        }
    }
    for stream in &held {
        stream.set_nonblocking(true).unwrap();
        let read = { stream }.read(&mut [0]);
        assert!(read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "one was closed");
    }
    // Others come in, and the same address too once it has left.
    front.connect_as(&ALICE).call(METADATA_VERSION, &metadata(None)).unwrap();
    held.truncate(10);
    let deadline = Instant::now() + PATIENCE;
    while is_closed(&connect_from("127.0.0.7", address).unwrap()) {
        assert!(Instant::now() < deadline, "those that left are counted still");
    }
    let line = front.gateway().process.await_line("closed at the door", PATIENCE);
    assert!(line.is_some_and(|line| line.contains("max.connections.per.ip")));
}

#[test]
fn a_flood_of_connections_is_not_noticed_by_others() {
    for limits in [vec![], vec!["max.connection.creation.rate.per.ip: 50"]] {
        let broker = null::start((1, 100), None);
        let setup = Setup { listener: limits.clone(), ..null::setup(broker) };
        let Some(front) = Front::start(setup) else { return };
        let address = front.broker_address();
        let mut healthy = Healthy::new(front.connect_as(&ALICE));
        let (ended, count) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    // Out of local ports for a moment, or the queue is full.
                    if connect_from("127.0.0.8", address).is_err() {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
            std::thread::sleep(Duration::from_millis(500));
            let started = Instant::now();
            healthy.assert_undisturbed("a flood of connections");
            while started.elapsed() < Duration::from_secs(2) {
                // Newcomers come in meanwhile, as many as one address may.
                std::thread::sleep(Duration::from_millis(50));
                front.connect_as(&ALICE).call(METADATA_VERSION, &metadata(Some(&[]))).unwrap();
            }
            ended.store(true, Ordering::Relaxed);
        });
        eprintln!("{limits:?}: {} connections", count.into_inner());
    }
}

#[test]
fn frames_as_large_as_they_may_be_wait_for_room() {
    let setup = null::setup(null::start((1, 100), None));
    let Some(front) = Front::start(setup) else { return };
    let gateway = front.gateway();
    // 100 MiB with all that stands around the value.
    let mut frame = BytesMut::new();
    let request = produce(-1, &[(TOPIC, 0, null::large_batch(100 * (1 << 20) - 300))]);
    encode(&mut frame, 7, &StrBytes::from_static_str("large"), PRODUCE_VERSION, &request).unwrap();
    drop(request);
    assert!((99 << 20..=(100 << 20) + 4).contains(&frame.len()), "{} bytes", frame.len());
    drop(front.connect_as(&ALICE));
    let before = gateway.resident_bytes();
    // Six at once, of which two shards have room for two each.
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut connection = front.connect_as(&ALICE);
                connection.send_bytes(&frame).unwrap();
                let (id, answer) = connection.receive::<ProduceRequest>(PRODUCE_VERSION).unwrap();
                assert_eq!(id, 7);
                assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
            });
        }
    });
    let most = gateway.resident_bytes_peak().saturating_sub(before);
    eprintln!("{} MiB at most", most / MIB);
    assert!(most <= 2 * 256 * MIB, "{} MiB at once, the budget is 256 for each shard", most / MIB);
    // And it is given back, but for the 32 MiB of each shard's pool and what the allocator keeps.
    let deadline = Instant::now() + PATIENCE;
    while gateway.resident_bytes().saturating_sub(before) > 128 * MIB {
        let kept = gateway.resident_bytes().saturating_sub(before) / MIB;
        assert!(Instant::now() < deadline, "{kept} MiB are kept");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn lengths_that_no_frame_may_have_cost_no_memory_and_end_at_once() {
    let setup = null::setup(null::start((1, 100), None));
    let Some(front) = Front::start(setup) else { return };
    let attack = |length: i32| {
        let mut connection: Connection = front.connect_as(&ALICE);
        let started = Instant::now();
        { connection.stream() }.write_all(&length.to_be_bytes()).unwrap();
        crate::login::assert_ends(&mut connection);
        started.elapsed()
    };
    let lengths = [0, -1, i32::MIN, i32::MAX, 100 * 1024 * 1024 + 1];
    for length in lengths {
        attack(length);
    }
    let before = front.gateway().resident_bytes();
    for length in lengths {
        // The quickest tells of the gateway, the others of the machine.
        let quickest = (0..10).map(|_| attack(length)).min().unwrap();
        assert!(quickest < Duration::from_millis(10), "{length}: {quickest:?}");
    }
    let grown = front.gateway().resident_bytes().saturating_sub(before);
    assert!(grown <= MIB, "it has grown by {} KiB", grown / 1024);
}
