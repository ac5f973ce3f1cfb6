//! One decision: an identity, an action, a resource and a context against a slice.
//!
//! A decision is `Hold` exactly where the request is denied with `context.approved` false and allowed
//! with it true; rules that do not read it are asked once. Whatever fails to evaluate is a denial.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Entities, Entity, EntityUid, PolicySet, Request,
    RestrictedExpression,
};
use thiserror::Error;

use super::schema::{Kind, Question, uid};
use super::slice::{Rules, Sets, Slice};
use crate::vocabulary::{Action, Decision, HeldBy, Identity, Resource, UnixMillis, Verdict};

/// What policy may know about a session beyond its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestContext {
    /// Where the client connects from; an IPv4 address in its IPv6 form counts as IPv4.
    pub address: IpAddr,
    /// The session's first client id; empty where there is none.
    pub client_id: String,
    /// The listener's name in the configuration.
    pub listener: String,
    /// How the identity was shown: `oauthbearer`, `plain` or `mtls`.
    pub login: String,
    /// The name of the listener's cluster: `Cluster::"…"`.
    pub cluster: String,
}

/// An identity and its context in Cedar's terms, prepared once for a session and a slice.
#[derive(Debug, Clone)]
pub struct Asker {
    user: EntityUid,
    /// The user's entity. A resource's is added to a copy, which repairs the hierarchy for that one
    /// alone; building both anew was half of a decision's cost.
    entities: Entities,
    cluster: EntityUid,
    cluster_name: String,
    facts: RequestContext,
    /// With the time at which they were made; made anew where the slice reads the time.
    contexts: Contexts,
}

