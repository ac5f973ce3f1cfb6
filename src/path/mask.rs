//! Applies a mask plan to the records of one partition: values, keys, headers.
//!
//! Batches in which nothing is masked are handed on as slices of what came in; the others are
//! rewritten. An incomplete batch at the end is dropped, because nothing in it could be masked. A
//! batch that cannot be read ends the records in front of it: what precedes it is delivered, and
//! the fetch that begins with it is answered with an error.

use bytes::Bytes;
use sluicegate_actors::masking::method::WITHHELD;
use sluicegate_actors::masking::{MaskCounts, MaskPlan, Masked, Scratch};

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
    plan: &MaskPlan,
    buffers: &mut MaskBuffers,
) -> Result<MaskedRecords, BatchError> {
    let mut mask = RecordsMask::new(records);
    loop {
        if let Progress::Done(masked) = mask.step(plan, buffers)? {
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
        plan: &MaskPlan,
        buffers: &mut MaskBuffers,
    ) -> Result<Progress, BatchError> {
        let mut spent = 0_usize;
        // Small batches share a turn.
        while spent < TURN_BYTES {
            match self.advance(plan, buffers) {
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
        plan: &MaskPlan,
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
        let step = rewrite.step(codecs, &mut PlanEdit { plan, scratch })?;
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

/// A plan as the edit of a rewrite.
struct PlanEdit<'p> {
    plan: &'p MaskPlan,
    scratch: &'p mut Scratch,
}

impl Edit for PlanEdit<'_> {
    fn edit(&mut self, part: Part<'_>, bytes: &[u8]) -> Edited<'_> {
        let masked = match part {
            Part::Value => self.plan.mask_value(bytes, self.scratch),
            Part::Key => self.plan.mask_key(bytes, self.scratch),
            Part::HeaderName => self.plan.mask_header_name(bytes, self.scratch),
            Part::HeaderValue { name } => self.plan.mask_header_value(name, bytes, self.scratch),
        };
        match masked {
            Masked::Unchanged => Edited::Kept,
            Masked::Changed(masked) => Edited::Bytes(masked),
            Masked::Withheld => Edited::Bytes(WITHHELD),
            Masked::Null => Edited::Null,
        }
    }
}

/// How many decompressed bytes of small batches one turn takes.
const TURN_BYTES: usize = 64 << 10;
/// What a batch costs at least, in those bytes.
const BATCH_COST_BYTES: usize = 256;

#[cfg(test)]
mod tests;
