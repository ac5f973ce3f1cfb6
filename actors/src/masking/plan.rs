//! What is masked on one topic for one identity, ready to be applied.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, packed};

use super::detect::{Detectors, Found, Writing};
use super::json::{self, Sheet, Unreadable};
use super::method::{Form, Method};

/// A value above this size is withheld: one record is masked in one turn of a shard, and a turn is
/// short.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// Masks for one topic and one set of forbidden labels. Shared by all sessions for which they are
/// the same.
#[derive(Debug)]
pub struct MaskPlan {
    /// Each forbidden label with its method; masks are indices into it.
    masks: Vec<Mask>,
    labels: Vec<Arc<str>>,
    nodes: Vec<Node>,
    detectors: Detectors,
    /// Finds the last keys of all paths; `None` where no field is masked.
    candidates: Option<Candidates>,
}

/// A label and what is done to values under it.
#[derive(Clone, Debug)]
pub(super) struct Mask {
    pub(super) label: Arc<str>,
    pub(super) method: Method,
}

/// A masked field: the keys from the root to it, and the mask.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) keys: Vec<String>,
    pub(super) mask: u16,
}

/// A place in documents on the way to a masked field.
#[derive(Debug, Default)]
struct Node {
    children: Vec<(Box<[u8]>, u16)>,
    mask: Option<u16>,
    /// The mask of some field below.
    below: Option<u16>,
}

/// Searches for any of some keys.
#[derive(Debug)]
enum Candidates {
    /// With vectors, for few keys on a processor that has them: several times as fast.
    Packed(packed::Searcher),
    /// For any number of keys.
    Automaton(AhoCorasick),
}

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masked<'s> {
    /// Nothing is masked: deliver the bytes as they are.
    Unchanged,
    /// Deliver these instead.
    Changed(&'s [u8]),
    /// The value cannot be read: deliver [`super::method::WITHHELD`] instead.
    Withheld,
}

/// Buffers for masking, and the counts since they were last cleared. One per shard, for one plan at
/// a time.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) sheet: Sheet,
    counts: MaskCounts,
}

/// What was masked, for the record log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskCounts {
    /// How many values were masked under each label, in the order of [`MaskPlan::labels`]; shorter
    /// where the rest is 0.
    pub labels: Vec<u64>,
    /// How many values were withheld.
    pub withheld: u64,
}

impl Scratch {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the counts without giving up their buffer.
    pub fn clear_counts(&mut self) {
        self.counts.labels.clear();
        self.counts.withheld = 0;
    }

    /// The counts since they were last cleared.
    #[must_use]
    pub fn counts(&self) -> &MaskCounts {
        &self.counts
    }

    fn count_hits(&mut self) {
        for mask in &self.sheet.hits {
            let index = usize::from(*mask);
            if self.counts.labels.len() <= index {
                self.counts.labels.resize(index.saturating_add(1), 0);
            }
            if let Some(count) = self.counts.labels.get_mut(index) {
                *count = count.saturating_add(1);
            }
        }
    }
}

impl MaskCounts {
    /// Adds counts of the same plan.
    pub fn add(&mut self, more: &Self) {
        if self.labels.len() < more.labels.len() {
            self.labels.resize(more.labels.len(), 0);
        }
        for (count, more) in self.labels.iter_mut().zip(&more.labels) {
            *count = count.saturating_add(*more);
        }
        self.withheld = self.withheld.saturating_add(more.withheld);
    }
}

impl MaskPlan {
    pub(super) fn new(masks: Vec<Mask>, fields: &[Field], detectors: Detectors) -> Self {
        let mut nodes = vec![Node::default()];
        for field in fields {
            insert(&mut nodes, field);
        }
        // Without their quotes: a reader that is not strict takes a key without quotes for a key
        // too.
        let keys: Vec<&String> = fields.iter().filter_map(|field| field.keys.last()).collect();
        let candidates = Candidates::new(&keys);
        let labels = masks.iter().map(|mask| Arc::clone(&mask.label)).collect();
        Self { masks, labels, nodes, detectors, candidates }
    }

    /// The labels whose values are masked, each once. Counts follow this order.
    #[must_use]
    pub fn labels(&self) -> &[Arc<str>] {
        &self.labels
    }

