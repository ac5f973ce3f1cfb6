//! The one who keeps the record log: drains segments into the index, seals heads, drops what is old.
//!
//! ```text
//! segments ─▶ walk ─▶ turn ─▶ one write batch          drain_once, again at once while there is more
//!               └──▶ chain ─▶ place ─▶ signed head      seal_if_due
//! ```
//!
//! All of it is plain and synchronous: a thread, or an actor on a blocking thread, calls it a few times a second. A
//! failure costs nothing but time, because the log itself is written by the shards.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use crate::vocabulary::UnixMillis;

use super::chain::LogPlace;
use super::heads::{Head, HeadLog};
use super::index::Turn;
use super::keys::{RecordKey, RecordPublicKey};
use super::segment::{Check, SegmentName};
use super::store::{Index, StoreError};
use super::walk::{Damage, DamageKind, LogWalk, WalkError, WalkStep};
use super::writer::{Durability, LogLock};

/// The most entries of one shard that one drain takes.
pub const DRAIN_ENTRIES_MAX: u64 = 8_192;

/// The most bytes of one shard that one drain takes, give or take an entry.
pub const DRAIN_BYTES_MAX: u64 = 32 << 20;

/// A head is due after this many entries, …
pub const HEAD_ENTRIES: u64 = 1_000;

/// … or this long after the last one where entries came, …
pub const HEAD_INTERVAL_MS: i64 = 1_000;

/// … or this long where none came.
pub const HEAD_IDLE_MS: i64 = 10_000;

/// Every so many heads one lists every shard and where it begins.
pub const HEADS_PER_FULL_HEAD: u64 = 64;

/// What a store needs to know.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The data directory.
    pub data: PathBuf,
    /// The gateway's own id.
    pub gateway: [u8; 16],
    /// What a power cut may take.
    pub durability: Durability,
}

/// Keeps the index and the heads of a data directory. One per directory; it holds the directory's lock.
#[derive(Debug)]
pub struct Store {
    options: StoreOptions,
    index: Index,
    key: RecordKey,
    heads: HeadLog,
    begins: BTreeMap<u32, LogPlace>,
    walks: BTreeMap<u32, Shard>,
    sealed_at: Option<UnixMillis>,
    unsealed: u64,
    full_head_in: u64,
    rebuilt: Option<String>,
    _lock: LogLock,
}

/// One shard's log, as the store follows it.
#[derive(Debug)]
struct Shard {
    walk: LogWalk,
    /// What the last head said.
    sealed: Option<LogPlace>,
    /// What the last head of an earlier run said, and its number, until the walk has come there.
    promised: Option<(LogPlace, u64)>,
    /// Where pages were last handed back to the kernel.
    flushed: u64,
    /// Segments that the walk has left and that are still to be synced.
    left: Vec<u64>,
    damage: Option<Damage>,
}

/// What one drain did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// How many entries it took.
    pub entries: u64,
    /// How many bytes it took.
    pub bytes: u64,
    /// Whether more may be waiting: drain again at once.
    pub more: bool,
    /// Shards that cannot be drained any further. The gateway must stop writing and raise an alarm.
    pub damage: Vec<Damage>,
}

/// How much of the log is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Segments beyond this sum of bytes are dropped, oldest first.
    pub bytes_max: Option<u64>,
    /// Segments whose entries are all older than this are dropped.
    pub age_max_ms: Option<i64>,
}

