//! A fault that was planted.

use std::hint::black_box;

use sluicegate::kafka::sasl;

use crate::input::seeded;

/// Fails on a PLAIN token whose user's name begins in one certain way: by chance one in 16 million of those that are
/// tokens, and within seconds for a fuzzer that sees which way the code went. One that does not find it sees nothing, and
/// what it says of the other targets is worth nothing.
pub fn canary(data: &[u8]) {
    let Some((_, content)) = seeded(data) else { return };
    let Ok(token) = sasl::plain(content) else { return };
    for (byte, planted) in token.user.bytes().zip(PLANTED) {
        // One comparison after the other: all at once they would be a single step, which nobody takes by chance.
        if black_box(byte) != planted {
            return;
        }
    }
    assert!(token.user.len() < PLANTED.len(), "the planted fault was found");
}

const PLANTED: [u8; 3] = *b"egg";
