//! What ends reaches live connections: a policy that changes, a token that expires, long polls included.

use std::time::{Duration, Instant};

use kafka_protocol::messages::FetchRequest;
use sluicegate_loadtest::client::{Connection, PlainLogin};
use sluicegate_loadtest::requests::{FETCH_VERSION, FetchBounds, fetch};

use crate::refuse::TOPIC_DENIED;
use crate::support::clients::{FAMILIES, Family, Login, Record};
use crate::support::front::Front;
use crate::support::gateway::Setup;
use crate::support::tokens::{ALICE, BOB};
use crate::support::{PATIENCE, unique};

#[test]
fn a_new_policy_reaches_live_connections_and_a_broken_one_does_not() {
    let topic = unique("reloaded");
    let permit = format!(
        "@id(\"p\") permit (principal, action in [Action::\"Read\", Action::\"Describe\"], \
         resource in Topic::\"{topic}\");\n"
    );
    let setup = Setup { policy: permit.clone(), ..Setup::default() };
    let Some(front) = Front::start(setup) else { return };
    front.kafka.create_topic(&topic, 1);
    let mut connection = front.connect_as(&BOB);
    // Load meanwhile: each request is decided by one policy or the other, and none is lost.
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut busy = front.connect_as(&BOB);
            let mut seen = std::collections::BTreeSet::new();
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                seen.insert(fetch_code(&mut busy, &topic));
            }
            seen
        });
        await_code(&mut connection, &topic, 0);
        front.gateway().replace_policy(&permit.replace("permit (", "forbid ("));
        await_code(&mut connection, &topic, TOPIC_DENIED);
        front.gateway().replace_policy("permit (principal in");
        let named = front.gateway().process.await_line("policy.cedar", PATIENCE);
        assert!(named.is_some(), "the log does not name the broken file");
        for _ in 0..100 {
            assert_eq!(fetch_code(&mut connection, &topic), TOPIC_DENIED);
        }
        front.gateway().replace_policy(&permit);
        await_code(&mut connection, &topic, 0);
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        let seen = load.join().unwrap();
        assert_eq!(seen.into_iter().collect::<Vec<i16>>(), [0, TOPIC_DENIED]);
    });
}

fn fetch_code(connection: &mut Connection, topic: &str) -> i16 {
    let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 1 << 20 };
    let answer = connection.call(FETCH_VERSION, &fetch(bounds, &[(topic, 0, 0)])).unwrap();
    answer.responses[0].partitions[0].error_code
}

