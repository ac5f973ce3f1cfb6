//! What a request costs on a warm connection: no allocation, counted by the allocator itself.

use bytes::BytesMut;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse, TopicName,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

use futures_lite::future::block_on;

use super::*;
use crate::gateway::stage::Stage;
use crate::kafka::batch::Codec;
use crate::kafka::batch::codec::Codecs;
use crate::kafka::batch::write::{NewBatch, NewRecord};

const TOPIC: &str = "payments";
const PERMIT: &str = "@id(\"p\") permit (principal, action in [Action::\"Read\", Action::\"Write\", Action::\"Describe\"], \
                      resource in Topic::\"payments\");";

/// A request and its answer, as frames; the answer is to request 1.
struct Turn {
    name: &'static str,
    request: Vec<u8>,
    response: Vec<u8>,
    /// Whether something of the answer is taken out.
    is_filtered: bool,
}

fn turn(
    name: &'static str,
    (key, version): (i16, i16),
    request: &impl Encodable,
    response: &impl Encodable,
) -> Turn {
    let mut asked = BytesMut::new();
    asked.extend_from_slice(&key.to_be_bytes());
    asked.extend_from_slice(&version.to_be_bytes());
    asked.extend_from_slice(b"\0\0\0\x2a\0\x06client\0");
    request.encode(&mut asked, version).unwrap();
    let mut answered = BytesMut::from(&b"\0\0\0\x01\0"[..]);
    response.encode(&mut answered, version).unwrap();
    let (request, response) = (framed(&asked), framed(&answered));
    Turn { name, request, response, is_filtered: false }
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&i32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

fn turns() -> [Turn; 3] {
    let name = || TopicName(StrBytes::from_static_str(TOPIC));
    let record = |offset_delta| NewRecord {
        offset_delta,
        value: Some(vec![7; 1000]),
        ..NewRecord::default()
    };
    let records: Vec<NewRecord> = (0..15).map(record).collect();
    let batch = NewBatch { codec: Codec::None, ..NewBatch::default() };
    let batch = batch.write(&records, &mut Codecs::new()).unwrap();

    let partition = PartitionProduceData::default().with_records(Some(batch.clone()));
    let topic = TopicProduceData::default().with_name(name()).with_partition_data(vec![partition]);
    let produce = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
    let partition = PartitionProduceResponse::default();
    let topic =
        TopicProduceResponse::default().with_name(name()).with_partition_responses(vec![partition]);
    let produced = ProduceResponse::default().with_responses(vec![topic]);

    let partition = FetchPartition::default();
    let topic = FetchTopic::default().with_topic(name()).with_partitions(vec![partition]);
    let fetch = FetchRequest::default().with_topics(vec![topic]);
    let partition = PartitionData::default().with_records(Some(batch));
    let topic =
        FetchableTopicResponse::default().with_topic(name()).with_partitions(vec![partition]);
    let fetched = FetchResponse::default().with_responses(vec![topic]);

    let partition = ListOffsetsPartition::default();
    let topic = ListOffsetsTopic::default().with_name(name()).with_partitions(vec![partition]);
    let list = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let partition = ListOffsetsPartitionResponse::default();
    let topic =
        ListOffsetsTopicResponse::default().with_name(name()).with_partitions(vec![partition]);
    let listed = ListOffsetsResponse::default().with_topics(vec![topic]);
    [
        turn("Produce", (0, 12), &produce, &produced),
        turn("Fetch", (1, 12), &fetch, &fetched),
        turn("ListOffsets", (2, 7), &list, &listed),
    ]
}

/// A thousand topics: named in the request and all allowed, or told by the broker and one of ten allowed.
fn thousand() -> [Turn; 2] {
    let name = |index| {
        let team = if index % 10 == 0 { "payments" } else { "other" };
        TopicName(StrBytes::from_string(format!("{team}.settled.{index}")))
    };
    let own = |index| name(index * 10);
    let asked = |index| {
        let partition = ListOffsetsPartition::default();
        ListOffsetsTopic::default().with_name(own(index)).with_partitions(vec![partition])
    };
    let answered = |index| {
        let partition = ListOffsetsPartitionResponse::default();
        ListOffsetsTopicResponse::default().with_name(own(index)).with_partitions(vec![partition])
    };
    let list = ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_topics((0..1000).map(asked).collect());
    let listed = ListOffsetsResponse::default().with_topics((0..1000).map(answered).collect());
    let told = |index| {
        let partition = |index| MetadataResponsePartition::default().with_partition_index(index);
        MetadataResponseTopic::default()
            .with_name(Some(name(index)))
            .with_partitions((0..3).map(partition).collect())
    };
    let metadata = MetadataRequest::default().with_topics(None);
    let known = MetadataResponse::default().with_topics((0..1000).map(told).collect());
    let mut filtered = turn("Metadata-1000", (3, 12), &metadata, &known);
    filtered.is_filtered = true;
    [turn("ListOffsets-1000", (2, 7), &list, &listed), filtered]
}

/// One request there and back, as `connection.rs` carries it.
fn carry(path: &Path, turn: &Turn, buffers: &mut [Vec<u8>; 2], is_streamed: bool) {
    let [request, response] = buffers;
    request.clear();
    request.extend_from_slice(&turn.request);
    let mut owed = None;
    let fate =
        path.carry_request(request, &Attempt::default(), &mut |pending| owed = Some(pending));
    assert!(matches!(fate, Ok(Fate::Forward)), "{}: {fate:?}, {owed:?}", turn.name);
    block_on(path.flush_record()).unwrap();
    let Some(Pending::Broker(mut expected)) = owed else { panic!("{}: no answer", turn.name) };
    response.clear();
    response.extend_from_slice(&turn.response);
    response[4..8].copy_from_slice(&path.correlation.get().to_be_bytes());
    if is_streamed {
        assert!(path.may_stream(&expected).unwrap());
        let mut stream = path.stream(expected, response.len());
        let (half, mut sent) = (response.len() / 2, 0);
        for here in [half, response.len()] {
            sent += path.carry_piece(&mut stream, &mut response[sent..here]).unwrap().bytes;
            block_on(path.flush_record()).unwrap();
        }
        assert_eq!(sent, response.len());
        path.end_stream(stream);
    } else {
        let jobs = path.mask_jobs(&expected, response, &mut Ahead::default()).unwrap();
        assert!(jobs.is_empty());
        let rewritten = path.carry_response(&mut expected, response, &mut []).unwrap();
        assert_eq!(rewritten.is_some(), turn.is_filtered, "{}", turn.name);
        block_on(path.flush_record()).unwrap();
        path.answered(expected);
    }
}

#[test]
fn a_request_on_a_warm_connection_allocates_nothing() {
    // `scripts/instructions.sh` counts what one of them costs.
    let only = std::env::var("SLUICEGATE_TEST_TURN").ok();
    let is_wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
    for payload in ["none", "delivered"].into_iter().filter(|it| only.is_none() || *it == "none") {
        let stage = Stage::set(PERMIT, payload, &[TOPIC]);
        let path = stage.path();
        for turn in turns().iter().filter(|turn| is_wanted(turn.name)) {
            for is_streamed in [false, true] {
                if is_streamed && turn.name != "Fetch" {
                    continue;
                }
                let mut buffers = [Vec::new(), Vec::new()];
                for _ in 0..10 {
                    carry(&path, turn, &mut buffers, is_streamed);
                }
                let info = allocation_counter::measure(|| {
                    for _ in 0..100 {
                        carry(&path, turn, &mut buffers, is_streamed);
                    }
                });
                let name = turn.name;
                assert_eq!(
                    info.count_total, 0,
                    "{name}, payload {payload}, streamed {is_streamed}"
                );
            }
        }
    }
}

#[test]
fn a_thousand_topics_are_carried_and_filtered() {
    let only = std::env::var("SLUICEGATE_TEST_TURN").ok();
    let permit = "@id(\"p\") permit (principal, action == Action::\"Describe\", resource is Topic) \
                  when { resource.name like \"payments.*\" };";
    let stage = Stage::set(permit, "none", &[]);
    let path = stage.path();
    for turn in thousand().iter().filter(|it| only.as_ref().is_none_or(|only| only == it.name)) {
        let mut buffers = [Vec::new(), Vec::new()];
        for _ in 0..100 {
            carry(&path, turn, &mut buffers, false);
        }
    }
}
