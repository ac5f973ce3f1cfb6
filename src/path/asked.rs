//! What a request asked of the broker: a response that holds anything else is not the broker's to give.

use crate::kafka::found::{Found, ListSpan, Topic};
use crate::kafka::table::METADATA_KEY;
use crate::kafka::{Exchange, List};
use crate::path::tally::Tally;

/// The topics and partitions that went to the broker, in their order.
#[derive(Debug, Default)]
pub struct Asked {
    names: String,
    topics: Vec<AskedTopic>,
    partitions: Vec<i32>,
    /// Where the last topic was found: responses keep the order of requests as a rule.
    next: usize,
}

#[derive(Debug)]
struct AskedTopic {
    name: (usize, usize),
    id: Option<[u8; 16]>,
    partitions: (usize, usize),
}

impl Asked {
    /// What is left of a request's topics after the cuts; `None` where it names none, or all.
    #[must_use]
    pub fn of(exchange: &Exchange, frame: &[u8], found: &Found, tally: &Tally) -> Option<Self> {
        let mut lists = found.lists.iter().filter(|span| span.list == List::Topics).peekable();
        lists.peek()?;
        let is_old_metadata = exchange.api.key == METADATA_KEY && exchange.version == 0;
        // Metadata v0 has no null: there an empty list means all.
        let means_all = |span: &ListSpan| span.null || (is_old_metadata && span.count == 0);
        if lists.any(means_all) {
            return None;
        }
        let mut asked = Self::default();
        for topic in found.topics.iter().filter(|topic| found.list_of(topic) == List::Topics) {
            if tally.is_cut(topic.element) {
                continue;
            }
            let start = asked.names.len();
            asked.names.push_str(topic.name(frame).unwrap_or_default());
            let first = asked.partitions.len();
            let partitions = found.partitions_of(topic).iter();
            let partitions = partitions
                .filter(|partition| !tally.is_partition_cut(topic.element, partition.element));
            asked.partitions.extend(partitions.map(|partition| partition.index));
            asked.topics.push(AskedTopic {
                name: (start, asked.names.len()),
                id: topic.id(frame).filter(|id| *id != [0; 16]),
                partitions: (first, asked.partitions.len()),
            });
        }
        Some(asked)
    }

    /// Checks that a response tells of nothing else.
    ///
    /// # Errors
    ///
    /// A sentence that says what was not asked for.
    pub fn check(&mut self, frame: &[u8], found: &Found) -> Result<(), String> {
        for topic in found.topics.iter().filter(|topic| found.list_of(topic) == List::Topics) {
            let Some(index) = self.find(frame, topic) else {
                return Err("it tells of a topic that was not asked for".to_owned());
            };
            self.next = index.saturating_add(1);
            let Some(asked) = self.topics.get(index) else { continue };
            let (first, end) = asked.partitions;
            // A request that names topics alone asks for all of their partitions.
            let partitions = self.partitions.get(first..end).unwrap_or_default();
            for (place, partition) in found.partitions_of(topic).iter().enumerate() {
                let expected = partitions.get(place) == Some(&partition.index)
                    || partitions.contains(&partition.index);
                // A request may name a topic twice, and its answer may join the two.
                let unasked = !partitions.is_empty() && !expected;
                if unasked && !self.asks_elsewhere(frame, topic, partition.index) {
                    return Err(format!("it tells of partition {} unasked", partition.index));
                }
            }
        }
        Ok(())
    }

    fn find(&self, frame: &[u8], topic: &Topic) -> Option<usize> {
        let is_it = |asked: &AskedTopic| self.is(asked, frame, topic);
        let ahead = self.topics.get(self.next..).unwrap_or_default().iter().position(is_it);
        match ahead {
            Some(ahead) => self.next.checked_add(ahead),
            None => self.topics.iter().position(is_it),
        }
    }

    fn asks_elsewhere(&self, frame: &[u8], topic: &Topic, index: i32) -> bool {
        self.topics.iter().filter(|asked| self.is(asked, frame, topic)).any(|asked| {
            let (first, end) = asked.partitions;
            self.partitions.get(first..end).unwrap_or_default().contains(&index)
        })
    }

    fn is(&self, asked: &AskedTopic, frame: &[u8], topic: &Topic) -> bool {
        match asked.id {
            Some(_) => asked.id == topic.id(frame),
            None => {
                let name = topic.name(frame);
                name.is_some() && self.names.get(asked.name.0..asked.name.1) == name
            }
        }
    }
}
