//! Why a bundle was refused: every problem with its file, line and column.

use std::fmt;

use thiserror::Error;

/// A bundle that was refused, with everything that is wrong with it (up to a limit).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct BundleError {
    /// In the order of files and lines; never empty.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as it was given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a policy file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Reason {
    /// Not Cedar.
    #[error("{0}")]
    Syntax(String),
    /// Cedar, but not of our schema.
    #[error("{0}")]
    Invalid(String),
    /// No request can match.
    #[error(
        "policy `{id}` can never match: no action applies to a principal and a resource that its \
         scope and conditions allow"
    )]
    NeverMatches {
        /// The `@id`.
        id: String,
    },
    /// A policy with slots.
    #[error("templates are not supported: replace `?principal` and `?resource` by names")]
    Template,
    /// No `@id`.
    #[error("a policy without `@id`: add @id(\"a-name-of-its-own\") before it")]
    MissingId,
    /// An `@id` with characters that do not belong in a name.
    #[error("@id `{id}` must have 1 to {id_size_max} characters of A-Z a-z 0-9 . _ - / : @")]
    BadId {
        /// The `@id`, cut.
        id: String,
        /// The limit.
        id_size_max: usize,
    },
    /// The same `@id` twice.
    #[error("@id `{id}` is taken by the policy at {file}:{line}")]
    DuplicateId {
        /// The `@id`.
        id: String,
        /// Where the first one is.
        file: String,
        /// From 1.
        line: usize,
    },
    /// An annotation that means nothing here.
    #[error(
        "unknown annotation @{name}{}; known are @id, @approvers, @ttl, @description and @advice",
        suggestion(.nearest)
    )]
    UnknownAnnotation {
        /// Its name.
        name: String,
        /// A known one that is spelled alike.
        nearest: Option<String>,
    },
    /// An approver group that the configuration does not list.
    #[error(
        "@approvers names `{group}`, which is not in approvals.approvers of the configuration{}",
        suggestion(.nearest)
    )]
    UnknownApprovers {
        /// The group.
        group: String,
        /// A listed one that is spelled alike.
        nearest: Option<String>,
    },
    /// `@approvers("")`.
    #[error("@approvers names no group: write @approvers(\"group\") or @approvers(\"one, other\")")]
    NoApprovers,
    /// A life that cannot be read.
    #[error(
        "@ttl `{text}` is not a time: write a number and s, m, h or d, up to {days_max}d, as in \
         @ttl(\"4h\")"
    )]
    BadTtl {
        /// The text, cut.
        text: String,
        /// The limit, in days.
        days_max: i64,
    },
    /// `@ttl` alone.
    #[error("@ttl without @approvers: nothing here is granted for a time")]
    TtlWithoutApprovers,
    /// A condition on approval that nobody can give.
    #[error("policy `{id}` reads context.approved but has no @approvers: nobody could approve it")]
    ApprovedWithoutApprovers {
        /// The `@id`.
        id: String,
    },
    /// Approvers whom nobody asks.
    #[error(
        "policy `{id}` has @approvers but does not read context.approved: approval would change \
         nothing"
    )]
    ApproversWithoutApproved {
        /// The `@id`.
        id: String,
    },
    /// `context` as a value.
    #[error("policy `{id}` uses `context` as a whole: read its attributes, as in context.approved")]
    WholeContext {
        /// The `@id`.
        id: String,
    },
    /// A partition that could not exist.
    #[error(
        "Partition::\"{text}\" is not a topic, a hyphen and an index, as in Partition::\"payments-3\""
    )]
    BadPartition {
        /// The id, cut.
        text: String,
    },
    /// A limit of the bundle.
    #[error("{what}: {value}, and the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        value: usize,
        /// The limit.
        limit: usize,
    },
    /// The system gave no thread.
    #[error("no thread to read policies on: {0}")]
    NoThread(String),
    /// The program's own schema is broken.
    #[error("the built-in schema cannot be read: {0}")]
    Schema(String),
}

/// The text of one file, to find lines in.
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// A problem at a byte offset.
    pub(super) fn problem(&self, offset: usize, reason: Reason) -> Problem {
        let (line, column) = self.position(offset);
        Problem { file: self.file.to_owned(), line, column, reason }
    }

    /// The line and the column, both from 1, of a byte offset; of the end where it lies beyond.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let mut at = offset.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at = at.saturating_sub(1);
        }
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        let line_text = before.rsplit('\n').next().unwrap_or_default();
        (line, line_text.chars().count().saturating_add(1))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}: {}", self.file, self.line, self.column, self.reason)
    }
}

impl BundleError {
    /// A problem that is in no policy file.
    pub(super) fn of_ours(reason: Reason) -> Self {
        let file = "(built-in)".to_owned();
        Self { problems: vec![Problem { file, line: 1, column: 1, reason }] }
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{problem}")?;
        }
        Ok(())
    }
}

/// At most 64 bytes of what a file says, so that a message stays one.
pub(super) fn cut(text: &str) -> String {
    let mut end = text.len().min(CUT_BYTES);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// The listed name that is spelled most alike, if one is.
pub(super) fn nearest_of<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= NEAREST_EDITS_MAX)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

fn suggestion(name: &Option<String>) -> String {
    name.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

/// As much of foreign text as a message quotes (STYLE, errors).
const CUT_BYTES: usize = 64;
/// Further apart than this, two names are not a slip of the fingers. Guess, unmeasured.
const NEAREST_EDITS_MAX: usize = 3;
