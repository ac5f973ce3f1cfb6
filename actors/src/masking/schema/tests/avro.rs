//! Avro: what a library writes and reads, against a slow masker over its values; and rows.

use std::collections::HashMap;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Uuid};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

/// Makes schemas, and values of them.
struct Maker {
    dice: Dice,
    names: usize,
}

/// A type of a schema, as this test knows it.
#[derive(Clone, Debug)]
enum Type {
    Plain(&'static str),
    Logical(&'static str, &'static str),
    DecimalFixed(String),
    UuidFixed(String),
    Fixed(String),
    Enum(String),
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    /// Its name, its fields, and whether a field `d` may hold another of it.
    Record(String, Vec<(&'static str, Type)>, bool),
}

const PLAIN_TYPES: [&str; 8] =
    ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
const LOGICAL_TYPES: [(&str, &str); 8] = [
    ("int", "date"),
    ("int", "time-millis"),
    ("long", "time-micros"),
    ("long", "timestamp-millis"),
    ("long", "timestamp-micros"),
    ("long", "local-timestamp-millis"),
    ("string", "uuid"),
    ("bytes", "decimal"),
];

impl Maker {
    fn name(&mut self) -> String {
        self.names += 1;
        let namespace = if self.dice.chance(50) { "n.s." } else { "" };
        format!("{namespace}T{}", self.names)
    }

    fn kind(&mut self, depth: u64) -> Type {
        let leaf = depth == 0 || self.dice.chance(40);
        match self.dice.roll(if leaf { 6 } else { 12 }) {
            0 => {
                let (kind, logical) = self.dice.of(&LOGICAL_TYPES);
                Type::Logical(kind, logical)
            }
            1 => match self.dice.roll(4) {
                0 => Type::DecimalFixed(self.name()),
                1 => Type::UuidFixed(self.name()),
                2 => Type::Fixed(self.name()),
                _ => Type::Enum(self.name()),
            },
            2..=5 => Type::Plain(self.dice.of(&PLAIN_TYPES)),
            6 => Type::Array(Box::new(self.kind(depth - 1))),
            7 => Type::Map(Box::new(self.kind(depth - 1))),
            8 => {
                let other = self.kind(depth - 1);
                match other {
                    Type::Plain("null" | "string") | Type::Union(_) => other,
                    Type::Logical("string", _) => other,
                    other => Type::Union(vec![Type::Plain("null"), other, Type::Plain("string")]),
                }
            }
            _ => self.record(depth),
        }
    }

    fn record(&mut self, depth: u64) -> Type {
        let name = self.name();
        let mut fields = Vec::new();
        for field in ["a", "b", "c"] {
            if self.dice.chance(70) {
                fields.push((field, self.kind(depth - 1)));
            }
        }
        Type::Record(name, fields, self.dice.chance(40))
    }

    fn value(&mut self, kind: &Type, depth: u64) -> Value {
        match kind {
            Type::Array(items) => {
                let count = self.dice.roll(4);
                Value::Array((0..count).map(|_| self.value(items, depth)).collect())
            }
            Type::Map(values) => {
                let mut map = HashMap::new();
                for _ in 0..self.dice.roll(4) {
                    let key = self.dice.of(&["a", "b", "k", "", "ann.b@example.com"]).to_owned();
                    map.insert(key, self.value(values, depth));
                }
                Value::Map(map)
            }
            Type::Union(branches) => {
                let branch = self.dice.index(branches.len());
                let value = Box::new(self.value(&branches[branch], depth));
                Value::Union(u32::try_from(branch).unwrap(), value)
            }
            Type::Record(_, fields, is_recursive) => {
                let mut values = Vec::new();
                for (name, field) in fields {
                    values.push(((*name).to_owned(), self.value(field, depth)));
                }
                if *is_recursive {
                    let goes_on = depth > 0 && self.dice.chance(60);
                    let inner = if goes_on { self.value(kind, depth - 1) } else { Value::Null };
                    let inner = Value::Union(u32::from(goes_on), Box::new(inner));
                    values.push(("d".to_owned(), inner));
                }
                Value::Record(values)
            }
            leaf => self.leaf(leaf),
        }
    }

    fn leaf(&mut self, kind: &Type) -> Value {
        let dice = &mut self.dice;
        match kind {
            Type::Plain("null") => Value::Null,
            Type::Plain("boolean") => Value::Boolean(dice.chance(50)),
            Type::Plain("int") => Value::Int(dice.of(&[0, 1, -1, 63, 64, i32::MIN, i32::MAX])),
            Type::Plain("long") => Value::Long(dice.of(&[0, -65, PAN, 8191, i64::MIN, i64::MAX])),
            Type::Plain("float") => Value::Float(dice.of(&[0.0, 1.5, -2.0, f32::MAX])),
            Type::Plain("double") => {
                Value::Double(dice.of(&[0.0, PAN_FLOAT, 0.1, f64::MAX, f64::INFINITY]))
            }
            Type::Plain("bytes") => Value::Bytes(match dice.roll(3) {
                0 => vec![0xff; dice.index(70)],
                _ => dice.text().into_bytes(),
            }),
            Type::Plain(_) => Value::String(dice.text()),
            Type::Logical(_, "date") => Value::Date(dice.of(&[0, 20_000, -5])),
            Type::Logical(_, "time-millis") => Value::TimeMillis(dice.of(&[0, 86_399_999])),
            Type::Logical(_, "time-micros") => Value::TimeMicros(dice.of(&[0, 86_399_999_999])),
            Type::Logical(_, "timestamp-millis") => Value::TimestampMillis(dice.of(&[0, 17, -17])),
            Type::Logical(_, "timestamp-micros") => Value::TimestampMicros(dice.of(&[0, PAN, 1])),
            Type::Logical(_, "local-timestamp-millis") => Value::LocalTimestampMillis(5),
            Type::Logical(_, "uuid") => {
                Value::Uuid(Uuid::from_bytes([dice.of(&[0xab, 0xcd, 0xef]); 16]))
            }
            Type::Logical(..) => {
                let bytes =
                    dice.of(&[&[1_u8][..], &[0xff, 0x01], &[0x0e, 0x9a, 0xf7, 0xf9, 0xc1, 0xc7]]);
                Value::Decimal(Decimal::from(bytes))
            }
            Type::DecimalFixed(_) => {
                Value::Decimal(Decimal::from([0xff, dice.of(&[0, 99, 0x80]), 1, 2]))
            }
            Type::UuidFixed(_) => Value::Uuid(Uuid::from_bytes([dice.of(&[0xab, 0xcd, 0xef]); 16])),
            Type::Fixed(_) => Value::Fixed(
                16,
                dice.of(&[&b"4111111111111111"[..], b"some sixteen, so", &[0x80; 16]]).to_vec(),
            ),
            Type::Enum(_) => {
                let index = dice.index(SYMBOLS.len());
                Value::Enum(u32::try_from(index).unwrap(), SYMBOLS[index].to_owned())
            }
            holds => panic!("{holds:?}"),
        }
    }

    /// Writes a value as Avro's specification says, in blocks of any size, with their bytes or
    /// without.
    fn write(&mut self, value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Array(items) => {
                self.write_blocks(items, |maker, item, out| maker.write(item, out), out)
            }
            Value::Map(map) => {
                let entries: Vec<_> = map.iter().collect();
                self.write_blocks(
                    &entries,
                    |maker, (key, value), out| {
                        write_bytes(key.as_bytes(), out);
                        maker.write(value, out);
                    },
                    out,
                );
            }
            Value::Record(fields) => fields.iter().for_each(|(_, value)| self.write(value, out)),
            Value::Union(branch, value) => {
                long(i64::from(*branch), out);
                self.write(value, out);
            }
            Value::Null => {}
            Value::Boolean(value) => out.push(u8::from(*value)),
            Value::Int(value) | Value::Date(value) | Value::TimeMillis(value) => {
                long(i64::from(*value), out)
            }
            Value::Enum(index, _) => long(i64::from(*index), out),
            Value::Long(value)
            | Value::TimeMicros(value)
            | Value::TimestampMillis(value)
            | Value::TimestampMicros(value)
            | Value::LocalTimestampMillis(value) => long(*value, out),
            Value::Float(value) => out.extend(value.to_le_bytes()),
            Value::Double(value) => out.extend(value.to_le_bytes()),
            Value::Bytes(bytes) => write_bytes(bytes, out),
            Value::String(text) => write_bytes(text.as_bytes(), out),
            Value::Fixed(_, bytes) => out.extend(bytes),
            other => panic!("{other:?}"),
        }
    }

    fn write_blocks<T>(
        &mut self,
        items: &[T],
        mut write: impl FnMut(&mut Self, &T, &mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        for block in items.chunks(1 + self.dice.index(3)) {
            let mut bytes = Vec::new();
            block.iter().for_each(|item| write(self, item, &mut bytes));
            if self.dice.chance(60) {
                long(-signed(block.len()), out);
                long(signed(bytes.len()), out);
            } else {
                long(signed(block.len()), out);
            }
            out.extend(bytes);
        }
        long(0, out);
    }
}

const SYMBOLS: [&str; 3] = ["ONE", "TWO", "THREE"];

impl Type {
    fn json(&self) -> Json {
        match self {
            Self::Plain(name) => json!(name),
            Self::Logical(kind, "decimal") => {
                json!({"type": kind, "logicalType": "decimal", "precision": 20, "scale": 0})
            }
            Self::Logical(kind, logical) => json!({"type": kind, "logicalType": logical}),
            Self::DecimalFixed(name) => {
                json!({"type": "fixed", "name": name, "size": 4, "logicalType": "decimal", "precision": 9, "scale": 2})
            }
            Self::UuidFixed(name) => {
                json!({"type": "fixed", "name": name, "size": 16, "logicalType": "uuid"})
            }
            Self::Fixed(name) => json!({"type": "fixed", "name": name, "size": 16}),
            Self::Enum(name) => json!({"type": "enum", "name": name, "symbols": SYMBOLS}),
            Self::Array(items) => json!({"type": "array", "items": items.json()}),
            Self::Map(values) => json!({"type": "map", "values": values.json()}),
            Self::Union(branches) => branches.iter().map(Self::json).collect(),
            Self::Record(name, fields, is_recursive) => {
                let mut fields: Vec<Json> = fields
                    .iter()
                    .map(|(name, kind)| json!({"name": name, "type": kind.json()}))
                    .collect();
                if *is_recursive {
                    fields.push(json!({"name": "d", "type": ["null", name]}));
                }
                json!({"type": "record", "name": name, "fields": fields})
            }
        }
    }

    /// Whether the test's own writer knows all values of the type.
    fn is_simple(&self) -> bool {
        match self {
            Self::Logical(_, "uuid" | "decimal") | Self::DecimalFixed(_) | Self::UuidFixed(_) => {
                false
            }
            Self::Array(inner) | Self::Map(inner) => inner.is_simple(),
            Self::Union(branches) => branches.iter().all(Self::is_simple),
            Self::Record(_, fields, _) => fields.iter().all(|(_, field)| field.is_simple()),
            _ => true,
        }
    }
}

fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap()
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    long(signed(bytes.len()), out);
    out.extend(bytes);
}

/// Masks a decoded value; `None` where keys of a map become one, so that nobody can say which of
/// its values is read.
fn slow(value: &Value, paths: &[&[&str]], is_covered: bool) -> Option<Value> {
    let covered = is_covered || paths.iter().any(|path| path.is_empty());
    let leads_in = !paths.is_empty() && !covered;
    let is_pan = |number: i128| number == i128::from(PAN);
    Some(match value {
        Value::Record(fields) => Value::Record(
            fields
                .iter()
                .map(|(name, field)| {
                    Some((name.clone(), slow(field, &below(paths, name), covered)?))
                })
                .collect::<Option<_>>()?,
        ),
        Value::Map(map) => {
            let mut masked = HashMap::new();
            for (key, value) in map {
                let value = slow(value, &below(paths, key), covered)?;
                let key = if covered { "[masked]".to_owned() } else { without_hits(key) };
                if masked.insert(key, value).is_some() {
                    return None;
                }
            }
            Value::Map(masked)
        }
        Value::Array(items) => Value::Array(
            items.iter().map(|item| slow(item, paths, covered)).collect::<Option<_>>()?,
        ),
        Value::Union(branch, value) => {
            Value::Union(*branch, Box::new(slow(value, paths, covered)?))
        }
        Value::String(_) if covered || leads_in => Value::String("[masked]".to_owned()),
        Value::String(text) => Value::String(without_hits(text)),
        Value::Bytes(_) if covered || leads_in => Value::Bytes(Vec::new()),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Bytes(without_hits(text).into_bytes()),
            Err(_) => value.clone(),
        },
        Value::Fixed(size, bytes) if covered || bytes.starts_with(b"4111") => {
            Value::Fixed(*size, vec![0; *size])
        }
        Value::Boolean(_) if covered => Value::Boolean(false),
        Value::Int(_) if covered => Value::Int(0),
        Value::Long(number) if covered || is_pan(i128::from(*number)) => Value::Long(0),
        Value::Float(_) if covered => Value::Float(0.0),
        Value::Double(number) if covered || *number == PAN_FLOAT => Value::Double(0.0),
        Value::Enum(..) if covered => Value::Enum(0, SYMBOLS[0].to_owned()),
        Value::Date(_) if covered => Value::Date(0),
        Value::TimeMillis(_) if covered => Value::TimeMillis(0),
        Value::TimeMicros(_) if covered => Value::TimeMicros(0),
        Value::TimestampMillis(_) if covered => Value::TimestampMillis(0),
        Value::TimestampMicros(number) if covered || is_pan(i128::from(*number)) => {
            Value::TimestampMicros(0)
        }
        Value::LocalTimestampMillis(_) if covered => Value::LocalTimestampMillis(0),
        Value::Uuid(_) if covered => Value::Uuid(Uuid::nil()),
        Value::Decimal(decimal) => {
            let bytes = Vec::<u8>::try_from(decimal).unwrap();
            // The test's decimals in a fixed have four bytes, and the others have other lengths.
            let size = if bytes.len() == 4 { 4 } else { 1 };
            let number = bytes.iter().fold(0_i128, |sum, byte| sum << 8 | i128::from(*byte));
            if covered || is_pan(number) {
                Value::Decimal(Decimal::from(vec![0; size]))
            } else {
                value.clone()
            }
        }
        other => other.clone(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn the_walk_masks_what_a_slow_masker_of_decoded_values_masks(seed in any::<u64>()) {
        let mut maker = Maker { dice: Dice(seed), names: 0 };
        let kind = if maker.dice.chance(90) { maker.record(4) } else { maker.kind(3) };
        let text = kind.json().to_string();
        let schema = schema(Format::Avro, &text);
        let value = maker.value(&kind, 4);
        let library = apache_avro::Schema::parse_str(&text).unwrap();
        let payload = if kind.is_simple() && maker.dice.chance(60) {
            let mut payload = Vec::new();
            maker.write(&value, &mut payload);
            payload
        } else {
            let writer = GenericDatumWriter::builder(&library).build().unwrap();
            writer.write_value_to_vec(value).unwrap()
        };
        let reader = GenericDatumReader::builder(&library).build().unwrap();
        let before = reader.read_value(&mut payload.as_slice()).unwrap();
        let (plan, paths) = plan_of(&mut maker.dice);
        let outcome = masked(&plan, &schema, &payload);
        prop_assert_ne!(&outcome, &Outcome::Withheld, "seed {}: {} {:?}", seed, text, before);
        let after = match &outcome {
            Outcome::Changed(changed) => {
                let mut rest = changed.as_slice();
                let after = reader.read_value(&mut rest).unwrap();
                prop_assert!(rest.is_empty());
                after
            }
            _ => before.clone(),
        };
        let Some(expected) = slow(&before, &paths, false) else { return Ok(()) };
        prop_assert_eq!(&after, &expected, "seed {}: {} {:?} {:?}", seed, text, paths, before);
        if let Outcome::Changed(changed) = &outcome {
            // What was masked has the same masks again.
            let again = masked(&plan, &schema, changed);
            prop_assert!(again == outcome || again == Outcome::Unchanged, "seed {}", seed);
        }
    }

    #[test]
    fn broken_values_do_no_harm(seed in any::<u64>(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut maker = Maker { dice: Dice(seed), names: 0 };
        let kind = maker.record(4);
        let schema = schema(Format::Avro, &kind.json().to_string());
        let (plan, _) = plan_of(&mut maker.dice);
        masked(&plan, &schema, &bytes);
        if !kind.is_simple() {
            return Ok(());
        }
        let value = maker.value(&kind, 4);
        let mut payload = Vec::new();
        maker.write(&value, &mut payload);
        // One byte less or more is another value, or none; never the same one.
        payload.push(0);
        prop_assert_eq!(masked(&plan, &schema, &payload), Outcome::Withheld);
        payload.truncate(payload.len().saturating_sub(2));
        if !payload.is_empty() {
            prop_assert_eq!(masked(&plan, &schema, &payload), Outcome::Withheld);
        }
    }
}

/// One field `a` of a type, masked by a method: what its bytes become.
#[track_caller]
fn check(kind: &str, label: &str, original: &[u8], expected: &[u8]) {
    let text = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{kind}}}]}}"#);
    let schema = schema(Format::Avro, &text);
    let plan = plan(&format!("fields: {{ a: {label} }}"));
    let expected = Outcome::Changed(expected.to_vec());
    assert_eq!(masked(&plan, &schema, original), expected, "{kind} {label}");
}

