//! Identity + API + what a request names → what goes on, what is refused, what is held.
//!
//! The rights that an API needs are data in its table row ([`kafka::Need`]); this file asks them of the session's
//! snapshot, in Kafka's order, and notes what is refused where Kafka's own authorizer would.

use std::sync::Arc;

use sluicegate_actors::policy::cache::DecisionCache;
use sluicegate_actors::policy::snapshot::PolicySnapshot;
use sluicegate_actors::recorder::entry::Producer;
use sluicegate_actors::session::{ApprovalPart, Parts, PolicyPart};
use sluicegate_actors::vocabulary::{Action, Decision, Resource, UnixMillis, Verdict};

use crate::cluster::ClusterSnapshot;
use crate::kafka::edit::Edits;
use crate::kafka::found::{Found, Group, Partition, Topic};
use crate::kafka::refuse::{Outcome, Refusals};
use crate::kafka::{self, ErrorCode, Exchange, List, Meaning, Need, Refusal, Subject, When, batch};
use crate::path::hold;
use crate::path::paging;
use crate::path::patterns::{self, Subscriptions};
use crate::path::sequence::HeldSequences;
use crate::path::share::{self, ShareSessions};
use crate::path::tally::{self, Tally, Wanted, producer_of};

/// What a connection decides with; swapped between requests.
#[derive(Debug)]
pub struct Judge {
    /// The session's rights, with what it was granted.
    pub policy: Arc<PolicySnapshot>,
    /// What they were put together from.
    parts: (PolicyPart, ApprovalPart),
    /// Decisions of this connection's session on this shard.
    cache: DecisionCache,
    /// Batches that were refused while policy held them.
    sequences: HeldSequences,
    pub(super) shares: ShareSessions,
}

/// One request that is being decided.
#[derive(Debug)]
pub struct Case<'a> {
    /// Its API and version.
    pub exchange: &'static Exchange,
    /// The whole frame.
    pub frame: &'a [u8],
    /// What the walk found in it.
    pub found: &'a Found,
    /// Names of topic ids.
    pub cluster: &'a ClusterSnapshot,
    /// Its cluster's name in the configuration.
    pub cluster_name: &'a Arc<str>,
    /// What members that subscribe by regular expression said.
    pub subscriptions: &'a Subscriptions,
    /// Whether a record batch in it is transactional.
    pub is_transactional: bool,
    /// The time of the decision.
    pub now: UnixMillis,
    /// Whether ids and names that are not known were looked up already.
    pub looked_up: bool,
    /// Settings of topics that may be changed.
    pub alterable: &'a [String],
    /// What the client is told of its tickets, once it has asked for an approval.
    pub ticket: Option<&'a str>,
}

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// All of it goes to the broker.
    Forward,
    /// What is left after the edits goes to the broker.
    ForwardRest,
    /// Nothing is left: the answer is what was refused.
    Nothing,
    /// Nothing is left but elements on hold.
    Hold,
    /// The whole request is refused with this code.
    Refuse(ErrorCode),
    /// A topic is not known: look the cluster up, then decide again.
    LookUp,
    /// More is held on this connection than can be kept in order: it must end.
    TooManyHeld,
}

/// What of a request was cut, and why.
#[derive(Debug, Default)]
struct Cuts {
    held: bool,
    denied: bool,
}

/// Where a decision is noted.
#[derive(Debug)]
pub struct Notes<'a> {
    /// What is refused, for the answer.
    pub refusals: &'a mut Refusals,
    /// What is cut from the request.
    pub edits: &'a mut Edits,
    /// Resources and outcomes, for the record.
    pub tally: &'a mut Tally,
}

impl Judge {
    /// A judge for a session's first snapshot.
    #[must_use]
    pub fn new(parts: &Parts) -> Self {
        let parts = (Arc::clone(&parts.policy), Arc::clone(&parts.approval));
        let policy = Arc::new(parts.0.with_grants(Arc::clone(&parts.1)));
        Self {
            policy,
            parts,
            cache: DecisionCache::new(),
            sequences: HeldSequences::default(),
            shares: ShareSessions::default(),
        }
    }

