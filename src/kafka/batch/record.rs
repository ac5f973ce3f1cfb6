//! One record: its parts as slices of the batch, and the varints between them.
//!
//! ```text
//! length varint │ attributes i8 │ timestamp delta varlong │ offset delta varint
//!               │ key length varint, key │ value length varint, value
//!               │ header count varint, each: name length varint, name, value length varint, value
//! ```
//!
//! A length below zero is null. Varints are Kafka's: zigzag, at most 5 bytes (10 for a varlong).

use std::ops::Range;

use super::BatchError;

/// The least bytes that a record can take: its length, and six fields of one byte.
pub const RECORD_BYTES_MIN: usize = 7;

/// One record, as slices of the decompressed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Unused by Kafka so far.
    pub attributes: i8,
    /// Milliseconds from the batch's base timestamp.
    pub timestamp_delta: i64,
    /// From the batch's base offset.
    pub offset_delta: i32,
    /// The key, or null.
    pub key: Option<&'a [u8]>,
    /// The value, or null.
    pub value: Option<&'a [u8]>,
    /// The headers: read them with [`Record::headers`].
    headers: &'a [u8],
    /// How many there are, as the record says.
    pub header_count: u32,
    /// All of it but its length, for rewriting.
    pub(crate) body: &'a [u8],
    /// Where its parts lie in there.
    pub(crate) places: Places,
}

/// Where the parts of a record lie in its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// Where the key's length stands.
    pub(crate) key: usize,
    /// Where the value's length stands.
    pub(crate) value: usize,
    /// Where the count of headers stands.
    pub(crate) header_count: usize,
    /// Where the first header begins.
    pub(crate) headers: usize,
}

/// One header of a record. Names may repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// The name; Kafka wants UTF-8, and nobody checks it.
    pub name: &'a [u8],
    /// The value, or null.
    pub value: Option<&'a [u8]>,
    /// Where it lies in the record's body.
    pub(crate) places: HeaderPlaces,
}

/// Where the parts of a header lie in its record's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeaderPlaces {
    /// Where the name's length stands.
    pub(crate) name: usize,
    /// Where the value's length stands.
    pub(crate) value: usize,
    /// Where it ends.
    pub(crate) end: usize,
}

/// The headers of a record, in order, duplicates too.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    fields: Fields<'a>,
    left: u32,
    /// How long the record's body is.
    body_bytes: usize,
}

/// Where the first record of `plain` ends, if all of it is there.
///
/// # Errors
/// [`BatchError::Records`] where the length is no length of a record.
pub(crate) fn frame(plain: &[u8]) -> Result<Option<(usize, usize)>, BatchError> {
    let mut fields = Fields { rest: plain };
    let length = match fields.varint() {
        Ok(length) => length,
        Err(_) if plain.len() < VARINT_BYTES_MAX => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length >= RECORD_BYTES_MIN - 1)
        .ok_or(BatchError::Records { what: "a record's length is too small" })?;
    let start = plain.len().saturating_sub(fields.rest.len());
    let end = start.saturating_add(length);
    Ok((end <= plain.len()).then_some((start, end)))
}

impl<'a> Record<'a> {
    /// Reads a record from `body`: what follows its length, and no more.
    ///
    /// # Errors
    /// [`BatchError::Records`] where a field does not fit, or bytes are left over.
    pub fn read(body: &'a [u8]) -> Result<Self, BatchError> {
        let mut fields = Fields { rest: body };
        let attributes = i8::from_be_bytes([fields.byte()?]);
        let timestamp_delta = fields.varlong()?;
        let offset_delta = fields.varint()?;
        let key_at = fields.place(body.len());
        let key = fields.nullable()?;
        let value_at = fields.place(body.len());
        let value = fields.nullable()?;
        let header_count_at = fields.place(body.len());
        let header_count = u32::try_from(fields.varint()?)
            .map_err(|_| BatchError::Records { what: "a record counts headers below zero" })?;
        let headers_at = fields.place(body.len());
        let record = Self {
            attributes,
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers: fields.rest,
            header_count,
            body,
            places: Places {
                key: key_at,
                value: value_at,
                header_count: header_count_at,
                headers: headers_at,
            },
        };
        let mut headers = record.headers();
        for header in &mut headers {
            header?;
        }
        if headers.fields.rest.is_empty() {
            Ok(record)
        } else {
            Err(BatchError::Records { what: "bytes follow a record's headers" })
        }
    }

