//! LZ4 frames: the only form that magic 2 knows. Written as they came in: block size and checksums
//! the same.

use std::io::{BufRead, Cursor, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{Fault, KEPT_BYTES_MAX, Plain, Pulled, SLICE_BYTES, Source};

/// Reads frames until the source is empty.
#[derive(Default)]
pub(super) struct Decoder {
    /// It reads from a copy of the compressed bytes, because it lives longer than they do.
    decoder: Option<FrameDecoder<Cursor<Vec<u8>>>>,
    shape: Option<Shape>,
}

/// Writes one frame.
#[derive(Default)]
pub(super) struct Encoder {
    encoder: Option<FrameEncoder<Vec<u8>>>,
    shape: Option<Shape>,
    /// Whether a frame was begun and not ended: it may hold bytes of its batch.
    open: bool,
}

/// The two bytes of a frame's descriptor that decide how its buffers are laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    flags: u8,
    block: u8,
}

impl Decoder {
    pub(super) fn start(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let shape = check_frames(payload)?;
        // A context is used again for frames of the same shape only: its buffers are sized for the
        // first one.
        let decoder = match &mut self.decoder {
            Some(decoder) if self.shape == Some(shape) && is_at_rest(decoder) => decoder,
            stale => stale.insert(FrameDecoder::new(Cursor::default())),
        };
        let source = decoder.get_mut();
        source.set_position(0);
        source.get_mut().clear();
        source.get_mut().extend_from_slice(payload);
        self.shape = Some(shape);
        Ok(())
    }

    pub(super) fn pull(
        &mut self,
        source: &mut Source<'_>,
        plain: &mut Plain,
        budget: usize,
    ) -> Result<Pulled, Fault> {
        let pulled = self.pull_slice(source, plain, budget);
        if pulled.is_err() {
            // What it had decoded stays inside; a fresh one will not show it to the next batch.
            self.decoder = None;
            self.shape = None;
        }
        pulled
    }

    fn pull_slice(
        &mut self,
        source: &mut Source<'_>,
        plain: &mut Plain,
        budget: usize,
    ) -> Result<Pulled, Fault> {
        let decoder = self.decoder.as_mut().ok_or(BROKEN)?;
        let block = decoder.fill_buf().map_err(|_| BROKEN)?;
        let taken = block.len().min(SLICE_BYTES);
        if taken > 0 {
            let length = plain.len().saturating_add(taken);
            if length > budget {
                return Err(Fault::Budget);
            }
            plain.room(length, budget);
            plain.extend(block.get(..taken).unwrap_or_default());
            decoder.consume(taken);
            return Ok(Pulled::More);
        }
        // Nothing more in this frame. The frames were counted through before, so the reader is at
        // the next or at the end.
        if is_at_rest(decoder) {
            source.advance(source.bytes().len());
            return Ok(Pulled::End);
        }
        Ok(Pulled::More)
    }

    /// Lets go of the batch.
    pub(super) fn rest(&mut self) {
        let is_kept = |decoder: &FrameDecoder<Cursor<Vec<u8>>>| {
            is_at_rest(decoder) && decoder.get_ref().get_ref().capacity() <= KEPT_BYTES_MAX
        };
        self.decoder = self.decoder.take().filter(is_kept);
    }
}

/// Whether a decoder has read its frames to their end marks. One that has not may hold bytes of its
/// batch, and would show them to the next.
fn is_at_rest(decoder: &FrameDecoder<Cursor<Vec<u8>>>) -> bool {
    let source = decoder.get_ref();
    usize::try_from(source.position()).is_ok_and(|read| read >= source.get_ref().len())
}

impl Encoder {
    pub(super) fn start(&mut self, like: &[u8]) {
        let shape = match *like {
            [_, _, _, _, flags, block, ..] => Shape { flags, block },
            _ => SHAPE_DEFAULT,
        };
        match &mut self.encoder {
            Some(encoder) if self.shape == Some(shape) && !self.open => encoder.get_mut().clear(),
            stale => {
                let info = FrameInfo::new()
                    .block_size(shape.block_size())
                    // The Java client reads no linked blocks.
                    .block_mode(BlockMode::Independent)
                    .block_checksums(shape.flags & FLAG_BLOCK_CHECKSUM != 0)
                    .content_checksum(shape.flags & FLAG_CONTENT_CHECKSUM != 0);
                *stale = Some(FrameEncoder::with_frame_info(info, Vec::new()));
            }
        }
        self.shape = Some(shape);
        self.open = false;
    }

