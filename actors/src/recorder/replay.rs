//! Reads sessions back: who was there, and what each of them did, in order, with the time between.
//!
//! A [`RecordLog`] looks at the index beside a running gateway or without one, and reads what the store has not
//! drained yet from the segments' ends itself, so the newest acknowledged entry is always there. Where there is no
//! index, all of it comes from the segments.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::vocabulary::SessionId;

use super::chain::LogPlace;
use super::decode::DecodeError;
use super::drain::SEGMENTS_DIRECTORY;
use super::entry::{Entry, EntryResource};
use super::index::{Posting, SessionSummary, Turn};
use super::segment::{Check, SegmentError, SegmentName, SegmentReader};
use super::store::{Index, StoreError};
use super::walk::{Damage, LogWalk, WalkError, WalkStep};

/// Why a session cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file system refused.
    #[error("record log `{path}` cannot be read: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] StoreError),
    /// A segment cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// An entry is not where the index says, or is none.
    #[error(
        "entry at byte {position} of segment `{segment}` cannot be read, run `sluicegate verify`: {reason}"
    )]
    Entry {
        /// The segment's file name.
        segment: String,
        /// Where the entry must be.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// There is no such session.
    #[error("no session `{0}` in this record log")]
    NoSession(SessionId),
}

/// The record log of a data directory, to be read.
#[derive(Debug)]
pub struct RecordLog {
    segments: PathBuf,
    index: Option<Index>,
    undrained: Turn,
    damage: Vec<Damage>,
}

/// An entry in its place in a timeline.
#[derive(Clone, Debug)]
pub struct TimedEntry {
    /// The entry.
    pub entry: Entry,
    /// The shard that wrote it.
    pub shard: u32,
    /// How long after the timeline's first entry it happened.
    pub since_start: Duration,
    /// How long after the entry before it.
    pub since_previous: Duration,
}

/// Entries in the order in which they happened, read one at a time.
#[derive(Debug)]
pub struct Timeline {
    segments: PathBuf,
    postings: std::vec::IntoIter<Posting>,
    readers: BTreeMap<SegmentName, SegmentReader>,
    started: Option<i64>,
    last: i64,
}

impl RecordLog {
    /// Opens the log for reading, as it is now.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Io`] or [`ReplayError::Index`]. Damage is no error: see [`RecordLog::damage`].
    pub fn open(data: &Path) -> Result<Self, ReplayError> {
        let segments = data.join(SEGMENTS_DIRECTORY);
        let index = Index::look(data);
        let mut places: HashMap<u32, LogPlace> = HashMap::new();
        if let Some(index) = &index {
            places.extend(index.places()?.into_iter().map(|place| (place.shard, place)));
        }
        let names = SegmentName::list(&segments)
            .map_err(|source| ReplayError::Io { path: segments.clone(), source })?;
        let mut log = Self { segments, index, undrained: Turn::default(), damage: Vec::new() };
        for row in names.chunk_by(|one, other| one.shard == other.shard) {
            let Some(first) = row.first() else { continue };
            let place = match places.remove(&first.shard) {
                Some(place) => place,
                None => log.beginning(*first)?,
            };
            log.read_undrained(place)?;
        }
        Ok(log)
    }

    /// What is wrong with the log, where reading came upon it: entries behind it are missing here.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// All sessions, the oldest first.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Index`].
    pub fn sessions(&self) -> Result<Vec<SessionSummary>, ReplayError> {
        let mut sessions: HashMap<String, SessionSummary> = HashMap::new();
        if let Some(index) = &self.index {
            for summary in index.sessions()? {
                sessions.insert(summary.session.clone(), summary);
            }
        }
        for turn in self.undrained.sessions.values() {
            let summary = sessions.entry(turn.summary.session.clone()).or_default();
            summary.merge(&turn.summary);
        }
        sessions.remove(&SessionId([0; 16]).to_string());
        let mut sessions: Vec<SessionSummary> = sessions.into_values().collect();
        sessions.sort_by(|one, other| {
            (one.first_micros, &one.session).cmp(&(other.first_micros, &other.session))
        });
        Ok(sessions)
    }

    /// One session; the session of zeros is what the control plane and strangers did.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Index`], or [`ReplayError::NoSession`].
    pub fn session(&self, session: SessionId) -> Result<SessionSummary, ReplayError> {
        let mut found = SessionSummary::default();
        if let Some(summary) =
            self.index.as_ref().map(|index| index.session(session)).transpose()?
        {
            found = summary.unwrap_or_default();
        }
        if let Some(turn) = self.undrained.sessions.get(&session) {
            found.merge(&turn.summary);
        }
        if found.entries == 0 { Err(ReplayError::NoSession(session)) } else { Ok(found) }
    }

