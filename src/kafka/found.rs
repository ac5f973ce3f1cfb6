//! What a walk found in a frame: flat lists of positions, kept and cleared from one walk to the
//! next.
//!
//! Positions count from the start of the frame, its length prefix included. A [`Found`] of a few
//! thousand partitions is large; a shard needs one for requests and one for responses, not one per
//! connection.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::kafka::error_code::ErrorCode;
use crate::kafka::limits;
use crate::kafka::schema::{List, Meaning};
use crate::kafka::wire::{Form, Prefixed, index};

/// Everything a walk found.
#[derive(Debug, Default)]
pub struct Found {
    /// Topics in wire order, of whatever list.
    pub topics: Vec<Topic>,
    /// Partitions in wire order; each topic has a range of them.
    pub partitions: Vec<Partition>,
    /// Groups in wire order.
    pub groups: Vec<Group>,
    /// Keys of coordinators that a request looks for, and resources with configuration.
    pub keys: Vec<Key>,
    /// Brokers with their addresses.
    pub endpoints: Vec<Endpoint>,
    /// The arrays of topics, groups, keys and endpoints, in the order of their starts.
    pub lists: Vec<ListSpan>,
    /// Strings of the message itself and of members.
    pub texts: Vec<Text>,
    /// Opaque bytes: SASL tokens, members' metadata and assignments.
    pub blobs: Vec<Text>,
    /// Numbers of the message itself.
    pub numbers: Vec<Number>,
    /// Tagged fields that hold arrays, whose sizes follow what is edited inside.
    pub tags: Vec<TagSpan>,
    /// Tagged fields that no table knows, which were passed over.
    pub unknown_tags: u32,
    /// Bytes behind the message.
    pub trailing: usize,
}

/// A stretch of the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Its first byte.
    pub start: u32,
    /// The byte after its last.
    pub end: u32,
}

/// A range of one of the lists in [`Found`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Within {
    /// The first.
    pub first: u32,
    /// The one after the last.
    pub end: u32,
}

/// An array: its count, and where its elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListSpan {
    /// What its elements are.
    pub list: List,
    /// Where the count stands.
    pub at: u32,
    /// Where the first element starts.
    pub first: u32,
    /// Where the last element ends.
    pub end: u32,
    /// The number of elements.
    pub count: u32,
    /// How the count is written.
    pub form: Form,
    /// Whether the array is null, which in a request mostly means everything.
    pub null: bool,
}

/// A topic that the message names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The list it is in, an index of [`Found::lists`].
    pub list: u32,
    /// The group around it, an index of [`Found::groups`], or [`NONE`].
    pub group: u32,
    /// Its whole element.
    pub element: Span,
    /// Its name; null where it has none.
    pub name: Prefixed,
    /// Where its id stands; 0 where it has none.
    pub id_at: u32,
    /// Where its error code stands; 0 where it has none.
    pub error_at: u32,
    /// Its error code.
    pub error: ErrorCode,
    /// Where its authorized operations stand; 0 where it has none.
    pub operations_at: u32,
    /// Its partitions, a range of [`Found::partitions`].
    pub partitions: Within,
    /// The array of its partitions.
    pub partition_list: ListSpan,
}

/// One partition's element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its whole element.
    pub element: Span,
    /// Its index.
    pub index: i32,
    /// Where its error code stands; 0 where it has none.
    pub error_at: u32,
    /// Its error code.
    pub error: ErrorCode,
    /// Where its offset stands; 0 where it has none.
    pub offset_at: u32,
    /// Fetch: the position asked for, in responses the high watermark. Produce responses: the base
    /// offset. ListOffsets requests: the timestamp. Others: the offset committed or found.
    pub offset: i64,
    /// Its records; null, and at 0, where it has none.
    pub records: Prefixed,
}

/// A consumer group that the message names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Its whole element; empty where the message is about one group.
    pub element: Span,
    /// Its id.
    pub name: Prefixed,
    /// Where its error code stands; 0 where it has none.
    pub error_at: u32,
    /// Its error code.
    pub error: ErrorCode,
    /// Where its authorized operations stand; 0 where it has none.
    pub operations_at: u32,
    /// Its topics, a range of [`Found::topics`].
    pub topics: Within,
    /// Its lists, a range of [`Found::lists`].
    pub lists: Within,
}

/// A key whose coordinator is looked for, or a resource with configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// Its whole element; empty where the message is about one key.
    pub element: Span,
    /// What it names.
    pub name: Prefixed,
    /// Of what kind that is, where it says so itself and not the message for all.
    pub kind: Option<i8>,
    /// Strings inside of it, a range of [`Found::texts`].
    pub texts: Within,
    /// Its lists, a range of [`Found::lists`].
    pub lists: Within,
}

/// A broker with its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The list it is in, an index of [`Found::lists`], or [`NONE`].
    pub list: u32,
    /// Its whole element; empty where the message has one endpoint.
    pub element: Span,
    /// Where its id stands.
    pub node_at: u32,
    /// Its id, negative for none.
    pub node: i32,
    /// Its host.
    pub host: Prefixed,
    /// Where its port stands.
    pub port_at: u32,
    /// Its port.
    pub port: i32,
    /// What it coordinates; null where that is not said.
    pub key: Prefixed,
    /// Where its error code stands; 0 where it has none.
    pub error_at: u32,
    /// Its error code.
    pub error: ErrorCode,
}

