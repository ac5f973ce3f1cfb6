//! Takes what a file of rules says for what it must be.

use std::sync::Arc;

use super::super::yaml::{Key, Located, Node};
use super::RulesError;

/// Takes nodes for what they must be, or says what is wrong with them.
pub(super) struct Reader<'f> {
    pub(super) file: &'f str,
}

impl Reader<'_> {
    pub(super) fn error(&self, line: u64, reason: impl Into<String>) -> RulesError {
        RulesError { file: self.file.to_owned(), line, reason: reason.into() }
    }

    fn wrong(&self, found: &Located, wanted: &str) -> RulesError {
        self.error(
            found.line,
            format!("{} is wanted here, and this is {}", wanted, found.node.kind()),
        )
    }

    pub(super) fn map(&self, value: Located) -> Result<Vec<(Key, Located)>, RulesError> {
        match value.node {
            Node::Map(map) => Ok(map),
            _ => Err(self.wrong(&value, "a map")),
        }
    }

    pub(super) fn list(&self, value: Located) -> Result<Vec<Located>, RulesError> {
        match value.node {
            Node::List(list) => Ok(list),
            _ => Err(self.wrong(&value, "a list")),
        }
    }

    pub(super) fn text(&self, value: Located) -> Result<(u64, String), RulesError> {
        match value.node {
            Node::Text(text) => Ok((value.line, text)),
            _ => Err(self.wrong(&value, "a text")),
        }
    }

    pub(super) fn boolean(&self, value: &Located) -> Result<bool, RulesError> {
        match value.node {
            Node::Bool(value) => Ok(value),
            _ => Err(self.wrong(value, "true or false")),
        }
    }

    /// A line of the file, for those who ask what masked.
    pub(super) fn place(&self, line: u64) -> Arc<str> {
        format!("{}:{line}", self.file).into()
    }

    pub(super) fn known<'k>(&self, key: &Key, known: &[&'k str]) -> Result<&'k str, RulesError> {
        self.choose(key.line, "key", &key.name, known)
    }

    pub(super) fn choose<'k>(
        &self,
        line: u64,
        what: &str,
        name: &str,
        known: &[&'k str],
    ) -> Result<&'k str, RulesError> {
        let found = known.iter().find(|known| **known == name);
        found.copied().ok_or_else(|| self.unknown(line, what, name, known))
    }

    pub(super) fn unknown(&self, line: u64, what: &str, name: &str, known: &[&str]) -> RulesError {
        let shown: String = name.chars().take(NAME_CHARS_SHOWN).collect();
        let nearest = known
            .iter()
            .min_by_key(|known| strsim::osa_distance(&shown, known))
            .map_or_else(String::new, |nearest| format!("; the nearest known is `{nearest}`"));
        self.error(line, format!("unknown {what} `{shown}`{nearest}"))
    }
}

/// How much of a wrong name an error shows.
const NAME_CHARS_SHOWN: usize = 64;
