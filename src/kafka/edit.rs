//! Edits on the bytes of a frame that was walked: what is not touched is neither copied nor
//! re-encoded.
//!
//! Counts of arrays, sizes of tagged fields around what changed, and the frame's length prefix
//! follow by themselves.
//!
//! ```text
//! frame   ├─prefix─┼──────────────┼─count─┼──element──┼──removed──┼─────────records─────────┤
//! rope    ├─prefix' and the copied runs and count'────┼─────────slice of the frame──────────┤
//! ```

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::cmp::Reverse;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::kafka::found::{Found, ListSpan, Span};
use crate::kafka::limits;
use crate::kafka::wire::{Form, Prefixed, index, put_count, put_string, put_uvarint};

/// Why edits do not fit a frame. None of these comes from a peer: they mean that the wrong frame
/// was edited, or one place twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// Two edits touch the same bytes.
    #[error("two edits overlap at {at}")]
    Overlap {
        /// Where.
        at: u32,
    },
    /// More elements were removed from an array than it has.
    #[error("array at {at} has fewer elements than were removed")]
    Count {
        /// Where its count stands.
        at: u32,
    },
    /// An edit lies outside of the frame.
    #[error("edit up to {end} reaches beyond the frame's {size} bytes")]
    Outside {
        /// Where the edit ends.
        end: usize,
        /// The frame's size.
        size: usize,
    },
    /// The new frame is larger than a frame can be.
    #[error("edited frame of {size} bytes is larger than {limit}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
}

/// Edits of one frame, collected in any order; kept and cleared from one frame to the next.
#[derive(Debug, Default)]
pub struct Edits {
    splices: Vec<Splice>,
    counts: Vec<CountChange>,
    written: Vec<u8>,
    out: BytesMut,
}

/// A frame in pieces, in order; kept and cleared from one frame to the next.
#[derive(Debug, Default)]
pub struct Rope {
    pieces: Vec<Piece>,
    size: usize,
}

/// A part of an edited frame; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it lies in the frame that was edited.
    Kept(Range<usize>),
    /// What is new, and short runs between.
    New(Bytes),
}

/// Bytes of the frame, and what stands there instead.
#[derive(Debug)]
struct Splice {
    start: u32,
    end: u32,
    /// Appended elements at the same place: those of the inner array come first, and its count
    /// stands later.
    list_at: u32,
    new: New,
}

#[derive(Debug)]
enum New {
    /// A stretch of [`Edits::written`].
    Written {
        start: usize,
        end: usize,
    },
    Shared(Bytes),
}

#[derive(Clone, Copy, Debug)]
struct CountChange {
    list: ListSpan,
    removed: u32,
    appended: u32,
}

impl Edits {
    /// Forgets all edits, keeping memory.
    pub fn clear(&mut self) {
        self.splices.clear();
        self.counts.clear();
        self.written.clear();
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.splices.is_empty() && self.counts.is_empty()
    }

    /// Removes one element from an array.
    pub fn remove(&mut self, list: &ListSpan, element: Span) {
        self.replace(element, &[]);
        self.counts.push(CountChange { list: *list, removed: 1, appended: 0 });
    }

    /// Removes all elements from an array, which is empty and not null then.
    pub fn remove_all(&mut self, list: &ListSpan) {
        if list.first < list.end {
            self.replace(Span { start: list.first, end: list.end }, &[]);
        }
        self.counts.push(CountChange { list: *list, removed: list.count, appended: 0 });
    }

    /// Appends `count` encoded elements to an array.
    pub fn append(&mut self, list: &ListSpan, count: u32, elements: &[u8]) {
        let new = self.write(|written| written.extend_from_slice(elements));
        self.splices.push(Splice { start: list.end, end: list.end, list_at: list.at, new });
        self.counts.push(CountChange { list: *list, removed: 0, appended: count });
    }

    /// Replaces bytes by others, of whatever size.
    pub fn replace(&mut self, span: Span, bytes: &[u8]) {
        let new = self.write(|written| written.extend_from_slice(bytes));
        self.splices.push(Splice { start: span.start, end: span.end, list_at: REPLACED, new });
    }

    /// Replaces a string and its length.
    pub fn set_string(&mut self, place: &Prefixed, text: Option<&str>) {
        let new = self.write(|written| put_string(written, place.form, text));
        self.splices.push(Splice { start: place.at, end: place.end, list_at: REPLACED, new });
    }

