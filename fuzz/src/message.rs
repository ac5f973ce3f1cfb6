//! What holds of every message that is walked, request or response.

use sluicegate::kafka::Exchange;
use sluicegate::kafka::edit::{Edits, Rope};
use sluicegate::kafka::found::{Found, ListSpan, Span};
use sluicegate::kafka::walk::{self, Progress, Walk, WalkError};
use sluicegate::kafka::wire::{Prefixed, index};

use crate::budget;
use crate::input::Choices;

/// Which of the two.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    Request,
    Response,
}

/// Walks the body of a whole frame, and again in pieces: both must find the same, within the budget.
pub(crate) fn walk(
    exchange: &'static Exchange,
    direction: Direction,
    (frame, body): (&[u8], usize),
    choices: &mut Choices,
) -> Result<Found, WalkError> {
    let limit = budget::of_walk(frame.len());
    let whole = budget::within("a walk", limit, || {
        let mut found = Found::default();
        let walked = match direction {
            Direction::Request => walk::request(exchange, frame, body, &mut found),
            Direction::Response => walk::response(exchange, frame, body, &mut found),
        };
        walked.map(|()| found)
    });
    let pieces = budget::within("a walk in pieces", limit, || {
        let walk = match direction {
            Direction::Request => Walk::request(exchange, frame.len(), body),
            Direction::Response => Walk::response(exchange, frame.len(), body),
        };
        in_pieces(walk, frame, body, choices)
    });
    let pieces = pieces.and_then(|found| match (direction, found.trailing) {
        (Direction::Response, count @ 1..) => Err(WalkError::Trailing { count }),
        _ => Ok(found),
    });
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_same(whole, pieces);
            assert_inside(frame, body, whole);
        }
        (whole, pieces) => {
            let (whole, pieces) = (whole.as_ref().err(), pieces.as_ref().err());
            assert_eq!(whole, pieces, "a walk in pieces ends in another way");
        }
    }
    whole
}

/// Walks again what a walk let through and edits made of it.
pub(crate) fn walk_again(
    exchange: &'static Exchange,
    direction: Direction,
    frame: &[u8],
) -> (Found, usize) {
    let mut found = Found::default();
    let body = match direction {
        Direction::Request => walk::request_header(frame).map(|header| header.body),
        Direction::Response => walk::response_header(exchange, frame).map(|(_, body)| body),
    };
    let body = body.expect("an edited frame has a header");
    let walked = match direction {
        Direction::Request => walk::request(exchange, frame, body, &mut found),
        Direction::Response => walk::response(exchange, frame, body, &mut found),
    };
    let (name, version) = (exchange.api.name, exchange.version);
    assert!(walked.is_ok(), "{name} v{version} does not walk any more: {walked:?}");
    assert_inside(frame, body, &found);
    (found, body)
}

/// The bytes of an edited frame.
pub(crate) fn edited(frame: &[u8], found: &Found, edits: &mut Edits) -> Vec<u8> {
    let mut rope = Rope::default();
    let applied = edits.apply(frame, found, &mut rope);
    assert!(applied.is_ok(), "edits do not fit: {applied:?}");
    let bytes = rope.to_bytes(frame);
    assert_eq!(bytes.len(), rope.size());
    bytes.to_vec()
}

fn in_pieces(
    mut walk: Walk,
    frame: &[u8],
    body: usize,
    choices: &mut Choices,
) -> Result<Found, WalkError> {
    let mut found = Found::default();
    let step = 1 + choices.below(64);
    let (mut base, mut here) = (body, body);
    loop {
        here = (here + 1 + choices.below(step)).min(frame.len());
        // What was consumed is gone; records may be passed over before they are here.
        base = base.min(here);
        let window = frame.get(base..here).unwrap_or_default();
        match walk.resume(base, window, &mut found)? {
            Progress::Done => return Ok(found),
            Progress::More { at } => {
                assert!(at >= base, "a walk asks for bytes again");
                assert!(here < frame.len(), "a walk wants more than the whole frame");
                base = at;
            }
        }
    }
}

fn assert_same(whole: &Found, pieces: &Found) {
    assert_eq!(whole.topics, pieces.topics);
    assert_eq!(whole.partitions, pieces.partitions);
    assert_eq!(whole.groups, pieces.groups);
    assert_eq!(whole.keys, pieces.keys);
    assert_eq!(whole.endpoints, pieces.endpoints);
    assert_eq!(whole.lists, pieces.lists);
    assert_eq!(whole.texts, pieces.texts);
    assert_eq!(whole.blobs, pieces.blobs);
    assert_eq!(whole.numbers, pieces.numbers);
    assert_eq!(whole.tags, pieces.tags);
    assert_eq!(whole.unknown_tags, pieces.unknown_tags);
    assert_eq!(whole.trailing, pieces.trailing);
}

/// Everything that was found lies in the frame's body, elements in their lists, partitions in their topics.
fn assert_inside(frame: &[u8], body: usize, found: &Found) {
    let within = |span: Span| {
        let is_inside = index(span.start) >= body && index(span.end) <= frame.len();
        assert!(span == Span::default() || (is_inside && span.start <= span.end), "{span:?}");
    };
    let place = |place: &Prefixed| {
        within(Span { start: place.start, end: place.end });
        assert!(place.at <= place.start, "{place:?}");
    };
    let element = |list: &ListSpan, element: Span| {
        within(element);
        assert!(list.first <= element.start && element.end <= list.end, "{list:?} {element:?}");
    };
    for topic in &found.topics {
        element(&list(found, topic.list), topic.element);
        place(&topic.name);
        let partitions = found.partitions_of(topic);
        assert_eq!(index(topic.partition_list.count), partitions.len());
        for partition in partitions {
            element(&topic.partition_list, partition.element);
            place(&partition.records);
        }
    }
    let inside_topics: usize =
        found.topics.iter().map(|topic| found.partitions_of(topic).len()).sum();
    assert_eq!(inside_topics, found.partitions.len(), "a partition belongs to no topic, or to two");
    for group in &found.groups {
        within(group.element);
        place(&group.name);
        assert!(found.topics_of(group).len() <= found.topics.len());
    }
    for endpoint in &found.endpoints {
        within(endpoint.element);
        place(&endpoint.host);
    }
    for key in &found.keys {
        within(key.element);
        place(&key.name);
    }
    for text in found.texts.iter().chain(&found.blobs) {
        place(&text.place);
    }
    for list in &found.lists {
        assert!(list.at < list.first && list.first <= list.end, "{list:?}");
        within(Span { start: list.first, end: list.end });
    }
    for tag in &found.tags {
        assert!(tag.at < tag.body.start, "{tag:?}");
        within(tag.body);
    }
}

fn list(found: &Found, at: u32) -> ListSpan {
    *found.lists.get(index(at)).expect("a topic is in a list")
}
