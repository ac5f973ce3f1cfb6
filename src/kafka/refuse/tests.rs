//! Refusals as the oracle reads them.

use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;

use super::*;
use crate::kafka::edit::Rope;
use crate::kafka::oracle;
use crate::kafka::samples::{Direction, Random, exchanges, frame, message};
use crate::kafka::walk;

/// A request of the oracle as a frame, walked.
fn asked<T: Encodable>(key: i16, version: i16, request: &T) -> (&'static Exchange, Bytes, Found) {
    let exchange = exchange(key, version).unwrap();
    let mut out = vec![0; 4];
    out.extend(key.to_be_bytes());
    out.extend(version.to_be_bytes());
    out.extend(7_i32.to_be_bytes());
    out.extend(b"\0\x01c");
    if exchange.is_flexible() {
        out.push(0);
    }
    out.extend(oracle::encode(request, version).unwrap());
    let size = i32::try_from(out.len() - 4).unwrap();
    out[..4].copy_from_slice(&size.to_be_bytes());
    let header = walk::request_header(&out).unwrap();
    let mut found = Found::default();
    walk::request(exchange, &out, header.body, &mut found).unwrap();
    (exchange, out.into(), found)
}

/// A response of the oracle as a frame, walked.
fn answered<T: Encodable>(exchange: &'static Exchange, response: &T) -> (Bytes, Found) {
    let body = oracle::encode(response, exchange.version).unwrap();
    let frame = response_frame(exchange, 7, |out| out.extend(body));
    let (correlation_id, body) = walk::response_header(exchange, &frame).unwrap();
    assert_eq!(correlation_id, 7);
    let mut found = Found::default();
    walk::response(exchange, &frame, body, &mut found).unwrap();
    (frame, found)
}

/// A frame's body as the oracle reads it.
fn read<T: Decodable>(exchange: &'static Exchange, frame: &[u8]) -> T {
    let (correlation_id, body) = walk::response_header(exchange, frame).unwrap();
    assert_eq!(correlation_id, 7);
    let mut found = Found::default();
    walk::response(exchange, frame, body, &mut found).unwrap();
    oracle::decode(&frame[body..], exchange.version).unwrap()
}

fn denied(code: ErrorCode) -> Outcome<'static> {
    Outcome { code, message: None }
}

fn name(text: &'static str) -> TopicName {
    TopicName(StrBytes::from_static_str(text))
}

/// A topic id of one byte, sixteen times.
fn hex(byte: u8) -> String {
    format!("{byte:02x}").repeat(16)
}

fn group(text: &'static str) -> GroupId {
    GroupId(StrBytes::from_static_str(text))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_api_refuses_in_its_own_shape(seed: u64) {
        let mut random = Random::new(seed);
        for exchange in exchanges() {
            let what = format!("{} {}", exchange.api.name, exchange.version);
            let tree = message(exchange, Direction::Request, &mut random);
            let (bytes, body) = frame(exchange, Direction::Request, &tree);
            let mut found = Found::default();
            walk::request(exchange, &bytes, body, &mut found).unwrap();
            let outcome =
                Outcome { code: ErrorCode::POLICY_VIOLATION, message: Some("ask first") };
            let answer = whole(exchange, 7, &bytes, &found, outcome);
            let (_, body) = walk::response_header(exchange, &answer).unwrap();
            if oracle::knows(exchange) {
                let again = oracle::round_trip(exchange, Direction::Response, &answer[body..]);
                prop_assert_eq!(again.as_deref(), Ok(&answer[body..]), "{}", &what);
            }
            let mut response = Found::default();
            walk::response(exchange, &answer, body, &mut response).unwrap();
            // Wherever there is a place for the code, it holds it.
            let code = ErrorCode::POLICY_VIOLATION;
            for partition in response.partitions.iter().filter(|it| it.error_at > 0) {
                prop_assert_eq!(partition.error, code, "{}", &what);
            }
            prop_assert!(response.topics.iter().all(|it| it.error_at == 0 || it.error == code));
            prop_assert!(response.groups.iter().all(|it| it.error_at == 0 || it.error == code));
            if let Some(number) = response.number(Meaning::ErrorCode) {
                prop_assert_eq!(number.value, i64::from(code.0), "{}", &what);
            }
        }
    }
}

