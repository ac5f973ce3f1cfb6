//! The writing end of a session's snapshot: it gathers the parts, publishes them, and closes when
//! it is dropped.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ractor::ActorRef;

use super::{
    ApprovalPart, AuthPart, CloseReason, Closed, Compile, MaskingPart, Part, PartError, Parts,
    PolicyPart, RecorderPart, SessionFacts, SessionHandle, SessionMessage, SessionSnapshot,
    SessionState,
};
use crate::supervisor::Address;

/// The writing end of a session's snapshot. Dropping it closes the session.
pub(super) struct Publication {
    pub(super) facts: Arc<SessionFacts>,
    stage: Stage,
    closed: Closed,
    recorded: bool,
}

enum Stage {
    Gathering(Gathered),
    Published(Arc<SessionHandle>),
    Closed,
}

#[derive(Default)]
struct Gathered {
    auth: Option<AuthPart>,
    policy: Option<PolicyPart>,
    approval: Option<ApprovalPart>,
    masking: Option<MaskingPart>,
    recorder: Option<RecorderPart>,
}

impl Publication {
    pub(super) fn new(facts: Arc<SessionFacts>, closed: Closed) -> Self {
        Self { facts, stage: Stage::Gathering(Gathered::default()), closed, recorded: false }
    }

    pub(super) fn record_opening(&mut self, opened: &Compile<()>) -> Result<(), PartError> {
        opened(&self.facts)?;
        self.recorded = true;
        Ok(())
    }

    /// Takes one part in. The first time that none is missing, this is the session's handle.
    pub(super) fn publish(
        &mut self,
        part: Part,
        actor: &ActorRef<SessionMessage>,
    ) -> Option<Arc<SessionHandle>> {
        match &mut self.stage {
            Stage::Gathering(gathered) => {
                gathered.take(part);
                let parts = gathered.complete()?;
                let snapshot = SessionSnapshot {
                    session: self.facts.session,
                    epoch: 1,
                    state: SessionState::Open,
                    parts,
                };
                let address = Address::vacant();
                address.occupy(actor.clone());
                let handle = Arc::new(SessionHandle {
                    facts: Arc::clone(&self.facts),
                    snapshot: ArcSwap::from_pointee(snapshot),
                    subscribers: ArcSwap::default(),
                    actor: address,
                });
                self.stage = Stage::Published(Arc::clone(&handle));
                Some(handle)
            }
            Stage::Published(handle) => {
                let mut snapshot = SessionSnapshot::clone(&handle.snapshot.load());
                snapshot.epoch = snapshot.epoch.saturating_add(1);
                snapshot.parts.replace(part);
                handle.publish(snapshot);
                None
            }
            Stage::Closed => None,
        }
    }

    pub(super) fn close(&mut self, reason: CloseReason) {
        let stage = std::mem::replace(&mut self.stage, Stage::Closed);
        if let Stage::Published(handle) = &stage {
            let mut snapshot = SessionSnapshot::clone(&handle.snapshot.load());
            snapshot.epoch = snapshot.epoch.saturating_add(1);
            snapshot.state = SessionState::Closed(reason);
            handle.publish(snapshot);
        }
        if std::mem::take(&mut self.recorded) {
            (self.closed)(&self.facts, reason);
        }
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        self.close(CloseReason::Abandoned);
    }
}

impl Gathered {
    fn take(&mut self, part: Part) {
        match part {
            Part::Auth(part) => self.auth = Some(part),
            Part::Policy(part) => self.policy = Some(part),
            Part::Approval(part) => self.approval = Some(part),
            Part::Masking(part) => self.masking = Some(part),
            Part::Recorder(part) => self.recorder = Some(part),
        }
    }

    fn complete(&self) -> Option<Parts> {
        Some(Parts {
            auth: self.auth.clone()?,
            policy: self.policy.clone()?,
            approval: self.approval.clone()?,
            masking: self.masking.clone()?,
            recorder: self.recorder?,
        })
    }
}

impl Parts {
    fn replace(&mut self, part: Part) {
        match part {
            Part::Auth(part) => self.auth = part,
            Part::Policy(part) => self.policy = part,
            Part::Approval(part) => self.approval = part,
            Part::Masking(part) => self.masking = part,
            Part::Recorder(part) => self.recorder = part,
        }
    }
}
