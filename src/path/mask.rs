//! Applies a mask plan to the records of one partition: values, keys, headers.
//!
//! Where nothing is masked, the records stand as they came in. Otherwise all that is delivered is
//! written one behind the other, and once: batches in which something is masked as they are
//! rewritten, the others as they are. An incomplete batch at the end is dropped, because nothing in it could be masked. A
//! batch that cannot be read ends the records in front of it: what precedes it is delivered, and
//! the fetch that begins with it is answered with an error.

use std::sync::Arc;

use sluicegate_actors::masking::method::WITHHELD;
use sluicegate_actors::masking::schema::frame::{KEY_HEADER, VALUE_HEADER};
use sluicegate_actors::masking::{
    Content, Demand, Formats, MaskCounts, MaskPlan, Masked, Reading, Scratch, Unreadable, Written,
};

use super::schemas::{Lacking, Schemas};
use crate::kafka::batch::codec::{Codecs, DECOMPRESSED_BYTES_MAX};
use crate::kafka::batch::record::Record;
use crate::kafka::batch::rewrite::{BatchRewrite, Edit, Edited, Output, Part, Step};
use crate::kafka::batch::{BatchError, Batches};

/// Contexts and buffers for the records of one partition at a time. A shard has one for each that
/// it may mask at once.
#[derive(Default)]
pub struct MaskBuffers {
    codecs: Codecs,
    scratch: Scratch,
    heads: Heads,
}

/// The headers of one record that may name the schemas of its key and its value.
#[derive(Debug, Default)]
struct Heads {
    key: Head,
    value: Head,
}

/// A header that may name a schema: the last of its name.
#[derive(Debug, Default)]
struct Head {
    bytes: Vec<u8>,
    is_there: bool,
    /// Whether what it belongs to was read by it.
    is_read: bool,
}

/// The records of one partition on their way through a plan, one bounded step at a time.
///
/// From first step to last it must be given the same [`MaskBuffers`], and these no other records.
pub struct RecordsMask<'r> {
    records: &'r [u8],
    /// Whether no more of them follow.
    are_all: bool,
    begun: Begun,
    rewrite: Option<BatchRewrite<'r>>,
}

/// What became of the records of one partition so far: whole batches from their beginning on.
#[derive(Debug, Default)]
pub struct Begun {
    /// How far batches have been finished.
    at: usize,
    /// How far they were written, those that stay among them.
    copied: usize,
    /// What is delivered instead, and perhaps a part of the current batch behind it.
    written: Vec<u8>,
    /// Without that part.
    written_bytes: usize,
    /// How many records in front of the current batch are not as they must be.
    invalid_before: usize,
    /// The next batch cannot be read.
    is_stuck: bool,
    masked: MaskedRecords,
}

/// What is done to records.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    /// What is masked in them.
    pub mask: Option<Arc<MaskPlan>>,
    /// What must be true of their values.
    pub demands: Vec<Arc<Demand>>,
    /// How they are read.
    pub reading: Reading,
    /// Whether what cannot be read is refused rather than withheld: nothing of what is written may be lost.
    pub refuses: bool,
}

impl From<MaskPlan> for Screen {
    fn from(plan: MaskPlan) -> Self {
        Self { mask: Some(Arc::new(plan)), ..Self::default() }
    }
}

/// A record that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Its index in its batch.
    pub index: u32,
    /// Why; nothing of its value is in it.
    pub reason: String,
}

/// Records to deliver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskedRecords {
    /// Their bytes, unless they are those that came: see [`MaskedRecords::are_kept`].
    pub written: Vec<u8>,
    /// How many batches were rewritten.
    pub batches_changed: u32,
    /// What was masked, by the labels of the plan, and what was withheld.
    pub counts: MaskCounts,
    /// Records that are not as they must be, at most [`INVALID_MAX`]: nothing may be delivered then.
    pub invalid: Vec<Invalid>,
    /// Bytes at the end that are not delivered: an incomplete batch, or what `error` tells of.
    pub dropped_bytes: usize,
    /// Why the records end where they do, if a batch could not be read. There is a batch in front
    /// of it, otherwise it is the partition's error.
    pub error: Option<BatchError>,
}

/// What a step came to.
#[derive(Debug)]
pub enum Progress {
    /// There is more to do: let others run, then step again.
    More,
    /// Schemas are missing: look them up, then step again.
    Waits,
    /// All whole batches that are here are done, and more records follow: see [`RecordsMask::pause`].
    Behind,
    /// Deliver these.
    Done(MaskedRecords),
}

