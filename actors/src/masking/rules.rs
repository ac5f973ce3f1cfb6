//! Mask rules: which fields and detectors of which topics fall under which labels.
//!
//! Data owners write them (`docs/MASKING.md` has the format); who sees a label in clear is policy's
//! to say. Everything in a file is checked when it is read: an unknown key, label, method or
//! detector is an error with file and line.

use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use secrecy::SecretSlice;

use super::detect::{DETECTORS, Detector, Detectors};
use super::method::{KEY_BYTES_MIN, KeyedHash, Method};
use super::plan::{Field, Mask, MaskPlan, NO_NODE};
use super::yaml::{self, Key, Located, Node};

/// How many labels there may be, and how many fields in one plan.
const LABELS_MAX: usize = 1_000;
const FIELDS_MAX: usize = 10_000;
/// How many detectors of its own a set of rules may have, and how large each may be once it is compiled.
const PATTERNS_MAX: usize = 200;
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Checked mask rules of all files.
#[derive(Debug)]
pub struct Rules {
    labels: Vec<Label>,
    patterns: Vec<Pattern>,
    rules: Vec<Rule>,
}

/// A file of mask rules, already read.
#[derive(Clone, Copy, Debug)]
pub struct RulesFile<'a> {
    /// Its name, for errors.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// Why mask rules are refused. The text begins with file and line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {reason}")]
pub struct RulesError {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong, and what would be right.
    pub reason: String,
}

#[derive(Debug)]
struct Label {
    name: Arc<str>,
    method: Method,
    /// Where it is defined.
    place: String,
}

#[derive(Debug)]
struct Rule {
    topics: Vec<String>,
    /// Keys from the root, with the labels that the field falls under.
    fields: Vec<(Vec<String>, Vec<usize>)>,
    /// Label, then what is found for it.
    detect: Vec<(usize, Detect)>,
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
enum Detect {
    /// A row of the table.
    Known(&'static Detector),
    /// An index of [`Rules::patterns`].
    Own(usize),
}

/// A pattern of the rules' own.
#[derive(Debug)]
struct Pattern {
    name: String,
    regex: Regex,
    /// Where it is defined.
    place: String,
}

impl Rules {
    /// Reads and checks all files. Labels of one are known in all; `key` serves the labels that
    /// hash.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file and line.
    pub fn compile(
        files: &[RulesFile<'_>],
        key: Option<&SecretSlice<u8>>,
    ) -> Result<Self, RulesError> {
        let mut rules = Self { labels: Vec::new(), patterns: Vec::new(), rules: Vec::new() };
        let mut bodies = Vec::new();
        for file in files {
            let reader = Reader { file: file.name };
            let document =
                yaml::read(file.text).map_err(|(line, reason)| reader.error(line, reason))?;
            if let Node::Null = document.node {
                continue;
            }
            for (key_of, value) in reader.map(document)? {
                match reader.known(&key_of, &["labels", "detectors", "rules"])? {
                    "labels" => rules.add_labels(&reader, value, key)?,
                    "detectors" => rules.add_patterns(&reader, value)?,
                    _ => bodies.push((file.name, value)),
                }
            }
        }
        for (file, body) in bodies {
            let reader = Reader { file };
            for rule in reader.list(body)? {
                let rule = rules.read_rule(&reader, rule)?;
                rules.rules.push(rule);
            }
        }
        Ok(rules)
    }

    /// The labels that some rule uses on `topic`, each once: what policy is to be asked about.
    pub fn labels<'r>(&'r self, topic: &str) -> impl Iterator<Item = &'r Arc<str>> {
        let mut used = vec![false; self.labels.len()];
        for rule in self.matching(topic) {
            let fields = rule.fields.iter().flat_map(|(_, labels)| labels.iter());
            for label in fields.chain(rule.detect.iter().map(|(label, _)| label)) {
                if let Some(used) = used.get_mut(*label) {
                    *used = true;
                }
            }
        }
        self.labels.iter().zip(used).filter(|(_, used)| *used).map(|(label, _)| &label.name)
    }

