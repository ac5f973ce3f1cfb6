//! What is masked on one topic for one identity, ready to be applied.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, packed};

use super::detect::{Detectors, Found, Writing};
use super::encoded::Encoding;
use super::json::{self, Sheet};
use super::method::{Form, Treatment, Written};
use super::places::{End, NOWHERE, Places, Removes, Route, Step};

/// A value above this size is withheld: one record is masked in one turn of a shard, and a turn is
/// short.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// Masks for one topic and one set of forbidden labels. Shared by all sessions for which they are
/// the same.
#[derive(Debug)]
pub struct MaskPlan {
    origin: Arc<Origin>,
    /// What masks; fields, detectors and the rest are indices into it.
    sites: Vec<Site>,
    labels: Vec<Arc<str>>,
    places: Places,
    /// Whether lists say what may pass.
    has_lists: bool,
    /// Whether anything is left out rather than replaced.
    leaves_out: bool,
    detectors: Detectors,
    /// Finds the last keys of all paths; `None` where no field is masked, or any key is a last one.
    candidates: Option<Candidates>,
    key: Option<u16>,
    headers: Vec<(Arc<str>, u16)>,
    /// For each list, its site and the headers that may pass.
    header_lists: Vec<(u16, Arc<[String]>)>,
}

/// One thing in a rule that masks: a field, a detector, a header, the key.
#[derive(Clone, Debug)]
pub struct Site {
    /// What it is, as the rule says it.
    pub what: Arc<str>,
    /// The rule's file and line.
    pub place: Arc<str>,
    /// The label, by its place in [`MaskPlan::labels`].
    pub(super) label: usize,
    pub(super) treatment: Arc<Treatment>,
}

/// What masked a value.
#[derive(Clone, Copy, Debug)]
pub struct Fired<'p> {
    /// What of the rules it was.
    pub site: &'p Site,
    /// The label that the value falls under.
    pub label: &'p str,
}

impl Site {
    /// The name of its method.
    #[must_use]
    pub fn method_name(&self) -> &'static str {
        self.treatment.method.name()
    }
}

/// Everything that a plan is made of.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) origin: Origin,
    pub(super) sites: Vec<Site>,
    pub(super) labels: Vec<Arc<str>>,
    pub(super) routes: Vec<Route>,
    /// The site of each list of what may pass.
    pub(super) lists: Vec<u16>,
    pub(super) detectors: Detectors,
    pub(super) key: Option<u16>,
    pub(super) headers: Vec<(Arc<str>, u16)>,
    pub(super) header_lists: Vec<(u16, Arc<[String]>)>,
}

/// What a plan was made from: plans that were made from the same mask the same, whoever they are for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    /// The number of the [`super::Rules`].
    pub(super) rules: u64,
    /// Which of them, by their places.
    pub(super) chosen: Vec<usize>,
    /// Whether each label must be masked.
    pub(super) forbidden: Vec<bool>,
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
    /// Deliver null; leave the header out, where it is a header's name.
    Null,
}

/// Buffers for masking, and the counts since they were last cleared. One per shard, for one plan at
/// a time.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) sheet: Sheet,
    counts: MaskCounts,
    /// Whether something was masked in the value before: then it is likely that this one does not pass by a scan.
    masked_last: bool,
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

    fn count(&mut self, label: usize) {
        if self.labels.len() <= label {
            self.labels.resize(label.saturating_add(1), 0);
        }
        if let Some(count) = self.labels.get_mut(label) {
            *count = count.saturating_add(1);
        }
    }
}

impl MaskPlan {
    /// `None` where the paths need more places than a plan may have: rules are refused before.
    pub(super) fn new(parts: Parts) -> Option<Self> {
        let places = Places::new(&parts.routes, &parts.lists).ok()?;
        let masked = parts.routes.iter().filter(|route| !matches!(route.end, End::Passes(_)));
        let candidates = Candidates::new(masked.map(|route| route.steps.last()));
        let Parts { origin, sites, labels, lists, detectors, key, headers, header_lists, .. } =
            parts;
        let has_lists = !lists.is_empty();
        let leaves_out = has_lists || sites.iter().any(|site| site.treatment.method.is_drop());
        Some(Self {
            origin: Arc::new(origin),
            sites,
            labels,
            places,
            has_lists,
            leaves_out,
            detectors,
            candidates,
            key,
            headers,
            header_lists,
        })
    }

    /// A plan by which nothing is masked.
    pub(super) fn nothing() -> Option<Self> {
        Self::new(Parts::default())
    }

    /// The labels whose values are masked, each once. Counts follow this order.
    #[must_use]
    pub fn labels(&self) -> &[Arc<str>] {
        &self.labels
    }

    /// What masked the value that was last masked with `scratch`, once for each time.
    pub fn fired<'p>(&'p self, scratch: &'p Scratch) -> impl Iterator<Item = Fired<'p>> {
        scratch.sheet.hits.iter().filter_map(|site| {
            let site = self.sites.get(usize::from(*site))?;
            Some(Fired { site, label: self.labels.get(site.label)? })
        })
    }

