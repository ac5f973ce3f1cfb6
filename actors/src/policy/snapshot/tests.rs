use super::*;
use crate::approval::desk::{Desk, DeskEvent};
use crate::approval::ticket::ApprovalRequest;
use crate::policy::fixtures::{EXAMPLE, NOON, Session, bundle, identity};
use crate::vocabulary::{HeldBy, ResourceName, SessionId};

const PAYMENTS: Resource<'static> = Resource::Topic("payments");
const ORDERS: Resource<'static> = Resource::Topic("orders");

fn granted(policy: PolicyHash, labels: &[&str], rules: Vec<HeldBy>) -> Arc<Grant> {
    let mut desk = Desk::default();
    let request = ApprovalRequest {
        principal: "https://idp|ann".to_owned(),
        session: SessionId([1; 16]),
        listener: "kafka".to_owned(),
        actions: vec![Action::Read],
        resources: vec![ResourceName::Topic("payments".to_owned())],
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        rules,
        grant_ttl_ms: 60_000,
        reason: String::new(),
        policy,
    };
    let ticket = desk.open(request, NOON).unwrap().ticket;
    let approver = identity("olga", &["data-owners"]);
    match desk.grant(ticket.as_str(), &approver, policy, NOON).unwrap() {
        DeskEvent::Granted { grant, .. } => grant,
        other => panic!("{other:?}"),
    }
}

fn snapshot(policies: &str, groups: &[&str], grants: Vec<Arc<Grant>>) -> PolicySnapshot {
    let Session { slice, asker } = Session::new(&bundle(policies), groups);
    PolicySnapshot::new(slice, asker).with_grants(grants.into())
}

fn ask_first() -> Vec<HeldBy> {
    vec![HeldBy {
        policy: "contractors-ask-first".to_owned(),
        approvers: vec!["data-owners".to_owned()],
    }]
}

#[test]
fn a_grant_opens_what_was_on_hold_until_it_ends() {
    let hash = bundle(EXAMPLE).hash();
    let before = snapshot(EXAMPLE, &["contractors"], Vec::new());
    let held = before.decide(Action::Read, PAYMENTS, NOON);
    let Verdict::Hold { rules, .. } = &held.decision.verdict else { panic!("{held:?}") };
    assert_eq!(**rules, *ask_first());

    let grant = granted(hash, &[], rules.to_vec());
    let open = snapshot(EXAMPLE, &["contractors"], vec![Arc::clone(&grant)]);
    assert_ne!(before.stamp(), open.stamp());
    let allowed = open.decide(Action::Read, PAYMENTS, NOON);
    assert_eq!(allowed.decision.verdict, Verdict::Allow);
    let names: Vec<&str> = allowed.decision.policies.iter().map(|id| &**id).collect();
    assert_eq!(names, ["contractors-ask-first", grant.id.as_str()]);
    assert_eq!(allowed.until, grant.ends_at);
    let partition = Resource::Partition { topic: "payments", index: 1 };
    assert_eq!(open.decide(Action::Read, partition, NOON).decision.verdict, Verdict::Allow);
    let after = open.decide(Action::Read, PAYMENTS, grant.ends_at);
    assert!(matches!(after.decision.verdict, Verdict::Hold { .. }));
    // What was not on hold is not opened by a grant.
    assert_eq!(open.decide(Action::Write, PAYMENTS, NOON).decision.verdict, Verdict::Deny);
    assert_eq!(open.decide(Action::Read, ORDERS, NOON).until, UnixMillis(i64::MAX));
}

