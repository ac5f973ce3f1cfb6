//! What was refused of numbered batches while policy held them, so that none is lost when the hold ends.
//!
//! A producer has several requests in flight. Were batch 5 refused and batch 6, after a grant, let through, the broker
//! would take 6, and call 5 a duplicate when it comes again: lost, and nobody told. So after a refused batch, later ones
//! of that producer and partition are refused too, until the lowest refused one comes again.
//!
//! One connection's: a producer that connects anew sends what it is owed in order again.

use std::collections::HashMap;

use sluicegate_actors::recorder::entry::Producer;

use crate::limits;

/// The lowest refused sequence of each producer and partition.
#[derive(Debug, Default)]
pub struct HeldSequences {
    lowest: HashMap<Key, Refused>,
}

/// More producers and partitions are held on one connection than are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyHeld;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    topic: Box<str>,
    partition: i32,
    producer: i64,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    epoch: i16,
    sequence: i32,
}

impl HeldSequences {
    /// Whether nothing was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lowest.is_empty()
    }

    /// Notes a refused batch.
    ///
    /// # Errors
    ///
    /// [`TooManyHeld`]: it cannot be noted, and the connection must end.
    pub fn refuse(
        &mut self,
        topic: &str,
        partition: i32,
        producer: Producer,
    ) -> Result<(), TooManyHeld> {
        let count = self.lowest.len();
        let Producer { id, epoch, sequence } = producer;
        let key = Key { topic: topic.into(), partition, producer: id };
        let refused = Refused { epoch, sequence };
        match self.lowest.get_mut(&key) {
            Some(lowest) if lowest.epoch == epoch => {
                if comes_before(sequence, lowest.sequence) {
                    *lowest = refused;
                }
            }
            // Another epoch begins its numbers anew.
            Some(lowest) => *lowest = refused,
            None if count >= limits::HELD_SEQUENCES_MAX => return Err(TooManyHeld),
            None => {
                self.lowest.insert(key, refused);
            }
        }
        Ok(())
    }

    /// Whether a batch that policy allows may go on.
    pub fn admits(&mut self, topic: &str, partition: i32, producer: Producer) -> bool {
        let key = Key { topic: topic.into(), partition, producer: producer.id };
        let Some(lowest) = self.lowest.get(&key) else { return true };
        if lowest.epoch == producer.epoch && lowest.sequence != producer.sequence {
            // An earlier one was not refused, and says nothing of the one that was.
            return !comes_before(lowest.sequence, producer.sequence);
        }
        self.lowest.remove(&key);
        true
    }
}

/// Sequences count from 0 to 2^31 - 1 and begin again (KIP-98); what is in flight is far less than half of that.
fn comes_before(one: i32, other: i32) -> bool {
    let ahead = other.wrapping_sub(one) & i32::MAX;
    ahead != 0 && ahead < 1 << 30
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, sequence: i32) -> Producer {
        Producer { id: 7, epoch, sequence }
    }

    #[test]
    fn later_batches_wait_for_the_lowest_that_was_refused() {
        // What is refused, then what comes once policy allows, and whether it goes on.
        type Row<'a> = (&'a str, &'a [Producer], &'a [(Producer, bool)]);
        let rows: &[Row<'_>] = &[
            (
                "in order",
                &[batch(0, 5), batch(0, 6)],
                &[(batch(0, 7), false), (batch(0, 5), true), (batch(0, 6), true)],
            ),
            (
                "the lowest counts",
                &[batch(0, 6), batch(0, 5)],
                &[(batch(0, 6), false), (batch(0, 5), true), (batch(0, 6), true)],
            ),
            (
                "numbers begin again",
                &[batch(0, i32::MAX)],
                &[(batch(0, 0), false), (batch(0, i32::MAX), true), (batch(0, 0), true)],
            ),
            ("another epoch", &[batch(0, 5)], &[(batch(1, 0), true), (batch(1, 1), true)]),
            (
                "an earlier one",
                &[batch(0, 5)],
                &[(batch(0, 4), true), (batch(0, 6), false), (batch(0, 5), true)],
            ),
        ];
        for (name, refused, tried) in rows {
            let mut held = HeldSequences::default();
            for producer in *refused {
                held.refuse("t", 0, *producer).unwrap();
            }
            assert!(held.admits("t", 1, batch(0, 9)), "{name}: another partition");
            assert!(held.admits("u", 0, batch(0, 9)), "{name}: another topic");
            assert!(held.admits("t", 0, Producer { id: 8, epoch: 0, sequence: 9 }), "{name}");
            for (producer, expected) in *tried {
                assert_eq!(held.admits("t", 0, *producer), *expected, "{name}: {producer:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_kept_is_an_error() {
        let mut held = HeldSequences::default();
        let full = i32::try_from(limits::HELD_SEQUENCES_MAX).unwrap();
        for partition in 0..full {
            held.refuse("t", partition, batch(0, 0)).unwrap();
        }
        assert_eq!(held.refuse("t", full, batch(0, 0)), Err(TooManyHeld));
        assert_eq!(held.refuse("t", 0, batch(0, 1)), Ok(()), "known ones are kept all the same");
    }
}
