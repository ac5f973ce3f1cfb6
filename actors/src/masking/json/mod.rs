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

mod lex;

use super::detect::Found;
use super::encoded::Encoding;
use super::fold::Folded;
use super::method::{Form, Written};
use super::places::NOWHERE;
use super::plan::MaskPlan;
use super::schema::Splices;
use super::text;
use lex::{Content, first_of_document, string_content};

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
    /// For documents in encoded strings.
    inner: Option<Box<Self>>,
    /// The decoded text of a key or of a value that is hashed.
    pub(super) text: Vec<u8>,
    pub(super) folded: Folded,
    pub(super) found: Vec<Found>,
    /// What the walks over other formats put in.
    pub(super) splices: Splices,
}

/// An open container, and how far members or elements of it stay.
#[derive(Clone, Copy, Debug)]
struct Open {
    node: u16,
    is_object: bool,
    /// Where the separator in front of the current member begins; behind the bracket for the first.
    separator: usize,
    /// Where the current member begins.
    member: usize,
    /// Whether a member in front of the current one stays.
    keeps_one: bool,
    /// Whether the current one is left out.
    is_cut: bool,
}

/// A value that is masked whole, or left out, and walked through for validation alone.
#[derive(Clone, Copy, Debug)]
struct Covered {
    start: usize,
    depth: usize,
    site: u16,
    is_cut: bool,
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
    /// How many encoded strings are around.
    encodings: usize,
    covered: Option<Covered>,
}

/// Walks `document`, which is UTF-8. Masks are in `sheet.out`, if there are any.
pub(super) fn walk(plan: &MaskPlan, document: &[u8], sheet: &mut Sheet) -> Result<(), Unreadable> {
    walk_from(plan, plan.root(), document, sheet, (TOKENS_MAX, 0)).map(drop)
}

/// Walks a document whose root is at `root`, within so many tokens and so many encoded strings; returns the tokens that
/// are left.
fn walk_from(
    plan: &MaskPlan,
    root: u16,
    document: &[u8],
    sheet: &mut Sheet,
    (tokens_left, encodings): (u32, usize),
) -> Result<u32, Unreadable> {
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
        tokens_left,
        encodings,
        covered: None,
    };
    walk.document(root)?;
    let tokens_left = walk.tokens_left;
    if !sheet.hits.is_empty() {
        sheet.out.extend_from_slice(document.get(sheet.copied..).unwrap_or_default());
    }
    Ok(tokens_left)
}

/// Puts what masks all of a document in the place of what was masked in it.
pub(super) fn replace_whole(plan: &MaskPlan, document: &[u8], site: u16, sheet: &mut Sheet) {
    let Sheet { out, hits, text, .. } = sheet;
    let Some(treatment) = plan.treatment(site) else { return };
    hits.clear();
    hits.push(site);
    out.clear();
    out.push(b'"');
    if treatment.write(Form::Object, document, text, out) == Written::Literal {
        out.remove(0);
    } else {
        out.push(b'"');
    }
}

impl<'w> Walk<'w> {
    fn document(&mut self, root: u16) -> Result<(), Unreadable> {
        let base = self.sheet.stack.len();
        let mut node = root;
        self.space();
        loop {
            let drop = if self.covered.is_none() { self.drop_of(node) } else { None };
            if let Some(site) = drop {
                // A document cannot be left out of itself.
                let depth = self.sheet.stack.len();
                if depth == base {
                    return Err(Unreadable);
                }
                self.covered = Some(Covered { start: self.at, depth, site, is_cut: true });
            }
            let mut complete = match self.value(node)? {
                Begun::Scalar => {
                    self.uncover();
                    true
                }
                Begun::Container { is_object, node } => self.open(is_object, node)?,
            };
            while complete {
                if self.sheet.stack.len() <= base {
                    self.space();
                    return if self.at == self.input.len() { Ok(()) } else { Err(Unreadable) };
                }
                complete = self.after_member()?;
            }
            node = self.member()?;
        }
    }

    /// Opens a container whose bracket has been read; `true` if it closes at once.
    fn open(&mut self, is_object: bool, node: u16) -> Result<bool, Unreadable> {
        if self.sheet.stack.len() >= DEPTH_MAX {
            return Err(Unreadable);
        }
        let at = self.at;
        self.sheet.stack.push(Open {
            node,
            is_object,
            separator: at,
            member: at,
            keeps_one: false,
            is_cut: false,
        });
        self.space();
        let close = if is_object { b'}' } else { b']' };
        Ok(self.peek() == Some(close))
    }