#[test]
fn a_grant_serves_only_its_listener_and_the_rules_that_were_approved() {
    let two = "@id(\"all\") permit (principal, action, resource);
        @id(\"one\") @approvers(\"data-owners\") forbid (principal, action, resource)
          unless { context.approved };
        @id(\"two\") @approvers(\"security\") forbid (principal, action, resource)
          unless { context.approved };";
    let hash = bundle(two).hash();
    let before = snapshot(two, &["contractors"], Vec::new());
    let held = before.decide(Action::Read, PAYMENTS, NOON).decision.verdict;
    let Verdict::Hold { rules, .. } = held else { panic!("{held:?}") };
    assert_eq!(rules.len(), 2);
    let base = granted(hash, &[], vec![rules[0].clone()]);
    let listener = "other".to_owned();
    // A grant, and whether it opens what both rules hold.
    let rows = [
        (Grant::clone(&base), false),
        (Grant { rules: rules.to_vec(), ..Grant::clone(&base) }, true),
        (Grant { rules: rules.to_vec(), listener, ..Grant::clone(&base) }, false),
    ];
    for (grant, opens) in rows {
        let open = snapshot(two, &["contractors"], vec![Arc::new(grant.clone())]);
        let verdict = open.decide(Action::Read, PAYMENTS, NOON).decision.verdict;
        assert_eq!(verdict == Verdict::Allow, opens, "{grant:?}");
    }
}

#[test]
fn a_grant_serves_only_the_policies_that_it_was_asked_under() {
    let changed = format!(
        "{EXAMPLE} @id(\"more\") permit (principal, action == Action::\"Create\", resource is Topic);"
    );
    let grant = granted(bundle(EXAMPLE).hash(), &[], ask_first());
    let under_other = snapshot(&changed, &["contractors"], vec![grant]);
    let decided = under_other.decide(Action::Read, PAYMENTS, NOON).decision.verdict;
    assert!(matches!(decided, Verdict::Hold { .. }), "{decided:?}");
}

#[test]
fn a_grant_cannot_open_what_is_denied() {
    let hash = bundle(EXAMPLE).hash();
    let denied = snapshot(EXAMPLE, &[], vec![granted(hash, &["pci"], ask_first())]);
    assert_eq!(denied.decide(Action::Read, PAYMENTS, NOON).decision.verdict, Verdict::Deny);
    assert!(!denied.unmasks("pci", "payments", NOON).0);
}

#[test]
fn labels_are_shown_by_policy_or_by_a_grant_of_their_own() {
    let auditor = snapshot(EXAMPLE, &["auditors"], Vec::new());
    assert_eq!(auditor.unmasks("pci", "payments", NOON), (true, UnixMillis(i64::MAX)));
    assert_eq!(auditor.unmasks("pii", "payments", NOON), (false, UnixMillis(i64::MAX)));

    let asking = "@id(\"see\") @approvers(\"data-owners\") permit (principal, action == \
        Action::\"unmask\", resource == Label::\"pci\") when { context.approved };";
    let hash = bundle(asking).hash();
    let rules =
        vec![HeldBy { policy: "see".to_owned(), approvers: vec!["data-owners".to_owned()] }];
    assert!(!snapshot(asking, &[], Vec::new()).unmasks("pci", "payments", NOON).0);
    let reading = granted(hash, &[], rules.clone());
    assert!(!snapshot(asking, &[], vec![reading]).unmasks("pci", "payments", NOON).0);
    let showing = granted(hash, &["pci"], rules);
    let open = snapshot(asking, &[], vec![Arc::clone(&showing)]);
    assert_eq!(open.unmasks("pci", "payments", NOON), (true, showing.ends_at));
    assert!(!open.unmasks("pci", "orders", NOON).0);
    assert!(!open.unmasks("pci", "payments", showing.ends_at).0);
}

#[test]
fn a_decision_that_reads_the_time_is_kept_for_a_second() {
    let timed = snapshot(
        "@id(\"p\") permit (principal, action == Action::\"Read\", resource) when { context.now < \
         datetime(\"2030-01-01\") };",
        &[],
        Vec::new(),
    );
    assert_eq!(timed.decide(Action::Read, PAYMENTS, NOON).until, UnixMillis(NOON.0 + 1_000));
    assert_eq!(timed.unmasks("pci", "payments", NOON).1, UnixMillis(NOON.0 + 1_000));
}
