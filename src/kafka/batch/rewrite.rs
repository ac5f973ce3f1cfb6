//! Rewrites a batch part by part, in steps that each take a bounded turn.
//!
//! A batch in which nothing is edited keeps its bytes. One in which something is keeps every field
//! of its header but length and CRC, its codec, and every record's attributes, timestamp and
//! offset.
//!
//! ```text
//! batch ─▶ check CRC ─▶ decompress a slice ─▶ read its whole records ─▶ edit ─▶ compress ─┐
//!                             ▲                                                            │
//!                             └───────────────────────── next step ────────────────────────┤
//!                                                             header, length, CRC ◀─ the end ┘
//! ```

use bytes::Bytes;

use super::codec::{Codecs, PREAMBLE_BYTES_MAX, Pulled};
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to do: let others run, then step again.
    More,
    /// Nothing was edited: the batch stands as it came in.
    Unchanged,
    /// The batch to deliver instead.
    Changed(Bytes),
}

/// One batch on its way through an [`Edit`].
///
/// From [`BatchRewrite::start`] to its end it must be given the same [`Codecs`], and these no other
/// batch.
#[derive(Debug)]
pub struct BatchRewrite {
    batch: Bytes,
    header: Header,
    budget: usize,
    turn: u64,
    /// Whether `plain` is complete.
    pulled: Pulled,
    /// How far `plain` has been read as records.
    read: usize,
    records: u32,
    /// The new batch, once something was edited.
    changed: Option<Changed>,
}

/// A batch that is being written.
#[derive(Debug)]
struct Changed {
    /// Room for preamble and header, then the records.
    packed: Vec<u8>,
    /// How far `plain` has been copied.
    copied: usize,
    /// How many bytes the records take, uncompressed.
    size: usize,
}

