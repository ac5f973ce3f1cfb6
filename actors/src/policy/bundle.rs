//! A policy bundle: files of Cedar, validated strictly, and immutable from then on.

use std::collections::{HashMap, HashSet};
use std::panic::resume_unwind;
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy::{Policy, PolicyId, PolicySet, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;

use super::problem::{BundleError, Problem, Reason, Source, cut, nearest_of};
use super::rule::{self, Reads, Rule};
use super::schema::{Names, SCHEMA_TEXT, split_partition};
use crate::vocabulary::PolicyHash;

/// One `.cedar` file: its name for messages, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// The name as the operator knows it.
    pub name: String,
    /// The content.
    pub text: String,
}

/// Every policy of the gateway, checked.
#[derive(Debug)]
pub struct Bundle {
    epoch: u64,
    hash: PolicyHash,
    pub(super) rules: Vec<Arc<Rule>>,
    pub(super) names: Arc<Names>,
    /// Every group that a policy mentions: no other one matters to any decision.
    pub(super) groups: Arc<HashSet<String>>,
}

impl Bundle {
    /// Reads, checks and validates the files. `approvers` are the groups that `@approvers` may name;
    /// `epoch` numbers the bundle and must be larger than its predecessor's.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, with its place, as [`Reason`] lists it. Nothing is loaded then.
    pub fn load(
        files: &[PolicyFile],
        approvers: &[String],
        epoch: u64,
    ) -> Result<Self, BundleError> {
        // Cedar's parser and validator recurse over a condition, several KiB of stack for each of
        // its operators, and an overflow would end the process.
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
            match builder.spawn_scoped(scope, || Self::load_here(files, approvers, epoch)) {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(error) => Err(BundleError::of_ours(Reason::NoThread(error.to_string()))),
            }
        })
    }

    fn load_here(
        files: &[PolicyFile],
        approvers: &[String],
        epoch: u64,
    ) -> Result<Self, BundleError> {
        let names = Names::parse().map_err(|text| BundleError::of_ours(Reason::Schema(text)))?;
        let mut loader = Loader::new(approvers, &names);
        for (index, file) in files.iter().enumerate() {
            loader.file(index, file);
        }
        loader.validate(files);
        let rules = loader.finish(files)?;
        let groups = rules.iter().flat_map(|rule| rule.reads.groups.iter().cloned()).collect();
        let hash = hash_of(&rules);
        Ok(Self { epoch, hash, rules, names: Arc::new(names), groups: Arc::new(groups) })
    }

    /// The number that the loader gave.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A hash of the policies and the schema. Order, file names and comments between policies do
    /// not change it.
    #[must_use]
    pub fn hash(&self) -> PolicyHash {
        self.hash
    }

    /// The policies, by file and line.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(|rule| &**rule)
    }
}

/// What has been read so far, and what is wrong with it.
struct Loader<'a> {
    approvers: &'a [String],
    names: &'a Names,
    rules: Vec<Arc<Rule>>,
    /// Of each `@id`: the file's name and the line.
    taken: HashMap<String, (String, usize)>,
    /// Of each policy in the set, by the name it has there: the index of its file.
    places: HashMap<String, usize>,
    set: PolicySet,
    problems: Vec<Problem>,
}

impl<'a> Loader<'a> {
    fn new(approvers: &'a [String], names: &'a Names) -> Self {
        Self {
            approvers,
            names,
            rules: Vec::new(),
            taken: HashMap::new(),
            places: HashMap::new(),
            set: PolicySet::new(),
            problems: Vec::new(),
        }
    }

    fn file(&mut self, index: usize, file: &PolicyFile) {
        let source = Source { file: &file.name, text: &file.text };
        if file.text.len() > FILE_BYTES_MAX {
            self.problems.push(source.problem(
                0,
                Reason::TooLarge {
                    what: "a policy file, in bytes",
                    value: file.text.len(),
                    limit: FILE_BYTES_MAX,
                },
            ));
            return;
        }
        if let Some((offset, size)) = longest_statement(&file.text)
            && size > POLICY_BYTES_MAX
        {
            let what = "a policy, in bytes";
            let reason = Reason::TooLarge { what, value: size, limit: POLICY_BYTES_MAX };
            self.problems.push(source.problem(offset, reason));
            return;
        }
        let parsed = match PolicySet::from_str(&file.text) {
            Ok(parsed) => parsed,
            Err(errors) => {
                self.problems.extend(errors.iter().map(|error| {
                    let reason = Reason::Syntax(with_help(error));
                    source.problem(offset_of(error), reason)
                }));
                return;
            }
        };
        for template in parsed.templates() {
            let offset = template.as_ref().loc().map_or(0, |loc| loc.start());
            self.problems.push(source.problem(offset, Reason::Template));
        }
        let mut policies: Vec<(usize, &Policy)> = parsed
            .policies()
            .map(|policy| (policy.as_ref().loc().map_or(0, |loc| loc.start()), policy))
            .collect();
        policies.sort_by_key(|(offset, _)| *offset);
        for (offset, policy) in policies {
            if let Some(id) = self.policy(&source, offset, policy) {
                self.places.insert(id, index);
            }
        }
    }