    /// Everything that a session did.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Index`], or [`ReplayError::NoSession`].
    pub fn timeline(&self, session: SessionId) -> Result<Timeline, ReplayError> {
        let mut postings = match &self.index {
            Some(index) => index.postings(session)?,
            None => Vec::new(),
        };
        if let Some(turn) = self.undrained.sessions.get(&session) {
            postings.extend(&turn.postings);
        }
        if postings.is_empty() {
            return Err(ReplayError::NoSession(session));
        }
        Ok(Timeline::new(&self.segments, postings))
    }

    /// Everything that happened to a ticket; empty where there is none.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Index`].
    pub fn ticket(&self, ticket: &str) -> Result<Timeline, ReplayError> {
        let mut postings = match &self.index {
            Some(index) => index.ticket(ticket)?,
            None => Vec::new(),
        };
        let undrained = self.undrained.tickets.iter();
        postings.extend(undrained.filter(|(name, _)| name == ticket).map(|(_, posting)| *posting));
        Ok(Timeline::new(&self.segments, postings))
    }

    /// Without an index: before the first segment that is there, whatever may have been dropped before it.
    fn beginning(&self, first: SegmentName) -> Result<LogPlace, ReplayError> {
        let start = LogPlace::start(first.shard);
        match SegmentReader::open(&self.segments, first, Check::Whole) {
            Ok(reader) => {
                let entries = reader.header().first.0;
                Ok(LogPlace { segment: first.sequence, entries, ..start })
            }
            Err(SegmentError::Header { .. }) => Ok(LogPlace { segment: first.sequence, ..start }),
            Err(error) => Err(error.into()),
        }
    }

    fn read_undrained(&mut self, place: LogPlace) -> Result<(), ReplayError> {
        let shard = place.shard;
        let mut walk = LogWalk::new(&self.segments, place, Check::Whole);
        loop {
            match walk.step() {
                Ok(WalkStep::End { .. }) => return Ok(()),
                Ok(step) => {
                    let segment = walk.place().segment;
                    let name = SegmentName { shard, sequence: segment };
                    self.undrained
                        .take(shard, segment, &step)
                        .map_err(|error| unreadable(name, walk.place().position, &error))?;
                }
                Err(WalkError::Damaged(damage)) => {
                    self.damage.push(damage);
                    return Ok(());
                }
                Err(WalkError::Io { path, source }) => {
                    return Err(ReplayError::Io { path, source });
                }
            }
        }
    }
}

impl Timeline {
    /// How many entries are still to come.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.postings.len()
    }

    /// Shards are merged by wall clock; within a shard the order of the log holds even where the clock stepped back.
    fn new(segments: &Path, mut postings: Vec<Posting>) -> Self {
        postings.sort_unstable_by_key(|posting| (posting.segment, posting.position));
        postings.dedup();
        let mut latest = i64::MIN;
        let mut shard = None;
        for posting in &mut postings {
            if shard.replace(posting.segment.shard) != Some(posting.segment.shard) {
                latest = i64::MIN;
            }
            latest = latest.max(posting.wall_micros);
            posting.wall_micros = latest;
        }
        postings.sort_by_key(|posting| posting.wall_micros);
        Self {
            segments: segments.to_owned(),
            postings: postings.into_iter(),
            readers: BTreeMap::new(),
            started: None,
            last: 0,
        }
    }

    fn read(&mut self, posting: &Posting) -> Result<TimedEntry, ReplayError> {
        let name = posting.segment;
        if !self.readers.contains_key(&name) {
            if self.readers.len() >= OPEN_SEGMENTS_MAX {
                self.readers.pop_first();
            }
            let reader = SegmentReader::open(&self.segments, name, Check::Whole)?;
            self.readers.insert(name, reader);
        }
        let frame = match self.readers.get_mut(&name) {
            Some(reader) => reader.entry(posting.position, posting.size)?,
            None => None,
        };
        let body = frame.ok_or_else(|| ReplayError::Entry {
            segment: name.file_name(),
            position: posting.position,
            reason: "its bytes were altered".into(),
        })?;
        let entry =
            Entry::decode(&body).map_err(|error| unreadable(name, posting.position, &error))?;
        let at = posting.wall_micros;
        let started = *self.started.get_or_insert(at);
        let previous = std::mem::replace(&mut self.last, at);
        let previous = if previous == 0 { at } else { previous };
        let between =
            |from: i64| Duration::from_micros(u64::try_from(at.saturating_sub(from)).unwrap_or(0));
        let (since_start, since_previous) = (between(started), between(previous));
        Ok(TimedEntry { entry, shard: name.shard, since_start, since_previous })
    }
}

impl Iterator for Timeline {
    type Item = Result<TimedEntry, ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        let posting = self.postings.next()?;
        Some(self.read(&posting))
    }
}

impl TimedEntry {
    /// How long to wait before showing this entry, at `speed` times the original pace; not at all where the speed is
    /// not above zero. No wait is longer than a minute.
    #[must_use]
    pub fn pause(&self, speed: f64) -> Duration {
        if speed > 0.0 {
            let seconds = self.since_previous.as_secs_f64() / speed;
            Duration::try_from_secs_f64(seconds).unwrap_or(PAUSE_MAX).min(PAUSE_MAX)
        } else {
            Duration::ZERO
        }
    }

