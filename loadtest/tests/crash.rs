//! What dies at once, and what becomes of the others: a broker that is killed and comes back, a gateway that crashes (rows
//! F6 and F21 of the faults).

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sluicegate_loadtest::client::{Connection, PlainLogin};
use sluicegate_loadtest::requests::{METADATA_VERSION, metadata};

use crate::support::clients::{Access, FAMILIES, Family, Login};
use crate::support::front::{Front, is_direct};
use crate::support::gateway::{Gateway, Setup};
use crate::support::kafka::{self, Kafka, Node};
use crate::support::null;
use crate::support::tokens::ALICE;
use crate::support::{PATIENCE, skip, unique};

/// A broker of its own is killed in full run and started again in its folder (row F6).
#[test]
fn a_killed_broker_loses_nothing_that_was_acknowledged() {
    if Kafka::shared().is_none() {
        return;
    }
    if is_direct() {
        return skip("it needs the gateway, and SLUICEGATE_TEST_TARGET is kafka");
    }
    let mut kafka = Kafka::start(&kafka::home().unwrap());
    let gateway = Gateway::start(&kafka, Setup::default());
    let login =
        PlainLogin { username: ALICE.name.to_owned(), password: gateway.issuer.token(&ALICE) };
    let access =
        Access { bootstrap: gateway.address, login: Login::Plain(login.clone()), authority: None };
    let count = 20_000;
    let config = [("enable.idempotence", "true"), ("acks", "all"), ("linger.ms", "0")];
    let clients = FAMILIES.map(|family| {
        let topic = unique("killed");
        kafka.create_topic(&topic, 1);
        let (producer, consumer) =
            (family.producer(&access, &config), family.consumer(&access, &[]));
        assert_eq!(producer.generate(&topic, 10, 500).acknowledged, 10, "{family:?}");
        consumer.assign(&topic, 0);
        (family, topic, producer, consumer)
    });
    let back = std::thread::scope(|scope| {
        for (family, topic, producer, consumer) in &clients {
            scope.spawn(move || {
                let generated = producer.generate(topic, count, 500);
                assert_eq!(generated.acknowledged, count, "{family:?}: {generated:?}");
                // The client itself tries again what it may; an error here is one that it may not.
                assert!(generated.errors.is_empty(), "{family:?}: {generated:?}");
            });
            scope.spawn(move || {
                // Ten numbers come twice: those of the first run.
                let counted = consumer.count(count, PATIENCE * 2 + PATIENCE / 3);
                assert_eq!(counted.different, count, "{family:?}: {counted:?}");
                assert!(counted.error.is_none(), "{family:?}: {counted:?}");
            });
        }
        let (_, topic, ..) = &clients[0];
        let deadline = Instant::now() + PATIENCE;
        while crate::support::front::end_of(&mut kafka.connect(), topic) < 1_000 {
            assert!(Instant::now() < deadline, "the producer does not get going");
        }
        kafka.kill_and_restart(Duration::ZERO);
        let started = Instant::now();
        while !is_served(gateway.broker_addresses[0], &login) {
            assert!(started.elapsed() < PATIENCE, "the gateway does not find it again");
        }
        started.elapsed()
    });
    eprintln!("found again after {back:?}");
    // 2 s are the limit; the rest is for a busy machine.
    assert!(back < Duration::from_secs(10), "{back:?}");
    for (family, topic, ..) in &clients {
        let end = crate::support::front::end_of(&mut kafka.connect(), topic);
        assert_eq!(end, i64::try_from(count).unwrap() + 10, "{family:?}: lost or written twice");
    }
}