    /// Decides by these parts from now on.
    pub fn follow(&mut self, parts: &Parts) {
        let (policy, grants) = &self.parts;
        if Arc::ptr_eq(policy, &parts.policy) && Arc::ptr_eq(grants, &parts.approval) {
            return;
        }
        self.parts = (Arc::clone(&parts.policy), Arc::clone(&parts.approval));
        self.policy = Arc::new(parts.policy.with_grants(Arc::clone(&parts.approval)));
    }

    /// The session's answer on one resource.
    pub fn ask(&mut self, action: Action, resource: Resource<'_>, now: UnixMillis) -> &Decision {
        self.cache.decide(&self.policy, action, resource, now)
    }

    /// Whether the session may do it without asking anybody.
    pub fn allows(&mut self, action: Action, resource: Resource<'_>, now: UnixMillis) -> bool {
        self.ask(action, resource, now).verdict == Verdict::Allow
    }

    /// Whether a partition may be read without asking anybody.
    pub fn reads(&mut self, topic: &str, index: i32, now: UnixMillis) -> bool {
        let resource = if self.policy.names_partitions(topic) {
            Resource::Partition { topic, index }
        } else {
            Resource::Topic(topic)
        };
        self.allows(Action::Read, resource, now)
    }

    /// Kafka's bit field of what may be done on a resource (KIP-430).
    pub fn operations(&mut self, resource: Resource<'_>, now: UnixMillis) -> i32 {
        let applicable: &[(Action, u32)] = match resource {
            Resource::Cluster => CLUSTER_OPERATIONS,
            Resource::ConsumerGroup(_) => GROUP_OPERATIONS,
            _ => TOPIC_OPERATIONS,
        };
        applicable
            .iter()
            .filter(|(action, _)| self.allows(*action, resource, now))
            .fold(0, |bits, (_, code)| bits | 1_i32.wrapping_shl(*code))
    }

    /// Decides a request, need by need.
    pub fn rule(&mut self, case: &Case<'_>, notes: &mut Notes<'_>) -> Ruling {
        let mut cuts = Cuts::default();
        let first = match case.exchange.api.key {
            paging::KEY => self.page(case, notes),
            share::FETCH | share::ACKNOWLEDGE => self.in_share_session(case),
            _ => Ruling::Forward,
        };
        let mut ruling = match first {
            Ruling::Forward | Ruling::ForwardRest => first,
            other => return other,
        };
        for need in case.exchange.api.needs {
            if !need.versions.contains(case.exchange.version) || !case.applies(need.when) {
                continue;
            }
            let one = match need.subject {
                Subject::Topics(list) => self.topics(case, need, list, notes, &mut cuts),
                Subject::Groups => self.groups(case, need, notes),
                Subject::GroupKeys | Subject::TransactionalKeys | Subject::Configured => {
                    self.keys(case, need, notes)
                }
                Subject::TransactionalId | Subject::Cluster | Subject::AnyTopic => {
                    self.message(case, need, notes)
                }
            };
            match one {
                Ruling::Forward => {}
                Ruling::ForwardRest => ruling = Ruling::ForwardRest,
                other => return other,
            }
        }
        notes.tally.settle();
        if case.exchange.api.key == patterns::HEARTBEAT {
            return self.subscribe(case, notes);
        }
        if ruling == Ruling::ForwardRest && case.is_emptied(notes) {
            // An error is told at once.
            return if cuts.held && !cuts.denied { Ruling::Hold } else { Ruling::Nothing };
        }
        ruling
    }

    /// A right on the message itself: all or nothing.
    fn message(&mut self, case: &Case<'_>, need: &Need, notes: &mut Notes<'_>) -> Ruling {
        let holds = notes.tally.hold_count();
        let allowed = self.has(case, need.subject, need.action, notes)
            || need.instead.is_some_and(|(subject, action)| self.has(case, subject, action, notes));
        if allowed {
            notes.tally.forget_holds(holds);
            return Ruling::Forward;
        }
        match need.refusal {
            Refusal::Whole(code) | Refusal::AllOrNothing(code, _) | Refusal::Element(code) => {
                Ruling::Refuse(code)
            }
            Refusal::Hide => Ruling::Nothing,
        }
    }

