//! A draft → an entry's bytes, appended to a buffer that the writer reuses.
//!
//! ```text
//! frame  crc u32 │ marker u32 │ length u32 │ body: length bytes                            (little-endian)
//! body   number u64 │ version u8 │ kind u8 │ outcome u8 │ protocol u8 │ operation u16 │ operation version i16
//!        correlation i32 │ error code i16 │ flags u16 │ session 16 │ connection u64 │ ordinal u64
//!        wall micros i64 │ monotonic nanos u64 │ policy epoch u64 │ fields u32 │ payload u32
//!        fields: tag u8, length u32, value; again … │ payload
//! front  all of that but the payload
//! ```
//!
//! The CRC covers the front behind itself. Where there is a payload, the last field of the front is the payload's
//! blake3, so that who needs the entry alone never reads the payload. The marker is random per segment, so that a payload
//! which imitates a frame is not taken for one.

use std::net::{IpAddr, SocketAddr};

use crate::vocabulary::{Action, ConnectionId, Resource, SessionId};

use super::entry::{
    ENTRY_VERSION, EntryDraft, EntryKind, EntryNumber, MaskedDraft, Origin, OriginFacts, Outcome,
    POLICIES_PER_RESOURCE_MAX, ResourceDraft,
};

/// The bytes before a body: CRC, marker, length.
pub const FRAME_HEAD_BYTES: usize = 12;

/// The bytes of a body before its fields.
pub const BODY_HEAD_BYTES: usize = 88;

/// Where the bytes of the fields, and behind them those of the payload, stand in a body's head.
pub(super) const SIZES_AT: usize = BODY_HEAD_BYTES - 8;

/// The flag that says that the request's numbers mean something.
pub(super) const FLAG_REQUEST: u16 = 1;

/// What the fields of an entry are told apart by. A reader skips tags that it does not know.
pub(super) mod tag {
    pub(in super::super) const PRINCIPAL: u8 = 1;
    pub(in super::super) const ADDRESS: u8 = 2;
    pub(in super::super) const LISTENER: u8 = 3;
    pub(in super::super) const CLIENT_ID: u8 = 4;
    pub(in super::super) const OPERATION_NAME: u8 = 5;
    pub(in super::super) const TEXT: u8 = 6;
    pub(in super::super) const ANSWERS: u8 = 7;
    pub(in super::super) const RESOURCE: u8 = 8;
    pub(in super::super) const MASKED: u8 = 9;
    pub(in super::super) const WITHHELD: u8 = 10;
    pub(in super::super) const TICKET: u8 = 11;
    pub(in super::super) const ATTRIBUTE: u8 = 12;
    /// Always the last, and there where there is a payload.
    pub(in super::super) const PAYLOAD_HASH: u8 = 13;
}

/// Which optional parts a resource has, in the order in which they follow its name.
pub(super) mod presence {
    pub(in super::super) const PARTITION: u8 = 1;
    pub(in super::super) const POSITIONS: u8 = 2;
    pub(in super::super) const RECORDS: u8 = 4;
    pub(in super::super) const PAYLOAD: u8 = 8;
    pub(in super::super) const PRODUCER: u8 = 16;
    pub(in super::super) const ERROR: u8 = 32;
}

impl Origin {
    /// The origin of all entries of one connection under one login.
    #[must_use]
    pub fn new(session: SessionId, connection: ConnectionId, facts: &OriginFacts<'_>) -> Self {
        let mut fields = Vec::with_capacity(96);
        put_text(&mut fields, tag::PRINCIPAL, facts.principal);
        if let Some(address) = facts.address {
            put_field(&mut fields, tag::ADDRESS, |value| put_address(value, address));
        }
        put_text(&mut fields, tag::LISTENER, facts.listener);
        Self { session, connection, fields: fields.into_boxed_slice() }
    }
}

