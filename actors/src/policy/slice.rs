//! The part of a bundle that can speak of an identity, arranged so that a decision asks few policies.
//!
//! Cedar evaluates every policy of a set, so the sets are kept small before anybody asks:
//!
//! ```text
//! bundle ──(groups)──▶ slice ──(question, kind of resource)──▶ cell ──(name)──▶ rules
//!                                                              └─ rules of any name
//! ```
//!
//! A policy is left out only where its scope or its types say that it cannot match, so a slice
//! decides as the whole bundle would.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Weak};

use cedar_policy::PolicySet;

use super::bundle::Bundle;
use super::rule::{About, Rule, Whom};
use super::schema::{Kind, Names, Question};
use crate::vocabulary::{Identity, PolicyHash};

/// The policies that can speak of identities with the same groups. Immutable, and shared by them.
#[derive(Debug)]
pub struct Slice {
    epoch: u64,
    hash: PolicyHash,
    pub(super) names: Arc<Names>,
    /// Every group that the bundle mentions.
    pub(super) groups: Arc<HashSet<String>>,
    pub(super) rules: HashMap<Arc<str>, Arc<Rule>>,
    /// By question and kind.
    cells: Vec<Option<Arc<Cell>>>,
    partitions: Partitions,
    reads_time: bool,
}

/// The rules of one question about one kind of resource.
#[derive(Debug, Default)]
pub(super) struct Cell {
    /// Rules whose scope fits any name.
    pub(super) general: Rules,
    /// Rules whose scope names one resource; a partition is under its topic.
    pub(super) named: HashMap<Box<str>, Rules>,
}

/// Rules that are asked together.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Asked of the resource, or of the topic where it is a partition.
    pub(super) whole: Sets,
    /// Asked of the partition: the rules that mention partitions. The others are asked of the topic
    /// alone, so that "all but Topic::x" does not take x's partitions for something else.
    pub(super) partition: Sets,
}

/// Cedar reports the permits that matched only where nothing forbade, so effects are kept apart; and
/// rules that read `context.approved` are, because only they need a second question.
#[derive(Debug, Default)]
pub(super) struct Sets {
    pub(super) forbids: PolicySet,
    pub(super) permits: PolicySet,
    pub(super) asking_forbids: PolicySet,
    pub(super) asking_permits: PolicySet,
}

/// The topics whose partitions a slice tells apart.
#[derive(Debug, Default)]
struct Partitions {
    of_any_topic: bool,
    of_topics: HashSet<String>,
}

/// Slices by group set, for as long as somebody holds them. Owned by one actor.
#[derive(Debug)]
pub struct Slices {
    bundle: Arc<Bundle>,
    /// Groups that scopes name: no other one changes a slice.
    scope_groups: HashSet<String>,
    /// Users whom scopes name: each has a slice of their own.
    scope_users: HashSet<String>,
    slices: HashMap<SliceKey, Weak<Slice>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SliceKey {
    groups: BTreeSet<String>,
    user: Option<String>,
}

impl Slice {
    /// Cuts a bundle down to the policies whose scope does not exclude the identity.
    #[must_use]
    pub fn new(bundle: &Bundle, principal: &str, groups: &[String]) -> Self {
        let kept: Vec<&Arc<Rule>> =
            bundle.rules.iter().filter(|rule| rule.can_match(principal, groups)).collect();
        let mut partitions = Partitions::default();
        for topic in kept.iter().filter_map(|rule| rule.partitions_of()) {
            match topic {
                Some(topic) => drop(partitions.of_topics.insert(topic.to_owned())),
                None => partitions.of_any_topic = true,
            }
        }
        Self {
            epoch: bundle.epoch(),
            hash: bundle.hash(),
            names: Arc::clone(&bundle.names),
            groups: Arc::clone(&bundle.groups),
            cells: cells_of(&kept),
            partitions,
            reads_time: kept.iter().any(|rule| rule.reads.time),
            rules: kept.iter().map(|rule| (Arc::clone(&rule.id), Arc::clone(rule))).collect(),
        }
    }

    /// The number of the bundle.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The hash of the whole bundle.
    #[must_use]
    pub fn hash(&self) -> PolicyHash {
        self.hash
    }

    /// Whether a rule reads `context.now`: a decision is then good for at most a second.
    #[must_use]
    pub fn reads_time(&self) -> bool {
        self.reads_time
    }

    /// Whether a rule tells partitions of this topic apart. Where none does, every partition is
    /// decided as its topic, and need not be asked about.
    #[must_use]
    pub fn names_partitions(&self, topic: &str) -> bool {
        self.partitions.of_any_topic || self.partitions.of_topics.contains(topic)
    }

    /// The policies that were kept, in no particular order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values().map(|rule| &**rule)
    }

    /// `None` where no rule answers.
    pub(super) fn cell(&self, question: Question, kind: Kind) -> Option<&Cell> {
        self.cells.get(cell_index(question.index(), kind.index()))?.as_deref()
    }
}