    /// Whether any rule names `topic`: where none does, nobody need be asked about labels.
    #[must_use]
    pub fn names(&self, topic: &str) -> bool {
        self.matching(topic).next().is_some()
    }

    /// What is masked on `topic` for an identity that sees those labels in clear for which `clear`
    /// is true; `None` where that is nothing. A value under several labels is clear only if all
    /// are; otherwise the first forbidden label, in the order of files and lines, says how it is
    /// masked.
    pub fn plan(&self, topic: &str, clear: impl Fn(&str) -> bool) -> Option<MaskPlan> {
        let forbidden: Vec<bool> = self.labels.iter().map(|label| !clear(&label.name)).collect();
        let is_forbidden = |label: &usize| forbidden.get(*label).copied().unwrap_or(true);
        let mut masks = Masks { labels: &self.labels, used: Vec::new(), masks: Vec::new() };
        let mut fields = Vec::new();
        let mut detectors = Detectors::default();
        for rule in self.matching(topic) {
            for (keys, labels) in &rule.fields {
                if let Some(label) = labels.iter().find(|label| is_forbidden(label)) {
                    fields.push(Field { keys: keys.clone(), mask: masks.of(*label)? });
                }
            }
            for (label, detect) in rule.detect.iter().filter(|(label, _)| is_forbidden(label)) {
                let mask = masks.of(*label)?;
                match detect {
                    Detect::Known(detector) => detectors.add(detector, mask),
                    Detect::Own(pattern) => {
                        let regex = self.patterns.get(*pattern)?.regex.clone();
                        detectors.add_pattern(regex, mask);
                    }
                }
            }
        }
        (!masks.masks.is_empty()).then(|| MaskPlan::new(masks.masks, &fields, detectors))
    }

