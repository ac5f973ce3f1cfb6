//! Bounded reading and writing of the wire's primitives.
//!
//! A [`Reader`] knows two ends: that of what it may read (the frame, or the tagged field it is in),
//! and that of the bytes that are here. Reading beyond the first is an error of the peer, beyond
//! the second only a matter of waiting.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use thiserror::Error;

/// Why bytes are not what the protocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// A field reaches beyond the frame or the tagged field around it.
    #[error("{need} bytes at {at} reach beyond the end at {end}")]
    Truncated {
        /// Where the field starts.
        at: usize,
        /// Its size.
        need: usize,
        /// Where it had to end.
        end: usize,
    },
    /// The bytes have not arrived yet; nothing was consumed.
    #[error("{need} bytes at {at} have not arrived")]
    Incomplete {
        /// Where the field starts.
        at: usize,
        /// Its size.
        need: usize,
    },
    /// A length that no version allows: below -1, or null where null is not allowed.
    #[error("length {length} at {at} is not allowed")]
    Length {
        /// Where the length stands.
        at: usize,
        /// What it says.
        length: i64,
    },
    /// A variable-length integer that does not fit 32 bits.
    #[error("variable-length integer at {at} is too long")]
    Varint {
        /// Where it starts.
        at: usize,
    },
    /// A string that is not UTF-8.
    #[error("string at {at} is not utf-8")]
    Utf8 {
        /// Where its bytes start.
        at: usize,
    },
    /// A boolean that is neither 0 nor 1.
    #[error("boolean at {at} is {value}")]
    Bool {
        /// Where it stands.
        at: usize,
        /// What it is.
        value: i8,
    },
}

/// How lengths and counts are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Fixed integers, -1 for null.
    #[default]
    Classic,
    /// Unsigned varints of one more, 0 for null (KIP-482).
    Compact,
}

/// A cursor over a frame of which a window is here.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    base: usize,
    at: usize,
    end: usize,
}

/// A length-prefixed field: where the prefix, the content, and its end are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefixed {
    /// Where the length stands.
    pub at: u32,
    /// Where the content starts.
    pub start: u32,
    /// Where the content ends.
    pub end: u32,
    /// How the length is written.
    pub form: Form,
    /// Whether it is null, which is not the same as empty.
    pub null: bool,
}

