//! What a request asked of the broker: a response that holds anything else is not the broker's to give.

use crate::kafka::found::{Found, ListSpan, Topic};
use crate::kafka::table::METADATA_KEY;
use crate::kafka::{Exchange, List};
use crate::path::tally::Tally;
use crate::path::{paging, share};

/// DescribeLogDirs' key.
const DESCRIBE_LOG_DIRS: i16 = 35;

/// The groups, topics and partitions that went to the broker, in their order; kept and cleared from one request to the next.
#[derive(Debug, Default)]
pub struct Asked {
    /// Whether the request named anything: what names nothing, or all, limits nothing.
    is_limited: bool,
    /// Whether all that it named was cut, in a version in which what is left asks for all.
    asks_too_much: bool,
    names: String,
    topics: Vec<AskedTopic>,
    partitions: Vec<i32>,
    /// Whether the request listed groups, and the names of those, in their order.
    lists_groups: bool,
    groups: Vec<(usize, usize)>,
    /// Where the last topic was found: responses keep the order of requests as a rule.
    next: usize,
}

#[derive(Debug)]
struct AskedTopic {
    name: (usize, usize),
    id: Option<[u8; 16]>,
    partitions: (usize, usize),
}

/// A topic as a message names it: by one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicKey<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// Its id.
    pub id: Option<[u8; 16]>,
}

impl<'a> TopicKey<'a> {
    /// How `frame` names the topic.
    #[must_use]
    pub fn of(topic: &Topic, frame: &'a [u8]) -> Self {
        Self { name: topic.name(frame), id: topic.id(frame) }
    }
}

impl Asked {
    /// Notes what is left of a request's groups and topics after the cuts, and forgets what was noted before.
    pub fn note(&mut self, exchange: &Exchange, frame: &[u8], found: &Found, tally: &Tally) {
        self.clear();
        self.note_groups(frame, found, tally);
        let mut lists = found.lists.iter().filter(|span| span.list == List::Topics).peekable();
        // Metadata v0 and DescribeTopicPartitions have no null: there an empty list means all.
        let has_no_null = match exchange.api.key {
            METADATA_KEY => exchange.version == 0,
            key => key == paging::KEY,
        };
        let means_all = |span: &ListSpan| span.null || (has_no_null && span.count == 0);
        // What a share session holds was asked for by earlier requests of it. Of folders, Kafka 3.4.1 tells all topics that are in
        // them, those that were not asked for without partitions.
        let tells_more = share::is_in_session(exchange) || exchange.api.key == DESCRIBE_LOG_DIRS;
        let is_limited = lists.peek().is_some() && !tells_more;
        if !is_limited || lists.any(means_all) {
            return;
        }
        self.is_limited = true;
        let has_all_cut = found.topics.iter().all(|topic| tally.is_cut(topic.element));
        self.asks_too_much = has_no_null && has_all_cut;
        if self.asks_too_much {
            return;
        }
        for topic in found.topics.iter().filter(|topic| found.list_of(topic) == List::Topics) {
            if tally.is_cut(topic.element) {
                continue;
            }
            let start = self.names.len();
            self.names.push_str(topic.name(frame).unwrap_or_default());
            let first = self.partitions.len();
            let partitions = found.partitions_of(topic).iter();
            let partitions = partitions
                .filter(|partition| !tally.is_partition_cut(topic.element, partition.element));
            self.partitions.extend(partitions.map(|partition| partition.index));
            self.topics.push(AskedTopic {
                name: (start, self.names.len()),
                id: topic.id(frame).filter(|id| *id != [0; 16]),
                partitions: (first, self.partitions.len()),
            });
        }
    }

    fn note_groups(&mut self, frame: &[u8], found: &Found, tally: &Tally) {
        self.lists_groups = found.list(List::Groups).is_some();
        let listed = found.groups.iter().filter(|group| !group.element.is_empty());
        for group in listed.filter(|group| !tally.is_cut(group.element)) {
            let start = self.names.len();
            self.names.push_str(group.name.text(frame).unwrap_or_default());
            self.groups.push((start, self.names.len()));
        }
        let names = &self.names;
        self.groups.sort_unstable_by_key(|group| names.get(group.0..group.1));
    }

    fn clear(&mut self) {
        self.lists_groups = false;
        self.groups.clear();
        self.is_limited = false;
        self.asks_too_much = false;
        self.names.clear();
        self.topics.clear();
        self.partitions.clear();
        self.next = 0;
    }

    /// Whether none of a response's topics was asked for.
    #[must_use]
    pub fn asks_too_much(&self) -> bool {
        self.asks_too_much
    }

    /// Each topic with its partitions; `None` where the request named nothing, or all.
    pub fn topics(&self) -> Option<impl Iterator<Item = (TopicKey<'_>, &[i32])>> {
        self.is_limited
            .then(|| self.topics.iter().map(|topic| (self.key(topic), self.partitions_of(topic))))
    }

    /// Checks that a response tells of nothing else.
    ///
    /// # Errors
    ///
    /// A sentence that says what was not asked for.
    pub fn check(&mut self, frame: &[u8], found: &Found) -> Result<(), String> {
        if self.lists_groups {
            for group in found.groups.iter().filter(|group| !group.element.is_empty()) {
                let name = group.name.text(frame);
                let asked = |asked: &(usize, usize)| self.names.get(asked.0..asked.1);
                if self.groups.binary_search_by_key(&name, asked).is_err() {
                    return Err("it tells of a group that was not asked for".to_owned());
                }
            }
        }
        for topic in found.topics.iter().filter(|topic| found.list_of(topic) == List::Topics) {
            let key = TopicKey::of(topic, frame);
            let index = self.check_topic(key)?;
            for (place, partition) in found.partitions_of(topic).iter().enumerate() {
                self.check_partition(index, place, partition.index)?;
            }
        }
        Ok(())
    }

