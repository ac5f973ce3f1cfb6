//! Read buffers of one shard: pooled, never zeroed twice, held only while they hold bytes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::limits;

/// The smallest class of pooled buffers, and the size of one read.
const CLASS_BYTES_MIN: usize = limits::READ_BYTES;

/// What a poisoned pool's buffers hold where they hold nothing.
pub const POISON: u8 = 0xa5;

/// Buffers of one shard for reuse, by size class (powers of two from 64 KiB).
///
/// A buffer's bytes are always initialised, so that a socket can read into it without a copy and without zeroing it
/// again. What an earlier user left in it is never shown: only the part between a buffer's cursors is.
#[derive(Debug, Default)]
pub struct Pool {
    free: RefCell<Vec<Vec<u8>>>,
    free_bytes: Cell<usize>,
    poison: bool,
}

/// Bytes between two cursors, in a buffer of the pool.
///
/// Invariant: `start <= end <= storage.len()`; an empty buffer has given its storage back.
#[derive(Debug)]
pub struct ReadBuffer {
    pool: Rc<Pool>,
    storage: Vec<u8>,
    start: usize,
    end: usize,
}

/// Bytes of frames that one shard has admitted: `faults.md` F17.
#[derive(Debug, Default)]
pub struct Budget {
    used: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

/// A share of the [`Budget`]; dropping it gives it back.
#[derive(Debug)]
pub struct Reserved {
    budget: Rc<Budget>,
    bytes: usize,
}

impl Pool {
    /// A pool whose buffers hold [`POISON`] wherever they hold nothing, so that a byte that is shown by mistake is seen.
    #[must_use]
    pub fn poisoned() -> Self {
        Self { poison: true, ..Self::default() }
    }

    fn take(&self, bytes: usize) -> Vec<u8> {
        let class = bytes.max(CLASS_BYTES_MIN).next_power_of_two();
        let mut free = self.free.borrow_mut();
        if let Some(index) = free.iter().rposition(|buffer| buffer.len() == class) {
            self.free_bytes.set(self.free_bytes.get().saturating_sub(class));
            return free.swap_remove(index);
        }
        vec![if self.poison { POISON } else { 0 }; class]
    }

    fn spoil(&self, bytes: Option<&mut [u8]>) {
        if let (true, Some(bytes)) = (self.poison, bytes) {
            bytes.fill(POISON);
        }
    }

    fn give(&self, mut buffer: Vec<u8>) {
        self.spoil(Some(&mut buffer));
        let bytes = buffer.len();
        let kept = self.free_bytes.get().saturating_add(bytes);
        let fits = bytes <= limits::POOLED_BUFFER_BYTES_MAX && kept <= limits::POOL_BYTES_MAX;
        if bytes >= CLASS_BYTES_MIN && bytes.is_power_of_two() && fits {
            self.free_bytes.set(kept);
            self.free.borrow_mut().push(buffer);
        }
    }
}

impl ReadBuffer {
    /// An empty buffer, which holds no memory.
    #[must_use]
    pub fn new(pool: Rc<Pool>) -> Self {
        Self { pool, storage: Vec::new(), start: 0, end: 0 }
    }

    /// The bytes that were read and not consumed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.storage.get(self.start..self.end).unwrap_or_default()
    }

    /// The same, to patch in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.storage.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Room for one read, of a streamed response's size at most; grows so that a frame of `wanted` bytes fits, but only
    /// once the bytes before fill what there is: a declared length alone allocates no more than a read. Beyond the pooled
    /// sizes it doubles as bytes arrive.
    pub fn room(&mut self, wanted: usize) -> &mut [u8] {
        let held = self.end.saturating_sub(self.start);
        if self.storage.is_empty() {
            let bytes = wanted.clamp(CLASS_BYTES_MIN, limits::STREAM_PIECE_BYTES);
            self.storage = self.pool.take(bytes);
            self.start = 0;
            self.end = 0;
        } else if self.end == self.storage.len() || (self.start > 0 && held == 0) {
            self.make_room(held, wanted);
        }
        self.storage.get_mut(self.end..).unwrap_or_default()
    }