impl Store {
    /// Opens the index, the heads and the key of a data directory, making what is missing.
    ///
    /// A database that RocksDB does not open is moved to `store.damaged` and made again; [`Store::rebuilt`] says why.
    ///
    /// # Errors
    ///
    /// [`StoreError`] as its variants say.
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let lock = LogLock::take(&options.data)?;
        let key = RecordKey::open(&options.data)?;
        let (heads, recent) = HeadLog::open(&options.data, &key.public())?;
        let (index, rebuilt) = Index::open_or_rebuild(&options.data)?;
        let mut begins = BTreeMap::new();
        let mut sealed = BTreeMap::new();
        for head in recent {
            begins.extend(head.begins.into_iter().map(|place| (place.shard, place)));
            sealed.extend(head.shards.into_iter().map(|place| (place.shard, (place, head.head))));
        }
        let mut store = Self {
            options,
            index,
            key,
            heads,
            begins,
            walks: BTreeMap::new(),
            sealed_at: None,
            unsealed: 0,
            full_head_in: 0,
            rebuilt,
            _lock: lock,
        };
        store.find_shards()?;
        for (number, (place, head)) in sealed {
            store.follow(number)?;
            if let Some(shard) = store.walks.get_mut(&number) {
                let here = shard.walk.place();
                let behind = (here.segment, here.position) < (place.segment, place.position);
                shard.promised = behind.then(|| (place.clone(), head));
                shard.sealed = Some(place);
            }
        }
        Ok(store)
    }

    /// Why the index had to be made again when it was opened, if it had to.
    #[must_use]
    pub fn rebuilt(&self) -> Option<&str> {
        self.rebuilt.as_deref()
    }

    /// The key that verifies this store's heads.
    #[must_use]
    pub fn public_key(&self) -> RecordPublicKey {
        self.key.public()
    }

    /// The index, to be read.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Takes what the shards have written since the last drain into the index, up to a bound per shard.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; nothing was taken then, and the next drain tries again.
    pub fn drain_once(&mut self) -> Result<Drained, StoreError> {
        self.find_shards()?;
        let mut turn = Turn::default();
        let mut drained = Drained::default();
        let before: Vec<LogPlace> =
            self.walks.values().map(|shard| shard.walk.place().clone()).collect();
        for (number, shard) in &mut self.walks {
            match shard.drain(*number, &mut turn) {
                Ok(more) => drained.more |= more,
                Err((path, source)) => {
                    self.rewind(before);
                    return Err(StoreError::Io { path, source });
                }
            }
            drained.damage.extend(shard.damage.clone());
        }
        let places: Vec<LogPlace> = self
            .walks
            .values()
            .map(|shard| shard.walk.place())
            .filter(|place| !before.contains(place))
            .cloned()
            .collect();
        if let Err(error) = self.index.write_turn(&turn, &places) {
            self.rewind(before);
            return Err(error);
        }
        self.unsealed = self.unsealed.saturating_add(turn.entries);
        (drained.entries, drained.bytes) = (turn.entries, turn.bytes);
        Ok(drained)
    }

    /// Seals a head if one is due at `now`, and returns it with its line, to be copied off the machine.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; no head was made then.
    pub fn seal_if_due(&mut self, now: UnixMillis) -> Result<Option<(Head, String)>, StoreError> {
        let due = self.sealed_at.is_none_or(|last| {
            let since = now.0.saturating_sub(last.0);
            let grown = self.walks.values().any(Shard::is_unsealed);
            self.unsealed >= HEAD_ENTRIES
                || (grown && since >= HEAD_INTERVAL_MS)
                || !(0..HEAD_IDLE_MS).contains(&since)
        });
        if due { self.seal(now).map(Some) } else { Ok(None) }
    }

    /// Seals a head over all that was drained.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; no head was made then.
    pub fn seal(&mut self, now: UnixMillis) -> Result<(Head, String), StoreError> {
        let full = self.full_head_in == 0;
        let segments = self.segments();
        for shard in self.walks.values_mut() {
            shard.hand_back(self.options.durability, &segments)?;
        }
        let shards = self
            .walks
            .values()
            .filter(|shard| full || shard.is_unsealed())
            .map(|shard| shard.walk.place().clone())
            .collect();
        let begins = if full { self.begins.values().cloned().collect() } else { Vec::new() };
        let made = self.heads.append(&self.key, self.options.gateway, now, shards, begins)?;
        if self.options.durability != Durability::Process {
            self.heads.sync()?;
        }
        for shard in self.walks.values_mut() {
            shard.sealed = Some(shard.walk.place().clone());
        }
        let next_full = HEADS_PER_FULL_HEAD.saturating_sub(1);
        self.full_head_in = if full { next_full } else { self.full_head_in.saturating_sub(1) };
        self.sealed_at = Some(now);
        self.unsealed = 0;
        Ok(made)
    }

    /// Drops whole segments, oldest first, together with their rows; never one that is still written or not drained.
    ///
    /// The new beginning of each log is signed first, so that what is gone is known to be gone rightly.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; what was not dropped is dropped the next time.
    pub fn retain(
        &mut self,
        retention: &Retention,
        now: UnixMillis,
    ) -> Result<Vec<SegmentName>, StoreError> {
        let segments = self.segments_by_age()?;
        let mut total = self.size()?;
        let mut dropped = Vec::new();
        for segment in segments {
            let old = retention.age_max_ms.is_some_and(|age| {
                now.0.saturating_sub(age) > segment.next_created_micros.div_euclid(1_000)
            });
            let over = retention.bytes_max.is_some_and(|bytes| total > bytes);
            if !(old || over) {
                continue;
            }
            total = total.saturating_sub(segment.size);
            let begin =
                self.begins.entry(segment.name.shard).or_insert(segment.next_before.clone());
            if begin.segment < segment.next_before.segment {
                *begin = segment.next_before;
            }
            dropped.push(segment.name);
        }
        if dropped.is_empty() {
            return Ok(dropped);
        }
        self.full_head_in = 0;
        self.seal(now)?;
        for name in &dropped {
            self.index.drop_segment(*name)?;
            let path = self.segments().join(name.file_name());
            fs::remove_file(&path).map_err(|source| StoreError::Io { path, source })?;
        }
        self.index.drop_orphans(&self.begins)?;
        if let Some(oldest) = self.index.segments()?.iter().map(|facts| facts.created_micros).min()
        {
            self.heads.drop_before(UnixMillis(oldest.div_euclid(1_000)))?;
        }
        Ok(dropped)
    }

    /// Reads every row once, so that a damaged block of the database is found before it is needed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Index`] where a row cannot be read: close the store, remove the database and open it again.
    pub fn check(&self) -> Result<u64, StoreError> {
        self.index.count()
    }

    fn segments(&self) -> PathBuf {
        self.options.data.join(SEGMENTS_DIRECTORY)
    }

    /// Begins to follow shards that appeared since the last look.
    fn find_shards(&mut self) -> Result<(), StoreError> {
        let directory = self.segments();
        let names = SegmentName::list(&directory)
            .map_err(|source| StoreError::Io { path: directory.clone(), source })?;
        let known: Vec<u32> = self.begins.keys().copied().collect();
        names.iter().map(|name| name.shard).chain(known).try_for_each(|shard| self.follow(shard))
    }

    fn follow(&mut self, shard: u32) -> Result<(), StoreError> {
        if self.walks.contains_key(&shard) {
            return Ok(());
        }
        let begin = self.begins.entry(shard).or_insert_with(|| LogPlace::start(shard)).clone();
        let place = match self.index.place(shard)? {
            Some(place) if place.segment >= begin.segment => place,
            _ => begin,
        };
        let walk = LogWalk::new(&self.segments(), place, Check::Whole);
        let (sealed, promised, damage) = (None, None, None);
        self.walks
            .insert(shard, Shard { walk, sealed, promised, flushed: 0, left: Vec::new(), damage });
        Ok(())
    }

    /// Goes back to places whose turn did not reach the index.
    fn rewind(&mut self, places: Vec<LogPlace>) {
        let directory = self.segments();
        for place in places {
            if let Some(shard) = self.walks.get_mut(&place.shard) {
                shard.walk = LogWalk::new(&directory, place, Check::Whole);
            }
        }
    }

    /// How many bytes all segments have.
    fn size(&self) -> Result<u64, StoreError> {
        let directory = self.segments();
        let io = |source| StoreError::Io { path: directory.clone(), source };
        let mut size: u64 = 0;
        for name in SegmentName::list(&directory).map_err(io)? {
            let facts = fs::metadata(directory.join(name.file_name())).map_err(io)?;
            size = size.saturating_add(facts.len());
        }
        Ok(size)
    }

    /// Segments that may be dropped: those with a successor that the drain has entered.
    fn segments_by_age(&self) -> Result<Vec<OldSegment>, StoreError> {
        let directory = self.segments();
        let facts = self.index.segments()?;
        let mut found = Vec::new();
        for pair in facts.windows(2) {
            let [this, next] = pair else { continue };
            if this.before.shard != next.before.shard {
                continue;
            }
            let name = SegmentName { shard: this.before.shard, sequence: this.before.segment };
            let path = directory.join(name.file_name());
            let size = fs::metadata(&path).map_err(|source| StoreError::Io { path, source })?.len();
            found.push(OldSegment {
                name,
                size,
                created_micros: this.created_micros,
                next_created_micros: next.created_micros,
                next_before: next.before.clone(),
            });
        }
        found.sort_by_key(|segment| (segment.created_micros, segment.name));
        Ok(found)
    }
}

