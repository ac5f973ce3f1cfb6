//! An input in parts, and the choices that its seed makes.

/// A deterministic source of choices (xorshift64*).
pub(crate) struct Choices(u64);

/// The seed of an input, and what follows it; `None` where it is too short.
pub(crate) fn seeded(data: &[u8]) -> Option<(u32, &[u8])> {
    let (seed, rest) = data.split_first_chunk()?;
    Some((u32::from_be_bytes(*seed), rest))
}

/// A frame of `content`, under the right size.
pub(crate) fn framed(content: &[u8]) -> Vec<u8> {
    let size = i32::try_from(content.len()).unwrap_or(i32::MAX);
    [&size.to_be_bytes()[..], content].concat()
}

impl Choices {
    pub(crate) fn new(seed: u32) -> Self {
        Self(u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One of `0..limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let next = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(next).unwrap_or(0).checked_rem(limit).unwrap_or(0)
    }

    /// Once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
