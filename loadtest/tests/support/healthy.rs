//! A client that behaves, and how long it waits for its answers: before something happens, and beside it.

use std::time::{Duration, Instant};

use sluicegate_loadtest::client::Connection;
use sluicegate_loadtest::requests::{METADATA_VERSION, metadata};

/// Calls in one window; the third slowest of them is the 99th percentile.
const CALLS: usize = 200;

/// What a machine with other things to do adds to any wait, and a shard that stands still exceeds.
const NOISE: Duration = Duration::from_millis(15);

/// Windows of which one must be undisturbed: other tests come and go.
const WINDOWS: usize = 6;

/// The client, with its p99 in quiet.
pub struct Healthy {
    connection: Connection,
    quiet: Duration,
}

impl Healthy {
    /// Measures it in quiet, and then again where that was not quiet.
    pub fn new(mut connection: Connection) -> Self {
        let windows = (0..3).map(|_| p99(&mut connection));
        Self { quiet: windows.min().unwrap(), connection }
    }

    /// Fails the test where its p99 is above twice what it was in quiet.
    pub fn assert_undisturbed(&mut self, beside: &str) {
        let limit = self.quiet * 2 + NOISE;
        let mut seen = Vec::new();
        for _ in 0..WINDOWS {
            seen.push(p99(&mut self.connection));
            if seen.last().unwrap() <= &limit {
                eprintln!("beside {beside}: p99 {seen:?}, {:?} in quiet", self.quiet);
                return;
            }
        }
        panic!("beside {beside}: p99 {seen:?}, {:?} in quiet", self.quiet);
    }
}

fn p99(connection: &mut Connection) -> Duration {
    let mut waits: Vec<Duration> = (0..CALLS)
        .map(|_| {
            let started = Instant::now();
            connection.call(METADATA_VERSION, &metadata(Some(&[]))).unwrap();
            started.elapsed()
        })
        .collect();
    waits.sort();
    waits[CALLS - 1 - CALLS / 100]
}