/// A segment that may be dropped.
struct OldSegment {
    name: SegmentName,
    size: u64,
    created_micros: i64,
    next_created_micros: i64,
    next_before: LogPlace,
}

impl Shard {
    fn is_unsealed(&self) -> bool {
        self.sealed.as_ref() != Some(self.walk.place())
    }

    /// Walks to the end or to a bound, and says whether there is more. Damage ends the walk for good.
    fn drain(&mut self, number: u32, turn: &mut Turn) -> Result<bool, (PathBuf, io::Error)> {
        if self.damage.is_some() {
            return Ok(false);
        }
        let (entries, bytes) = (turn.entries, turn.bytes);
        loop {
            if turn.entries.saturating_sub(entries) >= DRAIN_ENTRIES_MAX
                || turn.bytes.saturating_sub(bytes) >= DRAIN_BYTES_MAX
            {
                return Ok(true);
            }
            let leaving = self.walk.place().segment;
            let step = match self.walk.step() {
                Ok(WalkStep::End { .. }) => {
                    // What an earlier run left is behind; from here on the walk follows a writer that lives.
                    self.walk.set_check(Check::Fronts);
                    // Shorter than what was signed: the end must not be taken for one.
                    self.damage = self.promised.as_ref().map(|(_, head)| self.unlike(*head));
                    return Ok(false);
                }
                Ok(step) => step,
                Err(WalkError::Io { path, source }) => return Err((path, source)),
                Err(WalkError::Damaged(damage)) => {
                    self.damage = Some(damage);
                    return Ok(false);
                }
            };
            let place = self.walk.place();
            if place.segment != leaving {
                self.left.push(leaving);
            }
            if let Err(error) = turn.take(number, place.segment, &step) {
                let what = DamageKind::Altered(error.to_string());
                let (segment, position) = (place.segment, place.position);
                self.damage = Some(Damage { shard: number, segment, position, what });
                return Ok(false);
            }
            if let Some((promised, head)) = &self.promised
                && (place.segment, place.position) >= (promised.segment, promised.position)
            {
                if place != promised {
                    self.damage = Some(self.unlike(*head));
                    return Ok(false);
                }
                self.promised = None;
            }
        }
    }