    /// Checks the next topic of a response, and says which of those asked for it is.
    ///
    /// # Errors
    ///
    /// As [`Asked::check`].
    pub fn check_topic(&mut self, key: TopicKey<'_>) -> Result<usize, String> {
        if !self.is_limited || self.asks_too_much {
            return Ok(0);
        }
        let index = self.find(key).ok_or("it tells of a topic that was not asked for")?;
        self.next = index.saturating_add(1);
        Ok(index)
    }

    /// Checks a partition of that topic, the `place`th of a response.
    ///
    /// # Errors
    ///
    /// As [`Asked::check`].
    pub fn check_partition(
        &self,
        topic: usize,
        place: usize,
        partition: i32,
    ) -> Result<(), String> {
        let Some(asked) = self.topics.get(topic).filter(|_| self.is_limited) else { return Ok(()) };
        // A request that names topics alone asks for all of their partitions.
        let partitions = self.partitions_of(asked);
        let expected = partitions.get(place) == Some(&partition) || partitions.contains(&partition);
        // A request may name a topic twice, and its answer may join the two.
        if !partitions.is_empty() && !expected && !self.asks_elsewhere(asked, partition) {
            return Err(format!("it tells of partition {partition} unasked"));
        }
        Ok(())
    }

    /// Checks how many partitions a response tells of for that topic, before any of them is here.
    ///
    /// # Errors
    ///
    /// As [`Asked::check`].
    pub fn check_count(&self, topic: usize, partitions: usize) -> Result<(), String> {
        let Some(asked) = self.topics.get(topic).filter(|_| self.is_limited) else { return Ok(()) };
        let key = self.key(asked);
        let same = self.topics.iter().filter(|asked| self.is(asked, key));
        let most = same.map(|asked| self.partitions_of(asked).len()).sum::<usize>();
        if partitions > most {
            return Err(format!("it tells of {partitions} partitions where {most} were asked for"));
        }
        Ok(())
    }

    fn partitions_of(&self, topic: &AskedTopic) -> &[i32] {
        let (first, end) = topic.partitions;
        self.partitions.get(first..end).unwrap_or_default()
    }

    fn find(&self, key: TopicKey<'_>) -> Option<usize> {
        let is_it = |asked: &AskedTopic| self.is(asked, key);
        let ahead = self.topics.get(self.next..).unwrap_or_default().iter().position(is_it);
        match ahead {
            Some(ahead) => self.next.checked_add(ahead),
            None => self.topics.iter().position(is_it),
        }
    }

    fn asks_elsewhere(&self, topic: &AskedTopic, index: i32) -> bool {
        let key = self.key(topic);
        let mut same = self.topics.iter().filter(|asked| self.is(asked, key));
        same.any(|asked| self.partitions_of(asked).contains(&index))
    }

    fn key(&self, topic: &AskedTopic) -> TopicKey<'_> {
        let name = self.names.get(topic.name.0..topic.name.1);
        TopicKey { name: name.filter(|name| !name.is_empty()), id: topic.id }
    }

    fn is(&self, asked: &AskedTopic, key: TopicKey<'_>) -> bool {
        match asked.id {
            Some(_) => asked.id == key.id,
            None => key.name.is_some() && self.names.get(asked.name.0..asked.name.1) == key.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka;
    use crate::kafka::walk;
    use bytes::BytesMut;
    use kafka_protocol::messages::describe_groups_response::DescribedGroup;
    use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
    use kafka_protocol::protocol::{Encodable, StrBytes};

    fn group(name: &'static str) -> GroupId {
        GroupId(StrBytes::from_static_str(name))
    }

    fn framed(header: &[u8], message: &impl Encodable) -> Vec<u8> {
        let mut frame = BytesMut::from(&[&[0; 4], header].concat()[..]);
        message.encode(&mut frame, 5).unwrap();
        let size = i32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&size.to_be_bytes());
        frame.to_vec()
    }

    #[test]
    fn a_group_that_was_not_asked_for_is_not_told() {
        let exchange = kafka::exchange(15, 5).unwrap();
        let request = DescribeGroupsRequest::default().with_groups(vec![group("b"), group("a")]);
        let frame = framed(b"\0\x0f\0\x05\0\0\0\x01\0\0\0", &request);
        let (mut found, mut asked) = (Found::default(), Asked::default());
        let header = walk::request_header(&frame).unwrap();
        walk::request(exchange, &frame, header.body, &mut found).unwrap();
        asked.note(exchange, &frame, &found, &Tally::default());
        let mut check = |names: &[&'static str]| {
            let told = |name: &&'static str| DescribedGroup::default().with_group_id(group(name));
            let groups = names.iter().map(told).collect();
            let response = DescribeGroupsResponse::default().with_groups(groups);
            let frame = framed(b"\0\0\0\x01\0", &response);
            let (_, body) = walk::response_header(exchange, &frame).unwrap();
            walk::response(exchange, &frame, body, &mut found).unwrap();
            asked.check(&frame, &found)
        };
        assert_eq!(check(&["a", "b"]), Ok(()));
        assert_eq!(check(&[]), Ok(()));
        assert!(check(&["b", "c"]).unwrap_err().contains("group"));
    }
}
