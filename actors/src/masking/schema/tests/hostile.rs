//! What no honest writer writes.

use super::*;
use crate::masking::{Direction, Keys, RulesFile};

/// A schema in which all types of Avro stand side by side in a union.
const ANY: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":[
    "null","boolean","int","long","float","double","bytes","string",
    {"type":"fixed","name":"F","size":4},
    {"type":"enum","name":"E","symbols":["X","Y"]},
    {"type":"array","items":"R"},
    {"type":"map","values":"null"},
    "R"]}]}"#;

#[test]
fn broken_avro_is_withheld() {
    let plan = plan("fields: { b: secret }");
    let schema = schema(Format::Avro, ANY);
    let readable: [&[u8]; 13] = [
        b"\0",
        b"\x02\x01",
        b"\x04\x80\x01",
        b"\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x04\xff\xff\xff\xff\x0f",
        b"\x0c\x04\xff\xff",
        b"\x0e\x04\xc3\xa4",
        b"\x10\xff\xff\xff\xff",
        b"\x12\x02",
        b"\x14\x02\0\0",
        b"\x14\x01\x02\0\0",
        b"\x16\x02\x02k\0",
        b"\x18\0",
    ];
    for value in readable {
        assert_eq!(masked(&plan, &schema, value), Outcome::Unchanged, "{value:?}");
    }
    let unreadable: [&[u8]; 36] = [
        b"",                                                 // nothing
        b"\0\0",                                             // left over
        b"\x1a",                                             // no such branch
        b"\x01",                                             // branch -1
        b"\x80",                                             // cut
        b"\x02",                                             // cut
        b"\x02\x02",                                         // no boolean
        b"\x02\xff",                                         // no boolean
        b"\x80\0",                                           // overlong
        b"\x04\x80\0",                                       // overlong
        b"\x04\x81\x80\0",                                   // overlong
        b"\x04\x80\x80\x80\x80\x10",                         // 33 bits
        b"\x04\xff\xff\xff\xff\xff\x01",                     // 42 bits
        b"\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x03",     // 65 bits
        b"\x06\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", // 11 bytes
        b"\x08\0\0\0",                                       // cut
        b"\x0a\0\0\0\0\0\0\0",                               // cut
        b"\x0c\x04\xff",                                     // longer than there is
        b"\x0c\x01",                                         // of -1 bytes
        b"\x0c\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",     // of 2^63-1 bytes
        b"\x0e\x04\xff\xff",                                 // no UTF-8
        b"\x0e\x02\xc3",                                     // half a character
        b"\x0e\x06\xed\xa0\x80",                             // half of a surrogate pair
        b"\x10\0\0\0",                                       // cut
        b"\x12\x04",                                         // no such symbol
        b"\x12\x01",                                         // symbol -1
        b"\x14",                                             // no end
        b"\x14\x02\0",                                       // no end
        b"\x14\x01\0\0\0",                                   // a block of fewer bytes than it has
        b"\x14\x01\x04\0\0",                                 // a block of more
        b"\x14\x01\x01\0\0",                                 // a block of -1 bytes
        b"\x14\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\0", // 2^63 items
        b"\x16\x02\x02\xff\0",                               // a key that is no UTF-8
        b"\x16\x02\x04k\0",                                  // longer than there is
        b"\x16\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02",     // 2^63 and more
        b"\x18",                                             // no end
    ];
    for value in unreadable {
        assert_eq!(masked(&plan, &schema, value), Outcome::Withheld, "{value:?}");
    }
}

