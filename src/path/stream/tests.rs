//! Responses in pieces of random size, from a printed seed, against the same bytes at once.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{
    FetchableTopicResponse, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::{FetchRequest, FetchResponse, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use uuid::Uuid;

use super::*;
use crate::gateway::stage::Stage;
use crate::kafka::batch::codec::Codecs;
use crate::kafka::batch::write::{NewBatch, NewRecord};
use crate::kafka::batch::{Codec, summarise};
use crate::kafka::exchange;
use crate::path::{Attempt, Pending};

const PERMIT: &str =
    "@id(\"p\") permit (principal, action in [Action::\"Read\", Action::\"Describe\"], resource);";
const TOPICS: [&str; 3] = ["alpha", "beta", "gamma"];

/// What a broker does to its answer, at a place of it.
type Lie = fn(&mut Vec<u8>, usize);

/// xorshift64*: the same pieces for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let limit = u64::try_from(limit).unwrap();
        usize::try_from((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % limit).unwrap()
    }
}

fn seed() -> u64 {
    let given = std::env::var("SLUICEGATE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| crate::clock::wall_micros().unsigned_abs() | 1);
    // Shown where the test fails.
    eprintln!("SLUICEGATE_TEST_SEED={seed}");
    seed
}

fn batches(random: &mut Random) -> Bytes {
    let mut bytes = BytesMut::new();
    let mut base_offset = 100;
    for _ in 0..random.below(5) {
        let count = 1 + random.below(4);
        let record = |offset_delta| NewRecord {
            offset_delta: i32::try_from(offset_delta).unwrap(),
            value: Some(vec![7; random.below(700)]),
            ..NewRecord::default()
        };
        let records: Vec<NewRecord> = (0..count).map(record).collect();
        let batch = NewBatch { base_offset, codec: Codec::None, ..NewBatch::default() };
        bytes.extend_from_slice(&batch.write(&records, &mut Codecs::new()).unwrap());
        base_offset += i64::try_from(count).unwrap();
    }
    // A fetch may end inside of a batch.
    let cut =
        bytes.len() - if random.below(3) == 0 { random.below(100).min(bytes.len()) } else { 0 };
    bytes.freeze().slice(..cut)
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn topic_id(version: i16, topic: usize) -> Uuid {
    Uuid::from_u128(if version < 13 { 0 } else { u128::try_from(topic).unwrap() + 1 })
}

/// A request for partitions 0 to 3 of every topic, as a frame.
fn request(version: i16) -> Vec<u8> {
    let topics = TOPICS.iter().enumerate().map(|(index, topic)| {
        let partitions = (0..4).map(|index| FetchPartition::default().with_partition(index));
        let topic_name = if version < 13 { topic_name(topic) } else { TopicName::default() };
        FetchTopic::default()
            .with_topic(topic_name)
            .with_topic_id(topic_id(version, index))
            .with_partitions(partitions.collect())
    });
    let request = FetchRequest::default().with_topics(topics.collect());
    let mut body = BytesMut::new();
    body.extend_from_slice(&[0, 1]);
    body.extend_from_slice(&version.to_be_bytes());
    body.extend_from_slice(b"\0\0\0\x2a\0\x06client");
    body.extend_from_slice(if version < 12 { &[] } else { &[0] });
    request.encode(&mut body, version).unwrap();
    framed(&body)
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&i32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

/// The answer of a broker, as a frame that answers request 1.
fn response(version: i16, random: &mut Random, with_endpoints: bool) -> Vec<u8> {
    response_of(version, with_endpoints, || batches(random))
}

/// The same with other records.
fn response_of(version: i16, with_endpoints: bool, mut records: impl FnMut() -> Bytes) -> Vec<u8> {
    let topics = TOPICS.iter().enumerate().map(|(index, topic)| {
        let partitions = (0..4).map(|index| {
            PartitionData::default().with_partition_index(index).with_records(Some(records()))
        });
        let topic_name = if version < 13 { topic_name(topic) } else { TopicName::default() };
        FetchableTopicResponse::default()
            .with_topic(topic_name)
            .with_topic_id(topic_id(version, index))
            .with_partitions(partitions.collect())
    });
    let mut response = FetchResponse::default().with_responses(topics.collect());
    if with_endpoints {
        let host = StrBytes::from_static_str("broker.internal");
        response.node_endpoints = vec![NodeEndpoint::default().with_host(host).with_port(9)];
    }
    let mut body = BytesMut::from(&b"\0\0\0\x01"[..]);
    // Tagged fields of the header, none.
    body.extend_from_slice(if version < 12 { &[] } else { &[0] });
    response.encode(&mut body, version).unwrap();
    framed(&body)
}

/// What the broker owes for [`request`].
fn expected(path: &Path, version: i16) -> Expected {
    let mut owed = None;
    let mut frame = request(version);
    path.carry_request(&mut frame, &Attempt::default(), &mut |pending| owed = Some(pending))
        .unwrap();
    let Some(Pending::Broker(expected)) = owed else { panic!("{owed:?}") };
    assert!(path.may_stream(&expected).unwrap());
    expected
}

/// Streams a frame in random pieces; what was forwarded, or why nothing more is.
fn carried(
    path: &Path,
    version: i16,
    frame: &[u8],
    random: &mut Random,
) -> Result<Vec<u8>, (Vec<u8>, Ended)> {
    let mut stream = path.stream(expected(path, version), frame.len());
    let (mut out, mut held, mut rest) = (Vec::new(), Vec::new(), frame);
    loop {
        let piece = (1 + random.below(600)).min(rest.len());
        held.extend_from_slice(&rest[..piece]);
        rest = &rest[piece..];
        let done = match path.carry_piece(&mut stream, &mut held) {
            Ok(done) => done,
            Err(ended) => return Err((out, ended)),
        };
        out.extend(held.drain(..done.bytes));
        if done.is_last {
            assert!(rest.is_empty() && held.is_empty());
            path.end_stream(stream);
            return Ok(out);
        }
        assert!(!rest.is_empty(), "all is here, and it waits for {} more", done.needs);
    }
}

#[test]
fn pieces_come_out_as_they_went_in_and_every_batch_is_recorded() {
    let mut random = Random(seed());
    for payload in ["none", "delivered"] {
        let stage = Stage::set(PERMIT, payload, &TOPICS);
        let path = stage.path();
        let mut sent = Vec::new();
        for version in [12, 13, 16, 17] {
            for _ in 0..20 {
                let frame = response(version, &mut random, false);
                let mut wanted = frame.clone();
                wanted[4..8].copy_from_slice(&[0, 0, 0, 0x2a]);
                // Each request has its own number towards the broker.
                let number = path.correlation.get() + 1;
                let frame = [&frame[..4], &number.to_be_bytes(), &frame[8..]].concat();
                let out = carried(&path, version, &frame, &mut random);
                assert!(out.unwrap() == wanted);
                sent.push((version, wanted));
            }
        }
        let entries = stage.delivered();
        let mut entries = entries.iter().flat_map(|entry| &entry.resources);
        let records: u64 = entries.clone().map(|resource| resource.records.unwrap()).sum();
        let bytes: usize =
            entries.clone().map(|resource| index(resource.payload_bytes.unwrap())).sum();
        let (mut records_sent, mut bytes_sent) = (0, 0);
        for (version, frame) in &sent {
            let mut found = Found::default();
            let exchange = exchange(1, *version).unwrap();
            let (_, body) = walk::response_header(exchange, frame).unwrap();
            walk::response(exchange, frame, body, &mut found).unwrap();
            for partition in &found.partitions {
                let bytes = partition.records.bytes(frame);
                records_sent += summarise(bytes).unwrap().map_or(0, |summary| summary.records);
                bytes_sent += bytes.len();
            }
        }
        assert_eq!(records, records_sent, "{payload}");
        assert_eq!(bytes, if payload == "none" { 0 } else { bytes_sent });
        assert!(entries.all(|resource| TOPICS.contains(&resource.name.as_str())));
    }
}

/// Batches of 6 KiB and more, several of which are worth passing unseen; the last one may be cut.
fn large_batches(random: &mut Random) -> Bytes {
    let mut bytes = BytesMut::new();
    for number in 0..1 + random.below(6) {
        let value = Some(vec![7; 6_000 + random.below(20_000)]);
        let record = NewRecord { value, ..NewRecord::default() };
        let base_offset = i64::try_from(number).unwrap();
        let batch = NewBatch { base_offset, codec: Codec::None, ..NewBatch::default() };
        bytes.extend_from_slice(&batch.write(&[record], &mut Codecs::new()).unwrap());
    }
    let cut = if random.below(3) == 0 { random.below(6_000) } else { 0 };
    let kept = bytes.len() - cut;
    bytes.freeze().slice(..kept)
}

/// Streams a frame in random pieces, of which records pass unseen wherever they may; what was forwarded, how much of it
/// unseen, or why nothing more is.
fn carried_unseen(
    path: &Path,
    version: i16,
    frame: &[u8],
    random: &mut Random,
) -> Result<(Vec<u8>, usize), (Vec<u8>, Ended)> {
    let mut stream = path.stream(expected(path, version), frame.len());
    let (mut at, mut here, mut unseen, mut passed) = (0, 0, 0, 0);
    let (mut out, mut frame) = (Vec::new(), frame.to_vec());
    loop {
        let most = if unseen > 0 { unseen } else { frame.len() - at };
        here = (here + 1 + random.below(9_000)).min(most);
        let mut held = frame[at..at + here].to_vec();
        let mut looked = 0;
        let done = if unseen > 0 {
            path.carry_unseen(&mut stream, here, |from, into| {
                assert!(from >= looked, "it looks back");
                looked = from + into.len();
                into.copy_from_slice(&held[from..looked]);
                Ok(())
            })
        } else {
            path.carry_piece(&mut stream, &mut held)
        };
        let done = match done {
            Ok(done) => done,
            Err(ended) => return Err((out, ended)),
        };
        // What was patched in place stays so, whether it goes out now or later.
        frame[at..at + held.len()].copy_from_slice(&held);
        out.extend_from_slice(&held[..done.bytes]);
        passed += if unseen > 0 { done.bytes } else { 0 };
        (at, here, unseen) = (at + done.bytes, here - done.bytes, done.unseen);
        if done.is_last {
            assert_eq!((at, here), (frame.len(), 0));
            path.end_stream(stream);
            return Ok((out, passed));
        }
    }
}

#[test]
fn records_that_pass_unseen_are_recorded_all_the_same() {
    let mut random = Random(seed());
    let stage = Stage::set(PERMIT, "none", &TOPICS);
    let path = stage.path();
    let (mut batches, mut passed_in_all) = (0, 0);
    for version in [11, 12, 13, 16, 17].repeat(10) {
        let mut frame = response_of(version, false, || large_batches(&mut random));
        let wanted = [&frame[..4], &[0, 0, 0, 0x2a], &frame[8..]].concat();
        frame[4..8].copy_from_slice(&(path.correlation.get() + 1).to_be_bytes());
        let (out, passed) = carried_unseen(&path, version, &frame, &mut random).unwrap();
        assert!(out == wanted, "version {version}");
        passed_in_all += passed;
        let mut found = Found::default();
        let exchange = exchange(1, version).unwrap();
        let (_, body) = walk::response_header(exchange, &wanted).unwrap();
        walk::response(exchange, &wanted, body, &mut found).unwrap();
        let summaries = found.partitions.iter().map(|one| summarise(one.records.bytes(&wanted)));
        batches += summaries.flat_map(Result::unwrap).map(|one| one.records).sum::<u64>();
    }
    assert!(passed_in_all > 1_000_000, "{passed_in_all}");
    let resources = stage.delivered().into_iter().flat_map(|entry| entry.resources);
    assert_eq!(resources.map(|one| one.records.unwrap()).sum::<u64>(), batches);
}

#[test]
fn a_lie_amid_what_passes_unseen_never_goes_out() {
    let mut random = Random(seed());
    let stage = Stage::set(PERMIT, "none", &TOPICS);
    for (name, offset) in [("magic", 16), ("length", 8)] {
        let path = stage.path();
        let mut frame = response_of(12, false, || large_batches(&mut random));
        frame[4..8].copy_from_slice(&(path.correlation.get() + 1).to_be_bytes());
        let mut found = Found::default();
        let exchange = exchange(1, 12).unwrap();
        let (_, body) = walk::response_header(exchange, &frame).unwrap();
        walk::response(exchange, &frame, body, &mut found).unwrap();
        // The second batch of the first partition that has two.
        let seconds = found.partitions.iter().filter_map(|partition| {
            let records = partition.records.bytes(&frame);
            let first = 12
                + usize::try_from(i32::from_be_bytes(records[8..12].try_into().unwrap())).unwrap();
            (records.len() > first + 100).then(|| index(partition.records.start) + first)
        });
        let at = seconds.min().unwrap();
        frame[at + offset] = 0xff;
        let (out, ended) = carried_unseen(&path, 12, &frame, &mut random).unwrap_err();
        assert!(matches!(ended, Ended::BrokerResponse(_)), "{name}: {ended}");
        assert!(out.len() <= at, "{name}: {} bytes went out, the lie is at {at}", out.len());
    }
}

#[test]
fn nothing_passes_unseen_that_is_recorded_or_small() {
    let mut random = Random(seed());
    let frame = response_of(12, false, || large_batches(&mut random));
    let small = response(12, &mut random, false);
    for (payload, frame) in [("delivered", &frame), ("none", &small)] {
        let stage = Stage::set(PERMIT, payload, &TOPICS);
        let (_, passed) = carried_unseen(&stage.path(), 12, frame, &mut random).unwrap();
        assert_eq!(passed, 0, "{payload}");
    }
}

#[test]
fn a_right_that_ends_stops_what_passes_unseen() {
    let stage = Stage::set(PERMIT, "none", &TOPICS);
    let path = stage.path();
    let mut random = Random(seed());
    let frame = loop {
        let frame = response_of(12, false, || large_batches(&mut random));
        if frame.len() > 200_000 {
            break frame;
        }
    };
    let mut stream = path.stream(expected(&path, 12), frame.len());
    let mut held = frame[..6_000].to_vec();
    let done = path.carry_piece(&mut stream, &mut held).unwrap();
    assert!(done.bytes == held.len() && done.unseen > 0, "{done:?}");
    stage.replace_policy("@id(\"f\") forbid (principal, action, resource);");
    let ended = path.carry_unseen(&mut stream, done.unseen, |_, _| panic!("it looks")).unwrap_err();
    assert!(matches!(&ended, Ended::RightEnded(topic) if topic == "alpha"), "{ended}");
}

#[test]
fn what_was_recorded_is_the_batches_whole() {
    let mut random = Random(seed());
    let stage = Stage::set(PERMIT, "delivered", &TOPICS);
    let path = stage.path();
    let frame = response(12, &mut random, false);
    carried(&path, 12, &frame, &mut random).unwrap();
    for entry in stage.delivered() {
        for (resource, part) in entry.payload_parts() {
            let summary = summarise(&part).unwrap();
            let counted = summary.map_or(0, |summary| summary.records);
            assert_eq!(resource.records, Some(counted), "{resource:?}");
        }
    }
}

#[test]
fn brokers_addresses_are_taken_out_without_a_change_of_length() {
    let mut random = Random(seed());
    let stage = Stage::set(PERMIT, "none", &TOPICS);
    let path = stage.path();
    let frame = response(16, &mut random, true);
    let out = carried(&path, 16, &frame, &mut random).unwrap();
    assert_eq!(out.len(), frame.len());
    assert!(!out.windows(8).any(|window| window == b"internal"));
    let mut found = Found::default();
    let exchange = exchange(1, 16).unwrap();
    let (_, body) = walk::response_header(exchange, &out).unwrap();
    walk::response(exchange, &out, body, &mut found).unwrap();
    assert_eq!((found.endpoints.len(), found.unknown_tags), (0, 1));
}

#[test]
fn what_was_not_asked_for_or_does_not_fit_never_goes_out() {
    let mut random = Random(seed());
    let stage = Stage::set(PERMIT, "none", &TOPICS);
    let honest = response(12, &mut random, false);
    let beta = honest.windows(5).position(|window| window == b"\x05beta").unwrap();
    let lies: [(&str, usize, Lie); 5] = [
        ("more partitions than were asked for", beta, |frame, at| frame[at + 5] = 60),
        ("another number", 0, |frame, _| frame[7] ^= 9),
        ("a topic that nobody asked for", beta, |frame, at| frame[at + 1] = b'z'),
        // Behind the name and the count stands the index.
        ("a partition that nobody asked for", beta, |frame, at| frame[at + 5 + 1 + 3] = 9),
        ("bytes behind the last", beta, |frame, _| {
            let size = i32::try_from(frame.len()).unwrap() - 4 + 3;
            frame.extend([0; 3]);
            frame[..4].copy_from_slice(&size.to_be_bytes());
        }),
    ];
    for (name, at, lie) in lies {
        let path = stage.path();
        let mut frame = honest.clone();
        lie(&mut frame, at);
        let (out, ended) = carried(&path, 12, &frame, &mut random).unwrap_err();
        assert!(matches!(ended, Ended::BrokerResponse(_)), "{name}: {ended}");
        assert!(out.len() <= at.max(honest.len() - 1), "{name}");
        if at > 0 && name != "bytes behind the last" {
            // What lies before it may have gone out already.
            assert!(out.len() <= at, "{name}");
        }
    }
}

#[test]
fn what_might_change_in_length_is_not_streamed() {
    let policy = "@id(\"p\") permit (principal, action, resource == Topic::\"alpha\");";
    let stage = Stage::set(policy, "none", &TOPICS);
    let path = stage.path();
    let mut owed = None;
    let mut frame = request(12);
    path.carry_request(&mut frame, &Attempt::default(), &mut |pending| owed = Some(pending))
        .unwrap();
    let Some(Pending::Broker(expected)) = owed else { panic!("{owed:?}") };
    // Two of the three topics are refused beside the broker's answer.
    assert!(!path.may_stream(&expected).unwrap());
}

#[test]
fn a_mask_that_begins_within_a_response_ends_it_before_its_topic_goes_out() {
    let clear = "@id(\"clear\") permit (principal, action == Action::\"unmask\", resource);";
    let masks = "labels: { pci: { method: redact } }\n\
                 rules: [{ topics: [gamma], format: json, fields: { card: pci } }]";
    let stage = Stage::masked(&format!("{PERMIT}{clear}"), masks, "none", &TOPICS);
    let path = stage.path();
    let mut random = Random(seed());
    let name = b"\x06gamma";
    let (frame, at) = loop {
        let frame = response(12, &mut random, false);
        let at = frame.windows(name.len()).position(|window| window == name).unwrap();
        // Four partitions without records take less.
        if frame.len() - at > 400 {
            break (frame, at);
        }
    };
    let mut stream = path.stream(expected(&path, 12), frame.len());
    let mut held = frame[..at].to_vec();
    let done = path.carry_piece(&mut stream, &mut held).unwrap();
    assert!(done.bytes > at / 2, "{done:?} of {at}");
    stage.replace_policy(PERMIT);
    held.drain(..done.bytes);
    held.extend_from_slice(&frame[at..]);
    let ended = path.carry_piece(&mut stream, &mut held).unwrap_err();
    assert!(matches!(&ended, Ended::RightEnded(topic) if topic == "gamma"), "{ended}");
    // Whoever asks now gets it whole, and masked.
    let mut owed = None;
    let mut again = request(12);
    path.carry_request(&mut again, &Attempt::default(), &mut |pending| owed = Some(pending))
        .unwrap();
    let Some(Pending::Broker(expected)) = owed else { panic!("{owed:?}") };
    assert!(!path.may_stream(&expected).unwrap());
}
