//! What a decision costs: kept, made on a slice of a large bundle, and the slice itself.

#![expect(clippy::expect_used, reason = "the inputs are fixed: what fails is a slip in this file")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use sluicegate_actors::policy::bundle::{Bundle, PolicyFile};
use sluicegate_actors::policy::cache::DecisionCache;
use sluicegate_actors::policy::decide::{Asker, RequestContext};
use sluicegate_actors::policy::slice::Slice;
use sluicegate_actors::policy::snapshot::PolicySnapshot;
use sluicegate_actors::vocabulary::{Action, Identity, Resource, UnixMillis};

const EXAMPLE: &str = include_str!("../../config/policies/example.cedar");
const NOW: UnixMillis = UnixMillis(1_795_262_400_000);
const PAYMENTS: Resource<'static> = Resource::Topic("payments");

/// The example, and policies for other groups and topics up to a thousand.
fn thousand() -> Bundle {
    let mut text = EXAMPLE.to_owned();
    for n in 0..994 {
        text.push_str(&format!(
            "@id(\"team-{n}\") permit (principal in Group::\"team-{n}\", action in \
             [Action::\"Read\", Action::\"Describe\"], resource is Topic) when {{ resource.name \
             like \"team-{n}.*\" }};\n"
        ));
    }
    load(text)
}

/// A thousand policies that all speak of one group, each of a topic of its own.
fn thousand_of_one_group() -> Bundle {
    let mut text = EXAMPLE.to_owned();
    for n in 0..994 {
        text.push_str(&format!(
            "@id(\"topic-{n}\") permit (principal in Group::\"contractors\", action == \
             Action::\"Read\", resource in Topic::\"topic-{n}\");\n"
        ));
    }
    load(text)
}

fn load(text: String) -> Bundle {
    let file = PolicyFile { name: "bench.cedar".to_owned(), text };
    Bundle::load(&[file], &["data-owners".to_owned()], 1).expect("the policies are valid")
}

fn session(bundle: &Bundle, groups: &[&str]) -> (Arc<Slice>, Asker) {
    let identity = Identity {
        issuer: "https://idp.example.com".to_owned(),
        subject: "ann".to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        expires_at: UnixMillis(i64::MAX),
    };
    let context = RequestContext {
        address: std::net::Ipv4Addr::new(10, 1, 2, 3).into(),
        client_id: "app-1".to_owned(),
        listener: "kafka".to_owned(),
        login: "plain".to_owned(),
        cluster: "main".to_owned(),
    };
    let slice = Arc::new(Slice::new(bundle, &identity.principal(), &identity.groups));
    let asker = Asker::new(&slice, &identity, context, NOW).expect("the identity is valid");
    (slice, asker)
}

fn decide(criterion: &mut Criterion) {
    let bundle = thousand();
    let (slice, asker) = session(&bundle, &["analysts", "team-7"]);
    let snapshot = PolicySnapshot::new(Arc::clone(&slice), asker);
    let mut cache = DecisionCache::new();
    criterion.bench_function("decide/warm", |bencher| {
        bencher.iter(|| {
            let decision =
                cache.decide(black_box(&snapshot), Action::Read, black_box(PAYMENTS), NOW);
            black_box(decision);
        });
    });
    let cold = |criterion: &mut Criterion, name: &str, bundle: &Bundle, groups: &[&str]| {
        let (slice, asker) = session(bundle, groups);
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| slice.decide(&asker, Action::Read, black_box(PAYMENTS), NOW));
        });
    };
    cold(criterion, "decide/cold-allow", &bundle, &["analysts", "team-7"]);
    cold(criterion, "decide/cold-deny", &bundle, &["team-7"]);
    cold(criterion, "decide/cold-hold", &bundle, &["contractors", "team-7"]);
    cold(criterion, "decide/cold-hold-of-1000", &thousand_of_one_group(), &["contractors"]);
    let (slice, asker) = session(&bundle, &["team-7"]);
    criterion.bench_function("decide/cold-describe-deny", |bencher| {
        bencher.iter(|| slice.decide(&asker, Action::Describe, black_box(PAYMENTS), NOW));
    });
    let groups = ["analysts".to_owned(), "team-7".to_owned()];
    criterion.bench_function("decide/slice-of-1000", |bencher| {
        bencher.iter(|| Slice::new(&bundle, "https://idp.example.com|ann", black_box(&groups)));
    });
}

criterion_group!(benches, decide);
criterion_main!(benches);
