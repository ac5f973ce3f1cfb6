//! The control plane: a small tokio runtime on threads of its own, and the actors that all sessions
//! share.
//!
//! ```text
//!  RootActor ──┬── IssuerKeysActor      signing keys of issuers
//!              ├── DeskActor            tickets and grants
//!              └── SessionsActor ──── SessionActor ×n
//! ```
//!
//! A process-wide actor that fails beyond its restarts is not replaced:
//! [`ControlPlaneConfiguration::failed`] is called, and the gateway must drain and end. Until then
//! logins are refused, because nobody answers them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::approval::{Approvals, DeskActor, DeskConfiguration};
use crate::auth::issuers::{IssuerConfiguration, IssuerKeysActor, Issuers, IssuersError};
use crate::session::{SessionSources, Sessions, SessionsActor};
use crate::supervisor::{Address, Child, Recovery};
use crate::vocabulary::UnixMillis;

/// The threads of the control plane. Two, because one may compile a policy for milliseconds while
/// the other answers.
pub const CONTROL_THREADS: usize = 2;

/// The most sessions of one gateway: at 64 KiB each they take 1.25 GiB.
pub const SESSIONS_MAX: usize = 20_000;

/// Tells the time. One clock serves the whole process; tests bring their own.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// What the control plane starts from.
pub struct ControlPlaneConfiguration {
    /// Whose tokens are accepted.
    pub issuers: Vec<IssuerConfiguration>,
    /// What the actors of every session compile with.
    pub sources: SessionSources,
    /// What the approval desk works with.
    pub approvals: DeskConfiguration,
    /// The most sessions at a time; [`SESSIONS_MAX`] by default.
    pub sessions_max: usize,
    /// Tells the time.
    pub clock: Clock,
    /// Called with the name of a process-wide actor that failed for good.
    pub failed: Arc<dyn Fn(&'static str) + Send + Sync>,
}

/// The running control plane. Its threads end with it.
pub struct ControlPlane {
    runtime: Runtime,
    control: Control,
    root: ActorRef<RootMessage>,
}

/// The doors to the process-wide actors: cheap to clone, usable from any executor.
#[derive(Clone)]
pub struct Control {
    /// Verifies tokens.
    pub issuers: Issuers,
    /// Opens sessions.
    pub sessions: Sessions,
    /// Opens and answers tickets.
    pub approvals: Approvals,
}

/// Why the control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    /// Blame: the operator.
    #[error(transparent)]
    Issuers(#[from] IssuersError),
    /// Blame: the machine.
    #[error("the threads of the control plane could not be started: {0}")]
    Threads(#[source] io::Error),
    /// Blame: the gateway.
    #[error("an actor of the control plane could not be started: {0}")]
    Actor(#[from] ractor::SpawnErr),
}

/// The root is told nothing; it only supervises.
#[derive(Debug)]
pub enum RootMessage {}

/// Supervises the process-wide actors.
pub struct RootActor {
    failed: Arc<dyn Fn(&'static str) + Send + Sync>,
}

/// What the root keeps.
pub struct RootTree {
    issuers: Child<IssuerKeysActor>,
    sessions: Child<SessionsActor>,
    desk: Child<DeskActor>,
}

/// The clock of the machine.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}

impl ControlPlane {
    /// Starts the threads and the actors. Blocks until they run and key files are read; keys behind
    /// URLs may come later.
    ///
    /// # Errors
    ///
    /// An issuer that cannot be used, or no threads.
    ///
    /// # Panics
    ///
    /// When called on a thread of a tokio runtime.
    pub fn start(configuration: ControlPlaneConfiguration) -> Result<Self, ControlPlaneError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(CONTROL_THREADS)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(ControlPlaneError::Threads)?;
        let (control, root) = runtime.block_on(Control::start(configuration))?;
        Ok(Self { runtime, control, root })
    }

    /// The doors.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Where other control-plane work runs: the console, the store's tasks.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Ends every session and actor, then the threads; what is not done by `limit` is dropped. Call
    /// it once the shards have drained.
    pub fn shutdown(self, limit: Duration) {
        self.runtime.block_on(async {
            // Children end with their supervisor, and sessions close when their publication is
            // dropped.
            if self.root.stop_and_wait(None, Some(limit)).await.is_err() {
                tracing::warn!("the control plane did not end in time");
            }
        });
        self.runtime.shutdown_timeout(limit);
    }
}

impl Control {
    /// Starts the actors on the runtime that polls this.
    ///
    /// # Errors
    ///
    /// An issuer that cannot be used.
    pub async fn start(
        configuration: ControlPlaneConfiguration,
    ) -> Result<(Self, ActorRef<RootMessage>), ControlPlaneError> {
        let ControlPlaneConfiguration { issuers, sources, approvals, sessions_max, clock, failed } =
            configuration;
        let (keys, snapshot) = IssuerKeysActor::new(issuers, Arc::clone(&clock))?;
        let keys_address = Address::vacant();
        let sessions_address = Address::vacant();
        let desk_address = Address::vacant();
        let control = Self {
            issuers: Issuers::new(
                keys_address.clone(),
                snapshot,
                Handle::current(),
                Arc::clone(&clock),
            ),
            sessions: Sessions::new(sessions_address.clone()),
            approvals: Approvals::new(desk_address.clone()),
        };
        let desk = DeskActor {
            configuration: approvals,
            sessions: control.sessions.clone(),
            clock: Arc::clone(&clock),
        };
        let registry =
            SessionsActor { sources, clock, sessions_max, own_address: sessions_address.clone() };
        let tree = RootTree {
            issuers: Child::new(keys, (), keys_address),
            sessions: Child::new(registry, (), sessions_address),
            desk: Child::new(desk, (), desk_address),
        };
        let (root, _) = Actor::spawn(None, RootActor { failed }, tree).await?;
        Ok((control, root))
    }
}

impl Actor for RootActor {
    type Msg = RootMessage;
    type State = RootTree;
    type Arguments = RootTree;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        mut tree: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        tree.issuers.start(myself.get_cell()).await?;
        tree.sessions.start(myself.get_cell()).await?;
        tree.desk.start(myself.get_cell()).await?;
        Ok(tree)
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
        let own = myself.get_cell();
        let (name, recovery) = if tree.issuers.is(child.get_id()) {
            ("issuer keys", tree.issuers.recover(&own).await)
        } else if tree.sessions.is(child.get_id()) {
            ("sessions", tree.sessions.recover(&own).await)
        } else if tree.desk.is(child.get_id()) {
            ("approval desk", tree.desk.recover(&own).await)
        } else {
            return Ok(());
        };
        tracing::error!(actor = name, cause, ?recovery, "a process-wide actor failed");
        if recovery == Recovery::GiveUp {
            (self.failed)(name);
        }
        Ok(())
    }
}
