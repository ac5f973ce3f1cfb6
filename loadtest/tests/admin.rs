//! What administers topics and groups is decided as Kafka's own authorizer would, and shows nothing that may not be seen.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, CreateAclsRequest, CreateDelegationTokenRequest,
    CreatePartitionsRequest, CreateTopicsRequest, DeleteAclsRequest, DeleteGroupsRequest,
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeAclsRequest, DescribeConfigsRequest,
    DescribeDelegationTokenRequest, DescribeGroupsRequest, DescribeProducersRequest,
    DescribeUserScramCredentialsRequest, ExpireDelegationTokenRequest, GroupId, ListGroupsRequest,
    ListPartitionReassignmentsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    RenewDelegationTokenRequest,
};
use kafka_protocol::protocol::StrBytes;
use sluicegate_loadtest::requests::{METADATA_VERSION, batch, metadata, produce, topic_name};
use uuid::Uuid;

use crate::support::clients::FAMILIES;
use crate::support::front::Front;
use crate::support::gateway::Setup;
use crate::support::kafka::HIDDEN_HOST;
use crate::support::tokens::{ALICE, BOB};
use crate::support::tools::run;
use crate::support::world::{World, text};
use crate::support::{PATIENCE, unique};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const ACLS: &str = "org.apache.kafka.tools.AclCommand";
const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
const ELECTIONS: &str = "org.apache.kafka.tools.LeaderElectionCommand";

impl World {
    /// Topics of every kind, those that may be administered in the middle.
    fn all_topics(&self) -> [&str; 6] {
        [&self.closed, &self.managed, &self.absent, &self.gone, &self.seen, &self.open]
    }

    /// Groups of every kind.
    fn groups(&self) -> [GroupId; 3] {
        [&self.other_group, &self.own_group, &self.old_group].map(|name| GroupId(text(name)))
    }

    /// Makes every group known to the broker, with an offset of each topic that there is.
    fn commit_offsets(&self) {
        let mut connection = self.front.kafka.connect();
        for group in self.groups() {
            let topics = [&self.open, &self.closed, &self.managed].map(|topic| {
                let partition = OffsetCommitRequestPartition::default().with_committed_offset(0);
                OffsetCommitRequestTopic::default()
                    .with_name(topic_name(topic))
                    .with_partitions(vec![partition])
            });
            let request = OffsetCommitRequest::default()
                .with_group_id(group)
                .with_generation_id_or_member_epoch(-1)
                .with_topics(topics.into());
            let answer = connection.call(8, &request).unwrap();
            let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            assert!(partitions.all(|partition| partition.error_code == 0), "{answer:?}");
        }
    }
}

/// Where the gateway refuses what cannot be put back it says by which policy, in the place of Kafka's own text.
fn refusal_names_policy(text: &mut Option<StrBytes>) {
    let kafkas = "Topic authorization failed.";
    let is_refusal = |text: &str| text == kafkas || text.starts_with("No policy permits ");
    if text.as_ref().is_some_and(|text| is_refusal(text)) {
        *text = None;
    }
}

#[test]
fn configurations_are_described_by_right() {
    let Some(mut world) = World::new() else { return };
    for (kind, names) in [
        (2, world.all_topics().map(str::to_owned).to_vec()),
        (4, vec!["1".to_owned()]),
        (8, vec!["1".to_owned()]),
        (16, vec!["metrics".to_owned()]),
        (32, vec![world.own_group.clone(), world.other_group.clone()]),
    ] {
        world.compare(
            1..=4,
            |_, _| {
                let resources = names.iter().map(|name| {
                    DescribeConfigsResource::default()
                        .with_resource_type(kind)
                        .with_resource_name(text(name))
                        .with_configuration_keys(None)
                });
                DescribeConfigsRequest::default().with_resources(resources.collect())
            },
            |response| {
                response.results.sort_by(|a, b| a.resource_name.cmp(&b.resource_name));
            },
        );
    }
    world.compare(
        [0],
        |_, _| ListPartitionReassignmentsRequest::default().with_topics(None),
        // Kafka's has the request in Java's words.
        |response| response.error_message = None,
    );
}

