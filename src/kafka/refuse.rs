//! Answers that refuse, in the shape and place in which Kafka itself refuses: a whole request, or
//! some of what it names.
//!
//! What is refused is noted while the request is decided, in [`Refusals`], which owns its names and
//! so may outlive the request's frame. Then either the gateway answers by itself
//! ([`Refusals::answer`], [`whole`]), or the broker answers for what was let through and
//! [`Refusals::merge`] adds the rest to its response.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::collections::HashMap;

use bytes::Bytes;
use thiserror::Error;

use crate::kafka::Exchange;
use crate::kafka::edit::Edits;
use crate::kafka::error_code::ErrorCode;
use crate::kafka::found::{Found, ListSpan, Topic, Within};
use crate::kafka::schema::{Field, Fill, Kind, List, Meaning};
use crate::kafka::wire::{Form, index, put_bytes, put_count, put_string, put_uvarint};
use crate::kafka::{api_of, exchange};

/// Why refused elements cannot be added to a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RefuseError {
    /// The response has no array that such elements belong to: its API answers only as a whole.
    #[error("{api} version {version} has no place for refused {what}")]
    NoPlace {
        /// The API.
        api: &'static str,
        /// Its version.
        version: i16,
        /// What was refused.
        what: &'static str,
    },
}

/// What of one request is refused, or answered without the broker: in wire order, kept and cleared
/// between requests.
#[derive(Debug, Default)]
pub struct Refusals {
    text: String,
    /// What is said again as it was said.
    echoed: Vec<u8>,
    elements: Vec<Refused>,
    partitions: Vec<RefusedPartition>,
    records: Vec<(i32, Within)>,
}

/// A topic as a request names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicRef<'a> {
    /// The group it is asked about in, where a request is about several (OffsetFetch from version 8
    /// on).
    pub group: Option<&'a str>,
    /// Its name.
    pub name: Option<&'a str>,
    /// Its id, where it is named by id.
    pub id: Option<[u8; 16]>,
}

/// How a request is answered as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome<'a> {
    /// The code of the whole; elements have their own.
    pub code: ErrorCode,
    /// A text for the client, where the API has a place for one.
    pub message: Option<&'a str>,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    kind: Named,
    group: Option<Within>,
    name: Option<Within>,
    id: [u8; 16],
    key_kind: i8,
    echoed: Within,
    code: ErrorCode,
    message: Option<Within>,
    partitions: Within,
}

/// A partition of a refused topic; one with records is refused for them, and has a text of its own.
#[derive(Clone, Copy, Debug)]
struct RefusedPartition {
    index: i32,
    code: ErrorCode,
    message: Option<Within>,
    records: Within,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Topic,
    Group,
    Key,
}

