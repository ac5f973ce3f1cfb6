//! The approval desk's actor: it alone changes tickets and grants, records each, keeps them in a file, and has the
//! sessions of whom it concerns compiled again.
//!
//! ```text
//!  shard ─ held request ─▶ Open ──┐                  ┌─▶ record log (first)
//!  admin API ─ grant, refuse ─────┼─▶ Desk ─ event ──┼─▶ approvals.json
//!  tick ─ ends, other policies ───┘                  └─▶ GrantTable ─▶ ApprovalActor of each session
//! ```

pub mod desk;
pub mod grant;
mod kept;
pub mod ticket;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::policy::snapshot::Grants;
use crate::runtime::Clock;
use crate::session::{PartKind, Sessions};
use crate::supervisor::Address;
use crate::vocabulary::{Identity, PolicyHash, UnixMillis};

use desk::{Considered, Desk, DeskError, DeskEvent};
use grant::Grant;
pub use kept::KeptError;
use ticket::{ApprovalRequest, Ticket, TicketId, TicketState};

/// How often ends and other policies are looked for: a grant that ends closes its tap within it.
pub const TICK: Duration = Duration::from_millis(250);

/// Records what happened at the desk, or says why it cannot.
pub type Record = Arc<dyn Fn(&DeskEvent) -> Result<(), String> + Send + Sync>;

/// What the desk works with.
#[derive(Clone)]
pub struct DeskConfiguration {
    /// Where tickets and grants are kept over a restart.
    pub file: PathBuf,
    /// Records an event.
    pub record: Record,
    /// The policies in force.
    pub policy: Arc<dyn Fn() -> PolicyHash + Send + Sync>,
    /// Where the grants are published.
    pub grants: GrantTable,
}

/// What everybody was granted, for the approval actors of sessions. Cheap to clone and to read.
#[derive(Clone, Debug, Default)]
pub struct GrantTable(Arc<ArcSwap<HashMap<String, Grants>>>);

/// The door to the desk: cheap to clone, usable from any executor.
#[derive(Clone)]
pub struct Approvals {
    desk: Address<DeskMessage>,
}

/// What an approver does with a ticket or its grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Grants the whole of what it asks.
    Grant,
    /// Refuses it.
    Refuse,
    /// Takes the grant back.
    Revoke,
}

/// A ticket as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownTicket {
    /// The ticket.
    #[serde(flatten)]
    pub ticket: Ticket,
    /// The end of its grant, while that is live.
    pub granted_until: Option<UnixMillis>,
}

/// What the desk is told.
pub enum DeskMessage {
    /// A request is held by these questions.
    Open {
        /// One for each set of rules.
        requests: Vec<ApprovalRequest>,
        /// Told the ticket of each, in order, or why it has none.
        answer: oneshot::Sender<Vec<Result<TicketId, DeskError>>>,
    },
    /// Somebody answers a ticket, or takes a grant back.
    Answer {
        /// What they do.
        verb: Verb,
        /// The ticket's name, or the grant's.
        name: String,
        /// Who.
        by: Identity,
        /// Told the ticket as it is now.
        answer: oneshot::Sender<Result<ShownTicket, DeskError>>,
    },
    /// Which tickets there are, of those that concern this identity.
    List {
        /// Who asks.
        by: Identity,
        /// Told them: those that wait first, then the latest.
        answer: oneshot::Sender<Vec<ShownTicket>>,
    },
    /// Time has passed.
    Tick,
}

/// Owns the desk; see the module.
#[derive(Clone)]
pub struct DeskActor {
    pub(crate) configuration: DeskConfiguration,
    pub(crate) sessions: Sessions,
    pub(crate) clock: Clock,
}

/// What the actor keeps.
pub struct DeskState {
    desk: Desk,
    /// What changed is not in the file yet.
    is_unsaved: bool,
    /// What closed and is not in the record yet; each came from a ticket or a grant, so they bound it.
    unrecorded: VecDeque<DeskEvent>,
}

