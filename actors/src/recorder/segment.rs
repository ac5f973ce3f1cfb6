//! The segment file: a header, then frames. This file knows the format and reads it; [`super::writer`] writes it.
//!
//! ```text
//! <shard>-<sequence>.seg
//! ┌────────────────────────────────────────────────────────────────────────────────────────────────┐
//! │ magic 8 │ version u16 │ header bytes u16 │ marker u32 │ gateway 16 │ run 16 │ shard u32 │ 0 u32  │
//! │ sequence u64 │ created micros i64 │ first number u64 │ previous end u64 │ zeros … │ crc u32      │ 128 bytes
//! ├────────────────────────────────────────────────────────────────────────────────────────────────┤
//! │ frame │ frame │ frame │ …                                                                       │
//! └────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! *previous end* is where the shard's previous segment ended whole: what lies behind it there was torn by a crash
//! and never acknowledged; a file that is shorter than that was cut by somebody.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use memchr::memmem;

use super::encode::{BODY_HEAD_BYTES, FRAME_HEAD_BYTES, SIZES_AT, put};
use super::entry::{EntryNumber, FIELDS_BYTES_MAX, PAYLOAD_BYTES_MAX};

/// The bytes of a segment's header.
pub const SEGMENT_HEADER_BYTES: usize = 128;

/// The version of the segment's format that this build writes and reads.
pub const SEGMENT_VERSION: u16 = 2;

/// What a segment's file begins with.
pub const SEGMENT_MAGIC: [u8; 8] = *b"SLUICSEG";

/// Why a segment cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The file system refused.
    #[error("segment `{path}` cannot be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The header is not one, or was altered.
    #[error("segment `{path}` has a header that is {reason}")]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Bytes were altered: they are no frame, and frames follow behind them.
    #[error("segment `{path}` is damaged at byte {position}: whole entries follow what is none")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        position: u64,
    },
    /// The file ends before a place that was read earlier.
    #[error(
        "segment `{path}` was cut: it ends at byte {length}, entries up to {expected} were there"
    )]
    Cut {
        /// The file.
        path: PathBuf,
        /// Where it ends now.
        length: u64,
        /// Where it ended once.
        expected: u64,
    },
}

/// Which segment: the shard and its place in the shard's row of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The shard that writes it.
    pub shard: u32,
    /// From 0, without gaps.
    pub sequence: u64,
}

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Random; each frame carries it.
    pub marker: u32,
    /// The gateway that wrote it.
    pub gateway: [u8; 16],
    /// The run of that gateway: connection numbers are unique within it.
    pub run: [u8; 16],
    /// Which segment it is.
    pub name: SegmentName,
    /// When it was made, in microseconds since the Unix epoch.
    pub created_micros: i64,
    /// The number of its first entry.
    pub first: EntryNumber,
    /// Where the previous segment of the shard ended whole; 0 where there is none.
    pub previous_end: u64,
}

/// One whole frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Where it begins in its file.
    pub position: u64,
    /// All of it but its payload.
    pub front: Bytes,
    /// The bytes of its payload.
    pub payload_bytes: usize,
}

/// What of a frame is held against its checksums while a segment is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// All of it.
    Whole,
    /// Its front; payloads are not read. For who reads behind a writer that lives: what it wrote cannot be torn yet, and
    /// whoever shows or verifies an entry checks its payload.
    Fronts,
}

/// The sizes that a frame's head tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameSizes {
    front: usize,
    payload: usize,
}

/// What lies at the reader's place.
#[derive(Clone, Debug)]
pub enum Step {
    /// A whole frame; the reader stands behind it.
    Frame(Frame),
    /// The end of what is written so far.
    End,
    /// Bytes that are no whole frame, with no frame behind them: being written, or torn by a crash.
    Tail {
        /// Where they begin.
        position: u64,
        /// How many there are.
        size: u64,
    },
}

/// Reads a segment from front to back, also while it is written.
#[derive(Debug)]
pub struct SegmentReader {
    file: File,
    path: PathBuf,
    header: SegmentHeader,
    header_bytes: [u8; SEGMENT_HEADER_BYTES],
    position: u64,
    block: Bytes,
    block_at: u64,
    check: Check,
    /// How much is read ahead: little where payloads lie between the fronts.
    ahead: usize,
}

