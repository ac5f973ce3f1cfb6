//! Numbers that stand in groups of digits with separators between, as payment cards do: one scan for all kinds.

use std::sync::LazyLock;

use super::{checks, is_word, stands_alone};

/// A kind of number.
#[derive(Debug)]
pub(super) struct DigitRow {
    /// How few digits it has.
    pub(super) least: usize,
    /// How many.
    pub(super) most: usize,
    /// Whether digits, as values, are such a number.
    pub(super) holds: fn(&[u8]) -> bool,
    /// Whether it may be written in groups of these sizes.
    pub(super) shape: fn(&[usize]) -> bool,
    /// Whether letters and numbers must not touch it. What a check digit and a list of prefixes make sure of is found
    /// within other text, too.
    pub(super) alone: bool,
}

/// The most digits that a kind has.
const DIGITS_MAX: usize = 19;
/// How many separators may stand between two groups of digits.
const SEPARATORS_MAX: usize = 3;

/// Counts what could be a digit: ASCII ones, and first bytes of those of other scripts. One pass without a branch, in chunks
/// so that counts of a byte's width do not overflow, which lets the compiler use whole vectors.
fn count(text: &[u8]) -> usize {
    let mut digits = 0_usize;
    for chunk in text.chunks(128) {
        let mut count = 0_u8;
        for byte in chunk {
            count = count.wrapping_add(u8::from(byte.is_ascii_digit() | is_other_lead(*byte)));
        }
        digits = digits.saturating_add(usize::from(count));
    }
    digits
}

/// First bytes of digits of other scripts.
fn is_other_lead(byte: u8) -> bool {
    matches!(byte, 0xc2 | 0xd9 | 0xdb | 0xdf | 0xe0 | 0xe1 | 0xe2 | 0xea | 0xef | 0xf0)
}

/// What a byte does to a run of digits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Ends it.
    Ends,
    /// Goes on with it.
    Digit,
    /// May stand in it, a few times in a row.
    Separates,
    /// May stand in it, unseen.
    Passes,
}

/// The roles of all bytes.
static ROLES: LazyLock<[Role; 256]> =
    LazyLock::new(|| std::array::from_fn(|byte| u8::try_from(byte).map_or(Role::Ends, Role::of)));

impl Role {
    fn of(byte: u8) -> Self {
        if byte.is_ascii_digit() || is_other_lead(byte) {
            Self::Digit
        } else if is_separator(byte) || b"()".contains(&byte) {
            // Telephone numbers have brackets, too.
            Self::Separates
        } else if byte.is_ascii() && byte != 0 {
            Self::Ends
        } else {
            Self::Passes
        }
    }
}

/// Whether so many digits stand together: `false` is sure.
pub(super) fn may_hold(text: &[u8], least: usize) -> bool {
    if text.len() < least || count(text) < least {
        return false;
    }
    let roles = &*ROLES;
    let (mut run, mut between) = (0_usize, 0_usize);
    for byte in text {
        match roles.get(usize::from(*byte)) {
            Some(Role::Digit) => {
                run = run.saturating_add(1);
                between = 0;
                if run >= least {
                    return true;
                }
            }
            Some(Role::Separates) => {
                between = between.saturating_add(1);
                if between > SEPARATORS_MAX {
                    run = 0;
                }
            }
            Some(Role::Ends) | None => run = 0,
            Some(Role::Passes) => {}
        }
    }
    false
}

/// Whether a document could hold a number with an exponent.
pub(super) fn may_hold_exponent(document: &[u8]) -> bool {
    document.iter().zip(document.iter().skip(1)).fold(false, |exponent, (digit, letter)| {
        exponent | (digit.is_ascii_digit() & (*letter | 0x20 == b'e'))
    })
}

