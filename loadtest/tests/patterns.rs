//! Subscriptions by regular expression (KIP-848): evaluated by the gateway, over what the identity may describe.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    GroupId,
};
use sluicegate_loadtest::client::Connection;
use sluicegate_loadtest::requests::topic_name;

use crate::support::clients::{Consumer, FAMILIES, Family, Record};
use crate::support::front::Front;
use crate::support::gateway::Setup;
use crate::support::kafka::Kafka;
use crate::support::tokens::{ALICE, BOB};
use crate::support::world::text;
use crate::support::{PATIENCE, unique};

const FENCED_MEMBER_EPOCH: i16 = 110;

/// ALICE does everything; BOB reads topics whose names are like `topics`, and any group but `not-his`.
fn policy(topics: &str) -> String {
    format!(
        r#"
@id("all") permit (principal in Group::"everything", action, resource);
@id("own") permit (principal in Group::"restricted", action in [Action::"Read", Action::"Describe"], resource is Topic)
when {{ resource.name like "{topics}" }};
@id("groups") permit (principal in Group::"restricted", action in [Action::"Read", Action::"Describe"],
  resource is ConsumerGroup) unless {{ resource.name == "not-his" }};
"#
    )
}

#[test]
fn clients_get_what_matches_and_may_be_read_and_later_what_is_made_or_allowed_later() {
    let prefix = unique("matched");
    let setup = Setup { policy: policy(&format!("{prefix}-open*")), ..Setup::default() };
    let Some(front) = Front::start(setup) else { return };
    let [first, second, closed] = ["open-1", "open-2", "closed"].map(|it| format!("{prefix}-{it}"));
    let elsewhere = unique("elsewhere");
    for topic in [&first, &closed, &elsewhere] {
        front.kafka.create_topic(topic, 1);
        write(&front, topic);
    }
    let consumers: Vec<(Family, String, Consumer)> = FAMILIES
        .map(|family| {
            let group = unique("by-pattern");
            let config = [
                ("group.id", group.as_str()),
                ("group.protocol", "consumer"),
                ("auto.offset.reset", "earliest"),
            ];
            let consumer = family.consumer(&front.access(&BOB), &config);
            consumer.subscribe(&[&format!("^{prefix}-.*")]).unwrap();
            (family, group, consumer)
        })
        .into();
    let comes = |topics: &[&str]| {
        for (family, group, consumer) in &consumers {
            let polled = consumer.poll(1, PATIENCE);
            let values: Vec<&str> = polled.records.iter().map(Record::text).collect();
            assert_eq!(values, topics[topics.len() - 1..], "{family:?}: {:?}", polled.error);
            // What the coordinator knows: names, and never the expression.
            assert_eq!(subscribed(front.kafka, group), owned(topics));
        }
    };
    comes(&[&first]);
    front.kafka.create_topic(&second, 1);
    write(&front, &second);
    comes(&[&first, &second]);
    front.gateway().replace_policy(&policy(&format!("{prefix}-*")));
    comes(&[&first, &second, &closed]);
    front.gateway().replace_policy(&policy(&format!("{prefix}-open-1")));
    for (family, group, consumer) in &consumers {
        let deadline = Instant::now() + PATIENCE;
        while subscribed(front.kafka, group) != owned(&[&first]) {
            assert!(Instant::now() < deadline, "{family:?} keeps what was taken from it");
            // Clients send heartbeats while they are polled. An error tells of a topic that was taken away.
            let polled = consumer.poll(1, Duration::from_secs(1));
            assert!(polled.records.is_empty(), "{family:?}");
        }
    }
}

/// A record that says its topic's name.
fn write(front: &Front, topic: &str) {
    let producer = Family::Java.producer(&front.access(&ALICE), &[]);
    assert!(producer.send(topic, &[Record::of(topic)]).iter().all(Result::is_ok));
}

fn describe(kafka: &Kafka, group: &str) -> DescribedGroup {
    let request =
        ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId(text(group))]);
    kafka.connect().call(1, &request).unwrap().groups.remove(0)
}

fn owned(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// What the only member of a group subscribes to, as the coordinator has it.
fn subscribed(kafka: &Kafka, group: &str) -> BTreeSet<String> {
    let described = describe(kafka, group);
    assert_eq!((described.error_code, described.members.len()), (0, 1), "{described:?}");
    let member = &described.members[0];
    assert_eq!(member.subscribed_topic_regex.as_deref().unwrap_or_default(), "", "{member:?}");
    member.subscribed_topic_names.iter().map(|name| name.to_string()).collect()
}

/// What a member says in a heartbeat.
#[derive(Clone, Copy, Default)]
struct Said<'a> {
    epoch: i32,
    names: Option<&'a [&'a str]>,
    pattern: Option<&'a str>,
}

