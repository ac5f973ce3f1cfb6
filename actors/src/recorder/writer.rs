//! The shard's own end of the record log: entries into a buffer, the buffer into the segment, one write per turn.
//!
//! ```text
//! append ─▶ [ frame │ frame │ frame head ]  payload        a large payload is never copied:
//!                        │                     │            its entry is written when it is committed,
//!            pwritev ( buffer, payload piece, … )           with all that waits before it
//! flush  ─▶  pwritev ( buffer )
//! ```
//!
//! Everything here is synchronous. What [`SegmentWriter::flush`] returned `Ok` for is in the kernel's hands and
//! survives a kill of the process; nothing before that does. Where a write fails, the file is cut back to where the
//! write began, the writer refuses entries, and the next flush writes what waits to the same place: so nothing is
//! ever glued to a torn frame, and no number is given twice.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::encode::{
    BODY_HEAD_BYTES, FRAME_HEAD_BYTES, SIZES_AT, put_attribute, put_draft, put_masked,
    put_payload_hash, put_resource,
};
use super::entry::{
    EntryDraft, EntryNumber, FIELDS_BYTES_MAX, MaskedDraft, PAYLOAD_BYTES_MAX, ResourceDraft,
};
use super::segment::{
    Check, SEGMENT_HEADER_BYTES, SegmentError, SegmentHeader, SegmentName, SegmentReader, Step,
    wide,
};

/// A segment that has grown to this many bytes is followed by the next one.
pub const SEGMENT_ROLL_BYTES: u64 = 256 << 20;

/// The most bytes that wait for a flush: one entry of the largest size fits.
pub const UNWRITTEN_BYTES_MAX: usize = 128 << 20;

/// A payload up to this size is copied into the buffer; larger ones are written at once from where they lie.
pub const PAYLOAD_COPY_BYTES_MAX: usize = 4096;

/// How much a crash may take of what was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A kill of the process takes nothing; a power cut takes what the kernel had not written back.
    #[default]
    Process,
    /// As `Process`, and the store syncs each segment that it drains: a power cut takes about a second.
    Interval,
    /// Each flush ends with `fdatasync`: a power cut takes nothing. The shard waits for the disk.
    Always,
}

/// What a writer needs to know.
#[derive(Clone, Debug)]
pub struct SegmentOptions {
    /// Where segments lie: `<data.dir>/segments`.
    pub directory: PathBuf,
    /// The gateway's own id.
    pub gateway: [u8; 16],
    /// A fresh random id for this run of the process, the same for all shards.
    pub run: [u8; 16],
    /// The shard, or [`super::entry::CONTROL_SHARD`].
    pub shard: u32,
    /// When to begin the next segment, in bytes; [`SEGMENT_ROLL_BYTES`] by default.
    pub roll_bytes: u64,
    /// What a crash may take.
    pub durability: Durability,
}

/// Why an entry is not in the log. Whatever it was about must not be forwarded or delivered.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The entry's fields or payload are larger than an entry may be.
    #[error("entry of {size} bytes exceeds {limit}")]
    TooLarge {
        /// What it has.
        size: usize,
        /// What it may have.
        limit: usize,
    },
    /// Too much waits for a flush.
    #[error("{size} bytes wait for the record log, the limit is {limit}: flush first")]
    Full {
        /// What waits.
        size: usize,
        /// What may wait.
        limit: usize,
    },
    /// An earlier write failed, and no flush has succeeded since.
    #[error(
        "record log of shard {shard} cannot be written: once the disk takes writes it goes on, after a failed sync a restart does"
    )]
    Failed {
        /// The shard.
        shard: u32,
    },
    /// The disk did not take it.
    #[error("record log `{path}` cannot be written: {source}")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said: no space, an I/O error, a read-only file system.
        source: io::Error,
    },
    /// The system has no randomness to give.
    #[error("no randomness for a segment's marker: {0}")]
    Random(getrandom::Error),
    /// What is there already cannot be continued.
    #[error("record log cannot be continued, run `sluicegate verify`: {0}")]
    Unsound(#[from] SegmentError),
    /// The disk has taken too long.
    #[error("the disk did not take the entry within {} ms", limit.as_millis())]
    Late {
        /// How long it may take.
        limit: Duration,
    },
    /// Another process writes this log.
    #[error("record log `{path}` is in use by another gateway")]
    InUse {
        /// The lock's file.
        path: PathBuf,
    },
}