/// Three brokers are killed one after another, the next when the last has caught up, while clients go on (row F6).
#[test]
fn three_brokers_that_restart_in_turn_lose_nothing_that_was_acknowledged() {
    if Kafka::shared().is_none() {
        return;
    }
    if is_direct() {
        return skip("it needs the gateway, and SLUICEGATE_TEST_TARGET is kafka");
    }
    let (mut kafka, mut others) = three_brokers();
    let setup = Setup { broker_ids: vec![1, 2, 3], ..Setup::default() };
    let gateway = Gateway::start(&kafka, setup);
    let login =
        PlainLogin { username: ALICE.name.to_owned(), password: gateway.issuer.token(&ALICE) };
    let access =
        Access { bootstrap: gateway.address, login: Login::Plain(login.clone()), authority: None };
    let topics = FAMILIES.map(|family| {
        let topic = unique("rolling");
        kafka.create_topic_thrice(&topic, 1);
        (family, topic)
    });
    let names = topics.each_ref().map(|(_, topic)| topic.as_str());
    await_copies(&kafka, &names);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also where an assertion here fails: the others would go on for ever.
        let _end = EndsWhenDropped(&ended);
        for (family, topic) in &topics {
            let (access, ended) = (&access, &ended);
            scope.spawn(move || write_and_read(*family, access, topic, ended));
        }
        for (place, address) in gateway.broker_addresses.iter().enumerate() {
            match place.checked_sub(1) {
                None => kafka.kill_and_restart(Duration::from_secs(1)),
                Some(other) => others[other].kill_and_restart(Duration::from_secs(1)),
            }
            let started = Instant::now();
            while !is_served(*address, &login) {
                assert!(started.elapsed() < PATIENCE, "broker {} is not found again", place + 1);
            }
            eprintln!("broker {} found again after {:?}", place + 1, started.elapsed());
            // 2 s are the limit; the rest is for a busy machine.
            assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
            await_copies(&kafka, &names);
        }
    });
}

/// A cluster of its own; the first broker is its controller, too.
pub fn three_brokers() -> (Kafka, [Node; 2]) {
    let home = kafka::home().unwrap();
    let kafka = Kafka::start(&home);
    let others = std::thread::scope(|scope| {
        let (home, kafka) = (&home, &kafka);
        let starting = [2, 3].map(|id| scope.spawn(move || kafka.join(home, id)));
        starting.map(|started| started.join().unwrap())
    });
    (kafka, others)
}

/// Ends what goes on until then, also where an assertion fails.
pub struct EndsWhenDropped<'a>(pub &'a AtomicBool);

impl Drop for EndsWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes on and on until `ended`; a consumer beside it must get as many records as were acknowledged, and no client may
/// give up or be told of an error that it cannot mend by itself.
pub fn write_and_read(family: Family, access: &Access, topic: &str, ended: &AtomicBool) {
    let written = std::sync::atomic::AtomicU64::new(0);
    let is_written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _end = EndsWhenDropped(&is_written);
            let config = [("enable.idempotence", "true"), ("acks", "all"), ("linger.ms", "0")];
            let producer = family.producer(access, &config);
            while !ended.load(Ordering::Relaxed) {
                let generated = producer.generate(topic, 100, 200);
                assert!(generated.errors.is_empty(), "{family:?}: {generated:?}");
                assert_eq!(generated.acknowledged, 100, "{family:?}");
                written.fetch_add(100, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let consumer = family.consumer(access, &[]);
        consumer.assign(topic, 0);
        let (mut read, mut since) = (0, Instant::now());
        while !is_written.load(Ordering::Relaxed) || read < written.load(Ordering::Relaxed) {
            let polled = consumer.poll(1_000, Duration::from_millis(500));
            assert!(polled.error.is_none(), "{family:?}: {:?}", polled.error);
            for record in &polled.records {
                assert_eq!(record.offset, i64::try_from(read).ok(), "{family:?}: lost or twice");
                read += 1;
                since = Instant::now();
            }
            assert!(since.elapsed() < PATIENCE, "{family:?}: nothing comes any more at {read}");
        }
        assert_eq!(read, written.load(Ordering::Relaxed), "{family:?}: more than was written");
        eprintln!("{family:?}: {read} records");
    });
}

