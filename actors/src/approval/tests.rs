use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::runtime::{Control, ControlPlaneConfiguration};
use crate::session::tests::idle_sources;
use crate::session::{OpenSession, SessionLease, Subscriber};
use crate::vocabulary::{Action, ConnectionId, HeldBy, ResourceName, SessionId};

const START_MS: i64 = 1_800_000_000_000;

/// A desk for tests that need none.
pub(crate) fn idle_desk() -> DeskConfiguration {
    DeskConfiguration {
        file: PathBuf::from("/nonexistent/approvals.json"),
        record: Arc::new(|_| Ok(())),
        policy: Arc::new(|| PolicyHash([1; 32])),
        grants: GrantTable::default(),
    }
}

/// A control plane with a desk; what it records is kept, or refused.
struct World {
    control: Control,
    grants: GrantTable,
    recorded: Arc<Mutex<Vec<&'static str>>>,
    is_log_full: Arc<AtomicBool>,
    policy: Arc<AtomicU8>,
}

impl World {
    async fn start(folder: &TempDir) -> Self {
        let began = Instant::now();
        let grants = GrantTable::default();
        let recorded = Arc::new(Mutex::new(Vec::new()));
        let is_log_full = Arc::new(AtomicBool::new(false));
        let policy = Arc::new(AtomicU8::new(1));
        let mut sources = idle_sources();
        sources.approval = Arc::new({
            let grants = grants.clone();
            move |facts| Ok(grants.of(&facts.identity.principal()))
        });
        let approvals = DeskConfiguration {
            file: folder.path().join("approvals.json"),
            record: Arc::new({
                let (recorded, is_log_full) = (Arc::clone(&recorded), Arc::clone(&is_log_full));
                move |event| {
                    if is_log_full.load(Ordering::SeqCst) {
                        return Err("the disk is full".to_owned());
                    }
                    recorded.lock().unwrap().push(event.name());
                    Ok(())
                }
            }),
            policy: Arc::new({
                let policy = Arc::clone(&policy);
                move || PolicyHash([policy.load(Ordering::SeqCst); 32])
            }),
            grants: grants.clone(),
        };
        let configuration = ControlPlaneConfiguration {
            issuers: vec![],
            sources,
            approvals,
            sessions_max: 3,
            clock: Arc::new(move || {
                UnixMillis(START_MS + i64::try_from(began.elapsed().as_millis()).unwrap())
            }),
            failed: Arc::new(|name| panic!("{name} failed")),
        };
        let (control, _) = Control::start(configuration).await.unwrap();
        Self { control, grants, recorded, is_log_full, policy }
    }

    async fn session(&self, subject: &str) -> SessionLease {
        let request = OpenSession {
            identity: person(subject, &[]),
            client_id: "app".into(),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            listener: "kafka".into(),
            login: "plain",
            connection: ConnectionId(1),
            subscriber: Subscriber { shard: 0, notify: Arc::new(|_| {}) },
        };
        self.control.sessions.open(request).await.unwrap().ok().unwrap()
    }

    async fn open(&self, subject: &str) -> Result<TicketId, DeskError> {
        let request = ApprovalRequest {
            principal: person(subject, &[]).principal(),
            session: SessionId([7; 16]),
            listener: "kafka".to_owned(),
            actions: vec![Action::Read],
            resources: vec![ResourceName::Topic("payments".to_owned())],
            labels: Vec::new(),
            rules: vec![HeldBy {
                policy: "ask".to_owned(),
                approvers: vec!["data-owners".to_owned()],
            }],
            grant_ttl_ms: 60_000,
            reason: String::new(),
            policy: PolicyHash([1; 32]),
        };
        self.control.approvals.open(vec![request]).await.unwrap().remove(0)
    }

    async fn answer(&self, verb: Verb, ticket: &TicketId) -> Result<ShownTicket, DeskError> {
        let owner = person("olga", &["data-owners"]);
        self.control.approvals.answer(verb, ticket.as_str().to_owned(), owner).await
    }

    fn recorded(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.recorded.lock().unwrap())
    }
}

fn person(subject: &str, groups: &[&str]) -> Identity {
    Identity {
        issuer: "https://idp".to_owned(),
        subject: subject.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        expires_at: UnixMillis(i64::MAX),
    }
}

/// Lets every actor read its mailbox.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_grant_reaches_the_sessions_of_its_principal_alone() {
    let folder = TempDir::new().unwrap();
    let world = World::start(&folder).await;
    let (carl, dora) = (world.session("carl").await, world.session("dora").await);
    let ticket = world.open("carl").await.unwrap();
    assert_eq!(world.open("carl").await.unwrap(), ticket, "asked twice is asked once");
    let shown = world.answer(Verb::Grant, &ticket).await.unwrap();
    assert!(shown.granted_until.is_some(), "{shown:?}");
    settle().await;
    assert_eq!(carl.handle().snapshot().parts.approval.len(), 1);
    assert_eq!(dora.handle().snapshot().epoch, 1, "nothing changed for her");

    let shown = world.answer(Verb::Revoke, &ticket).await.unwrap();
    assert_eq!(shown.granted_until, None);
    assert!(matches!(shown.ticket.state, TicketState::Revoked { .. }), "{shown:?}");
    settle().await;
    assert!(carl.handle().snapshot().parts.approval.is_empty());
    assert_eq!(world.recorded(), ["opened", "granted", "revoked"]);
}