    /// Replaces an array of strings, which may be null, and its count.
    pub fn set_strings<'a>(
        &mut self,
        list: &ListSpan,
        texts: impl IntoIterator<Item = &'a str, IntoIter: ExactSizeIterator>,
    ) {
        let texts = texts.into_iter();
        let new = self.write(|written| {
            put_count(written, list.form, Some(texts.len()));
            texts.for_each(|text| put_string(written, list.form, Some(text)));
        });
        self.splices.push(Splice { start: list.at, end: list.end, list_at: REPLACED, new });
    }

    /// Replaces bytes or records and their length, without copying them.
    pub fn set_bytes(&mut self, place: &Prefixed, bytes: Option<Bytes>) {
        let size = bytes.as_ref().map(Bytes::len);
        let new = self.write(|written| put_count(written, place.form, size));
        self.splices.push(Splice { start: place.at, end: place.start, list_at: REPLACED, new });
        let new = New::Shared(bytes.unwrap_or_default());
        self.splices.push(Splice { start: place.start, end: place.end, list_at: REPLACED, new });
    }

    /// Replaces a 16-bit integer.
    pub fn set_int16(&mut self, at: u32, value: i16) {
        self.replace(Span { start: at, end: at.saturating_add(2) }, &value.to_be_bytes());
    }

    /// Replaces a 32-bit integer.
    pub fn set_int32(&mut self, at: u32, value: i32) {
        self.replace(Span { start: at, end: at.saturating_add(4) }, &value.to_be_bytes());
    }

    /// Replaces a 64-bit integer.
    pub fn set_int64(&mut self, at: u32, value: i64) {
        self.replace(Span { start: at, end: at.saturating_add(8) }, &value.to_be_bytes());
    }

    /// Writes the edited frame into `rope`, which is cleared first. `found` is what the walk of
    /// this frame found. The edits are spent then.
    ///
    /// # Errors
    /// [`EditError`]; the rope is not to be used then.
    pub fn apply(&mut self, frame: &[u8], found: &Found, rope: &mut Rope) -> Result<(), EditError> {
        rope.clear();
        let result = self.counts().and_then(|()| {
            self.tag_sizes(found);
            self.assemble(frame, rope)
        });
        self.clear();
        result
    }

    /// Turns the changes of each array into a new count.
    fn counts(&mut self) -> Result<(), EditError> {
        let mut counts = std::mem::take(&mut self.counts);
        counts.sort_unstable_by_key(|change| change.list.at);
        for changes in counts.chunk_by(|one, other| one.list.at == other.list.at) {
            let Some(list) = changes.first().map(|change| change.list) else { continue };
            let removed: u64 = changes.iter().map(|change| u64::from(change.removed)).sum();
            let appended: u64 = changes.iter().map(|change| u64::from(change.appended)).sum();
            let count = u64::from(list.count)
                .checked_add(appended)
                .and_then(|count| count.checked_sub(removed))
                .and_then(|count| usize::try_from(count).ok())
                .ok_or(EditError::Count { at: list.at })?;
            let new = self.write(|written| put_count(written, list.form, Some(count)));
            self.splices.push(Splice { start: list.at, end: list.first, list_at: REPLACED, new });
        }
        counts.clear();
        self.counts = counts;
        Ok(())
    }

    /// Corrects the sizes of tagged fields in which something changed, inner ones first.
    fn tag_sizes(&mut self, found: &Found) {
        for tag in found.tags.iter().rev() {
            let inside =
                |splice: &&Splice| splice.start >= tag.body.start && splice.end <= tag.body.end;
            let (mut gone, mut come) = (0_usize, 0_usize);
            for splice in self.splices.iter().filter(inside) {
                gone = gone.saturating_add(splice.old_size());
                come = come.saturating_add(splice.new.size());
            }
            if gone == come {
                continue;
            }
            let size = index(tag.body.end)
                .saturating_sub(index(tag.body.start))
                .saturating_add(come)
                .saturating_sub(gone);
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            let new = self.write(|written| put_uvarint(written, size));
            self.splices.push(Splice {
                start: tag.at,
                end: tag.body.start,
                list_at: REPLACED,
                new,
            });
        }
    }

    fn assemble(&mut self, frame: &[u8], rope: &mut Rope) -> Result<(), EditError> {
        self.splices.sort_by_key(|splice| {
            (splice.start, splice.end != splice.start, Reverse(splice.list_at))
        });
        let size = self.new_size(frame)?;
        let body = size.saturating_sub(PREFIX_SIZE_BYTES);
        put_count(&mut self.written, Form::Classic, Some(body));
        let prefix = self.written.len().saturating_sub(PREFIX_SIZE_BYTES);
        self.out.extend_from_slice(self.written.get(prefix..).unwrap_or_default());
        let mut at = PREFIX_SIZE_BYTES;
        for splice in &self.splices {
            keep(&mut self.out, rope, frame, at, index(splice.start));
            match &splice.new {
                New::Written { start, end } => {
                    self.out.extend_from_slice(self.written.get(*start..*end).unwrap_or_default());
                }
                New::Shared(bytes) => share(&mut self.out, rope, bytes.clone()),
            }
            at = index(splice.end);
        }
        keep(&mut self.out, rope, frame, at, frame.len());
        flush(&mut self.out, rope);
        Ok(())
    }

    /// The size of the edited frame; checks that edits are in order, apart and inside.
    fn new_size(&self, frame: &[u8]) -> Result<usize, EditError> {
        let mut at = PREFIX_SIZE_BYTES;
        let mut size = frame.len();
        for splice in &self.splices {
            let (start, end) = (index(splice.start), index(splice.end));
            if end > frame.len() || end < start {
                return Err(EditError::Outside { end, size: frame.len() });
            }
            if start < at {
                return Err(EditError::Overlap { at: splice.start });
            }
            at = end;
            size = size.saturating_add(splice.new.size()).saturating_sub(splice.old_size());
        }
        let limit = limits::FRAME_SIZE_BYTES_MAX;
        if size > limit { Err(EditError::TooLarge { size, limit }) } else { Ok(size) }
    }

    fn write(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> New {
        let start = self.written.len();
        put(&mut self.written);
        New::Written { start, end: self.written.len() }
    }
}