/// Masks records without a pause, and without a schema registry: for tests, tools, and where no other waits.
///
/// # Errors
/// As [`RecordsMask::step`].
pub fn mask_records(
    records: &[u8],
    screen: &Screen,
    buffers: &mut MaskBuffers,
) -> Result<MaskedRecords, BatchError> {
    let mut mask = RecordsMask::new(records, Vec::new());
    let mut schemas = Schemas::default();
    loop {
        if let Progress::Done(masked) = mask.step(screen, buffers, &mut schemas)? {
            return Ok(masked);
        }
    }
}

impl MaskBuffers {
    /// Empty buffers; contexts are made as codecs come.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl MaskedRecords {
    /// Whether nothing was masked and nothing dropped: what came is delivered.
    #[must_use]
    pub fn are_kept(&self) -> bool {
        self.batches_changed == 0 && self.dropped_bytes == 0
    }

    /// What is delivered for the records that came.
    #[must_use]
    pub fn bytes<'a>(&'a self, came: &'a [u8]) -> &'a [u8] {
        if self.are_kept() { came } else { &self.written }
    }
}

impl Begun {
    /// Nothing yet. `written` is storage for what is delivered instead; what it held is gone.
    #[must_use]
    pub fn new(mut written: Vec<u8>) -> Self {
        written.clear();
        Self { written, ..Self::default() }
    }

    /// Goes on with the records that are here, those that were here before among them; `are_all` where no more follow.
    #[must_use]
    pub fn on(self, records: &[u8], are_all: bool) -> RecordsMask<'_> {
        RecordsMask { records, are_all, begun: self, rewrite: None }
    }

    /// The storage of what was written.
    #[must_use]
    pub fn into_written(self) -> Vec<u8> {
        self.written
    }
}

impl<'r> RecordsMask<'r> {
    /// Begins with the records of one partition, as a Fetch response or a Produce request carries
    /// them. `written` is storage for what is delivered instead; what it held is gone.
    #[must_use]
    pub fn new(records: &'r [u8], written: Vec<u8>) -> Self {
        Begun::new(written).on(records, true)
    }

    /// What became of them so far; of a batch that was not finished, nothing.
    #[must_use]
    pub fn pause(mut self) -> Begun {
        self.begun.give_up_batch();
        self.begun
    }

    /// Does one turn's work: at most [`crate::kafka::batch::rewrite::STEP_BYTES_MAX`] decompressed
    /// bytes, unless a record is larger.
    ///
    /// # Errors
    /// Any [`BatchError`] where the first batch cannot be read or rewritten: nothing can be
    /// delivered then.
    pub fn step(
        &mut self,
        screen: &Screen,
        buffers: &mut MaskBuffers,
        schemas: &mut Schemas,
    ) -> Result<Progress, BatchError> {
        let mut spent = 0_usize;
        // Small batches share a turn.
        while spent < TURN_BYTES {
            if self.begun.is_stuck && !self.are_all {
                return Ok(Progress::Behind);
            }
            match self.advance(screen, buffers, schemas) {
                Ok(Advance::Waits) => return Ok(Progress::Waits),
                Ok(Advance::Paused) => return Ok(Progress::More),
                Ok(Advance::Batch { bytes_read }) => spent = spent.saturating_add(bytes_read),
                Ok(Advance::End) if !self.are_all => return Ok(Progress::Behind),
                Ok(Advance::End) => return Ok(Progress::Done(self.finish())),
                // What it says of the records is said when all are here.
                Err(_) if !self.are_all => {
                    self.begun.is_stuck = true;
                    self.rewrite = None;
                }
                Err(error) if self.begun.at == 0 => return Err(error),
                Err(error) => {
                    self.begun.masked.error = Some(error);
                    return Ok(Progress::Done(self.finish()));
                }
            }
        }
        Ok(Progress::More)
    }

    fn advance(
        &mut self,
        screen: &Screen,
        buffers: &mut MaskBuffers,
        schemas: &mut Schemas,
    ) -> Result<Advance, BatchError> {
        let MaskBuffers { codecs, scratch, heads } = buffers;
        let begun = &mut self.begun;
        let rewrite = match &mut self.rewrite {
            Some(rewrite) => rewrite,
            none => {
                let rest = self.records.get(begun.at..).unwrap_or_default();
                let Some(batch) = Batches::new(rest).next().transpose()? else {
                    return Ok(Advance::End);
                };
                // Counts of a batch that was given up must not show in this one's.
                scratch.clear_counts();
                begun.invalid_before = begun.masked.invalid.len();
                none.insert(BatchRewrite::start(codecs, &batch, DECOMPRESSED_BYTES_MAX)?)
            }
        };
        let invalid = &mut begun.masked.invalid;
        let mut edit = ScreenEdit { screen, scratch, schemas, heads, invalid, index: 0 };
        let ahead = self.records.get(begun.copied..begun.at).unwrap_or_default();
        let mut output = Output { written: &mut begun.written, ahead };
        let step = rewrite.step(codecs, &mut edit, &mut output)?;
        let end = begun.at.saturating_add(rewrite.batch_bytes());
        let bytes_read = rewrite.bytes_read().max(BATCH_COST_BYTES);
        match step {
            Step::More => return Ok(Advance::Paused),
            _ if schemas.are_missing() => {
                begun.give_up_batch();
                self.rewrite = None;
                return Ok(Advance::Waits);
            }
            Step::Unchanged => {}
            Step::Changed => {
                begun.copied = end;
                begun.written_bytes = begun.written.len();
                begun.masked.batches_changed = begun.masked.batches_changed.saturating_add(1);
            }
        }
        begun.invalid_before = begun.masked.invalid.len();
        begun.masked.counts.add(scratch.counts());
        begun.at = end;
        self.rewrite = None;
        Ok(Advance::Batch { bytes_read })
    }

