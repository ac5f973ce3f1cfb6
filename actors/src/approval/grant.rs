//! A grant: one approval given, and what it covers.

use serde::{Deserialize, Serialize};

use super::ticket::{TicketId, session_text};
use crate::vocabulary::{
    Action, HeldBy, PolicyHash, Resource, ResourceName, SessionId, UnixMillis,
};

/// One approval given. It covers what was asked, as it was resolved then, and nothing since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The grant's own name, which revoking takes.
    #[serde(rename = "grant")]
    pub id: GrantId,
    /// The ticket that it answers.
    pub ticket: TicketId,
    /// The session that asked: its record has the grant.
    #[serde(with = "session_text")]
    pub session: SessionId,
    /// The listener that it was asked through.
    pub listener: String,
    /// Who may: `<issuer>|<subject>`.
    pub principal: String,
    /// What they may do; sorted.
    pub actions: Vec<Action>,
    /// On what; sorted.
    pub resources: Vec<ResourceName>,
    /// Labels that are shown in clear on these topics; empty where everything stays masked as
    /// policy says. Sorted.
    pub labels: Vec<String>,
    /// The rules that held the request.
    pub rules: Vec<HeldBy>,
    /// The policies that it was asked under: under others it covers nothing.
    pub policy: PolicyHash,
    /// Who granted: `<issuer>|<subject>`.
    pub granted_by: String,
    /// When.
    pub granted_at: UnixMillis,
    /// From this instant on it covers nothing.
    pub ends_at: UnixMillis,
}

/// The name of a grant: `g-` and 12 hexadecimal digits, random.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantId(pub(super) String);

impl Grant {
    /// Whether it covers an action on a resource, asked under these policies at this instant.
    #[must_use]
    pub fn covers(
        &self,
        action: Action,
        resource: Resource<'_>,
        policy: PolicyHash,
        now: UnixMillis,
    ) -> bool {
        self.is_live(policy, now)
            && self.actions.contains(&action)
            && self.resources.iter().any(|granted| contains(granted, resource))
    }

    /// Whether it shows a label in clear on a topic.
    #[must_use]
    pub fn shows(&self, label: &str, topic: &str, policy: PolicyHash, now: UnixMillis) -> bool {
        self.is_live(policy, now)
            && self.labels.iter().any(|granted| granted == label)
            && self.resources.iter().any(|granted| contains(granted, Resource::Topic(topic)))
    }

    /// Whether it still covers anything.
    #[must_use]
    pub fn is_live(&self, policy: PolicyHash, now: UnixMillis) -> bool {
        now < self.ends_at && self.policy == policy
    }
}

impl GrantId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A granted topic contains its partitions; a granted partition is no topic.
pub(super) fn contains(granted: &ResourceName, resource: Resource<'_>) -> bool {
    match (granted, resource) {
        (ResourceName::Topic(granted), Resource::Partition { topic, .. }) => granted == topic,
        (granted, resource) => granted.borrow() == resource,
    }
}