    /// Checks one policy; the name that it has in the set for the validator, if it came there.
    fn policy(&mut self, source: &Source<'_>, offset: usize, policy: &Policy) -> Option<String> {
        if self.rules.len() >= POLICIES_MAX {
            let (value, limit) = (self.rules.len().saturating_add(1), POLICIES_MAX);
            let reason = Reason::TooLarge { what: "policies in the bundle", value, limit };
            self.problems.push(source.problem(offset, reason));
            return None;
        }
        let problems_before = self.problems.len();
        let annotations = self.annotations(source, policy);
        let (line, column) = source.position(offset);
        let id = self.claim_id(source, offset, line, annotations.id.as_ref());
        // Without an id of its own it still goes to the validator, so that all is told at once.
        let id = id.unwrap_or_else(|| format!("policy at {}:{line}:{column}", source.file));
        let policy = policy.new_id(PolicyId::new(&id));
        let surveyed = rule::survey(&policy).map_err(|error| error.to_string());
        let added = self.set.add(policy.clone()).map_err(|error| error.to_string());
        let reads = match surveyed.and_then(|reads| added.map(|()| reads)) {
            Ok(reads) => reads,
            Err(text) => {
                self.problems.push(source.problem(offset, Reason::Invalid(text)));
                return None;
            }
        };
        let asks = annotations.approvers.is_some();
        self.problems
            .extend(reasons_in(&reads, asks, &id).map(|reason| source.problem(offset, reason)));
        if self.problems.len() > problems_before {
            return Some(id);
        }
        let (cells, partition_questions) = rule::cells(&policy, self.names);
        self.rules.push(Arc::new(Rule {
            id: id.as_str().into(),
            file: source.file.to_owned(),
            line,
            approvers: annotations.approvers.unwrap_or_default(),
            grant_ttl_ms: annotations.ttl_ms.unwrap_or(GRANT_TTL_MS_DEFAULT),
            reads,
            whom: rule::whom(&policy, self.names),
            about: rule::about(&policy, self.names),
            cells,
            partition_questions,
            policy,
        }));
        Some(id)
    }