#[test]
fn unsupported_versions_are_said_in_the_nearest_shape() {
    for (key, version, nearest) in [(1, 99, 18), (22, 9, 5), (12, 9, 4), (24, 6, 5), (60, 9, 2)] {
        let answer = unsupported_version(key, version, 7).unwrap();
        let exchange = exchange(key, nearest).unwrap();
        let (_, body) = walk::response_header(exchange, &answer).unwrap();
        let mut found = Found::default();
        walk::response(exchange, &answer, body, &mut found).unwrap();
        assert_eq!(found.number(Meaning::ErrorCode).map(|number| number.value), Some(35));
    }
    // Without a code for the whole there is no place to say it: the connection ends, as in Kafka.
    for (key, version) in [(0, 2), (0, 14), (1, 3), (3, 99)] {
        assert_eq!(unsupported_version(key, version, 7), None);
    }
    assert_eq!(unsupported_version(18, 9, 7), None);
    assert_eq!(unsupported_version(4, 0, 7), None);
}

#[test]
fn produce_is_refused_by_partition() {
    use produce_request::{PartitionProduceData, TopicProduceData};
    let partition = |index| PartitionProduceData::default().with_index(index);
    let request = ProduceRequest::default().with_acks(1).with_topic_data(vec![
        TopicProduceData::default()
            .with_name(name("a"))
            .with_partition_data(vec![partition(0), partition(3)]),
    ]);
    for version in [3, 8, 9, 12] {
        let (exchange, frame, found) = asked(0, version, &request);
        let outcome =
            Outcome { code: ErrorCode::NOT_ENOUGH_REPLICAS, message: Some("ticket 7 is open") };
        let answer: ProduceResponse = read(exchange, &whole(exchange, 7, &frame, &found, outcome));
        assert_eq!(answer.responses.len(), 1);
        assert_eq!(answer.responses[0].name, name("a"));
        let partitions = &answer.responses[0].partition_responses;
        assert_eq!(partitions.iter().map(|it| it.index).collect::<Vec<_>>(), [0, 3]);
        for partition in partitions {
            assert_eq!((partition.error_code, partition.base_offset), (19, -1));
            assert_eq!(partition.log_append_time_ms, -1);
            let message = partition.error_message.as_deref();
            assert_eq!(message, (version >= 8).then_some("ticket 7 is open"));
        }
    }
}