/// What a writer found when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The segment that it writes now.
    pub segment: SegmentName,
    /// The number of its first entry.
    pub first: EntryNumber,
    /// How many bytes of the previous segment were torn: written in part when the process died.
    pub torn_bytes: u64,
}

/// The file system as a writer sees it; tests put faults in its place.
pub trait SegmentFile: Sized {
    /// Makes a file that must not exist yet, readable by its owner alone.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn create(path: &Path) -> io::Result<Self>;

    /// Writes some of `slices` at `position` and says how many bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize>;

    /// Cuts the file.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Returns once the bytes are on the disk.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn sync(&self) -> io::Result<()>;

    /// Takes room on the disk behind the file's end, which stays where it is.
    ///
    /// # Errors
    ///
    /// What the system says: many file systems cannot.
    fn reserve(&self, from: u64, bytes: u64) -> io::Result<()>;

    /// The same file once more, to be synced by another thread.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn share(&self) -> io::Result<Self>;
}

/// What must be synced so that all that was written until now is on the disk. It may take as long as the disk likes, so it
/// runs where nobody waits for the thread.
#[derive(Debug)]
pub struct SyncJob<F: SegmentFile = File> {
    files: Vec<F>,
    /// The folder, where a segment was made in it.
    directory: Option<PathBuf>,
}

impl<F: SegmentFile> SyncJob<F> {
    /// Syncs, and blocks meanwhile.
    ///
    /// # Errors
    ///
    /// What the system says; it is for [`SegmentWriter::end_sync`] to know.
    pub fn run(self) -> io::Result<()> {
        for file in &self.files {
            file.sync()?;
        }
        self.directory.map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }
}

/// Appends entries to a shard's segments.
#[derive(Debug)]
pub struct SegmentWriter<F: SegmentFile = File> {
    options: SegmentOptions,
    file: F,
    header: SegmentHeader,
    /// Where the last acknowledged frame ends in the file.
    written: u64,
    /// Up to where the disk has room for the file, beyond its end.
    reserved: u64,
    /// Whole frames that wait. What lies behind `committed` belongs to a draft that was given up.
    buffer: Vec<u8>,
    committed: usize,
    next: EntryNumber,
    failed: bool,
    /// A sync failed: what the kernel then holds of the segment is not known, so nothing more is acknowledged.
    broken: bool,
    /// A failed write may have left bytes behind `written`: they are cut off before anything else is written.
    torn: bool,
    /// Something was written since the last sync; of interest with [`Durability::Always`] alone.
    unsynced: bool,
    /// Segments that were left since then, and whether any was made.
    left: Vec<F>,
    rolled: bool,
}

/// An entry that is being written; dropped without [`EntryBuilder::commit`], it never was.
#[derive(Debug)]
pub struct EntryBuilder<'w, F: SegmentFile = File> {
    writer: &'w mut SegmentWriter<F>,
}

/// Holds a data directory for this process until dropped.
#[derive(Debug)]
pub struct LogLock {
    _file: File,
}

impl LogLock {
    /// Takes the data directory, making it where it is missing.
    ///
    /// # Errors
    ///
    /// [`RecordError::InUse`] where another process holds it, [`RecordError::Write`] where the disk refuses.
    pub fn take(data: &Path) -> Result<Self, RecordError> {
        let path = data.join(".lock");
        let failed = |source| RecordError::Write { path: path.clone(), source };
        make_directory(data).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(failed)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(RecordError::InUse { path }),
            Err(errno) => Err(failed(errno.into())),
        }
    }
}

