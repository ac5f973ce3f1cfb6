//! The codecs of one shard: contexts and buffers that are used again, one batch at a time.
//!
//! Decompression is pulled in slices and stops at a budget without having allocated more;
//! compression is pushed in slices. Every buffer is read up to the length that this batch has
//! written, never up to its capacity, so no byte of another batch, record or client can show.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use super::{BatchError, Codec};

/// The most that a batch may decompress to unless the caller says otherwise (`faults.md` §4.5).
pub const DECOMPRESSED_BYTES_MAX: usize = 32 << 20;

/// How much a call of `pull` may append at most, for codecs that can stop anywhere: the work of one
/// turn.
const SLICE_BYTES: usize = 128 << 10;
/// The least room that is made for output, so that small batches need one call.
const ROOM_BYTES_MIN: usize = 4 << 10;
/// Buffers above this size are given back after the batch that needed them.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Contexts and buffers for one batch at a time. A shard holds one for each batch that it may have
/// in work at once.
#[derive(Default)]
pub struct Codecs {
    /// The records as they decompress.
    pub(crate) plain: Plain,
    /// Rewritten records on their way to the encoder.
    pub(crate) rewritten: Vec<u8>,
    /// Which batch the contexts are in the middle of, so that two cannot be mixed.
    pub(crate) turn: u64,
    decoders: Decoders,
    encoders: Encoders,
}

/// Decompressed bytes, in storage that is used again and never zeroed twice: only what this batch
/// has written is ever shown.
///
/// Invariant: `length <= storage.len()`.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    storage: Vec<u8>,
    length: usize,
}

/// What is left of the compressed bytes.
struct Source<'s> {
    rest: &'s [u8],
}

#[derive(Default)]
struct Decoders {
    /// How much of the compressed bytes was decoded.
    consumed: usize,
    gzip: gzip::Decoder,
    snappy: snappy::Decoder,
    lz4: lz4::Decoder,
    zstd: zstd::Decoder,
}

#[derive(Default)]
struct Encoders {
    gzip: gzip::Encoder,
    snappy: snappy::Encoder,
    lz4: lz4::Encoder,
    zstd: zstd::Encoder,
}

/// Whether more decompressed bytes will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pulled {
    /// Pull again.
    More,
    /// The compressed bytes have ended as they should.
    End,
}

/// Why bytes do not decompress; the batch adds which codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Corrupt(&'static str),
    Budget,
}

impl Codecs {
    /// Empty contexts; each is made when its codec first comes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Prepares for decompressing `payload`.
    pub(crate) fn start_decoding(
        &mut self,
        codec: Codec,
        payload: &[u8],
    ) -> Result<(), BatchError> {
        self.plain.clear();
        let decoders = &mut self.decoders;
        decoders.consumed = 0;
        let started = match codec {
            Codec::None => Ok(()),
            Codec::Gzip => {
                decoders.gzip.start();
                Ok(())
            }
            Codec::Snappy => decoders.snappy.start(payload),
            Codec::Lz4 => decoders.lz4.start(payload),
            Codec::Zstd => decoders.zstd.start(),
        };
        started.map_err(|fault| fault.of(codec, 0))
    }

    /// Appends some more of what `payload`, by which decoding was started, decompresses to; `plain` never outgrows
    /// `budget`.
    pub(crate) fn pull(
        &mut self,
        codec: Codec,
        payload: &[u8],
        budget: usize,
    ) -> Result<Pulled, BatchError> {
        let Self { plain, decoders, .. } = self;
        let source = &mut Source { rest: payload.get(decoders.consumed..).unwrap_or_default() };
        let pulled = match codec {
            Codec::None => Ok(Pulled::End),
            Codec::Gzip => decoders.gzip.pull(source, plain, budget),
            Codec::Snappy => decoders.snappy.pull(source, plain, budget),
            Codec::Lz4 => decoders.lz4.pull(source, plain, budget),
            Codec::Zstd => decoders.zstd.pull(source, plain, budget),
        };
        decoders.consumed = payload.len().saturating_sub(source.rest.len());
        pulled.map_err(|fault| fault.of(codec, budget))
    }

    /// Prepares for compressing a batch in the manner of the payload that was decoded last.
    pub(crate) fn start_encoding(&mut self, codec: Codec, like: &[u8]) -> Result<(), BatchError> {
        let encoders = &mut self.encoders;
        match codec {
            Codec::None => Some(()),
            Codec::Gzip => {
                encoders.gzip.start();
                Some(())
            }
            Codec::Snappy => {
                encoders.snappy.start(like);
                Some(())
            }
            Codec::Lz4 => {
                encoders.lz4.start(like);
                Some(())
            }
            Codec::Zstd => encoders.zstd.start(),
        }
        .ok_or(BatchError::Compress { codec })
    }

    /// Appends the compressed form of the first `count` bytes of `self.rewritten` to `packed`, and removes them. Encoders
    /// may keep some back.
    pub(crate) fn push_rewritten(
        &mut self,
        codec: Codec,
        count: usize,
        packed: &mut Vec<u8>,
    ) -> Result<(), BatchError> {
        let mut rewritten = std::mem::take(&mut self.rewritten);
        let count = count.min(rewritten.len());
        let pushed = self.push(codec, rewritten.get(..count).unwrap_or_default(), packed);
        drop(rewritten.drain(..count));
        self.rewritten = rewritten;
        pushed
    }

