//! The clients that people have: the same three scenarios for each, and applications that are built on them, unchanged.
//!
//! `clients/SCENARIOS.md` says what a scenario's program does; each checks for itself what its library shows it. Here it is
//! started, and what has become of topics, groups and transactional ids is asked at the broker. `docs/CLIENTS.md` has the
//! table of it.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeGroupsRequest, DescribeTransactionsRequest, GroupId,
    ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest, TransactionalId,
};
use serde_json::{Value, json};
use sluicegate_loadtest::client::Connection;
use sluicegate_loadtest::requests::{METADATA_VERSION, metadata, topic_name};

use crate::support::clients::{Access, Family, Login};
use crate::support::connect::Worker;
use crate::support::front::{Front, is_direct};
use crate::support::gateway::Setup;
use crate::support::kafka::{HIDDEN_HOST, Kafka, Kind, Operation, login_of};
use crate::support::programs::{Program, assert_passes};
use crate::support::tokens::{ALICE, BOB};
use crate::support::world::text;
use crate::support::{PATIENCE, START_PATIENCE, unique};

/// What [`BOB`] may do: everything with what is his own, and little with what is there to read.
const POLICY: &str = r#"
@id("all") permit (principal in Group::"everything", action, resource);
@id("own-topics") permit (principal in Group::"restricted",
  action in [Action::"Read", Action::"Write", Action::"Create", Action::"Delete", Action::"Alter"], resource is Topic)
  when { resource.name like "own-*" };
@id("own-groups") permit (principal in Group::"restricted", action == Action::"Read", resource is ConsumerGroup)
  when { resource.name like "own-*" };
@id("own-writers") permit (principal in Group::"restricted", action == Action::"Write", resource is TransactionalId)
  when { resource.name like "own-*" || resource.name like "connect-cluster-own-*" };
@id("read-topics") permit (principal in Group::"restricted", action == Action::"Read", resource is Topic)
  when { resource.name like "read-*" };
@id("see-groups") permit (principal in Group::"restricted", action == Action::"Describe", resource is ConsumerGroup)
  when { resource.name like "read-*" };
@id("see-writers") permit (principal in Group::"restricted", action == Action::"Describe", resource is TransactionalId)
  when { resource.name like "read-*" };
"#;

/// The same at Kafka itself, by ACLs.
const RIGHTS: [(Kind, &str, &[Operation]); 7] = [
    (
        Kind::Topic,
        "own-",
        &[
            Operation::Read,
            Operation::Write,
            Operation::Create,
            Operation::Delete,
            Operation::Alter,
        ],
    ),
    (Kind::Group, "own-", &[Operation::Read]),
    (Kind::TransactionalId, "own-", &[Operation::Write]),
    (Kind::TransactionalId, "connect-cluster-own-", &[Operation::Write]),
    (Kind::Topic, "read-", &[Operation::Read]),
    (Kind::Group, "read-", &[Operation::Describe]),
    (Kind::TransactionalId, "read-", &[Operation::Describe]),
];

/// All of them work at once, at one gateway.
fn front() -> Option<&'static Front> {
    static SHARED: OnceLock<Front> = OnceLock::new();
    Kafka::shared()?;
    Some(SHARED.get_or_init(|| {
        let setup = Setup { policy: POLICY.to_owned(), ..Setup::default() };
        let front = Front::start_or_kafka(setup).unwrap();
        if is_direct() {
            for (kind, prefix, operations) in RIGHTS {
                for operation in operations {
                    front.kafka.permit_prefix(BOB.name, kind, prefix, *operation);
                }
            }
        }
        front
    }))
}

#[derive(Clone, Copy, Debug)]
enum Scenario {
    Groups,
    Transactions,
    Admin,
}

const SCENARIOS: [Scenario; 3] = [Scenario::Groups, Scenario::Transactions, Scenario::Admin];