    fn finish(&mut self) -> MaskedRecords {
        let Self { records, begun, .. } = self;
        // Nothing of a batch that failed is delivered.
        begun.written.truncate(begun.written_bytes);
        begun.masked.dropped_bytes = records.len().saturating_sub(begun.at);
        if !begun.masked.are_kept() {
            let kept = records.get(begun.copied..begun.at).unwrap_or_default();
            begun.written.extend_from_slice(kept);
        }
        MaskedRecords {
            written: std::mem::take(&mut begun.written),
            ..std::mem::take(&mut begun.masked)
        }
    }
}

impl Begun {
    /// Forgets what a batch that was not finished left.
    fn give_up_batch(&mut self) {
        self.masked.invalid.truncate(self.invalid_before);
        self.written.truncate(self.written_bytes);
    }
}

/// How far a step came.
enum Advance {
    /// Within a batch, and its turn is used up.
    Paused,
    /// To the end of a batch that must be read again, once its schemas are there.
    Waits,
    /// To the end of a batch.
    Batch { bytes_read: usize },
    /// To the end of the records.
    End,
}

/// A screen as the edit of a rewrite.
struct ScreenEdit<'s> {
    screen: &'s Screen,
    scratch: &'s mut Scratch,
    schemas: &'s mut Schemas,
    heads: &'s mut Heads,
    invalid: &'s mut Vec<Invalid>,
    /// The current record's.
    index: u32,
}

impl Edit for ScreenEdit<'_> {
    fn begin(&mut self, index: u32, record: &Record<'_>) {
        self.index = index;
        // Of another record, or of another topic: buffers are used again.
        self.heads.key.clear();
        self.heads.value.clear();
        let Reading { values, keys, .. } = self.screen.reading;
        if values.have_schemas() || keys.have_schemas() {
            self.heads.take(record);
        }
    }

    fn edit(&mut self, part: Part<'_>, bytes: &[u8]) -> Edited<'_> {
        match part {
            Part::Key | Part::Value => self.edit_body(part, bytes),
            Part::HeaderName => {
                if self.heads.read_by(bytes).is_some() {
                    return Edited::Kept;
                }
                let Some(plan) = self.screen.mask.as_deref() else { return Edited::Kept };
                let masked = plan.mask_header_name(bytes, self.scratch);
                edited(masked, part, self.screen, || refused(self.invalid, self.index, part, ""))
            }
            Part::HeaderValue { name } => {
                let Some(plan) = self.screen.mask.as_deref() else { return Edited::Kept };
                if let Some(head) = self.heads.read_by(name) {
                    // Of several with this name no reader sees but the last.
                    return if head.bytes == bytes { Edited::Kept } else { Edited::Null };
                }
                let masked = plan.mask_header_value(name, bytes, self.scratch);
                edited(masked, part, self.screen, || refused(self.invalid, self.index, part, ""))
            }
        }
    }
}

impl ScreenEdit<'_> {
    fn edit_body(&mut self, part: Part<'_>, bytes: &[u8]) -> Edited<'_> {
        let Self { screen, scratch, schemas, heads, invalid, index } = self;
        let is_value = part == Part::Value;
        let (formats, head) = match part {
            Part::Key => (screen.reading.keys, &mut heads.key),
            _ => (screen.reading.values, &mut heads.value),
        };
        let written = formats.read(bytes, head.header());
        let content = match content(formats, &written, bytes, schemas) {
            Err(Lacking::Yet) => return Edited::Kept,
            Err(Lacking::Gone(reason)) => Err(reason),
            Ok(content) => Ok(content),
        };
        for demand in screen.demands.iter().filter(|_| is_value) {
            let checked = content.clone().and_then(|content| demand.check(content));
            if let Err(reason) = checked {
                push_invalid(invalid, *index, reason);
                return Edited::Kept;
            }
        }
        let Some(plan) = screen.mask.as_deref() else {
            head.is_read = matches!(content, Ok(Content::Framed(..)));
            return Edited::Kept;
        };
        let reason = content.as_ref().err().cloned().unwrap_or_default();
        let is_framed = matches!(content, Ok(Content::Framed(..)));
        let masked = match content {
            Ok(Content::Plain(document)) if is_value => plan.mask_value(document, scratch),
            Ok(Content::Plain(text)) => plan.mask_key(text, scratch),
            Ok(Content::Framed(framed, schema)) if is_value => {
                plan.mask_framed(framed, schema, scratch)
            }
            Ok(Content::Framed(framed, schema)) => plan.mask_framed_key(framed, schema, scratch),
            Err(_) => plan.withhold(scratch),
        };
        head.is_read = is_framed && masked != Masked::Withheld;
        edited(masked, part, screen, || refused(invalid, *index, part, &reason))
    }
}

