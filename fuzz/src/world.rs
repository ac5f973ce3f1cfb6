//! What a request or response meets on its way: policies, topics of a cluster, a listener, mask rules.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use secrecy::SecretSlice;
use sluicegate::cluster::ClusterSnapshot;
use sluicegate::config::{BrokerPorts, ConnectionLimits, Listener};
use sluicegate::path::decide::Judge;
use sluicegate::path::mask::Screen;
use sluicegate_actors::masking::{Direction, Keys, MaskPlan, RulesFile, compile};
use sluicegate_actors::policy::bundle::{Bundle, PolicyFile};
use sluicegate_actors::policy::decide::{Asker, RequestContext};
use sluicegate_actors::policy::slice::Slice;
use sluicegate_actors::policy::snapshot::PolicySnapshot;
use sluicegate_actors::recorder::RecordLevel;
use sluicegate_actors::session::Parts;
use sluicegate_actors::vocabulary::{Identity, UnixMillis};

/// The time of every decision.
pub(crate) const NOW: UnixMillis = UnixMillis(1_795_262_400_000);

/// How many policies there are to choose from.
pub(crate) const POLICIES: usize = POLICY_TEXTS.len();

/// A judge of a new connection, by one of the policies.
pub(crate) fn judge(policy: usize) -> Judge {
    Judge::new(PARTS.get(policy).expect("a policy of these"))
}

/// A cluster with two topics, of which one has an `a` in its name.
pub(crate) static CLUSTER: LazyLock<ClusterSnapshot> =
    LazyLock::new(|| ClusterSnapshot::of_topics(&["alpha", "two"]));

/// A listener with ports for the brokers 0 to 9.
pub(crate) static LISTENER: LazyLock<Listener> = LazyLock::new(|| Listener {
    name: "kafka".to_owned(),
    cluster: "main".to_owned(),
    bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)),
    advertised_host: "gateway.example".to_owned(),
    broker_ports: BrokerPorts::Map((0..10).map(|id| (id, 9_093)).collect::<BTreeMap<_, _>>()),
    tls: None,
    mechanisms: Vec::new(),
    issuers: Vec::new(),
    connections: ConnectionLimits::default(),
});

/// What is masked: a field, and e-mail addresses wherever they are.
pub(crate) static MASK: LazyLock<MaskPlan> = LazyLock::new(mask);

/// The same, for the records of a partition.
pub(crate) static SCREEN: LazyLock<Screen> = LazyLock::new(|| mask().into());

fn mask() -> MaskPlan {
    let files = [RulesFile { name: "masks.yaml", text: MASKS }];
    let keys = vec![("fuzz".to_owned(), SecretSlice::from(vec![7; 32]))];
    let keys = Keys::new(keys).expect("the key is long enough");
    let rules = compile(&files, &keys).expect("the rules are valid");
    rules.plan("payments", Direction::Read, |_| false).expect("the topic has rules")
}

static PARTS: LazyLock<Vec<Parts>> =
    LazyLock::new(|| POLICY_TEXTS.iter().map(|text| parts(text)).collect());

fn parts(text: &str) -> Parts {
    let file = PolicyFile { name: "fuzz.cedar".to_owned(), text: text.to_owned() };
    let bundle = Bundle::load(&[file], &["security".to_owned()], 1).expect("the policy is valid");
    let identity = Identity {
        issuer: "https://idp.example".to_owned(),
        subject: "alice".to_owned(),
        groups: Vec::new(),
        expires_at: UnixMillis(i64::MAX),
    };
    let context = RequestContext {
        address: Ipv4Addr::LOCALHOST.into(),
        client_id: "client".to_owned(),
        listener: "kafka".to_owned(),
        login: "plain".to_owned(),
        cluster: "main".to_owned(),
    };
    let slice = Arc::new(Slice::new(&bundle, &identity.principal(), &identity.groups));
    let asker = Asker::new(&slice, &identity, context, NOW).expect("the identity is valid");
    Parts {
        auth: Arc::new(identity),
        policy: Arc::new(PolicySnapshot::new(slice, asker)),
        approval: Arc::default(),
        masking: None,
        recorder: RecordLevel::None,
    }
}

/// Nothing; all; what has an `a` in its name; partitions 0 and 1 of each topic; all, and topics with an `a` on approval.
const POLICY_TEXTS: [&str; 5] = [
    "",
    "@id(\"all\") permit (principal, action, resource);",
    "@id(\"topics\") permit (principal, action, resource is Topic) when { resource.name like \"*a*\" };
     @id(\"groups\") permit (principal, action, resource is ConsumerGroup) when { resource.name like \"*a*\" };
     @id(\"ids\") permit (principal, action, resource is TransactionalId) when { resource.name like \"*a*\" };
     @id(\"cluster\") permit (principal, action == Action::\"Describe\", resource is Cluster);",
    "@id(\"partitions\") permit (principal, action, resource is Partition) when { resource.index < 2 };
     @id(\"groups\") permit (principal, action, resource is ConsumerGroup);
     @id(\"cluster\") permit (principal, action, resource is Cluster);",
    "@id(\"all\") permit (principal, action, resource);
     @id(\"ask\") @approvers(\"security\") forbid (principal, action in [Action::\"Read\", Action::\"Write\"], resource is Topic)
       when { resource.name like \"*a*\" } unless { context.approved };",
];

const MASKS: &str = "
labels:
  pci: { method: keep-last, n: 4 }
  pii: { method: redact }
rules:
  - topics: [payments]
    fields: { card.number: pci, names: pii }
    detect: { pii: [email] }
";
