//! Applies a mask plan to the records of one partition: values, keys, headers.
//!
//! Batches in which nothing is masked are handed on as slices of what came in; the others are
//! rewritten. An incomplete batch at the end is dropped, because nothing in it could be masked. A
//! batch that cannot be read ends the records in front of it: what precedes it is delivered, and
//! the fetch that begins with it is answered with an error.

use std::sync::Arc;

use bytes::Bytes;
use sluicegate_actors::masking::method::WITHHELD;
use sluicegate_actors::masking::{Demand, MaskCounts, MaskPlan, Masked, Scratch};

use crate::kafka::batch::codec::{Codecs, DECOMPRESSED_BYTES_MAX};
use crate::kafka::batch::rewrite::{BatchRewrite, Edit, Edited, Part, Step};
use crate::kafka::batch::{BatchError, Batches};

/// Contexts and buffers for the records of one partition at a time. A shard has one for each that
/// it may mask at once.
#[derive(Default)]
pub struct MaskBuffers {
    codecs: Codecs,
    scratch: Scratch,
}

/// The records of one partition on their way through a plan, one bounded step at a time.
///
/// From first step to last it must be given the same [`MaskBuffers`], and these no other records.
pub struct RecordsMask {
    records: Bytes,
    /// How far batches have been finished.
    at: usize,
    /// Where the unchanged batches begin that are not in a piece yet.
    kept_from: usize,
    rewrite: Option<BatchRewrite>,
    masked: MaskedRecords,
}

/// What is done to records.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    /// What is masked in them.
    pub mask: Option<Arc<MaskPlan>>,
    /// What must be true of their values.
    pub demands: Vec<Arc<Demand>>,
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
    /// Their bytes, in order: slices of what came in, and rewritten batches.
    pub pieces: Vec<Bytes>,
    /// The bytes of all pieces.
    pub size: usize,
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
    /// Deliver these.
    Done(MaskedRecords),
}

/// Masks records without a pause: for tests, tools, and where no other waits.
///
/// # Errors
/// As [`RecordsMask::step`].
pub fn mask_records(
    records: Bytes,
    screen: &Screen,
    buffers: &mut MaskBuffers,
) -> Result<MaskedRecords, BatchError> {
    let mut mask = RecordsMask::new(records);
    loop {
        if let Progress::Done(masked) = mask.step(screen, buffers)? {
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

impl RecordsMask {
    /// Begins with the records of one partition, as a Fetch response or a Produce request carries
    /// them.
    #[must_use]
    pub fn new(records: Bytes) -> Self {
        Self { records, at: 0, kept_from: 0, rewrite: None, masked: MaskedRecords::default() }
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
    ) -> Result<Progress, BatchError> {
        let mut spent = 0_usize;
        // Small batches share a turn.
        while spent < TURN_BYTES {
            match self.advance(screen, buffers) {
                Ok(Advance::Paused) => return Ok(Progress::More),
                Ok(Advance::Batch { bytes_read }) => spent = spent.saturating_add(bytes_read),
                Ok(Advance::End) => return Ok(Progress::Done(self.finish())),
                Err(error) if self.at == 0 => return Err(error),
                Err(error) => {
                    self.masked.error = Some(error);
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
    ) -> Result<Advance, BatchError> {
        let MaskBuffers { codecs, scratch } = buffers;
        let rewrite = match &mut self.rewrite {
            Some(rewrite) => rewrite,
            none => {
                let rest = self.records.slice(self.at..);
                let Some(batch) = Batches::new(&rest).next().transpose()? else {
                    return Ok(Advance::End);
                };
                // Counts of a batch that was given up must not show in this one's.
                scratch.clear_counts();
                none.insert(BatchRewrite::start(codecs, &batch, &rest, DECOMPRESSED_BYTES_MAX)?)
            }
        };
        let invalid = &mut self.masked.invalid;
        let step = rewrite.step(codecs, &mut ScreenEdit { screen, scratch, invalid, index: 0 })?;
        let end = self.at.saturating_add(rewrite.batch_bytes());
        let bytes_read = rewrite.bytes_read().max(BATCH_COST_BYTES);
        match step {
            Step::More => return Ok(Advance::Paused),
            Step::Unchanged => {}
            Step::Changed(batch) => {
                self.keep_to(self.at);
                self.kept_from = end;
                self.masked.batches_changed = self.masked.batches_changed.saturating_add(1);
                self.push(batch);
            }
        }
        self.masked.counts.add(scratch.counts());
        self.rewrite = None;
        self.at = end;
        Ok(Advance::Batch { bytes_read })
    }

    fn finish(&mut self) -> MaskedRecords {
        self.keep_to(self.at);
        self.kept_from = self.at;
        self.masked.dropped_bytes = self.records.len().saturating_sub(self.at);
        std::mem::take(&mut self.masked)
    }

    /// Makes one piece of the unchanged batches up to `end`.
    fn keep_to(&mut self, end: usize) {
        if self.kept_from < end {
            self.push(self.records.slice(self.kept_from..end));
        }
    }

    fn push(&mut self, piece: Bytes) {
        self.masked.size = self.masked.size.saturating_add(piece.len());
        self.masked.pieces.push(piece);
    }
}

/// How far a step came.
enum Advance {
    /// Within a batch, and its turn is used up.
    Paused,
    /// To the end of a batch.
    Batch { bytes_read: usize },
    /// To the end of the records.
    End,
}

/// A screen as the edit of a rewrite.
struct ScreenEdit<'s> {
    screen: &'s Screen,
    scratch: &'s mut Scratch,
    invalid: &'s mut Vec<Invalid>,
    /// The current record's.
    index: u32,
}

impl Edit for ScreenEdit<'_> {
    fn begin(&mut self, index: u32) {
        self.index = index;
    }

    fn edit(&mut self, part: Part<'_>, bytes: &[u8]) -> Edited<'_> {
        let Self { screen, scratch, invalid, index } = self;
        let mut refuse = |reason: String| {
            if invalid.len() < INVALID_MAX {
                invalid.push(Invalid { index: *index, reason });
            }
            Edited::Kept
        };
        if part == Part::Value
            && let Some(reason) = screen.demands.iter().find_map(|demand| demand.check(bytes).err())
        {
            return refuse(reason);
        }
        let Some(plan) = screen.mask.as_deref() else { return Edited::Kept };
        let masked = match part {
            Part::Value => plan.mask_value(bytes, scratch),
            Part::Key => plan.mask_key(bytes, scratch),
            Part::HeaderName => plan.mask_header_name(bytes, scratch),
            Part::HeaderValue { name } => plan.mask_header_value(name, bytes, scratch),
        };
        match masked {
            Masked::Unchanged => Edited::Kept,
            Masked::Changed(masked) => Edited::Bytes(masked),
            Masked::Null => Edited::Null,
            Masked::Withheld if screen.refuses => refuse(format!("{} {UNREADABLE}", part.name())),
            Masked::Withheld => Edited::Bytes(WITHHELD),
        }
    }
}

/// How many records of a partition are told to be invalid: the first says enough.
pub const INVALID_MAX: usize = 100;
/// Why something cannot be masked.
const UNREADABLE: &str =
    "is masked on this topic, and cannot be read: it is not one JSON document within the limits";
/// How many decompressed bytes of small batches one turn takes.
const TURN_BYTES: usize = 64 << 10;
/// What a batch costs at least, in those bytes.
const BATCH_COST_BYTES: usize = 256;

#[cfg(test)]
mod tests;