/// Why a session could not be prepared for decisions: it must be refused.
#[derive(Debug, Error)]
pub enum AskerError {
    /// Cedar refused the user's entity.
    #[error("the identity cannot be expressed for policy")]
    Identity(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Cedar refused the context.
    #[error("the session's context cannot be expressed for policy")]
    Context(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The same context, before and after approval.
#[derive(Debug, Clone)]
struct Contexts {
    unapproved: Context,
    approved: Context,
}

/// A resource as rules see it: itself, or a topic with the partition that is asked about.
struct Case<'a> {
    name: &'a str,
    kind: Kind,
    whole: Thing,
    partition: Option<Thing>,
}

/// A resource's entity, beside the user's.
struct Thing {
    uid: EntityUid,
    entities: Entities,
}

/// What one question came to.
struct Outcome {
    decision: Decision,
    /// A forbid matched, or a rule failed: no other right implies this one.
    forbidden: bool,
}

/// The rules of one effect that matched, and those that failed.
#[derive(Default)]
struct Matched {
    ids: Vec<Arc<str>>,
    failed: Vec<Arc<str>>,
}

impl Asker {
    /// Prepares an identity for the decisions of one slice.
    ///
    /// # Errors
    ///
    /// Where Cedar cannot hold the identity or the context; no known input but a time beyond the
    /// year 9999 does that.
    pub fn new(
        slice: &Slice,
        identity: &Identity,
        facts: RequestContext,
        now: UnixMillis,
    ) -> Result<Self, AskerError> {
        let user = uid(&slice.names.user, &identity.principal());
        // Groups that no policy mentions would cost each decision, and change none.
        let parents: HashSet<EntityUid> = identity
            .groups
            .iter()
            .filter(|group| slice.groups.contains(*group))
            .map(|group| uid(&slice.names.group, group))
            .collect();
        let entity = Entity::new_no_attrs(user.clone(), parents);
        let entities = Entities::from_entities([entity], None)
            .map_err(|error| AskerError::Identity(Box::new(error)))?;
        let contexts = Contexts::new(&facts, now, None).map_err(AskerError::Context)?;
        let cluster = uid(&slice.names.cluster, &facts.cluster);
        Ok(Self { user, entities, cluster, cluster_name: facts.cluster.clone(), facts, contexts })
    }

    /// The listener that it came through.
    pub(super) fn listener(&self) -> &str {
        &self.facts.listener
    }

    fn contexts(&self, slice: &Slice, now: UnixMillis) -> Option<Contexts> {
        if slice.reads_time() {
            Contexts::new(&self.facts, now, None).ok()
        } else {
            Some(self.contexts.clone())
        }
    }
}

impl Slice {
    /// Decides an action on a resource, with the rights that others imply, and without grants.
    #[must_use]
    pub fn decide(
        &self,
        asker: &Asker,
        action: Action,
        resource: Resource<'_>,
        now: UnixMillis,
    ) -> Decision {
        let Some(contexts) = asker.contexts(self, now) else { return denial(Vec::new()) };
        let Some(case) = self.case(asker, resource) else { return denial(Vec::new()) };
        let own = self.answer(asker, Question::Act(action), &case, &contexts);
        if own.forbidden || own.decision.verdict == Verdict::Allow {
            return own.decision;
        }
        let implying: &[Action] = match action {
            Action::Describe => &[Action::Read, Action::Write, Action::Delete, Action::Alter],
            Action::DescribeConfigs => &[Action::AlterConfigs],
            _ => &[],
        };
        for other in implying {
            let by = self.answer(asker, Question::Act(*other), &case, &contexts).decision;
            if by.verdict != Verdict::Deny {
                return Decision { verdict: Verdict::Allow, policies: by.policies };
            }
        }
        own.decision
    }

    /// Decides whether a label is shown in clear on a topic, without grants.
    #[must_use]
    pub fn unmask(&self, asker: &Asker, label: &str, topic: &str, now: UnixMillis) -> Decision {
        let made = Contexts::new(&asker.facts, now, Some(topic)).ok();
        let whole = self.thing(asker, Kind::Label, label);
        let (Some(contexts), Some(whole)) = (made, whole) else { return denial(Vec::new()) };
        let case = Case { name: label, kind: Kind::Label, whole, partition: None };
        self.answer(asker, Question::Unmask, &case, &contexts).decision
    }

    /// Whether a topic's payloads may be left out of the record.
    #[must_use]
    pub fn skips_payload(&self, asker: &Asker, topic: &str, now: UnixMillis) -> bool {
        if self.cell(Question::SkipPayload, Kind::Topic).is_none() {
            return false;
        }
        let case = self.case(asker, Resource::Topic(topic));
        let (Some(case), Some(contexts)) = (case, asker.contexts(self, now)) else { return false };
        let outcome = self.answer(asker, Question::SkipPayload, &case, &contexts);
        outcome.decision.verdict == Verdict::Allow
    }

    /// Whether an action is allowed or on hold on some topic: what Kafka asks for a producer id
    /// without `IdempotentWrite`. Topics that permits name are decided; a permit for topics of any
    /// name counts as it is, because which of them exist is not known here.
    #[must_use]
    pub fn allows_any_topic(&self, asker: &Asker, action: Action, now: UnixMillis) -> bool {
        let Some(cell) = self.cell(Question::Act(action), Kind::Topic) else { return false };
        let general = &cell.general;
        if has_permits(&general.whole) || has_permits(&general.partition) {
            return true;
        }
        cell.named
            .iter()
            .filter(|(_, rules)| has_permits(&rules.whole) || has_permits(&rules.partition))
            .take(TOPICS_TRIED_MAX)
            .any(|(topic, rules)| {
                has_permits(&rules.partition)
                    || self.decide(asker, action, Resource::Topic(topic), now).verdict
                        != Verdict::Deny
            })
    }

    /// Asks the rules of one question; implied rights are the caller's.
    fn answer(
        &self,
        asker: &Asker,
        question: Question,
        case: &Case<'_>,
        contexts: &Contexts,
    ) -> Outcome {
        let Some(cell) = self.cell(question, case.kind) else { return Outcome::nothing() };
        let ask = |pick: fn(&Sets) -> &PolicySet, context: &Context| {
            self.ask(asker, question, case, cell.rules_for(case.name), pick, context)
        };
        let unapproved = &contexts.unapproved;
        let forbids = ask(|sets| &sets.forbids, unapproved);
        if !forbids.failed.is_empty() || !forbids.ids.is_empty() {
            return Outcome::forbidden(forbids);
        }
        let holding = ask(|sets| &sets.asking_forbids, unapproved);
        let standing = ask(|sets| &sets.permits, unapproved);
        let asking = ask(|sets| &sets.asking_permits, unapproved);
        if let Some(failure) = Outcome::failed([&holding, &standing, &asking]) {
            return failure;
        }
        let is_permitted = !(standing.ids.is_empty() && asking.ids.is_empty());
        if holding.ids.is_empty() && is_permitted {
            return Outcome::allowed(standing.ids, asking.ids);
        }
        let still_holding = ask(|sets| &sets.asking_forbids, &contexts.approved);
        let approved = ask(|sets| &sets.asking_permits, &contexts.approved);
        if let Some(failure) = Outcome::failed([&still_holding, &approved]) {
            return failure;
        }
        let would_be_permitted = !(standing.ids.is_empty() && approved.ids.is_empty());
        if still_holding.ids.is_empty() && would_be_permitted {
            let by_permits = if is_permitted { Vec::new() } else { approved.ids };
            self.hold(holding.ids, by_permits)
        } else if holding.ids.is_empty() {
            Outcome::nothing()
        } else {
            Outcome::forbidden(holding)
        }
    }

    /// A hold by each of these forbids, and by these permits, any of which would serve.
    fn hold(&self, forbids: Vec<Arc<str>>, permits: Vec<Arc<str>>) -> Outcome {
        let rules = |ids: &[Arc<str>]| -> Vec<_> {
            ids.iter().filter_map(|id| self.rules.get(id)).map(Arc::clone).collect()
        };
        let (forbidding, permitting) = (rules(&forbids), rules(&permits));
        let mut held_by: Vec<HeldBy> = forbidding
            .iter()
            .map(|rule| HeldBy { policy: rule.id.to_string(), approvers: rule.approvers.clone() })
            .collect();
        if !permitting.is_empty() {
            let mut approvers: Vec<String> =
                permitting.iter().flat_map(|rule| rule.approvers.iter().cloned()).collect();
            approvers.sort_unstable();
            approvers.dedup();
            let policy = permits.join(", ");
            held_by.push(HeldBy { policy, approvers });
        }
        let ttls = forbidding.iter().chain(&permitting).map(|rule| rule.grant_ttl_ms);
        let Some(grant_ttl_ms) = ttls.min() else { return Outcome::nothing() };
        let forbidden = !forbids.is_empty();
        let policies = forbids.into_iter().chain(permits).collect();
        let verdict = Verdict::Hold { rules: held_by.into(), grant_ttl_ms };
        Outcome { decision: Decision { verdict, policies }, forbidden }
    }

    /// Asks one set of each of the rules, of the resource and of the partition.
    fn ask<'a>(
        &self,
        asker: &Asker,
        question: Question,
        case: &Case<'_>,
        rules: impl Iterator<Item = &'a Rules>,
        pick: fn(&Sets) -> &PolicySet,
        context: &Context,
    ) -> Matched {
        let mut matched = Matched::default();
        for rules in rules {
            let whole = pick(&rules.whole);
            if !whole.is_empty() {
                self.ask_set(asker, question, &case.whole, whole, context, &mut matched);
            }
            let partition = pick(&rules.partition);
            if let Some(thing) = case.partition.as_ref().filter(|_| !partition.is_empty()) {
                self.ask_set(asker, question, thing, partition, context, &mut matched);
            }
        }
        matched.ids.sort_unstable();
        matched.ids.dedup();
        matched
    }

    fn ask_set(
        &self,
        asker: &Asker,
        question: Question,
        thing: &Thing,
        set: &PolicySet,
        context: &Context,
        matched: &mut Matched,
    ) {
        let request = self.names.action(question).and_then(|action| {
            let (user, resource) = (asker.user.clone(), thing.uid.clone());
            Request::new(user, action.clone(), resource, context.clone(), None).ok()
        });
        let Some(request) = request else {
            matched.failed.push(Arc::from("request"));
            return;
        };
        let response = Authorizer::new().is_authorized(&request, set, &thing.entities);
        let diagnostics = response.diagnostics();
        let known = |id: &str| match self.rules.get(id) {
            Some(rule) => Arc::clone(&rule.id),
            None => Arc::from(id),
        };
        matched.ids.extend(diagnostics.reason().map(|id| known(id.as_ref())));
        matched.failed.extend(diagnostics.errors().map(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => known(error.policy_id().as_ref()),
        }));
    }

