//! Where strings may end: found for a whole document at once, 64 bytes at a time, so that passing a string is a look at one word.
//!
//! ```text
//! document  {"name":"Ada Example","zip":"1…
//! stops     .#....#.#...........#.#...#.#..
//! ```

use wide::i8x16;

/// The bytes of a document that are no plain characters of a string: quotes, backslashes, control characters, and all beyond
/// ASCII; a bit for each. Behind the end of the document there are only stops.
#[derive(Debug, Default)]
pub(super) struct Stops(Vec<u64>);

/// How many bytes one word tells of.
const WORD_BYTES: usize = 64;

impl Stops {
    /// Finds those of `document`; those of any before are forgotten.
    pub(super) fn find(&mut self, document: &[u8]) {
        let (words, last) = document.as_chunks::<WORD_BYTES>();
        let mut padded = [b'"'; WORD_BYTES];
        padded.iter_mut().zip(last).for_each(|(padded, byte)| *padded = *byte);
        self.0.clear();
        self.0.extend(words.iter().chain([&padded]).map(stops));
    }

    /// The first stop at `at` or behind it.
    #[inline(always)]
    pub(super) fn next(&self, at: usize) -> usize {
        let mut word = at / WORD_BYTES;
        let Some(first) = self.0.get(word) else { return usize::MAX };
        let mut stops = first & u64::MAX << (at % WORD_BYTES);
        while stops == 0 {
            word = word.wrapping_add(1);
            let Some(next) = self.0.get(word) else { return usize::MAX };
            stops = *next;
        }
        let bit = usize::try_from(stops.trailing_zeros()).unwrap_or(0);
        word.wrapping_mul(WORD_BYTES).wrapping_add(bit)
    }
}

#[inline(always)]
fn stops(bytes: &[u8; WORD_BYTES]) -> u64 {
    let (parts, _) = bytes.as_chunks::<16>();
    parts.iter().rev().fold(0, |stops, part| {
        let part = i8x16::new(part.map(u8::cast_signed));
        // Those beyond ASCII are below zero.
        let here = part.simd_lt(i8x16::splat(0x20))
            | part.simd_eq(i8x16::splat(b'"'.cast_signed()))
            | part.simd_eq(i8x16::splat(b'\\'.cast_signed()));
        stops << 16 | u64::from(here.to_bitmask())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_that_may_end_a_string_is_found_and_no_other() {
        let mut stops = Stops::default();
        // Longer ones first: nothing of them may be left.
        for length in [300, 129, 128, 127, 65, 64, 63, 17, 1, 0] {
            for byte in 0..=u8::MAX {
                let is_plain = (0x20..0x80).contains(&byte) && byte != b'"' && byte != b'\\';
                for at in (0..length).step_by(7) {
                    let mut document = vec![b'x'; length];
                    document[at] = byte;
                    stops.find(&document);
                    let first = if is_plain { length } else { at };
                    assert_eq!(stops.next(0), first, "{byte:#x} at {at} of {length}");
                    assert_eq!(stops.next(at), first);
                    assert_eq!(stops.next(at + 1), length);
                }
            }
            assert!(stops.next(length) >= length);
            assert_eq!(stops.next(usize::MAX), usize::MAX);
        }
    }
}
