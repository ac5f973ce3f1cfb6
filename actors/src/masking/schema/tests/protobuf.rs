//! Protobuf: what a library writes and reads, against a slow masker over its values; and rows.

use std::collections::HashMap;
use std::fmt::Write;

use base64::Engine;
use proptest::prelude::*;
use prost_reflect::prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage, Value,
};
use protox::file::File;

use super::*;

const SCALARS: [&str; 16] = [
    "int32", "int64", "uint32", "uint64", "sint32", "sint64", "bool", "E", "fixed32", "sfixed32",
    "float", "fixed64", "sfixed64", "double", "string", "bytes",
];
const KEYS: [&str; 5] = ["string", "string", "int32", "uint64", "bool"];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A file of four messages that hold one another.
fn file(dice: &mut Dice) -> String {
    let is_2 = dice.chance(40);
    let mut text = format!("syntax = \"proto{}\";\n", if is_2 { 2 } else { 3 });
    text.push_str("enum E { ZERO = 0; ONE = 1; MANY = 1000; }\n");
    for message in 0..4 {
        writeln!(text, "message M{message} {{").unwrap();
        let mut is_in_oneof = false;
        for (name, number) in NAMES.iter().zip(1_u64..) {
            let number = number + 100 * dice.roll(3);
            let kind = match dice.roll(10) {
                0..=5 => dice.of(&SCALARS).to_owned(),
                _ => format!("M{}", dice.roll(4)),
            };
            match dice.roll(8) {
                0 | 1 => {
                    let packed = match dice.roll(3) {
                        _ if kind.starts_with('M') || kind == "string" || kind == "bytes" => "",
                        0 => " [packed = true]",
                        1 => " [packed = false]",
                        _ => "",
                    };
                    writeln!(text, "  repeated {kind} {name} = {number}{packed};").unwrap();
                }
                2 => {
                    writeln!(text, "  map<{}, {kind}> {name} = {number};", dice.of(&KEYS)).unwrap()
                }
                3 if is_2 => {
                    let group = name.to_uppercase();
                    writeln!(
                        text,
                        "  optional group {group} = {number} {{ optional {kind} b = 7; }}"
                    )
                    .unwrap();
                }
                4 if !is_in_oneof => {
                    is_in_oneof = true;
                    writeln!(text, "  oneof choice {{ {kind} {name} = {number}; }}").unwrap();
                }
                5 if !is_2 => writeln!(text, "  {kind} {name} = {number};").unwrap(),
                _ => writeln!(text, "  optional {kind} {name} = {number};").unwrap(),
            }
        }
        text.push_str("}\n");
    }
    text
}

fn pool(text: &str) -> DescriptorPool {
    let mut pool = DescriptorPool::new();
    let file = File::from_source("test.proto", text).unwrap();
    pool.add_file_descriptor_proto(file.into()).unwrap();
    pool
}

fn message(dice: &mut Dice, descriptor: &MessageDescriptor, depth: u64) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        if !dice.chance(75) {
            continue;
        }
        let count = dice.roll(4);
        if field.is_map() {
            let kind = field.kind();
            let entry = kind.as_message().unwrap();
            let (key, of) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            let mut map = HashMap::new();
            for _ in 0..count {
                let key = value(dice, &key, depth).and_then(Value::into_map_key);
                if let (Some(key), Some(value)) = (key, value(dice, &of, depth)) {
                    map.insert(key, value);
                }
            }
            message.set_field(&field, Value::Map(map));
        } else if field.is_list() {
            let list = (0..count).filter_map(|_| value(dice, &field, depth)).collect();
            message.set_field(&field, Value::List(list));
        } else if let Some(value) = value(dice, &field, depth) {
            message.set_field(&field, value);
        }
    }
    message
}

