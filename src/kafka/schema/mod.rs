//! Field tables: Kafka's messages as data, in wire order, with the meaning of the fields that
//! matter.
//!
//! A table says of each field its name, its type, the versions that have it, where it may be null,
//! whether it is a tagged field (KIP-482), what the gateway takes it for, and what an answer that
//! refuses puts there. Everything else (compact lengths, tag sections) follows from the version at
//! which a message became flexible.

pub(super) mod cluster_admin;
pub(super) mod configs;
pub(super) mod consumer_groups;
pub(super) mod credentials;
pub(super) mod fetch;
pub(super) mod group_admin;
pub(super) mod groups;
pub(super) mod login;
pub(super) mod metadata;
pub(super) mod offsets;
pub(super) mod produce;
pub(super) mod share_groups;
pub(super) mod share_state;
pub(super) mod streams_groups;
pub(super) mod topic_admin;
pub(super) mod transactions;

pub use List::*;
pub use Meaning::*;

/// A closed range of versions; empty where `from > to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first version.
    pub from: i16,
    /// The last version.
    pub to: i16,
}

/// One field of a message or of a structure in it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Kafka's name of it.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The versions that have it.
    pub versions: Versions,
    /// The versions in which it may be null.
    pub nullable: Versions,
    /// Its tag, where it is a tagged field.
    pub tag: Option<u32>,
    /// The versions in which it is a tagged field.
    pub tagged: Versions,
    /// What the gateway takes it for.
    pub meaning: Meaning,
    /// What an answer that refuses puts there, unless the meaning says more.
    pub fill: Fill,
}

/// The type of a field.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One byte, 0 or 1.
    Bool,
    /// One byte.
    Int8,
    /// Two bytes, big endian like all integers here.
    Int16,
    /// Two bytes, unsigned.
    Uint16,
    /// Four bytes.
    Int32,
    /// Four bytes, unsigned.
    Uint32,
    /// Eight bytes.
    Int64,
    /// Eight bytes, IEEE 754.
    Float64,
    /// Sixteen bytes.
    Uuid,
    /// A length and UTF-8.
    String,
    /// A length and bytes.
    Bytes,
    /// A length and record batches, which the walker does not look into.
    Records,
    /// Fields in a row.
    Structure(&'static [Field]),
    /// A count and structures.
    Array(List, &'static [Field]),
    /// A count and 32-bit integers.
    Int32s(List),
    /// A count and numbers of so many bytes each, without meaning.
    Numbers(usize),
    /// A count and strings.
    Strings(List),
}

/// What the elements of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// Nothing that matters to the gateway.
    Plain,
    /// The topics that a message is about.
    Topics,
    /// Topics that an incremental fetch drops.
    ForgottenTopics,
    /// Topics that a group's member subscribes to.
    SubscribedTopics,
    /// Topics that a member says it owns.
    OwnedTopics,
    /// Topics assigned to a member.
    AssignedTopics,
    /// Topics that a member shall be assigned.
    TargetTopics,
    /// The partitions of the topic around them.
    Partitions,
    /// Consumer groups.
    Groups,
    /// Names whose kind stands beside them or in the message: coordinators' keys that are looked for (group or transactional
    /// ids), resources with configuration; also entities with quotas, which have no one name.
    Keys,
    /// Brokers, with host and port.
    Endpoints,
    /// Members of a group, or the protocols that one offers.
    Members,
    /// Transactions of several producers.
    Transactions,
    /// Settings of the resource around them.
    Settings,
    /// What an answer says again as the request said it, byte for byte.
    Echoed,
    /// Regular expressions over topics.
    Patterns,
    /// The configuration of a topic that was made.
    CreatedSettings,
}

/// What a field means to the gateway; the structure around it says of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is named like the field of Kafka that it marks")]
pub enum Meaning {
    Nothing,
    TopicName,
    TopicId,
    PartitionIndex,
    GroupId,
    TransactionalId,
    /// What it names, the key type says: a group, a transactional id, a topic, a broker.
    Key,
    KeyType,
    ProducerId,
    ProducerEpoch,
    NodeId,
    Host,
    Port,
    ErrorCode,
    ErrorMessage,
    Records,
    ReplicaId,
    SessionId,
    SessionEpoch,
    MaxWaitMs,
    MinBytes,
    MaxBytes,
    IsolationLevel,
    /// The offset, or in ListOffsets requests the timestamp, that a partition's element is about.
    Offset,
    Acks,
    TimeoutMs,
    AutoCreate,
    IncludeClusterOperations,
    IncludeTopicOperations,
    IncludeGroupOperations,
    /// A bit field of what the asker may do.
    AuthorizedOperations,
    ThrottleTimeMs,
    TopicRegex,
    MemberId,
    MemberEpoch,
    GenerationId,
    GroupInstanceId,
    ProtocolType,
    MemberMetadata,
    MemberAssignment,
    CommittedMetadata,
    ClusterId,
    ControllerId,
    EndpointType,
    Committed,
    TwoPhaseCommit,
    Mechanism,
    AuthBytes,
    SessionLifetimeMs,
    SoftwareName,
    SoftwareVersion,
    CursorTopic,
    CursorPartition,
    Setting,
    ShareSessionEpoch,
}