    fn unlike(&self, head: u64) -> Damage {
        let place = self.walk.place();
        let (shard, segment, position) = (place.shard, place.segment, place.position);
        Damage { shard, segment, position, what: DamageKind::Unsigned { head } }
    }

    /// Syncs what was drained, or has the kernel begin to write it back and forget it, so that dirty pages never pile
    /// up to where a plain `write` of the shard would be throttled.
    fn hand_back(&mut self, durability: Durability, segments: &Path) -> Result<(), StoreError> {
        let place = self.walk.place();
        let Some(reader) = self.walk.reader().filter(|_| self.sealed.as_ref() != Some(place))
        else {
            return Ok(());
        };
        if durability != Durability::Process {
            let name = SegmentName { shard: place.shard, sequence: place.segment };
            let io = |name: SegmentName| {
                let path = segments.join(name.file_name());
                move |source| StoreError::Io { path, source }
            };
            for sequence in &self.left {
                let name = SegmentName { sequence: *sequence, ..name };
                let file = fs::File::open(segments.join(name.file_name())).map_err(io(name))?;
                file.sync_data().map_err(io(name))?;
            }
            reader.file().sync_data().map_err(io(name))?;
            self.left.clear();
            return Ok(());
        }
        self.left.clear();
        let from = if self.flushed <= place.position { self.flushed } else { 0 };
        let length = NonZeroU64::new(place.position.saturating_sub(from));
        // Advice only: a file system that does not take it costs nothing but its advantage.
        if length.is_some_and(|length| length.get() >= HAND_BACK_BYTES)
            && rustix::fs::fadvise(reader.file(), from, length, rustix::fs::Advice::DontNeed)
                .is_ok()
        {
            self.flushed = place.position;
        }
        Ok(())
    }
}

/// Where segments lie, below the data directory.
pub const SEGMENTS_DIRECTORY: &str = "segments";

/// The least that is worth a system call to hand back.
const HAND_BACK_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests;
