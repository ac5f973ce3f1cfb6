//! Walks one message of Protobuf's wire format: validates it, and splices masks into it.

use super::super::super::json::Unreadable;
use super::super::typed::{Leaf, double, float};
use super::super::walk::{Place, Walk, unzigzag, write_varint};
use super::{Field, Kind, Message, MessageIndex, Number, Protobuf};

/// Walks the message that `walk` begins with. Masks are in its sheet's `out`, if there are any.
pub(in crate::masking) fn walk(
    schema: &Protobuf,
    message: MessageIndex,
    walk: Walk<'_>,
) -> Result<(), Unreadable> {
    let walk = walk.with_lengths(write_length);
    let mut protobuf = ProtobufWalk { walk, messages: &schema.messages };
    let root = protobuf.walk.root();
    protobuf.message(message, End::OfBytes, root)?;
    protobuf.walk.finish()
}

struct ProtobufWalk<'w> {
    walk: Walk<'w>,
    messages: &'w [Message],
}

/// What ends a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    OfBytes,
    /// The tag that ends the group of this field.
    OfGroup(u32),
}

/// How the bytes of a field are bounded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Varint,
    Eight,
    Length,
    StartGroup,
    EndGroup,
    Four,
}

/// What a number means.
enum Meaning {
    Whole(i128),
    Floating(f64),
    /// Of a few values: its digits say nothing.
    Word,
}

impl ProtobufWalk<'_> {
    fn message(&mut self, index: MessageIndex, end: End, place: Place) -> Result<(), Unreadable> {
        self.walk.enter()?;
        let messages = self.messages;
        let message = messages.get(index.0).ok_or(Unreadable)?;
        loop {
            if self.walk.at == self.walk.end {
                if end != End::OfBytes {
                    return Err(Unreadable);
                }
                break;
            }
            let (number, wire) = self.tag()?;
            if wire == Wire::EndGroup {
                if end != End::OfGroup(number) {
                    return Err(Unreadable);
                }
                break;
            }
            // What the schema does not know cannot be judged.
            let field = message.field(number).ok_or(Unreadable)?;
            let place = self.walk.step(place, &field.name);
            self.field(field, wire, place)?;
        }
        self.walk.leave();
        Ok(())
    }

    fn field(&mut self, field: &Field, wire: Wire, place: Place) -> Result<(), Unreadable> {
        match (field.kind, wire) {
            (Kind::Number { number, below }, _) if wire == number.wire() => {
                self.number(number, below, place)
            }
            (Kind::Number { number, below }, Wire::Length) if field.is_repeated => self
                .within_length(|protobuf| {
                    while protobuf.walk.at < protobuf.walk.end {
                        protobuf.number(number, below, place)?;
                    }
                    Ok(())
                }),
            (Kind::Text, Wire::Length) => self.bytes(Leaf::Text, place),
            (Kind::Bytes, Wire::Length) => self.bytes(Leaf::Bytes, place),
            (Kind::Message(index), Wire::Length) => {
                self.within_length(|protobuf| protobuf.message(index, End::OfBytes, place))
            }
            (Kind::Group(index), Wire::StartGroup) => {
                self.message(index, End::OfGroup(field.number), place)
            }
            (Kind::Entry(index), Wire::Length) => {
                self.within_length(|protobuf| protobuf.entry(index, place))
            }
            _ => Err(Unreadable),
        }
    }

    /// Reads an entry of a map. Its key, which is a step, may stand behind its value.
    fn entry(&mut self, index: MessageIndex, place: Place) -> Result<(), Unreadable> {
        let messages = self.messages;
        let message = messages.get(index.0).ok_or(Unreadable)?;
        let (key, value) = message.field(1).zip(message.field(2)).ok_or(Unreadable)?;
        let below = self.below_key(key, place)?;
        while self.walk.at < self.walk.end {
            match self.tag()? {
                (1, wire) => self.field(key, wire, self.walk.key_of(place, below))?,
                (2, wire) => self.field(value, wire, below)?,
                _ => return Err(Unreadable),
            }
        }
        Ok(())
    }

    /// Looks ahead for the key of an entry: the place under it. One without a key has the key that
    /// its type begins with; one with two is read differently by different readers.
    fn below_key(&mut self, field: &Field, place: Place) -> Result<Place, Unreadable> {
        let start = self.walk.at;
        let mut found = None;
        while self.walk.at < self.walk.end {
            let (number, wire) = self.tag_ahead()?;
            if number == 1 {
                if found.is_some() {
                    return Err(Unreadable);
                }
                found = Some(self.step_of_key(field, wire, place)?);
            } else {
                self.skip(wire)?;
            }
        }
        self.walk.at = start;
        Ok(match (found, field.kind) {
            (Some(found), _) => found,
            (None, Kind::Text) => self.walk.step(place, b""),
            (None, Kind::Number { number: Number::Bool, .. }) => self.walk.step(place, b"false"),
            (None, _) => self.walk.step(place, b"0"),
        })
    }

    fn step_of_key(&mut self, key: &Field, wire: Wire, place: Place) -> Result<Place, Unreadable> {
        if let Kind::Number { number, .. } = key.kind {
            if wire != number.wire() {
                return Err(Unreadable);
            }
            let raw = self.raw(number.wire())?;
            return match number.meaning(raw)? {
                Meaning::Word if raw == 0 => Ok(self.walk.step(place, b"false")),
                Meaning::Word => Ok(self.walk.step(place, b"true")),
                Meaning::Whole(key) => Ok(self.walk.step_by(place, key)),
                Meaning::Floating(_) => Err(Unreadable),
            };
        }
        if wire != Wire::Length {
            return Err(Unreadable);
        }
        let start = self.walk.at;
        let length = self.walk.varint()?;
        let content = self.walk.stretch(start, length)?.content;
        Ok(self.walk.step(place, self.walk.bytes(content)))
    }

    /// Leaps over what is read later. No entry holds a group.
    fn skip(&mut self, wire: Wire) -> Result<(), Unreadable> {
        match wire {
            Wire::Length => {
                let start = self.walk.at;
                let length = self.walk.varint()?;
                self.walk.stretch(start, length)?;
                Ok(())
            }
            Wire::StartGroup | Wire::EndGroup => Err(Unreadable),
            number => self.raw(number).map(|_| ()),
        }
    }

    fn bytes(&mut self, leaf: Leaf, place: Place) -> Result<(), Unreadable> {
        let start = self.walk.at;
        let length = self.walk.varint()?;
        let stretch = self.walk.stretch(start, length)?;
        self.walk.leaf(leaf, stretch, place)
    }

    /// Reads what a length bounds, which must fill it.
    fn within_length(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        let start = self.walk.at;
        let length = self.walk.varint()?;
        let content = self.walk.stretch(start, length)?.content;
        self.walk.open(start..content.start, content.len());
        self.walk.at = content.start;
        let end = std::mem::replace(&mut self.walk.end, content.end);
        read(self)?;
        if self.walk.at != content.end {
            return Err(Unreadable);
        }
        self.walk.end = end;
        self.walk.close();
        Ok(())
    }

    fn number(&mut self, number: Number, below: u64, place: Place) -> Result<(), Unreadable> {
        self.walk.token()?;
        let start = self.walk.at;
        let raw = self.raw(number.wire())?;
        let masked = match number.meaning(raw)? {
            Meaning::Whole(value) => self.walk.integer(value, below, place)?,
            Meaning::Floating(value) => self.walk.floating(value, below, place)?,
            Meaning::Word => self.walk.word(place).then_some(0),
        };
        if let Some(masked) = masked {
            self.walk.put(start..self.walk.at, |out| number.write(masked, out));
        }
        Ok(())
    }

    fn raw(&mut self, wire: Wire) -> Result<u64, Unreadable> {
        match wire {
            Wire::Varint => self.walk.varint(),
            Wire::Four => Ok(u64::from(u32::from_le_bytes(self.walk.array()?))),
            Wire::Eight => Ok(u64::from_le_bytes(self.walk.array()?)),
            Wire::Length | Wire::StartGroup | Wire::EndGroup => Err(Unreadable),
        }
    }

    /// Reads the number of a field, and how it is bounded; a field counts as a token.
    fn tag(&mut self) -> Result<(u32, Wire), Unreadable> {
        self.walk.token()?;
        self.tag_ahead()
    }

    fn tag_ahead(&mut self) -> Result<(u32, Wire), Unreadable> {
        let tag = u32::try_from(self.walk.varint()?).map_err(|_| Unreadable)?;
        let wire = match tag & 7 {
            0 => Wire::Varint,
            1 => Wire::Eight,
            2 => Wire::Length,
            3 => Wire::StartGroup,
            4 => Wire::EndGroup,
            5 => Wire::Four,
            _ => return Err(Unreadable),
        };
        Ok((tag >> 3, wire))
    }
}

