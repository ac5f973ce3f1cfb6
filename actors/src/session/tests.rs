use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, advance};

use super::*;
use crate::approval::tests::idle_desk;
use crate::policy::bundle::{Bundle, PolicyFile};
use crate::policy::fixtures::Session;
use crate::policy::snapshot::PolicySnapshot;
use crate::recorder::RecordLevel;
use crate::runtime::{Control, ControlPlane, ControlPlaneConfiguration};
use crate::supervisor::RESTARTS_MAX;
use crate::vocabulary::ConnectionId;

const START_MS: i64 = 1_800_000_000_000;

/// Sources for tests that need no session.
pub(crate) fn idle_sources() -> SessionSources {
    Dials::default().sources()
}

/// What the tests turn: the compile functions look here.
#[derive(Clone, Default)]
struct Dials(Arc<Settings>);

#[derive(Default)]
struct Settings {
    policy_epoch: AtomicU64,
    policy_error: AtomicBool,
    /// How often the masking part is yet to panic.
    masking_panics: AtomicUsize,
    compiled: AtomicUsize,
    opened: AtomicUsize,
    closed: Mutex<Vec<CloseReason>>,
    /// While it is set, compiling the policy says that the policy has changed.
    sessions: OnceLock<Sessions>,
    changes: AtomicUsize,
}

impl Dials {
    fn sources(&self) -> SessionSources {
        let dials = || Arc::clone(&self.0);
        let (policy, masking, opened, closed) = (dials(), dials(), dials(), dials());
        SessionSources {
            policy: Arc::new(move |_| {
                policy.compiled.fetch_add(1, Ordering::SeqCst);
                if policy.changes.load(Ordering::SeqCst) > 0 {
                    policy.changes.fetch_sub(1, Ordering::SeqCst);
                    policy.sessions.get().unwrap().recompile(PartKind::Policy);
                }
                if policy.policy_error.load(Ordering::SeqCst) {
                    let reason = "the bundle is broken".to_owned();
                    return Err(PartError { kind: PartKind::Policy, reason });
                }
                Ok(Arc::new(policy_of_epoch(policy.policy_epoch.load(Ordering::SeqCst))))
            }),
            approval: Arc::new(|_| Ok(Arc::default())),
            masking: Arc::new(move |_| {
                let left = masking.masking_panics.load(Ordering::SeqCst);
                if left > 0 {
                    masking.masking_panics.store(left - 1, Ordering::SeqCst);
                    panic!("a bug in masking");
                }
                Ok(None)
            }),
            recorder: Arc::new(|_| Ok(RecordLevel::Delivered)),
            opened: Arc::new(move |_| {
                opened.opened.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }),
            closed: Arc::new(move |_, reason| closed.closed.lock().unwrap().push(reason)),
        }
    }

    fn closed(&self) -> Vec<CloseReason> {
        self.0.closed.lock().unwrap().clone()
    }
}

/// What the policy actor of a session compiles from a bundle of that epoch.
fn policy_of_epoch(epoch: u64) -> PolicySnapshot {
    let text = "@id(\"all\") permit (principal, action, resource);".to_owned();
    let file = PolicyFile { name: "p.cedar".to_owned(), text };
    let bundle = Bundle::load(&[file], &[], epoch).unwrap();
    let Session { slice, asker } = Session::new(&bundle, &["analysts"]);
    PolicySnapshot::new(slice, asker)
}

/// A control plane without issuers, and one shard that keeps what it is told.
struct World {
    control: Control,
    dials: Dials,
    told: Arc<Mutex<Vec<ShardEvent>>>,
    connections: AtomicU64,
}

impl World {
    async fn start() -> Self {
        let began = Instant::now();
        let dials = Dials::default();
        let configuration = ControlPlaneConfiguration {
            issuers: vec![],
            sources: dials.sources(),
            approvals: idle_desk(),
            sessions_max: 3,
            clock: Arc::new(move || {
                UnixMillis(START_MS + i64::try_from(began.elapsed().as_millis()).unwrap())
            }),
            failed: Arc::new(|name| panic!("{name} failed")),
        };
        let (control, _) = Control::start(configuration).await.unwrap();
        dials.0.sessions.set(control.sessions.clone()).ok();
        Self { control, dials, told: Arc::default(), connections: AtomicU64::new(0) }
    }

