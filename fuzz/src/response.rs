//! Any response: walked, advertised, filtered, masked, edited.

use bytes::Bytes;
use sluicegate::kafka::batch::BatchError;
use sluicegate::kafka::edit::Edits;
use sluicegate::kafka::found::{Found, Span};
use sluicegate::kafka::refuse::Refusals;
use sluicegate::kafka::{self, Exchange, Meaning, walk};
use sluicegate::path::advertise::advertise;
use sluicegate::path::decide::Judge;
use sluicegate::path::filter::Filter;
use sluicegate::path::hold;
use sluicegate::path::masking::{Done, Outcome};

use crate::budget;
use crate::input::{Choices, framed, seeded};
use crate::message::{self, Direction};
use crate::world::{self, CLUSTER, LISTENER, NOW, POLICIES};

/// A response of any API and version. It walks whole and in pieces to the same end; as advertised, filtered and masked by
/// the path it walks again, names no broker's host, and holds nothing that the same filter would cut.
pub fn response(data: &[u8]) {
    let Some((seed, rest)) = seeded(data) else { return };
    let Some((number, content)) = rest.split_first_chunk::<4>() else { return };
    let [key_high, key_low, version_high, version_low] = *number;
    let key = i16::from_be_bytes([key_high, key_low]);
    let version = i16::from_be_bytes([version_high, version_low]);
    let Some(exchange) = kafka::exchange(key, version) else { return };
    let mut choices = Choices::new(seed);
    let frame = framed(content);
    let header = budget::within("a header", 0, || walk::response_header(exchange, &frame));
    assert_starts(exchange, &frame, header.ok());
    let Ok((_, body)) = header else { return };
    assert!(body <= frame.len());
    let walked = message::walk(exchange, Direction::Response, (&frame, body), &mut choices);
    let Ok(found) = walked else { return };
    let policy = choices.below(POLICIES);
    let limit = budget::of_edits(frame.len());
    let delivered = budget::within("a filter", limit, || {
        deliver(exchange, &frame, &found, policy, &mut choices)
    });
    let (again, _) = message::walk_again(exchange, Direction::Response, &delivered);
    assert_names_no_broker(&delivered, &again);
    assert_shows_no_more(exchange, &delivered, &again, policy);
}

/// The header of a response that is still arriving is that of the whole one, or not there yet.
fn assert_starts(exchange: &Exchange, frame: &[u8], whole: Option<(i32, usize)>) {
    for here in [4, frame.len() / 2, frame.len()] {
        let bytes = frame.get(..here).unwrap_or_default();
        match (walk::response_start(exchange, frame.len(), bytes), whole) {
            (Ok(Some(start)), whole) => assert_eq!(Some(start), whole),
            (Ok(None), _) => assert!(here < frame.len(), "a header that never comes"),
            (Err(_), whole) => assert_eq!(whole, None),
        }
    }
}

/// What the path makes of it for the client.
fn deliver(
    exchange: &'static Exchange,
    frame: &[u8],
    found: &Found,
    policy: usize,
    choices: &mut Choices,
) -> Vec<u8> {
    let (mut edits, mut refusals, mut withheld) = (Edits::default(), None, Vec::new());
    advertise(&LISTENER, found, &mut edits);
    // In these two an empty list asks for all, so that nothing may be left of an answer.
    let is_unasked =
        matches!(exchange.api.name, "Metadata" | "DescribeTopicPartitions") && choices.once_in(16);
    let mut judge = world::judge(policy);
    filter(
        exchange,
        (frame, found),
        &mut judge,
        is_unasked,
        &mut Cuts { edits: &mut edits, refusals: &mut refusals, withheld: &mut withheld },
    );
    let failed = found.number(Meaning::ErrorCode).is_some_and(|code| code.value != 0);
    if let Some(refusals) = refusals.as_ref().filter(|_| !failed) {
        let merged = refusals.merge(exchange, frame, found, &mut edits);
        assert!(merged.is_ok(), "no place for a refusal: {merged:?}");
    }
    if hold::delivers(exchange) {
        for (place, partition) in found.partitions.iter().enumerate() {
            let outcome = match choices.below(3) {
                0 => Outcome::Kept,
                1 => Outcome::Rewritten(Bytes::from(vec![b'm'; choices.below(1_000)])),
                _ => Outcome::Unreadable(BatchError::Records { what: "fuzzed" }),
            };
            let has_records = !partition.records.bytes(frame).is_empty();
            if has_records && !withheld.contains(&partition.element) {
                Done { partition: place, outcome, masked: Vec::new(), withheld: 0 }
                    .apply(partition, &mut edits);
            }
        }
    }
    message::edited(frame, found, &mut edits)
}

/// Where cuts are noted.
struct Cuts<'a> {
    edits: &'a mut Edits,
    refusals: &'a mut Option<Box<Refusals>>,
    withheld: &'a mut Vec<Span>,
}

/// Filters, and says which elements were taken out.
fn filter(
    exchange: &'static Exchange,
    (frame, found): (&[u8], &Found),
    judge: &mut Judge,
    is_unasked: bool,
    cuts: &mut Cuts<'_>,
) -> Vec<Span> {
    let mut filter = Filter {
        judge,
        exchange,
        frame,
        found,
        cluster: &CLUSTER,
        now: NOW,
        refusals: cuts.refusals,
        edits: cuts.edits,
        is_unasked,
        hidden: Vec::new(),
        withheld: cuts.withheld,
    };
    filter.apply();
    filter.hidden
}

fn assert_names_no_broker(frame: &[u8], found: &Found) {
    for endpoint in &found.endpoints {
        let host = endpoint.host.text(frame).unwrap_or_default();
        assert!(host.is_empty() || host == LISTENER.advertised_host, "a broker is named: {host}");
    }
}

/// The same filter finds nothing more to take out, and no records where it would have taken a partition out.
fn assert_shows_no_more(exchange: &'static Exchange, frame: &[u8], found: &Found, policy: usize) {
    let (mut edits, mut refusals, mut withheld) = (Edits::default(), None, Vec::new());
    let mut cuts = Cuts { edits: &mut edits, refusals: &mut refusals, withheld: &mut withheld };
    let hidden = filter(exchange, (frame, found), &mut world::judge(policy), false, &mut cuts);
    let (name, version) = (exchange.api.name, exchange.version);
    assert!(hidden.is_empty(), "{name} v{version} shows what may not be seen");
    for partition in found.partitions.iter().filter(|it| withheld.contains(&it.element)) {
        let records = partition.records.bytes(frame);
        assert!(records.is_empty(), "{name} v{version} delivers what may not be read");
    }
}
