//! Checks a record log against itself and against its signed heads, without believing the index.
//!
//! What is checked, per shard, from where the log begins: every segment's header and every frame's CRC, entry numbers
//! without gaps, the numbers of each connection's entries without gaps, each segment's end against its successor, and
//! the hash chain against every head. What this proves and what not is in `docs/RECORD_FORMAT.md`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chain::{ChainHash, LogPlace};
use super::decode::EntryView;
use super::drain::SEGMENTS_DIRECTORY;
use super::entry::EntryKind;
use super::heads::{Head, HeadError, HeadsRead, read_heads};
use super::keys::RecordPublicKey;
use super::segment::{Check, Frame, SegmentName};
use super::walk::{Damage, DamageKind, LogWalk, WalkError, WalkStep};

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    All,
    /// From the first signed head in the last segment of each shard: what a gateway checks before it serves.
    Recent,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub sound: bool,
    /// How many segments were read.
    pub segments: u64,
    /// How many entries were read.
    pub entries: u64,
    /// How many bytes were read.
    pub bytes: u64,
    /// How many signed heads were held against the log.
    pub heads: u64,
    /// How many entries lie behind the last head of their shard: no signature covers them yet.
    pub unsealed_entries: u64,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// One thing that a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, for people.
    pub text: String,
    /// Where it is, if it is damage to a segment.
    pub damage: Option<Damage>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing, as after a crash.
    Notice,
    /// The log is not what the gateway wrote.
    Alarm,
}

/// Why a verification could not be done; this says nothing of the log.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file system refused.
    #[error("record log `{path}` cannot be read: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Verifies the log of a data directory, beside a running gateway or without one.
///
/// # Errors
///
/// [`VerifyError::Io`]; whatever is wrong with the log itself is in the report.
pub fn verify(data: &Path, key: &RecordPublicKey, scope: Scope) -> Result<Report, VerifyError> {
    let mut report = Report { sound: true, ..Report::default() };
    let segments = data.join(SEGMENTS_DIRECTORY);
    // Heads first: what is appended while this runs is beyond them, and no alarm.
    let heads = report.read_heads(data, key, scope)?;
    let names = SegmentName::list(&segments)
        .map_err(|source| VerifyError::Io { path: segments.clone(), source })?;
    let promises = Promises::of(&heads);
    let mut shards: BTreeSet<u32> = names.iter().map(|name| name.shard).collect();
    shards.extend(promises.begins.keys().chain(promises.places.keys()));
    for shard in shards {
        let places = promises.places.get(&shard).map_or(&[][..], Vec::as_slice);
        let begin = promises.begins.get(&shard).cloned();
        let begin = begin.unwrap_or_else(|| LogPlace::start(shard));
        let check = ShardCheck::new(&segments, begin, places, scope);
        check.run(&mut report)?;
    }
    Ok(report)
}

/// What all heads together say.
struct Promises {
    begins: BTreeMap<u32, LogPlace>,
    places: BTreeMap<u32, Vec<(u64, LogPlace)>>,
}

impl Promises {
    fn of(heads: &[Head]) -> Self {
        let mut promises = Self { begins: BTreeMap::new(), places: BTreeMap::new() };
        for head in heads {
            for begin in &head.begins {
                promises.begins.insert(begin.shard, begin.clone());
            }
            for place in &head.shards {
                promises.places.entry(place.shard).or_default().push((head.head, place.clone()));
            }
        }
        promises
    }
}

/// The check of one shard's log.
struct ShardCheck<'a> {
    walk: LogWalk,
    promises: &'a [(u64, LogPlace)],
    /// The next number of each connection of the current run.
    ordinals: HashMap<u64, u64>,
    run: Option<[u8; 16]>,
    /// Whether connections may be met in their middle: the run began before the part that is read.
    begun_before: bool,
}

impl<'a> ShardCheck<'a> {
    fn new(
        segments: &Path,
        begin: LogPlace,
        promises: &'a [(u64, LogPlace)],
        scope: Scope,
    ) -> Self {
        let covered = |place: &LogPlace| (place.segment, place.position) > (begin.segment, 0);
        let recent = match scope {
            Scope::All => None,
            Scope::Recent => promises.last().and_then(|(_, last)| {
                promises
                    .iter()
                    .map(|(_, place)| place)
                    .find(|place| place.segment == last.segment && covered(place))
            }),
        };
        let from = recent.cloned().unwrap_or_else(|| begin.clone());
        let first = promises.partition_point(|(_, place)| {
            (place.segment, place.position) <= (from.segment, from.position)
        });
        let begun_before = from.entries > 0;
        Self {
            walk: LogWalk::new(segments, from, Check::Whole),
            promises: promises.get(first..).unwrap_or_default(),
            ordinals: HashMap::new(),
            run: None,
            begun_before,
        }
    }

