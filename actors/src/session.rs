//! Sessions: all connections of one client instance, and the supervision tree that guards them.
//!
//! ```text
//!               SessionsActor       session/registry.rs, one per process: opens, counts, ends
//!                    │ supervises
//!               SessionActor        this file: the only writer of the session's snapshot
//!      ┌───────┬─────┼──────┬────────┐ supervises
//!    Auth  Policy Approval Masking Recorder     each compiles one part for its parent
//!
//!  parts ─▶ SessionSnapshot ─▶ ArcSwap in SessionHandle ─▶ ShardEvent to its shards
//! ```
//!
//! A session opens once all five parts are there, and not before. From then on a shard reads the
//! snapshot without a lock and swaps it between requests when it is told to. When a part cannot be
//! compiled, or an actor fails beyond its restarts, the snapshot becomes [`SessionState::Closed`]
//! and the connections must end: a session is never unguarded. That holds even where the
//! `SessionActor` itself panics or is killed, because the publication closes when it is dropped.
//!
//! A part is compiled by a function of [`SessionSources`]: at the opening, after a restart, and whenever
//! [`Sessions::recompile`] names its [`PartKind`]. It reads the process-wide snapshot of its subject (policy bundle,
//! grants, masks) at that moment. An error closes the session. An actor with duties beyond compiling has a file of its
//! own, like [`AuthActor`].

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::auth::{AuthActor, AuthArguments, AuthMessage};
use crate::masking::rules::Rules;
use crate::policy::snapshot::{Grants, PolicySnapshot};
use crate::recorder::RecordLevel;
use crate::runtime::Clock;
use crate::supervisor::{Address, Child, Recovery};
use crate::vocabulary::{Identity, SessionId, UnixMillis};

mod part;
mod publication;
mod registry;

pub use part::{PartActor, PartError, PartMessage};
use publication::Publication;
pub use registry::{
    LINGER, OpenError, OpenSession, SessionLease, Sessions, SessionsActor, SessionsMessage,
};

/// What the auth actor publishes: the identity, with the latest end among the session's tokens.
pub type AuthPart = Arc<Identity>;

/// What the policy actor publishes: the identity's slice of the bundle, without grants.
pub type PolicyPart = Arc<PolicySnapshot>;

/// What the approval actor publishes: what the identity was granted.
pub type ApprovalPart = Grants;

/// What the masking actor publishes: the mask rules, from which a shard makes a plan for each topic that is read.
pub type MaskingPart = Option<Arc<Rules>>;

/// What the recorder actor publishes: how much of what the session does is recorded.
pub type RecorderPart = RecordLevel;

/// Everything that the five actors published, as one.
#[derive(Clone, Debug)]
pub struct Parts {
    /// From the auth actor.
    pub auth: AuthPart,
    /// From the policy actor.
    pub policy: PolicyPart,
    /// From the approval actor.
    pub approval: ApprovalPart,
    /// From the masking actor.
    pub masking: MaskingPart,
    /// From the recorder actor.
    pub recorder: RecorderPart,
}

/// Which actor of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartKind {
    /// Identity and its end.
    Auth,
    /// What may be done.
    Policy,
    /// Grants.
    Approval,
    /// What is masked.
    Masking,
    /// What is recorded.
    Recorder,
}

/// One part, from its actor to the session.
#[derive(Debug)]
pub enum Part {
    /// From the auth actor.
    Auth(AuthPart),
    /// From the policy actor.
    Policy(PolicyPart),
    /// From the approval actor.
    Approval(ApprovalPart),
    /// From the masking actor.
    Masking(MaskingPart),
    /// From the recorder actor.
    Recorder(RecorderPart),
}

/// What is known of a session from its first connection on, and never changes.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// Its random name.
    pub session: SessionId,
    /// Whose it is, as the first token said.
    pub identity: Arc<Identity>,
    /// The first client id.
    pub client_id: Arc<str>,
    /// The source address.
    pub address: IpAddr,
    /// The listener's name.
    pub listener: Arc<str>,
    /// How the identity was shown: `plain`, `oauthbearer` or `mtls`.
    pub login: &'static str,
    /// When it was opened.
    pub opened_at: UnixMillis,
}

/// What a shard needs of a session: immutable, replaced as a whole.
#[derive(Clone, Debug)]
pub struct SessionSnapshot {
    /// The session.
    pub session: SessionId,
    /// Counts publications, from 1.
    pub epoch: u64,
    /// Whether anything may be done at all.
    pub state: SessionState,
    /// What its actors compiled.
    pub parts: Parts,
}

