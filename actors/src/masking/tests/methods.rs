//! Rows for methods, for keys and headers, and for lists of what may pass.

use std::collections::HashSet;
use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::SecretSlice;

use super::super::{
    Content, Demand, Direction, Keys, MaskPlan, Masked, RulesFile, Scratch, compile,
};
use super::{check, keys, masked, plan};

/// The plan of a topic `t` whose field `f`, header `h` and key fall under a label with this body.
fn method(label: &str) -> MaskPlan {
    let text = format!(
        "labels: {{ x: {{ {label} }} }}\nrules:\n  - {{ topics: [t], fields: {{ f: x }}, key: x, headers: {{ h: x }} }}\n"
    );
    let rules = compile(&[RulesFile { name: "t.yaml", text: &text }], &keys()).unwrap();
    rules.plan("t", Direction::Read, |_| false).unwrap()
}

fn check_rows(label: &str, rows: &[(&str, &str)]) {
    let plan = method(label);
    for (value, expected) in rows {
        let expected = match *expected {
            "" => "{\"a\":0}".to_owned(),
            expected => format!("{{\"a\":0,\"f\":{expected}}}"),
        };
        check(&plan, &format!("{{\"a\":0,\"f\":{value}}}"), &expected);
    }
}

#[test]
fn types_stay_where_a_label_says_so() {
    check_rows(
        "method: redact, type: keep",
        &[
            (r#""text""#, r#""[masked]""#),
            ("17", "0"),
            ("-1.5e7", "0"),
            ("true", "false"),
            ("null", "null"),
            (r#"{"a":{}}"#, "{}"),
            (r#"[1,"x",[true]]"#, r#"[0,"[masked]",[false]]"#),
        ],
    );
    check_rows(
        "method: keep-last, n: 4, type: keep",
        &[("4111111111110011", "11"), ("-123", "3"), ("1.25", "0"), ("7", "0"), ("true", "false")],
    );
    for label in ["method: hash, type: keep", "method: token, type: keep"] {
        let plan = method(label);
        let mut scratch = Scratch::new();
        let one = masked(&plan, br#"{"f":[17,18,17]}"#, &mut scratch);
        let document: serde_json::Value = serde_json::from_slice(&one).unwrap();
        let number = |index: usize| document["f"][index].as_u64().unwrap();
        assert!(number(0) < 1 << 48 && number(0) == number(2) && number(0) != number(1), "{one:?}");
    }
}

#[test]
fn values_become_null_or_are_left_out() {
    check_rows(
        "method: nullify",
        &[
            (r#""text""#, "null"),
            (r#""\u0074""#, "null"),
            ("1e5", "null"),
            ("false", "null"),
            (r#"{"a":[1]}"#, "null"),
            (r#"[1,{}]"#, "[null,null]"),
        ],
    );
    check_rows(
        "method: drop",
        &[(r#""text""#, ""), ("1", ""), ("null", ""), (r#"{"a":[1]}"#, ""), (r#"[[1],{}]"#, "")],
    );
    let plan = plan("fields: { a.b: gone, a.c: gone, d: gone, '**.e': none }");
    let rows = [
        (r#"{"a":{"b":1},"d":2}"#, r#"{"a":{}}"#),
        (r#"{"a":{"b":1,"x":2,"c":3},"y":4}"#, r#"{"a":{"x":2},"y":4}"#),
        (
            r#"{ "d" : 1 , "a" : { "c" : 2 , "b" : 3 } , "z" : 0 }"#,
            r#"{   "a" : {    } , "z" : 0 }"#,
        ),
        (r#"{"d":1,"\u0064":2,"z":0,"d":{"q":"}"}}"#, r#"{"z":0}"#),
        (r#"[{"d":1},{"z":{"e":"x"}}]"#, r#"[{},{"z":{"e":null}}]"#),
        // Within a document in a string, too.
        (r#"{"a":"{\"b\":1,\"x\":[1]}"}"#, r#"{"a":"{\"x\":[1]}"}"#),
        (r#"{"p":"{\"e\":\"\\u0031\"}"}"#, r#"{"p":"{\"e\":null}"}"#),
    ];
    for (value, expected) in rows {
        check(&plan, value, expected);
    }
}

#[test]
fn dates_lose_their_finer_parts() {
    check_rows(
        "method: truncate-date, to: month, epoch: milliseconds",
        &[
            (r#""2026-11-22""#, r#""2026-11-01""#),
            (r#""2026-11-22T17:33:21.125Z""#, r#""2026-11-01T00:00:00.000Z""#),
            (r#""2026-11-22T17:33+05:30""#, r#""2026-11-01T00:00+05:30""#),
            (r#""2026-11-22 17:33:21-0100""#, r#""2026-11-01 00:00:00-0100""#),
            (r#""\u0032026-11-22""#, r#""2026-11-01""#),
            (r#""2026-02-30""#, r#""[masked]""#),
            (r#""2026-11-22T17:33:21Z and more""#, r#""[masked]""#),
            (r#""22.11.2026""#, r#""[masked]""#),
            (r#""ü2026-11-22""#, r#""[masked]""#),
            ("1795368801125", "1793491200000"),
            ("-1", "-2678400000"),
            ("1.5", r#""[masked]""#),
            ("99999999999999999", r#""[masked]""#),
            ("true", r#""[masked]""#),
        ],
    );
    check_rows(
        "method: truncate-date, to: year",
        &[("1795368801", r#""[masked]""#), (r#""2026-11-22""#, r#""2026-01-01""#)],
    );
    check_rows("method: truncate-date, to: day, epoch: seconds", &[("1795368801", "1795305600")]);
    check_rows("method: truncate-date, to: year, epoch: days", &[("20779", "20454")]);
}

#[test]
fn tokens_are_the_same_for_the_same_text_and_tell_their_key() {
    let two = [("old", 1_u8), ("new", 2)]
        .map(|(id, byte)| (id.to_owned(), SecretSlice::from(vec![byte; 32])));
    let two = Keys::new(two.into()).unwrap();
    let text = |key: &str| {
        format!(
            "labels: {{ x: {{ method: token, key: {key} }}, z: {{ method: token, key: {key} }} }}\nrules:\n  \
             - {{ topics: [t], fields: {{ f: x, g: z }} }}\n"
        )
    };
    let mask = |key: &str, value: &str| {
        let rules = compile(&[RulesFile { name: "t.yaml", text: &text(key) }], &two).unwrap();
        let plan = rules.plan("t", Direction::Read, |_| false).unwrap();
        String::from_utf8(masked(&plan, value.as_bytes(), &mut Scratch::new())).unwrap()
    };
    let old = mask("old", r#"{"f":"ann"}"#);
    let token = old.strip_prefix("{\"f\":\"tok_old_").unwrap().strip_suffix("\"}").unwrap();
    assert!(token.len() == 26 && token.bytes().all(|it| it.is_ascii_alphanumeric()), "{old}");
    assert_eq!(old, mask("old", r#"{"f":"\u0061nn"}"#));
    assert!(mask("old", r#"{"f":"bob"}"#) != old);
    let new = mask("new", r#"{"f":"ann"}"#);
    assert!(new.contains("tok_new_") && !new.contains(token), "{new}");
    assert!(!mask("old", r#"{"g":"ann"}"#).contains(token), "another label has other tokens");
}

#[test]
fn encrypted_values_keep_their_format() {
    let plan = method("method: fpe");
    let mut scratch = Scratch::new();
    let mut encrypt = |value: &str| {
        let document = format!("{{\"f\":{value}}}");
        let masked = masked(&plan, document.as_bytes(), &mut scratch);
        let masked = String::from_utf8(masked).unwrap();
        masked.strip_prefix("{\"f\":").unwrap().strip_suffix('}').unwrap().to_owned()
    };
    for value in ["\"4111-1111 1111.1111\"", "\"123456\"", "\"+49 (30) 1234567\""] {
        let encrypted = encrypt(value);
        let shape = |text: &str| text.replace(|it: char| it.is_ascii_digit(), "0");
        assert_eq!(shape(&encrypted), shape(value));
        assert_ne!(encrypted, value);
        assert_eq!(encrypted, encrypt(value), "the same text has the same cipher text");
    }
    // A permutation: no two texts share a cipher text.
    let all: HashSet<String> =
        (0..3_000).map(|number| encrypt(&format!("\"{number:06}\""))).collect();
    assert_eq!(all.len(), 3_000);
    // Beyond the limits of the domain, and what is no separator.
    for value in
        ["\"12345\"", "\"12345a\"", "\"ü123456\"", "\"\"", "true", "{\"a\":1}", "\"\\n123456\""]
    {
        assert_eq!(encrypt(value), "\"[masked]\"", "{value}");
    }
    let long = "7".repeat(129);
    assert_eq!(encrypt(&format!("\"{long}\"")), "\"[masked]\"");
    assert_eq!(encrypt("1234567").len(), "\"1234567\"".len());

    let plan = method("method: fpe, type: keep");
    let mut numbers = HashSet::new();
    for number in 1_000_000..1_003_000 {
        let document = format!("{{\"f\":{number}}}");
        let masked = masked(&plan, document.as_bytes(), &mut scratch);
        let read: serde_json::Value = serde_json::from_slice(&masked).unwrap();
        let encrypted = read["f"].as_u64().unwrap();
        assert!((1_000_000..10_000_000).contains(&encrypted), "{encrypted}");
        numbers.insert(encrypted);
    }
    assert_eq!(numbers.len(), 3_000);
    check(&plan, r#"{"f":[12345,1.5,-0]}"#, r#"{"f":[0,0,-0]}"#);

    let plan = method("method: fpe, alphabet: alphanumeric");
    let masked = masked(&plan, br#"{"f":"Ann-2.b"}"#, &mut scratch);
    let text = String::from_utf8(masked).unwrap();
    assert!(
        text.len() == 15 && text.get(9..10) == Some("-") && text.get(11..12) == Some("."),
        "{text}"
    );
}

#[test]
fn keys_and_headers_are_masked_as_their_rules_say() {
    let mut scratch = Scratch::new();
    let keep = method("method: keep-last, n: 2");
    assert_eq!(keep.mask_key(b"user-1234", &mut scratch), Masked::Changed(b"*******34"));
    assert_eq!(keep.mask_key(b"\xff\x00\x01", &mut scratch), Masked::Changed(b"[masked]"));
    assert_eq!(keep.mask_header_name(b"h", &mut scratch), Masked::Unchanged);
    assert_eq!(keep.mask_header_value(b"h", b"abcd", &mut scratch), Masked::Changed(b"**cd"));
    assert_eq!(keep.mask_header_value(b"i", b"abcd", &mut scratch), Masked::Unchanged);
    for label in ["method: nullify", "method: drop"] {
        assert_eq!(method(label).mask_key(b"k", &mut scratch), Masked::Null);
        assert_eq!(method(label).mask_header_value(b"h", b"v", &mut scratch), Masked::Null);
    }
    assert_eq!(method("method: nullify").mask_header_name(b"h", &mut scratch), Masked::Unchanged);
    assert_eq!(method("method: drop").mask_header_name(b"h", &mut scratch), Masked::Null);
    assert_eq!(method("method: drop").mask_header_name(b"i", &mut scratch), Masked::Unchanged);
    let globs = plan("headers: { 'x-user-*': gone, '*': secret }");
    assert_eq!(globs.mask_header_name(b"x-user-id", &mut scratch), Masked::Null);
    assert_eq!(globs.mask_header_name(b"x-trace", &mut scratch), Masked::Unchanged);
    assert_eq!(globs.mask_header_value(b"\xffx", b"v", &mut scratch), Masked::Changed(b"[masked]"));
}

#[test]
fn lists_let_nothing_else_pass() {
    let plan =
        plan("only: { label: gone, fields: [id, lines.sku, '**.currency'], headers: ['trace-*'] }");
    let rows = [
        (r#"{"id":1,"name":"Ann"}"#, r#"{"id":1}"#),
        (r#"{"name":"Ann","id":{"a":[1]},"x":[1,{}]}"#, r#"{"id":{"a":[1]},"x":[{}]}"#),
        (
            r#"{"lines":[{"sku":1,"who":"Ann"},"Ann",[{"sku":2}]]}"#,
            r#"{"lines":[{"sku":1},[{"sku":2}]]}"#,
        ),
        (r#"{"a":{"b":{"c":"d","currency":"EUR"}}}"#, r#"{"a":{"b":{"currency":"EUR"}}}"#),
        (r#"[{"id":1},2,"three",null]"#, r#"[{"id":1}]"#),
        (r#"{"lines":"{\"sku\":1}"}"#, "{}"),
        ("{}", "{}"),
        // What is no container cannot lose a part.
        ("17", r#"{"x-masked":"withheld"}"#),
        (r#""id""#, r#"{"x-masked":"withheld"}"#),
        ("null", r#"{"x-masked":"withheld"}"#),
    ];
    for (value, expected) in rows {
        check(&plan, value, expected);
    }
    let mut scratch = Scratch::new();
    assert_eq!(plan.mask_key(b"ann", &mut scratch), Masked::Null);
    assert_eq!(plan.mask_header_name(b"trace-id", &mut scratch), Masked::Unchanged);
    assert_eq!(plan.mask_header_name(b"user", &mut scratch), Masked::Null);
    let key = super::plan("only: { label: gone, fields: [id], key: true }");
    assert_eq!(key.mask_key(b"ann", &mut scratch), Masked::Unchanged);
    // Of two lists each must let pass.
    let two = super::rules(
        "  - { topics: [t], only: { label: gone, fields: [a, b] } }\n  - { topics: ['*'], only: { label: gone, fields: [b.x, c] } }",
    );
    let two = two.plan("t", Direction::Read, |_| false).unwrap();
    check(&two, r#"{"a":1,"b":{"x":2,"y":3},"c":4}"#, r#"{"b":{"x":2}}"#);
}

#[test]
fn a_plan_tells_what_masked() {
    let plan = plan("fields: { '**.card': pci }\n    detect: { pii: [email] }");
    let mut scratch = Scratch::new();
    masked(&plan, br#"{"a":{"card":"1234"},"b":"ann@example.com"}"#, &mut scratch);
    let fired: Vec<String> = plan
        .fired(&scratch)
        .map(|fired| format!("{} {} {}", fired.site.what, fired.label, fired.site.place))
        .collect();
    assert_eq!(fired, ["field **.card pci test.yaml:11", "detector email pii test.yaml:12"]);
    assert_eq!(scratch.counts().labels, [1, 1]);
}

#[test]
fn wrong_labels_and_paths_are_refused_with_their_place() {
    let two =
        Keys::new(["a", "b"].map(|id| (id.to_owned(), SecretSlice::from(vec![1; 16]))).into());
    let two = two.unwrap();
    let label = |body: &str| format!("labels:\n  x: {{ {body} }}\n");
    let rule = |body: &str| {
        format!("labels: {{ x: {{ method: redact }} }}\nrules:\n  - topics: [t]\n    {body}\n")
    };
    let rows = [
        (label("method: fpe"), "t.yaml:2: label `x` needs `key`, one of `a`, `b`"),
        (label("method: token, key: c"), "t.yaml:2: unknown key `c`; the nearest known is `a`"),
        (
            label("method: redact, key: a"),
            "t.yaml:2: `key` belongs to method `hash`, `token`, `fpe`, and this is `redact`",
        ),
        (
            label("method: hash, key: a, alphabet: digits"),
            "t.yaml:2: `alphabet` belongs to method `fpe`, and this is `hash`",
        ),
        (
            label("method: truncate-date"),
            "t.yaml:2: method `truncate-date` needs `to`: `year`, `month` or `day`",
        ),
        (
            label("method: truncate-date, to: week"),
            "t.yaml:2: unknown precision `week`; the nearest known is `year`",
        ),
        (
            label("method: redact, type: number"),
            "t.yaml:2: unknown type `number`; the nearest known is `keep`",
        ),
        (
            rule("fields: { 'a.**': x }"),
            "t.yaml:4: path `a.**` ends with `**`; name the key that is meant at any depth behind it",
        ),
        (
            rule("only: { label: x, fields: [a] }"),
            "t.yaml:4: `only` leaves out what it does not name: label `x` needs method `drop`",
        ),
        (
            rule("only: { fields: [a] }"),
            "t.yaml:4: `only` needs a `label`, and `fields` that may pass",
        ),
        (rule("key: z"), "t.yaml:4: unknown label `z`; the nearest known is `x`"),
        (rule("on: []"), "t.yaml:4: a rule holds on no way; say `on: [read, write]`"),
        (rule("on: [produce]"), "t.yaml:4: unknown way `produce`; the nearest known is `write`"),
        (rule("validate: xml"), "t.yaml:4: unknown format `xml`; the nearest known is `json`"),
        (
            rule("validate: { json-schema: '{' }"),
            "t.yaml:4: `json-schema`: no JSON Schema: it is no JSON: EOF while parsing an object at line 1 column 1",
        ),
        (rule("headers: [x]"), "t.yaml:4: a map is wanted here, and this is a list"),
        (
            rule("fields: { '**.a.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.b': x }"),
            "t.yaml:3: the paths of all rules lead to too many places; use fewer `*` behind `**`",
        ),
    ];
    for (text, expected) in rows {
        let error = compile(&[RulesFile { name: "t.yaml", text: &text }], &two).unwrap_err();
        assert_eq!(error.to_string(), expected, "for {text}");
    }
    let error = Keys::new(vec![("a b".to_owned(), SecretSlice::from(vec![1; 16]))]).unwrap_err();
    assert_eq!(error.to_string(), "key id `a b` is not 1 to 32 letters, digits, `-` and `.`");
}

#[test]
fn demands_say_what_is_wrong_and_nothing_of_the_value() {
    let json = Demand::Json;
    let check = |demand: &Demand, value: &[u8]| demand.check(Content::Plain(value));
    let rows: [(&[u8], Result<(), &str>); 5] = [
        (b"{\"a\":[1,2.5e7,\"x\",null]}", Ok(())),
        (b"17", Ok(())),
        (b"", Err("it is not one JSON document (line 1, column 0; at most 128 deep)")),
        (b"{} {}", Err("it is not one JSON document (line 1, column 4; at most 128 deep)")),
        (b"\"\xff\"", Err("it is no UTF-8 from byte 1 on")),
    ];
    for (value, expected) in rows {
        assert_eq!(
            check(&json, value),
            expected.map_err(str::to_owned),
            "{}",
            value.escape_ascii()
        );
    }
    let schema = r#"{"properties":{"card":{"type":"string","pattern":"^(4+)+$"}}}"#;
    let schema = Demand::json_schema(schema).unwrap();
    assert_eq!(check(&schema, br#"{"card":"4444"}"#), Ok(()));
    let error = check(&schema, br#"{"card":{"secret":"s3cr3t"}}"#).unwrap_err();
    assert!(error.starts_with("/card: ") && !error.contains("s3cr3t"), "{error}");
    // A pattern that a backtracking engine would take for ever to refuse.
    let hostile = format!("{{\"card\":\"{}x\"}}", "4".repeat(100_000));
    let started = std::time::Instant::now();
    assert!(check(&schema, hostile.as_bytes()).is_err());
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
    for (schema, expected) in [
        ("{", "no JSON Schema: it is no JSON: EOF while parsing an object at line 1 column 1"),
        (r#"{"type":"nothing"}"#, ""),
        (r#"{"$ref":"https://schemas.example/a.json"}"#, ""),
    ] {
        let error = Demand::json_schema(schema).unwrap_err().to_string();
        assert!(error.starts_with(expected) && !error.is_empty(), "{error}");
    }
}

#[test]
fn rules_hold_for_the_ways_that_they_name() {
    let rules = super::rules(
        "  - { topics: [t], on: [write], fields: { w: secret } }\n  - { topics: [t], on: [read, write], fields: { b: secret } }\n  \
         - { topics: [t], fields: { r: secret } }\n  - { topics: [u], validate: json }",
    );
    let document = br#"{"w":1,"b":2,"r":3}"#;
    let mut scratch = Scratch::new();
    let read =
        masked(&rules.plan("t", Direction::Read, |_| false).unwrap(), document, &mut scratch);
    assert_eq!(String::from_utf8(read).unwrap(), r#"{"w":1,"b":"[masked]","r":"[masked]"}"#);
    let write =
        masked(&rules.plan("t", Direction::Write, |_| false).unwrap(), document, &mut scratch);
    assert_eq!(String::from_utf8(write).unwrap(), r#"{"w":"[masked]","b":"[masked]","r":3}"#);
    assert!(rules.any_on_write() && rules.demands("t").is_empty());
    assert!(
        rules.plan("u", Direction::Write, |_| false).is_none() && rules.demands("u").len() == 1
    );
    assert!(!super::rules("  - { topics: [t], fields: { r: secret } }").any_on_write());
}

#[test]
fn encoded_strings_are_entered_where_a_rule_says_so() {
    let plan = plan(
        "fields: { '**.card': pci }\n    detect: { pii: [email] }\n    encoded: { b: base64, z: gzip-base64, b.again: base64 }",
    );
    let inner = r#"{"card":"12345678","x":[1.50]}"#;
    let masked_inner = r#"{"card":"****5678","x":[1.50]}"#;
    let gzip = |text: &str| {
        // Two members: one document all the same.
        let (one, two) = text.split_at_checked(7).unwrap();
        let member = |part: &str| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(part.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        [member(one), member(two)].concat()
    };
    for engine in [&STANDARD, &URL_SAFE_NO_PAD] {
        let document = |text: &str| format!("{{\"b\":\"{}\"}}", engine.encode(text));
        check(&plan, &document(inner), &document(masked_inner));
        check(&plan, &document("{}"), &document("{}"));
    }
    let again = |text: &str| {
        let document = format!("{{\"again\":\"{}\"}}", STANDARD.encode(text));
        format!("{{\"b\":\"{}\"}}", STANDARD.encode(document))
    };
    check(&plan, &again(inner), &again(masked_inner));
    let mut scratch = Scratch::new();
    let zipped = format!("{{\"z\":\"{}\"}}", STANDARD.encode(gzip(inner)));
    let delivered = masked(&plan, zipped.as_bytes(), &mut scratch);
    assert_eq!(scratch.counts().labels, [1]);
    let delivered: serde_json::Value = serde_json::from_slice(&delivered).unwrap();
    let packed = STANDARD.decode(delivered["z"].as_str().unwrap()).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(text, masked_inner);
    // What is not there as the rule says, a bomb among it: the value is withheld.
    let bomb = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![b' '; 64 << 20]).unwrap();
        format!("{{\"z\":\"{}\"}}", STANDARD.encode(encoder.finish().unwrap()))
    };
    for value in [
        r#"{"b":"no base64"}"#,
        r#"{"b":"bm8ganNvbg=="}"#,
        r#"{"b":"/////w=="}"#,
        r#"{"b":""}"#,
        r#"{"z":"e30="}"#,
        &bomb,
    ] {
        check(&plan, value, r#"{"x-masked":"withheld"}"#);
    }
    check(&plan, r#"{"b":17,"z":null}"#, r#"{"b":17,"z":null}"#);
}
