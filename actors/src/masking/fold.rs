//! Folds text for the detectors: one byte per visible character, and where in the original it
//! stands.

/// Stands for a letter beyond ASCII.
pub(super) const LETTER: u8 = 0x80;
/// Stands for any other character beyond ASCII, and for bytes that are no UTF-8.
const OTHER: u8 = 0xff;

/// Folded text. Its buffers are used again.
#[derive(Debug, Default)]
pub(super) struct Folded {
    text: Vec<u8>,
    /// Start and end of each folded byte in the original.
    spans: Vec<(u32, u32)>,
}

impl Folded {
    /// Folds `raw`; backslashes are JSON escapes where `escaped`.
    pub(super) fn fold(&mut self, raw: &[u8], escaped: bool) {
        self.text.clear();
        self.spans.clear();
        self.text.reserve(raw.len());
        self.spans.reserve(raw.len());
        let mut rest = raw;
        while let Some((character, after)) = next_char(rest, escaped) {
            let start = raw.len().saturating_sub(rest.len());
            let end = raw.len().saturating_sub(after.len());
            rest = after;
            if let Some(byte) = fold_char(character) {
                let at = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
                self.text.push(byte);
                self.spans.push((at(start), at(end)));
            }
        }
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Where in the original the folded bytes from `start` to `end` stand.
    pub(super) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        let at = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
        let first = self.spans.get(start).map_or(0, |span| at(span.0));
        let last = end.checked_sub(1).and_then(|last| self.spans.get(last));
        (first, last.map_or(first, |span| at(span.1)))
    }
}

/// The first character of `raw` and what follows; bytes that are no UTF-8 count as U+FFFD, one by
/// one.
fn next_char(raw: &[u8], escaped: bool) -> Option<(char, &[u8])> {
    let (&first, rest) = raw.split_first()?;
    if escaped && first == b'\\' {
        let character = super::text::escaped_char(raw).unwrap_or(char::REPLACEMENT_CHARACTER);
        return Some((character, super::text::after_escape(raw)));
    }
    if first < 0x80 {
        return Some((char::from(first), rest));
    }
    let length = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let character = raw
        .get(..length)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| text.chars().next());
    match character {
        Some(character) => Some((character, raw.get(length..).unwrap_or_default())),
        None => Some((char::REPLACEMENT_CHARACTER, rest)),
    }
}

/// The byte that stands for a character; `None` for what cannot be seen.
fn fold_char(character: char) -> Option<u8> {
    if let Ok(byte) = u8::try_from(character)
        && byte < 0x80
    {
        return (byte != 0).then_some(byte);
    }
    let code = u32::from(character);
    if is_invisible(code) {
        return None;
    }
    if let Some(digit) = digit(code) {
        return Some(b'0'.wrapping_add(digit));
    }
    Some(match code {
        // Fullwidth forms of ASCII.
        0xff01..=0xff5e => u8::try_from(code - 0xfee0).unwrap_or(OTHER),
        0xfe6b => b'@',
        0x00a0 | 0x1680 | 0x2000..=0x200a | 0x2028 | 0x2029 | 0x202f | 0x205f | 0x3000 => b' ',
        0x2010..=0x2015 | 0x2043 | 0x2212 | 0xfe58 | 0xfe63 => b'-',
        0x00b7 | 0x2024 | 0x2027 | 0x3002 | 0xfe52 | 0xff61 => b'.',
        0x2044 | 0x2215 => b'/',
        _ if character.is_alphanumeric() => LETTER,
        _ => OTHER,
    })
}

/// Format characters (Unicode's Cf), variation selectors, and what else shows nothing.
fn is_invisible(code: u32) -> bool {
    matches!(
        code,
        0x00ad
            | 0x034f
            | 0x0600..=0x0605
            | 0x061c
            | 0x06dd
            | 0x070f
            | 0x0890..=0x0891
            | 0x08e2
            | 0x115f..=0x1160
            | 0x17b4..=0x17b5
            | 0x180b..=0x180f
            | 0x200b..=0x200f
            | 0x202a..=0x202e
            | 0x2060..=0x206f
            | 0x3164
            | 0xfe00..=0xfe0f
            | 0xfeff
            | 0xffa0
            | 0xfff9..=0xfffb
            | 0x110bd
            | 0x110cd
            | 0x13430..=0x1343f
            | 0x1bca0..=0x1bca3
            | 0x1d173..=0x1d17a
            | 0xe0000..=0xe0fff
    )
}

/// The value of a decimal digit of any script, and of digits in circles, above or below the line.
fn digit(code: u32) -> Option<u8> {
    let value = match code {
        0x1d7ce..=0x1d7ff => (code - 0x1d7ce) % 10,
        0x00b9 => 1,
        0x00b2 | 0x00b3 => code - 0x00b0,
        0x2070 => 0,
        0x2074..=0x2079 => code - 0x2070,
        0x2080..=0x2089 => code - 0x2080,
        0x2460..=0x2468 => code - 0x245f,
        0x24ea => 0,
        _ => {
            let after = ZEROS.partition_point(|zero| *zero <= code);
            let zero = ZEROS.get(after.checked_sub(1)?)?;
            code.checked_sub(*zero).filter(|value| *value < 10)?
        }
    };
    u8::try_from(value).ok()
}

/// The zeros of all scripts (general category Nd); nine digits follow each.
#[rustfmt::skip]
const ZEROS: [u32; 71] = [
    0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66,
    0x0ce6, 0x0d66, 0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810,
    0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0,
    0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x10d40, 0x11066,
    0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x116d0, 0x116da,
    0x11730, 0x118e0, 0x11950, 0x11bf0, 0x11c50, 0x11d50, 0x11da0, 0x11de0, 0x11f50, 0x16130,
    0x16a60, 0x16ac0, 0x16b50, 0x16d70, 0x1ccf0, 0x1e140, 0x1e2f0, 0x1e4f0, 0x1e5f0, 0x1e950,
    0x1fbf0,
];
