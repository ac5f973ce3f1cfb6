//! Each broker has a port of its own at the gateway, one that joins later too; none shows its own address.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sluicegate_loadtest::requests::{METADATA_VERSION, metadata};

use crate::support::clients::{FAMILIES, Record};
use crate::support::front::{Front, is_direct};
use crate::support::gateway::{Gateway, Setup};
use crate::support::kafka::{self, Kafka, Kind, Operation, login_of};
use crate::support::tokens::{ALICE, BOB, CAROL};
use crate::support::{PATIENCE, skip, unique};

/// Brokers of a test's own cluster, whose nodes come and go.
fn own_cluster() -> Option<(std::path::PathBuf, &'static Kafka)> {
    // Also says, once, where there is none.
    Kafka::shared()?;
    if is_direct() {
        skip("it needs the gateway, and SLUICEGATE_TEST_TARGET is kafka");
        return None;
    }
    let home = kafka::home()?;
    // Leaked, because a front borrows its cluster for ever; its process ends with the tests.
    let cluster = Box::leak(Box::new(Kafka::start(&home)));
    Some((home, cluster))
}

#[test]
fn a_broker_that_joins_later_is_reached_through_its_own_port() {
    let Some((home, cluster)) = own_cluster() else { return };
    let setup = Setup { broker_ids: vec![1, 2], ..Setup::default() };
    let gateway = Gateway::start(cluster, setup);
    let front = Front { kafka: cluster, gateway: Some(gateway) };
    let mut connection = front.connect_as(&ALICE);
    let mut known = || {
        let answer = connection.call(METADATA_VERSION, &metadata(None)).unwrap();
        let address =
            |broker: &kafka_protocol::messages::metadata_response::MetadataResponseBroker| {
                (broker.node_id.0, format!("{}:{}", &*broker.host, broker.port))
            };
        answer.brokers.iter().map(address).collect::<BTreeSet<_>>()
    };
    let ports = &front.gateway().broker_addresses;
    let expected = |ids: &[i32]| -> BTreeSet<(i32, String)> {
        ids.iter().zip(ports).map(|(id, address)| (*id, address.to_string())).collect()
    };
    assert_eq!(known(), expected(&[1]));

    let _second = cluster.join(&home, 2);
    let deadline = Instant::now() + Duration::from_secs(30);
    while known() != expected(&[1, 2]) {
        assert!(Instant::now() < deadline, "{:?}", known());
        std::thread::sleep(Duration::from_millis(100));
    }
    // Eight partitions over two brokers: each leads some.
    let topic = unique("spread");
    cluster.create_topic_anywhere(&topic, 8);
    for family in FAMILIES {
        let access = front.access(&ALICE);
        let records: Vec<Record> = (0..8)
            .map(|partition| Record { partition: Some(partition), ..Record::of("x") })
            .collect();
        let sent = family.producer(&access, &[]).send(&topic, &records);
        assert!(sent.iter().all(Result::is_ok), "{family:?}: {sent:?}");
        for partition in 0..8 {
            let consumer = family.consumer(&access, &[]);
            consumer.assign(&topic, partition);
            let polled = consumer.poll(1, PATIENCE);
            assert!(!polled.records.is_empty(), "{family:?} {partition}: {:?}", polled.error);
        }
    }
}

#[test]
fn a_broker_without_a_port_stops_the_start_by_name() {
    let Some(front) = Front::start(Setup::default()) else { return };
    let gateway = front.gateway();
    gateway.process.signal(Signal::TERM);
    assert_eq!(gateway.process.await_exit(PATIENCE), Some(0));
    let file = gateway.folder().join("sluicegate.yaml");
    let config = fs::read_to_string(&file).unwrap();
    assert!(config.contains("broker.ports: {1: "), "{config}");
    fs::write(&file, config.replace("broker.ports: {1: ", "broker.ports: {7: ")).unwrap();
    let (text, code) = gateway.run(&["serve"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("broker 1 of cluster `main` has no port"), "{text}");
    assert!(text.contains("listeners.kafka.broker.ports"), "{text}");
}

#[test]
fn the_broker_sees_the_credential_of_an_identity_s_group() {
    // Policy lets everybody do everything, so what is refused here is refused by the broker.
    let setup =
        Setup { group_logins: vec![("restricted", login_of(BOB.name))], ..Setup::default() };
    let Some(front) = Front::start(setup) else { return };
    let topic = unique("credentials");
    front.kafka.create_topic(&topic, 1);
    front.kafka.permit(BOB.name, Kind::Topic, &topic, Operation::Read);
    for family in FAMILIES {
        let send = |person| {
            let config = [("enable.idempotence", "false")];
            let producer = family.producer(&front.access(person), &config);
            producer.send(&topic, &[Record::of("x")]).remove(0)
        };
        send(&CAROL).unwrap_or_else(|error| panic!("{family:?}: {error:?}"));
        let refused = send(&BOB).unwrap_err();
        assert_eq!(refused.code, 29, "{family:?}: {refused:?}");
    }
}
