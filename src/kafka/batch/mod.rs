//! Record batches of the current format (magic 2): walk, rewrite, write.
//!
//! ```text
//!  0 base offset i64        16 magic i8 (2)          35 max timestamp i64
//!  8 length i32 (after it)  17 CRC-32C u32 (from 21) 43 producer id i64
//! 12 leader epoch i32       21 attributes i16        51 producer epoch i16
//!                           23 last offset delta i32 53 base sequence i32
//!                           27 base timestamp i64    57 record count i32
//! 61 records, compressed as attributes say
//! ```
//!
//! Attributes: bits 0 to 2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon.
//! Nothing here knows policy: [`rewrite`] asks an [`rewrite::Edit`] for each part of each record.
//! Nothing is allocated by a count or a length that a peer sent before it was checked against the
//! bytes that are there.

pub mod arriving;
pub mod codec;
mod read;
pub mod record;
pub mod rewrite;
pub mod write;

#[cfg(test)]
mod tests;

use std::ops::Range;

/// The bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;
/// The bytes of base offset and length, which the length does not count.
pub const PREFIX_BYTES: usize = 12;
/// Where the bytes begin that the CRC covers.
pub(crate) const CRC_FROM: usize = 21;
/// The smallest value of the length field: a header without records.
const LENGTH_MIN: usize = HEADER_BYTES - PREFIX_BYTES;
/// The offset of the magic byte, in every version of the format.
const MAGIC_AT: usize = 16;

/// Why records cannot be read or rewritten. The caller answers an error for the partition; nothing
/// is passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A message set of magic 0 or 1, or a format of the future.
    #[error("record batch at byte {at} has magic {magic}, and only magic 2 is read")]
    Magic {
        /// Where the batch begins.
        at: usize,
        /// The magic byte.
        magic: i8,
    },
    /// A codec number that Kafka does not define.
    #[error("record batch uses codec {id}, and codecs are 0 to 4")]
    Codec {
        /// Bits 0 to 2 of the attributes.
        id: u8,
    },
    /// A length field that cannot be.
    #[error("record batch at byte {at} has length {length}, and the least is 49")]
    Length {
        /// Where the batch begins.
        at: usize,
        /// The length field.
        length: i32,
    },
    /// A record count below zero.
    #[error("record batch counts {count} records")]
    Count {
        /// The count field.
        count: i32,
    },
    /// The checksum does not hold.
    #[error("record batch has CRC-32C {found:08x} in its header and {computed:08x} over its bytes")]
    Crc {
        /// What the header says.
        found: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// The records do not read as records.
    #[error("record batch does not read as records: {what}")]
    Records {
        /// Which rule they break.
        what: &'static str,
    },
    /// The compressed bytes do not read as their codec says.
    #[error("record batch does not decompress as {codec}: {what}")]
    Compressed {
        /// The codec of the batch.
        codec: Codec,
        /// Which rule they break.
        what: &'static str,
    },
    /// Decompressed, or rewritten, the batch would outgrow its budget.
    #[error("record batch outgrows the budget of {limit} bytes once decompressed or rewritten")]
    Budget {
        /// The budget in bytes.
        limit: usize,
    },
    /// A codec of ours failed on bytes of ours.
    #[error("record batch does not compress as {codec}")]
    Compress {
        /// The codec of the batch.
        codec: Codec,
    },
}

/// The compression of a batch, as attributes number it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// 0: as they are.
    None,
    /// 1: gzip, one or more members.
    Gzip,
    /// 2: snappy, raw or in xerial's framing.
    Snappy,
    /// 3: lz4 frames.
    Lz4,
    /// 4: zstd frames.
    Zstd,
}

/// The header of a batch, checked; [`Batches`] makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The offset of the first record that was ever in the batch.
    pub base_offset: i64,
    /// The epoch of the leader that appended it.
    pub leader_epoch: i32,
    /// The CRC-32C as the header has it; [`Batch::check_crc`] holds it against the bytes.
    pub crc: u32,
    /// All bits as they came.
    pub attributes: i16,
    /// The codec in `attributes`.
    pub codec: Codec,
    /// The last offset, from the base offset.
    pub last_offset_delta: i32,
    /// The timestamp that deltas count from, or the delete horizon where its bit is set;
    /// milliseconds.
    pub base_timestamp: i64,
    /// The latest timestamp, milliseconds.
    pub max_timestamp: i64,
    /// The producer id, or -1.
    pub producer_id: i64,
    /// The producer's epoch, or -1.
    pub producer_epoch: i16,
    /// The sequence of the first record, or -1.
    pub base_sequence: i32,
    /// How many records there are; 0 in what compaction left.
    pub count: u32,
}

/// One batch in the bytes that it was read from.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// Its header.
    pub header: Header,
    /// Its bytes, header included.
    pub bytes: &'a [u8],
    /// Where those bytes are in what was walked.
    pub span: Range<usize>,
}

/// Walks the batches of one partition's records, whole ones only.
///
/// Iteration ends at the first error, and at a batch that is cut short: a fetch may end in one.
/// What it left unread is [`Batches::trailing_bytes`], which is an error for a produce and is
/// dropped on masked topics.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    records: &'a [u8],
    at: usize,
    failed: bool,
}

