//! One fact in the record log: who did what, when, from where, on which positions, and what was decided.
//!
//! An entry is written as an [`EntryDraft`], which borrows everything, and read back as an [`Entry`], which owns
//! everything. The bytes between the two are drawn in `docs/RECORD_FORMAT.md`; [`super::encode`] writes them and
//! [`super::decode`] reads them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::vocabulary::{Action, ConnectionId, Resource, SessionId, Verdict};

/// The version of the entry's bytes that this build writes.
pub const ENTRY_VERSION: u8 = 1;

/// The most bytes of one entry's fields, without its payload: 50,000 partitions of a long name fit.
pub const FIELDS_BYTES_MAX: usize = 16 << 20;

/// The most bytes of one entry's payload: Kafka's largest frame (100 MiB) with room for its header.
pub const PAYLOAD_BYTES_MAX: usize = 104 << 20;

/// The most policies that one resource of an entry names; a decision by more is cut to these.
pub const POLICIES_PER_RESOURCE_MAX: usize = 64;

/// The shard number of the log that the control plane writes: tickets, grants, policies, alarms.
pub const CONTROL_SHARD: u32 = 65_535;

/// The place of an entry in its shard's log: from 0, without gaps, across segments and restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct EntryNumber(pub u64);

/// What an entry tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// A client connected; nobody is known yet.
    ConnectionOpened,
    /// A connection ended; its numbers end here.
    ConnectionClosed,
    /// A first connection of a client instance logged in.
    SessionOpened,
    /// The last connection of a session is gone for good.
    SessionClosed,
    /// A connection logged in, or again.
    LoginAccepted,
    /// A login was refused.
    LoginFailed,
    /// A request is about to be forwarded, or was answered by the gateway itself.
    Request,
    /// A response, or a piece of one, is about to be sent to the client.
    Response,
    /// Something was refused.
    Denial,
    /// Record batches are about to be delivered to the client.
    Delivered,
    /// Record batches are about to be forwarded to the broker.
    Produced,
    /// An approval was asked for.
    TicketOpened,
    /// A ticket ended without a grant: its time was over, or its session.
    TicketExpired,
    /// An approver refused a ticket.
    TicketRefused,
    /// An approver granted a ticket.
    GrantOpened,
    /// A grant ended: its time was over, or it was revoked.
    GrantClosed,
    /// A policy bundle is in force from here on.
    PolicyChanged,
    /// A policy bundle was not taken; the old one stays.
    PolicyRefused,
    /// What is recorded changed.
    RecordingChanged,
    /// A gateway began to write this log.
    LogOpened,
    /// A gateway ended this log in order.
    LogClosed,
    /// Somebody read a session back.
    Replayed,
    /// Somebody took entries out of the log.
    Exported,
    /// Something is wrong with the gateway or its log.
    Alarm,
}

/// What was decided, for an entry as a whole or for one resource of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// No decision was asked for.
    #[default]
    Undecided,
    /// All of it goes on.
    Allow,
    /// All of it is refused.
    Deny,
    /// It waits for an approval.
    Hold,
    /// Some resources go on and others do not; each says for itself.
    Partial,
}

/// Which request an entry belongs to, in the words of its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestDraft<'a> {
    /// The protocol: 1 is Kafka.
    pub protocol: u8,
    /// The operation's number in that protocol (Kafka's API key).
    pub operation: u16,
    /// The operation's version.
    pub version: i16,
    /// The client's own number of the request.
    pub correlation: i32,
    /// The operation's name, such as `Fetch`.
    pub name: &'a str,
}

/// First and last position, both inclusive (Kafka's offsets).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Positions {
    /// The first position.
    pub first: i64,
    /// The last position.
    pub last: i64,
}

/// Who numbered the record batches of a produce request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Producer {
    /// The producer id.
    pub id: i64,
    /// The producer's epoch.
    pub epoch: i16,
    /// The sequence number of the first record.
    pub sequence: i32,
}

/// One resource of an entry, borrowed from where the path holds it.
#[derive(Clone, Copy, Debug)]
pub struct ResourceDraft<'a> {
    /// What it is.
    pub resource: Resource<'a>,
    /// What was wanted on it.
    pub action: Option<Action>,
    /// What was decided.
    pub outcome: Outcome,
    /// The policies that decided it.
    pub policies: &'a [Arc<str>],
    /// The exact positions that went through.
    pub positions: Option<Positions>,
    /// How many records that were.
    pub records: Option<u64>,
    /// How many bytes of the entry's payload belong to this resource; parts lie in the order of resources.
    pub payload_bytes: Option<u32>,
    /// Who numbered the records.
    pub producer: Option<Producer>,
    /// The error code that the client was given.
    pub error_code: Option<i16>,
}