/// What an answer that refuses puts into a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Zero, false, the zero id, empty.
    Empty,
    /// This number.
    Number(i64),
    /// Null where the version allows it, else empty.
    Null,
}

impl Versions {
    /// No version.
    pub const NONE: Self = Self { from: 0, to: -1 };
    /// Every version.
    pub const ALL: Self = Self { from: 0, to: i16::MAX };

    /// The versions `from..=to`.
    #[must_use]
    pub const fn new(from: i16, to: i16) -> Self {
        Self { from, to }
    }

    /// Whether `version` is one of them.
    #[must_use]
    pub const fn contains(self, version: i16) -> bool {
        self.from <= version && version <= self.to
    }

    /// The versions that both have.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        Self {
            from: if self.from > other.from { self.from } else { other.from },
            to: if self.to < other.to { self.to } else { other.to },
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.from > self.to
    }
}

impl Field {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            versions: Versions::ALL,
            nullable: Versions::NONE,
            tag: None,
            tagged: Versions::NONE,
            meaning: Meaning::Nothing,
            fill: Fill::Empty,
        }
    }

    const fn from(self, from: i16) -> Self {
        self.within(from, i16::MAX)
    }

    const fn to(self, to: i16) -> Self {
        self.within(0, to)
    }

    const fn within(mut self, from: i16, to: i16) -> Self {
        self.versions = Versions::new(from, to);
        self
    }

    const fn nullable(self, from: i16) -> Self {
        self.nullable_within(from, i16::MAX)
    }

    const fn nullable_within(mut self, from: i16, to: i16) -> Self {
        self.nullable = Versions::new(from, to);
        self
    }

    const fn tagged(mut self, tag: u32, from: i16) -> Self {
        self.tag = Some(tag);
        self.tagged = Versions::new(from, i16::MAX);
        self
    }

    const fn is(mut self, meaning: Meaning) -> Self {
        self.meaning = meaning;
        self
    }

    const fn int(mut self, number: i64) -> Self {
        self.fill = Fill::Number(number);
        self
    }

    const fn null(mut self) -> Self {
        self.fill = Fill::Null;
        self
    }

    /// Whether `version` carries this field in the tag section.
    #[must_use]
    pub const fn is_tagged(&self, version: i16) -> bool {
        self.tag.is_some() && self.tagged.contains(version)
    }
}

/// Kafka's mark that authorized operations were not asked for.
const OPERATIONS_UNKNOWN: i64 = -2_147_483_648;

const fn boolean(name: &'static str) -> Field {
    Field::new(name, Kind::Bool)
}

const fn int8(name: &'static str) -> Field {
    Field::new(name, Kind::Int8)
}

const fn int16(name: &'static str) -> Field {
    Field::new(name, Kind::Int16)
}

const fn int32(name: &'static str) -> Field {
    Field::new(name, Kind::Int32)
}

const fn int64(name: &'static str) -> Field {
    Field::new(name, Kind::Int64)
}

const fn uint16(name: &'static str) -> Field {
    Field::new(name, Kind::Uint16)
}

const fn float64(name: &'static str) -> Field {
    Field::new(name, Kind::Float64)
}

const fn uuid(name: &'static str) -> Field {
    Field::new(name, Kind::Uuid)
}

const fn string(name: &'static str) -> Field {
    Field::new(name, Kind::String)
}

const fn bytes(name: &'static str) -> Field {
    Field::new(name, Kind::Bytes)
}

const fn records(name: &'static str) -> Field {
    Field::new(name, Kind::Records)
}

const fn structure(name: &'static str, fields: &'static [Field]) -> Field {
    Field::new(name, Kind::Structure(fields))
}

const fn array(name: &'static str, list: List, fields: &'static [Field]) -> Field {
    Field::new(name, Kind::Array(list, fields))
}

const fn int32s(name: &'static str, list: List) -> Field {
    Field::new(name, Kind::Int32s(list))
}

const fn numbers(name: &'static str, size: usize) -> Field {
    Field::new(name, Kind::Numbers(size))
}

const fn strings(name: &'static str, list: List) -> Field {
    Field::new(name, Kind::Strings(list))
}

#[cfg(test)]
mod tests;
