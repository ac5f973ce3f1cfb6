//! The sessions of this gateway: the process-wide actor that opens, shares, counts and ends them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, ActorStatus, SupervisionEvent};
use tokio::sync::oneshot;

use super::{
    CloseReason, PartKind, SessionActor, SessionFacts, SessionHandle, SessionMessage,
    SessionSources, SessionState, Subscriber,
};
use crate::runtime::Clock;
use crate::supervisor::Address;
use crate::vocabulary::{ConnectionId, Identity, SessionId, UnixMillis};

/// How long a session outlives its last connection: clients reconnect within seconds, and are then
/// the same instance.
pub const LINGER: Duration = Duration::from_secs(30);

/// A connection that has logged in, and needs its session.
#[derive(Clone)]
pub struct OpenSession {
    /// Who it is, from its own token.
    pub identity: Identity,
    /// The client id of its first request that has one.
    pub client_id: Arc<str>,
    /// Its source address.
    pub address: IpAddr,
    /// The listener's name.
    pub listener: Arc<str>,
    /// How the identity was shown: `plain`, `oauthbearer` or `mtls`.
    pub login: &'static str,
    /// Its number.
    pub connection: ConnectionId,
    /// Its shard.
    pub subscriber: Subscriber,
}

/// A connection's share in a session: the session counts it until this is dropped.
pub struct SessionLease {
    handle: Arc<SessionHandle>,
    connection: ConnectionId,
    registry: Address<SessionsMessage>,
}

/// Why a session cannot be had. The connection must be refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// As many sessions as may be are open. Blame: the gateway.
    #[error("{limit} sessions are open, and no more are allowed")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// One of its actors could not start. Blame: the operator or the gateway.
    #[error("the session could not be opened: {reason}")]
    Failed {
        /// Why: for the log, not for the client.
        reason: Arc<str>,
    },
    /// The registry does not run. Blame: the gateway.
    #[error("the control plane does not answer")]
    Unavailable,
}

/// The door to the sessions: cheap to clone, usable from any executor.
#[derive(Clone)]
pub struct Sessions {
    pub(super) registry: Address<SessionsMessage>,
}

/// What the registry is told.
pub enum SessionsMessage {
    /// A connection has logged in.
    Open {
        /// It.
        request: OpenSession,
        /// Told the session, or why there is none.
        answer: oneshot::Sender<Result<SessionLease, OpenError>>,
    },
    /// A session has all of its parts.
    Opened {
        /// It.
        handle: Arc<SessionHandle>,
    },
    /// A session's actor runs, or could not start.
    Started {
        /// The session's name.
        session: SessionId,
        /// Its actor, or why there is none.
        outcome: Result<ActorRef<SessionMessage>, String>,
    },
    /// A connection has ended.
    Detach {
        /// Its session.
        session: SessionId,
        /// It.
        connection: ConnectionId,
    },
    /// A session has been without connections for a while.
    Lingered {
        /// It.
        session: SessionId,
        /// How often it had lost its last connection by then.
        departures: u64,
    },
    /// What a part is compiled from has changed.
    Recompile {
        /// The part.
        kind: PartKind,
        /// Whose sessions, as `<issuer>|<subject>`; `None` is everybody's.
        principal: Option<String>,
    },
    /// An identity must not go on.
    Revoke {
        /// `<issuer>|<subject>`.
        principal: String,
        /// Told how many sessions are closed by it.
        answer: oneshot::Sender<usize>,
    },
    /// Which sessions are open.
    List {
        /// Told them.
        answer: oneshot::Sender<Vec<Arc<SessionHandle>>>,
    },
}

/// Owns the sessions; see the module.
#[derive(Clone)]
pub struct SessionsActor {
    pub(crate) sources: SessionSources,
    pub(crate) clock: Clock,
    pub(crate) sessions_max: usize,
    pub(crate) own_address: Address<SessionsMessage>,
}

/// What the registry keeps. A restart begins with none: the sessions ended with the actor that
/// supervised them.
#[derive(Default)]
pub struct Registry {
    by_key: HashMap<SessionKey, SessionId>,
    sessions: HashMap<SessionId, Entry>,
    actors: HashMap<ActorId, SessionId>,
}

