//! What one request wanted and got, kept for its entry in the record: cleared and reused, request by request.

use std::sync::Arc;

use sluicegate_actors::recorder::entry::{Outcome, Positions, Producer, ResourceDraft};
use sluicegate_actors::vocabulary::{Action, Decision, HeldBy, Resource, Verdict};

use crate::kafka::ErrorCode;
use crate::kafka::batch::Summary;
use crate::kafka::found::{Partition, Span};

/// A resource, and what was wanted on it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The resource.
    pub resource: Resource<'a>,
    /// The action.
    pub action: Action,
}

/// Resources of one request with what was decided, and elements that were cut from it.
#[derive(Debug, Default)]
pub struct Tally {
    names: String,
    items: Vec<Item>,
    cuts: Vec<Span>,
    partition_cuts: Vec<Span>,
    /// The cuts of earlier needs, by their start: [`Tally::is_cut`] searches among them.
    settled: usize,
    holds: Vec<Hold>,
}

/// What holds one of the resources.
#[derive(Clone, Debug)]
struct Hold {
    item: usize,
    rules: Arc<[HeldBy]>,
    grant_ttl_ms: i64,
}

/// One resource. Its name lies in the tally.
#[derive(Debug)]
pub struct Item {
    kind: Kind,
    name: (usize, usize),
    action: Option<Action>,
    outcome: Outcome,
    policies: Option<Arc<[Arc<str>]>>,
    error_code: Option<i16>,
    /// Where the record batches are and who numbered them.
    pub batches: Option<Batches>,
}

/// Record batches of one partition in one entry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batches {
    /// First and last offset.
    pub positions: Option<Positions>,
    /// The number of records.
    pub records: u64,
    /// Their bytes within the entry's payload.
    pub payload_bytes: u32,
    /// Who numbered them.
    pub producer: Option<Producer>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Topic,
    Partition(i32),
    ConsumerGroup,
    TransactionalId,
    Cluster,
}

/// Who numbered the first of some record batches.
#[must_use]
pub fn producer_of(summary: &Summary) -> Producer {
    let Summary { producer_id: id, producer_epoch: epoch, base_sequence: sequence, .. } = *summary;
    Producer { id, epoch, sequence }
}

/// Which policies refuse something, as a text for clients.
#[must_use]
pub fn reason(action: Action, resource: Resource<'_>, policies: &[Arc<str>]) -> String {
    let action = action.name();
    let on = match resource {
        Resource::Topic(name) => format!("topic `{name}`"),
        Resource::Partition { topic, index } => format!("partition {index} of topic `{topic}`"),
        Resource::ConsumerGroup(name) => format!("group `{name}`"),
        Resource::TransactionalId(name) => format!("transactional id `{name}`"),
        Resource::Cluster => "the cluster".to_owned(),
    };
    if policies.is_empty() {
        return format!("No policy permits {action} on {on}.");
    }
    let names: Vec<String> = policies.iter().map(|policy| format!("`{policy}`")).collect();
    format!("Policy {} forbids {action} on {on}.", names.join(", "))
}

impl Batches {
    /// What is recorded of the record batches in `bytes` bytes; without a summary they hold no whole batch.
    #[must_use]
    pub fn of(summary: Option<&Summary>, bytes: usize) -> Self {
        let payload_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Some(summary) = summary else { return Self { payload_bytes, ..Self::default() } };
        let positions = Positions { first: summary.first_offset, last: summary.last_offset };
        let numbered = summary.producer_id >= 0;
        Self {
            positions: Some(positions),
            records: summary.records,
            payload_bytes,
            producer: numbered.then(|| producer_of(summary)),
        }
    }

    /// The offset that a broker gave to the first record of what was produced; -1 where it refused.
    #[must_use]
    pub fn assigned(partition: &Partition) -> Self {
        let positions = Positions { first: partition.offset, last: partition.offset };
        Self { positions: (partition.offset >= 0).then_some(positions), ..Self::default() }
    }
}

impl Tally {
    /// Whether there is nothing to record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Forgets everything, keeping memory.
    pub fn clear(&mut self) {
        self.names.clear();
        self.items.clear();
        self.cuts.clear();
        self.partition_cuts.clear();
        self.settled = 0;
        self.holds.clear();
    }

    /// Notes a decision.
    pub fn decided(&mut self, wanted: Wanted<'_>, decision: &Decision) {
        let outcome = match decision.verdict {
            Verdict::Allow => Outcome::Allow,
            Verdict::Deny => Outcome::Deny,
            Verdict::Hold { ref rules, grant_ttl_ms } => {
                let (item, rules) = (self.items.len(), Arc::clone(rules));
                self.holds.push(Hold { item, rules, grant_ttl_ms });
                Outcome::Hold
            }
        };
        self.push(wanted.resource, Some(wanted.action), outcome, Some(&decision.policies), None);
    }