    fn make_room(&mut self, held: usize, wanted: usize) {
        let full = held.saturating_mul(2) > self.storage.len();
        let is_one_read = wanted <= limits::STREAM_PIECE_BYTES;
        if (full || is_one_read) && wanted > self.storage.len() {
            let doubled = self.storage.len().saturating_mul(2);
            let bytes = doubled.max(wanted.min(limits::POOLED_BUFFER_BYTES_MAX));
            self.move_to(self.pool.take(bytes));
        } else {
            self.move_to_front();
        }
    }

    /// Room for at least `least` bytes that are here already, in another form. It grows for a frame of `wanted` bytes as
    /// [`ReadBuffer::room`] does.
    pub fn room_for(&mut self, least: usize, wanted: usize) -> &mut [u8] {
        let held = self.end.saturating_sub(self.start);
        let needed = held.saturating_add(least);
        if needed > self.storage.len() {
            let full = held.saturating_mul(2) > self.storage.len();
            let whole = if full { wanted.saturating_add(least) } else { 0 };
            let bytes = needed.max(whole.min(limits::POOLED_BUFFER_BYTES_MAX));
            self.move_to(self.pool.take(bytes));
        } else if self.storage.len().saturating_sub(self.end) < least {
            self.move_to_front();
        }
        self.storage.get_mut(self.end..).unwrap_or_default()
    }

    /// Copies `bytes` behind those that are held, with room for `least` in all.
    pub fn append(&mut self, bytes: &[u8], least: usize, wanted: usize) {
        let room = self.room_for(least.max(bytes.len()), wanted);
        let (room, _) = room.split_at_mut(bytes.len());
        room.copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// Keeps no more memory than the bytes that are held: what a peer sends in part may wait for long.
    pub fn shrink(&mut self) {
        let held = self.end.saturating_sub(self.start);
        if held < self.storage.len() {
            self.move_to(vec![0; held]);
        }
    }

    fn move_to(&mut self, mut storage: Vec<u8>) {
        let from = self.bytes();
        let held = from.len();
        storage.get_mut(..held).unwrap_or_default().copy_from_slice(from);
        self.pool.give(std::mem::replace(&mut self.storage, storage));
        self.start = 0;
        self.end = held;
    }

    fn move_to_front(&mut self) {
        self.storage.copy_within(self.start..self.end, 0);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
        self.pool.spoil(self.storage.get_mut(self.end..));
    }

    /// Notes that a read filled `bytes` of the room.
    pub fn filled(&mut self, bytes: usize) {
        self.end = self.end.saturating_add(bytes).min(self.storage.len());
    }

    /// Memory that it holds.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.storage.capacity()
    }

    /// Drops `bytes` from the front.
    pub fn consume(&mut self, bytes: usize) {
        let from = self.start;
        self.start = self.start.saturating_add(bytes).min(self.end);
        self.pool.spoil(self.storage.get_mut(from..self.start));
        if self.start == self.end {
            self.release();
        }
    }

    /// Gives the storage back if nothing is held: an idle connection holds no buffer.
    pub fn release(&mut self) {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            self.pool.give(std::mem::take(&mut self.storage));
        }
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.storage));
    }
}

impl Budget {
    /// Reserves `bytes`, waiting until they fit. A frame larger than the whole budget cannot exist (`limits.rs`).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future reserves nothing.
    pub async fn reserve(self: &Rc<Self>, bytes: usize) -> Reserved {
        std::future::poll_fn(|context| self.poll_reserve(context, bytes)).await;
        Reserved { budget: Rc::clone(self), bytes }
    }

    fn poll_reserve(&self, context: &mut Context<'_>, bytes: usize) -> Poll<()> {
        let after = self.used.get().saturating_add(bytes);
        if after <= limits::SHARD_FRAME_BYTES_MAX {
            self.used.set(after);
            return Poll::Ready(());
        }
        self.waiting.borrow_mut().push(context.waker().clone());
        Poll::Pending
    }

