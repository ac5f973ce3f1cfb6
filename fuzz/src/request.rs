//! Any request: walked, decided, edited.

use std::sync::Arc;

use sluicegate::kafka::edit::Edits;
use sluicegate::kafka::found::{Found, Span};
use sluicegate::kafka::refuse::{self, Outcome, Refusals};
use sluicegate::kafka::{self, ErrorCode, Exchange, walk};
use sluicegate::path::decide::{Case, Judge, Notes, Ruling};
use sluicegate::path::patterns::Subscriptions;
use sluicegate::path::producers;
use sluicegate::path::tally::Tally;

use crate::budget;
use crate::input::{Choices, framed, seeded};
use crate::message::{self, Direction};
use crate::world::{self, CLUSTER, NOW, POLICIES};

/// A request of any API and version. It walks whole and in pieces to the same end; what policy lets through of it walks
/// again, holds nothing that the same policy would cut, and nothing that was not walked; and what it is answered
/// instead is a response of its API.
pub fn request(data: &[u8]) {
    let Some((seed, content)) = seeded(data) else { return };
    let mut choices = Choices::new(seed);
    let frame = framed(content);
    assert!(walk::request_header(content).is_err() || content.len() > 4, "a frame without a size");
    let Ok(header) = budget::within("a header", 0, || walk::request_header(&frame)) else { return };
    assert!(header.body <= frame.len());
    let Some(exchange) = kafka::exchange(header.key, header.version) else {
        if let Some(answer) = refuse::unsupported_version(header.key, header.version, 7) {
            let api = kafka::api_of(header.key).expect("only an API that is known is answered");
            let exchange = kafka::exchange(header.key, api.nearest(header.version));
            let exchange = exchange.expect("the nearest version is carried");
            message::walk_again(exchange, Direction::Response, &answer);
        }
        return;
    };
    let walked = message::walk(exchange, Direction::Request, (&frame, header.body), &mut choices);
    let Ok(mut found) = walked else { return };
    found.prefer_ids(&frame);
    // The path ends a connection that sends an unknown tag.
    if found.unknown_tags > 0 {
        return;
    }
    let policy = choices.below(POLICIES);
    let limit = budget::of_edits(frame.len());
    let on = budget::within("a decision", limit, || decide(exchange, &frame, &found, policy));
    let Some(on) = on else { return };
    let (mut again, _) = message::walk_again(exchange, Direction::Request, &on);
    assert_eq!(again.trailing, 0, "bytes go on that were not walked");
    again.prefer_ids(&on);
    let mut work = Work::default();
    let ruling = work.rule(exchange, &on, &again, &mut world::judge(policy));
    let (name, version) = (exchange.api.name, exchange.version);
    assert_eq!(ruling, Some(Ruling::Forward), "{name} v{version}: what goes on is not allowed");
}

#[derive(Default)]
struct Work {
    refusals: Refusals,
    edits: Edits,
    tally: Tally,
}

impl Work {
    /// Decides as [`sluicegate::path`] does; `None` where a record batch cannot be read.
    fn rule(
        &mut self,
        exchange: &'static Exchange,
        frame: &[u8],
        found: &Found,
        judge: &mut Judge,
    ) -> Option<Ruling> {
        let producers = producers::survey(frame, found, |_| true).ok()?;
        let case = Case {
            exchange,
            frame,
            found,
            cluster: &CLUSTER,
            cluster_name: &Arc::from("main"),
            subscriptions: &Subscriptions::default(),
            is_transactional: producers.transactional,
            now: NOW,
            looked_up: true,
            alterable: &[],
            ticket: Some("ticket t-1"),
        };
        let Self { refusals, edits, tally } = self;
        Some(judge.rule(&case, &mut Notes { refusals, edits, tally }))
    }
}

/// What goes to the broker, if anything does.
fn decide(
    exchange: &'static Exchange,
    frame: &[u8],
    found: &Found,
    policy: usize,
) -> Option<Vec<u8>> {
    let mut work = Work::default();
    let ruling = work.rule(exchange, frame, found, &mut world::judge(policy))?;
    let ok = Outcome { code: ErrorCode::NONE, message: None };
    let answer = match ruling {
        Ruling::Forward | Ruling::ForwardRest => {
            if let (Ok(end), Ok(trailing)) =
                (u32::try_from(frame.len()), u32::try_from(found.trailing))
                && trailing > 0
            {
                work.edits.replace(Span { start: end.saturating_sub(trailing), end }, &[]);
            }
            return Some(message::edited(frame, found, &mut work.edits));
        }
        Ruling::Refuse(code) => {
            let outcome = Outcome { code, message: Some("a reason") };
            refuse::whole(exchange, 7, frame, found, outcome)
        }
        Ruling::Nothing | Ruling::Hold => work.refusals.answer(exchange, 7, ok),
        Ruling::TooManyHeld => return None,
        Ruling::LookUp => {
            assert!(ruling != Ruling::LookUp, "what was looked up is looked up again");
            return None;
        }
    };
    message::walk_again(exchange, Direction::Response, &answer);
    None
}
