//! The tokens of a document: where each ends, and how strings are written.

use wide::u8x16;

use super::super::detect::Writing;
use super::super::text;
use super::{DEPTH_MAX, Unreadable};

/// The content of a string, without its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) writing: Writing,
}

/// What a walk may still read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How many containers are open already.
    pub(super) depth: usize,
    pub(super) tokens_left: u32,
}

/// The containers that are open, the innermost in the lowest bit: 1 for an object.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    count: usize,
    objects: u128,
}

/// What follows the value at the start of `rest`, in which nothing is looked for: it is validated and no more.
///
/// Most of most documents is passed by this, so it keeps what it needs in registers.
pub(super) fn after_value<'r>(rest: &'r [u8], bounds: &mut Bounds) -> Result<&'r [u8], Unreadable> {
    let mut open = Open::default();
    let mut rest = rest;
    loop {
        bounds.token()?;
        let (first, after) = rest.split_first().ok_or(Unreadable)?;
        rest = match first {
            b'"' => after_string(after)?.0,
            b'{' | b'[' => {
                let is_object = *first == b'{';
                open.push(is_object, bounds)?;
                let after = after_space(after);
                match after.split_first() {
                    Some((b'}', after)) if is_object => {
                        open.pop();
                        after
                    }
                    Some((b']', after)) if !is_object => {
                        open.pop();
                        after
                    }
                    _ => {
                        rest = if is_object { after_key(after, bounds)?.0 } else { after };
                        continue;
                    }
                }
            }
            _ => after_literal(rest)?,
        };
        match open.after_member(rest, bounds)? {
            (next, false) => rest = next,
            (end, true) => return Ok(end),
        }
    }
}

/// What follows the number, `true`, `false` or `null` at the start of `rest`.
#[inline]
pub(super) fn after_literal(rest: &[u8]) -> Result<&[u8], Unreadable> {
    match rest.split_first() {
        Some((b'-' | b'0'..=b'9', _)) => after_number(rest),
        Some((b't', after)) => after.strip_prefix(b"rue").ok_or(Unreadable),
        Some((b'f', after)) => after.strip_prefix(b"alse").ok_or(Unreadable),
        Some((b'n', after)) => after.strip_prefix(b"ull").ok_or(Unreadable),
        _ => Err(Unreadable),
    }
}

impl Bounds {
    #[inline]
    pub(super) fn token(&mut self) -> Result<(), Unreadable> {
        self.tokens_left = self.tokens_left.checked_sub(1).ok_or(Unreadable)?;
        Ok(())
    }
}

impl Open {
    #[inline]
    fn push(&mut self, is_object: bool, bounds: &Bounds) -> Result<(), Unreadable> {
        if bounds.depth.saturating_add(self.count) >= DEPTH_MAX {
            return Err(Unreadable);
        }
        self.count = self.count.saturating_add(1);
        self.objects = self.objects << 1 | u128::from(is_object);
        Ok(())
    }

    #[inline]
    fn pop(&mut self) {
        self.count = self.count.saturating_sub(1);
        self.objects >>= 1;
    }

    /// Reads what follows a member or element, and closes what ends with it; what the next one begins with, or what
    /// follows the outermost value, and whether that was its end.
    #[inline]
    fn after_member<'r>(
        &mut self,
        mut rest: &'r [u8],
        bounds: &mut Bounds,
    ) -> Result<(&'r [u8], bool), Unreadable> {
        loop {
            if self.count == 0 {
                return Ok((rest, true));
            }
            let is_object = self.objects & 1 == 1;
            let (next, after) = after_space(rest).split_first().ok_or(Unreadable)?;
            match (next, is_object) {
                (b',', true) => return Ok((after_key(after_space(after), bounds)?.0, false)),
                (b',', false) => return Ok((after_space(after), false)),
                (b'}', true) | (b']', false) => {
                    self.pop();
                    rest = after;
                }
                _ => return Err(Unreadable),
            }
        }
    }
}

/// A key as it is written, without its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key<'r> {
    /// Its text.
    Plain(&'r [u8]),
    /// With escapes.
    Escaped(&'r [u8]),
}

/// What follows a key, its colon and the space around; and the key.
#[inline(always)]
pub(super) fn after_key<'r>(
    rest: &'r [u8],
    bounds: &mut Bounds,
) -> Result<(&'r [u8], Key<'r>), Unreadable> {
    bounds.token()?;
    let start = rest.strip_prefix(b"\"").ok_or(Unreadable)?;
    let (rest, writing) = after_string(start)?;
    let content = start.get(..start.len().wrapping_sub(rest.len()).wrapping_sub(1));
    let content = content.unwrap_or_default();
    let key = if writing.escaped { Key::Escaped(content) } else { Key::Plain(content) };
    let rest = after_space(rest).strip_prefix(b":").ok_or(Unreadable)?;
    Ok((after_space(rest), key))
}