/// What makes two connections one client instance. The end of the token is no part of it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct SessionKey {
    issuer: String,
    subject: String,
    groups: Vec<String>,
    client_id: Arc<str>,
    address: IpAddr,
    listener: Arc<str>,
    login: &'static str,
}

struct Entry {
    key: SessionKey,
    stage: Stage,
    departures: u64,
}

enum Stage {
    Opening {
        waiting: Vec<Waiting>,
        /// What changed since its parts began to be compiled.
        missed: Vec<PartKind>,
    },
    Open {
        handle: Arc<SessionHandle>,
        connections: Vec<ConnectionId>,
    },
}

struct Waiting {
    connection: ConnectionId,
    expires_at: UnixMillis,
    subscriber: Subscriber,
    answer: oneshot::Sender<Result<SessionLease, OpenError>>,
}

impl Sessions {
    pub(crate) fn new(registry: Address<SessionsMessage>) -> Self {
        Self { registry }
    }

    /// Finds the session of a connection, or opens it. The receiver may be awaited on any executor;
    /// if it is dropped, the lease is given back by itself.
    #[must_use]
    pub fn open(&self, request: OpenSession) -> oneshot::Receiver<Result<SessionLease, OpenError>> {
        let (answer, receiver) = oneshot::channel();
        // Where nobody is there, the message is dropped, and the sender in it: the receiver reports
        // that.
        self.registry.tell(SessionsMessage::Open { request, answer }).ok();
        receiver
    }

    /// Has one part of every session compiled again: after a new policy bundle, new masks, another
    /// recording level.
    pub fn recompile(&self, kind: PartKind) {
        self.registry.tell(SessionsMessage::Recompile { kind, principal: None }).ok();
    }

    /// The same for the sessions of one identity, named `<issuer>|<subject>`: after a grant.
    pub fn recompile_of(&self, principal: &str, kind: PartKind) {
        let principal = Some(principal.to_owned());
        self.registry.tell(SessionsMessage::Recompile { kind, principal }).ok();
    }

    /// Closes every session of an identity, named `<issuer>|<subject>`; answers how many.
    #[must_use]
    pub fn revoke(&self, principal: &str) -> oneshot::Receiver<usize> {
        let (answer, receiver) = oneshot::channel();
        let message = SessionsMessage::Revoke { principal: principal.to_owned(), answer };
        self.registry.tell(message).ok();
        receiver
    }

    /// The sessions that are open.
    #[must_use]
    pub fn list(&self) -> oneshot::Receiver<Vec<Arc<SessionHandle>>> {
        let (answer, receiver) = oneshot::channel();
        self.registry.tell(SessionsMessage::List { answer }).ok();
        receiver
    }
}

impl SessionLease {
    /// The session.
    #[must_use]
    pub fn handle(&self) -> &Arc<SessionHandle> {
        &self.handle
    }
}

impl Drop for SessionLease {
    fn drop(&mut self) {
        let session = self.handle.id();
        // Where the registry is gone, so is the session.
        self.registry.tell(SessionsMessage::Detach { session, connection: self.connection }).ok();
    }
}

impl SessionsActor {
    fn open(
        &self,
        myself: &ActorRef<SessionsMessage>,
        registry: &mut Registry,
        request: OpenSession,
        answer: oneshot::Sender<Result<SessionLease, OpenError>>,
    ) -> Result<(), ActorProcessingErr> {
        let OpenSession { identity, client_id, address, listener, login, connection, subscriber } =
            request;
        let key = SessionKey {
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
            groups: identity.groups.clone(),
            client_id,
            address,
            listener,
            login,
        };
        let waiting = Waiting { connection, expires_at: identity.expires_at, subscriber, answer };
        if let Some(session) = registry.by_key.get(&key).copied() {
            match registry.sessions.get_mut(&session) {
                Some(Entry { stage: Stage::Opening { waiting: others, .. }, .. }) => {
                    others.push(waiting);
                    return Ok(());
                }
                Some(Entry { stage: Stage::Open { handle, connections }, .. })
                    if handle.snapshot().state == SessionState::Open =>
                {
                    handle.authenticated(waiting.expires_at);
                    self.attach(handle, connections, waiting);
                    return Ok(());
                }
                // It has ended, and its actor is about to: this connection begins another one.
                _ => {
                    registry.remove(session);
                }
            }
        }
        if registry.sessions.len() >= self.sessions_max {
            waiting.answer.send(Err(OpenError::TooMany { limit: self.sessions_max })).ok();
            return Ok(());
        }
        let mut name = [0; 16];
        getrandom::fill(&mut name)?;
        let session = SessionId(name);
        let facts = Arc::new(SessionFacts {
            session,
            identity: Arc::new(identity),
            client_id: Arc::clone(&key.client_id),
            address: key.address,
            listener: Arc::clone(&key.listener),
            login: key.login,
            opened_at: (self.clock)(),
        });
        registry.by_key.insert(key.clone(), session);
        let stage = Stage::Opening { waiting: vec![waiting], missed: Vec::new() };
        registry.sessions.insert(session, Entry { key, stage, departures: 0 });
        self.start(myself, facts);
        Ok(())
    }