impl<'a> Reader<'a> {
    /// A reader of all of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, base: 0, at: 0, end: bytes.len() }
    }

    /// A reader at `at` of a frame that ends at `end`, of which the bytes from `base` on are here
    /// as `bytes`.
    #[must_use]
    pub fn window(bytes: &'a [u8], base: usize, at: usize, end: usize) -> Self {
        Self { bytes, base, at, end }
    }

    /// The position in the frame.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// The bytes until the end, here or not.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// Passes over `size` bytes, which need not be here.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn skip(&mut self, size: usize) -> Result<(), WireError> {
        if size > self.remaining() {
            return Err(WireError::Truncated { at: self.at, need: size, end: self.end });
        }
        self.at = self.at.saturating_add(size);
        Ok(())
    }

    /// The next `size` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`], [`WireError::Incomplete`].
    pub fn take(&mut self, size: usize) -> Result<&'a [u8], WireError> {
        let here = self.here(size)?;
        let taken = here.get(..size).ok_or(WireError::Incomplete { at: self.at, need: size })?;
        self.at = self.at.saturating_add(size);
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`], [`WireError::Incomplete`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let here = self.here(N)?;
        let taken = here.first_chunk().ok_or(WireError::Incomplete { at: self.at, need: N })?;
        self.at = self.at.saturating_add(N);
        Ok(*taken)
    }

    /// A signed byte.
    ///
    /// # Errors
    /// As [`Reader::array`].
    pub fn int8(&mut self) -> Result<i8, WireError> {
        self.array().map(i8::from_be_bytes)
    }

    /// A 16-bit integer.
    ///
    /// # Errors
    /// As [`Reader::array`].
    pub fn int16(&mut self) -> Result<i16, WireError> {
        self.array().map(i16::from_be_bytes)
    }

    /// A 32-bit integer.
    ///
    /// # Errors
    /// As [`Reader::array`].
    pub fn int32(&mut self) -> Result<i32, WireError> {
        self.array().map(i32::from_be_bytes)
    }

    /// A 64-bit integer.
    ///
    /// # Errors
    /// As [`Reader::array`].
    pub fn int64(&mut self) -> Result<i64, WireError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A boolean.
    ///
    /// # Errors
    /// As [`Reader::array`], and [`WireError::Bool`] for anything but 0 and 1.
    pub fn boolean(&mut self) -> Result<bool, WireError> {
        let at = self.at;
        match self.int8()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(WireError::Bool { at, value }),
        }
    }

    /// An unsigned variable-length integer of at most 32 bits.
    ///
    /// # Errors
    /// As [`Reader::array`], and [`WireError::Varint`].
    pub fn uvarint(&mut self) -> Result<u32, WireError> {
        let start = *self;
        // Nearly all lengths and counts fit the first byte.
        if let Some(byte) = self.here(1)?.first().filter(|byte| **byte < 0x80) {
            self.at = self.at.saturating_add(1);
            return Ok(u32::from(*byte));
        }
        let mut value = 0_u32;
        for shift in [0_u32, 7, 14, 21, 28] {
            let byte = match self.array::<1>() {
                Ok([byte]) => byte,
                Err(error) => {
                    *self = start;
                    return Err(error);
                }
            };
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        *self = start;
        Err(WireError::Varint { at: start.at })
    }

    /// The count of an array: `None` where it is null.
    ///
    /// # Errors
    /// As [`Reader::array`], and [`WireError::Length`], [`WireError::Varint`].
    pub fn count(&mut self, form: Form) -> Result<Option<usize>, WireError> {
        let at = self.at;
        let count = match form {
            Form::Compact => i64::from(self.uvarint()?).saturating_sub(1),
            Form::Classic => i64::from(self.int32()?),
        };
        length(at, count)
    }

    /// A string, whole and UTF-8; its place and its text.
    ///
    /// # Errors
    /// As [`Reader::take`], and [`WireError::Length`], [`WireError::Varint`], [`WireError::Utf8`].
    pub fn string(&mut self, form: Form) -> Result<(Prefixed, Option<&'a str>), WireError> {
        let start = *self;
        match self.string_or_stop(form) {
            Ok(read) => Ok(read),
            Err(error) => {
                *self = start;
                Err(error)
            }
        }
    }

    /// Bytes or records: their place. The content is passed over and need not be here.
    ///
    /// # Errors
    /// As [`Reader::skip`], and [`WireError::Length`], [`WireError::Varint`].
    pub fn bytes(&mut self, form: Form) -> Result<Prefixed, WireError> {
        let start = *self;
        let at = self.at;
        let Some(size) = self.count(form)? else {
            return prefixed(at, self.at, self.at, form, true);
        };
        let content = self.at;
        if let Err(error) = self.skip(size) {
            *self = start;
            return Err(error);
        }
        prefixed(at, content, self.at, form, false)
    }

    fn string_or_stop(&mut self, form: Form) -> Result<(Prefixed, Option<&'a str>), WireError> {
        let at = self.at;
        let size = match form {
            Form::Compact => i64::from(self.uvarint()?).saturating_sub(1),
            Form::Classic => i64::from(self.int16()?),
        };
        if size > STRING_SIZE_BYTES_MAX {
            return Err(WireError::Length { at, length: size });
        }
        let Some(size) = length(at, size)? else {
            return Ok((prefixed(at, self.at, self.at, form, true)?, None));
        };
        let content = self.at;
        let text =
            std::str::from_utf8(self.take(size)?).map_err(|_| WireError::Utf8 { at: content })?;
        Ok((prefixed(at, content, self.at, form, false)?, Some(text)))
    }

    /// The bytes from the position on, if `size` more may be read.
    fn here(&self, size: usize) -> Result<&'a [u8], WireError> {
        if size > self.remaining() {
            return Err(WireError::Truncated { at: self.at, need: size, end: self.end });
        }
        self.at
            .checked_sub(self.base)
            .and_then(|from| self.bytes.get(from..))
            .ok_or(WireError::Incomplete { at: self.at, need: size })
    }
}

impl Default for Prefixed {
    /// A field that a message does not have.
    fn default() -> Self {
        Self { at: 0, start: 0, end: 0, form: Form::Classic, null: true }
    }
}

impl Prefixed {
    /// The content within `frame`, empty where it is null.
    #[must_use]
    pub fn bytes<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        frame.get(index(self.start)..index(self.end)).unwrap_or_default()
    }

    /// The text within `frame`, `None` where it is null.
    #[must_use]
    pub fn text<'a>(&self, frame: &'a [u8]) -> Option<&'a str> {
        if self.null {
            return None;
        }
        std::str::from_utf8(frame.get(index(self.start)..index(self.end))?).ok()
    }

    /// The size of the content in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        index(self.end).saturating_sub(index(self.start))
    }
}

/// A position as an index. Positions are 32 bits wide so that what is found stays small.
#[must_use]
pub fn index(position: u32) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// An index as a position.
///
/// # Errors
/// [`WireError::Truncated`] beyond 32 bits, which no frame reaches.
pub fn position(index: usize) -> Result<u32, WireError> {
    u32::try_from(index).map_err(|_| WireError::Truncated { at: index, need: 0, end: index })
}

/// Appends an unsigned variable-length integer.
pub fn put_uvarint(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends the count of an array or the length of bytes; `None` is null.
pub fn put_count(out: &mut Vec<u8>, form: Form, count: Option<usize>) {
    match form {
        Form::Compact => {
            put_uvarint(out, count.map_or(0, |count| narrow(count).saturating_add(1)));
        }
        Form::Classic => {
            let count = count.map_or(-1, |count| i32::try_from(count).unwrap_or(i32::MAX));
            out.extend_from_slice(&count.to_be_bytes());
        }
    }
}

/// Appends a string; `None` is null. Text beyond what a length can say is cut at a character.
pub fn put_string(out: &mut Vec<u8>, form: Form, text: Option<&str>) {
    let text = text.map(|text| text.get(..text.floor_char_boundary(0x7fff)).unwrap_or_default());
    match form {
        Form::Compact => put_count(out, form, text.map(str::len)),
        Form::Classic => {
            let size = text.map_or(-1, |text| i16::try_from(text.len()).unwrap_or(i16::MAX));
            out.extend_from_slice(&size.to_be_bytes());
        }
    }
    out.extend_from_slice(text.unwrap_or_default().as_bytes());
}

/// Appends bytes or records; `None` is null.
pub fn put_bytes(out: &mut Vec<u8>, form: Form, bytes: Option<&[u8]>) {
    put_count(out, form, bytes.map(<[u8]>::len));
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn length(at: usize, length: i64) -> Result<Option<usize>, WireError> {
    if length == -1 {
        return Ok(None);
    }
    usize::try_from(length).map(Some).map_err(|_| WireError::Length { at, length })
}

fn prefixed(
    at: usize,
    start: usize,
    end: usize,
    form: Form,
    null: bool,
) -> Result<Prefixed, WireError> {
    Ok(Prefixed { at: position(at)?, start: position(start)?, end: position(end)?, form, null })
}

fn narrow(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Kafka's own bound on the bytes of a string, in either form.
const STRING_SIZE_BYTES_MAX: i64 = 0x7fff;