#[test]
fn values_without_bytes_are_counted() {
    let plan = plan("fields: { b: secret }");
    let nulls = schema(Format::Avro, r#"{"type":"array","items":"null"}"#);
    let empty = r#"{"type":"array","items":{"type":"record","name":"R","fields":[]}}"#;
    let empty = schema(Format::Avro, empty);
    // 2^40 items, then just above and just below what is allowed, and as many blocks of one.
    let many = b"\x80\x80\x80\x80\x80\x80\x01\0";
    for schema in [&nulls, &empty] {
        assert_eq!(masked(&plan, schema, many), Outcome::Withheld);
        assert_eq!(masked(&plan, schema, b"\x80\xb5\x18\0"), Outcome::Withheld, "200,000");
        assert_eq!(masked(&plan, schema, b"\xfe\xb4\x18\0"), Outcome::Unchanged, "199,999");
        let blocks = |count: usize| [vec![2; count], vec![0]].concat();
        assert_eq!(masked(&plan, schema, &blocks(199_999)), Outcome::Unchanged);
        assert_eq!(masked(&plan, schema, &blocks(200_000)), Outcome::Withheld);
    }
    // Records that double at each level, without a byte.
    let mut text = r#"{"type":"record","name":"R0","fields":[]}"#.to_owned();
    for level in 1..30 {
        text = format!(
            r#"{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":{text}}},{{"name":"b","type":"R{}"}}]}}"#,
            level - 1
        );
    }
    assert_eq!(masked(&plan, &schema(Format::Avro, &text), b""), Outcome::Withheld);
    let itself = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"R"}]}"#;
    assert_eq!(masked(&plan, &schema(Format::Avro, itself), b""), Outcome::Withheld);
}

#[test]
fn depth_and_size_are_bounded() {
    let plan = plan("fields: { b: secret }");
    let avro = schema(Format::Avro, ANY);
    let deep = |depth: usize| [vec![0x18; depth - 1], vec![0]].concat();
    assert_eq!(masked(&plan, &avro, &deep(128)), Outcome::Unchanged);
    assert_eq!(masked(&plan, &avro, &deep(129)), Outcome::Withheld);
    assert_eq!(masked(&plan, &avro, &deep(1 << 20)), Outcome::Withheld);
    // What is in bytes at the root might be what a path leads to.
    let bytes = schema(Format::Avro, "\"bytes\"");
    assert_eq!(masked(&plan, &bytes, b"\x02x"), Outcome::Changed(b"\0".to_vec()));
    let plan = super::plan("detect: { secret: [email] }");
    let long = |length: usize| {
        let mut value = Vec::new();
        super::super::walk::write_varint(u64::try_from(length).unwrap() << 1, &mut value);
        value.resize(value.len() + length, 0xff);
        value
    };
    // The id in front and the length are part of the value's size.
    assert_eq!(masked(&plan, &bytes, &long((1 << 20) - 9)), Outcome::Unchanged);
    assert_eq!(masked(&plan, &bytes, &long((1 << 20) - 8)), Outcome::Unchanged);
    assert_eq!(masked(&plan, &bytes, &long((1 << 20) - 7)), Outcome::Withheld);

    let text = "syntax = \"proto2\"; message M { optional M m = 1; optional group G = 2 { optional M m = 1; } }";
    let protobuf = schema(Format::Protobuf, text);
    let nested = |depth: usize| {
        (1..depth).fold(Vec::new(), |inner, _| {
            let mut outer = vec![0x0a];
            super::super::walk::write_varint(u64::try_from(inner.len()).unwrap(), &mut outer);
            outer.extend(inner);
            outer
        })
    };
    assert_eq!(masked(&plan, &protobuf, &nested(128)), Outcome::Unchanged);
    assert_eq!(masked(&plan, &protobuf, &nested(129)), Outcome::Withheld);
    assert_eq!(masked(&plan, &protobuf, &[0x13].repeat(100_000)), Outcome::Withheld, "groups");
}

const MESSAGE: &str = "syntax = \"proto2\";
    message M {
      optional int32 i = 1; optional string s = 2; repeated uint32 r = 3;
      optional group G = 4 { optional bool b = 1; }
      map<string, int32> m = 5; optional fixed64 f = 6; optional M n = 7; optional bytes y = 8;
      oneof choice { sint32 z = 9; float l = 10; }
      repeated fixed32 p = 11 [packed = true];
      map<int64, M> k = 12; optional E e = 13;
    }
    enum E { ONE = 1; TWO = 2; }";

