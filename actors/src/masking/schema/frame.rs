//! How a record says which schema it was written with, as serializers for a Confluent-compatible
//! registry write it.
//!
//! ```text
//! in the value      00 │ id, 4 bytes, big endian │ path │ payload
//!                   01 │ GUID, 16 bytes          │ path │ payload
//! in a header       01 │ GUID, 16 bytes          │ path           and the whole value is payload
//!                      (or 00 and an id)
//! path, of Protobuf alone: which message of the file
//!                   count, index, index, …   each a zigzag varint; a count of 0 is the path [0]
//! ```
//!
//! Where a header is there it counts, as it does for readers that know it; of several the last.

use std::fmt;

use super::walk::{unzigzag, varint};

/// The header that names the schema of a record's value.
pub const VALUE_HEADER: &str = "__value_schema_id";
/// The header that names the schema of a record's key.
pub const KEY_HEADER: &str = "__key_schema_id";
/// How deep a Protobuf message may lie in the messages of its file; the compiler stops at 32.
pub const PATH_STEPS_MAX: usize = 32;

/// What a registry knows a schema by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaId {
    /// The number that one registry gave it.
    Number(u32),
    /// The name that it has everywhere.
    Guid([u8; 16]),
}

/// A record's value or key, with what it says of its schema.
#[derive(Clone, Copy, Debug)]
pub struct Framed<'v> {
    /// The schema that it was written with.
    pub id: SchemaId,
    value: &'v [u8],
    /// What follows the id: in the value, or in the header.
    rest: &'v [u8],
    place: Place,
}

/// Where the id was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Value,
    Header,
}

/// Where in a Protobuf file a message stands: an index among the file's messages, then among the
/// messages of that one, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessagePath {
    steps: [u32; PATH_STEPS_MAX],
    count: usize,
}

impl fmt::Display for SchemaId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(id) => write!(formatter, "{id}"),
            Self::Guid(guid) => {
                for (index, byte) in guid.iter().enumerate() {
                    let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
                    write!(formatter, "{dash}{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for SchemaId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SchemaId({self})")
    }
}

impl<'v> Framed<'v> {
    /// Reads the id of a value (or key) from the last header of its name, where there is one that
    /// is not null, or else from the value itself; `None` where it names no schema.
    #[must_use]
    pub fn read(value: &'v [u8], header: Option<&'v [u8]>) -> Option<Self> {
        let (from, place) = match header {
            Some(header) => (header, Place::Header),
            None => (value, Place::Value),
        };
        let (magic, rest) = from.split_first()?;
        let (id, rest) = match magic {
            0 => {
                let (id, rest) = rest.split_first_chunk::<4>()?;
                (SchemaId::Number(u32::from_be_bytes(*id)), rest)
            }
            1 => {
                let (guid, rest) = rest.split_first_chunk::<16>()?;
                (SchemaId::Guid(*guid), rest)
            }
            _ => return None,
        };
        Some(Self { id, value, rest, place })
    }

    /// The whole value, and where in it the payload begins; `None` where a header goes on.
    pub(super) fn payload(&self) -> Option<(&'v [u8], usize)> {
        self.behind(self.rest)
    }

    /// As [`Self::payload`], for a value that has a path to its message.
    pub(super) fn message(&self) -> Option<(MessagePath, &'v [u8], usize)> {
        let mut at = 0;
        let mut path = MessagePath { steps: [0; PATH_STEPS_MAX], count: 1 };
        let count = usize::try_from(unzigzag(varint(self.rest, &mut at)?)).ok()?;
        if count > 0 {
            path.count = count;
            for step in path.steps.get_mut(..count)? {
                *step = u32::try_from(unzigzag(varint(self.rest, &mut at)?)).ok()?;
            }
        }
        let (value, start) = self.behind(self.rest.get(at..)?)?;
        Some((path, value, start))
    }

    fn behind(&self, rest: &'v [u8]) -> Option<(&'v [u8], usize)> {
        match self.place {
            Place::Value => Some((self.value, self.value.len().saturating_sub(rest.len()))),
            Place::Header => rest.is_empty().then_some((self.value, 0)),
        }
    }
}

impl MessagePath {
    pub(super) fn steps(&self) -> &[u32] {
        self.steps.get(..self.count).unwrap_or_default()
    }
}
