//! What policy leaves alone goes through: both families of clients do all that they do with a broker itself, and learn
//! of no broker.

use std::time::Duration;

use kafka_protocol::messages::{
    ApiVersionsRequest, DescribeClusterRequest, FindCoordinatorRequest, MetadataRequest,
};
use kafka_protocol::protocol::StrBytes;
use serde_json::Value;
use sluicegate_loadtest::requests::{
    FETCH_VERSION, FetchBounds, LIST_OFFSETS_VERSION, METADATA_VERSION, PRODUCE_VERSION, batch,
    fetch, list_offsets, metadata, produce,
};

use crate::support::clients::{FAMILIES, Family, Record};
use crate::support::front::Front;
use crate::support::tokens::ALICE;
use crate::support::{PATIENCE, unique};

#[test]
fn keys_values_headers_and_timestamps_arrive_as_sent() {
    if let Some(front) = Front::shared() {
        assert_arrive_as_sent(front);
    }
}

/// Each family reads what it wrote, bit by bit.
pub fn assert_arrive_as_sent(front: &Front) {
    for family in FAMILIES {
        let topic = unique("bytes");
        front.kafka.create_topic(&topic, 2);
        let sent = [
            Record {
                partition: Some(0),
                key: Some(b"key".to_vec()),
                value: Some(vec![0, 255, 10, 13]),
                headers: vec![
                    ("twice".to_owned(), Some(b"a".to_vec())),
                    ("twice".to_owned(), Some(b"b".to_vec())),
                    ("empty".to_owned(), Some(Vec::new())),
                    ("null".to_owned(), None),
                ],
                timestamp: Some(1_700_000_000_123),
                offset: None,
            },
            Record { partition: Some(0), key: Some(Vec::new()), ..Record::default() },
            Record { partition: Some(0), value: Some(vec![b'x'; 900_000]), ..Record::default() },
        ];
        let access = front.access(&ALICE);
        let offsets = family.producer(&access, &[]).send(&topic, &sent);
        let offsets: Vec<i64> = offsets.into_iter().map(Result::unwrap).collect();
        assert_eq!(offsets, [0, 1, 2], "{family:?}");

        let consumer = family.consumer(&access, &[]);
        consumer.assign(&topic, 0);
        let polled = consumer.poll(3, PATIENCE);
        assert_eq!(polled.records.len(), 3, "{family:?}: {:?}", polled.error);
        for ((sent, received), offset) in sent.iter().zip(&polled.records).zip(0..) {
            assert_eq!(received.offset, Some(offset), "{family:?}");
            assert_eq!(received.partition, sent.partition, "{family:?}");
            assert_eq!(received.key, sent.key, "{family:?}");
            assert!(received.value == sent.value, "{family:?}: another value at {offset}");
            assert_eq!(received.headers, sent.headers, "{family:?}");
            if sent.timestamp.is_some() {
                assert_eq!(received.timestamp, sent.timestamp, "{family:?}");
            }
        }
    }
}

#[test]
fn groups_resume_where_they_committed() {
    if let Some(front) = Front::shared() {
        assert_groups_resume(front, &["classic", "consumer"]);
    }
}

