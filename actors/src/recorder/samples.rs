//! Entries, logs and faults for the tests of this folder.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use crate::vocabulary::{Action, ConnectionId, Resource, SessionId};

use super::decode::KINDS;
use super::entry::*;
use super::segment::{Check, Frame, SegmentName, SegmentReader, Step};
use super::writer::{Durability, RecordError, SegmentFile, SegmentOptions, SegmentWriter};

/// Options for a log below `data`.
pub(super) fn options(data: &Path, shard: u32) -> SegmentOptions {
    SegmentOptions {
        directory: data.join("segments"),
        gateway: [7; 16],
        run: [9; 16],
        shard,
        roll_bytes: super::writer::SEGMENT_ROLL_BYTES,
        durability: Durability::Process,
    }
}

/// An entry with every field set, told apart by `ordinal`.
pub(super) fn sample(session: u8, connection: u64, ordinal: u64) -> Entry {
    Entry {
        number: EntryNumber(0),
        kind: EntryKind::Delivered,
        session: SessionId([session; 16]),
        connection: ConnectionId(connection),
        ordinal,
        wall_micros: 1_700_000_000_000_000 + i64::try_from(ordinal).unwrap() * 1000,
        monotonic_nanos: 1_000_000 * ordinal,
        principal: Some("https://idp.example.com|ada".into()),
        address: Some("192.0.2.7:40000".parse().unwrap()),
        listener: Some("kafka".into()),
        client_id: Some("analytics-1".into()),
        request: Some(EntryRequest {
            protocol: 1,
            operation: 1,
            version: 17,
            correlation: 41,
            name: "Fetch".into(),
        }),
        answers: Some(ordinal.saturating_sub(1)),
        outcome: Outcome::Allow,
        error_code: 0,
        policy_epoch: 3,
        text: None,
        ticket: None,
        resources: vec![EntryResource {
            kind: ResourceKind::Partition,
            name: "payments".into(),
            partition: Some(3),
            action: Some(Action::Read),
            outcome: Outcome::Allow,
            policies: vec!["analysts-read-payments".into()],
            positions: Some(Positions { first: 100, last: 109 }),
            records: Some(10),
            payload_bytes: Some(20),
            producer: None,
            error_code: None,
        }],
        masked: vec![Masked { label: "pci".into(), count: 10 }],
        withheld: 1,
        attributes: vec![("leader-epoch".into(), "4".into())],
        payload: Bytes::from(vec![0x5A; 20]),
    }
}

/// Appends an owned entry; its number is the writer's.
pub(super) fn append<F: SegmentFile>(
    writer: &mut SegmentWriter<F>,
    entry: &Entry,
    pieces: &[&[u8]],
) -> Result<EntryNumber, RecordError> {
    let origin = Origin::new(
        entry.session,
        entry.connection,
        &OriginFacts {
            principal: entry.principal.as_deref().unwrap_or(""),
            address: entry.address,
            listener: entry.listener.as_deref().unwrap_or(""),
        },
    );
    let policies: Vec<Vec<Arc<str>>> = entry
        .resources
        .iter()
        .map(|resource| resource.policies.iter().map(|id| Arc::from(id.as_str())).collect())
        .collect();
    let resources: Vec<_> =
        entry.resources.iter().zip(&policies).map(|(r, ids)| resource_draft(r, ids)).collect();
    let masked: Vec<_> =
        entry.masked.iter().map(|m| MaskedDraft { label: &m.label, count: m.count }).collect();
    let attributes: Vec<_> =
        entry.attributes.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let at = Instants { wall_micros: entry.wall_micros, monotonic_nanos: entry.monotonic_nanos };
    let draft = EntryDraft {
        request: entry.request.as_ref().map(|request| RequestDraft {
            protocol: request.protocol,
            operation: request.operation,
            version: request.version,
            correlation: request.correlation,
            name: &request.name,
        }),
        answers: entry.answers,
        outcome: entry.outcome,
        error_code: entry.error_code,
        policy_epoch: entry.policy_epoch,
        client_id: entry.client_id.as_deref().unwrap_or(""),
        text: entry.text.as_deref().unwrap_or(""),
        ticket: entry.ticket.as_deref().unwrap_or(""),
        masked: &masked,
        withheld: entry.withheld,
        ..EntryDraft::new(entry.kind, &origin, entry.ordinal, at)
    };
    // Half of what can be added goes through the builder, as the path does it.
    let mut builder = writer.begin(&draft)?;
    for resource in &resources {
        builder.resource(resource);
    }
    for (name, text) in attributes {
        builder.attribute(name, text);
    }
    builder.commit(pieces)
}