    /// Notes record batches of a partition.
    pub fn batches(&mut self, topic: &str, index: i32, batches: Batches) {
        let resource = Resource::Partition { topic, index };
        self.push(resource, None, Outcome::Undecided, None, Some(batches));
    }

    /// Notes the code that the client is given for the last resource.
    pub fn answered(&mut self, code: ErrorCode) {
        if let Some(item) = self.items.last_mut() {
            item.error_code = Some(code.0);
        }
    }

    /// How many resources wait for an approval.
    #[must_use]
    pub fn hold_count(&self) -> usize {
        self.holds.len()
    }

    /// Notes that nothing waits beyond the first `count` holds: what held them is not needed.
    pub fn forget_holds(&mut self, count: usize) {
        self.holds.truncate(count);
    }

    /// Which policies refused the last resource that was denied.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let item = self.items.iter().rev().find(|item| item.outcome == Outcome::Deny)?;
        let policies = item.policies.as_deref().unwrap_or_default();
        Some(reason(item.action?, self.resource(item), policies))
    }

    /// What waits for an approval: on which resource, for what, by which rules, and how long a grant would last.
    pub fn holds(&self) -> impl Iterator<Item = (Wanted<'_>, &Arc<[HeldBy]>, i64)> {
        self.holds.iter().filter_map(|hold| {
            let item = self.items.get(hold.item)?;
            let wanted = Wanted { resource: self.resource(item), action: item.action? };
            Some((wanted, &hold.rules, hold.grant_ttl_ms))
        })
    }

    /// Notes that an element was cut from the request.
    pub fn cut(&mut self, element: Span) {
        self.cuts.push(element);
    }

    /// Notes that a partition was cut from its topic, which stays.
    pub fn cut_partition(&mut self, element: Span) {
        self.partition_cuts.push(element);
    }

    /// Whether a partition was cut, alone or with its topic.
    #[must_use]
    pub fn is_partition_cut(&self, topic: Span, element: Span) -> bool {
        self.is_cut(topic) || self.partition_cuts.contains(&element)
    }

    /// Begins another need, or ends the last: what was cut so far is found by [`Tally::is_cut`].
    pub fn settle(&mut self) {
        self.cuts.sort_unstable_by_key(|span| span.start);
        self.settled = self.cuts.len();
    }

    /// Whether an element was cut already, by an earlier need.
    #[must_use]
    pub fn is_cut(&self, element: Span) -> bool {
        let settled = self.cuts.get(..self.settled).unwrap_or_default();
        settled.binary_search_by_key(&element.start, |span| span.start).is_ok()
    }

    /// How many elements were cut.
    #[must_use]
    pub fn cut_count(&self) -> usize {
        self.cuts.len()
    }

    /// What was decided for the request as a whole.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let decided = self.items.iter().map(|item| item.outcome);
        let mut outcomes = decided.filter(|outcome| *outcome != Outcome::Undecided);
        let Some(first) = outcomes.next() else { return Outcome::Undecided };
        if outcomes.all(|outcome| outcome == first) { first } else { Outcome::Partial }
    }

    /// The resources as an entry names them.
    pub fn drafts(&self) -> impl Iterator<Item = ResourceDraft<'_>> {
        self.items.iter().map(|item| {
            let mut draft = ResourceDraft::new(self.resource(item), item.outcome);
            draft.action = item.action;
            draft.policies = item.policies.as_deref().unwrap_or_default();
            draft.error_code = item.error_code;
            if let Some(batches) = item.batches {
                draft.positions = batches.positions;
                draft.records = Some(batches.records);
                draft.payload_bytes = Some(batches.payload_bytes);
                draft.producer = batches.producer;
            }
            draft
        })
    }

    fn push(
        &mut self,
        resource: Resource<'_>,
        action: Option<Action>,
        outcome: Outcome,
        policies: Option<&Arc<[Arc<str>]>>,
        batches: Option<Batches>,
    ) {
        let (kind, name) = match resource {
            Resource::Topic(name) => (Kind::Topic, name),
            Resource::Partition { topic, index } => (Kind::Partition(index), topic),
            Resource::ConsumerGroup(name) => (Kind::ConsumerGroup, name),
            Resource::TransactionalId(name) => (Kind::TransactionalId, name),
            Resource::Cluster => (Kind::Cluster, ""),
        };
        let start = self.names.len();
        self.names.push_str(name);
        let name = (start, self.names.len());
        let policies = policies.cloned();
        let error_code = None;
        self.items.push(Item { kind, name, action, outcome, policies, error_code, batches });
    }

    fn resource(&self, item: &Item) -> Resource<'_> {
        let name = self.names.get(item.name.0..item.name.1).unwrap_or_default();
        match item.kind {
            Kind::Topic => Resource::Topic(name),
            Kind::Partition(index) => Resource::Partition { topic: name, index },
            Kind::ConsumerGroup => Resource::ConsumerGroup(name),
            Kind::TransactionalId => Resource::TransactionalId(name),
            Kind::Cluster => Resource::Cluster,
        }
    }
}
