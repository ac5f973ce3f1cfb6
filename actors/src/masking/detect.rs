//! Finds payment cards and e-mail addresses in text, however their characters are written.
//!
//! Text is *folded* first: digits of every script become ASCII, dashes, dots and spaces of every
//! kind become one, invisible characters vanish, and each folded byte knows where in the original
//! it came from. Most strings need no folding and cannot hold anything: counting their digits and
//! looking for `@` tells.

use super::fold::{Folded, LETTER};

/// What a detector finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detector {
    /// A payment card number: 13 to 19 digits of a known scheme whose check digit holds.
    PaymentCard,
    /// An e-mail address.
    Email,
}

/// Which detectors are on, each with the mask to use.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Detectors {
    pub(super) card: Option<u16>,
    pub(super) email: Option<u16>,
}

/// A detected stretch of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) mask: u16,
}

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writing {
    /// Whether backslashes are JSON escapes.
    pub(super) escaped: bool,
    /// Whether all bytes are ASCII and none is zero.
    pub(super) ascii: bool,
}

impl Detector {
    /// Every detector, by its name in mask rules.
    pub const NAMES: [(&'static str, Self); 2] =
        [("payment-card", Self::PaymentCard), ("email", Self::Email)];
}

impl Detectors {
    pub(super) fn is_empty(&self) -> bool {
        self.card.is_none() && self.email.is_none()
    }

    /// Whether `text` could hold something: `false` is sure.
    pub(super) fn may_hold(&self, text: &[u8], writing: Writing) -> bool {
        if text.len() < EMAIL_BYTES_MIN || writing.escaped {
            return text.len() >= EMAIL_BYTES_MIN;
        }
        (self.email.is_some() && may_hold_at(text, writing.ascii))
            || (self.card.is_some() && text.len() >= CARD_DIGITS_MIN && may_hold_card(text))
    }

    /// Finds everything in `text`, in order and without overlap.
    pub(super) fn find(
        &self,
        text: &[u8],
        writing: Writing,
        folded: &mut Folded,
        found: &mut Vec<Found>,
    ) {
        found.clear();
        if let Some(b'-' | b'0'..=b'9') = text.first()
            && let Some(mask) = self.number(text).filter(|_| super::text::is_number(text))
        {
            found.push(Found { start: 0, end: text.len(), mask });
            return;
        }
        if !self.may_hold(text, writing) {
            return;
        }
        if writing.ascii && !writing.escaped {
            self.find_in(text, |start, end| (start, end), found);
        } else {
            folded.fold(text, writing.escaped);
            self.find_in(folded.text(), |start, end| folded.original(start, end), found);
        }
        merge(found);
    }

    fn find_in(
        &self,
        text: &[u8],
        original: impl Fn(usize, usize) -> (usize, usize),
        found: &mut Vec<Found>,
    ) {
        if let Some(mask) = self.card {
            find_cards(text, |start, end| {
                let (start, end) = original(start, end);
                found.push(Found { start, end, mask });
            });
        }
        if let Some(mask) = self.email {
            find_emails(text, |start, end| {
                let (start, end) = original(start, end);
                found.push(Found { start, end, mask });
            });
        }
    }

    /// The mask for a number literal that is a card, by its value: `4.111e15` counts as its digits.
    pub(super) fn number(&self, literal: &[u8]) -> Option<u16> {
        let mask = self.card?;
        let may_hold = literal.len() >= CARD_DIGITS_MIN
            || literal.iter().any(|byte| matches!(byte, b'e' | b'E'));
        (may_hold && is_card_number(literal)).then_some(mask)
    }
}

/// Whether a document without escapes could hold a card: 13 digits, or a number with an exponent.
pub(super) fn document_may_hold_card(document: &[u8]) -> bool {
    if may_hold_card(document) {
        return true;
    }
    document.iter().zip(document.iter().skip(1)).fold(false, |exponent, (digit, letter)| {
        exponent | (digit.is_ascii_digit() & (*letter | 0x20 == b'e'))
    })
}

/// Whether a document could hold an at sign.
pub(super) fn may_hold_at(text: &[u8], ascii: bool) -> bool {
    memchr::memchr(b'@', text).is_some()
        || (!ascii && (memchr::memchr(AT_LEAD, text).is_some() || text.contains(&0)))
}

/// Counts what could be a digit: ASCII ones, and first bytes of those of other scripts. One pass
/// without a branch.
fn may_hold_card(text: &[u8]) -> bool {
    // In chunks so that counts of a byte's width do not overflow, which lets the compiler use whole
    // vectors.
    let mut digits = 0_usize;
    for chunk in text.chunks(128) {
        let mut count = 0_u8;
        for byte in chunk {
            let other =
                matches!(byte, 0xc2 | 0xd9 | 0xdb | 0xdf | 0xe0 | 0xe1 | 0xe2 | 0xea | 0xef | 0xf0);
            count = count.wrapping_add(u8::from(byte.is_ascii_digit() | other));
        }
        digits = digits.saturating_add(usize::from(count));
    }
    digits >= CARD_DIGITS_MIN
}

/// Shows `card` each stretch of folded text that is a card: whole groups of digits with up to three
/// separators between.
fn find_cards(text: &[u8], mut card: impl FnMut(usize, usize)) {
    let mut at = 0;
    while let Some(offset) =
        text.get(at..).and_then(|rest| rest.iter().position(u8::is_ascii_digit))
    {
        let start = at.saturating_add(offset);
        let first_end = group_end(text, start);
        match longest_card(text, start) {
            Some(end) => {
                card(start, end);
                at = end;
            }
            None => at = first_end,
        }
    }
}

/// The end of the longest card that begins with the group of digits at `start`.
fn longest_card(text: &[u8], start: usize) -> Option<usize> {
    let mut digits = Digits::default();
    let mut longest = None;
    let mut group_start = start;
    let mut separators: &[u8] = &[];
    for groups in 1_usize.. {
        let end = group_end(text, group_start);
        if !text.get(group_start..end).unwrap_or_default().iter().all(|digit| digits.push(*digit)) {
            break;
        }
        // Two groups around a point are a decimal number.
        let decimal = groups == 2 && separators == b".";
        if !decimal && digits.are_card() {
            longest = Some(end);
        }
        let rest = text.get(end..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| is_separator(**byte)).count();
        separators = rest.get(..count).unwrap_or_default();
        let next = end.saturating_add(count);
        if count == 0 || count > SEPARATORS_MAX || !text.get(next).is_some_and(u8::is_ascii_digit) {
            break;
        }
        group_start = next;
    }
    longest
}

fn group_end(text: &[u8], start: usize) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    start.saturating_add(rest.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'/' | b'_' | b'\t' | b'\n' | b'\r')
}

/// Up to 19 digits, as values.
#[derive(Default)]
struct Digits {
    values: [u8; CARD_DIGITS_MAX],
    count: usize,
}

impl Digits {
    /// Adds a digit; `false` where there are too many.
    fn push(&mut self, digit: u8) -> bool {
        let Some(place) = self.values.get_mut(self.count) else { return false };
        *place = digit.wrapping_sub(b'0');
        self.count = self.count.saturating_add(1);
        true
    }

