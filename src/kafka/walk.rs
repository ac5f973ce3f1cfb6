//! The bounded walker: the only reader of what arrives from a socket, client's or broker's.
//!
//! It checks a whole message against its table (lengths, counts, UTF-8, booleans, tags in order,
//! nothing left over) and notes where the things are that matter. Records are passed over, not
//! read, so that a walk costs topics and partitions, not bytes. It holds its whole state in
//! [`Walk`], so that a message can be walked while it arrives.
//!
//! ```text
//! request   size(4) key(2) version(2) correlation id(4) client id(2+n) [tags] body
//! response  size(4) correlation id(4) [tags] body
//! ```

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use thiserror::Error;

use crate::kafka::capture::{
    end_element, note_blob, note_id, note_list, note_number, note_text, start_element,
};
use crate::kafka::found::{
    Endpoint, Found, Group, Key, ListSpan, NONE, Partition, Span, TagSpan, Text, Topic,
};
use crate::kafka::limits;
use crate::kafka::plan::{Op, Plan, Slot};
use crate::kafka::schema::List;
use crate::kafka::wire::{Form, Prefixed, Reader, WireError, index, position};
use crate::kafka::{Exchange, api_of};

/// The bytes of a frame's length prefix.
pub const PREFIX_SIZE_BYTES: usize = 4;
/// Where a request's correlation id stands in its frame.
pub const REQUEST_CORRELATION_AT: usize = 8;
/// Where a response's correlation id stands in its frame.
pub const RESPONSE_CORRELATION_AT: usize = 4;

/// Why a message is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WalkError {
    /// The bytes are not what the protocol says.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The frame is shorter or longer than its prefix says, or than any may be.
    #[error("frame of {actual} bytes does not match its size field {declared}")]
    FrameSize {
        /// The bytes that are there, without the prefix.
        actual: usize,
        /// What the prefix says.
        declared: i32,
    },
    /// A client id that is longer than the limit.
    #[error("client id of {size} bytes is longer than {limit}")]
    ClientId {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A count of elements that cannot fit into what is left.
    #[error("count {count} at {at} does not fit into the {remaining} bytes that are left")]
    Count {
        /// Where the count stands.
        at: usize,
        /// What it says.
        count: usize,
        /// The bytes left.
        remaining: usize,
    },
    /// Null where the version does not allow it.
    #[error("field at {at} must not be null")]
    Null {
        /// Where it stands.
        at: usize,
    },
    /// The mark before a structure that may be null is neither -1 nor 1.
    #[error("structure at {at} starts with {mark}")]
    Mark {
        /// Where it stands.
        at: usize,
        /// What it is.
        mark: i8,
    },
    /// A tag that comes twice or out of order.
    #[error("tag {tag} at {at} is out of order")]
    TagOrder {
        /// Where it stands.
        at: usize,
        /// The tag.
        tag: u32,
    },
    /// A known tagged field whose content is shorter than its size.
    #[error("tagged field ends at {at} and not at {end}")]
    TagSize {
        /// Where its content ends.
        at: usize,
        /// Where its size says.
        end: usize,
    },
    /// More of something than a message may hold.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Bytes after a response.
    #[error("{count} bytes are left over")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// Tables nest deeper than the walker, which a test excludes.
    #[error("message nests too deep")]
    Nesting,
}

/// The header of a request, read before anything is known about its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API key.
    pub key: i16,
    /// The API's version.
    pub version: i16,
    /// The client's number for this request.
    pub correlation_id: i32,
    /// What the client calls itself; may be null.
    pub client_id: Prefixed,
    /// Where the body starts. Only meaningful where key and version are in the table.
    pub body: usize,
}

/// How far a walk came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The whole message is read and right. Bytes that are passed over (records, mostly) may still
    /// be on their way.
    Done,
    /// It goes on at this position of the frame, once more bytes are there.
    More {
        /// The first byte not yet consumed; bytes before it are not asked for again.
        at: usize,
    },
}

