//! What of a response the identity may see: listings, authorized operations, and rights that changed meanwhile.

use bytes::Bytes;
use sluicegate_actors::vocabulary::{Action, Resource, UnixMillis, Verdict};

use crate::cluster::ClusterSnapshot;
use crate::kafka::edit::Edits;
use crate::kafka::found::{Found, ListSpan, Partition, Span, Text, Topic};
use crate::kafka::refuse::{Outcome, Refusals, TopicRef};
use crate::kafka::subscription::{self, Shown, Told};
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
    /// What is answered beside what the broker says.
    pub refusals: &'a mut Option<Box<Refusals>>,
    /// Where cuts are noted.
    pub edits: &'a mut Edits,
    /// Whether none of its topics was asked for.
    pub is_unasked: bool,
    /// Elements that are taken out: nothing inside of them is changed.
    pub hidden: Vec<Span>,
    /// Partitions that are taken out: they are not delivered, and not recorded as if they were.
    pub withheld: &'a mut Vec<Span>,
}

impl<'a> Filter<'a> {
    /// Cuts what may not be seen, and overwrites what is the gateway's own rights.
    pub fn apply(&mut self) {
        let mut refused_groups = Vec::new();
        for need in self.exchange.api.shows {
            if !need.versions.contains(self.exchange.version) {
                continue;
            }
            match need.subject {
                Subject::Topics(list) => self.shown_topics(need, list, &mut refused_groups),
                Subject::Groups => self.shown_groups(need),
                Subject::TransactionalKeys | Subject::Configured => self.shown_keys(need),
                _ => {}
            }
        }
        // A group names a topic in more than one of its lists, as a rule, and is taken out once.
        refused_groups.sort_unstable_by_key(|(group, _)| *group);
        refused_groups.dedup_by_key(|(group, _)| *group);
        for (index, code) in refused_groups {
            self.refuse_group(index, code);
        }
        self.hidden.sort_unstable_by_key(|span| span.start);
        self.members();
        self.created_topics();
        if hold::delivers(self.exchange) {
            for topic in &self.found.topics {
                self.revoked(topic);
            }
        }
        self.operations();
    }

