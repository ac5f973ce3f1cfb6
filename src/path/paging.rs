//! DescribeTopicPartitions: topics in pages (KIP-966). Where a page ends, the broker names the topic of the next, and so it
//! must page over nothing but what may be seen.

use sluicegate_actors::vocabulary::{Action, Resource};

use crate::kafka::found::Span;
use crate::kafka::wire::{Form, put_string, put_uvarint};
use crate::kafka::{ErrorCode, List, Meaning};
use crate::path::decide::{Case, Judge, Notes, Ruling};

/// DescribeTopicPartitions' key.
pub(super) const KEY: i16 = 75;

/// A structure that is null.
const NULL: [u8; 1] = [0xff];

impl Judge {
    /// What a page may be made of, before its topics are decided one by one: a request for all topics becomes one for those
    /// that may be seen, and topics before the cursor are not asked for, as in Kafka.
    pub(super) fn page(&mut self, case: &Case<'_>, notes: &mut Notes<'_>) -> Ruling {
        let cursor = case.found.text(Meaning::CursorTopic).and_then(|name| name.text(case.frame));
        let Some(list) = case.found.list(List::Topics) else { return Ruling::Forward };
        if list.count > 0 {
            return self.listed(case, cursor, notes);
        }
        if !case.looked_up {
            // Topics that were made a moment ago are topics, too.
            return Ruling::LookUp;
        }
        let mut names: Vec<&str> = case
            .cluster
            .topic_names()
            .filter(|name| cursor.is_none_or(|cursor| *name >= cursor))
            .filter(|name| self.allows(Action::Describe, Resource::Topic(name), case.now))
            .collect();
        if names.is_empty() {
            return Ruling::Nothing;
        }
        names.sort_unstable();
        if cursor.is_some_and(|cursor| names.first() != Some(&cursor)) {
            drop_cursor(case, notes);
        }
        let mut encoded = Vec::new();
        for name in &names {
            put_string(&mut encoded, Form::Compact, Some(name));
            put_uvarint(&mut encoded, 0);
        }
        notes.edits.append(&list, u32::try_from(names.len()).unwrap_or(u32::MAX), &encoded);
        Ruling::ForwardRest
    }

    fn listed(&mut self, case: &Case<'_>, cursor: Option<&str>, notes: &mut Notes<'_>) -> Ruling {
        let Some(cursor) = cursor else { return Ruling::Forward };
        let mut ruling = Ruling::Forward;
        let mut is_listed = false;
        for topic in &case.found.topics {
            let name = topic.name(case.frame).unwrap_or_default();
            is_listed |= name == cursor;
            if name < cursor {
                ruling = case.hide(topic, notes);
            }
        }
        if !is_listed {
            return Ruling::Refuse(ErrorCode::INVALID_REQUEST);
        }
        if !self.allows(Action::Describe, Resource::Topic(cursor), case.now) {
            // The topic is refused and cut, and a broker wants the cursor to be one of the topics.
            drop_cursor(case, notes);
            ruling = Ruling::ForwardRest;
        }
        ruling
    }
}

/// Puts null in the place of the cursor: a mark, the topic's name, a partition, and no tags.
fn drop_cursor(case: &Case<'_>, notes: &mut Notes<'_>) {
    let topic = case.found.text(Meaning::CursorTopic);
    let (Some(topic), Some(partition)) = (topic, case.found.number(Meaning::CursorPartition))
    else {
        return;
    };
    let span = Span { start: topic.at.saturating_sub(1), end: partition.at.saturating_add(5) };
    notes.edits.replace(span, &NULL);
}
