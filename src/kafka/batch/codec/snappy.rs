//! Snappy: one raw block, or xerial's framing of many, as the Java client writes. Written as it
//! came in.
//!
//! ```text
//! xerial: 82 'SNAPPY' 00 │ version i32 │ compatible i32 │ { length i32 │ raw block }…
//! ```

use super::{Fault, PREAMBLE_BYTES_MAX, Plain, Preamble, Pulled, Source};

/// Reads one raw block, or blocks until the source is empty.
#[derive(Default)]
pub(super) struct Decoder {
    decoder: snap::raw::Decoder,
    xerial: bool,
    /// A raw block that is too large for one turn, as far as it was read.
    long: Option<LongBlock>,
}

/// A raw block on its way through several turns.
///
/// ```text
/// length varint │ { literal: xxxxxx00 [length] bytes │ copy: xxxxxx01, 10 or 11, offset }…
/// ```
#[derive(Clone, Copy, Debug)]
struct LongBlock {
    /// Where it begins in what was decoded.
    start: usize,
    /// Where it ends.
    end: usize,
    /// How much is left of the literal that was begun.
    literal_left: usize,
}

/// Writes one raw block, or xerial's framing.
#[derive(Default)]
pub(super) struct Encoder {
    context: Option<Box<snap::raw::Encoder>>,
    xerial: bool,
    header_written: bool,
    /// Bytes that do not fill a block yet.
    kept: Vec<u8>,
    /// Room for one compressed block, which is larger than most of them need: never zeroed twice.
    room: Vec<u8>,
    /// How many bytes the raw block holds so far.
    length: usize,
}

impl Decoder {
    pub(super) fn start(&mut self, payload: &[u8]) -> Result<(), Fault> {
        self.xerial = payload.starts_with(&XERIAL_MAGIC);
        self.long = None;
        if payload.is_empty() { Err(CUT_SHORT) } else { Ok(()) }
    }

    pub(super) fn pull(
        &mut self,
        source: &mut Source<'_>,
        plain: &mut Plain,
        budget: usize,
    ) -> Result<Pulled, Fault> {
        if !self.xerial {
            return self.pull_raw(source, plain, budget);
        }
        // A stream that was appended to begins again with a header.
        if source.bytes().starts_with(&XERIAL_MAGIC) {
            if source.bytes().len() < XERIAL_HEADER.len() {
                return Err(CUT_SHORT);
            }
            source.advance(XERIAL_HEADER.len());
        }
        let Some((length, rest)) = source.bytes().split_first_chunk::<4>() else {
            return if source.bytes().is_empty() { Ok(Pulled::End) } else { Err(CUT_SHORT) };
        };
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| CUT_SHORT)?;
        self.block(rest.get(..length).ok_or(CUT_SHORT)?, plain, budget)?;
        source.advance(length.saturating_add(4));
        Ok(if source.bytes().is_empty() { Pulled::End } else { Pulled::More })
    }

    /// Decodes the only raw block: at once, or in several turns where that would take too long.
    fn pull_raw(
        &mut self,
        source: &mut Source<'_>,
        plain: &mut Plain,
        budget: usize,
    ) -> Result<Pulled, Fault> {
        let mut block = match self.long.take() {
            Some(block) => block,
            None => {
                let (start, end) = Self::stretch(source.bytes(), plain.len(), budget)?;
                if end.saturating_sub(start) <= AT_ONCE_BYTES_MAX {
                    self.block(source.bytes(), plain, budget)?;
                    source.advance(source.bytes().len());
                    return Ok(Pulled::End);
                }
                let length = source.bytes().iter().take_while(|byte| **byte & 0x80 != 0).count();
                source.advance(length.saturating_add(1));
                LongBlock { start, end, literal_left: 0 }
            }
        };
        let turn_end = block.end.min(plain.len().saturating_add(TURN_BYTES));
        plain.room(turn_end.saturating_add(COPY_BYTES_MAX).min(block.end), budget);
        while plain.len() < turn_end {
            block.read_some(source, plain, turn_end)?;
        }
        if plain.len() < block.end {
            self.long = Some(block);
            return Ok(Pulled::More);
        }
        if source.bytes().is_empty() && plain.len() == block.end {
            return Ok(Pulled::End);
        }
        Err(BROKEN)
    }

    /// From where to where a raw block would stand behind `start` decoded bytes. Its declared length is held against the
    /// budget and against what its bytes can hold at most, before anything is allocated.
    fn stretch(block: &[u8], start: usize, budget: usize) -> Result<(usize, usize), Fault> {
        let declared = snap::raw::decompress_len(block).map_err(|_| BROKEN)?;
        let end = start.saturating_add(declared);
        if end > budget {
            return Err(Fault::Budget);
        }
        if declared > block.len().saturating_mul(RATIO_MAX) {
            return Err(Fault::Corrupt("a block declares more than it can hold"));
        }
        Ok((start, end))
    }

    /// Decodes one raw block.
    fn block(&mut self, block: &[u8], plain: &mut Plain, budget: usize) -> Result<(), Fault> {
        let (start, end) = Self::stretch(block, plain.len(), budget)?;
        match self.decoder.decompress(block, plain.room(end, budget)) {
            Ok(written) if start.checked_add(written) == Some(end) => {
                plain.wrote(written);
                Ok(())
            }
            _ => Err(BROKEN),
        }
    }
}