    fn matching<'r>(&'r self, topic: &str) -> impl Iterator<Item = &'r Rule> {
        self.rules
            .iter()
            .filter(move |rule| rule.topics.iter().any(|glob| glob_matches(glob, topic)))
    }

    fn add_labels(
        &mut self,
        reader: &Reader<'_>,
        labels: Located,
        key: Option<&SecretSlice<u8>>,
    ) -> Result<(), RulesError> {
        for (name, body) in reader.map(labels)? {
            if let Some(known) = self.labels.iter().find(|label| *label.name == *name.name) {
                let reason = format!("label `{}` is defined already at {}", name.name, known.place);
                return Err(reader.error(name.line, reason));
            }
            if name.name.is_empty() || self.labels.len() >= LABELS_MAX {
                let reason = format!("a label has no name, or there are more than {LABELS_MAX}");
                return Err(reader.error(name.line, reason));
            }
            let method = reader.method(&name, body, key)?;
            let place = format!("{}:{}", reader.file, name.line);
            self.labels.push(Label { name: name.name.into(), method, place });
        }
        Ok(())
    }

    fn read_rule(&self, reader: &Reader<'_>, rule: Located) -> Result<Rule, RulesError> {
        let line = rule.line;
        let mut read = Rule { topics: Vec::new(), fields: Vec::new(), detect: Vec::new() };
        for (key, value) in reader.map(rule)? {
            match reader.known(&key, &["topics", "format", "fields", "detect"])? {
                "topics" => {
                    for topic in reader.list(value)? {
                        read.topics.push(reader.text(topic)?.1);
                    }
                }
                "format" => {
                    let (line, format) = reader.text(value)?;
                    reader.choose(line, "format", &format, &["json"])?;
                }
                "fields" => {
                    for (path, labels) in reader.map(value)? {
                        let keys = split_path(&path.name)
                            .map_err(|reason| reader.error(path.line, reason))?;
                        read.fields.push((keys, self.label_list(reader, labels)?));
                    }
                }
                _ => self.read_detect(reader, value, &mut read)?,
            }
        }
        if read.topics.is_empty() {
            return Err(reader.error(line, "a rule names no topics; say `topics: [\"orders.*\"]`"));
        }
        if read.fields.is_empty() && read.detect.is_empty() {
            return Err(reader.error(line, "a rule has neither `fields` nor `detect`"));
        }
        let keys: usize = read.fields.iter().map(|(keys, _)| keys.len()).sum();
        let all: usize =
            self.rules.iter().flat_map(|rule| &rule.fields).map(|(keys, _)| keys.len()).sum();
        if keys.saturating_add(all) > FIELDS_MAX.min(usize::from(NO_NODE)) {
            let reason = format!("the fields of all rules have more than {FIELDS_MAX} keys");
            return Err(reader.error(line, reason));
        }
        Ok(read)
    }

    fn read_detect(
        &self,
        reader: &Reader<'_>,
        value: Located,
        rule: &mut Rule,
    ) -> Result<(), RulesError> {
        let own = self.patterns.iter().map(|pattern| &*pattern.name);
        let known: Vec<&str> = DETECTORS.iter().map(|detector| detector.name).chain(own).collect();
        for (label, detectors) in reader.map(value)? {
            let label = self.label(reader, label.line, &label.name)?;
            for detector in reader.list(detectors)? {
                let (line, name) = reader.text(detector)?;
                let name = reader.choose(line, "detector", &name, &known)?;
                let own = || self.patterns.iter().position(|pattern| pattern.name == name);
                let detect = Detector::named(name).map(Detect::Known);
                rule.detect.extend(detect.or_else(|| own().map(Detect::Own)).map(|it| (label, it)));
            }
        }
        Ok(())
    }

    fn add_patterns(&mut self, reader: &Reader<'_>, patterns: Located) -> Result<(), RulesError> {
        for (name, body) in reader.map(patterns)? {
            let known = self.patterns.iter().find(|pattern| pattern.name == name.name);
            let place = known.map(|pattern| pattern.place.clone());
            let place = place.or_else(|| {
                Detector::named(&name.name).map(|_| "the table of known ones".to_owned())
            });
            if let Some(place) = place {
                let reason = format!("detector `{}` is defined already: {place}", name.name);
                return Err(reader.error(name.line, reason));
            }
            if self.patterns.len() >= PATTERNS_MAX {
                let reason = format!("there are more than {PATTERNS_MAX} detectors");
                return Err(reader.error(name.line, reason));
            }
            let regex = reader.pattern(&name, body)?;
            let place = format!("{}:{}", reader.file, name.line);
            self.patterns.push(Pattern { name: name.name, regex, place });
        }
        Ok(())
    }

    /// One label, or a list of them.
    fn label_list(&self, reader: &Reader<'_>, value: Located) -> Result<Vec<usize>, RulesError> {
        let values = match value.node {
            Node::List(list) if !list.is_empty() => list,
            node => vec![Located { line: value.line, node }],
        };
        values
            .into_iter()
            .map(|value| {
                let (line, name) = reader.text(value)?;
                self.label(reader, line, &name)
            })
            .collect()
    }

    fn label(&self, reader: &Reader<'_>, line: u64, name: &str) -> Result<usize, RulesError> {
        let position = self.labels.iter().position(|label| *label.name == *name);
        position.ok_or_else(|| {
            let known: Vec<&str> = self.labels.iter().map(|label| &*label.name).collect();
            reader.unknown(line, "label", name, &known)
        })
    }
}

/// The masks of a plan, each label once.
struct Masks<'r> {
    labels: &'r [Label],
    used: Vec<usize>,
    masks: Vec<Mask>,
}

