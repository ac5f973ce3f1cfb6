//! Frames, types, lengths and hostile input as rows; each format has an oracle of its own.

mod avro;
mod hostile;
mod protobuf;

use super::super::tests::plan;
use super::super::{MaskPlan, Masked, Scratch};
use super::frame::{Framed, SchemaId};
use super::{Format, Reference, Schema, SchemaError, SchemaText};

/// What became of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Unchanged,
    Changed(Vec<u8>),
    Withheld,
}

/// Numbers that follow from a seed alone.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number below `sides`.
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % sides
    }

    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.roll(u64::try_from(length).unwrap())).unwrap()
    }

    pub(super) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    pub(super) fn chance(&mut self, of_100: u64) -> bool {
        self.roll(100) < of_100
    }

    /// A text, which may hold what the detectors find.
    pub(super) fn text(&mut self) -> String {
        let count = self.roll(4);
        (0..count)
            .map(|_| {
                if self.chance(25) {
                    format!("<{}>", self.of(&HITS))
                } else {
                    self.of(&PLAIN).to_owned()
                }
            })
            .collect()
    }
}

pub(super) const HITS: [&str; 3] = ["4111111111111111", "5555 5555-5555.4444", "ann.b@example.com"];
const PLAIN: [&str; 6] = ["", "x", " ", "some words, and more", "日本語", "\u{0}"];
/// A number that the detectors find.
pub(super) const PAN: i64 = 4_111_111_111_111_111;
pub(super) const PAN_FLOAT: f64 = 4_111_111_111_111_111.0;
/// Paths, and their keys.
pub(super) const PATHS: [(&str, &[&str]); 9] = [
    ("a", &["a"]),
    ("b", &["b"]),
    ("a.b", &["a", "b"]),
    ("b.a", &["b", "a"]),
    ("c.a", &["c", "a"]),
    ("c.k", &["c", "k"]),
    ("a.a.b", &["a", "a", "b"]),
    ("d.c", &["d", "c"]),
    ("c.b.a", &["c", "b", "a"]),
];

/// The paths of a seed, and the plan that masks them and what the detectors find.
pub(super) fn plan_of(dice: &mut Dice) -> (MaskPlan, Vec<&'static [&'static str]>) {
    let count = dice.roll(4);
    let chosen: Vec<_> = (0..count).map(|_| dice.of(&PATHS)).collect();
    let mut names: Vec<String> = chosen.iter().map(|(path, _)| format!("{path}: secret")).collect();
    names.sort_unstable();
    names.dedup();
    let body = format!(
        "detect: {{ secret: [payment-card, email] }}\n    fields: {{ {} }}",
        names.join(", ")
    );
    (plan(&body), chosen.into_iter().map(|(_, keys)| keys).collect())
}

