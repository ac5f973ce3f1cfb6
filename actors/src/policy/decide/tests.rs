use super::*;
use crate::policy::fixtures::{EXAMPLE, NOON, Session, bundle, context, identity};
use crate::vocabulary::Action::{
    Alter, AlterConfigs, ClusterAction, Create, Delete, Describe, DescribeConfigs, IdempotentWrite,
    Read, Write,
};

const PAYMENTS: Resource<'static> = Resource::Topic("payments");
const ORDERS: Resource<'static> = Resource::Topic("orders");

fn partition(topic: &str, index: i32) -> Resource<'_> {
    Resource::Partition { topic, index }
}

/// A decision in one word, with its policies: `allow a,b`, `deny`, `hold a[x,y] b[z] 3600`.
fn shown(decision: &Decision) -> String {
    let word = match &decision.verdict {
        Verdict::Allow => "allow".to_owned(),
        Verdict::Deny => "deny".to_owned(),
        Verdict::Hold { rules, grant_ttl_ms } => {
            let rules: Vec<String> = rules
                .iter()
                .map(|rule| format!("{}[{}]", rule.policy, rule.approvers.join(",")))
                .collect();
            return format!("hold {} {}", rules.join(" "), grant_ttl_ms / 1_000);
        }
    };
    let ids: Vec<&str> = decision.policies.iter().map(|id| &**id).collect();
    if ids.is_empty() { word } else { format!("{word} {}", ids.join(",")) }
}

