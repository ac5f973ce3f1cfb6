//! Who speaks: tokens, the keys of their issuers, and the auth actor of a session.
//!
//! | file | holds |
//! |---|---|
//! | [`token`] | the rules: from a token to an identity, pure |
//! | [`rules`] | what must hold of an issuer's tokens, pure |
//! | [`keys`] | algorithms and key sets, pure |
//! | [`source`] | where key sets are read from: file or URL |
//! | [`issuers`] | the process-wide actor that reads keys, and the door that verifies tokens |
//! | [`mint`] | the local issuer, for the demo and tests |
//! | this file | the actor of one session, which ends with its last token |

pub mod issuers;
pub mod keys;
pub mod mint;
pub mod rules;
pub mod source;
pub mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ractor::concurrency::JoinHandle;
use ractor::{Actor, ActorProcessingErr, ActorRef, MessagingErr};

use crate::runtime::Clock;
use crate::session::{CloseReason, Part, SessionMessage};
use crate::vocabulary::{Identity, UnixMillis};

/// Holds a session's identity, and ends the session when the last of its tokens does.
///
/// Each connection is ended by its shard at the end of its own token, to the millisecond. This
/// actor is the second line: a session in which nobody authenticated again is over, whatever a
/// shard does.
#[derive(Clone)]
pub struct AuthActor {
    pub(crate) clock: Clock,
}

/// What the auth actor starts from, first and after a failure.
#[derive(Clone)]
pub struct AuthArguments {
    identity: Arc<Identity>,
    session: ActorRef<SessionMessage>,
    /// The latest end among the session's tokens, in milliseconds; here, because it outlives the
    /// actor's failures.
    end_ms: Arc<AtomicI64>,
}

/// What the auth actor is told.
#[derive(Clone, Copy, Debug)]
pub enum AuthMessage {
    /// A connection of the session presented a token of this end.
    Authenticated {
        /// The token's end.
        expires_at: UnixMillis,
    },
    /// A token's end has come.
    TimeIsUp {
        /// It; the session goes on where another token ends later.
        expires_at: UnixMillis,
    },
}

/// What the auth actor keeps.
pub struct AuthState {
    arguments: AuthArguments,
    timer: Timer,
}

impl AuthArguments {
    /// For a new session.
    #[must_use]
    pub fn new(identity: Arc<Identity>, session: ActorRef<SessionMessage>) -> Self {
        let end_ms = Arc::new(AtomicI64::new(identity.expires_at.0));
        Self { identity, session, end_ms }
    }

    fn end(&self) -> UnixMillis {
        UnixMillis(self.end_ms.load(Ordering::Relaxed))
    }

    fn publish(&self) -> Result<(), MessagingErr<SessionMessage>> {
        let expires_at = self.end();
        let identity = Identity { expires_at, ..Identity::clone(&self.identity) };
        self.session.cast(SessionMessage::Publish(Part::Auth(Arc::new(identity))))
    }
}

impl AuthActor {
    fn arm(&self, myself: &ActorRef<AuthMessage>, arguments: &AuthArguments) -> Timer {
        let expires_at = arguments.end();
        let left_ms = expires_at.0.saturating_sub((self.clock)().0);
        // The timer is monotonic: a step of the wall clock does not move the end of a session that
        // lives.
        let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
        let actor = myself.clone();
        Timer(ractor::concurrency::spawn(async move {
            ractor::concurrency::sleep(left).await;
            actor.cast(AuthMessage::TimeIsUp { expires_at }).ok();
        }))
    }
}

impl Actor for AuthActor {
    type Msg = AuthMessage;
    type State = AuthState;
    type Arguments = AuthArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        arguments.publish()?;
        let timer = self.arm(&myself, &arguments);
        Ok(AuthState { arguments, timer })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AuthMessage::Authenticated { expires_at } => {
                let before = state.arguments.end_ms.fetch_max(expires_at.0, Ordering::Relaxed);
                if expires_at.0 > before {
                    state.timer = self.arm(&myself, &state.arguments);
                    state.arguments.publish()?;
                }
            }
            AuthMessage::TimeIsUp { expires_at } => {
                if expires_at >= state.arguments.end() {
                    state.arguments.session.cast(SessionMessage::End(CloseReason::Expired))?;
                }
            }
        }
        Ok(())
    }
}

/// A message to come, which never comes once this is dropped.
struct Timer(JoinHandle<()>);

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}
