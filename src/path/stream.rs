//! A fetch response that is forwarded while it still arrives: judged partition by partition, recorded batch by batch.
//!
//! ```text
//! frame  ├─ header, topic, partition ─┼──────── records ────────┼─ partition ─┼─ …
//!        forwarded ──────────────────────────▶├── window: here ──┤ still to come
//! ```
//!
//! Its length was told to the client with its first byte, so nothing in it can be cut or put in: what might have to be
//! (refusals beside it, masked topics, rights that ended) is carried whole instead. Nothing is forwarded that was not
//! judged, and no batch whose header is not in the record. Where a right ends in the middle the connection does too, and
//! the client's next request is told why.

use std::io;

use sluicegate_actors::vocabulary::UnixMillis;

use super::{Expected, Path, RESPONSE_CORRELATION_AT, Work, patch};
use crate::clock;
use crate::cluster::ClusterSnapshot;
use crate::error::Ended;
use crate::kafka::batch::HEADER_BYTES;
use crate::kafka::batch::arriving::Arriving;
use crate::kafka::found::{Found, Topic};
use crate::kafka::walk::{self, Progress, Walk};
use crate::kafka::wire::index;
use crate::limits;
use crate::path::asked::TopicKey;
use crate::path::hold;
use crate::path::masking::Plan;
use crate::path::tally::Batches;

/// A response under way.
#[derive(Debug)]
pub struct Stream {
    expected: Expected,
    /// The whole frame, its length prefix included.
    size_bytes: usize,
    walk: Option<Walk>,
    scratch: Scratch,
    /// Up to where the frame was forwarded.
    sent: usize,
    /// How many partitions were forwarded to their records' end.
    passed: usize,
    /// The records of the one behind them.
    arriving: Option<Arriving>,
    topic: Option<CurrentTopic>,
    /// How many topics were held against what was asked for.
    topics_checked: usize,
}

/// What is kept from one stream to the next on a shard.
#[derive(Debug, Default)]
pub struct Scratch {
    found: Found,
    /// The name of the current topic: the bytes that named it are gone by the time its last records come.
    topic: String,
}

/// The topic of the partition that is read now.
#[derive(Clone, Copy, Debug)]
struct CurrentTopic {
    /// Its place among those of the response.
    place: usize,
    /// Its place among those that were asked for.
    asked: usize,
    /// Its first partition's place among those of the response.
    first: usize,
}

/// What was done with the bytes that are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// How many of them may be forwarded.
    pub bytes: usize,
    /// Whether the response ends with them.
    pub is_last: bool,
    /// How many bytes behind those must be here before it goes on; at least one.
    pub needs: usize,
    /// How many bytes behind those need not come here but for what [`Path::carry_unseen`] asks for.
    pub unseen: usize,
}

impl Carried {
    /// Nothing goes before `needs` bytes are here.
    fn nothing(needs: usize) -> Self {
        Self { bytes: 0, is_last: false, needs, unseen: 0 }
    }
}

impl Stream {
    /// A stream of a response of `size_bytes`, prefix included, none of it forwarded.
    #[must_use]
    pub fn new(expected: Expected, size_bytes: usize, mut scratch: Scratch) -> Self {
        scratch.found.clear();
        scratch.topic.clear();
        Self {
            expected,
            size_bytes,
            walk: None,
            scratch,
            sent: 0,
            passed: 0,
            arriving: None,
            topic: None,
            topics_checked: 0,
        }
    }

    /// Whether `here` bytes are worth a piece: as many as one is at least, or all that is left.
    #[must_use]
    pub fn is_due(&self, here: usize) -> bool {
        here >= self.size_bytes.saturating_sub(self.sent).min(limits::STREAM_PIECE_BYTES)
    }

