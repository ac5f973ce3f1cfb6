//! The fast masker against a slow, obvious one.
//!
//! Random trees are written as documents twice: as they are, and with each masked value written as
//! its mask by a walk over the tree that tries every path at every step. The masker must turn the
//! first into the second, byte for byte.

use proptest::prelude::*;

use super::super::method::WITHHELD;
use super::super::{Direction, MaskPlan, Masked, Scratch};
use super::{masked, rules};

/// A document before it is written.
#[derive(Clone, Debug)]
enum Tree {
    /// Null, a number, true, false: as it is written.
    Literal(&'static str),
    Text(Vec<Piece>),
    Array(Vec<Tree>, Space),
    Object(Vec<(Member, Tree)>, Space),
    /// A string that holds a document.
    Inner(Box<Tree>),
}

/// A part of a string: raw JSON, and whether the detectors must find it.
#[derive(Clone, Copy, Debug)]
struct Piece {
    raw: &'static str,
    is_hit: bool,
}

/// A key: its name, and how it is written.
#[derive(Clone, Copy, Debug)]
struct Member {
    name: &'static str,
    raw: &'static str,
}

type Space = &'static str;

const KEYS: [Member; 7] = [
    Member { name: "a", raw: "a" },
    Member { name: "b", raw: "b" },
    Member { name: "c", raw: "c" },
    Member { name: "a", raw: "\\u0061" },
    Member { name: "x.y", raw: "x.y" },
    Member { name: "ü\"", raw: "ü\\\"" },
    Member {
        name: "a long key of more than eight bytes",
        raw: "a long key of more than eight bytes",
    },
];
const LITERALS: [&str; 11] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1.50",
    "-2e-7",
    "12345678901234567890123",
    "1E400",
    "17",
    "9007199254740993",
];
const PLAIN: [&str; 12] = [
    "",
    "x",
    " ",
    "text of some length, with punctuation",
    "日本語",
    "\\n",
    "\\\\",
    "\\\"",
    "\\u00e9",
    "\\ud83d\\ude00",
    "ä",
    "*",
];
const HITS: [&str; 7] = [
    "4111111111111111",
    "4111 1111-1111.1111",
    "\\u0034111111111111111",
    "５５５５５５５５５５５５４４４４",
    "ann.b@example.com",
    "ann\\u0040example.com",
    "3782\u{200b}822463\\u200d10005",
];
const SPACES: [Space; 4] = ["", "", " ", "\r\n\t"];
const PATHS: [&str; 15] = [
    "a",
    "b",
    "a.b",
    "a.b.c",
    "b.a",
    "\"x.y\"",
    "c.\"x.y\".a",
    "\"ü\\\"\"",
    "\"a long key of more than eight bytes\".a",
    "*.a",
    "a.*",
    "**.c",
    "**.a.b",
    "a.**.\"x.y\"",
    "*.*.b",
];
const STEPS: [&[Step]; 15] = [
    &[Key("a")],
    &[Key("b")],
    &[Key("a"), Key("b")],
    &[Key("a"), Key("b"), Key("c")],
    &[Key("b"), Key("a")],
    &[Key("x.y")],
    &[Key("c"), Key("x.y"), Key("a")],
    &[Key("ü\"")],
    &[Key("a long key of more than eight bytes"), Key("a")],
    &[Any, Key("a")],
    &[Key("a"), Any],
    &[Deep, Key("c")],
    &[Deep, Key("a"), Key("b")],
    &[Key("a"), Deep, Key("x.y")],
    &[Any, Any, Key("b")],
];
/// Labels of the rules, and what is written for a value under each.
const LABELS: [(&str, &str); 3] = [("secret", "\"[masked]\""), ("none", "null"), ("gone", "")];
const GONE: usize = 2;

/// A step of a path, as the tree's walk tries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Key(&'static str),
    Any,
    Deep,
}
use Step::{Any, Deep, Key};

type Steps = &'static [Step];

/// What the rules say of a place: what is left of each path, and of those that may pass.
#[derive(Clone, Debug)]
struct Marks {
    masks: Vec<(usize, Steps)>,
    only: Option<Vec<Steps>>,
    /// Whether what detectors find is masked, too.
    detects: bool,
}

