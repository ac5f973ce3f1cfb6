//! Protobuf: the messages of a file as a graph to walk by.
//!
//! The text is read by `protox`, names are resolved by `prost-reflect`. Options that are not part
//! of the language are taken out between the two: they do not change how messages are written, what
//! they import need not be there, and a message within one would be read without a bound on how
//! deep it nests.

mod files;
mod walk;

use std::collections::HashMap;

use prost_reflect::{FieldDescriptor, Kind as LibraryKind, MessageDescriptor};

use super::frame::MessagePath;
use super::typed::{DOUBLE_BELOW, FLOAT_BELOW, INT_BELOW, SECONDS_BELOW, SIGNED_BELOW};
use super::{NODES_MAX, Reference, SchemaError};
pub(super) use walk::walk;

/// The messages of a file, and those that they hold.
#[derive(Debug)]
pub(in crate::masking) struct Protobuf {
    messages: Vec<Message>,
    /// The messages of the file itself, in its order.
    top: Vec<MessageIndex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageIndex(usize);

#[derive(Debug, Default)]
struct Message {
    /// By number.
    fields: Box<[Field]>,
    /// The messages that are declared in it, in the order of their declaration.
    nested: Box<[MessageIndex]>,
    /// Whether a field declares it: the entry of a map, or a group.
    is_of_field: bool,
}

#[derive(Debug)]
struct Field {
    number: u32,
    /// Its step in paths.
    name: Box<[u8]>,
    kind: Kind,
    is_repeated: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A number; its masks are below `below`.
    Number {
        number: Number,
        below: u64,
    },
    Text,
    Bytes,
    Message(MessageIndex),
    Group(MessageIndex),
    /// The entry of a map.
    Entry(MessageIndex),
}

/// How a number is written, and what it means.
#[derive(Clone, Copy, Debug)]
enum Number {
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Bool,
    /// Masked, it is the first that the enum declares.
    Enum {
        first: i32,
    },
    Fixed32,
    Sfixed32,
    Float,
    Fixed64,
    Sfixed64,
    Double,
}

impl Protobuf {
    /// Reads a file; `references` are the files that it imports, and those that they import.
    pub(super) fn parse(text: &str, references: &[Reference]) -> Result<Self, SchemaError> {
        let file = files::resolve(text, references)?;
        let mut graph = Graph::default();
        let top: Result<Vec<_>, _> = file.messages().map(|message| graph.index(message)).collect();
        let top = top?;
        while let Some(message) = graph.waiting.pop() {
            graph.fill(&message)?;
        }
        Ok(Self { messages: graph.messages, top })
    }

    /// The message at the end of a path. Some writers count the messages that fields declare, and
    /// some do not: where that makes a difference, nobody knows which message is meant.
    pub(super) fn message(&self, path: &MessagePath) -> Option<MessageIndex> {
        let counted = self.at(path.steps(), |_| true);
        let left_out = self.at(path.steps(), |message| !message.is_of_field);
        match (counted, left_out) {
            (Some(one), Some(other)) if one != other => None,
            (one, other) => other.or(one),
        }
    }

    fn at(&self, steps: &[u32], counts: fn(&Message) -> bool) -> Option<MessageIndex> {
        let mut siblings: &[MessageIndex] = &self.top;
        let mut found = None;
        for step in steps {
            let mut counted = siblings.iter().filter_map(|index| {
                let message = self.messages.get(index.0)?;
                counts(message).then_some((*index, message))
            });
            let (index, message) = counted.nth(usize::try_from(*step).ok()?)?;
            found = Some((index, message));
            siblings = &message.nested;
        }
        found.filter(|(_, message)| !message.is_of_field).map(|(index, _)| index)
    }

    /// About how many bytes it takes.
    pub(super) fn size_bytes(&self) -> usize {
        let own = self.messages.len().saturating_mul(size_of::<Message>());
        self.messages.iter().fold(own, |sum, message| {
            let names = message.fields.iter().map(|field| field.name.len());
            names
                .fold(sum, usize::saturating_add)
                .saturating_add(size_of_val(&*message.fields))
                .saturating_add(size_of_val(&*message.nested))
        })
    }
}

impl Message {
    fn field(&self, number: u32) -> Option<&Field> {
        let index = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        self.fields.get(index)
    }
}

/// The messages so far.
#[derive(Default)]
struct Graph {
    messages: Vec<Message>,
    indices: HashMap<String, MessageIndex>,
    /// Messages that have an index and no fields yet.
    waiting: Vec<MessageDescriptor>,
    /// How many messages and fields there are.
    count: usize,
}

impl Graph {
    fn index(&mut self, message: MessageDescriptor) -> Result<MessageIndex, SchemaError> {
        if let Some(known) = self.indices.get(message.full_name()) {
            return Ok(*known);
        }
        self.count()?;
        let index = MessageIndex(self.messages.len());
        self.messages.push(Message::default());
        self.indices.insert(message.full_name().to_owned(), index);
        self.waiting.push(message);
        Ok(index)
    }

