//! Records by a schema of a registry are masked so that readers with the schema can read them; where the schema cannot be
//! had, nothing of them is seen.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluicegate_loadtest::registry::{TestRegistry, Trouble};

use crate::support::clients::{ClientError, FAMILIES, Family, Record, Serdes};
use crate::support::front::Front;
use crate::support::gateway::Setup;
use crate::support::tokens::{ALICE, Person};
use crate::support::{PATIENCE, unique};

const CARD: &str = "4111111111111111";
const STARRED: &str = "************1111";
const EMAIL: &str = "anna@example.com";
const WITHHELD: &str = r#"{"x-masked":"withheld"}"#;
/// May see cards and persons.
const CASHIER: Person = Person { name: "cash", groups: &["cashiers"] };

const POLICY: &str = r#"
@id("use") permit (principal, action in [Action::"Read", Action::"Write", Action::"Describe"], resource);
@id("idempotent") permit (principal, action == Action::"IdempotentWrite", resource);
@id("labels") permit (principal in Group::"cashiers", action == Action::"unmask", resource);
"#;
const LABELS: &str = "labels:
  pci: { method: keep-last, n: 4 }
  pii: { method: redact }
rules:
";

fn setup(registry: &TestRegistry, rules: &str) -> Setup {
    Setup {
        policy: POLICY.to_owned(),
        masks: format!("{LABELS}{rules}"),
        registry: Some(registry.url()),
        ..Setup::default()
    }
}

/// What is asked for of serialisers for one format: as `Serdes` in `clients/python/serdes.py` takes it.
fn request(registry: &TestRegistry, format: &str, in_headers: bool) -> Value {
    let (schema, references) = match format {
        "AVRO" => {
            let card = json!({"type": "record", "name": "Card", "namespace": "example",
                "fields": [{"name": "number", "type": "string"}, {"name": "month", "type": "int"}]});
            let card = registry.register("example.Card", "AVRO", &card.to_string(), &json!([]));
            let schema = json!({"type": "record", "name": "Payment", "namespace": "example", "fields": [
                {"name": "id", "type": "long"},
                {"name": "cards", "type": {"type": "array", "items": "example.Card"}},
                {"name": "note", "type": ["null", "string"]},
                {"name": "by", "type": {"type": "map", "values": "string"}},
                {"name": "amount", "type": "double"},
                {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["none", "sale"]}},
            ]});
            let reference = json!([{"name": "example.Card", "subject": "example.Card", "version": card.version}]);
            (json!(schema.to_string()), reference)
        }
        "JSON" => {
            let card = json!({"type": "object", "properties": {"number": {"type": "string"}}});
            let card = registry.register("card", "JSON", &card.to_string(), &json!([]));
            let schema = json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
                "properties": {"id": {"type": "integer"},
                    "cards": {"type": "array", "items": {"$ref": "card.json"}}},
                "required": ["id"]});
            let reference =
                json!([{"name": "card.json", "subject": "card", "version": card.version}]);
            (json!(schema.to_string()), reference)
        }
        _ => {
            let field = |name: &str,
                         number: u32,
                         kind: &str,
                         type_name: Option<&str>,
                         is_list: bool| {
                let label = if is_list { "LABEL_REPEATED" } else { "LABEL_OPTIONAL" };
                json!({"name": name, "number": number, "type": kind, "typeName": type_name, "label": label})
            };
            let card = json!({"name": "card.proto", "package": "example", "syntax": "proto3", "messageType": [
                {"name": "Card", "field": [
                    field("number", 1, "TYPE_STRING", None, false), field("month", 2, "TYPE_INT32", None, false)]}]});
            let entry = json!({"name": "ByEntry", "options": {"mapEntry": true}, "field": [
                field("key", 1, "TYPE_STRING", None, false), field("value", 2, "TYPE_STRING", None, false)]});
            let payment = json!({"name": "payment.proto", "package": "example", "syntax": "proto3",
                "dependency": ["card.proto"],
                "messageType": [{"name": "Payment", "nestedType": [entry], "field": [
                    field("id", 1, "TYPE_INT64", None, false),
                    field("cards", 2, "TYPE_MESSAGE", Some(".example.Card"), true),
                    field("note", 3, "TYPE_STRING", None, false),
                    field("by", 4, "TYPE_MESSAGE", Some(".example.Payment.ByEntry"), true),
                    field("amount", 5, "TYPE_DOUBLE", None, false),
                    field("kind", 6, "TYPE_ENUM", Some(".example.Kind"), false)]}],
                "enumType": [{"name": "Kind", "value": [{"name": "none", "number": 0}, {"name": "sale", "number": 1}]}]});
            (json!([card, payment]), json!([]))
        }
    };
    json!({
        "registry": registry.url(),
        "format": format,
        "schema": schema,
        "references": references,
        "in_headers": in_headers,
    })
}