fn beat(
    connection: &mut Connection,
    group: &str,
    said: Said<'_>,
) -> ConsumerGroupHeartbeatResponse {
    let names = said.names.map(|names| names.iter().map(|name| topic_name(name)).collect());
    let request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_member_id(text("AAAAAAAAAAAAAAAAAAAAAQ"))
        .with_member_epoch(said.epoch)
        .with_rebalance_timeout_ms(if said.epoch == 0 { 5_000 } else { -1 })
        .with_subscribed_topic_names(names)
        .with_subscribed_topic_regex(said.pattern.map(text))
        .with_topic_partitions((said.epoch == 0).then(Vec::new));
    connection.call(1, &request).unwrap()
}

#[test]
fn a_member_says_only_what_changes() {
    let prefix = unique("said");
    let setup = Setup { policy: policy(&format!("{prefix}-open*")), ..Setup::default() };
    let Some(front) = Front::start(setup) else { return };
    let [named, other, closed] = ["open-a", "open-b", "closed"].map(|it| format!("{prefix}-{it}"));
    for topic in [&named, &other, &closed] {
        front.kafka.create_topic(topic, 1);
    }
    let group = unique("changes");
    let know = |names: &[&str]| {
        assert_eq!(
            subscribed(front.kafka, &group),
            names.iter().copied().map(Into::into).collect()
        );
    };
    let pattern = format!("{prefix}-.*-?b");
    // Each on another connection: what was said is known to all shards.
    let mut epoch = 0;
    let mut say = |names: Option<&[&str]>, pattern| {
        let said = Said { epoch, names, pattern };
        let answer = beat(&mut front.connect_as(&BOB), &group, said);
        if answer.error_code == 0 {
            epoch = answer.member_epoch;
        }
        answer.error_code
    };
    assert_eq!(say(Some(&[&named]), Some(&pattern)), 0);
    know(&[&named, &other]);
    assert_eq!(say(None, None), 0);
    know(&[&named, &other]);
    assert_eq!(say(Some(&[]), None), 0);
    know(&[&other]);
    assert_eq!(say(Some(&[&named]), Some(".*-open-a|.*-closed")), 0);
    know(&[&named]);
    assert_eq!(say(None, Some("")), 0);
    know(&[&named]);
    // By names alone nothing is kept: the member is to begin again, and to say all.
    assert_eq!(say(None, Some(&pattern)), FENCED_MEMBER_EPOCH);
    know(&[&named]);
    let answer = beat(&mut front.connect_as(&BOB), &group, Said { epoch: -1, ..Said::default() });
    assert_eq!(answer.error_code, 0, "{answer:?}");
    assert!(describe(front.kafka, &group).members.is_empty());
}

#[test]
fn expressions_are_refused_as_kafka_refuses_them() {
    let setup = Setup { policy: policy("*"), ..Setup::default() };
    let Some(front) = Front::start(setup) else { return };
    let group = unique("refused");
    // A broker's answers, but for the text, to one who may do everything there.
    let mut kafka = front.kafka.connect();
    let mut gateway = front.connect_as(&BOB);
    for pattern in ["(", "[a", "a{2,1}", "(?=a)b", r"(a)\1", r"\Qa\E(", "a)|(?:b", "*"] {
        let said = Said { names: Some(&[]), pattern: Some(pattern), ..Said::default() };
        let answers = [&mut kafka, &mut gateway].map(|it| beat(it, &group, said).error_code);
        assert_eq!(answers, [128, 128], "`{pattern}`");
    }
    for pattern in
        ["", "a", r"\Qa.b\E.*", "a|b", r"[^.]+\.\w{1,3}", r"(?i)a", r"\pL+", r"\p{Greek}"]
    {
        let said = Said { names: Some(&[]), pattern: Some(pattern), ..Said::default() };
        let answers = [&mut kafka, &mut gateway].map(|it| beat(it, &group, said).error_code);
        assert_eq!(answers, [0, 0], "`{pattern}`");
    }
    let said = Said { names: Some(&[]), pattern: Some("("), ..Said::default() };
    let answer = beat(&mut gateway, "not-his", said);
    assert_eq!(answer.error_code, 30, "the group comes first: {answer:?}");
    let answer = beat(&mut gateway, &group, said);
    let told = answer.error_message.as_deref().unwrap_or_default();
    assert!(told.contains("regular expression"), "{answer:?}");
}