    /// Masks a record's value, which must be a JSON document.
    ///
    /// Nothing is allocated where nothing is masked and `scratch` is warm.
    pub fn mask_value<'s>(&self, value: &[u8], scratch: &'s mut Scratch) -> Masked<'s> {
        scratch.sheet.hits.clear();
        // A value that passes by the scan passes by the walk, too, where that can read it; so it does not matter which is first.
        let walks_first = std::mem::take(&mut scratch.masked_last);
        if !walks_first && self.may_pass(value) {
            return Masked::Unchanged;
        }
        let readable =
            value.len() <= VALUE_BYTES_MAX && json::walk(self, value, &mut scratch.sheet) == Ok(());
        if readable {
            scratch.masked_last = !scratch.sheet.hits.is_empty();
            return self.walked(scratch);
        }
        if walks_first && self.may_pass(value) {
            scratch.sheet.hits.clear();
            return Masked::Unchanged;
        }
        withheld(scratch)
    }

    /// Masks a record's key: whole, where a rule says so; null, where a list of what may pass does not name it; and as
    /// [`MaskPlan::mask_text`] otherwise.
    pub fn mask_key<'s>(&self, key: &[u8], scratch: &'s mut Scratch) -> Masked<'s> {
        match self.key {
            Some(site) => self.mask_whole(site, key, scratch),
            None => self.mask_text(key, scratch),
        }
    }

    /// Masks a header's name, or removes the header.
    pub fn mask_header_name<'s>(&self, name: &[u8], scratch: &'s mut Scratch) -> Masked<'s> {
        if let Some(site) = self.header_removed(name) {
            scratch.sheet.hits.clear();
            scratch.sheet.hits.push(site);
            self.count_hits(scratch);
            return Masked::Null;
        }
        self.mask_text(name, scratch)
    }

    /// Masks the value of a header with this name.
    pub fn mask_header_value<'s>(
        &self,
        name: &[u8],
        value: &[u8],
        scratch: &'s mut Scratch,
    ) -> Masked<'s> {
        match self.header_site(name) {
            Some(site) => self.mask_whole(site, value, scratch),
            None => self.mask_text(value, scratch),
        }
    }

    /// Masks a text without a declared format: one that is a JSON document is masked as a value is; in any other the
    /// detectors read the text that is there.
    pub fn mask_text<'s>(&self, bytes: &[u8], scratch: &'s mut Scratch) -> Masked<'s> {
        scratch.sheet.hits.clear();
        if bytes.is_empty() {
            return Masked::Unchanged;
        }
        if bytes.len() > VALUE_BYTES_MAX {
            return withheld(scratch);
        }
        let ascii = bytes.is_ascii() && !bytes.contains(&0);
        let first = bytes.trim_ascii_start().first();
        if let Some(b'{' | b'[' | b'"') = first {
            if json::walk(self, bytes, &mut scratch.sheet).is_ok() {
                return self.walked(scratch);
            }
            // Looks like a document with masked fields, and cannot be read.
            if first != Some(&b'"') && self.root() != NOWHERE {
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
        hits.clear();
        self.detectors.find(bytes, writing, folded, found);
        if found.is_empty() {
            return Masked::Unchanged;
        }
        out.clear();
        let mut copied = 0;
        for Found { start, end, mask } in found.iter().copied() {
            let (Some(kept), Some(original)) = (bytes.get(copied..start), bytes.get(start..end))
            else {
                continue;
            };
            out.extend_from_slice(kept);
            if let Some(treatment) = self.treatment(mask) {
                treatment.write_part(Form::Text, original, &mut Vec::new(), out);
            }
            copied = end;
            hits.push(mask);
        }
        out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
        self.count_hits(scratch);
        Masked::Changed(&scratch.sheet.out)
    }

    /// Masks all of a key or header value.
    fn mask_whole<'s>(&self, site: u16, bytes: &[u8], scratch: &'s mut Scratch) -> Masked<'s> {
        let Sheet { out, hits, text, .. } = &mut scratch.sheet;
        out.clear();
        hits.clear();
        hits.push(site);
        let form = if std::str::from_utf8(bytes).is_ok() { Form::Text } else { Form::Opaque };
        let treatment = self.treatment(site);
        let written = treatment.map(|treatment| treatment.write(form, bytes, text, out));
        self.count_hits(scratch);
        match written {
            Some(Written::Text) => Masked::Changed(&scratch.sheet.out),
            // Of the methods, only those write a literal for a text that leave nothing of it.
            Some(Written::Literal) | None => Masked::Null,
        }
    }

    /// What masks all of a record's key.
    pub(super) fn key_site(&self) -> Option<u16> {
        self.key
    }

    /// Counts a value that cannot be read.
    pub fn withhold<'s>(&self, scratch: &'s mut Scratch) -> Masked<'s> {
        scratch.sheet.hits.clear();
        withheld(scratch)
    }

    pub(super) fn walked<'s>(&self, scratch: &'s mut Scratch) -> Masked<'s> {
        if scratch.sheet.hits.is_empty() {
            return Masked::Unchanged;
        }
        self.count_hits(scratch);
        Masked::Changed(&scratch.sheet.out)
    }

    fn count_hits(&self, scratch: &mut Scratch) {
        for site in &scratch.sheet.hits {
            if let Some(site) = self.sites.get(usize::from(*site)) {
                scratch.counts.count(site.label);
            }
        }
    }

    /// Whether a document can hold nothing to mask, by a scan alone. It is not validated then: see
    /// `docs/MASKING.md`.
    fn may_pass(&self, value: &[u8]) -> bool {
        let ends = (value.first(), value.last());
        if self.has_lists || !matches!(ends, (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']'))) {
            return false;
        }
        if self.root() != NOWHERE
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

    pub(super) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Whether anything is left out rather than replaced.
    pub(super) fn leaves_out(&self) -> bool {
        self.leaves_out
    }

    pub(super) fn root(&self) -> u16 {
        self.places.root()
    }

    /// The place under `parent` for `key`, or [`NOWHERE`].
    pub(super) fn child(&self, parent: u16, key: &[u8]) -> u16 {
        self.places.child(parent, key)
    }

    /// The site that masks a value at `place`.
    pub(super) fn mask_of(&self, place: u16) -> Option<u16> {
        self.places.mask_of(place)
    }

    /// The site that masks some value below `place`.
    pub(super) fn mask_below(&self, place: u16) -> Option<u16> {
        self.places.mask_below(place)
    }

    /// How a string at `place` is encoded.
    pub(super) fn encoding_of(&self, place: u16) -> Option<Encoding> {
        self.places.encoding(place)
    }

    /// The site that leaves out a value at `place`.
    pub(super) fn drop_of(&self, place: u16, is_container: bool) -> Option<u16> {
        match self.places.removes(place) {
            Some(Removes::All(site)) => return Some(site),
            Some(Removes::Scalars(site)) if !is_container => return Some(site),
            _ => {}
        }
        let site = self.mask_of(place)?;
        self.treatment(site).filter(|treatment| treatment.method.is_drop()).map(|_| site)
    }

    pub(super) fn treatment(&self, site: u16) -> Option<&Treatment> {
        self.sites.get(usize::from(site)).map(|site| &*site.treatment)
    }

    pub(super) fn detectors(&self) -> &Detectors {
        &self.detectors
    }

    /// The site that leaves out the header with this name.
    fn header_removed(&self, name: &[u8]) -> Option<u16> {
        let named = |globs: &[String]| globs.iter().any(|glob| glob_matches_bytes(glob, name));
        let list = self.header_lists.iter().find(|(_, globs)| !named(globs));
        list.map(|(site, _)| *site).or_else(|| {
            let site = self.header_site(name)?;
            self.treatment(site).filter(|treatment| treatment.method.is_drop()).map(|_| site)
        })
    }

    fn header_site(&self, name: &[u8]) -> Option<u16> {
        let found = self.headers.iter().find(|(glob, _)| glob_matches_bytes(glob, name));
        found.map(|(_, site)| *site)
    }
}

