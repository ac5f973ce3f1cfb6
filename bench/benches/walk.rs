//! What the walker costs on the messages of the warm path, and an edit beside it.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot build its input has nothing to measure"
)]

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, FetchResponse, MetadataResponse, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::{Encodable, StrBytes};
use sluicegate::kafka::edit::{Edits, Rope};
use sluicegate::kafka::found::Found;
use sluicegate::kafka::{exchange, walk};

/// A request frame with a client id of a usual length.
fn request<T: Encodable>(key: i16, version: i16, message: &T) -> Bytes {
    let mut header = BytesMut::new();
    header.extend_from_slice(&key.to_be_bytes());
    header.extend_from_slice(&version.to_be_bytes());
    header.extend_from_slice(&7_i32.to_be_bytes());
    header.extend_from_slice(b"\0\x0aconsumer-1");
    if exchange(key, version).unwrap().is_flexible() {
        header.extend_from_slice(b"\0");
    }
    message.encode(&mut header, version).unwrap();
    framed(&header)
}

fn response<T: Encodable>(key: i16, version: i16, message: &T) -> Bytes {
    let mut header = BytesMut::new();
    header.extend_from_slice(&7_i32.to_be_bytes());
    if exchange(key, version).unwrap().response_header_flexible() {
        header.extend_from_slice(b"\0");
    }
    message.encode(&mut header, version).unwrap();
    framed(&header)
}

fn framed(body: &[u8]) -> Bytes {
    let size = i32::try_from(body.len()).unwrap();
    [&size.to_be_bytes(), body].concat().into()
}

fn name(index: usize) -> TopicName {
    TopicName(StrBytes::from_string(format!("payments.settled.{index}")))
}

fn fetch_request(version: i16) -> Bytes {
    let topic = |index| {
        let partitions = (0..10).map(|index| FetchPartition::default().with_partition(index));
        let topic = FetchTopic::default().with_partitions(partitions.collect());
        if version >= 13 {
            topic.with_topic_id(format!("{index:032x}").parse().unwrap())
        } else {
            topic.with_topic(name(index))
        }
    };
    request(1, version, &FetchRequest::default().with_topics((0..10).map(topic).collect()))
}

fn produce_request() -> Bytes {
    let records = Bytes::from(vec![7; 16 * 1024]);
    let partition = |index| {
        PartitionProduceData::default().with_index(index).with_records(Some(records.clone()))
    };
    let topic = TopicProduceData::default()
        .with_name(name(0))
        .with_partition_data((0..10).map(partition).collect());
    request(0, 12, &ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]))
}

fn fetch_response() -> Bytes {
    let records = Bytes::from(vec![7; 64 * 1024]);
    let partition = |index| {
        let partition = PartitionData::default().with_partition_index(index);
        partition.with_records(Some(records.clone()))
    };
    let topic = FetchableTopicResponse::default()
        .with_topic(name(0))
        .with_partitions((0..16).map(partition).collect());
    response(1, 12, &FetchResponse::default().with_responses(vec![topic]))
}

fn metadata_response() -> Bytes {
    let nodes = || vec![BrokerId(1), BrokerId(2), BrokerId(3)];
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_replica_nodes(nodes())
            .with_isr_nodes(nodes())
    };
    let topic = |index| {
        MetadataResponseTopic::default()
            .with_name(Some(name(index)))
            .with_partitions((0..6).map(partition).collect())
    };
    let broker = |id| {
        let host = StrBytes::from_string(format!("broker-{id}.internal.example.com"));
        MetadataResponseBroker::default().with_node_id(BrokerId(id)).with_host(host)
    };
    let message = MetadataResponse::default()
        .with_brokers((1..=3).map(broker).collect())
        .with_topics((0..100).map(topic).collect());
    response(3, 12, &message)
}

fn requests(criterion: &mut Criterion) {
    let rows = [
        ("fetch request v12, 100 partitions", fetch_request(12)),
        ("fetch request v13, 100 partitions", fetch_request(13)),
        ("fetch request v17, 100 partitions", fetch_request(17)),
        ("produce request v12, 10 partitions of 16 KiB", produce_request()),
    ];
    let mut group = criterion.benchmark_group("walk");
    for (name, frame) in rows {
        let mut found = Found::default();
        group.throughput(Throughput::Bytes(u64::try_from(frame.len()).unwrap()));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let header = walk::request_header(black_box(&frame)).unwrap();
                let exchange = exchange(header.key, header.version).unwrap();
                walk::request(exchange, &frame, header.body, &mut found).unwrap();
                found.partitions.len()
            });
        });
    }
    group.finish();
}

fn responses(criterion: &mut Criterion) {
    let rows = [
        ("fetch response v12, 1 MiB", 1, fetch_response()),
        ("metadata response v12, 100 topics", 3, metadata_response()),
    ];
    let mut group = criterion.benchmark_group("walk");
    for (name, key, frame) in rows {
        let mut found = Found::default();
        group.throughput(Throughput::Bytes(u64::try_from(frame.len()).unwrap()));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let exchange = exchange(key, 12).unwrap();
                let (_, body) = walk::response_header(exchange, black_box(&frame)).unwrap();
                walk::response(exchange, &frame, body, &mut found).unwrap();
                found.partitions.len()
            });
        });
    }
    group.finish();
}

fn edits(criterion: &mut Criterion) {
    let frame = metadata_response();
    let exchange = exchange(3, 12).unwrap();
    let (mut found, mut edits, mut rope) = (Found::default(), Edits::default(), Rope::default());
    let (_, body) = walk::response_header(exchange, &frame).unwrap();
    walk::response(exchange, &frame, body, &mut found).unwrap();
    criterion.bench_function("edit/metadata response, 3 addresses and 10 topics less", |bencher| {
        bencher.iter(|| {
            for endpoint in &found.endpoints {
                edits.set_string(&endpoint.host, Some("localhost"));
                edits.set_int32(endpoint.port_at, 9093);
            }
            for topic in found.topics.iter().step_by(10) {
                edits.remove(found.lists.get(1).unwrap(), topic.element);
            }
            edits.apply(black_box(&frame), &found, &mut rope).unwrap();
            rope.size()
        });
    });
}

criterion_group!(benches, requests, responses, edits);
criterion_main!(benches);