    fn request(&self) -> OpenSession {
        let told = Arc::clone(&self.told);
        OpenSession {
            identity: Identity {
                issuer: "https://idp".to_owned(),
                subject: "alice".to_owned(),
                groups: vec!["analysts".to_owned()],
                expires_at: UnixMillis(START_MS + 3_600_000),
            },
            client_id: "app".into(),
            address: Ipv4Addr::LOCALHOST.into(),
            listener: "kafka".into(),
            login: "plain",
            connection: ConnectionId(self.connections.fetch_add(1, Ordering::SeqCst)),
            subscriber: Subscriber {
                shard: 0,
                notify: Arc::new(move |event| told.lock().unwrap().push(event)),
            },
        }
    }

    async fn try_open(&self, request: OpenSession) -> Result<SessionLease, OpenError> {
        self.control.sessions.open(request).await.unwrap()
    }

    async fn open(&self) -> SessionLease {
        self.try_open(self.request()).await.ok().unwrap()
    }

    async fn count(&self) -> usize {
        self.control.sessions.list().await.unwrap().len()
    }

    fn told(&self) -> Vec<ShardEvent> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

/// Lets every actor read its mailbox: with a paused clock, a sleep ends once nobody has anything to
/// do.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn state(lease: &SessionLease) -> SessionState {
    lease.handle().snapshot().state
}