/// Members of groups of these protocols go on where the last one committed.
pub fn assert_groups_resume(front: &Front, protocols: &[&str]) {
    for family in FAMILIES {
        for protocol in protocols.iter().copied() {
            let topic = unique("grouped");
            front.kafka.create_topic(&topic, 1);
            let access = front.access(&ALICE);
            let producer = family.producer(&access, &[]);
            let values = |range: std::ops::Range<u8>| -> Vec<Record> {
                range.map(|number| Record::of(vec![number])).collect()
            };
            assert!(producer.send(&topic, &values(0..3)).iter().all(Result::is_ok));

            let group = unique("group");
            let config = [
                ("group.id", group.as_str()),
                ("group.protocol", protocol),
                ("auto.offset.reset", "earliest"),
                ("enable.auto.commit", "false"),
            ];
            let first = family.consumer(&access, &config);
            first.subscribe(&[&topic]).unwrap();
            let polled = first.poll(3, PATIENCE);
            assert_eq!(polled.records.len(), 3, "{family:?} {protocol}: {:?}", polled.error);
            first.commit().unwrap();
            assert_eq!(first.committed(&topic, 0).unwrap(), 3, "{family:?} {protocol}");
            // Other clients, and other groups, are described by DescribeGroups, which an issue of its own brings.
            if (family, protocol) == (Family::Java, "consumer") {
                let groups = family.admin(&access, &[]).groups(&[&group]).unwrap();
                assert_eq!(groups[0]["members"], 1, "{groups}");
                assert_gateway_only(front, &groups);
            }
            first.close().unwrap();

            assert!(producer.send(&topic, &values(3..5)).iter().all(Result::is_ok));
            let second = family.consumer(&access, &config);
            second.subscribe(&[&topic]).unwrap();
            let polled = second.poll(2, PATIENCE);
            let received: Vec<u8> =
                polled.records.iter().map(|record| record.value.as_ref().unwrap()[0]).collect();
            assert_eq!(received, [3, 4], "{family:?} {protocol}: {:?}", polled.error);
        }
    }
}

#[test]
fn every_codec_goes_both_ways() {
    let Some(front) = Front::shared() else { return };
    let access = front.access(&ALICE);
    for (family, reader) in [(Family::Java, Family::Python), (Family::Python, Family::Java)] {
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let topic = unique(codec);
            front.kafka.create_topic(&topic, 1);
            let config = [("compression.type", codec), ("linger.ms", "20"), ("acks", "all")];
            let generated = family.producer(&access, &config).generate(&topic, 2_000, 1_000);
            assert_eq!(generated.acknowledged, 2_000, "{family:?} {codec}: {generated:?}");
            let consumer = reader.consumer(&access, &[("check.crcs", "true")]);
            consumer.assign(&topic, 0);
            let counted = consumer.count(2_000, PATIENCE);
            assert_eq!(counted.records, 2_000, "{family:?} {codec}: {counted:?}");
            assert_eq!(counted.different, 2_000, "{family:?} {codec}: {counted:?}");
            assert_eq!(counted.bytes, 2_000_000, "{family:?} {codec}");
        }
    }
}

#[test]
fn idempotent_and_plain_producers_are_acknowledged() {
    if let Some(front) = Front::shared() {
        assert_acknowledged(front);
    }
}

/// Producers of all kinds are acknowledged, and what they wrote is there once.
pub fn assert_acknowledged(front: &Front) {
    let access = front.access(&ALICE);
    for family in FAMILIES {
        let topic = unique("acks");
        front.kafka.create_topic(&topic, 1);
        let mut expected = 0;
        for (acks, idempotent) in
            [("all", "true"), ("all", "false"), ("1", "false"), ("0", "false")]
        {
            let config = [("acks", acks), ("enable.idempotence", idempotent)];
            let producer = family.producer(&access, &config);
            let generated = producer.generate(&topic, 500, 100);
            assert_eq!(generated.acknowledged, 500, "{family:?} acks={acks}: {generated:?}");
            // With acks=0 it was not awaited; closing awaits that it is sent.
            producer.close().unwrap();
            expected += 500;
        }
        let consumer = family.consumer(&access, &[]);
        consumer.assign(&topic, 0);
        let polled = consumer.poll(expected, PATIENCE);
        assert_eq!(polled.records.len(), expected, "{family:?}: {:?}", polled.error);
    }
}

#[test]
fn transactions_commit_and_abort() {
    if let Some(front) = Front::shared() {
        assert_transactions(front);
    }
}

