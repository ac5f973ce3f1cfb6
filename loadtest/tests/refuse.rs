//! What policy denies is refused as Kafka's own authorizer would: the same requests go to Kafka itself, as a user with
//! the same rights by ACLs, and to the gateway, and the answers must be the same to the last field.

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, BrokerId, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest,
    DescribeClusterRequest, EndTxnRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, ListOffsetsRequest,
    MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
    ProducerId, SyncGroupRequest, TransactionalId, TxnOffsetCommitRequest,
};
use sluicegate_loadtest::requests::{
    FetchBounds, LIST_OFFSETS_VERSION, METADATA_VERSION, PRODUCE_VERSION, batch, fetch,
    list_offsets, metadata, produce, topic_name,
};

use crate::support::PATIENCE;
use crate::support::clients::{FAMILIES, Record};
use crate::support::tokens::BOB;
use crate::support::world::{World, text};

/// Kafka's TOPIC_AUTHORIZATION_FAILED.
pub const TOPIC_DENIED: i16 = 29;

#[test]
fn metadata_shows_what_may_be_described() {
    let Some(mut world) = World::new() else { return };
    let allowed = world.front.broker_address();
    let names = world.topics().map(str::to_owned);
    let forget = |response: &mut kafka_protocol::messages::MetadataResponse| {
        for broker in &mut response.brokers {
            broker.host = text(&allowed.ip().to_string());
            broker.port = i32::from(allowed.port());
        }
        // At Kafka, other tests of this run have given the same user rights on their topics.
        let own = |topic: &MetadataResponseTopic| {
            topic.name.as_ref().is_some_and(|name| names.contains(&name.to_string()))
        };
        response.topics.retain(own);
        response.topics.sort_by(|a, b| a.name.cmp(&b.name));
    };
    world.compare(
        0..=13,
        |world, _| metadata(Some(&world.topics())).with_allow_auto_topic_creation(true),
        forget,
    );
    world.compare(
        0..=13,
        |_, version| {
            // Version 0 has no null for all topics: an empty list means all.
            MetadataRequest::default().with_topics((version == 0).then(Vec::new))
        },
        forget,
    );
}

#[test]
fn produce_writes_the_allowed_part() {
    let Some(mut world) = World::new() else { return };
    let forget = |response: &mut kafka_protocol::messages::ProduceResponse| {
        response.responses.sort_by(|a, b| a.name.cmp(&b.name));
        for partition in
            response.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses)
        {
            partition.base_offset = partition.base_offset.min(0);
            partition.error_message = None;
        }
    };
    world.compare(
        3..=12,
        |world, _| {
            let batch = batch([&b"value"[..]]).unwrap();
            let batches = world.topics().map(|topic| (topic, 0, batch.clone()));
            produce(-1, &batches)
        },
        forget,
    );
    // Ten from Kafka's side and ten from the gateway's, and nothing anywhere else.
    for (topic, count) in [(&world.open, 20), (&world.seen, 0), (&world.closed, 0)] {
        let request = list_offsets(topic, 0);
        let answer = world.front.kafka.connect().call(LIST_OFFSETS_VERSION, &request).unwrap();
        assert_eq!(answer.topics[0].partitions[0].offset, count, "{topic}");
    }
}

#[test]
fn a_denied_produce_without_acknowledgement_ends_the_connection() {
    let Some(mut world) = World::new() else { return };
    let batch = batch([&b"value"[..]]).unwrap();
    let request = produce(0, &[(&world.closed, 0, batch)]);
    for connection in [&mut world.kafka, &mut world.gateway] {
        connection.send(PRODUCE_VERSION, &request).unwrap();
        crate::login::assert_ends(connection);
    }
}

#[test]
fn fetch_and_offsets_answer_the_allowed_part() {
    let Some(mut world) = World::new() else { return };
    let batch = batch([&b"first"[..], b"second"]).unwrap();
    let request = produce(-1, &[(&world.open, 0, batch)]);
    world.kafka.call(PRODUCE_VERSION, &request).unwrap();
    let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 1 << 20 };
    world.compare(
        4..=12,
        |world, _| fetch(bounds, &world.topics().map(|topic| (topic, 0, 0))),
        |response: &mut kafka_protocol::messages::FetchResponse| {
            response.responses.sort_by(|a, b| a.topic.cmp(&b.topic));
        },
    );
    world.compare(
        1..=10,
        |world, _| {
            let topics = world.topics().map(|topic| {
                let partition = ListOffsetsPartition::default().with_timestamp(-1);
                ListOffsetsTopic::default()
                    .with_name(topic_name(topic))
                    .with_partitions(vec![partition])
            });
            ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics.into())
        },
        |response| response.topics.sort_by(|a, b| a.name.cmp(&b.name)),
    );
    world.compare(
        2..=4,
        |world, _| {
            let topics = world.topics().map(|topic| {
                OffsetForLeaderTopic::default()
                    .with_topic(topic_name(topic))
                    .with_partitions(vec![OffsetForLeaderPartition::default()])
            });
            OffsetForLeaderEpochRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_topics(topics.into())
        },
        |response| response.topics.sort_by(|a, b| a.topic.cmp(&b.topic)),
    );
}