fn document(number: usize) -> Value {
    json!({
        "id": number + 1, "cards": [{"number": CARD, "month": 7}, {"number": "", "month": 8}],
        "note": format!("by {EMAIL}, twice"), "by": {"name": "Anna", "place": "Ulm"}, "amount": 2.5, "kind": "sale",
    })
}

/// The same as whoever may see no label reads it.
fn masked(number: usize) -> Value {
    let mut document = document(number);
    document["cards"][0]["number"] = json!(STARRED);
    document["note"] = json!("by [masked], twice");
    document["by"]["name"] = json!("[masked]");
    document
}

/// Documents as a reader of the format sees them: Protobuf's JSON has numbers of 64 bits as text, and no empty fields.
fn seen(format: &str, mut document: Value) -> Value {
    if format == "PROTOBUF" {
        document["id"] = json!(document["id"].to_string());
        document["cards"][1].as_object_mut().unwrap().remove("number");
    }
    document
}

fn polled(
    front: &Front,
    person: &Person,
    family: Family,
    topic: &str,
    count: usize,
) -> Vec<Record> {
    let consumer = family.consumer(&front.access(person), &[("check.crcs", "true")]);
    consumer.assign(topic, 0);
    let polled = consumer.poll(count, PATIENCE);
    assert_eq!(polled.records.len(), count, "{family:?}: {:?}", polled.error);
    polled.records
}

fn read(serdes: &Serdes, topic: &str, records: &[Record]) -> Vec<Value> {
    serdes.deserialise(topic, records).into_iter().map(Result::unwrap).collect()
}

