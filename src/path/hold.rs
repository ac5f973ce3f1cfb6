//! A request that policy holds: what the client is told while it waits (DESIGN 9).

use crate::kafka::refuse::Outcome;
use crate::kafka::{ErrorCode, Exchange};

/// Fetch's key.
pub const FETCH: i16 = 1;
/// Produce's key.
pub const PRODUCE: i16 = 0;

/// APIs that go on while the topic itself is on hold: they move no record, and refusing them would make clients throw.
///
/// Committing an offset follows the group's right; adding a partition to a transaction registers it and no more.
const TRANSPARENT: &[i16] = &[8, 24, 28];

/// The text of a held produce request.
const PRODUCE_TEXT: &str = "policy holds this topic for an approval";

/// Whether a hold on a topic lets this API through.
#[must_use]
pub fn is_transparent(exchange: &Exchange) -> bool {
    TRANSPARENT.contains(&exchange.api.key)
}

/// How a held topic is answered: a fetch with nothing in it, a produce with an error that clients retry without
/// asking for metadata, anything else as denied.
#[must_use]
pub fn outcome(exchange: &Exchange) -> Outcome<'static> {
    match exchange.api.key {
        FETCH => Outcome { code: ErrorCode::NONE, message: None },
        PRODUCE => Outcome { code: ErrorCode::NOT_ENOUGH_REPLICAS, message: Some(PRODUCE_TEXT) },
        _ => Outcome { code: ErrorCode::TOPIC_AUTHORIZATION_FAILED, message: None },
    }
}
