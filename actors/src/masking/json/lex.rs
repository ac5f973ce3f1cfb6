//! The strings of a document: where they end, and how they are written.

use super::super::detect::Writing;
use super::super::text;
use super::Unreadable;

/// The content of a string, without its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) writing: Writing,
}

/// The first character of the text of a string, past spaces, if a document that holds more than a
/// number begins so.
pub(super) fn first_of_document(raw: &[u8]) -> Option<char> {
    let mut rest = raw;
    loop {
        let (character, after) = match rest.split_first()? {
            (b'\\', _) => (text::escaped_char(rest)?, text::after_escape(rest)),
            (first, after) => (char::from(*first), after),
        };
        match character {
            '{' | '[' | '"' => return Some(character),
            ' ' | '\n' | '\r' | '\t' => rest = after,
            _ => return None,
        }
    }
}

/// The content of the string that begins at `start`, behind its quote.
#[inline]
pub(super) fn string_content(input: &[u8], start: usize) -> Result<Content, Unreadable> {
    let mut writing = Writing { escaped: false, ascii: true };
    let mut at = start;
    loop {
        // Eight bytes at a time, up to the lowest that is a quote, a backslash or a control
        // character.
        let rest = input.get(at..).ok_or(Unreadable)?;
        let plain = match rest.first_chunk::<8>() {
            Some(chunk) => {
                let word = u64::from_le_bytes(*chunk);
                let stops = stops_in(word);
                // All bits below the mark of the lowest; all bits where there is none.
                let before = (stops & stops.wrapping_neg()).wrapping_sub(1);
                writing.ascii &= word & HIGH & before == 0;
                if stops == 0 {
                    at = at.saturating_add(8);
                    continue;
                }
                usize::try_from(stops.trailing_zeros() / 8).unwrap_or(0)
            }
            None => {
                let plain = rest.iter().take_while(|byte| !ends_run(**byte)).count();
                writing.ascii &= rest.get(..plain).is_some_and(<[u8]>::is_ascii);
                plain
            }
        };
        let end = at.saturating_add(plain);
        let stop = rest.get(plain..).unwrap_or_default();
        match stop.first() {
            Some(b'"') => return Ok(Content { start, end, writing }),
            Some(b'\\') => {
                text::escaped_char(stop).ok_or(Unreadable)?;
                writing.escaped = true;
                at = input.len().saturating_sub(text::after_escape(stop).len());
            }
            _ => return Err(Unreadable),
        }
    }
}

fn ends_run(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The high bit of each byte that is a quote, a backslash or a control character. Bytes above the
/// lowest may be marked falsely, because a borrow runs upwards.
fn stops_in(word: u64) -> u64 {
    let quote = word ^ (LOW * 0x22);
    let backslash = word ^ (LOW * 0x5c);
    (quote.wrapping_sub(LOW) & !quote
        | backslash.wrapping_sub(LOW) & !backslash
        | word.wrapping_sub(LOW * 0x20) & !word)
        & HIGH
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