/// A walk that can be interrupted where bytes are missing.
#[derive(Debug)]
pub struct Walk {
    plan: &'static Plan,
    pc: usize,
    at: usize,
    /// Where the tagged field around the position ends, or else the frame.
    limit: usize,
    levels: [Level; limits::NESTING_MAX],
    depth: usize,
    group: u32,
    budget: Budget,
}

/// What is open around the position.
#[derive(Clone, Copy, Debug)]
enum Level {
    None,
    Array { list: List, left: usize, body: usize, span: ListSpan, index: u32 },
    Tags { left: usize, next: u32 },
    Tagged { outer: usize },
}

/// What a message may still cost.
#[derive(Clone, Copy, Debug)]
struct Budget {
    topics: usize,
    partitions: usize,
    elements: usize,
    bytes: usize,
    topics_max: usize,
    partitions_max: usize,
}

/// Reads the header of a request frame, its length prefix included.
///
/// # Errors
/// [`WalkError`] where the frame does not match its prefix or the header is malformed.
pub fn request_header(frame: &[u8]) -> Result<RequestHeader, WalkError> {
    let mut reader = whole(frame)?;
    let key = reader.int16()?;
    let version = reader.int16()?;
    let correlation_id = reader.int32()?;
    // KIP-482 leaves the client id in its old form in all header versions.
    let (client_id, _) = reader.string(Form::Classic)?;
    if client_id.size() > limits::CLIENT_ID_SIZE_BYTES_MAX {
        let limit = limits::CLIENT_ID_SIZE_BYTES_MAX;
        return Err(WalkError::ClientId { size: client_id.size(), limit });
    }
    if api_of(key).is_some_and(|api| api.is_flexible(version)) {
        skip_tags(&mut reader)?;
    }
    Ok(RequestHeader { key, version, correlation_id, client_id, body: reader.position() })
}

/// Reads the header of a response frame: its correlation id, and where the body starts.
///
/// # Errors
/// [`WalkError`] where the frame does not match its prefix or the header is malformed.
pub fn response_header(exchange: &Exchange, frame: &[u8]) -> Result<(i32, usize), WalkError> {
    let mut reader = whole(frame)?;
    let correlation_id = reader.int32()?;
    if exchange.response_header_flexible() {
        skip_tags(&mut reader)?;
    }
    Ok((correlation_id, reader.position()))
}

/// The same of a response that is still arriving, in a frame of `size_bytes`, prefix included; `None` where its header is
/// not here yet.
///
/// # Errors
/// As [`response_header`].
pub fn response_start(
    exchange: &Exchange,
    size_bytes: usize,
    bytes: &[u8],
) -> Result<Option<(i32, usize)>, WalkError> {
    let mut reader = Reader::window(bytes, 0, PREFIX_SIZE_BYTES, size_bytes);
    let mut read = || -> Result<(i32, usize), WalkError> {
        let correlation_id = reader.int32()?;
        if exchange.response_header_flexible() {
            skip_tags(&mut reader)?;
        }
        Ok((correlation_id, reader.position()))
    };
    match read() {
        Err(WalkError::Wire(WireError::Incomplete { .. })) => Ok(None),
        read => read.map(Some),
    }
}

/// Walks the body of a request, from `body` on, into `found`, which is cleared first.
///
/// Bytes behind the message are noted in [`Found::trailing`]: Kafka ignores them, and librdkafka 2.16 sends some behind
/// Metadata v13. The caller cuts them off, so that no broker reads what was not walked.
///
/// # Errors
/// [`WalkError`]; `found` is then not to be used.
pub fn request(
    exchange: &'static Exchange,
    frame: &[u8],
    body: usize,
    found: &mut Found,
) -> Result<(), WalkError> {
    finish(Walk::request(exchange, frame.len(), body), frame, found)
}

