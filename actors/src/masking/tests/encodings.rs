//! Ways to write one card number, and what becomes of each: the table of `docs/MASKING.md`.

use super::super::method::WITHHELD;
use super::super::{Masked, Scratch};
use super::{masked, plan};

/// What becomes of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The number is masked.
    Caught,
    /// The value is withheld.
    Withheld,
    /// The number stays as it is written.
    Passes,
}

use Outcome::{Caught, Passes};

/// How it is written, the document, what a field rule does to it, what the detector does to it.
const ENCODINGS: [(&str, &str, Outcome, Outcome); 22] = [
    ("plain", r#"{"card":"4111111111111111"}"#, Caught, Caught),
    ("one digit escaped", r#"{"card":"\u0034111111111111111"}"#, Caught, Caught),
    (
        "all digits escaped",
        r#"{"card":"\u0034\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031\u0031"}"#,
        Caught,
        Caught,
    ),
    ("key escaped", r#"{"c\u0061rd":"4111111111111111"}"#, Caught, Caught),
    ("key twice, number first", r#"{"card":"4111111111111111","card":"x"}"#, Caught, Caught),
    ("key twice, number last", r#"{"card":"x","card":"4111111111111111"}"#, Caught, Caught),
    ("document in a string", r#"{"payload":"{\"card\":\"4111111111111111\"}"}"#, Caught, Caught),
    (
        "document in a string, escaped twice",
        r#"{"payload":"{\"card\":\"\\u0034111111111111111\"}"}"#,
        Caught,
        Caught,
    ),
    ("integer", r#"{"card":4111111111111111}"#, Caught, Caught),
    ("number with exponent", r#"{"card":4.111111111111111e15}"#, Caught, Caught),
    ("fullwidth digits", r#"{"card":"４１１１１１１１１１１１１１１１"}"#, Caught, Caught),
    ("Arabic-Indic digits", r#"{"card":"٤١١١١١١١١١١١١١١١"}"#, Caught, Caught),
    (
        "zero-width joiners",
        "{\"card\":\"4\u{200d}1\u{200d}1\u{200d}1\u{200d}1\u{200d}1\u{200d}1\u{200d}1\u{200d}1\u{200d}1\u{200d}1\u{200d}1\u{200d}1\u{200d}1\u{200d}1\u{200d}1\"}",
        Caught,
        Caught,
    ),
    ("points between", r#"{"card":"4111.1111.1111.1111"}"#, Caught, Caught),
    ("base64", r#"{"card":"NDExMTExMTExMTExMTExMQ=="}"#, Caught, Passes),
    ("hexadecimal", r#"{"card":"34313131313131313131313131313131"}"#, Caught, Passes),
    ("two fields", r#"{"card1":"41111111","card2":"11111111"}"#, Passes, Passes),
    (
        "array of characters",
        r#"{"card":["4","1","1","1","1","1","1","1","1","1","1","1","1","1","1","1"]}"#,
        Caught,
        Passes,
    ),
    ("no JSON", r#"{"card":"4111111111111111""#, Outcome::Withheld, Outcome::Withheld),
    (
        "two documents",
        r#"{"card":"4111111111111111"}{"card":1}"#,
        Outcome::Withheld,
        Outcome::Withheld,
    ),
    (
        "byte order mark",
        "\u{feff}{\"card\":\"4111111111111111\"}",
        Outcome::Withheld,
        Outcome::Withheld,
    ),
    ("as a key", r#"{"4111111111111111":"card"}"#, Passes, Caught),
];

#[test]
fn the_table_of_encodings_holds() {
    let fields = plan("fields: { card: secret, payload.card: secret }");
    let detector = plan("detect: { secret: [payment-card] }");
    let mut scratch = Scratch::new();
    for (name, document, by_field, by_detector) in ENCODINGS {
        for (plan, expected) in [(&fields, by_field), (&detector, by_detector)] {
            let outcome = match plan.mask_value(document.as_bytes(), &mut scratch) {
                Masked::Withheld => Outcome::Withheld,
                Masked::Unchanged => Passes,
                Masked::Changed(_) => Caught,
            };
            assert_eq!(outcome, expected, "{name}");
            let delivered = masked(plan, document.as_bytes(), &mut scratch);
            if outcome != Passes {
                assert!(!shows(&delivered), "{name}: {}", delivered.escape_ascii());
                assert!(
                    delivered == WITHHELD
                        || serde_json::from_slice::<serde_json::Value>(&delivered).is_ok()
                );
            }
        }
    }
    let caught = |outcome: fn(&(&str, &str, Outcome, Outcome)) -> Outcome| {
        ENCODINGS.iter().filter(|row| outcome(row) != Passes).count()
    };
    assert_eq!((caught(|row| row.2), caught(|row| row.3)), (20, 18), "docs/MASKING.md says so");
}

/// Whether the number, or a good part of it, can be read in `text` in any of the table's ways.
fn shows(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text)
        .replace("\\\\u0034", "4")
        .replace("\\u0034", "4")
        .replace("\\u0031", "1");
    let digits: String = text
        .chars()
        .filter_map(|character| match character {
            '0'..='9' => Some(character),
            '０'..='９' => char::from_digit(u32::from(character) - 0xff10, 10),
            '٠'..='٩' => char::from_digit(u32::from(character) - 0x660, 10),
            _ => None,
        })
        .collect();
    digits.contains("41111111") || text.contains("NDEx") || text.contains("343131")
}
