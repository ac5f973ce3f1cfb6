//! Numbers that states give to people, each with its check digits where it has some.

use super::checks::{is_date, luhn, mod_11_10, value, verhoeff, weighted};
use super::digits::{group_end, starts};
use super::{is_word, stands_alone};

/// United States, social security number: no check digit, and so only as it is written, in groups.
pub(super) fn is_ssn(digits: &[u8]) -> bool {
    let (area, group, serial) = (part(digits, 0, 3), part(digits, 3, 5), part(digits, 5, 9));
    !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0
}

/// Germany, tax identification number: one digit of the first ten comes twice or thrice, the others once at most.
pub(super) fn is_german_tax_id(digits: &[u8]) -> bool {
    let first = digits.get(..10).unwrap_or_default();
    let mut counts = [0_u8; 10];
    for digit in first {
        if let Some(count) = counts.get_mut(usize::from(*digit)) {
            *count = count.saturating_add(1);
        }
    }
    let more: Vec<u8> = counts.into_iter().filter(|count| *count > 1).collect();
    let in_a_row = first.windows(3).any(|three| matches!(three, [a, b, c] if a == b && b == c));
    digits.first() != Some(&0) && matches!(*more, [2 | 3]) && !in_a_row && mod_11_10(digits)
}

/// India, Aadhaar.
pub(super) fn is_aadhaar(digits: &[u8]) -> bool {
    digits.first().is_some_and(|first| *first > 1) && verhoeff(digits)
}

/// France, numéro d'inscription au répertoire, with its key; Corsica's departments have letters and are not found.
pub(super) fn is_french_nir(digits: &[u8]) -> bool {
    let month = part(digits, 3, 5);
    matches!(digits.first(), Some(1..=4 | 7 | 8))
        && matches!(month, 1..=12 | 20 | 30..=42 | 50..=99)
        && matches!(part(digits, 5, 7), 1..=95 | 97..=99)
        && 97_u64.checked_sub(part(digits, 0, 13) % 97) == Some(part(digits, 13, 15))
}

/// Poland, PESEL: the month tells the century.
pub(super) fn is_pesel(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    is_date(part(digits, 2, 4) % 20, part(digits, 4, 6)) && sum.is_multiple_of(10)
}

