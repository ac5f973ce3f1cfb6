//! Everything that a shard decides a session by, as one immutable value.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::decide::Asker;
use super::slice::Slice;
use crate::approval::grant::Grant;
use crate::vocabulary::{Action, Decision, HeldBy, PolicyHash, Resource, UnixMillis, Verdict};

/// A session's rights: its slice, who asks, and what was granted. Published without grants; whoever decides by it puts
/// them in.
#[derive(Debug)]
pub struct PolicySnapshot {
    slice: Arc<Slice>,
    asker: Arc<Asker>,
    grants: Grants,
    stamp: Stamp,
}

/// What one identity was granted.
pub type Grants = Arc<[Arc<Grant>]>;

/// Tells snapshots of one process apart: a cache that holds another stamp is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(u64);

/// A decision, and how long it may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedDecision {
    /// What was decided.
    pub decision: Decision,
    /// From this instant on it must be decided anew.
    pub until: UnixMillis,
}

impl PolicySnapshot {
    /// A snapshot without grants. Called where policy or the identity changed; never on a path.
    #[must_use]
    pub fn new(slice: Arc<Slice>, asker: Asker) -> Self {
        Self { slice, asker: Arc::new(asker), grants: Arc::default(), stamp: Stamp::next() }
    }

    /// The same rights with these grants and no others.
    #[must_use]
    pub fn with_grants(&self, grants: Grants) -> Self {
        let (slice, asker) = (Arc::clone(&self.slice), Arc::clone(&self.asker));
        Self { slice, asker, grants, stamp: Stamp::next() }
    }

    /// Which snapshot this is.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The slice.
    #[must_use]
    pub fn slice(&self) -> &Arc<Slice> {
        &self.slice
    }

    /// The number of the bundle, for entries.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.slice.epoch()
    }

    /// The hash of the bundle, for tickets.
    #[must_use]
    pub fn hash(&self) -> PolicyHash {
        self.slice.hash()
    }

    /// Whether partitions of this topic must be asked about one by one.
    #[must_use]
    pub fn names_partitions(&self, topic: &str) -> bool {
        self.slice.names_partitions(topic)
    }

    /// Decides, with grants: what is on hold and granted is allowed, and names the grant after the
    /// policies.
    #[must_use]
    pub fn decide(&self, action: Action, resource: Resource<'_>, now: UnixMillis) -> TimedDecision {
        let decision = self.slice.decide(&self.asker, action, resource, now);
        let until = self.until(now);
        let Verdict::Hold { rules, .. } = &decision.verdict else {
            return TimedDecision { decision, until };
        };
        let covering =
            self.answering(rules).filter(|grant| grant.covers(action, resource, self.hash(), now));
        let Some(grant) = covering.max_by_key(|grant| grant.ends_at) else {
            return TimedDecision { decision, until };
        };
        let name: Arc<str> = Arc::from(grant.id.as_str());
        let policies = decision.policies.iter().cloned().chain([name]).collect();
        TimedDecision {
            decision: Decision { verdict: Verdict::Allow, policies },
            until: until.min(grant.ends_at),
        }
    }

    /// Whether a label is shown in clear on a topic; and until when that answer holds.
    #[must_use]
    pub fn unmasks(&self, label: &str, topic: &str, now: UnixMillis) -> (bool, UnixMillis) {
        let until = self.until(now);
        match self.slice.unmask(&self.asker, label, topic, now).verdict {
            Verdict::Allow => (true, until),
            Verdict::Deny => (false, until),
            Verdict::Hold { rules, .. } => {
                let showing = self
                    .answering(&rules)
                    .filter(|grant| grant.shows(label, topic, self.hash(), now));
                match showing.map(|grant| grant.ends_at).max() {
                    Some(ends_at) => (true, until.min(ends_at)),
                    None => (false, until),
                }
            }
        }
    }

    /// Whether a topic's payloads are left out of the record; and until when that answer holds.
    #[must_use]
    pub fn skips_payload(&self, topic: &str, now: UnixMillis) -> (bool, UnixMillis) {
        (self.slice.skips_payload(&self.asker, topic, now), self.until(now))
    }

    /// As [`Slice::allows_any_topic`].
    #[must_use]
    pub fn allows_any_topic(&self, action: Action, now: UnixMillis) -> bool {
        self.slice.allows_any_topic(&self.asker, action, now)
    }

    /// Grants that were asked for through this listener, and that approvers of each of these rules gave: what holds a
    /// request depends on where it comes from and when.
    fn answering<'a>(&'a self, rules: &'a [HeldBy]) -> impl Iterator<Item = &'a Arc<Grant>> {
        self.grants.iter().filter(|grant| {
            grant.listener == self.asker.listener()
                && rules.iter().all(|rule| grant.rules.contains(rule))
        })
    }

    fn until(&self, now: UnixMillis) -> UnixMillis {
        if self.slice.reads_time() {
            UnixMillis(now.0.saturating_add(TIMED_DECISION_MS_MAX))
        } else {
            UnixMillis(i64::MAX)
        }
    }
}

impl Stamp {
    fn next() -> Self {
        Self(STAMPS.fetch_add(1, Ordering::Relaxed))
    }
}

/// Counts snapshots; touched when rights change, never per request.
static STAMPS: AtomicU64 = AtomicU64::new(0);
/// How long a decision is kept that may depend on the time (DESIGN 7).
const TIMED_DECISION_MS_MAX: i64 = 1_000;

#[cfg(test)]
mod tests;