    fn fill(&mut self, message: &MessageDescriptor) -> Result<(), SchemaError> {
        let index = self.index(message.clone())?;
        let mut fields = Vec::new();
        for field in message.fields() {
            self.count()?;
            fields.push(Field {
                number: field.number(),
                name: field.name().as_bytes().into(),
                kind: self.kind(field.kind(), field.is_group(), below(&field))?,
                is_repeated: field.is_list(),
            });
        }
        for extension in message.extensions() {
            self.count()?;
            fields.push(Field {
                number: extension.number(),
                name: format!("[{}]", extension.full_name()).into_bytes().into(),
                kind: self.kind(extension.kind(), extension.is_group(), None)?,
                is_repeated: extension.is_list(),
            });
        }
        fields.sort_unstable_by_key(|field| field.number);
        let nested: Result<Vec<_>, _> =
            message.child_messages().map(|message| self.index(message)).collect();
        let nested = nested?.into();
        let groups = message.fields().filter(FieldDescriptor::is_group);
        for group in groups.filter_map(|field| Some(field.kind().as_message()?.clone())) {
            let group = self.index(group)?;
            if let Some(message) = self.messages.get_mut(group.0) {
                message.is_of_field = true;
            }
        }
        if let Some(place) = self.messages.get_mut(index.0) {
            let is_of_field = place.is_of_field || message.is_map_entry();
            *place = Message { fields: fields.into(), nested, is_of_field };
        }
        Ok(())
    }

    fn kind(
        &mut self,
        kind: LibraryKind,
        is_group: bool,
        below: Option<u64>,
    ) -> Result<Kind, SchemaError> {
        let number = match kind {
            LibraryKind::Message(message) => {
                let is_entry = message.is_map_entry();
                let index = self.index(message)?;
                return Ok(match (is_entry, is_group) {
                    (true, _) => Kind::Entry(index),
                    (false, true) => Kind::Group(index),
                    (false, false) => Kind::Message(index),
                });
            }
            LibraryKind::String => return Ok(Kind::Text),
            LibraryKind::Bytes => return Ok(Kind::Bytes),
            LibraryKind::Enum(kind) => {
                // The library has them in the order of their numbers.
                let declared = kind.enum_descriptor_proto().value.first();
                Number::Enum { first: declared.map_or(0, |value| value.number()) }
            }
            LibraryKind::Double => Number::Double,
            LibraryKind::Float => Number::Float,
            LibraryKind::Int32 => Number::Int32,
            LibraryKind::Int64 => Number::Int64,
            LibraryKind::Uint32 => Number::Uint32,
            LibraryKind::Uint64 => Number::Uint64,
            LibraryKind::Sint32 => Number::Sint32,
            LibraryKind::Sint64 => Number::Sint64,
            LibraryKind::Fixed32 => Number::Fixed32,
            LibraryKind::Fixed64 => Number::Fixed64,
            LibraryKind::Sfixed32 => Number::Sfixed32,
            LibraryKind::Sfixed64 => Number::Sfixed64,
            LibraryKind::Bool => Number::Bool,
        };
        Ok(Kind::Number { number, below: below.unwrap_or_else(|| number.below()) })
    }

    fn count(&mut self) -> Result<(), SchemaError> {
        self.count = self.count.saturating_add(1);
        if self.count > NODES_MAX { Err(SchemaError::TooManyTypes) } else { Ok(()) }
    }
}

impl Number {
    /// What masks of this type are below.
    fn below(self) -> u64 {
        match self {
            Self::Bool | Self::Enum { .. } => 1,
            Self::Float => FLOAT_BELOW,
            Self::Double => DOUBLE_BELOW,
            Self::Int32 | Self::Uint32 | Self::Sint32 | Self::Fixed32 | Self::Sfixed32 => INT_BELOW,
            Self::Int64 | Self::Uint64 | Self::Sint64 | Self::Fixed64 | Self::Sfixed64 => {
                SIGNED_BELOW
            }
        }
    }
}

/// What masks of some fields of well-known messages are below, as their documentation has it.
fn below(field: &FieldDescriptor) -> Option<u64> {
    match field.full_name() {
        "google.protobuf.Timestamp.seconds" => Some(SECONDS_BELOW),
        "google.protobuf.Duration.seconds" => Some(DURATION_SECONDS_BELOW),
        "google.protobuf.Timestamp.nanos" | "google.protobuf.Duration.nanos" => Some(NANOS_BELOW),
        _ => None,
    }
}

/// About 10,000 years.
const DURATION_SECONDS_BELOW: u64 = 315_576_000_001;
const NANOS_BELOW: u64 = 1_000_000_000;