#[test]
fn nobody_gets_a_login_or_a_right_at_the_brokers_themselves() {
    let Some(mut world) = World::new() else { return };
    let text_of = |message: &mut Option<StrBytes>| *message = None;
    world.compare(
        1..=3,
        |_, _| {
            DescribeAclsRequest::default()
                .with_resource_type_filter(1)
                .with_pattern_type_filter(1)
                .with_operation(1)
                .with_permission_type(1)
        },
        |response| text_of(&mut response.error_message),
    );
    world.compare(
        1..=3,
        |world, _| {
            let acl = |host| {
                AclCreation::default()
                    .with_resource_type(2)
                    .with_resource_name(text(&world.closed))
                    .with_resource_pattern_type(3)
                    .with_principal(text("User:bob"))
                    .with_host(text(host))
                    .with_operation(2)
                    .with_permission_type(3)
            };
            CreateAclsRequest::default().with_creations(vec![acl("*"), acl("127.0.0.1")])
        },
        |response| response.results.iter_mut().for_each(|it| text_of(&mut it.error_message)),
    );
    world.compare(
        1..=3,
        |_, _| {
            let filter = DeleteAclsFilter::default()
                .with_resource_type_filter(1)
                .with_pattern_type_filter(1)
                .with_operation(1)
                .with_permission_type(1);
            DeleteAclsRequest::default().with_filters(vec![filter.clone(), filter])
        },
        |response| response.filter_results.iter_mut().for_each(|it| text_of(&mut it.error_message)),
    );
    world.compare(
        [0],
        |_, _| {
            let upsertion = ScramCredentialUpsertion::default()
                .with_name(text("mallory"))
                .with_mechanism(1)
                .with_iterations(4096)
                .with_salt(Bytes::from_static(b"salt"))
                .with_salted_password(Bytes::from_static(b"password"));
            AlterUserScramCredentialsRequest::default().with_upsertions(vec![upsertion])
        },
        |response| response.results.iter_mut().for_each(|it| text_of(&mut it.error_message)),
    );
    // Whoever may do everything does not get them either.
    let mut connection = world.front.connect_as(&ALICE);
    if world.front.gateway.is_none() {
        return;
    }
    let answer = connection.call(3, &DescribeAclsRequest::default()).unwrap();
    assert_eq!(answer.error_code, 31, "{answer:?}");
    assert!(answer.error_message.unwrap().contains("not through the gateway"));
    let all = DescribeUserScramCredentialsRequest::default().with_users(None);
    assert_eq!(connection.call(0, &all).unwrap().error_code, 31);
    for version in 1..=3 {
        let answer = connection.call(version, &CreateDelegationTokenRequest::default()).unwrap();
        assert_eq!((answer.error_code, answer.hmac.len()), (31, 0), "version {version}");
        let request = DescribeDelegationTokenRequest::default().with_owners(None);
        assert_eq!(connection.call(version, &request).unwrap().error_code, 31);
    }
    for version in 1..=2 {
        let request = RenewDelegationTokenRequest::default();
        assert_eq!(connection.call(version, &request).unwrap().error_code, 31);
        let request = ExpireDelegationTokenRequest::default();
        assert_eq!(connection.call(version, &request).unwrap().error_code, 31);
    }
}

#[test]
fn groups_are_listed_described_and_deleted_by_right() {
    let Some(mut world) = World::new() else { return };
    world.commit_offsets();
    let names = world.groups();
    world.compare(
        0..=5,
        |_, _| ListGroupsRequest::default(),
        |response| {
            // At Kafka, other tests of this run have given the same user rights on their groups.
            response.groups.retain(|group| names.contains(&group.group_id));
            assert_eq!(response.groups.len(), 2, "{response:?}");
            response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        },
    );
    world.compare(
        0..=6,
        |world, version| {
            DescribeGroupsRequest::default()
                .with_groups(world.groups().into())
                .with_include_authorized_operations(version >= 3)
        },
        |response| response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id)),
    );
    for own in [false, true] {
        world.compare(
            [0],
            |world, _| {
                let group = if own { &world.old_group } else { &world.other_group };
                let topics = world.topics().map(|topic| {
                    OffsetDeleteRequestTopic::default()
                        .with_name(topic_name(topic))
                        .with_partitions(vec![OffsetDeleteRequestPartition::default()])
                });
                OffsetDeleteRequest::default()
                    .with_group_id(GroupId(text(group)))
                    .with_topics(topics.into())
            },
            |response| response.topics.sort_by(|a, b| a.name.cmp(&b.name)),
        );
    }
    for version in 0..=2 {
        // Deleting it at one of the two deletes it at the other.
        world.commit_offsets();
        let request = DeleteGroupsRequest::default().with_groups_names(world.groups().into());
        let mut codes = [(); 2].map(|()| BTreeMap::new());
        for (connection, codes) in
            [&mut world.kafka, &mut world.gateway].into_iter().zip(&mut codes)
        {
            let answer = connection.call(version, &request).unwrap();
            for result in answer.results {
                codes.insert(result.group_id.to_string(), result.error_code);
            }
        }
        assert_eq!(codes[0][&world.old_group], 0, "{codes:?}");
        // GROUP_ID_NOT_FOUND
        assert_eq!(codes[1].insert(world.old_group.clone(), 0), Some(69), "{codes:?}");
        assert_eq!(codes[0], codes[1], "version {version}");
    }
}

