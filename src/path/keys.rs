//! Requests that name keys: coordinators that are looked for, transactional ids, resources with configuration.

use sluicegate_actors::vocabulary::{Action, Decision, Resource, Verdict};

use crate::kafka::found::{Key, ListSpan, Topic};
use crate::kafka::refuse::Outcome;
use crate::kafka::{self, ErrorCode, List, Need, Refusal, Subject};
use crate::path::decide::{Case, Judge, Notes, Ruling};
use crate::path::filter::Filter;
use crate::path::tally::Wanted;

/// Kafka's numbers of what has a configuration.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// AlterConfigs, which puts back to its default whatever it does not name.
const ALTER_CONFIGS: i16 = 33;
/// CreateTopics.
const CREATE_TOPICS: i16 = 19;

/// What is told of a change to a broker.
const BROKER_TEXT: &str =
    "not through the gateway: configurations of brokers are changed at the brokers alone";

/// What is told of a change that would put back what it does not name.
const REPLACES_TEXT: &str = "AlterConfigs puts every setting back that it does not name: use \
                             IncrementalAlterConfigs (kafka-configs does)";

/// Bytes behind the error code of a topic's configuration: one tagged field, its tag and size.
const TAGS_BEFORE_CODE: [u8; 3] = [1, 0, 2];

impl Judge {
    pub(super) fn keys(&mut self, case: &Case<'_>, need: &Need, notes: &mut Notes<'_>) -> Ruling {
        let mut ruling = Ruling::Forward;
        if case.exchange.api.key == ALTER_CONFIGS && names_twice(case) {
            // Kafka never answers it.
            return Ruling::Refuse(ErrorCode::INVALID_REQUEST);
        }
        for key in &case.found.keys {
            let name = key.name.text(case.frame).unwrap_or_default();
            let Some(resource) = resource_of(need.subject, key, name) else {
                return Ruling::Refuse(ErrorCode::INVALID_REQUEST);
            };
            let decision = self.ask(need.action, resource, case.now).clone();
            notes.tally.decided(Wanted { resource, action: need.action }, &decision);
            let Some((code, text)) = refused(case, need, key, resource, &decision) else {
                continue;
            };
            let Some(code) = code else { return Ruling::Nothing };
            if key.element.is_empty() {
                return Ruling::Refuse(code);
            }
            notes.tally.answered(code);
            let echoed = key.echoed(case.found, case.frame);
            let outcome = Outcome { code, message: text.as_deref() };
            notes.refusals.key(key.kind, name, echoed, outcome);
            if let Some(list) = case.found.list(List::Keys) {
                notes.edits.remove(&list, key.element);
                notes.tally.cut(key.element);
            }
            ruling = Ruling::ForwardRest;
        }
        ruling
    }
}

/// Why a key is refused: the code, where there is one, and what is told; `None` where it is not.
fn refused(
    case: &Case<'_>,
    need: &Need,
    key: &Key,
    resource: Resource<'_>,
    decision: &Decision,
) -> Option<(Option<ErrorCode>, Option<String>)> {
    let changes = need.action == Action::AlterConfigs;
    if decision.verdict != Verdict::Allow {
        let code = match need.subject {
            Subject::Configured => Some(denied(resource)),
            _ => need.refusal.code(),
        };
        return Some((code, case.reason(need.action, resource, decision)));
    }
    match key.kind {
        Some(BROKER | BROKER_LOGGER) if changes => {
            Some((Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED), Some(BROKER_TEXT.to_owned())))
        }
        Some(TOPIC) if changes => {
            let text = kept_setting(case, key)?;
            Some((Some(ErrorCode::POLICY_VIOLATION), Some(text)))
        }
        _ => None,
    }
}

/// Why a change of a topic's configuration is not let through, where it is not.
fn kept_setting(case: &Case<'_>, key: &Key) -> Option<String> {
    if case.exchange.api.key == ALTER_CONFIGS {
        return Some(REPLACES_TEXT.to_owned());
    }
    let mut settings = key.settings(case.found).filter_map(|name| name.text(case.frame));
    let kept = settings.find(|name| !case.alterable.iter().any(|alterable| alterable == name))?;
    Some(format!(
        "the gateway does not let `{kept}` be changed: `alterable.topic.configs` of its cluster \
         does not name it"
    ))
}

