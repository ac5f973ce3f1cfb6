//! Restarts: how often a failed actor is started again, and how others find it afterwards.
//!
//! Every supervisor of this crate uses the same three pieces, so that there is one policy and one
//! place for it:
//!
//! - [`RestartBudget`]: 3 restarts within 10 s, then it gives up. Giving up is decided by who
//!   supervises: a session closes, the control plane reports that it has failed. Nothing goes on
//!   without the actor that guards it.
//! - [`Address`]: where to send, the same before and after a restart. What was in the mailbox of a
//!   failed actor is lost; who asked sees its answer's channel close, and refuses.
//! - [`Child`]: one supervised actor: how to start it, its address and its budget.
//!
//! An actor keeps nothing in its state that it cannot find again when it starts: `pre_start` is
//! also the way back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ractor::{Actor, ActorCell, ActorId, ActorRef, Message};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How often an actor is restarted within [`RESTART_WINDOW`].
pub const RESTARTS_MAX: usize = 3;

/// The time over which restarts are counted.
pub const RESTART_WINDOW: Duration = Duration::from_secs(10);

/// What to do with a failed actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Start it again.
    Restart,
    /// It fails too often.
    GiveUp,
}

/// Counts the restarts of one actor.
#[derive(Debug, Default)]
pub struct RestartBudget {
    recent: VecDeque<Instant>,
}

/// Where an actor is reached, whichever of its incarnations runs. Cheap to clone, usable from any
/// executor.
pub struct Address<M: Message> {
    current: Arc<ArcSwapOption<ActorRef<M>>>,
}

/// Nobody is at an address: the actor ended, or its supervisor gave it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the control plane does not answer")]
pub struct Unavailable;

/// An actor under supervision.
pub struct Child<A: Actor> {
    actor: A,
    arguments: A::Arguments,
    id: Option<ActorId>,
    address: Address<A::Msg>,
    budget: RestartBudget,
}

impl RestartBudget {
    /// Takes one restart out of the budget.
    pub fn admit(&mut self, now: Instant) -> Recovery {
        while self.recent.front().is_some_and(|then| now.duration_since(*then) >= RESTART_WINDOW) {
            self.recent.pop_front();
        }
        if self.recent.len() >= RESTARTS_MAX {
            return Recovery::GiveUp;
        }
        self.recent.push_back(now);
        Recovery::Restart
    }
}

impl<M: Message> Address<M> {
    /// An address where nobody is yet.
    #[must_use]
    pub fn vacant() -> Self {
        Self { current: Arc::new(ArcSwapOption::empty()) }
    }

    /// Sends a message. It may be lost if the actor fails before it reads it.
    ///
    /// # Errors
    ///
    /// Nobody is there.
    ///
    /// # Limits
    ///
    /// Mailboxes have none: who sends on behalf of a peer takes a permit first.
    pub fn tell(&self, message: M) -> Result<(), Unavailable> {
        match self.current.load().as_deref() {
            Some(actor) => actor.cast(message).map_err(|_| Unavailable),
            None => Err(Unavailable),
        }
    }

    /// Sends a message that carries the way back. The receiver may be awaited on any executor,
    /// closes if the actor fails before it answers, and has no deadline of its own.
    ///
    /// # Errors
    ///
    /// Nobody is there.
    pub fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> M,
    ) -> Result<oneshot::Receiver<T>, Unavailable> {
        let (answer, receiver) = oneshot::channel();
        self.tell(message(answer))?;
        Ok(receiver)
    }

    /// Sends to `actor` from now on.
    pub fn occupy(&self, actor: ActorRef<M>) {
        self.current.store(Some(Arc::new(actor)));
    }

    /// Refuses everything from now on.
    pub fn vacate(&self) {
        self.current.store(None);
    }

    /// Kills whoever is there, without letting it say goodbye.
    #[cfg(test)]
    pub(crate) fn kill(&self) {
        if let Some(actor) = self.current.load().as_deref() {
            actor.kill();
        }
    }
}

impl<M: Message> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { current: Arc::clone(&self.current) }
    }
}

impl<A: Actor + Clone> Child<A>
where
    A::Arguments: Clone,
{
    /// A child that is not started yet.
    pub fn new(actor: A, arguments: A::Arguments, address: Address<A::Msg>) -> Self {
        Self { actor, arguments, id: None, address, budget: RestartBudget::default() }
    }

    /// Starts it under `supervisor`, and returns once its `pre_start` has.
    ///
    /// # Errors
    ///
    /// Its `pre_start` failed.
    pub async fn start(&mut self, supervisor: ActorCell) -> Result<(), ractor::SpawnErr> {
        let started =
            Actor::spawn_linked(None, self.actor.clone(), self.arguments.clone(), supervisor).await;
        let (actor, _) = started?;
        self.id = Some(actor.get_id());
        self.address.occupy(actor);
        Ok(())
    }

    /// Starts it again after it failed, as often as the budget allows.
    pub async fn recover(&mut self, supervisor: &ActorCell) -> Recovery {
        self.id = None;
        loop {
            if self.budget.admit(Instant::now()) == Recovery::GiveUp {
                self.address.vacate();
                return Recovery::GiveUp;
            }
            match self.start(supervisor.clone()).await {
                Ok(()) => return Recovery::Restart,
                Err(error) => tracing::error!(%error, "an actor could not be started again"),
            }
        }
    }

    /// True if this is the child's running incarnation.
    #[must_use]
    pub fn is(&self, id: ActorId) -> bool {
        self.id == Some(id)
    }

    /// Where it is reached.
    #[must_use]
    pub fn address(&self) -> &Address<A::Msg> {
        &self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn three_restarts_in_ten_seconds() {
        let mut budget = RestartBudget::default();
        let admitted = |budget: &mut RestartBudget| budget.admit(Instant::now());
        for _ in 0..RESTARTS_MAX {
            assert_eq!(admitted(&mut budget), Recovery::Restart);
            tokio::time::advance(Duration::from_secs(3)).await;
        }
        assert_eq!(admitted(&mut budget), Recovery::GiveUp);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(admitted(&mut budget), Recovery::Restart);
        assert_eq!(admitted(&mut budget), Recovery::GiveUp);
    }
}