#[test]
fn fetch_by_topic_id_answers_the_allowed_part() {
    let Some(mut world) = World::new() else { return };
    let ids = |names: &[&str]| {
        let all = world.front.kafka.connect().call(METADATA_VERSION, &metadata(Some(names)));
        let all = all.unwrap().topics;
        names
            .iter()
            .map(|name| {
                let wanted = Some(topic_name(name));
                all.iter().find(|topic| topic.name == wanted).unwrap().topic_id
            })
            .collect::<Vec<_>>()
    };
    let ids = ids(&[&world.open, &world.closed]);
    let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 1 << 20 };
    for version in 13..=18 {
        let mut request = fetch(bounds, &[("", 0, 0), ("", 0, 0)]);
        for (topic, id) in request.topics.iter_mut().zip(&ids) {
            topic.topic_id = *id;
        }
        let answer = world.gateway.call(version, &request).unwrap();
        let code = |id| {
            let topic = answer.responses.iter().find(|topic| topic.topic_id == id).unwrap();
            topic.partitions[0].error_code
        };
        assert_eq!(code(ids[0]), 0, "version {version}: {answer:?}");
        // Kafka says 29 and so tells that the id exists; 100 tells nothing. Either is right.
        assert!([TOPIC_DENIED, 100].contains(&code(ids[1])), "version {version}: {answer:?}");
    }
}

#[test]
fn groups_are_refused_by_name() {
    let Some(mut world) = World::new() else { return };
    for own in [false, true] {
        let group =
            |world: &World| GroupId(text(if own { &world.own_group } else { &world.other_group }));
        if !own {
            // A member that is let in waits for others; the denied one is answered at once.
            world.compare(
                0..=9,
                |world, _| {
                    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
                    JoinGroupRequest::default()
                        .with_group_id(group(world))
                        .with_session_timeout_ms(10_000)
                        .with_rebalance_timeout_ms(10_000)
                        .with_protocol_type(text("consumer"))
                        .with_protocols(vec![protocol])
                },
                |_| (),
            );
            world.compare(
                0..=1,
                |world, _| {
                    ConsumerGroupHeartbeatRequest::default()
                        .with_group_id(group(world))
                        .with_member_id(text("AAAAAAAAAAAAAAAAAAAAAQ"))
                        .with_rebalance_timeout_ms(10_000)
                        .with_subscribed_topic_names(Some(vec![topic_name(&world.open)]))
                        .with_topic_partitions(Some(Vec::new()))
                },
                |response| response.error_message = None,
            );
        }
        world.compare(
            0..=5,
            |world, _| {
                SyncGroupRequest::default()
                    .with_group_id(group(world))
                    .with_generation_id(1)
                    .with_member_id(text("nobody"))
                    .with_protocol_type(Some(text("consumer")))
                    .with_protocol_name(Some(text("range")))
            },
            |_| (),
        );
        world.compare(
            0..=4,
            |world, _| {
                HeartbeatRequest::default()
                    .with_group_id(group(world))
                    .with_generation_id(1)
                    .with_member_id(text("nobody"))
            },
            |_| (),
        );
        world.compare(
            0..=5,
            |world, version| {
                let request = LeaveGroupRequest::default().with_group_id(group(world));
                let member = MemberIdentity::default().with_member_id(text("nobody"));
                if version < 3 {
                    request.with_member_id(text("nobody"))
                } else {
                    request.with_members(vec![member])
                }
            },
            |_| (),
        );
    }
    world.compare(
        0..=1,
        |world, _| {
            let groups = [&world.other_group, &world.own_group].map(|name| GroupId(text(name)));
            ConsumerGroupDescribeRequest::default().with_group_ids(groups.into())
        },
        |response| {
            response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
            response.groups.iter_mut().for_each(|group| group.error_message = None);
        },
    );
}

