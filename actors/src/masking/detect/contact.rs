//! How people and machines are reached: e-mail, telephone, IP addresses.

use std::net::Ipv6Addr;

use super::super::fold::LETTER;
use super::digits::{self, group_end, is_separator};
use super::{is_word, stands_alone};

/// `a@b.cc`
const EMAIL_BYTES_MIN: usize = 6;
/// The first byte of the at signs beyond ASCII (U+FF20, U+FE6B).
const AT_LEAD: u8 = 0xef;

/// Whether a text could hold an at sign.
pub(super) fn may_hold_at(text: &[u8], ascii: bool) -> bool {
    text.len() >= EMAIL_BYTES_MIN
        && (memchr::memchr(b'@', text).is_some()
            || (!ascii && (memchr::memchr(AT_LEAD, text).is_some() || text.contains(&0))))
}

/// Shows each stretch that is an e-mail address.
pub(super) fn find_emails(text: &[u8], found: &mut dyn FnMut(usize, usize)) {
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
            found(at.saturating_sub(local), end);
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

/// The least digits of a telephone number (E.164 has no least; shorter ones are extensions and codes), and the most.
const PHONE_DIGITS_MIN: usize = 8;
const PHONE_DIGITS_MAX: usize = 15;

/// Whether a text could hold a telephone number: without a plus it has ten digits, `00` before its country's code included.
pub(super) fn may_hold_phone(text: &[u8]) -> bool {
    memchr::memchr(b'+', text).is_some() || digits::may_hold(text, PHONE_DIGITS_MIN + 2)
}

/// Shows each telephone number: with its country's code (`+…`, or `00…` in groups), or in the form of North America.
pub(super) fn find_phones(text: &[u8], found: &mut dyn FnMut(usize, usize)) {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let end = match byte {
            b'+' | b'0' => international(text, at).or_else(|| north_american(text, at)),
            b'(' | b'1'..=b'9' => north_american(text, at),
            _ => None,
        };
        at = match end {
            Some(end) => {
                found(at, end);
                end
            }
            None if byte.is_ascii_digit() => group_end(text, at),
            None => at.saturating_add(1),
        };
    }
}

fn international(text: &[u8], start: usize) -> Option<usize> {
    let before = start.checked_sub(1).and_then(|before| text.get(before));
    if before.is_some_and(|byte| is_word(*byte) || *byte == b'+') {
        return None;
    }
    let is_plus = text.get(start) == Some(&b'+');
    let first = start.checked_add(if is_plus { 1 } else { 2 })?;
    let prefix_fits = is_plus || text.get(start..first) == Some(b"00");
    if !prefix_fits || !matches!(text.get(first), Some(b'1'..=b'9')) {
        return None;
    }
    let (mut digits, mut groups, mut end) = (0_usize, 0_usize, first);
    loop {
        let group = group_end(text, end);
        digits = digits.saturating_add(group.saturating_sub(end));
        groups = groups.saturating_add(1);
        end = group;
        let between = text.get(end..).unwrap_or_default().iter();
        let between =
            between.take_while(|byte| is_separator(**byte) || b"()".contains(byte)).count();
        let next = end.saturating_add(between);
        let more = text.get(next..group_end(text, next)).unwrap_or_default().len();
        let fits = digits.saturating_add(more) <= PHONE_DIGITS_MAX;
        if between == 0 || between > 2 || more == 0 || !fits {
            break;
        }
        end = next;
    }
    let fits = (PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX).contains(&digits);
    // Zeros in front of a number of one group fill a field.
    (fits && (is_plus || groups > 1) && stands_alone(text, start, end)).then_some(end)
}