    /// Whether all of it was forwarded, but for its end to be looked at.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.sent >= self.size_bytes
    }

    /// Whether it goes on with records, behind those that were forwarded.
    #[must_use]
    pub fn is_inside_records(&self) -> bool {
        self.arriving.is_some()
    }

    /// What can be kept once it has ended.
    #[must_use]
    pub fn into_parts(self) -> (Expected, Scratch) {
        (self.expected, self.scratch)
    }

    /// Reads on from where the last call ended, as far as the bytes reach.
    fn walk(&mut self, window: &mut [u8]) -> Result<Option<Progress>, String> {
        let exchange = self.expected.exchange;
        if self.walk.is_none() {
            let start = walk::response_start(exchange, self.size_bytes, window);
            let Some((correlation, body)) = start.map_err(|error| error.to_string())? else {
                return Ok(None);
            };
            self.expected.check_correlation(correlation)?;
            patch(window, RESPONSE_CORRELATION_AT, self.expected.client_correlation);
            self.walk = Some(Walk::response(exchange, self.size_bytes, body));
        }
        let Some(walk) = &mut self.walk else { return Ok(None) };
        let progress = walk.resume(self.sent, window, &mut self.scratch.found);
        let progress = progress.map_err(|error| error.to_string())?;
        match self.scratch.found.trailing {
            0 => Ok(Some(progress)),
            count => Err(walk::WalkError::Trailing { count }.to_string()),
        }
    }

    /// Enters the topic of partition `passed`, if it is another than that of the partition before it.
    fn enter_topic(
        &mut self,
        window: &[u8],
        cluster: &ClusterSnapshot,
    ) -> Result<Option<CurrentTopic>, String> {
        let topics = &self.scratch.found.topics;
        let from = self.topic.map_or(0, |topic| topic.place);
        let ahead = topics.get(from..).unwrap_or_default();
        let begins = |topic: &Topic| index(topic.partitions.first) <= self.passed;
        let Some(last) = ahead.iter().take_while(|topic| begins(topic)).count().checked_sub(1)
        else {
            return Ok(None);
        };
        let place = from.saturating_add(last);
        if self.topic.is_some_and(|topic| topic.place == place) {
            return Ok(self.topic);
        }
        let Some(topic) = topics.get(place) else { return Ok(None) };
        let (key, first) = (key_within(topic, self.sent, window), index(topic.partitions.first));
        let count = index(topic.partition_list.count);
        let name = match (key.name, key.id) {
            (Some(name), _) => Some(name),
            (None, Some(id)) => cluster.topic_name(&id).map(|name| &**name),
            (None, None) => None,
        };
        self.scratch.topic.clear();
        self.scratch.topic.push_str(name.ok_or("it tells of a topic that nobody knows")?);
        let asked = self.check_topics(window, place.saturating_add(1))?;
        self.expected.asked.check_count(asked, count)?;
        self.topic = Some(CurrentTopic { place, asked, first });
        Ok(self.topic)
    }

    /// Checks that the next topics, up to the `end`th, were asked for; which of those asked for the last one is.
    fn check_topics(&mut self, window: &[u8], end: usize) -> Result<usize, String> {
        let mut last = 0;
        for topic in self.scratch.found.topics.get(self.topics_checked..end).unwrap_or_default() {
            last = self.expected.asked.check_topic(key_within(topic, self.sent, window))?;
        }
        self.topics_checked = end;
        Ok(last)
    }

    /// Checks that the partition behind those that were passed was asked for.
    fn check_partition(&self, topic: CurrentTopic, partition: i32) -> Result<(), String> {
        let place = self.passed.saturating_sub(topic.first);
        self.expected.asked.check_partition(topic.asked, place, partition)
    }

    /// Brokers' addresses stand behind the records, where no length can change any more: their tagged field becomes one
    /// that no client knows, with nothing in it, and the client asks for the leader as it does where there is none.
    fn hide_endpoints(&self, window: &mut [u8]) -> Result<(), String> {
        let found = &self.scratch.found;
        for endpoint in &found.endpoints {
            let at = endpoint.element.start;
            let tag = found.tags.iter().find(|tag| tag.body.start <= at && at < tag.body.end);
            let tag = tag.ok_or("it tells of a broker's address amid records")?;
            let number = index(tag.at).checked_sub(self.sent).and_then(|at| at.checked_sub(1));
            let number = number.and_then(|at| window.get_mut(at));
            *number.ok_or("its last bytes are gone")? = UNKNOWN_TAG;
            let body = within(tag.body.start, tag.body.end, self.sent);
            window.get_mut(body).ok_or("its last bytes are gone")?.fill(0);
        }
        Ok(())
    }
}

