//! What becomes of a topic's records: which are masked, and by what; which are left out of the record.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};
use glommio::sync::{Permit, Semaphore};
use glommio::timer::sleep;
use sluicegate_actors::masking::{Direction, Rules};
use sluicegate_actors::policy::snapshot::{PolicySnapshot, Stamp};
use sluicegate_actors::vocabulary::UnixMillis;

use crate::control::Control;
use crate::kafka::ErrorCode;
use crate::kafka::batch::{BatchError, Batches};
use crate::kafka::edit::Edits;
use crate::kafka::found::Partition;
use crate::kafka::wire::{Prefixed, index};
use crate::path::mask::{
    Begun, Invalid, MaskBuffers, MaskedRecords, Progress, RecordsMask, Screen,
};
use crate::path::schemas::Schemas;
use crate::{clock, limits};

/// Plans of one session by topic, until its rights change.
#[derive(Debug, Default)]
pub struct Plans {
    stamp: Option<Stamp>,
    by_topic: HashMap<String, Plan>,
}

/// What becomes of a topic's records: asked of policy once per topic and change of rights.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is done to records that are read; `None` where that is nothing.
    pub read: Option<Arc<Screen>>,
    /// What is done to records that are written; `None` where that is nothing.
    pub write: Option<Arc<Screen>>,
    /// Whether they are left out of the record.
    pub skips_payload: bool,
    until: UnixMillis,
}

/// The records of one partition that must be masked, or looked at, before they go on.
#[derive(Debug)]
pub struct Job {
    /// The partition's place among those that the walk found.
    pub partition: usize,
    screen: Arc<Screen>,
    /// Where they lie in their frame.
    records: Prefixed,
    /// What became of those that were here before the others.
    begun: Option<Begun>,
}

/// Who masks, and by what.
#[derive(Debug)]
pub struct Masker<'m> {
    pool: &'m MaskPool,
    schemas: Schemas,
    control: &'m Control,
    pace: Pace,
}

/// The mask buffers of one shard. Who is to mask waits for one of them, first come, first served: however many
/// connections read bombs, no more memory than this is taken by what is decompressed (`faults.md` F18).
pub struct MaskPool {
    free: RefCell<Vec<MaskBuffers>>,
    turns: Semaphore,
    /// For what is delivered instead: used again once it was.
    written: RefCell<Vec<Vec<u8>>>,
}

/// When who masks last let the shard look at its sockets.
#[derive(Debug)]
pub struct Pace(Instant);

/// Mask buffers that were taken; dropping it gives them back.
struct Taken<'p> {
    pool: &'p MaskPool,
    buffers: MaskBuffers,
    _turn: Option<Permit<'p>>,
}

/// What became of a [`Job`].
#[derive(Debug)]
pub struct Done {
    /// The partition's place among those that the walk found.
    pub partition: usize,
    /// What is delivered.
    pub outcome: Outcome,
    /// How often each label masked.
    pub masked: Vec<(Arc<str>, u64)>,
    /// How many values were withheld.
    pub withheld: u64,
}

/// What is delivered of a partition's records.
#[derive(Debug)]
pub enum Outcome {
    /// What came in: nothing in it had to be masked.
    Kept,
    /// These instead.
    Rewritten(Bytes),
    /// Nothing, and an error: nothing of them can be read.
    Unreadable(BatchError),
    /// Nothing, and an error: these are not as they must be.
    Invalid(Vec<Invalid>),
}

impl MaskPool {
    async fn take(&self) -> Taken<'_> {
        // Nobody closes it, which would be the only error.
        let turn = self.turns.acquire_permit(1).await.ok();
        let buffers = self.free.borrow_mut().pop().unwrap_or_default();
        Taken { pool: self, buffers, _turn: turn }
    }

    /// Takes back what was delivered, for the records of others: they are written over it.
    pub fn recycle(&self, delivered: Vec<Done>) {
        for done in delivered {
            if let Outcome::Rewritten(mut records) = done.outcome
                && records.is_unique()
            {
                records.advance(records.len());
                self.give(records.into());
            }
        }
    }

    fn give(&self, mut written: Vec<u8>) {
        written.clear();
        let mut kept = self.written.borrow_mut();
        let fits = written.capacity() <= limits::MASKED_BUFFER_BYTES_MAX;
        if fits && kept.len() < limits::MASKED_BUFFERS_KEPT_MAX {
            kept.push(written);
        }
    }
}

impl Default for MaskPool {
    fn default() -> Self {
        let turns = Semaphore::new(limits::MASK_BUFFERS_MAX);
        Self { free: RefCell::default(), turns, written: RefCell::default() }
    }
}

impl std::fmt::Debug for MaskPool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MaskPool").finish_non_exhaustive()
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.pool.free.borrow_mut().push(std::mem::take(&mut self.buffers));
    }
}