/// Shows each stretch of folded text that is a number of some kind: whole groups of digits with up to three separators between.
pub(super) fn find(
    text: &[u8],
    rows: &[(&'static DigitRow, u16)],
    note: &mut impl FnMut(usize, usize, u16),
) {
    let mut at = 0;
    while let Some(offset) =
        text.get(at..).and_then(|rest| rest.iter().position(u8::is_ascii_digit))
    {
        let start = at.saturating_add(offset);
        match longest(text, start, rows) {
            Some((end, mask)) => {
                note(start, end, mask);
                at = end;
            }
            None => at = group_end(text, start),
        }
    }
}

/// The end of the longest number that begins with the group of digits at `start`, and its mask.
fn longest(text: &[u8], start: usize, rows: &[(&'static DigitRow, u16)]) -> Option<(usize, u16)> {
    let mut digits = Digits::default();
    let mut sizes = Sizes::default();
    let mut longest = None;
    let mut group_start = start;
    let mut separators: &[u8] = &[];
    for groups in 1_usize.. {
        let end = group_end(text, group_start);
        let group = text.get(group_start..end).unwrap_or_default();
        if !group.iter().all(|digit| digits.push(*digit)) || !sizes.push(group.len()) {
            break;
        }
        // Two groups around a point are a decimal number.
        let decimal = groups == 2 && separators == b".";
        if !decimal {
            let is_alone = is_alone(text, start, end);
            let fits = |row: &DigitRow| {
                (is_alone || !row.alone) && (row.shape)(sizes.values()) && row.takes(&digits)
            };
            let row = rows.iter().find(|(row, _)| fits(row));
            longest = row.map(|(_, mask)| (end, *mask)).or(longest);
        }
        let rest = text.get(end..).unwrap_or_default();
        let between = rest.iter().take_while(|byte| is_separator(**byte)).count();
        separators = rest.get(..between).unwrap_or_default();
        let next = end.saturating_add(between);
        let goes_on = text.get(next).is_some_and(u8::is_ascii_digit);
        if between == 0 || between > SEPARATORS_MAX || !goes_on {
            break;
        }
        group_start = next;
    }
    longest
}

/// Whether neither a word touches it, nor a digit beyond a single separator other than a space.
fn is_alone(text: &[u8], start: usize, end: usize) -> bool {
    let joins = |separator: Option<&u8>, beyond: Option<&u8>| {
        separator.is_some_and(|byte| is_separator(*byte) && !byte.is_ascii_whitespace())
            && beyond.is_some_and(u8::is_ascii_digit)
    };
    let before = |back: usize| start.checked_sub(back).and_then(|at| text.get(at));
    let behind = |ahead: usize| end.checked_add(ahead).and_then(|at| text.get(at));
    stands_alone(text, start, end) && !joins(before(1), before(2)) && !joins(behind(0), behind(1))
}

pub(super) fn group_end(text: &[u8], start: usize) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    start.saturating_add(rest.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

pub(super) fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'/' | b'_' | b'\t' | b'\n' | b'\r')
}

/// The mask for a number literal, by its value: its digits before the point once the exponent is applied.
pub(super) fn number(literal: &[u8], rows: &[(&'static DigitRow, u16)]) -> Option<u16> {
    let least = rows.iter().map(|(row, _)| row.least).min()?;
    let has_exponent = literal.iter().any(|byte| matches!(byte, b'e' | b'E'));
    if literal.len() < least && !has_exponent {
        return None;
    }
    let digits = digits_of(literal)?;
    let fits = |row: &DigitRow| (row.shape)(&[digits.count]) && row.takes(&digits);
    rows.iter().find(|(row, _)| fits(row)).map(|(_, mask)| *mask)
}

fn digits_of(literal: &[u8]) -> Option<Digits> {
    let exponent_at =
        literal.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(literal.len());
    let (mantissa, exponent) = literal.split_at_checked(exponent_at)?;
    let exponent = match exponent.get(1..) {
        None => 0,
        // An exponent of many digits is zero or infinity.
        Some(digits) => i64::from(std::str::from_utf8(digits).ok()?.parse::<i16>().ok()?),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    let whole = mantissa.iter().take(point).filter(|byte| byte.is_ascii_digit()).count();
    let wanted = i64::try_from(whole).unwrap_or(i64::MAX).saturating_add(exponent);
    let wanted = usize::try_from(wanted).ok()?;
    let mut digits = Digits::default();
    let all = mantissa.iter().filter(|byte| byte.is_ascii_digit());
    let padded = all.copied().chain(std::iter::repeat(b'0')).take(wanted);
    // Zeros in front are not digits of the value: 0.4111…e16.
    let mut value = padded.skip_while(|digit| *digit == b'0').take(DIGITS_MAX + 1);
    value.all(|digit| digits.push(digit)).then_some(digits)
}

/// Up to 19 digits, as values.
#[derive(Default)]
struct Digits {
    values: [u8; DIGITS_MAX],
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
}

impl DigitRow {
    fn takes(&self, digits: &Digits) -> bool {
        (self.least..=self.most).contains(&digits.count)
            && digits.values.get(..digits.count).is_some_and(self.holds)
    }
}

/// How many digits each group has.
#[derive(Default)]
struct Sizes {
    values: [usize; DIGITS_MAX],
    count: usize,
}

impl Sizes {
    fn push(&mut self, size: usize) -> bool {
        let Some(place) = self.values.get_mut(self.count) else { return false };
        *place = size;
        self.count = self.count.saturating_add(1);
        true
    }

    fn values(&self) -> &[usize] {
        self.values.get(..self.count).unwrap_or_default()
    }
}

/// Any groups.
pub(super) fn any_shape(_: &[usize]) -> bool {
    true
}

/// Payment cards: a known scheme's prefix and length, and a check digit.
pub(super) fn is_card(digits: &[u8]) -> bool {
    // The check digit first: it is the cheaper test, and fails nine times in ten.
    checks::luhn(digits) && is_known_scheme(digits)
}

fn is_known_scheme(digits: &[u8]) -> bool {
    SCHEMES.iter().any(|scheme| {
        let prefix = checks::value(digits.get(..scheme.prefix_digits).unwrap_or_default());
        (scheme.from..=scheme.to).contains(&prefix)
            && (scheme.digits_min..=scheme.digits_max).contains(&digits.len())
    })
}

/// Numbers that a card scheme gives out.
struct Scheme {
    from: u64,
    to: u64,
    prefix_digits: usize,
    digits_min: usize,
    digits_max: usize,
}

const fn scheme(
    from: u64,
    to: u64,
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

/// Where the groups of digits of `text` begin that no word touches.
pub(super) fn starts(text: &[u8]) -> impl Iterator<Item = usize> {
    let begins = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        !before.is_some_and(|byte| is_word(*byte))
    };
    let digits = text.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit());
    digits.map(|(at, _)| at).filter(move |at| begins(*at))
}