impl Path {
    /// Whether the answer to a request can be forwarded while it arrives: a fetch of topics that nobody masks, with
    /// nothing refused beside them, all of which may be read now.
    ///
    /// # Errors
    ///
    /// [`Ended`]: the session has ended.
    pub fn may_stream(&self, expected: &Expected) -> Result<bool, Ended> {
        if expected.exchange.api.key != hold::FETCH || expected.refusals.is_some() {
            return Ok(false);
        }
        self.refresh()?;
        let Some(topics) = expected.asked.topics() else { return Ok(false) };
        let (cluster, now) = (self.cluster()?, clock::wall());
        for (key, partitions) in topics {
            let name = match (key.name, &key.id) {
                (Some(name), _) => name,
                (None, Some(id)) => match cluster.topic_name(id) {
                    Some(name) => name,
                    None => return Ok(false),
                },
                (None, None) => return Ok(false),
            };
            if self.plan(name, now).read.is_some() {
                return Ok(false);
            }
            let mut judge = self.judge.borrow_mut();
            if !partitions.iter().all(|partition| judge.reads(name, *partition, now)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Carries what came of a response, `window` from the first byte that was not forwarded on: judges and records it, and
    /// says how much of it may go.
    ///
    /// # Errors
    ///
    /// [`Ended`]: the connection ends, and nothing of `window` reaches the client.
    pub fn carry_piece(&self, stream: &mut Stream, window: &mut [u8]) -> Result<Carried, Ended> {
        let exchange = stream.expected.exchange;
        let unusable = |reason: String| {
            Ended::BrokerResponse(format!("{} v{}: {reason}", exchange.api.name, exchange.version))
        };
        let left = stream.size_bytes.saturating_sub(stream.sent);
        let here = window.len().min(left);
        let window = window.get_mut(..here).unwrap_or_default();
        let Some(progress) = stream.walk(window).map_err(unusable)? else {
            return Ok(Carried::nothing(here.saturating_add(1)));
        };
        self.refresh()?;
        let (cluster, now) = (self.cluster()?, clock::wall());
        let mut work = self.shard.work.borrow_mut();
        let Work { tally, payload: kept_parts, .. } = &mut *work;
        tally.clear();
        let mut payload = kept_parts.take();
        let (mut upto, mut needs, mut unseen) = (stream.sent, 0, 0);
        while let Some(partition) = stream.scratch.found.partitions.get(stream.passed).copied() {
            let is_read = partition.records.at != 0 || partition.element.end != 0;
            let topic = stream.enter_topic(window, &cluster).map_err(unusable)?;
            let Some(topic) = topic.filter(|_| is_read) else { break };
            let (start, end) = (index(partition.records.start), index(partition.records.end));
            if stream.arriving.is_none() {
                stream.check_partition(topic, partition.index).map_err(unusable)?;
            }
            let name = stream.scratch.topic.as_str();
            let plan = self.plan(name, now);
            if start < end {
                self.check_right(&plan, name, partition.index, now)?;
            }
            let is_kept = self.keeps_payload(&plan);
            let arriving = stream.arriving.get_or_insert(Arriving::new(start, end));
            let mut summary = None;
            let reached = arriving
                .read(stream.sent, window, is_kept, &mut summary)
                .map_err(|error| unusable(error.to_string()))?;
            let from = u32::try_from(start.max(stream.sent)).unwrap_or(u32::MAX);
            let to = u32::try_from(reached.upto).unwrap_or(u32::MAX);
            let records = window.get(within(from, to, stream.sent)).unwrap_or_default();
            let kept = if is_kept { records } else { &[] };
            if summary.is_some() || !kept.is_empty() {
                let batches = Batches::of(summary.as_ref(), kept.len());
                tally.batches(name, partition.index, batches);
            }
            if !kept.is_empty() {
                payload.push(kept);
            }
            (upto, needs) = (upto.max(reached.upto), reached.needs);
            if reached.upto < end {
                unseen = if is_kept { 0 } else { arriving.unseen(reached.upto) };
                break;
            }
            stream.passed = stream.passed.saturating_add(1);
            stream.arriving = None;
        }
        if !tally.is_empty() {
            self.record_piece(&stream.expected, tally, &payload)?;
        }
        kept_parts.keep(payload);
        let is_passed = stream.passed == stream.scratch.found.partitions.len();
        let is_last = progress == Progress::Done && is_passed && here == left;
        if is_last {
            let topics = stream.scratch.found.topics.len();
            stream.check_topics(window, topics).map_err(unusable)?;
            stream.hide_endpoints(window).map_err(unusable)?;
            upto = stream.size_bytes;
        }
        let bytes = upto.saturating_sub(std::mem::replace(&mut stream.sent, upto));
        let needs = needs.saturating_sub(upto).max(here.saturating_sub(bytes).saturating_add(1));
        Ok(Carried { bytes, is_last, needs, unseen })
    }

    /// Carries records that lie elsewhere, `here` bytes from the first that was not forwarded on, all of them of the
    /// partition that is under way: judges and records them as [`Path::carry_piece`] does. `look` reads what stands so many
    /// bytes behind the first, and is asked for the headers of batches, in order.
    ///
    /// # Errors
    ///
    /// [`Ended`]: the connection ends, and nothing of what is here reaches the client.
    ///
    /// # Limits
    ///
    /// It looks at [`limits::SPLICE_HEADERS_MAX`] headers.
    pub fn carry_unseen(
        &self,
        stream: &mut Stream,
        here: usize,
        mut look: impl FnMut(usize, &mut [u8]) -> io::Result<()>,
    ) -> Result<Carried, Ended> {
        let exchange = stream.expected.exchange;
        self.refresh()?;
        let now = clock::wall();
        let partition = stream.scratch.found.partitions.get(stream.passed).copied();
        let (Some(partition), Some(arriving)) = (partition, &mut stream.arriving) else {
            return Ok(Carried::nothing(1));
        };
        let name = stream.scratch.topic.as_str();
        let plan = self.plan(name, now);
        self.check_right(&plan, name, partition.index, now)?;
        if self.keeps_payload(&plan) {
            return Ok(Carried::nothing(1));
        }
        let end = stream.sent.saturating_add(here).min(arriving.end());
        let (mut upto, mut summary) = (end, None);
        for looked in 0..=limits::SPLICE_HEADERS_MAX {
            let (at, bytes) = arriving.header();
            if bytes == 0 || at >= end {
                break;
            }
            if looked == limits::SPLICE_HEADERS_MAX || at.saturating_add(bytes) > end {
                upto = at;
                break;
            }
            let mut header = [0; HEADER_BYTES];
            let header = header.get_mut(..bytes).unwrap_or_default();
            look(at.saturating_sub(stream.sent), header).map_err(Ended::Pipe)?;
            arriving.read(at, header, false, &mut summary).map_err(|error| {
                let (name, version) = (exchange.api.name, exchange.version);
                Ended::BrokerResponse(format!("{name} v{version}: {error}"))
            })?;
        }
        let unseen = arriving.unseen(upto);
        if upto == arriving.end() {
            stream.passed = stream.passed.saturating_add(1);
            stream.arriving = None;
        }
        if summary.is_some() {
            let mut work = self.shard.work.borrow_mut();
            work.tally.clear();
            work.tally.batches(name, partition.index, Batches::of(summary.as_ref(), 0));
            self.record_piece(&stream.expected, &work.tally, &[])?;
        }
        let bytes = upto.saturating_sub(std::mem::replace(&mut stream.sent, upto));
        Ok(Carried { bytes, is_last: false, needs: 1, unseen })
    }

    /// Whether records may go on as they are. A mask that begins is a right that ends, too: of seeing them so.
    fn check_right(
        &self,
        plan: &Plan,
        topic: &str,
        partition: i32,
        now: UnixMillis,
    ) -> Result<(), Ended> {
        if plan.read.is_none() && self.judge.borrow_mut().reads(topic, partition, now) {
            return Ok(());
        }
        Err(Ended::RightEnded(topic.to_owned()))
    }

    /// A stream for an answer whose first bytes are here.
    #[must_use]
    pub fn stream(&self, expected: Expected, size_bytes: usize) -> Stream {
        let scratch = self.shard.streams.borrow_mut().pop().unwrap_or_default();
        Stream::new(expected, size_bytes, scratch)
    }

    /// Keeps what a stream that has ended can give to the next.
    pub fn end_stream(&self, stream: Stream) {
        let (expected, scratch) = stream.into_parts();
        self.answered(expected);
        let mut kept = self.shard.streams.borrow_mut();
        if kept.len() < limits::STREAMS_KEPT_MAX {
            kept.push(scratch);
        }
    }
}

impl Arriving {
    /// How many bytes from `upto` on are not worth being here: the rest of the records, where batches are large enough.
    fn unseen(&self, upto: usize) -> usize {
        let is_worth_it = self.batch_bytes() >= limits::SPLICE_BATCH_BYTES_MIN;
        if is_worth_it { self.end().saturating_sub(upto) } else { 0 }
    }
}

/// A tag that no message of Kafka has, of one byte like the one that it replaces.
const UNKNOWN_TAG: u8 = 0x7f;

/// How a topic is named by a frame whose bytes are here from `base` on.
fn key_within<'w>(topic: &Topic, base: usize, window: &'w [u8]) -> TopicKey<'w> {
    let name = (topic.name.at != 0 && !topic.name.null)
        .then(|| window.get(within(topic.name.start, topic.name.end, base)))
        .flatten()
        .and_then(|name| std::str::from_utf8(name).ok());
    let id = (topic.id_at != 0)
        .then(|| window.get(index(topic.id_at).checked_sub(base)?..)?.first_chunk().copied())
        .flatten();
    TopicKey { name, id }
}

/// Where a stretch of a frame lies among the bytes from `base` on; nowhere where it is gone.
fn within(start: u32, end: u32, base: usize) -> std::ops::Range<usize> {
    let gone = usize::MAX;
    index(start).checked_sub(base).unwrap_or(gone)..index(end).checked_sub(base).unwrap_or(gone)
}

#[cfg(test)]
mod tests;
