//! Rows for documents, detectors, methods and rules; encodings and the oracle have files of their
//! own.

mod encodings;
mod methods;
mod oracle;

use std::path::Path;

use secrecy::SecretSlice;

use super::method::WITHHELD;
use super::{Direction, Keys, MaskPlan, Masked, Rules, RulesFile, Scratch, compile};

/// Cards keep four, mail is hashed, the rest is replaced.
pub(super) const LABELS: &str = "
labels:
  pci: { method: keep-last, n: 4 }
  pii: { method: hash }
  secret: { method: redact }
  none: { method: nullify }
  gone: { method: drop }
";
const PAN: &str = "4111111111111111";

pub(super) fn keys() -> Keys {
    let key = SecretSlice::from(b"a key of 32 bytes, for the tests".to_vec());
    Keys::new(vec![("2026-11".to_owned(), key)]).unwrap()
}

pub(super) fn rules(rules: &str) -> Rules {
    let text = format!("{LABELS}\nrules:\n{rules}");
    compile(&[RulesFile { name: "test.yaml", text: &text }], &keys()).unwrap()
}

/// The plan of one rule on topic `t`, for somebody who sees nothing in clear.
pub(super) fn plan(body: &str) -> MaskPlan {
    rules(&format!("  - topics: [t]\n    {body}")).plan("t", Direction::Read, |_| false).unwrap()
}

/// What a value becomes.
pub(super) fn masked(plan: &MaskPlan, value: &[u8], scratch: &mut Scratch) -> Vec<u8> {
    match plan.mask_value(value, scratch) {
        Masked::Unchanged => value.to_vec(),
        Masked::Changed(masked) => masked.to_vec(),
        Masked::Withheld => WITHHELD.to_vec(),
        Masked::Null => b"null".to_vec(),
    }
}

fn masked_text(plan: &MaskPlan, text: &[u8], scratch: &mut Scratch) -> Vec<u8> {
    match plan.mask_text(text, scratch) {
        Masked::Unchanged => text.to_vec(),
        Masked::Changed(masked) => masked.to_vec(),
        Masked::Withheld => WITHHELD.to_vec(),
        Masked::Null => b"null".to_vec(),
    }
}

#[track_caller]
fn check(plan: &MaskPlan, value: &str, expected: &str) {
    let found = masked(plan, value.as_bytes(), &mut Scratch::new());
    assert_eq!(String::from_utf8_lossy(&found), expected, "for {value}");
}

