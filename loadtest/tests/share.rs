//! Share groups (KIP-932): read by right, masked and recorded like a fetch, in sessions that are nobody else's.

use std::time::{Duration, Instant};

use kafka_protocol::messages::share_fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{GroupId, ShareFetchRequest};
use sluicegate_loadtest::client::Connection;
use sluicegate_loadtest::requests::{METADATA_VERSION, batch, metadata, produce, topic_name};
use uuid::Uuid;

use crate::support::PATIENCE;
use crate::support::front::Front;
use crate::support::gateway::Setup;
use crate::support::kafka::HIDDEN_HOST;
use crate::support::tokens::{ALICE, BOB};
use crate::support::tools::run;
use crate::support::unique;
use crate::support::world::text;

const CONFIGS: &str = "kafka.admin.ConfigCommand";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleShareConsumer";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ShareGroupCommand";

const CARD: &str = "4111111111111111";

/// SHARE_SESSION_NOT_FOUND, TOPIC_AUTHORIZATION_FAILED
const NO_SESSION: i16 = 122;
const DENIED: i16 = 29;

fn permit(topic: &str) -> String {
    format!(
        r#"
@id("all") permit (principal in Group::"everything", action, resource);
@id("cards") permit (principal in Group::"everything", action == Action::"unmask", resource == Label::"pci");
@id("read") permit (principal in Group::"restricted", action == Action::"Read", resource in Topic::"{topic}");
@id("groups") permit (principal in Group::"restricted", action == Action::"Read", resource is ConsumerGroup);
"#
    )
}

fn setup(topic: &str) -> Setup {
    let masks = format!(
        "labels:\n  pci: {{ method: keep-last, n: 4 }}\nrules:\n  - topics: [{topic}]\n    format: json\n    \
         fields: {{ card: pci }}\n"
    );
    Setup { policy: permit(topic), masks, ..Setup::default() }
}

fn fill(front: &Front, topic: &str) {
    front.kafka.create_topic(topic, 1);
    let value = format!(r#"{{"card":"{CARD}"}}"#);
    let records = batch(vec![value.into_bytes(); 3]).unwrap();
    let answer = front.kafka.connect().call(12, &produce(-1, &[(topic, 0, records)])).unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
}

#[test]
fn kafkas_share_consumer_reads_what_it_may_and_masked_where_it_must() {
    let topic = unique("shared");
    let Some(front) = Front::start(setup(&topic)) else { return };
    fill(&front, &topic);
    for (person, seen) in [(&ALICE, CARD), (&BOB, "************1111")] {
        let group = unique("share");
        let earliest = "share.auto.offset.reset=earliest";
        let of_group =
            ["--alter", "--entity-type", "groups", "--entity-name", &group, "--add-config"];
        run(CONFIGS, &front.access(&ALICE), &[&of_group[..], &[earliest]].concat())
            .assert_prints(&[]);
        let read =
            ["--topic", &topic, "--group", &group, "--max-messages", "3", "--timeout-ms", "30000"];
        let printed = run(CONSUMER, &front.access(person), &read);
        printed.assert_prints(&[
            &format!(r#"{{"card":"{seen}"}}"#),
            "Processed a total of 3 messages",
        ]);
        run(GROUPS, &front.access(&ALICE), &["--list"]).assert_prints(&[&group]);
        let described = run(GROUPS, &front.access(&ALICE), &["--describe", "--group", &group]);
        described.assert_prints(&[&topic]);
        described.assert_hides(&[HIDDEN_HOST]);
        let refused = run(GROUPS, &front.access(&BOB), &["--delete", "--group", &group]);
        assert!(refused.text.contains("GroupAuthorizationException"), "{}", refused.text);
    }
    let listed = front.gateway().run(&["sessions", "list", "-o", "json"]).0;
    let sessions: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let replays = sessions.as_array().unwrap().iter().map(|session| {
        front.gateway().run(&["replay", session["session"].as_str().unwrap(), "-o", "json"]).0
    });
    let delivered = replays.filter(|text| text.contains("ShareFetch") && text.contains(&topic));
    assert!(delivered.count() >= 2, "{listed}");
}

struct Member<'a> {
    group: &'a str,
    member: String,
    topic: Uuid,
}

impl Member<'_> {
    /// The code of the whole, and of the partition where the answer has it.
    fn fetch(&self, connection: &mut Connection, epoch: i32, names: bool) -> (i16, Option<i16>) {
        let partition = FetchPartition::default().with_partition_index(0);
        let topic =
            FetchTopic::default().with_topic_id(self.topic).with_partitions(vec![partition]);
        let request = ShareFetchRequest::default()
            .with_group_id(Some(GroupId(text(self.group))))
            .with_member_id(Some(text(&self.member)))
            .with_share_session_epoch(epoch)
            .with_max_bytes(1 << 20)
            .with_max_records(10)
            .with_batch_size(10)
            .with_topics(if names { vec![topic] } else { Vec::new() });
        let answer = connection.call(1, &request).unwrap();
        let code = answer.responses.first().map(|topic| topic.partitions[0].error_code);
        (answer.error_code, code)
    }
}

#[test]
fn a_share_session_is_the_connection_s_and_ends_with_the_right() {
    let topic = unique("session");
    let Some(front) = Front::start(setup(&topic)) else { return };
    fill(&front, &topic);
    let known = front.kafka.connect().call(METADATA_VERSION, &metadata(Some(&[&topic]))).unwrap();
    assert_eq!(known.topics[0].name, Some(topic_name(&topic)));
    let group = unique("share");
    let member = Member {
        group: &group,
        member: Uuid::from_u128(7).to_string(),
        topic: known.topics[0].topic_id,
    };
    let (mut own, mut strange) = (front.connect_as(&BOB), front.connect_as(&ALICE));
    // The share coordinator makes its topic when it is asked first.
    let deadline = Instant::now() + PATIENCE;
    while member.fetch(&mut own, 0, true).0 != 0 {
        assert!(Instant::now() < deadline, "{:?}", member.fetch(&mut own, 0, true));
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(member.fetch(&mut own, 1, false).0, 0);
    assert_eq!(member.fetch(&mut strange, 2, false).0, NO_SESSION, "a stranger goes on with it");
    assert_eq!(member.fetch(&mut own, 2, false).0, 0, "the stranger has ended it");
    front.gateway().replace_policy(&permit("another"));
    let deadline = Instant::now() + PATIENCE;
    let mut epoch = 3;
    loop {
        match member.fetch(&mut own, epoch, false).0 {
            0 => epoch += 1,
            code => break assert_eq!(code, NO_SESSION),
        }
        assert!(Instant::now() < deadline, "it goes on without the right");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(member.fetch(&mut own, 0, true), (0, Some(DENIED)));
}