    /// Checks an `@id` and takes it; `None` where there is a problem with it.
    fn claim_id(
        &mut self,
        source: &Source<'_>,
        policy_offset: usize,
        line: usize,
        id: Option<&(usize, String)>,
    ) -> Option<String> {
        let Some((offset, id)) = id else {
            self.problems.push(source.problem(policy_offset, Reason::MissingId));
            return None;
        };
        let fits = (1..=ID_SIZE_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte));
        let reason = if !fits {
            Reason::BadId { id: cut(id), id_size_max: ID_SIZE_MAX }
        } else if let Some((file, line)) = self.taken.get(id) {
            Reason::DuplicateId { id: id.clone(), file: file.clone(), line: *line }
        } else {
            self.taken.insert(id.clone(), (source.file.to_owned(), line));
            return Some(id.clone());
        };
        self.problems.push(source.problem(*offset, reason));
        None
    }

    /// Reads the annotations, and names those that mean nothing.
    fn annotations(&mut self, source: &Source<'_>, policy: &Policy) -> Annotations {
        let mut found = Annotations::default();
        let mut ttl_offset = None;
        for (name, annotation) in policy.as_ref().annotations() {
            let offset = annotation.loc.as_ref().map_or(0, |loc| loc.start());
            let text = annotation.val.as_str();
            match name.to_string().as_str() {
                "id" => found.id = Some((offset, text.to_owned())),
                "approvers" => found.approvers = Some(self.approvers_in(source, offset, text)),
                "ttl" => {
                    ttl_offset = Some(offset);
                    found.ttl_ms = parse_ttl(text);
                    if found.ttl_ms.is_none() {
                        let days_max = GRANT_TTL_MS_MAX / MS_PER_DAY;
                        let reason = Reason::BadTtl { text: cut(text), days_max };
                        self.problems.push(source.problem(offset, reason));
                    }
                }
                "description" | "advice" => {}
                unknown => {
                    let nearest = nearest_of(unknown, KNOWN_ANNOTATIONS);
                    let reason = Reason::UnknownAnnotation { name: cut(unknown), nearest };
                    self.problems.push(source.problem(offset, reason));
                }
            }
        }
        if let (Some(offset), None) = (ttl_offset, &found.approvers) {
            self.problems.push(source.problem(offset, Reason::TtlWithoutApprovers));
        }
        found
    }

    /// The groups of an `@approvers`, sorted; problems where one is not listed.
    fn approvers_in(&mut self, source: &Source<'_>, offset: usize, text: &str) -> Vec<String> {
        let mut groups: Vec<String> = text
            .split(',')
            .map(str::trim)
            .filter(|group| !group.is_empty())
            .map(str::to_owned)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        if groups.is_empty() {
            self.problems.push(source.problem(offset, Reason::NoApprovers));
        }
        for group in groups.iter().filter(|group| !self.approvers.contains(group)) {
            let nearest = nearest_of(group, self.approvers.iter().map(String::as_str));
            let reason = Reason::UnknownApprovers { group: cut(group), nearest };
            self.problems.push(source.problem(offset, reason));
        }
        groups
    }

    /// Holds everything that parsed against the schema.
    fn validate(&mut self, files: &[PolicyFile]) {
        let validator = Validator::new(self.names.schema.clone());
        let result = validator.validate(&self.set, ValidationMode::Strict);
        let mut found: Vec<(PolicyId, usize, Reason)> = Vec::new();
        let mut erring: HashSet<PolicyId> = HashSet::new();
        for error in result.validation_errors() {
            let reason = Reason::Invalid(without_policy(&with_help(error)));
            found.push((error.policy_id().clone(), offset_of(error), reason));
            erring.insert(error.policy_id().clone());
        }
        for warning in result.validation_warnings() {
            let id = warning.policy_id();
            // What names an unknown action never matches, of course.
            if erring.contains(id) {
                continue;
            }
            let reason = match warning {
                ValidationWarning::ImpossiblePolicy(_)
                | ValidationWarning::InvalidActionApplication(_) => {
                    Reason::NeverMatches { id: id.to_string() }
                }
                // A reviewer of the file would not see what it says.
                ValidationWarning::BidiCharsInString(_)
                | ValidationWarning::BidiCharsInIdentifier(_) => {
                    Reason::Invalid(without_policy(&with_help(warning)))
                }
                // Names of groups and topics may well mix scripts.
                _ => continue,
            };
            found.push((id.clone(), offset_of(warning), reason));
        }
        for (id, offset, reason) in found {
            let place = self.places.get::<str>(id.as_ref()).and_then(|index| files.get(*index));
            let Some(file) = place else { continue };
            let problem = Source { file: &file.name, text: &file.text }.problem(offset, reason);
            // Both warnings may say of one policy that it never matches.
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
    }

    fn finish(mut self, files: &[PolicyFile]) -> Result<Vec<Arc<Rule>>, BundleError> {
        if self.problems.is_empty() {
            return Ok(self.rules);
        }
        let place = |problem: &Problem| {
            let file = files.iter().position(|file| file.name == problem.file);
            (file, problem.line, problem.column)
        };
        self.problems.sort_by_key(place);
        self.problems.truncate(PROBLEMS_MAX);
        Err(BundleError { problems: self.problems })
    }
}

/// The annotations that mean something to the gateway.
#[derive(Default)]
struct Annotations {
    /// With the offset of the annotation.
    id: Option<(usize, String)>,
    approvers: Option<Vec<String>>,
    ttl_ms: Option<i64>,
}

/// What is wrong with what a policy refers to.
fn reasons_in(reads: &Reads, asks: bool, id: &str) -> impl Iterator<Item = Reason> {
    let mut reasons = Vec::new();
    let id = || id.to_owned();
    if reads.whole_context {
        reasons.push(Reason::WholeContext { id: id() });
    }
    if reads.approved && !asks {
        reasons.push(Reason::ApprovedWithoutApprovers { id: id() });
    }
    if !reads.approved && asks {
        reasons.push(Reason::ApproversWithoutApproved { id: id() });
    }
    for text in reads.partition_ids.iter().filter(|text| split_partition(text).is_none()) {
        reasons.push(Reason::BadPartition { text: cut(text) });
    }
    reasons.into_iter()
}

