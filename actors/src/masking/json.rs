//! Walks one JSON document in its original bytes: validates it, and splices masks into it.
//!
//! There is no tree and no second form of the document. What is not masked is copied as it stands,
//! so numbers, order, duplicates and spacing stay. A string that holds a document is entered: its
//! text is decoded beside a map back to the bytes that it came from, so that a mask inside of it,
//! escaped again, is a splice of the outermost document too.
//!
//! ```text
//! level 0: {"payload":"{\"card\":\"4111…\"}"}      splice [start, end) ◀─┐
//! level 1:             {"card":"4111…"}             splice [start, end) ──┘ by map, escaped once
//! ```

use super::detect::{Found, Writing};
use super::fold::Folded;
use super::method::Form;
use super::plan::{MaskPlan, NO_NODE};
use super::schema::Splices;
use super::text;

/// How deep containers may nest, all levels of strings together (`faults.md` §4.5).
pub const DEPTH_MAX: usize = 128;
/// How many tokens a value may have, all levels of strings together (`faults.md` §4.5).
pub const TOKENS_MAX: u32 = 200_000;
/// How deep documents in strings are entered.
pub const LEVELS_MAX: usize = 3;

/// The bytes are no document within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// The buffers of a walk, to be used again. Output is the input up to `copied`, with masks; nothing
/// where no mask was.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub(super) out: Vec<u8>,
    copied: usize,
    /// The mask of each splice so far, to be counted if the document proves readable.
    pub(super) hits: Vec<u16>,
    stack: Vec<Open>,
    /// Decoded documents of strings, and where their bytes came from, by level.
    decoded: [Vec<u8>; LEVELS_MAX],
    maps: [Vec<u32>; LEVELS_MAX],
    /// A replacement on its way out of strings, before and after it is escaped.
    piece: Vec<u8>,
    escaped: Vec<u8>,
    /// The decoded text of a key or of a value that is hashed.
    text: Vec<u8>,
    pub(super) folded: Folded,
    pub(super) found: Vec<Found>,
    /// What the walks over other formats put in.
    pub(super) splices: Splices,
}

/// An open container.
#[derive(Clone, Copy, Debug)]
struct Open {
    node: u16,
    is_object: bool,
}

/// A masked object that is being walked through for validation alone.
#[derive(Clone, Copy, Debug)]
struct Covered {
    start: usize,
    depth: usize,
    mask: u16,
}

/// The content of a string, without its quotes.
#[derive(Clone, Copy, Debug)]
struct Content {
    start: usize,
    end: usize,
    writing: Writing,
}

/// What a value's first byte came to.
enum Begun {
    Scalar,
    Container { is_object: bool, node: u16 },
}

struct Walk<'w> {
    plan: &'w MaskPlan,
    sheet: &'w mut Sheet,
    /// The outermost document.
    root: &'w [u8],
    /// The document of this level.
    input: &'w [u8],
    level: usize,
    at: usize,
    tokens_left: u32,
    covered: Option<Covered>,
}

/// Walks `document`, which is UTF-8. Masks are in `sheet.out`, if there are any.
pub(super) fn walk(plan: &MaskPlan, document: &[u8], sheet: &mut Sheet) -> Result<(), Unreadable> {
    sheet.out.clear();
    sheet.copied = 0;
    sheet.hits.clear();
    sheet.stack.clear();
    let mut walk = Walk {
        plan,
        sheet,
        root: document,
        input: document,
        level: 0,
        at: 0,
        tokens_left: TOKENS_MAX,
        covered: None,
    };
    walk.document(plan.root())?;
    if !sheet.hits.is_empty() {
        sheet.out.extend_from_slice(document.get(sheet.copied..).unwrap_or_default());
    }
    Ok(())
}

impl<'w> Walk<'w> {
    fn document(&mut self, root: u16) -> Result<(), Unreadable> {
        let base = self.sheet.stack.len();
        let mut node = root;
        self.space();
        loop {
            let mut complete = match self.value(node)? {
                Begun::Scalar => true,
                Begun::Container { is_object, node } => {
                    if self.sheet.stack.len() >= DEPTH_MAX {
                        return Err(Unreadable);
                    }
                    self.sheet.stack.push(Open { node, is_object });
                    self.space();
                    let close = if is_object { b'}' } else { b']' };
                    self.peek() == Some(close)
                }
            };
            while complete {
                let Some(&open) = self.sheet.stack.last().filter(|_| self.sheet.stack.len() > base)
                else {
                    self.space();
                    return if self.at == self.input.len() { Ok(()) } else { Err(Unreadable) };
                };
                self.space();
                match (self.next()?, open.is_object) {
                    (b',', _) => {
                        self.space();
                        complete = false;
                    }
                    (b'}', true) | (b']', false) => self.close(),
                    _ => return Err(Unreadable),
                }
            }
            let Some(&open) = self.sheet.stack.last() else { return Err(Unreadable) };
            node = if open.is_object { self.key(open.node)? } else { open.node };
        }
    }