/// What a value or key holds, once its schema is there.
fn content<'c>(
    formats: Formats,
    written: &'c Written<'c>,
    bytes: &'c [u8],
    schemas: &'c mut Schemas,
) -> Result<Content<'c>, Lacking> {
    let gone = |reason: &str| Lacking::Gone(reason.to_owned());
    match written {
        Written::Plain => Ok(Content::Plain(bytes)),
        Written::Otherwise => Err(gone("it names no schema")),
        Written::Framed(framed) => {
            let schema = schemas.find(framed.id)?;
            if formats.include(schema.format()) {
                Ok(Content::Framed(framed, schema))
            } else {
                Err(gone("its schema is not of the format that the rules say"))
            }
        }
    }
}

/// What is delivered; `refuse` says why nothing is, where what cannot be read is refused.
fn edited<'m>(
    masked: Masked<'m>,
    part: Part<'_>,
    screen: &Screen,
    refuse: impl FnOnce(),
) -> Edited<'m> {
    match masked {
        Masked::Unchanged => Edited::Kept,
        Masked::Changed(masked) => Edited::Bytes(masked),
        Masked::Null => Edited::Null,
        Masked::Withheld if screen.refuses => {
            refuse();
            Edited::Kept
        }
        Masked::Withheld
            if part == Part::Value && screen.reading.unreadable == Some(Unreadable::Nullify) =>
        {
            Edited::Null
        }
        Masked::Withheld => Edited::Bytes(WITHHELD),
    }
}

/// Notes that a part cannot be read; `reason` is empty where it has no schema.
fn refused(invalid: &mut Vec<Invalid>, index: u32, part: Part<'_>, reason: &str) {
    let reason = if reason.is_empty() {
        format!("{} {UNREADABLE}", part.name())
    } else {
        format!("{} is masked on this topic, and cannot be read: {reason}", part.name())
    };
    push_invalid(invalid, index, reason);
}

fn push_invalid(invalid: &mut Vec<Invalid>, index: u32, reason: String) {
    if invalid.len() < INVALID_MAX {
        invalid.push(Invalid { index, reason });
    }
}

impl Heads {
    /// Takes those of a record.
    fn take(&mut self, record: &Record<'_>) {
        for header in record.headers().flatten() {
            let head = match header.name {
                name if name == KEY_HEADER.as_bytes() => &mut self.key,
                name if name == VALUE_HEADER.as_bytes() => &mut self.value,
                _ => continue,
            };
            head.clear();
            if let Some(value) = header.value {
                head.is_there = true;
                // A longer one names no schema, and is cut where it still names none.
                head.bytes.extend(value.iter().take(HEAD_BYTES_MAX));
            }
        }
    }

    /// The header of this name, if something was read by it.
    fn read_by(&self, name: &[u8]) -> Option<&Head> {
        let head = match name {
            name if name == KEY_HEADER.as_bytes() => &self.key,
            name if name == VALUE_HEADER.as_bytes() => &self.value,
            _ => return None,
        };
        (head.is_there && head.is_read).then_some(head)
    }
}

impl Head {
    fn clear(&mut self) {
        self.bytes.clear();
        self.is_there = false;
        self.is_read = false;
    }

    fn header(&self) -> Option<&[u8]> {
        self.is_there.then_some(self.bytes.as_slice())
    }
}

/// How many records of a partition are told to be invalid: the first says enough.
pub const INVALID_MAX: usize = 100;
/// Why something cannot be masked.
const UNREADABLE: &str =
    "is masked on this topic, and cannot be read: it is nothing of its format within the limits";
/// The longest header that is looked at for a schema: an id, and a path of Protobuf.
const HEAD_BYTES_MAX: usize = 512;
/// How many decompressed bytes of small batches one turn takes.
const TURN_BYTES: usize = 64 << 10;
/// What a batch costs at least, in those bytes.
const BATCH_COST_BYTES: usize = 256;

#[cfg(test)]
mod tests;
