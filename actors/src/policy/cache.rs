//! Decisions that one session has had already, on one shard.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use super::snapshot::{PolicySnapshot, Stamp, TimedDecision};
use crate::vocabulary::{Action, Decision, Resource, ResourceName, UnixMillis};

/// A session's decisions by action and resource. It belongs to one thread, and takes no lock.
///
/// # Limits
///
/// [`DECISIONS_MAX`] decisions, about 200 bytes each beside the name; then it starts anew. Names
/// longer than 256 bytes are decided each time.
#[derive(Debug)]
pub struct DecisionCache {
    stamp: Option<Stamp>,
    /// Seeded per cache, so that a client cannot choose names that meet.
    seed: RandomState,
    /// By the hash of action and resource: looking up needs no owned key. Two keys with the same 64
    /// bits are told apart by the key inside, and replace each other.
    kept: HashMap<u64, Kept, BuildHasherDefault<Prehashed>>,
    /// The last decision that was too long-named to keep.
    passing: Option<Decision>,
}

#[derive(Debug)]
struct Kept {
    action: Action,
    resource: ResourceName,
    timed: TimedDecision,
}

/// Passes a hash through: the keys are hashes already.
#[derive(Debug, Default, Clone, Copy)]
struct Prehashed(u64);

impl DecisionCache {
    /// An empty cache; nothing is allocated.
    #[must_use]
    pub fn new() -> Self {
        Self { stamp: None, seed: RandomState::new(), kept: HashMap::default(), passing: None }
    }

    /// The snapshot's decision: kept, or made and kept. Everything of another snapshot is forgotten.
    ///
    /// A decision that is not kept costs some microseconds: whoever asks for thousands yields between.
    pub fn decide(
        &mut self,
        snapshot: &PolicySnapshot,
        action: Action,
        resource: Resource<'_>,
        now: UnixMillis,
    ) -> &Decision {
        if self.stamp != Some(snapshot.stamp()) {
            self.kept.clear();
            self.stamp = Some(snapshot.stamp());
        }
        if name_size(resource) > NAME_BYTES_MAX {
            let timed = snapshot.decide(action, resource, now);
            return self.passing.insert(timed.decision);
        }
        if self.kept.len() >= DECISIONS_MAX {
            self.kept.clear();
        }
        let key = self.seed.hash_one((action, resource));
        match self.kept.entry(key) {
            Entry::Occupied(entry) if entry.get().answers(action, resource, now) => {
                &entry.into_mut().timed.decision
            }
            entry => {
                let timed = snapshot.decide(action, resource, now);
                let kept = Kept { action, resource: resource.to_name(), timed };
                &entry.insert_entry(kept).into_mut().timed.decision
            }
        }
    }

    /// How many decisions are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

impl Default for DecisionCache {
    fn default() -> Self {
        Self::new()
    }
}

impl Kept {
    fn answers(&self, action: Action, resource: Resource<'_>, now: UnixMillis) -> bool {
        self.action == action && self.resource.borrow() == resource && now < self.timed.until
    }
}

impl Hasher for Prehashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        // Keys are u64, whose hash calls `write_u64` alone.
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

fn name_size(resource: Resource<'_>) -> usize {
    match resource {
        Resource::Topic(name) | Resource::Partition { topic: name, .. } => name.len(),
        Resource::ConsumerGroup(id) | Resource::TransactionalId(id) => id.len(),
        Resource::Cluster => 0,
    }
}

/// Above what one client is seen to use (threats.md bounds a request at 10,000 topics); with short
/// names some 4 MiB, with the longest 8.
pub const DECISIONS_MAX: usize = 16_384;
/// Kafka's topic names end at 249 bytes; group ids may have 32 KiB, and must not fill the cache.
const NAME_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests;