/// `(212) 555-0123`, `212-555-0123`, `212.555.0123`, each with `1` in front or not.
fn north_american(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    if text.get(at) == Some(&b'1') && group_end(text, at) == at.saturating_add(1) {
        at = at.saturating_add(1);
        if !matches!(text.get(at), Some(b'-' | b'.' | b' ')) {
            return None;
        }
        at = at.saturating_add(1);
    }
    let in_brackets = text.get(at) == Some(&b'(');
    at = at.saturating_add(usize::from(in_brackets));
    at = part(text, at, 3)?;
    let separator = if in_brackets {
        at = (text.get(at) == Some(&b')')).then_some(at.saturating_add(1))?;
        at = at.saturating_add(usize::from(text.get(at) == Some(&b' ')));
        b'-'
    } else {
        let separator = *text.get(at).filter(|byte| matches!(byte, b'-' | b'.'))?;
        at = at.saturating_add(1);
        separator
    };
    at = part(text, at, 3)?;
    let next = *text.get(at)?;
    let fits = next == separator || (in_brackets && matches!(next, b'.' | b' '));
    at = fits.then_some(at.saturating_add(1))?;
    let end = group_end(text, at);
    let ends = end.saturating_sub(at) == 4 && stands_alone(text, start, end);
    // Neither end may be in the middle of a longer row of numbers.
    let joins = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b'-' | b'.'));
    let goes_on =
        joins(text.get(end)) && text.get(end.saturating_add(1)).is_some_and(u8::is_ascii_digit);
    let went_before = joins(start.checked_sub(1).and_then(|before| text.get(before)))
        && start.checked_sub(2).and_then(|at| text.get(at)).is_some_and(u8::is_ascii_digit);
    (ends && !goes_on && !went_before).then_some(end)
}

/// The end of a group of so many digits that begins with 2 to 9.
fn part(text: &[u8], at: usize, digits: usize) -> Option<usize> {
    let end = group_end(text, at);
    let fits = matches!(text.get(at), Some(b'2'..=b'9')) && end.saturating_sub(at) == digits;
    fits.then_some(end)
}

/// Whether a text could hold an IP address: `false` is sure.
pub(super) fn may_hold_address(text: &[u8]) -> bool {
    let beside = |at: usize, fits: fn(&u8) -> bool| {
        at.checked_sub(1).and_then(|before| text.get(before)).is_some_and(fits)
            && at.checked_add(1).and_then(|behind| text.get(behind)).is_some_and(fits)
    };
    let points = memchr::memchr_iter(b'.', text).filter(|at| beside(*at, u8::is_ascii_digit));
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b':';
    points.take(3).count() == 3
        || memchr::memchr_iter(b':', text).filter(|at| beside(*at, is_part)).take(7).count() == 7
        || memchr::memmem::find(text, b"::").is_some()
}

/// Shows each IPv4 and IPv6 address.
pub(super) fn find_addresses(text: &[u8], found: &mut dyn FnMut(usize, usize)) {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if !byte.is_ascii_hexdigit() && *byte != b':' {
            at = at.saturating_add(1);
            continue;
        }
        let run = text.get(at..).unwrap_or_default().iter();
        let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        let run_end = at.saturating_add(run.take_while(|byte| is_part(byte)).count());
        let mut end = run_end;
        // A sentence may end there.
        while end > at && matches!(text.get(end.saturating_sub(1)), Some(b'.')) {
            end = end.saturating_sub(1);
        }
        // Behind an IPv4 address may stand a port.
        let colon = text.get(at..end).and_then(|run| memchr::memchr(b':', run));
        let stops = [Some(end), colon.and_then(|colon| at.checked_add(colon))];
        let is_address = |stop: &usize| {
            let candidate = text.get(at..*stop).unwrap_or_default();
            stands_alone(text, at, *stop) && (is_ipv4(candidate) || is_ipv6(candidate))
        };
        if let Some(end) = stops.into_iter().flatten().find(is_address) {
            found(at, end);
        }
        at = run_end.max(at.saturating_add(1));
    }
}

fn is_ipv4(text: &[u8]) -> bool {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let mut parts = text.split('.');
    let fits = |part: &str| {
        (1..=3).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && part.parse::<u16>().is_ok_and(|part| part <= 255)
    };
    parts.by_ref().take(4).filter(|part| fits(part)).count() == 4 && text.matches('.').count() == 3
}

fn is_ipv6(text: &[u8]) -> bool {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text != "::" && text.contains(':') && text.parse::<Ipv6Addr>().is_ok()
}
