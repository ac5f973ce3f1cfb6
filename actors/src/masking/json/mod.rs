//! Walks one JSON document in its original bytes: validates it, and splices masks into it.
//!
//! There is no tree and no second form of the document. What is not masked is copied as it stands,
//! so numbers, order, duplicates and spacing stay. What stands between values is read once and
//! compared from then on (`memory.rs`). A string that holds a document is entered: its
//! text is decoded beside a map back to the bytes that it came from, so that a mask inside of it,
//! escaped again, is a splice of the outermost document too.
//!
//! ```text
//! level 0: {"payload":"{\"card\":\"4111…\"}"}      splice [start, end) ◀─┐
//! level 1:             {"card":"4111…"}             splice [start, end) ──┘ by map, escaped once
//! ```

mod lex;
mod memory;
mod recall;
mod stops;

use super::detect::{Found, Writing};
use super::encoded::Encoding;
use super::fold::Folded;
use super::method::{Form, Written};
use super::places::NOWHERE;
use super::plan::MaskPlan;
use super::schema::Splices;
use super::text;
use lex::{
    Bounds, Content, Key, after_key, after_literal, after_space, after_string, after_value,
    first_of_document,
};
use memory::Memories;
use stops::Stops;

/// How deep containers may nest, all levels of strings together (`faults.md` §4.5).
pub const DEPTH_MAX: usize = 128;
/// How many tokens a value may have, all levels of strings together (`faults.md` §4.5).
pub const TOKENS_MAX: u32 = 200_000;
/// In how many containers a value must be that is first read as a whole, and only then string by string, if there are clues
/// in it. Deeper ones are not, so that no value is read more than thrice; of the outermost the plan has looked.
const CLUE_DEPTHS: std::ops::RangeInclusive<usize> = 1..=2;
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
    memories: Memories,
    /// Of the document that is walked by a memory.
    stops: Stops,
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
#[derive(Clone, Copy, Debug, Default)]
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

struct Walk<'w> {
    plan: &'w MaskPlan,
    sheet: &'w mut Sheet,
    /// The outermost document.
    root: &'w [u8],
    /// The document of this level.
    input: &'w [u8],
    /// What of it has not been read yet.
    rest: &'w [u8],
    level: usize,
    tokens_left: u32,
    /// How many encoded strings are around.
    encodings: usize,
    /// Whether nothing is masked but what paths lead to.
    is_blind: bool,
    /// Where strings of the document may end, if it is known. With it every value is come to, also those that no path leads to.
    stops: Option<&'w Stops>,
}

/// How a value begins.
enum Begun {
    /// It is one that [`Walk::value`] reads.
    Value,
    /// It is a container with members, which is open now.
    Open,
    /// It has ended already.
    Ended,
}