    fn run(mut self, report: &mut Report) -> Result<(), VerifyError> {
        let mut sealed = self.walk.place().entries;
        loop {
            match self.walk.step() {
                Ok(WalkStep::Entered { header, .. }) => {
                    report.segments = report.segments.saturating_add(1);
                    // Where the part that is read begins within a segment, nobody knows yet whose run it was.
                    if self.run != Some(header.run) {
                        self.ordinals.clear();
                        self.begun_before = self.begun_before && self.run.is_none();
                    }
                    self.run = Some(header.run);
                }
                Ok(WalkStep::Entry(frame)) => self.check_entry(&frame, report),
                Ok(WalkStep::End { tail_bytes }) => {
                    self.check_end(tail_bytes, sealed, report);
                    return Ok(());
                }
                Err(WalkError::Damaged(damage)) => {
                    report.alarm(damage);
                    return Ok(());
                }
                Err(WalkError::Io { path, source }) => {
                    return Err(VerifyError::Io { path, source });
                }
            }
            if !self.check_promise(&mut sealed, report) {
                return Ok(());
            }
        }
    }

    fn check_entry(&mut self, frame: &Frame, report: &mut Report) {
        report.entries = report.entries.saturating_add(1);
        report.bytes = report.bytes.saturating_add(frame.size_bytes());
        let Ok(view) = EntryView::parse(frame.body()) else { return };
        if let Err(error) = view.without_payload() {
            report.alarm(self.damage(DamageKind::Altered(error.to_string())));
        }
        let (connection, ordinal) = (view.head.connection.0, view.head.ordinal);
        let expected = match self.ordinals.get(&connection) {
            Some(next) => *next,
            None if self.begun_before => ordinal,
            None => 0,
        };
        if ordinal != expected {
            let text = format!(
                "shard {}, entry {}: connection {connection} goes on with its entry {ordinal}, {expected} must come",
                self.walk.place().shard,
                view.head.number.0
            );
            report.find(Severity::Alarm, text, None);
        }
        if view.head.kind == EntryKind::ConnectionClosed {
            self.ordinals.remove(&connection);
        } else {
            self.ordinals.insert(connection, ordinal.saturating_add(1));
        }
    }

    /// Holds heads against the chain as the walk comes to them. False ends the walk: the log is another one.
    fn check_promise(&mut self, sealed: &mut u64, report: &mut Report) -> bool {
        let place = self.walk.place();
        while let Some(((head, promise), rest)) = self.promises.split_first() {
            if (promise.segment, promise.position) > (place.segment, place.position) {
                return true;
            }
            if promise != place {
                report.alarm(self.damage(DamageKind::Unsigned { head: *head }));
                return false;
            }
            report.heads = report.heads.saturating_add(1);
            *sealed = promise.entries;
            self.promises = rest;
        }
        true
    }

    fn check_end(&self, tail_bytes: u64, sealed: u64, report: &mut Report) {
        if let Some((head, _)) = self.promises.first() {
            report.alarm(self.damage(DamageKind::Unsigned { head: *head }));
            return;
        }
        let place = self.walk.place();
        let unsealed = place.entries.saturating_sub(sealed);
        report.unsealed_entries = report.unsealed_entries.saturating_add(unsealed);
        if tail_bytes > 0 {
            let text = format!(
                "shard {}, segment {}: {tail_bytes} bytes behind the last whole entry, being written or torn by a crash",
                place.shard, place.segment
            );
            report.find(Severity::Notice, text, None);
        }
    }

    fn damage(&self, what: DamageKind) -> Damage {
        let place = self.walk.place();
        let (shard, segment, position) = (place.shard, place.segment, place.position);
        Damage { shard, segment, position, what }
    }
}

impl Report {
    fn read_heads(
        &mut self,
        data: &Path,
        key: &RecordPublicKey,
        scope: Scope,
    ) -> Result<Vec<Head>, VerifyError> {
        let read = match scope {
            Scope::All => HeadsRead::All,
            Scope::Recent => HeadsRead::Recent,
        };
        let heads: Vec<(Head, ChainHash)> = match read_heads(data, key, read) {
            Ok((heads, _)) => heads,
            Err(HeadError::Io { path, source }) => return Err(VerifyError::Io { path, source }),
            Err(error @ HeadError::Unsound { .. }) => {
                self.find(Severity::Alarm, error.to_string(), None);
                Vec::new()
            }
        };
        if heads.is_empty() {
            let text = "no signed head to hold the log against".to_owned();
            self.find(Severity::Notice, text, None);
        }
        Ok(heads.into_iter().map(|(head, _)| head).collect())
    }

    fn alarm(&mut self, damage: Damage) {
        self.find(Severity::Alarm, damage.to_string(), Some(damage));
    }

    fn find(&mut self, severity: Severity, text: String, damage: Option<Damage>) {
        self.sound &= severity < Severity::Alarm;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { severity, text, damage });
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.sound { "sound" } else { "NOT SOUND" };
        writeln!(formatter, "the record log is {verdict}")?;
        writeln!(
            formatter,
            "  {} entries in {} segments ({} bytes), {} signed heads, {} entries behind the last one",
            self.entries, self.segments, self.bytes, self.heads, self.unsealed_entries
        )?;
        for finding in &self.findings {
            let word = match finding.severity {
                Severity::Notice => "notice",
                Severity::Alarm => "ALARM",
            };
            writeln!(formatter, "  {word}: {}", finding.text)?;
        }
        Ok(())
    }
}

/// The most findings that a report lists; one wrong file makes many.
const FINDINGS_MAX: usize = 1_000;

#[cfg(test)]
mod tests;