impl Scenario {
    fn argument(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::Transactions => "transactions",
            Self::Admin => "admin",
        }
    }

    /// Makes at the broker what the scenario finds there.
    fn prepare(self, kafka: &Kafka, name: &str) {
        match self {
            Self::Groups => kafka.create_topic(&format!("own-{name}"), 4),
            Self::Transactions => {
                for topic in [format!("own-{name}-in"), format!("own-{name}-out")] {
                    kafka.create_topic(&topic, 1);
                }
                kafka.create_topic(&format!("read-{name}"), 1);
            }
            Self::Admin => {
                for topic in [format!("read-{name}"), format!("closed-{name}")] {
                    kafka.create_topic(&topic, 2);
                    commit(&mut kafka.connect(), &format!("own-{name}"), &topic);
                    commit(&mut kafka.connect(), &format!("closed-{name}"), &topic);
                }
            }
        }
    }

    /// Looks at the broker for what the scenario has left there, and for what it must not have done.
    fn check(self, kafka: &Kafka, name: &str) {
        let mut broker = kafka.connect();
        let [own, read, closed] = ["own", "read", "closed"].map(|kind| format!("{kind}-{name}"));
        match self {
            Self::Groups => {
                assert_eq!(offsets(&mut broker, &own, &own, 4), [11; 4], "{name}");
                for group in [&closed, &read] {
                    assert_eq!(group_state(&mut broker, group), "Dead", "{group}");
                }
            }
            Self::Transactions => {
                let wanted = ["COMMITTED-0-A", "COMMITTED-0-B", "COMMITTED-1-A", "COMMITTED-1-B"];
                assert_eq!(committed_values(kafka, &format!("own-{name}-out"), 4), wanted);
                // The last record is at 7, and what committed it at 8.
                let offset = offsets(&mut broker, &own, &format!("own-{name}-in"), 1)[0];
                assert!((8..=9).contains(&offset), "{name}: {offset}");
                for id in [&closed, &read] {
                    assert_eq!(transaction_error(&mut broker, id), NO_TRANSACTIONAL_ID, "{id}");
                }
            }
            Self::Admin => {
                assert_eq!(partitions(&mut broker, &own), Err(UNKNOWN_TOPIC));
                let created = partitions(&mut broker, &format!("closed-{name}-new"));
                assert_eq!(created, Err(UNKNOWN_TOPIC));
                assert_eq!(partitions(&mut broker, &read), Ok(2));
            }
        }
    }
}

/// Kafka's UNKNOWN_TOPIC_OR_PARTITION and TRANSACTIONAL_ID_NOT_FOUND.
const UNKNOWN_TOPIC: i16 = 3;
const NO_TRANSACTIONAL_ID: i16 = 105;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bearer {
    /// It is told tokens as passwords alone.
    Never,
    /// It logs in by OAUTHBEARER in all scenarios but groups.
    Mostly,
}

/// Runs the scenarios of one family, side by side.
fn play(program: &Program, bearer: Bearer) {
    let Some(front) = front() else { return };
    let running = SCENARIOS.map(|scenario| {
        let name = unique(program.name);
        scenario.prepare(front.kafka, &name);
        let is_bearer = bearer == Bearer::Mostly && !matches!(scenario, Scenario::Groups);
        let access = match &front.gateway {
            Some(gateway) if is_bearer => {
                front.access_with(Login::Bearer(gateway.issuer.token(&BOB)))
            }
            _ => front.access(&BOB),
        };
        let process = program.start(&access, &[scenario.argument(), &name]);
        (scenario, name, process)
    });
    for (scenario, name, process) in running {
        assert_passes(&process, START_PATIENCE);
        scenario.check(front.kafka, &name);
        assert!(is_direct() || !process.log().contains(HIDDEN_HOST), "{}", process.log());
    }
}

#[test]
fn java_4_3() {
    // Its transactions and administration know no group protocol; its groups are KIP-848's.
    play(
        &Program::java("kafka-clients-4.3", "Scenarios").with("GROUP_PROTOCOL", "consumer"),
        Bearer::Never,
    );
}