/// Walks `document`. Masks are in `sheet.out`, if there are any.
pub(super) fn walk(plan: &MaskPlan, document: &[u8], sheet: &mut Sheet) -> Result<(), Unreadable> {
    let (mut memories, mut stops) =
        (std::mem::take(&mut sheet.memories), std::mem::take(&mut sheet.stops));
    // What leaves out members needs to know more of those around than a memory has.
    let memory = if plan.leaves_out() { None } else { memories.of(plan.origin()) };
    let walked = match memory {
        Some(memory) => {
            // Where detectors look at each string it has to be come to all the same.
            let is_blind = plan.detectors().is_empty();
            stops.find(if is_blind { document } else { &[] });
            let mut walk = Walk::begin(plan, document, sheet, (TOKENS_MAX, 0));
            walk.stops = Some(&stops);
            let walked = walk.remembered(plan.root(), memory);
            if walked.is_ok() {
                walk.end();
            }
            walked
        }
        None => walk_from(plan, plan.root(), document, sheet, (TOKENS_MAX, 0)).map(drop),
    };
    (sheet.memories, sheet.stops) = (memories, stops);
    walked
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
    let mut walk = Walk::begin(plan, document, sheet, (tokens_left, encodings));
    walk.document(root)?;
    walk.end();
    Ok(walk.tokens_left)
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

/// How most strings are written.
const PLAIN: Writing = Writing { escaped: false, ascii: true };

impl<'w> Walk<'w> {
    fn begin(
        plan: &'w MaskPlan,
        document: &'w [u8],
        sheet: &'w mut Sheet,
        (tokens_left, encodings): (u32, usize),
    ) -> Self {
        sheet.out.clear();
        sheet.copied = 0;
        sheet.hits.clear();
        sheet.stack.clear();
        Self {
            plan,
            sheet,
            root: document,
            input: document,
            rest: document,
            level: 0,
            tokens_left,
            encodings,
            is_blind: plan.detectors().is_empty(),
            stops: None,
        }
    }

    /// Copies what follows the last mask.
    fn end(&mut self) {
        let Sheet { out, copied, hits, .. } = &mut *self.sheet;
        if !hits.is_empty() {
            out.extend_from_slice(self.root.get(*copied..).unwrap_or_default());
        }
    }

    fn document(&mut self, root: u16) -> Result<(), Unreadable> {
        let base = self.sheet.stack.len();
        let mut begins = Some(root);
        while let Some(node) = self.advance(begins, base)? {
            self.value(node, base)?;
            begins = None;
        }
        Ok(())
    }

    /// Goes on to the next value that [`Walk::value`] reads, from where one begins, if `begins` is its place, or else from
    /// behind one. Returns its place, or `None` at the end of the document, which is the end of all that is open beyond `base`.
    fn advance(&mut self, begins: Option<u16>, base: usize) -> Result<Option<u16>, Unreadable> {
        let mut begins = begins;
        self.space();
        loop {
            begins = match begins {
                Some(node) => match self.begins(node)? {
                    Begun::Value => return Ok(Some(node)),
                    Begun::Open => self.member()?,
                    Begun::Ended => None,
                },
                None if self.sheet.stack.len() <= base => {
                    self.space();
                    return if self.rest.is_empty() { Ok(None) } else { Err(Unreadable) };
                }
                None if self.after_member()? => None,
                None => self.member()?,
            };
        }
    }

    /// Reads the beginning of the value at `node`: into a container, past what nothing is looked for in.
    fn begins(&mut self, node: u16) -> Result<Begun, Unreadable> {
        if node == NOWHERE {
            let is_skipped = self.is_blind || CLUE_DEPTHS.contains(&self.sheet.stack.len());
            if is_skipped && self.stops.is_none() {
                let (before, tokens_left) = (self.rest, self.tokens_left);
                self.skip()?;
                if self.is_blind || !self.has_clue(before) {
                    return Ok(Begun::Ended);
                }
                (self.rest, self.tokens_left) = (before, tokens_left);
            }
        } else if self.drop_of(node).is_some() {
            return Ok(Begun::Value);
        }
        let closes = match self.rest.split_first() {
            Some((b'{', after)) if self.plan.mask_of(node).is_none() => {
                self.open(true, node, after)?
            }
            Some((b'[', after)) => self.open(false, node, after)?,
            _ => return Ok(Begun::Value),
        };
        Ok(if closes { Begun::Ended } else { Begun::Open })
    }

    /// Reads a value that [`Walk::advance`] came to, and masks it where that is said.
    fn value(&mut self, node: u16, base: usize) -> Result<(), Unreadable> {
        if let Some(site) = self.drop_of(node) {
            // A document cannot be left out of itself.
            if self.sheet.stack.len() == base {
                return Err(Unreadable);
            }
            self.skip()?;
            self.cut_member(site);
            return Ok(());
        }
        let start = self.at();
        match self.rest.split_first() {
            Some((b'"', after)) => {
                self.token()?;
                let content = self.string(after)?;
                return self.string_value(node, content);
            }
            // One that is masked whole: the others are open.
            Some((b'{', _)) => {
                self.skip()?;
                self.masked(start, node, Form::Object);
            }
            Some((first, _)) => {
                self.token()?;
                self.rest = after_literal(self.rest)?;
                match first {
                    b'n' => {}
                    b't' | b'f' => self.masked(start, node, Form::Bool),
                    _ => self.number_value(node, start),
                }
            }
            None => return Err(Unreadable),
        }
        Ok(())
    }

    /// Reads the value that begins here, in which nothing is masked, or all.
    fn skip(&mut self) -> Result<(), Unreadable> {
        let depth = self.sheet.stack.len();
        let mut bounds = Bounds { depth, tokens_left: self.tokens_left };
        let after = after_value(self.rest, &mut bounds);
        self.tokens_left = bounds.tokens_left;
        self.rest = after?;
        Ok(())
    }

    /// Whether a detector could find something in the value that was just read, and began with `before`.
    fn has_clue(&self, before: &[u8]) -> bool {
        let value = before.get(..before.len().saturating_sub(self.rest.len()));
        value.is_none_or(|value| {
            memchr::memchr(b'\\', value).is_some() || self.plan.detectors().document_may_hold(value)
        })
    }

    /// Masks the value that began at `start`, and has been read, where a path says so.
    fn masked(&mut self, start: usize, node: u16, form: Form) {
        if let Some(site) = self.plan.mask_of(node) {
            self.replace(start, self.at(), site, form);
        }
    }

    /// Opens a container, `after` its bracket; `true` if it closes at once.
    fn open(&mut self, is_object: bool, node: u16, after: &'w [u8]) -> Result<bool, Unreadable> {
        self.token()?;
        if self.sheet.stack.len() >= DEPTH_MAX {
            return Err(Unreadable);
        }
        self.rest = after;
        let at = self.at();
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
        Ok(self.rest.first() == Some(&close))
    }

    /// Reads what follows a member or element: `false` if another one does, `true` if that was the end of its container.
    fn after_member(&mut self) -> Result<bool, Unreadable> {
        self.space();
        let at = self.at();
        let next = self.next()?;
        let behind = self.at();
        let Some(open) = self.sheet.stack.last_mut() else { return Err(Unreadable) };
        match (next, open.is_object) {
            (b',', _) => {
                let leads = open.is_cut && !open.keeps_one;
                open.keeps_one |= !open.is_cut;
                open.separator = at;
                open.is_cut = false;
                if leads {
                    // What was left out stood first, so the comma behind it goes with it.
                    self.cut(at, behind);
                }
                self.space();
                Ok(false)
            }
            (b'}', true) | (b']', false) => {
                self.sheet.stack.pop();
                Ok(true)
            }
            _ => Err(Unreadable),
        }
    }

    /// Begins a member or element of the innermost container: reads its key, if it has one; returns the node of its value,
    /// or `None` where the container has ended.
    fn member(&mut self) -> Result<Option<u16>, Unreadable> {
        let at = self.at();
        let open = self.sheet.stack.last_mut().ok_or(Unreadable)?;
        open.member = at;
        let open = *open;
        match open {
            Open { is_object: false, node, .. } => Ok(Some(node)),
            _ if self.is_blind && self.stops.is_none() => self.pass(open),
            Open { node, .. } => self.key(node).map(Some),
        }
    }

    /// Passes members of the innermost object, `open`, that lead nowhere, up to one that leads somewhere: returns the node
    /// of its value; `None` at the end of the object, which is closed then.
    fn pass(&mut self, mut open: Open) -> Result<Option<u16>, Unreadable> {
        let depth = self.sheet.stack.len();
        let mut bounds = Bounds { depth, tokens_left: self.tokens_left };
        let mut rest = self.rest;
        let at = |rest: &[u8]| self.input.len().saturating_sub(rest.len());
        let node = loop {
            open.member = at(rest);
            let (after, content) = after_key(rest, &mut bounds)?;
            let node = match content {
                Key::Plain(key) => self.plan.child(open.node, key),
                Key::Escaped(raw) => {
                    self.sheet.text.clear();
                    text::unescape(raw, &mut self.sheet.text);
                    self.plan.child(open.node, &self.sheet.text)
                }
            };
            if node != NOWHERE {
                rest = after;
                break Some(node);
            }
            rest = after_space(after_value(after, &mut bounds)?);
            open.keeps_one = true;
            match rest.split_first() {
                Some((b',', after)) => {
                    open.separator = at(rest);
                    rest = after_space(after);
                }
                Some((b'}', after)) => {
                    rest = after;
                    break None;
                }
                _ => return Err(Unreadable),
            }
        };
        self.rest = rest;
        self.tokens_left = bounds.tokens_left;
        match (node, self.sheet.stack.last_mut()) {
            (Some(_), Some(innermost)) => *innermost = open,
            _ => {
                self.sheet.stack.pop();
            }
        }
        Ok(node)
    }

    /// Reads a key, its colon, and the space around; returns the node of its value.
    fn key(&mut self, parent: u16) -> Result<u16, Unreadable> {
        self.token()?;
        let content = self.string(self.rest.strip_prefix(b"\"").ok_or(Unreadable)?)?;
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
        self.rest = after_space(self.rest.strip_prefix(b":").ok_or(Unreadable)?);
        // Behind the colon, where it shows whether the member is left out with its key.
        if !self.is_blind && self.drop_of(node).is_none() {
            self.detect(content);
        }
        Ok(node)
    }

    /// The site that leaves out the value that begins here.
    fn drop_of(&self, node: u16) -> Option<u16> {
        if node == NOWHERE || !self.plan.leaves_out() {
            return None;
        }
        self.plan.drop_of(node, matches!(self.rest.first(), Some(b'{' | b'[')))
    }

    /// Leaves out the current member or element, which ends here, and a comma with it.
    fn cut_member(&mut self, site: u16) {
        let Some(open) = self.sheet.stack.last_mut() else { return };
        open.is_cut = true;
        let start = if open.keeps_one { open.separator } else { open.member };
        self.cut(start, self.at());
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
        let literal = self.input.get(start..self.at()).unwrap_or_default();
        let site = self.plan.mask_of(node).or_else(|| self.plan.detectors().number(literal));
        if let Some(site) = site {
            self.replace(start, self.at(), site, Form::Number);
        }
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
            rest: &decoded,
            level: level.saturating_add(1),
            tokens_left: self.tokens_left,
            encodings: self.encodings,
            is_blind: self.is_blind,
            stops: None,
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
        if self.level == 0 {
            return self.replace_outer_string(content, site, form);
        }
        match self.write(content.start, content.end, site, form) {
            Some(Written::Text) => self.splice(content.start, content.end),
            Some(Written::Literal) => {
                self.splice(content.start.saturating_sub(1), content.end.saturating_add(1));
            }
            None => {}
        }
    }

    /// The same in the outermost document, where it can be written in its place at once.
    fn replace_outer_string(&mut self, content: Content, site: u16, form: Form) {
        let Some(treatment) = self.plan.treatment(site) else { return };
        let Content { start, end, .. } = content;
        let Sheet { out, copied, hits, text, .. } = &mut *self.sheet;
        hits.push(site);
        out.extend_from_slice(self.root.get(*copied..start).unwrap_or_default());
        let at = out.len();
        let raw = self.root.get(start..end).unwrap_or_default();
        *copied = end;
        if treatment.write(form, raw, text, out) == Written::Literal {
            // Without the quotes around it.
            out.remove(at.saturating_sub(1));
            *copied = end.saturating_add(1);
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

    /// Where the walk is in the document.
    fn at(&self) -> usize {
        self.input.len().saturating_sub(self.rest.len())
    }

    fn next(&mut self) -> Result<u8, Unreadable> {
        let (byte, rest) = self.rest.split_first().ok_or(Unreadable)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn space(&mut self) {
        self.rest = after_space(self.rest);
    }

    /// Where the string ends that begins at `start`, behind its quote, if it is ASCII without escapes and that is known.
    #[inline(always)]
    fn end_of_plain(&self, start: usize) -> Option<usize> {
        let end = self.stops?.next(start);
        (self.input.get(end) == Some(&b'"')).then_some(end)
    }

    /// Reads a string, of which `after` follows the opening quote.
    fn string(&mut self, after: &'w [u8]) -> Result<Content, Unreadable> {
        let start = self.input.len().saturating_sub(after.len());
        if let Some(end) = self.end_of_plain(start) {
            self.rest = self.input.get(end.wrapping_add(1)..).unwrap_or_default();
            return Ok(Content { start, end, writing: PLAIN });
        }
        let (rest, writing) = after_string(after)?;
        self.rest = rest;
        // One byte less: the quote.
        let end = self.at().saturating_sub(1);
        Ok(Content { start, end, writing })
    }
}