    /// Starts a session's tree in a task of its own, so that a slow compilation delays nobody else.
    fn start(&self, myself: &ActorRef<SessionsMessage>, facts: Arc<SessionFacts>) {
        let actor = SessionActor {
            sources: self.sources.clone(),
            clock: Arc::clone(&self.clock),
            registry: self.own_address.clone(),
        };
        let myself = myself.clone();
        ractor::concurrency::spawn(async move {
            let session = facts.session;
            let started = Actor::spawn_linked(None, actor, facts, myself.get_cell()).await;
            let outcome = started.map(|(actor, _)| actor).map_err(|error| error.to_string());
            // A registry that has failed meanwhile has taken its sessions with it.
            myself.cast(SessionsMessage::Started { session, outcome }).ok();
        });
    }

    fn attach(
        &self,
        handle: &Arc<SessionHandle>,
        connections: &mut Vec<ConnectionId>,
        waiting: Waiting,
    ) {
        handle.subscribe(waiting.subscriber);
        connections.push(waiting.connection);
        let lease = SessionLease {
            handle: Arc::clone(handle),
            connection: waiting.connection,
            registry: self.own_address.clone(),
        };
        // If the asker is gone, the lease comes back by being dropped.
        waiting.answer.send(Ok(lease)).ok();
    }

    fn opened(&self, registry: &mut Registry, handle: Arc<SessionHandle>) {
        let Some(entry) = registry.sessions.get_mut(&handle.id()) else {
            // Its identity was revoked while it was being opened.
            handle.end(CloseReason::Revoked);
            return;
        };
        if let Stage::Opening { waiting, missed } = &mut entry.stage {
            missed.iter().for_each(|kind| handle.recompile(*kind));
            let waiting = std::mem::take(waiting);
            let mut connections = Vec::with_capacity(waiting.len());
            for waiting in waiting {
                handle.authenticated(waiting.expires_at);
                self.attach(&handle, &mut connections, waiting);
            }
            entry.stage = Stage::Open { handle, connections };
        }
    }

    fn detach(
        myself: &ActorRef<SessionsMessage>,
        registry: &mut Registry,
        session: SessionId,
        connection: ConnectionId,
    ) {
        let Some(entry) = registry.sessions.get_mut(&session) else {
            return;
        };
        if let Stage::Open { connections, .. } = &mut entry.stage {
            connections.retain(|other| *other != connection);
            if connections.is_empty() {
                entry.departures = entry.departures.saturating_add(1);
                let departures = entry.departures;
                myself
                    .send_after(LINGER, move || SessionsMessage::Lingered { session, departures });
            }
        }
    }

    fn lingered(registry: &mut Registry, session: SessionId, departures: u64) {
        let Some(entry) = registry.sessions.get(&session) else {
            return;
        };
        if let Stage::Open { handle, connections } = &entry.stage
            && connections.is_empty()
            && entry.departures == departures
        {
            handle.end(CloseReason::Idle);
            registry.remove(session);
        }
    }

    fn started(
        registry: &mut Registry,
        session: SessionId,
        outcome: Result<ActorRef<SessionMessage>, String>,
    ) {
        match outcome {
            // News of its end overtakes this message, and found no such actor then.
            Ok(actor) if ENDED.contains(&actor.get_status()) => {
                registry.fail(session, "it ended at once".to_owned());
            }
            Ok(actor) => {
                registry.actors.insert(actor.get_id(), session);
            }
            Err(reason) => registry.fail(session, reason),
        }
    }
}

