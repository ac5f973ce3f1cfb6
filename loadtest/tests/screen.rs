//! What is written is masked before any broker has it where a rule says so, and is refused, with Kafka's own error, where it
//! is not what its topic demands.

use sluicegate_loadtest::requests::{PRODUCE_VERSION, batch, produce};

use crate::support::clients::{FAMILIES, Record};
use crate::support::front::{Front, end_of};
use crate::support::gateway::Setup;
use crate::support::tokens::{ALICE, Person};
use crate::support::{PATIENCE, unique};

const CARD: &str = "4111111111111111";
/// May write cards as they are.
const CASHIER: Person = Person { name: "cash", groups: &["cashiers"] };

fn setup(masked: &str, checked: &str) -> Setup {
    let policy = r#"
@id("use") permit (principal, action in [Action::"Read", Action::"Write", Action::"Describe"], resource);
@id("idempotent") permit (principal, action == Action::"IdempotentWrite", resource);
@id("cards") permit (principal in Group::"cashiers", action == Action::"unmask", resource == Label::"pci");
"#;
    let masks = format!(
        r#"
labels:
  pci: {{ method: keep-last, n: 4 }}
rules:
  - topics: [{masked}]
    on: [write]
    fields: {{ card.number: pci }}
    detect: {{ pci: [payment-card] }}
  - topics: [{checked}]
    validate:
      json-schema: '{{"type":"object","required":["id"],"properties":{{"id":{{"type":"integer"}},"name":{{"type":"string","maxLength":5}}}}}}'
"#
    );
    Setup { policy: policy.to_owned(), masks, ..Setup::default() }
}

fn record(value: &str) -> Record {
    Record { partition: Some(0), ..Record::of(value) }
}

