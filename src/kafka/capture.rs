//! Where the walker puts what it reads: into the last element that is open in a [`Found`].

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::kafka::error_code::ErrorCode;
use crate::kafka::found::{
    Endpoint, Found, Group, Key, ListSpan, NONE, Number, Partition, Span, Text, Topic, Within,
};
use crate::kafka::plan::Slot;
use crate::kafka::schema::List;
use crate::kafka::wire::{Prefixed, WireError, position};

/// Opens an element of a list; the group that is around what follows.
pub(in crate::kafka) fn start_element(
    list: List,
    list_index: u32,
    start: u32,
    group: u32,
    found: &mut Found,
) -> Result<u32, WireError> {
    let element = Span { start, end: 0 };
    match list {
        List::Plain
        | List::Members
        | List::Transactions
        | List::Settings
        | List::Echoed
        | List::Patterns
        | List::CreatedSettings => {}
        List::Partitions => {
            found.partitions.push(Partition { element, ..Partition::default() });
        }
        List::Groups => {
            let this = position(found.groups.len())?;
            let topics = from(found.topics.len())?;
            let lists = from(found.lists.len())?;
            found.groups.push(Group { element, topics, lists, ..Group::default() });
            return Ok(this);
        }
        List::Keys => {
            let (texts, lists) = (from(found.texts.len())?, from(found.lists.len())?);
            found.keys.push(Key { element, texts, lists, ..Key::default() });
        }
        List::Endpoints => {
            found.endpoints.push(Endpoint { list: list_index, element, ..nameless_endpoint() });
        }
        List::Topics
        | List::ForgottenTopics
        | List::SubscribedTopics
        | List::OwnedTopics
        | List::AssignedTopics
        | List::TargetTopics => found.topics.push(Topic {
            list: list_index,
            group,
            element,
            name: Prefixed::default(),
            id_at: 0,
            error_at: 0,
            error: ErrorCode::NONE,
            operations_at: 0,
            partitions: from(found.partitions.len())?,
            partition_list: ListSpan::default(),
        }),
    }
    Ok(group)
}

/// Notes an array that edits may change, and where it is noted.
pub(in crate::kafka) fn note_list(found: &mut Found, span: ListSpan) -> Result<u32, WireError> {
    match span.list {
        List::Plain | List::Members | List::Transactions | List::Settings => Ok(NONE),
        List::Partitions => {
            set(found.topics.last_mut(), |topic| topic.partition_list = span);
            Ok(NONE)
        }
        _ => {
            let index = position(found.lists.len())?;
            found.lists.push(span);
            Ok(index)
        }
    }
}

/// Closes an element.
pub(in crate::kafka) fn end_element(
    list: List,
    end: u32,
    found: &mut Found,
) -> Result<(), WireError> {
    match list {
        List::Plain
        | List::Members
        | List::Transactions
        | List::Settings
        | List::Echoed
        | List::Patterns
        | List::CreatedSettings => {}
        List::Partitions => set(found.partitions.last_mut(), |item| item.element.end = end),
        List::Keys => {
            let (texts, lists) = (position(found.texts.len())?, position(found.lists.len())?);
            set(found.keys.last_mut(), |key| {
                key.element.end = end;
                (key.texts.end, key.lists.end) = (texts, lists);
            });
        }
        List::Endpoints => set(found.endpoints.last_mut(), |item| item.element.end = end),
        List::Groups => {
            let topics = position(found.topics.len())?;
            let lists = position(found.lists.len())?;
            set(found.groups.last_mut(), |group| {
                group.element.end = end;
                group.topics.end = topics;
                group.lists.end = lists;
            });
        }
        _ => {
            let partitions = position(found.partitions.len())?;
            set(found.topics.last_mut(), |topic| {
                topic.element.end = end;
                topic.partitions.end = partitions;
            });
        }
    }
    Ok(())
}

