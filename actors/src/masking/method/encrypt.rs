//! Format-preserving encryption: FF1 of NIST SP 800-38G over the characters of an alphabet.

use std::fmt;
use std::sync::Arc;

use aes::Aes256;
use fpe::ff1::{FF1, FlexibleNumeralString};

use super::keyed::{KeyedHash, Keys, Purpose};

/// The characters that are encrypted, each kind within itself or all as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// `0` to `9`.
    Digits,
    /// `a` to `z`.
    Lower,
    /// `A` to `Z`.
    Upper,
    /// All of these.
    Alphanumeric,
}

/// The encryption of one label.
#[derive(Clone)]
pub struct Encrypt {
    alphabet: Alphabet,
    cipher: Arc<FF1<Aes256>>,
}

impl Alphabet {
    /// The names of all alphabets in mask rules.
    pub const NAMES: [&str; 4] = ["digits", "lower", "upper", "alphanumeric"];

    /// The alphabet of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Digits, Self::Lower, Self::Upper, Self::Alphanumeric];
        Self::NAMES.iter().zip(all).find(|(known, _)| **known == name).map(|(_, it)| it)
    }

    fn characters(self) -> &'static [u8] {
        const ALL: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let range = match self {
            Self::Digits => 0..10,
            Self::Lower => 10..36,
            Self::Upper => 36..62,
            Self::Alphanumeric => 0..62,
        };
        ALL.get(range).unwrap_or_default()
    }

    /// The least characters of a text that may be encrypted: a million texts of that length (SP 800-38G, 5.1).
    fn least(self) -> usize {
        match self {
            Self::Digits => 6,
            Self::Lower | Self::Upper => 5,
            Self::Alphanumeric => 4,
        }
    }
}

impl Encrypt {
    /// The encryption of one label by the key with this id; `None` where there is none.
    #[must_use]
    pub fn new(keys: &Keys, id: &str, label: &str, alphabet: Alphabet) -> Option<Self> {
        let key = KeyedHash::new(keys.of(id)?, label, Purpose::Encryption)?.digest(b"");
        let radix = u32::try_from(alphabet.characters().len()).ok()?;
        Some(Self { alphabet, cipher: Arc::new(FF1::new(&key, radix).ok()?) })
    }

    /// Appends `text` with its characters of the alphabet encrypted, and the others as they are, if these are separators.
    /// `false`, and nothing appended, where others are not, or where there are too few or too many to encrypt.
    pub(super) fn write(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let characters = self.alphabet.characters();
        let mut numerals = Vec::with_capacity(text.len().min(CHARACTERS_MAX));
        for byte in text {
            match characters.iter().position(|character| character == byte) {
                Some(place) => numerals.push(u16::try_from(place).unwrap_or(0)),
                None if SEPARATORS.contains(byte) => {}
                None => return false,
            }
        }
        if numerals.len() < self.alphabet.least() || numerals.len() > CHARACTERS_MAX {
            return false;
        }
        let Some(numerals) = self.encrypted(numerals) else { return false };
        let mut encrypted = numerals.iter();
        for byte in text {
            if SEPARATORS.contains(byte) {
                out.push(*byte);
                continue;
            }
            let place = encrypted.next().map_or(0, |place| usize::from(*place));
            out.push(characters.get(place).copied().unwrap_or(b'0'));
        }
        true
    }

    /// Appends a number for a number of decimal digits: as many, of which the first is not 0. `false`, and nothing appended,
    /// where there is none, because there are too few or too many, or the alphabet is another.
    pub(super) fn write_number(&self, digits: &[u8], out: &mut Vec<u8>) -> bool {
        if self.alphabet != Alphabet::Digits
            || digits.len() < self.alphabet.least()
            || digits.len() > CHARACTERS_MAX
        {
            return false;
        }
        let mut numerals: Vec<u16> =
            digits.iter().map(|digit| u16::from(digit.wrapping_sub(b'0'))).collect();
        // Encrypted again until it is a number of as many digits: a permutation of these numbers, too ("cycle walking"). One in
        // ten needs another turn; the bound is never reached.
        for _ in 0..CYCLES_MAX {
            let Some(next) = self.encrypted(numerals) else { return false };
            numerals = next;
            if numerals.first() != Some(&0) {
                let digit = |numeral: &u16| u8::try_from(*numeral).unwrap_or(0).wrapping_add(b'0');
                out.extend(numerals.iter().map(digit));
                return true;
            }
        }
        false
    }

    fn encrypted(&self, numerals: Vec<u16>) -> Option<Vec<u16>> {
        let encrypted = self.cipher.encrypt(&[], &FlexibleNumeralString::from(numerals));
        encrypted.ok().map(Vec::from)
    }
}

impl fmt::Debug for Encrypt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Encrypt({:?}, ..)", self.alphabet)
    }
}

/// What stays as it is between encrypted characters; none needs an escape in JSON.
const SEPARATORS: &[u8] = b" -._/:,+()#";
/// Its cost grows with the square of the characters.
const CHARACTERS_MAX: usize = 128;
const CYCLES_MAX: usize = 256;
