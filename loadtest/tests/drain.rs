//! A gateway that is told to end lets what is under way arrive; one that comes back is found again.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use kafka_protocol::messages::FetchRequest;
use rustix::process::Signal;
use sluicegate_loadtest::requests::{
    FETCH_VERSION, FetchBounds, METADATA_VERSION, PRODUCE_VERSION, batch, fetch, metadata, produce,
};

use crate::support::clients::FAMILIES;
use crate::support::front::Front;
use crate::support::gateway::Setup;
use crate::support::tokens::ALICE;
use crate::support::{PATIENCE, unique};

#[test]
fn an_answer_under_way_is_delivered_then_the_gateway_ends() {
    let Some(front) = Front::start(Setup::default()) else { return };
    let topic = unique("drained");
    front.kafka.create_topic(&topic, 1);
    let mut waiting = front.connect_as(&ALICE);
    let mut idle = front.connect_as(&ALICE);
    waiting.call(METADATA_VERSION, &metadata(None)).unwrap();
    // Nothing to read yet: the answer is under way until somebody writes.
    let bounds = FetchBounds { wait_ms_max: 20_000, bytes_min: 1, bytes_max: 1 << 20 };
    waiting.send(FETCH_VERSION, &fetch(bounds, &[(&topic, 0, 0)])).unwrap();
    await_fetch_at_broker();
    front.gateway().process.signal(Signal::TERM);
    await_refusal(front.address());

    let batch = batch([&b"late"[..]]).unwrap();
    let request = produce(-1, &[(&topic, 0, batch)]);
    front.kafka.connect().call(PRODUCE_VERSION, &request).unwrap();
    let (_, answer) = waiting.receive::<FetchRequest>(FETCH_VERSION).unwrap();
    let partition = &answer.responses[0].partitions[0];
    assert!(partition.records.as_ref().is_some_and(|records| !records.is_empty()), "{answer:?}");
    crate::login::assert_ends(&mut idle);
    crate::login::assert_ends(&mut waiting);
    assert_eq!(front.gateway().process.await_exit(PATIENCE), Some(0));
}

#[test]
fn who_never_reads_does_not_keep_it_from_ending() {
    let setup = Setup { more: "shutdown.timeout.ms: 2000\n".to_owned(), ..Setup::default() };
    let Some(front) = Front::start(setup) else { return };
    let mut waiting = front.connect_as(&ALICE);
    let topic = unique("undrained");
    front.kafka.create_topic(&topic, 1);
    let bounds = FetchBounds { wait_ms_max: 300_000, bytes_min: 1, bytes_max: 1 << 20 };
    waiting.send(FETCH_VERSION, &fetch(bounds, &[(&topic, 0, 0)])).unwrap();
    await_fetch_at_broker();
    let started = Instant::now();
    front.gateway().process.signal(Signal::TERM);
    assert_eq!(front.gateway().process.await_exit(PATIENCE), Some(0));
    // 2 s are configured; the rest is for a busy machine.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn producers_lose_and_repeat_nothing_over_a_restart() {
    for family in FAMILIES {
        let Some(mut front) = Front::start(Setup::default()) else { return };
        let topic = unique("restarted");
        front.kafka.create_topic(&topic, 1);
        let access = front.access(&ALICE);
        let config = [("enable.idempotence", "true"), ("acks", "all"), ("linger.ms", "0")];
        let producer = family.producer(&access, &config);
        // So that the restart hits a producer in full run.
        assert_eq!(producer.generate(&topic, 10, 100).acknowledged, 10, "{family:?}");
        let generated = std::thread::scope(|scope| {
            let load = scope.spawn(|| producer.generate(&topic, 40_000, 500));
            await_records(&front, &topic, 2_000);
            let gateway = front.gateway.as_mut().unwrap();
            gateway.process.signal(Signal::TERM);
            assert_eq!(gateway.process.await_exit(PATIENCE), Some(0), "{family:?}");
            gateway.restart();
            load.join().unwrap()
        });
        assert_eq!(generated.acknowledged, 40_000, "{family:?}: {generated:?}");
        let consumer = family.consumer(&access, &[]);
        consumer.assign(&topic, 0);
        // One more than there are: had any been written twice, it would be among them.
        let polled = consumer.poll(40_010, PATIENCE);
        assert_eq!(polled.records.len(), 40_010, "{family:?}: {:?}", polled.error);
        let end = end_offset(&front, &topic);
        assert_eq!(end, 40_010, "{family:?}: something was written twice");
    }
}

/// The broker's end of a topic, asked without the gateway.
fn end_offset(front: &Front, topic: &str) -> i64 {
    let request = sluicegate_loadtest::requests::list_offsets(topic, 0);
    let version = sluicegate_loadtest::requests::LIST_OFFSETS_VERSION;
    front.kafka.connect().call(version, &request).unwrap().topics[0].partitions[0].offset
}

fn await_records(front: &Front, topic: &str, count: i64) {
    let deadline = Instant::now() + PATIENCE;
    while end_offset(front, topic) < count {
        assert!(Instant::now() < deadline, "the producer does not get going");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A fetch that waits leaves no trace that could be awaited; this is ample for it to reach the broker.
fn await_fetch_at_broker() {
    std::thread::sleep(Duration::from_millis(700));
}

/// Waits until the gateway takes no new connections.
fn await_refusal(address: std::net::SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "it still accepts connections");
        std::thread::sleep(Duration::from_millis(20));
    }
}