/// Waits until all three brokers have all of these topics.
pub fn await_copies(kafka: &Kafka, topics: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    let mut connection = kafka.connect();
    loop {
        let answer = connection.call(METADATA_VERSION, &metadata(Some(topics))).unwrap();
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        if partitions.clone().count() == topics.len()
            && partitions.all(|partition| partition.isr_nodes.len() == 3)
        {
            return;
        }
        assert!(Instant::now() < deadline, "not all copies are up to date: {answer:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether a new connection through the gateway is answered by the broker.
fn is_served(gateway: SocketAddr, login: &PlainLogin) -> bool {
    let call = || -> anyhow::Result<()> {
        let mut connection = Connection::open(gateway, PATIENCE)?;
        connection.login(login)?;
        connection.call(METADATA_VERSION, &metadata(Some(&[])))?;
        Ok(())
    };
    call().is_ok()
}

#[test]
fn clients_that_come_back_all_at_once_are_no_storm_for_a_broker_that_fails() {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = relay.local_addr().unwrap();
    let broker = null::start((1, 100), Some(at));
    let failing = Arc::new(AtomicBool::new(false));
    let connects: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let (fails, noted) = (Arc::clone(&failing), Arc::clone(&connects));
    std::thread::spawn(move || accept_or_close(&relay, broker, &fails, &noted));
    let Some(front) = Front::start(null::setup(at)) else { return };
    let login = front.login(&ALICE);
    assert!(is_served(front.broker_address(), &login));

    failing.store(true, Ordering::Relaxed);
    let ended = AtomicBool::new(false);
    let (tries, seen, back) = std::thread::scope(|scope| {
        let (front, login, ended, failing) = (&front, &login, &ended, &failing);
        let clients: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(move || {
                    let mut tries: u64 = 0;
                    while !ended.load(Ordering::Relaxed) {
                        tries += 1;
                        is_served(front.broker_address(), login);
                    }
                    tries
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(1));
        let from = Instant::now();
        std::thread::sleep(Duration::from_secs(3));
        let within = |at: &&Instant| (from..from + Duration::from_secs(3)).contains(*at);
        let seen = connects.lock().unwrap().iter().filter(within).count();
        eprintln!("{seen} connects in 3 s");
        // Two shards, ten a second each.
        assert!(seen <= 60, "{seen} connects in 3 s");
        assert!(seen >= 3, "it is hardly tried any more: {seen} connects in 3 s");
        failing.store(false, Ordering::Relaxed);
        let healed = Instant::now();
        while !is_served(front.broker_address(), login) {
            assert!(healed.elapsed() < PATIENCE, "it is not found again");
        }
        let back = healed.elapsed();
        ended.store(true, Ordering::Relaxed);
        let tries: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
        (tries, seen, back)
    });
    eprintln!("{tries} tries of clients; found again after {back:?}");
    assert!(tries > 2 * u64::try_from(seen).unwrap(), "the clients hardly tried: {tries}");
    // It takes a fifth of a second; the rest is for a busy machine.
    assert!(back < Duration::from_secs(5), "{back:?}");
}

/// Relays, or closes what it has accepted.
fn accept_or_close(
    listener: &TcpListener,
    to: SocketAddr,
    failing: &AtomicBool,
    connects: &Mutex<Vec<Instant>>,
) {
    while let Ok((client, _)) = listener.accept() {
        connects.lock().unwrap().push(Instant::now());
        if failing.load(Ordering::Relaxed) {
            continue;
        }
        let broker = TcpStream::connect(to).unwrap();
        for (mut from, mut to) in [
            (client.try_clone().unwrap(), broker.try_clone().unwrap()),
            (broker.try_clone().unwrap(), client.try_clone().unwrap()),
        ] {
            std::thread::spawn(move || {
                std::io::copy(&mut from, &mut to).ok();
                to.shutdown(std::net::Shutdown::Write).ok();
            });
        }
    }
}

/// A crash as a panic in a shard ends in one (`src/shard.rs` has the test that it does), and one by the processor. (A fault
/// of memory cannot be sent: Rust's own handler takes the first for a chance to try again.)
#[test]
fn a_gateway_that_crashes_ends_at_once_and_comes_back_with_a_sound_log() {
    for (signal, code) in [(Signal::ABORT, 134), (Signal::ILL, 132)] {
        let Some(mut front) = Front::start(Setup::default()) else { return };
        let topic = unique("crashed");
        front.kafka.create_topic(&topic, 1);
        let access = front.access(&ALICE);
        let producer = FAMILIES[0].producer(&access, &[("acks", "all")]);
        let generated = std::thread::scope(|scope| {
            let load = scope.spawn(|| producer.generate(&topic, 20_000, 500));
            let deadline = Instant::now() + PATIENCE;
            while crate::support::front::end_of(&mut front.kafka.connect(), &topic) < 1_000 {
                assert!(Instant::now() < deadline, "the producer does not get going");
            }
            let gateway = front.gateway.as_mut().unwrap();
            gateway.process.signal(signal);
            let crashed = Instant::now();
            assert_eq!(gateway.process.await_exit(PATIENCE), Some(code));
            assert!(crashed.elapsed() < Duration::from_secs(1), "{:?}", crashed.elapsed());
            let started = Instant::now();
            gateway.restart();
            eprintln!("it serves again after {:?}", started.elapsed());
            // 3 s are the limit; the rest is for a busy machine.
            assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
            load.join().unwrap()
        });
        assert_eq!(generated.acknowledged, 20_000, "{generated:?}");
        let gateway = front.gateway();
        gateway.process.signal(Signal::TERM);
        assert_eq!(gateway.process.await_exit(PATIENCE), Some(0));
        let (text, code) = gateway.run(&["verify"]);
        assert_eq!(code, 0, "{text}");
    }
}