/// A value of a field, or of each of its elements; none where it would be too deep.
fn value(dice: &mut Dice, field: &FieldDescriptor, depth: u64) -> Option<Value> {
    let is_key = field.name() == "key";
    Some(match field.kind() {
        Kind::Message(inner) if depth > 0 => Value::Message(message(dice, &inner, depth - 1)),
        Kind::Message(_) => return None,
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(dice.of(&[0, 7, -1, i32::MIN])),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(dice.of(&[0, PAN, -1, i64::MIN])),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(dice.of(&[0, 128, u32::MAX])),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(dice.of(&[0, PAN.cast_unsigned(), u64::MAX])),
        Kind::Bool => Value::Bool(dice.chance(50)),
        Kind::Float => Value::F32(dice.of(&[0.0, 1.5, f32::INFINITY])),
        Kind::Double => Value::F64(dice.of(&[0.5, PAN_FLOAT, -7.0])),
        Kind::Enum(_) => Value::EnumNumber(dice.of(&[0, 1, 1000])),
        Kind::String if is_key => Value::String(dice.of(&["a", "b", "k", "", HITS[0]]).to_owned()),
        Kind::String => Value::String(dice.text()),
        Kind::Bytes => Value::Bytes(match dice.roll(3) {
            0 => vec![0xff; dice.index(200)].into(),
            _ => dice.text().into(),
        }),
    })
}

/// Masks a decoded message; `None` where keys of a map become one, or where something in an entry is
/// empty and masked.
fn slow_message(
    message: &DynamicMessage,
    paths: &[&[&str]],
    covered: bool,
) -> Option<DynamicMessage> {
    let mut masked = DynamicMessage::new(message.descriptor());
    for (field, value) in message.fields() {
        let paths = below(paths, field.name());
        let covered = covered || paths.iter().any(|path| path.is_empty());
        let value = match value {
            Value::List(list) => Value::List(
                list.iter().map(|item| slow(item, &paths, covered)).collect::<Option<_>>()?,
            ),
            Value::Map(map) => {
                let mut new = HashMap::new();
                for (key, value) in map {
                    let paths = below(&paths, &key_text(key));
                    let covered_value = covered || paths.iter().any(|path| path.is_empty());
                    // The library may leave an empty text out, and then there is nothing to mask.
                    let is_masked = covered_value || !paths.is_empty();
                    let empty_value = is_masked && *value == Value::String(String::new());
                    let empty_key = covered && *key == MapKey::String(String::new());
                    if empty_value || empty_key {
                        return None;
                    }
                    let value = slow(value, &paths, covered_value)?;
                    let key = slow(&Value::from(key.clone()), &[], covered)?.into_map_key()?;
                    if new.insert(key, value).is_some() {
                        return None;
                    }
                }
                Value::Map(new)
            }
            value => slow(value, &paths, covered)?,
        };
        masked.set_field(&field, value);
    }
    Some(masked)
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

fn slow(value: &Value, paths: &[&[&str]], covered: bool) -> Option<Value> {
    let whole = covered || !paths.is_empty();
    Some(match value {
        Value::Message(message) => Value::Message(slow_message(message, paths, covered)?),
        Value::String(_) if whole => Value::String("[masked]".to_owned()),
        Value::String(text) => Value::String(without_hits(text)),
        Value::Bytes(_) if whole => Value::Bytes(Vec::new().into()),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Bytes(without_hits(text).into()),
            Err(_) => value.clone(),
        },
        Value::Bool(_) if covered => Value::Bool(false),
        Value::I32(_) if covered => Value::I32(0),
        Value::U32(_) if covered => Value::U32(0),
        Value::I64(number) if covered || *number == PAN => Value::I64(0),
        Value::U64(number) if covered || *number == PAN.cast_unsigned() => Value::U64(0),
        Value::F32(_) if covered => Value::F32(0.0),
        Value::F64(number) if covered || *number == PAN_FLOAT => Value::F64(0.0),
        Value::EnumNumber(_) if covered => Value::EnumNumber(0),
        other => other.clone(),
    })
}

