//! A walk along one shard's log, over the borders of segments, checking what the log says of itself.
//!
//! Store, verification and replay all read the log this way, so they agree on what is sound: entry numbers without
//! gaps, segments without gaps, each segment ending where its successor says that it ended.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chain::LogPlace;
use super::decode::EntryView;
use super::segment::{Check, Frame, SegmentError, SegmentHeader, SegmentName, SegmentReader, Step};

/// What is wrong with a log, at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("shard {shard}, segment {segment}, byte {position}: {what}")]
pub struct Damage {
    /// The shard.
    pub shard: u32,
    /// The segment's sequence.
    pub segment: u64,
    /// The byte in the segment.
    pub position: u64,
    /// What it is.
    pub what: DamageKind,
}

/// Kinds of damage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum DamageKind {
    /// Bytes were altered.
    #[error("altered bytes: {0}")]
    Altered(String),
    /// A segment is gone.
    #[error("the segment is missing")]
    Missing,
    /// A segment ends elsewhere than its successor says.
    #[error("the segment ends here, its successor says that it ended at byte {expected}")]
    Cut {
        /// Where it ended when its successor was begun.
        expected: u64,
    },
    /// Entries are missing, or come twice.
    #[error("entry {found} stands where {expected} must")]
    Gap {
        /// The number that must come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The log is shorter than, or differs from, what was signed.
    #[error("the log differs from its signed head {head}")]
    Unsigned {
        /// The head's number.
        head: u64,
    },
}

/// Why a walk cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The log is damaged.
    #[error("the record log is damaged: {0}")]
    Damaged(Damage),
    /// The file system refused, which says nothing of the log.
    #[error("record log `{path}` cannot be read: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What a walk came upon.
#[derive(Clone, Debug)]
pub enum WalkStep {
    /// It is behind the header of a segment; the place before it is the segment's beginning.
    Entered {
        /// What the segment says of itself.
        header: Box<SegmentHeader>,
        /// The chain before it.
        before: LogPlace,
    },
    /// It passed an entry.
    Entry(Frame),
    /// It is at the end of what is written so far.
    End {
        /// Bytes behind the last whole entry: being written, or torn by a crash.
        tail_bytes: u64,
    },
}

/// A walk along one shard's log.
#[derive(Debug)]
pub struct LogWalk {
    directory: PathBuf,
    place: LogPlace,
    reader: Option<SegmentReader>,
    check: Check,
}

impl LogWalk {
    /// Begins at a place that was reached before, or at [`LogPlace::start`].
    #[must_use]
    pub fn new(segments: &Path, place: LogPlace, check: Check) -> Self {
        Self { directory: segments.to_owned(), place, reader: None, check }
    }

