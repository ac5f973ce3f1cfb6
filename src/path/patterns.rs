//! Subscriptions by regular expression (KIP-848), evaluated by the gateway over what the identity may describe.
//!
//! The coordinator would evaluate them over all that the gateway's own login may see, and give what it found to every member
//! of the group that has the same expression. So it is sent names in the place of an expression, with each heartbeat of the
//! member anew: a topic that is made, or allowed, later is in the next one.
//!
//! A member says only what has changed since it said it last, so what it said is kept here, for all shards. What the gateway
//! has forgotten (it was started anew, say) stays with the coordinator as it was, until the member says it again.

#![expect(
    clippy::disallowed_types,
    reason = "a lock that shards share: taken for heartbeats of members, one per some seconds, never for records"
)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use regex::bytes::{Regex, RegexBuilder};
use sluicegate_actors::vocabulary::{Action, Resource};

use crate::kafka::found::ListSpan;
use crate::kafka::wire::Prefixed;
use crate::kafka::{ErrorCode, List, Meaning};
use crate::limits;
use crate::path::decide::{Case, Judge, Notes, Ruling};
use crate::path::recent::Recent;
use crate::path::tally::Wanted;

/// ConsumerGroupHeartbeat's key.
pub const HEARTBEAT: i16 = 68;

/// Members that subscribe by a regular expression, of all clusters.
#[derive(Debug)]
pub struct Subscriptions(Mutex<Recent<Member, Subscription>>);

/// A member of a group of a cluster.
type Member = (Arc<str>, Box<str>, Box<str>);

/// What a member said last.
#[derive(Clone, Debug, Default)]
struct Subscription {
    pattern: Box<str>,
    names: Vec<Box<str>>,
}

/// A heartbeat that can have an expression.
#[derive(Debug)]
struct Beat<'a> {
    member: Member,
    /// 0 to join, below to leave.
    epoch: i64,
    /// `None` where they are as they were, and so with the expression.
    names: Option<Vec<Box<str>>>,
    list: ListSpan,
    pattern: Option<&'a str>,
    field: Prefixed,
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(limits::PATTERN_MEMBERS_MAX)))
    }
}

impl Subscriptions {
    fn get(&self, member: &Member) -> Option<Subscription> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(member).cloned()
    }

    /// Keeps a subscription by a regular expression, and forgets one without.
    fn keep(&self, member: Member, subscription: Subscription) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if subscription.pattern.is_empty() {
            known.forget(&member);
        } else {
            known.put(member, subscription);
        }
    }
}

impl Judge {
    /// Puts names into a heartbeat that subscribes by a regular expression, or did in an earlier one. The rights on the group
    /// and on the names in it were decided before.
    pub(super) fn subscribe(&mut self, case: &Case<'_>, notes: &mut Notes<'_>) -> Ruling {
        let Some(beat) = Beat::of(case) else { return Ruling::Forward };
        if beat.epoch < 0 {
            // It leaves.
            let ruling = beat.without_pattern(notes);
            case.subscriptions.keep(beat.member, Subscription::default());
            return ruling;
        }
        let known = case.subscriptions.get(&beat.member);
        if known.is_none() && beat.pattern.is_none_or(str::is_empty) {
            return Ruling::Forward;
        }
        if known.is_none() && beat.names.is_none() && beat.epoch > 0 {
            // What it said before is not known here. It joins anew upon that, and says everything.
            return Ruling::Refuse(ErrorCode::FENCED_MEMBER_EPOCH);
        }
        let known = known.unwrap_or_default();
        let subscription = Subscription {
            pattern: beat.pattern.map_or(known.pattern, Into::into),
            names: beat.names.clone().unwrap_or(known.names),
        };
        let Some(pattern) = subscription.readable() else {
            return Ruling::Refuse(ErrorCode::INVALID_REGULAR_EXPRESSION);
        };
        if beat.pattern.is_some() && !case.looked_up {
            // A topic that was made a moment ago is a topic, too.
            return Ruling::LookUp;
        }
        let mut names: BTreeSet<&str> = subscription.names.iter().map(|name| &**name).collect();
        if let Some(pattern) = &pattern {
            names.extend(case.cluster.topic_names().filter(|name| matches(pattern, name)));
        }
        names.retain(|name| self.allows(Action::Describe, Resource::Topic(name), case.now));
        if beat.pattern.is_some() {
            for name in &names {
                let wanted = Wanted { resource: Resource::Topic(name), action: Action::Describe };
                let decision = self.ask(wanted.action, wanted.resource, case.now);
                notes.tally.decided(wanted, decision);
            }
        }
        notes.edits.set_strings(&beat.list, names);
        beat.without_pattern(notes);
        case.subscriptions.keep(beat.member, subscription);
        Ruling::ForwardRest
    }
}

