//! Records of a fetch response that are masked while it still arrives: what came last is still in the core's cache.
//!
//! ```text
//! frame  ├─ header, topic, partition ─┬──── records ────┬ partition ┬─ records ─┤
//!                                     ├ masked ┤ here ──┼─ still to come ───────┤
//! ```
//!
//! It changes when the work is done, and nothing else: nothing is delivered before the response is whole, and what was done ahead
//! counts only where the response, carried then, asks for the same.

use std::collections::VecDeque;
use std::sync::Arc;

use super::masking::Job;
use super::{Expected, Path, topic_text};
use crate::clock;
use crate::error::Ended;
use crate::kafka::found::Found;
use crate::kafka::walk::{self, Walk};
use crate::kafka::wire::index;
use crate::path::hold;

/// What was masked of a response that still arrives.
#[derive(Debug, Default)]
pub struct Ahead {
    stage: Stage,
    found: Found,
    /// How many of the partitions that were found were looked at.
    looked_at: usize,
    /// Partitions whose records are masked, in their order.
    jobs: VecDeque<Job>,
    /// How much of the frame was here when they were last masked.
    masked_bytes: usize,
}

/// How a response is looked at.
#[derive(Debug, Default)]
enum Stage {
    /// Nothing of it was looked at yet.
    #[default]
    New,
    /// So far it could be read.
    Walked(Box<Walk>),
    /// There is nothing in it to be done ahead.
    Idle,
}

impl Ahead {
    /// Whether records are masked ahead of the whole.
    #[must_use]
    pub fn is_masking(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// The jobs that have something to do, now that `here` bytes of the frame are here.
    pub fn due(&mut self, here: usize) -> impl Iterator<Item = &mut Job> {
        let before = std::mem::replace(&mut self.masked_bytes, here);
        self.jobs.iter_mut().filter(move |job| job.goes_on(before))
    }

    /// What was done of a job already. To be asked for in the jobs' order.
    pub fn take(&mut self, partition: usize) -> Option<Job> {
        while self.jobs.front().is_some_and(|job| job.partition < partition) {
            self.jobs.pop_front();
        }
        self.jobs.pop_front_if(|job| job.partition == partition)
    }

    /// Forgets the response: another one comes.
    pub fn clear(&mut self) {
        self.stage = Stage::New;
        self.found.clear();
        self.looked_at = 0;
        self.jobs.clear();
        self.masked_bytes = 0;
    }
}

impl Path {
    /// Looks at a response of `size_bytes`, of which `frame` is here, for records to mask.
    ///
    /// # Errors
    ///
    /// [`Ended`]: the session has ended. What is wrong with the response is told when it is whole.
    pub fn look_ahead(
        &self,
        expected: &Expected,
        size_bytes: usize,
        frame: &[u8],
        ahead: &mut Ahead,
    ) -> Result<(), Ended> {
        if matches!(ahead.stage, Stage::Idle) {
            return Ok(());
        }
        self.refresh()?;
        let session = self.session.load();
        let rules = session.parts.masking.as_deref();
        let Some(rules) = rules.filter(|_| hold::delivers(expected.exchange)) else {
            ahead.stage = Stage::Idle;
            return Ok(());
        };
        if !ahead.walk(expected, size_bytes, frame) {
            return Ok(());
        }
        let cluster = self.cluster()?;
        let (judge, mut plans, now) = (self.judge.borrow(), self.plans.borrow_mut(), clock::wall());
        let Ahead { found, looked_at, jobs, .. } = ahead;
        let mut topics = found.topics.iter().peekable();
        let mut topic = None;
        while let Some(partition) = found.partitions.get(*looked_at) {
            if partition.records.at == 0 && partition.element.end == 0 {
                // Its records were not come to.
                break;
            }
            while let Some(next) =
                topics.next_if(|topic| index(topic.partitions.first) <= *looked_at)
            {
                topic = Some(next);
            }
            let Some(topic) = topic else { break };
            if partition.records.start < partition.records.end {
                let name = topic_text(topic, frame, &cluster);
                if let Some(plan) = plans.plan(Some(rules), &judge.policy, &name, now).read {
                    jobs.push_back(Job::new(*looked_at, Arc::clone(&plan), partition.records));
                }
            }
            *looked_at = looked_at.saturating_add(1);
        }
        Ok(())
    }
}

impl Ahead {
    /// Reads on as far as the bytes reach; `false` where nothing can be read yet, or at all.
    fn walk(&mut self, expected: &Expected, size_bytes: usize, frame: &[u8]) -> bool {
        if matches!(self.stage, Stage::New) {
            match walk::response_start(expected.exchange, size_bytes, frame) {
                Ok(None) => return false,
                Ok(Some((_, body))) => {
                    let walk = Walk::response(expected.exchange, size_bytes, body);
                    self.stage = Stage::Walked(Box::new(walk));
                }
                Err(_) => self.stage = Stage::Idle,
            }
        }
        let Stage::Walked(walk) = &mut self.stage else { return false };
        let read = walk.resume(0, frame, &mut self.found);
        if read.is_err() {
            self.stage = Stage::Idle;
        }
        read.is_ok()
    }
}