    /// Checks this much from now on.
    pub fn set_check(&mut self, check: Check) {
        self.check = check;
        if let Some(reader) = &mut self.reader {
            reader.set_check(check);
        }
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &LogPlace {
        &self.place
    }

    /// The segment that it is in, once it is in one.
    #[must_use]
    pub fn reader(&self) -> Option<&SegmentReader> {
        self.reader.as_ref()
    }

    /// Goes one step. At the end it may be asked again: the log may have grown.
    ///
    /// # Errors
    ///
    /// [`WalkError`]; the walk stays where it was.
    pub fn step(&mut self) -> Result<WalkStep, WalkError> {
        if self.reader.is_none() {
            if self.place.position == 0 {
                return self.enter(self.place.segment, None);
            }
            self.reader = Some(self.reopen()?);
        }
        match self.read()? {
            Step::Frame(frame) => self.pass(frame),
            Step::End => self.leave(0),
            Step::Tail { size, .. } => self.leave(size),
        }
    }

    fn pass(&mut self, frame: Frame) -> Result<WalkStep, WalkError> {
        let view = match EntryView::parse(frame.body()) {
            Ok(view) => view,
            Err(error) => return Err(self.damage(DamageKind::Altered(error.to_string()))),
        };
        if view.head.number != self.place.next() {
            let (expected, found) = (self.place.entries, view.head.number.0);
            return Err(self.damage(DamageKind::Gap { expected, found }));
        }
        self.place.pass(&frame);
        Ok(WalkStep::Entry(frame))
    }

    /// At the end of a segment: on to the next one where it exists.
    fn leave(&mut self, tail_bytes: u64) -> Result<WalkStep, WalkError> {
        let following = self.place.segment.saturating_add(1);
        if self.following(following)?.is_none() {
            return Ok(WalkStep::End { tail_bytes });
        }
        // The successor may have appeared after this segment was seen to end, with entries between.
        match self.read()? {
            Step::Frame(frame) => self.pass(frame),
            Step::End | Step::Tail { .. } => self.enter(following, Some(self.place.position)),
        }
    }

    /// Enters the first segment from `from` on. All that it passes over must be torn at its creation.
    fn enter(&mut self, from: u64, ended: Option<u64>) -> Result<WalkStep, WalkError> {
        let Some(header) = self.following(from)? else {
            return Ok(WalkStep::End { tail_bytes: 0 });
        };
        let name = header.name;
        for sequence in from..name.sequence {
            let passed = SegmentName { sequence, ..name };
            if !self.directory.join(passed.file_name()).exists() {
                let (shard, position) = (name.shard, 0);
                let what = DamageKind::Missing;
                return Err(WalkError::Damaged(Damage {
                    shard,
                    segment: sequence,
                    position,
                    what,
                }));
            }
        }
        if let Some(expected) = ended.and(Some(header.previous_end))
            && expected != self.place.position
        {
            return Err(self.damage(DamageKind::Cut { expected }));
        }
        let reader =
            SegmentReader::open(&self.directory, name, self.check).map_err(|e| self.segment(e))?;
        if reader.header().first != self.place.next() {
            let (expected, found) = (self.place.entries, reader.header().first.0);
            return Err(self.damage(DamageKind::Gap { expected, found }));
        }
        let before = LogPlace { segment: name.sequence, position: 0, ..self.place.clone() };
        self.place.enter(name.sequence, reader.header_bytes());
        let header = Box::new(reader.header().clone());
        self.reader = Some(reader);
        Ok(WalkStep::Entered { header, before })
    }

    /// The header of the first segment from `from` on that has a whole one.
    fn following(&self, from: u64) -> Result<Option<SegmentHeader>, WalkError> {
        let shard = self.place.shard;
        let direct = SegmentName { shard, sequence: from };
        // The common case needs no listing: the next file is there, or none is.
        let names = if self.directory.join(direct.file_name()).exists() {
            vec![direct]
        } else {
            self.later(from)?
        };
        for name in names {
            match SegmentReader::open(&self.directory, name, self.check) {
                Ok(reader) => return Ok(Some(reader.header().clone())),
                Err(SegmentError::Header { reason: "not whole", .. }) if name == direct => {
                    return match self.later(from.saturating_add(1))?.first() {
                        Some(_) => self.following(from.saturating_add(1)),
                        None => Ok(None),
                    };
                }
                Err(SegmentError::Header { reason: "not whole", .. }) => {}
                Err(error) => return Err(self.segment(error)),
            }
        }
        Ok(None)
    }

    fn later(&self, from: u64) -> Result<Vec<SegmentName>, WalkError> {
        let io = |source| WalkError::Io { path: self.directory.clone(), source };
        let mut names = SegmentName::list(&self.directory).map_err(io)?;
        names.retain(|name| name.shard == self.place.shard && name.sequence >= from);
        Ok(names)
    }

    fn reopen(&self) -> Result<SegmentReader, WalkError> {
        let name = SegmentName { shard: self.place.shard, sequence: self.place.segment };
        let mut reader =
            SegmentReader::open(&self.directory, name, self.check).map_err(|e| self.segment(e))?;
        reader.seek(self.place.position);
        Ok(reader)
    }

    fn read(&mut self) -> Result<Step, WalkError> {
        match self.reader.as_mut().map(SegmentReader::step) {
            Some(Ok(step)) => Ok(step),
            Some(Err(error)) => Err(self.segment(error)),
            None => Ok(Step::End),
        }
    }

    fn segment(&self, error: SegmentError) -> WalkError {
        match error {
            SegmentError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                self.damage(DamageKind::Missing)
            }
            SegmentError::Io { path, source } => WalkError::Io { path, source },
            SegmentError::Cut { expected, .. } => self.damage(DamageKind::Cut { expected }),
            SegmentError::Header { .. } | SegmentError::Damaged { .. } => {
                self.damage(DamageKind::Altered(error.to_string()))
            }
        }
    }

    fn damage(&self, what: DamageKind) -> WalkError {
        let place = &self.place;
        let (shard, segment, position) = (place.shard, place.segment, place.position);
        WalkError::Damaged(Damage { shard, segment, position, what })
    }
}
