//! Nothing is delivered that is not in the record, and the record can be read back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kafka_protocol::messages::FetchRequest;
use rustix::process::Signal;
use serde_json::Value;
use sluicegate_loadtest::config::PERMIT_ALL;
use sluicegate_loadtest::requests::{FETCH_VERSION, FetchBounds, fetch};

use crate::support::clients::{FAMILIES, Family, Record};
use crate::support::front::Front;
use crate::support::gateway::{Gateway, Setup};
use crate::support::records::batches;
use crate::support::tokens::{ALICE, Person};
use crate::support::{PATIENCE, unique};

const READER: Person = Person { name: "rita", groups: &["readers"] };

/// The sessions of one person, newest last, as `sessions list` has them once `enough` says so.
pub fn sessions_of(
    gateway: &Gateway,
    person: &Person,
    enough: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (text, code) = gateway.run(&["sessions", "list", "-o", "json"]);
        assert_eq!(code, 0, "{text}");
        let all: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        let own = |session: &Value| {
            session["principal"]
                .as_str()
                .is_some_and(|name| name.ends_with(&format!("|{}", person.name)))
        };
        let found: Vec<Value> = all.into_iter().filter(own).collect();
        if enough(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "not in the record: {text}");
        // The index follows the record within a second; there is nothing to await.
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub fn replay(gateway: &Gateway, session: &Value) -> Vec<Value> {
    let id = session["session"].as_str().unwrap();
    let (text, code) = gateway.run(&["replay", id, "-o", "json"]);
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))
}

/// The offsets of a topic that a session was given, by its entries.
fn delivered_offsets(entries: &[Value], topic: &str) -> BTreeSet<i64> {
    let mut offsets = BTreeSet::new();
    for entry in entries.iter().filter(|entry| entry["kind"] == "delivered") {
        for resource in entry["resources"].as_array().unwrap() {
            if resource["name"] == topic && resource["positions"].is_object() {
                let first = resource["positions"]["first"].as_i64().unwrap();
                let last = resource["positions"]["last"].as_i64().unwrap();
                offsets.extend(first..=last);
            }
        }
    }
    offsets
}

#[test]
fn a_session_is_listed_and_replayed_beside_the_gateway_and_after_it() {
    let Some(front) = Front::start(Setup::default()) else { return };
    let gateway = front.gateway();
    for family in FAMILIES {
        let person = Person {
            name: if family == Family::Java { "jane" } else { "pete" },
            groups: &["readers"],
        };
        let topic = unique("recorded");
        front.kafka.create_topic(&topic, 1);
        let access = front.access(&person);
        let sent: Vec<Record> =
            (0..30).map(|number| Record::of(format!("value {number}"))).collect();
        assert!(family.producer(&access, &[]).send(&topic, &sent).iter().all(Result::is_ok));
        let consumer = family.consumer(&access, &[]);
        consumer.assign(&topic, 0);
        assert_eq!(consumer.poll(30, PATIENCE).records.len(), 30, "{family:?}");
        let sessions = sessions_of(gateway, &person, |found| !found.is_empty());
        let entries: Vec<Value> =
            sessions.iter().flat_map(|session| replay(gateway, session)).collect();
        assert_eq!(delivered_offsets(&entries, &topic), (0..30).collect(), "{family:?}");
        let text = serde_json::to_string(&entries).unwrap();
        // As produced, and as delivered.
        assert!(text.matches("value 29").count() >= 2, "{family:?}: {text}");
        assert!(entries.iter().any(|entry| entry["kind"] == "produced"), "{family:?}");
    }
    gateway.process.signal(Signal::TERM);
    assert_eq!(gateway.process.await_exit(PATIENCE), Some(0));
    let (text, code) = gateway.run(&["verify"]);
    assert_eq!(code, 0, "{text}");
    let jane = Person { name: "jane", groups: &[] };
    let sessions = sessions_of(gateway, &jane, |found| !found.is_empty());
    assert!(!replay(gateway, &sessions[0]).is_empty());
}

#[test]
fn a_masked_record_is_replayed_masked() {
    let topic = unique("secret");
    let policy = "@id(\"use\") permit (principal, action in [Action::\"Read\", Action::\"Write\", \
                  Action::\"Describe\", Action::\"IdempotentWrite\"], resource);\n";
    let masks = format!(
        "labels:\n  pci: {{ method: keep-last, n: 4 }}\nrules:\n  - topics: [{topic}]\n    \
         format: json\n    fields: {{ card: pci }}\n"
    );
    let setup = Setup { policy: policy.to_owned(), masks, ..Setup::default() };
    let Some(front) = Front::start(setup) else { return };
    front.kafka.create_topic(&topic, 1);
    let value = r#"{"card":"5500000000000004","shop":"corner"}"#;
    Family::Java
        .producer(&front.access(&ALICE), &[])
        .send(&topic, &[Record::of(value)])
        .remove(0)
        .unwrap();
    let consumer = Family::Java.consumer(&front.access(&READER), &[]);
    consumer.assign(&topic, 0);
    let received = consumer.poll(1, PATIENCE).records.remove(0);
    let masked = r#"{"card":"************0004","shop":"corner"}"#;
    assert_eq!(received.text(), masked);
    let sessions = sessions_of(front.gateway(), &READER, |found| !found.is_empty());
    let entries = replay(front.gateway(), &sessions[0]);
    let text = serde_json::to_string(&entries).unwrap();
    assert!(text.contains("************0004") && text.contains("corner"), "{text}");
    assert!(!text.contains("5500000000000004"), "{text}");
}