fn resource_draft<'a>(resource: &'a EntryResource, policies: &'a [Arc<str>]) -> ResourceDraft<'a> {
    let name = resource.name.as_str();
    let named = match resource.kind {
        ResourceKind::Topic => Resource::Topic(name),
        ResourceKind::Partition => {
            Resource::Partition { topic: name, index: resource.partition.unwrap() }
        }
        ResourceKind::ConsumerGroup => Resource::ConsumerGroup(name),
        ResourceKind::TransactionalId => Resource::TransactionalId(name),
        ResourceKind::Cluster => Resource::Cluster,
    };
    ResourceDraft {
        action: resource.action,
        policies,
        positions: resource.positions,
        records: resource.records,
        payload_bytes: resource.payload_bytes,
        producer: resource.producer,
        error_code: resource.error_code,
        ..ResourceDraft::new(named, resource.outcome)
    }
}

/// Every whole entry of a segment, payload included, and what stands behind them.
pub(super) fn read_all(directory: &Path, name: SegmentName) -> (Vec<Entry>, Step) {
    let mut reader = SegmentReader::open(directory, name, Check::Whole).unwrap();
    let mut entries = Vec::new();
    loop {
        match reader.step().unwrap() {
            Step::Frame(frame) => entries.push(whole(&mut reader, &frame)),
            end => return (entries, end),
        }
    }
}

/// Every whole frame of a segment.
pub(super) fn frames(directory: &Path, name: SegmentName) -> Vec<Frame> {
    let mut reader = SegmentReader::open(directory, name, Check::Whole).unwrap();
    let mut next = || match reader.step().unwrap() {
        Step::Frame(frame) => Some(frame),
        _ => None,
    };
    std::iter::from_fn(&mut next).collect()
}

/// The entry of a frame, with its payload.
pub(super) fn whole(reader: &mut SegmentReader, frame: &Frame) -> Entry {
    let size = u32::try_from(frame.size_bytes()).unwrap();
    let body = reader.entry(frame.position, size).unwrap().unwrap();
    Entry::decode(&body).unwrap()
}

/// Any entry at all.
pub(super) fn any_entry() -> impl Strategy<Value = Entry> {
    let text = || proptest::option::of("[a-zA-Z0-9äß€ ._|-]{1,40}");
    let address = prop_oneof![
        Just(None),
        any::<([u8; 4], u16)>().prop_map(|(ip, port)| Some(SocketAddr::from((ip, port)))),
        any::<([u8; 16], u16)>().prop_map(|(ip, port)| Some(SocketAddr::from((ip, port)))),
    ];
    let who = (any::<[u8; 16]>(), any::<u64>(), any::<u64>(), text(), address, text(), text());
    let what = (0..KINDS.len(), any_outcome(), any::<i16>(), any::<u64>(), any_request(), text());
    let more = (
        proptest::collection::vec(any_resource(), 0..4),
        proptest::collection::vec(("[a-z]{1,9}", any::<u64>()), 0..3),
        any::<u64>(),
        proptest::collection::vec(("[a-z]{0,9}", "[a-zäß]{0,99}"), 0..3),
        text(),
        proptest::option::of(any::<u64>()),
        proptest::collection::vec(any::<u8>(), 0..300),
    );
    (who, what, more, any::<(i64, u64)>()).prop_map(|(who, what, more, at)| Entry {
        number: EntryNumber(0),
        kind: KINDS[what.0],
        session: SessionId(who.0),
        connection: ConnectionId(who.1),
        ordinal: who.2,
        wall_micros: at.0,
        monotonic_nanos: at.1,
        principal: who.3,
        address: who.4,
        listener: who.5,
        client_id: who.6,
        request: what.4,
        answers: more.5,
        outcome: what.1,
        error_code: what.2,
        policy_epoch: what.3,
        text: what.5,
        ticket: more.4,
        resources: more.0,
        masked: more.1.into_iter().map(|(label, count)| Masked { label, count }).collect(),
        withheld: more.2,
        attributes: more.3,
        payload: Bytes::from(more.6),
    })
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Undecided),
        Just(Outcome::Allow),
        Just(Outcome::Deny),
        Just(Outcome::Hold),
        Just(Outcome::Partial),
    ]
}

