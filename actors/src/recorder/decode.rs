//! An entry's bytes → an [`Entry`], or only its head where that is enough.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;

use crate::vocabulary::{Action, ConnectionId, SessionId};

use super::encode::{BODY_HEAD_BYTES, FLAG_REQUEST, presence, tag};
use super::entry::{
    ENTRY_VERSION, Entry, EntryKind, EntryNumber, EntryRequest, EntryResource, Masked, Outcome,
    POLICIES_PER_RESOURCE_MAX, Positions, Producer, ResourceKind,
};

/// Why bytes are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside of something.
    #[error("entry ends inside of its {0}")]
    Short(&'static str),
    /// Something holds a value that no version of this format writes.
    #[error("entry has an unknown {0}")]
    Unknown(&'static str),
    /// The entry is newer than this build.
    #[error("entry has version {0}, this build reads {ENTRY_VERSION}")]
    Version(u8),
    /// A text is not UTF-8.
    #[error("entry has a {0} that is not UTF-8")]
    Text(&'static str),
}

/// The fixed part of an entry: enough to index it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHead {
    /// Its place in its shard's log.
    pub number: EntryNumber,
    /// What it tells of.
    pub kind: EntryKind,
    /// What was decided.
    pub outcome: Outcome,
    /// The error code that the client was given; 0 is none.
    pub error_code: i16,
    /// The session.
    pub session: SessionId,
    /// The connection.
    pub connection: ConnectionId,
    /// Its number within its connection.
    pub ordinal: u64,
    /// When it happened, in microseconds since the Unix epoch.
    pub wall_micros: i64,
    /// When it happened, by the gateway's monotonic clock.
    pub monotonic_nanos: u64,
    /// The policy bundle that decided.
    pub policy_epoch: u64,
    /// The protocol, operation, version and correlation of its request.
    request: Option<(u8, u16, i16, i32)>,
}

/// An entry's bytes, cut into head, fields and payload, with nothing decoded that is not asked for.
#[derive(Clone, Copy, Debug)]
pub struct EntryView<'a> {
    /// The fixed part.
    pub head: EntryHead,
    fields: &'a [u8],
    payload_size: usize,
}

/// One resource of an entry, borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct ResourceView<'a> {
    /// What it is.
    pub kind: ResourceKind,
    /// What was wanted on it.
    pub action: Option<Action>,
    /// What was decided.
    pub outcome: Outcome,
    /// Its name; empty for the cluster.
    pub name: &'a str,
    /// The partition's index.
    pub partition: Option<i32>,
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
    policies: &'a [u8],
}

