//! Field tables compiled for one version and direction: a flat program for the walker.
//!
//! Fields that the version lacks are gone, neighbours of fixed size without meaning are one skip,
//! arrays and tag sections are jumps within the program. What is captured, and into what, is
//! settled here and not per message.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::kafka::schema::{Field, Kind, List, Meaning};
use crate::kafka::wire::Form;

/// The program for one message.
#[derive(Debug)]
pub(in crate::kafka) struct Plan {
    pub(in crate::kafka) ops: Vec<Op>,
    pub(in crate::kafka) tags: Vec<KnownTag>,
    pub(in crate::kafka) form: Form,
}

/// One step. Targets are indices of [`Plan::ops`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum Op {
    /// Bytes of fixed size without meaning.
    Skip(usize),
    Bool(Slot),
    Int8(Slot),
    Int16(Slot),
    Int32(Slot),
    Int64(Slot),
    Uuid(Slot),
    Text {
        nullable: bool,
        slot: Slot,
    },
    Blob {
        nullable: bool,
        slot: Slot,
    },
    /// An array whose elements have a fixed size and no meaning.
    Fixed {
        nullable: bool,
        element_size: usize,
    },
    /// An array; the body follows, and ends with its [`Op::ElementEnd`].
    Array {
        list: List,
        nullable: bool,
        element_size_min: usize,
        after: usize,
    },
    ElementEnd,
    /// A structure that may be null; the body follows.
    Optional {
        after: usize,
    },
    /// The count of a tag section; its [`Op::NextTag`] follows.
    Tags {
        after: usize,
    },
    /// The header of one tagged field, or the end of the section.
    NextTag {
        first: usize,
        count: usize,
        after: usize,
    },
    /// The end of a known tagged field's content.
    TagEnd {
        next: usize,
    },
    End,
}

/// Where a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum Slot {
    None,
    /// A number, string or blob of the message, by its meaning.
    Message(Meaning),
    LoneGroup,
    LoneKey,
    LoneEndpoint,
    TopicName,
    TopicId,
    TopicError,
    TopicOperations,
    PartitionIndex,
    PartitionError,
    PartitionOffset,
    PartitionRecords,
    GroupName,
    GroupError,
    GroupOperations,
    KeyName,
    KeyKind,
    EndpointNode,
    EndpointHost,
    EndpointPort,
    EndpointError,
    EndpointKey,
}

/// A tagged field of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct KnownTag {
    pub(in crate::kafka) tag: u32,
    /// Where its content's steps start.
    pub(in crate::kafka) body: usize,
    /// Whether edits may change the size of its content.
    pub(in crate::kafka) sized: bool,
}

/// The innermost thing around a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Message,
    Topic,
    Partition,
    Group,
    Key,
    Endpoint,
    Member,
    Plain,
}

struct Compiler {
    version: i16,
    flexible: bool,
    ops: Vec<Op>,
    tags: Vec<KnownTag>,
    /// Steps before this one are jumped over or into; nothing is merged with them.
    barrier: usize,
}

impl Plan {
    /// The program of `fields` in `version`.
    pub(in crate::kafka) fn compile(fields: &[Field], version: i16, flexible: bool) -> Self {
        let mut compiler =
            Compiler { version, flexible, ops: Vec::new(), tags: Vec::new(), barrier: 0 };
        compiler.structure(fields, Scope::Message);
        compiler.ops.push(Op::End);
        let form = if flexible { Form::Compact } else { Form::Classic };
        Self { ops: compiler.ops, tags: compiler.tags, form }
    }
}

impl Compiler {
    fn structure(&mut self, fields: &[Field], scope: Scope) {
        let version = self.version;
        for field in fields.iter().filter(|field| field.versions.contains(version)) {
            if !field.is_tagged(version) {
                self.field(field, scope);
            }
        }
        if self.flexible {
            self.tag_section(fields, scope);
        }
    }