/// How often something was masked under one label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskedDraft<'a> {
    /// The label.
    pub label: &'a str,
    /// How many values were masked under it.
    pub count: u64,
}

/// When something happened, by two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instants {
    /// Microseconds since the Unix epoch.
    pub wall_micros: i64,
    /// Nanoseconds of the gateway's monotonic clock; comparable within one run.
    pub monotonic_nanos: u64,
}

/// What stays the same for all entries of a connection, encoded once.
///
/// Made when a connection opens and again when its login changes who it speaks for.
#[derive(Clone, Debug)]
pub struct Origin {
    pub(super) session: SessionId,
    pub(super) connection: ConnectionId,
    pub(super) fields: Box<[u8]>,
}

/// The parts of an [`Origin`].
#[derive(Clone, Copy, Debug, Default)]
pub struct OriginFacts<'a> {
    /// `<issuer>|<subject>`; empty before a login.
    pub principal: &'a str,
    /// Where the client is.
    pub address: Option<SocketAddr>,
    /// The listener that it came through; empty for the control plane.
    pub listener: &'a str,
}

/// One entry as the path writes it: everything is borrowed, nothing is allocated.
#[derive(Clone, Copy, Debug)]
pub struct EntryDraft<'a> {
    /// What it tells of.
    pub kind: EntryKind,
    /// Whose it is.
    pub origin: &'a Origin,
    /// Its number within its connection: from 0, without gaps.
    pub ordinal: u64,
    /// When it happened.
    pub at: Instants,
    /// The request that it belongs to.
    pub request: Option<RequestDraft<'a>>,
    /// The ordinal of the entry of the request that this one answers or continues.
    pub answers: Option<u64>,
    /// What was decided.
    pub outcome: Outcome,
    /// The error code that the client was given; 0 is none.
    pub error_code: i16,
    /// The policy bundle that decided.
    pub policy_epoch: u64,
    /// The client id that the request named; empty is none.
    pub client_id: &'a str,
    /// A sentence for people; empty is none.
    pub text: &'a str,
    /// The approval that it belongs to; empty is none.
    pub ticket: &'a str,
    /// Its resources; more can be added to the draft's builder.
    pub resources: &'a [ResourceDraft<'a>],
    /// What was masked.
    pub masked: &'a [MaskedDraft<'a>],
    /// How many values could not be read and were withheld.
    pub withheld: u64,
    /// Anything else, by name.
    pub attributes: &'a [(&'a str, &'a str)],
}

/// One entry as it is read back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Its place in its shard's log.
    pub number: EntryNumber,
    /// What it tells of.
    pub kind: EntryKind,
    /// The session, all zeros before a login and for the control plane.
    #[serde(serialize_with = "session_as_text")]
    pub session: SessionId,
    /// The connection; 0 for the control plane.
    pub connection: ConnectionId,
    /// Its number within its connection.
    pub ordinal: u64,
    /// When it happened, in microseconds since the Unix epoch.
    pub wall_micros: i64,
    /// When it happened, by the gateway's monotonic clock.
    pub monotonic_nanos: u64,
    /// `<issuer>|<subject>`.
    pub principal: Option<String>,
    /// Where the client is.
    pub address: Option<SocketAddr>,
    /// The listener that it came through.
    pub listener: Option<String>,
    /// The client id that the request named.
    pub client_id: Option<String>,
    /// The request that it belongs to.
    pub request: Option<EntryRequest>,
    /// The ordinal of the entry of the request that this one answers or continues.
    pub answers: Option<u64>,
    /// What was decided.
    pub outcome: Outcome,
    /// The error code that the client was given; 0 is none.
    pub error_code: i16,
    /// The policy bundle that decided.
    pub policy_epoch: u64,
    /// A sentence for people.
    pub text: Option<String>,
    /// The approval that it belongs to.
    pub ticket: Option<String>,
    /// Its resources.
    pub resources: Vec<EntryResource>,
    /// What was masked, by label.
    pub masked: Vec<Masked>,
    /// How many values could not be read and were withheld.
    pub withheld: u64,
    /// Anything else, by name.
    pub attributes: Vec<(String, String)>,
    /// The payload as delivered or produced.
    #[serde(rename = "payload_bytes", serialize_with = "payload_as_size")]
    pub payload: Bytes,
}

/// Which request an entry belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntryRequest {
    /// The protocol: 1 is Kafka.
    pub protocol: u8,
    /// The operation's number in that protocol.
    pub operation: u16,
    /// The operation's version.
    pub version: i16,
    /// The client's own number of the request.
    pub correlation: i32,
    /// The operation's name.
    pub name: String,
}