fn check(policies: &str, groups: &[&str], rows: &[(Action, Resource<'_>, &str)]) {
    let bundle = bundle(policies);
    let session = Session::new(&bundle, groups);
    for (action, resource, expected) in rows {
        let decision = session.decide(*action, *resource);
        assert_eq!(&shown(&decision), expected, "{} on {resource}, {groups:?}", action.name());
    }
}

#[test]
fn the_example_decides_as_it_reads() {
    let group = Resource::ConsumerGroup("analytics-1");
    check(
        EXAMPLE,
        &["analysts"],
        &[
            (Read, PAYMENTS, "allow analysts-read-payments"),
            (Read, partition("payments", 3), "allow analysts-read-payments"),
            (Describe, PAYMENTS, "allow analysts-read-payments"),
            (Write, PAYMENTS, "deny"),
            (Read, ORDERS, "deny"),
            (Describe, ORDERS, "deny"),
            (Read, group, "allow analysts-consumer-groups"),
            (Read, Resource::ConsumerGroup("billing"), "deny"),
            (Read, Resource::TransactionalId("t"), "deny"),
            (Describe, Resource::Cluster, "deny"),
        ],
    );
    check(
        EXAMPLE,
        &["auditors"],
        &[
            (Read, PAYMENTS, "allow auditors-read"),
            (Describe, Resource::Cluster, "allow auditors-read"),
            (Describe, Resource::TransactionalId("t"), "allow auditors-read"),
            (Delete, PAYMENTS, "deny"),
        ],
    );
    check(
        EXAMPLE,
        &["contractors"],
        &[
            (Read, PAYMENTS, "hold contractors-ask-first[data-owners] 14400"),
            (Read, partition("payments", 0), "hold contractors-ask-first[data-owners] 14400"),
            (Describe, PAYMENTS, "allow contractors-read"),
            (Read, ORDERS, "allow contractors-read"),
            (Write, PAYMENTS, "deny"),
        ],
    );
    check(EXAMPLE, &[], &[(Read, PAYMENTS, "deny"), (Describe, Resource::Cluster, "deny")]);
    check(
        "",
        &["analysts"],
        &[(Read, PAYMENTS, "deny"), (ClusterAction, Resource::Cluster, "deny")],
    );
    check(
        EXAMPLE,
        &["analysts", "contractors"],
        &[
            (Read, PAYMENTS, "hold contractors-ask-first[data-owners] 14400"),
            (Read, group, "allow analysts-consumer-groups,contractors-read"),
        ],
    );
}

#[test]
fn a_hold_is_exactly_what_approval_would_allow() {
    // A forbid holds only where something permits.
    let alone = "@id(\"f\") @approvers(\"security\") forbid (principal, action, resource) unless \
                 { context.approved };";
    check(alone, &[], &[(Read, PAYMENTS, "deny f")]);
    // A plain forbid beside it stays a denial.
    let beside = format!(
        "{alone} @id(\"p\") permit (principal, action, resource); @id(\"never\") forbid \
         (principal, action == Action::\"Delete\", resource);"
    );
    check(
        &beside,
        &[],
        &[
            (Read, PAYMENTS, "hold f[security] 3600"),
            (Write, Resource::TransactionalId("t"), "hold f[security] 3600"),
            (Delete, PAYMENTS, "deny never"),
        ],
    );
    // Two forbids: each must be approved, and the grant lives as long as the shorter says.
    let two = "@id(\"p\") permit (principal, action, resource);
        @id(\"b\") @approvers(\"security\") @ttl(\"2h\") forbid (principal, action == \
        Action::\"Read\", resource in Topic::\"payments\") unless { context.approved };
        @id(\"a\") @approvers(\"security, data-owners\") @ttl(\"90s\") forbid (principal, action, \
        resource is Topic) unless { context.approved };";
    check(
        two,
        &[],
        &[
            (Read, PAYMENTS, "hold a[data-owners,security] b[security] 90"),
            (Write, PAYMENTS, "hold a[data-owners,security] 90"),
            (Read, Resource::ConsumerGroup("g"), "allow p"),
        ],
    );
    // A permit that needs approval: any one of several serves.
    let beyond = "@id(\"w1\") @approvers(\"security\") @ttl(\"1h\") permit (principal, action == \
        Action::\"Write\", resource is Topic) when { context.approved };
        @id(\"w2\") @approvers(\"data-owners\") @ttl(\"30m\") permit (principal, action == \
        Action::\"Write\", resource in Topic::\"payments\") when { context.approved };";
    check(
        beyond,
        &[],
        &[
            (Write, PAYMENTS, "hold w1, w2[data-owners,security] 1800"),
            (Write, ORDERS, "hold w1[security] 3600"),
            (Read, PAYMENTS, "deny"),
        ],
    );
    // A forbid and a permit that both need it.
    let both = format!("{alone} {beyond}");
    check(
        &both,
        &[],
        &[(Write, ORDERS, "hold f[security] w1[security] 3600"), (Read, ORDERS, "deny f")],
    );
    // Approval that forbids is no approval.
    let inverse = "@id(\"p\") permit (principal, action, resource);
        @id(\"f\") @approvers(\"security\") forbid (principal, action, resource) when { \
        context.approved };
        @id(\"g\") @approvers(\"security\") forbid (principal, action == Action::\"Read\", \
        resource) unless { context.approved };";
    check(inverse, &[], &[(Read, PAYMENTS, "deny g"), (Write, PAYMENTS, "allow p")]);
    // Nor is a permit that approval takes away.
    let lost = format!(
        "{alone} @id(\"p\") @approvers(\"security\") permit (principal, action == \
         Action::\"Read\", resource) unless {{ context.approved }};"
    );
    check(
        &lost,
        &[],
        &[(Read, PAYMENTS, "deny f"), (Read, Resource::ConsumerGroup("g"), "deny f")],
    );
}

#[test]
fn what_fails_to_evaluate_is_a_denial() {
    // Overflows on every partition but the first: the one way to fail that validation lets by.
    let overflow = "resource is Partition && resource.index + 9223372036854775807 > 0";
    let permit = "@id(\"p\") permit (principal, action, resource);";
    let rows = [
        ("forbid", "", "deny f"),
        ("permit", "", "deny f"),
        ("forbid", "@approvers(\"security\") ", "deny f"),
        ("permit", "@approvers(\"security\") ", "deny f"),
    ];
    for (effect, approvers, expected) in rows {
        let approved = if approvers.is_empty() { "" } else { " && context.approved" };
        let policies = format!(
            "{permit} @id(\"f\") {approvers}{effect} (principal, action == Action::\"Read\", \
             resource) when {{ {overflow}{approved} }};"
        );
        check(
            &policies,
            &[],
            &[
                (Read, partition("payments", 1), expected),
                (Read, partition("payments", 7), expected),
                (Read, PAYMENTS, "allow p"),
                (Write, partition("payments", 1), "allow p"),
                // Nothing may imply what failed, nor be implied by it; Describe has its own permit.
                (Describe, partition("payments", 1), "allow p"),
            ],
        );
    }
    let only_approved = format!(
        "@id(\"p\") @approvers(\"security\") permit (principal, action, resource) when {{ \
         context.approved && {overflow} }};"
    );
    check(&only_approved, &[], &[(Read, partition("payments", 1), "deny p")]);
}

#[test]
fn rights_imply_describe_as_in_kafka() {
    let rights = "@id(\"r\") permit (principal, action == Action::\"Read\", resource in \
        Topic::\"r\");
        @id(\"w\") permit (principal, action == Action::\"Write\", resource in Topic::\"w\");
        @id(\"d\") permit (principal, action == Action::\"Delete\", resource in Topic::\"d\");
        @id(\"a\") permit (principal, action == Action::\"Alter\", resource in Topic::\"a\");
        @id(\"c\") permit (principal, action == Action::\"Create\", resource in Topic::\"c\");
        @id(\"ac\") permit (principal, action == Action::\"AlterConfigs\", resource in \
        Topic::\"ac\");
        @id(\"g\") permit (principal, action == Action::\"Read\", resource is ConsumerGroup);
        @id(\"x\") permit (principal, action == Action::\"Write\", resource is TransactionalId);
        @id(\"i\") permit (principal, action == Action::\"IdempotentWrite\", resource is Cluster);
        @id(\"l\") permit (principal, action == Action::\"Alter\", resource is Cluster);
        @id(\"h\") permit (principal, action == Action::\"Read\", resource in Topic::\"h\");
        @id(\"held\") @approvers(\"security\") forbid (principal, action == Action::\"Read\", \
        resource in Topic::\"h\") unless { context.approved };
        @id(\"v\") permit (principal, action == Action::\"Read\", resource in Topic::\"v\");
        @id(\"hidden\") forbid (principal, action == Action::\"Describe\", resource in \
        Topic::\"v\");
        @id(\"b\") permit (principal, action == Action::\"Read\", resource in Topic::\"b\");
        @id(\"asked\") @approvers(\"security\") forbid (principal, action, resource in \
        Topic::\"b\") unless { context.approved };";
    check(
        rights,
        &[],
        &[
            (Describe, Resource::Topic("r"), "allow r"),
            (Describe, partition("r", 1), "allow r"),
            (Describe, Resource::Topic("w"), "allow w"),
            (Describe, Resource::Topic("d"), "allow d"),
            (Describe, Resource::Topic("a"), "allow a"),
            (Describe, Resource::Topic("c"), "deny"),
            (Describe, Resource::Topic("ac"), "deny"),
            (DescribeConfigs, Resource::Topic("ac"), "allow ac"),
            (DescribeConfigs, Resource::Topic("a"), "deny"),
            (AlterConfigs, Resource::Topic("a"), "deny"),
            (Describe, Resource::ConsumerGroup("g"), "allow g"),
            (Describe, Resource::TransactionalId("x"), "allow x"),
            (IdempotentWrite, Resource::Cluster, "allow i"),
            (Describe, Resource::Cluster, "allow l"),
            (Create, Resource::Cluster, "deny"),
            // On hold is enough to be seen.
            (Read, Resource::Topic("h"), "hold held[security] 3600"),
            (Describe, Resource::Topic("h"), "allow held"),
            // A forbid that names Describe wins, plainly or on hold.
            (Read, Resource::Topic("v"), "allow v"),
            (Describe, Resource::Topic("v"), "deny hidden"),
            (Read, Resource::Topic("b"), "hold asked[security] 3600"),
            (Describe, Resource::Topic("b"), "deny asked"),
        ],
    );
}

#[test]
fn partitions_are_told_apart_only_where_a_rule_does() {
    let one = "@id(\"t\") permit (principal, action == Action::\"Read\", resource in \
        Topic::\"payments\");
        @id(\"p\") permit (principal, action == Action::\"Read\", resource == \
        Partition::\"orders-3\");
        @id(\"f\") forbid (principal, action == Action::\"Read\", resource == \
        Partition::\"payments-1\");";
    check(
        one,
        &[],
        &[
            (Read, PAYMENTS, "allow t"),
            (Read, partition("payments", 0), "allow t"),
            (Read, partition("payments", 1), "deny f"),
            (Describe, partition("payments", 1), "deny"),
            (Read, ORDERS, "deny"),
            (Read, partition("orders", 3), "allow p"),
            (Describe, partition("orders", 3), "allow p"),
            (Read, partition("orders", 30), "deny"),
            (Read, partition("orders-3", 3), "deny"),
            (Read, partition("orders", -1), "deny"),
        ],
    );
    let slice = Session::new(&bundle(one), &[]).slice;
    let named = ["payments", "orders", "other"].map(|topic| slice.names_partitions(topic));
    assert_eq!(named, [true, true, false]);

    let indexes = "@id(\"p\") permit (principal, action == Action::\"Read\", resource) when { \
        resource is Partition && resource.index < 4 && resource.topic like \"pay*\" };";
    check(
        indexes,
        &[],
        &[
            (Read, PAYMENTS, "deny"),
            (Read, partition("payments", 3), "allow p"),
            (Read, partition("payments", 4), "deny"),
            (Read, partition("orders", 3), "deny"),
        ],
    );
    assert!(Session::new(&bundle(indexes), &[]).slice.names_partitions("anything"));

    // "All but a topic" is asked of the topic, not of its partitions as something else.
    let all_but = "@id(\"p\") permit (principal, action == Action::\"Read\", resource is Topic) \
        unless { resource == Topic::\"payments\" };
        @id(\"q\") permit (principal, action == Action::\"Read\", resource) unless { resource == \
        Topic::\"payments\" };
        @id(\"z\") permit (principal, action == Action::\"Read\", resource == \
        Partition::\"payments-9\");";
    check(
        all_but,
        &[],
        &[
            (Read, PAYMENTS, "deny"),
            (Read, partition("payments", 1), "deny"),
            (Read, partition("payments", 9), "allow z"),
            (Read, partition("orders", 9), "allow p,q"),
        ],
    );

    let held = "@id(\"p\") permit (principal, action == Action::\"Read\", resource);
        @id(\"f\") @approvers(\"security\") forbid (principal, action == Action::\"Read\", resource \
        == Partition::\"payments-1\") unless { context.approved };";
    check(
        held,
        &[],
        &[
            (Read, PAYMENTS, "allow p"),
            (Read, partition("payments", 1), "hold f[security] 3600"),
            (Read, partition("payments", 2), "allow p"),
        ],
    );
}

#[test]
fn hierarchies_context_and_users() {
    let policies = "@id(\"cluster\") permit (principal, action == Action::\"Read\", resource in \
        Cluster::\"main\");
        @id(\"other\") permit (principal, action == Action::\"Write\", resource in \
        Cluster::\"other\");
        @id(\"user\") permit (principal == User::\"https://idp|ann\", action == \
        Action::\"Create\", resource);
        @id(\"stranger\") permit (principal == User::\"https://evil|ann\", action == \
        Action::\"Delete\", resource);
        @id(\"inside\") permit (principal, action == Action::\"Alter\", resource) when { \
        context.address.isInRange(ip(\"10.0.0.0/8\")) && context.clientId like \"app-*\" && \
        context.listener == \"kafka\" && context.login == \"plain\" };
        @id(\"outside\") permit (principal, action == Action::\"ClusterAction\", resource) when { \
        context.address.isInRange(ip(\"192.168.0.0/16\")) };
        @id(\"group\") permit (principal, action == Action::\"AlterConfigs\", resource) when { \
        principal in Group::\"admins\" && principal in [Group::\"a\", Group::\"b\"] };
        @id(\"name\") permit (principal, action == Action::\"IdempotentWrite\", resource) when { \
        resource.name == \"main\" };";
    check(
        policies,
        &["admins", "b"],
        &[
            (Read, PAYMENTS, "allow cluster"),
            (Read, partition("payments", 1), "allow cluster"),
            (Read, Resource::ConsumerGroup("g"), "allow cluster"),
            (Write, PAYMENTS, "deny"),
            (Create, PAYMENTS, "allow user"),
            (Delete, PAYMENTS, "deny"),
            (Alter, PAYMENTS, "allow inside"),
            (ClusterAction, Resource::Cluster, "deny"),
            (AlterConfigs, Resource::Cluster, "allow group"),
            (IdempotentWrite, Resource::Cluster, "allow name"),
        ],
    );
    check(policies, &["admins"], &[(AlterConfigs, Resource::Cluster, "deny")]);
}

#[test]
fn the_time_is_read_anew() {
    let policies = "@id(\"p\") permit (principal, action == Action::\"Read\", resource) when { \
        context.now < datetime(\"2026-11-21T12:00:01Z\") };";
    let session = Session::new(&bundle(policies), &[]);
    assert!(session.slice.reads_time());
    let at = |ms: i64| {
        let now = UnixMillis(NOON.0 + ms);
        session.slice.decide(&session.asker, Read, PAYMENTS, now).verdict
    };
    assert_eq!(at(0), Verdict::Allow);
    assert_eq!(at(999), Verdict::Allow);
    assert_eq!(at(1_000), Verdict::Deny);
    assert_eq!(at(-86_400_000), Verdict::Allow);
    // A time that Cedar cannot hold denies.
    assert_eq!(
        session.slice.decide(&session.asker, Read, PAYMENTS, UnixMillis(i64::MAX)).verdict,
        Verdict::Deny
    );
    assert!(!Session::new(&bundle(EXAMPLE), &["analysts"]).slice.reads_time());
}

#[test]
fn labels_are_shown_where_a_policy_says_so() {
    let bundle = bundle(EXAMPLE);
    let unmask = |groups: &[&str], label: &str, topic: &str| {
        let session = Session::new(&bundle, groups);
        shown(&session.slice.unmask(&session.asker, label, topic, NOON))
    };
    assert_eq!(unmask(&["auditors"], "pci", "payments"), "allow auditors-see-cards");
    assert_eq!(unmask(&["auditors"], "pci", "orders"), "deny");
    assert_eq!(unmask(&["auditors"], "pii", "payments"), "deny");
    assert_eq!(unmask(&["analysts"], "pci", "payments"), "deny");
}

#[test]
fn payloads_are_recorded_unless_a_policy_says_otherwise() {
    let policies = "@id(\"s\") permit (principal in Group::\"bulk\", action == \
        Action::\"skipPayload\", resource in Topic::\"metrics\");";
    let bundle = bundle(policies);
    let skips = |groups: &[&str], topic: &str| {
        let session = Session::new(&bundle, groups);
        session.slice.skips_payload(&session.asker, topic, NOON)
    };
    assert!(skips(&["bulk"], "metrics"));
    assert!(!skips(&["bulk"], "payments"));
    assert!(!skips(&[], "metrics"));
}

#[test]
fn a_right_to_everything_neither_unmasks_nor_goes_unrecorded() {
    // Effect and action of a rule, then whether it unmasks and whether it leaves payloads out.
    let rows = [
        ("permit", "action", false, false),
        ("permit", "action in [Action::\"unmask\", Action::\"Read\"]", true, false),
        ("permit", "action == Action::\"skipPayload\"", false, true),
    ];
    for (effect, action, unmasks, skips) in rows {
        let text = format!("@id(\"a\") {effect} (principal, {action}, resource);");
        let session = Session::new(&bundle(&text), &["admins"]);
        let (slice, asker) = (&session.slice, &session.asker);
        let unmask = slice.unmask(asker, "pci", "payments", NOON).verdict;
        assert_eq!(unmask == Verdict::Allow, unmasks, "{text}");
        assert_eq!(slice.skips_payload(asker, "payments", NOON), skips, "{text}");
    }
    // What forbids everything forbids these too.
    let text = "@id(\"a\") permit (principal, action == Action::\"skipPayload\", resource);
        @id(\"b\") forbid (principal, action, resource);";
    let session = Session::new(&bundle(text), &["admins"]);
    assert!(!session.slice.skips_payload(&session.asker, "payments", NOON));
}

#[test]
fn a_right_on_any_topic() {
    let any = |policies: &str| {
        let session = Session::new(&bundle(policies), &[]);
        session.slice.allows_any_topic(&session.asker, Write, NOON)
    };
    assert!(!any(""));
    assert!(!any("@id(\"a\") permit (principal, action == Action::\"Read\", resource);"));
    assert!(any("@id(\"a\") permit (principal, action == Action::\"Write\", resource);"));
    let named = "@id(\"a\") permit (principal, action == Action::\"Write\", resource in \
        Topic::\"x\");";
    assert!(any(named));
    assert!(any("@id(\"a\") permit (principal, action == Action::\"Write\", resource == \
        Partition::\"x-1\");"));
    let forbidden = "@id(\"f\") forbid (principal, action, resource);";
    assert!(!any(&format!("{named} {forbidden}")));
    assert!(!any("@id(\"a\") permit (principal, action == Action::\"Write\", resource is \
        TransactionalId);"));
}

#[test]
fn groups_that_no_policy_mentions_cost_nothing() {
    let bundle = bundle(EXAMPLE);
    let many: Vec<String> = (0..500).map(|n| format!("g{n}")).collect();
    let mut person = identity("ann", &["analysts"]);
    person.groups.extend(many);
    let slice = Slice::new(&bundle, &person.principal(), &person.groups);
    let asker = Asker::new(&slice, &person, context(), NOON).unwrap();
    assert_eq!(slice.decide(&asker, Read, PAYMENTS, NOON).verdict, Verdict::Allow);
    assert!(!format!("{:?}", asker.entities).contains("g499"));
}