#[tokio::test(start_paused = true)]
async fn one_client_instance_is_one_session() {
    let world = World::start().await;
    let first = world.open().await;
    let again = world.open().await;
    assert_eq!(first.handle().id(), again.handle().id());
    assert_eq!(world.dials.0.compiled.load(Ordering::SeqCst), 1);
    assert_eq!(first.handle().facts().client_id.as_ref(), "app");
    let snapshot = first.handle().snapshot();
    assert_eq!((snapshot.epoch, snapshot.state), (1, SessionState::Open));
    assert_eq!(snapshot.parts.auth.principal(), "https://idp|alice");

    type Change = fn(&mut OpenSession);
    let changes: [(&str, Change); 6] = [
        ("groups", |request| request.identity.groups.push("auditors".to_owned())),
        ("subject", |request| request.identity.subject = "bob".to_owned()),
        ("issuer", |request| request.identity.issuer = "https://other".to_owned()),
        ("client id", |request| request.client_id = "app-2".into()),
        ("address", |request| request.address = Ipv4Addr::new(10, 0, 0, 1).into()),
        ("listener", |request| request.listener = "other".into()),
    ];
    for (what, change) in changes {
        let mut request = world.request();
        change(&mut request);
        let other = world.try_open(request).await.ok().unwrap();
        assert_ne!(first.handle().id(), other.handle().id(), "{what}");
        let handle = Arc::clone(other.handle());
        drop(other);
        tokio::time::sleep(LINGER + Duration::from_millis(2)).await;
        assert_eq!(handle.snapshot().state, SessionState::Closed(CloseReason::Idle), "{what}");
    }
    let mut later = world.request();
    later.identity.expires_at.0 += 60_000;
    let later = world.try_open(later).await.ok().unwrap();
    assert_eq!(first.handle().id(), later.handle().id(), "the end of the token is no difference");
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_thirty_seconds_after_its_last_connection() {
    let world = World::start().await;
    let (first, second) = (world.open().await, world.open().await);
    let id = first.handle().id();
    drop(first);
    advance(LINGER * 2).await;
    settle().await;
    assert_eq!(state(&second), SessionState::Open);
    drop(second);
    settle().await;
    advance(LINGER - Duration::from_millis(10)).await;
    let third = world.open().await;
    assert_eq!(third.handle().id(), id);
    advance(LINGER).await;
    settle().await;
    assert_eq!(state(&third), SessionState::Open, "an earlier departure must not end it");

    let handle = Arc::clone(third.handle());
    drop(third);
    settle().await;
    advance(LINGER - Duration::from_millis(10)).await;
    settle().await;
    assert_eq!(handle.snapshot().state, SessionState::Open);
    advance(Duration::from_millis(10)).await;
    settle().await;
    assert_eq!(handle.snapshot().state, SessionState::Closed(CloseReason::Idle));
    assert_eq!(world.dials.closed(), [CloseReason::Idle]);
    assert_eq!(world.count().await, 0);
    assert_ne!(world.open().await.handle().id(), id);
}

#[tokio::test(start_paused = true)]
async fn a_change_reaches_the_shards() {
    let world = World::start().await;
    let lease = world.open().await;
    let _second_of_the_same_shard = world.open().await;
    settle().await;
    world.told();
    world.dials.0.policy_epoch.store(7, Ordering::SeqCst);
    world.control.sessions.recompile(PartKind::Policy);
    settle().await;
    assert_eq!(world.told(), [ShardEvent::Changed(lease.handle().id())]);
    let snapshot = lease.handle().snapshot();
    assert_eq!((snapshot.epoch, snapshot.parts.policy.epoch()), (2, 7));
}

#[tokio::test(start_paused = true)]
async fn a_change_during_the_opening_is_not_missed() {
    let world = World::start().await;
    world.dials.0.changes.store(1, Ordering::SeqCst);
    let lease = world.open().await;
    settle().await;
    assert_eq!(world.dials.0.compiled.load(Ordering::SeqCst), 2);
    assert_eq!(lease.handle().snapshot().epoch, 2);
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_panics_is_restarted() {
    let world = World::start().await;
    let lease = world.open().await;
    for failures in 1..=RESTARTS_MAX {
        world.dials.0.masking_panics.store(1, Ordering::SeqCst);
        lease.handle().recompile(PartKind::Masking);
        settle().await;
        assert_eq!(state(&lease), SessionState::Open, "{failures}");
        assert_eq!(lease.handle().snapshot().epoch, 1 + u64::try_from(failures).unwrap());
    }
    world.dials.0.masking_panics.store(1, Ordering::SeqCst);
    lease.handle().recompile(PartKind::Masking);
    settle().await;
    assert_eq!(state(&lease), SessionState::Closed(CloseReason::Failed(PartKind::Masking)));
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_cannot_be_restarted_closes_the_session() {
    let world = World::start().await;
    let lease = world.open().await;
    let closed = SessionState::Closed(CloseReason::Failed(PartKind::Policy));
    world.told();
    world.dials.0.policy_error.store(true, Ordering::SeqCst);
    world.control.sessions.recompile(PartKind::Policy);
    settle().await;
    assert_eq!(state(&lease), closed);
    assert_eq!(world.told(), [ShardEvent::Closed(lease.handle().id())]);
    assert_eq!(world.dials.closed(), [CloseReason::Failed(PartKind::Policy)]);
    assert_eq!(world.count().await, 0);

    let error = world.try_open(world.request()).await.err().unwrap().to_string();
    assert!(error.contains("the bundle is broken"), "{error}");
    assert_eq!(world.dials.0.opened.load(Ordering::SeqCst), 1);
    world.dials.0.policy_error.store(false, Ordering::SeqCst);
    let healed = world.open().await;
    assert_ne!(healed.handle().id(), lease.handle().id());
    lease.handle().recompile(PartKind::Policy);
    drop(lease);
    settle().await;
    assert_eq!(state(&healed), SessionState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_killed_session_is_closed() {
    let world = World::start().await;
    let lease = world.open().await;
    world.told();
    lease.handle().actor.kill();
    settle().await;
    assert_eq!(state(&lease), SessionState::Closed(CloseReason::Abandoned));
    assert_eq!(world.told(), [ShardEvent::Closed(lease.handle().id())]);
    assert_eq!(world.count().await, 0);
    assert_ne!(world.open().await.handle().id(), lease.handle().id());
}

#[tokio::test(start_paused = true)]
async fn the_last_token_ends_the_session() {
    let world = World::start().await;
    let lease = world.open().await;
    let mut longer = world.request();
    longer.identity.expires_at = UnixMillis(START_MS + 3_700_000);
    let _longer = world.try_open(longer).await.ok().unwrap();
    lease.handle().authenticated(UnixMillis(START_MS + 10));
    settle().await;
    let part = Arc::clone(&lease.handle().snapshot().parts.auth);
    assert_eq!(part.expires_at, UnixMillis(START_MS + 3_700_000));
    advance(Duration::from_millis(3_699_990)).await;
    assert_eq!(state(&lease), SessionState::Open);
    lease.handle().authenticated(UnixMillis(START_MS + 3_800_000));
    settle().await;
    advance(Duration::from_secs(99)).await;
    settle().await;
    assert_eq!(state(&lease), SessionState::Open);
    advance(Duration::from_millis(1_100)).await;
    settle().await;
    assert_eq!(state(&lease), SessionState::Closed(CloseReason::Expired));
    assert_eq!(world.dials.closed(), [CloseReason::Expired]);
}

#[tokio::test(start_paused = true)]
async fn an_identity_is_revoked_everywhere() {
    let world = World::start().await;
    let mut other_client = world.request();
    other_client.client_id = "other".into();
    let mut other_subject = world.request();
    other_subject.identity.subject = "bob".to_owned();
    let first = world.open().await;
    let second = world.try_open(other_client).await.ok().unwrap();
    let bob = world.try_open(other_subject).await.ok().unwrap();
    assert_eq!(world.control.sessions.revoke("https://idp|alice").await, Ok(2));
    settle().await;
    let revoked = SessionState::Closed(CloseReason::Revoked);
    assert_eq!(
        (state(&first), state(&second), state(&bob)),
        (revoked, revoked, SessionState::Open)
    );
    assert_eq!(world.count().await, 1);
    assert_eq!(world.control.sessions.revoke("alice").await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn sessions_are_bounded() {
    let world = World::start().await;
    let mut leases = Vec::new();
    for number in 0..4 {
        let mut request = world.request();
        request.client_id = number.to_string().into();
        leases.push(world.try_open(request).await);
    }
    assert_eq!(leases.pop().unwrap().err(), Some(OpenError::TooMany { limit: 3 }));
    assert!(leases.iter().all(Result::is_ok));
    assert_eq!(world.count().await, 3);
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_is_gone_holds_nothing() {
    let world = World::start().await;
    drop(world.control.sessions.open(world.request()));
    settle().await;
    assert_eq!(world.count().await, 1);
    advance(LINGER).await;
    settle().await;
    assert_eq!(world.count().await, 0);
    assert_eq!(world.dials.closed(), [CloseReason::Idle]);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_registry_has_closed_what_it_had() {
    let world = World::start().await;
    let lease = world.open().await;
    world.control.sessions.registry.kill();
    settle().await;
    assert_eq!(state(&lease), SessionState::Closed(CloseReason::Abandoned));
    let other = world.open().await;
    assert_ne!(other.handle().id(), lease.handle().id());
}

#[test]
fn the_doors_answer_other_threads_and_shutdown_closes_sessions() {
    let dials = Dials::default();
    let plane = ControlPlane::start(ControlPlaneConfiguration {
        issuers: vec![],
        sources: dials.sources(),
        approvals: idle_desk(),
        sessions_max: 10,
        clock: crate::runtime::system_clock(),
        failed: Arc::new(|name| panic!("{name} failed")),
    })
    .unwrap();
    let sessions = plane.control().sessions.clone();
    let request = OpenSession {
        identity: Identity {
            issuer: "i".to_owned(),
            subject: "s".to_owned(),
            groups: vec![],
            expires_at: UnixMillis(i64::MAX),
        },
        client_id: "c".into(),
        address: Ipv4Addr::LOCALHOST.into(),
        listener: "l".into(),
        login: "plain",
        connection: ConnectionId(1),
        subscriber: Subscriber { shard: 0, notify: Arc::new(|_| {}) },
    };
    let again = request.clone();
    let lease = std::thread::spawn(move || sessions.open(request).blocking_recv())
        .join()
        .unwrap()
        .unwrap()
        .ok()
        .unwrap();
    let sessions = plane.control().sessions.clone();
    plane.shutdown(Duration::from_secs(5));
    assert_eq!(state(&lease), SessionState::Closed(CloseReason::Abandoned));
    assert_eq!(dials.closed(), [CloseReason::Abandoned]);
    assert!(sessions.open(again).blocking_recv().is_err());
}