#[test]
fn fields_are_masked_where_their_path_leads() {
    let plan =
        plan("fields: { card.number: pci, secret: secret, 'a.\"b.c\"': secret, list: secret }");
    let rows = [
        // Untouched: no such path, or only part of it, or the name elsewhere.
        (r#"{"x":1}"#, r#"{"x":1}"#),
        (r#"{"number":"1","x":{"secret":"s"}}"#, r#"{"number":"1","x":{"secret":"s"}}"#),
        (r#"{"card":"4111"}"#, r#"{"card":"4111"}"#),
        (r#"{"a":{"b":{"c":1}},"a.b.c":1}"#, r#"{"a":{"b":{"c":1}},"a.b.c":1}"#),
        (r#"{"secret":null}"#, r#"{"secret":null}"#),
        (r#" [ ] "#, r#" [ ] "#),
        // Strings, numbers, words.
        (r#"{"card":{"number":"4111111111111111"}}"#, r#"{"card":{"number":"************1111"}}"#),
        (r#"{"card":{"number":4111111111111111}}"#, r#"{"card":{"number":"************1111"}}"#),
        (r#"{"card":{"number":true}}"#, r#"{"card":{"number":"[masked]"}}"#),
        (r#"{"secret":"x","y":1.50}"#, r#"{"secret":"[masked]","y":1.50}"#),
        (r#"{"secret":-1e5}"#, r#"{"secret":"[masked]"}"#),
        (r#"{"secret":false}"#, r#"{"secret":"[masked]"}"#),
        // Spacing, order, duplicates, long numbers of the rest stay.
        (
            "{ \"z\" : 12345678901234567890123 ,\n\t\"secret\" : \"x\" , \"z\":1, \"secret\":\"y\" }\r\n",
            "{ \"z\" : 12345678901234567890123 ,\n\t\"secret\" : \"[masked]\" , \"z\":1, \"secret\":\"[masked]\" }\r\n",
        ),
        // Quoted keys, escaped keys.
        (r#"{"a":{"b.c":"v"}}"#, r#"{"a":{"b.c":"[masked]"}}"#),
        (
            r#"{"\u0073ecret":"x","s\u0065cret":1}"#,
            r#"{"\u0073ecret":"[masked]","s\u0065cret":"[masked]"}"#,
        ),
        // Arrays are entered without a step.
        (r#"[{"secret":1},[{"secret":2}]]"#, r#"[{"secret":"[masked]"},[{"secret":"[masked]"}]]"#),
        (
            r#"{"card":[{"number":"12345678"},{"n":1}]}"#,
            r#"{"card":[{"number":"****5678"},{"n":1}]}"#,
        ),
        (
            r#"{"list":["a",[1,null],{"b":{"c":[]}}]}"#,
            r#"{"list":["[masked]",["[masked]",null],"[masked]"]}"#,
        ),
        // Objects are replaced whole.
        (r#"{"secret":{"a":["}",{}]},"b":1}"#, r#"{"secret":"[masked]","b":1}"#),
        (r#"{"card":{"number":{"a":"4111111111111111"}}}"#, r#"{"card":{"number":"[masked]"}}"#),
    ];
    for (value, expected) in rows {
        check(&plan, value, expected);
    }
}

#[test]
fn keep_last_counts_characters_and_never_keeps_more_than_half() {
    let plan = plan("fields: { n: pci }");
    let rows = [
        (r#""""#, r#""""#),
        (r#""1""#, r#""*""#),
        (r#""1234""#, r#""**34""#),
        (r#""123456""#, r#""***456""#),
        (r#""12345678""#, r#""****5678""#),
        (r#""äöüßäöüß""#, r#""****äöüß""#),
        (r#""12\u00e4\n\"\\\/6""#, r#""****\"\\\/6""#),
        (r#""abcdef\ud83d\ude00xyz""#, r#""******\ud83d\ude00xyz""#),
        ("0", r#""*""#),
        ("-12.5e3", r#""****5e3""#),
    ];
    for (value, expected) in rows {
        check(&plan, &format!("{{\"n\":{value}}}"), &format!("{{\"n\":{expected}}}"));
    }
    let long = format!("{{\"n\":\"{}1234\"}}", "x".repeat(1_000));
    check(&plan, &long, &format!("{{\"n\":\"{}1234\"}}", "*".repeat(64)));
}

#[test]
fn hashes_are_of_the_text_under_the_label() {
    let plan = plan("fields: { a: pii, b: pii, c: pii }");
    let mut scratch = Scratch::new();
    let one = masked(&plan, br#"{"a":"x4","b":"\u00784","c":"x5"}"#, &mut scratch);
    let document: serde_json::Value = serde_json::from_slice(&one).unwrap();
    let text = |field: &str| document[field].as_str().unwrap().to_owned();
    assert_eq!(text("a").len(), 32);
    assert!(text("a").bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(text("a"), text("b"), "however it is escaped");
    assert_ne!(text("a"), text("c"));
    // HMAC-SHA-256 of `pii`, 00, `x4` under the tests' key, computed apart.
    assert_eq!(text("a"), HASH_OF_X4);
    let number = masked(&plan, br#"{"a":4,"b":"4"}"#, &mut scratch);
    let document: serde_json::Value = serde_json::from_slice(&number).unwrap();
    assert_eq!(document["a"], document["b"], "a number as its text");
}

const HASH_OF_X4: &str = "73210b55092a2e9cdb05750636f914dd";

/// No documents by RFC 8259; each names the key that is masked, or is too short to.
const UNREADABLE: [&str; 53] = [
    "",
    " ",
    "s",
    "{",
    "}",
    "[",
    "{\"s\"",
    "{\"s\":",
    "{\"s\":1",
    "{\"s\":1,",
    "{\"s\":1,}",
    "[\"s\",]",
    "[,\"s\"]",
    "{,\"s\":1}",
    "{\"s\" 1}",
    "{s:1}",
    "{'s':1}",
    "{\"s\":1]",
    "[\"s\"}",
    "{\"s\":1}x",
    "{\"s\":1}{\"s\":1}",
    "{\"s\":1} 2",
    "{\"s\":NaN}",
    "{\"s\":Infinity}",
    "{\"s\":-}",
    "{\"s\":01}",
    "{\"s\":1.}",
    "{\"s\":.1}",
    "{\"s\":+1}",
    "{\"s\":1e}",
    "{\"s\":1e+}",
    "{\"s\":0x1}",
    "{\"s\":tru}",
    "{\"s\":nul}",
    "{\"s\":True}",
    "{\"s\":1/**/}",
    "{\"s\":1}//",
    "{\"s\":\"\n\"}",
    "{\"s\":\"\\x\"}",
    "{\"s\":\"\\u12\"}",
    "{\"s\":\"\\u12g4\"}",
    "{\"s\":\"\\ud800\"}",
    "{\"s\":\"\\udc00\"}",
    "{\"s\":\"\\ud800\\u0041\"}",
    "{\"s\":\"\\ud800x\"}",
    "{\"s\":\"",
    "{\"s\":\"\\",
    "{\"s\":\"abcdefgh",
    "\u{feff}{\"s\":1}",
    "{\"s\":1}\0",
    "\0\0\0\0\x07{\"s\":1}",
    "{\"s\":1}\u{a0}",
    "\x0b{\"s\":1}",
];

#[test]
fn what_is_no_document_within_the_limits_is_withheld() {
    let plan = plan("fields: { s: secret }");
    let deep = |depth: usize| format!("{}\"s\"{}", "[".repeat(depth), "]".repeat(depth));
    let tokens = |count: usize| format!("[\"s\"{}]", ",1".repeat(count));
    let unreadable: Vec<Vec<u8>> = UNREADABLE
        .into_iter()
        .map(|text| text.as_bytes().to_vec())
        .chain([
            b"{\"s\":\"\xff\"}".to_vec(),
            b"{\"s\":\"\xc0\x80\"}".to_vec(),
            b"{\"s\":\"\xed\xa0\x80\"}".to_vec(),
            "{\"s\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "{\"s\":1}".encode_utf16().flat_map(u16::to_be_bytes).collect(),
            deep(129).into_bytes(),
            tokens(200_000).into_bytes(),
            format!("[\"s\",\"{}\"]", "x".repeat(1 << 20)).into_bytes(),
        ])
        .collect();
    let mut scratch = Scratch::new();
    for value in &unreadable {
        assert_eq!(
            plan.mask_value(value, &mut scratch),
            Masked::Withheld,
            "{}",
            value.escape_ascii()
        );
    }
    assert_eq!(scratch.counts().withheld, u64::try_from(unreadable.len()).unwrap());
    assert!(scratch.counts().labels.is_empty(), "what is withheld counts as nothing else");
    for value in [deep(128), tokens(199_990)] {
        assert_eq!(plan.mask_value(value.as_bytes(), &mut scratch), Masked::Unchanged);
    }
}

#[test]
fn cards_are_found_in_text() {
    let plan = plan("detect: { pci: [payment-card] }");
    let found = [
        ("4111111111111111", "************1111"),
        ("pay 4111111111111111 now", "pay ************1111 now"),
        ("card4111111111111111x", "card************1111x"),
        ("4111 1111 1111 1111", "***************1111"),
        ("4111-1111-1111-1111", "***************1111"),
        ("4111.1111.1111.1111", "***************1111"),
        ("4111 - 1111/1111_1111", "*****************1111"),
        ("12345 4111111111111111 678", "12345 ************1111 678"),
        ("2024-01-15 4111 1111 1111 1111", "2024-01-15 ***************1111"),
        ("378282246310005, 5555555555554444", "***********0005, ************4444"),
        ("6011111111111117", "************1117"),
        ("3530111333300000", "************0000"),
        ("30569309025904", "**********5904"),
        ("4222222222222", "*********2222"),
        ("2223003122003222", "************3222"),
        ("4.111111111111111e15", "****************1e15"),
    ];
    for (text, expected) in found {
        check(&plan, &format!("{{\"a\":\"{text}\"}}"), &format!("{{\"a\":\"{expected}\"}}"));
        check(&plan, &format!("{{\"{text}\":\"a\"}}"), &format!("{{\"{expected}\":\"a\"}}"));
        check(&plan, &format!("[\"{text}\",\"\"]"), &format!("[\"{expected}\",\"\"]"));
        let text_masked = masked_text(&plan, text.as_bytes(), &mut Scratch::new());
        assert_eq!(String::from_utf8_lossy(&text_masked), expected);
    }
    let not_found = [
        "4111111111111112",          // the check digit
        "411111111111",              // 12 digits
        "41111111111111111111",      // 20 digits
        "1763764800000",             // milliseconds
        "1763764800000000",          // microseconds
        "4111 1111 1111 111",        // 15 digits of a 16-digit number
        "4111     11111111    1111", // too far apart
        "7000000000000005",          // no scheme
        "6.129384756478",            // a decimal number
        "550e8400-e29b-41d4-a716-446655440000",
        "411111,1111111111",
    ];
    for text in not_found {
        check(&plan, &format!("{{\"a\":\"{text}\"}}"), &format!("{{\"a\":\"{text}\"}}"));
    }
}

#[test]
fn cards_are_found_in_numbers_by_value() {
    let plan = plan("detect: { pci: [payment-card] }");
    let found = [
        "4111111111111111",
        "-4111111111111111",
        "4.111111111111111e15",
        "4.111111111111111E+15",
        "41111111111111110e-1",
        "0.4111111111111111e16",
        "4111111111111111.0",
        "4111111111111111.25",
        "4.1111111111111110e15",
        "3.5301113333e15",
        "378282246310005",
    ];
    for number in found {
        let value = format!("{{\"a\":{number}}}");
        let masked = masked(&plan, value.as_bytes(), &mut Scratch::new());
        assert!(masked.starts_with(b"{\"a\":\"*"), "{value}: {}", masked.escape_ascii());
    }
    for number in [
        "4111111111111112",
        "6.129384756478",
        "1e400",
        "4e99999",
        "4111111111111111e1",
        "0e32767",
        "1763764800000",
    ] {
        check(&plan, &format!("{{\"a\":{number}}}"), &format!("{{\"a\":{number}}}"));
    }
}

#[test]
fn mail_is_found_in_text() {
    let plan = plan("detect: { secret: [email] }");
    let found = [
        ("ann@example.com", "[masked]"),
        ("Ann <ann.b+c@mail.example.co.uk>, bob", "Ann <[masked]>, bob"),
        ("mail=ann@example.com;x", "mail=[masked];x"),
        ("a@b.cc d@e.ff.", "[masked] [masked]."),
        ("ann＠example．com", "[masked]"),
        ("jürgen@müller.de", "[masked]"),
        ("an\u{200b}n@exa\u{ad}mple.com", "[masked]"),
        (r"ann\u0040example.com", "[masked]"),
        (r"hi\nann@example.com\t", r"hi\n[masked]\t"),
        ("a@b@c.de", "a@[masked]"),
        ("a@x.xn--p1ai", "[masked]"),
    ];
    for (text, expected) in found {
        check(&plan, &format!("{{\"a\":\"{text}\"}}"), &format!("{{\"a\":\"{expected}\"}}"));
    }
    for text in [
        "@",
        "a@",
        "@b.cc",
        "a@b",
        "a@b.",
        "a@.cc",
        "a@b.1",
        "user@localhost",
        "a @ b.cc",
        "@ann see x.com",
    ] {
        check(&plan, &format!("{{\"a\":\"{text}\"}}"), &format!("{{\"a\":\"{text}\"}}"));
    }
}

#[test]
fn strings_that_hold_documents_are_entered() {
    let fields = plan("fields: { p.n: pci, q: secret }");
    let rows = [
        (r#"{"p":"{\"n\":\"12345678\",\"m\":1}"}"#, r#"{"p":"{\"n\":\"****5678\",\"m\":1}"}"#),
        // What is not masked keeps its escapes; what is masked is escaped once.
        (
            r#"{"p":"\u007b \u0022n\u0022:12345678,\"\/\":\"\u00e4\\n\"}"}"#,
            r#"{"p":"\u007b \u0022n\u0022:\"****5678\",\"\/\":\"\u00e4\\n\"}"}"#,
        ),
        (
            r#"["{\"p\":\"{\\\"n\\\":12345678}\"}"]"#,
            r#"["{\"p\":\"{\\\"n\\\":\\\"****5678\\\"}\"}"]"#,
        ),
        // A document in a string that is masked whole is not entered.
        (r#"{"q":"{\"n\":1}"}"#, r#"{"q":"[masked]"}"#),
        // Looks like the document that holds the field, and cannot be read.
        (r#"{"p":"{\"n\":\"12345678\""}"#, r#"{"p":"[masked]"}"#),
        (r#"{"p":"{\"n\":1}{\"n\":2}"}"#, r#"{"p":"[masked]"}"#),
        // Not a document: nothing to mask in it.
        (r#"{"p":"n"}"#, r#"{"p":"n"}"#),
        (r#"{"p":"\"n\" is prose"}"#, r#"{"p":"\"n\" is prose"}"#),
    ];
    for (value, expected) in rows {
        check(&fields, value, expected);
    }
    let detect = plan("detect: { pci: [payment-card], secret: [email] }");
    let rows = [
        (
            r#"{"x":"{\"y\":\"\\u0034111111111111111\"}"}"#,
            r#"{"x":"{\"y\":\"************1111\"}"}"#,
        ),
        (r#"{"x":"[4.111111111111111e15]"}"#, r#"{"x":"[\"****************1e15\"]"}"#),
        (r#"{"x":"[not a document: a@b.cc"}"#, r#"{"x":"[not a document: [masked]"}"#),
        (r#"{"x":"{\"y\":\"4111111111111111\""}"#, r#"{"x":"{\"y\":\"************1111\""}"#),
    ];
    for (value, expected) in rows {
        check(&detect, value, expected);
    }
}

/// `text` as a JSON string, `levels` times.
fn quoted(text: &str, levels: usize) -> String {
    (0..levels).fold(text.to_owned(), |text, _| serde_json::to_string(&text).unwrap())
}

#[test]
fn documents_are_entered_three_levels_deep() {
    let plan = plan("fields: { n: secret }");
    for levels in 0..=3 {
        let value = quoted(r#"{"n":"v","m":"w"}"#, levels);
        check(&plan, &value, &quoted(r#"{"n":"[masked]","m":"w"}"#, levels));
    }
    // Deeper than that, what looks like a document is not shown at all.
    for levels in 4..7 {
        let value = quoted(r#"{"n":"v","m":"w"}"#, levels);
        let found = masked(&plan, value.as_bytes(), &mut Scratch::new());
        let mut text = String::from_utf8(found).unwrap();
        for _ in 0..4 {
            text = serde_json::from_str::<String>(&text).unwrap();
        }
        assert_eq!(text, "[masked]");
    }
}

#[test]
fn keys_and_headers_are_read_as_text() {
    let plan = plan("fields: { n: pci }\n    detect: { pci: [payment-card], secret: [email] }");
    let utf16: Vec<u8> = PAN.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let rows: [(&[u8], &[u8]); 13] = [
        (b"", b""),
        (b"order-17", b"order-17"),
        (b"\x00\x00\x00\x00\x00\x00\x00\x2a", b"\x00\x00\x00\x00\x00\x00\x00\x2a"),
        (b"\xff\xfe\x80\x90", b"\xff\xfe\x80\x90"),
        (b"4111111111111111", b"************1111"),
        (b"\xff4111111111111111\x80", b"\xff************1111\x80"),
        (b"ann@example.com", b"[masked]"),
        (b"{\"n\":\"12345678\"}", b"{\"n\":\"****5678\"}"),
        (b"{\"m\":4111111111111111}", b"{\"m\":\"************1111\"}"),
        (b"\"\\u0034111111111111111\"", b"\"************1111\""),
        (b"{\"n\":\"12345678\"", WITHHELD),
        (b"\"4111111111111111", b"\"************1111"),
        (&utf16, b"***************************\x001\x001\x00"),
    ];
    let mut scratch = Scratch::new();
    for (text, expected) in rows {
        let found = masked_text(&plan, text, &mut scratch);
        assert_eq!(found.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}

#[test]
fn counts_are_by_label_and_value() {
    let plan = plan("fields: { a: pci, b: secret }\n    detect: { secret: [email] }");
    assert_eq!(plan.labels().iter().map(|label| &**label).collect::<Vec<_>>(), ["pci", "secret"]);
    let mut scratch = Scratch::new();
    masked(&plan, br#"{"a":[1,2,3],"b":"x","c":"a@b.cc, d@e.ff"}"#, &mut scratch);
    masked(&plan, br#"{"a":1,"b":"x""#, &mut scratch);
    masked(&plan, br#"{"c":1}"#, &mut scratch);
    assert_eq!(scratch.counts().labels, [3, 3]);
    assert_eq!(scratch.counts().withheld, 1);
    scratch.clear_counts();
    assert_eq!(scratch.counts().withheld, 0);
    assert!(scratch.counts().labels.is_empty());
}

#[test]
fn a_value_is_clear_only_where_all_its_labels_are() {
    let rules = rules(
        "  - topics: [t, 'u.*']\n    fields: { a: [pci, secret], b: pci }\n    detect: { pii: [email] }\n  \
         - topics: ['*']\n    fields: { b: secret }",
    );
    let labels =
        |topic: &str| rules.labels(topic).map(|label| label.to_string()).collect::<Vec<_>>();
    assert_eq!(labels("t"), ["pci", "pii", "secret"]);
    assert_eq!(labels("u.x"), ["pci", "pii", "secret"]);
    assert_eq!(labels("u"), ["secret"]);
    let value = r#"{"a":"12345678","b":"12345678"}"#;
    let rows: [(&str, &[&str], &str); 6] = [
        ("t", &[], r#"{"a":"****5678","b":"****5678"}"#),
        ("t", &["pii"], r#"{"a":"****5678","b":"****5678"}"#),
        ("t", &["pci"], r#"{"a":"[masked]","b":"[masked]"}"#),
        ("t", &["secret"], r#"{"a":"****5678","b":"****5678"}"#),
        ("t", &["pci", "secret"], value),
        ("v", &["pci"], r#"{"a":"12345678","b":"[masked]"}"#),
    ];
    for (topic, clear, expected) in rows {
        let plan = rules.plan(topic, Direction::Read, |label| clear.contains(&label)).unwrap();
        check(&plan, value, expected);
    }
    assert!(rules.plan("t", Direction::Read, |_| true).is_none());
    assert!(rules.plan("v", Direction::Read, |label| label == "secret").is_none());
}

#[test]
fn the_prefilter_lets_by_what_a_walk_would_leave_alone() {
    let plan = plan("fields: { n: pci }\n    detect: { pci: [payment-card], secret: [email] }");
    // Read, and left alone: whether by the scan or by the walk cannot be told from outside.
    for value in
        ["{}", "[]", r#"{"m":"n","x":[1,2,3]}"#, r#"{"m":"12345678","x":"@"}"#, r#"{"x":"日本語"}"#]
    {
        check(&plan, value, value);
    }
    // Not validated: malformed, and without anything that could be masked (docs/MASKING.md).
    for value in ["{,}", "[1 2]", "{\"a\":1}{\"b\":2}", "{\"a\":NaN}"] {
        check(&plan, value, value);
    }
    // One candidate, and they are.
    for value in [
        "{,\"n\"}",
        "{\"a\":NaN,\"b\":\"@\"}",
        "{\"a\":1}{\"n\":2}",
        "{\"\\x\"}",
        "{\"a\":\u{feff}1,\"b\":1234567890123}",
    ] {
        check(&plan, value, r#"{"x-masked":"withheld"}"#);
    }
}

/// Rules that cannot be, and what is said of them.
const REFUSED: [(&str, &str); 16] = [
    (
        "labels: { a: { method: redact } }\nrule: []",
        "t.yaml:2: unknown key `rule`; the nearest known is `rules`",
    ),
    (
        "labels:\n  a: { methd: redact }",
        "t.yaml:2: unknown key `methd`; the nearest known is `method`",
    ),
    (
        "labels:\n  a:\n    method: redct",
        "t.yaml:3: unknown method `redct`; the nearest known is `redact`",
    ),
    (
        "labels:\n  a: { method: keep-last }",
        "t.yaml:2: method `keep-last` needs `n`, how many characters stay",
    ),
    ("labels:\n  a: { method: keep-last, n: 0 }", "t.yaml:2: `n` is a number from 1 to 64"),
    (
        "labels:\n  a: { method: redact, n: 4 }",
        "t.yaml:2: `n` belongs to method `keep-last`, and this is `redact`",
    ),
    ("labels:\n  a: {}", "t.yaml:2: label `a` has no `method`"),
    ("labels: [a]", "t.yaml:1: a map is wanted here, and this is a list"),
    ("rules:\n  - topics: [t]\n    fields: { x: pci }", "t.yaml:3: unknown label `pci`"),
    (
        "labels: { pci: { method: redact } }\nrules:\n  - topics: [t]\n    fields:\n      x: pcl",
        "t.yaml:5: unknown label `pcl`; the nearest known is `pci`",
    ),
    (
        "labels: { a: { method: redact } }\nrules:\n  - topics: [t]\n    detect: { a: [payment-crd] }",
        "t.yaml:4: unknown detector `payment-crd`; the nearest known is `payment-card`",
    ),
    (
        "labels: { a: { method: redact } }\nrules:\n  - topics: [t]\n    format: arvo\n    fields: { x: a }",
        "t.yaml:4: unknown format `arvo`; the nearest known is `avro`",
    ),
    ("rules:\n  - fields: {}", "t.yaml:2: a rule names no topics; say `topics: [\"orders.*\"]`"),
    (
        "rules:\n  - topics: [t]",
        "t.yaml:2: a rule does nothing: it has no `fields`, `detect`, `key`, `headers`, `only` or `validate`",
    ),
    (
        "labels: { a: { method: redact } }\nrules:\n  - topics: [t]\n    fields: { 'x..y': a }",
        "t.yaml:4: path `x..y` has an empty key; quote one that is meant",
    ),
    (
        "labels: { a: { method: redact } }\nrules:\n  - topics: [t]\n    fields: { '\"x': a }",
        "t.yaml:4: path `\"x` has a quote that does not end",
    ),
];

#[test]
fn hostile_rules_are_refused_with_their_place() {
    for (text, expected) in REFUSED {
        let error = compile(&[RulesFile { name: "t.yaml", text }], &Keys::default()).unwrap_err();
        assert_eq!(error.to_string(), expected, "for {text}");
    }
    for text in
        ["labels: { a: 1", "a: b: c", "labels: { a: { method: redact }, a: { method: redact } }"]
    {
        let error = compile(&[RulesFile { name: "t.yaml", text }], &Keys::default()).unwrap_err();
        assert!(error.to_string().starts_with("t.yaml:1: "), "{error}");
    }
    let twice = [
        RulesFile { name: "one.yaml", text: "labels: { a: { method: redact } }" },
        RulesFile { name: "two.yaml", text: "\nlabels: { a: { method: redact } }" },
    ];
    let error = compile(&twice, &Keys::default()).unwrap_err();
    assert_eq!(error.to_string(), "two.yaml:2: label `a` is defined already at one.yaml:1");
    let hash = [RulesFile { name: "t.yaml", text: "labels: { a: { method: hash } }" }];
    let error = compile(&hash, &Keys::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "t.yaml:1: label `a` needs a key, and there is none in `masking.keys`"
    );
    let short = SecretSlice::from(b"short".to_vec());
    let error = Keys::new(vec![("a".to_owned(), short)]).unwrap_err();
    assert_eq!(error.to_string(), "key `a` has 5 bytes, and at least 16 are needed");
    for text in ["", "# nothing\n", "rules: []", "labels: {}"] {
        assert!(
            compile(&[RulesFile { name: "t.yaml", text }], &Keys::default())
                .unwrap()
                .plan("t", Direction::Read, |_| false)
                .is_none()
        );
    }
}

#[test]
fn topics_are_matched_as_a_whole() {
    let rows = [
        ("payments", "payments", true),
        ("payments", "payments2", false),
        ("payments", "xpayments", false),
        ("orders.*", "orders.eu", true),
        ("orders.*", "orders.", true),
        ("orders.*", "orders", false),
        ("orders.*", "ordersXeu", false),
        ("*", "anything", true),
        ("*-pii", "a-pii", true),
        ("*-pii", "a-pii-b", false),
        ("a*b*c", "abc", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "acb", false),
        ("a*a", "a", false),
        ("**", "x", true),
    ];
    for (glob, topic, expected) in rows {
        let rules = rules(&format!("  - topics: ['{glob}']\n    fields: {{ a: pci }}"));
        assert_eq!(rules.names(topic), expected, "{glob} on {topic}");
        assert_eq!(rules.plan(topic, Direction::Read, |_| false).is_some(), expected);
    }
}

/// Holds a table of `docs/MASKING.md`, between two lines of it, against `told`; `SLUICEGATE_WRITE_DOCS=1` writes it anew.
#[track_caller]
pub(super) fn assert_page_has(begin: &str, end: &str, told: &str) {
    const PAGE: &str = "../docs/MASKING.md";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(begin).unwrap();
    let (table, after) = rest.split_once(end).unwrap();
    if std::env::var_os("SLUICEGATE_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{told}{end}{after}")).unwrap();
        return;
    }
    assert!(
        table == told,
        "{PAGE} is not as the code is: SLUICEGATE_WRITE_DOCS=1 writes it\n{told}"
    );
}
