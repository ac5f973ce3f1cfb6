//! Walks one value of Avro's binary encoding: validates it, and splices masks into it.

use super::super::super::json::Unreadable;
use super::super::typed::{DOUBLE_BELOW, FLOAT_BELOW, double, float};
use super::super::walk::{Place, Walk, unzigzag, write_varint};
use super::{Avro, Node, NodeIndex};

/// Walks the value that `walk` begins with. Masks are in its sheet's `out`, if there are any.
pub(in crate::masking) fn walk(schema: &Avro, walk: Walk<'_>) -> Result<(), Unreadable> {
    let walk = walk.with_lengths(write_length);
    let mut avro = AvroWalk { walk, nodes: &schema.nodes };
    let root = avro.walk.root();
    avro.value(schema.root, root)?;
    avro.walk.finish()
}

struct AvroWalk<'w> {
    walk: Walk<'w>,
    nodes: &'w [Node],
}

impl AvroWalk<'_> {
    /// Recurs no deeper than the walk may enter: unions, which are not entered, lie in no unions.
    fn value(&mut self, index: NodeIndex, place: Place) -> Result<(), Unreadable> {
        self.walk.token()?;
        let nodes = self.nodes;
        let start = self.walk.at;
        match nodes.get(index.0).ok_or(Unreadable)? {
            Node::Null => {}
            Node::Boolean => {
                if self.walk.byte()? > 1 {
                    return Err(Unreadable);
                }
                self.word(start, place);
            }
            Node::Enum { symbols } => {
                let symbol = usize::try_from(self.int()?).map_err(|_| Unreadable)?;
                if symbol >= *symbols {
                    return Err(Unreadable);
                }
                self.word(start, place);
            }
            Node::Int { below } => {
                let value = self.int()?;
                self.integer(start, i64::from(value), *below, place)?;
            }
            Node::Long { below } => {
                let value = self.long()?;
                self.integer(start, value, *below, place)?;
            }
            Node::Float => {
                let value = f64::from(f32::from_le_bytes(self.walk.array()?));
                if let Some(masked) = self.walk.floating(value, FLOAT_BELOW, place)? {
                    let masked = float(masked).to_le_bytes();
                    self.walk.put(start..self.walk.at, |out| out.extend_from_slice(&masked));
                }
            }
            Node::Double => {
                let value = f64::from_le_bytes(self.walk.array()?);
                if let Some(masked) = self.walk.floating(value, DOUBLE_BELOW, place)? {
                    let masked = double(masked).to_le_bytes();
                    self.walk.put(start..self.walk.at, |out| out.extend_from_slice(&masked));
                }
            }
            Node::Bytes(leaf) => {
                let length = self.length()?;
                let stretch = self.walk.stretch(start, length)?;
                self.walk.leaf(*leaf, stretch, place)?;
            }
            Node::Fixed { leaf, size } => {
                let stretch = self.walk.stretch(start, *size)?;
                self.walk.leaf(*leaf, stretch, place)?;
            }
            Node::Union(branches) => {
                let branch = usize::try_from(self.long()?).map_err(|_| Unreadable)?;
                self.value(*branches.get(branch).ok_or(Unreadable)?, place)?;
            }
            Node::Array(items) => self.blocks(|avro| avro.value(*items, place))?,
            Node::Map(values) => self.blocks(|avro| avro.entry(*values, place))?,
            Node::Record(fields) => {
                self.walk.enter()?;
                for field in fields {
                    let place = self.walk.step(place, &field.name);
                    self.value(field.node, place)?;
                }
                self.walk.leave();
            }
        }
        Ok(())
    }

    /// Reads the blocks of an array or map: a count of items before each, and 0 at the end. A count
    /// below 0 has the bytes of its block behind it, for readers that leap over it.
    fn blocks(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        self.walk.enter()?;
        loop {
            let count = self.long()?;
            if count == 0 {
                break;
            }
            let mut end = None;
            if count < 0 {
                let start = self.walk.at;
                let length = usize::try_from(self.length()?).map_err(|_| Unreadable)?;
                end = Some(self.walk.at.checked_add(length).ok_or(Unreadable)?);
                self.walk.open(start..self.walk.at, length);
            }
            // Items may have no bytes: it is tokens that bound how many there are.
            for _ in 0..count.unsigned_abs() {
                item(self)?;
            }
            if let Some(end) = end {
                if self.walk.at != end {
                    return Err(Unreadable);
                }
                self.walk.close();
            }
        }
        self.walk.leave();
        Ok(())
    }

    fn entry(&mut self, values: NodeIndex, place: Place) -> Result<(), Unreadable> {
        self.walk.token()?;
        let start = self.walk.at;
        let length = self.length()?;
        let key = self.walk.stretch(start, length)?;
        let below = self.walk.step(place, self.walk.bytes(key.content.clone()));
        self.walk.leaf(super::Leaf::Text, key, self.walk.key_of(place, below))?;
        self.value(values, below)
    }

    /// Masks a boolean or an enum, whose first value is a zero byte.
    fn word(&mut self, start: usize, place: Place) {
        if self.walk.word(place) {
            self.walk.put(start..self.walk.at, |out| out.push(0));
        }
    }

    fn integer(
        &mut self,
        start: usize,
        value: i64,
        below: u64,
        place: Place,
    ) -> Result<(), Unreadable> {
        if let Some(masked) = self.walk.integer(i128::from(value), below, place)? {
            self.walk.put(start..self.walk.at, |out| write_varint(masked << 1, out));
        }
        Ok(())
    }

    fn int(&mut self) -> Result<i32, Unreadable> {
        i32::try_from(self.long()?).map_err(|_| Unreadable)
    }

    /// Reads a number, which must be written in no more bytes than it needs.
    fn long(&mut self) -> Result<i64, Unreadable> {
        let start = self.walk.at;
        let value = self.walk.varint()?;
        let read = self.walk.bytes(start..self.walk.at);
        if read.len() > 1 && read.last() == Some(&0) {
            return Err(Unreadable);
        }
        Ok(unzigzag(value))
    }

    fn length(&mut self) -> Result<u64, Unreadable> {
        u64::try_from(self.long()?).map_err(|_| Unreadable)
    }
}

fn write_length(length: usize, out: &mut Vec<u8>) {
    write_varint(u64::try_from(length).unwrap_or(0) << 1, out);
}