impl LongBlock {
    /// Decodes one element, or what of a literal fits into the turn.
    fn read_some(
        &mut self,
        source: &mut Source<'_>,
        plain: &mut Plain,
        turn_end: usize,
    ) -> Result<(), Fault> {
        if self.literal_left > 0 {
            let count = self.literal_left.min(turn_end.saturating_sub(plain.len()));
            plain.extend(source.bytes().get(..count).ok_or(BROKEN)?);
            source.advance(count);
            self.literal_left = self.literal_left.saturating_sub(count);
            return Ok(());
        }
        let [tag, extra @ ..] = source.bytes() else { return Err(BROKEN) };
        let high = usize::from(tag >> 2);
        // How many bytes follow the tag.
        let (follow, copied) = match tag & 3 {
            0 => (high.saturating_sub(59), None),
            1 => (1, Some((high & 7).saturating_add(4))),
            2 => (2, Some(high.saturating_add(1))),
            _ => (4, Some(high.saturating_add(1))),
        };
        let mut number = [0; 4];
        number
            .get_mut(..follow)
            .zip(extra.get(..follow))
            .map(|(number, extra)| number.copy_from_slice(extra))
            .ok_or(BROKEN)?;
        let number = usize::try_from(u32::from_le_bytes(number)).map_err(|_| BROKEN)?;
        // The highest bits of a short copy's offset are in its tag.
        let offset = if tag & 3 == 1 { number | (high >> 3) << 8 } else { number };
        source.advance(follow.saturating_add(1));
        let Some(count) = copied else {
            let length = if follow == 0 { high } else { number };
            self.literal_left = length.saturating_add(1);
            let fits = plain.len().saturating_add(self.literal_left) <= self.end;
            return if fits { Ok(()) } else { Err(BROKEN) };
        };
        let from = plain.len().checked_sub(offset).filter(|from| *from >= self.start && offset > 0);
        let from = from.ok_or(BROKEN)?;
        let copy_end = plain.len().saturating_add(count);
        if copy_end > self.end {
            return Err(BROKEN);
        }
        // What is copied may reach into what it makes: the stretch from there repeats, twice as long each time.
        while plain.len() < copy_end {
            let there = plain.len().saturating_sub(from);
            let some = there.min(copy_end.saturating_sub(plain.len()));
            plain.repeat(from, some);
        }
        Ok(())
    }
}

impl Encoder {
    /// See [`super::Codecs::spoil`].
    #[cfg(test)]
    pub(super) fn spoil(&mut self, poison: u8) {
        self.room.fill(poison);
    }