#[test]
fn sensitive_data_never_reaches_the_broker() {
    let (masked, checked) = (unique("written"), unique("checked"));
    let Some(front) = Front::start(setup(&masked, &checked)) else { return };
    front.kafka.create_topic(&masked, 1);
    let document = format!(r#"{{ "id":1.50, "card":{{"number":"{CARD}"}}, "note":"by {CARD}" }}"#);
    let starred = document.replace(CARD, "************1111");
    let mut expected = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for family in FAMILIES {
            let config =
                [("compression.type", codec), ("linger.ms", "50"), ("enable.idempotence", "true")];
            let producer = family.producer(&front.access(&ALICE), &config);
            let sent: Vec<Record> = (0..50).map(|_| record(&document)).collect();
            let sent = producer.send(&masked, &sent);
            assert!(sent.iter().all(Result::is_ok), "{family:?} {codec}: {sent:?}");
            expected.extend(std::iter::repeat_n(starred.clone(), 50));
        }
    }
    // Without acknowledgements, too.
    let quiet = FAMILIES[0].producer(&front.access(&ALICE), &[("acks", "0")]);
    assert!(quiet.send(&masked, &[record(&document)]).iter().all(Result::is_ok));
    quiet.close().unwrap();
    expected.push(starred);
    // Who may see the label may write it.
    let cashier = FAMILIES[0].producer(&front.access(&CASHIER), &[]);
    assert!(cashier.send(&masked, &[record(&document)]).iter().all(Result::is_ok));
    expected.push(document);
    // What cannot be read cannot be masked; it is not lost, it is not written.
    for family in FAMILIES {
        let producer = family.producer(&front.access(&ALICE), &[("enable.idempotence", "true")]);
        let error = producer.send(&masked, &[record("no json")]).remove(0).unwrap_err();
        assert!(!error.retriable, "{error:?}");
        assert!(
            error.name.contains("INVALID_RECORD") || error.message.contains("cannot be read"),
            "{error:?}"
        );
        let sent = producer.send(&masked, &[record("{}")]);
        assert!(sent.iter().all(Result::is_ok), "{family:?} goes on: {sent:?}");
        expected.push("{}".to_owned());
    }
    // The rule does not hold for reading: this is what is there.
    let access = front.access(&ALICE);
    for family in FAMILIES {
        let consumer = family.consumer(&access, &[("check.crcs", "true")]);
        consumer.assign(&masked, 0);
        let polled = consumer.poll(expected.len(), PATIENCE);
        let texts: Vec<&str> = polled.records.iter().map(Record::text).collect();
        assert_eq!(texts, expected, "{family:?}: {:?}", polled.error);
    }
    let (text, code) = front.gateway().run(&["verify"]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn invalid_records_are_refused_with_their_index() {
    let (masked, checked) = (unique("written"), unique("checked"));
    let Some(front) = Front::start(setup(&masked, &checked)) else { return };
    front.kafka.create_topic(&checked, 2);
    let mut connection = front.connect_as(&ALICE);
    let good = br#"{"id":1,"name":"Ann"}"#;
    let bad: [&[u8]; 3] =
        [br#"{"id":1,"name":"a secret name"}"#, br#"{"name":"Ann"}"#, b"{\"id\":1"];
    let values: Vec<&[u8]> = vec![good, bad[0], good, bad[1], bad[2]];
    let batches = [
        (checked.as_str(), 0, batch(values.iter().map(|value| value.to_vec())).unwrap()),
        (checked.as_str(), 1, batch([good.to_vec()]).unwrap()),
    ];
    let request = produce(-1, &batches);
    let answer = connection.call(PRODUCE_VERSION, &request).unwrap();
    let partitions = &answer.responses[0].partition_responses;
    assert_eq!(answer.responses.len(), 1, "{answer:?}");
    let of = |index: i32| partitions.iter().find(|it| it.index == index).unwrap();
    assert_eq!((of(1).error_code, of(1).base_offset), (0, 0), "{answer:?}");
    assert_eq!(of(0).error_code, 87, "{answer:?}");
    let message = of(0).error_message.as_deref().unwrap();
    assert_eq!(
        message,
        "record 1: /name: value is longer than 5 characters. Nothing of the batch was written."
    );
    let told: Vec<(i32, &str)> = of(0)
        .record_errors
        .iter()
        .map(|it| (it.batch_index, it.batch_index_error_message.as_deref().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (1, "/name: value is longer than 5 characters"),
            (3, "/: \"id\" is a required property"),
            (4, "it is not one JSON document (line 1, column 7; at most 128 deep)"),
        ]
    );
    assert!(!format!("{answer:?}").contains("secret"));
    assert_eq!(end_of(&mut front.kafka.connect(), &checked), 0, "nothing of the batch was written");

    for family in FAMILIES {
        // Transactions and idempotent producers go on after a refused batch, without a gap or a duplicate.
        let id = unique("transaction");
        let config = [("transactional.id", id.as_str())];
        let producer = family.producer(&front.access(&ALICE), &config);
        producer.init_transactions().unwrap();
        producer.begin_transaction().unwrap();
        let error = producer.send(&checked, &[record("[]")]).remove(0).unwrap_err();
        assert!(
            error.message.contains("object") || error.name.contains("INVALID_RECORD"),
            "{error:?}"
        );
        producer.abort_transaction().unwrap();
        // librdkafka gets a new epoch behind the abort, and may purge once more what is queued meanwhile.
        let committed = (0..5).any(|_| {
            producer.begin_transaction().unwrap();
            let sent = producer.send(&checked, &[record(r#"{"id":7}"#)]);
            let is_sent = sent.iter().all(Result::is_ok);
            eprintln!("{family:?}: {sent:?}");
            if is_sent {
                producer.commit_transaction().unwrap();
            } else {
                producer.abort_transaction().unwrap();
            }
            is_sent
        });
        assert!(committed, "{family:?}: no transaction succeeds after a refused batch");
        let idempotent = [("enable.idempotence", "true"), ("linger.ms", "0")];
        let producer = family.producer(&front.access(&ALICE), &idempotent);
        for round in 0..5 {
            let sent = producer.send(&checked, &[record(r#"{"id":8}"#)]);
            assert!(sent.iter().all(Result::is_ok), "{family:?} round {round}: {sent:?}");
            assert!(producer.send(&checked, &[record("{}")]).remove(0).is_err());
        }
    }
    for family in FAMILIES {
        let config = [("isolation.level", "read_committed")];
        let consumer = family.consumer(&front.access(&ALICE), &config);
        consumer.assign(&checked, 0);
        let polled = consumer.poll(2 * 6, PATIENCE);
        let texts: Vec<&str> = polled.records.iter().map(Record::text).collect();
        let one = [
            r#"{"id":7}"#,
            r#"{"id":8}"#,
            r#"{"id":8}"#,
            r#"{"id":8}"#,
            r#"{"id":8}"#,
            r#"{"id":8}"#,
        ];
        assert_eq!(texts, [one, one].concat(), "{family:?}: {:?}", polled.error);
    }
}
