//! Documents in strings that are not written as text: base64, and gzip within it.

use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::plan::VALUE_BYTES_MAX;

/// How a string is written, as a rule says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Base64,
    /// gzip, which is written as base64.
    GzipBase64,
}

/// A string's bytes, and how they were written: what is written again is written so.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    encoding: Encoding,
    is_url_safe: bool,
    is_padded: bool,
}

impl Encoding {
    /// The names of all in mask rules.
    pub(super) const NAMES: [&'static str; 2] = ["base64", "gzip-base64"];

    /// The one of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let all = [Self::Base64, Self::GzipBase64];
        Self::NAMES.iter().zip(all).find(|(known, _)| **known == name).map(|(_, it)| it)
    }

    /// Reads a string; `None` where it is not written so, or is too large.
    pub(super) fn decode(self, text: &[u8]) -> Option<Decoded> {
        let is_url_safe = text.contains(&b'-') || text.contains(&b'_');
        let is_padded = text.len().is_multiple_of(4);
        let bytes = match (is_url_safe, is_padded) {
            (false, true) => STANDARD.decode(text),
            (false, false) => STANDARD_NO_PAD.decode(text),
            (true, true) => URL_SAFE.decode(text),
            (true, false) => URL_SAFE_NO_PAD.decode(text),
        };
        let bytes = bytes.ok()?;
        let bytes = match self {
            Self::Base64 => bytes,
            Self::GzipBase64 => {
                let limit = u64::try_from(VALUE_BYTES_MAX).ok()?.checked_add(1)?;
                let mut plain = Vec::new();
                MultiGzDecoder::new(bytes.as_slice()).take(limit).read_to_end(&mut plain).ok()?;
                plain
            }
        };
        (bytes.len() <= VALUE_BYTES_MAX).then_some(Decoded {
            bytes,
            encoding: self,
            is_url_safe,
            is_padded,
        })
    }
}

impl Decoded {
    /// Appends `bytes` as the string was written.
    pub(super) fn encode(&self, bytes: &[u8], out: &mut Vec<u8>) {
        let packed;
        let bytes = match self.encoding {
            Encoding::Base64 => bytes,
            Encoding::GzipBase64 => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                // Into memory: nothing can fail.
                let written = encoder.write_all(bytes);
                packed = written.and_then(|()| encoder.finish()).unwrap_or_default();
                packed.as_slice()
            }
        };
        let text = match (self.is_url_safe, self.is_padded) {
            (false, true) => STANDARD.encode(bytes),
            (false, false) => STANDARD_NO_PAD.encode(bytes),
            (true, true) => URL_SAFE.encode(bytes),
            (true, false) => URL_SAFE_NO_PAD.encode(bytes),
        };
        out.extend_from_slice(text.as_bytes());
    }
}