#[test]
fn broken_protobuf_is_withheld() {
    let plan = plan("fields: { x: secret }");
    let schema = schema(Format::Protobuf, MESSAGE);
    let readable: [&[u8]; 17] = [
        b"",
        b"\x08\x01\x08\x02",                             // twice: the last counts
        b"\x08\x80\0",                                   // padded, as some writers do
        b"\x88\0\x01",                                   // a padded tag
        b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", // -1
        b"\x08\xff\xff\xff\xff\x0f",                     // -1 of 32 bits
        b"\x12\x02\xc3\xa4",
        b"\x18\x01\x1a\x02\x01\x02\x18\x03", // packed and not
        b"\x1a\0",
        b"\x23\x08\x01\x24",
        b"\x2a\0",                    // neither key nor value
        b"\x2a\x05\x10\x01\x0a\x01k", // the value first
        b"\x31\0\0\0\0\0\0\0\0",
        b"\x3a\x02\x08\x01",
        b"\x5a\x04\0\0\0\0",
        b"\x5d\0\0\0\0",
        b"\x68\x07", // a symbol that is not listed
    ];
    for value in readable {
        assert_eq!(masked(&plan, &schema, value), Outcome::Unchanged, "{value:?}");
    }
    let unreadable: [&[u8]; 33] = [
        b"\x08",                                             // cut
        b"\x08\x80",                                         // cut
        b"\0\0",                                             // field 0
        b"\x78\0",                                           // no such field
        b"\xf8\xff\xff\xff\x0f\0",                           // the last number that there is
        b"\x88\x80\x80\x80\x80\x01\x01",                     // a tag of 36 bits
        b"\x0e\0",                                           // no such wire type
        b"\x0f\0",                                           // no such wire type
        b"\x09\0\0\0\0\0\0\0\0",                             // of another wire type
        b"\x0a\x01\x01",                                     // packed, and not repeated
        b"\x0d\0\0\0\0",                                     // of another wire type
        b"\x08\x80\x80\x80\x80\x10",                         // 33 bits
        b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",     // 65 bits
        b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", // 11 bytes
        b"\x12\x02\xff\xff",                                 // no UTF-8
        b"\x12\x03ab",                                       // longer than there is
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",     // of 2^64-1 bytes
        b"\x1a\x01\x80",                                     // packed, and cut
        b"\x1a\x02\x01",                                     // packed, and cut
        b"\x5a\x03\0\0\0",                                   // packed, and cut
        b"\x23\x08\x01",                                     // no end
        b"\x23\x08\x01\x2c",                                 // the end of another
        b"\x24",                                             // an end alone
        b"\x23\x08\x02\x24",                                 // no boolean
        b"\x3a\x01\x24",                                     // an end in a message
        b"\x3a\x03\x08\x01",                                 // longer than there is
        b"\x3a\x01\x08",                                     // cut
        b"\x2a\x06\x0a\x01k\x0a\x01j",                       // an entry with two keys
        b"\x2a\x02\x18\0",                                   // an entry with another field
        b"\x2a\x02\x08\x01",                                 // a key of another wire type
        b"\x2a\x03\x0a\x01\xff",                             // a key that is no UTF-8
        b"\x62\x04\x08\x01\x12\x01",                         // longer than there is
        b"\x31\0\0\0\0\0\0\0",                               // cut
    ];
    for value in unreadable {
        assert_eq!(masked(&plan, &schema, value), Outcome::Withheld, "{value:?}");
    }
    let tokens = |count: usize| [8, 1].repeat(count);
    assert_eq!(masked(&plan, &schema, &tokens(100_000)), Outcome::Unchanged);
    assert_eq!(masked(&plan, &schema, &tokens(100_001)), Outcome::Withheld);
}