impl Actor for SessionsActor {
    type Msg = SessionsMessage;
    type State = Registry;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(Registry::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        registry: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SessionsMessage::Open { request, answer } => {
                self.open(&myself, registry, request, answer)?;
            }
            SessionsMessage::Opened { handle } => self.opened(registry, handle),
            SessionsMessage::Started { session, outcome } => {
                Self::started(registry, session, outcome);
            }
            SessionsMessage::Detach { session, connection } => {
                Self::detach(&myself, registry, session, connection);
            }
            SessionsMessage::Lingered { session, departures } => {
                Self::lingered(registry, session, departures);
            }
            SessionsMessage::Recompile { kind, principal } => {
                registry.recompile(kind, principal.as_deref());
            }
            SessionsMessage::Revoke { principal, answer } => {
                answer.send(registry.revoke(&principal)).ok();
            }
            SessionsMessage::List { answer } => {
                answer.send(registry.open_handles().cloned().collect()).ok();
            }
        }
        Ok(())
    }

    /// A session's actor is never restarted: its connections are closed, and clients come back to a
    /// new one.
    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        registry: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let (actor, reason) = match event {
            SupervisionEvent::ActorFailed(actor, error) => (actor, error.to_string()),
            SupervisionEvent::ActorTerminated(actor, _, reason) => {
                (actor, reason.unwrap_or_else(|| "it ended".to_owned()))
            }
            _ => return Ok(()),
        };
        if let Some(session) = registry.actors.remove(&actor.get_id()) {
            registry.fail(session, reason);
        }
        Ok(())
    }
}

impl SessionKey {
    fn is_of(&self, principal: &str) -> bool {
        // An issuer holds no `|`, so the first one separates.
        principal.split_once('|') == Some((&self.issuer, &self.subject))
    }
}

impl Registry {
    fn open_handles(&self) -> impl Iterator<Item = &Arc<SessionHandle>> {
        self.sessions.values().filter_map(|entry| match &entry.stage {
            Stage::Open { handle, .. } => Some(handle),
            Stage::Opening { .. } => None,
        })
    }

    fn recompile(&mut self, kind: PartKind, principal: Option<&str>) {
        for entry in self.sessions.values_mut() {
            if principal.is_some_and(|principal| !entry.key.is_of(principal)) {
                continue;
            }
            match &mut entry.stage {
                Stage::Open { handle, .. } => handle.recompile(kind),
                Stage::Opening { missed, .. } if !missed.contains(&kind) => missed.push(kind),
                Stage::Opening { .. } => {}
            }
        }
    }

    /// Ends the sessions of an identity; how many there were.
    fn revoke(&mut self, principal: &str) -> usize {
        let theirs: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, entry)| entry.key.is_of(principal))
            .map(|(session, _)| *session)
            .collect();
        for session in &theirs {
            if let Some(Entry { stage: Stage::Open { handle, .. }, .. }) =
                self.sessions.get(session)
            {
                handle.end(CloseReason::Revoked);
            }
            self.fail(*session, "the identity was revoked".to_owned());
        }
        theirs.len()
    }

    /// Forgets a session. Its key may already belong to its successor.
    fn remove(&mut self, session: SessionId) -> Option<Entry> {
        let entry = self.sessions.remove(&session)?;
        if self.by_key.get(&entry.key) == Some(&session) {
            self.by_key.remove(&entry.key);
        }
        Some(entry)
    }

    /// Forgets a session that has failed, and tells who waits for it.
    fn fail(&mut self, session: SessionId, reason: String) {
        let reason: Arc<str> = reason.into();
        if let Some(Entry { stage: Stage::Opening { waiting, .. }, .. }) = self.remove(session) {
            tracing::error!(%session, %reason, "a session could not be opened");
            for waiting in waiting {
                let reason = Arc::clone(&reason);
                waiting.answer.send(Err(OpenError::Failed { reason })).ok();
            }
        }
    }
}

const ENDED: [ActorStatus; 2] = [ActorStatus::Stopping, ActorStatus::Stopped];