/// Whether a session is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// It is.
    Open,
    /// It has ended for good; its connections must be closed.
    Closed(CloseReason),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Its last connection ended, and no other came.
    Idle,
    /// The last of its tokens expired.
    Expired,
    /// Somebody revoked the identity.
    Revoked,
    /// One of its actors failed beyond its restarts.
    Failed(PartKind),
    /// The session's own actor failed or was killed, or the gateway stops.
    Abandoned,
}

/// What shards are told of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardEvent {
    /// Its snapshot is another one: load it before the next request.
    Changed(SessionId),
    /// It has ended: close its connections.
    Closed(SessionId),
}

/// How a shard is told. Called on the control plane's threads: it must neither block nor lose the
/// event. A bounded channel that is full may be replaced by a flag that says "look at all your
/// sessions".
pub type Notify = Arc<dyn Fn(ShardEvent) + Send + Sync>;

/// A shard that wants to be told.
#[derive(Clone)]
pub struct Subscriber {
    /// The shard's number: one shard subscribes once to a session, however many of its connections
    /// it holds.
    pub shard: usize,
    /// How it is told.
    pub notify: Notify,
}

/// Compiles one part of a session.
pub type Compile<P> = Arc<dyn Fn(&SessionFacts) -> Result<P, PartError> + Send + Sync>;

/// Told once when a session has ended, with its last snapshot.
pub type Closed = Arc<dyn Fn(&SessionFacts, CloseReason) + Send + Sync>;

/// What the actors of every session compile with. Cheap to clone.
#[derive(Clone)]
pub struct SessionSources {
    /// For the policy actor.
    pub policy: Compile<PolicyPart>,
    /// For the approval actor.
    pub approval: Compile<ApprovalPart>,
    /// For the masking actor.
    pub masking: Compile<MaskingPart>,
    /// For the recorder actor.
    pub recorder: Compile<RecorderPart>,
    /// Records that a session opens; an error refuses it. Called once for a session, before its
    /// first request.
    pub opened: Compile<()>,
    /// Records that a session has ended. Called once for a session that was recorded as opened.
    pub closed: Closed,
}

/// A session as its connections see it. Cheap to read; nobody but its actor changes it.
pub struct SessionHandle {
    facts: Arc<SessionFacts>,
    snapshot: ArcSwap<SessionSnapshot>,
    subscribers: ArcSwap<Vec<Subscriber>>,
    actor: Address<SessionMessage>,
}

/// What a session is told.
#[derive(Debug)]
pub enum SessionMessage {
    /// One of its actors compiled a part.
    Publish(Part),
    /// What a part is compiled from has changed.
    Recompile(PartKind),
    /// A connection logged in, or did so again, with a token of this end.
    Authenticated {
        /// The token's end.
        expires_at: UnixMillis,
    },
    /// It has to end.
    End(CloseReason),
}

/// Supervises the five actors of one session, and publishes their parts.
#[derive(Clone)]
pub struct SessionActor {
    pub(crate) sources: SessionSources,
    pub(crate) clock: Clock,
    pub(crate) registry: Address<SessionsMessage>,
}

/// What a [`SessionActor`] keeps.
pub struct SessionTree {
    auth: Child<AuthActor>,
    policy: Child<PartActor<PolicyPart>>,
    approval: Child<PartActor<ApprovalPart>>,
    masking: Child<PartActor<MaskingPart>>,
    recorder: Child<PartActor<RecorderPart>>,
    publication: Publication,
}

impl SessionHandle {
    /// What never changes.
    #[must_use]
    pub fn facts(&self) -> &Arc<SessionFacts> {
        &self.facts
    }

    /// The session's name.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.facts.session
    }

    /// What holds now, for a look between requests: no count is shared with other threads.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<SessionSnapshot>> {
        self.snapshot.load()
    }

    /// What holds now, to keep.
    #[must_use]
    pub fn snapshot(&self) -> Arc<SessionSnapshot> {
        self.snapshot.load_full()
    }

    /// Tells the session that one of its connections authenticated again. The connection itself
    /// ends at its own token's end, whatever the session says.
    pub fn authenticated(&self, expires_at: UnixMillis) {
        // A session that has ended needs no telling: its connections are being closed.
        self.actor.tell(SessionMessage::Authenticated { expires_at }).ok();
    }

    /// Has one part compiled again, for instance after a grant.
    pub fn recompile(&self, kind: PartKind) {
        self.actor.tell(SessionMessage::Recompile(kind)).ok();
    }

    fn end(&self, reason: CloseReason) {
        self.actor.tell(SessionMessage::End(reason)).ok();
    }

    fn subscribe(&self, subscriber: Subscriber) {
        if self.subscribers.load().iter().all(|other| other.shard != subscriber.shard) {
            self.subscribers.rcu(|others| {
                let mut others = Vec::clone(others);
                others.push(subscriber.clone());
                others
            });
        }
    }

    fn publish(&self, snapshot: SessionSnapshot) {
        let event = match snapshot.state {
            SessionState::Open => ShardEvent::Changed(snapshot.session),
            SessionState::Closed(_) => ShardEvent::Closed(snapshot.session),
        };
        self.snapshot.store(Arc::new(snapshot));
        for subscriber in self.subscribers.load().iter() {
            (subscriber.notify)(event);
        }
    }
}

