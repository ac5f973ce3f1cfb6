//! One policy of a bundle, checked: what it is called, whom and what it can speak of, who approves it.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::pst::{self, Clause, Expr, Literal};
use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PrincipalConstraint, ResourceConstraint,
};

use super::schema::{Kind, Names, split_partition};

/// A policy with what was learnt about it at load.
#[derive(Debug)]
pub struct Rule {
    pub(super) id: Arc<str>,
    pub(super) policy: Policy,
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) approvers: Vec<String>,
    pub(super) grant_ttl_ms: i64,
    pub(super) reads: Reads,
    pub(super) whom: Whom,
    pub(super) about: About,
    /// The questions and kinds of resource that it can answer.
    pub(super) cells: BTreeSet<(usize, usize)>,
    /// The questions that it can answer for a partition, where it mentions partitions at all.
    pub(super) partition_questions: BTreeSet<usize>,
}

/// Which identities a scope can match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Everyone,
    Group(String),
    User(String),
}

/// Which resources a scope can match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// Any resource of its kinds.
    Anything,
    /// One named resource; for a partition the name is its topic's.
    Named(Kind, String),
}

/// What a policy's text refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reads {
    /// `context.approved`.
    pub(super) approved: bool,
    /// `context.now`.
    pub(super) time: bool,
    /// `context` other than by one of its attributes.
    pub(super) whole_context: bool,
    /// Partitions, by type or by name.
    pub(super) partitions: bool,
    /// Ids of partitions, to be checked for their form.
    pub(super) partition_ids: Vec<String>,
    /// Groups, in the scope and in conditions.
    pub(super) groups: Vec<String>,
}

impl Rule {
    /// The `@id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The file that the policy came from, and its line there, from 1.
    #[must_use]
    pub fn position(&self) -> (&str, usize) {
        (&self.file, self.line)
    }

    /// The policy as it was written.
    #[must_use]
    pub fn text(&self) -> String {
        self.policy.to_string()
    }

    pub(super) fn is_permit(&self) -> bool {
        self.policy.effect() == Effect::Permit
    }

    /// Whether the scope can match an identity.
    pub(super) fn can_match(&self, principal: &str, groups: &[String]) -> bool {
        match &self.whom {
            Whom::Everyone => true,
            Whom::Group(group) => groups.iter().any(|own| own == group),
            Whom::User(user) => user == principal,
        }
    }

    /// The topic whose partitions the rule tells apart: `None` for no topic, `Some(None)` for any.
    pub(super) fn partitions_of(&self) -> Option<Option<&str>> {
        self.reads.partitions.then_some(match &self.about {
            About::Named(Kind::Topic, topic) => Some(topic.as_str()),
            _ => None,
        })
    }
}

/// Reads a policy's scope and conditions.
///
/// # Errors
///
/// Where Cedar cannot show the policy's structure.
pub(super) fn survey(policy: &Policy) -> Result<Reads, pst::PstConstructionError> {
    let structure = policy.to_pst()?;
    let template = structure.body();
    let mut reads = Reads::default();
    match policy.principal_constraint() {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => {}
        PrincipalConstraint::In(entity)
        | PrincipalConstraint::Eq(entity)
        | PrincipalConstraint::IsIn(_, entity) => {
            reads.entity(&entity.type_name().to_string(), entity.id().unescaped());
        }
    }
    match policy.resource_constraint() {
        ResourceConstraint::Any => {}
        ResourceConstraint::Is(name) => reads.type_name(&name.to_string()),
        ResourceConstraint::In(entity) | ResourceConstraint::Eq(entity) => {
            reads.entity(&entity.type_name().to_string(), entity.id().unescaped());
        }
        ResourceConstraint::IsIn(name, entity) => {
            reads.type_name(&name.to_string());
            reads.entity(&entity.type_name().to_string(), entity.id().unescaped());
        }
    }
    for clause in template.clauses() {
        match clause {
            Clause::When(condition) | Clause::Unless(condition) => reads.expression(condition),
        }
    }
    Ok(reads)
}

/// Whom the scope of a policy can match.
pub(super) fn whom(policy: &Policy, names: &Names) -> Whom {
    match policy.principal_constraint() {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => Whom::Everyone,
        PrincipalConstraint::In(entity)
        | PrincipalConstraint::Eq(entity)
        | PrincipalConstraint::IsIn(_, entity) => {
            let id = entity.id().unescaped().to_owned();
            if *entity.type_name() == names.group { Whom::Group(id) } else { Whom::User(id) }
        }
    }
}