#[test]
fn schemas_are_bounded() {
    let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(200), "}".repeat(200));
    assert!(compile(Format::Avro, &deep, &[]).is_err());
    let message = |depth: usize| {
        format!("syntax = \"proto3\"; {}{}", "message M {".repeat(depth), "}".repeat(depth))
    };
    assert!(compile(Format::Protobuf, &message(20), &[]).is_ok());
    assert!(compile(Format::Protobuf, &message(50_000), &[]).is_err());
    // A message in an option is not read at all: it would be as deep as its writer likes.
    let option = format!(
        "syntax = \"proto3\"; import \"google/protobuf/struct.proto\";
         import \"google/protobuf/descriptor.proto\";
         extend google.protobuf.FileOptions {{ google.protobuf.Value v = 50000; }}
         option (v) = {}{}; message M {{ string s = 1; }}",
        "{ list_value { values ".repeat(30_000),
        "} }".repeat(30_000)
    );
    assert!(option.len() <= super::super::TEXT_BYTES_MAX);
    assert!(compile(Format::Protobuf, &option, &[]).is_ok());
    let long = " ".repeat(super::super::TEXT_BYTES_MAX);
    for format in [Format::Avro, Format::Json, Format::Protobuf] {
        let error = compile(format, "\"int\"", &[("r", &long)]).unwrap_err();
        assert!(matches!(error, SchemaError::TooLarge { bytes: 1_048_581 }), "{error}");
    }
    let wide: String = (1..18_000).map(|field| format!("bool f{field}={field};")).collect();
    let wide: String = (0..3).map(|message| format!("message M{message} {{{wide}}}")).collect();
    let error = compile(Format::Protobuf, &format!("syntax=\"proto3\";{wide}"), &[]).unwrap_err();
    assert_eq!(error, SchemaError::TooManyTypes);
}

#[test]
fn a_list_of_what_may_pass_lets_no_number_by() {
    let text = "labels: { rest: { method: drop } }\nrules:\n  - { topics: [t], only: { label: rest, fields: [salary.currency] } }";
    let files = [RulesFile { name: "t.yaml", text }];
    let rules = crate::masking::compile(&files, &Keys::default()).unwrap();
    let plan = rules.plan("t", Direction::Read, |_| false).unwrap();
    let record = r#"{"type":"record","name":"S","fields":[{"name":"currency","type":"string"}]}"#;
    for (kind, value) in [
        ("double", 7.5_f64.to_le_bytes().to_vec()),
        ("double", f64::NAN.to_le_bytes().to_vec()),
        ("double", 123_456.0_f64.to_le_bytes().to_vec()),
        ("float", 7.5_f32.to_le_bytes().to_vec()),
    ] {
        let text = format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"salary","type":["{kind}",{record}]}}]}}"#
        );
        let schema = schema(Format::Avro, &text);
        let zeros = vec![0; value.len() + 1];
        let value = [&[0][..], &value].concat();
        assert_eq!(masked(&plan, &schema, &value), Outcome::Changed(zeros), "{kind} {value:?}");
        let listed = masked(&plan, &schema, b"\x02\x06EUR");
        assert_eq!(listed, Outcome::Unchanged, "what the list names passes");
        let schema = self::schema(Format::Avro, &format!(r#""{kind}""#));
        let zeros = vec![0; value.len() - 1];
        assert_eq!(masked(&plan, &schema, &value[1..]), Outcome::Changed(zeros), "{kind} alone");
    }
}