/// What the field that is being written belongs to.
#[derive(Clone, Copy)]
enum Around<'a> {
    Message,
    Element(&'a Refused),
    Partition(&'a Refused, &'a RefusedPartition),
    /// A record of a refused batch, and what is wrong with it.
    Record(i32, &'a str),
    /// A group of which only some topics are refused, in an answer without a broker.
    AllowedGroup(&'a str),
    Other,
}

/// Writes answers of one API and version from its response table.
struct Writer<'a> {
    exchange: &'static Exchange,
    refusals: &'a Refusals,
    outcome: Outcome<'a>,
    form: Form,
}

/// The answer that refuses a whole request, as a frame. `frame` and `found` are the request's;
/// where it could not be walked, an empty `found` leaves the answer without elements.
#[must_use]
pub fn whole(
    exchange: &'static Exchange,
    correlation_id: i32,
    frame: &[u8],
    found: &Found,
    outcome: Outcome<'_>,
) -> Bytes {
    everything(exchange, frame, found, outcome).answer(exchange, correlation_id, outcome)
}

/// All that a request names.
fn everything(
    exchange: &'static Exchange,
    frame: &[u8],
    found: &Found,
    outcome: Outcome<'_>,
) -> Refusals {
    let mut refusals = Refusals::default();
    if exchange.api.repeats.contains(exchange.version) {
        for topic in found.topics.iter().filter(|topic| found.list_of(topic) == List::Topics) {
            refusals.topic_of(frame, found, topic, outcome);
        }
    }
    for group in &found.groups {
        let name = group.name.text(frame).unwrap_or_default();
        refusals.group(name, outcome);
    }
    for key in &found.keys {
        let name = key.name.text(frame).unwrap_or_default();
        refusals.key(key.kind, name, key.echoed(found, frame), outcome);
    }
    refusals
}

/// The answer to a request of a version that is carried where the brokers have it, and which they do not have; `frame` and
/// `found` are the request's. `None` where the answer would have no place to say so.
#[must_use]
pub fn not_offered(
    exchange: &'static Exchange,
    correlation_id: i32,
    frame: &[u8],
    found: &Found,
) -> Option<Bytes> {
    let refusals = everything(exchange, frame, found, UNSUPPORTED);
    let is_said = says_whole(exchange) || !refusals.is_empty();
    is_said.then(|| refusals.answer(exchange, correlation_id, UNSUPPORTED))
}

/// The answer to a version that is not carried, in the shape of the nearest that is; `None` for a
/// key that is not in the table, and for ApiVersions, which [`crate::kafka::api_versions`] answers.
#[must_use]
pub fn unsupported_version(key: i16, version: i16, correlation_id: i32) -> Option<Bytes> {
    if key == crate::kafka::table::API_VERSIONS_KEY {
        return None;
    }
    let exchange = exchange(key, api_of(key)?.nearest(version))?;
    let is_said = says_whole(exchange);
    is_said.then(|| Refusals::default().answer(exchange, correlation_id, UNSUPPORTED))
}

/// Whether an answer has an error for the request as a whole.
fn says_whole(exchange: &Exchange) -> bool {
    let says_it = |field: &Field| {
        field.meaning == Meaning::ErrorCode && field.versions.contains(exchange.version)
    };
    exchange.api.response.iter().any(says_it)
}

const UNSUPPORTED: Outcome<'static> =
    Outcome { code: ErrorCode::UNSUPPORTED_VERSION, message: None };

/// A response frame with `body` written behind its header.
pub(in crate::kafka) fn response_frame(
    exchange: &Exchange,
    correlation_id: i32,
    body: impl FnOnce(&mut Vec<u8>),
) -> Bytes {
    let mut out = vec![0; 4];
    out.extend_from_slice(&correlation_id.to_be_bytes());
    if exchange.response_header_flexible() {
        put_uvarint(&mut out, 0);
    }
    body(&mut out);
    let size = i32::try_from(out.len().saturating_sub(4)).unwrap_or(i32::MAX);
    if let Some(prefix) = out.first_chunk_mut() {
        *prefix = size.to_be_bytes();
    }
    out.into()
}

impl Refusals {
    /// Forgets everything, keeping memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.echoed.clear();
        self.elements.clear();
        self.partitions.clear();
        self.records.clear();
    }

    /// Whether nothing is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Notes a topic. Its partitions follow by [`Refusals::partition`], with a code each; the
    /// topic's own code is for APIs that have one (Metadata).
    pub fn topic(&mut self, topic: TopicRef<'_>, outcome: Outcome<'_>) {
        let group = topic.group.map(|group| self.keep(group));
        let name = topic.name.map(|name| self.keep(name));
        let id = topic.id.unwrap_or_default();
        self.element(Named::Topic, group, name, id, outcome);
    }

    /// Notes a partition of the topic noted last. [`ErrorCode::NONE`] is a partition that is
    /// answered with nothing in it, which is how a held fetch is.
    pub fn partition(&mut self, index: i32, code: ErrorCode) {
        let first = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        let records = Within { first, end: first };
        self.partitions.push(RefusedPartition { index, code, message: None, records });
        let end = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        if let Some(element) = self.elements.last_mut() {
            element.partitions.end = end;
        }
    }

    /// Says what is wrong with the partition noted last, where its API has a place for it.
    pub fn explain(&mut self, message: &str) {
        let message = self.keep(message);
        if let Some(partition) = self.partitions.last_mut() {
            partition.message = Some(message);
        }
    }

    /// Notes a record of the partition noted last: its index in the batch, and what is wrong with it.
    pub fn record(&mut self, batch_index: i32, message: &str) {
        let message = self.keep(message);
        self.records.push((batch_index, message));
        let end = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        if let Some(partition) = self.partitions.last_mut() {
            partition.records.end = end;
        }
    }

    /// Notes a topic of a request with all of its partitions.
    pub fn topic_of(&mut self, frame: &[u8], found: &Found, topic: &Topic, outcome: Outcome<'_>) {
        self.topic(TopicRef::of(frame, found, topic), outcome);
        for partition in found.partitions_of(topic) {
            self.partition(partition.index, outcome.code);
        }
    }

    /// Notes a group of a request that may be about several.
    pub fn group(&mut self, name: &str, outcome: Outcome<'_>) {
        let name = self.keep(name);
        self.element(Named::Group, None, Some(name), [0; 16], outcome);
    }

    /// Notes a key whose coordinator is looked for, a resource with configuration, which has a kind, or an entity with
    /// quotas, which has no one name: it is said again as it was said.
    pub fn key(&mut self, kind: Option<i8>, name: &str, echoed: &[u8], outcome: Outcome<'_>) {
        let name = self.keep(name);
        let first = u32::try_from(self.echoed.len()).unwrap_or(u32::MAX);
        self.echoed.extend_from_slice(echoed);
        let end = u32::try_from(self.echoed.len()).unwrap_or(u32::MAX);
        self.element(Named::Key, None, Some(name), [0; 16], outcome);
        if let Some(element) = self.elements.last_mut() {
            element.key_kind = kind.unwrap_or_default();
            element.echoed = Within { first, end };
        }
    }

    /// A whole response that holds what was noted and nothing else.
    #[must_use]
    pub fn answer(
        &self,
        exchange: &'static Exchange,
        correlation_id: i32,
        outcome: Outcome<'_>,
    ) -> Bytes {
        let writer = Writer::new(exchange, self, outcome);
        response_frame(exchange, correlation_id, |out| {
            writer.structure(out, exchange.api.response, Around::Message);
        })
    }

    /// Adds what was noted to a broker's response, by `edits`: partitions to their topic where the
    /// response has it, topics to their group, everything else to its array. `frame` and `found`
    /// are the response's.
    ///
    /// # Errors
    /// [`RefuseError::NoPlace`] where the API has no array for it.
    pub fn merge(
        &self,
        exchange: &'static Exchange,
        frame: &[u8],
        found: &Found,
        edits: &mut Edits,
    ) -> Result<(), RefuseError> {
        let writer = Writer::new(exchange, self, Outcome::default());
        let answered = self.answered(frame, found);
        let mut out = Vec::new();
        for element in &self.elements {
            out.clear();
            match element.kind {
                Named::Topic => {
                    let Some(list) = self.topic_list(element, frame, found) else {
                        if element.group.is_some() {
                            // The broker answered for the group as a whole, with an error.
                            continue;
                        }
                        return Err(no_place(exchange, "topics"));
                    };
                    let there = answered.get(&self.identity(element));
                    match there.and_then(|topic| found.topics.get(*topic)) {
                        Some(topic) => {
                            let count = writer.partitions(&mut out, element);
                            edits.append(&topic.partition_list, count, &out);
                        }
                        None => {
                            writer.element(&mut out, List::Topics, element);
                            edits.append(&list, 1, &out);
                        }
                    }
                }
                Named::Group => {
                    let list = found.list(List::Groups);
                    let list = list.ok_or_else(|| no_place(exchange, "groups"))?;
                    writer.element(&mut out, List::Groups, element);
                    edits.append(&list, 1, &out);
                }
                Named::Key => {
                    let list = found.list(List::Endpoints).or(found.list(List::Keys));
                    let list = list.ok_or_else(|| no_place(exchange, "keys"))?;
                    writer.element(&mut out, list.list, element);
                    edits.append(&list, 1, &out);
                }
            }
        }
        Ok(())
    }

    fn element(
        &mut self,
        kind: Named,
        group: Option<Within>,
        name: Option<Within>,
        id: [u8; 16],
        outcome: Outcome<'_>,
    ) {
        let message = outcome.message.map(|message| self.keep(message));
        let first = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        let partitions = Within { first, end: first };
        let code = outcome.code;
        let (key_kind, echoed) = (0, Within::default());
        self.elements.push(Refused {
            kind,
            group,
            name,
            id,
            key_kind,
            echoed,
            code,
            message,
            partitions,
        });
    }

    fn keep(&mut self, text: &str) -> Within {
        let first = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.text.push_str(text);
        Within { first, end: u32::try_from(self.text.len()).unwrap_or(u32::MAX) }
    }

    fn text(&self, place: Option<Within>) -> Option<&str> {
        let place = place?;
        self.text.get(index(place.first)..index(place.end))
    }

    fn partitions_of(&self, element: &Refused) -> &[RefusedPartition] {
        let Within { first, end } = element.partitions;
        self.partitions.get(index(first)..index(end)).unwrap_or_default()
    }

    fn named(&self, kind: Named) -> impl Iterator<Item = &Refused> {
        self.elements.iter().filter(move |element| element.kind == kind)
    }

    fn identity(&self, element: &Refused) -> Identity<'_> {
        (self.text(element.group), self.text(element.name), element.id)
    }

    /// The response's topics by what they are called, where something may be added to one of them.
    fn answered<'a>(&self, frame: &'a [u8], found: &Found) -> HashMap<Identity<'a>, usize> {
        if self.named(Named::Topic).all(|element| self.partitions_of(element).is_empty()) {
            return HashMap::new();
        }
        let topics = found.topics.iter().enumerate();
        topics
            .filter(|(_, topic)| !topic.partition_list.null)
            .map(|(at, topic)| {
                let topic = TopicRef::of(frame, found, topic);
                ((topic.group, topic.name, topic.id.unwrap_or_default()), at)
            })
            .collect()
    }

    /// The response's array of topics that an element belongs to.
    fn topic_list(&self, element: &Refused, frame: &[u8], found: &Found) -> Option<ListSpan> {
        let Some(name) = self.text(element.group) else { return found.list(List::Topics) };
        let group = found.groups.iter().find(|group| group.name.text(frame) == Some(name))?;
        if group.error != ErrorCode::NONE {
            return None;
        }
        found.lists_of(group).iter().find(|span| span.list == List::Topics).copied()
    }
}

