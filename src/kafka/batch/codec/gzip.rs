//! Gzip (RFC 1952): members one after another, over one raw inflate and one raw deflate context.

use crc_fast::{CrcAlgorithm, Digest};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Fault, Plain, Pulled, Source, append};

/// Reads members until the source is empty.
#[derive(Default)]
pub(super) struct Decoder {
    inflate: Option<Box<Decompress>>,
    member: Option<Member>,
    members_read: bool,
}

/// The check values of the member that is being read.
struct Member {
    crc: Digest,
    length: u32,
}

/// Writes one member.
#[derive(Default)]
pub(super) struct Encoder {
    deflate: Option<Box<Compress>>,
    member: Option<Member>,
}

impl Decoder {
    pub(super) fn start(&mut self) {
        self.member = None;
        self.members_read = false;
    }

    pub(super) fn pull(
        &mut self,
        source: &mut Source<'_>,
        plain: &mut Plain,
        budget: usize,
    ) -> Result<Pulled, Fault> {
        let inflate = self.inflate.get_or_insert_with(|| Box::new(Decompress::new(false)));
        if self.member.is_none() {
            if source.bytes().is_empty() && self.members_read {
                return Ok(Pulled::End);
            }
            let header = header_bytes(source.bytes()).ok_or(HEADER)?;
            source.advance(header);
            inflate.reset(false);
            self.member = Some(Member::new());
        }
        let Some(member) = &mut self.member else { return Err(HEADER) };
        let start = plain.len();
        let input = source.bytes();
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let expected = input.len().saturating_mul(4);
        let status = append(plain, budget, expected, |room| {
            let status = inflate
                .decompress(input, room, FlushDecompress::None)
                .map_err(|_| Fault::Corrupt("deflated data is broken"))?;
            Ok((count(inflate.total_out(), before_out), status))
        })?;
        member.update(plain.bytes().get(start..).unwrap_or_default());
        let read = count(inflate.total_in(), before_in);
        source.advance(read);
        match status {
            Status::StreamEnd => {
                let trailer = source.bytes().first_chunk::<8>().ok_or(CUT_SHORT)?;
                if *trailer != member.trailer() {
                    return Err(Fault::Corrupt("a member's check values differ"));
                }
                source.advance(8);
                self.member = None;
                self.members_read = true;
                Ok(if source.bytes().is_empty() { Pulled::End } else { Pulled::More })
            }
            Status::Ok | Status::BufError if read == 0 && plain.len() == start => Err(CUT_SHORT),
            Status::Ok | Status::BufError => Ok(Pulled::More),
        }
    }
}

impl Encoder {
    pub(super) fn start(&mut self) {
        let level = Compression::default();
        let deflate = self.deflate.get_or_insert_with(|| Box::new(Compress::new(level, false)));
        deflate.reset();
        self.member = None;
    }

    pub(super) fn push(&mut self, plain: &[u8], packed: &mut Vec<u8>) -> Option<()> {
        let member = self.member.get_or_insert_with(|| {
            packed.extend_from_slice(&HEADER_WRITTEN);
            Member::new()
        });
        member.update(plain);
        let deflate = self.deflate.as_mut()?;
        let mut rest = plain;
        while !rest.is_empty() {
            packed.reserve(rest.len().max(OUTPUT_BYTES_MIN));
            let before = deflate.total_in();
            deflate.compress_vec(rest, packed, FlushCompress::None).ok()?;
            rest = rest.get(count(deflate.total_in(), before)..)?;
        }
        Some(())
    }

    pub(super) fn finish(&mut self, packed: &mut Vec<u8>) -> Option<()> {
        self.push(&[], packed)?;
        let deflate = self.deflate.as_mut()?;
        loop {
            packed.reserve(OUTPUT_BYTES_MIN);
            match deflate.compress_vec(&[], packed, FlushCompress::Finish).ok()? {
                Status::StreamEnd => break,
                Status::Ok | Status::BufError => {}
            }
        }
        packed.extend_from_slice(&self.member.take()?.trailer());
        Some(())
    }
}

impl Member {
    fn new() -> Self {
        Self { crc: Digest::new(CrcAlgorithm::Crc32IsoHdlc), length: 0 }
    }

    fn update(&mut self, plain: &[u8]) {
        self.crc.update(plain);
        // ISIZE is the length modulo 2^32 (RFC 1952, 2.3.1).
        let low = u64::try_from(plain.len()).unwrap_or(u64::MAX) & u64::from(u32::MAX);
        self.length = self.length.wrapping_add(u32::try_from(low).unwrap_or_default());
    }

    fn trailer(&self) -> [u8; 8] {
        let crc = u32::try_from(self.crc.finalize()).unwrap_or_default();
        (u64::from(self.length) << 32 | u64::from(crc)).to_le_bytes()
    }
}

/// The length of the member header at the start of `bytes`, if it is one.
fn header_bytes(bytes: &[u8]) -> Option<usize> {
    let [0x1f, 0x8b, 8, flags, ..] = *bytes else { return None };
    if flags & 0xe0 != 0 {
        return None;
    }
    let mut at = HEADER_WRITTEN.len();
    if flags & 0x04 != 0 {
        let extra = bytes.get(at..)?.first_chunk::<2>()?;
        at = at.checked_add(2)?.checked_add(usize::from(u16::from_le_bytes(*extra)))?;
    }
    for flag in [0x08, 0x10] {
        if flags & flag != 0 {
            at = at.checked_add(memchr::memchr(0, bytes.get(at..)?)?)?.checked_add(1)?;
        }
    }
    if flags & 0x02 != 0 {
        at = at.checked_add(2)?;
    }
    (at <= bytes.len()).then_some(at)
}

fn count(after: u64, before: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}

/// Deflate, no flags, no time, unknown system: as Java writes it.
const HEADER_WRITTEN: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const OUTPUT_BYTES_MIN: usize = 4 << 10;
const HEADER: Fault = Fault::Corrupt("a member's header is broken");
const CUT_SHORT: Fault = Fault::Corrupt("the last member is cut short");
