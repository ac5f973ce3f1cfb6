//! The record batches of one partition, read while they arrive: header by header, up to where each is known.

use super::{BatchError, HEADER_BYTES, Header, Summary, size};

/// How far the records of one partition were read. Positions count from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arriving {
    /// Where the next batch begins.
    next: usize,
    /// Where the records end.
    end: usize,
    /// The size of the batch whose header was read last.
    batch_bytes: usize,
}

/// Up to where the bytes of a window are accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Everything before this position belongs to batches whose headers were read, or to a batch that the records cut
    /// short.
    pub upto: usize,
    /// Reading goes on once the bytes before this position are here.
    pub needs: usize,
}

impl Arriving {
    /// Records from `start` to `end`, none of them read.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        Self { next: start, end: end.max(start), batch_bytes: 0 }
    }

    /// Where the records end.
    #[must_use]
    pub fn end(&self) -> usize {
        self.end
    }

    /// The size of the batch whose header was read last; 0 where none was.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    /// The header that is to be read next, and how many bytes of it there are: fewer than a header has where the records
    /// end before, and none where all are read.
    #[must_use]
    pub fn header(&self) -> (usize, usize) {
        (self.next, self.end.saturating_sub(self.next).min(HEADER_BYTES))
    }

    /// Whether all headers were read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.next >= self.end
    }

    /// Reads the headers that came, into `summary`. `window` holds the frame's bytes from `base` on, which is at most
    /// where the next batch begins, or inside a batch whose header was read. With `whole`, a batch counts once all of it
    /// is here, and nothing of it is accounted for before.
    ///
    /// # Errors
    /// As [`super::Batches`]; positions in them count from the start of the frame.
    pub fn read(
        &mut self,
        base: usize,
        window: &[u8],
        whole: bool,
        summary: &mut Option<Summary>,
    ) -> Result<Reached, BatchError> {
        let here = base.saturating_add(window.len()).min(self.end);
        while self.next < self.end {
            let at = self.next;
            if at > here {
                return Ok(Reached { upto: here, needs: at });
            }
            let rest = window.get(at.saturating_sub(base)..).unwrap_or_default();
            let rest = rest.get(..self.end.saturating_sub(at)).unwrap_or(rest);
            let left = self.end.saturating_sub(at);
            let head = left.min(HEADER_BYTES);
            if rest.len() < head {
                return Ok(Reached { upto: at, needs: at.saturating_add(head) });
            }
            // A batch may reach beyond the records, as the last one of a fetch: nobody can read it.
            let batch = size(at, rest)?.filter(|bytes| *bytes <= left);
            let bytes = batch.unwrap_or(left);
            if whole && rest.len() < bytes {
                return Ok(Reached { upto: at, needs: at.saturating_add(bytes) });
            }
            if batch.is_some() {
                Summary::add(summary, &Header::read(rest)?, bytes);
            }
            self.next = at.saturating_add(bytes);
            self.batch_bytes = bytes;
        }
        Ok(Reached { upto: here, needs: self.end })
    }
}