/// What a resource of an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceKind {
    /// A topic.
    Topic,
    /// One partition of a topic.
    Partition,
    /// A consumer group.
    ConsumerGroup,
    /// A transactional id.
    TransactionalId,
    /// The cluster.
    Cluster,
}

/// One resource of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntryResource {
    /// What it is.
    pub kind: ResourceKind,
    /// Its name; empty for the cluster.
    pub name: String,
    /// The partition's index.
    pub partition: Option<i32>,
    /// What was wanted on it.
    pub action: Option<Action>,
    /// What was decided.
    pub outcome: Outcome,
    /// The policies that decided it.
    pub policies: Vec<String>,
    /// The exact positions that went through.
    pub positions: Option<Positions>,
    /// How many records that were.
    pub records: Option<u64>,
    /// How many bytes of the entry's payload belong to this resource.
    pub payload_bytes: Option<u32>,
    /// Who numbered the records.
    pub producer: Option<Producer>,
    /// The error code that the client was given.
    pub error_code: Option<i16>,
}

/// How often something was masked under one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Masked {
    /// The label.
    pub label: String,
    /// How many values were masked under it.
    pub count: u64,
}

impl EntryKind {
    /// The name in tables and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ConnectionOpened => "connection-opened",
            Self::ConnectionClosed => "connection-closed",
            Self::SessionOpened => "session-opened",
            Self::SessionClosed => "session-closed",
            Self::LoginAccepted => "login-accepted",
            Self::LoginFailed => "login-failed",
            Self::Request => "request",
            Self::Response => "response",
            Self::Denial => "denial",
            Self::Delivered => "delivered",
            Self::Produced => "produced",
            Self::TicketOpened => "ticket-opened",
            Self::TicketExpired => "ticket-expired",
            Self::TicketRefused => "ticket-refused",
            Self::GrantOpened => "grant-opened",
            Self::GrantClosed => "grant-closed",
            Self::PolicyChanged => "policy-changed",
            Self::PolicyRefused => "policy-refused",
            Self::RecordingChanged => "recording-changed",
            Self::LogOpened => "log-opened",
            Self::LogClosed => "log-closed",
            Self::Replayed => "replayed",
            Self::Exported => "exported",
            Self::Alarm => "alarm",
        }
    }
}

impl Outcome {
    /// The name in tables and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Undecided => "undecided",
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Hold => "hold",
            Self::Partial => "partial",
        }
    }
}

impl From<&Verdict> for Outcome {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Allow => Self::Allow,
            Verdict::Deny => Self::Deny,
            Verdict::Hold { .. } => Self::Hold,
        }
    }
}

impl Origin {
    /// The origin of what the control plane itself records.
    #[must_use]
    pub fn control() -> Self {
        Self::new(SessionId([0; 16]), ConnectionId(0), &OriginFacts::default())
    }

    /// The session that entries of this origin belong to.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The connection that entries of this origin belong to.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }
}

impl<'a> EntryDraft<'a> {
    /// A draft with nothing but its kind, origin, ordinal and time; the rest is set by struct update.
    #[must_use]
    pub fn new(kind: EntryKind, origin: &'a Origin, ordinal: u64, at: Instants) -> Self {
        Self {
            kind,
            origin,
            ordinal,
            at,
            request: None,
            answers: None,
            outcome: Outcome::Undecided,
            error_code: 0,
            policy_epoch: 0,
            client_id: "",
            text: "",
            ticket: "",
            resources: &[],
            masked: &[],
            withheld: 0,
            attributes: &[],
        }
    }
}

impl<'a> ResourceDraft<'a> {
    /// A draft with nothing but what it is and what was decided; the rest is set by struct update.
    #[must_use]
    pub fn new(resource: Resource<'a>, outcome: Outcome) -> Self {
        Self {
            resource,
            action: None,
            outcome,
            policies: &[],
            positions: None,
            records: None,
            payload_bytes: None,
            producer: None,
            error_code: None,
        }
    }
}

impl Entry {
    /// The parts of the payload that belong to resources, in order, each with its resource.
    ///
    /// A resource whose part would reach beyond the payload is left out: it was not written by this gateway.
    pub fn payload_parts(&self) -> impl Iterator<Item = (&EntryResource, Bytes)> {
        let mut rest = self.payload.clone();
        self.resources.iter().filter_map(move |resource| {
            let size = usize::try_from(resource.payload_bytes?).ok()?;
            (size <= rest.len()).then(|| (resource, rest.split_to(size)))
        })
    }
}

fn session_as_text<S: Serializer>(session: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(session)
}

fn payload_as_size<S: Serializer>(payload: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(payload.len()).unwrap_or(u64::MAX))
}