    /// Appends the compressed form of `plain` to `packed`. Encoders may keep some back.
    pub(crate) fn push(
        &mut self,
        codec: Codec,
        plain: &[u8],
        packed: &mut Vec<u8>,
    ) -> Result<(), BatchError> {
        let encoders = &mut self.encoders;
        match codec {
            Codec::None => {
                packed.extend_from_slice(plain);
                Some(())
            }
            Codec::Gzip => encoders.gzip.push(plain, packed),
            Codec::Snappy => encoders.snappy.push(plain, packed),
            Codec::Lz4 => encoders.lz4.push(plain, packed),
            Codec::Zstd => encoders.zstd.push(plain, packed),
        }
        .ok_or(BatchError::Compress { codec })
    }

    /// Appends what the encoder kept back, and returns what belongs in front of everything it
    /// appended.
    pub(crate) fn finish_encoding(
        &mut self,
        codec: Codec,
        packed: &mut Vec<u8>,
    ) -> Result<Preamble, BatchError> {
        let encoders = &mut self.encoders;
        match codec {
            Codec::None => Some(Preamble::default()),
            Codec::Gzip => encoders.gzip.finish(packed).map(|()| Preamble::default()),
            Codec::Snappy => encoders.snappy.finish(packed),
            Codec::Lz4 => encoders.lz4.finish(packed).map(|()| Preamble::default()),
            Codec::Zstd => encoders.zstd.finish(packed).map(|()| Preamble::default()),
        }
        .ok_or(BatchError::Compress { codec })
    }

    /// Forgets the batch: lets go of its bytes, and of buffers that grew large for it.
    pub(crate) fn rest(&mut self) {
        self.decoders.lz4.rest();
        self.plain.clear();
        self.rewritten.clear();
        if self.plain.capacity() > KEPT_BYTES_MAX {
            self.plain = Plain::default();
        }
        if self.rewritten.capacity() > KEPT_BYTES_MAX {
            self.rewritten = Vec::new();
        }
    }

    /// Overwrites whatever an earlier batch left in the buffers, so that a byte that is shown by mistake is seen.
    #[cfg(test)]
    pub(crate) fn spoil(&mut self, poison: u8) {
        let Plain { storage, length } = &mut self.plain;
        storage[*length..].fill(poison);
        let length = self.rewritten.len();
        self.rewritten.resize(self.rewritten.capacity(), poison);
        self.rewritten.truncate(length);
        self.encoders.snappy.spoil(poison);
    }
}

/// Bytes that are known last and come first: the length that raw snappy begins with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Preamble {
    bytes: [u8; PREAMBLE_BYTES_MAX],
    length: usize,
}

/// The longest preamble.
pub(crate) const PREAMBLE_BYTES_MAX: usize = 5;

impl Preamble {
    fn new(bytes: [u8; PREAMBLE_BYTES_MAX], length: usize) -> Self {
        Self { bytes, length: length.min(PREAMBLE_BYTES_MAX) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Plain {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.storage.get(..self.length).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn capacity(&self) -> usize {
        self.storage.capacity()
    }

    fn clear(&mut self) {
        self.length = 0;
    }

    /// Fresh bytes up to `end`, to write to. Grows by doubling, never beyond the budget and the byte that shows an excess.
    fn room(&mut self, end: usize, budget: usize) -> &mut [u8] {
        if end > self.storage.len() {
            if end > self.storage.capacity() {
                let doubled = self.storage.capacity().saturating_mul(2);
                let wanted = doubled.min(budget.saturating_add(1)).max(end);
                self.storage.reserve_exact(wanted.saturating_sub(self.storage.len()));
            }
            self.storage.resize(end, 0);
        }
        self.storage.get_mut(self.length..end).unwrap_or_default()
    }

    /// Notes that `count` bytes of the room were written.
    fn wrote(&mut self, count: usize) {
        self.length = self.length.saturating_add(count).min(self.storage.len());
    }

    /// Appends `bytes`, for which there should be room already.
    fn extend(&mut self, bytes: &[u8]) {
        let end = self.length.saturating_add(bytes.len());
        self.room(end, end).copy_from_slice(bytes);
        self.length = end;
    }

    /// Appends `count` of its own bytes, those from `from` on; they are there, and there should be room already.
    fn repeat(&mut self, from: usize, count: usize) {
        let end = self.length.saturating_add(count);
        self.room(end, end);
        self.storage.copy_within(from..from.saturating_add(count), self.length);
        self.length = end;
    }
}

impl<'s> Source<'s> {
    fn bytes(&self) -> &'s [u8] {
        self.rest
    }

    fn advance(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }
}

impl Fault {
    fn of(self, codec: Codec, limit: usize) -> BatchError {
        match self {
            Self::Corrupt(what) => BatchError::Compressed { codec, what },
            Self::Budget => BatchError::Budget { limit },
        }
    }
}

/// Lets `decode` write to fresh bytes at the end of `plain`: at most a slice, and one byte beyond
/// the budget, which is how an excess shows. Returns what `decode` returns beside the count that it
/// wrote.
fn append<T>(
    plain: &mut Plain,
    budget: usize,
    expected: usize,
    decode: impl FnOnce(&mut [u8]) -> Result<(usize, T), Fault>,
) -> Result<T, Fault> {
    let start = plain.len();
    let room = expected
        .clamp(ROOM_BYTES_MIN, SLICE_BYTES)
        .min(budget.saturating_sub(start).saturating_add(1));
    let (written, outcome) = decode(plain.room(start.saturating_add(room), budget))?;
    plain.wrote(written);
    if plain.len() > budget { Err(Fault::Budget) } else { Ok(outcome) }
}
