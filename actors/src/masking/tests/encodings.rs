//! Ways to write one card number, and what becomes of each: the table of `docs/MASKING.md`.

use std::fmt::Write;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::super::method::{MASKED, WITHHELD};
use super::super::{MaskPlan, Masked, Scratch};
use super::{assert_page_has, plan};

const PAN: &str = "4111111111111111";

/// What becomes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is masked.
    Masked,
    /// The value is withheld.
    Withheld,
    /// It stays as it is written.
    Passes,
}
use Outcome::{Masked as Caught, Passes, Withheld};

/// A way to write it.
struct Encoding {
    name: String,
    /// The value of a record.
    value: Vec<u8>,
    /// The number as it is written there: none of it may be left where it does not pass.
    written: Vec<u8>,
    /// What a rule for the field `card` at any depth does to it, and what the detector does.
    by_field: Outcome,
    by_detector: Outcome,
}

fn encoding(
    name: &str,
    value: impl Into<Vec<u8>>,
    written: impl Into<Vec<u8>>,
    by_field: Outcome,
    by_detector: Outcome,
) -> Encoding {
    let (value, written) = (value.into(), written.into());
    Encoding { name: name.to_owned(), value, written, by_field, by_detector }
}

/// A string in the field `card`.
fn text(name: &str, written: &str, by_detector: Outcome) -> Encoding {
    encoding(name, format!("{{\"card\":\"{written}\"}}"), written, Caught, by_detector)
}

/// A value of the field `card`.
fn value(name: &str, written: &str, by_detector: Outcome) -> Encoding {
    encoding(name, format!("{{\"card\":{written}}}"), written, Caught, by_detector)
}

/// A value that is no JSON.
fn broken(name: &str, value: impl Into<Vec<u8>>) -> Encoding {
    encoding(name, value, PAN, Withheld, Withheld)
}

/// The number with each digit written by `digit`.
fn by_digit(digit: impl Fn(u32) -> String) -> String {
    PAN.chars().map(|character| digit(character.to_digit(10).unwrap())).collect()
}

/// The number in the digits that begin with `zero`.
fn digits_from(zero: u32) -> String {
    by_digit(|digit| char::from_u32(zero + digit).unwrap().to_string())
}

/// The number in four groups.
fn groups(separator: &str) -> String {
    ["4111", "1111", "1111", "1111"].join(separator)
}

/// The number with something between all digits.
fn between(something: &str) -> String {
    PAN.split("").filter(|digit| !digit.is_empty()).collect::<Vec<_>>().join(something)
}

/// A document in so many strings.
fn nested(levels: usize) -> String {
    let mut document = format!("{{\"card\":\"{PAN}\"}}");
    for _ in 0..levels {
        document = format!("{{\"p\":{}}}", serde_json::to_string(&document).unwrap());
    }
    document
}

fn escapes() -> Vec<Encoding> {
    let one = |at: usize| {
        let (before, rest) = PAN.split_at_checked(at).unwrap();
        let (digit, after) = rest.split_at_checked(1).unwrap();
        format!("{before}\\u003{digit}{after}")
    };
    let key = |name: &str, key: &str| {
        encoding(name, format!("{{\"{key}\":\"{PAN}\"}}"), PAN, Caught, Caught)
    };
    vec![
        text("plain", PAN, Caught),
        text("first digit escaped", &one(0), Caught),
        text("a digit in the middle escaped", &one(8), Caught),
        text("last digit escaped", &one(15), Caught),
        text("all digits escaped", &by_digit(|digit| format!("\\u003{digit}")), Caught),
        text("escaped spaces between groups", &groups("\\u0020"), Caught),
        text("escaped slashes between groups", &groups("\\/"), Caught),
        text("escaped quote in front", &format!("\\\"{PAN}"), Caught),
        text("escaped backslash in front", &format!("\\\\{PAN}"), Caught),
        text("escaped NUL between digits", &between("\\u0000"), Caught),
        text(
            "surrogate pairs: digits of the mathematical alphabet",
            &by_digit(|digit| format!("\\ud835\\udf{:02x}", 0xce + digit)),
            Caught,
        ),
        key("key with one letter escaped", "c\\u0061rd"),
        key("key with all letters escaped", "\\u0063\\u0061\\u0072\\u0064"),
        key("key escaped in capital hexadecimal", "\\u0063ar\\u0064"),
    ]
}

