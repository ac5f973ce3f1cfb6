//! A shard without sockets, for tests of the path: real configuration, policies, actors and record log.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot set its stage has failed"
)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_actors::auth::mint::LocalIssuer;
use sluicegate_actors::recorder::entry::{Entry, EntryKind};
use sluicegate_actors::recorder::replay;
use sluicegate_actors::runtime::ControlPlane;
use sluicegate_actors::session::{OpenSession, SessionLease, Subscriber};
use sluicegate_actors::vocabulary::{ConnectionId, Identity, SessionId, UnixMillis};
use tempfile::TempDir;

use super::Ground;
use crate::clock;
use crate::cluster::ClusterView;
use crate::config::Config;
use crate::control::Control;
use crate::path::Path;
use crate::path::record::{RecordLog, Trace};
use crate::shard::{Door, Shard, Shared};

/// One shard, and one session on it.
pub(crate) struct Stage {
    pub(crate) shard: Rc<Shard>,
    lease: SessionLease,
    // Ended in this order.
    _control_plane: ControlPlane,
    folder: TempDir,
}

impl Stage {
    /// A gateway with this policy that records payloads or not, before a cluster with these topics.
    pub(crate) fn set(policy: &str, payload: &str, topics: &[&str]) -> Self {
        Self::masked(policy, "rules: []", payload, topics)
    }

    /// The same with mask rules.
    pub(crate) fn masked(policy: &str, masks: &str, payload: &str, topics: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("masks.yaml"), masks).unwrap();
        std::fs::write(folder.path().join("masking.key"), [b'k'; 32]).unwrap();
        std::fs::write(folder.path().join("policy.cedar"), policy).unwrap();
        let file = |name| folder.path().join(name);
        LocalIssuer::open_or_create(&file("key.pem"), &file("jwks.json")).unwrap();
        let path = folder.path().join("sluicegate.yaml");
        std::fs::write(&path, CONFIGURATION.replace("PAYLOAD", payload)).unwrap();
        let config = Config::load(&path).unwrap();
        let Ground { control_plane, mut logs, .. } = Ground::lay(&config).unwrap();
        let control =
            Control::new(control_plane.control().clone(), control_plane.runtime().clone());
        let (view, _task) = ClusterView::new("main".to_owned(), control.clone());
        view.knows(topics);
        let views = BTreeMap::from([("main".to_owned(), view)]);
        let shared = Arc::new(Shared::new(config, views, vec![None], control, None));
        let shard = Shard::new(0, shared, RecordLog::new(logs.remove(0)));
        let opened = control_plane.control().sessions.open(OpenSession {
            identity: Identity {
                issuer: "https://idp.example".to_owned(),
                subject: "alice".to_owned(),
                groups: Vec::new(),
                expires_at: UnixMillis(i64::MAX),
            },
            client_id: "client".into(),
            address: Ipv4Addr::LOCALHOST.into(),
            listener: "kafka".into(),
            login: "plain",
            connection: ConnectionId(1),
            subscriber: Subscriber { shard: 0, notify: Arc::new(|_| {}) },
        });
        let lease = opened.blocking_recv().unwrap().unwrap();
        Self { shard, lease, _control_plane: control_plane, folder }
    }

    /// The path of a connection of the session.
    pub(crate) fn path(&self) -> Path {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let trace = Trace::new(ConnectionId(1), peer, "kafka");
        trace.speaks_for(self.session(), "https://idp.example|alice", peer, "kafka");
        let door = Door { listener: 0, broker: None, port: 9092 };
        Path::new(Rc::clone(&self.shard), door, Rc::new(trace), Arc::clone(self.lease.handle()))
    }

    /// Replaces the policy, and returns once the session follows it.
    pub(crate) fn replace_policy(&self, policy: &str) {
        let before = self.lease.handle().load().epoch;
        std::fs::write(self.folder.path().join("policy.cedar"), policy).unwrap();
        let deadline = clock::monotonic() + Duration::from_secs(20);
        while self.lease.handle().load().epoch == before {
            assert!(clock::monotonic() < deadline, "the new policy does not arrive");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn session(&self) -> SessionId {
        self.lease.handle().id()
    }

    /// What the session was recorded to get, in order.
    pub(crate) fn delivered(&self) -> Vec<Entry> {
        futures_lite::future::block_on(self.shard.log.flush()).unwrap();
        let log = replay::RecordLog::open(&self.folder.path().join("data")).unwrap();
        let timeline = log.timeline(self.session()).unwrap();
        let entries = timeline.map(|entry| entry.unwrap().entry);
        entries.filter(|entry| entry.kind == EntryKind::Delivered).collect()
    }
}

const CONFIGURATION: &str = r#"
data.dir: data
shards: 2
clusters:
  main:
    bootstrap.servers: [127.0.0.1:19092]
    credentials:
      - security.protocol: PLAINTEXT
listeners:
  kafka:
    cluster: main
    bind: 127.0.0.1:9092
    advertised.host: localhost
    broker.ports: 9093-9192
    security.protocol: SASL_PLAINTEXT
    sasl.enabled.mechanisms: [PLAIN]
    issuers: [acme]
issuers:
  acme:
    issuer: https://idp.example
    audience: [kafka]
    jwks: jwks.json
    algorithms: [ES256]
policy:
  files: ["policy.cedar"]
masking:
  keys: { test: "${file:masking.key}" }
  files: [masks.yaml]
recording:
  payload: PAYLOAD
"#;