impl Number {
    fn wire(self) -> Wire {
        match self {
            Self::Fixed32 | Self::Sfixed32 | Self::Float => Wire::Four,
            Self::Fixed64 | Self::Sfixed64 | Self::Double => Wire::Eight,
            _ => Wire::Varint,
        }
    }

    /// What the bits of a number mean. More of them than its type has are refused: some readers cut
    /// them off.
    fn meaning(self, raw: u64) -> Result<Meaning, Unreadable> {
        let narrow = u32::try_from(raw).map_err(|_| Unreadable);
        let whole = match self {
            Self::Int64 | Self::Sfixed64 => i128::from(raw.cast_signed()),
            Self::Uint64 | Self::Fixed64 => i128::from(raw),
            Self::Sint64 => i128::from(unzigzag(raw)),
            Self::Uint32 | Self::Fixed32 => i128::from(narrow?),
            Self::Sint32 => i128::from(unzigzag(u64::from(narrow?))),
            Self::Sfixed32 => i128::from(narrow?.cast_signed()),
            // Written with 64 bits below 0, and by some writers with 32.
            Self::Int32 | Self::Enum { .. } => match i32::try_from(raw.cast_signed()) {
                Ok(value) => i128::from(value),
                Err(_) => i128::from(narrow?.cast_signed()),
            },
            Self::Bool if raw <= 1 => return Ok(Meaning::Word),
            Self::Bool => return Err(Unreadable),
            Self::Float => return Ok(Meaning::Floating(f64::from(f32::from_bits(narrow?)))),
            Self::Double => return Ok(Meaning::Floating(f64::from_bits(raw))),
        };
        Ok(Meaning::Whole(whole))
    }

    /// Appends a mask.
    fn write(self, masked: u64, out: &mut Vec<u8>) {
        match self {
            Self::Enum { first } => write_varint(i64::from(first).cast_unsigned(), out),
            Self::Sint32 | Self::Sint64 => write_varint(masked << 1, out),
            Self::Float => out.extend_from_slice(&float(masked).to_le_bytes()),
            Self::Double => out.extend_from_slice(&double(masked).to_le_bytes()),
            _ => match self.wire() {
                Wire::Four => {
                    let masked = u32::try_from(masked).unwrap_or(0);
                    out.extend_from_slice(&masked.to_le_bytes());
                }
                Wire::Eight => out.extend_from_slice(&masked.to_le_bytes()),
                _ => write_varint(masked, out),
            },
        }
    }
}

fn write_length(length: usize, out: &mut Vec<u8>) {
    write_varint(u64::try_from(length).unwrap_or(0), out);
}