    fn tag_section(&mut self, fields: &[Field], scope: Scope) {
        let known: Vec<(u32, &Field)> = fields
            .iter()
            .filter(|field| field.versions.contains(self.version) && field.is_tagged(self.version))
            .filter_map(|field| Some((field.tag?, field)))
            .collect();
        let tags = self.ops.len();
        self.ops.push(Op::End);
        let next = self.ops.len();
        self.ops.push(Op::End);
        let mut bodies = Vec::with_capacity(known.len());
        for (tag, field) in known {
            self.barrier = self.ops.len();
            let sized = matches!(field.kind, Kind::Array(..) | Kind::Int32s(_) | Kind::Strings(_));
            bodies.push(KnownTag { tag, body: self.ops.len(), sized });
            self.field(field, scope);
            self.ops.push(Op::TagEnd { next });
        }
        let first = self.tags.len();
        let count = bodies.len();
        self.tags.extend(bodies);
        self.barrier = self.ops.len();
        let after = self.ops.len();
        self.set(tags, Op::Tags { after });
        self.set(next, Op::NextTag { first, count, after });
    }

    fn field(&mut self, field: &Field, scope: Scope) {
        let nullable = field.nullable.contains(self.version);
        let slot = slot_of(scope, field.meaning);
        match field.kind {
            Kind::Bool => self.ops.push(Op::Bool(slot)),
            Kind::Int8 => self.number(Op::Int8(slot), slot, 1),
            Kind::Int16 => self.number(Op::Int16(slot), slot, 2),
            Kind::Int32 => self.number(Op::Int32(slot), slot, 4),
            Kind::Int64 => self.number(Op::Int64(slot), slot, 8),
            Kind::Uuid => self.number(Op::Uuid(slot), slot, 16),
            Kind::Uint16 => self.skip(2),
            Kind::Uint32 => self.skip(4),
            Kind::Float64 => self.skip(8),
            Kind::String => self.ops.push(Op::Text { nullable, slot }),
            Kind::Bytes | Kind::Records => self.ops.push(Op::Blob { nullable, slot }),
            Kind::Structure(fields) => self.nested(fields, scope, nullable),
            Kind::Array(list, fields) => {
                let size = size_min(fields, self.version, self.flexible);
                if list == List::Plain && self.is_fixed(fields) {
                    self.ops.push(Op::Fixed { nullable, element_size: size });
                } else {
                    self.array(list, nullable, size, |compiler, scope| {
                        compiler.structure(fields, scope);
                    });
                }
            }
            Kind::Numbers(size) => self.ops.push(Op::Fixed { nullable, element_size: size }),
            Kind::Int32s(List::Plain) => self.ops.push(Op::Fixed { nullable, element_size: 4 }),
            Kind::Int32s(list) => self.array(list, nullable, 4, |compiler, _| {
                compiler.ops.push(Op::Int32(Slot::PartitionIndex));
            }),
            Kind::Strings(list) => {
                let size = if self.flexible { 1 } else { 2 };
                self.array(list, nullable, size, |compiler, scope| {
                    let slot = slot_of(scope, name_meaning(scope));
                    compiler.ops.push(Op::Text { nullable: false, slot });
                });
            }
        }
    }

    fn nested(&mut self, fields: &[Field], scope: Scope, nullable: bool) {
        if !nullable {
            self.structure(fields, scope);
            return;
        }
        let optional = self.ops.len();
        self.ops.push(Op::End);
        self.barrier = self.ops.len();
        self.structure(fields, scope);
        let after = self.ops.len();
        self.barrier = after;
        self.set(optional, Op::Optional { after });
    }

    fn array(
        &mut self,
        list: List,
        nullable: bool,
        element_size_min: usize,
        body: impl FnOnce(&mut Self, Scope),
    ) {
        let start = self.ops.len();
        self.ops.push(Op::End);
        self.barrier = self.ops.len();
        body(self, scope_of(list));
        self.ops.push(Op::ElementEnd);
        let after = self.ops.len();
        self.barrier = after;
        self.set(start, Op::Array { list, nullable, element_size_min, after });
    }

    fn number(&mut self, op: Op, slot: Slot, size: usize) {
        if slot == Slot::None { self.skip(size) } else { self.ops.push(op) }
    }

    fn skip(&mut self, size: usize) {
        if self.ops.len() > self.barrier
            && let Some(Op::Skip(before)) = self.ops.last_mut()
        {
            *before = before.saturating_add(size);
            return;
        }
        self.ops.push(Op::Skip(size));
    }

    fn set(&mut self, at: usize, op: Op) {
        if let Some(place) = self.ops.get_mut(at) {
            *place = op;
        }
    }