impl Slices {
    /// No slices yet.
    #[must_use]
    pub fn new(bundle: Arc<Bundle>) -> Self {
        let mut scope_groups = HashSet::new();
        let mut scope_users = HashSet::new();
        for rule in &bundle.rules {
            match &rule.whom {
                Whom::Everyone => {}
                Whom::Group(group) => drop(scope_groups.insert(group.clone())),
                Whom::User(user) => drop(scope_users.insert(user.clone())),
            }
        }
        Self { bundle, scope_groups, scope_users, slices: HashMap::new() }
    }

    /// The bundle that is sliced.
    #[must_use]
    pub fn bundle(&self) -> &Arc<Bundle> {
        &self.bundle
    }

    /// The slice of an identity: one that somebody holds already, or a new one.
    pub fn slice_for(&mut self, identity: &Identity) -> Arc<Slice> {
        let principal = identity.principal();
        let groups: BTreeSet<String> = identity
            .groups
            .iter()
            .filter(|group| self.scope_groups.contains(*group))
            .cloned()
            .collect();
        let user = self.scope_users.contains(&principal).then(|| principal.clone());
        let key = SliceKey { groups, user };
        if let Some(slice) = self.slices.get(&key).and_then(Weak::upgrade) {
            return slice;
        }
        if self.slices.len() >= SLICES_BEFORE_SWEEP {
            self.slices.retain(|_, slice| slice.strong_count() > 0);
        }
        let slice = Arc::new(Slice::new(&self.bundle, &principal, &identity.groups));
        self.slices.insert(key, Arc::downgrade(&slice));
        slice
    }
}

impl Cell {
    /// The rules for a resource of this name: of any name, and of this one.
    pub(super) fn rules_for(&self, name: &str) -> impl Iterator<Item = &Rules> {
        std::iter::once(&self.general).chain(self.named.get(name))
    }

    fn of(rules: &[(usize, bool, bool)], kept: &[&Arc<Rule>]) -> Self {
        let mut cell = Self::default();
        for (index, whole, partition) in rules {
            let Some(rule) = kept.get(*index) else { continue };
            let target = match &rule.about {
                About::Anything => &mut cell.general,
                About::Named(_, name) => cell.named.entry(name.as_str().into()).or_default(),
            };
            if *whole {
                target.whole.add(rule);
            }
            if *partition {
                target.partition.add(rule);
            }
        }
        cell
    }
}

impl Sets {
    fn add(&mut self, rule: &Rule) {
        let set = match (rule.is_permit(), rule.reads.approved) {
            (true, false) => &mut self.permits,
            (true, true) => &mut self.asking_permits,
            (false, false) => &mut self.forbids,
            (false, true) => &mut self.asking_forbids,
        };
        // Ids are unique within a bundle, which is the one thing that could fail here.
        let added = set.add(rule.policy.clone());
        assert!(added.is_ok(), "policy {} is in the set already", rule.id);
    }
}

/// Sorts rules into cells. Questions with the very same rules share a cell: a rule for any action
/// would otherwise be held once for each.
fn cells_of(kept: &[&Arc<Rule>]) -> Vec<Option<Arc<Cell>>> {
    // Of each cell: the rules by their index, and whether of the whole and of the partition.
    let mut members: Vec<Vec<(usize, bool, bool)>> =
        vec![Vec::new(); cell_index(Question::ALL.len(), 0)];
    for (index, rule) in kept.iter().enumerate() {
        let mut places: HashMap<usize, (bool, bool)> = HashMap::new();
        for (question, kind) in &rule.cells {
            places.entry(cell_index(*question, *kind)).or_default().0 = true;
        }
        if rule.reads.partitions {
            for question in &rule.partition_questions {
                places.entry(cell_index(*question, Kind::Topic.index())).or_default().1 = true;
            }
        }
        for (place, (whole, partition)) in places {
            if let Some(cell) = members.get_mut(place) {
                cell.push((index, whole, partition));
            }
        }
    }
    let mut shared: HashMap<Vec<(usize, bool, bool)>, Arc<Cell>> = HashMap::new();
    let mut cells = Vec::with_capacity(members.len());
    for rules in members {
        if rules.is_empty() {
            cells.push(None);
            continue;
        }
        let known = shared.get(&rules).map(Arc::clone);
        let cell = known.unwrap_or_else(|| Arc::new(Cell::of(&rules, kept)));
        shared.insert(rules, Arc::clone(&cell));
        cells.push(Some(cell));
    }
    cells
}

fn cell_index(question: usize, kind: usize) -> usize {
    question.saturating_mul(Kind::COUNT).saturating_add(kind)
}

/// Dead entries cost some hundred bytes each; this many are swept at once. Guess, unmeasured.
const SLICES_BEFORE_SWEEP: usize = 1_024;

#[cfg(test)]
mod tests;
