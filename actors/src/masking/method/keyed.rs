//! Methods whose outcome depends on a key: keyed hashes and tokens; and the keys, each with an id.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

/// The least bytes of a key.
pub const KEY_BYTES_MIN: usize = 16;
/// The most bytes of a key's id.
const KEY_ID_BYTES_MAX: usize = 32;
const HASH_BYTES: usize = 16;

/// The keys of keyed methods by their ids. Labels name the id, so that a new key can serve one label after the other.
#[derive(Debug, Default)]
pub struct Keys {
    keys: Vec<(String, SecretSlice<u8>)>,
    /// Serves every other id, where rules are only tried.
    other: Option<SecretSlice<u8>>,
}

/// Why keys are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// A key is too short.
    #[error("key `{id}` has {size} bytes, and at least {KEY_BYTES_MIN} are needed")]
    Short {
        /// Its id.
        id: String,
        /// Its bytes.
        size: usize,
    },
    /// An id is none: it is shown in tokens.
    #[error("key id `{id}` is not 1 to {KEY_ID_BYTES_MAX} letters, digits, `-` and `.`")]
    Id {
        /// The id.
        id: String,
    },
}

/// What a key is used for; none of these tells anything of another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Hash,
    Token,
    Encryption,
}

/// HMAC-SHA-256 over label, a zero byte and text, cut to 16 bytes.
#[derive(Clone)]
pub struct KeyedHash {
    /// The state after the label, so that each value costs only its own bytes.
    state: Hmac<Sha256>,
}

/// `tok_`, the key's id, `_`, and 26 letters and digits of a keyed hash of its own.
#[derive(Clone, Debug)]
pub struct Token {
    key_id: String,
    hash: KeyedHash,
}

impl Keys {
    /// Checks keys.
    ///
    /// # Errors
    /// [`KeysError`] for the first that cannot be used.
    pub fn new(keys: Vec<(String, SecretSlice<u8>)>) -> Result<Self, KeysError> {
        for (id, key) in &keys {
            let is_shown = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
            if id.is_empty() || id.len() > KEY_ID_BYTES_MAX || !id.bytes().all(is_shown) {
                return Err(KeysError::Id { id: id.chars().take(64).collect() });
            }
            let size = key.expose_secret().len();
            if size < KEY_BYTES_MIN {
                return Err(KeysError::Short { id: id.clone(), size });
            }
        }
        Ok(Self { keys, other: None })
    }

    /// A key, no secret, that serves every id: to try rules without the keys that they are for.
    #[must_use]
    pub fn for_trials() -> Self {
        let key = || SecretSlice::from(b"no secret: for trials of rules".to_vec());
        Self { keys: vec![("trial".to_owned(), key())], other: Some(key()) }
    }

    /// The ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(id, _)| id.as_str())
    }

    /// Whether there is a key for this id.
    #[must_use]
    pub fn serves(&self, id: &str) -> bool {
        self.of(id).is_some()
    }

    pub(super) fn of(&self, id: &str) -> Option<&SecretSlice<u8>> {
        let known = self.keys.iter().find(|(known, _)| known == id).map(|(_, key)| key);
        known.or(self.other.as_ref())
    }

    /// The hash of one label by the key with this id; `None` where there is none.
    #[must_use]
    pub fn hash(&self, id: &str, label: &str) -> Option<KeyedHash> {
        KeyedHash::new(self.of(id)?, label, Purpose::Hash)
    }

    /// The tokens of one label by the key with this id; `None` where there is none.
    #[must_use]
    pub fn token(&self, id: &str, label: &str) -> Option<Token> {
        let hash = KeyedHash::new(self.of(id)?, label, Purpose::Token)?;
        Some(Token { key_id: id.to_owned(), hash })
    }
}

impl KeyedHash {
    pub(super) fn new(key: &SecretSlice<u8>, label: &str, purpose: Purpose) -> Option<Self> {
        let mut state = Hmac::<Sha256>::new_from_slice(key.expose_secret()).ok()?;
        state.update(label.as_bytes());
        state.update(match purpose {
            Purpose::Hash => &[0],
            Purpose::Token => &[1],
            Purpose::Encryption => &[2],
        });
        Some(Self { state })
    }

    /// All bytes of the hash of `text`.
    pub(in crate::masking) fn digest(&self, text: &[u8]) -> [u8; 32] {
        let mut state = self.state.clone();
        state.update(text);
        state.finalize().into_bytes().into()
    }

    pub(super) fn write(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        for byte in self.digest(text).iter().take(HASH_BYTES) {
            for digit in [byte >> 4, byte & 0x0f] {
                out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
            }
        }
        true
    }

    /// A number of up to 48 bits, which every reader of JSON holds exactly.
    pub(super) fn number(&self, text: &[u8]) -> u64 {
        let digest = self.digest(text);
        digest.iter().take(6).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl Token {
    pub(super) fn write(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(b"tok_");
        out.extend_from_slice(self.key_id.as_bytes());
        out.push(b'_');
        let mut bits = 0_u32;
        let mut bits_count = 0_u32;
        for byte in self.hash.digest(text).iter().take(HASH_BYTES) {
            bits = bits << 8 | u32::from(*byte);
            bits_count += 8;
            while bits_count >= 5 {
                bits_count -= 5;
                out.push(base32(bits >> bits_count));
            }
        }
        out.push(base32(bits << (5 - bits_count)));
        true
    }

    pub(super) fn number(&self, text: &[u8]) -> u64 {
        self.hash.number(text)
    }

    /// All bytes of the hash of `text`.
    pub(in crate::masking) fn digest(&self, text: &[u8]) -> [u8; 32] {
        self.hash.digest(text)
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyedHash(..)")
    }
}

/// The digit of the lowest five bits, in the alphabet of RFC 4648 in lower case.
fn base32(bits: u32) -> u8 {
    match u8::try_from(bits & 31).unwrap_or(0) {
        digit @ 0..26 => b'a' + digit,
        digit => b'2' + digit - 26,
    }
}