    fn has(
        &mut self,
        case: &Case<'_>,
        subject: Subject,
        action: Action,
        notes: &mut Notes<'_>,
    ) -> bool {
        let resource = match subject {
            Subject::TransactionalId => {
                let id = case.found.text(Meaning::TransactionalId);
                match id.and_then(|id| id.text(case.frame)) {
                    Some(id) => Resource::TransactionalId(id),
                    // A null id has no rights.
                    None => return false,
                }
            }
            Subject::AnyTopic => return self.policy.allows_any_topic(action, case.now),
            _ => Resource::Cluster,
        };
        let decision = self.ask(action, resource, case.now);
        notes.tally.decided(Wanted { resource, action }, decision);
        decision.verdict == Verdict::Allow
    }

    fn groups(&mut self, case: &Case<'_>, need: &Need, notes: &mut Notes<'_>) -> Ruling {
        let mut ruling = Ruling::Forward;
        for group in &case.found.groups {
            let name = group.name.text(case.frame).unwrap_or_default();
            let resource = Resource::ConsumerGroup(name);
            let decision = self.ask(need.action, resource, case.now);
            notes.tally.decided(Wanted { resource, action: need.action }, decision);
            if decision.verdict == Verdict::Allow {
                continue;
            }
            match need.refusal {
                Refusal::Element(code) if !group.element.is_empty() => {
                    notes.tally.answered(code);
                    notes.refusals.group(name, Outcome { code, message: None });
                    case.cut_group(group, notes);
                    ruling = Ruling::ForwardRest;
                }
                Refusal::Element(code) | Refusal::Whole(code) | Refusal::AllOrNothing(code, _) => {
                    return Ruling::Refuse(code);
                }
                Refusal::Hide => return Ruling::Nothing,
            }
        }
        ruling
    }

    fn topics(
        &mut self,
        case: &Case<'_>,
        need: &Need,
        list: List,
        notes: &mut Notes<'_>,
        cuts: &mut Cuts,
    ) -> Ruling {
        let named = case.found.topics.iter().filter(|topic| case.found.list_of(topic) == list);
        if let Refusal::AllOrNothing(refused, others) = need.refusal {
            let denied: Vec<bool> =
                named.clone().map(|topic| !self.topic_allowed(case, need, topic, notes)).collect();
            if !denied.contains(&true) {
                return Ruling::Forward;
            }
            for (topic, denied) in named.zip(denied) {
                let code = if denied { refused } else { others };
                let outcome = Outcome { code, message: None };
                notes.refusals.topic_of(case.frame, case.found, topic, outcome);
            }
            return Ruling::Nothing;
        }
        let mut ruling = Ruling::Forward;
        notes.tally.settle();
        for topic in named {
            if notes.tally.is_cut(topic.element) || case.is_in_cut_group(topic, notes) {
                continue;
            }
            match self.topic(case, need, topic, notes, cuts) {
                Ruling::Forward => {}
                Ruling::ForwardRest => ruling = Ruling::ForwardRest,
                other => return other,
            }
        }
        ruling
    }

    fn topic_allowed(
        &mut self,
        case: &Case<'_>,
        need: &Need,
        topic: &Topic,
        notes: &mut Notes<'_>,
    ) -> bool {
        let Some(name) = case.name(topic) else { return false };
        let partitions = case.found.partitions_of(topic);
        if !self.policy.names_partitions(name) || partitions.is_empty() {
            return self.goes_on(case, need, Resource::Topic(name), notes);
        }
        // Each is asked about, so that each is in the record.
        partitions.iter().fold(true, |allowed, partition| {
            let resource = Resource::Partition { topic: name, index: partition.index };
            self.goes_on(case, need, resource, notes) && allowed
        })
    }

    /// Whether a resource is allowed, or on hold in an API that goes on all the same.
    fn goes_on(
        &mut self,
        case: &Case<'_>,
        need: &Need,
        resource: Resource<'_>,
        notes: &mut Notes<'_>,
    ) -> bool {
        let holds = notes.tally.hold_count();
        let decision = self.ask(need.action, resource, case.now);
        notes.tally.decided(Wanted { resource, action: need.action }, decision);
        match decision.verdict {
            Verdict::Allow => true,
            Verdict::Hold { .. } if hold::is_transparent(case.exchange) => {
                notes.tally.forget_holds(holds);
                true
            }
            _ => false,
        }
    }