/// The longest piece of a file up to a `;` outside of strings and comments: where, and its bytes. It
/// is found without a parser, whose stack it bounds.
fn longest_statement(text: &str) -> Option<(usize, usize)> {
    let mut longest: Option<(usize, usize)> = None;
    let mut start = 0_usize;
    let mut within = Within::Code;
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        within = match (within, byte) {
            (Within::Code, b'"') => Within::Text,
            (Within::Code, b'/') if bytes.peek().is_some_and(|(_, next)| *next == b'/') => {
                Within::Comment
            }
            (Within::Text, b'\\') => {
                bytes.next();
                Within::Text
            }
            (Within::Text, b'"') | (Within::Comment, b'\n') => Within::Code,
            (within, _) => within,
        };
        let is_end = (within == Within::Code && byte == b';') || bytes.peek().is_none();
        if is_end {
            let size = at.saturating_add(1).saturating_sub(start);
            if longest.is_none_or(|(_, known)| size > known) {
                longest = Some((start, size));
            }
            start = at.saturating_add(1);
        }
    }
    longest
}

/// Where a byte of a file stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Code,
    Text,
    Comment,
}

/// `4h`, `30m`, `90s`, `2d`: a positive whole number and one unit, within the limit.
fn parse_ttl(text: &str) -> Option<i64> {
    let unit = text.chars().next_back()?;
    let unit_ms = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => MS_PER_DAY,
        _ => return None,
    };
    let digits = text.strip_suffix(unit)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ttl_ms = digits.parse::<i64>().ok()?.checked_mul(unit_ms)?;
    (1..=GRANT_TTL_MS_MAX).contains(&ttl_ms).then_some(ttl_ms)
}

/// The first byte that a message of Cedar's points at.
fn offset_of(diagnostic: &dyn Diagnostic) -> usize {
    diagnostic.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset())
}

/// A message of Cedar's, with its advice.
fn with_help(diagnostic: &dyn Diagnostic) -> String {
    match diagnostic.help() {
        Some(help) => format!("{diagnostic} ({help})"),
        None => diagnostic.to_string(),
    }
}

/// Cedar begins with the policy's name, which the place already says.
fn without_policy(text: &str) -> String {
    text.strip_prefix("for policy `")
        .and_then(|rest| rest.split_once("`, "))
        .map_or(text, |(_, rest)| rest)
        .to_owned()
}

/// The order of files changes nothing about what they say, so the rules are hashed by id.
fn hash_of(rules: &[Arc<Rule>]) -> PolicyHash {
    let mut sorted: Vec<&Rule> = rules.iter().map(|rule| &**rule).collect();
    sorted.sort_by(|one, other| one.id.cmp(&other.id));
    let mut hasher = blake3::Hasher::new();
    let mut part = |text: &str| {
        hasher.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(text.as_bytes());
    };
    part(SCHEMA_TEXT);
    for rule in sorted {
        part(&rule.id);
        part(&rule.text());
    }
    PolicyHash(*hasher.finalize().as_bytes())
}

const KNOWN_ANNOTATIONS: [&str; 5] = ["id", "approvers", "ttl", "description", "advice"];
/// 1 MiB: about 3,000 policies, some 20 times what DESIGN plans for in one file.
const FILE_BYTES_MAX: usize = 1 << 20;
/// 8 KiB, with the comments before it: a condition is at most as deep as this is long, which bounds
/// the recursion of parser and validator.
const POLICY_BYTES_MAX: usize = 8 << 10;
/// Measured: 600 operators take between 2 and 4 MiB, and 8 KiB of `1+1+…` have 4,096. Only what is
/// used of it costs memory.
const STACK_BYTES: usize = 256 << 20;
/// Ten times the bundle that the figures of DESIGN 13 are for.
const POLICIES_MAX: usize = 10_000;
/// What a person reads before mending the first ones.
const PROBLEMS_MAX: usize = 100;
/// In bytes. Names are repeated in every entry.
const ID_SIZE_MAX: usize = 128;
const MS_PER_DAY: i64 = 86_400_000;
/// Where `@ttl` is absent: an hour.
const GRANT_TTL_MS_DEFAULT: i64 = 3_600_000;
/// 30 days: what is granted for longer is a standing right, and belongs in a policy.
const GRANT_TTL_MS_MAX: i64 = 30 * MS_PER_DAY;

#[cfg(test)]
mod tests;