#[test]
fn a_denied_request_is_in_the_record() {
    let policy = "@id(\"none\") permit (principal in Group::\"others\", action == Action::\"Read\", \
                  resource);\n";
    let setup = Setup { policy: policy.to_owned(), ..Setup::default() };
    let Some(front) = Front::start(setup) else { return };
    let topic = unique("denied");
    front.kafka.create_topic(&topic, 1);
    let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 1 << 20 };
    let mut connection = front.connect_as(&READER);
    let answer = connection.call(FETCH_VERSION, &fetch(bounds, &[(&topic, 0, 0)])).unwrap();
    assert_eq!(answer.responses[0].partitions[0].error_code, 29);
    let sessions = sessions_of(front.gateway(), &READER, |found| {
        found.iter().any(|session| session["denials"].as_u64() > Some(0))
    });
    let entries = replay(front.gateway(), &sessions[0]);
    let denial = |entry: &&Value| {
        entry["kind"] == "denial" && entry["resources"][0]["name"].as_str() == Some(&topic)
    };
    let denial = entries.iter().find(denial).unwrap_or_else(|| panic!("{entries:?}"));
    assert_eq!(denial["outcome"], "deny", "{denial}");
    assert_eq!(denial["request"]["name"], "Fetch", "{denial}");
}

#[test]
fn killed_under_load_nothing_delivered_is_missing_from_the_record() {
    let Some(mut front) = Front::start(Setup::default()) else { return };
    let topic = unique("killed");
    front.kafka.create_topic_with(&topic, 1, &[("segment.bytes", "104857600")]);
    let access = front.access(&ALICE);
    let config = [("linger.ms", "5"), ("batch.size", "16384")];
    let generated = Family::Java.producer(&access, &config).generate(&topic, 60_000, 500);
    assert_eq!(generated.acknowledged, 60_000, "{generated:?}");
    for round in 0..5_u64 {
        let mut reader = front.connect_as(&READER);
        let mut delivered = BTreeSet::new();
        let bounds = FetchBounds { wait_ms_max: 100, bytes_min: 1, bytes_max: 64 * 1024 };
        let killed_at = Instant::now() + Duration::from_millis(20 + 35 * round);
        let gateway = front.gateway();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(killed_at.saturating_duration_since(Instant::now()));
                gateway.process.signal(Signal::KILL);
            });
            // From the beginning, again and again, until the connection dies.
            let mut next = 0;
            loop {
                let request = fetch(bounds, &[(&topic, 0, next)]);
                if reader.send(FETCH_VERSION, &request).is_err() {
                    break;
                }
                let Ok((_, answer)) = reader.receive::<FetchRequest>(FETCH_VERSION) else { break };
                let partition = &answer.responses[0].partitions[0];
                let records = partition.records.clone().unwrap_or_default();
                for batch in batches(&records) {
                    let base = i64::from_be_bytes(batch[..8].try_into().unwrap());
                    let delta = i32::from_be_bytes(batch[23..27].try_into().unwrap());
                    delivered.extend(base..=base + i64::from(delta));
                    next = base + i64::from(delta) + 1;
                }
                if next >= partition.high_watermark {
                    next = 0;
                }
            }
        });
        assert_eq!(gateway.process.await_exit(PATIENCE), Some(128 + 9));
        let (text, code) = gateway.run(&["verify"]);
        assert_eq!(code, 0, "round {round}: {text}");
        // Every session of the reader, because each round is one of its own.
        let sessions = sessions_of(gateway, &READER, |found| !found.is_empty());
        let entries: Vec<Value> =
            sessions.iter().flat_map(|session| replay(gateway, session)).collect();
        let recorded = delivered_offsets(&entries, &topic);
        let missing: Vec<&i64> = delivered.difference(&recorded).take(5).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?} of {}", delivered.len());
        front.gateway.as_mut().unwrap().restart();
        let (text, code) = front.gateway().run(&["verify"]);
        assert_eq!(code, 0, "round {round}, running again: {text}");
    }
}

#[test]
fn payloads_are_left_out_where_policy_says_so_and_nothing_else_is() {
    let (bulk, topic) = (unique("bulk"), unique("kept"));
    let policy = format!(
        "{PERMIT_ALL}@id(\"bulk\") permit (principal, action == Action::\"skipPayload\", \
         resource in Topic::\"{bulk}\");\n"
    );
    let Some(front) = Front::start(Setup { policy, ..Setup::default() }) else { return };
    let family = FAMILIES[0];
    let producer = family.producer(&front.access(&ALICE), &[]);
    let config = [("group.id", bulk.as_str()), ("auto.offset.reset", "earliest")];
    let consumer = family.consumer(&front.access(&ALICE), &config);
    for name in [&bulk, &topic] {
        front.kafka.create_topic(name, 1);
        producer.send(name, &[Record::of(format!("of {name}"))]).remove(0).unwrap();
    }
    consumer.subscribe(&[&bulk, &topic]).unwrap();
    assert_eq!(consumer.poll(2, PATIENCE).records.len(), 2);
    let gateway = front.gateway();
    let entries_of = |sessions: &[Value]| -> Vec<Value> {
        sessions.iter().flat_map(|session| replay(gateway, session)).collect()
    };
    let sessions = sessions_of(gateway, &ALICE, |sessions| {
        let entries = entries_of(sessions);
        [&bulk, &topic].iter().all(|name| delivered_offsets(&entries, name).contains(&0))
    });
    let text = serde_json::to_string(&entries_of(&sessions)).unwrap();
    assert!(text.contains(&format!("of {topic}")), "{text}");
    assert!(!text.contains(&format!("of {bulk}")), "{text}");
}
