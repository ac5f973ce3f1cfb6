//! Rewrites a batch part by part, in steps that each take a bounded turn.
//!
//! A batch in which nothing is edited keeps its bytes. One in which something is keeps every field
//! of its header but length and CRC, its codec, and every record's attributes, timestamp and
//! offset.
//!
//! What is new is written once: an edited record goes straight to where its batch is written, or to
//! the encoder's input, in front of it what stays between it and the edited one before.
//!
//! ```text
//! batch ─▶ check CRC ─▶ decompress a slice ─▶ read its whole records ─▶ edit ─▶ compress ─┐
//!                             ▲                                                            │
//!                             └───────────────────────── next step ────────────────────────┤
//!                                                             header, length, CRC ◀─ the end ┘
//! ```

use std::ops::Range;

use super::codec::{Codecs, Pulled};
use super::record::{self, Record};
use super::{Batch, BatchError, CRC_FROM, Codec, HEADER_BYTES, Header, PREFIX_BYTES};

/// How many decompressed bytes one step reads at most, unless a single record is larger
/// (`faults.md` F18).
pub const STEP_BYTES_MAX: usize = 128 << 10;

/// A part of a record, as an [`Edit`] sees it. Null parts are not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The key.
    Key,
    /// The value.
    Value,
    /// The name of a header; where it is removed, its value is not asked for.
    HeaderName,
    /// The value of a header.
    HeaderValue {
        /// The header's name, as it came in.
        name: &'a [u8],
    },
}

impl Part<'_> {
    /// What it is called in a sentence.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Key => "the key",
            Self::Value => "the value",
            Self::HeaderName => "a header's name",
            Self::HeaderValue { .. } => "a header's value",
        }
    }
}

/// What is to become of each part of each record, asked in order: key, value, then each header's
/// name and value.
pub trait Edit {
    /// The parts of the record with this index in its batch come next.
    fn begin(&mut self, _index: u32, _record: &Record<'_>) {}

    /// What becomes of a part.
    fn edit(&mut self, part: Part<'_>, bytes: &[u8]) -> Edited<'_>;
}

/// What becomes of a part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited<'e> {
    /// It stays as it is.
    Kept,
    /// These bytes take its place.
    Bytes(&'e [u8]),
    /// Null takes its place; a header whose name becomes null is removed.
    Null,
}

impl<'e> Edited<'e> {
    /// The bytes or null in place of `original`; `None` where that stays.
    fn instead(self) -> Option<Option<&'e [u8]>> {
        match self {
            Self::Kept => None,
            Self::Bytes(bytes) => Some(Some(bytes)),
            Self::Null => Some(None),
        }
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to do: let others run, then step again.
    More,
    /// Nothing was edited: the batch stands as it came in, and nothing was written.
    Unchanged,
    /// The batch to deliver instead was written.
    Changed,
}

/// One batch on its way through an [`Edit`].
///
/// From [`BatchRewrite::start`] to its end it must be given the same [`Codecs`], and these no other
/// batch.
#[derive(Debug)]
pub struct BatchRewrite<'b> {
    batch: &'b [u8],
    header: Header,
    budget: usize,
    turn: u64,
    /// Whether the records are decompressed to their end.
    pulled: Pulled,
    /// How far they have been read.
    read: usize,
    records: u32,
    /// The new batch, once something was edited.
    changed: Option<Changed>,
}

/// Where rewritten batches are written, one behind the other.
#[derive(Debug)]
pub struct Output<'o> {
    /// Behind what it holds already. Where a batch fails or is given up, a part of it is at the end.
    pub written: &'o mut Vec<u8>,
    /// Written in front of the batch, if the batch is written.
    pub ahead: &'o [u8],
}

/// A batch that is being written.
///
/// ```text
/// records as they came  ├─ written ─┼─ kept ─┼─ in `Codecs::rewritten` ─┼─ not looked at, or as they came ─┤
///                                kept.start                          copied
/// ```
#[derive(Debug)]
struct Changed {
    /// Where it begins in what is written.
    start: usize,
    /// Records as they came that are written before what is in `Codecs::rewritten`.
    kept: Range<usize>,
    /// How far the records as they came have been taken up.
    copied: usize,
    /// How many bytes the new records take, uncompressed.
    size: usize,
}

/// What one step works with.
struct Turn<'t, 'o, E> {
    /// The records as far as they are decompressed.
    plain: &'t [u8],
    codecs: &'t mut Codecs,
    edit: &'t mut E,
    output: &'t mut Output<'o>,
}