#[test]
fn masks_are_values_of_their_type() {
    // The hash of `x4` under `pii` is 73210b55092a2e9cdb05750636f914dd (see the tests of methods).
    let hash = b"\x73\x21\x0b\x55\x09\x2a\x2e\x9c\xdb\x05\x75\x06\x36\xf9\x14\xdd";
    check("\"string\"", "secret", b"\x04x4", b"\x10[masked]");
    check("\"string\"", "pci", b"\x1012345678", b"\x10****5678");
    check("\"string\"", "pii", b"\x04x4", b"\x4073210b55092a2e9cdb05750636f914dd");
    check("\"bytes\"", "secret", b"\x04x4", b"\0");
    check("\"bytes\"", "pci", b"\x1012345678", b"\0");
    check("\"bytes\"", "pii", b"\x04x4", &[b"\x20", &hash[..]].concat());
    check(r#"{"type":"fixed","name":"F","size":2}"#, "pii", b"x4", b"\x73\x21");
    check(r#"{"type":"fixed","name":"F","size":2}"#, "secret", b"x4", b"\0\0");
    check(r#"{"type":"fixed","name":"F","size":2}"#, "pci", b"x4", b"\0\0");
    check("\"int\"", "secret", b"\x0d", b"\0");
    check("\"int\"", "pci", b"\x0d", b"\0");
    check("\"boolean\"", "pii", b"\x01", b"\0");
    check("\"double\"", "secret", &7.5_f64.to_le_bytes(), &[0; 8]);
    check(r#"{"type":"enum","name":"E","symbols":["X","Y"]}"#, "pii", b"\x02", b"\0");
    check(
        r#"{"type":"string","logicalType":"uuid"}"#,
        "secret",
        b"\x04x4",
        b"\x4800000000-0000-0000-0000-000000000000",
    );
    check(
        r#"{"type":"string","logicalType":"uuid"}"#,
        "pii",
        b"\x04x4",
        b"\x4873210b55-092a-8e9c-9b05-750636f914dd",
    );
    check(
        r#"{"type":"bytes","logicalType":"decimal","precision":9}"#,
        "secret",
        b"\x02\x63",
        b"\x02\0",
    );
    check(
        r#"{"type":"bytes","logicalType":"big-decimal"}"#,
        "pii",
        b"\x06\x02\x63\0",
        b"\x06\x02\0\0",
    );
}

#[test]
fn hashed_numbers_stay_within_their_type() {
    for (kind, below) in [
        ("\"int\"", 1_i64 << 31),
        ("\"long\"", i64::MAX),
        (r#"{"type":"int","logicalType":"date"}"#, 2_932_897),
        (r#"{"type":"int","logicalType":"time-millis"}"#, 86_400_000),
        (r#"{"type":"long","logicalType":"time-micros"}"#, 86_400_000_000),
        (r#"{"type":"long","logicalType":"timestamp-millis"}"#, 253_402_300_800_000),
        (r#"{"type":"long","logicalType":"local-timestamp-micros"}"#, 253_402_300_800_000_000),
    ] {
        let text =
            format!(r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{kind}}}]}}"#);
        let (schema, plan) = (schema(Format::Avro, &text), plan("fields: { a: pii }"));
        let mut seen = std::collections::HashSet::new();
        for number in 0..40 {
            let mut payload = Vec::new();
            long(number, &mut payload);
            let Outcome::Changed(changed) = masked(&plan, &schema, &payload) else { panic!() };
            let library = apache_avro::Schema::parse_str(r#""long""#).unwrap();
            let reader = GenericDatumReader::builder(&library).build().unwrap();
            let Value::Long(hashed) = reader.read_value(&mut changed.as_slice()).unwrap() else {
                panic!()
            };
            assert!((0..=below).contains(&hashed), "{kind}: {hashed}");
            assert_eq!(
                masked(&plan, &schema, &payload),
                Outcome::Changed(changed),
                "the same again"
            );
            seen.insert(hashed);
        }
        assert!(seen.len() > 38, "{kind}");
    }
}

/// Names and texts.
type References = &'static [(&'static str, &'static str)];

const PERSON: &str = r#"{"type":"record","name":"Person","namespace":"n","fields":[
    {"name":"name","type":"string","doc":"x","default":""},
    {"name":"next","type":["null","Person"],"default":null}]}"#;

#[test]
fn schemas_refer_to_others() {
    let uses = |name: &str| {
        format!(r#"{{"type":"record","name":"n.R","fields":[{{"name":"p","type":"{name}"}}]}}"#)
    };
    let plan = plan("fields: { p.name: secret }");
    for name in ["Person", "n.Person"] {
        let schema = compile(Format::Avro, &uses(name), &[("n.Person", PERSON)]).unwrap();
        let expected = Outcome::Changed(b"\x10[masked]\x02\x02y\0".to_vec());
        assert_eq!(masked(&plan, &schema, b"\x02x\x02\x02y\0"), expected);
    }
    let rows: [(&str, References, &str); 9] = [
        ("{", &[], "no schema of Avro: EOF while parsing an object at line 1 column 1"),
        ("7", &[], "no schema of Avro: a type is a name, a list or an object"),
        (
            &uses("Person"),
            &[],
            "the type `Person` is not defined in the schema or in what it refers to",
        ),
        (
            &uses("m.Person"),
            &[("n.Person", PERSON)],
            "the type `m.Person` is not defined in the schema or in what it refers to",
        ),
        (PERSON, &[("n.Person", PERSON)], "no schema of Avro: a name is defined twice"),
        (r#"["null",["int"]]"#, &[], "no schema of Avro: a union lies in a union"),
        (r#"{"type":"fixed","name":"F"}"#, &[], "no schema of Avro: a fixed has no `size`"),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
            &[],
            "no schema of Avro: a record has two fields of the same name",
        ),
        (
            r#"{"type":"record","name":"R","fields":[7]}"#,
            &[],
            "no schema of Avro: a field is no object",
        ),
    ];
    for (text, references, expected) in rows {
        assert_eq!(compile(Format::Avro, text, references).unwrap_err().to_string(), expected);
    }
    let wide: Vec<Json> =
        (0..60_000).map(|index| json!({"name": format!("f{index}"), "type": "int"})).collect();
    let wide = json!({"type": "record", "name": "R", "fields": wide}).to_string();
    assert!(matches!(
        compile(Format::Avro, &wide, &[]),
        Err(SchemaError::TooLarge { .. } | SchemaError::TooManyTypes)
    ));
}