/// Walks the body of a response, from `body` on, into `found`, which is cleared first.
///
/// # Errors
/// [`WalkError`]; `found` is then not to be used.
pub fn response(
    exchange: &'static Exchange,
    frame: &[u8],
    body: usize,
    found: &mut Found,
) -> Result<(), WalkError> {
    finish(Walk::response(exchange, frame.len(), body), frame, found)?;
    match found.trailing {
        0 => Ok(()),
        count => Err(WalkError::Trailing { count }),
    }
}

impl Walk {
    /// A walk over a request's body that starts at `body` in a frame of `frame_size_bytes`, prefix
    /// included.
    #[must_use]
    pub fn request(exchange: &'static Exchange, frame_size_bytes: usize, body: usize) -> Self {
        let budget = Budget::new(
            frame_size_bytes,
            limits::REQUEST_TOPICS_MAX,
            limits::REQUEST_PARTITIONS_MAX,
            limits::REQUEST_ELEMENTS_MAX,
        );
        Self::new(&exchange.request, frame_size_bytes, body, budget)
    }

    /// A walk over a response's body that starts at `body` in a frame of `frame_size_bytes`, prefix
    /// included.
    #[must_use]
    pub fn response(exchange: &'static Exchange, frame_size_bytes: usize, body: usize) -> Self {
        let budget = Budget::new(
            frame_size_bytes,
            limits::RESPONSE_TOPICS_MAX,
            limits::RESPONSE_PARTITIONS_MAX,
            limits::RESPONSE_ELEMENTS_MAX,
        );
        Self::new(&exchange.response, frame_size_bytes, body, budget)
    }

    fn new(plan: &'static Plan, end: usize, at: usize, budget: Budget) -> Self {
        Self {
            plan,
            pc: 0,
            at,
            limit: end,
            levels: [Level::None; limits::NESTING_MAX],
            depth: 0,
            group: NONE,
            budget,
        }
    }

