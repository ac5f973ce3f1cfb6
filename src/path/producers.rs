//! Producer ids and whose they are: an id that a broker gave to one identity is nobody else's, for whoever knows it could
//! make its batches duplicates, or end its transactions.
//!
//! An id that is not known (the gateway was started anew, say) is its first user's. All shards share what is known; a
//! connection asks once for each id, and remembers that it is its own.

#![expect(
    clippy::disallowed_types,
    reason = "the one lock that shards share: taken once for each id and connection, never per request"
)]

use std::sync::{Arc, Mutex, PoisonError};

use crate::kafka::batch::{self, BatchError};
use crate::kafka::found::Found;
use crate::kafka::{Exchange, Meaning};
use crate::limits;
use crate::path::recent::Recent;

/// InitProducerId, and EndTxn, which may give another id (KIP-890).
const GIVE_IDS: [i16; 2] = [22, 26];

/// Whose the producer ids of each cluster are. The older half is forgotten when there are too many.
#[derive(Debug)]
pub struct ProducerIds(Mutex<Recent<Id, Arc<str>>>);

/// An id of a cluster.
type Id = (Arc<str>, i64);

/// What the record batches of a request say of their producers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    /// Whether any batch is part of a transaction.
    pub transactional: bool,
    /// Whether there is any producer id.
    pub named: bool,
    /// Whether any is somebody else's.
    pub strange: bool,
}

impl Default for ProducerIds {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(limits::PRODUCER_IDS_MAX)))
    }
}

impl ProducerIds {
    /// Whether the id is known to be another's.
    pub fn is_anothers(&self, cluster: &Arc<str>, id: i64, principal: &Arc<str>) -> bool {
        let key = (Arc::clone(cluster), id);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).is_some_and(|owner| owner != principal)
    }

    /// Whether the id is this identity's; it is from now on where it was nobody's.
    pub fn claim(&self, cluster: &Arc<str>, id: i64, principal: &Arc<str>) -> bool {
        let key = (Arc::clone(cluster), id);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&key) {
            Some(owner) => owner == principal,
            None => {
                known.put(key, Arc::clone(principal));
                true
            }
        }
    }

    /// A broker gave the id to this identity: one that writes with the same transactional id may get the same.
    pub fn give(&self, cluster: &Arc<str>, id: i64, principal: &Arc<str>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.put((Arc::clone(cluster), id), Arc::clone(principal));
    }
}

/// The id that an answer gives, where it does.
#[must_use]
pub fn given(exchange: &Exchange, found: &Found) -> Option<i64> {
    if !GIVE_IDS.contains(&exchange.api.key) {
        return None;
    }
    found.number(Meaning::ProducerId).map(|id| id.value).filter(|id| *id >= 0)
}

/// Looks at all producer ids that a request uses: its own, and those of its batches.
///
/// # Errors
///
/// [`BatchError`]: a batch cannot be read.
pub fn survey(
    frame: &[u8],
    found: &Found,
    mut owns: impl FnMut(i64) -> bool,
) -> Result<Producers, BatchError> {
    let mut producers = Producers::default();
    let mut note = |producers: &mut Producers, id: i64| {
        producers.named |= id >= 0;
        producers.strange |= id >= 0 && !owns(id);
    };
    if let Some(id) = found.number(Meaning::ProducerId) {
        note(&mut producers, id.value);
    }
    for partition in &found.partitions {
        let Some(summary) = batch::summarise(partition.records.bytes(frame))? else { continue };
        producers.transactional |= summary.transactional;
        note(&mut producers, summary.producer_id);
    }
    Ok(producers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_first_user_s_until_a_broker_gives_it_to_another() {
        let ids = ProducerIds::default();
        let [main, other, alice, bob] = ["main", "other", "alice", "bob"].map(Arc::<str>::from);
        assert!(ids.claim(&main, 7, &alice) && ids.claim(&main, 7, &alice));
        assert!(!ids.claim(&main, 7, &bob));
        assert!(ids.is_anothers(&main, 7, &bob) && !ids.is_anothers(&main, 7, &alice));
        assert!(!ids.is_anothers(&main, 8, &bob));
        assert!(ids.claim(&other, 7, &bob), "another cluster counts anew");
        ids.give(&main, 7, &bob);
        assert!(ids.claim(&main, 7, &bob) && !ids.claim(&main, 7, &alice));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let ids = ProducerIds::default();
        let [main, alice, bob] = ["main", "alice", "bob"].map(Arc::<str>::from);
        for id in 0..i64::try_from(limits::PRODUCER_IDS_MAX).unwrap() + 1 {
            assert!(ids.claim(&main, id, &alice));
        }
        assert!(ids.claim(&main, 0, &bob), "it was forgotten");
        assert!(!ids.claim(&main, i64::try_from(limits::PRODUCER_IDS_MAX).unwrap(), &bob));
    }
}