impl<F: SegmentFile> SegmentWriter<F> {
    /// Reads to the end of what the shard wrote before, and begins a new segment behind it.
    ///
    /// # Errors
    ///
    /// [`RecordError::Unsound`] where the last segment is damaged before its end, else [`RecordError::Write`].
    pub fn open(options: SegmentOptions) -> Result<(Self, Recovery), RecordError> {
        let failed = |source| RecordError::Write { path: options.directory.clone(), source };
        make_directory(&options.directory).map_err(failed)?;
        let names = SegmentName::list(&options.directory).map_err(failed)?;
        let earlier: Vec<_> =
            names.into_iter().filter(|name| name.shard == options.shard).collect();
        let end = LogEnd::find(&options.directory, &earlier)?;
        let header = SegmentHeader {
            marker: random_marker()?,
            gateway: options.gateway,
            run: options.run,
            name: SegmentName { shard: options.shard, sequence: end.sequence },
            created_micros: now_micros(),
            first: end.next,
            previous_end: end.previous_end,
        };
        let file = create_segment(&options, &header, true)?;
        let recovery =
            Recovery { segment: header.name, first: end.next, torn_bytes: end.torn_bytes };
        let writer = Self {
            options,
            file,
            header,
            written: wide(SEGMENT_HEADER_BYTES),
            reserved: 0,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            committed: 0,
            next: end.next,
            failed: false,
            broken: false,
            torn: false,
            unsynced: false,
            left: Vec::new(),
            rolled: false,
        };
        Ok((writer, recovery))
    }

    /// Appends one whole entry: [`SegmentWriter::begin`] and [`EntryBuilder::commit`] at once.
    ///
    /// # Errors
    ///
    /// As those two.
    pub fn append(
        &mut self,
        draft: &EntryDraft<'_>,
        payload: &[&[u8]],
    ) -> Result<EntryNumber, RecordError> {
        self.begin(draft)?.commit(payload)
    }

    /// Begins an entry; resources and counts can be added to it before it is committed.
    ///
    /// # Errors
    ///
    /// [`RecordError::Failed`] after a failed flush, [`RecordError::Full`] where too much waits for one.
    pub fn begin(&mut self, draft: &EntryDraft<'_>) -> Result<EntryBuilder<'_, F>, RecordError> {
        if self.failed {
            return Err(RecordError::Failed { shard: self.options.shard });
        }
        self.buffer.truncate(self.committed);
        put_draft(&mut self.buffer, self.next, draft);
        Ok(EntryBuilder { writer: self })
    }

    /// Hands everything appended so far to the kernel, and to the disk with [`Durability::Always`].
    ///
    /// Only after `Ok` may what the entries tell of happen. After an error all of them still wait, and the next flush
    /// tries them again: an entry may end in the log although its request was refused, never the reverse.
    ///
    /// # Errors
    ///
    /// [`RecordError::Write`]; the writer refuses entries until a flush succeeds. After a failed sync none does: the
    /// kernel forgets what it could not write (the gateway must be started again).
    pub fn flush(&mut self) -> Result<(), RecordError> {
        self.write()?;
        match self.begin_sync()? {
            Some(job) => self.end_sync(job.run()),
            None => Ok(()),
        }
    }

    /// As [`SegmentWriter::flush`] without the disk: what [`Durability::Always`] needs beside it is
    /// [`SegmentWriter::begin_sync`].
    ///
    /// # Errors
    ///
    /// As [`SegmentWriter::flush`].
    pub fn write(&mut self) -> Result<(), RecordError> {
        if self.broken {
            return Err(RecordError::Failed { shard: self.options.shard });
        }
        self.cut()?;
        self.buffer.truncate(self.committed);
        if self.committed > 0 {
            self.write_out(&[])?;
        }
        self.unsynced &= self.is_synced_always();
        self.failed = false;
        if self.written >= self.options.roll_bytes {
            self.roll();
        }
        Ok(())
    }

    /// What must be synced now that all is written; `None` where nothing must. The writer may go on meanwhile.
    ///
    /// # Errors
    ///
    /// [`RecordError::Write`] where the system has no more files to give.
    pub fn begin_sync(&mut self) -> Result<Option<SyncJob<F>>, RecordError> {
        if !self.unsynced || !self.is_synced_always() {
            return Ok(None);
        }
        let current = self.file.share().map_err(|source| self.failure(source))?;
        let mut files = std::mem::take(&mut self.left);
        files.push(current);
        self.unsynced = false;
        let rolled = std::mem::take(&mut self.rolled);
        Ok(Some(SyncJob { files, directory: rolled.then(|| self.options.directory.clone()) }))
    }

    /// Takes what became of a [`SyncJob`].
    ///
    /// # Errors
    ///
    /// [`RecordError::Write`] where it failed; the writer takes no more entries then.
    pub fn end_sync(&mut self, outcome: io::Result<()>) -> Result<(), RecordError> {
        outcome.map_err(|source| {
            self.broken = true;
            self.failure(source)
        })
    }

    /// The shard whose log it is.
    #[must_use]
    pub fn shard(&self) -> u32 {
        self.options.shard
    }

    /// Whether what is written must be on the disk before it counts.
    #[must_use]
    pub fn is_synced_always(&self) -> bool {
        self.options.durability == Durability::Always
    }

    /// How many bytes wait for a flush.
    #[must_use]
    pub fn unwritten_bytes(&self) -> usize {
        self.committed
    }

    /// Whether a flush has anything to do.
    #[must_use]
    pub fn needs_flush(&self) -> bool {
        self.committed > 0 || self.unsynced || self.failed
    }

    /// Whether the last flush failed.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.failed
    }

