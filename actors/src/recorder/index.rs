//! What the index knows of the log, as plain values: rows of sessions, postings, tickets and segments.
//!
//! A [`Turn`] collects these from entries as a walk passes them. The store writes a turn into RocksDB in one batch;
//! replay does the same in memory for what the store has not drained yet. All of it can be made again from segments.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::vocabulary::SessionId;

use super::chain::LogPlace;
use super::decode::{DecodeError, EntryView};
use super::entry::{Entry, EntryKind, Outcome};
use super::segment::{Frame, SegmentName};
use super::walk::WalkStep;

/// The most topics that a session's row names.
pub const SESSION_TOPICS_MAX: usize = 1_000;

/// The most addresses that a session's row names.
pub const SESSION_ADDRESSES_MAX: usize = 64;

/// Where one entry lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Posting {
    /// When it happened, in microseconds since the Unix epoch.
    pub wall_micros: i64,
    /// The segment.
    pub segment: SegmentName,
    /// Where its frame begins.
    pub position: u64,
    /// How many bytes its frame has.
    pub size: u32,
}

/// What a session did, in sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSummary {
    /// Its id, as 32 hexadecimal digits.
    pub session: String,
    /// Whose it is.
    pub principal: String,
    /// The first client id that it named.
    pub client_id: String,
    /// The listener that it came through.
    pub listener: String,
    /// Where it came from; cut at [`SESSION_ADDRESSES_MAX`].
    pub addresses: BTreeSet<String>,
    /// Its first entry, in microseconds since the Unix epoch.
    pub first_micros: i64,
    /// Its last entry, in microseconds since the Unix epoch.
    pub last_micros: i64,
    /// Whether it ended.
    pub ended: bool,
    /// How many entries it has.
    pub entries: u64,
    /// How many times a connection logged in, or again.
    pub logins: u64,
    /// How many requests it made.
    pub requests: u64,
    /// How many entries say that something was refused.
    pub denials: u64,
    /// How many values were masked.
    pub masked: u64,
    /// How many values were withheld.
    pub withheld: u64,
    /// Topics that records came from or went to; cut at [`SESSION_TOPICS_MAX`].
    pub topics: BTreeMap<String, TopicCounts>,
    /// Per shard, the first and last segment that it is in.
    pub segments: BTreeMap<u32, (u64, u64)>,
}

/// Records and bytes of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicCounts {
    /// Records delivered to the client.
    pub delivered_records: u64,
    /// Bytes delivered to the client, as recorded.
    pub delivered_bytes: u64,
    /// Records produced by the client.
    pub produced_records: u64,
    /// Bytes produced by the client, as recorded.
    pub produced_bytes: u64,
}

/// What one segment holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentFacts {
    /// The chain before its header.
    pub before: LogPlace,
    /// When it was made, in microseconds since the Unix epoch.
    pub created_micros: i64,
}

/// What a walk saw since the index was last written.
#[derive(Debug, Default)]
pub struct Turn {
    /// What each session did.
    pub sessions: HashMap<SessionId, SessionTurn>,
    /// Entries that belong to tickets.
    pub tickets: Vec<(String, Posting)>,
    /// Segments that were entered.
    pub segments: Vec<SegmentFacts>,
    /// How many entries were passed.
    pub entries: u64,
    /// How many bytes were passed.
    pub bytes: u64,
}

/// What one session did in one turn.
#[derive(Clone, Debug, Default)]
pub struct SessionTurn {
    /// In sum.
    pub summary: SessionSummary,
    /// Where its entries lie.
    pub postings: Vec<Posting>,
}

impl Turn {
    /// Takes what a walk of `shard` came upon.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] where an entry is none.
    pub fn take(&mut self, shard: u32, segment: u64, step: &WalkStep) -> Result<(), DecodeError> {
        match step {
            WalkStep::Entered { header, before } => {
                let (before, created_micros) = (before.clone(), header.created_micros);
                self.segments.push(SegmentFacts { before, created_micros });
                Ok(())
            }
            WalkStep::Entry(frame) => {
                self.take_entry(SegmentName { shard, sequence: segment }, frame)
            }
            WalkStep::End { .. } => Ok(()),
        }
    }

