//! The words that every plane of the gateway shares.
//!
//! They are protocol-neutral: nothing here knows Kafka's bytes or an executor. A connector for another streaming
//! protocol speaks the same words.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

/// Who a connection speaks for, as its token said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The `iss` claim, which the configuration lists.
    pub issuer: String,
    /// The `sub` claim.
    pub subject: String,
    /// Groups from the configured claim, prefixed, sorted and without duplicates.
    pub groups: Vec<String>,
    /// The end of the token (`exp`): nothing is delivered from this instant on.
    pub expires_at: UnixMillis,
}

impl Identity {
    /// The name that policy, tickets and entries use: `<issuer>|<subject>`.
    #[must_use]
    pub fn principal(&self) -> String {
        format!("{}|{}", self.issuer, self.subject)
    }
}

/// The random name of a session: all connections of one client instance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

/// The number of a connection: unique within one run of one gateway, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionId(pub u64);

/// What a request wants to do, in Kafka's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Read records, or take part in a group.
    Read,
    /// Write records, or use a transactional id.
    Write,
    /// Create a topic.
    Create,
    /// Delete a topic, its records, or a group.
    Delete,
    /// Change partitions and other administration.
    Alter,
    /// See that a thing exists, and its metadata.
    Describe,
    /// See a configuration.
    DescribeConfigs,
    /// Change a configuration.
    AlterConfigs,
    /// Produce with a producer id (cluster).
    IdempotentWrite,
    /// What brokers do among themselves (cluster).
    ClusterAction,
}

/// What an action is wanted on. Names are borrowed from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource<'a> {
    /// A topic by name.
    Topic(&'a str),
    /// One partition of a topic.
    Partition {
        /// The topic's name.
        topic: &'a str,
        /// The partition's index.
        index: i32,
    },
    /// A consumer group by its id.
    ConsumerGroup(&'a str),
    /// A transactional id.
    TransactionalId(&'a str),
    /// The cluster itself.
    Cluster,
}

/// A resource that owns its name: what tickets, grants and entries keep.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ResourceName {
    /// A topic by name: all of its partitions.
    Topic(String),
    /// One partition of a topic.
    Partition {
        /// The topic's name.
        topic: String,
        /// The partition's index.
        index: i32,
    },
    /// A consumer group by its id.
    ConsumerGroup(String),
    /// A transactional id.
    TransactionalId(String),
    /// The cluster itself.
    Cluster,
}

/// The content hash of a policy set: what a grant is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PolicyHash(pub [u8; 32]);

/// What policy says of one action on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allow,
    /// Refuse as Kafka's own authorizer would.
    Deny,
    /// Wait until each of these rules is approved.
    Hold {
        /// The rules that held the request; never empty.
        rules: Arc<[HeldBy]>,
        /// The life of a grant, in milliseconds: the shortest of the rules'.
        grant_ttl_ms: i64,
    },
}

/// One rule that holds a request, and who may approve it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HeldBy {
    /// The `@id` of the policy; several, joined by `, `, where each alone would serve.
    pub policy: String,
    /// Groups of which one must approve; sorted.
    pub approvers: Vec<String>,
}

/// A verdict with the policies that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What was decided.
    pub verdict: Verdict,
    /// The `@id`s of the policies that determined it; empty where nothing permitted.
    pub policies: Arc<[Arc<str>]>,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Read,
        Self::Write,
        Self::Create,
        Self::Delete,
        Self::Alter,
        Self::Describe,
        Self::DescribeConfigs,
        Self::AlterConfigs,
        Self::IdempotentWrite,
        Self::ClusterAction,
    ];

    /// The name in policies and entries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Create => "Create",
            Self::Delete => "Delete",
            Self::Alter => "Alter",
            Self::Describe => "Describe",
            Self::DescribeConfigs => "DescribeConfigs",
            Self::AlterConfigs => "AlterConfigs",
            Self::IdempotentWrite => "IdempotentWrite",
            Self::ClusterAction => "ClusterAction",
        }
    }
}

impl Resource<'_> {
    /// The same resource, owning its name.
    #[must_use]
    pub fn to_name(self) -> ResourceName {
        match self {
            Self::Topic(name) => ResourceName::Topic(name.to_owned()),
            Self::Partition { topic, index } => {
                ResourceName::Partition { topic: topic.to_owned(), index }
            }
            Self::ConsumerGroup(id) => ResourceName::ConsumerGroup(id.to_owned()),
            Self::TransactionalId(id) => ResourceName::TransactionalId(id.to_owned()),
            Self::Cluster => ResourceName::Cluster,
        }
    }
}

impl ResourceName {
    /// The same resource, borrowed.
    #[must_use]
    pub fn borrow(&self) -> Resource<'_> {
        match self {
            Self::Topic(name) => Resource::Topic(name),
            Self::Partition { topic, index } => Resource::Partition { topic, index: *index },
            Self::ConsumerGroup(id) => Resource::ConsumerGroup(id),
            Self::TransactionalId(id) => Resource::TransactionalId(id),
            Self::Cluster => Resource::Cluster,
        }
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(formatter, "topic {name}"),
            Self::Partition { topic, index } => write!(formatter, "partition {topic}-{index}"),
            Self::ConsumerGroup(id) => write!(formatter, "group {id}"),
            Self::TransactionalId(id) => write!(formatter, "transactional id {id}"),
            Self::Cluster => write!(formatter, "cluster"),
        }
    }
}

impl fmt::Display for PolicyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for PolicyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PolicyHash({self})")
    }
}

impl Serialize for PolicyHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PolicyHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        blake3::Hash::from_hex(&text)
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(serde::de::Error::custom)
    }
}

impl SessionId {
    /// The id from its text of 32 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten()
            .map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SessionId({self})")
    }
}