/// What was committed is read, and what was aborted is not.
pub fn assert_transactions(front: &Front) {
    let access = front.access(&ALICE);
    for family in FAMILIES {
        let topic = unique("transactional");
        front.kafka.create_topic(&topic, 1);
        let identity = unique("writer");
        let producer = family.producer(&access, &[("transactional.id", identity.as_str())]);
        producer.init_transactions().unwrap();
        for (value, commit) in [("first", true), ("lost", false), ("second", true)] {
            producer.begin_transaction().unwrap();
            producer.send(&topic, &[Record::of(value)]).remove(0).unwrap();
            if commit { producer.commit_transaction() } else { producer.abort_transaction() }
                .unwrap();
        }
        for (level, wanted) in [
            ("read_committed", vec!["first", "second"]),
            ("read_uncommitted", vec!["first", "lost", "second"]),
        ] {
            let consumer = family.consumer(&access, &[("isolation.level", level)]);
            consumer.assign(&topic, 0);
            let polled = consumer.poll(wanted.len(), PATIENCE);
            let received: Vec<&str> = polled.records.iter().map(Record::text).collect();
            assert_eq!(received, wanted, "{family:?} {level}: {:?}", polled.error);
        }
    }
}

#[test]
fn a_transaction_carries_the_offsets_of_what_it_read() {
    if let Some(front) = Front::shared() {
        assert_offsets_in_transactions(front);
    }
}

/// Offsets are committed with the transaction that they belong to.
pub fn assert_offsets_in_transactions(front: &Front) {
    let access = front.access(&ALICE);
    for family in FAMILIES {
        let [input, output] = [unique("input"), unique("output")];
        front.kafka.create_topic(&input, 1);
        front.kafka.create_topic(&output, 1);
        family.producer(&access, &[]).send(&input, &[Record::of("in")]).remove(0).unwrap();
        let group = unique("group");
        let config = [
            ("group.id", group.as_str()),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
        ];
        let consumer = family.consumer(&access, &config);
        consumer.subscribe(&[&input]).unwrap();
        let polled = consumer.poll(1, PATIENCE);
        assert_eq!(polled.records.len(), 1, "{family:?}: {:?}", polled.error);

        let identity = unique("mover");
        let producer = family.producer(&access, &[("transactional.id", identity.as_str())]);
        producer.init_transactions().unwrap();
        producer.begin_transaction().unwrap();
        producer.send(&output, &[Record::of("out")]).remove(0).unwrap();
        producer.send_offset(&consumer, &input, 0, 1).unwrap();
        producer.commit_transaction().unwrap();
        assert_eq!(consumer.committed(&input, 0).unwrap(), 1, "{family:?}");
    }
}

#[test]
fn admin_clients_see_only_the_gateway() {
    if let Some(front) = Front::shared() {
        assert_admins_see_only(front);
    }
}

/// Admin clients see topics and the cluster, and no address but the gateway's.
pub fn assert_admins_see_only(front: &Front) {
    let access = front.access(&ALICE);
    let topic = unique("described");
    front.kafka.create_topic(&topic, 3);
    for family in FAMILIES {
        let admin = family.admin(&access, &[]);
        assert!(admin.topics().unwrap().contains(&topic), "{family:?}");
        let topics = admin.describe(&[&topic]).unwrap();
        assert_eq!(topics[0]["leaders"].as_array().unwrap().len(), 3, "{family:?}: {topics}");
        assert_gateway_only(front, &topics);
        let cluster = admin.cluster().unwrap();
        assert_eq!(cluster["nodes"].as_array().unwrap().len(), 1, "{family:?}: {cluster}");
        assert_gateway_only(front, &cluster);
    }
}

/// Every host and port in what an admin client says is the gateway's.
fn assert_gateway_only(front: &Front, value: &Value) {
    let allowed = front.broker_address();
    match value {
        Value::Object(fields) if fields.contains_key("host") => {
            assert_eq!(fields["host"], allowed.ip().to_string(), "{value}");
            assert_eq!(fields["port"], allowed.port(), "{value}");
        }
        Value::Object(fields) => fields.values().for_each(|each| assert_gateway_only(front, each)),
        Value::Array(rows) => rows.iter().for_each(|each| assert_gateway_only(front, each)),
        _ => {}
    }
}