impl Marks {
    fn below(&self, key: &str) -> Self {
        let masks = self.masks.iter();
        let masks = masks.flat_map(|(label, steps)| after(steps, key).map(|left| (*label, left)));
        let only = self.only.as_ref().map(|only| {
            // What may pass, may with all that is in it.
            let all = only.iter().flat_map(|steps| match steps {
                [] => vec![*steps],
                steps => after(steps, key).collect(),
            });
            all.collect()
        });
        Self { masks: masks.collect(), only, detects: self.detects }
    }

    /// The label that masks a value here.
    fn label(&self) -> Option<usize> {
        self.masks.iter().find(|(_, left)| left.is_empty()).map(|(label, _)| *label)
    }

    fn drops(&self, tree: &Tree) -> bool {
        let is_container = matches!(tree, Tree::Array(..) | Tree::Object(..));
        let passes = self.only.as_ref().is_none_or(|only| {
            only.iter().any(|left| left.is_empty()) || (is_container && !only.is_empty())
        });
        !passes || self.label() == Some(GONE)
    }
}

/// What is left of a path behind a key: nothing, or in each way in which it fits.
fn after(steps: Steps, key: &str) -> std::vec::IntoIter<Steps> {
    let left = match steps {
        [Key(name), left @ ..] if *name == key => vec![left],
        [Any, left @ ..] => vec![left],
        [Deep, left @ ..] => {
            let mut all: Vec<Steps> = after(left, key).collect();
            all.push(steps);
            all
        }
        _ => Vec::new(),
    };
    left.into_iter()
}

fn trees() -> impl Strategy<Value = Tree> {
    let piece = prop_oneof![
        3 => prop::sample::select(&PLAIN[..]).prop_map(|raw| Piece { raw, is_hit: false }),
        1 => prop::sample::select(&HITS[..]).prop_map(|raw| Piece { raw, is_hit: true }),
    ];
    let leaf = prop_oneof![
        prop::sample::select(&LITERALS[..]).prop_map(Tree::Literal),
        prop::collection::vec(piece, 0..4).prop_map(Tree::Text),
    ];
    leaf.prop_recursive(5, 40, 5, |tree| {
        let space = prop::sample::select(&SPACES[..]);
        let key = prop::sample::select(&KEYS[..]);
        prop_oneof![
            2 => (prop::collection::vec(tree.clone(), 0..4), space.clone())
                .prop_map(|(list, space)| Tree::Array(list, space)),
            4 => (prop::collection::vec((key, tree.clone()), 0..5), space)
                .prop_map(|(map, space)| Tree::Object(map, space)),
            1 => tree.prop_map(|tree| match tree {
                inner @ (Tree::Array(..) | Tree::Object(..)) if !inner.has_inner() => {
                    Tree::Inner(Box::new(inner))
                }
                other => other,
            }),
        ]
    })
}

impl Tree {
    fn has_inner(&self) -> bool {
        match self {
            Self::Inner(_) => true,
            Self::Array(list, _) => list.iter().any(Self::has_inner),
            Self::Object(map, _) => map.iter().any(|(_, tree)| tree.has_inner()),
            Self::Literal(_) | Self::Text(_) => false,
        }
    }

