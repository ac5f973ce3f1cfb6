//! How a value is masked: what is put in its place.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

/// What stands for a value of which nothing may be seen.
pub const MASKED: &str = "[masked]";
/// What stands for a value that could not be read.
pub const WITHHELD: &[u8] = br#"{"x-masked":"withheld"}"#;
/// The least bytes of a key for [`Method::Hash`].
pub const KEY_BYTES_MIN: usize = 16;

/// How values under one label are masked.
#[derive(Clone, Debug)]
pub enum Method {
    /// `[masked]`, whatever the value was.
    Redact,
    /// A star for each character but the last `n`. Never more than half of the characters stay, so
    /// that a short value is not shown whole.
    KeepLast {
        /// How many characters stay at most.
        n: usize,
    },
    /// 32 hexadecimal digits of a keyed hash: the same for the same text under the same label.
    Hash(KeyedHash),
}

/// HMAC-SHA-256 over label, a zero byte and text, cut to 16 bytes.
#[derive(Clone)]
pub struct KeyedHash {
    /// The state after the label, so that each value costs only its own bytes.
    state: Hmac<Sha256>,
}

/// How what is masked stands in the document.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// Text without escapes: the content of a string, or a literal.
    Text,
    /// The content of a JSON string that has escapes.
    Escaped,
    /// `true` or `false`: any character that stays would tell which.
    Bool,
    /// An object, or a string that could not be entered.
    Whole,
}

impl KeyedHash {
    /// Prepares the hash of one label.
    ///
    /// Returns `None` where the key is shorter than [`KEY_BYTES_MIN`].
    #[must_use]
    pub fn new(key: &SecretSlice<u8>, label: &str) -> Option<Self> {
        let key = key.expose_secret();
        if key.len() < KEY_BYTES_MIN {
            return None;
        }
        let mut state = Hmac::<Sha256>::new_from_slice(key).ok()?;
        state.update(label.as_bytes());
        state.update(&[0]);
        Some(Self { state })
    }

    fn write(&self, text: &[u8], out: &mut Vec<u8>) {
        let mut state = self.state.clone();
        state.update(text);
        let digest = state.finalize().into_bytes();
        for byte in digest.iter().take(HASH_BYTES) {
            for digit in [byte >> 4, byte & 0x0f] {
                out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
            }
        }
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyedHash(..)")
    }
}

impl Method {
    /// The name in mask rules.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Redact => "redact",
            Self::KeepLast { .. } => "keep-last",
            Self::Hash(_) => "hash",
        }
    }

    /// Appends what stands for `original`: bytes that need no escape in a JSON string, or had it
    /// already.
    pub(super) fn write(
        &self,
        form: Form,
        original: &[u8],
        decoded: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) {
        match (self, form) {
            (Self::KeepLast { n }, Form::Text) => {
                let count = original.iter().filter(|byte| !is_continuation(**byte)).count();
                write_tail(original, count, *n, false, out);
            }
            (Self::KeepLast { n }, Form::Escaped) => {
                let mut count = 0_usize;
                let mut rest = original;
                while let Some(after) = after_char(rest, true) {
                    rest = after;
                    count = count.saturating_add(1);
                }
                write_tail(original, count, *n, true, out);
            }
            (Self::Redact, _) | (Self::KeepLast { .. }, _) => {
                out.extend_from_slice(MASKED.as_bytes());
            }
            (Self::Hash(hash), Form::Escaped) => {
                decoded.clear();
                super::text::unescape(original, decoded);
                hash.write(decoded, out);
            }
            (Self::Hash(hash), Form::Text | Form::Bool | Form::Whole) => hash.write(original, out),
        }
    }
}

/// Appends stars for all of the `count` characters in `raw` but the last ones, and these as they
/// are.
fn write_tail(raw: &[u8], count: usize, n: usize, escaped: bool, out: &mut Vec<u8>) {
    let kept = n.min(count / 2);
    let starred = count.saturating_sub(kept);
    out.extend(std::iter::repeat_n(b'*', starred.min(STARS_MAX)));
    let mut rest = raw;
    for _ in 0..starred {
        rest = after_char(rest, escaped).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// What follows the first character of `raw`; `None` at its end.
fn after_char(raw: &[u8], escaped: bool) -> Option<&[u8]> {
    let (&first, rest) = raw.split_first()?;
    if escaped && first == b'\\' {
        return Some(super::text::after_escape(raw));
    }
    let continuation = rest.iter().take_while(|byte| is_continuation(**byte)).count();
    rest.get(continuation..)
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

const HASH_BYTES: usize = 16;
/// More stars than this say nothing more.
const STARS_MAX: usize = 64;
