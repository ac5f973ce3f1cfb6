//! Any bytes as a record's value: masked as JSON, by fields, detectors and lists, and by schemas of Avro and Protobuf.

use std::sync::LazyLock;

use secrecy::SecretSlice;
use serde_json::Value;
use sluicegate_actors::masking::schema::frame::Framed;
use sluicegate_actors::masking::schema::{Format, Schema, SchemaText};
use sluicegate_actors::masking::{Direction, Keys, MaskPlan, Masked, RulesFile, Scratch, compile};

use crate::input::seeded;

/// A value that is masked reads as it did: a document as a document, a value of a schema as one of that schema. In a document
/// nothing is left of a field that is masked; masking again changes nothing; buffers that were used make no difference.
pub fn value(data: &[u8]) {
    let Some((seed, value)) = seeded(data) else { return };
    let plans = &*PLANS;
    let choice = usize::try_from(seed).unwrap_or_default();
    let schema = choice.checked_div(8).and_then(|at| SCHEMAS.get(at.checked_rem(4)?));
    let Some(plan) = choice.checked_rem(plans.len()).and_then(|at| plans.get(at)) else { return };
    match schema {
        Some(schema) => framed(plan, schema, value),
        None => document(plan, value),
    }
}

fn document(plan: &MaskPlan, value: &[u8]) {
    let mut scratch = Scratch::new();
    let masked = outcome(plan.mask_value(value, &mut scratch));
    assert!(masked == outcome(plan.mask_value(value, &mut scratch)), "used buffers show");
    let read = serde_json::from_slice::<Value>(value);
    let Outcome::Changed(masked) = masked else {
        let withheld = masked == Outcome::Withheld && value.len() < SMALL_BYTES;
        // What the parser reads is not withheld, but for what a list cannot leave out, and depth, which counts otherwise.
        let is_container = matches!(&read, Ok(Value::Array(_) | Value::Object(_)));
        assert!(!withheld || !is_container || depth_of(value) > 100, "a document is withheld");
        return;
    };
    if read.is_ok() {
        let read = serde_json::from_slice::<Value>(&masked);
        let read = read.expect("a masked document is a document");
        assert_masked(&read);
    }
    // A text that begins with a mask looks like an array that cannot be read: where paths lead into strings it is masked whole
    // the second time. The third changes nothing.
    let again = outcome(plan.mask_value(&masked, &mut scratch));
    assert!(again != Outcome::Withheld, "what was masked cannot be read");
    let Outcome::Changed(again) = again else { return };
    let thrice = outcome(plan.mask_value(&again, &mut scratch));
    let is_same = matches!(&thrice, Outcome::Changed(thrice) if *thrice == again);
    assert!(is_same || thrice == Outcome::Unchanged, "masking again and again changes");
}

/// Nothing but marks is left at `card.number` and `names`.
fn assert_masked(document: &Value) {
    let of = |value: &Value, key: &str| match value {
        Value::Object(members) => members.get(key).cloned().into_iter().collect(),
        Value::Array(elements) => elements.clone(),
        _ => Vec::new(),
    };
    let mut waiting = vec![(document.clone(), ["card", "number"].as_slice())];
    waiting.push((document.clone(), &["names"]));
    while let Some((value, path)) = waiting.pop() {
        let Some((key, rest)) = path.split_first() else {
            match value {
                Value::Array(elements) => {
                    waiting.extend(elements.into_iter().map(|element| (element, path)));
                }
                Value::Null => {}
                other => {
                    let text = other.as_str();
                    let is_marked = text.is_some_and(|text| {
                        text == "[masked]" || text.trim_start_matches('*').chars().count() <= 4
                    });
                    assert!(is_marked, "`{other}` is left");
                }
            }
            continue;
        };
        let is_array = value.is_array();
        for below in of(&value, key) {
            waiting.push((below, if is_array { path } else { rest }));
        }
    }
}

