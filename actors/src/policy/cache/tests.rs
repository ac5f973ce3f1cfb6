use super::*;
use crate::policy::fixtures::{EXAMPLE, NOON, Session, bundle};
use crate::vocabulary::Verdict;

const PAYMENTS: Resource<'static> = Resource::Topic("payments");

fn snapshot(policies: &str, groups: &[&str]) -> PolicySnapshot {
    let Session { slice, asker } = Session::new(&bundle(policies), groups);
    PolicySnapshot::new(slice, asker)
}

#[test]
fn decisions_are_kept_and_handed_out_again() {
    let snapshot = snapshot(EXAMPLE, &["analysts"]);
    let mut cache = DecisionCache::new();
    assert!(cache.is_empty());
    let first = cache.decide(&snapshot, Action::Read, PAYMENTS, NOON).clone();
    let second = cache.decide(&snapshot, Action::Read, PAYMENTS, NOON);
    assert_eq!(first.verdict, Verdict::Allow);
    assert!(std::sync::Arc::ptr_eq(&first.policies, &second.policies), "the very same decision");
    for (action, resource) in [
        (Action::Write, PAYMENTS),
        (Action::Read, Resource::ConsumerGroup("payments")),
        (Action::Read, Resource::TransactionalId("payments")),
        (Action::Read, Resource::Partition { topic: "payments", index: 0 }),
        (Action::Read, Resource::Partition { topic: "payments", index: 1 }),
        (Action::Read, Resource::Cluster),
    ] {
        let kept = cache.decide(&snapshot, action, resource, NOON).clone();
        assert_eq!(kept, snapshot.decide(action, resource, NOON).decision, "{resource}");
    }
    assert_eq!(cache.len(), 7);
}

#[test]
fn another_snapshot_is_another_cache() {
    let mut cache = DecisionCache::new();
    let (analyst, nobody) = (snapshot(EXAMPLE, &["analysts"]), snapshot(EXAMPLE, &[]));
    assert_eq!(cache.decide(&analyst, Action::Read, PAYMENTS, NOON).verdict, Verdict::Allow);
    assert_eq!(cache.decide(&nobody, Action::Read, PAYMENTS, NOON).verdict, Verdict::Deny);
    assert_eq!(cache.len(), 1);
    assert_eq!(cache.decide(&analyst, Action::Read, PAYMENTS, NOON).verdict, Verdict::Allow);
}

#[test]
fn what_may_change_with_the_time_is_decided_anew_after_a_second() {
    let snapshot = snapshot(
        "@id(\"p\") permit (principal, action == Action::\"Read\", resource) when { context.now < \
         datetime(\"2026-11-21T12:00:00.500Z\") };",
        &[],
    );
    let mut cache = DecisionCache::new();
    let mut at = |ms: i64| {
        let now = UnixMillis(NOON.0 + ms);
        cache.decide(&snapshot, Action::Read, PAYMENTS, now).verdict.clone()
    };
    assert_eq!(at(0), Verdict::Allow);
    assert_eq!(at(999), Verdict::Allow, "kept for up to a second");
    assert_eq!(at(1_000), Verdict::Deny);
    assert_eq!(at(1_001), Verdict::Deny);
}

#[test]
fn the_cache_is_bounded() {
    let snapshot = snapshot(EXAMPLE, &["analysts"]);
    let mut cache = DecisionCache::new();
    for n in 0..DECISIONS_MAX + 10 {
        let name = format!("topic-{n}");
        let decision = cache.decide(&snapshot, Action::Read, Resource::Topic(&name), NOON);
        assert_eq!(decision.verdict, Verdict::Deny);
    }
    assert_eq!(cache.len(), 10);
    let long = "analytics-".to_owned() + &"x".repeat(30_000);
    let group = Resource::ConsumerGroup(&long);
    assert_eq!(cache.decide(&snapshot, Action::Read, group, NOON).verdict, Verdict::Allow);
    assert_eq!(cache.decide(&snapshot, Action::Write, group, NOON).verdict, Verdict::Deny);
    assert_eq!(cache.len(), 10);
}
