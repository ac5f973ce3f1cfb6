//! What each method puts in the place of a value of each type. What is masked stays a value of its
//! type, so that readers with the schema can read it.
//!
//! | type | `hash`, `token` | any other method |
//! |---|---|---|
//! | text | as in JSON | as in JSON; empty where the method leaves values out |
//! | integer, date, time | a number below the type's bound, by the hash of its decimal text | 0 |
//! | floating point | a whole number that it holds exactly, likewise | 0 |
//! | decimal | a number of its digits and bytes, likewise | 0 |
//! | boolean, enum | false, the first symbol | false, the first symbol |
//! | bytes | the 16 bytes of the hash | none |
//! | fixed | the bytes of the hash, over and over | zeros |
//! | uuid | the hash as a UUID of version 8 (RFC 9562) | all zeros |
//! | big-decimal | 0 | 0 |
//!
//! Of integers, dates and decimals `keep-last` and `fpe` put the number that they put in JSON with `type: keep`, and `truncate-date`
//! the truncated one where the label says what it counts; 0 where that does not fit, or is below 0.
//!
//! What a boolean or an enum was is guessed from its hash at once, so there is none.

use super::super::method::{Form, Method, Treatment};

/// A type whose values are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Text,
    /// A UUID as text.
    UuidText,
    Bytes,
    /// A UUID as its 16 bytes.
    UuidBytes,
    /// So many bytes as the schema says.
    Fixed,
    /// A number of so many digits at most, in two's complement, big endian.
    Decimal {
        digits: u32,
    },
    /// The same in so many bytes as the schema says.
    DecimalFixed {
        digits: u32,
    },
    /// A decimal that brings its scale: a length, the number, the scale.
    BigDecimal,
}

impl Leaf {
    /// Whether values are UTF-8, or else no values.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::UuidText)
    }

    /// Whether a part of a value can be masked, because any text or bytes are a value again.
    pub(super) fn is_free(self) -> bool {
        matches!(self, Self::Text | Self::Bytes)
    }

    pub(super) fn is_decimal(self) -> bool {
        matches!(self, Self::Decimal { .. } | Self::DecimalFixed { .. })
    }

    /// Appends what stands for `original`, without a length in front.
    pub(super) fn write(
        self,
        treatment: &Treatment,
        form: Form,
        original: &[u8],
        out: &mut Vec<u8>,
    ) {
        match self {
            Self::Text => treatment.write_part(form, original, &mut Vec::new(), out),
            Self::UuidText => write_uuid(uuid(treatment, original), out),
            Self::UuidBytes => out.extend_from_slice(&uuid(treatment, original)),
            Self::Bytes => out.extend(hash(treatment, original).into_iter().flatten()),
            Self::Fixed => {
                let bytes = hash(treatment, original).unwrap_or_default();
                out.extend(bytes.iter().cycle().take(original.len()));
            }
            Self::Decimal { digits } => {
                let number = decimal(treatment, original, digits, i64::BITS / 8).to_be_bytes();
                // No more bytes than it needs, and one at least, whose first bit is its sign.
                let zeros = number.iter().take_while(|byte| **byte == 0).count();
                let signed = number.get(zeros).is_none_or(|first| *first >= 0x80);
                let start = if signed { zeros.saturating_sub(1) } else { zeros };
                out.extend_from_slice(number.get(start..).unwrap_or_default());
            }
            Self::DecimalFixed { digits } => {
                let size = u32::try_from(original.len()).unwrap_or(u32::MAX);
                let number = decimal(treatment, original, digits, size).to_be_bytes();
                let zeros = original.len().saturating_sub(number.len());
                out.extend(std::iter::repeat_n(0, zeros));
                let start = number.len().saturating_sub(original.len());
                out.extend_from_slice(number.get(start..).unwrap_or_default());
            }
            // One byte, which is 0, and a scale of 0.
            Self::BigDecimal => out.extend_from_slice(&[2, 0, 0]),
        }
    }
}

