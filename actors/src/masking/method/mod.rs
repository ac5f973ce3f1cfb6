//! How a value is masked: what is put in its place.

mod date;
mod encrypt;
mod keyed;

pub use date::{Epoch, Precision, TruncateDate};
pub use encrypt::{Alphabet, Encrypt};
pub use keyed::{KEY_BYTES_MIN, KeyedHash, Keys, KeysError, Token};

/// What stands for a value of which nothing may be seen.
pub const MASKED: &str = "[masked]";
/// What stands for a value that could not be read.
pub const WITHHELD: &[u8] = br#"{"x-masked":"withheld"}"#;

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
    /// A short name that stands for the text, and tells by which key.
    Token(Token),
    /// Format-preserving encryption: other characters of the same kinds at the same places.
    Encrypt(Encrypt),
    /// A date without its finer parts.
    TruncateDate(TruncateDate),
    /// `null`.
    Nullify,
    /// Nothing: the member, element or header is left out.
    Drop,
}

/// A method, and whether what it puts keeps the type of the value.
#[derive(Clone, Debug)]
pub struct Treatment {
    /// The method.
    pub method: Method,
    /// Whether a number stays a number, a boolean a boolean, an object an object.
    pub keeps_type: bool,
}

/// How what is masked stands in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Text without escapes.
    Text,
    /// The content of a JSON string that has escapes.
    Escaped,
    /// A number, as it is written.
    Number,
    /// `true` or `false`: any character that stays would tell which.
    Bool,
    /// An object.
    Object,
    /// A string that could not be entered, or bytes that are no text.
    Opaque,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Text that needs no escape within a JSON string.
    Text,
    /// A JSON literal, which stands without quotes.
    Literal,
}

impl Method {
    /// The names of all methods in mask rules.
    pub const NAMES: [&str; 8] =
        ["redact", "keep-last", "hash", "token", "fpe", "truncate-date", "nullify", "drop"];

    /// Its name in mask rules.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Redact => "redact",
            Self::KeepLast { .. } => "keep-last",
            Self::Hash(_) => "hash",
            Self::Token(_) => "token",
            Self::Encrypt(_) => "fpe",
            Self::TruncateDate(_) => "truncate-date",
            Self::Nullify => "nullify",
            Self::Drop => "drop",
        }
    }

    /// Whether values are left out rather than replaced.
    #[must_use]
    pub fn is_drop(&self) -> bool {
        matches!(self, Self::Drop)
    }
}

impl Treatment {
    /// Appends what stands for a whole value, `original`.
    pub(super) fn write(
        &self,
        form: Form,
        original: &[u8],
        decoded: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Written {
        match (&self.method, form) {
            (Method::Nullify | Method::Drop, _) => {
                out.extend_from_slice(b"null");
                Written::Literal
            }
            (Method::TruncateDate(date), Form::Number) if date.write_number(original, out) => {
                Written::Literal
            }
            (_, Form::Number | Form::Bool | Form::Object) if self.keeps_type => {
                match form {
                    Form::Number => self.write_number(original, out),
                    Form::Bool => out.extend_from_slice(b"false"),
                    _ => out.extend_from_slice(b"{}"),
                }
                Written::Literal
            }
            _ => {
                self.write_text(form, original, decoded, out);
                Written::Text
            }
        }
    }

    /// Appends what stands for a part of a text: nothing, where the method leaves values out.
    pub(super) fn write_part(
        &self,
        form: Form,
        original: &[u8],
        decoded: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) {
        if !matches!(self.method, Method::Nullify | Method::Drop) {
            self.write_text(form, original, decoded, out);
        }
    }

    fn write_text(&self, form: Form, original: &[u8], decoded: &mut Vec<u8>, out: &mut Vec<u8>) {
        let unescaped = |decoded: &mut Vec<u8>| {
            decoded.clear();
            super::text::unescape(original, decoded);
        };
        let text = match (&self.method, form) {
            // Kept characters keep their escapes.
            (Method::KeepLast { n }, Form::Escaped) => {
                let mut count = 0_usize;
                let mut rest = original;
                while let Some(after) = after_char(rest, true) {
                    rest = after;
                    count = count.saturating_add(1);
                }
                return write_tail(original, count, *n, true, out);
            }
            (Method::Redact, _) => original,
            (_, Form::Escaped) => {
                unescaped(decoded);
                decoded.as_slice()
            }
            _ => original,
        };
        let is_shown_in_part = !matches!(form, Form::Bool | Form::Object | Form::Opaque);
        let written = match &self.method {
            Method::Hash(hash) => hash.write(text, out),
            Method::Token(token) => token.write(text, out),
            Method::KeepLast { n } if is_shown_in_part => {
                let continuation = || text.iter().filter(|byte| is_continuation(**byte)).count();
                let more = if text.is_ascii() { 0 } else { continuation() };
                write_tail(text, text.len().saturating_sub(more), *n, false, out);
                true
            }
            Method::Encrypt(encrypt) if is_shown_in_part => encrypt.write(text, out),
            Method::TruncateDate(date) if is_shown_in_part => date.write(text, out),
            _ => false,
        };
        if !written {
            out.extend_from_slice(MASKED.as_bytes());
        }
    }

    /// The number that stands for a whole number's decimal text, if it is none below 0 and of 64 bits.
    pub(super) fn number(&self, digits: &[u8]) -> Option<u64> {
        let mut written = Vec::new();
        self.write_number(digits, &mut written);
        std::str::from_utf8(&written).ok()?.parse().ok()
    }

    /// Appends the number that stands for a number; 0 where the method has none for it.
    fn write_number(&self, literal: &[u8], out: &mut Vec<u8>) {
        let digits = literal.strip_prefix(b"-").unwrap_or(literal);
        let is_whole = digits.iter().all(u8::is_ascii_digit);
        let number = match &self.method {
            Method::Hash(hash) => hash.number(literal),
            Method::Token(token) => token.number(literal),
            Method::KeepLast { n } if is_whole => {
                let kept = (*n).min(digits.len() / 2);
                let tail = digits.get(digits.len().saturating_sub(kept)..).unwrap_or_default();
                std::str::from_utf8(tail).ok().and_then(|tail| tail.parse().ok()).unwrap_or(0)
            }
            Method::Encrypt(encrypt) if is_whole => {
                if digits.len() < literal.len() {
                    out.push(b'-');
                }
                if !encrypt.write_number(digits, out) {
                    out.push(b'0');
                }
                return;
            }
            _ => 0,
        };
        out.extend_from_slice(number.to_string().as_bytes());
    }
}

/// Appends stars for all of the `count` characters in `raw` but the last ones, and these as they
/// are.
fn write_tail(raw: &[u8], count: usize, n: usize, escaped: bool, out: &mut Vec<u8>) {
    let kept = n.min(count / 2);
    let starred = count.saturating_sub(kept);
    out.resize(out.len().saturating_add(starred.min(STARS_MAX)), b'*');
    if raw.len() == count {
        // A byte is a character.
        out.extend_from_slice(raw.get(starred..).unwrap_or_default());
        return;
    }
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

/// More stars than this say nothing more.
const STARS_MAX: usize = 64;