/// The message without fields that are what they would be if they were not there.
fn settled(message: &DynamicMessage) -> String {
    let mut text = String::from("{");
    let mut fields: Vec<_> =
        message.fields().filter(|(field, _)| message.has_field(field)).collect();
    fields.sort_by_key(|(field, _)| field.number());
    for (field, value) in fields {
        write!(text, "{}:{};", field.name(), settled_value(value)).unwrap();
    }
    text + "}"
}

fn settled_value(value: &Value) -> String {
    match value {
        Value::Message(message) => settled(message),
        Value::List(list) => list.iter().map(settled_value).collect::<Vec<_>>().join(","),
        Value::Map(map) => {
            let mut entries: Vec<_> = map
                .iter()
                .map(|(key, value)| format!("{key:?}={}", settled_value(value)))
                .collect();
            entries.sort_unstable();
            entries.join(",")
        }
        other => format!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn the_walk_masks_what_a_slow_masker_of_decoded_messages_masks(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let text = file(&mut dice);
        let schema = schema(Format::Protobuf, &text);
        let descriptor = pool(&text).get_message_by_name("M0").unwrap();
        let payload = message(&mut dice, &descriptor, 4).encode_to_vec();
        let before = DynamicMessage::decode(descriptor.clone(), payload.as_slice()).unwrap();
        let (plan, paths) = plan_of(&mut dice);
        let outcome = masked(&plan, &schema, &payload);
        prop_assert_ne!(&outcome, &Outcome::Withheld, "seed {}: {} {:?}", seed, text, settled(&before));
        let after = match &outcome {
            Outcome::Changed(changed) => DynamicMessage::decode(descriptor, changed.as_slice()).unwrap(),
            _ => before.clone(),
        };
        let Some(expected) = slow_message(&before, &paths, false) else { return Ok(()) };
        prop_assert_eq!(settled(&after), settled(&expected), "seed {}: {} {:?} {:?}", seed, text, paths, settled(&before));
        if let Outcome::Changed(changed) = &outcome {
            let again = masked(&plan, &schema, changed);
            prop_assert!(again == outcome || again == Outcome::Unchanged, "seed {}", seed);
        }
    }

    #[test]
    fn broken_messages_are_withheld_or_read(
        seed in any::<u64>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        noise in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut dice = Dice(seed);
        let text = file(&mut dice);
        let schema = schema(Format::Protobuf, &text);
        let descriptor = pool(&text).get_message_by_name("M0").unwrap();
        let (plan, _) = plan_of(&mut dice);
        masked(&plan, &schema, &noise);
        let mut payload = message(&mut dice, &descriptor, 4).encode_to_vec();
        if payload.is_empty() {
            return Ok(());
        }
        let index = at.index(payload.len());
        payload[index] = byte;
        // Whatever is delivered, a reader reads as well.
        if masked(&plan, &schema, &payload) != Outcome::Withheld {
            prop_assert!(DynamicMessage::decode(descriptor, payload.as_slice()).is_ok(), "seed {}", seed);
        }
    }
}

const ORDER: &str = r#"syntax = "proto3";
    package shop;
    import "google/protobuf/timestamp.proto";
    import "somebody/options.proto";
    option (somebody.owner) = { name: "x" };
    message Order {
      map<string, string> notes = 1;
      message Line { string card_number = 1 [(somebody.tag) = "PII", json_name = "pan"]; int64 price = 2; }
      repeated Line lines = 2;
      google.protobuf.Timestamp at = 3;
      oneof payer { string mail = 4; int32 customer = 5; }
      repeated sint32 scores = 6;
      message Second { bytes b = 1; }
    }
    message Other { string s = 1; }"#;

#[track_caller]
fn check(fields: &str, payload: &[u8], expected: &[u8]) {
    let schema = schema(Format::Protobuf, ORDER);
    let plan = plan(&format!("fields: {{ {fields} }}"));
    let expected =
        if payload == expected { Outcome::Unchanged } else { Outcome::Changed(expected.to_vec()) };
    assert_eq!(masked(&plan, &schema, payload), expected, "{fields}");
}

#[test]
fn fields_are_masked_by_their_names_in_the_file() {
    let line = b"\x12\x07\x0a\x03123\x10\x05";
    check("lines.card_number: secret", line, b"\x12\x0c\x0a\x08[masked]\x10\x05");
    check("lines.pan: secret", line, line);
    check("lines.price: secret", line, b"\x12\x07\x0a\x03123\x10\0");
    check("lines: secret", line, b"\x12\x0c\x0a\x08[masked]\x10\0");
    check("lines.card_number.x: secret", line, b"\x12\x0c\x0a\x08[masked]\x10\x05");
    check("mail: secret", b"\x22\x01m\x28\x05", b"\x22\x08[masked]\x28\x05");
    // Keys of a map are steps, wherever they stand in their entry.
    check("notes.k: secret", b"\x0a\x06\x0a\x01k\x12\x01v", b"\x0a\x0d\x0a\x01k\x12\x08[masked]");
    check("notes.k: secret", b"\x0a\x06\x12\x01v\x0a\x01k", b"\x0a\x0d\x12\x08[masked]\x0a\x01k");
    check("notes.k: secret", b"\x0a\x06\x0a\x01j\x12\x01v", b"\x0a\x06\x0a\x01j\x12\x01v");
    // An entry without a key has the empty one.
    check("'notes.\"\"': secret", b"\x0a\x03\x12\x01v", b"\x0a\x0a\x12\x08[masked]");
    check(
        "notes: secret",
        b"\x0a\x06\x0a\x01k\x12\x01v",
        b"\x0a\x14\x0a\x08[masked]\x12\x08[masked]",
    );
    // Lengths are written again all the way out, in no more bytes than they need.
    let long = [b"\x12\x81\x01\x0a\x7f".as_slice(), &[b'x'; 127]].concat();
    check("lines.card_number: secret", &long, b"\x12\x0a\x0a\x08[masked]");
    check("scores: pii", b"\x32\x02\x01\x02", &hashed_scores());
    check("at: secret", b"\x1a\x04\x08\x05\x10\x06", b"\x1a\x04\x08\0\x10\0");
}

/// The hashes of -1 and 1, as the library writes them.
fn hashed_scores() -> Vec<u8> {
    let plan = plan("fields: { a: pii }");
    let avro = schema(
        Format::Avro,
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#,
    );
    // Avro writes integers as a sint32 is written.
    let [one, two] = [b"\x01", b"\x02"].map(|number| match masked(&plan, &avro, number) {
        Outcome::Changed(changed) => changed,
        other => panic!("{other:?}"),
    });
    let length = u8::try_from(one.len() + two.len()).unwrap();
    [&[0x32, length][..], &one, &two].concat()
}

#[test]
fn messages_are_found_by_their_path() {
    let schema = schema(Format::Protobuf, ORDER);
    let plan = plan("fields: { s: secret, card_number: secret, b: secret }");
    let with = |path: &[u8]| [b"\0\0\0\0\x07", path, b"\x0a\x01x"].concat();
    let rows: [(&[u8], bool); 8] = [
        (b"\x02\x02", true),    // Other.s
        (b"\0", false),         // Order: its field 1 is a map, and this is none
        (b"\x04\0\0", true),    // Order.Line, by writers that do not count the map's entry
        (b"\x04\0\x02", false), // Line with it counted, Second without: nobody knows
        (b"\x04\0\x04", true),  // Order.Second, by writers that count it
        (b"\x04\0\x06", false), // no such message
        (b"\x02\x04", false),   // no such message
        (b"\x06\0\0\0", false), // no such message
    ];
    for (path, is_masked) in rows {
        let outcome = masked_value(&plan, &schema, &with(path), None);
        assert_eq!(matches!(outcome, Outcome::Changed(_)), is_masked, "{path:?}: {outcome:?}");
    }
}

#[test]
fn files_are_read_as_text_and_as_descriptors() {
    let common =
        "syntax = \"proto3\"; package c; import public \"base.proto\"; message C { B b = 1; }";
    let base = "syntax = \"proto3\"; package c; message B { string s = 1; }";
    let text = "syntax = \"proto3\"; import \"common.proto\"; message M { c.C c = 1; c.B b = 2; }";
    let plan = plan("fields: { c.b.s: secret }");
    let encode = |name: &str, text: &str| {
        let descriptor =
            File::from_source(name, text).unwrap().file_descriptor_proto().encode_to_vec();
        base64::engine::general_purpose::STANDARD.encode(descriptor)
    };
    let as_text = [("common.proto", common.to_owned()), ("base.proto", base.to_owned())];
    let encoded = [
        ("common.proto", encode("another-name.proto", common)),
        ("base.proto", encode("base.proto", base)),
    ];
    for (main, references) in [(text.to_owned(), &as_text), (encode("m.proto", text), &encoded)] {
        let references: Vec<(&str, &str)> =
            references.iter().map(|(name, text)| (*name, &**text)).collect();
        let schema = compile(Format::Protobuf, &main, &references).unwrap();
        let expected = Outcome::Changed(b"\x0a\x0c\x0a\x0a\x0a\x08[masked]".to_vec());
        assert_eq!(masked(&plan, &schema, b"\x0a\x05\x0a\x03\x0a\x01x"), expected);
        let error = compile(Format::Protobuf, &main, &references[..1]).unwrap_err();
        assert!(error.to_string().starts_with("no schema of Protobuf: "), "{error}");
    }
    for broken in
        ["", "{", "message M { string s = 1; }}", "edition = \"2023\"; message M {}", "AAAA"]
    {
        // An empty file is a file; it has no message that a record could be.
        let schema = compile(Format::Protobuf, broken, &[]);
        let outcome = schema.map(|schema| masked(&plan, &schema, b""));
        assert!(!matches!(outcome, Ok(Outcome::Unchanged | Outcome::Changed(_))), "{broken}");
    }
}

#[test]
fn enums_and_extensions_are_known() {
    let text = "syntax = \"proto2\"; package p;
        message M { optional E e = 1; extensions 100 to 200; repeated E l = 2 [packed = true]; }
        extend M { optional string x = 100; }
        enum E { LAST = 7; FIRST = 1; }";
    let schema = schema(Format::Protobuf, text);
    let plan = plan("fields: { e: pii, l: secret, '\"[p.x]\"': secret }");
    let payload = b"\x08\x01\x12\x02\x01\x07\xa2\x06\x01x";
    let expected = Outcome::Changed(b"\x08\x07\x12\x02\x07\x07\xa2\x06\x08[masked]".to_vec());
    assert_eq!(masked(&plan, &schema, payload), expected);
}

#[test]
fn keys_that_are_no_text_are_steps_by_their_text() {
    let text =
        "syntax = \"proto3\"; message M { map<sint32, string> n = 1; map<bool, string> b = 2; }";
    let schema = schema(Format::Protobuf, text);
    let rows: [(&str, &[u8], bool); 8] = [
        ("n.-7", b"\x0a\x05\x08\x0d\x12\x01v", true),
        ("n.-7", b"\x0a\x05\x12\x01v\x08\x0d", true),
        ("n.7", b"\x0a\x05\x08\x0d\x12\x01v", false),
        ("n.\"0\"", b"\x0a\x03\x12\x01v", true),
        ("b.\"true\"", b"\x12\x05\x08\x01\x12\x01v", true),
        ("b.\"true\"", b"\x12\x05\x08\0\x12\x01v", false),
        ("b.\"false\"", b"\x12\x05\x08\0\x12\x01v", true),
        ("b.\"false\"", b"\x12\x03\x12\x01v", true),
    ];
    for (path, payload, is_masked) in rows {
        let plan = plan(&format!("fields: {{ '{path}': secret }}"));
        let outcome = masked(&plan, &schema, payload);
        assert_eq!(matches!(outcome, Outcome::Changed(_)), is_masked, "{path}: {outcome:?}");
    }
}