/// A string or opaque bytes, with their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// What it is.
    pub meaning: Meaning,
    /// The group around it, an index of [`Found::groups`], or [`NONE`].
    pub group: u32,
    /// Where it is.
    pub place: Prefixed,
}

/// A number, with its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// What it is.
    pub meaning: Meaning,
    /// Where it stands.
    pub at: u32,
    /// What it says.
    pub value: i64,
}

/// A tagged field: where its size stands and its content lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagSpan {
    /// Where the size stands.
    pub at: u32,
    /// Its content.
    pub body: Span,
}

/// No index.
pub const NONE: u32 = u32::MAX;

impl Found {
    /// Forgets everything, keeping memory for the next walk unless the last one was unusually
    /// large.
    pub fn clear(&mut self) {
        forget(&mut self.topics);
        forget(&mut self.partitions);
        forget(&mut self.groups);
        forget(&mut self.keys);
        forget(&mut self.endpoints);
        forget(&mut self.lists);
        forget(&mut self.texts);
        forget(&mut self.blobs);
        forget(&mut self.numbers);
        forget(&mut self.tags);
        self.unknown_tags = 0;
        self.trailing = 0;
    }

    /// The message's own number with that meaning.
    #[must_use]
    pub fn number(&self, meaning: Meaning) -> Option<Number> {
        self.numbers.iter().find(|number| number.meaning == meaning).copied()
    }

    /// The first string with that meaning.
    #[must_use]
    pub fn text(&self, meaning: Meaning) -> Option<Prefixed> {
        self.texts.iter().find(|text| text.meaning == meaning).map(|text| text.place)
    }

    /// The first opaque bytes with that meaning.
    #[must_use]
    pub fn blob(&self, meaning: Meaning) -> Option<Prefixed> {
        self.blobs.iter().find(|blob| blob.meaning == meaning).map(|blob| blob.place)
    }

    /// The first array of that kind.
    #[must_use]
    pub fn list(&self, list: List) -> Option<ListSpan> {
        self.lists.iter().find(|span| span.list == list).copied()
    }

    /// What kind of list the topic is in.
    #[must_use]
    pub fn list_of(&self, topic: &Topic) -> List {
        self.lists.get(index(topic.list)).map_or(List::Plain, |span| span.list)
    }

    /// Forgets the names of topics that a request names by their ids, too: brokers do not look at the name of such a one
    /// (Metadata; Java's client leaves it empty), or refuse it (DeleteTopics).
    pub fn prefer_ids(&mut self, frame: &[u8]) {
        for topic in self.topics.iter_mut().filter(|topic| !topic.name.null) {
            if topic.id(frame).is_some_and(|id| id != [0; 16]) {
                topic.name.null = true;
            }
        }
    }

    /// The partitions of a topic.
    #[must_use]
    pub fn partitions_of(&self, topic: &Topic) -> &[Partition] {
        topic.partitions.of(&self.partitions)
    }

    /// The topics of a group.
    #[must_use]
    pub fn topics_of(&self, group: &Group) -> &[Topic] {
        group.topics.of(&self.topics)
    }

    /// The lists inside a group.
    #[must_use]
    pub fn lists_of(&self, group: &Group) -> &[ListSpan] {
        group.lists.of(&self.lists)
    }
}

impl Key {
    /// The names of the settings that a request changes on the resource.
    pub fn settings<'a>(&self, found: &'a Found) -> impl Iterator<Item = Prefixed> + 'a {
        let texts = self.texts.of(&found.texts).iter();
        texts.filter(|text| text.meaning == Meaning::Setting).map(|text| text.place)
    }

    /// What an answer about it says again: an array with its count.
    #[must_use]
    pub fn echoed<'a>(&self, found: &Found, frame: &'a [u8]) -> &'a [u8] {
        let mut lists = self.lists.of(&found.lists).iter();
        let Some(list) = lists.find(|span| span.list == List::Echoed) else { return &[] };
        frame.get(index(list.at)..index(list.end)).unwrap_or_default()
    }
}

impl Topic {
    /// Its id within `frame`, where it has one.
    #[must_use]
    pub fn id(&self, frame: &[u8]) -> Option<[u8; 16]> {
        if self.id_at == 0 {
            return None;
        }
        frame.get(index(self.id_at)..)?.first_chunk().copied()
    }

    /// Its name within `frame`, where it has one.
    #[must_use]
    pub fn name<'a>(&self, frame: &'a [u8]) -> Option<&'a str> {
        self.name.text(frame)
    }
}

impl Within {
    /// Whether it is of nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.first
    }

    fn of<T>(self, all: &[T]) -> &[T] {
        all.get(index(self.first)..index(self.end)).unwrap_or_default()
    }
}

impl Span {
    /// The bytes of it within `frame`.
    #[must_use]
    pub fn bytes(self, frame: &[u8]) -> &[u8] {
        frame.get(index(self.start)..index(self.end)).unwrap_or_default()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

impl Default for ListSpan {
    fn default() -> Self {
        Self {
            list: List::Plain,
            at: 0,
            first: 0,
            end: 0,
            count: 0,
            form: Form::Classic,
            null: true,
        }
    }
}

fn forget<T>(list: &mut Vec<T>) {
    list.clear();
    list.shrink_to(limits::FOUND_KEPT_ELEMENTS_MAX);
}
