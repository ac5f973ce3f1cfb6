//! Each row of the table against its own examples, plain and disguised.

use std::fmt::Write;
use std::path::Path;

use super::super::tests::assert_page_has;
use super::*;

fn detectors(rows: &[&'static Detector]) -> Detectors {
    let mut detectors = Detectors::default();
    for (mask, row) in rows.iter().enumerate() {
        detectors.add(row, u16::try_from(mask).unwrap());
    }
    detectors
}

/// The text with `<` and `>` around what is found.
fn marked(detectors: &Detectors, text: &str) -> String {
    let mut out = String::new();
    let mut copied = 0;
    for stretch in stretches(detectors, text) {
        let start = stretch.as_ptr().addr() - text.as_ptr().addr();
        write!(out, "{}<{stretch}>", text.get(copied..start).unwrap()).unwrap();
        copied = start + stretch.len();
    }
    out + text.get(copied..).unwrap()
}

fn plain(hit: &str) -> String {
    hit.replace(['<', '>'], "")
}

#[test]
fn every_detector_finds_its_examples_and_nothing_in_the_others() {
    for row in DETECTORS {
        let alone = detectors(&[row]);
        assert!(row.hits.len() >= 2 && row.misses.len() >= 2, "{}", row.name);
        for hit in row.hits {
            assert_eq!(marked(&alone, &plain(hit)), *hit, "{}", row.name);
        }
        for miss in row.misses {
            assert_eq!(marked(&alone, miss), *miss, "{}", row.name);
        }
    }
}

#[test]
fn digits_of_other_scripts_and_invisible_characters_hide_nothing() {
    let disguises: [fn(char) -> String; 3] = [
        |character| match character.to_digit(10) {
            Some(digit) => char::from_u32(0xff10 + digit).unwrap().to_string(),
            None => character.to_string(),
        },
        |character| match character.to_digit(10) {
            Some(digit) => char::from_u32(0x0660 + digit).unwrap().to_string(),
            None => character.to_string(),
        },
        |character| format!("{character}\u{200b}"),
    ];
    for row in DETECTORS {
        let alone = detectors(&[row]);
        for hit in row.hits {
            for disguise in disguises {
                let disguised: String = plain(hit).chars().map(disguise).collect();
                assert_ne!(marked(&alone, &disguised), disguised, "{}: {disguised}", row.name);
            }
        }
    }
}

#[test]
fn a_document_with_an_example_is_never_passed_by_its_clues() {
    for row in DETECTORS {
        let alone = detectors(&[row]);
        for hit in row.hits.iter().map(|hit| plain(hit)) {
            let document = format!("{{\"text\": \"{hit}\"}}");
            assert!(alone.document_may_hold(document.as_bytes()), "{}: {document}", row.name);
        }
        let without = br#"{"id": "order", "n": 1, "day": "2026-11-22", "at": "12:30:45"}"#;
        assert!(!alone.document_may_hold(without), "{}", row.name);
    }
}

#[test]
fn all_together_find_what_each_finds() {
    let all = detectors(&DETECTORS.iter().collect::<Vec<_>>());
    for row in DETECTORS {
        for hit in row.hits {
            let text = plain(hit);
            assert_ne!(marked(&all, &text), text, "{}: {text}", row.name);
        }
    }
}

/// A line of `actors/corpus/corpus.jsonl`, which `generate.py` there writes.
#[derive(serde::Deserialize)]
struct Line {
    text: String,
    /// Detector and data.
    found: Vec<(String, String)>,
}

const BEGIN: &str = "<!-- detectors: begin -->\n";
const END: &str = "<!-- detectors: end -->\n";

#[test]
fn the_page_tells_the_detectors_and_their_precision_and_recall() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = std::fs::read_to_string(folder.join("corpus/corpus.jsonl")).unwrap();
    let lines: Vec<Line> = corpus.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut told = "| detector | finds | precision | recall |\n|---|---|---|---|\n".to_owned();
    for row in DETECTORS {
        let alone = detectors(&[row]);
        let (mut right, mut wrong, mut missed) = (0_u32, 0_u32, 0_u32);
        for line in &lines {
            let mut wanted: Vec<&str> = line
                .found
                .iter()
                .filter(|(detector, _)| detector == row.name)
                .map(|(_, data)| &**data)
                .collect();
            for stretch in stretches(&alone, &line.text) {
                match wanted.iter().position(|data| *data == stretch) {
                    Some(place) => {
                        wanted.remove(place);
                        right += 1;
                    }
                    None => wrong += 1,
                }
            }
            missed += u32::try_from(wanted.len()).unwrap();
        }
        let share =
            |part: u32, rest: u32| f64::from(part) / f64::from((part + rest).max(1)) * 100.0;
        let (precision, recall) = (share(right, wrong), share(right, missed));
        assert!(precision > 70.0 && recall > 70.0, "{}: {right} {wrong} {missed}", row.name);
        writeln!(told, "| `{}` | {} | {precision:.1} % | {recall:.1} % |", row.name, row.about)
            .unwrap();
    }
    assert_page_has(BEGIN, END, &told);
}

fn stretches<'t>(detectors: &Detectors, text: &'t str) -> Vec<&'t str> {
    let writing = Writing { escaped: false, ascii: text.is_ascii() };
    let (mut folded, mut found) = (Folded::default(), Vec::new());
    detectors.find(text.as_bytes(), writing, &mut folded, &mut found);
    found.iter().map(|found| text.get(found.start..found.end).unwrap()).collect()
}
