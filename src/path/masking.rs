//! Which partitions of a fetch are masked, and by what: the step between the walk of a response and its delivery.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use sluicegate_actors::masking::MaskPlan;
use sluicegate_actors::masking::rules::Rules;
use sluicegate_actors::policy::snapshot::{PolicySnapshot, Stamp};
use sluicegate_actors::vocabulary::UnixMillis;

use crate::kafka::ErrorCode;
use crate::kafka::edit::Edits;
use crate::kafka::found::Partition;
use crate::path::mask::{MaskBuffers, MaskedRecords, Progress, RecordsMask};

/// Plans of one session by topic, until its rights change.
#[derive(Debug, Default)]
pub struct Plans {
    stamp: Option<Stamp>,
    by_topic: HashMap<String, Plan>,
}

#[derive(Debug)]
struct Plan {
    plan: Option<Arc<MaskPlan>>,
    until: UnixMillis,
}

/// The records of one partition that must be masked before they are delivered.
pub struct Job {
    /// The partition's place among those that the walk found.
    pub partition: usize,
    plan: Arc<MaskPlan>,
    records: Bytes,
}

/// What became of a [`Job`].
#[derive(Debug)]
pub struct Done {
    /// The partition's place among those that the walk found.
    pub partition: usize,
    /// The records to deliver; `None` where nothing of them can be read, and so nothing may be.
    pub records: Option<Bytes>,
    /// How often each label masked.
    pub masked: Vec<(Arc<str>, u64)>,
    /// How many values were withheld.
    pub withheld: u64,
}

impl Plans {
    /// What is masked on a topic; `None` where that is nothing. Asked of policy once per topic and change of rights.
    pub fn plan(
        &mut self,
        rules: &Rules,
        policy: &PolicySnapshot,
        topic: &str,
        now: UnixMillis,
    ) -> Option<Arc<MaskPlan>> {
        if self.stamp != Some(policy.stamp()) {
            self.by_topic.clear();
            self.stamp = Some(policy.stamp());
        }
        if let Some(known) = self.by_topic.get(topic)
            && now < known.until
        {
            return known.plan.clone();
        }
        let until = std::cell::Cell::new(UnixMillis(i64::MAX));
        let plan = rules.plan(topic, |label| {
            let (clear, holds) = policy.unmasks(label, topic, now);
            until.set(until.get().min(holds));
            clear
        });
        let plan = plan.map(Arc::new);
        if self.by_topic.len() >= crate::limits::MASK_PLANS_MAX {
            self.by_topic.clear();
        }
        let known = Plan { plan: plan.clone(), until: until.get() };
        self.by_topic.insert(topic.to_owned(), known);
        plan
    }
}

impl Job {
    /// Records of a partition and their plan.
    #[must_use]
    pub fn new(partition: usize, plan: Arc<MaskPlan>, records: Bytes) -> Self {
        Self { partition, plan, records }
    }

    /// Masks, yielding to other connections between steps.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses the work, and nothing else: nothing was delivered.
    pub async fn run(self, buffers: &mut MaskBuffers) -> Done {
        let mut mask = RecordsMask::new(self.records);
        let masked: Option<MaskedRecords> = loop {
            match mask.step(&self.plan, buffers) {
                Ok(Progress::More) => glommio::executor().yield_now().await,
                Ok(Progress::Done(masked)) => break Some(masked),
                Err(error) => {
                    tracing::warn!(%error, "records that cannot be read are not delivered");
                    break None;
                }
            }
        };
        let counts = masked.as_ref().map(|masked| masked.counts.clone()).unwrap_or_default();
        let labels = self.plan.labels().iter().cloned().zip(counts.labels);
        Done {
            partition: self.partition,
            masked: labels.filter(|(_, count)| *count > 0).collect(),
            withheld: counts.withheld,
            records: masked.map(|masked| joined(&masked.pieces)),
        }
    }
}

impl Done {
    /// Puts the outcome into the response.
    pub fn apply(&self, partition: &Partition, edits: &mut Edits) {
        match &self.records {
            Some(records) => edits.set_bytes(&partition.records, Some(records.clone())),
            None => {
                edits.set_int16(partition.error_at, ErrorCode::CORRUPT_MESSAGE.0);
                edits.set_bytes(&partition.records, Some(Bytes::new()));
            }
        }
    }
}

/// One piece as it is, several copied together.
fn joined(pieces: &[Bytes]) -> Bytes {
    match pieces {
        [] => Bytes::new(),
        [one] => one.clone(),
        many => many.concat().into(),
    }
}
