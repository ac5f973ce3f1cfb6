//! What the control plane itself records: sessions that open and close, policies that change.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::session::{CloseReason, SessionFacts};
use crate::vocabulary::ConnectionId;

use super::entry::{EntryDraft, EntryKind, Instants, Origin, OriginFacts};
use super::writer::{RecordError, SegmentWriter};

/// The control plane's own part of the record log. Its entries are few; each is written at once.
#[derive(Debug)]
pub struct ControlLog {
    state: Mutex<State>,
    started: Instant,
}

#[derive(Debug)]
struct State {
    writer: SegmentWriter,
    next: u64,
}

impl ControlLog {
    /// The log over a writer of [`super::entry::CONTROL_SHARD`] that was opened at the start.
    #[must_use]
    pub fn new(writer: SegmentWriter) -> Self {
        Self { state: Mutex::new(State { writer, next: 0 }), started: Instant::now() }
    }

    /// A session is about to open; without its entry it must not.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; the session must be refused.
    pub fn session_opened(&self, facts: &SessionFacts) -> Result<(), RecordError> {
        self.write(EntryKind::SessionOpened, &origin(facts), &facts.client_id, "")
    }

    /// A session has ended.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; the end is not in the log.
    pub fn session_closed(
        &self,
        facts: &SessionFacts,
        reason: CloseReason,
    ) -> Result<(), RecordError> {
        let text = format!("{reason:?}");
        self.write(EntryKind::SessionClosed, &origin(facts), &facts.client_id, &text)
    }

    /// Something of the gateway's own happened.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; it is not in the log.
    pub fn note(&self, kind: EntryKind, text: &str) -> Result<(), RecordError> {
        self.write(kind, &Origin::control(), "", text)
    }

    fn write(
        &self,
        kind: EntryKind,
        origin: &Origin,
        client_id: &str,
        text: &str,
    ) -> Result<(), RecordError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let mut draft = EntryDraft::new(kind, origin, state.next, self.now());
        draft.client_id = client_id;
        draft.text = text;
        state.writer.append(&draft, &[])?;
        state.next = state.next.saturating_add(1);
        state.writer.flush()
    }

    fn now(&self) -> Instants {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Instants {
            wall_micros: i64::try_from(wall.as_micros()).unwrap_or(i64::MAX),
            monotonic_nanos: u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

fn origin(facts: &SessionFacts) -> Origin {
    let principal = facts.identity.principal();
    let facts_of_origin = OriginFacts {
        principal: &principal,
        // The port is a connection's; a session has none of its own.
        address: Some(SocketAddr::new(facts.address, 0)),
        listener: &facts.listener,
    };
    Origin::new(facts.session, ConnectionId(0), &facts_of_origin)
}
