//! The fast masker against a slow, obvious one.
//!
//! Random trees are written as documents twice: as they are, and with each masked value written as
//! its mask by a walk over the tree that tries every path at every step. The masker must turn the
//! first into the second, byte for byte.

use proptest::prelude::*;

use super::super::method::WITHHELD;
use super::super::{MaskPlan, Masked, Scratch};
use super::{masked, rules};

/// A document before it is written.
#[derive(Clone, Debug)]
enum Tree {
    /// Null, a number, true, false: as it is written.
    Literal(&'static str),
    Text(Vec<Piece>),
    Array(Vec<Tree>, Space),
    Object(Vec<(Key, Tree)>, Space),
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
struct Key {
    name: &'static str,
    raw: &'static str,
}

type Space = &'static str;

const KEYS: [Key; 7] = [
    Key { name: "a", raw: "a" },
    Key { name: "b", raw: "b" },
    Key { name: "c", raw: "c" },
    Key { name: "a", raw: "\\u0061" },
    Key { name: "x.y", raw: "x.y" },
    Key { name: "ü\"", raw: "ü\\\"" },
    Key { name: "a long key of more than eight bytes", raw: "a long key of more than eight bytes" },
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
const PATHS: [&str; 9] = [
    "a",
    "b",
    "a.b",
    "a.b.c",
    "b.a",
    "\"x.y\"",
    "c.\"x.y\".a",
    "\"ü\\\"\"",
    "\"a long key of more than eight bytes\".a",
];
const PATH_KEYS: [&[&str]; 9] = [
    &["a"],
    &["b"],
    &["a", "b"],
    &["a", "b", "c"],
    &["b", "a"],
    &["x.y"],
    &["c", "x.y", "a"],
    &["ü\""],
    &["a long key of more than eight bytes", "a"],
];

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

    /// Writes the document; with `paths`, masked under those that lead here.
    fn write(&self, paths: Option<&[&[&str]]>, out: &mut String) {
        let is_masked = paths.is_some_and(|paths| paths.iter().any(|path| path.is_empty()));
        match self {
            Self::Literal("null") => out.push_str("null"),
            Self::Literal(_) | Self::Text(_) | Self::Object(..) | Self::Inner(_) if is_masked => {
                out.push_str("\"[masked]\"");
            }
            Self::Literal(literal) => out.push_str(literal),
            Self::Text(pieces) => {
                out.push('"');
                for piece in pieces {
                    match (piece.is_hit, paths) {
                        (true, Some(_)) => out.push_str("<[masked]>"),
                        (true, None) => {
                            out.push('<');
                            out.push_str(piece.raw);
                            out.push('>');
                        }
                        (false, _) => out.push_str(piece.raw),
                    }
                }
                out.push('"');
            }
            Self::Array(list, space) => {
                out.push('[');
                for (index, tree) in list.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    out.push_str(space);
                    tree.write(paths, out);
                    out.push_str(space);
                }
                out.push(']');
            }
            Self::Object(map, space) => {
                out.push('{');
                for (index, (key, tree)) in map.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    out.push_str(&format!("{space}\"{}\"{space}:{space}", key.raw));
                    let below = paths.map(|paths| {
                        let fitting = paths.iter().filter(|path| path.first() == Some(&key.name));
                        fitting.map(|path| &path[1..]).collect::<Vec<_>>()
                    });
                    tree.write(below.as_deref(), out);
                    out.push_str(space);
                }
                out.push('}');
            }
            Self::Inner(tree) => {
                let mut inner = String::new();
                tree.write(paths, &mut inner);
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

fn plan_of(paths: &[usize]) -> MaskPlan {
    let fields: String =
        paths.iter().map(|path| format!("      '{}': secret\n", PATHS[*path])).collect();
    let fields = if fields.is_empty() { String::new() } else { format!("    fields:\n{fields}") };
    rules(&format!("  - topics: [t]\n    detect: {{ secret: [payment-card, email] }}\n{fields}"))
        .plan("t", |_| false)
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_masker_does_what_a_walk_over_the_tree_does(
        tree in trees(),
        paths in prop::collection::btree_set(0..PATHS.len(), 0..5),
    ) {
        let paths: Vec<usize> = paths.into_iter().collect();
        let plan = plan_of(&paths);
        let keys: Vec<&[&str]> = paths.iter().map(|path| PATH_KEYS[*path]).collect();
        let (mut document, mut expected) = (String::new(), String::new());
        tree.write(None, &mut document);
        tree.write(Some(&keys), &mut expected);
        let mut scratch = Scratch::new();
        let found = masked(&plan, document.as_bytes(), &mut scratch);
        prop_assert_eq!(String::from_utf8_lossy(&found), expected.as_str(), "{}", document);
        // What was masked once has nothing left to mask but the marks themselves.
        let again = masked(&plan, &found, &mut scratch);
        prop_assert_eq!(String::from_utf8_lossy(&again), expected.as_str());
    }

    #[test]
    fn broken_documents_are_withheld_just_where_a_parser_refuses_them(
        tree in trees(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\0e-. \n\x80"[..])],
        cut in any::<bool>(),
    ) {
        let plan = plan_of(&[]);
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
        let plan = plan_of(&[0]);
        let mut scratch = Scratch::new();
        let index = at.index(bytes.len() + 1);
        let mut text = bytes[..index].to_vec();
        text.extend_from_slice(b" 4111111111111111 ");
        text.extend_from_slice(&bytes[index..]);
        let shown = |text: &[u8]| text.windows(16).any(|window| window == b"4111111111111111");
        match plan.mask_text(&text, &mut scratch) {
            Masked::Changed(masked) => prop_assert!(!shown(masked)),
            Masked::Withheld => prop_assert!(!shown(WITHHELD)),
            // Digits before or after can make it part of a longer number.
            Masked::Unchanged => prop_assert!(text.iter().filter(|byte| byte.is_ascii_digit()).count() > 16),
        }
        plan.mask_text(&bytes, &mut scratch);
        plan.mask_value(&bytes, &mut scratch);
    }
}