    /// The number that the next entry will have.
    #[must_use]
    pub fn next_number(&self) -> EntryNumber {
        self.next
    }

    /// The segment that is written now, and where its acknowledged frames end.
    #[must_use]
    pub fn written(&self) -> (SegmentName, u64) {
        (self.header.name, self.written)
    }

    /// Writes the buffer and what belongs behind it, all of it or an error. The buffer is empty then.
    fn write_out(&mut self, payload: &[&[u8]]) -> Result<(), RecordError> {
        self.cut()?;
        let sizes = payload.iter().map(|part| part.len());
        let total = sizes.fold(self.buffer.len(), usize::saturating_add);
        self.reserve(wide(total));
        let mut done: usize = 0;
        while done < total {
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let count = fill_slices(&mut slices, &self.buffer, payload, done);
            let at = self.written.saturating_add(wide(done));
            let wrote = match self.file.write_at(slices.get(..count).unwrap_or_default(), at) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
                other => other,
            };
            match wrote {
                Ok(size) => done = done.saturating_add(size),
                Err(source) => {
                    self.torn = self.file.truncate(self.written).is_err();
                    return Err(self.failure(source));
                }
            }
        }
        self.written = self.written.saturating_add(wide(total));
        self.unsynced = true;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES);
        self.committed = 0;
        Ok(())
    }

    /// Asks the disk for the room of many writes at once, for a segment that grows fast: a write into room that is there
    /// costs a third less. It is a wish: what cannot be had is asked for by each write, as without it.
    fn reserve(&mut self, bytes: u64) {
        let end = self.written.saturating_add(bytes);
        if bytes < RESERVING_WRITE_BYTES || end <= self.reserved {
            return;
        }
        let wish = RESERVED_BYTES.min(self.options.roll_bytes.saturating_sub(self.written));
        let wish = wish.max(bytes);
        drop(self.file.reserve(self.written, wish));
        self.reserved = self.written.saturating_add(wish);
    }

    /// Gives back what was reserved and not written, and leaves the file as it is otherwise.
    fn give_back(&mut self) {
        if self.reserved > self.written && !self.torn {
            drop(self.file.truncate(self.written));
        }
        self.reserved = 0;
    }

    /// Cuts off what a failed write left.
    fn cut(&mut self) -> Result<(), RecordError> {
        if self.torn {
            self.file.truncate(self.written).map_err(|source| self.failure(source))?;
            self.torn = false;
        }
        Ok(())
    }

    fn failure(&mut self, source: io::Error) -> RecordError {
        self.failed = true;
        let path = self.options.directory.join(self.header.name.file_name());
        RecordError::Write { path, source }
    }

    /// Begins the next segment. Where that fails the current one grows on, and the next flush tries again.
    fn roll(&mut self) {
        let Ok(marker) = random_marker() else { return };
        let name = SegmentName {
            shard: self.options.shard,
            sequence: self.header.name.sequence.saturating_add(1),
        };
        let header = SegmentHeader {
            marker,
            name,
            created_micros: now_micros(),
            first: self.next,
            previous_end: self.written,
            ..self.header
        };
        if let Ok(file) = create_segment(&self.options, &header, !self.is_synced_always()) {
            self.give_back();
            let last = std::mem::replace(&mut self.file, file);
            if self.unsynced {
                self.left.push(last);
            }
            // The next sync takes the header with it.
            self.unsynced = self.is_synced_always();
            self.rolled = self.unsynced;
            self.header = header;
            self.written = wide(SEGMENT_HEADER_BYTES);
        }
    }
}