    /// Reads what follows a member or element: `false` if another one does, `true` if that was the end of its container.
    fn after_member(&mut self) -> Result<bool, Unreadable> {
        self.space();
        let at = self.at;
        let next = self.next()?;
        let Some(open) = self.sheet.stack.last_mut() else { return Err(Unreadable) };
        match (next, open.is_object) {
            (b',', _) => {
                let leads = open.is_cut && !open.keeps_one;
                open.keeps_one |= !open.is_cut;
                open.separator = at;
                open.is_cut = false;
                if leads {
                    // What was left out stood first, so the comma behind it goes with it.
                    self.cut(at, self.at);
                }
                self.space();
                Ok(false)
            }
            (b'}', true) | (b']', false) => {
                self.sheet.stack.pop();
                self.uncover();
                Ok(true)
            }
            _ => Err(Unreadable),
        }
    }

    /// Begins a member or element of the innermost container: reads its key, if it has one; returns the node of its value.
    fn member(&mut self) -> Result<u16, Unreadable> {
        let at = self.at;
        let open = self.sheet.stack.last_mut().ok_or(Unreadable)?;
        open.member = at;
        let Open { node, is_object, .. } = *open;
        if is_object { self.key(node) } else { Ok(node) }
    }

    /// Reads a key, its colon, and the space around; returns the node of its value.
    fn key(&mut self, parent: u16) -> Result<u16, Unreadable> {
        if self.next()? != b'"' {
            return Err(Unreadable);
        }
        self.token()?;
        let content = self.string()?;
        let raw = self.content(content);
        let mut node = NOWHERE;
        if parent != NOWHERE {
            node = if content.writing.escaped {
                self.sheet.text.clear();
                text::unescape(raw, &mut self.sheet.text);
                self.plan.child(parent, &self.sheet.text)
            } else {
                self.plan.child(parent, raw)
            };
        }
        self.space();
        if self.next()? != b':' {
            return Err(Unreadable);
        }
        self.space();
        // Behind the colon, where it shows whether the member is left out with its key.
        if self.covered.is_none() && self.drop_of(node).is_none() {
            self.detect(content);
        }
        Ok(node)
    }