    /// The entry as JSON, with `records` in each resource that has a part of the payload: what `decode` makes of it.
    #[must_use]
    pub fn to_json(&self, decode: &mut dyn FnMut(&EntryResource, &[u8]) -> Vec<Value>) -> Value {
        let mut value = json!(self.entry);
        let parts: Vec<_> = self.entry.payload_parts().collect();
        let mut parts = parts.iter();
        if let Some(resources) = value.get_mut("resources").and_then(Value::as_array_mut) {
            for (resource, owned) in resources.iter_mut().zip(&self.entry.resources) {
                if owned.payload_bytes.is_none() {
                    continue;
                }
                let Some((of, part)) = parts.next() else { break };
                if let Some(fields) = resource.as_object_mut() {
                    fields.insert("records".into(), Value::Array(decode(of, part)));
                    fields.insert("record_count".into(), json!(owned.records));
                }
            }
        }
        if let Some(fields) = value.as_object_mut() {
            fields.insert("time".into(), Value::String(time_text(self.entry.wall_micros)));
            fields.insert("shard".into(), json!(self.shard));
            fields.insert("since_start_micros".into(), json!(self.since_start.as_micros()));
        }
        value
    }

    /// The entry as lines for a terminal: one of its own, then those that `decode` makes of each resource's part of
    /// the payload, indented. Nothing in them moves the cursor or changes colours.
    #[must_use]
    pub fn to_lines(
        &self,
        decode: &mut dyn FnMut(&EntryResource, &[u8]) -> Vec<String>,
    ) -> Vec<String> {
        let entry = &self.entry;
        let mut line = format!(
            "{} +{:.3}s {}",
            time_text(entry.wall_micros),
            self.since_start.as_secs_f64(),
            entry.kind.name()
        );
        let mut word = |text: String| {
            line.push(' ');
            line.push_str(&text);
        };
        if let Some(request) = &entry.request {
            word(format!("{} v{}", request.name, request.version));
        }
        if entry.outcome != super::entry::Outcome::Undecided {
            word(entry.outcome.name().into());
        }
        for resource in entry.resources.iter().take(LINE_RESOURCES_MAX) {
            word(resource_text(resource));
        }
        if let Some(more) = entry.resources.len().checked_sub(LINE_RESOURCES_MAX).filter(|n| *n > 0)
        {
            word(format!("and {more} more"));
        }
        for masked in &entry.masked {
            word(format!("masked {}:{}", masked.label, masked.count));
        }
        if entry.withheld > 0 {
            word(format!("withheld:{}", entry.withheld));
        }
        if entry.error_code != 0 {
            word(format!("error {}", entry.error_code));
        }
        for (name, text) in [("ticket", &entry.ticket), ("", &entry.text)] {
            if let Some(text) = text {
                word(if name.is_empty() {
                    format!("\"{text}\"")
                } else {
                    format!("{name} {text}")
                });
            }
        }
        let mut lines = vec![printable(&line)];
        for (resource, part) in entry.payload_parts() {
            let decoded = decode(resource, &part);
            lines.extend(decoded.iter().map(|record| format!("    {}", printable(record))));
        }
        lines
    }
}

/// A text without control characters and without marks that turn its direction: they are shown as `\u{…}`.
#[must_use]
pub fn printable(text: &str) -> String {
    let harmful = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut shown, character| {
        if harmful(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
        shown
    })
}

/// An instant as RFC 3339 has it, UTC, or its number where no calendar reaches.
#[must_use]
pub fn time_text(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros)
        .map_or_else(|_| micros.to_string(), |time| format!("{time:.6}"))
}

/// The same to the second, for tables.
#[must_use]
pub fn second_text(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros)
        .map_or_else(|_| micros.to_string(), |time| format!("{time:.0}"))
}

fn resource_text(resource: &EntryResource) -> String {
    let mut text = resource.name.clone();
    if let Some(index) = resource.partition {
        text.push_str(&format!("-{index}"));
    }
    if let Some(positions) = resource.positions {
        text.push_str(&format!("@{}..{}", positions.first, positions.last));
    }
    if resource.outcome == super::entry::Outcome::Deny
        || resource.outcome == super::entry::Outcome::Hold
    {
        text.push_str(&format!("[{}]", resource.outcome.name()));
    }
    if !resource.policies.is_empty() {
        text.push_str(&format!("({})", resource.policies.join(",")));
    }
    text
}

fn unreadable(segment: SegmentName, position: u64, error: &DecodeError) -> ReplayError {
    ReplayError::Entry { segment: segment.file_name(), position, reason: error.to_string() }
}

/// Segments that a timeline keeps open at a time.
const OPEN_SEGMENTS_MAX: usize = 16;

/// Resources that an entry's own line names.
const LINE_RESOURCES_MAX: usize = 8;

/// The longest wait between two entries of a replay.
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