    fn take_entry(&mut self, segment: SegmentName, frame: &Frame) -> Result<(), DecodeError> {
        let view = EntryView::parse(frame.body())?;
        let posting = Posting {
            wall_micros: view.head.wall_micros,
            segment,
            position: frame.position,
            size: u32::try_from(frame.size_bytes()).unwrap_or(u32::MAX),
        };
        let ticket = view.ticket()?;
        if !ticket.is_empty() {
            self.tickets.push((ticket.to_owned(), posting));
        }
        let turn = self.sessions.entry(view.head.session).or_default();
        turn.postings.push(posting);
        turn.summary.take(&view, segment)?;
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add(u64::from(posting.size));
        Ok(())
    }
}

impl SessionSummary {
    /// Adds one entry.
    fn take(&mut self, view: &EntryView<'_>, segment: SegmentName) -> Result<(), DecodeError> {
        let head = view.head;
        if self.entries == 0 {
            self.session = head.session.to_string();
            (self.first_micros, self.last_micros) = (head.wall_micros, head.wall_micros);
        }
        self.first_micros = self.first_micros.min(head.wall_micros);
        self.last_micros = self.last_micros.max(head.wall_micros);
        self.entries = self.entries.saturating_add(1);
        let names_somebody = matches!(
            head.kind,
            EntryKind::SessionOpened | EntryKind::ConnectionOpened | EntryKind::LoginAccepted
        );
        if self.principal.is_empty() || self.client_id.is_empty() || names_somebody {
            self.take_names(&view.without_payload()?);
        }
        let denied = matches!(head.outcome, Outcome::Deny | Outcome::Partial);
        self.denials = self.denials.saturating_add(u64::from(denied));
        let (masked, withheld) = view.masked_and_withheld();
        self.masked = self.masked.saturating_add(masked);
        self.withheld = self.withheld.saturating_add(withheld);
        match head.kind {
            EntryKind::LoginAccepted => self.logins = self.logins.saturating_add(1),
            EntryKind::SessionClosed => self.ended = true,
            EntryKind::Request => self.requests = self.requests.saturating_add(1),
            EntryKind::Delivered | EntryKind::Produced => self.take_topics(view),
            _ => {}
        }
        let range =
            self.segments.entry(segment.shard).or_insert((segment.sequence, segment.sequence));
        *range = (range.0.min(segment.sequence), range.1.max(segment.sequence));
        Ok(())
    }

    fn take_names(&mut self, entry: &Entry) {
        let fill = |place: &mut String, text: &Option<String>| {
            if place.is_empty()
                && let Some(text) = text
            {
                place.clone_from(text);
            }
        };
        fill(&mut self.principal, &entry.principal);
        fill(&mut self.client_id, &entry.client_id);
        fill(&mut self.listener, &entry.listener);
        if let Some(address) = entry.address
            && self.addresses.len() < SESSION_ADDRESSES_MAX
        {
            self.addresses.insert(address.ip().to_string());
        }
    }

    fn take_topics(&mut self, view: &EntryView<'_>) {
        for resource in view.resources() {
            let room = self.topics.len() < SESSION_TOPICS_MAX;
            if !self.topics.contains_key(resource.name) {
                if !room {
                    continue;
                }
                self.topics.insert(resource.name.to_owned(), TopicCounts::default());
            }
            let Some(counts) = self.topics.get_mut(resource.name) else { continue };
            let records = resource.records.unwrap_or(0);
            let bytes = u64::from(resource.payload_bytes.unwrap_or(0));
            counts.add(&match view.head.kind {
                EntryKind::Produced => TopicCounts {
                    produced_records: records,
                    produced_bytes: bytes,
                    ..TopicCounts::default()
                },
                _ => TopicCounts {
                    delivered_records: records,
                    delivered_bytes: bytes,
                    ..TopicCounts::default()
                },
            });
        }
    }