impl<'a> TopicRef<'a> {
    /// The topic as the frame names it: by name where it has one, else by id.
    #[must_use]
    pub fn of(frame: &'a [u8], found: &Found, topic: &Topic) -> Self {
        let group = found.groups.get(index(topic.group));
        let name = topic.name(frame);
        Self {
            group: group.and_then(|group| group.name.text(frame)),
            name,
            id: if name.is_some() { None } else { topic.id(frame) },
        }
    }
}

/// Group, name and id.
type Identity<'a> = (Option<&'a str>, Option<&'a str>, [u8; 16]);

impl<'a> Writer<'a> {
    fn new(exchange: &'static Exchange, refusals: &'a Refusals, outcome: Outcome<'a>) -> Self {
        let form = if exchange.is_flexible() { Form::Compact } else { Form::Classic };
        Self { exchange, refusals, outcome, form }
    }

    fn structure(&self, out: &mut Vec<u8>, fields: &[Field], around: Around<'_>) {
        let version = self.exchange.version;
        for field in fields {
            if field.versions.contains(version) && !field.is_tagged(version) {
                self.field(out, field, around);
            }
        }
        if self.exchange.is_flexible() {
            put_uvarint(out, 0);
        }
    }

    fn field(&self, out: &mut Vec<u8>, field: &Field, around: Around<'_>) {
        let null = field.fill == Fill::Null && field.nullable.contains(self.exchange.version);
        match field.kind {
            Kind::Bool | Kind::Int8 => self.number(out, field, around, 1),
            Kind::Int16 | Kind::Uint16 => self.number(out, field, around, 2),
            Kind::Int32 | Kind::Uint32 => self.number(out, field, around, 4),
            Kind::Int64 | Kind::Float64 => self.number(out, field, around, 8),
            Kind::Uuid => out.extend_from_slice(&match (field.meaning, around) {
                (Meaning::TopicId, Around::Element(element)) => element.id,
                _ => [0; 16],
            }),
            Kind::String => {
                let empty = if null { None } else { Some("") };
                put_string(out, self.form, self.string(field, around, empty));
            }
            Kind::Bytes | Kind::Records => {
                put_bytes(out, self.form, if null { None } else { Some(&[]) });
            }
            Kind::Structure(_) if null => out.push(0xff),
            Kind::Structure(fields) => {
                if field.nullable.contains(self.exchange.version) {
                    out.push(1);
                }
                self.structure(out, fields, Around::Other);
            }
            Kind::Array(list, fields) => self.array(out, list, fields, around, null),
            Kind::Int32s(_) | Kind::Numbers(_) | Kind::Strings(_) => {
                put_count(out, self.form, if null { None } else { Some(0) });
            }
        }
    }