impl Masks<'_> {
    /// The mask of a label. `None` cannot be: labels are fewer than masks may be.
    fn of(&mut self, label: usize) -> Option<u16> {
        let known = self.used.iter().position(|used| *used == label);
        let index = match known {
            Some(index) => index,
            None => {
                let Label { name, method, .. } = self.labels.get(label)?;
                self.used.push(label);
                self.masks.push(Mask { label: Arc::clone(name), method: method.clone() });
                self.masks.len().checked_sub(1)?
            }
        };
        u16::try_from(index).ok()
    }
}

/// Takes nodes for what they must be, or says what is wrong with them.
struct Reader<'f> {
    file: &'f str,
}

impl Reader<'_> {
    fn error(&self, line: u64, reason: impl Into<String>) -> RulesError {
        RulesError { file: self.file.to_owned(), line, reason: reason.into() }
    }

    fn wrong(&self, found: &Located, wanted: &str) -> RulesError {
        self.error(
            found.line,
            format!("{} is wanted here, and this is {}", wanted, found.node.kind()),
        )
    }

    fn map(&self, value: Located) -> Result<Vec<(Key, Located)>, RulesError> {
        match value.node {
            Node::Map(map) => Ok(map),
            _ => Err(self.wrong(&value, "a map")),
        }
    }

    fn list(&self, value: Located) -> Result<Vec<Located>, RulesError> {
        match value.node {
            Node::List(list) => Ok(list),
            _ => Err(self.wrong(&value, "a list")),
        }
    }

    fn text(&self, value: Located) -> Result<(u64, String), RulesError> {
        match value.node {
            Node::Text(text) => Ok((value.line, text)),
            _ => Err(self.wrong(&value, "a text")),
        }
    }

    fn known<'k>(&self, key: &Key, known: &[&'k str]) -> Result<&'k str, RulesError> {
        self.choose(key.line, "key", &key.name, known)
    }

    fn choose<'k>(
        &self,
        line: u64,
        what: &str,
        name: &str,
        known: &[&'k str],
    ) -> Result<&'k str, RulesError> {
        let found = known.iter().find(|known| **known == name);
        found.copied().ok_or_else(|| self.unknown(line, what, name, known))
    }

    fn unknown(&self, line: u64, what: &str, name: &str, known: &[&str]) -> RulesError {
        let shown: String = name.chars().take(NAME_CHARS_SHOWN).collect();
        let nearest = known
            .iter()
            .min_by_key(|known| strsim::osa_distance(&shown, known))
            .map_or_else(String::new, |nearest| format!("; the nearest known is `{nearest}`"));
        self.error(line, format!("unknown {what} `{shown}`{nearest}"))
    }

    /// The body of a label: its method, and what the method needs.
    fn method(
        &self,
        label: &Key,
        body: Located,
        key: Option<&SecretSlice<u8>>,
    ) -> Result<Method, RulesError> {
        let line = body.line;
        let (mut name, mut n) = (None, None);
        for (key_of, value) in self.map(body)? {
            match self.known(&key_of, &["method", "n"])? {
                "method" => {
                    let (line, text) = self.text(value)?;
                    name = Some(self.choose(
                        line,
                        "method",
                        &text,
                        &["redact", "keep-last", "hash"],
                    )?);
                }
                _ => match value.node {
                    Node::Number(count @ 1..=64) => n = Some((key_of.line, count)),
                    _ => return Err(self.error(value.line, "`n` is a number from 1 to 64")),
                },
            }
        }
        let count = |n: i64| usize::try_from(n).unwrap_or(0);
        match (name, n) {
            (Some("keep-last"), Some((_, n))) => Ok(Method::KeepLast { n: count(n) }),
            (Some("keep-last"), None) => {
                Err(self.error(line, "method `keep-last` needs `n`, how many characters stay"))
            }
            (Some(name), Some((line, _))) => Err(self
                .error(line, format!("`n` belongs to method `keep-last`, and this is `{name}`"))),
            (Some("hash"), None) => self.hash(label, key),
            (Some(_), None) => Ok(Method::Redact),
            (None, _) => Err(self.error(line, format!("label `{}` has no `method`", label.name))),
        }
    }

    /// The body of a detector: a regular expression, with texts in which it finds something and in which it does not.
    fn pattern(&self, name: &Key, body: Located) -> Result<Regex, RulesError> {
        let line = body.line;
        let (mut regex, mut examples) = (None, Vec::new());
        for (key, value) in self.map(body)? {
            match self.known(&key, &["pattern", "hits", "misses"])? {
                "pattern" => {
                    let (line, text) = self.text(value)?;
                    let build = RegexBuilder::new(&text).size_limit(PATTERN_BYTES_MAX).build();
                    let reason = |error| format!("`pattern` of detector `{}`: {error}", name.name);
                    regex = Some(build.map_err(|error| self.error(line, reason(error)))?);
                }
                which => {
                    for example in self.list(value)? {
                        let (line, text) = self.text(example)?;
                        examples.push((line, text, which == "hits"));
                    }
                }
            }
        }
        let Some(regex) = regex else {
            let reason = format!("detector `{}` has no `pattern`", name.name);
            return Err(self.error(line, reason));
        };
        if !examples.iter().any(|(.., hits)| *hits) {
            let reason = format!(
                "detector `{}` has no `hits`: texts in which it finds something, which show that it does",
                name.name
            );
            return Err(self.error(line, reason));
        }
        for (line, text, hits) in examples {
            if Detectors::finds(&regex, &text) != hits {
                let does = if hits { "finds nothing" } else { "finds something" };
                let reason = format!("detector `{}` {does} in `{text}`", name.name);
                return Err(self.error(line, reason));
            }
        }
        Ok(regex)
    }

    fn hash(&self, label: &Key, key: Option<&SecretSlice<u8>>) -> Result<Method, RulesError> {
        let Some(key) = key else {
            let reason = format!("label `{}` hashes, and there is no `masking.key`", label.name);
            return Err(self.error(label.line, reason));
        };
        KeyedHash::new(key, &label.name).map(Method::Hash).ok_or_else(|| {
            let reason = format!("`masking.key` is shorter than {KEY_BYTES_MIN} bytes");
            self.error(label.line, reason)
        })
    }
}

