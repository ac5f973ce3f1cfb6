//! Mask rules: which fields, headers, keys and contents of which topics fall under which labels.
//!
//! Data owners write them (`docs/MASKING.md` has the format); who sees a label in clear is policy's
//! to say. Everything in a file is checked when it is read: an unknown key, label, method or
//! detector is an error with file and line.

mod label;
mod path;
mod planned;
mod reader;
mod reading;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use regex::bytes::Regex;

use super::demand::Demand;
use super::detect::{DETECTORS, Detector};
use super::encoded::Encoding;
use super::method::{Keys, Treatment};
use super::places::{End, Places, Route, Step};
use super::plan::MaskPlan;
use super::yaml::{self, Located, Node};
use planned::Planned;
use reader::Reader;
pub use reading::{Reading, Unreadable};

/// How many labels there may be, and how many keys the paths of all rules may have.
const LABELS_MAX: usize = 1_000;
const FIELDS_MAX: usize = 10_000;
/// How many things may mask in all rules together: plans name them by 16 bits.
const SITES_MAX: usize = 60_000;
/// How many detectors of its own a set of rules may have.
const PATTERNS_MAX: usize = 200;

/// Which way records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To a client.
    Read,
    /// From a client to the broker.
    Write,
}

/// How many rules were compiled.
static COMPILED: AtomicU64 = AtomicU64::new(1);

/// Checked mask rules of all files.
#[derive(Debug, Default)]
pub struct Rules {
    /// No other rules of this process have it.
    number: u64,
    labels: Vec<Label>,
    patterns: Vec<Pattern>,
    rules: Vec<Rule>,
    sites_count: usize,
    any_on_write: bool,
    /// Where a rule needs the schema registry, the first that does.
    registry_place: Option<Arc<str>>,
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
    treatment: Arc<Treatment>,
    /// Where it is defined.
    place: String,
}

#[derive(Debug, Default)]
struct Rule {
    topics: Vec<String>,
    fields: Vec<Marked<Vec<Step>>>,
    detect: Vec<Marked<Detect>>,
    key: Option<Marked<()>>,
    /// Strings that hold a document in another encoding.
    encoded: Vec<(Vec<Step>, Encoding)>,
    /// By patterns of header names.
    headers: Vec<Marked<Arc<str>>>,
    only: Option<Marked<Only>>,
    /// Which ways it holds.
    on: Vec<Direction>,
    /// What must be true of values that are written.
    demand: Option<Arc<Demand>>,
    reading: Reading,
}

/// Something in a rule, and the labels that it falls under.
#[derive(Debug)]
struct Marked<T> {
    it: T,
    labels: Vec<usize>,
    /// As the rule says it.
    what: Arc<str>,
    /// File and line.
    place: Arc<str>,
}