impl Pace {
    /// From now on.
    #[must_use]
    pub fn new() -> Self {
        Self(clock::monotonic())
    }

    /// Lets others go on: those that are ready, and now and then those whose sockets are.
    async fn rest(&mut self) {
        if self.0.elapsed() < limits::SOCKETS_UNSEEN_MAX {
            return glommio::executor().yield_now().await;
        }
        sleep(limits::SOCKETS_LOOK).await;
        self.0 = clock::monotonic();
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

impl Plans {
    /// The plan of a topic.
    pub fn plan(
        &mut self,
        rules: Option<&Rules>,
        policy: &PolicySnapshot,
        topic: &str,
        now: UnixMillis,
    ) -> Plan {
        if self.stamp != Some(policy.stamp()) || self.by_topic.len() >= limits::TOPIC_PLANS_MAX {
            self.by_topic.clear();
            self.stamp = Some(policy.stamp());
        }
        if let Some(known) = self.by_topic.get(topic)
            && now < known.until
        {
            return known.clone();
        }
        let plan = Plan::new(rules, policy, topic, now);
        self.by_topic.insert(topic.to_owned(), plan.clone());
        plan
    }
}

impl Plan {
    fn new(rules: Option<&Rules>, policy: &PolicySnapshot, topic: &str, now: UnixMillis) -> Self {
        let (skips_payload, holds) = policy.skips_payload(topic, now);
        let until = Cell::new(holds);
        let screen = |direction| {
            let rules = rules?;
            let mask = rules.plan(topic, direction, |label| {
                let (clear, holds) = policy.unmasks(label, topic, now);
                until.set(until.get().min(holds));
                clear
            });
            let refuses = direction == Direction::Write;
            let demands = if refuses { rules.demands(topic) } else { Vec::new() };
            let is_idle = mask.is_none() && demands.is_empty();
            let reading = rules.reading(topic);
            let screen = Screen { mask: mask.map(Arc::new), demands, reading, refuses };
            (!is_idle).then(|| Arc::new(screen))
        };
        let (read, write) = (screen(Direction::Read), screen(Direction::Write));
        Self { read, write, skips_payload, until: until.get() }
    }
}

impl Job {
    /// Records of a partition and what is done to them.
    #[must_use]
    pub fn new(partition: usize, screen: Arc<Screen>, records: Prefixed) -> Self {
        Self { partition, screen, records, begun: None }
    }

    /// Goes on with what `earlier` began, if that is the same, done to the same records.
    pub fn take_over(&mut self, earlier: Self) {
        let same = Arc::ptr_eq(&self.screen, &earlier.screen) && self.records == earlier.records;
        if same && self.partition == earlier.partition {
            self.begun = earlier.begun;
        }
    }

    /// Whether records of it are here that were not when `before` bytes of its frame were.
    #[must_use]
    pub fn goes_on(&self, before: usize) -> bool {
        before < index(self.records.end)
    }
}

impl<'m> Masker<'m> {
    /// One that waits for buffers of `pool`, and for schemas that must be asked for.
    #[must_use]
    pub fn new(pool: &'m MaskPool, schemas: Schemas, control: &'m Control) -> Self {
        Self { pool, schemas, control, pace: Pace::new() }
    }

    /// Masks records of `frame`, yielding to other connections between steps.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses the work, and nothing else: nothing was delivered.
    pub async fn run(&mut self, job: Job, frame: &[u8]) -> Done {
        let Job { partition, screen, records, begun } = job;
        let mut mask = self.begun(begun).on(records.bytes(frame), true);
        let masked = match self.work(&mut mask, &screen).await {
            Ok(masked) => Ok(masked.unwrap_or_default()),
            Err(error) => {
                tracing::warn!(%error, "records that cannot be read do not go on");
                self.pool.give(mask.pause().into_written());
                Err(error)
            }
        };
        let counts = masked.as_ref().map(|masked| masked.counts.clone()).unwrap_or_default();
        let labels = screen.mask.iter().flat_map(|plan| plan.labels().iter().cloned());
        let labels = labels.zip(counts.labels);
        Done {
            partition,
            masked: labels.filter(|(_, count)| *count > 0).collect(),
            withheld: counts.withheld,
            outcome: match masked {
                Err(error) => Outcome::Unreadable(error),
                Ok(masked) if !masked.invalid.is_empty() => Outcome::Invalid(masked.invalid),
                // What is written is written whole or not at all.
                Ok(masked) if screen.refuses && masked.dropped_bytes > 0 => {
                    Outcome::Unreadable(masked.error.unwrap_or(CUT_SHORT))
                }
                Ok(masked) if masked.are_kept() => {
                    self.pool.give(masked.written);
                    Outcome::Kept
                }
                Ok(masked) => Outcome::Rewritten(masked.written.into()),
            },
        }
    }

    /// Masks what is here of the records of a frame that still arrives: its whole batches.
    ///
    /// # Cancel safety
    ///
    /// As [`Masker::run`].
    pub async fn run_ahead(&mut self, job: &mut Job, frame: &[u8]) {
        let (start, end) = (index(job.records.start), index(job.records.end));
        let here = frame.get(start..end.min(frame.len())).unwrap_or_default();
        let mut mask = self.begun(job.begun.take()).on(here, false);
        // What is wrong is found again, and told, when all are here.
        drop(self.work(&mut mask, &job.screen).await);
        job.begun = Some(mask.pause());
    }

    fn begun(&self, begun: Option<Begun>) -> Begun {
        let written = || self.pool.written.borrow_mut().pop().unwrap_or_default();
        begun.unwrap_or_else(|| Begun::new(written()))
    }

    /// Steps until the records are done; `None` where more of them follow.
    async fn work(
        &mut self,
        mask: &mut RecordsMask<'_>,
        screen: &Screen,
    ) -> Result<Option<MaskedRecords>, BatchError> {
        let mut taken = self.pool.take().await;
        let worked = loop {
            match mask.step(screen, &mut taken.buffers, &mut self.schemas) {
                Ok(Progress::More) => self.pace.rest().await,
                Ok(Progress::Waits) => {
                    // Others mask meanwhile: the batch begins anew.
                    drop(taken);
                    self.schemas.look_up(self.control).await;
                    taken = self.pool.take().await;
                }
                Ok(Progress::Done(masked)) => break Ok(Some(masked)),
                Ok(Progress::Behind) => break Ok(None),
                Err(error) => break Err(error),
            }
        };
        drop(taken);
        // Others have their turn before the next partition's, however small this one was.
        self.pace.rest().await;
        worked
    }
}

/// Bytes behind the last whole batch.
const CUT_SHORT: BatchError = BatchError::Records { what: "the last batch is cut short" };

impl Done {
    /// The records that are delivered for those that came.
    #[must_use]
    pub fn delivers<'a>(&'a self, came: &'a [u8]) -> &'a [u8] {
        match &self.outcome {
            Outcome::Kept => came,
            Outcome::Rewritten(records) => records,
            Outcome::Unreadable(_) | Outcome::Invalid(_) => &[],
        }
    }

    /// The bytes of the records that are delivered instead of those that came; `None` where those are.
    fn size(&self) -> Option<usize> {
        match &self.outcome {
            Outcome::Kept => None,
            Outcome::Rewritten(records) => Some(records.len()),
            Outcome::Unreadable(_) | Outcome::Invalid(_) => Some(0),
        }
    }

    /// Puts the outcome into a response of what is read.
    pub fn apply(&self, partition: &Partition, edits: &mut Edits) {
        match &self.outcome {
            Outcome::Kept => {}
            Outcome::Rewritten(records) => {
                edits.set_bytes(&partition.records, Some(records.clone()));
            }
            Outcome::Unreadable(_) | Outcome::Invalid(_) => {
                edits.set_int16(partition.error_at, ErrorCode::CORRUPT_MESSAGE.0);
                edits.set_bytes(&partition.records, Some(Bytes::new()));
            }
        }
    }
}

/// Leaves batches out at the end of masked records, so that all records of a response together are no more than `bytes_max`: what
/// they were before they were masked. The first batch of the first partition that has any stays, however large it has become,
/// or nobody could ever read it.
pub fn fit(masked: &mut [Done], partitions: &[Partition], bytes_max: usize) {
    let came: usize = partitions.iter().map(records_size).sum();
    let was = |done: &Done| partitions.get(done.partition).map_or(0, records_size);
    let mut size = masked.iter().fold(came, |size, done| {
        size.saturating_sub(was(done)).saturating_add(done.size().unwrap_or_else(|| was(done)))
    });
    let delivered = |(place, partition): (usize, &Partition)| {
        let done = masked.iter().find(|done| done.partition == place);
        done.and_then(Done::size).unwrap_or_else(|| records_size(partition))
    };
    let first = partitions.iter().enumerate().map(delivered).position(|size| size > 0);
    for done in masked.iter_mut().rev() {
        let keeps = usize::from(Some(done.partition) == first);
        let Outcome::Rewritten(records) = &mut done.outcome else { continue };
        let mut ends = Vec::new();
        let mut end = 0_usize;
        for batch in Batches::new(records).map_while(Result::ok) {
            end = end.saturating_add(batch.bytes.len());
            ends.push(end);
        }
        while size > bytes_max && ends.len() > keeps {
            ends.pop();
            let left = ends.last().copied().unwrap_or(0);
            size = size.saturating_sub(records.len().saturating_sub(left));
            records.truncate(left);
        }
    }
}

fn records_size(partition: &Partition) -> usize {
    index(partition.records.end.saturating_sub(partition.records.start))
}
