//! A request that policy holds: what is asked of approvers, and what the client is told while it waits (DESIGN 9).

use sluicegate_actors::approval::ticket::ApprovalRequest;
use sluicegate_actors::policy::snapshot::PolicySnapshot;
use sluicegate_actors::session::SessionFacts;

use crate::kafka::refuse::Outcome;
use crate::kafka::{ErrorCode, Exchange};
use crate::limits;
use crate::path::share;
use crate::path::tally::Tally;

/// Fetch's key.
pub const FETCH: i16 = 1;
/// Produce's key.
pub const PRODUCE: i16 = 0;

/// Whether an API's answers carry records to the client.
#[must_use]
pub fn delivers(exchange: &Exchange) -> bool {
    matches!(exchange.api.key, FETCH | share::FETCH)
}

/// APIs that go on while the topic itself is on hold: they move no record, and refusing them would make clients throw.
///
/// Committing an offset follows the group's right; adding a partition to a transaction registers it and no more.
const TRANSPARENT: &[i16] = &[8, 24, 28];

/// What a client is told of a batch that may go on, but not before an earlier one that was held.
pub const EARLIER_FIRST: &str = "an earlier batch of this producer was held and comes first";

/// Whether a hold on a topic lets this API through.
#[must_use]
pub fn is_transparent(exchange: &Exchange) -> bool {
    TRANSPARENT.contains(&exchange.api.key)
}

/// How a held topic is answered: a fetch with nothing in it, a produce with an error that clients retry without
/// asking for metadata, anything else with the code of a denial. `ticket` says what it waits for.
#[must_use]
pub fn outcome<'a>(exchange: &Exchange, denied: ErrorCode, ticket: Option<&'a str>) -> Outcome<'a> {
    match exchange.api.key {
        FETCH => Outcome { code: ErrorCode::NONE, message: None },
        PRODUCE => Outcome { code: ErrorCode::NOT_ENOUGH_REPLICAS, message: ticket },
        _ => Outcome { code: denied, message: ticket },
    }
}

/// What is asked of approvers: one question for each action and set of rules.
#[must_use]
pub fn questions(
    tally: &Tally,
    facts: &SessionFacts,
    policy: &PolicySnapshot,
) -> Vec<ApprovalRequest> {
    let mut questions: Vec<ApprovalRequest> = Vec::new();
    for (wanted, rules, grant_ttl_ms) in tally.holds() {
        let same = questions.iter_mut().find(|question| {
            question.actions.contains(&wanted.action)
                && *question.rules == **rules
                && question.resources.len() < limits::HOLD_RESOURCES_MAX
        });
        if let Some(question) = same {
            question.resources.push(wanted.resource.to_name());
            question.grant_ttl_ms = question.grant_ttl_ms.min(grant_ttl_ms);
            continue;
        }
        if questions.len() >= limits::HOLD_QUESTIONS_MAX {
            break;
        }
        questions.push(ApprovalRequest {
            principal: facts.identity.principal(),
            session: facts.session,
            listener: facts.listener.to_string(),
            actions: vec![wanted.action],
            resources: vec![wanted.resource.to_name()],
            labels: Vec::new(),
            rules: rules.to_vec(),
            grant_ttl_ms,
            reason: String::new(),
            policy: policy.hash(),
        });
    }
    questions
}
