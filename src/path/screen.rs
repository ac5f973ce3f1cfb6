//! Records on their way to the broker: masked where a rule says so, and refused where they are not what their topic demands.
//!
//! A request is carried twice then: the first time its records are handed out as [`Job`]s, which take turns with other
//! connections, and the second time what came of them goes into the request, or into its answer.

use std::sync::Arc;

use super::masking::{Done, Job, Outcome};
use super::{Attempt, Path, Ruling, Work, topic_text};
use crate::clock;
use crate::error::Ended;
use crate::kafka::batch::BatchError;
use crate::kafka::found::{Found, Partition, Topic};
use crate::kafka::refuse::{self, TopicRef};
use crate::kafka::wire::index;
use crate::kafka::{ErrorCode, List};

/// What came of the records of a request.
#[derive(Debug)]
pub struct Screened {
    /// The session's snapshot under which they were handed out: under another, rights may be others.
    pub epoch: u64,
    /// What came of each partition.
    pub done: Vec<Done>,
}

impl Screened {
    /// What is wrong with the first batch that does not go on, for the record.
    pub(super) fn text(&self) -> Option<String> {
        self.done.iter().find_map(|done| match &done.outcome {
            Outcome::Kept | Outcome::Rewritten(_) => None,
            Outcome::Unreadable(error) => Some(error.to_string()),
            Outcome::Invalid(records) => {
                let first = records.first()?;
                Some(format!("record {}: {}", first.index, first.reason))
            }
        })
    }
}

impl Path {
    /// The records of a request that must be screened before it goes on; `None` where there are none, or they have been:
    /// then the request and its answer are changed as they must be.
    pub(super) fn screen(
        &self,
        frame: &[u8],
        epoch: u64,
        attempt: &Attempt,
        ruling: &mut Ruling,
        work: &mut Work,
    ) -> Result<Option<Vec<Job>>, Ended> {
        if !matches!(ruling, Ruling::Forward | Ruling::ForwardRest) {
            return Ok(None);
        }
        if let Some(screened) = attempt.screened.as_ref().filter(|it| it.epoch == epoch) {
            apply(frame, screened, ruling, work);
            return Ok(None);
        }
        let jobs = self.screen_jobs(frame, work)?;
        Ok((!jobs.is_empty()).then_some(jobs))
    }

    fn screen_jobs(&self, frame: &[u8], work: &Work) -> Result<Vec<Job>, Ended> {
        let mut jobs = Vec::new();
        let session = self.session.load();
        let rules = session.parts.masking.as_deref().filter(|rules| rules.any_on_write());
        let Some(rules) = rules else { return Ok(jobs) };
        let cluster = self.cluster()?;
        let (judge, mut plans, now) = (self.judge.borrow(), self.plans.borrow_mut(), clock::wall());
        for topic in &work.found.topics {
            let name = topic_text(topic, frame, &cluster);
            let Some(screen) = plans.plan(Some(rules), &judge.policy, &name, now).write else {
                continue;
            };
            for (place, partition) in of(&work.found, topic) {
                if !partition.records.bytes(frame).is_empty()
                    && !work.tally.is_partition_cut(topic.element, partition.element)
                {
                    jobs.push(Job::new(place, Arc::clone(&screen), partition.records));
                }
            }
        }
        Ok(jobs)
    }
}

/// The partitions of a topic, with their places among all.
fn of<'f>(found: &'f Found, topic: &Topic) -> impl Iterator<Item = (usize, &'f Partition)> {
    let first = index(topic.partitions.first);
    let partitions = found.partitions_of(topic).iter().enumerate();
    partitions.map(move |(place, partition)| (first.saturating_add(place), partition))
}

/// Puts what came of the records into the request; what does not go on is cut from it, and refused.
fn apply(frame: &[u8], screened: &Screened, ruling: &mut Ruling, work: &mut Work) {
    let Work { found, edits, refusals, tally, .. } = work;
    for topic in &found.topics {
        let mut refused = Vec::new();
        for (place, partition) in of(found, topic) {
            let done = screened.done.iter().find(|done| done.partition == place);
            let Some(done) =
                done.filter(|_| !tally.is_partition_cut(topic.element, partition.element))
            else {
                continue;
            };
            match &done.outcome {
                Outcome::Kept => {}
                Outcome::Rewritten(records) => {
                    edits.set_bytes(&partition.records, Some(records.clone()));
                    *ruling = Ruling::ForwardRest;
                }
                Outcome::Unreadable(_) | Outcome::Invalid(_) => refused.push((partition, done)),
            }
        }
        if refused.is_empty() {
            continue;
        }
        *ruling = Ruling::ForwardRest;
        let whole = refuse::Outcome { code: ErrorCode::INVALID_RECORD, message: None };
        refusals.topic(TopicRef::of(frame, found, topic), whole);
        let is_whole = refused.len() == found.partitions_of(topic).len();
        for (partition, done) in refused {
            refuse(partition, &done.outcome, refusals);
            if !is_whole {
                edits.remove(&topic.partition_list, partition.element);
                tally.cut_partition(partition.element);
            }
        }
        if is_whole && let Some(list) = found.list(List::Topics) {
            edits.remove(&list, topic.element);
            tally.cut(topic.element);
        }
        tally.settle();
    }
    if !found.topics.is_empty() && tally.cut_count() == found.topics.len() {
        *ruling = Ruling::Nothing;
    }
}

/// Refuses a partition as Kafka refuses invalid records (KIP-467).
fn refuse(partition: &Partition, outcome: &Outcome, refusals: &mut refuse::Refusals) {
    match outcome {
        Outcome::Kept | Outcome::Rewritten(_) => {}
        Outcome::Unreadable(error @ BatchError::Crc { .. }) => {
            refusals.partition(partition.index, ErrorCode::CORRUPT_MESSAGE);
            refusals.explain(&error.to_string());
        }
        Outcome::Unreadable(error) => {
            refusals.partition(partition.index, ErrorCode::INVALID_RECORD);
            refusals.explain(&error.to_string());
        }
        Outcome::Invalid(records) => {
            refusals.partition(partition.index, ErrorCode::INVALID_RECORD);
            let first = records.first().map(|it| format!("record {}: {}", it.index, it.reason));
            refusals.explain(&format!(
                "{} Nothing of the batch was written.",
                first.map_or_else(String::new, |first| format!("{first}."))
            ));
            for record in records {
                refusals.record(i32::try_from(record.index).unwrap_or(i32::MAX), &record.reason);
            }
        }
    }
}