#[tokio::test(start_paused = true)]
async fn tickets_are_shown_to_whom_they_concern() {
    let folder = TempDir::new().unwrap();
    let world = World::start(&folder).await;
    let ticket = world.open("carl").await.unwrap();
    let rows = [
        (person("carl", &[]), 1),
        (person("olga", &["data-owners"]), 1),
        (person("eve", &["security"]), 0),
    ];
    for (identity, expected) in rows {
        let tickets = world.control.approvals.list(identity.clone()).await.unwrap();
        assert_eq!(tickets.len(), expected, "{}", identity.subject);
        assert!(tickets.iter().all(|shown| shown.ticket.id == ticket));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_does_not_happen() {
    let folder = TempDir::new().unwrap();
    let world = World::start(&folder).await;
    let ticket = world.open("carl").await.unwrap();
    world.is_log_full.store(true, Ordering::SeqCst);
    let refused = world.answer(Verb::Grant, &ticket).await;
    assert!(matches!(refused, Err(DeskError::NotRecorded { .. })), "{refused:?}");
    assert!(matches!(world.open("dora").await, Err(DeskError::NotRecorded { .. })));
    assert!(world.grants.of("https://idp|carl").is_empty());
    world.is_log_full.store(false, Ordering::SeqCst);
    world.answer(Verb::Grant, &ticket).await.unwrap();
    assert_eq!(world.grants.of("https://idp|carl").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_revoked_is_closed_at_once_and_recorded_when_that_can_be() {
    let folder = TempDir::new().unwrap();
    let world = World::start(&folder).await;
    let ticket = world.open("carl").await.unwrap();
    world.answer(Verb::Grant, &ticket).await.unwrap();
    world.recorded();
    world.is_log_full.store(true, Ordering::SeqCst);
    world.answer(Verb::Revoke, &ticket).await.unwrap();
    assert!(world.grants.of("https://idp|carl").is_empty());
    assert!(world.recorded().is_empty());
    world.is_log_full.store(false, Ordering::SeqCst);
    tokio::time::sleep(TICK + Duration::from_millis(1)).await;
    assert_eq!(world.recorded(), ["revoked"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_said_and_kept_later() {
    let folder = TempDir::new().unwrap();
    let world = World::start(&folder).await;
    let ticket = world.open("carl").await.unwrap();
    world.answer(Verb::Grant, &ticket).await.unwrap();
    let aside = folder.path().with_extension("aside");
    std::fs::rename(folder.path(), &aside).unwrap();
    let answer = world.answer(Verb::Revoke, &ticket).await;
    assert_eq!(answer, Err(DeskError::NotKept));
    assert!(world.grants.of("https://idp|carl").is_empty());
    std::fs::rename(&aside, folder.path()).unwrap();
    tokio::time::sleep(TICK + Duration::from_millis(1)).await;
    let world = World::start(&folder).await;
    assert!(world.grants.of("https://idp|carl").is_empty(), "revoked stays revoked");
}

#[tokio::test(start_paused = true)]
async fn a_grant_ends_by_itself_and_with_the_policies() {
    let folder = TempDir::new().unwrap();
    let world = World::start(&folder).await;
    for end in ["time", "policies"] {
        let ticket = world.open("carl").await.unwrap();
        world.answer(Verb::Grant, &ticket).await.unwrap();
        world.recorded();
        match end {
            "time" => tokio::time::advance(Duration::from_secs(60)).await,
            _ => world.policy.store(2, Ordering::SeqCst),
        }
        tokio::time::sleep(TICK + Duration::from_millis(1)).await;
        assert!(world.grants.of("https://idp|carl").is_empty(), "{end}");
        assert_eq!(world.recorded(), ["ended"], "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn tickets_and_grants_outlive_a_restart() {
    let folder = TempDir::new().unwrap();
    let (granted, waiting) = {
        let world = World::start(&folder).await;
        let granted = world.open("carl").await.unwrap();
        world.answer(Verb::Grant, &granted).await.unwrap();
        (granted, world.open("dora").await.unwrap())
    };
    let world = World::start(&folder).await;
    assert_eq!(world.grants.of("https://idp|carl").len(), 1);
    assert_eq!(world.open("dora").await.unwrap(), waiting);
    world.answer(Verb::Revoke, &granted).await.unwrap();
    let world = World::start(&folder).await;
    assert!(world.grants.of("https://idp|carl").is_empty(), "revoked stays revoked");
}

#[test]
fn a_file_that_does_not_read_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("approvals.json");
    std::fs::write(&file, "{\"tickets\": 7}").unwrap();
    let error = kept::load(&file).unwrap_err().to_string();
    assert!(error.contains("approvals.json") && error.contains("move it aside"), "{error}");
}