/// The keys of a path: parted by dots, except in double quotes, within which a backslash escapes.
fn split_path(path: &str) -> Result<Vec<String>, String> {
    let mut keys = Vec::new();
    let mut characters = path.chars().peekable();
    loop {
        let mut key = String::new();
        if characters.next_if_eq(&'"').is_some() {
            loop {
                match characters.next() {
                    Some('"') => break,
                    Some('\\') => key.extend(characters.next()),
                    Some(character) => key.push(character),
                    None => return Err(format!("path `{path}` has a quote that does not end")),
                }
            }
        } else {
            while let Some(character) = characters.next_if(|character| *character != '.') {
                key.push(character);
            }
            if key.is_empty() {
                return Err(format!("path `{path}` has an empty key; quote one that is meant"));
            }
            if key.contains(['*', '"', '[', ']']) {
                return Err(format!(
                    "path `{path}` has a pattern or bracket in key `{key}`; paths name keys, enter \
                     arrays by themselves, and quote keys with such characters"
                ));
            }
        }
        keys.push(key);
        match characters.next() {
            None => return Ok(keys),
            Some('.') => {}
            Some(_) => {
                return Err(format!("path `{path}` goes on after a quoted key without a dot"));
            }
        }
    }
}

/// Whether `name` as a whole fits `glob`, in which `*` stands for any characters, or none.
fn glob_matches(glob: &str, name: &str) -> bool {
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    let Some(middle) = rest.strip_suffix(last) else { return false };
    rest = middle;
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

/// How much of a wrong name an error shows.
const NAME_CHARS_SHOWN: usize = 64;