/// Waits until a change of policy shows, on a connection that it must not cost.
fn await_code(connection: &mut Connection, topic: &str, wanted: i16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while fetch_code(connection, topic) != wanted {
        assert!(Instant::now() < deadline, "no change to {wanted}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_right_that_ends_during_a_long_poll_ends_it_partition_by_partition() {
    let topic = unique("partitioned");
    let rights = |actions: &str, resource: &str, id: &str| {
        format!("@id(\"{id}\") permit (principal, action in [{actions}], resource {resource});\n")
    };
    let write = rights("Action::\"Write\", Action::\"IdempotentWrite\"", "", "write");
    let read = |partition: i32| {
        let resource = format!("== Partition::\"{topic}-{partition}\"");
        rights("Action::\"Read\"", &resource, &format!("read-{partition}"))
    };
    let policy = format!("{write}{}{}", read(0), read(1));
    let Some(front) = Front::start(Setup { policy, ..Setup::default() }) else { return };
    front.kafka.create_topic(&topic, 2);
    let mut polling = front.connect_as(&BOB);
    let both = [(topic.as_str(), 0, 0), (topic.as_str(), 1, 0)];
    let bounds = FetchBounds { wait_ms_max: 30_000, bytes_min: 1, bytes_max: 1 << 20 };
    polling.send(FETCH_VERSION, &fetch(bounds, &both)).unwrap();

    front.gateway().replace_policy(&format!("{write}{}", read(0)));
    let mut other = front.connect_as(&BOB);
    let deadline = Instant::now() + Duration::from_secs(20);
    let refused = |connection: &mut Connection| {
        let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 1 << 20 };
        let request = fetch(bounds, &[(topic.as_str(), 1, 0)]);
        let answer = connection.call(FETCH_VERSION, &request).unwrap();
        answer.responses[0].partitions[0].error_code == TOPIC_DENIED
    };
    while !refused(&mut other) {
        assert!(Instant::now() < deadline, "the new policy does not show");
        std::thread::sleep(Duration::from_millis(10));
    }
    // One record each, and the long poll comes back with what may still be read.
    let producer = FAMILIES[0].producer(&front.access(&ALICE), &[("linger.ms", "200")]);
    let record = |partition| Record { partition: Some(partition), ..Record::of("x") };
    for sent in producer.send(&topic, &[record(1), record(0)]) {
        sent.unwrap();
    }
    let (_, answer) = polling.receive::<FetchRequest>(FETCH_VERSION).unwrap();
    let partitions: Vec<_> =
        answer.responses.iter().flat_map(|response| &response.partitions).collect();
    assert_eq!(partitions.len(), 2, "{answer:?}");
    for partition in partitions {
        if partition.partition_index == 0 {
            assert_eq!(partition.error_code, 0, "{answer:?}");
            continue;
        }
        assert_eq!(partition.error_code, TOPIC_DENIED, "{answer:?}");
        assert!(partition.records.as_ref().is_none_or(|records| records.is_empty()), "{answer:?}");
        let ends =
            [partition.high_watermark, partition.last_stable_offset, partition.log_start_offset];
        assert_eq!(ends, [-1; 3], "{answer:?}");
    }
}

#[test]
fn a_token_that_expires_ends_a_long_poll() {
    let Some(front) = Front::start(Setup::default()) else { return };
    let topic = unique("expiring");
    front.kafka.create_topic(&topic, 1);
    let issuer = &front.gateway().issuer;
    let claims = issuer.claims(&ALICE, Duration::from_secs(5));
    let expiry = Duration::from_secs(claims["exp"].as_u64().unwrap());
    let login = PlainLogin { username: "alice".to_owned(), password: issuer.sign(&claims) };
    let mut connection = Connection::open(front.broker_address(), PATIENCE).unwrap();
    connection.login(&login).unwrap();
    let bounds = FetchBounds { wait_ms_max: 30_000, bytes_min: 1, bytes_max: 1 << 20 };
    connection.send(FETCH_VERSION, &fetch(bounds, &[(&topic, 0, 0)])).unwrap();
    crate::login::assert_ends(&mut connection);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(now + Duration::from_millis(50) >= expiry, "ended {:?} early", expiry - now);
    // To the second; another is for a busy machine.
    let late = now.saturating_sub(expiry);
    assert!(late < Duration::from_secs(2), "{late:?} late");
    // And it is not let in again.
    let error = Connection::open(front.address(), PATIENCE).unwrap().login(&login).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error:#}");
}

#[test]
fn a_client_whose_token_expires_is_told() {
    let Some(front) = Front::start(Setup::default()) else { return };
    let topic = unique("expiring");
    front.kafka.create_topic(&topic, 1);
    for family in FAMILIES {
        let issuer = &front.gateway().issuer;
        let token = issuer.sign(&issuer.claims(&ALICE, Duration::from_secs(6)));
        let login = PlainLogin { username: "alice".to_owned(), password: token };
        let access = front.access_with(Login::Plain(login));
        let long_poll = match family {
            Family::Java => ("fetch.max.wait.ms", "20000"),
            Family::Python => ("fetch.wait.max.ms", "20000"),
        };
        let consumer = family.consumer(&access, &[long_poll]);
        consumer.assign(&topic, 0);
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            let polled = consumer.poll(1, Duration::from_secs(10));
            // A connection that ends while librdkafka logs in again is a failed login to it, too; the next one tells.
            if polled.error.as_ref().is_some_and(|error| error.message.contains("expired")) {
                break;
            }
            assert!(Instant::now() < deadline, "{family:?} is not told: {:?}", polled.error);
        }
    }
}