    pub(super) fn push(&mut self, plain: &[u8], packed: &mut Vec<u8>) -> Option<()> {
        let encoder = self.encoder.as_mut()?;
        self.open |= !plain.is_empty();
        encoder.write_all(plain).ok()?;
        packed.append(encoder.get_mut());
        Some(())
    }

    pub(super) fn finish(&mut self, packed: &mut Vec<u8>) -> Option<()> {
        if !self.open {
            // A used encoder would end a frame that it never began.
            packed.extend_from_slice(&FRAME_EMPTY);
            return Some(());
        }
        let encoder = self.encoder.as_mut()?;
        encoder.try_finish().ok()?;
        packed.append(encoder.get_mut());
        self.open = false;
        Some(())
    }
}

impl Shape {
    fn block_size(self) -> BlockSize {
        match self.block >> 4 & 0x07 {
            5 => BlockSize::Max256KB,
            6 => BlockSize::Max1MB,
            7 => BlockSize::Max4MB,
            _ => BlockSize::Max64KB,
        }
    }
}

/// Walks the frames in `bytes` by their lengths alone: whole ones, to the last byte. The decoder
/// takes a frame without its end mark for an ended one.
fn check_frames(mut bytes: &[u8]) -> Result<Shape, Fault> {
    let mut first = None;
    while first.is_none() || !bytes.is_empty() {
        let (shape, rest) = split_frame(bytes).ok_or(CUT_SHORT)?;
        first.get_or_insert(shape);
        // The decoder would keep its buffers for a second frame of another shape.
        if first != Some(shape) {
            return Err(Fault::Corrupt("its frames differ in shape"));
        }
        bytes = rest;
    }
    first.ok_or(CUT_SHORT)
}

fn split_frame(bytes: &[u8]) -> Option<(Shape, &[u8])> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*magic) != MAGIC {
        return None;
    }
    let ([flags, block], rest) = rest.split_first_chunk::<2>()?;
    let mut skipped = 1_usize;
    if flags & FLAG_CONTENT_SIZE != 0 {
        skipped = skipped.checked_add(8)?;
    }
    if flags & FLAG_DICTIONARY != 0 {
        skipped = skipped.checked_add(4)?;
    }
    let (_, mut rest) = rest.split_at_checked(skipped)?;
    loop {
        let (size, after) = rest.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size) & !UNCOMPRESSED;
        rest = after;
        if size == 0 {
            break;
        }
        let mut skipped = usize::try_from(size).ok()?;
        if flags & FLAG_BLOCK_CHECKSUM != 0 {
            skipped = skipped.checked_add(4)?;
        }
        (_, rest) = rest.split_at_checked(skipped)?;
    }
    if flags & FLAG_CONTENT_CHECKSUM != 0 {
        (_, rest) = rest.split_at_checked(4)?;
    }
    Some((Shape { flags: *flags, block: *block }, rest))
}

const MAGIC: u32 = 0x184d_2204;
const UNCOMPRESSED: u32 = 1 << 31;
const FLAG_DICTIONARY: u8 = 0x01;
const FLAG_CONTENT_CHECKSUM: u8 = 0x04;
const FLAG_CONTENT_SIZE: u8 = 0x08;
const FLAG_BLOCK_CHECKSUM: u8 = 0x10;
/// Version 1, independent blocks of 64 KiB, no checksums: Kafka's default.
const SHAPE_DEFAULT: Shape = Shape { flags: 0x60, block: 0x40 };
/// A frame of the default shape without blocks: magic, descriptor with its check byte, end mark.
const FRAME_EMPTY: [u8; 11] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82, 0, 0, 0, 0];
const BROKEN: Fault = Fault::Corrupt("a frame is broken");
const CUT_SHORT: Fault = Fault::Corrupt("it does not end with a whole frame");