/// Gives back the room that was reserved and not used.
impl<F: SegmentFile> Drop for SegmentWriter<F> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<F: SegmentFile> EntryBuilder<'_, F> {
    /// Adds a resource.
    pub fn resource(&mut self, resource: &ResourceDraft<'_>) -> &mut Self {
        put_resource(&mut self.writer.buffer, resource);
        self
    }

    /// Adds the count of one label.
    pub fn masked(&mut self, masked: MaskedDraft<'_>) -> &mut Self {
        put_masked(&mut self.writer.buffer, masked);
        self
    }

    /// Adds a named text.
    pub fn attribute(&mut self, name: &str, text: &str) -> &mut Self {
        put_attribute(&mut self.writer.buffer, name, text);
        self
    }

    /// Ends the entry with its payload. It is in the log once [`SegmentWriter::flush`] has returned `Ok`.
    ///
    /// A payload larger than [`PAYLOAD_COPY_BYTES_MAX`] is not copied: the entry is written here, behind all that waits.
    ///
    /// # Errors
    ///
    /// [`RecordError::TooLarge`], [`RecordError::Full`] or [`RecordError::Write`]; the entry is not in the log and its
    /// number is free.
    pub fn commit(self, payload: &[&[u8]]) -> Result<EntryNumber, RecordError> {
        let writer = self.writer;
        let start = writer.committed;
        let size = payload.iter().fold(0_usize, |sum, piece| sum.saturating_add(piece.len()));
        if size > 0 {
            put_payload_hash(&mut writer.buffer, payload);
        }
        let body_at = start.saturating_add(FRAME_HEAD_BYTES);
        let fields = writer.buffer.len().saturating_sub(body_at.saturating_add(BODY_HEAD_BYTES));
        for (size, limit) in [(fields, FIELDS_BYTES_MAX), (size, PAYLOAD_BYTES_MAX)] {
            if size > limit {
                return Err(RecordError::TooLarge { size, limit });
            }
        }
        let is_copied = size <= PAYLOAD_COPY_BYTES_MAX;
        let waiting = writer.buffer.len().saturating_add(if is_copied { size } else { 0 });
        if waiting > UNWRITTEN_BYTES_MAX {
            return Err(RecordError::Full { size: waiting, limit: UNWRITTEN_BYTES_MAX });
        }
        let number = writer.next;
        writer.put_sizes(start, fields, size);
        writer.put_crc(start);
        if is_copied {
            payload.iter().for_each(|piece| writer.buffer.extend_from_slice(piece));
            writer.committed = writer.buffer.len();
        } else {
            if let Err(error) = writer.write_out(payload) {
                writer.buffer.truncate(start);
                return Err(error);
            }
        }
        writer.next = EntryNumber(number.0.saturating_add(1));
        Ok(number)
    }
}

impl<F: SegmentFile> SegmentWriter<F> {
    /// Fills in what was left open in the frame's and the body's head. All sizes are below their limits by now.
    fn put_sizes(&mut self, start: usize, fields: usize, payload: usize) {
        let body = BODY_HEAD_BYTES.saturating_add(fields).saturating_add(payload);
        let four = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
        let sizes_at = FRAME_HEAD_BYTES.saturating_add(SIZES_AT);
        let words = [
            (4, self.header.marker.to_le_bytes()),
            (8, four(body)),
            (sizes_at, four(fields)),
            (sizes_at.saturating_add(4), four(payload)),
        ];
        for (offset, word) in words {
            let at = start.saturating_add(offset);
            if let Some(place) = self.buffer.get_mut(at..).and_then(|tail| tail.first_chunk_mut()) {
                *place = word;
            }
        }
    }

    /// Fills in the CRC of the frame whose front ends the buffer.
    fn put_crc(&mut self, start: usize) {
        let front = self.buffer.get(start.saturating_add(CRC_BYTES)..).unwrap_or_default();
        let crc = crc_fast::crc32_iscsi(front);
        if let Some(place) = self.buffer.get_mut(start..).and_then(|tail| tail.first_chunk_mut()) {
            *place = crc.to_le_bytes();
        }
    }
}

