//! Finds sensitive data by its content, however its characters are written: a table of detectors, and what a set of them
//! looks for.
//!
//! Text is *folded* first: digits of every script become ASCII, dashes, dots and spaces of every kind become one, invisible
//! characters vanish, and each folded byte knows where in the original it came from. Most strings need no folding and cannot
//! hold anything: clues (how many digits stand together, an `@`, the prefix of a key) tell that by a scan.

mod bank;
mod checks;
mod contact;
mod digits;
mod national;
mod secrets;
mod table;

use regex::bytes::Regex;

pub use table::DETECTORS;

use super::fold::{Folded, LETTER};
use digits::DigitRow;

/// A detector: a row of [`DETECTORS`].
#[derive(Debug)]
pub struct Detector {
    /// Its name in mask rules.
    pub name: &'static str,
    /// What it finds, in a sentence.
    pub about: &'static str,
    finder: Finder,
    /// Texts in which it finds what stands between `<` and `>`, and nothing else.
    pub hits: &'static [&'static str],
    /// Texts in which it finds nothing.
    pub misses: &'static [&'static str],
}

/// How a detector looks.
#[derive(Debug)]
enum Finder {
    /// For digits in whole groups, all detectors of this kind in one scan.
    Digits(DigitRow),
    /// For anything else, each in a scan of its own over folded text.
    Text(Clue, Find),
}

/// Shows each stretch of folded text that is found, in order and without overlap.
type Find = fn(&[u8], &mut dyn FnMut(usize, usize));

/// What a text must have so that something may be found in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clue {
    /// An at sign.
    At,
    /// So many digits together, as far as separators and letters of such numbers may part them.
    Digits(usize),
    /// A plus, or ten digits together.
    Phone,
    /// One of the texts that [`secrets::prefixes`] knows.
    Prefix,
    /// Two letters, then two digits, side by side or parted.
    Letters,
    /// So many digits side by side.
    Row(usize),
    /// So many letters and digits in a row.
    Word(usize),
    /// Digits around points, or hexadecimal ones beside colons.
    Address,
}

/// The detectors that are on, each with the mask to use.
#[derive(Clone, Debug, Default)]
pub(super) struct Detectors {
    digits: Vec<(&'static DigitRow, u16)>,
    texts: Vec<(Find, u16)>,
    patterns: Vec<(Regex, u16)>,
    clues: Vec<Clue>,
    /// Whether a clue says nothing, because a pattern may be found anywhere.
    has_no_clue: bool,
}

/// A detected stretch of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) mask: u16,
}

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writing {
    /// Whether backslashes are JSON escapes.
    pub(super) escaped: bool,
    /// Whether all bytes are ASCII and none is zero.
    pub(super) ascii: bool,
}

impl Detector {
    /// The detector of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        DETECTORS.iter().find(|detector| detector.name == name)
    }
}

impl Detectors {
    pub(super) fn is_empty(&self) -> bool {
        self.digits.is_empty() && self.texts.is_empty() && self.patterns.is_empty()
    }

    /// Turns a detector on. The first mask of one stays.
    pub(super) fn add(&mut self, detector: &'static Detector, mask: u16) {
        let clue = match &detector.finder {
            Finder::Digits(row) => {
                if self.digits.iter().any(|(known, _)| std::ptr::eq(*known, row)) {
                    return;
                }
                self.digits.push((row, mask));
                Clue::Digits(row.least)
            }
            Finder::Text(clue, find) => {
                if self.texts.iter().any(|(known, _)| std::ptr::fn_addr_eq(*known, *find)) {
                    return;
                }
                self.texts.push((*find, mask));
                *clue
            }
        };
        self.hint(clue);
    }

    /// Adds a pattern of the rules' own, which is looked for in folded text.
    pub(super) fn add_pattern(&mut self, pattern: Regex, mask: u16) {
        self.patterns.push((pattern, mask));
        self.has_no_clue = true;
    }

    /// Whether a pattern finds something in a text.
    pub(super) fn finds(pattern: &Regex, text: &str) -> bool {
        let mut detectors = Self::default();
        detectors.add_pattern(pattern.clone(), 0);
        let writing = Writing { escaped: false, ascii: text.is_ascii() };
        let mut found = Vec::new();
        detectors.find(text.as_bytes(), writing, &mut Folded::default(), &mut found);
        !found.is_empty()
    }

