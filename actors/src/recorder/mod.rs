//! The record log: what every session did, written before it happens, chained, signed and read back.
//!
//! ```text
//! shard ── entry ─▶ encode ─▶ writer ─▶ segment file ─▶ store ─▶ index (RocksDB)
//!                                           │             └────▶ chain ─▶ heads (signed)
//!                                           └─▶ replay, verify
//! ```
//!
//! A gateway starts in this order: [`drain::Store::open`] (it takes the directory's lock), [`verify::verify`] of what is
//! recent, one [`writer::SegmentWriter::open`] per shard and one for the control plane; then the store drains and seals
//! a few times a second. Where the verification is not sound, or a drain tells of damage, nothing more is written.
//!
//! Segments are the truth and have one writer each, the shard. The index has one writer, the store, and can be thrown
//! away. Nothing here knows an executor: all functions are synchronous and plain.

pub mod chain;
pub mod control;
pub mod decode;
pub mod drain;
pub mod encode;
pub mod entry;
pub mod heads;
pub mod index;
pub mod keys;
pub mod replay;
pub mod segment;
pub mod store;
pub mod verify;
pub mod walk;
pub mod writer;

#[cfg(test)]
mod samples;

/// How much of what a session does is recorded; that it did it always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordLevel {
    /// Record batches as they are delivered or forwarded: masked where the client sees them masked.
    Delivered,
    /// No record batches.
    None,
}