/// Appends a frame's head (still empty) and the body of `draft` up to the last of the draft's own fields.
pub(super) fn put_draft(buffer: &mut Vec<u8>, number: EntryNumber, draft: &EntryDraft<'_>) {
    buffer.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
    buffer.extend_from_slice(&body_head(number, draft));
    buffer.extend_from_slice(&draft.origin.fields);
    put_text(buffer, tag::CLIENT_ID, draft.client_id);
    if let Some(request) = draft.request {
        put_text(buffer, tag::OPERATION_NAME, request.name);
    }
    put_text(buffer, tag::TEXT, draft.text);
    if let Some(ordinal) = draft.answers {
        put_field(buffer, tag::ANSWERS, |value| value.extend_from_slice(&ordinal.to_le_bytes()));
    }
    put_text(buffer, tag::TICKET, draft.ticket);
    for resource in draft.resources {
        put_resource(buffer, resource);
    }
    for masked in draft.masked {
        put_masked(buffer, *masked);
    }
    if draft.withheld > 0 {
        let withheld = draft.withheld.to_le_bytes();
        put_field(buffer, tag::WITHHELD, |value| value.extend_from_slice(&withheld));
    }
    for (name, text) in draft.attributes {
        put_attribute(buffer, name, text);
    }
}

/// Appends the payload's hash as the last field.
pub(super) fn put_payload_hash(buffer: &mut Vec<u8>, payload: &[&[u8]]) {
    let mut hasher = blake3::Hasher::new();
    for piece in payload {
        hasher.update(piece);
    }
    put_field(buffer, tag::PAYLOAD_HASH, |value| {
        value.extend_from_slice(hasher.finalize().as_bytes());
    });
}

/// Appends one resource as a field.
pub(super) fn put_resource(buffer: &mut Vec<u8>, draft: &ResourceDraft<'_>) {
    put_field(buffer, tag::RESOURCE, |value| {
        let (kind, name, partition) = match draft.resource {
            Resource::Topic(name) => (1, name, None),
            Resource::Partition { topic, index } => (2, topic, Some(index)),
            Resource::ConsumerGroup(name) => (3, name, None),
            Resource::TransactionalId(name) => (4, name, None),
            Resource::Cluster => (5, "", None),
        };
        let present = present(partition.is_some(), presence::PARTITION)
            | present(draft.positions.is_some(), presence::POSITIONS)
            | present(draft.records.is_some(), presence::RECORDS)
            | present(draft.payload_bytes.is_some(), presence::PAYLOAD)
            | present(draft.producer.is_some(), presence::PRODUCER)
            | present(draft.error_code.is_some(), presence::ERROR);
        let action = draft.action.map_or(0, action_code);
        value.extend_from_slice(&[kind, action, outcome_code(draft.outcome), present]);
        put_short_text(value, name);
        if let Some(index) = partition {
            value.extend_from_slice(&index.to_le_bytes());
        }
        if let Some(positions) = draft.positions {
            value.extend_from_slice(&positions.first.to_le_bytes());
            value.extend_from_slice(&positions.last.to_le_bytes());
        }
        if let Some(records) = draft.records {
            value.extend_from_slice(&records.to_le_bytes());
        }
        if let Some(size) = draft.payload_bytes {
            value.extend_from_slice(&size.to_le_bytes());
        }
        if let Some(producer) = draft.producer {
            value.extend_from_slice(&producer.id.to_le_bytes());
            value.extend_from_slice(&producer.epoch.to_le_bytes());
            value.extend_from_slice(&producer.sequence.to_le_bytes());
        }
        if let Some(code) = draft.error_code {
            value.extend_from_slice(&code.to_le_bytes());
        }
        for policy in draft.policies.iter().take(POLICIES_PER_RESOURCE_MAX) {
            put_short_text(value, policy);
        }
    });
}

/// Appends the count of one label as a field.
pub(super) fn put_masked(buffer: &mut Vec<u8>, masked: MaskedDraft<'_>) {
    put_field(buffer, tag::MASKED, |value| {
        value.extend_from_slice(&masked.count.to_le_bytes());
        value.extend_from_slice(masked.label.as_bytes());
    });
}

/// Appends one named text as a field.
pub(super) fn put_attribute(buffer: &mut Vec<u8>, name: &str, text: &str) {
    put_field(buffer, tag::ATTRIBUTE, |value| {
        put_short_text(value, name);
        value.extend_from_slice(text.as_bytes());
    });
}

pub(super) fn kind_code(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::ConnectionOpened => 1,
        EntryKind::ConnectionClosed => 2,
        EntryKind::SessionOpened => 3,
        EntryKind::SessionClosed => 4,
        EntryKind::LoginAccepted => 5,
        EntryKind::LoginFailed => 6,
        EntryKind::Request => 7,
        EntryKind::Response => 8,
        EntryKind::Denial => 9,
        EntryKind::Delivered => 10,
        EntryKind::Produced => 11,
        EntryKind::TicketOpened => 12,
        EntryKind::TicketExpired => 13,
        EntryKind::TicketRefused => 14,
        EntryKind::GrantOpened => 15,
        EntryKind::GrantClosed => 16,
        EntryKind::PolicyChanged => 17,
        EntryKind::PolicyRefused => 18,
        EntryKind::RecordingChanged => 19,
        EntryKind::LogOpened => 20,
        EntryKind::LogClosed => 21,
        EntryKind::Replayed => 22,
        EntryKind::Exported => 23,
        EntryKind::Alarm => 24,
    }
}