impl Candidates {
    /// `None` where nothing can be built: no document passes without a walk then.
    fn new<'r>(last_steps: impl Iterator<Item = Option<&'r Step>>) -> Option<Self> {
        // Without their quotes: a reader that is not strict takes a key without quotes for a key
        // too.
        let key = |step: Option<&'r Step>| match step {
            Some(Step::Key(key)) => Some(key),
            _ => None,
        };
        let keys: Vec<&Box<[u8]>> = last_steps.map(key).collect::<Option<_>>()?;
        if keys.is_empty() {
            return None;
        }
        let packed = packed::Config::new().builder().extend(&keys).build();
        packed.map(Self::Packed).or_else(|| AhoCorasick::new(&keys).ok().map(Self::Automaton))
    }

    fn are_in(&self, value: &[u8]) -> bool {
        match self {
            Self::Packed(searcher) => searcher.find(value).is_some(),
            Self::Automaton(automaton) => automaton.is_match(value),
        }
    }
}

pub(super) fn withheld(scratch: &mut Scratch) -> Masked<'_> {
    scratch.sheet.hits.clear();
    scratch.counts.withheld = scratch.counts.withheld.saturating_add(1);
    Masked::Withheld
}

fn glob_matches_bytes(glob: &str, name: &[u8]) -> bool {
    // A name that is no UTF-8 is compared by what of it is, so that no odd byte gets a header past its rule.
    super::rules::glob_matches(glob, &String::from_utf8_lossy(name))
}
