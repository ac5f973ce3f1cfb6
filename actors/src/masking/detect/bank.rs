//! IBAN (ISO 13616): country, two check digits, and an account number of the country's length.

use super::digits::is_separator;
use super::is_word;

/// Shows each IBAN, in groups or not.
pub(super) fn find_ibans(text: &[u8], found: &mut dyn FnMut(usize, usize)) {
    let mut done = 0;
    for (at, window) in text.windows(4).enumerate() {
        let begins = at >= done && is_beginning(window);
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        if !begins || before.is_some_and(|byte| is_word(*byte)) {
            continue;
        }
        if let Some(end) = iban_end(text, at) {
            found(at, end);
            done = end;
        }
    }
}

/// Whether a text holds two letters and two digits, side by side or with a separator between.
pub(super) fn may_hold_letters_and_digits(text: &[u8]) -> bool {
    let is_parted = |window: &[u8]| match window {
        [a, b, between, c, d] => is_separator(*between) && is_beginning(&[*a, *b, *c, *d]),
        _ => false,
    };
    text.windows(4).any(is_beginning) || text.windows(5).any(is_parted)
}

fn is_beginning(window: &[u8]) -> bool {
    matches!(window, [a, b, c, d] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic()
        && c.is_ascii_digit() && d.is_ascii_digit())
}

fn iban_end(text: &[u8], start: usize) -> Option<usize> {
    let rest = text.get(start..)?;
    let country = rest.first_chunk::<2>()?.to_ascii_uppercase();
    let place = LENGTHS.binary_search_by_key(&&*country, |(code, _)| code.as_bytes()).ok()?;
    let wanted = LENGTHS.get(place)?.1;
    let mut characters = Vec::with_capacity(wanted);
    let mut at = start;
    while characters.len() < wanted {
        let byte = text.get(at)?;
        let next_is_word = text.get(at.saturating_add(1)).is_some_and(u8::is_ascii_alphanumeric);
        if byte.is_ascii_alphanumeric() {
            characters.push(byte.to_ascii_uppercase());
        } else if !is_separator(*byte) || !next_is_word {
            return None;
        }
        at = at.saturating_add(1);
    }
    let ends = !text.get(at).is_some_and(|byte| is_word(*byte));
    (ends && mod_97(&characters) == 1).then_some(at)
}

/// ISO 7064, MOD 97-10, of what stands behind the first four characters and then of these; a letter counts as two digits.
fn mod_97(characters: &[u8]) -> u32 {
    let (head, tail) = characters.split_at_checked(4).unwrap_or((characters, &[]));
    tail.iter().chain(head).fold(0, |rest, character| match character {
        b'0'..=b'9' => (rest * 10 + u32::from(character - b'0')) % 97,
        _ => (rest * 100 + u32::from(character.saturating_sub(b'A')) + 10) % 97,
    })
}

/// Countries of the IBAN registry with their lengths, in the order of their codes.
#[rustfmt::skip]
const LENGTHS: [(&str, usize); 89] = [
    ("AD", 24), ("AE", 23), ("AL", 28), ("AT", 20), ("AZ", 28), ("BA", 20), ("BE", 16), ("BG", 22), ("BH", 22),
    ("BI", 27), ("BR", 29), ("BY", 28), ("CH", 21), ("CR", 22), ("CY", 28), ("CZ", 24), ("DE", 22), ("DJ", 27),
    ("DK", 18), ("DO", 28), ("EE", 20), ("EG", 29), ("ES", 24), ("FI", 18), ("FK", 18), ("FO", 18), ("FR", 27),
    ("GB", 22), ("GE", 22), ("GI", 23), ("GL", 18), ("GR", 27), ("GT", 28), ("HN", 28), ("HR", 21), ("HU", 28),
    ("IE", 22), ("IL", 23), ("IQ", 23), ("IS", 26), ("IT", 27), ("JO", 30), ("KW", 30), ("KZ", 20), ("LB", 28),
    ("LC", 32), ("LI", 21), ("LT", 20), ("LU", 20), ("LV", 21), ("LY", 25), ("MC", 27), ("MD", 24), ("ME", 22),
    ("MK", 19), ("MN", 20), ("MR", 27), ("MT", 31), ("MU", 30), ("NI", 28), ("NL", 18), ("NO", 15), ("OM", 23),
    ("PK", 24), ("PL", 28), ("PS", 29), ("PT", 25), ("QA", 29), ("RO", 24), ("RS", 22), ("RU", 33), ("SA", 24),
    ("SC", 31), ("SD", 18), ("SE", 24), ("SI", 19), ("SK", 24), ("SM", 27), ("SO", 23), ("ST", 25), ("SV", 28),
    ("TL", 23), ("TN", 24), ("TR", 26), ("UA", 29), ("VA", 22), ("VG", 24), ("XK", 20), ("YE", 30),
];
