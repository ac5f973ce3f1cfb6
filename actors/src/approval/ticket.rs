//! A ticket: one approval asked for.

use serde::{Deserialize, Serialize};

use super::grant::GrantId;
use crate::vocabulary::{
    Action, HeldBy, Identity, PolicyHash, ResourceName, SessionId, UnixMillis,
};

/// What a held request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRequest {
    /// Who asks: `<issuer>|<subject>`.
    pub principal: String,
    /// The session that asks.
    pub session: SessionId,
    /// The listener's name.
    pub listener: String,
    /// What they want to do.
    pub actions: Vec<Action>,
    /// On what, by name: what comes into being later is not in it.
    pub resources: Vec<ResourceName>,
    /// Labels that they want to see in clear; empty for a plain request.
    pub labels: Vec<String>,
    /// The rules that hold it, of all the decisions that went into it.
    pub rules: Vec<HeldBy>,
    /// The life of the grant, in milliseconds.
    pub grant_ttl_ms: i64,
    /// Why, in the asker's words; empty where a protocol has no place for them.
    pub reason: String,
    /// The policies that it is asked under.
    pub policy: PolicyHash,
}

/// One approval asked for, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// Its name, which approvers use.
    #[serde(rename = "ticket")]
    pub id: TicketId,
    /// Who asks: `<issuer>|<subject>`.
    pub principal: String,
    /// The session that asked first.
    #[serde(with = "session_text")]
    pub session: SessionId,
    /// The listener's name.
    pub listener: String,
    /// What they want to do; sorted.
    pub actions: Vec<Action>,
    /// On what; sorted.
    pub resources: Vec<ResourceName>,
    /// Labels that they want to see in clear; sorted.
    pub labels: Vec<String>,
    /// The rules that hold it: an approver serves each of them.
    pub rules: Vec<HeldBy>,
    /// The life of the grant, in milliseconds.
    pub grant_ttl_ms: i64,
    /// Why.
    pub reason: String,
    /// The policies that it was asked under.
    pub policy: PolicyHash,
    /// When it was asked.
    pub opened_at: UnixMillis,
    /// From this instant on nobody can grant it.
    pub expires_at: UnixMillis,
    /// What became of it.
    #[serde(flatten)]
    pub state: TicketState,
}

/// What became of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum TicketState {
    /// Nobody has answered.
    Pending,
    /// Somebody granted it.
    Granted {
        /// What came of it.
        grant: GrantId,
    },
    /// Its grant was taken back.
    Revoked {
        /// The grant.
        grant: GrantId,
        /// Who: `<issuer>|<subject>`.
        by: String,
        /// When.
        at: UnixMillis,
    },
    /// Its grant came to its end, or the policies changed.
    Ended {
        /// The grant.
        grant: GrantId,
        /// When.
        at: UnixMillis,
    },
    /// Somebody refused it.
    Refused {
        /// Who: `<issuer>|<subject>`.
        by: String,
        /// When.
        at: UnixMillis,
    },
    /// Nobody answered in time, or the policies changed.
    Expired {
        /// When.
        at: UnixMillis,
    },
}

/// The name of a ticket: `t-` and 12 hexadecimal digits, random.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TicketId(pub(super) String);

impl Ticket {
    /// Whether it waits for an answer.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.state == TicketState::Pending
    }

    /// Whether an identity asked for it, or is among those who may answer.
    #[must_use]
    pub fn concerns(&self, identity: &Identity) -> bool {
        let mut approvers = self.rules.iter().flat_map(|rule| &rule.approvers);
        self.principal == identity.principal()
            || approvers.any(|group| identity.groups.contains(group))
    }

    /// Bytes of text, which is nearly all that a ticket costs.
    pub(super) fn size_bytes(&self) -> usize {
        let resources = self.resources.iter().map(|resource| match resource {
            ResourceName::Topic(name)
            | ResourceName::Partition { topic: name, .. }
            | ResourceName::ConsumerGroup(name)
            | ResourceName::TransactionalId(name) => name.len(),
            ResourceName::Cluster => 0,
        });
        let rules = self.rules.iter().map(|rule| {
            let approvers: usize = rule.approvers.iter().map(String::len).sum();
            rule.policy.len().saturating_add(approvers)
        });
        let own = [&self.principal, &self.listener, &self.reason].map(String::len);
        let labels = self.labels.iter().map(String::len);
        let parts = resources.chain(rules).chain(own).chain(labels);
        parts.fold(0, |total, part| total.saturating_add(part).saturating_add(PART_BYTES))
    }
}

impl TicketId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A prefix and 48 random bits: guessing one of 1,000 pending tickets takes 2^38 tries, and a guess
/// alone grants nothing.
pub(super) fn random_name(prefix: &str) -> Result<String, getrandom::Error> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes)?;
    let mut name = prefix.to_owned();
    for byte in bytes {
        name.push_str(&format!("{byte:02x}"));
    }
    Ok(name)
}

/// A session's id as its 32 hexadecimal digits.
pub(super) mod session_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::vocabulary::SessionId;

    pub(in crate::approval) fn serialize<S: Serializer>(
        session: &SessionId,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(session)
    }

    pub(in crate::approval) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SessionId, D::Error> {
        let text = String::deserialize(deserializer)?;
        SessionId::parse(&text).ok_or_else(|| D::Error::custom("not a session id"))
    }
}

/// What a part costs beside its text: a `String` and a discriminant.
const PART_BYTES: usize = 32;