    /// Reads a key, its colon, and the space around; returns the node of its value.
    fn key(&mut self, parent: u16) -> Result<u16, Unreadable> {
        if self.next()? != b'"' {
            return Err(Unreadable);
        }
        self.token()?;
        let content = self.string()?;
        let raw = self.content(content);
        let mut node = NO_NODE;
        if parent != NO_NODE {
            node = if content.writing.escaped {
                self.sheet.text.clear();
                text::unescape(raw, &mut self.sheet.text);
                self.plan.child(parent, &self.sheet.text)
            } else {
                self.plan.child(parent, raw)
            };
        }
        if self.covered.is_none() {
            self.detect(content);
        }
        self.space();
        if self.next()? != b':' {
            return Err(Unreadable);
        }
        self.space();
        Ok(node)
    }

    fn value(&mut self, node: u16) -> Result<Begun, Unreadable> {
        self.token()?;
        let start = self.at;
        match self.next()? {
            b'"' => {
                let content = self.string()?;
                if self.covered.is_none() {
                    self.string_value(node, content)?;
                }
            }
            b'{' => return Ok(self.object(start, node)),
            b'[' => return Ok(Begun::Container { is_object: false, node }),
            first @ (b'-' | b'0'..=b'9') => {
                self.number(first)?;
                self.number_value(node, start);
            }
            b't' => self.literal(b"rue", node, start)?,
            b'f' => self.literal(b"alse", node, start)?,
            b'n' => self.literal(b"ull", NO_NODE, start)?,
            _ => return Err(Unreadable),
        }
        Ok(Begun::Scalar)
    }

    fn object(&mut self, start: usize, node: u16) -> Begun {
        let is_object = true;
        if self.covered.is_some() {
            return Begun::Container { is_object, node: NO_NODE };
        }
        let Some(mask) = self.plan.mask_of(node) else {
            return Begun::Container { is_object, node };
        };
        self.covered = Some(Covered { start, depth: self.sheet.stack.len(), mask });
        Begun::Container { is_object, node: NO_NODE }
    }

    /// Ends the innermost container; a masked object is replaced now that it has proved readable.
    fn close(&mut self) {
        self.sheet.stack.pop();
        if let Some(covered) = self.covered
            && covered.depth == self.sheet.stack.len()
        {
            self.covered = None;
            self.replace(covered.start, self.at, covered.mask, Quotes::Add, Form::Whole);
        }
    }

    fn string_value(&mut self, node: u16, content: Content) -> Result<(), Unreadable> {
        let form = if content.writing.escaped { Form::Escaped } else { Form::Text };
        if let Some(mask) = self.plan.mask_of(node) {
            self.replace(content.start, content.end, mask, Quotes::Stay, form);
            return Ok(());
        }
        let below = self.plan.mask_below(node);
        if (below.is_some() || !self.plan.detectors().is_empty())
            && let Some(first) = first_of_document(self.content(content))
        {
            if self.enter(node, content) {
                return Ok(());
            }
            // What looks like the document with the masked fields, and cannot be read, is not
            // shown. A quotation mark alone looks like prose, except where nobody has looked.
            if let Some(mask) = below
                && (first != '"' || self.level >= LEVELS_MAX)
            {
                self.replace(content.start, content.end, mask, Quotes::Stay, Form::Whole);
                return Ok(());
            }
        }
        self.detect(content);
        Ok(())
    }

    fn number_value(&mut self, node: u16, start: usize) {
        if self.covered.is_some() {
            return;
        }
        let literal = self.input.get(start..self.at).unwrap_or_default();
        let mask = self.plan.mask_of(node).or_else(|| self.plan.detectors().number(literal));
        if let Some(mask) = mask {
            self.replace(start, self.at, mask, Quotes::Add, Form::Text);
        }
    }

    fn literal(&mut self, rest: &[u8], node: u16, start: usize) -> Result<(), Unreadable> {
        let end = self.at.saturating_add(rest.len());
        if self.input.get(self.at..end) != Some(rest) {
            return Err(Unreadable);
        }
        self.at = end;
        if self.covered.is_none()
            && let Some(mask) = self.plan.mask_of(node)
        {
            self.replace(start, end, mask, Quotes::Add, Form::Bool);
        }
        Ok(())
    }

    /// Masks what the detectors find in a string that is not masked whole.
    fn detect(&mut self, content: Content) {
        let plan = self.plan;
        let detectors = plan.detectors();
        if detectors.is_empty() {
            return;
        }
        let raw = self.input.get(content.start..content.end).unwrap_or_default();
        let Sheet { folded, found, .. } = &mut *self.sheet;
        detectors.find(raw, content.writing, folded, found);
        let form = if content.writing.escaped { Form::Escaped } else { Form::Text };
        for index in 0..self.sheet.found.len() {
            let Some(&Found { start, end, mask }) = self.sheet.found.get(index) else { break };
            let (start, end) =
                (content.start.saturating_add(start), content.start.saturating_add(end));
            self.replace(start, end, mask, Quotes::Stay, form);
        }
    }