impl<'a> EntryView<'a> {
    /// Cuts a frame's body, with its payload or without it.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] where the body was not written by this format.
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let (head, rest) =
            body.split_at_checked(BODY_HEAD_BYTES).ok_or(DecodeError::Short("head"))?;
        let mut bytes = Cut { rest: head, what: "head" };
        let number = EntryNumber(bytes.u64()?);
        let version = bytes.u8()?;
        if version != ENTRY_VERSION {
            return Err(DecodeError::Version(version));
        }
        let kind = kind_of(bytes.u8()?).ok_or(DecodeError::Unknown("kind"))?;
        let outcome = outcome_of(bytes.u8()?).ok_or(DecodeError::Unknown("outcome"))?;
        let request = (bytes.u8()?, bytes.u16()?, bytes.i16()?, bytes.i32()?);
        let error_code = bytes.i16()?;
        let flags = bytes.u16()?;
        let head = EntryHead {
            number,
            kind,
            outcome,
            error_code,
            session: SessionId(bytes.array()?),
            connection: ConnectionId(bytes.u64()?),
            ordinal: bytes.u64()?,
            wall_micros: bytes.i64()?,
            monotonic_nanos: bytes.u64()?,
            policy_epoch: bytes.u64()?,
            request: (flags & FLAG_REQUEST != 0).then_some(request),
        };
        let (fields, payload_size) = (bytes.size()?, bytes.size()?);
        let (fields, rest) = rest.split_at_checked(fields).ok_or(DecodeError::Short("fields"))?;
        if !rest.is_empty() && rest.len() != payload_size {
            return Err(DecodeError::Short("payload"));
        }
        Ok(Self { head, fields, payload_size })
    }

    /// How many bytes the payload has.
    #[must_use]
    pub fn payload_size(&self) -> usize {
        self.payload_size
    }

    /// Its resources, one after the other, without owning anything. Ends early at one that is unreadable.
    pub fn resources(&self) -> impl Iterator<Item = ResourceView<'a>> {
        let mut fields = Cut { rest: self.fields, what: "fields" };
        std::iter::from_fn(move || {
            while let Ok(Some((tag, value))) = fields.field() {
                if tag == tag::RESOURCE {
                    return Cut { rest: value, what: "resource" }.resource().ok();
                }
            }
            None
        })
    }

    /// How many values were masked under any label, and how many were withheld.
    #[must_use]
    pub fn masked_and_withheld(&self) -> (u64, u64) {
        let mut fields = Cut { rest: self.fields, what: "fields" };
        let (mut masked, mut withheld) = (0_u64, 0);
        while let Ok(Some((tag, value))) = fields.field() {
            let count = Cut { rest: value, what: "count" }.u64();
            match (tag, count) {
                (tag::MASKED, Ok(count)) => masked = masked.saturating_add(count),
                (tag::WITHHELD, Ok(count)) => withheld = count,
                _ => {}
            }
        }
        (masked, withheld)
    }

    /// The ticket that the entry belongs to; empty is none.
    ///
    /// # Errors
    ///
    /// As [`EntryView::parse`].
    pub fn ticket(&self) -> Result<&'a str, DecodeError> {
        self.text_of(tag::TICKET, "ticket")
    }

    /// `<issuer>|<subject>`; empty is none.
    ///
    /// # Errors
    ///
    /// As [`EntryView::parse`].
    pub fn principal(&self) -> Result<&'a str, DecodeError> {
        self.text_of(tag::PRINCIPAL, "principal")
    }

    /// Everything but the payload, owned.
    ///
    /// # Errors
    ///
    /// As [`EntryView::parse`].
    pub fn without_payload(&self) -> Result<Entry, DecodeError> {
        let head = self.head;
        let request = |(protocol, operation, version, correlation)| {
            let name = String::new();
            EntryRequest { protocol, operation, version, correlation, name }
        };
        let mut entry = Entry {
            number: head.number,
            kind: head.kind,
            session: head.session,
            connection: head.connection,
            ordinal: head.ordinal,
            wall_micros: head.wall_micros,
            monotonic_nanos: head.monotonic_nanos,
            principal: None,
            address: None,
            listener: None,
            client_id: None,
            request: head.request.map(request),
            answers: None,
            outcome: head.outcome,
            error_code: head.error_code,
            policy_epoch: head.policy_epoch,
            text: None,
            ticket: None,
            resources: Vec::new(),
            masked: Vec::new(),
            withheld: 0,
            attributes: Vec::new(),
            payload: Bytes::new(),
        };
        let mut fields = Cut { rest: self.fields, what: "fields" };
        while let Some((tag, value)) = fields.field()? {
            entry.take_field(tag, Cut { rest: value, what: "field" })?;
        }
        Ok(entry)
    }

    fn text_of(&self, wanted: u8, what: &'static str) -> Result<&'a str, DecodeError> {
        let mut fields = Cut { rest: self.fields, what: "fields" };
        while let Some((tag, value)) = fields.field()? {
            if tag == wanted {
                return std::str::from_utf8(value).map_err(|_| DecodeError::Text(what));
            }
        }
        Ok("")
    }
}

impl Entry {
    /// Decodes a frame's body; the payload shares the body's memory.
    ///
    /// # Errors
    ///
    /// As [`EntryView::parse`].
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let view = EntryView::parse(body)?;
        let mut entry = view.without_payload()?;
        let border = BODY_HEAD_BYTES.saturating_add(view.fields.len());
        if border.saturating_add(view.payload_size) != body.len() {
            return Err(DecodeError::Short("payload"));
        }
        entry.payload = body.slice(border..);
        Ok(entry)
    }

    fn take_field(&mut self, field: u8, mut value: Cut<'_>) -> Result<(), DecodeError> {
        match field {
            tag::PRINCIPAL => self.principal = Some(value.text("principal")?),
            tag::ADDRESS => self.address = Some(value.address()?),
            tag::LISTENER => self.listener = Some(value.text("listener")?),
            tag::CLIENT_ID => self.client_id = Some(value.text("client id")?),
            tag::OPERATION_NAME => {
                let name = value.text("operation name")?;
                if let Some(request) = &mut self.request {
                    request.name = name;
                }
            }
            tag::TEXT => self.text = Some(value.text("text")?),
            tag::ANSWERS => self.answers = Some(value.u64()?),
            tag::TICKET => self.ticket = Some(value.text("ticket")?),
            tag::RESOURCE => self.resources.push(value.resource()?.to_owned()?),
            tag::MASKED => {
                let count = value.u64()?;
                self.masked.push(Masked { label: value.text("label")?, count });
            }
            tag::WITHHELD => self.withheld = value.u64()?,
            tag::ATTRIBUTE => {
                let name = value.short_text("attribute")?.to_owned();
                self.attributes.push((name, value.text("attribute")?));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A bounded reader: nothing is read beyond `rest`.
struct Cut<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Cut<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) =
            self.rest.split_first_chunk::<N>().ok_or(DecodeError::Short(self.what))?;
        self.rest = rest;
        Ok(*array)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_le_bytes)
    }

    fn size(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.u32()?).map_err(|_| DecodeError::Short(self.what))
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) =
            self.rest.split_at_checked(size).ok_or(DecodeError::Short(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<Option<(u8, &'a [u8])>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.u8()?;
        let size = self.size()?;
        Ok(Some((tag, self.take(size)?)))
    }

    /// All that is left, as text.
    fn text(&mut self, what: &'static str) -> Result<String, DecodeError> {
        let bytes = std::mem::take(&mut self.rest);
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DecodeError::Text(what))
    }

    fn short_text(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let size = usize::from(self.u16()?);
        std::str::from_utf8(self.take(size)?).map_err(|_| DecodeError::Text(what))
    }

    fn address(&mut self) -> Result<SocketAddr, DecodeError> {
        let port = self.u16()?;
        let ip = match self.rest.len() {
            4 => IpAddr::V4(Ipv4Addr::from(self.array::<4>()?)),
            16 => IpAddr::V6(Ipv6Addr::from(self.array::<16>()?)),
            _ => return Err(DecodeError::Unknown("kind of address")),
        };
        Ok(SocketAddr::new(ip, port))
    }

    fn resource(&mut self) -> Result<ResourceView<'a>, DecodeError> {
        let kind = resource_kind_of(self.u8()?).ok_or(DecodeError::Unknown("kind of resource"))?;
        let action = match self.u8()? {
            0 => None,
            code => Some(action_of(code).ok_or(DecodeError::Unknown("action"))?),
        };
        let outcome = outcome_of(self.u8()?).ok_or(DecodeError::Unknown("outcome"))?;
        let present = self.u8()?;
        let has = |bit: u8| present & bit != 0;
        Ok(ResourceView {
            kind,
            action,
            outcome,
            name: self.short_text("resource name")?,
            partition: has(presence::PARTITION).then(|| self.i32()).transpose()?,
            positions: has(presence::POSITIONS)
                .then(|| Ok(Positions { first: self.i64()?, last: self.i64()? }))
                .transpose()?,
            records: has(presence::RECORDS).then(|| self.u64()).transpose()?,
            payload_bytes: has(presence::PAYLOAD).then(|| self.u32()).transpose()?,
            producer: has(presence::PRODUCER)
                .then(|| {
                    Ok(Producer { id: self.i64()?, epoch: self.i16()?, sequence: self.i32()? })
                })
                .transpose()?,
            error_code: has(presence::ERROR).then(|| self.i16()).transpose()?,
            policies: self.rest,
        })
    }
}