#[test]
fn no_version_of_an_answer_names_a_broker() {
    let Some(front) = Front::shared() else { return };
    let topic = unique("visible");
    front.kafka.create_topic(&topic, 1);
    let allowed = front.broker_address();
    let mut connection = front.connect_as(&ALICE);
    for version in 0..=13 {
        // Version 0 has no null for all topics: an empty list means all.
        let request = MetadataRequest::default().with_topics((version == 0).then(Vec::new));
        let response = connection.call(version, &request).unwrap();
        assert_eq!(response.brokers.len(), 1, "Metadata v{version}");
        let broker = &response.brokers[0];
        assert_eq!(*broker.host, *allowed.ip().to_string(), "Metadata v{version}");
        assert_eq!(broker.port, i32::from(allowed.port()), "Metadata v{version}");
    }
    for version in 0..=6 {
        let key = StrBytes::from_string(unique("group"));
        let request = match version {
            0..=3 => FindCoordinatorRequest::default().with_key(key),
            _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![key]),
        };
        let response = connection.call(version, &request).unwrap();
        let found = match version {
            0..=3 => (response.error_code, response.host, response.port),
            _ => {
                let found = &response.coordinators[0];
                (found.error_code, found.host.clone(), found.port)
            }
        };
        let wanted =
            (0, StrBytes::from_string(allowed.ip().to_string()), i32::from(allowed.port()));
        assert_eq!(found, wanted, "FindCoordinator v{version}");
    }
    for version in 0..=2 {
        let response = connection.call(version, &DescribeClusterRequest::default()).unwrap();
        let broker = &response.brokers[0];
        assert_eq!(*broker.host, *allowed.ip().to_string(), "DescribeCluster v{version}");
        assert_eq!(broker.port, i32::from(allowed.port()), "DescribeCluster v{version}");
    }
}

#[test]
fn a_broker_s_name_is_nowhere_in_the_bytes_of_an_answer() {
    let Some(front) = Front::shared() else { return };
    if front.gateway.is_none() {
        return crate::support::skip("Kafka itself shows its address");
    }
    let topic = unique("bytes");
    front.kafka.create_topic(&topic, 1);
    let hidden = crate::support::kafka::HIDDEN_HOST.as_bytes();
    let mut connection = front.connect_as(&ALICE);
    let mut check = |name: &str| {
        let frame = connection_frame(&mut connection, name, &topic);
        let seen = frame.windows(hidden.len()).any(|window| window == hidden);
        assert!(!seen, "{name} shows the broker: {}", frame.escape_ascii());
    };
    for name in ["metadata", "coordinator", "cluster", "produce", "fetch"] {
        check(name);
    }
}

/// The raw answer to a request of one kind; Produce and Fetch provoke the node endpoints of KIP-951 where they can.
fn connection_frame(
    connection: &mut sluicegate_loadtest::client::Connection,
    name: &str,
    topic: &str,
) -> bytes::Bytes {
    let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 1 << 20 };
    match name {
        "metadata" => connection.send(METADATA_VERSION, &metadata(None)).unwrap(),
        "coordinator" => {
            let keys = vec![StrBytes::from_static_str("group")];
            let request = FindCoordinatorRequest::default().with_coordinator_keys(keys);
            connection.send(6, &request).unwrap()
        }
        "cluster" => connection.send(2, &DescribeClusterRequest::default()).unwrap(),
        "produce" => {
            let batch = batch([&b"value"[..]]).unwrap();
            connection.send(PRODUCE_VERSION, &produce(-1, &[(topic, 0, batch)])).unwrap()
        }
        _ => {
            let mut request = fetch(bounds, &[(topic, 0, 0)]);
            request.topics[0].partitions[0].current_leader_epoch = 1_000;
            connection.send(FETCH_VERSION, &request).unwrap()
        }
    };
    connection.read_frame().unwrap()
}