    fn is_fixed(&self, fields: &[Field]) -> bool {
        !self.flexible
            && fields
                .iter()
                .filter(|field| field.versions.contains(self.version))
                .all(|field| fixed_size(field.kind).is_some() && !matches!(field.kind, Kind::Bool))
    }
}

/// The fewest bytes that a structure takes.
fn size_min(fields: &[Field], version: i16, flexible: bool) -> usize {
    let present =
        fields.iter().filter(|field| field.versions.contains(version) && !field.is_tagged(version));
    let sum: usize = present
        .map(|field| match field.kind {
            Kind::Structure(_) if field.nullable.contains(version) => 1,
            Kind::Structure(fields) => size_min(fields, version, flexible),
            kind => fixed_size(kind).unwrap_or(match kind {
                _ if flexible => 1,
                Kind::String => 2,
                _ => 4,
            }),
        })
        .sum();
    sum.saturating_add(usize::from(flexible))
}

fn fixed_size(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Bool | Kind::Int8 => Some(1),
        Kind::Int16 | Kind::Uint16 => Some(2),
        Kind::Int32 | Kind::Uint32 => Some(4),
        Kind::Int64 | Kind::Float64 => Some(8),
        Kind::Uuid => Some(16),
        _ => None,
    }
}

fn scope_of(list: List) -> Scope {
    match list {
        List::Plain | List::Echoed | List::Patterns | List::CreatedSettings => Scope::Plain,
        List::Topics
        | List::ForgottenTopics
        | List::SubscribedTopics
        | List::OwnedTopics
        | List::AssignedTopics
        | List::TargetTopics => Scope::Topic,
        List::Partitions => Scope::Partition,
        List::Groups => Scope::Group,
        List::Keys => Scope::Key,
        List::Endpoints => Scope::Endpoint,
        List::Members | List::Transactions | List::Settings => Scope::Member,
    }
}

/// What a bare string in a list of such things is.
fn name_meaning(scope: Scope) -> Meaning {
    match scope {
        Scope::Topic => Meaning::TopicName,
        Scope::Group => Meaning::GroupId,
        Scope::Key => Meaning::Key,
        _ => Meaning::Nothing,
    }
}

fn slot_of(scope: Scope, meaning: Meaning) -> Slot {
    use Meaning as M;
    match (scope, meaning) {
        (_, M::Nothing) | (Scope::Plain, _) => Slot::None,
        (Scope::Message, M::GroupId) => Slot::LoneGroup,
        (Scope::Message, M::Key) => Slot::LoneKey,
        (Scope::Message, M::NodeId) => Slot::LoneEndpoint,
        (Scope::Message | Scope::Endpoint, M::Host) => Slot::EndpointHost,
        (Scope::Message | Scope::Endpoint, M::Port) => Slot::EndpointPort,
        (Scope::Message, meaning) => Slot::Message(meaning),
        (Scope::Topic, M::TopicName) => Slot::TopicName,
        (Scope::Topic, M::TopicId) => Slot::TopicId,
        (Scope::Topic, M::ErrorCode) => Slot::TopicError,
        (Scope::Topic, M::AuthorizedOperations) => Slot::TopicOperations,
        (Scope::Partition, M::PartitionIndex) => Slot::PartitionIndex,
        (Scope::Partition, M::ErrorCode) => Slot::PartitionError,
        (Scope::Partition, M::Offset) => Slot::PartitionOffset,
        (Scope::Partition, M::Records) => Slot::PartitionRecords,
        (Scope::Group, M::GroupId) => Slot::GroupName,
        (Scope::Group, M::ErrorCode) => Slot::GroupError,
        (Scope::Group, M::AuthorizedOperations) => Slot::GroupOperations,
        (Scope::Key, M::Key) => Slot::KeyName,
        (Scope::Key, M::KeyType) => Slot::KeyKind,
        (Scope::Endpoint, M::NodeId) => Slot::EndpointNode,
        (Scope::Endpoint, M::ErrorCode) => Slot::EndpointError,
        (Scope::Endpoint, M::Key) => Slot::EndpointKey,
        (
            Scope::Member | Scope::Group,
            M::TransactionalId
            | M::MemberId
            | M::GroupInstanceId
            | M::TopicRegex
            | M::ProtocolType
            | M::Setting
            | M::MemberMetadata
            | M::MemberAssignment,
        ) => Slot::Message(meaning),
        _ => Slot::None,
    }
}
