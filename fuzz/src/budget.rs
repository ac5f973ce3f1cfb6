//! What handling an input may allocate, counted by the allocator of the program. Memory of the C libraries (zstd) is not
//! counted: their windows are bounded by `src/kafka/batch/codec/zstd.rs`, and libFuzzer ends a program above 2 GiB.

use sluicegate::kafka::limits;

/// Does `work`, which must not hold more than `limit` bytes at any time beyond what it began with.
pub(crate) fn within<T>(what: &str, limit: usize, work: impl FnOnce() -> T) -> T {
    let mut done = None;
    let info = allocation_counter::measure(|| done = Some(work()));
    let peak = usize::try_from(info.bytes_max).unwrap_or(usize::MAX);
    assert!(peak <= limit, "{what} held {peak} bytes at once, and the limit is {limit}");
    done.expect("work is done once")
}

/// What a walk may hold: the budget of what it remembers, where a list that grows holds its old half beside its new
/// whole.
pub(crate) fn of_walk(frame_bytes: usize) -> usize {
    let found = frame_bytes
        .saturating_mul(limits::FOUND_BYTES_PER_FRAME_BYTE_MAX)
        .saturating_add(limits::FOUND_BYTES_FREE);
    found.saturating_mul(GROWTH)
}

/// What deciding, filtering and editing may hold beside that. The worst is a partition of four bytes that is cut: two
/// edits, a cut, and a refusal.
pub(crate) fn of_edits(frame_bytes: usize) -> usize {
    frame_bytes.saturating_mul(EDIT_BYTES_PER_FRAME_BYTE_MAX).saturating_add(EDIT_BYTES_FREE)
}

/// A list that doubles holds up to three times what is in it while it moves.
const GROWTH: usize = 3;
const EDIT_BYTES_PER_FRAME_BYTE_MAX: usize = 128;
/// Policy's own working memory for one decision, and its cache.
const EDIT_BYTES_FREE: usize = 512 << 10;