#[test]
fn registered_schemas_of_json_are_bounded_in_what_they_cost() {
    let doubling: Vec<String> = (1..40)
        .map(|at| {
            let below = format!(r##"{{"$ref":"#/$defs/a{}"}}"##, at - 1);
            format!(r#""a{at}":{{"allOf":[{below},{below}]}}"#)
        })
        .collect();
    let doubling =
        format!(r##"{{"$defs":{{"a0":{{}},{}}},"$ref":"#/$defs/a39"}}"##, doubling.join(","));
    // Whichever order the members are read in, the first leads through all others.
    let chain: Vec<String> = (0..3_000)
        .map(|at| format!(r##""a{at:04}":{{"$ref":"#/$defs/a{:04}"}}"##, at + 1))
        .collect();
    let chain =
        format!(r##"{{"$defs":{{{},"a3000":{{}}}},"$ref":"#/$defs/a0000"}}"##, chain.join(","));
    let patterns: Vec<String> =
        (0..300).map(|at| format!(r#""p{at}":{{"pattern":"x{at}"}}"#)).collect();
    let patterns = format!(r#"{{"properties":{{{}}}}}"#, patterns.join(","));
    type Row<'r> = (&'r str, &'r [(&'r str, &'r str)], &'r str);
    let rows: [Row<'_>; 10] = [
        (&doubling, &[], "more than 50000"),
        (&chain, &[], "too deep"),
        (&patterns, &[], "too many patterns"),
        (r##"{"properties":{"a":{"$ref":"#"}}}"##, &[], "recursive"),
        (r#"{"$ref":"other.json"}"#, &[], "leads to nothing"),
        (r#"{"$ref":"https://x.example/other.json"}"#, &[], "leads to nothing"),
        (r##"{"$defs":{"a":{"$id":"b.json"}},"$ref":"b.json"}"##, &[("b.json", "{}")], "`$id`"),
        (r##"{"$id":"https://x.example/b.json","$ref":"b.json"}"##, &[("b.json", "{}")], "either"),
        (r##"{"$dynamicRef":"#a"}"##, &[], "`$dynamicRef`"),
        (
            r#"{"properties":{"c":{"$ref":"c.json#/$defs/n"}}}"#,
            &[("c.json", r#"{"$id":"https://x.example/c.json","$defs":{"n":{"type":"integer"}}}"#)],
            "",
        ),
    ];
    let document = b"\0\0\0\0\x07{\"c\":1}";
    for (text, references, expected) in rows {
        let schema = compile(Format::Json, text, references).unwrap();
        let checked = schema.check(&Framed::read(document, None).unwrap());
        match checked {
            Ok(()) => assert_eq!(expected, "", "{text}"),
            Err(reason) => assert!(!expected.is_empty() && reason.contains(expected), "{reason}"),
        }
        // What is masked in a document does not depend on it.
        let plan = plan("fields: { c: secret }");
        let changed = masked_value(&plan, &schema, document, None);
        assert!(matches!(changed, Outcome::Changed(_)));
    }
    let schema = schema(Format::Json, r#"{"items":{"type":"integer"}}"#);
    let large = [&b"\0\0\0\0\x07["[..], &b"1,".repeat(600_000), b"1]"].concat();
    let reason = schema.check(&Framed::read(&large, None).unwrap()).unwrap_err();
    assert!(reason.contains("larger than"), "{reason}");
}

#[test]
fn a_text_that_calls_itself_a_uuid_is_looked_at_as_a_text() {
    let schema = schema(
        Format::Avro,
        r#"{"type":"record","name":"R","fields":[{"name":"p","type":{"type":"string","logicalType":"uuid"}}]}"#,
    );
    let text = |text: &str| [&[u8::try_from(text.len() * 2).unwrap()], text.as_bytes()].concat();
    let below = plan("fields: { p.card: secret }");
    let document = text(r#"{"card":"4111111111111111"}"#);
    assert_eq!(masked(&below, &schema, &document), Outcome::Changed(text("[masked]")));
    let uuid = text("01234567-89ab-cdef-0123-456789abcdef");
    assert_eq!(masked(&below, &schema, &uuid), Outcome::Unchanged);
    let detected = plan("detect: { secret: [payment-card] }");
    let found = masked(&detected, &schema, &text("by 4111111111111111"));
    assert_eq!(found, Outcome::Changed(text("by [masked]")));
}