impl SegmentName {
    /// The file's name.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{:05}-{:010}.seg", self.shard, self.sequence)
    }

    /// The segment of a file's name, if it is one.
    #[must_use]
    pub fn parse(file_name: &str) -> Option<Self> {
        let (shard, sequence) = file_name.strip_suffix(".seg")?.split_once('-')?;
        let name = Self { shard: shard.parse().ok()?, sequence: sequence.parse().ok()? };
        (name.file_name() == file_name).then_some(name)
    }

    /// All segments in a directory, by shard and sequence. A directory that is not there holds none.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn list(directory: &Path) -> io::Result<Vec<Self>> {
        let files = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files?,
        };
        let mut names = Vec::new();
        for file in files {
            names.extend(file?.file_name().to_str().and_then(Self::parse));
        }
        names.sort_unstable();
        Ok(names)
    }
}

impl SegmentHeader {
    /// The header's bytes, CRC included.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let mut rest = bytes.as_mut_slice();
        put(&mut rest, &SEGMENT_MAGIC);
        put(&mut rest, &SEGMENT_VERSION.to_le_bytes());
        put(&mut rest, &u16::try_from(SEGMENT_HEADER_BYTES).unwrap_or_default().to_le_bytes());
        put(&mut rest, &self.marker.to_le_bytes());
        put(&mut rest, &self.gateway);
        put(&mut rest, &self.run);
        put(&mut rest, &self.name.shard.to_le_bytes());
        put(&mut rest, &[0; 4]);
        put(&mut rest, &self.name.sequence.to_le_bytes());
        put(&mut rest, &self.created_micros.to_le_bytes());
        put(&mut rest, &self.first.0.to_le_bytes());
        put(&mut rest, &self.previous_end.to_le_bytes());
        if let Some((covered, crc)) = bytes.split_last_chunk_mut::<4>() {
            *crc = crc_fast::crc32_iscsi(covered).to_le_bytes();
        }
        bytes
    }

    /// The header of its bytes.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the end of the sentence "the header is …".
    pub fn parse(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, &'static str> {
        let mut rest = bytes.as_slice();
        if take(&mut rest)? != SEGMENT_MAGIC {
            return Err("not one of a segment");
        }
        let (covered, crc) = bytes.split_last_chunk::<4>().ok_or("too short")?;
        if crc_fast::crc32_iscsi(covered).to_le_bytes() != *crc {
            return Err("altered");
        }
        if u16::from_le_bytes(take(&mut rest)?) != SEGMENT_VERSION {
            return Err("of a version that this build does not read");
        }
        let _: [u8; 2] = take(&mut rest)?;
        let marker = u32::from_le_bytes(take(&mut rest)?);
        let (gateway, run) = (take(&mut rest)?, take(&mut rest)?);
        let shard = u32::from_le_bytes(take(&mut rest)?);
        let _: [u8; 4] = take(&mut rest)?;
        let sequence = u64::from_le_bytes(take(&mut rest)?);
        Ok(Self {
            marker,
            gateway,
            run,
            name: SegmentName { shard, sequence },
            created_micros: i64::from_le_bytes(take(&mut rest)?),
            first: EntryNumber(u64::from_le_bytes(take(&mut rest)?)),
            previous_end: u64::from_le_bytes(take(&mut rest)?),
        })
    }
}

impl Frame {
    /// The entry's bytes, without its payload.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.front.get(FRAME_HEAD_BYTES..).unwrap_or_default()
    }

    /// All of its bytes in the file.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        wide(self.front.len()).saturating_add(wide(self.payload_bytes))
    }

    /// Where the next frame begins.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.position.saturating_add(self.size_bytes())
    }

    /// What its payload's hash must be: the end of its front.
    fn payload_hash(&self) -> Option<[u8; PAYLOAD_HASH_BYTES]> {
        self.front.last_chunk().copied()
    }
}

