use cedar_policy::{
    Authorizer, Context, Decision as CedarDecision, Entities, Entity, EntityUid, PolicySet,
    Request, RestrictedExpression,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::policy::fixtures::{EXAMPLE, NOON, Session, bundle, context, identity};
use crate::vocabulary::{Action, Resource, Verdict};

fn ids(slice: &Slice) -> Vec<&str> {
    let mut ids: Vec<&str> = slice.rules().map(Rule::id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_slice_keeps_what_the_scope_does_not_exclude() {
    let policies = "@id(\"any\") permit (principal, action, resource);
        @id(\"typed\") permit (principal is User, action, resource);
        @id(\"in-a\") permit (principal in Group::\"a\", action, resource);
        @id(\"is-in-b\") permit (principal is User in Group::\"b\", action, resource);
        @id(\"ann\") permit (principal == User::\"https://idp|ann\", action, resource);
        @id(\"in-ann\") permit (principal in User::\"https://idp|ann\", action, resource);
        @id(\"bob\") permit (principal == User::\"https://idp|bob\", action, resource);
        @id(\"condition\") permit (principal, action, resource) when { principal in \
        Group::\"a\" };";
    let bundle = bundle(policies);
    let kept = |subject: &str, groups: &[&str]| {
        let identity = identity(subject, groups);
        let slice = Slice::new(&bundle, &identity.principal(), &identity.groups);
        ids(&slice).join(" ")
    };
    assert_eq!(kept("eve", &[]), "any condition typed");
    assert_eq!(kept("eve", &["a"]), "any condition in-a typed");
    assert_eq!(kept("eve", &["b", "c"]), "any condition is-in-b typed");
    assert_eq!(kept("ann", &["a"]), "ann any condition in-a in-ann typed");
    assert_eq!(kept("bob", &[]), "any bob condition typed");
}

#[test]
fn identities_with_the_same_groups_share_a_slice_while_somebody_holds_it() {
    let policies = format!(
        "{EXAMPLE} @id(\"ann\") permit (principal == User::\"https://idp|ann\", action, resource);"
    );
    let mut slices = Slices::new(Arc::new(bundle(&policies)));
    let analyst = slices.slice_for(&identity("eve", &["analysts"]));
    let other = slices.slice_for(&identity("mallory", &["unknown", "analysts"]));
    assert!(Arc::ptr_eq(&analyst, &other), "groups that no scope names change nothing");
    let ann = slices.slice_for(&identity("ann", &["analysts"]));
    assert!(!Arc::ptr_eq(&analyst, &ann), "somebody named has a slice of their own");
    let auditor = slices.slice_for(&identity("eve", &["auditors"]));
    assert!(!Arc::ptr_eq(&analyst, &auditor));
    drop((analyst, other, ann, auditor));
    assert!(slices.slices.values().all(|slice| slice.strong_count() == 0));
    for n in 0..SLICES_BEFORE_SWEEP {
        slices
            .slices
            .insert(SliceKey { groups: BTreeSet::new(), user: Some(n.to_string()) }, Weak::new());
    }
    let kept = slices.slice_for(&identity("eve", &["analysts"]));
    assert_eq!(slices.slices.len(), 1, "the dead were swept");
    assert!(Arc::ptr_eq(&kept, &slices.slice_for(&identity("eve", &["analysts"]))));
}

#[test]
fn questions_with_the_same_rules_share_a_cell() {
    let bundle = bundle("@id(\"any\") permit (principal, action, resource);");
    let session = Session::new(&bundle, &[]);
    let cell = |action, kind| session.slice.cell(Question::Act(action), kind).unwrap();
    let read = cell(Action::Read, Kind::Topic);
    assert!(std::ptr::eq(read, cell(Action::Write, Kind::Topic)));
    assert!(std::ptr::eq(read, cell(Action::Alter, Kind::Cluster)));
    assert!(session.slice.cell(Question::Act(Action::ClusterAction), Kind::Topic).is_none());
}

#[test]
fn a_thousand_named_topics_are_looked_up_and_not_walked() {
    let policies: String = (0..1_000)
        .map(|n| {
            format!(
                "@id(\"p{n}\") permit (principal in Group::\"g\", action == Action::\"Read\", \
                 resource in Topic::\"t{n}\");\n"
            )
        })
        .collect();
    let bundle = bundle(&policies);
    let session = Session::new(&bundle, &["g"]);
    let cell = session.slice.cell(Question::Act(Action::Read), Kind::Topic).unwrap();
    let asked: usize =
        cell.rules_for("t77").map(|rules| rules.whole.permits.num_of_policies()).sum();
    assert_eq!(asked, 1);
    let decision = session.decide(Action::Read, Resource::Topic("t77"));
    assert_eq!((&decision.verdict, &*decision.policies[0]), (&Verdict::Allow, "p77"));
    assert_eq!(session.decide(Action::Read, Resource::Topic("t1000")).verdict, Verdict::Deny);
}

/// What Cedar itself says of the whole bundle: of the topic, and of the partition by the rules that
/// mention partitions.
#[expect(clippy::too_many_lines, clippy::type_complexity, reason = "slow and obvious on purpose")]
fn oracle(
    bundle: &Bundle,
    groups: &[&str],
    action: Action,
    resource: Resource<'_>,
) -> &'static str {
    let all = || bundle.rules.iter();
    let name = |type_name: &str, id: &str| -> EntityUid {
        format!("{type_name}::\"{id}\"").parse().unwrap()
    };
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let cluster = name("Cluster", "main");
    let user = name("User", "https://idp|ann");
    let parents = groups.iter().map(|group| name("Group", group)).collect();
    let user_entity = Entity::new_no_attrs(user.clone(), parents);
    let entity = |uid: EntityUid, pairs: Vec<(&str, RestrictedExpression)>, up: Vec<EntityUid>| {
        let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Entity::new(uid, pairs, up.into_iter().collect()).unwrap()
    };
    let topic =
        |id: &str| entity(name("Topic", id), vec![("name", text(id))], vec![cluster.clone()]);
    let mut asked: Vec<(EntityUid, Vec<Entity>, Vec<&Arc<Rule>>)> = Vec::new();
    match resource {
        Resource::Topic(id) => asked.push((name("Topic", id), vec![topic(id)], all().collect())),
        Resource::Partition { topic: id, index } => {
            let uid = name("Partition", &format!("{id}-{index}"));
            let pairs = vec![
                ("name", text(&format!("{id}-{index}"))),
                ("topic", text(id)),
                ("index", RestrictedExpression::new_long(index.into())),
            ];
            let partition = entity(uid.clone(), pairs, vec![name("Topic", id)]);
            asked.push((name("Topic", id), vec![topic(id)], all().collect()));
            let telling = all().filter(|rule| rule.reads.partitions).collect();
            // The schema knows no Create of a partition: that is asked of the topic.
            if action != Action::Create {
                asked.push((uid, vec![topic(id), partition], telling));
            }
        }
        Resource::ConsumerGroup(id) => {
            let uid = name("ConsumerGroup", id);
            let group = entity(uid.clone(), vec![("name", text(id))], vec![cluster.clone()]);
            asked.push((uid, vec![group], all().collect()));
        }
        Resource::TransactionalId(_) | Resource::Cluster => panic!("not generated"),
    }
    let answer = |approved: bool| {
        let pairs = [
            ("approved", RestrictedExpression::new_bool(approved)),
            ("address", RestrictedExpression::new_ip("10.1.2.3")),
            ("now", RestrictedExpression::new_datetime("2026-11-21T12:00:00Z")),
            ("clientId", text("app-1")),
            ("listener", text("kafka")),
            ("login", text("plain")),
        ];
        let mut outcomes = Vec::new();
        for (uid, entities, rules) in &asked {
            for is_permit in [true, false] {
                let mut set = PolicySet::new();
                let chosen = rules.iter().filter(|rule| rule.is_permit() == is_permit);
                chosen.for_each(|rule| set.add(rule.policy.clone()).unwrap());
                let context = Context::from_pairs(
                    pairs.clone().map(|(name, value)| (name.to_owned(), value)),
                )
                .unwrap();
                let act = name("Action", action.name());
                let request = Request::new(user.clone(), act, uid.clone(), context, None).unwrap();
                let entities = entities.iter().cloned().chain([user_entity.clone()]);
                let entities = Entities::from_entities(entities, None).unwrap();
                let response = Authorizer::new().is_authorized(&request, &set, &entities);
                let failed = response.diagnostics().errors().next().is_some();
                let matched = response.diagnostics().reason().next().is_some();
                assert_eq!(response.decision() == CedarDecision::Allow, matched && is_permit);
                outcomes.push((is_permit, matched, failed));
            }
        }
        let any = |permit: bool| outcomes.iter().any(|(is, matched, _)| *is == permit && *matched);
        let failed = outcomes.iter().any(|(_, _, failed)| *failed);
        (any(true) && !any(false) && !failed, failed)
    };
    match (answer(false), answer(true)) {
        ((true, _), _) => "allow",
        ((false, false), (true, _)) => "hold",
        _ => "deny",
    }
}

fn policy() -> impl Strategy<Value = String> {
    let principal = select(vec![
        "principal",
        "principal is User",
        "principal in Group::\"a\"",
        "principal in Group::\"b\"",
        "principal is User in Group::\"c\"",
        "principal == User::\"https://idp|ann\"",
        "principal == User::\"https://idp|bob\"",
    ]);
    let action = select(vec![
        "action",
        "action == Action::\"Read\"",
        "action == Action::\"Delete\"",
        "action in [Action::\"Read\", Action::\"Create\"]",
    ]);
    let resource = select(vec![
        "resource",
        "resource is Topic",
        "resource is Partition",
        "resource is ConsumerGroup",
        "resource in Cluster::\"main\"",
        "resource in Cluster::\"other\"",
        "resource in Topic::\"x\"",
        "resource == Topic::\"x\"",
        "resource in Topic::\"y\"",
        "resource is Topic in Topic::\"y\"",
        "resource == Partition::\"x-1\"",
        "resource == Partition::\"y-2\"",
        "resource == ConsumerGroup::\"x\"",
    ]);
    // With whether it reads context.approved.
    let condition = select(vec![
        ("", false),
        (" when { principal in Group::\"a\" }", false),
        (" unless { principal in [Group::\"b\", Group::\"c\"] }", false),
        (" unless { resource == Topic::\"x\" }", false),
        (" when { resource is Partition && resource.index < 2 }", false),
        (" when { resource is Partition && resource.index + 9223372036854775806 > 0 }", false),
        (" when { resource in [Partition::\"x-1\", Topic::\"y\"] }", false),
        (" when { context.approved }", true),
        (" unless { context.approved }", true),
        (" unless { context.approved && principal in Group::\"a\" }", true),
        (" when { context.now > datetime(\"2026-01-01\") }", false),
        (" when { context.address.isInRange(ip(\"11.0.0.0/8\")) }", false),
    ]);
    let effect = select(vec!["permit", "permit", "forbid"]);
    (effect, principal, action, resource, condition).prop_map(
        |(effect, principal, action, resource, (condition, asks))| {
            let approvers = if asks { "@approvers(\"security\") " } else { "" };
            format!("{approvers}{effect} ({principal}, {action}, {resource}){condition};")
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The slice, its cells, its index by name and its four sets decide as Cedar does on all of it.
    #[test]
    fn a_slice_decides_as_the_whole_bundle(
        policies in proptest::collection::vec(policy(), 0..12),
        groups in proptest::sample::subsequence(vec!["a", "b", "c", "d"], 0..=4),
    ) {
        let files: Vec<_> = policies
            .iter()
            .enumerate()
            .map(|(n, text)| crate::policy::bundle::PolicyFile {
                name: format!("{n}.cedar"),
                text: format!("@id(\"p{n}\") {text}"),
            })
            .collect();
        // Some combinations can never match, and are refused one by one.
        let valid: Vec<_> = files
            .into_iter()
            .filter(|file| {
                Bundle::load(std::slice::from_ref(file), &["security".to_owned()], 1).is_ok()
            })
            .collect();
        let bundle = Bundle::load(&valid, &["security".to_owned()], 1).unwrap();
        let identity = identity("ann", &groups);
        let slice = Slice::new(&bundle, &identity.principal(), &identity.groups);
        let asker = crate::policy::decide::Asker::new(&slice, &identity, context(), NOON).unwrap();
        for action in [Action::Read, Action::Delete, Action::Create] {
            for resource in [
                Resource::Topic("x"),
                Resource::Topic("y"),
                Resource::Topic("z"),
                Resource::Partition { topic: "x", index: 1 },
                Resource::Partition { topic: "x", index: 2 },
                Resource::Partition { topic: "y", index: 2 },
                Resource::Partition { topic: "z", index: 0 },
                Resource::ConsumerGroup("x"),
            ] {
                if action == Action::Create && matches!(resource, Resource::ConsumerGroup(_)) {
                    continue; // Not in the schema; what is not, nobody asks.
                }
                let expected = oracle(&bundle, &groups, action, resource);
                let decision = slice.decide(&asker, action, resource, NOON);
                let found = match decision.verdict {
                    Verdict::Allow => "allow",
                    Verdict::Deny => "deny",
                    Verdict::Hold { .. } => "hold",
                };
                prop_assert_eq!(found, expected, "{} on {}, {:?}", action.name(), resource, policies);
            }
        }
    }
}