    fn shown_topics(
        &mut self,
        need: &Need,
        list: List,
        refused_groups: &mut Vec<(u32, ErrorCode)>,
    ) {
        if self.is_unasked {
            if let Some(list) = self.found.list(list) {
                self.edits.remove_all(&list);
                self.hidden.push(Span { start: list.first, end: list.end });
            }
            return;
        }
        for topic in self.found.topics.iter().filter(|topic| self.found.list_of(topic) == list) {
            let is_nameless = self.name(topic).is_none_or(str::is_empty);
            if topic.error == ErrorCode::UNKNOWN_TOPIC_ID
                || (topic.error != ErrorCode::NONE && is_nameless)
            {
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
    }

    /// A listing of groups shows those that may be seen, or all where the right on the cluster does instead.
    fn shown_groups(&mut self, need: &Need) {
        if let Some((Subject::Cluster, action)) = need.instead
            && self.judge.allows(action, Resource::Cluster, self.now)
        {
            return;
        }
        let Some(list) = self.found.list(List::Groups) else { return };
        for group in &self.found.groups {
            let name = group.name.text(self.frame).unwrap_or_default();
            if !self.judge.allows(need.action, Resource::ConsumerGroup(name), self.now) {
                self.take(&list, group.element);
            }
        }
    }

    /// What members of a classic group tell each other shows only topics that may be seen. Groups of other kinds than
    /// consumers' (Connect's, say) tell of no topics there; a message that does not say its kind is read as if it did.
    fn members(&mut self) {
        // Members of one group stand together, so that a group's kind is looked for once.
        let mut group = None;
        for blob in &self.found.blobs {
            if self.is_hidden(blob.place.at) {
                continue;
            }
            let told = match blob.meaning {
                Meaning::MemberMetadata => Told::Subscription,
                Meaning::MemberAssignment => Told::Assignment,
                _ => continue,
            };
            let kind = match group {
                Some((known, kind)) if known == blob.group => kind,
                _ => self.kind_of(blob.group),
            };
            group = Some((blob.group, kind));
            if kind.is_some_and(|kind| kind != subscription::CONSUMER) {
                continue;
            }
            let (judge, now) = (&mut *self.judge, self.now);
            let seen = subscription::shown(told, blob.place.bytes(self.frame), |topic| {
                judge.allows(Action::Describe, Resource::Topic(topic), now)
            });
            match seen {
                Shown::All => {}
                Shown::Some(bytes) => self.edits.set_bytes(&blob.place, Some(bytes.into())),
                Shown::Unreadable if kind.is_some() => {
                    self.edits.set_bytes(&blob.place, Some(Bytes::new()));
                }
                Shown::Unreadable => {}
            }
        }
    }

    /// The protocol type of a group, or of the message's own, where it is told.
    fn kind_of(&self, group: u32) -> Option<&'a str> {
        let is_kind = |text: &&Text| text.meaning == Meaning::ProtocolType && text.group == group;
        let kind = self.found.texts.iter().find(is_kind)?;
        kind.place.text(self.frame)
    }

    /// One topic that may not be seen refuses its whole group.
    fn refuse_group(&mut self, index: u32, code: ErrorCode) {
        let Some(group) = self.found.groups.get(kafka::wire::index(index)) else { return };
        let Some(list) = self.found.list(List::Groups) else { return };
        let name = group.name.text(self.frame).unwrap_or_default().to_owned();
        self.take(&list, group.element);
        let refusals = self.refusals.get_or_insert_default();
        refusals.group(&name, Outcome { code, message: None });
    }

    /// A fetch that waited while a right ended gives nothing of what it was for: its partitions say what a fetch of now
    /// would be told. Rights may end by themselves, so each answer is held against those of now.
    fn revoked(&mut self, topic: &Topic) {
        let partitions = self.found.partitions_of(topic);
        let Some(name) = self.name(topic) else {
            // A topic that is gone meanwhile has an error of its own, and no records.
            let full = partitions
                .iter()
                .filter(|partition| partition.records.end > partition.records.start);
            let refused: Vec<_> =
                full.map(|partition| (partition, ErrorCode::UNKNOWN_TOPIC_ID)).collect();
            return self.take_out(topic, &refused);
        };
        if !self.judge.policy.names_partitions(name) {
            let code = self.revoked_code(Resource::Topic(name));
            if let Some(code) = code {
                let refused: Vec<_> =
                    partitions.iter().map(|partition| (partition, code)).collect();
                self.take_out(topic, &refused);
            }
            return;
        }
        let mut refused = Vec::new();
        for partition in partitions {
            let resource = Resource::Partition { topic: name, index: partition.index };
            refused.extend(self.revoked_code(resource).map(|code| (partition, code)));
        }
        self.take_out(topic, &refused);
    }

    /// What a fetch of now would be told; `None` where it would be served.
    fn revoked_code(&mut self, resource: Resource<'_>) -> Option<ErrorCode> {
        match self.judge.ask(Action::Read, resource, self.now).verdict {
            Verdict::Allow => None,
            Verdict::Hold { .. } => Some(ErrorCode::NONE),
            Verdict::Deny => Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
        }
    }

    /// Puts refused partitions in the place of those that the broker answered.
    fn take_out(&mut self, topic: &Topic, refused: &[(&Partition, ErrorCode)]) {
        if refused.is_empty() {
            return;
        }
        let refusals = self.refusals.get_or_insert_default();
        let named = TopicRef::of(self.frame, self.found, topic);
        refusals.topic(named, Outcome { code: ErrorCode::NONE, message: None });
        for (partition, code) in refused {
            refusals.partition(partition.index, *code);
            self.edits.remove(&topic.partition_list, partition.element);
            self.withheld.push(partition.element);
        }
    }

    /// Bit fields of what the gateway may do become what the identity may do.
    fn operations(&mut self) {
        for topic in &self.found.topics {
            if topic.operations_at != 0
                && !self.is_hidden(topic.operations_at)
                && let Some(name) = self.name(topic)
            {
                let bits = self.judge.operations(Resource::Topic(name), self.now);
                self.set_operations(topic.operations_at, bits);
            }
        }
        for group in &self.found.groups {
            if group.operations_at != 0
                && !self.is_hidden(group.operations_at)
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

    /// Takes an element out of the response.
    fn take(&mut self, list: &ListSpan, element: Span) {
        self.edits.remove(list, element);
        self.hidden.push(element);
    }

    /// Whether what stands there is taken out; to be asked once `hidden` is in order.
    fn is_hidden(&self, at: u32) -> bool {
        let after = self.hidden.partition_point(|span| span.start <= at);
        let before = after.checked_sub(1).and_then(|index| self.hidden.get(index));
        before.is_some_and(|span| at < span.end)
    }

    fn cut(&mut self, topic: &Topic) {
        if let Some(list) = self.found.lists.get(kafka::wire::index(topic.list)) {
            self.take(list, topic.element);
        }
    }

    fn name(&self, topic: &Topic) -> Option<&'a str> {
        match topic.name(self.frame) {
            Some(name) => Some(name),
            None => self.cluster.topic_name(&topic.id(self.frame)?).map(|name| &**name),
        }
    }
}

#[cfg(test)]
mod tests;