    /// Walks the document in a string; `false` where there is none, and nothing is masked then.
    fn enter(&mut self, node: u16, content: Content) -> bool {
        let level = self.level;
        let (Some(decoded), Some(map)) =
            (self.sheet.decoded.get_mut(level), self.sheet.maps.get_mut(level))
        else {
            return false;
        };
        let mut decoded = std::mem::take(decoded);
        decoded.clear();
        map.clear();
        let raw_at = u32::try_from(content.start).unwrap_or(u32::MAX);
        let raw = self.input.get(content.start..content.end).unwrap_or_default();
        text::unescape_mapped(raw, raw_at, &mut decoded, map);
        let mark = (self.sheet.out.len(), self.sheet.copied, self.sheet.hits.len());
        let depth = self.sheet.stack.len();
        let mut inner = Walk {
            plan: self.plan,
            sheet: &mut *self.sheet,
            root: self.root,
            input: &decoded,
            level: level.saturating_add(1),
            at: 0,
            tokens_left: self.tokens_left,
            covered: None,
        };
        let entered = inner.document(node).is_ok();
        self.tokens_left = inner.tokens_left;
        if !entered {
            self.sheet.out.truncate(mark.0);
            self.sheet.copied = mark.1;
            self.sheet.hits.truncate(mark.2);
            self.sheet.stack.truncate(depth);
        }
        if let Some(place) = self.sheet.decoded.get_mut(level) {
            *place = decoded;
        }
        entered
    }

    /// Puts the mask of `input[start..end]` in its place.
    fn replace(&mut self, start: usize, end: usize, mask: u16, quotes: Quotes, form: Form) {
        let Some(method) = self.plan.method(mask) else { return };
        let raw = self.input.get(start..end).unwrap_or_default();
        let Sheet { out, copied, hits, piece, escaped, text, maps, .. } = &mut *self.sheet;
        hits.push(mask);
        if self.level == 0 {
            out.extend_from_slice(self.root.get(*copied..start).unwrap_or_default());
            *copied = end;
            quotes.put(out);
            method.write(form, raw, text, out);
            quotes.put(out);
            return;
        }
        piece.clear();
        quotes.put(piece);
        method.write(form, raw, text, piece);
        quotes.put(piece);
        let (mut start, mut end) = (start, end);
        for map in maps.iter().take(self.level).rev() {
            let outer = |at: usize| {
                map.get(at).and_then(|at| usize::try_from(*at).ok()).unwrap_or(usize::MAX)
            };
            (start, end) = (outer(start), outer(end));
            escaped.clear();
            text::escape(piece, escaped);
            std::mem::swap(piece, escaped);
        }
        out.extend_from_slice(self.root.get(*copied..start).unwrap_or_default());
        *copied = end;
        out.extend_from_slice(piece);
    }

    fn token(&mut self) -> Result<(), Unreadable> {
        self.tokens_left = self.tokens_left.checked_sub(1).ok_or(Unreadable)?;
        Ok(())
    }

    fn content(&self, content: Content) -> &'w [u8] {
        self.input.get(content.start..content.end).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, Unreadable> {
        let byte = self.peek().ok_or(Unreadable)?;
        self.at = self.at.saturating_add(1);
        Ok(byte)
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at = self.at.saturating_add(1);
        }
    }

    /// Reads a string whose opening quote has been read.
    fn string(&mut self) -> Result<Content, Unreadable> {
        let content = string_content(self.input, self.at)?;
        self.at = content.end.saturating_add(1);
        Ok(content)
    }

    /// Reads a number whose first byte has been read.
    fn number(&mut self, first: u8) -> Result<(), Unreadable> {
        let lead = if first == b'-' { self.next()? } else { first };
        match lead {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return Err(Unreadable),
        }
        if self.peek() == Some(b'.') {
            self.at = self.at.saturating_add(1);
            self.digit()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at = self.at.saturating_add(1);
            if let Some(b'+' | b'-') = self.peek() {
                self.at = self.at.saturating_add(1);
            }
            self.digit()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digit(&mut self) -> Result<(), Unreadable> {
        if !self.next()?.is_ascii_digit() {
            return Err(Unreadable);
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at = self.at.saturating_add(1);
        }
    }
}

/// Whether a replacement brings its quotes.
#[derive(Clone, Copy)]
enum Quotes {
    /// Those of the string stay.
    Stay,
    /// What is replaced had none.
    Add,
}

impl Quotes {
    fn put(self, out: &mut Vec<u8>) {
        if let Self::Add = self {
            out.push(b'"');
        }
    }
}

/// The first character of the text of a string, past spaces, if a document that holds more than a
/// number begins so.
fn first_of_document(raw: &[u8]) -> Option<char> {
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
fn string_content(input: &[u8], start: usize) -> Result<Content, Unreadable> {
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