impl SegmentFile for File {
    fn create(path: &Path) -> io::Result<Self> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(self, slices, position)?)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        Ok(rustix::fs::ftruncate(self, length)?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(self)?)
    }

    fn reserve(&self, from: u64, bytes: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(self, rustix::fs::FallocateFlags::KEEP_SIZE, from, bytes)?)
    }

    fn share(&self) -> io::Result<Self> {
        self.try_clone()
    }
}

/// Where a shard's log ends.
struct LogEnd {
    sequence: u64,
    next: EntryNumber,
    previous_end: u64,
    torn_bytes: u64,
}

impl LogEnd {
    /// Walks the last segment. A last file without a whole header was torn when it was made; it holds nothing.
    fn find(directory: &Path, earlier: &[SegmentName]) -> Result<Self, SegmentError> {
        let Some((last, before)) = earlier.split_last() else {
            return Ok(Self { sequence: 0, next: EntryNumber(0), previous_end: 0, torn_bytes: 0 });
        };
        let sequence = last.sequence.saturating_add(1);
        let mut reader = match SegmentReader::open(directory, *last, Check::Whole) {
            Err(SegmentError::Header { path, reason: "not whole" }) => {
                let torn = std::fs::metadata(&path)
                    .map_err(|source| SegmentError::Io { path, source })?
                    .len();
                let end = Self::find(directory, before)?;
                return Ok(Self { sequence, torn_bytes: torn, ..end });
            }
            reader => reader?,
        };
        let mut next = reader.header().first;
        loop {
            let torn_bytes = match reader.step()? {
                Step::Frame(_) => {
                    next = EntryNumber(next.0.saturating_add(1));
                    continue;
                }
                Step::End => 0,
                Step::Tail { size, .. } => size,
            };
            return Ok(Self { sequence, next, previous_end: reader.position(), torn_bytes });
        }
    }
}

/// Fills `slices` with what follows the first `skip` bytes of `head` and `parts`, and says how many were filled.
fn fill_slices<'s>(
    slices: &mut [IoSlice<'s>],
    head: &'s [u8],
    parts: &[&'s [u8]],
    mut skip: usize,
) -> usize {
    let mut places = slices.iter_mut();
    let mut count: usize = 0;
    for bytes in std::iter::once(head).chain(parts.iter().copied()) {
        let rest = bytes.get(skip..).unwrap_or_default();
        skip = skip.saturating_sub(bytes.len());
        if rest.is_empty() {
            continue;
        }
        let Some(place) = places.next() else { return count };
        *place = IoSlice::new(rest);
        count = count.saturating_add(1);
    }
    count
}

fn create_segment<F: SegmentFile>(
    options: &SegmentOptions,
    header: &SegmentHeader,
    syncs_now: bool,
) -> Result<F, RecordError> {
    let path = options.directory.join(header.name.file_name());
    let write = || {
        let file = F::create(&path)?;
        let bytes = header.to_bytes();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let at = bytes.len().saturating_sub(rest.len());
            match file.write_at(&[IoSlice::new(rest)], wide(at))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                size => rest = rest.get(size..).unwrap_or_default(),
            }
        }
        if syncs_now && options.durability != Durability::Process {
            file.sync()?;
            File::open(&options.directory)?.sync_all()?;
        }
        Ok(file)
    };
    write().map_err(|source| {
        // A header that is not whole would be in the way of the next try; if it stays, a restart steps over it.
        drop(std::fs::remove_file(&path));
        RecordError::Write { path: path.clone(), source }
    })
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn random_marker() -> Result<u32, RecordError> {
    let mut marker = [0; 4];
    getrandom::fill(&mut marker).map_err(RecordError::Random)?;
    Ok(u32::from_le_bytes(marker))
}

pub(super) fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// What the buffer keeps between flushes: a turn of small entries.
const BUFFER_BYTES: usize = 256 << 10;

/// Slices handed to one `pwritev`; the kernel takes up to 1,024.
const SLICES_PER_WRITE: usize = 64;

/// A write of so many bytes is one of a segment that grows fast.
const RESERVING_WRITE_BYTES: u64 = 16 << 10;

/// How much room such a segment asks for at once.
const RESERVED_BYTES: u64 = 32 << 20;

/// The bytes of the CRC, which it does not cover.
const CRC_BYTES: usize = 4;

#[cfg(test)]
mod tests;