pub(super) fn outcome_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Undecided => 0,
        Outcome::Allow => 1,
        Outcome::Deny => 2,
        Outcome::Hold => 3,
        Outcome::Partial => 4,
    }
}

pub(super) fn action_code(action: Action) -> u8 {
    match action {
        Action::Read => 1,
        Action::Write => 2,
        Action::Create => 3,
        Action::Delete => 4,
        Action::Alter => 5,
        Action::Describe => 6,
        Action::DescribeConfigs => 7,
        Action::AlterConfigs => 8,
        Action::IdempotentWrite => 9,
        Action::ClusterAction => 10,
    }
}

/// The sizes of fields and payload stay zero until the entry is committed.
fn body_head(number: EntryNumber, draft: &EntryDraft<'_>) -> [u8; BODY_HEAD_BYTES] {
    let mut head = [0; BODY_HEAD_BYTES];
    let mut rest = head.as_mut_slice();
    let request = draft.request;
    put(&mut rest, &number.0.to_le_bytes());
    let protocol = request.map_or(0, |request| request.protocol);
    put(&mut rest, &[ENTRY_VERSION, kind_code(draft.kind), outcome_code(draft.outcome), protocol]);
    put(&mut rest, &request.map_or(0, |request| request.operation).to_le_bytes());
    put(&mut rest, &request.map_or(0, |request| request.version).to_le_bytes());
    put(&mut rest, &request.map_or(0, |request| request.correlation).to_le_bytes());
    put(&mut rest, &draft.error_code.to_le_bytes());
    put(&mut rest, &request.map_or(0, |_| FLAG_REQUEST).to_le_bytes());
    put(&mut rest, &draft.origin.session.0);
    put(&mut rest, &draft.origin.connection.0.to_le_bytes());
    put(&mut rest, &draft.ordinal.to_le_bytes());
    put(&mut rest, &draft.at.wall_micros.to_le_bytes());
    put(&mut rest, &draft.at.monotonic_nanos.to_le_bytes());
    put(&mut rest, &draft.policy_epoch.to_le_bytes());
    head
}

/// Writes `bytes` at the front of `rest`; what does not fit is left out, which the layout's test would show.
pub(super) fn put(rest: &mut &mut [u8], bytes: &[u8]) {
    if let Some((place, behind)) = std::mem::take(rest).split_at_mut_checked(bytes.len()) {
        place.copy_from_slice(bytes);
        *rest = behind;
    }
}

fn put_text(buffer: &mut Vec<u8>, tag: u8, text: &str) {
    if !text.is_empty() {
        put_field(buffer, tag, |value| value.extend_from_slice(text.as_bytes()));
    }
}

/// Appends tag, length and what `write` appends. A field beyond `u32` is beyond [`super::entry::FIELDS_BYTES_MAX`]
/// as well, for which the commit refuses the entry.
fn put_field(buffer: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    buffer.push(tag);
    let at = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    write(buffer);
    if let Some((length, value)) = buffer.get_mut(at..).and_then(<[u8]>::split_first_chunk_mut::<4>)
    {
        *length = u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes();
    }
}

/// A text of at most 65,535 bytes, cut at a character's border where it is longer.
fn put_short_text(buffer: &mut Vec<u8>, text: &str) {
    let end = text.floor_char_boundary(usize::from(u16::MAX));
    let kept = text.get(..end).unwrap_or_default();
    buffer.extend_from_slice(&u16::try_from(kept.len()).unwrap_or_default().to_le_bytes());
    buffer.extend_from_slice(kept.as_bytes());
}

fn put_address(buffer: &mut Vec<u8>, address: SocketAddr) {
    buffer.extend_from_slice(&address.port().to_le_bytes());
    match address.ip() {
        IpAddr::V4(ip) => buffer.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => buffer.extend_from_slice(&ip.octets()),
    }
}

fn present(is: bool, bit: u8) -> u8 {
    if is { bit } else { 0 }
}