    pub(super) fn start(&mut self, like: &[u8]) {
        self.xerial = like.starts_with(&XERIAL_MAGIC);
        self.header_written = false;
        self.kept.clear();
        self.length = 0;
    }

    pub(super) fn push(&mut self, mut plain: &[u8], packed: &mut Vec<u8>) -> Option<()> {
        let block_bytes = if self.xerial { XERIAL_BLOCK_BYTES } else { RAW_BLOCK_BYTES };
        if !self.kept.is_empty() {
            let wanted = block_bytes.saturating_sub(self.kept.len()).min(plain.len());
            let (taken, rest) = plain.split_at_checked(wanted)?;
            self.kept.extend_from_slice(taken);
            plain = rest;
            if self.kept.len() < block_bytes {
                return Some(());
            }
            let kept = std::mem::take(&mut self.kept);
            self.block(&kept, packed)?;
            self.kept = kept;
            self.kept.clear();
        }
        while let Some((block, rest)) = plain.split_at_checked(block_bytes) {
            self.block(block, packed)?;
            plain = rest;
        }
        self.kept.extend_from_slice(plain);
        Some(())
    }

    pub(super) fn finish(&mut self, packed: &mut Vec<u8>) -> Option<Preamble> {
        let kept = std::mem::take(&mut self.kept);
        if !kept.is_empty() || !self.header_written {
            self.block(&kept, packed)?;
        }
        self.kept = kept;
        self.kept.clear();
        if self.xerial {
            return Some(Preamble::default());
        }
        let mut bytes = [0; PREAMBLE_BYTES_MAX];
        let mut length = 0;
        let mut left = u32::try_from(self.length).ok()?;
        for byte in &mut bytes {
            let [low, ..] = left.to_le_bytes();
            left >>= 7;
            length += 1;
            *byte = if left == 0 { low & 0x7f } else { low | 0x80 };
            if left == 0 {
                break;
            }
        }
        Some(Preamble::new(bytes, length))
    }

    /// Compresses one block. A raw stream has one length in front of all its blocks, so theirs are
    /// cut off: a block refers to nothing before itself, so that blocks in a row read as one.
    fn block(&mut self, plain: &[u8], packed: &mut Vec<u8>) -> Option<()> {
        if self.xerial && !self.header_written {
            packed.extend_from_slice(&XERIAL_HEADER);
        }
        self.header_written = true;
        self.length = self.length.checked_add(plain.len())?;
        let most = snap::raw::max_compress_len(plain.len());
        if self.room.len() < most {
            self.room.resize(most, 0);
        }
        let context = self.context.get_or_insert_with(|| Box::new(snap::raw::Encoder::new()));
        let written = context.compress(plain, &mut self.room).ok()?;
        let block = self.room.get(..written)?;
        if self.xerial {
            packed.extend_from_slice(&i32::try_from(written).ok()?.to_be_bytes());
            packed.extend_from_slice(block);
            return Some(());
        }
        let own_length = block.iter().take_while(|byte| **byte & 0x80 != 0).count();
        packed.extend_from_slice(block.get(own_length.checked_add(1)?..)?);
        Some(())
    }
}

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The magic, version 1, readable by version 1.
const XERIAL_HEADER: [u8; 16] =
    [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// What snappy-java fills its blocks to.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// What the encoder treats as one block anyway.
const RAW_BLOCK_BYTES: usize = 64 << 10;
/// A copy of 64 bytes takes three, so no input holds more than this times its length (`threats.md`
/// §2.3).
const RATIO_MAX: usize = 22;
/// A raw block of no more decoded bytes than this is decoded in one turn: about a millisecond. Larger ones, which no client
/// writes by default, take turns of their own, by a slower reader.
const AT_ONCE_BYTES_MAX: usize = 2 << 20;
/// How many bytes of a larger block one turn decodes.
const TURN_BYTES: usize = 128 << 10;
/// The most bytes that one copy stands for.
const COPY_BYTES_MAX: usize = 64;
const BROKEN: Fault = Fault::Corrupt("a block is broken");
const CUT_SHORT: Fault = Fault::Corrupt("it ends within a block");