fn separators() -> Vec<Encoding> {
    let rows = [
        ("spaces", " ", Caught),
        ("two spaces", "  ", Caught),
        ("three spaces", "   ", Caught),
        ("four spaces", "    ", Passes),
        ("dashes", "-", Caught),
        ("space, dash, space", " - ", Caught),
        ("points", ".", Caught),
        ("slashes", "/", Caught),
        ("underscores", "_", Caught),
        ("escaped tabs", "\\t", Caught),
        ("escaped line feeds", "\\n", Caught),
        ("no-break spaces", "\u{a0}", Caught),
        ("thin spaces", "\u{2009}", Caught),
        ("figure spaces", "\u{2007}", Caught),
        ("ideographic spaces", "\u{3000}", Caught),
        ("no-break hyphens", "\u{2011}", Caught),
        ("en dashes", "\u{2013}", Caught),
        ("em dashes", "\u{2014}", Caught),
        ("minus signs", "\u{2212}", Caught),
        ("fullwidth hyphens", "\u{ff0d}", Caught),
        ("middle dots", "\u{b7}", Caught),
        ("ideographic full stops", "\u{3002}", Caught),
        ("fraction slashes", "\u{2044}", Caught),
        ("commas", ",", Passes),
        ("colons", ":", Passes),
        ("plus signs", "+", Passes),
        ("stars", "*", Passes),
        ("letters", "x", Passes),
        ("parentheses", ")(", Passes),
    ];
    let row = |(name, separator, outcome): &(&str, &str, Outcome)| {
        text(&format!("groups parted by {name}"), &groups(separator), *outcome)
    };
    rows.iter().map(row).collect()
}

fn invisible() -> Vec<Encoding> {
    let rows = [
        ("zero-width spaces", "\u{200b}", Caught),
        ("zero-width non-joiners", "\u{200c}", Caught),
        ("zero-width joiners", "\u{200d}", Caught),
        ("word joiners", "\u{2060}", Caught),
        ("byte order marks", "\u{feff}", Caught),
        ("soft hyphens", "\u{ad}", Caught),
        ("left-to-right marks", "\u{200e}", Caught),
        ("right-to-left overrides", "\u{202e}", Caught),
        ("first strong isolates", "\u{2068}", Caught),
        ("variation selectors", "\u{fe0f}", Caught),
        ("Mongolian vowel separators", "\u{180e}", Caught),
        ("Hangul fillers", "\u{3164}", Caught),
        ("combining grapheme joiners", "\u{34f}", Caught),
        ("invisible times", "\u{2062}", Caught),
        ("tag characters", "\u{e0041}", Caught),
        ("combining accents", "\u{301}", Passes),
    ];
    let row = |(name, character, outcome): &(&str, &str, Outcome)| {
        text(&format!("{name} between digits"), &between(character), *outcome)
    };
    rows.iter().map(row).collect()
}

