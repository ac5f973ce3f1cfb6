//! JSON's escapes: decoding them, skipping them, writing them.

/// Appends the text of a string's content to `out`. The content has been validated; what breaks the
/// rules is left out.
pub(super) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    decode(raw, |_, bytes| out.extend_from_slice(bytes));
}

/// Appends the text of a string's content to `out`, and for each of its bytes to `map` where in
/// `raw` it came from, plus `raw_at`; at the end one more for the end.
pub(super) fn unescape_mapped(raw: &[u8], raw_at: u32, out: &mut Vec<u8>, map: &mut Vec<u32>) {
    decode(raw, |at, bytes| {
        out.extend_from_slice(bytes);
        let at = raw_at.saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
        map.extend(std::iter::repeat_n(at, bytes.len()));
    });
    map.push(raw_at.saturating_add(u32::try_from(raw.len()).unwrap_or(u32::MAX)));
}

/// Appends `text` as the content of a string: what need not be escaped is left.
pub(super) fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if byte == b'"' || byte == b'\\' {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// What follows the escape at the start of `raw`: two characters, six, or twelve for a pair of
/// surrogates.
pub(super) fn after_escape(raw: &[u8]) -> &[u8] {
    let length = match raw.get(1) {
        Some(b'u') => match unit(raw, 0) {
            Some(0xd800..=0xdbff) => 12,
            _ => 6,
        },
        _ => 2,
    };
    raw.get(length..).unwrap_or_default()
}

/// The character of the escape at the start of `raw`; `None` where it is none, or half of a pair.
pub(super) fn escaped_char(raw: &[u8]) -> Option<char> {
    let simple = match raw.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let high = unit(raw, 0)?;
            if !(0xd800..=0xdfff).contains(&high) {
                return char::from_u32(high);
            }
            if high > 0xdbff || raw.get(6..8)? != b"\\u" {
                return None;
            }
            let low = unit(raw, 6).filter(|low| (0xdc00..=0xdfff).contains(low))?;
            return char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
        }
        _ => return None,
    };
    Some(simple)
}

/// The four hexadecimal digits of the `\u` escape at `at`.
fn unit(raw: &[u8], at: usize) -> Option<u32> {
    let digits = raw.get(at.checked_add(2)?..)?.first_chunk::<4>()?;
    let mut value = 0_u32;
    for digit in digits {
        value = value << 4 | char::from(*digit).to_digit(16)?;
    }
    Some(value)
}

/// Shows `text` each run of decoded bytes, with where in `raw` it begins; bytes of one run are next
/// to one another.
fn decode(raw: &[u8], mut text: impl FnMut(usize, &[u8])) {
    let mut rest = raw;
    while let Some(&first) = rest.first() {
        let at = raw.len().saturating_sub(rest.len());
        if first == b'\\' {
            if let Some(character) = escaped_char(rest) {
                text(at, character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            rest = after_escape(rest);
        } else {
            text(at, &[first]);
            rest = rest.get(1..).unwrap_or_default();
        }
    }
}

/// Whether `text` is one JSON number and nothing else.
pub(super) fn is_number(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, rest) = split_digits(rest);
    if whole.is_empty() || (whole.len() > 1 && whole.first() == Some(&b'0')) {
        return false;
    }
    let rest = match rest.strip_prefix(b".") {
        Some(rest) => match split_digits(rest) {
            ([], _) => return false,
            (_, rest) => rest,
        },
        None => rest,
    };
    let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) else {
        return rest.is_empty();
    };
    let signless = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-"));
    let (digits, rest) = split_digits(signless.unwrap_or(exponent));
    !digits.is_empty() && rest.is_empty()
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at_checked(count).unwrap_or((text, &[]))
}