/// A list of what may pass.
#[derive(Debug, Default)]
struct Only {
    fields: Vec<Vec<Step>>,
    key: bool,
    headers: Arc<[String]>,
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
    /// Reads and checks all files. Labels of one are known in all; `keys` serve the labels whose
    /// method needs one.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file and line.
    pub fn compile(files: &[RulesFile<'_>], keys: &Keys) -> Result<Self, RulesError> {
        let number = COMPILED.fetch_add(1, Ordering::Relaxed);
        let mut rules = Self { number, ..Self::default() };
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
                    "labels" => rules.add_labels(&reader, value, keys)?,
                    "detectors" => rules.add_patterns(&reader, value)?,
                    _ => bodies.push((file.name, value)),
                }
            }
        }
        for (file, body) in bodies {
            let reader = Reader { file };
            for rule in reader.list(body)? {
                let line = rule.line;
                let rule = rules.read_rule(&reader, rule)?;
                rules.any_on_write |= rule.on.contains(&Direction::Write) || rule.demand.is_some();
                if rule.reading.needs_registry(rule.demand.as_deref()) {
                    rules.registry_place.get_or_insert_with(|| reader.place(line));
                }
                rules.rules.push(rule);
                rules.check_size(&reader, line)?;
            }
        }
        Ok(rules)
    }

    /// The labels that some rule uses on `topic`, each once: what policy is to be asked about.
    pub fn labels<'r>(&'r self, topic: &str) -> impl Iterator<Item = &'r Arc<str>> {
        let mut used = vec![false; self.labels.len()];
        for label in self.matching(topic).flat_map(Rule::labels) {
            if let Some(used) = used.get_mut(label) {
                *used = true;
            }
        }
        self.labels.iter().zip(used).filter(|(_, used)| *used).map(|(label, _)| &label.name)
    }

    /// The topics, and patterns of topics, that rules name, in order.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().flat_map(|rule| rule.topics.iter().map(String::as_str))
    }

    /// Whether any rule is for records on their way to the broker: where none is, they need not be looked at.
    #[must_use]
    pub fn any_on_write(&self) -> bool {
        self.any_on_write
    }

    /// What must be true of the values that are written to `topic`.
    pub fn demands(&self, topic: &str) -> Vec<Arc<Demand>> {
        self.matching(topic).filter_map(|rule| rule.demand.clone()).collect()
    }

    /// How records of `topic` are read.
    #[must_use]
    pub fn reading(&self, topic: &str) -> Reading {
        Reading::of(self.matching(topic).map(|rule| (&rule.reading, rule.demand.as_deref())))
    }

    /// File and line of the first rule that needs a schema registry.
    #[must_use]
    pub fn registry_place(&self) -> Option<&str> {
        self.registry_place.as_deref()
    }

    /// Whether any rule names `topic`: where none does, nobody need be asked about labels.
    #[must_use]
    pub fn names(&self, topic: &str) -> bool {
        self.matching(topic).next().is_some()
    }

    /// What is masked in records of `topic` that go one way, for an identity that sees those labels in clear for which `clear`
    /// is true; `None` where that is nothing. A value under several labels is clear only if all
    /// are; otherwise the first forbidden label, in the order of files and lines, says how it is
    /// masked.
    ///
    /// # Panics
    /// If the paths need more places than a plan may have: [`Rules::compile`] has counted those of
    /// all rules together, and these are some of them.
    pub fn plan(
        &self,
        topic: &str,
        direction: Direction,
        clear: impl Fn(&str) -> bool,
    ) -> Option<MaskPlan> {
        let forbidden = self.labels.iter().map(|label| !clear(&label.name)).collect();
        let mut plan = Planned::new(self, forbidden);
        for (place, rule) in self.placed(topic).filter(|(_, rule)| rule.on.contains(&direction)) {
            plan.add(place, rule);
        }
        plan.finish()
    }

    fn matching<'r>(&'r self, topic: &str) -> impl Iterator<Item = &'r Rule> {
        self.placed(topic).map(|(_, rule)| rule)
    }

    fn placed<'r>(&'r self, topic: &str) -> impl Iterator<Item = (usize, &'r Rule)> {
        let names = move |rule: &Rule| rule.topics.iter().any(|glob| glob_matches(glob, topic));
        self.rules.iter().enumerate().filter(move |(_, rule)| names(rule))
    }

    fn add_labels(
        &mut self,
        reader: &Reader<'_>,
        labels: Located,
        keys: &Keys,
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
            let treatment = Arc::new(label::read(reader, &name, body, keys)?);
            let place = format!("{}:{}", reader.file, name.line);
            self.labels.push(Label { name: name.name.into(), treatment, place });
        }
        Ok(())
    }

    fn read_rule(&self, reader: &Reader<'_>, rule: Located) -> Result<Rule, RulesError> {
        const KEYS: &[&str] = &[
            "topics",
            "on",
            "format",
            "key-format",
            "unreadable",
            "fields",
            "encoded",
            "detect",
            "key",
            "headers",
            "only",
            "validate",
        ];
        let line = rule.line;
        let mut read = Rule { on: vec![Direction::Read], ..Rule::default() };
        for (key, value) in reader.map(rule)? {
            match reader.known(&key, KEYS)? {
                "topics" => {
                    for topic in reader.list(value)? {
                        read.topics.push(reader.text(topic)?.1);
                    }
                }
                "format" => read.reading.values = reading::read_format(reader, value, "json")?,
                "key-format" => read.reading.keys = reading::read_format(reader, value, "text")?,
                "unreadable" => {
                    read.reading.unreadable = Some(reading::read_unreadable(reader, value)?);
                }
                "fields" => {
                    for (path, labels) in reader.map(value)? {
                        let steps = path::read(reader, path.line, &path.name)?;
                        let what = format!("field {}", path.name);
                        read.fields.push(self.marked(reader, steps, &what, path.line, labels)?);
                    }
                }
                "encoded" => {
                    for (path, encoding) in reader.map(value)? {
                        let steps = path::read(reader, path.line, &path.name)?;
                        let (line, name) = reader.text(encoding)?;
                        let name = reader.choose(line, "encoding", &name, &Encoding::NAMES)?;
                        read.encoded
                            .extend(Encoding::named(name).map(|encoding| (steps, encoding)));
                    }
                }
                "key" => read.key = Some(self.marked(reader, (), "key", key.line, value)?),
                "headers" => {
                    for (glob, labels) in reader.map(value)? {
                        let what = format!("header {}", glob.name);
                        let name = Arc::from(glob.name.as_str());
                        read.headers.push(self.marked(reader, name, &what, glob.line, labels)?);
                    }
                }
                "only" => read.only = Some(self.read_only(reader, value)?),
                "on" => read.on = reading::read_directions(reader, value)?,
                "validate" => read.demand = Some(Arc::new(reading::read_demand(reader, value)?)),
                _ => self.read_detect(reader, value, &mut read)?,
            }
        }
        if read.topics.is_empty() {
            return Err(reader.error(line, "a rule names no topics; say `topics: [\"orders.*\"]`"));
        }
        if read.labels().next().is_none() && read.demand.is_none() {
            let wanted = "`fields`, `detect`, `key`, `headers`, `only` or `validate`";
            return Err(reader.error(line, format!("a rule does nothing: it has no {wanted}")));
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
                let Some(it) = detect.or_else(|| own().map(Detect::Own)) else { continue };
                let what = format!("detector {name}").into();
                let place = reader.place(line);
                rule.detect.push(Marked { it, labels: vec![label], what, place });
            }
        }
        Ok(())
    }

    fn read_only(&self, reader: &Reader<'_>, value: Located) -> Result<Marked<Only>, RulesError> {
        let line = value.line;
        let (mut only, mut headers, mut labels) = (Only::default(), Vec::new(), Vec::new());
        for (key, value) in reader.map(value)? {
            match reader.known(&key, &["label", "fields", "key", "headers"])? {
                "label" => {
                    let (line, name) = reader.text(value)?;
                    let label = self.label(reader, line, &name)?;
                    let treatment = self.labels.get(label).map(|label| &label.treatment);
                    if !treatment.is_some_and(|treatment| treatment.method.is_drop()) {
                        let reason = format!(
                            "`only` leaves out what it does not name: label `{name}` needs method `drop`"
                        );
                        return Err(reader.error(line, reason));
                    }
                    labels.push(label);
                }
                "fields" => {
                    for field in reader.list(value)? {
                        let (line, path) = reader.text(field)?;
                        only.fields.push(path::read(reader, line, &path)?);
                    }
                }
                "key" => only.key = reader.boolean(&value)?,
                _ => {
                    for header in reader.list(value)? {
                        headers.push(reader.text(header)?.1);
                    }
                }
            }
        }
        if labels.is_empty() || only.fields.is_empty() {
            return Err(reader.error(line, "`only` needs a `label`, and `fields` that may pass"));
        }
        only.headers = headers.into();
        Ok(Marked { it: only, labels, what: "only".into(), place: reader.place(line) })
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
            let regex = label::read_pattern(reader, &name, body)?;
            let place = format!("{}:{}", reader.file, name.line);
            self.patterns.push(Pattern { name: name.name, regex, place });
        }
        Ok(())
    }

    /// Something that falls under one label, or a list of them.
    fn marked<T>(
        &self,
        reader: &Reader<'_>,
        it: T,
        what: &str,
        line: u64,
        labels: Located,
    ) -> Result<Marked<T>, RulesError> {
        let values = match labels.node {
            Node::List(list) if !list.is_empty() => list,
            node => vec![Located { line: labels.line, node }],
        };
        let labels = values.into_iter().map(|value| {
            let (line, name) = reader.text(value)?;
            self.label(reader, line, &name)
        });
        let labels = labels.collect::<Result<_, _>>()?;
        Ok(Marked { it, labels, what: what.into(), place: reader.place(line) })
    }

    fn label(&self, reader: &Reader<'_>, line: u64, name: &str) -> Result<usize, RulesError> {
        let position = self.labels.iter().position(|label| *label.name == *name);
        position.ok_or_else(|| {
            let known: Vec<&str> = self.labels.iter().map(|label| &*label.name).collect();
            reader.unknown(line, "label", name, &known)
        })
    }

    /// Refuses rules that a plan could be too large for; the last one, which begins on `line`, was
    /// one too many.
    fn check_size(&mut self, reader: &Reader<'_>, line: u64) -> Result<(), RulesError> {
        let fields = || self.rules.iter().flat_map(|rule| &rule.fields);
        let only = || self.rules.iter().filter_map(|rule| rule.only.as_ref());
        let passing = || only().flat_map(|only| &only.it.fields);
        let encoded = || self.rules.iter().flat_map(|rule| &rule.encoded);
        let keys = fields().map(|field| field.it.len()).chain(passing().map(Vec::len));
        let keys = keys.chain(encoded().map(|(steps, _)| steps.len()));
        if keys.sum::<usize>() > FIELDS_MAX {
            let reason = format!("the fields of all rules have more than {FIELDS_MAX} keys");
            return Err(reader.error(line, reason));
        }
        let added = self.rules.last().map_or(0, |rule| rule.labels().count());
        self.sites_count = self.sites_count.saturating_add(added);
        if self.sites_count > SITES_MAX {
            let reason = format!("all rules together mask by more than {SITES_MAX} things");
            return Err(reader.error(line, reason));
        }
        // Plain paths need no more places than they have keys.
        let is_plain = |steps: &Vec<Step>| steps.iter().all(|step| matches!(step, Step::Key(_)));
        let mut added = self.rules.last().into_iter().flat_map(|rule| {
            let fields = rule.fields.iter().map(|field| &field.it);
            fields.chain(rule.encoded.iter().map(|(steps, _)| steps))
        });
        if added.all(is_plain) && only().next().is_none() {
            return Ok(());
        }
        // The plan of a topic has some of these routes, and so no more places than all of them.
        let masks = fields().map(|field| Route { steps: field.it.clone(), end: End::Masked(0) });
        let lists = only().enumerate().flat_map(|(list, only)| {
            let routes = only.it.fields.iter();
            routes.map(move |steps| Route { steps: steps.clone(), end: End::Passes(list) })
        });
        let encoded = encoded()
            .map(|(steps, encoding)| Route { steps: steps.clone(), end: End::Encoded(*encoding) });
        let routes: Vec<Route> = masks.chain(lists).chain(encoded).collect();
        let sites = vec![0; only().count()];
        if Places::new(&routes, &sites).is_err() {
            let reason =
                "the paths of all rules lead to too many places; use fewer `*` behind `**`";
            return Err(reader.error(line, reason));
        }
        Ok(())
    }
}

impl Rule {
    fn labels(&self) -> impl Iterator<Item = usize> {
        let fields = self.fields.iter().flat_map(|field| &field.labels);
        let detect = self.detect.iter().flat_map(|detect| &detect.labels);
        let key = self.key.iter().flat_map(|key| &key.labels);
        let headers = self.headers.iter().flat_map(|header| &header.labels);
        let only = self.only.iter().flat_map(|only| &only.labels);
        fields.chain(detect).chain(key).chain(headers).chain(only).copied()
    }
}

/// Whether `name` as a whole fits `glob`, in which `*` stands for any characters, or none.
pub(super) fn glob_matches(glob: &str, name: &str) -> bool {
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