/// Whether two of the resources are the same.
fn names_twice(case: &Case<'_>) -> bool {
    let named = |key: &Key| (key.kind, key.name.bytes(case.frame));
    let mut all: Vec<_> = case.found.keys.iter().map(named).collect();
    all.sort_unstable();
    all.windows(2).any(|pair| matches!(pair, [one, other] if one == other))
}

fn resource_of<'a>(subject: Subject, key: &Key, name: &'a str) -> Option<Resource<'a>> {
    match subject {
        Subject::GroupKeys => Some(Resource::ConsumerGroup(name)),
        Subject::Configured => configured(key.kind?, name),
        _ => Some(Resource::TransactionalId(name)),
    }
}

/// A resource with configuration, by Kafka's number of its kind: those of brokers, their loggers and clients' metrics are
/// the cluster's.
fn configured(kind: i8, name: &str) -> Option<Resource<'_>> {
    match kind {
        TOPIC => Some(Resource::Topic(name)),
        BROKER | BROKER_LOGGER | CLIENT_METRICS => Some(Resource::Cluster),
        GROUP => Some(Resource::ConsumerGroup(name)),
        _ => None,
    }
}

/// Kafka's code for a resource that may not be touched.
fn denied(resource: Resource<'_>) -> ErrorCode {
    match resource {
        Resource::Topic(_) | Resource::Partition { .. } => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        Resource::ConsumerGroup(_) => ErrorCode::GROUP_AUTHORIZATION_FAILED,
        _ => ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
    }
}

impl Filter<'_> {
    /// A listing shows the keys that may be seen. Before it says their kind, all are of clients' metrics.
    pub(super) fn shown_keys(&mut self, need: &Need) {
        let Some(list) = self.found.list(List::Keys) else { return };
        for key in &self.found.keys {
            let name = key.name.text(self.frame).unwrap_or_default();
            let key_of_kind = Key { kind: key.kind.or(Some(CLIENT_METRICS)), ..*key };
            let resource = resource_of(need.subject, &key_of_kind, name);
            let shown =
                resource.is_some_and(|resource| self.judge.allows(need.action, resource, self.now));
            if !shown && need.refusal == Refusal::Hide {
                self.edits.remove(&list, key.element);
            }
        }
    }

    /// A topic that was made tells its configuration to who may see that; to others, that they may not (KIP-525).
    pub(super) fn created_topics(&mut self) {
        if self.exchange.api.key != CREATE_TOPICS {
            return;
        }
        let found = self.found;
        for topic in found.topics.iter().filter(|topic| topic.error == ErrorCode::NONE) {
            let inside = |span: &&ListSpan| {
                span.list == List::CreatedSettings
                    && (topic.element.start..topic.element.end).contains(&span.at)
            };
            let Some(settings) = found.lists.iter().find(inside) else { continue };
            let Some(name) = topic.name(self.frame) else { continue };
            if self.judge.allows(Action::DescribeConfigs, Resource::Topic(name), self.now) {
                continue;
            }
            self.hide_configuration(topic, settings);
        }
    }

    /// The numbers of partitions and replicas stand before the configuration, the tag section behind it.
    fn hide_configuration(&mut self, topic: &Topic, settings: &ListSpan) {
        self.edits.set_int32(settings.at.saturating_sub(6), -1);
        self.edits.set_int16(settings.at.saturating_sub(2), -1);
        self.edits.remove_all(settings);
        let mut tags = TAGS_BEFORE_CODE.to_vec();
        tags.extend(ErrorCode::TOPIC_AUTHORIZATION_FAILED.0.to_be_bytes());
        let section = kafka::found::Span { start: settings.end, end: topic.element.end };
        self.edits.replace(section, &tags);
    }
}