    /// The entities for a resource of a request; `None` where Cedar refuses them.
    fn case<'a>(&self, asker: &'a Asker, resource: Resource<'a>) -> Option<Case<'a>> {
        let kind = Kind::of(resource);
        let name = match resource {
            Resource::Topic(name) | Resource::Partition { topic: name, .. } => name,
            Resource::ConsumerGroup(id) | Resource::TransactionalId(id) => id,
            Resource::Cluster => &asker.cluster_name,
        };
        let partition = match resource {
            Resource::Partition { topic, index } if self.names_partitions(topic) => {
                Some(self.partition(asker, topic, index)?)
            }
            _ => None,
        };
        Some(Case { name, kind, whole: self.thing(asker, kind, name)?, partition })
    }

    fn thing(&self, asker: &Asker, kind: Kind, name: &str) -> Option<Thing> {
        let names = &self.names;
        let type_name = match kind {
            Kind::Topic => &names.topic,
            Kind::ConsumerGroup => &names.consumer_group,
            Kind::TransactionalId => &names.transactional_id,
            Kind::Cluster => &names.cluster,
            Kind::Label => &names.label,
        };
        let parents = match kind {
            Kind::Topic | Kind::ConsumerGroup | Kind::TransactionalId => {
                HashSet::from([asker.cluster.clone()])
            }
            Kind::Cluster | Kind::Label => HashSet::new(),
        };
        let attributes =
            HashMap::from([("name".to_owned(), RestrictedExpression::new_string(name.to_owned()))]);
        Thing::new(asker, uid(type_name, name), attributes, parents)
    }

