//! The index of the record log in RocksDB.
//!
//! This file alone names `rocksdb`. Nothing in the database is the truth: a lost, damaged or old database is mended by
//! draining the segments again, from where its own place row says, or from the beginning. All rows of a turn go into
//! one write batch in one column family, so the place is never ahead of what it stands for.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{
    DB, DBCompressionType, DBRecoveryMode, Direction, IteratorMode, LogLevel, Options, ReadOptions,
    WriteBatch, WriteOptions,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::vocabulary::SessionId;

use super::chain::LogPlace;
use super::heads::HeadError;
use super::index::{Posting, SegmentFacts, SessionSummary, Turn, rows};
use super::keys::KeyError;
use super::segment::SegmentName;
use super::writer::RecordError;

/// Why the store cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// RocksDB refused. The index can be made again: open the store again.
    #[error("record index `{path}`: {source}")]
    Index {
        /// The database's directory.
        path: PathBuf,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
    /// A row is not what this build writes. The index can be made again.
    #[error("record index `{path}` has a row that is unreadable: {reason}")]
    Row {
        /// The database's directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system refused.
    #[error("record log `{path}`: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Heads cannot be read or written.
    #[error(transparent)]
    Heads(#[from] HeadError),
    /// The signing key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log is held by another process, or its directory cannot be made.
    #[error(transparent)]
    Lock(#[from] RecordError),
}

/// The index, read only: the store's own, or a second look at it from another process.
#[derive(Debug)]
pub struct Index {
    db: DB,
    path: PathBuf,
    /// Where a second look keeps its own notes; removed in the end.
    notes: Option<PathBuf>,
}

impl Index {
    /// A second look at the index of a data directory, beside the gateway that keeps it or without one. `None` where
    /// there is no index, or one that cannot be read: the segments have everything.
    #[must_use]
    pub fn look(data: &Path) -> Option<Self> {
        let path = data.join(INDEX_DIRECTORY);
        if !path.join("CURRENT").exists() {
            return None;
        }
        let mut unique = [0; 8];
        getrandom::fill(&mut unique).ok()?;
        let name = format!("sluicegate-index-{:016x}", u64::from_le_bytes(unique));
        let notes = std::env::temp_dir().join(name);
        let mut options = index_options();
        options.create_if_missing(false);
        // A secondary keeps all files open, because the gateway may delete them under it.
        options.set_max_open_files(-1);
        let opened = DB::open_as_secondary(&options, &path, &notes).ok();
        if opened.is_none() {
            drop(fs::remove_dir_all(&notes));
        }
        opened.map(|db| Self { db, path, notes: Some(notes) })
    }

    pub(super) fn open_or_rebuild(data: &Path) -> Result<(Self, Option<String>), StoreError> {
        let path = data.join(INDEX_DIRECTORY);
        let open = || DB::open(&index_options(), &path);
        let (db, rebuilt) = match open() {
            Ok(db) => (db, None),
            Err(error) => {
                let aside = data.join("store.damaged");
                let io = |source| StoreError::Io { path: aside.clone(), source };
                match fs::remove_dir_all(&aside) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
                    _ => {}
                }
                fs::rename(&path, &aside).map_err(io)?;
                let reason = error.to_string();
                let fresh = open();
                let fresh =
                    fresh.map_err(|source| StoreError::Index { path: path.clone(), source })?;
                (fresh, Some(reason))
            }
        };
        Ok((Self { db, path, notes: None }, rebuilt))
    }

    /// How far a shard was drained.
    ///
    /// # Errors
    ///
    /// [`StoreError::Index`] or [`StoreError::Row`].
    pub fn place(&self, shard: u32) -> Result<Option<LogPlace>, StoreError> {
        self.read(&rows::place(shard))
    }

    /// How far all shards were drained.
    ///
    /// # Errors
    ///
    /// As [`Index::place`].
    pub fn places(&self) -> Result<Vec<LogPlace>, StoreError> {
        self.read_all(&[rows::PLACE])
    }

    /// All sessions, in no order.
    ///
    /// # Errors
    ///
    /// As [`Index::place`].
    pub fn sessions(&self) -> Result<Vec<SessionSummary>, StoreError> {
        self.read_all(&[rows::SESSION])
    }

    /// One session.
    ///
    /// # Errors
    ///
    /// As [`Index::place`].
    pub fn session(&self, session: SessionId) -> Result<Option<SessionSummary>, StoreError> {
        self.read(&rows::session(session))
    }

    /// All segments, by shard and sequence.
    ///
    /// # Errors
    ///
    /// As [`Index::place`].
    pub fn segments(&self) -> Result<Vec<SegmentFacts>, StoreError> {
        self.read_all(&[rows::SEGMENT])
    }

    /// Where a session's entries lie.
    ///
    /// # Errors
    ///
    /// As [`Index::place`].
    pub fn postings(&self, session: SessionId) -> Result<Vec<Posting>, StoreError> {
        let mut postings = Vec::new();
        let Some(summary) = self.session(session)? else { return Ok(postings) };
        for (shard, (first, last)) in summary.segments {
            for sequence in first..=last {
                let name = SegmentName { shard, sequence };
                self.each(&rows::postings(name, session), |_, value| {
                    postings.extend(rows::take_postings(name, value));
                    Ok(())
                })?;
            }
        }
        Ok(postings)
    }

    /// Where the entries of a ticket lie.
    ///
    /// # Errors
    ///
    /// As [`Index::place`].
    pub fn ticket(&self, ticket: &str) -> Result<Vec<Posting>, StoreError> {
        let mut postings = Vec::new();
        self.each(&rows::ticket(ticket), |key, value| {
            postings.extend(
                ticket_segment(key)
                    .into_iter()
                    .flat_map(|name| rows::take_postings(name, value).collect::<Vec<_>>()),
            );
            Ok(())
        })?;
        Ok(postings)
    }

    /// Writes all that one drain saw, and the places that it came to, in one batch.
    pub(super) fn write_turn(&self, turn: &Turn, places: &[LogPlace]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for place in places {
            batch.put(rows::place(place.shard), self.json(place)?);
        }
        if batch.is_empty() {
            return Ok(());
        }
        for facts in &turn.segments {
            let name = SegmentName { shard: facts.before.shard, sequence: facts.before.segment };
            batch.put(rows::segment(rows::SEGMENT, name), self.json(facts)?);
        }
        for (session, turn) in &turn.sessions {
            for part in turn.postings.chunk_by(|one, other| one.segment == other.segment) {
                let Some(first) = part.first() else { continue };
                let mut key = rows::postings(first.segment, *session);
                key.extend_from_slice(&first.position.to_be_bytes());
                let mut value = Vec::new();
                part.iter().for_each(|posting| rows::put_posting(&mut value, posting));
                batch.put(key, value);
            }
            let mut summary = self.session(*session)?.unwrap_or_default();
            summary.merge(&turn.summary);
            batch.put(rows::session(*session), self.json(&summary)?);
        }
        for (ticket, posting) in &turn.tickets {
            let mut key = rows::ticket(ticket);
            key.extend_from_slice(&posting.segment.shard.to_be_bytes());
            key.extend_from_slice(&posting.segment.sequence.to_be_bytes());
            key.extend_from_slice(&posting.position.to_be_bytes());
            let mut value = Vec::new();
            rows::put_posting(&mut value, posting);
            batch.put(key, value);
        }
        self.write(batch)
    }

    /// Drops a segment's range of postings and its own row.
    pub(super) fn drop_segment(&self, name: SegmentName) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        let next = SegmentName { sequence: name.sequence.saturating_add(1), ..name };
        batch
            .delete_range(rows::segment(rows::POSTINGS, name), rows::segment(rows::POSTINGS, next));
        batch.delete(rows::segment(rows::SEGMENT, name));
        self.write(batch)
    }

    /// Drops tickets' rows and sessions that lie wholly before the beginnings of their shards' logs.
    pub(super) fn drop_orphans(&self, begins: &BTreeMap<u32, LogPlace>) -> Result<(), StoreError> {
        let gone = |shard: u32, sequence: u64| {
            begins.get(&shard).is_some_and(|begin| sequence < begin.segment)
        };
        let mut batch = WriteBatch::default();
        self.each(&[rows::SESSION], |key, value| {
            let summary: SessionSummary = self.parse(value)?;
            if summary.segments.iter().all(|(shard, (_, last))| gone(*shard, *last)) {
                batch.delete(key);
            }
            Ok(())
        })?;
        self.each(&[rows::TICKET], |key, _| {
            if ticket_segment(key).is_some_and(|name| gone(name.shard, name.sequence)) {
                batch.delete(key);
            }
            Ok(())
        })?;
        self.write(batch)
    }

    pub(super) fn count(&self) -> Result<u64, StoreError> {
        let mut rows: u64 = 0;
        self.each(&[], |_, _| {
            rows = rows.saturating_add(1);
            Ok(())
        })?;
        Ok(rows)
    }

    fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(false);
        self.db.write_opt(batch, &options).map_err(|source| self.failed(source))
    }

    fn read<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        let value = self.db.get_pinned(key).map_err(|source| self.failed(source))?;
        value.map(|value| self.parse(&value)).transpose()
    }

    fn read_all<T: DeserializeOwned>(&self, prefix: &[u8]) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        self.each(prefix, |_, value| {
            found.push(self.parse(value)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Calls `row` with every key that begins with `prefix`, and its value.
    fn each(
        &self,
        prefix: &[u8],
        mut row: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        let mode = IteratorMode::From(prefix, Direction::Forward);
        for item in self.db.iterator_opt(mode, options) {
            let (key, value) = item.map_err(|source| self.failed(source))?;
            if !key.starts_with(prefix) {
                break;
            }
            row(&key, &value)?;
        }
        Ok(())
    }

    fn json<T: Serialize>(&self, row: &T) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(row).map_err(|error| self.unreadable(&error))
    }

    fn parse<T: DeserializeOwned>(&self, value: &[u8]) -> Result<T, StoreError> {
        serde_json::from_slice(value).map_err(|error| self.unreadable(&error))
    }

    fn failed(&self, source: rocksdb::Error) -> StoreError {
        StoreError::Index { path: self.path.clone(), source }
    }

    fn unreadable(&self, error: &serde_json::Error) -> StoreError {
        StoreError::Row { path: self.path.clone(), reason: error.to_string() }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if let Some(notes) = &self.notes {
            // What cannot be removed from the temporary directory is the system's to clean.
            drop(fs::remove_dir_all(notes));
        }
    }
}

/// The segment in a ticket row's key: behind the ticket's text.
fn ticket_segment(key: &[u8]) -> Option<SegmentName> {
    let (rest, position) = key.split_last_chunk::<8>()?;
    let _: &[u8; 8] = position;
    let (rest, sequence) = rest.split_last_chunk()?;
    let (_, shard) = rest.split_last_chunk()?;
    Some(SegmentName { shard: u32::from_be_bytes(*shard), sequence: u64::from_be_bytes(*sequence) })
}

/// Damage refuses instead of being passed over, and a torn tail of the WAL is no damage: the place row lies in it.
fn index_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_recycle_log_file_num(0);
    options.set_manual_wal_flush(false);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_background_jobs(2);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_stats_dump_period_sec(0);
    options
}

/// Where the index lies, below the data directory.
pub const INDEX_DIRECTORY: &str = "store";

/// What RocksDB gathers in memory before it writes a file.
const WRITE_BUFFER_BYTES: usize = 16 << 20;