impl<'b> BatchRewrite<'b> {
    /// Begins with one batch. `budget` is the most bytes that it may decompress to; rewritten it may
    /// take twice as many.
    ///
    /// # Errors
    /// [`BatchError::Crc`], [`BatchError::Compressed`] where the first bytes are no frame of its
    /// codec.
    pub fn start(
        codecs: &mut Codecs,
        batch: &Batch<'b>,
        budget: usize,
    ) -> Result<Self, BatchError> {
        batch.check_crc()?;
        let header = batch.header;
        codecs.turn = codecs.turn.wrapping_add(1);
        codecs.rewritten.clear();
        let untouched = header.is_control() || (header.count == 0 && batch.payload().is_empty());
        let pulled = if untouched || header.codec == Codec::None {
            Pulled::End
        } else {
            codecs.start_decoding(header.codec, batch.payload())?;
            Pulled::More
        };
        let read = if untouched { batch.bytes.len() } else { 0 };
        let records = if untouched { header.count } else { 0 };
        Ok(Self {
            batch: batch.bytes,
            header,
            budget,
            turn: codecs.turn,
            pulled,
            read,
            records,
            changed: None,
        })
    }

    /// The size of the batch as it came in.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        self.batch.len()
    }

    /// How many decompressed bytes have been read as records so far.
    #[must_use]
    pub fn bytes_read(&self) -> usize {
        self.read
    }

    /// The header of the batch.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Does one turn's work. From first step to last it must be given the same `output`.
    ///
    /// # Errors
    /// Any [`BatchError`]; the batch must then not be delivered, what was written of it is to be cut
    /// off, and `codecs` may go on with another.
    ///
    /// # Panics
    /// If `codecs` took on another batch since the start: its bytes would be mixed with these.
    pub fn step(
        &mut self,
        codecs: &mut Codecs,
        edit: &mut impl Edit,
        output: &mut Output<'_>,
    ) -> Result<Step, BatchError> {
        assert!(self.turn == codecs.turn, "one set of codecs works on one batch at a time");
        let step = self.advance(codecs, edit, output);
        if !matches!(step, Ok(Step::More)) {
            codecs.rest();
        }
        step
    }

    fn advance(
        &mut self,
        codecs: &mut Codecs,
        edit: &mut impl Edit,
        output: &mut Output<'_>,
    ) -> Result<Step, BatchError> {
        let owes = self.changed.as_ref().is_some_and(|changed| !changed.kept.is_empty());
        if self.pulled == Pulled::More && !owes {
            self.pulled = codecs.pull(self.header.codec, self.payload(), self.budget)?;
        }
        // The buffer is lent for this step, so that the encoder beside it can be used meanwhile.
        let buffer = std::mem::take(&mut codecs.plain);
        let plain = match self.header.codec {
            Codec::None => self.payload(),
            _ => buffer.bytes(),
        };
        let stepped = self.read_records(&mut Turn { plain, codecs, edit, output });
        codecs.plain = buffer;
        stepped
    }

    fn payload(&self) -> &'b [u8] {
        self.batch.get(HEADER_BYTES..).unwrap_or_default()
    }

    fn read_records(&mut self, turn: &mut Turn<'_, '_, impl Edit>) -> Result<Step, BatchError> {
        let turn_end = self.read.saturating_add(STEP_BYTES_MAX);
        while self.hand_on(turn)? && self.read < turn_end {
            let rest = turn.plain.get(self.read..).unwrap_or_default();
            if rest.is_empty() && self.pulled == Pulled::End {
                return self.finish(turn);
            }
            let Some((start, end)) = record::frame(rest)? else {
                if self.pulled == Pulled::End {
                    return Err(BatchError::Records { what: "the last record is cut short" });
                }
                return Ok(Step::More);
            };
            if self.records == self.header.count {
                return Err(BatchError::Records { what: "there are more than the header counts" });
            }
            let record = Record::read(rest.get(start..end).unwrap_or_default())?;
            let record_start = self.read;
            self.read = self.read.saturating_add(end);
            turn.edit.begin(self.records, &record);
            self.records = self.records.saturating_add(1);
            self.rewrite(&record, record_start, turn)?;
        }
        Ok(Step::More)
    }

    /// Writes the record that was just read, and began at `record_start`, where it is edited; what
    /// precedes it goes before.
    fn rewrite(
        &mut self,
        record: &Record<'_>,
        record_start: usize,
        turn: &mut Turn<'_, '_, impl Edit>,
    ) -> Result<(), BatchError> {
        let Turn { plain, codecs, edit, output } = turn;
        let codec = self.header.codec;
        let header = self.batch.get(..HEADER_BYTES).unwrap_or_default();
        let batch_start = output.written.len().saturating_add(output.ahead.len());
        let is_first = self.changed.is_none();
        if is_first && output.written.is_empty() {
            // What is masked mostly takes no more room; elsewhere the storage grows by itself.
            output.written.reserve(output.ahead.len().saturating_add(self.batch.len()));
        }
        let copied = self.changed.as_ref().map_or(0, |changed| changed.copied);
        let kept = plain.get(copied..record_start).unwrap_or_default();
        let (sink, before) = match codec {
            Codec::None if is_first => (&mut *output.written, [output.ahead, header, kept]),
            Codec::None => (&mut *output.written, [kept, &[], &[]]),
            // What precedes the first edit may be long: the encoder takes it from where it is.
            _ if is_first => (&mut codecs.rewritten, [&[][..], &[], &[]]),
            _ => (&mut codecs.rewritten, [kept, &[], &[]]),
        };
        let Some(size) = RecordWriter::new(record, before, sink).write(*edit)? else {
            return Ok(());
        };
        if is_first && codec != Codec::None {
            output.written.extend_from_slice(output.ahead);
            output.written.extend_from_slice(header);
            codecs.start_encoding(codec, self.payload())?;
        }
        let changed = self.changed.get_or_insert_with(|| Changed {
            start: batch_start,
            kept: if codec == Codec::None { 0..0 } else { 0..record_start },
            copied: 0,
            size: 0,
        });
        changed.copied = self.read;
        changed.size = changed.size.saturating_add(kept.len()).saturating_add(size);
        let limit = self.budget.max(self.batch.len()).saturating_mul(2);
        if changed.size > limit { Err(BatchError::Budget { limit }) } else { Ok(()) }
    }

    /// Writes what has gathered, or gives it to the encoder: at most a turn's work; `false` where
    /// more waits.
    fn hand_on(&mut self, turn: &mut Turn<'_, '_, impl Edit>) -> Result<bool, BatchError> {
        let codec = self.header.codec;
        let Some(changed) = &mut self.changed else { return Ok(true) };
        if !changed.write_kept(codec, turn)? {
            return Ok(false);
        }
        let as_they_came = self.read.saturating_sub(changed.copied);
        let is_long = as_they_came >= PUSH_BYTES;
        let gathered = turn.codecs.rewritten.len();
        // Encoders copy what does not fill a block.
        let count = if is_long { gathered } else { gathered.saturating_sub(gathered % PUSH_BYTES) };
        if count > 0 {
            turn.codecs.push_rewritten(codec, count, turn.output.written)?;
        }
        if is_long {
            changed.size = changed.size.saturating_add(as_they_came);
            changed.keep_to(self.read);
            return changed.write_kept(codec, turn);
        }
        Ok(true)
    }

    fn finish(&mut self, turn: &mut Turn<'_, '_, impl Edit>) -> Result<Step, BatchError> {
        if self.records != self.header.count {
            return Err(BatchError::Records { what: "there are fewer than the header counts" });
        }
        let Some(changed) = &mut self.changed else { return Ok(Step::Unchanged) };
        let codec = self.header.codec;
        turn.codecs.push_rewritten(codec, usize::MAX, turn.output.written)?;
        changed.keep_to(turn.plain.len());
        if !changed.write_kept(codec, turn)? {
            return Ok(Step::More);
        }
        let preamble = turn.codecs.finish_encoding(codec, turn.output.written)?;
        seal(turn.output.written, changed.start, preamble.bytes())?;
        Ok(Step::Changed)
    }
}