/// What the record log says of one partition's records, without decompressing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The base offset of the first batch.
    pub first_offset: i64,
    /// The last offset of the last whole batch.
    pub last_offset: i64,
    /// Whole batches.
    pub batches: u32,
    /// Records in them, as their headers count.
    pub records: u64,
    /// The bytes of whole batches; what follows is an incomplete one.
    pub bytes: usize,
    /// The producer id of the first batch, or -1.
    pub producer_id: i64,
    /// That producer's epoch.
    pub producer_epoch: i16,
    /// The sequence number of the first batch's first record.
    pub base_sequence: i32,
    /// Whether any batch is part of a transaction.
    pub transactional: bool,
    /// Whether any batch is a control batch.
    pub control: bool,
    /// The codec of the first batch.
    pub codec: Codec,
    /// The latest timestamp of all, milliseconds.
    pub max_timestamp: i64,
}

/// Summarises the whole batches of one partition's records; `None` where there is none.
///
/// # Errors
/// As [`Batches`].
pub fn summarise(records: &[u8]) -> Result<Option<Summary>, BatchError> {
    let mut summary: Option<Summary> = None;
    for batch in Batches::new(records) {
        let Batch { header, bytes, .. } = batch?;
        Summary::add(&mut summary, &header, bytes.len());
    }
    Ok(summary)
}

impl Summary {
    /// Adds a whole batch of `bytes` bytes to what is known of those before it.
    pub(crate) fn add(summary: &mut Option<Self>, header: &Header, bytes: usize) {
        let all = summary.get_or_insert(Self {
            first_offset: header.base_offset,
            last_offset: header.last_offset(),
            batches: 0,
            records: 0,
            bytes: 0,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            transactional: false,
            control: false,
            codec: header.codec,
            max_timestamp: header.max_timestamp,
        });
        all.first_offset = all.first_offset.min(header.base_offset);
        all.last_offset = all.last_offset.max(header.last_offset());
        all.batches = all.batches.saturating_add(1);
        all.records = all.records.saturating_add(u64::from(header.count));
        all.bytes = all.bytes.saturating_add(bytes);
        all.transactional |= header.is_transactional();
        all.control |= header.is_control();
        all.max_timestamp = all.max_timestamp.max(header.max_timestamp);
    }
}

impl<'a> Batches<'a> {
    /// Walks `records`, as a Fetch response or a Produce request carries them.
    #[must_use]
    pub fn new(records: &'a [u8]) -> Self {
        Self { records, at: 0, failed: false }
    }

    /// How many bytes follow the last whole batch; meaningful once iteration has ended without an
    /// error.
    #[must_use]
    pub fn trailing_bytes(&self) -> usize {
        self.records.len().saturating_sub(self.at)
    }

    fn read(&self) -> Result<Option<Batch<'a>>, BatchError> {
        let at = self.at;
        let Some(rest) = self.records.get(at..) else { return Ok(None) };
        let Some(bytes_count) = size(at, rest)? else { return Ok(None) };
        let Some(bytes) = rest.get(..bytes_count) else { return Ok(None) };
        let header = Header::read(bytes)?;
        Ok(Some(Batch { header, bytes, span: at..at.saturating_add(bytes_count) }))
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let read = self.read();
        match &read {
            Ok(Some(batch)) => self.at = batch.span.end,
            Ok(None) => {}
            Err(_) => self.failed = true,
        }
        read.transpose()
    }
}

impl Batch<'_> {
    /// The records as they are in the batch, compressed or not.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Holds the checksum against the bytes.
    ///
    /// # Errors
    /// [`BatchError::Crc`] where they differ.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = crc_fast::crc32_iscsi(self.bytes.get(CRC_FROM..).unwrap_or_default());
        let found = self.header.crc;
        if found == computed { Ok(()) } else { Err(BatchError::Crc { found, computed }) }
    }
}

impl Header {
    /// Reads the header at the start of `bytes`, which hold at least [`HEADER_BYTES`].
    fn read(bytes: &[u8]) -> Result<Self, BatchError> {
        let attributes = i16::from_be_bytes(field(bytes, 21));
        let count = i32::from_be_bytes(field(bytes, 57));
        Ok(Self {
            base_offset: i64::from_be_bytes(field(bytes, 0)),
            leader_epoch: i32::from_be_bytes(field(bytes, 12)),
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes,
            codec: Codec::of(attributes)?,
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            count: u32::try_from(count).map_err(|_| BatchError::Count { count })?,
        })
    }

    /// The offset of the last record that was ever in the batch.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Whether the batch is part of a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Whether the batch holds a marker of Kafka's own, which clients do not see.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// Whether timestamps are those of the broker's append.
    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & 0x08 != 0
    }

    /// Whether the base timestamp is a delete horizon.
    #[must_use]
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & 0x40 != 0
    }
}

impl Codec {
    /// The codec in the low bits of attributes.
    ///
    /// # Errors
    /// [`BatchError::Codec`] for 5 to 7.
    pub fn of(attributes: i16) -> Result<Self, BatchError> {
        match attributes & 0x07 {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            id => Err(BatchError::Codec { id: u8::try_from(id).unwrap_or(u8::MAX) }),
        }
    }

    /// The number in attributes.
    #[must_use]
    pub fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The name in Kafka's configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl std::fmt::Display for Codec {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The bytes of the batch that begins with `rest`, at byte `at`; `None` where its format is not in there.
fn size(at: usize, rest: &[u8]) -> Result<Option<usize>, BatchError> {
    let Some(&magic) = rest.get(MAGIC_AT) else { return Ok(None) };
    if magic != 2 {
        return Err(BatchError::Magic { at, magic: i8::from_be_bytes([magic]) });
    }
    let length = i32::from_be_bytes(field(rest, 8));
    usize::try_from(length)
        .ok()
        .filter(|length| *length >= LENGTH_MIN)
        .and_then(|length| length.checked_add(PREFIX_BYTES))
        .map(Some)
        .ok_or(BatchError::Length { at, length })
}

/// `N` bytes at `at`; zeros beyond the end, which callers have excluded.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
}