impl ResourceView<'_> {
    fn to_owned(self) -> Result<EntryResource, DecodeError> {
        let mut texts = Cut { rest: self.policies, what: "policies" };
        let mut policies = Vec::new();
        while !texts.rest.is_empty() && policies.len() < POLICIES_PER_RESOURCE_MAX {
            policies.push(texts.short_text("policy")?.to_owned());
        }
        Ok(EntryResource {
            kind: self.kind,
            name: self.name.to_owned(),
            partition: self.partition,
            action: self.action,
            outcome: self.outcome,
            policies,
            positions: self.positions,
            records: self.records,
            payload_bytes: self.payload_bytes,
            producer: self.producer,
            error_code: self.error_code,
        })
    }
}

fn kind_of(code: u8) -> Option<EntryKind> {
    KINDS.get(usize::from(code.checked_sub(1)?)).copied()
}

fn outcome_of(code: u8) -> Option<Outcome> {
    [Outcome::Undecided, Outcome::Allow, Outcome::Deny, Outcome::Hold, Outcome::Partial]
        .get(usize::from(code))
        .copied()
}

fn resource_kind_of(code: u8) -> Option<ResourceKind> {
    match code {
        1 => Some(ResourceKind::Topic),
        2 => Some(ResourceKind::Partition),
        3 => Some(ResourceKind::ConsumerGroup),
        4 => Some(ResourceKind::TransactionalId),
        5 => Some(ResourceKind::Cluster),
        _ => None,
    }
}

fn action_of(code: u8) -> Option<Action> {
    ACTIONS.get(usize::from(code.checked_sub(1)?)).copied()
}

/// Every kind, in the order of its code.
pub(super) const KINDS: [EntryKind; 24] = [
    EntryKind::ConnectionOpened,
    EntryKind::ConnectionClosed,
    EntryKind::SessionOpened,
    EntryKind::SessionClosed,
    EntryKind::LoginAccepted,
    EntryKind::LoginFailed,
    EntryKind::Request,
    EntryKind::Response,
    EntryKind::Denial,
    EntryKind::Delivered,
    EntryKind::Produced,
    EntryKind::TicketOpened,
    EntryKind::TicketExpired,
    EntryKind::TicketRefused,
    EntryKind::GrantOpened,
    EntryKind::GrantClosed,
    EntryKind::PolicyChanged,
    EntryKind::PolicyRefused,
    EntryKind::RecordingChanged,
    EntryKind::LogOpened,
    EntryKind::LogClosed,
    EntryKind::Replayed,
    EntryKind::Exported,
    EntryKind::Alarm,
];

/// Every action, in the order of its code.
const ACTIONS: [Action; 10] = [
    Action::Read,
    Action::Write,
    Action::Create,
    Action::Delete,
    Action::Alter,
    Action::Describe,
    Action::DescribeConfigs,
    Action::AlterConfigs,
    Action::IdempotentWrite,
    Action::ClusterAction,
];

#[cfg(test)]
mod tests;