    fn number(&self, out: &mut Vec<u8>, field: &Field, around: Around<'_>, size: usize) {
        let code = |code: ErrorCode| i64::from(code.0);
        let value = match (field.meaning, around) {
            (Meaning::ErrorCode, Around::Message) => code(self.outcome.code),
            (Meaning::ErrorCode, Around::Element(element)) => code(element.code),
            (Meaning::ErrorCode, Around::Partition(_, own)) => code(own.code),
            (Meaning::PartitionIndex, Around::Partition(_, own)) => i64::from(own.index),
            // The only number of a record's error.
            (_, Around::Record(batch_index, _)) => i64::from(batch_index),
            (Meaning::KeyType, Around::Element(element)) => i64::from(element.key_kind),
            _ => match field.fill {
                Fill::Number(number) => number,
                Fill::Empty | Fill::Null => 0,
            },
        };
        let bytes = value.to_be_bytes();
        out.extend_from_slice(bytes.get(8_usize.saturating_sub(size)..).unwrap_or_default());
    }

    /// What stands in a string, `empty` where nothing is known of it.
    fn string<'b>(
        &'b self,
        field: &Field,
        around: Around<'b>,
        empty: Option<&'b str>,
    ) -> Option<&'b str> {
        let refusals = self.refusals;
        let nullable = field.nullable.contains(self.exchange.version);
        match (field.meaning, around) {
            (Meaning::TopicName | Meaning::GroupId | Meaning::Key, Around::Element(element)) => {
                // Only a topic that was asked for by its id has no name: null in Metadata from
                // version 12 on.
                refusals.text(element.name).or(if nullable { None } else { Some("") })
            }
            (Meaning::GroupId, Around::AllowedGroup(name)) => Some(name),
            (Meaning::ErrorMessage, Around::Message) => self.outcome.message.or(empty),
            (Meaning::ErrorMessage, Around::Element(element)) => {
                let own = refusals.text(element.message);
                own.or(self.exchange.api.text(element.code)).or(empty)
            }
            (Meaning::ErrorMessage, Around::Partition(element, partition)) => {
                let own = refusals.text(partition.message.or(element.message));
                let own = own.or(self.exchange.api.text(partition.code));
                own.filter(|_| partition.code != ErrorCode::NONE).or(empty)
            }
            (_, Around::Record(_, message)) => Some(message),
            _ => empty,
        }
    }

    fn array(
        &self,
        out: &mut Vec<u8>,
        list: List,
        fields: &[Field],
        around: Around<'_>,
        null: bool,
    ) {
        match (list, around) {
            (List::Topics, Around::Message) => {
                let topics = self.refusals.named(Named::Topic);
                let topics = topics.filter(|element| element.group.is_none());
                self.elements(out, fields, topics.map(Around::Element));
            }
            (List::Topics, Around::AllowedGroup(name)) => {
                let topics = self.refusals.named(Named::Topic);
                let topics =
                    topics.filter(|element| self.refusals.text(element.group) == Some(name));
                self.elements(out, fields, topics.map(Around::Element));
            }
            (List::Partitions, Around::Element(element)) => {
                let partitions = self.refusals.partitions_of(element).iter();
                let partitions = partitions.map(|it| Around::Partition(element, it));
                self.elements(out, fields, partitions);
            }
            (List::Plain, Around::Partition(_, partition)) if !partition.records.is_empty() => {
                let Within { first, end } = partition.records;
                let records = self.refusals.records.get(index(first)..index(end));
                let records = records.unwrap_or_default().iter().map(|(batch_index, message)| {
                    let message = self.refusals.text(Some(*message)).unwrap_or_default();
                    Around::Record(*batch_index, message)
                });
                self.elements(out, fields, records);
            }
            (List::Groups, Around::Message) => {
                let groups = self.refusals.named(Named::Group).map(Around::Element);
                let allowed = self.allowed_groups().into_iter().map(Around::AllowedGroup);
                self.elements(out, fields, groups.chain(allowed));
            }
            (List::Echoed, Around::Element(element)) if !element.echoed.is_empty() => {
                let Within { first, end } = element.echoed;
                let said = self.refusals.echoed.get(index(first)..index(end));
                out.extend_from_slice(said.unwrap_or_default());
            }
            (List::Endpoints | List::Keys, Around::Message) => {
                self.elements(out, fields, self.refusals.named(Named::Key).map(Around::Element));
            }
            _ => put_count(out, self.form, if null { None } else { Some(0) }),
        }
    }

    fn elements<'b>(
        &self,
        out: &mut Vec<u8>,
        fields: &[Field],
        elements: impl Iterator<Item = Around<'b>>,
    ) {
        let elements: Vec<Around<'b>> = elements.collect();
        put_count(out, self.form, Some(elements.len()));
        for around in elements {
            self.structure(out, fields, around);
        }
    }

    /// Groups that are named around refused topics and are not refused themselves.
    fn allowed_groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = Vec::new();
        for element in self.refusals.named(Named::Topic) {
            if let Some(group) = self.refusals.text(element.group)
                && !groups.contains(&group)
            {
                groups.push(group);
            }
        }
        let refused = |name| {
            self.refusals.named(Named::Group).any(|it| self.refusals.text(it.name) == Some(name))
        };
        groups.retain(|group| !refused(*group));
        groups
    }

    /// One element of an array of the response.
    fn element(&self, out: &mut Vec<u8>, list: List, element: &Refused) {
        if let Some(fields) = self.fields_of(self.exchange.api.response, list) {
            self.structure(out, fields, Around::Element(element));
        }
    }

    /// The elements of a topic's partitions, without a count; how many they are.
    fn partitions(&self, out: &mut Vec<u8>, element: &Refused) -> u32 {
        let fields = self
            .fields_of(self.exchange.api.response, List::Topics)
            .and_then(|fields| self.fields_of(fields, List::Partitions))
            .unwrap_or_default();
        let partitions = self.refusals.partitions_of(element);
        for partition in partitions {
            self.structure(out, fields, Around::Partition(element, partition));
        }
        u32::try_from(partitions.len()).unwrap_or(u32::MAX)
    }

    /// The fields of the elements of the first such array, at any depth.
    fn fields_of(&self, fields: &'static [Field], list: List) -> Option<&'static [Field]> {
        let present = |field: &&Field| field.versions.contains(self.exchange.version);
        fields.iter().filter(present).find_map(|field| match field.kind {
            Kind::Array(this, fields) if this == list => Some(fields),
            Kind::Array(_, fields) | Kind::Structure(fields) => self.fields_of(fields, list),
            _ => None,
        })
    }
}

fn no_place(exchange: &Exchange, what: &'static str) -> RefuseError {
    RefuseError::NoPlace { api: exchange.api.name, version: exchange.version, what }
}

#[cfg(test)]
mod tests;