fn scripts() -> Vec<Encoding> {
    let rows = [
        ("fullwidth", 0xff10, Caught),
        ("Arabic-Indic", 0x660, Caught),
        ("extended Arabic-Indic", 0x6f0, Caught),
        ("NKo", 0x7c0, Caught),
        ("Devanagari", 0x966, Caught),
        ("Bengali", 0x9e6, Caught),
        ("Gurmukhi", 0xa66, Caught),
        ("Gujarati", 0xae6, Caught),
        ("Tamil", 0xbe6, Caught),
        ("Telugu", 0xc66, Caught),
        ("Kannada", 0xce6, Caught),
        ("Thai", 0xe50, Caught),
        ("Lao", 0xed0, Caught),
        ("Tibetan", 0xf20, Caught),
        ("Myanmar", 0x1040, Caught),
        ("Khmer", 0x17e0, Caught),
        ("Mongolian", 0x1810, Caught),
        ("Balinese", 0x1b50, Caught),
        ("Adlam", 0x1e950, Caught),
        ("mathematical bold", 0x1d7ce, Caught),
        ("mathematical monospace", 0x1d7f6, Caught),
        ("segmented", 0x1fbf0, Caught),
        ("subscript", 0x2080, Caught),
        ("circled", 0x245f, Caught),
        ("parenthesised", 0x2473, Passes),
        ("dingbat", 0x2775, Passes),
    ];
    let row = |(name, zero, outcome): &(&str, u32, Outcome)| {
        text(&format!("{name} digits"), &digits_from(*zero), *outcome)
    };
    let mut all: Vec<Encoding> = rows.iter().map(row).collect();
    all.push(text(
        "superscript digits",
        &by_digit(|digit| if digit == 1 { "¹".to_owned() } else { "⁴".to_owned() }),
        Caught,
    ));
    all.push(text("digits of two scripts", &format!("4111{}", "١".repeat(12)), Caught));
    all.push(text("keycap emoji", &by_digit(|digit| format!("{digit}\u{fe0f}\u{20e3}")), Passes));
    all.push(text("small letters L for ones", &PAN.replace('1', "l"), Passes));
    all.push(text(
        "Chinese numerals",
        &by_digit(|digit| if digit == 1 { "一".to_owned() } else { "四".to_owned() }),
        Passes,
    ));
    all.push(text(
        "words",
        "four one one one one one one one one one one one one one one one",
        Passes,
    ));
    all
}

fn numbers() -> Vec<Encoding> {
    vec![
        value("number", PAN, Caught),
        value("number with a fraction of 0", "4111111111111111.0", Caught),
        value("number with an exponent", "4.111111111111111e15", Caught),
        value("number with a signed exponent", "4.111111111111111E+15", Caught),
        value("number with an exponent of 0", "4111111111111111e0", Caught),
        value("number with a negative exponent", "41111111111111110e-1", Caught),
        value("number below 1 with an exponent", "0.4111111111111111e16", Caught),
        value("number of many zeros with an exponent", "0.00004111111111111111e20", Caught),
        value("negative number", "-4111111111111111", Caught),
        value("number with a fraction", "4111111111111111.5", Caught),
        text("number with an exponent in a string", "4.111111111111111e15", Caught),
        value("digits in an array", "[4,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", Passes),
        value(
            "array of characters",
            r#"["4","1","1","1","1","1","1","1","1","1","1","1","1","1","1","1"]"#,
            Passes,
        ),
        value("half numbers in an array", "[41111111,11111111]", Passes),
        broken("number with a leading zero", format!("{{\"card\":0{PAN}}}")),
        broken("number with a plus", format!("{{\"card\":+{PAN}}}")),
        broken("number that ends with a point", format!("{{\"card\":{PAN}.}}")),
        broken("number that begins with a point", "{\"card\":.4111111111111111e16}"),
        broken("hexadecimal number", "{\"card\":0xe9b0ea6d1c71c7,\"x\":4111111111111111}"),
        broken("number with underscores", "{\"card\":4111_1111_1111_1111}"),
        broken("number with a suffix", format!("{{\"card\":{PAN}n}}")),
        broken("NaN beside it", format!("{{\"card\":\"{PAN}\",\"x\":NaN}}")),
        broken("Infinity beside it", format!("{{\"card\":\"{PAN}\",\"x\":-Infinity}}")),
    ]
}