    /// The headers in order. Each costs at least two bytes, so a false count ends in an error soon.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        let fields = Fields { rest: self.headers };
        Headers { fields, left: self.header_count, body_bytes: self.body.len() }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<RecordHeader<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let header = self.fields.header(self.body_bytes);
        if header.is_err() {
            self.left = 0;
        }
        Some(header)
    }
}

/// A bounded reader over the fields of one record.
#[derive(Clone, Debug)]
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn byte(&mut self) -> Result<u8, BatchError> {
        let (first, rest) = self.rest.split_first().ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(*first)
    }

    fn varint(&mut self) -> Result<i32, BatchError> {
        let raw = match self.short() {
            Some(raw) => raw,
            None => u32::try_from(self.unsigned(VARINT_BYTES_MAX)?).map_err(|_| VARINT)?,
        };
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    fn varlong(&mut self) -> Result<i64, BatchError> {
        let raw = match self.short() {
            Some(raw) => u64::from(raw),
            None => self.unsigned(VARLONG_BYTES_MAX)?,
        };
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// A number of one or two bytes, as most are: the loop of [`Fields::unsigned`] would cost as much as the rest of the
    /// record.
    fn short(&mut self) -> Option<u32> {
        match *self.rest {
            [first, ref rest @ ..] if first < 0x80 => {
                self.rest = rest;
                Some(u32::from(first))
            }
            [first, second, ref rest @ ..] if second < 0x80 => {
                self.rest = rest;
                Some(u32::from(first & 0x7f) | u32::from(second) << 7)
            }
            _ => None,
        }
    }

    fn unsigned(&mut self, bytes_max: usize) -> Result<u64, BatchError> {
        let mut value = 0_u64;
        for index in 0..bytes_max {
            let byte = self.byte()?;
            let shift = u32::try_from(index.saturating_mul(7)).map_err(|_| VARINT)?;
            let bits = u64::from(byte & 0x7f);
            value |= bits.checked_shl(shift).filter(|put| put >> shift == bits).ok_or(VARINT)?;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(VARINT)
    }

    fn nullable(&mut self) -> Result<Option<&'a [u8]>, BatchError> {
        let Ok(length) = usize::try_from(self.varint()?) else { return Ok(None) };
        self.take(length).map(Some)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], BatchError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn header(&mut self, body_bytes: usize) -> Result<RecordHeader<'a>, BatchError> {
        let name_at = self.place(body_bytes);
        let length = usize::try_from(self.varint()?)
            .map_err(|_| BatchError::Records { what: "a header's name is null" })?;
        let name = self.take(length)?;
        let value_at = self.place(body_bytes);
        let value = self.nullable()?;
        let end = self.place(body_bytes);
        Ok(RecordHeader {
            name,
            value,
            places: HeaderPlaces { name: name_at, value: value_at, end },
        })
    }

    /// How far a body of `body_bytes`, of which these fields are the rest, was read.
    fn place(&self, body_bytes: usize) -> usize {
        body_bytes.saturating_sub(self.rest.len())
    }
}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_unsigned(out, u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()));
}

/// Puts a varint in the place of the one at `place`; what follows it moves where the new one is of another size.
pub(crate) fn replace_varint(out: &mut Vec<u8>, place: Range<usize>, value: i32) {
    let mut bytes = [0; VARINT_BYTES_MAX];
    let mut left = ((value << 1) ^ (value >> 31)).cast_unsigned();
    let mut size = 0_usize;
    for byte in &mut bytes {
        let [low, ..] = left.to_le_bytes();
        left >>= 7;
        size = size.saturating_add(1);
        *byte = if left == 0 { low } else { low | 0x80 };
        if left == 0 {
            break;
        }
    }
    let new = bytes.get(..size).unwrap_or_default();
    match out.get_mut(place.clone()) {
        Some(old) if old.len() == size => {
            old.iter_mut().zip(new).for_each(|(old, new)| *old = *new)
        }
        _ => drop(out.splice(place, new.iter().copied())),
    }
}

/// Appends a varlong.
pub(crate) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Appends a length and the bytes, or the length of null.
pub(crate) fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<(), BatchError> {
    let Some(bytes) = bytes else {
        put_varint(out, -1);
        return Ok(());
    };
    let length = i32::try_from(bytes.len())
        .map_err(|_| BatchError::Records { what: "a part of a record outgrows 2 GiB" })?;
    put_varint(out, length);
    out.extend_from_slice(bytes);
    Ok(())
}

fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

const VARINT_BYTES_MAX: usize = 5;
const VARLONG_BYTES_MAX: usize = 10;
const CUT_SHORT: BatchError = BatchError::Records { what: "a record is cut short" };
const VARINT: BatchError = BatchError::Records { what: "a varint is too long" };