    fn topic(
        &mut self,
        case: &Case<'_>,
        need: &Need,
        topic: &Topic,
        notes: &mut Notes<'_>,
        cuts: &mut Cuts,
    ) -> Ruling {
        let Some(name) = case.name(topic) else {
            if !case.looked_up {
                return Ruling::LookUp;
            }
            cuts.denied = true;
            let outcome = Outcome { code: ErrorCode::UNKNOWN_TOPIC_ID, message: None };
            return case.cut_topic(topic, outcome, notes);
        };
        if need.when == When::AutoCreate {
            if case.cluster.has_topic(name) {
                return Ruling::Forward;
            }
            if !case.looked_up {
                return Ruling::LookUp;
            }
        }
        let resource = Resource::Topic(name);
        if let Some((Subject::Cluster, action)) = need.instead
            && self.allows(action, Resource::Cluster, case.now)
        {
            return Ruling::Forward;
        }
        if self.policy.names_partitions(name) && topic.partitions.end > topic.partitions.first {
            return self.each_partition(case, need, topic, name, notes, cuts);
        }
        let holds = notes.tally.hold_count();
        let decision = self.ask(need.action, resource, case.now);
        notes.tally.decided(Wanted { resource, action: need.action }, decision);
        let reason;
        let outcome = match (&decision.verdict, need.refusal) {
            (Verdict::Allow, _) => return self.admitted(case, topic, name, notes),
            (Verdict::Hold { .. }, _) if hold::is_transparent(case.exchange) => {
                notes.tally.forget_holds(holds);
                return Ruling::Forward;
            }
            (_, Refusal::Hide) => return case.hide(topic, notes),
            (_, Refusal::Whole(code)) => return Ruling::Refuse(code),
            (Verdict::Hold { .. }, Refusal::Element(code) | Refusal::AllOrNothing(code, _)) => {
                cuts.held = true;
                let mut batches = case.found.partitions_of(topic).iter();
                if batches.any(|partition| !self.refuse_later(case, name, partition)) {
                    return Ruling::TooManyHeld;
                }
                hold::outcome(case.exchange, code, case.ticket)
            }
            (Verdict::Deny, Refusal::Element(code) | Refusal::AllOrNothing(code, _)) => {
                cuts.denied = true;
                // Who asks by an id is not told the name.
                let is_named = topic.name(case.frame).is_some();
                reason = case.reason(need.action, resource, decision).filter(|_| is_named);
                case.denied(topic, code, reason.as_deref())
            }
        };
        notes.tally.answered(outcome.code);
        case.cut_topic(topic, outcome, notes)
    }

    /// Sees to it that later batches wait for a held one; whether that can be done.
    fn refuse_later(&mut self, case: &Case<'_>, topic: &str, partition: &Partition) -> bool {
        let producer = case.producer(partition);
        producer.is_none_or(|it| self.sequences.refuse(topic, partition.index, it).is_ok())
    }

    /// A partition is allowed if it or its topic is permitted and neither is forbidden; the others answer the code.
    fn each_partition(
        &mut self,
        case: &Case<'_>,
        need: &Need,
        topic: &Topic,
        name: &str,
        notes: &mut Notes<'_>,
        cuts: &mut Cuts,
    ) -> Ruling {
        let Some(denied) = need.refusal.code() else { return Ruling::Forward };
        let held = hold::outcome(case.exchange, denied, case.ticket);
        let mut refused = Vec::new();
        for partition in case.found.partitions_of(topic) {
            let index = partition.index;
            let resource = Resource::Partition { topic: name, index };
            let holds = notes.tally.hold_count();
            let decision = self.ask(need.action, resource, case.now);
            notes.tally.decided(Wanted { resource, action: need.action }, decision);
            let code = match &decision.verdict {
                Verdict::Allow => {
                    let producer = case.producer(partition);
                    if producer.is_none_or(|it| self.sequences.admits(name, index, it)) {
                        continue;
                    }
                    held.code
                }
                Verdict::Hold { .. } if hold::is_transparent(case.exchange) => {
                    notes.tally.forget_holds(holds);
                    continue;
                }
                Verdict::Hold { .. } => {
                    if !self.refuse_later(case, name, partition) {
                        return Ruling::TooManyHeld;
                    }
                    cuts.held = true;
                    held.code
                }
                Verdict::Deny => {
                    cuts.denied = true;
                    denied
                }
            };
            notes.tally.answered(code);
            refused.push((partition, code));
        }
        case.cut_partitions(topic, &refused, held.message, notes)
    }