/// Notes the id of a topic.
pub(in crate::kafka) fn note_id(found: &mut Found, slot: Slot, at: usize) -> Result<(), WireError> {
    if slot == Slot::TopicId {
        let at = position(at)?;
        set(found.topics.last_mut(), |topic| topic.id_at = at);
    }
    Ok(())
}

/// Notes a number.
pub(in crate::kafka) fn note_number(
    found: &mut Found,
    slot: Slot,
    at: usize,
    value: i64,
) -> Result<(), WireError> {
    let at = position(at)?;
    let narrow = || i32::try_from(value).unwrap_or_default();
    let code = || ErrorCode(i16::try_from(value).unwrap_or(-1));
    match slot {
        Slot::Message(meaning) => found.numbers.push(Number { meaning, at, value }),
        Slot::PartitionIndex => set(found.partitions.last_mut(), |item| item.index = narrow()),
        Slot::PartitionError => set(found.partitions.last_mut(), |item| {
            (item.error_at, item.error) = (at, code());
        }),
        Slot::PartitionOffset => set(found.partitions.last_mut(), |item| {
            (item.offset_at, item.offset) = (at, value);
        }),
        Slot::TopicError => set(found.topics.last_mut(), |topic| {
            (topic.error_at, topic.error) = (at, code());
        }),
        Slot::TopicOperations => set(found.topics.last_mut(), |topic| topic.operations_at = at),
        Slot::GroupError => set(found.groups.last_mut(), |group| {
            (group.error_at, group.error) = (at, code());
        }),
        Slot::GroupOperations => set(found.groups.last_mut(), |group| group.operations_at = at),
        Slot::KeyKind => set(found.keys.last_mut(), |key| {
            key.kind = i8::try_from(value).ok();
        }),
        Slot::LoneEndpoint => {
            let endpoint = Endpoint { node_at: at, node: narrow(), ..nameless_endpoint() };
            found.endpoints.push(endpoint);
        }
        Slot::EndpointNode => set(found.endpoints.last_mut(), |broker| {
            (broker.node_at, broker.node) = (at, narrow());
        }),
        Slot::EndpointPort => set(found.endpoints.last_mut(), |broker| {
            (broker.port_at, broker.port) = (at, narrow());
        }),
        Slot::EndpointError => set(found.endpoints.last_mut(), |broker| {
            (broker.error_at, broker.error) = (at, code());
        }),
        _ => {}
    }
    Ok(())
}

/// Notes a string.
pub(in crate::kafka) fn note_text(found: &mut Found, slot: Slot, group: u32, place: Prefixed) {
    match slot {
        Slot::Message(meaning) => {
            found.texts.push(Text { meaning, group, place });
        }
        Slot::LoneGroup => found.groups.push(Group { name: place, ..Group::default() }),
        Slot::LoneKey => found.keys.push(Key { name: place, ..Key::default() }),
        Slot::TopicName => set(found.topics.last_mut(), |topic| topic.name = place),
        Slot::GroupName => set(found.groups.last_mut(), |group| group.name = place),
        Slot::KeyName => set(found.keys.last_mut(), |key| key.name = place),
        Slot::EndpointHost => set(found.endpoints.last_mut(), |broker| broker.host = place),
        Slot::EndpointKey => set(found.endpoints.last_mut(), |broker| broker.key = place),
        _ => {}
    }
}

/// Notes opaque bytes or records.
pub(in crate::kafka) fn note_blob(found: &mut Found, slot: Slot, group: u32, place: Prefixed) {
    match slot {
        Slot::Message(meaning) => {
            found.blobs.push(Text { meaning, group, place });
        }
        Slot::PartitionRecords => {
            set(found.partitions.last_mut(), |partition| partition.records = place);
        }
        _ => {}
    }
}

fn set<T>(item: Option<&mut T>, change: impl FnOnce(&mut T)) {
    if let Some(item) = item {
        change(item);
    }
}

fn from(first: usize) -> Result<Within, WireError> {
    let first = position(first)?;
    Ok(Within { first, end: first })
}

fn nameless_endpoint() -> Endpoint {
    Endpoint { list: NONE, ..Endpoint::default() }
}