    /// Masks a record's value, which must be a JSON document.
    ///
    /// Nothing is allocated where nothing is masked and `scratch` is warm.
    pub fn mask_value<'s>(&self, value: &[u8], scratch: &'s mut Scratch) -> Masked<'s> {
        if self.may_pass(value) {
            return Masked::Unchanged;
        }
        let readable = value.len() <= VALUE_BYTES_MAX
            && std::str::from_utf8(value).is_ok()
            && json::walk(self, value, &mut scratch.sheet) == Ok(());
        if readable { self.walked(scratch) } else { withheld(scratch) }
    }

    /// Masks a record's key, or a header's name or value. They have no declared format: one that is
    /// a JSON document is masked as a value is; in any other the detectors read the text that is
    /// there.
    pub fn mask_text<'s>(&self, bytes: &[u8], scratch: &'s mut Scratch) -> Masked<'s> {
        if bytes.is_empty() {
            return Masked::Unchanged;
        }
        if bytes.len() > VALUE_BYTES_MAX {
            return withheld(scratch);
        }
        let ascii = bytes.is_ascii() && !bytes.contains(&0);
        let first = bytes.trim_ascii_start().first();
        if let Some(b'{' | b'[' | b'"') = first {
            let read = std::str::from_utf8(bytes).map_err(|_| Unreadable);
            if read.and_then(|_| json::walk(self, bytes, &mut scratch.sheet)).is_ok() {
                return self.walked(scratch);
            }
            // Looks like a document with masked fields, and cannot be read.
            if first != Some(&b'"') && self.nodes.len() > 1 {
                return withheld(scratch);
            }
        }
        self.mask_plain(bytes, Writing { escaped: false, ascii }, scratch)
    }

    /// Masks what the detectors find in bytes that are no document.
    fn mask_plain<'s>(
        &self,
        bytes: &[u8],
        writing: Writing,
        scratch: &'s mut Scratch,
    ) -> Masked<'s> {
        let Sheet { out, hits, found, folded, .. } = &mut scratch.sheet;
        self.detectors.find(bytes, writing, folded, found);
        if found.is_empty() {
            return Masked::Unchanged;
        }
        out.clear();
        hits.clear();
        let mut copied = 0;
        for Found { start, end, mask } in found.iter().copied() {
            let (Some(kept), Some(original)) = (bytes.get(copied..start), bytes.get(start..end))
            else {
                continue;
            };
            out.extend_from_slice(kept);
            if let Some(method) = self.method(mask) {
                method.write(Form::Text, original, &mut Vec::new(), out);
            }
            copied = end;
            hits.push(mask);
        }
        out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
        scratch.count_hits();
        Masked::Changed(&scratch.sheet.out)
    }

    pub(super) fn walked<'s>(&self, scratch: &'s mut Scratch) -> Masked<'s> {
        if scratch.sheet.hits.is_empty() {
            return Masked::Unchanged;
        }
        scratch.count_hits();
        Masked::Changed(&scratch.sheet.out)
    }

    /// Whether a document can hold nothing to mask, by a scan alone. It is not validated then: see
    /// `docs/MASKING.md`.
    fn may_pass(&self, value: &[u8]) -> bool {
        let ends = (value.first(), value.last());
        if !matches!(ends, (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']'))) {
            return false;
        }
        if self.nodes.len() > 1
            && self.candidates.as_ref().is_none_or(|candidates| candidates.are_in(value))
        {
            return false;
        }
        if memchr::memchr(b'\\', value).is_some() {
            return false;
        }
        if self.detectors.document_may_hold(value) {
            return false;
        }
        std::str::from_utf8(value).is_ok()
    }

    pub(super) fn root(&self) -> u16 {
        if self.nodes.len() > 1 { 0 } else { NO_NODE }
    }

    /// The node under `parent` for `key`, or [`NO_NODE`].
    pub(super) fn child(&self, parent: u16, key: &[u8]) -> u16 {
        let Some(node) = self.nodes.get(usize::from(parent)) else { return NO_NODE };
        let found = node.children.iter().find(|(name, _)| **name == *key);
        found.map_or(NO_NODE, |(_, child)| *child)
    }

    /// The mask of a value at `node`.
    pub(super) fn mask_of(&self, node: u16) -> Option<u16> {
        self.nodes.get(usize::from(node)).and_then(|node| node.mask)
    }

    /// The mask of some field below `node`.
    pub(super) fn mask_below(&self, node: u16) -> Option<u16> {
        self.nodes.get(usize::from(node)).and_then(|node| node.below)
    }

    pub(super) fn method(&self, mask: u16) -> Option<&Method> {
        self.masks.get(usize::from(mask)).map(|mask| &mask.method)
    }

    pub(super) fn detectors(&self) -> &Detectors {
        &self.detectors
    }
}

impl Candidates {
    /// `None` where nothing can be built: no document passes without a walk then.
    fn new(keys: &[&String]) -> Option<Self> {
        if keys.is_empty() {
            return None;
        }
        let packed = packed::Config::new().builder().extend(keys).build();
        packed.map(Self::Packed).or_else(|| AhoCorasick::new(keys).ok().map(Self::Automaton))
    }

    fn are_in(&self, value: &[u8]) -> bool {
        match self {
            Self::Packed(searcher) => searcher.find(value).is_some(),
            Self::Automaton(automaton) => automaton.is_match(value),
        }
    }
}

pub(super) fn withheld(scratch: &mut Scratch) -> Masked<'_> {
    scratch.counts.withheld = scratch.counts.withheld.saturating_add(1);
    Masked::Withheld
}

/// Adds a field to the tree of nodes; the first mask of a place stays.
fn insert(nodes: &mut Vec<Node>, field: &Field) {
    let mut at = 0_u16;
    for key in &field.keys {
        let fresh = u16::try_from(nodes.len()).unwrap_or(NO_NODE);
        let Some(node) = nodes.get_mut(usize::from(at)) else { return };
        node.below.get_or_insert(field.mask);
        let known = node.children.iter().find(|(name, _)| **name == *key.as_bytes());
        at = match known {
            Some((_, child)) => *child,
            None => {
                node.children.push((key.as_bytes().into(), fresh));
                nodes.push(Node::default());
                fresh
            }
        };
    }
    if let Some(node) = nodes.get_mut(usize::from(at)) {
        node.mask.get_or_insert(field.mask);
    }
}

/// A place below which nothing is masked. Rules are refused before they need as many nodes.
pub(super) const NO_NODE: u16 = u16::MAX;