impl GrantTable {
    /// What an identity, named `<issuer>|<subject>`, was granted.
    #[must_use]
    pub fn of(&self, principal: &str) -> Grants {
        self.0.load().get(principal).map(Arc::clone).unwrap_or_default()
    }

    fn publish(&self, desk: &Desk) {
        let mut table: HashMap<String, Vec<Arc<Grant>>> = HashMap::new();
        for grant in desk.grants() {
            table.entry(grant.principal.clone()).or_default().push(Arc::clone(grant));
        }
        let table = table.into_iter().map(|(principal, grants)| (principal, grants.into()));
        self.0.store(Arc::new(table.collect()));
    }
}

impl Approvals {
    pub(crate) fn new(desk: Address<DeskMessage>) -> Self {
        Self { desk }
    }

    /// Opens or joins a ticket for each of what holds a request. The receiver may be awaited on any executor.
    ///
    /// # Limits
    ///
    /// The caller holds a permit.
    #[must_use]
    pub fn open(
        &self,
        requests: Vec<ApprovalRequest>,
    ) -> oneshot::Receiver<Vec<Result<TicketId, DeskError>>> {
        let (answer, receiver) = oneshot::channel();
        // Where nobody is there, the sender is dropped, and the receiver reports that.
        self.desk.tell(DeskMessage::Open { requests, answer }).ok();
        receiver
    }

    /// Answers a ticket, or takes its grant back.
    ///
    /// # Errors
    ///
    /// As [`Desk::grant`], [`Desk::refuse`] and [`Desk::revoke`]; [`DeskError::NotRecorded`] and
    /// [`DeskError::Unavailable`]. Nothing has changed then, but after [`DeskError::NotKept`].
    pub async fn answer(
        &self,
        verb: Verb,
        name: String,
        by: Identity,
    ) -> Result<ShownTicket, DeskError> {
        let ask = |answer| DeskMessage::Answer { verb, name, by, answer };
        let answered = self.desk.ask(ask).map_err(|_| DeskError::Unavailable)?;
        answered.await.map_err(|_| DeskError::Unavailable)?
    }

    /// The tickets of this identity, and those that it may answer.
    ///
    /// # Errors
    ///
    /// [`DeskError::Unavailable`].
    pub async fn list(&self, by: Identity) -> Result<Vec<ShownTicket>, DeskError> {
        let ask = |answer| DeskMessage::List { by, answer };
        let answered = self.desk.ask(ask).map_err(|_| DeskError::Unavailable)?;
        answered.await.map_err(|_| DeskError::Unavailable)
    }
}

impl DeskActor {
    /// Lets `change` change the desk. What opens a right is recorded before it holds, or does not happen; what closes
    /// one holds at once, and is recorded as soon as the log takes it.
    fn change<T>(
        &self,
        state: &mut DeskState,
        change: impl FnOnce(&mut Desk) -> Result<(T, Vec<DeskEvent>), DeskError>,
    ) -> Result<T, DeskError> {
        // Changes come at the pace of people.
        let mut changed = state.desk.clone();
        let (outcome, events) = change(&mut changed)?;
        if events.is_empty() {
            return Ok(outcome);
        }
        for event in events.iter().filter(|event| event.opens()) {
            (self.configuration.record)(event)
                .map_err(|reason| DeskError::NotRecorded { reason })?;
        }
        state.desk = changed;
        self.configuration.grants.publish(&state.desk);
        for event in &events {
            tracing::info!(event = event.name(), ticket = event.ticket().as_str(), "approval");
            if event.changes_rights() {
                self.sessions.recompile_of(event.about().principal, PartKind::Approval);
            }
        }
        self.save(state);
        state.unrecorded.extend(events.into_iter().filter(|event| !event.opens()));
        self.record_rest(state);
        Ok(outcome)
    }