#[test]
fn topics_are_administered_by_right() {
    let Some(mut world) = World::new() else { return };
    world.compare(
        2..=7,
        |world, _| {
            let topics = world.all_topics().map(|topic| {
                CreatableTopic::default()
                    .with_name(topic_name(topic))
                    .with_num_partitions(2)
                    .with_replication_factor(1)
            });
            CreateTopicsRequest::default()
                .with_topics(topics.into())
                .with_timeout_ms(10_000)
                .with_validate_only(true)
        },
        |response| {
            response.topics.sort_by(|a, b| a.name.cmp(&b.name));
            // Each that would be made is given another.
            response.topics.iter_mut().for_each(|topic| topic.topic_id = Uuid::nil());
        },
    );
    world.compare(
        0..=3,
        |world, _| {
            let topics = world.all_topics().map(|topic| {
                CreatePartitionsTopic::default()
                    .with_name(topic_name(topic))
                    .with_count(3)
                    .with_assignments(None)
            });
            CreatePartitionsRequest::default()
                .with_topics(topics.into())
                .with_timeout_ms(10_000)
                .with_validate_only(true)
        },
        |response| {
            response.results.sort_by(|a, b| a.name.cmp(&b.name));
            response.results.iter_mut().for_each(|it| refusal_names_policy(&mut it.error_message));
        },
    );
    world.compare(
        0..=2,
        |world, _| {
            let topics = world.all_topics().map(|topic| {
                let partition = DeleteRecordsPartition::default().with_offset(0);
                DeleteRecordsTopic::default()
                    .with_name(topic_name(topic))
                    .with_partitions(vec![partition])
            });
            DeleteRecordsRequest::default().with_topics(topics.into()).with_timeout_ms(10_000)
        },
        |response| response.topics.sort_by(|a, b| a.name.cmp(&b.name)),
    );
    world.compare(
        [0],
        |world, _| {
            let topics = world.all_topics().map(|topic| {
                TopicRequest::default().with_name(topic_name(topic)).with_partition_indexes(vec![0])
            });
            DescribeProducersRequest::default().with_topics(topics.into())
        },
        |response| response.topics.sort_by(|a, b| a.name.cmp(&b.name)),
    );
}

#[test]
fn topics_are_deleted_by_right() {
    let Some(mut world) = World::new() else { return };
    let known = world.front.kafka.connect().call(METADATA_VERSION, &metadata(None)).unwrap().topics;
    let id_of = |name: &str| {
        let wanted = Some(topic_name(name));
        known.iter().find(|topic| topic.name == wanted).unwrap().topic_id
    };
    let ids = [id_of(&world.closed), id_of(&world.seen), Uuid::from_u128(7)];
    world.compare(
        1..=6,
        |world, version| {
            let names = [&world.closed, &world.absent, &world.gone, &world.seen];
            let names = names.map(|name| topic_name(name));
            let request = DeleteTopicsRequest::default().with_timeout_ms(10_000);
            if version < 6 {
                return request.with_topic_names(names.into());
            }
            let topics = names.map(|name| DeleteTopicState::default().with_name(Some(name)));
            request.with_topics(topics.into())
        },
        |response| {
            response.responses.sort_by(|a, b| a.name.cmp(&b.name));
            response
                .responses
                .iter_mut()
                .for_each(|it| refusal_names_policy(&mut it.error_message));
        },
    );
    world.compare(
        [6],
        |_, _| {
            let topics = ids.map(|id| DeleteTopicState::default().with_topic_id(id));
            DeleteTopicsRequest::default().with_timeout_ms(10_000).with_topics(topics.into())
        },
        |response| {
            response.responses.sort_by_key(|topic| topic.topic_id);
            // Of a topic that may be seen and not deleted, Kafka says the name beside the id that it was asked by.
            response.responses.iter_mut().for_each(|topic| topic.name = None);
            response
                .responses
                .iter_mut()
                .for_each(|it| refusal_names_policy(&mut it.error_message));
        },
    );
    for connection in [&mut world.kafka, &mut world.gateway] {
        let topics = vec![DeleteTopicState::default().with_name(Some(topic_name(&world.managed)))];
        let request = DeleteTopicsRequest::default().with_timeout_ms(10_000).with_topics(topics);
        let answer = connection.call(6, &request).unwrap();
        assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
        // Made again for the other.
        std::thread::sleep(Duration::from_millis(200));
        world.front.kafka.create_topic(&world.managed, 2);
    }
}