/// The rest of the paths that go on with `key`.
pub(super) fn below<'p>(paths: &[&'p [&'p str]], key: &str) -> Vec<&'p [&'p str]> {
    let fitting = paths.iter().filter(|path| path.first() == Some(&key));
    fitting.map(|path| &path[1..]).collect()
}

/// A text in which all hits are masked, the slow way.
pub(super) fn without_hits(text: &str) -> String {
    HITS.iter().fold(text.to_owned(), |text, hit| text.replace(hit, "[masked]"))
}

pub(super) fn schema(format: Format, text: &str) -> Schema {
    compile(format, text, &[]).unwrap()
}

pub(super) fn compile(
    format: Format,
    text: &str,
    references: &[(&str, &str)],
) -> Result<Schema, SchemaError> {
    let references = references
        .iter()
        .map(|(name, text)| Reference { name: (*name).to_owned(), text: (*text).to_owned() })
        .collect();
    Schema::compile(&SchemaText { format, text: text.to_owned(), references })
}

/// What becomes of a payload behind an id, without that.
pub(super) fn masked(plan: &MaskPlan, schema: &Schema, payload: &[u8]) -> Outcome {
    let mut value = vec![0, 0, 0, 0, 7];
    if schema.format() == Format::Protobuf {
        value.push(0);
    }
    let head = value.len();
    value.extend_from_slice(payload);
    match masked_value(plan, schema, &value, None) {
        Outcome::Changed(mut changed) => {
            assert_eq!(changed[..head], value[..head]);
            Outcome::Changed(changed.split_off(head))
        }
        other => other,
    }
}

pub(super) fn masked_value(
    plan: &MaskPlan,
    schema: &Schema,
    value: &[u8],
    header: Option<&[u8]>,
) -> Outcome {
    let Some(framed) = Framed::read(value, header) else { return Outcome::Withheld };
    match plan.mask_framed(&framed, schema, &mut Scratch::new()) {
        Masked::Unchanged => Outcome::Unchanged,
        Masked::Changed(changed) => Outcome::Changed(changed.to_vec()),
        // Only keys and headers are made null.
        Masked::Withheld | Masked::Null => Outcome::Withheld,
    }
}

type Header<'h> = Option<&'h [u8]>;
type Message = Option<(&'static [u32], usize)>;

const GUID: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef";

#[test]
fn frames_are_read_from_the_header_or_the_value() {
    let guid = [&[1][..], &GUID].concat();
    let rows: [(&[u8], Header, Option<SchemaId>); 9] = [
        (b"\0\0\0\x01\x02rest", None, Some(SchemaId::Number(258))),
        (b"\0\xff\xff\xff\xff", None, Some(SchemaId::Number(u32::MAX))),
        (&guid, None, Some(SchemaId::Guid(GUID))),
        (b"\0\0\0\0\x07", Some(&guid), Some(SchemaId::Guid(GUID))),
        (b"", Some(b"\0\0\0\0\x07"), Some(SchemaId::Number(7))),
        (b"\0\0\0\0\x07", Some(b""), None),
        (b"\0\0\0\x07", None, None),
        (b"\x02\0\0\0\x07", None, None),
        (b"{}", None, None),
    ];
    for (value, header, id) in rows {
        assert_eq!(Framed::read(value, header).map(|framed| framed.id), id, "{value:?}");
    }
    assert_eq!(SchemaId::Guid(GUID).to_string(), "01234567-89ab-cdef-0123-456789abcdef");
    assert_eq!(SchemaId::Number(42).to_string(), "42");
}

#[test]
fn messages_are_named_by_a_path() {
    let rows: [(&[u8], Message); 9] = [
        (b"\0payload", Some((&[0], 6))),
        (b"\x02\x02payload", Some((&[1], 7))),
        (b"\x04\x02\x04payload", Some((&[1, 2], 8))),
        (b"\x04\x80\x02\0", Some((&[128, 0], 9))),
        (b"", None),
        (b"\x02", None),
        (b"\x01\0", None),
        (b"\x02\x01", None),
        (b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", None),
    ];
    for (path, expected) in rows {
        let value = [b"\0\0\0\0\x07", path].concat();
        let found = Framed::read(&value, None).unwrap().message();
        let found = found.as_ref().map(|(path, _, start)| (path.steps(), *start));
        assert_eq!(found, expected, "{path:?}");
        // In a header the path ends it, and the whole value is payload.
        let framed = Framed::read(b"payload", Some(&value)).unwrap();
        let ends = expected.is_some_and(|(_, start)| start == value.len());
        assert_eq!(framed.message().is_some(), ends, "{path:?}");
    }
    let framed = Framed::read(b"payload", Some(b"\0\0\0\0\x07rest")).unwrap();
    assert!(framed.payload().is_none(), "a header goes on");
}

#[test]
fn json_behind_an_id_is_masked_as_json() {
    let plan = plan("fields: { a: secret }");
    let schema = schema(Format::Json, "{}");
    let rows: [(&[u8], Header, Outcome); 6] = [
        (
            b"\0\0\0\0\x07{\"a\":1}",
            None,
            Outcome::Changed(b"\0\0\0\0\x07{\"a\":\"[masked]\"}".to_vec()),
        ),
        (b"\0\0\0\0\x07{\"b\":1}", None, Outcome::Unchanged),
        (b"{\"a\":1}", Some(b"\0\0\0\0\x07"), Outcome::Changed(b"{\"a\":\"[masked]\"}".to_vec())),
        (b"\0\0\0\0\x07{\"a\":1", None, Outcome::Withheld),
        (b"\0\0\0\0\x07", None, Outcome::Withheld),
        (b"\0\0\0\0\x07\"\xff\"", None, Outcome::Withheld),
    ];
    for (value, header, expected) in rows {
        assert_eq!(masked_value(&plan, &schema, value, header), expected, "{value:?}");
    }
}
