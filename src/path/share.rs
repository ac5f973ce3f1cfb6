//! Share sessions (KIP-932): a broker keeps which partitions a member fetches, and later requests name only what changes.
//!
//! What a session holds is remembered here, for one connection: a session that was not begun on it is not continued on it,
//! so that nobody goes on with a stranger's; and where the rights on what it holds change, it ends, upon which the client
//! begins another and names everything again.

use std::collections::BTreeMap;

use sluicegate_actors::vocabulary::{Action, Resource};

use crate::cluster::TopicId;
use crate::kafka::{ErrorCode, Exchange, List, Meaning};
use crate::limits;
use crate::path::decide::{Case, Judge, Ruling};

/// ShareFetch's key.
pub const FETCH: i16 = 78;
/// ShareAcknowledge's key.
pub const ACKNOWLEDGE: i16 = 79;

/// The epoch that begins a session, and the one that ends it.
const FIRST: i64 = 0;
const FINAL: i64 = -1;

/// The share sessions of one connection: one, as a rule.
#[derive(Debug, Default)]
pub struct ShareSessions(Vec<ShareSession>);

#[derive(Debug)]
struct ShareSession {
    group: Box<str>,
    member: Box<str>,
    /// Whether each partition could be read when it was named.
    partitions: BTreeMap<(TopicId, i32), bool>,
}

/// Whether an API speaks within a share session.
#[must_use]
pub fn is_in_session(exchange: &Exchange) -> bool {
    matches!(exchange.api.key, FETCH | ACKNOWLEDGE)
}

impl Judge {
    /// Holds a request against its session.
    pub(super) fn in_share_session(&mut self, case: &Case<'_>) -> Ruling {
        let member = case.found.text(Meaning::MemberId).and_then(|id| id.text(case.frame));
        let group = case.found.groups.first().and_then(|group| group.name.text(case.frame));
        let (Some(group), Some(member)) = (group, member) else {
            return Ruling::Refuse(ErrorCode::INVALID_REQUEST);
        };
        if !self.allows(Action::Read, Resource::ConsumerGroup(group), case.now) {
            // That comes first, as in Kafka, and is refused as in every API.
            return Ruling::Forward;
        }
        let not_found = Ruling::Refuse(ErrorCode::SHARE_SESSION_NOT_FOUND);
        let epoch = case.found.number(Meaning::ShareSessionEpoch).map_or(FIRST, |it| it.value);
        let known = self.shares.take(group, member);
        let mut session = match epoch {
            FIRST => ShareSession {
                group: group.into(),
                member: member.into(),
                partitions: BTreeMap::new(),
            },
            FINAL => return if known.is_some() { Ruling::Forward } else { not_found },
            _ => match known {
                Some(session) => session,
                None => return not_found,
            },
        };
        if case.exchange.api.key == FETCH {
            self.follow_topics(case, &mut session);
        }
        let is_as_it_was = session.partitions.iter().all(|((id, index), could)| {
            let name = case.cluster.topic_name(id);
            name.is_some_and(|name| self.reads(name, *index, case.now)) == *could
        });
        if !is_as_it_was || !self.shares.keep(session) {
            return not_found;
        }
        Ruling::Forward
    }

    /// Adds what a fetch names to its session, and removes what it forgets.
    fn follow_topics(&mut self, case: &Case<'_>, session: &mut ShareSession) {
        for topic in &case.found.topics {
            let Some(id) = topic.id(case.frame) else { continue };
            let forgets = case.found.list_of(topic) == List::ForgottenTopics;
            for partition in case.found.partitions_of(topic) {
                let key = (id, partition.index);
                if forgets {
                    session.partitions.remove(&key);
                    continue;
                }
                let name = case.cluster.topic_name(&id);
                let reads = name.is_some_and(|name| self.reads(name, partition.index, case.now));
                session.partitions.insert(key, reads);
            }
        }
    }
}

impl ShareSessions {
    fn take(&mut self, group: &str, member: &str) -> Option<ShareSession> {
        let is_it = |session: &ShareSession| *session.group == *group && *session.member == *member;
        let at = self.0.iter().position(is_it)?;
        Some(self.0.swap_remove(at))
    }

    /// Whether there is room for it.
    fn keep(&mut self, session: ShareSession) -> bool {
        let fits = self.0.len() < limits::SHARE_SESSIONS_MAX
            && session.partitions.len() <= limits::SHARE_PARTITIONS_MAX;
        if fits {
            self.0.push(session);
        }
        fits
    }
}
