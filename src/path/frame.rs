//! Bytes → one length-prefixed frame, bounded.
//!
//! ```text
//!  0        4                         4 + length
//!  ┌────────┬──────────────────────────────┐
//!  │ length │ header and body              │
//!  └────────┴──────────────────────────────┘
//!    i32 BE    FRAME_BYTES_MIN ..= limit
//! ```

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use thiserror::Error;

use crate::buffers::{Budget, Pool, ReadBuffer, Reserved};
use crate::limits;
use crate::path::socket::{Conduit, Socket};

/// The bytes of a length prefix.
pub const LENGTH_BYTES: usize = 4;

/// The size of a whole frame, its length prefix included; between its bounds by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameSize(usize);

/// Why a peer's bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A length below the least header.
    #[error("a frame of {length} bytes is shorter than {min}")]
    TooShort {
        /// As declared, negative ones included.
        length: i32,
        /// The least.
        min: usize,
    },
    /// A length beyond the limit.
    #[error("a frame of {length} bytes is longer than {max}")]
    TooLong {
        /// As declared.
        length: i32,
        /// The limit.
        max: usize,
    },
}

/// Frames of one direction of one connection.
#[derive(Debug)]
pub struct FrameReader {
    buffer: ReadBuffer,
    budget: Rc<Budget>,
    reserved: Option<Reserved>,
    bounds: Bounds,
}

/// The least and the most that a frame may declare, in bytes without its length prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The least.
    pub min: usize,
    /// The most.
    pub max: usize,
}

impl FrameSize {
    /// Bytes of the frame with its length prefix.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.0
    }

    /// The size that a prefix declares; `None` while it has not arrived whole.
    ///
    /// # Errors
    ///
    /// [`FrameError`] where the length is out of bounds.
    pub fn declared(bytes: &[u8], bounds: Bounds) -> Result<Option<Self>, FrameError> {
        let Some(prefix) = bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = i32::from_be_bytes(*prefix);
        let size = usize::try_from(length).unwrap_or(0);
        if size < bounds.min {
            return Err(FrameError::TooShort { length, min: bounds.min });
        }
        if size > bounds.max {
            return Err(FrameError::TooLong { length, max: bounds.max });
        }
        Ok(size.checked_add(LENGTH_BYTES).map(Self))
    }
}

impl FrameReader {
    /// A reader that holds no memory yet.
    #[must_use]
    pub fn new(pool: Rc<Pool>, budget: Rc<Budget>, bounds: Bounds) -> Self {
        Self { buffer: ReadBuffer::new(pool), budget, reserved: None, bounds }
    }

    /// Other bounds from now on: a login widens them.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// The size of the first frame after `offset`, if all of it is here.
    ///
    /// # Errors
    ///
    /// [`FrameError`] where the declared length is out of bounds.
    pub fn complete(&self, offset: usize) -> Result<Option<FrameSize>, FrameError> {
        let here = self.buffer.bytes().len().saturating_sub(offset);
        Ok(self.declared(offset)?.filter(|size| size.bytes() <= here))
    }

    /// The size that the first frame after `offset` declares; `None` while its prefix is not here.
    ///
    /// # Errors
    ///
    /// [`FrameError`] where it is out of bounds.
    pub fn declared(&self, offset: usize) -> Result<Option<FrameSize>, FrameError> {
        let bytes = self.buffer.bytes().get(offset..).unwrap_or_default();
        FrameSize::declared(bytes, self.bounds)
    }

    /// Whether a frame has begun and is not whole.
    #[must_use]
    pub fn is_inside_frame(&self) -> bool {
        !self.buffer.bytes().is_empty()
    }

    /// All bytes that are here: whole frames, and perhaps the beginning of one more.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.bytes()
    }

    /// The same, to patch in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.bytes_mut()
    }

    /// Drops `bytes` from the front, and what was reserved for them.
    pub fn consume(&mut self, bytes: usize) {
        self.buffer.consume(bytes);
        self.reserved = None;
    }

    /// Reserves the shard's budget for the frame that has begun, if it is larger than one read.
    ///
    /// # Errors
    ///
    /// [`FrameError`] where the declared length is out of bounds.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future reserves nothing.
    pub async fn admit(&mut self) -> Result<(), FrameError> {
        let size = FrameSize::declared(self.buffer.bytes(), self.bounds)?;
        self.reserve(size.map_or(0, FrameSize::bytes)).await;
        Ok(())
    }

    /// Reserves the shard's budget for `bytes` that must be held at once, if they are more than one read.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future reserves nothing.
    pub async fn reserve(&mut self, bytes: usize) {
        if bytes > limits::READ_BYTES && self.reserved.is_none() {
            self.reserved = Some(self.budget.reserve(bytes).await);
        }
    }

    /// Reads once towards the end of the frame that has begun, `most` bytes at most where there is no TLS; 0 is the end of the
    /// stream.
    pub fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        socket: &Socket,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let wanted = FrameSize::declared(self.buffer.bytes(), self.bounds)
            .ok()
            .flatten()
            .map_or(0, FrameSize::bytes);
        socket.poll_fill(context, &mut self.buffer, wanted, most)
    }

    /// Reads once, with room for `wanted` bytes in all once those before fill what there is; 0 is the end of the stream.
    pub fn poll_fill_to(
        &mut self,
        context: &mut Context<'_>,
        socket: &Socket,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        socket.poll_fill(context, &mut self.buffer, wanted, usize::MAX)
    }

    /// Reads once, `most` bytes at most, from a socket without TLS; 0 is the end of the stream.
    pub fn poll_fill_few(
        &mut self,
        context: &mut Context<'_>,
        socket: &Socket,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        socket.poll_fill_few(context, &mut self.buffer, most)
    }

    /// Takes over what is held elsewhere: bytes that follow those that are here.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn take_over(&mut self, conduit: &mut Conduit) -> io::Result<()> {
        while conduit.held_bytes() > 0 {
            conduit.take(&mut self.buffer, conduit.held_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { min: 8, max: 100 };

    fn check(bytes: &[u8], expected: Result<Option<usize>, FrameError>) {
        let found = FrameSize::declared(bytes, BOUNDS).map(|size| size.map(FrameSize::bytes));
        assert_eq!(found, expected, "{bytes:?}");
    }

    #[test]
    fn lengths_are_bounded() {
        check(&[], Ok(None));
        check(&[0, 0, 0], Ok(None));
        check(&[0, 0, 0, 8], Ok(Some(12)));
        check(&[0, 0, 0, 100], Ok(Some(104)));
        check(&[0, 0, 0, 101], Err(FrameError::TooLong { length: 101, max: 100 }));
        check(&[0x7f, 0xff, 0xff, 0xff], Err(FrameError::TooLong { length: i32::MAX, max: 100 }));
        check(&[0, 0, 0, 7], Err(FrameError::TooShort { length: 7, min: 8 }));
        check(&[0, 0, 0, 0], Err(FrameError::TooShort { length: 0, min: 8 }));
        check(&[0xff; 4], Err(FrameError::TooShort { length: -1, min: 8 }));
        check(&[0x80, 0, 0, 0], Err(FrameError::TooShort { length: i32::MIN, min: 8 }));
    }
}