#[test]
fn acks_0_has_no_answer() {
    let Some(front) = Front::shared() else { return };
    let topic = unique("silent");
    front.kafka.create_topic(&topic, 1);
    let mut connection = front.connect_as(&ALICE);
    for number in 0..50_u8 {
        let batch = batch([vec![number]]).unwrap();
        connection.send(PRODUCE_VERSION, &produce(0, &[(&topic, 0, batch)])).unwrap();
    }
    // The next answer is to the next request; had one of the others an answer, the ids would differ. And they were
    // carried out in order, so that the end of the topic is known.
    let response = connection.call(LIST_OFFSETS_VERSION, &list_offsets(&topic, 0)).unwrap();
    assert_eq!(response.topics[0].partitions[0].offset, 50);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let Some(front) = Front::shared() else { return };
    let topic = unique("pipelined");
    front.kafka.create_topic(&topic, 1);
    let mut connection = front.connect_as(&ALICE);
    let bounds = FetchBounds { wait_ms_max: 5, bytes_min: 1, bytes_max: 1 << 20 };
    let versions = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("test"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    let mut sent = Vec::new();
    for round in 0..60_u8 {
        let batch = batch([vec![round; 100]]).unwrap();
        sent.push(connection.send(PRODUCE_VERSION, &produce(-1, &[(&topic, 0, batch)])).unwrap());
        let position = [(topic.as_str(), 0, i64::from(round))];
        sent.push(connection.send(FETCH_VERSION, &fetch(bounds, &position)).unwrap());
        // A broker answers this one from memory, and a gateway by itself: neither may overtake.
        sent.push(connection.send(3, &versions).unwrap());
        let request = metadata(Some(&[&topic]));
        sent.push(connection.send(METADATA_VERSION, &request).unwrap());
    }
    for (round, ids) in sent.chunks(4).enumerate() {
        let (id, produced) = connection
            .receive::<kafka_protocol::messages::ProduceRequest>(PRODUCE_VERSION)
            .unwrap();
        assert_eq!(id, ids[0]);
        let partition = &produced.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, round as i64));
        let (id, fetched) =
            connection.receive::<kafka_protocol::messages::FetchRequest>(FETCH_VERSION).unwrap();
        assert_eq!(id, ids[1]);
        assert_eq!(fetched.responses[0].partitions[0].error_code, 0);
        let (id, versions) = connection.receive::<ApiVersionsRequest>(3).unwrap();
        assert_eq!((id, versions.error_code), (ids[2], 0));
        let (id, _) = connection.receive::<MetadataRequest>(METADATA_VERSION).unwrap();
        assert_eq!(id, ids[3]);
    }
}

#[test]
fn a_long_poll_waits_as_asked_and_ends_with_the_data() {
    let Some(front) = Front::shared() else { return };
    let topic = unique("poll");
    front.kafka.create_topic(&topic, 1);
    let mut reader = front.connect_as(&ALICE);
    let bounds = FetchBounds { wait_ms_max: 30_000, bytes_min: 1, bytes_max: 1 << 20 };
    let started = std::time::Instant::now();
    reader.send(FETCH_VERSION, &fetch(bounds, &[(&topic, 0, 0)])).unwrap();
    let batch = batch([&b"awaited"[..]]).unwrap();
    let mut writer = front.connect_as(&ALICE);
    writer.call(PRODUCE_VERSION, &produce(-1, &[(&topic, 0, batch)])).unwrap();
    let (_, fetched) =
        reader.receive::<kafka_protocol::messages::FetchRequest>(FETCH_VERSION).unwrap();
    let records = fetched.responses[0].partitions[0].records.as_ref().unwrap();
    assert!(!records.is_empty());
    assert!(started.elapsed() < Duration::from_secs(25), "the answer waited for the clock");
}
