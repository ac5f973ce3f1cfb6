//! What opens a door by itself: tokens, keys of clouds and services, private keys. All begin with a text of their own.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::is_word;

/// A kind of key.
struct Key {
    prefix: &'static str,
    /// How many characters follow the prefix.
    least: usize,
    most: usize,
    alphabet: fn(u8) -> bool,
}

const fn key(prefix: &'static str, least: usize, most: usize, alphabet: fn(u8) -> bool) -> Key {
    Key { prefix, least, most, alphabet }
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

fn url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn dotted(byte: u8) -> bool {
    url(byte) || byte == b'.'
}

/// Prefixes as their owners publish them, for scanners like this one.
#[rustfmt::skip]
static KEYS: [Key; 38] = [
    key("AKIA", 16, 16, upper), key("ASIA", 16, 16, upper),                     // Amazon Web Services
    key("ghp_", 36, 255, alnum), key("gho_", 36, 255, alnum), key("ghu_", 36, 255, alnum), // GitHub
    key("ghs_", 36, 255, alnum), key("ghr_", 36, 255, alnum), key("github_pat_", 22, 255, url),
    key("glpat-", 20, 255, dotted), key("gldt-", 20, 255, dotted),              // GitLab
    key("AIza", 35, 35, url), key("ya29.", 20, 512, url),                       // Google
    key("xoxb-", 20, 255, url), key("xoxp-", 20, 255, url), key("xoxa-", 20, 255, url), // Slack
    key("xoxr-", 20, 255, url), key("xoxs-", 20, 255, url), key("xapp-", 20, 255, url),
    key("sk_live_", 16, 255, alnum), key("rk_live_", 16, 255, alnum),           // Stripe
    key("sk_test_", 16, 255, alnum), key("whsec_", 24, 255, alnum),
    key("sk-ant-", 20, 255, url), key("sk-proj-", 20, 255, url),                // Anthropic, OpenAI
    key("npm_", 36, 36, alnum), key("pypi-AgE", 40, 512, url),                  // package registries
    key("SG.", 60, 80, dotted),                                                 // SendGrid
    key("hvs.", 20, 255, url), key("hvb.", 20, 255, url),                       // HashiCorp Vault
    key("dop_v1_", 64, 64, hex), key("doo_v1_", 64, 64, hex),                   // DigitalOcean
    key("shpat_", 32, 32, hex), key("shpss_", 32, 32, hex),                     // Shopify
    key("hf_", 34, 40, alnum), key("dapi", 32, 34, hex),                        // Hugging Face, Databricks
    key("dckr_pat_", 20, 64, url), key("PMAK-", 50, 64, url),                   // Docker, Postman
    key("LTAI", 16, 24, alnum),                                                 // Alibaba Cloud
];

const JWT_PREFIX: &str = "eyJ";
const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &[u8] = b"-----END ";

/// What a text must hold so that a key or token may be in it.
pub(super) fn prefixes() -> Option<&'static AhoCorasick> {
    static ALL: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
        let keys = KEYS.iter().map(|key| key.prefix);
        AhoCorasick::new(keys.chain([JWT_PREFIX, PEM_BEGIN])).ok()
    });
    ALL.as_ref()
}

/// Shows each key of a cloud or service, and each private key.
pub(super) fn find_keys(text: &[u8], found: &mut dyn FnMut(usize, usize)) {
    let Some(prefixes) = prefixes() else { return };
    let mut done = 0;
    for hit in prefixes.find_overlapping_iter(text) {
        let start = hit.start();
        if start < done {
            continue;
        }
        let end = match KEYS.get(hit.pattern().as_usize()) {
            Some(key) => key.end(text, start, hit.end()),
            None if text.get(hit.start()..hit.end()) == Some(PEM_BEGIN.as_bytes()) => {
                pem_end(text, hit.end())
            }
            None => None,
        };
        if let Some(end) = end {
            found(start, end);
            done = end;
        }
    }
}

impl Key {
    fn end(&self, text: &[u8], start: usize, behind: usize) -> Option<usize> {
        let before = start.checked_sub(1).and_then(|before| text.get(before));
        let rest = text.get(behind..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| (self.alphabet)(**byte)).count();
        let end = behind.saturating_add(count);
        let fits = (self.least..=self.most).contains(&count)
            && !before.is_some_and(|byte| is_word(*byte))
            && !text.get(end).is_some_and(|byte| is_word(*byte));
        fits.then_some(end)
    }
}

/// The end of a private key in PEM (RFC 7468) whose first line began before `behind`; one without an end goes on to the text's.
fn pem_end(text: &[u8], behind: usize) -> Option<usize> {
    let rest = text.get(behind..)?;
    let label_size = memchr::memmem::find(rest, b"-----")?;
    if !rest.get(..label_size)?.ends_with(b"PRIVATE KEY") {
        return None;
    }
    let end = memchr::memmem::find(rest, PEM_END).and_then(|at| {
        let name = at.checked_add(PEM_END.len())?;
        let dashes = memchr::memmem::find(rest.get(name..)?, b"-----")?;
        name.checked_add(dashes)?.checked_add(5)
    });
    behind.checked_add(end.unwrap_or(rest.len()))
}

/// Shows each JSON Web Token (RFC 7519): three parts, the first a header that names an algorithm.
pub(super) fn find_tokens(text: &[u8], found: &mut dyn FnMut(usize, usize)) {
    let mut done = 0;
    for start in memchr::memmem::find_iter(text, JWT_PREFIX) {
        let before = start.checked_sub(1).and_then(|before| text.get(before));
        if start < done || before.is_some_and(|byte| url(*byte) || is_word(*byte)) {
            continue;
        }
        if let Some(end) = token_end(text, start) {
            found(start, end);
            done = end;
        }
    }
}

fn token_end(text: &[u8], start: usize) -> Option<usize> {
    let part_end = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        at.saturating_add(rest.iter().take_while(|byte| url(**byte)).count())
    };
    let header_end = part_end(start);
    let header = URL_SAFE_NO_PAD.decode(text.get(start..header_end)?).ok()?;
    memchr::memmem::find(&header, b"\"alg\"")?;
    let mut end = header_end;
    for _ in 0..2 {
        (text.get(end) == Some(&b'.')).then_some(())?;
        end = part_end(end.checked_add(1)?);
    }
    // An encrypted one has five parts.
    while text.get(end) == Some(&b'.')
        && text.get(end.saturating_add(1)).is_some_and(|byte| url(*byte))
    {
        end = part_end(end.saturating_add(1));
    }
    Some(end)
}