/// Brazil, CPF.
pub(super) fn is_cpf(digits: &[u8]) -> bool {
    let check = |weights: &[u32]| u64::from(weighted(digits, weights) * 10 % 11 % 10);
    let is_one_digit = digits.windows(2).all(|pair| matches!(pair, [a, b] if a == b));
    !is_one_digit
        && check(&[10, 9, 8, 7, 6, 5, 4, 3, 2]) == part(digits, 9, 10)
        && check(&[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) == part(digits, 10, 11)
}

/// Canada, social insurance number: Luhn alone says little, and so only in groups.
pub(super) fn is_sin(digits: &[u8]) -> bool {
    !matches!(digits.first(), Some(0 | 8)) && luhn(digits)
}

/// Sweden, personnummer, with its century or without.
pub(super) fn is_personnummer(digits: &[u8]) -> bool {
    let (century, short) =
        digits.split_at_checked(digits.len().saturating_sub(10)).unwrap_or_default();
    let day = part(short, 4, 6);
    let day = if day > 60 { day - 60 } else { day };
    matches!(century, [] | [1, 8 | 9] | [2, 0]) && is_date(part(short, 2, 4), day) && luhn(short)
}

/// The number that some of the digits are.
fn part(digits: &[u8], start: usize, end: usize) -> u64 {
    value(digits.get(start..end).unwrap_or_default())
}

/// China, resident identity card: 17 digits and one that may be X.
pub(super) fn find_chinese_ids(text: &[u8], found: &mut dyn FnMut(usize, usize)) {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    for start in starts(text) {
        let end = start.saturating_add(18);
        let Some((last, digits)) = text.get(start..end).and_then(<[u8]>::split_last) else {
            return;
        };
        if !digits.iter().all(u8::is_ascii_digit) || !stands_alone(text, start, end) {
            continue;
        }
        let values: Vec<u8> = digits.iter().map(|digit| digit - b'0').collect();
        let check = usize::try_from(weighted(&values, &WEIGHTS) % 11).unwrap_or_default();
        let holds = b"10X98765432".get(check) == Some(&last.to_ascii_uppercase());
        let is_born = matches!(part(&values, 6, 8), 18..=20)
            && is_date(part(&values, 10, 12), part(&values, 12, 14));
        if holds && is_born {
            found(start, end);
        }
    }
}

/// Spain, DNI and NIE: seven or eight digits and a letter that checks them.
pub(super) fn find_spanish_ids(text: &[u8], found: &mut dyn FnMut(usize, usize)) {
    for first in starts_of_spanish(text) {
        let letter = text.get(first).filter(|byte| byte.is_ascii_alphabetic());
        let lead = match letter.map(u8::to_ascii_uppercase) {
            None => None,
            Some(b'X') => Some(0),
            Some(b'Y') => Some(1),
            Some(b'Z') => Some(2),
            Some(_) => continue,
        };
        let mut at = first.saturating_add(usize::from(lead.is_some()));
        at = at.saturating_add(usize::from(lead.is_some() && text.get(at) == Some(&b'-')));
        let end = group_end(text, at);
        let values: Vec<u8> = lead
            .into_iter()
            .chain(text.get(at..end).unwrap_or_default().iter().map(|digit| digit - b'0'))
            .collect();
        let dash = usize::from(text.get(end) == Some(&b'-'));
        let check_at = end.saturating_add(dash);
        let Some(check) = text.get(check_at) else { continue };
        let wanted =
            b"TRWAGMYFPDXBNJZSQVHLCKE".get(usize::try_from(value(&values) % 23).unwrap_or(0));
        let stop = check_at.saturating_add(1);
        if values.len() == 8
            && wanted == Some(&check.to_ascii_uppercase())
            && stands_alone(text, first, stop)
        {
            found(first, stop);
        }
    }
}

/// Where words begin with a digit, or with X, Y or Z.
fn starts_of_spanish(text: &[u8]) -> impl Iterator<Item = usize> {
    text.iter().enumerate().filter_map(|(at, byte)| {
        let fits = byte.is_ascii_digit() || b"XYZxyz".contains(byte);
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        (fits && !before.is_some_and(|byte| is_word(*byte))).then_some(at)
    })
}

/// Italy, codice fiscale: sixteen letters and digits, the last a check letter.
pub(super) fn find_codici_fiscali(text: &[u8], found: &mut dyn FnMut(usize, usize)) {
    for (start, window) in text.windows(16).enumerate() {
        // The month's letter and the digits around it are the rarest part.
        if window.get(8).is_some_and(|month| !b"ABCDEHLMPRST".contains(&month.to_ascii_uppercase()))
            || !stands_alone(text, start, start.saturating_add(16))
        {
            continue;
        }
        if is_codice_fiscale(window) {
            found(start, start.saturating_add(16));
        }
    }
}

fn is_codice_fiscale(code: &[u8]) -> bool {
    const SHAPE: &[u8; 16] = b"LLLLLLDDLDDLDDDL";
    // Digits may be replaced by these letters, where two people would have the same code.
    const FOR_DIGITS: &[u8; 10] = b"LMNPQRSTUV";
    const ODD: [u32; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let mut sum = 0;
    for (index, (byte, shape)) in code.iter().zip(SHAPE).enumerate() {
        let byte = byte.to_ascii_uppercase();
        let fits = match shape {
            b'L' => byte.is_ascii_uppercase(),
            _ => byte.is_ascii_digit() || FOR_DIGITS.contains(&byte),
        };
        if !fits {
            return false;
        }
        if index == 15 {
            return sum % 26 == u32::from(byte - b'A');
        }
        let place = if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' };
        sum += if index % 2 == 0 {
            ODD.get(usize::from(place)).copied().unwrap_or_default()
        } else {
            u32::from(place)
        };
    }
    false
}

/// United Kingdom, national insurance number, in pairs or not.
pub(super) fn find_ninos(text: &[u8], found: &mut dyn FnMut(usize, usize)) {
    let mut done = 0;
    for start in 0..text.len() {
        if start < done || !text.get(start).is_some_and(u8::is_ascii_alphabetic) {
            continue;
        }
        if let Some(end) = nino_end(text, start).filter(|end| stands_alone(text, start, *end)) {
            found(start, end);
            done = end;
        }
    }
}

fn nino_end(text: &[u8], start: usize) -> Option<usize> {
    let mut characters = [0_u8; 9];
    let mut at = start;
    for (index, place) in characters.iter_mut().enumerate() {
        // A space or dash may stand between pairs.
        if index > 0 && index % 2 == 0 && matches!(text.get(at), Some(b' ' | b'-')) {
            at = at.saturating_add(1);
        }
        *place = text.get(at)?.to_ascii_uppercase();
        at = at.saturating_add(1);
    }
    let [first, second, digits @ .., suffix] = characters;
    let letters = first.is_ascii_uppercase()
        && second.is_ascii_uppercase()
        && !b"DFIQUV".contains(&first)
        && !b"DFIOQUV".contains(&second)
        && ![b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"].contains(&&[first, second]);
    (letters && digits.iter().all(u8::is_ascii_digit) && matches!(suffix, b'A'..=b'D'))
        .then_some(at)
}