#[test]
fn members_of_a_group_show_no_topic_that_may_not_be_seen() {
    let Some(mut world) = World::new() else { return };
    let mut connection = world.front.kafka.connect();
    for topic in [&world.open, &world.closed] {
        let records: Bytes = batch([&b"value"[..]]).unwrap();
        connection.call(12, &produce(-1, &[(topic, 0, records)])).unwrap();
    }
    for family in FAMILIES {
        let config = [
            ("group.id", world.own_group.as_str()),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
        ];
        let consumer = family.consumer(&world.front.access(&ALICE), &config);
        consumer.subscribe(&[&world.open, &world.closed]).unwrap();
        let polled = consumer.poll(2, PATIENCE);
        assert_eq!(polled.records.len(), 2, "{family:?}: {:?}", polled.error);
        let groups = vec![GroupId(text(&world.own_group))];
        let request = DescribeGroupsRequest::default().with_groups(groups);
        for version in 0..=6 {
            let answer = world.gateway.call(version, &request).unwrap();
            let member = &answer.groups[0].members[0];
            for (what, bytes) in
                [("metadata", &member.member_metadata), ("assignment", &member.member_assignment)]
            {
                let names = |topic: &str| {
                    bytes.windows(topic.len()).any(|window| window == topic.as_bytes())
                };
                assert!(names(&world.open), "{family:?}: {what} without its topic: {bytes:?}");
                assert!(!names(&world.closed), "{family:?}: {what} shows what it must not");
            }
        }
        consumer.close().unwrap();
    }
}

#[test]
fn settings_change_only_where_the_gateway_lets_them() {
    let topic = unique("settings");
    let policy = r#"
@id("all") permit (principal in Group::"everything", action, resource);
@id("nothing") forbid (principal in Group::"restricted", action == Action::"AlterConfigs", resource);
@id("see") permit (principal in Group::"restricted", action in [Action::"Describe", Action::"DescribeConfigs"], resource);
"#;
    let Some(front) = Front::start(Setup { policy: policy.to_owned(), ..Setup::default() }) else {
        return;
    };
    front.kafka.create_topic(&topic, 1);
    let (alice, bob) = (front.access(&ALICE), front.access(&BOB));
    let alter = |access, kind: &str, name: &str, setting: &str| {
        let arguments = ["--alter", "--entity-type", kind, "--entity-name", name, "--add-config"];
        run(CONFIGS, access, &[&arguments[..], &[setting]].concat())
    };
    alter(&alice, "topics", &topic, "max.message.bytes=70000").assert_prints(&[]);
    let described = ["--describe", "--entity-type", "topics", "--entity-name", &topic];
    run(CONFIGS, &alice, &described).assert_prints(&["max.message.bytes=70000"]);
    for (access, kind, name, setting, said) in [
        (&alice, "topics", topic.as_str(), "retention.ms=1", "alterable.topic.configs"),
        (&alice, "brokers", "1", "log.cleaner.threads=2", "not through the gateway"),
        (
            &bob,
            "topics",
            topic.as_str(),
            "max.message.bytes=1",
            "Policy `nothing` forbids AlterConfigs",
        ),
    ] {
        let refused = alter(access, kind, name, setting);
        assert_ne!(refused.code, 0, "{}", refused.text);
        assert!(refused.text.contains(said), "{}", refused.text);
    }
    run(CONFIGS, &alice, &described).assert_hides(&["retention.ms=1", "max.message.bytes=1,"]);

    let refused = run(ACLS, &alice, &["--list"]);
    assert!(refused.text.contains("ClusterAuthorizationException"), "{}", refused.text);
    assert!(refused.text.contains("not through the gateway"), "{}", refused.text);
    let folders = ["--describe", "--broker-list", "1", "--topic-list", topic.as_str()];
    run(LOG_DIRS, &alice, &folders).assert_prints(&[&format!("{topic}-0")]);
    let elect = ["--election-type", "preferred", "--topic", &topic, "--partition", "0"];
    let elected = run(ELECTIONS, &alice, &elect);
    assert!(elected.text.contains(&topic), "{}", elected.text);
    let refused = run(ELECTIONS, &bob, &elect);
    assert!(refused.text.contains("Not authorized"), "{}", refused.text);
}