#[test]
fn fetch_is_refused_by_partition_until_it_is_not() {
    use fetch_request::{FetchPartition, FetchTopic};
    for version in [4, 7, 11, 12, 13, 17] {
        let mut topic = FetchTopic::default()
            .with_partitions(vec![FetchPartition::default().with_partition(2)]);
        if version <= 12 {
            topic = topic.with_topic(name("a"));
        } else {
            topic = topic.with_topic_id(hex(9).parse().unwrap());
        }
        let request = FetchRequest::default().with_topics(vec![topic]);
        let (exchange, frame, found) = asked(1, version, &request);
        let outcome = denied(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
        let answer: FetchResponse = read(exchange, &whole(exchange, 7, &frame, &found, outcome));
        assert_eq!(answer.error_code, if version >= 7 { 29 } else { 0 });
        assert_eq!(answer.responses.len(), usize::from(version <= 12), "version {version}");

        // A topic that is refused by itself is there in every version, without records.
        let mut refusals = Refusals::default();
        refusals.topic_of(&frame, &found, &found.topics[0], outcome);
        let answer: FetchResponse =
            read(exchange, &refusals.answer(exchange, 7, Outcome::default()));
        assert_eq!(answer.error_code, 0);
        let topic = &answer.responses[0];
        if version <= 12 {
            assert_eq!(topic.topic, name("a"));
        } else {
            assert_eq!(topic.topic_id.as_bytes(), &[9; 16]);
        }
        let partition = &topic.partitions[0];
        assert_eq!((partition.partition_index, partition.error_code), (2, 29));
        assert_eq!((partition.high_watermark, partition.last_stable_offset), (-1, -1));
        assert_eq!(partition.log_start_offset, -1);
        assert_eq!(partition.records.as_deref(), Some(&[][..]));
        assert_eq!(partition.preferred_read_replica, -1);
    }
}

#[test]
fn held_and_denied_partitions_share_their_topic() {
    let exchange = exchange(1, 12).unwrap();
    let mut refusals = Refusals::default();
    refusals.topic(TopicRef { name: Some("a"), ..TopicRef::default() }, Outcome::default());
    refusals.partition(0, ErrorCode::NONE);
    refusals.partition(1, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    let answer: FetchResponse = read(exchange, &refusals.answer(exchange, 7, Outcome::default()));
    let codes = answer.responses[0].partitions.iter().map(|it| it.error_code);
    assert_eq!(codes.collect::<Vec<_>>(), [0, 29]);
    let watermarks = answer.responses[0].partitions.iter().map(|it| it.high_watermark);
    assert_eq!(watermarks.collect::<Vec<_>>(), [-1, -1]);
}

#[test]
fn metadata_is_refused_by_name_and_by_id() {
    let exchange = exchange(3, 12).unwrap();
    let mut refusals = Refusals::default();
    let outcome = denied(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    refusals.topic(TopicRef { name: Some("a"), ..TopicRef::default() }, outcome);
    let unknown = denied(ErrorCode::UNKNOWN_TOPIC_ID);
    refusals.topic(TopicRef { id: Some([5; 16]), ..TopicRef::default() }, unknown);
    let answer: MetadataResponse =
        read(exchange, &refusals.answer(exchange, 7, Outcome::default()));
    let topics = &answer.topics;
    assert_eq!((topics[0].error_code, topics[0].name.clone()), (29, Some(name("a"))));
    assert_eq!(topics[0].topic_id.as_bytes(), &[0; 16]);
    assert_eq!((topics[1].error_code, topics[1].name.clone()), (100, None));
    assert_eq!(topics[1].topic_id.as_bytes(), &[5; 16]);
    assert!(topics.iter().all(|topic| topic.partitions.is_empty()));
    assert_eq!(topics[0].topic_authorized_operations, i32::MIN);
}

#[test]
fn groups_are_refused_in_their_places() {
    use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
    let outcome = denied(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    let topics = vec![
        OffsetFetchRequestTopic::default().with_name(name("a")).with_partition_indexes(vec![1]),
    ];
    let request = OffsetFetchRequest::default().with_group_id(group("g")).with_topics(Some(topics));
    for version in [1, 2, 7] {
        let (exchange, frame, found) = asked(9, version, &request);
        let answer: OffsetFetchResponse =
            read(exchange, &whole(exchange, 7, &frame, &found, outcome));
        if version == 1 {
            let partition = &answer.topics[0].partitions[0];
            assert_eq!((partition.partition_index, partition.error_code), (1, 30));
            assert_eq!(partition.committed_offset, -1);
        } else {
            assert_eq!((answer.topics.len(), answer.error_code), (0, 30));
        }
    }
    let groups = ["g", "h"].map(|it| OffsetFetchRequestGroup::default().with_group_id(group(it)));
    let request = OffsetFetchRequest::default().with_groups(groups.to_vec());
    let (exchange, frame, found) = asked(9, 8, &request);
    let answer: OffsetFetchResponse = read(exchange, &whole(exchange, 7, &frame, &found, outcome));
    let named = answer.groups.iter().map(|it| (it.group_id.clone(), it.error_code));
    assert_eq!(named.collect::<Vec<_>>(), [(group("g"), 30), (group("h"), 30)]);

    let request = FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("g"));
    let (exchange, frame, found) = asked(10, 3, &request);
    let answer: FindCoordinatorResponse =
        read(exchange, &whole(exchange, 7, &frame, &found, outcome));
    assert_eq!((answer.error_code, answer.node_id, answer.port), (30, BrokerId(-1), -1));
    assert_eq!(answer.host.as_str(), "");

    let exchange = crate::kafka::exchange(11, 7).unwrap();
    let answer: JoinGroupResponse =
        read(exchange, &Refusals::default().answer(exchange, 7, outcome));
    assert_eq!((answer.error_code, answer.generation_id), (30, -1));
    assert_eq!((answer.protocol_name, answer.protocol_type), (None, None));
    let exchange = crate::kafka::exchange(22, 4).unwrap();
    let answer: InitProducerIdResponse =
        read(exchange, &Refusals::default().answer(exchange, 7, outcome));
    assert_eq!((answer.producer_id, answer.producer_epoch), (ProducerId(-1), -1));
}

/// Merges what is refused into a broker's response.
fn merged<T: Encodable>(
    exchange: &'static Exchange,
    refusals: &Refusals,
    response: &T,
) -> Result<Bytes, RefuseError> {
    let (frame, found) = answered(exchange, response);
    let mut edits = Edits::default();
    refusals.merge(exchange, &frame, &found, &mut edits)?;
    let mut rope = Rope::default();
    edits.apply(&frame, &found, &mut rope).unwrap();
    Ok(rope.to_bytes(&frame))
}

#[test]
fn refused_parts_join_the_brokers_response() {
    use fetch_response::{FetchableTopicResponse, PartitionData};
    let partition = |index| PartitionData::default().with_partition_index(index);
    for version in [4, 11, 12, 13, 16] {
        let exchange = exchange(1, version).unwrap();
        let by_name = version <= 12;
        let mut there = FetchableTopicResponse::default().with_partitions(vec![partition(0)]);
        let mut refusals = Refusals::default();
        let outcome = denied(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
        let topic = |name, id| match by_name {
            true => TopicRef { name: Some(name), ..TopicRef::default() },
            false => TopicRef { id: Some([id; 16]), ..TopicRef::default() },
        };
        refusals.topic(topic("there", 1), outcome);
        refusals.partition(5, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
        refusals.topic(topic("gone", 2), outcome);
        refusals.partition(6, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
        if by_name {
            there = there.with_topic(name("there"));
        } else {
            there = there.with_topic_id(hex(1).parse().unwrap());
        }
        let response = FetchResponse::default().with_responses(vec![there]);
        let bytes = merged(exchange, &refusals, &response).unwrap();
        let answer: FetchResponse = read(exchange, &bytes);
        let shape = answer.responses.iter().map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|it| (it.partition_index, it.error_code)).collect::<Vec<_>>()
        });
        let shape: Vec<_> = shape.collect();
        assert_eq!(shape, [vec![(0, 0), (5, 29)], vec![(6, 29)]], "version {version}");
        if by_name {
            assert_eq!(answer.responses[1].topic, name("gone"));
        } else {
            assert_eq!(answer.responses[1].topic_id.as_bytes(), &[2; 16]);
        }
    }
}

#[test]
fn refused_groups_and_keys_join_the_brokers_response() {
    use find_coordinator_response::Coordinator;
    use offset_fetch_response::OffsetFetchResponseGroup;
    let outcome = denied(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    let exchange_of_groups = exchange(9, 9).unwrap();
    let mut refusals = Refusals::default();
    for group in ["g", "broken"] {
        let topic = TopicRef { group: Some(group), name: Some("a"), id: None };
        refusals.topic(topic, outcome);
        refusals.partition(3, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    }
    refusals.group("h", denied(ErrorCode::GROUP_AUTHORIZATION_FAILED));
    let response = OffsetFetchResponse::default().with_groups(vec![
        OffsetFetchResponseGroup::default().with_group_id(group("g")),
        OffsetFetchResponseGroup::default().with_group_id(group("broken")).with_error_code(16),
    ]);
    let bytes = merged(exchange_of_groups, &refusals, &response).unwrap();
    let answer: OffsetFetchResponse = read(exchange_of_groups, &bytes);
    let shape = answer.groups.iter().map(|it| (it.error_code, it.topics.len()));
    assert_eq!(shape.collect::<Vec<_>>(), [(0, 1), (16, 0), (30, 0)]);
    let partition = &answer.groups[0].topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.committed_offset), (29, -1));

    // The same without a broker: a group that is allowed holds its refused topics.
    let bytes = refusals.answer(exchange_of_groups, 7, Outcome::default());
    let answer: OffsetFetchResponse = read(exchange_of_groups, &bytes);
    let shape =
        answer.groups.iter().map(|it| (it.group_id.as_str(), it.error_code, it.topics.len()));
    assert_eq!(shape.collect::<Vec<_>>(), [("h", 30, 0), ("g", 0, 1), ("broken", 0, 1)]);

    let coordinators = exchange(10, 4).unwrap();
    let mut refusals = Refusals::default();
    refusals.key(None, "x", &[], denied(ErrorCode::GROUP_AUTHORIZATION_FAILED));
    let there = Coordinator::default().with_key(StrBytes::from_static_str("y"));
    let response = FindCoordinatorResponse::default().with_coordinators(vec![there]);
    let bytes = merged(coordinators, &refusals, &response).unwrap();
    let answer: FindCoordinatorResponse = read(coordinators, &bytes);
    let shape = answer.coordinators.iter().map(|it| (it.key.as_str(), it.error_code, it.port));
    assert_eq!(shape.collect::<Vec<_>>(), [("y", 0, 0), ("x", 30, -1)]);
}

#[test]
fn what_has_no_place_is_an_error() {
    let exchange = exchange(26, 3).unwrap();
    let mut refusals = Refusals::default();
    refusals.topic(TopicRef { name: Some("a"), ..TopicRef::default() }, Outcome::default());
    let error = merged(exchange, &refusals, &EndTxnResponse::default()).unwrap_err();
    assert_eq!(error, RefuseError::NoPlace { api: "EndTxn", version: 3, what: "topics" });
}