    /// Writes the document; with `marks`, masked where they say so.
    fn write(&self, marks: Option<&Marks>, out: &mut String) {
        let masked = marks.and_then(Marks::label).and_then(|label| LABELS.get(label));
        match (self, masked) {
            (Self::Literal("null"), _) => out.push_str("null"),
            (
                Self::Literal(_) | Self::Text(_) | Self::Object(..) | Self::Inner(_),
                Some(masked),
            ) => {
                out.push_str(masked.1);
            }
            (Self::Literal(literal), None) => out.push_str(literal),
            (Self::Text(pieces), None) => {
                out.push('"');
                for piece in pieces {
                    match (piece.is_hit, marks) {
                        (true, Some(marks)) if marks.detects => out.push_str("<[masked]>"),
                        (true, _) => out.push_str(&format!("<{}>", piece.raw)),
                        (false, _) => out.push_str(piece.raw),
                    }
                }
                out.push('"');
            }
            (Self::Array(list, space), _) => {
                out.push('[');
                let mut keeps_one = false;
                for tree in list {
                    write_member(marks, space, "", &mut keeps_one, tree, out);
                }
                out.push(']');
            }
            (Self::Object(map, space), None) => {
                out.push('{');
                let mut keeps_one = false;
                for (key, tree) in map {
                    let below = marks.map(|marks| marks.below(key.name));
                    let name = format!("\"{}\"{space}:{space}", key.raw);
                    write_member(below.as_ref(), space, &name, &mut keeps_one, tree, out);
                }
                out.push('}');
            }
            (Self::Inner(tree), None) => {
                let mut inner = String::new();
                tree.write(marks, &mut inner);
                out.push('"');
                for character in inner.chars() {
                    match character {
                        '"' => out.push_str("\\\""),
                        '\\' => out.push_str("\\\\"),
                        '\n' => out.push_str("\\n"),
                        '\r' => out.push_str("\\u000d"),
                        '\t' => out.push_str("\\t"),
                        other => out.push(other),
                    }
                }
                out.push('"');
            }
        }
    }
}

/// Writes a member or element: one that is left out takes the comma before it along, or the one behind it if it was first.
fn write_member(
    marks: Option<&Marks>,
    space: Space,
    name: &str,
    keeps_one: &mut bool,
    tree: &Tree,
    out: &mut String,
) {
    if marks.is_some_and(|marks| marks.drops(tree)) {
        out.push_str(if *keeps_one { "" } else { space });
        out.push_str(space);
        return;
    }
    out.push_str(if *keeps_one { "," } else { "" });
    *keeps_one = true;
    out.push_str(space);
    out.push_str(name);
    tree.write(marks, out);
    out.push_str(space);
}

