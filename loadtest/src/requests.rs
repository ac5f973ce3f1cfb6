//! The requests that the load and the tests are made of, with the versions that they are sent in.
//!
//! Produce and Fetch are sent in the last version that names topics, so that nobody needs to know topic ids.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

/// The version in which [`produce`] is sent.
pub const PRODUCE_VERSION: i16 = 12;
/// The version in which [`fetch`] is sent.
pub const FETCH_VERSION: i16 = 12;
/// The version in which [`metadata`] is sent.
pub const METADATA_VERSION: i16 = 12;
/// The version in which [`list_offsets`] is sent.
pub const LIST_OFFSETS_VERSION: i16 = 7;

/// What a Fetch may wait for and bring.
#[derive(Clone, Copy, Debug)]
pub struct FetchBounds {
    /// How long the broker may wait for `bytes_min`, in milliseconds.
    pub wait_ms_max: i32,
    /// The least that ends the wait; 0 answers at once.
    pub bytes_min: i32,
    /// The most for each partition and for the whole response.
    pub bytes_max: i32,
}

/// A topic's name in the type of the protocol crate.
#[must_use]
pub fn topic_name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// Metadata of some topics, or of all where `topics` is `None`.
#[must_use]
pub fn metadata(topics: Option<&[&str]>) -> MetadataRequest {
    let topics = topics.map(|topics| {
        let named =
            |topic: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
        topics.iter().map(named).collect()
    });
    MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false)
}

/// One record batch for each named partition.
#[must_use]
pub fn produce(acks: i16, batches: &[(&str, i32, Bytes)]) -> ProduceRequest {
    let topics = batches.iter().map(|(topic, partition, batch)| {
        let data = PartitionProduceData::default()
            .with_index(*partition)
            .with_records(Some(batch.clone()));
        TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data])
    });
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(30_000)
        .with_topic_data(topics.collect())
}

/// A fetch without a session: topic, partition and offset of each.
#[must_use]
pub fn fetch(bounds: FetchBounds, positions: &[(&str, i32, i64)]) -> FetchRequest {
    let topics = positions.iter().map(|(topic, partition, offset)| {
        let partition = FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(bounds.bytes_max);
        FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition])
    });
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(bounds.wait_ms_max)
        .with_min_bytes(bounds.bytes_min)
        .with_max_bytes(bounds.bytes_max)
        .with_session_epoch(-1)
        .with_topics(topics.collect())
}

/// The end of one partition.
#[must_use]
pub fn list_offsets(topic: &str, partition: i32) -> ListOffsetsRequest {
    let partition =
        ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(-1);
    let topic =
        ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
}

/// An uncompressed record batch of these values, without producer id.
///
/// # Errors
/// Where the values are too many or too large for one batch.
pub fn batch<V: Into<Bytes>>(values: impl IntoIterator<Item = V>) -> anyhow::Result<Bytes> {
    let records: Vec<Record> = values.into_iter().zip(0_i32..).map(record).collect();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut encoded = BytesMut::new();
    RecordBatchEncoder::encode(&mut encoded, &records, &options)?;
    Ok(encoded.freeze())
}

fn record<V: Into<Bytes>>((value, index): (V, i32)) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(index),
        // Counted on from "none", because the encoder begins another batch where the sequence does not go with the offset.
        sequence: NO_SEQUENCE.wrapping_add(index),
        timestamp: 1_700_000_000_000,
        key: None,
        value: Some(value.into()),
        headers: kafka_protocol::indexmap::IndexMap::default(),
    }
}