    /// Adds what the same session did later.
    pub fn merge(&mut self, later: &Self) {
        if self.entries == 0 {
            self.clone_from(later);
            return;
        }
        for (place, text) in [
            (&mut self.principal, &later.principal),
            (&mut self.client_id, &later.client_id),
            (&mut self.listener, &later.listener),
        ] {
            if place.is_empty() {
                place.clone_from(text);
            }
        }
        self.addresses.extend(later.addresses.iter().cloned());
        while self.addresses.len() > SESSION_ADDRESSES_MAX {
            self.addresses.pop_last();
        }
        self.first_micros = self.first_micros.min(later.first_micros);
        self.last_micros = self.last_micros.max(later.last_micros);
        self.ended |= later.ended;
        for (sum, more) in [
            (&mut self.entries, later.entries),
            (&mut self.logins, later.logins),
            (&mut self.requests, later.requests),
            (&mut self.denials, later.denials),
            (&mut self.masked, later.masked),
            (&mut self.withheld, later.withheld),
        ] {
            *sum = sum.saturating_add(more);
        }
        for (topic, counts) in &later.topics {
            if self.topics.len() < SESSION_TOPICS_MAX || self.topics.contains_key(topic) {
                self.topics.entry(topic.clone()).or_default().add(counts);
            }
        }
        for (shard, range) in &later.segments {
            let mine = self.segments.entry(*shard).or_insert(*range);
            *mine = (mine.0.min(range.0), mine.1.max(range.1));
        }
    }
}

impl TopicCounts {
    fn add(&mut self, more: &Self) {
        for (sum, more) in [
            (&mut self.delivered_records, more.delivered_records),
            (&mut self.delivered_bytes, more.delivered_bytes),
            (&mut self.produced_records, more.produced_records),
            (&mut self.produced_bytes, more.produced_bytes),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// Keys and values of the rows, as RocksDB holds them: big-endian, so that ranges are contiguous.
pub(super) mod rows {
    use super::{Posting, SegmentName, SessionId};

    /// How far each shard was drained: [`super::LogPlace`] as JSON.
    pub(in super::super) const PLACE: u8 = b'p';
    /// Postings: shard, segment, session, position of the first.
    pub(in super::super) const POSTINGS: u8 = b'e';
    /// Sessions: [`super::SessionSummary`] as JSON.
    pub(in super::super) const SESSION: u8 = b's';
    /// Segments: [`super::SegmentFacts`] as JSON.
    pub(in super::super) const SEGMENT: u8 = b'g';
    /// Tickets: length and text of the ticket, shard, segment, position.
    pub(in super::super) const TICKET: u8 = b't';

    pub(in super::super) fn place(shard: u32) -> Vec<u8> {
        [&[PLACE][..], &shard.to_be_bytes()].concat()
    }

    pub(in super::super) fn session(session: SessionId) -> Vec<u8> {
        [&[SESSION][..], &session.0].concat()
    }

    pub(in super::super) fn segment(row: u8, name: SegmentName) -> Vec<u8> {
        [&[row][..], &name.shard.to_be_bytes(), &name.sequence.to_be_bytes()].concat()
    }

    pub(in super::super) fn postings(name: SegmentName, session: SessionId) -> Vec<u8> {
        [&segment(POSTINGS, name)[..], &session.0].concat()
    }

    pub(in super::super) fn ticket(ticket: &str) -> Vec<u8> {
        let size = u32::try_from(ticket.len()).unwrap_or(u32::MAX);
        [&[TICKET][..], &size.to_be_bytes(), ticket.as_bytes()].concat()
    }

    /// 20 bytes a posting: the segment is in the key.
    pub(in super::super) fn put_posting(value: &mut Vec<u8>, posting: &Posting) {
        value.extend_from_slice(&posting.wall_micros.to_be_bytes());
        value.extend_from_slice(&posting.position.to_be_bytes());
        value.extend_from_slice(&posting.size.to_be_bytes());
    }

    pub(in super::super) fn take_postings(
        segment: SegmentName,
        value: &[u8],
    ) -> impl Iterator<Item = Posting> + '_ {
        let (rows, _) = value.as_chunks::<20>();
        rows.iter().filter_map(move |row| {
            let (wall, rest) = row.split_first_chunk()?;
            let (position, size) = rest.split_first_chunk()?;
            Some(Posting {
                wall_micros: i64::from_be_bytes(*wall),
                segment,
                position: u64::from_be_bytes(*position),
                size: u32::from_be_bytes(size.try_into().ok()?),
            })
        })
    }
}