    fn hint(&mut self, clue: Clue) {
        // The least of the digits is enough.
        if let Clue::Digits(digits) = clue {
            for known in &mut self.clues {
                if let Clue::Digits(least) = known {
                    *least = digits.min(*least);
                    return;
                }
            }
        }
        if !self.clues.contains(&clue) {
            self.clues.push(clue);
        }
    }

    /// Whether a text without escapes could hold something: `false` is sure.
    fn may_hold(&self, text: &[u8], ascii: bool) -> bool {
        self.has_no_clue || self.clues.iter().any(|clue| clue.is_in(text, ascii))
    }

    /// Whether a document without escapes could hold something in any of its strings and numbers: `false` is sure.
    pub(super) fn document_may_hold(&self, document: &[u8]) -> bool {
        self.may_hold(document, document.is_ascii())
            || (!self.digits.is_empty() && digits::may_hold_exponent(document))
    }

    /// Finds everything in `text`, in order and without overlap.
    pub(super) fn find(
        &self,
        text: &[u8],
        writing: Writing,
        folded: &mut Folded,
        found: &mut Vec<Found>,
    ) {
        found.clear();
        if let Some(b'-' | b'0'..=b'9') = text.first()
            && let Some(mask) = self.number(text).filter(|_| super::text::is_number(text))
        {
            found.push(Found { start: 0, end: text.len(), mask });
            return;
        }
        if !writing.escaped && !self.may_hold(text, writing.ascii) {
            return;
        }
        if writing.ascii && !writing.escaped {
            self.find_in(text, |start, end| (start, end), found);
        } else {
            folded.fold(text, writing.escaped);
            self.find_in(folded.text(), |start, end| folded.original(start, end), found);
        }
        merge(found);
    }

    fn find_in(
        &self,
        text: &[u8],
        original: impl Fn(usize, usize) -> (usize, usize),
        found: &mut Vec<Found>,
    ) {
        let mut note = |start: usize, end: usize, mask: u16| {
            let (start, end) = original(start, end);
            found.push(Found { start, end, mask });
        };
        if !self.digits.is_empty() {
            digits::find(text, &self.digits, &mut note);
        }
        for (find, mask) in &self.texts {
            find(text, &mut |start, end| note(start, end, *mask));
        }
        for (pattern, mask) in &self.patterns {
            for stretch in pattern.find_iter(text).filter(|stretch| !stretch.is_empty()) {
                note(stretch.start(), stretch.end(), *mask);
            }
        }
    }

    /// The mask for a number literal that is found, by its value: `4.111e15` counts as its digits.
    pub(super) fn number(&self, literal: &[u8]) -> Option<u16> {
        if self.digits.is_empty() {
            return None;
        }
        digits::number(literal, &self.digits)
    }
}

impl Clue {
    /// `false` is sure, for a text whose bytes are all written plainly.
    fn is_in(self, text: &[u8], ascii: bool) -> bool {
        match self {
            Self::At => contact::may_hold_at(text, ascii),
            Self::Digits(least) => digits::may_hold(text, least),
            // Letters of other widths, and invisible characters between.
            _ if !ascii => true,
            Self::Prefix => secrets::prefixes().is_none_or(|prefixes| prefixes.is_match(text)),
            Self::Word(least) => {
                text.split(|byte| !byte.is_ascii_alphanumeric()).any(|word| word.len() >= least)
            }
            Self::Phone => contact::may_hold_phone(text),
            Self::Letters => bank::may_hold_letters_and_digits(text),
            Self::Row(least) => {
                text.split(|byte| !byte.is_ascii_digit()).any(|row| row.len() >= least)
            }
            Self::Address => contact::may_hold_address(text),
        }
    }
}

/// Sorts what was found, and joins what overlaps under the mask of the first.
fn merge(found: &mut Vec<Found>) {
    if found.len() < 2 {
        return;
    }
    found.sort_by_key(|found| found.start);
    found.dedup_by(|next, before| {
        let overlap = next.start < before.end;
        if overlap {
            before.end = before.end.max(next.end);
        }
        overlap
    });
}

/// Whether a folded byte is part of a word.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == LETTER
}

/// Whether no word goes on before `start` or behind `end`.
fn stands_alone(text: &[u8], start: usize, end: usize) -> bool {
    let before = start.checked_sub(1).and_then(|at| text.get(at));
    !before.is_some_and(|byte| is_word(*byte)) && !text.get(end).is_some_and(|byte| is_word(*byte))
}

#[cfg(test)]
mod tests;