    /// Goes on as far as the bytes reach. `window` holds the frame's bytes from position `base` on;
    /// only what lies before the last [`Progress::More`] may be missing from it. `found` must be
    /// the same from call to call, cleared before the first; elements that are still open have an
    /// end of 0.
    ///
    /// # Errors
    /// [`WalkError`]; the walk is over then.
    pub fn resume(
        &mut self,
        base: usize,
        window: &[u8],
        found: &mut Found,
    ) -> Result<Progress, WalkError> {
        loop {
            let mut reader = Reader::window(window, base, self.at, self.limit);
            match self.run(&mut reader, found) {
                Ok(true) => return Ok(Progress::Done),
                // A tagged field opened or closed: the limit is another one.
                Ok(false) => {}
                Err(WalkError::Wire(WireError::Incomplete { .. })) => {
                    return Ok(Progress::More { at: self.at });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs steps until the message is read (`true`) or the limit changes (`false`). The position
    /// only moves past steps that were done whole, and nothing is noted before a step has read all
    /// its bytes.
    fn run(&mut self, reader: &mut Reader<'_>, found: &mut Found) -> Result<bool, WalkError> {
        loop {
            let at = reader.position();
            self.at = at;
            let Some(op) = self.plan.ops.get(self.pc) else { return Err(WalkError::Nesting) };
            let mut next = self.pc.saturating_add(1);
            match *op {
                Op::Skip(size) => reader.skip(size)?,
                Op::Bool(slot) => note_number(found, slot, at, i64::from(reader.boolean()?))?,
                Op::Int8(slot) => note_number(found, slot, at, i64::from(reader.int8()?))?,
                Op::Int16(slot) => note_number(found, slot, at, i64::from(reader.int16()?))?,
                Op::Int32(slot) => note_number(found, slot, at, i64::from(reader.int32()?))?,
                Op::Int64(slot) => note_number(found, slot, at, reader.int64()?)?,
                Op::Uuid(slot) => {
                    reader.skip(16)?;
                    note_id(found, slot, at)?;
                }
                Op::Text { nullable, slot } => self.text(reader, found, (nullable, slot))?,
                Op::Blob { nullable, slot } => self.blob(reader, found, (nullable, slot))?,
                Op::Fixed { nullable, element_size } => {
                    self.fixed(reader, nullable, element_size)?;
                }
                Op::Array { list, nullable, element_size_min, after } => {
                    if !self.open(reader, found, (list, nullable, element_size_min), next)? {
                        next = after;
                    }
                }
                Op::ElementEnd => next = self.element_end(at, found, next)?,
                Op::Optional { after } => match reader.int8()? {
                    -1 => next = after,
                    1 => {}
                    mark => return Err(WalkError::Mark { at, mark }),
                },
                Op::Tags { after } => match tag_count(reader)? {
                    0 => next = after,
                    left => self.push(Level::Tags { left, next: 0 })?,
                },
                Op::NextTag { first, count, after } => {
                    match self.next_tag(reader, found, (first, count))? {
                        Tag::End => next = after,
                        Tag::Unknown => next = self.pc,
                        Tag::Known { body } => {
                            self.at = reader.position();
                            self.pc = body;
                            return Ok(false);
                        }
                    }
                }
                Op::TagEnd { next } => {
                    self.tag_end(at)?;
                    self.pc = next;
                    return Ok(false);
                }
                Op::End => {
                    found.trailing = reader.remaining();
                    return Ok(true);
                }
            }
            self.pc = next;
        }
    }

    fn text(
        &self,
        reader: &mut Reader<'_>,
        found: &mut Found,
        (nullable, slot): (bool, Slot),
    ) -> Result<(), WalkError> {
        let at = reader.position();
        let (place, text) = reader.string(self.plan.form)?;
        if text.is_none() && !nullable {
            return Err(WalkError::Null { at });
        }
        note_text(found, slot, self.group, place);
        Ok(())
    }

    fn blob(
        &self,
        reader: &mut Reader<'_>,
        found: &mut Found,
        (nullable, slot): (bool, Slot),
    ) -> Result<(), WalkError> {
        let at = reader.position();
        let place = reader.bytes(self.plan.form)?;
        if place.null && !nullable {
            return Err(WalkError::Null { at });
        }
        note_blob(found, slot, self.group, place);
        Ok(())
    }

    /// An array of elements without meaning, passed over in one step.
    fn fixed(
        &mut self,
        reader: &mut Reader<'_>,
        nullable: bool,
        element_size: usize,
    ) -> Result<(), WalkError> {
        let start = *reader;
        let at = reader.position();
        let Some(count) = reader.count(self.plan.form)? else {
            return if nullable { Ok(()) } else { Err(WalkError::Null { at }) };
        };
        let remaining = reader.remaining();
        let size = count
            .checked_mul(element_size)
            .filter(|size| *size <= remaining)
            .ok_or(WalkError::Count { at, count, remaining });
        let skipped = size.and_then(|size| Ok(reader.skip(size)?));
        if skipped.is_err() {
            *reader = start;
        }
        skipped
    }

    /// Opens an array and its first element, if it has one.
    fn open(
        &mut self,
        reader: &mut Reader<'_>,
        found: &mut Found,
        (list, nullable, element_size_min): (List, bool, usize),
        body: usize,
    ) -> Result<bool, WalkError> {
        let form = self.plan.form;
        let at = reader.position();
        let count = reader.count(form)?;
        if count.is_none() && !nullable {
            return Err(WalkError::Null { at });
        }
        let elements = count.unwrap_or(0);
        let remaining = reader.remaining();
        if elements.checked_mul(element_size_min).is_none_or(|size| size > remaining) {
            return Err(WalkError::Count { at, count: elements, remaining });
        }
        self.budget.take(list, elements)?;
        let first = position(reader.position())?;
        let span = ListSpan {
            list,
            at: position(at)?,
            first,
            end: if elements == 0 { first } else { 0 },
            count: position(elements)?,
            form,
            null: count.is_none(),
        };
        let index = note_list(found, span)?;
        if elements == 0 {
            return Ok(false);
        }
        self.push(Level::Array { list, left: elements, body, span, index })?;
        self.group = start_element(list, index, first, self.group, found)?;
        Ok(true)
    }

    /// Closes an element, and opens the next or closes the array.
    fn element_end(
        &mut self,
        at: usize,
        found: &mut Found,
        after: usize,
    ) -> Result<usize, WalkError> {
        let end = position(at)?;
        let top = self.depth.checked_sub(1).ok_or(WalkError::Nesting)?;
        let Some(Level::Array { list, left, body, span, index: list_index }) =
            self.levels.get_mut(top)
        else {
            return Err(WalkError::Nesting);
        };
        *left = left.saturating_sub(1);
        let (list, left, body, span, list_index) = (*list, *left, *body, *span, *list_index);
        end_element(list, end, found)?;
        if list == List::Groups {
            self.group = NONE;
        }
        if left > 0 {
            self.group = start_element(list, list_index, end, self.group, found)?;
            return Ok(body);
        }
        self.depth = top;
        if list == List::Partitions {
            if let Some(topic) = found.topics.last_mut() {
                topic.partition_list = ListSpan { end, ..span };
            }
        } else if let Some(noted) = found.lists.get_mut(index(list_index)) {
            noted.end = end;
        }
        Ok(after)
    }

    /// Reads the header of a tagged field; an unknown one is passed over.
    fn next_tag(
        &mut self,
        reader: &mut Reader<'_>,
        found: &mut Found,
        (first, count): (usize, usize),
    ) -> Result<Tag, WalkError> {
        let top = self.depth.checked_sub(1).ok_or(WalkError::Nesting)?;
        let Some(Level::Tags { left, next }) = self.levels.get(top).copied() else {
            return Err(WalkError::Nesting);
        };
        if left == 0 {
            self.depth = top;
            return Ok(Tag::End);
        }
        let at = reader.position();
        let tag = reader.uvarint()?;
        if tag < next {
            return Err(WalkError::TagOrder { at, tag });
        }
        let size_at = position(reader.position())?;
        let size = index(reader.uvarint()?);
        let body_at = reader.position();
        let known = self.plan.tags.get(first..first.saturating_add(count)).unwrap_or_default();
        let known = known.iter().find(|known| known.tag == tag).copied();
        let remaining = reader.remaining();
        if size > remaining {
            return Err(WireError::Truncated { at: body_at, need: size, end: self.limit }.into());
        }
        if let Some(level) = self.levels.get_mut(top) {
            *level = Level::Tags { left: left.saturating_sub(1), next: tag.saturating_add(1) };
        }
        let Some(known) = known else {
            reader.skip(size)?;
            found.unknown_tags = found.unknown_tags.saturating_add(1);
            return Ok(Tag::Unknown);
        };
        let end = body_at.saturating_add(size);
        if known.sized {
            let body = Span { start: position(body_at)?, end: position(end)? };
            found.tags.push(TagSpan { at: size_at, body });
        }
        self.push(Level::Tagged { outer: self.limit })?;
        self.limit = end;
        Ok(Tag::Known { body: known.body })
    }

    fn tag_end(&mut self, at: usize) -> Result<(), WalkError> {
        let top = self.depth.checked_sub(1).ok_or(WalkError::Nesting)?;
        let Some(Level::Tagged { outer }) = self.levels.get(top).copied() else {
            return Err(WalkError::Nesting);
        };
        if at != self.limit {
            return Err(WalkError::TagSize { at, end: self.limit });
        }
        self.limit = outer;
        self.depth = top;
        Ok(())
    }

    fn push(&mut self, level: Level) -> Result<(), WalkError> {
        *self.levels.get_mut(self.depth).ok_or(WalkError::Nesting)? = level;
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }
}

/// What the next header of a tag section is.
enum Tag {
    End,
    Unknown,
    Known { body: usize },
}

impl Budget {
    fn new(frame_size_bytes: usize, topics: usize, partitions: usize, elements: usize) -> Self {
        let bytes = frame_size_bytes
            .saturating_mul(limits::FOUND_BYTES_PER_FRAME_BYTE_MAX)
            .saturating_add(limits::FOUND_BYTES_FREE);
        Self { topics, partitions, elements, bytes, topics_max: topics, partitions_max: partitions }
    }

    /// Takes `count` elements of a list, before any of them is read.
    fn take(&mut self, list: List, count: usize) -> Result<(), WalkError> {
        let (size, left, what, limit) = match list {
            List::Plain => (0, None, "elements", 0),
            List::Partitions => (
                size_of::<Partition>(),
                Some(&mut self.partitions),
                "partitions",
                self.partitions_max,
            ),
            List::Groups => (size_of::<Group>(), None, "groups", limits::NAMED_ELEMENTS_MAX),
            List::Keys => (size_of::<Key>(), None, "keys", limits::NAMED_ELEMENTS_MAX),
            List::Endpoints => (size_of::<Endpoint>(), None, "brokers", limits::NAMED_ELEMENTS_MAX),
            List::Members | List::Transactions => {
                (MEMBER_SIZE, None, "members", limits::NAMED_ELEMENTS_MAX)
            }
            _ => (size_of::<Topic>(), Some(&mut self.topics), "topics", self.topics_max),
        };
        match left {
            Some(left) => {
                *left = left.checked_sub(count).ok_or(WalkError::TooMany { what, limit })?;
            }
            None if limit > 0 && count > limit => return Err(WalkError::TooMany { what, limit }),
            None => {}
        }
        let all = WalkError::TooMany { what: "elements", limit: self.elements };
        self.elements = self.elements.checked_sub(count).ok_or(all)?;
        let room = WalkError::TooMany { what: "bytes to remember", limit: self.bytes };
        self.bytes =
            size.checked_mul(count).and_then(|size| self.bytes.checked_sub(size)).ok_or(room)?;
        Ok(())
    }
}

fn finish(mut walk: Walk, frame: &[u8], found: &mut Found) -> Result<(), WalkError> {
    found.clear();
    match walk.resume(0, frame, found)? {
        Progress::Done => Ok(()),
        Progress::More { at } => Err(WireError::Truncated { at, need: 1, end: frame.len() }.into()),
    }
}

/// A reader behind the length prefix of a whole frame, which it checks.
fn whole(frame: &[u8]) -> Result<Reader<'_>, WalkError> {
    let mut reader = Reader::new(frame);
    let declared = reader.int32()?;
    let actual = reader.remaining();
    if usize::try_from(declared) != Ok(actual) {
        return Err(WalkError::FrameSize { actual, declared });
    }
    Ok(reader)
}

/// The number of tagged fields, each of which takes two bytes at least.
fn tag_count(reader: &mut Reader<'_>) -> Result<usize, WalkError> {
    let at = reader.position();
    let count = index(reader.uvarint()?);
    let remaining = reader.remaining();
    if count > remaining / 2 {
        return Err(WalkError::Count { at, count, remaining });
    }
    Ok(count)
}

/// Passes over a header's tag section, of which no version defines a field.
fn skip_tags(reader: &mut Reader<'_>) -> Result<(), WalkError> {
    let mut next = 0;
    for _ in 0..tag_count(reader)? {
        let at = reader.position();
        let tag = reader.uvarint()?;
        if tag < next {
            return Err(WalkError::TagOrder { at, tag });
        }
        next = tag.saturating_add(1);
        let size = index(reader.uvarint()?);
        reader.skip(size)?;
    }
    Ok(())
}

/// What a member's strings, blobs and lists make us remember at most, rounded up.
const MEMBER_SIZE: usize = 8 * size_of::<Text>();

#[cfg(test)]
mod tests;
