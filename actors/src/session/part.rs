//! The actor whose whole duty is to compile one part of a session's snapshot.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::{Compile, Part, PartKind, SessionFacts, SessionMessage};
use crate::supervisor::{Address, Child};

/// Why a part cannot be compiled. It closes the session.
#[derive(Debug, thiserror::Error)]
#[error("the {} part of the session cannot be compiled: {reason}", kind.name())]
pub struct PartError {
    /// Which part.
    pub kind: PartKind,
    /// Why not: for the operator, never with a credential or a payload.
    pub reason: String,
}

/// What such an actor is told.
#[derive(Clone, Copy, Debug)]
pub enum PartMessage {
    /// What the part is compiled from has changed.
    Recompile,
}

/// Compiles its part when it starts and when it is told, and publishes it to its session.
///
/// It keeps nothing between two messages: after a failure its successor starts from the same facts.
pub struct PartActor<P> {
    facts: Arc<SessionFacts>,
    session: ActorRef<SessionMessage>,
    compile: Compile<P>,
    part: fn(P) -> Part,
}

impl<P: Send + 'static> PartActor<P> {
    fn publish(&self) -> Result<(), ActorProcessingErr> {
        let part = (self.compile)(&self.facts)?;
        self.session.cast(SessionMessage::Publish((self.part)(part)))?;
        Ok(())
    }
}

impl<P: Send + 'static> Actor for PartActor<P> {
    type Msg = PartMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Self::Msg>, (): ()) -> Result<(), ActorProcessingErr> {
        self.publish()
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        PartMessage::Recompile: Self::Msg,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        self.publish()
    }
}

// By hand, because a derived one would ask for `P: Clone`.
impl<P> Clone for PartActor<P> {
    fn clone(&self) -> Self {
        Self {
            facts: Arc::clone(&self.facts),
            session: self.session.clone(),
            compile: Arc::clone(&self.compile),
            part: self.part,
        }
    }
}

/// The child that compiles one part of a session.
pub(super) fn child<P: Send + 'static>(
    facts: &Arc<SessionFacts>,
    session: &ActorRef<SessionMessage>,
    compile: &Compile<P>,
    part: fn(P) -> Part,
) -> Child<PartActor<P>> {
    let actor = PartActor {
        facts: Arc::clone(facts),
        session: session.clone(),
        compile: Arc::clone(compile),
        part,
    };
    Child::new(actor, (), Address::vacant())
}