    /// What of an allowed topic goes on: batches that were refused while policy held them come first.
    fn admitted(
        &mut self,
        case: &Case<'_>,
        topic: &Topic,
        name: &str,
        notes: &mut Notes<'_>,
    ) -> Ruling {
        if self.sequences.is_empty() || case.exchange.api.key != hold::PRODUCE {
            return Ruling::Forward;
        }
        let waits = |partition: &&Partition| {
            let producer = case.producer(partition);
            producer.is_some_and(|it| !self.sequences.admits(name, partition.index, it))
        };
        let code = ErrorCode::NOT_ENOUGH_REPLICAS;
        let waiting: Vec<_> = case
            .found
            .partitions_of(topic)
            .iter()
            .filter(waits)
            .map(|partition| (partition, code))
            .collect();
        case.cut_partitions(topic, &waiting, Some(hold::EARLIER_FIRST), notes)
    }
}

impl<'a> Case<'a> {
    fn applies(&self, when: When) -> bool {
        let number = |meaning| self.found.number(meaning).map(|number| number.value);
        match when {
            When::Always => true,
            When::TransactionalBatch => self.is_transactional,
            When::TransactionalIdGiven => self.has_transactional_id(),
            When::TransactionalIdAbsent => !self.has_transactional_id(),
            When::KeyType(kind) => number(Meaning::KeyType).unwrap_or(0) == kind,
            When::Replica => number(Meaning::ReplicaId).is_some_and(|replica| replica >= 0),
            When::AutoCreate => number(Meaning::AutoCreate).unwrap_or(1) != 0,
        }
    }

    /// Who numbered the batch of a partition that is produced to.
    fn producer(&self, partition: &Partition) -> Option<Producer> {
        if self.exchange.api.key != hold::PRODUCE {
            return None;
        }
        let summary = batch::summarise(partition.records.bytes(self.frame)).ok()??;
        (summary.producer_id >= 0).then(|| producer_of(&summary))
    }

    fn has_transactional_id(&self) -> bool {
        self.found.text(Meaning::TransactionalId).is_some_and(|id| !id.null)
    }

