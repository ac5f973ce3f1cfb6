//! The one place that asks for the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sluicegate_actors::vocabulary::UnixMillis;

/// The wall clock.
#[must_use]
pub fn wall() -> UnixMillis {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMillis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// The monotonic clock.
#[must_use]
pub fn monotonic() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    Instant::now()
}

/// How long from now until an instant of the wall clock; zero if it has passed.
#[must_use]
pub fn until(instant: UnixMillis) -> Duration {
    let left = instant.0.saturating_sub(wall().0);
    Duration::from_millis(u64::try_from(left).unwrap_or(0))
}

/// The wall clock in microseconds since the Unix epoch.
#[must_use]
pub fn wall_micros() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}
