//! A producer id is of the identity that a broker gave it to.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProducerId, TransactionalId,
};
use sluicegate_loadtest::client::Connection;
use sluicegate_loadtest::requests::{batch, produce, topic_name};

use crate::refuse::TOPIC_DENIED;
use crate::support::front::{Front, end_of};
use crate::support::gateway::Setup;
use crate::support::records::numbered;
use crate::support::tokens::{ALICE, BOB};
use crate::support::world::text;
use crate::support::{PATIENCE, unique};

/// INVALID_PRODUCER_ID_MAPPING
const NOT_YOURS: i16 = 49;
/// COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, CONCURRENT_TRANSACTIONS: the transaction before is still ending.
const NOT_YET: [i16; 3] = [14, 15, 51];

fn init(connection: &mut Connection, writer: Option<&str>) -> (i64, i16) {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(writer.map(|writer| TransactionalId(text(writer))))
        .with_transaction_timeout_ms(10_000);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = connection.call(4, &request).unwrap();
        if !NOT_YET.contains(&answer.error_code) {
            assert_eq!(answer.error_code, 0, "{answer:?}");
            return (answer.producer_id.0, answer.producer_epoch);
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn send(connection: &mut Connection, topic: &str, (id, epoch): (i64, i16), sequence: i32) -> i16 {
    let records: Bytes = batch([&b"value"[..]]).unwrap();
    let records = Bytes::from(numbered(&records, id, epoch, sequence));
    let answer = connection.call(9, &produce(-1, &[(topic, 0, records)])).unwrap();
    answer.responses[0].partition_responses[0].error_code
}

#[test]
fn nobody_writes_with_a_stranger_s_producer_id() {
    // Both may do everything.
    let Some(front) = Front::start(Setup::default()) else { return };
    let (topic, writer) = (unique("numbered"), unique("writer"));
    front.kafka.create_topic(&topic, 1);
    let [mut first, mut second] = [(); 2].map(|()| front.connect_as(&ALICE));
    let mut stranger = front.connect_as(&BOB);
    let own = init(&mut first, None);
    assert_eq!(send(&mut second, &topic, own, 0), 0, "the same identity on another connection");
    assert_eq!(send(&mut stranger, &topic, own, 1), NOT_YOURS);
    assert_eq!(end_of(&mut first, &topic), 1, "the stranger's batch is in the topic");
    assert_eq!(send(&mut first, &topic, own, 1), 0);

    let (id, epoch) = init(&mut first, Some(&writer));
    let add = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(TransactionalId(text(&writer)))
        .with_v3_and_below_producer_id(ProducerId(id))
        .with_v3_and_below_producer_epoch(epoch)
        .with_v3_and_below_topics(vec![
            AddPartitionsToTxnTopic::default()
                .with_name(topic_name(&topic))
                .with_partitions(vec![0]),
        ]);
    let code = |connection: &mut Connection| {
        let answer = connection.call(3, &add).unwrap();
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    };
    assert_eq!((code(&mut stranger), code(&mut first)), (NOT_YOURS, 0));
    let end = EndTxnRequest::default()
        .with_transactional_id(TransactionalId(text(&writer)))
        .with_producer_id(ProducerId(id))
        .with_producer_epoch(epoch);
    assert_eq!(stranger.call(3, &end).unwrap().error_code, NOT_YOURS);
    assert_eq!(first.call(3, &end).unwrap().error_code, 0);
    // Who writes with the same transactional id may be given the same id: a takeover, as Kafka has it.
    let taken = init(&mut stranger, Some(&writer));
    assert_eq!(taken.0, id);
    let answer = stranger.call(3, &add.clone().with_v3_and_below_producer_epoch(taken.1));
    assert_eq!(
        answer.unwrap().results_by_topic_v3_and_below[0].results_by_partition[0]
            .partition_error_code,
        0
    );
}

#[test]
fn who_may_write_nothing_takes_nobody_s_producer_id() {
    let policy = "@id(\"all\") permit (principal in Group::\"everything\", action, resource);";
    let Some(front) = Front::start(Setup { policy: policy.to_owned(), ..Setup::default() }) else {
        return;
    };
    let topic = unique("unclaimed");
    front.kafka.create_topic(&topic, 1);
    // An id that this gateway never saw, as after a restart: it is its first user's.
    let unknown = init(&mut front.kafka.connect(), None);
    assert_eq!(send(&mut front.connect_as(&BOB), &topic, unknown, 0), TOPIC_DENIED);
    let mut owner = front.connect_as(&ALICE);
    assert_eq!(
        send(&mut owner, &topic, unknown, 0),
        0,
        "the id was taken by a request that was refused"
    );
    front.gateway().replace_policy("@id(\"all\") permit (principal, action, resource);");
    let deadline = Instant::now() + PATIENCE;
    let mut stranger = front.connect_as(&BOB);
    while send(&mut stranger, &topic, unknown, 1) == TOPIC_DENIED {
        assert!(Instant::now() < deadline, "the policy does not change");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(send(&mut stranger, &topic, unknown, 1), NOT_YOURS);
    assert_eq!(send(&mut owner, &topic, unknown, 1), 0);
}