    fn partition(&self, asker: &Asker, topic: &str, index: i32) -> Option<Thing> {
        let id = format!("{topic}-{index}");
        let attributes = HashMap::from([
            ("name".to_owned(), RestrictedExpression::new_string(id.clone())),
            ("topic".to_owned(), RestrictedExpression::new_string(topic.to_owned())),
            ("index".to_owned(), RestrictedExpression::new_long(index.into())),
        ]);
        // Both ancestors at once, because the topic's own entity is not in this store.
        let parents = HashSet::from([uid(&self.names.topic, topic), asker.cluster.clone()]);
        Thing::new(asker, uid(&self.names.partition, &id), attributes, parents)
    }
}

impl Thing {
    fn new(
        asker: &Asker,
        uid: EntityUid,
        attributes: HashMap<String, RestrictedExpression>,
        parents: HashSet<EntityUid>,
    ) -> Option<Self> {
        let entity = Entity::new(uid.clone(), attributes, parents).ok()?;
        let entities = asker.entities.clone().add_entities([entity], None).ok()?;
        Some(Self { uid, entities })
    }
}

impl Contexts {
    fn new(
        facts: &RequestContext,
        now: UnixMillis,
        topic: Option<&str>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let now = jiff::Timestamp::from_millisecond(now.0)?.strftime("%Y-%m-%dT%H:%M:%S.%3fZ");
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let mut pairs = vec![
            ("address", RestrictedExpression::new_ip(facts.address.to_canonical().to_string())),
            ("now", RestrictedExpression::new_datetime(now.to_string())),
            ("clientId", text(&facts.client_id)),
            ("listener", text(&facts.listener)),
            ("login", text(&facts.login)),
        ];
        pairs.extend(topic.map(|topic| ("topic", text(topic))));
        let make = |approved: bool| {
            let approved = ("approved", RestrictedExpression::new_bool(approved));
            let all = pairs.iter().cloned().chain([approved]);
            Context::from_pairs(all.map(|(name, value)| (name.to_owned(), value))).map_err(Box::new)
        };
        Ok(Self { unapproved: make(false)?, approved: make(true)? })
    }
}

impl Outcome {
    fn nothing() -> Self {
        Self { decision: denial(Vec::new()), forbidden: false }
    }

    fn allowed(mut standing: Vec<Arc<str>>, asking: Vec<Arc<str>>) -> Self {
        standing.extend(asking);
        standing.sort_unstable();
        let decision = Decision { verdict: Verdict::Allow, policies: standing.into() };
        Self { decision, forbidden: false }
    }

    fn forbidden(matched: Matched) -> Self {
        let mut ids = matched.ids;
        ids.extend(matched.failed);
        ids.sort_unstable();
        Self { decision: denial(ids), forbidden: true }
    }

    /// The denial by the first of these in which a rule failed.
    fn failed<const COUNT: usize>(answers: [&Matched; COUNT]) -> Option<Self> {
        let failed = answers.into_iter().find(|matched| !matched.failed.is_empty())?;
        Some(Self { decision: denial(failed.failed.clone()), forbidden: true })
    }
}

fn denial(policies: Vec<Arc<str>>) -> Decision {
    Decision { verdict: Verdict::Deny, policies: policies.into() }
}

fn has_permits(sets: &Sets) -> bool {
    !sets.permits.is_empty() || !sets.asking_permits.is_empty()
}

/// Beyond this many named topics the answer is no: each costs a decision, and one permit on a
/// pattern or `IdempotentWrite` on the cluster serves such an identity. Guess, unmeasured.
const TOPICS_TRIED_MAX: usize = 64;

#[cfg(test)]
mod tests;