#[test]
fn offsets_of_denied_topics_are_neither_kept_nor_shown() {
    let Some(mut world) = World::new() else { return };
    for own in [true, false] {
        let group =
            |world: &World| GroupId(text(if own { &world.own_group } else { &world.other_group }));
        world.compare(
            2..=9,
            |world, _| {
                let topics = world.topics().map(|topic| {
                    let partition =
                        OffsetCommitRequestPartition::default().with_committed_offset(1);
                    OffsetCommitRequestTopic::default()
                        .with_name(topic_name(topic))
                        .with_partitions(vec![partition])
                });
                OffsetCommitRequest::default()
                    .with_group_id(group(world))
                    .with_generation_id_or_member_epoch(-1)
                    .with_topics(topics.into())
            },
            |response| response.topics.sort_by(|a, b| a.name.cmp(&b.name)),
        );
        for all in [false, true] {
            world.compare(
                1..=9,
                |world, version| {
                    offset_fetch(&group(world), &world.topics(), version, all && version >= 2)
                },
                |response| {
                    response.topics.sort_by(|a, b| a.name.cmp(&b.name));
                    for group in &mut response.groups {
                        group.topics.sort_by(|a, b| a.name.cmp(&b.name));
                    }
                },
            );
        }
    }
}

fn offset_fetch(group: &GroupId, topics: &[&str], version: i16, all: bool) -> OffsetFetchRequest {
    if version < 8 {
        let topics = topics.iter().map(|topic| {
            OffsetFetchRequestTopic::default()
                .with_name(topic_name(topic))
                .with_partition_indexes(vec![0])
        });
        return OffsetFetchRequest::default()
            .with_group_id(group.clone())
            .with_topics((!all).then(|| topics.collect()));
    }
    let topics = topics.iter().map(|topic| {
        OffsetFetchRequestTopics::default()
            .with_name(topic_name(topic))
            .with_partition_indexes(vec![0])
    });
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(group.clone())
        .with_member_epoch(-1)
        .with_topics((!all).then(|| topics.collect()));
    OffsetFetchRequest::default().with_groups(vec![group])
}

#[test]
fn coordinators_and_clusters_are_refused_by_name() {
    let Some(mut world) = World::new() else { return };
    let allowed = world.front.broker_address();
    for (kind, names) in [
        (0, [world.own_group.clone(), world.other_group.clone()]),
        (1, [world.own_writer.clone(), world.other_writer.clone()]),
    ] {
        let own_address =
            move |response: &mut kafka_protocol::messages::FindCoordinatorResponse| {
                let host = text(&allowed.ip().to_string());
                response.error_message = None;
                if response.port > 0 {
                    (response.host, response.port) = (host.clone(), i32::from(allowed.port()));
                }
                for found in &mut response.coordinators {
                    found.error_message = None;
                    if found.port > 0 {
                        (found.host, found.port) = (host.clone(), i32::from(allowed.port()));
                    }
                }
                response.coordinators.sort_by(|a, b| a.key.cmp(&b.key));
            };
        for name in &names {
            // Version 0 knows only groups.
            world.compare(
                kind..=3,
                |_, _| {
                    FindCoordinatorRequest::default()
                        .with_key(text(name))
                        .with_key_type(i8::try_from(kind).unwrap())
                },
                own_address,
            );
        }
        world.compare(
            4..=6,
            |_, _| {
                let keys = names.iter().map(|name| text(name)).collect();
                FindCoordinatorRequest::default()
                    .with_key_type(i8::try_from(kind).unwrap())
                    .with_coordinator_keys(keys)
            },
            own_address,
        );
    }
    world.compare(
        0..=2,
        |_, _| DescribeClusterRequest::default(),
        move |response| {
            for broker in &mut response.brokers {
                broker.host = text(&allowed.ip().to_string());
                broker.port = i32::from(allowed.port());
            }
        },
    );
}