    /// What cannot be kept holds all the same; the next tick tries again.
    fn save(&self, state: &mut DeskState) {
        let saved = kept::save(&self.configuration.file, &state.desk);
        state.is_unsaved = saved.is_err();
        if let Err(error) = saved {
            tracing::error!(%error, "alarm: tickets and grants are not kept over a restart");
        }
    }

    /// Records what has closed, in order; what the log does not take now waits for the next tick.
    fn record_rest(&self, state: &mut DeskState) {
        while let Some(event) = state.unrecorded.front() {
            if let Err(reason) = (self.configuration.record)(event) {
                tracing::error!(reason, "alarm: what ended at the desk is not recorded yet");
                return;
            }
            state.unrecorded.pop_front();
        }
    }

    fn open(
        &self,
        state: &mut DeskState,
        requests: Vec<ApprovalRequest>,
    ) -> Vec<Result<TicketId, DeskError>> {
        let now = (self.clock)();
        let mut open = |request| match state.desk.consider(request, now)? {
            Considered::Waiting(ticket) => Ok(ticket),
            Considered::New(ticket) => {
                let id = ticket.id.clone();
                self.change(state, |desk| {
                    desk.admit(Ticket::clone(&ticket));
                    Ok((id, vec![DeskEvent::Opened(*ticket)]))
                })
            }
        };
        requests.into_iter().map(&mut open).collect()
    }

    fn answer(
        &self,
        state: &mut DeskState,
        verb: Verb,
        name: &str,
        by: &Identity,
    ) -> Result<ShownTicket, DeskError> {
        let (now, policy) = ((self.clock)(), (self.configuration.policy)());
        let ticket = self.change(state, |desk| {
            let event = match verb {
                Verb::Grant => desk.grant(name, by, policy, now),
                Verb::Refuse => desk.refuse(name, by, now),
                Verb::Revoke => desk.revoke(name, by, now),
            }?;
            Ok((event.ticket().clone(), vec![event]))
        })?;
        if state.is_unsaved {
            return Err(DeskError::NotKept);
        }
        let shown = shown(&state.desk).find(|shown| shown.ticket.id == ticket);
        shown.ok_or_else(|| DeskError::Unknown { name: ticket.as_str().to_owned() })
    }

    fn tick(&self, state: &mut DeskState) {
        let (now, policy) = ((self.clock)(), (self.configuration.policy)());
        let ended = self.change(state, |desk| {
            let mut events = desk.expire(now);
            events.extend(desk.policies_changed(policy, now));
            Ok(((), events))
        });
        if let Err(error) = ended {
            tracing::error!(%error, "the approval desk cannot end what is over");
        }
        if state.is_unsaved {
            self.save(state);
        }
        self.record_rest(state);
    }
}

/// Every ticket with the end of its grant.
fn shown(desk: &Desk) -> impl Iterator<Item = ShownTicket> {
    desk.tickets().map(|ticket| {
        let granted_until = match &ticket.state {
            TicketState::Granted { grant } => {
                desk.grants().find(|live| live.id == *grant).map(|live| live.ends_at)
            }
            _ => None,
        };
        ShownTicket { ticket: ticket.clone(), granted_until }
    })
}

impl Actor for DeskActor {
    type Msg = DeskMessage;
    type State = DeskState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        let desk = kept::load(&self.configuration.file)?;
        let mut state = DeskState { desk, is_unsaved: false, unrecorded: VecDeque::new() };
        self.configuration.grants.publish(&state.desk);
        self.tick(&mut state);
        myself.send_interval(TICK, || DeskMessage::Tick);
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // Whoever asked may have gone.
        match message {
            DeskMessage::Open { requests, answer } => {
                answer.send(self.open(state, requests)).ok();
            }
            DeskMessage::Answer { verb, name, by, answer } => {
                answer.send(self.answer(state, verb, &name, &by)).ok();
            }
            DeskMessage::List { by, answer } => {
                let theirs = shown(&state.desk).filter(|shown| shown.ticket.concerns(&by));
                answer.send(theirs.collect()).ok();
            }
            DeskMessage::Tick => self.tick(state),
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
