//! Reading the file: YAML with places, `${env:…}` and `${file:…}`, globs.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::raw::RawConfig;

/// Why a configuration was refused. The text names file, place, thing and fix.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Not YAML, an unknown key, or a value of another type.
    #[error("{path}:{line}: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong, with the nearest known name.
        reason: String,
    },
    /// A value that cannot be used.
    #[error("{path}: `{key}`: {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key with its parents.
        key: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

/// A value that cannot be used, before the file is known.
#[derive(Debug)]
pub(super) struct BadValue {
    pub(super) key: String,
    pub(super) reason: String,
}

impl BadValue {
    pub(super) fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }

    pub(super) fn in_file(self, path: &Path) -> ConfigError {
        ConfigError::Value { path: path.to_owned(), key: self.key, reason: self.reason }
    }
}

/// The raw configuration and the folder that relative paths start from.
pub(super) fn read(path: &Path) -> Result<(RawConfig, PathBuf), ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let raw = serde_saphyr::from_str(&text).map_err(|error| syntax(path, &error))?;
    let base = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok((raw, base))
}

/// Replaces `${env:NAME}` and `${file:path}`; one line feed at the end of a file is dropped.
pub(super) fn interpolate(key: &str, text: &str, base: &Path) -> Result<String, BadValue> {
    let Some(inner) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        return Ok(text.to_owned());
    };
    match inner.split_once(':') {
        Some(("env", name)) => std::env::var(name).map_err(|_| {
            BadValue::new(key, format!("the environment variable `{name}` is not set"))
        }),
        Some(("file", file)) => {
            let path = base.join(file);
            let mut text = std::fs::read_to_string(&path).map_err(|error| {
                BadValue::new(key, format!("cannot read `{}`: {error}", path.display()))
            })?;
            if text.ends_with('\n') {
                text.pop();
            }
            Ok(text)
        }
        _ => {
            Err(BadValue::new(key, format!("`{text}`: write `${{env:NAME}}` or `${{file:path}}`")))
        }
    }
}

/// The files that patterns name, sorted, each once.
pub(super) fn files(key: &str, patterns: &[String], base: &Path) -> Result<Vec<PathBuf>, BadValue> {
    let mut found = Vec::new();
    for pattern in patterns {
        let full = base.join(pattern);
        let full = full.to_string_lossy();
        let paths = glob::glob(&full)
            .map_err(|error| BadValue::new(key, format!("`{pattern}`: {error}")))?;
        let before = found.len();
        for path in paths {
            found.push(path.map_err(|error| BadValue::new(key, error.to_string()))?);
        }
        if found.len() == before {
            return Err(BadValue::new(key, format!("`{pattern}` matches no file in `{full}`")));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn syntax(path: &Path, error: &serde_saphyr::Error) -> ConfigError {
    let line = error.location().map_or(0, |location| location.line());
    let text = error.without_snippet().to_string();
    ConfigError::Syntax { path: path.to_owned(), line, reason: with_nearest_name(&text) }
}

/// Adds the nearest known key to serde's text about an unknown one.
fn with_nearest_name(text: &str) -> String {
    let text = text.lines().next().unwrap_or(text);
    let mut quoted = text.split('`').skip(1).step_by(2);
    if !text.contains("unknown field") {
        return text.to_owned();
    }
    let Some(unknown) = quoted.next() else { return text.to_owned() };
    let likeness = |key: &&&str| strsim::jaro_winkler(unknown, key);
    let nearest = KEYS.iter().max_by(|left, right| likeness(left).total_cmp(&likeness(right)));
    match nearest {
        Some(nearest) => format!("unknown key `{unknown}`; did you mean `{nearest}`?"),
        None => format!("unknown key `{unknown}`"),
    }
}

/// Every key that `raw.rs` knows.
const KEYS: &[&str] = &[
    "admin",
    "advertised.host",
    "algorithms",
    "alterable.topic.configs",
    "approvals",
    "approvers",
    "audience",
    "bind",
    "bootstrap.servers",
    "broker.ports",
    "cluster",
    "clusters",
    "credentials",
    "data.dir",
    "files",
    "groups",
    "groups.claim",
    "groups.prefix",
    "issuer",
    "issuers",
    "jwks",
    "keys",
    "listeners",
    "masking",
    "payload",
    "policy",
    "recording",
    "sasl.enabled.mechanisms",
    "sasl.mechanism",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "shards",
    "shutdown.timeout.ms",
    "ssl.certificate",
    "ssl.key",
    "sync",
];