impl<'a> Beat<'a> {
    /// `None` in versions without expressions.
    fn of(case: &Case<'a>) -> Option<Self> {
        let found = case.found;
        let field = found.text(Meaning::TopicRegex)?;
        let group = found.groups.first()?.name.text(case.frame)?;
        let member = found.text(Meaning::MemberId)?.text(case.frame)?;
        let list = found.list(List::SubscribedTopics)?;
        let topics = found.topics.iter().filter(|topic| found.list_of(topic) == list.list);
        let names = topics.filter_map(|topic| topic.name(case.frame)).map(Into::into);
        Some(Self {
            member: (Arc::clone(case.cluster_name), group.into(), member.into()),
            epoch: found.number(Meaning::MemberEpoch)?.value,
            names: (!list.null).then(|| names.collect()),
            list,
            pattern: field.text(case.frame),
            field,
        })
    }

    /// What goes to the coordinator has no expression.
    fn without_pattern(&self, notes: &mut Notes<'_>) -> Ruling {
        if self.pattern.is_none_or(str::is_empty) {
            return Ruling::Forward;
        }
        notes.edits.set_string(&self.field, Some(""));
        Ruling::ForwardRest
    }
}

impl Subscription {
    /// Its expression, compiled; `None` where that, or the whole, cannot be taken.
    fn readable(&self) -> Option<Option<Regex>> {
        let names: usize = self.names.iter().map(|name| name.len()).sum();
        if self.pattern.len().saturating_add(names) > limits::PATTERN_BYTES_MAX {
            return None;
        }
        if self.pattern.is_empty() { Some(None) } else { compile(&self.pattern).map(Some) }
    }
}

/// A regular expression as RE2 has it: Kafka's coordinator uses that, and this library, too, but for quoted literals
/// (`\Q…\E`). Names are ASCII; what only Unicode's tables can tell is tried where the expression asks for it.
fn compile(text: &str) -> Option<Regex> {
    let text = unquoted(text);
    let build = |text: &str, unicode| {
        let mut builder = RegexBuilder::new(text);
        builder.size_limit(limits::PATTERN_PROGRAM_BYTES_MAX).unicode(unicode).build().ok()
    };
    // By itself first: it must not close the group that is put around it.
    let unicode = [false, true].into_iter().find(|unicode| build(&text, *unicode).is_some())?;
    build(&format!("^(?:{text})$"), unicode)
}

fn matches(pattern: &Regex, name: &str) -> bool {
    pattern.is_match(name.as_bytes())
}

/// The expression with its quoted literals escaped one by one; a quote without an end lasts until the text's.
fn unquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        if let Some(quote) = escape.strip_prefix("\\Q") {
            let (quoted, behind) = quote.split_once("\\E").unwrap_or((quote, ""));
            out.push_str(&regex::escape(quoted));
            rest = behind;
        } else {
            // An escape is two characters, and the second may be another backslash.
            let end = escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end);
            let (pair, behind) = escape.split_at(end);
            out.push_str(pair);
            rest = behind;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched<'a>(pattern: &str, names: &[&'a str]) -> Vec<&'a str> {
        let pattern = compile(pattern).unwrap();
        names.iter().filter(|name| matches(&pattern, name)).copied().collect()
    }

    #[test]
    fn an_expression_matches_whole_names() {
        let names = ["orders", "orders.eu", "new-orders", "orders-eu", "payments"];
        assert_eq!(matched("orders", &names), ["orders"]);
        assert_eq!(matched("orders.*", &names), ["orders", "orders.eu", "orders-eu"]);
        assert_eq!(matched("orders|pay", &names), ["orders"]);
        assert_eq!(matched(r"\Qorders.\E\w+", &names), ["orders.eu"]);
        assert_eq!(matched(r"\Qorders.eu", &names), ["orders.eu"]);
        assert_eq!(matched(r"(?i)ORDERS[-.]\pL+", &names), ["orders.eu", "orders-eu"]);
        assert_eq!(matched("", &names), <[&str; 0]>::default());
    }

    #[test]
    fn what_is_no_expression_is_not_taken() {
        let huge = "(\\w{1,200}){1,200}";
        for pattern in ["(", "orders)|(?:.*", "[a", "a{2,1}", "(?=a)b", r"(a)\1", "(?x)a # ", huge]
        {
            assert!(compile(pattern).is_none(), "`{pattern}` was taken");
        }
        let long = Subscription { pattern: "a".repeat(20_000).into(), names: Vec::new() };
        assert!(long.readable().is_none());
    }

    #[test]
    fn a_backslash_that_is_escaped_begins_no_quote() {
        assert_eq!(unquoted(r"a\\Qb"), r"a\\Qb");
        assert_eq!(unquoted(r"\Qa.b\Ec\Q*\E"), r"a\.bc\*");
        assert_eq!(unquoted("ends in \\"), "ends in \\");
    }
}