    /// Bytes that are admitted now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.get()
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.used.set(self.budget.used.get().saturating_sub(self.bytes));
        for waker in self.budget.waiting.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut ReadBuffer, bytes: &[u8], wanted: usize) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = buffer.room(wanted);
            let count = room.len().min(rest.len());
            room[..count].copy_from_slice(&rest[..count]);
            buffer.filled(count);
            rest = &rest[count..];
        }
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let pool = Rc::new(Pool::default());
        let mut buffer = ReadBuffer::new(Rc::clone(&pool));
        let bytes: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        fill(&mut buffer, &bytes[..100], 0);
        buffer.consume(40);
        fill(&mut buffer, &bytes[100..], bytes.len());
        assert_eq!(buffer.bytes(), &bytes[40..]);
        buffer.consume(bytes.len());
        assert!(buffer.bytes().is_empty());
        assert!(buffer.storage.is_empty(), "an idle buffer holds no memory");
        assert!(pool.free_bytes.get() > 0);
    }

    #[test]
    fn a_declared_length_allocates_no_more_than_a_read() {
        for (wanted, room) in
            [(0, CLASS_BYTES_MIN), (limits::FRAME_BYTES_MAX, limits::STREAM_PIECE_BYTES)]
        {
            let mut buffer = ReadBuffer::new(Rc::new(Pool::default()));
            assert_eq!(buffer.room(wanted).len(), room);
        }
    }

    #[test]
    fn appended_bytes_find_room_at_any_place() {
        for (held, consumed, appended) in
            [(0, 0, 1), (10, 5, 70_000), (65_000, 1, 536), (65_536, 60_000, 60_000), (65_536, 0, 1)]
        {
            let mut buffer = ReadBuffer::new(Rc::new(Pool::default()));
            let bytes: Vec<u8> = (0..140_000_u32).map(|number| number.to_le_bytes()[0]).collect();
            fill(&mut buffer, &bytes[..held], 0);
            buffer.consume(consumed);
            buffer.append(&bytes[held..held + appended], 0, 0);
            assert_eq!(buffer.bytes(), &bytes[consumed..held + appended], "{held} {consumed}");
            assert!(buffer.storage.len() <= 2 * CLASS_BYTES_MIN, "{held} {consumed} {appended}");
        }
    }

    #[test]
    fn a_shrunk_buffer_holds_its_bytes_only() {
        let pool = Rc::new(Pool::default());
        let mut buffer = ReadBuffer::new(Rc::clone(&pool));
        fill(&mut buffer, &[1, 2, 3], 0);
        buffer.consume(1);
        buffer.shrink();
        assert_eq!((buffer.bytes(), buffer.storage.len()), (&[2, 3][..], 2));
        assert_eq!(pool.free_bytes.get(), CLASS_BYTES_MIN);
        assert_eq!(buffer.room_for(10, 0).len(), CLASS_BYTES_MIN - 2);
        assert_eq!((buffer.bytes(), pool.free_bytes.get()), (&[2, 3][..], 0));
        buffer.consume(2);
        assert_eq!((buffer.storage.len(), pool.free_bytes.get()), (0, CLASS_BYTES_MIN));
    }

    #[test]
    fn a_poisoned_buffer_shows_what_was_read_and_nothing_else() {
        let pool = Rc::new(Pool::poisoned());
        let mut buffer = ReadBuffer::new(Rc::clone(&pool));
        for round in 0..20_usize {
            let bytes = vec![u8::try_from(round).unwrap(); 10_000 * (round + 1)];
            fill(&mut buffer, &bytes, bytes.len());
            buffer.consume(5_000);
            assert_eq!(buffer.bytes(), &bytes[5_000..]);
            let shown = buffer.start..buffer.end;
            let hidden = buffer.storage.iter().enumerate().filter(|(at, _)| !shown.contains(at));
            assert!(hidden.map(|(_, byte)| *byte).all(|byte| byte == POISON), "round {round}");
            buffer.consume(bytes.len());
        }
        assert!(pool.free.borrow().iter().flatten().all(|byte| *byte == POISON));
    }

    #[test]
    fn the_budget_waits_and_wakes() {
        let budget = Rc::new(Budget::default());
        let all = futures_lite::future::block_on(budget.reserve(limits::SHARD_FRAME_BYTES_MAX));
        let waiting = budget.reserve(1);
        let mut waiting = std::pin::pin!(waiting);
        let polled = futures_lite::future::block_on(futures_lite::future::poll_once(&mut waiting));
        assert!(polled.is_none());
        drop(all);
        let held = futures_lite::future::block_on(waiting);
        assert_eq!(budget.used(), 1);
        drop(held);
        assert_eq!(budget.used(), 0);
    }
}