/// What stands for a number whose text is `digits`: a whole number below `below`.
pub(super) fn number(treatment: &Treatment, digits: &[u8], below: u64) -> u64 {
    let own = match &treatment.method {
        Method::KeepLast { .. } | Method::Encrypt(_) => treatment.number(digits),
        Method::TruncateDate(date) => date.number_of(digits),
        _ => {
            let first = hash(treatment, digits).and_then(|hash| hash.first_chunk().copied());
            first.map(u64::from_be_bytes).and_then(|number| number.checked_rem(below))
        }
    };
    own.filter(|number| *number < below).unwrap_or(0)
}

/// The whole number, below 2^53, as floating point.
pub(super) fn double(number: u64) -> f64 {
    let (high, low) = halves(number);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

/// The whole number, below 2^24, as floating point.
pub(super) fn float(number: u64) -> f32 {
    let low = u32::try_from(number).unwrap_or(0).to_be_bytes();
    let [_, high, middle, low] = low;
    f32::from(high) * 65_536.0 + f32::from(u16::from_be_bytes([middle, low]))
}

/// Appends a number's decimal text.
pub(super) fn write_digits(value: i128, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let start = out.len();
    let mut rest = value.unsigned_abs();
    loop {
        out.push(b'0'.saturating_add(u8::try_from(rest % 10).unwrap_or(0)));
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.get_mut(start..).unwrap_or_default().reverse();
}

/// The number that a decimal's bytes are, without its scale; `None` beyond 128 bits.
pub(super) fn unscaled(bytes: &[u8]) -> Option<i128> {
    if bytes.len() > 16 {
        return None;
    }
    let first = *bytes.first()?;
    let mut number = [if first < 0x80 { 0 } else { 0xff }; 16];
    let start = number.len().checked_sub(bytes.len())?;
    number.get_mut(start..)?.copy_from_slice(bytes);
    Some(i128::from_be_bytes(number))
}

/// The hash of a text as bytes, where the method hashes.
fn hash(treatment: &Treatment, text: &[u8]) -> Option<[u8; 16]> {
    let digest = match &treatment.method {
        Method::Hash(hash) => hash.digest(text),
        Method::Token(token) => token.digest(text),
        _ => return None,
    };
    digest.first_chunk().copied()
}

fn uuid(treatment: &Treatment, original: &[u8]) -> [u8; 16] {
    let Some(mut bytes) = hash(treatment, original) else { return [0; 16] };
    if let Some(version) = bytes.get_mut(6) {
        *version = *version & 0x0f | 0x80;
    }
    if let Some(variant) = bytes.get_mut(8) {
        *variant = *variant & 0x3f | 0x80;
    }
    bytes
}

fn write_uuid(uuid: [u8; 16], out: &mut Vec<u8>) {
    out.extend_from_slice(super::frame::SchemaId::Guid(uuid).to_string().as_bytes());
}

/// Whether a text is a UUID as it is written: 32 hexadecimal digits with four dashes.
pub(super) fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A number of at most so many digits that fits in so many bytes with its sign.
fn decimal(treatment: &Treatment, original: &[u8], digits: u32, bytes: u32) -> u64 {
    let by_digits = 10_u64.checked_pow(digits).unwrap_or(SIGNED_BELOW);
    let bits = bytes.saturating_mul(8).saturating_sub(1);
    let by_bytes = 1_u64.checked_shl(bits).unwrap_or(SIGNED_BELOW);
    let below = by_digits.min(by_bytes).min(SIGNED_BELOW);
    let mut text = Vec::new();
    match unscaled(original) {
        Some(value) => write_digits(value, &mut text),
        None => text.extend_from_slice(original),
    }
    number(treatment, &text, below)
}

fn halves(number: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

/// One more than the greatest number of 32 bits with a sign.
pub(super) const INT_BELOW: u64 = 1 << 31;
/// One more than the greatest number of 64 bits with a sign.
pub(super) const SIGNED_BELOW: u64 = 1 << 63;
/// All whole numbers below are exact in 32 bits of floating point.
pub(super) const FLOAT_BELOW: u64 = 1 << 24;
/// All whole numbers below are exact in 64 bits of floating point.
pub(super) const DOUBLE_BELOW: u64 = 1 << 53;
/// The seconds from 1970 to the end of the year 9999, which is as far as many readers go.
pub(super) const SECONDS_BELOW: u64 = 253_402_300_800;
