//! Rules that can never matter: what they permit is forbidden to everybody whom they can speak of.
//!
//! (Rules that can match nothing at all, by their types, are refused when a bundle is loaded.)

use std::sync::Arc;

use cedar_policy::ResourceConstraint;

use super::bundle::Bundle;
use super::rule::{About, Rule, Whom};

impl Bundle {
    /// Each permit that an unconditional forbid covers, with that forbid.
    #[must_use]
    pub fn shadowed(&self) -> Vec<(&Rule, &Rule)> {
        let forbids: Vec<&Arc<Rule>> =
            self.rules.iter().filter(|rule| !rule.is_permit() && is_unconditional(rule)).collect();
        let permits = self.rules.iter().filter(|rule| rule.is_permit());
        permits
            .filter_map(|permit| {
                let forbid = forbids.iter().find(|forbid| covers(forbid, permit))?;
                Some((&**permit, &***forbid))
            })
            .collect()
    }
}

/// Whether a rule matches whatever its scope does.
fn is_unconditional(rule: &Rule) -> bool {
    let structure = rule.policy.to_pst();
    // What cannot be shown may have any.
    let has_conditions = structure.map_or(true, |it| !it.body().clauses().is_empty());
    let within_cluster = match rule.policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => false,
        // A scope of one cluster is about anything in it, and not about anything.
        _ => rule.about == About::Anything,
    };
    !has_conditions && !within_cluster && !rule.reads.partitions
}

/// Whether a forbid matches wherever a permit does. What is about partitions is left alone.
fn covers(forbid: &Rule, permit: &Rule) -> bool {
    let whom = forbid.whom == Whom::Everyone || forbid.whom == permit.whom;
    let about = forbid.about == About::Anything || forbid.about == permit.about;
    let answers = !permit.cells.is_empty() && permit.cells.is_subset(&forbid.cells);
    whom && about && answers && !permit.reads.partitions
}

#[cfg(test)]
mod tests {
    use super::super::bundle::PolicyFile;
    use super::*;

    #[test]
    fn permits_under_a_forbid_are_named() {
        let text = r#"
@id("read-all") permit (principal in Group::"a", action == Action::"Read", resource);
@id("read-x") permit (principal in Group::"a", action == Action::"Read", resource in Topic::"x");
@id("write-x") permit (principal in Group::"a", action == Action::"Write", resource in Topic::"x");
@id("b-reads-x") permit (principal in Group::"b", action == Action::"Read", resource in Topic::"x");
@id("no-x") forbid (principal in Group::"a", action == Action::"Read", resource in Topic::"x");
@id("no-y-at-night") forbid (principal, action == Action::"Write", resource in Topic::"x")
  when { context.clientId == "night" };
"#;
        let file = PolicyFile { name: "a.cedar".to_owned(), text: text.to_owned() };
        let bundle = Bundle::load(&[file], &[], 1).unwrap();
        let found: Vec<_> = bundle
            .shadowed()
            .iter()
            .map(|(rule, by)| (rule.id().to_owned(), by.id().to_owned()))
            .collect();
        assert_eq!(found, [("read-x".to_owned(), "no-x".to_owned())]);
    }
}