#[test]
fn transactions_are_refused_by_name() {
    let Some(mut world) = World::new() else { return };
    // An id of a producer that does not exist: what may be written is refused for that instead.
    let stranger = ProducerId(987_654_321);
    for own in [false, true] {
        let writer = |world: &World| {
            TransactionalId(text(if own { &world.own_writer } else { &world.other_writer }))
        };
        if !own {
            world.compare(
                0..=5,
                |world, _| {
                    InitProducerIdRequest::default()
                        .with_transactional_id(Some(writer(world)))
                        .with_transaction_timeout_ms(10_000)
                        .with_producer_id(ProducerId(-1))
                        .with_producer_epoch(-1)
                },
                |_| (),
            );
        }
        world.compare(
            0..=3,
            |world, _| {
                let topics = world.topics().map(|topic| {
                    AddPartitionsToTxnTopic::default()
                        .with_name(topic_name(topic))
                        .with_partitions(vec![0])
                });
                AddPartitionsToTxnRequest::default()
                    .with_v3_and_below_transactional_id(writer(world))
                    .with_v3_and_below_producer_id(stranger)
                    .with_v3_and_below_topics(topics.into())
            },
            |response| {
                response.results_by_topic_v3_and_below.sort_by(|a, b| a.name.cmp(&b.name));
            },
        );
        for group in [world.own_group.clone(), world.other_group.clone()] {
            world.compare(
                0..=4,
                |world, _| {
                    AddOffsetsToTxnRequest::default()
                        .with_transactional_id(writer(world))
                        .with_producer_id(stranger)
                        .with_group_id(GroupId(text(&group)))
                },
                |_| (),
            );
            world.compare(
                0..=5,
                |world, _| {
                    let topics = world.topics().map(|topic| {
                        let partition = TxnOffsetCommitRequestPartition::default();
                        TxnOffsetCommitRequestTopic::default()
                            .with_name(topic_name(topic))
                            .with_partitions(vec![partition])
                    });
                    TxnOffsetCommitRequest::default()
                        .with_transactional_id(writer(world))
                        .with_group_id(GroupId(text(&group)))
                        .with_producer_id(stranger)
                        .with_generation_id(-1)
                        .with_topics(topics.into())
                },
                |response| response.topics.sort_by(|a, b| a.name.cmp(&b.name)),
            );
        }
        world.compare(
            0..=5,
            |world, _| {
                EndTxnRequest::default()
                    .with_transactional_id(writer(world))
                    .with_producer_id(stranger)
            },
            |_| (),
        );
    }
    // Without a transaction, whoever may write anywhere may be idempotent.
    world.compare(
        0..=5,
        |_, _| {
            InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1)
        },
        |response| response.producer_id = ProducerId(response.producer_id.0.min(0)),
    );
}

#[test]
fn real_clients_report_what_was_denied() {
    let Some(world) = World::new() else { return };
    let access = world.front.access(&BOB);
    for family in FAMILIES {
        let outcome =
            family.producer(&access, &[]).send(&world.closed, &[Record::of("x")]).remove(0);
        let error = outcome.unwrap_err();
        assert!(error.code == i32::from(TOPIC_DENIED), "{family:?}: {error:?}");
        family.producer(&access, &[]).send(&world.open, &[Record::of("x")]).remove(0).unwrap();

        // librdkafka looks for its group's coordinator also where it only assigns.
        let own = [("group.id", world.own_group.as_str()), ("enable.auto.commit", "false")];
        let consumer = family.consumer(&access, &own);
        consumer.assign(&world.open, 0);
        let polled = consumer.poll(1, PATIENCE);
        assert!(!polled.records.is_empty(), "{family:?}: {:?}", polled.error);
        // Subscribed, because librdkafka keeps quiet about what was assigned and retries for ever.
        let consumer = family.consumer(&access, &own);
        consumer.subscribe(&[&world.closed]).unwrap();
        let error = consumer.poll(1, PATIENCE).error.unwrap();
        assert!(error.code == i32::from(TOPIC_DENIED), "{family:?}: {error:?}");

        let config = [("group.id", world.other_group.as_str()), ("auto.offset.reset", "earliest")];
        let consumer = family.consumer(&access, &config);
        consumer.subscribe(&[&world.open]).unwrap();
        let error = consumer.poll(1, PATIENCE).error.unwrap();
        assert!(error.code == 30, "{family:?}: {error:?}");
        let topics = family.admin(&access, &[]).topics().unwrap();
        for (topic, shown) in [(&world.open, true), (&world.seen, true), (&world.closed, false)] {
            assert_eq!(topics.contains(topic), shown, "{family:?}: `{topic}` in {topics:?}");
        }
    }
}

#[test]
fn unreadable_batches_are_refused_not_forwarded() {
    let Some(mut world) = World::new() else { return };
    let garbage = Bytes::from_static(
        b"this is no record batch at all, and yet it is long enough to be one........",
    );
    let request = produce(-1, &[(&world.open, 0, garbage)]);
    // Kafka says CORRUPT_MESSAGE or closes; the gateway may do either, and serves on.
    if let Ok(answer) = world.gateway.call(PRODUCE_VERSION, &request) {
        let code = answer.responses[0].partition_responses[0].error_code;
        assert!(code != 0, "garbage was taken");
    }
    let answer =
        world.front.kafka.connect().call(LIST_OFFSETS_VERSION, &list_offsets(&world.open, 0));
    assert_eq!(answer.unwrap().topics[0].partitions[0].offset, 0);
    world.front.connect_as(&BOB).call(METADATA_VERSION, &metadata(None)).unwrap();
}