impl PartKind {
    /// The name in logs and entries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Policy => "policy",
            Self::Approval => "approval",
            Self::Masking => "masking",
            Self::Recorder => "recorder",
        }
    }
}

impl Actor for SessionActor {
    type Msg = SessionMessage;
    type State = SessionTree;
    type Arguments = Arc<SessionFacts>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        facts: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let sources = &self.sources;
        let mut tree = SessionTree {
            auth: Child::new(
                AuthActor { clock: Arc::clone(&self.clock) },
                AuthArguments::new(Arc::clone(&facts.identity), myself.clone()),
                Address::vacant(),
            ),
            policy: part::child(&facts, &myself, &sources.policy, Part::Policy),
            approval: part::child(&facts, &myself, &sources.approval, Part::Approval),
            masking: part::child(&facts, &myself, &sources.masking, Part::Masking),
            recorder: part::child(&facts, &myself, &sources.recorder, Part::Recorder),
            publication: Publication::new(facts, sources.closed.clone()),
        };
        let own = myself.get_cell();
        tree.auth.start(own.clone()).await?;
        tree.policy.start(own.clone()).await?;
        tree.approval.start(own.clone()).await?;
        tree.masking.start(own.clone()).await?;
        tree.recorder.start(own).await?;
        // Last, so that no session is recorded that could not have served a request.
        tree.publication.record_opening(&sources.opened)?;
        Ok(tree)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        tree: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SessionMessage::Publish(part) => {
                if let Some(handle) = tree.publication.publish(part, &myself) {
                    // If nobody is there, the registry has failed, and this session with it.
                    self.registry.tell(SessionsMessage::Opened { handle })?;
                }
            }
            SessionMessage::Recompile(kind) => tree.recompile(kind),
            SessionMessage::Authenticated { expires_at } => {
                tree.auth.address().tell(AuthMessage::Authenticated { expires_at }).ok();
            }
            SessionMessage::End(reason) => {
                tree.publication.close(reason);
                myself.stop(None);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        tree: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let (child, cause) = match event {
            SupervisionEvent::ActorFailed(child, error) => (child, error.to_string()),
            SupervisionEvent::ActorTerminated(child, _, reason) => {
                (child, reason.unwrap_or_else(|| "it stopped".to_owned()))
            }
            _ => return Ok(()),
        };
        let Some((kind, recovery)) = tree.recover(child.get_id(), &myself.get_cell()).await else {
            return Ok(());
        };
        let session = tree.publication.facts.session;
        let actor = kind.name();
        tracing::error!(%session, actor, cause, ?recovery, "an actor of a session failed");
        if recovery == Recovery::GiveUp {
            tree.publication.close(CloseReason::Failed(kind));
            myself.stop(None);
        }
        Ok(())
    }
}

impl SessionTree {
    fn recompile(&self, kind: PartKind) {
        let told = match kind {
            // The identity is what the tokens said: there is nothing to compile it from.
            PartKind::Auth => Ok(()),
            PartKind::Policy => self.policy.address().tell(PartMessage::Recompile),
            PartKind::Approval => self.approval.address().tell(PartMessage::Recompile),
            PartKind::Masking => self.masking.address().tell(PartMessage::Recompile),
            PartKind::Recorder => self.recorder.address().tell(PartMessage::Recompile),
        };
        // An actor that is just being restarted compiles anyway.
        told.ok();
    }

    async fn recover(
        &mut self,
        id: ActorId,
        supervisor: &ActorCell,
    ) -> Option<(PartKind, Recovery)> {
        Some(if self.auth.is(id) {
            (PartKind::Auth, self.auth.recover(supervisor).await)
        } else if self.policy.is(id) {
            (PartKind::Policy, self.policy.recover(supervisor).await)
        } else if self.approval.is(id) {
            (PartKind::Approval, self.approval.recover(supervisor).await)
        } else if self.masking.is(id) {
            (PartKind::Masking, self.masking.recover(supervisor).await)
        } else if self.recorder.is(id) {
            (PartKind::Recorder, self.recorder.recover(supervisor).await)
        } else {
            return None;
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