/// Paths by their labels, in the order of the rules, those that alone may pass, and whether detectors look.
fn plan_of(paths: &[(usize, usize)], only: Option<&[usize]>, detects: bool) -> MaskPlan {
    let field = |(path, label): &(usize, usize)| {
        format!("      '{}': {}\n", PATHS[*path], LABELS[*label].0)
    };
    let fields: String = paths.iter().map(field).collect();
    let fields = if fields.is_empty() { String::new() } else { format!("    fields:\n{fields}") };
    let only = only.map_or_else(String::new, |only| {
        let paths: String = only.iter().map(|path| format!("'{}', ", PATHS[*path])).collect();
        format!("    only: {{ label: gone, fields: [{paths}] }}\n")
    });
    let detect = if detects { "    detect: { secret: [payment-card, email] }\n" } else { "" };
    rules(&format!("  - topics: [t]\n{detect}{fields}{only}"))
        .plan("t", Direction::Read, |_| false)
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_masker_does_what_a_walk_over_the_tree_does(
        trees in prop::collection::vec(trees(), 1..4),
        paths in prop::collection::btree_map(0..PATHS.len(), 0..LABELS.len(), 1..5),
        only in prop::option::weighted(0.2, prop::collection::btree_set(0..PATHS.len(), 1..5)),
        detects in any::<bool>(),
    ) {
        let paths: Vec<(usize, usize)> = paths.into_iter().collect();
        let only: Option<Vec<usize>> = only.map(|only| only.into_iter().collect());
        let plan = plan_of(&paths, only.as_deref(), detects);
        let marks = Marks {
            masks: paths.iter().map(|(path, label)| (*label, STEPS[*path])).collect(),
            only: only.as_ref().map(|only| only.iter().map(|path| STEPS[*path]).collect()),
            detects,
        };
        // Each twice, so that what is remembered of the others, and of itself, is used.
        let mut scratch = Scratch::new();
        for tree in trees.iter().chain(&trees) {
            let (mut document, mut expected) = (String::new(), String::new());
            tree.write(None, &mut document);
            if marks.drops(tree) {
                // A document cannot be left out of itself.
                expected = String::from_utf8(WITHHELD.to_vec()).unwrap();
            } else {
                tree.write(Some(&marks), &mut expected);
            }
            let found = masked(&plan, document.as_bytes(), &mut scratch);
            prop_assert_eq!(String::from_utf8_lossy(&found), expected.as_str(), "{}", document);
            // What was masked once has nothing left to mask but the marks themselves, which a list of what may pass
            // does not name.
            if only.is_none() {
                let again = masked(&plan, &found, &mut scratch);
                prop_assert_eq!(String::from_utf8_lossy(&again), expected.as_str());
            }
        }
    }

    #[test]
    fn a_broken_document_is_withheld_whatever_is_remembered(
        tree in trees(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\0e-. \n\x80"[..])],
        change in 0..3,
        whole_first in any::<bool>(),
    ) {
        let plan = plan_of(&[(0, 0), (2, 0)], None, false);
        let mut document = String::new();
        tree.write(None, &mut document);
        // Something to mask in front, so that the prefilter lets nothing by.
        const FRONT: &str = "[{\"a\":1},";
        let mut document = format!("{FRONT}{document}]").into_bytes();
        let mut scratch = Scratch::new();
        if whole_first {
            prop_assert_ne!(plan.mask_value(&document, &mut scratch), Masked::Withheld);
        }
        let index = FRONT.len() + at.index(document.len() - FRONT.len());
        match change {
            0 => document.truncate(index),
            1 => document[index] = byte,
            _ => document.insert(index, byte),
        }
        let parsed = serde_json::from_slice::<serde_json::Value>(&document);
        let out_of_range = parsed.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
        if !out_of_range {
            let outcome = plan.mask_value(&document, &mut scratch);
            prop_assert_eq!(outcome == Masked::Withheld, parsed.is_err(), "{}", document.escape_ascii());
        }
    }

    #[test]
    fn broken_documents_are_withheld_just_where_a_parser_refuses_them(
        tree in trees(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\0e-. \n\x80"[..])],
        cut in any::<bool>(),
    ) {
        let plan = plan_of(&[], None, true);
        let mut document = String::new();
        tree.write(None, &mut document);
        // A mail address in front, so that the prefilter lets nothing by.
        const FRONT: &str = "[\"a@b.cc\",";
        let mut document = format!("{FRONT}{document}]").into_bytes();
        let index = FRONT.len() + at.index(document.len() - FRONT.len());
        if cut {
            document.truncate(index);
        } else {
            document[index] = byte;
        }
        let parsed = serde_json::from_slice::<serde_json::Value>(&document);
        // Too large a number is a limit of that parser, not of JSON; and it need not read what
        // follows then.
        let out_of_range = parsed.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
        let mut scratch = Scratch::new();
        let outcome = plan.mask_value(&document, &mut scratch);
        if !out_of_range {
            prop_assert_eq!(outcome == Masked::Withheld, parsed.is_err(), "{}", document.escape_ascii());
        }
        if let Masked::Changed(changed) = outcome {
            let parsed = serde_json::from_slice::<serde_json::Value>(changed);
            let readable = parsed.map_or_else(|error| error.to_string().contains("out of range"), |_| true);
            prop_assert!(readable, "{}", changed.escape_ascii());
        }
    }

    #[test]
    fn keys_and_headers_of_any_bytes_are_masked_without_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
    ) {
        let plan = plan_of(&[(0, 0)], None, true);
        let mut scratch = Scratch::new();
        let index = at.index(bytes.len() + 1);
        let mut text = bytes[..index].to_vec();
        text.extend_from_slice(b" 4111111111111111 ");
        text.extend_from_slice(&bytes[index..]);
        let shown = |text: &[u8]| text.windows(16).any(|window| window == b"4111111111111111");
        match plan.mask_text(&text, &mut scratch) {
            Masked::Changed(masked) => prop_assert!(!shown(masked)),
            Masked::Withheld | Masked::Null => prop_assert!(!shown(WITHHELD)),
            // Digits before or after can make it part of a longer number.
            Masked::Unchanged => prop_assert!(text.iter().filter(|byte| byte.is_ascii_digit()).count() > 16),
        }
        plan.mask_text(&bytes, &mut scratch);
        plan.mask_value(&bytes, &mut scratch);
    }
}