#[test]
fn kafkas_own_tools_work_for_who_may_and_say_it_to_who_may_not() {
    let (open, made, group) = (unique("open"), unique("made"), unique("tools"));
    let policy = format!(
        r#"
@id("all") permit (principal, action, resource) unless {{ principal in Group::"restricted" }};
@id("open") permit (principal in Group::"restricted", action == Action::"Read", resource in Topic::"{open}");
"#
    );
    let Some(front) = Front::start(Setup { policy, ..Setup::default() }) else { return };
    front.kafka.create_topic(&open, 1);
    let consumer = FAMILIES[0].consumer(&front.access(&ALICE), &[("group.id", group.as_str())]);
    consumer.subscribe(&[&open]).unwrap();
    consumer.poll(1, Duration::from_secs(2));
    let alice = front.access(&ALICE);
    let bob = front.access(&BOB);
    let host = [HIDDEN_HOST];

    let create = ["--create", "--topic", &made, "--partitions", "2", "--replication-factor", "1"];
    let refused = run(TOPICS, &bob, &create);
    assert_ne!(refused.code, 0, "{}", refused.text);
    assert!(refused.text.contains("TopicAuthorizationException"), "{}", refused.text);
    run(TOPICS, &alice, &create).assert_prints(&["Created topic"]);
    run(TOPICS, &alice, &["--list"]).assert_prints(&[&open, &made]);
    let listed = run(TOPICS, &bob, &["--list"]);
    listed.assert_prints(&[&open]);
    listed.assert_hides(&[&made]);
    let described = run(TOPICS, &alice, &["--describe", "--topic", &made]);
    described.assert_prints(&["PartitionCount: 2"]);
    described.assert_hides(&host);
    let more = ["--alter", "--topic", made.as_str(), "--partitions", "3"];
    assert_ne!(run(TOPICS, &bob, &more).code, 0);
    run(TOPICS, &alice, &more).assert_prints(&[]);
    run(OFFSETS, &alice, &["--topic", &made]).assert_prints(&[&format!("{made}:2:0")]);
    let configs = ["--describe", "--all", "--entity-type", "topics", "--entity-name", &made];
    run(CONFIGS, &alice, &configs).assert_prints(&["retention.ms"]);

    run(GROUPS, &alice, &["--list"]).assert_prints(&[&group]);
    run(GROUPS, &bob, &["--list"]).assert_hides(&[&group]);
    let described = run(GROUPS, &alice, &["--describe", "--group", &group]);
    described.assert_prints(&[&group]);
    described.assert_hides(&host);
    let members = run(GROUPS, &alice, &["--describe", "--members", "--verbose", "--group", &group]);
    members.assert_prints(&[&format!("{open}:0")]);
    let refused = run(GROUPS, &bob, &["--describe", "--group", &group]);
    assert!(refused.text.contains("GroupAuthorizationException"), "{}", refused.text);
    consumer.close().unwrap();
    run(GROUPS, &alice, &["--delete", "--group", &group]).assert_prints(&["was successful"]);

    let delete = ["--delete", "--topic", made.as_str()];
    assert_ne!(run(TOPICS, &bob, &delete).code, 0);
    run(TOPICS, &alice, &delete).assert_prints(&[]);
    run(TOPICS, &alice, &["--list"]).assert_hides(&[&made]);
}