impl SegmentReader {
    /// Opens a segment and checks its header.
    ///
    /// # Errors
    ///
    /// [`SegmentError::Io`], or [`SegmentError::Header`] where the file is no segment of this name.
    pub fn open(directory: &Path, name: SegmentName, check: Check) -> Result<Self, SegmentError> {
        let path = directory.join(name.file_name());
        let io = |source| SegmentError::Io { path: path.clone(), source };
        let file = File::open(&path).map_err(io)?;
        let mut header_bytes = [0; SEGMENT_HEADER_BYTES];
        file.read_exact_at(&mut header_bytes, 0).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => {
                SegmentError::Header { path: path.clone(), reason: "not whole" }
            }
            _ => SegmentError::Io { path: path.clone(), source },
        })?;
        if header_bytes == [0; SEGMENT_HEADER_BYTES] {
            // A power cut may keep a new file's length and lose its bytes.
            return Err(SegmentError::Header { path, reason: "not whole" });
        }
        let header = SegmentHeader::parse(&header_bytes)
            .map_err(|reason| SegmentError::Header { path: path.clone(), reason })?;
        if header.name != name {
            return Err(SegmentError::Header { path, reason: "one of another segment" });
        }
        let position = wide(SEGMENT_HEADER_BYTES);
        let block = Bytes::new();
        let (block_at, ahead) = (position, BLOCK_BYTES);
        Ok(Self { file, path, header, header_bytes, position, block, block_at, check, ahead })
    }

    /// Checks this much from now on.
    pub fn set_check(&mut self, check: Check) {
        self.check = check;
    }

    /// What the segment says of itself.
    #[must_use]
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The header's bytes, which the hash chain covers.
    #[must_use]
    pub fn header_bytes(&self) -> &[u8; SEGMENT_HEADER_BYTES] {
        &self.header_bytes
    }

    /// Where the next frame begins.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The file itself, to sync it or to advise the kernel.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Goes to a place where a frame begins.
    pub fn seek(&mut self, position: u64) {
        self.position = position.max(wide(SEGMENT_HEADER_BYTES));
    }

    /// The file's length now.
    ///
    /// # Errors
    ///
    /// [`SegmentError::Io`].
    pub fn length(&self) -> Result<u64, SegmentError> {
        self.file.metadata().map(|facts| facts.len()).map_err(|source| self.io(source))
    }

    /// The next frame, or why there is none. After [`Step::End`] and [`Step::Tail`] it may be asked again.
    ///
    /// # Errors
    ///
    /// [`SegmentError`] as its variants say.
    ///
    /// # Limits
    ///
    /// No more memory is taken than the file has bytes, nor more than a block (1 MiB), one front or one payload.
    pub fn step(&mut self) -> Result<Step, SegmentError> {
        let position = self.position;
        if let Some(frame) = self.frame_at(position)? {
            self.position = frame.end();
            return Ok(Step::Frame(frame));
        }
        let length = self.length()?;
        if length < position {
            let path = self.path.clone();
            return Err(SegmentError::Cut { path, length, expected: position });
        }
        if length == position {
            return Ok(Step::End);
        }
        if !self.frame_follows(position.saturating_add(1), length)? {
            return Ok(Step::Tail { position, size: length.saturating_sub(position) });
        }
        // The writer may have finished this frame, and written the one that was found, since it was read.
        self.block = Bytes::new();
        match self.frame_at(position)? {
            Some(frame) => {
                self.position = frame.end();
                Ok(Step::Frame(frame))
            }
            None => Err(SegmentError::Damaged { path: self.path.clone(), position }),
        }
    }

    /// The body of the entry of `size` bytes at `position`, wherever the reader stands, payload included and checked; or
    /// `None` where no such entry is.
    ///
    /// # Errors
    ///
    /// [`SegmentError::Io`].
    pub fn entry(&mut self, position: u64, size: u32) -> Result<Option<Bytes>, SegmentError> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let bytes = self.bytes_at(position, size, RANDOM_BLOCK_BYTES)?;
        let sizes = frame_sizes(&bytes, self.header.marker);
        let Some(sizes) = sizes.filter(|sizes| sizes.whole() == bytes.len()) else {
            return Ok(None);
        };
        let frame =
            Frame { position, front: bytes.slice(..sizes.front), payload_bytes: sizes.payload };
        let payload = bytes.get(sizes.front..).unwrap_or_default();
        let sound = front_is_sound(&frame.front) && payload_is_sound(&frame, payload);
        Ok(sound.then(|| bytes.slice(FRAME_HEAD_BYTES..)))
    }

    /// The whole and sound frame at `position`, or `None`.
    fn frame_at(&mut self, position: u64) -> Result<Option<Frame>, SegmentError> {
        // The head is let go before the frame is read, so that the block can be filled again.
        let sizes = frame_sizes(
            &self.bytes_at(position, FRAME_HEAD_BYTES + BODY_HEAD_BYTES, self.ahead)?,
            self.header.marker,
        );
        let Some(FrameSizes { front, payload }) = sizes else { return Ok(None) };
        let bytes = self.bytes_at(position, front, self.ahead)?;
        if bytes.len() != front || !front_is_sound(&bytes) {
            return Ok(None);
        }
        let frame = Frame { position, front: bytes, payload_bytes: payload };
        if payload == 0 {
            self.ahead = BLOCK_BYTES;
            return Ok(Some(frame));
        }
        match self.check {
            Check::Fronts => {
                self.ahead = FRONT_BLOCK_BYTES;
                Ok((frame.end() <= self.length()?).then_some(frame))
            }
            Check::Whole => {
                let at = position.saturating_add(wide(front));
                let bytes = self.bytes_at(at, payload, BLOCK_BYTES)?;
                Ok(payload_is_sound(&frame, &bytes).then_some(frame))
            }
        }
    }

    /// Up to `size` bytes from `position`, fewer only where the file ends; `ahead` bytes are read where they are not
    /// held already.
    fn bytes_at(
        &mut self,
        position: u64,
        size: usize,
        ahead: usize,
    ) -> Result<Bytes, SegmentError> {
        if let Some(bytes) = self.held(position, size) {
            return Ok(bytes);
        }
        let there = usize::try_from(self.length()?.saturating_sub(position)).unwrap_or(usize::MAX);
        // A block that no frame holds any more is filled again: no fresh pages, and nothing to clear.
        let wanted = there.min(size.max(ahead));
        let mut block = std::mem::take(&mut self.block).try_into_mut().unwrap_or_default();
        block.resize(wanted, 0);
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, position.saturating_add(wide(filled))) {
                Ok(0) => break,
                Ok(read) => filled = filled.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.io(source)),
            }
        }
        block.truncate(filled);
        self.block = block.freeze();
        self.block_at = position;
        Ok(self.block.slice(..size.min(filled)))
    }

    fn held(&self, position: u64, size: usize) -> Option<Bytes> {
        let from = usize::try_from(position.checked_sub(self.block_at)?).ok()?;
        let to = from.checked_add(size)?;
        (to <= self.block.len()).then(|| self.block.slice(from..to))
    }

    /// Whether a whole and sound frame begins anywhere in `from..length`: the marker is looked for, then checked.
    fn frame_follows(&mut self, from: u64, length: u64) -> Result<bool, SegmentError> {
        let marker = self.header.marker.to_le_bytes();
        let finder = memmem::Finder::new(&marker);
        let mut at = from;
        while at.saturating_add(wide(FRAME_HEAD_BYTES)) <= length {
            let block = self.bytes_at(at, BLOCK_BYTES, BLOCK_BYTES)?;
            for found in finder.find_iter(&block) {
                let Some(start) = found.checked_sub(MARKER_OFFSET) else { continue };
                if self.frame_at(at.saturating_add(wide(start)))?.is_some() {
                    return Ok(true);
                }
            }
            // The next block overlaps, so that a frame's head on the border is seen whole.
            let step = block.len().saturating_sub(FRAME_HEAD_BYTES).max(1);
            at = at.saturating_add(wide(step));
        }
        Ok(false)
    }

    fn io(&self, source: io::Error) -> SegmentError {
        SegmentError::Io { path: self.path.clone(), source }
    }
}