    fn are_card(&self) -> bool {
        if self.count < CARD_DIGITS_MIN {
            return false;
        }
        let digits = self.values.get(..self.count).unwrap_or_default();
        // The check digit first: it is the cheaper test, and fails nine times in ten.
        luhn_holds(digits) && is_known_scheme(digits)
    }
}

fn is_known_scheme(digits: &[u8]) -> bool {
    SCHEMES.iter().any(|scheme| {
        let prefix = digits
            .iter()
            .take(scheme.prefix_digits)
            .fold(0_u32, |prefix, digit| prefix.wrapping_mul(10).wrapping_add(u32::from(*digit)));
        (scheme.from..=scheme.to).contains(&prefix)
            && (scheme.digits_min..=scheme.digits_max).contains(&digits.len())
    })
}

/// The check digit of ISO/IEC 7812-1, annex B.
fn luhn_holds(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| {
            let digit = u32::from(*digit);
            match (index % 2, digit) {
                (0, digit) => digit,
                (_, digit @ 0..=4) => digit * 2,
                (_, digit) => digit * 2 - 9,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether the value of a JSON number is a card: its digits before the point once the exponent is
/// applied.
fn is_card_number(literal: &[u8]) -> bool {
    let exponent_at =
        literal.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(literal.len());
    let (mantissa, exponent) = literal.split_at_checked(exponent_at).unwrap_or((literal, &[]));
    let exponent = match exponent.get(1..) {
        None => 0,
        // An exponent of many digits is zero or infinity, and no card.
        Some(digits) => match std::str::from_utf8(digits).ok().map(str::parse::<i16>) {
            Some(Ok(exponent)) => i64::from(exponent),
            _ => return false,
        },
    };
    let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    let whole = mantissa.iter().take(point).filter(|byte| byte.is_ascii_digit()).count();
    let wanted = i64::try_from(whole).unwrap_or(i64::MAX).saturating_add(exponent);
    let Ok(wanted) = usize::try_from(wanted) else { return false };
    let mut digits = Digits::default();
    let all = mantissa.iter().filter(|byte| byte.is_ascii_digit());
    let padded = all.copied().chain(std::iter::repeat(b'0')).take(wanted);
    // Zeros in front are not digits of the value: 0.4111…e16.
    padded
        .skip_while(|digit| *digit == b'0')
        .take(CARD_DIGITS_MAX + 1)
        .all(|digit| digits.push(digit))
        && digits.are_card()
}

/// Shows `email` each stretch of folded text that is an address.
fn find_emails(text: &[u8], mut email: impl FnMut(usize, usize)) {
    let mut done = 0;
    for at in memchr::memchr_iter(b'@', text) {
        let before = text.get(done..at).unwrap_or_default();
        let local = before.iter().rev().take_while(|byte| is_local(**byte)).count();
        let after = text.get(at.saturating_add(1)..).unwrap_or_default();
        let mut domain = after.iter().take_while(|byte| is_domain(**byte)).count();
        while after
            .get(..domain)
            .is_some_and(|domain| domain.ends_with(b".") || domain.ends_with(b"-"))
        {
            domain = domain.saturating_sub(1);
        }
        let domain = after.get(..domain).unwrap_or_default();
        if local > 0 && has_top_level(domain) {
            let end = at.saturating_add(1).saturating_add(domain.len());
            email(at.saturating_sub(local), end);
            done = end;
        }
    }
}

/// RFC 5322's atoms without what separates rather than belongs: `=`, `/`, `?`, braces, `|`, `^` and
/// the backtick.
fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == LETTER || b".!#$%&'*+-_~".contains(&byte)
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, LETTER | b'.' | b'-')
}

/// Whether the last label of a domain is a name of two characters or more.
fn has_top_level(domain: &[u8]) -> bool {
    let Some(point) = domain.iter().rposition(|byte| *byte == b'.') else { return false };
    let label = domain.get(point.saturating_add(1)..).unwrap_or_default();
    point > 0 && label.len() >= 2 && label.first().is_some_and(|byte| !byte.is_ascii_digit())
}

/// Sorts what was found, and joins what overlaps under the mask of the first.
fn merge(found: &mut Vec<Found>) {
    if found.len() < 2 {
        return;
    }
    found.sort_by_key(|found| found.start);
    found.dedup_by(|next, before| {
        let overlap = next.start < before.end;
        if overlap {
            before.end = before.end.max(next.end);
        }
        overlap
    });
}

/// Numbers that a card scheme gives out.
struct Scheme {
    from: u32,
    to: u32,
    prefix_digits: usize,
    digits_min: usize,
    digits_max: usize,
}

const fn scheme(
    from: u32,
    to: u32,
    prefix_digits: usize,
    digits_min: usize,
    digits_max: usize,
) -> Scheme {
    Scheme { from, to, prefix_digits, digits_min, digits_max }
}

/// Prefixes and lengths in use. Without them one number of 13 to 19 digits in ten would pass for a
/// card: every tenth timestamp in milliseconds.
const SCHEMES: [Scheme; 17] = [
    scheme(4, 4, 1, 13, 19),       // Visa
    scheme(51, 55, 2, 16, 16),     // Mastercard
    scheme(2221, 2720, 4, 16, 16), // Mastercard
    scheme(34, 34, 2, 15, 15),     // American Express
    scheme(37, 37, 2, 15, 15),     // American Express
    scheme(300, 305, 3, 14, 19),   // Diners Club
    scheme(36, 36, 2, 14, 19),     // Diners Club
    scheme(38, 39, 2, 14, 19),     // Diners Club
    scheme(3095, 3095, 4, 14, 19), // Diners Club
    scheme(3528, 3589, 4, 16, 19), // JCB, RuPay
    scheme(6, 6, 1, 13, 19),       // Discover, UnionPay, Maestro, RuPay, InterPayment
    scheme(50, 50, 2, 13, 19),     // Maestro, Verve, Dankort, Elo
    scheme(56, 58, 2, 13, 19),     // Maestro
    scheme(2200, 2205, 4, 16, 19), // Mir
    scheme(81, 82, 2, 16, 19),     // UnionPay, RuPay
    scheme(9792, 9792, 4, 16, 16), // Troy
    scheme(1, 1, 1, 15, 15),       // UATP
];

const CARD_DIGITS_MIN: usize = 13;
const CARD_DIGITS_MAX: usize = 19;
/// How many separators may stand between two groups of digits.
const SEPARATORS_MAX: usize = 3;
/// `a@b.cc`
const EMAIL_BYTES_MIN: usize = 6;
/// The first byte of the at signs beyond ASCII (U+FF20, U+FE6B).
const AT_LEAD: u8 = 0xef;