fn structures() -> Vec<Encoding> {
    let at = |name: &str, document: &str| {
        encoding(name, document.replace("PAN", PAN), PAN, Caught, Caught)
    };
    let passes = |name: &str, document: &str, written: &str, by_detector| {
        encoding(name, document.replace("PAN", PAN), written, Passes, by_detector)
    };
    let deep =
        |depth: usize| format!("{}{{\"card\":\"{PAN}\"}}{}", "[".repeat(depth), "]".repeat(depth));
    vec![
        at("key twice, number first", r#"{"card":"PAN","card":"x"}"#),
        at("key twice, number last", r#"{"card":"x","card":"PAN"}"#),
        at("key twice, once escaped", r#"{"card":"x","c\u0061rd":"PAN"}"#),
        at("in an object in an array in an object", r#"{"a":[{"b":{"card":"PAN"}}]}"#),
        at("in arrays in arrays", r#"{"card":[[["PAN"]]]}"#),
        at("in an object that is the field", r#"{"card":{"a":["PAN"]}}"#),
        at("space of every kind around", "\r\n\t{ \"card\" \n:\t\"PAN\" } "),
        at("120 arrays deep", &deep(120)),
        broken("128 arrays deep", deep(128)),
        at("document in a string", &nested(1)),
        at("document in a string in a string", &nested(2)),
        at("document in a string, three times", &nested(3)),
        encoding("document in a string, four times", nested(4), PAN, Caught, Caught),
        at("document in a string, spaces in front", r#"{"p":" \n{\"card\":\"PAN\"}"}"#),
        encoding(
            "document in a string, escaped twice",
            r#"{"p":"{\"card\":\"\\u0034111111111111111\"}"}"#,
            "4111111111111111",
            Caught,
            Caught,
        ),
        encoding(
            "document in a string, key escaped twice",
            format!("{{\"p\":\"{{\\\"c\\\\u0061rd\\\":\\\"{PAN}\\\"}}\"}}"),
            PAN,
            Caught,
            Caught,
        ),
        at("two documents in a string", r#"{"p":"{\"card\":\"PAN\"}{\"card\":\"PAN\"}"}"#),
        at("document in a string that is cut short", r#"{"p":"{\"card\":\"PAN\""}"#),
        at("within a sentence", r#"{"card":"by card PAN, thanks"}"#),
        at("within an address", r#"{"card":"https://shop.example/?card=PAN&x=1"}"#),
        at("within XML", r#"{"card":"<card>PAN</card>"}"#),
        passes("as a key", r#"{"PAN":"card"}"#, PAN, Caught),
        passes("document in a key", r#"{"{\"card\":\"PAN\"}":1}"#, PAN, Caught),
        passes("over two fields", r#"{"card1":"41111111","card2":"11111111"}"#, "41111111", Passes),
        passes("field in capitals", r#"{"CARD":"PAN"}"#, PAN, Caught),
        passes("field with a space", r#"{"card ":"PAN"}"#, PAN, Caught),
        passes("field with a Cyrillic letter", r#"{"саrd":"PAN"}"#, PAN, Caught),
        passes("field with a zero-width space", "{\"ca\u{200b}rd\":\"PAN\"}", PAN, Caught),
        passes("a string by itself", r#""PAN""#, PAN, Caught),
        passes("a number by itself", "PAN", PAN, Caught),
    ]
}

fn encodings_of_text() -> Vec<Encoding> {
    vec![
        text("base64", "NDExMTExMTExMTExMTExMQ==", Passes),
        text("base64 of the document", "eyJjYXJkIjoiNDExMTExMTExMTExMTExMSJ9", Passes),
        text("base32", "GQYTCMJRGEYTCMJRGEYTCMJRGE======", Passes),
        text("hexadecimal", "34313131313131313131313131313131", Passes),
        text("percent-encoded", &by_digit(|digit| format!("%3{digit}")), Passes),
        text("HTML entities", &by_digit(|digit| format!("&#{};", digit + 48)), Passes),
        text("quoted-printable", &by_digit(|digit| format!("=3{digit}")), Passes),
        text("backwards", "1111111111111114", Passes),
        text("letters at both ends", &format!("x{PAN}x"), Caught),
        text("in a longer number", &format!("9{PAN}9999"), Passes),
    ]
}

fn no_json() -> Vec<Encoding> {
    let document = format!("{{\"card\":\"{PAN}\"}}");
    let utf16 =
        |bytes: fn(u16) -> [u8; 2]| document.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
    let raw = |bytes: &[u8]| [b"{\"card\":\"4111111111111111", bytes, b"\"}"].concat();
    vec![
        broken("no closing brace", format!("{{\"card\":\"{PAN}\"")),
        broken("no opening brace", format!("\"card\":\"{PAN}\"}}")),
        broken("two documents", document.repeat(2)),
        broken("a document on each line", format!("{document}\n{document}")),
        broken("byte order mark", format!("\u{feff}{document}")),
        broken("UTF-16, little endian", utf16(u16::to_le_bytes)),
        broken("UTF-16, big endian", utf16(u16::to_be_bytes)),
        broken(
            "UTF-32",
            document.chars().flat_map(|it| u32::from(it).to_le_bytes()).collect::<Vec<_>>(),
        ),
        broken("a Latin-1 letter", raw(b"\xe9")),
        broken("an overlong form of a digit", raw(b"\xc0\xb4")),
        broken("a surrogate in UTF-8", raw(b"\xed\xa0\x80")),
        broken("an escaped half of a surrogate pair", raw(br"\ud835")),
        broken("an escape that is none", raw(br"\x34")),
        broken("an octal escape", raw(br"\064")),
        broken("a raw tab in a string", raw(b"\t")),
        broken("a raw line feed in a string", raw(b"\n")),
        broken("NUL behind it", format!("{document}\0")),
        broken("a no-break space around", format!("\u{a0}{document}")),
        broken("a form feed around", format!("\u{c}{document}")),
        broken("a comma too many", format!("{{\"card\":\"{PAN}\",}}")),
        broken("a comma too few", format!("{{\"x\":1 \"card\":\"{PAN}\"}}")),
        broken("a comment", format!("{{/* */\"card\":\"{PAN}\"}}")),
        broken("a comment to the end of the line", format!("{{//\n\"card\":\"{PAN}\"}}")),
        broken("single quotes", format!("{{'card':'{PAN}'}}")),
        broken("key without quotes", format!("{{card:\"{PAN}\"}}")),
        broken("value without quotes", "{\"card\":x4111111111111111}"),
        broken(
            "two strings with a plus",
            "{\"card\":\"41111111\"+\"11111111\",\"x\":4111111111111111}",
        ),
        broken("words in capitals", format!("{{\"card\":\"{PAN}\",\"x\":True}}")),
        broken("a call around", format!("callback({document})")),
        broken("a guard in front", format!(")]}}',\n{document}")),
        broken("XML", format!("<card>{PAN}</card>")),
        broken("YAML", format!("card: \"{PAN}\"\n")),
        broken("a form", format!("card={PAN}&x=1")),
        broken("a table", format!("card,x\n{PAN},1\n")),
        broken("Avro with a schema id", [b"\0\0\0\0\x07 ", PAN.as_bytes()].concat()),
        broken("Protobuf", [b"\x0a\x10", PAN.as_bytes()].concat()),
        broken("MessagePack", [b"\x81\xa4card\xb0", PAN.as_bytes()].concat()),
        broken("CBOR", [b"\xa1\x64card\x70", PAN.as_bytes()].concat()),
        broken("nothing but the number in quotes that do not end", format!("\"{PAN}")),
        broken("an empty value", ""),
        broken("nothing but spaces", "  "),
    ]
}

fn all() -> Vec<Encoding> {
    [
        escapes(),
        separators(),
        invisible(),
        scripts(),
        numbers(),
        structures(),
        encodings_of_text(),
        no_json(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn outcome(masked: Masked<'_>, original: &[u8]) -> (Outcome, Vec<u8>) {
    match masked {
        Masked::Withheld => (Withheld, WITHHELD.to_vec()),
        Masked::Unchanged => (Passes, original.to_vec()),
        Masked::Changed(masked) => (Caught, masked.to_vec()),
        Masked::Null => (Caught, b"null".to_vec()),
    }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

const BEGIN: &str = "<!-- encodings: begin -->\n";
const END: &str = "<!-- encodings: end -->\n";

#[test]
fn the_table_of_encodings_holds() {
    let fields = plan("fields: { '**.card': secret }");
    let detector = plan("detect: { secret: [payment-card] }");
    let mut scratch = Scratch::new();
    let mut told = "| written | field rule | detector |\n|---|---|---|\n".to_owned();
    let mut wrong = Vec::new();
    for row in all() {
        let Encoding { name, value, written, by_field, by_detector } = row;
        for (plan, expected) in [(&fields, by_field), (&detector, by_detector)] {
            let (outcome, delivered) = outcome(plan.mask_value(&value, &mut scratch), &value);
            if outcome != expected {
                wrong.push(format!("{name}: {outcome:?}, not {expected:?}"));
            }
            if outcome != Passes && holds(&delivered, &written) {
                wrong.push(format!("{name}: shown in {}", delivered.escape_ascii()));
            }
            if outcome != Passes && serde_json::from_slice::<Marked>(&delivered).is_err() {
                wrong.push(format!("{name}: no JSON: {}", delivered.escape_ascii()));
            }
        }
        let (_, delivered) = outcome(fields.mask_value(&value, &mut scratch), &value);
        if let Ok(Marked(shown)) = serde_json::from_slice(&delivered)
            && !shown.is_empty()
        {
            wrong.push(format!("{name}: a parser reads {shown:?} in `card`"));
        }
        let word = |outcome| match outcome {
            Caught => "masked",
            Withheld => "withheld",
            Passes => "passes",
        };
        writeln!(told, "| {name} | {} | {} |", word(by_field), word(by_detector)).unwrap();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(all().len() >= 122, "{}", all().len());
    assert_page_has(BEGIN, END, &told);
}

/// Whatever reads as the field in a value is masked in keys, header names and header values, too; what no parser reads is
/// withheld there or has nothing that the detector finds.
#[test]
fn keys_and_headers_are_no_way_around() {
    let plan = plan("fields: { '**.card': secret }\n    detect: { secret: [payment-card] }");
    type Mask = for<'s> fn(&MaskPlan, &[u8], &'s mut Scratch) -> Masked<'s>;
    let ways: [(&str, Mask); 3] = [
        ("key", MaskPlan::mask_key),
        ("header name", MaskPlan::mask_header_name),
        ("header value", |plan, value, scratch| plan.mask_header_value(b"h", value, scratch)),
    ];
    for row in all() {
        for (way, mask) in ways {
            let (outcome, delivered) =
                outcome(mask(&plan, &row.value, &mut Scratch::new()), &row.value);
            if let Ok(Marked(shown)) = serde_json::from_slice(&delivered) {
                assert!(shown.is_empty(), "{way}, {}: {shown:?} in `card`", row.name);
            }
            if row.by_detector == Caught || holds(&row.value, PAN.as_bytes()) {
                let is_longer = row.by_detector == Passes;
                assert!(is_longer || outcome != Passes, "{way}, {}: passes", row.name);
                assert!(is_longer || !holds(&delivered, PAN.as_bytes()), "{way}, {}", row.name);
            }
        }
    }
}

/// What a parser reads in any member `card` at any depth, each time that there is one, but for marks.
#[derive(Debug, Default)]
struct Marked(Vec<String>);

impl<'de> Deserialize<'de> for Marked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut shown = Vec::new();
        deserializer.deserialize_any(Look { shown: &mut shown, in_card: false })?;
        Ok(Self(shown))
    }
}

struct Look<'l> {
    shown: &'l mut Vec<String>,
    in_card: bool,
}

impl Look<'_> {
    fn note(self, scalar: String) {
        if self.in_card && scalar != MASKED {
            self.shown.push(scalar);
        }
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.note(value.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.note(value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.note(value.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.note(value.to_string());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        // What reads as a document in a string is one to somebody.
        if let Ok(Marked(inner)) = serde_json::from_str(value) {
            self.shown.extend(inner);
        }
        self.note(value.to_owned());
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Self { shown, in_card } = self;
        while sequence.next_element_seed(Look { shown: &mut *shown, in_card })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { shown, in_card } = self;
        while let Some(key) = map.next_key::<String>()? {
            let in_card = in_card || key == "card";
            map.next_value_seed(Look { shown: &mut *shown, in_card })?;
        }
        Ok(())
    }
}
