//! Check digits, over the values of digits.

/// ISO/IEC 7812-1, annex B (Luhn).
pub(super) fn luhn(digits: &[u8]) -> bool {
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

/// J. Verhoeff, Error detecting decimal codes (1969): the dihedral group of order 10.
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    let sum = digits.iter().rev().enumerate().fold(0_u8, |sum, (index, digit)| {
        let permuted =
            VERHOEFF_PERMUTATION.get(index % 8).and_then(|row| row.get(usize::from(*digit)));
        product(sum, permuted.copied().unwrap_or_default())
    });
    sum == 0
}

/// The product in the dihedral group: 0 to 4 are turns, 5 to 9 are flips.
fn product(left: u8, right: u8) -> u8 {
    match (left, right) {
        (0..5, 0..5) => (left + right) % 5,
        (0..5, _) => (left + (right - 5)) % 5 + 5,
        (_, 0..5) => (left - 5 + 5 - right) % 5 + 5,
        (..) => (left + 5 - right) % 5,
    }
}

#[rustfmt::skip]
const VERHOEFF_PERMUTATION: [[u8; 10]; 8] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
    [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
    [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
    [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
    [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
    [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
    [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
];

/// ISO/IEC 7064, MOD 11,10: a hybrid system with one check digit.
pub(super) fn mod_11_10(digits: &[u8]) -> bool {
    let Some((check, rest)) = digits.split_last() else { return false };
    let product = rest.iter().fold(10_u32, |product, digit| {
        let sum = (u32::from(*digit) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10 == u32::from(*check)
}

/// The sum of each digit times the weight in its place.
pub(super) fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum()
}

/// The number that digits are.
pub(super) fn value(digits: &[u8]) -> u64 {
    digits
        .iter()
        .fold(0, |value: u64, digit| value.saturating_mul(10).saturating_add(u64::from(*digit)))
}

/// Whether month and day can be those of a date.
pub(super) fn is_date(month: u64, day: u64) -> bool {
    (1..=12).contains(&month) && (1..=31).contains(&day)
}