impl FrameSizes {
    fn whole(self) -> usize {
        self.front.saturating_add(self.payload)
    }
}

/// The sizes of the frame with this head, or `None` where it is none of this segment.
fn frame_sizes(head: &[u8], marker: u32) -> Option<FrameSizes> {
    let word = |at: usize| head.get(at..)?.first_chunk().copied().map(u32::from_le_bytes);
    let size = |at: usize| usize::try_from(word(at)?).ok();
    let sizes_at = FRAME_HEAD_BYTES.saturating_add(SIZES_AT);
    let (fields, payload) = (size(sizes_at)?, size(sizes_at.saturating_add(4))?);
    let body = BODY_HEAD_BYTES.saturating_add(fields).saturating_add(payload);
    let is_one = word(MARKER_OFFSET)? == marker
        && size(LENGTH_OFFSET)? == body
        && fields <= FIELDS_BYTES_MAX
        && payload <= PAYLOAD_BYTES_MAX;
    let front = FRAME_HEAD_BYTES.saturating_add(BODY_HEAD_BYTES).saturating_add(fields);
    is_one.then_some(FrameSizes { front, payload })
}

fn front_is_sound(front: &[u8]) -> bool {
    front
        .split_first_chunk::<4>()
        .is_some_and(|(crc, covered)| crc_fast::crc32_iscsi(covered).to_le_bytes() == *crc)
}

fn payload_is_sound(frame: &Frame, payload: &[u8]) -> bool {
    payload.len() == frame.payload_bytes
        && (payload.is_empty() || frame.payload_hash() == Some(*blake3::hash(payload).as_bytes()))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], &'static str> {
    let (taken, behind) = rest.split_first_chunk::<N>().ok_or("too short")?;
    *rest = behind;
    Ok(*taken)
}

pub(super) fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// The bytes of a payload's hash.
const PAYLOAD_HASH_BYTES: usize = 32;

/// How much is read at once where single entries are looked up.
const RANDOM_BLOCK_BYTES: usize = 64 << 10;

/// How much is read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// How much is read at once where payloads are passed over: a front of a usual size.
const FRONT_BLOCK_BYTES: usize = 1 << 10;

/// Where a body's length lies in a frame.
const LENGTH_OFFSET: usize = 8;

/// Where the marker lies in a frame.
const MARKER_OFFSET: usize = 4;

#[cfg(test)]
mod tests;
