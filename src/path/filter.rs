//! What of a response the identity may see: listings, authorized operations, and rights that changed meanwhile.

use bytes::Bytes;
use sluicegate_actors::vocabulary::{Action, Resource, UnixMillis, Verdict};

use crate::cluster::ClusterSnapshot;
use crate::kafka::edit::Edits;
use crate::kafka::found::{Found, Span, Topic};
use crate::kafka::refuse::{Outcome, Refusals};
use crate::kafka::{self, ErrorCode, Exchange, List, Meaning, Need, Refusal, Subject};
use crate::path::decide::Judge;
use crate::path::hold;

/// A response on its way to the client.
#[derive(Debug)]
pub struct Filter<'a> {
    /// Who decides.
    pub judge: &'a mut Judge,
    /// Its API and version.
    pub exchange: &'static Exchange,
    /// The whole frame.
    pub frame: &'a [u8],
    /// What the walk found in it.
    pub found: &'a Found,
    /// Names of topic ids.
    pub cluster: &'a ClusterSnapshot,
    /// The time of the decision.
    pub now: UnixMillis,
    /// Whether the session's rights are others than when the request was decided.
    pub rights_changed: bool,
    /// What is answered beside what the broker says.
    pub refusals: &'a mut Option<Refusals>,
    /// Where cuts are noted.
    pub edits: &'a mut Edits,
    /// Topics whose records are taken out: they are not delivered, and not recorded as if they were.
    pub withheld: &'a mut Vec<Span>,
}

impl<'a> Filter<'a> {
    /// Cuts what may not be seen, and overwrites what is the gateway's own rights.
    pub fn apply(&mut self) {
        for need in self.exchange.api.shows {
            if let Subject::Topics(list) = need.subject
                && need.versions.contains(self.exchange.version)
            {
                self.shown_topics(need, list);
            }
        }
        if self.rights_changed && self.exchange.api.key == hold::FETCH {
            self.revoked_topics();
        }
        self.operations();
    }

    fn shown_topics(&mut self, need: &Need, list: List) {
        let mut refused_groups = Vec::new();
        for topic in self.found.topics.iter().filter(|topic| self.found.list_of(topic) == list) {
            if topic.error == ErrorCode::UNKNOWN_TOPIC_ID {
                continue;
            }
            let allowed = self.name(topic).is_some_and(|name| {
                self.judge.allows(need.action, Resource::Topic(name), self.now)
            });
            if allowed {
                continue;
            }
            match need.refusal {
                Refusal::Element(code) if topic.group != kafka::found::NONE => {
                    refused_groups.push((topic.group, code));
                }
                _ => self.cut(topic),
            }
        }
        refused_groups.dedup();
        for (index, code) in refused_groups {
            self.refuse_group(index, code);
        }
    }

    /// One topic that may not be seen refuses its whole group.
    fn refuse_group(&mut self, index: u32, code: ErrorCode) {
        let Some(group) = self.found.groups.get(kafka::wire::index(index)) else { return };
        let Some(list) = self.found.list(List::Groups) else { return };
        let name = group.name.text(self.frame).unwrap_or_default().to_owned();
        self.edits.remove(&list, group.element);
        let refusals = self.refusals.get_or_insert_default();
        refusals.group(&name, Outcome { code, message: None });
    }

    /// A fetch that waited while a right ended gives nothing of that topic: its records are taken out, and its
    /// partitions say what a fetch of now would be told.
    fn revoked_topics(&mut self) {
        for topic in &self.found.topics {
            let verdict = self.name(topic).map(|name| {
                self.judge.ask(Action::Read, Resource::Topic(name), self.now).verdict.clone()
            });
            let code = match verdict {
                Some(Verdict::Allow) => continue,
                // Held, as a fetch of now would be: nothing, and no error.
                Some(Verdict::Hold { .. }) => ErrorCode::NONE,
                _ => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            };
            for partition in self.found.partitions_of(topic) {
                self.edits.set_int16(partition.error_at, code.0);
                self.edits.set_int64(partition.offset_at, -1);
                self.edits.set_bytes(&partition.records, Some(Bytes::new()));
            }
            self.withheld.push(topic.element);
        }
    }

    /// Bit fields of what the gateway may do become what the identity may do.
    fn operations(&mut self) {
        for topic in &self.found.topics {
            if topic.operations_at != 0
                && let Some(name) = self.name(topic)
            {
                let bits = self.judge.operations(Resource::Topic(name), self.now);
                self.set_operations(topic.operations_at, bits);
            }
        }
        for group in &self.found.groups {
            if group.operations_at != 0
                && let Some(name) = group.name.text(self.frame)
            {
                let bits = self.judge.operations(Resource::ConsumerGroup(name), self.now);
                self.set_operations(group.operations_at, bits);
            }
        }
        if let Some(number) = self.found.number(Meaning::AuthorizedOperations) {
            let bits = self.judge.operations(Resource::Cluster, self.now);
            self.set_operations(number.at, bits);
        }
    }

    /// Only where they were asked for: the broker says `i32::MIN` where they were not.
    fn set_operations(&mut self, at: u32, bits: i32) {
        let place = self.frame.get(kafka::wire::index(at)..).and_then(|rest| rest.first_chunk());
        if place.is_some_and(|bytes| i32::from_be_bytes(*bytes) != i32::MIN) {
            self.edits.set_int32(at, bits);
        }
    }

    fn cut(&mut self, topic: &Topic) {
        if let Some(list) = self.found.lists.get(kafka::wire::index(topic.list)) {
            self.edits.remove(list, topic.element);
        }
    }

    fn name(&self, topic: &Topic) -> Option<&'a str> {
        match topic.name(self.frame) {
            Some(name) => Some(name),
            None => self.cluster.topic_name(&topic.id(self.frame)?).map(|name| &**name),
        }
    }
}