fn framed(plan: &MaskPlan, schema: &Schema, payload: &[u8]) {
    let value = [&[0, 0, 0, 0, 7], payload].concat();
    let Some(frame) = Framed::read(&value, None) else { return };
    let mut scratch = Scratch::new();
    let valid = schema.check(&frame).is_ok();
    let masked = outcome(plan.mask_framed(&frame, schema, &mut scratch));
    assert!(masked == outcome(plan.mask_framed(&frame, schema, &mut scratch)), "used buffers show");
    assert!(valid == (masked != Outcome::Withheld), "withheld is what does not read");
    let Outcome::Changed(masked) = masked else { return };
    let frame = Framed::read(&masked, None).expect("the frame stays");
    assert!(schema.check(&frame).is_ok(), "what was masked does not read: {masked:?}");
    let again = outcome(plan.mask_framed(&frame, schema, &mut scratch));
    let is_same = matches!(&again, Outcome::Changed(again) if *again == masked);
    assert!(is_same || again == Outcome::Unchanged, "masking again changes");
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Unchanged,
    Changed(Vec<u8>),
    Withheld,
}

fn outcome(masked: Masked<'_>) -> Outcome {
    match masked {
        Masked::Unchanged => Outcome::Unchanged,
        Masked::Changed(masked) => Outcome::Changed(masked.to_vec()),
        Masked::Withheld => Outcome::Withheld,
        // No rule of these makes a value null.
        Masked::Null => Outcome::Changed(Vec::new()),
    }
}

/// How many brackets open at most, strings counted too: no less than the depth.
fn depth_of(value: &[u8]) -> usize {
    value.iter().filter(|byte| matches!(byte, b'{' | b'[')).count()
}

/// Values below this are within all bounds but depth.
const SMALL_BYTES: usize = 100_000;

/// By fields; by detectors too; by a list; by fields at any depth, and detectors.
static PLANS: LazyLock<Vec<MaskPlan>> = LazyLock::new(|| {
    let files = [RulesFile { name: "masks.yaml", text: RULES }];
    let keys = Keys::new(vec![("fuzz".to_owned(), SecretSlice::from(vec![7; 32]))]);
    let rules = compile(&files, &keys.expect("the key is long enough"));
    let rules = rules.expect("the rules are valid");
    let topics = ["fields", "detected", "listed", "deep"];
    let plan = |topic| rules.plan(topic, Direction::Read, |_| false).expect("the topic has rules");
    topics.map(plan).into()
});

const RULES: &str = "
labels:
  pci: { method: keep-last, n: 4 }
  pii: { method: redact }
  rest: { method: drop }
rules:
  - topics: [fields, detected, listed, deep]
    fields: { card.number: pci, names: pii }
  - topics: [detected, deep]
    detect: { pii: [email, payment-card, iban, phone] }
  - topics: [listed]
    only: { label: rest, fields: [card, names, id] }
  - topics: [deep]
    fields: { '**.secret': pii, 'a.*.b': pci }
";

static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    let schema = |format, text: &str| {
        let text = SchemaText { format, text: text.to_owned(), references: Vec::new() };
        Schema::compile(&text).expect("the schema is valid")
    };
    vec![schema(Format::Avro, AVRO), schema(Format::Protobuf, PROTOBUF)]
});

const AVRO: &str = r#"{"type": "record", "name": "R", "fields": [
    {"name": "id", "type": "long"},
    {"name": "card", "type": ["null", {"type": "record", "name": "C", "fields": [
        {"name": "number", "type": "string"}, {"name": "next", "type": ["null", "R"]}]}]},
    {"name": "names", "type": {"type": "array", "items": {"type": "map", "values": "bytes"}}},
    {"name": "a", "type": {"type": "map", "values": "double"}},
    {"name": "secret", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    {"name": "f", "type": {"type": "fixed", "name": "F", "size": 4}},
    {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["x", "y"]}},
    {"name": "text", "type": "string"}]}"#;

const PROTOBUF: &str = r#"syntax = "proto2"; message R {
    message C { optional string number = 1; repeated R next = 2; }
    optional int64 id = 1; repeated C card = 2; repeated bytes names = 3; map<string, C> a = 4;
    optional group G = 5 { optional sint32 secret = 1; } repeated fixed32 f = 6; repeated double d = 7;
    enum E { x = 0; y = 1; } optional E e = 8; optional string text = 9; optional bool secret = 10; }"#;