    /// The site that leaves out the value that begins here.
    fn drop_of(&self, node: u16) -> Option<u16> {
        if node == NOWHERE {
            return None;
        }
        self.plan.drop_of(node, matches!(self.peek(), Some(b'{' | b'[')))
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
            b'n' => self.literal(b"ull", NOWHERE, start)?,
            _ => return Err(Unreadable),
        }
        Ok(Begun::Scalar)
    }

    fn object(&mut self, start: usize, node: u16) -> Begun {
        let is_object = true;
        if self.covered.is_some() {
            return Begun::Container { is_object, node: NOWHERE };
        }
        let Some(site) = self.plan.mask_of(node) else {
            return Begun::Container { is_object, node };
        };
        let depth = self.sheet.stack.len();
        self.covered = Some(Covered { start, depth, site, is_cut: false });
        Begun::Container { is_object, node: NOWHERE }
    }

    /// Masks or leaves out the value that is covered, if it has just proved readable.
    fn uncover(&mut self) {
        let Some(covered) = self.covered.filter(|it| it.depth == self.sheet.stack.len()) else {
            return;
        };
        self.covered = None;
        if covered.is_cut {
            self.cut_member(covered.site);
        } else {
            self.replace(covered.start, self.at, covered.site, Form::Object);
        }
    }

    /// Leaves out the current member or element, which ends here, and a comma with it.
    fn cut_member(&mut self, site: u16) {
        let Some(open) = self.sheet.stack.last_mut() else { return };
        open.is_cut = true;
        let start = if open.keeps_one { open.separator } else { open.member };
        self.cut(start, self.at);
        self.sheet.hits.push(site);
    }

    fn string_value(&mut self, node: u16, content: Content) -> Result<(), Unreadable> {
        let form = if content.writing.escaped { Form::Escaped } else { Form::Text };
        if let Some(site) = self.plan.mask_of(node) {
            self.replace_string(content, site, form);
            return Ok(());
        }
        if let Some(encoding) = self.plan.encoding_of(node) {
            return self.encoded(node, content, encoding);
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
            if let Some(site) = below
                && (first != '"' || self.level >= LEVELS_MAX)
            {
                self.replace_string(content, site, Form::Opaque);
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
        let site = self.plan.mask_of(node).or_else(|| self.plan.detectors().number(literal));
        if let Some(site) = site {
            self.replace(start, self.at, site, Form::Number);
        }
    }

    fn literal(&mut self, rest: &[u8], node: u16, start: usize) -> Result<(), Unreadable> {
        let end = self.at.saturating_add(rest.len());
        if self.input.get(self.at..end) != Some(rest) {
            return Err(Unreadable);
        }
        self.at = end;
        if self.covered.is_none()
            && let Some(site) = self.plan.mask_of(node)
        {
            self.replace(start, end, site, Form::Bool);
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
            let Some(treatment) = self.plan.treatment(mask) else { continue };
            let raw = self.input.get(start..end).unwrap_or_default();
            let Sheet { piece, text, hits, .. } = &mut *self.sheet;
            hits.push(mask);
            piece.clear();
            treatment.write_part(form, raw, text, piece);
            self.splice(start, end);
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
            encodings: self.encodings,
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

    /// Walks the document in an encoded string: one that a rule says is there, so the value is unreadable without it.
    fn encoded(
        &mut self,
        node: u16,
        content: Content,
        encoding: Encoding,
    ) -> Result<(), Unreadable> {
        if self.encodings >= LEVELS_MAX {
            return Err(Unreadable);
        }
        let raw = self.content(content);
        let decoded = if content.writing.escaped {
            self.sheet.text.clear();
            text::unescape(raw, &mut self.sheet.text);
            encoding.decode(&self.sheet.text)
        } else {
            encoding.decode(raw)
        };
        let decoded = decoded.filter(|it| std::str::from_utf8(&it.bytes).is_ok());
        let decoded = decoded.ok_or(Unreadable)?;
        let mut inner = self.sheet.inner.take().unwrap_or_default();
        let bounds = (self.tokens_left, self.encodings.saturating_add(1));
        self.tokens_left = walk_from(self.plan, node, &decoded.bytes, &mut inner, bounds)?;
        if !inner.hits.is_empty() {
            self.sheet.hits.append(&mut inner.hits);
            self.sheet.piece.clear();
            decoded.encode(&inner.out, &mut self.sheet.piece);
            self.splice(content.start, content.end);
        }
        self.sheet.inner = Some(inner);
        Ok(())
    }

    /// Masks a string: its content, or all of it where what stands for it is no string.
    fn replace_string(&mut self, content: Content, site: u16, form: Form) {
        match self.write(content.start, content.end, site, form) {
            Some(Written::Text) => self.splice(content.start, content.end),
            Some(Written::Literal) => {
                self.splice(content.start.saturating_sub(1), content.end.saturating_add(1));
            }
            None => {}
        }
    }

    /// Masks a value that is no string.
    fn replace(&mut self, start: usize, end: usize, site: u16, form: Form) {
        if let Some(written) = self.write(start, end, site, form) {
            if written == Written::Text {
                self.sheet.piece.insert(0, b'"');
                self.sheet.piece.push(b'"');
            }
            self.splice(start, end);
        }
    }

    /// Writes what stands for `input[start..end]` to `piece`.
    fn write(&mut self, start: usize, end: usize, site: u16, form: Form) -> Option<Written> {
        let treatment = self.plan.treatment(site)?;
        let raw = self.input.get(start..end).unwrap_or_default();
        let Sheet { hits, piece, text, .. } = &mut *self.sheet;
        hits.push(site);
        piece.clear();
        Some(treatment.write(form, raw, text, piece))
    }

    /// Leaves out `input[start..end]`.
    fn cut(&mut self, start: usize, end: usize) {
        self.sheet.piece.clear();
        self.splice(start, end);
    }

    /// Puts `piece` in the place of `input[start..end]`, which lies behind all splices so far.
    fn splice(&mut self, start: usize, end: usize) {
        let Sheet { out, copied, piece, escaped, maps, .. } = &mut *self.sheet;
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