/// What the scope of a policy can match.
pub(super) fn about(policy: &Policy, names: &Names) -> About {
    match policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => About::Anything,
        ResourceConstraint::In(entity)
        | ResourceConstraint::Eq(entity)
        | ResourceConstraint::IsIn(_, entity) => about_entity(&entity, names),
    }
}

fn about_entity(entity: &EntityUid, names: &Names) -> About {
    let id = entity.id().unescaped();
    match names.kind(entity.type_name()) {
        // A cluster is above everything in it, so it is not a name that can be looked up.
        None | Some(Kind::Cluster) => About::Anything,
        Some(kind) if *entity.type_name() == names.partition => {
            let topic = split_partition(id).map_or(id, |(topic, _)| topic);
            About::Named(kind, topic.to_owned())
        }
        Some(kind) => About::Named(kind, id.to_owned()),
    }
}

/// Which questions a policy can answer, of which kinds of resource, and which of partitions.
pub(super) fn cells(policy: &Policy, names: &Names) -> (BTreeSet<(usize, usize)>, BTreeSet<usize>) {
    let mut cells = BTreeSet::new();
    let mut partition_questions = BTreeSet::new();
    let permits_any_action = policy.effect() == Effect::Permit
        && matches!(policy.action_constraint(), ActionConstraint::Any);
    for environment in policy.get_valid_request_envs(&names.schema) {
        let question = names.question(environment.action());
        let kind = names.kind(environment.resource()).map(Kind::index);
        let (Some(question), Some(kind)) = (question, kind) else { continue };
        // A right to everything is not meant to unmask, nor to go unrecorded: permits name these.
        if permits_any_action && question.is_obligation() {
            continue;
        }
        if *environment.resource() == names.partition {
            partition_questions.insert(question.index());
        } else {
            cells.insert((question.index(), kind));
        }
    }
    (cells, partition_questions)
}

impl Reads {
    fn type_name(&mut self, name: &str) {
        self.partitions |= name == "Partition";
    }

    fn entity(&mut self, type_name: &str, id: &str) {
        self.type_name(type_name);
        match type_name {
            "Partition" => self.partition_ids.push(id.to_owned()),
            "Group" => self.groups.push(id.to_owned()),
            _ => {}
        }
    }

    /// Walks one condition, by a list of its own: a long chain of `&&` is as deep as it is long.
    fn expression(&mut self, condition: &Expr) {
        let mut pending = vec![condition];
        while let Some(expression) = pending.pop() {
            match expression {
                Expr::Var(pst::Var::Context) => self.whole_context = true,
                Expr::Literal(Literal::EntityUID(entity)) => {
                    self.entity(&entity.ty.to_string(), &entity.eid);
                }
                Expr::GetAttr { expr, attr } if is_context(expr) => {
                    self.approved |= attr == "approved";
                    self.time |= attr == "now";
                }
                Expr::HasAttr { expr, .. } if is_context(expr) => {}
                Expr::Is { expr, entity_type, in_expr } => {
                    self.type_name(&entity_type.to_string());
                    pending.push(expr);
                    pending.extend(in_expr.as_deref());
                }
                Expr::GetAttr { expr, .. }
                | Expr::HasAttr { expr, .. }
                | Expr::UnaryOp { expr, .. }
                | Expr::Like { expr, .. } => pending.push(expr),
                Expr::BinaryOp { left, right, .. } => pending.extend([&**left, &**right]),
                Expr::IfThenElse { cond, then_expr, else_expr } => {
                    pending.extend([&**cond, &**then_expr, &**else_expr]);
                }
                Expr::Set(elements) => pending.extend(elements.iter().map(|element| &**element)),
                Expr::Record(fields) => pending.extend(fields.values().map(|field| &**field)),
                Expr::Literal(_) | Expr::Var(_) => {}
                // A form that this walk does not know may read anything: refused with the context.
                _ => self.whole_context = true,
            }
        }
    }
}

fn is_context(expression: &Expr) -> bool {
    matches!(expression, Expr::Var(pst::Var::Context))
}