impl Changed {
    /// Records as they came are written next, up to `end`.
    fn keep_to(&mut self, end: usize) {
        self.kept = self.copied..end;
        self.copied = end;
    }

    /// Writes what is kept, at most a turn's work; `false` where there is more.
    fn write_kept(
        &mut self,
        codec: Codec,
        turn: &mut Turn<'_, '_, impl Edit>,
    ) -> Result<bool, BatchError> {
        if self.kept.is_empty() {
            return Ok(true);
        }
        let end = self.kept.end.min(self.kept.start.saturating_add(STEP_BYTES_MAX));
        let kept = turn.plain.get(self.kept.start..end).unwrap_or_default();
        turn.codecs.push(codec, kept, turn.output.written)?;
        self.kept.start = end;
        Ok(self.kept.is_empty())
    }
}

/// Writes a record with the edited parts in place of its own, and nothing before the first edit.
struct RecordWriter<'r, 'w> {
    record: &'r Record<'r>,
    /// What is written in front of it.
    before: [&'r [u8]; 3],
    sink: &'w mut Vec<u8>,
    /// Where its length stands, once it was begun.
    length_at: Option<Range<usize>>,
    /// How far its own body has been carried over, or left out.
    carried: usize,
}

impl<'r, 'w> RecordWriter<'r, 'w> {
    fn new(record: &'r Record<'r>, before: [&'r [u8]; 3], sink: &'w mut Vec<u8>) -> Self {
        Self { record, before, sink, length_at: None, carried: 0 }
    }

    /// Asks `edit` for each part. The bytes of the new record, without its length; `None` where
    /// there was no edit.
    fn write(mut self, edit: &mut impl Edit) -> Result<Option<usize>, BatchError> {
        let Record { key, value, header_count, places, .. } = *self.record;
        if let Some(key) = key
            && let Some(new) = edit.edit(Part::Key, key).instead()
        {
            self.replace(places.key..places.value, new)?;
        }
        if let Some(value) = value
            && let Some(new) = edit.edit(Part::Value, value).instead()
        {
            self.replace(places.value..places.header_count, new)?;
        }
        if header_count > 0 {
            self.write_headers(edit)?;
        }
        let Some(length_at) = self.length_at.clone() else { return Ok(None) };
        self.carry_to(self.record.body.len());
        let size = self.sink.len().saturating_sub(length_at.end);
        let length = i32::try_from(size)
            .map_err(|_| BatchError::Records { what: "a record outgrows 2 GiB" })?;
        record::replace_varint(self.sink, length_at, length);
        Ok(Some(size))
    }

    fn write_headers(&mut self, edit: &mut impl Edit) -> Result<(), BatchError> {
        let record = self.record;
        let mut count = record.header_count;
        let mut count_at = None;
        for header in record.headers() {
            let header = header?;
            let places = header.places;
            let new = edit.edit(Part::HeaderName, header.name).instead();
            if let Some(new) = new {
                count_at.get_or_insert_with(|| self.carry_to(record.places.header_count));
                if new.is_none() {
                    self.carry_to(places.name);
                    self.carried = places.end;
                    count = count.saturating_sub(1);
                    continue;
                }
                self.replace(places.name..places.value, new)?;
            }
            if let Some(value) = header.value
                && let part = (Part::HeaderValue { name: header.name })
                && let Some(new) = edit.edit(part, value).instead()
            {
                count_at.get_or_insert_with(|| self.carry_to(record.places.header_count));
                self.replace(places.value..places.end, new)?;
            }
        }
        if let Some(count_at) = count_at
            && count < record.header_count
        {
            let bytes = record.places.headers.saturating_sub(record.places.header_count);
            let place = count_at..count_at.saturating_add(bytes);
            record::replace_varint(self.sink, place, i32::try_from(count).unwrap_or(i32::MAX));
        }
        Ok(())
    }

    /// Writes the body up to `place`, and a part, or null, instead of what is there.
    fn replace(&mut self, place: Range<usize>, new: Option<&[u8]>) -> Result<(), BatchError> {
        self.carry_to(place.start);
        self.carried = place.end;
        record::put_nullable(self.sink, new)
    }

    /// Writes the body up to `end`; where that is in what is written.
    fn carry_to(&mut self, end: usize) -> usize {
        let Self { record, sink, .. } = self;
        if self.length_at.is_none() {
            for bytes in self.before.into_iter().filter(|bytes| !bytes.is_empty()) {
                sink.extend_from_slice(bytes);
            }
            // The length mostly takes as many bytes as it did.
            let start = sink.len();
            record::put_varint(sink, i32::try_from(record.body.len()).unwrap_or(i32::MAX));
            self.length_at = Some(start..sink.len());
        }
        sink.extend_from_slice(record.body.get(self.carried..end).unwrap_or_default());
        self.carried = end;
        sink.len()
    }
}

/// Completes the batch that begins at `start`: its header has come over as it was, with the records
/// behind it. Puts the preamble between them, and the new length and CRC into it.
fn seal(written: &mut Vec<u8>, start: usize, preamble: &[u8]) -> Result<(), BatchError> {
    if !preamble.is_empty() {
        let at = start.saturating_add(HEADER_BYTES);
        drop(written.splice(at..at, preamble.iter().copied()));
    }
    let batch = written.get_mut(start..).unwrap_or_default();
    let length = i32::try_from(batch.len().saturating_sub(PREFIX_BYTES))
        .map_err(|_| BatchError::Records { what: "a rewritten batch outgrows 2 GiB" })?;
    put(batch, LENGTH_AT, length.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(batch.get(CRC_FROM..).unwrap_or_default());
    put(batch, CRC_AT, crc.to_be_bytes());
    Ok(())
}

fn put(batch: &mut [u8], at: usize, bytes: [u8; 4]) {
    if let Some(place) = batch.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = bytes;
    }
}

const LENGTH_AT: usize = 8;
const CRC_AT: usize = 17;
/// How many bytes are gathered before they are written, or the encoder is called: the blocks of raw
/// snappy and of lz4 as Kafka writes it, two of xerial's.
const PUSH_BYTES: usize = 64 << 10;
