//! From rules to a plan: what of the rules for one topic is forbidden to one identity.

use std::sync::Arc;

use super::super::places::{End, Route};
use super::super::plan::{MaskPlan, Origin, Parts, Site};
use super::{Detect, Label, Marked, Only, Rule, Rules};

/// A plan that is being made.
pub(super) struct Planned<'r> {
    rules: &'r Rules,
    /// The labels in use, each at its place in the plan.
    used: Vec<usize>,
    parts: Parts,
}

impl<'r> Planned<'r> {
    pub(super) fn new(rules: &'r Rules, forbidden: Vec<bool>) -> Self {
        let origin = Origin { rules: rules.number, chosen: Vec::new(), forbidden };
        Self { rules, used: Vec::new(), parts: Parts { origin, ..Parts::default() } }
    }

    /// Adds what the rule at a place masks.
    pub(super) fn add(&mut self, place: usize, rule: &Rule) {
        self.parts.origin.chosen.push(place);
        if let Some(only) = &rule.only
            && let Some(site) = self.site(only)
        {
            self.add_list(&only.it, site);
        }
        for field in &rule.fields {
            if let Some(site) = self.site(field) {
                self.parts.routes.push(Route { steps: field.it.clone(), end: End::Masked(site) });
            }
        }
        for (steps, encoding) in &rule.encoded {
            let route = Route { steps: steps.clone(), end: End::Encoded(*encoding) };
            self.parts.routes.push(route);
        }
        for detect in &rule.detect {
            let Some(site) = self.site(detect) else { continue };
            match detect.it {
                Detect::Known(detector) => self.parts.detectors.add(detector, site),
                Detect::Own(pattern) => {
                    if let Some(pattern) = self.rules.patterns.get(pattern) {
                        self.parts.detectors.add_pattern(pattern.regex.clone(), site);
                    }
                }
            }
        }
        if let Some(key) = &rule.key
            && let Some(site) = self.site(key)
        {
            self.parts.key.get_or_insert(site);
        }
        for header in &rule.headers {
            if let Some(site) = self.site(header) {
                self.parts.headers.push((Arc::clone(&header.it), site));
            }
        }
    }

    /// The plan; `None` where nothing is masked.
    pub(super) fn finish(self) -> Option<MaskPlan> {
        if self.parts.sites.is_empty() {
            return None;
        }
        let plan = MaskPlan::new(self.parts);
        assert!(plan.is_some(), "a plan has no more places than all rules have");
        plan
    }

    fn add_list(&mut self, only: &Only, site: u16) {
        let list = self.parts.lists.len();
        self.parts.lists.push(site);
        let routes = only.fields.iter();
        let routes = routes.map(|steps| Route { steps: steps.clone(), end: End::Passes(list) });
        self.parts.routes.extend(routes);
        self.parts.header_lists.push((site, Arc::clone(&only.headers)));
        if !only.key {
            // In front of any other rule for the key: what may not pass is not shown in part.
            self.parts.key = Some(site);
        }
    }

    /// The site of something, if a label that it falls under is forbidden.
    fn site<T>(&mut self, marked: &Marked<T>) -> Option<u16> {
        let forbidden = &self.parts.origin.forbidden;
        let is_forbidden = |label: &&usize| forbidden.get(**label).copied().unwrap_or(true);
        let label = *marked.labels.iter().find(is_forbidden)?;
        let Label { name, treatment, .. } = self.rules.labels.get(label)?;
        let known = self.used.iter().position(|used| *used == label);
        let label = known.unwrap_or_else(|| {
            self.used.push(label);
            self.parts.labels.push(Arc::clone(name));
            self.used.len().saturating_sub(1)
        });
        let treatment = Arc::clone(treatment);
        let (what, place) = (Arc::clone(&marked.what), Arc::clone(&marked.place));
        self.parts.sites.push(Site { what, place, label, treatment });
        let site = u16::try_from(self.parts.sites.len().saturating_sub(1));
        assert!(site.is_ok(), "all rules together have fewer sites than 16 bits can name");
        site.ok()
    }
}