impl Rope {
    /// Forgets the pieces.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.size = 0;
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Takes the pieces out, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Piece> {
        self.size = 0;
        self.pieces.drain(..)
    }

    /// The bytes in all pieces.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The edited frame in one piece, copied. `frame` is the one that was edited.
    #[must_use]
    pub fn to_bytes(&self, frame: &[u8]) -> Bytes {
        let pieces: Vec<&[u8]> = self.pieces.iter().map(|piece| piece.bytes(frame)).collect();
        pieces.concat().into()
    }

    fn push(&mut self, piece: Piece) {
        let size = match &piece {
            Piece::Kept(range) => range.len(),
            Piece::New(bytes) => bytes.len(),
        };
        if size > 0 {
            self.size = self.size.saturating_add(size);
            self.pieces.push(piece);
        }
    }
}

impl Piece {
    /// Its bytes. `frame` is the one that was edited.
    #[must_use]
    pub fn bytes<'a>(&'a self, frame: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Kept(range) => frame.get(range.clone()).unwrap_or_default(),
            Self::New(bytes) => bytes,
        }
    }
}

impl Splice {
    fn old_size(&self) -> usize {
        index(self.end).saturating_sub(index(self.start))
    }
}

impl New {
    fn size(&self) -> usize {
        match self {
            Self::Written { start, end } => end.saturating_sub(*start),
            Self::Shared(bytes) => bytes.len(),
        }
    }
}

/// Carries over an untouched run, by reference unless it is short.
fn keep(out: &mut BytesMut, rope: &mut Rope, frame: &[u8], start: usize, end: usize) {
    if end <= start {
        return;
    }
    if end.saturating_sub(start) <= limits::ROPE_RUN_COPIED_BYTES_MAX {
        out.extend_from_slice(frame.get(start..end).unwrap_or_default());
        return;
    }
    flush(out, rope);
    rope.push(Piece::Kept(start..end));
}

fn share(out: &mut BytesMut, rope: &mut Rope, bytes: Bytes) {
    if bytes.len() <= limits::ROPE_RUN_COPIED_BYTES_MAX {
        out.extend_from_slice(&bytes);
        return;
    }
    flush(out, rope);
    rope.push(Piece::New(bytes));
}

fn flush(out: &mut BytesMut, rope: &mut Rope) {
    rope.push(Piece::New(out.split().freeze()));
}

/// In [`Splice::list_at`]: belongs to the field before, ahead of whatever is appended there.
const REPLACED: u32 = u32::MAX;

/// The bytes of a frame's length prefix.
const PREFIX_SIZE_BYTES: usize = 4;

#[cfg(test)]
mod tests;