    /// A topic's name, as the request has it or by its id; `None` where the id is not known.
    #[must_use]
    pub fn name(&self, topic: &Topic) -> Option<&'a str> {
        if let Some(name) = topic.name(self.frame) {
            return Some(name);
        }
        self.cluster.topic_name(&topic.id(self.frame)?).map(|name| &**name)
    }

    /// A denied topic: by id in Metadata, denied and unknown look alike, because Kafka's two answers tell which ids
    /// exist.
    fn denied<'t>(&self, topic: &Topic, code: ErrorCode, reason: Option<&'t str>) -> Outcome<'t> {
        let by_id = topic.name(self.frame).is_none();
        let code = if by_id && self.exchange.api.key == kafka::table::METADATA_KEY {
            ErrorCode::UNKNOWN_TOPIC_ID
        } else {
            code
        };
        Outcome { code, message: reason }
    }

    /// Which policies refuse what cannot be undone, as a text; of other APIs Kafka's own text is told, where it has one.
    pub(super) fn reason(
        &self,
        action: Action,
        resource: Resource<'_>,
        decision: &Decision,
    ) -> Option<String> {
        if !self.exchange.api.is_dangerous || decision.verdict != Verdict::Deny {
            return None;
        }
        Some(tally::reason(action, resource, &decision.policies))
    }

    fn cut_topic(&self, topic: &Topic, outcome: Outcome<'_>, notes: &mut Notes<'_>) -> Ruling {
        notes.refusals.topic_of(self.frame, self.found, topic, outcome);
        self.hide(topic, notes)
    }

    pub(super) fn hide(&self, topic: &Topic, notes: &mut Notes<'_>) -> Ruling {
        if let Some(list) = self.found.lists.get(kafka::wire::index(topic.list)) {
            notes.edits.remove(list, topic.element);
            notes.tally.cut(topic.element);
        }
        Ruling::ForwardRest
    }

    /// Refuses some partitions of a topic, each with its code.
    fn cut_partitions(
        &self,
        topic: &Topic,
        refused: &[(&Partition, ErrorCode)],
        message: Option<&str>,
        notes: &mut Notes<'_>,
    ) -> Ruling {
        let Some((_, first)) = refused.first() else { return Ruling::Forward };
        notes.refusals.topic(self.topic_ref(topic), Outcome { code: *first, message });
        let is_whole = refused.len() == self.found.partitions_of(topic).len();
        for (partition, code) in refused {
            notes.refusals.partition(partition.index, *code);
            if !is_whole {
                notes.edits.remove(&topic.partition_list, partition.element);
                notes.tally.cut_partition(partition.element);
            }
        }
        if is_whole { self.hide(topic, notes) } else { Ruling::ForwardRest }
    }

    fn cut_group(&self, group: &Group, notes: &mut Notes<'_>) {
        if let Some(list) = self.found.list(List::Groups) {
            notes.edits.remove(&list, group.element);
            notes.tally.cut(group.element);
        }
    }

    fn topic_ref(&self, topic: &Topic) -> kafka::refuse::TopicRef<'_> {
        kafka::refuse::TopicRef::of(self.frame, self.found, topic)
    }

    /// Whether the group around a topic was cut: nothing inside of it may be edited any more.
    fn is_in_cut_group(&self, topic: &Topic, notes: &Notes<'_>) -> bool {
        let group = self.found.groups.get(kafka::wire::index(topic.group));
        group.is_some_and(|group| !group.element.is_empty() && notes.tally.is_cut(group.element))
    }

    /// Whether nothing is left of what the request named, and so nobody has to be asked.
    fn is_emptied(&self, notes: &Notes<'_>) -> bool {
        let topics = self.found.topics.iter();
        let topics = topics.filter(|topic| {
            self.found.list_of(topic) == List::Topics && !self.is_in_cut_group(topic, notes)
        });
        let groups = self.found.groups.iter().filter(|group| !group.element.is_empty());
        let named = topics.count() + groups.count() + self.found.keys.len();
        !GO_ON_EMPTY.contains(&self.exchange.api.key)
            && named > 0
            && notes.tally.cut_count() == named
    }
}

/// APIs that a broker must answer even where nothing is left of what they named: Metadata tells of brokers beside its topics,
/// a share session counts its requests, and AlterShareGroupOffsets looks for the group first.
const GO_ON_EMPTY: [i16; 4] =
    [kafka::table::METADATA_KEY, share::FETCH, share::ACKNOWLEDGE, ALTER_SHARE_GROUP_OFFSETS];
const ALTER_SHARE_GROUP_OFFSETS: i16 = 91;

const TOPIC_OPERATIONS: &[(Action, u32)] = &[
    (Action::Read, 3),
    (Action::Write, 4),
    (Action::Create, 5),
    (Action::Delete, 6),
    (Action::Alter, 7),
    (Action::Describe, 8),
    (Action::DescribeConfigs, 10),
    (Action::AlterConfigs, 11),
];

const GROUP_OPERATIONS: &[(Action, u32)] = &[
    (Action::Read, 3),
    (Action::Delete, 6),
    (Action::Describe, 8),
    (Action::DescribeConfigs, 10),
    (Action::AlterConfigs, 11),
];

const CLUSTER_OPERATIONS: &[(Action, u32)] = &[
    (Action::Create, 5),
    (Action::Alter, 7),
    (Action::Describe, 8),
    (Action::ClusterAction, 9),
    (Action::DescribeConfigs, 10),
    (Action::AlterConfigs, 11),
    (Action::IdempotentWrite, 12),
];
