//! The hash chain of a shard's log: one value that depends on every byte before it.
//!
//! ```text
//! h(0)   = blake3( "sluicegate record chain 1" ‖ shard u32 )
//! header : h = blake3( h ‖ the segment's 128 header bytes )
//! entry  : h = blake3( h ‖ the frame's front )
//! ```
//!
//! The front holds the payload's own hash, so that a payload may one day be removed from a log that still proves the rest,
//! and so that the chain is computed without reading payloads.
//! The chain is computed behind the writer, by the store; what makes it evidence are the signed heads.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::entry::EntryNumber;
use super::segment::{Frame, SEGMENT_HEADER_BYTES};

/// One value of a chain.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash(pub [u8; 32]);

/// How far a shard's log has been read, and the chain's value there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlace {
    /// The shard.
    pub shard: u32,
    /// The segment's sequence.
    pub segment: u64,
    /// The byte in the segment; 0 is before its header.
    pub position: u64,
    /// The number of the next entry.
    pub entries: u64,
    /// The chain's value.
    pub hash: ChainHash,
}

impl LogPlace {
    /// The place before a shard's first segment.
    #[must_use]
    pub fn start(shard: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(CHAIN_CONTEXT).update(&shard.to_le_bytes());
        let hash = ChainHash(*hasher.finalize().as_bytes());
        Self { shard, segment: 0, position: 0, entries: 0, hash }
    }

    /// The number that the next entry must have.
    #[must_use]
    pub fn next(&self) -> EntryNumber {
        EntryNumber(self.entries)
    }

    /// Goes behind the header of `segment`.
    pub(super) fn enter(&mut self, segment: u64, header: &[u8; SEGMENT_HEADER_BYTES]) {
        self.segment = segment;
        self.position = super::segment::wide(SEGMENT_HEADER_BYTES);
        self.hash.fold(&[header]);
    }

    /// Goes behind one frame.
    pub(super) fn pass(&mut self, frame: &Frame) {
        self.hash.fold(&[&frame.front]);
        self.position = frame.end();
        self.entries = self.entries.saturating_add(1);
    }
}

impl ChainHash {
    /// The hash of its text of 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|hash| Self(*hash.as_bytes()))
    }

    fn fold(&mut self, parts: &[&[u8]]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        for part in parts {
            hasher.update(part);
        }
        *self = Self(*hasher.finalize().as_bytes());
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ChainHash({self})")
    }
}

impl Serialize for ChainHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChainHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a hash is not 64 hexadecimal digits"))
    }
}

/// What the chain's first value is made of, so that it is no other program's hash.
const CHAIN_CONTEXT: &[u8] = b"sluicegate record chain 1";