fn any_request() -> impl Strategy<Value = Option<EntryRequest>> {
    proptest::option::of((any::<(u8, u16, i16, i32)>(), "[A-Za-z]{0,30}").prop_map(
        |((protocol, operation, version, correlation), name)| EntryRequest {
            protocol,
            operation,
            version,
            correlation,
            name,
        },
    ))
}

fn any_resource() -> impl Strategy<Value = EntryResource> {
    let kinds = prop_oneof![
        Just(ResourceKind::Topic),
        Just(ResourceKind::Partition),
        Just(ResourceKind::ConsumerGroup),
        Just(ResourceKind::TransactionalId),
        Just(ResourceKind::Cluster),
    ];
    let action = prop_oneof![
        Just(None),
        Just(Some(Action::Read)),
        Just(Some(Action::Write)),
        Just(Some(Action::Describe)),
        Just(Some(Action::ClusterAction)),
    ];
    let numbers = (
        any::<i32>(),
        proptest::option::of(any::<(i64, i64)>()),
        proptest::option::of(any::<u64>()),
        proptest::option::of(any::<u32>()),
        proptest::option::of(any::<(i64, i16, i32)>()),
        proptest::option::of(any::<i16>()),
    );
    let ids = proptest::collection::vec("[a-z-]{1,20}", 0..3);
    (kinds, "[a-zA-Z0-9._-]{1,60}", action, any_outcome(), numbers, ids).prop_map(
        |(kind, name, action, outcome, numbers, policies)| EntryResource {
            kind,
            name: if kind == ResourceKind::Cluster { String::new() } else { name },
            partition: (kind == ResourceKind::Partition).then_some(numbers.0),
            action,
            outcome,
            policies,
            positions: numbers.1.map(|(first, last)| Positions { first, last }),
            records: numbers.2,
            payload_bytes: numbers.3,
            producer: numbers.4.map(|(id, epoch, sequence)| Producer { id, epoch, sequence }),
            error_code: numbers.5,
        },
    )
}

/// A log below `data` with some of everything: two shards, several connections and sessions, tickets, segments that
/// roll. Returns how many entries each shard has.
pub(super) fn write_log(data: &Path, seed: u64) -> [u64; 2] {
    let mut random = seed;
    let mut counts = [0; 2];
    for shard in [0_u32, 1] {
        let roll = SegmentOptions { roll_bytes: 30_000, ..options(data, shard) };
        let (mut writer, _) = SegmentWriter::<std::fs::File>::open(roll).unwrap();
        let mut ordinals = [0_u64; 4];
        for step in 0..200_u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let pick = usize::try_from(random >> 62).unwrap();
            let connection = u64::try_from(pick).unwrap() + 10 * u64::from(shard);
            let mut entry = sample(u8::try_from(pick).unwrap() + 1, connection, ordinals[pick]);
            entry.wall_micros = 1_700_000_000_000_000 + i64::try_from(step).unwrap() * 1_000;
            entry.ticket = (step % 50 == 0).then(|| "t-1".into());
            let size = usize::try_from((random >> 40) % 900).unwrap();
            entry.resources[0].payload_bytes = Some(u32::try_from(size).unwrap());
            append(&mut writer, &entry, &[&vec![1; size]]).unwrap();
            ordinals[pick] += 1;
            counts[usize::try_from(shard).unwrap()] += 1;
            if step % 5 == 0 {
                writer.flush().unwrap();
            }
        }
        writer.flush().unwrap();
    }
    counts
}