#[test]
fn java_2_8() {
    play(&Program::java("kafka-clients-2.8", "Scenarios"), Bearer::Never);
}

#[test]
fn librdkafka() {
    play(&Program::python("librdkafka"), Bearer::Never);
}

#[test]
fn franz_go() {
    play(&Program::go("franz-go"), Bearer::Mostly);
}

#[test]
fn aiokafka() {
    play(&Program::python("aiokafka"), Bearer::Mostly);
}

#[test]
fn kafkajs() {
    play(&Program::node("kafkajs"), Bearer::Mostly);
}

#[test]
fn a_streams_application_counts_words_exactly_once() {
    let Some(front) = front() else { return };
    let folder = tempfile::tempdir().unwrap();
    let running = ["classic", "streams"].map(|protocol| {
        let name = unique(&format!("streams-{protocol}"));
        front.kafka.create_topic(&format!("own-{name}-lines"), 2);
        front.kafka.create_topic(&format!("own-{name}-counts"), 1);
        let program = Program::java("streams", "WordCount")
            .with("GROUP_PROTOCOL", protocol)
            .with("STATE_DIR", folder.path().to_str().unwrap());
        (protocol, program.start(&front.access(&BOB), &[&name]), name)
    });
    for (protocol, process, name) in running {
        assert_passes(&process, START_PATIENCE);
        let mut broker = front.kafka.connect();
        let known = broker.call(METADATA_VERSION, &metadata(None)).unwrap();
        let known = known.topics.iter().map(|topic| topic.name.as_ref().unwrap().to_string());
        let made: BTreeSet<String> = known.filter(|topic| topic.contains(&name)).collect();
        let store = "KSTREAM-AGGREGATE-STATE-STORE-0000000003";
        let wanted = ["lines", "counts"].map(|topic| format!("own-{name}-{topic}"));
        let internal =
            ["repartition", "changelog"].map(|topic| format!("own-{name}-{store}-{topic}"));
        assert_eq!(made, wanted.into_iter().chain(internal).collect::<BTreeSet<_>>());
        let groups = broker.call(5, &ListGroupsRequest::default()).unwrap().groups;
        let group = groups.iter().find(|group| group.group_id.0.as_str() == format!("own-{name}"));
        assert_eq!(group.map(|group| group.group_type.as_str()), Some(protocol), "{name}");
    }
}