/// What follows the space at the start of `rest`.
#[inline]
pub(super) fn after_space(mut rest: &[u8]) -> &[u8] {
    while let Some((b' ' | b'\n' | b'\r' | b'\t', after)) = rest.split_first() {
        rest = after;
    }
    rest
}

/// What follows the number at the start of `rest`.
#[inline]
fn after_number(rest: &[u8]) -> Result<&[u8], Unreadable> {
    let rest = rest.strip_prefix(b"-").unwrap_or(rest);
    let mut rest = match rest.split_first() {
        Some((b'0', after)) => after,
        _ => after_digits(rest)?,
    };
    if let Some(after) = rest.strip_prefix(b".") {
        rest = after_digits(after)?;
    }
    if let Some((b'e' | b'E', after)) = rest.split_first() {
        let after = match after.split_first() {
            Some((b'+' | b'-', after)) => after,
            _ => after,
        };
        rest = after_digits(after)?;
    }
    Ok(rest)
}

/// What follows one digit or more.
#[inline]
fn after_digits(rest: &[u8]) -> Result<&[u8], Unreadable> {
    let (b'0'..=b'9', mut rest) = rest.split_first().ok_or(Unreadable)? else {
        return Err(Unreadable);
    };
    while let Some((b'0'..=b'9', after)) = rest.split_first() {
        rest = after;
    }
    Ok(rest)
}

/// What follows the string whose opening quote has been read, and how it is written. Its text is UTF-8: all else of a
/// document is ASCII, so a document whose strings are is, too.
#[inline]
pub(super) fn after_string(content: &[u8]) -> Result<(&[u8], Writing), Unreadable> {
    let (rest, ascii) = after_run(content, true);
    match rest.split_first() {
        Some((b'"', after)) if ascii => Ok((after, Writing { escaped: false, ascii })),
        Some((b'"' | b'\\', _)) => after_other_string(content, rest, ascii),
        _ => Err(Unreadable),
    }
}

/// As [`after_string`], from its first backslash or quote on: kept apart, because most strings have no backslash, and are ASCII.
#[cold]
#[inline(never)]
fn after_other_string<'r>(
    content: &[u8],
    mut rest: &'r [u8],
    mut ascii: bool,
) -> Result<(&'r [u8], Writing), Unreadable> {
    let mut escaped = false;
    loop {
        match rest.split_first() {
            Some((b'"', after)) => {
                let content = content.get(..content.len().saturating_sub(rest.len()));
                if !ascii && std::str::from_utf8(content.unwrap_or_default()).is_err() {
                    return Err(Unreadable);
                }
                return Ok((after, Writing { escaped, ascii }));
            }
            Some((b'\\', _)) => {
                escaped = true;
                text::escaped_char(rest).ok_or(Unreadable)?;
                (rest, ascii) = after_run(text::after_escape(rest), ascii);
            }
            _ => return Err(Unreadable),
        }
    }
}

/// What follows the run of bytes that are no quote, no backslash and no control character; notes where they are not all
/// ASCII.
#[inline(always)]
fn after_run(mut rest: &[u8], mut ascii: bool) -> (&[u8], bool) {
    while let Some((chunk, after)) = rest.split_first_chunk::<16>() {
        let chunk = u8x16::new(*chunk);
        let stops = chunk.simd_eq(u8x16::splat(b'"'))
            | chunk.simd_eq(u8x16::splat(b'\\'))
            | chunk.simd_eq(chunk.min(u8x16::splat(0x1f)));
        let (stops, high) = (stops.to_bitmask(), chunk.to_bitmask());
        if stops != 0 {
            // All bits below the lowest.
            ascii &= high & (stops ^ stops.wrapping_sub(1)) == 0;
            let plain = usize::try_from(stops.trailing_zeros()).unwrap_or(0);
            return (rest.get(plain..).unwrap_or_default(), ascii);
        }
        ascii &= high == 0;
        rest = after;
    }
    while let Some((byte, after)) = rest.split_first()
        && *byte >= 0x20
        && *byte != b'"'
        && *byte != b'\\'
    {
        ascii &= byte.is_ascii();
        rest = after;
    }
    (rest, ascii)
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