#[test]
fn readers_with_a_schema_read_what_is_masked() {
    let registry = TestRegistry::start().unwrap();
    let topics: Vec<(String, &str, bool)> = ["AVRO", "JSON", "PROTOBUF"]
        .into_iter()
        .flat_map(|format| [(format, false), (format, true)])
        .map(|(format, in_headers)| (unique(&format.to_lowercase()), format, in_headers))
        .collect();
    let rules = topics.iter().map(|(topic, format, _)| {
        let format = if *format == "JSON" { "json-schema".to_owned() } else { format.to_lowercase() };
        format!(
            "  - topics: [{topic}]\n    format: {format}\n    key-format: {format}\n    fields: {{ cards.number: pci, by.name: pii }}\n    \
             detect: {{ pii: [email] }}\n"
        )
    });
    let Some(front) = Front::start(setup(&registry, &rules.collect::<String>())) else { return };
    for (topic, format, in_headers) in &topics {
        front.kafka.create_topic(topic, 1);
        let serdes = Family::Python.serdes(request(&registry, format, *in_headers));
        let documents: Vec<Value> = (0..50).map(document).collect();
        let sent = serdes.serialise(topic, &documents, &documents);
        assert_eq!(sent[0].headers.is_empty(), !in_headers, "{format}");
        for codec in ["none", "zstd"] {
            let producer =
                Family::Java.producer(&front.access(&ALICE), &[("compression.type", codec)]);
            assert!(producer.send(topic, &sent).iter().all(Result::is_ok));
        }
        let both = |of: fn(usize) -> Value| -> Vec<Value> {
            let one = |number| {
                let document = seen(format, of(number));
                json!({"key": document, "value": document})
            };
            (0..50).chain(0..50).map(one).collect()
        };
        for family in FAMILIES {
            let records = polled(&front, &ALICE, family, topic, 100);
            assert_eq!(
                read(&serdes, topic, &records),
                both(masked),
                "{family:?} {format} {in_headers}"
            );
            let bytes: Vec<u8> = records.iter().flat_map(|it| it.value.clone().unwrap()).collect();
            assert!(!String::from_utf8_lossy(&bytes).contains(CARD));
            for (record, sent) in records.iter().zip(sent.iter().chain(&sent)) {
                assert_eq!(record.headers, sent.headers, "what names the schema stays");
            }
            let records = polled(&front, &CASHIER, family, topic, 100);
            assert_eq!(read(&serdes, topic, &records), both(document), "{family:?} {format}");
        }
    }
    let (text, code) = front.gateway().run(&["verify"]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn what_has_no_schema_is_withheld() {
    let registry = TestRegistry::start().unwrap();
    let (topic, nullified) = (unique("withheld"), unique("nullified"));
    let rules = format!(
        "  - {{ topics: [{topic}, {nullified}], format: avro, fields: {{ cards.number: pci }} }}\n  \
         - {{ topics: [{nullified}], unreadable: nullify, detect: {{ pii: [email] }} }}\n"
    );
    let Some(front) = Front::start(setup(&registry, &rules)) else { return };
    let serdes = Family::Python.serdes(request(&registry, "AVRO", false));
    let good = serdes.serialise(&topic, &[document(1)], &[]).remove(0);
    let whole = good.value.clone().unwrap();
    let cut = whole[..whole.len() - 1].to_vec();
    let unknown = [&[0, 0, 0, 3, 77], &whole[5..]].concat();
    let json_schema = registry.register("other", "JSON", "{}", &json!([])).id.to_be_bytes();
    let other_format = [&[0], &json_schema[..], br#"{"card":"4111111111111111"}"#].concat();
    let plain = format!(r#"{{"cards":{{"number":"{CARD}"}}}}"#).into_bytes();
    let bad = [cut, unknown, other_format, plain, Vec::new(), vec![0, 0]];
    let mut sent: Vec<Record> = bad.into_iter().map(Record::of).collect();
    sent.push(good.clone());
    let expected = |withheld: Option<&str>| -> Vec<Option<Vec<u8>>> {
        let instead = withheld.map(|text| text.as_bytes().to_vec());
        std::iter::repeat_n(instead, sent.len() - 1).collect()
    };
    for (topic, withheld) in [(&topic, Some(WITHHELD)), (&nullified, None)] {
        front.kafka.create_topic(topic, 1);
        let producer = Family::Java.producer(&front.access(&ALICE), &[("linger.ms", "100")]);
        assert!(producer.send(topic, &sent).iter().all(Result::is_ok));
        for family in FAMILIES {
            let records = polled(&front, &ALICE, family, topic, sent.len());
            let (last, others) = records.split_last().unwrap();
            let others: Vec<Option<Vec<u8>>> = others.iter().map(|it| it.value.clone()).collect();
            assert_eq!(others, expected(withheld), "{family:?}");
            assert_eq!(
                read(&serdes, topic, std::slice::from_ref(last))[0]["cards"][0]["number"],
                STARRED
            );
        }
    }
}

#[test]
fn an_unreachable_registry_withholds_and_comes_back() {
    let registry = TestRegistry::start().unwrap();
    let stem = unique("unreachable");
    let rules =
        format!("  - {{ topics: [{stem}.*], format: avro, fields: {{ cards.number: pci }} }}\n");
    let Some(front) = Front::start(setup(&registry, &rules)) else { return };
    let trouble = [
        Trouble { answer: Some((500, "no".to_owned())), ..Trouble::default() },
        // Longer than the gateway waits.
        Trouble { delay: Duration::from_secs(10), ..Trouble::default() },
    ];
    for (number, trouble) in trouble.into_iter().enumerate() {
        let (topic, clear) = (format!("{stem}.{number}"), unique("clear"));
        let mut request = request(&registry, "AVRO", false);
        // One that the gateway has not met.
        let schema = request["schema"].as_str().unwrap().replace("Payment", &format!("P{number}"));
        request["schema"] = json!(schema);
        let serdes = Family::Python.serdes(request);
        let sent = serdes.serialise(&topic, &[document(1), document(2)], &[]);
        for topic in [&topic, &clear] {
            front.kafka.create_topic(topic, 1);
            let producer = Family::Java.producer(&front.access(&ALICE), &[("linger.ms", "100")]);
            assert!(producer.send(topic, &sent).iter().all(Result::is_ok));
        }
        registry.trouble(trouble);
        let began = Instant::now();
        for family in FAMILIES {
            let records = polled(&front, &ALICE, family, &topic, 2);
            assert!(records.iter().all(|record| record.text() == WITHHELD), "{records:?}");
            // Other topics do not wait for it, nor does who sees everything.
            assert_eq!(polled(&front, &ALICE, family, &clear, 2)[0].value, sent[0].value);
            assert_eq!(polled(&front, &CASHIER, family, &topic, 2)[0].value, sent[0].value);
        }
        assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
        registry.trouble(Trouble::default());
        // A failure is told again for some seconds.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let records = polled(&front, &ALICE, Family::Python, &topic, 2);
            if records.iter().all(|it| it.value.as_deref() != Some(WITHHELD.as_bytes())) {
                let read = read(&serdes, &topic, &records);
                assert_eq!(read[1]["cards"][0]["number"], STARRED);
                break;
            }
            assert!(Instant::now() < deadline, "the registry is back, and nothing is masked");
            // Nobody tells when the failure is forgotten.
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

fn assert_refused(family: Family, error: &ClientError, reason: &str) {
    // librdkafka does not pass on what a broker says of a record.
    let is_told = family == Family::Python || error.message.contains(reason);
    let is_invalid =
        error.name.contains("INVALID_RECORD") || error.name == "InvalidRecordException";
    assert!(!error.retriable && is_told && is_invalid, "{family:?} {reason}: {error:?}");
}

#[test]
fn what_is_written_must_be_of_a_registered_schema() {
    let registry = TestRegistry::start().unwrap();
    let (checked, masked_topic) = (unique("registered"), unique("written"));
    let rules = format!(
        "  - {{ topics: [{checked}], validate: registered }}\n  \
         - {{ topics: [{masked_topic}], format: avro, on: [write], fields: {{ cards.number: pci }} }}\n"
    );
    let Some(front) = Front::start(setup(&registry, &rules)) else { return };
    for topic in [&checked, &masked_topic] {
        front.kafka.create_topic(topic, 1);
    }
    let producers = FAMILIES.map(|family| {
        family
            .producer(&front.access(&ALICE), &[("enable.idempotence", "true"), ("linger.ms", "50")])
    });
    let mut written = Vec::new();
    for format in ["AVRO", "JSON", "PROTOBUF"] {
        let serdes = Family::Python.serdes(request(&registry, format, false));
        let good = serdes.serialise(&checked, &[document(1)], &[]).remove(0);
        let whole = good.value.clone().unwrap();
        let cut = whole[..whole.len() - 1].to_vec();
        let mut unknown = whole.clone();
        unknown[3] = 99;
        let mut rows = vec![
            (cut, "by the schema that it names"),
            (unknown, "the registry has no schema"),
            (b"{}".to_vec(), "names no schema"),
        ];
        if format == "JSON" {
            rows[0].1 = "not one JSON document";
            rows.push(([&whole[..5], br#"{"cards":[{"number":7}]}"#].concat(), "/"));
        }
        for (family, producer) in FAMILIES.iter().zip(&producers) {
            for (value, reason) in &rows {
                let error =
                    producer.send(&checked, &[Record::of(value.clone())]).remove(0).unwrap_err();
                assert_refused(*family, &error, reason);
                assert!(!error.message.contains("4111"), "{error:?}");
            }
            let sent = producer.send(&checked, std::slice::from_ref(&good));
            assert!(sent.iter().all(Result::is_ok), "{format}: {sent:?}");
            written.push(good.value.clone());
        }
    }
    let consumer = Family::Python.consumer(&front.access(&ALICE), &[]);
    consumer.assign(&checked, 0);
    let there = consumer.poll(written.len(), PATIENCE).records;
    assert_eq!(there.iter().map(|it| it.value.clone()).collect::<Vec<_>>(), written);

    let serdes = Family::Python.serdes(request(&registry, "AVRO", true));
    let sent = serdes.serialise(&masked_topic, &[document(3)], &[]);
    for (family, producer) in FAMILIES.iter().zip(&producers) {
        let outcome = producer.send(&masked_topic, &sent);
        assert!(outcome.iter().all(Result::is_ok), "{outcome:?}");
        let error = producer.send(&masked_topic, &[Record::of("{}")]).remove(0).unwrap_err();
        assert_refused(*family, &error, "it names no schema");
    }
    // No rule holds for reading: this is what the broker has.
    let records = polled(&front, &ALICE, Family::Python, &masked_topic, 2);
    for document in read(&serdes, &masked_topic, &records) {
        assert_eq!(document["cards"][0]["number"], STARRED);
        assert_eq!(document["note"], json!(format!("by {EMAIL}, twice")));
    }
}