#[test]
fn connect_copies_a_file_through_a_topic() {
    let Some(front) = front() else { return };
    let name = unique("connect");
    let closed = format!("closed-{name}");
    let lines = format!("own-{name}-lines");
    front.kafka.create_topic(&closed, 1);
    let mut worker = Worker::start(front.access(&BOB), &name);
    let (from, to) = (worker.file("in.txt"), worker.file("out.txt"));
    let write = |line: &str| {
        let mut file = OpenOptions::new().create(true).append(true).open(&from).unwrap();
        writeln!(file, "{line}").unwrap();
    };
    let await_copy = |wanted: &str| {
        let deadline = Instant::now() + PATIENCE;
        let copied = || std::fs::read_to_string(&to).unwrap_or_default();
        while copied() != wanted {
            assert!(Instant::now() < deadline, "expected {wanted:?}, got {:?}", copied());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    write("one");
    worker.configure("source", source(&from, &lines));
    let group = format!("own-{name}-sink");
    worker.configure("sink", sink(&lines, &group, &to));
    await_copy("one\n");

    worker.tell("sink", "pause");
    worker.await_task("sink", "PAUSED");
    write("two");
    assert_eq!(committed_values(front.kafka, &lines, 2), ["one", "two"]);
    await_copy("one\n");
    worker.tell("sink", "resume");
    await_copy("one\ntwo\n");

    // What it knows of its connectors and of how far they are is in its topics.
    worker.replace();
    write("three");
    await_copy("one\ntwo\nthree\n");
    assert_eq!(committed_values(front.kafka, &lines, 3), ["one", "two", "three"]);

    worker.configure("stranger", sink(&closed, &format!("own-{name}-stranger"), &to));
    let failed = worker.await_task("stranger", "FAILED");
    let trace = failed["trace"].as_str().unwrap();
    assert!(trace.contains("TopicAuthorizationException"), "{trace}");
    assert!(trace.contains(&closed), "{trace}");

    let mut broker = front.kafka.connect();
    for topic in ["configs", "offsets", "status"] {
        assert_eq!(cleanup_policy(&mut broker, &format!("own-{name}-{topic}")), "compact");
    }
    assert_ne!(offsets(&mut broker, &group, &lines, 1), [-1]);
    assert!(is_direct() || !worker.log().contains(HIDDEN_HOST), "{}", worker.log());
}

/// Lines of a file into a topic, which it makes.
fn source(file: &Path, topic: &str) -> Value {
    json!({
        "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
        "file": file,
        "topic": topic,
        "topic.creation.default.replication.factor": "1",
        "topic.creation.default.partitions": "1",
    })
}

/// A topic into a file, as a member of a group.
fn sink(topic: &str, group: &str, file: &Path) -> Value {
    json!({
        "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
        "file": file,
        "topics": topic,
        "consumer.override.group.id": group,
        // The topic may be made after it begins to look.
        "consumer.override.metadata.max.age.ms": "1000",
    })
}

/// How a topic is cleaned up.
fn cleanup_policy(broker: &mut Connection, topic: &str) -> String {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(topic))
        .with_configuration_keys(Some(vec![text("cleanup.policy")]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let answer = broker.call(4, &request).unwrap();
    answer.results[0].configs[0].value.as_ref().unwrap().to_string()
}

/// Commits offset 0 of a topic's first partition for a group without members.
fn commit(broker: &mut Connection, group: &str, topic: &str) {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(0);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let answer = broker.call(8, &request).unwrap();
    assert_eq!(answer.topics[0].partitions[0].error_code, 0, "{answer:?}");
}

/// What a group has committed of each partition of a topic; -1 for nothing.
fn offsets(broker: &mut Connection, group: &str, topic: &str, partitions: i32) -> Vec<i64> {
    let topic = OffsetFetchRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partition_indexes((0..partitions).collect());
    let request = OffsetFetchRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_topics(Some(vec![topic]));
    let answer = broker.call(7, &request).unwrap();
    let mut rows = answer.topics[0].partitions.clone();
    rows.sort_by_key(|partition| partition.partition_index);
    rows.iter().map(|partition| partition.committed_offset).collect()
}

fn group_state(broker: &mut Connection, group: &str) -> String {
    let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text(group))]);
    broker.call(5, &request).unwrap().groups[0].group_state.to_string()
}

fn transaction_error(broker: &mut Connection, id: &str) -> i16 {
    let ids = vec![TransactionalId(text(id))];
    let request = DescribeTransactionsRequest::default().with_transactional_ids(ids);
    broker.call(0, &request).unwrap().transaction_states[0].error_code
}

/// How many partitions a topic has, or the error for it.
fn partitions(broker: &mut Connection, topic: &str) -> Result<usize, i16> {
    let answer = broker.call(METADATA_VERSION, &metadata(Some(&[topic]))).unwrap();
    match answer.topics[0].error_code {
        0 => Ok(answer.topics[0].partitions.len()),
        code => Err(code),
    }
}

/// The first values of a topic that are committed, read at the broker itself.
fn committed_values(kafka: &Kafka, topic: &str, count: usize) -> Vec<String> {
    let login = Login::Plain(login_of(ALICE.name));
    let access = Access { bootstrap: kafka.guarded(), login, authority: None };
    let consumer = Family::Python.consumer(&access, &[("isolation.level", "read_committed")]);
    consumer.assign(topic, 0);
    let polled = consumer.poll(count, PATIENCE);
    polled.records.iter().map(|record| record.text().to_owned()).collect()
}