impl BatchRewrite {
    /// Begins with one batch: `bytes` are what `batch` was read from. `budget` is the most bytes
    /// that it may decompress to; rewritten it may take twice as many.
    ///
    /// # Errors
    /// [`BatchError::Crc`], [`BatchError::Compressed`] where the first bytes are no frame of its
    /// codec.
    pub fn start(
        codecs: &mut Codecs,
        batch: &Batch<'_>,
        bytes: &Bytes,
        budget: usize,
    ) -> Result<Self, BatchError> {
        batch.check_crc()?;
        let header = batch.header;
        let bytes = bytes.slice_ref(batch.bytes);
        codecs.turn = codecs.turn.wrapping_add(1);
        codecs.rewritten.clear();
        let untouched = header.is_control() || (header.count == 0 && batch.payload().is_empty());
        let pulled = if untouched || header.codec == Codec::None {
            Pulled::End
        } else {
            codecs.start_decoding(header.codec, bytes.slice(HEADER_BYTES..))?;
            Pulled::More
        };
        let read = if untouched { bytes.len() } else { 0 };
        let records = if untouched { header.count } else { 0 };
        Ok(Self {
            batch: bytes,
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

    /// Does one turn's work.
    ///
    /// # Errors
    /// Any [`BatchError`]; the batch must then not be delivered, and `codecs` may go on with
    /// another.
    ///
    /// # Panics
    /// If `codecs` took on another batch since the start: its bytes would be mixed with these.
    pub fn step(&mut self, codecs: &mut Codecs, edit: &mut impl Edit) -> Result<Step, BatchError> {
        assert!(self.turn == codecs.turn, "one set of codecs works on one batch at a time");
        let step = self.advance(codecs, edit);
        if !matches!(step, Ok(Step::More)) {
            codecs.rest();
        }
        step
    }

    fn advance(&mut self, codecs: &mut Codecs, edit: &mut impl Edit) -> Result<Step, BatchError> {
        if self.pulled == Pulled::More {
            self.pulled = codecs.pull(self.header.codec, self.budget)?;
        }
        // The buffer is lent for this step, so that the encoder beside it can be used meanwhile.
        let buffer = std::mem::take(&mut codecs.plain);
        let batch = self.batch.clone();
        let plain = match self.header.codec {
            Codec::None => batch.get(HEADER_BYTES..).unwrap_or_default(),
            _ => buffer.as_slice(),
        };
        let stepped = self.read_records(plain, codecs, edit);
        codecs.plain = buffer;
        stepped
    }

    fn read_records(
        &mut self,
        plain: &[u8],
        codecs: &mut Codecs,
        edit: &mut impl Edit,
    ) -> Result<Step, BatchError> {
        let turn_end = self.read.saturating_add(STEP_BYTES_MAX);
        while self.read < turn_end {
            let rest = plain.get(self.read..).unwrap_or_default();
            if rest.is_empty() && self.pulled == Pulled::End {
                return self.finish(plain, codecs);
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
            edit.begin(self.records, &record);
            self.records = self.records.saturating_add(1);
            if rewrite_record(&record, edit, &mut codecs.body)? {
                self.replace(plain, record_start, codecs)?;
            }
        }
        Ok(Step::More)
    }

    /// Puts `codecs.body` in the place of the record that was just read, which began at
    /// `record_start`.
    fn replace(
        &mut self,
        plain: &[u8],
        record_start: usize,
        codecs: &mut Codecs,
    ) -> Result<(), BatchError> {
        let codec = self.header.codec;
        let length = i32::try_from(codecs.body.len())
            .map_err(|_| BatchError::Records { what: "a record outgrows 2 GiB" })?;
        let changed = match &mut self.changed {
            Some(changed) => changed,
            none => {
                let payload = self.batch.get(HEADER_BYTES..).unwrap_or_default();
                codecs.start_encoding(codec, payload)?;
                none.insert(Changed::new(self.batch.len()))
            }
        };
        let kept = plain.get(changed.copied..record_start).unwrap_or_default();
        changed.copied = self.read;
        changed.size = changed.size.saturating_add(kept.len()).saturating_add(codecs.body.len());
        let limit = self.budget.max(self.batch.len()).saturating_mul(2);
        if changed.size > limit {
            return Err(BatchError::Budget { limit });
        }
        if codec == Codec::None {
            changed.packed.extend_from_slice(kept);
            record::put_varint(&mut changed.packed, length);
            changed.packed.extend_from_slice(&codecs.body);
            return Ok(());
        }
        codecs.rewritten.extend_from_slice(kept);
        record::put_varint(&mut codecs.rewritten, length);
        let Codecs { rewritten, body, .. } = codecs;
        rewritten.extend_from_slice(body);
        if codecs.rewritten.len() >= PUSH_BYTES {
            codecs.push_rewritten(codec, &mut changed.packed)?;
        }
        Ok(())
    }

    fn finish(&mut self, plain: &[u8], codecs: &mut Codecs) -> Result<Step, BatchError> {
        if self.records != self.header.count {
            return Err(BatchError::Records { what: "there are fewer than the header counts" });
        }
        let Some(mut changed) = self.changed.take() else { return Ok(Step::Unchanged) };
        let codec = self.header.codec;
        codecs.push_rewritten(codec, &mut changed.packed)?;
        codecs.push(codec, plain.get(changed.copied..).unwrap_or_default(), &mut changed.packed)?;
        let preamble = codecs.finish_encoding(codec, &mut changed.packed)?;
        seal(changed.packed, self.batch.get(..HEADER_BYTES).unwrap_or_default(), preamble.bytes())
            .map(Step::Changed)
    }
}

impl Changed {
    fn new(batch_bytes: usize) -> Self {
        let mut packed = Vec::with_capacity(batch_bytes.saturating_add(batch_bytes / 8));
        packed.resize(FRONT_BYTES, 0);
        Self { packed, copied: 0, size: 0 }
    }
}

/// Writes `record` to `body` with the edited parts in place of its own; `false` (and `body` of no
/// meaning) where there was no edit.
fn rewrite_record(
    record: &Record<'_>,
    edit: &mut impl Edit,
    body: &mut Vec<u8>,
) -> Result<bool, BatchError> {
    body.clear();
    // Up to its first edit a record costs no copy: what precedes it is written then.
    let mut edited = false;
    if let Some(key) = record.key
        && let Some(new) = edit.edit(Part::Key, key).instead()
    {
        edited = true;
        body.extend_from_slice(record.lead);
        record::put_nullable(body, new)?;
    }
    if let Some(value) = record.value
        && let Some(new) = edit.edit(Part::Value, value).instead()
    {
        if !edited {
            edited = true;
            body.extend_from_slice(record.lead);
            record::put_nullable(body, record.key)?;
        }
        record::put_nullable(body, new)?;
    } else if edited {
        record::put_nullable(body, record.value)?;
    }
    if record.header_count == 0 {
        if edited {
            body.extend_from_slice(record.header_section);
        }
        return Ok(edited);
    }
    let headers_at = body.len();
    if rewrite_headers(record, edit, body)? {
        if !edited {
            let headers = body.split_off(headers_at);
            body.extend_from_slice(record.lead);
            record::put_nullable(body, record.key)?;
            record::put_nullable(body, record.value)?;
            body.extend_from_slice(&headers);
        }
        return Ok(true);
    }
    if edited {
        body.truncate(headers_at);
        body.extend_from_slice(record.header_section);
    }
    Ok(edited)
}

/// Appends the headers as edited; `false` where there was no edit, and what was appended is to be
/// cut off.
fn rewrite_headers(
    record: &Record<'_>,
    edit: &mut impl Edit,
    body: &mut Vec<u8>,
) -> Result<bool, BatchError> {
    let mut edited = false;
    let mut count = record.header_count;
    let start = body.len();
    let put_count = |body: &mut Vec<u8>, count| {
        record::put_varint(body, i32::try_from(count).unwrap_or(i32::MAX));
    };
    put_count(body, count);
    let names_at = body.len();
    for header in record.headers() {
        let header = header?;
        let new = edit.edit(Part::HeaderName, header.name).instead();
        edited |= new.is_some();
        let Some(name) = new.unwrap_or(Some(header.name)) else {
            count = count.saturating_sub(1);
            continue;
        };
        record::put_nullable(body, Some(name))?;
        let value = header.value.map(|value| {
            let new = edit.edit(Part::HeaderValue { name: header.name }, value).instead();
            edited |= new.is_some();
            new.unwrap_or(Some(value))
        });
        record::put_nullable(body, value.flatten())?;
    }
    if count < record.header_count {
        let headers = body.split_off(names_at);
        body.truncate(start);
        put_count(body, count);
        body.extend_from_slice(&headers);
    }
    Ok(edited)
}

/// Puts preamble and header in front of the records, with the new length and CRC.
///
/// ```text
/// packed: [ 66 bytes of room │ records ]  ─▶  [ unused │ header 61 │ preamble 0–5 │ records ]
/// ```
fn seal(mut packed: Vec<u8>, header: &[u8], preamble: &[u8]) -> Result<Bytes, BatchError> {
    let preamble_at = FRONT_BYTES.saturating_sub(preamble.len());
    let header_at = preamble_at.saturating_sub(HEADER_BYTES);
    let bytes_count = packed.len().saturating_sub(header_at);
    let length = i32::try_from(bytes_count.saturating_sub(PREFIX_BYTES))
        .map_err(|_| BatchError::Records { what: "a rewritten batch outgrows 2 GiB" })?;
    put(&mut packed, header_at, header);
    put(&mut packed, preamble_at, preamble);
    put(&mut packed, header_at.saturating_add(LENGTH_AT), &length.to_be_bytes());
    let covered = packed.get(header_at.saturating_add(CRC_FROM)..).unwrap_or_default();
    let crc = crc_fast::crc32_iscsi(covered);
    put(&mut packed, header_at.saturating_add(CRC_AT), &crc.to_be_bytes());
    Ok(Bytes::from(packed).slice(header_at..))
}

fn put(packed: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = packed.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) {
        place.copy_from_slice(bytes);
    }
}

const LENGTH_AT: usize = 8;
const CRC_AT: usize = 17;
const FRONT_BYTES: usize = HEADER_BYTES + PREAMBLE_BYTES_MAX;
/// How many rewritten bytes are gathered before the encoder is called.
const PUSH_BYTES: usize = 32 << 10;
