//! The stage on which the end-to-end tests play: real Kafka, the gateway, tokens, and real clients.

pub mod clients;
pub mod connect;
pub mod counting;
pub mod definitions;
pub mod front;
pub mod gateway;
pub mod healthy;
pub mod kafka;
pub mod null;
pub mod programs;
pub mod records;
pub mod rough;
pub mod tokens;
pub mod tools;
pub mod world;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Longer than anything that a test waits for in good health, also on a machine with other things to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The same for a JVM's start, which may share a small machine with compilers.
pub const START_PATIENCE: Duration = Duration::from_secs(180);

/// Says on the terminal, past the test runner's capture, that a test did nothing, and why.
pub fn skip(why: &str) {
    let thread = std::thread::current();
    let line = format!("skipped {}: {why}\n", thread.name().unwrap_or("test"));
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Addresses that nobody listens on, and that no connection on its way out takes in between: they lie below the range that
/// the kernel takes ports from by itself, and none is given out twice.
pub fn free_addresses<const N: usize>(host: &str) -> [SocketAddr; N] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const PORTS: std::ops::Range<u32> = 12_000..32_000;
    let count = PORTS.end - PORTS.start;
    // Another run beside this one begins elsewhere.
    let first = std::process::id().wrapping_mul(7_919);
    std::array::from_fn(|_| {
        let free = (0..count).find_map(|_| {
            let place = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % count;
            let port = u16::try_from(PORTS.start + place).unwrap();
            TcpListener::bind((host, port)).ok()?.local_addr().ok()
        });
        free.expect("a free port")
    })
}

/// A name that no other test of this run uses.
pub fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
